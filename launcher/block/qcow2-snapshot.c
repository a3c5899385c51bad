// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2-snapshot.c - internal snapshots: further L1 tables in the same file
 *
 * A snapshot holds a reference to every L2 table and every data cluster that its L1 table leads to. The table
 * of snapshots is never changed in place: a new one is written elsewhere, then the header changes over to it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../msg.h"
#include "qcow2.h"

static void snapshot_free(struct q2_snapshot *s)
{
	free(s->id);
	free(s->name);
	free(s->extra);
}

void q2_snapshots_drop(struct qcow2 *q)
{
	while (q->nr_snaps)
		snapshot_free(&q->snap[--q->nr_snaps]);
	free(q->snap);
	q->snap = NULL;
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t val;

	memcpy(&val, p, 8);
	return be64toh(val);
}

static int load_one(struct qcow2 *q, struct q2_snapshot *s, uint64_t *at)
{
	struct q2_snapshot_header h;
	uint64_t len;
	int err = bfile_read(q->f, &h, sizeof(h), *at);

	if (err)
		return err;
	s->l1_offset = be64toh(h.l1_offset);
	s->l1_size = be32toh(h.l1_size);
	s->date_sec = be32toh(h.date_sec);
	s->date_nsec = be32toh(h.date_nsec);
	s->vm_clock = be64toh(h.vm_clock);
	s->vm_state_size = be32toh(h.vm_state_size);
	s->disk_size = UINT64_MAX;
	s->extra_len = be32toh(h.extra_len);
	if (s->extra_len > Q2_SNAPEXTRA_MAX || s->l1_size > Q2_L1_MAX / 8)
		return -EINVAL;
	*at += sizeof(h);
	s->extra = calloc(1, s->extra_len + 1ull);
	s->id = calloc(1, be16toh(h.id_len) + 1ull);
	s->name = calloc(1, be16toh(h.name_len) + 1ull);
	if (!s->extra || !s->id || !s->name)
		return -ENOMEM;
	err = bfile_read(q->f, s->extra, s->extra_len, *at);
	*at += s->extra_len;
	if (!err)
		err = bfile_read(q->f, s->id, be16toh(h.id_len), *at);
	*at += be16toh(h.id_len);
	if (!err)
		err = bfile_read(q->f, s->name, be16toh(h.name_len), *at);
	*at += be16toh(h.name_len);
	if (s->extra_len >= 8)
		s->vm_state_size = get64(s->extra);
	if (s->extra_len >= 16)
		s->disk_size = get64(s->extra + 8);
	len = sizeof(h) + s->extra_len + be16toh(h.id_len) + be16toh(h.name_len);
	*at += -len & 7;
	return err;
}

int q2_snapshots_load(struct qcow2 *q, uint32_t nr, uint64_t off)
{
	uint64_t at = off;
	uint32_t i;
	int err = 0;

	q->snap_offset = off;
	if (!nr)
		return 0;
	if (nr > Q2_SNAPSHOTS_MAX || !off || off & (q->cluster_size - 1) || off > INT64_MAX - Q2_SNAPTAB_MAX)
		return -EINVAL;
	q->snap = calloc(nr, sizeof(*q->snap));
	if (!q->snap)
		return -ENOMEM;
	for (i = 0; i < nr && !err; i++) {
		q->nr_snaps++;
		err = load_one(q, &q->snap[i], &at);
		if (!err && at - off > Q2_SNAPTAB_MAX)
			err = -EINVAL;
	}
	q->snap_len = at - off;
	return err;
}

