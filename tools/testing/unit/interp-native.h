/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * interp-native.h - run one instruction on the host's own processor, in any of the three modes of code
 * segments
 *
 * A prologue in a page of code loads segments, flags and registers and jumps to the instruction; behind it,
 * and where its branch would go, stand jumps to an epilogue that stores the registers. Both are 64-bit code:
 * 32-bit and 16-bit ones are entered and left by far jumps. 32-bit code runs in the flat segments that Linux
 * gives to 32-bit programs, 16-bit code in segments of a local descriptor table: the code page is its code
 * segment, the scratch pages its data and stack.
 *
 * The stack pointer must be canonical: a host that is itself virtualized without help of the processor (PVM) can't
 * deliver anything to a program whose RSP is not. For the same reason 64-bit code loads no segment register.
 *
 * An access beyond the scratch pages faults in all modes: by segment limit in 16-bit code, whose segments end within a
 * page, by a guard page elsewhere.
 */
#ifndef TENON_TEST_INTERP_NATIVE_H
#define TENON_TEST_INTERP_NATIVE_H

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "emul/base.h"
#include "emul/guest/x86/decode.h"

#define SCRATCH_PAGES	3
#define SCRATCH_SIZE	(SCRATCH_PAGES * 4096)
#define SEGMENT_SIZE	(SCRATCH_SIZE - 77)	/* of 16-bit code's data: ends within a page */
#define INSN_OFF	0x400		/* of the instruction in the code page */
#define TAKEN		0x50		/* branch displacement of taken branches */

struct regs {
	u64 gpr[16];
	u64 flags;
};

/* What became of an instruction. */
enum outcome { FELL_THROUGH, BRANCHED, DIVIDE_ERROR, PROTECTION, UNDEFINED, STRANGE };

/* In the page behind the code: the epilogue finds it without a register. */
struct native {
	struct regs in, out;
	u64 host_rsp;
	struct { u32 off; u16 sel; } __attribute__((packed)) enter;
};

static u8 *code_rw, *code_rx;	/* two views of one page */
static struct native *native;
static u8 *scratch;
static u64 fs_base, gs_base;

/* Of the mode chosen by native_mode(). */
static enum x86_mode mode;
static u64 code_base, data_base;
static u64 insn_rip;		/* offset of the instruction in its code segment */

#define SEL_CODE32	0x23	/* Linux's flat segments for programs */
#define SEL_CODE64	0x33
#define SEL_DATA	0x2b
#define SEL_LDT_CODE	0x07
#define SEL_LDT_DATA	0x0f

static u8 *emit(u8 *p, const void *bytes, size_t n)
{
	memcpy(p, bytes, n);
	return p + n;
}
/* An instruction with a RIP-relative operand at @field of struct native. */
static u8 *emit_rip(u8 *p, const void *bytes, size_t n, const void *field)
{
	s32 disp;

	p = emit(p, bytes, n);
	disp = (s32)((const u8 *)field - (code_rx + (p - code_rw) + 4));
	return emit(p, &disp, 4);
}
static u8 *emit_imm32(u8 *p, u8 opcode, u32 imm)
{
	p = emit(p, &opcode, 1);
	return emit(p, &imm, 4);
}
/* From code of the mode to @off in the code page, in 64-bit code. */
static u8 *emit_exit(u8 *p, unsigned int off)
{
	static const u16 sel = SEL_CODE64;

	if (mode == X86_MODE_64)
		return emit_imm32(p, 0xe9, off - (u32)(p - code_rw) - 5);
	if (mode == X86_MODE_16)
		p = emit(p, "\x66", 1);
	p = emit_imm32(p, 0xea, (u32)(uintptr_t)code_rx + off);
	return emit(p, &sel, 2);
}

#define EXIT_FALL	0x200
#define EXIT_TAKEN	0x300

/* Stores go first: none of them changes flags. */
static void emit_epilogue(u8 *p, u32 taken)
{
	int i;

	for (i = 0; i < 16; i++) {
		u8 mov[3] = { i < 8 ? 0x48 : 0x4c, 0x89, (u8)(0x05 | (i & 7) << 3) };

		p = emit_rip(p, mov, 3, &native->out.gpr[i]);
	}
	p = emit_rip(p, "\x48\x8b\x25", 3, &native->host_rsp);		/* mov rsp, host_rsp */
	if (mode == X86_MODE_16) {
		p = emit_imm32(p, 0xb8, SEL_DATA);			/* mov eax, imm */
		p = emit(p, "\x8e\xd0", 2);				/* mov ss, eax */
	}
	p = emit(p, "\x9c", 1);						/* pushfq */
	p = emit_rip(p, "\x8f\x05", 2, &native->out.flags);		/* pop flags */
	p = emit(p, "\x68\x02\x02\x00\x00\x9d", 6);			/* push 0x202; popfq */
	p = emit_imm32(p, 0xb8, taken);
	emit(p, "\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3", 11);	/* pop r15..r12, rbp, rbx; ret */
}

