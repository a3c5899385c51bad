// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-fuzz - system instructions in random modes with random descriptor tables, stacks and registers
 *
 * Oracle: invariants of the architectural state that no instruction may break (SDM vol. 3 "Control
 * Registers", "Privilege Levels", "Extended Feature Enable Register", vol. 1 "EFLAGS Register"), and the
 * sanitizers. TEST_SEED repeats a run.
 */
#include "sys-common.h"

static u64 seed;

static u64 rnd(u64 n)
{
	return tap_random(&seed) % n;
}

/* Opcodes of the instructions under test; a ModRM byte and more are random. */
static const struct { u8 n, b[3];
} insns[] = {
	{ 1, { 0xcd } },
	{ 1, { 0xcc } },
	{ 1, { 0xce } },
	{ 1, { 0xf1 } },
	{ 1, { 0xcf } },
	{ 1, { 0xcb } },
	{ 1, { 0xca } },
	{ 1, { 0x62 } },
	{ 1, { 0xea } },
	{ 1, { 0x9a } },
	{ 1, { 0xff } },
	{ 1, { 0x8c } },
	{ 1, { 0x8e } },
	{ 1, { 0x06 } },
	{ 1, { 0x07 } },
	{ 1, { 0x16 } },
	{ 1, { 0x17 } },
	{ 1, { 0x1f } },
	{ 1, { 0xc4 } },
	{ 1, { 0xc5 } },
	{ 1, { 0x63 } },
	{ 1, { 0xfa } },
	{ 1, { 0xfb } },
	{ 1, { 0xf4 } },
	{ 2, { 0x0f, 0x00 } },
	{ 2, { 0x0f, 0x01 } },
	{ 2, { 0x0f, 0x02 } },
	{ 2, { 0x0f, 0x03 } },
	{ 2, { 0x0f, 0x05 } },
	{ 2, { 0x0f, 0x06 } },
	{ 2, { 0x0f, 0x07 } },
	{ 2, { 0x0f, 0x08 } },
	{ 2, { 0x0f, 0x09 } },
	{ 2, { 0x0f, 0x0b } },
	{ 2, { 0x0f, 0x20 } },
	{ 2, { 0x0f, 0x21 } },
	{ 2, { 0x0f, 0x22 } },
	{ 2, { 0x0f, 0x23 } },
	{ 2, { 0x0f, 0x30 } },
	{ 2, { 0x0f, 0x31 } },
	{ 2, { 0x0f, 0x32 } },
	{ 2, { 0x0f, 0x33 } },
	{ 2, { 0x0f, 0x34 } },
	{ 2, { 0x0f, 0x35 } },
	{ 2, { 0x0f, 0xa0 } },
	{ 2, { 0x0f, 0xa1 } },
	{ 2, { 0x0f, 0xa2 } },
	{ 2, { 0x0f, 0xa8 } },
	{ 2, { 0x0f, 0xa9 } },
	{ 2, { 0x0f, 0xaa } },
	{ 2, { 0x0f, 0xb2 } },
	{ 2, { 0x0f, 0xb4 } },
	{ 2, { 0x0f, 0xb5 } },
	{ 2, { 0x0f, 0xc7 } },
	{ 3, { 0xf3, 0x0f, 0xae } },
	{ 3, { 0x66, 0x0f, 0x82 } },
	{ 1, { 0x9d } },
	{ 1, { 0x9c } },
	{ 1, { 0xe4 } },
	{ 1, { 0xee } },
};

static u64 random_value(void)
{
	static const u64 nice[] = {
		0,	1,	    STACK,   DATA,	 CODE,		 HOLE,		 TSS,
		GDT,	0xffff,	    0x10000, 0xffffffff, 0x7fffffffffff, 0x800000000000, 0xffff800000000000,
		0x1000, 0x80000011, 0x20,    0x600a0,	 0xc0000080,	 0x277,		 0x200
	};

	switch (rnd(4)) {
	case 0:
		return tap_random(&seed);
	case 1:
		return rnd(0x10000);
	case 2:
		return rnd(SEL_END / 8 + 2) * 8 + rnd(8);
	default:
		return nice[rnd(ARRAY_SIZE(nice))];
	}
}

static void random_tables(void)
{
	for (unsigned int n = (unsigned int)rnd(6); n; n--) {
		u64 d = rnd(2) ? descriptor((u32)rnd(RAM_SIZE), (u32)rnd(0x100000), (u8)rnd(256),
					    (u8)rnd(16)) :
				 gate((u16)(rnd(SEL_END / 8) * 8 + rnd(8)), (u32)random_value(), (u8)rnd(256),
				      (u8)rnd(32));

		set_desc((u16)(8 + rnd(SEL_END / 8 - 1) * 8), d);
	}
	for (unsigned int n = (unsigned int)rnd(4); n; n--)
		poke(IDT + rnd(64) * 8, 8,
		     gate((u16)(rnd(SEL_END / 8) * 8 + rnd(8)), (u32)random_value(), (u8)rnd(256),
			  (u8)rnd(8)));
	for (unsigned int n = (unsigned int)rnd(8); n; n--)
		poke(TSS + rnd(0x68), 2, random_value());
	for (unsigned int i = 0; i < 0x68; i += 4)
		poke(TSS2 + i, 4, random_value());
	for (unsigned int i = 0; i < 10; i++) {
		poke(STACK + i * 8, 8, random_value());
		poke(DATA + i * 8, 8, random_value());
		poke(0x28000 + i * 4, 4, random_value());
	}
}

static void random_machine(void)
{
	switch (rnd(6)) {
	case 0:
		real_mode();
		break;
	case 1:
		v86_mode((unsigned int)rnd(4));
		break;
	case 2:
		protected32(0);
		break;
	case 3:
		protected32(3);
		break;
	case 4:
		long64(0);
		break;
	default:
		long64(3);
		break;
	}
	random_tables();
	for (unsigned int i = 0; i < 16; i++)
		if (i != X86_RSP || !rnd(4))
			s->gpr[i] = random_value();
	s->star = tap_random(&seed);
	s->lstar = CODE;
	s->sysenter_cs = random_value();
	if (!rnd(4))
		s->rflags |= rnd(2) ? X86_NT : X86_TF;
	if (!rnd(8))
		s->dr[7] |= rnd(0x10000) & 0x23ff;
	if (!rnd(4))
		s->gdtr.limit = (u16)rnd(0x100);
	if (!rnd(4))
		s->tr.limit = (u32)rnd(0x80);
	if (!rnd(4))
		s->idtr.limit = (u16)rnd(0x400);
	if (cpu->long_mode && !rnd(3))
		s->cr4 |= X86_CR4_FSGSBASE | X86_CR4_OSXSAVE | X86_CR4_UMIP | X86_CR4_SMAP;
	emul_x86_changed(vcpu);
}

static const char *broken(void)
{
	if (!(s->rflags & X86_FLAG1) || (s->rflags & X86_ARITH) || (s->rflags & ~0x3f7fd7ULL))
		return "reserved flags";
	if ((s->cr0 & X86_CR0_PG) && !(s->cr0 & X86_CR0_PE))
		return "paging without protection";
	if ((s->cr0 & X86_CR0_NW) && !(s->cr0 & X86_CR0_CD))
		return "NW without CD";
	if (!(s->efer & X86_EFER_LMA) != !((s->efer & X86_EFER_LME) && (s->cr0 & X86_CR0_PG)))
		return "LMA is not LME and PG";
	if ((s->efer & X86_EFER_LMA) && !(s->cr4 & X86_CR4_PAE))
		return "IA-32e mode without PAE";
	if ((s->efer & X86_EFER_LMA) && (s->rflags & X86_VM))
		return "virtual-8086 mode in IA-32e mode";
	if ((s->cr4 & x86_cr4_reserved(cpu)) || (s->efer & x86_efer_reserved(cpu)))
		return "reserved bits of CR4 or EFER";
	if (s->xcr0 & ~x86_xcr0_supported(cpu) || !(s->xcr0 & 1))
		return "XCR0";
	if (x86_protected(cpu) && !cpu->long_mode && (s->seg[X86_CS].attr & X86_ATTR_CODE) &&
	    !(s->seg[X86_CS].attr & X86_ATTR_E) && (s->seg[X86_SS].attr & X86_ATTR_P) &&
	    (s->seg[X86_CS].attr ^ s->seg[X86_SS].attr) & 0x60)
		return "CPL is not CS.DPL";
	if (cpu->cpl != (s->cr0 & X86_CR0_PE ? s->rflags & X86_VM ? 3 : s->seg[X86_SS].attr >> 5 & 3 : 0))
		return "CPL is not SS.DPL";
	if (cpu->code64 != ((s->efer & X86_EFER_LMA) && (s->seg[X86_CS].attr & X86_ATTR_L)))
		return "mode is stale";
	if (cpu->lin_base[X86_FS] != s->seg[X86_FS].base ||
	    cpu->lin_base[X86_DS] != (cpu->code64 ? 0 : s->seg[X86_DS].base))
		return "segment bases are stale";
	if (cpu->long_mode && (!x86_canonical(s->seg[X86_FS].base) || !x86_canonical(s->seg[X86_GS].base) ||
			       !x86_canonical(s->tr.base) || !x86_canonical(s->gdtr.base)))
		return "base not canonical";
	if (s->dr[6] & ~0xffffefffULL || !(s->dr[7] & 0x400) || s->dr[7] & ~0xffff27ffULL)
		return "fixed bits of DR6, DR7";
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		if (s->seg[i].attr & 0x0f00)
			return "segment attributes";
	return NULL;
}

int main(void)
{
	const char *env = getenv("TEST_ROUNDS");
	unsigned long rounds = env ? strtoul(env, NULL, 0) : 30000, shutdowns = 0, bad = 0;

	seed = tap_seed(0x7e404);
	diag("seed %#llx, %lu rounds", (unsigned long long)seed, rounds);
	machine_init(NULL, 2);
	for (unsigned long r = 0; r < rounds && bad < 10; r++) {
		u64 round_seed = seed;

		random_machine();
		for (unsigned int n = 0; n < 3; n++) {
			const u64 lin = cpu->code64 ? s->rip : (u32)(s->seg[X86_CS].base + s->rip);
			unsigned int k = (unsigned int)rnd(ARRAY_SIZE(insns)), len = 0;
			u8 bytes[20];
			const char *what;

			if (rnd(4) == 0)
				bytes[len++] = 0x66;
			if (cpu->code64 && rnd(3) == 0 && insns[k].n < 3)
				bytes[len++] = (u8)(0x40 | rnd(16));
			memcpy(bytes + len, insns[k].b, insns[k].n);
			len += insns[k].n;
			while (len < 16) {
				bytes[len] = (u8)rnd(256);
				len++;
			}
			if (lin + sizeof(bytes) > HOLE || lin + sizeof(bytes) < lin)
				break;
			if (step_bytes(bytes, 16) == EMUL_EXIT_SHUTDOWN) {
				shutdowns++;
				break;
			}
			what = broken();
			if (what) {
				ok(false, "round %lu (seed %#llx), %02x %02x %02x %02x %02x: %s", r,
				   (unsigned long long)round_seed, bytes[0], bytes[1], bytes[2], bytes[3],
				   bytes[4], what);
				bad++;
				break;
			}
			if (s->halted)
				break;
		}
	}
	diag("%lu shutdowns", shutdowns);
	is_u64(bad, 0, "state stays within the architecture");
	machine_exit();
	return tap_done();
}
