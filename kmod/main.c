// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - the module: /dev/tenon, and virtualization on and off on every CPU
 *
 * Virtualization is turned on everywhere when the first VM is created and off after the last. A CPU
 * on which it was on already belongs to another hypervisor: nothing is touched then, and VM
 * creation fails with -EBUSY.

 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/ratelimit.h>
#include <linux/reboot.h>
#include <linux/sched/stat.h>
#include <linux/smp.h>
#include <asm/reboot.h>
#include <asm/mce.h>
#include <asm/tsc.h>

#include "compat/compat.h"
#include "tenon.h"
#include "vendor.h"

const struct tenon_vendor *tenon_vendor;

unsigned int tenon_halt_poll_ns = 50000;
module_param_named(halt_poll_ns, tenon_halt_poll_ns, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns, "nanoseconds that a halted vCPU polls before it sleeps");

unsigned int tenon_max_vcpus = TENON_MAX_VCPUS;
module_param_named(max_vcpus, tenon_max_vcpus, uint, 0444);
MODULE_PARM_DESC(max_vcpus, "vCPUs that one VM may have; ENOSPC beyond");

static unsigned int max_vms = 1024;
module_param(max_vms, uint, 0444);
MODULE_PARM_DESC(max_vms, "VMs that may exist at a time; KVM_CREATE_VM fails with ENOSPC beyond");

unsigned long tenon_max_memory = 4ul << 20;
module_param_named(max_memory, tenon_max_memory, ulong, 0444);
MODULE_PARM_DESC(max_memory, "MiB of memory that the slots of one VM may have together; ENOSPC beyond");

static const struct tenon_vendor *const vendors[] = { &tenon_svm, &tenon_vmx };

/* ---- virtualization on all CPUs ---- */

static DEFINE_MUTEX(virt_lock);
static unsigned int virt_users;
static enum cpuhp_state virt_hp_state;
static bool virt_down; /* the system is going down */

struct virt_result {
	atomic_t busy;
	int cpu;
};

static void virt_check(void *arg)
{
	struct virt_result *r = arg;

	if (tenon_vendor->cpu_free()) {
		if (!atomic_fetch_inc(&r->busy))
			r->cpu = smp_processor_id();
	}
}

static int virt_online(unsigned int cpu)
{
	unsigned long flags;
	int ret;

	if (READ_ONCE(virt_down))
		return -ESHUTDOWN;
	local_irq_save(flags);
	ret = tenon_vendor->cpu_enable();
	local_irq_restore(flags);
	if (ret)
		pr_err_ratelimited("CPU %u: virtualization is already in use by another hypervisor\n", cpu);
	return ret;
}

static int virt_offline(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	tenon_vendor->cpu_disable();
	local_irq_restore(flags);
	return 0;
}

/* On a crash or reboot, with interrupts off, on each CPU that the kernel reaches. */
static void virt_emergency(void)
{
	tenon_vendor->cpu_disable();
}

int tenon_virt_get(void)
{
	static DEFINE_RATELIMIT_STATE(said, 5 * HZ, 1);
	struct virt_result r = { .busy = ATOMIC_INIT(0), .cpu = -1 };
	int ret = 0;

	mutex_lock(&virt_lock);
	if (READ_ONCE(virt_down))
		ret = -ESHUTDOWN;
	else if (virt_users >= max_vms)
		ret = -ENOSPC;
	if (ret || virt_users)
		goto out;

	/*
	 * Look first, touch after: the one slot for the emergency callback is KVM's if KVM is there.
	 */
	cpus_read_lock();
	on_each_cpu(virt_check, &r, 1);
	cpus_read_unlock();
	if (atomic_read(&r.busy)) {
		ret = -EBUSY;
		/* A program may try again and again. */
		if (!__ratelimit(&said))
			goto out;
		pr_err("virtualization is in use on %d CPUs (CPU %d is the first): by KVM, most likely\n",
		       atomic_read(&r.busy), r.cpu);
		pr_err("stop its VMs and run \"modprobe -r kvm_amd kvm_intel\"; newer kernels' KVM holds idle CPUs, too\n");
		pr_err("kvm.enable_virt_at_load=0 (kernel command line or /etc/modprobe.d) keeps it from that\n");
		goto out;
	}
	cpu_emergency_register_virt_callback(virt_emergency);
	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "tenon:online", virt_online, virt_offline);
	if (ret < 0) {
		cpu_emergency_unregister_virt_callback(virt_emergency);
		goto out;
	}
	virt_hp_state = ret;
	ret = 0;
