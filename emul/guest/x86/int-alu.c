// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-alu.c - addition, subtraction and logic
 *
 * Each operation is a pure function of its operands and CF (NAME_calc) and a note of the result (NAME_flags),
 * apart because the locked forms compute the one several times and the other once.
 */
#include "int-common.h"

#define CALC(name, expr)									\
static __always_inline u64 name##_calc(const struct x86_state *s __maybe_unused, u64 a __maybe_unused, \
				       u64 b __maybe_unused)					\
{												\
	return expr;										\
}
#define FLAGS(name, stmt)									\
static __always_inline void name##_flags(struct x86_state *s __maybe_unused, u64 a __maybe_unused, \
					 u64 b __maybe_unused, u64 r __maybe_unused,		\
						unsigned int bits __maybe_unused)		\
{												\
	stmt;											\
}

/* add and subtract: cc_wide() wants the result with its carry, which only 64-bit operands have no room for */
#define FLAGS_ADD(a, b, r)	(bits == 64 ? cc_add(s, a, b, r, 64) : cc_wide(s, a, b, r, bits))
#define FLAGS_SUB(a, b, r)	(bits == 64 ? cc_sub(s, a, b, r, 64) : cc_wide(s, a, b, r, bits))

CALC(add, a + b)		FLAGS(add, FLAGS_ADD(a, b, r))
CALC(adc, a + b + cc_cf(s))	FLAGS(adc, FLAGS_ADD(a, b, r))
CALC(sub, a - b)		FLAGS(sub, FLAGS_SUB(a, b, r))
CALC(sbb, a - b - cc_cf(s))	FLAGS(sbb, FLAGS_SUB(a, b, r))
CALC(cmp, a - b)		FLAGS(cmp, FLAGS_SUB(a, b, r))
CALC(and, a & b)		FLAGS(and, cc_logic(s, r, bits))
CALC(or, a | b)			FLAGS(or, cc_logic(s, r, bits))
CALC(xor, a ^ b)		FLAGS(xor, cc_logic(s, r, bits))
CALC(test, a & b)		FLAGS(test, cc_logic(s, r, bits))
CALC(neg, 0 - a)		FLAGS(neg, FLAGS_SUB(0, a, r))
CALC(not, ~a)			FLAGS(not, )

/*
 * INC and DEC keep CF: the carries of an addition of 1, with bit 63 put back and bit 62 (CF ^ OF) corrected.
 */
static __always_inline void keep_cf(struct x86_state *s, u64 old_aux)
{
	u64 diff = (old_aux ^ s->cc_aux) & CC_CF;

	s->cc_aux ^= diff | diff >> 1;
}
CALC(inc, a + 1)
CALC(dec, a - 1)
FLAGS(inc, u64 old = s->cc_aux; FLAGS_ADD(a, 1, r); keep_cf(s, old))
FLAGS(dec, u64 old = s->cc_aux; FLAGS_SUB(a, 1, r); keep_cf(s, old))

