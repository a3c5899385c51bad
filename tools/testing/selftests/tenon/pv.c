// SPDX-License-Identifier: GPL-2.0-only
/*
 * pv.c - what a guest that knows where it runs has of it: clock, steal time, EOI by memory, hypercalls; and the TSC
 */
#include <linux/kvm_para.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "harness.h"

struct pvclock {	/* Linux, Documentation/virt/kvm/x86/msr.rst */
	uint32_t version, pad0;
	uint64_t tsc, system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad[2];
};

#define PVCLOCK_STABLE	1
#define PVCLOCK_STOPPED	2

#define CLOCK	(DATA + 0xe00)
#define WALL	(DATA + 0xe40)
#define STEAL	(DATA + 0xe80)

static struct vm *pv_guest(const struct step *steps)
{
	struct vm *vm = vm_new(CHIPS_KERNEL);

	vm_add_vcpu(vm);
	vm_script(vm, 0, steps);
	return vm;
}

static uint64_t pvclock_ns(const struct pvclock *p, uint64_t tsc)
{
	uint64_t ticks = tsc - p->tsc;

	ticks = p->shift < 0 ? ticks >> -p->shift : ticks << p->shift;
	return p->system_time + (uint64_t)((unsigned __int128)ticks * p->mul >> 32);
}

static uint64_t clock_now(struct vm *vm)
{
	const struct pvclock *p = (void *)(vm->mem + CLOCK);
	uint64_t tsc;

	CHECK(!(p->version & 1));
	REQUIRE(vm_rdmsr(vm, 0, 0x10, &tsc) == 1);
	return pvclock_ns(p, tsc);
}

TEST(leaf, "the CPUID leaf says KVM, and names the features that work", KVM_CAP_NOP_IO_DELAY)
{
	const uint32_t want = 1 << KVM_FEATURE_CLOCKSOURCE | 1 << KVM_FEATURE_CLOCKSOURCE2 |
			      1 << KVM_FEATURE_STEAL_TIME | 1 << KVM_FEATURE_PV_EOI | 1 << KVM_FEATURE_NOP_IO_DELAY |
			      1 << KVM_FEATURE_PV_UNHALT | 1 << KVM_FEATURE_PV_SEND_IPI |
			      1 << KVM_FEATURE_POLL_CONTROL;
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} c = { .head.nent = 256 };
	unsigned int n, seen = 0;

	REQUIRE(!ioctl(dev_fd, KVM_GET_SUPPORTED_CPUID, &c));
	for (n = 0; n < c.head.nent; n++) {
		const struct kvm_cpuid_entry2 *e = &c.entry[n];

		if (e->function == KVM_CPUID_SIGNATURE) {
			uint32_t name[3] = { e->ebx, e->ecx, e->edx };

			CHECK(!memcmp(name, "KVMKVMKVM\0\0\0", 12));
			CHECK_EQ(e->eax, KVM_CPUID_FEATURES);
			seen |= 1;
		} else if (e->function == KVM_CPUID_FEATURES) {
			CHECK_EQ(e->eax & want, want);
			seen |= 2;
		}
	}
	CHECK_EQ(seen, 3);
}

TEST(clock, "kvm-clock: nanoseconds since the VM began, no slower or faster than the host's", KVM_CAP_CLOCKSOURCE)
{
	struct vm *vm = pv_guest(STEPS(WRMSR(MSR_KVM_SYSTEM_TIME_NEW, CLOCK | 1)));
	const struct pvclock *p = (void *)(vm->mem + CLOCK);
	uint64_t from, to, host_from, host_to, slack;
	struct kvm_clock_data c;

	REQUIRE(vm_says(vm, 0, DONE));
	REQUIRE(p->version);
	host_from = now_ns();
	from = clock_now(vm);
	slack = now_ns() - host_from;
	usleep(50000);
	host_to = now_ns();
	to = clock_now(vm);
	slack += now_ns() - host_to;
	/* A thousandth: the emulated TSC's rate is measured at boot. And the time that each pair of readings took. */
	slack += (host_to - host_from) / 1000;
	printf("#   guest %ld ns, host %ld ns\n", (long)(to - from), (long)(host_to - host_from));
	CHECK(to - from <= host_to - host_from + slack && to - from >= host_to - host_from - slack);
	/* KVM_GET_CLOCK tells the same time. */
	from = clock_now(vm);
	REQUIRE(!ioctl(vm->fd, KVM_GET_CLOCK, &c));
	to = clock_now(vm);
	CHECK(c.clock >= from && c.clock <= to);
	CHECK_EQ(!(c.flags & KVM_CLOCK_TSC_STABLE), !(p->flags & PVCLOCK_STABLE));
}

