// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqchip-hpet.c - the high precision event timer
 *
 * Oracle: Intel "IA-PC HPET (High Precision Event Timers) Specification" (register descriptions, "Theory of Operation"),
 * and a plain model for the random test, which looks at every tick.
 */
#include "../../../emul/irqchip/hpet.h"
#include "tap.h"

#define ID		0x00
#define CONFIG		0x10
#define STATUS		0x20
#define COUNTER		0xf0
#define TCONF(n)	(0x100 + 0x20 * (n))
#define TCMP(n)		(0x108 + 0x20 * (n))

#define ENABLE		1
#define LEGACY		2
#define LEVEL		0x002
#define INT		0x004
#define PERIODIC	0x008
#define SETVAL		0x040
#define MODE32		0x100
#define ROUTE(n)	((n) << 9)

static struct hpet hpet;
static unsigned int rises[32], rearms;
static u32 lines;
static bool is_legacy;

static void set_irq(void *ctx, unsigned int irq, bool level)
{
	(void)ctx;
	if (level && !(lines & 1u << irq))
		rises[irq]++;
	lines = level ? lines | 1u << irq : lines & ~(1u << irq);
}

static void legacy(void *ctx, bool on)
{
	(void)ctx;
	is_legacy = on;
}

static void rearm(void *ctx)
{
	(void)ctx;
	rearms++;
}

static const struct hpet_ops ops = { .set_irq = set_irq, .legacy = legacy, .rearm = rearm };

static void fresh(void)
{
	lines = 0;
	is_legacy = false;
	hpet_init(&hpet, &ops, NULL);
	memset(rises, 0, sizeof(rises));
	rearms = 0;
}

/* All times are ticks. */
static void wr(u32 off, u64 val, u64 tick)
{
	hpet_write(&hpet, off, 8, val, tick * HPET_TICK_NS);
}

static u64 rd(u32 off, u64 tick)
{
	return hpet_read(&hpet, off, 8, tick * HPET_TICK_NS);
}

static void pass(u64 tick)
{
	hpet_advance(&hpet, tick * HPET_TICK_NS);
}

static u64 deadline(void)
{
	u64 ns = hpet_deadline(&hpet);

	return ns == HPET_DEADLINE_NONE ? ns : ns / HPET_TICK_NS;
}

static void test_registers(void)
{
	u64 id;

	fresh();
	id = rd(ID, 0);
	is_u64(id >> 32, 10000000, "a tick takes 10^7 femtoseconds");
	ok((id >> 32) <= 0x05f5e100, "which is short enough");
	is_u64(id >> 16 & 0xffff, 0x8086, "vendor");
	is_u64(id >> 8 & 0x1f, HPET_NR_TIMERS - 1, "number of the last timer");
	ok(id & 0x8000 && id & 0x2000 && id & 0xff, "legacy replacement, 64 bits, a revision");
	wr(ID, 0, 0);
	is_u64(rd(ID, 0), id, "it can't be written");
	is_u64(rd(CONFIG, 0), 0, "nothing is enabled after a reset");
	is_u64(rd(COUNTER, 1000), 0, "and the counter stands");
	wr(CONFIG, ~0ull, 0);
	is_u64(rd(CONFIG, 0), ENABLE | LEGACY, "reserved bits of the configuration stay 0");
	fresh();
	wr(TCONF(0), ~0ull & ~(u64)ROUTE(31), 0);
	is_u64(rd(TCONF(0), 0) & 0xffffffff, 0x17e, "what a periodic timer has: no messages; both sizes");
	is_u64(rd(TCONF(0), 0) >> 32, HPET_ROUTES, "where it can go");
	wr(TCONF(2), ROUTE(22), 0);
	is_u64(rd(TCONF(2), 0) >> 9 & 31, 22, "a route that there is, is kept");
	wr(TCONF(2), ROUTE(5), 0);
	ok((rd(TCONF(2), 0) >> 9 & 31) != 5, "one that there is not, is not");
	wr(TCONF(1), SETVAL, 0);
	is_u64(rd(TCONF(1), 0) & SETVAL, 0, "the accumulator is a periodic timer's");
	is_u64(rd(TCMP(1), 0), ~0ull, "comparators are all ones after a reset");
	is_u64(rd(TCONF(3), 0), 0, "there is no fourth timer");
	hpet_write(&hpet, COUNTER + 4, 4, 0x12345678, 0);
	hpet_write(&hpet, COUNTER, 4, 0x9abcdef0, 0);
	is_u64(rd(COUNTER, 0), 0x123456789abcdef0, "halves can be written");
	is_u64(hpet_read(&hpet, COUNTER + 4, 4, 0), 0x12345678, "and read");
}

