// SPDX-License-Identifier: GPL-2.0-only
/*
 * file.c - the files and block devices of the host that images lie in
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/openat2.h>

#include "../msg.h"
#include "block.h"

#define BATCH	   64u
#define BOUNCE_MAX (1u << 20)

struct host_file {
	struct bfile f;
	int fd;
	bool blkdev;

	/*
	 * O_DIRECT wants addresses, lengths and offsets aligned. What is not goes through a buffer; if its
	 * ends are not on boundaries either, a block is read and written back, which must not cross another
	 * write.
	 */
	unsigned int align; /* 0: not O_DIRECT */
	pthread_rwlock_t edges;
};

/* ---- cursors */

void cursor_advance(struct block_cursor *cur, uint64_t len)
{
	while (cur->nr && len >= cur->iov->iov_len - cur->skip) {
		len -= cur->iov->iov_len - cur->skip;
		cur->iov++;
		cur->nr--;
		cur->skip = 0;
	}
	if (cur->nr)
		cur->skip += len;
}

enum { CURSOR_ZERO, CURSOR_PUT, CURSOR_GET };

static void cursor_copy(struct block_cursor *cur, void *buf, uint64_t len, int what)
{
	while (len && cur->nr) {
		uint64_t part = cur->iov->iov_len - cur->skip;
		char *at = (char *)cur->iov->iov_base + cur->skip;

		if (part > len)
			part = len;
		if (part && what == CURSOR_ZERO)
			memset(at, 0, part);
		else if (part && what == CURSOR_PUT)
			memcpy(at, buf, part);
		else if (part)
			memcpy(buf, at, part);
		if (buf)
			buf = (char *)buf + part;
		len -= part;
		cursor_advance(cur, part);
	}
}

void cursor_zero(struct block_cursor *cur, uint64_t len)
{
	cursor_copy(cur, NULL, len, CURSOR_ZERO);
}

void cursor_put(struct block_cursor *cur, const void *buf, uint64_t len)
{
	cursor_copy(cur, (void *)buf, len, CURSOR_PUT);
}

void cursor_get(struct block_cursor *cur, void *buf, uint64_t len)
{
	cursor_copy(cur, buf, len, CURSOR_GET);
}

/* The next pieces of up to @len bytes, as the kernel takes them. */
static unsigned int cursor_batch(const struct block_cursor *cur, uint64_t len, struct iovec *batch)
{
	size_t skip = cur->skip;
	unsigned int n = 0, i;

	for (i = 0; i < cur->nr && n < BATCH && len; i++, skip = 0) {
		size_t part = cur->iov[i].iov_len - skip;

		if (!part)
			continue;
		if (part > len)
			part = len;
		batch[n++] = (struct iovec){ (char *)cur->iov[i].iov_base + skip, part };
		len -= part;
	}
	return n;
}

/* ---- what all files share */

void block_rwlock_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	/* Or readers, who come one after the other, would keep a writer out for good. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

int bfile_read(struct bfile *f, void *buf, uint64_t len, uint64_t off)
{
	struct iovec iov = { buf, len };
	struct block_cursor cur = { &iov, 1, 0 };
	int64_t got = f->ops->read(f, &cur, len, off);

	return got < 0 ? (int)got : (uint64_t)got < len ? -EIO : 0;
}

int bfile_write(struct bfile *f, const void *buf, uint64_t len, uint64_t off)
{
	struct iovec iov = { (void *)buf, len };
	struct block_cursor cur = { &iov, 1, 0 };

	return f->ops->write(f, &cur, len, off);
}

/*
 * The kernel reports a failed write-back once and may drop the pages: a later fdatasync() succeeds although
 * the data is gone. So the first failure is kept.
 */
int bfile_sync(struct bfile *f)
{
	int err;

	if (atomic_load(&f->sync_failed))
		return -EIO;
	if (f->unsafe)
		return 0;
	err = f->ops->sync(f);
	if (err && !atomic_exchange(&f->sync_failed, true))
		msg_error("flush disk image '%s': %s. Data may be lost; the disk reports errors to the guest "
			  "from now on",
			  f->path, strerror(-err));
	return err;
}

void bfile_close(struct bfile *f)
{
	char *path;

	if (!f)
		return;
	path = f->path;
	f->ops->close(f);
	free(path);
}

/* ---- host files */

static int64_t host_size(struct bfile *f)
{
	struct host_file *h = (struct host_file *)f;
	struct stat st;
	uint64_t size;

	if (h->blkdev)
		return ioctl(h->fd, BLKGETSIZE64, &size) ? -errno : (int64_t)size;
	return fstat(h->fd, &st) ? -errno : st.st_size;
}

