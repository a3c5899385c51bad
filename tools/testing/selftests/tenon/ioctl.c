// SPDX-License-Identifier: GPL-2.0-only
/*
 * ioctl.c - the ioctls that get and set state, one by one: what they refuse, and what comes of what they take
 */
#include "harness.h"

/* ---- what is refused ---- */

static bool is_xcrs(unsigned long cmd)
{
	return cmd == KVM_GET_XCRS || cmd == KVM_SET_XCRS;
}

TEST(null, "a pointer to nothing is EFAULT, everywhere")
{
	static const struct {
		const char *name;
		unsigned long cmd;
	} vcpu[] = {
#define CMD(cmd) { #cmd, cmd }
		CMD(KVM_GET_REGS), CMD(KVM_SET_REGS), CMD(KVM_GET_SREGS), CMD(KVM_SET_SREGS), CMD(KVM_GET_FPU),
		CMD(KVM_SET_FPU), CMD(KVM_GET_XSAVE), CMD(KVM_SET_XSAVE), CMD(KVM_GET_XCRS), CMD(KVM_SET_XCRS),
		CMD(KVM_GET_DEBUGREGS), CMD(KVM_SET_DEBUGREGS), CMD(KVM_GET_VCPU_EVENTS),
		CMD(KVM_SET_VCPU_EVENTS), CMD(KVM_GET_MP_STATE), CMD(KVM_SET_MP_STATE), CMD(KVM_GET_LAPIC),
		CMD(KVM_SET_LAPIC), CMD(KVM_GET_MSRS), CMD(KVM_SET_MSRS), CMD(KVM_GET_CPUID2),
		CMD(KVM_SET_CPUID2), CMD(KVM_TRANSLATE), CMD(KVM_SET_GUEST_DEBUG),
		CMD(KVM_TPR_ACCESS_REPORTING), CMD(KVM_SET_VAPIC_ADDR), CMD(KVM_X86_SETUP_MCE),
		CMD(KVM_X86_SET_MCE), CMD(KVM_INTERRUPT), CMD(KVM_ENABLE_CAP),
	}, of_vm[] = {
		CMD(KVM_GET_IRQCHIP), CMD(KVM_SET_IRQCHIP), CMD(KVM_GET_PIT2), CMD(KVM_SET_PIT2),
		CMD(KVM_GET_CLOCK), CMD(KVM_SET_CLOCK), CMD(KVM_IRQ_LINE), CMD(KVM_IRQ_LINE_STATUS),
		CMD(KVM_SET_GSI_ROUTING), CMD(KVM_IRQFD), CMD(KVM_IOEVENTFD), CMD(KVM_SIGNAL_MSI),
		CMD(KVM_SET_USER_MEMORY_REGION), CMD(KVM_GET_DIRTY_LOG), CMD(KVM_ENABLE_CAP),
		CMD(KVM_REINJECT_CONTROL), CMD(KVM_REGISTER_COALESCED_MMIO),
		CMD(KVM_UNREGISTER_COALESCED_MMIO), CMD(KVM_CREATE_PIT2),
	}, node[] = {
		CMD(KVM_GET_SUPPORTED_CPUID), CMD(KVM_GET_MSR_INDEX_LIST), CMD(KVM_GET_MSR_FEATURE_INDEX_LIST),
		CMD(KVM_GET_MSRS), CMD(KVM_X86_GET_MCE_CAP_SUPPORTED),
#undef CMD
	};
	struct vm *vm = vm_machine();
	unsigned int n;

#define EACH_IS_EFAULT(fd, list) do {								\
	for (n = 0; n < COUNT(list); n++) {							\
		int r_ = ioctl(fd, (list)[n].cmd, NULL), e_ = errno;				\
												\
		if (r_ == -1 && e_ == (is_xcrs((list)[n].cmd) && !has_xcrs() ? EINVAL : EFAULT)) \
			continue;								\
		printf("#   %s: returned %d, %s\n", (list)[n].name, r_, strerror(e_));		\
		test_fail(__FILE__, __LINE__, "NULL is taken", e_);				\
	}											\
} while (0)
	EACH_IS_EFAULT(vm->vcpu[0], vcpu);
	EACH_IS_EFAULT(vm->fd, of_vm);
	EACH_IS_EFAULT(dev_fd, node);
}

