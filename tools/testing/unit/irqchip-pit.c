// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqchip-pit.c - the 8254
 *
 * Oracle: Intel "8254 Programmable Interval Timer" data sheet (mode definitions, read-back command), a plain
 * tick-by-tick model of the same modes for the random test, and Linux's pit_calibrate_tsc() for port 0x61.
 */
#include "../../../emul/irqchip/pit.h"
#include "tap.h"

static struct pit pit;
static unsigned int rises, rearms;
static bool irq0;

static void set_irq0(void *ctx, bool level)
{
	(void)ctx;
	if (level == irq0)
		return;
	irq0 = level;
	rises += level;
}

static void rearm(void *ctx)
{
	(void)ctx;
	rearms++;
}

static const struct pit_ops ops = { .set_irq0 = set_irq0, .rearm = rearm };

static void fresh(void)
{
	irq0 = false;
	pit_init(&pit, &ops, NULL, 0);
	rises = rearms = 0;
}

/* All times in the tests are ticks. */
static void wr(u16 port, u8 value, u64 tick)
{
	pit_write(&pit, port, value, pit_ns(tick));
}

static u8 rd(u16 port, u64 tick)
{
	return pit_read(&pit, port, pit_ns(tick));
}

static void load(unsigned int n, u8 mode, u16 count, u64 tick)
{
	wr(PIT_PORT_CONTROL, n << 6 | 0x30 | mode << 1, tick);
	wr(PIT_PORT_COUNTER(n), count & 0xff, tick);
	wr(PIT_PORT_COUNTER(n), count >> 8, tick);
}

static u16 count16(unsigned int n, u64 tick)
{
	u16 low = rd(PIT_PORT_COUNTER(n), tick);

	return low | rd(PIT_PORT_COUNTER(n), tick) << 8;
}

static bool out(unsigned int n, u64 tick)
{
	return pit_out(&pit, n, pit_ns(tick));
}

static void test_conversion(void)
{
	u64 seed = tap_seed(0x1193182), state = seed;
	unsigned int n, bad = 0;

	is_u64(pit_ticks(1000000000), PIT_HZ, "a second has 1193182 ticks");
	is_u64(pit_ns(PIT_HZ), 1000000000, "and back");
	for (n = 0; n < 1000000; n++) {
		u64 tick = tap_random(&state) >> (10 + n % 50);

		bad += pit_ticks(pit_ns(tick)) != tick;
	}
	is_u64(bad, 0, "ticks survive the way through nanoseconds (seed %#llx)", (unsigned long long)seed);
	is_u64(pit_ns(~0ull), PIT_DEADLINE_NONE, "what does not fit is no deadline");
}

static void test_mode0(void)
{
	fresh();
	wr(PIT_PORT_CONTROL, 0x30, 100);
	ok(!out(0, 100), "Mode 0: OUT is low after the control word");
	wr(0x40, 0x10, 100);
	wr(0x40, 0x00, 100);
	is_u64(pit_deadline(&pit), pit_ns(116), "the deadline is the terminal count");
	is_u64(count16(0, 105), 11, "the count goes down");
	ok(!out(0, 115), "OUT is low before the terminal count");
	is_u64(pit_advance(&pit, pit_ns(116)), 1, "one rising edge at it");
	ok(irq0 && rises == 1, "which raises IRQ 0");
	is_u64(pit_deadline(&pit), PIT_DEADLINE_NONE, "and there is no other");
	is_u64(count16(0, 117), 0xffff, "the counter wraps and goes on");
	wr(0x40, 0x08, 200);
	ok(!irq0, "writing the first byte of a new count sets OUT low");
	wr(0x40, 0x00, 210);
	is_u64(pit_deadline(&pit), pit_ns(218), "and the second starts it");
}

