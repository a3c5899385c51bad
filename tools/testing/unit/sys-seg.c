// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-seg - segment registers, descriptor-table registers and the instructions that verify descriptors
 *
 * Oracle: SDM vol. 2 "MOV", "POP", "LDS/LES/LFS/LGS/LSS", "LAR", "LSL", "VERR/VERW", "ARPL", "LGDT/LIDT",
 * "LLDT", "LTR", "SGDT", vol. 3 "Protection"; the expected values are written out here.
 */
#include "sys-common.h"

static void load32(u8 modrm, u16 sel)	/* mov sreg, ax */
{
	s->gpr[X86_RAX] = sel;
	STEP(0x8e, modrm);
}
#define MOV_ES	0xc0
#define MOV_CS	0xc8
#define MOV_SS	0xd0
#define MOV_DS	0xd8

static void test_loads(void)
{
	protected32(0);
	set_desc(SEL_DATA, descriptor(0x12345678, 0x12345, 0x92, 4));
	load32(MOV_ES, SEL_DATA);
	ok(s->seg[X86_ES].sel == SEL_DATA && s->seg[X86_ES].base == 0x12345678 &&
		   s->seg[X86_ES].limit == 0x12345 && s->seg[X86_ES].attr == 0x4093,
	   "MOV ES: base, limit, attributes");
	is_u64(peek(GDT + SEL_DATA + 5, 1), 0x93, "MOV ES: accessed bit set in memory");
	protected32(0);
	load32(MOV_DS, 3);
	ok(s->seg[X86_DS].sel == 3 && !(s->seg[X86_DS].attr & X86_ATTR_P) && s->rip == CODE + 2,
	   "MOV DS, null selector: unusable");
	s->rip = CODE;
	STEP(0x8b, 0x00);
	faulted32(X86_EXC_GP, 0, "access through it: #GP(0)");
	protected32(0);
	load32(MOV_SS, 0);
	faulted32(X86_EXC_GP, 0, "MOV SS, null selector: #GP(0)");
	protected32(0);
	load32(MOV_DS, 0x1000);
	faulted32(X86_EXC_GP, 0x1000, "MOV DS beyond the GDT: #GP(selector)");
	protected32(0);
	load32(MOV_DS, 4);
	faulted32(X86_EXC_GP, 4, "MOV DS from an unusable LDT: #GP(selector with TI)");
	protected32(0);
	load32(MOV_DS, SEL_XONLY);
	faulted32(X86_EXC_GP, SEL_XONLY, "MOV DS, execute-only code: #GP(selector)");
	protected32(0);
	load32(MOV_DS, SEL_CODE32);
	ok(s->seg[X86_DS].sel == SEL_CODE32, "MOV DS, readable code");
	protected32(0);
	load32(MOV_DS, SEL_ABSENT);
	faulted32(X86_EXC_NP, SEL_ABSENT, "MOV DS, not present: #NP(selector)");
	protected32(0);
	load32(MOV_SS, SEL_ABSENT);
	faulted32(X86_EXC_SS, SEL_ABSENT, "MOV SS, not present: #SS(selector)");
	protected32(0);
	load32(MOV_SS, SEL_RODATA);
	faulted32(X86_EXC_GP, SEL_RODATA, "MOV SS, read-only: #GP(selector)");
	protected32(0);
	load32(MOV_SS, SEL_DATA | 1);
	faulted32(X86_EXC_GP, SEL_DATA, "MOV SS, RPL not CPL: #GP(selector)");
	protected32(0);
	load32(MOV_SS, SEL_DATA_3);
	faulted32(X86_EXC_GP, SEL_DATA_3, "MOV SS, DPL not CPL: #GP(selector)");
	protected32(3);
	load32(MOV_DS, SEL_DATA);
	faulted32(X86_EXC_GP, SEL_DATA, "MOV DS, DPL 0 at CPL 3: #GP(selector)");
	protected32(0);
	load32(MOV_DS, SEL_DATA | 3);
	faulted32(X86_EXC_GP, SEL_DATA, "MOV DS, DPL 0 with RPL 3: #GP(selector)");
	protected32(3);
	load32(MOV_DS, SEL_CONF | 3);
	ok(s->seg[X86_DS].sel == (SEL_CONF | 3), "MOV DS, conforming code at any level");
	protected32(0);
	load32(MOV_DS, SEL_TSS);
	faulted32(X86_EXC_GP, SEL_TSS, "MOV DS, system descriptor: #GP(selector)");
	protected32(0);
	load32(MOV_CS, SEL_CODE32);
	ok(at_handler() == X86_EXC_UD, "MOV CS: #UD");
	protected32(0);
	load32(MOV_SS, SEL_SS16);
	ok(s->intr_shadow && cpu->stack_mask == 0xffff, "MOV SS: interrupt shadow, 16-bit stack");

	protected32(0);
	poke(STACK, 4, 0xdead0000 | SEL_RODATA);
	STEP(0x1f);
	ok(s->seg[X86_DS].sel == SEL_RODATA && s->gpr[X86_RSP] == STACK + 4, "POP DS");
	protected32(0);
	poke(STACK, 4, SEL_ABSENT);
	STEP(0x1f);
	ok(at_handler() == X86_EXC_NP && s->gpr[X86_RSP] == STACK - 16, "POP DS, not present: ESP as before");
	protected32(0);
	STEP(0x1e);
	ok(s->gpr[X86_RSP] == STACK - 4 && peek(STACK - 4, 2) == SEL_DATA, "PUSH DS");
	protected32(0);
	poke(DATA, 4, 0x11223344);
	poke(DATA + 4, 2, SEL_RODATA);
	STEP(0xc4, 0x0d, 0, 0x80, 1, 0);
	ok(s->gpr[X86_RCX] == 0x11223344 && s->seg[X86_ES].sel == SEL_RODATA, "LES");
	protected32(0);
	poke(DATA, 4, 0x11223344);
	poke(DATA + 4, 2, SEL_ABSENT);
	STEP(0x0f, 0xb2, 0x0d, 0, 0x80, 1, 0);
	ok(at_handler() == X86_EXC_SS && s->gpr[X86_RCX] == 0, "LSS, not present: #SS, register untouched");

	protected32(0);
	set_desc(SEL_LDT, descriptor(LDT, 0xff, 0x82, 0));
	poke(LDT + 8, 8, descriptor(0x777, 0xff, 0x92, 0));
	s->gpr[X86_RAX] = SEL_LDT;
	STEP(0x0f, 0x00, 0xd0);
	ok(s->ldtr.sel == SEL_LDT && s->ldtr.base == LDT, "LLDT");
	load32(MOV_ES, 8 | 4);
	ok(s->seg[X86_ES].base == 0x777, "MOV ES from the LDT");

	long64(0);
	load32(MOV_SS, 0);
	ok(s->seg[X86_SS].sel == 0 && cpu->cpl == 0 && s->rip == CODE + 2, "64-bit: null SS at CPL 0");
	long64(3);
	load32(MOV_SS, 3);
	faulted64(X86_EXC_GP, 0, "64-bit: null SS at CPL 3: #GP(0)");
	long64(0);
	s->seg[X86_FS].base = 0x1234567890;
	s->gpr[X86_RAX] = SEL_DATA;
	emul_x86_changed(vcpu);
	STEP(0x8e, 0xe0);
	ok(s->seg[X86_FS].base == 0 && cpu->lin_base[X86_FS] == 0,
	   "64-bit: MOV FS loads the base of the descriptor");
}

