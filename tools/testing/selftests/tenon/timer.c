// SPDX-License-Identifier: GPL-2.0-only
/*
 * timer.c - the timers of the local APIC and the PIT
 *
 * What can be said of a timer's punctuality: never early, by any clock; and late by no more than SLACK_MS, which is
 * what it takes the test bed, an emulated processor that shares a busy machine, to schedule a thread in the worst case.
 * That a timer does not fire is seen by waiting for three times what it was set to.
 */
#include "harness.h"

#define SLACK_MS	250

/* A guest whose timer is set by the steps; they end with DONE. Returns when that was begun, at the latest. */
static struct vm *timer_guest(const struct step *steps, uint64_t *start)
{
	struct vm *vm = vm_machine();

	vm_script(vm, 0, steps);
	vm->mem[EOI] = EOI_X2APIC;
	*start = now_ns();
	REQUIRE(vm_says(vm, 0, DONE));
	return vm;
}

/* It fires, no earlier than @us after the start. */
static void check_fires(struct vm *vm, unsigned int vector, uint64_t start, uint64_t us)
{
	uint64_t took;

	CHECK(vm_says(vm, 0, vector));
	took = (now_ns() - start) / 1000;
	printf("#   fired after %lu us, set to %lu us\n", (long)took, (long)us);
	CHECK(took >= us && took < us + SLACK_MS * 1000);
}

/* So many of a timer's ticks, of which @seen have been, since the start. No tick comes before its time. */
static void check_ticks(struct vm *vm, unsigned int vector, uint64_t start, unsigned int seen, unsigned int count,
			uint64_t us)
{
	unsigned int n;
	uint64_t took;

	for (n = seen; n < count; n++)
		REQUIRE(vm_says(vm, 0, vector));
	took = (now_ns() - start) / 1000;
	printf("#   %u ticks of %lu us took %lu us\n", count, (long)us, (long)took);
	CHECK(took >= count * us && took < count * us + SLACK_MS * 1000);
}

/* Ticks, as many as there are, and then the byte; their number. */
static unsigned int check_until(struct vm *vm, unsigned int vector, int byte)
{
	unsigned int ticks = 0;
	int said;

	while ((said = vm_said(vm, 0)) == (int)vector)
		ticks++;
	CHECK_EQ(said, byte);
	return ticks;
}

/* ---- the local APIC's ---- */

#define LVTT		X2APIC(0x320)
#define INITIAL		X2APIC(0x380)
#define CURRENT		X2APIC(0x390)
#define DIVIDE		X2APIC(0x3e0)
#define PERIODIC	0x20000
#define TSC_DEADLINE	0x40000
#define MASKED		0x10000
#define MS		1000000		/* the timer's clock is 1 GHz, as with KVM */

TEST(oneshot, "LAPIC timer, one shot: fires once, by the divider; the count falls and stays at 0")
{
	uint64_t start;
	struct vm *vm = timer_guest(STEPS(X2APIC_ON, WRMSR(DIVIDE, 0xb), WRMSR(LVTT, 0x31), WRMSR(INITIAL, 20 * MS),
					  RDMSR(CURRENT), RDMSR(CURRENT)), &start);
	const uint64_t first = vm_step(vm, 0, 5)->value, second = vm_step(vm, 0, 6)->value;

	CHECK(first <= 20 * MS && second < first);
	check_fires(vm, 0x31, start, 20000);
	CHECK(vm_quiet(vm, 0, 60));
	CHECK_EQ(vm_apic(vm, 0, 0x390), 0);

	/* Divided by 8. */
	vm = timer_guest(STEPS(X2APIC_ON, WRMSR(DIVIDE, 2), WRMSR(LVTT, 0x31), WRMSR(INITIAL, 2 * MS)), &start);
	check_fires(vm, 0x31, start, 16000);
}

TEST(periodic, "LAPIC timer, periodic: again and again, until it is stopped")
{
	uint64_t start;
	struct vm *vm = timer_guest(STEPS(X2APIC_ON, WRMSR(DIVIDE, 0xb), WRMSR(LVTT, PERIODIC | 0x32),
					  WRMSR(INITIAL, 5 * MS)), &start);

	check_ticks(vm, 0x32, start, 0, 20, 5000);
	/* One may wait already. */
	vm_script(vm, 0, STEPS(X2APIC_EOI, WRMSR(INITIAL, 0), STI(), SAYS(2)));
	check_until(vm, 0x32, 2);
	CHECK(vm_says(vm, 0, DONE));
	CHECK(vm_quiet(vm, 0, 15));
	CHECK_EQ(vm_apic(vm, 0, 0x390), 0);
}

