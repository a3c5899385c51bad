// SPDX-License-Identifier: GPL-2.0-only
/*
 * interp.c - the interpreter: binding decoded instructions to handlers, and the loop that runs a vCPU
 *
 * Between two instructions a vCPU looks at everything that is not computation: requests of other threads, interrupts, NMI,
 * single step, halting. The loop does so at each block's start and, when core.request is set, after any instruction.
 */
#include "../../jit/x86-on-x86_64/jit.h"
#include "block.h"
#include "flags.h"
#include "interp.h"
#include "lockstep.h"

/* --- binding --- */

static const struct interp_op interp_host = IOP_ALL(interp_vec);

#define INTERP_BIND_INT(name) &interp_##name
#define INTERP_BIND_SYS(name) &interp_##name
#define INTERP_BIND_XST(name) &interp_##name
#define INTERP_BIND_FPU(name) &interp_host
#define INTERP_BIND_VEC(name) &interp_host

static const struct interp_op *const ops[X86_OP_COUNT] = {
#define X86_OP(name, class) [X86_OP_##name] = INTERP_BIND_##class(name),
#include "ops.def"
#undef X86_OP
};

/* Byte offset into state.gpr of register @reg as an operand of @size bytes. */
static u8 gpr_offset(const struct x86_insn *insn, unsigned int reg, unsigned int size)
{
	if (size == 1 && !(insn->flags & X86_IF_REX) && reg >= 4 && reg < 8)
		return (u8)((reg - 4) * 8 + 1);
	return (u8)(reg * 8);
}

static u8 operand_offset(const struct x86_insn *insn, const struct x86_opnd *o)
{
	unsigned int size = o->size == X86_SZ_V ? insn->opsize : o->size;

	switch (o->kind) {
	case X86_OK_E:
	case X86_OK_R:
	case X86_OK_Z:
		return gpr_offset(insn, insn->rm, size);
	case X86_OK_G:
		return gpr_offset(insn, insn->reg, size);
	case X86_OK_B:
		return gpr_offset(insn, insn->vvvv, size);
	case X86_OK_CL:
		return X86_RCX * 8;
	case X86_OK_DX:
		return X86_RDX * 8;
	default:
		return X86_RAX * 8;
	}
}

static bool is_immediate(const struct x86_opnd *o)
{
	return o->kind == X86_OK_I || o->kind == X86_OK_J || o->kind == X86_OK_A || o->kind == X86_OK_ONE;
}

static bool is_memory(const struct x86_opnd *o)
{
	switch (o->kind) {
	case X86_OK_E: case X86_OK_M: case X86_OK_O: case X86_OK_W: case X86_OK_Q: case X86_OK_VM:
		return true;
	default:
		return false;
	}
}

static enum uop_form uop_form(const struct x86_insn *insn)
{
	const struct x86_opnd *o = x86_rows[insn->row].opnd;
	bool imm = is_immediate(&o[1]);

	if (!(insn->flags & X86_IF_MEM))
		return imm || is_immediate(&o[0]) ? FORM_RI : FORM_RR;
	if (!is_memory(&o[0]))
		return FORM_RM;
	if (insn->flags & X86_IF_LOCK || insn->op == X86_OP_XCHG)
		return imm ? FORM_LMI : FORM_LMR;
	return imm ? FORM_MI : FORM_MR;
}

void interp_bind(struct uop *u)
{
	const struct x86_insn *insn = &u->insn;
	const struct x86_opnd *o = x86_rows[insn->row].opnd;
	const struct interp_op *op = ops[insn->op];

	u->osz = (u8)__builtin_ctz(insn->opsize);
	u->ea_mask = insn->addrsize == 8 ? ~0ULL : insn->addrsize == 4 ? 0xffffffff : 0xffff;
	u->d = operand_offset(insn, &o[0]);
	u->s = operand_offset(insn, &o[1]);
	u->form = (u8)uop_form(insn);
	/* XCHG with memory reads the same either way round; the locked forms want memory first. */
	if (insn->op == X86_OP_XCHG && u->form == FORM_RM) {
		u->form = FORM_LMR;
		u->s = u->d;
	}
	u->fn = op->fn[u->form][u->osz];
	if (op->cc && u->form <= FORM_RI)
		u->fn = op->cc[insn->opcode & 15];
	if (!u->fn && (u->form == FORM_LMR || u->form == FORM_LMI))
		u->fn = op->fn[u->form - FORM_LMR + FORM_MR][u->osz];
}

