// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqchip-ioapic.c - the I/O APIC, and MSI decoding
 *
 * Oracle: Intel "82093AA I/O Advanced Programmable Interrupt Controller", Intel SDM vol. 3 "Message Signalled
 * Interrupts", and the sequences of Linux's io_apic.c (version, __eoi_ioapic_pin(), clear_IO_APIC_pin()).
 */
#include "../../../emul/irqchip/ioapic.h"
#include "tap.h"

static struct ioapic ioapic;
static struct irq_msg last;
static unsigned int sent, resampled, changes;
static int answer = 1;
static bool drop_on_eoi;

static int deliver(void *ctx, const struct irq_msg *msg)
{
	(void)ctx;
	sent++;
	last = *msg;
	return answer;
}

static void eoi(void *ctx, unsigned int pin)
{
	(void)ctx;
	resampled++;
	if (drop_on_eoi)
		ioapic_set_pin(&ioapic, pin, false);
}

static void changed(void *ctx, unsigned int first, unsigned int last_pin)
{
	(void)ctx;
	changes += last_pin - first + 1;
}

static const struct ioapic_ops ops = { .deliver = deliver, .eoi = eoi, .changed = changed };

static void fresh(u8 version)
{
	ioapic_init(&ioapic, version, &ops, NULL);
	sent = resampled = changes = 0;
	answer = 1;
	drop_on_eoi = false;
}

static u32 rd(u8 reg)
{
	ioapic_write(&ioapic, IOAPIC_REGSEL, reg);
	return ioapic_read(&ioapic, IOAPIC_WIN);
}

static void wr(u8 reg, u32 value)
{
	ioapic_write(&ioapic, IOAPIC_REGSEL, reg);
	ioapic_write(&ioapic, IOAPIC_WIN, value);
}

static void route(unsigned int pin, u32 low, u32 high)
{
	wr(IOAPIC_REG_REDIR(pin) + 1, high);
	wr(IOAPIC_REG_REDIR(pin), low);
}

static void test_registers(void)
{
	unsigned int pin, masked = 0;

	fresh(IOAPIC_VERSION_EOI);
	is_u64(rd(IOAPIC_REG_VERSION), 0x00170020, "IOAPICVER: version 0x20, 24 entries");
	for (pin = 0; pin < IOAPIC_NR_PINS; pin++)
		masked += rd(IOAPIC_REG_REDIR(pin)) == 0x10000;
	is_u64(masked, IOAPIC_NR_PINS, "IOREDTBL: all masked after reset");
	wr(IOAPIC_REG_ID, 0xffffffff);
	is_u64(rd(IOAPIC_REG_ID), 0x0f000000, "IOAPICID: bits 27:24");
	is_u64(rd(IOAPIC_REG_ARB), 0x0f000000, "IOAPICARB follows it");
	wr(IOAPIC_REG_REDIR(3), 0xffffffff);
	is_u64(rd(IOAPIC_REG_REDIR(3)), 0x1afff, "IOREDTBL: status, remote IRR, reserved: read only");
	wr(IOAPIC_REG_REDIR(3) + 1, 0xffffffff);
	is_u64(rd(IOAPIC_REG_REDIR(3) + 1), 0xff000000, "IOREDTBL: destination");
	is_u64(rd(IOAPIC_REG_REDIR(24)), 0xffffffff, "entry 24 does not exist");
	is_u64(ioapic_read(&ioapic, 0x14), 0, "nor does offset 0x14");
	fresh(IOAPIC_VERSION_82093AA);
	is_u64(rd(IOAPIC_REG_VERSION), 0x00170011, "IOAPICVER of an 82093AA");
	ioapic.ext_dest = true;
	wr(IOAPIC_REG_REDIR(1) + 1, 0xffffffff);
	is_u64(rd(IOAPIC_REG_REDIR(1) + 1), 0xfffe0000, "extended destinations have 7 bits more");
	wr(IOAPIC_REG_REDIR(1), 0x31);
	ioapic_set_pin(&ioapic, 1, true);
	is_u64(last.dest, 0x7fff, "and reach the message");
}

