// SPDX-License-Identifier: GPL-2.0-only
/*
 * block.c - from bytes to blocks of uops
 *
 * A block lies in one page, starts where control arrived and ends at a branch, at the end of the page or before an
 * instruction that crosses it. It is found by guest-physical page, offset and mode, so every mapping of a page and every
 * vCPU shares it; anything virtual (rip) is relative to the page: state.gpr[X86_REG_RIP].
 *
 * An instruction that crosses a page belongs to two mappings at once and is in no page's chain. Each vCPU keeps a few,
 * checked against the bytes at every use. One that is met often is translated: then the jump cache leads to it, as long as
 * both pages are mapped where they were, and a part of it stands in either page's chain, so that a store to its bytes is
 * noticed.
 */
#include <stdlib.h>

#include "../../jit/x86-on-x86_64/jit.h"
#include "block.h"
#include "flags.h"

/* --- handlers that stand in for instructions --- */

static int uop_ud(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	return x86_ud(cpu);
}

static int uop_gp(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	return x86_gp0(cpu);
}

/* Behind the last instruction of a block that ends in no branch: the loop goes on at this address. */
int x86_uop_end(struct x86_cpu *cpu, const struct uop *u)
{
	cpu->s.rip = x86_this_rip(cpu, u);
	return X86_JUMP;
}

static void end_uop(struct uop *u, unsigned int off, unsigned int idx)
{
	*u = (struct uop){ .fn = x86_uop_end, .off = (u16)off, .idx = (u16)idx };
}

/* --- what core asks --- */

void emul_arch_blocks_gone(struct emul_vm *vm)
{
	jit_reset(vm);
}

void emul_arch_block_stale(struct emul_block *b)
{
	jit_stale(b);
}

void x86_check_feature(struct x86_cpu *cpu, struct x86_insn *insn)
{
	const struct x86_row *row = &x86_rows[insn->row];
	enum x86_feat feat = row->flags & X86_RF_L1_AVX2 && insn->flags & X86_IF_L ? X86_FEAT_AVX2 : row->feat;

	if (insn->op == X86_OP_INVALID || x86_has(cpu, feat))
		return;
	switch (insn->op) {
	case X86_OP_TZCNT:
		insn->op = X86_OP_BSF;
		break;
	case X86_OP_LZCNT:
		insn->op = X86_OP_BSR;
		break;
	case X86_OP_PREFETCH:
		break;
	default:
		insn->op = X86_OP_INVALID;
	}
}

/* Turn a decoded instruction at page offset @off into a uop. */
static void make_uop(struct x86_cpu *cpu, struct uop *u, enum x86_decode_result res, unsigned int off)
{
	struct x86_insn *insn = &u->insn;

	u->off = (u16)off;
	if (res == X86_DECODE_TOO_LONG) {
		u->fn = uop_gp;
		return;
	}
	if (res == X86_DECODE_OK)
		x86_check_feature(cpu, insn);
	if (x86_rows[insn->row].flags & X86_RF_NOREAL && !x86_protected(cpu))
		insn->op = X86_OP_INVALID;
	if (res != X86_DECODE_OK || insn->op == X86_OP_INVALID) {
		u->fn = uop_ud;
		return;
	}
	if (insn->flags & X86_IF_MEM && insn->base == X86_REG_RIP)
		insn->disp += off + insn->len;
	interp_bind(u);
}

static bool ends_block(const struct uop *u)
{
	if (u->insn.op == X86_OP_JCC)	/* not taken, it goes on in line */
		return false;
	return u->fn == uop_ud || u->fn == uop_gp || x86_rows[u->insn.row].flags & X86_RF_BRANCH;
}

/* --- instructions that cross a page --- */

#define CROSSINGS 64

/* In the arena: shared and translated. */
struct crossing_code {
	struct emul_block part[2];
	struct x86_block block;
	struct uop uop[2];
};
static_assert(!(offsetof(struct crossing_code, block) & 15), "jit_site()");
static_assert(X86_BLOCK_SIZE(1) <= sizeof(struct x86_block), "room for the length of one instruction");

struct crossing {
	u64 lin;
	u32 mode;
	u8 len, bytes[X86_INSN_MAX];
	u16 hits;
	struct crossing_code *code;
	const struct emul_page *page[2];	/* of the code; while the arena is of this epoch */
	unsigned int epoch;
	struct x86_block block;
	struct uop uop[2];
};

