// SPDX-License-Identifier: GPL-2.0-only
/*
 * disasm.c - Intel-syntax text of decoded instructions, for traces
 *
 * Everything comes from the instruction's row: operands in their order, names by kind and size.
 */
#include <stdarg.h>
#include <stdio.h>

#include "disasm.h"

struct text {
	char *buf;
	size_t size;
	size_t len;
};

__attribute__((format(printf, 2, 3)))
static void put(struct text *t, const char *fmt, ...)
{
	size_t room = t->len < t->size ? t->size - t->len : 0;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(room ? t->buf + t->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += n;
}

static void put_gpr(struct text *t, unsigned int reg, unsigned int size, bool rex)
{
	static const char *const low[] = { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil" };
	static const char *const high[] = { "ah", "ch", "dh", "bh" };
	static const char *const word[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };

	if (reg >= 8)
		put(t, "r%u%s", reg, size == 1 ? "b" : size == 2 ? "w" : size == 4 ? "d" : "");
	else if (size == 1)
		put(t, "%s", reg >= 4 && !rex ? high[reg - 4] : low[reg]);
	else
		put(t, "%s%s", size == 8 ? "r" : size == 4 ? "e" : "", word[reg]);
}

static const char *seg_name(unsigned int seg)
{
	static const char *const name[] = { "es", "cs", "ss", "ds", "fs", "gs" };

	return seg < ARRAY_SIZE(name) ? name[seg] : "?";
}

static void put_size(struct text *t, unsigned int size)
{
	static const struct {
		u8 size;
		const char *name;
	} names[] = {
		{ 1, "byte" }, { 2, "word" }, { 4, "dword" }, { 6, "fword" }, { 8, "qword" }, { 10, "tbyte" },
		{ 16, "xmmword" }, { 32, "ymmword" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].size == size)
			put(t, "%s ptr ", names[i].name);
}

static void put_memory(struct text *t, const struct x86_insn *insn, const struct x86_opnd *opnd, u64 next)
{
	const char *plus = "";
	u64 mask = insn->addrsize == 8 ? ~0ull : BIT_ULL(8 * insn->addrsize) - 1;

	/* LEA and the hints name an address, no object */
	if (opnd->access)
		put_size(t, x86_opnd_size(insn, opnd));
	if (insn->flags & X86_IF_SEGOVR)
		put(t, "%s:", seg_name(insn->seg));

	put(t, "[");
	if (insn->base == X86_REG_RIP) {
		put(t, "%#llx]", (unsigned long long)((next + insn->disp) & mask));
		return;
	}
	if (insn->base != X86_REG_ZERO) {
		put_gpr(t, insn->base, insn->addrsize, true);
		plus = "+";
	}
	if (insn->index != X86_REG_ZERO) {
		put(t, "%s", plus);
		if (opnd->kind == X86_OK_VM)
			put(t, "%cmm%u", insn->flags & X86_IF_L ? 'y' : 'x', insn->index);
		else
			put_gpr(t, insn->index, insn->addrsize, true);
		if (insn->scale)
			put(t, "*%u", 1u << insn->scale);
		plus = "+";
	}
	if (!*plus)
		put(t, "%#llx", (unsigned long long)(insn->disp & mask));
	else if (insn->disp)
		put(t, "%c%#llx", insn->disp < 0 ? '-' : '+',
		    (unsigned long long)(insn->disp < 0 ? -(u64)insn->disp : (u64)insn->disp));
	put(t, "]");
}

static void put_vector(struct text *t, const struct x86_insn *insn, const struct x86_opnd *opnd,
		       unsigned int reg)
{
	put(t, "%cmm%u", x86_opnd_size(insn, opnd) == 32 ? 'y' : 'x', reg);
}

static void put_imm(struct text *t, const struct x86_insn *insn, const struct x86_opnd *opnd)
{
	unsigned int size = x86_opnd_size(insn, opnd);

	/* The third byte of ENTER's operands is the only second immediate outside far pointers */
	if (insn->op == X86_OP_ENTER && opnd->size == 1)
		put(t, "%#x", insn->imm2);
	else if (opnd->size == X86_SZ_SB && (s64)insn->imm < 0)
		put(t, "-%#llx", (unsigned long long)-insn->imm);
	else
		put(t, "%#llx",
		    (unsigned long long)(size < 8 ? insn->imm & (BIT_ULL(8 * size) - 1) : insn->imm));
}

static void put_operand(struct text *t, const struct x86_insn *insn, const struct x86_opnd *opnd, u64 next)
{
	unsigned int size = x86_opnd_size(insn, opnd);
	bool rex = insn->flags & X86_IF_REX;
	unsigned int addr_size;

	switch (opnd->kind) {
	case X86_OK_E: case X86_OK_M: case X86_OK_W: case X86_OK_Q: case X86_OK_VM: case X86_OK_O:
		if (insn->flags & X86_IF_MEM)
			put_memory(t, insn, opnd, next);
		else if (opnd->kind == X86_OK_E)
			put_gpr(t, insn->rm, size, rex);
		else if (opnd->kind == X86_OK_W)
			put_vector(t, insn, opnd, insn->rm);
		else
			put(t, "mm%u", insn->rm);
		break;
	case X86_OK_G:
		put_gpr(t, insn->reg, size, rex);
		break;
	case X86_OK_R: case X86_OK_Z:
		put_gpr(t, insn->rm, size, rex);
		break;
	case X86_OK_B:
		put_gpr(t, insn->vvvv, size, rex);
		break;
	case X86_OK_ACC:
		put_gpr(t, X86_RAX, size, rex);
		break;
	case X86_OK_CL:
		put(t, "cl");
		break;
	case X86_OK_DX:
		put(t, "dx");
		break;
	case X86_OK_ONE:
		put(t, "1");
		break;
	case X86_OK_I:
		put_imm(t, insn, opnd);
		break;
	case X86_OK_J:
		addr_size = insn->opsize;
		put(t, "%#llx", (unsigned long long)((next + insn->imm) &
						     (addr_size == 8 ? ~0ull : BIT_ULL(8 * addr_size) - 1)));
		break;
	case X86_OK_A:
		put(t, "%#x:%#llx", insn->imm2, (unsigned long long)insn->imm);
		break;
	case X86_OK_S: case X86_OK_SEG:
		put(t, "%s", seg_name(insn->reg));
		break;
	case X86_OK_C:
		put(t, "cr%u", insn->reg);
		break;
	case X86_OK_D:
		put(t, "dr%u", insn->reg);
		break;
	case X86_OK_V:
		put_vector(t, insn, opnd, insn->reg);
		break;
	case X86_OK_U:
		put_vector(t, insn, opnd, insn->rm);
		break;
	case X86_OK_H:
		put_vector(t, insn, opnd, insn->vvvv);
		break;
	case X86_OK_L:
		put_vector(t, insn, opnd, insn->imm >> 4 & 15);
		break;
	case X86_OK_XMM0:
		put(t, "xmm0");
		break;
	case X86_OK_P:
		put(t, "mm%u", insn->reg);
		break;
	case X86_OK_N:
		put(t, "mm%u", insn->rm);
		break;
	case X86_OK_ST0:
		put(t, "st");
		break;
	case X86_OK_STI:
		put(t, "st(%u)", insn->rm);
		break;
	case X86_OK_X: case X86_OK_Y:
		put_size(t, size);
		put(t, "%s:[", seg_name(opnd->kind == X86_OK_X ? insn->seg : X86_ES));
		put_gpr(t, opnd->kind == X86_OK_X ? X86_RSI : X86_RDI, insn->addrsize, true);
		put(t, "]");
		break;
	default:
		break;
	}
}

static void put_mnemonic(struct text *t, const struct x86_insn *insn)
{
	static const char *const cond[] = {
		"o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"
	};
	const char *name = x86_op_name(insn->op);
	u8 class = x86_op_class[insn->op];

	if (insn->flags & X86_IF_LOCK)
		put(t, "lock ");
	if (insn->flags & (X86_IF_REP | X86_IF_REPNE)) {
		bool compares = insn->op == X86_OP_CMPS || insn->op == X86_OP_SCAS;

		put(t, "%s ", insn->flags & X86_IF_REPNE ? "repne" : compares ? "repe" : "rep");
	}

	switch (insn->op) {
	case X86_OP_JCC:
		put(t, "j%s", cond[insn->opcode & 15]);
		break;
	case X86_OP_SETCC:
		put(t, "set%s", cond[insn->opcode & 15]);
		break;
	case X86_OP_CMOVCC:
		put(t, "cmov%s", cond[insn->opcode & 15]);
		break;
	case X86_OP_CBW:
		put(t, "%s", insn->opsize == 8 ? "cdqe" : insn->opsize == 4 ? "cwde" : "cbw");
		break;
	case X86_OP_CWD:
		put(t, "%s", insn->opsize == 8 ? "cqo" : insn->opsize == 4 ? "cdq" : "cwd");
		break;
	case X86_OP_JCXZ:
		put(t, "%s", insn->addrsize == 8 ? "jrcxz" : insn->addrsize == 4 ? "jecxz" : "jcxz");
		break;
	case X86_OP_MASKMOV:
		put(t, "%smaskmov%s", insn->flags & X86_IF_VEX ? "v" : "",
		    insn->pfx == X86_PFX_66 ? "dqu" : "q");
		break;
	default:
		/* One operation for SSE and AVX: the V is the encoding's */
		if (insn->flags & X86_IF_VEX && name[0] != 'v' &&
		    (class == X86_CLASS_VEC || class == X86_CLASS_XST))
			put(t, "v");
		put(t, "%s", name);
		break;
	}
}

unsigned int x86_disasm(char *buf, size_t size, const struct x86_insn *insn, u64 next)
{
	const struct x86_row *row = &x86_rows[insn->row < x86_row_count ? insn->row : 0];
	struct text t = { .buf = buf, .size = size };
	unsigned int i;

	put_mnemonic(&t, insn);
	for (i = 0; i < ARRAY_SIZE(row->opnd) && row->opnd[i].kind != X86_OK_NONE; i++) {
		put(&t, i ? ", " : " ");
		put_operand(&t, insn, &row->opnd[i], next);
	}
	return t.len;
}
