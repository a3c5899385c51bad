// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory.c - slots, and what the owner of the memory does to it while a guest runs
 */
#include <sched.h>
#include <sys/mount.h>

#include "harness.h"

#define PAGE	0x1000
#define TOP	MEM_SIZE	/* first address after slot 0 */

/* ---- slots ---- */

TEST(slots, "memory slots: bad ones are refused", KVM_CAP_USER_MEMORY, KVM_CAP_NR_MEMSLOTS)
{
	struct vm *vm = vm_new(CHIPS_NONE);
	void *p = vm->mem;

	CHECK_ERR(vm_slot(vm, 1, 0x1000, PAGE, p, 0), EEXIST);
	CHECK_ERR(vm_slot(vm, 1, TOP - PAGE, 2 * PAGE, p, 0), EEXIST);
	CHECK_ERR(vm_slot(vm, 1, TOP + 1, PAGE, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, TOP, PAGE + 1, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, TOP, PAGE, (uint8_t *)p + 1, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, TOP, PAGE, p, 0x10), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, -PAGE, 2 * PAGE, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, TOP, PAGE, (void *)0x8000000000000000, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, has_cap(KVM_CAP_NR_MEMSLOTS), TOP, PAGE, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 3, TOP, 0, p, 0), EINVAL);
	CHECK_EQ(vm_slot(vm, 1, TOP, PAGE, p, 0), 0);
	/* Another size, other memory, or the right to write, are another slot. */
	CHECK_ERR(vm_slot(vm, 1, TOP, 2 * PAGE, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, TOP, PAGE, (uint8_t *)p + PAGE, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, TOP, PAGE, p, KVM_MEM_READONLY), EINVAL);
	/* One cannot move onto another. */
	CHECK_ERR(vm_slot(vm, 1, 0x10000, PAGE, p, 0), EEXIST);
	CHECK_EQ(vm_slot(vm, 1, TOP, 0, p, 0), 0);
	CHECK_EQ(vm_slot(vm, 1, TOP, 2 * PAGE, p, 0), 0);
}

ASM64(read_two, "1: mov 0x300000, %eax; mov 0x400000, %ebx; hlt; jmp 1b");

static int run_two(struct vm *vm, uint32_t *first, uint32_t *second)
{
	struct kvm_regs regs;
	int holes = 0, r;

	while ((r = vm_run(vm, 0)) == KVM_EXIT_MMIO) {
		memset(vm->run[0]->mmio.data, 0xff, 8);
		holes++;
	}
	CHECK_EQ(r, KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	*first = regs.rax;
	*second = regs.rbx;
	return holes;
}

TEST(move, "a slot that moves, and one that goes: the guest finds it there, and a hole where it was",
     KVM_CAP_DESTROY_MEMORY_REGION_WORKS, KVM_CAP_JOIN_MEMORY_REGIONS_WORKS)
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, read_two);
	uint32_t a, b;

	*(uint32_t *)(vm->mem + FREE) = 0x1111;
	*(uint32_t *)(vm->mem + FREE + PAGE) = 0x2222;
	REQUIRE(!vm_slot(vm, 1, 0x300000, PAGE, vm->mem + FREE, 0));
	CHECK_EQ(run_two(vm, &a, &b), 1);
	CHECK(a == 0x1111 && b == 0xffffffff);
	REQUIRE(!vm_slot(vm, 1, 0x400000, PAGE, vm->mem + FREE, 0));
	CHECK_EQ(run_two(vm, &a, &b), 1);
	CHECK(a == 0xffffffff && b == 0x1111);
	REQUIRE(!vm_slot(vm, 2, 0x300000, PAGE, vm->mem + FREE + PAGE, 0));
	CHECK_EQ(run_two(vm, &a, &b), 0);
	CHECK(a == 0x2222 && b == 0x1111);
	REQUIRE(!vm_slot(vm, 1, 0x400000, 0, vm->mem + FREE, 0));
	CHECK_EQ(run_two(vm, &a, &b), 1);
	CHECK(a == 0x2222 && b == 0xffffffff);
}

