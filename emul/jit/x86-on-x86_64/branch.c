// SPDX-License-Identifier: GPL-2.0-only
/*
 * branch.c - transfers of control and the ways out of a block
 *
 * A direct branch within the page becomes a direct jump once its target is translated: both lie in the page that is
 * being executed, however it is mapped. Every other transfer goes through the jump cache.
 */
#include "../../guest/x86/flags.h"
#include "translate.h"

#define ALL	X86_ARITH

/* Of 16-bit code a segment may begin or end within the page. */
static bool in_page(const struct tr *t, s64 off)
{
	return off >= 0 && off < (s64)EMUL_PAGE_SIZE && (!t->code16 || (u64)(t->page_ip + off) <= 0xffff);
}

/*
 * Flags that code at @off of the page may read before it writes them, as far as a few instructions tell. The translation
 * depends on the bytes looked at.
 */
static u32 peek_live(struct tr *t, s32 off)
{
	u32 live = ALL, seen = 0;

	for (unsigned int n = 0; n < 8 && in_page(t, off); n++) {
		unsigned int left = min((unsigned int)(EMUL_PAGE_SIZE - (u32)off), (unsigned int)X86_INSN_MAX);
		struct jit_flags f;
		struct x86_insn i = { 0 };
		u8 raw[X86_INSN_MAX];

		emul_code_claim(t->page, (u32)off, left);
		memcpy(raw, t->bytes + off, left);
		if (x86_decode(&i, raw, left, t->mode) != X86_DECODE_OK)
			break;
		x86_check_feature(t->cpu, &i);
		t->deps |= GENMASK_ULL(((u32)off + i.len - 1) / 64, (u32)off / 64);
		f = jit_flags(&i);
		seen |= live & f.reads;
		live &= ~f.kills;
		if (!live)
			return seen;
		off += i.len;
		if (i.op == X86_OP_JMP)
			off = i.imm + (u64)off < EMUL_PAGE_SIZE ? off + (s32)i.imm : -1;
		else if (x86_rows[i.row].flags & X86_RF_BRANCH)
			break;
	}
	return seen | live;
}

/* Does the page have a whole instruction at @off? One that crosses its end is reached through the jump cache. */
static bool linkable(const struct tr *t, s64 off)
{
	unsigned int left = (unsigned int)(EMUL_PAGE_SIZE - (u64)off);
	struct x86_insn i = { 0 };
	u8 raw[X86_INSN_MAX];

	if (!in_page(t, off))
		return false;
	if (left >= X86_INSN_MAX)
		return true;
	memcpy(raw, t->bytes + off, left);
	return x86_decode(&i, raw, left, t->mode) != X86_DECODE_MORE;
}

/* A branch to @off of the page is about to be emitted: with condition @cc, or always. */
static void branch_to(struct tr *t, const struct uop *u, s64 off, int cc)
{
	struct way_out *x = &t->out[t->nr_out++];

	*x = (struct way_out){ .u = u, .off = (s32)off, .where = t->where };
	x->done = min(u->idx + 1u, t->nr);
	x->live = t->target_live[u->idx];
	put_branch_align(&t->e, cc < 0 ? 1 : 2);
	x->from = cc < 0 ? put_jmp(&t->e) : put_jcc(&t->e, (unsigned int)cc);
}

/* Offset of the target in the page; false: not a plain one. */
static bool target(const struct tr *t, const struct uop *u, s64 *off)
{
	*off = (s64)u->off + u->insn.len + (s64)u->insn.imm;
	if (t->code16) {
		u32 ip = (u32)(t->page_ip + *off);

		if (u->insn.opsize == 2)
			ip &= 0xffff;
		*off = (s64)ip - t->page_ip;
		return ip <= 0xffff;
	}
	return *off == (s32)*off && (t->w || u->insn.opsize != 2);
}

u32 tr_target_live(struct tr *t, const struct uop *u)
{
	s64 off = u->off;

	if (u->idx < t->nr) {
		switch (u->insn.op) {
		case X86_OP_JCC: case X86_OP_JMP: case X86_OP_CALL: case X86_OP_LOOP: case X86_OP_JCXZ:
			if (!target(t, u, &off))
				return ALL;
			break;
		default:
			return ALL;
		}
	}
	return in_page(t, off) ? peek_live(t, (s32)off) : ALL;
}

