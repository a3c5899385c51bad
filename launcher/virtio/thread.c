// SPDX-License-Identifier: GPL-2.0-only
/*
 * thread.c - see thread.h
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
