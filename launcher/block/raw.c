// SPDX-License-Identifier: GPL-2.0-only
/*
 * raw.c - raw disk images: what the guest writes to sector n stands at byte 512 * n of the file, and no
 * content makes it anything else
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../msg.h"
#include "block.h"

#define ZERO_BUF (256u << 10)

static int raw_open(struct block *blk, const struct block_options *opts, unsigned int depth)
{
	int64_t size = blk->file->ops->size(blk->file);
	char magic[4];

	(void)depth;
	if (size < 0) {
		msg_error("get the size of disk image '%s': %s", blk->path, strerror((int)-size));
		return -EIO;
	}
	blk->size = size & ~(uint64_t)(BLOCK_SECTOR - 1);
	if (!blk->size) {
		msg_error("open disk image '%s': it is %s. Give it a size, for example: truncate -s 1G '%s'",
			  blk->path, size ? "smaller than one sector of 512 bytes" : "empty", blk->path);
		return -EINVAL;
	}
	if ((uint64_t)size != blk->size)
		msg_warn("disk image '%s': its size, %lld bytes, is not a multiple of 512; the guest does "
			 "not see the last %lld bytes",
			 blk->path, (long long)size, (long long)(size - blk->size));
	if (!opts->format && !depth && !bfile_read(blk->file, magic, 4, 0) && !memcmp(magic, "QFI\xfb", 4))
		msg_warn("disk image '%s' begins like a qcow2 image and is used as raw, because its name "
			 "does not "
			 "end in .qcow2. Say which it is: format=qcow2 or format=raw",
			 blk->path);
	return 0;
}

static void raw_close(struct block *blk)
{
	(void)blk;
}

static int raw_read(struct block *blk, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	int64_t got = blk->file->ops->read(blk->file, cur, len, off);

	if (got < 0)
		return got;
	return (uint64_t)got < len ? -EIO : 0; /* the file has shrunk under the machine */
}

static int raw_write(struct block *blk, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	return blk->file->ops->write(blk->file, cur, len, off);
}

static bool raw_place(struct block *blk, bool write, uint64_t off, uint64_t len, uint64_t *at)
{
	(void)blk, (void)write, (void)len;
	*at = off;
	return true;
}

static int raw_flush(struct block *blk)
{
	return bfile_sync(blk->file);
}

static int raw_discard(struct block *blk, uint64_t off, uint64_t len)
{
	const struct bfile_ops *ops = blk->file->ops;
	int err = ops->discard ? ops->discard(blk->file, off, len) : ops->zero(blk->file, off, len, true);

	return err == -EOPNOTSUPP ? 0 : err;
}

static int raw_zero(struct block *blk, uint64_t off, uint64_t len, bool unmap)
{
	int err = blk->file->ops->zero(blk->file, off, len, unmap);
	uint8_t *buf;

	if (err == -EOPNOTSUPP && unmap)
		err = blk->file->ops->zero(blk->file, off, len, false);
	if (err != -EOPNOTSUPP)
		return err;
	buf = calloc(1, ZERO_BUF);
	err = buf ? 0 : -ENOMEM;
	while (!err && len) {
		uint64_t part = len < ZERO_BUF ? len : ZERO_BUF;

		err = bfile_write(blk->file, buf, part, off);
		off += part;
		len -= part;
	}
	free(buf);
	return err;
}

static int raw_resize(struct block *blk, uint64_t size)
{
	int err = blk->file->ops->resize(blk->file, size);

	if (!err)
		blk->size = size;
	return err;
}

static int raw_extent(struct block *blk, uint64_t off, uint64_t len, enum block_kind *kind, uint64_t *n)
{
	bool hole = false;

	*n = blk->file->ops->extent ? blk->file->ops->extent(blk->file, off, len, &hole) : len;
	*kind = hole ? BLOCK_ZERO : BLOCK_DATA;
	return 0;
}

const struct block_driver block_raw = {
	.name = "raw",
	.open = raw_open,
	.close = raw_close,
	.read = raw_read,
	.write = raw_write,
	.place = raw_place,
	.flush = raw_flush,
	.discard = raw_discard,
	.zero = raw_zero,
	.resize = raw_resize,
	.extent = raw_extent,
};