/* The RIP in H_T1: H_T0 becomes its slot in the jump cache; NE: it is not there. */
static void jump_index(struct tr *t)
{
	struct emit *e = &t->e;

	if (t->code16) {
		/* jump_key() */
		put_load(e, H_T0, RM_CPU(lin_base[X86_CS]));
		put_op(e, 0xc1, true, 4, RM_REG(H_T0));		/* shl */
		put8(e, 32);
		put_op(e, 0x0b, true, H_T1, RM_REG(H_T0));	/* or */
	}
	put_jump_hash(e);
	put_op(e, OP_CMP_RM, true, H_T1,
	       RM_SIB(H_CPU, H_T0, 3, t->jump + (s32)offsetof(struct x86_jump_cache, e[0].rip)));
}

static struct rm jump_code(const struct tr *t)
{
	return RM_SIB(H_CPU, H_T0, 3, t->jump + (s32)offsetof(struct x86_jump_cache, e[0].code));
}

/* ...of an indirect branch: go on with H_T0 its slot, or the slow way. */
static void jump_lookup(struct tr *t)
{
	jump_index(t);
	t->far.from = put_jcc(&t->e, CC_NE);
	t->far.join = t->e.p;
	t->far.s = t->s;
	t->s->lookup = true;
}

void tr_far(struct tr *t)
{
	struct emit *e = &t->e;

	if (!t->far.from)
		return;
	put_target(t->far.from, e->p);
	put_store(e, H_RAX, RM_CPU(jit.tmp[2]));
	PUT(e, "\x48\x8d\x05\5\0\0\0");		/* lea rax, [rip + behind the jump] */
	put_jmp_to(e, t->c->rw + (t->c->far_find[t->tlb_mode] - t->c->rx));
	t->s = t->far.s;
	tr_slow(t, CC_NE);
	put_jmp_to(e, t->far.join);
}

/* Push the address of the instruction after @u. */
static void push_next(struct tr *t, const struct uop *u)
{
	const s32 size = (s32)tr_stack_size(t, u), next = u->off + u->insn.len;
	struct rm rm = tr_stack(t, u, X86_RSP, -size, true);
	struct emit *e = &t->e;

	if (t->code16) {
		u32 ip = (u32)(t->page_ip + next) & 0xffff;

		put_sized(t, (unsigned int)size, 0xc7, 0, rm);	/* mov, immediate */
		put_bytes(e, &ip, (unsigned int)size);
	} else {
		unsigned int reg = tr_spare(t, &rm);

		put_load(e, reg, RM_CPU(s.gpr[X86_REG_RIP]));
		put_lea(e, reg, RM_MEM(reg, next));
		put_op(e, OP_MOV_MR, t->w, reg, rm);
	}
	tr_set_sp(t, H_GUEST_RSP, -size);
}

/*
 * A CALL to @off from near an end of the canonical addresses is the handler's, which pushes nothing if it faults. Bit 47
 * changes at the other ends, too.
 */
static void check_canonical(struct tr *t, s64 off)
{
	const struct enc bt = { .w = true, .map = X86_MAP_0F, .op = 0xba };
	struct emit *e = &t->e;

	put_load(e, H_T0, RM_CPU(s.gpr[X86_REG_RIP]));
	put_lea(e, H_T1, RM_MEM(H_T0, (s32)off));
	put_op(e, OP_XOR_RM, true, H_T1, RM_REG(H_T0));
	put_insn(e, &bt, 4, RM_REG(H_T1));
	put8(e, 47);
	tr_slow(t, CC_B);
}

static bool plain_indirect(const struct tr *t, const struct uop *u)
{
	return tr_stack_ok(t, u) && (!(u->insn.flags & X86_IF_MEM) || tr_ea_ok(t, u));
}

/* H_T1: an address of @size bytes in @rm. */
static void load_ip(struct tr *t, unsigned int size, struct rm rm)
{
	const struct enc movzx = { .map = X86_MAP_0F, .op = 0xb7 };

	if (size == 2) {
		put_insn(&t->e, &movzx, H_T1, rm);
		return;
	}
	put_addr(t, OP_MOV_RM, H_T1, rm);
	if (t->code16) {
		put_imm(&t->e, 7, false, RM_REG(H_T1), 0xffff);
		tr_slow(t, CC_A);
	}
}

/* H_T1: where an indirect branch goes. */
static void load_target(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	unsigned int size = tr_stack_size(t, u);
	struct rm rm;

	if (i->flags & X86_IF_MEM)
		rm = tr_operand(t, u, size, false);
	else
		rm = host_reg(i->rm) == H_NONE ? RM_GPR(i->rm) : RM_REG(host_reg(i->rm));
	load_ip(t, size, rm);
}

