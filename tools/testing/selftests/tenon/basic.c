// SPDX-License-Identifier: GPL-2.0-only
/*
 * basic.c - life of a VM, the plainest exits, registers
 */
#include "harness.h"

TEST(version, "the API version is 12")
{
	CHECK_EQ(ioctl(dev_fd, KVM_GET_API_VERSION, 0), 12);
	CHECK_ERR(ioctl(dev_fd, KVM_GET_API_VERSION, 1), EINVAL);
	CHECK_ERR(ioctl(dev_fd, KVM_RUN, 0), EINVAL);
	CHECK_EQ(ioctl(dev_fd, KVM_CHECK_EXTENSION, 0x7fff), 0);
	CHECK(ioctl(dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) == 1);
}

TEST(create, "VMs and vCPUs come and go; bad arguments are refused")
{
	struct vm *vm = vm_new(0);

	CHECK_ERR(ioctl(dev_fd, KVM_CREATE_VM, 0x1000), EINVAL);
	vm_add_vcpu(vm);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 0), EEXIST);
	CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 0x7fffffff), EINVAL);
	CHECK_ERR(ioctl(vm->fd, KVM_GET_REGS, NULL), ENOTTY);
	vm_free(vm);
}

ASM16(real_hlt, "mov $0x1234, %ax; mov %ax, %bx; hlt");
TEST(hlt, "a guest in real mode halts")
{
	struct vm *vm = vm_new(0);
	struct kvm_regs regs;

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_REAL, real_hlt);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, 0x1234);
	CHECK_EQ(regs.rip, CODE + (real_hlt_end - real_hlt));
	vm_free(vm);
}

ASM16(real_io, "mov $0x55, %al; out %al, $0x42; in $0x43, %al; mov $0x3f8, %dx; out %al, %dx; out %eax, %dx; hlt");
TEST(io, "port I/O goes to user space and back")
{
	struct vm *vm = vm_new(0);
	struct kvm_run *run;

	vm_add_vcpu(vm);
	run = vm->run[0];
	VM_CODE(vm, 0, MODE_REAL, real_io);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.direction, KVM_EXIT_IO_OUT);
	CHECK_EQ(run->io.port, 0x42);
	CHECK_EQ(run->io.size, 1);
	CHECK_EQ(run->io.count, 1);
	CHECK_EQ(((uint8_t *)run)[run->io.data_offset], 0x55);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.direction, KVM_EXIT_IO_IN);
	((uint8_t *)run)[run->io.data_offset] = 0xaa;
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.port, 0x3f8);
	CHECK_EQ(((uint8_t *)run)[run->io.data_offset], 0xaa);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_IO);
	CHECK_EQ(run->io.size, 4);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_free(vm);
}

ASM64(long_simple, "mov $0x123456789abcdef0, %rax; mov %rax, %r15; mov %cr4, %rbx; hlt");
TEST(long_mode, "a guest in long mode, with paging")
{
	struct vm *vm = vm_new(0);
	struct kvm_regs regs;

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_64, long_simple);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.r15, 0x123456789abcdef0);
	CHECK_EQ(regs.rbx, 0x620);
	vm_free(vm);
}

ASM64(mmio, "mov $0xc0000000, %rbx; mov $0x11223344, %eax; mov %eax, (%rbx); mov 8(%rbx), %rcx; add %eax, 16(%rbx);"
	    "movzbl 1(%rbx), %edx; lock xadd %rax, (%rbx); hlt");
TEST(mmio, "memory-mapped I/O: mov, add, movzx, xadd")
{
	struct vm *vm = vm_new(0);
	struct kvm_regs regs;
	struct kvm_run *run;
	uint64_t value;

	vm_add_vcpu(vm);
	run = vm->run[0];
	VM_CODE(vm, 0, MODE_64, mmio);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, 0xc0000000);
	CHECK_EQ(run->mmio.is_write, 1);
	CHECK_EQ(run->mmio.len, 4);
	CHECK_EQ(*(uint32_t *)run->mmio.data, 0x11223344);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.is_write, 0);
	CHECK_EQ(run->mmio.len, 8);
	CHECK_EQ(run->mmio.phys_addr, 0xc0000008);
	value = 0xfeedfacecafebeef;
	memcpy(run->mmio.data, &value, 8);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.is_write, 0);
	value = 1;
	memcpy(run->mmio.data, &value, 8);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.is_write, 1);
	CHECK_EQ(*(uint32_t *)run->mmio.data, 0x11223345);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.len, 1);
	value = 0x77;
	memcpy(run->mmio.data, &value, 8);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.is_write, 0);
	value = 5;
	memcpy(run->mmio.data, &value, 8);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.is_write, 1);
	CHECK_EQ(*(uint64_t *)run->mmio.data, 0x11223349);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rcx, 0xfeedfacecafebeef);
	CHECK_EQ(regs.rdx, 0x77);
	CHECK_EQ(regs.rax, 5);
	vm_free(vm);
}

ASM16(triple, "lidt 0x7000; int3");
TEST(shutdown, "a triple fault is a shutdown")
{
	struct vm *vm = vm_new(0);

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_REAL, triple);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_SHUTDOWN);
	vm_free(vm);
}

TEST(immediate, "immediate_exit returns -EINTR")
{
	struct vm *vm = vm_new(0);

	vm_add_vcpu(vm);
	VM_CODE(vm, 0, MODE_REAL, real_hlt);
	vm->run[0]->immediate_exit = 1;
	CHECK_EQ(vm_run(vm, 0), -EINTR);
	vm->run[0]->immediate_exit = 0;
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_free(vm);
}

