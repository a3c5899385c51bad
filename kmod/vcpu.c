// SPDX-License-Identifier: GPL-2.0-only
/*
 * vcpu.c - a vCPU: its file, its life, and when it is on a CPU

 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "tenon.h"
#include "vendor.h"

/* ---- on and off a CPU ---- */

static void vcpu_on(struct tenon_vcpu *vcpu, int cpu)
{
	WRITE_ONCE(vcpu->cpu, cpu);
	tenon_vendor->vcpu_load(vcpu, cpu);
}

static void vcpu_off(struct tenon_vcpu *vcpu)
{
	tenon_vendor->vcpu_put(vcpu);
	WRITE_ONCE(vcpu->cpu, -1);
}

static void vcpu_sched_in(struct preempt_notifier *notifier, int cpu)
{
	struct tenon_vcpu *vcpu = container_of(notifier, struct tenon_vcpu, preempt);

	WRITE_ONCE(vcpu->preempted, false);
	vcpu_on(vcpu, cpu);
	if (vcpu->pv_steal_time & 1)
		set_bit(TENON_REQ_STEAL, &vcpu->requests);
}

static void vcpu_sched_out(struct preempt_notifier *notifier, struct task_struct *next)
{
	struct tenon_vcpu *vcpu = container_of(notifier, struct tenon_vcpu, preempt);

	WRITE_ONCE(vcpu->preempted, task_is_running(current));
	if (vcpu->preempted && (vcpu->pv_steal_time & 1))
		tenon_steal_preempted(vcpu);
	vcpu_off(vcpu);
}

static struct preempt_ops vcpu_preempt_ops = {
	.sched_in = vcpu_sched_in,
	.sched_out = vcpu_sched_out,
};

void tenon_vcpu_load(struct tenon_vcpu *vcpu)
{
	int cpu = get_cpu();

	preempt_notifier_register(&vcpu->preempt);
	vcpu_on(vcpu, cpu);
	put_cpu();
}

void tenon_vcpu_put(struct tenon_vcpu *vcpu)
{
	preempt_disable();
	vcpu_off(vcpu);
	preempt_notifier_unregister(&vcpu->preempt);
	preempt_enable();
}

/* Whose thread it is, for those who want to lend it theirs. */
static void vcpu_owner(struct tenon_vcpu *vcpu)
{
	struct pid *old = rcu_dereference_protected(vcpu->pid, lockdep_is_held(&vcpu->mutex));

	if (likely(old == task_pid(current)))
		return;
	rcu_assign_pointer(vcpu->pid, get_task_pid(current, PIDTYPE_PID));
	if (old)
		synchronize_rcu();
	put_pid(old);
}

/* ---- life ---- */

static enum hrtimer_restart vcpu_timer(struct hrtimer *timer)
{
	struct tenon_vcpu *vcpu = container_of(timer, struct tenon_vcpu, timer);

	tenon_make_request(vcpu, TENON_REQ_TIMER);
	tenon_kick(vcpu);
	return HRTIMER_NORESTART;
}

void tenon_vcpu_reset(struct tenon_vcpu *vcpu, bool init)
{
	tenon_vendor->vcpu_reset(vcpu, init);
	memset(vcpu->dr, 0, sizeof(vcpu->dr));
	vcpu->cr8 = 0;
	vcpu->exception.pending = false;
	vcpu->injected.pending = false;
	vcpu->nmi_pending = 0;
	vcpu->nmi_masked = false;
	vcpu->nmi_shadow_iret = false;
	atomic_set(&vcpu->nmi_queued, 0);
	vcpu->pv_eoi_pending = false;
	if (!init) {
		vcpu->xcr0 = 1;
		vcpu->pkru = 0;
		vcpu->msr_misc_enable = 1; /* fast strings */
		tenon_fpu_reset(vcpu);
	}
	if (vcpu->lapic && init)
		lapic_reset(vcpu->lapic, LAPIC_RESET_INIT);
}

void tenon_vcpu_destroy(struct tenon_vcpu *vcpu)
{
	unsigned int n;

	hrtimer_cancel(&vcpu->timer);
	tenon_tdp_vcpu_free(vcpu);
	tenon_lapic_destroy(vcpu);
	tenon_vendor->vcpu_destroy(vcpu);
	tenon_fpu_destroy(vcpu);
	put_pid(rcu_dereference_protected(vcpu->pid, 1));
	kvfree(vcpu->cpuid);
	kfree(vcpu->mce_banks);
	for (n = 0; n < TENON_RUN_PAGES; n++) {
		if (vcpu->run_page[n])
			__free_page(vcpu->run_page[n]);
	}
	mutex_destroy(&vcpu->mutex);
	kfree(vcpu);
}

