/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * split-irq.h - the local APICs of a KVM node, with PIC, IOAPIC and PIT in this process (--irqchip split)
 *
 * The IOAPIC's messages go into the kernel as MSIs; acknowledgements of its level-triggered ones come out as
 * KVM_EXIT_IOAPIC_EOI. The PIC reaches vCPU 0, by KVM_INTERRUPT.
 */
#ifndef TENON_SPLIT_IRQ_H
#define TENON_SPLIT_IRQ_H

#include <linux/kvm.h>

#include "soft-chips.h"
#include "vm.h"

struct split_irq {
	struct vm *vm;
	int fd;				/* of the VM on its node */
	pthread_mutex_t lock;
	struct chips chips;
};

/* NULL with errno set. The VM has no vCPU yet. */
struct split_irq *split_irq_new(struct vm *vm, int fd);
void split_irq_free(struct split_irq *s);
void split_irq_eoi(struct split_irq *s, u8 vector);
/* vCPU 0 is about to run: give it the PIC's interrupt, or ask to be told when it can take it. */
void split_irq_before_run(struct split_irq *s, int vcpu_fd, struct kvm_run *run);

#endif /* TENON_SPLIT_IRQ_H */
