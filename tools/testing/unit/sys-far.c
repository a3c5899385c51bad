// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-far - far jumps, calls and returns, call gates, task switches, fast system calls
 *
 * Oracle: SDM vol. 2 "JMP", "CALL", "RET", "IRET", "SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT" (operation
 * sections), vol. 3 "Task Switching"; AMD APM vol. 3 "SYSCALL", "SYSRET". The expected values are written out
 * here.
 */
#include "sys-common.h"

static void test_real(void)
{
	real_mode();
	STEP(0xea, 0x34, 0x12, 0x78, 0x56);
	ok(s->rip == 0x1234 && s->seg[X86_CS].sel == 0x5678 && s->seg[X86_CS].base == 0x56780,
	   "real: JMP far");
	real_mode();
	STEP(0x9a, 0x34, 0x12, 0x78, 0x56);
	ok(s->rip == 0x1234 && s->gpr[X86_RSP] == 0x7ffc && frame(0, 2) == 5 && frame(1, 2) == CODE >> 4,
	   "real: CALL far");
	STEP(0xca, 4, 0);
	ok(s->rip == 5 && s->seg[X86_CS].sel == CODE >> 4 && s->gpr[X86_RSP] == 0x8004, "real: RET far 4");
	real_mode();
	s->seg[X86_DS].limit = 0xffffffff;
	s->gpr[X86_RAX] = 0x1234;
	emul_x86_changed(vcpu);
	STEP(0x8e, 0xd8);
	ok(s->seg[X86_DS].base == 0x12340 && s->seg[X86_DS].limit == 0xffffffff,
	   "real: a large limit stays (unreal mode)");
	real_mode();
	poke(0x28000, 2, 0x100);
	poke(0x28002, 2, 0x3000);
	poke(0x28004, 2, 0xffff);
	STEP(0xcf);
	ok(s->rip == 0x100 && s->seg[X86_CS].sel == 0x3000, "real: IRET");
	is_u64(emul_x86_rflags(vcpu), 0x7fd7, "real: IRET takes all 16 bits of the flags");
}

static void jmp32(u16 sel, u32 off)
{
	STEP(0xea, (u8)off, (u8)(off >> 8), (u8)(off >> 16), (u8)(off >> 24), (u8)sel, sel >> 8);
}
static void call32(u16 sel, u32 off)
{
	STEP(0x9a, (u8)off, (u8)(off >> 8), (u8)(off >> 16), (u8)(off >> 24), (u8)sel, sel >> 8);
}

