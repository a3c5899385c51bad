// SPDX-License-Identifier: GPL-2.0-only
/*
 * decode.c - x86 instruction bytes in, struct x86_insn out
 *
 * An instruction is read from left to right: prefixes, opcode (with VEX, which is both), ModRM, displacement,
 * immediates. What the bytes mean stands in insns.def; here is only their grammar: SDM vol. 2 "Instruction
 * Format", AMD APM vol. 3 "Instruction Encoding".
 *
 * Worked example, 64-bit mode: f0 49 0f b1 4c 24 08
 *	f0		LOCK
 *	49		REX.W, REX.B: opsize 8
 *	0f b1		map 0F, chain of one row: CMPXCHG E,G; LOCK is fine with memory
 *	4c		ModRM mod 1, reg 1 (RCX), rm 4: SIB follows, then disp8
 *	24		SIB base 4 + REX.B = R12, no index
 *	08		disp 8
 * gives op CMPXCHG, opsize 8, reg RCX, memory at R12 + 8 in DS, len 7.
 *
 * The bytes are a guest's: every read is bounded, every loop runs over at most 15 bytes, four operands or one
 * chain, and tables are indexed by whole bytes or masked fields, so that no index leaves its table even in
 * speculation.
 */
#include "decode-table.h"

/* What the grammar needs to remember while it reads. */
struct x86_parse {
	const u8 *bytes;
	u8 pos;
	u8 limit;
	u8 mode;		/* enum x86_mode */
	u8 map;			/* enum x86_table_map */
	u8 rex;			/* REX or what VEX says in its place: W R X B in bits 3..0 */
	u8 vvvv;		/* VEX.vvvv, complemented, all four bits in every mode */
	bool addrsize;		/* 67 */
	bool invalid;		/* #UD, once all of it is there: fetches come first, SDM vol. 3 "Prioritization of Concurrent Events" */
	s8 seg;			/* override or -1 */
};

#define REX_B	BIT(0)
#define REX_X	BIT(1)
#define REX_R	BIT(2)
#define REX_W	BIT(3)

/* The bytes have run out. */
static enum x86_decode_result starved(const struct x86_parse *p)
{
	return p->limit < X86_INSN_MAX ? X86_DECODE_MORE : X86_DECODE_TOO_LONG;
}

static enum x86_decode_result fetch(struct x86_parse *p, unsigned int size, u64 *value)
{
	unsigned int i;

	if (p->pos + size > p->limit)
		return starved(p);

	for (*value = 0, i = 0; i < size; i++)
		*value |= (u64)p->bytes[p->pos++] << (8 * i);
	return X86_DECODE_OK;
}

static enum x86_decode_result fetch_byte(struct x86_parse *p, u8 *value)
{
	if (p->pos >= p->limit)
		return starved(p);

	*value = p->bytes[p->pos++];
	return X86_DECODE_OK;
}

static s64 sign_extend(u64 value, unsigned int size)
{
	unsigned int shift = 64 - 8 * size;

	return (s64)(value << shift) >> shift;
}

/*
 * Legacy prefixes in any order and number, then REX, which counts only if it stands last. Ends with the
 * opcode.
 */
static enum x86_decode_result parse_prefixes(struct x86_parse *p, struct x86_insn *insn, u8 *opcode)
{
	enum x86_decode_result result;
	u8 byte;

	for (;;) {
		result = fetch_byte(p, &byte);
		if (result != X86_DECODE_OK)
			return result;

		switch (byte) {
		case 0x26: case 0x2e: case 0x36: case 0x3e:
			/*
			 * ES, CS, SS and DS are null prefixes in 64-bit mode: they do not cancel FS or GS
			 * either
			 */
			if (p->mode != X86_MODE_64)
				p->seg = byte >> 3 & 3;
			break;
		case 0x64:
			p->seg = X86_FS;
			break;
		case 0x65:
			p->seg = X86_GS;
			break;
		case 0x66:
			insn->flags |= X86_IF_OPSZ;
			break;
		case 0x67:
			p->addrsize = true;
			break;
		case 0xf0:
			insn->flags |= X86_IF_LOCK;
			break;
		case 0xf2:
			insn->flags = (insn->flags & ~X86_IF_F3) | X86_IF_F2;
			break;
		case 0xf3:
			insn->flags = (insn->flags & ~X86_IF_F2) | X86_IF_F3;
			break;
		case 0x40 ... 0x4f:
			if (p->mode == X86_MODE_64) {
				p->rex = byte;
				continue;
			}
			fallthrough;
		default:
			*opcode = byte;
			return X86_DECODE_OK;
		}
		p->rex = 0;
	}
}

