// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqchip-pic.c - the 8259A pair
 *
 * Oracle: Intel "8259A Programmable Interrupt Controller" data sheet (section titles in the test names); for
 * ELCR, Intel "82371AB (PIIX4)"; for the probe, what Linux's init_8259A() and probe_8259A() write and read.
 */
#include "../../../emul/irqchip/pic.h"
#include "tap.h"

static struct pic pic;
static unsigned int rises, eois, last_eoi;

static void set_output(void *ctx, bool level)
{
	(void)ctx;
	rises += level;
}

static void eoi(void *ctx, unsigned int irq)
{
	(void)ctx;
	eois++;
	last_eoi = irq;
}

static const struct pic_ops ops = { .set_output = set_output, .eoi = eoi };

/* As PC firmware and operating systems do it; @icw4 goes to the master. */
static void program(u8 icw4)
{
	pic_write(&pic, PIC_MASTER_CMD, 0x11);
	pic_write(&pic, PIC_MASTER_DATA, 0x30);
	pic_write(&pic, PIC_MASTER_DATA, 0x04);
	pic_write(&pic, PIC_MASTER_DATA, icw4);
	pic_write(&pic, PIC_SLAVE_CMD, 0x11);
	pic_write(&pic, PIC_SLAVE_DATA, 0x38);
	pic_write(&pic, PIC_SLAVE_DATA, 0x02);
	pic_write(&pic, PIC_SLAVE_DATA, 0x01);
}

static void fresh(u8 icw4)
{
	pic_init(&pic, &ops, NULL);
	program(icw4);
	rises = eois = 0;
}

static void pulse(unsigned int irq)
{
	pic_set_irq(&pic, irq, true);
	pic_set_irq(&pic, irq, false);
}

static u8 isr(u16 port)
{
	pic_write(&pic, port, 0x0b);
	return pic_read(&pic, port);
}

static u8 irr(u16 port)
{
	pic_write(&pic, port, 0x0a);
	return pic_read(&pic, port);
}

static void test_probe(void)
{
	pic_init(&pic, &ops, NULL);
	pic_write(&pic, PIC_SLAVE_DATA, 0xff);
	pic_write(&pic, PIC_MASTER_DATA, 0xfb);
	is_u64(pic_read(&pic, PIC_MASTER_DATA), 0xfb, "probe_8259A: the master's mask reads back");
	is_u64(pic_read(&pic, PIC_SLAVE_DATA), 0xff, "probe_8259A: the slave's mask reads back");
	program(0x01);
	is_u64(pic_read(&pic, PIC_MASTER_DATA), 0, "ICW1: the mask register is cleared");
	is_u64(pic_read(&pic, 0x70), 0xff, "a port that is none of its own reads as ones");
}

static void test_nesting(void)
{
	fresh(0x01);
	pulse(3);
	ok(pic_output(&pic), "Fully Nested Mode: IR3 raises INT");
	is_u64(irr(PIC_MASTER_CMD), 0x08, "OCW3: IRR shows it");
	is_u64(pic_ack(&pic), 0x33, "INTA returns base + 3");
	is_u64(isr(PIC_MASTER_CMD), 0x08, "OCW3: ISR shows it");
	is_u64(irr(PIC_MASTER_CMD), 0, "and IRR no longer");
	pulse(5);
	ok(!pic_output(&pic), "IR5 waits behind IR3");
	pulse(1);
	ok(pic_output(&pic), "IR1 does not");
	is_u64(pic_ack(&pic), 0x31, "INTA returns base + 1");
	pic_write(&pic, PIC_MASTER_CMD, 0x20);
	is_u64(isr(PIC_MASTER_CMD), 0x08, "Non-specific EOI ends the highest in service");
	is_u64(last_eoi, 1, "and reports input 1");
	ok(!pic_output(&pic), "IR5 still waits");
	pic_write(&pic, PIC_MASTER_CMD, 0x63);
	ok(pic_output(&pic), "Specific EOI of 3 lets IR5 through");
	is_u64(pic_ack(&pic), 0x35, "INTA returns base + 5");
}

static void test_cascade(void)
{
	fresh(0x01);
	pulse(12);
	is_u64(irr(PIC_MASTER_CMD), 0x04, "Cascade Mode: the slave requests at IR2");
	is_u64(pic_ack(&pic), 0x3c, "INTA returns the slave's vector");
	is_u64(isr(PIC_MASTER_CMD), 0x04, "IR2 of the master is in service");
	is_u64(isr(PIC_SLAVE_CMD), 0x10, "IR4 of the slave is in service");
	pulse(8);
	ok(!pic_output(&pic), "a second request of the slave waits for the master");
	pic_write(&pic, PIC_SLAVE_CMD, 0x20);
	pic_write(&pic, PIC_MASTER_CMD, 0x20);
	is_u64(last_eoi, 12, "the cascade input is not reported as an EOI");
	is_u64(eois, 1, "one EOI is reported");
	is_u64(pic_ack(&pic), 0x38, "then IRQ 8 comes");

	fresh(0x11);
	pulse(12);
	pic_ack(&pic);
	pulse(8);
	ok(pic_output(&pic), "Special Fully Nested Mode: the slave interrupts its own service");
	pulse(3);
	is_u64(pic_ack(&pic), 0x38, "with IRQ 8");
	ok(!pic_output(&pic), "but IR3 stays below IR2");
}

