// SPDX-License-Identifier: GPL-2.0-only
/*
 * exits.c - what leaving the guest costs, in ticks of the TSC, on any node of the KVM ABI ($TENON_DEV)
 *
 * A row a test: "ticks N" before its line of TAP. N is the least of many, for an exit that the kernel serves by the
 * guest's own TSC, for one that user space serves from KVM_RUN to KVM_RUN. Where a tick is an instruction (QEMU's
 * -icount), N is repeatable to the digit.
 */
#include "../selftests/tenon/harness.h"

#define ROUNDS "500"

/* The least time of an instruction, in R13 at the end; what it needs in registers, it sets up itself. */
#define TIMED(name, insn)								\
	ASM64(name, "mov $" ROUNDS ", %r12d; mov $-1, %r13d;"				\
		    "1: rdtsc; mov %eax, %r14d;" insn "; rdtsc; sub %r14d, %eax;"	\
		    "cmp %r13d, %eax; cmova %r13d, %eax; mov %eax, %r13d; dec %r12d; jnz 1b;" SAY(1) "hlt")

static uint32_t timed(const void *code, size_t len)
{
	struct vm *vm = vm_new(CHIPS_KERNEL);
	struct kvm_regs regs;

	vm_add_vcpu(vm);
	/* The local APIC is on, and its handler there, for the rows that want them. */
	vm_script(vm, 0, STEPS(XAPIC_ON, OUT(0x21, 0xff), STI()));
	REQUIRE(vm_says(vm, 0, DONE));
	vm_code(vm, 0, MODE_64, code, len);
	REQUIRE(vm_says(vm, 0, 1));
	vm_regs(vm, 0, &regs);
	vm_free(vm);
	return regs.r13;
}

TIMED(nothing, "nop");

/* What the instruction takes beyond the two readings of the TSC. */
static void report(const void *code, size_t len)
{
	printf("ticks %u\n", timed(code, len) - timed(BYTES(nothing)));
}

#define ROW(id, title, insn)			\
	TIMED(code_##id, insn);			\
	TEST(id, title)				\
	{					\
		report(BYTES(code_##id));	\
	}

ROW(cpuid, "CPUID", "mov $1, %eax; cpuid")
ROW(rdmsr, "RDMSR (IA32_APIC_BASE)", "mov $0x1b, %ecx; rdmsr")
ROW(vmmcall, "VMMCALL", "mov $99, %eax; vmmcall")
ROW(pic_in, "IN from the PIC", "in $0x21, %al")
ROW(apic_read, "xAPIC, read", "mov $0xfee00030, %ebx; mov (%rbx), %eax")

/* The handler is one of its own, with nothing but the EOI in it. */
ASM64(eoi_handler, "movl $0, (%r10); iretq");
TIMED(code_ipi, "movl $0x40031, (%r11); nop");
TEST(ipi, "xAPIC, IPI to itself, with EOI")
{
	static const uint8_t setup[] = {
		0x41, 0xba, 0xb0, 0x00, 0xe0, 0xfe,	/* mov $0xfee000b0, %r10d */
		0x41, 0xbb, 0x00, 0x03, 0xe0, 0xfe,	/* mov $0xfee00300, %r11d */
		0xfb,					/* sti */
	};
	uint8_t code[256];
	struct kvm_regs regs;
	struct vm *vm = vm_new(CHIPS_KERNEL);
	size_t len = code_ipi_end - code_ipi;

	REQUIRE(sizeof(setup) + len <= sizeof(code));
	memcpy(code, setup, sizeof(setup));
	memcpy(code + sizeof(setup), code_ipi, len);
	vm_add_vcpu(vm);
	vm_script(vm, 0, STEPS(XAPIC_ON));
	REQUIRE(vm_says(vm, 0, DONE));
	vm_code(vm, 0, MODE_64, code, sizeof(setup) + len);
	VM_VECTOR(vm, 0x31, eoi_handler);
	REQUIRE(vm_says(vm, 0, 1));
	vm_regs(vm, 0, &regs);
	printf("ticks %u\n", (uint32_t)regs.r13 - timed(BYTES(nothing)));
}

/* ---- through user space ---- */

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	asm volatile("rdtsc" : "=a" (low), "=d" (high));
	return (uint64_t)high << 32 | low;
}

static void report_runs(struct vm *vm, int want, bool immediate)
{
	uint64_t least = -1ull, start, ticks;
	unsigned int n;

	vm->run[0]->immediate_exit = immediate;
	for (n = 0; n < 500; n++) {
		int r;

		start = rdtsc();
		r = ioctl(vm->vcpu[0], KVM_RUN, 0);
		ticks = rdtsc() - start;
		REQUIRE(immediate ? r < 0 && errno == want : !r && vm->run[0]->exit_reason == (uint32_t)want);
		if (ticks < least)
			least = ticks;
	}
	printf("ticks %lu\n", (long)least);
}

ASM64(out_loop, "1: out %al, $0x80; jmp 1b");
TEST(out, "OUT to user space")
{
	report_runs(GUEST(CHIPS_NONE, MODE_64, out_loop), KVM_EXIT_IO, false);
}

ASM64(mmio_loop, "mov $0xc0000000, %ebx; 1: mov %eax, (%rbx); jmp 1b");
TEST(mmio, "MMIO write to user space")
{
	report_runs(GUEST(CHIPS_NONE, MODE_64, mmio_loop), KVM_EXIT_MMIO, false);
}

ASM64(hlt_loop, "1: hlt; jmp 1b");
TEST(hlt, "HLT to user space")
{
	report_runs(GUEST(CHIPS_NONE, MODE_64, hlt_loop), KVM_EXIT_HLT, false);
}

TEST(immediate, "KVM_RUN with immediate_exit")
{
	report_runs(GUEST(CHIPS_NONE, MODE_64, hlt_loop), EINTR, true);
}
