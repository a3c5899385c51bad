// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2-io.c - guest data: reading, writing, discarding
 *
 * Data is written to the file before the L2 entry in memory changes, and the entry reaches the file only by
 * q2_commit(), after a sync: whoever finds the entry after a crash finds the data.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "qcow2.h"

/* ---- compressed clusters */

static int inflate_cluster(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	z_stream z = {
		.next_in = (uint8_t *)in,
		.avail_in = in_len,
		.next_out = out,
		.avail_out = out_len,
	};
	int ret;

	if (inflateInit2(&z, -12) != Z_OK)
		return -ENOMEM;
	ret = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* The last sector's rest is not part of the stream; a stream may fill the buffer before it ends. */
	return (ret == Z_STREAM_END || (ret == Z_BUF_ERROR && !z.avail_out)) && !z.avail_out ? 0 : -EIO;
}

static int unzstd_cluster(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	ZSTD_inBuffer src = { in, in_len, 0 };
	ZSTD_outBuffer dst = { out, out_len, 0 };
	ZSTD_DStream *z = ZSTD_createDStream();
	int err = z ? 0 : -ENOMEM;

	while (!err && dst.pos < dst.size) {
		size_t in_was = src.pos, out_was = dst.pos;

		if (ZSTD_isError(ZSTD_decompressStream(z, &dst, &src)) ||
		    (src.pos == in_was && dst.pos == out_was))
			err = -EIO;
	}
	ZSTD_freeDStream(z);
	return err;
}

/* One whole cluster to @out. */
static int read_compressed(struct qcow2 *q, const struct q2_map *map, uint8_t *out)
{
	uint8_t *in = malloc(map->comp_len);
	struct iovec iov = { in, map->comp_len };
	struct block_cursor cur = { &iov, 1, 0 };
	int64_t got;
	int err;

	if (!in)
		return -ENOMEM;
	/* The file may end within the last sector. */
	got = q->f->ops->read(q->f, &cur, map->comp_len, map->host);
	if (got < 0)
		err = got;
	else if (q->compression)
		err = unzstd_cluster(in, got, out, q->cluster_size);
	else
		err = inflate_cluster(in, got, out, q->cluster_size);
	free(in);
	if (err == -EIO)
		return q2_corrupt(q, "a compressed cluster does not unpack", map->host);
	return err;
}

static ssize_t deflate_cluster(const struct qcow2 *q, const void *in, uint8_t *out, size_t room)
{
	z_stream z = {
		.next_in = (uint8_t *)in,
		.avail_in = q->cluster_size,
		.next_out = out,
		.avail_out = room,
	};
	size_t n;
	int ret;

	if (q->compression) {
		n = ZSTD_compress(out, room, in, q->cluster_size, ZSTD_CLEVEL_DEFAULT);
		return ZSTD_isError(n) ? 0 : (ssize_t)n;
	}
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	ret = deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return ret == Z_STREAM_END ? (ssize_t)(room - z.avail_out) : 0;
}

/* A place for @len bytes; one reference to every cluster it touches. */
static int place_compressed(struct qcow2 *q, size_t len, uint64_t *at)
{
	uint64_t mask = q->cluster_size - 1,
		 room = q->comp_off & mask ? q->cluster_size - (q->comp_off & mask) : 0;
	uint64_t new;
	int err;

	if (room >= len) {
		err = q2_ref(q, q->comp_off, len, 1);
		if (!err) {
			*at = q->comp_off;
			return 0;
		}
		if (err != -EMLINK)
			return err;
		room = 0;
	}
	err = q2_alloc(q, 1, &new);
	if (err)
		return err;
	/* Right behind the last one: goes on from there. */
	if (room && new == q->comp_off + room && !q2_ref(q, q->comp_off, room, 1))
		*at = q->comp_off;
	else
		*at = new;
	return 0;
}

