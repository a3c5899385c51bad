// SPDX-License-Identifier: GPL-2.0-only
/*
 * block.c - opening images, and the checks before every transfer
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../msg.h"
#include "block.h"

const struct block_driver *block_driver_by_name(const char *name)
{
	if (!strcmp(name, block_raw.name))
		return &block_raw;
	return strcmp(name, block_qcow2.name) ? NULL : &block_qcow2;
}

const struct block_driver *block_driver_by_path(const char *path)
{
	size_t len = strlen(path);

	return len > 6 && !strcmp(path + len - 6, ".qcow2") ? &block_qcow2 : &block_raw;
}

const char *const block_cache_names[] = {
	[BLOCK_WRITEBACK] = "writeback", [BLOCK_WRITETHROUGH] = "writethrough", [BLOCK_NONE] = "none",
	[BLOCK_UNSAFE] = "unsafe",
};

bool block_cache_by_name(const char *name, enum block_cache *cache)
{
	for (unsigned int i = 0; i < sizeof(block_cache_names) / sizeof(block_cache_names[0]); i++) {
		if (strcmp(name, block_cache_names[i]))
			continue;
		*cache = (enum block_cache)i;
		return true;
	}
	return false;
}

int block_open_file(struct block *blk, const char *path, struct bfile *file, struct block *backing,
		    const struct block_options *opts, unsigned int depth)
{
	int err;

	*blk = (struct block){
		.path = path,
		.drv = opts->format ? opts->format : block_driver_by_path(path),
		.file = file,
		.backing = backing,
		.overlay = opts->overlay,
		.readonly = opts->readonly,
		.discard = opts->discard,
		.writethrough = opts->cache == BLOCK_WRITETHROUGH,
	};
	err = blk->drv->open(blk, opts, depth);
	if (err) {
		bfile_close(file);
		blk->file = NULL;
	}
	return err;
}

/* Put an empty temporary image on top of @under. */
static int open_overlay(struct block *blk, struct block *under)
{
	const struct block_options opts = { .format = &block_qcow2, .discard = true };
	struct qcow2_create how = {
		.size = under->size,
		.version = 3,
		.cluster_size = 65536,
		.refcount_bits = 16,
	};
	struct bfile *file;
	int err;

	file = file_temporary(&err);
	if (!file)
		return err;
	/* A disk that is too large for one table of that cluster size. */
	while (how.cluster_size < 1u << 21 && under->size / how.cluster_size > 1ull << 32)
		how.cluster_size *= 2;
	err = qcow2_create(file, &how);
	if (err) {
		bfile_close(file);
		return err;
	}
	err = block_open_file(blk, under->path, file, under, &opts, 0);
	if (!err)
		blk->under = under;
	return err;
}

int block_open(struct block *blk, const char *path, const struct block_options *opts)
{
	struct file_open how = {
		.readonly = opts->readonly || opts->snapshot,
		.direct = opts->cache == BLOCK_NONE,
		.unsafe = opts->cache == BLOCK_UNSAFE,
		.no_lock = opts->no_lock,
	};
	struct block_options below = *opts;
	struct bfile *file;
	struct block *under;
	int err;

	*blk = (struct block){ .path = path };
	if (nbd_uri(path)) {
		if (opts->format && opts->format != &block_raw) {
			msg_error("open disk '%s': what a server exports is raw. A format is the server's to read, as in qemu-nbd -f "
				  "qcow2", path);
			return -EINVAL;
		}
		below.format = &block_raw;
		file = nbd_file_open(path, &how, &err);
	} else {
		file = file_open(path, &how, &err);
	}
	if (!file)
		return err;
	if (!opts->snapshot)
		return block_open_file(blk, path, file, NULL, &below, 0);
	under = calloc(1, sizeof(*under));
	if (!under) {
		bfile_close(file);
		return -ENOMEM;
	}
	below.readonly = true;
	below.snapshot = false;
	err = block_open_file(under, path, file, NULL, &below, 0);
	if (!err) {
		err = open_overlay(blk, under);
		if (err)
			block_close(under);
	}
	if (err)
		free(under);
	return err;
}

