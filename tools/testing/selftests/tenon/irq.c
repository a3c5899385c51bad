// SPDX-License-Identifier: GPL-2.0-only
/*
 * irq.c - every way in which an interrupt reaches a guest; timers; start-up of processors; save and restore
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>

#include "harness.h"

/*
 * Guests here are in real mode or long mode with an IDT at 0x5000 whose vectors lead to handlers that write a byte to
 * port 0x80 and halt or return. Port 0x80 goes to user space: that is the observation.
 */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* Real mode: the vector table is at 0. */
static void real_vector(struct vm *vm, unsigned int vector, uint16_t ip)
{
	uint16_t *ivt = (uint16_t *)vm->mem;

	ivt[vector * 2] = ip;
	ivt[vector * 2 + 1] = 0;
}

#define HANDLER		0x2000
ASM16(handler16, "push %ax; mov $0x99, %al; out %al, $0x80; pop %ax; iret");
ASM16(handler16_eoi, "push %ax; mov $0x20, %al; out %al, $0x20; mov $0x99, %al; out %al, $0x80; pop %ax; iret");

static void put_handler(struct vm *vm, const uint8_t *from, const uint8_t *to)
{
	memcpy(vm->mem + HANDLER, from, to - from);
}

static bool saw(struct vm *vm, int n, uint8_t value)
{
	struct kvm_run *run = vm->run[n];
	int r = vm_run(vm, n);

	if (r != KVM_EXIT_IO || run->io.port != 0x80 || ((uint8_t *)run)[run->io.data_offset] != value) {
		printf("#   exit %d port %#x data %#x, expected a write of %#x to 0x80\n", r, run->io.port,
		       ((uint8_t *)run)[run->io.data_offset & 0x1fff], value);
		return false;
	}
	return true;
}

ASM16(loop_sti, "sti; mov $1, %al; out %al, $0x80; 1: nop; jmp 1b");
ASM16(loop_cli, "cli; mov $1, %al; out %al, $0x80; mov $2, %al; out %al, $0x80; sti; nop; 1: jmp 1b");
TEST(user_irq, "KVM_INTERRUPT: taken at once, and when the window opens")
{
	struct vm *vm = vm_new(0);
	struct kvm_interrupt irq = { .irq = 0x21 };
	struct kvm_run *run;

	vm_add_vcpu(vm);
	run = vm->run[0];
	real_vector(vm, 0x21, HANDLER);
	put_handler(vm, handler16, handler16_end);
	VM_CODE(vm, 0, MODE_REAL, loop_sti);
	REQUIRE(saw(vm, 0, 1));
	CHECK_EQ(run->if_flag, 1);
	CHECK_EQ(run->ready_for_interrupt_injection, 1);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_INTERRUPT, &irq));
	CHECK(saw(vm, 0, 0x99));
	irq.irq = 256;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_INTERRUPT, &irq), EINVAL);

	VM_CODE(vm, 0, MODE_REAL, loop_cli);
	REQUIRE(saw(vm, 0, 1));
	CHECK_EQ(run->if_flag, 0);
	CHECK_EQ(run->ready_for_interrupt_injection, 0);
	run->request_interrupt_window = 1;
	REQUIRE(saw(vm, 0, 2));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IRQ_WINDOW_OPEN);
	run->request_interrupt_window = 0;
	CHECK_EQ(run->ready_for_interrupt_injection, 1);
	irq.irq = 0x21;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_INTERRUPT, &irq));
	CHECK(saw(vm, 0, 0x99));
	vm_free(vm);
}

/* PIC: base 0x20, all unmasked but what is not used; then wait in HLT. */
ASM16(pic_guest, "mov $0x11, %al; out %al, $0x20; mov $0x20, %al; out %al, $0x21; mov $4, %al; out %al, $0x21;"
		 "mov $1, %al; out %al, $0x21; mov $0, %al; out %al, $0x21; mov $1, %al; out %al, $0x80;"
		 "sti; 1: hlt; jmp 1b");
