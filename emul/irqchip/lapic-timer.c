// SPDX-License-Identifier: GPL-2.0-only
/*
 * lapic-timer.c - the local APIC's timer
 *
 * Source: Intel SDM vol. 3, "APIC Timer" and "TSC-Deadline Mode".
 *
 * The counter is not stepped: "load" is what it held at "epoch", and with u divided ticks elapsed since, a
 * one-shot timer holds load - u until it expires; a periodic one expires at u = load, load + init, load + 2 *
 * init and so on. "fired" is the number of these expiries that were reported; the next deadline follows from
 * it, so nothing drifts.
 *
 * Every write that concerns the timer first reports what was due before (lapic_timer_sync()), then starts a
 * new epoch.
 */
#include "lapic-priv.h"

#define NSEC_PER_SEC		1000000000ull

/*
 * 36 years. An epoch older than that is moved, and a clock that jumps further is taken as having jumped so
 * far: at 4 GHz, 2^62 ticks are left with room in 64 bits.
 */
#define ELAPSED_MAX		(1ull << 60)

static u64 ns_to_ticks(const struct lapic *apic, u64 ns)
{
	u64 hz = apic->config.timer_hz;

	return ns / NSEC_PER_SEC * hz + ns % NSEC_PER_SEC * hz / NSEC_PER_SEC;
}

/* Rounded up: that many nanoseconds later the ticks have passed. */
static u64 ticks_to_ns(const struct lapic *apic, u64 ticks)
{
	u64 hz = apic->config.timer_hz;

	return ticks / hz * NSEC_PER_SEC + (ticks % hz * NSEC_PER_SEC + hz - 1) / hz;
}

/* "Divide Configuration Register": bits 3, 1 and 0 are log2 of the divider, less one, modulo 8. */
static unsigned int divide_shift(const struct lapic *apic)
{
	u32 divide = lapic_reg(apic, LAPIC_TIMER_DIVIDE);

	return (((divide & 3) | (divide >> 1 & 4)) + 1) & 7;
}

static u32 timer_mode(const struct lapic *apic)
{
	return lapic_reg(apic, LAPIC_LVT_TIMER) & LAPIC_TIMER_MODE;
}

static bool timer_counts(const struct lapic *apic)
{
	return timer_mode(apic) == LAPIC_TIMER_ONESHOT || timer_mode(apic) == LAPIC_TIMER_PERIODIC;
}

static u64 elapsed_ns(const struct lapic *apic, u64 now)
{
	if (now <= apic->timer.epoch)
		return 0;
	return min(now - apic->timer.epoch, (u64)ELAPSED_MAX);
}

static u64 elapsed_units(const struct lapic *apic, u64 now)
{
	return ns_to_ticks(apic, elapsed_ns(apic, now)) >> divide_shift(apic);
}

static void timer_start(struct lapic *apic, u32 load, u64 now)
{
	apic->timer.armed = true;
	apic->timer.load = load;
	apic->timer.epoch = now;
	apic->timer.fired = 0;
}

static void timer_rearm(struct lapic *apic)
{
	if (apic->ops->rearm)
		apic->ops->rearm(apic->ctx);
}

u32 lapic_timer_count(const struct lapic *apic, u64 now)
{
	u64 units;
	u32 init;

	if (!apic->timer.armed)
		return 0;
	units = elapsed_units(apic, now);
	if (units < apic->timer.load)
		return apic->timer.load - units;
	init = lapic_reg(apic, LAPIC_TIMER_INIT);
	if (timer_mode(apic) != LAPIC_TIMER_PERIODIC || !init)
		return 0;
	return init - (u32)((units - apic->timer.load) % init);
}

struct lapic_deadline lapic_timer_deadline(const struct lapic *apic)
{
	const struct lapic_deadline none = { .clock = LAPIC_CLOCK_NONE, .at = ~0ull };
	struct lapic_deadline deadline;
	u64 units;

	if (timer_mode(apic) == LAPIC_TIMER_TSC) {
		if (!apic->timer.tsc)
			return none;
		return (struct lapic_deadline) { .clock = LAPIC_CLOCK_TSC, .at = apic->timer.tsc };
	}
	/* Masked, it counts on, but there is nothing to report: no reason to wake anybody. */
	if (!apic->timer.armed || (lapic_reg(apic, LAPIC_LVT_TIMER) & LAPIC_LVT_MASKED))
		return none;
	units = apic->timer.load + apic->timer.fired * lapic_reg(apic, LAPIC_TIMER_INIT);
	deadline.clock = LAPIC_CLOCK_NS;
	deadline.at = apic->timer.epoch + ticks_to_ns(apic, units << divide_shift(apic));
	return deadline.at < apic->timer.epoch ? none : deadline;
}