ASM64(rom, "mov 0x300000, %eax; mov %eax, 0x300010; hlt");
TEST(readonly, "a write to a read-only slot is MMIO; it may lie on memory that the process itself cannot write",
     KVM_CAP_READONLY_MEM)
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, rom);
	struct kvm_regs regs;

	*(uint32_t *)(vm->mem + FREE) = 0xabcd;
	REQUIRE(!mprotect(vm->mem + FREE, PAGE, PROT_READ));
	REQUIRE(!vm_slot(vm, 1, 0x300000, PAGE, vm->mem + FREE, KVM_MEM_READONLY));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(vm->run[0]->mmio.phys_addr, 0x300010);
	CHECK_EQ(vm->run[0]->mmio.is_write, 1);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax, 0xabcd);
	CHECK_EQ(*(uint32_t *)(vm->mem + FREE + 0x10), 0);
}

/* ---- the owner of the memory ---- */

ASM64(read_again, "1: mov 0x190000, %eax; hlt; jmp 1b");

static uint32_t read_word(struct vm *vm)
{
	struct kvm_regs regs;

	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	return regs.rax;
}

TEST(replaced, "guest memory that the process replaces or gives back is replaced, and zero, in the guest",
     KVM_CAP_SYNC_MMU)
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, read_again);
	uint8_t *page = vm->mem + 0x190000;

	*(uint32_t *)page = 0x1111;
	CHECK_EQ(read_word(vm), 0x1111);
	REQUIRE(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
	*(uint32_t *)page = 0x2222;
	CHECK_EQ(read_word(vm), 0x2222);
	REQUIRE(!madvise(page, PAGE, MADV_DONTNEED));
	CHECK_EQ(read_word(vm), 0);
	*(uint32_t *)page = 0x3333;
	CHECK_EQ(read_word(vm), 0x3333);
}

ASM64(touch, "movb $1, 0x190000; hlt");
TEST(gone, "guest memory that is unmapped, or that the process may not write, ends KVM_RUN with EFAULT")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, touch);
	uint8_t *page = vm->mem + 0x190000;

	REQUIRE(!mprotect(page, PAGE, PROT_READ));
	CHECK_EQ(vm_run(vm, 0), -EFAULT);
	REQUIRE(!munmap(page, PAGE));
	CHECK_EQ(vm_run(vm, 0), -EFAULT);
	REQUIRE(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK_EQ(*page, 1);
}

/* A balloon: the guest keeps writing to 16 pages that the process gives back again and again. */
ASM64(balloon, "sti; xor %ecx, %ecx; 1: inc %rcx; mov %ecx, %edx; and $15, %edx; shl $12, %edx; mov %rcx, 0x180000(%rdx);"
	       "cmp %rcx, 0x180000(%rdx); je 2f; cmpq $0, 0x180000(%rdx); jne 3f;"
	       "2: cmpb $0, 0x9100; je 1b;" SAY(1) "3:" SAY(2));
TEST(balloon, "memory given back under a running guest: what it reads is what it wrote, or zero")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, balloon);
	unsigned int n;

	vm_start(vm, 0);
	for (n = 0; n < 200; n++) {
		REQUIRE(!madvise(vm->mem + 0x180000 + n % 16 * PAGE, PAGE, MADV_DONTNEED));
		if (n % 8 == 0)
			usleep(500);
	}
	vm->mem[DATA + 0x100] = 1;
	CHECK_EQ(vm_join(vm, 0), 1);
}

TEST(paged_out, "a page that the kernel takes back is there again when the guest reads it")
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, read_two);
	uint32_t a, b, want;
	void *page;

	page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	REQUIRE(page != MAP_FAILED);
	memcpy(&want, page, 4);
	REQUIRE(!vm_slot(vm, 1, 0x300000, PAGE, page, KVM_MEM_READONLY));
	run_two(vm, &a, &b);
	CHECK_EQ(a, want);
	REQUIRE(!madvise(page, PAGE, MADV_PAGEOUT));
	run_two(vm, &a, &b);
	CHECK_EQ(a, want);
	munmap(page, PAGE);
	close(fd);
}

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return ok;
}

