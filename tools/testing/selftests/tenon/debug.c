// SPDX-License-Identifier: GPL-2.0-only
/*
 * debug.c - breakpoints, watchpoints and single steps: for user space by KVM_SET_GUEST_DEBUG, and the guest's own
 */
#include <cpuid.h>

#include "harness.h"

static int debug(struct vm *vm, uint32_t control)
{
	struct kvm_guest_debug d = { .control = control };

	return ioctl(vm->vcpu[0], KVM_SET_GUEST_DEBUG, &d);
}

/* Hardware breakpoint or watchpoint @n. */
static int debug_at(struct vm *vm, unsigned int n, uint64_t address, uint64_t dr7)
{
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP };

	d.arch.debugreg[n] = address;
	d.arch.debugreg[7] = dr7;
	return ioctl(vm->vcpu[0], KVM_SET_GUEST_DEBUG, &d);
}

/*
 * QEMU's emulated AMD-V does not intercept INT3, and does not see the debug registers that VMRUN loads. A processor
 * does.
 */
static bool emulated(void)
{
	uint32_t name[3], max;

	__cpuid(0x40000000, max, name[0], name[1], name[2]);
	return !memcmp(name, "TCGTCGTCGTCG", sizeof(name));
}

#define NEEDS_PROCESSOR() do {							\
	if (emulated())								\
		SKIP("the processor is emulated: see Documentation/testbed.rst");	\
} while (0)

TEST(block_irq, "KVM_GUESTDBG_BLOCKIRQ: interrupts and NMIs wait until the debugger lets them in")
{
	struct kvm_msi msi = { .address_lo = XAPIC, .data = 0x31 };
	struct vm *vm = vm_machine();

	vm_script(vm, 0, STEPS(X2APIC_ON, SAYS(2)));
	vm->mem[EOI] = EOI_X2APIC;
	REQUIRE(vm_says(vm, 0, 2));
	REQUIRE(!debug(vm, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ));
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_NMI));
	CHECK(vm_says(vm, 0, DONE));
	CHECK(vm_spins(vm, 0, 5));
	REQUIRE(!debug(vm, 0));
	CHECK(vm_says(vm, 0, 2));
	CHECK(vm_says(vm, 0, 0x31));
	CHECK(vm_quiet(vm, 0, 5));
}

#define DR6_STEP	0x4000
#define DR7_EXEC(n)	(2ull << 2 * (n))
#define DR7_WRITE4(n)	(DR7_EXEC(n) | 0xdull << (16 + 4 * (n)))

ASM16(step_code, "nop; cpuid; mov $1, %ax; rdmsr; nop; hlt");
TEST(flags, "KVM_SET_GUEST_DEBUG takes each flag that KVM_CAP_SET_GUEST_DEBUG2 names, and no other", KVM_CAP_SET_GUEST_DEBUG2)
{
	const uint32_t flags = has_cap(KVM_CAP_SET_GUEST_DEBUG2);
	unsigned int n;

	for (n = 1; n < 32; n++) {
		struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, step_code);

		/* KVM lets pass what it does not know. */
		if (flags >> n & 1 || !is_kvm())
			CHECK_EQ(debug(vm, KVM_GUESTDBG_ENABLE | 1u << n), flags >> n & 1 ? 0 : -1);
		vm_free(vm);
	}
}

TEST(step, "KVM_GUESTDBG_SINGLESTEP stops after each instruction, those that exit included",
     KVM_CAP_SET_GUEST_DEBUG, KVM_CAP_X86_ROBUST_SINGLESTEP)
{
	static const int lengths[] = { 1, 2, 3, 2, 1 };
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, step_code);
	struct kvm_regs regs;
	uint64_t rip = CODE;
	unsigned int n;

	REQUIRE(!debug(vm, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP));
	/* KVM misses the stop after RDMSR where the processor does not tell the next RIP. */
	for (n = 0; n < (is_kvm() ? 3 : COUNT(lengths)); n++) {
		/* CPUID changes ECX, of which RDMSR makes its address. */
		if (n == 3) {
			vm_regs(vm, 0, &regs);
			regs.rcx = 0x1b;
			vm_set_regs(vm, 0, &regs);
		}
		CHECK_EQ(vm_run(vm, 0), KVM_EXIT_DEBUG);
		rip += lengths[n];
		CHECK_EQ(vm->run[0]->debug.arch.pc, rip);
		CHECK(vm->run[0]->debug.arch.dr6 & DR6_STEP);
		CHECK_EQ(vm->run[0]->debug.arch.exception, 1);
	}
	REQUIRE(!debug(vm, 0));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
}

