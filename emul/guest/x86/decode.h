/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * decode.h - the instruction decoder: x86 from the 8086 to x86-64-v3
 *
 * One table (insns.def) describes every instruction. The module's MMIO path, the interpreter, the translator, the
 * disassembler and the tests all read it. The decoder is freestanding: it takes bytes and a mode, fills a flat
 * struct and touches nothing else.
 */
#ifndef TENON_X86_DECODE_H
#define TENON_X86_DECODE_H

#include "../../base.h"

#define X86_INSN_MAX	15	/* longest legal instruction, SDM vol. 2 "Instruction Format" */

/* Code segment mode: the three ways in which the same bytes read. */
enum x86_mode {
	X86_MODE_16,
	X86_MODE_32,
	X86_MODE_64,
	X86_MODE_COUNT
};

/* Register numbers as encoded. In byte operands without REX, 4..7 name AH CH DH BH: see x86_insn.rex. */
enum x86_reg {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_REG_ZERO,		/* no base or no index: reads as 0 */
	X86_REG_RIP,		/* base of a RIP-relative operand */
	X86_REG_COUNT
};

enum x86_seg {
	X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS,
	X86_SEG_COUNT
};

/* Mandatory prefix as the opcode tables count it; VEX.pp uses the same order. */
enum x86_pfx { X86_PFX_NONE, X86_PFX_66, X86_PFX_F3, X86_PFX_F2 };

enum x86_map { X86_MAP_1, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A };

/* enum x86_op: one value an operation (ADD, JCC, PADDB, ...), generated from the table; 0 is X86_OP_INVALID (#UD). */
enum x86_op {
#define X86_OP(name, class) X86_OP_##name,
#include "ops.def"
#undef X86_OP
	X86_OP_COUNT
};

/* Which part of an engine executes an operation. */
enum x86_class {
	X86_CLASS_NONE,		/* invalid */
	X86_CLASS_INT,		/* integer, control flow, strings, BMI: general registers, memory and flags only */
	X86_CLASS_SYS,		/* system: privileged state, segments, faults by design */
	X86_CLASS_XST,		/* saves, restores or scatters extended state: memory images of their own shape */
	X86_CLASS_FPU,		/* x87 and MMX state */
	X86_CLASS_VEC,		/* SSE and AVX */
};

/*
 * Operand kinds, named by the letters of SDM vol. 2 "Key to Abbreviations" (addressing method, then size):
 * E modrm r/m general register or memory, G modrm.reg general register, I immediate, J relative, M memory only,
 * O moffs, R modrm r/m general register only, S modrm.reg segment register, C control, D debug register,
 * V modrm.reg vector, W r/m vector or memory, U r/m vector register, H VEX.vvvv vector, L is4 vector,
 * P modrm.reg MMX, Q r/m MMX or memory, N r/m MMX register, B VEX.vvvv general register, Z register in opcode
 * bits 2..0, X DS:rSI, Y ES:rDI, A far pointer immediate, ST x87 stack register; fixed registers by name.
 */
enum x86_opnd_kind {
	X86_OK_NONE,
	X86_OK_E, X86_OK_G, X86_OK_I, X86_OK_J, X86_OK_M, X86_OK_O, X86_OK_R, X86_OK_S, X86_OK_C, X86_OK_D,
	X86_OK_V, X86_OK_W, X86_OK_U, X86_OK_H, X86_OK_L, X86_OK_P, X86_OK_Q, X86_OK_N, X86_OK_B, X86_OK_Z,
	X86_OK_X, X86_OK_Y, X86_OK_A,
	X86_OK_ST0, X86_OK_STI,
	X86_OK_ACC,		/* AL, AX, EAX or RAX */
	X86_OK_CL, X86_OK_DX, X86_OK_ONE,
	X86_OK_SEG,		/* a segment register fixed by the opcode: x86_insn.reg holds it */
	X86_OK_XMM0,		/* implicit XMM0 (BLENDV, SHA256RNDS2) */
	X86_OK_VM,		/* VSIB memory (gathers) */
};