uop_fn interp_unlocked(const struct uop *u)
{
	enum uop_form form = u->form == FORM_LMR ? FORM_MR : u->form == FORM_LMI ? FORM_MI : u->form;

	return ops[u->insn.op]->fn[form][u->osz];
}

/* --- running --- */

/* EMUL_JIT_STRESS: now and then, everything that is cached goes. */
static void stress(struct x86_cpu *cpu)
{
	cpu->stress_random = cpu->stress_random * 6364136223846793005 + 2 * cpu->core.id + 1;
	if (!(cpu->stress_random >> 56))
		emul_code_reset(&cpu->core);
	else if (!(cpu->stress_random >> 62))
		x86_tlb_flush(cpu, true);
}

/*
 * Requests and events before an instruction, in the order of SDM vol. 3 "Priority Among Concurrent Events". False: leave
 * emul_run(), exit is filled in.
 */
static bool attend(struct x86_cpu *cpu, struct emul_exit *exit)
{
	/* Taken and cleared in one go: what comes now is for the next time. NMI, SMI, KICK stay until served. */
	u32 req = atomic_fetch_and(&cpu->core.request, EMUL_REQ_NMI | EMUL_REQ_KICK | EMUL_REQ_STOP | X86_REQ_SMI);
	bool shadow = cpu->s.intr_shadow;

	if (req & EMUL_REQ_STOP)
		emul_world_yield(&cpu->core);
	if (req & EMUL_REQ_FLUSH)
		x86_tlb_flush(cpu, true);
	if (req & EMUL_REQ_INTR)
		cpu->intr_waiting = true;
	if (unlikely(req & EMUL_REQ_POKE) && cpu->core.vm->cfg.jit == EMUL_JIT_STRESS)
		stress(cpu);
	if (req & EMUL_REQ_KICK) {
		atomic_fetch_and(&cpu->core.request, ~EMUL_REQ_KICK);
		exit->reason = EMUL_EXIT_KICK;
		return false;
	}
	if (req & X86_REQ_SMI && !shadow && !cpu->s.smm) {
		atomic_fetch_and(&cpu->core.request, ~X86_REQ_SMI);
		cpu->u = NULL;
		emul_nondet(&cpu->core, EMUL_INPUT_SMI, 0);
		x86_enter_smm(cpu);
	} else if (req & EMUL_REQ_NMI && !shadow && !cpu->s.nmi_masked) {
		atomic_fetch_and(&cpu->core.request, ~EMUL_REQ_NMI);
		cpu->s.halted = 0;
		cpu->s.nmi_masked = 1;
		emul_nondet(&cpu->core, EMUL_INPUT_NMI, 0);
		cpu->core.stats.interrupts++;
		cpu->u = NULL;
		if (!x86_deliver_interrupt(cpu, X86_EXC_NMI, true))
			goto shutdown;
	} else if (x86_interruptible(cpu) && !shadow) {
		const struct emul_ops *eo = cpu->core.vm->ops;
		int vec = eo->intr_ack(cpu->core.vm->opaque, &cpu->core);

		vec = (int)emul_nondet(&cpu->core, EMUL_INPUT_INTR, (u64)(s64)vec);
		if (vec < 0) {
			cpu->intr_waiting = false;
		} else {
			cpu->s.halted = 0;
			cpu->core.stats.interrupts++;
			cpu->u = NULL;
			if (!x86_deliver_interrupt(cpu, (u8)vec, false))
				goto shutdown;
		}
	}
	if (cpu->s.halted) {
		exit->reason = EMUL_EXIT_HALT;
		return false;
	}
	return true;
shutdown:
	exit->reason = EMUL_EXIT_SHUTDOWN;
	exit->msg = x86_shutdown_message(cpu);
	return false;
}

/* Is there something that attend() would do now? */
static inline bool attention(const struct x86_cpu *cpu)
{
	return unlikely(atomic_load_explicit(&cpu->core.request, memory_order_relaxed)) ||
	       unlikely(cpu->s.halted) ||
	       unlikely(x86_interruptible(cpu) && !cpu->s.intr_shadow);
}

