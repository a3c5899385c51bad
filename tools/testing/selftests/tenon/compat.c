// SPDX-License-Identifier: GPL-2.0-only
/*
 * compat.c - a 32-bit caller on a 64-bit kernel
 *
 * Built with -m32 and without a C library, of which there need be none of 32 bits: system calls by INT 80H, and TAP. What
 * is looked at is what differs: pointers of four bytes in fields of eight, the signal mask, mappings.
 */
#include <asm/unistd_32.h>
#include <linux/fcntl.h>
#include <linux/kvm.h>
#include <linux/mman.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE	0x1000u
#define GARBAGE	0xdeadbeefull

static long sys(int nr, long a, long b, long c, long d, long e)
{
	long ret;

	/* The sixth argument, an offset of a mapping, is 0: EBP is not to be had by constraints. */
	asm volatile("push %%ebp; xor %%ebp, %%ebp; int $0x80; pop %%ebp"
		     : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
	return ret;
}

static long ioctl(int fd, unsigned long cmd, long arg)
{
	return sys(__NR_ioctl, fd, cmd, arg, 0, 0);
}

static void *map(long len, int flags, int fd)
{
	return (void *)sys(__NR_mmap2, 0, len, PROT_READ | PROT_WRITE, flags, fd);
}

static void say(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	sys(__NR_write, 1, (long)text, n, 0, 0);
}

static void exit(int status)
{
	sys(__NR_exit, status, 0, 0, 0, 0);
	__builtin_unreachable();
}

static int tests, failed;

static void check(bool good, const char *what)
{
	char number[] = " 0 - ";

	number[1] += ++tests;
	failed |= !good;
	say(good ? "ok" : "not ok");
	say(number);
	say(what);
	say("\n");
}

/* Real mode at 0: writes to a page, says 77H, halts. */
static const uint8_t code[] = { 0xc6, 0x06, 0x00, 0x20, 0x55, 0xb0, 0x77, 0xe6, 0x80, 0xf4 };

static int run(const char *path)
{
	struct kvm_userspace_memory_region mem = { .memory_size = 16 * PAGE, .flags = KVM_MEM_LOG_DIRTY_PAGES };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 1 } };
	struct {
		struct kvm_signal_mask head;
		uint8_t set[8];
	} mask = { .head.len = 8 };
	struct kvm_regs regs = { .rflags = 2, .rsp = 0x1000, .r15 = 0x123456789abcdef0 }, back = { 0 };
	uint32_t bitmap[2] = { 0 };
	union {
		struct kvm_dirty_log get;
		struct kvm_clear_dirty_log clear;
		uint64_t half[3];
	} log = { 0 };
	int dev = sys(__NR_open, (long)path, O_RDWR, 0, 0, 0), vm, vcpu;
	struct kvm_sregs sregs;
	struct kvm_run *kvm_run;
	uint8_t *memory;
	long size, n;

	if (dev < 0) {
		say("Bail out! the node does not open\n");
		return 1;
	}
	say("TAP version 13\n1..6\n");
	vm = ioctl(dev, KVM_CREATE_VM, 0);
	memory = map(16 * PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	mem.userspace_addr = (unsigned long)memory;
	size = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	kvm_run = map(size, MAP_SHARED, vcpu);
	check(ioctl(dev, KVM_GET_API_VERSION, 0) == KVM_API_VERSION && vm >= 0 && vcpu >= 0 &&
	      (unsigned long)kvm_run < -4096ul && !ioctl(vm, KVM_ENABLE_CAP, (long)&cap) &&
	      !ioctl(vm, KVM_SET_USER_MEMORY_REGION, (long)&mem), "a VM, memory, a vCPU and its mapping");
	if (failed)
		return 1;

	for (n = 0; n < (long)sizeof(code); n++)
		memory[n] = code[n];
	n = ioctl(vcpu, KVM_GET_SREGS, (long)&sregs);
	sregs.cs.base = sregs.cs.selector = 0;
	n |= ioctl(vcpu, KVM_SET_SREGS, (long)&sregs) | ioctl(vcpu, KVM_SET_REGS, (long)&regs) |
	     ioctl(vcpu, KVM_GET_REGS, (long)&back);
	check(!n && back.r15 == regs.r15, "64-bit registers go in and come back");
	n = ioctl(vcpu, KVM_SET_SIGNAL_MASK, (long)&mask);
	mask.head.len = 4;
	check(!n && ioctl(vcpu, KVM_SET_SIGNAL_MASK, (long)&mask) < 0, "a signal mask has eight bytes");
	check(!ioctl(vcpu, KVM_RUN, 0) && kvm_run->exit_reason == KVM_EXIT_IO && kvm_run->io.port == 0x80 &&
	      *((uint8_t *)kvm_run + kvm_run->io.data_offset) == 0x77 && memory[0x2000] == 0x55, "the guest runs");

	/* Only the lower half of the field is the caller's: the upper has whatever was on its stack. */
	log.half[1] = GARBAGE << 32 | (unsigned long)bitmap;
	/* KVM names pages that were only read as well. */
	check(!ioctl(vm, KVM_GET_DIRTY_LOG, (long)&log) && bitmap[0] >> 2 & 1 && !(bitmap[0] >> 16),
	      "the dirty log, by a pointer of four bytes");
	log.clear = (struct kvm_clear_dirty_log){ .num_pages = 16 };
	log.half[2] = GARBAGE << 32 | (unsigned long)bitmap;
	n = ioctl(vm, KVM_CLEAR_DIRTY_LOG, (long)&log);
	log.half[0] = 0;
	log.half[1] = GARBAGE << 32 | (unsigned long)bitmap;
	check(!n && !ioctl(vm, KVM_GET_DIRTY_LOG, (long)&log) && bitmap[0] == 0, "and KVM_CLEAR_DIRTY_LOG by another");
	return failed;
}

/* Called by _start with the stack as the kernel leaves it: arguments, and then the environment. */
__attribute__((used)) static void begin(const long *stack)
{
	static const char name[] = "TENON_DEV=";
	const char *path = "/dev/tenon";
	char *const *env = (char *const *)(stack + stack[0] + 2);
	unsigned int n;

	for (; *env; env++) {
		for (n = 0; name[n] && (*env)[n] == name[n]; n++)
			;
		if (!name[n])
			path = *env + n;
	}
	exit(run(path));
}

asm(".globl _start; _start: mov %esp, %eax; and $-16, %esp; sub $12, %esp; push %eax; call begin");
