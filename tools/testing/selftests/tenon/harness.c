// SPDX-License-Identifier: GPL-2.0-only
/*
 * harness.c - see harness.h
 */
#include "harness.h"

jmp_buf test_end;
bool test_failed;
const char *test_skip;
int dev_fd = -1;

static struct test *first, **last = &first;

void test_register(struct test *test)
{
	*last = test;
	last = &test->next;
}

void test_fail(const char *file, int line, const char *what, long value)
{
	printf("#   %s:%d: %s (errno %ld: %s)\n", file, line, what, value, strerror(value));
	test_failed = true;
}

int dev_open(void)
{
	const char *path = getenv("TENON_DEV");

	return open(path ? path : "/dev/tenon", O_RDWR | O_CLOEXEC);
}

int vm_slot(struct vm *vm, uint32_t id, uint64_t gpa, uint64_t size, void *hva, uint32_t flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = id, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

struct vm *vm_new(int irqchip)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	REQUIRE(vm);
	vm->fd = ioctl(dev_fd, KVM_CREATE_VM, 0);
	REQUIRE(vm->fd >= 0);
	vm->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(vm->mem != MAP_FAILED);
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, 0));
	REQUIRE(!ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000));
	if (irqchip == 1)
		REQUIRE(!ioctl(vm->fd, KVM_CREATE_IRQCHIP));
	else if (irqchip == 2)
		REQUIRE(!ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	vm->run_size = ioctl(dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	return vm;
}

void vm_cpuid(struct vm *vm, int n)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));

	cpuid->nent = 256;
	REQUIRE(!ioctl(dev_fd, KVM_GET_SUPPORTED_CPUID, cpuid));
	REQUIRE(!ioctl(vm->vcpu[n], KVM_SET_CPUID2, cpuid));
	free(cpuid);
}

int vm_add_vcpu(struct vm *vm)
{
	int n = vm->nvcpus;

	vm->vcpu[n] = ioctl(vm->fd, KVM_CREATE_VCPU, n);
	REQUIRE(vm->vcpu[n] >= 0);
	vm->run[n] = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu[n], 0);
	REQUIRE(vm->run[n] != MAP_FAILED);
	vm->nvcpus++;
	vm_cpuid(vm, n);
	return n;
}

void vm_free(struct vm *vm)
{
	int n;

	for (n = 0; n < vm->nvcpus; n++) {
		munmap(vm->run[n], vm->run_size);
		close(vm->vcpu[n]);
	}
	close(vm->fd);
	munmap(vm->mem, MEM_SIZE);
	free(vm);
}

void vm_regs(struct vm *vm, int n, struct kvm_regs *regs)
{
	REQUIRE(!ioctl(vm->vcpu[n], KVM_GET_REGS, regs));
}

void vm_set_regs(struct vm *vm, int n, const struct kvm_regs *regs)
{
	REQUIRE(!ioctl(vm->vcpu[n], KVM_SET_REGS, regs));
}

static void segment(struct kvm_segment *s, uint16_t selector, uint8_t type, int l, int db)
{
	*s = (struct kvm_segment) {
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1, .l = l, .db = db, .g = 1,
	};
}

#define PML4	0x10000
#define PDPT	0x11000
#define PD	0x12000	/* four pages */

void vm_code(struct vm *vm, int n, enum mode mode, const void *code, size_t len)
{
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rflags = 2 };
	struct kvm_sregs s;
	unsigned int i;

	memcpy(vm->mem + CODE, code, len);
	REQUIRE(!ioctl(vm->vcpu[n], KVM_GET_SREGS, &s));
	if (mode == MODE_REAL) {
		s.cs.selector = 0;
		s.cs.base = 0;
	} else {
		segment(&s.cs, 8, 11, mode == MODE_64, mode == MODE_32);
		segment(&s.ds, 16, 3, 0, 1);
		s.es = s.fs = s.gs = s.ss = s.ds;
		s.cr0 |= 1;
	}
	if (mode == MODE_64) {
		uint64_t *p = (uint64_t *)(vm->mem + PML4);

		p[0] = PDPT | 7;
		for (i = 0; i < 4; i++)
			((uint64_t *)(vm->mem + PDPT))[i] = (PD + i * 0x1000) | 7;
		for (i = 0; i < 2048; i++)
			((uint64_t *)(vm->mem + PD))[i] = ((uint64_t)i << 21) | 0x87;
		s.cr3 = PML4;
		s.cr4 |= 0x20 | 0x600;
		s.cr0 |= 0x80000000;
		s.efer |= 0x500;
	}
	REQUIRE(!ioctl(vm->vcpu[n], KVM_SET_SREGS, &s));
	vm_set_regs(vm, n, &regs);
}

int vm_run(struct vm *vm, int n)
{
	int ret = ioctl(vm->vcpu[n], KVM_RUN, 0);

	return ret < 0 ? -errno : (int)vm->run[n]->exit_reason;
}

int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : NULL;
	struct test *t;
	static int n, bad;	/* they outlive longjmp() */

	setvbuf(stdout, NULL, _IOLBF, 0);
	dev_fd = dev_open();
	if (dev_fd < 0) {
		printf("Bail out! the node does not open: %s\n", strerror(errno));
		return 1;
	}
	for (t = first; t; t = t->next)
		n += !only || !strcmp(only, t->name);
	printf("TAP version 13\n1..%d\n", n);
	n = 0;
	for (t = first; t; t = t->next) {
		if (only && strcmp(only, t->name))
			continue;
		test_failed = false;
		test_skip = NULL;
		if (!setjmp(test_end))
			t->fn();
		n++;
		printf("%sok %d - %s%s%s\n", test_failed ? "not " : "", n, t->name, test_skip ? " # SKIP " : "",
		       test_skip ? test_skip : "");
		bad += test_failed;
	}
	return bad != 0;
}
