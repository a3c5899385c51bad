// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuzz.c - random callers and random guests
 *
 *	fuzz calls|guests|storms|all [--seed N] [--seconds N] [--threads N] [--round N] [--verbose]
 *
 * Rounds of some seconds, each a process of its own, of which some are killed: threads make calls that look valid on VMs,
 * vCPUs and mappings that they share (calls); guests of random code, on random page tables and in random states (guests);
 * guests that send themselves and each other interrupts as fast as they can, by IPI and by every timer (storms). What
 * comes of a call does not matter. A round that dies by itself or does not come to an end is a failure, and so is a host
 * that answers late; the kernel's log is for the caller to look at.
 *
 * What a thread does follows from the seed, the round and the thread's number alone; which thread comes first does not.
 * The seed is printed: with it and --round, the same round comes again, with --verbose call by call.
 */
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "harness.h"

#define PAGE	0x1000ul
#define ARENA	(4ul << 20)	/* guest memory of all VMs of a round */
#define ROUND_MS 2500
#define MAX_THREADS 8

static uint64_t seed;
static unsigned int round_nr, nthreads = 4, slow = 1;
static bool verbose;
/*
 * On the emulated processor of QEMU (TCG, 7.2), a guest that leaves with EFER.LME set while CR0.PG and CR4.PAE are clear
 * takes the host along: cpu_x86_update_cr0(), called for the host's CR0 before its CR4 is back, finds paging switched on for
 * long mode without PAE and returns, and the host goes on with the guest's CR0, in physical memory. kvm_amd does no better
 * there. In each round, a guest then either has no long mode or does not change EFER and CR0.
 */
static bool emulated, no_long, keep_long;
static int node, noise;		/* the device; ARENA bytes to fill memory with */
static uint8_t *arena;
static size_t run_size;

/* Shared by all threads of a round: files and mappings come and go under each other. */
static _Atomic int vms[3], vcpus[6], events[4];
static void *_Atomic runs[6];
static _Atomic unsigned long calls, entries;
static _Atomic bool stop;

static __thread uint64_t rnd_state;

static uint64_t rnd(void)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t n)
{
	return (rnd() >> 11) % n;
}

static bool one_in(unsigned int n)
{
	return !below(n);
}

#define PICK(array) ((array)[below(COUNT(array))])

/* Small, round, at an edge, or anything. */
static uint64_t value(void)
{
	const uint64_t r = rnd();

	switch (below(6)) {
	case 0:
		return r % 16;
	case 1:
		return 1ull << r % 64;
	case 2:
		return (1ull << r % 64) - 1;
	case 3:
		return r % ARENA & -PAGE;
	case 4:
		return r % ARENA;
	default:
		return r;
	}
}

static uint64_t thread_seed(unsigned int thread)
{
	uint64_t x = seed + 0x9e3779b97f4a7c15 * (round_nr * MAX_THREADS + thread + 1);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31 ?: 1;
}

static int call_(const char *name, int fd, unsigned long cmd, unsigned long arg)
{
	int ret;

	calls++;
	if (verbose)
		printf("# %d: %s on %d, %#lx\n", gettid(), name, fd, arg);
	ret = ioctl(fd, cmd, arg);
	if (verbose)
		printf("# %d: = %d, %s\n", gettid(), ret, ret < 0 ? strerror(errno) : "");
	return ret;
}
#define call(fd, cmd, arg) call_(#cmd, fd, cmd, (unsigned long)(arg))

/* ---- what memory holds ---- */

/* Instructions that leave the guest, change its mode, or look at what is not there. */
#define INSNS	/* ENTERS: what keep_long leaves out */				\
	I("in $0x40, %al") I("out %al, $0x43") I("out %al, $0x40") I("in %dx, %eax") I("out %eax, %dx") I("out %al, $0x20")	\
	I("rep insb") I("rep outsl") I("cpuid") I("hlt") I("sti") I("cli") I("vmmcall") I("rdmsr") I("wrmsr") I("rdtsc") I("pause")	\
	I("mov %eax, (%ebx)") I("mov (%ebx), %eax") I("lock xadd %eax, (%ebx)") I("addl $1, 0x80(%ebx)") I("movl %eax, 0x300(%ebx)")	\
	I("movl $0xfee00000, %ebx") I("movl $0xfec00000, %ebx") I("movl $0x800, %ecx") I("incl %ecx") I("movl $0x6e0, %ecx")	\
	I("mov $0x4b564d01, %ecx") ENTERS("mov $0xc0000080, %ecx") I("add $0x10, %ebx") I("movups %xmm0, (%ebx)") I("rep movsl")	\
	I("rep stosb") I("cmpxchg8b (%ebx)") I("xsetbv") I("wbinvd") I("invlpg (%ebx)") I("clts") I("mov %cr0, %rax")	\
	ENTERS("mov %rax, %cr0") I("mov %rax, %cr3") I("mov %cr4, %rax") I("mov %rax, %cr4") I("mov %rax, %cr8")	\
	I("mov %rax, %dr7") I("mov %dr6, %rax") I("lidt (%ebx)") I("lgdt (%ebx)") I("ltr %ax") I("mov %eax, %ss")	\
	I("mov %eax, %fs") I("int3") I("int $0x80") I("ud2")	\
	I("iretq") I("lretq") I("syscall") I("sysretl") I("vmrun") I("clgi") I("monitor") I("mwait") I("rsm") I("xchg %eax, %ebx")	\
	I("bt %eax, (%ebx)") I("push %rax") I("pop %rbx") I("jmp .") I(".byte 0xf1") I("popf") I("pushf") I("rdpmc") I("swapgs")
