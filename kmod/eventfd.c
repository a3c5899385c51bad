// SPDX-License-Identifier: GPL-2.0-only
/*
 * eventfd.c - irqfd (an eventfd raises a GSI), ioeventfd (a guest's write signals an eventfd),
 * coalesced MMIO
 *
 * An irqfd is woken with its eventfd's lock held and interrupts off; what it does there takes no
 * sleeping lock. It goes away by KVM_IRQFD_FLAG_DEASSIGN, with its VM, or when the last writer
 * closes the eventfd (POLLHUP): the last in a worker, as nothing may be freed under the lock.

 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/list.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "compat/compat.h"
#include "tenon.h"
#include "vendor.h"

struct tenon_irqfd {
	struct tenon_vm *vm;
	struct list_head list; /* vm->irqfds, under irqfd_lock */
	struct eventfd_ctx *event;
	struct eventfd_ctx *resample; /* or NULL */
	u32 gsi;
	wait_queue_entry_t wait;
	poll_table poll;
	struct work_struct shutdown;
	bool active;
};

struct tenon_ioeventfd {
	struct list_head list;
	struct eventfd_ctx *event;
	u64 addr;
	u64 match;
	u32 len; /* 0: any */
	bool pio;
	bool datamatch;
};

struct tenon_zone {
	struct list_head list;
	u64 addr;
	u32 size;
	bool pio;
};

static struct workqueue_struct *irqfd_wq;

int tenon_eventfd_setup(void)
{
	irqfd_wq = alloc_workqueue("tenon-irqfd", 0, 0);
	return irqfd_wq ? 0 : -ENOMEM;
}

void tenon_eventfd_teardown(void)
{
	destroy_workqueue(irqfd_wq);
}

/* ---- irqfd ---- */

/* Is another one left that holds this GSI until its EOI? */
static bool irqfd_resampled(struct tenon_vm *vm, u32 gsi)
{
	const struct tenon_irqfd *irqfd;
	bool found = false;

	spin_lock_irq(&vm->irqfd_lock);
	list_for_each_entry(irqfd, &vm->irqfds, list) {
		if (irqfd->resample && irqfd->gsi == gsi)
			found = true;
	}
	spin_unlock_irq(&vm->irqfd_lock);
	return found;
}

static void irqfd_shutdown(struct work_struct *work)
{
	struct tenon_irqfd *irqfd = container_of(work, struct tenon_irqfd, shutdown);
	u64 count;

	/* No wake-up comes after this, and none is under way. */
	eventfd_ctx_remove_wait_queue(irqfd->event, &irqfd->wait, &count);
	/* Nor is it found by tenon_resample(). */
	synchronize_srcu(&irqfd->vm->irq_srcu);
	if (irqfd->resample) {
		/* Nobody is left who would let go of the line. */
		if (!irqfd_resampled(irqfd->vm, irqfd->gsi))
			tenon_set_gsi(irqfd->vm, irqfd->gsi, TENON_SOURCE_RESAMPLE, false);
		eventfd_ctx_put(irqfd->resample);
	}
	eventfd_ctx_put(irqfd->event);
	kfree(irqfd);
}

/* Under irqfd_lock. */
static void irqfd_deactivate(struct tenon_irqfd *irqfd)
{
	if (!irqfd->active)
		return;
	irqfd->active = false;
	irqfd->vm->nr_irqfds--;
	list_del_rcu(&irqfd->list);
	queue_work(irqfd_wq, &irqfd->shutdown);
}

static int irqfd_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct tenon_irqfd *irqfd = container_of(wait, struct tenon_irqfd, wait);
	struct tenon_vm *vm = irqfd->vm;
	const __poll_t flags = key_to_poll(key);
	unsigned long irq;
	int ret = 0;
	u64 count;

	if (flags & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->event, &count);
		if (irqfd->resample) {
			tenon_set_gsi(vm, irqfd->gsi, TENON_SOURCE_RESAMPLE, true);
		} else {
			tenon_set_gsi(vm, irqfd->gsi, TENON_SOURCE_IRQFD, true);
			tenon_set_gsi(vm, irqfd->gsi, TENON_SOURCE_IRQFD, false);
		}
		ret = 1;
	}
	if (flags & EPOLLHUP) {
		spin_lock_irqsave(&vm->irqfd_lock, irq);
		irqfd_deactivate(irqfd);
		spin_unlock_irqrestore(&vm->irqfd_lock, irq);
	}
	return ret;
}

