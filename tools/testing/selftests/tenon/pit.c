// SPDX-License-Identifier: GPL-2.0-only
/*
 * pit.c - ticks of the PIT that come while the guest does not run: kept, or lost
 *
 * The guest has a tick every 5 ms and tells of each at port 0x80. Its owner keeps it from running for half a second,
 * 100 ticks, and then waits for 100: kept ones come at once, and lost ones take their time again.
 */
#include "harness.h"

#define STOP_MS	500
#define TICKS	100

/* Counter 0, mode 2, 5966 ticks of its clock. */
#define PIT_200HZ "mov $0x34, %al; out %al, $0x43; mov $0x4e, %al; out %al, $0x40; mov $0x17, %al; out %al, $0x40;"
/* Base 0x20, and all masked but what the bits say. */
#define PIC(mask) "mov $0x11, %al; out %al, $0x20; mov $0x20, %al; out %al, $0x21; mov $4, %al; out %al, $0x21;" \
	"mov $1, %al; out %al, $0x21; mov $" #mask ", %al; out %al, $0x21;"

ASM16(by_pic, PIC(0xfe) PIT_200HZ "sti; 1: hlt; jmp 1b");
ASM16(handler_pic, "push %ax; mov $0x20, %al; out %al, $0x20; " SAY(0x99) " pop %ax; iret");
/* x2APIC: on by IA32_APIC_BASE, then by SVR. */
ASM16(by_ioapic, PIC(0xff) "mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr;"
		 "mov $0x80f, %ecx; mov $0x1ff, %eax; xor %edx, %edx; wrmsr;" PIT_200HZ "sti; 1: hlt; jmp 1b");
ASM16(handler_x2apic, "mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; " SAY(0x99) " iret");
/* After each tick, user space may have it mask the interrupt: RBX is 0xff then. */
ASM16(handler_mask, "mov $0x20, %al; out %al, $0x20; " SAY(0x99) " mov %bl, %al; out %al, $0x21;"
		    "test %bl, %bl; jns 1f; " SAY(0x98) " mov $0xfe, %al; out %al, $0x21; 1: iret");

static unsigned int now_ms(void)
{
	return now_ns() / 1000000;
}

static struct vm *start(const void *handler, size_t len, unsigned int vector, bool ioapic)
{
	struct kvm_pit_config config = { 0 };
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct vm *vm = vm_new(CHIPS_KERNEL);

	REQUIRE(!ioctl(vm->fd, KVM_CREATE_PIT2, &config));
	vm_add_vcpu(vm);
	vm_real_vector(vm, vector, handler, len);
	if (ioapic) {
		REQUIRE(!ioctl(vm->fd, KVM_GET_IRQCHIP, &chip));
		/* Fixed, physical, to the local APIC 0, edge; the PIT is where GSI 0 leads, too. */
		chip.chip.ioapic.redirtbl[2].bits = vector;
		REQUIRE(!ioctl(vm->fd, KVM_SET_IRQCHIP, &chip));
	}
	return vm;
}

static void reinject(struct vm *vm, bool on)
{
	struct kvm_reinject_control control = { .pit_reinject = on };

	REQUIRE(!ioctl(vm->fd, KVM_REINJECT_CONTROL, &control));
}

/* Milliseconds from a stop to the last of the ticks after it. */
static unsigned int stop_and_wait(struct vm *vm)
{
	unsigned int begin, n;

	REQUIRE(vm_says(vm, 0, 0x99));
	begin = now_ms();
	usleep(STOP_MS * 1000);
	for (n = 0; n < TICKS; n++)
		REQUIRE(vm_says(vm, 0, 0x99));
	n = now_ms() - begin;
	printf("#   %u ms\n", n);
	return n;
}

static void kept_or_lost(struct vm *vm)
{
	/* It is on from the start. */
	CHECK(stop_and_wait(vm) < STOP_MS + STOP_MS * 8 / 10);
	reinject(vm, false);
	CHECK(stop_and_wait(vm) >= STOP_MS + STOP_MS * 9 / 10);
	reinject(vm, true);
	CHECK(stop_and_wait(vm) < STOP_MS + STOP_MS * 8 / 10);
}

TEST(pic, "ticks that a guest with the PIC has not seen follow, unless KVM_REINJECT_CONTROL says no",
     KVM_CAP_REINJECT_CONTROL)
{
	struct vm *vm = start(BYTES(handler_pic), 0x20, false);

	VM_CODE(vm, 0, MODE_REAL, by_pic);
	kept_or_lost(vm);
}

TEST(ioapic, "the same with the IOAPIC, whose pin is edge-triggered")
{
	struct vm *vm = start(BYTES(handler_x2apic), 0x30, true);
	struct kvm_irq_routing *r = calloc(1, sizeof(*r) + sizeof(r->entries[0]));

	/* KVM sends the PIT's ticks where GSI 0 leads. */
	r->nr = 1;
	r->entries[0] = (struct kvm_irq_routing_entry) {
		.type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { KVM_IRQCHIP_IOAPIC, 2 },
	};
	REQUIRE(!ioctl(vm->fd, KVM_SET_GSI_ROUTING, r));
	free(r);
	VM_CODE(vm, 0, MODE_REAL, by_ioapic);
	kept_or_lost(vm);
}

TEST(masked, "ticks under a mask are forgotten")
{
	struct vm *vm = start(BYTES(handler_mask), 0x20, false);
	unsigned int begin, n;
	struct kvm_regs regs;

	VM_CODE(vm, 0, MODE_REAL, by_pic);
	vm_regs(vm, 0, &regs);
	regs.rbx = 0x7e;
	vm_set_regs(vm, 0, &regs);
	REQUIRE(vm_says(vm, 0, 0x99));
	vm_regs(vm, 0, &regs);
	regs.rbx = 0xff;
	vm_set_regs(vm, 0, &regs);
	REQUIRE(vm_says(vm, 0, 0x98));
	usleep(STOP_MS * 1000);
	vm_regs(vm, 0, &regs);
	regs.rbx = 0x7e;
	vm_set_regs(vm, 0, &regs);
	begin = now_ms();
	for (n = 0; n < TICKS; n++)
		REQUIRE(vm_says(vm, 0, 0x99));
	printf("#   %u ms\n", now_ms() - begin);
	CHECK(now_ms() - begin >= STOP_MS * 9 / 10);
}
