// SPDX-License-Identifier: GPL-2.0-only
/*
 * far.c - far jumps, calls and returns: code segments, call gates, privilege levels, IRET
 *
 * Transfers look first and change afterwards: descriptors, stacks and targets are checked in the manual's
 * order, with the state untouched, before anything is committed.
 */
#include "system.h"

/* --- stacks --- */

void x86_stack_current(const struct x86_cpu *cpu, struct x86_stack *st, u32 ext)
{
	st->ss = cpu->s.seg[X86_SS];
	st->sp = cpu->s.gpr[X86_RSP];
	st->mask = cpu->stack_mask;
	st->cpl = cpu->cpl;
	st->flat = cpu->code64;
	st->error = ext;
}

static bool raise_ts(struct x86_cpu *cpu, u16 sel, u32 ext)
{
	x86_raise_sel(cpu, X86_EXC_TS, sel, ext);
	return false;
}

/* SDM vol. 2 "INT n" and "CALL", INTER-PRIVILEGE-LEVEL */
bool x86_stack_of_tss(struct x86_cpu *cpu, unsigned int cpl, u32 ext, struct x86_stack *st)
{
	const struct x86_segreg *tr = &cpu->s.tr;
	bool tss32 = attr_type(tr->attr) & 8;
	u32 off = tss32 ? cpl * 8 + 4 : cpl * 4 + 2;
	unsigned int size = tss32 ? 4 : 2;
	u64 sel, d;
	u16 attr;

	st->cpl = cpl;
	if (off + 2 * size - 1 > tr->limit)
		return raise_ts(cpu, tr->sel, ext);
	if (cpu->long_mode) {
		if (!x86_sys_load(cpu, tr->base + off, 8, &st->sp))
			return false;
		x86_seg_null(&st->ss, cpl, cpl);
		st->mask = ~0ULL;
		st->flat = true;
		st->error = ext;
		return true;
	}
	if (!x86_sys_load(cpu, x86_table_lin(cpu, tr->base, off), size, &st->sp) ||
	    !x86_sys_load(cpu, x86_table_lin(cpu, tr->base, off + size), 2, &sel))
		return false;
	if (sel_null(sel)) {
		x86_raise_err(cpu, X86_EXC_TS, ext);
		return false;
	}
	if (!x86_desc_read(cpu, sel, X86_EXC_TS, ext, &d, NULL))
		return false;
	attr = desc_attr(d);
	if (sel_rpl(sel) != cpl || attr_dpl(attr) != cpl || !attr_is_wdata(attr))
		return raise_ts(cpu, sel, ext);
	if (!(attr & X86_ATTR_P)) {
		x86_raise_sel(cpu, X86_EXC_SS, sel, ext);
		return false;
	}
	if (!x86_desc_accessed(cpu, sel, &d))
		return false;
	x86_seg_fill(&st->ss, sel, d);
	st->mask = attr & X86_ATTR_DB ? 0xffffffff : 0xffff;
	st->flat = false;
	st->error = (sel & ~X86_SEL_RPL) | ext;
	return true;
}

/* Is [off, off + len) within the stack segment? SDM vol. 3 "Limit Checking", expand-down included. */
static bool stack_limit(const struct x86_stack *st, u64 off, unsigned int len)
{
	const struct x86_segreg *ss = &st->ss;
	u64 last = off + len - 1;

	if (st->flat)
		return x86_canonical(off) && x86_canonical(last);
	if (!(ss->attr & X86_ATTR_P) || last > 0xffffffff)
		return false;
	if ((ss->attr & (X86_ATTR_CODE | X86_ATTR_E)) == X86_ATTR_E)
		return off > ss->limit && last <= (ss->attr & X86_ATTR_DB ? 0xffffffff : 0xffff);
	return last <= ss->limit;
}

static u64 stack_lin(const struct x86_stack *st, u64 off)
{
	return st->flat ? off : (u32)(st->ss.base + off);
}

