// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-debug - breakpoints on code, data and ports, single step
 *
 * Oracle: SDM vol. 3 "Debug Registers", "Breakpoint Field Recognition" (its table of examples is walked
 * through below), "Data Breakpoint Exception Condition", "Single-Step Exception Condition", "Masking
 * Exceptions and Interrupts When Switching Stacks".
 */
#include "../../../emul/guest/x86/system.h"
#include "sys-common.h"

enum { EXEC, WRITE, IO, ACCESS };	/* R/Wn */
enum { LEN1 = 0, LEN2 = 1, LEN8 = 2, LEN4 = 3 };	/* LENn */

static void bp(unsigned int n, u64 addr, unsigned int type, unsigned int len)
{
	s->dr[n] = addr;
	s->dr[7] &= ~(0xfULL << (16 + 4 * n));
	s->dr[7] |= 2ULL << (2 * n) | (u64)(type | len << 2) << (16 + 4 * n);
	emul_x86_changed(vcpu);
}

/* At the #DB handler with @dr6, having come from @rip? */
static void trapped(u64 dr6, u64 rip, const char *name)
{
	bool ok_ = at_handler() == X86_EXC_DB && (s->dr[6] & 0xe00f) == dr6 &&
		   frame(0, cpu->code64 ? 8 : 4) == rip;

	if (!ok(ok_, "%s", name))
		diag("vector %d, dr6 %#llx, rip %#llx", at_handler(), (unsigned long long)s->dr[6],
		     (unsigned long long)frame(0, cpu->code64 ? 8 : 4));
}

static void not_trapped(u64 rip, const char *name)
{
	if (!ok(s->rip == rip, "%s", name))
		diag("rip %#llx, vector %d", (unsigned long long)s->rip, at_handler());
}

/* mov (%rax), %cl..%rcx; mov %cl..%rcx, (%rax) */
static unsigned int mov(unsigned int size, bool write)
{
	u8 code[4];
	unsigned int n = 0;

	if (size == 2)
		code[n++] = 0x66;
	if (size == 8)
		code[n++] = 0x48;
	code[n++] = (write ? 0x88 : 0x8a) | (size > 1);
	code[n++] = 0x08;
	step_bytes(code, n);
	return n;
}

/* SDM vol. 3, table "Breakpoint Examples" */
static void test_examples(void)
{
	static const struct { u32 addr; u8 size; bool write, hit; } t[] = {
		/* DR0 a0001 R/W len 1; DR1 a0002 W len 1; DR2 b0002 R/W len 2; DR3 c0000 W len 4 */
		{ 0xa0001, 1, false, true }, { 0xa0001, 1, true, true }, { 0xa0001, 2, false, true },
		{ 0xa0001, 2, true, true }, { 0xa0002, 1, true, true }, { 0xa0002, 2, true, true },
		{ 0xb0001, 4, false, true }, { 0xb0001, 4, true, true }, { 0xb0002, 1, false, true },
		{ 0xb0002, 2, true, true }, { 0xc0000, 4, true, true }, { 0xc0001, 2, true, true },
		{ 0xc0003, 1, true, true },
		{ 0xa0000, 1, false, false }, { 0xa0002, 1, false, false }, { 0xa0003, 4, true, false },
		{ 0xb0000, 2, false, false }, { 0xc0000, 2, false, false }, { 0xc0004, 4, true, false },
		/* not in the table: operands of 8 bytes, over the end of a page */
		{ 0x9fffa, 8, true, true }, { 0x9fff9, 8, true, false }, { 0xbfffd, 4, true, true },
		{ 0xbfffc, 4, true, false }, { 0xc0001, 8, true, true }, { 0xaffff, 4, false, true },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		unsigned int n;

		long64(0);
		bp(0, 0xa0001, ACCESS, LEN1);
		bp(1, 0xa0002, WRITE, LEN1);
		bp(2, 0xb0002, ACCESS, LEN2);
		bp(3, 0xc0000, WRITE, LEN4);
		s->gpr[X86_RAX] = t[i].addr;
		n = mov(t[i].size, t[i].write);
		ok(t[i].hit ? at_handler() == X86_EXC_DB && frame(0, 8) == CODE + n : s->rip == CODE + n,
		   "%s of %u at %#x: %s", t[i].write ? "write" : "read", t[i].size, t[i].addr,
		   t[i].hit ? "trap, after the instruction" : "no trap");
	}
}

