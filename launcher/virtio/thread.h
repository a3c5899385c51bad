/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * thread.h - how the threads of devices begin
 */
#ifndef TENON_VIRTIO_THREAD_H
#define TENON_VIRTIO_THREAD_H

#include <pthread.h>

/*
 * Start @fn(@opaque) on a thread called @name (15 characters at most), which no signal disturbs. 0, or -errno with a
 * message printed that has @what it was for.
 */
int virtio_thread(pthread_t *thread, const char *name, void *(*fn)(void *), void *opaque, const char *what);

#endif /* TENON_VIRTIO_THREAD_H */
