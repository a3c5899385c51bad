// SPDX-License-Identifier: GPL-2.0-only
/*
 * state.c - the state of a VM, read from one and set in another; MSRs and the TSC
 */
#include <linux/kvm_para.h>

#include "harness.h"

/* ---- all of it ---- */

#define MAX_MSRS 256

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[MAX_MSRS];
};

struct vcpu_state {
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
	struct kvm_lapic_state lapic;
	struct msrs msrs;
};

struct state {
	struct vcpu_state vcpu[MAX_VCPUS];
	struct kvm_irqchip chip[3];
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
};

static void list_msrs(struct msrs *m)
{
	struct {
		struct kvm_msr_list list;
		uint32_t room[MAX_MSRS];
	} l = { .list.nmsrs = MAX_MSRS };
	unsigned int n;

	REQUIRE(!ioctl(dev_fd, KVM_GET_MSR_INDEX_LIST, &l));
	memset(m, 0, sizeof(*m));
	for (n = 0; n < l.list.nmsrs; n++)
		m->entry[n].index = l.list.indices[n];
	m->head.nmsrs = l.list.nmsrs;
}

static void save_vcpu(int fd, struct vcpu_state *s)
{
	list_msrs(&s->msrs);
	REQUIRE(!ioctl(fd, KVM_GET_SREGS, &s->sregs));
	REQUIRE(!ioctl(fd, KVM_GET_REGS, &s->regs));
	REQUIRE(!has_xcrs() || !ioctl(fd, KVM_GET_XCRS, &s->xcrs));
	REQUIRE(!ioctl(fd, KVM_GET_XSAVE, &s->xsave));
	REQUIRE(!ioctl(fd, KVM_GET_DEBUGREGS, &s->debugregs));
	REQUIRE(!ioctl(fd, KVM_GET_VCPU_EVENTS, &s->events));
	REQUIRE(!ioctl(fd, KVM_GET_MP_STATE, &s->mp));
	REQUIRE(!ioctl(fd, KVM_GET_LAPIC, &s->lapic));
	REQUIRE(ioctl(fd, KVM_GET_MSRS, &s->msrs) == (int)s->msrs.head.nmsrs);
}

/* The MSRs hold the TSC deadline, which counts only once the local APIC is in that mode, so they come after it. */
static void load_vcpu(int fd, struct vcpu_state *s)
{
	REQUIRE(!ioctl(fd, KVM_SET_SREGS, &s->sregs));
	REQUIRE(!ioctl(fd, KVM_SET_REGS, &s->regs));
	REQUIRE(!has_xcrs() || !ioctl(fd, KVM_SET_XCRS, &s->xcrs));
	REQUIRE(!ioctl(fd, KVM_SET_XSAVE, &s->xsave));
	REQUIRE(!ioctl(fd, KVM_SET_DEBUGREGS, &s->debugregs));
	REQUIRE(!ioctl(fd, KVM_SET_LAPIC, &s->lapic));
	REQUIRE(ioctl(fd, KVM_SET_MSRS, &s->msrs) == (int)s->msrs.head.nmsrs);
	REQUIRE(!ioctl(fd, KVM_SET_VCPU_EVENTS, &s->events));
	REQUIRE(!ioctl(fd, KVM_SET_MP_STATE, &s->mp));
}

static struct state *save(struct vm *vm)
{
	struct state *s = calloc(1, sizeof(*s));
	int n;

	REQUIRE(s);
	for (n = 0; n < vm->nvcpus; n++)
		save_vcpu(vm->vcpu[n], &s->vcpu[n]);
	for (n = 0; n < 3; n++) {
		s->chip[n].chip_id = n;
		REQUIRE(!ioctl(vm->fd, KVM_GET_IRQCHIP, &s->chip[n]));
	}
	REQUIRE(!ioctl(vm->fd, KVM_GET_PIT2, &s->pit));
	REQUIRE(!ioctl(vm->fd, KVM_GET_CLOCK, &s->clock));
	return s;
}

static void load(struct vm *vm, struct state *s)
{
	int n;

	s->clock.flags = 0;
	REQUIRE(!ioctl(vm->fd, KVM_SET_CLOCK, &s->clock));
	for (n = 0; n < 3; n++)
		REQUIRE(!ioctl(vm->fd, KVM_SET_IRQCHIP, &s->chip[n]));
	REQUIRE(!ioctl(vm->fd, KVM_SET_PIT2, &s->pit));
	for (n = 0; n < vm->nvcpus; n++)
		load_vcpu(vm->vcpu[n], &s->vcpu[n]);
}

