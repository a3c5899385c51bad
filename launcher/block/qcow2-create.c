// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2-create.c - new images, with or without their space set aside
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../msg.h"
#include "qcow2.h"

static int refuse(const struct bfile *f, const char *why)
{
	msg_error("create qcow2 image '%s': %s", f->path, why);
	return -EINVAL;
}

static int put_ext(uint8_t *buf, uint64_t room, uint64_t *at, uint32_t type, const void *data, uint32_t len)
{
	uint32_t head[2] = { htobe32(type), htobe32(len) };
	uint64_t padded = (len + 7ull) & ~7ull;

	if (*at + 8 + padded > room)
		return -EFBIG;
	memcpy(buf + *at, head, 8);
	memcpy(buf + *at + 8, data, len);
	*at += 8 + padded;
	return 0;
}

/* Header, refcount table, refcount blocks, L1 table, in this order from the start of the file. */
int qcow2_create(struct bfile *f, const struct qcow2_create *how)
{
	unsigned int bits = __builtin_ctz(how->cluster_size), order = __builtin_ctz(how->refcount_bits),
		     rb_bits;
	uint64_t cluster = how->cluster_size, per_l1 = cluster / (how->extended_l2 ? 16 : 8) * cluster, at;
	uint64_t l1_size, l1_clusters, blocks = 1, table = 1, total, i, *out;
	struct q2_header h = { 0 };
	uint8_t *buf = NULL;
	int err = 0;

	if (how->cluster_size & (how->cluster_size - 1) || bits < 9 || bits > 21)
		return refuse(f, "the cluster size has to be a power of two from 512 to 2M");
	if (how->refcount_bits & (how->refcount_bits - 1) || order > 6)
		return refuse(f, "refcount_bits has to be 1, 2, 4, 8, 16, 32 or 64");
	if (how->version == 2 && (order != 4 || how->extended_l2 || how->lazy_refcounts || how->zstd))
		return refuse(
			f, "compat=0.10 has 16 bits of refcount, and neither extended_l2, lazy_refcounts nor "
			   "zstd");
	if (how->extended_l2 && bits < 14)
		return refuse(f, "extended_l2 needs clusters of 16K at least");
	if (!how->size || how->size % BLOCK_SECTOR || how->size > INT64_MAX - cluster)
		return refuse(f, "the size has to be a multiple of 512, from 512 on");
	l1_size = (how->size + per_l1 - 1) / per_l1;
	if (l1_size * 8 > Q2_L1_MAX)
		return refuse(f, "the disk is too large for clusters of this size. Take larger ones (-o "
				 "cluster_size=)");
	l1_clusters = (l1_size * 8 + cluster - 1) >> bits;
	rb_bits = bits + 3 - order;
	for (;;) {
		uint64_t need;

		total = 1 + table + blocks + l1_clusters;
		need = (total + (1ull << rb_bits) - 1) >> rb_bits;
		if (need <= blocks && need * 8 <= table << bits)
			break;
		if (need > blocks)
			blocks = need;
		table = (blocks * 8 + cluster - 1) >> bits;
	}
	if (table << bits > Q2_RT_MAX)
		return refuse(f, "the disk is too large for clusters of this size. Take larger ones (-o "
				 "cluster_size=)");
	buf = calloc(1, cluster);
	if (!buf)
		return -ENOMEM;

	/* The header comes last: until then the file is no image. */
	for (at = 1; at <= table && !err; at++) {
		out = (uint64_t *)(void *)buf;
		for (i = 0; i < cluster / 8; i++) {
			uint64_t n = (at - 1) * (cluster / 8) + i;

			out[i] = n < blocks ? htobe64((1 + table + n) << bits) : 0;
		}
		err = bfile_write(f, buf, cluster, at << bits);
	}
	for (i = 0; i < blocks && !err; i++) {
		uint64_t c;

		memset(buf, 0, cluster);
		for (c = 0; c < 1ull << rb_bits && (i << rb_bits) + c < total; c++)
			q2_rc_set_entry(buf, order, c, 1);
		err = bfile_write(f, buf, cluster, (1 + table + i) << bits);
	}
	memset(buf, 0, cluster);
	for (i = 0; i < l1_clusters && !err; i++)
		err = bfile_write(f, buf, cluster, (1 + table + blocks + i) << bits);
	if (!err)
		err = bfile_sync(f);
	if (err)
		goto out;

	h.magic = htobe32(Q2_MAGIC);
	h.version = htobe32(how->version);
	h.cluster_bits = htobe32(bits);
	h.size = htobe64(how->size);
	h.l1_size = htobe32(l1_size);
	h.l1_offset = htobe64((1 + table + blocks) << bits);
	h.rt_offset = htobe64(cluster);
	h.rt_clusters = htobe32(table);
	h.incompat = htobe64((how->extended_l2 ? Q2_INCOMPAT_EXTL2 : 0) |
			     (how->zstd ? Q2_INCOMPAT_COMPRESSION : 0));
	h.compat = htobe64(how->lazy_refcounts ? Q2_COMPAT_LAZY : 0);
	h.refcount_order = htobe32(order);
	h.header_length = htobe32(sizeof(h));
	h.compression = how->zstd;
	at = how->version == 2 ? 72 : sizeof(h);
	if (how->backing) {
		size_t len = strlen(how->backing);

		if (how->backing_format)
			err = put_ext(buf, cluster, &at, Q2_EXT_FORMAT, how->backing_format,
				      strlen(how->backing_format));
		if (!err)
			err = put_ext(buf, cluster, &at, Q2_EXT_END, "", 0);
		if (err || !len || len > Q2_BACKING_MAX || len > cluster - at) {
			err = refuse(f, "the name of the backing file is too long");
			goto out;
		}
		memcpy(buf + at, how->backing, len);
		h.backing_offset = htobe64(at);
		h.backing_len = htobe32(len);
	}
	memcpy(buf, &h, how->version == 2 ? 72 : sizeof(h));
	err = bfile_write(f, buf, cluster, 0);
	if (!err)
		err = bfile_sync(f);
out:
	free(buf);
	if (err && err != -EINVAL)
		msg_error("create qcow2 image '%s': %s", f->path, strerror(-err));
	return err;
}

