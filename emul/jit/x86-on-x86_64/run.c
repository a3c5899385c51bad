// SPDX-License-Identifier: GPL-2.0-only
/*
 * run.c - running translated code: entering it, what it asks for when it leaves, links between translations
 */
#include <stdlib.h>

#include "../../guest/x86/flags.h"
#include "../../guest/x86/lockstep.h"
#include "../../host/host.h"
#include "emit.h"
#include "jit.h"

/*
 * A block is translated when it is met the second time: most code that is met twice is met often. gcc takes a tenth less CPU
 * than with 24.
 */
#define HOT	2
/* How often the lookups of a translation's groups fail before it is made anew without them. */
#define GROUP_FAILURES	16

void jit_init(struct x86_cpu *cpu)
{
	struct emul_vm *vm = cpu->core.vm;

	for (unsigned int m = 0; m < TLB_MODES; m++) {
		cpu->jit.jump[m].turn = ++cpu->jit.turns;
		for (unsigned int i = 0; i < X86_JUMP_SIZE; i++)
			cpu->jit.jump[m].e[i].rip = X86_JUMP_EMPTY(i);
	}
	pthread_mutex_lock(&vm->code_lock);
	if (!vm->jit && vm->cfg.jit != EMUL_JIT_OFF)
		vm->jit = jit_cache_new(&vm->cfg);
	pthread_mutex_unlock(&vm->code_lock);
}

void jit_exit(struct emul_vm *vm)
{
	if (vm->jit)
		jit_cache_free(vm->jit);
	vm->jit = NULL;
}

/* --- memos --- */

/* Those of one page, or, with @all, every one. */
static void memo_flush(struct x86_cpu *cpu, bool all, u64 page)
{
	struct x86_jit *jit = &cpu->jit;

	for (unsigned int i = 0; i < ARRAY_SIZE(jit->memo_words); i++) {
		for (u32 words = jit->memo_words[i]; words; words &= words - 1) {
			unsigned int w = 32 * i + (unsigned int)__builtin_ctz(words);
			u32 left = 0;

			for (u32 used = jit->memo_used[w]; used; used &= used - 1) {
				struct x86_jit_memo *m = &jit->memo[32 * w + (unsigned int)__builtin_ctz(used)];

				if (all || m->base == page)
					m->limit = 0;
				else
					left |= used & -used;
			}
			jit->memo_used[w] = left;
			if (!left)
				jit->memo_words[i] &= ~BIT(w % 32);
		}
	}
	jit->flushed = true;
}

void jit_revoke(struct x86_cpu *cpu)
{
	memo_flush(cpu, true, 0);
}

/* --- the jump cache --- */

static void new_turn(struct x86_jit *jit, struct x86_jump_cache *jc)
{
	jc->turn = ++jit->turns;
	if (jc->turn)
		return;
	memset(jit->far, 0, sizeof(jit->far));
	for (unsigned int m = 0; m < TLB_MODES; m++)
		jit->jump[m].turn = ++jit->turns;
}

static void jump_flush(struct x86_cpu *cpu, struct x86_jump_cache *jc)
{
	if (!jc->nr_fills)
		return;
	new_turn(&cpu->jit, jc);
	if (jc->nr_fills <= X86_JUMP_FILLS)
		for (unsigned int i = 0; i < jc->nr_fills; i++)
			jc->e[jc->fill[i] / 2].rip = X86_JUMP_EMPTY(jc->fill[i] / 2);
	else
		for (unsigned int i = 0; i < X86_JUMP_SIZE; i++)
			jc->e[i].rip = X86_JUMP_EMPTY(i);
	jc->local = false;
	jc->nr_fills = 0;
}

static unsigned int page_bit(u64 lin)
{
	return (unsigned int)(lin >> EMUL_PAGE_SHIFT ^ lin >> 25) % X86_JUMP_PAGES;
}

