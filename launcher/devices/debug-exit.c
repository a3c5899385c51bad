// SPDX-License-Identifier: GPL-2.0-only
/*
 * debug-exit.c - a port by which a test guest ends the run with a status of its own
 *
 * As QEMU's isa-debug-exit: a write of V ends with the status (V << 1 | 1), which is never 0.
 */
#include "devices.h"

#define DEBUG_EXIT_SIZE	4

static uint64_t debug_exit_read(void *opaque, uint64_t off, unsigned int len)
{
	(void)opaque;
	(void)off;
	(void)len;
	return 0;
}

static void debug_exit_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	(void)off;
	(void)len;
	vm_end(opaque, VM_END_DEBUG_EXIT + (int)((val << 1 | 1) & 0xff), NULL);
}

static const struct region_ops debug_exit_region = {
	.read = debug_exit_read,
	.write = debug_exit_write,
};

static int debug_exit_init(struct vm *vm, void **state)
{
	(void)state;
	if (vm->config.debug_exit_port < 0)
		return 0;
	return bus_add(&vm->pio, (uint64_t)vm->config.debug_exit_port, DEBUG_EXIT_SIZE, &debug_exit_region,
		       vm, "debug-exit");
}

static void debug_exit_exit(struct vm *vm, void *state)
{
	(void)state;
	if (vm->config.debug_exit_port >= 0)
		bus_remove(&vm->pio, (uint64_t)vm->config.debug_exit_port, DEBUG_EXIT_SIZE);
}

const struct device_ops debug_exit_device = {
	.name = "debug-exit",
	.init = debug_exit_init,
	.exit = debug_exit_exit,
};
