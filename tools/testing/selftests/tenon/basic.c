// SPDX-License-Identifier: GPL-2.0-only
/*
 * basic.c - life of a VM, plain exits, CPUID, signals
 */
#include <pthread.h>
#include <signal.h>

#include "harness.h"

TEST(version, "the API version is 12", KVM_CAP_CHECK_EXTENSION_VM)
{
	CHECK_EQ(ioctl(dev_fd, KVM_GET_API_VERSION, 0), 12);
	CHECK_ERR(ioctl(dev_fd, KVM_GET_API_VERSION, 1), EINVAL);
	CHECK_ERR(ioctl(dev_fd, KVM_GET_VCPU_MMAP_SIZE, 1), EINVAL);
	CHECK_ERR(ioctl(dev_fd, KVM_RUN, 0), EINVAL);
	CHECK_EQ(has_cap(0x7fff), 0);
	CHECK_EQ(has_cap(KVM_CAP_USER_MEMORY), 1);
	/* A VM answers, too. */
	CHECK_EQ(ioctl(vm_new(CHIPS_NONE)->fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), 1);
}

TEST(create, "VMs and vCPUs come and go; bad arguments are refused",
     KVM_CAP_SET_TSS_ADDR, KVM_CAP_SET_IDENTITY_MAP_ADDR, KVM_CAP_ENABLE_CAP)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_USER_MEMORY };
	struct vm *vm = vm_new(CHIPS_NONE);
	uint64_t address = 0xfffbc000;

	CHECK_ERR(ioctl(dev_fd, KVM_CREATE_VM, 0x1000), EINVAL);
	CHECK_EQ(ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &address), 0);
	vm_add_vcpu(vm);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 0), EEXIST);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 0x7fffffff), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_REGS, NULL), ENOTTY);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_RUN, 1), EINVAL);
	/* Too late for what the vCPU was made after. */
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_IRQCHIP), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_BOOT_CPU_ID, 0), EBUSY);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &address), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffff000), EINVAL);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_ENABLE_CAP, &cap), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_ENABLE_CAP, &cap), EINVAL);
}

TEST(limits, "no more vCPUs than KVM_CAP_MAX_VCPUS; vCPU IDs below KVM_CAP_MAX_VCPU_ID; a boot processor of choice",
     KVM_CAP_NR_VCPUS, KVM_CAP_MAX_VCPUS, KVM_CAP_MAX_VCPU_ID, KVM_CAP_SET_BOOT_CPU_ID)
{
	struct vm *vm = vm_new(CHIPS_KERNEL);
	int ids = has_cap(KVM_CAP_MAX_VCPU_ID), fd;
	struct kvm_mp_state mp;

	CHECK(has_cap(KVM_CAP_NR_VCPUS) >= 1 && has_cap(KVM_CAP_NR_VCPUS) <= has_cap(KVM_CAP_MAX_VCPUS));
	REQUIRE(ids >= has_cap(KVM_CAP_MAX_VCPUS));
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, ids), EINVAL);
	CHECK_EQ(ioctl(vm->fd, KVM_SET_BOOT_CPU_ID, 3), 0);
	fd = ioctl(vm->fd, KVM_CREATE_VCPU, 3);
	REQUIRE(fd >= 0);
	CHECK(!ioctl(fd, KVM_GET_MP_STATE, &mp) && mp.mp_state == KVM_MP_STATE_RUNNABLE);
	close(fd);
	fd = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	REQUIRE(fd >= 0);
	CHECK(!ioctl(fd, KVM_GET_MP_STATE, &mp) && mp.mp_state == KVM_MP_STATE_UNINITIALIZED);
	close(fd);
}

ASM16(real_hlt, "mov $0x1234, %ax; mov %ax, %bx; hlt");
TEST(hlt, "a guest in real mode halts", KVM_CAP_HLT)
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, real_hlt);
	struct kvm_regs regs;

	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, 0x1234);
	CHECK_EQ(regs.rip, CODE + (real_hlt_end - real_hlt));
}

ASM32(protected_hlt, "mov $0x12345678, %eax; push %eax; pop %ebx; mov %cs, %ecx; hlt");
TEST(protected_mode, "a guest in protected mode, without paging")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_32, protected_hlt);
	struct kvm_regs regs;

	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, 0x12345678);
	CHECK_EQ(regs.rcx, 8);
}

ASM64(long_simple, "mov $0x123456789abcdef0, %rax; mov %rax, %r15; mov %cr4, %rbx; hlt");
TEST(long_mode, "a guest in long mode, with paging")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, long_simple);
	struct kvm_regs regs;

	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.r15, 0x123456789abcdef0);
	CHECK_EQ(regs.rbx, 0x620);
}

ASM16(real_io, "mov $0x55, %al; out %al, $0x42; in $0x43, %al; mov $0x3f8, %dx; out %al, %dx; out %eax, %dx;"
	       "in %dx, %ax; hlt");
