// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-9p.c - directories of the host shared with the guest: a transport for 9P2000.L
 *
 * Virtual I/O Device (VIRTIO) Version 1.2 has the number of the device type only; Linux's
 * net/9p/trans_virtio.c and <linux/virtio_9p.h> have the rest: one queue, a chain for each message with the
 * request in its readable part and room for the reply in its writable part, and a mount tag in the
 * configuration.
 *
 * Messages are handled on a few threads of the device's own, several at a time and in any order: a client
 * that cares waits for the reply. Only Tflush has an order, that of "flush" in the Plan 9 manual: it is
 * answered after the message it is about. Messages that came before it in the queue have been taken up by
 * then, so waiting for those in hand is enough, and they never wait for anything but the host.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_9p.h>

#include "../fs/9p.h"
#include "../msg.h"
#include "virtio.h"

#define P9_THREADS	4
#define TAG_MAX		VM_SHARE_TAG_MAX

struct v9p_worker {
	struct v9p *dev;
	pthread_t thread;

	/* owned by vdev.lock */
	bool busy;			/* has a message in hand */
	uint8_t type;
	uint16_t tag;

	struct vq_elem elem;
	uint8_t req[P9_MSIZE_MAX], reply[P9_MSIZE_MAX];
};

struct v9p {
	struct virtio_dev vdev;
	struct p9_server *srv;
	const char *tag;

	/* owned by vdev.lock */
	pthread_cond_t work;
	pthread_cond_t done;		/* a worker has finished a message */
	bool stop;

	struct v9p_worker *worker[P9_THREADS];
	unsigned int nr_workers;
};

struct v9p_set {
	unsigned int nr;
	struct v9p *share[VM_MAX_SHARES];
};

/* A message */

static bool in_hand(const struct v9p *p9, uint16_t tag)
{
	for (unsigned int i = 0; i < p9->nr_workers; i++) {
		const struct v9p_worker *w = p9->worker[i];

		if (w->busy && w->type != P9_TFLUSH && w->tag == tag)
			return true;
	}
	return false;
}

/* Copy the request; with dev->lock held only its header, so that a later Tflush finds it. */
static bool fetch_header(struct v9p_worker *w)
{
	if (w->elem.out_len < P9_HEADER ||
	    !vq_copy(w->dev->vdev.vm, &w->elem, false, 0, w->req, P9_HEADER))
		return false;
	w->type = p9_type(w->req);
	w->tag = p9_tag(w->req);
	return true;
}

/* Without a lock, except for Tflush. Returns the length of the reply, 0 if the chain makes no sense. */
static uint32_t serve(struct v9p_worker *w)
{
	struct v9p *p9 = w->dev;
	struct vm *vm = p9->vdev.vm;
	uint32_t len = w->elem.out_len, max = w->elem.in_len, n;

	if (len > P9_MSIZE_MAX)
		len = P9_MSIZE_MAX;
	if (max > P9_MSIZE_MAX)
		max = P9_MSIZE_MAX;
	/* The header is the one that was seen: the guest may have changed it meanwhile. */
	if (!vq_copy(vm, &w->elem, false, P9_HEADER, w->req + P9_HEADER, len - P9_HEADER))
		return 0;
	if (w->type == P9_TFLUSH && len >= P9_HEADER + 2) {
		uint16_t old = w->req[P9_HEADER] | w->req[P9_HEADER + 1] << 8;

		pthread_mutex_lock(&p9->vdev.lock);
		while (in_hand(p9, old))
			pthread_cond_wait(&p9->done, &p9->vdev.lock);
		pthread_mutex_unlock(&p9->vdev.lock);
		n = p9_flushed(w->tag, w->reply, max);
	} else {
		n = p9_handle(p9->srv, w->req, len, w->reply, max);
	}
	return n && vq_copy(vm, &w->elem, true, 0, w->reply, n) ? n : 0;
}

static void *worker_thread(void *opaque)
{
	struct v9p_worker *w = opaque;
	struct v9p *p9 = w->dev;
	struct virtio_dev *dev = &p9->vdev;
	struct virtqueue *vq = &dev->vq[0];

	pthread_setname_np(pthread_self(), "9p");
	pthread_mutex_lock(&dev->lock);
	while (!p9->stop) {
		uint32_t written;
		int got = virtio_queue_live(dev, 0) ? vq_pop(vq, &w->elem) : 0;

		if (got < 0) {
			virtio_needs_reset(dev, vq->broken);
			continue;
		}
		if (!got) {
			if (virtio_queue_live(dev, 0) && vq_rearm(vq)) {
				if (vq->broken)
					virtio_needs_reset(dev, vq->broken);
				continue;
			}
			pthread_cond_wait(&p9->work, &dev->lock);
			continue;
		}
		if (!fetch_header(w)) {
			virtio_needs_reset(dev, "request without a header");
			continue;
		}
		w->busy = true;
		if (vq_pending(vq))
			pthread_cond_signal(&p9->work);
		pthread_mutex_unlock(&dev->lock);
		written = serve(w);
		pthread_mutex_lock(&dev->lock);
		w->busy = false;
		if (virtio_queue_live(dev, 0)) {
			if (written)
				virtio_push(dev, 0, w->elem.head, written);
			else
				virtio_needs_reset(dev, "request or reply is not in RAM, or too short");
		}
		pthread_cond_broadcast(&p9->done);
	}
	pthread_mutex_unlock(&dev->lock);
	return NULL;
}

