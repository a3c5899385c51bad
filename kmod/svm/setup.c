// SPDX-License-Identifier: GPL-2.0-only
/*
 * setup.c - AMD SVM: is it there, is it free, on and off
 *
 * Source: AMD APM vol. 2, "Enabling SVM".

 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cc_platform.h>
#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/set_memory.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/pgtable.h>

#include "svm.h"

#define IOPM_ORDER 2 /* 12 KiB, and the next power of two */

#define CPUID_SVM   0x8000000a

#ifndef MSR_VM_CR
#define MSR_VM_CR 0xc0010114
#endif
#define VM_CR_LOCK   BIT_ULL(3)
#define VM_CR_SVMDIS BIT_ULL(4)

struct svm_features svm_features;
DEFINE_PER_CPU(struct svm_cpu, svm_cpus);
u8 *svm_iopm;
u8 *svm_msrpm;

/* For tests and for a processor that gets one of them wrong. */
#define SVM_PARAM(name, what)                             \
	static bool use_##name = true;                    \
	module_param_named(name, use_##name, bool, 0444); \
	MODULE_PARM_DESC(name, "use " what " where the processor has it (default: yes)")

SVM_PARAM(nrips, "next RIP");
SVM_PARAM(decode_assists, "decode assists");
SVM_PARAM(vmcb_clean, "VMCB clean bits");
SVM_PARAM(flush_by_asid, "flush by ASID");
SVM_PARAM(pause_filter, "the pause filter");
SVM_PARAM(tsc_scaling, "TSC scaling");
SVM_PARAM(lbrv, "LBR virtualization");

/* MSRs that a guest reads and writes without an exit: VMLOAD and VMSAVE switch them. */
static const u32 svm_free_msrs[] = {
	MSR_STAR,
	MSR_LSTAR,
	MSR_CSTAR,
	MSR_SYSCALL_MASK,
	MSR_FS_BASE,
	MSR_GS_BASE,
	MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
};

static int svm_probe(void)
{
	u32 eax, ebx, ecx, edx;
	u64 vm_cr;

	if (boot_cpu_data.x86_vendor != X86_VENDOR_AMD &&
	    boot_cpu_data.x86_vendor != X86_VENDOR_HYGON)
		return -ENODEV;
	if (cpuid_eax(0x80000000) < CPUID_SVM || !(cpuid_ecx(0x80000001) & BIT(2))) {
		pr_err("this processor (or the hypervisor under this system) offers no AMD-V\n");
		pr_err("enable nested virtualization there, or use the software CPU (tenon run --accel soft)\n");
		return -ENODEV;
	}
	if (!rdmsrl_safe(MSR_VM_CR, &vm_cr) && (vm_cr & VM_CR_SVMDIS)) {
		pr_err("AMD-V is disabled by the firmware%s: enable SVM in its setup\n",
		       vm_cr & VM_CR_LOCK ? " and locked" : "");
		return -EOPNOTSUPP;
	}
	/*
	 * Nested tables and control blocks would need the encryption bit, which has not been tested
	 * anywhere.
	 */
	if (cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT) ||
	    cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT)) {
		pr_err("memory encryption (SME or SEV) is on, which is not served: boot with mem_encrypt=off\n");
		return -EOPNOTSUPP;
	}
	cpuid(CPUID_SVM, &eax, &ebx, &ecx, &edx);
	if (!(edx & BIT(0))) {
		pr_err("this processor has AMD-V without nested paging, which tenon needs\n");
		pr_err("processors from 2008 on have it; else, use the software CPU (tenon run --accel soft)\n");
		return -EOPNOTSUPP;
	}
	svm_features = (struct svm_features){
		.lbr = use_lbrv && (edx & BIT(1)),
		.nrips = use_nrips && (edx & BIT(3)),
		.tsc_scale = use_tsc_scaling && (edx & BIT(4)),
		.clean = use_vmcb_clean && (edx & BIT(5)),
		.flush_asid = use_flush_by_asid && (edx & BIT(6)),
		.decode = use_decode_assists && (edx & BIT(7)),
		.pause_filter = use_pause_filter && (edx & BIT(10)),
		.pause_threshold = use_pause_filter && (edx & BIT(12)),
		.nr_asids = ebx,
	};
	if (ebx < 2) {
		pr_err("this processor offers %u address space identifiers; 2 are needed\n", ebx);
		return -EOPNOTSUPP;
	}
	return 0;
}

/*
 * What a guest does with an MSR without an exit. Two bits an MSR, read and write, in three ranges of 8,192 MSRs and 2 KiB
 * each (AMD APM vol. 2, "MSR Intercepts").
 */
void svm_msr_access(u8 *msrpm, u32 msr, unsigned int free)
{
	static const u32 bases[] = { 0, 0xc0000000, 0xc0010000 };
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(bases); n++) {
		u32 bit = (msr - bases[n]) * 2;

		if (msr - bases[n] >= 0x2000)
			continue;
		__assign_bit(bit, (unsigned long *)(msrpm + n * 0x800), !(free & SVM_MSR_READ));
		__assign_bit(bit + 1, (unsigned long *)(msrpm + n * 0x800), !(free & SVM_MSR_WRITE));
	}
}

static void svm_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *sc = per_cpu_ptr(&svm_cpus, cpu);

		if (sc->hsave)
			__free_page(sc->hsave);
		if (sc->host)
			__free_page(sc->host);
		sc->hsave = NULL;
		sc->host = NULL;
	}
	free_pages((unsigned long)svm_msrpm, SVM_MSRPM_ORDER);
	free_pages((unsigned long)svm_iopm, IOPM_ORDER);
	svm_msrpm = NULL;
	svm_iopm = NULL;
}

