// SPDX-License-Identifier: GPL-2.0-only
/*
 * exception.c - exceptions and interrupts: raising them, and their way through the IDT
 *
 * A handler that finds a fault records it in cpu->exc and says X86_FAULT. Delivery reads and checks
 * everything it will use, pushes the frame (all of it or nothing) and only then changes registers, so that a
 * fault on the way finds the state of the interrupted instruction and can be delivered in its turn.
 *
 * Example: #PF at CPL 3 in 64-bit mode. The gate is 16 bytes at IDTR.base + 14 * 16; its code segment has DPL
 * 0, so the stack is RSP0 of the TSS, aligned to 16. SS, RSP, RFLAGS, CS, RIP and the error code are pushed
 * with the rights of CPL 0. Should the stack be unmapped, the second #PF makes it a double fault, whose gate
 * has an IST stack.
 */
#include <stdio.h>

#include "system.h"

int x86_raise(struct x86_cpu *cpu, enum x86_vector vec)
{
	cpu->exc = (struct x86_exc) { .vector = vec };
	return X86_FAULT;
}

int x86_raise_err(struct x86_cpu *cpu, enum x86_vector vec, u32 error)
{
	cpu->exc = (struct x86_exc) { .vector = vec, .has_error = true, .error = error };
	return X86_FAULT;
}

/*
 * RF of the pushed image is set for faults, #DB excepted, SDM vol. 3 "Instruction-Breakpoint Exception
 * Condition".
 */
static bool is_fault(const struct x86_exc *e)
{
	if (e->soft || e->ext)
		return false;
	switch (e->vector) {
	case X86_EXC_DB:
	case X86_EXC_NMI:
	case X86_EXC_BP:
	case X86_EXC_OF:
	case X86_EXC_DF:
	case X86_EXC_MC:
		return false;
	default:
		return true;
	}
}

/* SDM vol. 2 "INT n", REAL-ADDRESS-MODE */
static enum x86_transfer deliver_real(struct x86_cpu *cpu, const struct x86_exc *e, u64 rip, u64 flags)
{
	struct x86_state *s = &cpu->s;
	struct x86_stack st;
	u64 entry, frame[3];

	if (e->vector * 4 + 3 > s->idtr.limit) {
		x86_raise_err(cpu, X86_EXC_GP, e->vector * 8 + 2 + !e->soft);
		return XFER_FAULT;
	}
	if (!x86_sys_load(cpu, (u32)(s->idtr.base + e->vector * 4), 4, &entry))
		return XFER_FAULT;
	x86_stack_current(cpu, &st, !e->soft);
	frame[0] = flags & 0xffff;
	frame[1] = s->seg[X86_CS].sel;
	frame[2] = rip & 0xffff;
	if (!x86_stack_push(cpu, &st, frame, 3, 2))
		return XFER_FAULT;
	x86_stack_commit(cpu, &st, false);
	x86_seg_real(cpu, X86_CS, (u16)(entry >> 16));
	s->rip = entry & 0xffff;
	s->rflags &= ~(u64)(X86_IF | X86_TF | X86_AC | X86_RF);
	return XFER_DONE;
}

struct gate {
	u64 off;
	u16 sel;
	u8 type;		/* enum x86_systype */
	u8 ist;
};

/* Read and check the gate of a vector. */
static bool find_gate(struct x86_cpu *cpu, const struct x86_exc *e, struct gate *g)
{
	u32 error = e->vector * 8 + 2 + !e->soft, size = cpu->long_mode ? 16 : 8, types;
	u64 lin = x86_table_lin(cpu, cpu->s.idtr.base, e->vector * size), d, high = 0;
	u16 attr;

	if (e->vector * size + size - 1 > cpu->s.idtr.limit)
		goto gp;
	if (!x86_sys_load(cpu, lin, 8, &d) || (cpu->long_mode && !x86_sys_load(cpu, lin + 8, 8, &high)))
		return false;
	attr = desc_attr(d);
	types = BIT(SYS_INT32) | BIT(SYS_TRAP32);
	if (!cpu->long_mode)
		types |= BIT(SYS_TASK_GATE) | BIT(SYS_INT16) | BIT(SYS_TRAP16);
	if ((attr & X86_ATTR_S) || !(types & BIT(attr & X86_ATTR_TYPE)))
		goto gp;
	if (e->soft && attr_dpl(attr) < cpu->cpl)
		goto gp;
	if (!(attr & X86_ATTR_P)) {
		x86_raise_err(cpu, X86_EXC_NP, error);
		return false;
	}
	g->sel = (u16)(d >> 16);
	g->type = attr & X86_ATTR_TYPE;
	g->ist = d >> 32 & 7;
	g->off = (d & 0xffff) | (d >> 32 & 0xffff0000) | high << 32;
	if (g->type == SYS_INT16 || g->type == SYS_TRAP16)
		g->off &= 0xffff;
	return true;
gp:
	x86_raise_err(cpu, X86_EXC_GP, error);
	return false;
}

