// SPDX-License-Identifier: GPL-2.0-only
/*
 * rtc.c - MC146818 real-time clock and the CMOS memory behind it
 *
 * Source: Motorola "MC146818A Real-Time Clock Plus RAM", and what PC firmware keeps in the CMOS memory. The
 * clock shows UTC, in the host's time plus what the guest set it off by.
 *
 * While it runs, the time is computed when somebody looks. While it is stopped (SET, or the divider chain
 * held in reset), the registers hold it. "Ticks" are nanoseconds of guest time since 1970. The periodic
 * interrupt follows the guest's monotonic clock, the one every other device has; time of day runs on battery, also
 * while the guest is stopped.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "devices.h"

#define CMOS_SIZE	128
#define NS_PER_SEC	1000000000ll
#define SEC_PER_DAY	86400

enum {
	RTC_SEC = 0,
	RTC_SEC_ALARM = 1,
	RTC_MIN = 2,
	RTC_MIN_ALARM = 3,
	RTC_HOUR = 4,
	RTC_HOUR_ALARM = 5,
	RTC_WDAY = 6,
	RTC_MDAY = 7,
	RTC_MONTH = 8,
	RTC_YEAR = 9,
	RTC_A = 10,
	RTC_B = 11,
	RTC_C = 12,
	RTC_D = 13,
	CMOS_SHUTDOWN = 0x0f,
	CMOS_EQUIPMENT = 0x14,
	CMOS_BASE_MEM = 0x15,		/* KiB, two bytes */
	CMOS_EXT_MEM = 0x17,		/* KiB above 1 MiB, two bytes; again at 0x30 */
	CMOS_SUM_FIRST = 0x10,		/* checksum over these, at CMOS_SUM, high byte first */
	CMOS_SUM_LAST = 0x2d,
	CMOS_SUM = 0x2e,
	CMOS_EXT_MEM2 = 0x30,
	RTC_CENTURY = 0x32,
	CMOS_MEM_16M = 0x34,		/* 64 KiB units above 16 MiB, two bytes */
	CMOS_MEM_4G = 0x5b,		/* 64 KiB units above 4 GiB, three bytes */
	CMOS_CPUS = 0x5f,		/* number of processors less one */
};

#define A_UIP		0x80
#define A_DIVIDER	0x70
#define A_RESET		0x60		/* 11x: divider chain held in reset */
#define A_RATE		0x0f

#define B_SET		0x80
#define B_PIE		0x40
#define B_AIE		0x20
#define B_UIE		0x10
#define B_BINARY	0x04
#define B_24H		0x02
#define B_DSE		0x01

#define C_IRQ		0x80
#define C_PERIODIC	0x40
#define C_ALARM		0x20
#define C_UPDATE	0x10

#define D_VALID		0x80

#define HOUR_PM		0x80
#define ALARM_ANY	0xc0		/* both top bits: matches every value */

/* UIP rises 244 us before an update cycle, which takes 1984 us; the new time shows at its end. */
#define UIP_NS		(2228 * 1000)

/* Year 9999 in nanoseconds is beyond 64 bits. */
typedef __int128 ticks_t;

struct rtc {
	struct vm *vm;
	struct timer second;		/* update-ended and alarm */
	struct timer periodic;
	uint8_t index;
	uint8_t cmos[CMOS_SIZE];
	ticks_t offset;			/* ticks = host's CLOCK_REALTIME + offset */
	int64_t fraction;		/* of a second, while stopped */
	int64_t seen;			/* second up to which UF and AF are accounted for */
	uint64_t periodic_base;		/* guest_ns() of a tick of the periodic divider */
	uint64_t periodic_seen;		/* ticks since then that PF is accounted for */
	bool irq;
	bool irq_off;			/* not connected */
};

