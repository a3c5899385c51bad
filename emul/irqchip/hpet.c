// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpet.c - high precision event timer
 *
 * A timer matches when its comparator equals the main counter, all 64 bits or (in 32-bit mode) the lower half of it.
 * As long as the counter runs, the tick of the next match is known: hpet_timer.due, counted from hpet.start. It is
 * computed anew whenever counter or comparator are written, and moves on by a period, or once around, at each match.
 *
 * Example, the way of Linux to a periodic timer: it writes HPET_TN_SETVAL and, to the comparator, counter + p: first
 * match p ticks from now. Then p to the comparator, this time without that bit: the distance to all further ones.
 */
#include "hpet.h"

enum {
	REG_ID = 0x000,
	REG_CONFIG = 0x010,
	REG_STATUS = 0x020,
	REG_COUNTER = 0x0f0,
	REG_TIMER = 0x100,
	TIMER_STRIDE = 0x20,
	TIMER_CONFIG = 0x00,
	TIMER_CMP = 0x08,
};

#define CONFIG_ENABLE		BIT(0)
#define CONFIG_LEGACY		BIT(1)

#define TN_LEVEL		BIT(1)
#define TN_ENABLE		BIT(2)
#define TN_PERIODIC		BIT(3)
#define TN_PERIODIC_CAP		BIT(4)
#define TN_SIZE_CAP		BIT(5)
#define TN_SETVAL		BIT(6)
#define TN_32BIT		BIT(8)
#define TN_ROUTE_SHIFT		9
#define TN_ROUTE_MASK		0x1fu
#define TN_WRITABLE		(TN_LEVEL | TN_ENABLE | TN_PERIODIC | TN_SETVAL | TN_32BIT)

#define FS_PER_NS		1000000ull
#define DUE_NEVER		(~0ull)

static bool running(const struct hpet *hpet)
{
	return hpet->config & CONFIG_ENABLE;
}

/* Ticks since hpet->start. A clock that steps back is taken as standing still. */
static u64 elapsed(const struct hpet *hpet, u64 now)
{
	return running(hpet) && now > hpet->start ? (now - hpet->start) / HPET_TICK_NS : 0;
}

static u64 timer_mask(const struct hpet_timer *t)
{
	return t->config & TN_32BIT ? 0xffffffffull : ~0ull;
}

static u64 sum_or_never(u64 due, u64 ticks)
{
	return ticks < DUE_NEVER - due ? due + ticks : DUE_NEVER;
}

/* The first match after tick @at. */
static void timer_find(const struct hpet *hpet, struct hpet_timer *t, u64 at)
{
	const u64 ticks = (t->cmp - (hpet->counter + at) - 1) & timer_mask(t);

	t->due = sum_or_never(sum_or_never(at, ticks), 1);
}

/* Bit of the interrupt that a timer may send now; 0: none. */
static u32 timer_line(const struct hpet *hpet, unsigned int n)
{
	const u32 config = hpet->timer[n].config;

	if (!running(hpet) || !(config & TN_ENABLE))
		return 0;
	if ((hpet->config & CONFIG_LEGACY) && n < 2)
		return BIT(n ? 8 : 0);
	return BIT(config >> TN_ROUTE_SHIFT & TN_ROUTE_MASK) & HPET_ROUTES;
}

static void set_lines(struct hpet *hpet, u32 lines, bool level)
{
	for (unsigned int n = 0; lines; n++, lines >>= 1)
		if (lines & 1)
			hpet->ops->set_irq(hpet->ctx, n, level);
}

/* Level-triggered timers hold their lines for as long as the status says so. */
static void update_lines(struct hpet *hpet)
{
	u32 old = hpet->lines, lines = 0;
	unsigned int n;

	for (n = 0; n < HPET_NR_TIMERS; n++)
		if ((hpet->timer[n].config & TN_LEVEL) && (hpet->status & BIT(n)))
			lines |= timer_line(hpet, n);
	hpet->lines = lines;
	set_lines(hpet, old & ~lines, false);
	set_lines(hpet, lines & ~old, true);
}