#define I(text) INSN(0, text);
#define ENTERS(text) INSN(1, text);
INSNS
#undef I

static void put_code(uint8_t *page)
{
	size_t at = 0;

	while (at < PAGE - 16) {
		const struct insn *insn = &__start_insns[below(__stop_insns - __start_insns)];

		if (keep_long && insn->flags)
			continue;
		memcpy(page + at, insn->code, insn->len);
		at += insn->len;
		if (one_in(24))
			page[at++] = rnd();
	}
}

static void put_table(uint8_t *page)
{
	uint64_t *entry = (uint64_t *)page;
	unsigned int n;

	for (n = 0; n < 512; n++) {
		entry[n] = below(ARENA / PAGE) * PAGE | 7;
		if (one_in(4))
			entry[n] ^= 1ull << below(13);
		if (one_in(16))
			entry[n] = (n << 21) | 0x87;
		if (one_in(64))
			entry[n] = rnd();
	}
}

/* The same for all threads of a round: pages of code, of tables, of noise, and of nothing. */
static void make_noise(void)
{
	uint8_t *map = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, noise, 0);
	size_t at, k;

	for (at = 0; at < ARENA; at += PAGE) {
		switch (below(4)) {
		case 0:
			put_code(map + at);
			break;
		case 1:
			put_table(map + at);
			break;
		case 2:
			for (k = 0; k < PAGE; k += 8)
				memcpy(map + at + k, &(uint64_t){ rnd() }, 8);
			break;
		default:
			memset(map + at, 0, PAGE);
			break;
		}
	}
	munmap(map, ARENA);
}

/* By a system call: memory that another thread has just taken away is an error then, and no fault. */
static void fill(void *where, size_t len)
{
	if (pread(noise, where, len, below(ARENA / PAGE) * PAGE) < 0)
		return;
}

/* ---- calls ---- */

/* Something of what there is, with some bits changed. */
static void mutate(void *arg, size_t size)
{
	uint8_t *b = arg;
	uint64_t n = below(6), v;

	while (n--) {
		const size_t at = below(size);

		v = value();
		if (one_in(2))
			b[at] ^= 1u << v % 8;
		else
			memcpy(b + at / 8 * 8, &v, at / 8 * 8 + 8 <= size ? 8 : 1);
	}
}

