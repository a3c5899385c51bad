// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2-check.c - are the references in an image counted right? If not, counting them anew
 *
 * All references are counted in memory and compared with the refcount blocks. A repair writes a whole new
 * refcount structure behind the end of the file and changes the header over to it in one sector, so that it
 * can be interrupted like everything else. What refers to nowhere is reported and left alone: nothing is
 * known to put in its place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../msg.h"
#include "qcow2.h"

#define CLUSTERS_MAX (1ull << 27)
#define MESSAGES_MAX 20u

struct check {
	struct qcow2 *q;
	struct qcow2_check *res;
	uint64_t clusters;   /* of the file */
	uint32_t *count;     /* references, by cluster */
	uint32_t *tables;    /* those from L1 tables */
	uint64_t structural; /* corruptions that counting does not mend */
	unsigned int told;
	uint8_t *buf; /* a cluster */
};

static void damage(struct check *ck, const char *what, uint64_t at)
{
	ck->res->corruptions++;
	if (!ck->res->quiet && ck->told++ < MESSAGES_MAX)
		msg_error("'%s': %s (%#llx)%s", ck->q->blk->path, what, (unsigned long long)at,
			  ck->told == MESSAGES_MAX ? "; no more of these are shown" : "");
}

static void nowhere(struct check *ck, const char *what, uint64_t at)
{
	ck->structural++;
	damage(ck, what, at);
}

/* Count @times references to every cluster that the range touches; false if it is outside of the file. */
static bool count(struct check *ck, uint64_t off, uint64_t len, uint32_t times)
{
	uint64_t c = off >> ck->q->cluster_bits, last;

	if (!len)
		return true;
	if (off + len < off)
		return false;
	last = (off + len - 1) >> ck->q->cluster_bits;
	if (last >= ck->clusters)
		return false;
	for (; c <= last; c++) {
		if (__builtin_add_overflow(ck->count[c], times, &ck->count[c]))
			ck->count[c] = UINT32_MAX;
	}
	return true;
}

/* Tables at fixed places: one reference each, and no other. */
static int each_fixed(struct check *ck, bool (*fn)(struct check *, uint64_t off, uint64_t len))
{
	struct qcow2 *q = ck->q;
	uint32_t i;

	if (!fn(ck, 0, q->cluster_size) || !fn(ck, q->l1_offset, q->l1_size * 8ull) ||
	    !fn(ck, q->rt_offset, (uint64_t)q->rt_clusters << q->cluster_bits) ||
	    !fn(ck, q->snap_offset, q->snap_len))
		nowhere(ck, "a table is outside of the file", 0);
	for (i = 0; i < q->nr_snaps; i++) {
		if (!fn(ck, q->snap[i].l1_offset, q->snap[i].l1_size * 8ull))
			nowhere(ck, "the L1 table of a snapshot is outside of the file",
				q->snap[i].l1_offset);
	}
	return 0;
}

static bool count_once(struct check *ck, uint64_t off, uint64_t len)
{
	return count(ck, off, len, 1);
}

static bool counted_once(struct check *ck, uint64_t off, uint64_t len)
{
	uint64_t c = off >> ck->q->cluster_bits, last = len ? (off + len - 1) >> ck->q->cluster_bits : 0;

	for (; len && c <= last && c < ck->clusters; c++) {
		if (ck->count[c] > 1)
			nowhere(ck, "two things lie in the same place", c << ck->q->cluster_bits);
	}
	return true;
}

static bool block_ok(struct check *ck, uint64_t off)
{
	return !(off & (ck->q->cluster_size - 1)) && off >> ck->q->cluster_bits < ck->clusters &&
	       q2_table_in_file(ck->q, off, ck->q->cluster_size);
}