TEST(masked, "LAPIC timer: masked, it does not fire, and what it missed does not come later")
{
	uint64_t start;
	struct vm *vm = timer_guest(STEPS(X2APIC_ON, WRMSR(DIVIDE, 0xb), WRMSR(LVTT, MASKED | 0x33),
					  WRMSR(INITIAL, 2 * MS)), &start);

	CHECK(vm_quiet(vm, 0, 10));
	vm_script(vm, 0, STEPS(WRMSR(LVTT, 0x33)));
	REQUIRE(vm_says(vm, 0, DONE));
	/* With KVM it does come. */
	if (!is_kvm())
		CHECK(vm_quiet(vm, 0, 10));
}

static uint64_t guest_tsc(struct vm *vm)
{
	uint64_t tsc;

	REQUIRE(vm_rdmsr(vm, 0, 0x10, &tsc) == 1);
	return tsc;
}

/* The deadline is an absolute time, so it is computed here. */
static uint64_t deadline_in(struct vm *vm, unsigned int us)
{
	return guest_tsc(vm) + (uint64_t)ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0) * us / 1000;
}

TEST(deadline, "LAPIC timer, TSC deadline: at its time; at once if that has passed; not when it was taken back",
     KVM_CAP_TSC_DEADLINE_TIMER)
{
	uint64_t start;
	struct vm *vm = timer_guest(STEPS(X2APIC_ON, WRMSR(LVTT, TSC_DEADLINE | 0x34)), &start);

	start = now_ns();
	vm_script(vm, 0, STEPS(WRMSR(0x6e0, deadline_in(vm, 50000)), RDMSR(0x6e0)));
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 1)->value, vm_step(vm, 0, 0)->value);
	check_fires(vm, 0x34, start, 49900);
	vm_script(vm, 0, STEPS(X2APIC_EOI, RDMSR(0x6e0), WRMSR(0x6e0, 1)));
	start = now_ns();
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 1)->value, 0);
	check_fires(vm, 0x34, start, 0);
	vm_script(vm, 0, STEPS(X2APIC_EOI, WRMSR(0x6e0, deadline_in(vm, 10000 * test_slow())), WRMSR(0x6e0, 0)));
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK(vm_quiet(vm, 0, 30 * test_slow()));
	/* The count registers are not used in this mode. */
	vm_script(vm, 0, STEPS(WRMSR(INITIAL, MS)));
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK(vm_quiet(vm, 0, 3));
}

ASM64(busy_guest, "sti;" SAY(2) "1: jmp 1b");
TEST(busy, "LAPIC timer: it interrupts a guest that does not halt")
{
	unsigned int seen;
	uint64_t start;
	struct vm *vm = timer_guest(STEPS(X2APIC_ON, WRMSR(DIVIDE, 0xb), WRMSR(LVTT, PERIODIC | 0x32),
					  WRMSR(INITIAL, 3 * MS)), &start);

	VM_CODE(vm, 0, MODE_64, busy_guest);
	seen = check_until(vm, 0x32, 2);
	check_ticks(vm, 0x32, start, seen, seen + 20, 3000);
}

TEST(deadline_busy, "LAPIC timer, TSC deadline: it interrupts a guest that does not halt, and one whose TSC jumps past it",
     KVM_CAP_TSC_DEADLINE_TIMER)
{
	uint64_t start, tsc;
	struct vm *vm = timer_guest(STEPS(X2APIC_ON, WRMSR(LVTT, TSC_DEADLINE | 0x34)), &start);

	start = now_ns();
	vm_script(vm, 0, STEPS(WRMSR(0x6e0, deadline_in(vm, 50000))));
	REQUIRE(vm_says(vm, 0, DONE));
	VM_CODE(vm, 0, MODE_64, busy_guest);
	REQUIRE(vm_says(vm, 0, 2));
	check_fires(vm, 0x34, start, 49900);
	if (is_kvm())
		SKIP("KVM's timer does not follow the TSC");
	tsc = deadline_in(vm, 60000000);
	vm_script(vm, 0, STEPS(X2APIC_EOI, WRMSR(0x6e0, tsc), WRMSR(0x10, tsc + 1)));
	start = now_ns();
	REQUIRE(vm_says(vm, 0, DONE));
	check_fires(vm, 0x34, start, 0);
}

/* ---- the PIT's, 1193182 Hz ---- */

#define PIT(channel, mode, count)							\
	OUT(0x43, (channel) << 6 | 0x30 | (mode) << 1), OUT(0x40 + (channel), (count) & 0xff),	\
	OUT(0x40 + (channel), (count) >> 8)
/* After the PIT: its output rises when a mode is set, and initialising the PIC forgets that. */
#define IRQ0_ON PIC_ON(1, 0xfe, 0xff)

