// SPDX-License-Identifier: GPL-2.0-only
/*
 * tdp.c - two-dimensional paging: nested page tables, filled on fault and kept coherent with the
 * host
 *
 * Guest memory is ordinary memory of the process. No page is pinned: a fault takes a page from the
 * host's page tables, writes it into the nested ones, and drops its reference. Whenever the host is
 * about to change one of its entries, the MMU notifier takes the nested ones away first. A fault
 * that was under way meanwhile must not write what it had looked up before:
 *
 *	fault					notifier
 *	seq = mmu_seq				mmu_lock { invalidating++; zap; flush }
 *	take the page				... the host changes its entry ...
 *	mmu_lock {				mmu_lock { mmu_seq++; invalidating-- }
 *		invalidating what it maps, or mmu_seq != seq? then retry
 *		write the entry
 *	}
 *
 * With AMD-V the tables are those of long mode, with as many levels as the host's own, four or five (AMD APM vol. 2,
 * "Nested Paging": nested walks go by the host's CR4); every entry has the user bit, as nested walks are user accesses.
 * With VT-x they are those of EPT, whose bits for reading, writing and fetching are where those have present, writable and
 * user (Intel SDM vol. 3, "EPT Translation Mechanism"). struct tenon_tdp_format has the rest. Tables are freed when the
 * VM goes, or when a large page takes their place.

 */
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <asm/pgtable.h>

#include "tenon.h"
#include "vendor.h"

#define MAX_LEVELS 5
#define PTES	   512
#define ADDRESS	   GENMASK_ULL(51, 12)

struct tenon_tdp_format tenon_tdp __ro_after_init;

static unsigned int root_level(void)
{
	return tenon_tdp.levels;
}

