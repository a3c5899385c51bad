/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * loop.h - timers and file descriptors on the main thread
 */
#ifndef TENON_LOOP_H
#define TENON_LOOP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Monotonic clock of the host in nanoseconds. */
uint64_t clock_ns(void);

struct loop;

/* The same for the guest, the time of all its devices: it stands still while the guest does. Any thread. */
uint64_t guest_ns(const struct loop *loop);

/* A timer; embed it. The callback runs on the main thread with the device lock held (unless unlocked). */
struct timer {
	uint64_t deadline;		/* clock_ns() or guest_ns() time, or TIMER_OFF */
	void (*fn)(void *opaque);
	void *opaque;
	bool unlocked;			/* fn takes the locks it needs itself */
	bool guest;			/* deadline is guest_ns() time */
	struct timer *next;		/* loop's list of armed timers, by deadline */
};
#define TIMER_OFF UINT64_MAX

/* A watched file descriptor; embed it. */
struct watch {
	int fd;
	void (*fn)(void *opaque, uint32_t events);	/* EPOLLIN, ... */
	void *opaque;
	bool dead;
};

struct loop {
	pthread_mutex_t lock;		/* armed timers; innermost: taken with any other lock held */
	struct timer *armed, *armed_guest;
	atomic_ullong guest_behind;	/* nanoseconds that guest_ns() has stood still */
	atomic_ullong guest_stopped;	/* guest_ns() while it does, or TIMER_OFF */
	int epoll_fd, timer_fd, wake_fd;
	struct watch **by_fd;		/* so that an event for a watch deleted meanwhile finds nothing */
	unsigned int nr_fd;
	bool running;			/* on @thread, which will program timer_fd by itself */
	pthread_t thread;
	uint64_t programmed;		/* deadline timer_fd is set to */
	pthread_mutex_t *device_lock;
};

int loop_init(struct loop *loop, pthread_mutex_t *device_lock);
void loop_exit(struct loop *loop);
void timer_init(struct timer *t, void (*fn)(void *), void *opaque);
void timer_init_guest(struct timer *t, void (*fn)(void *), void *opaque);
/* Stop guest_ns() and the timers by it, or let them go on. No vCPU is in guest code. */
void guest_clock_stop(struct loop *loop);
void guest_clock_start(struct loop *loop);
/* (Re)arm for an absolute time, or disarm with TIMER_OFF. Any thread. */
void timer_set(struct loop *loop, struct timer *t, uint64_t deadline);
int watch_add(struct loop *loop, struct watch *w, uint32_t events);
int watch_mod(struct loop *loop, struct watch *w, uint32_t events);
void watch_del(struct loop *loop, struct watch *w);
/* Make loop_run() look at its condition again. Any thread, safe in signal handlers. */
void loop_wake(struct loop *loop);
/* Serve until *stop is >= 0. */
void loop_run(struct loop *loop, _Atomic int *stop);

#endif /* TENON_LOOP_H */
