// SPDX-License-Identifier: GPL-2.0-only
/*
 * spec.c - registers by which a guest controls speculation, protection keys, and the state that XSAVE keeps
 *
 * Which of them there are is the processor's; each test holds for what KVM_GET_SUPPORTED_CPUID says. Under pretend.ko the
 * processor of the test bed has all of the former: it ignores what is written to them, and all else is real.
 */
#include "harness.h"

#define SPEC_CTRL	0x48
#define PRED_CMD	0x49
#define FLUSH_CMD	0x10b
#define VIRT_SPEC_CTRL	0xc001011f

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entry[256];
};

static struct cpuid supported(void)
{
	struct cpuid c = { .head.nent = 256 };

	REQUIRE(!ioctl(dev_fd, KVM_GET_SUPPORTED_CPUID, &c));
	return c;
}

static struct kvm_cpuid_entry2 *leaf(struct cpuid *c, uint32_t function, uint32_t index)
{
	static struct kvm_cpuid_entry2 none;
	unsigned int n;

	for (n = 0; n < c->head.nent; n++) {
		if (c->entry[n].function == function && c->entry[n].index == index)
			return &c->entry[n];
	}
	none = (struct kvm_cpuid_entry2){ 0 };
	return &none;
}

/* AMD64 Technology: "Indirect Branch Control Extension": the bits of each register that CPUID promises. */
static uint64_t promised(struct cpuid *c, uint32_t msr)
{
	const uint32_t d7 = leaf(c, 7, 0)->edx, b8 = leaf(c, 0x80000008, 0)->ebx;

	switch (msr) {
	case SPEC_CTRL:
		return (b8 >> 14 & 1) | (d7 >> 26 & 1) | (b8 >> 15 & 1) << 1 | (d7 >> 27 & 1) << 1 |
		       (b8 >> 24 & 1) << 2 | (d7 >> 31 & 1) << 2 | (b8 >> 28 & 1) << 7;
	case PRED_CMD:
		return (b8 >> 12 & 1) | (d7 >> 26 & 1) | (leaf(c, 0x80000021, 0)->eax >> 27 & 1) << 7;
	case FLUSH_CMD:
		return d7 >> 28 & 1;
	default:
		return (b8 >> 25 & 1) << 2;
	}
}

static int tries(struct vm *vm, const struct step *steps)
{
	vm_script(vm, 0, steps);
	return vm_said(vm, 0);
}

#define GP 13

/* Every bit of every register, for a guest with this CPUID. */
static void every_bit(struct cpuid *c)
{
	static const uint32_t msrs[] = { SPEC_CTRL, PRED_CMD, FLUSH_CMD, VIRT_SPEC_CTRL };
	struct vm *vm = vm_machine();
	unsigned int n, bit;

	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_CPUID2, c));
	for (n = 0; n < COUNT(msrs); n++) {
		const uint64_t bits = promised(c, msrs[n]);
		const bool reads = msrs[n] == SPEC_CTRL || msrs[n] == VIRT_SPEC_CTRL;

		printf("#   MSR %#x: bits %#lx\n", msrs[n], (long)bits);
		CHECK_EQ(tries(vm, STEPS(RDMSR(msrs[n]))), bits && reads ? DONE : GP);
		CHECK_EQ(tries(vm, STEPS(WRMSR(msrs[n], 0))), bits ? DONE : GP);
		for (bit = 0; bit < 64; bit++) {
			const bool there = bits >> bit & 1;

			/* What the guest may write by itself, the processor checks; that of the bed lets all pass. */
			if (!there && bits && !reads)
				continue;
			CHECK_EQ(tries(vm, STEPS(WRMSR(msrs[n], 1ull << bit))), there ? DONE : GP);
			if (!there || !reads)
				continue;
			/* It is still there after exits, and goes with the next value. */
			CHECK_EQ(tries(vm, STEPS(SAYS(2), RDMSR(msrs[n]))), 2);
			CHECK(vm_says(vm, 0, DONE));
			CHECK_EQ(vm_step(vm, 0, 1)->value, 1ull << bit);
		}
		if (bits && reads) {
			CHECK_EQ(tries(vm, STEPS(WRMSR(msrs[n], bits), RDMSR(msrs[n]), WRMSR(msrs[n], 0))), DONE);
			CHECK_EQ(vm_step(vm, 0, 1)->value, bits);
		}
	}
}

TEST(controls, "SPEC_CTRL, PRED_CMD, FLUSH_CMD and VIRT_SPEC_CTRL take the bits that CPUID names, and no others")
{
	struct cpuid c = supported();

	every_bit(&c);
}

TEST(no_controls, "a guest that is told of none of them has none")
{
	struct cpuid c = supported();

	leaf(&c, 7, 0)->edx = 0;
	leaf(&c, 0x80000008, 0)->ebx = 0;
	leaf(&c, 0x80000021, 0)->eax = 0;
	every_bit(&c);
}

