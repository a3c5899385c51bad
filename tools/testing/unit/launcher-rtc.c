// SPDX-License-Identifier: GPL-2.0-only
/*
 * launcher-rtc.c - clock, alarms and CMOS memory; the oracle is the host's clock and C library
 */
#include <time.h>
#include <unistd.h>

#include "launcher-common.h"

#define IRQ	8
#define MS	1000000ull

static uint8_t get(uint8_t reg)
{
	outb(0x70, reg);
	return inb(0x71);
}

static void set(uint8_t reg, uint8_t val)
{
	outb(0x70, reg);
	outb(0x71, val);
}

static unsigned int bcd(uint8_t v)
{
	return (v >> 4) * 10u + (v & 15);
}

static uint8_t to_bcd(unsigned int v)
{
	return (uint8_t)(v / 10 << 4 | v % 10);
}

/* As drivers do it: wait for UIP to be clear, then read. */
static void wait_uip(void)
{
	for (unsigned int i = 0; i < 100 && (get(10) & 0x80); i++)
		usleep(100);
}

static time_t read_time(void)
{
	struct tm tm = { 0 };

	wait_uip();
	tm.tm_sec = (int)bcd(get(0));
	tm.tm_min = (int)bcd(get(2));
	tm.tm_hour = (int)bcd(get(4));
	tm.tm_mday = (int)bcd(get(7));
	tm.tm_mon = (int)bcd(get(8)) - 1;
	tm.tm_year = (int)(bcd(get(9)) + bcd(get(0x32)) * 100) - 1900;
	return timegm(&tm);
}

/* As Linux sets it: SET, divider reset, registers, back again. */
static void write_time(time_t t)
{
	uint8_t a = get(10), b = get(11);
	struct tm tm;

	gmtime_r(&t, &tm);
	set(11, b | 0x80);
	set(10, a | 0x70);
	set(9, to_bcd((unsigned int)tm.tm_year % 100));
	set(8, to_bcd((unsigned int)tm.tm_mon + 1));
	set(7, to_bcd((unsigned int)tm.tm_mday));
	set(4, to_bcd((unsigned int)tm.tm_hour));
	set(2, to_bcd((unsigned int)tm.tm_min));
	set(0, to_bcd((unsigned int)tm.tm_sec));
	set(0x32, to_bcd((unsigned int)(tm.tm_year + 1900) / 100));
	set(11, b);
	set(10, a);
}

static _Atomic int stop;

static void end(void *opaque)
{
	(void)opaque;
	stop = 0;
}

static void run_for(uint64_t ns)
{
	struct timer t;

	stop = -1;
	timer_init(&t, end, NULL);
	timer_set(&vm.loop, &t, clock_ns() + ns);
	loop_run(&vm.loop, &stop);
}

static bool near(time_t a, time_t b)
{
	return a >= b - 1 && a <= b + 1;
}

static void test_time(void)
{
	static const time_t times[] = { 0,	    951782399,	951782400, 1709251199,
					2147483647, 4107542399, 1234567890 };
	time_t t = time(NULL);
	struct tm tm;

	ok(near(read_time(), t), "the time is that of the host, in UTC");
	gmtime_r(&t, &tm);
	ok(bcd(get(6)) == (unsigned int)tm.tm_wday + 1 ||
		   bcd(get(6)) == (unsigned int)(tm.tm_wday + 1) % 7 + 1,
	   "the day of the week");
	for (unsigned int i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		write_time(times[i]);
		ok(near(read_time(), times[i]), "%lld is set", (long long)times[i]);
	}

	write_time(1709251199);			/* 2024-02-29 23:59:59 */
	run_for(600 * MS);
	ok(read_time() == 1709251200 && get(7) == 0x01 && get(8) == 0x03,
	   "a leap day ends half a second later");

	/* 12-hour and binary modes show the same time. */
	write_time(1709244000);			/* 22:00:00 */
	is_u64(get(4), 0x22, "24 hours, BCD");
	set(11, 0x00);
	is_u64(get(4), 0x90, "12 hours, BCD");
	set(11, 0x04);
	is_u64(get(4), 0x8a, "12 hours, binary");
	set(11, 0x06);
	is_u64(get(4), 22, "24 hours, binary");
	is_u64(get(0x32), 20, "century, binary");
	set(11, 0x00);
	write_time(1709251200 + 5);
	set(4, 0x12);
	set(11, 0x02);
	is_u64(get(4), 0x00, "12 am is midnight");
	set(11, 0x00);
	set(4, 0x92);
	set(11, 0x02);
	is_u64(get(4), 0x12, "12 pm is noon");

	/* SET freezes the registers. */
	set(11, 0x82);
	t = read_time();
	usleep(1100000);
	ok(read_time() == t, "SET stops the clock");
	is_u64(get(10) & 0x80, 0, "and there is no update in progress");
	set(11, 0x02);
	ok(near(read_time(), t), "which then goes on from there");
	write_time(time(NULL));
}

