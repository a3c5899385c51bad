// SPDX-License-Identifier: GPL-2.0-only
/*
 * lapic.c - local APIC: registers, modes, acceptance and service of interrupts
 *
 * An interrupt is accepted into IRR (any thread), stands there until its priority class is above that of the
 * PPR, moves to ISR when the processor takes it, and leaves with the EOI. If its TMR bit is set, the EOI goes
 * on to the IOAPICs.
 *
 * One table says what each register is in either mode; xAPIC ignores bits that are not writable, x2APIC
 * faults on them.
 */
#include "lapic-priv.h"

#define REG_SHIFT	4
#define NR_REGS		(LAPIC_STATE_SIZE >> REG_SHIFT)

#define VERSION		0x14
#define MAX_LVT		5

#define SVR_RESET	0xffu
#define DFR_RESET	0xffffffffu
#define DFR_WRITABLE	0xf0000000u
#define XAPIC_ID_SHIFT	24

#define DELIVERY_SHIFT	8
#define SHORTHAND_SHIFT	18

#define LINT_WRITABLE	(LAPIC_LVT_VECTOR | LAPIC_LVT_DELIVERY | LAPIC_LVT_ACTIVE_LOW | LAPIC_LVT_LEVEL | \
			 LAPIC_LVT_MASKED)
#define LINT_READ_ONLY	(LAPIC_LVT_STATUS | LAPIC_LVT_REMOTE_IRR)
#define EVENT_WRITABLE	(LAPIC_LVT_VECTOR | LAPIC_LVT_DELIVERY | LAPIC_LVT_MASKED)
#define ERROR_WRITABLE	(LAPIC_LVT_VECTOR | LAPIC_LVT_MASKED)
#define TIMER_WRITABLE	(ERROR_WRITABLE | LAPIC_TIMER_MODE)
#define ICR_WRITABLE	(LAPIC_LVT_VECTOR | LAPIC_LVT_DELIVERY | LAPIC_ICR_LOGICAL | LAPIC_ICR_ASSERT | \
			 LAPIC_ICR_LEVEL | LAPIC_ICR_SHORTHAND)

/* Access in xAPIC mode, and in x2APIC mode. */
enum {
	R	= 1,
	W	= 2,
	RW	= R | W,
	R2	= 4,
	W2	= 8,
	RW2	= R2 | W2,
};

/**
 * struct reg_desc - one register
 * @access:	R, W, R2, W2; none: the register is reserved
 * @writable:	bits that a write changes
 * @read_only:	bits that a write leaves alone and that x2APIC does not count as reserved
 */
struct reg_desc {
	u8 access;
	u32 writable;
	u32 read_only;
};

#define REG(offset)		[(offset) >> REG_SHIFT]
#define REG_SET(offset)		[(offset) >> REG_SHIFT ... ((offset) >> REG_SHIFT) + 7]

static const struct reg_desc reg_descs[NR_REGS] = {
	REG(LAPIC_ID)		= { R | R2 },
	REG(LAPIC_VERSION)	= { R | R2 },
	REG(LAPIC_TPR)		= { RW | RW2, 0xff },
	REG(LAPIC_APR)		= { R },
	REG(LAPIC_PPR)		= { R | R2 },
	/* Write only; xAPIC reads, which old guests do after the write, are zero and no error. */
	REG(LAPIC_EOI)		= { RW | W2 },
	REG(LAPIC_RRR)		= { R },
	REG(LAPIC_LDR)		= { RW | R2, 0xff000000 },
	REG(LAPIC_DFR)		= { RW, DFR_WRITABLE },
	REG(LAPIC_SVR)		= { RW | RW2, LAPIC_SVR_ENABLED | LAPIC_SVR_FOCUS_OFF | LAPIC_LVT_VECTOR },
	REG_SET(LAPIC_ISR)	= { R | R2 },
	REG_SET(LAPIC_TMR)	= { R | R2 },
	REG_SET(LAPIC_IRR)	= { R | R2 },
	REG(LAPIC_ESR)		= { RW | RW2 },
	REG(LAPIC_ICR)		= { RW | RW2, ICR_WRITABLE, LAPIC_ICR_STATUS },
	REG(LAPIC_ICR_HIGH)	= { RW, 0xff000000 },
	REG(LAPIC_LVT_TIMER)	= { RW | RW2, TIMER_WRITABLE, LAPIC_LVT_STATUS },
	REG(LAPIC_LVT_THERMAL)	= { RW | RW2, EVENT_WRITABLE, LAPIC_LVT_STATUS },
	REG(LAPIC_LVT_PERF)	= { RW | RW2, EVENT_WRITABLE, LAPIC_LVT_STATUS },
	REG(LAPIC_LVT_LINT0)	= { RW | RW2, LINT_WRITABLE, LINT_READ_ONLY },
	REG(LAPIC_LVT_LINT1)	= { RW | RW2, LINT_WRITABLE, LINT_READ_ONLY },
	REG(LAPIC_LVT_ERROR)	= { RW | RW2, ERROR_WRITABLE, LAPIC_LVT_STATUS },
	REG(LAPIC_TIMER_INIT)	= { RW | RW2, 0xffffffff },
	REG(LAPIC_TIMER_COUNT)	= { R | R2 },
	REG(LAPIC_TIMER_DIVIDE)	= { RW | RW2, 0xb },
	REG(LAPIC_SELF_IPI)	= { W2, LAPIC_LVT_VECTOR },
};