TEST(set_clock, "KVM_SET_CLOCK: the clock goes on from there, in all structures of the VM", KVM_CAP_ADJUST_CLOCK)
{
	struct kvm_clock_data c = { .clock = 1000000000000 };
	struct vm *vm = pv_guest(STEPS(WRMSR(MSR_KVM_SYSTEM_TIME_NEW, CLOCK | 1), SAYS(2)));
	uint64_t start, now;

	REQUIRE(vm_says(vm, 0, 2));
	start = now_ns();
	REQUIRE(!ioctl(vm->fd, KVM_SET_CLOCK, &c));
	REQUIRE(vm_says(vm, 0, DONE));
	now = clock_now(vm);
	CHECK(now >= 1000000000000 && now <= 1000000000000 + (now_ns() - start) * 1001 / 1000);
	/* Set as of five seconds ago by the wall clock, it is five seconds on. */
	REQUIRE(!ioctl(vm->fd, KVM_GET_CLOCK, &c));
	if (c.flags & KVM_CLOCK_REALTIME) {
		struct kvm_clock_data d = c;

		d.realtime -= 5000000000;
		REQUIRE(!ioctl(vm->fd, KVM_SET_CLOCK, &d));
		REQUIRE(!ioctl(vm->fd, KVM_GET_CLOCK, &d));
		CHECK(d.clock - c.clock >= 5000000000 && d.clock - c.clock < 6000000000);
	}
	c.flags = 0x80000000;
	CHECK_ERR(ioctl(vm->fd, KVM_SET_CLOCK, &c), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_CLOCK, NULL), EFAULT);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_CLOCK, NULL), EFAULT);
}

TEST(clock_ctrl, "KVM_KVMCLOCK_CTRL: a guest that was stopped finds that out; without a clock EINVAL",
     KVM_CAP_KVMCLOCK_CTRL)
{
	struct vm *vm = pv_guest(STEPS(SAYS(2), WRMSR(MSR_KVM_SYSTEM_TIME_NEW, CLOCK | 1), SAYS(3)));
	const struct pvclock *p = (void *)(vm->mem + CLOCK);

	REQUIRE(vm_says(vm, 0, 2));
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_KVMCLOCK_CTRL), EINVAL);
	REQUIRE(vm_says(vm, 0, 3));
	CHECK_EQ(p->flags & PVCLOCK_STOPPED, 0);
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_KVMCLOCK_CTRL), 0);
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(p->flags & PVCLOCK_STOPPED, PVCLOCK_STOPPED);
}

static int64_t day_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

TEST(wall_clock, "the wall clock's zero and kvm-clock give the time of day")
{
	struct vm *vm = pv_guest(STEPS(WRMSR(MSR_KVM_WALL_CLOCK_NEW, WALL), WRMSR(MSR_KVM_SYSTEM_TIME_NEW, CLOCK | 1)));
	const uint32_t *wall = (uint32_t *)(vm->mem + WALL);
	int64_t before, day, after;

	REQUIRE(vm_says(vm, 0, DONE));
	CHECK(wall[0] && !(wall[0] & 1));
	before = day_ns();
	day = wall[1] * 1000000000ll + wall[2] + (int64_t)clock_now(vm);
	after = day_ns();
	printf("#   %ld us after the host's, read in %ld us\n", (long)(day - before) / 1000,
	       (long)(after - before) / 1000);
	/* The host's clock is slewed, the guest's is not. */
	CHECK(day >= before - 10000000 && day <= after + 10000000);
}

ASM64(spin, "sti; 1: jmp 1b");
static volatile bool stop;

/* Takes the processor from the vCPU's thread as often as it can. */
static void *compete(void *arg)
{
	(void)arg;
	while (!stop)
		;
	return NULL;
}

