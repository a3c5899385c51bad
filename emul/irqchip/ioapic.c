// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioapic.c - I/O APIC
 *
 * A pin that is edge-triggered sends one message a rising edge. A level-triggered pin sends one while it is
 * asserted and remote IRR is clear; acceptance sets remote IRR, the EOI of the vector clears it and the pin
 * is looked at again.
 */
#include "ioapic.h"

#define REG_REDIR_FIRST		IOAPIC_REG_REDIR(0)
#define REG_REDIR_LAST		(IOAPIC_REG_REDIR(IOAPIC_NR_PINS) - 1)

#define ID_MASK			0x0f000000u
#define DELIVERY_SHIFT		8
#define DEST_SHIFT		56
#define EXT_DEST_SHIFT		49

#define RTE_READ_ONLY		(IOAPIC_RTE_PENDING | IOAPIC_RTE_REMOTE_IRR)
#define RTE_WRITABLE		(IOAPIC_RTE_VECTOR | IOAPIC_RTE_DELIVERY | IOAPIC_RTE_LOGICAL | \
				 IOAPIC_RTE_ACTIVE_LOW | IOAPIC_RTE_LEVEL | IOAPIC_RTE_MASKED | \
				 IOAPIC_RTE_DEST)

static u64 rte_writable(const struct ioapic *ioapic)
{
	return RTE_WRITABLE | (ioapic->ext_dest ? IOAPIC_RTE_EXT_DEST : 0);
}

/*
 * Only vectored interrupts get an EOI. SMI, NMI, INIT and ExtINT are edge-triggered whatever the entry says
 * ("must be programmed as edge"): a level would leave remote IRR set for good.
 */
static bool rte_is_level(u64 rte)
{
	unsigned int delivery = (rte & IOAPIC_RTE_DELIVERY) >> DELIVERY_SHIFT;

	return (rte & IOAPIC_RTE_LEVEL) && (delivery == IRQ_FIXED || delivery == IRQ_LOWEST);
}

static void rte_to_msg(const struct ioapic *ioapic, u64 rte, struct irq_msg *msg)
{
	*msg = (struct irq_msg) {
		.dest = rte >> DEST_SHIFT,
		.vector = rte & IOAPIC_RTE_VECTOR,
		.delivery = (rte & IOAPIC_RTE_DELIVERY) >> DELIVERY_SHIFT,
		.logical = rte & IOAPIC_RTE_LOGICAL,
		.level = rte_is_level(rte),
	};
	if (ioapic->ext_dest)
		msg->dest |= ((rte & IOAPIC_RTE_EXT_DEST) >> EXT_DEST_SHIFT) << 8;
}

/* Send what a pin has to send. The caller has found an edge, or a level-triggered line that is asserted. */
static int ioapic_service(struct ioapic *ioapic, unsigned int pin)
{
	u64 *rte = &ioapic->redir[pin];
	struct irq_msg msg;
	int ret;

	if (*rte & IOAPIC_RTE_MASKED)
		return IRQ_NOT_DELIVERED;
	if (!rte_is_level(*rte)) {
		rte_to_msg(ioapic, *rte, &msg);
		return ioapic->ops->deliver(ioapic->ctx, &msg);
	}
	if (*rte & IOAPIC_RTE_REMOTE_IRR)
		return IRQ_COALESCED;

	rte_to_msg(ioapic, *rte, &msg);
	ret = ioapic->ops->deliver(ioapic->ctx, &msg);
	if (ret >= 0) {
		*rte |= IOAPIC_RTE_REMOTE_IRR;
		*rte &= ~IOAPIC_RTE_PENDING;
	} else {
		/* Nobody took it: no EOI will come, so the message counts as still to be sent. */
		*rte |= IOAPIC_RTE_PENDING;
	}
	return ret;
}

static void ioapic_service_level(struct ioapic *ioapic, unsigned int pin)
{
	if ((ioapic->lines & BIT(pin)) && rte_is_level(ioapic->redir[pin]))
		ioapic_service(ioapic, pin);
}

void ioapic_init(struct ioapic *ioapic, u8 version, const struct ioapic_ops *ops, void *ctx)
{
	memset(ioapic, 0, sizeof(*ioapic));
	ioapic->ops = ops;
	ioapic->ctx = ctx;
	ioapic->version = version;
	ioapic_reset(ioapic);
}

void ioapic_reset(struct ioapic *ioapic)
{
	unsigned int pin;

	ioapic->regsel = 0;
	ioapic->id = 0;
	for (pin = 0; pin < IOAPIC_NR_PINS; pin++)
		ioapic->redir[pin] = IOAPIC_RTE_MASKED;
	if (ioapic->ops->changed)
		ioapic->ops->changed(ioapic->ctx, 0, IOAPIC_NR_PINS - 1);
}

