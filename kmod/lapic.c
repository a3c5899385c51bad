// SPDX-License-Identifier: GPL-2.0-only
/*
 * lapic.c - a vCPU's local APIC: emul/irqchip/lapic.c with a timer, and no lock
 *
 * The vCPU's thread alone touches its local APIC; everyone else sends messages through
 * lapic_deliver(), which is atomic, and leaves a request. So do the host timer (TENON_REQ_TIMER)
 * and the wire from the PIC (TENON_REQ_LINT0).

 */
#include <linux/ktime.h>
#include <linux/slab.h>
#include <asm/tsc.h>

#include "tenon.h"
#include "vendor.h"

/* A guest may ask for a period of nanoseconds: the host's timer fires no more often than this. */
#define TIMER_FLOOR_NS 20000

u64 tenon_now(void)
{
	return ktime_get_ns();
}

static void op_kick(void *ctx)
{
	struct tenon_vcpu *vcpu = ctx;

	tenon_make_request(vcpu, TENON_REQ_KICK);
	tenon_kick(vcpu);
}

static void op_send(void *ctx, const struct irq_msg *msg)
{
	struct tenon_vcpu *vcpu = ctx;
	struct tenon_vm *vm = vcpu->vm;

	lapic_deliver(vm->lapics, tenon_nr_lapics(vm), vcpu->lapic, msg);
}

static void op_nmi(void *ctx)
{
	struct tenon_vcpu *vcpu = ctx;

	if (atomic_inc_return(&vcpu->nmi_queued) > 2)
		atomic_set(&vcpu->nmi_queued, 2);
	tenon_make_request(vcpu, TENON_REQ_NMI);
	tenon_kick(vcpu);
}

static void op_init(void *ctx)
{
	struct tenon_vcpu *vcpu = ctx;

	clear_bit(TENON_REQ_SIPI, &vcpu->requests);
	tenon_make_request(vcpu, TENON_REQ_INIT);
	tenon_kick(vcpu);
}

static void op_sipi(void *ctx, u8 vector)
{
	struct tenon_vcpu *vcpu = ctx;

	WRITE_ONCE(vcpu->sipi_vector, vector);
	tenon_make_request(vcpu, TENON_REQ_SIPI);
	tenon_kick(vcpu);
}

static void op_eoi(void *ctx, u8 vector)
{
	struct tenon_vcpu *vcpu = ctx;
	struct tenon_chips *chips = vcpu->vm->chips;
	unsigned long flags;

	if (!chips) {
		/* The IOAPIC is in user space: tell it, if it has asked for this vector. */
		if (test_bit(vector, vcpu->ioapic_vectors)) {
			vcpu->run->eoi.vector = vector;
			vcpu->pending_eoi = true;
		}
		return;
	}
	flags = tenon_chips_lock(chips);
	if (vector == chips->pit_vector)
		chips->pit_eoi = true;
	ioapic_eoi(&chips->ioapic, vector);
	tenon_chips_unlock(vcpu->vm, flags);
}

static void op_rearm(void *ctx)
{
	struct tenon_vcpu *vcpu = ctx;

	vcpu->timer_stale = true;
}

static void op_post(void *ctx)
{
	tenon_notify(ctx);
}

static const struct lapic_ops lapic_ops = {
	.kick = op_kick,
	.post = op_post,
	.send = op_send,
	.nmi = op_nmi,
	.init = op_init,
	.sipi = op_sipi,
	.eoi = op_eoi,
	.rearm = op_rearm,
};

