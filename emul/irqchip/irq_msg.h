/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irq_msg.h - an interrupt message on its way to local APICs
 *
 * IOAPIC pins, MSIs and the interrupt command register all end as one struct irq_msg; lapic_deliver() is
 * where it goes.
 */
#ifndef TENON_IRQCHIP_IRQ_MSG_H
#define TENON_IRQCHIP_IRQ_MSG_H

#include "../base.h"

/**
 * enum irq_delivery - delivery mode, in the encoding that redirection entries, MSI data, LVT and ICR share
 * @IRQ_FIXED:	the vector goes to every local APIC that the destination names
 * @IRQ_LOWEST:	the vector goes to the one with the lowest processor priority among those
 * @IRQ_SMI:	system management interrupt, no vector
 * @IRQ_REMOTE_READ: retired by the manuals; accepted nowhere
 * @IRQ_NMI:	non-maskable interrupt, no vector
 * @IRQ_INIT:	INIT, no vector
 * @IRQ_SIPI:	start-up IPI; the vector is the page number of the entry point
 * @IRQ_EXTINT:	the processor fetches the vector from the PIC pair
 */
enum irq_delivery {
	IRQ_FIXED	= 0,
	IRQ_LOWEST	= 1,
	IRQ_SMI		= 2,
	IRQ_REMOTE_READ	= 3,
	IRQ_NMI		= 4,
	IRQ_INIT	= 5,
	IRQ_SIPI	= 6,
	IRQ_EXTINT	= 7,
};

/**
 * enum irq_shorthand - destination shorthand of the interrupt command register
 * @IRQ_DEST_FIELD: no shorthand: irq_msg.dest counts
 * @IRQ_DEST_SELF: the sender only
 * @IRQ_DEST_ALL: all, the sender included
 * @IRQ_DEST_OTHERS: all but the sender
 */
enum irq_shorthand {
	IRQ_DEST_FIELD	= 0,
	IRQ_DEST_SELF	= 1,
	IRQ_DEST_ALL	= 2,
	IRQ_DEST_OTHERS	= 3,
};

/**
 * struct irq_msg - one interrupt message
 * @dest:	destination: APIC ID, or a logical destination if @logical
 * @vector:	vector; page number for IRQ_SIPI; without meaning for SMI, NMI, INIT and EXTINT
 * @delivery:	enum irq_delivery
 * @shorthand:	enum irq_shorthand; not IRQ_DEST_FIELD only for messages of an ICR
 * @logical:	logical destination mode (else physical)
 * @level:	level-triggered: the receiver sets its TMR bit and broadcasts the EOI
 * @deassert:	an "INIT level de-assert": synchronises arbitration IDs on old buses, ignored by every
 *		receiver here
 * @wide:	0xff is APIC 255 for a local APIC in x2APIC mode, and its broadcast 0xffffffff. Otherwise 0xff is
 *		everybody
 */
struct irq_msg {
	u32 dest;
	u8 vector;
	u8 delivery;
	u8 shorthand;
	bool logical;
	bool level;
	bool deassert;
	bool wide;
};

/*
 * What a delivery came to: the return value of lapic_deliver(), ioapic_set_pin() and pic_set_irq(), and of
 * the ops that call them. Above 0 it is the number of receivers (KVM_IRQ_LINE_STATUS and KVM_SIGNAL_MSI
 * answer in this form).
 */
#define IRQ_NOT_DELIVERED	(-1)	/* masked, or no receiver matches */
#define IRQ_COALESCED		0	/* the same interrupt was pending already */

/* MSI flags: how the address may be extended beyond an 8-bit destination. */
#define IRQ_MSI_X2APIC		0x1	/* address 63:40: destination 31:8 (KVM_X2APIC_API_USE_32BIT_IDS) */
#define IRQ_MSI_EXT_DEST	0x2	/* address 11:5: destination 14:8 (KVM_FEATURE_MSI_EXT_DEST_ID) */
#define IRQ_MSI_WIDE		0x4	/* irq_msg.wide (KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK) */

/**
 * irq_msg_from_msi() - decode an MSI write into a message
 * @msg:	out: the message
 * @addr:	guest-physical address written to
 * @data:	data written
 * @flags:	IRQ_MSI_* extensions that the guest was told about
 *
 * Pure function; touches no chip. Source: Intel SDM vol. 3, "Message Address Register Format" and "Message
 * Data Register Format".
 *
 * Return: false, with @msg untouched, if @addr does not lie in the interrupt window 0xfeexxxxx.
 */
static inline bool irq_msg_from_msi(struct irq_msg *msg, u64 addr, u32 data, unsigned int flags)
{
	const bool redirection_hint = addr & BIT(3);
	u64 high = addr >> 32;
	u32 dest = (addr >> 12) & 0xff;

	if ((addr & 0xfff00000u) != 0xfee00000u)
		return false;
	if (flags & IRQ_MSI_X2APIC) {
		if (high & 0xff)
			return false;
		dest |= high & 0xffffff00u;
	} else if (high) {
		return false;
	}
	if (flags & IRQ_MSI_EXT_DEST)
		dest |= ((addr >> 5) & 0x7f) << 8;

	*msg = (struct irq_msg) {
		.dest = dest,
		.vector = data & 0xff,
		.delivery = (data >> 8) & 7,
		.logical = addr & BIT(2),
		.level = data & BIT(15),
		.wide = flags & IRQ_MSI_WIDE,
	};
	/* The redirection hint asks for one receiver among those of a logical destination. */
	if (redirection_hint && msg->logical && msg->delivery == IRQ_FIXED)
		msg->delivery = IRQ_LOWEST;
	/* Only vectored messages have a trigger mode that anyone keeps. */
	if (msg->delivery != IRQ_FIXED && msg->delivery != IRQ_LOWEST)
		msg->level = false;
	return true;
}

#endif /* TENON_IRQCHIP_IRQ_MSG_H */
