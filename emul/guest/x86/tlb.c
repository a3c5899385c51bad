// SPDX-License-Identifier: GPL-2.0-only
/*
 * tlb.c - keeping the software TLB: what was filled, and what flushes drop of it
 *
 * Guests flush far more often than they use the table up (each change of address space does), so a flush must
 * not walk the table: it walks a log of the entries that were filled since the last one. An entry stands in a
 * log once at most, thus the logs have room for all.
 *
 * INVLPG drops a large page whole, and its pieces are anywhere in the table. A hashed set of the large pages
 * seen says if there can be any: mostly there are none, and the one entry of the address itself is all there
 * is to drop.
 */
#include "../../jit/x86-on-x86_64/jit.h"

#define NR_DATA	(TLB_MODES * EMUL_TLB_SIZE)
static_assert(X86_TLB_ENTRIES <= 0xffff, "entries are logged as 16-bit numbers");

static u64 large_bit(u64 lin, unsigned int shift)
{
	u64 hash = ((lin >> shift) + shift) * 0x9e3779b97f4a7c15ULL;

	return hash >> 52;		/* 12 bits: X86_LARGE_BITS */
}

static void log_fill(struct x86_cpu *cpu, unsigned int n, u64 lin, bool global, u8 shift, u8 *logged)
{
	struct x86_tlb_log *log = &cpu->log[global];

	if (!(*logged & BIT(global))) {
		*logged |= BIT(global);
		log->entry[log->nr++] = (u16)n;
	}
	if (shift > EMUL_PAGE_SHIFT) {
		u64 bit = large_bit(lin, shift);

		log->large[bit / 64] |= BIT_ULL(bit % 64);
		log->large_shifts |= BIT_ULL(shift);
	}
}

void x86_tlb_filled(struct x86_cpu *cpu, struct emul_tlb_entry *e)
{
	if (unlikely(cpu->core.vm->cfg.jit == EMUL_JIT_STRESS)) {
		u64 was = cpu->stress_lin;

		cpu->stress_lin = e->rtag;
		if (was != e->rtag)
			x86_tlb_drop(cpu, was);
	}
	log_fill(cpu, (unsigned int)(e - cpu->core.tlb), e->rtag, e->global, e->shift, &e->logged);
}

void x86_itlb_filled(struct x86_cpu *cpu, struct emul_itlb_entry *e)
{
	log_fill(cpu, NR_DATA + (unsigned int)(e - &cpu->itlb[0][0]), e->tag, e->global, e->shift,
		 &e->logged);
}

/* Drop the logged entries of one kind; what has become of the other kind since is in the other log. */
static void flush_log(struct x86_cpu *cpu, bool global)
{
	struct x86_tlb_log *log = &cpu->log[global];

	for (unsigned int i = 0; i < log->nr; i++) {
		unsigned int n = log->entry[i];

		if (n < NR_DATA) {
			struct emul_tlb_entry *e = &cpu->core.tlb[n];

			e->logged &= ~BIT(global);
			if (e->global == global)
				e->rtag = e->wtag = emul_tlb_empty(e);
		} else {
			struct emul_itlb_entry *e = &cpu->itlb[0][0] + (n - NR_DATA);

			e->logged &= ~BIT(global);
			if (e->global == global)
				e->tag = EMUL_TLB_EMPTY;
		}
	}
	log->nr = 0;
	if (log->large_shifts) {
		log->large_shifts = 0;
		memset(log->large, 0, sizeof(log->large));
	}
}

void x86_tlb_flush(struct x86_cpu *cpu, bool global)
{
	flush_log(cpu, false);
	jit_flush(cpu, global);
	if (global) {
		flush_log(cpu, true);
		cpu->pkeys = 0;
	}
}