TEST(pic, "a line of the PIC, by KVM_IRQ_LINE_STATUS, wakes a halted guest")
{
	struct vm *vm = vm_new(1);
	struct kvm_irq_level line = { .irq = 4, .level = 1 };

	vm_add_vcpu(vm);
	real_vector(vm, 0x24, HANDLER);
	put_handler(vm, handler16_eoi, handler16_eoi_end);
	VM_CODE(vm, 0, MODE_REAL, pic_guest);
	REQUIRE(saw(vm, 0, 1));
	REQUIRE(!ioctl(vm->fd, KVM_IRQ_LINE_STATUS, &line));
	CHECK((int)line.status >= 1);
	line.irq = 4;
	line.level = 0;
	REQUIRE(!ioctl(vm->fd, KVM_IRQ_LINE, &line));
	CHECK(saw(vm, 0, 0x99));
	vm_free(vm);
}

/* PIT channel 0, mode 2, 1193 ticks: a millisecond. */
ASM16(pit_guest, "mov $0x11, %al; out %al, $0x20; mov $0x20, %al; out %al, $0x21; mov $4, %al; out %al, $0x21;"
		 "mov $1, %al; out %al, $0x21; mov $0xfe, %al; out %al, $0x21; mov $0x34, %al; out %al, $0x43;"
		 "mov $0xa9, %al; out %al, $0x40; mov $4, %al; out %al, $0x40; sti; 1: hlt; jmp 1b");
TEST(pit, "the PIT interrupts every millisecond")
{
	struct vm *vm = vm_new(1);
	struct kvm_pit_config config = { 0 };
	uint64_t start;
	int n;

	REQUIRE(!ioctl(vm->fd, KVM_CREATE_PIT2, &config));
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_PIT2, &config), EEXIST);
	vm_add_vcpu(vm);
	real_vector(vm, 0x20, HANDLER);
	put_handler(vm, handler16_eoi, handler16_eoi_end);
	VM_CODE(vm, 0, MODE_REAL, pit_guest);
	REQUIRE(saw(vm, 0, 0x99));
	start = now_ns();
	for (n = 0; n < 50; n++)
		REQUIRE(saw(vm, 0, 0x99));
	n = (now_ns() - start) / 1000000;
	printf("#   50 ticks took %d ms\n", n);
	CHECK(n >= 45 && n < 1000);
	vm_free(vm);
}

/* x2APIC on, an IDT with one vector, 0x31, and a handler that acknowledges. */
#define APIC_INIT								\
	"mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr;"			\
	"mov $0x80f, %ecx; mov $0x1ff, %eax; xor %edx, %edx; wrmsr;"		\
	"lidt 0x6000;"
ASM64(handler64, "push %rax; push %rcx; push %rdx; mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr;"
		 "mov $0x99, %al; out %al, $0x80; pop %rdx; pop %rcx; pop %rax; iretq");

static void long_vector(struct vm *vm, unsigned int vector, uint64_t rip)
{
	uint64_t *gdt = (uint64_t *)(vm->mem + 0x7000);
	uint64_t *gate = (uint64_t *)(vm->mem + 0x5000 + vector * 16);
	struct kvm_sregs s;

	gate[0] = (rip & 0xffff) | 8 << 16 | 0x8eull << 40 | (rip >> 16 & 0xffff) << 48;
	gate[1] = rip >> 32;
	*(uint16_t *)(vm->mem + 0x6000) = 0xfff;
	*(uint64_t *)(vm->mem + 0x6002) = 0x5000;
	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.gdt.base = 0x7000;
	s.gdt.limit = 0x17;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	memcpy(vm->mem + HANDLER, handler64, handler64_end - handler64);
}