TEST(slots, "memory slots: bad ones are refused")
{
	struct vm *vm = vm_new(0);
	void *p = vm->mem;

	CHECK_ERR(vm_slot(vm, 1, 0x1000, 0x1000, p, 0), EEXIST);
	CHECK_ERR(vm_slot(vm, 1, 0x200001, 0x1000, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, 0x200000, 0x1001, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, 0x200000, 0x1000, p, 0x10), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, 0xfffffffffffff000, 0x2000, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 1, 0x200000, 0x1000, (void *)0x8000000000000000, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 0x20000, 0x200000, 0x1000, p, 0), EINVAL);
	CHECK_ERR(vm_slot(vm, 3, 0x200000, 0, p, 0), EINVAL);
	CHECK_EQ(vm_slot(vm, 1, 0x200000, 0x1000, p, 0), 0);
	CHECK_EQ(vm_slot(vm, 1, 0x300000, 0x1000, p, 0), 0);
	CHECK_EQ(vm_slot(vm, 1, 0x300000, 0, p, 0), 0);
	vm_free(vm);
}

ASM64(dirty, "movb $1, 0x180000; movb $1, 0x182000; mov 0x183000, %al; hlt; movb $1, 0x181000; hlt");
TEST(dirty_log, "the dirty log names pages written, once")
{
	struct vm *vm = vm_new(0);
	uint64_t bitmap[8];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };

	vm_add_vcpu(vm);
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, KVM_MEM_LOG_DIRTY_PAGES));
	VM_CODE(vm, 0, MODE_64, dirty);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	memset(bitmap, 0, sizeof(bitmap));
	REQUIRE(!ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log));
	CHECK(bitmap[0x180 / 64] & 1ull << (0x180 % 64));
	CHECK(!(bitmap[0x181 / 64] & 1ull << (0x181 % 64)));
	CHECK(bitmap[0x182 / 64] & 1ull << (0x182 % 64));
	CHECK(!(bitmap[0x183 / 64] & 1ull << (0x183 % 64)));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	REQUIRE(!ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log));
	CHECK_EQ(bitmap[0x180 / 64], 1ull << (0x181 % 64));
	log.slot = 7;
	CHECK_ERR(ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
	vm_free(vm);
}

ASM64(unmap_read, "mov 0x190000, %eax; hlt; mov 0x190000, %eax; hlt");
TEST(notifier, "guest memory that the process replaces is replaced in the guest")
{
	struct vm *vm = vm_new(0);
	struct kvm_regs regs;

	vm_add_vcpu(vm);
	*(uint32_t *)(vm->mem + 0x190000) = 0x1111;
	VM_CODE(vm, 0, MODE_64, unmap_read);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax, 0x1111);
	REQUIRE(mmap(vm->mem + 0x190000, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		     -1, 0) != MAP_FAILED);
	*(uint32_t *)(vm->mem + 0x190000) = 0x2222;
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax, 0x2222);
	vm_free(vm);
}

ASM64(rom, "mov 0x300000, %eax; mov %eax, 0x300010; hlt");
TEST(readonly, "a write to a read-only slot is MMIO")
{
	struct vm *vm = vm_new(0);
	struct kvm_regs regs;

	vm_add_vcpu(vm);
	*(uint32_t *)(vm->mem + 0x1f0000) = 0xabcd;
	REQUIRE(!vm_slot(vm, 1, 0x300000, 0x1000, vm->mem + 0x1f0000, KVM_MEM_READONLY));
	VM_CODE(vm, 0, MODE_64, rom);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK_EQ(vm->run[0]->mmio.phys_addr, 0x300010);
	CHECK_EQ(vm->run[0]->mmio.is_write, 1);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax, 0xabcd);
	CHECK_EQ(*(uint32_t *)(vm->mem + 0x1f0010), 0);
	vm_free(vm);
}

ASM64(sse, "movdqu 0x170000, %xmm3; mov $0xc0000000, %rbx; movdqu %xmm3, (%rbx); hlt");
TEST(mmio_sse, "a 16-byte store to a device comes as two writes")
{
	struct vm *vm = vm_new(0);

	vm_add_vcpu(vm);
	memcpy(vm->mem + 0x170000, "0123456789abcdef", 16);
	VM_CODE(vm, 0, MODE_64, sse);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK(!memcmp(vm->run[0]->mmio.data, "01234567", 8));
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_MMIO);
	CHECK(!memcmp(vm->run[0]->mmio.data, "89abcdef", 8));
	CHECK_EQ(vm->run[0]->mmio.phys_addr, 0xc0000008);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_free(vm);
}

ASM16(outs, "xor %ax, %ax; mov %ax, %ds; mov %ax, %es; mov $0x3000, %si; mov $5, %cx; mov $0x3f8, %dx; cld; rep outsb;"
	    "mov $0x4000, %di; mov $3, %cx; rep insb; hlt");
TEST(string_io, "rep outs and rep ins")
{
	struct vm *vm = vm_new(0);
	struct kvm_run *run;
	char got[16] = "";
	int len = 0;

	vm_add_vcpu(vm);
	run = vm->run[0];
	memcpy(vm->mem + 0x3000, "hello", 5);
	VM_CODE(vm, 0, MODE_REAL, outs);
	while (len < 5) {
		REQUIRE(vm_run(vm, 0) == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT);
		memcpy(got + len, (char *)run + run->io.data_offset, run->io.count);
		len += run->io.count;
	}
	CHECK(!strcmp(got, "hello"));
	for (len = 0; len < 3; len += run->io.count) {
		REQUIRE(vm_run(vm, 0) == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN);
		memcpy((char *)run + run->io.data_offset, "xyz" + len, run->io.count);
	}
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	CHECK(!memcmp(vm->mem + 0x4000, "xyz", 3));
	vm_free(vm);
}