static void emit_prologue(u8 *p)
{
	int i;

	p = emit(p, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57", 10);	/* push rbx, rbp, r12..r15 */
	p = emit_rip(p, "\x48\x89\x25", 3, &native->host_rsp);			/* mov host_rsp, rsp */
	p = emit_rip(p, "\xff\x35", 2, &native->in.flags);			/* push flags */
	p = emit(p, "\x9d", 1);							/* popfq */
	if (mode != X86_MODE_64) {
		p = emit_imm32(p, 0xb8, mode == X86_MODE_16 ? SEL_LDT_DATA : SEL_DATA);	/* mov eax, imm */
		p = emit(p, "\x8e\xd8\x8e\xc0\x8e\xd0", 6);			/* mov ds, es, ss, eax */
	}
	for (i = 0; i < 16; i++) {
		u8 mov[3] = { i < 8 ? 0x48 : 0x4c, 0x8b, (u8)(0x05 | (i & 7) << 3) };

		p = emit_rip(p, mov, 3, &native->in.gpr[i]);
	}
	if (mode == X86_MODE_64)
		emit_imm32(p, 0xe9, INSN_OFF - (u32)(p - code_rw) - 5);
	else
		emit_rip(p, "\xff\x2d", 2, &native->enter);			/* jmp far [enter] */
}

static bool set_ldt(unsigned int entry, const u8 *base, unsigned int size, bool code)
{
	struct user_desc d = {
		.entry_number = entry, .base_addr = (u32)(uintptr_t)base, .limit = size - 1,
		.contents = code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA,
	};

	return !syscall(SYS_modify_ldt, 1, &d, sizeof(d));
}

/* Can a program load this selector? */
static bool has_segment(u16 sel)
{
	u32 rights, s = sel;
	bool ok;

	asm volatile("lar %2, %0; setz %1" : "=r"(rights), "=q"(ok) : "r"(s) : "cc");
	return ok;
}

/* False: the host has no such code segments. */
static bool native_mode(enum x86_mode m)
{
	mode = m;
	code_base = data_base = 0;
	insn_rip = (u64)code_rx + INSN_OFF;
	native->enter.off = (u32)insn_rip;
	native->enter.sel = SEL_CODE32;
	if (mode == X86_MODE_16) {
		if (!set_ldt(0, code_rx, 4096, true) || !set_ldt(1, scratch, SEGMENT_SIZE, false) ||
		    !has_segment(SEL_LDT_CODE))
			return false;
		code_base = (u64)code_rx;
		data_base = (u64)scratch;
		insn_rip = INSN_OFF;
		native->enter.off = INSN_OFF;
		native->enter.sel = SEL_LDT_CODE;
	}
	if (!has_segment(native->enter.sel) && m != X86_MODE_64)
		return false;
	emit_prologue(code_rw);
	emit_epilogue(code_rw + EXIT_FALL, 0);
	emit_epilogue(code_rw + EXIT_TAKEN, 1);
	return true;
}

/* An exception as a handler meets it. */
struct fault {
	u32 vector, error;
	u64 addr;		/* of a page fault: CR2 */
};

static sigjmp_buf fault_jmp;
static volatile sig_atomic_t fault_signal;
static struct fault native_fault;

static void on_fault(int sig, siginfo_t *si, void *context)
{
	static const u8 order[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	};
	const ucontext_t *uc = context;
	int i;

	(void)si;
	for (i = 0; i < 16; i++)
		native->out.gpr[i] = (u64)uc->uc_mcontext.gregs[order[i]];
	native->out.flags = (u64)uc->uc_mcontext.gregs[REG_EFL];
	native_fault.vector = (u32)uc->uc_mcontext.gregs[REG_TRAPNO];
	native_fault.error = (u32)uc->uc_mcontext.gregs[REG_ERR];
	native_fault.addr = native_fault.vector == 14 ? (u64)uc->uc_mcontext.gregs[REG_CR2] : 0;
	fault_signal = sig;
	siglongjmp(fault_jmp, 1);
}

/* After everything else that installs signal handlers. */
static void native_signals(void)
{
	static u8 stack[1 << 16];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	sigaltstack(&ss, NULL);
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
}

static void native_init(void)
{
	int fd = memfd_create("code", 0);
	u8 *area;

	if (fd < 0 || ftruncate(fd, 4096))
		abort();
	code_rw = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	code_rx = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1,
		       0);
	area = mmap(NULL, SCRATCH_SIZE + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (code_rw == MAP_FAILED || code_rx == MAP_FAILED || area == MAP_FAILED ||
	    mmap(code_rx, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
	    mprotect(area + 4096, SCRATCH_SIZE, PROT_READ | PROT_WRITE))
		abort();
	close(fd);
	native = (void *)(code_rx + 4096);
	scratch = area + 4096;
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_base);
	gs_base = 0x12340;
	syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base);
}

/* May the instruction be run with this stack pointer? */
static bool native_rsp(u64 rsp)
{
	return (u64)((s64)(rsp << 16) >> 16) == rsp;
}

/* Run the instruction with native->in; registers and flags are left in native->out. */
__attribute__((no_sanitize("address", "undefined")))
static enum outcome native_run(const u8 *bytes, unsigned int len)
{
	int (*volatile enter)(void) = (int (*)(void))(void *)code_rx;
	u8 *p = emit(code_rw + INSN_OFF, bytes, len);

	emit_exit(p, EXIT_FALL);
	emit_exit(p + TAKEN, EXIT_TAKEN);
	if (!sigsetjmp(fault_jmp, 0))
		return enter() ? BRANCHED : FELL_THROUGH;
	return fault_signal == SIGFPE ? DIVIDE_ERROR : fault_signal == SIGILL ? UNDEFINED : PROTECTION;
}

#endif /* TENON_TEST_INTERP_NATIVE_H */