static ticks_t host_ticks(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (ticks_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static bool rtc_running(const struct rtc *r)
{
	return !(r->cmos[RTC_B] & B_SET) && (r->cmos[RTC_A] & A_RESET) != A_RESET;
}

static int64_t floor_sec(ticks_t ticks)
{
	return (int64_t)(ticks / NS_PER_SEC - (ticks % NS_PER_SEC < 0));
}

/* Nanoseconds from @ticks to the next full second. */
static int64_t to_next_sec(ticks_t ticks)
{
	return (int64_t)((ticks_t)(floor_sec(ticks) + 1) * NS_PER_SEC - ticks);
}

/* Register values */

static uint8_t rtc_encode(const struct rtc *r, unsigned int val)
{
	return (uint8_t)(r->cmos[RTC_B] & B_BINARY ? val : val / 10 % 10 << 4 | val % 10);
}

static unsigned int rtc_decode(const struct rtc *r, uint8_t val)
{
	return r->cmos[RTC_B] & B_BINARY ? val : (val >> 4) * 10u + (val & 0x0f);
}

static uint8_t rtc_encode_hour(const struct rtc *r, unsigned int hour)
{
	if (r->cmos[RTC_B] & B_24H)
		return rtc_encode(r, hour);
	return (uint8_t)(rtc_encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0));
}

static unsigned int rtc_decode_hour(const struct rtc *r, uint8_t val)
{
	if (r->cmos[RTC_B] & B_24H)
		return rtc_decode(r, val);
	return rtc_decode(r, val & (uint8_t)~HOUR_PM) % 12 + (val & HOUR_PM ? 12 : 0);
}

static void rtc_store_time(struct rtc *r, int64_t sec)
{
	time_t t = (time_t)sec;
	struct tm tm;

	if (!gmtime_r(&t, &tm))
		return;
	r->cmos[RTC_SEC] = rtc_encode(r, (unsigned int)tm.tm_sec);
	r->cmos[RTC_MIN] = rtc_encode(r, (unsigned int)tm.tm_min);
	r->cmos[RTC_HOUR] = rtc_encode_hour(r, (unsigned int)tm.tm_hour);
	r->cmos[RTC_WDAY] = rtc_encode(r, (unsigned int)tm.tm_wday + 1);
	r->cmos[RTC_MDAY] = rtc_encode(r, (unsigned int)tm.tm_mday);
	r->cmos[RTC_MONTH] = rtc_encode(r, (unsigned int)tm.tm_mon + 1);
	r->cmos[RTC_YEAR] = rtc_encode(r, (unsigned int)(tm.tm_year % 100 + 100) % 100);
	r->cmos[RTC_CENTURY] = rtc_encode(r, (unsigned int)(tm.tm_year + 1900) / 100 % 100);
}

/* The day of the week is not asked: it follows from the date. Values out of range carry over. */
static int64_t rtc_load_time(const struct rtc *r)
{
	struct tm tm = {
		.tm_sec = (int)rtc_decode(r, r->cmos[RTC_SEC]),
		.tm_min = (int)rtc_decode(r, r->cmos[RTC_MIN]),
		.tm_hour = (int)rtc_decode_hour(r, r->cmos[RTC_HOUR]),
		.tm_mday = (int)rtc_decode(r, r->cmos[RTC_MDAY]),
		.tm_mon = (int)rtc_decode(r, r->cmos[RTC_MONTH]) - 1,
		.tm_year = (int)(rtc_decode(r, r->cmos[RTC_CENTURY]) * 100 +
				 rtc_decode(r, r->cmos[RTC_YEAR])) - 1900,
	};

	return (int64_t)timegm(&tm);
}

static ticks_t rtc_ticks(const struct rtc *r)
{
	return host_ticks() + r->offset;
}

/* Bring the registers up to date; while stopped they are. */
static void rtc_latch(struct rtc *r)
{
	ticks_t ticks;

	if (!rtc_running(r))
		return;
	ticks = rtc_ticks(r);
	r->fraction = NS_PER_SEC - to_next_sec(ticks);
	rtc_store_time(r, floor_sec(ticks));
}

/* The time is what the registers and the fraction say, from now on. */
static void rtc_set_from_regs(struct rtc *r)
{
	int64_t sec = rtc_load_time(r);

	r->offset = (ticks_t)sec * NS_PER_SEC + r->fraction - host_ticks();
	r->seen = sec;
}

/* Interrupts */

static void rtc_update_irq(struct rtc *r)
{
	bool irq = r->cmos[RTC_C] & r->cmos[RTC_B] & (C_PERIODIC | C_ALARM | C_UPDATE);

	r->cmos[RTC_C] = (uint8_t)((r->cmos[RTC_C] & ~C_IRQ) | (irq ? C_IRQ : 0));
	irq = irq && !r->irq_off;
	if (irq != r->irq) {
		r->irq = irq;
		vm_irq(r->vm, RTC_IRQ, irq);
	}
}

void rtc_connect_irq(struct vm *vm, bool on)
{
	if (!vm->rtc)
		return;
	vm->rtc->irq_off = !on;
	rtc_update_irq(vm->rtc);
}

static bool alarm_matches(uint8_t alarm, unsigned int want, unsigned int val)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || want == val;
}

