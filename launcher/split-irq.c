// SPDX-License-Identifier: GPL-2.0-only
/*
 * split-irq.c - see split-irq.h
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "split-irq.h"

/* A message of the IOAPIC in the form of an MSI: Intel SDM vol. 3, "Message Signalled Interrupts". */
static struct kvm_msi msi_of(const struct irq_msg *msg)
{
	return (struct kvm_msi) {
		.address_lo = 0xfee00000u | (msg->dest & 0xff) << 12 | (msg->logical ? BIT(2) : 0),
		.data = msg->vector | (u32)msg->delivery << 8 | (msg->level ? BIT(15) | BIT(14) : 0),
	};
}

static int split_deliver(void *ctx, const struct irq_msg *msg)
{
	struct split_irq *s = ctx;
	struct kvm_msi msi = msi_of(msg);
	int ret;

	/* Pin 0 in virtual wire mode; here the PIC has a wire of its own. */
	if (msg->delivery == IRQ_EXTINT)
		return IRQ_NOT_DELIVERED;
	ret = ioctl(s->fd, KVM_SIGNAL_MSI, &msi);
	return ret < 0 ? IRQ_NOT_DELIVERED : ret;
}

/* From the routes of the first GSIs the kernel knows which vectors to report the acknowledgement of. */
static void split_changed(void *ctx, unsigned int first, unsigned int last)
{
	struct split_irq *s = ctx;
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[IOAPIC_NR_PINS];
	} routes = { 0 };

	(void)first;
	(void)last;
	for (unsigned int pin = 0; pin < IOAPIC_NR_PINS; pin++) {
		struct irq_msg msg;
		struct kvm_msi msi;

		if (!ioapic_pin_msg(&s->chips.ioapic, pin, &msg) || msg.delivery == IRQ_EXTINT)
			continue;
		msi = msi_of(&msg);
		routes.entry[routes.head.nr++] = (struct kvm_irq_routing_entry) {
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = msi.address_lo, .data = msi.data },
		};
	}
	ioctl(s->fd, KVM_SET_GSI_ROUTING, &routes);
}

static void split_intr(void *ctx, bool level)
{
	struct split_irq *s = ctx;

	if (level)
		s->vm->config.accel->kick(&s->vm->vcpu[0]);
}

static const struct chips_ops split_ops = {
	.deliver	= split_deliver,
	.changed	= split_changed,
	.intr		= split_intr,
};

void split_irq_before_run(struct split_irq *s, int vcpu_fd, struct kvm_run *run)
{
	struct kvm_interrupt irq;

	pthread_mutex_lock(&s->lock);
	if (pic_output(&s->chips.pic) && run->ready_for_interrupt_injection) {
		irq.irq = pic_ack(&s->chips.pic);
		ioctl(vcpu_fd, KVM_INTERRUPT, &irq);
		run->ready_for_interrupt_injection = 0;
	}
	run->request_interrupt_window = pic_output(&s->chips.pic);
	pthread_mutex_unlock(&s->lock);
}

void split_irq_eoi(struct split_irq *s, u8 vector)
{
	pthread_mutex_lock(&s->lock);
	ioapic_eoi(&s->chips.ioapic, vector);
	pthread_mutex_unlock(&s->lock);
}

struct split_irq *split_irq_new(struct vm *vm, int fd)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { IOAPIC_NR_PINS } };
	struct split_irq *s;

	if (ioctl(fd, KVM_ENABLE_CAP, &cap) < 0)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->vm = vm;
	s->fd = fd;
	pthread_mutex_init(&s->lock, NULL);
	chips_init(&s->chips, &vm->loop, &s->lock, &split_ops, s);
	return s;
}

void split_irq_free(struct split_irq *s)
{
	if (!s)
		return;
	chips_exit(&s->chips);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