TEST(io, "port I/O goes to user space and back")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, real_io);
	struct kvm_run *run = vm->run[0];
	struct kvm_regs regs;

	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.direction, KVM_EXIT_IO_OUT);
	CHECK_EQ(run->io.port, 0x42);
	CHECK_EQ(run->io.size, 1);
	CHECK_EQ(run->io.count, 1);
	CHECK_EQ(((uint8_t *)run)[run->io.data_offset], 0x55);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.direction, KVM_EXIT_IO_IN);
	((uint8_t *)run)[run->io.data_offset] = 0xaa;
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.port, 0x3f8);
	CHECK_EQ(((uint8_t *)run)[run->io.data_offset], 0xaa);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.size, 4);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.size, 2);
	memcpy((uint8_t *)run + run->io.data_offset, "\x34\x12", 2);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax & 0xffff, 0x1234);
}

ASM16(outs, "xor %ax, %ax; mov %ax, %ds; mov %ax, %es; mov $0x3000, %si; mov $5, %cx; mov $0x3f8, %dx; cld; rep outsb;"
	    "mov $0x4000, %di; mov $3, %cx; rep insb; hlt");
TEST(string_io, "rep outs and rep ins")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, outs);
	struct kvm_run *run = vm->run[0];
	char got[16] = "";
	int len = 0;

	memcpy(vm->mem + 0x3000, "hello", 5);
	while (len < 5) {
		REQUIRE(vm_run(vm, 0) == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT);
		memcpy(got + len, (char *)run + run->io.data_offset, run->io.count);
		len += run->io.count;
	}
	CHECK(!strcmp(got, "hello"));
	for (len = 0; len < 3; len += run->io.count) {
		REQUIRE(vm_run(vm, 0) == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN);
		memcpy((char *)run + run->io.data_offset, "xyz" + len, run->io.count);
	}
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK(!memcmp(vm->mem + 0x4000, "xyz", 3));
}

ASM16(triple, "lidt 0x7000; int3");
ASM16(ins_guest, "mov $0x300, %dx; mov $0x4000, %di; mov $4, %cx; rep insb;" SAY(1) "hlt");
TEST(string_rcx, "rep ins: RCX that user space lowers meanwhile is how much the guest gets")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, ins_guest);
	struct kvm_run *run = vm->run[0];
	struct kvm_regs regs;

	if (is_kvm())
		SKIP("KVM takes RCX on trust");
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_IO && run->io.count == 4);
	memcpy((char *)run + run->io.data_offset, "wxyz", 4);
	vm_regs(vm, 0, &regs);
	regs.rcx = 2;
	vm_set_regs(vm, 0, &regs);
	CHECK(vm_says(vm, 0, 1));
	CHECK(!memcmp(vm->mem + 0x4000, "wx\0", 4));
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rcx, 0);
}

TEST(shutdown, "a triple fault is a shutdown")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, triple);

	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_SHUTDOWN);
}

TEST(fail_entry, "a state that the processor refuses ends KVM_RUN by KVM_EXIT_FAIL_ENTRY, or is refused before")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, long_simple);
	struct kvm_sregs s;

	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cs.l = s.cs.db = 1;	/* AMD APM vol. 2, "Canonicalization and Consistency Checks" */
	if (!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s))
		CHECK_EQ(vm_run(vm, 0), KVM_EXIT_FAIL_ENTRY);
	else
		CHECK_EQ(errno, EINVAL);
}

ASM16(spin_masked, "cli; 1: jmp 1b");
TEST(refused, "after a state that the processor refuses, a guest that spins with interrupts masked still leaves for a signal")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, spin_masked);
	struct kvm_sregs good, bad;
	struct kvm_regs regs;

	if (is_kvm() || __builtin_cpu_is("intel"))
		SKIP("kvm_amd on QEMU loses its processor to that guest, and Bochs to each that spins with interrupts masked");
	vm_regs(vm, 0, &regs);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &good));
	bad = good;
	bad.cr3 = 1ull << 63;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &bad));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_FAIL_ENTRY);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &good));
	vm_set_regs(vm, 0, &regs);
	CHECK(vm_spins(vm, 0, 5));
}

TEST(immediate, "immediate_exit returns -EINTR", KVM_CAP_IMMEDIATE_EXIT)
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, real_hlt);

	vm->run[0]->immediate_exit = 1;
	CHECK_EQ(vm_run(vm, 0), -EINTR);
	vm->run[0]->immediate_exit = 0;
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	/* What it came out for before is still there to be looked at. */
	vm_settle(vm, 0);
	CHECK_EQ(vm->run[0]->exit_reason, KVM_EXIT_HLT);
}