static void test_protected(void)
{
	protected32(0);
	jmp32(SEL_CODE32, 0x12345);
	ok(s->rip == 0x12345 && s->seg[X86_CS].sel == SEL_CODE32 && peek(GDT + SEL_CODE32 + 5, 1) == 0x9b,
	   "JMP far, accessed bit set");
	protected32(0);
	jmp32(SEL_CODE16, 0x2345);
	ok(s->rip == 0x2345 && cpu->mode == X86_MODE_16, "JMP far to 16-bit code");
	protected32(0);
	jmp32(0, 0);
	faulted32(X86_EXC_GP, 0, "JMP far, null selector: #GP(0)");
	protected32(0);
	jmp32(0x1000, 0);
	faulted32(X86_EXC_GP, 0x1000, "JMP far, beyond the GDT: #GP(selector)");
	protected32(0);
	jmp32(SEL_DATA, 0);
	faulted32(X86_EXC_GP, SEL_DATA, "JMP far to data: #GP(selector)");
	protected32(0);
	jmp32(SEL_CODE32_3, 0);
	faulted32(X86_EXC_GP, SEL_CODE32_3, "JMP far to nonconforming code of DPL 3: #GP(selector)");
	protected32(3);
	jmp32(SEL_CODE32, 0);
	faulted32(X86_EXC_GP, SEL_CODE32, "JMP far from CPL 3 to DPL 0: #GP(selector)");
	protected32(3);
	jmp32(SEL_CONF, 0x4000);
	ok(s->rip == 0x4000 && s->seg[X86_CS].sel == (SEL_CONF | 3) && cpu->cpl == 3,
	   "JMP far to conforming code: CPL stays");
	protected32(0);
	jmp32(SEL_SMALL, 0x1000);
	faulted32(X86_EXC_GP, 0, "JMP far beyond the limit: #GP(0)");
	protected32(0);
	set_desc(SEL_CODE16, descriptor(0, 0xffff, 0x1a, 0));
	jmp32(SEL_CODE16, 0);
	faulted32(X86_EXC_NP, SEL_CODE16, "JMP far, segment not present: #NP");

	protected32(0);
	call32(SEL_CODE32, 0x12345);
	ok(s->rip == 0x12345 && s->gpr[X86_RSP] == STACK - 8 && frame(0, 4) == CODE + 7 &&
		   frame(1, 4) == SEL_CODE32,
	   "CALL far");
	STEP(0xcb);
	ok(s->rip == CODE + 7 && s->gpr[X86_RSP] == STACK, "RET far, same level");
	protected32(3);
	poke(STACK, 4, CODE);
	poke(STACK + 4, 4, SEL_CODE32);
	STEP(0xcb);
	faulted32(X86_EXC_GP, SEL_CODE32, "RET far to more privilege: #GP(selector)");
	protected32(0);
	poke(STACK, 4, 0x4000);
	poke(STACK + 4, 4, SEL_CODE32_3 | 3);
	poke(STACK + 16, 4, 0x5000);
	poke(STACK + 20, 4, SEL_DATA_3 | 3);
	STEP(0xca, 8, 0);
	ok(s->rip == 0x4000 && cpu->cpl == 3 && s->gpr[X86_RSP] == 0x5008 &&
		   s->seg[X86_SS].sel == (SEL_DATA_3 | 3),
	   "RET far 8 to level 3: parameters released on both stacks");
	ok(!s->seg[X86_DS].sel && !(s->seg[X86_DS].attr & X86_ATTR_P),
	   "RET far to level 3: DS of DPL 0 nulled");
	protected32(0);
	poke(STACK, 4, 0x4000);
	poke(STACK + 4, 4, SEL_CODE32_3 | 3);
	poke(STACK + 12, 4, SEL_DATA);
	STEP(0xcb);
	faulted32(X86_EXC_GP, SEL_DATA, "RET far to level 3 with SS of DPL 0: #GP(selector)");
}

static void test_gates(void)
{
	protected32(3);
	set_desc(SEL_GATE, gate(SEL_CODE32, HANDLERS, 0xec, 2));
	poke(STACK, 4, 0x11111111);
	poke(STACK + 4, 4, 0x22222222);
	call32(SEL_GATE, 0xdead);
	ok(s->rip == HANDLERS && cpu->cpl == 0 && s->gpr[X86_RSP] == STACK0 - 24,
	   "call gate to level 0: frame of six dwords");
	ok(frame(0, 4) == CODE + 7 && frame(1, 4) == (SEL_CODE32_3 | 3) && frame(2, 4) == 0x11111111 &&
	   frame(3, 4) == 0x22222222 && frame(4, 4) == STACK && frame(5, 4) == (SEL_DATA_3 | 3),
	   "call gate: EIP CS two parameters ESP SS");
	STEP(0xca, 8, 0);
	ok(s->rip == CODE + 7 && cpu->cpl == 3 && s->gpr[X86_RSP] == STACK + 8,
	   "RET far 8 goes back through");
	protected32(3);
	set_desc(SEL_GATE, gate(SEL_CODE32, HANDLERS, 0x8c, 0));
	call32(SEL_GATE, 0);
	faulted32(X86_EXC_GP, SEL_GATE, "call gate of DPL 0 at CPL 3: #GP(gate)");
	protected32(3);
	set_desc(SEL_GATE, gate(SEL_CODE32, HANDLERS, 0x6c, 0));
	call32(SEL_GATE, 0);
	faulted32(X86_EXC_NP, SEL_GATE, "call gate not present: #NP(gate)");
	protected32(3);
	set_desc(SEL_GATE, gate(SEL_DATA, HANDLERS, 0xec, 0));
	call32(SEL_GATE, 0);
	faulted32(X86_EXC_GP, SEL_DATA, "call gate to data: #GP(selector)");
	protected32(3);
	set_desc(SEL_GATE, gate(SEL_CODE32, HANDLERS, 0xec, 0));
	jmp32(SEL_GATE, 0);
	faulted32(X86_EXC_GP, SEL_CODE32, "JMP through a call gate to more privilege: #GP(selector)");
	protected32(0);
	set_desc(SEL_GATE, gate(SEL_CODE32, 0x4000, 0x8c, 0));
	jmp32(SEL_GATE, 0);
	is_u64(s->rip, 0x4000, "JMP through a call gate, same level");
	protected32(0);
	set_desc(SEL_GATE, gate(SEL_CODE16, 0x4000, 0x84, 0));
	call32(SEL_GATE, 0);
	ok(s->rip == 0x4000 && s->gpr[X86_RSP] == STACK - 4 && peek(STACK - 4, 2) == (u16)(CODE + 7),
	   "16-bit call gate pushes words");

	long64(3);
	set_desc(SEL_GATE, gate(SEL_CODE64, HANDLERS, 0xec, 0));
	set_desc(SEL_GATE + 8, 0);
	poke(DATA, 4, 0);
	poke(DATA + 4, 2, SEL_GATE);
	STEP(0xff, 0x1c, 0x25, 0, 0x80, 1, 0);		/* lcall [DATA] */
	ok(s->rip == HANDLERS && cpu->cpl == 0 && s->gpr[X86_RSP] == STACK0 - 32 && s->seg[X86_SS].sel == 0,
	   "64-bit call gate: RSP0, null SS");
	ok(frame(0, 8) == CODE + 7 && frame(1, 8) == (SEL_CODE64_3 | 3) && frame(2, 8) == STACK &&
		   frame(3, 8) == (SEL_DATA_3 | 3),
	   "64-bit call gate: RIP CS RSP SS");
	STEP(0x48, 0xcb);
	ok(s->rip == CODE + 7 && cpu->cpl == 3 && s->gpr[X86_RSP] == STACK, "64-bit RET far goes back");
}

