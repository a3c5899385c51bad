// SPDX-License-Identifier: GPL-2.0-only
/*
 * decode-zydis.c - the decoder against an independent one
 *
 * Oracle: Zydis 4.0, written from Intel's and AMD's manuals by other people. Compared are validity, length,
 * name, every operand (register, memory with base, index, scale, displacement, segment and size, immediate,
 * access) and the flags of the row, over structured random bytes, all opcodes and the code of real programs,
 * in all three modes.
 *
 * A difference is either explained by a rule of the tables below, which gives the manual's reason, or a
 * failure. DECODE_COUNT in the environment sets the number of random instructions a mode, TEST_SEED the seed;
 * arguments name further files to read as code.
 */
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <Zydis/Zydis.h>

#include "../../../emul/guest/x86/decode.h"
#include "tap.h"

static const char *const mode_name[] = { "16-bit", "32-bit", "64-bit" };
static ZydisDecoder decoder[X86_MODE_COUNT];

/* Instruction set extensions that Zydis knows and the decoder does not offer: their encodings are #UD. */
static const struct {
	const char *prefix;	/* of the name that Zydis gives */
	const char *reason;
} not_offered[] = {
	{ "AMD3DNOW", "3DNow!: gone from processors since 2011" },
	{ "AVX512", "EVEX and opmask instructions: beyond x86-64-v3" },
	{ "KNC", "Xeon Phi: MVEX and its mask instructions" },
	{ "AVX_VNNI", "beyond x86-64-v3" },
	{ "AMX", "beyond x86-64-v3" },
	{ "FMA4", "AMD only, gone since Zen" },
	{ "XOP", "AMD only, gone since Zen" },
	{ "TBM", "AMD only, gone since Zen" },
	{ "SSE4A", "AMD only" },
	{ "PADLOCK", "VIA only" },
	{ "CET", "shadow stacks not offered; ENDBR is a hint NOP" },
	{ "KEYLOCKER", "not offered" },
	{ "ENQCMD", "not offered" },
	{ "MOVDIR", "not offered" },
	{ "MONITORX", "not offered" },
	{ "WAITPKG", "not offered" },
	{ "SERIALIZE", "not offered" },
	{ "HRESET", "not offered" },
	{ "PCONFIG", "not offered" },
	{ "PT", "PTWRITE: not offered" },
	{ "CLZERO", "AMD only" },
	{ "MCOMMIT", "AMD only" },
	{ "RDPRU", "AMD only" },
	{ "UINTR", "user interrupts: not offered" },
	{ "RTM", "transactional memory: not offered" },
	{ "TSX_LDTRK", "transactional memory: not offered" },
	{ "SGX", "enclaves: not offered" },
	{ "SMX", "measured launch: not offered" },
	{ "TDX", "trust domains: not offered" },
	{ "SNP", "encrypted guests: not offered" },
	{ "AMD_INVLPGB", "AMD only" },
	{ "SVM", "no nested virtualization: all but VMMCALL" },
	{ "VTX", "no nested virtualization: all but VMCALL" },
	{ "VMFUNC", "no nested virtualization" },
};

static bool is_not_offered(const char *ext)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(not_offered); i++)
		if (!strncmp(ext, not_offered[i].prefix, strlen(not_offered[i].prefix)))
			return true;
	return false;
}

/* A Zydis register as enum x86_reg, or the plain number of another class. */
static unsigned int zydis_number(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return X86_REG_ZERO;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return X86_REG_RIP;
	return ZydisRegisterGetId(reg);
}