static void timer_fire(struct hpet *hpet, unsigned int n)
{
	const u32 line = timer_line(hpet, n);

	if (hpet->timer[n].config & TN_LEVEL) {
		hpet->status |= BIT(n);
		update_lines(hpet);
	} else if (!(hpet->lines & line)) {
		set_lines(hpet, line, true);
		set_lines(hpet, line, false);
	}
}

/* "Timer n ... Periodic Mode": the comparator moves on by the period. Otherwise it matches again once around. */
static void timer_next(struct hpet_timer *t, u64 tick)
{
	const u64 mask = timer_mask(t);
	u64 step = mask == ~0ull ? DUE_NEVER : mask + 1, times;

	if ((t->config & TN_PERIODIC) && t->period)
		step = t->period;
	times = (tick - t->due) / step + 1;
	if (t->config & TN_PERIODIC)
		t->cmp = (t->cmp + times * t->period) & mask;
	if (times > (DUE_NEVER - t->due) / step)
		t->due = DUE_NEVER;
	else
		t->due = sum_or_never(t->due, times * step);
}

void hpet_advance(struct hpet *hpet, u64 now)
{
	const u64 tick = elapsed(hpet, now);
	unsigned int n;

	if (!running(hpet))
		return;
	for (n = 0; n < HPET_NR_TIMERS; n++) {
		struct hpet_timer *t = &hpet->timer[n];

		if (t->due > tick || t->due == DUE_NEVER)
			continue;
		timer_next(t, tick);
		timer_fire(hpet, n);
	}
}

u64 hpet_deadline(const struct hpet *hpet)
{
	u64 first = DUE_NEVER;
	unsigned int n;

	for (n = 0; n < HPET_NR_TIMERS; n++)
		if (timer_line(hpet, n))
			first = min(first, hpet->timer[n].due);
	if (first >= (HPET_DEADLINE_NONE - hpet->start) / HPET_TICK_NS)
		return HPET_DEADLINE_NONE;
	return hpet->start + first * HPET_TICK_NS;
}

/* The counter is @counter now; all matches are sought anew. */
static void set_counter(struct hpet *hpet, u64 counter, u64 now)
{
	unsigned int n;

	hpet->counter = counter;
	hpet->start = now;
	for (n = 0; n < HPET_NR_TIMERS; n++)
		timer_find(hpet, &hpet->timer[n], 0);
}

static void set_config(struct hpet *hpet, u32 val, u64 now)
{
	const u32 old = hpet->config;
	const u64 counter = hpet->counter + elapsed(hpet, now);

	val &= CONFIG_ENABLE | CONFIG_LEGACY;
	hpet->config = val;
	if ((val ^ old) & CONFIG_ENABLE)
		set_counter(hpet, counter, now);
	/* Lines fall before they change hands, and rise after it. */
	if ((val ^ old) & CONFIG_LEGACY) {
		const u32 status = hpet->status;

		hpet->status = 0;
		update_lines(hpet);
		hpet->status = status;
		hpet->ops->legacy(hpet->ctx, val & CONFIG_LEGACY);
	}
	update_lines(hpet);
}

/* "Timer n Interrupt Rout": what the timer can't have is not taken. */
static void timer_config(struct hpet *hpet, struct hpet_timer *t, u32 val, u64 now)
{
	u32 route = val >> TN_ROUTE_SHIFT & TN_ROUTE_MASK;
	const u32 old = t->config;

	if (!(HPET_ROUTES >> route & 1))
		route = old >> TN_ROUTE_SHIFT & TN_ROUTE_MASK;
	t->config = (val & TN_WRITABLE) | route << TN_ROUTE_SHIFT;
	if (!(t->config & TN_PERIODIC))
		t->config &= ~(u32)TN_SETVAL;
	if (!(t->config & TN_LEVEL))
		hpet->status &= ~(u32)BIT(t - hpet->timer);
	if ((t->config ^ old) & TN_32BIT) {
		t->cmp &= timer_mask(t);
		t->period &= timer_mask(t);
		timer_find(hpet, t, elapsed(hpet, now));
	}
	update_lines(hpet);
}

/*
 * "Timer n Comparator Value": in periodic mode the value is the period, and the comparator itself only if software has
 * said so, each time.
 */