/* The VM goes on as another one; it is gone. */
static struct vm *migrate(struct vm *from)
{
	struct vm *to = vm_machine();
	struct state *s;
	int n;

	while (to->nvcpus < from->nvcpus)
		vm_add_vcpu(to);
	/* The last exit is completed: what it means to the registers has happened. */
	for (n = 0; n < from->nvcpus; n++)
		vm_settle(from, n);
	s = save(from);
	memcpy(to->mem, from->mem, MEM_SIZE);
	vm_free(from);
	load(to, s);
	free(s);
	return to;
}

/*
 * Four kinds of state advance together: general registers, x87, SSE and the upper half of AVX. Every so often the guest
 * says 2; at last it stores all and says 1.
 */
ASM64(compute, "mov $1, %ebx; mov $0, %r12d; fninit; fldpi; mov $0x3ff0000000000001, %rax; movq %rax, %xmm5;"
	       "vinsertf128 $1, %xmm5, %ymm5, %ymm6; mov $0x9100, %r11d;"
	       "1: imul $1664525, %rbx, %rbx; add $1013904223, %rbx; fld1; fadd %st(1), %st; fsqrt; fxch; fstp %st(1);"
	       "fldpi; fmulp; movq %rbx, %xmm7; pxor %xmm7, %xmm5; paddq %xmm7, %xmm5; vpermilps $0x93, %ymm6, %ymm6;"
	       "vinsertf128 $1, %xmm7, %ymm7, %ymm7; vxorps %ymm7, %ymm6, %ymm6; inc %r12d; test $0x3ff, %r12d; jnz 1b; cmp $0x2000, %r12d;"
	       "je 2f;" SAY(2) "jmp 1b;"
	       "2: mov %rbx, (%r11); fstpt 16(%r11); movdqu %xmm5, 32(%r11); vmovdqu %ymm6, 64(%r11);" SAY(1) "hlt");

/* The emulated processor of the test bed does not intercept XSETBV, so it is done from here. */
static void avx_on(struct vm *vm)
{
	struct kvm_xcrs xcrs;
	struct kvm_sregs s;

	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= 0x40000;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_XCRS, &xcrs));
	xcrs.xcrs[0].value = 7;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_XCRS, &xcrs));
}

static void result(bool migrating, uint8_t *out)
{
	struct vm *vm = vm_machine();
	int said;

	VM_CODE(vm, 0, MODE_64, compute);
	avx_on(vm);
	while ((said = vm_said(vm, 0)) == 2) {
		if (migrating)
			vm = migrate(vm);
	}
	CHECK_EQ(said, 1);
	memcpy(out, vm->mem + DATA + 0x100, 96);
	vm_free(vm);
}

TEST(migrate_compute, "a guest that computes moves from VM to VM, and comes to the same result")
{
	uint8_t stay[96], move[96], none[96] = { 0 };

	if (!has_xcrs())
		SKIP("the processor has no AVX");
	result(false, stay);
	result(true, move);
	CHECK(memcmp(stay, none, sizeof(stay)));
	CHECK(!memcmp(stay, move, sizeof(stay)));
}

static bool same(const char *what, const void *a, const void *b, size_t len)
{
	size_t n;

	if (!memcmp(a, b, len))
		return true;
	for (n = 0; ((uint8_t *)a)[n] == ((uint8_t *)b)[n]; n++)
		;
	printf("#   %s: byte %#zx is %#x, was %#x\n", what, n, ((uint8_t *)b)[n], ((uint8_t *)a)[n]);
	return false;
}

#define SAME(field) CHECK(same(#field, &a->field, &b->field, sizeof(a->field)))

