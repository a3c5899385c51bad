// SPDX-License-Identifier: GPL-2.0-only
/*
 * soft-irq.c - wiring of the interrupt chips for the software CPU
 *
 *	PIC (soft-chips.c) ---- INT --- LINT0 of every local APIC
 *	IOAPIC, MSI, ICR ---- lapic_deliver() ---- local APICs ---- vCPU threads
 */
#include <stdlib.h>

#include "soft-irq.h"

static struct soft_vm *soft_of(const struct soft_vcpu *v)
{
	return v->vcpu->vm->accel;
}

/* --- local APICs --- */

void soft_wake(struct soft_vcpu *v)
{
	v->wake = true;
	event_signal(&v->event);
}

static void lapic_kick(void *ctx)
{
	struct soft_vcpu *v = ctx;

	if (v->emul)
		emul_intr(v->emul);
	soft_wake(v);
}

static void lapic_send(void *ctx, const struct irq_msg *msg)
{
	struct soft_vcpu *v = ctx;
	struct soft_vm *s = soft_of(v);

	lapic_deliver(s->lapics, s->nr_vcpus, &v->lapic, msg);
}

static void lapic_nmi(void *ctx)
{
	struct soft_vcpu *v = ctx;

	if (v->emul)
		emul_nmi(v->emul);
	soft_wake(v);
}

static void lapic_init_ipi(void *ctx)
{
	struct soft_vcpu *v = ctx;

	v->init = true;
	v->sipi = false;
	if (v->emul)
		emul_kick(v->emul);
	soft_wake(v);
}

static void lapic_sipi(void *ctx, u8 vector)
{
	struct soft_vcpu *v = ctx;

	v->sipi = true;
	v->sipi_vector = vector;
	soft_wake(v);
}

static void lapic_eoi_broadcast(void *ctx, u8 vector)
{
	struct soft_vcpu *v = ctx;

	ioapic_eoi(&soft_of(v)->chips.ioapic, vector);
}

/*
 * The guest's TSC runs in nanoseconds from soft_vm.start, plus the vCPU's own offset. A deadline in its past is due now,
 * also if it lies before soft_vm.start.
 */
static u64 lapic_deadline_ns(struct soft_vcpu *v)
{
	struct lapic_deadline d = lapic_timer_deadline(&v->lapic);
	u64 now, tsc, left;

	switch (d.clock) {
	case LAPIC_CLOCK_NS:
		return d.at;
	case LAPIC_CLOCK_TSC:
		now = guest_ns(&soft_of(v)->vm->loop);
		tsc = now - soft_of(v)->start + emul_x86_state(v->emul)->tsc_offset;
		left = d.at > tsc ? d.at - tsc : 0;
		return left > TIMER_OFF - 1 - now ? TIMER_OFF - 1 : now + left;
	default:
		return TIMER_OFF;
	}
}

static void lapic_rearm(void *ctx)
{
	struct soft_vcpu *v = ctx;

	if (v->emul)
		timer_set(&v->vcpu->vm->loop, &v->timer, lapic_deadline_ns(v));
}

static void lapic_timer_fn(void *opaque)
{
	struct soft_vcpu *v = opaque;
	struct soft_vm *s = soft_of(v);
	u64 now = guest_ns(&s->vm->loop), next;

	pthread_mutex_lock(&s->lock);
	lapic_timer_expire(&v->lapic, now, now - s->start + emul_x86_state(v->emul)->tsc_offset);
	next = lapic_deadline_ns(v);
	if (next != TIMER_OFF)
		timer_set(&s->vm->loop, &v->timer, max(next, now + CHIPS_TIMER_MIN_NS));
	pthread_mutex_unlock(&s->lock);
}

static const struct lapic_ops lapic_ops = {
	.kick	= lapic_kick,
	.send	= lapic_send,
	.nmi	= lapic_nmi,
	.init	= lapic_init_ipi,
	.sipi	= lapic_sipi,
	.eoi	= lapic_eoi_broadcast,
	.rearm	= lapic_rearm,
};

/* --- the other chips --- */

static void chips_intr(void *ctx, bool level)
{
	struct soft_vm *s = ctx;

	for (unsigned int i = 0; i < s->nr_vcpus; i++)
		lapic_set_lint(s->lapics[i], 0, level);
}

static int chips_deliver(void *ctx, const struct irq_msg *msg)
{
	struct soft_vm *s = ctx;

	return lapic_deliver(s->lapics, s->nr_vcpus, NULL, msg);
}

static const struct chips_ops chips_ops = {
	.deliver	= chips_deliver,
	.intr		= chips_intr,
};

/* --- accesses --- */

bool soft_irq_access(struct soft_vm *s, struct soft_vcpu *v, enum emul_space space, u64 addr, void *data, unsigned int len,
		     bool write)
{
	u64 base, off, val = 0;

	if (space == EMUL_PIO)
		return chips_access(&s->chips, true, addr, data, len, write);
	base = lapic_mmio_base(&v->lapic);	/* all ones: not in memory space */
	off = addr - base;
	if (base != ~0ULL && off < LAPIC_PAGE_SIZE && len <= 8) {
		pthread_mutex_lock(&s->lock);
		if (write) {
			memcpy(&val, data, len);
			lapic_write(&v->lapic, (u32)off, len, (u32)val, guest_ns(&s->vm->loop));
		} else {
			val = lapic_read(&v->lapic, (u32)off, len, guest_ns(&s->vm->loop));
			memcpy(data, &val, len);
		}
		pthread_mutex_unlock(&s->lock);
		return true;
	}
	return chips_access(&s->chips, false, addr, data, len, write);
}

