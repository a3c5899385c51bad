// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-rng.c - entropy from the host
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Entropy Device". Every machine has one: early in its boot a
 * guest may have nothing else to seed itself from, and block. How much a guest gets is bounded, so that one
 * which reads for ever does not keep a processor of the host busy.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>

#include "../msg.h"
#include "virtio.h"

#define RNG_CHUNK	4096u		/* most that one request gets */
#define RNG_RATE	(1u << 20)	/* bytes a second, and what may be saved up */
#define NS_PER_SEC	1000000000ull

struct vrng {
	struct virtio_dev vdev;

	/* owned by vdev.lock */
	pthread_cond_t work;
	bool stop;

	/* the thread's own */
	uint8_t data[RNG_CHUNK];	/* each byte is given out once */
	bool fresh;
	uint64_t budget, budget_at;
	struct vq_elem elem;

	pthread_t thread;
};

static bool refill(struct vrng *rng)
{
	size_t got = 0;

	while (got < sizeof(rng->data)) {
		ssize_t n = getrandom(rng->data + got, sizeof(rng->data) - got, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* How long until a request can be served; 0: now. */
static uint64_t budget_wait(struct vrng *rng)
{
	uint64_t now = clock_ns(), passed = now - rng->budget_at;

	if (passed > NS_PER_SEC)
		passed = NS_PER_SEC;
	rng->budget += passed * RNG_RATE / NS_PER_SEC;
	if (rng->budget > RNG_RATE)
		rng->budget = RNG_RATE;
	rng->budget_at = now;
	return rng->budget >= RNG_CHUNK ? 0 : (RNG_CHUNK - rng->budget) * NS_PER_SEC / RNG_RATE + 1;
}

/* With dev->lock, which is dropped meanwhile. */
static void wait_ns(struct vrng *rng, uint64_t ns)
{
	uint64_t until = clock_ns() + ns;
	struct timespec ts = { (time_t)(until / NS_PER_SEC), (long)(until % NS_PER_SEC) };

	pthread_cond_timedwait(&rng->work, &rng->vdev.lock, &ts);
}

/* One request, with dev->lock and fresh data. False: there is none. */
static bool serve(struct vrng *rng)
{
	struct virtio_dev *dev = &rng->vdev;
	struct virtqueue *vq = &dev->vq[0];
	uint32_t len;
	int got = vq_pop(vq, &rng->elem);

	if (got < 0) {
		virtio_needs_reset(dev, vq->broken);
		return true;
	}
	if (!got)
		return false;
	len = rng->elem.in_len < RNG_CHUNK ? rng->elem.in_len : RNG_CHUNK;
	if (!len) {
		virtio_needs_reset(dev, "request without room for data");
	} else if (!vq_copy(dev->vm, &rng->elem, true, 0, rng->data, len)) {
		virtio_needs_reset(dev, "data outside RAM");
	} else {
		virtio_push(dev, 0, rng->elem.head, len);
		rng->budget -= len;
	}
	explicit_bzero(rng->data, sizeof(rng->data));
	rng->fresh = false;
	return true;
}

static void *rng_thread(void *opaque)
{
	struct vrng *rng = opaque;
	struct virtio_dev *dev = &rng->vdev;
	struct virtqueue *vq = &dev->vq[0];
	uint64_t wait;
	sigset_t all;

	prctl(PR_SET_NAME, "rng");
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_mutex_lock(&dev->lock);
	while (!rng->stop) {
		if (!virtio_queue_live(dev, 0) || (!vq_pending(vq) && !vq_rearm(vq))) {
			pthread_cond_wait(&rng->work, &dev->lock);
			continue;
		}
		wait = budget_wait(rng);
		if (wait) {
			wait_ns(rng, wait);
			continue;
		}
		if (!rng->fresh) {
			pthread_mutex_unlock(&dev->lock);
			rng->fresh = refill(rng);
			pthread_mutex_lock(&dev->lock);
			if (!rng->fresh) {
				virtio_needs_reset(dev, "the host has no entropy");
				continue;
			}
			/* The device may have been reset meanwhile. */
			if (!virtio_queue_live(dev, 0))
				continue;
		}
		if (!serve(rng) && vq->broken)
			virtio_needs_reset(dev, vq->broken);
	}
	pthread_mutex_unlock(&dev->lock);
	return NULL;
}

/* Device ops */

static void rng_config_read(struct virtio_dev *dev, void *config)
{
	(void)dev;
	(void)config;
}

static void rng_start(struct virtio_dev *dev)
{
	pthread_cond_signal(&((struct vrng *)dev)->work);
}

static void rng_notify(struct virtio_dev *dev, unsigned int queue)
{
	(void)queue;
	pthread_cond_signal(&((struct vrng *)dev)->work);
}

/* The queue is used with dev->lock only. */
static void rng_quiesce(struct virtio_dev *dev)
{
	(void)dev;
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng",
	.id = 4,
	.class = { 0x00, 0x00, 0xff },	/* unclassified */
	.nr_queues = 1,
	.config_read = rng_config_read,
	.start = rng_start,
	.notify = rng_notify,
	.quiesce = rng_quiesce,
};

_Static_assert(offsetof(struct vrng, vdev) == 0, "the casts above");

/* Creation */

static void vrng_exit(struct vm *vm, void *state)
{
	struct vrng *rng = state;

	(void)vm;
	if (!rng)
		return;
	pthread_mutex_lock(&rng->vdev.lock);
	rng->stop = true;
	pthread_cond_signal(&rng->work);
	pthread_mutex_unlock(&rng->vdev.lock);
	pthread_join(rng->thread, NULL);
	virtio_exit(&rng->vdev);
	pthread_cond_destroy(&rng->work);
	explicit_bzero(rng->data, sizeof(rng->data));
	free(rng);
}

static int vrng_init(struct vm *vm, void **state)
{
	struct vrng *rng = calloc(1, sizeof(*rng));
	pthread_condattr_t attr;
	int err;

	if (!rng)
		return -ENOMEM;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&rng->work, &attr);
	pthread_condattr_destroy(&attr);
	rng->budget = RNG_RATE;
	rng->budget_at = clock_ns();
	rng->vdev.ops = &rng_ops;
	err = virtio_init(&rng->vdev, vm);
	if (err)
		goto err_free;
	err = -pthread_create(&rng->thread, NULL, rng_thread, rng);
	if (err) {
		msg_error("start a thread for the entropy device: %s. Raise the limit of processes "
			  "(ulimit -u)", strerror(-err));
		goto err_virtio;
	}
	*state = rng;
	return 0;

err_virtio:
	virtio_exit(&rng->vdev);
err_free:
	pthread_cond_destroy(&rng->work);
	free(rng);
	return err;
}

/* Resets come through the PCI host. */
const struct device_ops virtio_rng_device = {
	.name = "virtio-rng",
	.init = vrng_init,
	.exit = vrng_exit,
};
