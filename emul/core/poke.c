// SPDX-License-Identifier: GPL-2.0-only
/*
 * poke.c - a thread that makes every vCPU come out of translated code, many times a second of CPU time
 *
 * For tests: whatever happens between two blocks then happens often, at places that nothing in the guest has chosen.
 */
#include <stdlib.h>
#include <time.h>

#include "core.h"

struct emul_poke {
	struct emul_vm *vm;
	long interval;
	pthread_t thread;
	atomic_bool stop;
};

static void *poke_thread(void *arg)
{
	struct emul_poke *p = arg;
	const struct timespec ts = { .tv_nsec = p->interval };
	s64 last = 0;

	while (!atomic_load(&p->stop)) {
		struct timespec cpu;
		s64 now;

		clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
		/* On a busy host vCPUs hardly run between two pokes, and come to nothing else: theirs is the time that counts. */
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
		now = (s64)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
		if (now - last < p->interval)
			continue;
		last = now;
		pthread_mutex_lock(&p->vm->world.lock);
		for (unsigned int i = 0; i < p->vm->nr_vcpus; i++)
			if (p->vm->vcpu[i])
				emul_request(p->vm->vcpu[i], EMUL_REQ_POKE);
		pthread_mutex_unlock(&p->vm->world.lock);
	}
	return NULL;
}

bool emul_poke_start(struct emul_vm *vm, unsigned int hz)
{
	struct emul_poke *p = calloc(1, sizeof(*p));

	if (!p)
		return false;
	p->vm = vm;
	p->interval = 1000000000L / (long)hz;
	if (pthread_create(&p->thread, NULL, poke_thread, p)) {
		free(p);
		return false;
	}
	vm->poke = p;
	return true;
}

void emul_poke_stop(struct emul_vm *vm)
{
	struct emul_poke *p = vm->poke;

	if (!p)
		return;
	atomic_store(&p->stop, true);
	pthread_join(p->thread, NULL);
	free(p);
	vm->poke = NULL;
}