ASM64(self_ipi, APIC_INIT "sti; mov $0x83f, %ecx; mov $0x31, %eax; xor %edx, %edx; wrmsr; nop; hlt");
TEST(self_ipi, "an x2APIC sends itself an interrupt")
{
	struct vm *vm = vm_new(1);

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, self_ipi);
	long_vector(vm, 0x31, HANDLER);
	CHECK(saw(vm, 0, 0x99));
	vm_free(vm);
}

ASM64(wait_irq, APIC_INIT "mov $1, %al; out %al, $0x80; sti; 1: hlt; jmp 1b");
TEST(msi, "KVM_SIGNAL_MSI, and a GSI routed to a message")
{
	struct vm *vm = vm_new(1);
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x31 };
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = { .head.nr = 1, .entry = { .gsi = 30, .type = KVM_IRQ_ROUTING_MSI,
		      .u.msi = { .address_lo = 0xfee00000, .data = 0x31 } } };
	struct kvm_irq_level line = { .irq = 30, .level = 1 };

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, wait_irq);
	long_vector(vm, 0x31, HANDLER);
	REQUIRE(saw(vm, 0, 1));
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	/* One that is pending already counts as delivered. */
	CHECK_EQ(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi), 1);
	CHECK(saw(vm, 0, 0x99));
	REQUIRE(!ioctl(vm->fd, KVM_SET_GSI_ROUTING, &routing));
	CHECK_EQ(ioctl(vm->fd, KVM_IRQ_LINE, &line), 0);
	CHECK(saw(vm, 0, 0x99));
	routing.entry.type = 77;
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &routing), EINVAL);
	vm_free(vm);
}

TEST(irqfd, "an eventfd raises a GSI")
{
	struct vm *vm = vm_new(1);
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = { .head.nr = 1, .entry = { .gsi = 30, .type = KVM_IRQ_ROUTING_MSI,
		      .u.msi = { .address_lo = 0xfee00000, .data = 0x31 } } };
	struct kvm_irqfd irqfd = { .gsi = 30 };
	uint64_t one = 1;

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, wait_irq);
	long_vector(vm, 0x31, HANDLER);
	REQUIRE(!ioctl(vm->fd, KVM_SET_GSI_ROUTING, &routing));
	irqfd.fd = eventfd(0, EFD_CLOEXEC);
	REQUIRE(!ioctl(vm->fd, KVM_IRQFD, &irqfd));
	CHECK_ERR(ioctl(vm->fd, KVM_IRQFD, &irqfd), EBUSY);
	REQUIRE(saw(vm, 0, 1));
	REQUIRE(write(irqfd.fd, &one, 8) == 8);
	CHECK(saw(vm, 0, 0x99));
	irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
	CHECK_EQ(ioctl(vm->fd, KVM_IRQFD, &irqfd), 0);
	irqfd.flags = 0;
	REQUIRE(!ioctl(vm->fd, KVM_IRQFD, &irqfd));
	close(irqfd.fd);
	irqfd.fd = -1;
	CHECK_ERR(ioctl(vm->fd, KVM_IRQFD, &irqfd), EBADF);
	vm_free(vm);
}

ASM64(write_devices, "mov $0xc0000000, %rbx; movl $7, (%rbx); movl $8, (%rbx); mov $0x5, %ax; mov $0x500, %dx;"
		     "out %ax, %dx; mov $1, %al; out %al, $0x80; hlt");