/* The register that an operand of the decoder names, as Zydis would call it. */
static ZydisRegister our_register(const struct x86_insn *insn, const struct x86_opnd *opnd)
{
	static const ZydisRegisterClass gpr[9] = {
		[1] = ZYDIS_REGCLASS_GPR8,
		[2] = ZYDIS_REGCLASS_GPR16,
		[4] = ZYDIS_REGCLASS_GPR32,
		[8] = ZYDIS_REGCLASS_GPR64,
	};
	unsigned int size = x86_opnd_size(insn, opnd);
	ZydisRegisterClass vec = size > 16 ? ZYDIS_REGCLASS_YMM : ZYDIS_REGCLASS_XMM;
	unsigned int reg;

	switch (opnd->kind) {
	case X86_OK_G:
	case X86_OK_ACC:
	case X86_OK_B:
	case X86_OK_Z:
	case X86_OK_E:
	case X86_OK_R:
	case X86_OK_CL:
	case X86_OK_DX:
		reg = opnd->kind == X86_OK_G ? insn->reg : opnd->kind == X86_OK_B ? insn->vvvv :
		      opnd->kind == X86_OK_ACC ? X86_RAX : opnd->kind == X86_OK_CL ? X86_RCX :
		      opnd->kind == X86_OK_DX ? X86_RDX : insn->rm;
		/* Zydis counts AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B ... */
		if (size == 1 && reg >= 4 && insn->flags & X86_IF_REX)
			reg += 4;
		return size <= 8 ? ZydisRegisterEncode(gpr[size], reg) : ZYDIS_REGISTER_NONE;
	case X86_OK_V:
		return ZydisRegisterEncode(vec, insn->reg);
	case X86_OK_W: case X86_OK_U:
		return ZydisRegisterEncode(vec, insn->rm);
	case X86_OK_H:
		return ZydisRegisterEncode(vec, insn->vvvv);
	case X86_OK_L:
		return ZydisRegisterEncode(vec, insn->imm >> 4);
	case X86_OK_XMM0:
		return ZYDIS_REGISTER_XMM0;
	case X86_OK_P:
		return ZydisRegisterEncode(ZYDIS_REGCLASS_MMX, insn->reg);
	case X86_OK_Q: case X86_OK_N:
		return ZydisRegisterEncode(ZYDIS_REGCLASS_MMX, insn->rm);
	case X86_OK_S: case X86_OK_SEG:
		return ZydisRegisterEncode(ZYDIS_REGCLASS_SEGMENT, insn->reg);
	case X86_OK_C:
		return ZydisRegisterEncode(ZYDIS_REGCLASS_CONTROL, insn->reg);
	case X86_OK_D:
		return ZydisRegisterEncode(ZYDIS_REGCLASS_DEBUG, insn->reg);
	case X86_OK_ST0:
		return ZYDIS_REGISTER_ST0;
	case X86_OK_STI:
		return ZydisRegisterEncode(ZYDIS_REGCLASS_X87, insn->rm);
	default:
		return ZYDIS_REGISTER_NONE;
	}
}

/* The same register whatever its width: class of vectors or of general registers, and number. */
static bool same_register(ZydisRegister a, ZydisRegister b)
{
	ZydisRegisterClass ca = ZydisRegisterGetClass(a), cb = ZydisRegisterGetClass(b);
	bool va = ca == ZYDIS_REGCLASS_XMM || ca == ZYDIS_REGCLASS_YMM,
	     vb = cb == ZYDIS_REGCLASS_XMM || cb == ZYDIS_REGCLASS_YMM;

	return a == b || (va && vb && ZydisRegisterGetId(a) == ZydisRegisterGetId(b));
}

static unsigned int access_of(const ZydisDecodedOperand *zo)
{
	return (zo->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? X86_RD : 0) |
	       (zo->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? X86_WR : 0);
}

/* DS:rSI and ES:rDI */
static const char *string_differs(const struct x86_insn *insn, const struct x86_opnd *opnd,
				  const ZydisDecodedOperand *zo)
{
	enum x86_seg seg = opnd->kind == X86_OK_X ? insn->seg : X86_ES;

	if (zydis_number(zo->mem.base) != (opnd->kind == X86_OK_X ? X86_RSI : X86_RDI))
		return "string base";
	if (zo->mem.segment != ZydisRegisterEncode(ZYDIS_REGCLASS_SEGMENT, seg))
		return "string segment";
	if (ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, zo->mem.base) != 8 * insn->addrsize)
		return "string address size";
	if (zo->size != 8 * x86_opnd_size(insn, opnd))
		return "string size";
	return opnd->access == access_of(zo) ? NULL : "string access";
}

/*
 * SIB base 5 with mod 0 is no base whatever REX.B says (SDM vol. 2 "Special Cases of REX Encodings");
 * Zydis 4.0 makes it R13D without displacement after a 67 prefix. Processors agree with the manual.
 */