ASM64(break_code, "nop; int3; nop; nop;" SAY(1) "hlt");
TEST(software_breakpoint, "KVM_GUESTDBG_USE_SW_BP stops at INT3; without it the guest has it")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, break_code);
	struct kvm_regs regs;

	NEEDS_PROCESSOR();
	REQUIRE(!debug(vm, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP));
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_DEBUG);
	CHECK_EQ(vm->run[0]->debug.arch.exception, 3);
	CHECK_EQ(vm->run[0]->debug.arch.pc, CODE + 1);
	/* What it replaced is put back and carried out: the way of every debugger. */
	vm->mem[CODE + 1] = 0x90;
	CHECK(vm_says(vm, 0, 1));

	vm_regs(vm, 0, &regs);
	regs.rip = CODE;
	vm->mem[CODE + 1] = 0xcc;
	vm_set_regs(vm, 0, &regs);
	REQUIRE(!debug(vm, 0));
	CHECK(vm_says(vm, 0, 3));
	CHECK(vm_says(vm, 0, 1));
}

TEST(hardware_breakpoint, "KVM_GUESTDBG_USE_HW_BP stops before an instruction")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, break_code);

	NEEDS_PROCESSOR();
	vm->mem[CODE + 1] = 0x90;
	REQUIRE(!debug_at(vm, 2, CODE + 3, DR7_EXEC(2)));
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_DEBUG);
	CHECK_EQ(vm->run[0]->debug.arch.exception, 1);
	CHECK_EQ(vm->run[0]->debug.arch.pc, CODE + 3);
	CHECK_EQ(vm->run[0]->debug.arch.dr6 & 0xf, 4);
	REQUIRE(!debug(vm, 0));
	CHECK(vm_says(vm, 0, 1));
}

ASM64(watch_code, "mov $0x9100, %ebx; mov (%rbx), %eax; movl $1, 4(%rbx); movl $2, (%rbx); nop;" SAY(1) "hlt");
TEST(watchpoint, "KVM_GUESTDBG_USE_HW_BP stops after a write")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, watch_code);

	NEEDS_PROCESSOR();
	REQUIRE(!debug_at(vm, 0, DATA + 0x100, DR7_WRITE4(0)));
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_DEBUG);
	CHECK_EQ(vm->run[0]->debug.arch.exception, 1);
	CHECK_EQ(vm->run[0]->debug.arch.dr6 & 0xf, 1);
	CHECK_EQ(*(uint32_t *)(vm->mem + DATA + 0x104), 1);
	CHECK_EQ(*(uint32_t *)(vm->mem + DATA + 0x100), 2);
	CHECK(vm_says(vm, 0, 1));
}

TEST(inject, "KVM_GUESTDBG_INJECT_DB and _BP give the guest the exception")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, watch_code);

	REQUIRE(!debug(vm, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB));
	CHECK_ERR(debug(vm, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB), EBUSY);
	CHECK(vm_says(vm, 0, 1));
	REQUIRE(!debug(vm, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_BP));
	CHECK(vm_says(vm, 0, 3));
	CHECK(vm_says(vm, 0, 1));
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_GUEST_DEBUG, NULL), EFAULT);
}

/* The trap after CPUID, which the host carries out, comes before the next instruction. */
ASM16(trap_code, "pushf; pop %ax; or $0x100, %ax; push %ax; popf; cpuid; nop; hlt");
ASM16(trap_handler, "pop %bx;" SAY(1) "hlt");
TEST(trap_flag, "a guest that steps itself traps after an instruction that exits")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, trap_code);
	struct kvm_regs regs;

	VM_REAL_VECTOR(vm, 1, trap_handler);
	CHECK(vm_says(vm, 0, 1));
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx & 0xffff, CODE + (trap_code_end - trap_code) - 2);
}

ASM64(own_code, "mov $0x9100, %eax; mov %rax, %dr0; mov $0xd0002, %eax; mov %rax, %dr7; movl $1, 0x9100; nop;"
		"mov %dr6, %r8; mov %dr0, %r9; mov %dr7, %r10;" SAY(2) "hlt");
TEST(own_watchpoint, "a guest's own watchpoint is #DB in the guest, and in DR6")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, own_code);
	struct kvm_debugregs d;
	struct kvm_regs regs;

	NEEDS_PROCESSOR();
	CHECK(vm_says(vm, 0, 1));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_DEBUGREGS, &d));
	CHECK_EQ(d.db[0], DATA + 0x100);
	CHECK_EQ(d.dr6 & 0xf, 1);
	CHECK_EQ(d.dr7, 0xd0402);
	CHECK(vm_says(vm, 0, 2));
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.r8 & 0xf, 1);
	CHECK_EQ(regs.r9, DATA + 0x100);
	CHECK_EQ(regs.r10, 0xd0402);
}

TEST(both, "the debugger's watchpoint does not show in the guest's registers")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, own_code);
	struct kvm_regs regs;

	NEEDS_PROCESSOR();
	REQUIRE(!debug_at(vm, 3, CODE + 5, DR7_EXEC(3)));
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_DEBUG);
	REQUIRE(!debug_at(vm, 3, HOLE, DR7_EXEC(3)));
	CHECK(vm_says(vm, 0, 2));
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.r9, DATA + 0x100);
	CHECK_EQ(regs.r10, 0xd0402);
	/* While the debugger has the registers, the guest's own do not count. */
	CHECK_EQ(regs.r8 & 0xf, 0);
}
