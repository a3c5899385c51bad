/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * decode-table.h - how x86_decode() finds a row: the decoder's own, between decode-table.c and decode.c
 */
#ifndef TENON_X86_DECODE_TABLE_H
#define TENON_X86_DECODE_TABLE_H

#include "decode.h"

/*
 * What an instruction shows when its row is looked for, one bit each; a row forbids some. Every instruction
 * sets one bit of each group.
 */
#define X86_SEL_NP	BIT(0)		/* X86_SEL_NP << enum x86_pfx */
#define X86_SEL_66	BIT(1)
#define X86_SEL_F3	BIT(2)
#define X86_SEL_F2	BIT(3)
#define X86_SEL_B0	BIT(4)
#define X86_SEL_B1	BIT(5)
#define X86_SEL_W0	BIT(6)
#define X86_SEL_W1	BIT(7)
#define X86_SEL_L0	BIT(8)
#define X86_SEL_L1	BIT(9)
#define X86_SEL_64	BIT(10)
#define X86_SEL_NO64	BIT(11)
#define X86_SEL_MEM	BIT(12)
#define X86_SEL_REG	BIT(13)

/* The opcode maps and, four up, their VEX-encoded counterparts. */
enum x86_table_map {
	X86_TM_ONE, X86_TM_0F, X86_TM_0F38, X86_TM_0F3A,
	X86_TM_VONE, X86_TM_V0F, X86_TM_V0F38, X86_TM_V0F3A,
	X86_TM_COUNT
};
#define X86_TM_VEX	4

/**
 * struct x86_sel - when a row is meant, parallel to x86_rows[]
 * @forbid:	X86_SEL_* that rule it out
 * @key:	map and (first) opcode: equal within a chain
 * @mask:	bits of the ModRM byte that matter
 * @value:	their value
 */
struct x86_sel {
	u16 forbid;
	u16 key;
	u8 mask;
	u8 value;
};

extern const struct x86_sel x86_sels[];

/* Last row of each opcode's chain, which runs downwards while the key stays; 0: no such opcode. */
extern const u16 x86_chains[X86_TM_COUNT][256];

#endif /* TENON_X86_DECODE_TABLE_H */