static long number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	return atol(text);
}

#define KSM "/sys/kernel/mm/ksm/"
ASM64(merge, "mov 0x180000, %eax; add 0x181000, %eax; hlt; movl $7, 0x180000; mov 0x181000, %eax; hlt");
TEST(merged, "pages of equal content that KSM merges: the guest reads either, and its write parts them")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, merge);
	struct kvm_regs regs;
	unsigned int n;

	memset(vm->mem + 0x180000, 0x11, 2 * PAGE);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	REQUIRE(!madvise(vm->mem + 0x180000, 2 * PAGE, MADV_MERGEABLE));
	if (!put(KSM "run", "1"))
		SKIP("KSM is not to be had");
	for (n = 0; n < 100 && number(KSM "pages_sharing") < 1; n++)
		usleep(20000);
	CHECK(number(KSM "pages_sharing") >= 1);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax, 0x11111111);
	CHECK_EQ(*(uint32_t *)(vm->mem + 0x180000), 7);
	CHECK_EQ(*(uint32_t *)(vm->mem + 0x181000), 0x11111111);
	put(KSM "run", "2");
}

/* Of all VMs so far; -1 from a node that does not count there. */
static long counter(const char *what)
{
	long value = 0, found = -1;
	char name[32];
	FILE *f;

	mount("none", "/sys/kernel/debug", "debugfs", 0, NULL);
	f = is_kvm() ? NULL : fopen("/sys/kernel/debug/tenon/total", "r");
	if (!f)
		return -1;
	while (fscanf(f, "%31s %ld", name, &value) == 2) {
		if (!strcmp(name, what))
			found = value;
	}
	fclose(f);
	return found;
}

/* Counts to 512 pages of 4 KiB, one write a page. */
ASM64(big, "mov $0x40000000, %ebx; mov $512, %ecx; 1: mov %ecx, (%rbx); add $0x1000, %rbx; loop 1b; hlt");
/* A fetch by a large page could take the processor down. */
static bool small_pages(void)
{
	return file_says("/proc/cpuinfo", "bugs", "itlb_multihit") && !file_says("/proc/cmdline", "", "mitigations=off");
}

TEST(huge, "memory in a huge page is mapped as one if it may be, and its parts can be taken out")
{
	const size_t size = 2 << 20;
	uint8_t *area = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *huge;
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, big);
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK_OF(0), .rflags = 2 };
	unsigned int n;
	long before;

	REQUIRE(area != MAP_FAILED);
	huge = (uint8_t *)(((uintptr_t)area + size - 1) & -size);
	REQUIRE(!madvise(huge, size, MADV_HUGEPAGE));
	huge[0] = 1;
	REQUIRE(!vm_slot(vm, 1, 0x40000000, size, huge, 0));
	before = counter("faults");
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	printf("#   %ld faults\n", counter("faults") - before);
	/* One is for it, or 512, the rest for code, stack and page tables. */
	CHECK(is_kvm() || (before >= 0 && (small_pages() ? counter("faults") - before >= 512 :
							   counter("faults") - before < 32)));
	for (n = 0; n < 512; n++)
		CHECK_EQ(*(uint32_t *)(huge + n * PAGE), 512 - n);
	REQUIRE(!madvise(huge + 5 * PAGE, PAGE, MADV_DONTNEED));
	vm_set_regs(vm, 0, &regs);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK_EQ(*(uint32_t *)(huge + 5 * PAGE), 507);
	munmap(area, 2 * size);
}

ASM64(looks, "1: mov 0x9200, %al; out %al, $0x80; jmp 1b");
/* Turns EFER.NX off and on. */
ASM64(turns_nx, "mov $0xc0000080, %ecx; xor %edx, %edx; 1: mov $0x100, %eax; wrmsr; out %al, $0x80;"
		"mov $0x900, %eax; wrmsr; out %al, $0x80; jmp 1b");

