// SPDX-License-Identifier: GPL-2.0-only
/*
 * alu.c - instructions that are emitted as they are, with their registers and memory operand replaced
 */
#include "translate.h"

/* Has the host what the instruction needs? The guest may be offered what the interpreter computes in C. */
static bool host_has(const struct jit_cache *c, enum x86_feat feat)
{
	switch (feat) {
	case X86_FEAT_BASE: case X86_FEAT_CMOV: case X86_FEAT_SSE2:
		return true;
	default:
		return c->host_features >> feat & 1;
	}
}

/* Mandatory prefix of a legacy integer instruction; what else looks like one is meaningless and is dropped. */
static u8 mandatory(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_POPCNT: case X86_OP_TZCNT: case X86_OP_LZCNT: case X86_OP_ADOX:
		return 0xf3;
	case X86_OP_CRC32:
		return 0xf2;
	default:
		return 0;
	}
}

bool tr_alu_taken(const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	bool mem = i->flags & X86_IF_MEM;

	switch (i->op) {
	case X86_OP_ADD: case X86_OP_OR: case X86_OP_ADC: case X86_OP_SBB: case X86_OP_AND: case X86_OP_SUB:
	case X86_OP_XOR: case X86_OP_CMP: case X86_OP_TEST: case X86_OP_INC: case X86_OP_DEC: case X86_OP_NEG:
	case X86_OP_NOT: case X86_OP_MOVZXB: case X86_OP_MOVZXW: case X86_OP_MOVSXB: case X86_OP_MOVSXW:
	case X86_OP_SETCC: case X86_OP_CMOVCC: case X86_OP_MUL: case X86_OP_IMUL1: case X86_OP_IMUL2:
	case X86_OP_IMUL3: case X86_OP_ROL: case X86_OP_ROR: case X86_OP_RCL: case X86_OP_RCR: case X86_OP_SHL:
	case X86_OP_SHR: case X86_OP_SAR: case X86_OP_BSF: case X86_OP_BSR: case X86_OP_TZCNT: case X86_OP_LZCNT:
	case X86_OP_POPCNT: case X86_OP_XADD: case X86_OP_CMPXCHG: case X86_OP_MOVBE: case X86_OP_CRC32:
	case X86_OP_ADCX: case X86_OP_ADOX: case X86_OP_ANDN: case X86_OP_BEXTR: case X86_OP_BLSI:
	case X86_OP_BLSMSK: case X86_OP_BLSR: case X86_OP_BZHI: case X86_OP_PDEP: case X86_OP_PEXT:
	case X86_OP_MULX: case X86_OP_RORX: case X86_OP_SARX: case X86_OP_SHLX: case X86_OP_SHRX:
	case X86_OP_MOVNTI:
		return true;
	case X86_OP_MOVSXD: case X86_OP_SHLD: case X86_OP_SHRD:
		return i->opsize > 2;
	case X86_OP_MOV:
		return x86_rows[i->row].opnd[0].kind != X86_OK_Z;
	case X86_OP_BT: case X86_OP_BTS: case X86_OP_BTR: case X86_OP_BTC:
		return !mem || u->form == FORM_MI || u->form == FORM_LMI;	/* the others reach beyond their operand */
	case X86_OP_XCHG:
		return mem;
	default:
		return false;
	}
}

/* BT and the like: with memory and a register they reach beyond the operand. */
static bool bit_string(const struct x86_insn *i)
{
	return i->op == X86_OP_BT || i->op == X86_OP_BTS || i->op == X86_OP_BTR || i->op == X86_OP_BTC;
}

struct reg {
	u8 guest, host, access, size;
	bool high;		/* AH..BH */
};

static struct reg make_reg(const struct x86_insn *i, unsigned int n, const struct x86_opnd *o)
{
	struct reg r = { .guest = (u8)n, .access = o->access, .size = (u8)x86_opnd_size(i, o) };

	r.high = r.size == 1 && !(i->flags & X86_IF_REX) && n >= 4 && n < 8;
	r.host = (u8)(r.high ? n : host_reg(n));
	return r;
}