void jit_flush(struct x86_cpu *cpu, bool global)
{
	jit_revoke(cpu);
	for (unsigned int m = 0; m < TLB_MODES; m++)
		if (global || cpu->jit.jump[m].local)
			jump_flush(cpu, &cpu->jit.jump[m]);
}

void jit_flush_page(struct x86_cpu *cpu, u64 lin)
{
	unsigned int bit = page_bit(lin);

	memo_flush(cpu, false, lin & EMUL_PAGE_MASK);
	for (unsigned int m = 0; m < TLB_MODES; m++)
		if (cpu->jit.jump[m].half[lin >> 63] && cpu->jit.jump[m].pages[bit / 64] >> (bit % 64) & 1)
			jump_flush(cpu, &cpu->jit.jump[m]);
}

static bool translatable(u32 mode)
{
	return (mode & 7) == X86_MODE_64 || mode & (X86_BLOCK_FLAT32 | X86_BLOCK_CODE16);
}

/* What the jump cache finds code by. */
static u64 jump_key(const struct x86_cpu *cpu)
{
	return likely(!cpu->code16) ? cpu->s.rip : cpu->lin_base[X86_CS] << 32 | cpu->s.rip;
}

/* The jump cache in use has entries of the mode that the vCPU is in, or none. */
static void jump_mode(struct x86_cpu *cpu)
{
	struct x86_jump_cache *jc = &cpu->jit.jump[cpu->tlb_mode];
	u8 mode = (u8)X86_BLOCK_MODE(cpu);

	if (likely(jc->mode == mode))
		return;
	jump_flush(cpu, jc);
	jc->mode = mode;
}

/* What a new entry of the jump cache depends on. */
static void jump_depends(struct x86_jump_cache *jc, const struct emul_itlb_entry *e)
{
	unsigned int bit = page_bit(e->tag);

	jc->pages[bit / 64] |= BIT_ULL(bit % 64);
	jc->half[e->tag >> 63] = true;
	if (!e->global)
		jc->local = true;
}

static void jump_set(struct x86_jump_cache *jc, u64 key, const void *code)
{
	unsigned int i = X86_JUMP_SLOT(key);

	jc->e[i] = (struct x86_jump){ .rip = key, .code = code };
	if (jc->nr_fills <= X86_JUMP_FILLS)
		jc->fill[jc->nr_fills++] = (u16)(2 * i);
}

/* That of state.rip */
static const struct emul_itlb_entry *itlb_entry(const struct x86_cpu *cpu)
{
	u64 lin = cpu->code64 ? cpu->s.rip : (u32)(cpu->lin_base[X86_CS] + cpu->s.rip);

	return &cpu->itlb[cpu->cpl == 3][(lin >> EMUL_PAGE_SHIFT) % EMUL_ITLB_SIZE];
}

static struct jit_code *code_of(const struct x86_block *b)
{
	return atomic_load_explicit(&b->b.code, memory_order_acquire);
}

/* state.rip leads to @b, which has a translation: its page was just looked up in the instruction TLB. */
static void jump_fill(struct x86_cpu *cpu, const struct x86_block *b)
{
	struct x86_jump_cache *jc = &cpu->jit.jump[cpu->tlb_mode];
	const void *code = code_of(b)->far;
	u64 key = jump_key(cpu);

	jump_mode(cpu);
	jump_set(jc, key, code);
	jump_depends(jc, itlb_entry(cpu));
	cpu->jit.far[X86_FAR_SLOT(key)] = (struct x86_far){
		.rip = key, .code = code, .page = b->page, .turn = jc->turn, .mode = cpu->code16 ? EMUL_BLOCK_PART : jc->mode,
	};
}

/* --- invalidation --- */

