// SPDX-License-Identifier: GPL-2.0-only
/*
 * harness.c - see harness.h
 */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "harness.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* ---- tests ---- */

#define TEST_SECONDS 15		/* a test that takes longer hangs: none takes 3 s in the test bed */

jmp_buf test_end;
const char *test_skip;
int dev_fd = -1;

static bool test_failed;
static struct test *first, **last = &first;
static struct vm *vms[8];

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

bool is_kvm(void)
{
	const char *path = getenv("TENON_DEV");

	return path && strstr(path, "kvm");
}

int has_cap(int cap)
{
	return ioctl(dev_fd, KVM_CHECK_EXTENSION, cap);
}

bool has_xcrs(void)
{
	return has_cap(KVM_CAP_XCRS) > 0;
}

bool file_says(const char *file, const char *line, const char *word)
{
	char text[8192];
	bool found = false;
	FILE *f = fopen(file, "r");

	while (f && !found && fgets(text, sizeof(text), f))
		found = !strncmp(text, line, strlen(line)) && strstr(text, word);
	if (f)
		fclose(f);
	return found;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* ---- VMs ---- */

/*
 * With TENON_HUGE set, in one large page, which nested tables map as one at the first access: after that, no delivery of an
 * event is interrupted by a nested fault. See Documentation/testbed.rst, VT-x.
 */
static uint8_t *memory(void)
{
	const size_t size = getenv("TENON_HUGE") ? 2 * MEM_SIZE : MEM_SIZE;
	uint8_t *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *mem = all;

	REQUIRE(all != MAP_FAILED);
	if (size == MEM_SIZE)
		return mem;
	mem = (uint8_t *)(((uintptr_t)all + MEM_SIZE - 1) & ~(uintptr_t)(MEM_SIZE - 1));
	if (mem != all)
		REQUIRE(!munmap(all, mem - all));
	REQUIRE(!munmap(mem + MEM_SIZE, all + MEM_SIZE - mem));
	REQUIRE(!madvise(mem, MEM_SIZE, MADV_HUGEPAGE));
	return mem;
}

struct vm *vm_new(enum chips chips)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct vm *vm = calloc(1, sizeof(*vm));
	unsigned int n;

	REQUIRE(vm);
	for (n = 0; vms[n]; n++)
		REQUIRE(n < COUNT(vms) - 1);
	vm->fd = ioctl(dev_fd, KVM_CREATE_VM, 0);
	REQUIRE(vm->fd >= 0);
	vm->mem = memory();
	vms[n] = vm;
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, 0));
	REQUIRE(!ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000));
	if (chips == CHIPS_KERNEL)
		REQUIRE(!ioctl(vm->fd, KVM_CREATE_IRQCHIP));
	else if (chips == CHIPS_SPLIT)
		REQUIRE(!ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	vm->run_size = ioctl(dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	return vm;
}

void vm_free(struct vm *vm)
{
	unsigned int n;

	for (n = 0; n < COUNT(vms); n++) {
		if (vms[n] == vm)
			vms[n] = NULL;
	}
	while (vm->nvcpus--) {
		munmap(vm->run[vm->nvcpus], vm->run_size);
		close(vm->vcpu[vm->nvcpus]);
	}
	close(vm->fd);
	munmap(vm->mem, MEM_SIZE);
	free(vm);
}

/* All that is supported, and what KVM leaves to its user to add: the local APIC's TSC-deadline timer. */
static void vm_cpuid(struct vm *vm, int n)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(cpuid->entries[0]));
	unsigned int i;

	cpuid->nent = 256;
	REQUIRE(!ioctl(dev_fd, KVM_GET_SUPPORTED_CPUID, cpuid));
	for (i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx |= 1 << 24;
	}
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

struct vm *vm_machine(void)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct vm *vm = vm_new(CHIPS_KERNEL);

	REQUIRE(!ioctl(vm->fd, KVM_CREATE_PIT2, &config));
	vm_add_vcpu(vm);
	return vm;
}

int vm_slot(struct vm *vm, uint32_t id, uint64_t gpa, uint64_t size, void *hva, uint32_t flags)
{
	struct kvm_userspace_memory_region r = {
		.slot = id, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

void vm_regs(struct vm *vm, int n, struct kvm_regs *regs)
{
	REQUIRE(!ioctl(vm->vcpu[n], KVM_GET_REGS, regs));
}

void vm_set_regs(struct vm *vm, int n, const struct kvm_regs *regs)
{
	REQUIRE(!ioctl(vm->vcpu[n], KVM_SET_REGS, regs));
}

static int msr_io(struct vm *vm, int n, unsigned long cmd, struct kvm_msr_entry *entry)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} m = { .head.nmsrs = 1, .entry = *entry };
	int ret = ioctl(vm->vcpu[n], cmd, &m);

	*entry = m.entry;
	return ret;
}

