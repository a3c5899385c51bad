// SPDX-License-Identifier: GPL-2.0-only
/*
 * vector.c - SSE and AVX instructions, emitted as they are; the guest's vector registers in the host's
 *
 * Within a block a vector register is loaded when an instruction names it, into the host register of the same number,
 * and stored where the block is left and before a handler is called. Of a register that only SSE and 128-bit sources
 * name, the lower half is enough: SSE leaves the upper one alone, in memory as in the register.
 *
 * MXCSR is in the host with all exceptions masked, or else jit.vector says that the handler must do it: so there is no
 * SIGFPE from translated code.
 */
#include "translate.h"

#define XMM(n)	RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, s.fpu.fx.xmm) + 16 * (n)))
#define YMMH(n)	RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, s.fpu.ymmh) + 16 * (n)))

static void load_low(struct tr *t, unsigned int n)
{
	const struct enc c = { .map = X86_MAP_0F, .op = 0x28 };

	put_insn(&t->e, &c, n, XMM(n));				/* movaps */
}

static void load_high(struct tr *t, unsigned int n)
{
	const struct enc c = { .vex = true, .l = true, .pp = 1, .map = X86_MAP_0F3A, .op = 0x18, .vvvv = (u8)n };

	put_insn(&t->e, &c, n, YMMH(n));			/* vinsertf128 */
	put8(&t->e, 1);
}

static void store_low(struct tr *t, unsigned int n, bool vex)
{
	const struct enc c = { .vex = vex, .map = X86_MAP_0F, .op = 0x29 };

	put_insn(&t->e, &c, n, XMM(n));
}

static void store_high(struct tr *t, unsigned int n)
{
	const struct enc c = { .vex = true, .l = true, .pp = 1, .map = X86_MAP_0F3A, .op = 0x19 };

	put_insn(&t->e, &c, n, YMMH(n));			/* vextractf128 */
	put8(&t->e, 1);
}

void tr_vec_store(struct tr *t, const struct vec_state *v)
{
	bool vex = v->high;

	for (unsigned int n = 0; n < 16; n++) {
		if (v->dirty_low >> n & 1)
			store_low(t, n, vex);
		if (v->dirty_high >> n & 1)
			store_high(t, n);
	}
	if (vex)
		PUT(&t->e, "\xc5\xf8\x77");			/* vzeroupper: C code is SSE code */
}

void tr_vec_load(struct tr *t, const struct vec_state *v)
{
	for (unsigned int n = 0; n < 16; n++) {
		if ((v->low | v->high) >> n & 1)
			load_low(t, n);
		if (v->high >> n & 1)
			load_high(t, n);
	}
}

/* Have register @n in the host. */
static void need(struct tr *t, unsigned int n, bool high)
{
	struct vec_state *v = &t->v;

	if (!(v->low >> n & 1)) {
		load_low(t, n);
		v->low |= BIT(n);
	}
	if (high && !(v->high >> n & 1)) {
		load_high(t, n);
		v->high |= BIT(n);
	}
}

/* Does a legacy instruction write its whole vector destination without reading it? */
static bool overwrites(const struct x86_insn *i)
{
	bool mem = i->flags & X86_IF_MEM;

	switch (i->op) {
	case X86_OP_MOVAPS: case X86_OP_MOVAPD: case X86_OP_MOVUPS: case X86_OP_MOVUPD: case X86_OP_MOVDQA:
	case X86_OP_MOVDQU: case X86_OP_LDDQU: case X86_OP_MOVD: case X86_OP_MOVQ: case X86_OP_PSHUFD:
	case X86_OP_CVTDQ2PS: case X86_OP_CVTTPS2DQ: case X86_OP_CVTPS2DQ: case X86_OP_CVTDQ2PD:
		return true;
	case X86_OP_MOVSS: case X86_OP_MOVSD:
		return mem;
	default:
		return false;
	}
}

static bool taken(const struct x86_insn *i)
{
	const struct x86_row *row = &x86_rows[i->row];

	if (x86_op_class[i->op] != X86_CLASS_VEC || i->map == X86_MAP_1)
		return false;
	if (i->map == X86_MAP_0F && i->opcode == 0x77)		/* VZEROUPPER, VZEROALL */
		return false;
	if (i->flags & X86_IF_VEX && i->flags & X86_IF_MEM && i->map == X86_MAP_0F38 &&
	    ((i->opcode >= 0x2c && i->opcode <= 0x2f) || i->opcode == 0x8c || i->opcode == 0x8e))
		return false;					/* masked moves */
	for (unsigned int k = 0; k < ARRAY_SIZE(row->opnd); k++) {
		switch (row->opnd[k].kind) {
		case X86_OK_E: case X86_OK_R: case X86_OK_G: case X86_OK_V: case X86_OK_W: case X86_OK_U:
		case X86_OK_M: case X86_OK_I: case X86_OK_H: case X86_OK_L: case X86_OK_XMM0: case X86_OK_NONE:
			break;
		default:					/* MMX, gathers */
			return false;
		}
	}
	return true;
}