static void test_counter(void)
{
	fresh();
	wr(COUNTER, 500, 0);
	wr(CONFIG, ENABLE, 100);
	is_u64(rd(COUNTER, 150), 550, "it counts from where it stood");
	wr(CONFIG, 0, 200);
	is_u64(rd(COUNTER, 900), 600, "halted, it keeps its value");
	wr(CONFIG, ENABLE, 1000);
	is_u64(rd(COUNTER, 1001), 601, "and goes on from it");
	is_u64(hpet_read(&hpet, COUNTER, 8, 10005), 600, "a clock that steps back stands still");
}

static void test_one_shot(void)
{
	fresh();
	wr(CONFIG, ENABLE, 0);
	wr(TCONF(2), INT | ROUTE(20), 0);
	wr(TCMP(2), 1000, 0);
	is_u64(deadline(), 1000, "the deadline is the comparator");
	pass(999);
	is_u64(rises[20], 0, "before it nothing happens");
	pass(1000);
	is_u64(rises[20], 1, "at it comes an edge");
	is_u64(lines, 0, "which is over");
	is_u64(rd(STATUS, 1000), 0, "and has no status");
	is_u64(rd(TCMP(2), 1000), 1000, "the comparator stays");
	wr(TCMP(2), 1000, 2000);
	pass(1ull << 33);
	is_u64(rises[20], 1, "a value that has passed waits for the counter to come round");
	fresh();
	wr(CONFIG, ENABLE, 0);
	wr(TCONF(2), INT | MODE32 | ROUTE(20), 0);
	wr(TCMP(2), 0xabcd00000100, 0);
	is_u64(rd(TCMP(2), 0), 0x100, "32 bits: the upper half is none");
	pass(0x100);
	is_u64(deadline(), 0x100000100, "it comes round after 2^32 ticks");
	pass(0x500000100);
	is_u64(rises[20], 2, "late, it interrupts once");
	is_u64(deadline(), 0x600000100, "and keeps its place");
	wr(TCONF(2), ROUTE(20), 0x500000100);
	is_u64(deadline(), HPET_DEADLINE_NONE, "disabled, it has no deadline");
}

static void test_periodic(void)
{
	fresh();
	wr(TCONF(0), INT | PERIODIC | SETVAL | ROUTE(21), 0);
	wr(TCMP(0), 300, 0);
	is_u64(rd(TCONF(0), 0) & SETVAL, 0, "the bit for the accumulator clears itself");
	wr(CONFIG, ENABLE, 0);
	pass(300);
	is_u64(rd(TCMP(0), 300), 600, "the value last written is added at the match");
	wr(TCMP(0), 50, 400);
	is_u64(rd(TCMP(0), 400), 600, "a write without the bit is the period only");
	pass(600);
	is_u64(rd(TCMP(0), 600), 650, "used from the next match on");
	is_u64(rises[21], 2, "two matches, two edges");
	pass(1005);
	is_u64(rises[21], 3, "late: one edge");
	is_u64(rd(TCMP(0), 1005), 1050, "and in phase");
	wr(TCONF(0), PERIODIC | ROUTE(21), 1005);
	is_u64(rd(TCMP(0), 1101), 1150, "the comparator moves on without interrupts, too");
	wr(TCONF(0), INT | PERIODIC | SETVAL | ROUTE(21), 1101);
	wr(TCMP(0), 2000, 1101);
	wr(TCMP(0), 0, 1101);
	pass(100000);
	is_u64(rd(TCMP(0), 100000), 2000, "a period of nothing leaves the comparator");
	is_u64(rises[21], 4, "and there is one match");
}

