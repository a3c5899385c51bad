// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpuid.c - what guests are told about their processor
 *
 * KVM_GET_SUPPORTED_CPUID names what the host has and this module is known to carry through: one
 * mask a register. What is not in a mask is hidden, so that a feature of a processor yet to come is
 * not offered by accident.

 */
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>
#include <uapi/linux/kvm_para.h>
#include <asm/cpufeature.h>
#include <asm/fpu/xcr.h>
#include <asm/fpu/xstate.h>
#include <asm/msr.h>
#include <asm/processor-flags.h>

#include "tenon.h"
#include "vendor.h"

#define B(n) (1u << (n))

/* Predictive store forwarding: AMD64 Technology: "Security Analysis of AMD Predictive Store Forwarding" */
#ifndef SPEC_CTRL_PSFD
#define SPEC_CTRL_PSFD BIT(7)
#endif

/* Leaf 1 */
#define F1_ECX                                                                                \
	(B(0) | B(1) | B(9) | B(12) | B(13) | B(17) | B(19) | B(20) | B(22) | B(23) | B(25) | \
	 B(26) | B(28) | B(29) | B(30))
#define F1_ECX_OURS (B(21) | B(24) | B(31)) /* x2APIC, TSC deadline, hypervisor */
#define F1_EDX                                                                                 \
	(B(0) | B(1) | B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(9) | B(11) | B(12) | \
	 B(13) | B(14) | B(15) | B(16) | B(17) | B(19) | B(23) | B(24) | B(25) | B(26) | B(28))
/* Leaf 7: no RTM, MPX, PT, UMIP emulation, CET, AMX */
#define F7_EBX                                                                                     \
	(B(0) | B(3) | B(5) | B(7) | B(8) | B(9) | B(10) | B(16) | B(17) | B(18) | B(19) | B(20) | \
	 B(21) | B(23) | B(24) | B(28) | B(29) | B(30) | B(31))
#define F7_ECX	 (B(1) | B(2) | B(3) | B(6) | B(8) | B(9) | B(10) | B(11) | B(12) | B(14) | B(22))
#define F7_EDX	 (B(4) | B(8) | B(14))
#define F7_1_EAX (B(4) | B(5) | B(23))
/* XSAVEOPT, XSAVEC, XGETBV with ECX = 1, and XSAVES with IA32_XSS = 0: no supervisor state */
#define FD_1_EAX (B(0) | B(1) | B(2) | B(3))
/* Extended leaves: no SVM, IBS, SKINIT, performance counters */
#define FE1_ECX (B(0) | B(1) | B(4) | B(5) | B(6) | B(7) | B(8) | B(11) | B(16) | B(21))
#define FE1_EDX                                                                                  \
	(B(0) | B(1) | B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(9) | B(11) | B(12) |   \
	 B(13) | B(14) | B(15) | B(16) | B(17) | B(20) | B(22) | B(23) | B(24) | B(25) | B(26) | \
	 B(27) | B(29))
#define FE8_EBX (B(0) | B(2) | B(9)) /* CLZERO, XSAVEERPTR, WBNOINVD */
/* What the processor is not vulnerable to, and how it wants its speculation controls used; VERW is the guest's own */
#define FE21_EAX (B(0) | B(2) | B(5) | B(6) | B(8) | B(27) | B(28) | B(29) | B(30))
#define FE21_ECX (B(1) | B(2))

#define PV_FEATURES                                                     \
	(BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_NOP_IO_DELAY) | \
	 BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_STEAL_TIME) |  \
	 BIT(KVM_FEATURE_PV_EOI) | BIT(KVM_FEATURE_PV_UNHALT) |         \
	 BIT(KVM_FEATURE_PV_SEND_IPI) | BIT(KVM_FEATURE_POLL_CONTROL) |  \
	 BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))

#define XCR0_KNOWN (XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM | XFEATURE_MASK_AVX512 | \
		    XFEATURE_MASK_PKRU)

u64 tenon_host_xcr0 __ro_after_init;
/* What the host keeps by XSAVES; a guest runs with IA32_XSS = 0, whether or not it is told of XSAVES. */
u64 tenon_host_xss __ro_after_init;
static u64 xcr0_known __ro_after_init;

