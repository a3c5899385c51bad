/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * harness.h - TAP for the tests of the module, and a VM to run a few instructions in
 *
 * A test is a function registered by TEST(); it fails by CHECK(), which goes on, or by REQUIRE(), which ends it. The
 * node is $TENON_DEV, /dev/tenon unless set: /dev/kvm gives the same tests an oracle.
 */
#ifndef TENON_HARNESS_H
#define TENON_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*fn)(void);
	struct test *next;
};

extern jmp_buf test_end;
extern bool test_failed;
extern const char *test_skip;

void test_register(struct test *test);
void test_fail(const char *file, int line, const char *what, long value);

#define TEST(id, title)								\
	static void test_##id(void);						\
	static struct test test_struct_##id = { title, test_##id, NULL };	\
	static void __attribute__((constructor)) test_add_##id(void)		\
	{									\
		test_register(&test_struct_##id);				\
	}									\
	static void test_##id(void)

#define CHECK(cond) do { if (!(cond)) test_fail(__FILE__, __LINE__, #cond, errno); } while (0)
#define REQUIRE(cond) do {							\
	if (!(cond)) {								\
		test_fail(__FILE__, __LINE__, #cond, errno);			\
		longjmp(test_end, 1);						\
	}									\
} while (0)
#define CHECK_EQ(a, b) do {							\
	long long a_ = (long long)(a), b_ = (long long)(b);			\
	if (a_ != b_) {								\
		printf("#   %s is %#llx, expected %#llx\n", #a, a_, b_);	\
		test_fail(__FILE__, __LINE__, #a " == " #b, errno);		\
	}									\
} while (0)
#define CHECK_ERR(call, err) do {						\
	long r_ = (call);							\
	int e_ = errno;								\
	if (r_ != -1 || e_ != (err)) {						\
		printf("#   %s: returned %ld, errno %d (%s), expected %s\n",	\
		       #call, r_, e_, strerror(e_), #err);			\
		test_fail(__FILE__, __LINE__, #call, e_);			\
	}									\
} while (0)
#define SKIP(why) do { test_skip = (why); longjmp(test_end, 1); } while (0)

#define MEM_SIZE	0x200000
#define CODE		0x1000
#define STACK		0x8000
#define MAX_VCPUS	4

enum mode { MODE_REAL, MODE_32, MODE_64 };

struct vm {
	int dev;
	int fd;
	uint8_t *mem;
	size_t run_size;
	int nvcpus;
	int vcpu[MAX_VCPUS];
	struct kvm_run *run[MAX_VCPUS];
};

extern int dev_fd;

int dev_open(void);
/* A VM with 2 MiB at 0; @irqchip: 0 none, 1 in the kernel, 2 split. */
struct vm *vm_new(int irqchip);
void vm_free(struct vm *vm);
int vm_add_vcpu(struct vm *vm);
void vm_cpuid(struct vm *vm, int n);
/* Put code at CODE and the vCPU at its start, in a mode. 64-bit: identity-mapped 4 GiB by 2 MiB pages. */
void vm_code(struct vm *vm, int n, enum mode mode, const void *code, size_t len);
int vm_slot(struct vm *vm, uint32_t id, uint64_t gpa, uint64_t size, void *hva, uint32_t flags);
int vm_run(struct vm *vm, int n);
void vm_regs(struct vm *vm, int n, struct kvm_regs *regs);
void vm_set_regs(struct vm *vm, int n, const struct kvm_regs *regs);

/* Code as inline assembly: ASM(name, "instructions") defines name and name_end. */
#define ASM(mode, name, text)							\
	extern const uint8_t name[], name##_end[];				\
	asm(".pushsection .rodata\n" mode "\n" #name ":\n" text "\n" #name "_end:\n.code64\n.popsection")
#define ASM16(name, text) ASM(".code16", name, text)
#define ASM32(name, text) ASM(".code32", name, text)
#define ASM64(name, text) ASM(".code64", name, text)
#define VM_CODE(vm, n, mode, name) vm_code(vm, n, mode, name, name##_end - name)

#endif
