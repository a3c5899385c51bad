// SPDX-License-Identifier: GPL-2.0-only
/*
 * segments.c - a 32-bit program with segments of its own, under a 32-bit kernel or a 64-bit one
 *
 * Oracle: modify_ldt(2), and SDM vol. 3 "Limit Checking", "Type Checking": what a segment allows, and that the kernel is
 * entered from it and left to it without loss: by INT, by the kernel's page for system calls (SYSENTER, or SYSCALL), by
 * faults, and with a 16-bit stack, whose upper half of ESP IRET alone wouldn't restore.
 */
#include <asm/ldt.h>

#include "small.h"

#define SEL(entry)	((entry) << 3 | 7)
#define SIGSEGV		11
#define SIGBUS		7

enum { CODE16, DATA16, DOWN, RDONLY, ABSENT };

static unsigned char code[4096] __attribute__((aligned(4096)));
static unsigned char data[4096] __attribute__((aligned(4096)));

static int failed;

static void segment(unsigned int entry, const void *base, unsigned int limit, unsigned int contents, unsigned int rdonly,
		    unsigned int absent)
{
	struct user_desc d = { .entry_number = entry, .base_addr = (unsigned long)base, .limit = limit, .contents = contents,
			       .read_exec_only = rdonly, .seg_not_present = absent };

	failed |= syscall4(__NR_modify_ldt, 0x11, (long)&d, sizeof(d), 0);
}

/* 16-bit code at CODE16:@off, entered by a far call with 32-bit operands; EAX in and out. ES is DATA16. */
static unsigned long call16(unsigned int off, unsigned long eax)
{
	struct { unsigned long off; unsigned short sel; } __attribute__((packed)) to = { off, SEL(CODE16) };

	__asm__ volatile("push %%es; mov %2, %%es; lcall *%1; pop %%es" : "+a"(eax) : "m"(to), "r"(SEL(DATA16))
			 : "ecx", "edx", "esi", "edi", "memory", "cc");
	return eax;
}

/* EAX of system call @nr, made with ESP = @upper:800 in the 16-bit stack segment; @esp is ESP behind it. */
static unsigned long on_stack16(long nr, unsigned long upper, unsigned long *esp)
{
	unsigned long eax = nr, after;
	static unsigned long save;

	__asm__ volatile("mov %%esp, %2\n\tmov %%ss, %%edx\n\tmov %3, %%ss\n\tmov %4, %%esp\n\tint $0x80\n\tmov %%esp, %1\n\t"
			 "mov %%edx, %%ss\n\tmov %2, %%esp"
			 : "+a"(eax), "=&c"(after), "+m"(save) : "r"(SEL(DATA16)), "r"(upper << 16 | 0x800)
			 : "edx", "memory");
	*esp = after;
	return eax;
}

static volatile unsigned long faults, fault_error;

/* The signal's frame as the kernel lays it out: signal, siginfo, ucontext; 20 bytes into that the registers. */
static void on_fault(int sig, void *info, unsigned long *uc)
{
	unsigned long *regs = uc + 5;	/* gs fs es ds edi esi ebp esp ebx edx ecx eax trapno err eip cs eflags */

	(void)info;
	faults += sig;
	fault_error = regs[12] << 16 | (regs[13] & 0xffff);
	regs[14] = regs[8];		/* go on where EBX says */
}

void on_fault_restore(void);
__asm__("on_fault_restore: mov $173, %eax; int $0x80");	/* rt_sigreturn */

static void catch(int sig)
{
	struct { void *handler; unsigned long flags; void (*restorer)(void); unsigned long mask[2]; } sa = {
		(void *)on_fault, 0x04000004 | 0x40000000, on_fault_restore, { 0, 0 }	/* SA_RESTORER, SIGINFO, NODEFER */
	};

	failed |= syscall4(__NR_rt_sigaction, sig, (long)&sa, 0, 8);
}

/* Trap number and error code of @insn with FS = @sel, EDX = @off; 0: none. The flags are as the program's. */
#define FAULT(sel, off, insn) ({								\
	faults = fault_error = 0;								\
	__asm__ volatile("mov $1f, %%ebx\n\tmov %0, %%fs\n\t" insn "\n1:\txor %%ebx, %%ebx\n\tmov %%ebx, %%fs"	\
			 : : "r"(sel), "d"(off) : "eax", "ebx", "memory", "cc");		\
	fault_error;										\
})
#define GP	(13 << 16)
#define READ	"movb %%fs:(%%edx), %%al"
#define READ4	"movl %%fs:(%%edx), %%eax"
#define WRITE	"movb %%al, %%fs:(%%edx)"

