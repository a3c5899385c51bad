// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - threads that work on a device's chains
 *
 * A thread that takes a chain and sees another one waiting wakes the next thread before it sets to work; so as
 * many run as there is work for, and a single request costs a single wake-up. Idle threads wait for an event (event.h), or,
 * where the guest's notifications come from the kernel as an eventfd (accel_ops.doorbell), for that: each event wakes
 * one of those that wait by the same epoll instance.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../msg.h"
#include "pool.h"
#include "thread.h"

/* The next chain of any queue, asking for notifications where there is none. */
static bool take(struct virtio_dev *dev, struct virtio_work *work)
{
	struct virtio_pool *pool = dev->pool;
	unsigned int i;

	for (i = 0; i < dev->nr_queues && !pool->draining; i++) {
		unsigned int n = (pool->next + i) % dev->nr_queues;
		struct virtqueue *vq = &dev->vq[n];
		int got = 0;

		if (!virtio_queue_live(dev, n))
			continue;
		do {
			got = vq_pop(vq, &work->elem);
		} while (!got && vq_rearm(vq) && !vq->broken);
		if (vq->broken)
			virtio_needs_reset(dev, vq->broken);
		if (got <= 0)
			continue;
		work->queue = n;
		pool->next = n + 1;
		return true;
	}
	return false;
}

static bool more(struct virtio_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->nr_queues; i++)
		if (virtio_queue_live(dev, i) && vq_pending(&dev->vq[i]))
			return true;
	return false;
}

/*
 * A chain that the whole machine waits for, every vCPU halted, costs more for being handed over than for what it asks: the
 * guest goes idle and comes back, two threads are woken. When most were like that, the vCPU that notifies does not go on to
 * halt but serves the next one itself, and waits for it: for as short a time as serve_here() takes, since the device lock
 * is held, and interrupts wait. What takes longer is handed over after all, and it is the longer until the next try.
 */
#define AWAITED_MAX	4
#define HERE_MAX	32u		/* after as many, one is handed over, to see whether it still waits */
#define LATE_MAX	7u

static void note_awaited(struct virtio_dev *dev)
{
	struct virtio_pool *pool = dev->pool;

	if (!pool->sample)
		return;
	pool->sample = false;
	if (pool->nr_busy == 1 && atomic_load(&dev->vm->halted) == dev->vm->config.cpus)
		pool->awaited += pool->awaited < AWAITED_MAX;
	else
		pool->awaited -= pool->awaited > -AWAITED_MAX;
}

static void done(struct virtio_work *work, const char *why, uint32_t written)
{
	struct virtio_dev *dev = work->dev;

	note_awaited(dev);
	work->busy = false;
	/* Stopped meanwhile, by a reset for one: nobody waits for the chain. */
	if (why)
		virtio_needs_reset(dev, why);
	else if (virtio_queue_live(dev, work->queue))
		virtio_push(dev, work->queue, &work->elem, written);
}

void virtio_pool_done(struct virtio_work *work, const char *why, uint32_t written)
{
	pthread_mutex_lock(&work->dev->lock);
	done(work, why, written);
	pthread_mutex_unlock(&work->dev->lock);
}

/* The chains that a thread works on next, from @first on. */
static unsigned int gather(struct virtio_dev *dev, struct virtio_work *first)
{
	const struct virtio_pool_ops *ops = dev->pool->ops;
	unsigned int nr = 0, max = ops->batch ? ops->batch(dev) : 1;
	struct virtio_work *work = first;

	while (nr < max && take(dev, work)) {
		const char *why = ops->taken ? ops->taken(work) : NULL;

		if (why) {
			virtio_needs_reset(dev, why);
			continue;
		}
		work->busy = true;
		work = (struct virtio_work *)((char *)work + ops->work_size);
		nr++;
	}
	return nr;
}

/* Wake one idle thread, with dev->lock held. */
static void wake_one(struct virtio_pool *pool)
{
	uint64_t one = 1;

	if (pool->epoll_fd < 0)
		event_signal(&pool->wake);
	else
		(void)!write(pool->bell_fd, &one, sizeof(one));
}