static void test_periodic(void)
{
	fresh();
	load(0, 2, 11932, 1000);
	ok(irq0, "Mode 2: OUT is high after the control word");
	is_u64(pit_deadline(&pit), pit_ns(12932), "the deadline is a period away");
	is_u64(count16(0, 1000), 11932, "the count starts at N");
	is_u64(count16(0, 12931), 1, "and ends at 1");
	ok(!out(0, 12931) && out(0, 12932), "OUT is low for the last tick only");
	rises = 0;
	pit_advance(&pit, pit_ns(12931));
	is_u64(pit_advance(&pit, pit_ns(12932)), 1, "a period later there is an edge");
	is_u64(rises, 1, "on IRQ 0 as well");
	is_u64(pit_advance(&pit, pit_ns(40000)), 2, "a late call counts what it missed");
	is_u64(rises, 2, "but reports one edge");
	is_u64(pit_deadline(&pit), pit_ns(48728), "and keeps the phase");
	is_u64(pit_advance(&pit, pit_ns(1ull << 50)), ((1ull << 50) - 1000) / 11932 - 3,
	       "30 years late, no loop");
	is_u64(rises, 3, "one edge");

	fresh();
	load(0, 2, 100, 0);
	wr(0x40, 50, 10);
	wr(0x40, 0, 10);
	is_u64(pit_deadline(&pit), pit_ns(100), "Mode 2: a new count waits for the end of the cycle");
	pit_advance(&pit, pit_ns(100));
	is_u64(pit_deadline(&pit), pit_ns(150), "and is then in force");

	fresh();
	load(0, 3, 7, 0);
	ok(out(0, 3) && !out(0, 4) && !out(0, 6) && out(0, 7), "Mode 3, N = 7: high for 4, low for 3");
	is_u64(count16(0, 0), 6, "Mode 3: an odd count starts at N - 1");
	is_u64(count16(0, 1), 4, "and goes down by two");
	fresh();
	load(0, 3, 100, 0);
	wr(0x40, 20, 10);
	wr(0x40, 0, 10);
	is_u64(pit_deadline(&pit), pit_ns(60), "Mode 3: a new count is taken at the end of the half cycle");
	ok(out(0, 49) && !out(0, 50) && !out(0, 59) && out(0, 60) && !out(0, 70),
	   "and shapes the other half");

	fresh();
	load(0, 2, 1, 0);
	is_u64(pit_deadline(&pit), pit_ns(2), "Mode 2 with the illegal count 1 still has two levels");
	fresh();
	load(0, 6, 0, 0);
	is_u64(pit_deadline(&pit), pit_ns(65536), "mode 6 is mode 2, and count 0 is 65536");
}

static void test_strobes(void)
{
	fresh();
	load(0, 4, 10, 0);
	ok(out(0, 9) && !out(0, 10) && out(0, 11), "Mode 4: low for one tick at the terminal count");
	is_u64(pit_deadline(&pit), pit_ns(11), "IRQ 0 rises after it");
	fresh();
	load(2, 5, 10, 0);
	ok(out(2, 10) && out(2, 20), "Mode 5: nothing without a trigger");
	wr(PIT_PORT_SPEAKER, 1, 100);
	ok(out(2, 109) && !out(2, 110) && out(2, 111), "Mode 5: a strobe N ticks after it");
	load(2, 1, 10, 200);
	ok(out(2, 250), "Mode 1: OUT is high before the trigger");
	wr(PIT_PORT_SPEAKER, 0, 260);
	wr(PIT_PORT_SPEAKER, 1, 300);
	ok(!out(2, 300) && !out(2, 309) && out(2, 310), "Mode 1: low for N ticks");
	wr(PIT_PORT_SPEAKER, 0, 304);
	wr(PIT_PORT_SPEAKER, 1, 305);
	ok(!out(2, 314) && out(2, 315), "Mode 1: retriggerable");
}

