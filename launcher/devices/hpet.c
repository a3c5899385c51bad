// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpet.c - the high precision event timer in the machine: emul/irqchip/hpet.h with a clock and wires
 *
 * In legacy replacement mode it drives the interrupts of the PIT and the clock, which are taken off them. The others
 * are inputs of the IOAPIC that PCI has, too.
 */
#include <errno.h>
#include <stdlib.h>

#include "../../emul/irqchip/hpet.h"
#include "../machine/pc.h"
#include "../machine/pci.h"
#include "../soft-chips.h"
#include "devices.h"

/* What the tables say. */
_Static_assert(PC_HPET_ADDR == HPET_DEFAULT_BASE && PC_HPET_SIZE == HPET_WINDOW_SIZE, "place");
_Static_assert(PC_HPET_ID == HPET_ID, "capabilities");
_Static_assert(PC_HPET_MIN_TICKS * HPET_TICK_NS >= CHIPS_TIMER_MIN_NS, "shortest period");

struct board_hpet {
	struct vm *vm;
	struct timer timer;
	struct hpet hpet;
};

static void set_irq(void *ctx, unsigned int irq, bool level)
{
	struct board_hpet *h = ctx;

	if (irq < 16)
		vm_irq(h->vm, irq, level);
	else
		pci_share_line(h->vm->pci, irq, level);
}

static void legacy(void *ctx, bool on)
{
	struct board_hpet *h = ctx;

	if (h->vm->config.accel->pit_irq)
		h->vm->config.accel->pit_irq(h->vm, !on);
	rtc_connect_irq(h->vm, !on);
}

static void rearm(void *ctx)
{
	struct board_hpet *h = ctx;
	u64 at = hpet_deadline(&h->hpet);

	timer_set(&h->vm->loop, &h->timer, at == HPET_DEADLINE_NONE ? TIMER_OFF : at);
}

static const struct hpet_ops hpet_ops = {
	.set_irq	= set_irq,
	.legacy		= legacy,
	.rearm		= rearm,
};

static void timer_fn(void *opaque)
{
	struct board_hpet *h = opaque;
	u64 now = guest_ns(&h->vm->loop), next;

	hpet_advance(&h->hpet, now);
	next = hpet_deadline(&h->hpet);
	if (next != HPET_DEADLINE_NONE)
		timer_set(&h->vm->loop, &h->timer, max(next, now + CHIPS_TIMER_MIN_NS));
}

static uint64_t board_read(void *opaque, uint64_t off, unsigned int len)
{
	struct board_hpet *h = opaque;

	return hpet_read(&h->hpet, (u32)off, len, guest_ns(&h->vm->loop));
}

static void board_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct board_hpet *h = opaque;

	hpet_write(&h->hpet, (u32)off, len, val, guest_ns(&h->vm->loop));
}

static const struct region_ops board_ops = { .read = board_read, .write = board_write };

static int board_init(struct vm *vm, void **state)
{
	struct board_hpet *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->vm = vm;
	*state = h;
	timer_init_guest(&h->timer, timer_fn, h);
	hpet_init(&h->hpet, &hpet_ops, h);
	return bus_add(&vm->mmio, HPET_DEFAULT_BASE, HPET_WINDOW_SIZE, &board_ops, h, "hpet");
}

static void board_reset(struct vm *vm, void *state)
{
	struct board_hpet *h = state;

	(void)vm;
	hpet_reset(&h->hpet);
}

static void board_exit(struct vm *vm, void *state)
{
	struct board_hpet *h = state;

	if (!h)
		return;
	timer_set(&vm->loop, &h->timer, TIMER_OFF);
	bus_remove(&vm->mmio, HPET_DEFAULT_BASE, HPET_WINDOW_SIZE);
	free(h);
}

const struct device_ops hpet_device = {
	.name = "hpet",
	.init = board_init,
	.reset = board_reset,
	.exit = board_exit,
};
