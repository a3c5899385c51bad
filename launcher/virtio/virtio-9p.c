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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_9p.h>

#include "../fs/9p.h"
#include "../msg.h"
#include "../sandbox.h"
#include "pool.h"

#define P9_THREADS	4
#define TAG_MAX		VM_SHARE_TAG_MAX

struct v9p_work {
	struct virtio_work work;
	uint8_t type;			/* of the message in hand; with dev->lock */
	uint16_t tag;
	uint8_t req[P9_MSIZE_MAX], reply[P9_MSIZE_MAX];
};

struct v9p {
	struct virtio_dev vdev;
	struct p9_server *srv;
	const struct vm_share *config;
};

struct v9p_set {
	unsigned int nr;
	struct v9p *share[VM_MAX_SHARES];
};

/* A message */

static bool in_hand(const struct virtio_pool *pool, uint16_t tag)
{
	for (unsigned int i = 0; i < pool->nr; i++) {
		const struct v9p_work *w = (const struct v9p_work *)pool->work[i];

		if (w->work.busy && w->type != P9_TFLUSH && w->tag == tag)
			return true;
	}
	return false;
}

/* Copy the header of the request with dev->lock held, so that a later Tflush finds it. */
static const char *p9_taken(struct virtio_work *work)
{
	struct v9p_work *w = (struct v9p_work *)work;

	if (work->elem.out_len < P9_HEADER ||
	    !vq_copy(work->dev->vm, &work->elem, false, 0, w->req, P9_HEADER))
		return "request without a header";
	w->type = p9_type(w->req);
	w->tag = p9_tag(w->req);
	return NULL;
}

static const char *p9_serve(struct virtio_work *work, uint32_t *written)
{
	struct v9p_work *w = (struct v9p_work *)work;
	struct v9p *p9 = (struct v9p *)work->dev;
	struct vm *vm = p9->vdev.vm;
	uint32_t len = work->elem.out_len, max = work->elem.in_len;

	if (len > P9_MSIZE_MAX)
		len = P9_MSIZE_MAX;
	if (max > P9_MSIZE_MAX)
		max = P9_MSIZE_MAX;
	/* The header is the one that was seen: the guest may have changed it meanwhile. */
	if (!vq_copy(vm, &work->elem, false, P9_HEADER, w->req + P9_HEADER, len - P9_HEADER))
		return "request is not in RAM";
	if (w->type == P9_TFLUSH && len >= P9_HEADER + 2) {
		uint16_t old = w->req[P9_HEADER] | w->req[P9_HEADER + 1] << 8;

		pthread_mutex_lock(&p9->vdev.lock);
		while (in_hand(p9->vdev.pool, old))
			virtio_pool_wait(&p9->vdev);
		pthread_mutex_unlock(&p9->vdev.lock);
		*written = p9_flushed(w->tag, w->reply, max);
	} else {
		*written = p9_handle(p9->srv, w->req, len, w->reply, max);
	}
	return *written && vq_copy(vm, &work->elem, true, 0, w->reply, *written) ?
		       NULL : "reply is not in RAM, or has no room";
}

/* Device ops */

static void v9p_config_read(struct virtio_dev *dev, void *config)
{
	const char *tag = ((struct v9p *)dev)->config->tag;
	struct virtio_9p_config cfg = { .tag_len = htole16(strlen(tag)) };

	memset(config, 0, dev->ops->config_size);
	memcpy(config, &cfg, sizeof(cfg));
	memcpy((char *)config + sizeof(cfg), tag, strlen(tag));
}

static void v9p_quiesce(struct virtio_dev *dev)
{
	virtio_pool_quiesce(dev);
	p9_reset(((struct v9p *)dev)->srv);
}

static const struct virtio_ops v9p_ops = {
	.name = "virtio-9p",
	.id = 9,
	.class = { 0x00, 0x80, 0x01 },	/* mass storage, other */
	.nr_queues = 1,
	.config_size = sizeof(struct virtio_9p_config) + TAG_MAX,
	.config_read = v9p_config_read,
	.notify = virtio_pool_notify,
	.quiesce = v9p_quiesce,
};

static void p9_enter(struct virtio_dev *dev)
{
	const struct vm_share *config = ((struct v9p *)dev)->config;

	sandbox_enter(config->readonly ? SANDBOX_SHARE_RO : SANDBOX_SHARE, (const char *[]){ config->path, NULL });
}

static const struct virtio_pool_ops v9p_pool = {
	.name = "9p",
	.threads = P9_THREADS,
	.work_size = sizeof(struct v9p_work),
	.enter = p9_enter,
	.taken = p9_taken,
	.serve = p9_serve,
};

_Static_assert(offsetof(struct v9p, vdev) == 0, "the casts above");
_Static_assert(sizeof(struct virtio_9p_config) == 2, "configuration layout");

/* Creation */

static void share_exit(struct v9p *p9)
{
	virtio_pool_exit(&p9->vdev);
	virtio_exit(&p9->vdev);
	p9_close(p9->srv);
	free(p9);
}

static int share_init(struct vm *vm, const struct vm_share *config, struct v9p **out)
{
	struct v9p *p9 = calloc(1, sizeof(*p9));
	char what[128];
	int err;

	if (!p9)
		return -ENOMEM;
	err = p9_open(&p9->srv, config->path, config->readonly);
	if (err)
		goto err_free;
	p9->config = config;
	p9->vdev.ops = &v9p_ops;
	p9->vdev.offered = 1ull << VIRTIO_9P_MOUNT_TAG;
	err = virtio_init(&p9->vdev, vm);
	if (err)
		goto err_close;
	snprintf(what, sizeof(what), "the share '%s'", config->path);
	err = virtio_pool_init(&p9->vdev, &v9p_pool, what);
	if (err)
		goto err_virtio;
	*out = p9;
	return 0;

err_virtio:
	virtio_exit(&p9->vdev);
err_close:
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