static void count_blocks(struct check *ck)
{
	struct qcow2 *q = ck->q;
	uint32_t i;

	for (i = 0; i < q->rt_size; i++) {
		if (!q->rt[i])
			continue;
		if (!block_ok(ck, q->rt[i])) {
			/* Made anew by a repair. */
			damage(ck, "a refcount block is not in the file", q->rt[i]);
			continue;
		}
		count(ck, q->rt[i], q->cluster_size, 1);
	}
}

static void count_l1(struct check *ck, const uint64_t *l1, uint32_t l1_size)
{
	uint32_t i;

	for (i = 0; i < l1_size; i++) {
		uint64_t off = l1[i] & Q2_OFFSET;

		if (!off)
			continue;
		if (!block_ok(ck, off)) {
			nowhere(ck, "an L2 table is not in the file", off);
			continue;
		}
		if (ck->tables[off >> ck->q->cluster_bits] != UINT32_MAX)
			ck->tables[off >> ck->q->cluster_bits]++;
	}
}

/* Each table once, however many L1 tables lead to it. */
static int count_tables(struct check *ck)
{
	struct qcow2 *q = ck->q;
	uint64_t c, e;

	for (c = 0; c < ck->clusters; c++) {
		int err;

		if (!ck->tables[c])
			continue;
		count(ck, c << q->cluster_bits, q->cluster_size, ck->tables[c]);
		err = bfile_read(q->f, ck->buf, q->cluster_size, c << q->cluster_bits);
		if (err)
			return err;
		for (e = 0; e < q->cluster_size; e += q->entry_size) {
			struct q2_map map;

			q2_decode(q, ck->buf + e, false, &map);
			if (map.compressed) {
				/* The last sector need not be whole. */
				uint64_t len = map.comp_len;

				if (map.host < q->cluster_size || !count(ck, map.host, len, ck->tables[c]))
					nowhere(ck, "a compressed cluster is not in the file", map.host);
				continue;
			}
			if ((map.alloc && !map.host) || map.alloc & map.zero)
				nowhere(ck, "an L2 entry contradicts itself", map.raw);
			if (map.host && (map.host & (q->cluster_size - 1) ||
					 !count(ck, map.host, q->cluster_size, ck->tables[c])))
				nowhere(ck, "a data cluster is not in the file", map.host);
		}
	}
	return 0;
}

/* The flags of the active tables. @mend: clear those that would lose data. */
static int check_flags(struct check *ck, bool mend)
{
	struct qcow2 *q = ck->q;
	uint32_t i;
	uint64_t e;
	int err = 0;

	for (i = 0; i < q->l1_size && !err; i++) {
		uint64_t off = q->l1[i] & Q2_OFFSET;
		bool dirty = false, copied = q->l1[i] & Q2_COPIED;
		uint32_t n;

		if (!off || !block_ok(ck, off))
			continue;
		n = ck->count[off >> q->cluster_bits];
		if (copied && n > 1) {
			damage(ck, "a shared L2 table is marked as exclusive", off);
			if (mend)
				q2_set_l1(q, i, off);
		} else if (!copied && n == 1) {
			ck->res->flags++;
		}
		err = bfile_read(q->f, ck->buf, q->cluster_size, off);
		for (e = 0; e < q->cluster_size && !err; e += q->entry_size) {
			struct q2_map map;

			q2_decode(q, ck->buf + e, true, &map);
			if (map.compressed || map.host)
				ck->res->allocated++;
			if (map.compressed || !map.host || map.host >> q->cluster_bits >= ck->clusters)
				continue;
			n = ck->count[map.host >> q->cluster_bits];
			if (map.copied && n > 1) {
				damage(ck, "a shared cluster is marked as exclusive", map.host);
				ck->buf[e] &= 0x7f;
				dirty = true;
			} else if (!map.copied && n == 1) {
				ck->res->flags++;
			}
		}
		if (!err && dirty && mend) {
			q2_cache_forget(&q->l2, off);
			err = bfile_write(q->f, ck->buf, q->cluster_size, off);
		}
	}
	return err;
}

