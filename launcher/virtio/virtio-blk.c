// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-blk.c - virtio block device
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Block Device". Requests run on a few threads of the device's own,
 * several at a time and in any order; a flush covers what was completed before it was submitted, which needs
 * no order.
 *
 * If the driver negotiates VIRTIO_BLK_F_FLUSH it knows of the host's cache and flushes it; otherwise, or when
 * it clears the writeback field, every write is on stable storage before it completes.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "../block/block.h"
#include "../block/ring.h"
#include "../loop.h"
#include "../msg.h"
#include "../sandbox.h"
#include "pool.h"

#define BLK_THREADS	4
#define BLK_BATCH	16u		/* requests that a thread with a ring takes at a time */
#define BLK_HERE_NS	2000000u	/* for how long a vCPU waits for a request, at most: see pool.c */
#define BLK_PHYSICAL	4096u		/* the host's page */
#define BLK_QUEUES_MAX	8u		/* a queue for each CPU, up to this many */
/* Segments of a request, less header and status, plus what RAM boundaries may split. */
#define BLK_IOV_MAX	(VQ_MAX_SEGS + 8)
/* Ranges of one discard or write zeroes request, and sectors of one range: what takes bounded time. */
#define BLK_RANGES_MAX	32u
#define BLK_DISCARD_MAX	(1u << 21)
#define BLK_ZEROES_MAX	(1u << 17)

_Static_assert(sizeof(struct virtio_blk_outhdr) == 16, "request header");
_Static_assert(sizeof(struct virtio_blk_discard_write_zeroes) == 16, "range of a discard request");

struct vblk {
	struct virtio_dev vdev;
	struct block block;
	char id[VIRTIO_BLK_ID_BYTES];
	struct block_ring *ring[BLK_THREADS];	/* each thread's; none: NULL, also in the first one */
	struct block_ring *here;	/* that of requests that a vCPU serves, or NULL; the others may be there or not */
	atomic_uint rings_taken;

	bool writeback;			/* owned by vdev.lock */
};

struct vblk_set {
	unsigned int nr;
	struct vblk *disk[VM_MAX_DISKS];
};

/* A request */

struct request {
	struct virtio_work work;
	bool sync;			/* on stable storage before it completes */
	bool in, done;			/* in a ring: a read; given back */
	uint64_t len;
	struct iovec iov[BLK_IOV_MAX];
	struct {
		uint64_t gpa, len;
	} map[BLK_IOV_MAX];
	unsigned int nr;
};

static void unmap_data(struct vm *vm, struct request *req, bool in)
{
	while (req->nr) {
		req->nr--;
		vm->config.accel->dma_unmap(vm, req->map[req->nr].gpa, req->map[req->nr].len, in);
	}
}

/* Host addresses of @len bytes from offset @off of the readable (or writable) part. */
static bool map_data(struct vm *vm, struct request *req, bool in, uint64_t off, uint64_t len)
{
	const struct vq_elem *elem = &req->work.elem;
	unsigned int i = in ? elem->nr_out : 0, end = in ? elem->nr_out + elem->nr_in : elem->nr_out;

	req->nr = 0;
	for (; i < end && len; i++) {
		uint64_t gpa = elem->seg[i].gpa, left = elem->seg[i].len;

		if (off >= left) {
			off -= left;
			continue;
		}
		gpa += off;
		left -= off;
		off = 0;
		if (left > len)
			left = len;
		len -= left;
		while (left) {
			uint64_t part = left;
			void *host = NULL;

			if (req->nr < BLK_IOV_MAX)
				host = vm->config.accel->dma_map(vm, gpa, &part, in);

			if (!host || !part) {
				unmap_data(vm, req, in);
				return false;
			}
			req->iov[req->nr] = (struct iovec){ host, part };
			req->map[req->nr].gpa = gpa;
			req->map[req->nr].len = part;
			req->nr++;
			gpa += part;
			left -= part;
		}
	}
	return !len;
}

/* The buffers of a read or write; false if it makes no sense. */
static bool map_request(struct vblk *blk, struct request *req, bool in, uint64_t sector)
{
	uint64_t len = in ? req->work.elem.in_len - 1u : req->work.elem.out_len - sizeof(struct virtio_blk_outhdr);
	uint64_t nr = len / BLOCK_SECTOR, capacity = blk->block.size / BLOCK_SECTOR;

	if (len % BLOCK_SECTOR || sector > capacity || nr > capacity - sector || (!in && blk->block.readonly))
		return false;
	req->len = len;
	return map_data(blk->vdev.vm, req, in, in ? 0 : sizeof(struct virtio_blk_outhdr), len);
}