static void set_slot(int vm)
{
	struct kvm_userspace_memory_region r = {
		.slot = below(6), .flags = PICK(((const uint32_t[]){ 0, 0, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY })),
		.guest_phys_addr = below(ARENA / PAGE) * PAGE, .memory_size = below(ARENA / PAGE) * PAGE,
		.userspace_addr = (uintptr_t)arena + below(64) * PAGE,
	};

	switch (below(6)) {
	case 0:
		r.memory_size = 0;
		break;
	case 1:
		r.guest_phys_addr = value() & -PAGE;
		break;
	case 2 ... 4:
		/* What most guests have. */
		r.slot = 0;
		r.guest_phys_addr = 0;
		r.memory_size = ARENA;
		r.userspace_addr = (uintptr_t)arena;
		break;
	}
	call(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

static void set_routes(int vm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[24];
	} r = { .head.nr = below(24) };
	unsigned int n;

	for (n = 0; n < r.head.nr; n++) {
		r.e[n].gsi = one_in(2) ? n : below(32);
		r.e[n].type = one_in(2) ? KVM_IRQ_ROUTING_MSI : KVM_IRQ_ROUTING_IRQCHIP;
		if (r.e[n].type == KVM_IRQ_ROUTING_MSI)
			r.e[n].u.msi = (struct kvm_irq_routing_msi){ .address_lo = 0xfee00000 | (rnd() & 0xff00c), .data = rnd() & 0xc7ff };
		else
			r.e[n].u.irqchip = (struct kvm_irq_routing_irqchip){ .irqchip = below(3), .pin = below(8) };
	}
	call(vm, KVM_SET_GSI_ROUTING, &r);
}

static void set_events(int vm)
{
	struct kvm_irqfd irq = { .fd = PICK(events), .gsi = below(26), .flags = below(4), .resamplefd = PICK(events) };
	struct kvm_ioeventfd io = {
		.fd = PICK(events), .addr = PICK(((const uint64_t[]){ HOLE, HOLE + 8, 0x70, 0xfee00000 })), .len = 1 << below(4),
		.flags = below(8), .datamatch = below(4),
	};
	struct kvm_coalesced_mmio_zone zone = { .addr = HOLE + below(4) * 8, .size = below(64), .pio = below(2) };

	switch (below(4)) {
	case 0:
		call(vm, KVM_IRQFD, &irq);
		break;
	case 1:
		call(vm, KVM_IOEVENTFD, &io);
		break;
	case 2:
		call(vm, KVM_REGISTER_COALESCED_MMIO, &zone);
		break;
	case 3:
		call(vm, KVM_UNREGISTER_COALESCED_MMIO, &zone);
		break;
	}
}

static void vm_call(int vm, uint8_t *buf)
{
	struct kvm_irq_level line = { .irq = below(26), .level = below(2) };
	struct kvm_dirty_log log = { .slot = below(6), .dirty_bitmap = buf };
	struct kvm_clear_dirty_log clear = { .slot = below(6), .first_page = below(8) * 64, .num_pages = below(20) * 64,
					     .dirty_bitmap = buf };
	struct kvm_msi msi = { .address_lo = 0xfee00000 | (rnd() & 0xff00c), .address_hi = one_in(8) ? rnd() : 0,
			       .data = rnd() & 0xc7ff };
	struct kvm_enable_cap cap = {
		.cap = PICK(((const uint32_t[]){ KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_X2APIC_API, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
						 KVM_CAP_MAX_VCPU_ID })),
		.args = { one_in(2) ? 24 : below(5) },
	};

	switch (below(24)) {
	case 0 ... 2:
		set_slot(vm);
		break;
	case 3:
		call(vm, KVM_CREATE_IRQCHIP, 0);
		break;
	case 4:
		memset(buf, 0, 64);
		buf[0] = below(2);
		call(vm, KVM_CREATE_PIT2, buf);
		break;
	case 5 ... 6:
		call(vm, KVM_GET_DIRTY_LOG, &log);
		break;
	case 7:
		call(vm, KVM_CLEAR_DIRTY_LOG, &clear);
		break;
	case 8 ... 10:
		call(vm, KVM_IRQ_LINE_STATUS, &line);
		break;
	case 11 ... 12:
		call(vm, KVM_SIGNAL_MSI, &msi);
		break;
	case 13:
		set_routes(vm);
		break;
	case 14 ... 16:
		set_events(vm);
		break;
	case 17:
		call(vm, KVM_ENABLE_CAP, &cap);
		break;
	case 18 ... 19:
		*(uint32_t *)buf = below(4);
		call(vm, KVM_GET_IRQCHIP, buf);
		mutate(buf + 8, sizeof(struct kvm_irqchip) - 8);
		call(vm, KVM_SET_IRQCHIP, buf);
		break;
	case 20 ... 21:
		call(vm, KVM_GET_PIT2, buf);
		mutate(buf, sizeof(struct kvm_pit_state2));
		call(vm, KVM_SET_PIT2, buf);
		*(uint64_t *)buf = below(2);
		call(vm, KVM_REINJECT_CONTROL, buf);
		break;
	case 22:
		call(vm, KVM_GET_CLOCK, buf);
		mutate(buf, sizeof(struct kvm_clock_data));
		call(vm, KVM_SET_CLOCK, buf);
		break;
	case 23:
		call(vm, KVM_CHECK_EXTENSION, value());
		call(vm, KVM_SET_BOOT_CPU_ID, below(4));
		call(vm, KVM_SET_TSS_ADDR, value());
		break;
	}
}

static void set_sregs(int vcpu, struct kvm_sregs *s)
{
	if (keep_long && !(s->cr0 & 0x80000000))
		s->efer &= ~0x100ull;
	call(vcpu, KVM_SET_SREGS, s);
}

/* Real, 32-bit or 64-bit mode, somewhere in memory; or what there is, changed. */
static void set_state(int vcpu, uint8_t *buf)
{
	struct kvm_sregs *s = (void *)buf;
	struct kvm_regs r = { .rip = below(ARENA), .rsp = below(ARENA), .rflags = 2 | (rnd() & 0x40dd5) };
	struct kvm_mp_state runnable = { one_in(8) ? below(5) : KVM_MP_STATE_RUNNABLE };
	uint64_t mode = below(4);
	__u64 *reg;

	mode -= no_long && mode == 2;
	for (reg = &r.rax; reg <= &r.rdi; reg++)
		*reg = value();
	call(vcpu, KVM_GET_SREGS, s);
	if (mode < 3) {
		s->cs = (struct kvm_segment){
			.limit = mode ? 0xffffffff : 0xffff, .selector = mode ? 8 : 0, .type = 11, .present = 1, .s = 1,
			.l = mode == 2, .db = mode == 1, .g = !!mode,
		};
		s->ds = s->es = s->ss = s->cs;
		s->ds.type = s->es.type = s->ss.type = 3;
		s->ds.l = s->es.l = s->ss.l = 0;
		s->cr0 = mode ? 0x31 : 0x30;
		s->cr4 = mode == 2 ? 0x620 : 0x600;
		s->efer = mode == 2 ? 0xd00 : 0;
		s->cr3 = below(ARENA / PAGE) * PAGE;
		s->idt.base = s->gdt.base = below(ARENA / PAGE) * PAGE;
		if (mode == 2)
			s->cr0 |= 0x80000000;
		if (mode == 1 && one_in(2))
			s->cr0 |= 0x80000000;
		r.rip %= mode ? ARENA : 0x10000;
	}
	if (mode == 3 || one_in(8))
		mutate(s, sizeof(*s));
	set_sregs(vcpu, s);
	call(vcpu, KVM_SET_REGS, &r);
	call(vcpu, KVM_SET_MP_STATE, &runnable);
}

#define GET_SET(name, type) do {					\
	call(vcpu, KVM_GET_##name, buf);				\
	mutate(buf, sizeof(type));					\
	call(vcpu, KVM_SET_##name, buf);				\
} while (0)

static void set_msrs(int vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[4];
	} m = { .head.nmsrs = 1 + below(4) };
	static const uint32_t bases[] = { 0x10, 0x1b, 0x48, 0x200, 0x250, 0x277, 0x2ff, 0x400, 0x6e0, 0x800, 0x830, 0x838, 0x174,
					  0x1d9, 0xc0000080, 0xc0000100, 0xc0010000, 0xc001011f, 0x4b564d00, 0x11, 0x3b, 0x179 };
	unsigned int n;

	for (n = 0; n < m.head.nmsrs; n++) {
		m.e[n].index = one_in(16) ? rnd() : PICK(bases) + below(4);
		if (keep_long && m.e[n].index == 0xc0000080)
			m.e[n].index++;
		m.e[n].data = value();
	}
	call(vcpu, KVM_SET_MSRS, &m);
	call(vcpu, KVM_GET_MSRS, &m);
}

static void drop_long(struct kvm_cpuid2 *c)
{
	for (unsigned int n = 0; no_long && n < c->nent && n < 256; n++)
		c->entries[n].edx &= c->entries[n].function == 0x80000001 ? ~(1u << 29) : ~0u;
}

static void set_cpuid(int vcpu, uint8_t *buf)
{
	struct kvm_cpuid2 *c = (void *)buf;

	c->nent = 100;
	call(node, KVM_GET_SUPPORTED_CPUID, c);
	if (one_in(2))
		mutate(c, sizeof(*c) + 40 * sizeof(c->entries[0]));
	drop_long(c);
	call(vcpu, KVM_SET_CPUID2, c);
	call(vcpu, KVM_GET_CPUID2, c);
}

static void vcpu_call(int vcpu, uint8_t *buf)
{
	uint64_t *word = (void *)buf;

	switch (below(26)) {
	case 0 ... 2:
		set_state(vcpu, buf);
		break;
	case 3:
		GET_SET(REGS, struct kvm_regs);
		break;
	case 4:
		call(vcpu, KVM_GET_SREGS, buf);
		mutate(buf, sizeof(struct kvm_sregs));
		set_sregs(vcpu, (void *)buf);
		break;
	case 5 ... 6:
		GET_SET(VCPU_EVENTS, struct kvm_vcpu_events);
		break;
	case 7:
		GET_SET(DEBUGREGS, struct kvm_debugregs);
		break;
	case 8 ... 9:
		GET_SET(LAPIC, struct kvm_lapic_state);
		break;
	case 10:
		GET_SET(FPU, struct kvm_fpu);
		break;
	case 11:
		GET_SET(XSAVE, struct kvm_xsave);
		break;
	case 12:
		GET_SET(XCRS, struct kvm_xcrs);
		break;
	case 13:
		GET_SET(MP_STATE, struct kvm_mp_state);
		break;
	case 14 ... 16:
		set_msrs(vcpu);
		break;
	case 17:
		set_cpuid(vcpu, buf);
		break;
	case 18:
		memset(buf, 0, sizeof(struct kvm_guest_debug));
		*(uint32_t *)buf = rnd() & 0x1f0003;
		word[1 + below(8)] = value();
		call(vcpu, KVM_SET_GUEST_DEBUG, buf);
		break;
	case 19:
		*(uint32_t *)buf = below(300);
		call(vcpu, KVM_INTERRUPT, buf);
		break;
	case 20:
		call(vcpu, KVM_NMI, 0);
		break;
	case 21:
		word[0] = below(2);
		call(vcpu, KVM_TPR_ACCESS_REPORTING, buf);
		word[0] = value() & -4;
		call(vcpu, KVM_SET_VAPIC_ADDR, buf);
		break;
	case 22:
		word[0] = value();
		call(vcpu, KVM_X86_SETUP_MCE, buf);
		fill(buf, sizeof(struct kvm_x86_mce));
		call(vcpu, KVM_X86_SET_MCE, buf);
		break;
	case 23:
		call(vcpu, KVM_SET_TSC_KHZ, value());
		call(vcpu, KVM_KVMCLOCK_CTRL, 0);
		break;
	case 24:
		word[0] = value();
		call(vcpu, KVM_TRANSLATE, buf);
		break;
	case 25:
		/* All signals but the one that gets threads out of KVM_RUN. */
		*(uint32_t *)buf = 8;
		*(uint64_t *)(buf + 4) = rnd() & ~(1ull << (SIGUSR2 - 1));
		call(vcpu, KVM_SET_SIGNAL_MASK, one_in(2) ? NULL : buf);
		break;
	}
}

/* What the owner of the memory does to it, and the owner of the mapping of a vCPU. */
static void memory_call(void)
{
	const uint64_t first = below(ARENA / PAGE), pages = 1 + below(64);
	void *at = arena + first * PAGE, *run = PICK(runs);
	size_t n;
	const size_t len = (first + pages > ARENA / PAGE ? ARENA / PAGE - first : pages) * PAGE;

	calls++;
	if (verbose)
		printf("# %d: memory, %zu bytes at %p\n", gettid(), len, at);
	switch (below(10)) {
	case 0 ... 1:
		fill(at, len);
		break;
	case 2:
		madvise(at, len, PICK(((const int[]){ MADV_DONTNEED, MADV_PAGEOUT, MADV_MERGEABLE, MADV_HUGEPAGE, MADV_COLD, MADV_FREE })));
		break;
	case 3:
		mprotect(at, len, PICK(((const int[]){ PROT_NONE, PROT_READ })));
		break;
	case 4 ... 5:
		mprotect(arena, ARENA, PROT_READ | PROT_WRITE);
		break;
	case 6:
		mmap(at, len, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_ANONYMOUS | (one_in(2) ? MAP_PRIVATE : MAP_SHARED), -1, 0);
		break;
	case 7:
		munmap(at, len);
		break;
	case 8:
		n = below(run_size);
		fill(run ? (uint8_t *)run + n : NULL, below(64));
		break;
	case 9:
		fill(run, 32);
		break;
	}
}

/* Files come and go. */
static void file_call(void)
{
	const unsigned int n = below(COUNT(vms)), k = below(COUNT(vcpus)), e = below(COUNT(events));
	const uint64_t id = below(4), what = below(10);
	uint64_t one = 1;
	void *run = NULL;
	int fd;

	switch (what) {
	case 0:
		fd = call(node, KVM_CREATE_VM, 0);
		close(atomic_exchange(&vms[n], fd));
		/* Whether there is one or not: what follows is not to depend on it. */
		set_slot(fd);
		break;
	case 1 ... 4:
		fd = call(vms[n], KVM_CREATE_VCPU, id);
		close(atomic_exchange(&vcpus[k], fd));
		if (fd >= 0)
			run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		run = atomic_exchange(&runs[k], run == MAP_FAILED ? NULL : run);
		if (run)
			munmap(run, run_size);
		break;
	case 5:
		close(atomic_exchange(&events[e], eventfd(0, EFD_NONBLOCK)));
		break;
	case 6 ... 7:
		if (write(events[e], &one, 8) != 8)
			break;
		break;
	case 8:
		if (!fork()) {
			/* Another mm, and the files of this one; it goes at once. */
			ioctl(vcpus[k], KVM_RUN, 0);
			ioctl(vms[n], KVM_CREATE_VCPU, id);
			_exit(0);
		}
		break;
	case 9:
		close(atomic_exchange(&vcpus[k], dup(vcpus[below(COUNT(vcpus))])));
		break;
	}
}

static void on_kick(int sig)
{
	(void)sig;
}

/* This thread is out of KVM_RUN every 3 ms. */
static void kick_often(void)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2, ._sigev_un._tid = gettid(),
	};
	struct itimerspec when = { { 0, 3000000 }, { 0, 3000000 } };
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &when, NULL))
		_exit(3);
}

