/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * block.h - decoded blocks of x86 code
 */
#ifndef TENON_X86_BLOCK_H
#define TENON_X86_BLOCK_H

#include "cpu.h"

/*
 * What the decoding of a block depends on beside its bytes: emul_block.mode. 16-bit code is translated for the IP that its
 * page starts at, which is from -4095 to 0xffff.
 */
#define X86_BLOCK_FLAT32	BIT(5)
#define X86_BLOCK_CODE16	BIT(6)
static inline u32 X86_BLOCK_MODE(const struct x86_cpu *cpu)
{
	u32 mode = cpu->mode | (x86_protected(cpu) ? 0 : 4) | cpu->tlb_mode << 3 | (cpu->flat32 ? X86_BLOCK_FLAT32 : 0);

	return likely(!cpu->code16) ? mode : mode | X86_BLOCK_CODE16 | (u32)cpu->s.gpr[X86_REG_RIP] << 15;
}
static inline s32 x86_block_page_ip(u32 mode)
{
	return (s32)mode >> 15;
}

#define X86_BLOCK_MAX	64	/* instructions */

/* The uop behind the last instruction of a block. */
int x86_uop_end(struct x86_cpu *cpu, const struct uop *u);

struct x86_block {
	struct emul_block b;
	struct uop *uop;		/* while emul_block.decoded says so: the last goes on behind the block */
	struct emul_page *page;
	u8 nr;				/* instructions; behind this, nr bytes: the length of each */
};
#define X86_BLOCK_SIZE(n_)	(offsetof(struct x86_block, nr) + 1 + (n_))
static inline u8 *x86_block_lens(struct x86_block *b)
{
	return &b->nr + 1;
}

/* Offset of an instruction in the page, or, with @idx the number of instructions, of what follows. */
static inline unsigned int x86_block_off(struct x86_block *b, unsigned int idx)
{
	unsigned int off = b->b.off;

	for (unsigned int n = 0; n < idx; n++)
		off += x86_block_lens(b)[n];
	return off;
}

static inline bool x86_block_decoded(const struct emul_vm *vm, const struct x86_block *b)
{
	u32 epoch = atomic_load_explicit(&b->b.decoded, memory_order_acquire);

	return likely(epoch == vm->insns_epoch) || !epoch;
}
/*
 * Its decoded instructions, in the mode that the vCPU is in, which is the block's: good until the next call, or as long as
 * the world goes on. NULL: the bytes are others by now, the block is stale. With @locked, code_lock is held.
 */
const struct uop *x86_block_decode(struct x86_cpu *cpu, struct x86_block *b, bool locked);
static inline const struct uop *x86_block_uops(struct x86_cpu *cpu, struct x86_block *b)
{
	return likely(x86_block_decoded(cpu->core.vm, b)) ? b->uop : x86_block_decode(cpu, b, false);
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
