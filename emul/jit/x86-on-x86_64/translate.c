// SPDX-License-Identifier: GPL-2.0-only
/*
 * translate.c - from a block of uops to host code
 *
 * One pass backwards finds which flags are live after each instruction, one forwards emits. What is rare (TLB misses,
 * instructions that only the interpreter has, ways out) is emitted behind the block.
 */
#include "translate.h"

#define ALL	X86_ARITH

/* --- flags --- */

/*
 * LAHF's layout in bits 8..15 and OF in bit 0; H_T1 is used. Chains of additions with carry want CF alone: that is one
 * instruction there and one back, which leaves nothing in memory. (BT would load more bytes than SETB stored, and wait.)
 */
void tr_save(struct tr *t, u32 live)
{
	const struct enc c = { .opsz = 0x66, .op = OP_MOV_MR }, setb = { .map = X86_MAP_0F, .op = 0x92 };

	if (live == X86_CF) {
		put_insn(&t->e, &setb, 0, RM_MEM(H_CPU, (s32)offsetof(struct x86_cpu, jit.flags) + 1));
		return;
	}
	put_move(&t->e, H_T1, H_RAX);
	PUT(&t->e, "\x9f\x0f\x90\xc0");			/* lahf; seto al */
	put_insn(&t->e, &c, H_RAX, RM_CPU(jit.flags));
	put_move(&t->e, H_RAX, H_T1);
}

/* The sum of OF and 127 overflows if OF is 1. */
void tr_reload(struct tr *t, bool scratch, u32 live)
{
	const struct enc movzx = { .map = X86_MAP_0F, .op = 0xb7 }, shr = { .op = 0xd0 };

	t->where = IN_BOTH;
	if (live == X86_CF) {
		put_insn(&t->e, &shr, 5, RM_MEM(H_CPU, (s32)offsetof(struct x86_cpu, jit.flags) + 1));
		t->where = IN_EFLAGS;
		return;
	}
	if (scratch)
		put_move(&t->e, H_T1, H_RAX);
	else
		put_store(&t->e, H_RAX, RM_CPU(jit.tmp[2]));
	put_insn(&t->e, &movzx, H_RAX, RM_CPU(jit.flags));
	PUT(&t->e, "\x04\x7f\x9e");			/* add al, 127; sahf */
	if (scratch)
		put_move(&t->e, H_RAX, H_T1);
	else
		put_load(&t->e, H_RAX, RM_CPU(jit.tmp[2]));
}

void tr_clobber(struct tr *t)
{
	if (t->where == IN_EFLAGS && t->before)
		tr_save(t, t->before);
	else if (t->where == IN_EFLAGS)
		t->where = NOWHERE;
	if (t->where != NOWHERE)
		t->where = IN_MEMORY;
}

void tr_want_flags(struct tr *t, bool scratch)
{
	if (t->where != IN_MEMORY)
		return;
	tr_reload(t, scratch, t->before);
}

/* Nothing follows in line. */
static bool ends_line(const struct uop *u)
{
	switch (u->insn.op) {
	case X86_OP_JMP: case X86_OP_JMPI: case X86_OP_CALL: case X86_OP_CALLI: case X86_OP_RET:
		return true;
	default:
		return false;
	}
}

/* Flags live after each instruction and, returned, before the first. */
static u32 liveness(struct tr *t)
{
	unsigned int n = t->nr;
	u32 live = 0;

	if (!ends_line(&t->uop[n - 1]))
		live = t->target_live[n] = tr_target_live(t, &t->uop[n]);
	while (n-- > 0) {
		const struct x86_insn *i = &t->uop[n].insn;
		struct jit_flags f = jit_flags(i);

		if (x86_rows[i->row].flags & X86_RF_BRANCH) {
			t->target_live[n] = tr_target_live(t, &t->uop[n]);
			live |= t->target_live[n];
		}
		t->live[n] = live;
		live = (live & ~f.kills) | f.reads;
	}
	return live;
}

/* --- calling a handler --- */

/* To common code that goes on at @back, or behind this jump if that is NULL. */
static void put_round_trip(struct tr *t, const u8 *to, const u8 *back)
{
	struct emit *e = &t->e;
	u8 *at;

	PUT(e, "\x4c\x8d\x3d\0\0\0\0");			/* lea r15, [rip + ...] */
	at = e->p - 4;
	put_jmp_to(e, t->c->rw + (to - t->c->rx));
	put_target(at, back ? back : e->p);
}