static uint8_t read_write(struct vblk *blk, struct request *req, bool in, uint64_t sector, bool sync)
{
	struct vm *vm = blk->vdev.vm;
	int err;

	if (!map_request(blk, req, in, sector))
		return VIRTIO_BLK_S_IOERR;
	if (in)
		err = block_read(&blk->block, req->iov, req->nr, sector * BLOCK_SECTOR);
	else
		err = block_write(&blk->block, req->iov, req->nr, sector * BLOCK_SECTOR, sync);
	unmap_data(vm, req, in);
	return err ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t discard_zero(struct vblk *blk, struct request *req, bool zero, bool sync)
{
	struct virtio_blk_discard_write_zeroes range[BLK_RANGES_MAX];
	uint64_t len = req->work.elem.out_len - sizeof(struct virtio_blk_outhdr);
	uint64_t capacity = blk->block.size / BLOCK_SECTOR, max = zero ? BLK_ZEROES_MAX : BLK_DISCARD_MAX;
	unsigned int i, nr = len / sizeof(range[0]);
	int err = 0;

	if (!virtio_has(&blk->vdev, zero ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD))
		return VIRTIO_BLK_S_UNSUPP;
	if (!len || len % sizeof(range[0]) || nr > BLK_RANGES_MAX ||
	    !vq_copy(blk->vdev.vm, &req->work.elem, false, sizeof(struct virtio_blk_outhdr), range, len))
		return VIRTIO_BLK_S_IOERR;
	for (i = 0; i < nr; i++) {
		uint32_t flags = le32toh(range[i].flags);
		uint64_t n = le32toh(range[i].num_sectors), sector = le64toh(range[i].sector);

		if (flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0))
			return VIRTIO_BLK_S_UNSUPP;
		if (sector > capacity || n > capacity - sector || n > max)
			return VIRTIO_BLK_S_IOERR;
	}
	for (i = 0; i < nr && !err; i++) {
		uint64_t off = le64toh(range[i].sector) * BLOCK_SECTOR;

		len = (uint64_t)le32toh(range[i].num_sectors) * BLOCK_SECTOR;
		err = zero ? block_zero(&blk->block, off, len, range[i].flags != 0) :
			     block_discard(&blk->block, off, len);
	}
	if (!err && sync)
		err = block_flush(&blk->block);
	return err ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static const char *blk_taken(struct virtio_work *work)
{
	const struct virtio_dev *dev = work->dev;

	/* Of a driver that can neither flush nor choose nothing is cached; an old one's may come before blk_start(). */
	((struct request *)work)->sync = !((const struct vblk *)dev)->writeback ||
		(!virtio_has(dev, VIRTIO_BLK_F_FLUSH) && !virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE));
	return NULL;
}

static bool get_header(struct virtio_work *work, struct virtio_blk_outhdr *hdr)
{
	return work->elem.out_len >= sizeof(*hdr) && work->elem.in_len &&
	       vq_copy(work->dev->vm, &work->elem, false, 0, hdr, sizeof(*hdr));
}

static const char *put_status(struct virtio_work *work, uint8_t status)
{
	return vq_copy(work->dev->vm, &work->elem, true, work->elem.in_len - 1u, &status, 1) ? NULL : "status is not in RAM";
}

static const char *blk_serve(struct virtio_work *work, uint32_t *written)
{
	struct request *req = (struct request *)work;
	struct vblk *blk = (struct vblk *)work->dev;
	struct vq_elem *elem = &work->elem;
	struct vm *vm = blk->vdev.vm;
	struct virtio_blk_outhdr hdr;
	uint8_t status;

	if (!get_header(work, &hdr))
		return "request without header or status";
	*written = 1;
	switch (le32toh(hdr.type)) {
	case VIRTIO_BLK_T_IN:
		status = read_write(blk, req, true, le64toh(hdr.sector), false);
		if (status == VIRTIO_BLK_S_OK)
			*written = elem->in_len;
		break;
	case VIRTIO_BLK_T_OUT:
		status = read_write(blk, req, false, le64toh(hdr.sector), req->sync);
		break;
	case VIRTIO_BLK_T_FLUSH:
		status = VIRTIO_BLK_S_OK;
		if (!blk->block.readonly && block_flush(&blk->block))
			status = VIRTIO_BLK_S_IOERR;
		break;
	case VIRTIO_BLK_T_GET_ID:
		status = VIRTIO_BLK_S_IOERR;
		if (elem->in_len - 1 >= sizeof(blk->id) &&
		    vq_copy(vm, elem, true, 0, blk->id, sizeof(blk->id))) {
			status = VIRTIO_BLK_S_OK;
			*written = sizeof(blk->id) + 1;
		}
		break;
	case VIRTIO_BLK_T_DISCARD:
		status = discard_zero(blk, req, false, req->sync);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		status = discard_zero(blk, req, true, req->sync);
		break;
	default:
		status = VIRTIO_BLK_S_UNSUPP;
	}
	return put_status(work, status);
}

