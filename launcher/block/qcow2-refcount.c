// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2-refcount.c - which clusters of the file are in use
 *
 * Counts in memory are never lower than what the file's tables refer to, so that a refcount block may be
 * written at any time: an increase comes before the reference, a decrease after the reference is gone from
 * disk (q2_free_later()).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2.h"

/* A scan this long goes on behind the end of the file. */
#define SCAN_MAX (1u << 26)

uint64_t q2_rc_entry(const uint8_t *block, unsigned int order, uint64_t idx)
{
	unsigned int bits = 1u << order;

	switch (order) {
	case 3:
		return block[idx];
	case 4:
		return be16toh(((const uint16_t *)(const void *)block)[idx]);
	case 5:
		return be32toh(((const uint32_t *)(const void *)block)[idx]);
	case 6:
		return be64toh(((const uint64_t *)(const void *)block)[idx]);
	default:
		return block[idx * bits / 8] >> idx * bits % 8 & ((1u << bits) - 1);
	}
}

void q2_rc_set_entry(uint8_t *block, unsigned int order, uint64_t idx, uint64_t val)
{
	unsigned int bits = 1u << order, mask, shift;

	switch (order) {
	case 3:
		block[idx] = val;
		break;
	case 4:
		((uint16_t *)(void *)block)[idx] = htobe16(val);
		break;
	case 5:
		((uint32_t *)(void *)block)[idx] = htobe32(val);
		break;
	case 6:
		((uint64_t *)(void *)block)[idx] = htobe64(val);
		break;
	default:
		shift = idx * bits % 8;
		mask = ((1u << bits) - 1) << shift;
		block[idx * bits / 8] = (block[idx * bits / 8] & ~mask) | (val << shift & mask);
	}
}

static uint64_t rc_max(const struct qcow2 *q)
{
	return q->refcount_order == 6 ? UINT64_MAX : (1ull << (1u << q->refcount_order)) - 1;
}

static uint64_t rb_of(const struct qcow2 *q, uint64_t cluster)
{
	uint64_t idx = cluster >> q->rb_bits;

	return idx < q->rt_size ? q->rt[idx] & ~511ull : 0;
}

int q2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
	uint64_t off = rb_of(q, cluster);
	struct q2_table *tab;
	int err;

	*count = 0;
	if (!off)
		return 0;
	err = q2_cache_get(q, &q->rb, off, &tab);
	if (!err)
		*count = q2_rc_entry(tab->data, q->refcount_order, cluster & ((1ull << q->rb_bits) - 1));
	return err;
}

static int rc_set(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	uint64_t off = rb_of(q, cluster);
	struct q2_table *tab;
	int err;

	if (!off)
		return q2_corrupt(q, "no refcount block for a cluster in use", cluster << q->cluster_bits);
	err = q2_cache_get(q, &q->rb, off, &tab);
	if (err)
		return err;
	q2_rc_set_entry(tab->data, q->refcount_order, cluster & ((1ull << q->rb_bits) - 1), count);
	q2_cache_dirty(&q->rb, tab);
	return q->rb.nr_dirty < q->rb.max ? 0 : q2_cache_write(q, &q->rb, false);
}

int q2_ref(struct qcow2 *q, uint64_t off, uint64_t len, int delta)
{
	uint64_t first = off >> q->cluster_bits, last = (off + len - 1) >> q->cluster_bits, c, count;
	int err;

	for (c = first; c <= last; c++) {
		err = q2_refcount(q, c, &count);
		if (!err && delta > 0 && count == rc_max(q))
			err = -EMLINK;
		if (!err && delta < 0 && !count)
			err = q2_corrupt(q, "a cluster in use is counted as free", c << q->cluster_bits);
		if (!err)
			err = rc_set(q, c, count + (uint64_t)(int64_t)delta);
		if (err) {
			/* All or nothing. */
			while (c-- > first) {
				if (!q2_refcount(q, c, &count))
					rc_set(q, c, count - (uint64_t)(int64_t)delta);
			}
			return err;
		}
		if (delta < 0 && count == 1) {
			if (c < q->hint)
				q->hint = c;
			if (q->comp_off >> q->cluster_bits == c)
				q->comp_off = 0;
		}
	}
	return 0;
}

