/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cpuid.h - the guest's processor as CPUID tells it, beyond what cpu.h declares for all
 */
#ifndef TENON_X86_CPUID_H
#define TENON_X86_CPUID_H

#include "cpu.h"

/* Registers of CPUID that are made of feature bits. */
enum cpuid_word {
	CPUID_1_ECX, CPUID_1_EDX, CPUID_6_EAX, CPUID_7_EBX, CPUID_7_ECX, CPUID_7_EDX, CPUID_D1_EAX,
	CPUID_EXT1_ECX, CPUID_EXT1_EDX, CPUID_EXT7_EDX, CPUID_EXT8_EBX,
	CPUID_WORDS
};

struct x86_cpuid_table {
	/* answers to what engines ask */
	u64 feats;			/* BIT_ULL(enum x86_feat) */
	u64 cr4_reserved, efer_reserved, xcr0;
	u64 tsc_hz;
	u8 phys_bits;
	bool intel;			/* vendor: GenuineIntel, else AuthenticAMD */
	bool spec_ctrl, tsc_adjust, apic, x2apic, tsc_deadline, xgetbv1;

	/* the leaves */
	u32 word[CPUID_WORDS];
	u32 signature;			/* family, model, stepping */
	u32 max_leaf, max_ext;
	u32 tsc_num, tsc_den;		/* TSC : crystal clock */
	char brand[48];
};

/* CPUID.15H: the crystal clock is the clock of the local APIC's timer as well, SDM vol. 3 "APIC Timer". */
#define X86_CRYSTAL_HZ	1000000000u

static inline bool x86_is_intel(const struct x86_cpu *cpu)
{
	return cpu->cpuid->intel;
}
static inline bool x86_has_spec_ctrl(const struct x86_cpu *cpu)
{
	return cpu->cpuid->spec_ctrl;
}
static inline bool x86_has_tsc_adjust(const struct x86_cpu *cpu)
{
	return cpu->cpuid->tsc_adjust;
}
static inline bool x86_has_xgetbv1(const struct x86_cpu *cpu)
{
	return cpu->cpuid->xgetbv1;
}
/* Names that "+name,-name" may give, in the table's order; NULL: no more. */
const char *x86_cpuid_feature(unsigned int i);
/* A bit of the leaves, as the model has it. */
static inline bool x86_cpuid_bit(const struct x86_cpu *cpu, unsigned int word, unsigned int bit)
{
	return cpu->cpuid->word[word] >> bit & 1;
}
static inline u64 x86_cpuid_tsc_hz(const struct x86_cpu *cpu)
{
	return cpu->cpuid->tsc_hz;
}
/* Does this processor have the local APIC register @msr? */
bool x86_apic_msr_ok(const struct x86_cpu *cpu, u32 msr);

/* Power-up state, or with @init that after INIT (reset.c). */
void x86_reset(struct x86_cpu *cpu, bool init);

#endif /* TENON_X86_CPUID_H */
