// SPDX-License-Identifier: GPL-2.0-only
/*
 * features.c - single steps, paravirtual features, limits of routing, what an operator sees
 */
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "harness.h"

static bool is_kvm(void)
{
	const char *path = getenv("TENON_DEV");

	return path && strstr(path, "kvm");
}

static int io_value(struct vm *vm)
{
	struct kvm_run *run = vm->run[0];
	int r = vm_run(vm, 0);

	if (r != KVM_EXIT_IO || run->io.port != 0x80) {
		printf("#   exit %d, expected a write to port 0x80\n", r);
		return -1;
	}
	return ((uint8_t *)run)[run->io.data_offset];
}

ASM16(step_code, "nop; cpuid; mov $1, %ax; rdmsr; nop; hlt");
TEST(step, "KVM_GUESTDBG_SINGLESTEP stops after each instruction, those that exit included")
{
	static const int lengths[] = { 1, 2, 3, 2, 1 };
	struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	struct vm *vm = vm_new(0);
	struct kvm_regs regs;
	uint64_t rip = CODE;
	unsigned int n;

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_REAL, step_code);
	vm_regs(vm, 0, &regs);
	regs.rcx = 0x1b;
	vm_set_regs(vm, 0, &regs);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_GUEST_DEBUG, &debug));
	for (n = 0; n < 5; n++) {
		/* CPUID changes ECX, of which RDMSR makes its address. */
		if (n == 3) {
			vm_regs(vm, 0, &regs);
			regs.rcx = 0x1b;
			vm_set_regs(vm, 0, &regs);
		}
		REQUIRE(vm_run(vm, 0) == KVM_EXIT_DEBUG);
		rip += lengths[n];
		CHECK_EQ(vm->run[0]->debug.arch.pc, rip);
		CHECK(vm->run[0]->debug.arch.dr6 & 0x4000);
		CHECK_EQ(vm->run[0]->debug.arch.exception, 1);
	}
	debug.control = 0;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_GUEST_DEBUG, &debug));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	debug.control = KVM_GUESTDBG_ENABLE | 0x8000;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_GUEST_DEBUG, &debug), EINVAL);
	vm_free(vm);
}

/* The trap after CPUID, which the host carries out, comes before the next instruction. */
ASM16(trap_code, "pushf; pop %ax; or $0x100, %ax; push %ax; popf; cpuid; nop; hlt");
ASM16(trap_handler, "pop %bx; out %al, $0x80; hlt");
TEST(trap_flag, "a guest that steps itself traps after an instruction that exits")
{
	struct vm *vm = vm_new(0);
	struct kvm_regs regs;
	uint16_t *ivt = (uint16_t *)vm->mem;

	vm_add_vcpu(vm);
	ivt[2] = 0x2000;
	ivt[3] = 0;
	memcpy(vm->mem + 0x2000, trap_handler, trap_handler_end - trap_handler);
	VM_CODE(vm, 0, MODE_REAL, trap_code);
	CHECK(io_value(vm) >= 0);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx & 0xffff, CODE + (trap_code_end - trap_code) - 2);
	vm_free(vm);
}

/* x2APIC on, an IDT at 0x5000 with one vector, 0x31. */
#define APIC_INIT								\
	"mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr;"			\
	"mov $0x80f, %ecx; mov $0x1ff, %eax; xor %edx, %edx; wrmsr;"		\
	"lidt 0x6000;"

static void vector(struct vm *vm, const uint8_t *handler, const uint8_t *end)
{
	uint64_t *gdt = (uint64_t *)(vm->mem + 0x7000), *gate = (uint64_t *)(vm->mem + 0x5000 + 0x31 * 16);
	struct kvm_sregs s;

	gate[0] = 0x2000 | 8 << 16 | 0x8eull << 40;
	gate[1] = 0;
	*(uint16_t *)(vm->mem + 0x6000) = 0xfff;
	*(uint64_t *)(vm->mem + 0x6002) = 0x5000;
	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.gdt.base = 0x7000;
	s.gdt.limit = 0x17;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	memcpy(vm->mem + 0x2000, handler, end - handler);
}