void __init tenon_cpuid_setup(void)
{
	if (boot_cpu_has(X86_FEATURE_XSAVES))
		rdmsrl(MSR_IA32_XSS, tenon_host_xss);
	if (boot_cpu_has(X86_FEATURE_XSAVE))
		tenon_host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	xcr0_known = tenon_host_xcr0 & XCR0_KNOWN;
	/* A kernel without protection keys may have their state on all the same, and leave it to itself. */
	if (!cpu_feature_enabled(X86_FEATURE_OSPKE))
		xcr0_known &= ~XFEATURE_MASK_PKRU;
}

/*
 * Size of the standard form of XSAVE for a set of components; the first 576 bytes are legacy and
 * header.
 */
static u32 xsave_size(u64 xcr0, bool compacted)
{
	u32 size = 576, eax, ebx, ecx, edx;
	unsigned int n;

	for (n = 2; n < 63; n++) {
		if (!(xcr0 & BIT_ULL(n)))
			continue;
		cpuid_count(0xd, n, &eax, &ebx, &ecx, &edx);
		if (compacted)
			size = (ecx & 2 ? ALIGN(size, 64) : size) + eax;
		else
			size = max(size, ebx + eax);
	}
	return size;
}

/* What KVM_GET_XSAVE2 gives, which is never less than KVM_GET_XSAVE. */
unsigned int tenon_xsave_size(void)
{
	return max_t(unsigned int, sizeof(struct kvm_xsave), xsave_size(xcr0_known, false));
}

/*
 * Speculation controls (AMD64 Technology: "Indirect Branch Control Extension", "Speculative Store Bypass Disable"): what the
 * kernel has found usable, in AMD's place and, for guests that look there, in Intel's.
 */
static u32 spec_8000_0008_ebx(u32 host)
{
	/* of information only: how IBRS and STIBP like to be used, and what is not needed */
	u32 ebx = host & (B(16) | B(17) | B(18) | B(19) | B(26) | B(29) | B(30));

	if (boot_cpu_has(X86_FEATURE_IBPB))
		ebx |= B(12);
	if (boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL)) {
		if (boot_cpu_has(X86_FEATURE_IBRS))
			ebx |= B(14);
		if (boot_cpu_has(X86_FEATURE_STIBP))
			ebx |= B(15);
		if (boot_cpu_has(X86_FEATURE_AMD_SSBD))
			ebx |= B(24);
		ebx |= host & B(28); /* PSFD */
	}
	if (tenon_offers_virt_ssbd())
		ebx |= B(25);
	return ebx;
}

/* Bits of SPEC_CTRL that the processor takes. */
u64 tenon_spec_ctrl_bits(void)
{
	const u32 ebx = spec_8000_0008_ebx(cpuid_ebx(0x80000008));

	return (ebx & B(14) ? SPEC_CTRL_IBRS : 0) | (ebx & B(15) ? SPEC_CTRL_STIBP : 0) |
	       (ebx & B(24) ? SPEC_CTRL_SSBD : 0) | (ebx & B(28) ? SPEC_CTRL_PSFD : 0);
}

static u32 spec_7_edx(void)
{
	const u32 ebx = spec_8000_0008_ebx(0);

	return ((ebx & (B(12) | B(14))) == (B(12) | B(14)) ? B(26) : 0) | (ebx & B(15) ? B(27) : 0) |
	       (boot_cpu_has(X86_FEATURE_FLUSH_L1D) ? B(28) : 0) | (ebx & B(24) ? B(31) : 0);
}

/* A register for SSBD alone, on processors that do not have it in SPEC_CTRL. */
bool tenon_offers_virt_ssbd(void)
{
	return !boot_cpu_has(X86_FEATURE_AMD_SSBD) &&
	       (boot_cpu_has(X86_FEATURE_LS_CFG_SSBD) || boot_cpu_has(X86_FEATURE_VIRT_SSBD));
}

struct cpuid_list {
	struct kvm_cpuid_entry2 *entry;
	unsigned int n;
};

static struct kvm_cpuid_entry2 *add(struct cpuid_list *list, u32 function, u32 index, bool indexed)
{
	struct kvm_cpuid_entry2 *e;

	if (list->n >= TENON_MAX_CPUID)
		return NULL;
	e = &list->entry[list->n++];
	memset(e, 0, sizeof(*e));
	e->function = function;
	e->index = index;
	e->flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
	cpuid_count(function, index, &e->eax, &e->ebx, &e->ecx, &e->edx);
	if (tenon_vendor->cpuid_limit)
		tenon_vendor->cpuid_limit(e);
	return e;
}