static bool sib_without_base(const struct x86_insn *insn, const ZydisDecodedOperand *zo)
{
	return insn->base == X86_REG_ZERO && insn->addrsize == 4 && insn->modrm >> 6 == 0 &&
	       (insn->modrm & 7) == 4 && zo->mem.base == ZYDIS_REGISTER_R13D;
}

/* Compares one operand. Return: what differs, or NULL. */
static const char *operand_differs(const struct x86_insn *insn, const struct x86_opnd *opnd,
				   const ZydisDecodedOperand *zo)
{
	ZydisRegister seg;
	unsigned int size;
	u64 mask;

	switch (zo->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		if (!same_register(our_register(insn, opnd), zo->reg.value))
			return "register";
		return opnd->access == access_of(zo) ? NULL : "register access";
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (opnd->kind == X86_OK_X || opnd->kind == X86_OK_Y)
			return string_differs(insn, opnd, zo);
		if (!(insn->flags & X86_IF_MEM))
			return "memory";
		if (sib_without_base(insn, zo))
			return NULL;
		if (insn->base != zydis_number(zo->mem.base))
			return "base";
		if (insn->index != zydis_number(zo->mem.index))
			return "index";
		if (insn->index != X86_REG_ZERO && 1 << insn->scale != (zo->mem.scale ? zo->mem.scale : 1))
			return "scale";
		mask = opnd->kind == X86_OK_O && insn->addrsize < 8 ? BIT_ULL(8 * insn->addrsize) - 1 : ~0ull;
		if ((u64)insn->disp != ((u64)zo->mem.disp.value & mask))
			return "displacement";
		seg = ZydisRegisterEncode(ZYDIS_REGCLASS_SEGMENT, insn->seg);
		if (zo->mem.type != ZYDIS_MEMOP_TYPE_AGEN && zo->mem.segment != seg)
			return "segment";
		size = x86_opnd_size(insn, opnd);
		if (zo->mem.type == ZYDIS_MEMOP_TYPE_MEM && size && size * 8 != zo->size)
			return "memory size";
		if (zo->mem.type == ZYDIS_MEMOP_TYPE_VSIB && size * 8 != zo->element_size)
			return "element size";
		return zo->mem.type == ZYDIS_MEMOP_TYPE_AGEN || opnd->access == access_of(zo) ?
			       NULL :
			       "memory access";
	case ZYDIS_OPERAND_TYPE_POINTER:
		return opnd->kind == X86_OK_A && insn->imm == zo->ptr.offset &&
				       insn->imm2 == zo->ptr.segment ?
			       NULL :
			       "pointer";
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		if (opnd->kind != X86_OK_I && opnd->kind != X86_OK_J && opnd->kind != X86_OK_ONE)
			return "immediate";
		if (insn->op == X86_OP_ENTER)
			return zo->imm.value.u == (zo->size == 8 ? insn->imm2 : insn->imm) ? NULL :
											     "immediate";
		/* MOV's and byte operations' immediates are as wide as the operand: nothing to extend */
		if (zo->imm.is_signed && insn->immsize == insn->opsize && insn->opsize < 8)
			return (insn->imm ^ zo->imm.value.u) << (64 - 8 * insn->opsize) ? "immediate" : NULL;
		if (zo->imm.is_signed)
			return insn->imm == zo->imm.value.u ? NULL : "signed immediate";
		/* Zydis leaves the extension to the operand size to its users */
		mask = insn->immsize < 8 ? BIT_ULL(8 * insn->immsize) - 1 : ~0ull;
		if (opnd->kind == X86_OK_ONE)
			mask = ~0ull;
		return (insn->imm & mask) == (zo->imm.value.u & mask) ? NULL : "immediate";
	default:
		return "operand type";
	}
}

/*
 * Differences in what an operand is said to be that mean no difference in what the processor does. Everything
 * else must be equal.
 */
