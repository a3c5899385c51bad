/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * soft-irq.h - the interrupt chips of emul/irqchip, wired up for the software CPU
 *
 * One lock over all chips of the VM; it nests inside the device lock and outside the loop's. The chips' timers are the
 * launcher's own.
 */
#ifndef TENON_SOFT_IRQ_H
#define TENON_SOFT_IRQ_H

#include "../emul/include/tenon/emul-x86.h"
#include "../emul/irqchip/lapic.h"
#include "event.h"
#include "soft-chips.h"
#include "vm.h"

struct soft_vcpu {
	struct vcpu *vcpu;
	struct emul_vcpu *emul;		/* NULL until the vCPU's thread has created it */

	/* local APIC; under soft_vm.lock */
	struct lapic lapic;
	struct lapic_page page;
	struct timer timer;

	/* what the thread has to look at; under soft_vm.lock, event tells of changes */
	struct event event;
	bool wake;			/* something happened since it last looked */
	bool kicked;			/* leave accel_ops.run() */
	bool init, sipi;
	u8 sipi_vector;
	bool wait_sipi;			/* stopped until a start-up IPI comes */
	bool dead;			/* halted with interrupts off */
};

struct soft_vm {
	struct vm *vm;
	struct emul_vm *emul;
	u64 start;			/* guest_ns() at which the TSC was 0 */

	pthread_mutex_t lock;
	struct chips chips;
	struct lapic **lapics;
	struct soft_vcpu *vcpu;
	unsigned int nr_vcpus;
	int perf_map, trace;		/* files, 0: none */
};

/* Frequency of the guest's TSC: nanoseconds, so that the guest's clock can't drift from the host's. */
#define SOFT_TSC_HZ	1000000000ULL

static inline u64 soft_tsc(const struct soft_vm *s)
{
	return guest_ns(&s->vm->loop) - s->start;
}

int soft_irq_init(struct soft_vm *s);
void soft_irq_exit(struct soft_vm *s);

/* Was @addr a register of the chips? Then the access is done. */
bool soft_irq_access(struct soft_vm *s, struct soft_vcpu *v, enum emul_space space, u64 addr, void *data, unsigned int len,
		     bool write);
void soft_irq_line(struct soft_vm *s, unsigned int gsi, bool level);
void soft_irq_msi(struct soft_vm *s, u64 addr, u32 data);

/* The members of struct emul_ops that the chips answer. */
int soft_intr_ack(void *opaque, struct emul_vcpu *ev);
bool soft_intr_pending(void *opaque, struct emul_vcpu *ev);
u8 soft_tpr_get(void *opaque, struct emul_vcpu *ev);
void soft_tpr_set(void *opaque, struct emul_vcpu *ev, u8 tpr);
bool soft_msr_read(void *opaque, struct emul_vcpu *ev, u32 msr, u64 *val);
bool soft_msr_write(void *opaque, struct emul_vcpu *ev, u32 msr, u64 val);

/* Tell the vCPU's thread that something happened. With soft_vm.lock held. */
void soft_wake(struct soft_vcpu *v);

#endif /* TENON_SOFT_IRQ_H */
