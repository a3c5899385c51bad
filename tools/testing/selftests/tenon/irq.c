// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq.c - interrupts from outside: KVM_INTERRUPT, PIC, IOAPIC, messages, irqfd, ioeventfd, NMI
 */
#include <sys/eventfd.h>

#include "harness.h"

/* ---- no chip in the kernel ---- */

ASM16(loop_sti, "sti;" SAY(1) "1: nop; jmp 1b");
ASM16(loop_cli, "cli;" SAY(1) SAY(2) "xor %cx, %cx; sti; nop; 1: mov $1, %cx; jmp 1b");
ASM16(real_handler, "push %ax;" SAY(0x99) "pop %ax; iret");
TEST(user_irq, "KVM_INTERRUPT: taken at once, and when the window opens")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, loop_sti);
	struct kvm_interrupt irq = { .irq = 0x21 };
	struct kvm_run *run = vm->run[0];
	struct kvm_regs regs;

	VM_REAL_VECTOR(vm, 0x21, real_handler);
	REQUIRE(vm_says(vm, 0, 1));
	CHECK_EQ(run->if_flag, 1);
	CHECK_EQ(run->ready_for_interrupt_injection, 1);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_INTERRUPT, &irq));
	CHECK(vm_says(vm, 0, 0x99));
	irq.irq = 256;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_INTERRUPT, &irq), EINVAL);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_INTERRUPT, NULL), EFAULT);

	VM_CODE(vm, 0, MODE_REAL, loop_cli);
	REQUIRE(vm_says(vm, 0, 1));
	CHECK_EQ(run->if_flag, 0);
	CHECK_EQ(run->ready_for_interrupt_injection, 0);
	run->request_interrupt_window = 1;
	REQUIRE(vm_says(vm, 0, 2));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IRQ_WINDOW_OPEN);
	/* As soon as it opens. */
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rcx, 0);
	run->request_interrupt_window = 0;
	CHECK_EQ(run->ready_for_interrupt_injection, 1);
	irq.irq = 0x21;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_INTERRUPT, &irq));
	CHECK(vm_says(vm, 0, 0x99));
}

ASM16(late_sti, "cli;" SAY(1) SAY(2) "sti; nop;" SAY(3) "1: jmp 1b");
TEST(window_withdrawn, "a window that nobody waits for any more does not keep the guest")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, late_sti);
	struct kvm_run *run = vm->run[0];

	REQUIRE(vm_says(vm, 0, 1));
	run->request_interrupt_window = 1;
	REQUIRE(vm_says(vm, 0, 2));
	run->request_interrupt_window = 0;
	CHECK_EQ(vm_run_for(vm, 0, 1000), KVM_EXIT_IO);
	CHECK_EQ(run->if_flag, 1);
}

TEST(split_irq, "split chips: a PIC in user space interrupts by KVM_INTERRUPT, as far as LINT0 lets it")
{
	struct kvm_interrupt irq = { .irq = 0x21 };
	struct vm *vm = vm_new(CHIPS_SPLIT);

	vm_add_vcpu(vm);
	vm_script(vm, 0, STEPS(XAPIC_ON, STORE(XAPIC + 0x350, 0x700)));
	REQUIRE(vm_says(vm, 0, DONE));
	REQUIRE(vm_quiet(vm, 0, 1));
	CHECK_EQ(vm->run[0]->ready_for_interrupt_injection, 1);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_INTERRUPT, &irq));
	CHECK(vm_says(vm, 0, 0x21));
	vm_free(vm);

	vm = vm_new(CHIPS_KERNEL);
	vm_add_vcpu(vm);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_INTERRUPT, &irq), ENXIO);
	vm_free(vm);

	vm = vm_new(CHIPS_NONE);
	CHECK_ERR(vm_irq_line(vm, 4, 1), ENXIO);
}

/* ---- PIC ---- */

static struct vm *pic_guest(const struct step *steps)
{
	struct vm *vm = vm_new(CHIPS_KERNEL);

	vm_add_vcpu(vm);
	vm_script(vm, 0, steps);
	vm->mem[EOI] = EOI_PIC;
	REQUIRE(vm_says(vm, 0, DONE));
	return vm;
}

static void pulse(struct vm *vm, unsigned int gsi)
{
	CHECK_EQ(vm_irq_line(vm, gsi, 1), 0);
	CHECK_EQ(vm_irq_line(vm, gsi, 0), 0);
}