TEST(migrate_state, "all of the state reads back from the VM that it was set in",
     KVM_CAP_MP_STATE, KVM_CAP_VCPU_EVENTS, KVM_CAP_DEBUGREGS, KVM_CAP_XSAVE, KVM_CAP_XCRS, KVM_CAP_PIT_STATE2)
{
	struct vm *vm = vm_machine(), *to = vm_machine();
	struct state *a, *b;
	unsigned int n;

	vm_script(vm, 0, STEPS(X2APIC_ON, IOAPIC_PIN(20, 0x8042, 0), IOAPIC_PIN(3, 0x10043, 7), PIC_ON(3, 0xa5, 0x5a),
			       OUT(0x4d0, 0x20), OUT(0x43, 0xb6), OUT(0x42, 0x34), OUT(0x42, 0x12), OUT(0x61, 2),
			       WRMSR(X2APIC(0x80), 0x50), WRMSR(X2APIC(0x320), 0x10031), WRMSR(X2APIC(0x3e0), 3),
			       WRMSR(0xc0000081, 0x0008001000000000), WRMSR(0xc0000082, 0xffff800000001234),
			       WRMSR(0xc0000102, 0x1234567), WRMSR(0x174, 8), WRMSR(0x277, 0x0007010600070106),
			       WRMSR(0x2ff, 0xc06), WRMSR(0x250, 0x0606060606060606), SAYS(2)));
	REQUIRE(vm_says(vm, 0, 2));
	CHECK_EQ(vm_irq_line(vm, 20, 1), 0);
	vm_settle(vm, 0);
	a = save(vm);
	a->vcpu[0].debugregs.db[1] = 0x1234;
	a->vcpu[0].debugregs.dr7 = 0x404;
	memcpy(to->mem, vm->mem, MEM_SIZE);
	load(to, a);
	b = save(to);
	SAME(vcpu[0].regs);
	SAME(vcpu[0].sregs);
	SAME(vcpu[0].xcrs);
	SAME(vcpu[0].xsave);
	SAME(vcpu[0].debugregs);
	SAME(vcpu[0].mp);
	SAME(vcpu[0].lapic);
	SAME(vcpu[0].events);
	for (n = 0; n < 3; n++)
		SAME(chip[n]);
	for (n = 0; n < 3; n++) {
		/* It starts over when it is set. */
		b->pit.channels[n].count_load_time = a->pit.channels[n].count_load_time;
		SAME(pit.channels[n]);
	}
	SAME(pit.flags);
	for (n = 0; n < a->vcpu[0].msrs.head.nmsrs; n++) {
		struct kvm_msr_entry *x = &a->vcpu[0].msrs.entry[n], *y = &b->vcpu[0].msrs.entry[n];

		/* The TSC runs on; Linux 6.1 starts it over if it is near to 0. KVM's list has more clocks. */
		if (x->index == 0x10)
			CHECK(y->data > x->data || is_kvm());
		else if (x->data != y->data && !is_kvm())
			CHECK(same("an MSR", x, y, sizeof(*x)));
	}
	CHECK(b->clock.clock >= a->clock.clock && b->clock.clock < a->clock.clock + 5000000000);
	free(a);
	free(b);
	CHECK(vm_says(to, 0, DONE));
}

TEST(migrate_irq, "an interrupt that waits, and one in service, move along")
{
	struct kvm_msi msi = { .address_lo = XAPIC, .data = 0x31 };
	struct vm *vm = vm_machine();

	vm_script(vm, 0, STEPS(X2APIC_ON, IOAPIC_PIN(20, 0x8042, 0)));
	vm->mem[EOI] = EOI_X2APIC;
	REQUIRE(vm_says(vm, 0, DONE));
	vm_settle(vm, 0);
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	CHECK_EQ(vm_irq_line(vm, 20, 1), 0);
	vm = migrate(vm);
	CHECK(vm_says(vm, 0, 0x42));
	/* In the middle of the handler, the line high: it comes back after the EOI, the other one is still there. */
	vm = migrate(vm);
	CHECK(vm_says(vm, 0, 0x42));
	CHECK_EQ(vm_irq_line(vm, 20, 0), 0);
	vm = migrate(vm);
	CHECK(vm_says(vm, 0, 0x31));
	vm = migrate(vm);
	CHECK(vm_quiet(vm, 0, 5));
}

TEST(migrate_halted, "a halted processor is halted in the new VM, and wakes by an interrupt")
{
	struct kvm_msi msi = { .address_lo = XAPIC, .data = 0x31 };
	struct kvm_mp_state mp;
	struct vm *vm = vm_machine();

	vm_script(vm, 0, STEPS(X2APIC_ON));
	REQUIRE(vm_says(vm, 0, DONE));
	REQUIRE(vm_quiet(vm, 0, 5));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_MP_STATE, &mp));
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_HALTED);
	vm = migrate(vm);
	CHECK(vm_quiet(vm, 0, 5));
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	CHECK(vm_says(vm, 0, 0x31));
}

