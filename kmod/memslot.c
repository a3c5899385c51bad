// SPDX-License-Identifier: GPL-2.0-only
/*
 * memslot.c - where guest-physical memory is
 *
 * The slots of a VM are one sorted array that never changes: an update publishes a new one. Readers
 * hold vm->srcu, so once synchronize_srcu() returns nobody can map pages by the old array, and what
 * it mapped can be taken away for good.

 */
#include <linux/bitmap.h>
#include <linux/compat.h>
#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "tenon.h"

#define MAX_SLOT_PAGES ((1ul << 31) - 1)
#define MAX_GFN	       (1ull << (48 - PAGE_SHIFT)) /* four levels of nested tables */

int tenon_slots_init(struct tenon_vm *vm)
{
	struct tenon_slots *slots = kvzalloc(sizeof(*slots), GFP_KERNEL_ACCOUNT);

	if (!slots)
		return -ENOMEM;
	rcu_assign_pointer(vm->slots, slots);
	return 0;
}

void tenon_slots_destroy(struct tenon_vm *vm)
{
	struct tenon_slots *slots = rcu_dereference_protected(vm->slots, 1);
	unsigned int n;

	for (n = 0; n < slots->n; n++)
		kvfree(slots->slot[n].dirty);
	kvfree(slots);
}

/* Under vm->srcu. */
const struct tenon_slot *tenon_slot_find(struct tenon_vm *vm, u64 gfn)
{
	const struct tenon_slots *slots =
		srcu_dereference_check(vm->slots, &vm->srcu, lockdep_is_held(&vm->slots_lock));
	unsigned int low = 0, high = slots->n;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;
		const struct tenon_slot *slot = &slots->slot[array_index_nospec(mid, slots->n)];

		if (gfn < slot->gfn)
			high = mid;
		else if (gfn - slot->gfn >= slot->npages)
			low = mid + 1;
		else
			return slot;
	}
	return NULL;
}

void tenon_mark_dirty(const struct tenon_slot *slot, u64 gfn)
{
	if (slot->dirty)
		set_bit(array_index_nospec(gfn - slot->gfn, slot->npages), slot->dirty);
}

static int slot_order(const void *a, const void *b)
{
	const struct tenon_slot *x = a, *y = b;

	return x->gfn < y->gfn ? -1 : x->gfn > y->gfn;
}