TEST(ioeventfd, "writes to an address or a port signal an eventfd")
{
	struct vm *vm = vm_new(1);
	struct kvm_ioeventfd mmio = { .addr = 0xc0000000, .len = 4, .datamatch = 7, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH };
	struct kvm_ioeventfd pio = { .addr = 0x500, .len = 2, .flags = KVM_IOEVENTFD_FLAG_PIO };
	uint64_t count = 0;

	vm_add_vcpu(vm);
	mmio.fd = eventfd(0, EFD_NONBLOCK);
	pio.fd = eventfd(0, EFD_NONBLOCK);
	REQUIRE(!ioctl(vm->fd, KVM_IOEVENTFD, &mmio));
	CHECK_ERR(ioctl(vm->fd, KVM_IOEVENTFD, &mmio), EEXIST);
	REQUIRE(!ioctl(vm->fd, KVM_IOEVENTFD, &pio));
	VM_CODE(vm, 0, MODE_64, write_devices);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(vm->run[0]->mmio.data[0], 8);
	CHECK(saw(vm, 0, 1));
	CHECK(read(mmio.fd, &count, 8) == 8 && count == 1);
	CHECK(read(pio.fd, &count, 8) == 8 && count == 1);
	mmio.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	CHECK_EQ(ioctl(vm->fd, KVM_IOEVENTFD, &mmio), 0);
	CHECK_ERR(ioctl(vm->fd, KVM_IOEVENTFD, &mmio), ENOENT);
	close(mmio.fd);
	close(pio.fd);
	vm_free(vm);
}

/* Timer: one-shot, divide by 1, 20 million ticks of 1 ns. */
ASM64(lapic_timer, APIC_INIT "mov $0x83e, %ecx; mov $0xb, %eax; xor %edx, %edx; wrmsr;"
		   "mov $0x832, %ecx; mov $0x31, %eax; wrmsr; mov $0x838, %ecx; mov $20000000, %eax; wrmsr;"
		   "mov $1, %al; out %al, $0x80; sti; 1: hlt; jmp 1b");
TEST(lapic_timer, "the local APIC's timer fires after 20 ms")
{
	struct vm *vm = vm_new(1);
	uint64_t start;
	int ms;

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, lapic_timer);
	long_vector(vm, 0x31, HANDLER);
	/* Before the guest starts the timer: a host that is slow to come here must not make it look early. */
	start = now_ns();
	REQUIRE(saw(vm, 0, 1));
	CHECK(saw(vm, 0, 0x99));
	ms = (now_ns() - start) / 1000000;
	printf("#   fired after %d ms\n", ms);
	CHECK(ms >= 20 && ms < 220);
	vm_free(vm);
}

ASM64(tsc_deadline, APIC_INIT "mov $0x832, %ecx; mov $0x40031, %eax; xor %edx, %edx; wrmsr;"
		    "rdtsc; shl $32, %rdx; or %rdx, %rax; add $20000000, %rax; mov %rax, %rdx; shr $32, %rdx;"
		    "mov $0x6e0, %ecx; wrmsr; mov $1, %al; out %al, $0x80; sti; 1: hlt; jmp 1b");
TEST(tsc_deadline, "the TSC deadline timer fires")
{
	struct vm *vm = vm_new(1);
	uint64_t start;
	int us, want, khz;

	vm_add_vcpu(vm);
	khz = ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0);
	REQUIRE(khz > 1000);
	VM_CODE(vm, 0, MODE_64, tsc_deadline);
	long_vector(vm, 0x31, HANDLER);
	start = now_ns();
	REQUIRE(saw(vm, 0, 1));
	CHECK(saw(vm, 0, 0x99));
	us = (now_ns() - start) / 1000;
	want = 20000000ll * 1000 / khz;
	printf("#   fired after %d us, %d us asked for\n", us, want);
	CHECK(us >= want * 9 / 10 && us < want + 200000);
	vm_free(vm);
}

ASM16(nmi_guest, "mov $1, %al; out %al, $0x80; 1: jmp 1b");
TEST(nmi, "KVM_NMI, and a second one held back until IRET")
{
	struct vm *vm = vm_new(1);

	vm_add_vcpu(vm);
	real_vector(vm, 2, HANDLER);
	put_handler(vm, handler16, handler16_end);
	VM_CODE(vm, 0, MODE_REAL, nmi_guest);
	REQUIRE(saw(vm, 0, 1));
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_NMI), 0);
	CHECK(saw(vm, 0, 0x99));
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_NMI), 0);
	CHECK(saw(vm, 0, 0x99));
	vm_free(vm);
}

