// SPDX-License-Identifier: GPL-2.0-only
/*
 * pvpanic.c - the guest's kernel reports that it has crashed
 *
 * Source: the "pvpanic device" specification: one register of events, found through ACPI as QEMU0001.
 */
#include "../msg.h"
#include "devices.h"

#define PVPANIC_PANICKED	0x01	/* the kernel panicked */
#define PVPANIC_CRASH_LOADED	0x02	/* it panicked, and its own crash kernel takes over */

static uint64_t pvpanic_read(void *opaque, uint64_t off, unsigned int len)
{
	(void)opaque;
	(void)off;
	(void)len;
	return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void pvpanic_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	(void)off;
	(void)len;
	if (val & PVPANIC_PANICKED)
		vm_end(opaque, VM_END_PANIC, "the guest's kernel reports a panic; the console says why");
	else if (val & PVPANIC_CRASH_LOADED)
		msg_info("the guest's kernel reports a panic and starts its crash kernel");
}

static const struct region_ops pvpanic_region = {
	.read = pvpanic_read,
	.write = pvpanic_write,
};

static int pvpanic_init(struct vm *vm, void **state)
{
	(void)state;
	return bus_add(&vm->pio, PVPANIC_BASE, 1, &pvpanic_region, vm, "pvpanic");
}

static void pvpanic_exit(struct vm *vm, void *state)
{
	(void)state;
	bus_remove(&vm->pio, PVPANIC_BASE, 1);
}

const struct device_ops pvpanic_device = {
	.name = "pvpanic",
	.init = pvpanic_init,
	.exit = pvpanic_exit,
};