int tenon_lapic_create(struct tenon_vcpu *vcpu)
{
	const struct lapic_config config = {
		.id = vcpu->id,
		.timer_hz = 1000000000,
		.features = LAPIC_FEATURE_X2APIC | LAPIC_FEATURE_TSC_DEADLINE |
			    LAPIC_FEATURE_VIRTUAL_WIRE,
		.phys_bits = 48,
		.bsp = vcpu->id == vcpu->vm->bsp_id,
		.watch = vcpu->vm->chips ? &vcpu->vm->chips->pit_vector : NULL,
		.posted = tenon_vendor->posted ? tenon_vendor->posted(vcpu) : NULL,
	};

	vcpu->lapic_page = (struct lapic_page *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	vcpu->lapic = kzalloc(sizeof(*vcpu->lapic), GFP_KERNEL_ACCOUNT);
	if (!vcpu->lapic || !vcpu->lapic_page)
		return -ENOMEM;
	lapic_init(vcpu->lapic, vcpu->lapic_page, &config, &lapic_ops, vcpu);
	return 0;
}

void tenon_lapic_destroy(struct tenon_vcpu *vcpu)
{
	kfree(vcpu->lapic);
	free_page((unsigned long)vcpu->lapic_page);
	vcpu->lapic = NULL;
	vcpu->lapic_page = NULL;
}

void tenon_lapic_cpuid(struct tenon_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *one = tenon_cpuid_find(vcpu, 1, 0);
	u32 features = LAPIC_FEATURE_VIRTUAL_WIRE;

	if (!vcpu->lapic || !one)
		return;
	if (one->ecx & BIT(21))
		features |= LAPIC_FEATURE_X2APIC;
	if (one->ecx & BIT(24))
		features |= LAPIC_FEATURE_TSC_DEADLINE;
	lapic_set_features(vcpu->lapic, features);
}

/* The host's TSC in so many ticks of the guest's, or before that where they are very many. */
static u64 host_tsc(const struct tenon_vcpu *vcpu, u64 ticks)
{
	ticks = min_t(u64, ticks, 1ull << 40);
	if (vcpu->tsc_ratio != TENON_TSC_UNSCALED)
		ticks = mul_u64_u64_shr(ticks, div64_u64(U64_MAX, vcpu->tsc_ratio), 32);
	return rdtsc() + ticks;
}

static void timer_cancel(struct tenon_vcpu *vcpu)
{
	if (vcpu->timer_armed)
		hrtimer_cancel(&vcpu->timer);
	vcpu->timer_armed = false;
}

/*
 * Set a timer to the local APIC's deadline, on the vCPU's thread: the host's, or, for a TSC deadline of a vCPU that is
 * about to run, that of a processor which has one for its guests.
 */
static void rearm(struct tenon_vcpu *vcpu, bool sleeps)
{
	const struct lapic_deadline d = lapic_timer_deadline(vcpu->lapic);
	u64 now = tenon_now(), at;
	s64 ticks;

	vcpu->timer_stale = false;
	if (vcpu->timer_exits)
		tenon_vendor->set_deadline(vcpu, U64_MAX);
	vcpu->timer_exits = false;
	switch (d.clock) {
	case LAPIC_CLOCK_NS:
		at = d.at;
		break;
	case LAPIC_CLOCK_TSC:
		ticks = d.at - tenon_guest_tsc(vcpu);
		if (ticks <= 0) {
			at = 0;
			break;
		}
		if (!sleeps && tenon_vendor->set_deadline && tenon_vendor->set_deadline(vcpu, host_tsc(vcpu, ticks))) {
			vcpu->timer_exits = true;
			timer_cancel(vcpu);
			return;
		}
		at = now + min_t(u64, tenon_mul_div(ticks, 1000000, vcpu->tsc_khz), KTIME_MAX / 4) + 1;
		break;
	default:
		timer_cancel(vcpu);
		return;
	}
	if (at <= now) {
		/* Due: no timer needed. */
		tenon_make_request(vcpu, TENON_REQ_TIMER);
		return;
	}
	if (at > now + KTIME_MAX / 4)
		at = now + KTIME_MAX / 4;
	if (d.clock == LAPIC_CLOCK_NS &&
	    lapic_reg(vcpu->lapic, LAPIC_LVT_TIMER) & LAPIC_TIMER_PERIODIC)
		at = max(at, now + TIMER_FLOOR_NS);
	hrtimer_start(&vcpu->timer, ns_to_ktime(at), HRTIMER_MODE_ABS_HARD);
	vcpu->timer_armed = true;
}

void tenon_lapic_rearm(struct tenon_vcpu *vcpu)
{
	rearm(vcpu, false);
}

/* There will be no guest to exit: the host's timer, until the vCPU goes on. */
void tenon_lapic_sleeps(struct tenon_vcpu *vcpu)
{
	if (!vcpu->timer_exits)
		return;
	rearm(vcpu, true);
	vcpu->timer_stale = true;
}

/*
 * What has come in from outside, and what the guest has programmed: before each entry that has a
 * request.
 */
void tenon_lapic_process(struct tenon_vcpu *vcpu)
{
	if (!vcpu->lapic)
		return;
	if (tenon_take_request(vcpu, TENON_REQ_LINT0))
		lapic_set_lint(vcpu->lapic, 0, READ_ONCE(vcpu->lint0_level));
	if (tenon_take_request(vcpu, TENON_REQ_TIMER)) {
		lapic_timer_expire(vcpu->lapic, tenon_now(), tenon_guest_tsc(vcpu));
		vcpu->timer_stale = true;
	}
	if (vcpu->timer_stale)
		tenon_lapic_rearm(vcpu);
}

/* ---- paravirtual EOI ---- */

/*
 * A bit in guest memory: set, the guest may clear it instead of writing the EOI register. It is offered for one entry,
 * and only when that write would have nothing else to do: no other interrupt waits, and nobody wants to hear of the
 * EOI. Atomic context; memory that is not there at the moment is no reason to wait.
 */
static bool pv_eoi_word(struct tenon_vcpu *vcpu, u8 *byte, bool write)
{
	return !tenon_access_atomic(vcpu->vm, vcpu->pv_eoi & ~3ull, byte, 1, write);
}

void tenon_pv_eoi_offer(struct tenon_vcpu *vcpu)
{
	unsigned int n;
	int vector = -1;
	u8 byte;

	/* A processor that delivers sees to the EOI, too, and would not know of this one. */
	if (tenon_irqs_delivered(vcpu))
		return;
	for (n = 0; n < 8; n++) {
		const u32 isr = lapic_reg(vcpu->lapic, LAPIC_ISR + n * 16);

		if (lapic_reg(vcpu->lapic, LAPIC_IRR + n * 16))
			return;
		if (isr)
			vector = n * 32 + __fls(isr);
	}
	if (vector < 0 || lapic_reg(vcpu->lapic, LAPIC_TMR + vector / 32 * 16) & BIT(vector % 32))
		return;
	if (lapic_watched(vcpu->lapic, vector) || !pv_eoi_word(vcpu, &byte, false))
		return;
	byte |= 1;
	vcpu->pv_eoi_pending = pv_eoi_word(vcpu, &byte, true);
}

/* After the guest: has it taken the offer? Otherwise it is withdrawn. */
void tenon_pv_eoi_take(struct tenon_vcpu *vcpu)
{
	const u64 gpa = vcpu->pv_eoi & ~3ull;
	u8 byte;

	vcpu->pv_eoi_pending = false;
	if (tenon_read_phys(vcpu->vm, gpa, &byte, 1))
		return;
	if (!(byte & 1)) {
		lapic_eoi(vcpu->lapic);
		return;
	}
	byte &= ~1;
	tenon_write_phys(vcpu->vm, gpa, &byte, 1);
}

/*
 * KVM_SET_VAPIC_ADDR: code that user space has patched into the guest works on a copy of the TPR in memory, and beside
 * it finds the class in service and the vector that waits.
 */
void tenon_vapic_in(struct tenon_vcpu *vcpu)
{
	int isr, irr;
	u32 word;

	lapic_collect(vcpu->lapic);
	isr = max(lapic_highest(vcpu->lapic, LAPIC_ISR), 0);
	irr = max(lapic_highest(vcpu->lapic, LAPIC_IRR), 0);
	word = lapic_get_tpr(vcpu->lapic) | (isr & 0xf0) << 8 | (u32)irr << 24;
	vcpu->vapic_shown = !tenon_write_phys(vcpu->vm, vcpu->vapic_addr, &word, sizeof(word));
}

void tenon_vapic_out(struct tenon_vcpu *vcpu)
{
	u32 word;

	if (vcpu->vapic_shown && !tenon_read_phys(vcpu->vm, vcpu->vapic_addr, &word, sizeof(word)))
		lapic_set_tpr(vcpu->lapic, word & 0xff);
}

/* ---- which interrupt is next ---- */

/* The PIC is in user space, and its line reaches this vCPU. */
bool tenon_user_pic(const struct tenon_vcpu *vcpu)
{
	return !vcpu->vm->chips && (!vcpu->lapic || lapic_accepts_pic(vcpu->lapic));
}

/* The processor takes the vectors of the local APIC by itself. */
bool tenon_irqs_delivered(struct tenon_vcpu *vcpu)
{
	return vcpu->lapic && vcpu->lapic->config.posted && tenon_vendor->delivers(vcpu);
}

/* A vector, or -1. A vector of the PIC's is not known before it is acknowledged. */
int tenon_irq_pending(struct tenon_vcpu *vcpu)
{
	if (!vcpu->lapic)
		return vcpu->user_irq;
	if (vcpu->user_irq >= 0 && tenon_user_pic(vcpu))
		return TENON_IRQ_PIC;
	if (lapic_extint_pending(vcpu->lapic))
		return TENON_IRQ_PIC;
	return lapic_pending_vector(vcpu->lapic);
}

/* The processor takes it: the vector, or -1 if it has gone meanwhile. */
int tenon_irq_ack(struct tenon_vcpu *vcpu)
{
	struct tenon_chips *chips = vcpu->vm->chips;
	unsigned long flags;
	int vector;

	if (!vcpu->lapic || (vcpu->user_irq >= 0 && tenon_user_pic(vcpu))) {
		vector = vcpu->user_irq;
		vcpu->user_irq = -1;
		return vector;
	}
	if (lapic_extint_pending(vcpu->lapic) && chips) {
		lapic_extint_ack(vcpu->lapic);
		flags = tenon_chips_lock(chips);
		vector = pic_ack(&chips->pic);
		/* With automatic EOI, there may be a next tick, and something to resample: that does not sleep. */
		tenon_chips_unlock(vcpu->vm, flags);
		lapic_set_lint(vcpu->lapic, 0, READ_ONCE(vcpu->lint0_level));
		return vector;
	}
	return lapic_ack(vcpu->lapic);
}