TEST(bad_sregs, "KVM_SET_SREGS: control registers that no processor can have are EINVAL, and change nothing")
{
	struct vm *vm = vm_machine();
	struct kvm_sregs good, s;

	vm_script(vm, 0, STEPS());
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &good));
#define REFUSED(change) do {						\
	s = good;							\
	change;								\
	if (!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s) || errno != EINVAL)	\
		test_fail(__FILE__, __LINE__, "taken: " #change, errno);\
} while (0)
	REFUSED(s.cr0 |= 1ull << 32);
	REFUSED(s.cr0 &= ~1ull);		/* paging without protection */
	REFUSED(s.cr0 |= 1 << 29; s.cr0 &= ~(1ull << 30));	/* NW without CD */
	REFUSED(s.cr4 |= 1ull << 60);
	REFUSED(s.cr4 &= ~0x20ull);		/* long mode without PAE */
	REFUSED(s.efer &= ~0x400ull);		/* LME and paging without LMA */
	if (!is_kvm())
		REFUSED(s.efer |= 1ull << 40);
	REFUSED(s.cr3 |= 1ull << 62);
	REFUSED(s.apic_base |= 0x400; s.apic_base &= ~0x800ull);
#undef REFUSED
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	CHECK(!memcmp(&good, &s, sizeof(s)));
	CHECK(vm_says(vm, 0, DONE));
}

TEST(bad_events, "KVM_SET_VCPU_EVENTS: unknown flags, and exceptions that there are not, are EINVAL")
{
	struct kvm_vcpu_events good, e;
	struct vm *vm = vm_machine();

	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_VCPU_EVENTS, &good));
	e = good;
	e.flags |= 0x8000;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_VCPU_EVENTS, &e), EINVAL);
	e = good;
	e.exception.injected = 1;
	e.exception.nr = 32;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_VCPU_EVENTS, &e), EINVAL);
	e.exception.nr = 2;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_VCPU_EVENTS, &e), EINVAL);
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_VCPU_EVENTS, &good), 0);
}

TEST(bad_debugregs, "KVM_SET_DEBUGREGS: flags, and the upper halves of DR6 and DR7, are EINVAL")
{
	struct vm *vm = vm_machine();
	struct kvm_debugregs d;

	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_DEBUGREGS, &d));
	d.dr6 |= 1ull << 32;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_DEBUGREGS, &d), EINVAL);
	d.dr6 = 0xffff0ff0;
	d.dr7 |= 1ull << 40;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_DEBUGREGS, &d), EINVAL);
	d.dr7 = 0x400;
	d.flags = 1;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_DEBUGREGS, &d), EINVAL);
	d.flags = 0;
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_DEBUGREGS, &d), 0);
}

TEST(bad_xstate, "KVM_SET_XCRS and KVM_SET_XSAVE: flags, too many, states that there are not, bad MXCSR are EINVAL")
{
	struct kvm_xsave *xsave = calloc(1, sizeof(*xsave));
	struct vm *vm = vm_machine();
	struct kvm_xcrs x;

	if (!has_xcrs())
		SKIP("the processor has no XSAVE");
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_XCRS, &x));
	CHECK_EQ(x.nr_xcrs, 1);
	CHECK_EQ(x.xcrs[0].xcr, 0);
	CHECK_EQ(x.xcrs[0].value, 1);
	x.xcrs[0].value = 0;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_XCRS, &x), EINVAL);
	x.xcrs[0].value = 5;	/* AVX without SSE */
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_XCRS, &x), EINVAL);
	x.xcrs[0].value = 1 | 1ull << 62;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_XCRS, &x), EINVAL);
	x.xcrs[0].value = 7;
	x.flags = 1;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_XCRS, &x), EINVAL);
	x.flags = 0;
	x.nr_xcrs = KVM_MAX_XCRS + 1;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_XCRS, &x), EINVAL);
	x.nr_xcrs = 1;
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_XCRS, &x), 0);

	REQUIRE(xsave && !ioctl(vm->vcpu[0], KVM_GET_XSAVE, xsave));
	xsave->region[512 / 4 + 1] |= 1 << 30;	/* XSTATE_BV */
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_XSAVE, xsave), EINVAL);
	xsave->region[512 / 4 + 1] = 0;
	xsave->region[512 / 4] = 3;
	xsave->region[24 / 4] = 0x80000000;	/* MXCSR */
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_XSAVE, xsave), EINVAL);
	xsave->region[24 / 4] = 0x1f80;
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_XSAVE, xsave), 0);
	free(xsave);
}

