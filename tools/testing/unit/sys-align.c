// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-align - alignment checking
 *
 * Oracle: SDM vol. 3 "Interrupt 17 - Alignment Check Exception" (its table of boundaries); and for each
 * user-mode instruction here the host's own processor, which executes it with RFLAGS.AC set on the same
 * misalignment.
 *
 * Operands of 16 and 32 bytes that need no alignment are the processor's affair: the same section has #AC for what
 * "must be aligned on word, doubleword, and quadword boundaries", and lets MOVUPS, MOVDQU and LDDQU raise it "depending
 * on processor implementation"; SDM vol. 2's exception classes of such operands, types 2 and 4, don't list it, and at
 * MOVUPS and its like it says that "treatment of #AC varies". Some processors check them, as is done here, some don't.
 */
#include <setjmp.h>
#include <signal.h>

#include "sys-common.h"

/* Instructions with (%rax) as operand. */
static const struct insn {
	const char *name;
	u8 len, bytes[7];
} insns[] = {
	{ "MOV r8", 2, { 0x8a, 0x08 } },
	{ "MOV r16", 3, { 0x66, 0x8b, 0x08 } },
	{ "MOV r32", 2, { 0x8b, 0x08 } },
	{ "MOV r64", 3, { 0x48, 0x8b, 0x08 } },
	{ "MOV store r16", 3, { 0x66, 0x89, 0x08 } },
	{ "MOV store r32", 2, { 0x89, 0x08 } },
	{ "MOV store r64", 3, { 0x48, 0x89, 0x08 } },
	{ "ADD m32", 2, { 0x01, 0x08 } },
	{ "LOCK ADD m64", 4, { 0xf0, 0x48, 0x01, 0x08 } },
	{ "XCHG m32", 2, { 0x87, 0x08 } },
	{ "CMPXCHG8B", 3, { 0x0f, 0xc7, 0x08 } },
	{ "BT m32", 3, { 0x0f, 0xa3, 0x08 } },
	{ "MOVNTI", 3, { 0x0f, 0xc3, 0x08 } },
	{ "MOVSS", 4, { 0xf3, 0x0f, 0x10, 0x00 } },
	{ "MOVSD", 4, { 0xf2, 0x0f, 0x10, 0x00 } },
	{ "MOVQ mm", 3, { 0x0f, 0x6f, 0x00 } },
	{ "MOVLPS", 3, { 0x0f, 0x12, 0x00 } },
	{ "PMOVZXBW", 5, { 0x66, 0x0f, 0x38, 0x30, 0x00 } },
	{ "VMASKMOVPS", 5, { 0xc4, 0xe2, 0x71, 0x2c, 0x10 } },
	{ "VPGATHERDD", 6, { 0xc4, 0xe2, 0x71, 0x90, 0x14, 0x00 } },	/* (%rax,%xmm0) */
	{ "FLD m32", 2, { 0xd9, 0x00 } },
	{ "FLD m64", 2, { 0xdd, 0x00 } },
	{ "FLD m80", 2, { 0xdb, 0x28 } },
	{ "FBLD", 2, { 0xdf, 0x20 } },
	{ "FNSTCW", 2, { 0xd9, 0x38 } },
	{ "FNSTENV", 2, { 0xd9, 0x30 } },
	{ "FNSTENV 16", 3, { 0x66, 0xd9, 0x30 } },
	{ "FNSAVE", 2, { 0xdd, 0x30 } },
	{ "FNSAVE 16", 3, { 0x66, 0xdd, 0x30 } },
	{ "STMXCSR", 3, { 0x0f, 0xae, 0x18 } },
	{ "CLFLUSH", 3, { 0x0f, 0xae, 0x38 } },
	{ "PREFETCHT0", 3, { 0x0f, 0x18, 0x08 } },
	{ "LEA", 3, { 0x48, 0x8d, 0x08 } },
	{ "PUSH m64", 2, { 0xff, 0x30 } },
}, wide[] = {
	{ "MOVUPS", 3, { 0x0f, 0x10, 0x00 } },
	{ "MOVUPS store", 3, { 0x0f, 0x11, 0x00 } },
	{ "MOVDQU", 4, { 0xf3, 0x0f, 0x6f, 0x00 } },
	{ "LDDQU", 4, { 0xf2, 0x0f, 0xf0, 0x00 } },
	{ "PCMPISTRI", 6, { 0x66, 0x0f, 0x3a, 0x63, 0x00, 0x00 } },
	{ "VMOVUPS xmm", 4, { 0xc5, 0xf8, 0x10, 0x00 } },
	{ "VMOVUPS ymm", 4, { 0xc5, 0xfc, 0x10, 0x00 } },
	{ "VADDPS xmm", 4, { 0xc5, 0xf8, 0x58, 0x00 } },
};