static unsigned int level_shift(unsigned int level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

static u64 level_pages(unsigned int level)
{
	return 1ull << (9 * (level - 1));
}

static unsigned int slot_index(u64 gfn, unsigned int level)
{
	return (gfn >> (9 * (level - 1))) & (PTES - 1);
}

static u64 *table_of(u64 pte)
{
	return phys_to_virt(pte & ADDRESS);
}

static bool is_leaf(u64 pte, unsigned int level)
{
	return level == 1 || (pte & _PAGE_PSE);
}

/* ---- tables ---- */

int tenon_tdp_init(struct tenon_vm *vm)
{
	vm->tdp_root = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	return vm->tdp_root ? 0 : -ENOMEM;
}

/* The root's depth bounds the recursion to five. */
static void free_table(u64 *table, unsigned int level)
{
	unsigned int n;

	set_page_private(virt_to_page(table), 0);

	for (n = 0; n < PTES && level > 1; n++) {
		if ((table[n] & _PAGE_PRESENT) && !is_leaf(table[n], level))
			free_table(table_of(table[n]), level - 1);
		if (level >= 4)
			cond_resched();
	}
	free_page((unsigned long)table);
}

void tenon_tdp_destroy(struct tenon_vm *vm)
{
	if (vm->tdp_root)
		free_table(vm->tdp_root, root_level());
	vm->tdp_root = NULL;
}

/*
 * Visit what is present below one table in [gfn, end), and apply @op to the leaves. Returns whether
 * an entry changed. A leaf that reaches beyond the range counts as well.

 */
static bool walk(u64 *table, unsigned int level, u64 base, u64 gfn, u64 end, bool (*op)(u64 *pte))
{
	const u64 pages = level_pages(level);
	unsigned int n = gfn > base ? slot_index(gfn, level) : 0;
	bool changed = false;

	for (; n < PTES; n++) {
		const u64 here = base + n * pages;

		if (here >= end)
			break;
		if (!(table[n] & _PAGE_PRESENT))
			continue;
		if (is_leaf(table[n], level))
			changed |= op(&table[n]);
		else
			changed |=
				walk(table_of(table[n]), level - 1, here, max(gfn, here), end, op);
	}
	return changed;
}

static bool op_zap(u64 *pte)
{
	WRITE_ONCE(*pte, 0);
	return true;
}

static bool op_young(u64 *pte)
{
	return test_and_clear_bit(__ffs(tenon_tdp.accessed), (unsigned long *)pte);
}

/* Where the processor keeps no account, what is mapped counts as used. */
static bool op_test_young(u64 *pte)
{
	return !tenon_tdp.accessed || (*pte & tenon_tdp.accessed);
}

static bool op_protect(u64 *pte)
{
	return test_and_clear_bit(_PAGE_BIT_RW, (unsigned long *)pte);
}

/*
 * Take away what lies in [gfn, end). A table that maps nothing else is unhooked as it is, whatever it holds, and goes
 * to @gone: for the caller to free after its flush, as the processor may be walking it.
 */
static bool unhook(u64 *table, unsigned int level, u64 base, u64 gfn, u64 end, struct list_head *gone)
{
	const u64 pages = level_pages(level);
	unsigned int n = gfn > base ? slot_index(gfn, level) : 0;
	bool changed = false;

	for (; n < PTES; n++) {
		const u64 here = base + n * pages, pte = table[n];

		if (here >= end)
			break;
		if (!(pte & _PAGE_PRESENT))
			continue;
		if (!is_leaf(pte, level) && (here < gfn || here + pages > end)) {
			changed |= unhook(table_of(pte), level - 1, here, max(gfn, here), end, gone);
			continue;
		}
		WRITE_ONCE(table[n], 0);
		changed = true;
		if (!is_leaf(pte, level)) {
			struct page *page = virt_to_page(table_of(pte));

			set_page_private(page, level - 1);
			list_add(&page->lru, gone);
		}
	}
	return changed;
}

/* A gigabyte at a time, which is a few tables: the lock is not held for longer. */
void tenon_tdp_zap(struct tenon_vm *vm, u64 gfn, u64 npages)
{
	const u64 end = gfn + npages;
	struct page *page, *next;
	LIST_HEAD(gone);

	while (gfn < end) {
		const u64 stop = min(end, ALIGN_DOWN(gfn, level_pages(3)) + level_pages(3));

		spin_lock(&vm->mmu_lock);
		if (unhook(vm->tdp_root, root_level(), 0, gfn, stop, &gone))
			tenon_flush_all(vm);
		spin_unlock(&vm->mmu_lock);
		list_for_each_entry_safe(page, next, &gone, lru) {
			list_del(&page->lru);
			free_table(page_address(page), page_private(page));
		}
		gfn = stop;
		cond_resched();
	}
}

/* Pages gfn + n for every bit n of @mask; the caller flushes. */
void tenon_tdp_write_protect(struct tenon_vm *vm, u64 gfn, unsigned long mask)
{
	if (!mask)
		return;
	spin_lock(&vm->mmu_lock);
	walk(vm->tdp_root, root_level(), 0, gfn + __ffs(mask), gfn + __fls(mask) + 1, op_protect);
	spin_unlock(&vm->mmu_lock);
}

/* ---- the host's page tables change ---- */

static bool for_hva_range(struct tenon_vm *vm, unsigned long start, unsigned long end,
			  bool (*op)(u64 *pte))
{
	const struct tenon_slots *slots;
	bool changed = false;
	unsigned int n;
	int idx;

	idx = srcu_read_lock(&vm->srcu);
	slots = srcu_dereference(vm->slots, &vm->srcu);
	for (n = 0; n < slots->n; n++) {
		const struct tenon_slot *slot = &slots->slot[n];
		unsigned long from = max(start, slot->hva);
		unsigned long to = min(end, slot->hva + slot->npages * PAGE_SIZE);

		if (from >= to)
			continue;
		changed |= walk(vm->tdp_root, root_level(), 0,
				slot->gfn + ((from - slot->hva) >> PAGE_SHIFT),
				slot->gfn + ((to - slot->hva + PAGE_SIZE - 1) >> PAGE_SHIFT), op);
	}
	srcu_read_unlock(&vm->srcu, idx);
	return changed;
}

static int notifier_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct tenon_vm *vm = container_of(mn, struct tenon_vm, notifier);

	spin_lock(&vm->mmu_lock);
	if (vm->mmu_invalidating++) {
		vm->mmu_start = min(vm->mmu_start, range->start);
		vm->mmu_end = max(vm->mmu_end, range->end);
	} else {
		vm->mmu_start = range->start;
		vm->mmu_end = range->end;
	}
	if (for_hva_range(vm, range->start, range->end, op_zap))
		tenon_flush_all(vm);
	spin_unlock(&vm->mmu_lock);
	return 0;
}

