// SPDX-License-Identifier: GPL-2.0-only
/*
 * launcher-loop.c - timers and watches; the oracles are the host's clock and a sorted list
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "launcher/loop.h"
#include "tap.h"

#define MS	1000000ull

static pthread_mutex_t device_lock = PTHREAD_MUTEX_INITIALIZER;
static struct loop loop;
static _Atomic int stop;
static unsigned int order[64], nr_order;
static bool lock_held, early;

struct test_timer {
	struct timer t;
	unsigned int id;
	uint64_t due;
	unsigned int again;	/* times to arm itself again */
	uint64_t period;
};

static void fire(void *opaque)
{
	struct test_timer *tt = opaque;

	if (clock_ns() < tt->due)
		early = true;
	if (!pthread_mutex_trylock(&device_lock)) {
		lock_held = false;
		pthread_mutex_unlock(&device_lock);
	}
	if (nr_order < 64)
		order[nr_order++] = tt->id;
	if (tt->again) {
		tt->again--;
		tt->due += tt->period;
		timer_set(&loop, &tt->t, tt->due);
	}
}

static void end(void *opaque)
{
	(void)opaque;
	stop = 0;
}

static void run_for(uint64_t ns)
{
	struct timer t;

	stop = -1;
	timer_init(&t, end, NULL);
	timer_set(&loop, &t, clock_ns() + ns);
	loop_run(&loop, &stop);
}

static void test_order(void)
{
	static struct test_timer tt[32];
	uint64_t start = clock_ns(), seed = tap_seed(7);
	bool sorted = true;

	nr_order = 0;
	lock_held = true;
	early = false;
	for (unsigned int i = 0; i < 32; i++) {
		timer_init(&tt[i].t, fire, &tt[i]);
		tt[i].id = i;
		tt[i].due = start + tap_random(&seed) % (20 * MS);
		timer_set(&loop, &tt[i].t, start + tap_random(&seed) % (20 * MS));
		timer_set(&loop, &tt[i].t, tt[i].due);
	}
	timer_set(&loop, &tt[5].t, TIMER_OFF);
	timer_set(&loop, &tt[5].t, TIMER_OFF);
	run_for(30 * MS);
	is_u64(nr_order, 31, "every armed timer fires once");
	for (unsigned int i = 1; i < nr_order; i++)
		sorted &= tt[order[i - 1]].due <= tt[order[i]].due && order[i] != 5;
	ok(sorted, "in the order of their deadlines, and none that was disarmed");
	ok(lock_held, "with the device lock held");
	ok(!early, "none early");
	ok(tt[3].t.deadline == TIMER_OFF && !loop.armed, "nothing is armed afterwards");
}

static void test_periodic(void)
{
	static struct test_timer tt;
	uint64_t start = clock_ns(), took;

	nr_order = 0;
	early = false;
	timer_init(&tt.t, fire, &tt);
	tt.period = MS;
	tt.again = 49;
	tt.due = start + MS;
	timer_set(&loop, &tt.t, tt.due);
	run_for(60 * MS);
	took = clock_ns() - start;
	is_u64(nr_order, 50, "a timer that arms itself from its callback");
	ok(!early && took >= 50 * MS, "keeps its period");

	nr_order = 0;
	timer_set(&loop, &tt.t, 0);
	run_for(MS);
	is_u64(nr_order, 1, "a deadline in the past fires at once");
}

static _Atomic int thread_stop;

static void *arming_thread(void *arg)
{
	struct test_timer *tt = arg;

	while (!thread_stop) {
		pthread_mutex_lock(&device_lock);
		timer_set(&loop, &tt->t, clock_ns() + 50000);
		pthread_mutex_unlock(&device_lock);
		usleep(20);
	}
	pthread_mutex_lock(&device_lock);
	timer_set(&loop, &tt->t, TIMER_OFF);
	memset(tt, 0xff, sizeof(*tt));		/* as a device that frees it */
	pthread_mutex_unlock(&device_lock);
	return NULL;
}

static void count(void *opaque)
{
	struct test_timer *tt = opaque;

	tt->id++;
	nr_order++;
}

static void late_arm(void *opaque)
{
	(void)opaque;
	nr_order++;
	stop = 0;
}

static void *late_thread(void *arg)
{
	usleep(20000);
	timer_set(&loop, arg, clock_ns() + MS);
	return NULL;
}

static void test_threads(void)
{
	static struct test_timer tt[4];
	static struct timer late;
	pthread_t thread[4];
	uint64_t start;

	nr_order = 0;
	thread_stop = 0;
	for (unsigned int i = 0; i < 4; i++) {
		timer_init(&tt[i].t, count, &tt[i]);
		pthread_create(&thread[i], NULL, arming_thread, &tt[i]);
	}
	run_for(100 * MS);
	thread_stop = 1;
	run_for(20 * MS);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ok(nr_order > 20, "timers armed by other threads fire (%u)", nr_order);
	ok(!loop.armed, "and are gone when those disarmed them");

	/* The loop sleeps without any timer, and another thread arms the first. */
	nr_order = 0;
	stop = -1;
	start = clock_ns();
	timer_init(&late, late_arm, NULL);
	pthread_create(&thread[0], NULL, late_thread, &late);
	loop_run(&loop, &stop);
	pthread_join(thread[0], NULL);
	ok(nr_order == 1 && clock_ns() - start < 1000 * MS, "a sleeping loop wakes for a new timer");
}