/* --- the host --- */

static sigjmp_buf host_jump;
static u8 *host_code;

/* The C library may not run with AC set. */
static void host_fault(int sig)
{
	__asm__ volatile("pushfq; andl $~0x40000, (%%rsp); popfq" : : : "memory", "cc");
	siglongjmp(host_jump, sig);
}

static int host_run(const struct insn *i, u8 *data)
{
	static const u8 prologue[] = { 0x48, 0x89, 0xf8, 0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d };
	/* mov %rdi, %rax; pushfq; orl $0x40000, (%rsp); popfq; the instruction; pushfq; andl; popfq; ret */
	static const u8 epilogue[] = { 0x9c, 0x81, 0x24, 0x24, 0xff, 0xff, 0xfb, 0xff, 0x9d, 0xc3 };
	static const u8 push_epilogue[] = { 0x59 };
	u8 *p = host_code;
	int sig;

	memcpy(p, prologue, sizeof(prologue));
	p += sizeof(prologue);
	memcpy(p, i->bytes, i->len);
	p += i->len;
	if (i->bytes[0] == 0xff) {
		memcpy(p, push_epilogue, 1);
		p++;
	}
	memcpy(p, epilogue, sizeof(epilogue));
	sig = sigsetjmp(host_jump, 1);
	if (!sig) {
		/* The red zone is the compiler's; XMM1 all ones: the masks, XMM0 0: the indices. */
		__asm__ volatile("sub $256, %%rsp; pcmpeqd %%xmm1, %%xmm1; pxor %%xmm0, %%xmm0; call *%0; "
				 "add $256, %%rsp;"
				 "fninit"
				 :
				 : "r"(host_code), "D"(data)
				 : "rax", "rcx", "rdx", "rbx", "xmm0", "xmm1", "xmm2", "memory", "cc");
		return 0;
	}
	__asm__ volatile("fninit");
	return sig;
}

/* --- the guest --- */

static void guest_start(unsigned int cpl, bool am, bool ac)
{
	long64(cpl);
	s->cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
	s->xcr0 = x86_xcr0_supported(cpu);
	if (am)
		s->cr0 |= X86_CR0_AM;
	if (ac)
		emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_AC);
	memset(s->fpu.fx.xmm[0], 0, 16);
	memset(s->fpu.fx.xmm[1], 0xff, 16);
	s->fpu.fx.fcw = 0x37f;
	s->fpu.fx.fsw = 0;
	s->fpu.fx.ftw = 0;
	emul_x86_changed(vcpu);
}

static bool guest_faults(const struct insn *i, unsigned int off)
{
	guest_start(3, true, true);
	s->gpr[X86_RAX] = DATA + 64 + off;
	step_bytes(i->bytes, i->len);
	return at_handler() == X86_EXC_AC && frame(0, 8) == 0 && frame(1, 8) == CODE;
}

/* @may_skip: a processor may leave the operand unchecked, everywhere */
static void test_insn(const struct insn *i, u8 *page, bool may_skip)
{
	u16 want = 0, got = 0;	/* a bit for each offset */

	if (i->bytes[0] >= 0xc4 && i->bytes[0] <= 0xc5 && !x86_has(cpu, X86_FEAT_AVX2))
		return;
	for (unsigned int off = 0; off < 16; off++) {
		want |= (host_run(i, page + 64 + off) == SIGBUS) << off;
		got |= guest_faults(i, off) << off;
	}
	if (may_skip && !want) {
		ok(got == 0xfffe, "%s: #AC at 15 of 16 offsets, none of which the host checks", i->name);
		return;
	}
	if (!ok(want == got, "%s: #AC at %d of 16 offsets, as on the host", i->name, __builtin_popcount(got)))
		diag("offsets with #AC: host %#x, here %#x", want, got);
}

static void test_host(void)
{
	u8 *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static u8 stack[1 << 16];
	struct sigaction sa = { .sa_handler = host_fault, .sa_flags = SA_NODEFER | SA_ONSTACK };
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };

	if (page == MAP_FAILED) {
		skip("alignment against the host", "no executable memory");
		return;
	}
	sigaltstack(&alt, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	host_code = page + 4096;
	for (unsigned int n = 0; n < ARRAY_SIZE(insns); n++)
		test_insn(&insns[n], page, false);
	for (unsigned int n = 0; n < ARRAY_SIZE(wide); n++)
		test_insn(&wide[n], page, true);
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGILL, SIG_DFL);
	munmap(page, 8192);
}