static void notifier_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct tenon_vm *vm = container_of(mn, struct tenon_vm, notifier);

	spin_lock(&vm->mmu_lock);
	vm->mmu_seq++;
	/* A fault that sees nothing under way sees the new sequence. */
	smp_wmb();
	vm->mmu_invalidating--;
	spin_unlock(&vm->mmu_lock);
}

/* Without an accessed bit, the next access is to be a fault. */
static bool clear_young(struct tenon_vm *vm, unsigned long start, unsigned long end)
{
	return for_hva_range(vm, start, end, tenon_tdp.accessed ? op_young : op_zap);
}

static int notifier_clear_flush_young(struct mmu_notifier *mn, struct mm_struct *mm,
				      unsigned long start, unsigned long end)
{
	struct tenon_vm *vm = container_of(mn, struct tenon_vm, notifier);
	bool young;

	spin_lock(&vm->mmu_lock);
	young = clear_young(vm, start, end);
	if (young)
		tenon_flush_all(vm);
	spin_unlock(&vm->mmu_lock);
	return young;
}

static int notifier_clear_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long start,
				unsigned long end)
{
	struct tenon_vm *vm = container_of(mn, struct tenon_vm, notifier);
	bool young;

	spin_lock(&vm->mmu_lock);
	young = clear_young(vm, start, end);
	/* An entry that has gone is not found again by whoever would flush. */
	if (young && !tenon_tdp.accessed)
		tenon_flush_all(vm);
	spin_unlock(&vm->mmu_lock);
	return young;
}

static int notifier_test_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long address)
{
	struct tenon_vm *vm = container_of(mn, struct tenon_vm, notifier);
	bool young;

	spin_lock(&vm->mmu_lock);
	young = for_hva_range(vm, address, address + PAGE_SIZE, op_test_young);
	spin_unlock(&vm->mmu_lock);
	return young;
}

/*
 * The process is gone: nothing may refer to its memory, though the VM's files may live on
 * elsewhere.
 */
static void notifier_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct tenon_vm *vm = container_of(mn, struct tenon_vm, notifier);
	const struct tenon_slots *slots;
	unsigned int n;
	int idx;

	spin_lock(&vm->mmu_lock);
	vm->mmu_invalidating++;
	vm->mmu_start = 0;
	vm->mmu_end = ULONG_MAX;
	spin_unlock(&vm->mmu_lock);
	/* Nothing is mapped from here on, so it goes piece by piece. */
	idx = srcu_read_lock(&vm->srcu);
	slots = srcu_dereference(vm->slots, &vm->srcu);
	for (n = 0; n < slots->n; n++)
		tenon_tdp_zap(vm, slots->slot[n].gfn, slots->slot[n].npages);
	srcu_read_unlock(&vm->srcu, idx);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = notifier_start,
	.invalidate_range_end = notifier_end,
	.clear_flush_young = notifier_clear_flush_young,
	.clear_young = notifier_clear_young,
	.test_young = notifier_test_young,
	.release = notifier_release,
};