void soft_irq_line(struct soft_vm *s, unsigned int gsi, bool level)
{
	chips_line(&s->chips, gsi, level);
}

void soft_irq_msi(struct soft_vm *s, u64 addr, u32 data)
{
	struct irq_msg msg;

	if (!irq_msg_from_msi(&msg, addr, data, 0))
		return;
	pthread_mutex_lock(&s->lock);
	lapic_deliver(s->lapics, s->nr_vcpus, NULL, &msg);
	pthread_mutex_unlock(&s->lock);
}

int soft_intr_ack(void *opaque, struct emul_vcpu *ev)
{
	struct soft_vcpu *v = emul_vcpu_opaque(ev);
	struct soft_vm *s = opaque;
	int vec = -1;

	pthread_mutex_lock(&s->lock);
	if (lapic_extint_pending(&v->lapic)) {
		lapic_extint_ack(&v->lapic);
		vec = pic_ack(&s->chips.pic);
	} else if (lapic_pending_vector(&v->lapic) >= 0) {
		vec = lapic_ack(&v->lapic);
	}
	pthread_mutex_unlock(&s->lock);
	return vec;
}

bool soft_intr_pending(void *opaque, struct emul_vcpu *ev)
{
	struct soft_vcpu *v = emul_vcpu_opaque(ev);
	struct soft_vm *s = opaque;
	bool pending;

	pthread_mutex_lock(&s->lock);
	pending = lapic_extint_pending(&v->lapic) || lapic_pending_vector(&v->lapic) >= 0;
	pthread_mutex_unlock(&s->lock);
	return pending;
}

u8 soft_tpr_get(void *opaque, struct emul_vcpu *ev)
{
	struct soft_vcpu *v = emul_vcpu_opaque(ev);

	(void)opaque;
	return lapic_get_tpr(&v->lapic) >> 4;
}

void soft_tpr_set(void *opaque, struct emul_vcpu *ev, u8 tpr)
{
	struct soft_vcpu *v = emul_vcpu_opaque(ev);
	struct soft_vm *s = opaque;

	pthread_mutex_lock(&s->lock);
	lapic_set_tpr(&v->lapic, (u8)(tpr << 4));
	pthread_mutex_unlock(&s->lock);
}

bool soft_msr_read(void *opaque, struct emul_vcpu *ev, u32 msr, u64 *val)
{
	struct soft_vcpu *v = emul_vcpu_opaque(ev);
	struct soft_vm *s = opaque;
	bool ok = true;

	pthread_mutex_lock(&s->lock);
	if (msr == LAPIC_MSR_BASE)
		*val = v->lapic.base;
	else
		ok = lapic_msr_read(&v->lapic, msr, val, guest_ns(&s->vm->loop)) == 0;
	pthread_mutex_unlock(&s->lock);
	return ok;
}

bool soft_msr_write(void *opaque, struct emul_vcpu *ev, u32 msr, u64 val)
{
	struct soft_vcpu *v = emul_vcpu_opaque(ev);
	struct soft_vm *s = opaque;
	int ret;

	pthread_mutex_lock(&s->lock);
	if (msr == LAPIC_MSR_BASE)
		ret = lapic_set_base(&v->lapic, val, false);
	else
		ret = lapic_msr_write(&v->lapic, msr, val, guest_ns(&s->vm->loop));
	pthread_mutex_unlock(&s->lock);
	return ret == 0;
}

/* --- life --- */

int soft_irq_init(struct soft_vm *s)
{
	s->lapics = calloc(s->nr_vcpus, sizeof(struct lapic *));
	if (!s->lapics)
		return -1;
	pthread_mutex_init(&s->lock, NULL);
	for (unsigned int i = 0; i < s->nr_vcpus; i++) {
		struct soft_vcpu *v = &s->vcpu[i];
		const struct lapic_config config = {
			.id = i,
			.timer_hz = 1000000000,
			.features = LAPIC_FEATURE_X2APIC | LAPIC_FEATURE_TSC_DEADLINE | LAPIC_FEATURE_VIRTUAL_WIRE,
			.phys_bits = (u8)emul_x86_phys_bits(s->emul),
			.bsp = i == 0,
		};

		timer_init_guest(&v->timer, lapic_timer_fn, v);
		v->timer.unlocked = true;
		s->lapics[i] = &v->lapic;
		lapic_init(&v->lapic, &v->page, &config, &lapic_ops, v);
		v->wait_sipi = i != 0;
	}
	chips_init(&s->chips, &s->vm->loop, &s->lock, &chips_ops, s);
	return 0;
}

void soft_irq_exit(struct soft_vm *s)
{
	chips_exit(&s->chips);
	for (unsigned int i = 0; i < s->nr_vcpus; i++)
		timer_set(&s->vm->loop, &s->vcpu[i].timer, TIMER_OFF);
	free(s->lapics);
}