static void put_call(struct tr *t, const struct uop *u, unsigned int nr, const u8 *back)
{
	const struct enc mov = { .op = 0xc7 };

	put_const(&t->e, H_T0, jit_site(t->cpu->core.vm, t->b, u->idx));
	if (nr) {
		put_insn(&t->e, &mov, 0, RM_CPU(jit.chain));
		put32(&t->e, nr);
	}
	put_round_trip(t, nr ? t->c->chain : t->c->call, back);
}

/* Have the vector registers in the host's. */
static void put_vec_load(struct tr *t)
{
	put_round_trip(t, t->c->vec_load, NULL);
}

static void handler(struct tr *t, const struct uop *u)
{
	if (t->where == IN_EFLAGS && t->before)
		tr_save(t, t->before);
	put_call(t, u, 0, NULL);
	t->vec_checked = 0;
	t->where = t->after ? IN_MEMORY : NOWHERE;
}

static void slow_paths(struct tr *t)
{
	for (unsigned int n = 0; n < t->nr_load; n++) {
		put_target(t->load[n].from, t->e.p);
		put_vec_load(t);
		put_jmp_to(&t->e, t->load[n].join);
	}
	for (unsigned int n = 0; n < t->nr_slow; n++) {
		const struct slow *s = &t->slow[n];
		bool flags = s->after == IN_EFLAGS || s->after == IN_BOTH;

		for (unsigned int k = 0; k < s->nr; k++)
			put_target(s->from[k], t->e.p);
		put_call(t, s->u, s->chain, s->vectors || flags ? NULL : s->join);
		if (!s->vectors && !flags)
			continue;
		if (s->vectors)
			put_vec_load(t);
		if (flags)
			tr_reload(t, true, s->after == IN_BOTH ? ALL : s->live);
		put_jmp_to(&t->e, s->join);
	}
}

/* --- the block --- */

/*
 * What an entry adds to a counter of 16 bits, whose overflow has the block translated anew: cold code with memos, warm code,
 * which counts what they are good for, for good.
 */
#define HEAT_COLD	1
#define HEAT_WARM	64
#define HEAT_STRESS	0x8000

static u8 *put_head(struct tr *t, u8 **far)
{
	const struct enc add = { .opsz = 0x66, .op = 0x81 };
	struct emit *e = &t->e;
	u8 *near, *head;

	while (((uintptr_t)e->p & 7) != 0)
		put8(e, 0x90);
	/* so that the near entry is aligned: the far one's length is known when it is there */
	*far = e->p;
	if (t->code16) {
		put_op(e, 0xc7, true, 0, RM_CPU(s.gpr[X86_REG_RIP]));	/* mov, immediate */
		put32(e, (u32)t->page_ip);
	} else {
		put_lea(e, H_T1, RM_MEM(H_T1, -(s32)t->b->b.off));
		put_store(e, H_T1, RM_CPU(s.gpr[X86_REG_RIP]));
	}
	while ((uintptr_t)e->p & 7)
		put8(e, 0x90);
	near = e->p;
	/* cmp dword [rsp + 0], 0 in 8 bytes; jne: jit_stale() knows this form */
	static_assert(offsetof(struct x86_cpu, core.request) == 0, "encoding of the entry");
	PUT(e, "\x83\xbc\x24\0\0\0\0\0");
	head = put_jcc(e, CC_NE);
	if (!t->memos || t->measure) {
		unsigned int n = t->c->nr_heat++ % X86_JIT_HEAT;
		u16 step = t->c->stress ? HEAT_STRESS : t->memos ? HEAT_WARM : HEAT_COLD;

		put_insn(e, &add, 0, RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, jit.heat) + n * sizeof(u16))));
		put_bytes(e, &step, sizeof(step));
		t->heat = put_jcc(e, CC_B);
	}
	if (t->c->count)
		put_imm(e, 0, true, RM_CPU(jit.insns), t->nr);
	t->head = head;
	return near;
}

static void *data(struct jit_cache *c, size_t size)
{
	void *p;

	c->data_used = (c->data_used + 7) & ~(size_t)7;
	p = c->data + c->data_used;
	c->data_used += size;
	return p;
}

/*
 * A conditional branch backwards closes a loop: the translation ends there, so that going round needs no correction of the
 * count of instructions.
 */
static unsigned int length(const struct x86_block *b, const struct uop *uop)
{
	unsigned int n = 0;

	while (n < b->nr) {
		const struct uop *u = &uop[n++];

		if (u->insn.op == X86_OP_JCC && (s64)u->insn.imm < 0)
			break;
	}
	return n;
}

