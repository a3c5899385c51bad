// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2.c - qcow2 images: the header, opening and closing
 *
 * Everything in the file is hostile: offsets are checked against the file before they are used, sizes against
 * the limits in qcow2.h before memory is taken for them. A damaged image gives errors, and only for what the
 * damage concerns.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../msg.h"
#include "qcow2.h"

#define L2_CACHE_BYTES (32u << 20)
#define RB_CACHE_BYTES (8u << 20)

int q2_corrupt(struct qcow2 *q, const char *what, uint64_t at)
{
	if (!q->corrupt_told)
		msg_error("qcow2 image '%s' is damaged: %s (%#llx). Requests that need it fail. Make a copy, "
			  "then "
			  "try: tenon img check --repair '%s'",
			  q->blk->path, what, (unsigned long long)at, q->blk->path);
	q->corrupt_told = true;
	return -EIO;
}

static int refuse(const struct block *blk, const char *why)
{
	msg_error("open qcow2 image '%s': %s", blk->path, why);
	return -EINVAL;
}

bool q2_table_in_file(struct qcow2 *q, uint64_t off, uint64_t len)
{
	int64_t size = q->f->ops->size(q->f);

	return size >= 0 && off <= (uint64_t)size && len <= (uint64_t)size - off;
}

uint64_t q2_l1_needed(const struct qcow2 *q, uint64_t size)
{
	uint64_t unit = 1ull << q2_l1_shift(q);

	return size / unit + !!(size % unit);
}

int q2_load_tables(struct qcow2 *q, uint64_t off, uint32_t entries, uint64_t **out)
{
	uint64_t *tab;
	uint32_t i;
	int err;

	if (entries * 8ull > Q2_L1_MAX || off & (q->cluster_size - 1) || (entries && !off) ||
	    !q2_table_in_file(q, off, entries * 8ull))
		return -EINVAL;
	tab = calloc(entries + 1ull, 8);
	if (!tab)
		return -ENOMEM;
	err = bfile_read(q->f, tab, entries * 8ull, off);
	if (err) {
		free(tab);
		return err;
	}
	for (i = 0; i < entries; i++)
		tab[i] = be64toh(tab[i]);
	*out = tab;
	return 0;
}

int q2_write_header(struct qcow2 *q)
{
	struct q2_header h;
	size_t len = q->version == 2 ? offsetof(struct q2_header, incompat) :
				       offsetof(struct q2_header, compression);

	memcpy(&h, q->sector0, sizeof(h));
	h.size = htobe64(q->blk->size);
	h.l1_size = htobe32(q->l1_size);
	h.l1_offset = htobe64(q->l1_offset);
	h.rt_offset = htobe64(q->rt_offset);
	h.rt_clusters = htobe32(q->rt_clusters);
	h.nr_snapshots = htobe32(q->nr_snaps);
	h.snapshots_offset = htobe64(q->snap_offset);
	h.incompat = htobe64(q->incompat);
	h.compat = htobe64(q->compat);
	h.autoclear = htobe64(q->autoclear);
	memcpy(q->sector0, &h, len);
	return bfile_write(q->f, q->sector0, sizeof(q->sector0), 0);
}

int q2_set_dirty(struct qcow2 *q)
{
	int err;

	if (!q->lazy || q->incompat & Q2_INCOMPAT_DIRTY)
		return 0;
	q->incompat |= Q2_INCOMPAT_DIRTY;
	err = q2_write_header(q);
	return err ? err : bfile_sync(q->f);
}

/* ---- opening */

