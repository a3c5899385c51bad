/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hotplug.h - PCI functions that come and go while the guest runs
 *
 * All with the device lock held.
 */
#ifndef TENON_HOTPLUG_H
#define TENON_HOTPLUG_H

#include "../vm.h"

/* A function that was plugged in; its owner's. */
struct slot {
	struct pci_dev *pci;
	bool asked, ejected;
	/* The guest has let go of it, and it is off the bus. On the main thread. */
	void (*gone)(struct slot *slot);
};

/* Put slot->pci into a free slot and tell the guest. 0, -ENOSPC, or what pci_plug() says. */
int hotplug_add(struct vm *vm, struct slot *slot);
/* Whatever the guest thinks: the slot is free, if it was in one. The function is its owner's to take off the bus. */
void hotplug_forget(struct vm *vm, struct slot *slot);
/* Ask the guest to let go of it; slot->gone() follows when it has, or at a reset. */
void hotplug_ask(struct vm *vm, struct slot *slot);
/* For the ACPI tables: can functions come and go in that slot? */
bool hotplug_possible(const struct vm *vm, unsigned int slot);

#endif /* TENON_HOTPLUG_H */