/*
 * Several requests at a time. Reads and writes of what has its place in the file go there by the thread's ring; all
 * others, and those that do not come back whole, are served one after the other.
 */
static _Thread_local struct block_ring *ring;

static unsigned int blk_batch(struct virtio_dev *dev)
{
	return ((struct vblk *)dev)->ring[0] ? BLK_BATCH : 1;
}

static void ring_start(struct vblk *blk, struct block_ring *ring, struct request *req)
{
	struct virtio_blk_outhdr hdr;
	uint32_t type;
	uint64_t at;

	if (!get_header(&req->work, &hdr))
		return;
	type = le32toh(hdr.type);
	req->in = type == VIRTIO_BLK_T_IN;
	if ((!req->in && (type != VIRTIO_BLK_T_OUT || req->sync)) || !map_request(blk, req, req->in, le64toh(hdr.sector)))
		return;
	if (block_place(&blk->block, !req->in, req->iov, req->nr, le64toh(hdr.sector) * BLOCK_SECTOR, &at))
		block_ring_add(ring, !req->in, req->iov, req->nr, at, req);
	else
		unmap_data(blk->vdev.vm, req, req->in);
}

static void ring_start_all(struct vblk *blk, struct block_ring *ring, struct request *reqs, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		reqs[i].done = false;
	if (!block_ring_usable(ring))
		return;
	block_hold(&blk->block, true);
	for (unsigned int i = 0; i < nr; i++)
		ring_start(blk, ring, &reqs[i]);
	block_ring_submit(ring);
	if (!block_ring_busy(ring))
		block_hold(&blk->block, false);
}

/* Give back what comes until then (clock_ns()). */
static void ring_end(struct vblk *blk, struct block_ring *ring, uint64_t until)
{
	struct request *req;
	int64_t got;

	if (!ring || !block_ring_busy(ring))
		return;
	while ((req = block_ring_wait(ring, until, &got))) {
		unmap_data(blk->vdev.vm, req, req->in);
		req->done = got == (int64_t)req->len;
		if (req->done)
			virtio_pool_done(&req->work, put_status(&req->work, VIRTIO_BLK_S_OK),
					 req->in ? req->work.elem.in_len : 1);
	}
	if (!block_ring_busy(ring))
		block_hold(&blk->block, false);
}

static void serve_one_by_one(struct vblk *blk, struct request *reqs, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		uint32_t written = 0;
		const char *why;

		if (reqs[i].done)
			continue;
		unmap_data(blk->vdev.vm, &reqs[i], reqs[i].in);
		why = blk_serve(&reqs[i].work, &written);
		virtio_pool_done(&reqs[i].work, why, written);
	}
}

static void blk_serve_all(struct virtio_work *first, unsigned int nr)
{
	struct request *reqs = (struct request *)first;
	struct vblk *blk = (struct vblk *)first->dev;

	ring_start_all(blk, ring, reqs, nr);
	ring_end(blk, ring, UINT64_MAX);
	serve_one_by_one(blk, reqs, nr);
}

static bool blk_serve_here(struct virtio_work *first, unsigned int nr)
{
	struct request *reqs = (struct request *)first;
	struct vblk *blk = (struct vblk *)first->dev;
	bool all = true;

	ring_start_all(blk, blk->here, reqs, nr);
	ring_end(blk, blk->here, clock_ns() + BLK_HERE_NS);
	for (unsigned int i = 0; i < nr; i++)
		all &= reqs[i].done;
	return all;
}

static void blk_serve_rest(struct virtio_work *first, unsigned int nr)
{
	struct vblk *blk = (struct vblk *)first->dev;

	ring_end(blk, blk->here, UINT64_MAX);
	serve_one_by_one(blk, (struct request *)first, nr);
}

/* Device ops */