static enum x86_transfer deliver_task(struct x86_cpu *cpu, const struct x86_exc *e, const struct gate *g,
				      u64 rip)
{
	struct x86_task_switch sw = {
		.sel = g->sel,
		.rip = rip,
		.why = TASK_INT,
		.has_error = e->has_error,
		.error = e->error,
		.ext = !e->soft,
	};

	if (!x86_task_find(cpu, g->sel, false, sw.ext, &sw.desc))
		return XFER_FAULT;
	return x86_task_switch(cpu, &sw);
}

/* RSP for a 64-bit frame: an IST entry, RSP0..2, or the present one; always aligned. */
static bool stack64(struct x86_cpu *cpu, unsigned int ist, bool inner, unsigned int cpl, u32 ext,
		    struct x86_stack *st)
{
	u64 off = ist ? ist * 8 + 28 : cpl * 8 + 4;

	if (ist) {
		x86_stack_current(cpu, st, ext);
		if (off + 7 > cpu->s.tr.limit) {
			x86_raise_sel(cpu, X86_EXC_TS, cpu->s.tr.sel, ext);
			return false;
		}
		if (!x86_sys_load(cpu, cpu->s.tr.base + off, 8, &st->sp))
			return false;
		if (inner)
			x86_seg_null(&st->ss, cpl, cpl);
	} else if (inner) {
		if (!x86_stack_of_tss(cpu, cpl, ext, st))
			return false;
	} else {
		x86_stack_current(cpu, st, ext);
		if (!cpu->code64)
			st->sp &= 0xffffffff;
	}
	st->sp &= ~15ULL;
	st->mask = ~0ULL;
	st->flat = true;
	st->cpl = cpl;
	return true;
}

/* SDM vol. 2 "INT n", PROTECTED-MODE and IA-32e-MODE, interrupt and trap gates */
static enum x86_transfer deliver_gate(struct x86_cpu *cpu, const struct x86_exc *e, u64 rip, u64 flags)
{
	struct x86_state *s = &cpu->s;
	bool vm = s->rflags & X86_VM, inner;
	u32 ext = !e->soft;
	unsigned int size, n = 0, cpl = cpu->cpl;
	struct x86_stack st;
	struct x86_segreg cs;
	struct gate g;
	u64 d, frame[10];
	u16 attr;

	if (!find_gate(cpu, e, &g))
		return XFER_FAULT;
	if (g.type == SYS_TASK_GATE)
		return deliver_task(cpu, e, &g, rip);

	if (sel_null(g.sel)) {
		x86_raise_err(cpu, X86_EXC_GP, ext);
		return XFER_FAULT;
	}
	if (!x86_desc_read(cpu, g.sel, X86_EXC_GP, ext, &d, NULL))
		return XFER_FAULT;
	attr = desc_attr(d);
	if (!attr_is_code(attr) || attr_dpl(attr) > cpu->cpl ||
	    (cpu->long_mode && (attr & (X86_ATTR_L | X86_ATTR_DB)) != X86_ATTR_L)) {
		x86_raise_sel(cpu, X86_EXC_GP, g.sel, ext);
		return XFER_FAULT;
	}
	if (!(attr & X86_ATTR_P)) {
		x86_raise_sel(cpu, X86_EXC_NP, g.sel, ext);
		return XFER_FAULT;
	}
	if (!attr_is_conforming(attr))
		cpl = attr_dpl(attr);
	if (vm && cpl) {
		x86_raise_sel(cpu, X86_EXC_GP, g.sel, ext);
		return XFER_FAULT;
	}
	inner = cpl < cpu->cpl;