out:
	if (!ret)
		virt_users++;
	mutex_unlock(&virt_lock);
	return ret;
}

void tenon_virt_put(void)
{
	mutex_lock(&virt_lock);
	if (!--virt_users) {
		cpuhp_remove_state(virt_hp_state);
		cpu_emergency_unregister_virt_callback(virt_emergency);
	}
	mutex_unlock(&virt_lock);
}

/*
 * Suspend takes all CPUs but one offline, and comes here on that one. User space is frozen by then, so virt_users
 * stands still.
 */
static int virt_suspend(void)
{
	if (virt_users)
		tenon_vendor->cpu_disable();
	return 0;
}

static void virt_resume(void)
{
	if (virt_users && tenon_vendor->cpu_enable())
		pr_err("CPU %u: virtualization was in use after the system had slept\n", smp_processor_id());
}

static void virt_cpu_shutdown(void *arg)
{
	tenon_vendor->cpu_disable();
}

COMPAT_SYSCORE(virt_syscore, virt_suspend, virt_resume);

/*
 * Before kexec and reboot, so that whatever starts next finds the processors as the firmware left them. Not every kernel
 * comes to a syscore's shutdown on its way into kexec.
 */
static int virt_reboot(struct notifier_block *nb, unsigned long action, void *data)
{
	WRITE_ONCE(virt_down, true);
	on_each_cpu(virt_cpu_shutdown, NULL, 1);
	return NOTIFY_DONE;
}

static struct notifier_block virt_reboot_nb = { .notifier_call = virt_reboot };

/* ---- capabilities ---- */

/* What KVM_CHECK_EXTENSION answers. Only what is finished stands here. */
int tenon_check_extension(struct tenon_vm *vm, unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_IRQCHIP:
	case KVM_CAP_HLT:
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_SET_TSS_ADDR:
	case KVM_CAP_EXT_CPUID:
	case KVM_CAP_CLOCKSOURCE:
	case KVM_CAP_PIT:
	case KVM_CAP_NOP_IO_DELAY:
	case KVM_CAP_MP_STATE:
	case KVM_CAP_SYNC_MMU:
	case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
	case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
	case KVM_CAP_USER_NMI:
	case KVM_CAP_SET_GUEST_DEBUG:
	case KVM_CAP_REINJECT_CONTROL:
	case KVM_CAP_IRQ_INJECT_STATUS:
	case KVM_CAP_PIT2:
	case KVM_CAP_PIT_STATE2:
	case KVM_CAP_SET_BOOT_CPU_ID:
	case KVM_CAP_IRQFD:
	case KVM_CAP_IRQFD_RESAMPLE:
	case KVM_CAP_IOEVENTFD:
	case KVM_CAP_IOEVENTFD_NO_LENGTH:
	case KVM_CAP_IOEVENTFD_ANY_LENGTH:
	case KVM_CAP_SET_IDENTITY_MAP_ADDR:
	case KVM_CAP_VCPU_EVENTS:
	case KVM_CAP_DEBUGREGS:
	case KVM_CAP_X86_ROBUST_SINGLESTEP:
	case KVM_CAP_XSAVE:
	case KVM_CAP_ENABLE_CAP:
	case KVM_CAP_ENABLE_CAP_VM:
	case KVM_CAP_GET_TSC_KHZ:
	case KVM_CAP_TSC_DEADLINE_TIMER:
	case KVM_CAP_SIGNAL_MSI:
	case KVM_CAP_READONLY_MEM:
	case KVM_CAP_CHECK_EXTENSION_VM:
	case KVM_CAP_SPLIT_IRQCHIP:
	case KVM_CAP_IMMEDIATE_EXIT:
	case KVM_CAP_GET_MSR_FEATURES:
	case KVM_CAP_KVMCLOCK_CTRL:
	case KVM_CAP_INTERNAL_ERROR_DATA:
	case KVM_CAP_VAPIC:
	case KVM_CAP_COALESCED_PIO:
	case KVM_CAP_IOAPIC_POLARITY_IGNORED:
	case KVM_CAP_IRQ_ROUTING:
		return cap == KVM_CAP_IRQ_ROUTING ? TENON_MAX_ROUTES : 1;
	case KVM_CAP_XCRS:
		return boot_cpu_has(X86_FEATURE_XSAVE);
	case KVM_CAP_TSC_CONTROL:
		return tenon_vendor->tsc_scales();
	case KVM_CAP_XSAVE2:
		return tenon_xsave_size();
	case KVM_CAP_COALESCED_MMIO:
		return TENON_COALESCED_PAGE;
	case KVM_CAP_NR_VCPUS:
		return min_t(unsigned int, num_online_cpus(), tenon_max_vcpus);
	case KVM_CAP_MAX_VCPUS:
		return tenon_max_vcpus;
	case KVM_CAP_MAX_VCPU_ID:
		return TENON_MAX_VCPU_ID;
	case KVM_CAP_NR_MEMSLOTS:
		return TENON_MAX_SLOTS;
	case KVM_CAP_MCE:
		return 32;
	case KVM_CAP_ADJUST_CLOCK:
		return KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	case KVM_CAP_SET_GUEST_DEBUG2:
		return TENON_GUESTDBG;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	case KVM_CAP_STEAL_TIME:
		return sched_info_on();
	case KVM_CAP_X2APIC_API:
		return KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
	default:
		return 0;
	}
}

