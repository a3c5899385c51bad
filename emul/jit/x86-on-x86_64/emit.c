// SPDX-License-Identifier: GPL-2.0-only
/*
 * emit.c - encoding host instructions: prefixes, ModRM, SIB, displacement
 */
#include "emit.h"

static void put_modrm(struct emit *e, unsigned int reg, struct rm rm)
{
	unsigned int mod, base = rm.reg & 7;
	bool sib = rm.index != H_NONE || base == 4;

	reg = (reg & 7) << 3;
	if (!rm.mem) {
		put8(e, 0xc0 | reg | base);
		return;
	}
	/* base 5 with mod 0 would be no base: it takes a displacement of 0 */
	mod = !rm.disp && base != 5 ? 0 : rm.disp == (s8)rm.disp ? 1 : 2;
	put8(e, mod << 6 | reg | (sib ? 4 : base));
	if (sib)
		put8(e, rm.scale << 6 | (rm.index == H_NONE ? 4 : rm.index & 7) << 3 | base);
	if (mod == 1)
		put8(e, (u8)rm.disp);
	else if (mod == 2)
		put32(e, (u32)rm.disp);
}

void put_insn(struct emit *e, const struct enc *c, unsigned int reg, struct rm rm)
{
	bool r = reg & 8, x = rm.index != H_NONE && rm.index & 8, b = rm.reg & 8;

	if (reg == H_T0 || (!rm.mem && rm.reg == H_T0))
		e->t0 = 0;

	if (c->vex) {
		put8(e, 0xc4);
		put8(e, !r << 7 | !x << 6 | !b << 5 | c->map);
		put8(e, c->w << 7 | (~c->vvvv & 15) << 3 | c->l << 2 | c->pp);
	} else {
		u8 rex = c->w << 3 | r << 2 | x << 1 | b;

		if (c->lock)
			put8(e, 0xf0);
		if (c->opsz)
			put8(e, c->opsz);
		if (c->rep)
			put8(e, c->rep);
		if (rex || c->rex)
			put8(e, 0x40 | rex);
		if (c->map != X86_MAP_1)
			put8(e, 0x0f);
		if (c->map == X86_MAP_0F38)
			put8(e, 0x38);
		else if (c->map == X86_MAP_0F3A)
			put8(e, 0x3a);
	}
	put8(e, c->op);
	put_modrm(e, reg, rm);
}