int qcow2_write_compressed(struct block *blk, const void *buf, uint64_t off)
{
	struct qcow2 *q = blk->priv;
	unsigned int shift = 62 - (q->cluster_bits - 8);
	uint8_t *out = malloc(q->cluster_size);
	struct q2_map old;
	uint64_t at, sectors;
	ssize_t len;
	int err;

	if (!out)
		return -ENOMEM;
	len = deflate_cluster(q, buf, out, q->cluster_size - 1);
	if (len <= 0) {
		free(out);
		return len ? (int)len : 1;
	}
	pthread_rwlock_wrlock(&q->lock);
	err = q2_get_map(q, off, &old);
	if (!err)
		err = place_compressed(q, len, &at);
	if (err)
		goto out;
	sectors = ((at + len - 1) >> 9) - (at >> 9);
	err = at >> shift ? -EFBIG : bfile_write(q->f, out, len, at);
	if (!err)
		err = q2_set_map(q, off, Q2_COMPRESSED | sectors << shift | at, 0, 0);
	if (err) {
		q2_unalloc(q, at, len);
		goto out;
	}
	q->comp_off = at + len;
	err = q2_release(q, &old);
	if (!err)
		err = q2_throttle(q);
out:
	pthread_rwlock_unlock(&q->lock);
	free(out);
	return err;
}

/* ---- reading */

static int read_backing(struct qcow2 *q, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct block *backing = q->blk->backing;
	uint64_t part = 0;
	int err = 0;

	if (backing && off < backing->size) {
		part = backing->size - off < len ? backing->size - off : len;
		err = backing->drv->read(backing, cur, part, off);
	}
	if (!err)
		cursor_zero(cur, len - part);
	return err;
}

int q2_read(struct qcow2 *q, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct q2_extent ext;
	uint8_t *buf = NULL;
	int64_t got;
	int err = 0;

	while (len && !err) {
		err = q2_lookup(q, off, len, &ext);
		if (err)
			break;
		switch (ext.kind) {
		case Q2_HOLE:
			err = read_backing(q, cur, ext.len, off);
			break;
		case Q2_ZEROS:
			cursor_zero(cur, ext.len);
			break;
		case Q2_DATA:
			/* Behind the end of the file are zeros: space that was only set aside. */
			got = q->f->ops->read(q->f, cur, ext.len, ext.host);
			err = got < 0 ? (int)got : 0;
			break;
		case Q2_COMP:
			if (!buf)
				buf = malloc(q->cluster_size);
			err = buf ? read_compressed(q, &ext.map, buf) : -ENOMEM;
			if (!err)
				cursor_put(cur, buf + (off & (q->cluster_size - 1)), ext.len);
			break;
		}
		off += ext.len;
		len -= ext.len;
	}
	free(buf);
	return err;
}

int qcow2_read(struct block *blk, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct qcow2 *q = blk->priv;
	int err;

	pthread_rwlock_rdlock(&q->lock);
	err = q2_read(q, cur, len, off);
	pthread_rwlock_unlock(&q->lock);
	return err;
}

/* ---- writing */

static uint32_t sub_range(unsigned int lo, unsigned int hi)
{
	return hi <= lo ? 0 : (uint32_t)(((1ull << (hi - lo)) - 1) << lo);
}

/* Does the data at @host not lie where the image's own tables are, nor beyond what was ever allocated? */
static int check_host(struct qcow2 *q, uint64_t host, uint64_t len)
{
	if (q2_is_metadata(q, host, len))
		return q2_corrupt(q, "data lies in a table", host);
	if (host + len > q->file_end)
		return q2_corrupt(q, "data lies behind the end of the file", host);
	return 0;
}

/*
 * Write [off, off + len) within one cluster whose mapping has to change: allocate a cluster if there is none
 * that belongs to this entry alone, and put into it what the write leaves of subclusters, and what the old
 * cluster had.
 */