static void add_basic(struct cpuid_list *list)
{
	struct kvm_cpuid_entry2 *e;
	u32 max_leaf, n;

	e = add(list, 0, 0, false);
	e->eax = min(e->eax, 0x1fu);
	max_leaf = e->eax;

	e = add(list, 1, 0, false);
	e->ebx &= 0x0000ffff; /* no APIC ID, one logical processor: the caller's to fill in */
	e->ecx = (e->ecx & F1_ECX) | F1_ECX_OURS;
	e->edx &= F1_EDX;
	/* OSXSAVE shows CR4, not the host's. */
	e->ecx &= ~B(27);
	if (!tenon_host_xcr0)
		e->ecx &= ~B(26);
	/* A kernel that does without XSAVE leaves the processor's CPUID as it is. */
	if (!(xcr0_known & XFEATURE_MASK_YMM))
		e->ecx &= ~(B(12) | B(28) | B(29));

	if (max_leaf >= 2)
		add(list, 2, 0, false);
	if (max_leaf >= 5) {
		e = add(list, 5, 0, false);
		e->eax = e->ebx = e->ecx = e->edx = 0;
	}
	if (max_leaf >= 6) {
		e = add(list, 6, 0, false);
		e->eax = B(2); /* the APIC timer never stops */
		e->ebx = e->ecx = e->edx = 0;
	}
	if (max_leaf >= 7) {
		u32 subleaves;

		e = add(list, 7, 0, true);
		subleaves = min(e->eax, 1u);
		e->eax = subleaves;
		e->ebx &= F7_EBX;
		e->ecx &= F7_ECX;
		e->edx = (e->edx & F7_EDX) | spec_7_edx();
		if (!(xcr0_known & XFEATURE_MASK_PKRU))
			e->ecx &= ~B(3);
		if (!(xcr0_known & XFEATURE_MASK_YMM)) {
			e->ebx &= ~B(5);
			e->ecx &= ~(B(9) | B(10));
		}
		if (!(xcr0_known & XFEATURE_MASK_AVX512)) {
			e->ebx &= ~(B(16) | B(17) | B(21) | B(28) | B(30) | B(31));
			e->ecx &= ~(B(1) | B(6) | B(11) | B(12) | B(14));
			e->edx &= ~B(8);
		}
		if (subleaves) {
			e = add(list, 7, 1, true);
			e->eax &= F7_1_EAX;
			if (!(xcr0_known & XFEATURE_MASK_YMM))
				e->eax &= ~(B(4) | B(23));
			if (!(xcr0_known & XFEATURE_MASK_AVX512))
				e->eax &= ~B(5);
			e->ebx = e->ecx = e->edx = 0;
		}
	}
	if (max_leaf >= 0xd && tenon_host_xcr0) {
		e = add(list, 0xd, 0, true);
		e->eax = xcr0_known;
		e->edx = xcr0_known >> 32;
		e->ebx = xsave_size(xcr0_known, false);
		e->ecx = e->ebx;
		e = add(list, 0xd, 1, true);
		e->eax &= FD_1_EAX;
		e->ebx = e->eax & (B(1) | B(3)) ? xsave_size(xcr0_known, true) : 0;
		e->ecx = e->edx = 0;
		for (n = 2; n < 63; n++) {
			if (!(xcr0_known & BIT_ULL(n)))
				continue;
			e = add(list, 0xd, n, true);
			if (!e)
				return;
			e->ecx &= 2;
			e->edx = 0;
		}
	}
}

static void add_extended(struct cpuid_list *list)
{
	struct kvm_cpuid_entry2 *e;
	u32 max_leaf, n;

	e = add(list, 0x80000000, 0, false);
	if (!e || e->eax < 0x80000000)
		return;
	e->eax = min(e->eax, 0x80000021u);
	max_leaf = e->eax;
	for (n = 0x80000001; n <= max_leaf; n++) {
		/* What is not listed reads as zeroes. */
		if (n > 0x80000008 && n < 0x80000021)
			continue;
		e = add(list, n, 0, false);
		if (!e)
			return;
		switch (n) {
		case 0x80000001:
			e->ecx &= FE1_ECX;
			if (!(xcr0_known & XFEATURE_MASK_YMM))
				e->ecx &= ~(B(11) | B(16));
			e->edx &= FE1_EDX;
			break;
		case 0x80000007:
			e->eax = e->ebx = e->ecx = 0;
			e->edx &= B(8);
			break;
		case 0x80000008: {
			u32 phys = min(e->eax & 0xff, 48u);

			e->eax = (e->eax & 0xff00) | phys;
			e->ebx = (e->ebx & FE8_EBX) | spec_8000_0008_ebx(e->ebx);
			e->ecx = e->edx = 0;
			break;
		}
		case 0x80000021:
			e->eax &= FE21_EAX;
			if (!boot_cpu_has(X86_FEATURE_AUTOIBRS))
				e->eax &= ~B(8);
			if (!boot_cpu_has(X86_FEATURE_IBPB))
				e->eax &= ~(B(27) | B(28));
			e->ecx &= FE21_ECX;
			e->ebx = e->edx = 0;
			break;
		}
	}
}