static bool is_explained(const struct x86_insn *insn, const struct x86_opnd *opnd,
			 const ZydisDecodedOperand *zo)
{
	bool merges = opnd->access == (X86_RD | X86_WR) && access_of(zo) == X86_WR;

	/*
	 * Neither read nor written: hint NOPs, prefetches, cache control and UD0, UD1, which never get that
	 * far
	 */
	if (!opnd->access)
		return true;

	/*
	 * A condition may leave the destination as it is, which the rows call reading it: CMOVcc, FCMOVcc,
	 * BSF, LAR
	 */
	if (merges && zo->actions & ZYDIS_OPERAND_ACTION_CONDWRITE)
		return true;

	/* "If the source is 0, the destination is undefined" (SDM), "unchanged" (APM, every processor) */
	if (merges && (insn->op == X86_OP_BSF || insn->op == X86_OP_BSR))
		return true;

	/*
	 * Legacy SSE leaves the part of an XMM register that it does not write: SDM vol. 1 "Scalar and
	 * packed"
	 */
	if (merges && !(insn->flags & X86_IF_VEX) && (opnd->kind == X86_OK_V || opnd->kind == X86_OK_U))
		return true;

	/*
	 * An element narrower than 32 bits (MOVMSKPS, PEXTRW, ...) is extended to 64 bits with and without
	 * REX.W
	 */
	if (x86_op_class[insn->op] == X86_CLASS_VEC && !(x86_rows[insn->row].flags & X86_RF_MXCSR) &&
	    (opnd->kind == X86_OK_G || opnd->kind == X86_OK_R) && opnd->access == X86_WR &&
	    access_of(zo) == X86_WR && ZydisRegisterGetClass(zo->reg.value) == ZYDIS_REGCLASS_GPR32)
		return ZydisRegisterGetId(zo->reg.value) == (opnd->kind == X86_OK_G ? insn->reg : insn->rm);

	/*
	 * MOVSXD without REX.W extends nothing; AMD reads 32 bits and so do the rows, SDM says 16 after a 66
	 * prefix
	 */
	if (insn->op == X86_OP_MOVSXD && insn->opsize == 2)
		return true;

	/* "r32/m16": of a register, too, LAR and LSL take the low 16 bits */
	if ((insn->op == X86_OP_LAR || insn->op == X86_OP_LSL) && opnd->kind == X86_OK_E)
		return true;

	return false;
}

/*
 * Compares all operands. Those that Zydis shows stand in the manual's order, as the rows' do; those that it
 * hides (ST0, the accumulator of string operations, XMM0) are looked for anywhere behind. Return: what
 * differs, or NULL; *which is the operand's number.
 */
static const char *operands_differ(const struct x86_insn *insn, const ZydisDecodedInstruction *zi,
				   const ZydisDecodedOperand *zo, unsigned int *which)
{
	const struct x86_row *row = &x86_rows[insn->row];
	const char *why = NULL, *hidden;
	unsigned int i, j, n = 0;

	for (i = 0; i < ARRAY_SIZE(row->opnd) && row->opnd[i].kind != X86_OK_NONE; i++) {
		const struct x86_opnd *opnd = &row->opnd[i];

		*which = i;
		why = "operand missing";
		if (n < zi->operand_count_visible) {
			why = operand_differs(insn, opnd, &zo[n]);
			if (!why || is_explained(insn, opnd, &zo[n])) {
				n++;
				continue;
			}
		}
		for (j = zi->operand_count_visible; j < zi->operand_count; j++) {
			hidden = operand_differs(insn, opnd, &zo[j]);
			if (!hidden || is_explained(insn, opnd, &zo[j]))
				break;
		}
		if (j == zi->operand_count)
			return why;
	}
	/* The register that some hint NOPs have in ModRM.reg means nothing */
	return n < zi->operand_count_visible && insn->op != X86_OP_NOP ? "operand of Zydis not in the row" :
									 NULL;
}

/*
 * Compares what the row says of arithmetic flags, privilege, alignment and MXCSR. Return: what differs, or
 * NULL.
 */