static const u16 lvt_offsets[] = {
	LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PERF, LAPIC_LVT_LINT0, LAPIC_LVT_LINT1, LAPIC_LVT_ERROR,
};
static_assert(ARRAY_SIZE(lvt_offsets) == MAX_LVT + 1, "the version register counts the LVT entries");

static u32 lint_offset(unsigned int n)
{
	return n ? LAPIC_LVT_LINT1 : LAPIC_LVT_LINT0;
}

static unsigned int lvt_delivery(u32 lvt)
{
	return (lvt & LAPIC_LVT_DELIVERY) >> DELIVERY_SHIFT;
}

/* Writable bits, as far as they depend on features. */
static u32 reg_writable(const struct lapic *apic, u32 offset)
{
	u32 writable = reg_descs[offset >> REG_SHIFT].writable;

	if (offset == LAPIC_SVR && (apic->config.features & LAPIC_FEATURE_NO_EOI_BCAST))
		writable |= LAPIC_SVR_NO_EOI_BCAST;
	if (offset == LAPIC_LVT_TIMER && !(apic->config.features & LAPIC_FEATURE_TSC_DEADLINE))
		writable &= ~LAPIC_TIMER_TSC;
	return writable;
}

/* ---- construction and mode ---- */

/* ID, logical ID and version follow from the configuration and the mode. */
static void lapic_set_identity(struct lapic *apic)
{
	u32 id = apic->config.id;
	u32 version = VERSION | MAX_LVT << 16;

	if (apic->config.features & LAPIC_FEATURE_NO_EOI_BCAST)
		version |= LAPIC_VERSION_NO_EOI_BCAST;
	lapic_set_reg(apic, LAPIC_VERSION, version);
	if (lapic_is_x2apic(apic)) {
		lapic_set_reg(apic, LAPIC_ID, id);
		lapic_set_reg(apic, LAPIC_LDR, id >> 4 << 16 | 1u << (id & 15));
	} else {
		lapic_set_reg(apic, LAPIC_ID, id << XAPIC_ID_SHIFT);
	}
}

/* "Local APIC State After It Has Been Software Disabled": all LVT entries are masked. */
static void lapic_mask_lvts(struct lapic *apic)
{
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(lvt_offsets); n++)
		lapic_set_reg(apic, lvt_offsets[n], lapic_reg(apic, lvt_offsets[n]) | LAPIC_LVT_MASKED);
}

/* "Local APIC State After Power-Up or Reset". */
static void lapic_reset_regs(struct lapic *apic)
{
	u32 offset;

	lapic_collect(apic);
	for (offset = 0; offset < LAPIC_STATE_SIZE; offset += sizeof(u32))
		lapic_set_reg(apic, offset, 0);
	lapic_set_reg(apic, LAPIC_DFR, DFR_RESET);
	lapic_set_reg(apic, LAPIC_SVR, SVR_RESET);
	lapic_mask_lvts(apic);
	if (apic->config.bsp && (apic->config.features & LAPIC_FEATURE_VIRTUAL_WIRE))
		lapic_set_reg(apic, LAPIC_LVT_LINT0, IRQ_EXTINT << DELIVERY_SHIFT);
	lapic_set_identity(apic);

	apic->errors = 0;
	__atomic_store_n(&apic->extint, false, __ATOMIC_RELAXED);
	lapic_timer_stop(apic);
}

void lapic_init(struct lapic *apic, struct lapic_page *page, const struct lapic_config *config,
		const struct lapic_ops *ops, void *ctx)
{
	memset(apic, 0, sizeof(*apic));
	memset(page, 0, sizeof(*page));
	apic->ops = ops;
	apic->ctx = ctx;
	apic->page = page;
	apic->config = *config;
	if (!apic->config.timer_hz)
		apic->config.timer_hz = 1000000000;
	apic->config.timer_hz = max(apic->config.timer_hz, 1000000u);
	apic->config.timer_hz = min(apic->config.timer_hz, 4000000000u);
	if (apic->config.phys_bits < 36)
		apic->config.phys_bits = 36;
	if (apic->config.phys_bits > 52)
		apic->config.phys_bits = 52;
	lapic_reset(apic, LAPIC_RESET_POWER);
}