static void *waking_thread(void *arg)
{
	(void)arg;
	usleep(10000);
	stop = 0;
	loop_wake(&loop);
	return NULL;
}

static struct watch *victim;
static unsigned int nr_events;
static char got[16];

static void on_pipe(void *opaque, uint32_t events)
{
	struct watch *w = opaque;
	ssize_t n = 0;

	nr_events++;
	if (events & EPOLLIN)
		n = read(w->fd, got, sizeof(got) - 1);
	got[n > 0 ? n : 0] = '\0';
	if (victim && victim != w) {
		watch_del(&loop, victim);
		memset(victim, 0xff, sizeof(*victim));
	}
	if (pthread_mutex_trylock(&device_lock) == 0) {
		lock_held = false;
		pthread_mutex_unlock(&device_lock);
	}
}

static void test_watch(void)
{
	static struct watch a, b;
	int pa[2], pb[2];
	pthread_t thread;

	ok(!pipe(pa) && !pipe(pb), "pipes");
	lock_held = true;
	a = (struct watch) { .fd = pa[0], .fn = on_pipe, .opaque = &a };
	b = (struct watch) { .fd = pb[0], .fn = on_pipe, .opaque = &b };
	is_u64((uint64_t)watch_add(&loop, &a, EPOLLIN), 0, "a watch is added");
	is_u64((uint64_t)-watch_add(&loop, &a, EPOLLIN), EEXIST, "but not twice");
	ok(write(pa[1], "hello", 5) == 5, "a write");
	run_for(5 * MS);
	ok(nr_events == 1 && !strcmp(got, "hello"), "is seen once");
	ok(lock_held, "with the device lock held");

	is_u64((uint64_t)watch_mod(&loop, &a, 0), 0, "events are switched off");
	ok(write(pa[1], "x", 1) == 1, "a write");
	run_for(5 * MS);
	is_u64(nr_events, 1, "is not seen");
	watch_mod(&loop, &a, EPOLLIN);
	run_for(5 * MS);
	is_u64(nr_events, 2, "until they are on again");

	/* Both are ready; whichever comes first deletes the other, whose memory is gone then. */
	watch_add(&loop, &b, EPOLLIN);
	ok(write(pa[1], "x", 1) == 1 && write(pb[1], "x", 1) == 1, "writes to both");
	nr_events = 0;
	victim = &b;
	run_for(5 * MS);
	is_u64(nr_events, b.fd == -1 ? 1 : 2, "a deleted watch is not called");
	victim = NULL;
	watch_del(&loop, &a);
	is_u64((uint64_t)-watch_add(&loop, &(struct watch){ .fd = -1 }, EPOLLIN), EBADF,
	       "no descriptor, no watch");

	stop = -1;
	pthread_create(&thread, NULL, waking_thread, NULL);
	loop_run(&loop, &stop);
	pthread_join(thread, NULL);
	ok(stop == 0, "loop_wake() from another thread");
}

/* The guest's clock stands, and with it its timers; the host's go on. */
static void test_guest_clock(void)
{
	struct test_timer guest[2] = { { .id = 1 }, { .id = 3 } }, host = { .id = 2 };
	uint64_t at, stood;

	nr_order = 0;
	timer_init_guest(&guest[0].t, fire, &guest[0]);
	timer_init_guest(&guest[1].t, fire, &guest[1]);
	timer_init(&host.t, fire, &host);
	at = clock_ns();
	ok(guest_ns(&loop) - at < 100 * MS, "the guest's clock is the host's at first");
	timer_set(&loop, &guest[0].t, guest_ns(&loop) + 5 * MS);
	timer_set(&loop, &guest[1].t, guest_ns(&loop) + 40 * MS);
	timer_set(&loop, &host.t, clock_ns() + 20 * MS);
	run_for(10 * MS);
	guest_clock_stop(&loop);
	at = guest_ns(&loop);
	stood = clock_ns();
	run_for(60 * MS);
	is_u64(guest_ns(&loop), at, "it stands");
	ok(nr_order == 2 && order[0] == 1 && order[1] == 2, "timers of the host expire, those of the guest do not");
	stood = clock_ns() - stood;
	guest_clock_start(&loop);
	at = guest_ns(&loop) - at;
	ok(at < 20 * MS, "it goes on where it stood");
	is_u64(nr_order, 2, "and nothing is due at once");
	guest[1].due = clock_ns() + 5 * MS;
	run_for(60 * MS);
	ok(nr_order == 3 && order[2] == 3, "the timer comes by the guest's clock");
	ok(!early, "not before");
	guest_clock_start(&loop);
	ok(clock_ns() - guest_ns(&loop) >= stood, "to let a clock go on that goes changes nothing");
	guest_clock_stop(&loop);
	timer_set(&loop, &guest[0].t, guest_ns(&loop));
	run_for(5 * MS);
	is_u64(nr_order, 3, "what is armed while it stands waits");
	guest_clock_start(&loop);
	run_for(5 * MS);
	is_u64(nr_order, 4, "until it goes on");
}

int main(void)
{
	is_u64((uint64_t)loop_init(&loop, &device_lock), 0, "set up");
	test_order();
	test_periodic();
	test_threads();
	test_watch();
	test_guest_clock();
	loop_exit(&loop);
	return tap_done();
}
