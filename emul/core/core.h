/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core.h - what no instruction set owns: guest memory, the software TLB's shape, decoded blocks, stopping the world
 *
 * Invariants
 *  - A RAM page with decoded code (struct emul_page.active) has no write entry in any vCPU's TLB: a store to it takes
 *    the slow path, which drops the code it hits. The page becomes one with the world stopped.
 *  - Decoded code is found through the guest-physical page, so remapping needs no invalidation but the TLB's own.
 *  - Blocks are unlinked when stale and freed only with the world stopped: whoever runs one may finish it. So are their
 *    decoded instructions, which go more often: they are decoded again when somebody wants them.
 *  - A TLB belongs to its vCPU's thread; others ask by emul_request() or stop the world.
 */
#ifndef TENON_EMUL_CORE_H
#define TENON_EMUL_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "../base.h"
#include "../include/tenon/emul.h"

#define EMUL_PAGE_SHIFT	12
#define EMUL_PAGE_SIZE	(1ULL << EMUL_PAGE_SHIFT)
#define EMUL_PAGE_MASK	(~(EMUL_PAGE_SIZE - 1))

/* --- decoded code (code.c) --- */

/* Head of a block of decoded instructions, all of one page; what follows it is the guest architecture's. */
struct emul_block {
	struct emul_block *_Atomic next;	/* in the page's chain */
	u16 off, end;			/* first byte in the page, one after the last */
	u32 mode;			/* what else the decoding depended on */
	bool shared;			/* in the page's chain: not private to a vCPU */
	atomic_bool stale;		/* the bytes have changed since */
	u16 hits;			/* how often it was interpreted, about; the translator's */
	_Atomic u32 decoded;		/* emul_vm.insns_epoch of its decoded instructions; 0: they stay */
	u64 deps;			/* granules of the page beside off..end that its translation depends on */
	void *_Atomic code;		/* its translation, if there is one */
	struct emul_block *whole;	/* this is a part of that one, whose bytes lie in two pages */
};

/* emul_block.mode of a part, or its low byte: no lookup finds it. */
#define EMUL_BLOCK_PART	0xff

#define EMUL_PAGE_CHAINS 64

/* --- guest-physical memory (mem.c) --- */

/* A RAM page that has held code. */
struct emul_page {
	u64 gpa;
	unsigned int nr_blocks;		/* under code_lock */
	atomic_bool active;		/* holds decoded blocks: stores take the slow path */
	_Atomic u64 granules;		/* 64-byte pieces of the page that blocks were decoded from */
	struct emul_block *_Atomic chain[EMUL_PAGE_CHAINS];	/* by start offset / 64 */
};

struct emul_slot {
	u64 gpa, size;
	u8 *host;
	unsigned int flags;		/* EMUL_MEM_* */
	struct emul_page *_Atomic *pages;	/* one a page, NULL until code was decoded from it */
	_Atomic u64 *dirty;		/* one bit a page */
};

#define EMUL_MAX_SLOTS 32

/* --- stopping the world (world.c) --- */

struct emul_world {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int running;		/* vCPUs between world_enter() and world_leave() */
	bool stopped;			/* one vCPU holds the world */
};

/* What a vCPU is asked to look at before its next instruction (emul_vcpu.request). */
#define EMUL_REQ_KICK		BIT(0)	/* return from emul_run() */
#define EMUL_REQ_INTR		BIT(1)	/* an external interrupt may be pending */
#define EMUL_REQ_NMI		BIT(2)
#define EMUL_REQ_STOP		BIT(3)	/* someone wants the world stopped */
#define EMUL_REQ_STALE		BIT(4)	/* the running block was overwritten by its own vCPU */
#define EMUL_REQ_FLUSH		BIT(5)	/* flush the TLB */
#define EMUL_REQ_POKE		BIT(6)	/* come out of translated code, at an instruction's end; nothing else */
#define EMUL_REQ_ARCH		BIT(8)	/* the first of the guest architecture's own */

struct emul_vm {
	const struct emul_ops *ops;
	void *opaque;
	struct emul_config cfg;

	struct emul_slot slot[EMUL_MAX_SLOTS];	/* sorted by gpa */
	unsigned int nr_slots;

	struct emul_world world;
	pthread_mutex_t code_lock;	/* building, linking and unlinking blocks; taken with no other lock held inside */
	/* Memory of all blocks, and of decoded instructions: emptied as a whole with the world stopped, the latter alone, too. */
	u8 *arena, *insns;
	size_t arena_size, arena_used, insns_size, insns_used;
	unsigned int arena_epoch;	/* how often it was emptied; changes only with the world stopped */
	u32 insns_epoch;		/* likewise, never 0 */

	struct emul_vcpu **vcpu;
	unsigned int nr_vcpus;
	void *arch;			/* guest architecture's own (CPUID tables) */
	void *jit;			/* the translator's own */
	struct emul_lockstep *lockstep;	/* of this VM and its twin (lockstep.h); mostly NULL */
	struct emul_poke *poke;		/* who pokes the vCPUs, if anybody does (poke.c) */
};