int vm_rdmsr(struct vm *vm, int n, uint32_t msr, uint64_t *value)
{
	struct kvm_msr_entry entry = { .index = msr };
	int ret = msr_io(vm, n, KVM_GET_MSRS, &entry);

	*value = entry.data;
	return ret;
}

int vm_wrmsr(struct vm *vm, int n, uint32_t msr, uint64_t value)
{
	struct kvm_msr_entry entry = { .index = msr, .data = value };

	return msr_io(vm, n, KVM_SET_MSRS, &entry);
}

uint32_t vm_apic(struct vm *vm, int n, unsigned int reg)
{
	struct kvm_lapic_state s;
	uint32_t value;

	REQUIRE(!ioctl(vm->vcpu[n], KVM_GET_LAPIC, &s));
	memcpy(&value, s.regs + reg, sizeof(value));
	return value;
}

int vm_irq_line(struct vm *vm, uint32_t gsi, int level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	return ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

/* ---- what a guest starts with ---- */

/* PUSH imm8 and JMP rel32 for each vector; the byte that is pushed is said. */
ASM64(handler, "push %rax; push %rcx; push %rdx; mov 24(%rsp), %al; cmpb $5, 0x9ff8; jne 8f;"
	       "btrl $0, 0x9ff0; jc 7f; out %al, $0x80; jmp 1f; 7: out %al, $0x80; jmp 9f;"
	       "8: out %al, $0x80; mov 0x9ff8, %al; cmp $1, %al; je 1f; cmp $2, %al; je 2f; cmp $3, %al; je 3f;"
	       "cmp $4, %al; je 4f; jmp 9f;"
	       "1: mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr; jmp 9f;"
	       "2: mov $0xfee000b0, %ecx; movl $0, (%rcx); jmp 9f;"
	       "4: mov $0x20, %al; out %al, $0xa0; 3: mov $0x20, %al; out %al, $0x20;"
	       "9: pop %rdx; pop %rcx; pop %rax; add $8, %rsp; iretq");

#define STUB 8
#define HANDLER (HANDLERS + 256 * STUB)

/* An interrupt gate, in the lowest 64 KiB. */
static void put_gate(struct vm *vm, unsigned int vector, uint16_t rip)
{
	uint64_t *gate = (uint64_t *)(vm->mem + IDT + vector * 16);

	gate[0] = rip | 8 << 16 | 0x8eull << 40;
	gate[1] = 0;
}

static void put_idt(struct vm *vm)
{
	unsigned int v;

	memcpy(vm->mem + HANDLER, handler, handler_end - handler);
	for (v = 0; v < 256; v++) {
		const uint32_t stub = HANDLERS + v * STUB, jump = HANDLER - (stub + 7);

		vm->mem[stub] = 0x6a;
		vm->mem[stub + 1] = v;
		vm->mem[stub + 2] = 0xe9;
		memcpy(vm->mem + stub + 3, &jump, sizeof(jump));
		put_gate(vm, v, stub);
	}
}

static void put_page_tables(struct vm *vm)
{
	unsigned int i;

	*(uint64_t *)(vm->mem + PML4) = PDPT | 7;
	for (i = 0; i < 4; i++)
		((uint64_t *)(vm->mem + PDPT))[i] = (PD + i * 0x1000) | 7;
	for (i = 0; i < 2048; i++)
		((uint64_t *)(vm->mem + PD))[i] = ((uint64_t)i << 21) | 0x87;
}

static void segment(struct kvm_segment *s, uint16_t selector, uint8_t type, int l, int db)
{
	*s = (struct kvm_segment) {
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .s = 1, .l = l, .db = db, .g = 1,
	};
}

/* Hypercalls are written as VMMCALL, and have another code on a processor with VT-x. */
static void put_code(uint8_t *to, const void *code, size_t len)
{
	static const uint8_t vmmcall[] = { 0x0f, 0x01, 0xd9 }, vmcall[] = { 0x0f, 0x01, 0xc1 };
	uint8_t *at = to;

	memcpy(to, code, len);
	while (__builtin_cpu_is("intel") && (at = memmem(at, to + len - at, vmmcall, sizeof(vmmcall))))
		memcpy(at, vmcall, sizeof(vmcall));
}

void vm_code(struct vm *vm, int n, enum mode mode, const void *code, size_t len)
{
	struct kvm_regs regs = { .rip = CODE_OF(n), .rsp = STACK_OF(n), .rflags = 2, .rsi = SCRIPT_OF(n) };
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct kvm_sregs s;

	put_code(vm->mem + CODE_OF(n), code, len);
	REQUIRE(!ioctl(vm->vcpu[n], KVM_GET_SREGS, &s));
	if (mode == MODE_REAL) {
		s.cs.selector = 0;
		s.cs.base = 0;
	} else {
		segment(&s.cs, 8, 11, mode == MODE_64, mode == MODE_32);
		segment(&s.ds, 16, 3, 0, 1);
		s.es = s.fs = s.gs = s.ss = s.ds;
		((uint64_t *)(vm->mem + GDT))[1] = mode == MODE_64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
		((uint64_t *)(vm->mem + GDT))[2] = 0x00cf93000000ffff;
		s.gdt.base = GDT;
		s.gdt.limit = 0x17;
		s.cr0 |= 1;
	}
	if (mode == MODE_64) {
		put_page_tables(vm);
		put_idt(vm);
		s.idt.base = IDT;
		s.idt.limit = 0xfff;
		s.cr3 = PML4;
		s.cr4 |= 0x20 | 0x600;
		s.cr0 |= 0x80000000;
		s.efer |= 0x500;
	}
	REQUIRE(!ioctl(vm->vcpu[n], KVM_SET_SREGS, &s));
	vm_set_regs(vm, n, &regs);
	REQUIRE(!ioctl(vm->vcpu[n], KVM_SET_MP_STATE, &runnable));
}

struct vm *vm_guest(enum chips chips, enum mode mode, const void *code, size_t len)
{
	struct vm *vm = vm_new(chips);

	vm_add_vcpu(vm);
	vm_code(vm, 0, mode, code, len);
	return vm;
}

void vm_vector(struct vm *vm, unsigned int vector, const void *code, size_t len)
{
	memcpy(vm->mem + OWN_HANDLER, code, len);
	put_gate(vm, vector, OWN_HANDLER);
}

void vm_real_vector(struct vm *vm, unsigned int vector, const void *code, size_t len)
{
	uint16_t *ivt = (uint16_t *)vm->mem;

	ivt[vector * 2] = HANDLERS;
	ivt[vector * 2 + 1] = 0;
	memcpy(vm->mem + HANDLERS, code, len);
}

ASM64(script, "1: mov (%rsi), %edi; mov 4(%rsi), %ecx; mov 8(%rsi), %rbx; mov %ecx, %edx; mov %ebx, %eax;"
	      "dec %edi; js 9f; jz 2f; dec %edi; jz 3f; dec %edi; jz 4f; dec %edi; jz 5f; dec %edi; jz 6f;"
	      "dec %edi; jz 7f; dec %edi; jz 8f; dec %edi; jz 10f; dec %edi; jz 11f; dec %edi; jz 12f;"
	      "sti; nop; jmp 20f;"
	      "2: mov 12(%rsi), %edx; wrmsr; jmp 20f;"
	      "3: rdmsr; mov %eax, 8(%rsi); mov %edx, 12(%rsi); jmp 20f;"
	      "4: mov %eax, (%rcx); jmp 20f;"
	      "5: mov (%rcx), %eax; mov %rax, 8(%rsi); jmp 20f;"
	      "6: out %al, %dx; jmp 20f;"
	      "7: xor %eax, %eax; in %dx, %al; mov %rax, 8(%rsi); jmp 20f;"
	      "8: out %al, $0x80; jmp 20f;"
	      "10: mov %rbx, %cr8; jmp 20f;"
	      "11: mov %cr8, %rbx; mov %rbx, 8(%rsi); jmp 20f;"
	      "12: mov %ecx, %eax; vmmcall; mov %rax, 8(%rsi);"
	      "20: add $16, %rsi; jmp 1b;"
	      "9:" SAY(1) IDLE);

void vm_script(struct vm *vm, int n, const struct step *steps)
{
	unsigned int count = 0;

	while (steps[count].op != OP_END)
		count++;
	REQUIRE((count + 1) * sizeof(*steps) <= SCRIPT_OF(1) - SCRIPT_OF(0));
	VM_CODE(vm, n, MODE_64, script);
	memcpy(vm->mem + SCRIPT_OF(n), steps, (count + 1) * sizeof(*steps));
}

struct step *vm_step(struct vm *vm, int n, unsigned int step)
{
	return (struct step *)(vm->mem + SCRIPT_OF(n)) + step;
}

/* ---- running ---- */

int vm_run(struct vm *vm, int n)
{
	int ret = ioctl(vm->vcpu[n], KVM_RUN, 0);

	return ret < 0 ? -errno : (int)vm->run[n]->exit_reason;
}

int vm_said(struct vm *vm, int n)
{
	struct kvm_run *run = vm->run[n];
	int r = vm_run(vm, n);

	if (r == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT && run->io.port == 0x80)
		return ((uint8_t *)run)[run->io.data_offset];
	printf("#   vCPU %d left with exit %d instead of a byte for port 0x80\n", n, r);
	return -1;
}

bool vm_says(struct vm *vm, int n, uint8_t value)
{
	int said = vm_said(vm, n);

	if (said >= 0 && said != value)
		printf("#   vCPU %d said %#x, expected %#x\n", n, said, value);
	return said == value;
}

void vm_settle(struct vm *vm, int n)
{
	vm->run[n]->immediate_exit = 1;
	CHECK_EQ(vm_run(vm, n), -EINTR);
	vm->run[n]->immediate_exit = 0;
}

static struct kvm_run *volatile kicked;

/* Before KVM_RUN or in it, the vCPU comes out. */
static void on_kick(int sig)
{
	(void)sig;
	kicked->immediate_exit = 1;
}

int vm_run_for(struct vm *vm, int n, unsigned int ms)
{
	struct itimerspec when = { .it_value = { ms / 1000, ms % 1000 * 1000000l } };
	/* For this thread: one of the others would not come out of KVM_RUN. */
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2, .sigev_notify_thread_id = gettid(),
	};
	struct sigaction action = { .sa_handler = on_kick };
	timer_t timer;
	int r;

	kicked = vm->run[n];
	REQUIRE(!sigaction(SIGUSR2, &action, NULL));
	REQUIRE(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	REQUIRE(!timer_settime(timer, 0, &when, NULL));
	r = vm_run(vm, n);
	timer_delete(timer);
	kicked->immediate_exit = 0;
	return r;
}

static bool run_for(struct vm *vm, int n, unsigned int ms)
{
	struct kvm_run *run = vm->run[n];
	int r = vm_run_for(vm, n, ms);

	if (r == KVM_EXIT_IO)
		printf("#   vCPU %d said %#x, expected nothing\n", n, ((uint8_t *)run)[run->io.data_offset]);
	else if (r != -EINTR)
		printf("#   vCPU %d left with exit %d, expected nothing\n", n, r);
	return r == -EINTR;
}

bool vm_spins(struct vm *vm, int n, unsigned int ms)
{
	return run_for(vm, n, ms);
}

bool vm_quiet(struct vm *vm, int n, unsigned int ms)
{
	struct kvm_mp_state mp;
	unsigned int tries;

	/* On a busy host it may not have come to anything in that time. */
	for (tries = 0; tries < 100; tries++) {
		if (!run_for(vm, n, tries ? 10 : ms))
			return false;
		REQUIRE(!ioctl(vm->vcpu[n], KVM_GET_MP_STATE, &mp));
		if (mp.mp_state == KVM_MP_STATE_HALTED)
			return true;
	}
	printf("#   vCPU %d does not halt\n", n);
	return false;
}

static struct {
	struct vm *vm;
	int n;
	int result;
	pthread_t id;
} threads[MAX_VCPUS];

static void *run_thread(void *arg)
{
	const int n = (intptr_t)arg;

	/* The first INIT ends the wait of a processor that has never run. */
	do {
		threads[n].result = vm_run(threads[n].vm, n);
	} while (threads[n].result == -EAGAIN);
	return NULL;
}

void vm_start(struct vm *vm, int n)
{
	threads[n].vm = vm;
	REQUIRE(!pthread_create(&threads[n].id, NULL, run_thread, (void *)(intptr_t)n));
}

int vm_join(struct vm *vm, int n)
{
	struct kvm_run *run = vm->run[n];

	pthread_join(threads[n].id, NULL);
	if (threads[n].result != KVM_EXIT_IO || run->io.port != 0x80) {
		printf("#   vCPU %d left with exit %d instead of a byte for port 0x80\n", n, threads[n].result);
		return -1;
	}
	return ((uint8_t *)run)[run->io.data_offset];
}

#define COUNTER	(DATA + 0x100)
#define STOP	(DATA + 0x108)

/* Bochs lets no interrupt of the host end a guest that keeps its own off: those that spin let them in. */
ASM64(counts, "sti; 1: incq 0x9100; cmpb $0, 0x9108; je 1b;" SAY(1) IDLE);

struct vm *vm_counts(void)
{
	return GUEST(CHIPS_KERNEL, MODE_64, counts);
}

uint64_t vm_counter(struct vm *vm)
{
	return __atomic_load_n((uint64_t *)(vm->mem + COUNTER), __ATOMIC_RELAXED);
}

unsigned int test_slow(void)
{
	const char *times = getenv("TENON_SLOW");

	return times ? atoi(times) : 1;
}

bool vm_goes_on(struct vm *vm)
{
	const uint64_t before = vm_counter(vm);
	unsigned int n;

	for (n = 0; n < 2000 * test_slow() && vm_counter(vm) == before; n++)
		usleep(1000);
	return vm_counter(vm) != before;
}

void vm_stop(struct vm *vm)
{
	__atomic_store_n(vm->mem + STOP, 1, __ATOMIC_RELAXED);
}

void *vm_thread(void *vm)
{
	return (void *)(intptr_t)vm_run(vm, 0);
}

bool vm_works(struct vm *vm)
{
	REQUIRE(!vm_slot(vm, 0, 0, MEM_SIZE, vm->mem, 0));
	vm_script(vm, 0, STEPS());
	return vm_says(vm, 0, DONE);
}

/* ---- main ---- */

static void on_alarm(int sig)
{
	static const char text[] = "Bail out! the test that comes next hangs\n";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1))
		_exit(1);
}