/* Has what the TLB had been flushed by the time the guest speaks? */
static bool flushed(struct vm *vm)
{
	const long before = counter("tlb_flushes");

	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	return counter("tlb_flushes") != before;
}

/* The processors of the test bed keep no translation that could go stale: that they are asked to forget is what counts. */
TEST(invalidated, "what changes the guest's translations flushes those that the processor keeps, and nothing else does")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, looks);
	struct kvm_sregs s;
	cpu_set_t one;
	int n;

	if (is_kvm())
		SKIP("there is no counter");
	/* Another processor would be another reason. */
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	REQUIRE(!sched_setaffinity(0, sizeof(one), &one));
	CHECK(flushed(vm));
	for (n = 0; n < 20; n++)
		CHECK(!flushed(vm));
	REQUIRE(!madvise(vm->mem + DATA, PAGE, MADV_DONTNEED));
	CHECK(flushed(vm) && !flushed(vm));
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, KVM_MEM_LOG_DIRTY_PAGES));
	CHECK(flushed(vm) && !flushed(vm));
	REQUIRE(!vm_slot(vm, 1, 0x40000000, PAGE, vm->mem, 0));
	CHECK(!flushed(vm));

	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	CHECK(!flushed(vm));
	s.cr3 |= 0x10;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	CHECK(flushed(vm) && !flushed(vm));
	s.cr4 |= 0x80;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	CHECK(flushed(vm) && !flushed(vm));
	s.cr0 ^= 0x10000;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	CHECK(flushed(vm) && !flushed(vm));
	/* The task switched flag is of no translation. */
	s.cr0 ^= 8;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	CHECK(!flushed(vm));

	vm = GUEST(CHIPS_NONE, MODE_64, turns_nx);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	for (n = 0; n < 4; n++)
		CHECK(flushed(vm));
}

ASM64(checks, "sti; mov %rsi, %rbp; 1: mov $0x80000000, %ebx; 2: mov (%rbx), %rax; mov %ebx, %ecx; cmp %rcx, %rax; jne 9f;"
	      "mov 8(%rbx), %rdx; inc %rdx; mov %rdx, 8(%rbx); add $0x1000, %rbx; cmp $0x80800000, %ebx; jb 2b;"
	      "incq 0x9100; cmpb $0, 0x9108; je 1b;" SAY(1) "9:" SAY(2) IDLE);

static long swapped_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmSwap: %ld", &kb);
	if (f)
		fclose(f);
	return kb;
}

static bool have_swap(void)
{
	FILE *f = fopen("/proc/swaps", "r");
	int c, lines_ = 0;

	while (f && (c = fgetc(f)) != EOF)
		lines_ += c == '\n';
	if (f)
		fclose(f);
	return lines_ > 1;
}

TEST(swapped, "8 MiB that the host swaps out again and again under a guest that reads and counts in every page")
{
	const size_t size = 8 << 20;
	uint8_t *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vm *vm = GUEST(CHIPS_KERNEL, MODE_64, checks);
	uint64_t n, most = 0;

	REQUIRE(area != MAP_FAILED);
	if (!have_swap())
		SKIP("there is no swap space");
	for (n = 0; n < size; n += PAGE)
		*(uint64_t *)(area + n) = 0x80000000 + n;
	REQUIRE(!vm_slot(vm, 1, 0x80000000, size, area, 0));
	vm_start(vm, 0);
	for (n = 0; n < 6; n++) {
		const long kb = (madvise(area, size, MADV_PAGEOUT), swapped_kb());

		most = kb > (long)most ? (uint64_t)kb : most;
		CHECK(vm_goes_on(vm));
	}
	vm_stop(vm);
	CHECK_EQ(vm_join(vm, 0), 1);
	printf("#   up to %ld KiB were swapped out, in %ld rounds of the guest\n", (long)most, (long)vm_counter(vm));
	CHECK(most > 64);
	for (n = 0; n < size; n += PAGE)
		CHECK(*(uint64_t *)(area + n) == 0x80000000 + n && *(uint64_t *)(area + n + 8) == vm_counter(vm));
	munmap(area, size);
}
