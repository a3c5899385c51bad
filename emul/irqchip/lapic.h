/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lapic.h - local APIC, xAPIC and x2APIC, with its timer
 *
 * Source: Intel SDM vol. 3, "Advanced Programmable Interrupt Controller (APIC)".
 *
 * Contract: nothing here locks, allocates or reads a clock. Time comes in as nanoseconds of a monotonic clock
 * ("now") and, for the TSC-deadline timer, as the guest's TSC.
 *
 * Who may call what:
 *  - The owner serialises all functions on one local APIC (a lock a local APIC, or one over all chips of a
 *    VM), with two exceptions that are safe at any time, from any thread, against everything else:
 *    lapic_accept() and lapic_pending_vector(). Acceptance touches IRR, TMR, errors and extint, only by
 *    atomic operations (lapic-priv.h is the one place that sets bits of IRR and TMR), and then calls an op.
 *  - lapic_deliver() reads ID, LDR, DFR, SVR, mode and TPR of all local APICs without changing them, and then
 *    calls lapic_accept(). Reading them while their owner writes is a race that real buses have as well.
 *
 * Ops are called from inside. lapic_ops.send, which usually ends in lapic_deliver() on all local APICs, the
 * sender included, and lapic_ops.eoi, which may end in ioapic_eoi() and so again in lapic_deliver(), are
 * called last, when the state is consistent. No other op may call back into the same local APIC, but for
 * functions that take it as const.
 */
#ifndef TENON_IRQCHIP_LAPIC_H
#define TENON_IRQCHIP_LAPIC_H

#include "../base.h"
#include "irq_msg.h"

#define LAPIC_DEFAULT_BASE	0xfee00000u
#define LAPIC_PAGE_SIZE		0x1000
#define LAPIC_STATE_SIZE	0x400	/* the part of the page with registers; struct kvm_lapic_state */

/* Register offsets in the page. The x2APIC MSR of one is 0x800 + (offset >> 4). */
#define LAPIC_ID		0x020
#define LAPIC_VERSION		0x030
#define LAPIC_TPR		0x080
#define LAPIC_APR		0x090
#define LAPIC_PPR		0x0a0
#define LAPIC_EOI		0x0b0
#define LAPIC_RRR		0x0c0
#define LAPIC_LDR		0x0d0
#define LAPIC_DFR		0x0e0
#define LAPIC_SVR		0x0f0
#define LAPIC_ISR		0x100
#define LAPIC_TMR		0x180
#define LAPIC_IRR		0x200
#define LAPIC_ESR		0x280
#define LAPIC_LVT_CMCI		0x2f0	/* not implemented */
#define LAPIC_ICR		0x300
#define LAPIC_ICR_HIGH		0x310
#define LAPIC_LVT_TIMER		0x320
#define LAPIC_LVT_THERMAL	0x330
#define LAPIC_LVT_PERF		0x340
#define LAPIC_LVT_LINT0		0x350
#define LAPIC_LVT_LINT1		0x360
#define LAPIC_LVT_ERROR		0x370
#define LAPIC_TIMER_INIT	0x380
#define LAPIC_TIMER_COUNT	0x390
#define LAPIC_TIMER_DIVIDE	0x3e0
#define LAPIC_SELF_IPI		0x3f0	/* x2APIC only */

#define LAPIC_SVR_ENABLED	0x100u
#define LAPIC_SVR_FOCUS_OFF	0x200u
#define LAPIC_SVR_NO_EOI_BCAST	0x1000u

#define LAPIC_VERSION_NO_EOI_BCAST	BIT(24)

#define LAPIC_ESR_SEND_VECTOR	0x20u
#define LAPIC_ESR_RECV_VECTOR	0x40u
#define LAPIC_ESR_REGISTER	0x80u

