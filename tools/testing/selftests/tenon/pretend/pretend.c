// SPDX-License-Identifier: GPL-2.0-only
/*
 * pretend.c - what the kernel takes the processor for, as far as modules that are loaded later are concerned
 *
 * For the test bed, whose emulated processor needs no mitigation and has no speculation controls, but ignores what is
 * written to MSRs that it does not have. With this loaded, tenon.ko is patched for all of them, and the code that no
 * processor of the bed would run is run. Never anywhere else.
 */
#include <linux/module.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>

/* What processors of both makers have or need. */
static const u16 common[] = {
	X86_FEATURE_MSR_SPEC_CTRL,
	X86_FEATURE_IBRS,
	X86_FEATURE_IBPB,
	X86_FEATURE_STIBP,
	X86_FEATURE_FLUSH_L1D,
	X86_FEATURE_RSB_VMEXIT,
	X86_FEATURE_USE_IBPB,
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT,
#endif
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	X86_FEATURE_IBPB_EXIT_TO_USER,
#endif
};

static const u16 amd[] = {
	X86_FEATURE_AMD_SSBD,
	X86_FEATURE_UNRET,
	X86_FEATURE_SRSO_ALIAS,
	X86_BUG_DIV0,
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
	X86_FEATURE_CLEAR_CPU_BUF_VM,
#endif
#ifdef X86_FEATURE_ENTRY_IBPB
	X86_FEATURE_ENTRY_IBPB,
#endif
#ifdef X86_FEATURE_IBPB_ON_VMEXIT
	X86_FEATURE_IBPB_ON_VMEXIT,
#endif
};

static const u16 intel[] = {
	X86_FEATURE_SPEC_CTRL_SSBD,
	X86_FEATURE_CLEAR_CPU_BUF,
	X86_FEATURE_KERNEL_IBRS,
#ifdef X86_FEATURE_RSB_VMEXIT_LITE
	X86_FEATURE_RSB_VMEXIT_LITE,
#endif
	X86_BUG_L1TF,
	X86_BUG_ITLB_MULTIHIT,
};

static bool virt_ssbd;
module_param(virt_ssbd, bool, 0444);
MODULE_PARM_DESC(virt_ssbd, "a processor with SSBD in a register of its own, not in SPEC_CTRL");

static void __init pretend(const u16 *caps, unsigned int count)
{
	unsigned int n;

	for (n = 0; n < count; n++) {
		if (!virt_ssbd || caps[n] != X86_FEATURE_AMD_SSBD)
			set_bit(caps[n], (unsigned long *)boot_cpu_data.x86_capability);
	}
}

static int __init pretend_init(void)
{
	pretend(common, ARRAY_SIZE(common));
	if (boot_cpu_data.x86_vendor == X86_VENDOR_INTEL)
		pretend(intel, ARRAY_SIZE(intel));
	else
		pretend(amd, ARRAY_SIZE(amd));
	if (virt_ssbd)
		set_bit(X86_FEATURE_VIRT_SSBD, (unsigned long *)boot_cpu_data.x86_capability);
	return 0;
}

/* It stays: without an exit, it cannot be unloaded. */
module_init(pretend_init);
MODULE_DESCRIPTION("Test of tenon.ko: a processor with every mitigation");
MODULE_LICENSE("GPL");