static void test_spurious(void)
{
	fresh(0x01);
	is_u64(pic_ack(&pic), 0x37, "INTA without a request: default IR7");
	is_u64(isr(PIC_MASTER_CMD), 0, "which is not in service (Linux asks for that)");
	pic_write(&pic, PIC_SLAVE_ELCR, 0x08);
	pic_set_irq(&pic, 11, true);
	pic_set_irq(&pic, 11, false);
	ok(!pic_output(&pic), "Level Triggered Mode: a request leaves with its level");
}

static void test_masks(void)
{
	fresh(0x01);
	pic_write(&pic, PIC_MASTER_DATA, 0x08);
	is_u64((u64)pic_set_irq(&pic, 3, true), (u64)IRQ_NOT_DELIVERED, "OCW1: a masked input tells so");
	ok(!pic_output(&pic), "and does not reach INT");
	pic_write(&pic, PIC_MASTER_DATA, 0);
	ok(pic_output(&pic), "the edge was latched: unmasking lets it through");
	is_u64((u64)pic_set_irq(&pic, 3, true), IRQ_COALESCED, "a request that is pending coalesces");

	fresh(0x01);
	pulse(2);
	ok(!pic_output(&pic), "the cascade input has no line");
	is_u64((u64)pic_set_irq(&pic, 16, true), (u64)IRQ_NOT_DELIVERED, "input 16 does not exist");

	fresh(0x01);
	pulse(1);
	pic_ack(&pic);
	pic_write(&pic, PIC_MASTER_DATA, 0x02);
	pic_write(&pic, PIC_MASTER_CMD, 0x68);
	pulse(6);
	ok(pic_output(&pic), "Special Mask Mode: a masked input in service does not hold back lower ones");
	is_u64(pic_ack(&pic), 0x36, "IR6 comes");
	pic_write(&pic, PIC_MASTER_CMD, 0x20);
	is_u64(isr(PIC_MASTER_CMD), 0x02, "Non-specific EOI leaves the masked one alone");
	pic_write(&pic, PIC_MASTER_CMD, 0x61);
	is_u64(isr(PIC_MASTER_CMD), 0, "Specific EOI reaches it");
}

static void test_levels(void)
{
	fresh(0x01);
	pic_write(&pic, PIC_MASTER_ELCR, 0xff);
	is_u64(pic_read(&pic, PIC_MASTER_ELCR), 0xf8, "ELCR1: IRQ 0, 1 and 2 stay edge-triggered");
	pic_write(&pic, PIC_SLAVE_ELCR, 0xff);
	is_u64(pic_read(&pic, PIC_SLAVE_ELCR), 0xde, "ELCR2: IRQ 8 and 13 stay edge-triggered");
	pic_set_irq(&pic, 5, true);
	is_u64(pic_ack(&pic), 0x35, "a level-triggered input interrupts");
	ok(!pic_output(&pic), "once while in service");
	pic_write(&pic, PIC_MASTER_CMD, 0x20);
	ok(pic_output(&pic), "and again after EOI while the line is high");
	pic_set_irq(&pic, 5, false);
	ok(!pic_output(&pic), "until it falls");
	pic_set_irq(&pic, 5, true);
	program(0x01);
	ok(pic_output(&pic), "ICW1 does not clear a level");

	fresh(0x01);
	pic_set_irq(&pic, 4, true);
	program(0x01);
	ok(!pic_output(&pic), "ICW1: \"the edge sense circuit is reset\"");
	pic_set_irq(&pic, 4, true);
	ok(!pic_output(&pic), "a line that stays high is no edge");
	pic_set_irq(&pic, 4, false);
	pic_set_irq(&pic, 4, true);
	ok(pic_output(&pic), "low and high again is");
}

static void test_rotation(void)
{
	fresh(0x01);
	pulse(4);
	pic_ack(&pic);
	pic_write(&pic, PIC_MASTER_CMD, 0xa0);
	pulse(4);
	pulse(7);
	is_u64(pic_ack(&pic), 0x37, "Automatic Rotation: after rotate on EOI of 4, IR7 stands above IR4");
	pic_write(&pic, PIC_MASTER_CMD, 0x20);
	is_u64(pic_ack(&pic), 0x34, "then IR4");
	pic_write(&pic, PIC_MASTER_CMD, 0x20);

	pic_write(&pic, PIC_MASTER_CMD, 0xc6);
	pulse(0);
	pulse(7);
	is_u64(pic_ack(&pic), 0x37, "Specific Rotation: with 6 the lowest, 7 is the highest");
	pic_write(&pic, PIC_MASTER_CMD, 0xe7);
	is_u64(isr(PIC_MASTER_CMD), 0, "rotate on specific EOI ends 7");
	is_u64(pic_ack(&pic), 0x30, "and IR0 follows");
	pic_write(&pic, PIC_MASTER_CMD, 0xe0);
	pulse(0);
	pulse(2 + 1);
	is_u64(pic_ack(&pic), 0x33, "rotate on specific EOI of 0: 0 is the lowest");

	fresh(0x03);
	pic_write(&pic, PIC_MASTER_CMD, 0x80);
	pulse(2 + 8);
	pulse(3);
	is_u64(pic_ack(&pic), 0x3a, "Automatic EOI: IRQ 10 comes");
	is_u64(isr(PIC_MASTER_CMD), 0, "and is not in service with the master");
	pulse(0);
	is_u64(pic_ack(&pic), 0x33, "Rotate in Automatic EOI Mode: IR3 is now the highest");
	is_u64(last_eoi, 3, "its end is reported at once");
}

