// SPDX-License-Identifier: GPL-2.0-only
/*
 * setup.c - Intel VT-x: is it there, is it free, on and off
 *
 * Source: Intel SDM vol. 3, "Introduction to Virtual Machine Extensions", "VMX Capability Reporting Facility".
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/module.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/processor.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>

#include "vmx.h"

/* Of what it stands for, some has run in the test bed alone, and some nowhere: Documentation/kmod.rst */
static bool unproven;
module_param_named(vmx_unproven, unproven, bool, 0444);
MODULE_PARM_DESC(vmx_unproven, "VT-x: use virtual interrupts, virtual x2APIC registers and the preemption timer, which have run in Bochs alone, posted interrupts and the monitor trap flag, which have never been executed (default: no)");

struct vmx_features vmx_features;
DEFINE_PER_CPU(struct vmx_cpu, vmx_cpus);

/* What cannot be done without. "Names" as the SDM has them. */
static const struct vmx_need {
	u32 msr;
	u32 bit;
	const char *name;
} needs[] = {
	{ MSR_IA32_VMX_TRUE_PINBASED_CTLS, PIN_BASED_EXT_INTR_MASK, "external-interrupt exiting" },
	{ MSR_IA32_VMX_TRUE_PINBASED_CTLS, PIN_BASED_NMI_EXITING, "NMI exiting" },
	{ MSR_IA32_VMX_TRUE_PINBASED_CTLS, PIN_BASED_VIRTUAL_NMIS, "virtual NMIs" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_HLT_EXITING, "HLT exiting" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_USE_TSC_OFFSETTING, "TSC offsetting" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_MWAIT_EXITING, "MWAIT exiting" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_MONITOR_EXITING, "MONITOR exiting" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_RDPMC_EXITING, "RDPMC exiting" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_MOV_DR_EXITING, "MOV-DR exiting" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_UNCOND_IO_EXITING, "unconditional I/O exiting" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_TPR_SHADOW, "TPR shadow" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_USE_MSR_BITMAPS, "MSR bitmaps" },
	{ MSR_IA32_VMX_TRUE_PROCBASED_CTLS, CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, "secondary controls" },
	{ MSR_IA32_VMX_PROCBASED_CTLS2, SECONDARY_EXEC_ENABLE_EPT, "EPT" },
	{ MSR_IA32_VMX_PROCBASED_CTLS2, SECONDARY_EXEC_UNRESTRICTED_GUEST, "unrestricted guest" },
	{ MSR_IA32_VMX_TRUE_EXIT_CTLS, VM_EXIT_HOST_ADDR_SPACE_SIZE, "64-bit host" },
	{ MSR_IA32_VMX_TRUE_EXIT_CTLS, VM_EXIT_SAVE_DEBUG_CONTROLS, "save debug controls" },
	{ MSR_IA32_VMX_TRUE_EXIT_CTLS, VM_EXIT_SAVE_IA32_EFER, "save EFER" },
	{ MSR_IA32_VMX_TRUE_EXIT_CTLS, VM_EXIT_LOAD_IA32_EFER, "load EFER" },
	{ MSR_IA32_VMX_TRUE_EXIT_CTLS, VM_EXIT_LOAD_IA32_PAT, "load PAT" },
	{ MSR_IA32_VMX_TRUE_ENTRY_CTLS, VM_ENTRY_LOAD_DEBUG_CONTROLS, "load debug controls" },
	{ MSR_IA32_VMX_TRUE_ENTRY_CTLS, VM_ENTRY_LOAD_IA32_EFER, "load guest EFER" },
	{ MSR_IA32_VMX_TRUE_ENTRY_CTLS, VM_ENTRY_LOAD_IA32_PAT, "load guest PAT" },
};

/* The low half of a capability MSR: bits that are 1 always; the high half: those that may be. */
static u32 *controls_of(struct vmx_controls *c, u32 msr)
{
	switch (msr) {
	case MSR_IA32_VMX_TRUE_PINBASED_CTLS:
		return &c->pin;
	case MSR_IA32_VMX_TRUE_PROCBASED_CTLS:
		return &c->cpu;
	case MSR_IA32_VMX_PROCBASED_CTLS2:
		return &c->cpu2;
	case MSR_IA32_VMX_TRUE_EXIT_CTLS:
		return &c->exit;
	default:
		return &c->entry;
	}
}

static u64 capability(u32 msr)
{
	u64 value;

	/* A processor without secondary controls does not have the MSR. */
	return rdmsrl_safe(msr, &value) ? 0 : value;
}