ASM64(fpu_code, "fninit; pcmpeqd %xmm3, %xmm3;" SAY(2) "fld1; fldcw 0x9100; movq %xmm3, %rbx; fstpt 0x9110;"
		SAY(1) "hlt");
TEST(fpu, "KVM_GET_FPU and KVM_SET_FPU: what the guest has in its registers")
{
	struct vm *vm = vm_machine();
	struct kvm_regs regs;
	struct kvm_fpu fpu;

	*(uint16_t *)(vm->mem + DATA + 0x100) = 0x27f;
	VM_CODE(vm, 0, MODE_64, fpu_code);
	REQUIRE(vm_says(vm, 0, 2));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_FPU, &fpu));
	CHECK_EQ(fpu.fcw, 0x37f);
	/* KVM leaves it out. */
	CHECK_EQ(fpu.mxcsr, is_kvm() ? 0 : 0x1f80);
	memcpy(fpu.xmm[3], "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_FPU, &fpu));
	REQUIRE(vm_says(vm, 0, 1));
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, 0x8877665544332211);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_FPU, &fpu));
	CHECK_EQ(fpu.fcw, 0x27f);
	CHECK_EQ(*(uint64_t *)(vm->mem + DATA + 0x110), 0x8000000000000000);
}

TEST(bad_mp_state, "KVM_SET_MP_STATE: a state that there is not is EINVAL; without a local APIC only RUNNABLE is one")
{
	struct kvm_mp_state mp = { 77 };
	struct vm *vm = vm_machine();

	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_MP_STATE, &mp), EINVAL);
	vm = vm_new(CHIPS_NONE);
	vm_add_vcpu(vm);
	mp.mp_state = KVM_MP_STATE_INIT_RECEIVED;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_MP_STATE, &mp), EINVAL);
	mp.mp_state = KVM_MP_STATE_RUNNABLE;
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_MP_STATE, &mp), 0);
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_GET_MP_STATE, &mp), 0);
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_RUNNABLE);
}

TEST(no_chips, "without chips in the kernel, their state is ENXIO or EINVAL; so is a chip that there is not")
{
	struct kvm_irqchip chip = { .chip_id = 3 };
	struct kvm_lapic_state lapic;
	struct kvm_pit_state2 pit;
	struct vm *vm = vm_machine();

	CHECK_ERR(ioctl(vm->fd, KVM_GET_IRQCHIP, &chip), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_IRQCHIP, &chip), EINVAL);
	vm = vm_new(CHIPS_NONE);
	vm_add_vcpu(vm);
	chip.chip_id = 0;
	CHECK_ERR(ioctl(vm->fd, KVM_GET_IRQCHIP, &chip), ENXIO);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_IRQCHIP, &chip), ENXIO);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_PIT2, &pit), ENXIO);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_GET_LAPIC, &lapic), EINVAL);
}

/* ---- events ---- */