static vm_fault_t vcpu_mmap_fault(struct vm_fault *vmf)
{
	struct tenon_vcpu *vcpu = vmf->vma->vm_file->private_data;
	struct page *page;

	if (vmf->pgoff >= TENON_RUN_PAGES)
		return VM_FAULT_SIGBUS;
	page = vcpu->run_page[array_index_nospec(vmf->pgoff, TENON_RUN_PAGES)];
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct vcpu_vm_ops = {
	.fault = vcpu_mmap_fault,
};

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_pgoff >= TENON_RUN_PAGES || vma_pages(vma) > TENON_RUN_PAGES - vma->vm_pgoff)
		return -EINVAL;
	vma->vm_ops = &vcpu_vm_ops;
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct tenon_vcpu *vcpu = file->private_data;

	tenon_vm_put(vcpu->vm);
	return 0;
}

static int vcpu_interrupt(struct tenon_vcpu *vcpu, const struct kvm_interrupt *irq)
{
	if (irq->irq >= 256)
		return -EINVAL;
	if (vcpu->vm->irqchip == TENON_IRQCHIP_KERNEL)
		return -ENXIO;
	if (vcpu->user_irq >= 0)
		return -EEXIST;
	vcpu->user_irq = irq->irq;
	tenon_make_request(vcpu, TENON_REQ_KICK);
	return 0;
}

static int vcpu_sigmask(struct tenon_vcpu *vcpu, struct kvm_signal_mask __user *arg)
{
	struct kvm_signal_mask head;
	sigset_t set;

	if (!arg) {
		vcpu->sigset_active = false;
		return 0;
	}
	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.len != sizeof(set))
		return -EINVAL;
	if (copy_from_user(&set, arg->sigset, sizeof(set)))
		return -EFAULT;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	vcpu->sigset = set;
	vcpu->sigset_active = true;
	return 0;
}

static int vcpu_nmi(struct tenon_vcpu *vcpu)
{
	/* One in service, one latched. */
	if (atomic_inc_return(&vcpu->nmi_queued) > 2)
		atomic_set(&vcpu->nmi_queued, 2);
	tenon_make_request(vcpu, TENON_REQ_NMI);
	tenon_kick(vcpu);
	return 0;
}

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long argument)
{
	struct tenon_vcpu *vcpu = file->private_data;
	void __user *arg = (void __user *)argument;
	long ret;

	if (vcpu->vm->mm != current->mm)
		return -EIO;
	if (_IOC_TYPE(cmd) != KVMIO)
		return -EINVAL;
	if (mutex_lock_killable(&vcpu->mutex))
		return -EINTR;
	switch (cmd) {
	case KVM_RUN:
		vcpu_owner(vcpu);
		ret = argument ? -EINVAL : tenon_vcpu_run(vcpu);
		break;
	case KVM_INTERRUPT: {
		struct kvm_interrupt irq;

		ret = copy_from_user(&irq, arg, sizeof(irq)) ? -EFAULT : vcpu_interrupt(vcpu, &irq);
		break;
	}
	case KVM_NMI:
		ret = vcpu_nmi(vcpu);
		break;
	case KVM_SET_SIGNAL_MASK:
		ret = vcpu_sigmask(vcpu, arg);
		break;
	case KVM_SET_CPUID2:
		tenon_vcpu_load(vcpu);
		ret = tenon_cpuid_set(vcpu, arg);
		tenon_vcpu_put(vcpu);
		break;
	case KVM_GET_CPUID2:
		tenon_vcpu_load(vcpu);
		ret = tenon_cpuid_get(vcpu, arg);
		tenon_vcpu_put(vcpu);
		break;
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		tenon_vcpu_load(vcpu);
		ret = tenon_msrs_io(vcpu, arg, cmd == KVM_SET_MSRS);
		tenon_vcpu_put(vcpu);
		break;
	case KVM_GET_FPU:
	case KVM_SET_FPU:
	case KVM_GET_XSAVE:
	case KVM_GET_XSAVE2:
	case KVM_SET_XSAVE:
	case KVM_GET_XCRS:
	case KVM_SET_XCRS:
		ret = tenon_fpu_ioctl(vcpu, cmd, arg);
		break;
	default:
		/* Not every vendor's state can be reached from another CPU. */
		tenon_vcpu_load(vcpu);
		ret = tenon_state_ioctl(vcpu, cmd, arg);
		tenon_vcpu_put(vcpu);
		break;
	}
	mutex_unlock(&vcpu->mutex);
	return ret;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.release = vcpu_release,
	.unlocked_ioctl = vcpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};

