/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lapic-priv.h - between lapic.c, lapic-bus.c and lapic-timer.c
 */
#ifndef TENON_IRQCHIP_LAPIC_PRIV_H
#define TENON_IRQCHIP_LAPIC_PRIV_H

#include "lapic.h"

#define LAPIC_FIRST_LEGAL_VECTOR	16

static inline void lapic_set_reg(struct lapic *apic, u32 offset, u32 value)
{
	__atomic_store_n(&apic->page->word[offset / 4], value, __ATOMIC_RELAXED);
}

/*
 * ISR, TMR and IRR: 256 bits each, 32 to a register. These four functions are the seam between processors: an
 * interrupt is accepted, from any thread, while the vCPU that owns the local APIC acknowledges another.
 */
static inline u32 *lapic_bit_word(const struct lapic *apic, u32 set, u8 vector)
{
	return &apic->page->word[set / 4 + (vector >> 5) * 4];
}

static inline bool lapic_bit_set(struct lapic *apic, u32 set, u8 vector)
{
	const u32 bit = 1u << (vector & 31);

	return __atomic_fetch_or(lapic_bit_word(apic, set, vector), bit, __ATOMIC_SEQ_CST) & bit;
}

static inline bool lapic_bit_clear(struct lapic *apic, u32 set, u8 vector)
{
	const u32 bit = 1u << (vector & 31);

	return __atomic_fetch_and(lapic_bit_word(apic, set, vector), ~bit, __ATOMIC_SEQ_CST) & bit;
}

static inline bool lapic_bit_test(const struct lapic *apic, u32 set, u8 vector)
{
	return __atomic_load_n(lapic_bit_word(apic, set, vector), __ATOMIC_SEQ_CST) >> (vector & 31) & 1;
}

/* lapic.c */
int lapic_accept_vector(struct lapic *apic, u8 vector, bool level);
void lapic_error(struct lapic *apic, u32 error);
void lapic_local(struct lapic *apic, u32 lvt_offset);

/* lapic-timer.c */
void lapic_timer_stop(struct lapic *apic);
u64 lapic_timer_sync(struct lapic *apic, u64 now);
void lapic_timer_set_count(struct lapic *apic, u32 count, u64 now);
void lapic_timer_set_divide(struct lapic *apic, u32 divide, u64 now);
void lapic_timer_set_lvt(struct lapic *apic, u32 lvt, u64 now);
void lapic_timer_set_tsc(struct lapic *apic, u64 tsc);
void lapic_timer_restored(struct lapic *apic, u32 count, u64 now);

#endif /* TENON_IRQCHIP_LAPIC_PRIV_H */