/* Counts in the file against references. */
static int compare(struct check *ck)
{
	struct qcow2 *q = ck->q;
	uint64_t per = 1ull << q->rb_bits, c, i, blocks = (ck->clusters + per - 1) >> q->rb_bits;
	int err;

	if (blocks < q->rt_size)
		blocks = q->rt_size;
	for (i = 0; i < blocks; i++) {
		bool there = i < q->rt_size && q->rt[i] && block_ok(ck, q->rt[i]);

		if (there) {
			err = bfile_read(q->f, ck->buf, q->cluster_size, q->rt[i]);
			if (err)
				return err;
		}
		for (c = 0; c < per; c++) {
			uint64_t n = (i << q->rb_bits) + c,
				 have = there ? q2_rc_entry(ck->buf, q->refcount_order, c) : 0;
			uint64_t want = n < ck->clusters ? ck->count[n] : 0;

			if (!there && n >= ck->clusters)
				break;
			if (have < want)
				damage(ck, "a cluster has more references than are counted",
				       n << q->cluster_bits);
			else if (have > want)
				ck->res->leaks++;
		}
	}
	return 0;
}

/* What counts the references now will not be used any more. */
static void uncount_old(struct check *ck)
{
	struct qcow2 *q = ck->q;
	uint64_t c;
	uint32_t i;

	for (i = 0; i < q->rt_size; i++) {
		if (q->rt[i] && block_ok(ck, q->rt[i]) && ck->count[q->rt[i] >> q->cluster_bits])
			ck->count[q->rt[i] >> q->cluster_bits]--;
	}
	for (i = 0; i < q->rt_clusters; i++) {
		c = (q->rt_offset >> q->cluster_bits) + i;
		if (c < ck->clusters && ck->count[c])
			ck->count[c]--;
	}
}

static int rebuild(struct check *ck)
{
	struct qcow2 *q = ck->q;
	uint64_t max = q->refcount_order == 6 ? UINT64_MAX : (1ull << (1u << q->refcount_order)) - 1;
	uint64_t per = 1ull << q->rb_bits, blocks = 1, tclusters, total, at = ck->clusters, i, c, *rt, *out;
	int err = 0;

	for (;;) {
		uint64_t need;

		tclusters = q2_round(q, blocks * 8) >> q->cluster_bits;
		total = at + blocks + tclusters;
		need = (total + per - 1) >> q->rb_bits;
		if (need <= blocks)
			break;
		blocks = need;
	}
	if (tclusters << q->cluster_bits > Q2_RT_MAX)
		return -EFBIG;
	uncount_old(ck);
	rt = calloc(tclusters, q->cluster_size);
	out = calloc(tclusters, q->cluster_size);
	if (!rt || !out) {
		err = -ENOMEM;
		goto out;
	}
	for (i = 0; i < blocks && !err; i++) {
		rt[i] = (at + i) << q->cluster_bits;
		out[i] = htobe64(rt[i]);
		memset(ck->buf, 0, q->cluster_size);
		for (c = 0; c < per && !err; c++) {
			uint64_t n = (i << q->rb_bits) + c;
			uint64_t val = n < ck->clusters ? ck->count[n] : n < total;

			if (val > max)
				err = -EMLINK;
			q2_rc_set_entry(ck->buf, q->refcount_order, c, val);
		}
		if (!err)
			err = bfile_write(q->f, ck->buf, q->cluster_size, rt[i]);
	}
	if (!err)
		err = bfile_write(q->f, out, tclusters << q->cluster_bits, (at + blocks) << q->cluster_bits);
	if (!err)
		err = bfile_sync(q->f);
	if (err)
		goto out;
	q2_cache_drop(&q->rb);
	free(q->rt);
	q->rt = rt;
	rt = NULL;
	q->rt_size = tclusters << q->cluster_bits >> 3;
	q->rt_clusters = tclusters;
	q->rt_offset = (at + blocks) << q->cluster_bits;
	q->file_end = total << q->cluster_bits;
	q->hint = 0;
	q->incompat &= ~(uint64_t)Q2_INCOMPAT_DIRTY;
	if (!ck->structural)
		q->incompat &= ~(uint64_t)Q2_INCOMPAT_CORRUPT;
	err = q2_write_header(q);
	if (!err)
		err = bfile_sync(q->f);
out:
	free(rt);
	free(out);
	return err;
}