/* The boot processor sends INIT and SIPI, vector 3: 0x3000. */
ASM64(start_ap, APIC_INIT "mov $0x830, %ecx; mov $1, %edx; mov $0x4500, %eax; wrmsr; mov $0x4603, %eax; wrmsr;"
		"mov $1, %al; out %al, $0x80; 1: hlt; jmp 1b");
ASM16(ap_code, "mov $0x77, %al; out %al, $0x80; cli; hlt");

static void *ap_thread(void *arg)
{
	struct vm *vm = arg;

	/* The first INIT ends the wait. */
	CHECK_EQ(vm_run(vm, 1), -EAGAIN);
	return (void *)(intptr_t)saw(vm, 1, 0x77);
}

TEST(smp, "INIT and SIPI start a second processor")
{
	struct vm *vm = vm_new(1);
	struct kvm_mp_state mp;
	pthread_t thread;
	void *result;

	vm_add_vcpu(vm);
	vm_add_vcpu(vm);
	REQUIRE(!ioctl(vm->vcpu[1], KVM_GET_MP_STATE, &mp));
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_UNINITIALIZED);
	memcpy(vm->mem + 0x3000, ap_code, ap_code_end - ap_code);
	VM_CODE(vm, 0, MODE_64, start_ap);
	long_vector(vm, 0x31, HANDLER);
	REQUIRE(!pthread_create(&thread, NULL, ap_thread, vm));
	CHECK(saw(vm, 0, 1));
	pthread_join(thread, &result);
	CHECK(result);
	REQUIRE(!ioctl(vm->vcpu[1], KVM_GET_MP_STATE, &mp));
	CHECK_EQ(mp.mp_state, KVM_MP_STATE_RUNNABLE);
	vm_free(vm);
}

TEST(restore, "a VM goes on as another: registers, local APIC, pending interrupt, FPU, MSRs")
{
	struct vm *a = vm_new(1), *b = vm_new(1);
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x31 };
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_xsave *xsave = calloc(1, sizeof(*xsave));
	struct kvm_irqchip chip;
	struct kvm_mp_state mp;
	unsigned int n;

	vm_add_vcpu(a);
	vm_add_vcpu(b);
	VM_CODE(a, 0, MODE_64, wait_irq);
	long_vector(a, 0x31, HANDLER);
	REQUIRE(saw(a, 0, 1));
	/* Complete the OUT, without going on. */
	a->run[0]->immediate_exit = 1;
	CHECK_EQ(vm_run(a, 0), -EINTR);
	CHECK_EQ(ioctl(a->fd, KVM_SIGNAL_MSI, &msi), 1);

	memcpy(b->mem, a->mem, MEM_SIZE);
	REQUIRE(!ioctl(a->vcpu[0], KVM_GET_REGS, &regs) && !ioctl(a->vcpu[0], KVM_GET_SREGS, &sregs));
	REQUIRE(!ioctl(a->vcpu[0], KVM_GET_LAPIC, &lapic) && !ioctl(a->vcpu[0], KVM_GET_VCPU_EVENTS, &events));
	REQUIRE(!ioctl(a->vcpu[0], KVM_GET_XSAVE, xsave) && !ioctl(a->vcpu[0], KVM_GET_MP_STATE, &mp));
	CHECK(lapic.regs[0x200 + 0x10] & 2 || lapic.regs[0x210 + 2] & 2);
	REQUIRE(!ioctl(b->vcpu[0], KVM_SET_SREGS, &sregs) && !ioctl(b->vcpu[0], KVM_SET_REGS, &regs));
	REQUIRE(!ioctl(b->vcpu[0], KVM_SET_LAPIC, &lapic) && !ioctl(b->vcpu[0], KVM_SET_VCPU_EVENTS, &events));
	REQUIRE(!ioctl(b->vcpu[0], KVM_SET_XSAVE, xsave) && !ioctl(b->vcpu[0], KVM_SET_MP_STATE, &mp));
	for (n = 0; n < 3; n++) {
		chip.chip_id = n;
		REQUIRE(!ioctl(a->fd, KVM_GET_IRQCHIP, &chip));
		REQUIRE(!ioctl(b->fd, KVM_SET_IRQCHIP, &chip));
	}
	CHECK(saw(b, 0, 0x99));
	free(xsave);
	vm_free(a);
	vm_free(b);
}