static void run_test(struct test *t)
{
	unsigned int n;

	test_failed = false;
	test_skip = NULL;
	alarm(TEST_SECONDS * test_slow());
	if (!setjmp(test_end))
		t->fn();
	for (n = 0; n < COUNT(vms); n++) {
		if (vms[n])
			vm_free(vms[n]);
	}
}

#define KSFT_SKIP 4 /* as the kernel's own tests exit */

static int list_caps(void)
{
	const struct test *t;
	const int *cap;

	for (t = first; t; t = t->next) {
		for (cap = t->caps; *cap >= 0; cap++)
			printf("%d\n", *cap);
	}
	return 0;
}

static int list_offered(void)
{
	int cap;

	for (cap = 0; cap < 512; cap++) {
		if (has_cap(cap) > 0)
			printf("%d %d\n", cap, has_cap(cap));
	}
	return 0;
}

/*
 * [TITLE], for one test alone; --caps, for the numbers of the capabilities that the tests exercise; or --offered, for
 * those of the node, with their values.
 */
int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : NULL, *path = getenv("TENON_DEV");
	int n = 0, bad = 0;
	struct test *t;

	if (only && !strcmp(only, "--caps"))
		return list_caps();

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, on_alarm);
	if (!path)
		path = "/dev/tenon";
	dev_fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev_fd < 0) {
		/* Where the node is to be there, its absence is a failure. */
		if (errno == ENOENT && !getenv("TENON_DEV")) {
			printf("1..0 # SKIP %s is not there: load the module\n", path);
			return KSFT_SKIP;
		}
		printf("Bail out! %s does not open: %s\n", path, strerror(errno));
		return 1;
	}
	if (only && !strcmp(only, "--offered"))
		return list_offered();
	/* KVM patches the scheduler at its first VM and after its last: in the test bed, the fewer the better. */
	if (is_kvm())
		ioctl(dev_fd, KVM_CREATE_VM, 0);
	for (t = first; t; t = t->next)
		n += !only || !strcmp(only, t->name);
	printf("TAP version 13\n1..%d\n", n);
	n = 0;
	for (t = first; t; t = t->next) {
		if (only && strcmp(only, t->name))
			continue;
		run_test(t);
		printf("%sok %d - %s%s%s\n", test_failed ? "not " : "", ++n, t->name, test_skip ? " # SKIP " : "",
		       test_skip ? test_skip : "");
		bad += test_failed;
	}
	return bad != 0;
}