static void test_level(void)
{
	fresh();
	wr(CONFIG, ENABLE, 0);
	wr(TCONF(1), INT | LEVEL | ROUTE(23), 0);
	wr(TCONF(2), INT | LEVEL | ROUTE(23), 0);
	wr(TCMP(1), 100, 0);
	wr(TCMP(2), 200, 0);
	pass(250);
	is_u64(lines, 1u << 23, "a level-triggered timer holds its line");
	is_u64(rd(STATUS, 250), 6, "the status says which");
	wr(STATUS, 2, 250);
	is_u64(lines, 1u << 23, "two that share it");
	wr(STATUS, 4, 250);
	is_u64(lines, 0, "let go of it one after the other");
	wr(TCMP(1), 300, 250);
	pass(300);
	wr(CONFIG, 0, 300);
	is_u64(lines, 0, "a halted HPET does not interrupt");
	is_u64(rd(STATUS, 300), 2, "but keeps its status");
	wr(CONFIG, ENABLE, 300);
	is_u64(lines, 1u << 23, "and goes on with it");
	wr(TCONF(1), LEVEL | ROUTE(23), 300);
	is_u64(lines, 0, "nor does a disabled timer");
	wr(TCMP(1), 400, 300);
	wr(STATUS, 2, 300);
	pass(400);
	is_u64(rd(STATUS, 400), 2, "which has a status as well");
}

static void test_legacy(void)
{
	fresh();
	wr(TCONF(0), INT | ROUTE(20), 0);
	wr(TCONF(1), INT | ROUTE(20), 0);
	wr(TCONF(2), INT, 0);
	wr(CONFIG, ENABLE | LEGACY, 0);
	ok(is_legacy, "the PIT and the clock are told");
	wr(TCMP(0), 10, 0);
	wr(TCMP(1), 20, 0);
	wr(TCMP(2), 30, 0);
	pass(15);
	is_u64(rises[0], 1, "timer 0 has IRQ 0");
	pass(25);
	is_u64(rises[8], 1, "timer 1 has IRQ 8");
	pass(35);
	is_u64(rises[0] + rises[20], 1, "timer 2 has its own route, here none");
	wr(TCONF(0), INT | LEVEL, 40);
	wr(TCMP(0), 50, 40);
	pass(50);
	is_u64(lines, 1, "levels, too");
	wr(CONFIG, ENABLE, 60);
	ok(!is_legacy && lines == 1u << 20, "they are given back, and the timer has its own route again");
	wr(CONFIG, ENABLE | LEGACY, 60);
	hpet_reset(&hpet);
	ok(!is_legacy && !lines && rd(CONFIG, 100) == 0, "by a reset, too");
}

/* The plain model: 64 bits that count, compared at every tick. */
static struct {
	u64 counter, cmp[HPET_NR_TIMERS], period[HPET_NR_TIMERS];
	u32 conf[HPET_NR_TIMERS];
	bool on;
	unsigned int rises[32];
} model;

static u64 model_mask(unsigned int n)
{
	return model.conf[n] & MODE32 ? 0xffffffff : ~0ull;
}

static void model_match(unsigned int n)
{
	if ((model.cmp[n] ^ model.counter) & model_mask(n))
		return;
	if (model.conf[n] & INT)
		model.rises[model.conf[n] >> 9 & 31]++;
	if (model.conf[n] & PERIODIC)
		model.cmp[n] = (model.cmp[n] + model.period[n]) & model_mask(n);
}

