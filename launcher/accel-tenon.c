// SPDX-License-Identifier: GPL-2.0-only
/*
 * accel-tenon.c - a node that speaks the KVM ABI as a back end: /dev/tenon, and /dev/kvm by the same code
 *
 * Guest code runs on the processor; PIC, IOAPIC, local APICs and PIT are in the kernel, or the local APICs alone
 * (split-irq.h). What comes out of KVM_RUN is an access to a device, or an end.
 *
 * A kick is a signal to the vCPU's thread together with kvm_run.immediate_exit: whichever side of KVM_RUN the thread is
 * on, it comes out or does not go in.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/tenon.h>

#include "msg.h"
#include "split-irq.h"
#include "vm.h"

#define KVM_DEV_PATH	"/dev/kvm"
#define KICK_SIGNAL	SIGUSR1
#define NR_GSIS		24
#define NR_IRQFDS	512		/* messages that eventfds send: GSIs behind those of the chips */
/* Three pages of the guest's address space that the node may use, below the firmware. */
#define TSS_ADDR	0xfffbd000ul
#define IDENTITY_ADDR	0xfffbc000ull
#define MAX_CPUID	256

struct kvm_machine {
	int dev;
	int vm;
	size_t run_size;
	unsigned int nr_slots;
	struct split_irq *split;	/* NULL: all chips are in the kernel */
	struct {
		int fd;			/* 0: free */
		uint64_t addr;
		uint32_t data;
	} irqfd[NR_IRQFDS];
	struct {
		bool clock_valid, pit_valid;
		struct kvm_clock_data clock;
		struct kvm_pit_state2 pit;
	} stopped;			/* time, while it stands still */
	struct kvm_vcpu_state {
		int fd;
		struct kvm_run *run;
		pthread_t thread;
		atomic_bool running;	/* thread is valid */
		atomic_bool kicked;
		unsigned long long exits_io, exits_mmio, exits_other;
	} *vcpu;
};

static const int required_caps[] = {
	KVM_CAP_USER_MEMORY, KVM_CAP_IRQCHIP, KVM_CAP_PIT2, KVM_CAP_EXT_CPUID, KVM_CAP_MP_STATE, KVM_CAP_SIGNAL_MSI,
	KVM_CAP_SET_TSS_ADDR, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_IRQ_ROUTING,
};

/* ---- is it there ---- */

static bool node_probe(const char *path, const char *load, char *why, size_t len)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), vm, version;
	bool usable = false;

	if (fd < 0) {
		if (errno == ENOENT)
			snprintf(why, len, "%s does not exist. Load the module: %s", path, load);
		else if (errno == EACCES || errno == EPERM)
			snprintf(why, len, "no permission to open %s. Join the group that owns it, or run as root", path);
		else
			snprintf(why, len, "open %s: %s", path, strerror(errno));
		return false;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		snprintf(why, len, "%s speaks version %d of the KVM ABI; %d is needed", path, version, KVM_API_VERSION);
		goto out;
	}
	for (size_t i = 0; i < sizeof(required_caps) / sizeof(required_caps[0]); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, required_caps[i]) <= 0) {
			snprintf(why, len, "%s lacks capability %d of the KVM ABI. Load a newer module", path,
				 required_caps[i]);
			goto out;
		}
	}
	/* The processor may be another hypervisor's: only this tells. */
	vm = ioctl(fd, KVM_CREATE_VM, 0);
	if (vm < 0) {
		if (errno == EBUSY)
			snprintf(why, len, "another hypervisor holds the processor (EBUSY from %s); the kernel log names it", path);
		else
			snprintf(why, len, "create a VM on %s: %s. The kernel log says why", path, strerror(errno));
		goto out;
	}
	close(vm);
	usable = true;
out:
	close(fd);
	return usable;
}

static bool module_probe(char *why, size_t len)
{
	return node_probe(TENON_DEV_PATH, "modprobe tenon", why, len);
}

