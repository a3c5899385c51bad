// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqchip.c - PIC, IOAPIC and PIT of a VM: emul/irqchip/ with a spinlock and an hrtimer
 *
 * One lock is over all three, taken with interrupts off: the PIT's timer comes in interrupt
 * context, and so does an irqfd. Under it, messages go to local APICs without a lock. What has been
 * acknowledged is noted under the lock and resampled after it.

 */
#include <linux/ktime.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "tenon.h"
#include "vendor.h"

#define PIT_FLOOR_NS 100000
#define PIT_IRQ	     0 /* of the PIC */
#define PIT_PIN	     2 /* of the IOAPIC */

/* ---- ops: under the lock ---- */

static struct tenon_vm *vm_of(void *ctx)
{
	return ctx;
}

static void op_pic_output(void *ctx, bool level)
{
	struct tenon_vm *vm = vm_of(ctx);
	unsigned int n, count = tenon_nr_vcpus(vm);

	for (n = 0; n < count; n++) {
		struct tenon_vcpu *vcpu = vm->vcpu[n];

		/* LINT0 of the others is masked from power-on, but a guest may wire them all. */
		if (!vcpu->lapic || READ_ONCE(vcpu->lint0_level) == level)
			continue;
		WRITE_ONCE(vcpu->lint0_level, level);
		tenon_make_request(vcpu, TENON_REQ_LINT0);
		tenon_kick(vcpu);
	}
}

static void op_pic_eoi(void *ctx, unsigned int irq)
{
	if (irq == PIT_IRQ)
		vm_of(ctx)->chips->pit_eoi = true;
	vm_of(ctx)->chips->eoi_pins |= BIT(irq);
}

static int op_ioapic_deliver(void *ctx, const struct irq_msg *msg)
{
	struct tenon_vm *vm = vm_of(ctx);
	struct irq_msg out = *msg;

	out.wide = vm->x2apic_no_broadcast_quirk;
	return lapic_deliver(vm->lapics, tenon_nr_lapics(vm), NULL, &out);
}

/* An irqfd that resamples lets go of the line before the IOAPIC looks at it again: else it would interrupt once more. */
static void op_ioapic_eoi(void *ctx, unsigned int pin)
{
	struct tenon_chips *chips = vm_of(ctx)->chips;

	if (pin == PIT_PIN)
		chips->pit_eoi = true;
	chips->eoi_pins |= BIT(pin);
	if (__test_and_clear_bit(TENON_SOURCE_RESAMPLE, &chips->sources[pin]) && !chips->sources[pin])
		ioapic_set_pin(&chips->ioapic, pin, false);
}

static void pit_line(struct tenon_chips *chips, bool level)
{
	pic_set_irq(&chips->pic, PIT_IRQ, level);
	ioapic_set_pin(&chips->ioapic, PIT_PIN, level);
}

static void op_pit_irq0(void *ctx, bool level)
{
	struct tenon_chips *chips = vm_of(ctx)->chips;

	/* Those that are to be reinjected go out by pit_send(). */
	if (!chips->pit_reinject)
		pit_line(chips, level);
}

static void pit_rearm(struct tenon_chips *chips)
{
	const u64 at = pit_deadline(&chips->pit);

	if (at == PIT_DEADLINE_NONE) {
		/* Late, it finds nothing to do. */
		hrtimer_try_to_cancel(&chips->pit_timer);
		return;
	}
	hrtimer_start(&chips->pit_timer, ns_to_ktime(max(at, tenon_now() + PIT_FLOOR_NS)),
		      HRTIMER_MODE_ABS_HARD);
}

static void op_pit_rearm(void *ctx)
{
	vm_of(ctx)->chips->pit_stale = true;
}

static const struct pic_ops pic_ops = { .set_output = op_pic_output, .eoi = op_pic_eoi };
static const struct ioapic_ops ioapic_ops = { .deliver = op_ioapic_deliver, .eoi = op_ioapic_eoi };
static const struct pit_ops pit_ops = { .set_irq0 = op_pit_irq0, .rearm = op_pit_rearm };

/* ---- ticks of the PIT that are not to be lost ---- */

/*
 * As KVM has it: a tick is sent when the guest has ended the one before; those that come meanwhile are counted, and
 * follow one after the other. What the guest did not see because it had masked the interrupt or before it programmed
 * the counter anew is forgotten.
 */
