// SPDX-License-Identifier: GPL-2.0-only
/*
 * 16-bit and 32-bit code, as boot loaders, firmware and old programs have it: a sieve with a function call a number. The
 * program lies below 4 GiB (it is static and no PIE), so a far jump leads there and back.
 */
#include "ub.h"
#include <asm/ldt.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LDT(n)	((n) << 3 | 7)
#define FLAT	0x2b		/* Linux' data segment */

static uint8_t data[65536] __attribute__((aligned(4096)));	/* the sieve from 0, the stack at the end */
uint64_t ub_legacy_rsp;

/* Of ub_x16 and ub_x32: rounds in EDX, the checksum comes back in EBX; the data begins at EBP. */
extern const uint8_t ub_x16[], ub_x32[];
__asm__(".pushsection .text\n"
	".balign 4096\n"
	".code16\n"
	"ub_x16:\n"
	"	xor %ebx, %ebx\n"
	"1:	xor %di, %di; mov $0x0101, %ax; mov $2048, %cx; rep stosw\n"
	"	mov $2, %si\n"
	"2:	cmpb $0, (%si); je 4f\n"
	"	mov %si, %di\n"
	"3:	add %si, %di; cmp $4096, %di; jae 4f; movb $0, (%di); jmp 3b\n"
	"4:	call 5f; inc %si; cmp $4096, %si; jb 2b\n"
	"	dec %dx; jnz 1b\n"
	"	ljmpl $0x33, $ub_legacy_back\n"
	"5:	mov (%si), %al; xor %ah, %ah; add %ax, %bx; rol $1, %bx; ret\n"
	".code32\n"
	"ub_x32:\n"
	"	xor %ebx, %ebx\n"
	"1:	mov %ebp, %edi; mov $0x01010101, %eax; mov $1024, %ecx; rep stosl\n"
	"	mov $2, %esi\n"
	"2:	cmpb $0, (%ebp, %esi); je 4f\n"
	"	mov %esi, %edi\n"
	"3:	add %esi, %edi; cmp $4096, %edi; jae 4f; movb $0, (%ebp, %edi); jmp 3b\n"
	"4:	call 5f; inc %esi; cmp $4096, %esi; jb 2b\n"
	"	dec %edx; jnz 1b\n"
	"	ljmpl $0x33, $ub_legacy_back\n"
	"5:	movzbl (%ebp, %esi), %eax; add %eax, %ebx; rol $1, %ebx; ret\n"
	".code64\n"
	"ub_legacy_back:\n"
	"	mov $0x2b, %eax; mov %eax, %ss; mov ub_legacy_rsp(%rip), %rsp\n"
	"	xor %eax, %eax; mov %eax, %ds; mov %eax, %es\n"
	"	pop %rbp\n"
	"	ret\n"
	/* (rounds, segment of data, data, stack, far pointer) */
	"ub_legacy_call:\n"
	"	push %rbp\n"
	"	mov %rsp, ub_legacy_rsp(%rip)\n"
	"	mov %esi, %ds; mov %esi, %es\n"
	"	mov %rdx, %rbp; mov %edi, %edx\n"
	"	mov %esi, %ss; mov %rcx, %rsp\n"
	"	ljmpl *(%r8)\n"
	".popsection");
struct far_pointer {
	uint32_t offset;
	uint16_t segment;
} __attribute__((packed));

static uint32_t call(uint32_t rounds, uint32_t segment, uint64_t base, uint64_t stack, struct far_pointer to)
{
	register const void *at __asm__("r8") = &to;
	uint32_t sum;

	/* not over what the compiler may have below the stack pointer */
	__asm__ volatile("sub $128, %%rsp; call ub_legacy_call; add $128, %%rsp"
			 : "=b"(sum), "+D"(rounds), "+S"(segment), "+d"(base), "+c"(stack)
			 : "r"(at), "m"(to) : "rax", "memory", "cc");
	return sum;
}

static void segment(unsigned int n, uint64_t base, int code)
{
	struct user_desc d = { .entry_number = n, .base_addr = (unsigned int)base, .limit = 0xffff, .contents = code ? 2 : 0 };

	if (syscall(SYS_modify_ldt, 1, &d, sizeof(d)))
		ub_die("modify_ldt");
}

static uint64_t int_16bit(uint64_t n)
{
	segment(0, (uint64_t)ub_x16, 1);
	segment(1, (uint64_t)data, 0);
	return call((uint32_t)n, LDT(1), 0, sizeof(data) - 16, (struct far_pointer){ 0, LDT(0) });
}

static uint64_t int_32bit(uint64_t n)
{
	return call((uint32_t)n, FLAT, (uint64_t)data, (uint64_t)data + sizeof(data) - 16,
		    (struct far_pointer){ (uint32_t)(uint64_t)ub_x32, 0x23 });
}

const struct ub_entry ub_legacy[] = { { "int_16bit", int_16bit }, { "int_32bit", int_32bit }, { 0, 0 } };