static bool aligned(const struct host_file *h, const struct iovec *batch, unsigned int n, uint64_t off,
		    uint64_t len)
{
	uint64_t all = off | len;
	unsigned int i;

	for (i = 0; i < n; i++)
		all |= (uintptr_t)batch[i].iov_base | batch[i].iov_len;
	return !(all & (h->align - 1));
}

/* 1: done, 0: end of file. */
static int exact(int fd, void *buf, size_t len, uint64_t off, size_t *got, bool write)
{
	for (*got = 0; *got < len;) {
		ssize_t n = write ? pwrite(fd, (char *)buf + *got, len - *got, off + *got) :
				    pread(fd, (char *)buf + *got, len - *got, off + *got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return write ? -EIO : 0;
		*got += n;
	}
	return 1;
}

/* One piece of up to BOUNCE_MAX bytes through an aligned buffer. Bytes done, 0 at the end of the file. */
static ssize_t bounce(struct host_file *h, struct block_cursor *cur, uint64_t len, uint64_t off, bool write)
{
	uint64_t mask = h->align - 1, start = off & ~mask, span, old_size = 0;
	bool edges;
	size_t got, done;
	void *buf;
	int err;

	if (len > BOUNCE_MAX)
		len = BOUNCE_MAX - (off & mask);
	span = (off + len - start + mask) & ~mask;
	if (posix_memalign(&buf, h->align, span))
		return -ENOMEM;
	if (!write) {
		err = exact(h->fd, buf, span, start, &got, false);
		done = got > off - start ? got - (off - start) : 0;
		if (done > len)
			done = len;
		if (err >= 0)
			cursor_put(cur, (char *)buf + (off - start), done);
		free(buf);
		return err < 0 ? err : (ssize_t)done;
	}
	edges = ((off | len) & mask) != 0;
	if (edges)
		pthread_rwlock_wrlock(&h->edges);
	else
		pthread_rwlock_rdlock(&h->edges);
	err = 1;
	if (edges) {
		int64_t size = host_size(&h->f);

		memset(buf, 0, span);
		old_size = size < 0 ? 0 : (uint64_t)size;
		err = size < 0 ? (int)size : exact(h->fd, buf, span, start, &got, false);
	}
	if (err >= 0) {
		cursor_get(cur, (char *)buf + (off - start), len);
		err = exact(h->fd, buf, span, start, &got, true);
		/* The padding is not part of the file. */
		if (err >= 0 && edges && !h->blkdev && start + span > old_size && start + span > off + len)
			err = ftruncate(h->fd, old_size > off + len ? old_size : off + len) ? -errno : 1;
	}
	pthread_rwlock_unlock(&h->edges);
	free(buf);
	return err < 0 ? err : (ssize_t)len;
}

static int64_t host_read(struct bfile *f, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct host_file *h = (struct host_file *)f;
	struct iovec batch[BATCH];
	uint64_t left = len;

	while (left) {
		unsigned int n = cursor_batch(cur, left, batch);
		ssize_t done;

		if (!n)
			return -EINVAL;
		if (h->align && !aligned(h, batch, n, off, 0)) {
			done = bounce(h, cur, left, off, false);
			if (done < 0)
				return done;
		} else {
			done = preadv(h->fd, batch, n, off);
			if (done < 0 && errno == EINTR)
				continue;
			if (done < 0)
				return -errno;
			cursor_advance(cur, done);
		}
		if (!done)
			break;
		left -= done;
		off += done;
	}
	cursor_zero(cur, left);
	return len - left;
}

static int host_write(struct bfile *f, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct host_file *h = (struct host_file *)f;
	struct iovec batch[BATCH];

	while (len) {
		unsigned int n = cursor_batch(cur, len, batch);
		ssize_t done;

		if (!n)
			return -EINVAL;
		if (h->align && !aligned(h, batch, n, off, 0)) {
			done = bounce(h, cur, len, off, true);
			if (done < 0)
				return done;
		} else {
			if (h->align)
				pthread_rwlock_rdlock(&h->edges);
			done = pwritev(h->fd, batch, n, off);
			if (done < 0)
				done = -errno;
			if (h->align)
				pthread_rwlock_unlock(&h->edges);
			if (done == -EINTR)
				continue;
			if (done <= 0)
				return done ? (int)done : -EIO;
			cursor_advance(cur, done);
		}
		len -= done;
		off += done;
	}
	return 0;
}

static int host_fd(struct bfile *f)
{
	return ((struct host_file *)f)->fd;
}

static bool host_takes(struct bfile *f, const struct iovec *iov, unsigned int nr, uint64_t off)
{
	const struct host_file *h = (const struct host_file *)f;

	return !h->align || aligned(h, iov, nr, off, 0);
}

static void host_hold(struct bfile *f, bool on)
{
	struct host_file *h = (struct host_file *)f;

	if (h->align && on)
		pthread_rwlock_rdlock(&h->edges);
	else if (h->align)
		pthread_rwlock_unlock(&h->edges);
}

static int host_sync(struct bfile *f)
{
	int err;

	do {
		err = fdatasync(((struct host_file *)f)->fd) ? -errno : 0;
	} while (err == -EINTR);
	return err;
}

static int host_resize(struct bfile *f, uint64_t size)
{
	struct host_file *h = (struct host_file *)f;

	if (h->blkdev)
		return -EOPNOTSUPP;
	if (size > INT64_MAX)
		return -EFBIG;
	return ftruncate(h->fd, size) ? -errno : 0;
}

static int host_zero(struct bfile *f, uint64_t off, uint64_t len, bool unmap)
{
	struct host_file *h = (struct host_file *)f;
	int mode = unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE, err;

	if (h->align) {
		/* Beside page-aligned direct I/O only whole blocks can go. */
		if ((off | len) & (h->align - 1))
			return -EOPNOTSUPP;
	}
	do {
		err = fallocate(h->fd, mode | FALLOC_FL_KEEP_SIZE, off, len) ? -errno : 0;
	} while (err == -EINTR);
	return err == -ENOSYS || err == -EINVAL || err == -ENODEV ? -EOPNOTSUPP : err;
}

static int host_reserve(struct bfile *f, uint64_t off, uint64_t len)
{
	return -posix_fallocate(((struct host_file *)f)->fd, off, len);
}

static uint64_t host_extent(struct bfile *f, uint64_t off, uint64_t len, bool *hole)
{
	struct host_file *h = (struct host_file *)f;
	off_t next;

	*hole = false;
	if (h->blkdev)
		return len;
	next = lseek(h->fd, off, SEEK_DATA);
	if (next < 0) {
		*hole = errno == ENXIO;
		return len;
	}
	if ((uint64_t)next > off) {
		*hole = true;
	} else {
		next = lseek(h->fd, off, SEEK_HOLE);
		if (next < 0 || (uint64_t)next <= off)
			return len;
	}
	return (uint64_t)next - off < len ? (uint64_t)next - off : len;
}

static void host_close(struct bfile *f)
{
	struct host_file *h = (struct host_file *)f;

	close(h->fd);
	pthread_rwlock_destroy(&h->edges);
	free(h);
}

static const struct bfile_ops host_ops = {
	.read = host_read,
	.write = host_write,
	.fd = host_fd,
	.takes = host_takes,
	.hold = host_hold,
	.sync = host_sync,
	.size = host_size,
	.resize = host_resize,
	.zero = host_zero,
	.reserve = host_reserve,
	.extent = host_extent,
	.close = host_close,
};

/* ---- opening */

/* Whole-file lock that dies with the descriptor. Readers share; a writer is alone. */
int file_lock(int fd, const char *path, bool readonly)
{
	struct flock lock = {
		.l_type = readonly ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES) {
		msg_error("lock disk image '%s': another process has it in use%s. Two writers would destroy "
			  "it: stop the other one first, or give this machine a copy",
			  path, readonly ? " for writing" : "");
		return -EBUSY;
	}
	/* Some network file systems have no locks; the image is still usable there. */
	msg_warn("lock disk image '%s': %s. Nothing keeps another process from writing to it", path,
		 strerror(errno));
	return 0;
}

/* What every offset and length has to be a multiple of; memory is no stricter. */
static unsigned int direct_align(int fd, bool blkdev)
{
	struct stat st;
	int sector = 0;

	if (blkdev && !ioctl(fd, BLKSSZGET, &sector) && sector >= 512 && !(sector & (sector - 1)) &&
	    sector <= 65536)
		return sector;
	if (!fstat(fd, &st) && st.st_blksize >= 512 && st.st_blksize <= 65536 &&
	    !(st.st_blksize & (st.st_blksize - 1)))
		return st.st_blksize;
	return 4096;
}

static int open_path(const char *path, const struct file_open *how, int flags)
{
	if (how->beneath) {
		struct open_how oh = {
			.flags = flags & ~O_CREAT,
			.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
		};

		return syscall(SYS_openat2, how->dir, path, &oh, sizeof(oh));
	}
	return open(path, flags, 0666);
}

static void open_failed(const char *path, const struct file_open *how, int err)
{
	switch (err) {
	case -ENOENT:
		if (how->create)
			msg_error("create disk image '%s': its directory does not exist. Check the path",
				  path);
		else
			msg_error(
				"open disk image '%s': there is no such file. Check the path, or create it: "
				"tenon img create '%s' 10G",
				path, path);
		break;
	case -EEXIST:
		msg_error("create disk image '%s': it exists. Remove it first, or use --force to lose what "
			  "is in "
			  "it",
			  path);
		break;
	case -EISDIR:
		msg_error("open disk image '%s': it is a directory. A disk is a file or a block device",
			  path);
		break;
	case -EXDEV:
		msg_error(
			"open backing file '%s': it is outside the directory of the image that names it. If "
			"that is intended, allow it with backing=any",
			path);
		break;
	case -EACCES:
	case -EPERM:
	case -EROFS:
		msg_error("open disk image '%s': %s. Change its permissions%s", path, strerror(-err),
			  how->readonly || how->create ? "" : ", or use it read-only (,ro)");
		break;
	default:
		msg_error("%s disk image '%s': %s", how->create ? "create" : "open", path, strerror(-err));
	}
}

static struct bfile *wrap(int fd, const char *path, const struct file_open *how, const struct stat *st)
{
	struct host_file *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->f.path = strdup(path);
	if (!h->f.path) {
		free(h);
		return NULL;
	}
	h->f.ops = &host_ops;
	h->f.unsafe = how->unsafe;
	h->f.dev = st->st_dev;
	h->f.ino = st->st_ino;
	h->fd = fd;
	h->blkdev = S_ISBLK(st->st_mode);
	/* Who opened it for us may have asked for more than the cache mode says. */
	if (how->direct || (fcntl(fd, F_GETFL) & O_DIRECT))
		h->align = direct_align(fd, h->blkdev);
	block_rwlock_init(&h->edges);
	return &h->f;
}

/* A disk is a file or a block device. */
static int check_kind(int fd, const char *path, struct stat *st)
{
	int err;

	if (fstat(fd, st)) {
		err = -errno;
		msg_error("examine disk image '%s': %s", path, strerror(-err));
		return err;
	}
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	msg_error("open disk image '%s': it is %s. A disk is a regular file or a block device", path,
		  S_ISDIR(st->st_mode) ? "a directory" : "neither file nor block device");
	return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
}

struct bfile *file_adopt(int fd, const char *path, const struct file_open *how, int *err)
{
	struct bfile *f = NULL;
	struct stat st;

	*err = check_kind(fd, path, &st);
	if (!*err) {
		f = wrap(fd, path, how, &st);
		*err = f ? 0 : -ENOMEM;
	}
	if (!f)
		close(fd);
	return f;
}

int file_fd(const struct bfile *f)
{
	return ((const struct host_file *)f)->fd;
}

struct bfile *file_open(const char *path, const struct file_open *how, int *err)
{
	int flags = (how->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
	struct bfile *f;
	struct stat st;
	int fd;

	/*
	 * O_NONBLOCK: do not hang on a FIFO before fstat() can tell. It has no effect on files and block
	 * devices.
	 */
	if (how->create)
		flags |= O_CREAT | (how->overwrite ? 0 : O_EXCL);
	if (how->direct)
		flags |= O_DIRECT;
	fd = open_path(path, how, flags);
	if (fd < 0 && errno == EINVAL && how->direct) {
		struct file_open cached = *how;

		msg_warn("disk image '%s': its file system has no direct I/O (cache=none); using the host's "
			 "cache",
			 path);
		cached.direct = false;
		return file_open(path, &cached, err);
	}
	if (fd < 0) {
		*err = -errno;
		open_failed(path, how, *err);
		return NULL;
	}
	*err = check_kind(fd, path, &st);
	if (*err)
		goto err_close;
	*err = how->no_lock ? 0 : file_lock(fd, path, how->readonly);
	if (*err)
		goto err_close;
	/* Only now that nobody else uses it. */
	if (how->create && S_ISREG(st.st_mode) && st.st_size && ftruncate(fd, 0)) {
		*err = -errno;
		msg_error("empty disk image '%s': %s", path, strerror(-*err));
		goto err_close;
	}
	f = wrap(fd, path, how, &st);
	if (f)
		return f;
	*err = -ENOMEM;
	msg_error("open disk image '%s': out of memory", path);

err_close:
	close(fd);
	return NULL;
}

struct bfile *file_temporary(int *err)
{
	const char *dir = getenv("TMPDIR");
	const struct file_open how = { .unsafe = true };
	struct bfile *f;
	struct stat st;
	int fd;

	/* Not /tmp, which often is memory. */
	if (!dir || !*dir)
		dir = "/var/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
	if (fd < 0 || fstat(fd, &st)) {
		*err = -errno;
		msg_error("create a temporary file in '%s': %s. Set TMPDIR to a directory on a file system "
			  "with "
			  "room",
			  dir, strerror(-*err));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	f = wrap(fd, "(temporary)", &how, &st);
	if (!f) {
		*err = -ENOMEM;
		close(fd);
	}
	return f;
}