static bool overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return alen && blen && a < b + blen && b < a + alen;
}

bool q2_is_metadata(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	return off < q->cluster_size || off + len < off ||
	       overlaps(off, len, q->l1_offset, q->l1_size * 8ull) ||
	       overlaps(off, len, q->rt_offset, (uint64_t)q->rt_clusters << q->cluster_bits) ||
	       overlaps(off, len, q->snap_offset, q->snap_len);
}

/*
 * A refcount table that reaches cluster @at, with the blocks for itself: all in new clusters from @at on,
 * where nothing counts anything yet. The header then changes over to it in one sector.
 */
static int grow_table(struct qcow2 *q, uint64_t at)
{
	uint64_t first = at >> q->rb_bits, entries, tclusters, blocks = 1, total, i, old = q->rt_offset;
	uint64_t old_len = (uint64_t)q->rt_clusters << q->cluster_bits, *rt;
	uint8_t *buf = NULL;
	int err;

	for (;;) {
		uint64_t need;

		entries = first + blocks + 1;
		if (entries < q->rt_size + q->rt_size / 2)
			entries = q->rt_size + q->rt_size / 2;
		tclusters = q2_round(q, entries * 8) >> q->cluster_bits;
		total = blocks + tclusters;
		need = ((at + total - 1) >> q->rb_bits) - first + 1;
		if (need <= blocks)
			break;
		blocks = need;
	}
	entries = tclusters << q->cluster_bits >> 3;
	if (entries * 8 > Q2_RT_MAX)
		return -EFBIG;
	rt = calloc(entries, 8);
	buf = malloc(q->cluster_size);
	if (!rt || !buf) {
		err = -ENOMEM;
		goto out;
	}
	memcpy(rt, q->rt, q->rt_size * 8ull);
	for (i = 0, err = 0; i < blocks && !err; i++) {
		uint64_t base = (first + i) << q->rb_bits, c;

		memset(buf, 0, q->cluster_size);
		for (c = at; c < at + total; c++) {
			if (c >= base && c - base < 1ull << q->rb_bits)
				q2_rc_set_entry(buf, q->refcount_order, c - base, 1);
		}
		rt[first + i] = (at + i) << q->cluster_bits;
		q2_cache_forget(&q->rb, rt[first + i]);
		err = bfile_write(q->f, buf, q->cluster_size, rt[first + i]);
	}
	for (i = 0; i < tclusters && !err; i++) {
		uint64_t *out = (uint64_t *)(void *)buf, j, per = q->cluster_size / 8;

		for (j = 0; j < per; j++)
			out[j] = htobe64(rt[i * per + j]);
		err = bfile_write(q->f, buf, q->cluster_size, (at + blocks + i) << q->cluster_bits);
	}
	if (!err)
		err = bfile_sync(q->f);
	if (err)
		goto out;
	free(q->rt);
	q->rt = rt;
	rt = NULL;
	q->rt_size = entries;
	q->rt_clusters = tclusters;
	q->rt_offset = (at + blocks) << q->cluster_bits;
	if (q->file_end < (at + total) << q->cluster_bits)
		q->file_end = (at + total) << q->cluster_bits;
	err = q2_write_header(q);
	if (!err)
		err = bfile_sync(q->f);
	if (!err)
		err = q2_free_later(q, old, old_len);
out:
	free(rt);
	free(buf);
	return err;
}

/* Make cluster @c countable; it may be in use for that itself afterwards. */
static int add_block(struct qcow2 *q, uint64_t c)
{
	uint64_t idx = c >> q->rb_bits, off = c << q->cluster_bits, entry;
	struct q2_table *tab;
	int err;

	if (idx >= q->rt_size)
		return grow_table(q, c);
	if (q2_is_metadata(q, off, q->cluster_size))
		return q2_corrupt(q, "nothing counts the references to a cluster in use", off);
	/* The block counts itself. It must be whole on disk before the table names it. */
	err = q2_cache_new(q, &q->rb, off, &tab);
	if (err)
		return err;
	tab->fresh = false;
	q2_rc_set_entry(tab->data, q->refcount_order, c & ((1ull << q->rb_bits) - 1), 1);
	err = bfile_write(q->f, tab->data, q->cluster_size, off);
	if (!err)
		err = bfile_sync(q->f);
	entry = htobe64(off);
	if (!err)
		err = bfile_write(q->f, &entry, 8, q->rt_offset + idx * 8);
	if (err) {
		q2_cache_forget(&q->rb, off);
		return err;
	}
	tab->dirty = false;
	q->rb.nr_dirty--;
	q->rt[idx] = off;
	if (q->file_end < off + q->cluster_size)
		q->file_end = off + q->cluster_size;
	return 0;
}