static void *caller(void *arg)
{
	uint8_t *buf = aligned_alloc(PAGE, 4 * PAGE);

	rnd_state = thread_seed((intptr_t)arg);
	memset(buf, 0, 4 * PAGE);
	kick_often();
	while (!stop) {
		const int vm = PICK(vms), vcpu = PICK(vcpus);

		switch (below(16)) {
		case 0 ... 3:
			vm_call(vm, buf);
			break;
		case 4 ... 8:
			vcpu_call(vcpu, buf);
			break;
		case 9 ... 12:
			entries += !call(vcpu, KVM_RUN, 0) || errno == EINTR;
			break;
		case 13 ... 14:
			memory_call();
			break;
		default:
			file_call();
			break;
		}
	}
	return NULL;
}

/* ---- guests ---- */

static int new_vm(unsigned int nvcpus)
{
	struct kvm_userspace_memory_region r = { .memory_size = ARENA, .userspace_addr = (uintptr_t)arena };
	struct kvm_pit_config pit = { 0 };
	uint8_t *buf = calloc(1, 4 * PAGE);
	unsigned int n;

	vms[0] = call(node, KVM_CREATE_VM, 0);
	if (vms[0] < 0 || call(vms[0], KVM_SET_USER_MEMORY_REGION, &r) || call(vms[0], KVM_CREATE_IRQCHIP, 0) ||
	    call(vms[0], KVM_CREATE_PIT2, &pit))
		return -1;
	for (n = 0; n < nvcpus; n++) {
		struct kvm_cpuid2 *c = (void *)buf;

		c->nent = 256;
		vcpus[n] = call(vms[0], KVM_CREATE_VCPU, n);
		runs[n] = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpus[n], 0);
		if (vcpus[n] < 0 || runs[n] == MAP_FAILED || call(node, KVM_GET_SUPPORTED_CPUID, c))
			return -1;
		/* The deadline timer is for user space to offer. */
		for (unsigned int k = 0; k < c->nent; k++)
			c->entries[k].ecx |= c->entries[k].function == 1 ? 1 << 24 : 0;
		drop_long(c);
		if (call(vcpus[n], KVM_SET_CPUID2, c))
			return -1;
	}
	free(buf);
	return 0;
}

