/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * core-common.h - a machine of several vCPUs on real threads, for tests of what the software CPU's core promises
 *
 * Guests are written in assembly between GUEST() and GUEST_END in the test itself and copied to CODE as one image, so
 * distances between labels hold. They run in 64-bit mode at CPL 0 with all memory mapped one to one:
 *
 *	0x1000 tables, the first 4 MiB by 4 KiB pages whose entries a guest finds at PT + page * 8
 *	0x7000 IDT: IPI_VECTOR at the guest's label "ipi", #UD at "undefined" if the test has them
 *	0x20000 stacks, CODE, DATA
 *
 * The embedder is as small as can be: OUT to PORT_EXIT ends a vCPU's run, OUT of n to PORT_IPI sends IPI_VECTOR to
 * vCPU n, which HLT waits for, OUT of anything to PORT_SYNC calls the test.
 */
#ifndef TENON_TEST_CORE_COMMON_H
#define TENON_TEST_CORE_COMMON_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../../emul/guest/x86/cpu.h"
#include "../../../emul/include/tenon/emul-x86.h"
#include "tap.h"

#define RAM_SIZE	(16u << 20)
#define PT		0x4000u
#define GDT		0x6000u
#define IDT		0x7000u
#define STACKS		0x20000u
#define CODE		0x100000u
#define DATA		0x200000u
#define MAX_VCPUS	4
#define PORT_EXIT	0x11
#define PORT_IPI	0x12
#define PORT_SYNC	0x13
#define IPI_VECTOR	0x40

#define GUEST(text)	asm(".pushsection .rodata\n.globl guest_start\n.balign 4096\nguest_start:\n" text \
			    "\nguest_end:\n.popsection\n");
#define STR_(x)		#x
#define STR(x)		STR_(x)
#define EXIT		"out %al, $" STR(PORT_EXIT) "\n1: hlt\njmp 1b\n"
extern const u8 guest_start[], guest_end[];
/* A label of the guest, as an address there. */
#define AT(label)	((u64)(CODE + ((label) - guest_start)))

struct test_vcpu {
	struct emul_vcpu *emul;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int ipis;		/* sent and not yet taken */
	bool wake, done;
	const char *failed;
};

static u8 *ram;
static struct emul_vm *vm;
static struct test_vcpu cpus[MAX_VCPUS];
static void (*on_sync)(unsigned int id, u8 val);

/* --- the embedder --- */

static inline void test_wake(struct test_vcpu *t)
{
	pthread_mutex_lock(&t->lock);
	t->wake = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

static void test_ipi(unsigned int id)
{
	struct test_vcpu *t = &cpus[id];

	pthread_mutex_lock(&t->lock);
	t->ipis++;
	emul_intr(t->emul);
	t->wake = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->lock);
}

static void op_access(void *o, struct emul_vcpu *v, enum emul_space space, u64 addr, void *data, unsigned int len,
		      bool write)
{
	struct test_vcpu *t = emul_vcpu_opaque(v);
	u8 val;

	(void)o;
	if (!write) {
		memset(data, 0xff, len);
		return;
	}
	memcpy(&val, data, 1);
	if (space != EMUL_PIO)
		return;
	if (addr == PORT_EXIT) {
		__atomic_store_n(&t->done, true, __ATOMIC_RELAXED);
		emul_kick(v);
	} else if (addr == PORT_IPI) {
		test_ipi(val % MAX_VCPUS);
	} else if (addr == PORT_SYNC && on_sync) {
		on_sync(emul_vcpu_id(v), val);
	}
}

static int op_ack(void *o, struct emul_vcpu *v)
{
	struct test_vcpu *t = emul_vcpu_opaque(v);
	int vec = -1;

	(void)o;
	pthread_mutex_lock(&t->lock);
	if (t->ipis) {
		t->ipis--;
		vec = IPI_VECTOR;
	}
	pthread_mutex_unlock(&t->lock);
	return vec;
}

static bool op_pending(void *o, struct emul_vcpu *v)
{
	(void)o, (void)v;
	return false;
}