/* LVT entries; the low 16 bits of the ICR look alike. */
#define LAPIC_LVT_VECTOR	0x000ffu
#define LAPIC_LVT_DELIVERY	0x00700u
#define LAPIC_LVT_STATUS	0x01000u
#define LAPIC_LVT_ACTIVE_LOW	0x02000u
#define LAPIC_LVT_REMOTE_IRR	0x04000u
#define LAPIC_LVT_LEVEL		0x08000u
#define LAPIC_LVT_MASKED	0x10000u
#define LAPIC_TIMER_MODE	0x60000u
#define LAPIC_TIMER_ONESHOT	0x00000u
#define LAPIC_TIMER_PERIODIC	0x20000u
#define LAPIC_TIMER_TSC		0x40000u

#define LAPIC_ICR_LOGICAL	0x00800u
#define LAPIC_ICR_STATUS	0x01000u
#define LAPIC_ICR_ASSERT	0x04000u
#define LAPIC_ICR_LEVEL		0x08000u
#define LAPIC_ICR_SHORTHAND	0xc0000u

/* MSRs */
#define LAPIC_MSR_BASE		0x01b	/* IA32_APIC_BASE: lapic_set_base() */
#define LAPIC_MSR_TSC_DEADLINE	0x6e0	/* IA32_TSC_DEADLINE: lapic_msr_read(), lapic_msr_write() */
#define LAPIC_MSR_X2APIC	0x800	/* 0x800..0x8ff: lapic_msr_read(), lapic_msr_write() */
#define LAPIC_MSR_X2APIC_LAST	0x8ff

#define LAPIC_BASE_BSP		BIT_ULL(8)
#define LAPIC_BASE_X2APIC	BIT_ULL(10)
#define LAPIC_BASE_ENABLED	BIT_ULL(11)

/* Return value of functions that a guest reaches by an MSR: inject #GP(0). */
#define LAPIC_FAULT		(-1)

/**
 * struct lapic_page - the register page as the hardware has it, a 32-bit register every 16 bytes
 * @word:	32-bit words; the register at offset o is word[o / 4]
 *
 * Apart from struct lapic, so that an owner with hardware assistance (a virtual-APIC page, an AVIC backing
 * page) can supply a page of its own.
 */
struct lapic_page {
	u32 word[LAPIC_PAGE_SIZE / sizeof(u32)];
};
static_assert(sizeof(struct lapic_page) == LAPIC_PAGE_SIZE, "the register page is 4 KiB");

/**
 * struct lapic_ops - where a local APIC reports to
 * @kick:	required; lapic_pending_vector() or lapic_extint_pending() may have become true: make the vCPU
 *		look.
 *		Called from any thread
 * @send:	required; an IPI leaves through the ICR or the self IPI register: hand it to lapic_deliver()
 *		with this
 *		local APIC as the source
 * @nmi:	required; an NMI arrived
 * @init:	required; an INIT arrived. The vCPU calls lapic_reset(LAPIC_RESET_INIT) when it acts on it
 * @sipi:	required; a start-up IPI arrived: execution starts at @vector << 12 if the vCPU waits for it
 * @smi:	optional; an SMI arrived. Without it they are dropped
 * @eoi:	optional; the guest acknowledged a level-triggered @vector and did not suppress the broadcast:
 *		hand it to
 *		ioapic_eoi(). And, whatever the suppression, an edge-triggered one that is lapic_config.watch
 * @rearm:	optional; lapic_timer_deadline() may have changed
 * @post:	required with lapic_config.posted; an edge is there that was not: make the processor fetch it. Called from
 *		any thread, in the place of @kick
 *
 * @nmi, @init, @sipi and @smi may be called from any thread that calls lapic_deliver() or lapic_accept().
 */
struct lapic_ops {
	void (*kick)(void *ctx);
	void (*send)(void *ctx, const struct irq_msg *msg);
	void (*nmi)(void *ctx);
	void (*init)(void *ctx);
	void (*sipi)(void *ctx, u8 vector);
	void (*smi)(void *ctx);
	void (*eoi)(void *ctx, u8 vector);
	void (*rearm)(void *ctx);
	void (*post)(void *ctx);
};