/* A vCPU of its own, in one random state after another, until it leaves for good. */
static void *guest(void *arg)
{
	const unsigned int n = (intptr_t)arg;
	uint8_t *buf = aligned_alloc(PAGE, 4 * PAGE);
	const uint64_t begin = thread_seed(n);
	unsigned int runs_left, turn;

	memset(buf, 0, 4 * PAGE);
	kick_often();
	for (turn = 1; !stop; turn++) {
		/* However many numbers the last turn took. */
		rnd_state = begin ^ turn * 0xd1342543de82ef95ull;
		runs_left = 1 + below(40);
		fill(arena + below(ARENA / PAGE - 64) * PAGE, 64 * PAGE);
		set_state(vcpus[n], buf);
		if (one_in(4))
			set_msrs(vcpus[n]);
		if (one_in(4))
			vcpu_call(vcpus[n], buf);
		while (runs_left-- && !stop) {
			struct kvm_run *run = runs[n];

			if (call(vcpus[n], KVM_RUN, 0)) {
				if (errno != EINTR)
					break;
				continue;
			}
			entries++;
			if (run->exit_reason == KVM_EXIT_MMIO || run->exit_reason == KVM_EXIT_IO)
				fill((uint8_t *)run + PAGE, 64);
			else
				break;
		}
	}
	return NULL;
}