/* With dev->lock, which is dropped meanwhile. An event of before is not lost: nobody reads the eventfd. */
static void wait_for_work(struct virtio_dev *dev)
{
	struct virtio_pool *pool = dev->pool;
	struct epoll_event ev;

	if (pool->epoll_fd < 0) {
		event_wait(&pool->wake, &dev->lock);
		return;
	}
	pthread_mutex_unlock(&dev->lock);
	epoll_wait(pool->epoll_fd, &ev, 1, -1);
	pthread_mutex_lock(&dev->lock);
}

/* What was taken up is given back. */
static void idle_again(struct virtio_pool *pool)
{
	pool->nr_busy--;
	pthread_cond_broadcast(&pool->done);
}

/* What gather() does only when it finds nothing more: ask for notifications. True: there is something already. */
static bool rearm(struct virtio_dev *dev)
{
	bool any = false;

	for (unsigned int i = 0; i < dev->nr_queues; i++)
		if (virtio_queue_live(dev, i))
			any |= vq_rearm(&dev->vq[i]);
	return any;
}

static bool serve_here(struct virtio_dev *dev)
{
	struct virtio_pool *pool = dev->pool;
	bool all;

	if (!pool->here || pool->nr_busy || pool->awaited <= 0 || pool->here_in_row >= HERE_MAX) {
		pool->here_in_row = 0;
		return false;
	}
	pool->nr_here = gather(dev, pool->here);
	if (!pool->nr_here)
		return true;
	pool->here_in_row++;
	pool->nr_busy++;
	pthread_mutex_unlock(&dev->lock);
	all = pool->ops->serve_here(pool->here, pool->nr_here);
	pthread_mutex_lock(&dev->lock);
	if (!all) {
		pool->awaited = 1 - (1 << pool->late_in_row);
		pool->late_in_row += pool->late_in_row < LATE_MAX;
		pool->handed = true;
		return false;
	}
	pool->late_in_row = 0;
	idle_again(pool);
	return !rearm(dev);
}

/* With dev->lock, which is dropped meanwhile. */
static void serve_handed(struct virtio_dev *dev)
{
	struct virtio_pool *pool = dev->pool;

	pool->handed = false;
	pthread_mutex_unlock(&dev->lock);
	pool->ops->serve_rest(pool->here, pool->nr_here);
	pthread_mutex_lock(&dev->lock);
	idle_again(pool);
}

static void *pool_thread(void *opaque)
{
	struct virtio_work *first = opaque;
	struct virtio_dev *dev = first->dev;
	struct virtio_pool *pool = dev->pool;

	pool->ops->enter(dev);
	pthread_mutex_lock(&dev->lock);
	while (!pool->stop) {
		unsigned int nr;

		if (pool->handed)
			serve_handed(dev);
		nr = gather(dev, first);
		if (!nr) {
			wait_for_work(dev);
			continue;
		}
		pool->sample = !pool->nr_busy;
		if (++pool->nr_busy < pool->nr && more(dev))
			wake_one(pool);
		pthread_mutex_unlock(&dev->lock);
		if (nr == 1) {
			uint32_t written = 0;
			const char *why = pool->ops->serve(first, &written);

			pthread_mutex_lock(&dev->lock);
			done(first, why, written);
		} else {
			pool->ops->serve_all(first, nr);
			pthread_mutex_lock(&dev->lock);
		}
		idle_again(pool);
	}
	if (pool->handed)
		serve_handed(dev);
	/* One at a time. */
	wake_one(pool);
	pthread_mutex_unlock(&dev->lock);
	return NULL;
}

void virtio_pool_notify(struct virtio_dev *dev, unsigned int queue)
{
	(void)queue;
	if (dev->pool && !serve_here(dev))
		wake_one(dev->pool);
}

void virtio_pool_wait(struct virtio_dev *dev)
{
	pthread_cond_wait(&dev->pool->done, &dev->lock);
}