/* Features: lapic_config.features, lapic_set_features(). */
#define LAPIC_FEATURE_X2APIC		0x1	/* CPUID.1:ECX[21] */
#define LAPIC_FEATURE_TSC_DEADLINE	0x2	/* CPUID.1:ECX[24] */
#define LAPIC_FEATURE_NO_EOI_BCAST	0x4	/* suppression of EOI broadcasts; wants IOAPIC_VERSION_EOI */
#define LAPIC_FEATURE_VIRTUAL_WIRE	0x8	/* LINT0 of the BSP is ExtINT after power-on */

/**
 * struct lapic_config - what does not change while a machine runs
 * @id:		APIC ID, 32 bits. An xAPIC shows the low 8
 * @timer_hz:	frequency of the timer before the divider: 1 MHz to 4 GHz, other values are clamped; 0 is 1
 *		GHz
 * @features:	LAPIC_FEATURE_*
 * @phys_bits:	physical address bits of the guest, for reserved bits of IA32_APIC_BASE: 36 to 52; others are
 *		clamped
 * @bsp:	the bootstrap processor
 * @watch:	optional; where the owner keeps the edge-triggered vector whose EOI it wants to hear of, or -1; it may
 *		change at any time
 * @posted:	optional; 256 bits where acceptance leaves edges, for a processor that fetches them from there into IRR
 *		while it runs the guest: see lapic_collect()
 */
struct lapic_config {
	u32 id;
	u32 timer_hz;
	u32 features;
	u8 phys_bits;
	bool bsp;
	const int *watch;
	u32 *posted;
};

/**
 * enum lapic_clock - what a deadline counts
 * @LAPIC_CLOCK_NONE:	the timer is idle
 * @LAPIC_CLOCK_NS:	nanoseconds of the clock that "now" is taken from
 * @LAPIC_CLOCK_TSC:	the guest's TSC
 */
enum lapic_clock {
	LAPIC_CLOCK_NONE,
	LAPIC_CLOCK_NS,
	LAPIC_CLOCK_TSC,
};

/**
 * struct lapic_deadline - when the timer expires next
 * @clock:	unit of @at
 * @at:		absolute; all ones with LAPIC_CLOCK_NONE
 */
struct lapic_deadline {
	enum lapic_clock clock;
	u64 at;
};

/**
 * enum lapic_reset - depth of a reset
 * @LAPIC_RESET_POWER:	power-on or RESET: IA32_APIC_BASE as well
 * @LAPIC_RESET_INIT:	INIT: IA32_APIC_BASE, and with it the mode, stays
 */
enum lapic_reset {
	LAPIC_RESET_POWER,
	LAPIC_RESET_INIT,
};

/**
 * struct lapic - one local APIC
 * @ops:	given to lapic_init()
 * @ctx:	opaque pointer for @ops
 * @page:	register page, given to lapic_init()
 * @config:	given to lapic_init()
 * @base:	IA32_APIC_BASE
 * @lint:	levels of LINT0 and LINT1
 * @extint:	an IRQ_EXTINT message waits for its INTA cycle
 * @requests:	IRR may have a bit set; without lapic_config.posted, false says that it has none
 * @errors:	errors since the last write of the ESR
 * @arbitration: lowest-priority messages taken, to share equal priorities out evenly
 * @held:	with lapic_config.posted: accepted, and to be taken to IRR by lapic_collect() alone
 * @held_level: the TMR bits of those
 * @timer:	timer state, private to lapic-timer.c
 */
struct lapic {
	/* wiring */
	const struct lapic_ops *ops;
	void *ctx;
	struct lapic_page *page;
	struct lapic_config config;
	/* state that is not in the page */
	u64 base;
	bool lint[2];
	bool extint;
	bool requests;
	u32 errors;
	u32 arbitration;
	u32 held[8];
	u32 held_level[8];
	struct {
		bool armed;		/* an expiry lies ahead (counting modes) */
		u32 load;		/* count at epoch */
		u64 epoch;		/* nanoseconds */
		u64 fired;		/* expiries since epoch that were reported */
		u64 tsc;		/* TSC deadline, 0 if disarmed */
	} timer;
};