/* ---- storms: in real mode, with one handler for all vectors, which counts at 0x9000 ---- */

ASM16(storm_handler, "push %eax; push %ecx; push %edx; incl %cs:0x9000; mov $0x80b, %ecx; xor %eax, %eax; xor %edx, %edx;"
		     "testb $1, %cs:0x9004; jz 1f; wrmsr; 1: mov $0x20, %al; out %al, $0xa0; out %al, $0x20;"
		     "pop %edx; pop %ecx; pop %eax; iret");
#define WR(msr, value) "mov $" #msr ", %ecx; mov $" #value ", %eax; xor %edx, %edx; wrmsr;"
#define X2 "movb $1, 0x9004; mov $0x1b, %ecx; rdmsr; or $0xc00, %eax; wrmsr;" WR(0x80f, 0x1ff) "sti;"
#define PICS "mov $0x11, %al; out %al, $0x20; mov $0x20, %al; out %al, $0x21; mov $4, %al; out %al, $0x21; mov $1, %al;" \
	     "out %al, $0x21; xor %al, %al; out %al, $0x21; sti;"
ASM16(storm_self, X2 "1:" WR(0x83f, 0x41) "jmp 1b");
ASM16(storm_all, X2 "1:" WR(0x830, 0x84042) "jmp 1b");
ASM16(storm_nmi, X2 "1:" WR(0x830, 0xc4400) "jmp 1b");
ASM16(storm_init, X2 "1:" WR(0x830, 0xc4500) WR(0x830, 0xc4601) WR(0x83f, 0x41) "jmp 1b");
ASM16(storm_period, X2 WR(0x83e, 0xb) WR(0x832, 0x20045) WR(0x838, 1) "1: hlt; jmp 1b");
ASM16(storm_deadline, X2 WR(0x832, 0x40045) "1: rdtsc; mov $0x6e0, %ecx; wrmsr; hlt; jmp 1b");
ASM16(storm_pit, PICS "mov $0x34, %al; out %al, $0x43; mov $2, %al; out %al, $0x40; xor %al, %al; out %al, $0x40;"
		 "1: hlt; jmp 1b");
ASM16(storm_lines, PICS X2 "1: hlt; jmp 1b");