void x86_tlb_drop(struct x86_cpu *cpu, u64 lin)
{
	for (unsigned int m = 0; m < TLB_MODES; m++) {
		struct emul_tlb_entry *e = &cpu->tlbs[m].e[emul_tlb_index(lin)];

		if (e->rtag == (lin & EMUL_PAGE_MASK))
			e->rtag = e->wtag = emul_tlb_empty(e);
	}
	for (unsigned int m = 0; m < 2; m++) {
		struct emul_itlb_entry *x = &cpu->itlb[m][(lin >> EMUL_PAGE_SHIFT) % EMUL_ITLB_SIZE];

		if (x->tag == (lin & EMUL_PAGE_MASK))
			x->tag = EMUL_TLB_EMPTY;
	}
	jit_flush_page(cpu, lin);
}

/* May an entry of this kind be a piece of a large page that @lin is in? */
static bool large_seen(const struct x86_tlb_log *log, u64 lin)
{
	for (u64 shifts = log->large_shifts; shifts; shifts &= shifts - 1) {
		u64 bit = large_bit(lin, (unsigned int)__builtin_ctzll(shifts));

		if (log->large[bit / 64] >> (bit % 64) & 1)
			return true;
	}
	return false;
}

/* SDM vol. 3 "Operations that Invalidate TLBs": global or not. */
void x86_tlb_flush_page(struct x86_cpu *cpu, u64 lin)
{
	x86_tlb_drop(cpu, lin);
	for (unsigned int g = 0; g < 2; g++) {
		const struct x86_tlb_log *log = &cpu->log[g];

		if (!large_seen(log, lin))
			continue;
		jit_flush(cpu, true);
		for (unsigned int i = 0; i < log->nr; i++) {
			unsigned int n = log->entry[i];

			if (n < NR_DATA) {
				struct emul_tlb_entry *e = &cpu->core.tlb[n];

				if ((e->rtag ^ lin) >> e->shift == 0)
					e->rtag = e->wtag = emul_tlb_empty(e);
			} else {
				struct emul_itlb_entry *e = &cpu->itlb[0][0] + (n - NR_DATA);

				if (e->tag != EMUL_TLB_EMPTY && (e->tag ^ lin) >> e->shift == 0)
					e->tag = EMUL_TLB_EMPTY;
			}
		}
	}
}

/* All entries that hold anything stand in a log. */
void emul_arch_revoke(struct emul_vcpu *vcpu, u64 gpa)
{
	struct x86_cpu *cpu = x86_cpu(vcpu);

	for (unsigned int g = 0; g < 2; g++)
		for (unsigned int i = 0; i < cpu->log[g].nr; i++) {
			unsigned int n = cpu->log[g].entry[i];

			if (n < NR_DATA && cpu->core.tlb[n].gfn == gpa >> EMUL_PAGE_SHIFT)
				cpu->core.tlb[n].wtag = emul_tlb_empty(&cpu->core.tlb[n]);
		}
	jit_revoke(cpu);
}

/* The table was zeroed: 0 is the address of a page. */
void x86_tlb_init(struct x86_cpu *cpu)
{
	for (unsigned int i = 0; i < NR_DATA; i++)
		cpu->core.tlb[i].rtag = cpu->core.tlb[i].wtag = emul_tlb_empty(&cpu->core.tlb[i]);
	for (unsigned int i = 0; i < EMUL_TLB_SIZE; i++)
		cpu->tlb_none.e[i].rtag = cpu->tlb_none.e[i].wtag = emul_tlb_empty(&cpu->tlb_none.e[i]);
	for (unsigned int m = 0; m < 2; m++)
		for (unsigned int i = 0; i < EMUL_ITLB_SIZE; i++)
			cpu->itlb[m][i].tag = EMUL_TLB_EMPTY;
	jit_init(cpu);
}

/* Entries hold rights by the old keys; keys of which no page was seen matter to none. */
void x86_set_pkru(struct x86_cpu *cpu, u32 val)
{
	u32 changed = cpu->s.pkru ^ val;

	cpu->s.pkru = val;
	if (!(cpu->s.cr4 & X86_CR4_PKE))
		return;
	for (unsigned int key = 0; key < 16; key++)
		if (cpu->pkeys >> key & 1 && changed >> (2 * key) & 3) {
			x86_tlb_flush(cpu, true);
			return;
		}
}