/* Two operands in registers, or a register and @rhs */
#define ALU_REG(name, form, write, rhs, bits)							\
HANDLER(name##_##form##bits)									\
{												\
	u##bits a = get##bits(cpu, u->d), b = rhs;						\
	u64 r = name##_calc(&cpu->s, a, b);							\
												\
	if (write)										\
		put##bits(cpu, u->d, r);							\
	name##_flags(&cpu->s, a, b, r, bits);							\
	return X86_NEXT;									\
}
#define ALU_RM(name, write, bits)								\
static __always_inline int name##_rm_do##bits(struct x86_cpu *cpu, const struct uop *u, u##bits b) \
{												\
	u##bits a = get##bits(cpu, u->d);							\
	u64 r = name##_calc(&cpu->s, a, b);							\
												\
	if (write)										\
		put##bits(cpu, u->d, r);							\
	name##_flags(&cpu->s, a, b, r, bits);							\
	return X86_NEXT;									\
}												\
SLOW(name##_rm##bits)										\
{												\
	u##bits b;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &b))	\
		return X86_FAULT;								\
	return name##_rm_do##bits(cpu, u, b);							\
}												\
HANDLER(name##_rm##bits)									\
{												\
	const void *p = fast_operand(cpu, u, bits, false);					\
												\
	return likely(p) ? name##_rm_do##bits(cpu, u, emul_read##bits(p)) : name##_rm##bits##_slow(cpu, u); \
}
/* Memory read, computed with @rhs and written back; or only read */
#define ALU_MEM_RMW(name, form, rhs, bits)							\
SLOW(name##_##form##bits)									\
{												\
	u##bits a, b = rhs;									\
	u64 lin, r;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	RMW(bits, lin, a, r, name##_calc(&cpu->s, a, b));					\
	name##_flags(&cpu->s, a, b, r, bits);							\
	return X86_NEXT;									\
}												\
HANDLER(name##_##form##bits)									\
{												\
	void *p = fast_operand(cpu, u, bits, true);						\
	u##bits a, b;										\
	u64 r;											\
												\
	if (unlikely(!p))									\
		return name##_##form##bits##_slow(cpu, u);					\
	a = emul_read##bits(p);									\
	b = rhs;										\
	r = name##_calc(&cpu->s, a, b);								\
	emul_write##bits(p, r);									\
	name##_flags(&cpu->s, a, b, r, bits);							\
	return X86_NEXT;									\
}
#define ALU_MEM_RD(name, form, rhs, bits)							\
static __always_inline int name##_##form##_do##bits(struct x86_cpu *cpu, const struct uop *u, u##bits a) \
{												\
	u##bits b = rhs;									\
												\
	name##_flags(&cpu->s, a, b, name##_calc(&cpu->s, a, b), bits);				\
	return X86_NEXT;									\
}												\
SLOW(name##_##form##bits)									\
{												\
	u##bits a;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &a))	\
		return X86_FAULT;								\
	return name##_##form##_do##bits(cpu, u, a);						\
}												\
HANDLER(name##_##form##bits)									\
{												\
	const void *p = fast_operand(cpu, u, bits, false);					\
												\
	return likely(p) ? name##_##form##_do##bits(cpu, u, emul_read##bits(p)) :		\
			   name##_##form##bits##_slow(cpu, u);					\
}
#define ALU_LOCK(name, form, rhs, bits)								\
HANDLER(name##_##form##bits)									\
{												\
	u##bits a, b = rhs, *p;									\
	int outcome;										\
	u64 lin, r;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	p = lock_ptr(cpu, lin, (bits) / 8, &outcome);						\
	if (!p)											\
		return outcome;									\
	a = __atomic_load_n(p, __ATOMIC_RELAXED);						\
	do											\
		r = name##_calc(&cpu->s, a, b);							\
	while (!LOCK_CAS(p, a, r));								\
	name##_flags(&cpu->s, a, b, r, bits);							\
	return X86_NEXT;									\
}

#define SRC_REG(bits)	get##bits(cpu, u->s)
#define SRC_IMM(bits)	(u##bits)u->insn.imm

#define DEF_BINARY(name, bits)									\
	ALU_REG(name, rr, true, SRC_REG(bits), bits)						\
	ALU_REG(name, ri, true, SRC_IMM(bits), bits)						\
	ALU_RM(name, true, bits)								\
	ALU_MEM_RMW(name, mr, SRC_REG(bits), bits)						\
	ALU_MEM_RMW(name, mi, SRC_IMM(bits), bits)						\
	ALU_LOCK(name, lmr, SRC_REG(bits), bits)						\
	ALU_LOCK(name, lmi, SRC_IMM(bits), bits)
#define DEF_COMPARE(name, bits)									\
	ALU_REG(name, rr, false, SRC_REG(bits), bits)						\
	ALU_REG(name, ri, false, SRC_IMM(bits), bits)						\
	ALU_RM(name, false, bits)								\
	ALU_MEM_RD(name, mr, SRC_REG(bits), bits)						\
	ALU_MEM_RD(name, mi, SRC_IMM(bits), bits)
#define DEF_UNARY(name, bits)									\
	ALU_REG(name, rr, true, 0, bits)							\
	ALU_MEM_RMW(name, mr, 0, bits)								\
	ALU_LOCK(name, lmr, 0, bits)

#define BINARY(NAME, name)									\
ALL_SIZES(DEF_BINARY, name)									\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE(name##_rr), [FORM_RI] = BY_SIZE(name##_ri), [FORM_RM] = BY_SIZE(name##_rm), \
	[FORM_MR] = BY_SIZE(name##_mr), [FORM_MI] = BY_SIZE(name##_mi),				\
	[FORM_LMR] = BY_SIZE(name##_lmr), [FORM_LMI] = BY_SIZE(name##_lmi),			\
} };
#define COMPARE(NAME, name)									\
ALL_SIZES(DEF_COMPARE, name)									\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE(name##_rr), [FORM_RI] = BY_SIZE(name##_ri), [FORM_RM] = BY_SIZE(name##_rm), \
	[FORM_MR] = BY_SIZE(name##_mr), [FORM_MI] = BY_SIZE(name##_mi),				\
} };
#define UNARY(NAME, name)									\
ALL_SIZES(DEF_UNARY, name)									\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE(name##_rr), [FORM_MR] = BY_SIZE(name##_mr), [FORM_LMR] = BY_SIZE(name##_lmr), \
} };

BINARY(ADD, add)
BINARY(ADC, adc)
BINARY(SUB, sub)
BINARY(SBB, sbb)
BINARY(AND, and)
BINARY(OR, or)
BINARY(XOR, xor)
COMPARE(CMP, cmp)
COMPARE(TEST, test)
UNARY(INC, inc)
UNARY(DEC, dec)
UNARY(NEG, neg)
UNARY(NOT, not)
