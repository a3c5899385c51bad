// SPDX-License-Identifier: GPL-2.0-only
/*
 * world.c - stopping every other vCPU at an instruction boundary
 *
 * Rare operations need that nobody runs guest code: turning a page into one with code, emptying the block arena, an
 * atomic access that crosses pages. One vCPU at a time holds the world. A vCPU that wants it while another has it counts
 * as stopped, so that two can't wait for one another; it must therefore expect that the other's operation has taken
 * place when its own stop() returns.
 */
#include "core.h"

void emul_world_init(struct emul_world *w)
{
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->cond, NULL);
}

static void wait_for_others(struct emul_world *w)
{
	while (w->stopped)
		pthread_cond_wait(&w->cond, &w->lock);
}

void emul_world_enter(struct emul_vcpu *vcpu)
{
	struct emul_world *w = &vcpu->vm->world;

	pthread_mutex_lock(&w->lock);
	wait_for_others(w);
	w->running++;
	pthread_mutex_unlock(&w->lock);
}

void emul_world_leave(struct emul_vcpu *vcpu)
{
	struct emul_world *w = &vcpu->vm->world;

	pthread_mutex_lock(&w->lock);
	w->running--;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

void emul_world_yield(struct emul_vcpu *vcpu)
{
	struct emul_world *w = &vcpu->vm->world;

	pthread_mutex_lock(&w->lock);
	atomic_fetch_and(&vcpu->request, ~EMUL_REQ_STOP);
	if (w->stopped) {
		w->running--;
		pthread_cond_broadcast(&w->cond);
		wait_for_others(w);
		w->running++;
	}
	pthread_mutex_unlock(&w->lock);
}

void emul_world_stop(struct emul_vcpu *vcpu)
{
	struct emul_vm *vm = vcpu->vm;
	struct emul_world *w = &vm->world;

	pthread_mutex_lock(&w->lock);
	w->running--;
	pthread_cond_broadcast(&w->cond);
	wait_for_others(w);
	w->stopped = true;
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i] && vm->vcpu[i] != vcpu)
			emul_request(vm->vcpu[i], EMUL_REQ_STOP);
	while (w->running)
		pthread_cond_wait(&w->cond, &w->lock);
	w->running++;
	pthread_mutex_unlock(&w->lock);
}

void emul_world_resume(struct emul_vcpu *vcpu)
{
	struct emul_world *w = &vcpu->vm->world;

	pthread_mutex_lock(&w->lock);
	w->stopped = false;
	pthread_cond_broadcast(&w->cond);
	pthread_mutex_unlock(&w->lock);
}
