// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmu.c - segmentation checks, page walks, the software TLB and every access to guest memory
 *
 * Only what the architecture lets a TLB cache is cached: never a not-present translation, and no write entry before the
 * D bit is set. A fault is always found by a fresh walk. Page tables need no write protection.
 */
#include "cpuid.h"
#include "system.h"

/* --- segmentation, SDM vol. 3 "Limit Checking", "Type Checking" --- */

bool x86_seg_check(struct x86_cpu *cpu, enum x86_seg seg, u64 ea, unsigned int size, enum x86_access acc, u64 *lin)
{
	const struct x86_segreg *r = &cpu->s.seg[seg];
	enum x86_vector vec = seg == X86_SS ? X86_EXC_SS : X86_EXC_GP;
	u64 last = ea + size - 1;

	if (unlikely(!(r->attr & X86_ATTR_P)))
		goto fault;
	if (r->attr & X86_ATTR_CODE) {
		if (acc == ACC_WRITE || (acc == ACC_READ && !(r->attr & X86_ATTR_W)))
			goto fault;
	} else if (acc == ACC_WRITE && !(r->attr & X86_ATTR_W)) {
		goto fault;
	}
	if (unlikely((r->attr & (X86_ATTR_CODE | X86_ATTR_E)) == X86_ATTR_E)) {
		u64 top = r->attr & X86_ATTR_DB ? 0xffffffff : 0xffff;

		if (ea <= r->limit || last > top)
			goto fault;
	} else if (unlikely(last > r->limit)) {
		/* A 4 GiB segment has no limit to exceed: offsets wrap. */
		if (r->limit != 0xffffffff)
			goto fault;
	}
	*lin = (u32)(r->base + ea);
	return true;
fault:
	x86_raise_err(cpu, vec, 0);
	return false;
}

/* --- page walk, SDM vol. 3 "Paging" --- */

#define PTE_P		BIT_ULL(0)
#define PTE_W		BIT_ULL(1)
#define PTE_U		BIT_ULL(2)
#define PTE_A		BIT_ULL(5)
#define PTE_D		BIT_ULL(6)
#define PTE_PS		BIT_ULL(7)
#define PTE_G		BIT_ULL(8)
#define PTE_NX		BIT_ULL(63)
#define PTE_ADDR	GENMASK_ULL(51, 12)
#define PTE_KEY_SHIFT	59

struct walk {
	u64 gpa;		/* of the byte asked for */
	u64 rights;		/* PTE_W and PTE_U anded over the levels, PTE_NX ored */
	u8 shift, key;
	bool global, dirty;
	u32 error;		/* page-fault error code when the walk failed */
};

/* A paging-structure entry; what is not RAM reads as all ones and fails the reserved-bit check. */
static u64 entry_read(struct x86_cpu *cpu, u64 gpa, unsigned int size)
{
	const u8 *p = emul_ram(cpu->core.vm, gpa);

	if (!p)
		return size == 4 ? 0xffffffff : ~0ULL;
	return size == 4 ? emul_read32(p) : emul_read64(p);
}