/* ---- the node ---- */

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case KVM_GET_API_VERSION:
		return arg ? -EINVAL : KVM_API_VERSION;
	case KVM_CREATE_VM:
		return tenon_vm_create(arg);
	case KVM_CHECK_EXTENSION:
		return tenon_check_extension(NULL, arg);
	case KVM_GET_VCPU_MMAP_SIZE:
		return arg ? -EINVAL : TENON_RUN_PAGES * PAGE_SIZE;
	case KVM_GET_SUPPORTED_CPUID:
		return tenon_supported_cpuid((void __user *)arg);
	case KVM_GET_MSR_INDEX_LIST:
		return tenon_msr_list((void __user *)arg, false);
	case KVM_GET_MSR_FEATURE_INDEX_LIST:
		return tenon_msr_list((void __user *)arg, true);
	case KVM_GET_MSRS:
		return tenon_msrs_system_get((void __user *)arg);
	case KVM_X86_GET_MCE_CAP_SUPPORTED: {
		u64 cap = 32 | MCG_CTL_P | MCG_SER_P;

		return copy_to_user((void __user *)arg, &cap, sizeof(cap)) ? -EFAULT : 0;
	}
	default:
		return -EINVAL;
	}
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "tenon",
	.nodename = "tenon",
	.mode = 0660,
	.fops = &dev_fops,
};

static int __init tenon_init(void)
{
	unsigned int n;
	int ret = -ENODEV;

	if (!boot_cpu_has(X86_FEATURE_FXSR) || !boot_cpu_has(X86_FEATURE_TSC))
		return -EOPNOTSUPP;
	for (n = 0; n < ARRAY_SIZE(vendors); n++) {
		ret = vendors[n]->probe();
		if (!ret) {
			tenon_vendor = vendors[n];
			break;
		}
		if (ret != -ENODEV)
			return ret;
	}
	if (!tenon_vendor) {
		pr_err("no hardware virtualization that is served here on this processor (served: AMD-V, VT-x)\n");
		return ret;
	}
	max_vms = max(max_vms, 1u);
	tenon_max_vcpus = clamp(tenon_max_vcpus, 1u, (unsigned int)TENON_MAX_VCPUS);
	tenon_cpuid_setup();
	tenon_fpu_setup();

	ret = tenon_vendor->setup();
	if (ret)
		return ret;
	ret = tenon_eventfd_setup();
	if (ret)
		goto err_vendor;
	compat_register_syscore(&virt_syscore);
	register_reboot_notifier(&virt_reboot_nb);
	tenon_debugfs_setup();
	/* It patches the scheduler: once, not with every first VM. */
	preempt_notifier_inc();
	/* Last: from here on, it is in use. */
	ret = misc_register(&dev);
	if (ret)
		goto err_debugfs;
	pr_info("ready: %s\n", tenon_vendor->name);
	return 0;

err_debugfs:
	preempt_notifier_dec();
	tenon_debugfs_teardown();
	unregister_reboot_notifier(&virt_reboot_nb);
	compat_unregister_syscore(&virt_syscore);
	tenon_eventfd_teardown();
err_vendor:
	tenon_vendor->teardown();
	return ret;
}

static void __exit tenon_exit(void)
{
	misc_deregister(&dev);
	preempt_notifier_dec();
	tenon_debugfs_teardown();
	unregister_reboot_notifier(&virt_reboot_nb);
	compat_unregister_syscore(&virt_syscore);
	tenon_eventfd_teardown();
	tenon_vendor->teardown();
}

module_init(tenon_init);
module_exit(tenon_exit);

MODULE_DESCRIPTION("Tenon: virtual machines on the processor, by the KVM ABI");
MODULE_AUTHOR("The Tenon authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(TENON_VERSION);