static void pit_send(struct tenon_chips *chips)
{
	const u64 rte = chips->ioapic.redir[PIT_PIN];
	int vector = -1;

	if (!chips->pit_ended || !chips->pit_pending)
		return;
	chips->pit_ended = false;
	if (!(rte & (IOAPIC_RTE_MASKED | IOAPIC_RTE_LEVEL)))
		vector = rte & IOAPIC_RTE_VECTOR;
	WRITE_ONCE(chips->pit_vector, vector);
	pit_line(chips, true);
	pit_line(chips, false);
}

static void pit_forget(struct tenon_chips *chips)
{
	chips->pit_pending = 0;
	chips->pit_ended = true;
	chips->pit_eoi = false;
}

/* Let time pass; reading and writing the PIT has done so already, and left its edges to be fetched. */
static void pit_tick(struct tenon_chips *chips)
{
	const u64 edges = pit_advance(&chips->pit, tenon_now());

	if (!chips->pit_reinject || chips->pit.irq0_off || !edges)
		return;
	chips->pit_pending = min_t(u64, chips->pit_pending + edges, INT_MAX);
	pit_send(chips);
}

static void pit_ended(struct tenon_chips *chips)
{
	chips->pit_eoi = false;
	chips->pit_ended = true;
	if (chips->pit_pending)
		chips->pit_pending--;
	pit_send(chips);
}

/* Masked in the PIC, masked in the IOAPIC: a bit each. */
static unsigned int pit_masks(const struct tenon_chips *chips)
{
	return (chips->pic.chip[0].imr & BIT(PIT_IRQ) ? 1 : 0) |
	       (chips->ioapic.redir[PIT_PIN] & IOAPIC_RTE_MASKED ? 2 : 0);
}

void tenon_pit_reinject(struct tenon_vm *vm, bool on)
{
	struct tenon_chips *chips = vm->chips;
	unsigned long flags = tenon_chips_lock(chips);

	if (chips->pit_reinject != on) {
		pit_forget(chips);
		chips->pit_reinject = on;
		WRITE_ONCE(chips->pit_vector, -1);
		pit_line(chips, !on && chips->pit.irq0);
	}
	tenon_chips_unlock(vm, flags);
}

/* ---- the lock, and what is left to do after it ---- */

unsigned long tenon_chips_lock(struct tenon_chips *chips)
	__acquires(&chips->lock)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&chips->lock, flags);
	return flags;
}

void tenon_chips_unlock(struct tenon_vm *vm, unsigned long flags)
	__releases(&vm->chips->lock)
{
	struct tenon_chips *chips = vm->chips;
	u32 pins;

	if (unlikely(chips->pit_eoi) && chips->pit_reinject)
		pit_ended(chips);
	pins = chips->eoi_pins;
	chips->eoi_pins = 0;
	if (chips->pit_stale) {
		chips->pit_stale = false;
		pit_rearm(chips);
	}
	raw_spin_unlock_irqrestore(&chips->lock, flags);
	if (pins)
		tenon_resample(vm, pins);
}

static enum hrtimer_restart pit_timer(struct hrtimer *timer)
{
	struct tenon_chips *chips = container_of(timer, struct tenon_chips, pit_timer);
	unsigned long flags = tenon_chips_lock(chips);

	pit_tick(chips);
	chips->pit_stale = false;
	/*
	 * Not by HRTIMER_RESTART: a writer may have started it anew while this waited for the lock.
	 */
	if (pit_deadline(&chips->pit) != PIT_DEADLINE_NONE)
		pit_rearm(chips);
	raw_spin_unlock_irqrestore(&chips->lock, flags);
	return HRTIMER_NORESTART;
}

/* ---- life ---- */

int tenon_irqchip_create(struct tenon_vm *vm)
{
	struct tenon_chips *chips = kzalloc(sizeof(*chips), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!chips)
		return -ENOMEM;
	raw_spin_lock_init(&chips->lock);
	hrtimer_init(&chips->pit_timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_HARD);
	chips->pit_timer.function = pit_timer;
	chips->pit_vector = -1;
	pic_init(&chips->pic, &pic_ops, vm);
	ioapic_init(&chips->ioapic, IOAPIC_VERSION_82093AA, &ioapic_ops, vm);
	ret = tenon_routes_default(vm);
	if (ret) {
		kfree(chips);
		return ret;
	}
	vm->chips = chips;
	/* Whoever sees this finds the chips. */
	smp_store_release(&vm->irqchip, TENON_IRQCHIP_KERNEL);
	return 0;
}

int tenon_irqchip_split(struct tenon_vm *vm, unsigned int pins)
{
	vm->split_pins = pins;
	/* Whoever sees this finds the number of pins. */
	smp_store_release(&vm->irqchip, TENON_IRQCHIP_SPLIT);
	return 0;
}

