// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuzz-calls.c - random calls on VMs, vCPUs, their memory and files, by threads that share them all
 */
#include <signal.h>
#include <sys/eventfd.h>

#include "fuzz.h"

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
	if (emulated && !(s->cr0 & 0x80000000))
		s->efer &= ~0x100ull;
	call(vcpu, KVM_SET_SREGS, s);
}

/* Real, 32-bit or 64-bit mode, somewhere in memory; or what there is, changed. */
void set_state(int vcpu, uint8_t *buf)
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

void set_msrs(int vcpu)
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
		if (emulated && m.e[n].index == 0xc0000080)
			m.e[n].index++;
		m.e[n].data = value();
	}
	call(vcpu, KVM_SET_MSRS, &m);
	call(vcpu, KVM_GET_MSRS, &m);
}

void drop_long(struct kvm_cpuid2 *c)
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

void vcpu_call(int vcpu, uint8_t *buf)
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
		/* Without one it has long mode. */
		if (no_long && fd >= 0)
			give_cpuid(fd);
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

void *fuzz_caller(void *arg)
{
	uint8_t *buf = aligned_alloc(PAGE, 4 * PAGE);

	seed_thread(thread_seed((intptr_t)arg));
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