static void test_random(void)
{
	u64 seed = tap_seed(0x9e7), state = seed, tick = 0;
	unsigned int bad = 0;

	fresh();
	memset(&model, 0, sizeof(model));
	for (unsigned int n = 0; n < HPET_NR_TIMERS; n++)
		model.cmp[n] = ~0ull;
	for (unsigned int step = 0; step < 200000; step++) {
		u64 r = tap_random(&state), delta = 1 + r % 40;
		unsigned int n = r >> 8 & 3, action = r >> 10 & 15;

		if (n < HPET_NR_TIMERS && action < 4) {
			u32 conf = (r >> 16 & (INT | PERIODIC | MODE32)) | ROUTE(20 + n);

			wr(TCONF(n), conf, tick);
			if ((conf ^ model.conf[n]) & MODE32) {
				model.conf[n] = conf;
				model.cmp[n] &= model_mask(n);
				model.period[n] &= model_mask(n);
			}
			model.conf[n] = conf;
		} else if (n < HPET_NR_TIMERS && action < 10) {
			u64 val = model.counter + 1 + (r >> 16 & 63);

			if (model.conf[n] & PERIODIC) {
				wr(TCONF(n), model.conf[n] | SETVAL, tick);
				wr(TCMP(n), val, tick);
				val = 1 + (r >> 24 & 31);
				wr(TCMP(n), val, tick);
				model.cmp[n] = (model.counter + 1 + (r >> 16 & 63)) & model_mask(n);
				model.period[n] = val;
			} else {
				wr(TCMP(n), val, tick);
				model.cmp[n] = val & model_mask(n);
			}
		} else if (action == 10) {
			model.on = r >> 20 & 1;
			wr(CONFIG, model.on, tick);
		} else if (action == 11 && !(r >> 20 & 15)) {
			/* near the end of 32 bits */
			model.counter = (r >> 32) << 32 | (0xffffffe0 + (r >> 24 & 31));
			wr(COUNTER, model.counter, tick);
		}
		for (; delta; delta--) {
			tick++;
			if (!model.on)
				continue;
			model.counter++;
			for (n = 0; n < HPET_NR_TIMERS; n++)
				model_match(n);
			/* As an owner does: at the deadline, not before. */
			if (deadline() <= tick)
				pass(tick);
		}
		pass(tick);
		bad += rd(COUNTER, tick) != model.counter;
		for (n = 0; n < HPET_NR_TIMERS; n++)
			bad += rd(TCMP(n), tick) != model.cmp[n] || rises[20 + n] != model.rises[20 + n];
		if (bad)
			break;
	}
	is_u64(bad, 0, "every tick as the plain model has it (seed %#llx)", (unsigned long long)seed);
	ok(rises[20] > 1000 && rises[21] > 1000 && rises[22] > 1000, "and there were many matches");
}

/* Nothing that a guest writes makes a call take long, or a deadline lie. */
static void test_hostile(void)
{
	u64 seed = tap_seed(0xbad), state = seed, now = 0;
	unsigned int bad = 0;

	fresh();
	for (unsigned int step = 0; step < 300000; step++) {
		u64 r = tap_random(&state), val = tap_random(&state) >> (r >> 40 & 63);
		unsigned int len = 1u << (r & 3);
		u32 off = (u32)(r >> 8) & 0x3ff & ~(len - 1);

		if (r >> 20 & 1)
			hpet_write(&hpet, off, len, val, now);
		else
			hpet_read(&hpet, off, len, now);
		now += tap_random(&state) >> (20 + (r >> 48 & 31));
		hpet_advance(&hpet, now);
		bad += hpet_deadline(&hpet) < now && hpet.counter + now / HPET_TICK_NS < hpet.counter;
		if (!(step & 0xfff))
			now = 0, hpet_reset(&hpet);
	}
	is_u64(bad, 0, "arbitrary accesses (seed %#llx)", (unsigned long long)seed);
}

int main(void)
{
	test_registers();
	test_counter();
	test_one_shot();
	test_periodic();
	test_level();
	test_legacy();
	test_random();
	test_hostile();
	return tap_done();
}