bool x86_stack_push(struct x86_cpu *cpu, struct x86_stack *st, const u64 *val, unsigned int n,
		    unsigned int size)
{
	u64 sp = st->sp & st->mask, low = (sp - n * size) & st->mask;
	bool whole = low < sp || (sp == 0 && st->mask != ~0ULL);

	/* One probe for the whole frame, unless it wraps round. */
	if (whole) {
		if (!stack_limit(st, low, n * size))
			goto ss;
		if (!x86_cpl_probe(cpu, st->cpl, stack_lin(st, low), n * size, ACC_WRITE))
			return false;
	}
	for (unsigned int i = 0; !whole && i < n; i++) {
		u64 off = (sp - (i + 1) * size) & st->mask;

		if (!stack_limit(st, off, size))
			goto ss;
		if (!x86_cpl_probe(cpu, st->cpl, stack_lin(st, off), size, ACC_WRITE))
			return false;
	}
	for (unsigned int i = 0; i < n; i++) {
		sp = (sp - size) & st->mask;
		if (!x86_cpl_store(cpu, st->cpl, stack_lin(st, sp), size, val[i]))
			return false;
	}
	st->sp = sp;
	return true;
ss:
	x86_raise_err(cpu, X86_EXC_SS, st->error);
	return false;
}

void x86_stack_commit(struct x86_cpu *cpu, const struct x86_stack *st, bool ss)
{
	u64 *rsp = &cpu->s.gpr[X86_RSP];

	if (ss)
		cpu->s.seg[X86_SS] = st->ss;
	*rsp = (st->mask == 0xffff ? *rsp & ~0xffffULL : 0) | (st->sp & st->mask);
}

bool x86_stack_peek(struct x86_cpu *cpu, u64 off, unsigned int size, u64 *val)
{
	u64 lin;
	u32 v32;
	u16 v16;

	if (!x86_linear(cpu, X86_SS, (cpu->s.gpr[X86_RSP] + off) & cpu->stack_mask, size, ACC_READ, &lin))
		return false;
	switch (size) {
	case 2:
		if (!x86_load16(cpu, lin, &v16))
			return false;
		*val = v16;
		return true;
	case 4:
		if (!x86_load32(cpu, lin, &v32))
			return false;
		*val = v32;
		return true;
	default:
		return x86_load64(cpu, lin, val);
	}
}

/* --- targets --- */

/* A code segment and an offset in it, checked but not yet gone to. */
struct target {
	struct x86_segreg cs;
	u64 rip;
};

static bool raise_gp(struct x86_cpu *cpu, u16 sel)
{
	x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
	return false;
}

/* The last checks of a code segment whose privileges are in order; fills @t. */
static bool code_target(struct x86_cpu *cpu, u16 sel, unsigned int cpl, u64 d, u64 rip, struct target *t)
{
	u16 attr = desc_attr(d);

	if (cpu->long_mode && (attr & X86_ATTR_L) && (attr & X86_ATTR_DB))
		return raise_gp(cpu, sel);
	if (!(attr & X86_ATTR_P)) {
		x86_raise_sel(cpu, X86_EXC_NP, sel, 0);
		return false;
	}
	if (cpu->long_mode && (attr & X86_ATTR_L) ? !x86_canonical(rip) : rip > desc_limit(d)) {
		x86_gp0(cpu);
		return false;
	}
	if (!x86_desc_accessed(cpu, sel, &d))
		return false;
	x86_seg_fill(&t->cs, (sel & ~X86_SEL_RPL) | cpl, d);
	t->rip = rip;
	return true;
}

static void code_commit(struct x86_cpu *cpu, const struct target *t)
{
	cpu->s.seg[X86_CS] = t->cs;
	cpu->s.rip = t->rip;
}

/*
 * Stack pointers that come out of memory: all of RSP by 64-bit code, else the part that the stack segment
 * counts.
 */
static void set_rsp(struct x86_cpu *cpu, u64 val, u64 mask)
{
	cpu->s.gpr[X86_RSP] = (mask == 0xffff ? cpu->s.gpr[X86_RSP] & ~0xffffULL : 0) | (val & mask);
}

