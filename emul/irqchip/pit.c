// SPDX-License-Identifier: GPL-2.0-only
/*
 * pit.c - 8254 programmable interval timer
 *
 * All counters share one input clock, so every state is kept in ticks of it and nothing rounds twice. A
 * counter is its initial count N and the tick at which N was loaded (epoch); with e ticks elapsed since, OUT
 * is
 *
 *	mode 0  interrupt on terminal count	low, high from e = N on
 *	mode 1  retriggerable one-shot		low from the trigger on, high from e = N on
 *	mode 2  rate generator			low for the last tick of every N
 *	mode 3  square wave			high for (N + 1) / 2, low for N / 2
 *	mode 4  software-triggered strobe	low for the one tick e = N
 *	mode 5  hardware-triggered strobe	the same, from the trigger on
 *
 * IRQ 0 is edge-triggered: what matters is how many rising edges lie between two ticks, and that is a
 * subtraction.
 *
 * Example: mode 2, N = 11932 (100 Hz), loaded at tick 1000. pit_deadline() is tick 12932 in nanoseconds; a
 * pit_advance() that comes only at tick 40000 finds 3 edges, reports one and returns 3; the next deadline is
 * tick 48728.
 */
#include "pit.h"

#define NSEC_PER_SEC		1000000000ull

#define CONTROL_BCD		0x01
#define CONTROL_MODE_SHIFT	1
#define CONTROL_ACCESS_SHIFT	4
#define CONTROL_SELECT_SHIFT	6
#define CONTROL_READ_BACK	3

/* Read-back command: bits 5 and 4 are active low. */
#define READ_BACK_NO_COUNT	0x20
#define READ_BACK_NO_STATUS	0x10

#define STATUS_OUT		0x80
#define STATUS_NULL		0x40

#define ACCESS_LOW		1
#define ACCESS_HIGH		2
#define ACCESS_BOTH		3

/* DRAM refresh toggles bit 4 of port 0x61 every 15 us: what counter 1 was for in a PC AT. */
#define REFRESH_TICKS		18

/* Elapsed ticks that only a hostile restore can show: 2^62 ticks are 122,000 years. */
#define ELAPSED_MAX		(1ull << 62)

u64 pit_ticks(u64 ns)
{
	/* Split, so that nothing overflows 64 bits: the remainder is below 10^9 and the rate below 2^21. */
	return ns / NSEC_PER_SEC * PIT_HZ + ns % NSEC_PER_SEC * PIT_HZ / NSEC_PER_SEC;
}

u64 pit_ns(u64 ticks)
{
	u64 sec = ticks / PIT_HZ;
	u64 nsec = (ticks % PIT_HZ * NSEC_PER_SEC + PIT_HZ - 1) / PIT_HZ;

	if (sec >= ~0ull / NSEC_PER_SEC)
		return PIT_DEADLINE_NONE;
	return sec * NSEC_PER_SEC + nsec;
}

/* ---- one counter ---- */

static bool mode_is_periodic(const struct pit_channel *ch)
{
	return ch->mode == 2 || ch->mode == 3;
}

/* Modes 1 and 5 start with a rising edge of GATE; the others run while GATE is high. */
static bool mode_wants_trigger(const struct pit_channel *ch)
{
	return ch->mode == 1 || ch->mode == 5;
}

/* A count of 1 is illegal in modes 2 and 3; the shortest period that has both levels stands in. */
static u32 channel_period(const struct pit_channel *ch)
{
	return ch->reload < 2 ? 2 : ch->reload;
}

/* Mode 3: ticks of the high half. */
static u32 high_half(u32 period)
{
	return (period + 1) / 2;
}

static u64 channel_elapsed(const struct pit_channel *ch, u64 tick)
{
	return ch->running ? tick - ch->epoch : ch->frozen;
}

static bool channel_out(const struct pit_channel *ch, u64 tick)
{
	u64 elapsed = channel_elapsed(ch, tick);
	u32 period = channel_period(ch);

	switch (ch->mode) {
	case 0:
		return ch->loaded && elapsed >= ch->reload;
	case 1:
		return !ch->running || elapsed >= ch->reload;
	case 2:
		return !ch->running || elapsed % period != period - 1;
	case 3:
		return !ch->running || elapsed % period < high_half(period);
	default:
		return !ch->loaded || elapsed != ch->reload || (ch->mode == 5 && !ch->running);
	}
}