static int slot_check(const struct kvm_userspace_memory_region *mem)
{
	u64 end;

	if (mem->flags & ~(u32)(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	/* The high half names address spaces: there is one. */
	if (mem->slot >= TENON_MAX_SLOTS)
		return -EINVAL;
	if ((mem->memory_size | mem->guest_phys_addr | mem->userspace_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (mem->memory_size >> PAGE_SHIFT > MAX_SLOT_PAGES)
		return -EINVAL;
	if (check_add_overflow(mem->guest_phys_addr, mem->memory_size, &end) ||
	    (mem->memory_size && end >> PAGE_SHIFT > MAX_GFN))
		return -EINVAL;
	if (mem->userspace_addr != untagged_addr(mem->userspace_addr) ||
	    !access_ok((void __user *)(unsigned long)mem->userspace_addr, mem->memory_size))
		return -EINVAL;
	return 0;
}

static int set_memory_locked(struct tenon_vm *vm, const struct kvm_userspace_memory_region *mem)
{
	struct tenon_slots *old =
		rcu_dereference_protected(vm->slots, lockdep_is_held(&vm->slots_lock));
	struct tenon_slot gone = {}, slot = {
		.gfn = mem->guest_phys_addr >> PAGE_SHIFT,
		.npages = mem->memory_size >> PAGE_SHIFT,
		.hva = mem->userspace_addr,
		.flags = mem->flags,
		.id = mem->slot,
	};
	unsigned long *free_dirty = NULL;
	struct tenon_slots *slots;
	unsigned int n, count = 0;
	u64 pages = slot.npages;
	bool had = false;

	for (n = 0; n < old->n; n++) {
		const struct tenon_slot *s = &old->slot[n];

		if (s->id == slot.id) {
			gone = *s;
			had = true;
			continue;
		}
		pages += s->npages;
		if (slot.npages && slot.gfn < s->gfn + s->npages &&
			   s->gfn < slot.gfn + slot.npages) {
			return -EEXIST;
		}
	}
	if (!slot.npages && !had)
		return -EINVAL;
	if (slot.npages && pages >> (20 - PAGE_SHIFT) >= tenon_max_memory &&
	    pages > (u64)tenon_max_memory << (20 - PAGE_SHIFT))
		return -ENOSPC;
	if (slot.npages && had) {
		/*
		 * A slot may move and change its flags, but not its size, its memory, or whether it
		 * is read-only.
		 */
		if (gone.npages != slot.npages || gone.hva != slot.hva ||
		    (gone.flags ^ slot.flags) & KVM_MEM_READONLY)
			return -EINVAL;
		if (gone.gfn == slot.gfn && gone.flags == slot.flags)
			return 0;
	}

	slots = kvmalloc(struct_size(slots, slot, old->n + 1), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return -ENOMEM;
	if (slot.npages && (slot.flags & KVM_MEM_LOG_DIRTY_PAGES)) {
		if (had && gone.dirty) {
			slot.dirty = gone.dirty;
		} else {
			slot.dirty = kvcalloc(BITS_TO_LONGS(slot.npages), sizeof(long),
					      GFP_KERNEL_ACCOUNT);
			if (!slot.dirty) {
				kvfree(slots);
				return -ENOMEM;
			}
		}
	}
	if (gone.dirty && gone.dirty != slot.dirty)
		free_dirty = gone.dirty;

	for (n = 0; n < old->n; n++) {
		if (old->slot[n].id != slot.id)
			slots->slot[count++] = old->slot[n];
	}
	if (slot.npages)
		slots->slot[count++] = slot;
	slots->n = count;
	sort(slots->slot, count, sizeof(slots->slot[0]), slot_order, NULL);

	rcu_assign_pointer(vm->slots, slots);
	synchronize_srcu(&vm->srcu);
	if (had)
		tenon_tdp_zap(vm, gone.gfn, gone.npages);
	kvfree(old);
	kvfree(free_dirty);
	return 0;
}

int tenon_set_memory(struct tenon_vm *vm, const struct kvm_userspace_memory_region *mem)
{
	int ret = slot_check(mem);

	if (ret)
		return ret;
	mutex_lock(&vm->slots_lock);
	ret = set_memory_locked(vm, mem);
	mutex_unlock(&vm->slots_lock);
	return ret;
}

/* A bitmap is named in a field of eight bytes, of which a 32-bit caller sets the lower half. */
static unsigned long __user *bitmap_of(void __user *bitmap)
{
	return in_compat_syscall() ? compat_ptr((unsigned long)bitmap) : bitmap;
}

/* The slot with this number, if its writes are logged. */
static const struct tenon_slot *logged_slot(struct tenon_vm *vm, u32 id)
{
	const struct tenon_slots *slots = rcu_dereference_protected(vm->slots, lockdep_is_held(&vm->slots_lock));
	unsigned int n;

	for (n = 0; n < slots->n; n++) {
		if (slots->slot[n].id == id && slots->slot[n].dirty)
			return &slots->slot[n];
	}
	return NULL;
}

/* Take these bits and write-protect the pages they stand for: a write after that faults and sets its bit anew. */
static unsigned long take_dirty(struct tenon_vm *vm, const struct tenon_slot *slot, unsigned long word,
				unsigned long mask)
{
	mask &= atomic_long_fetch_andnot(mask, (atomic_long_t *)&slot->dirty[word]);
	tenon_tdp_write_protect(vm, slot->gfn + word * BITS_PER_LONG, mask);
	return mask;
}

/* Only what is write-protected again may be read by the caller; with manual protection, it asks for that itself. */
int tenon_get_dirty_log(struct tenon_vm *vm, const struct kvm_dirty_log *log)
{
	unsigned long __user *bitmap = bitmap_of(log->dirty_bitmap);
	const bool manual = READ_ONCE(vm->manual_dirty);
	const struct tenon_slot *slot;
	unsigned long words, n;
	bool any = false;
	int ret = 0;

	if (log->slot >= TENON_MAX_SLOTS)
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	slot = logged_slot(vm, log->slot);
	if (!slot) {
		ret = -ENOENT;
		goto out;
	}
	words = BITS_TO_LONGS(slot->npages);
	for (n = 0; n < words && !ret; n++) {
		unsigned long mask = READ_ONCE(slot->dirty[n]);

		if (mask && !manual) {
			any = true;
			mask = take_dirty(vm, slot, n, mask);
		}
		if (put_user(mask, bitmap + n)) {
			/* Nobody has seen these. */
			if (!manual)
				atomic_long_or(mask, (atomic_long_t *)&slot->dirty[n]);
			ret = -EFAULT;
		}
		if (!(n & 0xfff))
			cond_resched();
	}
	if (any)
		tenon_flush_all(vm);
out:
	mutex_unlock(&vm->slots_lock);
	return ret;
}

/* Whole words, but for the last page of a slot. */
int tenon_clear_dirty_log(struct tenon_vm *vm, const struct kvm_clear_dirty_log *log)
{
	unsigned long __user *bitmap = bitmap_of(log->dirty_bitmap);
	const struct tenon_slot *slot;
	unsigned long mask, n;
	bool any = false;
	int ret = 0;

	if (log->slot >= TENON_MAX_SLOTS || log->first_page % BITS_PER_LONG)
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	slot = logged_slot(vm, log->slot);
	if (!slot) {
		ret = -ENOENT;
		goto out;
	}
	if (log->first_page > slot->npages || log->num_pages > slot->npages - log->first_page ||
	    (log->num_pages < slot->npages - log->first_page && log->num_pages % BITS_PER_LONG)) {
		ret = -EINVAL;
		goto out;
	}
	for (n = 0; n < BITS_TO_LONGS(log->num_pages); n++) {
		if (get_user(mask, bitmap + n)) {
			ret = -EFAULT;
			break;
		}
		if (log->num_pages - n * BITS_PER_LONG < BITS_PER_LONG)
			mask &= BITMAP_LAST_WORD_MASK(log->num_pages);
		if (mask && take_dirty(vm, slot, log->first_page / BITS_PER_LONG + n, mask))
			any = true;
		if (!(n & 0xfff))
			cond_resched();
	}
	if (any)
		tenon_flush_all(vm);
out:
	mutex_unlock(&vm->slots_lock);
	return ret;
}

/* ---- the module's own access to guest memory ---- */

static int phys_access(struct tenon_vm *vm, u64 gpa, void *data, unsigned int len, bool write)
{
	int idx = srcu_read_lock(&vm->srcu), ret = 0;

	while (len && !ret) {
		const unsigned int offset = gpa & ~PAGE_MASK;
		const unsigned int part = min_t(unsigned int, len, PAGE_SIZE - offset);
		const struct tenon_slot *slot = tenon_slot_find(vm, gpa >> PAGE_SHIFT);
		void __user *p;

		if (!slot || (write && (slot->flags & KVM_MEM_READONLY))) {
			ret = -EFAULT;
			break;
		}
		p = (void __user *)(slot->hva + ((gpa >> PAGE_SHIFT) - slot->gfn) * PAGE_SIZE +
				    offset);
		if (write ? copy_to_user(p, data, part) : copy_from_user(data, p, part))
			ret = -EFAULT;
		else if (write)
			tenon_mark_dirty(slot, gpa >> PAGE_SHIFT);
		gpa += part;
		data += part;
		len -= part;
	}
	srcu_read_unlock(&vm->srcu, idx);
	return ret;
}

/* Within one page, in atomic context: -EFAULT as well if the page is not at hand. */
int tenon_access_atomic(struct tenon_vm *vm, u64 gpa, void *data, unsigned int len, bool write)
{
	int idx = srcu_read_lock(&vm->srcu), ret = -EFAULT;
	const struct tenon_slot *slot = tenon_slot_find(vm, gpa >> PAGE_SHIFT);
	void __user *p;

	if (slot && !(write && (slot->flags & KVM_MEM_READONLY))) {
		p = (void __user *)(slot->hva + gpa - slot->gfn * PAGE_SIZE);
		ret = write ? copy_to_user_nofault(p, data, len) : copy_from_user_nofault(data, p, len);
		if (!ret && write)
			tenon_mark_dirty(slot, gpa >> PAGE_SHIFT);
	}
	srcu_read_unlock(&vm->srcu, idx);
	return ret;
}

int tenon_read_phys(struct tenon_vm *vm, u64 gpa, void *data, unsigned int len)
{
	return phys_access(vm, gpa, data, len, false);
}

int tenon_write_phys(struct tenon_vm *vm, u64 gpa, const void *data, unsigned int len)
{
	return phys_access(vm, gpa, (void *)data, len, true);
}