static void test_modes(void)
{
	long64(0);
	poke(DATA, 4, 0x4000);
	poke(DATA + 4, 2, SEL_CODE32);
	STEP(0xff, 0x2c, 0x25, 0, 0x80, 1, 0);
	ok(s->rip == 0x4000 && cpu->mode == X86_MODE_32 && cpu->long_mode && !cpu->code64,
	   "64-bit: JMP far to compatibility mode");
	jmp32(SEL_CODE64, CODE);
	ok(cpu->code64 && s->rip == CODE, "compatibility mode: JMP far to 64-bit code");
	long64(0);
	set_desc(SEL_CODE64, descriptor(0, 0xfffff, 0x9a, 0xe));
	set_gate64(X86_EXC_GP, SEL_CODE64_3, 0, 0x8e, 0);
	poke(DATA, 4, 0x4000);
	poke(DATA + 4, 2, SEL_CODE64);
	ok(STEP(0xff, 0x2c, 0x25, 0, 0x80, 1, 0) == EMUL_EXIT_SHUTDOWN,
	   "64-bit: L and D both set is no code segment");

	long64(0);
	poke(STACK, 8, 0x4000);
	poke(STACK + 8, 8, SEL_CODE64_3 | 3);
	poke(STACK + 16, 8, X86_FLAG1 | X86_IF | X86_VM | X86_IOPL);
	poke(STACK + 24, 8, 0x7fffffffff00);
	poke(STACK + 32, 8, SEL_DATA_3 | 3);
	STEP(0x48, 0xcf);
	ok(s->rip == 0x4000 && cpu->cpl == 3 && s->gpr[X86_RSP] == 0x7fffffffff00 && !(s->rflags & X86_VM) &&
		   x86_iopl(cpu) == 3,
	   "IRETQ to level 3: IOPL taken, VM not");
	s->rflags &= ~(u64)X86_IOPL;
	s->gpr[X86_RSP] = STACK;
	s->rip = CODE;
	poke(STACK + 16, 8, X86_FLAG1 | X86_IOPL);
	STEP(0x48, 0xcf);
	ok(x86_iopl(cpu) == 0 && (s->rflags & X86_IF), "IRETQ at level 3: IOPL and IF stay");
	long64(0);
	poke(STACK, 8, 0x800000000000);
	poke(STACK + 8, 8, SEL_CODE64);
	poke(STACK + 32, 8, 0);
	STEP(0x48, 0xcf);
	faulted64(X86_EXC_GP, 0, "IRETQ to an address that isn't canonical: #GP(0)");
	long64(0);
	poke(STACK, 8, 0x4000);
	poke(STACK + 8, 8, SEL_CODE64_3 | 3);
	poke(STACK + 32, 8, 0);
	STEP(0x48, 0xcf);
	faulted64(X86_EXC_GP, 0, "IRETQ to level 3 with a null SS: #GP(0)");
	long64(0);
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_NT);
	STEP(0x48, 0xcf);
	faulted64(X86_EXC_GP, 0, "IRETQ with NT: #GP(0)");
}