	if (cpu->long_mode) {
		size = 8;
		if (!stack64(cpu, g.ist, inner, cpl, ext, &st))
			return XFER_FAULT;
		if (!x86_canonical(g.off))
			goto bad_offset;
	} else {
		size = g.type == SYS_INT16 || g.type == SYS_TRAP16 ? 2 : 4;
		if (!inner)
			x86_stack_current(cpu, &st, ext);
		else if (!x86_stack_of_tss(cpu, cpl, ext, &st))
			return XFER_FAULT;
		if (g.off > desc_limit(d))
			goto bad_offset;
	}

	if (vm) {
		frame[n++] = s->seg[X86_GS].sel;
		frame[n++] = s->seg[X86_FS].sel;
		frame[n++] = s->seg[X86_DS].sel;
		frame[n++] = s->seg[X86_ES].sel;
	}
	if (inner || cpu->long_mode) {
		frame[n++] = s->seg[X86_SS].sel;
		frame[n++] = s->gpr[X86_RSP];
	}
	frame[n++] = flags;
	frame[n++] = s->seg[X86_CS].sel;
	frame[n++] = rip;
	if (e->has_error)
		frame[n++] = e->error;
	if (!x86_desc_accessed(cpu, g.sel, &d) || !x86_stack_push(cpu, &st, frame, n, size))
		return XFER_FAULT;

	/* Nothing can fail any more. */
	x86_seg_fill(&cs, (g.sel & ~X86_SEL_RPL) | cpl, d);
	s->seg[X86_CS] = cs;
	s->rip = g.off;
	x86_stack_commit(cpu, &st, inner);
	if (vm) {
		static const u8 segs[] = { X86_ES, X86_DS, X86_FS, X86_GS };

		for (unsigned int i = 0; i < ARRAY_SIZE(segs); i++)
			x86_seg_null(&s->seg[segs[i]], 0, 0);
	}
	s->rflags &= ~(u64)(X86_TF | X86_NT | X86_RF | X86_VM);
	if (g.type == SYS_INT16 || g.type == SYS_INT32)
		s->rflags &= ~(u64)X86_IF;
	return XFER_DONE;
bad_offset:
	x86_raise_err(cpu, X86_EXC_GP, ext);
	return XFER_FAULT;
}

enum x86_transfer x86_deliver_event(struct x86_cpu *cpu, const struct x86_exc *e, u64 rip)
{
	u64 flags = x86_get_rflags(&cpu->s);
	enum x86_transfer x;

	if (is_fault(e))
		flags |= X86_RF;
	if (!(cpu->s.cr0 & X86_CR0_PE))
		x = deliver_real(cpu, e, rip, flags);
	else
		x = deliver_gate(cpu, e, rip, flags);
	if (x == XFER_FAULT)
		return x;
	if (!e->ext)
		cpu->core.stats.exceptions++;
	cpu->s.intr_shadow = 0;
	cpu->s.halted = 0;
	cpu->monitored = NULL;
	/*
	 * SDM vol. 3 "Debug Control Register": GD is cleared on entry, so that the handler can use the
	 * registers.
	 */
	if (e->vector == X86_EXC_DB && !e->soft && !e->ext)
		cpu->s.dr[7] &= ~(u64)X86_DR7_GD;
	x86_mode_changed(cpu);
	return x;
}

/* SDM vol. 3 "Interrupt 8 - Double Fault Exception": classes of the first and of the second event */
enum exc_class { CLASS_BENIGN, CLASS_CONTRIBUTORY, CLASS_PAGE_FAULT, CLASS_DOUBLE_FAULT };

static enum exc_class exc_class(const struct x86_exc *e)
{
	if (e->soft || e->ext)
		return CLASS_BENIGN;
	switch (e->vector) {
	case X86_EXC_DE:
	case X86_EXC_TS:
	case X86_EXC_NP:
	case X86_EXC_SS:
	case X86_EXC_GP:
		return CLASS_CONTRIBUTORY;
	case X86_EXC_PF:
		return CLASS_PAGE_FAULT;
	case X86_EXC_DF:
		return CLASS_DOUBLE_FAULT;
	default:
		return CLASS_BENIGN;
	}
}

