// SPDX-License-Identifier: GPL-2.0-only
/*
 * mem.c - guest-physical memory: slots, code pages, dirty bits, device access
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "core.h"

const struct emul_slot *emul_slot_find(const struct emul_vm *vm, u64 gpa)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		if (gpa - vm->slot[i].gpa < vm->slot[i].size)
			return &vm->slot[i];
	return NULL;
}

/* Tables of a slot are large and mostly untouched: let the kernel give zero pages on demand. */
static void *lazy_alloc(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static size_t pages_bytes(u64 size)
{
	return (size >> EMUL_PAGE_SHIFT) * sizeof(struct emul_page *);
}

static size_t dirty_bytes(u64 size)
{
	return ((size >> EMUL_PAGE_SHIFT) + 63) / 64 * sizeof(u64);
}

int emul_mem_add(struct emul_vm *vm, uint64_t gpa, uint64_t size, void *host, unsigned int flags)
{
	struct emul_slot *s = &vm->slot[vm->nr_slots];
	u64 end;

	if (!size || (gpa | size | (uintptr_t)host) & ~EMUL_PAGE_MASK || __builtin_add_overflow(gpa, size, &end) ||
	    end > BIT_ULL(EMUL_GPA_BITS))
		return -EINVAL;
	if (vm->nr_slots == EMUL_MAX_SLOTS)
		return -ENOSPC;
	for (unsigned int i = 0; i < vm->nr_slots; i++)
		if (gpa < vm->slot[i].gpa + vm->slot[i].size && vm->slot[i].gpa < end)
			return -EEXIST;

	*s = (struct emul_slot){ .gpa = gpa, .size = size, .host = host, .flags = flags };
	s->pages = lazy_alloc(pages_bytes(size));
	s->dirty = lazy_alloc(dirty_bytes(size));
	if (!s->pages || !s->dirty) {
		if (s->pages)
			munmap(s->pages, pages_bytes(size));
		return -ENOMEM;
	}
	if (vm->lockstep) {
		int ret = emul_lockstep_mem(vm, gpa, size, flags);

		if (ret) {
			munmap(s->pages, pages_bytes(size));
			munmap(s->dirty, dirty_bytes(size));
			return ret;
		}
	}
	vm->nr_slots++;
	return 0;
}

void emul_mem_free(struct emul_vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_slots; i++) {
		struct emul_slot *s = &vm->slot[i];

		for (u64 n = 0; n < s->size >> EMUL_PAGE_SHIFT; n++)
			free(s->pages[n]);
		munmap(s->pages, pages_bytes(s->size));
		munmap(s->dirty, dirty_bytes(s->size));
	}
	vm->nr_slots = 0;
}

struct emul_page *emul_page_find(const struct emul_slot *slot, u64 gpa)
{
	return atomic_load_explicit(&slot->pages[(gpa - slot->gpa) >> EMUL_PAGE_SHIFT], memory_order_acquire);
}

struct emul_page *emul_page_get(struct emul_vm *vm, const struct emul_slot *slot, u64 gpa)
{
	struct emul_page *_Atomic *at = &slot->pages[(gpa - slot->gpa) >> EMUL_PAGE_SHIFT];
	struct emul_page *p = atomic_load_explicit(at, memory_order_acquire);

	if (p)
		return p;
	pthread_mutex_lock(&vm->code_lock);
	p = atomic_load_explicit(at, memory_order_acquire);
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (p) {
			p->gpa = gpa & EMUL_PAGE_MASK;
			atomic_store_explicit(at, p, memory_order_release);
		}
	}
	pthread_mutex_unlock(&vm->code_lock);
	return p;
}

void emul_mark_dirty(const struct emul_slot *slot, u64 gpa, u64 len)
{
	u64 first = (gpa - slot->gpa) >> EMUL_PAGE_SHIFT;
	u64 last = (gpa - slot->gpa + len - 1) >> EMUL_PAGE_SHIFT;

	for (u64 n = first; n <= last; n++)
		if (!(atomic_load_explicit(&slot->dirty[n / 64], memory_order_relaxed) & BIT_ULL(n % 64)))
			atomic_fetch_or(&slot->dirty[n / 64], BIT_ULL(n % 64));
}

void *emul_dma_map(struct emul_vm *vm, uint64_t gpa, uint64_t *len, bool write)
{
	const struct emul_slot *s = emul_slot_find(vm, gpa);

	if (!s || !*len || (write && s->flags & EMUL_MEM_READONLY))
		return NULL;
	*len = min(*len, s->gpa + s->size - gpa);
	if (unlikely(vm->lockstep) && write)
		return emul_lockstep_dma_map(vm, gpa, *len, s->host + (gpa - s->gpa));
	return s->host + (gpa - s->gpa);
}

void emul_dma_unmap(struct emul_vm *vm, uint64_t gpa, uint64_t len, bool write)
{
	const struct emul_slot *s = emul_slot_find(vm, gpa);

	if (!write || !s || !len)
		return;
	len = min(len, s->gpa + s->size - gpa);
	if (unlikely(vm->lockstep)) {
		emul_lockstep_dma_unmap(vm, gpa, len);
		return;
	}
	if (unlikely(vm->ops->input))
		vm->ops->input(vm->opaque, NULL, EMUL_INPUT_DMA, gpa);
	emul_mark_dirty(s, gpa, len);
	emul_code_invalidate(vm, s, gpa, len);
}

void emul_io(struct emul_vcpu *vcpu, enum emul_space space, u64 addr, void *data, unsigned int len, bool write)
{
	struct emul_vm *vm = vcpu->vm;

	vcpu->stats.io++;
	vcpu->before_io(vcpu);
	vm->ops->access(vm->opaque, vcpu, space, addr, data, len, write);
	if (unlikely(vm->ops->input)) {
		for (unsigned int i = 0; i < len; i += 8) {
			unsigned int n = min(len - i, 8u);
			u64 v = 0;

			memcpy(&v, (u8 *)data + i, n);
			v = emul_nondet(vcpu, write ? EMUL_INPUT_OUTPUT : EMUL_INPUT_IO, v);
			if (!write)
				memcpy((u8 *)data + i, &v, n);
		}
	}
}

u8 emul_tpr_get(struct emul_vcpu *vcpu)
{
	return (u8)emul_nondet(vcpu, EMUL_INPUT_MSR, vcpu->vm->ops->tpr_get(vcpu->vm->opaque, vcpu));
}

bool emul_msr_read(struct emul_vcpu *vcpu, u32 msr, u64 *val)
{
	bool ok = vcpu->vm->ops->msr_read(vcpu->vm->opaque, vcpu, msr, val);

	ok = emul_nondet(vcpu, EMUL_INPUT_MSR, ok);
	*val = emul_nondet(vcpu, EMUL_INPUT_MSR, ok ? *val : 0);
	return ok;
}

bool emul_msr_write(struct emul_vcpu *vcpu, u32 msr, u64 val)
{
	return emul_nondet(vcpu, EMUL_INPUT_MSR, vcpu->vm->ops->msr_write(vcpu->vm->opaque, vcpu, msr, val));
}
