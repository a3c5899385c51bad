// SPDX-License-Identifier: GPL-2.0-only
/*
 * raw.c - raw disk images: files and block devices
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "../msg.h"
#include "block.h"

#ifndef IOV_MAX
#define IOV_MAX	1024
#endif

/* Whole-file lock that dies with the descriptor. Readers share; a writer is alone. */
static int lock_image(const struct block *blk)
{
	struct flock lock = {
		.l_type = blk->readonly ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	if (!fcntl(blk->fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES) {
		msg_error("lock disk image '%s': another process has it in use%s. Two writers would destroy "
			  "it: stop the other one first, or give this machine a copy",
			  blk->path, blk->readonly ? " for writing" : "");
		return -EBUSY;
	}
	/* Some network file systems have no locks; the image is still usable there. */
	msg_warn("lock disk image '%s': %s. Nothing keeps another process from writing to it", blk->path,
		 strerror(errno));
	return 0;
}

static int find_size(struct block *blk, const struct stat *st)
{
	uint64_t size = st->st_size;

	if (S_ISBLK(st->st_mode) && ioctl(blk->fd, BLKGETSIZE64, &size)) {
		msg_error("get the size of block device '%s': %s", blk->path, strerror(errno));
		return -EIO;
	}
	blk->size = size & ~(uint64_t)(BLOCK_SECTOR - 1);
	if (!blk->size) {
		msg_error("open disk image '%s': it is %s. Give it a size, for example: truncate -s 1G '%s'",
			  blk->path, size ? "smaller than one sector of 512 bytes" : "empty", blk->path);
		return -EINVAL;
	}
	if (size != blk->size)
		msg_warn("disk image '%s': its size, %llu bytes, is not a multiple of 512; the guest does "
			 "not see the last %llu bytes",
			 blk->path, (unsigned long long)size, (unsigned long long)(size - blk->size));
	return 0;
}

int block_open(struct block *blk, const char *path, bool readonly)
{
	struct stat st;
	int err;

	*blk = (struct block){ .path = path, .readonly = readonly };
	/*
	 * O_NONBLOCK: do not hang on a FIFO before fstat() can tell. It has no effect on files and block
	 * devices.
	 */
	blk->fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (blk->fd < 0) {
		err = -errno;
		switch (err) {
		case -ENOENT:
			msg_error("open disk image '%s': there is no such file. Check the path, or create "
				  "it: truncate -s 1G '%s'",
				  path, path);
			break;
		case -EISDIR:
			msg_error("open disk image '%s': it is a directory. A disk is a file or a block "
				  "device", path);
			break;
		case -EACCES:
		case -EPERM:
		case -EROFS:
			msg_error("open disk image '%s': %s. Change its permissions%s", path, strerror(-err),
				  readonly ? "" : ", or append ',ro' to use it read-only");
			break;
		default:
			msg_error("open disk image '%s': %s", path, strerror(-err));
		}
		return err;
	}
	if (fstat(blk->fd, &st)) {
		err = -errno;
		msg_error("examine disk image '%s': %s", path, strerror(-err));
		goto err_close;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
		msg_error("open disk image '%s': it is %s. A disk is a regular file or a block device", path,
			  S_ISDIR(st.st_mode) ? "a directory" : "neither file nor block device");
		goto err_close;
	}
	err = lock_image(blk);
	if (!err)
		err = find_size(blk, &st);
	if (!err)
		return 0;

err_close:
	close(blk->fd);
	blk->fd = -1;
	return err;
}

void block_close(struct block *blk)
{
	if (blk->fd < 0)
		return;
	if (!blk->readonly && block_flush(blk))
		msg_error("write disk image '%s' to stable storage: some of what the guest wrote may be "
			  "lost. Check the storage and the file system in the image",
			  blk->path);
	close(blk->fd);
	blk->fd = -1;
}

/* Drop @done bytes from the front of the vector. */
static void advance(struct iovec **iov, unsigned int *nr, size_t done)
{
	while (*nr && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*nr)--;
	}
	if (*nr) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

static int transfer(struct block *blk, struct iovec *iov, unsigned int nr, uint64_t off, bool write)
{
	for (advance(&iov, &nr, 0); nr; ) {
		int batch = nr < IOV_MAX ? nr : IOV_MAX;
		ssize_t done = write ? pwritev(blk->fd, iov, batch, off) : preadv(blk->fd, iov, batch, off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (!done)
			return -EIO;	/* the file has shrunk under the machine */
		off += done;
		advance(&iov, &nr, done);
	}
	return 0;
}

int block_read(struct block *blk, struct iovec *iov, unsigned int nr, uint64_t off)
{
	return transfer(blk, iov, nr, off, false);
}

int block_write(struct block *blk, struct iovec *iov, unsigned int nr, uint64_t off, bool sync)
{
	int err = transfer(blk, iov, nr, off, true);

	return !err && sync ? block_flush(blk) : err;
}

/*
 * The kernel reports a failed write-back once and may drop the pages: a later fdatasync() succeeds although
 * the data is gone. So the first failure is kept.
 */
int block_flush(struct block *blk)
{
	int err;

	if (atomic_load(&blk->sync_failed))
		return -EIO;
	do {
		err = fdatasync(blk->fd) ? -errno : 0;
	} while (err == -EINTR);
	if (err && !atomic_exchange(&blk->sync_failed, true))
		msg_error("flush disk image '%s': %s. Data may be lost; the disk reports errors to the guest "
			  "from now on",
			  blk->path, strerror(-err));
	return err;
}