/* The handler says whether it could do without the EOI register, and does without it then. */
ASM64(pv_eoi_code, APIC_INIT "mov $0x4b564d04, %ecx; mov $0x9001, %eax; xor %edx, %edx; wrmsr; mov $1, %al;"
		   "out %al, $0x80; sti; 1: hlt; jmp 1b");
ASM64(pv_eoi_handler, "push %rax; btrl $0, 0x9000; setc %al; or $0x40, %al; out %al, $0x80; pop %rax; iretq");
TEST(pv_eoi, "an interrupt is ended by a bit in memory, and the next one comes")
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x31 };
	struct vm *vm = vm_new(1);
	struct kvm_lapic_state lapic;
	int n;

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, pv_eoi_code);
	vector(vm, pv_eoi_handler, pv_eoi_handler_end);
	REQUIRE(io_value(vm) == 1);
	for (n = 0; n < 3; n++) {
		REQUIRE(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) == 1);
		REQUIRE(io_value(vm) == 0x41);
		CHECK_EQ(vm->mem[0x9000] & 1, 0);
		REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_LAPIC, &lapic));
		CHECK_EQ(lapic.regs[0x110 + 2] & 2, 0);
	}
	vm_free(vm);
}

ASM64(ipi_code, APIC_INIT "sti; mov $10, %eax; mov $1, %ebx; xor %ecx, %ecx; xor %edx, %edx; mov $0x31, %esi; vmmcall;"
		"mov %al, %r8b; mov %r8b, %al; or $0x20, %al; out %al, $0x80; hlt");
ASM64(ipi_handler, "push %rax; push %rcx; push %rdx; mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr;"
		   "mov $0x99, %al; out %al, $0x80; pop %rdx; pop %rcx; pop %rax; iretq");
TEST(ipi_hypercall, "KVM_HC_SEND_IPI reaches the processors of its bit map and counts them")
{
	struct vm *vm = vm_new(1);

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, ipi_code);
	vector(vm, ipi_handler, ipi_handler_end);
	CHECK_EQ(io_value(vm), 0x99);
	CHECK_EQ(io_value(vm), 0x21);
	vm_free(vm);
}

TEST(routes, "one pin of each chip, or one message, a GSI")
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[3];
	} r = { .head.nr = 2 };
	struct vm *vm = vm_new(1);
	unsigned int n;

	for (n = 0; n < 3; n++)
		r.entry[n] = (struct kvm_irq_routing_entry) { .gsi = 40, .type = KVM_IRQ_ROUTING_MSI,
							      .u.msi = { .address_lo = 0xfee00000, .data = 0x31 } };
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	for (n = 0; n < 3; n++)
		r.entry[n] = (struct kvm_irq_routing_entry) { .gsi = 40, .type = KVM_IRQ_ROUTING_IRQCHIP,
							      .u.irqchip = { .irqchip = n, .pin = 3 } };
	r.head.nr = 3;
	CHECK_EQ(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), 0);
	r.entry[2].u.irqchip.irqchip = 1;
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r), EINVAL);
	vm_free(vm);
}

static bool file_has(const char *path, const char *what)
{
	static char text[1 << 16];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	return strstr(text, what);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	REQUIRE(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), (long)strlen(text));
	close(fd);
}

