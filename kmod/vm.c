// SPDX-License-Identifier: GPL-2.0-only
/*
 * vm.c - a VM: its file, its ioctls, its end
 *
 * A VM lives as long as a file refers to it: its own, or that of one of its vCPUs.

 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/tsc.h>

#include "tenon.h"
#include "vendor.h"

static void vm_destroy(struct tenon_vm *vm)
{
	unsigned int n;

	tenon_debugfs_vm_gone(vm);
	tenon_eventfds_destroy(vm);
	/* No line moves any more; the timers of the chips reach into the vCPUs. */
	tenon_irqchip_destroy(vm);
	/* The process may live on, and its memory change: that looks for the vCPUs that are to be flushed. */
	if (vm->notifier_registered)
		mmu_notifier_unregister(&vm->notifier, vm->mm);
	for (n = 0; n < vm->nr_vcpus; n++)
		tenon_vcpu_destroy(vm->vcpu[n]);
	tenon_tdp_destroy(vm);
	tenon_slots_destroy(vm);
	kvfree(rcu_dereference_protected(vm->routes, 1));
	cleanup_srcu_struct(&vm->irq_srcu);
	cleanup_srcu_struct(&vm->srcu);
	mmdrop(vm->mm);
	kvfree(vm);
	tenon_virt_put();
	module_put(THIS_MODULE);
}

void tenon_vm_get(struct tenon_vm *vm)
{
	refcount_inc(&vm->refs);
}

void tenon_vm_put(struct tenon_vm *vm)
{
	if (refcount_dec_and_test(&vm->refs))
		vm_destroy(vm);
}

/* ---- ioctls ---- */

