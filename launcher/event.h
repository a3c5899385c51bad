/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * event.h - a condition that threads wait for, where each wait counts
 *
 * Like a condition variable of pthreads, for one mutex, which whoever waits or signals holds. That of the C library takes
 * the mutex back as one that others wait for: each wait cost a system call more, in the next unlock, for nobody.
 */
#ifndef TENON_EVENT_H
#define TENON_EVENT_H

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

struct event {
	atomic_uint signals;
	unsigned int waiters;
};

/* Drops the lock meanwhile. May return for nothing. */
static inline void event_wait(struct event *e, pthread_mutex_t *lock)
{
	/* A signal that comes once the lock is free changes the number: there is no wait then. */
	const unsigned int seen = atomic_load(&e->signals);

	e->waiters++;
	pthread_mutex_unlock(lock);
	syscall(SYS_futex, &e->signals, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	pthread_mutex_lock(lock);
	e->waiters--;
}

static inline void event_wake(struct event *e, int threads)
{
	atomic_fetch_add(&e->signals, 1);
	if (e->waiters)
		syscall(SYS_futex, &e->signals, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

/* One thread at least. */
static inline void event_signal(struct event *e)
{
	event_wake(e, 1);
}

static inline void event_broadcast(struct event *e)
{
	event_wake(e, INT_MAX);
}

#endif /* TENON_EVENT_H */