struct x86_opnd {
	u8 kind;		/* enum x86_opnd_kind */
	u8 size;		/* bytes, or X86_SZ_*; of what memory holds, where register and memory forms differ */
	u8 access;		/* X86_RD | X86_WR */
};
#define X86_RD		1
#define X86_WR		2
#define X86_SZ_V	0	/* x86_insn.opsize */
#define X86_SZ_X	255	/* vector length: 16, or 32 with VEX.L */
#define X86_SZ_H	254	/* half a vector: 8, or 16 with VEX.L */
#define X86_SZ_Q	253	/* quarter vector: 4, or 8 with VEX.L */
#define X86_SZ_O	252	/* eighth vector: 2, or 4 with VEX.L */
#define X86_SZ_Y	251	/* 4, or 8 with REX.W/VEX.W in 64-bit mode */
#define X86_SZ_S	250	/* varies with state (FSAVE, XSAVE image, ...): the operation knows */
#define X86_SZ_P	249	/* far pointer in memory: x86_insn.opsize + 2 */
#define X86_SZ_A	248	/* BOUND's pair: twice x86_insn.opsize */
#define X86_SZ_T	247	/* descriptor table register: 6, or 10 in 64-bit mode */
#define X86_SZ_Z	246	/* x86_insn.opsize, but at most 4; an immediate is sign-extended from there */
#define X86_SZ_SB	245	/* immediate byte, sign-extended to x86_insn.opsize */

/* CPUID feature that an encoding needs; X86_FEAT_BASE needs none. The order is the table's own. */
enum x86_feat {
	X86_FEAT_BASE, X86_FEAT_FPU, X86_FEAT_CMOV, X86_FEAT_CX8, X86_FEAT_CX16, X86_FEAT_TSC, X86_FEAT_MSR,
	X86_FEAT_MMX, X86_FEAT_MMXEXT, X86_FEAT_FXSR, X86_FEAT_SEP, X86_FEAT_SYSCALL, X86_FEAT_CLFLUSH, X86_FEAT_CLFLUSHOPT,
	X86_FEAT_CLWB, X86_FEAT_SSE, X86_FEAT_SSE2, X86_FEAT_SSE3, X86_FEAT_SSSE3, X86_FEAT_SSE41, X86_FEAT_SSE42,
	X86_FEAT_POPCNT, X86_FEAT_AES, X86_FEAT_PCLMUL, X86_FEAT_SHA, X86_FEAT_AVX, X86_FEAT_AVX2, X86_FEAT_FMA,
	X86_FEAT_F16C, X86_FEAT_VAES, X86_FEAT_VPCLMUL, X86_FEAT_GFNI, X86_FEAT_BMI1, X86_FEAT_BMI2, X86_FEAT_LZCNT, X86_FEAT_ADX,
	X86_FEAT_MOVBE, X86_FEAT_RDRAND, X86_FEAT_RDSEED, X86_FEAT_FSGSBASE, X86_FEAT_XSAVE, X86_FEAT_XSAVEC,
	X86_FEAT_XSAVEOPT, X86_FEAT_XSAVES, X86_FEAT_RDTSCP, X86_FEAT_RDPID, X86_FEAT_MONITOR, X86_FEAT_INVPCID,
	X86_FEAT_SMAP, X86_FEAT_PKU, X86_FEAT_PREFETCHW, X86_FEAT_LAHF64, X86_FEAT_SMM, X86_FEAT_SVM, X86_FEAT_VMX,
	X86_FEAT_COUNT
};