void tenon_irqchip_destroy(struct tenon_vm *vm)
{
	if (!vm->chips)
		return;
	hrtimer_cancel(&vm->chips->pit_timer);
	kfree(vm->chips);
	vm->chips = NULL;
}

int tenon_pit_create(struct tenon_vm *vm, u32 flags)
{
	struct tenon_chips *chips = vm->chips;
	unsigned long irq;

	if (flags & ~(u32)KVM_PIT_SPEAKER_DUMMY)
		return -EINVAL;
	if (!chips)
		return -ENOENT;
	if (chips->has_pit)
		return -EEXIST;
	irq = tenon_chips_lock(chips);
	pit_init(&chips->pit, &pit_ops, vm, tenon_now());
	chips->pit_flags = flags;
	chips->pit_reinject = true;
	pit_forget(chips);
	chips->has_pit = true;
	tenon_chips_unlock(vm, irq);
	return 0;
}

/* ---- lines and registers ---- */

/*
 * A line of the PIC pair (chip 0 or 1, pin 0 to 7) or of the IOAPIC (chip 2). Returns as
 * ioapic_set_pin().
 */
int tenon_chips_line(struct tenon_vm *vm, u32 chip, u32 pin, unsigned int source, bool level)
{
	struct tenon_chips *chips = vm->chips;
	unsigned long flags, *sources;
	int ret = IRQ_NOT_DELIVERED;

	if (!chips)
		return ret;
	flags = tenon_chips_lock(chips);
	if (chip == KVM_IRQCHIP_IOAPIC && pin < IOAPIC_NR_PINS) {
		sources = &chips->sources[array_index_nospec(pin, IOAPIC_NR_PINS)];
		__assign_bit(source, sources, level);
		ret = ioapic_set_pin(&chips->ioapic, pin, *sources);
	} else if (chip <= KVM_IRQCHIP_PIC_SLAVE && pin < 8) {
		pin += chip * 8;
		sources = &chips->pic_sources[array_index_nospec(pin, PIC_NR_IRQS)];
		__assign_bit(source, sources, level);
		ret = pic_set_irq(&chips->pic, pin, *sources);
	}
	tenon_chips_unlock(vm, flags);
	return ret;
}

/* Ports of the chips, one byte each. Returns whether the port is theirs. */
bool tenon_pio_kernel(struct tenon_vm *vm, u16 port, unsigned int size, bool in, void *data)
{
	struct tenon_chips *chips = vm->chips;
	unsigned long flags;
	u8 *byte = data;
	bool pit = false;

	switch (port) {
	case PIC_MASTER_CMD:
	case PIC_MASTER_DATA:
	case PIC_SLAVE_CMD:
	case PIC_SLAVE_DATA:
	case PIC_MASTER_ELCR:
	case PIC_SLAVE_ELCR:
		break;
	case PIT_PORT_COUNTER(0)... PIT_PORT_CONTROL:
		if (!chips->has_pit)
			return false;
		pit = true;
		break;
	case PIT_PORT_SPEAKER:
		if (!chips->has_pit || !(chips->pit_flags & KVM_PIT_SPEAKER_DUMMY))
			return false;
		pit = true;
		break;
	default:
		return false;
	}
	if (in)
		memset(data, 0xff, size);
	flags = tenon_chips_lock(chips);
	if (pit) {
		if (in)
			*byte = pit_read(&chips->pit, port, tenon_now());
		else
			pit_write(&chips->pit, port, *byte, tenon_now());
		pit_tick(chips);
		/* Programming counter 0 makes it stale. */
		if (chips->pit_stale)
			pit_forget(chips);
	} else {
		const unsigned int masks = pit_masks(chips);

		if (in)
			*byte = pic_read(&chips->pic, port);
		else
			pic_write(&chips->pic, port, *byte);
		/* ICW1 takes what is in service with it. */
		if ((masks & ~pit_masks(chips)) || (!in && port == PIC_MASTER_CMD && (*byte & PIC_ICW1_INIT)))
			pit_forget(chips);
	}
	tenon_chips_unlock(vm, flags);
	return true;
}

