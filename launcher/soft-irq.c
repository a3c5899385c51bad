// SPDX-License-Identifier: GPL-2.0-only
/*
 * soft-irq.c - wiring of the interrupt chips for the software CPU
 *
 *	ISA IRQ n ---+--- PIC input n ---- INT --- LINT0 of every local APIC, IOAPIC pin 0
 *	             +--- IOAPIC pin n (PIT: PIC input 0, IOAPIC pin 2)
 *	GSI 16..23 ------ IOAPIC pin 16..23
 *	IOAPIC, MSI, ICR ---- lapic_deliver() ---- local APICs ---- vCPU threads
 */
#include <stdlib.h>

#include "soft-irq.h"

#define IOAPIC_BASE	0xfec00000u

/* No guest-programmed timer fires more often than this: a period of a few nanoseconds must not eat the host. */
#define TIMER_MIN_NS	20000

static struct soft_vm *soft_of(const struct soft_vcpu *v)
{
	return v->vcpu->vm->accel;
}

/* --- local APICs --- */

void soft_wake(struct soft_vcpu *v)
{
	v->wake = true;
	pthread_cond_signal(&v->cond);
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

	ioapic_eoi(&soft_of(v)->ioapic, vector);
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
		now = clock_ns();
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
	u64 now = clock_ns(), next;

	pthread_mutex_lock(&s->lock);
	lapic_timer_expire(&v->lapic, now, now - s->start + emul_x86_state(v->emul)->tsc_offset);
	next = lapic_deadline_ns(v);
	if (next != TIMER_OFF)
		timer_set(&s->vm->loop, &v->timer, max(next, now + TIMER_MIN_NS));
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

/* --- PIC, IOAPIC, PIT --- */

static void pic_set_output(void *ctx, bool level)
{
	struct soft_vm *s = ctx;

	for (unsigned int i = 0; i < s->nr_vcpus; i++)
		lapic_set_lint(s->lapics[i], 0, level);
	ioapic_set_pin(&s->ioapic, 0, level);
}

static const struct pic_ops pic_ops = {
	.set_output = pic_set_output,
};

static int ioapic_deliver(void *ctx, const struct irq_msg *msg)
{
	struct soft_vm *s = ctx;

	return lapic_deliver(s->lapics, s->nr_vcpus, NULL, msg);
}

static const struct ioapic_ops ioapic_ops = {
	.deliver = ioapic_deliver,
};

static void pit_set_irq0(void *ctx, bool level)
{
	struct soft_vm *s = ctx;

	pic_set_irq(&s->pic, 0, level);
	ioapic_set_pin(&s->ioapic, 2, level);
}

static void pit_rearm(void *ctx)
{
	struct soft_vm *s = ctx;
	u64 at = pit_deadline(&s->pit);

	timer_set(&s->vm->loop, &s->pit_timer, at == PIT_DEADLINE_NONE ? TIMER_OFF : at);
}

static const struct pit_ops pit_ops = {
	.set_irq0	= pit_set_irq0,
	.rearm		= pit_rearm,
};

static void pit_timer_fn(void *opaque)
{
	struct soft_vm *s = opaque;
	u64 now = clock_ns(), next;

	pthread_mutex_lock(&s->lock);
	pit_advance(&s->pit, now);
	next = pit_deadline(&s->pit);
	if (next != PIT_DEADLINE_NONE)
		timer_set(&s->vm->loop, &s->pit_timer, max(next, now + TIMER_MIN_NS));
	pthread_mutex_unlock(&s->lock);
}

/* --- accesses --- */

static bool is_pic_port(u64 port)
{
	return port == 0x20 || port == 0x21 || port == 0xa0 || port == 0xa1 || port == 0x4d0 || port == 0x4d1;
}

static bool is_pit_port(u64 port)
{
	return (port >= 0x40 && port <= 0x43) || port == 0x61;
}

static void port_byte(struct soft_vm *s, u16 port, u8 *byte, bool write)
{
	if (is_pic_port(port)) {
		if (write)
			pic_write(&s->pic, port, *byte);
		else
			*byte = pic_read(&s->pic, port);
	} else if (is_pit_port(port)) {
		if (write)
			pit_write(&s->pit, port, *byte, clock_ns());
		else
			*byte = pit_read(&s->pit, port, clock_ns());
	} else if (!write) {
		*byte = 0xff;
	}
}

bool soft_irq_access(struct soft_vm *s, struct soft_vcpu *v, enum emul_space space, u64 addr, void *data, unsigned int len,
		     bool write)
{
	u64 base, off, val = 0;

	if (space == EMUL_PIO) {
		if (!is_pic_port(addr) && !is_pit_port(addr))
			return false;
		pthread_mutex_lock(&s->lock);
		for (unsigned int i = 0; i < len; i++)
			port_byte(s, (u16)(addr + i), (u8 *)data + i, write);
		pthread_mutex_unlock(&s->lock);
		return true;
	}

	base = lapic_mmio_base(&v->lapic);	/* all ones: not in memory space */
	off = addr - base;
	if (base != ~0ULL && off < LAPIC_PAGE_SIZE && len <= 8) {
		pthread_mutex_lock(&s->lock);
		if (write) {
			memcpy(&val, data, len);
			lapic_write(&v->lapic, (u32)off, len, (u32)val, clock_ns());
		} else {
			val = lapic_read(&v->lapic, (u32)off, len, clock_ns());
			memcpy(data, &val, len);
		}
		pthread_mutex_unlock(&s->lock);
		return true;
	}
	off = addr - IOAPIC_BASE;
	if (off < IOAPIC_WINDOW_SIZE && len <= 8) {
		pthread_mutex_lock(&s->lock);
		if (write) {
			memcpy(&val, data, len);
			ioapic_write(&s->ioapic, (u32)off, (u32)val);
		} else {
			val = ioapic_read(&s->ioapic, (u32)off);
			memcpy(data, &val, len);
		}
		pthread_mutex_unlock(&s->lock);
		return true;
	}
	return false;
}

void soft_irq_line(struct soft_vm *s, unsigned int gsi, bool level)
{
	pthread_mutex_lock(&s->lock);
	if (gsi < 16)
		pic_set_irq(&s->pic, gsi, level);
	/* Pins 0 and 2 belong to the PIC's output and to the PIT. */
	if (gsi != 0 && gsi != 2)
		ioapic_set_pin(&s->ioapic, gsi, level);
	pthread_mutex_unlock(&s->lock);
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
		vec = pic_ack(&s->pic);
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
		ok = lapic_msr_read(&v->lapic, msr, val, clock_ns()) == 0;
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
		ret = lapic_msr_write(&v->lapic, msr, val, clock_ns());
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

		pthread_cond_init(&v->cond, NULL);
		timer_init(&v->timer, lapic_timer_fn, v);
		v->timer.unlocked = true;
		s->lapics[i] = &v->lapic;
		lapic_init(&v->lapic, &v->page, &config, &lapic_ops, v);
		v->wait_sipi = i != 0;
	}
	ioapic_init(&s->ioapic, IOAPIC_VERSION_EOI, &ioapic_ops, s);
	pic_init(&s->pic, &pic_ops, s);
	/* As firmware leaves it: the ACPI interrupt (9) and PCI's (10, 11) are level-triggered. */
	pic_write(&s->pic, 0x4d1, 0x0e);
	timer_init(&s->pit_timer, pit_timer_fn, s);
	s->pit_timer.unlocked = true;
	pit_init(&s->pit, &pit_ops, s, clock_ns());
	return 0;
}

void soft_irq_exit(struct soft_vm *s)
{
	timer_set(&s->vm->loop, &s->pit_timer, TIMER_OFF);
	for (unsigned int i = 0; i < s->nr_vcpus; i++)
		timer_set(&s->vm->loop, &s->vcpu[i].timer, TIMER_OFF);
	free(s->lapics);
}