/* A jump's target if it is at hand: translation cached, block decoded, and nothing else to look at first. */
static __always_inline struct x86_block *next_block(struct x86_cpu *cpu)
{
	u64 lin = cpu->code64 ? cpu->s.rip : (u32)(cpu->s.seg[X86_CS].base + cpu->s.rip);
	const struct emul_itlb_entry *e = &cpu->itlb[cpu->cpl == 3][(lin >> EMUL_PAGE_SHIFT) % EMUL_ITLB_SIZE];
	unsigned int off = lin & ~EMUL_PAGE_MASK;
	struct emul_block *b;

	if (unlikely(atomic_load_explicit(&cpu->core.request, memory_order_relaxed)) || unlikely(x86_interruptible(cpu)) ||
	    unlikely(cpu->slow) || unlikely(e->tag != (lin & EMUL_PAGE_MASK)) || unlikely(!e->page))
		return NULL;
	cpu->s.gpr[X86_REG_RIP] = cpu->s.rip - off;
	b = emul_code_find(e->page, off, X86_BLOCK_MODE(cpu));
	if (unlikely(!b) || (!cpu->code64 && cpu->s.rip + (b->end - off) - 1 > cpu->s.seg[X86_CS].limit))
		return NULL;
	return (struct x86_block *)b;
}

struct x86_block *x86_next_block(struct x86_cpu *cpu)
{
	return next_block(cpu);
}

/* X86_ALONE: the instruction again, in its unlocked form and with the world stopped. */
static int run_alone(struct x86_cpu *cpu, const struct x86_block *b, const struct uop *u)
{
	const struct emul_vm *vm = cpu->core.vm;
	unsigned int epoch = vm->arena_epoch, insns = vm->insns_epoch;
	int next = X86_AGAIN;

	emul_world_stop(&cpu->core);
	/* While this vCPU waited for the world, another may have had it and dropped this very block: then look again. */
	if (epoch == vm->arena_epoch && insns == vm->insns_epoch && !atomic_load(&b->b.stale))
		next = interp_unlocked(u)(cpu, u);
	emul_world_resume(&cpu->core);
	return next == X86_NEXT ? X86_LEAVE : next;
}

/*
 * The straight line ended at @u of @b with *@next: leave rip where it says. X86_ALONE becomes what came of it. False:
 * triple fault.
 */
static bool finish(struct x86_cpu *cpu, struct x86_block *b, const struct uop *u, int *next)
{
	cpu->core.stats.insns += u->idx;
	if (*next == X86_ALONE) {
		cpu->s.rip = x86_this_rip(cpu, u);	/* while waiting, @u may go away */
		*next = run_alone(cpu, b, u);
		if (*next == X86_AGAIN) {
			cpu->block = NULL;
			return true;
		}
	}
	cpu->block = NULL;
	switch (*next) {
	case X86_LEAVE:
		cpu->s.rip = x86_next_rip(cpu, u);
		cpu->core.stats.insns++;
		return true;
	case X86_JUMP:
		cpu->core.stats.insns += u->fn != x86_uop_end;
		return true;
	case X86_FAULT:
		cpu->s.rip = x86_this_rip(cpu, u);
		return x86_deliver_exception(cpu);
	default:	/* X86_AGAIN; X86_NEXT: a request came before @u */
		cpu->s.rip = x86_this_rip(cpu, u);
		return true;
	}
}

/* A single instruction. @again: there is more of it to do, and no trap between. */
static bool run_one(struct x86_cpu *cpu, struct x86_block *b, bool *again)
{
	bool step = cpu->s.rflags & X86_TF, debug = cpu->slow;
	const struct uop *u = b->uop;
	int next;

	cpu->block = &b->b;
	cpu->u = u;
	next = u->fn(cpu, u);
	cpu->interpreted[X86_WHY_SINGLE]++;
	if (next == X86_NEXT)
		next = X86_LEAVE;
	if (!finish(cpu, b, u, &next))
		return false;
	*again = next == X86_AGAIN && !cpu->slow;
	/*
	 * SDM vol. 3 "Instruction-Breakpoint Exception Condition": what comes between two iterations finds RF set, so that
	 * the instruction does not meet its breakpoint again.
	 */
	if (next == X86_AGAIN && cpu->slow)
		cpu->s.rflags |= X86_RF;
	/* A repeated string instruction traps after each iteration (X86_AGAIN). */
	return !debug || next == X86_FAULT || x86_debug_trap(cpu, step);
}