/* The counting element as a number. */
static u32 channel_count(const struct pit_channel *ch, u64 tick)
{
	u64 elapsed = channel_elapsed(ch, tick);
	u32 period = channel_period(ch);
	u32 wrap = ch->bcd ? 10000 : 0x10000;
	u32 position;

	switch (ch->mode) {
	case 2:
		return period - (u32)(elapsed % period);
	case 3:
		/* Down by two, twice a period. */
		position = elapsed % period;
		if (position >= high_half(period))
			position -= high_half(period);
		return (period & ~1u) - 2 * position;
	default:
		/* Past zero it wraps and goes on counting. */
		return (ch->reload + wrap - (u32)(elapsed % wrap)) % wrap;
	}
}

static u16 to_bcd(u32 value)
{
	return value % 10 | value / 10 % 10 << 4 | value / 100 % 10 << 8 | value / 1000 % 10 << 12;
}

/* Digits above 9 are not defined; taken at face value they stay in range. */
static u32 from_bcd(u16 value)
{
	return (value & 15) + (value >> 4 & 15) * 10 + (value >> 8 & 15) * 100 + (value >> 12) * 1000;
}

static u16 channel_count_register(const struct pit_channel *ch, u64 tick)
{
	u32 count = channel_count(ch, tick);

	return ch->bcd ? to_bcd(count % 10000) : count;
}

static u8 channel_status(const struct pit_channel *ch, u64 tick)
{
	u8 status = ch->access << CONTROL_ACCESS_SHIFT | ch->mode << CONTROL_MODE_SHIFT;

	if (ch->bcd)
		status |= CONTROL_BCD;
	if (channel_out(ch, tick))
		status |= STATUS_OUT;
	if (!ch->loaded || ch->has_next)
		status |= STATUS_NULL;
	return status;
}

/* Rising edges of OUT from epoch to @tick. */
static u64 edges_until(const struct pit_channel *ch, u64 tick)
{
	u64 elapsed = channel_elapsed(ch, tick);

	if (!ch->running)
		return 0;
	switch (ch->mode) {
	case 0:
	case 1:
		return elapsed >= ch->reload;
	case 2:
	case 3:
		return elapsed / channel_period(ch);
	default:
		return elapsed > ch->reload;
	}
}

/* The tick after @tick at which a periodic counter takes a new count: end of the cycle, or half in mode 3. */
static u64 next_reload_tick(const struct pit_channel *ch, u64 tick, bool *rising)
{
	u32 period = channel_period(ch);
	u32 position = channel_elapsed(ch, tick) % period;

	*rising = ch->mode != 3 || position >= high_half(period);
	return tick - position + (*rising ? period : high_half(period));
}

/* Take the count that was written meanwhile, at tick @when. */
static void channel_take_next(struct pit_channel *ch, u64 when, bool rising)
{
	ch->reload = ch->next;
	ch->has_next = false;
	/* OUT has just fallen: the new cycle is entered at its low half. */
	ch->epoch = rising ? when : when - high_half(channel_period(ch));
}

/* Let a counter run from tick @from to @to. Return: rising edges of OUT after @from, up to and with @to. */
static u64 channel_advance(struct pit_channel *ch, u64 from, u64 to)
{
	u64 edges = 0;

	if (ch->running && ch->has_next && mode_is_periodic(ch)) {
		bool rising;
		u64 when = next_reload_tick(ch, from, &rising);

		if (to >= when) {
			edges = rising;
			channel_take_next(ch, when, rising);
			from = when;
		}
	}
	return edges + edges_until(ch, to) - edges_until(ch, from);
}

/* The tick of the next rising edge after @tick. Return: false if there is none. */
static bool channel_next_edge(const struct pit_channel *ch, u64 tick, u64 *edge)
{
	u64 elapsed = channel_elapsed(ch, tick);
	struct pit_channel then;
	bool rising;
	u64 when;

	if (!ch->running)
		return false;
	switch (ch->mode) {
	case 2:
	case 3:
		then = *ch;
		when = tick;
		if (ch->has_next) {
			when = next_reload_tick(ch, tick, &rising);
			if (rising) {
				*edge = when;
				return true;
			}
			channel_take_next(&then, when, rising);
		}
		elapsed = channel_elapsed(&then, when);
		*edge = when - elapsed % channel_period(&then) + channel_period(&then);
		return true;
	case 0:
	case 1:
		*edge = ch->epoch + ch->reload;
		return elapsed < ch->reload;
	default:
		*edge = ch->epoch + ch->reload + 1;
		return elapsed <= ch->reload;
	}
}

