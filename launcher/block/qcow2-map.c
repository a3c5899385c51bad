// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2-map.c - from guest offsets to what the L1 and L2 tables have for them
 *
 * A cluster has one subcluster, or 32 with extended L2 entries; a plain entry is read as if it had the
 * bitmaps of one subcluster, so that the rest of the code sees one form.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "qcow2.h"

static uint64_t l2_index(const struct qcow2 *q, uint64_t off)
{
	return off >> q->cluster_bits & ((1ull << q->l2_bits) - 1);
}

void q2_decode(const struct qcow2 *q, const uint8_t *entry, bool l1_copied, struct q2_map *map)
{
	uint64_t raw, bits = 0;
	unsigned int shift = 62 - (q->cluster_bits - 8);

	memcpy(&raw, entry, 8);
	raw = be64toh(raw);
	if (q->entry_size == 16) {
		memcpy(&bits, entry + 8, 8);
		bits = be64toh(bits);
	}
	*map = (struct q2_map){ .raw = raw };
	if (raw & Q2_COMPRESSED) {
		uint64_t sectors = (raw >> shift & ((1ull << (q->cluster_bits - 8)) - 1)) + 1;

		map->compressed = true;
		map->host = raw & ((1ull << shift) - 1);
		map->comp_len = sectors * 512 - (map->host & 511);
		return;
	}
	map->host = raw & Q2_OFFSET;
	map->copied = l1_copied && raw & Q2_COPIED && map->host;
	if (q->entry_size == 16) {
		map->alloc = (uint32_t)bits;
		map->zero = bits >> 32;
	} else {
		map->zero = q->version >= 3 && raw & Q2_ZERO;
		map->alloc = !map->zero && map->host;
	}
}

static int check_map(struct qcow2 *q, const struct q2_map *map)
{
	if (map->compressed)
		return 0;
	if (map->host & (q->cluster_size - 1))
		return q2_corrupt(q, "a data cluster is not at the start of a cluster", map->host);
	if (map->alloc && !map->host)
		return q2_corrupt(q, "data without a place", 0);
	if (map->alloc & map->zero)
		return q2_corrupt(q, "a subcluster both has data and is zero", map->host);
	return 0;
}

/* Bytes of the kind that @off begins with, within its cluster. */
static uint64_t within(const struct qcow2 *q, const struct q2_map *map, uint64_t off, int *kind)
{
	uint64_t in = off & (q->cluster_size - 1), sub_size = q->cluster_size / q->nr_sub;
	unsigned int sub = in / sub_size, end;

	if (map->compressed) {
		*kind = Q2_COMP;
		return q->cluster_size - in;
	}
	*kind = map->alloc >> sub & 1 ? Q2_DATA : map->zero >> sub & 1 ? Q2_ZEROS : Q2_HOLE;
	for (end = sub + 1; end < q->nr_sub; end++) {
		if ((map->alloc >> end & 1) != (map->alloc >> sub & 1) ||
		    (map->zero >> end & 1) != (map->zero >> sub & 1))
			break;
	}
	return end * sub_size - in;
}

static int lookup(struct qcow2 *q, uint64_t off, uint64_t len, struct q2_extent *ext)
{
	uint64_t l1_idx = off >> q2_l1_shift(q), entry, l2_off, room, n;
	struct q2_table *tab = NULL;
	struct q2_map map;
	int err, kind;

	*ext = (struct q2_extent){ .kind = Q2_HOLE };
	if (l1_idx >= q->l1_size)
		return q2_corrupt(q, "the L1 table is too small for the disk", off);
	/* Within one table. */
	room = (1ull << q2_l1_shift(q)) - (off & ((1ull << q2_l1_shift(q)) - 1));
	if (len > room)
		len = room;
	entry = q->l1[l1_idx];
	l2_off = entry & Q2_OFFSET;
	if (!l2_off) {
		ext->len = len;
		return 0;
	}
	err = q2_cache_get(q, &q->l2, l2_off, &tab);
	while (!err && ext->len < len) {
		uint64_t at = off + ext->len;

		q2_decode(q, tab->data + l2_index(q, at) * q->entry_size, entry & Q2_COPIED, &map);
		err = check_map(q, &map);
		if (err)
			break;
		n = within(q, &map, at, &kind);
		if (!ext->len) {
			ext->kind = kind;
			ext->copied = map.copied;
			ext->map = map;
			ext->host = map.host + (kind == Q2_DATA ? at & (q->cluster_size - 1) : 0);
		} else if (kind != (int)ext->kind || map.copied != ext->copied || kind == Q2_COMP ||
			   (kind == Q2_DATA &&
			    map.host + (at & (q->cluster_size - 1)) != ext->host + ext->len)) {
			break;
		}
		ext->len += n;
	}
	if (ext->len > len)
		ext->len = len;
	return ext->len ? 0 : err; /* what is wrong further on is met there */
}