/* The rest of a VEX prefix and its opcode; SDM vol. 2 "Vector Extensions (VEX) Prefix" */
static enum x86_decode_result parse_vex(struct x86_parse *p, struct x86_insn *insn, u8 *opcode)
{
	enum x86_decode_result result;
	bool three = *opcode == 0xc4;
	u8 map = X86_MAP_0F, byte;

	result = fetch_byte(p, &byte);
	if (result != X86_DECODE_OK)
		return result;

	if (p->rex || insn->flags & (X86_IF_OPSZ | X86_IF_LOCK | X86_IF_F2 | X86_IF_F3))
		return X86_DECODE_INVALID;
	insn->flags |= X86_IF_VEX;

	/* R, X and B are stored inverted; the two-byte form has R where the three-byte form has R too */
	p->rex = byte & 0x80 ? 0 : REX_R;
	if (three) {
		p->rex |= (byte & 0x40 ? 0 : REX_X) | (byte & 0x20 ? 0 : REX_B);
		map = byte & 0x1f;
		if (map < X86_MAP_0F || map > X86_MAP_0F3A)
			return X86_DECODE_INVALID;
		result = fetch_byte(p, &byte);
		if (result != X86_DECODE_OK)
			return result;
		if (byte & 0x80)
			p->rex |= REX_W;
	}
	if (p->mode != X86_MODE_64)
		p->rex &= REX_W;

	p->vvvv = ~byte >> 3 & 15;
	insn->vvvv = p->mode == X86_MODE_64 ? p->vvvv : p->vvvv & 7;
	insn->pfx = byte & 3;
	if (byte & 4)
		insn->flags |= X86_IF_L;
	p->map = X86_TM_VEX + map;
	return fetch_byte(p, opcode);
}

/* Escapes and VEX; what remains is the last opcode byte. */
static enum x86_decode_result parse_opcode(struct x86_parse *p, struct x86_insn *insn)
{
	enum x86_decode_result result;
	u8 byte;

	result = parse_prefixes(p, insn, &byte);
	if (result != X86_DECODE_OK)
		return result;

	if (p->rex)
		insn->flags |= X86_IF_REX;

	if (byte == 0xc4 || byte == 0xc5) {
		/* Outside 64-bit mode LES and LDS, unless their ModRM would name a register */
		if (p->mode != X86_MODE_64 && p->pos >= p->limit)
			return starved(p);
		if (p->mode == X86_MODE_64 || p->bytes[p->pos] >= 0xc0) {
			result = parse_vex(p, insn, &byte);
			goto out;
		}
	}

	if (insn->flags & X86_IF_F2)
		insn->pfx = X86_PFX_F2;
	else if (insn->flags & X86_IF_F3)
		insn->pfx = X86_PFX_F3;
	else if (insn->flags & X86_IF_OPSZ)
		insn->pfx = X86_PFX_66;

	if (byte == 0x0f) {
		p->map = X86_MAP_0F;
		result = fetch_byte(p, &byte);
		if (result == X86_DECODE_OK && (byte == 0x38 || byte == 0x3a)) {
			p->map = byte == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
			result = fetch_byte(p, &byte);
		}
	}
out:
	if (p->rex & REX_W && p->mode == X86_MODE_64)
		insn->flags |= X86_IF_W;
	insn->map = p->map & (X86_TM_VEX - 1);
	insn->opcode = byte;
	return result;
}

/*
 * MOV to and from control and debug registers: "the mod field is ignored", SDM vol. 2 "MOV - Move to/from
 * Control"
 */
static bool mod_is_ignored(const struct x86_parse *p, const struct x86_insn *insn)
{
	return p->map == X86_TM_0F && (insn->opcode & 0xfc) == 0x20;
}

/*
 * Finds the row among those of the opcode, reading ModRM if they have one. If none fits, it is any of them: what follows
 * the opcode is the same, and is fetched before the instruction is found to be invalid.
 */
static enum x86_decode_result select_row(struct x86_parse *p, struct x86_insn *insn)
{
	unsigned int row = x86_chains[p->map & (X86_TM_COUNT - 1)][insn->opcode];
	enum x86_decode_result result;
	u16 state, key;