TEST(steal_time, "steal time grows while another thread has the processor", KVM_CAP_STEAL_TIME)
{
	struct vm *vm = pv_guest(STEPS(WRMSR(MSR_KVM_STEAL_TIME, STEAL | 1), SAYS(2), SAYS(3)));
	const struct kvm_steal_time *st = (void *)(vm->mem + STEAL);
	cpu_set_t one, all;
	pthread_t thread;
	uint64_t before;

	sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	REQUIRE(!sched_setaffinity(0, sizeof(one), &one));
	REQUIRE(vm_says(vm, 0, 2));
	before = st->steal;
	stop = false;
	REQUIRE(!pthread_create(&thread, NULL, compete, NULL));
	CHECK(vm_says(vm, 0, 3));
	CHECK(vm_says(vm, 0, DONE));
	CHECK(vm_quiet(vm, 0, 1));
	VM_CODE(vm, 0, MODE_64, spin);
	CHECK(vm_spins(vm, 0, 100));
	stop = true;
	pthread_join(thread, NULL);
	sched_setaffinity(0, sizeof(all), &all);
	printf("#   %ld us stolen\n", (long)(st->steal - before) / 1000);
	CHECK(!(st->version & 1) && st->version);
	CHECK(st->steal - before > 10000000 && st->steal - before < 2000000000);
	CHECK_EQ(vm_wrmsr(vm, 0, MSR_KVM_STEAL_TIME, STEAL | 3), 0);
}

/* VT-x with virtual-interrupt delivery: an EOI is no exit then, and there is nothing to be saved. */
static bool processor_ends_interrupts(void)
{
	return file_says("/sys/module/tenon/parameters/vmx_unproven", "Y", "Y") && file_says("/proc/cpuinfo", "vmx flags", " vid");
}

TEST(pv_eoi, "an interrupt is ended by a bit in memory, and the next one comes")
{
	struct kvm_msi msi = { .address_lo = XAPIC, .data = 0x31 };
	struct vm *vm = pv_guest(STEPS(X2APIC_ON, WRMSR(MSR_KVM_PV_EOI_EN, PV_EOI | 1)));
	int n, offered = 0;

	vm->mem[EOI] = EOI_MEMORY;
	REQUIRE(vm_says(vm, 0, DONE));
	for (n = 0; n < 3; n++) {
		REQUIRE(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) == 1);
		REQUIRE(vm_says(vm, 0, 0x31));
		CHECK_EQ(vm->mem[PV_EOI] & 1, 0);
		/* KVM does not always offer it. */
		offered += !vm_apic(vm, 0, 0x110);
	}
	CHECK(offered >= (is_kvm() ? 1 : processor_ends_interrupts() ? 0 : 3));
	CHECK_EQ(vm_wrmsr(vm, 0, MSR_KVM_PV_EOI_EN, PV_EOI | 2), 0);
}

TEST(hypercalls, "an unknown hypercall is -KVM_ENOSYS")
{
	struct vm *vm = pv_guest(STEPS(CALL(77, 0), CALL(KVM_HC_VAPIC_POLL_IRQ, 0)));

	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 0)->value, -KVM_ENOSYS);
	CHECK_EQ(vm_step(vm, 0, 1)->value, 0);
}

ASM64(user_code, "mov $5, %eax; vmmcall; neg %eax; out %al, $0x80; 1: jmp 1b");
TEST(user_hypercall, "a hypercall by a program is -KVM_EPERM")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, user_code);
	struct kvm_regs regs;
	struct kvm_sregs s;

	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cs.dpl = s.ss.dpl = 3;
	s.cs.selector |= 3;
	s.ss.selector |= 3;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	vm_regs(vm, 0, &regs);
	regs.rflags |= 0x3000;	/* ports are open to it */
	vm_set_regs(vm, 0, &regs);
	CHECK(vm_says(vm, 0, KVM_EPERM));
}

ASM64(ipi_code, "mov $10, %eax; mov $6, %ebx; xor %ecx, %ecx; xor %edx, %edx; mov $0x31, %esi;"
		"vmmcall; out %al, $0x80; hlt");
