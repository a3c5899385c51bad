/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * block.h - decoded blocks of x86 code
 */
#ifndef TENON_X86_BLOCK_H
#define TENON_X86_BLOCK_H

#include "cpu.h"

/* What the decoding of a block depends on beside its bytes: emul_block.mode */
#define X86_BLOCK_MODE(cpu)	((cpu)->mode | (x86_protected(cpu) ? 0 : 4) | (cpu)->tlb_mode << 3 | (cpu)->flat32 << 5)

#define X86_BLOCK_MAX	64	/* instructions */

/* The uop behind the last instruction of a block. */
int x86_uop_end(struct x86_cpu *cpu, const struct uop *u);

struct x86_block {
	struct emul_block b;
	u64 nr;			/* instructions; the uop behind the last one goes on behind the block */
	struct uop uop[];
};

static inline struct x86_block *x86_uop_block(const struct uop *u)
{
	return container_of(u - u->idx, struct x86_block, uop[0]);
}

/*
 * The block at state.rip, with the instruction pointer's page base in place. NULL: an exception was raised (fetch fault).
 * With @one, the block holds a single instruction.
 */
struct x86_block *x86_block_get(struct x86_cpu *cpu, bool one);

/* Without its feature an encoding is what it was before the feature came, or #UD (X86_OP_INVALID). */
void x86_check_feature(struct x86_cpu *cpu, struct x86_insn *insn);

bool x86_crossing_init(struct x86_cpu *cpu);
void x86_crossing_free(struct x86_cpu *cpu);

#endif /* TENON_X86_BLOCK_H */