/* From @b on until something comes up. */
static bool run_blocks(struct x86_cpu *cpu, struct x86_block *b)
{
	const struct uop *u;
	int next;

	for (;;) {
		struct x86_block *to;

		if (b->b.shared) {
			next = jit_run(cpu, &b, &u);
			if (next == JIT_GONE)
				return true;
			if (next != JIT_INTERPRET)
				break;
		}
		u = x86_block_uops(cpu, b);
		if (unlikely(!u)) {
			cpu->s.rip = cpu->s.gpr[X86_REG_RIP] + b->b.off;
			return true;
		}
		cpu->block = &b->b;
		do {
			cpu->u = u;
			next = u->fn(cpu, u);
			if (unlikely(next != X86_NEXT))
				break;
			u++;
		} while (likely(!atomic_load_explicit(&cpu->core.request, memory_order_relaxed)));
		cpu->interpreted[!b->b.shared ? X86_WHY_CROSSING : cpu->code64 || cpu->flat32 || cpu->code16 ? X86_WHY_COLD :
				 X86_WHY_MODE] += u->idx + (u64)(next != X86_NEXT && u->fn != x86_uop_end);

		if (next != X86_JUMP || x86_lockstep_blocks(cpu))
			break;
		to = next_block(cpu);
		if (unlikely(!to))
			break;
		cpu->core.stats.insns += u->idx + (u64)(u->fn != x86_uop_end);
		b = to;
	}
	return finish(cpu, b, u, &next);
}

/* @max instructions from @b on, at most, by the interpreter. */
static bool run_some(struct x86_cpu *cpu, struct x86_block *b, u64 max)
{
	const struct uop *u = x86_block_uops(cpu, b);
	int next;

	if (!u)
		return true;
	cpu->block = &b->b;
	do {
		cpu->u = u;
		next = u->fn(cpu, u);
		if (next != X86_NEXT)
			break;
		u++;
	} while (--max && !atomic_load_explicit(&cpu->core.request, memory_order_relaxed));
	return finish(cpu, b, u, &next);
}

static void run(struct x86_cpu *cpu, struct emul_exit *exit, bool one)
{
	*exit = (struct emul_exit){ 0 };
	emul_world_enter(&cpu->core);
	for (;;) {
		bool shadow, alive, again = false;

		if (unlikely(cpu->core.vm->lockstep) && !x86_lockstep_turn(cpu)) {
			*exit = lockstep_is_twin(cpu->core.vm) ?
				(struct emul_exit){ .reason = EMUL_EXIT_KICK } :
				(struct emul_exit){ .reason = EMUL_EXIT_ERROR, .msg = cpu->core.msg };
			break;
		}
		if (attention(cpu)) {
			if (!attend(cpu, exit))
				break;
			if (unlikely(lockstep_is_twin(cpu->core.vm)))
				continue;	/* that may have been all there was to do */
		}
		shadow = cpu->s.intr_shadow;
		cpu->s.intr_shadow = 0;
		cpu->u = NULL;
		alive = likely(!cpu->slow) || x86_code_breakpoint(cpu);
		if (likely(alive)) {
			bool single = shadow || cpu->slow || one;
			struct x86_block *b = x86_block_get(cpu, single);

			if (!b)
				alive = x86_deliver_exception(cpu);
			else if (single)
				alive = run_one(cpu, b, &again);
			else if (unlikely(lockstep_is_twin(cpu->core.vm)))
				alive = run_some(cpu, b, x86_lockstep_budget(cpu));
			else
				alive = run_blocks(cpu, b);
		}
		if (unlikely(!alive)) {
			exit->reason = EMUL_EXIT_SHUTDOWN;
			exit->msg = x86_shutdown_message(cpu);
			break;
		}
		if (one && !again) {
			exit->reason = EMUL_EXIT_DEBUG;
			break;
		}
	}
	emul_world_leave(&cpu->core);
	x86_fpu_sync(cpu);
}

void emul_run(struct emul_vcpu *vcpu, struct emul_exit *exit)
{
	run(x86_cpu(vcpu), exit, false);
}

void emul_step(struct emul_vcpu *vcpu, struct emul_exit *exit)
{
	run(x86_cpu(vcpu), exit, true);
}