static void add_pv(struct cpuid_list *list)
{
	struct kvm_cpuid_entry2 *e = add(list, KVM_CPUID_SIGNATURE, 0, false);

	if (!e)
		return;
	e->eax = KVM_CPUID_FEATURES;
	memcpy(&e->ebx, "KVMK", 4);
	memcpy(&e->ecx, "VMKV", 4);
	memcpy(&e->edx, "M\0\0", 4);
	e = add(list, KVM_CPUID_FEATURES, 0, false);
	if (!e)
		return;
	e->eax = PV_FEATURES;
	if (!boot_cpu_has(X86_FEATURE_CONSTANT_TSC))
		e->eax &= ~BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT);
	e->ebx = e->ecx = e->edx = 0;
}

int tenon_supported_cpuid(struct kvm_cpuid2 __user *arg)
{
	struct cpuid_list list = {};
	struct kvm_cpuid2 head;
	int ret = 0;

	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	list.entry = kvcalloc(TENON_MAX_CPUID, sizeof(*list.entry), GFP_KERNEL_ACCOUNT);
	if (!list.entry)
		return -ENOMEM;
	add_basic(&list);
	add_pv(&list);
	add_extended(&list);
	if (head.nent < list.n) {
		ret = -E2BIG;
	} else {
		head.nent = list.n;
		if (copy_to_user(arg->entries, list.entry, array_size(list.n, sizeof(*list.entry))))
			ret = -EFAULT;
	}
	if (!ret && copy_to_user(arg, &head, sizeof(head)))
		ret = -EFAULT;
	kvfree(list.entry);
	return ret;
}

/* ---- of one vCPU ---- */

const struct kvm_cpuid_entry2 *tenon_cpuid_find(struct tenon_vcpu *vcpu, u32 function, u32 index)
{
	unsigned int n;

	for (n = 0; n < vcpu->ncpuid; n++) {
		const struct kvm_cpuid_entry2 *e = &vcpu->cpuid[n];

		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	}
	return NULL;
}

/* Bits of the speculation controls: those that the guest is told of and the processor has. */
static void cpuid_speculation(struct tenon_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *seven = tenon_cpuid_find(vcpu, 7, 0),
				      *eight = tenon_cpuid_find(vcpu, 0x80000008, 0);
	const struct kvm_cpuid_entry2 *more = tenon_cpuid_find(vcpu, 0x80000021, 0);
	const u32 d7 = seven ? seven->edx & spec_7_edx() : 0, a21 = more ? more->eax : 0;
	const u32 b8 = eight ? eight->ebx & spec_8000_0008_ebx(cpuid_ebx(0x80000008)) : 0;

	vcpu->spec_ctrl_allowed = 0;
	if ((b8 & B(14)) || (d7 & B(26)))
		vcpu->spec_ctrl_allowed |= SPEC_CTRL_IBRS;
	if ((b8 & B(15)) || (d7 & B(27)))
		vcpu->spec_ctrl_allowed |= SPEC_CTRL_STIBP;
	if ((b8 & B(24)) || (d7 & B(31)))
		vcpu->spec_ctrl_allowed |= SPEC_CTRL_SSBD;
	if (b8 & B(28))
		vcpu->spec_ctrl_allowed |= SPEC_CTRL_PSFD;
	vcpu->pred_cmd_allowed = 0;
	if ((b8 & B(12)) || (d7 & B(26)))
		vcpu->pred_cmd_allowed |= PRED_CMD_IBPB;
	if ((a21 & B(27)) && boot_cpu_has(X86_FEATURE_SBPB))
		vcpu->pred_cmd_allowed |= PRED_CMD_SBPB;
	vcpu->flush_cmd_allowed = d7 & B(28) ? L1D_FLUSH : 0;
	vcpu->virt_spec_ctrl_allowed = b8 & B(25) ? SPEC_CTRL_SSBD : 0;
}

