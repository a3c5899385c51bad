// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-vme - virtual interrupts: CR4.VME in virtual-8086 mode, CR4.PVI in protected mode
 *
 * Oracle: SDM vol. 3 "Interrupt and Exception Handling in Virtual-8086 Mode" (the methods of its table
 * "Software Interrupt Handling Methods While in Virtual-8086 Mode"), "Protected-Mode Virtual Interrupts";
 * vol. 2 "CLI", "STI", "PUSHF", "POPF", "IRET", "INT n".
 */
#include "sys-common.h"

static void start(unsigned int iopl, u64 flags)
{
	v86_mode(iopl);
	s->cr4 = X86_CR4_VME;
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_VM | iopl << 12 | flags);
	poke(TSS + 0x66, 2, 0x100);		/* redirection bitmap at 0xe0 */
	emul_x86_changed(vcpu);
}

static void test_flags(void)
{
	start(0, X86_IF);
	STEP(0xfb);
	ok(s->rip == 1 && (s->rflags & X86_VIF), "STI, IOPL 0: VIF set");
	STEP(0xfa);
	ok(s->rip == 2 && !(s->rflags & X86_VIF) && (s->rflags & X86_IF),
	   "CLI, IOPL 0: VIF cleared, IF kept");
	start(0, X86_VIP);
	STEP(0xfb);
	ok(at_handler() == X86_EXC_GP, "STI with VIP: #GP(0)");
	start(3, X86_VIP);
	STEP(0xfb);
	ok(s->rip == 1 && (s->rflags & X86_IF) && !(s->rflags & X86_VIF), "STI, IOPL 3: IF itself");
	v86_mode(0);
	STEP(0xfb);
	ok(at_handler() == X86_EXC_GP, "STI without VME, IOPL 0: #GP(0)");

	start(0, X86_VIF);
	STEP(0x9c);
	ok(s->rip == 1 && peek(0x27ffe, 2) == (X86_FLAG1 | X86_IF | X86_IOPL),
	   "PUSHF: IF shows VIF, IOPL shows 3");
	start(0, X86_IF);
	STEP(0x9c);
	ok(s->rip == 1 && peek(0x27ffe, 2) == (X86_FLAG1 | X86_IOPL), "PUSHF: VIF clear");
	start(0, 0);
	STEP(0x66, 0x9c);
	ok(at_handler() == X86_EXC_GP, "PUSHFD: #GP(0)");

	start(0, X86_IF);
	poke(0x28000, 2, X86_IF | X86_CF | 2);
	STEP(0x9d);
	ok(s->rip == 1 && (s->rflags & X86_VIF) && cc_cf(s) && s->gpr[X86_RSP] == 0x8002 && !x86_iopl(cpu),
	   "POPF: VIF from IF");
	start(0, X86_IF | X86_VIF);
	poke(0x28000, 2, X86_IOPL | 2);
	STEP(0x9d);
	ok(!(s->rflags & X86_VIF) && (s->rflags & X86_IF) && !x86_iopl(cpu),
	   "POPF: VIF cleared, IF and IOPL kept");
	start(0, X86_VIP);
	poke(0x28000, 2, X86_IF | 2);
	STEP(0x9d);
	ok(at_handler() == X86_EXC_GP && frame(4, 4) == 0x8000, "POPF of IF with VIP: #GP(0), SP as before");
	start(0, 0);
	poke(0x28000, 2, X86_TF | 2);
	STEP(0x9d);
	ok(at_handler() == X86_EXC_GP, "POPF of TF: #GP(0)");
	start(0, 0);
	STEP(0x66, 0x9d);
	ok(at_handler() == X86_EXC_GP, "POPFD: #GP(0)");

	start(0, 0);
	poke(0x28000, 2, 0x123);
	poke(0x28002, 2, 0x456);
	poke(0x28004, 2, X86_IF | X86_ZF | 2);
	STEP(0xcf);
	ok(s->rip == 0x123 && s->seg[X86_CS].sel == 0x456 && (s->rflags & X86_VIF) && !(s->rflags & X86_IF) &&
		   cc_zf(s),
	   "IRET: VIF from IF");
	start(0, X86_VIP);
	poke(0x28004, 2, X86_IF | 2);
	STEP(0xcf);
	ok(at_handler() == X86_EXC_GP, "IRET to IF with VIP: #GP(0)");
	start(0, 0);
	STEP(0x66, 0xcf);
	ok(at_handler() == X86_EXC_GP, "IRETD: #GP(0)");
}

