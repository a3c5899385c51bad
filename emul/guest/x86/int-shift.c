// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-shift.c - shifts and rotates
 *
 * A count of 0 (after masking) leaves the flags alone but still writes the operand. OF is defined for a count
 * of 1; for others the formula for 1 is applied to the result, which is what processors do.
 */
#include "int-common.h"

static __always_inline unsigned int count_mask(unsigned int bits)
{
	return bits == 64 ? 63 : 31;
}
static __always_inline bool bit_of(u64 v, unsigned int n)
{
	return v >> n & 1;
}

/*
 * NAME_calc: the result for a count of 0..31 or 0..63; NAME_flags: the flags when the count is not 0, from
 * the operand, the count and the result, with CF still the old one.
 */
static __always_inline u64 shl_calc(const struct x86_state *s __maybe_unused, u64 a, unsigned int n,
				    unsigned int bits)
{
	return a << n & bits_mask(bits);
}
static __always_inline void shl_flags(struct x86_state *s, u64 a, unsigned int n, u64 r, unsigned int bits)
{
	bool cf = bits == 64 ? bit_of(a, 64 - n) : bit_of(a << n, bits & 63);

	cc_result(s, r, cf, cf ^ bit_of(r, bits - 1), bits);
}

static __always_inline u64 shr_calc(const struct x86_state *s __maybe_unused, u64 a, unsigned int n,
				    unsigned int bits __maybe_unused)
{
	return a >> n;
}
static __always_inline void shr_flags(struct x86_state *s, u64 a, unsigned int n, u64 r, unsigned int bits)
{
	cc_result(s, r, bit_of(a, n - 1), bit_of(r, bits - 1) ^ bit_of(r, bits - 2), bits);
}

static __always_inline u64 sar_calc(const struct x86_state *s __maybe_unused, u64 a, unsigned int n,
				    unsigned int bits)
{
	return (u64)((s64)cc_sext(a, bits) >> n) & bits_mask(bits);
}
static __always_inline void sar_flags(struct x86_state *s, u64 a, unsigned int n, u64 r, unsigned int bits)
{
	cc_result(s, r, bit_of(cc_sext(a, bits), n - 1), false, bits);
}

static __always_inline u64 rol_calc(const struct x86_state *s __maybe_unused, u64 a, unsigned int n,
				    unsigned int bits)
{
	n &= bits - 1;
	return n ? (a << n | a >> (bits - n)) & bits_mask(bits) : a;
}
static __always_inline void rol_flags(struct x86_state *s, u64 a __maybe_unused,
				      unsigned int n __maybe_unused, u64 r,
				      unsigned int bits)
{
	cc_put_cf_of(s, r & 1, (r & 1) ^ bit_of(r, bits - 1));
}

static __always_inline u64 ror_calc(const struct x86_state *s __maybe_unused, u64 a, unsigned int n,
				    unsigned int bits)
{
	n &= bits - 1;
	return n ? (a >> n | a << (bits - n)) & bits_mask(bits) : a;
}
static __always_inline void ror_flags(struct x86_state *s, u64 a __maybe_unused,
				      unsigned int n __maybe_unused, u64 r,
				      unsigned int bits)
{
	cc_put_cf_of(s, bit_of(r, bits - 1), bit_of(r, bits - 1) ^ bit_of(r, bits - 2));
}

/* Rotates through CF turn bits + 1 bits. */
static __always_inline unsigned int rc_count(unsigned int n, unsigned int bits)
{
	return bits < 32 ? n % (bits + 1) : n;
}
static __always_inline u64 rcl_calc(const struct x86_state *s, u64 a, unsigned int n, unsigned int bits)
{
	n = rc_count(n, bits);
	if (!n)
		return a;
	return (a << n | (u64)cc_cf(s) << (n - 1) | (n > 1 ? a >> (bits + 1 - n) : 0)) & bits_mask(bits);
}
static __always_inline void rcl_flags(struct x86_state *s, u64 a, unsigned int n, u64 r, unsigned int bits)
{
	bool cf;

	n = rc_count(n, bits);
	cf = n ? bit_of(a, bits - n) : cc_cf(s);
	cc_put_cf_of(s, cf, cf ^ bit_of(r, bits - 1));
}

static __always_inline u64 rcr_calc(const struct x86_state *s, u64 a, unsigned int n, unsigned int bits)
{
	n = rc_count(n, bits);
	if (!n)
		return a;
	return (a >> n | (u64)cc_cf(s) << (bits - n) | (n > 1 ? a << (bits + 1 - n) : 0)) & bits_mask(bits);
}
static __always_inline void rcr_flags(struct x86_state *s, u64 a, unsigned int n, u64 r, unsigned int bits)
{
	bool cf;

	n = rc_count(n, bits);
	cf = n ? bit_of(a, n - 1) : cc_cf(s);
	cc_put_cf_of(s, cf, bit_of(r, bits - 1) ^ bit_of(r, bits - 2));
}