static int parse_fixed(struct qcow2 *q, const struct q2_header *h, const struct block_options *opts)
{
	struct block *blk = q->blk;
	uint64_t unknown;

	if (be32toh(h->magic) != Q2_MAGIC)
		return refuse(blk, "its content is not qcow2. If it is raw, say so: format=raw");
	q->version = be32toh(h->version);
	if (q->version != 2 && q->version != 3)
		return refuse(
			blk,
			"it is of another version than 2 and 3. Convert it with the program that made it");
	if (h->crypt_method)
		return refuse(blk, "it is encrypted, which is not supported. Convert it with qemu-img");
	q->cluster_bits = be32toh(h->cluster_bits);
	if (q->cluster_bits < 9 || q->cluster_bits > 21)
		return refuse(blk, "its header is damaged: the cluster size is not 512 bytes to 2 MiB");
	q->cluster_size = 1ull << q->cluster_bits;
	q->refcount_order = 4;
	if (q->version == 3) {
		uint32_t len = be32toh(h->header_length);

		q->incompat = be64toh(h->incompat);
		q->compat = be64toh(h->compat);
		q->autoclear = be64toh(h->autoclear);
		q->refcount_order = be32toh(h->refcount_order);
		if (len < 104 || len > q->cluster_size || len % 8)
			return refuse(blk, "its header is damaged: the length of the header makes no sense");
		if (len > 104)
			q->compression = h->compression;
	}
	if (q->incompat & Q2_INCOMPAT_DATA_FILE)
		return refuse(
			blk,
			"its data is in another file (data_file), which is not supported. Convert it with "
			"qemu-img");
	unknown = q->incompat & ~(uint64_t)(Q2_INCOMPAT_DIRTY | Q2_INCOMPAT_CORRUPT |
					    Q2_INCOMPAT_COMPRESSION | Q2_INCOMPAT_EXTL2);
	if (unknown)
		return refuse(blk, "it uses features that this version does not know");
	if (q->incompat & Q2_INCOMPAT_CORRUPT && !blk->readonly && !opts->repair)
		return refuse(
			blk,
			"it is marked as damaged. Make a copy, then try tenon img check --repair; or use "
			"it read-only");
	if (q->refcount_order > 6)
		return refuse(blk, "its header is damaged: the width of its reference counts makes no sense");
	if (q->compression > 1 || (q->compression && !(q->incompat & Q2_INCOMPAT_COMPRESSION)))
		return refuse(blk, "its clusters are compressed by a method other than zlib and zstd");
	if (q->incompat & Q2_INCOMPAT_EXTL2 && q->cluster_bits < 14)
		return refuse(blk, "its header is damaged: clusters are too small for extended L2 entries");
	q->entry_size = q->incompat & Q2_INCOMPAT_EXTL2 ? 16 : 8;
	q->nr_sub = q->entry_size == 16 ? 32 : 1;
	q->l2_bits = q->cluster_bits - (q->entry_size == 16 ? 4 : 3);
	q->rb_bits = q->cluster_bits + 3 - q->refcount_order;
	blk->size = be64toh(h->size);
	if (!blk->size || blk->size > INT64_MAX - q->cluster_size)
		return refuse(blk, blk->size ? "its header is damaged: the disk's size makes no sense" :
					       "its disk has size 0. Enlarge it: tenon img resize");
	if (blk->size % BLOCK_SECTOR)
		return refuse(blk, "its size is not a multiple of 512 bytes");
	return 0;
}

static int parse_tables(struct qcow2 *q, const struct q2_header *h)
{
	struct block *blk = q->blk;
	uint32_t i, needed_max = Q2_L1_MAX / 8;
	uint64_t needed = q2_l1_needed(q, blk->size);
	int err;

	q->l1_size = be32toh(h->l1_size);
	q->l1_offset = be64toh(h->l1_offset);
	if (needed > needed_max || q->l1_size < needed)
		return refuse(blk, "its header is damaged: the L1 table is too small for the disk");
	err = q2_load_tables(q, q->l1_offset, q->l1_size, &q->l1);
	if (err == -EINVAL)
		return refuse(blk, "its header is damaged: the L1 table is too large or outside of the file");
	if (err)
		return refuse(blk, strerror(-err));
	q->rt_offset = be64toh(h->rt_offset);
	q->rt_clusters = be32toh(h->rt_clusters);
	if ((uint64_t)q->rt_clusters << q->cluster_bits > Q2_RT_MAX || !q->rt_clusters)
		return refuse(blk, "its header is damaged: the refcount table's size makes no sense");
	q->rt_size = (uint64_t)q->rt_clusters << q->cluster_bits >> 3;
	err = q2_load_tables(q, q->rt_offset, q->rt_size, &q->rt);
	if (err == -EINVAL)
		return refuse(blk, "its header is damaged: the refcount table is outside of the file");
	if (err)
		return refuse(blk, strerror(-err));
	for (i = 0; i < q->rt_size; i++)
		q->rt[i] &= ~511ull;
	err = q2_snapshots_load(q, be32toh(h->nr_snapshots), be64toh(h->snapshots_offset));
	return err ? refuse(blk, err == -ENOMEM ? strerror(ENOMEM) : "its snapshot table is damaged") : 0;
}