static int line_status(struct vm *vm, unsigned int gsi, int level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	REQUIRE(!ioctl(vm->fd, KVM_IRQ_LINE_STATUS, &line));
	return (int)line.status;
}

TEST(pic, "PIC: an edge wakes a halted guest, once; a masked line does nothing; the second PIC comes through the first",
     KVM_CAP_IRQCHIP)
{
	struct vm *vm = pic_guest(STEPS(PIC_ON(1, 0xdf & ~0x14, 0xfb), IN(0x21), IN(0xa1)));

	CHECK_EQ(vm_step(vm, 0, 10)->value, 0xcb);
	CHECK_EQ(vm_step(vm, 0, 11)->value, 0xfb);
	CHECK_EQ(vm_irq_line(vm, 4, 1), 0);
	CHECK(vm_says(vm, 0, 0x24));
	pulse(vm, 3);
	CHECK(vm_quiet(vm, 0, 5));
	vm->mem[EOI] = EOI_PIC_SLAVE;
	pulse(vm, 10);
	CHECK(vm_says(vm, 0, 0x2a));
	pulse(vm, 4);
	CHECK_EQ(vm_irq_line(vm, 4, 0), 0);
	CHECK_EQ(vm_irq_line(vm, 4, 1), 0);
	CHECK(vm_says(vm, 0, 0x24));
	CHECK(vm_quiet(vm, 0, 5));
}

TEST(line_status, "KVM_IRQ_LINE_STATUS: delivered, merged with one that waits, masked", KVM_CAP_IRQ_INJECT_STATUS)
{
	/* The IOAPIC's pins are masked from the start, so it is the PIC that answers. */
	struct vm *vm = pic_guest(STEPS(PIC_ON(1, 0xef, 0xff)));

	CHECK(line_status(vm, 4, 1) >= 1);
	line_status(vm, 4, 0);
	CHECK_EQ(line_status(vm, 4, 1), 0);
	CHECK(vm_says(vm, 0, 0x24));
	CHECK_ERR(ioctl(vm->fd, KVM_IRQ_LINE_STATUS, NULL), EFAULT);
}

TEST(pic_level, "PIC, ELCR: a level comes back after its EOI until the line falls")
{
	struct vm *vm = pic_guest(STEPS(PIC_ON(1, 0xdf, 0xff), OUT(0x4d0, 0x20), IN(0x4d0)));

	CHECK_EQ(vm_step(vm, 0, 11)->value, 0x20);
	CHECK_EQ(vm_irq_line(vm, 5, 1), 0);
	CHECK(vm_says(vm, 0, 0x25));
	CHECK(vm_says(vm, 0, 0x25));
	CHECK_EQ(vm_irq_line(vm, 5, 0), 0);
	CHECK(vm_quiet(vm, 0, 5));
}

TEST(pic_aeoi, "PIC: automatic EOI, and rotation with it")
{
	struct vm *vm = pic_guest(STEPS(PIC_ON(3, 0xe7, 0xff)));

	vm->mem[EOI] = EOI_NONE;
	pulse(vm, 3);
	CHECK(vm_says(vm, 0, 0x23));
	pulse(vm, 4);
	pulse(vm, 3);
	CHECK(vm_says(vm, 0, 0x23));
	CHECK(vm_says(vm, 0, 0x24));

	vm_script(vm, 0, STEPS(OUT(0x20, 0x80)));
	REQUIRE(vm_says(vm, 0, DONE));
	pulse(vm, 3);
	CHECK(vm_says(vm, 0, 0x23));
	/* The one served last is last in line now. */
	pulse(vm, 3);
	pulse(vm, 4);
	CHECK(vm_says(vm, 0, 0x24));
	CHECK(vm_says(vm, 0, 0x23));
}