static int gather(struct check *ck)
{
	struct qcow2 *q = ck->q;
	uint32_t i;
	int err;

	each_fixed(ck, count_once);
	count_blocks(ck);
	count_l1(ck, q->l1, q->l1_size);
	for (i = 0; i < q->nr_snaps; i++) {
		uint64_t *l1;

		err = q2_load_tables(q, q->snap[i].l1_offset, q->snap[i].l1_size, &l1);
		if (err == -ENOMEM)
			return err;
		if (err) {
			nowhere(ck, "the L1 table of a snapshot cannot be read", q->snap[i].l1_offset);
			continue;
		}
		count_l1(ck, l1, q->snap[i].l1_size);
		free(l1);
	}
	err = count_tables(ck);
	if (!err)
		each_fixed(ck, counted_once);
	return err;
}

static int repair(struct check *ck)
{
	struct qcow2 *q = ck->q;
	struct qcow2_check *res = ck->res;
	int err = 0;

	if (res->corruptions > ck->structural || res->leaks || q->incompat & Q2_INCOMPAT_CORRUPT) {
		err = q2_commit(q);
		if (!err)
			err = rebuild(ck);
	} else if (q->incompat & Q2_INCOMPAT_DIRTY) {
		q->incompat &= ~(uint64_t)Q2_INCOMPAT_DIRTY;
		err = q2_write_header(q);
		if (!err)
			err = bfile_sync(q->f);
	}
	if (!err && !ck->structural)
		err = q2_fix_copied(q, false);
	if (!err)
		err = q2_commit(q);
	if (err)
		return err;
	res->repaired = res->corruptions > ck->structural || res->leaks || res->flags;
	res->corruptions = ck->structural;
	res->leaks = 0;
	res->flags = 0;
	return 0;
}

int qcow2_check(struct block *blk, bool mend, struct qcow2_check *res)
{
	struct qcow2 *q = blk->priv;
	struct check ck = { .q = q, .res = res };
	int err = 0;

	if (mend && blk->readonly)
		return -EROFS;
	/* Bitmaps lie in clusters that nothing here knows of. */
	res->partial = q->autoclear & Q2_AUTOCLEAR_BITMAPS;
	pthread_rwlock_wrlock(&q->lock);
	if (!blk->readonly)
		err = q2_commit(q);
	if (!err && !blk->readonly)
		err = q2_cache_write(q, &q->rb, false);
	if (err)
		goto unlock;
	ck.clusters = q2_round(q, q->f->ops->size(q->f)) >> q->cluster_bits;
	res->host_clusters = ck.clusters;
	res->clusters = q2_round(q, blk->size) >> q->cluster_bits;
	if (ck.clusters > CLUSTERS_MAX) {
		err = -EFBIG;
		goto unlock;
	}
	ck.count = calloc(ck.clusters + 1, sizeof(*ck.count));
	ck.tables = calloc(ck.clusters + 1, sizeof(*ck.tables));
	ck.buf = malloc(q->cluster_size);
	err = ck.count && ck.tables && ck.buf ? gather(&ck) : -ENOMEM;
	if (!err)
		err = compare(&ck);
	if (!err)
		err = check_flags(&ck, mend);
	if (!err && mend && !res->partial)
		err = repair(&ck);
	if (res->partial)
		res->leaks = 0;
	free(ck.count);
	free(ck.tables);
	free(ck.buf);
unlock:
	pthread_rwlock_unlock(&q->lock);
	return err;
}