/* What follows the state of the vCPU, as it is now. */
static void cpuid_runtime(struct tenon_vcpu *vcpu, struct kvm_cpuid_entry2 *e)
{
	struct tenon_sys sys;

	switch (e->function) {
	case 1:
		tenon_vendor->get_sys(vcpu, &sys);
		e->ecx &= ~B(27);
		if (sys.cr4 & X86_CR4_OSXSAVE)
			e->ecx |= B(27);
		if (vcpu->lapic && !lapic_enabled(vcpu->lapic))
			e->edx &= ~B(9);
		break;
	case 7:
		/* OSPKE, like OSXSAVE above */
		if (e->index)
			break;
		e->ecx &= ~B(4);
		if (vcpu->cr4_pke)
			e->ecx |= B(4);
		break;
	case 0xd:
		if (e->index == 0)
			e->ebx = xsave_size(vcpu->xcr0, false);
		else if (e->index == 1 && (e->eax & (B(1) | B(3))))
			e->ebx = xsave_size(vcpu->xcr0, true);
		break;
	}
}

/* Bits of CR4 and EFER, by registers of leaves 1, 7, 8000_0001 and 8000_0021. */
static void registers_allowed(struct tenon_vcpu *vcpu, u32 c1, u32 b7, u32 c7, u32 ed, u32 a21)
{
	vcpu->cr4_allowed = X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE |
			    X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE | X86_CR4_OSFXSR |
			    X86_CR4_OSXMMEXCPT;
	if ((c1 & B(26)) && tenon_host_xcr0)
		vcpu->cr4_allowed |= X86_CR4_OSXSAVE;
	if ((b7 & B(7)) && boot_cpu_has(X86_FEATURE_SMEP))
		vcpu->cr4_allowed |= X86_CR4_SMEP;
	if ((b7 & B(20)) && boot_cpu_has(X86_FEATURE_SMAP))
		vcpu->cr4_allowed |= X86_CR4_SMAP;
	if ((b7 & B(0)) && boot_cpu_has(X86_FEATURE_FSGSBASE))
		vcpu->cr4_allowed |= X86_CR4_FSGSBASE;
	if ((c7 & B(2)) && boot_cpu_has(X86_FEATURE_UMIP))
		vcpu->cr4_allowed |= X86_CR4_UMIP;
	if ((c1 & B(17)) && boot_cpu_has(X86_FEATURE_PCID))
		vcpu->cr4_allowed |= X86_CR4_PCIDE;
	if ((c7 & B(3)) && (xcr0_known & XFEATURE_MASK_PKRU))
		vcpu->cr4_allowed |= X86_CR4_PKE;
	vcpu->efer_allowed = 0;
	if (ed & B(11))
		vcpu->efer_allowed |= EFER_SCE;
	if (ed & B(29))
		vcpu->efer_allowed |= EFER_LME | EFER_LMA;
	if ((ed & B(20)) && boot_cpu_has(X86_FEATURE_NX))
		vcpu->efer_allowed |= EFER_NX;
	if ((ed & B(25)) && boot_cpu_has(X86_FEATURE_FXSR_OPT))
		vcpu->efer_allowed |= EFER_FFXSR;
	if ((a21 & B(8)) && boot_cpu_has(X86_FEATURE_AUTOIBRS))
		vcpu->efer_allowed |= EFER_AUTOIBRS;
}

/* Until a caller says what the guest's processor is, it may set up what the host has. */
void tenon_cpuid_default(struct tenon_vcpu *vcpu)
{
	registers_allowed(vcpu, ~0u, ~0u, ~0u, ~0u, ~0u);
}