TEST(pic_priority, "PIC: set priority, what waits and what is in service, poll")
{
	struct vm *vm = pic_guest(STEPS(PIC_ON(1, 0xe7, 0xff), OUT(0x20, 0xc3)));
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER };

	pulse(vm, 3);
	pulse(vm, 4);
	CHECK(vm_says(vm, 0, 0x24));
	REQUIRE(!ioctl(vm->fd, KVM_GET_IRQCHIP, &chip));
	CHECK_EQ(chip.chip.pic.isr, 0x10);
	CHECK_EQ(chip.chip.pic.irr, 0x08);
	CHECK(vm_says(vm, 0, 0x23));
	CHECK(vm_quiet(vm, 0, 5));

	vm_script(vm, 0, STEPS(SAYS(2), OUT(0x20, 0x0a), IN(0x20), OUT(0x20, 0x0c), IN(0x20), OUT(0x20, 0x0b), IN(0x20),
			       OUT(0x20, 0x20)));
	REQUIRE(vm_says(vm, 0, 2));
	pulse(vm, 4);
	CHECK(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 2)->value, 0x10);
	CHECK_EQ(vm_step(vm, 0, 4)->value & 7, 4);
	/* KVM's poll leaves out the bit that says that there is one, and ends the interrupt at once. */
	if (!is_kvm()) {
		CHECK_EQ(vm_step(vm, 0, 4)->value >> 7, 1);
		CHECK_EQ(vm_step(vm, 0, 6)->value, 0x10);
	}
	CHECK(vm_quiet(vm, 0, 5));
}

/* ---- IOAPIC ---- */

#define LEVEL		0x8000
#define LOW_ACTIVE	0x2000
#define MASKED		0x10000
#define REMOTE_IRR	0x4000

static uint64_t ioapic_entry(struct vm *vm, unsigned int pin)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	REQUIRE(!ioctl(vm->fd, KVM_GET_IRQCHIP, &chip));
	return chip.chip.ioapic.redirtbl[pin].bits;
}

static struct vm *ioapic_guest(const struct step *steps)
{
	struct vm *vm = vm_new(CHIPS_KERNEL);

	vm_add_vcpu(vm);
	vm_script(vm, 0, steps);
	vm->mem[EOI] = EOI_X2APIC;
	REQUIRE(vm_says(vm, 0, DONE));
	return vm;
}

TEST(ioapic_edge, "IOAPIC, edge: once a rise; its registers read back")
{
	struct vm *vm = ioapic_guest(STEPS(X2APIC_ON, IOAPIC_PIN(21, 0x41, 0), IOAPIC_SET(0, 5 << 24),
					   LOAD(IOAPIC + 0x10), STORE(IOAPIC, 1), LOAD(IOAPIC + 0x10),
					   STORE(IOAPIC, 0x3a), LOAD(IOAPIC + 0x10)));

	CHECK_EQ(vm_step(vm, 0, 8)->value, 5 << 24);
	CHECK_EQ(vm_step(vm, 0, 10)->value >> 16, 23);
	CHECK_EQ(vm_step(vm, 0, 12)->value, 0x41);
	CHECK_EQ(vm_irq_line(vm, 21, 1), 0);
	CHECK(vm_says(vm, 0, 0x41));
	CHECK_EQ(ioapic_entry(vm, 21), 0x41);
	CHECK(vm_quiet(vm, 0, 5));
	CHECK_EQ(vm_irq_line(vm, 21, 0), 0);
	CHECK_EQ(vm_irq_line(vm, 21, 1), 0);
	CHECK(vm_says(vm, 0, 0x41));
}

TEST(ioapic_level, "IOAPIC, level: remote IRR until the EOI, then again while the line is high; masked, it waits")
{
	struct vm *vm = ioapic_guest(STEPS(X2APIC_ON, IOAPIC_PIN(20, LEVEL | 0x42, 0)));

	CHECK_EQ(vm_irq_line(vm, 20, 1), 0);
	CHECK_EQ(ioapic_entry(vm, 20), LEVEL | REMOTE_IRR | 0x42);
	CHECK(vm_says(vm, 0, 0x42));
	CHECK_EQ(ioapic_entry(vm, 20), LEVEL | REMOTE_IRR | 0x42);
	CHECK(vm_says(vm, 0, 0x42));
	CHECK_EQ(vm_irq_line(vm, 20, 0), 0);
	CHECK(vm_quiet(vm, 0, 5));
	CHECK_EQ(ioapic_entry(vm, 20), LEVEL | 0x42);

	vm_script(vm, 0, STEPS(IOAPIC_PIN(20, MASKED | LEVEL | 0x42, 0), SAYS(2), IOAPIC_PIN(20, LEVEL | 0x42, 0)));
	REQUIRE(vm_says(vm, 0, 2));
	CHECK_EQ(vm_irq_line(vm, 20, 1), 0);
	CHECK_EQ(ioapic_entry(vm, 20), MASKED | LEVEL | 0x42);
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK(vm_says(vm, 0, 0x42));
	CHECK_EQ(vm_irq_line(vm, 20, 0), 0);
	CHECK(vm_quiet(vm, 0, 5));
}

