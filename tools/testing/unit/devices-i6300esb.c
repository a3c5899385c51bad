// SPDX-License-Identifier: GPL-2.0-only
/*
 * devices-i6300esb.c - the watchdog as a driver programs it, and what happens when nobody comes back
 *
 * Oracle: Intel 6300ESB I/O Controller Hub Datasheet, "Watch Dog Timer (WDT)".
 */
#include <linux/pci_regs.h>

#include "launcher/devices/devices.h"
#include "machine-fake.h"

#define DEVFN		(2 << 3)
#define CONFIG		0x60
#define LOCK		0x68
#define FAST		0x04		/* a count is 32 clocks of 33 MHz: 0.97 us */
#define NO_RESET	0x20

static struct vm *vm;
static void *pci, *esb;
static uint32_t bar;

static void unlock(void)
{
	mmio_write(vm, bar + 0x0c, 0x80, 2);
	mmio_write(vm, bar + 0x0c, 0x86, 2);
}

static void preload(uint32_t first, uint32_t second)
{
	unlock();
	mmio_write(vm, bar, first, 4);
	unlock();
	mmio_write(vm, bar + 4, second, 4);
}

static void reload(void)
{
	unlock();
	mmio_write(vm, bar + 0x0c, 0x100, 2);
}

static bool timed_out(void)
{
	return mmio_read(vm, bar + 0x0c, 2) & 0x200;
}

static void reset(void)
{
	pthread_mutex_lock(&vm->lock);
	pci_host_device.reset(vm, pci);
	i6300esb_device.reset(vm, esb);
	pthread_mutex_unlock(&vm->lock);
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	cfg_set(vm, DEVFN, CONFIG, FAST | 3, 2);
}

static void test_registers(void)
{
	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x25ab8086, "a 6300ESB watchdog");
	is_u64(cfg_get(vm, DEVFN, PCI_CLASS_DEVICE, 2), 0x0880, "of class system peripheral");
	reset();
	cfg_set(vm, DEVFN, CONFIG, 0xffff, 2);
	is_u64(cfg_get(vm, DEVFN, CONFIG, 2), 0x27, "reserved bits of the configuration stay 0");
	reset();
	ok(!timed_out(), "it has not expired");
	is_u64(fake_pass(vm, 20000), 1, "and it does not run by itself");
}

static void test_expiry(void)
{
	uint64_t t0;

	reset();
	preload(20000, 30000);
	t0 = clock_ns();
	cfg_set(vm, DEVFN, LOCK, 2, 1);
	is_u64(fake_pass(vm, 2000000), 0, "left alone, it resets the machine");
	/* 50000 counts of 32 clocks: 48.5 ms */
	ok(clock_ns() - t0 >= 48000000, "after both stages (%u us)", (unsigned int)((clock_ns() - t0) / 1000));
	ok(timed_out(), "and says so");
	reset();
	ok(timed_out(), "after the reset, too");
	mmio_write(vm, bar + 0x0c, 0x200, 2);
	ok(timed_out(), "a write that was not unlocked clears nothing");
	unlock();
	mmio_write(vm, bar + 0x0c, 0x200, 2);
	ok(!timed_out(), "one that was does");
	is_u64(fake_pass(vm, 20000), 1, "and it does not run any more");
}

static void test_reload(void)
{
	unsigned int i;

	reset();
	preload(60000, 60000);
	cfg_set(vm, DEVFN, LOCK, 2, 1);
	for (i = 0; i < 10 && fake_pass(vm, 40000) == 1; i++)
		reload();
	is_u64(i, 10, "served in time, it does nothing for longer than it would take");
	cfg_set(vm, DEVFN, LOCK, 0, 1);
	is_u64(fake_pass(vm, 200000), 1, "nor when it was switched off");

	preload(2000, 2000);
	mmio_write(vm, bar, 0xfffff, 4);
	cfg_set(vm, DEVFN, LOCK, 2, 1);
	is_u64(fake_pass(vm, 2000000), 0, "a preload value that was not unlocked counts for nothing");

	reset();
	preload(60000, 60000);
	cfg_set(vm, DEVFN, LOCK, 3, 1);
	cfg_set(vm, DEVFN, LOCK, 0, 1);
	is_u64(cfg_get(vm, DEVFN, LOCK, 1), 3, "locked, it can't be switched off");
	is_u64(fake_pass(vm, 2000000), 0, "and expires");

	reset();
	cfg_set(vm, DEVFN, CONFIG, FAST | 3 | NO_RESET, 2);
	preload(2000, 2000);
	cfg_set(vm, DEVFN, LOCK, 2, 1);
	is_u64(fake_pass(vm, 60000), 1, "with its output off it does not reset");
	ok(timed_out(), "but says that it has expired");

	reset();
	cfg_set(vm, DEVFN, CONFIG, 3, 2);
	preload(20, 20);
	cfg_set(vm, DEVFN, LOCK, 2, 1);
	is_u64(fake_pass(vm, 20000), 1, "a slow count is about a millisecond");
	is_u64(fake_pass(vm, 2000000), 0, "and gets there, too");
}

static void test_actions(void)
{
	reset();
	guest_clock_stop(&vm->loop);
	preload(5000, 5000);
	cfg_set(vm, DEVFN, LOCK, 2, 1);
	is_u64(fake_pass(vm, 100000), 1, "a machine that is paused need not answer");
	guest_clock_start(&vm->loop);
	is_u64(fake_pass(vm, 2000000), 0, "one that goes on has to");

	reset();
	vm->config.watchdog = VM_WATCHDOG_NONE;
	preload(1000, 1000);
	cfg_set(vm, DEVFN, LOCK, 2, 1);
	is_u64(fake_pass(vm, 60000), 1, "with the action none nothing is done");
	ok(timed_out(), "but noted");

	reset();
	vm->config.watchdog = VM_WATCHDOG_POWEROFF;
	preload(1000, 1000);
	cfg_set(vm, DEVFN, LOCK, 2, 1);
	is_u64(fake_pass(vm, 2000000), 0, "poweroff");
	is_u64((uint64_t)atomic_load(&vm->end), VM_END_ERROR, "ends the machine");
}

int main(void)
{
	vm = fake_vm(4 << 20);
	vm->config.watchdog = VM_WATCHDOG_RESET;
	if (pci_host_device.init(vm, &pci) || i6300esb_device.init(vm, &esb))
		return 1;
	bar = cfg_get(vm, DEVFN, PCI_BASE_ADDRESS_0, 4) & ~15u;
	quiet(true);
	test_registers();
	test_expiry();
	test_reload();
	test_actions();
	quiet(false);
	i6300esb_device.exit(vm, esb);
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	return tap_done();
}