int ioapic_set_pin(struct ioapic *ioapic, unsigned int pin, bool level)
{
	bool was;

	if (pin >= IOAPIC_NR_PINS)
		return IRQ_NOT_DELIVERED;
	pin = array_index_nospec(pin, IOAPIC_NR_PINS);
	was = ioapic->lines & BIT(pin);

	if (!level) {
		ioapic->lines &= ~BIT(pin);
		ioapic->redir[pin] &= ~IOAPIC_RTE_PENDING;
		return 1;
	}
	ioapic->lines |= BIT(pin);
	if (was && !rte_is_level(ioapic->redir[pin]))
		return IRQ_COALESCED;
	return ioapic_service(ioapic, pin);
}

static u32 ioapic_read_indirect(const struct ioapic *ioapic)
{
	unsigned int index;

	switch (ioapic->regsel) {
	case IOAPIC_REG_ID:
	case IOAPIC_REG_ARB:
		return ioapic->id;
	case IOAPIC_REG_VERSION:
		return ioapic->version | (IOAPIC_NR_PINS - 1) << 16;
	case REG_REDIR_FIRST ... REG_REDIR_LAST:
		index = array_index_nospec((ioapic->regsel - REG_REDIR_FIRST) / 2, IOAPIC_NR_PINS);
		return ioapic->redir[index] >> (ioapic->regsel & 1 ? 32 : 0);
	default:
		return ~0u;
	}
}

u32 ioapic_read(const struct ioapic *ioapic, u32 offset)
{
	switch (offset) {
	case IOAPIC_REGSEL:
		return ioapic->regsel;
	case IOAPIC_WIN:
		return ioapic_read_indirect(ioapic);
	default:
		return 0;
	}
}

static void ioapic_write_redir(struct ioapic *ioapic, unsigned int pin, bool high, u32 value)
{
	u64 old = ioapic->redir[pin];
	u64 written = high ? (u64)value << 32 : value;
	u64 half = high ? ~0ull << 32 : 0xffffffffull;
	u64 mask = rte_writable(ioapic) & half;
	u64 rte = (old & ~mask) | (written & mask);

	/* An edge-triggered pin has neither: guests switch to edge and back to clear a stuck remote IRR. */
	if (!rte_is_level(rte))
		rte &= ~RTE_READ_ONLY;
	ioapic->redir[pin] = rte;
	if (rte != old && ioapic->ops->changed)
		ioapic->ops->changed(ioapic->ctx, pin, pin);
	ioapic_service_level(ioapic, pin);
}

static void ioapic_write_indirect(struct ioapic *ioapic, u32 value)
{
	unsigned int index;

	switch (ioapic->regsel) {
	case IOAPIC_REG_ID:
		ioapic->id = value & ID_MASK;
		break;
	case REG_REDIR_FIRST ... REG_REDIR_LAST:
		index = array_index_nospec((ioapic->regsel - REG_REDIR_FIRST) / 2, IOAPIC_NR_PINS);
		ioapic_write_redir(ioapic, index, ioapic->regsel & 1, value);
		break;
	}
}

void ioapic_write(struct ioapic *ioapic, u32 offset, u32 value)
{
	switch (offset) {
	case IOAPIC_REGSEL:
		ioapic->regsel = value & 0xff;
		break;
	case IOAPIC_WIN:
		ioapic_write_indirect(ioapic, value);
		break;
	case IOAPIC_EOI:
		if (ioapic->version >= IOAPIC_VERSION_EOI)
			ioapic_eoi(ioapic, value & 0xff);
		break;
	}
}

void ioapic_eoi(struct ioapic *ioapic, u8 vector)
{
	unsigned int pin;

	for (pin = 0; pin < IOAPIC_NR_PINS; pin++) {
		u64 *rte = &ioapic->redir[pin];

		if ((*rte & IOAPIC_RTE_VECTOR) != vector || !(*rte & IOAPIC_RTE_REMOTE_IRR))
			continue;
		*rte &= ~IOAPIC_RTE_REMOTE_IRR;
		if (ioapic->ops->eoi)
			ioapic->ops->eoi(ioapic->ctx, pin);
		ioapic_service_level(ioapic, pin);
	}
}

bool ioapic_pin_msg(const struct ioapic *ioapic, unsigned int pin, struct irq_msg *msg)
{
	if (pin >= IOAPIC_NR_PINS)
		return false;
	pin = array_index_nospec(pin, IOAPIC_NR_PINS);
	if (ioapic->redir[pin] & IOAPIC_RTE_MASKED)
		return false;
	rte_to_msg(ioapic, ioapic->redir[pin], msg);
	return true;
}

void ioapic_restored(struct ioapic *ioapic)
{
	unsigned int pin;

	ioapic->id &= ID_MASK;
	ioapic->lines &= BIT(IOAPIC_NR_PINS) - 1;
	for (pin = 0; pin < IOAPIC_NR_PINS; pin++) {
		ioapic->redir[pin] &= rte_writable(ioapic) | RTE_READ_ONLY;
		if (!rte_is_level(ioapic->redir[pin]))
			ioapic->redir[pin] &= ~RTE_READ_ONLY;
	}
	if (ioapic->ops->changed)
		ioapic->ops->changed(ioapic->ctx, 0, IOAPIC_NR_PINS - 1);
	for (pin = 0; pin < IOAPIC_NR_PINS; pin++)
		ioapic_service_level(ioapic, pin);
}