TEST(ioapic_polarity, "IOAPIC: a line is asserted by 1 and deasserted by 0, whatever the polarity of the pin",
     KVM_CAP_IOAPIC_POLARITY_IGNORED)
{
	struct vm *vm = ioapic_guest(STEPS(X2APIC_ON, IOAPIC_PIN(20, LEVEL | LOW_ACTIVE | 0x42, 0)));

	CHECK(vm_quiet(vm, 0, 5));
	CHECK_EQ(vm_irq_line(vm, 20, 1), 0);
	CHECK(vm_says(vm, 0, 0x42));
	CHECK_EQ(vm_irq_line(vm, 20, 0), 0);
	CHECK(vm_quiet(vm, 0, 5));
}

/* ---- messages and routes ---- */

#define MSI(vector) { .address_lo = XAPIC, .data = (vector) }

struct routes {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entry[3];
};

static int set_msi_route(struct vm *vm, uint32_t gsi, uint32_t data)
{
	struct routes r = { .head.nr = 1 };

	r.entry[0] = (struct kvm_irq_routing_entry) { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
						      .u.msi = { .address_lo = XAPIC, .data = data } };
	return ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
}

TEST(msi, "KVM_SIGNAL_MSI, and a GSI routed to a message", KVM_CAP_SIGNAL_MSI)
{
	struct vm *vm = ioapic_guest(STEPS(X2APIC_ON));
	struct kvm_msi msi = MSI(0x31);

	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	/* One that is pending already counts as delivered. */
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	CHECK(vm_says(vm, 0, 0x31));
	CHECK(vm_quiet(vm, 0, 5));
	REQUIRE(!set_msi_route(vm, 30, 0x33));
	CHECK_EQ(vm_irq_line(vm, 30, 1), 0);
	CHECK(vm_says(vm, 0, 0x33));
	/* The routes of the chips have gone with that. */
	CHECK_EQ(line_status(vm, 4, 1), -1);
	msi.flags = 0x100;
	CHECK_ERR(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_SIGNAL_MSI, NULL), EFAULT);
}

TEST(routes, "one pin of each chip, or one message, a GSI; what is no route is refused, and the old ones stay",
     KVM_CAP_IRQ_ROUTING)
{
	struct routes r = { .head.nr = 2 };
	struct vm *vm = ioapic_guest(STEPS(X2APIC_ON));
	unsigned int n;

	REQUIRE(!set_msi_route(vm, 30, 0x33));
	for (n = 0; n < 3; n++)
		r.entry[n] = (struct kvm_irq_routing_entry) { .gsi = 40, .type = KVM_IRQ_ROUTING_MSI,
							      .u.msi = { .address_lo = XAPIC, .data = 0x31 } };
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.head.nr = 1;
	r.entry[0].type = 77;
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.entry[0].type = KVM_IRQ_ROUTING_MSI;
	r.entry[0].gsi = has_cap(KVM_CAP_IRQ_ROUTING);
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.head.flags = 1;
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	r.head.flags = 0;
	for (n = 0; n < 3; n++)
		r.entry[n] = (struct kvm_irq_routing_entry) { .gsi = 40, .type = KVM_IRQ_ROUTING_IRQCHIP,
							      .u.irqchip = { .irqchip = n, .pin = 3 } };
	r.head.nr = 3;
	r.entry[2].u.irqchip.irqchip = 1;
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	CHECK_EQ(vm_irq_line(vm, 30, 1), 0);
	CHECK(vm_says(vm, 0, 0x33));
	r.entry[2].u.irqchip.irqchip = 2;
	CHECK_EQ(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), 0);
}