static const struct {
	const uint8_t *code, *end;
} storms[] = {
#define STORM(name) { storm_##name, storm_##name##_end }
	STORM(self), STORM(all), STORM(nmi), STORM(init), STORM(period), STORM(deadline), STORM(pit), STORM(lines),
};

#define STORM_HANDLER	0xf00
#define STORM_CODE(n)	(0x1000 + (n) * 0x400)
#define STORM_COUNT	((volatile uint32_t *)(arena + 0x9000))

static void put_storms(unsigned int nvcpus)
{
	struct kvm_irqchip ioapic = { .chip_id = KVM_IRQCHIP_IOAPIC };
	unsigned int n;

	memset(arena, 0, 0x10000);
	for (n = 0; n < 256; n++)
		((uint32_t *)arena)[n] = STORM_HANDLER;
	memcpy(arena + STORM_HANDLER, BYTES(storm_handler));
	/* The first is where start-up IPIs lead. */
	for (n = 0; n < nvcpus; n++) {
		const unsigned int kind = below(COUNT(storms));
		struct kvm_regs r = { .rip = STORM_CODE(n), .rsp = 0x7000 + n * 0x400, .rflags = 2 };
		struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
		struct kvm_sregs s;

		memcpy(arena + STORM_CODE(n), storms[kind].code, storms[kind].end - storms[kind].code);
		call(vcpus[n], KVM_GET_SREGS, &s);
		s.cs.selector = s.cs.base = 0;
		call(vcpus[n], KVM_SET_SREGS, &s);
		call(vcpus[n], KVM_SET_REGS, &r);
		call(vcpus[n], KVM_SET_MP_STATE, &runnable);
	}
	/* Edges and levels, to everybody. */
	call(vms[0], KVM_GET_IRQCHIP, &ioapic);
	for (n = 0; n < 24; n++)
		ioapic.chip.ioapic.redirtbl[n].bits = 0xff00000000000050ull + n + (n % 2 ? 0x8000 : 0);
	call(vms[0], KVM_SET_IRQCHIP, &ioapic);
}

static void *storm_vcpu(void *arg)
{
	const unsigned int n = (intptr_t)arg;

	kick_often();
	while (!stop) {
		if (!call(vcpus[n], KVM_RUN, 0))
			entries++;
	}
	return NULL;
}

/* The host's part: lines, messages, NMIs of which the vCPU's own thread keeps the rest off. */
static void *storm_host(void *arg)
{
	struct kvm_msi msi = { .address_lo = 0xfeeff000, .data = 0x60 };
	struct kvm_irq_level line = { 0 };
	unsigned int n;

	(void)arg;
	for (n = 0; !stop; n++) {
		line.irq = n % 24;
		line.level = n / 24 % 2;
		call(vms[0], KVM_IRQ_LINE, &line);
		msi.data = 0x60 + n % 64;
		call(vms[0], KVM_SIGNAL_MSI, &msi);
		if (n % 64 == 0)
			usleep(100);
	}
	return NULL;
}

/* ---- rounds ---- */

enum play { CALLS, GUESTS, STORMS };
static const char *const mode_names[] = { "calls", "guests", "storms" };

struct result {
	_Atomic unsigned long calls, entries, interrupts;
};

static void play(enum play mode, struct result *result)
{
	void *(*const fn)(void *) = mode == CALLS ? caller : mode == GUESTS ? guest : storm_vcpu;
	const unsigned int count = mode == CALLS ? nthreads : 2;
	pthread_t thread[MAX_THREADS + 1];
	unsigned int n, made = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGUSR2, on_kick);
	rnd_state = thread_seed(MAX_THREADS - 1);
	no_long = emulated && one_in(2);
	keep_long = emulated && !no_long;
	noise = memfd_create("noise", MFD_CLOEXEC);
	if (noise < 0 || ftruncate(noise, ARENA))
		_exit(4);
	make_noise();
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (n = 0; n < COUNT(vms); n++)
		vms[n] = -1;
	for (n = 0; n < COUNT(vcpus); n++)
		vcpus[n] = -1;
	for (n = 0; n < COUNT(events); n++)
		events[n] = eventfd(0, EFD_NONBLOCK);
	if (mode != CALLS && new_vm(2))
		_exit(5);
	if (mode == STORMS)
		put_storms(2);
	for (n = 0; n < count; n++)
		made += !pthread_create(&thread[n], NULL, fn, (void *)(intptr_t)n);
	if (mode == STORMS)
		made += !pthread_create(&thread[n], NULL, storm_host, NULL);
	for (n = 0; n < ROUND_MS / 50; n++) {
		usleep(50000);
		result->calls = calls;
		result->entries = entries;
		result->interrupts = mode == STORMS ? STORM_COUNT[0] : 0;
	}
	stop = true;
	for (n = 0; n < made; n++)
		pthread_join(thread[n], NULL);
	_exit(made == count + (mode == STORMS) ? 0 : 6);
}

