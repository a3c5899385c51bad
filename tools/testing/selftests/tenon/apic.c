// SPDX-License-Identifier: GPL-2.0-only
/*
 * apic.c - local APICs: interrupts from one processor to another, start-up, priorities
 */
#include <sched.h>
#include <unistd.h>

#include "harness.h"

#define ICR_LOGICAL	0x800
#define ICR_LOWEST	0x100
#define ICR_NMI		0x400
#define ICR_SELF	0x40000
#define ICR_ALL		0x80000
#define ICR_OTHERS	0xc0000

/* Which of three vCPUs have the vector waiting, as a bit map. */
static unsigned int waiting(struct vm *vm, unsigned int vector)
{
	unsigned int n, set = 0;

	for (n = 0; n < 3; n++)
		set |= (vm_apic(vm, n, 0x200 + vector / 32 * 16) >> vector % 32 & 1) << n;
	return set;
}

struct ipi {
	const char *what;
	uint32_t icr, dest;
	unsigned int set;	/* with lowest priority, one of it */
};

/* Each row has a vector of its own, and interrupts stay off: who has it waiting is who got it. */
static void check_ipis(struct vm *vm, unsigned int vector, const struct ipi *rows, unsigned int count, bool x2apic)
{
	unsigned int n;

	for (n = 0; n < count; n++) {
		const struct ipi *row = &rows[n];
		const uint32_t icr = row->icr | (vector + n);
		unsigned int got;

		if (x2apic)
			vm_script(vm, 0, STEPS(WRMSR(X2APIC(0x300), (uint64_t)row->dest << 32 | icr)));
		else
			vm_script(vm, 0, STEPS(STORE(XAPIC + 0x310, row->dest << 24), STORE(XAPIC + 0x300, icr)));
		REQUIRE(vm_says(vm, 0, DONE));
		got = waiting(vm, vector + n);
		if (row->icr & ICR_LOWEST ? __builtin_popcount(got) == 1 && (got & row->set) : got == row->set)
			continue;
		printf("#   %s: reached %#x, expected %#x\n", row->what, got, row->set);
		test_fail(__FILE__, __LINE__, row->what, 0);
	}
}

TEST(ipi_x2apic, "x2APIC: physical, logical, lowest priority, the shorthands, nobody")
{
	static const struct ipi rows[] = {
		{ "physical", 0, 1, 2 },
		{ "physical, itself", 0, 0, 1 },
		{ "physical, all", 0, 0xffffffff, 7 },
		{ "physical, nobody", 0, 9, 0 },
		{ "physical, 255 is nobody", 0, 255, 0 },
		{ "logical", ICR_LOGICAL, 6, 6 },
		{ "logical, another cluster", ICR_LOGICAL, 0x10006, 0 },
		{ "logical, all", ICR_LOGICAL, 0xffffffff, 7 },
		{ "lowest priority", ICR_LOGICAL | ICR_LOWEST, 6, 6 },
		{ "self", ICR_SELF, 1, 1 },
		{ "all", ICR_ALL, 0, 7 },
		{ "all but itself", ICR_OTHERS, 0, 6 },
	};
	struct vm *vm = vm_new(CHIPS_KERNEL);
	uint64_t ldr;
	int n;

	for (n = 0; n < 3; n++) {
		vm_add_vcpu(vm);
		vm_script(vm, n, STEPS(X2APIC_ON, RDMSR(X2APIC(0xd0))));
		REQUIRE(vm_says(vm, n, DONE));
		ldr = vm_step(vm, n, 2)->value;
		CHECK_EQ(ldr, 1 << n);
	}
	check_ipis(vm, 0x40, rows, COUNT(rows), true);
	vm_script(vm, 0, STEPS(WRMSR(0x83f, 0x60)));
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(waiting(vm, 0x60), 1);
}

TEST(ipi_xapic, "xAPIC: physical, broadcast, logical in the flat and the cluster model, the shorthands")
{
	static const struct ipi flat[] = {
		{ "physical", 0, 2, 4 },
		{ "physical, all", 0, 0xff, 7 },
		{ "physical, nobody", 0, 9, 0 },
		{ "flat", ICR_LOGICAL, 6, 6 },
		{ "flat, all", ICR_LOGICAL, 0xff, 7 },
		{ "flat, nobody", ICR_LOGICAL, 0x40, 0 },
		{ "lowest priority", ICR_LOGICAL | ICR_LOWEST, 6, 6 },
		{ "self", ICR_SELF, 1, 1 },
		{ "all", ICR_ALL, 0, 7 },
		{ "all but itself", ICR_OTHERS, 0, 6 },
	};
	static const struct ipi cluster[] = {
		{ "cluster", ICR_LOGICAL, 0x16, 6 },
		{ "cluster, one of it", ICR_LOGICAL, 0x12, 2 },
		{ "cluster 0", ICR_LOGICAL, 0x0f, 1 },
		{ "cluster, all", ICR_LOGICAL, 0xff, 7 },
	};
	static const uint32_t ldr[] = { 0x01, 0x12, 0x14 };
	struct vm *vm = vm_new(CHIPS_KERNEL);
	unsigned int n;

	for (n = 0; n < 3; n++) {
		vm_add_vcpu(vm);
		vm_script(vm, n, STEPS(XAPIC_ON, STORE(XAPIC + 0xe0, -1u), STORE(XAPIC + 0xd0, 1u << (24 + n)),
				       LOAD(XAPIC + 0x20)));
		REQUIRE(vm_says(vm, n, DONE));
		CHECK_EQ(vm_step(vm, n, 3)->value, n << 24);
	}
	check_ipis(vm, 0x40, flat, COUNT(flat), false);
	for (n = 0; n < 3; n++) {
		vm_script(vm, n, STEPS(STORE(XAPIC + 0xe0, 0x0fffffff), STORE(XAPIC + 0xd0, ldr[n] << 24)));
		REQUIRE(vm_says(vm, n, DONE));
	}
	check_ipis(vm, 0x80, cluster, COUNT(cluster), false);
}