	if (!row)
		return X86_DECODE_INVALID;

	state = X86_SEL_NP << insn->pfx;
	state |= p->rex & REX_B ? X86_SEL_B1 : X86_SEL_B0;
	state |= p->rex & REX_W ? X86_SEL_W1 : X86_SEL_W0;
	state |= insn->flags & X86_IF_L ? X86_SEL_L1 : X86_SEL_L0;
	state |= p->mode == X86_MODE_64 ? X86_SEL_64 : X86_SEL_NO64;

	if (x86_rows[row].flags & X86_RF_MODRM) {
		result = fetch_byte(p, &insn->modrm);
		if (result != X86_DECODE_OK)
			return result;
		if (insn->modrm >= 0xc0 || mod_is_ignored(p, insn)) {
			state |= X86_SEL_REG;
		} else {
			state |= X86_SEL_MEM;
			insn->flags |= X86_IF_MEM;
		}
	}

	for (key = x86_sels[row].key; row && x86_sels[row].key == key; row--) {
		if (!(x86_sels[row].forbid & state) &&
		    (insn->modrm & x86_sels[row].mask) == x86_sels[row].value) {
			insn->row = row;
			insn->op = x86_rows[row].op;
			/* outside 64-bit mode W is no operand size, but it still is part of these opcodes */
			if ((x86_rows[row].flags & (X86_RF_VEX_W1 | X86_RF_Y)) == X86_RF_VEX_W1)
				insn->flags |= X86_IF_W;
			return X86_DECODE_OK;
		}
	}
	insn->row = x86_chains[p->map & (X86_TM_COUNT - 1)][insn->opcode];
	p->invalid = true;
	return X86_DECODE_OK;
}

static void set_sizes(const struct x86_parse *p, struct x86_insn *insn, u32 rf)
{
	bool prefix = insn->flags & X86_IF_OPSZ;

	if (p->mode == X86_MODE_64)
		insn->addrsize = p->addrsize ? 4 : 8;
	else
		insn->addrsize = p->addrsize == (p->mode == X86_MODE_16) ? 4 : 2;

	if (rf & X86_RF_BYTE)
		insn->opsize = 1;
	else if (p->mode == X86_MODE_64 && (rf & X86_RF_F64 || p->rex & REX_W))
		insn->opsize = rf & X86_RF_MAX32 ? 4 : 8;
	else if (rf & X86_RF_Y)
		insn->opsize = 4;
	else if (p->mode == X86_MODE_64)
		insn->opsize = prefix ? 2 : rf & X86_RF_D64 ? 8 : 4;
	else
		insn->opsize = prefix == (p->mode == X86_MODE_16) ? 4 : 2;
}

/* LOCK, REP and the segment that memory operands without ModRM use. */
static void apply_prefixes(struct x86_parse *p, struct x86_insn *insn, u32 rf)
{
	if (insn->flags & X86_IF_LOCK && !(rf & X86_RF_LOCK && insn->flags & X86_IF_MEM))
		p->invalid = true;

	if (rf & X86_RF_REP) {
		if (insn->flags & X86_IF_F3)
			insn->flags |= X86_IF_REP;
		else if (insn->flags & X86_IF_F2)
			insn->flags |= X86_IF_REPNE;
	}

	insn->seg = X86_DS;
	if (p->seg >= 0) {
		insn->seg = p->seg;
		insn->flags |= X86_IF_SEGOVR;
	}
}

static enum x86_decode_result fetch_disp(struct x86_parse *p, struct x86_insn *insn, unsigned int size)
{
	enum x86_decode_result result;
	u64 value;

	insn->disp_off = p->pos;
	result = fetch(p, size, &value);
	if (result == X86_DECODE_OK)
		insn->disp = sign_extend(value, size);
	return result;
}

/* SDM vol. 2 "16-Bit Addressing Forms with the ModR/M Byte" */
static enum x86_decode_result parse_modrm16(struct x86_parse *p, struct x86_insn *insn)
{
	static const u8 base[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP, X86_RSI, X86_RDI, X86_RBP, X86_RBX };
	static const u8 index[8] = {
		X86_RSI, X86_RDI, X86_RSI, X86_RDI, X86_REG_ZERO, X86_REG_ZERO, X86_REG_ZERO, X86_REG_ZERO
	};
	unsigned int mod = insn->modrm >> 6, rm = insn->modrm & 7;