static void channel_start(struct pit_channel *ch, u64 tick)
{
	if (ch->has_next) {
		ch->reload = ch->next;
		ch->has_next = false;
	}
	ch->epoch = tick;
	ch->frozen = 0;
	ch->running = true;
}

static void channel_set_gate(struct pit_channel *ch, bool level, u64 tick)
{
	bool rising = level && !ch->gate;
	bool falling = !level && ch->gate;

	ch->gate = level;
	if (!ch->loaded)
		return;
	if (rising) {
		if (mode_wants_trigger(ch) || mode_is_periodic(ch)) {
			channel_start(ch, tick);
		} else {
			ch->epoch = tick - ch->frozen;
			ch->running = true;
		}
	} else if (falling && ch->running && !mode_wants_trigger(ch)) {
		ch->frozen = mode_is_periodic(ch) ? 0 : channel_elapsed(ch, tick);
		ch->running = false;
	}
}

/* A complete count was written. */
static void channel_load(struct pit_channel *ch, u16 value, u64 tick)
{
	u32 count = ch->bcd ? from_bcd(value) : value;

	if (!count)
		count = ch->bcd ? 10000 : 0x10000;

	/* A cycle or a one-shot under way is finished with the old count. */
	if (ch->running && (mode_is_periodic(ch) || mode_wants_trigger(ch))) {
		ch->next = count;
		ch->has_next = true;
		return;
	}
	ch->reload = count;
	ch->epoch = tick;
	ch->frozen = 0;
	ch->has_next = false;
	ch->loaded = true;
	ch->running = ch->gate && !mode_wants_trigger(ch);
}

static void channel_write(struct pit_channel *ch, u8 value, u64 tick)
{
	switch (ch->access) {
	case ACCESS_LOW:
		channel_load(ch, value, tick);
		break;
	case ACCESS_HIGH:
		channel_load(ch, value << 8, tick);
		break;
	default:
		if (ch->write_high) {
			ch->write_high = false;
			channel_load(ch, value << 8 | ch->write_low, tick);
			break;
		}
		ch->write_low = value;
		ch->write_high = true;
		/* Mode 0: "writing the first byte disables counting; OUT is set low immediately". */
		if (ch->mode == 0) {
			ch->loaded = false;
			ch->running = false;
			ch->frozen = 0;
		}
		break;
	}
}

static u8 channel_read(struct pit_channel *ch, u64 tick)
{
	u16 count;
	bool high;

	if (ch->status_latched) {
		ch->status_latched = false;
		return ch->status;
	}
	if (ch->latch_bytes) {
		count = ch->latch;
		high = ch->access == ACCESS_HIGH || (ch->access == ACCESS_BOTH && ch->latch_bytes == 1);
		ch->latch_bytes--;
	} else {
		count = channel_count_register(ch, tick);
		high = ch->access == ACCESS_HIGH || (ch->access == ACCESS_BOTH && ch->read_high);
		if (ch->access == ACCESS_BOTH)
			ch->read_high = !ch->read_high;
	}
	return high ? count >> 8 : count;
}

/* A second latch command before the first was read is ignored. */
static void channel_latch_count(struct pit_channel *ch, u64 tick)
{
	if (ch->latch_bytes)
		return;
	ch->latch = channel_count_register(ch, tick);
	ch->latch_bytes = ch->access == ACCESS_BOTH ? 2 : 1;
}

static void channel_latch_status(struct pit_channel *ch, u64 tick)
{
	if (ch->status_latched)
		return;
	ch->status = channel_status(ch, tick);
	ch->status_latched = true;
}

