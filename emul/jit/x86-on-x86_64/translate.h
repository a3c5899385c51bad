/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * translate.h - a translation in the making
 */
#ifndef TENON_JIT_TRANSLATE_H
#define TENON_JIT_TRANSLATE_H

#include "emit.h"
#include "jit.h"

/*
 * Where the guest's arithmetic flags are that somebody may still read: nowhere (nobody will), in EFLAGS, in jit.flags,
 * or in both.
 */
enum where { NOWHERE, IN_EFLAGS, IN_MEMORY, IN_BOTH };

/* An instruction's way to its handler, out of line: branches that lead there, and where it goes on afterwards. */
struct slow {
	const struct uop *u;
	u8 *from[8];
	unsigned int nr;
	u8 *join;
	unsigned int chain;	/* instructions that handlers do, if not just this one */
	enum where after;
	u32 live;		/* flags that are live there */
	bool vectors;		/* there the vector registers are expected in the host's */
	bool lookup;		/* a memo's miss will branch here */
};

/* Where a memo does not have the address: the table is looked at, out of line, and the memo filled from it. */
struct miss {
	u8 *from, *join;
	struct slow *s;
	unsigned int memo, size;
	bool write;
};

struct way_out {
	const struct uop *u;
	u8 *from;		/* displacement of the branch, aligned */
	s32 off;		/* of the target in the page */
	u32 live;		/* flags the target may read */
	enum where where;
	unsigned int done;	/* instructions retired */
};

/* Accesses that share a TLB lookup (group.c). Of an access: which group, and where in its range. */
struct tr_near {
	u8 group;		/* from 1, 0: none */
	s16 off;
};
enum { TR_OPERAND, TR_STACK };

struct tr_group {
	u16 size;
	bool write, ready;
	u8 first, last;		/* instructions; where groups overlap, the last of all of them */
};

struct tr {
	struct emit e;
	struct jit_cache *c;
	struct x86_cpu *cpu;
	struct x86_block *b;
	const struct uop *uop;
	struct emul_page *page;
	const u8 *bytes;	/* of the page */
	u64 deps;
	unsigned int nr;	/* instructions to translate */
	unsigned int tlb_mode;
	s32 tlb, jump;		/* offsets in struct x86_cpu of the TLB and the jump cache in use */

	enum where where;
	u8 vec_checked;		/* bits of jit.missing that are known to be clear */
	u32 before;		/* live before the one being translated */
	u32 after;
	enum x86_mode mode;
	bool w;			/* 64-bit code: addresses, stack and RIP are of 64 bits, not 32 */
	bool code16;		/* 16-bit code, with segments */
	u8 width;		/* of the stack: 8, 4 or 2 bytes */
	s32 page_ip;		/* of 16-bit code: IP at the start of the page */
	bool memos, measure;	/* accesses have memos; their use is counted */
	unsigned int first_memo, nr_lookups;
	u8 *head, *heat;	/* branches out of the head: for a request, to be translated anew */
	struct { u8 *from, *join; struct slow *s; } far;	/* an indirect branch whose target is not in the jump cache */
	struct slow *s;
	unsigned int nr_slow, nr_load, nr_out, nr_miss, nr_groups;

	/* from here on, only what is in use is initialized */
	u32 live[X86_BLOCK_MAX + 1];	/* after each instruction */
	u32 target_live[X86_BLOCK_MAX + 1];	/* where each direct branch, or the end, leads */
	struct slow slow[X86_BLOCK_MAX];
	struct { u8 *from, *join; } load[X86_BLOCK_MAX];	/* ways to loading the vector registers, out of line */
	struct way_out out[X86_BLOCK_MAX + 1];
	struct miss miss[2 * X86_BLOCK_MAX];
	struct tr_near near[X86_BLOCK_MAX][2];
	struct tr_group group[X86_JIT_NEAR];
};

/* LEA, ADD and the like of addresses: what a mode makes of more bits than it has */
static inline void put_addr(struct tr *t, u8 op, unsigned int reg, struct rm rm)
{
	put_op(&t->e, op, t->w, reg, rm);
}

