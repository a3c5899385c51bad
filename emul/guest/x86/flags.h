/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flags.h - arithmetic flags held as the last result
 *
 * An ALU operation stores its result and its vector of carries; each flag is a few shifts away when somebody asks,
 * and nobody mostly does. Worked example, 8-bit 0x7f + 0x01 = 0x80: the carry out of bit i is bit i of
 * (a & b) | ((a | b) & ~r) = 0x7f. cc_res = 0xffffffffffffff80 (so SF), cc_aux gets the top two carries 0 and 1 in bits
 * 63 and 62: CF = 0, CF ^ OF = 1, so OF = 1; bit 3 is AF = 1.
 */
#ifndef TENON_X86_FLAGS_H
#define TENON_X86_FLAGS_H

#include "cpu.h"

#define CC_CF		BIT_ULL(63)
#define CC_CF_XOR_OF	BIT_ULL(62)
#define CC_AF		BIT_ULL(3)
#define CC_SF_FLIP	BIT_ULL(0)
#define CC_PF_SHIFT	8

/* Keep of a vector of carries (bit i: out of bit i) what flags need. @bits is 8, 16, 32 or 64. */
static __always_inline u64 cc_carries(u64 c, unsigned int bits)
{
	return ((c << (64 - bits)) & (CC_CF | CC_CF_XOR_OF)) | (c & CC_AF);
}

static __always_inline u64 cc_sext(u64 v, unsigned int bits)
{
	return (u64)((s64)(v << (64 - bits)) >> (64 - bits));
}

/* r = a + b (+ carry) */
static __always_inline void cc_add(struct x86_state *s, u64 a, u64 b, u64 r, unsigned int bits)
{
	s->cc_res = cc_sext(r, bits);
	s->cc_aux = cc_carries((a & b) | ((a | b) & ~r), bits);
}

/* r = a - b (- borrow) */
static __always_inline void cc_sub(struct x86_state *s, u64 a, u64 b, u64 r, unsigned int bits)
{
	s->cc_res = cc_sext(r, bits);
	s->cc_aux = cc_carries((~a & b) | ((~a | b) & r), bits);
}

/* AND, OR, XOR, TEST: CF = OF = 0; AF is undefined and is cleared */
static __always_inline void cc_logic(struct x86_state *s, u64 r, unsigned int bits)
{
	s->cc_res = cc_sext(r, bits);
	s->cc_aux = 0;
}

static __always_inline bool cc_cf(const struct x86_state *s) { return s->cc_aux >> 63; }
static __always_inline bool cc_of(const struct x86_state *s) { return (s->cc_aux ^ s->cc_aux << 1) >> 63; }
static __always_inline bool cc_zf(const struct x86_state *s) { return s->cc_res == 0; }
static __always_inline bool cc_sf(const struct x86_state *s) { return (s->cc_res >> 63) ^ (s->cc_aux & CC_SF_FLIP); }
static __always_inline bool cc_af(const struct x86_state *s) { return s->cc_aux >> 3 & 1; }
static __always_inline bool cc_pf(const struct x86_state *s)
{
	return !__builtin_parity((u8)(s->cc_res ^ s->cc_aux >> CC_PF_SHIFT));
}

/* Condition code, SDM vol. 1 "EFLAGS Condition Codes" */
static __always_inline bool cc_test(const struct x86_state *s, unsigned int cc)
{
	bool r;

	switch (cc >> 1 & 7) {
	case 0: r = cc_of(s); break;
	case 1: r = cc_cf(s); break;
	case 2: r = cc_zf(s); break;
	case 3: r = cc_cf(s) || cc_zf(s); break;
	case 4: r = cc_sf(s); break;
	case 5: r = cc_pf(s); break;
	case 6: r = cc_sf(s) != cc_of(s); break;
	default: r = cc_zf(s) || cc_sf(s) != cc_of(s); break;
	}
	return r ^ (cc & 1);
}

static inline u64 cc_get(const struct x86_state *s)	/* the six arithmetic flags as RFLAGS bits */
{
	return (cc_cf(s) ? X86_CF : 0) | (cc_pf(s) ? X86_PF : 0) | (cc_af(s) ? X86_AF : 0) | (cc_zf(s) ? X86_ZF : 0) |
	       (cc_sf(s) ? X86_SF : 0) | (cc_of(s) ? X86_OF : 0);
}

static inline void cc_set(struct x86_state *s, u64 f)	/* from RFLAGS bits */
{
	bool cf = f & X86_CF, of = f & X86_OF, zf = f & X86_ZF, sf = f & X86_SF, pf = f & X86_PF;

	/* A result of 0 or 1 says ZF; SF and PF are corrected to what they should be. */
	s->cc_res = !zf;
	s->cc_aux = (cf ? CC_CF : 0) | (cf != of ? CC_CF_XOR_OF : 0) | (f & X86_AF ? CC_AF : 0) | (sf ? CC_SF_FLIP : 0) |
		    /* parity of 0 is even (PF), of 1 odd */
		    ((u64)(pf == zf ? 0 : 1) << CC_PF_SHIFT);
}

static inline u64 x86_get_rflags(const struct x86_state *s)
{
	return s->rflags | cc_get(s);
}

static inline void x86_set_rflags(struct x86_state *s, u64 f)	/* no checks; the caller calls x86_mode_changed() */
{
	cc_set(s, f);
	s->rflags = (f & ~X86_ARITH) | X86_FLAG1;
}

#endif /* TENON_X86_FLAGS_H */