static void channel_control(struct pit_channel *ch, u8 value)
{
	u8 mode = value >> CONTROL_MODE_SHIFT & 7;

	/* Bit 2 of the mode is "don't care" for modes 2 and 3. */
	ch->mode = mode > 5 ? mode - 4 : mode;
	ch->access = value >> CONTROL_ACCESS_SHIFT & 3;
	ch->bcd = value & CONTROL_BCD;
	ch->loaded = false;
	ch->running = false;
	ch->has_next = false;
	ch->frozen = 0;
	ch->write_high = false;
	ch->read_high = false;
	ch->latch_bytes = 0;
	ch->status_latched = false;
}

/* ---- the chip ---- */

static u64 clock_tick(const struct pit *pit, u64 now)
{
	u64 tick = pit_ticks(now);

	return tick > pit->tick ? tick : pit->tick;
}

static void pit_set_irq0(struct pit *pit, bool level)
{
	if (pit->irq0 == level)
		return;
	pit->irq0 = level;
	pit->ops->set_irq0(pit->ctx, level);
}

/* Bring IRQ 0 to the level of OUT, by way of a rising edge if there was one. */
static void pit_update_irq0(struct pit *pit, bool edge)
{
	if (pit->irq0_off) {
		pit_set_irq0(pit, false);
		return;
	}
	if (edge) {
		pit_set_irq0(pit, false);
		pit_set_irq0(pit, true);
	}
	pit_set_irq0(pit, channel_out(&pit->channel[0], pit->tick));
}

/* Everything that depends on time starts here: afterwards pit->tick is the present. */
static void pit_sync(struct pit *pit, u64 now)
{
	u64 tick = clock_tick(pit, now);
	u64 edges;
	unsigned int n;

	edges = channel_advance(&pit->channel[0], pit->tick, tick);
	for (n = 1; n < PIT_NR_CHANNELS; n++)
		channel_advance(&pit->channel[n], pit->tick, tick);
	pit->tick = tick;
	pit->edges += edges;
	pit_update_irq0(pit, edges);
}

/* A register of counter @n was written. */
static void pit_changed(struct pit *pit, unsigned int n)
{
	if (n == 0) {
		pit_update_irq0(pit, false);
		if (pit->ops->rearm)
			pit->ops->rearm(pit->ctx);
	}
	if (n == 2 && pit->ops->speaker)
		pit->ops->speaker(pit->ctx);
}

void pit_init(struct pit *pit, const struct pit_ops *ops, void *ctx, u64 now)
{
	memset(pit, 0, sizeof(*pit));
	pit->ops = ops;
	pit->ctx = ctx;
	pit_reset(pit, now);
}

void pit_reset(struct pit *pit, u64 now)
{
	unsigned int n;

	memset(pit->channel, 0, sizeof(pit->channel));
	for (n = 0; n < PIT_NR_CHANNELS; n++) {
		pit->channel[n].access = ACCESS_BOTH;
		pit->channel[n].reload = 0x10000;
		pit->channel[n].gate = n != 2;
	}
	pit->tick = pit_ticks(now);
	pit->edges = 0;
	pit->port61 = 0;
	pit_changed(pit, 0);
	pit_changed(pit, 2);
}

static void pit_control(struct pit *pit, u8 value)
{
	unsigned int select = value >> CONTROL_SELECT_SHIFT;
	unsigned int n;

	if (select == CONTROL_READ_BACK) {
		for (n = 0; n < PIT_NR_CHANNELS; n++) {
			if (!(value & (2u << n)))
				continue;
			if (!(value & READ_BACK_NO_COUNT))
				channel_latch_count(&pit->channel[n], pit->tick);
			if (!(value & READ_BACK_NO_STATUS))
				channel_latch_status(&pit->channel[n], pit->tick);
		}
		return;
	}
	select = array_index_nospec(select, PIT_NR_CHANNELS);
	if (!(value >> CONTROL_ACCESS_SHIFT & 3)) {
		channel_latch_count(&pit->channel[select], pit->tick);
		return;
	}
	channel_control(&pit->channel[select], value);
	pit_changed(pit, select);
}

static u8 pit_read_speaker(const struct pit *pit)
{
	u8 value = pit->port61;

	if (pit->tick / REFRESH_TICKS & 1)
		value |= PIT_SPEAKER_REFRESH;
	if (channel_out(&pit->channel[2], pit->tick))
		value |= PIT_SPEAKER_OUT2;
	return value;
}