	if (mod == 0 && rm == 6)
		return fetch_disp(p, insn, 2);

	insn->base = base[rm];
	insn->index = index[rm];
	return mod ? fetch_disp(p, insn, mod) : X86_DECODE_OK;
}

/*
 * SDM vol. 2 "32-Bit Addressing Forms with the ModR/M Byte", "... with the SIB Byte", "RIP-Relative
 * Addressing"
 */
static enum x86_decode_result parse_modrm32(struct x86_parse *p, struct x86_insn *insn)
{
	unsigned int mod = insn->modrm >> 6, rm = insn->modrm & 7;
	enum x86_decode_result result;
	u8 sib;

	if (rm == 4) {
		result = fetch_byte(p, &sib);
		if (result != X86_DECODE_OK)
			return result;
		rm = sib & 7;
		insn->scale = sib >> 6;
		insn->index = (sib >> 3 & 7) | (p->rex & REX_X ? 8 : 0);
		if (insn->index == X86_RSP && x86_rows[insn->row].opnd[1].kind != X86_OK_VM)
			insn->index = X86_REG_ZERO;
		if (mod == 0 && rm == 5)
			return fetch_disp(p, insn, 4);
	} else if (mod == 0 && rm == 5) {
		if (p->mode == X86_MODE_64)
			insn->base = X86_REG_RIP;
		return fetch_disp(p, insn, 4);
	}

	insn->base = rm | (p->rex & REX_B ? 8 : 0);
	return mod ? fetch_disp(p, insn, mod == 1 ? 1 : 4) : X86_DECODE_OK;
}

static enum x86_decode_result parse_modrm(struct x86_parse *p, struct x86_insn *insn)
{
	enum x86_decode_result result;

	insn->reg = (insn->modrm >> 3 & 7) | (p->rex & REX_R ? 8 : 0);
	if (!(insn->flags & X86_IF_MEM)) {
		insn->rm = (insn->modrm & 7) | (p->rex & REX_B ? 8 : 0);
		return X86_DECODE_OK;
	}

	result = insn->addrsize == 2 ? parse_modrm16(p, insn) : parse_modrm32(p, insn);
	if ((insn->base == X86_RBP || insn->base == X86_RSP) && !(insn->flags & X86_IF_SEGOVR))
		insn->seg = X86_SS;
	return result;
}

/* One immediate; a second one of the same instruction goes to imm2. */
static enum x86_decode_result fetch_imm(struct x86_parse *p, struct x86_insn *insn, unsigned int size,
					bool sign)
{
	enum x86_decode_result result;
	u64 value;

	result = fetch(p, size, &value);
	if (result != X86_DECODE_OK)
		return result;

	if (insn->immsize)
		insn->imm2 = value;
	else
		insn->imm = sign ? (u64)sign_extend(value, size) : value;
	insn->immsize += size;
	return X86_DECODE_OK;
}

/*
 * Gathers: a SIB byte is a must, and destination, mask and index must be three registers. SDM vol. 2
 * "VPGATHERDD", exception class "Type 12".
 */
static bool gather_is_valid(const struct x86_insn *insn)
{
	return insn->addrsize > 2 && (insn->modrm & 7) == 4 &&
	       insn->reg != insn->vvvv && insn->reg != insn->index && insn->index != insn->vvvv;
}