static const char *flags_differ(const struct x86_insn *insn, const ZydisDecodedInstruction *zi)
{
	const u32 rf = x86_rows[insn->row].flags, arith = 0x8d5;
	const ZydisAccessedFlags *af = zi->cpu_flags;
	bool aligned, fp, writes, reads;

	writes = af && (af->modified | af->set_0 | af->set_1 | af->undefined) & arith;
	reads = af && af->tested & arith;
	/* VMCALL's flags are those of VMX instructions that fail in a guest of a guest */
	if (writes != !!(rf & X86_RF_FLAGS_W) && insn->op != X86_OP_VMCALL)
		return "flags written";
	/*
	 * REPE and REPNE test ZF of the comparison, not of the instruction before; interrupts and SYSCALL
	 * save all flags
	 */
	if (insn->flags & (X86_IF_REP | X86_IF_REPNE))
		reads = false;
	if (reads != !!(rf & X86_RF_FLAGS_R) &&
	    !(x86_op_class[insn->op] == X86_CLASS_SYS && rf & X86_RF_BRANCH))
		return "flags read";

	/* #UD rather than #GP at CPL 3, and so not X86_RF_PRIV; LGDT is privileged, Zydis 4.0 forgot */
	if (insn->op != X86_OP_CLAC && insn->op != X86_OP_STAC && insn->op != X86_OP_MONITOR &&
	    insn->op != X86_OP_MWAIT && insn->op != X86_OP_LGDT &&
	    !!(zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) != !!(rf & X86_RF_PRIV))
		return "privilege";

	/* SDM vol. 2 "Instruction Exception Specification": the types with 16-byte alignment and with #XM */
	switch (zi->meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_SSE1:
	case ZYDIS_EXCEPTION_CLASS_SSE4:
	case ZYDIS_EXCEPTION_CLASS_AVX1:
		aligned = true;
		fp = false;
		break;
	case ZYDIS_EXCEPTION_CLASS_SSE2:
		aligned = true;
		fp = true;
		break;
	case ZYDIS_EXCEPTION_CLASS_SSE3:
	case ZYDIS_EXCEPTION_CLASS_AVX2:
	case ZYDIS_EXCEPTION_CLASS_AVX3:
	case ZYDIS_EXCEPTION_CLASS_AVX11:
		aligned = false;
		fp = true;
		break;
	case ZYDIS_EXCEPTION_CLASS_NONE:
		return NULL;
	default:
		aligned = false;
		fp = false;
		break;
	}
	switch (insn->op) {
	/* Type 4 "with exceptions": unaligned operands are fine */
	case X86_OP_MOVUPS: case X86_OP_MOVUPD: case X86_OP_MOVDQU: case X86_OP_LDDQU:
	case X86_OP_PCMPESTRI: case X86_OP_PCMPESTRM: case X86_OP_PCMPISTRI: case X86_OP_PCMPISTRM:
		aligned = false;
		break;
	default:
		break;
	}
	if (insn->flags & X86_IF_MEM && aligned != !!(rf & X86_RF_ALIGN))
		return "alignment";
	return fp == !!(rf & X86_RF_MXCSR) ? NULL : "use of MXCSR";
}

/*
 * Is it the same instruction? Zydis has size suffixes where the decoder has x86_insn.opsize, and spells out
 * conditions.
 */
static bool same_name(const struct x86_insn *insn, const char *theirs)
{
	static const char *const cond[] = {
		"o", "no", "b", "nb", "z", "nz", "be", "nbe", "s", "ns", "p", "np", "l", "nl", "le", "nle"
	};
	static const char *const suffixes[] = { "", "b", "w", "d", "q", "64" };
	u8 class = x86_op_class[insn->op];
	const char *name = x86_op_name(insn->op);
	bool vex = insn->flags & X86_IF_VEX && (class == X86_CLASS_VEC || class == X86_CLASS_XST) &&
		   name[0] != 'v';
	char ours[40], longer[48];
	unsigned int i;

	switch (insn->op) {
	case X86_OP_JCC: case X86_OP_SETCC: case X86_OP_CMOVCC:
		snprintf(ours, sizeof(ours), "%.*s%s", (int)strlen(name) - 2, name, cond[insn->opcode & 15]);
		return !strcmp(ours, theirs);
	case X86_OP_CBW:
		return !strcmp(theirs, insn->opsize == 8 ? "cdqe" : insn->opsize == 4 ? "cwde" : "cbw");
	case X86_OP_CWD:
		return !strcmp(theirs, insn->opsize == 8 ? "cqo" : insn->opsize == 4 ? "cdq" : "cwd");
	case X86_OP_JCXZ:
		return !strcmp(theirs, insn->addrsize == 8 ? "jrcxz" :
				       insn->addrsize == 4 ? "jecxz" :
							     "jcxz");
	case X86_OP_CALLF: case X86_OP_JMPF: case X86_OP_RETF:
		return !strncmp(theirs, name, 3);
	case X86_OP_PREFETCH:
		return !strncmp(theirs, "prefetch", 8);
	case X86_OP_MASKMOV:
		return !strcmp(theirs, vex		       ? "vmaskmovdqu" :
				       insn->pfx == X86_PFX_66 ? "maskmovdqu" :
								 "maskmovq");
	case X86_OP_FNOP:
		/* FNENI, FNDISI and FNSETPM have done nothing since the 387 */
		return !strcmp(theirs, "fnop") || strstr(theirs, "_nop");
	case X86_OP_FSTP:
		return !strcmp(theirs, "fstp") || !strcmp(theirs, "fstpnce");
	default:
		break;
	}

	snprintf(ours, sizeof(ours), "%s%s", vex ? "v" : "", name);
	for (i = 0; i < (class == X86_CLASS_VEC ? 1 : ARRAY_SIZE(suffixes)); i++) {
		snprintf(longer, sizeof(longer), "%s%s", ours, suffixes[i]);
		if (!strcmp(longer, theirs))
			return true;
	}
	return false;
}