int tenon_tdp_notifier(struct tenon_vm *vm)
{
	int ret;

	vm->notifier.ops = &notifier_ops;
	ret = mmu_notifier_register(&vm->notifier, vm->mm);
	if (!ret)
		vm->notifier_registered = true;
	return ret;
}

/* ---- faults ---- */

/*
 * Size of the host's mapping of an address: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB. Tables are freed
 * only after an IPI to every CPU that has the mm, so they stay while interrupts are off. The answer
 * is good as long as the notifier has nothing under way for what it covers; the caller holds mmu_lock and checks that.
 */
static unsigned int host_level(struct mm_struct *mm, unsigned long hva)
{
	unsigned int level = 1;
	unsigned long flags;
	pgd_t *pgdp, pgd;
	p4d_t *p4dp, p4d;
	pud_t *pudp, pud;
	pmd_t *pmdp, pmd;

	local_irq_save(flags);
	pgdp = pgd_offset(mm, hva);
	pgd = READ_ONCE(*pgdp);
	if (pgd_none(pgd))
		goto out;
	p4dp = p4d_offset(pgdp, hva);
	p4d = READ_ONCE(*p4dp);
	if (p4d_none(p4d) || !p4d_present(p4d))
		goto out;
	pudp = pud_offset(p4dp, hva);
	pud = READ_ONCE(*pudp);
	if (pud_none(pud) || !pud_present(pud))
		goto out;
	if (pud_val(pud) & _PAGE_PSE) {
		level = 3;
		goto out;
	}
	pmdp = pmd_offset(pudp, hva);
	pmd = READ_ONCE(*pmdp);
	if (pmd_present(pmd) && (pmd_val(pmd) & _PAGE_PSE))
		level = 2;
out:
	local_irq_restore(flags);
	return level;
}

/* The largest page that slot, alignment, dirty log and host allow. */
static unsigned int fault_level(struct tenon_vm *vm, const struct tenon_slot *slot, u64 gfn,
				unsigned long hva)
{
	unsigned int level, host;

	if (slot->dirty)
		return 1;
	/* The guest's frames and the host's addresses have to run in step. */
	if (((slot->hva >> PAGE_SHIFT) ^ slot->gfn) & (level_pages(2) - 1))
		return 1;
	host = min_t(unsigned int, host_level(vm->mm, hva), tenon_tdp.max_level);
	for (level = host; level > 1; level--) {
		const u64 first = gfn & ~(level_pages(level) - 1);

		if (((slot->hva >> PAGE_SHIFT) ^ slot->gfn) & (level_pages(level) - 1))
			continue;
		if (first >= slot->gfn && first + level_pages(level) <= slot->gfn + slot->npages)
			break;
	}
	return level;
}

/* Write the entry; a table that is missing comes from @spare. Under mmu_lock. */
static void map(struct tenon_vm *vm, u64 gfn, unsigned int level, u64 pte, u64 **spare)
{
	u64 *table = vm->tdp_root, *old = NULL;
	unsigned int l, n;

	for (l = root_level(); l > level; l--) {
		u64 *entry = &table[slot_index(gfn, l)];

		if ((*entry & _PAGE_PRESENT) && is_leaf(*entry, l)) {
			/* A large page that is no longer large. */
			WRITE_ONCE(*entry, 0);
			tenon_flush_all(vm);
		}
		if (!(*entry & _PAGE_PRESENT)) {
			u64 *fresh = spare[l];

			spare[l] = NULL;
			WRITE_ONCE(*entry, virt_to_phys(fresh) | _PAGE_PRESENT | _PAGE_RW |
						   _PAGE_USER | tenon_tdp.table);
		}
		table = table_of(*entry);
	}
	n = slot_index(gfn, level);
	if ((table[n] & _PAGE_PRESENT) && !is_leaf(table[n], level))
		old = table_of(table[n]);
	if (old || ((table[n] & _PAGE_PRESENT) && (table[n] & ADDRESS) != (pte & ADDRESS))) {
		WRITE_ONCE(table[n], 0);
		tenon_flush_all(vm);
		if (old)
			free_table(old, level - 1);
	}
	WRITE_ONCE(table[n], pte);
}

