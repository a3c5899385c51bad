// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-deliver - exceptions and interrupts through the IVT and IDT: frames, privilege changes, nested faults
 *
 * Oracle: SDM vol. 2 "INT n" (frames and checks), vol. 3 "Interrupt and Exception Handling" and "Interrupt 8
 * - Double Fault Exception"; the expected words are written out here.
 */
#include "sys-common.h"

static void test_real(void)
{
	real_mode();
	poke(0x20 * 4, 4, 0x1234 << 16 | 0x5678);
	s->idtr = (struct x86_dtr) { 0, 0x3ff };
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_IF | X86_TF | X86_CF | X86_AC);
	s->rflags &= ~(u64)X86_TF;
	emul_x86_changed(vcpu);
	STEP(0xcd, 0x20);
	is_u64(s->seg[X86_CS].sel, 0x1234, "real: INT: CS from the vector");
	is_u64(s->seg[X86_CS].base, 0x12340, "real: INT: CS base");
	is_u64(s->rip, 0x5678, "real: INT: IP");
	is_u64(s->gpr[X86_RSP], 0x7ffa, "real: INT: three words pushed");
	is_u64(peek(0x27ffa, 2), 2, "real: INT: IP of the next instruction pushed");
	is_u64(peek(0x27ffc, 2), CODE >> 4, "real: INT: CS pushed");
	is_u64(peek(0x27ffe, 2), X86_FLAG1 | X86_IF | X86_CF, "real: INT: FLAGS pushed");
	ok(!(s->rflags & (X86_IF | X86_AC)) && cc_cf(s), "real: INT: IF and AC cleared, CF kept");

	real_mode();
	poke(0x0d * 4, 4, 0x2000 << 16);
	s->idtr = (struct x86_dtr) { 0, 0x7f };
	emul_x86_changed(vcpu);
	STEP(0xcd, 0x20);
	ok(s->seg[X86_CS].sel == 0x2000 && peek(0x27ffa, 2) == 0,
	   "real: vector beyond the limit: #GP with the IP of INT itself");

	real_mode();
	s->idtr = (struct x86_dtr) { 0, 0x1f };
	emul_x86_changed(vcpu);
	ok(STEP(0xcd, 0x20) == EMUL_EXIT_SHUTDOWN, "real: no vector for #GP nor for #DF: shutdown");
	ok(strstr(x86_shutdown_message(cpu), "triple fault"), "real: shutdown says what it was");

	real_mode();
	poke(6 * 4, 4, 0x3000 << 16 | 8);
	s->idtr = (struct x86_dtr) { 0, 0x3ff };
	s->gpr[X86_RSP] = 2;
	emul_x86_changed(vcpu);
	STEP(0x0f, 0x0b);
	ok(s->seg[X86_CS].sel == 0x3000 && s->gpr[X86_RSP] == 0xfffc && peek(0x20000, 2) &&
		   peek(0x2fffc, 2) == 0 && peek(0x2fffe, 2) == CODE >> 4,
	   "real: the frame wraps round in the stack segment");
}