struct x86_crossing {
	struct crossing c[CROSSINGS];
	struct uop spare[X86_BLOCK_MAX + 1];	/* x86_block_decode() */
};

bool x86_crossing_init(struct x86_cpu *cpu)
{
	cpu->crossing = calloc(1, sizeof(*cpu->crossing));
	return cpu->crossing;
}

void x86_crossing_free(struct x86_cpu *cpu)
{
	free(cpu->crossing);
}

static void fetch_byte(struct x86_cpu *cpu, const struct emul_itlb_entry *e, unsigned int off, u8 *to)
{
	if (e->page)
		*to = emul_read8(e->host + off);
	else
		emul_io(&cpu->core, EMUL_MMIO, e->gpa + off, to, 1, false);
}

/* Does the instruction last seen at @lin cross the page's end? crossing_get() looks whether it is still there. */
static bool crossing_known(const struct x86_cpu *cpu, u64 lin, unsigned int off, u32 mode)
{
	const struct crossing *c = &cpu->crossing->c[(lin ^ lin >> EMUL_PAGE_SHIFT) % CROSSINGS];

	return c->lin == lin && c->mode == mode && off + c->len > EMUL_PAGE_SIZE;
}

static bool activate(struct x86_cpu *cpu, struct emul_page *page, size_t room)
{
	emul_code_begin(&cpu->core, page, room);
	emul_code_end(cpu->core.vm);
	return atomic_load(&page->active);
}

/* Translate @c, whose bytes are those at the ends of two pages, if they still are. */
static void crossing_translate(struct x86_cpu *cpu, struct crossing *c, const struct emul_itlb_entry *first,
			       const struct emul_itlb_entry *second, unsigned int off)
{
	const unsigned int head = (unsigned int)EMUL_PAGE_SIZE - off, tail = c->len - head;
	struct emul_vm *vm = cpu->core.vm;
	struct crossing_code *code;

	if (!activate(cpu, second->page, sizeof(*code)))
		return;
	code = emul_code_begin(&cpu->core, first->page, sizeof(*code));
	emul_code_claim(first->page, off, head);
	emul_code_claim(second->page, 0, tail);
	if (atomic_load(&second->page->active) && !memcmp(first->host + off, c->bytes, head) &&
	    !memcmp(second->host, c->bytes + head, tail)) {
		memset(code, 0, sizeof(*code));
		code->block.b = c->block.b;
		code->block.b.shared = true;
		code->block.nr = 1;
		x86_block_lens(&code->block)[0] = c->len;
		code->block.page = first->page;
		code->block.uop = code->uop;
		memcpy(code->uop, c->uop, sizeof(code->uop));
		if (jit_crossing(cpu, &code->block)) {
			code->part[0] = (struct emul_block){ .off = (u16)off, .end = EMUL_PAGE_SIZE, .deps = code->block.b.deps };
			code->part[1] = (struct emul_block){ .off = 0, .end = (u16)tail };
			for (unsigned int i = 0; i < 2; i++) {
				code->part[i].mode = EMUL_BLOCK_PART;
				code->part[i].whole = &code->block.b;
				emul_code_insert(vm, i ? second->page : first->page, &code->part[i], i ? 0 : sizeof(*code));
			}
			c->code = code;
			c->page[0] = first->page;
			c->page[1] = second->page;
			c->epoch = vm->arena_epoch;
		}
	}
	emul_code_end(vm);
}

/* @c was found to be at state.rip: the next time, its translation is, if it has one. */
static struct x86_block *crossing_found(struct x86_cpu *cpu, struct crossing *c, const struct emul_itlb_entry *first,
					const struct emul_itlb_entry *second, unsigned int off)
{
	if (!jit_wanted(cpu, &c->hits) || !second || !first->page || !second->page || cpu->slow)
		return &c->block;
	if (!c->code || c->epoch != cpu->core.vm->arena_epoch || c->page[0] != first->page || c->page[1] != second->page ||
	    atomic_load(&c->code->block.b.stale)) {
		c->code = NULL;
		crossing_translate(cpu, c, first, second, off);
	}
	if (c->code)
		jit_crossing_found(cpu, &c->code->block, second);
	else
		c->hits = 0;		/* not soon again */
	return &c->block;
}