/* With an operand of 2, 4 or 8 bytes */
static inline void put_sized(struct tr *t, unsigned int size, u8 op, unsigned int reg, struct rm rm)
{
	const struct enc c = { .opsz = size == 2 ? 0x66 : 0, .w = size == 8, .op = op };

	put_insn(&t->e, &c, reg, rm);
}

/* What an instruction pushes or pops; false: not done here */
static inline bool tr_stack_ok(const struct tr *t, const struct uop *u)
{
	return u->insn.opsize == t->width || (t->code16 && u->insn.opsize == 4);
}
static inline unsigned int tr_stack_size(const struct tr *t, const struct uop *u)
{
	return t->code16 ? u->insn.opsize : t->width;
}

/* RSP += @by, or SP; also from another register */
static inline void tr_set_sp(struct tr *t, unsigned int from, s32 by)
{
	put_sized(t, t->width, OP_LEA, H_GUEST_RSP, RM_MEM(from, by));
}

/* flags (translate.c) */
void tr_save(struct tr *t, u32 live);
void tr_reload(struct tr *t, bool scratch, u32 live);
/* Before code that destroys EFLAGS: keep what is live. */
void tr_clobber(struct tr *t);
/* Have the flags in EFLAGS if they are anywhere. @scratch: H_T1 is free */
void tr_want_flags(struct tr *t, bool scratch);

/* memory (memory.c): the branches to the slow path are noted in t->s */
void tr_slow(struct tr *t, unsigned int cc);
/* May the operand's address be computed here? */
bool tr_ea_ok(const struct tr *t, const struct uop *u);
/* The effective address as an operand of LEA; loads scratch registers. */
struct rm tr_ea(struct tr *t, const struct uop *u);
/* H_T1: linear address of the memory operand. */
void tr_linear(struct tr *t, const struct uop *u, unsigned int size, bool write);
/* From the linear address in H_T1 to H_T1 + H_T0, the host address. */
void tr_lookup(struct tr *t, unsigned int size, bool write);
void tr_misses(struct tr *t);
/*
 * The memory operand, and what is at @off from guest register @reg, RSP or RBP; checked, or on the way to the handler.
 * EFLAGS are kept if they are live. Addresses are in H_T0 and H_T1; tr_spare() makes one of them free.
 */
struct rm tr_operand(struct tr *t, const struct uop *u, unsigned int size, bool write);
struct rm tr_stack(struct tr *t, const struct uop *u, unsigned int reg, s32 off, bool write);
unsigned int tr_spare(struct tr *t, struct rm *rm);
/* Is H_T1 free beside this operand? */
static inline bool tr_t1_free(struct rm rm)
{
	return !rm.mem || (rm.reg != H_T1 && rm.index != H_T1);
}
/* To the handler unless the operand is aligned; destroys EFLAGS. */
void tr_aligned(struct tr *t, struct rm rm, unsigned int size);

/* group.c */
void tr_find_groups(struct tr *t);
struct rm tr_group_operand(struct tr *t, const struct tr_near *near, struct rm lin);

/* instructions; false: not taken, nothing emitted */
bool tr_alu(struct tr *t, const struct uop *u);		/* alu.c */
bool tr_alu_taken(const struct uop *u);			/* ...might be; of general registers, it writes its operands only */
bool tr_special(struct tr *t, const struct uop *u);	/* special.c */
bool tr_string(struct tr *t, const struct uop *u);	/* string.c */
bool tr_system(struct tr *t, const struct uop *u);	/* system.c */
bool tr_vector(struct tr *t, const struct uop *u);	/* vector.c */
bool tr_x87(struct tr *t, const struct uop *u);		/* x87.c */
bool tr_branch(struct tr *t, const struct uop *u);	/* branch.c; true also says that the line does not end */
/* Flags that are live where the instruction (or the block's end) leads when it does not go on in line. */
u32 tr_target_live(struct tr *t, const struct uop *u);
void tr_end(struct tr *t, const struct uop *u);
void tr_far(struct tr *t);
void tr_outs(struct tr *t);
void tr_trace(const struct tr *t, const struct jit_code *code);		/* trace.c */

#endif /* TENON_JIT_TRANSLATE_H */
