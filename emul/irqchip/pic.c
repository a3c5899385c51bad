// SPDX-License-Identifier: GPL-2.0-only
/*
 * pic.c - a pair of 8259A interrupt controllers
 *
 * Priorities are circular: input "top" comes first, then top + 1 and so on, modulo 8. A request reaches INT
 * if it is not masked and stands above everything in service. INT of the slave is input 2 of the master.
 *
 * Example, a keyboard interrupt and its end: pic_set_irq(1, true) sets IRR bit 1 and raises INT; pic_ack()
 * moves the bit to ISR, lets INT fall and returns base + 1; inputs 1 to 7 are now held back, until OCW2 0x20
 * clears ISR bit 1.
 */
#include "pic.h"

enum { MASTER, SLAVE };

#define OCW2_COMMAND_SHIFT	5
#define OCW3			0x08	/* in bits 4:3 of a command byte; OCW2 has 0 there */
#define OCW3_RIS		0x01
#define OCW3_RR			0x02
#define OCW3_POLL		0x04
#define OCW3_SMM		0x20
#define OCW3_ESMM		0x40

#define SPURIOUS_INPUT		7

/* Place of an input in the order of priorities: 0 is the highest. */
static unsigned int chip_rank(const struct pic_chip *chip, unsigned int input)
{
	return (input - chip->top) & 7;
}

/* The input with the highest priority among @inputs, or -1. */
static int chip_highest(const struct pic_chip *chip, u8 inputs)
{
	unsigned int rank;

	for (rank = 0; rank < 8; rank++) {
		unsigned int input = (chip->top + rank) & 7;

		if (inputs & (1u << input))
			return input;
	}
	return -1;
}

/* The input for which the chip asserts INT, or -1. @sfnm_input is the one that a slave drives, or -1. */
static int chip_request(const struct pic_chip *chip, int sfnm_input)
{
	int request = chip_highest(chip, chip->irr & ~chip->imr);
	u8 blocking = chip->isr;
	int serving;

	/* Between ICW1 and the last ICW the chip does not know its vectors. */
	if (request < 0 || chip->icw_step)
		return -1;
	/* "Special Mask Mode": a masked input in service holds nothing back. */
	if (chip->special_mask)
		blocking &= ~chip->imr;
	serving = chip_highest(chip, blocking);
	if (serving < 0 || chip_rank(chip, request) < chip_rank(chip, serving))
		return request;
	/* "Special Fully Nested Mode": the slave may interrupt its own service with a higher priority. */
	if (request == serving && request == sfnm_input && (chip->icw4 & PIC_ICW4_SFNM))
		return request;
	return -1;
}

static int master_request(const struct pic *pic)
{
	return chip_request(&pic->chip[MASTER], PIC_CASCADE_IRQ);
}

static int slave_request(const struct pic *pic)
{
	return chip_request(&pic->chip[SLAVE], -1);
}

/* The input of the pair that causes INT, 0..15, or -1. */
static int pic_request(const struct pic *pic)
{
	int request = master_request(pic);

	if (request == PIC_CASCADE_IRQ) {
		request = slave_request(pic);
		if (request >= 0)
			request += 8;
	}
	return request;
}

static void pic_set_output(struct pic *pic, bool level)
{
	if (pic->output == level)
		return;
	pic->output = level;
	pic->ops->set_output(pic->ctx, level);
}

/* Carry a change of either chip to the outputs. The cascade input follows the slave like a level. */
static void pic_update(struct pic *pic)
{
	struct pic_chip *master = &pic->chip[MASTER];
	const u8 cascade = 1u << PIC_CASCADE_IRQ;

	if (slave_request(pic) >= 0)
		master->irr |= cascade;
	else
		master->irr &= ~cascade;
	pic_set_output(pic, master_request(pic) >= 0);
}

static void pic_notify_eoi(struct pic *pic, int irq)
{
	if (irq >= 0 && pic->ops->eoi)
		pic->ops->eoi(pic->ctx, irq);
}

/* INTA for one chip. Return: true if the input left service at once (automatic EOI). */
static bool chip_ack(struct pic_chip *chip, unsigned int input)
{
	const u8 bit = 1u << input;

	if (!(chip->elcr & bit))
		chip->irr &= ~bit;
	if (!(chip->icw4 & PIC_ICW4_AEOI)) {
		chip->isr |= bit;
		return false;
	}
	if (chip->rotate_aeoi)
		chip->top = (input + 1) & 7;
	return true;
}

/* Power-on for one chip. The inputs belong to the devices, and so do requests that follow their level. */
static void chip_reset(struct pic_chip *chip, u8 elcr_mask)
{
	const u8 lines = chip->lines;

	memset(chip, 0, sizeof(*chip));
	chip->lines = lines;
	chip->elcr_mask = elcr_mask;
}