/* Adds the name of what is missing. */
static void lack(char *missing, size_t size, const char *name)
{
	const size_t used = strlen(missing);

	scnprintf(missing + used, size - used, "%s%s", used ? ", " : "", name);
}

static void find_controls(struct vmx_controls *c, char *missing, size_t size)
{
	static const u32 always_0 = CPU_BASED_CR3_LOAD_EXITING | CPU_BASED_CR3_STORE_EXITING |
				    CPU_BASED_INVLPG_EXITING;
	static const u32 msrs[] = {
		MSR_IA32_VMX_TRUE_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS, MSR_IA32_VMX_PROCBASED_CTLS2,
		MSR_IA32_VMX_TRUE_EXIT_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS,
	};
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(msrs); n++)
		*controls_of(c, msrs[n]) = capability(msrs[n]);
	if (c->cpu & always_0)
		lack(missing, size, "MOV CR3 without an exit");
	for (n = 0; n < ARRAY_SIZE(needs); n++) {
		if (capability(needs[n].msr) >> 32 & needs[n].bit)
			*controls_of(c, needs[n].msr) |= needs[n].bit;
		else
			lack(missing, size, needs[n].name);
	}
}

/* Used where the processor has them. */
static void find_options(struct vmx_features *f, u64 ept)
{
	const u32 offered = capability(MSR_IA32_VMX_PROCBASED_CTLS2) >> 32;
	u32 wanted = SECONDARY_EXEC_WBINVD_EXITING | SECONDARY_EXEC_PAUSE_LOOP_EXITING |
		     SECONDARY_EXEC_ENABLE_INVPCID | COMPAT_EXEC_XSAVES |
		     SECONDARY_EXEC_TSC_SCALING | SECONDARY_EXEC_ENCLS_EXITING;	/* no guest has SGX */

	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		wanted |= SECONDARY_EXEC_ENABLE_RDTSCP;
	if ((ept & VMX_VPID_INVVPID_BIT) && (ept & VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT))
		wanted |= SECONDARY_EXEC_ENABLE_VPID;
	f->controls.cpu2 |= wanted & offered;
	f->vpid = f->controls.cpu2 & SECONDARY_EXEC_ENABLE_VPID;
	f->ad = ept & VMX_EPT_AD_BIT;
}

static void find_unproven(struct vmx_features *f)
{
	const u32 pin = capability(MSR_IA32_VMX_TRUE_PINBASED_CTLS) >> 32;

	f->mtf = capability(MSR_IA32_VMX_TRUE_PROCBASED_CTLS) >> 32 & CPU_BASED_MONITOR_TRAP_FLAG;
	f->posts = true;
	f->virtual_apic = capability(MSR_IA32_VMX_PROCBASED_CTLS2) >> 32 & VMX_VIRTUAL_APIC;
	/* Posted interrupts go with this alone; it works without them. */
	if (capability(MSR_IA32_VMX_TRUE_EXIT_CTLS) >> 32 & VM_EXIT_ACK_INTR_ON_EXIT) {
		f->controls.exit |= VM_EXIT_ACK_INTR_ON_EXIT;
		f->fetches = (pin & PIN_BASED_POSTED_INTR) && (f->virtual_apic & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY);
	}
	if (pin & PIN_BASED_VMX_PREEMPTION_TIMER) {
		f->controls.pin |= PIN_BASED_VMX_PREEMPTION_TIMER;
		f->timer_shift = vmx_misc_preemption_timer_rate(capability(MSR_IA32_VMX_MISC));
	}
}

static int vmx_probe(void)
{
	char missing[256] = "";
	u64 basic, feature, ept;

	if (boot_cpu_data.x86_vendor != X86_VENDOR_INTEL && boot_cpu_data.x86_vendor != X86_VENDOR_CENTAUR &&
	    boot_cpu_data.x86_vendor != X86_VENDOR_ZHAOXIN)
		return -ENODEV;
	if (!(cpuid_ecx(1) & BIT(5))) {
		pr_err("this processor (or the hypervisor under this system) offers no VT-x\n");
		pr_err("enable nested virtualization there, or use the software CPU (tenon run --accel soft)\n");
		return -ENODEV;
	}
	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &feature) || !(feature & FEAT_CTL_LOCKED) ||
	    !(feature & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX)) {
		pr_err("VT-x is disabled by the firmware: enable it in its setup\n");
		return -EOPNOTSUPP;
	}
#ifdef X86_FEATURE_FRED
	/* Its registers would have to be switched, by controls of their own. */
	if (cpu_feature_enabled(X86_FEATURE_FRED)) {
		pr_err("the kernel uses FRED, with which tenon can't run a guest: boot it with fred=off\n");
		return -EOPNOTSUPP;
	}