static bool tr_loop(struct tr *t, const struct uop *u, s64 off)
{
	u8 *skip;

	bool w = u->insn.addrsize == 8;

	if (u->insn.addrsize == 2) {
		tr_clobber(t);
		if (u->insn.op == X86_OP_LOOP)
			put_sized(t, 2, OP_LEA, H_RCX, RM_MEM(H_RCX, -1));
		put_sized(t, 2, 0x85, H_RCX, RM_REG(H_RCX));	/* test */
		branch_to(t, u, off, u->insn.op == X86_OP_LOOP ? CC_NE : CC_E);
		return true;
	}
	if (u->insn.op == X86_OP_LOOP)
		put_op(&t->e, OP_LEA, w, H_RCX, RM_MEM(H_RCX, -1));
	if (!w)
		put8(&t->e, 0x67);			/* ECX */
	if (u->insn.op == X86_OP_LOOP) {
		PUT(&t->e, "\xe3\x00");			/* jrcxz skip */
		skip = t->e.p;
		branch_to(t, u, off, -1);
	} else {
		PUT(&t->e, "\xe3\x02\xeb\x00");		/* jrcxz +2; jmp skip */
		skip = t->e.p;
		branch_to(t, u, off, -1);
	}
	skip[-1] = (u8)(t->e.p - skip);
	return true;
}

bool tr_branch(struct tr *t, const struct uop *u)
{
	struct emit *e = &t->e;
	s64 off;

	switch (u->insn.op) {
	case X86_OP_JCC:
		if (!target(t, u, &off))
			return false;
		tr_want_flags(t, true);
		branch_to(t, u, off, u->insn.opcode & 15);
		return true;
	case X86_OP_LOOP:
	case X86_OP_JCXZ:
		return target(t, u, &off) && tr_loop(t, u, off);
	case X86_OP_JMP:
		if (!target(t, u, &off))
			return false;
		branch_to(t, u, off, -1);
		return true;
	case X86_OP_CALL:
		if (!target(t, u, &off))
			return false;
		tr_clobber(t);
		if (t->w && !in_page(t, off))
			check_canonical(t, off);
		push_next(t, u);
		branch_to(t, u, off, -1);
		return true;
	case X86_OP_JMPI:
		if (!plain_indirect(t, u))
			return false;
		tr_clobber(t);
		load_target(t, u);
		jump_lookup(t);
		put_jmp_rm(e, jump_code(t));
		return true;
	case X86_OP_CALLI:
		if (!plain_indirect(t, u))
			return false;
		tr_clobber(t);
		load_target(t, u);
		jump_lookup(t);
		put_store(e, H_T1, RM_CPU(jit.tmp[0]));
		put_load(e, H_T0, jump_code(t));
		put_store(e, H_T0, RM_CPU(jit.tmp[1]));
		push_next(t, u);
		put_load(e, H_T1, RM_CPU(jit.tmp[0]));
		put_jmp_rm(e, RM_CPU(jit.tmp[1]));
		return true;
	case X86_OP_RET:
		if (!tr_stack_ok(t, u) && !t->w)
			return false;
		tr_clobber(t);
		load_ip(t, tr_stack_size(t, u), tr_stack(t, u, X86_RSP, 0, false));
		jump_lookup(t);
		tr_set_sp(t, H_GUEST_RSP, (s32)tr_stack_size(t, u) + (u16)u->insn.imm);
		put_jmp_rm(e, jump_code(t));
		return true;
	default:
		return false;
	}
}

/* Behind the last instruction. */
void tr_end(struct tr *t, const struct uop *u)
{
	branch_to(t, u, u->off, -1);
}

/* --- ways out --- */

static void put_exit(struct tr *t, struct jit_exit *x)
{
	put_const(&t->e, H_T0, (u64)((u8 *)x - t->c->data));
	put_jmp_to(&t->e, t->c->rw + (t->c->leave - t->c->rx));
}

/* The block was counted as a whole when it was entered. */
static void put_correction(struct tr *t, const struct way_out *o)
{
	s32 left = (s32)(t->nr - o->done);

	if (!left || !t->c->count)
		return;
	put_load(&t->e, H_T1, RM_CPU(jit.insns));
	put_lea(&t->e, H_T1, RM_MEM(H_T1, -left));
	put_store(&t->e, H_T1, RM_CPU(jit.insns));
}

static void put_save_all(struct tr *t, const struct way_out *o)
{
	put_target(o->from, t->e.p);
	put_correction(t, o);
	t->where = o->where;
	if (o->where == IN_EFLAGS)
		tr_save(t, ALL);
}