/* Disagreements by kind, with the shortest example each. */
struct bucket {
	char what[120];
	unsigned long count;
	u8 bytes[X86_INSN_MAX];
	unsigned int len;
};
static struct bucket buckets[200];
static unsigned int bucket_count;

static void disagree(const char *what, const u8 *bytes, unsigned int len)
{
	unsigned int i;

	for (i = 0; i < bucket_count && strcmp(buckets[i].what, what); i++)
		;
	if (i == ARRAY_SIZE(buckets))
		return;
	if (i == bucket_count) {
		snprintf(buckets[i].what, sizeof(buckets[i].what), "%s", what);
		buckets[i].len = ~0u;
		buckets[i].count = 0;
		bucket_count++;
	}
	buckets[i].count++;
	if (len < buckets[i].len) {
		buckets[i].len = len;
		memcpy(buckets[i].bytes, bytes, len);
	}
}

static void report(const char *name)
{
	unsigned int i, j;

	ok(!bucket_count, "%s", name);
	for (i = 0; i < bucket_count; i++) {
		printf("#   %lu times %s:", buckets[i].count, buckets[i].what);
		for (j = 0; j < buckets[i].len; j++)
			printf(" %02x", buckets[i].bytes[j]);
		putchar('\n');
	}
	bucket_count = 0;
}

/* Compares one instruction. Return: its length, at least 1. */
static unsigned int compare(const u8 *bytes, unsigned int n, enum x86_mode mode)
{
	ZydisDecodedOperand zo[ZYDIS_MAX_OPERAND_COUNT];
	enum x86_decode_result result;
	ZydisDecodedInstruction zi;
	struct x86_insn insn;
	const char *why;
	char what[120];
	unsigned int i = 0;
	bool valid;

	result = x86_decode(&insn, bytes, n, mode);
	valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder[mode], bytes, n, &zi, zo));
	if (!valid && result != X86_DECODE_OK)
		return 1;
	if (valid && result != X86_DECODE_OK) {
		if (!is_not_offered(ZydisISAExtGetString(zi.meta.isa_ext))) {
			snprintf(what, sizeof(what), "%s: only Zydis takes %s (%s)", mode_name[mode],
				 ZydisMnemonicGetString(zi.mnemonic), ZydisISAExtGetString(zi.meta.isa_ext));
			disagree(what, bytes, zi.length);
		}
		return zi.length;
	}
	if (!valid) {
		snprintf(what, sizeof(what), "%s: only Tenon takes %s", mode_name[mode],
			 x86_op_name(insn.op));
		disagree(what, bytes, insn.len);
		return insn.len;
	}
	if (insn.len != zi.length) {
		snprintf(what, sizeof(what), "%s: lengths of %s: %u, %u", mode_name[mode],
			 x86_op_name(insn.op), insn.len, zi.length);
		disagree(what, bytes, insn.len);
		return insn.len;
	}
	/* F3 90 with REX.B: XCHG to Zydis' PAUSE. Processors exchange; SDM vol. 2 "PAUSE" has no REX form */
	if (zi.mnemonic == ZYDIS_MNEMONIC_PAUSE && insn.op == X86_OP_XCHG)
		return insn.len;
	if (!same_name(&insn, ZydisMnemonicGetString(zi.mnemonic))) {
		snprintf(what, sizeof(what), "%s: %s is %s to Zydis", mode_name[mode], x86_op_name(insn.op),
			 ZydisMnemonicGetString(zi.mnemonic));
		disagree(what, bytes, insn.len);
	}
	why = operands_differ(&insn, &zi, zo, &i);
	if (why) {
		snprintf(what, sizeof(what), "%s: operand %u of %s: %s", mode_name[mode], i,
			 x86_op_name(insn.op), why);
		disagree(what, bytes, insn.len);
	}
	why = flags_differ(&insn, &zi);
	if (why) {
		snprintf(what, sizeof(what), "%s: %s of %s%s (class %u)", mode_name[mode], why,
			 insn.flags & X86_IF_VEX ? "VEX " : "", x86_op_name(insn.op),
			 zi.meta.exception_class);
		disagree(what, bytes, insn.len);
	}
	return insn.len;
}

