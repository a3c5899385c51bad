// SPDX-License-Identifier: GPL-2.0-only
/*
 * dirty.c - the dirty log
 */
#include "harness.h"

#define PAGE	0x1000

#define PAGE_BIT(address) ((address) / PAGE % 64)

static uint64_t dirty_word(struct vm *vm, uint64_t address)
{
	uint64_t bitmap[MEM_SIZE / PAGE / 64] = { 0 };
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };

	REQUIRE(!ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log));
	return bitmap[address / PAGE / 64];
}

ASM64(dirty, "movb $1, 0x180000; movb $1, 0x182000; hlt; movb $1, 0x181000; hlt; movb $2, 0x182000; hlt");
TEST(dirty_log, "the dirty log names pages written, once")
{
	struct kvm_dirty_log log = { .slot = 7 };
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, dirty);

	CHECK_ERR(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
	log.slot = 0;
	CHECK_ERR(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
	log.slot = has_cap(KVM_CAP_NR_MEMSLOTS);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), EINVAL);
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, KVM_MEM_LOG_DIRTY_PAGES));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK_EQ(dirty_word(vm, 0x180000), 1 | 1 << 2);
	CHECK_EQ(dirty_word(vm, 0x180000), 0);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK_EQ(dirty_word(vm, 0x180000), 1 << 1);
	/* A page once reported is watched again. */
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK_EQ(dirty_word(vm, 0x180000), 1 << 2);
}

TEST(dirty_kernel, "the dirty log names pages that the kernel writes for the guest")
{
	struct vm *vm = vm_new(CHIPS_KERNEL);

	vm_add_vcpu(vm);
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, KVM_MEM_LOG_DIRTY_PAGES));
	vm_script(vm, 0, STEPS(SAYS(2), WRMSR(0x4b564d01, FREE | 1), SAYS(3)));
	REQUIRE(vm_says(vm, 0, 2));
	dirty_word(vm, FREE);
	REQUIRE(vm_says(vm, 0, 3));
	REQUIRE(vm_says(vm, 0, DONE));
	CHECK_EQ(dirty_word(vm, FREE) >> PAGE_BIT(FREE) & 1, 1);
}

TEST(dirty_clear, "with manual protection, pages stay reported until KVM_CLEAR_DIRTY_LOG",
     KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 1 } };
	uint64_t bitmap[MEM_SIZE / PAGE / 64] = { 0 };
	struct kvm_clear_dirty_log clear = { .num_pages = 64, .first_page = 0x180000 / PAGE, .dirty_bitmap = bitmap };
	struct vm *vm;

	if (!has_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2))
		SKIP("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is not offered");
	vm = GUEST(CHIPS_NONE, MODE_64, dirty);
	REQUIRE(!ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, KVM_MEM_LOG_DIRTY_PAGES));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK_EQ(dirty_word(vm, 0x180000), 5);
	CHECK_EQ(dirty_word(vm, 0x180000), 5);
	bitmap[0] = 1;
	REQUIRE(!ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
	CHECK_EQ(dirty_word(vm, 0x180000), 4);
	clear.first_page = 1;
	CHECK_ERR(ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear), EINVAL);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK_EQ(dirty_word(vm, 0x180000), 6);
}

/* Writes 64-bit words all over 1 MiB at 1 MiB, each another one, until it is told to stop. */
ASM64(writer, "sti; mov %rsi, %rax; 1: imul $0x19660d, %rax; add $0x3c6ef35f, %rax; mov %rax, %rbx; shr $13, %rbx;"
	      "and $0xffff8, %ebx; add $0x100000, %ebx; mov %rax, (%rbx); incq 0x9100; cmpb $0, 0x9108; je 1b;" SAY(1) IDLE);

/* Copy what is reported, as a migration does; the number of pages. */
static unsigned int copy_dirty(struct vm *vm, uint8_t *copy, bool manual)
{
	static uint64_t bitmap[MEM_SIZE / PAGE / 64];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };
	struct kvm_clear_dirty_log clear = { .slot = 0, .num_pages = MEM_SIZE / PAGE, .dirty_bitmap = bitmap };
	unsigned int n, pages = 0;

	REQUIRE(!ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log));
	if (manual)
		REQUIRE(!ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
	for (n = 0; n < MEM_SIZE / PAGE; n++) {
		if (!(bitmap[n / 64] >> n % 64 & 1))
			continue;
		memcpy(copy + n * PAGE, vm->mem + n * PAGE, PAGE);
		pages++;
	}
	return pages;
}

static void migrate(bool manual)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { manual } };
	uint8_t *copy = malloc(MEM_SIZE);
	struct vm *vm = vm_new(CHIPS_KERNEL);
	const uint64_t end = now_ns() + 20000000000;
	unsigned int n, rounds, pages = 0, last;

	REQUIRE(copy);
	if (manual)
		REQUIRE(!ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	for (n = 0; n < 2; n++) {
		vm_add_vcpu(vm);
		VM_CODE(vm, n, MODE_64, writer);
	}
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, KVM_MEM_LOG_DIRTY_PAGES));
	memcpy(copy, vm->mem, MEM_SIZE);
	vm_start(vm, 0);
	vm_start(vm, 1);
	for (rounds = 0; pages < 5000 && now_ns() < end; rounds++)
		pages += copy_dirty(vm, copy, manual);
	vm_stop(vm);
	CHECK_EQ(vm_join(vm, 0), 1);
	CHECK_EQ(vm_join(vm, 1), 1);
	last = copy_dirty(vm, copy, manual);
	printf("#   %u pages in %u rounds, then %u; %ld writes\n", pages, rounds, last, (long)vm_counter(vm));
	CHECK(pages > 1000);
	/* What the process itself has written is not the guest's. */
	copy[DATA + 0x108] = 1;
	for (n = 0; n < MEM_SIZE / PAGE; n++) {
		if (memcmp(copy + n * PAGE, vm->mem + n * PAGE, PAGE))
			printf("#   page %#x differs\n", n);
		CHECK(!memcmp(copy + n * PAGE, vm->mem + n * PAGE, PAGE));
	}
	CHECK_EQ(copy_dirty(vm, copy, manual), 0);
	free(copy);
}

TEST(migrate, "two vCPUs write while the dirty log is read and what it names is copied: the copy is the memory, to the byte")
{
	migrate(false);
}

TEST(migrate_manual, "the same with KVM_CLEAR_DIRTY_LOG")
{
	migrate(true);
}