static struct tenon_vcpu *vcpu_alloc(struct tenon_vm *vm, u32 id)
{
	struct tenon_vcpu *vcpu = kzalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT);
	unsigned int n;

	if (!vcpu)
		return NULL;
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->cpu = -1;
	vcpu->user_irq = -1;
	vcpu->tsc_khz = vm->tsc_khz;
	vcpu->tsc_ratio = TENON_TSC_UNSCALED;
	vcpu->phys_bits = 36;
	vcpu->msr_poll_control = 1;
	tenon_cpuid_default(vcpu);
	mutex_init(&vcpu->mutex);
	rcuwait_init(&vcpu->wait);
	hrtimer_init(&vcpu->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
	vcpu->timer.function = vcpu_timer;
	preempt_notifier_init(&vcpu->preempt, &vcpu_preempt_ops);
	for (n = 0; n < TENON_RUN_PAGES; n++) {
		vcpu->run_page[n] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!vcpu->run_page[n])
			goto err_pages;
	}
	vcpu->run = page_address(vcpu->run_page[0]);
	vcpu->pio_data = page_address(vcpu->run_page[TENON_PIO_PAGE]);
	vcpu->mce_banks = kcalloc(32 * 4, sizeof(u64), GFP_KERNEL_ACCOUNT);
	if (!vcpu->mce_banks)
		goto err_pages;
	if (tenon_fpu_create(vcpu))
		goto err_mce;
	if (tenon_vendor->vcpu_create(vcpu))
		goto err_fpu;
	return vcpu;

err_fpu:
	tenon_fpu_destroy(vcpu);
err_mce:
	kfree(vcpu->mce_banks);
err_pages:
	for (n = 0; n < TENON_RUN_PAGES; n++) {
		if (vcpu->run_page[n])
			__free_page(vcpu->run_page[n]);
	}
	kfree(vcpu);
	return NULL;
}

int tenon_vcpu_create(struct tenon_vm *vm, u32 id)
{
	struct tenon_vcpu *vcpu;
	struct file *file;
	unsigned int n;
	int ret, fd;

	if (id >= TENON_MAX_VCPU_ID)
		return -EINVAL;
	vcpu = vcpu_alloc(vm, id);
	if (!vcpu)
		return -ENOMEM;

	mutex_lock(&vm->lock);
	ret = -EINVAL;
	if (!vm->max_vcpu_id)
		vm->max_vcpu_id = TENON_MAX_VCPU_ID;
	if (id >= vm->max_vcpu_id)
		goto err;
	ret = -ENOSPC;
	if (vm->nr_vcpus >= tenon_max_vcpus)
		goto err;
	ret = -EEXIST;
	for (n = 0; n < vm->nr_vcpus; n++) {
		if (vm->vcpu[n]->id == id)
			goto err;
	}
	vcpu->index = vm->nr_vcpus;
	if (vm->irqchip != TENON_IRQCHIP_NONE) {
		ret = tenon_lapic_create(vcpu);
		if (ret)
			goto err;
	}
	vcpu->mp_state = vm->irqchip != TENON_IRQCHIP_NONE && id != vm->bsp_id ?
				 KVM_MP_STATE_UNINITIALIZED :
				 KVM_MP_STATE_RUNNABLE;
	tenon_vcpu_load(vcpu);
	tenon_vcpu_reset(vcpu, false);
	tenon_write_tsc(vcpu, 0, true);
	tenon_vcpu_put(vcpu);

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		ret = fd;
		goto err;
	}
	file = anon_inode_getfile("tenon-vcpu", &vcpu_fops, vcpu, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		ret = PTR_ERR(file);
		goto err;
	}
	tenon_vm_get(vm);
	vm->vcpu[vcpu->index] = vcpu;
	/* The rest of the VM reaches it from here on; it runs only after that. Pairs with tenon_nr_vcpus(). */
	smp_store_release(&vm->nr_vcpus, vcpu->index + 1);
	if (vcpu->lapic) {
		vm->lapics[vcpu->index] = vcpu->lapic;
		/* Pairs with tenon_nr_lapics(). */
		smp_store_release(&vm->nr_lapics, vcpu->index + 1);
	}
	tenon_debugfs_vcpu(vcpu);
	mutex_unlock(&vm->lock);
	fd_install(fd, file);
	return fd;

err:
	mutex_unlock(&vm->lock);
	tenon_vcpu_destroy(vcpu);
	return ret;
}
