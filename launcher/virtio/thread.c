// SPDX-License-Identifier: GPL-2.0-only
/*
 * thread.c - see thread.h
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../msg.h"
#include "../sandbox.h"
#include "thread.h"

struct start {
	char name[16];
	bool confined;			/* whoever started it was */
	void *(*fn)(void *opaque);
	void *opaque;
};

static void *begin(void *opaque)
{
	struct start start = *(struct start *)opaque;

	free(opaque);
	pthread_setname_np(pthread_self(), start.name);
	if (start.confined)
		sandbox_inherited();
	return start.fn(start.opaque);
}

int virtio_thread(pthread_t *thread, const char *name, void *(*fn)(void *), void *opaque, const char *what)
{
	struct start *start = malloc(sizeof(*start));
	int err = -ENOMEM;
	sigset_t all, old;

	if (start) {
		*start = (struct start){ .confined = sandbox_entered(), .fn = fn, .opaque = opaque };
		snprintf(start->name, sizeof(start->name), "%s", name);
		sigfillset(&all);
		pthread_sigmask(SIG_BLOCK, &all, &old);
		err = -pthread_create(thread, NULL, begin, start);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (err) {
		free(start);
		msg_error("start a thread for %s: %s. Raise the limit of processes (ulimit -u)", what, strerror(-err));
	}
	return err;
}

int virtio_poller_init(struct virtio_poller *p, const char *what)
{
	int err;

	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake_fd >= 0)
		return 0;
	err = -errno;
	msg_error("create an eventfd for %s: %s. Raise the limit of open files (ulimit -n)", what, strerror(-err));
	return err;
}

void virtio_poller_exit(struct virtio_poller *p)
{
	if (p->wake_fd >= 0)
		close(p->wake_fd);
}

int virtio_poller_start(struct virtio_poller *p, const char *name, void *(*fn)(void *opaque), void *opaque, const char *what)
{
	return virtio_thread(&p->thread, name, fn, opaque, what);
}

void virtio_poller_stop(struct virtio_poller *p)
{
	atomic_store(&p->stop, true);
	virtio_poller_wake(p);
	pthread_join(p->thread, NULL);
}

void virtio_poller_wake(struct virtio_poller *p)
{
	const uint64_t one = 1;

	/* It fails only if the counter is full, which wakes as well. */
	(void)!write(p->wake_fd, &one, sizeof(one));
}

bool eventfd_take(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) > 0;
}