static u64 stack_mask_of(bool code64, const struct x86_segreg *ss)
{
	return code64 ? ~0ULL : ss->attr & X86_ATTR_DB ? 0xffffffff : 0xffff;
}

/* --- JMP and CALL --- */

struct far_ptr {
	u16 sel;
	u64 off;
};

static bool far_operand(struct x86_cpu *cpu, const struct uop *u, struct far_ptr *p)
{
	if (!(u->insn.flags & X86_IF_MEM)) {
		p->sel = u->insn.imm2;
		p->off = u->insn.opsize == 2 ? u->insn.imm & 0xffff : u->insn.imm & 0xffffffff;
		return true;
	}
	return x86_load_far_pointer(cpu, u, &p->off, &p->sel);
}

/* Real and virtual-8086 mode */
static int far_real(struct x86_cpu *cpu, const struct uop *u, const struct far_ptr *p, bool call)
{
	u64 frame[2] = { cpu->s.seg[X86_CS].sel, x86_next_rip(cpu, u) };
	struct x86_stack st;

	if (p->off > ((cpu->s.rflags & X86_VM) ? 0xffff : cpu->s.seg[X86_CS].limit))
		return x86_gp0(cpu);
	if (call) {
		x86_stack_current(cpu, &st, 0);
		if (!x86_stack_push(cpu, &st, frame, 2, u->insn.opsize))
			return X86_FAULT;
		x86_stack_commit(cpu, &st, false);
	}
	x86_seg_real(cpu, X86_CS, p->sel);
	cpu->s.rip = p->off;
	x86_mode_changed(cpu);
	return X86_JUMP;
}

static int far_task(struct x86_cpu *cpu, const struct uop *u, u16 sel, bool call)
{
	struct x86_task_switch sw = {
		.sel = sel, .rip = x86_next_rip(cpu, u), .why = call ? TASK_CALL : TASK_JMP,
	};

	if (!x86_task_find(cpu, sel, false, 0, &sw.desc))
		return X86_FAULT;
	return x86_transfer_next(cpu, x86_task_switch(cpu, &sw));
}

/* Through a call gate to more privilege: a stack from the TSS, parameters copied from the old one. */
static int call_inner(struct x86_cpu *cpu, const struct uop *u, u16 csel, u64 cd, u64 off,
		      unsigned int params, unsigned int size)
{
	unsigned int cpl = attr_dpl(desc_attr(cd)), n = 0;
	struct x86_stack st;
	struct target t;
	u64 frame[4 + 31];

	if (!x86_stack_of_tss(cpu, cpl, 0, &st))
		return X86_FAULT;
	if (!code_target(cpu, csel, cpl, cd, off, &t))
		return X86_FAULT;
	frame[n++] = cpu->s.seg[X86_SS].sel;
	frame[n++] = cpu->s.gpr[X86_RSP];
	for (unsigned int i = params; i-- > 0; n++)
		if (!x86_stack_peek(cpu, i * size, size, &frame[n]))
			return X86_FAULT;
	frame[n++] = cpu->s.seg[X86_CS].sel;
	frame[n++] = x86_next_rip(cpu, u);
	if (!x86_stack_push(cpu, &st, frame, n, size))
		return X86_FAULT;
	code_commit(cpu, &t);
	x86_stack_commit(cpu, &st, true);
	x86_mode_changed(cpu);
	return X86_JUMP;
}