/* Header extensions and the name of the backing file: all in the first cluster. */
static int parse_names(struct qcow2 *q, const struct q2_header *h)
{
	struct block *blk = q->blk;
	uint64_t at = q->version == 3 ? be32toh(h->header_length) : 72, end = q->cluster_size;
	uint64_t name_at = be64toh(h->backing_offset);
	uint32_t name_len = be32toh(h->backing_len), type, len;
	uint8_t *buf = calloc(1, q->cluster_size);
	struct iovec iov = { buf, q->cluster_size };
	struct block_cursor cur = { &iov, 1, 0 };
	int err = 0;

	if (!buf)
		return -ENOMEM;
	if (q->f->ops->read(q->f, &cur, q->cluster_size, 0) < 0) {
		err = refuse(blk, "reading its header failed");
		goto out;
	}
	if (name_at) {
		if (!name_len || name_len > Q2_BACKING_MAX || name_at > end || name_len > end - name_at ||
		    memchr(buf + name_at, 0, name_len)) {
			err = refuse(blk,
				     "its header is damaged: the name of the backing file makes no sense");
			goto out;
		}
		q->backing_name = strndup((char *)buf + name_at, name_len);
		if (!q->backing_name)
			err = -ENOMEM;
		if (name_at > at)
			end = name_at;
	}
	while (!err && at + 8 <= end) {
		memcpy(&type, buf + at, 4);
		memcpy(&len, buf + at + 4, 4);
		type = be32toh(type);
		len = be32toh(len);
		at += 8;
		if (type == Q2_EXT_END)
			break;
		if (len > end - at) {
			err = refuse(blk, "its header is damaged: a header extension is too long");
			break;
		}
		if (type == Q2_EXT_FORMAT) {
			if (len >= sizeof(q->backing_format))
				err = refuse(blk, "the format of its backing file is not supported");
			else
				memcpy(q->backing_format, buf + at, len);
		}
		at += (len + 7ull) & ~7ull;
	}
out:
	free(buf);
	return err;
}

/* The path of the backing file as the one who opened @blk would write it. */
static char *backing_path(const struct block *blk, const char *name)
{
	const char *slash = strrchr(blk->path, '/');
	size_t dir = slash && name[0] != '/' ? (size_t)(slash + 1 - blk->path) : 0, len = strlen(name);
	char *path = malloc(dir + len + 1);

	if (path) {
		memcpy(path, blk->path, dir);
		memcpy(path + dir, name, len + 1);
	}
	return path;
}

/*
 * Open a backing file that may not be outside the directory of the image. Resolved by the kernel below that
 * directory, so that no symbolic link leads out.
 */
static struct bfile *open_inside(const struct block *blk, const char *name, struct file_open *how, int *err)
{
	const char *slash = strrchr(blk->path, '/');
	char *dir = slash ? strndup(blk->path, slash == blk->path ? 1 : slash - blk->path) : strdup(".");
	char *real_dir = dir ? realpath(dir, NULL) : NULL, *real = NULL;
	struct bfile *f = NULL;
	size_t len;

	*err = -ENOMEM;
	if (!real_dir)
		goto out;
	if (name[0] == '/') {
		len = strlen(real_dir);
		real = realpath(name, NULL);
		if (real && !strncmp(real, real_dir, len) && (real[len] == '/' || len == 1)) {
			name = real + len + (real[len] == '/');
		} else {
			*err = real ? -EXDEV : -errno;
			msg_error("open backing file '%s', which '%s' names: %s", name, blk->path,
				  real ? "it is outside the directory of the image. If that is intended, "
					 "allow it "
					 "with backing=any" :
					 strerror(-*err));
			goto out;
		}
	}
	how->dir = open(real_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	how->beneath = true;
	if (how->dir < 0) {
		*err = -errno;
		msg_error("open directory '%s': %s", real_dir, strerror(-*err));
		goto out;
	}
	f = file_open(name, how, err);
	close(how->dir);
out:
	free(real);
	free(real_dir);
	free(dir);
	return f;
}

/* The format of the backing file, if the image may have one. 0, or -errno with a message printed. */
static int backing_format(const struct qcow2 *q, const struct block_options *opts, const struct block_driver **format)
{
	const struct block *blk = q->blk;

	if (opts->backing == BLOCK_BACKING_NONE) {
		msg_error("open qcow2 image '%s': it has a backing file, '%s', and backing=none forbids that",
			  blk->path, q->backing_name);
		return -EPERM;
	}
	*format = block_driver_by_name(q->backing_format);
	if (!*q->backing_format && block_driver_by_path(q->backing_name) == &block_qcow2)
		*format = &block_qcow2;
	if (*format)
		return 0;
	msg_error("open qcow2 image '%s': it %s of its backing file '%s'. Formats are not guessed from content. Say what it "
		  "is: qemu-img rebase -u -b '%s' -F raw|qcow2 '%s'", blk->path,
		  *q->backing_format ? "names an unsupported format" : "does not name the format",
		  q->backing_name, q->backing_name, blk->path);
	return -EINVAL;
}

static struct bfile *adopt_given(const struct block_given *given, const struct file_open *how, int *err)
{
	int fd = fcntl(given->fd, F_DUPFD_CLOEXEC, 3);

