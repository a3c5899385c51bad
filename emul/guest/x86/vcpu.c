// SPDX-License-Identifier: GPL-2.0-only
/*
 * vcpu.c - an x86 vCPU as emul.h's users see it: creation, state access, start-up
 */
#include <stdlib.h>

#include "../../include/tenon/emul-x86.h"
#include "block.h"
#include "cpuid.h"
#include "flags.h"

bool emul_arch_vm_init(struct emul_vm *vm, char *err, size_t errlen)
{
	vm->arch = (void *)x86_cpuid_new(vm->cfg.cpu, vm->cfg.tsc_hz, err, errlen);
	return vm->arch;
}

void emul_arch_vm_exit(struct emul_vm *vm)
{
	x86_cpuid_free(vm->arch);
}

static void before_io(struct emul_vcpu *vcpu)
{
	x86_fpu_sync(x86_cpu(vcpu));
}

struct emul_vcpu *emul_arch_vcpu_new(struct emul_vm *vm, unsigned int id)
{
	struct x86_cpu *cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~(size_t)63);

	if (!cpu)
		return NULL;
	memset(cpu, 0, sizeof(*cpu));
	cpu->core.vm = vm;
	cpu->core.id = id;
	cpu->core.tlb = cpu->tlbs[0].e;
	cpu->core.nr_tlb = TLB_MODES * EMUL_TLB_SIZE;
	cpu->core.before_io = before_io;
	cpu->cpuid = vm->arch;
	cpu->tlb = &cpu->tlbs[TLB_KERNEL];
	if (!x86_crossing_init(cpu))
		goto free_cpu;
	if (!x86_fpu_init(cpu))
		goto free_crossing;
	x86_tlb_flush(cpu, true);
	return &cpu->core;

free_crossing:
	x86_crossing_free(cpu);
free_cpu:
	free(cpu);
	return NULL;
}

void emul_arch_vcpu_free(struct emul_vcpu *vcpu)
{
	struct x86_cpu *cpu = x86_cpu(vcpu);

	x86_fpu_free(cpu);
	x86_crossing_free(cpu);
	free(cpu);
}

void emul_vcpu_reset(struct emul_vcpu *vcpu, bool init)
{
	struct x86_cpu *cpu = x86_cpu(vcpu);

	x86_reset(cpu, init);
	x86_mode_changed(cpu);
	x86_tlb_flush(cpu, true);
	cpu->intr_waiting = false;
	atomic_fetch_and(&vcpu->request, EMUL_REQ_STOP | EMUL_REQ_KICK);
}

struct x86_state *emul_x86_state(struct emul_vcpu *vcpu)
{
	return &x86_cpu(vcpu)->s;
}

void emul_x86_changed(struct emul_vcpu *vcpu)
{
	struct x86_cpu *cpu = x86_cpu(vcpu);

	x86_mode_changed(cpu);
	x86_fpu_changed(cpu);
	x86_tlb_flush(cpu, true);
}

uint64_t emul_x86_rflags(const struct emul_vcpu *vcpu)
{
	return x86_get_rflags(&container_of(vcpu, struct x86_cpu, core)->s);
}

void emul_x86_set_rflags(struct emul_vcpu *vcpu, uint64_t rflags)
{
	x86_set_rflags(&x86_cpu(vcpu)->s, rflags);
}

void emul_x86_sipi(struct emul_vcpu *vcpu, uint8_t vector)
{
	struct x86_cpu *cpu = x86_cpu(vcpu);

	cpu->s.seg[X86_CS].sel = (u16)(vector << 8);
	cpu->s.seg[X86_CS].base = (u64)vector << 12;
	cpu->s.rip = 0;
	cpu->s.halted = 0;
	x86_mode_changed(cpu);
}
