// SPDX-License-Identifier: GPL-2.0-only
/*
 * string.c - MOVS and STOS, and repeated ones within a page by the host's own instruction
 *
 * Compilers and C libraries copy small blocks so. What counts down, crosses a page, repeats no time or meets a page that it
 * may not touch goes to the handler, which does any of that in rounds (guest/x86/int-string.c).
 */
#include "translate.h"

/* [@reg] up to RCX elements on, as the host address in H_T0; H_T1 is used. */
static void whole_range(struct tr *t, unsigned int reg, unsigned int shift, bool write)
{
	struct emit *e = &t->e;

	put_addr(t, OP_MOV_RM, H_T1, RM_REG(reg));
	tr_lookup(t, 1, write);
	put_lea(e, H_T0, RM_SIB(H_T1, H_T0, 0, 0));
	put_lea(e, H_T1, RM_SIB(H_T1, H_RCX, shift, 0));
	put_imm(e, 7, true, RM_REG(H_T1), EMUL_PAGE_SIZE);
	tr_slow(t, CC_A);
}

/* An element at H_T1 + H_T0, or wherever @rm says, from or to @reg. */
static void put_element(struct tr *t, unsigned int size, bool write, unsigned int reg, struct rm rm)
{
	const struct enc c = { .opsz = size == 2 ? 0x66 : 0, .w = size == 8, .op = (write ? 0x88 : 0x8a) | (size != 1) };

	put_insn(&t->e, &c, reg, rm);
}

/* One element. */
static void step(struct tr *t, bool movs, unsigned int size)
{
	const struct rm at = RM_SIB(H_T1, H_T0, 0, 0), tmp = RM_CPU(jit.tmp[0]);
	struct emit *e = &t->e;

	if (movs) {
		put_addr(t, OP_MOV_RM, H_T1, RM_REG(H_RSI));
		tr_lookup(t, size, false);
		put_element(t, size, false, H_T0, at);
		put_store(e, H_T0, tmp);
	}
	put_addr(t, OP_MOV_RM, H_T1, RM_REG(H_RDI));
	tr_lookup(t, size, true);
	if (movs) {
		put_lea(e, H_T1, at);
		put_load(e, H_T0, tmp);
		put_element(t, size, true, H_T0, RM_MEM(H_T1, 0));
		put_addr(t, OP_LEA, H_RSI, RM_MEM(H_RSI, (s32)size));
	} else {
		put_element(t, size, true, H_RAX, at);
	}
	put_addr(t, OP_LEA, H_RDI, RM_MEM(H_RDI, (s32)size));
}

bool tr_string(struct tr *t, const struct uop *u)
{
	const struct enc test = { .op = 0xf7 }, xchg = { .w = true, .op = 0x87 };
	const struct x86_insn *i = &u->insn;
	bool movs = i->op == X86_OP_MOVS;
	unsigned int shift = u->osz;
	struct emit *e = &t->e;

	if ((!movs && i->op != X86_OP_STOS) || t->code16 || i->addrsize != t->width ||
	    (movs && (i->seg == X86_FS || i->seg == X86_GS || (!t->w && i->seg == X86_CS))))
		return false;			/* as in tr_ea_ok(): CS may not be readable */
	tr_clobber(t);
	put_insn(e, &test, 0, RM_CPU(s.rflags));
	put32(e, X86_DF);
	tr_slow(t, CC_NE);
	if (!(i->flags & (X86_IF_REP | X86_IF_REPNE))) {
		step(t, movs, i->opsize);
		return true;
	}
	put_addr(t, OP_LEA, H_T1, RM_MEM(H_RCX, -1));
	put_imm(e, 7, true, RM_REG(H_T1), (u32)(EMUL_PAGE_SIZE >> shift) - 1);
	tr_slow(t, CC_A);
	if (!t->w)
		put_op(e, OP_MOV_RM, false, H_RCX, RM_REG(H_RCX));	/* the upper half is no matter of the guest's */
	if (movs) {
		whole_range(t, H_RSI, shift, false);
		put_store(e, H_T0, RM_CPU(jit.tmp[0]));
	}
	whole_range(t, H_RDI, shift, true);
	if (movs) {
		put_addr(t, OP_LEA, H_T1, RM_SIB(H_RSI, H_RCX, shift, 0));
		put_load(e, H_RSI, RM_CPU(jit.tmp[0]));
	}
	put_insn(e, &xchg, H_T0, RM_REG(H_RDI));
	put_addr(t, OP_LEA, H_T0, RM_SIB(H_T0, H_RCX, shift, 0));
	if (i->opsize == 2)
		put8(e, 0x66);
	put8(e, 0xf3);
	if (i->opsize == 8)
		put8(e, 0x48);
	put8(e, (movs ? 0xa4 : 0xaa) | (i->opsize != 1));
	put_move(e, H_RDI, H_T0);
	if (movs)
		put_move(e, H_RSI, H_T1);
	return true;
}