TEST(split_eoi, "split chips: the EOI of a level comes out as KVM_EXIT_IOAPIC_EOI, that of an edge does not",
     KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_ENABLE_CAP_VM)
{
	struct vm *vm = vm_new(CHIPS_SPLIT);
	struct kvm_msi msi = MSI(LEVEL | 0x4000 | 0x35);
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	int r;

	vm_add_vcpu(vm);
	vm_script(vm, 0, STEPS(X2APIC_ON));
	vm->mem[EOI] = EOI_X2APIC;
	REQUIRE(vm_says(vm, 0, DONE));
	/* A route among the first 24 GSIs says that its vector is one of the IOAPIC's. */
	REQUIRE(!set_msi_route(vm, 7, msi.data));
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	CHECK(vm_says(vm, 0, 0x35));
	r = vm_run(vm, 0);
	CHECK_EQ(r, KVM_EXIT_IOAPIC_EOI);
	CHECK_EQ(vm->run[0]->eoi.vector, 0x35);
	msi.data = 0x36;
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	CHECK(vm_says(vm, 0, 0x36));
	CHECK(vm_quiet(vm, 0, 5));
	CHECK_ERR(ioctl(vm->fd, KVM_GET_IRQCHIP, &chip), ENXIO);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_IRQCHIP), EEXIST);
}

/* ---- eventfds ---- */

static uint64_t event_count(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static void signal_event(int fd)
{
	uint64_t one = 1;

	CHECK(write(fd, &one, sizeof(one)) == sizeof(one));
}

TEST(irqfd, "an eventfd raises a GSI; deassigned, it does not", KVM_CAP_IRQFD)
{
	struct kvm_irqfd irqfd = { .gsi = 30 };
	struct vm *vm = ioapic_guest(STEPS(X2APIC_ON));

	REQUIRE(!set_msi_route(vm, 30, 0x31));
	irqfd.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* What is there before is not lost. */
	signal_event(irqfd.fd);
	REQUIRE(!ioctl(vm->fd, KVM_IRQFD, &irqfd));
	CHECK_ERR(ioctl(vm->fd, KVM_IRQFD, &irqfd), EBUSY);
	CHECK(vm_says(vm, 0, 0x31));
	signal_event(irqfd.fd);
	CHECK(vm_says(vm, 0, 0x31));
	irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
	CHECK_EQ(ioctl(vm->fd, KVM_IRQFD, &irqfd), 0);
	signal_event(irqfd.fd);
	CHECK(vm_quiet(vm, 0, 5));
	/* Closed while assigned, it goes by itself. */
	event_count(irqfd.fd);
	irqfd.flags = 0;
	REQUIRE(!ioctl(vm->fd, KVM_IRQFD, &irqfd));
	close(irqfd.fd);
	irqfd.fd = -1;
	CHECK_ERR(ioctl(vm->fd, KVM_IRQFD, &irqfd), EBADF);
	irqfd.fd = dev_fd;
	CHECK_ERR(ioctl(vm->fd, KVM_IRQFD, &irqfd), EINVAL);
	irqfd.flags = 0x80;
	CHECK_ERR(ioctl(vm->fd, KVM_IRQFD, &irqfd), EINVAL);
}

TEST(resample, "irqfd with resampling: the line falls with the EOI, and its source hears of it, by whichever GSI",
     KVM_CAP_IRQFD_RESAMPLE)
{
	struct kvm_irqfd irqfd = { .gsi = 20, .flags = KVM_IRQFD_FLAG_RESAMPLE };
	struct vm *vm = ioapic_guest(STEPS(X2APIC_ON, IOAPIC_PIN(20, LEVEL | 0x42, 0)));
	struct routes r = { .head.nr = 1 };
	unsigned int n;

	for (n = 0; n < 4; n++) {
		irqfd.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		irqfd.resamplefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
		/* First by the routes that there are from the start, then by one of another number. */
		if (n == 2) {
			irqfd.gsi = 50;
			r.entry[0] = (struct kvm_irq_routing_entry) { .gsi = 50, .type = KVM_IRQ_ROUTING_IRQCHIP,
								      .u.irqchip = { KVM_IRQCHIP_IOAPIC, 20 } };
			REQUIRE(!ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r));
		}
		REQUIRE(!ioctl(vm->fd, KVM_IRQFD, &irqfd));
		signal_event(irqfd.fd);
		CHECK(vm_says(vm, 0, 0x42));
		CHECK_EQ(event_count(irqfd.resamplefd), 0);
		CHECK(vm_quiet(vm, 0, 5));
		CHECK_EQ(event_count(irqfd.resamplefd), 1);
		irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
		CHECK_EQ(ioctl(vm->fd, KVM_IRQFD, &irqfd), 0);
		close(irqfd.fd);
		close(irqfd.resamplefd);
	}
}