static void blk_config_read(struct virtio_dev *dev, void *config)
{
	struct vblk *blk = (struct vblk *)dev;
	struct virtio_blk_config cfg = {
		.capacity = htole64(blk->block.size / BLOCK_SECTOR),
		.seg_max = htole32(VQ_MAX_SEGS - 2),
		.blk_size = htole32(BLOCK_SECTOR),
		.wce = blk->writeback,
		.num_queues = htole16(dev->nr_queues),
		/* Smaller writes make the host read first. */
		.physical_block_exp = __builtin_ctz(BLK_PHYSICAL / BLOCK_SECTOR),
		.min_io_size = htole16(BLK_PHYSICAL / BLOCK_SECTOR),
		.max_discard_sectors = htole32(BLK_DISCARD_MAX),
		.max_discard_seg = htole32(BLK_RANGES_MAX),
		.discard_sector_alignment = htole32(BLK_PHYSICAL / BLOCK_SECTOR),
		.max_write_zeroes_sectors = htole32(BLK_ZEROES_MAX),
		.max_write_zeroes_seg = htole32(BLK_RANGES_MAX),
		.write_zeroes_may_unmap = blk->block.discard,
	};

	memcpy(config, &cfg, sizeof(cfg));
}

static void blk_config_written(struct virtio_dev *dev, const void *config, unsigned int off, unsigned int len)
{
	struct vblk *blk = (struct vblk *)dev;
	unsigned int at = offsetof(struct virtio_blk_config, wce);

	if (virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE) && off <= at && off + len > at)
		blk->writeback = ((const uint8_t *)config)[at] & 1;
}

