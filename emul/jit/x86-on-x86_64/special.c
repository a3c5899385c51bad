// SPDX-License-Identifier: GPL-2.0-only
/*
 * special.c - instructions that need code of their own: the stack, LEA, division, exchanges, flags as data
 */
#include "translate.h"

/* The value of guest register @g: where it lives, or in @scratch. */
static unsigned int value_of(struct tr *t, unsigned int g, unsigned int scratch)
{
	unsigned int h = host_reg(g);

	if (h != H_NONE)
		return h;
	put_load(&t->e, scratch, RM_GPR(g));
	return scratch;
}

static bool tr_lea(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	unsigned int to = host_reg(i->reg);
	struct enc c = { .opsz = i->opsize == 2 ? 0x66 : 0, .w = i->opsize == 8, .op = OP_LEA };
	struct rm rm;

	/* the result does not depend on the size of the address, unless that is less */
	if (!tr_ea_ok(t, u) || i->addrsize < i->opsize || (to == H_NONE && i->opsize == 2))
		return false;
	rm = tr_ea(t, u);
	put_insn(&t->e, &c, to == H_NONE ? H_T0 : to, rm);
	if (to == H_NONE)
		put_store(&t->e, H_T0, RM_GPR(i->reg));
	return true;
}

/* MOV Z, imm */
static bool tr_mov_imm(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	bool high = i->opsize == 1 && !(i->flags & X86_IF_REX) && i->rm >= 4 && i->rm < 8;
	unsigned int to = high ? i->rm : host_reg(i->rm);

	if (x86_rows[i->row].opnd[0].kind != X86_OK_Z)
		return false;
	if (i->opsize < 4) {
		/* MOV r/m, imm: a part of the register, or of where it is kept */
		const struct enc c = {
			.opsz = i->opsize == 2 ? 0x66 : 0, .op = i->opsize == 2 ? 0xc7 : 0xc6,
			.rex = i->opsize == 1 && !high && to != H_NONE && to >= 4,
		};

		put_insn(&t->e, &c, 0, to == H_NONE ? RM_GPR(i->rm) : RM_REG(to));
		put_bytes(&t->e, &i->imm, i->opsize);
		return true;
	}
	put_const(&t->e, to == H_NONE ? H_T0 : to, i->opsize == 4 ? (u32)i->imm : i->imm);
	if (to == H_NONE)
		put_store(&t->e, H_T0, RM_GPR(i->rm));
	return true;
}

static bool tr_bswap(struct tr *t, const struct uop *u)
{
	unsigned int g = u->insn.rm, h;

	if (u->insn.opsize < 4)
		return false;
	h = value_of(t, g, H_T0);
	put8(&t->e, 0x40 | (u->insn.opsize == 8) << 3 | (h >= 8));
	put8(&t->e, 0x0f);
	put8(&t->e, 0xc8 | (h & 7));
	if (h == H_T0)
		put_store(&t->e, h, RM_GPR(g));
	return true;
}

/* XCHG of two registers: not the host's, which would lock if one is in memory */
static bool tr_xchg(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	bool z = x86_rows[i->row].opnd[0].kind == X86_OK_Z, w = i->opsize == 8;
	unsigned int a = i->rm, b = z ? X86_RAX : i->reg;

	if (i->flags & X86_IF_MEM || i->opsize < 4)
		return false;
	put_op(&t->e, OP_MOV_RM, w, H_T0, host_reg(a) == H_NONE ? RM_GPR(a) : RM_REG(host_reg(a)));
	put_op(&t->e, OP_MOV_RM, w, H_T1, host_reg(b) == H_NONE ? RM_GPR(b) : RM_REG(host_reg(b)));
	put_op(&t->e, OP_MOV_MR, true, H_T1, host_reg(a) == H_NONE ? RM_GPR(a) : RM_REG(host_reg(a)));
	put_op(&t->e, OP_MOV_MR, true, H_T0, host_reg(b) == H_NONE ? RM_GPR(b) : RM_REG(host_reg(b)));
	return true;
}

static bool tr_push(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	bool mem = i->flags & X86_IF_MEM, imm = u->form == FORM_RI;
	unsigned int size = tr_stack_size(t, u), reg;
	struct rm rm;

	if (!tr_stack_ok(t, u) || (mem && !tr_ea_ok(t, u)))
		return false;
	if (mem) {
		put_sized(t, size, OP_MOV_RM, H_T1, tr_operand(t, u, size, false));
		put_store(&t->e, H_T1, RM_CPU(jit.tmp[0]));
	}
	rm = tr_stack(t, u, X86_RSP, -(s32)size, true);
	if (imm) {
		put_sized(t, size, 0xc7, 0, rm);
		put_bytes(&t->e, &i->imm, size == 2 ? 2 : 4);
	} else if (!mem && host_reg(i->rm) != H_NONE) {
		put_sized(t, size, OP_MOV_MR, host_reg(i->rm), rm);
	} else {
		reg = tr_spare(t, &rm);
		put_load(&t->e, reg, mem ? RM_CPU(jit.tmp[0]) : RM_GPR(i->rm));
		put_sized(t, size, OP_MOV_MR, reg, rm);
	}
	tr_set_sp(t, H_GUEST_RSP, -(s32)size);
	return true;
}