#endif
	rdmsrl(MSR_IA32_VMX_BASIC, basic);
	vmx_features = (struct vmx_features){ .revision = basic & 0x7fffffff };
	if (!(basic & VMX_BASIC_TRUE_CTLS))
		lack(missing, sizeof(missing), "true controls");
	else
		find_controls(&vmx_features.controls, missing, sizeof(missing));
	ept = vmx_features.controls.cpu2 & SECONDARY_EXEC_ENABLE_EPT ? capability(MSR_IA32_VMX_EPT_VPID_CAP) : 0;
	if (vmx_features.controls.cpu2 & SECONDARY_EXEC_ENABLE_EPT) {
		if (!(ept & VMX_EPT_PAGE_WALK_4_BIT))
			lack(missing, sizeof(missing), "EPT of four levels");
		if (!(ept & VMX_EPTP_WB_BIT))
			lack(missing, sizeof(missing), "write-back EPT");
		if (!(ept & VMX_EPT_INVEPT_BIT) || !(ept & VMX_EPT_EXTENT_CONTEXT_BIT))
			lack(missing, sizeof(missing), "INVEPT of one context");
	}
	if (*missing) {
		pr_err("this processor's VT-x lacks what tenon needs: %s\n", missing);
		pr_err("processors from 2010 on (Westmere and later) have it; else, use the software CPU (tenon run --accel soft)\n");
		return -EOPNOTSUPP;
	}
	find_options(&vmx_features, ept);
	if (unproven)
		find_unproven(&vmx_features);
	/* What a guest can reach of the L1 data cache is not its own. The kernel says whether it is to be kept from it. */
	if (boot_cpu_has_bug(X86_BUG_L1TF) && l1tf_mitigation != L1TF_MITIGATION_OFF) {
		if (!boot_cpu_has(X86_FEATURE_FLUSH_L1D)) {
			pr_err("this processor has L1TF, and its microcode no way to flush the cache before a guest\n");
			pr_err("update the microcode, or accept the leak: l1tf=off on the kernel command line\n");
			return -EOPNOTSUPP;
		}
		vmx_features.flush_l1d = true;
	}
	return 0;
}

static void vmx_teardown(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = per_cpu_ptr(&vmx_cpus, cpu);

		if (c->vmxon)
			__free_page(c->vmxon);
		c->vmxon = NULL;
	}
}

static unsigned int __init max_page_level(void)
{
	const u64 ept = capability(MSR_IA32_VMX_EPT_VPID_CAP);

	/* A fetch by a large page may take such a processor down (iTLB multihit), and all of EPT is executable here. */
	if (boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT) && !cpu_mitigations_off())
		return 1;
	return !(ept & VMX_EPT_2MB_PAGE_BIT) ? 1 : ept & VMX_EPT_1GB_PAGE_BIT ? 3 : 2;
}

static int __init vmx_setup(void)
{
	const u64 used = vmx_features.ad ? VMX_EPT_ACCESS_BIT | VMX_EPT_DIRTY_BIT : 0;
	int cpu;

	/* Guest memory is the host's ordinary memory, and cached like that whatever the guest's PAT says. */
	tenon_tdp = (struct tenon_tdp_format){
		.accessed = used & VMX_EPT_ACCESS_BIT,
		.table = used & VMX_EPT_ACCESS_BIT,
		.leaf = used | VMX_EPTP_MT_WB << VMX_EPT_MT_EPTE_SHIFT | VMX_EPT_IPAT_BIT,
		.levels = 4,
		.max_level = max_page_level(),
	};
	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = per_cpu_ptr(&vmx_cpus, cpu);

		c->vmxon = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 0);
		if (!c->vmxon) {
			vmx_teardown();
			return -ENOMEM;
		}
		*(u32 *)page_address(c->vmxon) = vmx_features.revision;
	}
	return 0;
}

static int vmx_cpu_free(void)
{
	return __read_cr4() & X86_CR4_VMXE ? -EBUSY : 0;
}