ASM64(error_handler, "pop %rbx;" SAY(0x0d) "hlt");
TEST(inject_exception, "KVM_SET_VCPU_EVENTS: an exception with its error code is delivered")
{
	struct vm *vm = vm_machine();
	struct kvm_vcpu_events e;
	struct kvm_regs regs;

	vm_script(vm, 0, STEPS());
	VM_VECTOR(vm, 13, error_handler);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	e.exception.injected = 1;
	e.exception.nr = 13;
	e.exception.has_error_code = 1;
	e.exception.error_code = 0x678;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_VCPU_EVENTS, &e));
	CHECK(vm_says(vm, 0, 0x0d));
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, 0x678);
}

TEST(inject_nmi, "KVM_SET_VCPU_EVENTS: an NMI that waits is delivered, and not while NMIs are masked")
{
	struct vm *vm = vm_machine();
	struct kvm_vcpu_events e;

	vm_script(vm, 0, STEPS());
	REQUIRE(vm_says(vm, 0, DONE));
	vm_settle(vm, 0);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	e.nmi.pending = 1;
	e.nmi.masked = 1;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_VCPU_EVENTS, &e));
	CHECK(vm_quiet(vm, 0, 5));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	CHECK_EQ(e.nmi.pending, 1);
	CHECK_EQ(e.nmi.masked, 1);
	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	e.nmi.masked = 0;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_VCPU_EVENTS, &e));
	CHECK(vm_says(vm, 0, 2));
}

TEST(interrupt_bitmap, "KVM_SET_SREGS: an interrupt on its way is delivered")
{
	struct vm *vm = vm_new(CHIPS_NONE);
	struct kvm_sregs s;

	vm_add_vcpu(vm);
	vm_script(vm, 0, STEPS());
	REQUIRE(vm_says(vm, 0, DONE));
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_HLT);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.interrupt_bitmap[0x44 / 64] = 1ull << 0x44 % 64;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	CHECK(vm_says(vm, 0, 0x44));
}

/* ---- the rest ---- */

TEST(translate, "KVM_TRANSLATE: by the guest's page tables")
{
	struct kvm_translation t = { .linear_address = 0x40123456 };
	struct vm *vm = vm_machine();

	vm_script(vm, 0, STEPS());
	/* 1 GiB and 2 MiB further leads to the first 2 MiB. */
	((uint64_t *)(vm->mem + PD))[512 + 0] = 0x87;
	((uint64_t *)(vm->mem + PD))[512 + 1] = 0;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_TRANSLATE, &t));
	CHECK_EQ(t.valid, 1);
	CHECK_EQ(t.physical_address, 0x123456);
	t.linear_address = 0x40200000;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_TRANSLATE, &t));
	CHECK_EQ(t.valid, 0);
}

TEST(mce, "KVM_X86_SETUP_MCE and KVM_X86_SET_MCE: banks, and a corrected error", KVM_CAP_MCE)
{
	const uint64_t valid = 1ull << 63;
	uint64_t cap = 0, value;
	struct vm *vm = vm_machine();

	REQUIRE(!ioctl(dev_fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap));
	CHECK_EQ(cap >> 8 & 1, 1);
	CHECK_EQ(has_cap(KVM_CAP_MCE), 32);
	cap = 0;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_X86_SETUP_MCE, &cap), EINVAL);
	cap = 1ull << 40 | 4;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_X86_SETUP_MCE, &cap), EINVAL);
	cap = 4;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_X86_SETUP_MCE, &cap));
	REQUIRE(vm_rdmsr(vm, 0, 0x179, &value) == 1);
	CHECK_EQ(value, 4);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_X86_SET_MCE, &((struct kvm_x86_mce){ .status = valid, .bank = 4 })), EINVAL);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_X86_SET_MCE, &((struct kvm_x86_mce){ .bank = 1 })), EINVAL);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_X86_SET_MCE,
		       &((struct kvm_x86_mce){ .status = valid | 0x55, .addr = 0x1234, .bank = 2 })));
	vm_script(vm, 0, STEPS(RDMSR(0x409), RDMSR(0x40a), SAYS(2)));
	REQUIRE(vm_says(vm, 0, 2));
	CHECK_EQ(vm_step(vm, 0, 0)->value, valid | 0x55);
	CHECK_EQ(vm_step(vm, 0, 1)->value, 0x1234);
}