static uint64_t worst_ns;

/* A while later, and by how much it was later than asked for. */
static void nap(unsigned int ms)
{
	const uint64_t before = now_ns();
	uint64_t late;

	usleep(ms * 1000);
	late = now_ns() - before - ms * 1000000ull;
	if (late > worst_ns)
		worst_ns = late;
}

static bool runs_on_tcg(void)
{
	uint32_t max, name[3];

	__cpuid(0x40000000, max, name[0], name[1], name[2]);
	return max >= 0x40000000 && !memcmp(name, "TCGTCGTCGTCG", sizeof(name));
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* 0, or what was wrong with the round. */
static const char *play_round(enum play mode, struct result *result)
{
	const unsigned int patience = 20000 * slow;
	static char text[64];
	unsigned int kill_at, ms;
	int status;
	pid_t pid;

	rnd_state = thread_seed(MAX_THREADS - 2);
	kill_at = one_in(3) ? 50 + below(ROUND_MS) : 0;
	fflush(stdout);
	pid = fork();
	if (!pid)
		play(mode, result);
	for (ms = 0; ms < ROUND_MS + patience; ms += 10) {
		if (kill_at && ms >= kill_at) {
			kill(pid, SIGKILL);
			kill_at = 0;
		}
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		nap(10);
	}
	if (ms >= ROUND_MS + patience)
		return "it does not come to an end";
	if ((WIFEXITED(status) && !WEXITSTATUS(status)) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		return NULL;
	snprintf(text, sizeof(text), "%s %d", WIFEXITED(status) ? "exit status" : "signal",
		 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return text;
}

static bool play_mode(enum play mode, unsigned int number, unsigned int seconds, long only)
{
	struct result *result = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const uint64_t end = now_ns() + seconds * 1000000000ull;
	unsigned long ncalls = 0, nentries = 0, interrupts = 0;
	const char *bad = NULL;
	bool good;

	worst_ns = 0;
	for (round_nr = only < 0 ? 0 : only; !bad && (round_nr == 0 || now_ns() < end || only >= 0); round_nr++) {
		memset(result, 0, sizeof(*result));
		bad = play_round(mode, result);
		if (bad)
			printf("# round %u: %s; again: fuzz %s --seed %#lx --threads %u --round %u --verbose\n", round_nr, bad,
			       mode_names[mode], (long)seed, nthreads, round_nr);
		ncalls += result->calls;
		nentries += result->entries;
		interrupts += result->interrupts;
		if (only >= 0)
			break;
	}
	printf("# %s: %u rounds, %lu calls, %lu of KVM_RUN that ran, %lu interrupts; the host was %ld ms late at most\n",
	       mode_names[mode], round_nr, ncalls, nentries, interrupts, (long)(worst_ns / 1000000));
	/* Something has to have happened, too. */
	good = !bad && worst_ns < 5000000000ull * slow && ncalls > 100 && (mode == STORMS ? interrupts : nentries) > 10;
	printf("%sok %u - random %s\n", good ? "" : "not ", number, mode_names[mode]);
	return good;
}

int main(int argc, char **argv)
{
	const char *path = getenv("TENON_DEV") ?: "/dev/tenon", *what = argc > 1 ? argv[1] : "";
	const bool all = !strcmp(what, "all");
	unsigned int seconds = 60, n, number = 0, modes = 0;
	long only = -1;
	bool good = true;
	int i;

	seed = now_ns() ^ (uint64_t)getpid() << 32;
	for (i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--verbose"))
			verbose = true;
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--seconds"))
			seconds = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--threads"))
			nthreads = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--round"))
			only = strtol(argv[++i], NULL, 0);
		else
			what = "";
	}
	for (n = 0; n < COUNT(mode_names); n++)
		modes += all || !strcmp(what, mode_names[n]);
	if (!modes || nthreads < 1 || nthreads > MAX_THREADS - 2) {
		fprintf(stderr, "usage: fuzz calls|guests|storms|all [--seed N] [--seconds N] [--threads N] [--round N] [--verbose]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	slow = getenv("TENON_SLOW") ? atoi(getenv("TENON_SLOW")) : 1;
	emulated = runs_on_tcg();
	node = open(path, O_RDWR | O_CLOEXEC);
	if (node < 0) {
		printf("Bail out! %s does not open: %s\n", path, strerror(errno));
		return 1;
	}
	run_size = ioctl(node, KVM_GET_VCPU_MMAP_SIZE, 0);
	/* The first VM patches the kernel, and the last: in the test bed, the fewer the better. */
	ioctl(node, KVM_CREATE_VM, 0);
	printf("TAP version 13\n1..%u\n# --seed %#lx\n", modes, (long)seed);
	for (n = 0; n < COUNT(mode_names); n++) {
		if (all || !strcmp(what, mode_names[n]))
			good &= play_mode(n, ++number, seconds, only);
	}
	return !good;
}
