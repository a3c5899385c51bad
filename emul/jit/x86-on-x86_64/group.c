// SPDX-License-Identifier: GPL-2.0-only
/*
 * group.c - accesses near one another share one TLB lookup
 *
 * Most accesses of a block are to the stack, to members of a structure or to neighbours in an array: to one register, or
 * one pair, plus different constants. A pass over the block numbers the values of the registers, so that what is the same
 * value plus a constant is known as such: PUSH and POP, a frame pointer made from RSP, a pointer that steps. Accesses of
 * the same value within GROUP_SPAN bytes are a group. Its first access looks up the whole range, for writing if any
 * member writes, and keeps the host address (jit.near); the others are one load away from it, and leave EFLAGS alone.
 *
 * When that lookup fails (a page's end lies in the range, the page may not be written, a TLB miss), the interpreter
 * executes the instructions from there to the group's end: the host address was never made. Groups that overlap end
 * together for that reason: a *region*. See jit_chain() for blocks where this happens often.
 */
#include "translate.h"

#define GROUP_SPAN	256

struct value {
	u16 root;
	s64 off;
};

struct values {
	struct value reg[X86_REG_COUNT];
	u16 next;
	u8 width;		/* of addresses */
};

static void forget(struct values *v, unsigned int reg)
{
	v->reg[reg] = (struct value){ .root = v->next++ };
}

/* The operands are registers as wide as addresses. */
static bool whole(const struct values *v, const struct x86_insn *i)
{
	return i->opsize == v->width && !(i->flags & X86_IF_MEM);
}

/* What the instruction does to general registers that its operands don't tell; ~0: unknown. */
static u32 implied(const struct uop *u)
{
	switch (u->insn.op) {
	case X86_OP_MUL: case X86_OP_IMUL1: case X86_OP_DIV: case X86_OP_IDIV: case X86_OP_CWD:
		return BIT(X86_RAX) | BIT(X86_RDX);
	case X86_OP_MOVS: case X86_OP_STOS:
		return BIT(X86_RCX) | BIT(X86_RSI) | BIT(X86_RDI);
	case X86_OP_CMPXCHG: case X86_OP_CBW: case X86_OP_LAHF:
		return BIT(X86_RAX);
	case X86_OP_BSWAP: case X86_OP_NOP: case X86_OP_PREFETCH: case X86_OP_LFENCE: case X86_OP_SFENCE: case X86_OP_MFENCE:
	case X86_OP_XCHG: case X86_OP_MOV: case X86_OP_LEA: case X86_OP_CLC: case X86_OP_STC: case X86_OP_CMC:
	case X86_OP_SAHF: case X86_OP_CLI: case X86_OP_STI: case X86_OP_CLD: case X86_OP_STD: case X86_OP_SWAPGS:
	case X86_OP_JCC: case X86_OP_JMP:
		return 0;
	case X86_OP_PUSH: case X86_OP_POP: case X86_OP_LEAVE:	/* forms that step() does not know */
		return BIT(X86_RSP) | BIT(X86_RBP);
	}
	switch (x86_op_class[u->insn.op]) {
	case X86_CLASS_VEC:
		return x86_rows[u->insn.row].flags & X86_RF_IMP_ECX ? BIT(X86_RCX) : 0;
	case X86_CLASS_FPU:
		return BIT(X86_RAX);
	default:
		return tr_alu_taken(u) ? 0 : ~0U;
	}
}

static void forget_written(struct values *v, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	u32 mask = implied(u);

	for (unsigned int k = 0; k < ARRAY_SIZE(x86_rows[i->row].opnd); k++) {
		const struct x86_opnd *o = &x86_rows[i->row].opnd[k];
		unsigned int reg;

		if (!(o->access & X86_WR))
			continue;
		switch (o->kind) {
		case X86_OK_E: case X86_OK_R: case X86_OK_M:
			if (i->flags & X86_IF_MEM)
				continue;
			reg = i->rm;
			break;
		case X86_OK_Z:
			reg = i->rm;
			break;
		case X86_OK_G:
			reg = i->reg;
			break;
		case X86_OK_B:
			reg = i->vvvv;
			break;
		case X86_OK_ACC:
			reg = X86_RAX;
			break;
		case X86_OK_V: case X86_OK_W: case X86_OK_U: case X86_OK_H: case X86_OK_ST0: case X86_OK_STI:
		case X86_OK_Y:
			continue;
		default:
			mask = ~0U;
			continue;
		}
		mask |= BIT(reg & 15);
		if (x86_opnd_size(i, o) == 1 && !(i->flags & X86_IF_REX))
			mask |= BIT(reg & 3);		/* AH..BH */
	}
	for (unsigned int reg = 0; reg <= X86_R15; reg++)
		if (mask >> reg & 1)
			forget(v, reg);
}

