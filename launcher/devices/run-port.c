// SPDX-License-Identifier: GPL-2.0-only
/*
 * run-port.c - how the guest of `tenon run --rootfs` reports its command's exit status, and learns about the
 * end of its input
 */
#include "../ui/term.h"
#include "devices.h"
#include "run-port.h"

static uint64_t run_port_read(void *opaque, uint64_t off, unsigned int len)
{
	uint32_t val;
	bool end;

	(void)opaque;
	if (off != RUN_PORT_INPUT || len != 4)
		return 0;
	val = term_taken(&end) & ~RUN_INPUT_END;
	return end ? val | RUN_INPUT_END : val;
}

static void run_port_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	if (len != 4)
		return;
	if (off == RUN_PORT_STATUS)
		vm_end(opaque, VM_END_DEBUG_EXIT + (int)(val & 0xff), NULL);
	else if (off == RUN_PORT_INPUT)
		term_hold(false);
}

static const struct region_ops run_port_region = {
	.read = run_port_read,
	.write = run_port_write,
};

static void run_port_reset(struct vm *vm, void *state)
{
	(void)state;
	if (vm->config.run_port)
		term_hold(true);
}

static int run_port_init(struct vm *vm, void **state)
{
	run_port_reset(vm, *state);
	return vm->config.run_port ? bus_add(&vm->pio, RUN_PORT_BASE, RUN_PORT_SIZE, &run_port_region, vm,
					     "run-port") : 0;
}

static void run_port_exit(struct vm *vm, void *state)
{
	(void)state;
	if (vm->config.run_port)
		bus_remove(&vm->pio, RUN_PORT_BASE, RUN_PORT_SIZE);
}

const struct device_ops run_port_device = {
	.name = "run-port",
	.init = run_port_init,
	.reset = run_port_reset,
	.exit = run_port_exit,
};