static void test_syscall(void)
{
	long64(3);
	s->star = (u64)SEL_CODE64 << 32 | (u64)(SEL_CODE32_3 | 3) << 48;
	s->lstar = 0x4000;
	s->sfmask = X86_IF | X86_CF | X86_DF;
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_IF | X86_CF | X86_ZF);
	STEP(0x0f, 0x05);
	ok(s->rip == 0x4000 && cpu->cpl == 0 && s->seg[X86_CS].sel == SEL_CODE64 &&
		   s->seg[X86_SS].sel == SEL_CODE64 + 8,
	   "SYSCALL: CS, SS, RIP");
	ok(s->gpr[X86_RCX] == CODE + 2 && s->gpr[X86_R11] == (X86_FLAG1 | X86_IF | X86_CF | X86_ZF),
	   "SYSCALL: RCX, R11");
	is_u64(emul_x86_rflags(vcpu), X86_FLAG1 | X86_ZF, "SYSCALL: flags masked");
	STEP(0x48, 0x0f, 0x07);
	ok(s->rip == CODE + 2 && cpu->cpl == 3 && s->seg[X86_CS].sel == (SEL_CODE64_3 | 3) &&
		   s->seg[X86_SS].sel == (SEL_DATA_3 | 3) && cpu->code64,
	   "SYSRETQ");
	is_u64(emul_x86_rflags(vcpu), X86_FLAG1 | X86_IF | X86_CF | X86_ZF, "SYSRETQ: flags from R11");

	long64(0);
	s->star = (u64)(SEL_CODE32_3 | 3) << 48;
	s->gpr[X86_RCX] = 0x4000;
	STEP(0x0f, 0x07);
	ok(s->rip == 0x4000 && cpu->cpl == 3 && cpu->mode == X86_MODE_32 &&
		   s->seg[X86_CS].sel == (SEL_CODE32_3 | 3),
	   "SYSRETL to compatibility mode");
	STEP(0x0f, 0x05);
	ok(at_handler() == X86_EXC_UD, "SYSCALL in compatibility mode on Intel: #UD");
	long64(0);
	s->gpr[X86_RCX] = 0x800000000000;
	STEP(0x48, 0x0f, 0x07);
	faulted64(X86_EXC_GP, 0, "SYSRETQ with RCX not canonical on Intel: #GP(0) at CPL 0");
	long64(3);
	STEP(0x48, 0x0f, 0x07);
	faulted64(X86_EXC_GP, 0, "SYSRET at CPL 3: #GP(0)");
	long64(3);
	s->efer &= ~(u64)X86_EFER_SCE;
	STEP(0x0f, 0x05);
	ok(at_handler() == X86_EXC_UD, "SYSCALL without EFER.SCE: #UD");

	protected32(3);
	s->sysenter_cs = SEL_CODE32;
	s->sysenter_esp = 0x5000;
	s->sysenter_eip = 0x4000;
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_IF);
	STEP(0x0f, 0x34);
	ok(s->rip == 0x4000 && s->gpr[X86_RSP] == 0x5000 && cpu->cpl == 0 &&
		   s->seg[X86_SS].sel == SEL_CODE32 + 8 && !(s->rflags & X86_IF),
	   "SYSENTER");
	s->gpr[X86_RDX] = 0x6000;
	s->gpr[X86_RCX] = 0x7000;
	STEP(0x0f, 0x35);
	ok(s->rip == 0x6000 && s->gpr[X86_RSP] == 0x7000 && cpu->cpl == 3 &&
		   s->seg[X86_CS].sel == (SEL_CODE32_3 | 3),
	   "SYSEXIT");
	protected32(3);
	s->sysenter_cs = 0;
	STEP(0x0f, 0x34);
	faulted32(X86_EXC_GP, 0, "SYSENTER with a null SYSENTER_CS: #GP(0)");

	long64(0);
	s->kernel_gs_base = 0x123456;
	s->seg[X86_GS].base = 0x654321;
	emul_x86_changed(vcpu);
	STEP(0x0f, 0x01, 0xf8);
	ok(s->seg[X86_GS].base == 0x123456 && s->kernel_gs_base == 0x654321 &&
		   cpu->lin_base[X86_GS] == 0x123456,
	   "SWAPGS");
	long64(3);
	STEP(0x0f, 0x01, 0xf8);
	faulted64(X86_EXC_GP, 0, "SWAPGS at CPL 3: #GP(0)");
}