int q2_alloc(struct qcow2 *q, uint64_t n, uint64_t *off)
{
	uint64_t c = q->hint ? q->hint : 1, run = 0, scanned = 0, count, i;
	int err = q2_set_dirty(q);

	while (!err && run < n) {
		if (c >= Q2_OFFSET >> q->cluster_bits)
			return -EFBIG;
		if (!rb_of(q, c)) {
			err = add_block(q, c);
			if (err)
				break;
		}
		err = q2_refcount(q, c, &count);
		if (err)
			break;
		run = count ? 0 : run + 1;
		c++;
		if (++scanned == SCAN_MAX && c < q->file_end >> q->cluster_bits) {
			c = q2_round(q, q->file_end) >> q->cluster_bits;
			run = 0;
		} else if (scanned > 4ull * SCAN_MAX) {
			return q2_corrupt(q, "clusters behind the end of the file are counted as used",
					  c << q->cluster_bits);
		}
	}
	if (err)
		return err;
	c -= n;
	if (q2_is_metadata(q, c << q->cluster_bits, n << q->cluster_bits))
		return q2_corrupt(q, "a cluster in use is counted as free", c << q->cluster_bits);
	for (i = 0; i < n && !err; i++)
		err = rc_set(q, c + i, 1);
	if (err) {
		while (i--)
			rc_set(q, c + i, 0);
		return err;
	}
	if (n == 1)
		q->hint = c + 1;
	*off = c << q->cluster_bits;
	if (q->file_end < *off + (n << q->cluster_bits))
		q->file_end = *off + (n << q->cluster_bits);
	return 0;
}

void q2_unalloc(struct qcow2 *q, uint64_t off, uint64_t len)
{
	/* If this fails the clusters leak, no more. */
	(void)q2_ref(q, off, len, -1);
}

int q2_free_later(struct qcow2 *q, uint64_t off, uint64_t len)
{
	struct q2_range *last = q->nr_freed ? &q->freed[q->nr_freed - 1] : NULL;

	if (!(off & (q->cluster_size - 1)) && last && last->off + last->len == off &&
	    !(last->off & (q->cluster_size - 1))) {
		last->len += len;
		return 0;
	}
	if (q->nr_freed == q->max_freed) {
		unsigned int max = q->max_freed ? q->max_freed * 2 : 64;
		struct q2_range *more = realloc(q->freed, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		q->freed = more;
		q->max_freed = max;
	}
	q->freed[q->nr_freed++] = (struct q2_range){ off, len };
	return 0;
}

/* Nothing on disk refers to them any more. */
int q2_apply_freed(struct qcow2 *q)
{
	unsigned int i, nr = q->nr_freed;
	uint64_t c, last, count;
	int err, ret = 0;

	q->nr_freed = 0;
	for (i = 0; i < nr; i++) {
		struct q2_range r = q->freed[i];

		c = r.off >> q->cluster_bits;
		last = (r.off + r.len - 1) >> q->cluster_bits;
		for (; c <= last; c++) {
			uint64_t off = c << q->cluster_bits;

			err = q2_ref(q, off, q->cluster_size, -1);
			if (err) {
				ret = err;
				continue;
			}
			if (q2_refcount(q, c, &count) || count)
				continue;
			q2_cache_forget(&q->l2, off);
			q2_cache_forget(&q->rb, off);
			if (q->blk->discard)
				(void)q->f->ops->zero(q->f, off, q->cluster_size, true);
		}
	}
	return ret;
}
