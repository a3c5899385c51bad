// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2-resize.c - disks that grow and shrink
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../msg.h"
#include "qcow2.h"

/* A larger L1 table in a new place; the header changes over to it in one sector. */
int q2_grow_l1(struct qcow2 *q, uint64_t entries)
{
	uint64_t *l1, *out, off, clusters, old = q->l1_offset, old_len = q->l1_size * 8ull;
	uint64_t i;
	int err;

	if (entries <= q->l1_size)
		return 0;
	if (entries * 8 > Q2_L1_MAX)
		return -EFBIG;
	err = q2_commit(q);
	if (err)
		return err;
	clusters = q2_round(q, entries * 8) >> q->cluster_bits;
	l1 = calloc(entries + 1, 8);
	out = calloc(clusters, q->cluster_size);
	err = l1 && out ? q2_alloc(q, clusters, &off) : -ENOMEM;
	if (err)
		goto out;
	memcpy(l1, q->l1, old_len);
	for (i = 0; i < entries; i++)
		out[i] = htobe64(l1[i]);
	err = bfile_write(q->f, out, clusters << q->cluster_bits, off);
	if (!err)
		err = q2_commit(q);
	if (err) {
		q2_unalloc(q, off, clusters << q->cluster_bits);
		goto out;
	}
	free(q->l1);
	q->l1 = l1;
	l1 = NULL;
	q->l1_size = entries;
	q->l1_offset = off;
	err = q2_write_header(q);
	if (!err)
		err = bfile_sync(q->f);
	if (!err)
		err = q2_free_later(q, old, old_len);
out:
	free(l1);
	free(out);
	return err;
}

static int grow(struct qcow2 *q, uint64_t size)
{
	struct block *blk = q->blk;
	uint64_t old = blk->size, tail = q2_round(q, old), below;
	int err = q2_grow_l1(q, q2_l1_needed(q, size));

	if (err)
		return err;
	/* Whatever was left behind the old end must not show; nor what a longer backing file has there. */
	err = q2_unmap(q, tail, q2_round(q, size) - tail);
	if (tail > size)
		tail = size;
	if (!err && tail > old)
		err = q2_zero_range(q, old, tail - old, false);
	below = blk->backing && blk->backing->size > tail ? blk->backing->size : tail;
	if (below > size)
		below = size;
	if (!err && below > tail) {
		blk->size = size; /* a cluster that the new end cuts counts as whole */
		err = q2_zero_range(q, tail, below - tail, true);
		blk->size = old;
	}
	if (!err)
		err = q2_commit(q);
	if (err)
		return err;
	blk->size = size;
	err = q2_write_header(q);
	return err ? err : bfile_sync(q->f);
}

static int shrink(struct qcow2 *q, uint64_t size)
{
	uint64_t old = q->blk->size, tail = q2_round(q, size);
	int err = q2_commit(q);

	if (err)
		return err;
	q->blk->size = size;
	err = q2_write_header(q);
	if (!err)
		err = bfile_sync(q->f);
	if (!err && q2_round(q, old) > tail)
		err = q2_unmap(q, tail, q2_round(q, old) - tail);
	return err ? err : q2_commit(q);
}

int qcow2_resize(struct block *blk, uint64_t size)
{
	struct qcow2 *q = blk->priv;
	unsigned int i;
	int err = 0;

	if (size > INT64_MAX - q->cluster_size || q2_l1_needed(q, size) * 8 > Q2_L1_MAX)
		return -EFBIG;
	for (i = 0; i < q->nr_snaps; i++) {
		if (q->version < 3 || q->snap[i].disk_size == UINT64_MAX) {
			msg_error("resize qcow2 image '%s': its snapshot '%s' does not record the size of "
				  "the disk. "
				  "Delete the snapshot first",
				  blk->path, q->snap[i].name);
			return -EINVAL;
		}
	}
	pthread_rwlock_wrlock(&q->lock);
	err = size > blk->size ? grow(q, size) : shrink(q, size);
	pthread_rwlock_unlock(&q->lock);
	return err;
}
