// SPDX-License-Identifier: GPL-2.0-only
/*
 * flags.c - which arithmetic flags an instruction reads and which it surely writes
 *
 * "Surely" excludes shifts by CL, which may leave all flags alone, and the flags an instruction preserves. A flag that
 * the manuals leave undefined counts as written.
 */
#include "jit.h"

#define ALL	X86_ARITH

u32 jit_cc_reads(unsigned int cc)
{
	static const u32 mask[] = {
		X86_OF, X86_CF, X86_ZF, X86_CF | X86_ZF, X86_SF, X86_PF, X86_SF | X86_OF,
		X86_ZF | X86_SF | X86_OF,
	};

	return mask[cc >> 1 & 7];
}

/* The count of a shift by an immediate is not 0 after masking. */
static bool shifts(const struct x86_insn *i)
{
	if (x86_rows[i->row].opnd[1].kind == X86_OK_ONE)
		return true;
	return i->immsize == 1 && (i->imm & (i->opsize == 8 ? 63 : 31));
}

bool jit_sees_flags(const struct x86_insn *i)
{
	if (i->op == X86_OP_RDTSC || i->op == X86_OP_RDTSCP || i->op == X86_OP_CPUID)
		return false;
	return x86_op_class[i->op] == X86_CLASS_SYS || x86_rows[i->row].flags & (X86_RF_FLAGS_R | X86_RF_FLAGS_W);
}

struct jit_flags jit_flags(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_ADD: case X86_OP_OR: case X86_OP_AND: case X86_OP_SUB: case X86_OP_XOR: case X86_OP_CMP:
	case X86_OP_TEST: case X86_OP_NEG: case X86_OP_MUL: case X86_OP_IMUL1: case X86_OP_IMUL2: case X86_OP_IMUL3:
	case X86_OP_DIV: case X86_OP_IDIV: case X86_OP_BSF: case X86_OP_BSR: case X86_OP_TZCNT: case X86_OP_LZCNT:
	case X86_OP_POPCNT: case X86_OP_CMPXCHG: case X86_OP_XADD: case X86_OP_ANDN: case X86_OP_BEXTR:
	case X86_OP_BLSI: case X86_OP_BLSMSK: case X86_OP_BLSR: case X86_OP_BZHI:
		return (struct jit_flags){ 0, ALL };
	case X86_OP_UCOMISS: case X86_OP_UCOMISD: case X86_OP_COMISS: case X86_OP_COMISD: case X86_OP_PTEST:
	case X86_OP_VTESTPS: case X86_OP_VTESTPD: case X86_OP_PCMPESTRI: case X86_OP_PCMPESTRM:
	case X86_OP_PCMPISTRI: case X86_OP_PCMPISTRM: case X86_OP_FCOMI: case X86_OP_FCOMIP:
	case X86_OP_FUCOMI: case X86_OP_FUCOMIP:
		return (struct jit_flags){ 0, ALL };
	case X86_OP_ADC: case X86_OP_SBB:
		return (struct jit_flags){ X86_CF, ALL };
	case X86_OP_INC: case X86_OP_DEC:
		return (struct jit_flags){ 0, ALL & ~X86_CF };
	case X86_OP_SHL: case X86_OP_SHR: case X86_OP_SAR: case X86_OP_SHLD: case X86_OP_SHRD:
		return (struct jit_flags){ 0, shifts(i) ? ALL : 0 };
	case X86_OP_ROL: case X86_OP_ROR:
		return (struct jit_flags){ 0, shifts(i) ? X86_CF | X86_OF : 0 };
	case X86_OP_RCL: case X86_OP_RCR:
		return (struct jit_flags){ X86_CF, 0 };
	case X86_OP_BT: case X86_OP_BTS: case X86_OP_BTR: case X86_OP_BTC: case X86_OP_CLC: case X86_OP_STC:
		return (struct jit_flags){ 0, X86_CF };
	case X86_OP_CMC: case X86_OP_ADCX:
		return (struct jit_flags){ X86_CF, X86_CF };
	case X86_OP_ADOX:
		return (struct jit_flags){ X86_OF, X86_OF };
	case X86_OP_SAHF:
		return (struct jit_flags){ 0, ALL & ~X86_OF };
	case X86_OP_LAHF:
		return (struct jit_flags){ ALL & ~X86_OF, 0 };
	case X86_OP_CLI: case X86_OP_STI: case X86_OP_CLD: case X86_OP_STD: case X86_OP_SWAPGS: case X86_OP_RDFSBASE:
	case X86_OP_RDGSBASE: case X86_OP_WRFSBASE: case X86_OP_WRGSBASE:
		return (struct jit_flags){ 0, 0 };
	case X86_OP_JCC: case X86_OP_SETCC: case X86_OP_CMOVCC:
		return (struct jit_flags){ jit_cc_reads(i->opcode), 0 };
	}
	return (struct jit_flags){ jit_sees_flags(i) ? ALL : 0, 0 };
}