static void test_data(void)
{
	long64(0);
	bp(0, DATA, WRITE, LEN8);
	s->gpr[X86_RAX] = DATA + 7;
	s->gpr[X86_RCX] = 0x5a;
	mov(1, true);
	trapped(1, CODE + 2, "LEN 10: eight bytes");
	is_u64(peek(DATA + 7, 1), 0x5a, "the write was done");

	long64(0);
	bp(1, DATA + 3, WRITE, LEN4);
	s->gpr[X86_RAX] = DATA;
	mov(1, true);
	trapped(2, CODE + 2, "the low bits of an address are not looked at");

	long64(0);
	s->dr[0] = DATA;
	s->dr[7] = 0x400 | WRITE << 16;
	emul_x86_changed(vcpu);
	s->gpr[X86_RAX] = DATA;
	mov(1, true);
	not_trapped(CODE + 2, "not enabled: no trap");
	STEP(0x90);
	s->gpr[X86_RAX] = 0x703;
	s->dr[7] = 0x400;

	/* the way a program does it: MOV to DR, with the page in the TLB already */
	long64(0);
	s->gpr[X86_RAX] = DATA;
	mov(8, true);
	STEP(0x0f, 0x23, 0xc0);				/* mov %rax, %dr0 */
	s->gpr[X86_RBX] = 0x402 | WRITE << 16 | LEN8 << 18;
	STEP(0x0f, 0x23, 0xfb);				/* mov %rbx, %dr7 */
	mov(8, true);
	ok(at_handler() == X86_EXC_DB && s->dr[6] & 1, "set by MOV to DR7: trap at once");
	s->rip = CODE;
	s->gpr[X86_RBX] = 0x400;
	STEP(0x0f, 0x23, 0xfb);
	mov(8, true);
	not_trapped(CODE + 6, "cleared by MOV to DR7: no more");

	/* read-modify-write, locked as well, push, call, vector and x87 operands */
	long64(0);
	bp(0, DATA, WRITE, LEN4);
	s->gpr[X86_RAX] = DATA;
	STEP(0xf0, 0xff, 0x00);				/* lock incl (%rax) */
	trapped(1, CODE + 3, "LOCK INC");
	is_u64(peek(DATA, 4), 1, "done once");
	long64(0);
	bp(0, DATA, WRITE, LEN4);
	s->gpr[X86_RAX] = DATA;
	STEP(0x87, 0x08);
	trapped(1, CODE + 2, "XCHG");
	long64(0);
	bp(0, DATA, WRITE, LEN4);
	s->gpr[X86_RAX] = DATA;
	STEP(0xff, 0x00);
	trapped(1, CODE + 2, "INC");
	long64(0);
	bp(0, STACK - 8, ACCESS, LEN8);
	STEP(0x50);
	trapped(1, CODE + 1, "PUSH");
	long64(0);
	bp(0, STACK - 8, WRITE, LEN8);
	STEP(0xe8, 0x10, 0, 0, 0);
	trapped(1, CODE + 0x15, "CALL: trap at the target");
	long64(0);
	s->cr4 |= X86_CR4_OSFXSR;
	bp(0, DATA + 8, WRITE, LEN4);
	s->gpr[X86_RAX] = DATA;
	STEP(0x0f, 0x29, 0x00);				/* movaps %xmm0, (%rax) */
	trapped(1, CODE + 3, "MOVAPS");
	long64(0);
	bp(0, DATA + 8, ACCESS, LEN1);
	s->gpr[X86_RAX] = DATA;
	STEP(0xdb, 0x28);				/* fldt (%rax) */
	trapped(1, CODE + 2, "FLD of 80 bits");
	long64(0);
	bp(0, DATA, WRITE, LEN4);
	s->gpr[X86_RAX] = DATA;
	STEP(0x39, 0x08);				/* cmp %ecx, (%rax) */
	not_trapped(CODE + 2, "CMP only reads");
	long64(0);
	bp(0, DATA, ACCESS, LEN4);
	s->gpr[X86_RAX] = DATA;
	STEP(0x8d, 0x00);
	not_trapped(CODE + 2, "LEA does not access");
	long64(0);
	bp(0, CODE, ACCESS, LEN8);
	STEP(0x90);
	not_trapped(CODE + 1, "an instruction fetch is no access");

	/* two at once, and with single step */
	long64(0);
	bp(0, DATA, WRITE, LEN4);
	bp(3, DATA + 2, ACCESS, LEN2);
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_TF);
	emul_x86_changed(vcpu);
	s->gpr[X86_RAX] = DATA;
	mov(4, true);
	trapped(0x4009, CODE + 2, "two breakpoints and single step: one #DB, all bits");

	/* a fault: the instruction has not happened */
	long64(0);
	bp(0, DATA, ACCESS, LEN4);
	s->gpr[X86_RSI] = DATA;
	s->gpr[X86_RDI] = HOLE;
	STEP(0xa5);					/* movsl: reads DATA, then faults */
	ok(at_handler() == X86_EXC_PF && !(s->dr[6] & 15), "a fault takes the trap's place");

	/* a user's access, 32-bit mode */
	protected32(3);
	bp(2, DATA, WRITE, LEN4);
	s->gpr[X86_RAX] = DATA;
	STEP(0x89, 0x08);
	trapped(4, CODE + 2, "CPL 3, 32 bits");

	/* the frame of an interrupt */
	long64(3);
	set_gate64(0x40, SEL_CODE64, HANDLERS + 0x40 * 16, 0xee, 0);
	bp(0, STACK0 - 40, WRITE, LEN8);
	STEP(0xcd, 0x40);
	ok(at_handler() == X86_EXC_DB && frame(0, 8) == HANDLERS + 0x40 * 16,
	   "INT's own frame: trap before the handler's first instruction");
}