TEST(controls_listed, "KVM_GET_MSR_INDEX_LIST names the two that hold a value where the processor has them, and KVM_SET_MSRS takes it")
{
	struct {
		struct kvm_msr_list list;
		uint32_t room[512];
	} l = { .list.nmsrs = 512 };
	struct cpuid c = supported();
	struct vm *vm = vm_machine();
	static const uint32_t msrs[] = { SPEC_CTRL, VIRT_SPEC_CTRL };
	uint64_t value;
	unsigned int n, k;

	if (is_kvm())
		SKIP("KVM lists what it does not offer");
	REQUIRE(!ioctl(dev_fd, KVM_GET_MSR_INDEX_LIST, &l));
	for (n = 0; n < COUNT(msrs); n++) {
		const uint64_t bits = promised(&c, msrs[n]);
		bool listed = false;

		for (k = 0; k < l.list.nmsrs; k++)
			listed |= l.list.indices[k] == msrs[n];
		CHECK_EQ(listed, !!bits);
		CHECK_EQ(vm_wrmsr(vm, 0, msrs[n], bits), listed);
		CHECK_EQ(vm_wrmsr(vm, 0, msrs[n], 1 << 20), 0);
		if (listed)
			CHECK(vm_rdmsr(vm, 0, msrs[n], &value) == 1 && value == bits);
	}
}

TEST(reset, "INIT clears SPEC_CTRL")
{
	struct cpuid c = supported();
	struct vm *vm = vm_machine();
	uint64_t bits = promised(&c, SPEC_CTRL), value;

	if (!bits)
		SKIP("the processor has no SPEC_CTRL");
	vm_add_vcpu(vm);
	REQUIRE(!ioctl(vm->vcpu[1], KVM_SET_CPUID2, &c));
	CHECK_EQ(vm_wrmsr(vm, 1, SPEC_CTRL, bits), 1);
	vm_script(vm, 0, STEPS(X2APIC_ON, WRMSR(X2APIC(0x300), 1ull << 32 | 0x4500)));
	CHECK(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_run(vm, 1), -EAGAIN);
	CHECK(vm_rdmsr(vm, 1, SPEC_CTRL, &value) == 1 && value == 0);
}

/* ---- protection keys ---- */

#define KEY(n)		((uint64_t)(n) << 59)
#define USER_PAGE	0x40000
#define PF		14

ASM64(pkey, "xor %ecx, %ecx; xor %edx, %edx; mov %ebx, %eax; wrpkru;"
	    "mov (%rsi), %eax; mov %eax, (%rsi);" SAY(1) "rdpkru;" SAY(2) "hlt");
/* The error code of a page fault, in RBX; RDI is the PKRU then. */
ASM64(pkey_fault, "pop %rbx; xor %ecx, %ecx; rdpkru; mov %eax, %edi;" SAY(14) "hlt");

static struct vm *pkey_guest(struct cpuid *c)
{
	struct vm *vm = vm_machine();
	struct kvm_sregs s;

	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_CPUID2, c));
	VM_CODE(vm, 0, MODE_64, pkey);
	VM_VECTOR(vm, PF, pkey_fault);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= 1 << 22;
	s.cr0 |= 1 << 16;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	return vm;
}

static void put_page(struct vm *vm, unsigned int at, uint64_t entry)
{
	memcpy(vm->mem + PD + at * 8, &entry, 8);
}

static int touch(struct vm *vm, uint32_t pkru, uint64_t where)
{
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK_OF(0), .rflags = 2, .rbx = pkru, .rsi = where };

	vm_set_regs(vm, 0, &regs);
	return vm_said(vm, 0);
}

TEST(keys, "protection keys: PKRU is the guest's own, and so is the page fault")
{
	struct cpuid c = supported();
	struct vm *vm, *other;
	struct kvm_regs regs;

	if (!(leaf(&c, 7, 0)->ecx & 8))
		SKIP("the processor has no protection keys");
	vm = pkey_guest(&c);
	other = pkey_guest(&c);
	/* 2 MiB at 2 MiB, of users, lead to the memory at 0 with key 5. */
	put_page(vm, 1, 0xe7 | KEY(5));
	put_page(other, 1, 0xe7 | KEY(5));

	CHECK_EQ(touch(vm, 0, 0x200000 + USER_PAGE), 1);
	CHECK_EQ(touch(vm, 1 << 10, 0x200000 + USER_PAGE), PF);	/* no access */
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, 0x21);
	CHECK_EQ(regs.rdi, 1 << 10);
	CHECK_EQ(touch(vm, 2 << 10, 0x200000 + USER_PAGE), PF);	/* no writes */
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, 0x23);
	/* Another guest has another; each finds its own again. */
	CHECK_EQ(touch(other, 0, 0x200000 + USER_PAGE), 1);
	CHECK_EQ(touch(vm, 3 << 12, 0x200000 + USER_PAGE), 1);
	CHECK(vm_says(other, 0, 2));
	vm_regs(other, 0, &regs);
	CHECK(vm_says(vm, 0, 2));
	/* RAX is what was said last, but for what RDPKRU left above it. */
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax >> 8, 3 << 4);
}