#define ICR(to, mode) WRMSR(X2APIC(0x300), (uint64_t)(to) << 32 | (mode))
ASM16(started, SAY(0x77) "cli; hlt");
TEST(migrate_smp, "a second processor moves along: waiting to be started, running, halted")
{
	struct vm *vm = vm_machine();

	vm_add_vcpu(vm);
	vm_script(vm, 0, STEPS(X2APIC_ON));
	REQUIRE(vm_says(vm, 0, DONE));
	memcpy(vm->mem + START, BYTES(started));
	vm = migrate(vm);
	vm_script(vm, 0, STEPS(ICR(1, 0x4500), ICR(1, 0x4600 | START >> 12)));
	vm_start(vm, 1);
	CHECK(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_join(vm, 1), 0x77);
	vm = migrate(vm);
	vm_script(vm, 1, STEPS(X2APIC_ON));
	REQUIRE(vm_says(vm, 1, DONE));
	REQUIRE(vm_quiet(vm, 1, 1));
	vm = migrate(vm);
	vm_script(vm, 0, STEPS(ICR(1, 0x55)));
	vm_start(vm, 1);
	CHECK(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_join(vm, 1), 0x55);
}

/* 600 ms, or as many times as much as the machine is slow; a count has 32 bits. */
static unsigned int timer_ms(void)
{
	return 600 * (test_slow() < 6 ? test_slow() : 6);
}

/* A timer that is moved when two thirds are over: after as much again, it would be late, if it started over. */
static void migrate_timer(const struct step *steps, unsigned int vector)
{
	struct vm *vm = vm_machine();
	uint64_t start = now_ns(), ms;
	const unsigned int all = timer_ms();

	vm_script(vm, 0, steps);
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK(vm_quiet(vm, 0, all * 2 / 3));
	vm = migrate(vm);
	CHECK(vm_says(vm, 0, vector));
	ms = (now_ns() - start) / 1000000;
	printf("#   fired after %lu ms\n", (long)ms);
	/* A TSC goes on from where it was read, so the time between is lost to a TSC deadline. */
	CHECK(ms >= all && ms < all * 19 / 12);
}

TEST(migrate_oneshot, "the local APIC's timer goes on in the new VM from where it was")
{
	migrate_timer(STEPS(X2APIC_ON, WRMSR(X2APIC(0x3e0), 0xb), WRMSR(X2APIC(0x320), 0x31),
			    WRMSR(X2APIC(0x380), timer_ms() * 1000000u)), 0x31);
}

TEST(migrate_deadline, "a TSC deadline comes at its time in the new VM")
{
	const uint64_t tsc = 1ull << 40;
	struct vm *vm = vm_machine();
	uint64_t khz = ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0);

	vm_free(vm);
	migrate_timer(STEPS(X2APIC_ON, WRMSR(0x10, tsc), WRMSR(X2APIC(0x320), 0x40031),
			    WRMSR(0x6e0, tsc + khz * timer_ms())), 0x31);
}

ASM64(read_port, "in $0x99, %al; movzbl %al, %ebx; mov 0xc0000000, %eax;" SAY(1) "hlt");
TEST(unfinished, "an exit is finished by KVM_RUN with immediate_exit: a value read from a port is in its register")
{
	struct vm *vm = vm_machine();
	struct kvm_run *run = vm->run[0];
	struct kvm_regs regs;

	VM_CODE(vm, 0, MODE_64, read_port);
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_IO);
	((uint8_t *)run)[run->io.data_offset] = 0x5c;
	vm_settle(vm, 0);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax & 0xff, 0x5c);
	CHECK_EQ(regs.rip, CODE + 2);
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_MMIO);
	memcpy(run->mmio.data, "\x78\x56\x34\x12", 4);
	vm_settle(vm, 0);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax, 0x12345678);
	CHECK_EQ(regs.rbx, 0x5c);
}

/* ---- MSRs ---- */

TEST(msr_list, "every MSR of the index list can be read, and written back; one that there is not ends the list")
{
	struct kvm_msr_list none = { .nmsrs = 0 };
	struct vm *vm = vm_machine();
	struct msrs m;
	unsigned int n, count;

	CHECK_ERR(ioctl(dev_fd, KVM_GET_MSR_INDEX_LIST, &none), E2BIG);
	CHECK(none.nmsrs > 10);
	list_msrs(&m);
	count = m.head.nmsrs;
	for (n = 0; n < count; n++) {
		uint64_t value;

		if (vm_rdmsr(vm, 0, m.entry[n].index, &value) != 1 || vm_wrmsr(vm, 0, m.entry[n].index, value) != 1) {
			printf("#   MSR %#x\n", m.entry[n].index);
			test_fail(__FILE__, __LINE__, "a listed MSR is refused", 0);
		}
	}
	m.entry[2].index = 0x12345678;
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_GET_MSRS, &m), 2);
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_MSRS, &m), 2);
	m.head.nmsrs = 100000;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_GET_MSRS, &m), E2BIG);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_MSRS, &m), E2BIG);
}

