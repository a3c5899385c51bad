// SPDX-License-Identifier: GPL-2.0-only
/*
 * loop.c - timers and file descriptors on the main thread
 *
 * The guest's timers hang on this loop, so the common case is kept short: a vCPU that arms a later deadline
 * than the one timer_fd has costs no system call (the early expiry is noticed and timer_fd programmed anew),
 * and what a callback arms is programmed once, before the thread sleeps again.
 *
 * A callback that wants the device lock is taken off the list only with that lock held: whoever holds it can
 * disarm a timer or delete a watch and then free it, without a callback being under way.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "msg.h"

#define LOOP_EVENTS	16
#define LOOP_BATCH	64		/* expired timers before file descriptors get their turn */

/* epoll data of the loop's own descriptors; watches carry their fd number */
#define EV_TIMER	(1ull << 32)
#define EV_WAKE		(2ull << 32)

#define NS_PER_SEC	1000000000ull

uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t guest_ns(const struct loop *loop)
{
	uint64_t stopped = atomic_load_explicit(&loop->guest_stopped, memory_order_relaxed);

	return stopped != TIMER_OFF ? stopped :
	       clock_ns() - atomic_load_explicit(&loop->guest_behind, memory_order_relaxed);
}

static int loop_epoll_add(struct loop *loop, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int loop_init(struct loop *loop, pthread_mutex_t *device_lock)
{
	int ret;

	memset(loop, 0, sizeof(*loop));
	pthread_mutex_init(&loop->lock, NULL);
	loop->device_lock = device_lock;
	loop->programmed = TIMER_OFF;
	loop->guest_stopped = TIMER_OFF;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->epoll_fd < 0 || loop->timer_fd < 0 || loop->wake_fd < 0) {
		ret = -errno;
		goto fail;
	}
	/* Edge-triggered: one event an expiry, and nothing to read back. */
	ret = loop_epoll_add(loop, loop->timer_fd, EPOLLIN | EPOLLET, EV_TIMER);
	if (!ret)
		ret = loop_epoll_add(loop, loop->wake_fd, EPOLLIN | EPOLLET, EV_WAKE);
	if (ret)
		goto fail;
	return 0;

fail:
	msg_error("set up the event loop: %s. Check the limit of open files (ulimit -n)", strerror(-ret));
	loop_exit(loop);
	return ret;
}

void loop_exit(struct loop *loop)
{
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->timer_fd >= 0)
		close(loop->timer_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	loop->wake_fd = loop->timer_fd = loop->epoll_fd = -1;
	free(loop->by_fd);
	loop->by_fd = NULL;
	loop->nr_fd = 0;
	pthread_mutex_destroy(&loop->lock);
}

/* Timers */

void timer_init(struct timer *t, void (*fn)(void *), void *opaque)
{
	*t = (struct timer) { .deadline = TIMER_OFF, .fn = fn, .opaque = opaque };
}

void timer_init_guest(struct timer *t, void (*fn)(void *), void *opaque)
{
	timer_init(t, fn, opaque);
	t->guest = true;
}

/* With loop->lock: a timer's deadline by clock_ns(). */
static uint64_t host_deadline(const struct loop *loop, const struct timer *t)
{
	uint64_t behind = loop->guest_behind;

	if (!t)
		return TIMER_OFF;
	if (!t->guest)
		return t->deadline;
	return loop->guest_stopped != TIMER_OFF || t->deadline > TIMER_OFF - behind ? TIMER_OFF : t->deadline + behind;
}

/* With loop->lock: the timer that is due first, and when. NULL: none will be. */
static struct timer *first_armed(const struct loop *loop, uint64_t *deadline)
{
	uint64_t host = host_deadline(loop, loop->armed), guest = host_deadline(loop, loop->armed_guest);

	*deadline = host < guest ? host : guest;
	if (*deadline == TIMER_OFF)
		return NULL;
	return host <= guest ? loop->armed : loop->armed_guest;
}

/* With loop->lock. */
static void loop_program(struct loop *loop)
{
	struct itimerspec its = { 0 };
	uint64_t deadline;

	first_armed(loop, &deadline);

	/* An expiry for nothing costs less than a system call at every change. */
	if (deadline >= loop->programmed)
		return;
	loop->programmed = deadline;
	if (!deadline)
		deadline = 1;		/* zero would disarm */
	its.it_value.tv_sec = (time_t)(deadline / NS_PER_SEC);
	its.it_value.tv_nsec = (long)(deadline % NS_PER_SEC);
	timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

/* With loop->lock. */
static struct timer **armed_list(struct loop *loop, const struct timer *t)
{
	return t->guest ? &loop->armed_guest : &loop->armed;
}

/* With loop->lock. */
static void timer_unlink(struct loop *loop, struct timer *t)
{
	struct timer **p = armed_list(loop, t);

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
	t->next = NULL;
	t->deadline = TIMER_OFF;
}

void timer_set(struct loop *loop, struct timer *t, uint64_t deadline)
{
	struct timer **p = armed_list(loop, t);

	pthread_mutex_lock(&loop->lock);
	if (t->deadline == deadline)
		goto out;
	if (t->deadline != TIMER_OFF)
		timer_unlink(loop, t);
	if (deadline == TIMER_OFF)
		goto out;
	while (*p && (*p)->deadline <= deadline)
		p = &(*p)->next;
	t->deadline = deadline;
	t->next = *p;
	*p = t;
	if (!loop->running || !pthread_equal(loop->thread, pthread_self()))
		loop_program(loop);
out:
	pthread_mutex_unlock(&loop->lock);
}

void guest_clock_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->guest_stopped = guest_ns(loop);
	pthread_mutex_unlock(&loop->lock);
}