static int fault_slot(struct tenon_vcpu *vcpu, const struct tenon_slot *slot, u64 gfn, bool write)
{
	struct tenon_vm *vm = vcpu->vm;
	const unsigned long hva = slot->hva + (gfn - slot->gfn) * PAGE_SIZE;
	bool writable = write;
	unsigned int level, n;
	unsigned long seq, first;
	struct page *page;
	int ret;
	u64 pte;

	if (write && (slot->flags & KVM_MEM_READONLY))
		return TENON_FAULT_MMIO;
	for (n = 2; n <= root_level(); n++) {
		if (!vcpu->tdp_spare[n])
			vcpu->tdp_spare[n] = (u64 *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!vcpu->tdp_spare[n])
			return -ENOMEM;
	}
	seq = READ_ONCE(vm->mmu_seq);
	/* The number before the page: an invalidation in between changes it. */
	smp_rmb();

	/*
	 * A read of memory that is writable already saves the second fault; a read alone must not
	 * break sharing.
	 */
	if (!write && !(slot->flags & KVM_MEM_READONLY) &&
	    get_user_pages_fast_only(hva, 1, FOLL_WRITE, &page) == 1) {
		writable = true;
	} else {
		ret = get_user_pages_unlocked(hva, 1, &page, write ? FOLL_WRITE : 0);
		if (ret != 1) {
			return ret == -EHWPOISON ? -EHWPOISON :
			       ret == -EAGAIN	 ? TENON_FAULT_RETRY :
						   -EFAULT;
		}
	}

	spin_lock(&vm->mmu_lock);
	/* A host that merges or moves pages elsewhere all the time must not keep this one from ever being mapped. */
	level = fault_level(vm, slot, gfn, hva);
	first = hva & ~((level_pages(level) << PAGE_SHIFT) - 1);
	if ((vm->mmu_invalidating && vm->mmu_start < first + (level_pages(level) << PAGE_SHIFT) &&
	     vm->mmu_end > first) || vm->mmu_seq != seq) {
		ret = TENON_FAULT_RETRY;
		goto out_unlock;
	}
	pte = (page_to_phys(page) & ~((1ull << level_shift(level)) - 1)) | _PAGE_PRESENT |
	      _PAGE_USER | tenon_tdp.leaf;
	if (writable && (!slot->dirty || write))
		pte |= _PAGE_RW;
	if (level > 1)
		pte |= _PAGE_PSE;
	map(vm, gfn, level, pte, vcpu->tdp_spare);
	if (pte & _PAGE_RW)
		tenon_mark_dirty(slot, gfn);
	ret = TENON_FAULT_DONE;
out_unlock:
	spin_unlock(&vm->mmu_lock);
	/* What the guest writes through the entry, nobody else will tell the host. */
	if (writable && !PageDirty(page))
		set_page_dirty_lock(page);
	mark_page_accessed(page);
	put_page(page);
	return ret;
}

void tenon_tdp_vcpu_free(struct tenon_vcpu *vcpu)
{
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(vcpu->tdp_spare); n++)
		free_page((unsigned long)vcpu->tdp_spare[n]);
}

/* enum tenon_fault, or -errno */
int tenon_tdp_fault(struct tenon_vcpu *vcpu, u64 gpa, bool write, bool exec)
{
	struct tenon_vm *vm = vcpu->vm;
	const struct tenon_slot *slot;
	int ret = TENON_FAULT_MMIO;
	int idx;

	idx = srcu_read_lock(&vm->srcu);
	slot = tenon_slot_find(vm, gpa >> PAGE_SHIFT);
	if (slot)
		ret = fault_slot(vcpu, slot, gpa >> PAGE_SHIFT, write);
	srcu_read_unlock(&vm->srcu, idx);
	return ret;
}
