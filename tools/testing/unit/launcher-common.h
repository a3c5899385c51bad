/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * launcher-common.h - a machine without processors, for tests of single devices
 *
 * Interrupt lines are recorded; ends and resets are, too. The functions below take the place of those in
 * vm.c.
 */
#ifndef TENON_LAUNCHER_COMMON_H
#define TENON_LAUNCHER_COMMON_H

#include <stdarg.h>
#include <string.h>

#include "launcher/ctl.h"
#include "launcher/devices/devices.h"
#include "launcher/machine/machine.h"
#include "launcher/vm.h"
#include "tap.h"

static struct vm vm;
static bool line[24];
static unsigned int edges[24];		/* low to high */
static int ended = VM_RUNNING;
static unsigned int resets;
static char end_text[256];

static void fake_irq_line(struct vm *v, unsigned int gsi, bool level)
{
	(void)v;
	if (gsi < 24) {
		edges[gsi] += level && !line[gsi];
		line[gsi] = level;
	}
}

static const struct accel_ops fake_accel = {
	.name = "fake",
	.irq_line = fake_irq_line,
};

void vm_end(struct vm *v, int how, const char *msg, ...)
{
	va_list ap;

	(void)v;
	ended = how;
	end_text[0] = '\0';
	if (msg) {
		va_start(ap, msg);
		vsnprintf(end_text, sizeof(end_text), msg, ap);
		va_end(ap);
	}
}

void vm_reset_request(struct vm *v)
{
	(void)v;
	resets++;
}

void vm_powerdown(struct vm *v)
{
	(void)v;
}

void ctl_console(struct vm *v, uint8_t byte)
{
	(void)v;
	(void)byte;
}

static void fake_vm_init(uint64_t memory)
{
	vm.config.accel = &fake_accel;
	vm.config.cpus = 1;
	vm.config.debug_exit_port = -1;
	vm.ram[0].size = memory < 0xc0000000u ? memory : 0xc0000000u;
	vm.ram[1].size = memory - vm.ram[0].size;
	vm.nr_ram = vm.ram[1].size ? 2 : 1;
	pthread_mutex_init(&vm.lock, NULL);
	bus_init(&vm.pio, true);
	bus_init(&vm.mmio, false);
	loop_init(&vm.loop, &vm.lock);
}

static void fake_vm_exit(void)
{
	loop_exit(&vm.loop);
	bus_exit(&vm.mmio);
	bus_exit(&vm.pio);
}

static inline uint32_t pio_in(uint16_t port, unsigned int len)
{
	uint32_t val = 0;

	bus_access(&vm, &vm.pio, port, &val, len, false);
	return val;
}

static inline void pio_out(uint16_t port, uint32_t val, unsigned int len)
{
	bus_access(&vm, &vm.pio, port, &val, len, true);
}

static inline uint8_t inb(uint16_t port)
{
	return (uint8_t)pio_in(port, 1);
}

static inline void outb(uint16_t port, uint8_t val)
{
	pio_out(port, val, 1);
}

#endif /* TENON_LAUNCHER_COMMON_H */
