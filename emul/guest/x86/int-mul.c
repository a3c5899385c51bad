// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-mul.c - multiplication and division
 *
 * CF and OF say that a product did not fit; SF, ZF and PF are undefined and are those of the low half.
 */
#include "int-common.h"

/* The one-operand forms: AX = AL * op, DX:AX = AX * op, ... by size. @op in a register or in memory. */
#define ONE_OPERAND(name, bits)									\
HANDLER(name##_rr##bits)									\
{												\
	return name##_do##bits(cpu, get##bits(cpu, u->d));					\
}												\
HANDLER(name##_mr##bits)									\
{												\
	u##bits b;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &b))	\
		return X86_FAULT;								\
	return name##_do##bits(cpu, b);								\
}
#define ONE_OPERAND_OP(NAME, name)								\
ALL_SIZES(ONE_OPERAND, name)									\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE(name##_rr), [FORM_MR] = BY_SIZE(name##_mr),				\
} };

#define RAX_OFF	(X86_RAX * 8)
#define RDX_OFF	(X86_RDX * 8)

static __always_inline int mul_do8(struct x86_cpu *cpu, u8 b)
{
	u16 p = get8(cpu, RAX_OFF) * b;

	put16(cpu, RAX_OFF, p);
	cc_result(&cpu->s, p, p >> 8, p >> 8, 8);
	return X86_NEXT;
}
static __always_inline int imul1_do8(struct x86_cpu *cpu, u8 b)
{
	s16 p = (s16)((s8)get8(cpu, RAX_OFF) * (s8)b);

	put16(cpu, RAX_OFF, (u16)p);
	cc_result(&cpu->s, (u16)p, p != (s8)p, p != (s8)p, 8);
	return X86_NEXT;
}
#define MUL(bits, wide, swide)									\
static __always_inline int mul_do##bits(struct x86_cpu *cpu, u##bits b)				\
{												\
	wide p = (wide)get##bits(cpu, RAX_OFF) * b;						\
	u##bits hi = (u##bits)(p >> bits);							\
												\
	put##bits(cpu, RAX_OFF, (u##bits)p);							\
	put##bits(cpu, RDX_OFF, hi);								\
	cc_result(&cpu->s, (u##bits)p, hi, hi, bits);						\
	return X86_NEXT;									\
}												\
static __always_inline int imul1_do##bits(struct x86_cpu *cpu, u##bits b)			\
{												\
	swide p = (swide)(s##bits)get##bits(cpu, RAX_OFF) * (s##bits)b;				\
	bool over = p != (s##bits)p;								\
												\
	put##bits(cpu, RAX_OFF, (u##bits)p);							\
	put##bits(cpu, RDX_OFF, (u##bits)((wide)p >> bits));					\
	cc_result(&cpu->s, (u##bits)p, over, over, bits);					\
	return X86_NEXT;									\
}
MUL(16, u32, s32)
MUL(32, u64, s64)
MUL(64, unsigned __int128, __int128)
ONE_OPERAND_OP(MUL, mul)
ONE_OPERAND_OP(IMUL1, imul1)

/* Division: #DE for a divisor of 0 and for a quotient that does not fit. Flags are undefined and stay. */
static __always_inline int div_do8(struct x86_cpu *cpu, u8 b)
{
	u16 a = get16(cpu, RAX_OFF);

	if (unlikely(a >> 8 >= b))
		return x86_raise(cpu, X86_EXC_DE);
	put16(cpu, RAX_OFF, (u16)(a / b | a % b << 8));
	return X86_NEXT;
}
static __always_inline int idiv_do8(struct x86_cpu *cpu, u8 b)
{
	int a = (s16)get16(cpu, RAX_OFF), q;

	if (unlikely(!b))
		return x86_raise(cpu, X86_EXC_DE);
	q = a / (s8)b;
	if (unlikely(q != (s8)q))
		return x86_raise(cpu, X86_EXC_DE);
	put16(cpu, RAX_OFF, (u16)((u8)q | (u16)(u8)(a % (s8)b) << 8));
	return X86_NEXT;
}
/*
 * The high half of the dividend is less than the divisor exactly if the quotient fits. A dividend of which
 * the narrow type holds all is the common case and spares the wide division. The most negative wide dividend
 * over -1 would overflow in the host: its quotient can't fit anyway.
 */
#define DIV(bits, wide, swide)									\
static __always_inline int div_do##bits(struct x86_cpu *cpu, u##bits b)				\
{												\
	u##bits lo = get##bits(cpu, RAX_OFF), hi = get##bits(cpu, RDX_OFF), q, r;		\
												\
	if (unlikely(hi >= b))									\
		return x86_raise(cpu, X86_EXC_DE);						\
	if (likely(!hi)) {									\
		q = lo / b;									\
		r = lo % b;									\
	} else {										\
		wide a = (wide)hi << bits | lo;							\
												\
		q = (u##bits)(a / b);								\
		r = (u##bits)(a % b);								\
	}											\
	put##bits(cpu, RAX_OFF, q);								\
	put##bits(cpu, RDX_OFF, r);								\
	return X86_NEXT;									\
}												\
static __always_inline int idiv_do##bits(struct x86_cpu *cpu, u##bits ub)			\
{												\
	swide a = (swide)((wide)get##bits(cpu, RDX_OFF) << bits | get##bits(cpu, RAX_OFF)), q, r; \
	s##bits b = (s##bits)ub;								\
												\
	if (unlikely(!b || (b == -1 && a == (swide)((wide)1 << (2 * (bits) - 1)))))		\
		return x86_raise(cpu, X86_EXC_DE);						\
	if (likely(a == (s##bits)a && b != -1)) {						\
		q = (s##bits)a / b;								\
		r = (s##bits)a % b;								\
	} else {										\
		q = a / b;									\
		r = a % b;									\
	}											\
	if (unlikely(q != (s##bits)q))								\
		return x86_raise(cpu, X86_EXC_DE);						\
	put##bits(cpu, RAX_OFF, (u##bits)q);							\
	put##bits(cpu, RDX_OFF, (u##bits)r);							\
	return X86_NEXT;									\
}
DIV(16, u32, s32)
DIV(32, u64, s64)
DIV(64, unsigned __int128, __int128)
ONE_OPERAND_OP(DIV, div)
ONE_OPERAND_OP(IDIV, idiv)

/* Two and three operands: the destination is as wide as the factors. */
#define IMUL(bits, swide)									\
static __always_inline int imul_put##bits(struct x86_cpu *cpu, const struct uop *u, u##bits a, u##bits b) \
{												\
	swide p = (swide)(s##bits)a * (s##bits)b;						\
	bool over = p != (s##bits)p;								\
												\
	put##bits(cpu, u->d, (u##bits)p);							\
	cc_result(&cpu->s, (u##bits)p, over, over, bits);					\
	return X86_NEXT;									\
}												\
HANDLER(imul2_rr##bits)										\
{												\
	return imul_put##bits(cpu, u, get##bits(cpu, u->d), get##bits(cpu, u->s));		\
}												\
HANDLER(imul2_rm##bits)										\
{												\
	u##bits b;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &b))	\
		return X86_FAULT;								\
	return imul_put##bits(cpu, u, get##bits(cpu, u->d), b);					\
}												\
HANDLER(imul3_rr##bits)										\
{												\
	return imul_put##bits(cpu, u, get##bits(cpu, u->s), (u##bits)u->insn.imm);		\
}												\
HANDLER(imul3_rm##bits)										\
{												\
	u##bits a;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &a))	\
		return X86_FAULT;								\
	return imul_put##bits(cpu, u, a, (u##bits)u->insn.imm);					\
}
IMUL(16, s32)
IMUL(32, s64)
IMUL(64, __int128)
const struct interp_op interp_IMUL2 = { .fn = {
	[FORM_RR] = BY_SIZE_V(imul2_rr), [FORM_RM] = BY_SIZE_V(imul2_rm),
} };
const struct interp_op interp_IMUL3 = { .fn = {
	[FORM_RR] = BY_SIZE_V(imul3_rr), [FORM_RM] = BY_SIZE_V(imul3_rm),
} };
