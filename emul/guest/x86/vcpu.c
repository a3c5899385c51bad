// SPDX-License-Identifier: GPL-2.0-only
/*
 * vcpu.c - an x86 vCPU as emul.h's users see it: creation, state access, start-up
 */
#include <stdlib.h>

#include "../../include/tenon/emul-x86.h"
#include "../../jit/x86-on-x86_64/jit.h"
#include "block.h"
#include "cpuid.h"
#include "flags.h"
#include "lockstep.h"

bool emul_cpu_valid(const char *cpu, char *err, size_t errlen)
{
	const struct x86_cpuid_table *t = x86_cpuid_new(cpu, 0, err, errlen);

	x86_cpuid_free(t);
	return t;
}

unsigned int emul_x86_phys_bits(const struct emul_vm *vm)
{
	return ((const struct x86_cpuid_table *)vm->arch)->phys_bits;
}

bool emul_arch_vm_init(struct emul_vm *vm, char *err, size_t errlen)
{
	vm->arch = (void *)x86_cpuid_new(vm->cfg.cpu, vm->cfg.tsc_hz, err, errlen);
	return vm->arch;
}

void emul_arch_vm_exit(struct emul_vm *vm)
{
	jit_exit(vm);
	x86_cpuid_free(vm->arch);
}

static void before_io(struct emul_vcpu *vcpu)
{
	x86_fpu_sync(x86_cpu(vcpu));
}

/*
 * Translated code runs with the stack pointer at the start of struct x86_cpu: signal frames, and the handlers of an embedder
 * that gave them no stack of their own, go below it.
 */
#define SIGNAL_ROOM	(256UL << 10)

static struct x86_cpu *cpu_alloc(void)
{
	const size_t size = (sizeof(struct x86_cpu) + 63) & ~(size_t)63;
	u8 *p = aligned_alloc(64, SIGNAL_ROOM + size);

	if (!p)
		return NULL;
	return memset(p + SIGNAL_ROOM, 0, size);
}

static void cpu_free(struct x86_cpu *cpu)
{
	free((u8 *)cpu - SIGNAL_ROOM);
}

struct emul_vcpu *emul_arch_vcpu_new(struct emul_vm *vm, unsigned int id)
{
	struct x86_cpu *cpu = cpu_alloc();

	if (!cpu)
		return NULL;
	cpu->core.vm = vm;
	cpu->core.id = id;
	cpu->core.tlb = cpu->tlbs[0].e;
	cpu->core.before_io = before_io;
	cpu->cpuid = vm->arch;
	cpu->tlb = &cpu->tlbs[TLB_KERNEL];
	cpu->tlb_mode = TLB_KERNEL;
	x86_tlb_init(cpu);
	if (!x86_crossing_init(cpu))
		goto free_cpu;
	if (!x86_fpu_init(cpu))
		goto free_crossing;
	return &cpu->core;

free_crossing:
	x86_crossing_free(cpu);
free_cpu:
	cpu_free(cpu);
	return NULL;
}

void emul_arch_vcpu_free(struct emul_vcpu *vcpu)
{
	struct x86_cpu *cpu = x86_cpu(vcpu);

	x86_fpu_free(cpu);
	x86_crossing_free(cpu);
	cpu_free(cpu);
}

void emul_arch_stats(const struct emul_vcpu *vcpu, struct emul_stats *stats)
{
	const struct x86_jit *jit = &container_of(vcpu, const struct x86_cpu, core)->jit;

	stats->jit_insns = jit->insns;
	stats->jit_calls = jit->calls;
	stats->insns += jit->insns;
}

/* The embedder has changed the state: a twin becomes equal to it. */
static void changed(const struct emul_vcpu *vcpu)
{
	if (vcpu->vm->lockstep && !lockstep_is_twin(vcpu->vm))
		vcpu->vm->lockstep->copy = true;
}

void emul_vcpu_reset(struct emul_vcpu *vcpu, bool init)
{
	changed(vcpu);
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

	changed(vcpu);
	cpu->watch_hits = 0;
	cpu->debug_shadow = false;
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

	changed(vcpu);
	cpu->s.seg[X86_CS].sel = (u16)(vector << 8);
	cpu->s.seg[X86_CS].base = (u64)vector << 12;
	cpu->s.rip = 0;
	cpu->s.halted = 0;
	x86_mode_changed(cpu);
}
