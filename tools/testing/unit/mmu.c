// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmu - page walks, access rights, A/D bits, TLB maintenance, code pages
 *
 * Oracle: a second walker, written here straight from SDM vol. 3 "Paging" as a table of levels for each mode without
 * caching anything; random page tables, addresses and control bits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../../../emul/guest/x86/cpu.h"
#include "tap.h"

#define RAM_SIZE	(16u << 20)
#define POOL_PAGES	64u		/* pages from which random tables are made */
#define RAM_TOP_PAGE	(RAM_SIZE >> 12)

static u8 *ram;
static struct emul_vm *vm;
static struct x86_cpu *cpu;
static u64 rng_state;
static u64 mmio_reads, mmio_writes, mmio_addr, mmio_last, *unmapped_by_device;

static u64 rnd(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

/* --- an embedder that has nothing --- */

static void op_access(void *o, struct emul_vcpu *v, enum emul_space space, u64 addr, void *data, unsigned int len, bool write)
{
	(void)o; (void)v; (void)space;
	mmio_addr = addr;
	if (write) {
		if (unmapped_by_device)
			*unmapped_by_device = 0;
		mmio_writes++;
		mmio_last = 0;
		memcpy(&mmio_last, data, min(len, 8u));
	} else {
		mmio_reads++;
		memset(data, 0xa5, len);
	}
}
static int op_ack(void *o, struct emul_vcpu *v) { (void)o; (void)v; return -1; }
static bool op_pending(void *o, struct emul_vcpu *v) { (void)o; (void)v; return false; }
static u8 op_tpr(void *o, struct emul_vcpu *v) { (void)o; (void)v; return 0; }
static void op_set_tpr(void *o, struct emul_vcpu *v, u8 t) { (void)o; (void)v; (void)t; }
static bool op_rdmsr(void *o, struct emul_vcpu *v, u32 m, u64 *x) { (void)o; (void)v; (void)m; *x = 0; return false; }
static bool op_wrmsr(void *o, struct emul_vcpu *v, u32 m, u64 x) { (void)o; (void)v; (void)m; (void)x; return false; }
static u64 op_tsc(void *o, struct emul_vcpu *v) { (void)o; (void)v; return 0; }

static const struct emul_ops ops = {
	.access = op_access, .intr_ack = op_ack, .intr_pending = op_pending, .tpr_get = op_tpr, .tpr_set = op_set_tpr,
	.msr_read = op_rdmsr, .msr_write = op_wrmsr, .tsc = op_tsc,
};

/* --- the second walker --- */

struct want {
	bool ok;
	u32 error;
	u64 gpa;
	u64 entry_at[4];	/* where A (and D in the last) must be set */
	unsigned int nr;
};

static u64 phys(u64 gpa, unsigned int size)
{
	u64 v = 0;

	if (gpa + size > RAM_SIZE)
		return ~0ULL;
	memcpy(&v, ram + gpa, size);
	return v;
}

enum paging { PAGING_LEGACY, PAGING_PAE, PAGING_LONG };

static struct want model(enum paging pg, u64 lin, bool user, bool ac, enum x86_access acc)
{
	const struct x86_state *s = &cpu->s;
	unsigned int maxphy = x86_maxphyaddr(cpu);
	bool nxe = s->efer & X86_EFER_NXE, w = true, u = true, nx = false, fault, pk;
	struct want r = { 0 };
	u64 table, e;
	u32 key;

	r.error = (acc == ACC_WRITE) * 2 + user * 4 + (acc == ACC_EXEC && (nxe || s->cr4 & X86_CR4_SMEP)) * 16;
	if (pg == PAGING_LEGACY) {
		r.entry_at[0] = (s->cr3 & 0xfffff000) + (lin >> 22 & 1023) * 4;
		e = phys(r.entry_at[0], 4) & 0xffffffff;
		if (!(e & 1))
			return r;
		w &= e >> 1 & 1;
		u &= e >> 2 & 1;
		r.nr = 1;
		if (e & 0x80 && s->cr4 & X86_CR4_PSE) {
			if (e & 1 << 21)
				goto rsvd;
			r.gpa = (e & 0xffc00000) | (e >> 13 & 0xff) << 32 | (lin & 0x3fffff);
		} else {
			r.entry_at[1] = (e & 0xfffff000) + (lin >> 12 & 1023) * 4;
			e = phys(r.entry_at[1], 4) & 0xffffffff;
			if (!(e & 1))
				return r;
			w &= e >> 1 & 1;
			u &= e >> 2 & 1;
			r.nr = 2;
			r.gpa = (e & 0xfffff000) | (lin & 0xfff);
		}
	} else {
		int level = pg == PAGING_LONG ? 4 : 2;

		table = pg == PAGING_LONG ? s->cr3 & 0x000ffffffffff000ULL : s->pdpte[lin >> 30 & 3];
		if (pg == PAGING_PAE) {
			if (!(table & 1))
				return r;
			table &= 0x000ffffffffff000ULL;
		}
		for (;; level--) {
			unsigned int shift = 12 + 9 * ((unsigned int)level - 1);

			r.entry_at[r.nr] = table + (lin >> shift & 511) * 8;
			e = phys(r.entry_at[r.nr], 8);
			if (!(e & 1))
				return r;
			r.nr++;
			if (e >> maxphy & ((1ULL << (52 - maxphy)) - 1))
				goto rsvd;
			if (e >> 63 && !nxe)
				goto rsvd;
			if (pg == PAGING_PAE && e >> 52 & 0x7ff)
				goto rsvd;
			if (e & 0x80 && level == 4)
				goto rsvd;
			if (e & 0x80 && level > 1 && (e & 0x000fffffffffffffULL & ((1ULL << shift) - 1)) >> 13)
				goto rsvd;
			w &= e >> 1 & 1;
			u &= e >> 2 & 1;
			nx |= e >> 63;
			if (level == 1 || e & 0x80) {
				u64 mask = (1ULL << shift) - 1;

				r.gpa = (e & 0x000ffffffffff000ULL & ~mask) | (lin & mask);
				break;
			}
			table = e & 0x000ffffffffff000ULL;
		}
	}
	if (user)
		fault = !u || (acc == ACC_WRITE && !w) || (acc == ACC_EXEC && nx);
	else if (acc == ACC_EXEC)
		fault = nx || (u && s->cr4 & X86_CR4_SMEP);
	else
		fault = (acc == ACC_WRITE && !w && s->cr0 & X86_CR0_WP) || (u && s->cr4 & X86_CR4_SMAP && !ac);
	/* Protection Keys: user pages, data accesses */
	key = pg == PAGING_LONG && s->cr4 & X86_CR4_PKE ? s->pkru >> (2 * (e >> 59 & 15)) & 3 : 0;
	pk = u && acc != ACC_EXEC &&
	     (key & 1 || (key & 2 && acc == ACC_WRITE && (user || s->cr0 & X86_CR0_WP)));
	if (fault || pk) {
		r.error |= 1 | pk << 5;
		return r;
	}
	r.ok = true;
	return r;
rsvd:
	r.error |= 9;
	return r;
}

/* --- random tables: entries point into a small pool of pages, so that walks often succeed --- */

static void random_tables(enum paging pg)
{
	for (unsigned int p = 1; p < POOL_PAGES; p++)
		for (unsigned int i = 0; i < 4096; i += pg == PAGING_LEGACY ? 4 : 8) {
			u64 e = (rnd() % (POOL_PAGES - 1) + 1) << 12 | 7;

			if (rnd() % 8 == 0)	/* a page of data, or beyond memory */
				e = (rnd() % (RAM_TOP_PAGE + 64)) << 12 | 7;
			if (rnd() % 4 == 0)
				e &= ~(1ULL << rnd() % 3);
			if (rnd() % 8 == 0)
				e |= 0x80;
			if (rnd() % 4 == 0)
				e |= rnd() & 0x160;
			if (pg != PAGING_LEGACY && rnd() % 8 == 0)
				e |= 1ULL << 63;
			if (pg == PAGING_LONG)
				e |= rnd() & 0x7ff0000000000000ULL;
			if (pg == PAGING_PAE && rnd() % 64 == 0)
				e |= 1ULL << (52 + rnd() % 11);
			if (pg != PAGING_LEGACY && rnd() % 64 == 0)
				e |= 1ULL << (x86_maxphyaddr(cpu) + rnd() % (52 - x86_maxphyaddr(cpu)));
			if (e & 0x80 && rnd() % 2)
				e &= ~0x1fe000ULL;
			memcpy(ram + p * 4096 + i, &e, pg == PAGING_LEGACY ? 4 : 8);
		}
}

static void set_paging(enum paging pg)
{
	struct x86_state *s = &cpu->s;

	s->cr0 = X86_CR0_PE | X86_CR0_PG | (rnd() & 1 ? X86_CR0_WP : 0);
	s->cr4 = (pg ? X86_CR4_PAE : 0) | (rnd() & (X86_CR4_PSE | X86_CR4_PGE | X86_CR4_SMEP | X86_CR4_SMAP));
	if (pg == PAGING_LONG)
		s->cr4 |= rnd() & X86_CR4_PKE;
	s->efer = (pg && rnd() & 3 ? X86_EFER_NXE : 0) | (pg == PAGING_LONG ? X86_EFER_LMA | X86_EFER_LME : 0);
	s->cr3 = (rnd() % (POOL_PAGES - 1) + 1) << 12;
	for (unsigned int i = 0; i < 4; i++)
		s->pdpte[i] = (rnd() % (POOL_PAGES - 1) + 1) << 12 | (rnd() % 8 != 0);
	s->seg[X86_CS].attr = (u16)(X86_ATTR_P | X86_ATTR_S | X86_ATTR_CODE | (pg == PAGING_LONG ? X86_ATTR_L : X86_ATTR_DB));
}

static void set_cpl(bool user, bool ac)
{
	struct x86_state *s = &cpu->s;
	u16 dpl = user ? 3 << X86_ATTR_DPL_SHIFT : 0;

	s->seg[X86_CS].attr = (u16)((s->seg[X86_CS].attr & ~0x60) | dpl);
	s->seg[X86_SS].attr = (u16)(X86_ATTR_P | X86_ATTR_S | X86_ATTR_W | X86_ATTR_DB | dpl);
	s->seg[X86_CS].sel = s->seg[X86_SS].sel = user ? 3 : 0;
	s->rflags = X86_FLAG1 | (ac ? X86_AC : 0);
	x86_mode_changed(cpu);
}

static u64 random_lin(enum paging pg)
{
	u64 lin = rnd() & 0xffffffff;

	if (pg == PAGING_LONG)
		lin = (u64)((s64)(rnd() << 16) >> 16);
	return lin & ~7ULL;	/* within a page */
}

static bool entries_touched(const struct want *w, enum paging pg, enum x86_access acc)
{
	for (unsigned int i = 0; i < w->nr; i++) {
		u64 e = phys(w->entry_at[i], pg == PAGING_LEGACY ? 4 : 8);

		if (!(e & 0x20))
			return false;
		if (i == w->nr - 1 && acc == ACC_WRITE && !(e & 0x40))
			return false;
	}
	return true;
}

static void test_walks(enum paging pg, const char *name, unsigned int rounds)
{
	unsigned int bad = 0, good = 0, faults = 0, devices = 0;

	for (unsigned int round = 0; round < rounds; round++) {
		random_tables(pg);
		set_paging(pg);
		x86_tlb_flush(cpu, true);
		for (unsigned int i = 0; i < 400; i++) {
			bool user = rnd() & 1, ac = rnd() & 1, ok;
			enum x86_access acc = rnd() % 3;
			u64 lin = random_lin(pg), val = 0;
			struct want w;

			if (rnd() % 32 == 0)
				x86_set_pkru(cpu, (u32)rnd() & (u32)rnd() & (u32)rnd());
			if (rnd() % 64 == 0) {
				/* other entries: without global pages MOV to CR3 is enough */
				u64 at = 0x1000 + rnd() % ((POOL_PAGES - 1) << 12),
				    from = 0x1000 + rnd() % ((POOL_PAGES - 1) << 12);

				memcpy(ram + (at & ~7ULL), ram + (from & ~7ULL), 8);
				x86_tlb_flush(cpu, cpu->s.cr4 & X86_CR4_PGE);
			}
			set_cpl(user, ac);
			w = model(pg, lin, user, ac, acc);
			cpu->exc = (struct x86_exc){ 0 };
			cpu->s.cr2 = ~lin;
			/* twice: the second time from the TLB */
			for (unsigned int again = 0; again < 2; again++) {
				if (acc == ACC_EXEC) {
					const struct emul_itlb_entry *e = x86_fetch_page(cpu, lin);

					ok = e;
					if (e && (e->page ? (u64)e->gfn << 12 : e->gpa) != (w.gpa & ~0xfffULL))
						bad++;
				} else if (acc == ACC_READ) {
					ok = x86_load64(cpu, lin, &val);
					if (ok && w.ok && w.gpa < RAM_SIZE && val != phys(w.gpa, 8))
						bad++;
					if (ok && w.ok && w.gpa >= RAM_SIZE) {
						devices++;
						bad += mmio_addr != w.gpa || val != 0xa5a5a5a5a5a5a5a5ULL;
					}
				} else {
					/* leave the tables alone: write what is there */
					val = w.ok && w.gpa < RAM_SIZE ? phys(w.gpa, 8) : 0;
					ok = x86_probe(cpu, lin, 8, ACC_WRITE);
					if (ok && w.ok && w.gpa < RAM_SIZE) {
						u64 now = phys(w.gpa, 8);	/* A and D may be in that very word */

						ok = x86_store64(cpu, lin, now);
					}
				}
				if (ok != w.ok)
					bad++;
				if (!ok && !w.ok) {
					faults++;
					if (cpu->exc.vector != X86_EXC_PF || cpu->exc.error != w.error || cpu->s.cr2 != lin)
						bad++;
				}
			}
			if (w.ok) {
				good++;
				if (!entries_touched(&w, pg, acc))
					bad++;
			}
		}
	}
	ok(!bad && good && faults, "%s: %u walks agree (%u succeed, %u faults, %u device accesses), SDM \"Paging\"", name,
	   rounds * 400, good, faults, devices);
}

/* --- what a TLB may and may not keep --- */

static u64 *pte_of(u64 lin)	/* identity set-up of test_tlb(): one table for 2 MiB */
{
	return (u64 *)(ram + 0x4000) + (lin >> 12 & 511);
}

static void simple_map(void)
{
	u64 *pml4 = (u64 *)(ram + 0x1000), *pdpt = (u64 *)(ram + 0x2000), *pd = (u64 *)(ram + 0x3000);

	memset(ram + 0x1000, 0, 0x4000);
	pml4[0] = 0x2007;
	pdpt[0] = 0x3007;
	pd[0] = 0x4007;
	pd[1] = 0x200087;	/* 2 MiB page at 2 MiB */
	for (u64 i = 0; i < 512; i++)
		*pte_of(i << 12) = i << 12 | 7;
	set_paging(PAGING_LONG);
	cpu->s.cr0 |= X86_CR0_WP;
	cpu->s.cr4 = X86_CR4_PAE | X86_CR4_PGE;
	cpu->s.cr3 = 0x1000;
	set_cpl(false, false);
	x86_tlb_flush(cpu, true);
}

static void test_tlb(void)
{
	u64 v;

	simple_map();
	ram[0x10000] = 1;
	ram[0x20000] = 2;
	x86_load64(cpu, 0x10000, &v);
	*pte_of(0x10000) = 0x20007;
	x86_tlb_flush_page(cpu, 0x10000);
	x86_load64(cpu, 0x10000, &v);
	ok((u8)v == 2, "INVLPG of a 4 KiB page, SDM \"Invalidation of TLBs and Paging-Structure Caches\"");

	/* a piece of a 2 MiB page: INVLPG anywhere in it drops all */
	ram[0x200000] = 3;
	ram[0x400000] = 4;
	x86_load64(cpu, 0x200000, &v);
	((u64 *)(ram + 0x3000))[1] = 0x400087;
	x86_tlb_flush_page(cpu, 0x3ff000);
	x86_load64(cpu, 0x200000, &v);
	ok((u8)v == 4, "INVLPG of another 4 KiB of a 2 MiB page");

	/* a 1 GiB page, read in one 2 MiB of it and dropped through another; global ones too */
	for (u64 g = 0; g <= 0x100; g += 0x100) {
		((u64 *)(ram + 0x2000))[1] = 0x87 | g;
		ram[0x234000] = 5;
		x86_load64(cpu, 0x40234000, &v);
		((u64 *)(ram + 0x2000))[1] = 0;
		x86_tlb_flush_page(cpu, 0x7fffffff);
		ok(!x86_load64(cpu, 0x40234000, &v), "INVLPG elsewhere in a%s 1 GiB page",
		   g ? " global" : "");
	}

	/* global entries survive MOV to CR3, others don't */
	*pte_of(0x30000) = 0x10107;
	*pte_of(0x31000) = 0x10007;
	x86_load64(cpu, 0x30000, &v);
	x86_load64(cpu, 0x31000, &v);
	*pte_of(0x30000) = 0x20107;
	*pte_of(0x31000) = 0x20007;
	x86_tlb_flush(cpu, false);
	x86_load64(cpu, 0x31000, &v);
	ok((u8)v == 2, "a flush without global pages drops the others");
	x86_load64(cpu, 0x30000, &v);
	ok((u8)v == 1, "and keeps the global one");
	x86_tlb_flush(cpu, true);
	x86_load64(cpu, 0x30000, &v);
	ok((u8)v == 2, "until everything is flushed");

	/* an entry that turns global between two flushes, and back */
	*pte_of(0x32000) = 0x10007;
	x86_load64(cpu, 0x32000, &v);
	*pte_of(0x32000) = 0x10107;
	x86_tlb_flush_page(cpu, 0x32000);
	x86_load64(cpu, 0x32000, &v);
	*pte_of(0x32000) = 0x20007;
	x86_tlb_flush(cpu, false);
	x86_load64(cpu, 0x32000, &v);
	ok((u8)v == 1, "turned global: kept by the flush");
	x86_tlb_flush_page(cpu, 0x32000);
	x86_load64(cpu, 0x32000, &v);
	*pte_of(0x32000) = 0x10007;
	x86_tlb_flush(cpu, false);
	x86_load64(cpu, 0x32000, &v);
	ok((u8)v == 1, "no longer global: dropped");

	/* protection keys: rights change with PKRU alone, SDM "Protection Keys" */
	cpu->s.cr4 |= X86_CR4_PKE;
	*pte_of(0x33000) = 0x33007 | 5ULL << 59;
	set_cpl(true, false);
	x86_set_pkru(cpu, 0);
	ok(x86_store64(cpu, 0x33000, 1), "key 5 allowed");
	x86_set_pkru(cpu, 2u << 10);
	ok(x86_load64(cpu, 0x33000, &v) && !x86_store64(cpu, 0x33000, 1) &&
		   cpu->exc.error == (X86_PF_P | X86_PF_W | X86_PF_U | X86_PF_PK),
	   "WD: reads go, writes fault with PK");
	x86_set_pkru(cpu, 1u << 10);
	ok(!x86_load64(cpu, 0x33000, &v) && cpu->exc.error == (X86_PF_P | X86_PF_U | X86_PF_PK),
	   "AD: reads fault");
	ok(x86_fetch_page(cpu, 0x33000), "fetches don't");
	x86_set_pkru(cpu, 0);
	cpu->s.cr4 &= ~(u64)X86_CR4_PKE;
	set_cpl(false, false);

	/* not present is never cached */
	*pte_of(0x40000) = 0;
	ok(!x86_load64(cpu, 0x40000, &v), "not present faults");
	*pte_of(0x40000) = 0x20007;
	ok(x86_load64(cpu, 0x40000, &v) && (u8)v == 2, "and needs no INVLPG once present");

	/* dirty: a page read first still gets its D bit with the first write */
	*pte_of(0x50000) = 0x50007;
	x86_load64(cpu, 0x50000, &v);
	ok(!(*pte_of(0x50000) & 0x40), "a read leaves D clear");
	x86_store64(cpu, 0x50000, 9);
	ok(*pte_of(0x50000) & 0x40, "the first write sets D");

	/* a write to a read-only page faults though reads are cached */
	*pte_of(0x60000) = 0x60005;
	x86_load64(cpu, 0x60000, &v);
	ok(!x86_store64(cpu, 0x60000, 1) && cpu->exc.error == (X86_PF_P | X86_PF_W), "write protection with the read cached");

	/* page crossing: nothing is written when the second page faults */
	*pte_of(0x71000) = 0;
	memset(ram + 0x70ff8, 0, 8);
	ok(!x86_store64(cpu, 0x70ffc, ~0ULL) && cpu->s.cr2 == 0x71000, "a crossing store faults with CR2 on the second page");
	ok(phys(0x70ff8, 8) == 0, "and has written nothing");

	/*
	 * Another vCPU unmaps the second page between the halves (here the device behind the first does): both halves are
	 * stored nevertheless, for the translations have been made.
	 */
	*pte_of(0x72000) = (RAM_SIZE + 0x1000) | 7;
	*pte_of(0x73000) = (RAM_SIZE + 0x2000) | 7;
	unmapped_by_device = pte_of(0x73000);
	mmio_writes = 0;
	ok(x86_store64(cpu, 0x72ffc, 0x1122334455667788) && mmio_writes == 2 && mmio_addr == RAM_SIZE + 0x2000 &&
		   !*pte_of(0x73000),
	   "a crossing store whose second page goes away in the middle");
	unmapped_by_device = NULL;

	ok(!x86_load64(cpu, 0x800000000000ULL, &v) && cpu->exc.vector == X86_EXC_GP, "non-canonical: #GP");
}

static void test_code_pages(void)
{
	const struct emul_slot *slot = emul_slot_find(vm, 0x80000);
	struct emul_page *page;
	u8 *arena;

	simple_map();
	x86_store64(cpu, 0x80000, 0);
	ok(x86_host_ptr(cpu, 0x80000, 8, ACC_WRITE), "a data page is written directly");
	page = emul_page_get(vm, slot, 0x80000);
	emul_world_enter(&cpu->core);
	arena = emul_code_begin(&cpu->core, page, 256);
	*(struct emul_block *)arena = (struct emul_block){ .off = 0x100, .end = 0x110 };
	emul_code_claim(page, 0x100, 0x10);
	emul_code_insert(vm, page, (struct emul_block *)arena, 256);
	emul_code_end(vm);
	emul_world_leave(&cpu->core);
	ok(!x86_host_ptr(cpu, 0x80000, 8, ACC_WRITE), "a page with code has no write entry");
	x86_store64(cpu, 0x80800, 1);
	ok(emul_code_find(page, 0x100, 0), "a store beside the code keeps it");
	x86_store8(cpu, 0x8010f, 1);
	ok(!emul_code_find(page, 0x100, 0), "a store into the code drops it");
	ok(x86_store64(cpu, 0x80000, 0) && x86_host_ptr(cpu, 0x80000, 8, ACC_WRITE), "without code it is a data page again");
}

int main(int argc, char **argv)
{
	const struct emul_config cfg = { .max_vcpus = 1, .tsc_hz = 1000000000 };
	u64 seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	unsigned int rounds = argc > 2 ? (unsigned int)strtoul(argv[2], NULL, 0) : 300;
	char err[200] = "";

	printf("# seed %llu (argument 1), %u rounds (argument 2)\n", (unsigned long long)seed, rounds);
	rng_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	vm = emul_vm_create(&cfg, &ops, NULL, err, sizeof(err));
	if (!vm || emul_mem_add(vm, 0, RAM_SIZE, ram, 0)) {
		printf("Bail out! %s\n", err);
		return 1;
	}
	cpu = x86_cpu(emul_vcpu_create(vm, 0, NULL));

	test_walks(PAGING_LEGACY, "32-bit paging", rounds);
	test_walks(PAGING_PAE, "PAE paging", rounds);
	test_walks(PAGING_LONG, "4-level paging", rounds);
	test_tlb();
	test_code_pages();
	emul_vm_destroy(vm);
	return tap_done();
}