void jit_reset(struct emul_vm *vm)
{
	struct jit_cache *c = vm->jit;

	if (!c)
		return;
	c->used = c->start;
	c->data_used = 0;
	c->nr_memos = 0;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		struct x86_cpu *cpu = vm->vcpu[i] ? x86_cpu(vm->vcpu[i]) : NULL;

		if (!cpu)
			continue;
		jit_flush(cpu, true);
		memset(cpu->jit.far, 0, sizeof(cpu->jit.far));
		for (unsigned int m = 0; m < TLB_MODES; m++) {
			memset(cpu->jit.jump[m].pages, 0, sizeof(cpu->jit.jump[m].pages));
			cpu->jit.jump[m].half[0] = cpu->jit.jump[m].half[1] = false;
		}
	}
}

/*
 * The entry becomes a jump to the way out that a request before the block takes, in one aligned store: whoever has a link
 * to this block, or an entry in a jump cache, ends there. That way out lies behind the displacement of the entry's
 * first branch, 10 bytes from its start.
 */
static void replace_entry(const struct jit_code *code, s32 rel)
{
	const struct jit_cache *c = code->cache;

	__atomic_store_n((u64 *)(c->rw + (code->rx - c->rx)), 0x9090900000000000ULL | 0xe9 | (u64)(u32)(rel - 5) << 8,
			 __ATOMIC_RELEASE);
}

void jit_stale(struct emul_block *b)
{
	const struct jit_code *code = atomic_load_explicit(&b->code, memory_order_relaxed);
	s32 rel;

	memcpy(&rel, code->rx + 10, 4);
	replace_entry(code, rel + 14);
}

/*
 * Whoever still comes to the stale block @from is sent on to @to, its successor. Code that is written again and again would
 * become a long way from one to the next; after some of them the first is led to the last, and the one before is left to
 * ask again.
 */
#define DETOUR_MAX	8
static void forward(struct x86_cpu *cpu, const struct x86_block *from, const struct x86_block *to)
{
	const struct jit_code *old;
	struct jit_code *new;

	pthread_mutex_lock(&cpu->core.vm->code_lock);
	old = code_of(from);
	new = code_of(to);
	if (new && from->page == to->page && from->b.off == to->b.off && from->b.mode == to->b.mode &&
	    !atomic_load(&to->b.stale)) {
		new->first = old->first ? old->first : old;
		new->detour = old->detour + 1;
		if (new->detour > DETOUR_MAX) {
			old = new->first;
			new->detour = 1;
		}
		if (!(new->live & ~old->live))
			replace_entry(old, (s32)(new->rx - old->rx));
	}
	pthread_mutex_unlock(&cpu->core.vm->code_lock);
}

/* --- running --- */

/* Flags as translated code keeps them in memory, from and to those of the interpreter. */
static void flags_out(struct x86_cpu *cpu)
{
	u64 f = cpu->jit.flags;

	cc_set(&cpu->s, (f >> 8 & (X86_ARITH & 0xff)) | (f & 1 ? X86_OF : 0));
}

static void flags_in(struct x86_cpu *cpu)
{
	u64 f = cc_get(&cpu->s);

	cpu->jit.flags = (f & 0xff) << 8 | X86_FLAG1 << 8 | !!(f & X86_OF);
}

/*
 * Vector and x87 instructions may run as they are if they are allowed to, and if MXCSR or the x87 unit is in the host and
 * masks all exceptions.
 */
static void vector_state(struct x86_cpu *cpu)
{
	const struct x86_fpu_live *live = cpu->fpu_live;
	bool sse = live->live & HOST_MXCSR && live->masked && !(cpu->s.cr0 & (X86_CR0_EM | X86_CR0_TS)) &&
		   cpu->s.cr4 & X86_CR4_OSFXSR;
	bool avx = live->live & HOST_MXCSR && live->masked && !(cpu->s.cr0 & X86_CR0_TS) &&
		   cpu->s.cr4 & X86_CR4_OSXSAVE && (cpu->s.xcr0 & 6) == 6;

	bool x87 = live->live & HOST_X87 && !(cpu->s.cr0 & (X86_CR0_EM | X86_CR0_TS)) &&
		   (host_x87_control() & 0x3f) == 0x3f;

	cpu->jit.missing = (u8)(JIT_UNLOADED | (sse ? 0 : JIT_SSE) | (avx ? 0 : JIT_AVX) | (x87 ? 0 : JIT_X87));
}