static bool rtc_alarm_at(const struct rtc *r, int64_t sec)
{
	unsigned int day = (unsigned int)(((sec % SEC_PER_DAY) + SEC_PER_DAY) % SEC_PER_DAY);
	const uint8_t *c = r->cmos;

	return alarm_matches(c[RTC_SEC_ALARM], rtc_decode(r, c[RTC_SEC_ALARM]), day % 60) &&
	       alarm_matches(c[RTC_MIN_ALARM], rtc_decode(r, c[RTC_MIN_ALARM]), day / 60 % 60) &&
	       alarm_matches(c[RTC_HOUR_ALARM], rtc_decode_hour(r, c[RTC_HOUR_ALARM]), day / 3600);
}

/* Set the flags for all seconds that have passed; alarms repeat daily, so a day of them is enough. */
static void rtc_catch_up(struct rtc *r)
{
	int64_t sec;

	if (!rtc_running(r))
		return;
	sec = floor_sec(rtc_ticks(r));
	if (sec < r->seen || sec - r->seen > SEC_PER_DAY)
		r->seen = sec - SEC_PER_DAY;
	if (sec == r->seen)
		return;
	r->cmos[RTC_C] |= C_UPDATE;
	while (!(r->cmos[RTC_C] & C_ALARM) && r->seen < sec) {
		if (rtc_alarm_at(r, ++r->seen))
			r->cmos[RTC_C] |= C_ALARM;
	}
	r->seen = sec;
}

static void rtc_arm_second(struct rtc *r)
{
	uint64_t deadline = TIMER_OFF;

	if (rtc_running(r) && (r->cmos[RTC_B] & (B_AIE | B_UIE)))
		deadline = clock_ns() + (uint64_t)to_next_sec(rtc_ticks(r));
	timer_set(&r->vm->loop, &r->second, deadline);
}

static void rtc_second(void *opaque)
{
	struct rtc *r = opaque;

	rtc_catch_up(r);
	rtc_update_irq(r);
	rtc_arm_second(r);
}