u8 pit_read(struct pit *pit, u16 port, u64 now)
{
	unsigned int n;

	pit_sync(pit, now);
	switch (port) {
	case PIT_PORT_COUNTER(0) ... PIT_PORT_COUNTER(2):
		n = array_index_nospec(port - PIT_PORT_COUNTER(0), PIT_NR_CHANNELS);
		return channel_read(&pit->channel[n], pit->tick);
	case PIT_PORT_SPEAKER:
		return pit_read_speaker(pit);
	default:
		return 0xff;
	}
}

void pit_write(struct pit *pit, u16 port, u8 value, u64 now)
{
	unsigned int n;

	pit_sync(pit, now);
	switch (port) {
	case PIT_PORT_COUNTER(0) ... PIT_PORT_COUNTER(2):
		n = array_index_nospec(port - PIT_PORT_COUNTER(0), PIT_NR_CHANNELS);
		channel_write(&pit->channel[n], value, pit->tick);
		pit_changed(pit, n);
		break;
	case PIT_PORT_CONTROL:
		pit_control(pit, value);
		break;
	case PIT_PORT_SPEAKER:
		pit->port61 = value & 0x0f;
		channel_set_gate(&pit->channel[2], value & PIT_SPEAKER_GATE2, pit->tick);
		pit_changed(pit, 2);
		break;
	}
}

u64 pit_deadline(const struct pit *pit)
{
	u64 edge;

	if (pit->irq0_off || !channel_next_edge(&pit->channel[0], pit->tick, &edge))
		return PIT_DEADLINE_NONE;
	return pit_ns(edge);
}

u64 pit_advance(struct pit *pit, u64 now)
{
	u64 edges;

	pit_sync(pit, now);
	edges = pit->edges;
	pit->edges = 0;
	return edges;
}

bool pit_out(const struct pit *pit, unsigned int n, u64 now)
{
	struct pit_channel ch;
	u64 tick = clock_tick(pit, now);

	if (n >= PIT_NR_CHANNELS)
		return false;
	ch = pit->channel[array_index_nospec(n, PIT_NR_CHANNELS)];
	channel_advance(&ch, pit->tick, tick);
	return channel_out(&ch, tick);
}

void pit_connect_irq0(struct pit *pit, bool on, u64 now)
{
	pit_sync(pit, now);
	pit->irq0_off = !on;
	pit_changed(pit, 0);
}

u32 pit_speaker_hz(const struct pit *pit)
{
	const struct pit_channel *ch = &pit->channel[2];

	if (!(pit->port61 & PIT_SPEAKER_DATA) || !ch->running || !mode_is_periodic(ch))
		return 0;
	return PIT_HZ / channel_period(ch);
}

static void channel_restored(struct pit_channel *ch, bool gate, u64 tick)
{
	if (ch->mode > 5)
		ch->mode = 0;
	if (ch->access < ACCESS_LOW || ch->access > ACCESS_BOTH)
		ch->access = ACCESS_BOTH;
	if (ch->reload < 1 || ch->reload > 0x10000)
		ch->reload = 0x10000;
	if (ch->next < 1 || ch->next > 0x10000)
		ch->next = 0x10000;
	if (ch->latch_bytes > 2)
		ch->latch_bytes = 0;
	if (tick - ch->epoch > ELAPSED_MAX)
		ch->epoch = tick;
	if (ch->frozen > ELAPSED_MAX)
		ch->frozen = 0;
	ch->gate = gate;
	if (!ch->loaded || (!gate && !mode_wants_trigger(ch)))
		ch->running = false;
}

void pit_restored(struct pit *pit, u64 now)
{
	unsigned int n;

	pit->tick = pit_ticks(now);
	pit->edges = 0;
	pit->port61 &= 0x0f;
	for (n = 0; n < PIT_NR_CHANNELS; n++)
		channel_restored(&pit->channel[n], n != 2 || (pit->port61 & PIT_SPEAKER_GATE2), pit->tick);
	/* Report the level, changed or not: the listener may have been restored to another one. */
	pit->irq0 = !pit->irq0_off && channel_out(&pit->channel[0], pit->tick);
	pit->ops->set_irq0(pit->ctx, pit->irq0);
	pit_changed(pit, 0);
	pit_changed(pit, 2);
}