/* The far entry of the code at state.rip, if the jump cache has it and there is nothing else to look at first. */
static const void *jump_find(struct x86_cpu *cpu)
{
	struct x86_jump_cache *jc = &cpu->jit.jump[cpu->tlb_mode];
	u64 key = jump_key(cpu);
	unsigned int i = X86_JUMP_SLOT(key);
	struct x86_far *far;

	if (jc->mode != (u8)X86_BLOCK_MODE(cpu) || x86_interruptible(cpu) ||
	    atomic_load_explicit(&cpu->core.request, memory_order_relaxed))
		return NULL;
	if (jc->e[i].rip == key)
		return jc->e[i].code;
	far = &cpu->jit.far[X86_FAR_SLOT(key)];
	if (far->rip != key || !far->code)
		return NULL;
	if (far->turn != jc->turn) {
		const struct emul_itlb_entry *e = itlb_entry(cpu);

		if (far->mode != jc->mode || e->tag != (far->rip & EMUL_PAGE_MASK) || e->page != far->page)
			return NULL;
		jc->local |= !e->global;
		far->turn = jc->turn;
	}
	jump_set(jc, far->rip, far->code);
	return far->code;
}

static inline bool usable(const struct x86_cpu *cpu)
{
	return !cpu->watch && !cpu->slow;
}

/* What the rest of the block relies on, with @live and @missing before the instruction, is still so. */
static bool vectors_kept(struct x86_cpu *cpu, const struct uop *u, u8 class, u32 live, u8 missing)
{
	/* a device access has sent it home */
	if (unlikely(live & ~cpu->fpu_live->live))
		host_fpu_load(cpu->fpu_live, &cpu->s.fpu, live);
	else if (class == X86_CLASS_INT && live == cpu->fpu_live->live)
		return true;
	vector_state(cpu);
	if (class == X86_CLASS_VEC)
		missing &= (u8)~(u->insn.flags & X86_IF_VEX ? JIT_AVX : JIT_SSE);
	else if (class == X86_CLASS_FPU)
		missing &= (u8)~JIT_X87;
	return !(cpu->jit.missing & ~missing & ~JIT_UNLOADED);
}

static u64 rip_at(const struct x86_cpu *cpu, struct x86_block *b, unsigned int idx)
{
	return (cpu->s.gpr[X86_REG_RIP] + x86_block_off(b, idx)) & cpu->rip_mask;
}

/* Translated code is left, since @site had the outcome @next; or it is what comes next (X86_NEXT). */
static const void *leave(struct x86_cpu *cpu, u32 site, int next)
{
	cpu->jit.site = site;
	cpu->jit.next = next;
	return NULL;
}

const void *jit_call(struct x86_cpu *cpu, u32 site)
{
	struct x86_block *b = jit_site_block(cpu->core.vm, site);
	const struct uop *u = x86_block_uops(cpu, b);
	u32 live = cpu->fpu_live->live;
	u8 missing = cpu->jit.missing, class;
	const void *to;
	bool flags;
	int next;

	if (unlikely(!u)) {
		flags_out(cpu);
		return leave(cpu, site, X86_NEXT);
	}
	u += jit_site_idx(site);
	class = x86_op_class[u->insn.op];
	flags = jit_sees_flags(&u->insn);
	cpu->block = &b->b;
	cpu->u = u;
	cpu->jit.calls++;
	cpu->jit_calls[u->insn.op]++;
	cpu->s.intr_shadow = 0;		/* of the instruction before, see jit_run() */
	cpu->jit.flushed = false;
	if (flags)
		flags_out(cpu);
	next = u->fn(cpu, u);
	switch (next) {
	case X86_NEXT:
		if (likely(!atomic_load_explicit(&cpu->core.request, memory_order_relaxed) &&
			   b->b.mode == X86_BLOCK_MODE(cpu) && !cpu->watch && !cpu->jit.flushed) &&
		    likely(vectors_kept(cpu, u, class, live, missing))) {
			if (flags)
				flags_in(cpu);
			return cpu->jit.ret;
		}
		fallthrough;
	case X86_LEAVE:
		if (cpu->s.halted || cpu->s.intr_shadow)
			break;
		cpu->s.rip = x86_next_rip(cpu, u);
		fallthrough;
	case X86_JUMP:
		/* the whole state may have changed: as if translated code were entered anew */
		to = usable(cpu) ? jump_find(cpu) : NULL;
		if (unlikely(!to))
			break;
		if (flags)
			flags_in(cpu);
		vector_state(cpu);
		cpu->jit.insns -= code_of(b)->nr - (u->idx + 1u);
		return to;
	}
	if (!flags)
		flags_out(cpu);
	return leave(cpu, next == X86_NEXT ? site + 1 : site, next);
}