static void test_protected(void)
{
	protected32(0);
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_IF | X86_NT | X86_ZF);
	emul_x86_changed(vcpu);
	STEP(0xcd, 0x40);
	is_u64(s->gpr[X86_RSP], STACK - 12, "32-bit, same level: three dwords");
	ok(frame(0, 4) == CODE + 2 && frame(1, 4) == SEL_CODE32 &&
		   frame(2, 4) == (X86_FLAG1 | X86_IF | X86_NT | X86_ZF),
	   "32-bit, same level: EIP, CS, EFLAGS");
	ok(!(s->rflags & (X86_IF | X86_NT | X86_TF)), "32-bit: interrupt gate clears IF, NT, TF");
	ok(at_handler() == 0x40 && cc_zf(s), "32-bit: at the handler, ZF kept");

	protected32(0);
	set_gate32(0x40, SEL_CODE32, HANDLERS + 0x400, 0x8f);
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_IF);
	STEP(0xcd, 0x40);
	ok(s->rflags & X86_IF, "32-bit: trap gate keeps IF");

	protected32(3);
	set_gate32(0x40, SEL_CODE32, HANDLERS + 0x400, 0xee);
	STEP(0xcd, 0x40);
	is_u64(s->gpr[X86_RSP], STACK0 - 20, "32-bit, to level 0: five dwords on ESP0");
	ok(frame(0, 4) == CODE + 2 && frame(1, 4) == (SEL_CODE32_3 | 3) && frame(3, 4) == STACK &&
	   frame(4, 4) == (SEL_DATA_3 | 3), "32-bit, to level 0: EIP, CS, ESP, SS");
	ok(s->seg[X86_SS].sel == SEL_DATA && s->seg[X86_CS].sel == SEL_CODE32 && cpu->cpl == 0,
	   "32-bit, to level 0: SS0, CPL 0");

	protected32(3);
	STEP(0xcd, 0x40);
	faulted32(X86_EXC_GP, 0x40 * 8 + 2, "INT n through a gate of DPL 0 at CPL 3: #GP(vector * 8 + IDT)");
	protected32(3);
	STEP(0xcc);
	faulted32(X86_EXC_GP, 3 * 8 + 2, "INT3 through a gate of DPL 0: #GP");
	protected32(3);
	STEP(0xf1);
	ok(at_handler() == X86_EXC_DB && frame(0, 4) == CODE + 1 && (s->dr[6] & 0xe00f) == 0,
	   "INT1 does not look at DPL, leaves DR6 alone");
	protected32(0);
	cc_set(s, X86_OF);
	STEP(0xce);
	ok(at_handler() == X86_EXC_OF && frame(0, 4) == CODE + 1, "INTO with OF: vector 4, next EIP");
	protected32(0);
	STEP(0xce);
	ok(s->rip == CODE + 1 && s->gpr[X86_RSP] == STACK, "INTO without OF does nothing");

	protected32(0);
	STEP(0x0f, 0x0b);
	ok(at_handler() == X86_EXC_UD && frame(0, 4) == CODE && (frame(2, 4) & X86_RF),
	   "#UD: no error code, RF in the image");
	ok(!(s->rflags & X86_RF), "#UD: RF clear in the handler");

	protected32(0);
	set_gate32(0x40, SEL_CODE32, HANDLERS + 0x400, 0x0e);
	STEP(0xcd, 0x40);
	faulted32(X86_EXC_NP, 0x40 * 8 + 2, "gate not present: #NP");
	protected32(0);
	set_gate32(0x40, SEL_CODE32, HANDLERS + 0x400, 0x84);
	STEP(0xcd, 0x40);
	faulted32(X86_EXC_GP, 0x40 * 8 + 2, "not an IDT gate: #GP");
	protected32(0);
	set_gate32(0x40, 0, HANDLERS + 0x400, 0x8e);
	STEP(0xcd, 0x40);
	faulted32(X86_EXC_GP, 0, "null code segment: #GP(0)");
	protected32(0);
	set_gate32(0x40, SEL_DATA, HANDLERS + 0x400, 0x8e);
	STEP(0xcd, 0x40);
	faulted32(X86_EXC_GP, SEL_DATA, "data segment in the gate: #GP(selector), EXT clear for INT n");
	protected32(0);
	set_gate32(6, SEL_DATA, HANDLERS + 0x60, 0x8e);
	STEP(0x0f, 0x0b);
	faulted32(X86_EXC_GP, SEL_DATA + 1, "the same for #UD: EXT set");
	protected32(3);
	set_gate32(0x40, SEL_CODE32, HANDLERS + 0x400, 0xee);
	set_gate32(X86_EXC_TS, SEL_CONF, HANDLERS + X86_EXC_TS * 16, 0x8e);
	poke(TSS + 8, 4, SEL_DATA_3 | 3);
	STEP(0xcd, 0x40);
	faulted32(X86_EXC_TS, SEL_DATA_3, "SS0 of the wrong privilege: #TS(selector)");
	protected32(0);
	set_gate32(0x40, SEL_SMALL, 0x2000, 0x8e);
	STEP(0xcd, 0x40);
	faulted32(X86_EXC_GP, 0, "offset beyond the code segment: #GP(0)");
	protected32(0);
	set_gate32(0x40, SEL_CODE16, 0x1234, 0x86);
	STEP(0xcd, 0x40);
	ok(s->rip == 0x1234 && s->gpr[X86_RSP] == STACK - 6 && peek(STACK - 6, 2) == (u16)(CODE + 2) &&
		   cpu->mode == X86_MODE_16,
	   "16-bit gate: three words, 16-bit code");
	is_u64(peek(GDT + SEL_CODE16 + 5, 1), 0x9b, "accessed bit set in the GDT");
}

