// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.c - effective addresses and the software TLB, inline
 *
 *	lea	r15, [operand]			; linear address
 *	rorx	r14d, r15d, 12 - 5		; emul_tlb_index(), as an offset of entries
 *	and	r14d, (entries - 1) << 5
 *	xor	r15, [rsp + r14 + tag]		; offset in the page, if the entry is the page's
 *	cmp	r15, 4096 - size		; larger: another page, or over the page's end
 *	ja	slow
 *	mov	r14, [rsp + r14 + host]
 *	op	[r15 + r14]
 *
 * Hot code has memos beside the table, for the accesses that mostly stay within one page. A memo lengthens no chain of
 * dependent loads by more than two instructions:
 *
 *	lea	r15, [operand]
 *	sub	r15, [rsp + memo.base]
 *	cmp	r15, [rsp + memo.limit]		; 0: empty
 *	jae	miss
 *	mov	r14, [rsp + memo.host]
 *	op	[r15 + r14]
 */
#include "translate.h"

void tr_slow(struct tr *t, unsigned int cc)
{
	t->s->from[t->s->nr++] = put_jcc(&t->e, cc);
}

bool tr_ea_ok(const struct tr *t, const struct uop *u)
{
	if (t->code16)
		return true;
	/* outside 64-bit mode CS may not be written, and perhaps not read */
	if (!t->w && u->insn.seg == X86_CS)
		return false;
	/* what a 32-bit address does with the upper half of a displacement does not matter */
	return (u->insn.disp == (s32)u->insn.disp || !t->w) && u->insn.addrsize >= 4;
}

struct rm tr_ea(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	unsigned int base = H_NONE, index = H_NONE;

	if (i->base == X86_REG_RIP) {
		put_load(&t->e, H_T1, RM_CPU(s.gpr[X86_REG_RIP]));
		base = H_T1;
	} else if (i->base != X86_REG_ZERO) {
		base = host_reg(i->base);
		if (base == H_NONE) {
			put_load(&t->e, H_T1, RM_GPR(i->base));
			base = H_T1;
		}
	}
	if (i->index != X86_REG_ZERO) {
		index = host_reg(i->index);
		if (index == H_NONE) {
			put_load(&t->e, H_T0, RM_GPR(i->index));
			index = H_T0;
		}
	}
	if (base == H_NONE) {
		/* [index * scale + disp] and [disp] want encodings of their own: a base of zero instead */
		put_op(&t->e, 0x8b, false, H_T1, RM_CPU(s.gpr[X86_REG_ZERO]));
		base = H_T1;
	}
	return index == H_NONE ? RM_MEM(base, (s32)i->disp) : RM_SIB(base, index, i->scale, (s32)i->disp);
}

/* Of 16-bit code: the offset in H_T1, perhaps with more bits than an address of @addrsize has, becomes linear. */
static void segment(struct tr *t, unsigned int seg, unsigned int addrsize, unsigned int size, bool write)
{
	const struct enc movzx = { .map = X86_MAP_0F, .op = 0xb7 };
	struct emit *e = &t->e;

	if (addrsize == 2)
		put_insn(e, &movzx, H_T1, RM_REG(H_T1));
	put_lea(e, H_T0, RM_MEM(H_T1, (s32)size));
	put_op(e, OP_CMP_RM, true, H_T0, RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, bound) + 16 * seg + 8 * write)));
	tr_slow(t, CC_A);
	put_op(e, OP_ADD_RM, false, H_T1, RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, lin_base) + 8 * seg)));
}

void tr_linear(struct tr *t, const struct uop *u, unsigned int size, bool write)
{
	struct rm rm = tr_ea(t, u);

	if (t->code16) {
		put_op(&t->e, OP_LEA, false, H_T1, rm);
		segment(t, u->insn.seg, u->insn.addrsize, size, write);
		return;
	}
	if (u->insn.addrsize == 8 && rm.index == H_NONE && !rm.disp) {
		if (rm.reg != H_T1)
			put_move(&t->e, H_T1, rm.reg);
	} else {
		put_op(&t->e, OP_LEA, u->insn.addrsize == 8, H_T1, rm);
	}
	if (u->insn.seg != X86_FS && u->insn.seg != X86_GS)
		return;
	if (!t->w) {
		const struct enc test = { .op = 0xf6 };

		put_insn(&t->e, &test, 0, RM_CPU(flat));
		put8(&t->e, BIT(u->insn.seg));
		tr_slow(t, CC_E);
	}
	put_addr(t, OP_ADD_RM, H_T1, RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, lin_base) + 8 * u->insn.seg)));
}

static void table(struct tr *t, unsigned int size, bool write)
{
	struct emit *e = &t->e;
	s32 tag = write ? offsetof(struct emul_tlb_entry, wtag) : offsetof(struct emul_tlb_entry, rtag);

	static_assert(EMUL_PAGE_SHIFT + EMUL_TLB_BITS <= 32, "the slot is in the lower half of the address");
	put_page_slot(e, EMUL_TLB_SIZE);
	put_op(e, OP_XOR_RM, true, H_T1, RM_SIB(H_CPU, H_T0, 0, t->tlb + tag));
	put_imm(e, 7, true, RM_REG(H_T1), EMUL_PAGE_SIZE - size);
	tr_slow(t, CC_A);
	put_load(e, H_T0, RM_SIB(H_CPU, H_T0, 0, t->tlb + (s32)offsetof(struct emul_tlb_entry, host)));
}

