// SPDX-License-Identifier: GPL-2.0-only
/*
 * decode-table.c - insns.def and ops.def as arrays
 *
 * insns.def is included four times: to number the rows, for what they say (x86_rows), for when they are meant
 * (x86_sels) and for where each opcode's rows are (x86_chains). Everything is computed by the compiler.
 */
#include "decode-table.h"

/* The prefixes column: which X86_SEL_* are welcome, of the groups that it speaks of. */
#define NP		X86_SEL_NP
#define P66		X86_SEL_66
#define PF3		X86_SEL_F3
#define PF2		X86_SEL_F2
#define ANY		(NP | P66 | PF3 | PF2)
#define ANY_F3		(NP | P66 | PF2)
#define B0		(X86_SEL_B0)
#define B1		(X86_SEL_B1)

/* The modrm column: mask << 8 | value, and which of memory and register it may name. */
#define MODRM		BIT(16)
#define MODRM_MEM	(MODRM | BIT(17))
#define MODRM_REG	(MODRM | BIT(18))
#define MR_REG(n)	(0x3800 | (n) << 3)
#define MR__		0
#define MR__r		MODRM
#define MR_m		MODRM_MEM
#define MR_g		MODRM_REG
#define MR_x(byte)	(MODRM_REG | 0xff00 | (byte))
#define MR_0		(MODRM | MR_REG(0))
#define MR_1		(MODRM | MR_REG(1))
#define MR_2		(MODRM | MR_REG(2))
#define MR_3		(MODRM | MR_REG(3))
#define MR_4		(MODRM | MR_REG(4))
#define MR_5		(MODRM | MR_REG(5))
#define MR_6		(MODRM | MR_REG(6))
#define MR_7		(MODRM | MR_REG(7))
#define MR_m0		(MODRM_MEM | MR_REG(0))
#define MR_m1		(MODRM_MEM | MR_REG(1))
#define MR_m2		(MODRM_MEM | MR_REG(2))
#define MR_m3		(MODRM_MEM | MR_REG(3))
#define MR_m4		(MODRM_MEM | MR_REG(4))
#define MR_m5		(MODRM_MEM | MR_REG(5))
#define MR_m6		(MODRM_MEM | MR_REG(6))
#define MR_m7		(MODRM_MEM | MR_REG(7))
#define MR_g0		(MODRM_REG | MR_REG(0))
#define MR_g1		(MODRM_REG | MR_REG(1))
#define MR_g2		(MODRM_REG | MR_REG(2))
#define MR_g3		(MODRM_REG | MR_REG(3))
#define MR_g4		(MODRM_REG | MR_REG(4))
#define MR_g5		(MODRM_REG | MR_REG(5))
#define MR_g6		(MODRM_REG | MR_REG(6))
#define MR_g7		(MODRM_REG | MR_REG(7))

/* The flags column. */
#define LOCK		X86_RF_LOCK
#define NO64		X86_RF_NO64
#define ONLY64		X86_RF_ONLY64
#define D64		X86_RF_D64
#define F64		X86_RF_F64
#define BYTE		X86_RF_BYTE
#define REP		X86_RF_REP
#define L0		X86_RF_VEX_L0
#define L1		X86_RF_VEX_L1
#define W0		X86_RF_VEX_W0
#define W1		X86_RF_VEX_W1
#define ALIGNED		X86_RF_ALIGN
#define FP		X86_RF_MXCSR
#define FW		X86_RF_FLAGS_W
#define FR		X86_RF_FLAGS_R
#define FRW		(X86_RF_FLAGS_R | X86_RF_FLAGS_W)
#define BRANCH		X86_RF_BRANCH
#define PRIV		X86_RF_PRIV
#define NOREAL		X86_RF_NOREAL
#define WAIT		X86_RF_X87_WAIT
#define Y		X86_RF_Y
#define MAX32		X86_RF_MAX32
#define AVX2L		X86_RF_L1_AVX2
#define IMP_LEN		X86_RF_IMP_LEN
#define IMP_ECX		X86_RF_IMP_ECX
#define IMP_XMM0	X86_RF_IMP_XMM0

/* The operands. */
#define RD(kind, size)	{ X86_OK_##kind, SZ_##size, X86_RD }
#define WR(kind, size)	{ X86_OK_##kind, SZ_##size, X86_WR }
#define RW(kind, size)	{ X86_OK_##kind, SZ_##size, X86_RD | X86_WR }
#define NO(kind, size)	{ X86_OK_##kind, SZ_##size, 0 }
#define SZ_b		1
#define SZ_w		2
#define SZ_d		4
#define SZ_q		8
#define SZ_f7		10
#define SZ_dq		16
#define SZ_qq		32
#define SZ_v		X86_SZ_V
#define SZ_z		X86_SZ_Z
#define SZ_y		X86_SZ_Y
#define SZ_x		X86_SZ_X
#define SZ_h		X86_SZ_H
#define SZ_o		X86_SZ_Q
#define SZ_e		X86_SZ_O
#define SZ_sb		X86_SZ_SB
#define SZ_s		X86_SZ_S
#define SZ_p		X86_SZ_P
#define SZ_t		X86_SZ_T
#define SZ_a		X86_SZ_A

