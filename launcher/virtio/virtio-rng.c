// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-rng.c - entropy from the host
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Entropy Device". Every machine has one: early in its boot a
 * guest may have nothing else to seed itself from, and block. How much a guest gets is bounded, so that one
 * which reads for ever does not keep a processor of the host busy.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../msg.h"
#include "../sandbox.h"
#include "pool.h"

#define RNG_CHUNK	4096u		/* most that one request gets */
#define RNG_RATE	(1u << 20)	/* bytes a second, and what may be saved up */
#define NS_PER_SEC	1000000000ull

struct vrng {
	struct virtio_dev vdev;

	/* the thread's own */
	uint64_t budget, budget_at;
};

/* Wait until a request may be served: some milliseconds at most, so that a reset can wait for it. */
static void budget_wait(struct vrng *rng)
{
	for (;;) {
		uint64_t now = clock_ns(), passed = now - rng->budget_at, wait;

		if (passed > NS_PER_SEC)
			passed = NS_PER_SEC;
		rng->budget += passed * RNG_RATE / NS_PER_SEC;
		if (rng->budget > RNG_RATE)
			rng->budget = RNG_RATE;
		rng->budget_at = now;
		if (rng->budget >= RNG_CHUNK)
			return;
		wait = (RNG_CHUNK - rng->budget) * NS_PER_SEC / RNG_RATE + 1;
		nanosleep(&(struct timespec){ .tv_nsec = (long)wait }, NULL);
	}
}

static const char *rng_serve(struct virtio_work *work, uint32_t *written)
{
	struct vrng *rng = (struct vrng *)work->dev;
	uint32_t len = work->elem.in_len < RNG_CHUNK ? work->elem.in_len : RNG_CHUNK, got = 0;
	uint8_t data[RNG_CHUNK];	/* each byte is given out once */
	const char *why = NULL;

	if (!len)
		return "request without room for data";
	budget_wait(rng);
	while (got < len) {
		ssize_t n = getrandom(data + got, len - got, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return "the host has no entropy";
		got += (uint32_t)n;
	}
	if (!vq_copy(work->dev->vm, &work->elem, true, 0, data, len))
		why = "data outside RAM";
	explicit_bzero(data, sizeof(data));
	rng->budget -= len;
	*written = len;
	return why;
}

/* Device ops */

static void rng_config_read(struct virtio_dev *dev, void *config)
{
	(void)dev;
	(void)config;
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng",
	.id = 4,
	.class = { 0x00, 0x00, 0xff },	/* unclassified */
	.nr_queues = 1,
	.config_read = rng_config_read,
	.notify = virtio_pool_notify,
	.quiesce = virtio_pool_quiesce,
};

static void rng_enter(struct virtio_dev *dev)
{
	(void)dev;
	sandbox_enter(SANDBOX_RNG, NULL);
}

static const struct virtio_pool_ops rng_pool = {
	.name = "rng",
	.threads = 1,
	.work_size = sizeof(struct virtio_work),
	.enter = rng_enter,
	.serve = rng_serve,
};

_Static_assert(offsetof(struct vrng, vdev) == 0, "the casts above");

/* Creation */

static void vrng_exit(struct vm *vm, void *state)
{
	struct vrng *rng = state;

	(void)vm;
	if (!rng)
		return;
	virtio_pool_exit(&rng->vdev);
	virtio_exit(&rng->vdev);
	free(rng);
}

static int vrng_init(struct vm *vm, void **state)
{
	struct vrng *rng = calloc(1, sizeof(*rng));
	int err;

	if (!rng)
		return -ENOMEM;
	rng->budget = RNG_RATE;
	rng->budget_at = clock_ns();
	rng->vdev.ops = &rng_ops;
	err = virtio_init(&rng->vdev, vm);
	if (err)
		goto err_free;
	err = virtio_pool_init(&rng->vdev, &rng_pool, "the entropy device");
	if (err)
		goto err_virtio;
	*state = rng;
	return 0;

err_virtio:
	virtio_exit(&rng->vdev);
err_free:
	free(rng);
	return err;
}

/* Resets come through the PCI host. */
const struct device_ops virtio_rng_device = {
	.name = "virtio-rng",
	.init = vrng_init,
	.exit = vrng_exit,
};