struct emul_tlb_entry;

/* Head of the guest architecture's vCPU struct. */
struct emul_vcpu {
	_Atomic u32 request;		/* EMUL_REQ_* */
	struct emul_tlb_entry *tlb;	/* all of the vCPU's data TLB entries */
	void (*before_io)(struct emul_vcpu *vcpu);	/* the embedder's code is about to run on this thread */
	struct emul_vm *vm;
	void *opaque;
	unsigned int id;
	struct emul_stats stats;
	char msg[200];
};

const struct emul_slot *emul_slot_find(const struct emul_vm *vm, u64 gpa);
/* Host address of the byte at @gpa if it is RAM, else NULL. */
static inline u8 *emul_ram(const struct emul_vm *vm, u64 gpa)
{
	const struct emul_slot *s = emul_slot_find(vm, gpa);

	return s ? s->host + (gpa - s->gpa) : NULL;
}
struct emul_page *emul_page_find(const struct emul_slot *slot, u64 gpa);
struct emul_page *emul_page_get(struct emul_vm *vm, const struct emul_slot *slot, u64 gpa);
void emul_mark_dirty(const struct emul_slot *slot, u64 gpa, u64 len);

/*
 * Building a block: emul_code_begin() makes the page one with code (stopping the world if it was not), takes code_lock
 * and guarantees @room bytes of arena and EMUL_INSNS_ROOM of insns; the caller claims the bytes it is about to read with emul_code_claim(), decodes,
 * and ends with emul_code_insert() (or not), then emul_code_end(). Called between instructions.
 */
#define EMUL_INSNS_ROOM	8192
void *emul_code_begin(struct emul_vcpu *vcpu, struct emul_page *page, size_t room);
void emul_code_claim(struct emul_page *page, unsigned int off, unsigned int len);
void emul_code_insert(struct emul_vm *vm, struct emul_page *page, struct emul_block *b, size_t size);
void emul_code_end(struct emul_vm *vm);
static inline struct emul_block *emul_code_find(const struct emul_page *page, unsigned int off, u32 mode)
{
	struct emul_block *b = atomic_load_explicit(&page->chain[off / 64], memory_order_acquire);

	while (b && (b->off != off || b->mode != mode))
		b = atomic_load_explicit(&b->next, memory_order_acquire);
	return b;
}
static inline bool emul_insns_full(const struct emul_vm *vm)
{
	return vm->insns_size - vm->insns_used < EMUL_INSNS_ROOM;
}
/* Empty insns. Called between instructions: the caller's are gone, too. */
void emul_code_trim(struct emul_vcpu *vcpu);
/* Empty the arena, with all translations. Called between instructions: the caller's blocks are gone too. */
void emul_code_reset(struct emul_vcpu *vcpu);
/* Guest memory [gpa, gpa + len) was written: drop the blocks decoded from it. Any thread. */
void emul_code_invalidate(struct emul_vm *vm, const struct emul_slot *slot, u64 gpa, u64 len);

void emul_io(struct emul_vcpu *vcpu, enum emul_space space, u64 addr, void *data, unsigned int len, bool write);
u8 emul_tpr_get(struct emul_vcpu *vcpu);
bool emul_msr_read(struct emul_vcpu *vcpu, u32 msr, u64 *val);
bool emul_msr_write(struct emul_vcpu *vcpu, u32 msr, u64 val);

static inline u64 emul_nondet(struct emul_vcpu *vcpu, enum emul_input kind, u64 val)
{
	const struct emul_ops *ops = vcpu->vm->ops;

	return unlikely(ops->input) ? ops->input(vcpu->vm->opaque, vcpu, kind, val) : val;
}

/*
 * The world. A vCPU runs guest code between enter and leave. stop() returns when no other vCPU does; it may be called
 * only between instructions, holding no lock. A vCPU with EMUL_REQ_STOP set calls emul_world_yield().
 */
void emul_world_init(struct emul_world *w);
void emul_world_enter(struct emul_vcpu *vcpu);
void emul_world_leave(struct emul_vcpu *vcpu);
void emul_world_yield(struct emul_vcpu *vcpu);
void emul_world_stop(struct emul_vcpu *vcpu);
void emul_world_resume(struct emul_vcpu *vcpu);

/* --- what a guest architecture provides --- */

bool emul_arch_vm_init(struct emul_vm *vm, char *err, size_t errlen);
void emul_arch_vm_exit(struct emul_vm *vm);
/* A zeroed vCPU with its head's tlb and before_io set; NULL: no memory. */
struct emul_vcpu *emul_arch_vcpu_new(struct emul_vm *vm, unsigned int id);
void emul_arch_vcpu_free(struct emul_vcpu *vcpu);
/* Counters that the guest architecture keeps elsewhere. */
void emul_arch_stats(const struct emul_vcpu *vcpu, struct emul_stats *stats);
/* All blocks are gone; the world is stopped and code_lock held. */
void emul_arch_blocks_gone(struct emul_vm *vm);
/* A block with a translation has become stale: nobody may enter it any more. code_lock is held. */
void emul_arch_block_stale(struct emul_block *b);
/* No entry of the TLB may lead to a write of the page of RAM at @gpa any more; the world is stopped. */
void emul_arch_revoke(struct emul_vcpu *vcpu, u64 gpa);