/* Row numbers: ROW_<part>_<line> */
#define ROW_NAME(part, line)	ROW_##part##_##line
#define ROW_EXPAND(part, line)	ROW_NAME(part, line)
#define ROW_NUMBER		ROW_EXPAND(X86_PART, __LINE__)

#define INSN(map, opc, pfx, mr, oper, ft, rf, ...) \
	ROW(X86_TM_##map, opc, opc, pfx, MR_##mr, X86_OP_##oper, X86_FEAT_##ft, rf, __VA_ARGS__)
#define INSNS(map, lo, hi, pfx, mr, oper, ft, rf, ...) \
	ROW(X86_TM_##map, lo, hi, pfx, MR_##mr, X86_OP_##oper, X86_FEAT_##ft, rf, __VA_ARGS__)

enum {
	ROW_NONE,
#define ROW(tm, lo, hi, pfx, mr, oper, ft, rf, ...) ROW_NUMBER,
#include "insns.def"
#undef ROW
	ROW_COUNT
};
static_assert(ROW_COUNT < 0x10000, "x86_insn.row is 16 bits wide");

#define IS_MEM(mr)	(((mr) & MODRM_MEM) == MODRM_MEM)
#define IS_REG(mr)	(((mr) & MODRM_REG) == MODRM_REG)

#define ROW_FLAGS(tm, mr, rf) \
	((rf) | ((tm) >= X86_TM_VEX ? X86_RF_VEX | X86_RF_NOREAL : 0) | ((mr) & MODRM ? X86_RF_MODRM : 0) | \
	 (IS_MEM(mr) ? X86_RF_MEMONLY : 0) | (IS_REG(mr) ? X86_RF_REGONLY : 0))

const struct x86_row x86_rows[] = {
	[ROW_NONE] = { .op = X86_OP_INVALID },
#define ROW(tm, lo, hi, pfx, mr, oper, ft, rf, ...) \
	[ROW_NUMBER] = { .op = oper, .feat = ft, .flags = ROW_FLAGS(tm, mr, rf), .opnd = { __VA_ARGS__ } },
#include "insns.def"
#undef ROW
};

const unsigned int x86_row_count = ROW_COUNT;

#define SEL_FORBID(pfx, mr, rf) \
	((~(pfx) & ANY) | ((pfx) & B0 ? X86_SEL_B1 : 0) | ((pfx) & B1 ? X86_SEL_B0 : 0) | \
	 ((rf) & W0 ? X86_SEL_W1 : 0) | ((rf) & W1 ? X86_SEL_W0 : 0) | \
	 ((rf) & L0 ? X86_SEL_L1 : 0) | ((rf) & L1 ? X86_SEL_L0 : 0) | \
	 ((rf) & NO64 ? X86_SEL_64 : 0) | ((rf) & ONLY64 ? X86_SEL_NO64 : 0) | \
	 (IS_MEM(mr) ? X86_SEL_REG : 0) | (IS_REG(mr) ? X86_SEL_MEM : 0))

const struct x86_sel x86_sels[] = {
#define ROW(tm, lo, hi, pfx, mr, oper, ft, rf, ...) [ROW_NUMBER] = { \
		.forbid = SEL_FORBID(pfx, mr, rf), \
		.key = (tm) << 8 | (lo), \
		.mask = (mr) >> 8 & 0xff, \
		.value = (mr) & 0xff, \
	},
#include "insns.def"
#undef ROW
};
static_assert(ARRAY_SIZE(x86_sels) == ROW_COUNT && ARRAY_SIZE(x86_rows) == ROW_COUNT, "parallel tables");

/*
 * The rows of an opcode overwrite one another here: the last one stays, and that is what the chain starts
 * with.
 */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
const u16 x86_chains[X86_TM_COUNT][256] = {
#define ROW(tm, lo, hi, pfx, mr, oper, ft, rf, ...) [tm][(lo) ... (hi)] = ROW_NUMBER,
#include "insns.def"
#undef ROW
};
#pragma GCC diagnostic pop

const u8 x86_op_class[X86_OP_COUNT] = {
#define X86_OP(name, class) [X86_OP_##name] = X86_CLASS_##class,
#include "ops.def"
#undef X86_OP
};