static bool zf(void)
{
	return cc_zf(s);
}

static void test_verify(void)
{
	static const struct {
		u16 sel;
		unsigned int cpl;
		bool lar, lsl, verr, verw;
		const char *name;
	} t[] = {
		{ 0, 0, 0, 0, 0, 0, "null" },
		{ 0x1000, 0, 0, 0, 0, 0, "beyond the table" },
		{ SEL_DATA, 0, 1, 1, 1, 1, "data" },
		{ SEL_RODATA, 0, 1, 1, 1, 0, "read-only data" },
		{ SEL_XONLY, 0, 1, 1, 0, 0, "execute-only code" },
		{ SEL_CODE32, 0, 1, 1, 1, 0, "readable code" },
		{ SEL_DATA | 3, 0, 0, 0, 0, 0, "data of DPL 0, RPL 3" },
		{ SEL_DATA, 3, 0, 0, 0, 0, "data of DPL 0, CPL 3" },
		{ SEL_CONF, 3, 1, 1, 1, 0, "conforming code, CPL 3" },
		{ SEL_TSS, 0, 1, 1, 0, 0, "busy TSS" },
		{ SEL_LDT, 0, 1, 1, 0, 0, "LDT" },
		{ SEL_TASKGATE, 0, 1, 0, 0, 0, "task gate" },
		{ SEL_ABSENT, 0, 1, 1, 1, 1, "data, not present" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		u64 d;

		protected32(t[i].cpl);
		d = peek(GDT + (t[i].sel & 0xf8), 8);
		s->gpr[X86_RAX] = t[i].sel;
		s->gpr[X86_RCX] = 0x55;
		STEP(0x0f, 0x02, 0xc8);
		ok(zf() == t[i].lar && s->gpr[X86_RCX] == (t[i].lar ? d >> 32 & 0xffff00 : 0x55), "LAR: %s",
		   t[i].name);
		s->gpr[X86_RCX] = 0x55;
		STEP(0x0f, 0x03, 0xc8);
		ok(zf() == t[i].lsl && (t[i].lsl || s->gpr[X86_RCX] == 0x55), "LSL: %s", t[i].name);
		if (t[i].lsl)
			is_u64(s->gpr[X86_RCX], d >> 55 & 1 ? 0xffffffff : (d & 0xffff), "LSL: limit of %s",
			       t[i].name);
		STEP(0x0f, 0x00, 0xe0);
		is_u64(zf(), t[i].verr, "VERR: %s", t[i].name);
		STEP(0x0f, 0x00, 0xe8);
		is_u64(zf(), t[i].verw, "VERW: %s", t[i].name);
	}
	real_mode();
	poke(6 * 4, 4, 0x3000 << 16 | 8);
	s->idtr = (struct x86_dtr) { 0, 0x3ff };
	STEP(0x0f, 0x02, 0xc8);
	is_u64(s->seg[X86_CS].sel, 0x3000, "LAR in real mode: #UD");

	protected32(0);
	s->gpr[X86_RAX] = SEL_DATA;
	s->gpr[X86_RCX] = 3;
	STEP(0x63, 0xc8);
	ok(zf() && s->gpr[X86_RAX] == (SEL_DATA | 3), "ARPL raises RPL");
	STEP(0x63, 0xc8);
	ok(!zf() && s->gpr[X86_RAX] == (SEL_DATA | 3), "ARPL leaves an RPL that is enough");
}

static void test_tables(void)
{
	protected32(0);
	poke(DATA, 2, 0x1234);
	poke(DATA + 2, 4, 0xaabbccdd);
	STEP(0x0f, 0x01, 0x1d, 0, 0x80, 1, 0);
	ok(s->idtr.limit == 0x1234 && s->idtr.base == 0xaabbccdd, "LIDT, 32-bit operand");
	protected32(0);
	poke(DATA, 2, 0x1234);
	poke(DATA + 2, 4, 0xaabbccdd);
	STEP(0x66, 0x0f, 0x01, 0x1d, 0, 0x80, 1, 0);
	is_u64(s->idtr.base, 0xbbccdd, "LIDT, 16-bit operand: 24 bits of base");
	protected32(3);
	STEP(0x0f, 0x01, 0x1d, 0, 0x80, 1, 0);
	faulted32(X86_EXC_GP, 0, "LIDT at CPL 3: #GP(0)");
	protected32(3);
	STEP(0x0f, 0x01, 0x05, 0, 0x80, 1, 0);
	ok(peek(DATA, 2) == SEL_END - 1 && peek(DATA + 2, 4) == GDT, "SGDT at CPL 3");
	protected32(3);
	s->cr4 |= X86_CR4_UMIP;
	STEP(0x0f, 0x01, 0x05, 0, 0x80, 1, 0);
	faulted32(X86_EXC_GP, 0, "SGDT at CPL 3 with UMIP: #GP(0)");
	protected32(3);
	s->cr4 |= X86_CR4_UMIP;
	STEP(0x0f, 0x00, 0xc8);
	faulted32(X86_EXC_GP, 0, "STR at CPL 3 with UMIP: #GP(0)");
	long64(0);
	poke(DATA, 2, 0xfff);
	poke(DATA + 2, 8, 0xffff800012345678);
	STEP(0x0f, 0x01, 0x14, 0x25, 0, 0x80, 1, 0);
	ok(s->gdtr.base == 0xffff800012345678 && s->gdtr.limit == 0xfff, "LGDT, 64-bit");
	long64(0);
	poke(DATA + 2, 8, 0x0000800012345678);
	STEP(0x0f, 0x01, 0x14, 0x25, 0, 0x80, 1, 0);
	faulted64(X86_EXC_GP, 0, "LGDT, base not canonical: #GP(0)");

	long64(0);
	set_desc(SEL_TSS, descriptor(TSS, 0x67, 0x89, 0));
	poke(GDT + SEL_TSS + 8, 8, 0xffff8000);
	s->gpr[X86_RAX] = SEL_TSS;
	STEP(0x0f, 0x00, 0xd8);
	ok(s->tr.base == (0xffff800000000000 | TSS) && s->tr.attr == 0x8b &&
		   peek(GDT + SEL_TSS + 5, 1) == 0x8b,
	   "LTR, 64-bit: base, busy");
	s->rip = CODE;
	STEP(0x0f, 0x00, 0xd8);
	ok(at_handler() < 0 || at_handler() == X86_EXC_GP, "LTR of a busy TSS faults");
	protected32(0);
	s->gpr[X86_RAX] = SEL_TSS;
	STEP(0x0f, 0x00, 0xd8);
	faulted32(X86_EXC_GP, SEL_TSS, "LTR of a busy TSS: #GP(selector)");
	protected32(0);
	s->gpr[X86_RAX] = 0;
	STEP(0x0f, 0x00, 0xd8);
	faulted32(X86_EXC_GP, 0, "LTR of a null selector: #GP(0)");
	protected32(0);
	s->gpr[X86_RAX] = SEL_DATA;
	STEP(0x0f, 0x00, 0xd0);
	faulted32(X86_EXC_GP, SEL_DATA, "LLDT of a data segment: #GP(selector)");
	protected32(0);
	s->gpr[X86_RAX] = 0xffffffff;
	STEP(0x0f, 0x00, 0xc8);
	is_u64(s->gpr[X86_RAX], SEL_TSS, "STR to a 32-bit register: zero-extended");
}

static void test_io(void)
{
	protected32(3);
	poke(TSS + 0x68 + 0x70 / 8, 1, 0xfe);
	memset(ram + TSS + 0x68 + 0x80 / 8, 0xff, 2);
	ok(x86_io_allowed(cpu, 0x70, 1), "I/O bitmap: clear bit");
	ok(!x86_io_allowed(cpu, 0x70, 2) && cpu->exc.vector == X86_EXC_GP,
	   "I/O bitmap: a word needs two clear bits");
	ok(!x86_io_allowed(cpu, 0x80, 1), "I/O bitmap: set bit: #GP(0)");
	ok(x86_io_allowed(cpu, 0xfff0, 1), "I/O bitmap: near the end of the TSS");
	s->tr.limit = 0x68 + 0x10;
	ok(x86_io_allowed(cpu, 0x78, 1) && !x86_io_allowed(cpu, 0x80, 1),
	   "I/O bitmap: two bytes must be within the limit");
	s->rflags |= X86_IOPL;
	ok(x86_io_allowed(cpu, 0x80, 1), "IOPL 3 needs no bitmap");
}

int main(void)
{
	machine_init(NULL, 1);
	test_loads();
	test_verify();
	test_tables();
	test_io();
	machine_exit();
	return tap_done();
}