/* A table of @nr snapshots in new clusters. */
static int write_table(struct qcow2 *q, const struct q2_snapshot *snap, unsigned int nr, uint64_t *off,
		       uint64_t *len)
{
	uint64_t at = 0, total = 0;
	unsigned int i;
	uint8_t *buf;
	int err;

	*off = *len = 0;
	if (!nr)
		return 0;
	for (i = 0; i < nr; i++)
		total += (sizeof(struct q2_snapshot_header) + snap[i].extra_len + strlen(snap[i].id) +
			  strlen(snap[i].name) + 7) &
			 ~7ull;
	if (total > Q2_SNAPTAB_MAX)
		return -EFBIG;
	buf = calloc(1, q2_round(q, total));
	if (!buf)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		const struct q2_snapshot *s = &snap[i];
		struct q2_snapshot_header h = {
			.l1_offset = htobe64(s->l1_offset),
			.l1_size = htobe32(s->l1_size),
			.id_len = htobe16(strlen(s->id)),
			.name_len = htobe16(strlen(s->name)),
			.date_sec = htobe32(s->date_sec),
			.date_nsec = htobe32(s->date_nsec),
			.vm_clock = htobe64(s->vm_clock),
			.vm_state_size =
				htobe32(s->vm_state_size > UINT32_MAX ? UINT32_MAX : s->vm_state_size),
			.extra_len = htobe32(s->extra_len),
		};

		memcpy(buf + at, &h, sizeof(h));
		at += sizeof(h);
		memcpy(buf + at, s->extra, s->extra_len);
		at += s->extra_len;
		memcpy(buf + at, s->id, strlen(s->id));
		at += strlen(s->id);
		memcpy(buf + at, s->name, strlen(s->name));
		at += strlen(s->name);
		at = (at + 7) & ~7ull;
	}
	err = q2_alloc(q, q2_round(q, total) >> q->cluster_bits, off);
	if (!err) {
		err = bfile_write(q->f, buf, q2_round(q, total), *off);
		if (err)
			q2_unalloc(q, *off, total);
	}
	*len = total;
	free(buf);
	return err;
}

/*
 * Change the counts of all that an L1 table leads to. Stops at the first failure; *done counts the references
 * that were changed, and if not 0 at the start limits them, to take back as many.
 */
static int walk(struct qcow2 *q, const uint64_t *l1, uint32_t l1_size, int delta, uint64_t *done)
{
	uint64_t limit = *done ? *done : UINT64_MAX, n = 0, e;
	struct q2_table *tab;
	struct q2_map map;
	uint32_t i;
	int err = 0;

	for (i = 0; i < l1_size && !err && n < limit; i++) {
		uint64_t off = l1[i] & Q2_OFFSET;

		if (!off)
			continue;
		err = q2_cache_get(q, &q->l2, off, &tab);
		for (e = 0; !err && n < limit && e < q->cluster_size; e += q->entry_size) {
			q2_decode(q, tab->data + e, false, &map);
			if (!map.host)
				continue;
			if (!map.compressed && map.host & (q->cluster_size - 1)) {
				err = q2_corrupt(q, "a data cluster is not at the start of a cluster",
						 map.host);
				break;
			}
			err = q2_ref(q, map.host, map.compressed ? map.comp_len : q->cluster_size, delta);
			if (!err)
				n++;
		}
		if (err || n >= limit)
			break;
		err = q2_ref(q, off, q->cluster_size, delta);
		if (!err)
			n++;
	}
	*done = n;
	return err;
}

static int ref_tree(struct qcow2 *q, const uint64_t *l1, uint32_t l1_size)
{
	uint64_t done = 0, back;
	int err = walk(q, l1, l1_size, 1, &done);

	if (err && done) {
		back = done;
		walk(q, l1, l1_size, -1, &back);
	}
	return err;
}

static void set_flag(uint8_t *entry, bool set)
{
	entry[0] = (entry[0] & 0x7f) | (set ? 0x80 : 0);
}

int q2_fix_copied(struct qcow2 *q, bool only_clear)
{
	uint64_t count, e;
	uint32_t i;
	int err = 0;

	for (i = 0; i < q->l1_size && !err; i++) {
		uint64_t off = q->l1[i] & Q2_OFFSET;
		struct q2_table *tab;
		bool table_alone;

		if (!off)
			continue;
		err = q2_refcount(q, off >> q->cluster_bits, &count);
		if (err)
			break;
		table_alone = count == 1;
		if (!!(q->l1[i] & Q2_COPIED) != table_alone && !(table_alone && only_clear))
			q2_set_l1(q, i, off | (table_alone ? Q2_COPIED : 0));
		err = q2_cache_get(q, &q->l2, off, &tab);
		for (e = 0; e < q->cluster_size && !err; e += q->entry_size) {
			uint8_t *entry = tab->data + e;
			struct q2_map map;
			bool want;

			q2_decode(q, entry, true, &map);
			if (map.compressed || !map.host)
				continue;
			err = q2_refcount(q, map.host >> q->cluster_bits, &count);
			want = count == 1;
			if (!err && want != !!(entry[0] & 0x80) && !(want && only_clear)) {
				set_flag(entry, want);
				q2_cache_dirty(&q->l2, tab);
			}
		}
		if (!err)
			err = q2_throttle(q);
	}
	return err;
}