static void test_v86(void)
{
	v86_mode(3);
	set_gate32(0x40, SEL_CODE32, HANDLERS + 0x400, 0xee);
	STEP(0xcd, 0x40);
	ok(at_handler() == 0x40 && s->gpr[X86_RSP] == STACK0 - 36, "v86: nine dwords on the level-0 stack");
	ok(frame(0, 4) == 2 && frame(1, 4) == CODE >> 4 && (frame(2, 4) & X86_VM) && frame(3, 4) == 0x8000 &&
	   frame(4, 4) == 0x2000, "v86: IP CS EFLAGS SP SS");
	ok(frame(5, 4) == 0x100 && frame(6, 4) == 0x103 && frame(7, 4) == 0x104 && frame(8, 4) == 0x105,
	   "v86: ES DS FS GS");
	ok(!(s->rflags & X86_VM) && cpu->cpl == 0 && !s->seg[X86_DS].sel &&
		   !(s->seg[X86_DS].attr & X86_ATTR_P),
	   "v86: VM clear, data segments null");
	STEP(0xcf);
	ok((s->rflags & X86_VM) && cpu->cpl == 3 && s->rip == 2 && s->seg[X86_CS].base == CODE &&
		   s->seg[X86_GS].sel == 0x105 && s->seg[X86_GS].base == 0x1050 && s->gpr[X86_RSP] == 0x8000,
	   "v86: IRET goes back");

	v86_mode(0);
	STEP(0xcd, 0x40);
	ok(at_handler() == X86_EXC_GP && frame(0, 4) == 0 && frame(1, 4) == 0, "v86, IOPL 0: INT n: #GP(0)");
	v86_mode(3);
	set_gate32(0x40, SEL_CODE32_3, HANDLERS + 0x400, 0xee);
	STEP(0xcd, 0x40);
	ok(at_handler() == X86_EXC_GP && frame(0, 4) == SEL_CODE32_3, "v86: handler of DPL 3: #GP(selector)");
	v86_mode(0);
	STEP(0xfa);
	ok(at_handler() == X86_EXC_GP, "v86, IOPL 0: CLI: #GP(0)");
}