void lapic_reset(struct lapic *apic, enum lapic_reset kind)
{
	if (kind == LAPIC_RESET_POWER)
		apic->base = LAPIC_DEFAULT_BASE | LAPIC_BASE_ENABLED |
			     (apic->config.bsp ? LAPIC_BASE_BSP : 0);
	lapic_reset_regs(apic);
}

void lapic_set_features(struct lapic *apic, u32 features)
{
	apic->config.features = features;
	lapic_set_identity(apic);
}

u64 lapic_mmio_base(const struct lapic *apic)
{
	if (!lapic_enabled(apic) || lapic_is_x2apic(apic))
		return ~0ull;
	return apic->base & ~(u64)(LAPIC_PAGE_SIZE - 1);
}

int lapic_set_base(struct lapic *apic, u64 value, bool host)
{
	const u64 mode = LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC;
	const bool was_enabled = lapic_enabled(apic);
	const bool was_x2apic = lapic_is_x2apic(apic);
	u64 defined = LAPIC_BASE_BSP | LAPIC_BASE_ENABLED | GENMASK_ULL(apic->config.phys_bits - 1, 12);

	if (apic->config.features & LAPIC_FEATURE_X2APIC)
		defined |= LAPIC_BASE_X2APIC;
	if (value & ~defined)
		return LAPIC_FAULT;
	if ((value & mode) == LAPIC_BASE_X2APIC)
		return LAPIC_FAULT;
	if (!host) {
		/* Out of x2APIC only through disabled, into it only from xAPIC. */
		if (was_x2apic && (value & mode) == LAPIC_BASE_ENABLED)
			return LAPIC_FAULT;
		if (!was_enabled && (value & mode) == mode)
			return LAPIC_FAULT;
	}

	apic->base = value;
	if (was_enabled && !lapic_enabled(apic) && !host) {
		lapic_reset_regs(apic);
	} else {
		/* The 8 bits of xAPIC and the 32 of x2APIC mean different destinations. */
		if (was_x2apic != lapic_is_x2apic(apic)) {
			lapic_set_reg(apic, LAPIC_ICR_HIGH, 0);
			lapic_set_reg(apic, LAPIC_LDR, 0);
		}
		lapic_set_identity(apic);
	}
	apic->ops->kick(apic->ctx);
	return 0;
}

/* ---- acceptance ---- */

/*
 * With lapic_config.posted. The page belongs to the processor while it runs the guest, and what it fetches from there by
 * itself it may also end by itself: so only edges of no concern to anyone, with a TMR bit that says so already.
 */
static int lapic_accept_beside(struct lapic *apic, u8 vector, bool level)
{
	const bool held = level || lapic_watched(apic, vector) || lapic_bit_test(apic, LAPIC_TMR, vector);
	const u32 bit = 1u << (vector & 31);
	const unsigned int n = vector >> 5;
	bool merged;

	if (level)
		__atomic_fetch_or(&apic->held_level[n], bit, __ATOMIC_SEQ_CST);
	else if (held)
		__atomic_fetch_and(&apic->held_level[n], ~bit, __ATOMIC_SEQ_CST);
	if (__atomic_fetch_or(held ? &apic->held[n] : &apic->config.posted[n], bit, __ATOMIC_SEQ_CST) & bit)
		return IRQ_COALESCED;
	/* Looked at last, and so rather this one itself on its way than one missed that it is merged with. */
	merged = lapic_bit_test(apic, LAPIC_IRR, vector);
	if (held)
		apic->ops->kick(apic->ctx);
	else
		apic->ops->post(apic->ctx);
	return merged ? IRQ_COALESCED : 1;
}

/* IRR first: at no time is a vector in neither, for those who look whether theirs is new. */
void lapic_collect(struct lapic *apic)
{
	unsigned int n;

	if (!apic->config.posted)
		return;
	for (n = 0; n < 8; n++) {
		const u32 held = __atomic_load_n(&apic->held[n], __ATOMIC_SEQ_CST);
		const u32 posted = __atomic_load_n(&apic->config.posted[n], __ATOMIC_SEQ_CST);

		if (likely(!held && !posted))
			continue;
		lapic_set_reg(apic, LAPIC_TMR + n * 16,
			      (lapic_reg(apic, LAPIC_TMR + n * 16) & ~held) |
			      (__atomic_load_n(&apic->held_level[n], __ATOMIC_SEQ_CST) & held));
		__atomic_fetch_or(lapic_bit_word(apic, LAPIC_IRR, n * 32), held | posted, __ATOMIC_SEQ_CST);
		__atomic_fetch_and(&apic->held[n], ~held, __ATOMIC_SEQ_CST);
		__atomic_fetch_and(&apic->config.posted[n], ~posted, __ATOMIC_SEQ_CST);
	}
}