static u8 op_tpr(void *o, struct emul_vcpu *v)
{
	(void)o, (void)v;
	return 0;
}

static void op_set_tpr(void *o, struct emul_vcpu *v, u8 tpr)
{
	(void)o, (void)v, (void)tpr;
}

static bool op_rdmsr(void *o, struct emul_vcpu *v, u32 msr, u64 *val)
{
	(void)o, (void)v, (void)msr;
	*val = 0;
	return false;
}

static bool op_wrmsr(void *o, struct emul_vcpu *v, u32 msr, u64 val)
{
	(void)o, (void)v, (void)msr, (void)val;
	return false;
}

static u64 op_tsc(void *o, struct emul_vcpu *v)
{
	struct timespec ts;

	(void)o, (void)v;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

/* Not const: tests put in what they watch. */
static struct emul_ops test_ops = {
	.access = op_access, .intr_ack = op_ack, .intr_pending = op_pending, .tpr_get = op_tpr, .tpr_set = op_set_tpr,
	.msr_read = op_rdmsr, .msr_write = op_wrmsr, .tsc = op_tsc,
};

/* --- the machine --- */

static inline u64 peek(u64 addr, unsigned int size)
{
	u64 v = 0;

	memcpy(&v, ram + addr, size);
	return v;
}
static inline void poke(u64 addr, unsigned int size, u64 v)
{
	memcpy(ram + addr, &v, size);
}

static inline void machine_gate(unsigned int vec, u64 to)
{
	poke(IDT + vec * 16, 8, (to & 0xffff) | 8 << 16 | 0x8e00ULL << 32 | (to >> 16 & 0xffff) << 48);
	poke(IDT + vec * 16 + 8, 8, to >> 32);
}

/* Tables and the guest's image. It is a device that writes them: what was decoded before is gone. */
static inline void machine_reset(void)
{
	u64 len = RAM_SIZE;

	memset(emul_dma_map(vm, 0, &len, true), 0, RAM_SIZE);
	emul_dma_unmap(vm, 0, RAM_SIZE, true);
	poke(0x1000, 8, 0x2007);
	poke(0x2000, 8, 0x3007);
	for (unsigned int i = 0; i < RAM_SIZE >> 21; i++)
		poke(0x3000 + i * 8, 8, i < 2 ? PT + i * 0x1000 + 7 : (u64)i << 21 | 0x87);
	for (unsigned int i = 0; i < 1024; i++)
		poke(PT + i * 8, 8, (u64)i << 12 | 7);
	poke(GDT + 8, 8, 0x00af9b000000ffff);
	poke(GDT + 16, 8, 0x00cf93000000ffff);
	memcpy(ram + CODE, guest_start, (size_t)(guest_end - guest_start));
}

/* Seconds of processor time of all threads. */
static inline long cpu_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec;
}

#define HUNG	100	/* seconds; five times that if it gets less than half a processor, on a busy host */
static long machine_since;
static unsigned int machine_alarms;

/* A hang is a failure, not a wait for ever. */
static void machine_hung(int sig)
{
	static const char text[] = "Bail out! a guest hangs\n";

	(void)sig;
	if (cpu_seconds() - machine_since < HUNG / 2 && ++machine_alarms < 5) {
		alarm(HUNG);
		return;
	}
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(98);
	_exit(99);
}

/* Set before machine_init(): how the engines are to be run. */
static struct emul_config test_config = { .max_vcpus = MAX_VCPUS, .tsc_hz = 1000000000 };