/* SDM vol. 2 "CALL", CALL-GATE, and "JMP", CALL-GATE. @g, @high: the gate */
static int far_gate(struct x86_cpu *cpu, const struct uop *u, u16 gsel, u64 g, u64 high, bool call)
{
	u16 gattr = desc_attr(g), csel = (u16)(g >> 16), cattr;
	unsigned int params = g >> 32 & 31;
	unsigned int size = cpu->long_mode ? 8 : attr_type(gattr) == SYS_CALL16 ? 2 : 4;
	u64 off = (g & 0xffff) | (g >> 32 & 0xffff0000) | high << 32, cd, frame[2];
	struct x86_stack st;
	struct target t;
	bool ok;

	if (attr_dpl(gattr) < cpu->cpl || attr_dpl(gattr) < sel_rpl(gsel))
		return x86_raise_sel(cpu, X86_EXC_GP, gsel, 0);
	/* The type field of the upper half must be 0, SDM vol. 3 "IA-32e Mode Call Gates". */
	if (cpu->long_mode && (high >> 40 & 0x1f))
		return x86_raise_sel(cpu, X86_EXC_GP, gsel, 0);
	if (!(gattr & X86_ATTR_P))
		return x86_raise_sel(cpu, X86_EXC_NP, gsel, 0);
	if (size == 2)
		off &= 0xffff;

	if (sel_null(csel))
		return x86_gp0(cpu);
	if (!x86_desc_read(cpu, csel, X86_EXC_GP, 0, &cd, NULL))
		return X86_FAULT;
	cattr = desc_attr(cd);
	ok = attr_is_code(cattr) && attr_dpl(cattr) <= cpu->cpl;
	if (!call && ok && !attr_is_conforming(cattr))
		ok = attr_dpl(cattr) == cpu->cpl;
	if (cpu->long_mode && (cattr & (X86_ATTR_L | X86_ATTR_DB)) != X86_ATTR_L)
		ok = false;
	if (!ok)
		return x86_raise_sel(cpu, X86_EXC_GP, csel, 0);
	if (!(cattr & X86_ATTR_P))
		return x86_raise_sel(cpu, X86_EXC_NP, csel, 0);

	if (call && !attr_is_conforming(cattr) && attr_dpl(cattr) < cpu->cpl)
		return call_inner(cpu, u, csel, cd, off, cpu->long_mode ? 0 : params, size);

	if (!code_target(cpu, csel, cpu->cpl, cd, off, &t))
		return X86_FAULT;
	if (call) {
		x86_stack_current(cpu, &st, 0);
		frame[0] = cpu->s.seg[X86_CS].sel;
		frame[1] = x86_next_rip(cpu, u);
		if (!x86_stack_push(cpu, &st, frame, 2, size))
			return X86_FAULT;
		x86_stack_commit(cpu, &st, false);
	}
	code_commit(cpu, &t);
	x86_mode_changed(cpu);
	return X86_JUMP;
}

/* SDM vol. 2 "JMP" and "CALL", far, protected and IA-32e mode */
static int far_transfer(struct x86_cpu *cpu, const struct uop *u, bool call)
{
	struct x86_stack st;
	struct far_ptr p;
	struct target t;
	u64 d, high, frame[2];
	u16 attr;

	if (!far_operand(cpu, u, &p))
		return X86_FAULT;
	if (!x86_protected(cpu))
		return far_real(cpu, u, &p, call);
	if (sel_null(p.sel))
		return x86_gp0(cpu);
	if (!x86_desc_read(cpu, p.sel, X86_EXC_GP, 0, &d, &high))
		return X86_FAULT;
	attr = desc_attr(d);
	if (attr & X86_ATTR_S) {
		if (!attr_is_code(attr))
			return x86_raise_sel(cpu, X86_EXC_GP, p.sel, 0);
		if (attr_is_conforming(attr) ? attr_dpl(attr) > cpu->cpl
					     : sel_rpl(p.sel) > cpu->cpl || attr_dpl(attr) != cpu->cpl)
			return x86_raise_sel(cpu, X86_EXC_GP, p.sel, 0);
		if (!code_target(cpu, p.sel, cpu->cpl, d, p.off, &t))
			return X86_FAULT;
		if (call) {
			x86_stack_current(cpu, &st, 0);
			frame[0] = cpu->s.seg[X86_CS].sel;
			frame[1] = x86_next_rip(cpu, u);
			if (!x86_stack_push(cpu, &st, frame, 2, u->insn.opsize))
				return X86_FAULT;
			x86_stack_commit(cpu, &st, false);
		}
		code_commit(cpu, &t);
		x86_mode_changed(cpu);
		return X86_JUMP;
	}

	switch (attr_type(attr)) {
	case SYS_CALL16:
		if (cpu->long_mode)
			break;
		fallthrough;
	case SYS_CALL32:
		return far_gate(cpu, u, p.sel, d, high, call);
	case SYS_TASK_GATE:
		if (cpu->long_mode || attr_dpl(attr) < cpu->cpl || attr_dpl(attr) < sel_rpl(p.sel))
			break;
		if (!(attr & X86_ATTR_P))
			return x86_raise_sel(cpu, X86_EXC_NP, p.sel, 0);
		return far_task(cpu, u, (u16)(d >> 16), call);
	case SYS_TSS16:
	case SYS_TSS32:
		if (cpu->long_mode || attr_dpl(attr) < cpu->cpl || attr_dpl(attr) < sel_rpl(p.sel))
			break;
		return far_task(cpu, u, p.sel, call);
	default:
		break;
	}
	return x86_raise_sel(cpu, X86_EXC_GP, p.sel, 0);
}