TEST(ipi_nmi, "an NMI from one processor to another")
{
	struct vm *vm = vm_new(CHIPS_KERNEL);
	int n;

	for (n = 0; n < 2; n++) {
		vm_add_vcpu(vm);
		vm_script(vm, n, STEPS(X2APIC_ON));
		REQUIRE(vm_says(vm, n, DONE));
	}
	vm_script(vm, 0, STEPS(WRMSR(X2APIC(0x300), 1ull << 32 | ICR_NMI)));
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK(vm_says(vm, 1, 2));
}

/* A round trip between two processors that run at the same time. */
TEST(ping_pong, "two processors wake each other from HLT")
{
	struct vm *vm = vm_new(CHIPS_KERNEL);
	int n, round;

	for (n = 0; n < 2; n++) {
		vm_add_vcpu(vm);
		vm_script(vm, n, STEPS(X2APIC_ON));
		REQUIRE(vm_says(vm, n, DONE));
	}
	vm->mem[EOI] = EOI_X2APIC;
	for (round = 0; round < 20; round++) {
		const int from = round & 1, to = !from;

		vm_start(vm, to);
		vm_script(vm, from, STEPS(WRMSR(X2APIC(0x300), (uint64_t)to << 32 | (0x40 + round))));
		CHECK(vm_says(vm, from, DONE));
		CHECK_EQ(vm_join(vm, to), 0x40 + round);
		/* The rest of the handler. */
		CHECK(vm_quiet(vm, to, 1));
	}
}

/* This thread, and those it starts. Where there is no such processor, they stay where they are. */
static void on_processor(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

ASM64(counting, "sti;" SAY(2) "1: incq 0x9100; jmp 1b");
TEST(running, "messages interrupt a processor that runs, and nothing else makes it look")
{
	struct kvm_msi msi = { .address_lo = XAPIC };
	struct vm *vm = vm_new(CHIPS_KERNEL);
	cpu_set_t all;
	int round;

	sched_getaffinity(0, sizeof(all), &all);
	vm_add_vcpu(vm);
	vm_script(vm, 0, STEPS(X2APIC_ON));
	REQUIRE(vm_says(vm, 0, DONE));
	vm->mem[EOI] = EOI_X2APIC;
	VM_CODE(vm, 0, MODE_64, counting);
	REQUIRE(vm_says(vm, 0, 2));
	for (round = 0; round < 20; round++) {
		const uint64_t before = vm_counter(vm);

		on_processor(1);
		vm_start(vm, 0);
		on_processor(0);
		while (vm_counter(vm) == before)
			usleep(100);
		msi.data = 0x40 + round;
		CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
		CHECK_EQ(vm_join(vm, 0), 0x40 + round);
	}
	sched_setaffinity(0, sizeof(all), &all);
}

#define STARTUP(mode) WRMSR(X2APIC(0x300), 1ull << 32 | (mode))
ASM16(ap_code, SAY(0x77) "cli; hlt");
TEST(smp, "INIT and SIPI start a second processor")
{
	struct vm *vm = vm_new(CHIPS_KERNEL);
	struct kvm_mp_state mp;
	struct kvm_sregs s;

	vm_add_vcpu(vm);
	vm_add_vcpu(vm);
	REQUIRE(!ioctl(vm->vcpu[1], KVM_GET_MP_STATE, &mp));
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_UNINITIALIZED);
	memcpy(vm->mem + START, BYTES(ap_code));
	vm_script(vm, 0, STEPS(X2APIC_ON, STARTUP(0x4500), STARTUP(0x4600 | START >> 12)));
	vm_start(vm, 1);
	CHECK(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_join(vm, 1), 0x77);
	REQUIRE(!ioctl(vm->vcpu[1], KVM_GET_MP_STATE, &mp));
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_RUNNABLE);
	REQUIRE(!ioctl(vm->vcpu[1], KVM_GET_SREGS, &s));
	CHECK_EQ(s.cs.base, START);
	CHECK_EQ(s.cs.selector, START >> 4);
	/* And once more, out of its HLT. */
	vm_settle(vm, 1);
	vm_start(vm, 1);
	vm_script(vm, 0, STEPS(STARTUP(0x4500), STARTUP(0x4600 | START >> 12)));
	CHECK(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_join(vm, 1), 0x77);
}

