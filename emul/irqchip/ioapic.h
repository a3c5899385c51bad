/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ioapic.h - I/O APIC with 24 pins
 *
 * Sources: Intel "82093AA I/O Advanced Programmable Interrupt Controller (IOAPIC)"; the EOI register (version
 * 0x20) is that of the Intel I/O controller hubs.
 *
 * Contract: nothing here locks, allocates or reads a clock. Every function touches struct ioapic only and
 * calls struct ioapic_ops from inside; the owner serialises all calls on one IOAPIC. ioapic_ops.eoi may call
 * ioapic_set_pin() on the same IOAPIC (an irqfd that is resampled does); no other op may call back.
 */
#ifndef TENON_IRQCHIP_IOAPIC_H
#define TENON_IRQCHIP_IOAPIC_H

#include "../base.h"
#include "irq_msg.h"

#define IOAPIC_NR_PINS		24
#define IOAPIC_DEFAULT_BASE	0xfec00000u
#define IOAPIC_WINDOW_SIZE	0x100u

/* Memory-mapped registers: offsets from the base. */
#define IOAPIC_REGSEL		0x00
#define IOAPIC_WIN		0x10
#define IOAPIC_EOI		0x40	/* version 0x20 on */

/* Registers behind IOAPIC_WIN. */
#define IOAPIC_REG_ID		0x00
#define IOAPIC_REG_VERSION	0x01
#define IOAPIC_REG_ARB		0x02
#define IOAPIC_REG_REDIR(pin)	(0x10 + 2 * (pin))

#define IOAPIC_VERSION_82093AA	0x11	/* no EOI register */
#define IOAPIC_VERSION_EOI	0x20	/* EOI register at 0x40 */

/* Redirection table entry. */
#define IOAPIC_RTE_VECTOR	0xffull
#define IOAPIC_RTE_DELIVERY	(7ull << 8)
#define IOAPIC_RTE_LOGICAL	BIT_ULL(11)
#define IOAPIC_RTE_PENDING	BIT_ULL(12)	/* delivery status, read only */
#define IOAPIC_RTE_ACTIVE_LOW	BIT_ULL(13)
#define IOAPIC_RTE_REMOTE_IRR	BIT_ULL(14)	/* read only */
#define IOAPIC_RTE_LEVEL	BIT_ULL(15)
#define IOAPIC_RTE_MASKED	BIT_ULL(16)
#define IOAPIC_RTE_EXT_DEST	(0x7full << 49)	/* destination bits 14:8, with ioapic.ext_dest */
#define IOAPIC_RTE_DEST		(0xffull << 56)

/**
 * struct ioapic_ops - where the IOAPIC reports to
 * @deliver:	required; a message leaves for the local APICs. Return what lapic_deliver() returned. For
 *		IRQ_EXTINT, too
 * @eoi:	optional; a level-triggered @pin was acknowledged: the time to resample its source. Called
 *		with remote IRR
 *		already clear and before the pin is looked at again
 * @changed:	optional; redirection entries from @first to @last (inclusive) differ from before: routes and
 *		EOI-exit maps that were derived from them want an update
 */
struct ioapic_ops {
	int (*deliver)(void *ctx, const struct irq_msg *msg);
	void (*eoi)(void *ctx, unsigned int pin);
	void (*changed)(void *ctx, unsigned int first, unsigned int last);
};

/**
 * struct ioapic - one I/O APIC
 * @ops:	given to ioapic_init()
 * @ctx:	opaque pointer for @ops
 * @version:	IOAPIC_VERSION_82093AA or IOAPIC_VERSION_EOI
 * @ext_dest:	entries carry 15-bit destinations (KVM_FEATURE_MSI_EXT_DEST_ID); the owner may set it at any
 *		time before
 *		the guest runs
 * @regsel:	register selected
 * @id:		identification register, bits 27:24
 * @lines:	logical levels of the pins, bit by pin: true is asserted, whatever the polarity programmed
 * @redir:	redirection table. A plain value together with @regsel, @id and @lines: may be copied to save
 *		and
 *		restore (then ioapic_restored())
 */
struct ioapic {
	/* wiring */
	const struct ioapic_ops *ops;
	void *ctx;
	u8 version;
	bool ext_dest;
	/* state */
	u8 regsel;
	u32 id;
	u32 lines;
	u64 redir[IOAPIC_NR_PINS];
};

/**
 * ioapic_init() - wire an IOAPIC up and reset it
 * @ioapic:	storage, any content
 * @version:	IOAPIC_VERSION_EOI, or IOAPIC_VERSION_82093AA
 * @ops:	must outlive the IOAPIC
 * @ctx:	passed to every op
 */
void ioapic_init(struct ioapic *ioapic, u8 version, const struct ioapic_ops *ops, void *ctx);

/**
 * ioapic_reset() - power-on state: every pin masked, ID 0
 * @ioapic:	the IOAPIC
 *
 * The levels of the pins survive: they belong to the devices.
 */
void ioapic_reset(struct ioapic *ioapic);

/**
 * ioapic_set_pin() - a pin changed
 * @ioapic:	the IOAPIC
 * @pin:	0..23; other numbers are ignored
 * @level:	new logical level, true is asserted
 *
 * May call ioapic_ops.deliver. An edge on a masked pin is lost, as documented for the 82093AA.
 *
 * Return: what ioapic_ops.deliver returned; IRQ_NOT_DELIVERED if masked; IRQ_COALESCED if the edge is none,
 * or if a level-triggered interrupt waits for its EOI; 1 for a falling line.
 */
int ioapic_set_pin(struct ioapic *ioapic, unsigned int pin, bool level);

/**
 * ioapic_read() - guest reads a register, 32 bits
 * @ioapic:	the IOAPIC; only read
 * @offset:	offset from the base, below IOAPIC_WINDOW_SIZE
 *
 * Return: the register; all ones for what does not exist behind the window, 0 elsewhere.
 */
u32 ioapic_read(const struct ioapic *ioapic, u32 offset);

/**
 * ioapic_write() - guest writes a register, 32 bits
 * @ioapic:	the IOAPIC
 * @offset:	offset from the base
 * @value:	value; an 8-bit access to IOAPIC_REGSEL may be passed on zero-extended
 *
 * May call every op.
 */
void ioapic_write(struct ioapic *ioapic, u32 offset, u32 value);

/**
 * ioapic_eoi() - a local APIC broadcasts an EOI, or the guest wrote the EOI register
 * @ioapic:	the IOAPIC
 * @vector:	vector acknowledged
 *
 * Clears remote IRR of the level-triggered pins with this vector, then delivers again where the line is still
 * asserted. Call it from lapic_ops.eoi.
 */
void ioapic_eoi(struct ioapic *ioapic, u8 vector);

/**
 * ioapic_pin_msg() - the message that a pin would send now
 * @ioapic:	the IOAPIC; only read
 * @pin:	0..23
 * @msg:	out: the message
 *
 * Return: false if the pin is masked or does not exist; @msg is then untouched.
 */
bool ioapic_pin_msg(const struct ioapic *ioapic, unsigned int pin, struct irq_msg *msg);

/**
 * ioapic_restored() - act on state that was overwritten from outside
 * @ioapic:	the IOAPIC
 *
 * Clears bits that do not exist and delivers level-triggered pins that are asserted and not in service.
 */
void ioapic_restored(struct ioapic *ioapic);

#endif /* TENON_IRQCHIP_IOAPIC_H */
