/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * jit.h - the translator of x86-64 code to x86-64 code: for the interpreter, and what its files share
 *
 * See Documentation/translator.rst. On other hosts there is no translator: all of this is nothing.
 */
#ifndef TENON_JIT_H
#define TENON_JIT_H

#include "../../guest/x86/block.h"

/* What jit_run() returns when the interpreter shall run the block, beside enum x86_next. */
#define JIT_INTERPRET	(-1)
#define JIT_GONE	(-2)	/* the arena was emptied: look at state.rip again */

/* interp.c: a jump's target if it is at hand. */
struct x86_block *x86_next_block(struct x86_cpu *cpu);

#ifdef __x86_64__

/* Once a VM, on the first vCPU; without memory for code there is no translation. */
void jit_init(struct x86_cpu *cpu);
/* All blocks and translations are gone: the world is stopped. */
void jit_reset(struct emul_vm *vm);
void jit_stale(struct emul_block *b);
void jit_exit(struct emul_vm *vm);

/* Entries of the instruction TLB were dropped. */
void jit_flush(struct x86_cpu *cpu, bool global);
void jit_flush_page(struct x86_cpu *cpu, u64 lin);
/* Entries of the data TLB are no longer good for writing. */
void jit_revoke(struct x86_cpu *cpu);

/* Is something executed so often, by @hits, that it shall be translated? Counts. */
bool jit_wanted(const struct x86_cpu *cpu, u16 *hits);
/* An instruction that crosses the end of its page; code_lock is held. False: not translated. */
bool jit_crossing(struct x86_cpu *cpu, struct x86_block *b);
/* It is at state.rip, and @second maps its second page. */
void jit_crossing_found(struct x86_cpu *cpu, struct x86_block *b, const struct emul_itlb_entry *second);

/*
 * Run translated code from *@b, translating it if it is hot. JIT_INTERPRET: *@b is to be interpreted. Otherwise the
 * straight line ended at *@u of *@b with this outcome (as in interp.c; X86_JUMP: no block at hand at state.rip).
 */
int jit_run(struct x86_cpu *cpu, struct x86_block **b, const struct uop **u);
/* --- within the translator --- */

struct jit_flags {
	u32 reads, kills;	/* X86_ARITH */
};
struct jit_flags jit_flags(const struct x86_insn *insn);
/* Does its handler read or write any? System instructions do unless known not to: some load or store all of RFLAGS. */
bool jit_sees_flags(const struct x86_insn *insn);
u32 jit_cc_reads(unsigned int cc);

/*
 * x86_jit.missing: which instructions may not run as they are, and that the vector registers are in memory and not in the
 * host's. The latter is always so while C code runs.
 */
#define JIT_SSE		BIT(0)
#define JIT_AVX		BIT(1)
#define JIT_X87		BIT(2)
#define JIT_UNLOADED	BIT(3)

/*
 * An instruction of a block in the arena, in 31 bits: what translated code names one by. The number of instructions is what
 * comes behind the last.
 */
static inline u32 jit_site(const struct emul_vm *vm, const struct x86_block *b, unsigned int idx)
{
	return (u32)((const u8 *)b - vm->arena) / 16 << 7 | idx;
}
static inline struct x86_block *jit_site_block(const struct emul_vm *vm, u32 site)
{
	return (struct x86_block *)(vm->arena + (size_t)(site >> 7) * 16);
}
static inline unsigned int jit_site_idx(u32 site)
{
	return site & 127;
}
static_assert(X86_BLOCK_MAX < 128, "jit_site()");

enum jit_exit_kind {
	JIT_EXIT_UOP,		/* jit.site had the outcome jit.next */
	JIT_EXIT_LINK,		/* a direct branch within the page */
	JIT_EXIT_FAR,		/* one to state.rip in another page */
	JIT_EXIT_JUMP,		/* jit.site goes to state.rip, which the jump cache did not have */
	JIT_EXIT_HEAD,		/* a request came before the block of jit.site, or it is stale */
	JIT_EXIT_HOT,		/* that block was entered so often that it is worth a better translation */
	JIT_EXITS
};

/* A way out. Of links, @patch: what is replaced when the target is known, from the start of the cache. */
struct jit_exit {
	u32 site;		/* of the branch */
	/*
	 * JIT_EXIT_LINK: displacements; between [0] and [1] flags are saved, for targets that read any, see exit_link().
	 * JIT_EXIT_FAR: the displacement of the jump when the guard fails, and the gfn that the guard wants, see far_link().
	 */
	u32 patch[2];
	u16 off;		/* of the target from the page's start */
	u16 live;		/* flags that are in memory if the target has any that are live */
	u8 kind;		/* enum jit_exit_kind */
};
/* From the gfn that a guard wants to the displacement of the jump behind it. */
#define JIT_GUARD_JUMP	20