/* An L1 table, none of whose entries is the only reference, in new clusters. */
static int write_l1(struct qcow2 *q, const uint64_t *l1, uint32_t entries, uint64_t *off)
{
	uint64_t clusters = q2_round(q, entries * 8ull) >> q->cluster_bits,
		 *out = calloc(clusters, q->cluster_size);
	uint32_t i;
	int err = out ? q2_alloc(q, clusters, off) : -ENOMEM;

	if (!err) {
		for (i = 0; i < entries; i++)
			out[i] = htobe64(l1[i] & ~Q2_COPIED);
		err = bfile_write(q->f, out, clusters << q->cluster_bits, *off);
		if (err)
			q2_unalloc(q, *off, clusters << q->cluster_bits);
	}
	free(out);
	return err;
}

/* Change over to a table of snapshots that is in the file. */
static int switch_table(struct qcow2 *q, struct q2_snapshot *snap, unsigned int nr, uint64_t off,
			uint64_t len)
{
	uint64_t old = q->snap_offset, old_len = q->snap_len;
	int err;

	free(q->snap);
	q->snap = snap;
	q->nr_snaps = nr;
	q->snap_offset = off;
	q->snap_len = len;
	err = q2_write_header(q);
	if (!err)
		err = bfile_sync(q->f);
	return !err && old_len ? q2_free_later(q, old, old_len) : err;
}

struct q2_snapshot *qcow2_snapshot_find(struct block *blk, const char *name)
{
	struct qcow2 *q = blk->priv;
	unsigned int i;

	for (i = 0; i < q->nr_snaps; i++) {
		if (!strcmp(q->snap[i].name, name))
			return &q->snap[i];
	}
	for (i = 0; i < q->nr_snaps; i++) {
		if (!strcmp(q->snap[i].id, name))
			return &q->snap[i];
	}
	return NULL;
}

static int describe(struct qcow2 *q, struct q2_snapshot *s, const char *name)
{
	unsigned long id = 0, n;
	struct timespec now;
	unsigned int i;
	uint64_t be;
	char text[24];

	for (i = 0; i < q->nr_snaps; i++) {
		n = strtoul(q->snap[i].id, NULL, 10);
		if (n > id && n < UINT32_MAX)
			id = n;
	}
	snprintf(text, sizeof(text), "%lu", id + 1);
	clock_gettime(CLOCK_REALTIME, &now);
	*s = (struct q2_snapshot){
		.l1_size = q->l1_size,
		.id = strdup(text),
		.name = strdup(name),
		.date_sec = now.tv_sec,
		.date_nsec = now.tv_nsec,
		.disk_size = q->blk->size,
		.extra = calloc(1, 24),
		.extra_len = 24,
	};
	if (!s->id || !s->name || !s->extra)
		return -ENOMEM;
	be = htobe64(s->disk_size);
	memcpy(s->extra + 8, &be, 8);
	memset(s->extra + 16, 0xff, 8); /* no instruction count */
	return 0;
}

int qcow2_snapshot_create(struct block *blk, const char *name)
{
	struct qcow2 *q = blk->priv;
	struct q2_snapshot *snap = NULL, new = { 0 };
	uint64_t off, len, done;
	int err;

	if (blk->readonly)
		return -EROFS;
	if (!*name || strlen(name) > 1023)
		return -EINVAL;
	if (!q->refcount_order)
		return -EMLINK;
	pthread_rwlock_wrlock(&q->lock);
	err = q->nr_snaps >= Q2_SNAPSHOTS_MAX ? -EFBIG : qcow2_snapshot_find(blk, name) ? -EEXIST : 0;
	if (!err)
		err = describe(q, &new, name);
	if (!err) {
		snap = calloc(q->nr_snaps + 1ull, sizeof(*snap));
		err = snap ? q2_commit(q) : -ENOMEM;
	}
	if (!err)
		err = ref_tree(q, q->l1, q->l1_size);
	if (err)
		goto err_free;
	err = write_l1(q, q->l1, q->l1_size, &new.l1_offset);
	if (err)
		goto err_unref;
	if (q->nr_snaps)
		memcpy(snap, q->snap, q->nr_snaps * sizeof(*snap));
	snap[q->nr_snaps] = new;
	err = write_table(q, snap, q->nr_snaps + 1, &off, &len);
	if (err)
		goto err_l1;
	/* From here on nothing is written in place; that is on disk before the snapshot is. */
	err = q2_fix_copied(q, true);
	if (!err)
		err = q2_commit(q);
	if (err)
		goto err_table;
	err = switch_table(q, snap, q->nr_snaps + 1, off, len);
	if (!err)
		err = q2_commit(q);
	pthread_rwlock_unlock(&q->lock);
	return err;

err_table:
	q2_unalloc(q, off, len);
err_l1:
	q2_unalloc(q, new.l1_offset, q->l1_size * 8ull);
err_unref:
	done = 0;
	walk(q, q->l1, q->l1_size, -1, &done);
err_free:
	pthread_rwlock_unlock(&q->lock);
	snapshot_free(&new);
	free(snap);
	return err;
}

