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

static int walk_32(struct tenon_vcpu *vcpu, const struct tenon_sys *sys, u32 gva, u64 *gpa,
		   u64 *rights)
{
	u32 pte;

	if (tenon_read_phys(vcpu->vm, (sys->cr3 & 0xfffff000) + (gva >> 22) * 4, &pte, 4) ||
	    !(pte & _PAGE_PRESENT))
		return -ENOENT;
	*rights = pte & (_PAGE_RW | _PAGE_USER);
	if ((pte & _PAGE_PSE) && (sys->cr4 & X86_CR4_PSE)) {
		*gpa = (pte & 0xffc00000u) | (u64)(pte >> 13 & 0xff) << 32 | (gva & 0x3fffff);
		return 0;
	}
	if (tenon_read_phys(vcpu->vm, (pte & 0xfffff000) + (gva >> 12 & 0x3ff) * 4, &pte, 4) ||
	    !(pte & _PAGE_PRESENT))
		return -ENOENT;
	*rights &= pte;
	*gpa = (pte & 0xfffff000) | (gva & 0xfff);
	return 0;
}

/* PAE, four and five levels: eight bytes an entry. */
static int walk_64(struct tenon_vcpu *vcpu, const struct tenon_sys *sys, u64 gva, u64 *gpa,
		   u64 *rights)
{
	const bool longmode = sys->efer & EFER_LMA;
	int level = !longmode ? 3 : sys->cr4 & X86_CR4_LA57 ? 5 : 4;
	u64 table = longmode ? sys->cr3 & ADDRESS : sys->cr3 & 0xffffffe0;
	u64 pte;

	*rights = _PAGE_RW | _PAGE_USER;
	for (;; level--) {
		const unsigned int shift = 12 + 9 * (level - 1);
		const unsigned int index =
			!longmode && level == 3 ? gva >> 30 & 3 : gva >> shift & 511;

		if (tenon_read_phys(vcpu->vm, table + index * 8, &pte, 8) || !(pte & _PAGE_PRESENT))
			return -ENOENT;
		/* Entries of the top level of PAE have no rights. */
		if (longmode || level < 3) {
			*rights &= pte | ~(u64)(_PAGE_RW | _PAGE_USER);
			*rights |= pte & _PAGE_NX;
		}
		if (level == 1 || (level <= (longmode ? 3 : 2) && (pte & _PAGE_PSE))) {
			const u64 mask = (1ull << shift) - 1;

			if (longmode)
				*rights |= pte & _PAGE_PKEY_MASK;
			*gpa = (pte & ADDRESS & ~mask) | (gva & mask);
			return 0;
		}
		table = pte & ADDRESS;
	}
}

/* AMD APM vol. 2, "Memory Protection Keys": data of user pages, for whoever accesses them. */
static bool key_allows(const struct tenon_vcpu *vcpu, const struct tenon_sys *sys, u64 rights, u32 access)
{
	const u16 key = (rights & _PAGE_PKEY_MASK) >> _PAGE_BIT_PKEY_BIT0;

	if (!(sys->cr4 & X86_CR4_PKE) || !(sys->efer & EFER_LMA) || !(rights & _PAGE_USER) ||
	    (access & TENON_ACCESS_FETCH))
		return true;
	if (!__pkru_allows_read(vcpu->pkru, key))
		return false;
	return !(access & TENON_ACCESS_WRITE) || __pkru_allows_write(vcpu->pkru, key) ||
	       (!(access & TENON_ACCESS_USER) && !(sys->cr0 & X86_CR0_WP));
}