static void test_conditions(void)
{
	static const struct { unsigned int cpl; bool am, ac, fault;
	} t[] = {
		{ 3, true, true, true },  { 3, false, true, false }, { 3, true, false, false },
		{ 0, true, true, false }, { 1, true, true, false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		guest_start(t[i].cpl, t[i].am, t[i].ac);
		s->gpr[X86_RAX] = DATA + 1;
		STEP(0x8b, 0x08);
		ok(t[i].fault ? at_handler() == X86_EXC_AC : s->rip == CODE + 2,
		   "CPL %u, CR0.AM %d, RFLAGS.AC %d: %s", t[i].cpl, t[i].am, t[i].ac,
		   t[i].fault ? "#AC" : "nothing");
	}
	guest_start(3, true, true);
	s->gpr[X86_RAX] = HOLE + 1;
	STEP(0x8b, 0x08);
	ok(at_handler() == X86_EXC_AC, "misaligned and not present: #AC first");
	guest_start(3, true, true);
	s->gpr[X86_RAX] = HOLE;
	STEP(0x8b, 0x08);
	ok(at_handler() == X86_EXC_PF, "aligned and not present: #PF");
	guest_start(3, true, true);
	s->gpr[X86_RAX] = DATA + 0xffe;
	STEP(0x8b, 0x08);
	ok(at_handler() == X86_EXC_AC, "over the end of a page");
	guest_start(3, true, true);
	s->gpr[X86_RAX] = DATA + 8;
	STEP(0x0f, 0x28, 0x00);
	ok(at_handler() == X86_EXC_GP, "MOVAPS: #GP, not #AC");
	guest_start(3, true, true);
	s->gpr[X86_RSP] = STACK - 4;
	STEP(0x50);
	ok(at_handler() == X86_EXC_AC, "PUSH to a misaligned stack");
	guest_start(3, true, true);
	s->gpr[X86_RSI] = DATA + 1;
	s->gpr[X86_RDI] = DATA + 0x100;
	s->gpr[X86_RCX] = 9;
	STEP(0xf3, 0xa4);
	ok(s->rip == CODE + 2 && s->gpr[X86_RCX] == 0, "REP MOVSB: bytes have no alignment");
	guest_start(3, true, true);
	s->gpr[X86_RSI] = DATA;
	s->gpr[X86_RDI] = DATA + 0x104;
	s->gpr[X86_RCX] = 9;
	STEP(0xf3, 0x48, 0xa5);
	ok(at_handler() == X86_EXC_AC && s->gpr[X86_RCX] == 9, "REP MOVSQ to a misaligned destination");

	/* POPF turns it on, the handler of an exception runs without */
	guest_start(3, true, false);
	s->gpr[X86_RAX] = DATA + 1;
	STEP(0x8b, 0x08);
	poke(STACK - 8, 8, X86_AC | 2);
	s->gpr[X86_RSP] = STACK - 8;
	STEP(0x9d);
	STEP(0x8b, 0x08);
	ok(at_handler() == X86_EXC_AC && frame(1, 8) == CODE + 3, "on by POPF");
	STEP(0x8b, 0x08);
	ok(s->rip == HANDLERS + X86_EXC_AC * 16 + 2, "not in the handler at CPL 0");
	/* a far pointer: 16:16 to 2, 16:32 to 4 */
	for (unsigned int off = 0; off < 4; off++) {
		static const u8 lfs16[] = { 0x66, 0x0f, 0xb4, 0x08 }, lfs32[] = { 0x0f, 0xb4, 0x08 };

		guest_start(3, true, true);
		s->gpr[X86_RAX] = DATA + off;
		step_bytes(lfs16, sizeof(lfs16));
		ok((at_handler() == X86_EXC_AC) == (off & 1), "far pointer of 32 bits at offset %u", off);
		guest_start(3, true, true);
		s->gpr[X86_RAX] = DATA + off;
		step_bytes(lfs32, sizeof(lfs32));
		ok((at_handler() == X86_EXC_AC) == !!off, "far pointer of 48 bits at offset %u", off);
	}
}

int main(void)
{
	machine_init(NULL, 1);
	test_conditions();
	test_host();
	machine_exit();
	return tap_done();
}