TEST(msr_list, "every MSR of the index list can be read, and written back")
{
	struct vm *vm = vm_new(1);
	struct {
		struct kvm_msr_list list;
		uint32_t room[256];
	} l = { .list.nmsrs = 0 };
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1 };
	unsigned int n;

	vm_add_vcpu(vm);
	CHECK_ERR(ioctl(dev_fd, KVM_GET_MSR_INDEX_LIST, &l), E2BIG);
	REQUIRE(l.list.nmsrs > 10 && l.list.nmsrs <= 256);
	REQUIRE(!ioctl(dev_fd, KVM_GET_MSR_INDEX_LIST, &l));
	for (n = 0; n < l.list.nmsrs; n++) {
		m.entry = (struct kvm_msr_entry) { .index = l.list.indices[n] };
		if (ioctl(vm->vcpu[0], KVM_GET_MSRS, &m) != 1 || ioctl(vm->vcpu[0], KVM_SET_MSRS, &m) != 1) {
			printf("#   MSR %#x\n", l.list.indices[n]);
			test_fail(__FILE__, __LINE__, "a listed MSR is refused", 0);
		}
	}
	m.entry.index = 0x12345678;
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_MSRS, &m), 0);
	vm_free(vm);
}

ASM64(features, "xor %eax, %eax; cpuid; mov $1, %al; out %al, $0x80; hlt");
TEST(cpuid, "the guest sees the CPUID that was set; too little room is E2BIG")
{
	struct vm *vm = vm_new(0);
	struct kvm_cpuid2 none = { .nent = 0 };
	struct kvm_regs regs;

	vm_add_vcpu(vm);
	CHECK_ERR(ioctl(dev_fd, KVM_GET_SUPPORTED_CPUID, &none), E2BIG);
	VM_CODE(vm, 0, MODE_64, features);
	CHECK(saw(vm, 0, 1));
	vm_regs(vm, 0, &regs);
	CHECK(regs.rbx == 0x68747541 || regs.rbx == 0x756e6547);
	vm_free(vm);
}

static void on_signal(int n)
{
	(void)n;
}

ASM64(spin, "1: jmp 1b");
static void *spin_thread(void *arg)
{
	return (void *)(intptr_t)vm_run(arg, 0);
}

TEST(signal, "a signal ends KVM_RUN in a guest that spins, and in one that is halted")
{
	struct vm *vm = vm_new(1);
	struct sigaction sa = { .sa_handler = on_signal };
	pthread_t thread;
	void *result;
	int n;

	sigaction(SIGUSR1, &sa, NULL);
	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, spin);
	for (n = 0; n < 20; n++) {
		REQUIRE(!pthread_create(&thread, NULL, spin_thread, vm));
		usleep(2000 * n);
		do {
			pthread_kill(thread, SIGUSR1);
			usleep(1000);
		} while (pthread_tryjoin_np(thread, &result));
		CHECK_EQ((intptr_t)result, -EINTR);
		CHECK_EQ(vm->run[0]->exit_reason, KVM_EXIT_INTR);
	}
	VM_CODE(vm, 0, MODE_64, wait_irq);
	long_vector(vm, 0x31, HANDLER);
	REQUIRE(saw(vm, 0, 1));
	REQUIRE(!pthread_create(&thread, NULL, spin_thread, vm));
	usleep(20000);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, &result);
	CHECK_EQ((intptr_t)result, -EINTR);
	vm_free(vm);
}
