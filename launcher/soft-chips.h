/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * soft-chips.h - PIC, IOAPIC and PIT of emul/irqchip in this process, wired to each other as in a PC
 *
 *	ISA IRQ n ---+--- PIC input n ---- INT --- owner, IOAPIC pin 0
 *	             +--- IOAPIC pin n (PIT: PIC input 0, IOAPIC pin 2)
 *	GSI 16..23 ------ IOAPIC pin 16..23
 *	IOAPIC ---- owner
 *
 * The lock is the owner's, and may cover more than these chips. It nests inside the device lock and outside the loop's.
 * Functions here take it, and the ops are called with it held.
 */
#ifndef TENON_SOFT_CHIPS_H
#define TENON_SOFT_CHIPS_H

#include "../emul/irqchip/ioapic.h"
#include "../emul/irqchip/pic.h"
#include "../emul/irqchip/pit.h"
#include "loop.h"

/* No guest-programmed timer fires more often than this: a period of a few nanoseconds must not eat the host. */
#define CHIPS_TIMER_MIN_NS	20000

/**
 * struct chips_ops - where the chips report to
 * @deliver:	as ioapic_ops.deliver
 * @changed:	optional; as ioapic_ops.changed
 * @intr:	the PIC's INT output changed
 */
struct chips_ops {
	int (*deliver)(void *ctx, const struct irq_msg *msg);
	void (*changed)(void *ctx, unsigned int first, unsigned int last);
	void (*intr)(void *ctx, bool level);
};

struct chips {
	struct loop *loop;
	pthread_mutex_t *lock;
	const struct chips_ops *ops;
	void *ctx;
	struct pic pic;
	struct ioapic ioapic;
	struct pit pit;
	struct timer pit_timer;
};

void chips_init(struct chips *c, struct loop *loop, pthread_mutex_t *lock, const struct chips_ops *ops, void *ctx);
void chips_exit(struct chips *c);
/* Was @addr a register of the chips? Then the access is done. */
bool chips_access(struct chips *c, bool pio, u64 addr, void *data, unsigned int len, bool write);
/* GSI 0 while the PIT is off it. */
void chips_line(struct chips *c, unsigned int gsi, bool level);
void chips_pit_irq(struct chips *c, bool on);

#endif /* TENON_SOFT_CHIPS_H */