static bool tr_pop(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	unsigned int to;
	struct rm rm;

	if (!tr_stack_ok(t, u) || i->flags & X86_IF_MEM)
		return false;
	to = host_reg(i->rm);
	rm = tr_stack(t, u, X86_RSP, 0, false);
	put_sized(t, tr_stack_size(t, u), OP_MOV_RM, to == H_NONE ? H_T1 : to, rm);
	if (i->rm == X86_RSP)
		return true;
	if (to == H_NONE)
		put_store(&t->e, H_T1, RM_GPR(i->rm));
	tr_set_sp(t, H_GUEST_RSP, (s32)tr_stack_size(t, u));
	return true;
}

static bool tr_leave(struct tr *t, const struct uop *u)
{
	struct rm rm;

	if (!tr_stack_ok(t, u))
		return false;
	rm = tr_stack(t, u, X86_RBP, 0, false);
	tr_set_sp(t, H_RBP, (s32)tr_stack_size(t, u));
	put_sized(t, tr_stack_size(t, u), OP_MOV_RM, H_RBP, rm);
	return true;
}

/*
 * Division, where it can't fault: the dividend's upper half is less than the divisor (unsigned), or mere sign with a
 * divisor other than 0 and -1. All else goes to the handler.
 */
static bool tr_div(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	bool w = i->opsize == 8;
	unsigned int d;

	if (i->opsize < 4 || (i->flags & X86_IF_MEM && !tr_ea_ok(t, u)))
		return false;
	tr_clobber(t);
	if (i->flags & X86_IF_MEM) {
		put_op(&t->e, OP_MOV_RM, w, H_T0, tr_operand(t, u, i->opsize, false));
		d = H_T0;
	} else {
		d = value_of(t, i->rm, H_T0);
	}
	if (i->op == X86_OP_DIV) {
		put_op(&t->e, OP_CMP_RM, w, H_RDX, RM_REG(d));
		tr_slow(t, CC_AE);
	} else {
		put_op(&t->e, OP_MOV_RM, w, H_T1, RM_REG(H_RAX));
		put_op(&t->e, 0xc1, w, 7, RM_REG(H_T1));	/* sar */
		put8(&t->e, w ? 63 : 31);
		put_op(&t->e, OP_CMP_RM, w, H_T1, RM_REG(H_RDX));
		tr_slow(t, CC_NE);
		put_op(&t->e, OP_LEA, w, H_T1, RM_MEM(d, 1));
		put_imm(&t->e, 7, w, RM_REG(H_T1), 1);
		tr_slow(t, CC_BE);
	}
	put_op(&t->e, 0xf7, w, i->op == X86_OP_DIV ? 6 : 7, RM_REG(d));
	t->where = NOWHERE;
	return true;
}

/* One to three bytes without operands, as they are. */
static bool tr_plain(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	struct jit_flags f = jit_flags(i);

	if (f.reads | (f.kills ? t->after & ~f.kills : 0))
		tr_want_flags(t, true);
	if (i->op == X86_OP_CBW || i->op == X86_OP_CWD) {
		if (i->opsize == 2)
			put8(&t->e, 0x66);
		if (i->opsize == 8)
			put8(&t->e, 0x48);
	}
	put8(&t->e, i->opcode);
	if (f.kills)
		t->where = t->after ? IN_EFLAGS : NOWHERE;
	return true;
}

bool tr_special(struct tr *t, const struct uop *u)
{
	switch (u->insn.op) {
	case X86_OP_NOP:
	case X86_OP_PREFETCH:
	case X86_OP_LFENCE:
	case X86_OP_SFENCE:
		return true;
	case X86_OP_MFENCE:
		PUT(&t->e, "\x0f\xae\xf0");
		return true;
	case X86_OP_LEA:
		return tr_lea(t, u);
	case X86_OP_MOV:
		return tr_mov_imm(t, u);
	case X86_OP_BSWAP:
		return tr_bswap(t, u);
	case X86_OP_XCHG:
		return tr_xchg(t, u);
	case X86_OP_PUSH:
		return tr_push(t, u);
	case X86_OP_POP:
		return tr_pop(t, u);
	case X86_OP_LEAVE:
		return tr_leave(t, u);
	case X86_OP_DIV:
	case X86_OP_IDIV:
		return tr_div(t, u);
	case X86_OP_CBW: case X86_OP_CWD: case X86_OP_CLC: case X86_OP_STC: case X86_OP_CMC: case X86_OP_LAHF:
	case X86_OP_SAHF:
		return tr_plain(t, u);
	default:
		return false;
	}
}
