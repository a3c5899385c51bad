// SPDX-License-Identifier: GPL-2.0-only
/*
 * event.c - which event goes into the guest next, and what its TPR holds back

 */
#include <linux/kvm.h>

#include "tenon.h"
#include "trace.h"
#include "vendor.h"

/* What the processor does not deliver by itself: the PIC's at least. */
static int irq_to_inject(struct tenon_vcpu *vcpu)
{
	const int vector = tenon_irq_pending(vcpu);

	return vector >= 0 && vector < TENON_IRQ_PIC && tenon_irqs_delivered(vcpu) ? -1 : vector;
}

/* Mostly none is wanted, and none was. */
static void set_windows(struct tenon_vcpu *vcpu, bool irq, bool nmi)
{
	if (likely(!irq && !nmi && !vcpu->windows))
		return;
	tenon_vendor->windows(vcpu, irq, nmi);
	vcpu->windows = irq || nmi;
}

/*
 * What goes in first: an exception, then an event whose delivery was interrupted, then NMI, then an interrupt (AMD APM
 * vol. 2, "Event Injection"; Intel SDM vol. 3, "Event Injection"). One event an entry; a window is asked for if another
 * waits. Interrupts are off.
 */
void tenon_events(struct tenon_vcpu *vcpu)
{
	bool want_irq = false, want_nmi = false;
	int vector, pending;

	if (vcpu->lapic && vcpu->lapic->config.posted)
		lapic_collect(vcpu->lapic);
	pending = irq_to_inject(vcpu);
	if (vcpu->exception.pending) {
		const struct tenon_event *e = &vcpu->exception;

		vcpu->stats.exceptions++;
		trace_tenon_inject(vcpu->id, "exception", e->vector, e->has_error, e->error);
		tenon_vendor->inject(vcpu, TENON_EXCEPTION, e);
		vcpu->exception.pending = false;
		if (vcpu->injected.pending)
			want_irq = true;
		goto windows;
	}
	if (vcpu->injected.pending) {
		trace_tenon_inject(vcpu->id, "again", vcpu->injected.vector, false, 0);
		tenon_vendor->inject(vcpu, vcpu->injected_is_nmi ? TENON_NMI : TENON_INTERRUPT, &vcpu->injected);
		vcpu->injected.pending = false;
		goto windows;
	}
	/* A debugger steps through code, not through what comes in between. */
	if (unlikely(vcpu->guest_debug & KVM_GUESTDBG_BLOCKIRQ)) {
		set_windows(vcpu, false, false);
		return;
	}
	if (vcpu->nmi_pending) {
		if (tenon_vendor->can_take_nmi(vcpu)) {
			vcpu->nmi_pending--;
			vcpu->nmi_masked = true;
			vcpu->stats.nmis++;
			trace_tenon_inject(vcpu->id, "NMI", 2, false, 0);
			tenon_vendor->inject(vcpu, TENON_NMI, &(struct tenon_event){ .vector = 2 });
			goto windows;
		}
		want_nmi = true;
	}
	if (pending >= 0 && tenon_vendor->can_take_irq(vcpu)) {
		vector = tenon_irq_ack(vcpu);
		pending = irq_to_inject(vcpu);
		if (vector >= 0) {
			vcpu->stats.interrupts++;
			trace_tenon_inject(vcpu->id, "interrupt", vector, false, 0);
			tenon_vendor->inject(vcpu, TENON_INTERRUPT, &(struct tenon_event){ .vector = vector });
		}
	}

windows:
	if (pending >= 0)
		want_irq = true;
	/* With a user-space controller, the caller asks for the window. */
	if (READ_ONCE(vcpu->run->request_interrupt_window) && tenon_user_pic(vcpu))
		want_irq = true;
	set_windows(vcpu, want_irq, want_nmi);
}

/*
 * What was being delivered when the guest left has to be delivered again. INT n, INT3 and INTO are not among it: RIP still
 * stands on them. @event: its payload is CR2, whatever it is.
 */
void tenon_requeue(struct tenon_vcpu *vcpu, enum tenon_event_type type, const struct tenon_event *event)
{
	if (type == TENON_EXCEPTION) {
		vcpu->exception = *event;
		return;
	}
	vcpu->injected = *event;
	vcpu->injected_is_nmi = type == TENON_NMI;
}

int tenon_class_held(const struct lapic *apic, u64 tpr)
{
	const int vector = lapic_highest(apic, LAPIC_IRR);

	return vector >= 0 && vector >> 4 <= tpr ? vector >> 4 : -1;
}
