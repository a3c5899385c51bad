/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pit.h - 8254 programmable interval timer, with the PC's port 0x61
 *
 * Source: Intel "8254 Programmable Interval Timer" data sheet.
 *
 * Contract: time comes in as nanoseconds of a monotonic clock ("now") and is turned into ticks of the
 * 1.193182 MHz input clock once, for all counters; a clock that steps back is taken as standing still.
 * Counters are not stepped: every value follows from the tick of loading, so a call costs the same however
 * long the last one is ago. Nothing locks or arms a timer: the owner serialises all calls on one PIT and
 * calls pit_advance() at pit_deadline().
 */
#ifndef TENON_IRQCHIP_PIT_H
#define TENON_IRQCHIP_PIT_H

#include "../base.h"

#define PIT_HZ			1193182u
#define PIT_NR_CHANNELS		3

#define PIT_PORT_COUNTER(n)	(0x40 + (n))
#define PIT_PORT_CONTROL	0x43
#define PIT_PORT_SPEAKER	0x61

/* pit_deadline() while nothing is going to happen. */
#define PIT_DEADLINE_NONE	(~0ull)

/**
 * struct pit_ops - where the PIT reports to
 * @set_irq0:	required; OUT of counter 0, the input of IRQ 0 (PIC input 0, IOAPIC pin 2). Falling edges are
 *		reported when
 *		they are noticed, at the latest just before the next rising edge
 * @rearm:	optional; pit_deadline() may have changed
 * @speaker:	optional; pit_speaker_hz() may have changed
 *
 * An op must not call into the same PIT, but for the functions that take it as const.
 */
struct pit_ops {
	void (*set_irq0)(void *ctx, bool level);
	void (*rearm)(void *ctx);
	void (*speaker)(void *ctx);
};

/**
 * struct pit_channel - one counter
 * @mode:	0..5
 * @access:	1 low byte, 2 high byte, 3 low then high
 * @bcd:	counts in four decimal digits
 * @gate:	level of the GATE input
 * @loaded:	a count was written since the control word: OUT follows the counter
 * @running:	the counter counts: loaded, not stopped by GATE, triggered if the mode wants a trigger
 * @has_next:	@next is to be taken at the end of the cycle (modes 2 and 3)
 * @reload:	initial count, 1..65536
 * @next:	initial count of the cycle to come
 * @epoch:	tick at which @reload was loaded, modulo 2^64
 * @frozen:	elapsed ticks at which the counter stands while it is loaded but not @running
 * @write_high:	the next write is the high byte of access mode 3
 * @write_low:	low byte that waits for it
 * @read_high:	the next read is the high byte of access mode 3
 * @latch_bytes: bytes of @latch still to be read: 0..2
 * @latch:	latched count, as the guest reads it
 * @status_latched: @status is read first
 * @status:	latched status byte
 */
struct pit_channel {
	/* programmed */
	u8 mode;
	u8 access;
	bool bcd;
	bool gate;
	/* counting */
	bool loaded;
	bool running;
	bool has_next;
	u32 reload;
	u32 next;
	u64 epoch;
	u64 frozen;
	/* byte sequencing */
	bool write_high;
	u8 write_low;
	bool read_high;
	u8 latch_bytes;
	u16 latch;
	bool status_latched;
	u8 status;
};

/**
 * struct pit - three counters and port 0x61
 * @ops:	given to pit_init()
 * @ctx:	opaque pointer for @ops
 * @tick:	input clock at the last call, in ticks
 * @edges:	rising edges of counter 0 that pit_advance() has not returned yet
 * @irq0:	level last reported by pit_ops.set_irq0
 * @irq0_off:	counter 0 is disconnected from IRQ 0 (HPET legacy replacement)
 * @port61:	bits 3:0 of port 0x61: gate of counter 2, speaker data, and two parity enables
 * @channel:	the counters
 */