/* Bytes that are likely to be an instruction: prefixes, an escape or VEX, then anything. */
static void make_bytes(u8 *bytes, u64 *seed)
{
	static const u8 prefix[] = { 0x66, 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x3e, 0x64, 0x65 };
	u64 random = tap_random(seed);
	unsigned int i, k = 0;

	for (i = 0; i < 24; i++)
		bytes[i] = tap_random(seed) >> 32;
	for (; k < 6 && !(random & 3); random >>= 2)
		bytes[k++] = prefix[tap_random(seed) % ARRAY_SIZE(prefix)];
	if (!(random >> 16 & 1))
		bytes[k++] = 0x40 | (random >> 24 & 15);

	switch (random >> 32 & 7) {
	case 0 ... 1:
		break;
	case 2 ... 3:
		bytes[k++] = 0x0f;
		break;
	case 4:
		bytes[k++] = 0x0f;
		bytes[k++] = random >> 40 & 1 ? 0x38 : 0x3a;
		break;
	case 5:
		if (random >> 41 & 3)
			k = 0;
		bytes[k++] = 0xc5;
		bytes[k++] |= 0xc0 | (random >> 43 & 1 ? 0x38 : 0);
		break;
	default:
		if (random >> 41 & 3)
			k = 0;
		bytes[k++] = 0xc4;
		bytes[k] = (bytes[k] & 0xe0) |
			   (random >> 44 & 7 ? 1 + (random >> 48 & 255) % 3 : random >> 56 & 31);
		if (random >> 50 & 1)
			bytes[k] |= 0xc0;
		k++;
		bytes[k++] |= random >> 43 & 1 ? 0x78 : 0;
		break;
	}
}

static void test_random(enum x86_mode mode, unsigned long count, u64 *seed)
{
	u8 bytes[32];
	char name[80];

	snprintf(name, sizeof(name), "%lu random instructions, %s", count, mode_name[mode]);
	for (; count; count--) {
		make_bytes(bytes, seed);
		compare(bytes, X86_INSN_MAX, mode);
	}
	report(name);
}