static bool kvm_probe(char *why, size_t len)
{
	return node_probe(KVM_DEV_PATH, "modprobe kvm_amd or kvm_intel", why, len);
}

/* ---- the VM ---- */

/*
 * ISA IRQs go to the PIC and the IOAPIC, as the tables tell the guest: IRQ 0 to pin 2, the others to their own. The
 * messages of eventfds follow.
 */
static int set_routes(const struct kvm_machine *m)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[NR_GSIS + 16 + NR_IRQFDS];
	} routes = { 0 };

	for (unsigned int gsi = 0; gsi < NR_GSIS; gsi++) {
		if (gsi == 2)
			continue;
		if (gsi < 16)
			routes.entry[routes.head.nr++] = (struct kvm_irq_routing_entry) {
				.gsi = gsi,
				.type = KVM_IRQ_ROUTING_IRQCHIP,
				.u.irqchip = { KVM_IRQCHIP_PIC_MASTER + gsi / 8, gsi % 8 },
			};
		routes.entry[routes.head.nr++] = (struct kvm_irq_routing_entry) {
			.gsi = gsi,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { KVM_IRQCHIP_IOAPIC, gsi ? gsi : 2 },
		};
	}
	for (unsigned int i = 0; i < NR_IRQFDS; i++) {
		if (!m->irqfd[i].fd)
			continue;
		routes.entry[routes.head.nr++] = (struct kvm_irq_routing_entry) {
			.gsi = NR_GSIS + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {
				.address_lo = (uint32_t)m->irqfd[i].addr,
				.address_hi = m->irqfd[i].addr >> 32,
				.data = m->irqfd[i].data,
			},
		};
	}
	return ioctl(m->vm, KVM_SET_GSI_ROUTING, &routes);
}

static void node_vm_exit(struct vm *vm)
{
	struct kvm_machine *m = vm->accel;

	if (!m)
		return;
	split_irq_free(m->split);
	if (m->vm >= 0)
		close(m->vm);
	free(m->vcpu);
	free(m);
	vm->accel = NULL;
}

static void kick_handler(int signal)
{
	(void)signal;	/* it has interrupted KVM_RUN: that is all */
}