/* Set IRR and TMR: from any thread. TMR goes first: the vCPU may take the interrupt once IRR is set. */
int lapic_accept_vector(struct lapic *apic, u8 vector, bool level)
{
	if (apic->config.posted)
		return lapic_accept_beside(apic, vector, level);
	if (level)
		lapic_bit_set(apic, LAPIC_TMR, vector);
	else
		lapic_bit_clear(apic, LAPIC_TMR, vector);
	if (lapic_bit_set(apic, LAPIC_IRR, vector))
		return IRQ_COALESCED;
	__atomic_store_n(&apic->requests, true, __ATOMIC_RELEASE);
	apic->ops->kick(apic->ctx);
	return 1;
}

/* "Error Handling": the first error of a kind raises the error interrupt. */
void lapic_error(struct lapic *apic, u32 error)
{
	u32 old = __atomic_fetch_or(&apic->errors, error, __ATOMIC_RELAXED);
	u32 lvt = lapic_reg(apic, LAPIC_LVT_ERROR);

	if ((old & error) || (lvt & LAPIC_LVT_MASKED))
		return;
	/* An illegal vector here is one more error, but not a reason to come here again. */
	if ((lvt & LAPIC_LVT_VECTOR) < LAPIC_FIRST_LEGAL_VECTOR)
		__atomic_fetch_or(&apic->errors, LAPIC_ESR_RECV_VECTOR, __ATOMIC_RELAXED);
	else
		lapic_accept_vector(apic, lvt & LAPIC_LVT_VECTOR, false);
}

static int lapic_accept_fixed(struct lapic *apic, u8 vector, bool level)
{
	if (vector < LAPIC_FIRST_LEGAL_VECTOR) {
		lapic_error(apic, LAPIC_ESR_RECV_VECTOR);
		return IRQ_NOT_DELIVERED;
	}
	return lapic_accept_vector(apic, vector, level);
}

int lapic_accept(struct lapic *apic, const struct irq_msg *msg)
{
	if (!lapic_enabled(apic))
		return IRQ_NOT_DELIVERED;

	switch (msg->delivery) {
	case IRQ_FIXED:
	case IRQ_LOWEST:
		if (!lapic_software_enabled(apic))
			return IRQ_NOT_DELIVERED;
		return lapic_accept_fixed(apic, msg->vector, msg->level);
	case IRQ_SMI:
		if (apic->ops->smi)
			apic->ops->smi(apic->ctx);
		return 1;
	case IRQ_NMI:
		apic->ops->nmi(apic->ctx);
		return 1;
	case IRQ_INIT:
		if (!msg->deassert)
			apic->ops->init(apic->ctx);
		return 1;
	case IRQ_SIPI:
		apic->ops->sipi(apic->ctx, msg->vector);
		return 1;
	case IRQ_EXTINT:
		__atomic_store_n(&apic->extint, true, __ATOMIC_RELEASE);
		apic->ops->kick(apic->ctx);
		return 1;
	default:
		return IRQ_NOT_DELIVERED;
	}
}

/* A local source, not LINT0 or LINT1, raises its LVT entry: an edge. */
void lapic_local(struct lapic *apic, u32 lvt_offset)
{
	u32 lvt = lapic_reg(apic, lvt_offset);

	if (lvt & LAPIC_LVT_MASKED)
		return;
	switch (lvt_delivery(lvt)) {
	case IRQ_FIXED:
		lapic_accept_fixed(apic, lvt & LAPIC_LVT_VECTOR, false);
		break;
	case IRQ_NMI:
		apic->ops->nmi(apic->ctx);
		break;
	case IRQ_SMI:
		if (apic->ops->smi)
			apic->ops->smi(apic->ctx);
		break;
	}
}

void lapic_perf_interrupt(struct lapic *apic)
{
	u32 lvt = lapic_reg(apic, LAPIC_LVT_PERF);

	if (!lapic_enabled(apic))
		return;
	lapic_local(apic, LAPIC_LVT_PERF);
	lapic_set_reg(apic, LAPIC_LVT_PERF, lvt | LAPIC_LVT_MASKED);
}