static int jmpf(struct x86_cpu *cpu, const struct uop *u) { return far_transfer(cpu, u, false); }
static int callf(struct x86_cpu *cpu, const struct uop *u) { return far_transfer(cpu, u, true); }

/* --- RET and IRET --- */

/*
 * The SS of a return to less privilege (or of any IRET by 64-bit code), SDM vol. 2 "RET" and "IRET". @cs:
 * where to, checked already; its RPL is the new CPL.
 */
static bool outer_ss(struct x86_cpu *cpu, u16 sel, const struct target *t, struct x86_segreg *ss)
{
	unsigned int cpl = sel_rpl(t->cs.sel);
	bool to64 = cpu->long_mode && (t->cs.attr & X86_ATTR_L);
	u16 attr;
	u64 d;

	if (sel_null(sel)) {
		if (!to64 || cpl == 3 || sel_rpl(sel) != cpl) {
			x86_gp0(cpu);
			return false;
		}
		x86_seg_null(ss, sel, cpl);
		return true;
	}
	if (!x86_desc_read(cpu, sel, X86_EXC_GP, 0, &d, NULL))
		return false;
	attr = desc_attr(d);
	if (sel_rpl(sel) != cpl || !attr_is_wdata(attr) || attr_dpl(attr) != cpl)
		return raise_gp(cpu, sel);
	if (!(attr & X86_ATTR_P)) {
		x86_raise_sel(cpu, X86_EXC_SS, sel, 0);
		return false;
	}
	if (!x86_desc_accessed(cpu, sel, &d))
		return false;
	x86_seg_fill(ss, sel, d);
	return true;
}

/* The CS of a return: to the same or to less privilege. */
static bool return_cs(struct x86_cpu *cpu, u16 sel, u64 rip, struct target *t)
{
	u16 attr;
	u64 d;

	if (sel_null(sel)) {
		x86_gp0(cpu);
		return false;
	}
	if (!x86_desc_read(cpu, sel, X86_EXC_GP, 0, &d, NULL))
		return false;
	attr = desc_attr(d);
	if (!attr_is_code(attr) || sel_rpl(sel) < cpu->cpl)
		return raise_gp(cpu, sel);
	if (attr_is_conforming(attr) ? attr_dpl(attr) > sel_rpl(sel) : attr_dpl(attr) != sel_rpl(sel))
		return raise_gp(cpu, sel);
	return code_target(cpu, sel, sel_rpl(sel), d, rip, t);
}