/**
 * lapic_reg() - a register as it stands in the page, without side effects
 * @apic:	local APIC; only read
 * @offset:	LAPIC_* offset, a constant. PPR and current count are stale there
 */
static inline u32 lapic_reg(const struct lapic *apic, u32 offset)
{
	return __atomic_load_n(&apic->page->word[offset / 4], __ATOMIC_RELAXED);
}

/**
 * lapic_highest() - the highest vector in LAPIC_ISR, LAPIC_TMR or LAPIC_IRR
 * @apic:	local APIC; only read
 * @set:	the first register of the 8
 *
 * Return: a vector, or -1.
 */
static inline int lapic_highest(const struct lapic *apic, u32 set)
{
	int n;

	for (n = 7; n >= 0; n--) {
		const u32 word = __atomic_load_n(&apic->page->word[set / 4 + n * 4], __ATOMIC_SEQ_CST);

		if (word)
			return n * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

/* ---- construction ---- */

/**
 * lapic_init() - wire a local APIC up and reset it
 * @apic:	storage, any content
 * @page:	register page, any content; must live as long as @apic
 * @config:	copied; values out of range are clamped
 * @ops:	must outlive @apic
 * @ctx:	passed to every op
 */
void lapic_init(struct lapic *apic, struct lapic_page *page, const struct lapic_config *config,
		const struct lapic_ops *ops, void *ctx);

/**
 * lapic_reset() - state after power-on or INIT
 * @apic:	local APIC
 * @kind:	depth
 *
 * Calls lapic_ops.rearm. The levels of LINT0 and LINT1 survive: they belong to what is wired to them.
 */
void lapic_reset(struct lapic *apic, enum lapic_reset kind);

/**
 * lapic_set_features() - follow a change of the guest's CPUID
 * @apic:	local APIC
 * @features:	LAPIC_FEATURE_*
 */
void lapic_set_features(struct lapic *apic, u32 features);

/* ---- mode ---- */

/**
 * lapic_enabled() - IA32_APIC_BASE.EN: what CPUID.1:EDX[9] shows
 * @apic:	local APIC; only read
 */
static inline bool lapic_enabled(const struct lapic *apic)
{
	return apic->base & LAPIC_BASE_ENABLED;
}

/**
 * lapic_is_x2apic() - registers are MSRs, the page is gone from the address space
 * @apic:	local APIC; only read
 */
static inline bool lapic_is_x2apic(const struct lapic *apic)
{
	return (~apic->base & (LAPIC_BASE_ENABLED | LAPIC_BASE_X2APIC)) == 0;
}

/**
 * lapic_software_enabled() - bit 8 of the spurious vector register
 * @apic:	local APIC; only read
 */
static inline bool lapic_software_enabled(const struct lapic *apic)
{
	return lapic_reg(apic, LAPIC_SVR) & LAPIC_SVR_ENABLED;
}

/**
 * lapic_mmio_base() - where the register page stands for this vCPU
 * @apic:	local APIC; only read
 *
 * Return: guest-physical address, or all ones if there is none (disabled, or x2APIC).
 */
u64 lapic_mmio_base(const struct lapic *apic);

/**
 * lapic_set_base() - write IA32_APIC_BASE
 * @apic:	local APIC
 * @value:	new value
 * @host:	the owner restores state: reserved bits are still checked, transitions are free
 *
 * Guests may go disabled -> xAPIC -> x2APIC -> disabled, and xAPIC -> disabled ("x2APIC State Transitions").
 * Disabling by the guest resets the registers. May call lapic_ops.rearm and lapic_ops.kick.
 *
 * Return: 0 or LAPIC_FAULT, with nothing changed.
 */
int lapic_set_base(struct lapic *apic, u64 value, bool host);

/* ---- guest access ---- */

/**
 * lapic_read() - guest reads the page
 * @apic:	local APIC (an access to a reserved register is noted for the ESR)
 * @offset:	offset into the page
 * @size:	1, 2, 4 or 8 bytes. Only aligned 32-bit accesses are architectural; others return what lies in
 *		the 16 bytes
 *		of the register, zero beyond
 * @now:	nanoseconds
 *
 * May call lapic_ops.kick (error interrupt). The caller has checked lapic_mmio_base().
 */
u64 lapic_read(struct lapic *apic, u32 offset, unsigned int size, u64 now);

/**
 * lapic_write() - guest writes the page
 * @apic:	local APIC
 * @offset:	offset into the page
 * @size:	bytes; anything but an aligned access of 4 bytes is ignored
 * @value:	value
 * @now:	nanoseconds
 *
 * May call every op.
 */
void lapic_write(struct lapic *apic, u32 offset, unsigned int size, u32 value, u64 now);

/**
 * lapic_msr_read() - guest reads an x2APIC register or IA32_TSC_DEADLINE
 * @apic:	local APIC
 * @msr:	LAPIC_MSR_X2APIC..LAPIC_MSR_X2APIC_LAST, or LAPIC_MSR_TSC_DEADLINE
 * @value:	out
 * @now:	nanoseconds
 *
 * Return: 0 or LAPIC_FAULT (not in x2APIC mode, no such register, write only, other MSR).
 */
int lapic_msr_read(struct lapic *apic, u32 msr, u64 *value, u64 now);

/**
 * lapic_msr_write() - guest writes an x2APIC register or IA32_TSC_DEADLINE
 * @apic:	local APIC
 * @msr:	as for lapic_msr_read()
 * @value:	value
 * @now:	nanoseconds
 *
 * May call every op. A TSC deadline in the past is armed like any other: lapic_ops.rearm follows, and the
 * owner finds that it is time for lapic_timer_expire().
 *
 * Return: 0 or LAPIC_FAULT (not in x2APIC mode, no such register, read only, reserved bits), with nothing
 * changed.
 */
int lapic_msr_write(struct lapic *apic, u32 msr, u64 value, u64 now);

/* ---- processor side ---- */

/**
 * lapic_ppr() - processor priority, from TPR and the highest vector in service
 * @apic:	local APIC; only read
 */
u8 lapic_ppr(const struct lapic *apic);

/**
 * lapic_pending_vector() - the interrupt that the processor should take
 * @apic:	local APIC; only read. Safe without serialisation: the answer is then a hint, and lapic_ack()
 *		decides
 *
 * Return: highest vector in IRR if its class is above that of the PPR, else -1; -1 while globally disabled.
 */
int lapic_pending_vector(const struct lapic *apic);

/**
 * lapic_collect() - take to IRR what was accepted since the last time
 * @apic:	local APIC
 *
 * For an owner with lapic_config.posted, whose page is the processor's while it runs the guest: nobody else writes to it
 * then, and what is accepted waits beside it. Edges the processor fetches by itself. Interrupts whose EOI somebody
 * wants to hear of it must not have before it knows that: these wait for this function, and for what the owner makes of
 * lapic_wants_eoi() after it.
 */
void lapic_collect(struct lapic *apic);

/**
 * lapic_wants_eoi() - does the EOI of a vector matter to anyone but the local APIC?
 * @apic:	local APIC; only read
 * @n:		0 to 7: vectors from 32 * @n on
 *
 * Return: a bit a vector. Of all others the processor may see to the EOI.
 */
u32 lapic_wants_eoi(const struct lapic *apic, unsigned int n);

/**
 * lapic_eoi_done() - the processor has taken a vector out of service by itself: tell whom it concerns
 * @apic:	local APIC
 * @vector:	that it was
 *
 * May call lapic_ops.eoi.
 */
void lapic_eoi_done(struct lapic *apic, u8 vector);

/**
 * lapic_ack() - the processor takes an interrupt
 * @apic:	local APIC
 *
 * Moves the pending vector from IRR to ISR.
 *
 * Return: the vector; the spurious vector, with ISR unchanged, if nothing is pending any more; -1 while
 * globally disabled.
 */
int lapic_ack(struct lapic *apic);

/**
 * lapic_watched() - is this the vector that lapic_config.watch names?
 * @apic:	the local APIC
 * @vector:	its EOI may not be left to a paravirtual bit, then
 */
bool lapic_watched(const struct lapic *apic, u8 vector);

/**
 * lapic_eoi() - end of interrupt, as by a write of the EOI register
 * @apic:	local APIC
 *
 * The seam for a paravirtual EOI. May call lapic_ops.eoi and lapic_ops.kick.
 *
 * Return: the vector that left service, or -1.
 */
int lapic_eoi(struct lapic *apic);

/**
 * lapic_get_tpr() - task priority, 8 bits; CR8 is its bits 7:4
 * @apic:	local APIC; only read
 */
static inline u8 lapic_get_tpr(const struct lapic *apic)
{
	return lapic_reg(apic, LAPIC_TPR);
}

/**
 * lapic_set_tpr() - set the task priority; for CR8 pass cr8 << 4
 * @apic:	local APIC
 * @tpr:	8 bits
 *
 * May call lapic_ops.kick.
 */
void lapic_set_tpr(struct lapic *apic, u8 tpr);

/* ---- wires and the PIC ---- */

/**
 * lapic_set_lint() - level of LINT0 (INTR, from pic_ops.set_output) or LINT1 (NMI)
 * @apic:	local APIC
 * @n:		0 or 1; other numbers are ignored
 * @level:	true is asserted, whatever the polarity programmed
 *
 * Acts as the LVT entry says; while the local APIC is globally disabled, LINT0 is INTR and LINT1 is NMI. May
 * call kick, nmi, init and smi of lapic_ops.
 */
void lapic_set_lint(struct lapic *apic, unsigned int n, bool level);

/**
 * lapic_accepts_pic() - the PIC's INT output reaches the processor through LINT0
 * @apic:	local APIC; only read
 *
 * Return: true if LINT0 is unmasked and ExtINT, or if the local APIC is globally disabled.
 */
bool lapic_accepts_pic(const struct lapic *apic);

/**
 * lapic_extint_pending() - the processor should fetch a vector from the PIC
 * @apic:	local APIC; only read
 *
 * True while LINT0 is high and lapic_accepts_pic(), or after an IRQ_EXTINT message. Such an interrupt goes
 * before lapic_pending_vector() and is subject to EFLAGS.IF but not to the TPR. To take it:
 * lapic_extint_ack(), pic_ack().
 */
bool lapic_extint_pending(const struct lapic *apic);

/**
 * lapic_quiet() - is there surely nothing for the processor to take?
 * @apic:	local APIC; only read
 *
 * The short look, before each entry: what lapic_pending_vector() and lapic_extint_pending() find is not asked for where
 * this is true. It may be false though they find nothing.
 */
static inline bool lapic_quiet(const struct lapic *apic)
{
	return !__atomic_load_n(&apic->requests, __ATOMIC_ACQUIRE) && !__atomic_load_n(&apic->extint, __ATOMIC_ACQUIRE) &&
	       !apic->lint[0] && !apic->config.posted;
}

/**
 * lapic_extint_ack() - the processor runs its INTA cycles
 * @apic:	local APIC
 */
void lapic_extint_ack(struct lapic *apic);

/**
 * lapic_perf_interrupt() - a performance counter overflowed
 * @apic:	local APIC
 *
 * Delivers LVT_PERF and masks it, as the hardware does. May call kick, nmi and smi of lapic_ops.
 */
void lapic_perf_interrupt(struct lapic *apic);

/* ---- messages ---- */

/**
 * lapic_matches() - does a message go to this local APIC
 * @apic:	local APIC; only read
 * @source:	sender of an IPI, or NULL; decides shorthands
 * @msg:	message
 *
 * Return: true if the destination names it. A globally disabled local APIC is never named.
 */
bool lapic_matches(const struct lapic *apic, const struct lapic *source, const struct irq_msg *msg);

/**
 * lapic_accept() - take a message, destination already decided
 * @apic:	local APIC; safe from any thread
 * @msg:	message; delivery, vector and trigger mode count
 *
 * Return: 1, IRQ_COALESCED or IRQ_NOT_DELIVERED.
 */
int lapic_accept(struct lapic *apic, const struct irq_msg *msg);

/**
 * lapic_deliver() - the bus: find the receivers of a message and let them accept it
 * @apics:	all local APICs of the machine, in any order; NULL entries are skipped
 * @n:		entries
 * @source:	sender of an IPI, or NULL
 * @msg:	message
 *
 * IRQ_LOWEST goes to one: software-enabled, with the lowest PPR; among equals to the one that took fewest.
 *
 * Return: number of receivers that accepted; IRQ_COALESCED if it was pending with all of them;
 * IRQ_NOT_DELIVERED if there is none.
 */
int lapic_deliver(struct lapic *const *apics, unsigned int n, const struct lapic *source,
		  const struct irq_msg *msg);

/* ---- timer: lapic-timer.c ---- */

/**
 * lapic_timer_deadline() - when to call lapic_timer_expire()
 * @apic:	local APIC; only read
 *
 * A guest can program periods of a few nanoseconds. Whoever arms a host timer for it bounds the rate: an
 * expiry that is reported late is harmless.
 *
 * Return: absolute time and its clock. It lies in the past only if lapic_timer_expire() was not called in
 * time.
 */
struct lapic_deadline lapic_timer_deadline(const struct lapic *apic);

/**
 * lapic_timer_expire() - let time pass
 * @apic:	local APIC
 * @now:	nanoseconds
 * @tsc:	the guest's TSC at the same moment
 *
 * Delivers LVT_TIMER at most once, however many periods have passed, and steps to the next deadline. May be
 * called early: nothing happens then. May call lapic_ops.kick; does not call lapic_ops.rearm: read
 * lapic_timer_deadline().
 *
 * Return: expiries since the last call, those merged into one included.
 */
u64 lapic_timer_expire(struct lapic *apic, u64 now, u64 tsc);

/**
 * lapic_timer_count() - the current count register
 * @apic:	local APIC; only read
 * @now:	nanoseconds
 */
u32 lapic_timer_count(const struct lapic *apic, u64 now);

/* ---- save and restore ---- */

/**
 * lapic_save() - copy the registers out, current
 * @apic:	local APIC; only read
 * @regs:	out: LAPIC_STATE_SIZE bytes, laid out as struct kvm_lapic_state. The ID register holds all 32
 *		bits in x2APIC mode,
 *		the ICR its destination at LAPIC_ICR_HIGH
 * @now:	nanoseconds
 *
 * Not in there: IA32_APIC_BASE (lapic.base) and IA32_TSC_DEADLINE (lapic.timer.tsc, lapic_msr_read()).
 */
void lapic_save(const struct lapic *apic, void *regs, u64 now);

/**
 * lapic_restore() - take registers over
 * @apic:	local APIC, with its base (mode) already restored
 * @regs:	LAPIC_STATE_SIZE bytes as from lapic_save(); any content is safe. ID and version stay as
 *		configured
 * @now:	nanoseconds; the timer goes on from the current count
 *
 * Calls lapic_ops.rearm and lapic_ops.kick.
 */
void lapic_restore(struct lapic *apic, const void *regs, u64 now);

#endif /* TENON_IRQCHIP_LAPIC_H */
