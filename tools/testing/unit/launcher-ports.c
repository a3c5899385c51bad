// SPDX-License-Identifier: GPL-2.0-only
/*
 * launcher-ports.c - keyboard controller, port 0x92, debug exit and pvpanic, as drivers use them
 */
#include "launcher-common.h"

static uint8_t command(uint8_t cmd)
{
	outb(0x64, cmd);
	return inb(0x64) & 1 ? inb(0x60) : 0xee;
}

static void test_i8042(void)
{
	void *state = NULL;

	is_u64((uint64_t)i8042_device.init(&vm, &state), 0, "i8042: set up");
	is_u64(inb(0x64) & 0x03, 0, "nothing to read, free to write");
	is_u64(command(0xaa), 0x55, "self-test");
	is_u64(command(0xab), 0x00, "keyboard interface test");
	outb(0x64, 0x60);
	outb(0x60, 0x74);
	is_u64(command(0x20), 0x74, "the command byte is kept");

	/* Linux i8042_check_aux(): the loop must not answer as the auxiliary port, then the test must fail.
	 */
	outb(0x64, 0xd3);
	outb(0x60, 0x5a);
	is_u64(inb(0x64) & 0x21, 0x01, "no auxiliary port: the answer is not marked so");
	inb(0x60);
	is_u64(command(0xa9), 0x01, "and its test fails");

	/* A byte to the absent keyboard, to the absent mouse. */
	outb(0x64, 0x60);
	outb(0x60, 0x75);
	outb(0x60, 0xf2);
	is_u64(inb(0x64) & 0x61, 0x41, "a time-out at once");
	ok(line[1], "with an interrupt");
	is_u64(inb(0x60), 0xfe, "and the byte that stands for it");
	ok(!line[1] && !(inb(0x64) & 1), "which is then gone");
	outb(0x64, 0xd4);
	outb(0x60, 0xff);
	is_u64(inb(0x64) & 0x41, 0x41, "likewise for the mouse");
	inb(0x60);
	is_u64(command(0xe0), 0x03, "test inputs");
	is_u64(command(0xd0) & 0x03, 0x03, "output port: A20 on, no reset");
	outb(0x64, 0xd1);
	outb(0x60, 0xdd);
	is_u64(command(0xd0) & 0x03, 0x01, "A20 off reads back");
	is_u64(inb(0x92) & 0x02, 0, "at port 0x92 as well");
	outb(0x92, 0x02);
	is_u64(command(0xd0) & 0x03, 0x03, "and is switched on there");
	is_u64(resets, 0, "no reset so far");
	outb(0x64, 0xfe);
	is_u64(resets, 1, "pulse: a reset");
	outb(0x64, 0xff);
	is_u64(resets, 1, "a pulse of nothing: none");
	outb(0x64, 0xd1);
	outb(0x60, 0x02);
	is_u64(resets, 2, "output port: a reset");
	outb(0x92, 0x01);
	is_u64(resets, 3, "port 0x92: a reset");
	i8042_device.reset(&vm, state);
	ok(!(inb(0x64) & 1) && (inb(0x64) & 0x04), "as new, after it");

	uint64_t seed = tap_seed(5);

	for (unsigned int i = 0; i < 100000; i++) {
		uint64_t r = tap_random(&seed);
		uint16_t port = r & 2 ? 0x60 : 0x64;

		if (r & 1)
			pio_out(port, (uint32_t)(r >> 32), r & 4 ? 1 : 4);
		else
			pio_in(port, r & 4 ? 1 : 4);
	}
	ok(true, "100000 random accesses");
	i8042_device.exit(&vm, state);
	is_u64(inb(0x64), 0xff, "taken down");
}

static void test_debug_exit(void)
{
	void *state = NULL;

	is_u64((uint64_t)debug_exit_device.init(&vm, &state), 0, "debug-exit: none without a port");
	outb(0xf4, 1);
	is_u64((uint64_t)(int64_t)ended, (uint64_t)-1, "a write there is nothing");
	debug_exit_device.exit(&vm, state);
	vm.config.debug_exit_port = 0xf4;
	is_u64((uint64_t)debug_exit_device.init(&vm, &state), 0, "with a port");
	outb(0xf4, 0);
	is_u64((uint64_t)ended, VM_END_DEBUG_EXIT + 1, "0 gives 1");
	outb(0xf4, 0x10);
	is_u64((uint64_t)ended, VM_END_DEBUG_EXIT + 0x21, "0x10 gives 0x21");
	pio_out(0xf4, 0xffffffff, 4);
	is_u64((uint64_t)ended, VM_END_DEBUG_EXIT + 0xff, "large values give the low byte");
	debug_exit_device.exit(&vm, state);
	outb(0xf4, 0);
	is_u64((uint64_t)ended, VM_END_DEBUG_EXIT + 0xff, "taken down");
}

static void test_pvpanic(void)
{
	void *state = NULL;

	is_u64((uint64_t)pvpanic_device.init(&vm, &state), 0, "pvpanic: set up");
	is_u64(inb(0x505), 0x03, "the events it knows");
	ended = VM_RUNNING;
	outb(0x505, 0x02);
	ok(ended == VM_RUNNING, "a crash kernel goes on");
	outb(0x505, 0x01);
	ok(ended == VM_END_PANIC && strstr(end_text, "panic"), "a panic ends the run");
	pvpanic_device.exit(&vm, state);
	is_u64(inb(0x505), 0xff, "taken down");
}

int main(void)
{
	fake_vm_init(64 << 20);
	test_i8042();
	test_debug_exit();
	test_pvpanic();
	fake_vm_exit();
	return tap_done();
}