void pic_init(struct pic *pic, const struct pic_ops *ops, void *ctx)
{
	memset(pic, 0, sizeof(*pic));
	pic->ops = ops;
	pic->ctx = ctx;
	pic_reset(pic);
}

void pic_reset(struct pic *pic)
{
	/* PIIX4, "Edge/Level Control Register": IRQ 0, 1, 2, 8 and 13 are always edge-triggered. */
	chip_reset(&pic->chip[MASTER], 0xf8);
	chip_reset(&pic->chip[SLAVE], 0xde);
	pic_update(pic);
}

int pic_set_irq(struct pic *pic, unsigned int irq, bool level)
{
	struct pic_chip *chip;
	bool pending, rising;
	u8 bit;

	if (irq >= PIC_NR_IRQS || irq == PIC_CASCADE_IRQ)
		return IRQ_NOT_DELIVERED;

	chip = &pic->chip[irq >> 3];
	bit = 1u << (irq & 7);
	pending = chip->irr & bit;
	rising = level && !(chip->lines & bit);

	if (level)
		chip->lines |= bit;
	else
		chip->lines &= ~bit;

	if (chip->elcr & bit) {
		chip->irr = (chip->irr & ~bit) | (chip->lines & bit);
	} else if (rising) {
		chip->irr |= bit;
		/*
		 * The 8259A proper withdraws INT when an edge-triggered line falls, so that a line that
		 * nobody acknowledges makes edges of INT. A LINT0 that is programmed fixed or NMI ("virtual
		 * wire" without INTA) counts on them.
		 */
		if (pending && pic_request(pic) == (int)irq)
			pic_set_output(pic, false);
	}
	pic_update(pic);

	if (!level)
		return 1;
	if (chip->imr & bit)
		return IRQ_NOT_DELIVERED;
	return pending ? IRQ_COALESCED : 1;
}

u8 pic_ack(struct pic *pic)
{
	struct pic_chip *master = &pic->chip[MASTER];
	struct pic_chip *slave = &pic->chip[SLAVE];
	int irq = master_request(pic);
	int done = -1, slave_done = -1;
	u8 vector;

	if (irq < 0)
		return master->base + SPURIOUS_INPUT;

	if (irq == PIC_CASCADE_IRQ) {
		int input = slave_request(pic);

		if (input < 0) {
			vector = slave->base + SPURIOUS_INPUT;
		} else {
			vector = slave->base + input;
			if (chip_ack(slave, input))
				slave_done = input + 8;
		}
	} else {
		vector = master->base + irq;
	}
	if (chip_ack(master, irq))
		done = irq;

	pic_set_output(pic, false);
	pic_update(pic);
	pic_notify_eoi(pic, slave_done);
	if (done != PIC_CASCADE_IRQ)
		pic_notify_eoi(pic, done);
	return vector;
}

/* "Poll Command": a read that stands in for INTA, for this chip alone. */
static u8 pic_poll(struct pic *pic, unsigned int n)
{
	struct pic_chip *chip = &pic->chip[n];
	int input = n == MASTER ? master_request(pic) : slave_request(pic);
	int done = -1;

	chip->poll = false;
	if (input < 0)
		return 0;
	if (chip_ack(chip, input))
		done = input + 8 * n;
	if (n == MASTER)
		pic_set_output(pic, false);
	pic_update(pic);
	if (done != PIC_CASCADE_IRQ)
		pic_notify_eoi(pic, done);
	return 0x80 | input;
}

/* OCW2 for one chip. Return: the input that left service, or -1. */
static int chip_ocw2(struct pic_chip *chip, u8 value)
{
	unsigned int level = value & 7;
	int input = -1;
	u8 eligible = chip->isr;

	switch (value >> OCW2_COMMAND_SHIFT) {
	case 0:	/* rotate in automatic EOI mode: off */
		chip->rotate_aeoi = false;
		break;
	case 4:	/* and on */
		chip->rotate_aeoi = true;
		break;
	case 1:	/* non-specific EOI */
	case 5:	/* the same, and rotate */
		/* In special mask mode a masked input in service is out of its reach. */
		if (chip->special_mask)
			eligible &= ~chip->imr;
		input = chip_highest(chip, eligible);
		if (input < 0)
			break;
		chip->isr &= ~(1u << input);
		if (value >> OCW2_COMMAND_SHIFT == 5)
			chip->top = (input + 1) & 7;
		break;
	case 3:	/* specific EOI */
	case 7:	/* the same, and rotate */
		if (chip->isr & (1u << level))
			input = level;
		chip->isr &= ~(1u << level);
		if (value >> OCW2_COMMAND_SHIFT == 7)
			chip->top = (level + 1) & 7;
		break;
	case 6:	/* set priority: @level becomes the lowest */
		chip->top = (level + 1) & 7;
		break;
	default: /* no operation */
		break;
	}
	return input;
}