void guest_clock_start(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	if (loop->guest_stopped != TIMER_OFF) {
		loop->guest_behind = clock_ns() - loop->guest_stopped;
		loop->guest_stopped = TIMER_OFF;
		loop_program(loop);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* Call one expired timer; false if there is none. */
static bool loop_expire_one(struct loop *loop)
{
	uint64_t now = clock_ns(), deadline;
	struct timer *t;
	bool unlocked;

	pthread_mutex_lock(&loop->lock);
	t = first_armed(loop, &deadline);
	if (!t || deadline > now) {
		pthread_mutex_unlock(&loop->lock);
		return false;
	}
	unlocked = t->unlocked;
	if (!unlocked) {
		/* The list may change until both locks are held: choose again. */
		pthread_mutex_unlock(&loop->lock);
		pthread_mutex_lock(loop->device_lock);
		pthread_mutex_lock(&loop->lock);
		t = first_armed(loop, &deadline);
		if (t && (t->unlocked || deadline > now))
			t = NULL;
	}
	if (t)
		timer_unlink(loop, t);
	pthread_mutex_unlock(&loop->lock);
	if (t)
		t->fn(t->opaque);
	if (!unlocked)
		pthread_mutex_unlock(loop->device_lock);
	return true;
}

/* File descriptors */

static int watch_ctl(struct loop *loop, int op, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u64 = (uint32_t)w->fd };

	return epoll_ctl(loop->epoll_fd, op, w->fd, &ev) < 0 ? -errno : 0;
}

int watch_add(struct loop *loop, struct watch *w, uint32_t events)
{
	int ret = 0;

	if (w->fd < 0)
		return -EBADF;
	pthread_mutex_lock(&loop->lock);
	if ((unsigned int)w->fd >= loop->nr_fd) {
		unsigned int nr = (unsigned int)w->fd + 16;
		struct watch **by_fd = realloc(loop->by_fd, nr * sizeof(*by_fd));

		if (!by_fd) {
			ret = -ENOMEM;
			goto out;
		}
		memset(by_fd + loop->nr_fd, 0, (nr - loop->nr_fd) * sizeof(*by_fd));
		loop->by_fd = by_fd;
		loop->nr_fd = nr;
	}
	if (loop->by_fd[w->fd]) {
		ret = -EEXIST;
		goto out;
	}
	ret = watch_ctl(loop, EPOLL_CTL_ADD, w, events);
	if (ret)
		goto out;
	loop->by_fd[w->fd] = w;
	w->dead = false;
out:
	pthread_mutex_unlock(&loop->lock);
	return ret;
}

int watch_mod(struct loop *loop, struct watch *w, uint32_t events)
{
	return watch_ctl(loop, EPOLL_CTL_MOD, w, events);
}

void watch_del(struct loop *loop, struct watch *w)
{
	pthread_mutex_lock(&loop->lock);
	if (w->fd >= 0 && (unsigned int)w->fd < loop->nr_fd && loop->by_fd[w->fd] == w) {
		loop->by_fd[w->fd] = NULL;
		watch_ctl(loop, EPOLL_CTL_DEL, w, 0);
	}
	w->dead = true;
	pthread_mutex_unlock(&loop->lock);
}

static void loop_event(struct loop *loop, uint64_t data, uint32_t events)
{
	struct watch *w = NULL;

	pthread_mutex_lock(loop->device_lock);
	pthread_mutex_lock(&loop->lock);
	if (data < loop->nr_fd)
		w = loop->by_fd[data];
	pthread_mutex_unlock(&loop->lock);
	if (w)
		w->fn(w->opaque, events);
	pthread_mutex_unlock(loop->device_lock);
}

/* The loop */

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;
	int saved = errno;

	/* EAGAIN means that the count is at its maximum: awake already. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0) { }
	errno = saved;
}

void loop_run(struct loop *loop, _Atomic int *stop)
{
	struct epoll_event ev[LOOP_EVENTS];

	pthread_mutex_lock(&loop->lock);
	loop->thread = pthread_self();
	loop->running = true;
	pthread_mutex_unlock(&loop->lock);

	while (atomic_load(stop) < 0) {
		unsigned int budget = LOOP_BATCH;
		bool more = true;
		int n;

		while (more && budget--)
			more = loop_expire_one(loop);
		pthread_mutex_lock(&loop->lock);
		if (!more)
			loop_program(loop);
		pthread_mutex_unlock(&loop->lock);
		if (atomic_load(stop) >= 0)
			break;
		n = epoll_wait(loop->epoll_fd, ev, LOOP_EVENTS, more ? 0 : -1);
		for (int i = 0; i < n; i++) {
			if (ev[i].data.u64 == EV_TIMER) {
				pthread_mutex_lock(&loop->lock);
				loop->programmed = TIMER_OFF;
				pthread_mutex_unlock(&loop->lock);
			} else if (ev[i].data.u64 != EV_WAKE) {
				loop_event(loop, ev[i].data.u64, ev[i].events);
			}
		}
	}

	pthread_mutex_lock(&loop->lock);
	loop->running = false;
	loop_program(loop);
	pthread_mutex_unlock(&loop->lock);
}