int qcow2_snapshot_delete(struct block *blk, const char *name)
{
	struct qcow2 *q = blk->priv;
	struct q2_snapshot *s, *snap = NULL, gone;
	uint64_t *l1 = NULL, off, len, done = 0;
	unsigned int at;
	int err;

	if (blk->readonly)
		return -EROFS;
	pthread_rwlock_wrlock(&q->lock);
	s = qcow2_snapshot_find(blk, name);
	err = s ? q2_commit(q) : -ENOENT;
	if (!err)
		err = q2_load_tables(q, s->l1_offset, s->l1_size, &l1);
	if (err)
		goto out;
	at = s - q->snap;
	gone = *s;
	snap = calloc(q->nr_snaps, sizeof(*snap));
	if (!snap) {
		err = -ENOMEM;
		goto out;
	}
	memcpy(snap, q->snap, at * sizeof(*snap));
	memcpy(snap + at, q->snap + at + 1, (q->nr_snaps - at - 1) * sizeof(*snap));
	err = write_table(q, snap, q->nr_snaps - 1, &off, &len);
	if (!err) {
		err = q2_commit(q);
		if (err && len)
			q2_unalloc(q, off, len);
	}
	if (err)
		goto out;
	err = switch_table(q, snap, q->nr_snaps - 1, off, len);
	snap = NULL;
	snapshot_free(&gone);
	/* Nothing on disk leads to it any more. */
	if (!err)
		err = walk(q, l1, gone.l1_size, -1, &done);
	if (!err && gone.l1_size)
		err = q2_ref(q, gone.l1_offset, gone.l1_size * 8ull, -1);
	if (!err)
		err = q2_fix_copied(q, false);
	if (!err)
		err = q2_commit(q);
out:
	pthread_rwlock_unlock(&q->lock);
	free(snap);
	free(l1);
	return err;
}

int qcow2_snapshot_apply(struct block *blk, const char *name)
{
	struct qcow2 *q = blk->priv;
	struct q2_snapshot *s;
	uint64_t *l1 = NULL, *grown, off, size, entries, old, done = 0;
	uint32_t old_size, i;
	int err;

	if (blk->readonly)
		return -EROFS;
	pthread_rwlock_wrlock(&q->lock);
	s = qcow2_snapshot_find(blk, name);
	err = s ? q2_commit(q) : -ENOENT;
	if (!err)
		err = q2_load_tables(q, s->l1_offset, s->l1_size, &l1);
	if (err)
		goto out;
	size = s->disk_size == UINT64_MAX ? blk->size : s->disk_size;
	if (!size || size % BLOCK_SECTOR || size > INT64_MAX - q->cluster_size ||
	    q2_l1_needed(q, size) > Q2_L1_MAX / 8) {
		err = q2_corrupt(q, "the size that a snapshot records makes no sense", size);
		goto out;
	}
	entries = q2_l1_needed(q, size);
	if (entries < s->l1_size)
		entries = s->l1_size;
	grown = realloc(l1, (entries + 1) * 8);
	if (!grown) {
		err = -ENOMEM;
		goto out;
	}
	l1 = grown;
	memset(l1 + s->l1_size, 0, (entries + 1 - s->l1_size) * 8);
	err = ref_tree(q, l1, entries);
	if (err)
		goto out;
	err = write_l1(q, l1, entries, &off);
	if (!err) {
		err = q2_commit(q);
		if (err)
			q2_unalloc(q, off, entries * 8);
	}
	if (err) {
		walk(q, l1, entries, -1, &done);
		goto out;
	}
	for (i = 0; i < entries; i++)
		l1[i] &= ~Q2_COPIED;
	grown = q->l1;
	old = q->l1_offset;
	old_size = q->l1_size;
	q->l1 = l1;
	l1 = grown; /* the one to let go */
	q->l1_offset = off;
	q->l1_size = entries;
	blk->size = size;
	err = q2_write_header(q);
	if (!err)
		err = bfile_sync(q->f);
	if (!err)
		err = walk(q, l1, old_size, -1, &done);
	if (!err)
		err = q2_ref(q, old, old_size * 8ull, -1);
	if (!err)
		err = q2_fix_copied(q, false);
	if (!err)
		err = q2_commit(q);
out:
	pthread_rwlock_unlock(&q->lock);
	free(l1);
	return err;
}
