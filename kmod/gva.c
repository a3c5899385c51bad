// SPDX-License-Identifier: GPL-2.0-only
/*
 * gva.c - the guest's own paging and segmentation, in software
 *
 * Only for instructions that the module reads or carries out itself: the processor does this on its
 * own otherwise. Every table is the guest's and hostile: five levels at most, each entry read once.
 *
 * Accessed and dirty bits are not set here: the processor has walked to the operand before it
 * reported the fault.
 *
 * Source: AMD APM vol. 2, "Page Translation and Protection".

 */
#include <linux/srcu.h>
#include <linux/uaccess.h>
#include <asm/pgtable_types.h>
#include <asm/pkru.h>
#include <asm/processor-flags.h>
#include <asm/msr-index.h>

#include "../emul/guest/x86/decode.h"
#include "tenon.h"
#include "vendor.h"

#define ADDRESS	   GENMASK_ULL(51, 12)
#define PF_PRESENT BIT(0)
#define PF_KEY	   BIT(5)

/* Where a word of guest memory is for this process; under vm->srcu. @slot: that of the last one, or NULL. */
static __always_inline const void __user *user_of(struct tenon_vm *vm, const struct tenon_slot **slot, u64 gpa)
{
	const u64 gfn = gpa >> PAGE_SHIFT;

	if (unlikely(!*slot || gfn - (*slot)->gfn >= (*slot)->npages))
		*slot = tenon_slot_find(vm, gfn);
	return *slot ? (const void __user *)((*slot)->hva + gpa - ((*slot)->gfn << PAGE_SHIFT)) : NULL;
}

/* An entry of a table, which lies in one page. __get_user() keeps speculation from running ahead of the slot's bounds. */
static bool read_entry_32(struct tenon_vm *vm, const struct tenon_slot **slot, u64 gpa, u32 *entry)
{
	const u32 __user *p = user_of(vm, slot, gpa);

	return p && !__get_user(*entry, p) && (*entry & _PAGE_PRESENT);
}

static bool read_entry_64(struct tenon_vm *vm, const struct tenon_slot **slot, u64 gpa, u64 *entry)
{
	const u64 __user *p = user_of(vm, slot, gpa);

	return p && !__get_user(*entry, p) && (*entry & _PAGE_PRESENT);
}

static bool walk_32(struct tenon_vm *vm, const struct tenon_code *code, const struct tenon_slot **slot, u32 gva,
		    u64 *gpa, u64 *rights)
{
	u32 pte;

	if (!read_entry_32(vm, slot, (code->cr3 & 0xfffff000) + (gva >> 22) * 4, &pte))
		return false;
	*rights = pte & (_PAGE_RW | _PAGE_USER);
	if ((pte & _PAGE_PSE) && (code->cr4 & X86_CR4_PSE)) {
		*gpa = (pte & 0xffc00000u) | (u64)(pte >> 13 & 0xff) << 32 | (gva & 0x3fffff);
		return true;
	}
	if (!read_entry_32(vm, slot, (pte & 0xfffff000) + (gva >> 12 & 0x3ff) * 4, &pte))
		return false;
	*rights &= pte;
	*gpa = (pte & 0xfffff000) | (gva & 0xfff);
	return true;
}

/* PAE, four and five levels: eight bytes an entry. The top level of PAE, of four entries, has no rights. */
static bool walk_64(struct tenon_vm *vm, const struct tenon_code *code, const struct tenon_slot **slot, u64 gva,
		    u64 *gpa, u64 *rights)
{
	const bool longmode = code->efer & EFER_LMA;
	const unsigned int large = longmode ? 30 : 21; /* the largest page there is */
	unsigned int shift = longmode ? code->cr4 & X86_CR4_LA57 ? 48 : 39 : 21;
	u64 all = _PAGE_RW | _PAGE_USER, no_exec = 0;
	u64 pte = code->cr3, mask;

	if (!longmode && !read_entry_64(vm, slot, (pte & 0xffffffe0) + (gva >> 30 & 3) * 8, &pte))
		return false;
	for (;; shift -= 9) {
		if (!read_entry_64(vm, slot, (pte & ADDRESS) + (gva >> shift & 511) * 8, &pte))
			return false;
		all &= pte;
		no_exec |= pte;
		if (shift == 12 || (shift <= large && (pte & _PAGE_PSE)))
			break;
	}
	mask = (1ull << shift) - 1;
	*rights = all | (no_exec & _PAGE_NX) | (longmode ? pte & _PAGE_PKEY_MASK : 0);
	*gpa = (pte & ADDRESS & ~mask) | (gva & mask);
	return true;
}

/* AMD APM vol. 2, "Memory Protection Keys": data of user pages, for whoever accesses them. */
static bool key_allows(const struct tenon_vcpu *vcpu, const struct tenon_code *code, u64 rights, u32 access)
{
	const u16 key = (rights & _PAGE_PKEY_MASK) >> _PAGE_BIT_PKEY_BIT0;

	if (!(code->cr4 & X86_CR4_PKE) || !(code->efer & EFER_LMA) || !(rights & _PAGE_USER) ||
	    (access & TENON_ACCESS_FETCH))
		return true;
	if (!__pkru_allows_read(vcpu->pkru, key))
		return false;
	return !(access & TENON_ACCESS_WRITE) || __pkru_allows_write(vcpu->pkru, key) ||
	       (!(access & TENON_ACCESS_USER) && !(code->cr0 & X86_CR0_WP));
}