static void irqfd_queue(struct file *file, wait_queue_head_t *head, poll_table *poll)
{
	struct tenon_irqfd *irqfd = container_of(poll, struct tenon_irqfd, poll);

	add_wait_queue_priority(head, &irqfd->wait);
}

static int irqfd_assign(struct tenon_vm *vm, const struct kvm_irqfd *args)
{
	struct tenon_irqfd *irqfd, *other;
	struct file *file;
	__poll_t events;
	int ret = 0;

	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd)
		return -ENOMEM;
	irqfd->vm = vm;
	irqfd->gsi = args->gsi;
	irqfd->active = true;
	INIT_WORK(&irqfd->shutdown, irqfd_shutdown);
	init_waitqueue_func_entry(&irqfd->wait, irqfd_wakeup);
	init_poll_funcptr(&irqfd->poll, irqfd_queue);

	file = eventfd_fget(args->fd);
	if (IS_ERR(file)) {
		ret = PTR_ERR(file);
		goto err_free;
	}
	irqfd->event = eventfd_ctx_fileget(file);
	if (IS_ERR(irqfd->event)) {
		ret = PTR_ERR(irqfd->event);
		goto err_file;
	}
	if (args->flags & KVM_IRQFD_FLAG_RESAMPLE) {
		irqfd->resample = eventfd_ctx_fdget(args->resamplefd);
		if (IS_ERR(irqfd->resample)) {
			ret = PTR_ERR(irqfd->resample);
			goto err_event;
		}
	}

	/*
	 * Not to be deassigned before it listens; and POLLHUP cannot come while the file is held.
	 */
	mutex_lock(&vm->irqfd_mutex);
	spin_lock_irq(&vm->irqfd_lock);
	list_for_each_entry(other, &vm->irqfds, list) {
		if (other->event == irqfd->event)
			ret = -EBUSY;
	}
	if (vm->nr_irqfds >= TENON_MAX_IRQFDS)
		ret = -ENOSPC;
	if (ret) {
		spin_unlock_irq(&vm->irqfd_lock);
		mutex_unlock(&vm->irqfd_mutex);
		goto err_resample;
	}
	list_add_tail_rcu(&irqfd->list, &vm->irqfds);
	vm->nr_irqfds++;
	spin_unlock_irq(&vm->irqfd_lock);

	/* Listen, then look at what has come before. */
	events = vfs_poll(file, &irqfd->poll);
	if (events & EPOLLIN)
		tenon_set_gsi(vm, irqfd->gsi,
			      irqfd->resample ? TENON_SOURCE_RESAMPLE : TENON_SOURCE_IRQFD, true);
	if ((events & EPOLLIN) && !irqfd->resample)
		tenon_set_gsi(vm, irqfd->gsi, TENON_SOURCE_IRQFD, false);
	mutex_unlock(&vm->irqfd_mutex);
	fput(file);
	return 0;

err_resample:
	if (irqfd->resample)
		eventfd_ctx_put(irqfd->resample);
err_event:
	eventfd_ctx_put(irqfd->event);
err_file:
	fput(file);
err_free:
	kfree(irqfd);
	return ret;
}

static int irqfd_deassign(struct tenon_vm *vm, const struct kvm_irqfd *args)
{
	struct eventfd_ctx *event = eventfd_ctx_fdget(args->fd);
	struct tenon_irqfd *irqfd, *next;

	if (IS_ERR(event))
		return PTR_ERR(event);
	mutex_lock(&vm->irqfd_mutex);
	spin_lock_irq(&vm->irqfd_lock);
	list_for_each_entry_safe(irqfd, next, &vm->irqfds, list) {
		if (irqfd->event == event && irqfd->gsi == args->gsi)
			irqfd_deactivate(irqfd);
	}
	spin_unlock_irq(&vm->irqfd_lock);
	mutex_unlock(&vm->irqfd_mutex);
	eventfd_ctx_put(event);
	/* When the call returns, none is on its way any more. */
	flush_workqueue(irqfd_wq);
	return 0;
}