#define SHIFT_REG(name, form, count, bits)							\
HANDLER(name##_##form##bits)									\
{												\
	unsigned int n = (count) & count_mask(bits);						\
	u##bits a = get##bits(cpu, u->d), r = name##_calc(&cpu->s, a, n, bits);			\
												\
	put##bits(cpu, u->d, r);								\
	if (likely(n))										\
		name##_flags(&cpu->s, a, n, r, bits);						\
	return X86_NEXT;									\
}
#define SHIFT_MEM(name, form, count, bits)							\
HANDLER(name##_##form##bits)									\
{												\
	unsigned int n = (count) & count_mask(bits);						\
	u##bits a, r;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	RMW(bits, lin, a, r, name##_calc(&cpu->s, a, n, bits));					\
	if (likely(n))										\
		name##_flags(&cpu->s, a, n, r, bits);						\
	return X86_NEXT;									\
}
#define DEF_SHIFT(name, bits)									\
	SHIFT_REG(name, rr, get8(cpu, u->s), bits)						\
	SHIFT_REG(name, ri, u->insn.imm, bits)							\
	SHIFT_MEM(name, mr, get8(cpu, u->s), bits)						\
	SHIFT_MEM(name, mi, u->insn.imm, bits)
#define SHIFT(NAME, name)									\
ALL_SIZES(DEF_SHIFT, name)									\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE(name##_rr), [FORM_RI] = BY_SIZE(name##_ri),				\
	[FORM_MR] = BY_SIZE(name##_mr), [FORM_MI] = BY_SIZE(name##_mi),				\
} };

SHIFT(SHL, shl)
SHIFT(SHR, shr)
SHIFT(SAR, sar)
SHIFT(ROL, rol)
SHIFT(ROR, ror)
SHIFT(RCL, rcl)
SHIFT(RCR, rcr)

/*
 * Double shifts. With 16-bit operands counts over 16 are undefined; processors go on shifting the destination
 * in, as if it stood on both sides of the source.
 */
static __always_inline u64 shld_calc(u64 a, u64 b, unsigned int n, unsigned int bits)
{
	if (bits == 16)
		return (a << 32 | b << 16 | a) << n >> 32 & 0xffff;
	return n ? (a << n | b >> (bits - n)) & bits_mask(bits) : a;
}
static __always_inline void shld_flags(struct x86_state *s, u64 a, u64 b, unsigned int n, u64 r,
				       unsigned int bits)
{
	bool cf = bits == 16 ? bit_of(a << 32 | b << 16 | a, 48 - n) : bit_of(a, bits - n);

	cc_result(s, r, cf, bit_of(r, bits - 1) ^ bit_of(a, bits - 1), bits);
}

static __always_inline u64 shrd_calc(u64 a, u64 b, unsigned int n, unsigned int bits)
{
	if (bits == 16)
		return (a << 32 | b << 16 | a) >> n & 0xffff;
	return n ? (a >> n | b << (bits - n)) & bits_mask(bits) : a;
}
static __always_inline void shrd_flags(struct x86_state *s, u64 a, u64 b, unsigned int n, u64 r,
				       unsigned int bits)
{
	bool cf = bits == 16 ? bit_of(a << 32 | b << 16 | a, n - 1) : bit_of(a, n - 1);

	cc_result(s, r, cf, bit_of(r, bits - 1) ^ bit_of(r, bits - 2), bits);
}

static __always_inline unsigned int double_count(const struct x86_cpu *cpu, const struct uop *u,
						 unsigned int bits)
{
	u64 n = u->insn.immsize ? u->insn.imm : cpu->s.gpr[X86_RCX];

	return n & count_mask(bits);
}

#define DEF_DOUBLE(name, bits)									\
HANDLER(name##_rr##bits)									\
{												\
	unsigned int n = double_count(cpu, u, bits);						\
	u##bits a = get##bits(cpu, u->d), b = get##bits(cpu, u->s), r = name##_calc(a, b, n, bits); \
												\
	put##bits(cpu, u->d, r);								\
	if (n)											\
		name##_flags(&cpu->s, a, b, n, r, bits);					\
	return X86_NEXT;									\
}												\
HANDLER(name##_mr##bits)									\
{												\
	unsigned int n = double_count(cpu, u, bits);						\
	u##bits a, b = get##bits(cpu, u->s), r;							\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin))					\
		return X86_FAULT;								\
	RMW(bits, lin, a, r, name##_calc(a, b, n, bits));					\
	if (n)											\
		name##_flags(&cpu->s, a, b, n, r, bits);					\
	return X86_NEXT;									\
}
#define DOUBLE(NAME, name)									\
V_SIZES(DEF_DOUBLE, name)									\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE_V(name##_rr), [FORM_MR] = BY_SIZE_V(name##_mr),			\
	} };

DOUBLE(SHLD, shld)
DOUBLE(SHRD, shrd)