/* Deliver @e; what goes wrong on the way is delivered after or instead of it. */
static bool deliver(struct x86_cpu *cpu, struct x86_exc e)
{
	/* Nested faults are never benign, and two of a class make a double fault: a few rounds at most. */
	while (x86_deliver_event(cpu, &e, cpu->s.rip) != XFER_DONE) {
		enum exc_class first = exc_class(&e), second = exc_class(&cpu->exc);

		if (first == CLASS_DOUBLE_FAULT)
			return false;
		if ((first == CLASS_CONTRIBUTORY && second == CLASS_CONTRIBUTORY) ||
		    (first == CLASS_PAGE_FAULT && second != CLASS_BENIGN))
			x86_raise_err(cpu, X86_EXC_DF, 0);
		e = cpu->exc;
	}
	return true;
}

bool x86_deliver_exception(struct x86_cpu *cpu)
{
	if (unlikely(cpu->shutdown))
		return false;
	cpu->watch_hits = 0;	/* a faulting instruction has not happened */
	return deliver(cpu, cpu->exc);
}

int x86_transfer_next(struct x86_cpu *cpu, enum x86_transfer x)
{
	if (x == XFER_DONE)
		return X86_JUMP;
	/* A triple fault comes about again when the loop delivers the double fault. */
	if (x == XFER_FAULT_AFTER && !x86_deliver_exception(cpu))
		return x86_raise_err(cpu, X86_EXC_DF, 0);
	return x == XFER_FAULT ? X86_FAULT : X86_JUMP;
}

bool x86_deliver_interrupt(struct x86_cpu *cpu, u8 vector, bool nmi)
{
	struct x86_exc e = { .vector = nmi ? X86_EXC_NMI : vector, .ext = true };

	/* NMIs are held off from here even if their delivery ends in another handler. */
	if (nmi)
		cpu->s.nmi_masked = 1;
	return deliver(cpu, e);
}

const char *x86_shutdown_message(struct x86_cpu *cpu)
{
	static const char *const names[] = {
		[X86_EXC_DE] = "#DE", [X86_EXC_DB] = "#DB", [X86_EXC_DF] = "#DF", [X86_EXC_TS] = "#TS",
		[X86_EXC_NP] = "#NP", [X86_EXC_SS] = "#SS", [X86_EXC_GP] = "#GP", [X86_EXC_PF] = "#PF",
	};
	const struct x86_state *s = &cpu->s;
	u8 vec = cpu->exc.vector;

	if (cpu->shutdown)
		return cpu->core.msg;
	snprintf(cpu->core.msg, sizeof(cpu->core.msg),
		 "triple fault: %s (error code %#x) on the way to the double-fault handler; CS:RIP "
		 "%04x:%llx, CR0 %llx, CR2 %llx, "
		 "CR3 %llx, IDT %llx limit %x",
		 vec < ARRAY_SIZE(names) && names[vec] ? names[vec] : "exception", cpu->exc.error,
		 s->seg[X86_CS].sel, (unsigned long long)s->rip, (unsigned long long)s->cr0,
		 (unsigned long long)s->cr2, (unsigned long long)s->cr3, (unsigned long long)s->idtr.base,
		 s->idtr.limit);
	return cpu->core.msg;
}

/* --- INT n, INT3, INTO, INT1, BOUND --- */

/*
 * A software interrupt that can't be delivered is a fault of the instruction: the loop delivers it like any
 * other, with the rip of the instruction itself.
 */
static int soft_interrupt(struct x86_cpu *cpu, const struct uop *u, u8 vector, bool soft)
{
	struct x86_exc e = { .vector = vector, .soft = soft };

	return x86_transfer_next(cpu, x86_deliver_event(cpu, &e, x86_next_rip(cpu, u)));
}

/*
 * SDM vol. 3 "Class 3 - Software Interrupt Handling in Virtual-8086 Mode": with CR4.VME the bitmap before the
 * I/O bitmap in the TSS says which INT n stay in the program (bit clear). False: a fault was raised.
 */