static void test_edge(void)
{
	fresh(IOAPIC_VERSION_EOI);
	route(2, 0x0930, 0x03000000);
	is_u64(ioapic_set_pin(&ioapic, 2, true), 1, "an edge is delivered");
	ok(sent == 1 && last.vector == 0x30 && last.delivery == IRQ_LOWEST && last.logical && !last.level &&
	   last.dest == 3, "as programmed: lowest priority, logical");
	is_u64((u64)ioapic_set_pin(&ioapic, 2, true), IRQ_COALESCED, "a line that stays high is no edge");
	ioapic_set_pin(&ioapic, 2, false);
	wr(IOAPIC_REG_REDIR(2), 0x10930);
	is_u64((u64)ioapic_set_pin(&ioapic, 2, true), (u64)IRQ_NOT_DELIVERED, "masked: not delivered");
	wr(IOAPIC_REG_REDIR(2), 0x0930);
	is_u64(sent, 1, "masked: edges are \"not delivered or held pending\"");
	is_u64((u64)ioapic_set_pin(&ioapic, 24, true), (u64)IRQ_NOT_DELIVERED, "pin 24 does not exist");
	route(4, 0x8400, 0);
	ioapic_set_pin(&ioapic, 4, true);
	ok(last.delivery == IRQ_NMI && !(rd(IOAPIC_REG_REDIR(4)) & 0x4000),
	   "NMI is an edge, even if told level");
	route(0, 0x0700, 0);
	ioapic_set_pin(&ioapic, 0, true);
	ok(last.delivery == IRQ_EXTINT, "ExtINT is passed on (check_timer(): \"timer through the 8259A\")");
}

static void test_level(void)
{
	fresh(IOAPIC_VERSION_EOI);
	route(10, 0xa051, 0x01000000);
	is_u64(ioapic_set_pin(&ioapic, 10, true), 1, "a level is delivered");
	ok(last.level && rd(IOAPIC_REG_REDIR(10)) == 0xe051, "remote IRR is set");
	is_u64((u64)ioapic_set_pin(&ioapic, 10, true), IRQ_COALESCED, "and holds the next back");
	ioapic_eoi(&ioapic, 0x52);
	is_u64(sent, 1, "EOI of another vector does not matter");
	ioapic_eoi(&ioapic, 0x51);
	ok(sent == 2 && resampled == 1, "EOI delivers again while the line is asserted");
	drop_on_eoi = true;
	ioapic_eoi(&ioapic, 0x51);
	ok(sent == 2 && rd(IOAPIC_REG_REDIR(10)) == 0xa051, "not if the source lets go when resampled");
	drop_on_eoi = false;

	ioapic_set_pin(&ioapic, 10, true);
	ioapic_write(&ioapic, IOAPIC_EOI, 0x51);
	is_u64(sent, 4, "the EOI register does the same (directed EOI)");
	wr(IOAPIC_REG_REDIR(10), 0x1a051);
	ok(rd(IOAPIC_REG_REDIR(10)) & 0x4000, "masking keeps remote IRR");
	wr(IOAPIC_REG_REDIR(10), 0x12051);
	wr(IOAPIC_REG_REDIR(10), 0x1a051);
	ok(!(rd(IOAPIC_REG_REDIR(10)) & 0x4000), "__eoi_ioapic_pin(): mask, edge and back clears remote IRR");
	wr(IOAPIC_REG_REDIR(10), 0xa051);
	is_u64(sent, 5, "unmasking delivers a level that stands");

	answer = IRQ_COALESCED;
	ioapic_eoi(&ioapic, 0x51);
	ok(rd(IOAPIC_REG_REDIR(10)) & 0x4000, "pending in the local APIC already: its EOI is to come");
	answer = IRQ_NOT_DELIVERED;
	ioapic_eoi(&ioapic, 0x51);
	is_u64(rd(IOAPIC_REG_REDIR(10)), 0xb051, "no receiver: delivery status is \"send pending\"");
	answer = 1;
	wr(IOAPIC_REG_REDIR(10), 0xa051);
	is_u64(rd(IOAPIC_REG_REDIR(10)), 0xe051, "and delivered when there is one");

	fresh(IOAPIC_VERSION_82093AA);
	route(10, 0xa051, 0x01000000);
	ioapic_set_pin(&ioapic, 10, true);
	ioapic_write(&ioapic, IOAPIC_EOI, 0x51);
	is_u64(sent, 1, "an 82093AA has no EOI register");
}