ASM64(features, "mov $0x40000000, %eax; cpuid; mov %ebx, %r8d; mov %ecx, %r9d; mov $0x12345678, %eax; cpuid;"
		"xor %eax, %eax; cpuid;" SAY(1) "hlt");
TEST(cpuid, "the guest sees the CPUID that was set, KVM_GET_CPUID2 as well; too little room is E2BIG",
     KVM_CAP_EXT_CPUID)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[64];
	} set = { .head.nent = 2, .entry = {
		{ .function = 0, .eax = 1, .ebx = 0x6f6c6c65, .ecx = 0x77, .edx = 0x88 },
		{ .function = 0x40000000, .eax = 0x40000001, .ebx = 0x41414141, .ecx = 0x42424242 },
	} }, get = { .head.nent = 64 };
	struct kvm_cpuid2 none = { .nent = 0 };
	struct vm *vm = vm_new(CHIPS_NONE);
	struct kvm_regs regs;

	CHECK_ERR(ioctl(dev_fd, KVM_GET_SUPPORTED_CPUID, &none), E2BIG);
	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, features);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_CPUID2, &set));
	CHECK(vm_says(vm, 0, 1));
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, 0x6f6c6c65);
	CHECK_EQ(regs.rcx, 0x77);
	CHECK_EQ(regs.rdx, 0x88);
	CHECK_EQ(regs.r8, 0x41414141);
	CHECK_EQ(regs.r9, 0x42424242);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_CPUID2, &get));
	CHECK(!memcmp(get.entry, set.entry, 2 * sizeof(set.entry[0])));
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_GET_CPUID2, &none), E2BIG);
	set.head.nent = 100000;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_CPUID2, &set), E2BIG);
}

static void on_signal(int n)
{
	(void)n;
}

ASM64(spin, "sti; 1: jmp 1b");
static void *run_thread(void *arg)
{
	return (void *)(intptr_t)vm_run(arg, 0);
}

TEST(cpuid_stays, "CPUID does not change once the guest has run; before it is set, CR4 takes what the processor has")
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} c = { .head.nent = 256 };
	struct vm *vm = vm_new(CHIPS_NONE);
	struct kvm_enable_cap ids = { .cap = KVM_CAP_MAX_VCPU_ID, .args = { 1 } };
	struct kvm_sregs s;

	REQUIRE(!ioctl(vm->fd, KVM_ENABLE_CAP, &ids));
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 1), EINVAL);
	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_REAL, real_hlt);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_CPUID2, &c));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	/* Linux 6.1 does not take these back: it has filled in what follows the vCPU's state. */
	if (!is_kvm())
		CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_CPUID2, &c), 0);
	c.entry[1].eax ^= 0x10;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_CPUID2, &c), EINVAL);

	/* Not vm_add_vcpu(), which sets CPUID. */
	vm = vm_new(CHIPS_NONE);
	vm->vcpu[0] = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	REQUIRE(vm->vcpu[0] >= 0 && !ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= 0x620;
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_SREGS, &s), 0);
	s.cr4 |= 1ull << 31;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_SREGS, &s), EINVAL);
	close(vm->vcpu[0]);
}

TEST(signal, "a signal ends KVM_RUN in a guest that spins, and in one that is halted")
{
	struct vm *vm = GUEST(CHIPS_KERNEL, MODE_64, spin);
	struct sigaction sa = { .sa_handler = on_signal };
	pthread_t thread;
	void *result;
	int n;

	sigaction(SIGUSR1, &sa, NULL);
	for (n = 0; n < 20; n++) {
		REQUIRE(!pthread_create(&thread, NULL, run_thread, vm));
		usleep(2000 * n);
		do {
			pthread_kill(thread, SIGUSR1);
			usleep(1000);
		} while (pthread_tryjoin_np(thread, &result));
		CHECK_EQ((intptr_t)result, -EINTR);
		CHECK_EQ(vm->run[0]->exit_reason, KVM_EXIT_INTR);
	}
	vm_script(vm, 0, STEPS());
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK(vm_quiet(vm, 0, 20));
}

TEST(signal_mask, "KVM_SET_SIGNAL_MASK: a blocked signal ends KVM_RUN, and stays pending after it")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, spin);
	sigset_t blocked, old, pending;
	struct {
		struct kvm_signal_mask head;
		uint8_t set[8];
	} mask = { .head.len = 8 };

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	REQUIRE(!pthread_sigmask(SIG_BLOCK, &blocked, &old));
	mask.head.len = 4;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_SIGNAL_MASK, &mask), EINVAL);
	mask.head.len = 8;
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_SIGNAL_MASK, &mask), 0);
	pthread_kill(pthread_self(), SIGUSR1);
	CHECK_EQ(vm_run(vm, 0), -EINTR);
	CHECK(!sigpending(&pending) && sigismember(&pending, SIGUSR1));
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_SIGNAL_MASK, NULL), 0);
	CHECK(vm_spins(vm, 0, 5));
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}