/* ---- LINT0, LINT1 and the PIC ---- */

/* Look at a pin after a rising edge (@edge), or after something else that concerns its level has changed. */
static void lint_update(struct lapic *apic, unsigned int n, bool edge)
{
	u32 offset = lint_offset(n);
	u32 lvt = lapic_reg(apic, offset);

	if (lvt & LAPIC_LVT_MASKED)
		return;
	switch (lvt_delivery(lvt)) {
	case IRQ_FIXED:
		if (!(lvt & LAPIC_LVT_LEVEL)) {
			if (edge)
				lapic_accept_fixed(apic, lvt & LAPIC_LVT_VECTOR, false);
		} else if (apic->lint[n] && !(lvt & LAPIC_LVT_REMOTE_IRR)) {
			if (lapic_accept_fixed(apic, lvt & LAPIC_LVT_VECTOR, true) >= 0)
				lapic_set_reg(apic, offset, lvt | LAPIC_LVT_REMOTE_IRR);
		}
		break;
	case IRQ_EXTINT:
		if (apic->lint[n])
			apic->ops->kick(apic->ctx);
		break;
	case IRQ_NMI:
		if (edge)
			apic->ops->nmi(apic->ctx);
		break;
	case IRQ_INIT:
		if (edge)
			apic->ops->init(apic->ctx);
		break;
	case IRQ_SMI:
		if (edge && apic->ops->smi)
			apic->ops->smi(apic->ctx);
		break;
	}
}

void lapic_set_lint(struct lapic *apic, unsigned int n, bool level)
{
	bool edge;

	if (n > 1)
		return;
	n = array_index_nospec(n, 2);
	edge = level && !apic->lint[n];
	apic->lint[n] = level;

	if (lapic_enabled(apic)) {
		lint_update(apic, n, edge);
	} else if (edge) {
		if (n == 0)
			apic->ops->kick(apic->ctx);
		else
			apic->ops->nmi(apic->ctx);
	}
}

bool lapic_accepts_pic(const struct lapic *apic)
{
	u32 lvt = lapic_reg(apic, LAPIC_LVT_LINT0);

	return !lapic_enabled(apic) || (!(lvt & LAPIC_LVT_MASKED) && lvt_delivery(lvt) == IRQ_EXTINT);
}

bool lapic_extint_pending(const struct lapic *apic)
{
	return __atomic_load_n(&apic->extint, __ATOMIC_ACQUIRE) || (apic->lint[0] && lapic_accepts_pic(apic));
}

void lapic_extint_ack(struct lapic *apic)
{
	__atomic_store_n(&apic->extint, false, __ATOMIC_RELAXED);
}

/* ---- processor side ---- */

u8 lapic_ppr(const struct lapic *apic)
{
	u8 tpr = lapic_reg(apic, LAPIC_TPR);
	int serving = lapic_highest(apic, LAPIC_ISR);

	if (serving < 0 || tpr >> 4 >= serving >> 4)
		return tpr;
	return serving & 0xf0;
}