ASM64(write_devices, "mov $0xc0000000, %rbx; movl $7, (%rbx); movl $8, (%rbx); movb $7, (%rbx); movw $1, 0x10(%rbx);"
		     "mov %rbx, 0x10(%rbx); mov $5, %ax; mov $0x500, %dx; out %ax, %dx; out %al, %dx;" SAY(1) "hlt");
TEST(ioeventfd, "writes to an address or a port signal an eventfd: one value, one length, any length",
     KVM_CAP_IOEVENTFD, KVM_CAP_IOEVENTFD_NO_LENGTH, KVM_CAP_IOEVENTFD_ANY_LENGTH)
{
	struct kvm_ioeventfd value = { .addr = HOLE, .len = 4, .datamatch = 7, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH };
	struct kvm_ioeventfd pio = { .addr = 0x500, .len = 2, .flags = KVM_IOEVENTFD_FLAG_PIO };
	struct kvm_ioeventfd any = { .addr = HOLE + 0x10 }, bad[] = {
		{ .len = 3 }, { .addr = -2, .len = 8 }, { .len = 4, .flags = 0x80 },
		{ .flags = KVM_IOEVENTFD_FLAG_DATAMATCH },
	};
	struct vm *vm = GUEST(CHIPS_KERNEL, MODE_64, write_devices);
	struct kvm_run *run = vm->run[0];
	unsigned int n;

	value.fd = eventfd(0, EFD_NONBLOCK);
	pio.fd = eventfd(0, EFD_NONBLOCK);
	any.fd = eventfd(0, EFD_NONBLOCK);
	REQUIRE(!ioctl(vm->fd, KVM_IOEVENTFD, &value));
	CHECK_ERR(ioctl(vm->fd, KVM_IOEVENTFD, &value), EEXIST);
	REQUIRE(!ioctl(vm->fd, KVM_IOEVENTFD, &pio));
	REQUIRE(!ioctl(vm->fd, KVM_IOEVENTFD, &any));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.data[0], 8);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.len, 1);
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_IO);
	CHECK_EQ(run->io.port, 0x500);
	CHECK_EQ(run->io.size, 1);
	CHECK(vm_says(vm, 0, 1));
	CHECK_EQ(event_count(value.fd), 1);
	CHECK_EQ(event_count(pio.fd), 1);
	CHECK_EQ(event_count(any.fd), 2);
	value.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	CHECK_EQ(ioctl(vm->fd, KVM_IOEVENTFD, &value), 0);
	CHECK_ERR(ioctl(vm->fd, KVM_IOEVENTFD, &value), ENOENT);
	for (n = 0; n < COUNT(bad); n++) {
		bad[n].fd = pio.fd;
		CHECK_ERR(ioctl(vm->fd, KVM_IOEVENTFD, &bad[n]), EINVAL);
	}
	pio.addr = 0x600;
	n = pio.fd;
	pio.fd = -1;
	CHECK_ERR(ioctl(vm->fd, KVM_IOEVENTFD, &pio), EBADF);
	pio.fd = n;
	close(value.fd);
	close(pio.fd);
	close(any.fd);
}

/* ---- NMI ---- */

ASM16(nmi_guest, "sti;" SAY(1) "1: jmp 1b");
ASM16(nmi_handler, "push %ax;" SAY(0x99) SAY(0x98) "pop %ax; iret");
TEST(nmi, "KVM_NMI, and a second one held back until IRET", KVM_CAP_USER_NMI)
{
	struct vm *vm = GUEST(CHIPS_KERNEL, MODE_REAL, nmi_guest);
	struct kvm_vcpu_events e;

	VM_REAL_VECTOR(vm, 2, nmi_handler);
	REQUIRE(vm_says(vm, 0, 1));
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_NMI), 0);
	CHECK(vm_says(vm, 0, 0x99));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	CHECK_EQ(e.nmi.masked, 1);
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_NMI), 0);
	CHECK(vm_says(vm, 0, 0x98));
	CHECK(vm_says(vm, 0, 0x99));
	CHECK(vm_says(vm, 0, 0x98));
	/* On a busy host the guest may not come to its IRET in that time. */
	for (unsigned int tries = 0; tries < 100 && e.nmi.masked; tries++) {
		CHECK(vm_spins(vm, 0, 5));
		REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	}
	CHECK_EQ(e.nmi.masked, 0);
}