int block_open_fd(struct block *blk, int fd, const char *path, const struct block_options *opts)
{
	const struct file_open how = {
		.readonly = opts->readonly,
		.direct = opts->cache == BLOCK_NONE,
		.unsafe = opts->cache == BLOCK_UNSAFE,
	};
	struct bfile *file;
	int err;

	*blk = (struct block){ .path = path };
	file = file_adopt(fd, path, &how, &err);
	return file ? block_open_file(blk, path, file, NULL, opts, 0) : err;
}

int block_close(struct block *blk)
{
	int err = 0;

	if (!blk->file)
		return 0;
	if (!blk->readonly) {
		err = blk->drv->flush(blk);
		if (err)
			msg_error("write disk image '%s' to stable storage: some of what the guest wrote may "
				  "be "
				  "lost. Check the storage and the file system in the image",
				  blk->path);
	}
	blk->drv->close(blk);
	bfile_close(blk->file);
	blk->file = NULL;
	if (blk->under) {
		block_close(blk->under);
		free(blk->under);
		blk->under = NULL;
	}
	return err;
}

static bool in_range(const struct block *blk, uint64_t off, uint64_t len)
{
	return off <= blk->size && len <= blk->size - off;
}

static uint64_t vector_len(const struct iovec *iov, unsigned int nr)
{
	uint64_t len = 0;

	while (nr--) {
		if (__builtin_add_overflow(len, iov[nr].iov_len, &len))
			return UINT64_MAX;
	}
	return len;
}

int block_read(struct block *blk, const struct iovec *iov, unsigned int nr, uint64_t off)
{
	struct block_cursor cur = { iov, nr, 0 };
	uint64_t len = vector_len(iov, nr);

	if (!in_range(blk, off, len))
		return -EINVAL;
	return len ? blk->drv->read(blk, &cur, len, off) : 0;
}

static int finish(struct block *blk, int err, bool sync)
{
	return !err && (sync || blk->writethrough) ? blk->drv->flush(blk) : err;
}

int block_write(struct block *blk, const struct iovec *iov, unsigned int nr, uint64_t off, bool sync)
{
	struct block_cursor cur = { iov, nr, 0 };
	uint64_t len = vector_len(iov, nr);

	if (blk->readonly)
		return -EROFS;
	if (!in_range(blk, off, len))
		return -EINVAL;
	return finish(blk, len ? blk->drv->write(blk, &cur, len, off) : 0, sync);
}

int block_fd(struct block *blk)
{
	return blk->drv->place && blk->file->ops->fd ? blk->file->ops->fd(blk->file) : -1;
}

void block_hold(struct block *blk, bool on)
{
	if (blk->drv->hold)
		blk->drv->hold(blk, on);
	blk->file->ops->hold(blk->file, on);
}

bool block_place(struct block *blk, bool write, const struct iovec *iov, unsigned int nr, uint64_t off, uint64_t *at)
{
	uint64_t len = vector_len(iov, nr);

	if (!len || !in_range(blk, off, len) || (write && (blk->readonly || blk->writethrough)))
		return false;
	return blk->drv->place(blk, write, off, len, at) && blk->file->ops->takes(blk->file, iov, nr, *at);
}

int block_flush(struct block *blk)
{
	return blk->readonly ? 0 : blk->drv->flush(blk);
}

int block_discard(struct block *blk, uint64_t off, uint64_t len)
{
	if (blk->readonly)
		return -EROFS;
	if (!in_range(blk, off, len))
		return -EINVAL;
	return len && blk->discard ? blk->drv->discard(blk, off, len) : 0;
}

int block_zero(struct block *blk, uint64_t off, uint64_t len, bool unmap)
{
	if (blk->readonly)
		return -EROFS;
	if (!in_range(blk, off, len))
		return -EINVAL;
	return finish(blk, len ? blk->drv->zero(blk, off, len, unmap && blk->discard) : 0, false);
}

int block_resize(struct block *blk, uint64_t size)
{
	if (blk->readonly)
		return -EROFS;
	if (!size || size % BLOCK_SECTOR || size > INT64_MAX)
		return -EINVAL;
	return size == blk->size ? 0 : blk->drv->resize(blk, size);
}

int block_extent(struct block *blk, uint64_t off, uint64_t len, enum block_kind *kind, uint64_t *n)
{
	if (!len || !in_range(blk, off, len))
		return -EINVAL;
	return blk->drv->extent(blk, off, len, kind, n);
}