/* What is accepted and not in service, wherever it waits. */
static int lapic_requested(const struct lapic *apic)
{
	int n;

	for (n = 7; n >= 0; n--) {
		u32 word = __atomic_load_n(lapic_bit_word(apic, LAPIC_IRR, n * 32), __ATOMIC_SEQ_CST);

		if (apic->config.posted)
			word |= __atomic_load_n(&apic->config.posted[n], __ATOMIC_SEQ_CST) |
				__atomic_load_n(&apic->held[n], __ATOMIC_SEQ_CST);
		if (word)
			return n * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

int lapic_pending_vector(const struct lapic *apic)
{
	int vector;

	if (!lapic_enabled(apic))
		return -1;
	/* Mostly there is nothing, before an entry. */
	if (!apic->config.posted && !__atomic_load_n(&apic->requests, __ATOMIC_ACQUIRE))
		return -1;
	vector = lapic_requested(apic);
	if (vector < 0 || vector >> 4 <= lapic_ppr(apic) >> 4)
		return -1;
	return vector;
}

int lapic_ack(struct lapic *apic)
{
	int vector;

	if (!lapic_enabled(apic))
		return -1;
	lapic_collect(apic);
	vector = lapic_pending_vector(apic);
	/* "Spurious Interrupt": masked by a higher TPR between request and acknowledgement. */
	if (vector < 0)
		return lapic_reg(apic, LAPIC_SVR) & LAPIC_LVT_VECTOR;
	/* ISR first: at no time is the vector in neither. */
	lapic_bit_set(apic, LAPIC_ISR, vector);
	lapic_bit_clear(apic, LAPIC_IRR, vector);
	/* Before IRR is looked at: who sets a bit there that is not seen says so afterwards. */
	(void)__atomic_exchange_n(&apic->requests, false, __ATOMIC_SEQ_CST);
	if (lapic_requested(apic) >= 0)
		__atomic_store_n(&apic->requests, true, __ATOMIC_RELEASE);
	return vector;
}

static void lapic_kick_if_pending(struct lapic *apic)
{
	if (lapic_pending_vector(apic) >= 0)
		apic->ops->kick(apic->ctx);
}

bool lapic_watched(const struct lapic *apic, u8 vector)
{
	return apic->config.watch && __atomic_load_n(apic->config.watch, __ATOMIC_RELAXED) == vector;
}

void lapic_eoi_done(struct lapic *apic, u8 vector)
{
	unsigned int n;

	if (!lapic_bit_test(apic, LAPIC_TMR, vector)) {
		if (unlikely(lapic_watched(apic, vector)))
			apic->ops->eoi(apic->ctx, vector);
		return;
	}

	for (n = 0; n < 2; n++) {
		u32 lvt = lapic_reg(apic, lint_offset(n));

		if ((lvt & LAPIC_LVT_REMOTE_IRR) && (lvt & LAPIC_LVT_VECTOR) == vector) {
			lapic_set_reg(apic, lint_offset(n), lvt & ~LAPIC_LVT_REMOTE_IRR);
			lint_update(apic, n, false);
		}
	}
	if (apic->ops->eoi && !(lapic_reg(apic, LAPIC_SVR) & LAPIC_SVR_NO_EOI_BCAST))
		apic->ops->eoi(apic->ctx, vector);
}

u32 lapic_wants_eoi(const struct lapic *apic, unsigned int n)
{
	const int watched = apic->config.watch ? __atomic_load_n(apic->config.watch, __ATOMIC_RELAXED) : -1;

	return lapic_reg(apic, LAPIC_TMR + n * 16) | (watched >> 5 == (int)n ? 1u << (watched & 31) : 0);
}

int lapic_eoi(struct lapic *apic)
{
	int vector = lapic_highest(apic, LAPIC_ISR);

	if (vector < 0)
		return -1;
	lapic_bit_clear(apic, LAPIC_ISR, vector);
	lapic_kick_if_pending(apic);
	lapic_eoi_done(apic, vector);
	return vector;
}

void lapic_set_tpr(struct lapic *apic, u8 tpr)
{
	lapic_set_reg(apic, LAPIC_TPR, tpr);
	lapic_kick_if_pending(apic);
}

/* ---- registers ---- */

static void lapic_send(struct lapic *apic, const struct irq_msg *msg)
{
	const bool vectored = msg->delivery == IRQ_FIXED || msg->delivery == IRQ_LOWEST;

	if (vectored && msg->vector < LAPIC_FIRST_LEGAL_VECTOR) {
		lapic_error(apic, LAPIC_ESR_SEND_VECTOR);
		return;
	}
	if (msg->delivery == IRQ_REMOTE_READ || msg->delivery == IRQ_EXTINT)
		return;
	apic->ops->send(apic->ctx, msg);
}

static void lapic_write_icr(struct lapic *apic, u32 low, u32 dest)
{
	const struct irq_msg msg = {
		.dest = dest,
		.vector = low & LAPIC_LVT_VECTOR,
		.delivery = lvt_delivery(low),
		.shorthand = (low & LAPIC_ICR_SHORTHAND) >> SHORTHAND_SHIFT,
		.logical = low & LAPIC_ICR_LOGICAL,
		/* IPIs are edges: the trigger bit only tells "INIT level de-assert" from INIT. */
		.deassert = (low & LAPIC_ICR_LEVEL) && !(low & LAPIC_ICR_ASSERT),
		.wide = lapic_is_x2apic(apic),
	};

	/* Messages arrive at once: delivery status is always idle. */
	lapic_set_reg(apic, LAPIC_ICR, low);
	lapic_send(apic, &msg);
}

static void lapic_write_self_ipi(struct lapic *apic, u8 vector)
{
	const struct irq_msg msg = {
		.vector = vector,
		.delivery = IRQ_FIXED,
		.shorthand = IRQ_DEST_SELF,
		.wide = true,
	};

	lapic_send(apic, &msg);
}

static void lapic_write_lvt(struct lapic *apic, u32 offset, u32 value, u64 now)
{
	if (!lapic_software_enabled(apic))
		value |= LAPIC_LVT_MASKED;
	if (offset == LAPIC_LVT_TIMER) {
		lapic_timer_set_lvt(apic, value, now);
		return;
	}
	if (offset == LAPIC_LVT_LINT0 || offset == LAPIC_LVT_LINT1) {
		/* Remote IRR stays while the entry is what it was set for. */
		if ((value & LAPIC_LVT_LEVEL) && lvt_delivery(value) == IRQ_FIXED)
			value |= lapic_reg(apic, offset) & LAPIC_LVT_REMOTE_IRR;
		lapic_set_reg(apic, offset, value);
		lint_update(apic, offset == LAPIC_LVT_LINT1, false);
		return;
	}
	lapic_set_reg(apic, offset, value);
}

/* Write a register; @value has only writable bits, @dest is the destination if it is the ICR. */
static void lapic_write_reg(struct lapic *apic, u32 offset, u32 value, u32 dest, u64 now)
{
	switch (offset) {
	case LAPIC_TPR:
		lapic_set_tpr(apic, value);
		break;
	case LAPIC_EOI:
		lapic_eoi(apic);
		break;
	case LAPIC_DFR:
		lapic_set_reg(apic, offset, value | ~DFR_WRITABLE);
		break;
	case LAPIC_SVR:
		/* What the timer owed before it is masked still counts. */
		lapic_timer_sync(apic, now);
		lapic_set_reg(apic, offset, value);
		if (!(value & LAPIC_SVR_ENABLED)) {
			lapic_mask_lvts(apic);
			if (apic->ops->rearm)
				apic->ops->rearm(apic->ctx);
		}
		break;
	case LAPIC_ESR:
		/* "A write ... updates the ESR to reflect the errors logged since the last write". */
		lapic_set_reg(apic, offset, __atomic_exchange_n(&apic->errors, 0, __ATOMIC_RELAXED));
		break;
	case LAPIC_ICR:
		lapic_write_icr(apic, value, dest);
		break;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		lapic_write_lvt(apic, offset, value, now);
		break;
	case LAPIC_TIMER_INIT:
		lapic_timer_set_count(apic, value, now);
		break;
	case LAPIC_TIMER_DIVIDE:
		lapic_timer_set_divide(apic, value, now);
		break;
	case LAPIC_SELF_IPI:
		lapic_write_self_ipi(apic, value);
		break;
	default:
		lapic_set_reg(apic, offset, value);
		break;
	}
}

static u32 lapic_read_reg(const struct lapic *apic, u32 offset, u64 now)
{
	switch (offset) {
	case LAPIC_PPR:
		return lapic_ppr(apic);
	case LAPIC_EOI:
		return 0;
	case LAPIC_TIMER_COUNT:
		return lapic_timer_count(apic, now);
	default:
		return lapic_reg(apic, offset);
	}
}

u64 lapic_read(struct lapic *apic, u32 offset, unsigned int size, u64 now)
{
	u32 index = offset >> REG_SHIFT;
	unsigned int shift = (offset & 15) * 8;
	u64 value;

	if (index >= NR_REGS || !(reg_descs[array_index_nospec(index, NR_REGS)].access & R)) {
		lapic_error(apic, LAPIC_ESR_REGISTER);
		return 0;
	}
	index = array_index_nospec(index, NR_REGS);
	if (shift >= 32)
		return 0;
	value = lapic_read_reg(apic, index << REG_SHIFT, now) >> shift;
	return size < 4 ? value & ((1u << size * 8) - 1) : value;
}

void lapic_write(struct lapic *apic, u32 offset, unsigned int size, u32 value, u64 now)
{
	u32 index = offset >> REG_SHIFT;
	u8 access;

	/* "Undefined behavior" for other accesses: here nothing. */
	if (size != 4 || (offset & 15))
		return;
	access = index < NR_REGS ? reg_descs[array_index_nospec(index, NR_REGS)].access : 0;
	if (!(access & W)) {
		/* Read-only registers ignore the write; reserved ones are an error. */
		if (!(access & R))
			lapic_error(apic, LAPIC_ESR_REGISTER);
		return;
	}
	offset = array_index_nospec(index, NR_REGS) << REG_SHIFT;
	lapic_write_reg(apic, offset, value & reg_writable(apic, offset),
			lapic_reg(apic, LAPIC_ICR_HIGH) >> XAPIC_ID_SHIFT, now);
}

/* Register offset of an x2APIC MSR that allows @access, or -1. */
static int msr_to_offset(const struct lapic *apic, u32 msr, u8 access)
{
	u32 index = msr - LAPIC_MSR_X2APIC;

	if (!lapic_is_x2apic(apic) || msr < LAPIC_MSR_X2APIC || index >= NR_REGS)
		return -1;
	index = array_index_nospec(index, NR_REGS);
	return reg_descs[index].access & access ? (int)(index << REG_SHIFT) : -1;
}

int lapic_msr_read(struct lapic *apic, u32 msr, u64 *value, u64 now)
{
	int offset;

	if (msr == LAPIC_MSR_TSC_DEADLINE) {
		if (!(apic->config.features & LAPIC_FEATURE_TSC_DEADLINE))
			return LAPIC_FAULT;
		*value = apic->timer.tsc;
		return 0;
	}
	offset = msr_to_offset(apic, msr, R2);
	if (offset < 0)
		return LAPIC_FAULT;
	*value = lapic_read_reg(apic, offset, now);
	if (offset == LAPIC_ICR)
		*value |= (u64)lapic_reg(apic, LAPIC_ICR_HIGH) << 32;
	return 0;
}

int lapic_msr_write(struct lapic *apic, u32 msr, u64 value, u64 now)
{
	u64 reserved;
	u32 writable;
	int offset;

	if (msr == LAPIC_MSR_TSC_DEADLINE) {
		if (!(apic->config.features & LAPIC_FEATURE_TSC_DEADLINE))
			return LAPIC_FAULT;
		lapic_timer_set_tsc(apic, value);
		return 0;
	}
	offset = msr_to_offset(apic, msr, W2);
	if (offset < 0)
		return LAPIC_FAULT;
	writable = reg_writable(apic, offset);
	reserved = ~(u64)(writable | reg_descs[offset >> REG_SHIFT].read_only);
	if (offset == LAPIC_ICR)
		reserved &= 0xffffffff;
	if (value & reserved)
		return LAPIC_FAULT;
	if (offset == LAPIC_ICR)
		lapic_set_reg(apic, LAPIC_ICR_HIGH, value >> 32);
	lapic_write_reg(apic, offset, value & writable, value >> 32, now);
	return 0;
}

/* ---- save and restore ---- */

void lapic_save(const struct lapic *apic, void *regs, u64 now)
{
	u32 offset;

	memset(regs, 0, LAPIC_STATE_SIZE);
	for (offset = 0; offset < LAPIC_STATE_SIZE; offset += 1u << REG_SHIFT) {
		u32 value = lapic_read_reg(apic, offset, now);

		memcpy((u8 *)regs + offset, &value, sizeof(value));
	}
}

static u32 saved_reg(const void *regs, u32 offset)
{
	u32 value;

	memcpy(&value, (const u8 *)regs + offset, sizeof(value));
	return value;
}

void lapic_restore(struct lapic *apic, const void *regs, u64 now)
{
	const u32 esr = LAPIC_ESR_SEND_VECTOR | LAPIC_ESR_RECV_VECTOR | LAPIC_ESR_REGISTER;
	u32 offset;

	lapic_collect(apic);
	__atomic_store_n(&apic->requests, true, __ATOMIC_RELEASE);
	for (offset = 0; offset < LAPIC_STATE_SIZE; offset += 1u << REG_SHIFT) {
		const struct reg_desc *desc = &reg_descs[offset >> REG_SHIFT];
		u32 value = saved_reg(regs, offset);

		switch (offset) {
		case LAPIC_ISR:
		case LAPIC_TMR:
		case LAPIC_IRR:
			/* The illegal vectors. */
			lapic_set_reg(apic, offset, value & 0xffff0000);
			break;
		case LAPIC_ISR + 0x10 ... LAPIC_ISR + 0x70:
		case LAPIC_TMR + 0x10 ... LAPIC_TMR + 0x70:
		case LAPIC_IRR + 0x10 ... LAPIC_IRR + 0x70:
			lapic_set_reg(apic, offset, value);
			break;
		case LAPIC_DFR:
			lapic_set_reg(apic, offset, value | ~DFR_WRITABLE);
			break;
		case LAPIC_ESR:
			lapic_set_reg(apic, offset, value & esr);
			break;
		case LAPIC_ICR_HIGH:
			lapic_set_reg(apic, offset, lapic_is_x2apic(apic) ? value : value & desc->writable);
			break;
		case LAPIC_LVT_LINT0:
		case LAPIC_LVT_LINT1:
			lapic_set_reg(apic, offset, value & (LINT_WRITABLE | LAPIC_LVT_REMOTE_IRR));
			break;
		case LAPIC_SELF_IPI:
			break;
		default:
			if (desc->access & (W | W2))
				lapic_set_reg(apic, offset, value & reg_writable(apic, offset));
			break;
		}
	}
	lapic_set_identity(apic);
	apic->errors = 0;
	lapic_timer_restored(apic, saved_reg(regs, LAPIC_TIMER_COUNT), now);
	apic->ops->kick(apic->ctx);
}