/* In units of 1/32768 s; 0: off. Rates 1 and 2 are those of 8 and 9 with a 32.768 kHz crystal. */
static unsigned int rtc_period(const struct rtc *r)
{
	unsigned int rate = r->cmos[RTC_A] & A_RATE;

	if (!rate || (r->cmos[RTC_A] & A_RESET) == A_RESET)
		return 0;
	return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t periodic_ticks(const struct rtc *r, unsigned int period)
{
	unsigned __int128 ns = guest_ns(&r->vm->loop) - r->periodic_base;

	return (uint64_t)(ns * 32768 / NS_PER_SEC / period);
}

static void rtc_catch_up_periodic(struct rtc *r)
{
	unsigned int period = rtc_period(r);
	uint64_t ticks;

	if (!period)
		return;
	ticks = periodic_ticks(r, period);
	if (ticks != r->periodic_seen)
		r->cmos[RTC_C] |= C_PERIODIC;
	r->periodic_seen = ticks;
}

static void rtc_arm_periodic(struct rtc *r)
{
	unsigned int period = rtc_period(r);
	uint64_t deadline = TIMER_OFF;

	if (period && (r->cmos[RTC_B] & B_PIE)) {
		unsigned __int128 next = (unsigned __int128)(periodic_ticks(r, period) + 1) * period;

		deadline = r->periodic_base + (uint64_t)(next * NS_PER_SEC / 32768) + 1;
	}
	timer_set(&r->vm->loop, &r->periodic, deadline);
}

static void rtc_periodic(void *opaque)
{
	struct rtc *r = opaque;

	rtc_catch_up_periodic(r);
	rtc_update_irq(r);
	rtc_arm_periodic(r);
}

/* Registers */

static void rtc_set_control(struct rtc *r, unsigned int reg, uint8_t val)
{
	bool was_running, was_reset = (r->cmos[RTC_A] & A_RESET) == A_RESET;
	unsigned int period = rtc_period(r);

	rtc_catch_up(r);
	rtc_catch_up_periodic(r);
	rtc_latch(r);
	was_running = rtc_running(r);

	if (reg == RTC_A) {
		r->cmos[RTC_A] = val & (uint8_t)~A_UIP;
	} else {
		/* SET ends an update cycle and clears UIE. */
		if (val & B_SET)
			val &= (uint8_t)~B_UIE;
		r->cmos[RTC_B] = val;
	}

	/* The first update comes half a second after the divider chain is let go. */
	if (was_reset && (r->cmos[RTC_A] & A_RESET) != A_RESET)
		r->fraction = NS_PER_SEC / 2;
	if (!was_running && rtc_running(r))
		rtc_set_from_regs(r);
	if (rtc_period(r) != period) {
		r->periodic_base = guest_ns(&r->vm->loop);
		r->periodic_seen = 0;
	}
	rtc_update_irq(r);
	rtc_arm_second(r);
	rtc_arm_periodic(r);
}

static uint8_t rtc_read_reg(struct rtc *r)
{
	unsigned int reg = r->index;
	uint8_t val;

	switch (reg) {
	case RTC_SEC:
	case RTC_MIN:
	case RTC_HOUR:
	case RTC_WDAY ... RTC_YEAR:
	case RTC_CENTURY:
		rtc_latch(r);
		return r->cmos[reg];
	case RTC_A:
		val = r->cmos[RTC_A];
		if (rtc_running(r) && to_next_sec(rtc_ticks(r)) <= UIP_NS)
			val |= A_UIP;
		return val;
	case RTC_C:
		rtc_catch_up(r);
		rtc_catch_up_periodic(r);
		rtc_update_irq(r);
		val = r->cmos[RTC_C];
		r->cmos[RTC_C] = 0;
		rtc_update_irq(r);
		return val;
	case RTC_D:
		return D_VALID;
	default:
		return r->cmos[reg];
	}
}

static void rtc_write_reg(struct rtc *r, uint8_t val)
{
	unsigned int reg = r->index;

	switch (reg) {
	case RTC_SEC:
	case RTC_MIN:
	case RTC_HOUR:
	case RTC_WDAY ... RTC_YEAR:
	case RTC_CENTURY:
		rtc_catch_up(r);
		rtc_latch(r);
		r->cmos[reg] = val;
		if (rtc_running(r)) {
			rtc_set_from_regs(r);
			rtc_arm_second(r);
		}
		break;
	case RTC_SEC_ALARM:
	case RTC_MIN_ALARM:
	case RTC_HOUR_ALARM:
		rtc_catch_up(r);
		r->cmos[reg] = val;
		break;
	case RTC_A:
	case RTC_B:
		rtc_set_control(r, reg, val);
		break;
	case RTC_C:
	case RTC_D:
		break;			/* read-only */
	default:
		r->cmos[reg] = val;
	}
}

static uint64_t rtc_read(void *opaque, uint64_t off, unsigned int len)
{
	uint64_t val = UINT64_MAX;

	/* The index is write-only; the chip is 8 bits wide. */
	if (off == 1)
		val = 0xffffffffffffff00ull | rtc_read_reg(opaque);
	else if (len > 1)
		val = 0xffffffffffff00ffull | (uint64_t)rtc_read_reg(opaque) << 8;
	return val;
}

static void rtc_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct rtc *r = opaque;

	if (off == 0) {
		r->index = val & (CMOS_SIZE - 1);	/* bit 7 is the NMI mask */
		if (len > 1)
			rtc_write_reg(r, (uint8_t)(val >> 8));
	} else {
		rtc_write_reg(r, (uint8_t)val);
	}
}

