// SPDX-License-Identifier: GPL-2.0-only
/*
 * x2apic.c - KVM_CAP_X2APIC_API: the ID in KVM_GET_LAPIC, 32-bit destinations of MSIs, and who 0xff is
 */
#include "harness.h"

#define IDS	KVM_X2APIC_API_USE_32BIT_IDS
#define QUIRK	KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK

#define REG(lapic, offset) (*(uint32_t *)((lapic)->regs + (offset)))
#define APIC_ID		0x20
#define APIC_SVR	0xf0

static int enable(struct vm *vm, uint64_t flags)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X2APIC_API, .args = { flags } };

	return ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

/* Two vCPUs, with IDs 0 and 1; in x2APIC mode the first, or both. */
static struct vm *start(uint64_t flags, int wide)
{
	struct kvm_lapic_state lapic;
	struct kvm_sregs sregs;
	struct vm *vm = vm_new(CHIPS_KERNEL);
	int n;

	REQUIRE(!enable(vm, flags));
	for (n = 0; n < 2; n++) {
		vm_add_vcpu(vm);
		REQUIRE(!ioctl(vm->vcpu[n], KVM_GET_SREGS, &sregs));
		if (n < wide)
			sregs.apic_base |= 0xc00;
		REQUIRE(!ioctl(vm->vcpu[n], KVM_SET_SREGS, &sregs));
		REQUIRE(!ioctl(vm->vcpu[n], KVM_GET_LAPIC, &lapic));
		REG(&lapic, APIC_SVR) = 0x1ff;
		REQUIRE(!ioctl(vm->vcpu[n], KVM_SET_LAPIC, &lapic));
	}
	return vm;
}

/* How many vCPUs a message reaches. */
static int msi(struct vm *vm, uint32_t dest, unsigned int vector)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000 | (dest & 0xff) << 12, .address_hi = dest & ~0xffu, .data = vector,
	};
	int ret = ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);

	return ret < 0 && errno == EPERM ? 0 : ret;
}

TEST(flags, "KVM_CAP_X2APIC_API names two flags, and takes no others", KVM_CAP_X2APIC_API)
{
	struct vm *vm = vm_new(CHIPS_KERNEL);

	CHECK_EQ(ioctl(dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_X2APIC_API) & 3, IDS | QUIRK);
	CHECK_ERR(enable(vm, 1ull << 32), EINVAL);
	CHECK(!enable(vm, IDS | QUIRK));
}

TEST(ids, "the ID register of an x2APIC: shifted, or as it is")
{
	struct kvm_lapic_state lapic;
	struct vm *vm = start(0, 2);

	REQUIRE(!ioctl(vm->vcpu[1], KVM_GET_LAPIC, &lapic));
	CHECK_EQ(REG(&lapic, APIC_ID), 1 << 24);
	vm_free(vm);

	vm = start(IDS, 2);
	REQUIRE(!ioctl(vm->vcpu[1], KVM_GET_LAPIC, &lapic));
	CHECK_EQ(REG(&lapic, APIC_ID), 1);
	CHECK(!ioctl(vm->vcpu[1], KVM_SET_LAPIC, &lapic));
	REG(&lapic, APIC_ID) = 2;
	CHECK_ERR(ioctl(vm->vcpu[1], KVM_SET_LAPIC, &lapic), EINVAL);
}

TEST(high, "the upper half of an MSI's address: no meaning, or destination bits 31:8")
{
	struct kvm_msi low = { .address_lo = 0xfee00000, .address_hi = 0x101, .data = 0x41 };
	struct kvm_irq_routing *r = calloc(1, sizeof(*r) + sizeof(r->entries[0]));
	struct vm *vm = start(0, 2);

	r->nr = 1;
	r->entries[0] = (struct kvm_irq_routing_entry) {
		.gsi = 5, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { low.address_lo, low.address_hi, low.data },
	};
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &low), 1);
	CHECK(!ioctl(vm->fd, KVM_SET_GSI_ROUTING, r));
	vm_free(vm);

	vm = start(IDS, 2);
	CHECK_ERR(ioctl(vm->fd, KVM_SIGNAL_MSI, &low), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, r), EINVAL);
	CHECK_EQ(msi(vm, 1, 0x42), 1);
	CHECK_EQ(msi(vm, 0x101, 0x42), 0);
	vm_free(vm);
	free(r);
}

TEST(broadcast, "0xff of a device is everybody, unless KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK says no")
{
	struct vm *vm = start(IDS, 1);

	CHECK_EQ(msi(vm, 0xff, 0x41), 2);
	vm_free(vm);

	vm = start(IDS, 2);
	CHECK_EQ(msi(vm, 0xff, 0x41), 2);
	vm_free(vm);

	vm = start(IDS | QUIRK, 2);
	CHECK_EQ(msi(vm, 0xff, 0x41), 0);
	CHECK_EQ(msi(vm, 0xffffffff, 0x42), 2);
}