int q2_lookup(struct qcow2 *q, uint64_t off, uint64_t len, struct q2_extent *ext)
{
	int err;

	pthread_mutex_lock(&q->cache_lock);
	err = lookup(q, off, len, ext);
	pthread_mutex_unlock(&q->cache_lock);
	return err;
}

int q2_get_map(struct qcow2 *q, uint64_t off, struct q2_map *map)
{
	struct q2_extent ext;
	int err = lookup(q, off & ~(q->cluster_size - 1), 1, &ext);

	*map = ext.map;
	return err;
}

int q2_set_l1(struct qcow2 *q, uint32_t idx, uint64_t entry)
{
	q->l1[idx] = entry;
	if (idx < q->l1_dirty_lo)
		q->l1_dirty_lo = idx;
	if (idx >= q->l1_dirty_hi)
		q->l1_dirty_hi = idx + 1;
	return 0;
}

/* The table for @off, there and of this L1 table alone. */
static int l2_for_write(struct qcow2 *q, uint64_t off, struct q2_table **tab)
{
	uint64_t l1_idx = off >> q2_l1_shift(q), entry, old, new, i;
	uint8_t *copy = NULL;
	int err = 0;

	if (l1_idx >= q->l1_size)
		return q2_corrupt(q, "the L1 table is too small for the disk", off);
	entry = q->l1[l1_idx];
	old = entry & Q2_OFFSET;
	if (old && entry & Q2_COPIED) {
		if (q2_is_metadata(q, old, q->cluster_size))
			return q2_corrupt(q, "an L2 table lies in another table", old);
		return q2_cache_get(q, &q->l2, old, tab);
	}
	if (old) {
		copy = malloc(q->cluster_size);
		if (!copy)
			return -ENOMEM;
		err = q2_cache_get(q, &q->l2, old, tab);
		if (!err)
			memcpy(copy, (*tab)->data, q->cluster_size);
	}
	if (!err)
		err = q2_alloc(q, 1, &new);
	if (err)
		goto out;
	err = q2_cache_new(q, &q->l2, new, tab);
	if (!err && old)
		err = q2_free_later(q, old, q->cluster_size);
	if (err) {
		q2_cache_forget(&q->l2, new);
		q2_unalloc(q, new, q->cluster_size);
		goto out;
	}
	if (old) {
		memcpy((*tab)->data, copy, q->cluster_size);
		/* What a shared table names is shared. */
		for (i = 0; i < q->cluster_size; i += q->entry_size) {
			if (!((*tab)->data[i] & 0x40))
				(*tab)->data[i] &= 0x7f;
		}
	}
	err = q2_set_l1(q, l1_idx, new | Q2_COPIED);
out:
	free(copy);
	return err;
}

int q2_set_map(struct qcow2 *q, uint64_t off, uint64_t entry, uint32_t alloc, uint32_t zero)
{
	struct q2_table *tab;
	uint8_t *at;
	int err = l2_for_write(q, off, &tab);

	if (err)
		return err;
	at = tab->data + l2_index(q, off) * q->entry_size;
	entry = htobe64(entry);
	memcpy(at, &entry, 8);
	if (q->entry_size == 16) {
		uint64_t bits = htobe64((uint64_t)zero << 32 | alloc);

		memcpy(at + 8, &bits, 8);
	}
	q2_cache_dirty(&q->l2, tab);
	return 0;
}

int q2_release(struct qcow2 *q, const struct q2_map *map)
{
	if (!map->host)
		return 0;
	return q2_free_later(q, map->host, map->compressed ? map->comp_len : q->cluster_size);
}