static void tests(unsigned long *stack)
{
	static const unsigned char copy16[] = {
		/* 0: mov %ax, %di; mov $a5, %al; mov $10, %cx; cld; rep stosb; mov %es:-1(%di), %al; mov %cs, %dx; lretl */
		0x89, 0xc7, 0xb0, 0xa5, 0xb9, 0x10, 0, 0xfc, 0xf3, 0xaa, 0x26, 0x8a, 0x45, 0xff, 0x8c, 0xca, 0x66, 0xcb,
	};
	static const unsigned char pid16[] = { 0xcd, 0x80, 0x66, 0xcb };	/* int $80; lretl */
	unsigned long pid = syscall4(__NR_getpid, 0, 0, 0, 0), esp, sysinfo = 0, eax;

	for (unsigned int i = 0; i < sizeof(copy16); i++)
		code[i] = copy16[i];
	for (unsigned int i = 0; i < sizeof(pid16); i++)
		code[0x100 + i] = pid16[i];
	syscall4(__NR_mprotect, (long)code, sizeof(code), 7, 0);
	segment(CODE16, code, sizeof(code) - 1, 2, 0, 0);
	segment(DATA16, data, sizeof(data) - 1, 0, 0, 0);
	segment(DOWN, data, 0x7ff, 1, 0, 0);
	segment(RDONLY, data, 0x7ff, 0, 1, 0);
	segment(ABSENT, data, 0x7ff, 0, 0, 1);
	catch(SIGSEGV);
	catch(SIGBUS);
	check("set-up", failed, 0);
	if (failed)
		return;

	check("code16", call16(0, 0x340) & 0xff, 0xa5);
	check("code16-stored", data[0x33f] << 16 | data[0x340] << 8 | data[0x34f], 0xa5a5);
	check("code16-syscall", call16(0x100, __NR_getpid), pid);
	check("stack16-syscall", on_stack16(__NR_getpid, 0, &esp), pid);
	check("stack16-esp", esp, 0x800);
	check("stack16-upper-syscall", on_stack16(__NR_getpid, 0xabcd, &esp), pid);
	check("stack16-upper-esp", esp, 0xabcd0800);

	check("limit-inside", FAULT(SEL(DATA16), 0xfff, READ), 0);
	check("limit-outside", FAULT(SEL(DATA16), 0x1000, READ), GP);
	check("limit-across", FAULT(SEL(DATA16), 0xffd, READ4), GP);
	check("down-inside", FAULT(SEL(DOWN), 0x800, WRITE), 0);
	check("down-outside", FAULT(SEL(DOWN), 0x7ff, READ), GP);
	check("down-above", FAULT(SEL(DOWN), 0xfffd, READ4), GP);	/* B clear: ends at FFFFH */
	check("read-only-read", FAULT(SEL(RDONLY), 0, READ), 0);
	check("read-only-write", FAULT(SEL(RDONLY), 0, WRITE), GP);
	check("code-read", FAULT(SEL(CODE16), 0, READ), 0);
	check("code-write", FAULT(SEL(CODE16), 0, WRITE), GP);
	check("absent", FAULT(SEL(ABSENT), 0, READ), 11 << 16 | (SEL(ABSENT) & ~3));
	check("beyond-table", FAULT(SEL(100), 0, READ), GP | (SEL(100) & ~3));
	check("null", FAULT(0, 0, READ), GP);
	check("int", FAULT(0, 0, "int $0x81"), GP | 0x81 << 3 | 2);
	check("page", FAULT(SEL(DATA16), -(unsigned long)data & 0, "movl 0x10, %%eax"), 14 << 16 | 4);

	/* the kernel's page: AT_SYSINFO of the auxiliary vector, behind arguments and environment */
	stack += *stack + 2;
	while (*stack++)
		;
	for (; *stack; stack += 2)
		if (*stack == 32)
			sysinfo = stack[1];
	check("sysinfo", !sysinfo, 0);
	eax = __NR_getpid;
	if (sysinfo)
		__asm__ volatile("call *%1" : "+a"(eax) : "r"(sysinfo) : "memory");
	check("sysinfo-syscall", eax, pid);
}

__asm__(".globl _start; _start: mov %esp, %eax; push %eax; call start");
void __attribute__((noreturn)) start(unsigned long *stack);
void start(unsigned long *stack)
{
	tests(stack);
	print("T>end=ok\n");
	for (;;)
		syscall4(__NR_exit, 0, 0, 0, 0);
}
