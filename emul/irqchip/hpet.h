/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * hpet.h - high precision event timer
 *
 * Source: Intel "IA-PC HPET (High Precision Event Timers) Specification", 1.0a.
 *
 * Contract: as pit.h. Time comes in as nanoseconds ("now"), nothing is stepped, locked or armed: the owner serialises
 * all calls on one HPET and calls hpet_advance() at hpet_deadline().
 *
 * Three timers of 64 bits, each of which can be periodic. No messages (FSB delivery).
 */
#ifndef TENON_IRQCHIP_HPET_H
#define TENON_IRQCHIP_HPET_H

#include "../base.h"

#define HPET_DEFAULT_BASE	0xfed00000u
#define HPET_WINDOW_SIZE	0x400u
#define HPET_NR_TIMERS		3
#define HPET_TICK_NS		10	/* 100 MHz */

/* Inputs of the IOAPIC that a timer can have: those of a PC that PCI has, too. */
#define HPET_ROUTES		0x00f00000u

/* Lower half of the capabilities: revision, number of timers, 64 bits, legacy replacement, vendor. */
#define HPET_ID			(0x80860000u | BIT(15) | BIT(13) | (HPET_NR_TIMERS - 1) << 8 | 1)

/* hpet_deadline() while nothing is going to happen. */
#define HPET_DEADLINE_NONE	(~0ull)

/**
 * struct hpet_ops - where the HPET reports to
 * @set_irq:	required; level of an interrupt: 0 and 8 (legacy replacement) are the PIT's and the clock's, others inputs
 *		of the IOAPIC. An edge is a rise and a fall
 * @legacy:	required; from now on interrupts 0 and 8 are the HPET's (@on), or the PIT's and the clock's
 * @rearm:	optional; hpet_deadline() may have changed
 *
 * An op must not call into the same HPET, but for the functions that take it as const.
 */
struct hpet_ops {
	void (*set_irq)(void *ctx, unsigned int irq, bool level);
	void (*legacy)(void *ctx, bool on);
	void (*rearm)(void *ctx);
};

/**
 * struct hpet_timer - one comparator
 * @config:	what the guest may write of the configuration register
 * @cmp:	comparator
 * @period:	what is added to it at a match, the value last written (periodic mode)
 * @due:	the next match, in ticks since hpet.start; ~0: none
 */
struct hpet_timer {
	u32 config;
	u64 cmp;
	u64 period;
	u64 due;
};

/**
 * struct hpet - main counter and comparators
 * @ops:	given to hpet_init()
 * @ctx:	opaque pointer for @ops
 * @start:	when the main counter was @counter, in nanoseconds
 * @counter:	its value then; it stands at this unless the HPET is enabled
 * @config:	general configuration
 * @status:	general interrupt status
 * @lines:	interrupts that are asserted
 * @timer:	the comparators
 */
struct hpet {
	const struct hpet_ops *ops;
	void *ctx;
	u64 start;
	u64 counter;
	u32 config;
	u32 status;
	u32 lines;
	struct hpet_timer timer[HPET_NR_TIMERS];
};

/* Wire it up and reset it. @ops must outlive it. */
void hpet_init(struct hpet *hpet, const struct hpet_ops *ops, void *ctx);
/* The counter is 0 and stands, nothing is enabled. */
void hpet_reset(struct hpet *hpet);

/**
 * hpet_read() - guest reads
 * @hpet:	the HPET
 * @off:	from the start of the window
 * @len:	1, 2, 4, 8; aligned to it
 * @now:	nanoseconds
 */
u64 hpet_read(struct hpet *hpet, u32 off, unsigned int len, u64 now);

/* Guest writes; accesses of 1 and 2 bytes are ignored. May call every op. */
void hpet_write(struct hpet *hpet, u32 off, unsigned int len, u64 val, u64 now);

/**
 * hpet_deadline() - when a timer interrupts next
 * @hpet:	the HPET; only read
 *
 * The owner bounds the rate, as for pit_deadline().
 *
 * Return: nanoseconds, or HPET_DEADLINE_NONE.
 */
u64 hpet_deadline(const struct hpet *hpet);

/* Let time pass: one interrupt at most for each timer. Does not call hpet_ops.rearm. */
void hpet_advance(struct hpet *hpet, u64 now);

#endif /* TENON_IRQCHIP_HPET_H */