ASM64(pkey_movs, "xor %ecx, %ecx; xor %edx, %edx; wrpkru; movsl;" SAY(1) "hlt");
TEST(keys_mmio, "protection keys guard the other operand of an instruction that reads a device")
{
	struct cpuid c = supported();
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK_OF(0), .rflags = 2, .rsi = HOLE, .rdi = 0x200000 + USER_PAGE };
	struct kvm_regs after;
	struct vm *vm;
	unsigned int pkru;

	if (!(leaf(&c, 7, 0)->ecx & 8))
		SKIP("the processor has no protection keys");
	for (pkru = 0; pkru < 3; pkru++) {
		vm = pkey_guest(&c);
		put_page(vm, 1, 0xe7 | KEY(5));
		memcpy(vm->mem + CODE, BYTES(pkey_movs));
		regs.rax = pkru << 10;
		vm_set_regs(vm, 0, &regs);
		REQUIRE(vm_run(vm, 0) == KVM_EXIT_MMIO && !vm->run[0]->mmio.is_write);
		memcpy(vm->run[0]->mmio.data, "key!", 4);
		if (!pkru) {
			CHECK(vm_says(vm, 0, 1));
			CHECK(!memcmp(vm->mem + USER_PAGE, "key!", 4));
			continue;
		}
		CHECK(vm_says(vm, 0, PF));
		vm_regs(vm, 0, &after);
		CHECK_EQ(after.rbx, 0x23);
		CHECK(memcmp(vm->mem + USER_PAGE, "key!", 4));
	}
}

ASM64(cpuid_hlt, "cpuid; hlt");
TEST(ospke, "OSPKE in CPUID follows CR4")
{
	struct cpuid c = supported();
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK_OF(0), .rflags = 2, .rax = 7 };
	struct vm *vm;
	struct kvm_sregs s;

	if (!(leaf(&c, 7, 0)->ecx & 8))
		SKIP("the processor has no protection keys");
	vm = GUEST(CHIPS_NONE, MODE_64, cpuid_hlt);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_CPUID2, &c));
	vm_set_regs(vm, 0, &regs);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rcx & 0x18, 8);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= 1 << 22;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	regs = (struct kvm_regs){ .rip = CODE, .rsp = STACK_OF(0), .rflags = 2, .rax = 7 };
	vm_set_regs(vm, 0, &regs);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rcx & 0x18, 0x18);
}

/* ---- what XSAVE keeps ---- */

ASM64(xsave_all, "xor %ecx, %ecx; xgetbv; mov $0x20000, %ebx; xsave (%rbx); hlt");
TEST(xsave_states, "every state of XSAVE that CPUID names goes into a guest by KVM_SET_XSAVE, and comes back by KVM_GET_XSAVE2",
     KVM_CAP_XSAVE2)
{
	struct cpuid c = supported();
	uint64_t all = leaf(&c, 0xd, 0)->eax | (uint64_t)leaf(&c, 0xd, 0)->edx << 32;
	int size = has_cap(KVM_CAP_XSAVE2);
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, xsave_all);
	struct kvm_xcrs xcrs;
	struct kvm_sregs s;
	uint8_t *in, *out;
	unsigned int n, k, states = 0;

	REQUIRE(size >= 4096);
	in = calloc(1, size);
	out = calloc(1, size);
	REQUIRE(in && out);
	if (!all)
		SKIP("the processor has no XSAVE");
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_CPUID2, &c));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= 1 << 18;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_XCRS, &xcrs));
	xcrs.xcrs[0].value = all;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_XCRS, &xcrs));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_XSAVE2, in));
	for (n = 0; n < 16; n++)
		memset(in + 160 + n * 16, 0x10 + n, 16);
	for (n = 2; n < 63; n++) {
		const struct kvm_cpuid_entry2 *e = leaf(&c, 0xd, n);

		if (!(all >> n & 1))
			continue;
		REQUIRE(e->eax && (int)(e->ebx + e->eax) <= size);
		/* PKRU, whose key 0 is that of the guest's own pages, has 32 bits. */
		for (k = 0; k < (n == 9 ? 4 : e->eax); k++)
			in[e->ebx + k] = n == 9 && !k ? 0 : n * 16 + k;
		states++;
	}
	memcpy(in + 512, &all, 8);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_XSAVE, in));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_XSAVE2, out));
	for (n = 2; n < 63; n++) {
		const struct kvm_cpuid_entry2 *e = leaf(&c, 0xd, n);

		if (!(all >> n & 1))
			continue;
		if (memcmp(in + e->ebx, out + e->ebx, n == 9 ? 4 : e->eax) ||
		    memcmp(in + e->ebx, vm->mem + FREE + e->ebx, n == 9 ? 4 : e->eax)) {
			printf("#   component %u differs\n", n);
			test_fail(__FILE__, __LINE__, "XSAVE state", n);
		}
	}
	CHECK(!memcmp(in + 160, out + 160, 256));
	CHECK(!memcmp(in + 160, vm->mem + FREE + 160, 256));
	printf("#   %u states besides x87 and SSE, %d bytes\n", states, size);
	free(in);
	free(out);
}