/* Row flags: what the table says of an encoding. */
#define X86_RF_MODRM		BIT(0)	/* has a ModRM byte */
#define X86_RF_LOCK		BIT(1)	/* LOCK is legal with a memory destination */
#define X86_RF_NO64		BIT(2)	/* #UD in 64-bit mode */
#define X86_RF_ONLY64		BIT(3)	/* #UD outside 64-bit mode */
#define X86_RF_D64		BIT(4)	/* operand size defaults to 64 in 64-bit mode */
#define X86_RF_F64		BIT(5)	/* operand size is 64 in 64-bit mode whatever the prefixes */
#define X86_RF_BYTE		BIT(6)	/* operand size is 1 */
#define X86_RF_REP		BIT(7)	/* string operation: F2/F3 are REP prefixes */
#define X86_RF_VEX		BIT(8)	/* VEX-encoded */
#define X86_RF_VEX_L0		BIT(9)	/* VEX.L must be 0 */
#define X86_RF_VEX_L1		BIT(10)	/* VEX.L must be 1 */
#define X86_RF_VEX_W0		BIT(11)	/* VEX.W (legacy encodings: REX.W) must be 0 */
#define X86_RF_VEX_W1		BIT(12)	/* VEX.W (legacy encodings: REX.W) must be 1 */
#define X86_RF_ALIGN		BIT(13)	/* a memory operand must be aligned to its size (#GP otherwise) */
#define X86_RF_MXCSR		BIT(14)	/* computes with MXCSR: may raise #XM */
#define X86_RF_FLAGS_W		BIT(15)	/* writes arithmetic flags, or may (shifts by 0, REP with rCX 0) */
#define X86_RF_FLAGS_R		BIT(16)	/* reads arithmetic flags */
#define X86_RF_BRANCH		BIT(17)	/* may leave the straight line: ends a block */
#define X86_RF_PRIV		BIT(18)	/* needs CPL 0 */
#define X86_RF_NOREAL		BIT(19)	/* #UD in real and virtual-8086 mode */
#define X86_RF_X87_WAIT		BIT(20)	/* an x87 instruction that checks for pending exceptions */
#define X86_RF_MEMONLY		BIT(21)	/* modrm must name memory */
#define X86_RF_REGONLY		BIT(22)	/* modrm must name a register */
#define X86_RF_Y		BIT(23)	/* operand size is 4, or 8 by W in 64-bit mode; 66 does not count */
#define X86_RF_MAX32		BIT(24)	/* operand size is at most 4, also with REX.W: IN, OUT, INS, OUTS */
#define X86_RF_L1_AVX2		BIT(25)	/* with VEX.L set the encoding needs AVX2 instead of x86_row.feat */
#define X86_RF_IMP_LEN		BIT(26)	/* reads rAX and rDX of opsize as lengths: PCMPESTRI, PCMPESTRM */
#define X86_RF_IMP_ECX		BIT(27)	/* writes ECX: PCMPESTRI, PCMPISTRI */
#define X86_RF_IMP_XMM0		BIT(28)	/* writes XMM0: PCMPESTRM, PCMPISTRM */

/* One encoding: a row of insns.def. */
struct x86_row {
	u16 op;			/* enum x86_op */
	u8 feat;		/* enum x86_feat */
	u32 flags;		/* X86_RF_* */
	struct x86_opnd opnd[4];
};

extern const struct x86_row x86_rows[];
extern const unsigned int x86_row_count;
extern const u8 x86_op_class[X86_OP_COUNT];	/* enum x86_class */

/* Instruction flags: what this instance of the encoding has. */
#define X86_IF_MEM	BIT(0)	/* ModRM (or the opcode, for moffs) names memory: base, index, scale, disp, seg hold it */
#define X86_IF_LOCK	BIT(1)
#define X86_IF_REP	BIT(2)	/* F3 on a string operation, or REPE */
#define X86_IF_REPNE	BIT(3)	/* F2 on a string operation */
#define X86_IF_REX	BIT(4)	/* a REX prefix is present: byte registers 4..7 are SPL BPL SIL DIL */
#define X86_IF_W	BIT(5)	/* REX.W or VEX.W, in 64-bit mode, or where the opcode includes it */
#define X86_IF_L	BIT(6)	/* VEX.L: 256-bit */
#define X86_IF_VEX	BIT(7)
#define X86_IF_SEGOVR	BIT(8)	/* a segment override is present and effective */
#define X86_IF_OPSZ	BIT(9)	/* a 66 prefix is present */
#define X86_IF_F2	BIT(10)	/* the last of F2/F3 present was F2 (whatever its meaning) */
#define X86_IF_F3	BIT(11)	/* ... was F3 */