static int __init svm_setup(void)
{
	unsigned int n;
	int cpu;

	tenon_tdp = (struct tenon_tdp_format){
		.accessed = _PAGE_ACCESSED,
		.table = _PAGE_ACCESSED,
		.leaf = _PAGE_ACCESSED | _PAGE_DIRTY,
		.levels = pgtable_l5_enabled() ? 5 : 4,
		.max_level = 3,
	};
	svm_iopm = (u8 *)__get_free_pages(GFP_KERNEL, IOPM_ORDER);
	svm_msrpm = (u8 *)__get_free_pages(GFP_KERNEL, SVM_MSRPM_ORDER);
	if (!svm_iopm || !svm_msrpm)
		goto err;
	memset(svm_iopm, 0xff, PAGE_SIZE << IOPM_ORDER);
	memset(svm_msrpm, 0xff, PAGE_SIZE << SVM_MSRPM_ORDER);
	for (n = 0; n < ARRAY_SIZE(svm_free_msrs); n++)
		svm_msr_access(svm_msrpm, svm_free_msrs[n], SVM_MSR_READ | SVM_MSR_WRITE);

	for_each_possible_cpu(cpu) {
		struct svm_cpu *sc = per_cpu_ptr(&svm_cpus, cpu);

		sc->hsave = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 0);
		sc->host = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 0);
		if (!sc->hsave || !sc->host)
			goto err;
	}
	return 0;

err:
	svm_teardown();
	return -ENOMEM;
}

/*
 * SRSO, where the processor has a remedy for as long as there are guests: virtualization is on no longer than that.
 */
static void svm_reduce_speculation(bool on)
{
#ifdef X86_FEATURE_SRSO_BP_SPEC_REDUCE
	u64 cfg;

	if (!cpu_feature_enabled(X86_FEATURE_SRSO_BP_SPEC_REDUCE) || rdmsrl_safe(MSR_ZEN4_BP_CFG, &cfg))
		return;
	__assign_bit(MSR_ZEN4_BP_CFG_BP_SPEC_REDUCE_BIT, (unsigned long *)&cfg, on);
	wrmsrl(MSR_ZEN4_BP_CFG, cfg);
#endif
}

/* The register concerns guests alone. */
static void svm_write_tsc_ratio(u64 ratio)
{
	if (svm_features.tsc_scale)
		wrmsrl(MSR_AMD64_TSC_RATIO, ratio);
}

static bool svm_tsc_scales(void)
{
	return svm_features.tsc_scale;
}

static int svm_cpu_free(void)
{
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	return efer & EFER_SVME ? -EBUSY : 0;
}

static int svm_cpu_enable(void)
{
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME)
		return -EBUSY;
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, page_to_phys(sc->hsave));
	/* The first guest flushes whatever another hypervisor left behind. */
	sc->asid_generation++;
	sc->asid_next = svm_features.nr_asids;
	sc->last = NULL;
	svm_write_tsc_ratio(TENON_TSC_UNSCALED);
	sc->tsc_ratio = TENON_TSC_UNSCALED;
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		rdmsrl(MSR_TSC_AUX, sc->host_tsc_aux);
	svm_reduce_speculation(true);
	sc->enabled = true;
	return 0;
}

/* Also from the emergency path, where nothing can be trusted but this CPU. */
static void svm_cpu_disable(void)
{
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	u64 efer;

	if (!sc->enabled)
		return;
	sc->enabled = false;
	rdmsrl(MSR_EFER, efer);
	if (!(efer & EFER_SVME))
		return;
	/* INIT is held off while GIF is clear; STGI faults if SVME has just gone. */
	asm goto("1: stgi\n\t" _ASM_EXTABLE(1b, %l[fault]) : : : "memory" : fault);
fault:
	svm_reduce_speculation(false);
	svm_write_tsc_ratio(TENON_TSC_UNSCALED);
	wrmsrl(MSR_VM_HSAVE_PA, 0);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
}

const struct tenon_vendor tenon_svm = {
	.name = "AMD-V",
	.probe = svm_probe,
	.setup = svm_setup,
	.teardown = svm_teardown,
	.cpu_free = svm_cpu_free,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.vcpu_reset = svm_vcpu_reset,
	.vcpu_load = svm_vcpu_load,
	.vcpu_put = svm_vcpu_put,
	.prepare = svm_prepare,
	.enter = svm_enter,
	.exit = svm_exit,
	.can_take_irq = svm_can_take_irq,
	.can_take_nmi = svm_can_take_nmi,
	.inject = svm_inject,
	.windows = svm_windows,
	.get_segment = svm_get_segment,
	.set_segment = svm_set_segment,
	.get_code = svm_get_code,
	.get_sys = svm_get_sys,
	.set_sys = svm_set_sys,
	.tsc_scales = svm_tsc_scales,
	.set_tsc_offset = svm_set_tsc_offset,
	.next_rip = svm_next_rip,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.has_msr = svm_has_msr,
	.cpuid_changed = svm_cpuid_changed,
	.end_shadow = svm_end_shadow,
	.int_shadow = svm_int_shadow,
	.set_int_shadow = svm_set_int_shadow,
	.cpl = svm_cpl,
	.debug_changed = svm_debug_changed,
	.get_dr67 = svm_get_dr67,
	.set_dr67 = svm_set_dr67,
};