ASM16(seen_code, "cpuid; mov $0x5a, %al; out %al, $0x80; hlt");
TEST(seen, "tracepoints and counters tell of an exit, and the directory goes with its VM")
{
	struct vm *vm;
	struct stat st;
	struct dirent *d;
	char path[512], dir[300] = "";
	DIR *list;

	if (is_kvm())
		SKIP("Tenon's own");
	if (stat("/sys/kernel/debug/tenon", &st))
		REQUIRE(!mount("none", "/sys/kernel/debug", "debugfs", 0, NULL));
	if (stat("/sys/kernel/tracing/events/tenon", &st))
		REQUIRE(!mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL));
	put("/sys/kernel/tracing/trace", "");
	put("/sys/kernel/tracing/events/tenon/enable", "1");
	vm = vm_new(0);
	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_REAL, seen_code);
	CHECK_EQ(io_value(vm), 0x5a);
	put("/sys/kernel/tracing/events/tenon/enable", "0");
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_entry: vcpu 0 rip 0x1000"));
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_exit: vcpu 0 rip 0x1000 reason 0x72"));
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_page_fault: vcpu 0 rip 0x1000 gpa 0x1000"));
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_pio: vcpu 0 out port 0x80 size 1 count 1 value 0x5a"));

	snprintf(path, sizeof(path), "%d-", getpid());
	list = opendir("/sys/kernel/debug/tenon");
	REQUIRE(list);
	while ((d = readdir(list))) {
		if (!strncmp(d->d_name, path, strlen(path)))
			snprintf(dir, sizeof(dir), "%s", d->d_name);
	}
	closedir(list);
	REQUIRE(*dir);
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s/vcpu0", dir);
	CHECK(file_has(path, "\nio_user 1\n"));
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s/total", dir);
	CHECK(file_has(path, "vcpus 1\n"));
	CHECK(!file_has(path, "\nexits 0\n"));
	CHECK(!file_has("/sys/kernel/debug/tenon/total", "vms 0\n"));
	vm_free(vm);
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s", dir);
	CHECK(stat(path, &st) && errno == ENOENT);
	CHECK(!file_has("/sys/kernel/debug/tenon/total", "\nio_user 0\n"));
}

TEST(tsc_khz, "KVM_SET_TSC_KHZ takes the host's rate, and another where the processor scales")
{
	struct vm *vm = vm_new(0);
	int khz, scales = ioctl(dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL);

	if (is_kvm())
		SKIP("KVM lets a faster rate pass without scaling");
	vm_add_vcpu(vm);
	khz = ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0);
	REQUIRE(khz > 1000);
	CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_TSC_KHZ, khz + khz / 100000), 0);
	if (scales) {
		CHECK_EQ(ioctl(vm->vcpu[0], KVM_SET_TSC_KHZ, khz * 2), 0);
		CHECK_EQ(ioctl(vm->vcpu[0], KVM_GET_TSC_KHZ, 0), khz * 2);
	} else {
		CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_TSC_KHZ, khz * 2), EINVAL);
	}
	vm_free(vm);
}

ASM64(tpr_code, "mov $0xfee00080, %ebx; movl $0x20, (%rbx); mov $1, %al; out %al, $0x80; hlt");
TEST(tpr, "KVM_TPR_ACCESS_REPORTING tells of an access, KVM_SET_VAPIC_ADDR shows the TPR in memory")
{
	struct kvm_tpr_access_ctl ctl = { .enabled = 1 };
	struct kvm_vapic_addr vapic = { .vapic_addr = 0xa000 };
	struct vm *vm = vm_new(1);

	vm_add_vcpu(vm);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_TPR_ACCESS_REPORTING, &ctl));
	VM_CODE(vm, 0, MODE_64, tpr_code);
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_TPR_ACCESS);
	CHECK_EQ(vm->run[0]->tpr_access.is_write, 1);
	CHECK_EQ(vm->run[0]->tpr_access.rip, CODE + 5);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_VAPIC_ADDR, &vapic));
	CHECK_EQ(io_value(vm), 1);
	CHECK_EQ(vm->mem[0xa000], 0x20);
	vapic.vapic_addr = 0xc0000000;
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_SET_VAPIC_ADDR, &vapic), EINVAL);
	vm_free(vm);
}