TEST(msr_features, "KVM_GET_MSR_FEATURE_INDEX_LIST: the node itself has a value for each", KVM_CAP_GET_MSR_FEATURES)
{
	struct kvm_msr_list none = { .nmsrs = 0 };
	struct {
		struct kvm_msr_list list;
		uint32_t room[MAX_MSRS];
	} l = { .list.nmsrs = MAX_MSRS };
	struct msrs m = { 0 };
	unsigned int n;

	CHECK_ERR(ioctl(dev_fd, KVM_GET_MSR_FEATURE_INDEX_LIST, &none), E2BIG);
	REQUIRE(!ioctl(dev_fd, KVM_GET_MSR_FEATURE_INDEX_LIST, &l));
	for (n = 0; n < l.list.nmsrs; n++)
		m.entry[n].index = l.list.indices[n];
	m.head.nmsrs = n;
	CHECK_EQ(ioctl(dev_fd, KVM_GET_MSRS, &m), n);
}

TEST(bad_msrs, "values that an MSR cannot have are refused, to user space and, by #GP, to the guest")
{
	static const struct {
		uint32_t msr;
		uint64_t value;
	} bad[] = {
		{ 0xc0000080, 1ull << 40 },		/* EFER */
		{ 0x277, 0x02 },			/* PAT: no type 2 */
		{ 0x2ff, 0x1000 },			/* MTRR default type */
		{ 0x250, 0x02 },			/* fixed MTRR */
		{ 0x1b, 1ull << 60 },			/* APIC base */
		{ MSR_KVM_STEAL_TIME, DATA | 2 },
	};
	struct vm *vm = vm_machine();
	unsigned int n;

	for (n = 0; n < COUNT(bad); n++) {
		if (vm_wrmsr(vm, 0, bad[n].msr, bad[n].value)) {
			printf("#   MSR %#x takes %#lx\n", bad[n].msr, (long)bad[n].value);
			test_fail(__FILE__, __LINE__, "a bad value is taken", 0);
		}
		vm_script(vm, 0, STEPS(WRMSR(bad[n].msr, bad[n].value)));
		CHECK(vm_says(vm, 0, 13));
	}
	vm_script(vm, 0, STEPS(RDMSR(0x12345678)));
	CHECK(vm_says(vm, 0, 13));
}

TEST(tsc_first, "the first value that a TSC is set to counts, however near to where it is; the others follow it")
{
	struct vm *vm = vm_machine();
	uint64_t khz = ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0), first, second;

	if (is_kvm())
		SKIP("Linux 6.1 takes the first value for a try to set two TSCs to the same");
	vm_add_vcpu(vm);
	REQUIRE(vm_wrmsr(vm, 0, 0x10, khz * 500) == 1);
	REQUIRE(vm_wrmsr(vm, 1, 0x10, khz * 500 + 100) == 1);
	REQUIRE(vm_rdmsr(vm, 0, 0x10, &first) == 1);
	REQUIRE(vm_rdmsr(vm, 1, 0x10, &second) == 1);
	CHECK(first >= khz * 500);
	CHECK(second >= first);
}

TEST(tsc, "a TSC that is set goes on from there, and MSR_IA32_TSC_ADJUST tells by how much the guest has moved it")
{
	struct vm *vm = vm_machine();
	uint64_t khz = ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0), at = 1ull << 50, now, start = now_ns();

	REQUIRE(vm_wrmsr(vm, 0, 0x10, at) == 1);
	REQUIRE(vm_rdmsr(vm, 0, 0x10, &now) == 1);
	CHECK(now >= at && now - at <= (now_ns() - start) / 1000 * khz / 1000 + khz);
	vm_script(vm, 0, STEPS(RDMSR(0x3b), WRMSR(0x10, 0), RDMSR(0x10), RDMSR(0x3b), WRMSR(0x3b, 0), RDMSR(0x10)));
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 0)->value, 0);
	CHECK(vm_step(vm, 0, 2)->value < 1ull << 49);
	CHECK((int64_t)vm_step(vm, 0, 3)->value < -(int64_t)(1ull << 49));
	CHECK(vm_step(vm, 0, 5)->value >= at);
}
