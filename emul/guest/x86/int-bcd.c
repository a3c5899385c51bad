// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-bcd.c - decimal adjustment, SDM vol. 1 "Decimal Arithmetic Instructions"
 */
#include "int-common.h"

#define AL_OFF	(X86_RAX * 8)
#define AH_OFF	(X86_RAX * 8 + 1)

static void cc_bcd(struct x86_state *s, u8 al, bool cf, bool af)
{
	cc_result(s, al, cf, false, 8);
	s->cc_aux |= af ? CC_AF : 0;
}

static __always_inline int ascii_adjust(struct x86_cpu *cpu, int sign)
{
	u8 al = get8(cpu, AL_OFF);
	bool adjust = (al & 0xf) > 9 || cc_af(&cpu->s);

	if (adjust)
		put16(cpu, AL_OFF, (u16)(get16(cpu, AL_OFF) + sign * 0x106));
	al = get8(cpu, AL_OFF) & 0xf;
	put8(cpu, AL_OFF, al);
	cc_bcd(&cpu->s, al, adjust, adjust);
	return X86_NEXT;
}
HANDLER(aaa)
{
	(void)u;
	return ascii_adjust(cpu, 1);
}
HANDLER(aas)
{
	(void)u;
	return ascii_adjust(cpu, -1);
}

static __always_inline int decimal_adjust(struct x86_cpu *cpu, int sign)
{
	u8 old = get8(cpu, AL_OFF), al = old;
	bool af = (old & 0xf) > 9 || cc_af(&cpu->s), cf = old > 0x99 || cc_cf(&cpu->s);

	if (af)
		al = (u8)(al + sign * 6);
	if (cf)
		al = (u8)(al + sign * 0x60);
	/* DAS of a small AL borrows in its first step. */
	if (sign < 0 && af && old < 6)
		cf = true;
	put8(cpu, AL_OFF, al);
	cc_bcd(&cpu->s, al, cf, af);
	return X86_NEXT;
}
HANDLER(daa)
{
	(void)u;
	return decimal_adjust(cpu, 1);
}
HANDLER(das)
{
	(void)u;
	return decimal_adjust(cpu, -1);
}

HANDLER(aam)
{
	u8 base = (u8)u->insn.imm, al = get8(cpu, AL_OFF);

	if (!base)
		return x86_raise(cpu, X86_EXC_DE);
	put8(cpu, AH_OFF, al / base);
	put8(cpu, AL_OFF, al % base);
	cc_bcd(&cpu->s, al % base, false, false);
	return X86_NEXT;
}
HANDLER(aad)
{
	u8 al = (u8)(get8(cpu, AL_OFF) + get8(cpu, AH_OFF) * (u8)u->insn.imm);

	put16(cpu, AL_OFF, al);
	cc_bcd(&cpu->s, al, false, false);
	return X86_NEXT;
}

const struct interp_op interp_AAA = IOP_ALL(aaa);
const struct interp_op interp_AAS = IOP_ALL(aas);
const struct interp_op interp_DAA = IOP_ALL(daa);
const struct interp_op interp_DAS = IOP_ALL(das);
const struct interp_op interp_AAM = IOP_ALL(aam);
const struct interp_op interp_AAD = IOP_ALL(aad);