static int vm_enable_cap(struct tenon_vm *vm, const struct kvm_enable_cap *cap)
{
	int ret = -EINVAL;

	if (cap->flags)
		return -EINVAL;
	mutex_lock(&vm->lock);
	switch (cap->cap) {
	case KVM_CAP_SPLIT_IRQCHIP:
		ret = -EINVAL;
		if (cap->args[0] > TENON_MAX_ROUTES)
			break;
		ret = -EEXIST;
		if (vm->irqchip != TENON_IRQCHIP_NONE || vm->nr_vcpus)
			break;
		ret = tenon_irqchip_split(vm, cap->args[0]);
		break;
	case KVM_CAP_MAX_VCPU_ID:
		/* Once, and before the first vCPU. */
		if (!cap->args[0] || cap->args[0] > TENON_MAX_VCPU_ID ||
		    (vm->max_vcpu_id && vm->max_vcpu_id != cap->args[0]))
			break;
		vm->max_vcpu_id = cap->args[0];
		ret = 0;
		break;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		if (cap->args[0] & ~(u64)KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
			break;
		WRITE_ONCE(vm->manual_dirty, cap->args[0]);
		ret = 0;
		break;
	case KVM_CAP_X2APIC_API:
		if (cap->args[0] &
		    ~(u64)(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK))
			break;
		if (cap->args[0] & KVM_X2APIC_API_USE_32BIT_IDS)
			vm->x2apic_32bit = true;
		if (cap->args[0] & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
			vm->x2apic_no_broadcast_quirk = true;
		ret = 0;
		break;
	}
	mutex_unlock(&vm->lock);
	return ret;
}

static int vm_gsi_routing(struct tenon_vm *vm, struct kvm_irq_routing __user *arg)
{
	struct kvm_irq_routing_entry *entries = NULL;
	struct kvm_irq_routing head;
	int ret;

	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	if (vm->irqchip == TENON_IRQCHIP_NONE || head.nr > TENON_MAX_ROUTES || head.flags)
		return -EINVAL;
	if (head.nr) {
		entries = vmemdup_user(arg->entries, array_size(head.nr, sizeof(*entries)));
		if (IS_ERR(entries))
			return PTR_ERR(entries);
	}
	ret = tenon_routes_set(vm, &head, entries);
	kvfree(entries);
	return ret;
}

#define CLOCK_FLAGS (KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)

static int vm_get_clock(struct tenon_vm *vm, void __user *arg)
{
	struct kvm_clock_data data;

	tenon_clock_get(vm, &data);
	return copy_to_user(arg, &data, sizeof(data)) ? -EFAULT : 0;
}

/* What KVM_GET_CLOCK has given may come back; with KVM_CLOCK_REALTIME, the time that has passed since is added. */
static int vm_set_clock(struct tenon_vm *vm, void __user *arg)
{
	struct kvm_clock_data data;
	u64 now;

	if (copy_from_user(&data, arg, sizeof(data)))
		return -EFAULT;
	if (data.flags & ~(u32)CLOCK_FLAGS)
		return -EINVAL;
	now = ktime_get_real_ns();
	if ((data.flags & KVM_CLOCK_REALTIME) && now > data.realtime)
		data.clock += now - data.realtime;
	tenon_clock_set(vm, data.clock);
	return 0;
}

/* Copy an argument in, call, and copy it out if the command says so. */
#define WITH_ARG(type, var, call)                                            \
	({                                                                   \
		type var;                                                    \
									     \
		copy_from_user(&(var), arg, sizeof(var)) ? -EFAULT : (call); \
	})

#define WITH_ARG_OUT(type, var, call)                                                    \
	({                                                                               \
		type var;                                                                \
		long ret_ = copy_from_user(&(var), arg, sizeof(var)) ? -EFAULT : (call); \
											 \
		!ret_ &&copy_to_user(arg, &(var), sizeof(var)) ? -EFAULT : ret_;         \
	})

static long vm_irqchip_ioctl(struct tenon_vm *vm, bool set, void __user *arg)
{
	struct kvm_irqchip *chip = memdup_user(arg, sizeof(*chip));
	int ret;

	if (IS_ERR(chip))
		return PTR_ERR(chip);
	ret = set ? tenon_irqchip_set(vm, chip) : tenon_irqchip_get(vm, chip);
	if (!ret && !set && copy_to_user(arg, chip, sizeof(*chip)))
		ret = -EFAULT;
	kfree(chip);
	return ret;
}

static int vm_irq_line(struct tenon_vm *vm, struct kvm_irq_level *irq, bool status)
{
	int ret;

	if (vm->irqchip == TENON_IRQCHIP_NONE)
		return -ENXIO;
	ret = tenon_set_gsi(vm, irq->irq, TENON_SOURCE_USER, irq->level);
	if (status)
		irq->status = ret;
	return 0;
}

static long vm_ioctl_locked(struct tenon_vm *vm, unsigned int cmd, unsigned long argument)
{
	void __user *arg = (void __user *)argument;
	long ret = -ENOTTY;

	mutex_lock(&vm->lock);
	switch (cmd) {
	case KVM_CREATE_IRQCHIP:
		ret = -EEXIST;
		if (vm->irqchip != TENON_IRQCHIP_NONE)
			break;
		ret = vm->nr_vcpus ? -EINVAL : tenon_irqchip_create(vm);
		break;
	case KVM_CREATE_PIT:
		ret = tenon_pit_create(vm, 0);
		break;
	case KVM_CREATE_PIT2:
		ret = WITH_ARG(struct kvm_pit_config, config, tenon_pit_create(vm, config.flags));
		break;
	case KVM_SET_BOOT_CPU_ID:
		ret = vm->nr_vcpus ? -EBUSY : 0;
		if (!ret)
			vm->bsp_id = argument;
		break;
	case KVM_SET_TSS_ADDR:
		ret = argument > (u32)(-3 * PAGE_SIZE) ? -EINVAL : 0;
		if (!ret)
			vm->tss_addr = argument;
		break;
	case KVM_SET_IDENTITY_MAP_ADDR:
		if (vm->nr_vcpus) {
			ret = -EINVAL;
			break;
		}
		ret = copy_from_user(&vm->identity_map_addr, arg, sizeof(u64)) ? -EFAULT : 0;
		break;
	}
	mutex_unlock(&vm->lock);
	return ret;
}

static int vm_reinject(struct tenon_vm *vm, const struct kvm_reinject_control *control)
{
	if (!vm->chips || !vm->chips->has_pit)
		return -ENXIO;
	tenon_pit_reinject(vm, control->pit_reinject);
	return 0;
}

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long argument)
{
	struct tenon_vm *vm = file->private_data;
	void __user *arg = (void __user *)argument;
	int ret;

	/* Guest memory is that of one process. */
	if (vm->mm != current->mm)
		return -EIO;
	switch (cmd) {
	case KVM_CHECK_EXTENSION:
		return tenon_check_extension(vm, argument);
	case KVM_CREATE_VCPU:
		return argument > U32_MAX ? -EINVAL : tenon_vcpu_create(vm, argument);
	case KVM_SET_USER_MEMORY_REGION:
		return WITH_ARG(struct kvm_userspace_memory_region, mem,
				tenon_set_memory(vm, &mem));
	case KVM_CLEAR_DIRTY_LOG:
		return WITH_ARG(struct kvm_clear_dirty_log, log, tenon_clear_dirty_log(vm, &log));
	case KVM_GET_DIRTY_LOG:
		return WITH_ARG(struct kvm_dirty_log, log, tenon_get_dirty_log(vm, &log));
	case KVM_ENABLE_CAP:
		return WITH_ARG(struct kvm_enable_cap, cap, vm_enable_cap(vm, &cap));
	case KVM_SET_GSI_ROUTING:
		return vm_gsi_routing(vm, arg);
	case KVM_IRQ_LINE:
		return WITH_ARG(struct kvm_irq_level, irq, vm_irq_line(vm, &irq, false));
	case KVM_IRQ_LINE_STATUS:
		return WITH_ARG_OUT(struct kvm_irq_level, irq, vm_irq_line(vm, &irq, true));
	case KVM_GET_IRQCHIP:
		return vm_irqchip_ioctl(vm, false, arg);
	case KVM_SET_IRQCHIP:
		return vm_irqchip_ioctl(vm, true, arg);
	case KVM_GET_PIT2:
		return WITH_ARG_OUT(struct kvm_pit_state2, pit, tenon_pit_get(vm, &pit));
	case KVM_SET_PIT2:
		return WITH_ARG(struct kvm_pit_state2, pit, tenon_pit_set(vm, &pit));
	case KVM_REINJECT_CONTROL:
		return WITH_ARG(struct kvm_reinject_control, control, vm_reinject(vm, &control));
	case KVM_IRQFD:
		return WITH_ARG(struct kvm_irqfd, irqfd, tenon_irqfd(vm, &irqfd));
	case KVM_IOEVENTFD:
		return WITH_ARG(struct kvm_ioeventfd, ioeventfd, tenon_ioeventfd(vm, &ioeventfd));
	case KVM_SIGNAL_MSI: {
		struct kvm_msi msi;

		if (copy_from_user(&msi, arg, sizeof(msi)))
			return -EFAULT;
		if (vm->irqchip == TENON_IRQCHIP_NONE || msi.flags || !tenon_msi_valid(vm, msi.address_hi))
			return -EINVAL;
		ret = tenon_msi(vm, msi.address_lo | (u64)msi.address_hi << 32, msi.data);
		/* One that was pending already has been delivered, too; 0 says that the guest does not take it. */
		return ret == IRQ_COALESCED ? 1 : ret == IRQ_NOT_DELIVERED ? 0 : ret;
	}
	case KVM_REGISTER_COALESCED_MMIO:
		return WITH_ARG(struct kvm_coalesced_mmio_zone, zone,
				tenon_coalesced(vm, &zone, true));
	case KVM_UNREGISTER_COALESCED_MMIO:
		return WITH_ARG(struct kvm_coalesced_mmio_zone, zone,
				tenon_coalesced(vm, &zone, false));
	case KVM_GET_CLOCK:
		return vm_get_clock(vm, arg);
	case KVM_SET_CLOCK:
		return vm_set_clock(vm, arg);
	default:
		return vm_ioctl_locked(vm, cmd, argument);
	}
}

static int vm_release(struct inode *inode, struct file *file)
{
	tenon_vm_put(file->private_data);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.release = vm_release,
	.unlocked_ioctl = vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

int tenon_vm_create(unsigned long type)
{
	struct tenon_vm *vm;
	int ret;

	if (type)
		return -EINVAL;
	ret = tenon_virt_get();
	if (ret)
		return ret;
	ret = -ENOMEM;
	vm = kvzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		goto err_virt;
	refcount_set(&vm->refs, 1);
	mutex_init(&vm->lock);
	mutex_init(&vm->slots_lock);
	spin_lock_init(&vm->mmu_lock);
	mutex_init(&vm->irqfd_mutex);
	spin_lock_init(&vm->irqfd_lock);
	spin_lock_init(&vm->ring_lock);
	raw_spin_lock_init(&vm->clock_lock);
	INIT_LIST_HEAD(&vm->irqfds);
	INIT_LIST_HEAD(&vm->ioeventfds);
	INIT_LIST_HEAD(&vm->coalesced);
	vm->tsc_khz = tsc_khz;
	vm->mm = current->mm;
	mmgrab(vm->mm);
	tenon_clock_init(vm);
	ret = init_srcu_struct(&vm->srcu);
	if (ret)
		goto err_mm;
	ret = init_srcu_struct(&vm->irq_srcu);
	if (ret)
		goto err_srcu;
	ret = tenon_slots_init(vm);
	if (ret)
		goto err_irq_srcu;
	ret = tenon_tdp_init(vm);
	if (ret)
		goto err_slots;
	__module_get(THIS_MODULE);
	tenon_debugfs_vm(vm);
	ret = tenon_tdp_notifier(vm);
	if (ret) {
		tenon_vm_put(vm);
		return ret;
	}
	/* The file comes last; from here on vm_destroy() is the way back. */
	ret = anon_inode_getfd("tenon-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (ret < 0)
		tenon_vm_put(vm);
	return ret;

err_slots:
	tenon_slots_destroy(vm);
err_irq_srcu:
	cleanup_srcu_struct(&vm->irq_srcu);
err_srcu:
	cleanup_srcu_struct(&vm->srcu);
err_mm:
	mmdrop(vm->mm);
	kvfree(vm);
err_virt:
	tenon_virt_put();
	return ret;
}
