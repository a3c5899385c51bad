// SPDX-License-Identifier: GPL-2.0-only
/*
 * board.c - the registers of what sits on the board: power management, hot-plug, clock, HPET, keyboard controller,
 * firmware's configuration, serial port, debug exit, run port, pvpanic, watchdog; and their timers
 *
 * An input is steps: a port or a register of one of them is read or written, with a width of its own; time passes; or the
 * machine is reset. A device's ends (power off, panic, a watchdog) are taken back, and its guest goes on.
 */
#include "launcher/devices/devices.h"
#include "launcher/ui/term.h"
#include "tools/testing/unit/machine-fake.h"
#include "fuzz.h"

#define STEPS	128
#define DEVFN_ESB 2

static const struct device_ops *const devices[] = {
	&pci_host_device, &pm_device, &hotplug_device, &rtc_device, &hpet_device, &i8042_device, &fw_cfg_device,
	&serial_device, &debug_exit_device, &run_port_device, &pvpanic_device, &i6300esb_device,
};

#define NR_DEVICES (sizeof(devices) / sizeof(devices[0]))

static const struct {
	uint16_t first, nr;
} ports[] = {
	{ PC_PM_BASE, PC_PM_SIZE }, { PC_GPE_BASE, PC_GPE_SIZE }, { PC_HOTPLUG_BASE, PC_HOTPLUG_SIZE }, { RTC_BASE, 2 },
	{ 0x60, 5 }, { 0x92, 1 }, { 0x510, 12 }, { SERIAL_COM1_BASE, 8 }, { 0xf4, 4 }, { 0x5f0, 8 },
	{ PVPANIC_BASE, 1 }, { 0xcf8, 8 },
};

#define NR_PORTS (sizeof(ports) / sizeof(ports[0]))

static struct vm *vm;
static void *state[NR_DEVICES];
static char firmware[] = "bios";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int null = open("/dev/null", O_RDWR);

	(void)argc;
	(void)argv;
	dup2(null, 0);
	dup2(null, 1);
	close(null);
	vm = fake_vm(4 << 20);
	vm->config.firmware = firmware;
	vm->config.debug_exit_port = 0xf4;
	vm->config.run_port = vm->config.no_reboot = true;
	vm->config.watchdog = VM_WATCHDOG_RESET;
	if (term_init(vm))
		abort();
	for (unsigned int i = 0; i < NR_DEVICES; i++)
		if (devices[i]->init(vm, &state[i]))
			abort();
	if (fw_cfg_fill(vm, 0))
		abort();
	return 0;
}

static void reset(void)
{
	pthread_mutex_lock(&vm->lock);
	for (unsigned int i = 0; i < NR_DEVICES; i++)
		if (devices[i]->reset)
			devices[i]->reset(vm, state[i]);
	pthread_mutex_unlock(&vm->lock);
	atomic_store(&vm->end, VM_RUNNING);
}

static void step(struct input *input)
{
	const uint8_t what = take_uint(input, 1);
	const unsigned int len = 1u << (what >> 3 & 3), n = take_uint(input, 1) % NR_PORTS;
	uint16_t port = ports[n].first + take_uint(input, 1) % ports[n].nr;

	switch (what & 7) {
	case 0:
		mmio_read(vm, PC_HPET_ADDR + take_uint(input, 2) % PC_HPET_SIZE, len);
		break;
	case 1:
		mmio_write(vm, PC_HPET_ADDR + take_uint(input, 2) % PC_HPET_SIZE, take_uint(input, len), len);
		break;
	case 2:
		/* the watchdog, where its configuration can't have gone; 4 KiB from PCI's first address on */
		mmio_write(vm, PCI_MMIO_BASE + (take_uint(input, 2) & 0xfff), take_uint(input, len), len);
		mmio_read(vm, PCI_MMIO_BASE + (port & 0xf), len);
		break;
	case 3:
		cfg_set(vm, DEVFN_ESB << 3, take_uint(input, 1) & 0xfc, take_uint(input, 4), 4);
		break;
	case 4:
	case 5:
		if (what & 0x80)
			fake_pass(vm, take_uint(input, 1));
		else
			(void)in(vm, port, len < 4 ? len : 4);
		break;
	default:
		out(vm, port, take_uint(input, len < 4 ? len : 4), len < 4 ? len : 4);
	}
	atomic_store(&vm->end, VM_RUNNING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	for (unsigned int i = 0; i < STEPS && input.left; i++)
		step(&input);
	fake_pass(vm, 0);
	reset();
	return 0;
}
