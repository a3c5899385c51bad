// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuzz-guests.c - guests of random code in random states, and guests that send each other interrupts as fast as they can
 */
#include "fuzz.h"

int give_cpuid(int vcpu)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));
	int ret;

	c->nent = 256;
	ret = call(node, KVM_GET_SUPPORTED_CPUID, c);
	/* The deadline timer is for user space to offer. */
	for (unsigned int n = 0; !ret && n < c->nent; n++)
		c->entries[n].ecx |= c->entries[n].function == 1 ? 1 << 24 : 0;
	drop_long(c);
	ret = ret ?: call(vcpu, KVM_SET_CPUID2, c);
	free(c);
	return ret;
}

int new_vm(unsigned int nvcpus)
{
	struct kvm_userspace_memory_region r = { .memory_size = ARENA, .userspace_addr = (uintptr_t)arena };
	struct kvm_pit_config pit = { 0 };
	unsigned int n;

	vms[0] = call(node, KVM_CREATE_VM, 0);
	if (vms[0] < 0 || call(vms[0], KVM_SET_USER_MEMORY_REGION, &r) || call(vms[0], KVM_CREATE_IRQCHIP, 0) ||
	    call(vms[0], KVM_CREATE_PIT2, &pit))
		return -1;
	for (n = 0; n < nvcpus; n++) {
		vcpus[n] = call(vms[0], KVM_CREATE_VCPU, n);
		runs[n] = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpus[n], 0);
		if (vcpus[n] < 0 || runs[n] == MAP_FAILED || give_cpuid(vcpus[n]))
			return -1;
	}
	return 0;
}

/* A vCPU of its own, in one random state after another, until it leaves for good. */
void *fuzz_guest(void *arg)
{
	const unsigned int n = (intptr_t)arg;
	uint8_t *buf = aligned_alloc(PAGE, 4 * PAGE);
	const uint64_t begin = thread_seed(n);
	unsigned int runs_left, turn;

	memset(buf, 0, 4 * PAGE);
	kick_often();
	for (turn = 1; !stop; turn++) {
		/* However many numbers the last turn took. */
		seed_thread(begin ^ turn * 0xd1342543de82ef95ull);
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

/* Storms: in real mode, with one handler for all vectors, which counts at STORM_COUNT */

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

void put_storms(unsigned int nvcpus)
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

void *storm_vcpu(void *arg)
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
void *storm_host(void *arg)
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