static int write_cluster(struct qcow2 *q, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	uint64_t base = off & ~(q->cluster_size - 1), in = off - base, sub = q->cluster_size / q->nr_sub,
		 host;
	unsigned int first = in / sub, last = (in + len - 1) / sub, i, j;
	uint32_t touched = sub_range(first, last + 1), whole, keep, fill, put;
	struct block_cursor part;
	struct iovec iov;
	struct q2_map old;
	uint8_t *buf = NULL;
	bool fresh;
	int err = q2_get_map(q, base, &old);

	if (err)
		return err;
	whole = sub_range((in + sub - 1) / sub, (in + len) / sub);
	keep = old.compressed ? q2_sub_mask(q) : old.alloc;
	fresh = !old.copied;
	/* To be read from what there is now; to be written. */
	fill = touched & ~whole;
	if (fresh)
		fill |= keep & ~whole;
	put = fill | touched;
	if (!fresh) {
		err = check_host(q, old.host, q->cluster_size);
		host = old.host;
	} else {
		err = q2_alloc(q, 1, &host);
	}
	if (err)
		return err;
	if (!fill) {
		/* Nothing to keep: straight from the guest. */
		part = *cur;
		err = q->f->ops->write(q->f, &part, len, host + in);
		goto written;
	}
	buf = malloc(q->cluster_size);
	err = buf ? 0 : -ENOMEM;
	for (i = 0; i < q->nr_sub && !err; i = j) {
		for (j = i; j < q->nr_sub && fill >> j & 1; j++)
			;
		if (i == j) {
			j++;
			continue;
		}
		iov = (struct iovec){ buf + i * sub, (j - i) * sub };
		part = (struct block_cursor){ &iov, 1, 0 };
		err = q2_read(q, &part, (j - i) * sub, base + i * sub);
	}
	if (!err) {
		part = *cur;
		cursor_get(&part, buf + in, len);
	}
	for (i = 0; i < q->nr_sub && !err; i = j) {
		for (j = i; j < q->nr_sub && put >> j & 1; j++)
			;
		if (i == j) {
			j++;
			continue;
		}
		err = bfile_write(q->f, buf + i * sub, (j - i) * sub, host + i * sub);
	}
written:
	if (!err)
		err = q2_set_map(q, base, host | Q2_COPIED, (old.compressed ? 0 : old.alloc) | put,
				 old.zero & ~put);
	if (err) {
		if (fresh)
			q2_unalloc(q, host, q->cluster_size);
		goto out;
	}
	cursor_advance(cur, len);
	if (fresh)
		err = q2_release(q, &old);
	if (!err)
		err = q2_throttle(q);
out:
	free(buf);
	return err;
}

int qcow2_write(struct block *blk, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct qcow2 *q = blk->priv;
	struct q2_extent ext;
	int err = 0;

	while (len && !err) {
		uint64_t part = q->cluster_size - (off & (q->cluster_size - 1));
		bool done = false;

		pthread_rwlock_rdlock(&q->lock);
		err = q2_lookup(q, off, len, &ext);
		if (!err && ext.kind == Q2_DATA && ext.copied) {
			part = ext.len;
			done = true;
			err = check_host(q, ext.host, part);
			if (!err)
				err = q->f->ops->write(q->f, cur, part, ext.host);
		}
		pthread_rwlock_unlock(&q->lock);
		if (!err && !done) {
			/* Looked up again there: another thread may have been faster. */
			if (part > len)
				part = len;
			pthread_rwlock_wrlock(&q->lock);
			err = write_cluster(q, cur, part, off);
			pthread_rwlock_unlock(&q->lock);
		}
		off += part;
		len -= part;
	}
	return err;
}

/* ---- by others */

bool qcow2_place(struct block *blk, bool write, uint64_t off, uint64_t len, uint64_t *at)
{
	struct qcow2 *q = blk->priv;
	struct q2_extent ext;

	if (q2_lookup(q, off, len, &ext) || ext.kind != Q2_DATA || ext.len < len)
		return false;
	*at = ext.host;
	return !write || (ext.copied && !check_host(q, ext.host, len));
}

void qcow2_hold(struct block *blk, bool on)
{
	struct qcow2 *q = blk->priv;

	if (on)
		pthread_rwlock_rdlock(&q->lock);
	else
		pthread_rwlock_unlock(&q->lock);
}

/* ---- discarding and zeroing */

/* Is there anything below this cluster that a missing entry would show? */
static bool has_backing(const struct qcow2 *q, uint64_t off)
{
	return q->blk->backing && off < q->blk->backing->size;
}

static int write_zeros(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint8_t *buf = calloc(1, len);
	struct iovec iov = { buf, len };
	struct block_cursor cur = { &iov, 1, 0 };
	int err = buf ? write_cluster(q, &cur, len, off) : -ENOMEM;

	free(buf);
	return err;
}

