// SPDX-License-Identifier: GPL-2.0-only
/*
 * system.c - system instructions that kernels execute at every turn: the interrupt flag, SWAPGS, bases of FS and GS, PUSHF
 *
 * Translated code runs in protected mode. What could fault, or must be looked at by the loop, goes to the handler.
 */
#include "translate.h"

#define RFLAGS	RM_CPU(s.rflags)

/* To the handler unless the CPL is 0, with which any IOPL will do. */
static void need_cpl0(struct tr *t)
{
	const struct enc cmp = { .op = 0x80 };

	tr_clobber(t);
	put_insn(&t->e, &cmp, 7, RM_CPU(cpl));
	put8(&t->e, 0);
	tr_slow(t, CC_NE);
}

static bool tr_cli(struct tr *t)
{
	need_cpl0(t);
	put_imm(&t->e, 4, false, RFLAGS, ~(u32)X86_IF);
	return true;
}

/*
 * Nothing is to be delivered, so the instruction that follows needs no protection from it; the next block's entry polls. As
 * the last instruction of a translation it would be followed by such an entry.
 */
static bool tr_sti(struct tr *t, const struct uop *u)
{
	const struct enc cmp = { .op = 0x80 };

	if (u->idx + 1u >= t->nr)
		return false;
	need_cpl0(t);
	put_insn(&t->e, &cmp, 7, RM_CPU(intr_waiting));
	put8(&t->e, 0);
	tr_slow(t, CC_NE);
	put_imm(&t->e, 7, false, RM_CPU(core.request), 0);
	tr_slow(t, CC_NE);
	put_imm(&t->e, 1, false, RFLAGS, X86_IF);
	return true;
}

static bool tr_df(struct tr *t, bool set)
{
	tr_clobber(t);
	put_imm(&t->e, set ? 1 : 4, false, RFLAGS, set ? X86_DF : ~(u32)X86_DF);
	return true;
}

static struct rm seg_base(enum x86_seg seg)
{
	return RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, s.seg) + seg * sizeof(struct x86_segreg) +
				   offsetof(struct x86_segreg, base)));
}
static struct rm lin_base(enum x86_seg seg)
{
	return RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, lin_base) + seg * sizeof(u64)));
}

static bool tr_swapgs(struct tr *t)
{
	struct emit *e = &t->e;

	need_cpl0(t);
	put_load(e, H_T0, seg_base(X86_GS));
	put_load(e, H_T1, RM_CPU(s.kernel_gs_base));
	put_store(e, H_T0, RM_CPU(s.kernel_gs_base));
	put_store(e, H_T1, seg_base(X86_GS));
	put_store(e, H_T1, lin_base(X86_GS));
	return true;
}

/* RDFSBASE, WRGSBASE etc. */
static bool tr_base(struct tr *t, const struct uop *u, enum x86_seg seg, bool write)
{
	const struct enc test = { .op = 0xf7 };
	unsigned int reg = host_reg(u->insn.rm);
	bool w = u->insn.opsize == 8;
	struct emit *e = &t->e;

	tr_clobber(t);
	put_insn(e, &test, 0, RM_CPU(s.cr4));
	put32(e, X86_CR4_FSGSBASE);
	tr_slow(t, CC_E);
	if (!write) {
		put_op(e, OP_MOV_RM, w, reg == H_NONE ? H_T0 : reg, seg_base(seg));
		if (reg == H_NONE)
			put_store(e, H_T0, RM_GPR(u->insn.rm));
		return true;
	}
	put_op(e, OP_MOV_RM, w, H_T0, reg == H_NONE ? RM_GPR(u->insn.rm) : RM_REG(reg));
	if (w) {	/* canonical? */
		put_move(e, H_T1, H_T0);
		put_op(e, 0xc1, true, 4, RM_REG(H_T1));		/* shl */
		put8(e, 16);
		put_op(e, 0xc1, true, 7, RM_REG(H_T1));		/* sar */
		put8(e, 16);
		put_op(e, OP_CMP_RM, true, H_T1, RM_REG(H_T0));
		tr_slow(t, CC_NE);
	}
	put_store(e, H_T0, seg_base(seg));
	put_store(e, H_T0, lin_base(seg));
	return true;
}

/* The image is made first: from jit.flags, OF there in bit 0 and the others in 8..15. */
static bool tr_pushf(struct tr *t, const struct uop *u)
{
	const struct enc movzx = { .map = X86_MAP_0F, .op = 0xb6 };
	struct emit *e = &t->e;
	unsigned int reg;
	struct rm rm;

	if (u->insn.opsize != t->width || t->code16)
		return false;			/* in virtual-8086 mode IOPL has a say */
	tr_clobber(t);
	put_insn(e, &movzx, H_T0, RM_CPU(jit.flags));
	put_op(e, 0xc1, false, 4, RM_REG(H_T0));		/* shl */
	put8(e, __builtin_ctz(X86_OF));
	put_op(e, 0x0b, false, H_T0, RFLAGS);			/* or */
	put_insn(e, &movzx, H_T1, RM_MEM(H_CPU, (s32)offsetof(struct x86_cpu, jit.flags) + 1));
	put_imm(e, 4, false, RM_REG(H_T1), X86_ARITH & 0xff);
	put_op(e, 0x0b, false, H_T0, RM_REG(H_T1));
	put_imm(e, 4, false, RM_REG(H_T0), ~(u32)(X86_RF | X86_VM));
	put_store(e, H_T0, RM_CPU(jit.tmp[0]));
	rm = tr_stack(t, u, X86_RSP, -t->width, true);
	reg = tr_spare(t, &rm);
	put_load(e, reg, RM_CPU(jit.tmp[0]));
	put_op(e, OP_MOV_MR, t->w, reg, rm);
	put_addr(t, OP_LEA, H_GUEST_RSP, RM_MEM(H_GUEST_RSP, -t->width));
	return true;
}

bool tr_system(struct tr *t, const struct uop *u)
{
	switch (u->insn.op) {
	case X86_OP_CLI:
		return !t->code16 && tr_cli(t);
	case X86_OP_STI:
		return !t->code16 && tr_sti(t, u);
	case X86_OP_CLD:
		return tr_df(t, false);
	case X86_OP_STD:
		return tr_df(t, true);
	case X86_OP_SWAPGS:
		return tr_swapgs(t);
	case X86_OP_RDFSBASE:
		return tr_base(t, u, X86_FS, false);
	case X86_OP_RDGSBASE:
		return tr_base(t, u, X86_GS, false);
	case X86_OP_WRFSBASE:
		return tr_base(t, u, X86_FS, true);
	case X86_OP_WRGSBASE:
		return tr_base(t, u, X86_GS, true);
	case X86_OP_PUSHF:
		return tr_pushf(t, u);
	default:
		return false;
	}
}
