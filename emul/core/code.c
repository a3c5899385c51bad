// SPDX-License-Identifier: GPL-2.0-only
/*
 * code.c - decoded blocks: found by guest-physical page, dropped when the page is written
 *
 * A store to a page with code and the decoding of that page meet like this: the decoder claims granules, then reads
 * the bytes; the writer writes the bytes, then looks at the granules. Whichever comes second sees the other: either the
 * decoder reads the new bytes, or the writer finds the claim, waits for code_lock and drops the block.
 */
#include "core.h"

static u64 granules(unsigned int off, unsigned int len)
{
	unsigned int first = off / 64, last = min((off + len - 1) / 64, 63u);

	return GENMASK_ULL(last, first);
}

void emul_code_claim(struct emul_page *page, unsigned int off, unsigned int len)
{
	u64 want = granules(off, len);

	if ((atomic_load_explicit(&page->granules, memory_order_relaxed) & want) != want)
		atomic_fetch_or(&page->granules, want);
}

/* No vCPU may write this page without looking: the world is stopped. */
static void revoke_write(struct emul_vm *vm, u64 gpa)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i])
			emul_arch_revoke(vm->vcpu[i], gpa);
}

static void empty_page(struct emul_page *p)
{
	for (unsigned int i = 0; i < EMUL_PAGE_CHAINS; i++)
		atomic_store_explicit(&p->chain[i], NULL, memory_order_release);
	p->nr_blocks = 0;
	atomic_store(&p->granules, 0);
	atomic_store(&p->active, false);
}

static void empty_insns(struct emul_vm *vm)
{
	vm->insns_used = 0;
	vm->insns_epoch++;
}

/* The arena is full: start over. The world is stopped, so nobody is inside a block. */
static void empty_arena(struct emul_vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++) {
		const struct emul_slot *s = &vm->slot[i];

		for (u64 n = 0; n < s->size >> EMUL_PAGE_SHIFT; n++) {
			struct emul_page *p = atomic_load_explicit(&s->pages[n], memory_order_relaxed);

			if (p && p->nr_blocks)
				empty_page(p);
		}
	}
	vm->arena_used = 0;
	vm->arena_epoch++;
	vm->insns_epoch = 0;
	empty_insns(vm);
	emul_arch_blocks_gone(vm);
}

void emul_code_trim(struct emul_vcpu *vcpu)
{
	struct emul_vm *vm = vcpu->vm;

	emul_world_stop(vcpu);
	pthread_mutex_lock(&vm->code_lock);
	if (vm->insns_epoch == ~0U)
		empty_arena(vm);	/* after this, a block of long ago would be taken for one of today */
	else if (emul_insns_full(vm))
		empty_insns(vm);
	pthread_mutex_unlock(&vm->code_lock);
	emul_world_resume(vcpu);
}

void emul_code_reset(struct emul_vcpu *vcpu)
{
	struct emul_vm *vm = vcpu->vm;

	emul_world_stop(vcpu);
	pthread_mutex_lock(&vm->code_lock);
	empty_arena(vm);
	pthread_mutex_unlock(&vm->code_lock);
	emul_world_resume(vcpu);
}

void *emul_code_begin(struct emul_vcpu *vcpu, struct emul_page *page, size_t room)
{
	struct emul_vm *vm = vcpu->vm;

	for (;;) {
		pthread_mutex_lock(&vm->code_lock);
		if (vm->arena_size - vm->arena_used >= room && !emul_insns_full(vm) && atomic_load(&page->active))
			return vm->arena + vm->arena_used;
		pthread_mutex_unlock(&vm->code_lock);

		if (emul_insns_full(vm))
			emul_code_trim(vcpu);
		emul_world_stop(vcpu);
		pthread_mutex_lock(&vm->code_lock);	/* devices may be invalidating */
		if (vm->arena_size - vm->arena_used < room)
			empty_arena(vm);
		if (!atomic_load(&page->active)) {
			atomic_store(&page->active, true);
			revoke_write(vm, page->gpa);
		}
		pthread_mutex_unlock(&vm->code_lock);
		emul_world_resume(vcpu);
	}
}

void emul_code_insert(struct emul_vm *vm, struct emul_page *page, struct emul_block *b, size_t size)
{
	struct emul_block *_Atomic *head = &page->chain[b->off / 64];

	vm->arena_used += (size + 15) & ~(size_t)15;
	page->nr_blocks++;
	b->shared = true;
	atomic_store_explicit(&b->next, atomic_load_explicit(head, memory_order_relaxed), memory_order_relaxed);
	atomic_store_explicit(head, b, memory_order_release);
}

void emul_code_end(struct emul_vm *vm)
{
	pthread_mutex_unlock(&vm->code_lock);
}

static void make_stale(struct emul_block *b)
{
	atomic_store(&b->stale, true);
	if (atomic_load_explicit(&b->code, memory_order_relaxed))
		emul_arch_block_stale(b);
}

/* Unlink the blocks of a page that overlap [from, to). */
static void drop_blocks(struct emul_page *p, unsigned int from, unsigned int to)
{
	u64 left = 0;

	for (unsigned int i = 0; i < EMUL_PAGE_CHAINS; i++) {
		struct emul_block *_Atomic *at = &p->chain[i];
		struct emul_block *b;

		while ((b = atomic_load_explicit(at, memory_order_relaxed))) {
			if ((b->off < to && b->end > from) || b->deps & granules(from, to - from)) {
				make_stale(b);
				if (b->whole)
					make_stale(b->whole);
				atomic_store_explicit(at, atomic_load_explicit(&b->next, memory_order_relaxed),
						      memory_order_release);
				p->nr_blocks--;
			} else {
				left |= granules(b->off, b->end - b->off) | b->deps;
				at = &b->next;
			}
		}
	}
	atomic_store(&p->granules, left);
	if (!left)
		atomic_store(&p->active, false);
}

void emul_code_invalidate(struct emul_vm *vm, const struct emul_slot *slot, u64 gpa, u64 len)
{
	u64 end = gpa + len;

	atomic_thread_fence(memory_order_seq_cst);	/* the bytes are written before the claims are read */
	while (gpa < end) {
		struct emul_page *p = emul_page_find(slot, gpa);
		unsigned int off = gpa & ~EMUL_PAGE_MASK;
		unsigned int n = (unsigned int)min(end - gpa, EMUL_PAGE_SIZE - off);

		if (p && atomic_load(&p->granules) & granules(off, n)) {
			pthread_mutex_lock(&vm->code_lock);
			drop_blocks(p, off, off + n);
			pthread_mutex_unlock(&vm->code_lock);
		}
		gpa += n;
	}
}