/* What an operand takes from the bytes, and the register numbers that it forbids. */
static enum x86_decode_result parse_operand(struct x86_parse *p, struct x86_insn *insn,
					    const struct x86_opnd *opnd)
{
	unsigned int size = opnd->size, opsize4 = insn->opsize < 4 ? insn->opsize : 4;

	switch (opnd->kind) {
	case X86_OK_I:
		switch (size) {
		case X86_SZ_V:
			return fetch_imm(p, insn, insn->opsize, false);
		case X86_SZ_Z:
			return fetch_imm(p, insn, opsize4, true);
		case X86_SZ_SB:
			return fetch_imm(p, insn, 1, true);
		default:
			return fetch_imm(p, insn, size, false);
		}
	case X86_OK_J:
		return fetch_imm(p, insn, size == X86_SZ_Z ? opsize4 : size, true);
	case X86_OK_A:
		if (fetch_imm(p, insn, opsize4, false) != X86_DECODE_OK)
			break;
		return fetch_imm(p, insn, 2, false);
	case X86_OK_L:
		/* Bit 7 does not count outside 64-bit mode, SDM vol. 2 "VBLENDVPS" */
		if (fetch_imm(p, insn, 1, false) != X86_DECODE_OK)
			break;
		if (p->mode != X86_MODE_64)
			insn->imm &= 0x7f;
		return X86_DECODE_OK;
	case X86_OK_O:
		insn->flags |= X86_IF_MEM;
		insn->disp_off = p->pos;
		if (fetch_imm(p, insn, insn->addrsize, false) != X86_DECODE_OK)
			break;
		insn->disp = insn->imm;
		return X86_DECODE_OK;
	case X86_OK_ONE:
		insn->imm = 1;
		return X86_DECODE_OK;
	case X86_OK_Z:
		insn->rm = (insn->opcode & 7) | (p->rex & REX_B ? 8 : 0);
		insn->reg = insn->rm;
		return X86_DECODE_OK;
	case X86_OK_SEG:
		insn->reg = insn->opcode >> 3 & 7;
		return X86_DECODE_OK;
	case X86_OK_S:
		insn->reg &= 7;
		if (insn->reg > X86_GS || (opnd->access & X86_WR && insn->reg == X86_CS))
			return X86_DECODE_INVALID;
		return X86_DECODE_OK;
	case X86_OK_C:
		/* CR0, CR2, CR3, CR4, CR8 */
		return 0x11d >> insn->reg & 1 ? X86_DECODE_OK : X86_DECODE_INVALID;
	case X86_OK_D:
		return insn->reg < 8 ? X86_DECODE_OK : X86_DECODE_INVALID;
	case X86_OK_P:
		insn->reg &= 7;
		return X86_DECODE_OK;
	case X86_OK_Q:
	case X86_OK_N:
	case X86_OK_STI:
		insn->rm &= 7;
		return X86_DECODE_OK;
	case X86_OK_VM:
		return gather_is_valid(insn) ? X86_DECODE_OK : X86_DECODE_INVALID;
	default:
		return X86_DECODE_OK;
	}

	return starved(p);
}

static enum x86_decode_result parse_operands(struct x86_parse *p, struct x86_insn *insn,
					     const struct x86_row *row)
{
	enum x86_decode_result result;
	bool vvvv_used = false;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(row->opnd) && row->opnd[i].kind != X86_OK_NONE; i++) {
		result = parse_operand(p, insn, &row->opnd[i]);
		if (result != X86_DECODE_OK)
			return result;
		vvvv_used |= row->opnd[i].kind == X86_OK_H || row->opnd[i].kind == X86_OK_B;
	}

	/* "VEX.vvvv must be 1111b otherwise instructions will #UD": complemented, 0 */
	return p->vvvv && !vvvv_used ? X86_DECODE_INVALID : X86_DECODE_OK;
}

static enum x86_decode_result parse(struct x86_parse *p, struct x86_insn *insn)
{
	enum x86_decode_result result;
	const struct x86_row *row;

	result = parse_opcode(p, insn);
	if (result != X86_DECODE_OK)
		return result;

	result = select_row(p, insn);
	if (result != X86_DECODE_OK)
		return result;
	row = &x86_rows[insn->row];

	set_sizes(p, insn, row->flags);
	apply_prefixes(p, insn, row->flags);
	if (row->flags & X86_RF_MODRM) {
		result = parse_modrm(p, insn);
		if (result != X86_DECODE_OK)
			return result;
	}
	result = parse_operands(p, insn, row);
	return result == X86_DECODE_OK && p->invalid ? X86_DECODE_INVALID : result;
}

enum x86_decode_result x86_decode(struct x86_insn *insn, const u8 *bytes, unsigned int n, enum x86_mode mode)
{
	struct x86_parse p = {
		.bytes = bytes,
		.limit = n < X86_INSN_MAX ? n : X86_INSN_MAX,
		.mode = mode,
		.seg = -1,
	};
	enum x86_decode_result result;

	memset(insn, 0, sizeof(*insn));
	insn->base = X86_REG_ZERO;
	insn->index = X86_REG_ZERO;

	result = parse(&p, insn);
	insn->len = p.pos;
	if (result != X86_DECODE_OK) {
		insn->op = X86_OP_INVALID;
		insn->row = 0;
	}
	return result;
}