static int retf(struct x86_cpu *cpu, const struct uop *u)
{
	unsigned int size = u->insn.opsize;
	u16 extra = (u16)u->insn.imm;
	struct x86_segreg ss;
	struct target t;
	u64 rip, cs, rsp, sel;

	if (!x86_stack_peek(cpu, 0, size, &rip) || !x86_stack_peek(cpu, size, size, &cs))
		return X86_FAULT;
	if (!x86_protected(cpu)) {
		if (rip > ((cpu->s.rflags & X86_VM) ? 0xffff : cpu->s.seg[X86_CS].limit))
			return x86_gp0(cpu);
		x86_rsp_add(cpu, 2 * size + extra);
		x86_seg_real(cpu, X86_CS, (u16)cs);
		cpu->s.rip = rip;
		x86_mode_changed(cpu);
		return X86_JUMP;
	}
	if (!return_cs(cpu, (u16)cs, rip, &t))
		return X86_FAULT;
	if (sel_rpl((u16)cs) == cpu->cpl) {
		x86_rsp_add(cpu, 2 * size + extra);
		code_commit(cpu, &t);
		x86_mode_changed(cpu);
		return X86_JUMP;
	}
	if (!x86_stack_peek(cpu, 2 * size + extra, size, &rsp) ||
	    !x86_stack_peek(cpu, 3 * size + extra, size, &sel))
		return X86_FAULT;
	if (!outer_ss(cpu, (u16)sel, &t, &ss))
		return X86_FAULT;
	code_commit(cpu, &t);
	cpu->s.seg[X86_SS] = ss;
	set_rsp(cpu, rsp, stack_mask_of(cpu->long_mode && (t.cs.attr & X86_ATTR_L), &ss));
	x86_segs_outer(cpu);
	x86_mode_changed(cpu);
	x86_rsp_add(cpu, extra);
	return X86_JUMP;
}

/* Flags that IRET writes at privilege @cpl, SDM vol. 2 "IRET" */
static u64 iret_flags(const struct x86_cpu *cpu, unsigned int size)
{
	u64 mask = X86_ARITH | X86_TF | X86_DF | X86_NT;

	if (size > 2)
		mask |= X86_RF | X86_AC | X86_ID;
	if (!(cpu->s.cr0 & X86_CR0_PE))
		return mask | X86_IF | X86_IOPL;
	if (cpu->cpl <= x86_iopl(cpu))
		mask |= X86_IF;
	if (cpu->cpl == 0) {
		mask |= X86_IOPL;
		if (size > 2)
			mask |= X86_VIF | X86_VIP;
	}
	return mask;
}

static void set_flags(struct x86_cpu *cpu, u64 flags, u64 mask)
{
	flags = (x86_get_rflags(&cpu->s) & ~mask) | (flags & mask);
	/*
	 * RF matters to code breakpoints alone and is over after one instruction: don't carry it about
	 * without any.
	 */
	if (!(cpu->s.dr[7] & X86_DR7_ENABLED))
		flags &= ~(u64)X86_RF;
	x86_set_rflags(&cpu->s, flags);
}

static int iret_real(struct x86_cpu *cpu, unsigned int size, u64 rip, u64 cs, u64 flags)
{
	bool vm = cpu->s.rflags & X86_VM;
	u64 mask = iret_flags(cpu, size);

	/* CR4.VME, IOPL below 3: VIF in the place of IF, SDM vol. 2 "IRET" */
	if (vm && x86_iopl(cpu) < 3) {
		if ((flags & X86_TF) || ((flags & X86_IF) && (cpu->s.rflags & X86_VIP)))
			return x86_gp0(cpu);
		flags |= flags & X86_IF ? X86_VIF : 0;
		mask |= X86_VIF;
	}
	if (rip > (vm ? 0xffff : cpu->s.seg[X86_CS].limit))
		return x86_gp0(cpu);
	x86_rsp_add(cpu, 3 * size);
	x86_seg_real(cpu, X86_CS, (u16)cs);
	cpu->s.rip = rip;
	set_flags(cpu, flags, mask);
	x86_mode_changed(cpu);
	return X86_JUMP;
}