/* Slow paths of the instruction, or of the groups that end with it, come back here. */
static void join(struct tr *t, const struct uop *u)
{
	bool any = false;

	for (unsigned int n = 0; n < t->nr_slow; n++) {
		struct slow *s = &t->slow[n];

		if (s->join || (s->chain && s->u->idx + s->chain != u->idx + 1u))
			continue;
		s->join = t->e.p;
		s->after = t->where;
		s->vectors = t->vec_checked & JIT_UNLOADED;
		s->live = t->after;
		any = true;
	}
	if (any)
		t->e.t0 = 0;
}

static void put_leave(struct tr *t, u8 *from, const u8 *leave)
{
	put_target(from, t->e.p);
	put_const(&t->e, H_T0, jit_site(t->cpu->core.vm, t->b, 0));
	put_jmp_to(&t->e, t->c->rw + (leave - t->c->rx));
}

bool jit_translate(struct x86_cpu *cpu, struct x86_block *b, unsigned int how)
{
	struct emul_vm *vm = cpu->core.vm;
	const struct uop *uop = x86_block_decoded(vm, b) ? b->uop : x86_block_decode(cpu, b, true);
	const struct jit_code *old = atomic_load_explicit(&b->b.code, memory_order_relaxed);
	struct jit_cache *c = vm->jit;
	struct jit_code *code;
	static __thread struct tr tr;
	struct tr *t = &tr;
	u8 *near, *far;
	u32 live;

	if (!uop || jit_full(c))
		return false;
	memset(t, 0, offsetof(struct tr, live));
	t->e.p = c->rw + c->used;
	t->e.bmi2 = c->host_features & BIT_ULL(X86_FEAT_BMI2);
	t->c = c;
	t->cpu = cpu;
	t->b = b;
	t->uop = uop;
	t->page = b->page;
	t->bytes = emul_ram(vm, b->page->gpa);
	t->tlb_mode = cpu->tlb_mode;
	t->tlb = (s32)(offsetof(struct x86_cpu, tlbs) + cpu->tlb_mode * sizeof(struct x86_tlb));
	t->jump = (s32)(offsetof(struct x86_cpu, jit.jump) + cpu->tlb_mode * sizeof(struct x86_jump_cache));
	t->nr = length(b, uop);
	memset(t->near, 0, t->nr * sizeof(t->near[0]));
	t->memos = how & JIT_MEMOS;
	t->measure = t->memos && !(how & JIT_SETTLED);
	t->first_memo = t->measure ? c->nr_memos : t->memos ? old->first_memo : 0;
	t->mode = b->b.mode & 3;
	t->w = t->mode == X86_MODE_64;
	t->code16 = b->b.mode & X86_BLOCK_CODE16;
	t->page_ip = x86_block_page_ip(b->b.mode);
	t->width = t->w ? 8 : t->code16 ? 2 : 4;
	code = data(c, sizeof(*code));
	live = liveness(t);
	if (how & JIT_GROUPS && !t->code16)
		tr_find_groups(t);
	near = put_head(t, &far);
	t->where = live ? IN_MEMORY : NOWHERE;
	t->before = live;

	for (unsigned int n = 0; n < t->nr; n++) {
		const struct uop *u = &uop[n];

		t->after = t->live[n];
		t->s = &t->slow[t->nr_slow];
		*t->s = (struct slow){ .u = u };
		if (!tr_branch(t, u) && !tr_special(t, u) && !tr_alu(t, u) && !tr_vector(t, u) &&
		    !tr_x87(t, u) && !tr_string(t, u) && !tr_system(t, u))
			handler(t, u);
		t->nr_slow += t->s->nr || t->s->lookup;
		join(t, u);
		t->before = t->after;
	}
	if (!ends_line(&uop[t->nr - 1]))
		tr_end(t, &uop[t->nr]);
	tr_misses(t);
	tr_far(t);
	slow_paths(t);
	tr_outs(t);
	put_leave(t, t->head, c->leave_head);
	if (t->heat)
		put_leave(t, t->heat, c->leave_hot);

	*code = (struct jit_code){
		.cache = c, .live = (u16)live, .nr = (u8)t->nr, .how = (u8)how, .first_memo = t->first_memo,
		.rx = c->rx + (near - c->rw), .far = c->rx + (far - c->rw),
	};
	if (t->measure)
		c->nr_memos = min(t->first_memo + t->nr_lookups, (unsigned int)X86_JIT_MEMOS);
	tr_trace(t, code);
	jit_cache_use(c, t->e.p);
	b->b.deps = t->deps;
	atomic_store_explicit(&b->b.code, code, memory_order_release);
	return true;
}