/* Set bits in an entry that was @old; false: it has changed meanwhile. */
static bool entry_set(struct x86_cpu *cpu, u64 gpa, unsigned int size, u64 old, u64 bits)
{
	const struct emul_slot *s = emul_slot_find(cpu->core.vm, gpa);
	u8 *p;
	bool ok;

	if (!s || s->flags & EMUL_MEM_READONLY)
		return true;	/* page tables in ROM: A and D can't be kept */
	p = s->host + (gpa - s->gpa);
	if (size == 4) {
		u32 o = (u32)old;

		ok = __atomic_compare_exchange_n((u32 *)p, &o, (u32)(old | bits), false, __ATOMIC_SEQ_CST,
						 __ATOMIC_SEQ_CST);
	} else {
		ok = __atomic_compare_exchange_n((u64 *)p, &old, old | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	if (ok) {
		emul_mark_dirty(s, gpa, size);
		emul_traced_write(cpu->core.vm, gpa);
		emul_code_invalidate(cpu->core.vm, s, gpa, size);
	}
	return ok;
}

/* One level of the three paging modes' tables. */
struct level {
	u8 shift;		/* lowest address bit that the index of this level selects */
	u8 bits;		/* of index */
	bool leaf_ok;		/* PS may end the walk here */
};

static const struct level levels_legacy[] = { { 22, 10, true }, { 12, 10, true } };
static const struct level levels_pae[] = { { 21, 9, true }, { 12, 9, true } };
static const struct level levels_long[] = { { 39, 9, false }, { 30, 9, true }, { 21, 9, true }, { 12, 9, true } };

/* SDM vol. 3 "Protection Keys": AD forbids data accesses, WD writes, to the supervisor only with CR0.WP. */
static bool key_denies(const struct x86_state *s, unsigned int key, enum x86_tlb_mode mode,
		       enum x86_access acc)
{
	u32 bits = s->pkru >> (2 * key);

	return bits & 1 || (bits & 2 && acc == ACC_WRITE && (mode == TLB_USER || s->cr0 & X86_CR0_WP));
}

/* SDM vol. 3 table "Format of a 32-Bit Page-Directory Entry that Maps a 4-MByte Page": up to 40 address bits by PSE-36 */
static u64 pse36_rsvd(const struct x86_cpu *cpu)
{
	unsigned int bits = x86_cpuid_bit(cpu, CPUID_1_EDX, 17) ? min(x86_maxphyaddr(cpu), 40u) : 32;

	return GENMASK_ULL(21, bits - 19);
}

/*
 * Walk the tables for @lin. @touch: set A, and D for a write. On failure w->error is the page-fault error code.
 */
static bool walk_once(struct x86_cpu *cpu, u64 lin, enum x86_tlb_mode mode, enum x86_access acc, bool touch,
		      struct walk *w, bool *again)
{
	const struct x86_state *s = &cpu->s;
	bool pae = s->cr4 & X86_CR4_PAE, nxe = s->efer & X86_EFER_NXE;
	unsigned int esize = pae ? 8 : 4, n;
	const struct level *l;
	u64 table, phys_rsvd = pae ? PTE_ADDR & ~GENMASK_ULL(x86_maxphyaddr(cpu) - 1, 0) : 0;
	u64 entry = 0, at = 0, set;
	bool user, ok;

	*again = false;
	w->error = (acc == ACC_WRITE ? X86_PF_W : 0) | (mode == TLB_USER ? X86_PF_U : 0) |
		   (acc == ACC_EXEC && (nxe || s->cr4 & X86_CR4_SMEP) ? X86_PF_I : 0);
	w->rights = PTE_W | PTE_U;
	w->global = false;

	if (cpu->long_mode) {
		l = levels_long;
		n = 4;
		table = s->cr3 & PTE_ADDR;
	} else if (pae) {
		l = levels_pae;
		n = 2;
		table = s->pdpte[lin >> 30 & 3];
		if (!(table & PTE_P))
			return false;
		table &= PTE_ADDR;
	} else {
		l = levels_legacy;
		n = 2;
		table = s->cr3 & 0xfffff000;
	}
	if (!nxe && pae)
		phys_rsvd |= PTE_NX;
	/* SDM vol. 3 "PAE Paging": bits 62..52, which 4-level paging ignores or takes for a protection key */
	if (pae && !cpu->long_mode)
		phys_rsvd |= GENMASK_ULL(62, 52);

	for (;; l++, n--) {
		u64 rsvd = phys_rsvd;
		bool leaf = n == 1;

		at = table + ((lin >> l->shift & (BIT_ULL(l->bits) - 1)) * esize);
		entry = entry_read(cpu, at, esize);
		if (!(entry & PTE_P))
			return false;
		if (!leaf && entry & PTE_PS) {
			if (pae || s->cr4 & X86_CR4_PSE) {
				leaf = true;
				/* 1 GiB: CPUID.80000001H:EDX[26] */
				if (!l->leaf_ok || (l->shift == 30 && !x86_cpuid_bit(cpu, CPUID_EXT1_EDX, 26)))
					rsvd |= PTE_PS;
				/* address bits below the page size; bit 12 is PAT */
				rsvd |= pae ? GENMASK_ULL(l->shift - 1, 13) : pse36_rsvd(cpu);
			}
		}
		if (entry & rsvd) {
			w->error |= X86_PF_P | X86_PF_RSVD;
			return false;
		}
		w->rights &= entry | ~(PTE_W | PTE_U);
		w->rights |= pae ? entry & PTE_NX : 0;
		if (leaf)
			break;
		if (touch && !(entry & PTE_A) && !entry_set(cpu, at, esize, entry, PTE_A)) {
			*again = true;
			return false;
		}
		table = pae ? entry & PTE_ADDR : entry & 0xfffff000;
	}

	/* SDM vol. 3 "Determination of Access Rights" */
	user = w->rights & PTE_U;
	if (mode == TLB_USER)
		ok = user && (acc != ACC_WRITE || w->rights & PTE_W);
	else
		ok = (acc != ACC_WRITE || w->rights & PTE_W || !(s->cr0 & X86_CR0_WP)) &&
		     !(user && acc == ACC_EXEC && s->cr4 & X86_CR4_SMEP) &&
		     !(user && acc != ACC_EXEC && mode == TLB_KERNEL && s->cr4 & X86_CR4_SMAP);
	if (acc == ACC_EXEC && w->rights & PTE_NX)
		ok = false;
	w->key = 0;
	if (user && cpu->long_mode && s->cr4 & X86_CR4_PKE) {
		w->key = entry >> PTE_KEY_SHIFT & 15;
		if (acc != ACC_EXEC && key_denies(s, w->key, mode, acc)) {
			w->error |= X86_PF_PK;
			ok = false;
		}
	}
	if (!ok) {
		w->error |= X86_PF_P;
		return false;
	}

	set = PTE_A | (acc == ACC_WRITE ? PTE_D : 0);
	if (touch && (entry & set) != set && !entry_set(cpu, at, esize, entry, set)) {
		*again = true;
		return false;
	}
	w->dirty = (entry | (touch ? set : 0)) & PTE_D;
	w->global = entry & PTE_G && s->cr4 & X86_CR4_PGE;
	w->shift = l->shift;
	if (!pae && l->shift == 22)
		w->gpa = (entry & 0xffc00000) | (entry & GENMASK_ULL(20, 13)) << 19;
	else
		w->gpa = entry & PTE_ADDR & ~(BIT_ULL(l->shift) - 1);
	w->gpa |= lin & (BIT_ULL(l->shift) - 1);
	return true;
}

static bool walk(struct x86_cpu *cpu, u64 lin, enum x86_tlb_mode mode, enum x86_access acc, bool touch, struct walk *w)
{
	bool again;

	if (!(cpu->s.cr0 & X86_CR0_PG)) {
		*w = (struct walk){ .gpa = (u32)lin, .rights = PTE_W | PTE_U, .shift = EMUL_PAGE_SHIFT, .dirty = true };
		return true;
	}
	/* Another vCPU may change an entry between its reading and the setting of A or D: start over, as a processor does. */
	do {
		if (walk_once(cpu, lin, mode, acc, touch, w, &again))
			return true;
	} while (again);
	return false;
}

bool x86_translate(struct x86_cpu *cpu, u64 lin, u64 *gpa)
{
	struct walk w;
	/* Rights don't matter to a debugger: KERNEL_AC reads everything that is present. */
	bool ok = walk(cpu, lin, TLB_KERNEL_AC, ACC_READ, false, &w);

	*gpa = ok ? w.gpa : 0;
	return ok;
}

bool x86_load_pdptes(struct x86_cpu *cpu, u64 cr3)
{
	u64 rsvd = GENMASK_ULL(63, x86_maxphyaddr(cpu)) | GENMASK_ULL(8, 5) | GENMASK_ULL(2, 1), pdpte[4];

	for (unsigned int i = 0; i < 4; i++) {
		pdpte[i] = entry_read(cpu, (cr3 & 0xffffffe0) + i * 8, 8);
		if (pdpte[i] & PTE_P && pdpte[i] & rsvd) {
			x86_gp0(cpu);
			return false;
		}
	}
	memcpy(cpu->s.pdpte, pdpte, sizeof(pdpte));
	return true;
}

/* --- faults --- */

/* SDM vol. 3 "Interrupt 12": stack references fault with #SS. What refers to the stack without a ModRM operand says so. */
static bool stack_reference(const struct x86_cpu *cpu, u64 lin)
{
	const struct uop *u = cpu->u;

	if (!u)
		return false;
	/* PUSH, POP and CALL of memory refer to both. */
	if (u->insn.flags & X86_IF_MEM &&
	    ((u->insn.op != X86_OP_POP && u->insn.op != X86_OP_PUSH && u->insn.op != X86_OP_CALLI) ||
	     lin - (x86_ea(cpu, u) + cpu->lin_base[u->insn.seg]) < 8))
		return u->insn.seg == X86_SS;
	switch (u->insn.op) {
	case X86_OP_PUSH: case X86_OP_POP: case X86_OP_PUSHF: case X86_OP_POPF: case X86_OP_CALL: case X86_OP_CALLI:
	case X86_OP_RET: case X86_OP_ENTER: case X86_OP_LEAVE: case X86_OP_PUSHA: case X86_OP_POPA:
	case X86_OP_PUSH_SEG: case X86_OP_POP_SEG: case X86_OP_IRET: case X86_OP_RETF: case X86_OP_CALLF:
		return true;
	default:
		return false;
	}
}

static bool fault_canonical(struct x86_cpu *cpu, u64 lin)
{
	x86_raise_err(cpu, stack_reference(cpu, lin) ? X86_EXC_SS : X86_EXC_GP, 0);
	return false;
}

static bool fault_page(struct x86_cpu *cpu, u64 lin, u32 error)
{
	cpu->s.cr2 = lin;
	x86_raise_err(cpu, X86_EXC_PF, error);
	return false;
}

/* --- TLB --- */

static struct emul_tlb_entry *tlb_slot(struct x86_cpu *cpu, enum x86_tlb_mode mode, u64 lin)
{
	return &cpu->tlbs[mode].e[emul_tlb_index(lin)];
}

static enum x86_tlb_mode tlb_mode(const struct x86_cpu *cpu)
{
	return cpu->tlb_mode;
}

/* Where an access goes. */
struct place {
	u8 *host;		/* NULL: device memory at gpa */
	u64 gpa;
	const struct emul_slot *slot;
	bool watched;		/* a store must be told to emul_code_invalidate() */
};

/*
 * Translate one byte's page for data access, filling the TLB. Returns false with *error set (0: not canonical).
 */
static bool data_page(struct x86_cpu *cpu, enum x86_tlb_mode mode, u64 lin, enum x86_access acc, struct place *p,
		      u32 *error)
{
	struct emul_tlb_entry *e = tlb_slot(cpu, mode, lin);
	const struct emul_slot *slot;
	struct emul_page *page;
	struct walk w;
	bool watched, fresh;

	*error = 0;
	if (cpu->long_mode && !x86_canonical(lin))
		return false;
	if (!walk(cpu, lin, mode, acc, true, &w)) {
		*error = w.error;
		/* not cached any more, whatever was: a fault invalidates, SDM vol. 3 "Invalidation of TLBs" */
		x86_tlb_drop(cpu, lin);
		return false;
	}
	cpu->core.stats.tlb_fills++;
	slot = emul_slot_find(cpu->core.vm, w.gpa);
	*p = (struct place){ .gpa = w.gpa, .slot = slot };
	if (!slot || (acc == ACC_WRITE && slot->flags & EMUL_MEM_READONLY))
		return true;
	p->host = slot->host + (w.gpa - slot->gpa);
	page = emul_page_find(slot, w.gpa);
	watched = page && atomic_load(&page->active);
	p->watched = watched;
	if (acc == ACC_WRITE)
		emul_mark_dirty(slot, w.gpa, 1);

	fresh = ((e->rtag ^ lin) & EMUL_PAGE_MASK) || e->gfn != w.gpa >> EMUL_PAGE_SHIFT ||
		e->shift != w.shift || e->global != w.global;
	if (fresh) {
		e->wtag = emul_tlb_empty(e);
		e->gfn = (u32)(w.gpa >> EMUL_PAGE_SHIFT);
		e->host = p->host - (lin & ~EMUL_PAGE_MASK);
		e->global = w.global;
		e->shift = w.shift;
		e->rtag = lin & EMUL_PAGE_MASK;
		x86_tlb_filled(cpu, e);
	}
	cpu->pkeys |= BIT(w.key);
	if (acc == ACC_WRITE && !emul_traced_write(cpu->core.vm, w.gpa) && !watched)
		e->wtag = lin & EMUL_PAGE_MASK;
	return true;
}

/* As data_page(), by the TLB if it can. Raises the exception. */
static bool place_for(struct x86_cpu *cpu, enum x86_tlb_mode mode, u64 lin, enum x86_access acc, struct place *p)
{
	const struct emul_tlb_entry *e = tlb_slot(cpu, mode, lin);
	u32 error;

	if ((acc == ACC_WRITE ? e->wtag : e->rtag) == (lin & EMUL_PAGE_MASK)) {
		*p = (struct place){ .host = emul_tlb_host(e, lin),
				     .gpa = (u64)e->gfn << EMUL_PAGE_SHIFT | (lin & ~EMUL_PAGE_MASK) };
		return true;
	}
	if (data_page(cpu, mode, lin, acc, p, &error))
		return true;
	if (error || !cpu->long_mode || x86_canonical(lin))
		return fault_page(cpu, lin, error);
	return fault_canonical(cpu, lin);
}

/* After a store to a page with code. The running block may have been hit: then it ends with this instruction. */
static void stored(struct x86_cpu *cpu, const struct place *p, unsigned int len)
{
	if (!p->watched)
		return;
	emul_code_invalidate(cpu->core.vm, p->slot, p->gpa, len);
	if (cpu->block && atomic_load(&cpu->block->stale))
		emul_request(&cpu->core, EMUL_REQ_STALE);
}

/* A data access succeeded: does it meet a breakpoint? */
static void watched(struct x86_cpu *cpu, u64 lin, unsigned int len, bool write)
{
	if (unlikely(cpu->watch & X86_WATCH_DATA))
		cpu->watch_hits |= (u8)x86_data_breakpoints(cpu, lin, len, write, false);
}

/*
 * Boundary to which an operand of @len bytes must be aligned, SDM vol. 3 "Interrupt 17 - Alignment Check
 * Exception": extended reals and 80-bit operands 8, 48-bit pointers 4, x87 environments and save areas their
 * word size.
 */
static unsigned int natural(unsigned int len)
{
	switch (len) {
	case 14:
	case 94:
		return 2;
	case 6:
	case 28:
	case 108:
		return 4;
	case 10:
		return 8;
	default:
		/* 32 bytes need no more than 16: up to the processor by the SDM, and so on AMD's. */
		return min(len & -len, 16u);
	}
}

/* #AC comes before any fault of the page: what processors do. False: raised. */
static bool aligned(struct x86_cpu *cpu, u64 lin, unsigned int len)
{
	if (likely(!(cpu->watch & X86_WATCH_ALIGN)) || !(lin & (natural(len) - 1)))
		return true;
	x86_raise_err(cpu, X86_EXC_AC, 0);
	return false;
}

/* Linear addresses outside long mode are 32 bits wide and wrap. */
static u64 lin_add(const struct x86_cpu *cpu, u64 lin, unsigned int n)
{
	return cpu->long_mode ? lin + n : (u32)(lin + n);
}

static bool load_bytes(struct x86_cpu *cpu, enum x86_tlb_mode mode, u64 lin, void *buf, unsigned int len)
{
	const u64 first = lin;
	u8 *to = buf;

	while (len) {
		unsigned int n = min(len, (unsigned int)(EMUL_PAGE_SIZE - (lin & ~EMUL_PAGE_MASK)));
		struct place p;

		if (!place_for(cpu, mode, lin, ACC_READ, &p))
			return false;
		if (p.host)
			memcpy(to, p.host, n);
		else
			for (unsigned int i = 0, k; i < n; i += k) {
				k = min(n - i, 64u);
				emul_io(&cpu->core, EMUL_MMIO, p.gpa + i, to + i, k, false);
			}
		to += n;
		len -= n;
		lin = lin_add(cpu, lin, n);
	}
	watched(cpu, first, (unsigned int)(to - (u8 *)buf), false);
	return true;
}

static bool probe(struct x86_cpu *cpu, enum x86_tlb_mode mode, u64 lin, unsigned int len, enum x86_access acc)
{
	while (len) {
		unsigned int n = min(len, (unsigned int)(EMUL_PAGE_SIZE - (lin & ~EMUL_PAGE_MASK)));
		struct place p;

		if (!place_for(cpu, mode, lin, acc, &p))
			return false;
		len -= n;
		lin = lin_add(cpu, lin, n);
	}
	return true;
}

/* @n bytes to one page. */
static void store_place(struct x86_cpu *cpu, const struct place *p, u64 lin, const u8 *from, unsigned int n)
{
	u8 tmp[64];

	if (p->host) {
		if (n == 8 && !(lin & 7))
			emul_write64(p->host, emul_read64(from));
		else if (n == 4 && !(lin & 3))
			emul_write32(p->host, emul_read32(from));
		else if (n == 2 && !(lin & 1))
			emul_write16(p->host, emul_read16(from));
		else
			memcpy(p->host, from, n);
		stored(cpu, p, n);
		return;
	}
	for (unsigned int i = 0, k; i < n; i += k) {
		k = min(n - i, 64u);
		memcpy(tmp, from + i, k);
		emul_io(&cpu->core, EMUL_MMIO, p->gpa + i, tmp, k, true);
	}
}

/*
 * At most two pages. Both are translated before either is written, and not again: another vCPU may take the second one
 * away meanwhile, and an instruction that faults must not have stored its first half.
 */
static bool store_bytes(struct x86_cpu *cpu, enum x86_tlb_mode mode, u64 lin, const void *buf, unsigned int len)
{
	unsigned int n = min(len, (unsigned int)(EMUL_PAGE_SIZE - (lin & ~EMUL_PAGE_MASK)));
	u64 second = lin_add(cpu, lin, n);
	struct place p[2];

	if (!place_for(cpu, mode, lin, ACC_WRITE, &p[0]) || (len > n && !place_for(cpu, mode, second, ACC_WRITE, &p[1])))
		return false;
	store_place(cpu, &p[0], lin, buf, n);
	if (len > n)
		store_place(cpu, &p[1], second, (const u8 *)buf + n, len - n);
	watched(cpu, lin, len, true);
	return true;
}

/* --- the accesses of cpu.h --- */

#define SLOW(bits)											\
bool x86_load_slow##bits(struct x86_cpu *cpu, u64 lin, u##bits *val, bool rmw)				\
{													\
	struct place p;											\
													\
	if (!aligned(cpu, lin, (bits) / 8))								\
		return false;										\
	if ((lin & ~EMUL_PAGE_MASK) + (bits) / 8 > EMUL_PAGE_SIZE)					\
		return (!rmw || probe(cpu, tlb_mode(cpu), lin, (bits) / 8, ACC_WRITE)) &&		\
		       load_bytes(cpu, tlb_mode(cpu), lin, val, (bits) / 8);				\
	if (!place_for(cpu, tlb_mode(cpu), lin, rmw ? ACC_WRITE : ACC_READ, &p))			\
		return false;										\
	if (p.host)											\
		*val = emul_read##bits(p.host);								\
	else												\
		emul_io(&cpu->core, EMUL_MMIO, p.gpa, val, (bits) / 8, false);				\
	watched(cpu, lin, (bits) / 8, false);								\
	return true;											\
}													\
bool x86_store_slow##bits(struct x86_cpu *cpu, u64 lin, u##bits val)					\
{													\
	struct place p;											\
													\
	if (!aligned(cpu, lin, (bits) / 8))								\
		return false;										\
	if ((lin & ~EMUL_PAGE_MASK) + (bits) / 8 > EMUL_PAGE_SIZE)					\
		return store_bytes(cpu, tlb_mode(cpu), lin, &val, (bits) / 8);				\
	if (!place_for(cpu, tlb_mode(cpu), lin, ACC_WRITE, &p))						\
		return false;										\
	watched(cpu, lin, (bits) / 8, true);								\
	if (!p.host) {											\
		emul_io(&cpu->core, EMUL_MMIO, p.gpa, &val, (bits) / 8, true);				\
		return true;										\
	}												\
	emul_write##bits(p.host, val);									\
	stored(cpu, &p, (bits) / 8);									\
	return true;											\
}
SLOW(8)
SLOW(16)
SLOW(32)
SLOW(64)

bool x86_load_bytes(struct x86_cpu *cpu, u64 lin, void *buf, unsigned int len)
{
	return aligned(cpu, lin, len) && load_bytes(cpu, tlb_mode(cpu), lin, buf, len);
}

bool x86_store_bytes(struct x86_cpu *cpu, u64 lin, const void *buf, unsigned int len)
{
	return aligned(cpu, lin, len) && store_bytes(cpu, tlb_mode(cpu), lin, buf, len);
}

bool x86_probe(struct x86_cpu *cpu, u64 lin, unsigned int len, enum x86_access acc)
{
	return aligned(cpu, lin, len) && probe(cpu, tlb_mode(cpu), lin, len, acc);
}

/* Implicit accesses obey SMAP whatever RFLAGS.AC says, SDM vol. 3 "Access Rights". */
bool x86_sys_load(struct x86_cpu *cpu, u64 lin, unsigned int size, u64 *val)
{
	*val = 0;
	return load_bytes(cpu, TLB_KERNEL, lin, val, size);
}

bool x86_sys_store(struct x86_cpu *cpu, u64 lin, unsigned int size, u64 val)
{
	return store_bytes(cpu, TLB_KERNEL, lin, &val, size);
}

bool x86_sys_probe(struct x86_cpu *cpu, u64 lin, unsigned int len, enum x86_access acc)
{
	return probe(cpu, TLB_KERNEL, lin, len, acc);
}

static enum x86_tlb_mode cpl_mode(const struct x86_cpu *cpu, unsigned int cpl)
{
	if (cpl == 3)
		return TLB_USER;
	return cpu->cpl == 3 || tlb_mode(cpu) == TLB_USER ? TLB_KERNEL : tlb_mode(cpu);
}

bool x86_cpl_load(struct x86_cpu *cpu, unsigned int cpl, u64 lin, unsigned int size, u64 *val)
{
	*val = 0;
	return load_bytes(cpu, cpl_mode(cpu, cpl), lin, val, size);
}

bool x86_cpl_store(struct x86_cpu *cpu, unsigned int cpl, u64 lin, unsigned int size, u64 val)
{
	return store_bytes(cpu, cpl_mode(cpu, cpl), lin, &val, size);
}

bool x86_cpl_probe(struct x86_cpu *cpu, unsigned int cpl, u64 lin, unsigned int len, enum x86_access acc)
{
	return probe(cpu, cpl_mode(cpu, cpl), lin, len, acc);
}

void *x86_host_ptr(struct x86_cpu *cpu, u64 lin, unsigned int len, enum x86_access acc)
{
	const struct emul_tlb_entry *e = tlb_slot(cpu, tlb_mode(cpu), lin);
	struct place p;
	u32 error;

	if (cpu->watch & (X86_WATCH_DATA | X86_WATCH_ALIGN) || (lin & ~EMUL_PAGE_MASK) + len > EMUL_PAGE_SIZE)
		return NULL;
	if ((acc == ACC_WRITE ? e->wtag : e->rtag) == (lin & EMUL_PAGE_MASK))
		return emul_tlb_host(e, lin);
	if (!data_page(cpu, tlb_mode(cpu), lin, acc, &p, &error) || (acc == ACC_WRITE && p.watched))
		return NULL;
	return p.host;
}

/* --- instruction fetch --- */

const struct emul_itlb_entry *x86_fetch_page(struct x86_cpu *cpu, u64 lin)
{
	bool user = cpu->cpl == 3;
	struct emul_itlb_entry *e = &cpu->itlb[user][(lin >> EMUL_PAGE_SHIFT) % EMUL_ITLB_SIZE];
	const struct emul_slot *slot;
	struct walk w;

	if (likely(e->tag == (lin & EMUL_PAGE_MASK)))
		return e;
	if (cpu->long_mode && !x86_canonical(lin)) {
		x86_gp0(cpu);
		return NULL;
	}
	if (!walk(cpu, lin, user ? TLB_USER : TLB_KERNEL, ACC_EXEC, true, &w)) {
		fault_page(cpu, lin, w.error);
		return NULL;
	}
	cpu->core.stats.tlb_fills++;
	slot = emul_slot_find(cpu->core.vm, w.gpa);
	*e = (struct emul_itlb_entry){
		.tag = lin & EMUL_PAGE_MASK, .gfn = EMUL_NO_GFN, .shift = w.shift, .global = w.global, .logged = e->logged,
	};
	x86_itlb_filled(cpu, e);
	/* without memory to note code in, too, it is fetched byte by byte, and never cached */
	e->page = slot ? emul_page_get(cpu->core.vm, slot, w.gpa & EMUL_PAGE_MASK) : NULL;
	if (e->page) {
		e->host = slot->host + (e->page->gpa - slot->gpa);
		e->gfn = (u32)(e->page->gpa >> EMUL_PAGE_SHIFT);
	} else {
		e->gpa = w.gpa & EMUL_PAGE_MASK;
	}
	return e;
}