/* The local APIC of the vCPU, and the IOAPIC. */
bool tenon_mmio_kernel(struct tenon_vcpu *vcpu, u64 gpa, unsigned int len, bool write, void *data)
{
	struct tenon_chips *chips = vcpu->vm->chips;
	unsigned long flags;
	u32 value = 0;
	u64 base;

	if (!vcpu->lapic)
		return false;
	base = lapic_mmio_base(vcpu->lapic);
	if (base != ~0ull && gpa - base < LAPIC_PAGE_SIZE) {
		if (unlikely(vcpu->tpr_reporting) && gpa - base == LAPIC_TPR) {
			vcpu->run->tpr_access.rip = vcpu->rip;
			vcpu->run->tpr_access.is_write = write;
			vcpu->tpr_accessed = true;
		}
		if (write) {
			memcpy(&value, data, min(len, 4u));
			lapic_write(vcpu->lapic, gpa - base, len, value, tenon_now());
		} else {
			u64 read = lapic_read(vcpu->lapic, gpa - base, len, tenon_now());

			memcpy(data, &read, len);
		}
		return true;
	}
	if (!chips || gpa - IOAPIC_DEFAULT_BASE >= IOAPIC_WINDOW_SIZE)
		return false;
	flags = tenon_chips_lock(chips);
	if (write) {
		const unsigned int masks = pit_masks(chips);

		memcpy(&value, data, min(len, 4u));
		ioapic_write(&chips->ioapic, gpa - IOAPIC_DEFAULT_BASE, value);
		if (masks & ~pit_masks(chips))
			pit_forget(chips);
	} else {
		memset(data, 0, len);
		value = ioapic_read(&chips->ioapic, gpa - IOAPIC_DEFAULT_BASE);
		memcpy(data, &value, min(len, 4u));
	}
	tenon_chips_unlock(vcpu->vm, flags);
	return true;
}

/* ---- save and restore ---- */

static void pic_get(const struct pic_chip *c, struct kvm_pic_state *s)
{
	*s = (struct kvm_pic_state){
		.last_irr = c->lines,
		.irr = c->irr,
		.imr = c->imr,
		.isr = c->isr,
		.priority_add = c->top,
		.irq_base = c->base,
		.read_reg_select = c->read_isr,
		.poll = c->poll,
		.special_mask = c->special_mask,
		.init_state = c->icw_step == 2 ? 1 :
			      c->icw_step == 3 ? 2 :
			      c->icw_step == 4 ? 3 :
						 0,
		.auto_eoi = !!(c->icw4 & PIC_ICW4_AEOI),
		.rotate_on_auto_eoi = c->rotate_aeoi,
		.special_fully_nested_mode = !!(c->icw4 & PIC_ICW4_SFNM),
		.init4 = !!(c->icw1 & PIC_ICW1_IC4),
		.elcr = c->elcr,
		.elcr_mask = c->elcr_mask,
	};
}

static void pic_put(struct pic_chip *c, const struct kvm_pic_state *s)
{
	static const u8 steps[] = { 0, 2, 3, 4 };

	c->lines = s->last_irr;
	c->irr = s->irr;
	c->imr = s->imr;
	c->isr = s->isr;
	c->top = s->priority_add & 7;
	c->base = s->irq_base & 0xf8;
	c->read_isr = s->read_reg_select;
	c->poll = s->poll;
	c->special_mask = s->special_mask;
	c->icw_step = steps[s->init_state & 3];
	c->icw4 = (s->auto_eoi ? PIC_ICW4_AEOI : 0) |
		  (s->special_fully_nested_mode ? PIC_ICW4_SFNM : 0);
	c->rotate_aeoi = s->rotate_on_auto_eoi;
	c->icw1 = PIC_ICW1_INIT | (s->init4 ? PIC_ICW1_IC4 : 0);
	c->elcr = s->elcr & c->elcr_mask;
}

int tenon_irqchip_get(struct tenon_vm *vm, struct kvm_irqchip *chip)
{
	struct tenon_chips *chips = vm->chips;
	unsigned long flags;
	unsigned int n;
	int ret = 0;

	if (!chips)
		return -ENXIO;
	flags = tenon_chips_lock(chips);
	switch (chip->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
		pic_get(&chips->pic.chip[0], &chip->chip.pic);
		break;
	case KVM_IRQCHIP_PIC_SLAVE:
		pic_get(&chips->pic.chip[1], &chip->chip.pic);
		break;
	case KVM_IRQCHIP_IOAPIC:
		memset(&chip->chip.ioapic, 0, sizeof(chip->chip.ioapic));
		chip->chip.ioapic.base_address = IOAPIC_DEFAULT_BASE;
		chip->chip.ioapic.ioregsel = chips->ioapic.regsel;
		chip->chip.ioapic.id = chips->ioapic.id >> 24;
		chip->chip.ioapic.irr = chips->ioapic.lines;
		for (n = 0; n < IOAPIC_NR_PINS; n++)
			chip->chip.ioapic.redirtbl[n].bits = chips->ioapic.redir[n];
		break;
	default:
		ret = -EINVAL;
	}
	tenon_chips_unlock(vm, flags);
	return ret;
}