static int node_vm_init(struct vm *vm, const char *path)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct sigaction action = { .sa_handler = kick_handler };
	uint64_t identity = IDENTITY_ADDR;
	const char *what = "memory";
	struct kvm_machine *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	vm->accel = m;
	m->vm = -1;
	m->dev = -1;
	m->vcpu = calloc(vm->config.cpus, sizeof(*m->vcpu));
	errno = ENOMEM;
	if (!m->vcpu)
		goto fail;
	for (unsigned int i = 0; i < vm->config.cpus; i++)
		m->vcpu[i].fd = -1;
	if (vm->config.cpu && strcmp(vm->config.cpu, "host"))
		msg_warn("--cpu %s: %s gives the guest the processor of the host", vm->config.cpu, path);

	what = "open the node";
	if (!vm->accel_fd) {
		m->dev = open(path, O_RDWR | O_CLOEXEC);
		if (m->dev < 0)
			goto fail;
		vm->accel_fd = m->dev;
	}
	m->dev = vm->accel_fd;
	what = "create the VM";
	m->vm = ioctl(m->dev, KVM_CREATE_VM, 0);
	if (m->vm < 0)
		goto fail;
	what = "size of the run structure";
	err = ioctl(m->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (err < (int)sizeof(struct kvm_run))
		goto fail;
	m->run_size = err;
	what = "reserve addresses";
	if (ioctl(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 || ioctl(m->vm, KVM_SET_TSS_ADDR, TSS_ADDR) < 0)
		goto fail;
	if (vm->config.split_irqchip) {
		what = "create local APICs alone (--irqchip split)";
		m->split = split_irq_new(vm, m->vm);
		if (!m->split)
			goto fail;
	} else {
		what = "create the interrupt controllers";
		if (ioctl(m->vm, KVM_CREATE_IRQCHIP) < 0)
			goto fail;
		what = "create the PIT";
		if (ioctl(m->vm, KVM_CREATE_PIT2, &pit) < 0)
			goto fail;
		what = "connect interrupts";
		if (set_routes(m) < 0)
			goto fail;
	}
	what = "handle signals";
	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		goto fail;
	return 0;
fail:
	err = errno;
	msg_error("%s: %s: %s", path, what, strerror(err));
	node_vm_exit(vm);
	return -err;
}

static int module_vm_init(struct vm *vm)
{
	return node_vm_init(vm, TENON_DEV_PATH);
}

static int kvm_vm_init(struct vm *vm)
{
	return node_vm_init(vm, KVM_DEV_PATH);
}

static int node_ram_add(struct vm *vm, uint64_t gpa, uint64_t size, void *host, bool readonly)
{
	struct kvm_machine *m = vm->accel;
	struct kvm_userspace_memory_region region = {
		.slot = m->nr_slots,
		.flags = readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return -errno;
	m->nr_slots++;
	return 0;
}

static void node_irq_line(struct vm *vm, unsigned int gsi, bool level)
{
	struct kvm_machine *m = vm->accel;
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	if (gsi >= NR_GSIS)
		return;
	if (m->split)
		chips_line(&m->split->chips, gsi, level);
	else
		ioctl(m->vm, KVM_IRQ_LINE, &irq);
}

/* With the PIT in the kernel there is a flag for it, which is set together with all its state. */
static void node_pit_irq(struct vm *vm, bool on)
{
	struct kvm_machine *m = vm->accel;
	struct kvm_pit_state2 pit;

	if (m->split) {
		chips_pit_irq(&m->split->chips, on);
		return;
	}
	if (ioctl(m->vm, KVM_GET_PIT2, &pit) < 0)
		return;
	pit.flags &= ~KVM_PIT_FLAGS_HPET_LEGACY;
	if (!on)
		pit.flags |= KVM_PIT_FLAGS_HPET_LEGACY;
	ioctl(m->vm, KVM_SET_PIT2, &pit);
}

/*
 * Setting the PIT starts its counters over and forgets ticks that were not delivered; the paravirtual clock goes on from
 * where it was. The TSC runs on, and a local APIC's timer that has expired meanwhile interrupts once.
 */
static void node_clock(struct vm *vm, bool run)
{
	struct kvm_machine *m = vm->accel;

	if (!run) {
		m->stopped.clock_valid = !ioctl(m->vm, KVM_GET_CLOCK, &m->stopped.clock);
		m->stopped.pit_valid = !m->split && !ioctl(m->vm, KVM_GET_PIT2, &m->stopped.pit);
		return;
	}
	if (m->stopped.pit_valid)
		ioctl(m->vm, KVM_SET_PIT2, &m->stopped.pit);
	if (m->stopped.clock_valid) {
		struct kvm_clock_data clock = { .clock = m->stopped.clock.clock };

		ioctl(m->vm, KVM_SET_CLOCK, &clock);
		/* The guest's watchdogs are told that it was not its fault. */
		for (unsigned int i = 0; i < vm->config.cpus; i++)
			ioctl(m->vcpu[i].fd, KVM_KVMCLOCK_CTRL, 0);
	}
	m->stopped.clock_valid = m->stopped.pit_valid = false;
}

static void node_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
	struct kvm_machine *m = vm->accel;
	struct kvm_msi msi = { .address_lo = addr, .address_hi = addr >> 32, .data = data };

	ioctl(m->vm, KVM_SIGNAL_MSI, &msi);
}

static void node_doorbell(struct vm *vm, uint64_t gpa, int fd, bool on)
{
	struct kvm_machine *m = vm->accel;
	struct kvm_ioeventfd bell = { .addr = gpa, .len = 2, .fd = fd, .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN };

	ioctl(m->vm, KVM_IOEVENTFD, &bell);
}

/* With the IOAPIC here, the routes are its pins' (split-irq.c). A route that no eventfd uses any more does no harm. */
static bool node_irqfd(struct vm *vm, int fd, uint64_t addr, uint32_t data, bool on)
{
	struct kvm_machine *m = vm->accel;
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd };
	unsigned int i;

	for (i = 0; i < NR_IRQFDS && m->irqfd[i].fd != (on ? 0 : fd); i++)
		;
	if (m->split || i == NR_IRQFDS)
		return false;
	irqfd.gsi = NR_GSIS + i;
	if (on) {
		m->irqfd[i].fd = fd;
		m->irqfd[i].addr = addr;
		m->irqfd[i].data = data;
		if (!set_routes(m) && !ioctl(m->vm, KVM_IRQFD, &irqfd))
			return true;
	} else {
		irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
		ioctl(m->vm, KVM_IRQFD, &irqfd);
	}
	m->irqfd[i].fd = 0;
	return false;
}