/* Report what is due at @now in the counting modes. Return: number of expiries. */
u64 lapic_timer_sync(struct lapic *apic, u64 now)
{
	u32 init = lapic_reg(apic, LAPIC_TIMER_INIT);
	u64 units, expired, fresh;

	if (!apic->timer.armed)
		return 0;
	units = elapsed_units(apic, now);
	if (units < apic->timer.load)
		return 0;
	if (timer_mode(apic) == LAPIC_TIMER_PERIODIC && init) {
		expired = 1 + (units - apic->timer.load) / init;
		fresh = expired > apic->timer.fired ? expired - apic->timer.fired : 0;
		apic->timer.fired += fresh;
		if (elapsed_ns(apic, now) >= ELAPSED_MAX)
			timer_start(apic, init, now);
	} else {
		apic->timer.armed = false;
		fresh = 1;
	}
	if (fresh)
		lapic_local(apic, LAPIC_LVT_TIMER);
	return fresh;
}

u64 lapic_timer_expire(struct lapic *apic, u64 now, u64 tsc)
{
	if (timer_mode(apic) != LAPIC_TIMER_TSC)
		return lapic_timer_sync(apic, now);
	if (!apic->timer.tsc || tsc < apic->timer.tsc)
		return 0;
	/* The MSR reads zero from now on: the deadline is used up, masked or not. */
	apic->timer.tsc = 0;
	lapic_local(apic, LAPIC_LVT_TIMER);
	return 1;
}

void lapic_timer_stop(struct lapic *apic)
{
	memset(&apic->timer, 0, sizeof(apic->timer));
	timer_rearm(apic);
}

/* Write of the initial count. In TSC-deadline mode it is ignored. */
void lapic_timer_set_count(struct lapic *apic, u32 count, u64 now)
{
	if (!timer_counts(apic))
		return;
	lapic_timer_sync(apic, now);
	lapic_set_reg(apic, LAPIC_TIMER_INIT, count);
	apic->timer.armed = false;
	if (count)
		timer_start(apic, count, now);
	timer_rearm(apic);
}

void lapic_timer_set_divide(struct lapic *apic, u32 divide, u64 now)
{
	u32 count;

	lapic_timer_sync(apic, now);
	count = lapic_timer_count(apic, now);
	lapic_set_reg(apic, LAPIC_TIMER_DIVIDE, divide);
	if (apic->timer.armed)
		timer_start(apic, count, now);
	timer_rearm(apic);
}

void lapic_timer_set_lvt(struct lapic *apic, u32 lvt, u64 now)
{
	u32 old = lapic_reg(apic, LAPIC_LVT_TIMER);
	u32 count;

	lapic_timer_sync(apic, now);
	count = lapic_timer_count(apic, now);
	lapic_set_reg(apic, LAPIC_LVT_TIMER, lvt);
	if ((old ^ lvt) & LAPIC_TIMER_MODE) {
		if (timer_counts(apic) && !(old & LAPIC_TIMER_TSC)) {
			/* One-shot to periodic or back: it counts on from where it is. */
			if (apic->timer.armed)
				timer_start(apic, count, now);
		} else {
			/* "Switching between TSC-deadline and the other modes disarms the timer". */
			apic->timer.armed = false;
			apic->timer.tsc = 0;
			lapic_set_reg(apic, LAPIC_TIMER_INIT, 0);
		}
	}
	timer_rearm(apic);
}

void lapic_timer_set_tsc(struct lapic *apic, u64 tsc)
{
	if (timer_mode(apic) != LAPIC_TIMER_TSC)
		return;
	apic->timer.tsc = tsc;
	timer_rearm(apic);
}

/* The registers were replaced; the counter holds @count. */
void lapic_timer_restored(struct lapic *apic, u32 count, u64 now)
{
	u32 init = lapic_reg(apic, LAPIC_TIMER_INIT);

	apic->timer.armed = false;
	if (timer_mode(apic) != LAPIC_TIMER_TSC)
		apic->timer.tsc = 0;
	if (timer_counts(apic) && init) {
		if (!count && timer_mode(apic) == LAPIC_TIMER_PERIODIC)
			count = init;
		if (count)
			timer_start(apic, min(count, init), now);
	}
	timer_rearm(apic);
}