/* Decode byte by byte, so that the second page is touched only if the instruction reaches it. */
static struct x86_block *crossing_get(struct x86_cpu *cpu, u64 lin, unsigned int off)
{
	struct crossing *c = &cpu->crossing->c[(lin ^ lin >> EMUL_PAGE_SHIFT) % CROSSINGS];
	const struct emul_itlb_entry *e = x86_fetch_page(cpu, lin), *first = e, *second = NULL;
	u8 bytes[X86_INSN_MAX];
	u32 mode = X86_BLOCK_MODE(cpu);
	enum x86_decode_result res = X86_DECODE_MORE;
	struct uop *u = &c->uop[0];
	unsigned int n = 0, known;

	if (!e)
		return NULL;
	known = c->lin == lin && c->mode == mode ? c->len : 0;
	while (res == X86_DECODE_MORE && n < X86_INSN_MAX) {
		/* SDM vol. 3 "Prioritization of Concurrent Events": the limit comes before the page */
		if (!cpu->code64 && cpu->s.rip + n > cpu->s.seg[X86_CS].limit) {
			x86_gp0(cpu);
			return NULL;
		}
		if (off + n == EMUL_PAGE_SIZE) {
			u64 next = (lin | ~EMUL_PAGE_MASK) + 1;

			e = second = x86_fetch_page(cpu, cpu->code64 ? next : (u32)next);
			if (!e)
				return NULL;
		}
		fetch_byte(cpu, e, (off + n) & ~EMUL_PAGE_MASK, &bytes[n]);
		n++;
		if (n <= known && bytes[n - 1] != c->bytes[n - 1])
			known = 0;	/* other bytes: perhaps a shorter instruction, which must not touch the next page */
		if (n < known)
			continue;
		if (n == known)
			return crossing_found(cpu, c, first, second, off);
		res = x86_decode(&u->insn, bytes, n, cpu->mode);
	}
	memset(c, 0, offsetof(struct crossing, block));
	u->ea_mask = 0;
	make_uop(cpu, u, res, off);
	end_uop(&c->uop[1], off + u->insn.len, 1);
	c->block.uop = c->uop;
	c->block.nr = 1;
	c->block.b = (struct emul_block){ .off = (u16)off, .end = (u16)(off + u->insn.len), .mode = mode };
	if (res == X86_DECODE_OK) {
		c->lin = lin;
		c->mode = mode;
		c->len = (u8)n;
		memcpy(c->bytes, bytes, n);
	}
	return &c->block;
}

/* --- blocks within a page --- */

/*
 * Decode up to @most instructions from @off of @page on; returns how many, and in *@end where they end. @u has room for one
 * more, which goes on behind them. code_lock is held.
 */
static unsigned int decode(struct x86_cpu *cpu, struct emul_page *page, const u8 *bytes, unsigned int off, unsigned int most,
			   struct uop *u, unsigned int *end)
{
	unsigned int n = 0, at = off;

	while (n < most && at < EMUL_PAGE_SIZE) {
		unsigned int left = (unsigned int)EMUL_PAGE_SIZE - at;
		enum x86_decode_result res;
		u8 raw[X86_INSN_MAX];

		left = min(left, (unsigned int)X86_INSN_MAX);
		emul_code_claim(page, at, left);
		memcpy(raw, bytes + at, left);	/* decode a copy: the page may change while it is read */
		memset(u, 0, sizeof(*u));
		res = x86_decode(&u->insn, raw, left, cpu->mode);
		if (res == X86_DECODE_MORE)
			break;
		make_uop(cpu, u, res, at);
		u->idx = (u16)n++;
		at += u->insn.len;
		if (ends_block(u++))
			break;
	}
	end_uop(u, at, n);
	*end = at;
	return n;
}
static_assert((X86_BLOCK_MAX + 1) * sizeof(struct uop) <= EMUL_INSNS_ROOM, "a block's");

static void set_decoded(struct emul_vm *vm, struct x86_block *b)
{
	b->uop = (struct uop *)(vm->insns + vm->insns_used);
	vm->insns_used += (b->nr + 1u) * sizeof(struct uop);
	atomic_store_explicit(&b->b.decoded, vm->insns_epoch, memory_order_release);
}