/* Streaming stores become plain ones: see stub.c. */
static u8 opcode(const struct x86_insn *i)
{
	if (i->map == X86_MAP_0F && i->opcode == 0x2b && i->pfx <= X86_PFX_66)
		return 0x29;
	if (i->map == X86_MAP_0F && i->opcode == 0xe7)
		return 0x7f;
	return i->opcode;
}

bool tr_vector(struct tr *t, const struct uop *u)
{
	static const u8 reps[] = { 0, 0, 0xf3, 0xf2 };
	const struct x86_insn *i = &u->insn;
	const struct x86_row *row = &x86_rows[i->row];
	bool mem = i->flags & X86_IF_MEM, vex = i->flags & X86_IF_VEX, l = i->flags & X86_IF_L, write = false;
	struct enc c = {
		.map = i->map, .op = opcode(i), .w = i->flags & X86_IF_W, .vex = vex, .l = l, .vvvv = i->vvvv,
		.pp = i->pfx, .opsz = i->pfx == X86_PFX_66 ? 0x66 : 0, .rep = reps[i->pfx],
	};
	unsigned int reg = i->modrm >> 3 & 7, rm_reg = i->rm & 15, size = 0;
	unsigned int gpr = H_NONE, gpr_access = 0;
	bool gpr_is_reg = false;
	u32 written = 0, reads = 0;
	struct rm rm;
	u8 bit = vex ? JIT_AVX : JIT_SSE;

	if (!taken(i) || (mem && !tr_ea_ok(u)))
		return false;
	for (unsigned int k = 0; k < ARRAY_SIZE(row->opnd); k++) {
		const struct x86_opnd *o = &row->opnd[k];
		unsigned int n = H_NONE;

		switch (o->kind) {
		case X86_OK_E: case X86_OK_R: case X86_OK_M:
			if (mem) {
				size = x86_opnd_size(i, o);
				write = o->access & X86_WR;
			} else {
				gpr = i->rm;
				gpr_access = o->access;
			}
			break;
		case X86_OK_G:
			gpr = i->reg;
			gpr_access = o->access;
			gpr_is_reg = true;
			break;
		case X86_OK_V:
			n = reg = i->reg & 15;
			break;
		case X86_OK_W:
			if (mem) {
				size = x86_opnd_size(i, o);
				write = o->access & X86_WR;
				break;
			}
			fallthrough;
		case X86_OK_U:
			n = i->rm & 15;
			break;
		case X86_OK_H:
			n = i->vvvv;
			break;
		case X86_OK_L:
			n = i->imm >> 4 & 15;
			break;
		case X86_OK_XMM0:
			n = 0;
			break;
		}
		if (n == H_NONE)
			continue;
		if (o->access & X86_WR)
			written |= BIT(n);
		if (o->access & X86_RD || !(vex || overwrites(i)))
			reads |= BIT(n);
	}
	if (row->flags & X86_RF_IMP_XMM0)
		written |= BIT(0);
	if (mem && !size)
		return false;

	if (mem || !(t->vec_checked & bit))
		tr_clobber(t);
	if (!(t->vec_checked & bit)) {
		const struct enc test = { .op = 0xf6 };

		put_insn(&t->e, &test, 0, RM_CPU(jit.vector));
		put8(&t->e, bit);
		tr_slow(t, CC_E);
	}
	if (mem) {
		tr_operand(t, u, size, write);
		if (row->flags & X86_RF_ALIGN && size > 1) {
			put_op(&t->e, 0xf7, false, 0, RM_REG(H_T1));
			put32(&t->e, size - 1);
			tr_slow(t, CC_NE);
		}
	}
	/* Nothing is loaded before the last branch to the slow path: that reloads what was loaded here. */
	for (unsigned int n = 0; n < 16; n++)
		if (reads >> n & 1)
			need(t, n, l);
	rm = mem ? RM_SIB(H_T1, H_T0, 0, 0) : RM_REG(rm_reg);
	if (gpr != H_NONE) {
		unsigned int h = host_reg(gpr);

		if (h == H_NONE) {
			if (mem) {
				put_lea(&t->e, H_T1, rm);
				rm = RM_MEM(H_T1, 0);
			}
			h = H_T0;
			put_load(&t->e, h, RM_GPR(gpr));
		}
		if (gpr_is_reg)
			reg = h;
		else
			rm = RM_REG(h);
	}
	put_insn(&t->e, &c, reg, rm);
	if (i->immsize == 1)
		put8(&t->e, (u8)i->imm);
	if (gpr != H_NONE && host_reg(gpr) == H_NONE && gpr_access & X86_WR)
		put_store(&t->e, H_T0, RM_GPR(gpr));
	for (unsigned int n = 0; n < 16; n++) {
		if (!(written >> n & 1))
			continue;
		t->v.low |= BIT(n);
		t->v.dirty_low |= BIT(n);
		if (vex) {
			t->v.high |= BIT(n);
			t->v.dirty_high |= BIT(n);
		}
	}
	t->vec_checked |= bit;
	if (row->flags & X86_RF_FLAGS_W)
		t->where = t->after ? IN_EFLAGS : NOWHERE;
	return true;
}