/* 0, or -EFAULT with the error code of the page fault. */
int tenon_gva_to_gpa(struct tenon_vcpu *vcpu, u64 gva, u32 access, u64 *gpa, u32 *error)
{
	struct tenon_sys sys;
	u64 rights;
	int ret;

	tenon_vendor->get_sys(vcpu, &sys);
	if (!(sys.cr0 & X86_CR0_PG)) {
		*gpa = gva;
		return 0;
	}
	*error = access & (TENON_ACCESS_WRITE | TENON_ACCESS_USER);
	if ((access & TENON_ACCESS_FETCH) && ((sys.efer & EFER_NX) || (sys.cr4 & X86_CR4_SMEP)))
		*error |= TENON_ACCESS_FETCH;
	if (sys.cr4 & X86_CR4_PAE)
		ret = walk_64(vcpu, &sys, gva, gpa, &rights);
	else
		ret = walk_32(vcpu, &sys, gva, gpa, &rights);
	if (ret)
		return -EFAULT;

	*error |= PF_PRESENT;
	if ((access & TENON_ACCESS_USER) && !(rights & _PAGE_USER))
		return -EFAULT;
	if ((access & TENON_ACCESS_WRITE) && !(rights & _PAGE_RW) &&
	    ((access & TENON_ACCESS_USER) || (sys.cr0 & X86_CR0_WP)))
		return -EFAULT;
	if ((access & TENON_ACCESS_FETCH) && (rights & _PAGE_NX) && (sys.efer & EFER_NX))
		return -EFAULT;
	if (!(access & TENON_ACCESS_USER) && (rights & _PAGE_USER)) {
		if ((access & TENON_ACCESS_FETCH) && (sys.cr4 & X86_CR4_SMEP))
			return -EFAULT;
		if (!(access & TENON_ACCESS_FETCH) && (sys.cr4 & X86_CR4_SMAP) &&
		    !(vcpu->rflags & X86_EFLAGS_AC))
			return -EFAULT;
	}
	if (!key_allows(vcpu, &sys, rights, access)) {
		*error |= PF_KEY;
		return -EFAULT;
	}
	return 0;
}

static bool code_64(struct tenon_vcpu *vcpu, const struct kvm_segment *cs)
{
	struct tenon_sys sys;

	tenon_vendor->get_sys(vcpu, &sys);
	return (sys.efer & EFER_LMA) && cs->l;
}

/*
 * Instruction bytes at RIP, as many as can be had, at most @max. Queues the page fault if it is
 * none at all.
 */
int tenon_fetch(struct tenon_vcpu *vcpu, u8 *bytes, unsigned int max, unsigned int *got)
{
	const u32 access =
		TENON_ACCESS_FETCH | (tenon_vendor->cpl(vcpu) == 3 ? TENON_ACCESS_USER : 0);
	struct kvm_segment cs;
	unsigned int n = 0;
	u64 gva, gpa;
	u32 error;

	tenon_vendor->get_segment(vcpu, X86_CS, &cs);
	gva = code_64(vcpu, &cs) ? vcpu->rip : (u32)(cs.base + vcpu->rip);
	while (n < max) {
		const unsigned int part =
			min_t(unsigned int, max - n, PAGE_SIZE - ((gva + n) & ~PAGE_MASK));

		if (tenon_gva_to_gpa(vcpu, gva + n, access, &gpa, &error)) {
			if (n)
				break;
			tenon_queue_exception(vcpu, 14, true, error, gva);
			return -EFAULT;
		}
		if (tenon_read_phys(vcpu->vm, gpa, bytes + n, part)) {
			if (n)
				break;
			return -ENXIO;
		}
		n += part;
	}
	*got = n;
	return 0;
}

/* Linear address of a segment and an offset; queues #GP or #SS beyond its limit. */
int tenon_linear(struct tenon_vcpu *vcpu, unsigned int seg, u64 offset, unsigned int len,
		 bool write, u64 *linear)
{
	struct kvm_segment cs, s;

	tenon_vendor->get_segment(vcpu, X86_CS, &cs);
	tenon_vendor->get_segment(vcpu, seg, &s);
	if (code_64(vcpu, &cs)) {
		*linear = seg == X86_FS || seg == X86_GS ? s.base + offset : offset;
		/*
		 * Canonical, by 48 or 57 bits: what lies between faults in the page walk as well.
		 */
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