static void test_long(void)
{
	long64(0);
	s->gpr[X86_RSP] = STACK + 5;
	STEP(0xcd, 0x40);
	ok(at_handler() == 0x40 && s->gpr[X86_RSP] == STACK - 40,
	   "64-bit, same level: five qwords, RSP aligned to 16 first");
	ok(frame(0, 8) == CODE + 2 && frame(1, 8) == SEL_CODE64 && frame(3, 8) == STACK + 5 &&
		   frame(4, 8) == SEL_DATA,
	   "64-bit: RIP CS RSP SS");
	is_u64(s->seg[X86_SS].sel, SEL_DATA, "64-bit, same level: SS kept");

	long64(3);
	set_gate64(0x40, SEL_CODE64, HANDLERS + 0x400, 0xee, 0);
	STEP(0xcd, 0x40);
	ok(at_handler() == 0x40 && s->gpr[X86_RSP] == STACK0 - 40 && s->seg[X86_SS].sel == 0 && cpu->cpl == 0,
	   "64-bit, to level 0: RSP0, null SS");
	STEP(0x48, 0xcf);
	ok(s->rip == CODE + 2 && cpu->cpl == 3 && s->gpr[X86_RSP] == STACK &&
		   s->seg[X86_SS].sel == (SEL_DATA_3 | 3),
	   "64-bit: IRETQ goes back");

	long64(0);
	set_gate64(0x40, SEL_CODE64, HANDLERS + 0x400, 0x8e, 1);
	STEP(0xcd, 0x40);
	is_u64(s->gpr[X86_RSP], STACK_IST - 40, "64-bit: IST stack without a change of level");

	long64(3);
	STEP(0x8b, 0x04, 0x25, 0, 0, 0x80, 0);		/* mov eax, [HOLE] */
	faulted64(X86_EXC_PF, X86_PF_U, "64-bit: #PF of user code, error code and RIP");
	is_u64(s->cr2, HOLE, "64-bit: CR2");
	ok(frame(3, 8) & X86_RF, "64-bit: RF in the image of a fault");

	long64(0);
	set_gate64(0x40, SEL_CODE32, HANDLERS + 0x400, 0x8e, 0);
	STEP(0xcd, 0x40);
	faulted64(X86_EXC_GP, SEL_CODE32, "64-bit: handler not 64-bit code: #GP(selector)");
	long64(0);
	set_gate64(0x40, SEL_CODE64, 0x800000000000, 0x8e, 0);
	STEP(0xcd, 0x40);
	faulted64(X86_EXC_GP, 0, "64-bit: handler's address not canonical: #GP(0)");
	long64(0);
	s->gpr[X86_RSP] = 0x800000000010;
	set_gate64(X86_EXC_SS, SEL_CODE64, HANDLERS + X86_EXC_SS * 16, 0x8e, 1);
	emul_x86_changed(vcpu);
	STEP(0xcd, 0x40);
	ok(at_handler() == X86_EXC_SS, "64-bit: frame reaches beyond the canonical addresses: #SS");
}

/*
 * SDM vol. 3 "Conditions for Generating a Double Fault". First events: #UD (benign), #GP (contributory), #PF.
 */