/* Guest memory is the process's own: a pointer will do. */
static void *node_dma_map(struct vm *vm, uint64_t gpa, uint64_t *len, bool write)
{
	(void)write;
	for (unsigned int i = 0; i < vm->nr_ram; i++) {
		const struct vm_ram *r = &vm->ram[i];

		if (gpa < r->gpa || gpa - r->gpa >= r->size)
			continue;
		if (*len > r->size - (gpa - r->gpa))
			*len = r->size - (gpa - r->gpa);
		return (char *)r->host + (gpa - r->gpa);
	}
	return NULL;
}

static void node_dma_unmap(struct vm *vm, uint64_t gpa, uint64_t len, bool write)
{
	(void)vm;
	(void)gpa;
	(void)len;
	(void)write;
}

static void node_stats(struct vm *vm, int fd)
{
	const struct kvm_machine *m = vm->accel;

	for (unsigned int i = 0; i < vm->config.cpus; i++)
		dprintf(fd, "vcpu%u: exits for ports %llu, memory-mapped devices %llu, other %llu\n", i,
			m->vcpu[i].exits_io, m->vcpu[i].exits_mmio, m->vcpu[i].exits_other);
}

/* ---- vCPUs ---- */

static struct kvm_vcpu_state *state_of(const struct vcpu *vcpu)
{
	const struct kvm_machine *m = vcpu->vm->accel;

	return &m->vcpu[vcpu->id];
}

