// SPDX-License-Identifier: GPL-2.0-only
/*
 * pool.c - threads that work on a device's chains
 *
 * A thread that takes a chain and sees another one waiting wakes the next thread before it sets to work; so as
 * many run as there is work for, and a single request costs a single wake-up.
 */
#include <errno.h>
#include <stdlib.h>

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

static void done(struct virtio_work *work, const char *why, uint32_t written)
{
	struct virtio_dev *dev = work->dev;

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

static void *pool_thread(void *opaque)
{
	struct virtio_work *first = opaque;
	struct virtio_dev *dev = first->dev;
	struct virtio_pool *pool = dev->pool;

	pool->ops->enter(dev);
	pthread_mutex_lock(&dev->lock);
	while (!pool->stop) {
		unsigned int nr = gather(dev, first);

		if (!nr) {
			pthread_cond_wait(&pool->wake, &dev->lock);
			continue;
		}
		if (++pool->nr_busy < pool->nr && more(dev))
			pthread_cond_signal(&pool->wake);
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
		pool->nr_busy--;
		pthread_cond_broadcast(&pool->done);
	}
	pthread_mutex_unlock(&dev->lock);
	return NULL;
}

void virtio_pool_notify(struct virtio_dev *dev, unsigned int queue)
{
	(void)queue;
	if (dev->pool)
		pthread_cond_signal(&dev->pool->wake);
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
	pthread_cond_broadcast(&pool->wake);
}

static int add_thread(struct virtio_dev *dev, const char *what)
{
	struct virtio_pool *pool = dev->pool;
	unsigned int nr = pool->ops->batch ? pool->ops->batch(dev) : 1;
	struct virtio_work *work = calloc(nr, pool->ops->work_size);
	int err;

	if (!work)
		return -ENOMEM;
	for (unsigned int i = 0; i < nr; i++)
		((struct virtio_work *)((char *)work + i * pool->ops->work_size))->dev = dev;
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

void virtio_pool_exit(struct virtio_dev *dev)
{
	struct virtio_pool *pool = dev->pool;
	unsigned int i;

	if (!pool)
		return;
	pthread_mutex_lock(&dev->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&dev->lock);
	for (i = 0; i < pool->nr; i++)
		pthread_join(pool->work[i]->thread, NULL);
	for (i = 0; i < pool->nr; i++)
		free(pool->work[i]);
	/* The guest runs no more, but the device may still be reset. */
	pthread_mutex_lock(&dev->lock);
	dev->pool = NULL;
	pthread_mutex_unlock(&dev->lock);
	pthread_cond_destroy(&pool->done);
	pthread_cond_destroy(&pool->wake);
	free(pool->work);
	free(pool);
}

int virtio_pool_init(struct virtio_dev *dev, const struct virtio_pool_ops *ops, const char *what)
{
	struct virtio_pool *pool = calloc(1, sizeof(*pool));
	int err;

	if (!pool)
		return -ENOMEM;
	pool->ops = ops;
	pool->work = calloc(ops->threads, sizeof(*pool->work));
	if (!pool->work) {
		free(pool);
		return -ENOMEM;
	}
	pthread_cond_init(&pool->wake, NULL);
	pthread_cond_init(&pool->done, NULL);
	dev->pool = pool;
	do {
		err = add_thread(dev, what);
	} while (!err && pool->nr < ops->threads);
	if (err)
		virtio_pool_exit(dev);
	return err;
}
