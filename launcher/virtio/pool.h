/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pool.h - threads of a device that take chains from its queues and work on them without dev->lock, several at
 * a time and in any order
 *
 * A device with a pool has virtio_pool_notify() and virtio_pool_quiesce() among its ops, or calls them from its
 * own.
 */
#ifndef TENON_VIRTIO_POOL_H
#define TENON_VIRTIO_POOL_H

#include "../event.h"
#include "virtio.h"

/* A chain that a thread has in hand; the device's own data of it follows. */
struct virtio_work {
	struct virtio_dev *dev;
	pthread_t thread;		/* in the first of those of a thread */
	bool busy;			/* with dev->lock */
	unsigned int queue;
	struct vq_elem elem;
};

struct virtio_pool_ops {
	const char *name;		/* of the threads */
	unsigned int threads;
	size_t work_size;		/* struct virtio_work and what follows */
	/* How many chains a thread may take at a time, with dev->lock held; optional: one. */
	unsigned int (*batch)(struct virtio_dev *dev);
	/* Several of them, @work_size apart: virtio_pool_done() for each. */
	void (*serve_all)(struct virtio_work *first, unsigned int nr);
	/*
	 * The same on the thread that notifies, a vCPU's: start what needs nobody to wait, give back what comes within a
	 * moment. False: not all did, and serve_rest() has to end it on one of the pool's threads.
	 * virtio_pool_allow_here() has to say that the device can do so.
	 */
	bool (*serve_here)(struct virtio_work *first, unsigned int nr);
	void (*serve_rest)(struct virtio_work *first, unsigned int nr);
	/* On each thread before all else: sandbox_enter(). */
	void (*enter)(struct virtio_dev *dev);
	/* optional, with dev->lock held: a chain was taken. NULL, or why it makes no sense. */
	const char *(*taken)(struct virtio_work *work);
	/* Without it. NULL, or why the chain makes no sense; *@written: how much of it was written to. */
	const char *(*serve)(struct virtio_work *work, uint32_t *written);
};

struct virtio_pool {
	const struct virtio_pool_ops *ops;
	/* Where the back end has doorbells, idle threads wait for this eventfd, by an epoll instance; else -1. */
	int bell_fd, epoll_fd;

	/* with dev->lock */
	struct event wake;		/* a queue may have something; without doorbells */
	pthread_cond_t done;		/* a chain has been given back */
	unsigned int next;		/* queue to look at first */
	unsigned int nr_busy;
	bool draining;			/* nothing is taken up meanwhile */
	/* what the thread that notifies serves; NULL if it serves nothing */
	struct virtio_work *here;
	unsigned int nr_here;		/* taken up there, and not given back */
	bool handed;			/* a thread of the pool is to end it */
	bool sample;			/* the next chain that is given back tells whether the machine waited for it */
	int awaited;			/* how much more often it did of late than it did not, within limits */
	unsigned int here_in_row, late_in_row;	/* chains that were served there, and that took too long for that */
	bool stop;
	unsigned int nr;
	struct virtio_work **work;	/* each thread's first */
};

/* After virtio_init(), before virtio_exit(). 0, or -errno with a message printed; @what for it. */
int virtio_pool_init(struct virtio_dev *dev, const struct virtio_pool_ops *ops, const char *what);
void virtio_pool_exit(struct virtio_dev *dev);
/* serve_here() may be called. After virtio_pool_init(), before the guest runs. */
void virtio_pool_allow_here(struct virtio_dev *dev);

void virtio_pool_notify(struct virtio_dev *dev, unsigned int queue);
void virtio_pool_quiesce(struct virtio_dev *dev);
/* A chain has been served: give it back. @why and @written are what serve() says. */
void virtio_pool_done(struct virtio_work *work, const char *why, uint32_t written);
/* Wait until one of the threads has finished something. With dev->lock, which is dropped meanwhile. */
void virtio_pool_wait(struct virtio_dev *dev);

#endif /* TENON_VIRTIO_POOL_H */