struct pit {
	/* wiring */
	const struct pit_ops *ops;
	void *ctx;
	/* clock and pins */
	u64 tick;
	u64 edges;
	bool irq0;
	bool irq0_off;
	/* guest-visible state */
	u8 port61;
#define PIT_SPEAKER_GATE2	0x01
#define PIT_SPEAKER_DATA	0x02
#define PIT_SPEAKER_REFRESH	0x10
#define PIT_SPEAKER_OUT2	0x20
	struct pit_channel channel[PIT_NR_CHANNELS];
};

/**
 * pit_init() - wire a PIT up and reset it
 * @pit:	storage, any content
 * @ops:	must outlive the PIT
 * @ctx:	passed to every op
 * @now:	nanoseconds
 */
void pit_init(struct pit *pit, const struct pit_ops *ops, void *ctx, u64 now);

/**
 * pit_reset() - no counter is loaded, port 0x61 is zero
 * @pit:	the PIT
 * @now:	nanoseconds
 */
void pit_reset(struct pit *pit, u64 now);

/**
 * pit_read() - guest reads a port
 * @pit:	the PIT (reads step the byte sequence)
 * @port:	0x40..0x43 or 0x61
 * @now:	nanoseconds
 *
 * Return: the byte; 0xff for the control port and for another port.
 */
u8 pit_read(struct pit *pit, u16 port, u64 now);

/**
 * pit_write() - guest writes a port
 * @pit:	the PIT
 * @port:	0x40..0x43 or 0x61; other ports are ignored
 * @value:	byte written
 * @now:	nanoseconds
 *
 * May call every op.
 */
void pit_write(struct pit *pit, u16 port, u8 value, u64 now);

/**
 * pit_deadline() - when IRQ 0 rises next
 * @pit:	the PIT; only read
 *
 * A guest can program a period below a microsecond. Whoever arms a host timer for it bounds the rate: a
 * pit_advance() that comes later than the deadline is harmless.
 *
 * Return: nanoseconds of the clock that "now" is taken from, or PIT_DEADLINE_NONE. It lies in the past only
 * if pit_advance() was not called in time.
 */
u64 pit_deadline(const struct pit *pit);

/**
 * pit_advance() - let time pass
 * @pit:	the PIT
 * @now:	nanoseconds
 *
 * Reports at most one rising edge of IRQ 0, however many periods have passed. Does not call pit_ops.rearm:
 * read pit_deadline() afterwards.
 *
 * Return: rising edges since the last call, reported or not; an owner that reinjects lost ticks counts them
 * up.
 */
u64 pit_advance(struct pit *pit, u64 now);

/**
 * pit_out() - OUT of a counter
 * @pit:	the PIT; only read
 * @n:		0..2
 * @now:	nanoseconds
 */
bool pit_out(const struct pit *pit, unsigned int n, u64 now);

/**
 * pit_connect_irq0() - connect counter 0 with IRQ 0, or disconnect it
 * @pit:	the PIT
 * @on:		connected (the state after pit_init())
 * @now:	nanoseconds
 */
void pit_connect_irq0(struct pit *pit, bool on, u64 now);

/**
 * pit_speaker_hz() - what the speaker plays
 * @pit:	the PIT; only read
 *
 * Return: frequency in Hz, 0 if silent.
 */
u32 pit_speaker_hz(const struct pit *pit);

/**
 * pit_restored() - act on channels that were overwritten from outside
 * @pit:	the PIT
 * @now:	nanoseconds; pit_channel.epoch has to be given on this clock: see pit_ticks()
 *
 * Brings fields into range, takes the edges up to @now as reported and calls pit_ops.rearm and
 * pit_ops.set_irq0.
 */
void pit_restored(struct pit *pit, u64 now);

/**
 * pit_ticks() - nanoseconds to ticks of the input clock, rounded down
 * @ns:		nanoseconds; any value
 */
u64 pit_ticks(u64 ns);

/**
 * pit_ns() - ticks of the input clock to nanoseconds, rounded up
 * @ticks:	ticks
 *
 * pit_ticks(pit_ns(t)) is t. Return: nanoseconds, or PIT_DEADLINE_NONE where 64 bits do not hold them.
 */
u64 pit_ns(u64 ticks);

#endif /* TENON_IRQCHIP_PIT_H */
