// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-move.c - data movement, exchanges, conversions, and the flags as data
 */
#include "int-common.h"

/* --- MOV --- */

#define MOV_STORE(name, form, rhs, bits)							\
SLOW(name##_##form##bits)									\
{												\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin) || !x86_store##bits(cpu, lin, rhs)) \
		return X86_FAULT;								\
	return X86_NEXT;									\
}												\
HANDLER(name##_##form##bits)									\
{												\
	void *p = fast_operand(cpu, u, bits, true);						\
												\
	if (unlikely(!p))									\
		return name##_##form##bits##_slow(cpu, u);					\
	emul_write##bits(p, rhs);								\
	return X86_NEXT;									\
}
#define DEF_MOV(name, bits)									\
HANDLER(name##_rr##bits)									\
{												\
	put##bits(cpu, u->d, get##bits(cpu, u->s));						\
	return X86_NEXT;									\
}												\
HANDLER(name##_ri##bits)									\
{												\
	put##bits(cpu, u->d, (u##bits)u->insn.imm);						\
	return X86_NEXT;									\
}												\
SLOW(name##_rm##bits)										\
{												\
	u##bits v;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &v))	\
		return X86_FAULT;								\
	put##bits(cpu, u->d, v);								\
	return X86_NEXT;									\
}												\
HANDLER(name##_rm##bits)									\
{												\
	const void *p = fast_operand(cpu, u, bits, false);					\
												\
	if (unlikely(!p))									\
		return name##_rm##bits##_slow(cpu, u);						\
	put##bits(cpu, u->d, emul_read##bits(p));						\
	return X86_NEXT;									\
}												\
MOV_STORE(name, mr, get##bits(cpu, u->s), bits)							\
MOV_STORE(name, mi, (u##bits)u->insn.imm, bits)
ALL_SIZES(DEF_MOV, mov)
const struct interp_op interp_MOV = { .fn = {
	[FORM_RR] = BY_SIZE(mov_rr), [FORM_RI] = BY_SIZE(mov_ri), [FORM_RM] = BY_SIZE(mov_rm),
	[FORM_MR] = BY_SIZE(mov_mr), [FORM_MI] = BY_SIZE(mov_mi),
} };
/* The hint not to cache is not taken; the ordering offered is stronger than the one asked for. */
const struct interp_op interp_MOVNTI = { .fn = { [FORM_MR] = { NULL, mov_mr32, mov_mr32, mov_mr64 } } };

/* MOVZX, MOVSX: from @src bits to @bits */
#define DEF_EXTEND(name, sign, src, bits)							\
HANDLER(name##_rr##bits)									\
{												\
	put##bits(cpu, u->d, (u##bits)(sign##src)get##src(cpu, u->s));				\
	return X86_NEXT;									\
}												\
SLOW(name##_rm##bits)										\
{												\
	u##src v;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (src) / 8, ACC_READ, &lin) || !x86_load##src(cpu, lin, &v))	\
		return X86_FAULT;								\
	put##bits(cpu, u->d, (u##bits)(sign##src)v);						\
	return X86_NEXT;									\
}												\
HANDLER(name##_rm##bits)									\
{												\
	const void *p = fast_operand(cpu, u, src, false);					\
												\
	if (unlikely(!p))									\
		return name##_rm##bits##_slow(cpu, u);						\
	put##bits(cpu, u->d, (u##bits)(sign##src)emul_read##src(p));				\
	return X86_NEXT;									\
}
#define EXTEND(NAME, name, sign, src)								\
V_SIZES(DEF_EXTEND, name, sign, src)								\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE_V(name##_rr), [FORM_RM] = BY_SIZE_V(name##_rm),			\
} };
EXTEND(MOVZXB, movzxb, u, 8)
EXTEND(MOVZXW, movzxw, u, 16)
EXTEND(MOVSXB, movsxb, s, 8)
EXTEND(MOVSXW, movsxw, s, 16)
/* Without REX.W MOVSXD is a MOV; of 16 bits, it reads as many. */
DEF_EXTEND(movsxd, s, 16, 16)
DEF_EXTEND(movsxd, s, 32, 32)
DEF_EXTEND(movsxd, s, 32, 64)
const struct interp_op interp_MOVSXD = { .fn = {
	[FORM_RR] = BY_SIZE_V(movsxd_rr), [FORM_RM] = BY_SIZE_V(movsxd_rm),
} };

#define DEF_MOVBE(name, bits)									\
HANDLER(name##_rm##bits)									\
{												\
	u##bits v;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &v))	\
		return X86_FAULT;								\
	put##bits(cpu, u->d, __builtin_bswap##bits(v));						\
	return X86_NEXT;									\
}												\
HANDLER(name##_mr##bits)									\
{												\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin) ||				\
	    !x86_store##bits(cpu, lin, __builtin_bswap##bits(get##bits(cpu, u->s))))		\
		return X86_FAULT;								\
	return X86_NEXT;									\
}
V_SIZES(DEF_MOVBE, movbe)
const struct interp_op interp_MOVBE = { .fn = {
	[FORM_RM] = BY_SIZE_V(movbe_rm), [FORM_MR] = BY_SIZE_V(movbe_mr),
} };

#define DEF_LEA(name, bits)									\
HANDLER(name##_rm##bits)									\
{												\
	put##bits(cpu, u->d, (u##bits)x86_ea(cpu, u));						\
	return X86_NEXT;									\
}
V_SIZES(DEF_LEA, lea)
const struct interp_op interp_LEA = { .fn = { [FORM_RM] = BY_SIZE_V(lea_rm) } };

HANDLER(xlat)
{
	u64 ea = (cpu->s.gpr[X86_RBX] + get8(cpu, X86_RAX * 8)) & addr_mask(u), lin;
	u8 v;

	if (!x86_linear(cpu, u->insn.seg, ea, 1, ACC_READ, &lin) || !x86_load8(cpu, lin, &v))
		return X86_FAULT;
	put8(cpu, X86_RAX * 8, v);
	return X86_NEXT;
}
const struct interp_op interp_XLAT = IOP_ALL(xlat);

/* CBW, CWDE, CDQE and CWD, CDQ, CQO by operand size */
#define DEF_WIDEN(half, bits)									\
HANDLER(cbw##bits)										\
{												\
	(void)u;										\
	put##bits(cpu, X86_RAX * 8, (u##bits)(s##half)get##half(cpu, X86_RAX * 8));		\
	return X86_NEXT;									\
}												\
HANDLER(cwd##bits)										\
{												\
	(void)u;										\
	put##bits(cpu, X86_RDX * 8, (u##bits)((s##bits)get##bits(cpu, X86_RAX * 8) >> ((bits) - 1))); \
	return X86_NEXT;									\
}
DEF_WIDEN(8, 16)
DEF_WIDEN(16, 32)
DEF_WIDEN(32, 64)
const struct interp_op interp_CBW = { .fn = { [FORM_RR] = BY_SIZE_V(cbw) } };
const struct interp_op interp_CWD = { .fn = { [FORM_RR] = BY_SIZE_V(cwd) } };

/* --- exchanges --- */

#define DEF_XCHG(name, bits)									\
HANDLER(name##_rr##bits)									\
{												\
	u##bits a = get##bits(cpu, u->d), b = get##bits(cpu, u->s);				\
												\
	put##bits(cpu, u->s, a);								\
	put##bits(cpu, u->d, b);								\
	return X86_NEXT;									\
}												\
HANDLER(name##_mr##bits)									\
{												\
	u##bits a, r;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	RMW(bits, lin, a, r, get##bits(cpu, u->s));						\
	put##bits(cpu, u->s, a);								\
	return X86_NEXT;									\
}												\
HANDLER(name##_lmr##bits)									\
{												\
	int outcome;										\
	u##bits *p;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	p = lock_ptr(cpu, lin, (bits) / 8, &outcome);						\
	if (!p)											\
		return outcome;									\
	put##bits(cpu, u->s, __atomic_exchange_n(p, get##bits(cpu, u->s), __ATOMIC_SEQ_CST));	\
	return X86_NEXT;									\
}
ALL_SIZES(DEF_XCHG, xchg)
const struct interp_op interp_XCHG = { .fn = {
	[FORM_RR] = BY_SIZE(xchg_rr), [FORM_MR] = BY_SIZE(xchg_mr), [FORM_LMR] = BY_SIZE(xchg_lmr),
} };

/* The source register gets the old destination first: with both the same, the sum remains. */
#define DEF_XADD(name, bits)									\
HANDLER(name##_rr##bits)									\
{												\
	u##bits a = get##bits(cpu, u->d), b = get##bits(cpu, u->s), r = a + b;			\
												\
	put##bits(cpu, u->s, a);								\
	put##bits(cpu, u->d, r);								\
	cc_add(&cpu->s, a, b, r, bits);								\
	return X86_NEXT;									\
}												\
HANDLER(name##_mr##bits)									\
{												\
	u##bits a, b = get##bits(cpu, u->s), r;							\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	RMW(bits, lin, a, r, a + b);								\
	put##bits(cpu, u->s, a);								\
	cc_add(&cpu->s, a, b, r, bits);								\
	return X86_NEXT;									\
}												\
HANDLER(name##_lmr##bits)									\
{												\
	u##bits a, b = get##bits(cpu, u->s), *p;						\
	int outcome;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	p = lock_ptr(cpu, lin, (bits) / 8, &outcome);						\
	if (!p)											\
		return outcome;									\
	a = __atomic_fetch_add(p, b, __ATOMIC_SEQ_CST);						\
	put##bits(cpu, u->s, a);								\
	cc_add(&cpu->s, a, b, (u##bits)(a + b), bits);						\
	return X86_NEXT;									\
}
ALL_SIZES(DEF_XADD, xadd)
const struct interp_op interp_XADD = { .fn = {
	[FORM_RR] = BY_SIZE(xadd_rr), [FORM_MR] = BY_SIZE(xadd_mr), [FORM_LMR] = BY_SIZE(xadd_lmr),
} };

/*
 * CMPXCHG: a failed comparison writes the destination back to memory as it was. Of registers, only the one
 * that receives something new is written: no upper half is cleared in the other.
 */
#define DEF_CMPXCHG(name, bits)									\
static __always_inline void name##_done##bits(struct x86_cpu *cpu, u##bits acc, u##bits old)	\
{												\
	if (acc != old)										\
		put##bits(cpu, X86_RAX * 8, old);						\
	cc_sub(&cpu->s, acc, old, (u##bits)(acc - old), bits);					\
}												\
HANDLER(name##_rr##bits)									\
{												\
	u##bits acc = get##bits(cpu, X86_RAX * 8), old = get##bits(cpu, u->d);			\
												\
	if (acc == old)										\
		put##bits(cpu, u->d, get##bits(cpu, u->s));					\
	name##_done##bits(cpu, acc, old);							\
	return X86_NEXT;									\
}												\
HANDLER(name##_mr##bits)									\
{												\
	u##bits acc = get##bits(cpu, X86_RAX * 8), old, r;					\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	RMW(bits, lin, old, r, old == acc ? get##bits(cpu, u->s) : old);			\
	name##_done##bits(cpu, acc, old);							\
	return X86_NEXT;									\
}												\
HANDLER(name##_lmr##bits)									\
{												\
	u##bits acc = get##bits(cpu, X86_RAX * 8), old = acc, *p;				\
	int outcome;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	p = lock_ptr(cpu, lin, (bits) / 8, &outcome);						\
	if (!p)											\
		return outcome;									\
	LOCK_CAS(p, old, get##bits(cpu, u->s));							\
	name##_done##bits(cpu, acc, old);							\
	return X86_NEXT;									\
}
ALL_SIZES(DEF_CMPXCHG, cmpxchg)
const struct interp_op interp_CMPXCHG = { .fn = {
	[FORM_RR] = BY_SIZE(cmpxchg_rr), [FORM_MR] = BY_SIZE(cmpxchg_mr), [FORM_LMR] = BY_SIZE(cmpxchg_lmr),
} };

static __always_inline u64 edx_eax(const struct x86_cpu *cpu)
{
	return (u64)(u32)cpu->s.gpr[X86_RDX] << 32 | (u32)cpu->s.gpr[X86_RAX];
}
static __always_inline u64 ecx_ebx(const struct x86_cpu *cpu)
{
	return (u64)(u32)cpu->s.gpr[X86_RCX] << 32 | (u32)cpu->s.gpr[X86_RBX];
}
static int cmpxchg8b_done(struct x86_cpu *cpu, bool equal, u64 old)
{
	if (!equal) {
		cpu->s.gpr[X86_RAX] = (u32)old;
		cpu->s.gpr[X86_RDX] = old >> 32;
	}
	cc_put_zf(&cpu->s, equal);
	return X86_NEXT;
}
HANDLER(cmpxchg8b)
{
	u64 lin, old, r, expect = edx_eax(cpu);

	if (!x86_operand(cpu, u, 8, ACC_WRITE, &lin))
		return X86_FAULT;
	RMW(64, lin, old, r, old == expect ? ecx_ebx(cpu) : old);
	(void)r;
	return cmpxchg8b_done(cpu, old == expect, old);
}
HANDLER(cmpxchg8b_lock)
{
	u64 lin, expect = edx_eax(cpu), old = expect, *p;
	int outcome;
	bool equal;

	if (!x86_operand(cpu, u, 8, ACC_WRITE, &lin))
		return X86_FAULT;
	p = lock_ptr(cpu, lin, 8, &outcome);
	if (!p)
		return outcome;
	equal = LOCK_CAS(p, old, ecx_ebx(cpu));
	return cmpxchg8b_done(cpu, equal, old);
}
const struct interp_op interp_CMPXCHG8B = { .fn = {
	[FORM_MR] = IOP_SIZES(cmpxchg8b), [FORM_LMR] = IOP_SIZES(cmpxchg8b_lock),
} };

static int cmpxchg16b_done(struct x86_cpu *cpu, bool equal, const u64 old[2])
{
	if (!equal) {
		cpu->s.gpr[X86_RAX] = old[0];
		cpu->s.gpr[X86_RDX] = old[1];
	}
	cc_put_zf(&cpu->s, equal);
	return X86_NEXT;
}
HANDLER(cmpxchg16b)
{
	u64 lin, old[2], new[2];
	bool equal;

	if (!x86_operand(cpu, u, 16, ACC_WRITE, &lin))
		return X86_FAULT;
	if (lin & 15)
		return x86_gp0(cpu);
	if (!x86_probe(cpu, lin, 16, ACC_WRITE) || !x86_load_bytes(cpu, lin, old, 16))
		return X86_FAULT;
	equal = old[0] == cpu->s.gpr[X86_RAX] && old[1] == cpu->s.gpr[X86_RDX];
	new[0] = equal ? cpu->s.gpr[X86_RBX] : old[0];
	new[1] = equal ? cpu->s.gpr[X86_RCX] : old[1];
	if (!x86_store_bytes(cpu, lin, new, 16))
		return X86_FAULT;
	return cmpxchg16b_done(cpu, equal, old);
}

/*
 * Compare and exchange the 16 aligned bytes at @p; false, with what is there in @old, if they are not @old.
 */
static bool cas16(void *p, u64 old[2], u64 lo, u64 hi)
{
	bool equal;

#ifdef __x86_64__
	asm volatile("lock cmpxchg16b %1"
		     : "=@ccz" (equal), "+m" (*(unsigned __int128 *)p), "+a" (old[0]), "+d" (old[1])
		     : "b" (lo), "c" (hi)
		     : "memory");
#else
	unsigned __int128 seen = (unsigned __int128)old[1] << 64 | old[0];

	equal = __atomic_compare_exchange_n((unsigned __int128 *)p, &seen, (unsigned __int128)hi << 64 | lo,
					    false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	old[0] = (u64)seen;
	old[1] = (u64)(seen >> 64);
#endif
	return equal;
}
HANDLER(cmpxchg16b_lock)
{
	u64 lin, old[2] = { cpu->s.gpr[X86_RAX], cpu->s.gpr[X86_RDX] };
	int outcome;
	bool equal;
	void *p;

	if (!x86_operand(cpu, u, 16, ACC_WRITE, &lin))
		return X86_FAULT;
	if (lin & 15)
		return x86_gp0(cpu);
	p = lock_ptr(cpu, lin, 16, &outcome);
	if (!p)
		return outcome;
	equal = cas16(p, old, cpu->s.gpr[X86_RBX], cpu->s.gpr[X86_RCX]);
	return cmpxchg16b_done(cpu, equal, old);
}
const struct interp_op interp_CMPXCHG16B = { .fn = {
	[FORM_MR] = IOP_SIZES(cmpxchg16b), [FORM_LMR] = IOP_SIZES(cmpxchg16b_lock),
} };

/* --- by condition --- */

#define ALL_CC(DEF)	DEF(0) DEF(1) DEF(2) DEF(3) DEF(4) DEF(5) DEF(6) DEF(7) DEF(8) DEF(9) DEF(10) DEF(11) \
			DEF(12) DEF(13) DEF(14) DEF(15)
#define CC_TABLE(p)	{ p##0, p##1, p##2, p##3, p##4, p##5, p##6, p##7, p##8, p##9, p##10, p##11, p##12, \
			  p##13, p##14, p##15 }

#define DEF_SETCC(n)										\
HANDLER(setcc_##n)										\
{												\
	put8(cpu, u->d, cc_test(&cpu->s, n));							\
	return X86_NEXT;									\
}
ALL_CC(DEF_SETCC)
static const uop_fn setcc_by_cc[16] = CC_TABLE(setcc_);

HANDLER(setcc_rr)
{
	put8(cpu, u->d, cc_test(&cpu->s, u->insn.opcode));
	return X86_NEXT;
}
HANDLER(setcc_mr)
{
	u64 lin;

	if (!x86_operand(cpu, u, 1, ACC_WRITE, &lin) ||
	    !x86_store8(cpu, lin, cc_test(&cpu->s, u->insn.opcode)))
		return X86_FAULT;
	return X86_NEXT;
}
const struct interp_op interp_SETCC = {
	.fn = { [FORM_RR] = IOP_SIZES(setcc_rr), [FORM_MR] = IOP_SIZES(setcc_mr) },
	.cc = setcc_by_cc,
};

/* A 32-bit CMOV clears the upper half of its destination whether it moves or not. */
static __always_inline int cmov_do(struct x86_cpu *cpu, const struct uop *u, bool yes)
{
	u8 from = yes ? u->s : u->d;

	switch (u->osz) {
	case 1:
		put16(cpu, u->d, get16(cpu, from));
		break;
	case 2:
		put32(cpu, u->d, get32(cpu, from));
		break;
	default:
		put64(cpu, u->d, get64(cpu, from));
	}
	return X86_NEXT;
}
#define DEF_CMOVCC(n)										\
HANDLER(cmovcc_##n)										\
{												\
	return cmov_do(cpu, u, cc_test(&cpu->s, n));						\
}
ALL_CC(DEF_CMOVCC)
static const uop_fn cmovcc_by_cc[16] = CC_TABLE(cmovcc_);

/* The source is read, and may fault, whatever the condition. */
#define DEF_CMOV_RM(name, bits)									\
HANDLER(name##_rm##bits)									\
{												\
	u##bits v;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &v))	\
		return X86_FAULT;								\
	put##bits(cpu, u->d, cc_test(&cpu->s, u->insn.opcode) ? v : get##bits(cpu, u->d));	\
	return X86_NEXT;									\
}
V_SIZES(DEF_CMOV_RM, cmovcc)
HANDLER(cmovcc_rr)
{
	return cmov_do(cpu, u, cc_test(&cpu->s, u->insn.opcode));
}
const struct interp_op interp_CMOVCC = {
	.fn = { [FORM_RR] = IOP_SIZES(cmovcc_rr), [FORM_RM] = BY_SIZE_V(cmovcc_rm) },
	.cc = cmovcc_by_cc,
};

/* --- flags as data --- */

#define FLAG_OP(NAME, name, stmt)								\
HANDLER(name)											\
{												\
	(void)u;										\
	stmt;											\
	return X86_NEXT;									\
}												\
const struct interp_op interp_##NAME = IOP_ALL(name);

#define AH_FLAGS	(X86_SF | X86_ZF | X86_AF | X86_PF | X86_CF)
FLAG_OP(LAHF, lahf, put8(cpu, X86_RAX * 8 + 1, (cc_get(&cpu->s) & AH_FLAGS) | X86_FLAG1))
FLAG_OP(SAHF, sahf,
	cc_set(&cpu->s, (get8(cpu, X86_RAX * 8 + 1) & AH_FLAGS) | (cc_of(&cpu->s) ? X86_OF : 0)))
FLAG_OP(SALC, salc, put8(cpu, X86_RAX * 8, cc_cf(&cpu->s) ? 0xff : 0))
FLAG_OP(CLC, clc, cc_put_cf(&cpu->s, false))
FLAG_OP(STC, stc, cc_put_cf(&cpu->s, true))
FLAG_OP(CMC, cmc, cc_put_cf(&cpu->s, !cc_cf(&cpu->s)))
FLAG_OP(CLD, cld, cpu->s.rflags &= ~X86_DF)
FLAG_OP(STD, std_, cpu->s.rflags |= X86_DF)
