/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * harness.h - TAP for the tests of the module, and VMs to run a few instructions in
 *
 * A test is a function registered by TEST(); it fails by CHECK(), which goes on, or by REQUIRE(), which ends it. What
 * it has created by vm_new() goes away with it. The node is $TENON_DEV, /dev/tenon unless set: /dev/kvm gives the same
 * tests an oracle.
 *
 * Guests talk by a byte written to port 0x80, which no chip takes: CHECK(vm_says(vm, 0, 1)) runs a vCPU and wants it to
 * leave with that byte. Code is inline assembly, ASM64(name, "...") and ASM16(name, "..."), put in place by VM_CODE().
 * Most guests that program hardware need no code of their own: they are a list of steps, see vm_script().
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

/* ---- tests ---- */

struct test {
	const char *name;
	void (*fn)(void);
	const int *caps;
	struct test *next;
};

extern jmp_buf test_end;
extern const char *test_skip;

void test_register(struct test *test);
void test_fail(const char *file, int line, const char *what, long value);

/* After the title: the capabilities that it exercises. */
#define TEST(id, title, ...)								\
	static void test_##id(void);							\
	static const int test_caps_##id[] = { __VA_OPT__(__VA_ARGS__,) -1 };		\
	static struct test test_struct_##id = { title, test_##id, test_caps_##id, NULL };	\
	static void __attribute__((constructor)) test_add_##id(void)			\
	{										\
		test_register(&test_struct_##id);					\
	}										\
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
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- VMs ---- */

#define MAX_VCPUS	4

/* Guest memory: 2 MiB at 0, of which this is taken. Tests have what is above FREE, and DATA. */
#define MEM_SIZE	0x200000
#define CODE		0x1000		/* of vCPU 0; that of the others follows */
#define CODE_OF(n)	(CODE + (n) * 0x800)
#define HANDLERS	0x3000
#define STACK_OF(n)	(0x6000 + (n) * 0x1000)
#define DATA		0x9000
#define START		0xa000		/* where a start-up IPI with vector 0xa leads */
#define OWN_HANDLER	0xb000		/* of vm_vector() */
#define GDT		0xd000
#define IDT		0xe000
#define PML4		0x10000
#define PDPT		0x11000
#define PD		0x12000		/* four pages */
#define FREE		0x20000
#define HOLE		0xc0000000	/* no memory */

enum chips { CHIPS_NONE, CHIPS_KERNEL, CHIPS_SPLIT };
enum mode { MODE_REAL, MODE_32, MODE_64 };

struct vm {
	int fd;
	uint8_t *mem;
	size_t run_size;
	int nvcpus;
	int vcpu[MAX_VCPUS];
	struct kvm_run *run[MAX_VCPUS];
};

extern int dev_fd;

bool is_kvm(void);
int has_cap(int cap);
/* XCR0: not on a processor without XSAVE, where the ioctls are EINVAL. */
bool has_xcrs(void);
/* Does a line of the file that begins with @line have this in it? */
bool file_says(const char *file, const char *line, const char *word);
uint64_t now_ns(void);

struct vm *vm_new(enum chips chips);
/* With all that there is in the kernel: chips, PIT, and one vCPU. */
struct vm *vm_machine(void);
void vm_free(struct vm *vm);
int vm_add_vcpu(struct vm *vm);
int vm_slot(struct vm *vm, uint32_t id, uint64_t gpa, uint64_t size, void *hva, uint32_t flags);
void vm_regs(struct vm *vm, int n, struct kvm_regs *regs);
void vm_set_regs(struct vm *vm, int n, const struct kvm_regs *regs);
int vm_rdmsr(struct vm *vm, int n, uint32_t msr, uint64_t *value);
int vm_wrmsr(struct vm *vm, int n, uint32_t msr, uint64_t value);
/* A register of the local APIC, by its offset in the xAPIC's page. */
uint32_t vm_apic(struct vm *vm, int n, unsigned int reg);

/*
 * Put code in place and the vCPU at its start. In 64-bit mode 4 GiB are mapped as they are, by pages of 2 MiB, and
 * every interrupt vector has a handler: see below.
 */
void vm_code(struct vm *vm, int n, enum mode mode, const void *code, size_t len);
/* A VM with one vCPU at the start of code. */
struct vm *vm_guest(enum chips chips, enum mode mode, const void *code, size_t len);
/* Lead an interrupt to code, in real mode and in 64-bit mode. */
void vm_real_vector(struct vm *vm, unsigned int vector, const void *code, size_t len);
void vm_vector(struct vm *vm, unsigned int vector, const void *code, size_t len);

/* Code as inline assembly: ASM64(name, "instructions") defines name and name_end. */
#define ASM(mode, name, text)							\
	extern const uint8_t name[], name##_end[];				\
	asm(".pushsection .rodata\n" mode "\n" #name ":\n" text "\n" #name "_end:\n.code64\n.popsection")
#define ASM16(name, text) ASM(".code16", name, text)
#define ASM32(name, text) ASM(".code32", name, text)
#define ASM64(name, text) ASM(".code64", name, text)
#define BYTES(name) name, name##_end - name
#define VM_CODE(vm, n, mode, name) vm_code(vm, n, mode, BYTES(name))
#define GUEST(chips, mode, name) vm_guest(chips, mode, BYTES(name))
#define VM_VECTOR(vm, vector, name) vm_vector(vm, vector, BYTES(name))
#define VM_REAL_VECTOR(vm, vector, name) vm_real_vector(vm, vector, BYTES(name))

/* A table of instructions: INSN(flags, "text") adds one, and FOR_EACH_INSN() goes through them. HLT follows each. */
struct insn {
	const uint8_t *code;
	size_t len;
	const char *text;
	uint64_t flags;
};

#define INSN(flags, text) INSN_(flags, text)
#define INSN_(flags, text)								\
	asm(".pushsection insns, \"aw\"; .quad 771f, 772f - 771f, 773f, " #flags "; .popsection;"	\
	    ".pushsection .rodata; 771:" text "; 772: hlt; 773: .asciz \"" text "\"; .popsection")
extern const struct insn __start_insns[], __stop_insns[];
#define FOR_EACH_INSN(insn) for ((insn) = __start_insns; (insn) < __stop_insns; (insn)++)

#define SAY(value) "mov $" #value ", %al; out %al, $0x80;"
#define IDLE "sti; 99: hlt; jmp 99b;"

/* How many times longer everything takes where the tests run: $TENON_SLOW, set by who runs them; 1. */
unsigned int test_slow(void);

/* KVM_RUN: the exit reason, or -errno. */
int vm_run(struct vm *vm, int n);
/* Run: the byte that the guest says, or -1 when it leaves otherwise. */
int vm_said(struct vm *vm, int n);
bool vm_says(struct vm *vm, int n, uint8_t value);
/* The same, or -EINTR after so many milliseconds. */
int vm_run_for(struct vm *vm, int n, unsigned int ms);
/* Does it run for so many milliseconds without leaving? One that halts has halted then; it needs chips. */
bool vm_spins(struct vm *vm, int n, unsigned int ms);
bool vm_quiet(struct vm *vm, int n, unsigned int ms);
/* KVM_RUN with immediate_exit: completes the last exit, and goes no further. */
void vm_settle(struct vm *vm, int n);
/* Run in a thread of its own, until it leaves. */
void vm_start(struct vm *vm, int n);
int vm_join(struct vm *vm, int n);

/*
 * A guest that counts at DATA + 0x100 until it is told to stop, by the byte at DATA + 0x108, and then says DONE. So may
 * others; those that test what the kernel does to a guest while it runs need one.
 */
struct vm *vm_counts(void);
uint64_t vm_counter(struct vm *vm);
bool vm_goes_on(struct vm *vm);
void vm_stop(struct vm *vm);
/* For pthread_create(): vm_run() of the first vCPU. */
void *vm_thread(void *vm);
/* Does a guest still run in this VM, on its first vCPU, from the beginning? */
bool vm_works(struct vm *vm);

/*
 * The handler of every vector of a 64-bit guest says the number of the vector, and then ends the interrupt in the way
 * that the byte at EOI asks for. So a test sees an interrupt in service before it ends.
 */
#define EOI		(DATA + 0xff8)
#define PV_EOI		(DATA + 0xff0)	/* the bit for EOI_MEMORY, which is EOI_X2APIC if it is not set */
enum eoi { EOI_NONE, EOI_X2APIC, EOI_XAPIC, EOI_PIC, EOI_PIC_SLAVE, EOI_MEMORY };

/*
 * A guest that carries out steps, says DONE, and then waits for interrupts. What a step has read is in @value after
 * it; vm_step() finds it.
 */
#define DONE 1
enum op {
	OP_END, OP_WRMSR, OP_RDMSR, OP_STORE, OP_LOAD, OP_OUT, OP_IN, OP_SAY, OP_SET_CR8, OP_GET_CR8, OP_CALL, OP_STI,
};
struct step {
	uint32_t op;
	uint32_t where;		/* MSR, address, port, or number of the hypercall */
	uint64_t value;
};

#define SCRIPT_OF(n)	(DATA + (n) * 0x300)
#define STEPS(...)	((const struct step[]){ __VA_OPT__(__VA_ARGS__,) { OP_END, 0, 0 } })
#define WRMSR(msr, value)	{ OP_WRMSR, msr, value }
#define RDMSR(msr)		{ OP_RDMSR, msr, 0 }
#define STORE(at, value)	{ OP_STORE, at, value }		/* 32 bits */
#define LOAD(at)		{ OP_LOAD, at, 0 }
#define OUT(port, value)	{ OP_OUT, port, value }		/* a byte */
#define IN(port)		{ OP_IN, port, 0 }
#define SET_CR8(value)		{ OP_SET_CR8, 0, value }
#define GET_CR8()		{ OP_GET_CR8, 0, 0 }
#define SAYS(value)		{ OP_SAY, 0, value }
#define CALL(nr, rbx)		{ OP_CALL, nr, rbx }		/* VMMCALL */
#define STI()			{ OP_STI, 0, 0 }

void vm_script(struct vm *vm, int n, const struct step *steps);
struct step *vm_step(struct vm *vm, int n, unsigned int step);

/* Steps that many need. A local APIC is on from here; interrupts end in its own way. */
#define X2APIC(msr)		(0x800 + (msr) / 16)
#define X2APIC_ON		WRMSR(0x1b, 0xfee00c00), WRMSR(X2APIC(0xf0), 0x1ff)
#define X2APIC_EOI		WRMSR(X2APIC(0xb0), 0)	/* in place of a handler that was left before its own */
#define XAPIC			0xfee00000
#define XAPIC_ON		STORE(XAPIC + 0xf0, 0x1ff)
#define IOAPIC			0xfec00000
#define IOAPIC_SET(reg, value)	STORE(IOAPIC, reg), STORE(IOAPIC + 0x10, value)
#define IOAPIC_PIN(pin, low, dest)						\
	IOAPIC_SET(0x11 + 2 * (pin), (dest) << 24), IOAPIC_SET(0x10 + 2 * (pin), low)
/* Both PICs, vectors from 0x20 and 0x28 on, with their masks. */
#define PIC_ON(icw4, imr, imr_slave)						\
	OUT(0x20, 0x11), OUT(0x21, 0x20), OUT(0x21, 4), OUT(0x21, icw4),	\
	OUT(0xa0, 0x11), OUT(0xa1, 0x28), OUT(0xa1, 2), OUT(0xa1, icw4),	\
	OUT(0x21, imr), OUT(0xa1, imr_slave)

int vm_irq_line(struct vm *vm, uint32_t gsi, int level);

#endif