/* The values after the instruction. */
static void step(struct values *v, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	const struct x86_row *row = &x86_rows[i->row];
	struct value val;

	switch (i->op) {
	case X86_OP_PUSH:
		if (i->opsize != v->width)
			break;
		v->reg[X86_RSP].off -= v->width;
		return;
	case X86_OP_POP:
		if (!whole(v, i))
			break;
		v->reg[X86_RSP].off += v->width;
		forget(v, i->rm & 15);
		return;
	case X86_OP_LEAVE:
		if (i->opsize != v->width)
			break;
		v->reg[X86_RSP] = v->reg[X86_RBP];
		v->reg[X86_RSP].off += v->width;
		forget(v, X86_RBP);
		return;
	case X86_OP_MOV:
		if (!whole(v, i) || (row->opnd[1].kind != X86_OK_G && row->opnd[1].kind != X86_OK_E))
			break;
		if (row->opnd[0].kind == X86_OK_E)
			v->reg[i->rm] = v->reg[i->reg];
		else if (row->opnd[0].kind == X86_OK_G)
			v->reg[i->reg] = v->reg[i->rm];
		else
			break;
		return;
	case X86_OP_LEA:
		if (i->opsize != v->width || i->addrsize != v->width || i->index != X86_REG_ZERO)
			break;
		val = v->reg[i->base];
		val.off += i->disp;
		v->reg[i->reg] = val;
		return;
	case X86_OP_ADD: case X86_OP_SUB:
		if (!whole(v, i) || row->opnd[1].kind != X86_OK_I || !(row->flags & X86_RF_MODRM))
			break;
		v->reg[i->rm].off += i->op == X86_OP_ADD ? (s64)i->imm : -(s64)i->imm;
		return;
	case X86_OP_INC: case X86_OP_DEC:
		if (!whole(v, i))
			break;
		v->reg[i->rm].off += i->op == X86_OP_INC ? 1 : -1;
		return;
	}
	forget_written(v, u);
}

/* --- accesses --- */

struct access {
	u16 base, index;	/* roots */
	u8 scale, size;
	bool write;
	s64 off;
	unsigned int uop;
	struct tr_near *near;
};

static void note(struct access *a, unsigned int *nr, const struct access *new, struct tr_near *near)
{
	if (!new->size)
		return;
	a[*nr] = *new;
	a[(*nr)++].near = near;
}

static void note_operand(struct tr *t, struct access *a, unsigned int *nr, const struct values *v, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	const struct x86_row *row = &x86_rows[i->row];
	struct access new = { .uop = u->idx };

	if (!(i->flags & X86_IF_MEM) || i->seg == X86_FS || i->seg == X86_GS || i->addrsize != t->width || !tr_ea_ok(t, u) ||
	    i->op == X86_OP_LEA || i->op == X86_OP_NOP || i->op == X86_OP_PREFETCH ||
	    (t->w && (i->disp < -(1LL << 30) || i->disp > 1LL << 30)))
		return;
	for (unsigned int k = 0; k < ARRAY_SIZE(row->opnd); k++) {
		const struct x86_opnd *o = &row->opnd[k];

		if (o->kind == X86_OK_E || o->kind == X86_OK_M || o->kind == X86_OK_W) {
			new.size = (u8)x86_opnd_size(i, o);
			new.write = o->access & X86_WR;
		}
	}
	new.base = v->reg[i->base].root;
	new.off = i->disp + v->reg[i->base].off;
	new.index = v->reg[X86_REG_ZERO].root;
	if (i->index != X86_REG_ZERO) {
		new.index = v->reg[i->index].root;
		new.scale = i->scale;
		new.off += v->reg[i->index].off * (1 << i->scale);
	}
	note(a, nr, &new, &t->near[u->idx][TR_OPERAND]);
}