static void test_restore(void)
{
	struct irq_msg msg;
	unsigned int pin;

	fresh(IOAPIC_VERSION_EOI);
	ioapic.lines = ~0u;
	for (pin = 0; pin < IOAPIC_NR_PINS; pin++)
		ioapic.redir[pin] = pin & 1 ? 0x10000 : ~0xffffull << 48 | 0x8030;
	ioapic_restored(&ioapic);
	ok(sent == 12 && changes == 24 && ioapic.lines == 0xffffff, "restored levels are delivered");
	ok(ioapic_pin_msg(&ioapic, 2, &msg) && msg.vector == 0x30 && msg.level,
	   "ioapic_pin_msg() shows the message");
	ok(!ioapic_pin_msg(&ioapic, 3, &msg) && !ioapic_pin_msg(&ioapic, 24, &msg),
	   "but none of a masked pin");
}

static void test_msi(void)
{
	struct irq_msg msg = { .vector = 1 };

	ok(irq_msg_from_msi(&msg, 0xfee03000, 0x4041, 0), "MSI: an address in the window");
	ok(msg.dest == 3 && msg.vector == 0x41 && msg.delivery == IRQ_FIXED && !msg.logical && !msg.level &&
	   !msg.wide,
	   "fixed, physical, edge");
	irq_msg_from_msi(&msg, 0xfeeff00c, 0x8041, 0);
	ok(msg.dest == 0xff && msg.logical && msg.level && msg.delivery == IRQ_LOWEST,
	   "redirection hint and logical mode: one of them");
	irq_msg_from_msi(&msg, 0xfee00000, 0x8400, 0);
	ok(msg.delivery == IRQ_NMI && !msg.level, "an NMI has no trigger mode");
	ok(!irq_msg_from_msi(&msg, 0xfed00000, 0x41, 0), "no window, no message");
	ok(!irq_msg_from_msi(&msg, 0x1fee00000, 0x41, 0), "above 4 GiB: none");
	irq_msg_from_msi(&msg, 0x12345600fee78000, 0x41, IRQ_MSI_X2APIC);
	ok(msg.dest == 0x12345678 && !msg.wide, "x2APIC format: the high address is the high destination");
	irq_msg_from_msi(&msg, 0xfeeff000, 0x41, IRQ_MSI_WIDE);
	ok(msg.dest == 0xff && msg.wide, "and 0xff can be said to be an ID");
	irq_msg_from_msi(&msg, 0xfee01020, 0x41, IRQ_MSI_EXT_DEST);
	is_u64(msg.dest, 0x101, "extended destination: address bits 11:5");
}

static void test_random(void)
{
	u64 seed = tap_seed(0x82093), state = seed;
	unsigned int n, pin, bad = 0;

	diag("seed %#llx", (unsigned long long)seed);
	fresh(IOAPIC_VERSION_EOI);
	for (n = 0; n < 500000; n++) {
		u64 r = tap_random(&state);

		answer = (int)(r >> 60) % 3 - 1;
		drop_on_eoi = r >> 59 & 1;
		switch (r & 7) {
		case 0:
			ioapic_write(&ioapic, r >> 8 & 0x70, r >> 16);
			break;
		case 1:
			wr(r >> 8 & 0x3f, r >> 16);
			break;
		case 2:
			rd(r >> 8);
			break;
		case 3:
			ioapic_eoi(&ioapic, r >> 8);
			break;
		default:
			ioapic_set_pin(&ioapic, r >> 8 & 31, r >> 16 & 1);
			break;
		}
		for (pin = 0; pin < IOAPIC_NR_PINS; pin++) {
			u64 rte = ioapic.redir[pin];
			bool level = (rte & IOAPIC_RTE_LEVEL) && (rte >> 8 & 7) <= IRQ_LOWEST;

			bad += !level && (rte & (IOAPIC_RTE_REMOTE_IRR | IOAPIC_RTE_PENDING));
			/* A level that stands unmasked is in service, or has found no taker. */
			bad += level && !(rte & IOAPIC_RTE_MASKED) && (ioapic.lines >> pin & 1) &&
			       !(rte & (IOAPIC_RTE_REMOTE_IRR | IOAPIC_RTE_PENDING));
		}
	}
	is_u64(bad, 0, "500,000 random accesses keep the invariants");
}

int main(void)
{
	test_registers();
	test_edge();
	test_level();
	test_restore();
	test_msi();
	test_random();
	return tap_done();
}