/* mem.c */
void emul_mem_free(struct emul_vm *vm);

/* Hold a request back until the next turn? What the vCPU asks of itself, and pokes, are not. */
bool emul_lockstep_later(struct emul_vm *vm, u32 what);

static inline void emul_request(struct emul_vcpu *vcpu, u32 what)
{
	if (unlikely(vcpu->vm->lockstep) && emul_lockstep_later(vcpu->vm, what))
		return;
	atomic_fetch_or_explicit(&vcpu->request, what, memory_order_seq_cst);
}

/* --- lockstep (lockstep.c, and the guest architecture's part) --- */

bool emul_lockstep_init(struct emul_vm *vm, char *err, size_t errlen);
void emul_lockstep_exit(struct emul_vm *vm);
int emul_lockstep_mem(struct emul_vm *vm, u64 gpa, u64 size, unsigned int flags);
bool emul_lockstep_vcpu(struct emul_vm *vm, unsigned int id);
void *emul_lockstep_dma_map(struct emul_vm *vm, u64 gpa, u64 len, const u8 *host);
void emul_lockstep_dma_unmap(struct emul_vm *vm, u64 gpa, u64 len);
/* The page is about to be written. True: look at each write, so cache no permission to write. */
bool emul_lockstep_wrote(struct emul_vm *vm, u64 gpa);
static inline bool emul_traced_write(struct emul_vm *vm, u64 gpa)
{
	return unlikely(vm->lockstep) && emul_lockstep_wrote(vm, gpa);
}

/* EMUL_REQ_POKE for every vCPU, @hz times a second, until emul_poke_stop(). False: no thread. */
bool emul_poke_start(struct emul_vm *vm, unsigned int hz);
void emul_poke_stop(struct emul_vm *vm);

/* --- software TLB: shape and lookup; filling is the guest architecture's --- */

#define EMUL_TLB_BITS	13
#define EMUL_TLB_SIZE	(1U << EMUL_TLB_BITS)
#define EMUL_TLB_EMPTY	(1ULL << 62 | 1)	/* no page address has bit 0 set, and no canonical address is near */

/*
 * Slot of an address. Translated code computes it at every access but those that have memos, so it is as cheap as can be:
 * to fold higher bits in, for arrays a power of two apart, cost three instructions more, and no program was faster for it.
 */
static __always_inline unsigned int emul_tlb_index(u64 va)
{
	return (unsigned int)(va >> EMUL_PAGE_SHIFT) % EMUL_TLB_SIZE;
}

/* 32 bytes: translated code finds an entry by a shift and a mask. */
struct emul_tlb_entry {
	u64 rtag, wtag;		/* guest-virtual page address if readable, writable; else emul_tlb_empty() */
	u8 *host;		/* the page's bytes */
	u32 gfn;		/* guest-physical page number */
	u8 shift;		/* log2 size of the guest's page: INVLPG anywhere in it drops the entry */
	u8 global;
	u8 logged;		/* the guest architecture's own: its logs of fills that hold this entry */
};
static_assert(sizeof(struct emul_tlb_entry) == 32, "translated code computes addresses of TLB entries");
#define EMUL_GPA_BITS	44	/* of RAM: what gfn has room for */

/*
 * What the tags of an entry are that holds nothing: a page of another slot, so that no address equals it, canonical or not,
 * however translated code compares. Neighbouring entries differ in address bit 5.
 */
static __always_inline u64 emul_tlb_empty(const struct emul_tlb_entry *e)
{
	return 1ULL << 63 | ((uintptr_t)e & 32 ? 0 : EMUL_PAGE_SIZE);
}

/* Is an entry with this tag for all @size bytes at @va? One compare also catches accesses that cross a page. */
static __always_inline bool emul_tlb_match(u64 tag, u64 va, unsigned int size)
{
	return (tag ^ va) <= EMUL_PAGE_SIZE - size;
}

/* Host address of @va, of whose page the entry is. */
static __always_inline void *emul_tlb_host(const struct emul_tlb_entry *e, u64 va)
{
	return e->host + (va & ~EMUL_PAGE_MASK);
}

struct emul_itlb_entry {
	u64 tag;		/* guest-virtual page address, executable; or EMUL_TLB_EMPTY */
	struct emul_page *page;	/* where its blocks are; NULL for code outside RAM */
	union {
		u8 *host;	/* in RAM: the page's bytes */
		u64 gpa;	/* outside */
	};
	u32 gfn;		/* guest-physical page number; outside RAM, EMUL_NO_GFN */
	u8 shift;
	u8 global;
	u8 logged;
};
static_assert(sizeof(struct emul_itlb_entry) == 32, "translated code computes addresses of TLB entries");
#define EMUL_NO_GFN	0xffffffff

#endif /* TENON_EMUL_CORE_H */
