// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-balloon.c - memory that the guest does without goes back to the host
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Traditional Memory Balloon Device", without statistics and hints, with
 * reporting: pages that the guest's system has free are given back as they are, and come back, as zeros, when it uses
 * them. With the balloon, the host takes memory that the guest then goes without (balloon_set()).
 *
 * Giving back leaves untouched memory in its place, which is zeros. To the software CPU that is a write by a device,
 * since code that was translated from these pages is no more.
 */
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <linux/virtio_balloon.h>

#include "../ctl.h"
#include "../sandbox.h"
#include "pool.h"

#define PAGE		4096u		/* of the balloon's numbers, whatever the guest's pages are */
#define PFNS_CHUNK	1024u
#define CONFIG_SIZE	8u		/* num_pages and actual */

/*
 * Numbers of queues. The specification numbers the queue for reports 4; Linux leaves out those that were not
 * negotiated, which makes it 2. As statistics and hints are not offered, both can only be that one.
 */
enum { INFLATE, DEFLATE, REPORT_LINUX, REPORT = 4, NR_QUEUES };

_Static_assert(offsetof(struct virtio_balloon_config, actual) + 4 == CONFIG_SIZE, "configuration layout");

struct vballoon {
	struct virtio_dev vdev;

	/* pages, with vdev.lock */
	uint32_t wanted;
	uint32_t actual;
};