static void test_int(void)
{
	/* method 5: IOPL 3, bit clear */
	start(3, X86_IF | X86_NT);
	poke(0x21 * 4, 4, 0x2222u << 16 | 0x1111);
	STEP(0xcd, 0x21);
	ok(s->rip == 0x1111 && s->seg[X86_CS].sel == 0x2222 && s->seg[X86_CS].base == 0x22220 &&
		   s->gpr[X86_RSP] == 0x7ffa &&
		   peek(0x27ffe, 2) == (X86_FLAG1 | X86_IF | X86_IOPL | X86_NT) &&
		   peek(0x27ffc, 2) == CODE >> 4 && peek(0x27ffa, 2) == 2 && !(s->rflags & X86_IF) &&
		   (s->rflags & X86_VM),
	   "method 5: IOPL 3, bit clear: the program's own handler, IF cleared");
	/* method 6: IOPL < 3, bit clear */
	start(0, X86_IF | X86_VIF);
	poke(0x21 * 4, 4, 0x2222u << 16 | 0x1111);
	STEP(0xcd, 0x21);
	ok(s->rip == 0x1111 && peek(0x27ffe, 2) == (X86_FLAG1 | X86_IF | X86_IOPL) &&
		   !(s->rflags & X86_VIF) && (s->rflags & X86_IF),
	   "method 6: IOPL 0, bit clear: IF shows VIF, VIF cleared, IF kept");
	/* methods 2 and 3: IOPL < 3, bit set; 4: IOPL 3 */
	start(0, 0);
	poke(TSS + 0xe0 + 4, 1, 2);
	STEP(0xcd, 0x21);
	ok(at_handler() == X86_EXC_GP && frame(0, 4) == 0, "method 3: IOPL 0, bit set: #GP(0)");
	start(3, 0);
	poke(TSS + 0xe0 + 4, 1, 2);
	set_gate32(0x21, SEL_CODE32, HANDLERS + 0x21 * 16, 0xee);
	STEP(0xcd, 0x21);
	ok(at_handler() == 0x21 && frame(0, 4) == 2, "method 4: IOPL 3, bit set: through the IDT");
	start(3, 0);
	set_gate32(3, SEL_CODE32, HANDLERS + 3 * 16, 0xee);
	STEP(0xcc);
	ok(at_handler() == 3, "INT3: through the IDT whatever the bitmap");
	start(0, 0);
	s->tr.limit = 0x70;
	STEP(0xcd, 0x21);
	ok(at_handler() == X86_EXC_GP, "bitmap beyond the TSS: #GP");
}

static void test_pvi(void)
{
	protected32(3);
	s->cr4 = X86_CR4_PVI;
	emul_x86_changed(vcpu);
	STEP(0xfb);
	ok(s->rip == CODE + 1 && (s->rflags & X86_VIF) && !(s->rflags & X86_IF),
	   "PVI: STI at CPL 3 sets VIF");
	STEP(0xfa);
	ok(!(s->rflags & X86_VIF), "PVI: CLI clears it");
	s->rflags |= X86_VIP;
	STEP(0xfb);
	ok(at_handler() == X86_EXC_GP, "PVI: STI with VIP: #GP(0)");
	protected32(3);
	s->cr4 = X86_CR4_PVI;
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_IOPL);
	emul_x86_changed(vcpu);
	STEP(0xfb);
	ok((s->rflags & X86_IF) && !(s->rflags & X86_VIF), "PVI: with IOPL 3 IF itself");
	protected32(0);
	s->cr4 = X86_CR4_PVI;
	STEP(0xfb);
	ok((s->rflags & X86_IF) && !(s->rflags & X86_VIF), "PVI: at CPL 0 IF itself");
	protected32(3);
	s->cr4 = X86_CR4_PVI;
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_VIF);
	STEP(0x9c);
	ok(!(peek(STACK - 4, 4) & X86_IF) && (peek(STACK - 4, 4) & X86_VIF),
	   "PVI: PUSHF shows the flags as they are");
	long64(3);
	s->cr4 |= X86_CR4_PVI;
	STEP(0xfb);
	ok(s->rip == CODE + 1 && (s->rflags & X86_VIF), "PVI: 64-bit code");
}

int main(void)
{
	machine_init(NULL, 1);
	test_flags();
	test_int();
	test_pvi();
	machine_exit();
	return tap_done();
}
