// SPDX-License-Identifier: GPL-2.0-only
/*
 * vm.c - VMs and vCPUs of the software CPU: creation, destruction, getting a vCPU's attention
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "core.h"

/* Decoded blocks: an instruction takes 64 bytes, so this holds half a million of them. */
#define ARENA_SIZE	(16UL << 20)
#define INSNS_SIZE	(16UL << 20)
#define INSNS_STRESS	(128UL << 10)

struct emul_vm *emul_vm_create(const struct emul_config *cfg, const struct emul_ops *ops, void *opaque, char *err,
			       size_t errlen)
{
	struct emul_vm *vm;

	if (!ops->access || !ops->intr_ack || !ops->intr_pending || !ops->tpr_get || !ops->tpr_set || !ops->msr_read ||
	    !ops->msr_write || !ops->tsc || !cfg->max_vcpus) {
		snprintf(err, errlen, "software CPU: a required operation is missing");
		return NULL;
	}
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		goto no_memory;
	vm->cfg = *cfg;
	vm->cfg.count |= cfg->lockstep != EMUL_LOCKSTEP_OFF;
	vm->ops = ops;
	vm->opaque = opaque;
	vm->vcpu = calloc(cfg->max_vcpus, sizeof(*vm->vcpu));
	if (!vm->vcpu)
		goto free_vm;
	vm->arena_size = ARENA_SIZE;
	vm->insns_size = cfg->jit >= EMUL_JIT_EAGER ? INSNS_STRESS : INSNS_SIZE;
	vm->insns_epoch = 1;
	vm->arena = mmap(NULL, ARENA_SIZE + INSNS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vm->arena == MAP_FAILED)
		goto free_vcpus;
	vm->insns = vm->arena + ARENA_SIZE;
	pthread_mutex_init(&vm->code_lock, NULL);
	emul_world_init(&vm->world);
	if (!emul_arch_vm_init(vm, err, errlen))
		goto unmap;
	if (cfg->lockstep != EMUL_LOCKSTEP_OFF && !emul_lockstep_init(vm, err, errlen))
		goto exit_arch;
	if (cfg->jit == EMUL_JIT_STRESS && !emul_poke_start(vm, 10000)) {
		snprintf(err, errlen, "software CPU: no thread");
		goto exit_lockstep;
	}
	return vm;

exit_lockstep:
	if (vm->lockstep)
		emul_lockstep_exit(vm);

exit_arch:
	emul_arch_vm_exit(vm);
unmap:
	munmap(vm->arena, ARENA_SIZE + INSNS_SIZE);
	free(vm->vcpu);
	free(vm);
	return NULL;
free_vcpus:
	free(vm->vcpu);
free_vm:
	free(vm);
no_memory:
	snprintf(err, errlen, "software CPU: out of memory");
	return NULL;
}

void emul_vm_destroy(struct emul_vm *vm)
{
	emul_poke_stop(vm);
	if (vm->lockstep)
		emul_lockstep_exit(vm);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i])
			emul_arch_vcpu_free(vm->vcpu[i]);
	emul_arch_vm_exit(vm);
	emul_mem_free(vm);
	munmap(vm->arena, ARENA_SIZE + INSNS_SIZE);
	free(vm->vcpu);
	free(vm);
}

struct emul_vcpu *emul_vcpu_create(struct emul_vm *vm, unsigned int id, void *opaque)
{
	struct emul_vcpu *v;

	if (id >= vm->cfg.max_vcpus || vm->vcpu[id])
		return NULL;
	v = emul_arch_vcpu_new(vm, id);
	if (!v)
		return NULL;
	v->vm = vm;
	v->id = id;
	v->opaque = opaque;
	if (vm->lockstep && !emul_lockstep_vcpu(vm, id)) {
		emul_arch_vcpu_free(v);
		return NULL;
	}
	emul_vcpu_reset(v, false);
	pthread_mutex_lock(&vm->world.lock);
	vm->vcpu[id] = v;
	vm->nr_vcpus = max(vm->nr_vcpus, id + 1);
	pthread_mutex_unlock(&vm->world.lock);
	return v;
}

unsigned int emul_vcpu_id(const struct emul_vcpu *vcpu)
{
	return vcpu->id;
}

void *emul_vcpu_opaque(const struct emul_vcpu *vcpu)
{
	return vcpu->opaque;
}

void emul_kick(struct emul_vcpu *vcpu)
{
	emul_request(vcpu, EMUL_REQ_KICK);
}

void emul_intr(struct emul_vcpu *vcpu)
{
	emul_request(vcpu, EMUL_REQ_INTR);
}

void emul_nmi(struct emul_vcpu *vcpu)
{
	emul_request(vcpu, EMUL_REQ_NMI);
}

void emul_vcpu_stats(const struct emul_vcpu *vcpu, struct emul_stats *stats)
{
	*stats = vcpu->stats;
	emul_arch_stats(vcpu, stats);
}