bool tr_alu(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	const struct x86_row *row = &x86_rows[i->row];
	bool mem = i->flags & X86_IF_MEM, modrm = row->flags & X86_RF_MODRM, moffs = false, high = false, high_regs = false, write = false;
	struct enc c = { .map = i->map, .op = i->opcode, .w = i->opsize == 8, .rep = mandatory(i) };
	struct reg g = { .host = i->modrm >> 3 & 7 }, e = { .host = H_NONE }, v = { .host = H_NONE };
	struct reg *all[3] = { &g, &e, &v };
	unsigned int size = 0, spilled = 0, next = H_T0;
	struct rm rm = RM_REG(H_RAX);
	bool need;

	if (!tr_alu_taken(u) || !host_has(t->c, row->feat) || (mem && !tr_ea_ok(t, u)))
		return false;
	g.guest = e.guest = v.guest = H_NONE;
	if (i->flags & X86_IF_VEX) {
		c.vex = true;
		c.w = i->flags & X86_IF_W;
		c.pp = i->pfx;
	} else if (i->opsize == 2 || (row->flags & X86_RF_Y && i->pfx == X86_PFX_66)) {
		c.opsz = 0x66;
	}
	c.lock = i->flags & X86_IF_LOCK;
	for (unsigned int k = 0; k < ARRAY_SIZE(row->opnd); k++) {
		const struct x86_opnd *o = &row->opnd[k];

		switch (o->kind) {
		case X86_OK_E:
		case X86_OK_M:
		case X86_OK_R:
			if (mem) {
				size = x86_opnd_size(i, o);
				write = o->access & X86_WR;
			} else {
				e = make_reg(i, i->rm, o);
			}
			break;
		case X86_OK_G:
			g = make_reg(i, i->reg, o);
			break;
		case X86_OK_B:
			v = make_reg(i, i->vvvv, o);
			break;
		case X86_OK_Z:			/* INC, DEC: the other encoding, FF /0 and FF /1 */
			e = make_reg(i, i->rm, o);
			g.host = i->op == X86_OP_DEC;
			c.op = 0xff;
			modrm = true;
			break;
		case X86_OK_O:			/* MOV of the accumulator: the encoding with ModRM */
			size = i->opsize;
			write = o->access & X86_WR;
			g.host = H_RAX;
			moffs = modrm = true;
			c.op = i->opcode ^ 0x2a;	/* A0..A3: 8A, 8B, 88, 89 */
			break;
		case X86_OK_NONE: case X86_OK_ACC: case X86_OK_I: case X86_OK_ONE: case X86_OK_CL:
			break;
		default:
			return false;
		}
	}
	if (i->map == X86_MAP_1 && i->opcode == 0x82)
		c.op = 0x80;			/* 64-bit code does not have the alias */
	if (i->op == X86_OP_MOVNTI) {
		c.map = X86_MAP_1;
		c.op = 0x89;
	}
	for (unsigned int k = 0; k < 3; k++) {
		if (all[k]->guest == H_NONE)
			continue;
		if (all[k]->high)
			high = true;
		else if (all[k]->host >= 8)
			high_regs = true;
		if (all[k]->host == H_NONE)
			spilled++;
		/* SPL..DIL want a REX prefix */
		if (all[k]->size == 1 && !all[k]->high && all[k]->host >= 4)
			c.rex = true;
	}
	if (high && (mem || high_regs || c.w || c.rex))
		return false;
	if (spilled > (mem ? 1 : 2))
		return false;

	/*
	 * A register that is kept in memory can be the operand that ModRM names: its low bytes are where the instruction looks,
	 * but 32 bits that are written clear the others.
	 */
	if (!mem && e.guest != H_NONE && e.host == H_NONE && modrm && !e.high &&
	    (!(e.access & X86_WR) || e.size != 4) && e.guest != g.guest && e.guest != v.guest && !bit_string(i)) {
		rm = RM_GPR(e.guest);
		e.guest = H_NONE;
		spilled--;
	}
	need = (jit_flags(i).reads | (row->flags & X86_RF_FLAGS_W ? t->after & ~jit_flags(i).kills : 0)) != 0;
	if (mem) {
		rm = tr_operand(t, u, size, write);
		if ((c.lock || i->op == X86_OP_XCHG) && size > 1)
			tr_aligned(t, rm, size);
		if (spilled)
			next = tr_spare(t, &rm);
	}
	if (need)
		tr_want_flags(t, tr_t1_free(rm));
	for (unsigned int k = 0; k < 3; k++) {
		if (all[k]->guest == H_NONE || all[k]->host != H_NONE)
			continue;
		/* one register twice: one scratch register, loaded once, stored once */
		for (unsigned int m = 0; m < k; m++)
			if (all[m]->guest == all[k]->guest)
				all[k]->host = all[m]->host;
		if (all[k]->host == H_NONE) {
			all[k]->host = (u8)next++;
			put_load(&t->e, all[k]->host, RM_GPR(all[k]->guest));
		}
	}
	if (!mem && e.host != H_NONE)
		rm = RM_REG(e.host);
	c.vvvv = v.guest == H_NONE ? 0 : v.host;
	if (modrm) {
		put_insn(&t->e, &c, g.host, rm);
	} else {
		/* accumulator and immediate */
		if (c.opsz)
			put8(&t->e, c.opsz);
		if (c.w)
			put8(&t->e, 0x48);
		put8(&t->e, c.op);
	}
	if (!moffs)
		put_bytes(&t->e, &i->imm, i->immsize);
	for (unsigned int k = 0; k < 3; k++)
		if (all[k]->guest != H_NONE && host_reg(all[k]->guest) == H_NONE && !all[k]->high &&
		    all[k]->access & X86_WR)
			put_store(&t->e, all[k]->host, RM_GPR(all[k]->guest));
	if (row->flags & X86_RF_FLAGS_W)
		t->where = t->after ? IN_EFLAGS : NOWHERE;
	return true;
}