static void note_stack(struct tr *t, struct access *a, unsigned int *nr, const struct values *v, const struct uop *u)
{
	const struct value *val = &v->reg[u->insn.op == X86_OP_LEAVE ? X86_RBP : X86_RSP];
	struct access new = {
		.base = val->root, .index = v->reg[X86_REG_ZERO].root, .off = val->off, .size = t->width, .uop = u->idx,
	};

	switch (u->insn.op) {
	case X86_OP_PUSH:
	case X86_OP_CALL:
	case X86_OP_CALLI:
		new.write = true;
		new.off -= t->width;
		break;
	case X86_OP_POP:
		if (u->insn.flags & X86_IF_MEM)
			return;
		break;
	case X86_OP_RET:
	case X86_OP_LEAVE:
		break;
	default:
		return;
	}
	if (u->insn.opsize == t->width)
		note(a, nr, &new, &t->near[u->idx][TR_STACK]);
}

/* In no group yet, and of the same value as @a. */
static bool candidate(const struct access *a, const struct access *b)
{
	return !b->near->group && b->base == a->base && b->index == a->index && b->scale == a->scale;
}

/* The accesses from @a on that can be reached from it become a group, if there are any beside it. */
static void make_group(struct tr *t, struct access *a, const struct access *end)
{
	s64 low = a->off, high = a->off + a->size, last = a->uop;
	struct tr_group *g = &t->group[t->nr_groups];
	unsigned int members = 0;
	bool write = false;

	for (struct access *b = a; b < end; b++) {
		s64 l = min(low, b->off), h = max(high, b->off + b->size);

		if (!candidate(a, b) || h - l > GROUP_SPAN)
			continue;
		low = l;
		high = h;
		last = b->uop;
		write |= b->write;
		members++;
	}
	if (members < 2)
		return;
	for (struct access *b = a; b < end; b++) {
		if (!candidate(a, b) || b->off < low || b->off + b->size > high || b->uop > last)
			continue;
		*b->near = (struct tr_near){ .group = (u8)(t->nr_groups + 1), .off = (s16)(b->off - low) };
	}
	*g = (struct tr_group){ .size = (u16)(high - low), .write = write, .first = (u8)a->uop, .last = (u8)last };
	t->nr_groups++;
}

void tr_find_groups(struct tr *t)
{
	struct access a[2 * X86_BLOCK_MAX];
	unsigned int nr = 0;
	struct values v = { .width = t->width };

	for (unsigned int reg = 0; reg < X86_REG_COUNT; reg++)
		forget(&v, reg);
	for (unsigned int n = 0; n < t->nr; n++) {
		const struct uop *u = &t->uop[n];

		note_operand(t, a, &nr, &v, u);
		note_stack(t, a, &nr, &v, u);
		step(&v, u);
	}
	for (unsigned int n = 0; n < nr && t->nr_groups < X86_JIT_NEAR; n++)
		if (!a[n].near->group)
			make_group(t, &a[n], a + nr);
	/* groups are in the order of their first members: what overlaps ends together */
	for (unsigned int n = 0; n < t->nr_groups; ) {
		unsigned int last = t->group[n].last, m = n + 1;

		for (; m < t->nr_groups && t->group[m].first <= last; m++)
			last = max(last, (unsigned int)t->group[m].last);
		for (; n < m; n++)
			t->group[n].last = (u8)last;
	}
}

/* --- emitting them --- */

/*
 * The operand that @near says, whose first byte is at @lin (an operand of LEA, which may use the scratch registers). A member
 * whose group has no host address yet looks it up: the first, or the one behind it if a handler does that.
 */
struct rm tr_group_operand(struct tr *t, const struct tr_near *near, struct rm lin)
{
	struct tr_group *g = &t->group[near->group - 1];
	struct rm slot = RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, jit.near) + 8 * (near->group - 1)));

	if (!g->ready) {
		lin.disp = (s32)((u32)lin.disp - (u32)near->off);
		put_addr(t, OP_LEA, H_T1, lin);
		tr_lookup(t, g->size, g->write);
		put_lea(&t->e, H_T0, RM_SIB(H_T1, H_T0, 0, 0));
		put_store(&t->e, H_T0, slot);
		t->s->chain = g->last + 1u - t->s->u->idx;
		g->ready = true;
	} else if (t->e.t0 != near->group) {
		put_load(&t->e, H_T0, slot);
	}
	t->e.t0 = near->group;
	return RM_MEM(H_T0, near->off);
}