int tenon_irqfd(struct tenon_vm *vm, const struct kvm_irqfd *args)
{
	if (args->flags & ~(u32)(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	if (vm->irqchip == TENON_IRQCHIP_NONE || args->gsi >= TENON_MAX_ROUTES)
		return -EINVAL;
	if (args->flags & KVM_IRQFD_FLAG_DEASSIGN)
		return irqfd_deassign(vm, args);
	if ((args->flags & KVM_IRQFD_FLAG_RESAMPLE) && vm->irqchip != TENON_IRQCHIP_KERNEL)
		return -EINVAL;
	return irqfd_assign(vm, args);
}

/*
 * Level-triggered pins were acknowledged: let their lines fall, and ask the sources. Atomic
 * context.
 */
void tenon_resample(struct tenon_vm *vm, u32 pins)
{
	struct tenon_irqfd *irqfd;
	int idx;

	if (list_empty(&vm->irqfds))
		return;
	idx = srcu_read_lock(&vm->irq_srcu);
	list_for_each_entry_rcu(irqfd, &vm->irqfds, list, srcu_read_lock_held(&vm->irq_srcu)) {
		if (!irqfd->resample || !(pins & tenon_gsi_pins(vm, irqfd->gsi)))
			continue;
		tenon_set_gsi(vm, irqfd->gsi, TENON_SOURCE_RESAMPLE, false);
		compat_eventfd_signal(irqfd->resample);
	}
	srcu_read_unlock(&vm->irq_srcu, idx);
}

/* ---- ioeventfd ---- */

static bool ioeventfd_matches(const struct tenon_ioeventfd *p, u64 addr, unsigned int len,
			      const void *data)
{
	u64 value = 0;

	if (p->addr != addr)
		return false;
	if (!p->len)
		return true;
	if (p->len != len)
		return false;
	if (!p->datamatch)
		return true;
	memcpy(&value, data, len);
	return value == p->match;
}

bool tenon_ioeventfd_write(struct tenon_vm *vm, bool pio, u64 addr, unsigned int len,
			   const void *data)
{
	const struct tenon_ioeventfd *p;
	bool found = false;
	int idx;

	if (list_empty(&vm->ioeventfds))
		return false;
	idx = srcu_read_lock(&vm->srcu);
	list_for_each_entry_rcu(p, &vm->ioeventfds, list, srcu_read_lock_held(&vm->srcu)) {
		if (p->pio == pio && ioeventfd_matches(p, addr, len, data)) {
			compat_eventfd_signal(p->event);
			found = true;
			break;
		}
	}
	srcu_read_unlock(&vm->srcu, idx);
	return found;
}

static bool ioeventfd_collides(const struct tenon_ioeventfd *a, const struct tenon_ioeventfd *b)
{
	return a->pio == b->pio && a->addr == b->addr &&
	       (!a->len || !b->len ||
		(a->len == b->len && (!a->datamatch || !b->datamatch || a->match == b->match)));
}

int tenon_ioeventfd(struct tenon_vm *vm, const struct kvm_ioeventfd *args)
{
	const bool add = !(args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN);
	struct tenon_ioeventfd *p, *q;
	int ret = -ENOENT;
	u64 end;

	if (args->flags & ~(u32)(KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO |
				 KVM_IOEVENTFD_FLAG_DEASSIGN))
		return -EINVAL;
	if (args->len && args->len != 1 && args->len != 2 && args->len != 4 && args->len != 8)
		return -EINVAL;
	if (check_add_overflow(args->addr, (u64)args->len, &end))
		return -EINVAL;
	if (!args->len && (args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH))
		return -EINVAL;

	p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	if (!p)
		return -ENOMEM;
	p->addr = args->addr;
	p->len = args->len;
	p->pio = args->flags & KVM_IOEVENTFD_FLAG_PIO;
	p->datamatch = args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH;
	p->match = args->datamatch;
	p->event = eventfd_ctx_fdget(args->fd);
	if (IS_ERR(p->event)) {
		ret = PTR_ERR(p->event);
		kfree(p);
		return ret;
	}

	mutex_lock(&vm->slots_lock);
	if (add) {
		ret = vm->nr_ioeventfds >= TENON_MAX_IOEVENTFDS ? -ENOSPC : 0;
		list_for_each_entry(q, &vm->ioeventfds, list) {
			if (ioeventfd_collides(p, q))
				ret = -EEXIST;
		}
		if (!ret) {
			list_add_tail_rcu(&p->list, &vm->ioeventfds);
			vm->nr_ioeventfds++;
			mutex_unlock(&vm->slots_lock);
			return 0;
		}
	} else {
		list_for_each_entry(q, &vm->ioeventfds, list) {
			if (q->event != p->event || q->pio != p->pio || q->addr != p->addr ||
			    q->len != p->len || q->datamatch != p->datamatch ||
			    (q->datamatch && q->match != p->match))
				continue;
			list_del_rcu(&q->list);
			vm->nr_ioeventfds--;
			synchronize_srcu(&vm->srcu);
			eventfd_ctx_put(q->event);
			kfree(q);
			ret = 0;
			break;
		}
	}
	mutex_unlock(&vm->slots_lock);
	eventfd_ctx_put(p->event);
	kfree(p);
	return ret;
}

/* ---- coalesced MMIO: writes that user space reads later, from a ring ---- */

#define RING_MAX \
	((PAGE_SIZE - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

int tenon_coalesced(struct tenon_vm *vm, const struct kvm_coalesced_mmio_zone *zone, bool add)
{
	struct tenon_zone *z, *next;

	if (zone->pio > 1)
		return -EINVAL;
	if (add) {
		z = kzalloc(sizeof(*z), GFP_KERNEL_ACCOUNT);
		if (!z)
			return -ENOMEM;
		z->addr = zone->addr;
		z->size = zone->size;
		z->pio = zone->pio;
		mutex_lock(&vm->slots_lock);
		if (vm->nr_ioeventfds >= TENON_MAX_IOEVENTFDS) {
			mutex_unlock(&vm->slots_lock);
			kfree(z);
			return -ENOSPC;
		}
		vm->nr_ioeventfds++;
		list_add_tail_rcu(&z->list, &vm->coalesced);
		mutex_unlock(&vm->slots_lock);
		return 0;
	}
	mutex_lock(&vm->slots_lock);
	list_for_each_entry_safe(z, next, &vm->coalesced, list) {
		if (z->pio != zone->pio || z->addr < zone->addr ||
		    z->addr - zone->addr > zone->size ||
		    z->size > zone->size - (z->addr - zone->addr))
			continue;
		list_del_rcu(&z->list);
		vm->nr_ioeventfds--;
		synchronize_srcu(&vm->srcu);
		kfree(z);
	}
	mutex_unlock(&vm->slots_lock);
	return 0;
}

bool tenon_coalesced_write(struct tenon_vcpu *vcpu, bool pio, u64 addr, unsigned int len,
			   const void *data)
{
	struct tenon_vm *vm = vcpu->vm;
	struct kvm_coalesced_mmio_ring *ring;
	const struct tenon_zone *z;
	bool found = false;
	u32 last, next;
	int idx;

	if (list_empty(&vm->coalesced) || len > 8)
		return false;
	idx = srcu_read_lock(&vm->srcu);
	list_for_each_entry_rcu(z, &vm->coalesced, list, srcu_read_lock_held(&vm->srcu)) {
		if (z->pio == pio && addr >= z->addr && addr - z->addr < z->size &&
		    len <= z->size - (addr - z->addr)) {
			found = true;
			break;
		}
	}
	srcu_read_unlock(&vm->srcu, idx);
	if (!found)
		return false;

	/* As with KVM, the ring of the VM is on the page of its first vCPU. */
	ring = page_address(vm->vcpu[0]->run_page[TENON_COALESCED_PAGE]);
	spin_lock(&vm->ring_lock);
	/* User space can write here, too. */
	last = READ_ONCE(ring->last);
	found = last < RING_MAX;
	if (found) {
		last = array_index_nospec(last, RING_MAX);
		next = (last + 1) % RING_MAX;
		found = next != READ_ONCE(ring->first);
	}
	if (found) {
		struct kvm_coalesced_mmio *entry = &ring->coalesced_mmio[last];

		entry->phys_addr = addr;
		entry->len = len;
		memcpy(entry->data, data, len);
		entry->pio = pio;
		/* User space reads the entry after it has seen the index. */
		smp_wmb();
		WRITE_ONCE(ring->last, next);
	}
	spin_unlock(&vm->ring_lock);
	return found;
}

/* The VM has no files left, so nothing is added or matched any more. */
void tenon_eventfds_destroy(struct tenon_vm *vm)
{
	struct tenon_ioeventfd *p, *pn;
	struct tenon_irqfd *irqfd, *in;
	struct tenon_zone *z, *zn;

	spin_lock_irq(&vm->irqfd_lock);
	list_for_each_entry_safe(irqfd, in, &vm->irqfds, list) irqfd_deactivate(irqfd);
	spin_unlock_irq(&vm->irqfd_lock);
	flush_workqueue(irqfd_wq);

	list_for_each_entry_safe(p, pn, &vm->ioeventfds, list) {
		list_del(&p->list);
		eventfd_ctx_put(p->event);
		kfree(p);
	}
	list_for_each_entry_safe(z, zn, &vm->coalesced, list) {
		list_del(&z->list);
		kfree(z);
	}
}