static struct rm memo(unsigned int n, size_t field)
{
	return RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, jit.memo) + n * sizeof(struct x86_jit_memo) + field));
}
#define MEMO(n, field)	memo(n, offsetof(struct x86_jit_memo, field))

/*
 * A miss costs several times what a hit saves. So a translation with memos is made twice: the first counts, and the second
 * has memos where they were of use.
 */
#define MEMO_USES	64
#define MEMO_GAIN	16
static bool take_memo(struct tr *t, unsigned int *n)
{
	struct x86_jit_memo *m;

	if (!t->memos)
		return false;
	*n = t->first_memo + t->nr_lookups++;
	if (*n >= X86_JIT_MEMOS || t->nr_miss == ARRAY_SIZE(t->miss))
		return false;
	m = &t->cpu->jit.memo[*n];
	if (!t->measure)
		return m->uses >= MEMO_USES && m->misses < m->uses / MEMO_GAIN;
	m->uses = m->misses = 0;
	return true;
}

void tr_lookup(struct tr *t, unsigned int size, bool write)
{
	struct emit *e = &t->e;
	unsigned int n;
	u8 *from;

	if (!take_memo(t, &n)) {
		table(t, size, write);
		return;
	}
	if (t->measure)
		put_op(e, 0xff, false, 0, MEMO(n, uses));	/* inc */
	put_op(e, 0x2b, true, H_T1, MEMO(n, base));		/* sub */
	put_op(e, OP_CMP_RM, true, H_T1, MEMO(n, limit));
	from = put_jcc(e, CC_AE);
	put_load(e, H_T0, MEMO(n, host));
	t->s->lookup = true;
	t->miss[t->nr_miss++] = (struct miss){
		.from = from, .join = e->p, .s = t->s, .memo = n, .size = size, .write = write,
	};
}

static void put_set_bit(struct tr *t, size_t words, unsigned int n)
{
	put_imm(&t->e, 1, false, RM_MEM(H_CPU, (s32)(words + n / 32 * 4)), 1U << n % 32);
}

void tr_misses(struct tr *t)
{
	struct emit *e = &t->e;

	for (unsigned int k = 0; k < t->nr_miss; k++) {
		const struct miss *m = &t->miss[k];
		unsigned int n = m->memo;

		put_target(m->from, e->p);
		t->s = m->s;
		if (t->measure)
			put_op(e, 0xff, false, 0, MEMO(n, misses));
		put_op(e, OP_ADD_RM, true, H_T1, MEMO(n, base));
		put_store(e, H_T1, RM_CPU(jit.tmp[2]));
		table(t, m->size, m->write);
		put_store(e, H_T0, MEMO(n, host));
		put_load(e, H_T1, RM_CPU(jit.tmp[2]));
		put_imm(e, 4, true, RM_REG(H_T1), (u32)EMUL_PAGE_MASK);
		put_store(e, H_T1, MEMO(n, base));
		put_op(e, 0xc7, true, 0, MEMO(n, limit));
		put32(e, (u32)EMUL_PAGE_SIZE - m->size + 1);
		put_set_bit(t, offsetof(struct x86_cpu, jit.memo_used), n);
		put_set_bit(t, offsetof(struct x86_cpu, jit.memo_words), n / 32);
		/* not H_T0: the access waits for what the table said, not for the memo */
		put_load(e, H_T1, RM_CPU(jit.tmp[2]));
		put_imm(e, 4, false, RM_REG(H_T1), EMUL_PAGE_SIZE - 1);
		put_jmp_to(e, m->join);
	}
}

struct rm tr_operand(struct tr *t, const struct uop *u, unsigned int size, bool write)
{
	const struct tr_near *near = &t->near[u->idx][TR_OPERAND];

	if (near->group && t->group[near->group - 1].ready)
		return tr_group_operand(t, near, (struct rm){ 0 });
	tr_clobber(t);
	if (near->group)
		return tr_group_operand(t, near, tr_ea(t, u));
	tr_linear(t, u, size, write);
	tr_lookup(t, size, write);
	return RM_SIB(H_T1, H_T0, 0, 0);
}

struct rm tr_stack(struct tr *t, const struct uop *u, unsigned int reg, s32 off, bool write)
{
	const struct tr_near *near = &t->near[u->idx][TR_STACK];

	if (!near->group || !t->group[near->group - 1].ready)
		tr_clobber(t);
	if (near->group)
		return tr_group_operand(t, near, RM_MEM(host_reg(reg), off));
	put_addr(t, off ? OP_LEA : OP_MOV_RM, H_T1, off ? RM_MEM(host_reg(reg), off) : RM_REG(host_reg(reg)));
	if (t->code16)
		segment(t, X86_SS, 2, tr_stack_size(t, u), write);
	tr_lookup(t, tr_stack_size(t, u), write);
	return RM_SIB(H_T1, H_T0, 0, 0);
}

unsigned int tr_spare(struct tr *t, struct rm *rm)
{
	if (tr_t1_free(*rm))
		return H_T1;
	put_lea(&t->e, H_T1, *rm);
	*rm = RM_MEM(H_T1, 0);
	return H_T0;
}

/* H_T1 is the offset in the page, or becomes the host address: the low bits are the same. */
void tr_aligned(struct tr *t, struct rm rm, unsigned int size)
{
	if (tr_t1_free(rm)) {
		tr_clobber(t);
		put_lea(&t->e, H_T1, rm);
	}
	put_op(&t->e, 0xf7, false, 0, RM_REG(H_T1));		/* test r15d, size - 1 */
	put32(&t->e, size - 1);
	tr_slow(t, CC_NE);
}