/* Translate @b anew as @how says. Whoever comes to its old translation, which was made as @from says, is sent to the new one. */
static void retranslate(struct x86_cpu *cpu, struct x86_block *b, unsigned int from, unsigned int how)
{
	struct emul_vm *vm = cpu->core.vm;
	const struct jit_code *old;

	pthread_mutex_lock(&vm->code_lock);
	old = code_of(b);
	if (old->how == from && !atomic_load(&b->b.stale) && jit_translate(cpu, b, how)) {
		cpu->core.stats.jit_blocks++;
		replace_entry(old, (s32)(code_of(b)->rx - old->rx));
	}
	pthread_mutex_unlock(&vm->code_lock);
}

const void *jit_chain(struct x86_cpu *cpu, u32 site)
{
	struct x86_block *b = jit_site_block(cpu->core.vm, site);
	struct jit_code *code = code_of(b);
	u32 nr = cpu->jit.chain;
	const void *to;

	if (code->how & JIT_GROUPS && __atomic_add_fetch(&code->failed, 1, __ATOMIC_RELAXED) == GROUP_FAILURES)
		retranslate(cpu, b, code->how, code->how & ~(JIT_GROUPS | JIT_SETTLED));
	do {
		to = jit_call(cpu, site++);
	} while (to == cpu->jit.ret && --nr);
	return to;
}

/* The way out leads to @to in translated code: both blocks are good, and of one mode. */
static bool leads_to(const struct x86_block *from, const struct x86_block *to)
{
	return code_of(to) && to->b.mode == from->b.mode && !atomic_load(&to->b.stale) && !atomic_load(&from->b.stale);
}

static void set_jump(const struct jit_cache *c, u32 at, const u8 *to)
{
	__atomic_store_n((s32 *)(c->rw + at), (s32)(to - (c->rx + at + 4)), __ATOMIC_RELEASE);
}

/* A direct branch within the page has met its target: from now on it goes there by itself. */
static void exit_link(struct x86_cpu *cpu, const struct jit_exit *x, const struct x86_block *to)
{
	struct emul_vm *vm = cpu->core.vm;
	const struct x86_block *from = jit_site_block(vm, x->site);
	const struct jit_code *code;

	pthread_mutex_lock(&vm->code_lock);
	code = code_of(to);
	/* the page may have been mapped elsewhere meanwhile */
	if (leads_to(from, to) && to->page == from->page && !(code->live & ~x->live))
		set_jump(vm->jit, x->patch[x->patch[1] && code->live ? 1 : 0], code->rx);
	pthread_mutex_unlock(&vm->code_lock);
}

/*
 * One to another page has met its target, @to, or something that it will not lead to: what the guard does not let pass goes
 * through the jump cache from now on. The guard wants one page, once and for all, and the jump behind it is set first: who
 * sees the page sees the jump.
 */