static void test_strings(void)
{
	long64(0);
	bp(0, DATA + 2, WRITE, LEN1);
	s->gpr[X86_RDI] = DATA;
	s->gpr[X86_RCX] = 5;
	for (unsigned int i = 0; i < 3; i++) {
		s->rip = CODE;
		STEP(0xf3, 0xaa);			/* rep stosb */
	}
	ok(at_handler() == X86_EXC_DB && frame(0, 8) == CODE && s->gpr[X86_RCX] == 2 &&
		   s->gpr[X86_RDI] == DATA + 3,
	   "REP STOSB: trap after the iteration, at the instruction itself");
	long64(0);
	bp(0, DATA + 4, WRITE, LEN1);
	s->gpr[X86_RDI] = DATA;
	s->gpr[X86_RCX] = 5;
	for (unsigned int i = 0; i < 5; i++) {
		s->rip = CODE;
		STEP(0xf3, 0xaa);
	}
	ok(at_handler() == X86_EXC_DB && frame(0, 8) == CODE + 2 && s->gpr[X86_RCX] == 0,
	   "REP STOSB: after the last iteration, behind the instruction");
}

static void test_io(void)
{
	static const struct { u16 port; u8 len, size; u16 at; bool hit; } t[] = {
		{ 0x80, LEN1, 1, 0x80, true }, { 0x80, LEN1, 1, 0x81, false }, { 0x80, LEN1, 2, 0x7f, true },
		{ 0x80, LEN4, 1, 0x83, true }, { 0x80, LEN4, 1, 0x84, false }, { 0x82, LEN2, 4, 0x80, true },
		{ 0x84, LEN2, 4, 0x80, false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		for (unsigned int out = 0; out < 2; out++) {
			u8 code[2] = { 0x66, (out ? 0xee : 0xec) | (t[i].size > 1) };
			unsigned int n = t[i].size == 2 ? 2 : 1;

			protected32(0);
			s->cr4 = X86_CR4_DE;
			bp(1, t[i].port, IO, t[i].len);
			s->gpr[X86_RDX] = t[i].at;
			step_bytes(code + 2 - n, n);
			ok(t[i].hit ? at_handler() == X86_EXC_DB && frame(0, 4) == CODE + n && s->dr[6] & 2
				    : s->rip == CODE + n,
			   "%s of %u at port %#x: %s", out ? "OUT" : "IN", t[i].size, t[i].at,
			   t[i].hit ? "trap" : "no trap");
		}
	protected32(0);
	bp(1, 0x80, IO, LEN1);
	STEP(0xe6, 0x80);
	not_trapped(CODE + 2, "R/W 10 without CR4.DE: no trap");
	protected32(0);
	s->cr4 = X86_CR4_DE;
	bp(1, 0x80, IO, LEN1);
	s->gpr[X86_RAX] = 0x80;
	STEP(0x88, 0x08);
	not_trapped(CODE + 2, "memory at the same address: no trap");
	protected32(0);
	s->cr4 = X86_CR4_DE;
	bp(0, 0x80, IO, LEN1);
	s->gpr[X86_RDX] = 0x80;
	s->gpr[X86_RSI] = DATA;
	s->gpr[X86_RCX] = 3;
	STEP(0xf3, 0x6e);
	ok(at_handler() == X86_EXC_DB && frame(0, 4) == CODE && s->gpr[X86_RCX] == 2,
	   "REP OUTSB: each iteration");
}

static void test_shadow(void)
{
	/* mov (%eax), %ss with a hit; then nop: the trap comes after the nop */
	protected32(0);
	poke(DATA, 4, SEL_DATA);
	bp(0, DATA, ACCESS, LEN2);
	s->gpr[X86_RAX] = DATA;
	STEP(0x8e, 0x10);
	not_trapped(CODE + 2, "MOV SS from a watched word: the trap waits");
	STEP(0x90);
	trapped(1, CODE + 3, "...for the next instruction");

	protected32(0);
	s->gpr[X86_RAX] = SEL_DATA;
	bp(0, CODE + 2, EXEC, LEN1);
	STEP(0x8e, 0xd0);
	STEP(0x90);
	not_trapped(CODE + 3, "code breakpoint behind MOV SS: inhibited");

	protected32(0);
	bp(0, CODE, EXEC, LEN1);
	STEP(0x90);
	ok(s->rip == HANDLERS + X86_EXC_DB * 16 + 1 && frame(0, 4) == CODE && !(frame(2, 4) & X86_RF),
	   "code breakpoint: a fault before the instruction, whose handler has to set RF");
	protected32(0);
	bp(0, CODE, EXEC, LEN1);
	s->rflags |= X86_RF;
	emul_x86_changed(vcpu);
	STEP(0x90);
	ok(s->rip == CODE + 1 && !(s->rflags & X86_RF), "RF: let through once");
	protected32(0);
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_TF);
	emul_x86_changed(vcpu);
	s->gpr[X86_RAX] = SEL_DATA;
	STEP(0x8e, 0xd0);
	not_trapped(CODE + 2, "single step over MOV SS: no trap");
	STEP(0x90);
	trapped(0x4000, CODE + 3, "...but after the next instruction");
	protected32(0);
	s->dr[7] |= X86_DR7_GD;
	emul_x86_changed(vcpu);
	STEP(0x0f, 0x21, 0xc0);
	ok(at_handler() == X86_EXC_DB && s->dr[6] & X86_DR6_BD && !(s->dr[7] & X86_DR7_GD) &&
		   frame(0, 4) == CODE,
	   "DR7.GD: #DB with BD before the access, GD cleared");
}

int main(void)
{
	machine_init(NULL, 1);
	test_examples();
	test_data();
	test_strings();
	test_io();
	test_shadow();
	machine_exit();
	return tap_done();
}