	*err = -errno;
	return fd < 0 ? NULL : file_adopt(fd, given->path, how, err);
}

static int open_backing(struct qcow2 *q, const struct block_options *opts, unsigned int depth)
{
	const struct block_given *given = opts->nr_given ? opts->given : NULL;
	struct block *blk = q->blk, *backing;
	struct file_open how = {
		.readonly = !opts->backing_writable,
		.direct = opts->cache == BLOCK_NONE,
		.unsafe = opts->cache == BLOCK_UNSAFE,
		.no_lock = opts->no_lock,
	};
	struct block_options below = {
		.readonly = how.readonly,
		.cache = opts->cache,
		.backing = opts->backing,
		.no_lock = opts->no_lock,
		.discard = opts->discard,
		.overlay = blk,
	};
	const struct block *b;
	struct bfile *f;
	struct stat st;
	char *path;
	int err;

	if (given) {
		below.format = given->format;
		below.given = given + 1;
		below.nr_given = opts->nr_given - 1;
	} else {
		err = backing_format(q, opts, &below.format);
		if (err)
			return err;
	}
	path = given ? strdup(given->path) : backing_path(blk, q->backing_name);
	backing = calloc(1, sizeof(*backing));
	if (!path || !backing) {
		err = -ENOMEM;
		goto err_free;
	}
	err = -ELOOP;
	if (!(given ? fstat(given->fd, &st) : stat(path, &st))) {
		for (b = blk; b; b = b->overlay) {
			if (b->file->ino == st.st_ino && b->file->dev == st.st_dev) {
				msg_error("open qcow2 image '%s': its chain of backing files leads back to "
					  "'%s'",
					  blk->path, path);
				goto err_free;
			}
		}
	}
	if (depth + 1 >= BLOCK_CHAIN_MAX) {
		msg_error("open qcow2 image '%s': its chain of backing files is longer than %u", blk->path,
			  BLOCK_CHAIN_MAX);
		goto err_free;
	}
	f = given ? adopt_given(given, &how, &err) :
	    opts->backing == BLOCK_BACKING_ANY ? file_open(path, &how, &err) :
						 open_inside(blk, q->backing_name, &how, &err);
	if (!f)
		goto err_free;
	err = block_open_file(backing, path, f, NULL, &below, depth + 1);
	if (err)
		goto err_free;
	blk->backing = backing;
	blk->backing_path = path;
	return 0;

err_free:
	free(backing);
	free(path);
	return err;
}

static unsigned int cache_max(const struct qcow2 *q, uint64_t bytes)
{
	uint64_t n = bytes >> q->cluster_bits;

	return n < 16 ? 16 : n > 4096 ? 4096 : n;
}

static void destroy(struct qcow2 *q)
{
	struct block *blk = q->blk;

	if (blk->backing_path) {
		block_close(blk->backing);
		free(blk->backing);
		free(blk->backing_path);
		blk->backing = NULL;
		blk->backing_path = NULL;
	}
	q2_cache_drop(&q->l2);
	q2_cache_drop(&q->rb);
	q2_snapshots_drop(q);
	free(q->freed);
	free(q->l1);
	free(q->rt);
	free(q->backing_name);
	pthread_mutex_destroy(&q->cache_lock);
	pthread_rwlock_destroy(&q->lock);
	free(q);
	blk->priv = NULL;
}

/* What an unclean end left, and what this program will not keep up to date. */
static int prepare_writes(struct qcow2 *q, const struct block_options *opts)
{
	struct qcow2_check res = { .quiet = true };
	int err;

	if (opts->repair)
		return 0;
	if (q->incompat & Q2_INCOMPAT_DIRTY) {
		msg_info("qcow2 image '%s' was not closed; counting its clusters anew", q->blk->path);
		err = qcow2_check(q->blk, true, &res);
		if (err || res.corruptions) {
			if (!err)
				refuse(q->blk,
				       "it is damaged. Make a copy, then try: tenon img check --repair");
			return err ? err : -EIO;
		}
	}
	if (q->autoclear) {
		/* These say that something is up to date which the next write makes stale: bitmaps, raw data.
		 */
		q->autoclear = 0;
		err = q2_write_header(q);
		if (err)
			return err;
	}
	return 0;
}

static int qcow2_open(struct block *blk, const struct block_options *opts, unsigned int depth)
{
	struct q2_header h;
	struct qcow2 *q = calloc(1, sizeof(*q));
	int64_t file_size;
	int err;

	if (!q)
		return -ENOMEM;
	q->blk = blk;
	q->f = blk->file;
	blk->priv = q;
	block_rwlock_init(&q->lock);
	pthread_mutex_init(&q->cache_lock, NULL);
	q->l1_dirty_lo = UINT32_MAX;
	q->synced_l2 = true;

	file_size = q->f->ops->size(q->f);
	if (file_size < 0) {
		err = refuse(blk, strerror((int)-file_size));
		goto err_destroy;
	}
	err = file_size < 512 ? -EIO : bfile_read(q->f, q->sector0, sizeof(q->sector0), 0);
	if (err) {
		refuse(blk, file_size < 512 ? "it is too short to be one" : strerror(-err));
		goto err_destroy;
	}
	memcpy(&h, q->sector0, sizeof(h));
	err = parse_fixed(q, &h, opts);
	if (err)
		goto err_destroy;
	q->file_end = q2_round(q, file_size);
	q->l2.max = cache_max(q, L2_CACHE_BYTES);
	q->rb.max = cache_max(q, RB_CACHE_BYTES);
	err = parse_names(q, &h);
	if (!err)
		err = parse_tables(q, &h);
	if (!err && opts->nr_given && !q->backing_name)
		err = refuse(blk, "it has no backing file, and is given one");
	if (!err && q->backing_name && !blk->backing && !opts->no_backing)
		err = open_backing(q, opts, depth);
	if (!err && !blk->readonly)
		err = prepare_writes(q, opts);
	q->lazy = q->version == 3 && q->compat & Q2_COMPAT_LAZY;
	if (!err)
		return 0;

err_destroy:
	destroy(q);
	return err;
}

static int qcow2_flush(struct block *blk)
{
	struct qcow2 *q = blk->priv;
	int err = 0;
	bool clean;

	pthread_rwlock_wrlock(&q->lock);
	clean = !q->l2.nr_dirty && q->l1_dirty_lo >= q->l1_dirty_hi && !q->nr_freed && q->synced_l2 &&
		(q->lazy || !q->rb.nr_dirty);
	if (!clean)
		err = q2_commit(q);
	pthread_rwlock_unlock(&q->lock);
	return clean ? bfile_sync(q->f) : err;
}

static void qcow2_close(struct block *blk)
{
	struct qcow2 *q = blk->priv;
	bool clean = !q->l2.nr_dirty && q->l1_dirty_lo >= q->l1_dirty_hi && !q->nr_freed && q->synced_l2;

	if (!blk->readonly && !atomic_load(&q->f->sync_failed) && !q2_cache_write(q, &q->rb, false) &&
	    clean && q->lazy && q->incompat & Q2_INCOMPAT_DIRTY && !bfile_sync(q->f)) {
		q->incompat &= ~(uint64_t)Q2_INCOMPAT_DIRTY;
		if (!q2_write_header(q))
			bfile_sync(q->f);
	}
	destroy(q);
}

const struct block_driver block_qcow2 = {
	.name = "qcow2",
	.open = qcow2_open,
	.close = qcow2_close,
	.read = qcow2_read,
	.write = qcow2_write,
	.place = qcow2_place,
	.hold = qcow2_hold,
	.flush = qcow2_flush,
	.discard = qcow2_discard,
	.zero = qcow2_zero,
	.resize = qcow2_resize,
	.extent = qcow2_extent,
};