static void blk_start(struct virtio_dev *dev)
{
	struct vblk *blk = (struct vblk *)dev;

	if (!virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
		blk->writeback = virtio_has(dev, VIRTIO_BLK_F_FLUSH);
}

static void blk_quiesce(struct virtio_dev *dev)
{
	virtio_pool_quiesce(dev);
	((struct vblk *)dev)->writeback = true;
}

static const struct virtio_ops blk_ops = {
	.name = "virtio-blk",
	.id = 2,
	.class = { 0x00, 0x80, 0x01 },	/* mass storage, other */
	.nr_queues = 1,
	.config_size = sizeof(struct virtio_blk_config),
	.config_read = blk_config_read,
	.config_written = blk_config_written,
	.start = blk_start,
	.notify = virtio_pool_notify,
	.quiesce = blk_quiesce,
	.drain = virtio_pool_quiesce,
};

static void blk_enter(struct virtio_dev *dev)
{
	struct vblk *blk = (struct vblk *)dev;
	const struct block *block = &blk->block;

	ring = blk->ring[atomic_fetch_add(&blk->rings_taken, 1)];
	sandbox_enter(nbd_uri(block->path) ? SANDBOX_NBD : SANDBOX_DISK, NULL);
}

static const struct virtio_pool_ops blk_pool = {
	.name = "blk",
	.threads = BLK_THREADS,
	.work_size = sizeof(struct request),
	.batch = blk_batch,
	.serve_all = blk_serve_all,
	.serve_here = blk_serve_here,
	.serve_rest = blk_serve_rest,
	.enter = blk_enter,
	.taken = blk_taken,
	.serve = blk_serve,
};

_Static_assert(offsetof(struct vblk, vdev) == 0, "the casts above");

/* Creation */

static void free_rings(struct vblk *blk)
{
	for (unsigned int i = 0; i < BLK_THREADS; i++) {
		block_ring_free(blk->ring[i]);
		blk->ring[i] = NULL;
	}
	block_ring_free(blk->here);
	blk->here = NULL;
}

/* All of them or none. A confined process makes no rings: disks that are added while the guest runs do without. */
static void make_rings(struct vblk *blk, bool asked)
{
	int fd = sandbox_entered() ? -1 : block_fd(&blk->block);

	if (fd < 0)
		return;
	for (unsigned int i = 0; i < BLK_THREADS; i++) {
		blk->ring[i] = block_ring_new(fd, BLK_BATCH);
		if (!blk->ring[i]) {
			if (asked)
				msg_warn("disk '%s': io_uring: %s. Using threads (aio=threads)", blk->block.path,
					 strerror(errno));
			free_rings(blk);
			return;
		}
	}
}

/* A vCPU may do nothing but use the ring: where in the file the data lies must be known without reading. */
static void make_ring_here(struct vblk *blk)
{
	const int fd = sandbox_entered() || blk->block.drv != &block_raw ? -1 : block_fd(&blk->block);

	if (fd >= 0)
		blk->here = block_ring_new(fd, BLK_BATCH);
}

static int disk_exit(struct vblk *blk)
{
	int err;

	virtio_pool_exit(&blk->vdev);
	virtio_exit(&blk->vdev);
	free_rings(blk);
	err = block_close(&blk->block);
	free(blk);
	return err;
}

static int disk_init(struct vm *vm, const struct vm_disk *config, unsigned int nr, struct slot *slot, struct vblk **out)
{
	const struct block_options opts = {
		.format = config->format,
		.readonly = config->readonly,
		.snapshot = config->snapshot,
		.discard = !config->no_discard,
		.cache = config->cache,
		.backing = config->backing,
		.given = config->given,
		.nr_given = config->nr_given,
	};
	struct vblk *blk = calloc(1, sizeof(*blk));
	char what[128];
	int err;

	if (!blk) {
		if (config->fd)
			close(config->fd);
		return -ENOMEM;
	}
	err = config->fd ? block_open_fd(&blk->block, config->fd, config->path, &opts) :
			   block_open(&blk->block, config->path, &opts);
	if (err)
		goto err_free;
	memcpy(blk->id, "tenon-disk0", 11);
	blk->id[10] = '0' + nr % 10;
	if (config->serial) {
		/* Not terminated if it fills the field. */
		memset(blk->id, 0, sizeof(blk->id));
		memcpy(blk->id, config->serial, strnlen(config->serial, sizeof(blk->id)));
	}
	if (config->aio == BLOCK_AIO_URING || (config->aio == BLOCK_AIO_DEFAULT && config->cache == BLOCK_NONE))
		make_rings(blk, config->aio == BLOCK_AIO_URING);
	if (config->aio != BLOCK_AIO_THREADS)
		make_ring_here(blk);
	blk->writeback = true;
	blk->vdev.ops = &blk_ops;
	blk->vdev.slot = slot;
	blk->vdev.transitional = config->transitional;
	blk->vdev.nr_queues = vm->config.cpus < BLK_QUEUES_MAX ? vm->config.cpus : BLK_QUEUES_MAX;
	blk->vdev.offered =
		1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_FLUSH |
		1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_TOPOLOGY;
	if (config->readonly)
		blk->vdev.offered |= 1ull << VIRTIO_BLK_F_RO;
	else
		blk->vdev.offered |= 1ull << VIRTIO_BLK_F_CONFIG_WCE | 1ull << VIRTIO_BLK_F_WRITE_ZEROES |
				     (opts.discard ? 1ull << VIRTIO_BLK_F_DISCARD : 0);
	err = virtio_init(&blk->vdev, vm);
	if (err)
		goto err_close;
	snprintf(what, sizeof(what), "the disk '%s'", config->path);
	err = virtio_pool_init(&blk->vdev, &blk_pool, what);
	if (err)
		goto err_virtio;
	if (blk->here)
		virtio_pool_allow_here(&blk->vdev);
	*out = blk;
	return 0;

err_virtio:
	virtio_exit(&blk->vdev);
err_close:
	free_rings(blk);
	block_close(&blk->block);
err_free:
	free(blk);
	return err;
}

int vblk_plug(struct vm *vm, const struct vm_disk *config, struct slot *slot, struct virtio_dev **dev)
{
	struct vblk *blk;
	int err = disk_init(vm, config, 0, slot, &blk);

	if (!err)
		*dev = &blk->vdev;
	return err;
}

int vblk_unplug(struct virtio_dev *dev)
{
	return disk_exit((struct vblk *)dev);
}

static void vblk_exit(struct vm *vm, void *state)
{
	struct vblk_set *set = state;

	(void)vm;
	if (!set)
		return;
	while (set->nr)
		disk_exit(set->disk[--set->nr]);
	free(set);
}

static int vblk_init(struct vm *vm, void **state)
{
	struct vblk_set *set = calloc(1, sizeof(*set));
	int err = set ? 0 : -ENOMEM;

	while (!err && set->nr < vm->config.nr_disks && set->nr < VM_MAX_DISKS) {
		err = disk_init(vm, &vm->config.disk[set->nr], set->nr, NULL, &set->disk[set->nr]);
		if (!err)
			set->nr++;
	}
	if (err) {
		vblk_exit(vm, set);
		return err;
	}
	*state = set;
	return 0;
}

/* Resets come through the PCI host. */
const struct device_ops virtio_blk_device = {
	.name = "virtio-blk",
	.init = vblk_init,
	.exit = vblk_exit,
};