static void chip_ocw3(struct pic_chip *chip, u8 value)
{
	if (value & OCW3_POLL)
		chip->poll = true;
	if (value & OCW3_RR)
		chip->read_isr = value & OCW3_RIS;
	if (value & OCW3_ESMM)
		chip->special_mask = value & OCW3_SMM;
}

/* ICW1: "the edge sense circuit is reset", masks and modes are cleared, input 7 is the lowest. */
static void chip_icw1(struct pic_chip *chip, u8 value)
{
	chip->irr = chip->lines & chip->elcr;
	chip->isr = 0;
	chip->imr = 0;
	chip->top = 0;
	chip->icw1 = value;
	chip->icw4 = 0;
	chip->icw_step = 2;
	chip->poll = false;
	chip->read_isr = false;
	chip->special_mask = false;
	chip->rotate_aeoi = false;
}

static void pic_write_command(struct pic *pic, unsigned int n, u8 value)
{
	struct pic_chip *chip = &pic->chip[n];
	int done = -1;

	if (value & PIC_ICW1_INIT)
		chip_icw1(chip, value);
	else if (value & OCW3)
		chip_ocw3(chip, value);
	else
		done = chip_ocw2(chip, value);

	if (done >= 0)
		done += 8 * n;
	pic_update(pic);
	if (done != PIC_CASCADE_IRQ)
		pic_notify_eoi(pic, done);
}

static void pic_write_data(struct pic *pic, unsigned int n, u8 value)
{
	struct pic_chip *chip = &pic->chip[n];

	switch (chip->icw_step) {
	case 2:
		chip->base = value & 0xf8;
		chip->icw_step = 3;
		break;
	case 3:	/* which input is cascaded: fixed by the board */
		chip->icw_step = chip->icw1 & PIC_ICW1_IC4 ? 4 : 0;
		break;
	case 4:
		chip->icw4 = value;
		chip->icw_step = 0;
		break;
	default:
		chip->imr = value;
		break;
	}
	pic_update(pic);
}

static void pic_write_elcr(struct pic *pic, unsigned int n, u8 value)
{
	struct pic_chip *chip = &pic->chip[n];
	u8 changed;

	value &= chip->elcr_mask;
	changed = chip->elcr ^ value;
	chip->elcr = value;
	/* To level: the request is the line. To edge: it takes a new edge. */
	chip->irr = (chip->irr & ~changed) | (chip->lines & changed & value);
	pic_update(pic);
}

static u8 pic_read_chip(struct pic *pic, unsigned int n, bool data)
{
	const struct pic_chip *chip = &pic->chip[n];

	if (chip->poll)
		return pic_poll(pic, n);
	if (data)
		return chip->imr;
	return chip->read_isr ? chip->isr : chip->irr;
}

u8 pic_read(struct pic *pic, u16 port)
{
	switch (port) {
	case PIC_MASTER_CMD:
		return pic_read_chip(pic, MASTER, false);
	case PIC_MASTER_DATA:
		return pic_read_chip(pic, MASTER, true);
	case PIC_SLAVE_CMD:
		return pic_read_chip(pic, SLAVE, false);
	case PIC_SLAVE_DATA:
		return pic_read_chip(pic, SLAVE, true);
	case PIC_MASTER_ELCR:
		return pic->chip[MASTER].elcr;
	case PIC_SLAVE_ELCR:
		return pic->chip[SLAVE].elcr;
	default:
		return 0xff;
	}
}

void pic_write(struct pic *pic, u16 port, u8 value)
{
	switch (port) {
	case PIC_MASTER_CMD:
		pic_write_command(pic, MASTER, value);
		break;
	case PIC_MASTER_DATA:
		pic_write_data(pic, MASTER, value);
		break;
	case PIC_SLAVE_CMD:
		pic_write_command(pic, SLAVE, value);
		break;
	case PIC_SLAVE_DATA:
		pic_write_data(pic, SLAVE, value);
		break;
	case PIC_MASTER_ELCR:
		pic_write_elcr(pic, MASTER, value);
		break;
	case PIC_SLAVE_ELCR:
		pic_write_elcr(pic, SLAVE, value);
		break;
	}
}

static void chip_restored(struct pic_chip *chip, u8 elcr_mask)
{
	chip->elcr_mask = elcr_mask;
	chip->elcr &= elcr_mask;
	chip->top &= 7;
	chip->base &= 0xf8;
	if (chip->icw_step == 1 || chip->icw_step > 4)
		chip->icw_step = 0;
	/* A format without lines (struct kvm_pic_state) implies them for level-triggered inputs. */
	chip->lines |= chip->irr & chip->elcr;
	chip->irr |= chip->lines & chip->elcr;
}

void pic_restored(struct pic *pic)
{
	chip_restored(&pic->chip[MASTER], 0xf8);
	chip_restored(&pic->chip[SLAVE], 0xde);
	pic_update(pic);
	pic->ops->set_output(pic->ctx, pic->output);
}