static void test_poll(void)
{
	fresh(0x01);
	pic_write(&pic, PIC_MASTER_CMD, 0x0c);
	is_u64(pic_read(&pic, PIC_MASTER_CMD) & 0x80, 0, "Poll Command: nothing to serve");
	pulse(6);
	pic_write(&pic, PIC_MASTER_CMD, 0x0c);
	is_u64(pic_read(&pic, PIC_MASTER_CMD), 0x86, "Poll Command: IR6");
	is_u64(isr(PIC_MASTER_CMD), 0x40, "which is in service thereby");
	ok(!pic_output(&pic), "and INT is low");
	pulse(9);
	pic_write(&pic, PIC_SLAVE_CMD, 0x0c);
	is_u64(pic_read(&pic, PIC_SLAVE_DATA), 0x81, "the slave is polled alone, by either port");
}

static void test_wire(void)
{
	fresh(0x01);
	pulse(0);
	pulse(0);
	pulse(0);
	is_u64(rises, 3, "without INTA every edge of IR0 is an edge of INT (virtual wire to a fixed LINT0)");
	fresh(0x01);
	pulse(0);
	pulse(1);
	pic_ack(&pic);
	pic_write(&pic, PIC_MASTER_CMD, 0x20);
	is_u64(rises, 2, "INT goes low between two requests (ExtINT through an IOAPIC pin)");
}

static void test_restore(void)
{
	struct pic copy;

	fresh(0x01);
	pulse(3);
	copy = pic;
	pic_init(&pic, &ops, NULL);
	memcpy(pic.chip, copy.chip, sizeof(pic.chip));
	rises = 0;
	pic_restored(&pic);
	ok(rises >= 1 && pic_ack(&pic) == 0x33, "a pair restored from a copy goes on");
	memset(pic.chip, 0xff, sizeof(pic.chip));
	pic.chip[0].read_isr = pic.chip[0].poll = pic.chip[0].special_mask = pic.chip[0].rotate_aeoi = true;
	pic.chip[1].read_isr = pic.chip[1].poll = pic.chip[1].special_mask = pic.chip[1].rotate_aeoi = true;
	pic_restored(&pic);
	ok(pic.chip[0].top < 8 && pic.chip[1].icw_step <= 4, "garbage is brought into range");
}

/* Property: whatever is written, INT says whether the CPU would get a non-spurious vector. */
static void test_random(void)
{
	static const u16 ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x22 };
	u64 seed = tap_seed(0x8259), state = seed;
	unsigned int n, bad = 0;

	diag("seed %#llx", (unsigned long long)seed);
	pic_init(&pic, &ops, NULL);
	for (n = 0; n < 2000000; n++) {
		u64 r = tap_random(&state);
		u16 port = ports[(r >> 8) % ARRAY_SIZE(ports)];
		bool out;
		u8 before;

		switch (r & 7) {
		case 0:
		case 1:
			pic_write(&pic, port, r >> 16);
			break;
		case 2:
			pic_read(&pic, port);
			break;
		case 3:
			program(r >> 16 & 0x13);
			break;
		case 4:
			out = pic_output(&pic);
			before = pic.chip[0].isr | pic.chip[0].irr;
			pic_ack(&pic);
			bad += out && !before;
			break;
		default:
			pic_set_irq(&pic, r >> 16 & 31, r >> 32 & 1);
			break;
		}
		bad += pic.chip[0].top > 7 || pic.chip[1].top > 7 || pic.chip[0].icw_step > 4;
		bad += (pic.chip[0].irr ^ pic.chip[0].lines) & pic.chip[0].elcr ? 1 : 0;
		bad += (pic.chip[1].irr ^ pic.chip[1].lines) & pic.chip[1].elcr ? 1 : 0;
		bad += pic_output(&pic) && !(pic.chip[0].irr & ~pic.chip[0].imr);
	}
	is_u64(bad, 0, "2,000,000 random accesses keep the invariants");
}

int main(void)
{
	test_probe();
	test_nesting();
	test_cascade();
	test_spurious();
	test_masks();
	test_levels();
	test_rotation();
	test_poll();
	test_wire();
	test_restore();
	test_random();
	return tap_done();
}