static void test_update(void)
{
	uint64_t start = clock_ns(), looked = start, before;
	bool uip = false, known = false;
	uint8_t sec = get(0);

	/*
	 * The seconds may change only after UIP was seen, which is set for 2228 us. Who was kept from looking for so long,
	 * on a busy host, waits for the next second; who mostly sleeps is seldom kept.
	 */
	while (!known && clock_ns() - start < 20000 * MS) {
		uint8_t now;

		before = looked;
		looked = clock_ns();
		uip |= get(10) & 0x80;
		now = get(0);
		if (now == sec) {
			usleep(200);
			continue;
		}
		known = uip || clock_ns() - before < 2 * MS;
		sec = now;
	}
	ok(known && uip, "UIP announces the update");

	get(12);
	edges[IRQ] = 0;
	set(11, 0x12);
	run_for(1100 * MS);
	ok(edges[IRQ] == 1 && line[IRQ], "the update-ended interrupt");
	is_u64(get(12) & 0xb0, 0x90, "is in register C");
	ok(!line[IRQ] && !(get(12) & 0xb0), "reading which ends it");
	set(11, 0x02);
	run_for(1100 * MS);
	ok(edges[IRQ] == 1, "disabled, it does not come");
	is_u64(get(12) & 0x90, 0x10, "but its flag is set");
}

static void test_alarm(void)
{
	time_t t;
	struct tm tm;

	wait_uip();
	t = read_time() + 2;
	gmtime_r(&t, &tm);
	set(1, to_bcd((unsigned int)tm.tm_sec));
	set(3, to_bcd((unsigned int)tm.tm_min));
	set(5, to_bcd((unsigned int)tm.tm_hour));
	get(12);
	edges[IRQ] = 0;
	set(11, 0x22);
	run_for(800 * MS);
	is_u64(edges[IRQ], 0, "no alarm before its time");
	run_for(1500 * MS);
	is_u64(edges[IRQ], 1, "the alarm interrupt");
	is_u64(get(12) & 0xa0, 0xa0, "is in register C");
	set(1, 0xff);
	set(3, 0xc0);
	set(5, 0xff);
	edges[IRQ] = 0;
	run_for(1100 * MS);
	is_u64(edges[IRQ], 1, "alarms that match everything come every second");
	set(11, 0x02);
	get(12);
}

static void test_periodic(void)
{
	uint64_t start, last, ticks, lost = 0;
	unsigned int n;

	set(10, 0x26);
	get(12);
	edges[IRQ] = 0;
	set(11, 0x42);
	start = last = clock_ns();
	while (clock_ns() - start < 250 * MS) {
		run_for(MS / 4);
		if (line[IRQ])
			get(12);
		/* ticks that came at once, on a host too busy to come back here in time */
		ticks = (clock_ns() - last) * 1024 / (1000 * MS);
		lost += ticks ? ticks - 1 : 0;
		last = clock_ns();
	}
	n = edges[IRQ];
	ok(n <= 258 && n + lost >= 200, "the periodic interrupt at 1024 Hz: %u in 250 ms", n);
	set(10, 0x2f);
	get(12);
	edges[IRQ] = 0;
	start = clock_ns();
	while (clock_ns() - start < 1200 * MS) {
		run_for(10 * MS);
		if (line[IRQ])
			is_u64(get(12) & 0xc0, 0xc0, "its flag");
	}
	is_u64(edges[IRQ], 2, "at 2 Hz");
	set(11, 0x02);
	set(10, 0x20);
	get(12);
	usleep(2000);
	is_u64(get(12) & 0x40, 0, "rate 0 is off");
	set(10, 0x26);
	get(12);
	usleep(2000);
	is_u64(get(12) & 0x40, 0x40, "disabled, its flag is set all the same");
}

static void test_cmos(void)
{
	unsigned int sum = 0;

	is_u64(get(13), 0x80, "register D: the battery is good");
	set(13, 0);
	is_u64(get(13), 0x80, "and read-only");
	is_u64(get(0x15) | get(0x16) << 8, 640, "base memory");
	is_u64(get(0x17) | get(0x18) << 8, 0xffff, "extended memory");
	is_u64(get(0x34) | get(0x35) << 8, (0xc0000000u - (16 << 20)) >> 16, "memory above 16 MiB");
	is_u64(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 0x40000000u >> 16, "memory above 4 GiB");
	for (uint8_t i = 0x10; i <= 0x2d; i++)
		sum += get(i);
	is_u64(get(0x2e) << 8 | get(0x2f), sum, "checksum");
	set(0x0f, 0x0a);
	set(0x7f, 0x55);
	is_u64(get(0x0f), 0x0a, "the shutdown byte is memory");
	outb(0x70, 0xff);
	is_u64(inb(0x71), 0x55, "the NMI mask is no part of the index");
	is_u64(inb(0x70), 0xff, "the index can't be read");
	pio_out(0x70, 0xaa7e, 2);
	is_u64(get(0x7e), 0xaa, "a 16-bit write sets index and data");
	outb(0x70, 0x7e);
	is_u64(pio_in(0x70, 2), 0xaaff, "a 16-bit read");

	uint64_t seed = tap_seed(3);

	for (unsigned int i = 0; i < 100000; i++) {
		uint64_t r = tap_random(&seed);

		if (r & 1)
			set((uint8_t)(r >> 8), (uint8_t)(r >> 16));
		else
			get((uint8_t)(r >> 8));
	}
	ok(true, "100000 random accesses");
}

int main(void)
{
	void *state = NULL;

	fake_vm_init(4ull << 30);
	is_u64((uint64_t)rtc_device.init(&vm, &state), 0, "set up");
	test_time();
	test_update();
	test_alarm();
	test_periodic();
	test_cmos();
	rtc_device.reset(&vm, state);
	ok(!line[IRQ] && !(get(11) & 0x70), "a reset disables the interrupts");
	rtc_device.exit(&vm, state);
	ok(!vm.loop.armed, "no timer is left");
	fake_vm_exit();
	return tap_done();
}
