// SPDX-License-Identifier: GPL-2.0-only
/*
 * hotplug.c - slots of the PCI bus in which functions appear and disappear while the guest runs
 *
 * The registers are those by which QEMU's PC tells its own ACPI code of such slots; the code is in acpi.c. A general
 * purpose event says that there is news:
 *
 *	0xae00	slots that have a new function; a read takes the news
 *	0xae04	slots that somebody wants empty; likewise
 *	0xae08	write: the guest has let go of the function in these slots (_EJ0)
 *	0xae0c	slots whose function can be removed
 *
 * The guest decides when a function leaves. Then it is off the bus at once; the device behind it is taken down on the
 * main thread.
 */
#include <errno.h>
#include <stdlib.h>

#include "hotplug.h"
#include "pc.h"
#include "pci.h"

enum { REG_UP = 0x00, REG_DOWN = 0x04, REG_EJECT = 0x08, REG_REMOVABLE = 0x0c };

#define NR_SLOTS	32u

struct hotplug {
	struct vm *vm;
	uint32_t up, down;
	struct slot *slot[NR_SLOTS];
	struct timer timer;		/* takes down what was ejected */
};

static void say(struct hotplug *h)
{
	pm_gpe(h->vm, PC_GPE_HOTPLUG);
}

static void take_down(void *opaque)
{
	struct hotplug *h = opaque;

	timer_set(&h->vm->loop, &h->timer, TIMER_OFF);
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		struct slot *slot = h->slot[i];

		if (!slot || !slot->ejected)
			continue;
		h->slot[i] = NULL;
		slot->gone(slot);
	}
}

static void eject(struct hotplug *h, uint32_t slots)
{
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		struct slot *slot = h->slot[i];

		if (!(slots >> i & 1) || !slot || slot->ejected)
			continue;
		pci_unplug(slot->pci);
		slot->ejected = true;
		h->up &= ~(1u << i);
		h->down &= ~(1u << i);
		timer_set(&h->vm->loop, &h->timer, clock_ns());
	}
}

static uint32_t take(uint32_t *slots)
{
	uint32_t val = *slots;

	*slots = 0;
	return val;
}

static uint64_t hotplug_read(void *opaque, uint64_t off, unsigned int len)
{
	struct hotplug *h = opaque;
	uint32_t removable = 0;

	if (len != 4)
		return 0;
	switch (off) {
	case REG_UP:
		return take(&h->up);
	case REG_DOWN:
		return take(&h->down);
	case REG_REMOVABLE:
		for (unsigned int i = 0; i < NR_SLOTS; i++)
			if (h->slot[i] && !h->slot[i]->ejected)
				removable |= 1u << i;
		return removable;
	default:
		return 0;
	}
}

static void hotplug_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	if (off == REG_EJECT && len == 4)
		eject(opaque, (uint32_t)val);
}

static const struct region_ops hotplug_ops = { .read = hotplug_read, .write = hotplug_write };

int hotplug_add(struct vm *vm, struct slot *slot)
{
	struct hotplug *h = vm->hotplug;
	unsigned int i = 2;
	int err;

	while (i < NR_SLOTS && (h->slot[i] || pci_in_slot(vm->pci, i)))
		i++;
	if (i == NR_SLOTS)
		return -ENOSPC;
	err = pci_plug(vm->pci, slot->pci, i);
	if (err)
		return err;
	slot->asked = slot->ejected = false;
	h->slot[i] = slot;
	h->up |= 1u << i;
	say(h);
	return 0;
}

void hotplug_forget(struct vm *vm, struct slot *slot)
{
	struct hotplug *h = vm->hotplug;

	for (unsigned int i = 0; h && i < NR_SLOTS; i++) {
		if (h->slot[i] != slot)
			continue;
		h->slot[i] = NULL;
		h->up &= ~(1u << i);
		h->down &= ~(1u << i);
	}
}

void hotplug_ask(struct vm *vm, struct slot *slot)
{
	struct hotplug *h = vm->hotplug;

	for (unsigned int i = 0; i < NR_SLOTS; i++)
		if (h->slot[i] == slot && !slot->ejected)
			h->down |= 1u << i;
	slot->asked = true;
	say(h);
}

bool hotplug_possible(const struct vm *vm, unsigned int slot)
{
	return vm->hotplug && slot >= 2 && (vm->hotplug->slot[slot] || !pci_in_slot(vm->pci, slot));
}

static int hotplug_init(struct vm *vm, void **state)
{
	struct hotplug *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->vm = vm;
	timer_init(&h->timer, take_down, h);
	*state = vm->hotplug = h;
	return bus_add(&vm->pio, PC_HOTPLUG_BASE, PC_HOTPLUG_SIZE, &hotplug_ops, h, "pci-hotplug");
}

/* A system that starts anew finds what is there, and does not have what somebody wants gone. */
static void hotplug_reset(struct vm *vm, void *state)
{
	struct hotplug *h = state;

	(void)vm;
	h->up = h->down = 0;
	for (unsigned int i = 0; i < NR_SLOTS; i++)
		if (h->slot[i] && h->slot[i]->asked)
			eject(h, 1u << i);
	/* At once: the memory that they use goes with the old back end, and the PCI host knows of them no more. */
	take_down(h);
}

/* What is plugged in still, its owner takes down. */
static void hotplug_exit(struct vm *vm, void *state)
{
	struct hotplug *h = state;

	if (!h)
		return;
	timer_set(&vm->loop, &h->timer, TIMER_OFF);
	bus_remove(&vm->pio, PC_HOTPLUG_BASE, PC_HOTPLUG_SIZE);
	vm->hotplug = NULL;
	free(h);
}

const struct device_ops hotplug_device = {
	.name = "pci-hotplug",
	.init = hotplug_init,
	.reset = hotplug_reset,
	.exit = hotplug_exit,
};
