// SPDX-License-Identifier: GPL-2.0-only
/*
 * lapic-bus.c - who receives an interrupt message
 *
 * Source: Intel SDM vol. 3, "Determining IPI Destination" and "Lowest Priority Delivery Mode".
 */
#include "lapic-priv.h"

#define DFR_MODEL_SHIFT		28
#define DFR_FLAT		0xf
#define DFR_CLUSTER		0x0

#define BROADCAST		0xffu
#define BROADCAST_WIDE		0xffffffffu

static bool matches_logical(const struct lapic *apic, const struct irq_msg *msg)
{
	u32 ldr = lapic_reg(apic, LAPIC_LDR);

	if (lapic_is_x2apic(apic))
		return ldr >> 16 == msg->dest >> 16 && (ldr & msg->dest & 0xffff);

	/* An xAPIC has eight bits of logical ID. */
	if (msg->dest > 0xff)
		return false;
	ldr >>= 24;
	switch (lapic_reg(apic, LAPIC_DFR) >> DFR_MODEL_SHIFT) {
	case DFR_FLAT:
		return ldr & msg->dest;
	case DFR_CLUSTER:
		return ldr >> 4 == msg->dest >> 4 && (ldr & msg->dest & 0xf);
	default:
		return false;
	}
}

/* A local APIC in xAPIC mode takes the 0xffffffff of another in x2APIC mode, but no device's. */
static bool is_broadcast(const struct lapic *apic, const struct lapic *source, const struct irq_msg *msg)
{
	if (msg->dest == BROADCAST)
		return !msg->wide || (!source && !lapic_is_x2apic(apic));
	return msg->dest == BROADCAST_WIDE && (source || lapic_is_x2apic(apic));
}

bool lapic_matches(const struct lapic *apic, const struct lapic *source, const struct irq_msg *msg)
{
	if (!lapic_enabled(apic))
		return false;

	switch (msg->shorthand) {
	case IRQ_DEST_SELF:
		return apic == source;
	case IRQ_DEST_ALL:
		return true;
	case IRQ_DEST_OTHERS:
		return apic != source;
	}
	if (is_broadcast(apic, source, msg))
		return true;
	if (msg->logical)
		return matches_logical(apic, msg);
	/* All 32 bits in either mode: INIT and SIPI must reach IDs above 254 still in xAPIC mode. */
	return apic->config.id == msg->dest;
}

static int deliver_lowest(struct lapic *const *apics, unsigned int n, const struct lapic *source,
			  const struct irq_msg *msg)
{
	struct lapic *best = NULL;
	u8 best_ppr = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct lapic *apic = apics[i];
		u8 ppr;

		if (!apic || !lapic_software_enabled(apic) || !lapic_matches(apic, source, msg))
			continue;
		ppr = lapic_ppr(apic);
		/* The count wraps: what matters is which of two is ahead. */
		if (!best || ppr < best_ppr ||
		    (ppr == best_ppr && (s32)(__atomic_load_n(&apic->arbitration, __ATOMIC_RELAXED) -
					      __atomic_load_n(&best->arbitration, __ATOMIC_RELAXED)) < 0)) {
			best = apic;
			best_ppr = ppr;
		}
	}
	if (!best)
		return IRQ_NOT_DELIVERED;
	__atomic_fetch_add(&best->arbitration, 1, __ATOMIC_RELAXED);
	return lapic_accept(best, msg);
}

int lapic_deliver(struct lapic *const *apics, unsigned int n, const struct lapic *source,
		  const struct irq_msg *msg)
{
	int result = IRQ_NOT_DELIVERED;
	unsigned int i;

	if (msg->delivery == IRQ_LOWEST)
		return deliver_lowest(apics, n, source, msg);

	for (i = 0; i < n; i++) {
		int ret;

		if (!apics[i] || !lapic_matches(apics[i], source, msg))
			continue;
		ret = lapic_accept(apics[i], msg);
		if (ret >= 0)
			result = result < 0 ? ret : result + ret;
	}
	return result;
}