int qcow2_preallocate(struct block *blk, enum block_prealloc how)
{
	struct qcow2 *q = blk->priv;
	uint64_t off, host;
	uint8_t *zeros;
	int err = 0;

	if (how == PREALLOC_OFF)
		return 0;
	zeros = calloc(1, q->cluster_size);
	if (!zeros)
		return -ENOMEM;
	pthread_rwlock_wrlock(&q->lock);
	for (off = 0; off < blk->size && !err; off += q->cluster_size) {
		struct q2_map map;

		err = q2_get_map(q, off, &map);
		if (err || map.raw)
			continue;
		err = q2_alloc(q, 1, &host);
		if (err)
			break;
		if (how == PREALLOC_FALLOC && q->f->ops->reserve)
			err = q->f->ops->reserve(q->f, host, q->cluster_size);
		else if (how != PREALLOC_METADATA)
			err = bfile_write(q->f, zeros, q->cluster_size, host);
		/* New clusters of a new file read as zeros; below a backing file they stand for what it has.
		 */
		if (!err)
			err = q2_set_map(q, off, host | Q2_COPIED, q2_sub_mask(q), 0);
		if (!err)
			err = q2_throttle(q);
	}
	if (!err && q->f->ops->size(q->f) < (int64_t)q->file_end)
		err = q->f->ops->resize(q->f, q->file_end);
	if (!err)
		err = q2_commit(q);
	pthread_rwlock_unlock(&q->lock);
	free(zeros);
	return err;
}