static inline void machine_init(unsigned int vcpus)
{
	char err[200] = "";

	signal(SIGALRM, machine_hung);
	machine_since = cpu_seconds();
	machine_alarms = 0;
	alarm(HUNG);
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	vm = emul_vm_create(&test_config, &test_ops, NULL, err, sizeof(err));
	if (ram == MAP_FAILED || !vm || emul_mem_add(vm, 0, RAM_SIZE, ram, 0)) {
		printf("Bail out! no VM: %s\n", err);
		exit(EXIT_FAILURE);
	}
	/* For who reads a race detector's report: guests may race in here. */
	diag("guest memory is %#lx to %#lx", (unsigned long)ram, (unsigned long)ram + RAM_SIZE);
	for (unsigned int i = 0; i < vcpus; i++) {
		struct test_vcpu *t = &cpus[i];

		*t = (struct test_vcpu){ 0 };
		pthread_mutex_init(&t->lock, NULL);
		pthread_cond_init(&t->cond, NULL);
		t->emul = emul_vcpu_create(vm, i, t);
		if (!t->emul)
			exit(EXIT_FAILURE);
	}
	machine_reset();
}

static inline void machine_exit(void)
{
	emul_vm_destroy(vm);
	munmap(ram, RAM_SIZE);
}

/* vCPU @id at @rip with its number in RDI, @arg in RSI and a stack. */
static inline void vcpu_at(unsigned int id, u64 rip, u64 arg)
{
	struct test_vcpu *t = &cpus[id];
	struct x86_state *s;

	emul_vcpu_reset(t->emul, false);
	s = emul_x86_state(t->emul);
	s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP;
	s->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR;
	s->cr3 = 0x1000;
	s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = (struct x86_segreg){ .sel = 0x10, .attr = 0xc093, .limit = 0xffffffff };
	s->seg[X86_CS] = (struct x86_segreg){ .sel = 8, .attr = 0xa09b, .limit = 0xffffffff };
	s->gdtr = (struct x86_dtr){ GDT, 23 };
	s->idtr = (struct x86_dtr){ IDT, 0xfff };
	s->gpr[X86_RSP] = STACKS + (id + 1) * 0x4000;
	s->gpr[X86_RDI] = id;
	s->gpr[X86_RSI] = arg;
	s->rip = rip;
	emul_x86_changed(t->emul);
	t->done = false;
	t->failed = NULL;
	t->ipis = 0;
}

static void *vcpu_thread(void *arg)
{
	struct test_vcpu *t = arg;
	struct emul_exit exit;

	while (!t->done) {
		pthread_mutex_lock(&t->lock);
		t->wake = false;
		pthread_mutex_unlock(&t->lock);
		emul_run(t->emul, &exit);
		if (exit.reason == EMUL_EXIT_HALT) {
			pthread_mutex_lock(&t->lock);
			while (!t->wake)
				pthread_cond_wait(&t->cond, &t->lock);
			pthread_mutex_unlock(&t->lock);
		} else if (exit.reason != EMUL_EXIT_KICK) {
			t->failed = exit.msg ? exit.msg : "unexpected exit";
			__atomic_store_n(&t->done, true, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static inline void vcpus_start(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		if (pthread_create(&cpus[i].thread, NULL, vcpu_thread, &cpus[i]))
			exit(EXIT_FAILURE);
}

/* True if all came to PORT_EXIT. */
static inline bool vcpus_join(unsigned int nr)
{
	bool good = true;

	for (unsigned int i = 0; i < nr; i++) {
		pthread_join(cpus[i].thread, NULL);
		if (cpus[i].failed) {
			diag("vCPU %u: %s", i, cpus[i].failed);
			good = false;
		}
	}
	return good;
}

static inline u64 gpr(unsigned int id, unsigned int reg)
{
	return emul_x86_state(cpus[id].emul)->gpr[reg];
}

/* All of @nr vCPUs from @rip to PORT_EXIT. */
static inline bool run_vcpus(unsigned int nr, u64 rip, u64 arg)
{
	for (unsigned int i = 0; i < nr; i++)
		vcpu_at(i, rip, arg);
	vcpus_start(nr);
	return vcpus_join(nr);
}

/* One vCPU from @rip to PORT_EXIT; what it leaves in RAX. */
static inline u64 run1(u64 rip, u64 arg)
{
	return run_vcpus(1, rip, arg) ? gpr(0, X86_RAX) : ~0ULL;
}

#endif /* TENON_TEST_CORE_COMMON_H */