/* What follows from CPUID for registers: bits that may be set. */
static void cpuid_changed(struct tenon_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *one = tenon_cpuid_find(vcpu, 1, 0),
				      *seven = tenon_cpuid_find(vcpu, 7, 0);
	const struct kvm_cpuid_entry2 *ext = tenon_cpuid_find(vcpu, 0x80000001, 0);
	const struct kvm_cpuid_entry2 *size = tenon_cpuid_find(vcpu, 0x80000008, 0),
				      *more = tenon_cpuid_find(vcpu, 0x80000021, 0);
	const struct kvm_cpuid_entry2 *xsave = tenon_cpuid_find(vcpu, 0xd, 0), *pv = NULL;
	const u32 c1 = one ? one->ecx : 0, b7 = seven ? seven->ebx : 0, c7 = seven ? seven->ecx : 0;
	const u32 ed = ext ? ext->edx : 0;
	u32 n;

	vcpu->phys_bits = size ? clamp(size->eax & 0xff, 32u, 52u) : 36;
	registers_allowed(vcpu, c1, b7, c7, ed, more ? more->eax : 0);
	vcpu->xcr0_allowed = 1;
	if (xsave)
		vcpu->xcr0_allowed = ((xsave->eax | (u64)xsave->edx << 32) & xcr0_known) | 1;

	cpuid_speculation(vcpu);
	vcpu->pv_leaf = false;
	vcpu->pv_features = 0;
	for (n = 0; n < vcpu->ncpuid; n++) {
		const struct kvm_cpuid_entry2 *e = &vcpu->cpuid[n];

		if (e->function >= 0x40000000 && e->function < 0x40010000 &&
		    !(e->function & 0xff) && !memcmp(&e->ebx, "KVMKVMKVM\0\0", 12)) {
			pv = tenon_cpuid_find(vcpu, e->function | 1, 0);
			vcpu->pv_leaf = true;
		}
	}
	if (pv)
		vcpu->pv_features = pv->eax;
	tenon_lapic_cpuid(vcpu);
	tenon_vendor->cpuid_changed(vcpu);
}

static bool same_entry(struct tenon_vcpu *vcpu, const struct kvm_cpuid_entry2 *old,
		       const struct kvm_cpuid_entry2 *entry)
{
	struct kvm_cpuid_entry2 a = *old, b = *entry;

	cpuid_runtime(vcpu, &a);
	cpuid_runtime(vcpu, &b);
	return a.function == b.function && a.index == b.index && a.flags == b.flags && a.eax == b.eax &&
	       a.ebx == b.ebx && a.ecx == b.ecx && a.edx == b.edx;
}

int tenon_cpuid_set(struct tenon_vcpu *vcpu, struct kvm_cpuid2 __user *arg)
{
	struct kvm_cpuid_entry2 *entries = NULL;
	struct kvm_cpuid2 head;
	unsigned int n;

	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.nent > TENON_MAX_CPUID)
		return -E2BIG;
	/* A guest that has looked at its processor keeps it. */
	if (vcpu->has_run && head.nent != vcpu->ncpuid)
		return -EINVAL;
	if (head.nent) {
		entries = vmemdup_user(arg->entries, array_size(head.nent, sizeof(*entries)));
		if (IS_ERR(entries))
			return PTR_ERR(entries);
		for (n = 0; n < head.nent; n++) {
			/* What page tables and NPT are built for. */
			const u32 bits = entries[n].eax >> 8 & 0xff;

			if ((entries[n].function == 0x80000008 && bits != 48 && bits != 57 && bits) ||
			    (vcpu->has_run && !same_entry(vcpu, &vcpu->cpuid[n], &entries[n]))) {
				kvfree(entries);
				return -EINVAL;
			}
		}
	}
	kvfree(vcpu->cpuid);
	vcpu->cpuid = entries;
	vcpu->ncpuid = head.nent;
	cpuid_changed(vcpu);
	return 0;
}

int tenon_cpuid_get(struct tenon_vcpu *vcpu, struct kvm_cpuid2 __user *arg)
{
	struct kvm_cpuid2 head;
	unsigned int n;

	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.nent < vcpu->ncpuid) {
		head.nent = vcpu->ncpuid;
		return copy_to_user(arg, &head, sizeof(head)) ? -EFAULT : -E2BIG;
	}
	head.nent = vcpu->ncpuid;
	for (n = 0; n < vcpu->ncpuid; n++) {
		struct kvm_cpuid_entry2 e = vcpu->cpuid[n];

		cpuid_runtime(vcpu, &e);
		if (copy_to_user(&arg->entries[n], &e, sizeof(e)))
			return -EFAULT;
	}
	return copy_to_user(arg, &head, sizeof(head)) ? -EFAULT : 0;
}

/*
 * A leaf beyond the last one: Intel answers with the highest basic leaf, AMD with zeroes (AMD APM
 * vol. 3, "CPUID Instruction").
 */
void tenon_cpuid(struct tenon_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	const struct kvm_cpuid_entry2 *found = tenon_cpuid_find(vcpu, *eax, *ecx);
	struct kvm_cpuid_entry2 e = {};

	if (found) {
		e = *found;
		/* One entry may stand for all indices. */
		e.index = *ecx;
		cpuid_runtime(vcpu, &e);
	}
	*eax = e.eax;
	*ebx = e.ebx;
	*ecx = e.ecx;
	*edx = e.edx;
}