static void timer_compare(struct hpet *hpet, struct hpet_timer *t, u64 val, u64 written, u64 now)
{
	const u64 mask = timer_mask(t);

	if (t->config & TN_PERIODIC)
		t->period = ((t->period & ~written) | (val & written)) & mask;
	if ((t->config & TN_PERIODIC) && !(t->config & TN_SETVAL))
		return;
	t->config &= ~(u32)TN_SETVAL;
	t->cmp = ((t->cmp & ~written) | (val & written)) & mask;
	timer_find(hpet, t, elapsed(hpet, now));
}

static struct hpet_timer *timer_at(struct hpet *hpet, u32 off)
{
	const u32 n = (off - REG_TIMER) / TIMER_STRIDE;

	return off >= REG_TIMER && n < HPET_NR_TIMERS ? &hpet->timer[array_index_nospec(n, HPET_NR_TIMERS)] : NULL;
}

static u64 reg_read(struct hpet *hpet, u32 off, u64 now)
{
	const struct hpet_timer *t = timer_at(hpet, off);

	if (t && off % TIMER_STRIDE == TIMER_CONFIG)
		return t->config | TN_PERIODIC_CAP | TN_SIZE_CAP | (u64)HPET_ROUTES << 32;
	if (t && off % TIMER_STRIDE == TIMER_CMP)
		return t->cmp;
	switch (off) {
	case REG_ID:
		return HPET_ID | (HPET_TICK_NS * FS_PER_NS) << 32;
	case REG_CONFIG:
		return hpet->config;
	case REG_STATUS:
		return hpet->status;
	case REG_COUNTER:
		return hpet->counter + elapsed(hpet, now);
	default:
		return 0;
	}
}

u64 hpet_read(struct hpet *hpet, u32 off, unsigned int len, u64 now)
{
	u64 val;

	hpet_advance(hpet, now);
	val = reg_read(hpet, off & ~7u, now) >> 8 * (off & 7);
	return len < 8 ? val & ((1ull << 8 * len) - 1) : val;
}

void hpet_write(struct hpet *hpet, u32 off, unsigned int len, u64 val, u64 now)
{
	const unsigned int shift = 8 * (off & 7);
	const u64 written = (len < 8 ? 0xffffffffull : ~0ull) << shift;
	struct hpet_timer *t;
	u64 old;

	if (len < 4)
		return;
	hpet_advance(hpet, now);
	off &= ~7u;
	val <<= shift;
	t = timer_at(hpet, off);
	old = (reg_read(hpet, off, now) & ~written) | (val & written);
	if (t && off % TIMER_STRIDE == TIMER_CONFIG) {
		timer_config(hpet, t, (u32)old, now);
	} else if (t && off % TIMER_STRIDE == TIMER_CMP) {
		timer_compare(hpet, t, val, written, now);
	} else if (off == REG_CONFIG) {
		set_config(hpet, (u32)old, now);
	} else if (off == REG_STATUS) {
		hpet->status &= ~(u32)(val & written);
		update_lines(hpet);
	} else if (off == REG_COUNTER) {
		set_counter(hpet, old, now);
	}
	if (hpet->ops->rearm)
		hpet->ops->rearm(hpet->ctx);
}

void hpet_reset(struct hpet *hpet)
{
	const u32 config = hpet->config;
	unsigned int n;

	hpet->config = 0;
	hpet->status = 0;
	update_lines(hpet);
	memset(hpet->timer, 0, sizeof(hpet->timer));
	for (n = 0; n < HPET_NR_TIMERS; n++)
		hpet->timer[n].cmp = ~0ull;
	set_counter(hpet, 0, 0);
	if (config & CONFIG_LEGACY)
		hpet->ops->legacy(hpet->ctx, false);
	if (hpet->ops->rearm)
		hpet->ops->rearm(hpet->ctx);
}

void hpet_init(struct hpet *hpet, const struct hpet_ops *ops, void *ctx)
{
	memset(hpet, 0, sizeof(*hpet));
	hpet->ops = ops;
	hpet->ctx = ctx;
	hpet_reset(hpet);
}
