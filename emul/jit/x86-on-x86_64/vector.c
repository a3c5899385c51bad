// SPDX-License-Identifier: GPL-2.0-only
/*
 * vector.c - SSE and AVX instructions, emitted as they are; the guest's vector registers in the host's
 *
 * They are loaded, all sixteen, when the first instruction needs them after translated code was entered or came back from
 * a handler, and stay there over blocks and branches until C code runs (jit.missing, cache.c).
 *
 * MXCSR is in the host with all exceptions masked, or else jit.missing says that the handler must do it: so there is no
 * SIGFPE from translated code.
 */
#include "translate.h"

static bool taken(const struct x86_insn *i)
{
	const struct x86_row *row = &x86_rows[i->row];

	if (x86_op_class[i->op] != X86_CLASS_VEC || i->map == X86_MAP_1)
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
	unsigned int gpr = H_NONE, gpr_access = 0, scratch = H_NONE;
	bool gpr_is_reg = false;
	struct rm rm = RM_REG(rm_reg);
	const struct enc test = { .op = 0xf6 };
	u8 bit = vex ? JIT_AVX : JIT_SSE, bits = bit | JIT_UNLOADED;

	if (!taken(i) || (mem && !tr_ea_ok(t, u)))
		return false;
	for (unsigned int k = 0; k < ARRAY_SIZE(row->opnd); k++) {
		const struct x86_opnd *o = &row->opnd[k];

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
			reg = i->reg & 15;
			break;
		case X86_OK_W:
			if (mem) {
				size = x86_opnd_size(i, o);
				write = o->access & X86_WR;
			}
			break;
		}
	}
	if (mem && !size)
		return false;

	if (bits & ~t->vec_checked)
		tr_clobber(t);
	if (bit & ~t->vec_checked) {
		put_insn(&t->e, &test, 0, RM_CPU(jit.missing));
		put8(&t->e, bit);
		tr_slow(t, CC_NE);
	}
	if (JIT_UNLOADED & ~t->vec_checked) {
		put_insn(&t->e, &test, 0, RM_CPU(jit.missing));
		put8(&t->e, JIT_UNLOADED);
		t->load[t->nr_load].from = put_jcc(&t->e, CC_NE);
		t->load[t->nr_load++].join = t->e.p;
	}
	if (mem) {
		rm = tr_operand(t, u, size, write);
		if (row->flags & X86_RF_ALIGN && size > 1)
			tr_aligned(t, rm, size);
	}
	if (gpr != H_NONE) {
		unsigned int h = host_reg(gpr);

		if (h == H_NONE) {
			h = scratch = mem ? tr_spare(t, &rm) : H_T0;
			put_load(&t->e, h, RM_GPR(gpr));
		}
		if (gpr_is_reg)
			reg = h;
		else
			rm = RM_REG(h);
	}
	if (i->map == X86_MAP_0F && i->opcode == 0x77 && !t->w) {
		/* VZEROUPPER, VZEROALL: eight registers only. VMOVAPS of a register to itself, VXORPS with itself */
		for (unsigned int r = 0; r < 8; r++) {
			const struct enc clear = { .vex = true, .map = X86_MAP_0F, .op = l ? 0x57 : 0x28, .vvvv = l ? (u8)r : 0 };

			put_insn(&t->e, &clear, r, RM_REG(r));
		}
	} else if (i->map == X86_MAP_0F && i->opcode == 0x77) {	/* no ModRM */
		put8(&t->e, 0xc5);
		put8(&t->e, l ? 0xfc : 0xf8);
		put8(&t->e, 0x77);
	} else {
		put_insn(&t->e, &c, reg, rm);
	}
	if (i->immsize == 1)
		put8(&t->e, (u8)i->imm);
	if (gpr != H_NONE && host_reg(gpr) == H_NONE && gpr_access & X86_WR)
		put_store(&t->e, scratch, RM_GPR(gpr));
	t->vec_checked |= bits;
	if (row->flags & X86_RF_FLAGS_W)
		t->where = t->after ? IN_EFLAGS : NOWHERE;
	return true;
}