static void test_double(void)
{
	/* The gate of the first event is broken in a way that raises the second. */
	static const struct { u8 first, second; int at; const char *name; } t[] = {
		{ X86_EXC_UD, X86_EXC_GP, X86_EXC_GP, "benign, contributory: serially" },
		{ X86_EXC_UD, X86_EXC_PF, X86_EXC_PF, "benign, page fault: serially" },
		{ X86_EXC_GP, X86_EXC_NP, X86_EXC_DF, "contributory, contributory: double fault" },
		{ X86_EXC_GP, X86_EXC_PF, X86_EXC_PF, "contributory, page fault: serially" },
		{ X86_EXC_PF, X86_EXC_NP, X86_EXC_DF, "page fault, contributory: double fault" },
		{ X86_EXC_PF, X86_EXC_PF, X86_EXC_DF, "page fault, page fault: double fault" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		long64(0);
		s->seg[X86_CS].attr = 0xa09b;
		if (t[i].second == X86_EXC_GP)
			set_gate64(t[i].first, SEL_DATA, 0, 0x8e, 0);
		else if (t[i].second == X86_EXC_NP)
			set_gate64(t[i].first, SEL_CODE64, 0, 0x0e, 0);
		else
			set_gate64(t[i].first, SEL_CODE64, 0, 0x8e, 2);
		poke(TSS + 0x2c, 8, HOLE + 0x1000);		/* IST2 */
		if (t[i].first == X86_EXC_PF && t[i].second == X86_EXC_PF)
			set_gate64(X86_EXC_DF, SEL_CODE64, HANDLERS + 0x80, 0x8e, 1);
		if (t[i].first == X86_EXC_UD)
			STEP(0x0f, 0x0b);
		else if (t[i].first == X86_EXC_GP)
			STEP(0x0f, 0x22, 0xc0);	/* mov cr0, rax with RAX 0: clears PG in 64-bit mode: #GP */
		else
			STEP(0x8b, 0x04, 0x25, 0, 0, 0x80, 0);
		is_u64((u64)at_handler(), (u64)t[i].at, "%s", t[i].name);
		if (t[i].at == X86_EXC_DF)
			ok(frame(0, 8) == 0 && frame(1, 8) == CODE, "%s: error code 0", t[i].name);
	}

	long64(0);
	set_gate64(X86_EXC_GP, SEL_CODE64, 0, 0x0e, 0);
	set_gate64(X86_EXC_DF, SEL_CODE64, 0, 0x0e, 0);
	ok(STEP(0x0f, 0x22, 0xc0) == EMUL_EXIT_SHUTDOWN,
	   "fault on the way to the double-fault handler: shutdown");

	long64(0);
	set_gate64(0x0d, SEL_CODE64, 0, 0x0e, 0);
	STEP(0xcd, 0x0d);
	ok(at_handler() == X86_EXC_NP && frame(0, 8) == 13 * 8 + 2 && frame(1, 8) == CODE,
	   "INT 13 is benign whatever its number: #NP serially, RIP of INT");
}

static void test_nmi_and_steps(void)
{
	struct emul_exit exit;

	long64(0);
	emul_nmi(vcpu);
	emul_step(vcpu, &exit);
	ok(s->nmi_masked && frame(0, 8) == CODE, "NMI: delivered, further ones held off");
	s->halted = 0;
	s->rip = CODE;
	STEP(0x48, 0xcf);
	ok(!s->nmi_masked && s->rip == CODE, "NMI: IRET lets them in again");

	long64(0);
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_TF);
	emul_x86_changed(vcpu);
	STEP(0x90);
	ok(at_handler() == X86_EXC_DB && frame(0, 8) == CODE + 1 && (s->dr[6] & 0x4000),
	   "TF: trap after the instruction, DR6.BS");
	ok(!(s->rflags & X86_TF) && (frame(2, 8) & X86_TF) && !(frame(2, 8) & X86_RF),
	   "TF: clear in the handler, set in the image");

	long64(0);
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_TF);
	emul_x86_changed(vcpu);
	STEP(0xcd, 0x40);
	ok(at_handler() == 0x40, "TF: INT n takes no trap of its own");

	long64(0);
	s->gpr[X86_RAX] = SEL_DATA;
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_TF);
	emul_x86_changed(vcpu);
	STEP(0x8e, 0xd0);		/* mov ss, eax */
	ok(at_handler() < 0 && s->intr_shadow, "TF: no trap after MOV SS");
	STEP(0x90);
	ok(at_handler() == X86_EXC_DB && frame(0, 8) == CODE + 3, "TF: but after the next instruction");

	long64(0);
	s->dr[0] = CODE;
	s->dr[7] = 0x402 | 0;
	emul_x86_changed(vcpu);
	STEP(0x90);
	ok((at_handler() == X86_EXC_DB || s->rip == HANDLERS + 17) && (s->dr[6] & 1),
	   "code breakpoint: #DB before the instruction");
	is_u64(peek(STACK - 40, 8), CODE, "code breakpoint: RIP of the instruction");

	long64(0);
	s->dr[7] = 0x400 | BIT(13);
	emul_x86_changed(vcpu);
	STEP(0x0f, 0x21, 0xc0);		/* mov rax, dr0 */
	ok(at_handler() == X86_EXC_DB && (s->dr[6] & BIT(13)) && !(s->dr[7] & BIT(13)) && frame(0, 8) == CODE,
	   "DR7.GD: #DB with BD, GD cleared");
}

int main(void)
{
	machine_init(NULL, 1);
	test_real();
	test_protected();
	test_v86();
	test_long();
	test_double();
	test_nmi_and_steps();
	machine_exit();
	return tap_done();
}