static int vmx_cpu_enable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpus);
	const u64 pa = page_to_phys(c->vmxon);
	u64 feature;

	if (__read_cr4() & X86_CR4_VMXE)
		return -EBUSY;
	if (rdmsrl_safe(MSR_IA32_FEAT_CTL, &feature) || !(feature & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX))
		return -EOPNOTSUPP;
	intel_pt_handle_vmx(1);
	cr4_set_bits_irqsoff(X86_CR4_VMXE);
	asm goto("1: vmxon %0\n\tjbe %l[failed]\n\t" _ASM_EXTABLE(1b, %l[failed])
		 : : "m"(pa) : "cc", "memory" : failed);
	/* Nothing is left here of another hypervisor's, or of a VM whose root was in the same page. */
	VMX_INVALIDATE("invept", capability(MSR_IA32_VMX_EPT_VPID_CAP) & VMX_EPT_EXTENT_GLOBAL_BIT ?
		       VMX_EPT_EXTENT_GLOBAL : VMX_EPT_EXTENT_CONTEXT, 0);
	c->current_vcpu = NULL;
	c->last = NULL;
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		rdmsrl(MSR_TSC_AUX, c->host_tsc_aux);
	c->enabled = true;
	return 0;

failed:
	cr4_clear_bits_irqsoff(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
	return -EBUSY;
}

/* Also from the emergency path, where nothing can be trusted but this CPU. */
static void vmx_cpu_disable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpus);

	if (!c->enabled)
		return;
	c->enabled = false;
	/* What the processor holds of it would be written to memory at any time later. */
	if (c->current_vcpu)
		vmx_clear(c->current_vcpu);
	asm goto("1: vmxoff\n\t" _ASM_EXTABLE(1b, %l[fault]) : : : "cc", "memory" : fault);
fault:
	cr4_clear_bits_irqsoff(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
}

void vmx_refused(const char *what, unsigned long field)
{
	pr_err_ratelimited("%s of %#lx was refused: VM-instruction error %llu\n", what, field,
			   vmx_read(VM_INSTRUCTION_ERROR));
}

static bool vmx_tsc_scales(void)
{
	return vmx_features.controls.cpu2 & SECONDARY_EXEC_TSC_SCALING;
}

/* These are invalid for a guest unless a control of their own allows them. */
static void vmx_cpuid_limit(struct kvm_cpuid_entry2 *e)
{
	const u32 cpu2 = vmx_features.controls.cpu2;

	if (e->function == 7 && e->index == 0 && !(cpu2 & SECONDARY_EXEC_ENABLE_INVPCID))
		e->ebx &= ~BIT(10);
	if (e->function == 0xd && e->index == 1 && !(cpu2 & COMPAT_EXEC_XSAVES))
		e->eax &= ~BIT(3);
	if (e->function == 0x80000001 && !(cpu2 & SECONDARY_EXEC_ENABLE_RDTSCP))
		e->edx &= ~BIT(27);
	/* RDPID needs the same. */
	if (e->function == 7 && e->index == 0 && !(cpu2 & SECONDARY_EXEC_ENABLE_RDTSCP))
		e->ecx &= ~BIT(22);
}

const struct tenon_vendor tenon_vmx = {
	.name = "VT-x",
	.probe = vmx_probe,
	.setup = vmx_setup,
	.teardown = vmx_teardown,
	.cpu_free = vmx_cpu_free,
	.cpu_enable = vmx_cpu_enable,
	.cpu_disable = vmx_cpu_disable,
	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,
	.vcpu_reset = vmx_vcpu_reset,
	.vcpu_load = vmx_vcpu_load,
	.vcpu_put = vmx_vcpu_put,
	.prepare = vmx_prepare,
	.enter = vmx_enter,
	.exit = vmx_exit,
	.can_take_irq = vmx_can_take_irq,
	.can_take_nmi = vmx_can_take_nmi,
	.inject = vmx_inject,
	.windows = vmx_windows,
	.get_segment = vmx_get_segment,
	.set_segment = vmx_set_segment,
	.get_code = vmx_get_code,
	.get_sys = vmx_get_sys,
	.set_sys = vmx_set_sys,
	.tsc_scales = vmx_tsc_scales,
	.set_tsc_offset = vmx_set_tsc_offset,
	.next_rip = vmx_next_rip,
	.get_msr = vmx_get_msr,
	.set_msr = vmx_set_msr,
	.has_msr = vmx_has_msr,
	.cpuid_limit = vmx_cpuid_limit,
	.cpuid_changed = vmx_cpuid_changed,
	.end_shadow = vmx_end_shadow,
	.int_shadow = vmx_int_shadow,
	.set_int_shadow = vmx_set_int_shadow,
	.cpl = vmx_cpl,
	.debug_changed = vmx_debug_changed,
	.get_dr67 = vmx_get_dr67,
	.set_dr67 = vmx_set_dr67,
	.posted = vmx_posted,
	.delivers = vmx_delivers,
	.serve = vmx_serve,
	.set_deadline = vmx_set_deadline,
};