static int iret_v86(struct x86_cpu *cpu, u64 rip, u64 cs, u64 flags)
{
	u64 v[6];		/* ESP, SS, ES, DS, FS, GS */
	static const u8 segs[] = { X86_SS, X86_ES, X86_DS, X86_FS, X86_GS };

	for (unsigned int i = 0; i < ARRAY_SIZE(v); i++)
		if (!x86_stack_peek(cpu, 12 + i * 4, 4, &v[i]))
			return X86_FAULT;
	if ((rip & 0xffffffff) > 0xffff)
		return x86_gp0(cpu);
	set_flags(cpu, flags, iret_flags(cpu, 4) | X86_VM);
	x86_seg_real(cpu, X86_CS, (u16)cs);
	for (unsigned int i = 0; i < ARRAY_SIZE(segs); i++)
		x86_seg_real(cpu, segs[i], (u16)v[1 + i]);
	cpu->s.gpr[X86_RSP] = v[0];
	cpu->s.rip = rip & 0xffff;
	x86_mode_changed(cpu);
	return X86_JUMP;
}

static int iret_task(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_task_switch sw = { .rip = x86_next_rip(cpu, u), .why = TASK_IRET };
	u64 link;

	if (cpu->s.tr.limit < 1)
		return x86_raise_sel(cpu, X86_EXC_TS, cpu->s.tr.sel, 0);
	if (!x86_sys_load(cpu, x86_table_lin(cpu, cpu->s.tr.base, 0), 2, &link))
		return X86_FAULT;
	sw.sel = (u16)link;
	if (!x86_task_find(cpu, sw.sel, true, 0, &sw.desc))
		return X86_FAULT;
	return x86_transfer_next(cpu, x86_task_switch(cpu, &sw));
}

static int iret(struct x86_cpu *cpu, const struct uop *u)
{
	unsigned int size = u->insn.opsize;
	struct x86_segreg ss;
	struct target t;
	u64 rip, cs, flags, rsp, sel, mask;

	/* NMIs are let in again even if this faults, SDM vol. 3 "Handling Multiple NMIs". */
	cpu->s.nmi_masked = 0;
	if ((cpu->s.rflags & X86_VM) && x86_iopl(cpu) < 3 && (!(cpu->s.cr4 & X86_CR4_VME) || size != 2))
		return x86_gp0(cpu);
	if (x86_protected(cpu) && (cpu->s.rflags & X86_NT))
		return cpu->long_mode ? x86_gp0(cpu) : iret_task(cpu, u);
	if (!x86_stack_peek(cpu, 0, size, &rip) || !x86_stack_peek(cpu, size, size, &cs) ||
	    !x86_stack_peek(cpu, 2 * size, size, &flags))
		return X86_FAULT;
	if (!x86_protected(cpu))
		return iret_real(cpu, size, rip, cs, flags);
	if (!cpu->long_mode && size == 4 && (flags & X86_VM) && cpu->cpl == 0)
		return iret_v86(cpu, rip, cs, flags);

	mask = iret_flags(cpu, size);
	if (!return_cs(cpu, (u16)cs, rip, &t))
		return X86_FAULT;
	if (sel_rpl((u16)cs) == cpu->cpl && !cpu->code64) {
		x86_rsp_add(cpu, 3 * size);
		code_commit(cpu, &t);
		set_flags(cpu, flags, mask);
		x86_mode_changed(cpu);
		return X86_JUMP;
	}
	if (!x86_stack_peek(cpu, 3 * size, size, &rsp) || !x86_stack_peek(cpu, 4 * size, size, &sel))
		return X86_FAULT;
	if (!outer_ss(cpu, (u16)sel, &t, &ss))
		return X86_FAULT;
	code_commit(cpu, &t);
	cpu->s.seg[X86_SS] = ss;
	set_rsp(cpu, rsp, stack_mask_of(cpu->long_mode && (t.cs.attr & X86_ATTR_L), &ss));
	if (attr_dpl(ss.attr) > cpu->cpl)
		x86_segs_outer(cpu);
	set_flags(cpu, flags, mask);
	x86_mode_changed(cpu);
	return X86_JUMP;
}

const struct interp_op interp_JMPF = IOP_ALL(jmpf);
const struct interp_op interp_CALLF = IOP_ALL(callf);
const struct interp_op interp_RETF = IOP_ALL(retf);
const struct interp_op interp_IRET = IOP_ALL(iret);