static void test_access(void)
{
	fresh();
	wr(PIT_PORT_CONTROL, 0x14, 0);
	wr(0x40, 0x20, 0);
	is_u64(rd(0x40, 1), 0x1f, "access mode 1: low byte");
	wr(PIT_PORT_CONTROL, 0x24, 0);
	wr(0x40, 0x20, 10);
	is_u64(rd(0x40, 10), 0x20, "access mode 2: high byte");
	is_u64(pit_deadline(&pit), pit_ns(10 + 0x2000), "counts in units of 256");

	fresh();
	load(0, 2, 0x1234, 0);
	wr(PIT_PORT_CONTROL, 0x00, 4);
	wr(PIT_PORT_CONTROL, 0x00, 8);
	is_u64(count16(0, 0x200), 0x1230, "Counter Latch Command: the first holds until it is read");
	is_u64(count16(0, 0x234), 0x1000, "a live read follows");

	wr(PIT_PORT_CONTROL, 0xc2, 0x300);
	is_u64(rd(0x40, 0x310), 0xb4, "Read-Back Command: status first (OUT, loaded, both bytes, mode 2)");
	is_u64(count16(0, 0x310), 0x1234 - 0x300, "then the count, both of the time of the command");
	wr(PIT_PORT_CONTROL, 0x34, 0x400);
	wr(PIT_PORT_CONTROL, 0xe2, 0x400);
	is_u64(rd(0x40, 0x400), 0xf4, "NULL COUNT is set until a count is loaded");

	fresh();
	wr(PIT_PORT_CONTROL, 0x35, 0);
	wr(0x40, 0x00, 0);
	wr(0x40, 0x10, 0);
	is_u64(pit_deadline(&pit), pit_ns(1000), "BCD: 1000 written as 0x1000");
	is_u64(count16(0, 1), 0x0999, "BCD: and read as digits");
	wr(PIT_PORT_CONTROL, 0x31, 0);
	wr(0x40, 0, 0);
	wr(0x40, 0, 0);
	is_u64(pit_deadline(&pit), pit_ns(1 + 10000), "BCD: 0 is 10000");
	is_u64(rd(PIT_PORT_CONTROL, 0), 0xff, "the control port cannot be read");
}

/* pit_calibrate_tsc(): gate counter 2 on, speaker off, mode 0, and poll OUT2. */
static void test_speaker(void)
{
	u64 tick, t0 = 5000;

	fresh();
	wr(PIT_PORT_SPEAKER, (rd(PIT_PORT_SPEAKER, t0) & ~2) | 1, t0);
	load(2, 0, 59659, t0);
	for (tick = t0; !(rd(PIT_PORT_SPEAKER, tick) & PIT_SPEAKER_OUT2) && tick < t0 + 100000; tick++)
		;
	is_u64(tick - t0, 59659, "Linux's calibration sees OUT2 after 50 ms");
	wr(PIT_PORT_SPEAKER, 0, 0);
	load(2, 0, 1000, 200000);
	is_u64(count16(2, 200500), 1000, "GATE low inhibits counting");
	wr(PIT_PORT_SPEAKER, 1, 201000);
	is_u64(count16(2, 201100), 900, "GATE high enables it");
	wr(PIT_PORT_SPEAKER, 0, 201200);
	is_u64(count16(2, 209999), 800, "and low holds it");
	wr(PIT_PORT_SPEAKER, 0x0f, 210000);
	is_u64(rd(PIT_PORT_SPEAKER, 210001) & 0xcf, 0x0f, "port 0x61: bits 3:0 read back, 7:6 are zero");
	is_u64((rd(PIT_PORT_SPEAKER, 18 * 20000) ^ rd(PIT_PORT_SPEAKER, 18 * 20001)) & PIT_SPEAKER_REFRESH,
	       PIT_SPEAKER_REFRESH, "the refresh bit toggles every 15 us");
	load(2, 3, 1193, 400000);
	is_u64(pit_speaker_hz(&pit), 1000, "mode 3 with 1193 plays 1000 Hz");
	wr(PIT_PORT_SPEAKER, 1, 400000);
	is_u64(pit_speaker_hz(&pit), 0, "not without the data bit");
}

static void test_connection(void)
{
	struct pit copy;

	fresh();
	load(0, 2, 100, 0);
	pit_connect_irq0(&pit, false, 0);
	ok(!irq0 && pit_deadline(&pit) == PIT_DEADLINE_NONE, "disconnected, counter 0 is silent");
	pit_connect_irq0(&pit, true, pit_ns(250));
	is_u64(pit_deadline(&pit), pit_ns(300), "connected, it is where it would be");
	copy = pit;
	fresh();
	memcpy(pit.channel, copy.channel, sizeof(pit.channel));
	pit_restored(&pit, pit_ns(270));
	is_u64(pit_deadline(&pit), pit_ns(300), "restored from a copy, too");
	wr(PIT_PORT_CONTROL, 0x34, 200);
	ok(pit.tick == 270, "a clock that steps back stands still");
}