/* A translation. */
struct jit_code {
	struct jit_cache *cache;
	u8 *rx;			/* entry with state.gpr[X86_REG_RIP] set; aligned to 8, 8 bytes long */
	u8 *far;		/* entry with RIP in H_T1 */
	u16 live;		/* flags that it reads before it writes them */
	u8 nr;			/* instructions: those of the block, or fewer */
	u8 how;			/* it was translated: JIT_GROUPS and so on */
	u32 first_memo;		/* of JIT_MEMOS: its lookups' memos are those from this one on */
	u32 failed;		/* how often the lookups of groups failed */
	u32 detour;		/* jumps from the entry of @first to this one's, see forward() */
	const struct jit_code *first;
};

struct jit_cache {
	u8 *rw, *rx;		/* two views of the same memory */
	size_t size, used, start, large;	/* @large: as much is, or was asked to be, in large pages */
	u8 *data;		/* struct jit_code, struct jit_exit: not on code pages */
	size_t data_size, data_used;
	u64 host_features;
	bool stress, count;
	unsigned int nr_memos, nr_heat;

	/* common code, executable view */
	/* Returns the struct jit_exit; @rip is for a far entry. */
	void *(*enter)(struct x86_cpu *cpu, const void *code, u64 rip);
	u8 *leave;		/* H_T0: struct jit_exit, as an offset of data */
	u8 *leave_far;		/* H_T1: rip, H_T0 as above */
	u8 *leave_jump;		/* H_T1: rip, H_T0: site */
	u8 *leave_head, *leave_hot;	/* H_T0: site */
	u8 *call, *chain;	/* H_T0: site, H_T1: where to go on */
	/*
	 * By TLB mode, for what is not in the jump cache; destroys EFLAGS. far_find: RAX, saved in jit.tmp[2], is where to go
	 * on, with ZF set if the jump cache now has the RIP in H_T1, in the slot H_T0. far_jump: goes there, or leaves as
	 * leave_jump does. far_exit: looks in the jump cache first, and leaves as leave_far does.
	 */
	u8 *far_find[TLB_MODES], *far_jump[TLB_MODES], *far_exit[TLB_MODES];
	u8 *vec_load;		/* H_T1: where to go on; destroys EFLAGS */
	struct jit_exit exit[JIT_EXITS];	/* those that are nobody's own */
};

/* A block may take this much at most: each instruction may store and load all vector registers. */
#define TRANSLATION_MAX	(X86_BLOCK_MAX * 1536)
static inline bool jit_full(const struct jit_cache *c)
{
	return c->size - c->used < TRANSLATION_MAX || c->data_size - c->data_used < 4096;
}

/* Offset in struct x86_cpu of the instruction TLB of a TLB mode. */
static inline s32 jit_itlb(unsigned int m)
{
	return (s32)(offsetof(struct x86_cpu, itlb) + (m == TLB_USER) * EMUL_ITLB_SIZE * sizeof(struct emul_itlb_entry));
}

static inline struct jit_cache *jit_cache(const struct x86_cpu *cpu)
{
	return cpu->core.vm->jit;
}

struct jit_cache *jit_cache_new(const struct emul_config *cfg);
void jit_cache_free(struct jit_cache *c);
void jit_cache_use(struct jit_cache *c, const u8 *end);		/* up to there it is in use */
/* Translate; code_lock is held. False: the cache is full, or the block stale. */
bool jit_translate(struct x86_cpu *cpu, struct x86_block *b, unsigned int how);
#define JIT_GROUPS	BIT(0)	/* accesses near one another share a lookup */
#define JIT_MEMOS	BIT(1)	/* accesses have memos... */
#define JIT_SETTLED	BIT(2)	/* ...if they were of use in the translation before, which was of JIT_MEMOS only */
/*
 * Called by translated code: execute an instruction by its handler. Returns where to go on (a far entry, or what jit.ret
 * says), NULL to leave translated code.
 */
const void *jit_call(struct x86_cpu *cpu, u32 site);
/* The same for jit.chain instructions from @site on, of which the first is that of a group whose lookup failed. */
const void *jit_chain(struct x86_cpu *cpu, u32 site);

#else

static inline void jit_init(struct x86_cpu *cpu) { (void)cpu; }
static inline void jit_reset(struct emul_vm *vm) { (void)vm; }
static inline void jit_exit(struct emul_vm *vm) { (void)vm; }
static inline void jit_stale(struct emul_block *b) { (void)b; }
static inline void jit_flush(struct x86_cpu *cpu, bool global) { (void)cpu, (void)global; }
static inline void jit_flush_page(struct x86_cpu *cpu, u64 lin) { (void)cpu, (void)lin; }
static inline void jit_revoke(struct x86_cpu *cpu) { (void)cpu; }
static inline bool jit_wanted(const struct x86_cpu *cpu, u16 *hits) { (void)cpu, (void)hits; return false; }
static inline bool jit_crossing(struct x86_cpu *cpu, struct x86_block *b)
{
	(void)cpu, (void)b;
	return false;
}
static inline void jit_crossing_found(struct x86_cpu *cpu, struct x86_block *b, const struct emul_itlb_entry *second)
{
	(void)cpu, (void)b, (void)second;
}
static inline int jit_run(struct x86_cpu *cpu, struct x86_block **b, const struct uop **u)
{
	(void)cpu, (void)b, (void)u;
	return JIT_INTERPRET;
}

#endif /* __x86_64__ */

#endif /* TENON_JIT_H */