void virtio_pool_quiesce(struct virtio_dev *dev)
{
	struct virtio_pool *pool = dev->pool;

	if (!pool)
		return;
	/* Or a guest that puts in ever more would never let it end. */
	pool->draining = true;
	while (pool->nr_busy)
		virtio_pool_wait(dev);
	pool->draining = false;
	/* There may be other queues, which go on. */
	event_broadcast(&pool->wake);
}

static struct virtio_work *new_work(struct virtio_dev *dev)
{
	const struct virtio_pool_ops *ops = dev->pool->ops;
	unsigned int nr = ops->batch ? ops->batch(dev) : 1;
	struct virtio_work *work = calloc(nr, ops->work_size);

	for (unsigned int i = 0; work && i < nr; i++)
		((struct virtio_work *)((char *)work + i * ops->work_size))->dev = dev;
	return work;
}

static int add_thread(struct virtio_dev *dev, const char *what)
{
	struct virtio_pool *pool = dev->pool;
	struct virtio_work *work = new_work(dev);
	int err;

	if (!work)
		return -ENOMEM;
	/* Threads look at each other under the lock. */
	pthread_mutex_lock(&dev->lock);
	err = virtio_thread(&work->thread, pool->ops->name, pool_thread, work, what);
	if (!err)
		pool->work[pool->nr++] = work;
	pthread_mutex_unlock(&dev->lock);
	if (err)
		free(work);
	return err;
}

static void pool_free(struct virtio_pool *pool)
{
	if (pool->epoll_fd >= 0)
		close(pool->epoll_fd);
	if (pool->bell_fd >= 0)
		close(pool->bell_fd);
	free(pool->here);
	free(pool->work);
	free(pool);
}

/* An event of the eventfd is one of the epoll instance, whatever its counter says. */
static int make_bell(struct virtio_pool *pool)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };

	pool->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (pool->bell_fd < 0 || pool->epoll_fd < 0 || epoll_ctl(pool->epoll_fd, EPOLL_CTL_ADD, pool->bell_fd, &ev))
		return -errno;
	return 0;
}

void virtio_pool_exit(struct virtio_dev *dev)
{
	struct virtio_pool *pool = dev->pool;
	unsigned int i;

	if (!pool)
		return;
	pthread_mutex_lock(&dev->lock);
	pool->stop = true;
	wake_one(pool);
	pthread_mutex_unlock(&dev->lock);
	for (i = 0; i < pool->nr; i++)
		pthread_join(pool->work[i]->thread, NULL);
	for (i = 0; i < pool->nr; i++)
		free(pool->work[i]);
	/* The guest runs no more, but the device may still be reset. */
	pthread_mutex_lock(&dev->lock);
	dev->pool = NULL;
	pthread_mutex_unlock(&dev->lock);
	virtio_doorbell(dev, 0);
	pthread_cond_destroy(&pool->done);
	pool_free(pool);
}

int virtio_pool_init(struct virtio_dev *dev, const struct virtio_pool_ops *ops, const char *what)
{
	struct virtio_pool *pool = calloc(1, sizeof(*pool));
	int err = 0;

	if (!pool)
		return -ENOMEM;
	pool->ops = ops;
	pool->bell_fd = pool->epoll_fd = -1;
	pool->work = calloc(ops->threads, sizeof(*pool->work));
	if (!pool->work)
		err = -ENOMEM;
	else if (dev->vm->config.accel->doorbell)
		err = make_bell(pool);
	if (err) {
		msg_error("create an eventfd for %s: %s. Raise the limit of open files (ulimit -n)", what, strerror(-err));
		pool_free(pool);
		return err;
	}
	pthread_cond_init(&pool->done, NULL);
	dev->pool = pool;
	do {
		err = add_thread(dev, what);
	} while (!err && pool->nr < ops->threads);
	if (err)
		virtio_pool_exit(dev);
	else if (pool->bell_fd >= 0)
		virtio_doorbell(dev, pool->bell_fd);
	return err;
}

void virtio_pool_allow_here(struct virtio_dev *dev)
{
	/* Where the kernel takes notifications, no vCPU serves anything. */
	if (dev->pool->bell_fd < 0)
		dev->pool->here = new_work(dev);
}