TEST(pit_periodic, "PIT, modes 2 and 3: a tick a period, by the PIC; a masked line does nothing", KVM_CAP_PIT2)
{
	uint64_t start;
	struct vm *vm = timer_guest(STEPS(PIT(0, 2, 5966), IRQ0_ON), &start);

	vm->mem[EOI] = EOI_PIC;
	check_ticks(vm, 0x20, start, 0, 20, 5000);
	start = now_ns();
	vm_script(vm, 0, STEPS(OUT(0x20, 0x20), PIT(0, 3, 3580), IRQ0_ON));
	REQUIRE(vm_says(vm, 0, DONE));
	check_ticks(vm, 0x20, start, 0, 20, 3000);
	vm_script(vm, 0, STEPS(OUT(0x20, 0x20), OUT(0x21, 0xff)));
	check_until(vm, 0x20, DONE);
	CHECK(vm_quiet(vm, 0, 10));
}

TEST(pit_oneshot, "PIT, mode 0: one interrupt; the mode alone, without a count, does not start it")
{
	uint64_t start;
	struct vm *vm = timer_guest(STEPS(PIT(0, 0, 11932), IRQ0_ON), &start);

	vm->mem[EOI] = EOI_PIC;
	check_fires(vm, 0x20, start, 10000);
	CHECK(vm_quiet(vm, 0, 30));
}

TEST(pit_count, "PIT: the count, latched, falls; channel 2 by the gate of port 0x61, and its output there")
{
	struct vm *vm = vm_machine();
	unsigned int first, second;

	vm_script(vm, 0, STEPS(PIT(0, 2, 0xffff), SAYS(2), OUT(0x43, 0), IN(0x40), IN(0x40), SAYS(3),
			       OUT(0x43, 0), IN(0x40), IN(0x40)));
	REQUIRE(vm_says(vm, 0, 2));
	usleep(1000);
	REQUIRE(vm_says(vm, 0, 3));
	usleep(1000);
	REQUIRE(vm_says(vm, 0, DONE));
	first = vm_step(vm, 0, 5)->value | vm_step(vm, 0, 6)->value << 8;
	second = vm_step(vm, 0, 9)->value | vm_step(vm, 0, 10)->value << 8;
	/* A millisecond and more; it wraps after 55. */
	CHECK(((first - second) & 0xffff) >= 1193);

	vm_script(vm, 0, STEPS(OUT(0x61, 3), PIT(2, 0, 2386), IN(0x61), SAYS(2), IN(0x61), OUT(0x61, 0),
			       PIT(2, 0, 2386), SAYS(3), IN(0x61)));
	REQUIRE(vm_says(vm, 0, 2));
	CHECK_EQ(vm_step(vm, 0, 4)->value & 3, 3);
	usleep(5000);
	REQUIRE(vm_says(vm, 0, 3));
	CHECK_EQ(vm_step(vm, 0, 6)->value & 0x20, 0x20);
	usleep(5000);
	/* The gate is down: it does not count. KVM's does. */
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 12)->value & (is_kvm() ? 0x03 : 0x23), 0);
}

TEST(pit_ioctls, "PIT: KVM_CREATE_PIT2, KVM_GET_PIT2 and KVM_REINJECT_CONTROL with what they refuse", KVM_CAP_PIT)
{
	struct kvm_reinject_control reinject = { .pit_reinject = 0 };
	struct kvm_pit_config config = { .flags = 0x80 };
	struct kvm_pit_state2 state;
	struct vm *vm = vm_new(CHIPS_NONE);

	/* Without an interrupt controller, KVM makes one that interrupts nobody. */
	if (!is_kvm())
		CHECK_ERR(ioctl(vm->fd, KVM_CREATE_PIT2, &((struct kvm_pit_config){ 0 })), ENOENT);
	CHECK_EQ(ioctl(vm_new(CHIPS_KERNEL)->fd, KVM_CREATE_PIT), 0);
	vm = vm_new(CHIPS_KERNEL);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_PIT2, &state), ENXIO);
	CHECK_ERR(ioctl(vm->fd, KVM_REINJECT_CONTROL, &reinject), ENXIO);
	config.flags = 0;
	CHECK_EQ(ioctl(vm->fd, KVM_CREATE_PIT2, &config), 0);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_PIT2, &config), EEXIST);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_PIT2, NULL), EFAULT);
	CHECK_EQ(ioctl(vm->fd, KVM_REINJECT_CONTROL, &reinject), 0);
	CHECK_EQ(ioctl(vm->fd, KVM_GET_PIT2, &state), 0);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_PIT2, NULL), EFAULT);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_PIT2, NULL), EFAULT);
}