static struct x86_block *build(struct x86_cpu *cpu, const struct emul_itlb_entry *e, unsigned int off, u32 mode)
{
	const unsigned int most = cpu->core.vm->cfg.jit == EMUL_JIT_STRESS ? 1 : X86_BLOCK_MAX;
	struct emul_page *page = e->page;
	struct x86_block *b = emul_code_begin(&cpu->core, page, X86_BLOCK_SIZE(X86_BLOCK_MAX));
	struct emul_block *there = emul_code_find(page, off, mode);
	struct emul_vm *vm = cpu->core.vm;
	struct uop *u = (struct uop *)(vm->insns + vm->insns_used);
	unsigned int n, end;

	if (there) {	/* another vCPU was first */
		emul_code_end(vm);
		return (struct x86_block *)there;
	}
	n = decode(cpu, page, e->host, off, most, u, &end);
	if (!n) {
		emul_code_end(vm);
		return NULL;
	}
	b->b = (struct emul_block){ .off = (u16)off, .end = (u16)end, .mode = mode };
	b->page = page;
	b->nr = (u8)n;
	for (unsigned int i = 0; i < n; i++)
		x86_block_lens(b)[i] = u[i].insn.len;
	set_decoded(vm, b);
	emul_code_insert(vm, page, &b->b, X86_BLOCK_SIZE(n));
	emul_code_end(vm);
	cpu->core.stats.blocks++;
	return b;
}

const struct uop *x86_block_decode(struct x86_cpu *cpu, struct x86_block *b, bool locked)
{
	struct emul_vm *vm = cpu->core.vm;
	const struct emul_slot *slot = emul_slot_find(vm, b->page->gpa);
	const u8 *bytes = slot->host + (b->page->gpa - slot->gpa);
	bool good, room;
	struct uop *u;

	if (!locked)
		pthread_mutex_lock(&vm->code_lock);
	good = x86_block_decoded(vm, b);	/* by another vCPU meanwhile */
	u = b->uop;
	if (!good && !atomic_load(&b->b.stale) && b->b.mode == X86_BLOCK_MODE(cpu)) {
		unsigned int end, n;

		/* Without room for good, for now: x86_block_get() makes room. */
		room = !emul_insns_full(vm);
		u = room ? (struct uop *)(vm->insns + vm->insns_used) : cpu->crossing->spare;
		n = decode(cpu, b->page, bytes, b->b.off, b->nr, u, &end);
		good = n == b->nr && end == b->b.end;
		for (unsigned int i = 0; i < n && good; i++)
			good = x86_block_lens(b)[i] == u[i].insn.len;
		if (good && room)
			set_decoded(vm, b);
		else if (good && !locked)
			emul_request(&cpu->core, EMUL_REQ_POKE);
	}
	if (!locked)
		pthread_mutex_unlock(&vm->code_lock);
	/* Who wrote there has not told yet, or never will. */
	if (!good && !locked)
		emul_code_invalidate(vm, slot, b->page->gpa + b->b.off, b->b.end - b->b.off);
	return good ? u : NULL;
}

struct x86_block *x86_block_get(struct x86_cpu *cpu, bool one)
{
	u64 lin = cpu->code64 ? cpu->s.rip : (u32)(cpu->s.seg[X86_CS].base + cpu->s.rip);
	unsigned int off = lin & ~EMUL_PAGE_MASK;
	const struct emul_itlb_entry *e;
	struct x86_block *b = NULL;
	u32 mode;

	if (unlikely(emul_insns_full(cpu->core.vm)))
		emul_code_trim(&cpu->core);
	if (!cpu->code64 && cpu->s.rip > cpu->s.seg[X86_CS].limit) {
		x86_gp0(cpu);
		return NULL;
	}
	e = x86_fetch_page(cpu, lin);
	if (!e)
		return NULL;
	cpu->s.gpr[X86_REG_RIP] = cpu->s.rip - off;
	mode = X86_BLOCK_MODE(cpu);
	if (likely(e->page)) {
		b = (struct x86_block *)emul_code_find(e->page, off, mode);
		/* An instruction known to cross is in no block: no reason to make this a page with code. */
		if (unlikely(!b) && !crossing_known(cpu, lin, off, mode))
			b = build(cpu, e, off, mode);
	}
	/* Near the end of a segment each instruction is checked for itself. */
	if (!cpu->code64 && b && cpu->s.rip + (b->b.end - off) - 1 > cpu->s.seg[X86_CS].limit)
		one = true;
	if (one || !b)
		b = crossing_get(cpu, lin, off);
	return b;
}