TEST(ipi_hypercall, "KVM_HC_SEND_IPI reaches the processors of its bit map and counts them")
{
	struct vm *vm = vm_new(CHIPS_KERNEL);
	int n;

	for (n = 0; n < 3; n++) {
		vm_add_vcpu(vm);
		vm_script(vm, n, STEPS(X2APIC_ON));
		REQUIRE(vm_says(vm, n, DONE));
	}
	VM_CODE(vm, 0, MODE_64, ipi_code);
	CHECK(vm_says(vm, 0, 2));
	CHECK(vm_says(vm, 1, 0x31));
	CHECK(vm_says(vm, 2, 0x31));
}

ASM64(kicker, "mov $5, %eax; xor %ebx, %ebx; mov $1, %ecx; vmmcall;" SAY(1) "hlt");
ASM64(halted, "cli; hlt;" SAY(2) "1: jmp 1b");
TEST(kick, "KVM_HC_KICK_CPU wakes a processor from HLT without an interrupt")
{
	struct vm *vm = vm_new(CHIPS_KERNEL);

	vm_add_vcpu(vm);
	vm_add_vcpu(vm);
	vm_script(vm, 1, STEPS(XAPIC_ON));
	REQUIRE(vm_says(vm, 1, DONE));
	VM_CODE(vm, 1, MODE_64, halted);
	REQUIRE(vm_quiet(vm, 1, 5));
	VM_CODE(vm, 0, MODE_64, kicker);
	REQUIRE(vm_says(vm, 0, 1));
	CHECK(vm_says(vm, 1, 2));
}

TEST(poll_control, "MSR_KVM_POLL_CONTROL: one bit")
{
	struct vm *vm = pv_guest(STEPS(RDMSR(MSR_KVM_POLL_CONTROL), WRMSR(MSR_KVM_POLL_CONTROL, 0),
				       RDMSR(MSR_KVM_POLL_CONTROL)));

	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 0)->value, 1);
	CHECK_EQ(vm_step(vm, 0, 2)->value, 0);
	CHECK_EQ(vm_wrmsr(vm, 0, MSR_KVM_POLL_CONTROL, 2), 0);
}

ASM64(reads_tsc, "rdtsc; mov %eax, 0x9100; mov %edx, 0x9104; hlt");

/* What the processor has for it is what the MSR has, and goes at about this rate. */
static void reads_its_tsc(struct vm *vm, uint64_t khz)
{
	uint64_t before, guest[2], after, start = 0, ns = 0;
	int n;

	for (n = 0; n < 2; n++) {
		VM_CODE(vm, 0, MODE_64, reads_tsc);
		ns = now_ns() - start;
		start += ns;
		REQUIRE(vm_rdmsr(vm, 0, 0x10, &before) == 1);
		CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
		REQUIRE(vm_rdmsr(vm, 0, 0x10, &after) == 1);
		guest[n] = *(uint64_t *)(vm->mem + DATA + 0x100);
		CHECK(before <= guest[n] && guest[n] <= after);
		usleep(n ? 0 : 200000);
	}
	printf("#   %ld kHz of %ld\n", (long)((guest[1] - guest[0]) * 1000000 / ns), (long)khz);
	CHECK((guest[1] - guest[0]) * 1000000 / ns > khz * 7 / 10 && (guest[1] - guest[0]) * 1000000 / ns < khz * 14 / 10);
}

TEST(tsc_khz, "KVM_SET_TSC_KHZ takes the host's rate, and another where the processor scales; RDTSC and MSR agree",
     KVM_CAP_GET_TSC_KHZ, KVM_CAP_TSC_CONTROL)
{
	int khz, scales = has_cap(KVM_CAP_TSC_CONTROL);
	struct vm *vm = vm_new(CHIPS_NONE);

	if (is_kvm())
		SKIP("KVM lets a faster rate pass without scaling");
	vm_add_vcpu(vm);
	khz = ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0);
	REQUIRE(khz > 1000);
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_TSC_KHZ, khz + khz / 100000), 0);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_TSC_KHZ, 0xffffffff), EINVAL);
	reads_its_tsc(vm, khz);
	if (scales) {
		CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_TSC_KHZ, khz * 2), 0);
		CHECK_EQ(ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0), khz * 2);
		reads_its_tsc(vm, khz * 2);
	} else {
		CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_TSC_KHZ, khz * 2), EINVAL);
	}
}