/* Through the jump cache: of 16-bit code, and to an instruction that crosses the page's end. */
static void out_jump(struct tr *t, const struct way_out *o)
{
	struct emit *e = &t->e;
	u8 *miss;

	put_save_all(t, o);
	if (t->code16) {
		put_const(e, H_T1, (u32)(t->page_ip + o->off) & 0xffff);
	} else {
		put_load(e, H_T1, RM_CPU(s.gpr[X86_REG_RIP]));
		put_addr(t, OP_LEA, H_T1, RM_MEM(H_T1, o->off));
	}
	jump_index(t);
	miss = put_jcc(e, CC_NE);
	put_jmp_rm(e, jump_code(t));
	put_target(miss, e->p);
	put_const(e, H_T0, jit_site(t->cpu->core.vm, t->b, o->u->idx));
	put_jmp_to(e, t->c->rw + (t->c->far_jump[t->tlb_mode] - t->c->rx));
}

/*
 * To another page: a direct jump behind a guard, that the target's page is where it was when the jump was linked, as the
 * instruction TLB says. Until then, both ways lead to where the guard's failure does.
 */
static void out_far(struct tr *t, const struct way_out *o, struct jit_exit *x)
{
	const s32 page = o->off & ~(s32)(EMUL_PAGE_SIZE - 1);
	const s32 itlb = jit_itlb(t->tlb_mode);
	struct emit *e = &t->e;
	u8 *miss[3], *gfn;

	*x = (struct jit_exit){ .kind = JIT_EXIT_FAR, .site = jit_site(t->cpu->core.vm, t->b, o->u->idx) };
	put_save_all(t, o);
	put_load(e, H_T1, RM_CPU(s.gpr[X86_REG_RIP]));
	put_addr(t, OP_LEA, H_T1, RM_MEM(H_T1, page));
	put_page_slot(e, EMUL_ITLB_SIZE);
	put_op(e, OP_CMP_RM, true, H_T1, RM_SIB(H_CPU, H_T0, 0, itlb + (s32)offsetof(struct emul_itlb_entry, tag)));
	miss[0] = put_jcc(e, CC_NE);
	put_branch_align(e, 8);
	put_imm(e, 7, false, RM_SIB(H_CPU, H_T0, 0, itlb + (s32)offsetof(struct emul_itlb_entry, gfn)), EMUL_NO_GFN);
	gfn = e->p - 4;
	miss[1] = put_jcc(e, CC_NE);
	put_store(e, H_T1, RM_CPU(s.gpr[X86_REG_RIP]));
	put_branch_align(e, 1);
	miss[2] = put_jmp(e);
	assert((uintptr_t)gfn % 4 == 0 && miss[2] - gfn == JIT_GUARD_JUMP);
	for (unsigned int i = 0; i < ARRAY_SIZE(miss); i++)
		put_target(miss[i], e->p);
	put_addr(t, OP_LEA, H_T1, RM_MEM(H_T1, o->off - page));
	put_const(e, H_T0, (u64)((u8 *)x - t->c->data));
	put_branch_align(e, 1);
	x->patch[0] = (u32)(put_jmp(e) - t->c->rw);
	x->patch[1] = (u32)(gfn - t->c->rw);
	put_target(t->c->rw + x->patch[0], t->c->rw + (t->c->leave_far - t->c->rx));
}

static void out_near(struct tr *t, const struct way_out *o, struct jit_exit *x)
{
	struct emit *e = &t->e;
	bool save = o->where == IN_EFLAGS && o->live;
	u8 *from = o->from;

	*x = (struct jit_exit){ .kind = JIT_EXIT_LINK, .site = jit_site(t->cpu->core.vm, t->b, o->u->idx), .off = (u16)o->off };
	x->live = (u16)(o->where == IN_MEMORY || o->where == IN_BOTH ? ALL : o->live);
	put_target(from, e->p);
	if (o->done != t->nr && t->c->count) {
		put_correction(t, o);
		put_branch_align(e, 1);
		from = put_jmp(e);
		put_target(from, e->p);
	}
	x->patch[0] = (u32)(from - t->c->rw);
	if (save) {
		t->where = IN_EFLAGS;
		tr_save(t, o->live);
		put_branch_align(e, 1);
		from = put_jmp(e);
		put_target(from, e->p);
		x->patch[1] = (u32)(from - t->c->rw);
	}
	put_exit(t, x);
}

void tr_outs(struct tr *t)
{
	for (unsigned int n = 0; n < t->nr_out; n++) {
		const struct way_out *o = &t->out[n];
		struct jit_exit *x = (struct jit_exit *)(t->c->data + t->c->data_used);

		if (linkable(t, o->off))
			out_near(t, o, x);
		else if (!t->code16 && !in_page(t, o->off))
			out_far(t, o, x);
		else
			out_jump(t, o);
		t->c->data_used += sizeof(*x);
	}
}
