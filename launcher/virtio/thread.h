/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * thread.h - how the threads of devices begin
 */
#ifndef TENON_VIRTIO_THREAD_H
#define TENON_VIRTIO_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/*
 * Start @fn(@opaque) on a thread called @name (15 characters at most), which no signal disturbs. 0, or -errno with a
 * message printed that has @what it was for.
 */
int virtio_thread(pthread_t *thread, const char *name, void *(*fn)(void *), void *opaque, const char *what);

/* A thread that waits by poll() for descriptors of its own, and for its device: one of these is in the device. */
struct virtio_poller {
	int wake_fd;			/* an eventfd, or -1 */
	atomic_bool stop;
	pthread_t thread;
};

/* Its eventfd. 0, or -errno with a message printed that has @what it is for. */
int virtio_poller_init(struct virtio_poller *p, const char *what);
void virtio_poller_exit(struct virtio_poller *p);
/* virtio_thread(), and its end: the thread is woken, and finds virtio_poller_stopped() true. */
int virtio_poller_start(struct virtio_poller *p, const char *name, void *(*fn)(void *opaque), void *opaque, const char *what);
void virtio_poller_stop(struct virtio_poller *p);
void virtio_poller_wake(struct virtio_poller *p);

static inline bool virtio_poller_stopped(const struct virtio_poller *p)
{
	return atomic_load(&p->stop);
}

/* Take the signals of an eventfd. False: there are none. */
bool eventfd_take(int fd);

#endif /* TENON_VIRTIO_THREAD_H */