TEST(priority, "a vector below the TPR waits, by the register and by CR8, and the higher vector comes first")
{
	struct vm *vm = vm_new(CHIPS_KERNEL);

	vm_add_vcpu(vm);
	vm->mem[EOI] = EOI_X2APIC;
	vm_script(vm, 0, STEPS(X2APIC_ON, WRMSR(X2APIC(0x80), 0x50), RDMSR(X2APIC(0xa0)), GET_CR8(), STI(),
			       WRMSR(0x83f, 0x51), WRMSR(0x83f, 0x5f), SAYS(3), WRMSR(X2APIC(0x80), 0x40), SAYS(4)));
	REQUIRE(vm_says(vm, 0, 3));
	CHECK_EQ(vm_step(vm, 0, 3)->value, 0x50);
	CHECK_EQ(vm_step(vm, 0, 4)->value, 5);
	CHECK_EQ(vm->run[0]->cr8, 5);
	CHECK(vm_says(vm, 0, 0x5f));
	CHECK(vm_says(vm, 0, 0x51));
	CHECK(vm_says(vm, 0, 4));
	CHECK(vm_says(vm, 0, DONE));
	vm_script(vm, 0, STEPS(SET_CR8(6), RDMSR(X2APIC(0x80)), STI(), WRMSR(0x83f, 0x61), SAYS(3), SET_CR8(0)));
	REQUIRE(vm_says(vm, 0, 3));
	CHECK_EQ(vm_step(vm, 0, 1)->value, 0x60);
	CHECK(vm_says(vm, 0, 0x61));
	CHECK(vm_says(vm, 0, DONE));
}

TEST(set_tpr, "without a local APIC in the kernel, user space has CR8: KVM_EXIT_SET_TPR when it falls")
{
	struct vm *vm = vm_new(CHIPS_NONE);

	vm_add_vcpu(vm);
	vm_script(vm, 0, STEPS(GET_CR8(), SET_CR8(7), SAYS(3), SET_CR8(2)));
	vm->run[0]->cr8 = 5;
	REQUIRE(vm_says(vm, 0, 3));
	CHECK_EQ(vm_step(vm, 0, 0)->value, 5);
	CHECK_EQ(vm->run[0]->cr8, 7);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_SET_TPR);
	CHECK_EQ(vm->run[0]->cr8, 2);
	CHECK(vm_says(vm, 0, DONE));
}

TEST(disabled, "an APIC that is off takes no message, and its page is not there in x2APIC mode")
{
	struct vm *vm = vm_new(CHIPS_KERNEL);
	struct kvm_msi msi = { .address_lo = XAPIC, .data = 0x31 };

	vm_add_vcpu(vm);
	vm_script(vm, 0, STEPS(LOAD(XAPIC + 0x30), STORE(XAPIC + 0xf0, 0xff)));
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 0)->value & 0xff, 0x14);
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 0);
	/* In x2APIC mode the page is like any other. KVM has a quirk instead, KVM_X86_QUIRK_LAPIC_MMIO_HOLE. */
	vm_script(vm, 0, STEPS(X2APIC_ON, LOAD(XAPIC + 0x30)));
	if (is_kvm()) {
		REQUIRE(vm_says(vm, 0, DONE));
		CHECK_EQ(vm_step(vm, 0, 2)->value, 0xffffffff);
	} else {
		REQUIRE(vm_run(vm, 0) == KVM_EXIT_MMIO);
		CHECK_EQ(vm->run[0]->mmio.phys_addr, XAPIC + 0x30);
	}
}

TEST(tpr_access, "KVM_TPR_ACCESS_REPORTING tells of an access, KVM_SET_VAPIC_ADDR shows the TPR in memory",
     KVM_CAP_VAPIC)
{
	struct kvm_tpr_access_ctl ctl = { .enabled = 1 };
	struct kvm_vapic_addr vapic = { .vapic_addr = FREE };
	struct vm *vm = vm_new(CHIPS_KERNEL);

	vm_add_vcpu(vm);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_TPR_ACCESS_REPORTING, &ctl));
	vm_script(vm, 0, STEPS(XAPIC_ON, STORE(XAPIC + 0x80, 0x20), SAYS(2), STORE(XAPIC + 0x80, 0x30), SAYS(3),
			       STORE(FREE, 0x40)));
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_TPR_ACCESS);
	CHECK_EQ(vm->run[0]->tpr_access.is_write, 1);
	ctl.enabled = 0;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_TPR_ACCESS_REPORTING, &ctl));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_VAPIC_ADDR, &vapic));
	REQUIRE(vm_says(vm, 0, 2));
	CHECK(vm_says(vm, 0, 3));
	/* KVM writes it only when there is an interrupt to consider. */
	if (!is_kvm())
		CHECK_EQ(vm->mem[FREE], 0x30);
	/* And the guest may write there instead. */
	CHECK(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_apic(vm, 0, 0x80), 0x40);
	vapic.vapic_addr = HOLE;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_VAPIC_ADDR, &vapic), EINVAL);
}