/* 0, or -EFAULT with the error code of the page fault; under vm->srcu. */
static int translate(struct tenon_vcpu *vcpu, const struct tenon_code *code, const struct tenon_slot **slot, u64 gva,
		     u32 access, u64 *gpa, u32 *error)
{
	u64 rights;

	if (!(code->cr0 & X86_CR0_PG)) {
		*gpa = gva;
		return 0;
	}
	*error = access & (TENON_ACCESS_WRITE | TENON_ACCESS_USER);
	if ((access & TENON_ACCESS_FETCH) && ((code->efer & EFER_NX) || (code->cr4 & X86_CR4_SMEP)))
		*error |= TENON_ACCESS_FETCH;
	if (!(code->cr4 & X86_CR4_PAE ? walk_64(vcpu->vm, code, slot, gva, gpa, &rights) :
					walk_32(vcpu->vm, code, slot, gva, gpa, &rights)))
		return -EFAULT;

	*error |= PF_PRESENT;
	if ((access & TENON_ACCESS_USER) && !(rights & _PAGE_USER))
		return -EFAULT;
	if ((access & TENON_ACCESS_WRITE) && !(rights & _PAGE_RW) &&
	    ((access & TENON_ACCESS_USER) || (code->cr0 & X86_CR0_WP)))
		return -EFAULT;
	if ((access & TENON_ACCESS_FETCH) && (rights & _PAGE_NX) && (code->efer & EFER_NX))
		return -EFAULT;
	if (!(access & TENON_ACCESS_USER) && (rights & _PAGE_USER)) {
		if ((access & TENON_ACCESS_FETCH) && (code->cr4 & X86_CR4_SMEP))
			return -EFAULT;
		if (!(access & TENON_ACCESS_FETCH) && (code->cr4 & X86_CR4_SMAP) &&
		    !(vcpu->rflags & X86_EFLAGS_AC))
			return -EFAULT;
	}
	if (!key_allows(vcpu, code, rights, access)) {
		*error |= PF_KEY;
		return -EFAULT;
	}
	return 0;
}

int tenon_gva_to_gpa(struct tenon_vcpu *vcpu, const struct tenon_code *code, u64 gva, u32 access, u64 *gpa,
		     u32 *error)
{
	const int idx = srcu_read_lock(&vcpu->vm->srcu);
	const struct tenon_slot *slot = NULL;
	const int ret = translate(vcpu, code, &slot, gva, access, gpa, error);

	srcu_read_unlock(&vcpu->vm->srcu, idx);
	return ret;
}

/* In most cases the instruction ends well before its page, and two words hold it. */
static bool fetch_words(struct tenon_vcpu *vcpu, const struct tenon_slot **slot, u64 gpa, u8 *bytes)
{
	const u64 __user *p;

	if ((gpa & ~PAGE_MASK) > PAGE_SIZE - TENON_FETCH_MAX)
		return false;
	p = user_of(vcpu->vm, slot, gpa);
	return p && !__get_user(((u64 *)bytes)[0], p) && !__get_user(((u64 *)bytes)[1], p + 1);
}

/*
 * Instruction bytes at RIP, as many as can be had, at most 15. Queues the page fault if it is none at all.
 */
int tenon_fetch(struct tenon_vcpu *vcpu, const struct tenon_code *code, u8 bytes[TENON_FETCH_MAX], unsigned int *got)
{
	const u32 access = TENON_ACCESS_FETCH | (code->cpl == 3 ? TENON_ACCESS_USER : 0);
	const u64 gva = code->mode == X86_MODE_64 ? vcpu->rip : (u32)(code->cs_base + vcpu->rip);
	const int idx = srcu_read_lock(&vcpu->vm->srcu);
	const struct tenon_slot *slot = NULL;
	unsigned int n = 0;
	int ret = 0;
	u64 gpa;
	u32 error;

	while (n < X86_INSN_MAX) {
		const unsigned int part =
			min_t(unsigned int, X86_INSN_MAX - n, PAGE_SIZE - ((gva + n) & ~PAGE_MASK));

		if (translate(vcpu, code, &slot, gva + n, access, &gpa, &error)) {
			if (!n) {
				tenon_queue_exception(vcpu, 14, true, error, gva);
				ret = -EFAULT;
			}
			break;
		}
		if (!n && fetch_words(vcpu, &slot, gpa, bytes)) {
			n = X86_INSN_MAX;
			break;
		}
		if (tenon_read_phys(vcpu->vm, gpa, bytes + n, part)) {
			if (!n)
				ret = -ENXIO;
			break;
		}
		n += part;
	}
	srcu_read_unlock(&vcpu->vm->srcu, idx);
	*got = n;
	return ret;
}

/* Linear address of a segment and an offset; queues #GP or #SS beyond its limit. */
int tenon_linear(struct tenon_vcpu *vcpu, const struct tenon_code *code, unsigned int seg, u64 offset,
		 unsigned int len, bool write, u64 *linear)
{
	struct kvm_segment s;

	if (code->mode == X86_MODE_64 && seg != X86_FS && seg != X86_GS) {
		*linear = offset;
		return 0;
	}
	tenon_vendor->get_segment(vcpu, seg, &s);
	if (code->mode == X86_MODE_64) {
		/* Canonical, by 48 or 57 bits: what lies between faults in the page walk as well. */
		*linear = s.base + offset;
		return 0;
	}
	offset = (u32)offset;
	if (s.unusable || (write && !(s.type & 2) && s.s))
		goto fault;
	if ((s.type & 0xc) == 4) {
		const u64 top = s.db ? 0xffffffffull : 0xffff;

		if (offset <= s.limit || offset + len - 1 > top)
			goto fault;
	} else if (offset + len - 1 > s.limit) {
		goto fault;
	}
	*linear = (u32)(s.base + offset);
	return 0;
fault:
	tenon_queue_exception(vcpu, seg == X86_SS ? 12 : 13, true, 0, 0);
	return -EFAULT;
}