static void far_link(struct x86_cpu *cpu, const struct jit_exit *x, const struct x86_block *to)
{
	struct emul_vm *vm = cpu->core.vm;
	const struct x86_block *from = jit_site_block(vm, x->site);
	const struct jit_cache *c = vm->jit;
	u32 *gfn = (u32 *)(c->rw + x->patch[1]);

	pthread_mutex_lock(&vm->code_lock);
	if (to && *gfn == EMUL_NO_GFN && leads_to(from, to)) {
		set_jump(c, x->patch[1] + JIT_GUARD_JUMP, code_of(to)->rx);
		__atomic_store_n(gfn, (u32)(to->page->gpa >> EMUL_PAGE_SHIFT), __ATOMIC_RELEASE);
	}
	set_jump(c, x->patch[0], c->far_exit[cpu->tlb_mode]);
	pthread_mutex_unlock(&vm->code_lock);
}

bool jit_wanted(const struct x86_cpu *cpu, u16 *hits)
{
	const struct jit_cache *c = jit_cache(cpu);

	return c && translatable(X86_BLOCK_MODE(cpu)) && ((*hits)++ >= HOT || c->stress);
}

bool jit_crossing(struct x86_cpu *cpu, struct x86_block *b)
{
	if (!jit_translate(cpu, b, 0))
		return false;
	cpu->core.stats.jit_blocks++;
	return true;
}

void jit_crossing_found(struct x86_cpu *cpu, struct x86_block *b, const struct emul_itlb_entry *second)
{
	jump_fill(cpu, b);
	jump_depends(&cpu->jit.jump[cpu->tlb_mode], second);
	cpu->jit.far[X86_FAR_SLOT(jump_key(cpu))].mode = EMUL_BLOCK_PART;
}

/* May @b be entered as translated code? Translates it if it has become hot. */
static const struct jit_code *ready(struct x86_cpu *cpu, struct x86_block *b, bool *full)
{
	struct emul_vm *vm = cpu->core.vm;
	struct jit_cache *c = vm->jit;
	const struct jit_code *code = code_of(b);

	*full = false;
	if (likely(code))
		return code;
	if (!c || !translatable(b->b.mode))
		return NULL;
	if (++b->b.hits < HOT && !c->stress)
		return NULL;
	pthread_mutex_lock(&vm->code_lock);
	*full = jit_full(c);
	if (!atomic_load(&b->b.stale) && !code_of(b) &&
	    jit_translate(cpu, b, JIT_GROUPS | (c->stress && c->nr_heat++ % 2 ? JIT_MEMOS : 0)))
		cpu->core.stats.jit_blocks++;
	code = code_of(b);
	pthread_mutex_unlock(&vm->code_lock);
	return code;
}

/* Where a straight line ended that is accounted for: state.rip says where to go on. */
static const struct uop nothing = { .fn = x86_uop_end };

