/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pic.h - a pair of 8259A interrupt controllers, cascaded as in a PC
 *
 * Sources: Intel "8259A Programmable Interrupt Controller" data sheet; "82371AB PCI-TO-ISA/IDE Xcelerator
 * (PIIX4)" for the edge/level control registers.
 *
 * Contract: nothing here locks, allocates, sleeps or reads a clock. Every function touches struct pic only
 * and calls struct pic_ops from inside; the owner serialises all calls on one pair.
 *
 * One deliberate difference from the data sheet: an edge stays latched in the IRR when its line falls before
 * it is acknowledged (the data sheet answers such a request with a spurious IRQ 7). Sources that pulse their
 * line in zero time need that, and PC chipsets latch in the same way. Spurious answers remain for
 * level-triggered lines.
 */
#ifndef TENON_IRQCHIP_PIC_H
#define TENON_IRQCHIP_PIC_H

#include "../base.h"
#include "irq_msg.h"

#define PIC_NR_IRQS		16
#define PIC_CASCADE_IRQ		2

#define PIC_MASTER_CMD		0x20
#define PIC_MASTER_DATA		0x21
#define PIC_SLAVE_CMD		0xa0
#define PIC_SLAVE_DATA		0xa1
#define PIC_MASTER_ELCR		0x4d0
#define PIC_SLAVE_ELCR		0x4d1

/**
 * struct pic_ops - where the pair reports to
 * @set_output:	required; the INT output of the master went to @level. For edge-sensitive listeners INT goes
 *		low and
 *		high again on every INTA cycle that leaves a request, and on a new edge of the input that is
 *		already requesting. The wire goes to LINT0 of the local APICs (lapic_set_lint()) and may go to
 *		an IOAPIC pin. Must not call into the same pair
 * @eoi:	optional; @irq (0..15) left service, by EOI or automatically: the time to resample a
 *		level-triggered
 *		source. Called last; may call pic_set_irq()
 */
struct pic_ops {
	void (*set_output)(void *ctx, bool level);
	void (*eoi)(void *ctx, unsigned int irq);
};

/**
 * struct pic_chip - one 8259A
 * @lines:	levels of the eight inputs
 * @irr:	interrupt request register; for level-triggered inputs equal to @lines
 * @isr:	in-service register
 * @imr:	interrupt mask register (OCW1)
 * @elcr:	edge/level control: a set bit is a level-triggered input
 * @elcr_mask:	bits of @elcr that exist (wired to the chipset)
 * @base:	vector of input 0 (ICW2 bits 7:3)
 * @top:	input with the highest priority (0 unless rotated)
 * @icw_step:	initialisation word that the data port expects: 0 (none: OCW1) or 2, 3, 4
 * @icw1:	ICW1 as written. In a PC the ELCR stands in for its level mode, and a pair is always cascaded
 * @icw4:	ICW4 as written
 * @read_isr:	command port reads return ISR instead of IRR (OCW3)
 * @poll:	the next read of either port is a poll (OCW3)
 * @special_mask: special mask mode (OCW3)
 * @rotate_aeoi: rotate on automatic EOI (OCW2)
 */
struct pic_chip {
	/* inputs */
	u8 lines;
	/* request, service, mask */
	u8 irr;
	u8 isr;
	u8 imr;
	/* trigger modes, outside of the 8259A proper */
	u8 elcr;
	u8 elcr_mask;
	/* programmed by ICWs */
	u8 base;
	u8 icw_step;
	u8 icw1;
#define PIC_ICW1_IC4	0x01
#define PIC_ICW1_INIT	0x10
	u8 icw4;
#define PIC_ICW4_AEOI	0x02
#define PIC_ICW4_SFNM	0x10
	/* programmed by OCWs */
	u8 top;
	bool read_isr;
	bool poll;
	bool special_mask;
	bool rotate_aeoi;
};

/**
 * struct pic - master (chip 0) and slave (chip 1)
 * @ops:	given to pic_init()
 * @ctx:	opaque pointer for @ops
 * @chip:	guest-visible state; a plain value that may be copied to save and restore it (then
 *		pic_restored())
 * @output:	level last reported by pic_ops.set_output
 */
struct pic {
	/* wiring */
	const struct pic_ops *ops;
	void *ctx;
	/* state */
	struct pic_chip chip[2];
	bool output;
};

/**
 * pic_init() - wire a pair up and reset it
 * @pic:	storage, any content
 * @ops:	must outlive the pair
 * @ctx:	passed to every op
 */
void pic_init(struct pic *pic, const struct pic_ops *ops, void *ctx);

/**
 * pic_reset() - power-on state: nothing pending, unmasked, base 0, ELCR clear
 * @pic:	the pair
 *
 * The levels of the inputs survive: they belong to the devices.
 */
void pic_reset(struct pic *pic);

/**
 * pic_set_irq() - an input line changed, or was pulsed
 * @pic:	the pair
 * @irq:	0..15; other numbers, and 2 (the cascade), are ignored. Sharing a line (wired OR) is the
 *		owner's business
 * @level:	new level, true is asserted
 *
 * May call pic_ops.set_output.
 *
 * Return: 1 if the request is new, IRQ_COALESCED if it was pending, IRQ_NOT_DELIVERED if the line is masked;
 * 1 for a falling line.
 */
int pic_set_irq(struct pic *pic, unsigned int irq, bool level);

/**
 * pic_read() - guest reads a port
 * @pic:	the pair
 * @port:	one of the six PIC_* ports
 *
 * A poll read acknowledges, so this may call ops.
 *
 * Return: the byte; 0xff for another port.
 */
u8 pic_read(struct pic *pic, u16 port);

/**
 * pic_write() - guest writes a port
 * @pic:	the pair
 * @port:	one of the six PIC_* ports; other ports are ignored
 * @value:	byte written
 */
void pic_write(struct pic *pic, u16 port, u8 value);

/**
 * pic_ack() - the processor's INTA cycles
 * @pic:	the pair
 *
 * Moves the highest request into service and lets INT fall (and rise again if there is more).
 *
 * Return: the vector, 0..255. Without a request it is that of input 7 of the chip asked: the spurious
 * interrupt, which leaves ISR alone.
 */
u8 pic_ack(struct pic *pic);

/**
 * pic_output() - level of the master's INT output
 * @pic:	the pair; only read
 */
static inline bool pic_output(const struct pic *pic)
{
	return pic->output;
}

/**
 * pic_restored() - recompute what follows from pic.chip after it was overwritten
 * @pic:	the pair
 *
 * Sanitises fields out of range and reports the INT output through pic_ops.set_output, changed or not.
 */
void pic_restored(struct pic *pic);

#endif /* TENON_IRQCHIP_PIC_H */
