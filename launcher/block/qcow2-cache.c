// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2-cache.c - L2 tables and refcount blocks in memory, and the order in which they reach the file
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2.h"

static struct q2_table **chain(struct q2_cache *c, const struct qcow2 *q, uint64_t off)
{
	return &c->hash[(off >> q->cluster_bits) % Q2_HASH];
}

static struct q2_table *find(struct qcow2 *q, struct q2_cache *c, uint64_t off)
{
	struct q2_table *tab = *chain(c, q, off);

	while (tab && tab->off != off)
		tab = tab->next;
	if (tab)
		tab->used = ++c->clock;
	return tab;
}

static void take_out(struct q2_cache *c, struct q2_table **at)
{
	struct q2_table *tab = *at;

	*at = tab->next;
	if (tab->dirty)
		c->nr_dirty--;
	c->nr--;
	free(tab->data);
	free(tab);
}

/*
 * The one that was not used for the longest time goes. Dirty L2 tables only leave by a commit; q2_throttle()
 * sees to it that there are others.
 */
static void evict(struct q2_cache *c)
{
	struct q2_table **oldest = NULL, **at;
	unsigned int i;

	for (i = 0; i < Q2_HASH; i++) {
		for (at = &c->hash[i]; *at; at = &(*at)->next) {
			if (!(*at)->dirty && (!oldest || (*at)->used < (*oldest)->used))
				oldest = at;
		}
	}
	if (oldest)
		take_out(c, oldest);
}

static struct q2_table *add(struct qcow2 *q, struct q2_cache *c, uint64_t off)
{
	struct q2_table *tab, **at = chain(c, q, off);

	if (c->nr >= c->max)
		evict(c);
	tab = calloc(1, sizeof(*tab));
	if (!tab)
		return NULL;
	tab->data = calloc(1, q->cluster_size);
	if (!tab->data) {
		free(tab);
		return NULL;
	}
	/* evict() may have changed the chain, but not where it starts. */
	tab->off = off;
	tab->used = ++c->clock;
	tab->next = *at;
	*at = tab;
	c->nr++;
	return tab;
}

void q2_cache_forget(struct q2_cache *c, uint64_t off)
{
	unsigned int i;
	struct q2_table **at;

	for (i = 0; i < Q2_HASH; i++) {
		for (at = &c->hash[i]; *at; at = &(*at)->next) {
			if ((*at)->off == off) {
				take_out(c, at);
				return;
			}
		}
	}
}

void q2_cache_drop(struct q2_cache *c)
{
	unsigned int i;

	for (i = 0; i < Q2_HASH; i++) {
		while (c->hash[i])
			take_out(c, &c->hash[i]);
	}
}

int q2_cache_get(struct qcow2 *q, struct q2_cache *c, uint64_t off, struct q2_table **out)
{
	struct q2_table *tab = find(q, c, off);
	int err;

	if (!tab) {
		if (!off || off & (q->cluster_size - 1))
			return q2_corrupt(q, "a table is not at the start of a cluster", off);
		if (!q2_table_in_file(q, off, q->cluster_size))
			return q2_corrupt(q, "a table is outside of the file", off);
		tab = add(q, c, off);
		if (!tab)
			return -ENOMEM;
		err = bfile_read(q->f, tab->data, q->cluster_size, off);
		if (err) {
			q2_cache_forget(c, off);
			return err;
		}
	}
	*out = tab;
	return 0;
}

int q2_cache_new(struct qcow2 *q, struct q2_cache *c, uint64_t off, struct q2_table **out)
{
	struct q2_table *tab;
	int err;

	q2_cache_forget(c, off); /* a damaged image may have had one there */
	tab = add(q, c, off);
	if (!tab)
		return -ENOMEM;
	/* Take the space now: a full disk shall fail the request that needs it, not a later flush. */
	err = bfile_write(q->f, tab->data, q->cluster_size, off);
	if (err) {
		q2_cache_forget(c, off);
		return err;
	}
	tab->fresh = true;
	q2_cache_dirty(c, tab);
	*out = tab;
	return 0;
}

void q2_cache_dirty(struct q2_cache *c, struct q2_table *tab)
{
	if (!tab->dirty)
		c->nr_dirty++;
	tab->dirty = true;
}

int q2_cache_write(struct qcow2 *q, struct q2_cache *c, bool fresh_only)
{
	struct q2_table *tab;
	unsigned int i;
	int err;

	for (i = 0; i < Q2_HASH && c->nr_dirty; i++) {
		for (tab = c->hash[i]; tab; tab = tab->next) {
			if (!tab->dirty || (fresh_only && !tab->fresh))
				continue;
			err = bfile_write(q->f, tab->data, q->cluster_size, tab->off);
			if (err)
				return err;
			tab->dirty = false;
			c->nr_dirty--;
		}
	}
	return 0;
}

/*
 * All tables are whole on disk. From here on an L1 entry may name them, and changes to them have to wait for
 * what they refer to.
 */
static void settle(struct q2_cache *c)
{
	struct q2_table *tab;
	unsigned int i;

	for (i = 0; i < Q2_HASH; i++) {
		for (tab = c->hash[i]; tab; tab = tab->next)
			tab->fresh = false;
	}
}

static int write_l1(struct qcow2 *q)
{
	uint32_t i, lo, hi;
	uint64_t buf[64];
	int err;

	/* Whole sectors of the table, or what there is of them: an entry is never torn. */
	for (lo = q->l1_dirty_lo; lo < q->l1_dirty_hi; lo = hi) {
		hi = (lo & ~63u) + 64;
		if (hi > q->l1_dirty_hi)
			hi = q->l1_dirty_hi;
		for (i = lo; i < hi; i++)
			buf[i - lo] = htobe64(q->l1[i]);
		err = bfile_write(q->f, buf, (hi - lo) * 8ull, q->l1_offset + lo * 8ull);
		if (err)
			return err;
	}
	q->l1_dirty_lo = UINT32_MAX;
	q->l1_dirty_hi = 0;
	return 0;
}

int q2_commit(struct qcow2 *q)
{
	bool l2 = q->l2.nr_dirty || q->l1_dirty_lo < q->l1_dirty_hi;
	int err = 0;

	/* What is in the file now may still be whole: leave it alone. */
	if (atomic_load(&q->f->sync_failed))
		return -EIO;
	/* 1. What is about to be referred to: data (written already), counts, new L2 tables. */
	if (!q->lazy)
		err = q2_cache_write(q, &q->rb, false);
	if (!err)
		err = q2_cache_write(q, &q->l2, true);
	if (!err)
		err = bfile_sync(q->f);
	if (err)
		return err;
	settle(&q->l2);
	/* 2. What refers to it. */
	if (l2 || !q->synced_l2) {
		q->synced_l2 = false;
		err = q2_cache_write(q, &q->l2, false);
		if (!err)
			err = write_l1(q);
		if (!err)
			err = bfile_sync(q->f);
		if (err)
			return err;
		q->synced_l2 = true;
	}
	/* 3. Nothing on disk refers to these any more; counts that stay too high after a crash only leak. */
	return q2_apply_freed(q);
}

int q2_throttle(struct qcow2 *q)
{
	int err = 0;

	if (q->l2.nr_dirty >= q->l2.max / 2 || q->nr_freed >= 65536)
		err = q2_commit(q);
	if (!err && q->rb.nr_dirty >= q->rb.max / 2)
		err = q2_cache_write(q, &q->rb, false);
	return err;
}