/* Give back [gpa, gpa + len), of which only whole pages count, and what is no RAM does not. */
static void give_back(struct vm *vm, uint64_t gpa, uint64_t len)
{
	const struct accel_ops *ops = vm->config.accel;
	uint64_t end = (gpa + len) & ~(uint64_t)(PAGE - 1);

	if (gpa + len < gpa)
		return;
	gpa = (gpa + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	while (gpa < end) {
		uint64_t part = end - gpa;
		void *host = ops->dma_map(vm, gpa, &part, true);

		if (!host)
			return;
		/* A host that can't leaves the page as it is: nothing is lost. */
		madvise(host, part & ~(uint64_t)(PAGE - 1), MADV_DONTNEED);
		ops->dma_unmap(vm, gpa, part, true);
		/* a map may end within a page, if that is where memory ends */
		gpa += part;
		gpa = (gpa + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	}
}

/* The numbers of pages in a chain; neighbours, in either direction, go together. */
static const char *inflate(struct vm *vm, const struct vq_elem *elem)
{
	uint32_t pfn[PFNS_CHUNK];
	uint64_t first = 0, nr = 0;

	for (uint32_t off = 0; off + sizeof(pfn[0]) <= elem->out_len;) {
		uint32_t left = elem->out_len - off, len = left < sizeof(pfn) ? left & ~3u : (uint32_t)sizeof(pfn);

		if (!vq_copy(vm, elem, false, off, pfn, len))
			return "page numbers outside RAM";
		for (uint32_t i = 0; i < len / sizeof(pfn[0]); i++) {
			uint64_t page = le32toh(pfn[i]);

			if (nr && page == first + nr) {
				nr++;
			} else if (nr && page + 1 == first) {
				first--;
				nr++;
			} else {
				give_back(vm, first * PAGE, nr * PAGE);
				first = page;
				nr = 1;
			}
		}
		off += len;
	}
	give_back(vm, first * PAGE, nr * PAGE);
	return NULL;
}

static const char *balloon_serve(struct virtio_work *work, uint32_t *written)
{
	struct vm *vm = work->dev->vm;
	const struct vq_elem *elem = &work->elem;

	(void)written;
	switch (work->queue) {
	case INFLATE:
		return inflate(vm, elem);
	case DEFLATE:
		return NULL;		/* the page comes back when it is touched */
	default:
		for (unsigned int i = 0; i < elem->nr_in; i++)
			give_back(vm, elem->seg[elem->nr_out + i].gpa, elem->seg[elem->nr_out + i].len);
		return NULL;
	}
}

/* Device ops */

static void balloon_config_read(struct virtio_dev *dev, void *config)
{
	const struct vballoon *b = (struct vballoon *)dev;
	const uint32_t cfg[2] = { htole32(b->wanted), htole32(b->actual) };

	memcpy(config, cfg, CONFIG_SIZE);
}

static uint64_t bytes_left(const struct vballoon *b)
{
	uint64_t taken = (uint64_t)b->actual * PAGE, all = b->vdev.vm->config.memory;

	return taken < all ? all - taken : 0;
}

/* The driver says how much it has given. */
static void balloon_config_written(struct virtio_dev *dev, const void *config, unsigned int off, unsigned int len)
{
	struct vballoon *b = (struct vballoon *)dev;
	uint32_t cfg[2];

	memcpy(cfg, config, CONFIG_SIZE);
	if (off + len <= offsetof(struct virtio_balloon_config, actual))
		return;
	b->actual = le32toh(cfg[1]);
	ctl_event_number(dev->vm, "BALLOON_CHANGE", "actual", bytes_left(b));
}

static void balloon_quiesce(struct virtio_dev *dev)
{
	virtio_pool_quiesce(dev);
	/* What a driver had is a new one's again. */
	((struct vballoon *)dev)->actual = 0;
}

static void balloon_enter(struct virtio_dev *dev)
{
	(void)dev;
	sandbox_enter(SANDBOX_BALLOON, NULL);
}

static const struct virtio_ops balloon_ops = {
	.name = "virtio-balloon",
	.id = 5,
	.class = { 0x00, 0x00, 0xff },	/* unclassified */
	.nr_queues = NR_QUEUES,
	.config_size = CONFIG_SIZE,
	.config_read = balloon_config_read,
	.config_written = balloon_config_written,
	.notify = virtio_pool_notify,
	.quiesce = balloon_quiesce,
};

static const struct virtio_pool_ops balloon_pool = {
	.name = "balloon",
	.threads = 1,
	.work_size = sizeof(struct virtio_work),
	.enter = balloon_enter,
	.serve = balloon_serve,
};

_Static_assert(offsetof(struct vballoon, vdev) == 0, "the casts above");

/* What the control socket asks */

bool balloon_set(struct vm *vm, uint64_t bytes)
{
	struct vballoon *b = vm->balloon;

	if (!b)
		return false;
	pthread_mutex_lock(&b->vdev.lock);
	b->wanted = bytes < vm->config.memory ? (uint32_t)((vm->config.memory - bytes) / PAGE) : 0;
	virtio_config_changed(&b->vdev);
	pthread_mutex_unlock(&b->vdev.lock);
	return true;
}

bool balloon_get(struct vm *vm, uint64_t *bytes)
{
	struct vballoon *b = vm->balloon;

	if (!b)
		return false;
	pthread_mutex_lock(&b->vdev.lock);
	*bytes = bytes_left(b);
	pthread_mutex_unlock(&b->vdev.lock);
	return true;
}

/* Creation */

static void vballoon_exit(struct vm *vm, void *state)
{
	struct vballoon *b = state;

	if (!b)
		return;
	vm->balloon = NULL;
	virtio_pool_exit(&b->vdev);
	virtio_exit(&b->vdev);
	free(b);
}

static int vballoon_init(struct vm *vm, void **state)
{
	struct vballoon *b;
	int err;

	if (!vm->config.balloon)
		return 0;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->vdev.ops = &balloon_ops;
	b->vdev.offered = 1ull << VIRTIO_BALLOON_F_REPORTING | 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	err = virtio_init(&b->vdev, vm);
	if (err)
		goto err_free;
	err = virtio_pool_init(&b->vdev, &balloon_pool, "the balloon");
	if (err)
		goto err_virtio;
	vm->balloon = b;
	*state = b;
	return 0;

err_virtio:
	virtio_exit(&b->vdev);
err_free:
	free(b);
	return err;
}

/* Resets come through the PCI host. */
const struct device_ops virtio_balloon_device = {
	.name = "virtio-balloon",
	.init = vballoon_init,
	.exit = vballoon_exit,
};