/* A whole cluster. @zero: has to read as zeros, otherwise as whatever is below. */
static int clear_cluster(struct qcow2 *q, uint64_t off, bool zero, bool unmap)
{
	uint32_t all = q2_sub_mask(q);
	struct q2_map old;
	uint64_t entry = 0;
	bool keep, flag;
	int err = q2_get_map(q, off, &old);

	if (err)
		return err;
	flag = zero && has_backing(q, off);
	keep = zero && !unmap && old.copied && q->version >= 3;
	if (flag && q->version < 3)
		return write_zeros(q, off, q->cluster_size);
	if (keep) {
		entry = old.host | Q2_COPIED;
		flag = true;
	}
	if (flag && q->entry_size == 8)
		entry |= Q2_ZERO;
	if (entry == old.raw && (flag ? old.zero == all : !old.zero))
		return 0;
	err = q2_set_map(q, off, entry, 0, flag ? all : 0);
	return err || keep ? err : q2_release(q, &old);
}

/* Past a whole L2 table that does not exist? Then how far. */
static uint64_t skip_empty(const struct qcow2 *q, uint64_t off, uint64_t end)
{
	uint64_t idx = off >> q2_l1_shift(q), next;

	if (idx < q->l1_size && q->l1[idx] & Q2_OFFSET)
		return off;
	next = (idx + 1) << q2_l1_shift(q);
	return next < end ? next : end;
}

int q2_unmap(struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t end = (off + len) & ~(q->cluster_size - 1);
	int err = 0;

	off = q2_round(q, off);
	while (off < end && !err) {
		uint64_t next = skip_empty(q, off, end);

		if (next == off) {
			err = clear_cluster(q, off, false, true);
			next = off + q->cluster_size;
		}
		if (!err)
			err = q2_throttle(q);
		off = next;
	}
	return err;
}

int q2_zero_range(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap)
{
	uint64_t end = off + len, size = q2_round(q, q->blk->size), part;
	int err = 0;

	while (off < end && !err) {
		part = q->cluster_size - (off & (q->cluster_size - 1));
		if (part > end - off)
			part = end - off;
		if (!has_backing(q, off)) {
			uint64_t next = skip_empty(q, off, end);

			if (next != off) {
				off = next;
				continue;
			}
		}
		/* The last cluster of the disk need not be whole. */
		if (part == q->cluster_size ||
		    (off + part == q->blk->size && !(off & (q->cluster_size - 1)) &&
		     off + q->cluster_size == size)) {
			err = clear_cluster(q, off, true, unmap);
		} else {
			struct q2_extent ext;

			err = q2_lookup(q, off, part, &ext);
			if (!err && (ext.len < part || ext.kind == Q2_DATA || ext.kind == Q2_COMP ||
				     (ext.kind == Q2_HOLE && has_backing(q, off))))
				err = write_zeros(q, off, part);
		}
		if (!err)
			err = q2_throttle(q);
		off += part;
	}
	return err;
}

int qcow2_zero(struct block *blk, uint64_t off, uint64_t len, bool unmap)
{
	struct qcow2 *q = blk->priv;
	int err;

	pthread_rwlock_wrlock(&q->lock);
	err = q2_zero_range(q, off, len, unmap);
	pthread_rwlock_unlock(&q->lock);
	return err;
}

int qcow2_discard(struct block *blk, uint64_t off, uint64_t len)
{
	struct qcow2 *q = blk->priv;
	uint64_t end = off + len;
	int err = 0;

	/* Whole clusters; version 2 has no way to hide what the backing file has. */
	off = q2_round(q, off);
	if (end != blk->size)
		end &= ~(q->cluster_size - 1);
	if (off >= end || (blk->backing && q->version < 3))
		return 0;
	pthread_rwlock_wrlock(&q->lock);
	err = q2_zero_range(q, off, end - off, true);
	pthread_rwlock_unlock(&q->lock);
	return err;
}

int qcow2_extent(struct block *blk, uint64_t off, uint64_t len, enum block_kind *kind, uint64_t *n)
{
	struct qcow2 *q = blk->priv;
	struct q2_extent ext;
	int err;

	pthread_rwlock_rdlock(&q->lock);
	err = q2_lookup(q, off, len, &ext);
	pthread_rwlock_unlock(&q->lock);
	if (err)
		return err;
	*kind = ext.kind == Q2_HOLE ? BLOCK_HOLE : ext.kind == Q2_ZEROS ? BLOCK_ZERO : BLOCK_DATA;
	*n = ext.len;
	return 0;
}