/**
 * struct x86_insn - one decoded instruction
 * @imm:	immediate, branch displacement or moffs, sign- or zero-extended as the operation takes it; for a far
 *		pointer the offset
 * @disp:	displacement of the memory operand, sign-extended
 * @row:	index into x86_rows[]
 * @op:		enum x86_op
 * @flags:	X86_IF_*
 * @imm2:	second immediate: selector of a far pointer, level of ENTER, EXTRQ's second byte
 * @len:	length in bytes, 1..15
 * @opsize:	effective operand size in bytes: 1, 2, 4 or 8
 * @addrsize:	effective address size in bytes: 2, 4 or 8
 * @seg:	enum x86_seg of the memory operand after defaults and overrides (also DS:rSI's segment of string
 *		operations); in 64-bit mode overrides other than FS and GS are dropped
 * @reg:	ModRM.reg with REX.R/VEX.R, the register of the opcode (Z), or the fixed segment (SEG)
 * @rm:		ModRM.rm with REX.B when it names a register; for Z operands the register
 * @base:	base register, X86_REG_ZERO or X86_REG_RIP
 * @index:	index register (a vector register with VSIB), or X86_REG_ZERO
 * @scale:	log2 of the scale, 0..3
 * @vvvv:	VEX.vvvv register, already complemented (0..15)
 * @opcode:	last opcode byte; condition codes are its low four bits
 * @map:	enum x86_map
 * @pfx:	enum x86_pfx in force for opcode selection
 * @modrm:	raw ModRM byte
 * @immsize:	bytes of immediate in the encoding
 * @disp_off:	offset of the displacement in the bytes, 0 if none
 */
struct x86_insn {
	u64 imm;
	s64 disp;
	u16 row;
	u16 op;
	u16 flags;
	u16 imm2;
	u8 len;
	u8 opsize;
	u8 addrsize;
	u8 seg;
	u8 reg;
	u8 rm;
	u8 base;
	u8 index;
	u8 scale;
	u8 vvvv;
	u8 opcode;
	u8 map;
	u8 pfx;
	u8 modrm;
	u8 immsize;
	u8 disp_off;
};

/* Outcomes of x86_decode() */
enum x86_decode_result {
	X86_DECODE_OK,
	X86_DECODE_MORE,	/* the bytes end inside the instruction, which is not over 15 bytes so far */
	X86_DECODE_TOO_LONG,	/* over 15 bytes: #GP(0) */
	X86_DECODE_INVALID,	/* #UD; @len says how many bytes were looked at */
};

/**
 * x86_decode() - decode one instruction
 * @insn:  filled in; on X86_DECODE_INVALID op is X86_OP_INVALID and len tells the bytes consumed
 * @bytes: instruction bytes; never reads bytes[n] or beyond, nor bytes[15]
 * @n:     number of readable bytes
 * @mode:  code segment mode
 *
 * Checks everything that raises #UD by the bytes and mode alone (LOCK legality, VEX with legacy prefixes, reserved
 * VEX fields, instructions invalid in 64-bit mode); what depends on CPUID, CPL, CR0 or EFER is the caller's to check
 * (X86_RF_NOREAL, X86_RF_PRIV, x86_row.feat). EVEX (62 in 64-bit mode, or with mod 3 elsewhere) is #UD: not offered.
 */
enum x86_decode_result x86_decode(struct x86_insn *insn, const u8 *bytes, unsigned int n, enum x86_mode mode);

/* Bytes of an operand of a decoded instruction; 0 if the operation alone knows (X86_SZ_S). */
static inline unsigned int x86_opnd_size(const struct x86_insn *insn, const struct x86_opnd *opnd)
{
	unsigned int vl = insn->flags & X86_IF_L ? 32 : 16;

	switch (opnd->size) {
	case X86_SZ_V:
	case X86_SZ_SB:
		return insn->opsize;
	case X86_SZ_X:
		return vl;
	case X86_SZ_H:
		return vl / 2;
	case X86_SZ_Q:
		return vl / 4;
	case X86_SZ_O:
		return vl / 8;
	case X86_SZ_Y:
		/* not opsize: that of CRC32 is the source's */
		return insn->flags & X86_IF_W ? 8 : 4;
	case X86_SZ_S:
		return 0;
	case X86_SZ_P:
		return insn->opsize + 2;
	case X86_SZ_A:
		return 2 * insn->opsize;
	case X86_SZ_T:
		return insn->opsize == 8 ? 10 : 6;
	case X86_SZ_Z:
		return insn->opsize < 4 ? insn->opsize : 4;
	default:
		return opnd->size;
	}
}

/* Name of an operation, in the manual's spelling, lower case. */
const char *x86_op_name(enum x86_op op);

#endif /* TENON_X86_DECODE_H */