/* Device ops */

static void v9p_config_read(struct virtio_dev *dev, void *config)
{
	const char *tag = ((struct v9p *)dev)->tag;
	struct virtio_9p_config cfg = { .tag_len = htole16(strlen(tag)) };

	memset(config, 0, dev->ops->config_size);
	memcpy(config, &cfg, sizeof(cfg));
	memcpy((char *)config + sizeof(cfg), tag, strlen(tag));
}

static void v9p_start(struct virtio_dev *dev)
{
	pthread_cond_signal(&((struct v9p *)dev)->work);
}

static void v9p_notify(struct virtio_dev *dev, unsigned int queue)
{
	(void)queue;
	pthread_cond_signal(&((struct v9p *)dev)->work);
}

static bool any_busy(const struct v9p *p9)
{
	for (unsigned int i = 0; i < p9->nr_workers; i++)
		if (p9->worker[i]->busy)
			return true;
	return false;
}

static void v9p_quiesce(struct virtio_dev *dev)
{
	struct v9p *p9 = (struct v9p *)dev;

	while (any_busy(p9))
		pthread_cond_wait(&p9->done, &dev->lock);
	p9_reset(p9->srv);
}

static const struct virtio_ops v9p_ops = {
	.name = "virtio-9p",
	.id = 9,
	.class = { 0x00, 0x80, 0x01 },	/* mass storage, other */
	.nr_queues = 1,
	.config_size = sizeof(struct virtio_9p_config) + TAG_MAX,
	.config_read = v9p_config_read,
	.start = v9p_start,
	.notify = v9p_notify,
	.quiesce = v9p_quiesce,
};

_Static_assert(offsetof(struct v9p, vdev) == 0, "the casts above");
_Static_assert(sizeof(struct virtio_9p_config) == 2, "configuration layout");

/* Creation */

static void share_exit(struct v9p *p9)
{
	pthread_mutex_lock(&p9->vdev.lock);
	p9->stop = true;
	pthread_cond_broadcast(&p9->work);
	pthread_mutex_unlock(&p9->vdev.lock);
	for (unsigned int i = 0; i < p9->nr_workers; i++)
		pthread_join(p9->worker[i]->thread, NULL);
	virtio_exit(&p9->vdev);
	for (unsigned int i = 0; i < p9->nr_workers; i++)
		free(p9->worker[i]);
	pthread_cond_destroy(&p9->done);
	pthread_cond_destroy(&p9->work);
	p9_close(p9->srv);
	free(p9);
}

static int worker_add(struct v9p *p9)
{
	struct v9p_worker *w = malloc(sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->dev = p9;
	w->busy = false;
	/* Workers look at each other under the lock. */
	pthread_mutex_lock(&p9->vdev.lock);
	err = -pthread_create(&w->thread, NULL, worker_thread, w);
	if (!err)
		p9->worker[p9->nr_workers++] = w;
	pthread_mutex_unlock(&p9->vdev.lock);
	if (err)
		free(w);
	return err;
}

static int share_init(struct vm *vm, const struct vm_share *config, struct v9p **out)
{
	struct v9p *p9 = calloc(1, sizeof(*p9));
	int err;

	if (!p9)
		return -ENOMEM;
	err = p9_open(&p9->srv, config->path, config->readonly);
	if (err)
		goto err_free;
	p9->tag = config->tag;
	pthread_cond_init(&p9->work, NULL);
	pthread_cond_init(&p9->done, NULL);
	p9->vdev.ops = &v9p_ops;
	p9->vdev.offered = 1ull << VIRTIO_9P_MOUNT_TAG;
	err = virtio_init(&p9->vdev, vm);
	if (err)
		goto err_close;
	while (p9->nr_workers < P9_THREADS) {
		err = worker_add(p9);
		if (!err)
			continue;
		msg_error("start a thread for the share '%s': %s. Raise the limit of processes (ulimit -u)",
			  config->path, strerror(-err));
		share_exit(p9);
		return err;
	}
	*out = p9;
	return 0;

err_close:
	pthread_cond_destroy(&p9->done);
	pthread_cond_destroy(&p9->work);
	p9_close(p9->srv);
err_free:
	free(p9);
	return err;
}

static void v9p_exit(struct vm *vm, void *state)
{
	struct v9p_set *set = state;

	(void)vm;
	if (!set)
		return;
	while (set->nr)
		share_exit(set->share[--set->nr]);
	free(set);
}

static int v9p_init(struct vm *vm, void **state)
{
	struct v9p_set *set = calloc(1, sizeof(*set));
	int err = set ? 0 : -ENOMEM;

	while (!err && set->nr < vm->config.nr_shares && set->nr < VM_MAX_SHARES) {
		err = share_init(vm, &vm->config.share[set->nr], &set->share[set->nr]);
		if (!err)
			set->nr++;
	}
	if (err) {
		v9p_exit(vm, set);
		return err;
	}
	*state = set;
	return 0;
}

/* Resets come through the PCI host. */
const struct device_ops virtio_9p_device = {
	.name = "virtio-9p",
	.init = v9p_init,
	.exit = v9p_exit,
};