/* What the node supports, with the APIC IDs and the number of processors of this machine. */
static int set_cpuid(struct vcpu *vcpu)
{
	const struct kvm_machine *m = vcpu->vm->accel;
	const unsigned int cpus = vcpu->vm->config.cpus;
	struct kvm_cpuid2 *cpuid;
	int ret = 0;

	cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = MAX_CPUID;
	if (ioctl(m->dev, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		goto fail;
	for (unsigned int i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		switch (e->function) {
		case 1:
			e->ebx = (e->ebx & 0xffff) | cpus << 16 | vcpu->id << 24;
			if (cpus > 1)
				e->edx |= 1u << 28;
			break;
		case 0xb:
		case 0x1f:
			/* One thread a core, one package. */
			e->edx = vcpu->id;
			break;
		case 0x80000008:
			e->ecx = cpus - 1;
			break;
		}
	}
	if (!ioctl(state_of(vcpu)->fd, KVM_SET_CPUID2, cpuid))
		goto out;
fail:
	ret = -errno;
	snprintf(vcpu->msg, sizeof(vcpu->msg), "CPUID");
out:
	free(cpuid);
	return ret;
}

static void node_vcpu_exit(struct vcpu *vcpu)
{
	const struct kvm_machine *m = vcpu->vm->accel;
	struct kvm_vcpu_state *s = state_of(vcpu);

	atomic_store(&s->running, false);
	if (s->run)
		munmap(s->run, m->run_size);
	s->run = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static int node_vcpu_init(struct vcpu *vcpu)
{
	const struct kvm_machine *m = vcpu->vm->accel;
	struct kvm_vcpu_state *s = state_of(vcpu);
	sigset_t set;
	void *run;
	int ret;

	s->fd = ioctl(m->vm, KVM_CREATE_VCPU, vcpu->id);
	if (s->fd < 0) {
		snprintf(vcpu->msg, sizeof(vcpu->msg), "create the vCPU");
		return -errno;
	}
	run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (run == MAP_FAILED) {
		ret = -errno;
		goto fail;
	}
	s->run = run;
	ret = set_cpuid(vcpu);
	if (ret)
		goto fail;
	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	s->thread = pthread_self();
	atomic_store(&s->running, true);
	return 0;
fail:
	node_vcpu_exit(vcpu);
	return ret;
}

static int node_set_boot_regs(struct vcpu *vcpu, const struct kvm_regs *regs, const struct kvm_sregs *boot)
{
	struct kvm_vcpu_state *s = state_of(vcpu);
	struct kvm_sregs sregs;

	if (ioctl(s->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	/* What the loader knows nothing of stays as after reset. */
	sregs.cs = boot->cs;
	sregs.ds = boot->ds;
	sregs.es = boot->es;
	sregs.fs = boot->fs;
	sregs.gs = boot->gs;
	sregs.ss = boot->ss;
	sregs.gdt = boot->gdt;
	sregs.idt = boot->idt;
	if (boot->tr.present)
		sregs.tr = boot->tr;
	if (boot->ldt.present)
		sregs.ldt = boot->ldt;
	sregs.cr0 = boot->cr0;
	sregs.cr2 = boot->cr2;
	sregs.cr3 = boot->cr3;
	sregs.cr4 = boot->cr4;
	sregs.efer = boot->efer;
	if (ioctl(s->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(s->fd, KVM_SET_REGS, regs) < 0)
		return -errno;
	return 0;
}

static int node_get_regs(struct vcpu *vcpu, struct kvm_regs *regs, struct kvm_sregs *sregs)
{
	const struct kvm_vcpu_state *s = state_of(vcpu);

	return ioctl(s->fd, KVM_GET_REGS, regs) < 0 || ioctl(s->fd, KVM_GET_SREGS, sregs) < 0 ? -errno : 0;
}

static void device_access(struct vm *vm, bool pio, uint64_t addr, void *data, unsigned int len, bool write)
{
	struct kvm_machine *m = vm->accel;

	if (!m->split || !chips_access(&m->split->chips, pio, addr, data, len, write))
		bus_access(vm, pio ? &vm->pio : &vm->mmio, addr, data, len, write);
}

static void run_io(struct vcpu *vcpu, struct kvm_vcpu_state *s)
{
	struct kvm_run *run = s->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	s->exits_io++;
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		device_access(vcpu->vm, true, run->io.port, data, run->io.size,
			      run->io.direction == KVM_EXIT_IO_OUT);
}

static enum vcpu_stop run_error(struct vcpu *vcpu, const struct kvm_run *run)
{
	struct kvm_regs regs = { 0 };

	ioctl(state_of(vcpu)->fd, KVM_GET_REGS, &regs);
	switch (run->exit_reason) {
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(vcpu->msg, sizeof(vcpu->msg), "the processor refused the guest's state (0x%llx)",
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
			snprintf(vcpu->msg, sizeof(vcpu->msg),
				 "an access to a device by an instruction that the module does not take, at 0x%llx",
				 (unsigned long long)regs.rip);
			break;
		}
		/* fall through */
	default:
		snprintf(vcpu->msg, sizeof(vcpu->msg), "exit reason %u, suberror %u, at 0x%llx", run->exit_reason,
			 run->internal.suberror, (unsigned long long)regs.rip);
	}
	return VCPU_STOP_ERROR;
}

static enum vcpu_stop node_run(struct vcpu *vcpu)
{
	struct kvm_vcpu_state *s = state_of(vcpu);
	const struct kvm_machine *m = vcpu->vm->accel;
	struct kvm_run *run = s->run;

	for (;;) {
		const bool kicked = atomic_exchange(&s->kicked, false);
		int ret;

		/* Kicked: finish what the last exit has begun, and come back without running the guest. */
		if (kicked)
			run->immediate_exit = 1;
		if (m->split && vcpu->id == 0)
			split_irq_before_run(m->split, s->fd, run);
		ret = ioctl(s->fd, KVM_RUN, 0);
		if (kicked)
			run->immediate_exit = 0;
		if (ret < 0) {
			if (errno != EINTR && errno != EAGAIN) {
				snprintf(vcpu->msg, sizeof(vcpu->msg), "KVM_RUN: %s", strerror(errno));
				return VCPU_STOP_ERROR;
			}
			if (kicked)
				return VCPU_STOP_KICK;
			continue;
		}
		/* Not through yet: an exit more belongs to the same instruction. */
		if (kicked)
			atomic_store(&s->kicked, true);
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			run_io(vcpu, s);
			break;
		case KVM_EXIT_MMIO:
			s->exits_mmio++;
			device_access(vcpu->vm, false, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
				      run->mmio.is_write);
			break;
		case KVM_EXIT_IOAPIC_EOI:
			s->exits_other++;
			split_irq_eoi(m->split, run->eoi.vector);
			break;
		case KVM_EXIT_INTR:
		case KVM_EXIT_IRQ_WINDOW_OPEN:
		case KVM_EXIT_UNKNOWN:
			s->exits_other++;
			break;
		case KVM_EXIT_SHUTDOWN:
			return VCPU_STOP_SHUTDOWN;
		case KVM_EXIT_DEBUG:
			return VCPU_STOP_DEBUG;
		default:
			return run_error(vcpu, run);
		}
	}
}

static void node_kick(struct vcpu *vcpu)
{
	struct kvm_vcpu_state *s = state_of(vcpu);

	atomic_store(&s->kicked, true);
	if (!atomic_load(&s->running))
		return;
	/* On its way into KVM_RUN, past the look at kicked, the thread finds this; inside, the signal finds it. */
	s->run->immediate_exit = 1;
	pthread_kill(s->thread, KICK_SIGNAL);
}

static void node_nmi(struct vcpu *vcpu)
{
	const struct kvm_vcpu_state *s = state_of(vcpu);

	if (s->fd >= 0)
		ioctl(s->fd, KVM_NMI);
}

#define NODE_OPS							\
	.vm_exit	= node_vm_exit,					\
	.ram_add	= node_ram_add,					\
	.vcpu_init	= node_vcpu_init,				\
	.vcpu_exit	= node_vcpu_exit,				\
	.set_boot_regs	= node_set_boot_regs,				\
	.get_regs	= node_get_regs,				\
	.run		= node_run,					\
	.kick		= node_kick,					\
	.irq_line	= node_irq_line,				\
	.pit_irq	= node_pit_irq,					\
	.clock		= node_clock,					\
	.msi		= node_msi,					\
	.nmi		= node_nmi,					\
	.doorbell	= node_doorbell,				\
	.irqfd		= node_irqfd,					\
	.dma_map	= node_dma_map,					\
	.dma_unmap	= node_dma_unmap,				\
	.stats		= node_stats

const struct accel_ops accel_module = {
	.name		= "module",
	.summary	= "tenon.ko: guest code on the processor itself (" TENON_DEV_PATH ")",
	.probe		= module_probe,
	.vm_init	= module_vm_init,
	NODE_OPS,
};

const struct accel_ops accel_kvm = {
	.name		= "kvm",
	.summary	= "the kernel's KVM (" KVM_DEV_PATH ")",
	.probe		= kvm_probe,
	.vm_init	= kvm_vm_init,
	NODE_OPS,
};