int tenon_irqchip_set(struct tenon_vm *vm, const struct kvm_irqchip *chip)
{
	struct tenon_chips *chips = vm->chips;
	unsigned long flags;
	unsigned int n;
	int ret = 0;

	if (!chips)
		return -ENXIO;
	flags = tenon_chips_lock(chips);
	switch (chip->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
		pic_put(&chips->pic.chip[0], &chip->chip.pic);
		pic_restored(&chips->pic);
		break;
	case KVM_IRQCHIP_PIC_SLAVE:
		pic_put(&chips->pic.chip[1], &chip->chip.pic);
		pic_restored(&chips->pic);
		break;
	case KVM_IRQCHIP_IOAPIC:
		chips->ioapic.regsel = chip->chip.ioapic.ioregsel;
		chips->ioapic.id = chip->chip.ioapic.id << 24;
		chips->ioapic.lines = chip->chip.ioapic.irr & GENMASK(IOAPIC_NR_PINS - 1, 0);
		for (n = 0; n < IOAPIC_NR_PINS; n++)
			chips->ioapic.redir[n] = chip->chip.ioapic.redirtbl[n].bits;
		ioapic_restored(&chips->ioapic);
		break;
	default:
		ret = -EINVAL;
	}
	tenon_chips_unlock(vm, flags);
	return ret;
}

int tenon_pit_get(struct tenon_vm *vm, struct kvm_pit_state2 *state)
{
	struct tenon_chips *chips = vm->chips;
	unsigned long flags;
	unsigned int n;

	if (!chips || !chips->has_pit)
		return -ENXIO;
	memset(state, 0, sizeof(*state));
	flags = tenon_chips_lock(chips);
	for (n = 0; n < PIT_NR_CHANNELS; n++) {
		const struct pit_channel *c = &chips->pit.channel[n];

		state->channels[n] = (struct kvm_pit_channel_state){
			.count = c->loaded ? c->reload : 0,
			.latched_count = c->latch,
			.count_latched = c->latch_bytes,
			.status_latched = c->status_latched,
			.status = c->status,
			.read_state = c->access == 3 && c->read_high ? 4 : c->access,
			.write_state = c->access == 3 && c->write_high ? 4 : c->access,
			.write_latch = c->write_low,
			.rw_mode = c->access,
			.mode = c->mode,
			.bcd = c->bcd,
			.gate = c->gate,
			.count_load_time = pit_ns(c->epoch),
		};
	}
	if (chips->pit.irq0_off)
		state->flags |= KVM_PIT_FLAGS_HPET_LEGACY;
	if (chips->pit.port61 & PIT_SPEAKER_DATA)
		state->flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	tenon_chips_unlock(vm, flags);
	return 0;
}

int tenon_pit_set(struct tenon_vm *vm, const struct kvm_pit_state2 *state)
{
	struct tenon_chips *chips = vm->chips;
	unsigned long flags;
	unsigned int n;
	u64 now;

	if (!chips || !chips->has_pit)
		return -ENXIO;
	if (state->flags & ~(u32)(KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON))
		return -EINVAL;
	now = tenon_now();
	flags = tenon_chips_lock(chips);
	for (n = 0; n < PIT_NR_CHANNELS; n++) {
		const struct kvm_pit_channel_state *s = &state->channels[n];
		struct pit_channel *c = &chips->pit.channel[n];

		memset(c, 0, sizeof(*c));
		/* KVM has mode 0xff before the first control word. */
		c->mode = s->mode <= 5 ? s->mode : 0;
		c->access = s->rw_mode;
		c->bcd = s->bcd;
		c->gate = n == 2 ? s->gate : true;
		/* A counter starts over when its state is set, as with KVM. */
		c->loaded = s->count && s->mode <= 5;
		c->running = c->loaded;
		c->reload = s->count ? s->count : 0x10000;
		c->next = c->reload;
		c->epoch = pit_ticks(now);
		c->latch = s->latched_count;
		c->latch_bytes = s->count_latched & 3;
		c->status_latched = s->status_latched;
		c->status = s->status;
		c->read_high = s->read_state == 4;
		c->write_high = s->write_state == 4;
		c->write_low = s->write_latch;
	}
	chips->pit.irq0_off = state->flags & KVM_PIT_FLAGS_HPET_LEGACY;
	chips->pit.port61 &= ~PIT_SPEAKER_DATA;
	if (state->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON)
		chips->pit.port61 |= PIT_SPEAKER_DATA;
	pit_restored(&chips->pit, now);
	pit_forget(chips);
	chips->pit_stale = true;
	tenon_chips_unlock(vm, flags);
	return 0;
}