/* One counter, tick by tick, from the mode definitions; counts are only written after a control word. */
struct model {
	unsigned int mode;
	bool loaded, gate, running;
	u32 n;
	u64 t;
};

static bool model_out(const struct model *m)
{
	switch (m->mode) {
	case 0:
		return m->loaded && m->t >= m->n;
	case 2:
		return !m->running || m->t % m->n != m->n - 1;
	case 3:
		return !m->running || m->t % m->n < (m->n + 1) / 2;
	case 4:
		return !m->loaded || m->t != m->n;
	default: /* 1, 5 */
		if (!m->running)
			return true;
		return m->mode == 1 ? m->t >= m->n : m->t != m->n;
	}
}

static void test_model(void)
{
	u64 seed = tap_seed(0x8254), state = seed, tick = 0;
	unsigned int n, bad = 0;
	struct model m = { 0 };

	diag("seed %#llx", (unsigned long long)seed);
	fresh();
	for (n = 0; n < 400000; n++) {
		u64 r = tap_random(&state);
		bool gate;

		switch (r % 16) {
		case 0:
			m.mode = (r >> 8) % 6;
			m.n = 2 + (r >> 16) % 40;
			load(2, m.mode, m.n, tick);
			m.loaded = true;
			m.running = m.gate && m.mode != 1 && m.mode != 5;
			m.t = 0;
			break;
		case 1:
			gate = r >> 8 & 1;
			wr(PIT_PORT_SPEAKER, gate, tick);
			if (m.loaded && gate && !m.gate) {
				if (m.mode != 0 && m.mode != 4)
					m.t = 0;
				m.running = true;
			}
			if (!gate && m.mode != 1 && m.mode != 5)
				m.running = false;
			m.gate = gate;
			break;
		default:
			tick++;
			if (m.running)
				m.t++;
			break;
		}
		/* What a stopped periodic counter holds is of no interest. */
		bad += out(2, tick) != model_out(&m);
	}
	is_u64(bad, 0, "400,000 ticks of counter 2 agree with a tick-by-tick model");
}

/* Property: edges are never lost or invented, and deadlines lie ahead. */
static void test_random(void)
{
	u64 seed = tap_seed(0x42), state = seed, now = 0;
	unsigned int n, late = 0, wrong = 0;

	diag("seed %#llx", (unsigned long long)seed);
	fresh();
	for (n = 0; n < 1000000; n++) {
		u64 r = tap_random(&state), deadline;

		switch (r & 7) {
		case 0:
			pit_write(&pit, 0x40 + (r >> 8) % 4, r >> 16, now);
			break;
		case 1:
			pit_write(&pit, PIT_PORT_SPEAKER, r >> 16, now);
			break;
		case 2:
			pit_read(&pit, 0x40 + (r >> 8) % 4, now);
			break;
		case 3:
			now += r >> 40;
			break;
		case 4:
			if ((r & 0xff00) == 0)
				now += r >> 16;
			break;
		default:
			deadline = pit_deadline(&pit);
			if (deadline == PIT_DEADLINE_NONE || deadline < now)
				break;
			pit_advance(&pit, deadline ? deadline - 1 : 0);
			rises = 0;
			/* At its deadline, and not a tick before, an edge comes. */
			wrong += pit_advance(&pit, deadline) != 1 || rises != 1;
			now = deadline;
			break;
		}
		pit_advance(&pit, now);
		deadline = pit_deadline(&pit);
		late += deadline <= now;
		if (now > 1ull << 62) {
			now = 0;
			fresh();
		}
	}
	is_u64(late, 0, "1,000,000 random accesses: deadlines lie in the future");
	is_u64(wrong, 0, "and bring exactly one edge");
}

int main(void)
{
	test_conversion();
	test_mode0();
	test_periodic();
	test_strobes();
	test_access();
	test_speaker();
	test_connection();
	test_model();
	test_random();
	return tap_done();
}