int jit_run(struct x86_cpu *cpu, struct x86_block **bp, const struct uop **up)
{
	const struct emul_vm *vm = cpu->core.vm;
	const struct jit_cache *c = vm->jit;
	struct x86_block *b = *bp, *from, *to;
	const struct jit_exit *x;
	const struct jit_code *code;
	const void *entry;
	bool full;

	if (!c || !usable(cpu) || b->b.mode != X86_BLOCK_MODE(cpu))
		return JIT_INTERPRET;
	code = ready(cpu, b, &full);
	entry = code ? code->rx : NULL;
	if (likely(entry))
		flags_in(cpu);
	while (entry) {
		unsigned int idx;

		vector_state(cpu);
		jump_mode(cpu);
		x = c->enter(cpu, entry, cpu->s.rip);
		cpu->jit_exits[x->kind]++;
		/* A handler has set it if it was STI or MOV SS; after a whole block it is over. */
		if (x->kind == JIT_EXIT_LINK || x->kind == JIT_EXIT_FAR || x->kind == JIT_EXIT_JUMP)
			cpu->s.intr_shadow = 0;
		if (x->kind == JIT_EXIT_LINK || x->kind == JIT_EXIT_FAR)
			cpu->jit.site = x->site;
		b = jit_site_block(vm, cpu->jit.site);
		idx = jit_site_idx(cpu->jit.site);
		switch (x->kind) {
		case JIT_EXIT_UOP:
			/* the block was counted as a whole */
			cpu->jit.insns -= code_of(b)->nr - idx;
			if (cpu->jit.next == X86_NEXT) {
				cpu->s.rip = rip_at(cpu, b, idx);	/* the one to come */
				cpu->jit.insns--;
			} else if (cpu->jit.next == X86_LEAVE && !cpu->s.halted) {
				cpu->s.rip = rip_at(cpu, b, idx + 1);
			} else if (cpu->jit.next != X86_JUMP) {
				cpu->core.stats.insns -= idx;	/* the caller counts up to @up */
				*bp = b;
				*up = cpu->u;
				return cpu->jit.next;	/* the handler left the flags in place */
			}
			cpu->jit.insns++;
			to = NULL;
			/* STI and MOV SS keep interrupts away from the next instruction, which run() then executes alone */
			if (!usable(cpu) || cpu->s.intr_shadow)
				break;
			entry = jump_find(cpu);
			if (likely(entry)) {
				flags_in(cpu);
				continue;
			}
			to = x86_next_block(cpu);
			break;
		case JIT_EXIT_LINK:
			flags_out(cpu);
			cpu->s.rip = (cpu->s.gpr[X86_REG_RIP] + (u64)(s64)x->off) & cpu->rip_mask;
			to = x86_next_block(cpu);
			break;
		case JIT_EXIT_FAR:
		case JIT_EXIT_JUMP:
			flags_out(cpu);
			cpu->s.rip &= cpu->rip_mask;	/* of 16-bit code it was the jump cache's key */
			if (unlikely(!x86_canonical(cpu->s.rip)) && idx < b->nr) {
				const struct uop *u = x86_block_uops(cpu, b);

				/* the branch should have faulted */
				cpu->s.rip = rip_at(cpu, b, idx);
				cpu->jit.insns -= u ? idx + 1 : 1;
				*bp = b;
				*up = u ? &u[idx] : &nothing;
				return u ? x86_gp0(cpu) : X86_JUMP;
			}
			to = x86_next_block(cpu);
			if (to || x->kind == JIT_EXIT_JUMP)
				break;
			/* an instruction that crosses a page's end is found there only */
			entry = jump_find(cpu);
			if (!entry)
				break;
			far_link(cpu, x, NULL);
			flags_in(cpu);
			continue;
		default:
			flags_out(cpu);
			cpu->s.rip = rip_at(cpu, b, 0);
			if (x->kind == JIT_EXIT_HOT) {
				unsigned int how = code_of(b)->how;

				if (!(how & JIT_SETTLED))	/* no other vCPU was first */
					retranslate(cpu, b, how, how | JIT_MEMOS | (how & JIT_MEMOS ? JIT_SETTLED : 0));
			}
			/* NULL if there was a request */
			to = cpu->s.intr_shadow ? NULL : x86_next_block(cpu);
			break;
		}
		if (!to || x86_lockstep_blocks(cpu)) {
			*bp = b;
			*up = &nothing;
			return X86_JUMP;
		}
		from = b;
		b = to;
		code = ready(cpu, b, &full);
		if (code && x->kind == JIT_EXIT_LINK)
			exit_link(cpu, x, b);
		else if (code)
			jump_fill(cpu, b);
		if (code && x->kind == JIT_EXIT_FAR)
			far_link(cpu, x, b);
		if (code && x->kind == JIT_EXIT_HEAD && b != from)
			forward(cpu, from, b);
		if (code && x->kind == JIT_EXIT_UOP)
			flags_in(cpu);
		entry = code ? code->rx : NULL;
	}
	*bp = b;
	if (full) {
		cpu->s.rip = rip_at(cpu, b, 0);
		cpu->block = NULL;
		emul_code_reset(&cpu->core);
		return JIT_GONE;
	}
	return JIT_INTERPRET;
}