/* Every opcode of every map with every ModRM byte, under each mandatory prefix, W and L. */
static void test_exhaustive(enum x86_mode mode)
{
	static const u8 pfx[] = { 0, 0x66, 0xf3, 0xf2 };
	unsigned int map, opcode, modrm, i;
	u8 bytes[32] = { 0 };
	char name[80];

	for (map = 0; map < 7; map++)
		for (opcode = 0; opcode < 256; opcode++)
			for (modrm = 0; modrm < 256; modrm++)
				for (i = 0; i < 16; i++) {
					unsigned int k = 0;

					memset(bytes, 0x11, sizeof(bytes));
					if (map >= 4) {
						bytes[k++] = 0xc4;
						bytes[k++] = 0xe0 | (map - 3);
						bytes[k++] = (i & 4 ? 0x80 : 0) | (opcode & 1 ? 0x78 : 0x68) |
							     (i & 8 ? 4 : 0) | (i & 3);
					} else {
						if (pfx[i & 3])
							bytes[k++] = pfx[i & 3];
						if (i & 8)
							bytes[k++] = 0x67;
						if (i & 4)
							bytes[k++] = mode == X86_MODE_64 ? 0x48 : 0x26;
						if (map)
							bytes[k++] = 0x0f;
						if (map > 1)
							bytes[k++] = map == 2 ? 0x38 : 0x3a;
					}
					bytes[k++] = opcode;
					bytes[k++] = modrm;
					compare(bytes, X86_INSN_MAX, mode);
					if (map >= 4) {
						bytes[2] ^= 0x10;
						compare(bytes, X86_INSN_MAX, mode);
					}
				}
	snprintf(name, sizeof(name), "all opcodes, ModRM bytes and mandatory prefixes, %s", mode_name[mode]);
	report(name);
}

/* The executable segments of an ELF file, read as code of all three modes. */
static void test_file(const char *path, unsigned long max)
{
	const u8 *image = MAP_FAILED;
	const Elf64_Phdr *phdr;
	const Elf64_Ehdr *ehdr;
	unsigned int i, mode;
	struct stat st;
	char name[200];
	int fd;

	fd = open(path, O_RDONLY);
	if (fd >= 0 && !fstat(fd, &st) && (size_t)st.st_size > sizeof(*ehdr))
		image = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd >= 0)
		close(fd);
	if (image == MAP_FAILED || memcmp(image, ELFMAG, SELFMAG) || image[EI_CLASS] != ELFCLASS64) {
		skip("real code", "no such program here");
		return;
	}

	ehdr = (const Elf64_Ehdr *)image;
	phdr = (const Elf64_Phdr *)(image + ehdr->e_phoff);
	for (mode = 0; mode < X86_MODE_COUNT; mode++) {
		unsigned long count = 0;

		for (i = 0; i < ehdr->e_phnum; i++) {
			size_t pos = phdr[i].p_offset, end = pos + phdr[i].p_filesz;

			if (phdr[i].p_type != PT_LOAD || !(phdr[i].p_flags & PF_X) ||
			    end > (size_t)st.st_size)
				continue;
			for (; pos + X86_INSN_MAX <= end && count < max; count++)
				pos += compare(image + pos, X86_INSN_MAX, mode);
		}
		snprintf(name, sizeof(name), "%lu instructions of %s, read as %s code", count, path,
			 mode_name[mode]);
		report(name);
	}
	munmap((void *)image, st.st_size);
}

int main(int argc, char **argv)
{
	static const char *const programs[] = { "/lib/x86_64-linux-gnu/libc.so.6", "/bin/bash",
						"/proc/self/exe" };
	static const ZydisDecoderMode off[] = {
		ZYDIS_DECODER_MODE_MPX,
		ZYDIS_DECODER_MODE_CET,
		ZYDIS_DECODER_MODE_CLDEMOTE,
		ZYDIS_DECODER_MODE_WBNOINVD,
	};
	const char *env = getenv("DECODE_COUNT");
	unsigned long count = env ? strtoul(env, NULL, 0) : 300000;
	u64 seed = tap_seed(0x7e4041);
	unsigned int i, mode;

	diag("TEST_SEED=%#llx DECODE_COUNT=%lu", (unsigned long long)seed, count);
	ZydisDecoderInit(&decoder[X86_MODE_16], ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
	ZydisDecoderInit(&decoder[X86_MODE_32], ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoder[X86_MODE_64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (mode = 0; mode < X86_MODE_COUNT; mode++) {
		/* Read as what older processors make of them, hint NOPs mostly: as the decoder does */
		for (i = 0; i < ARRAY_SIZE(off); i++)
			ZydisDecoderEnableMode(&decoder[mode], off[i], ZYAN_FALSE);
		test_random(mode, count, &seed);
		test_exhaustive(mode);
	}
	for (i = 0; i < ARRAY_SIZE(programs); i++)
		test_file(programs[i], count);
	for (i = 1; i < (unsigned int)argc; i++)
		test_file(argv[i], ~0ul);
	return tap_done();
}
