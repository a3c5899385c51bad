// SPDX-License-Identifier: GPL-2.0-only
/*
 * soft-chips.c - see soft-chips.h
 */
#include "soft-chips.h"

static void pic_set_output(void *ctx, bool level)
{
	struct chips *c = ctx;

	c->ops->intr(c->ctx, level);
	ioapic_set_pin(&c->ioapic, 0, level);
}

static const struct pic_ops pic_ops = {
	.set_output = pic_set_output,
};

static int ioapic_deliver(void *ctx, const struct irq_msg *msg)
{
	struct chips *c = ctx;

	return c->ops->deliver(c->ctx, msg);
}

static void ioapic_changed(void *ctx, unsigned int first, unsigned int last)
{
	struct chips *c = ctx;

	if (c->ops->changed)
		c->ops->changed(c->ctx, first, last);
}

static const struct ioapic_ops ioapic_ops = {
	.deliver	= ioapic_deliver,
	.changed	= ioapic_changed,
};

static void pit_set_irq0(void *ctx, bool level)
{
	struct chips *c = ctx;

	pic_set_irq(&c->pic, 0, level);
	ioapic_set_pin(&c->ioapic, 2, level);
}

static void pit_rearm(void *ctx)
{
	struct chips *c = ctx;
	u64 at = pit_deadline(&c->pit);

	timer_set(c->loop, &c->pit_timer, at == PIT_DEADLINE_NONE ? TIMER_OFF : at);
}

static const struct pit_ops pit_ops = {
	.set_irq0	= pit_set_irq0,
	.rearm		= pit_rearm,
};

static void pit_timer_fn(void *opaque)
{
	struct chips *c = opaque;
	u64 now = guest_ns(c->loop), next;

	pthread_mutex_lock(c->lock);
	pit_advance(&c->pit, now);
	next = pit_deadline(&c->pit);
	if (next != PIT_DEADLINE_NONE)
		timer_set(c->loop, &c->pit_timer, max(next, now + CHIPS_TIMER_MIN_NS));
	pthread_mutex_unlock(c->lock);
}

static bool is_pic_port(u64 port)
{
	return port == 0x20 || port == 0x21 || port == 0xa0 || port == 0xa1 || port == 0x4d0 || port == 0x4d1;
}

static bool is_pit_port(u64 port)
{
	return (port >= 0x40 && port <= 0x43) || port == 0x61;
}

static void port_byte(struct chips *c, u16 port, u8 *byte, bool write)
{
	if (is_pic_port(port)) {
		if (write)
			pic_write(&c->pic, port, *byte);
		else
			*byte = pic_read(&c->pic, port);
	} else if (is_pit_port(port)) {
		if (write)
			pit_write(&c->pit, port, *byte, guest_ns(c->loop));
		else
			*byte = pit_read(&c->pit, port, guest_ns(c->loop));
	} else if (!write) {
		*byte = 0xff;
	}
}

bool chips_access(struct chips *c, bool pio, u64 addr, void *data, unsigned int len, bool write)
{
	u64 off = addr - IOAPIC_DEFAULT_BASE, val = 0;

	if (pio) {
		if (!is_pic_port(addr) && !is_pit_port(addr))
			return false;
		pthread_mutex_lock(c->lock);
		for (unsigned int i = 0; i < len; i++)
			port_byte(c, (u16)(addr + i), (u8 *)data + i, write);
		pthread_mutex_unlock(c->lock);
		return true;
	}
	if (off >= IOAPIC_WINDOW_SIZE || len > 8)
		return false;
	pthread_mutex_lock(c->lock);
	if (write) {
		memcpy(&val, data, len);
		ioapic_write(&c->ioapic, (u32)off, (u32)val);
	} else {
		val = ioapic_read(&c->ioapic, (u32)off);
		memcpy(data, &val, len);
	}
	pthread_mutex_unlock(c->lock);
	return true;
}

void chips_line(struct chips *c, unsigned int gsi, bool level)
{
	pthread_mutex_lock(c->lock);
	if (gsi < 16)
		pic_set_irq(&c->pic, gsi, level);
	/* Pin 0 belongs to the PIC's output; IRQ 0 has pin 2. */
	if (gsi == 0)
		ioapic_set_pin(&c->ioapic, 2, level);
	else if (gsi != 2)
		ioapic_set_pin(&c->ioapic, gsi, level);
	pthread_mutex_unlock(c->lock);
}

void chips_pit_irq(struct chips *c, bool on)
{
	pthread_mutex_lock(c->lock);
	pit_connect_irq0(&c->pit, on, guest_ns(c->loop));
	pthread_mutex_unlock(c->lock);
}

void chips_init(struct chips *c, struct loop *loop, pthread_mutex_t *lock, const struct chips_ops *ops, void *ctx)
{
	c->loop = loop;
	c->lock = lock;
	c->ops = ops;
	c->ctx = ctx;
	ioapic_init(&c->ioapic, IOAPIC_VERSION_EOI, &ioapic_ops, c);
	pic_init(&c->pic, &pic_ops, c);
	/* As firmware leaves it: the ACPI interrupt (9) and PCI's (10, 11) are level-triggered. */
	pic_write(&c->pic, 0x4d1, 0x0e);
	timer_init_guest(&c->pit_timer, pit_timer_fn, c);
	c->pit_timer.unlocked = true;
	pit_init(&c->pit, &pit_ops, c, guest_ns(c->loop));
}

void chips_exit(struct chips *c)
{
	timer_set(c->loop, &c->pit_timer, TIMER_OFF);
}