static bool redirected(struct x86_cpu *cpu, u8 vector, bool *in_program)
{
	const struct x86_segreg *tr = &cpu->s.tr;
	u64 map, bits;
	u32 off;

	*in_program = false;
	if (!(cpu->s.cr4 & X86_CR4_VME))
		return true;
	if (!(tr->attr & X86_ATTR_P) || !(attr_type(tr->attr) & 8) || tr->limit < 0x67)
		goto gp;
	if (!x86_sys_load(cpu, x86_table_lin(cpu, tr->base, 0x66), 2, &map))
		return false;
	off = (u32)map - 32 + vector / 8;
	if (map < 32 || off > tr->limit)
		goto gp;
	if (!x86_sys_load(cpu, x86_table_lin(cpu, tr->base, off), 1, &bits))
		return false;
	*in_program = !(bits >> (vector % 8) & 1);
	return true;
gp:
	x86_gp0(cpu);
	return false;
}

/* INT n by the program's own vector table, as real mode does it; below IOPL 3 with VIF for IF. */
static int int_in_program(struct x86_cpu *cpu, const struct uop *u, u8 vector)
{
	struct x86_state *s = &cpu->s;
	bool virtual = x86_iopl(cpu) < 3;
	u64 flags = x86_get_rflags(s), frame[3], entry;
	struct x86_stack st;

	if (virtual)
		flags = (flags & ~(u64)X86_IF) | X86_IOPL | (flags & X86_VIF ? X86_IF : 0);
	if (!x86_cpl_load(cpu, 3, vector * 4, 4, &entry))
		return X86_FAULT;
	frame[0] = flags & 0xffff;
	frame[1] = s->seg[X86_CS].sel;
	frame[2] = x86_next_rip(cpu, u) & 0xffff;
	x86_stack_current(cpu, &st, 0);
	if (!x86_stack_push(cpu, &st, frame, 3, 2))
		return X86_FAULT;
	x86_stack_commit(cpu, &st, false);
	x86_seg_real(cpu, X86_CS, (u16)(entry >> 16));
	s->rip = entry & 0xffff;
	s->rflags &= ~(u64)(X86_TF | (virtual ? X86_VIF : X86_IF));
	x86_mode_changed(cpu);
	return X86_JUMP;
}

static int int_n(struct x86_cpu *cpu, const struct uop *u)
{
	u8 vector = (u8)u->insn.imm;
	bool in_program;

	if (cpu->s.rflags & X86_VM) {
		if (!redirected(cpu, vector, &in_program))
			return X86_FAULT;
		if (in_program)
			return int_in_program(cpu, u, vector);
		if (x86_iopl(cpu) < 3)
			return x86_gp0(cpu);
	}
	return soft_interrupt(cpu, u, vector, true);
}

static int int3(struct x86_cpu *cpu, const struct uop *u)
{
	return soft_interrupt(cpu, u, X86_EXC_BP, true);
}

static int into(struct x86_cpu *cpu, const struct uop *u)
{
	return cc_of(&cpu->s) ? soft_interrupt(cpu, u, X86_EXC_OF, true) : X86_NEXT;
}

/* Without a check of the gate's DPL, and DR6 is left alone: SDM vol. 2 "INT1". */
static int int1(struct x86_cpu *cpu, const struct uop *u)
{
	return soft_interrupt(cpu, u, X86_EXC_DB, false);
}

static int bound(struct x86_cpu *cpu, const struct uop *u)
{
	s64 index, low, high;
	u64 lin;

	if (!(u->insn.flags & X86_IF_MEM))
		return x86_ud(cpu);
	if (!x86_operand(cpu, u, u->insn.opsize * 2u, ACC_READ, &lin))
		return X86_FAULT;
	if (u->insn.opsize == 2) {
		u16 l, h;

		if (!x86_load16(cpu, lin, &l) || !x86_load16(cpu, lin + 2, &h))
			return X86_FAULT;
		index = (s16)cpu->s.gpr[u->insn.reg];
		low = (s16)l;
		high = (s16)h;
	} else {
		u32 l, h;

		if (!x86_load32(cpu, lin, &l) || !x86_load32(cpu, lin + 4, &h))
			return X86_FAULT;
		index = (s32)cpu->s.gpr[u->insn.reg];
		low = (s32)l;
		high = (s32)h;
	}
	return index < low || index > high ? x86_raise(cpu, X86_EXC_BR) : X86_NEXT;
}

const struct interp_op interp_INT = IOP_ALL(int_n);
const struct interp_op interp_INT3 = IOP_ALL(int3);
const struct interp_op interp_INTO = IOP_ALL(into);
const struct interp_op interp_INT1 = IOP_ALL(int1);
const struct interp_op interp_BOUND = IOP_ALL(bound);