static void tss2(u32 eip, u16 cs, u16 ss, u32 eflags)
{
	poke(TSS2 + 0x1c, 4, 0x1000);
	poke(TSS2 + 0x20, 4, eip);
	poke(TSS2 + 0x24, 4, eflags);
	for (unsigned int i = 0; i < 8; i++)
		poke(TSS2 + 0x28 + i * 4, 4, 0x100 + i);
	poke(TSS2 + 0x38, 4, 0x38000);
	poke(TSS2 + 0x48, 2, SEL_DATA);
	poke(TSS2 + 0x4c, 2, cs);
	poke(TSS2 + 0x50, 2, ss);
	poke(TSS2 + 0x54, 2, SEL_DATA);
	poke(TSS2 + 0x58, 2, 0);
	poke(TSS2 + 0x5c, 2, 0);
	poke(TSS2 + 0x60, 2, 0);
}

static void test_tasks(void)
{
	protected32(0);
	tss2(0x4000, SEL_CODE32, SEL_DATA, X86_FLAG1 | X86_CF);
	s->gpr[X86_RAX] = 0xaaaa;
	call32(SEL_TSS2, 0);
	ok(s->rip == 0x4000 && s->tr.sel == SEL_TSS2 && s->gpr[X86_RAX] == 0x100 &&
		   s->gpr[X86_RSP] == 0x38000 && cc_cf(s),
	   "CALL to a TSS: new context");
	ok((s->rflags & X86_NT) && peek(TSS2, 2) == SEL_TSS && (s->cr0 & X86_CR0_TS),
	   "CALL to a TSS: NT, back link, CR0.TS");
	ok(peek(GDT + SEL_TSS + 5, 1) == 0x8b && peek(GDT + SEL_TSS2 + 5, 1) == 0x8b,
	   "CALL to a TSS: both busy");
	ok(peek(TSS + 0x20, 4) == CODE + 7 && peek(TSS + 0x28, 4) == 0xaaaa &&
		   peek(TSS + 0x4c, 2) == SEL_CODE32,
	   "CALL to a TSS: old context saved");
	STEP(0xcf);
	ok(s->rip == CODE + 7 && s->tr.sel == SEL_TSS && s->gpr[X86_RAX] == 0xaaaa && !(s->rflags & X86_NT),
	   "IRET with NT goes back");
	ok(peek(GDT + SEL_TSS2 + 5, 1) == 0x89 && peek(GDT + SEL_TSS + 5, 1) == 0x8b,
	   "IRET: the left task is available again");

	protected32(0);
	tss2(0x4000, SEL_CODE32, SEL_DATA, X86_FLAG1);
	jmp32(SEL_TSS2, 0);
	ok(s->rip == 0x4000 && peek(GDT + SEL_TSS + 5, 1) == 0x89 && !(s->rflags & X86_NT),
	   "JMP to a TSS: old task available, no nesting");
	protected32(0);
	jmp32(SEL_TSS, 0);
	faulted32(X86_EXC_GP, SEL_TSS, "JMP to a busy TSS: #GP(selector)");
	protected32(0);
	set_desc(SEL_TSS2, descriptor(TSS2, 0x50, 0x89, 0));
	jmp32(SEL_TSS2, 0);
	faulted32(X86_EXC_TS, SEL_TSS2, "TSS too small: #TS(selector) in the old task");
	ok(s->tr.sel == SEL_TSS, "TSS too small: no switch");

	protected32(0);
	tss2(0x4000, SEL_CODE32, SEL_DATA, X86_FLAG1);
	set_gate32(X86_EXC_GP, SEL_TSS2, 0, 0x85);
	STEP(0x0f, 0x22, 0xc8);		/* mov cr1: #UD; make #GP instead: */
	protected32(0);
	tss2(0x4000, SEL_CODE32, SEL_DATA, X86_FLAG1);
	poke(IDT + 13 * 8, 8, gate(SEL_TSS2, 0, 0x85, 0));
	jmp32(0x1000, 0);
	ok(s->rip == 0x4000 && s->tr.sel == SEL_TSS2 && frame(0, 4) == 0x1000 &&
		   s->gpr[X86_RSP] == 0x38000 - 4,
	   "task gate in the IDT: error code on the new stack");
	ok(peek(TSS + 0x20, 4) == CODE && (s->rflags & X86_NT),
	   "task gate in the IDT: old EIP is the faulting instruction's");

	protected32(0);
	tss2(0x4000, SEL_CODE32, SEL_RODATA, X86_FLAG1);
	jmp32(SEL_TSS2, 0);
	ok(at_handler() < 0 || s->tr.sel == SEL_TSS2, "bad SS in the new task: fault belongs to it");
	protected32(0);
	tss2(0x4000, SEL_CODE32, SEL_DATA, X86_FLAG1);
	poke(TSS2 + 0x54, 2, SEL_ABSENT);
	jmp32(SEL_TSS2, 0);
	ok(at_handler() == X86_EXC_NP && frame(0, 4) == SEL_ABSENT && frame(1, 4) == 0x4000 &&
		   s->tr.sel == SEL_TSS2,
	   "DS not present in the new task: #NP(selector) with the new EIP");
	protected32(0);
	tss2(0x4000, SEL_CODE32, SEL_DATA, X86_FLAG1);
	poke(TSS2 + 0x64, 2, 1);
	jmp32(SEL_TSS2, 0);
	ok(at_handler() == X86_EXC_DB && (s->dr[6] & 0x8000) && frame(0, 4) == 0x4000,
	   "T bit of the TSS: #DB with BT in the new task");
	protected32(0);
	set_desc(SEL_TASKGATE, gate(SEL_TSS2, 0, 0x85, 0));
	tss2(0x4000, SEL_CODE32, SEL_DATA, X86_FLAG1);
	jmp32(SEL_TASKGATE, 0);
	ok(s->rip == 0x4000 && s->tr.sel == SEL_TSS2, "JMP through a task gate");
	protected32(0);
	tss2(0x123, 0x1000, 0x2000, X86_FLAG1 | X86_VM);
	jmp32(SEL_TSS2, 0);
	ok(s->rip == 0x123 && cpu->cpl == 3 && (s->rflags & X86_VM) && s->seg[X86_CS].base == 0x10000,
	   "task switch to virtual-8086 mode");
	long64(0);
	poke(DATA, 4, 0);
	poke(DATA + 4, 2, SEL_TSS2);
	STEP(0xff, 0x2c, 0x25, 0, 0x80, 1, 0);
	faulted64(X86_EXC_GP, SEL_TSS2, "64-bit: JMP to a TSS: #GP(selector)");
}

static void test_amd(void)
{
	machine_exit();
	machine_init("qemu64", 1);
	long64(0);
	s->star = (u64)(SEL_CODE32_3 | 3) << 48;
	s->gpr[X86_RCX] = 0x800000000000;
	STEP(0x48, 0x0f, 0x07);
	ok(cpu->cpl == 3 && s->rip == 0x800000000000, "AMD: SYSRETQ does not check RCX");
	long64(0);
	STEP(0x0f, 0x34);
	ok(at_handler() == X86_EXC_UD, "AMD: SYSENTER in long mode: #UD");
	long64(3);
	seg_set(&s->seg[X86_CS], SEL_CODE32_3 | 3, 0xc0fb);
	s->star = (u64)SEL_CODE64 << 32;
	s->cstar = 0x5000;
	emul_x86_changed(vcpu);
	STEP(0x0f, 0x05);
	ok(s->rip == 0x5000 && cpu->code64 && cpu->cpl == 0,
	   "AMD: SYSCALL from compatibility mode goes to CSTAR");
}

int main(void)
{
	machine_init(NULL, 1);
	test_real();
	test_protected();
	test_gates();
	test_modes();
	test_syscall();
	test_tasks();
	test_amd();
	machine_exit();
	return tap_done();
}