static const struct region_ops rtc_region = {
	.read = rtc_read,
	.write = rtc_write,
};

/* What firmware would have found out and left in the CMOS memory. */
static void cmos_set(struct rtc *r, unsigned int at, uint64_t val, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		r->cmos[at + i] = (uint8_t)(val >> (8 * i));
}

static uint64_t at_most(uint64_t val, uint64_t max)
{
	return val < max ? val : max;
}

static void cmos_init(struct rtc *r)
{
	uint64_t low = r->vm->ram[0].size, high = r->vm->nr_ram > 1 ? r->vm->ram[1].size : 0;
	uint64_t above_1m = low > 1 << 20 ? low - (1 << 20) : 0;
	uint64_t above_16m = low > 16 << 20 ? low - (16 << 20) : 0;
	unsigned int sum = 0;

	cmos_set(r, CMOS_EQUIPMENT, 0x02, 1);		/* a floating-point unit */
	cmos_set(r, CMOS_BASE_MEM, 640, 2);
	cmos_set(r, CMOS_EXT_MEM, at_most(above_1m >> 10, 0xffff), 2);
	cmos_set(r, CMOS_EXT_MEM2, at_most(above_1m >> 10, 0xffff), 2);
	cmos_set(r, CMOS_MEM_16M, at_most(above_16m >> 16, 0xffff), 2);
	cmos_set(r, CMOS_MEM_4G, at_most(high >> 16, 0xffffff), 3);
	cmos_set(r, CMOS_CPUS, r->vm->config.cpus - 1, 1);
	for (unsigned int i = CMOS_SUM_FIRST; i <= CMOS_SUM_LAST; i++)
		sum += r->cmos[i];
	r->cmos[CMOS_SUM] = (uint8_t)(sum >> 8);
	r->cmos[CMOS_SUM + 1] = (uint8_t)sum;
}

/* Time and CMOS memory run on battery: a reset disables the interrupts, and that is all. */
static void rtc_reset(struct vm *vm, void *state)
{
	struct rtc *r = state;

	(void)vm;
	rtc_latch(r);
	r->index = 0;
	r->cmos[RTC_B] &= (uint8_t)~(B_PIE | B_AIE | B_UIE);
	r->cmos[RTC_C] = 0;
	rtc_update_irq(r);
	rtc_arm_second(r);
	rtc_arm_periodic(r);
}

static int rtc_init(struct vm *vm, void **state)
{
	struct rtc *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->vm = vm;
	vm->rtc = r;
	*state = r;
	timer_init(&r->second, rtc_second, r);
	timer_init_guest(&r->periodic, rtc_periodic, r);
	r->cmos[RTC_A] = 0x26;			/* 32.768 kHz crystal, 1024 Hz */
	r->cmos[RTC_B] = B_24H;
	r->periodic_base = guest_ns(&r->vm->loop);
	r->seen = floor_sec(rtc_ticks(r));
	cmos_init(r);
	rtc_latch(r);
	return bus_add(&vm->pio, RTC_BASE, 2, &rtc_region, r, "rtc");
}

static void rtc_exit(struct vm *vm, void *state)
{
	struct rtc *r = state;

	if (!r)
		return;
	timer_set(&vm->loop, &r->second, TIMER_OFF);
	timer_set(&vm->loop, &r->periodic, TIMER_OFF);
	bus_remove(&vm->pio, RTC_BASE, 2);
	vm->rtc = NULL;
	free(r);
}

const struct device_ops rtc_device = {
	.name = "rtc",
	.init = rtc_init,
	.reset = rtc_reset,
	.exit = rtc_exit,
};
