// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p-file.c - 9P2000.L: opening, reading and writing files and directories; attributes
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "9p-internal.h"

#define GETATTR_BASIC	0x7ffull
#define SETATTR_MODE	0x001u
#define SETATTR_UID	0x002u
#define SETATTR_GID	0x004u
#define SETATTR_SIZE	0x008u
#define SETATTR_ATIME	0x010u
#define SETATTR_MTIME	0x020u
#define SETATTR_ATIME_SET 0x080u
#define SETATTR_MTIME_SET 0x100u

#define V9FS_MAGIC_FS	0x01021997u

/* Open flags of the protocol are x86 Linux's own; what is not here does not concern the host. */
#define OPEN_FLAGS	(O_ACCMODE | O_TRUNC | O_DSYNC | O_SYNC | O_DIRECTORY)
_Static_assert(O_TRUNC == 01000 && O_APPEND == 02000 && O_DSYNC == 010000 && O_DIRECTORY == 0200000 &&
	       O_EXCL == 0200, "the protocol's open flags are this host's");

/* Opening */

static int fid_set_open(struct fid *fid, int fd, int flags)
{
	int err = 0;

	pthread_mutex_lock(&fid->lock);
	if (fid->fd >= 0) {
		err = -EBADF;
	} else {
		fid->fd = fd;
		fid->flags = flags;
		fid->dir_pos = 0;
	}
	pthread_mutex_unlock(&fid->lock);
	return err;
}

/* The descriptor of an open fid; it stays open as long as the reference is held. */
static int fid_fd(struct fid *fid)
{
	int fd;

	pthread_mutex_lock(&fid->lock);
	fd = fid->fd;
	pthread_mutex_unlock(&fid->lock);
	return fd;
}

int p9_do_lopen(struct msg *m)
{
	struct tree *tree = &m->srv->tree;
	uint32_t id = get32(m);
	int flags = (int)get32(m), err, fd;
	struct node *node = NULL;
	struct fid *fid;
	struct stat st;

	if (m->bad)
		return -EPROTO;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (tree->readonly && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)))
		return -EROFS;
	fid = p9_fid_get(m->srv, id);
	if (!fid)
		return -EBADF;
	pthread_mutex_lock(&fid->lock);
	node = node_get(fid->node);
	err = fid->fd >= 0 ? -EBADF : 0;
	pthread_mutex_unlock(&fid->lock);
	if (!err && node->fence) {
		/* Nothing is ever read from the descriptor of an empty directory. */
		err = fstat(node->fd, &st) ? -errno : (flags & O_ACCMODE) ? -EISDIR : 0;
	} else if (!err) {
		fd = tree_reopen(tree, node, flags & OPEN_FLAGS);
		if (fd < 0) {
			err = fd;
		} else {
			err = fstat(fd, &st) ? -errno : fid_set_open(fid, fd, flags);
			if (err)
				tree_fd_put(tree, fd);
		}
	}
	node_put(tree, node);
	p9_fid_put(m->srv, fid);
	if (err)
		return err;
	put_qid(m, &st);
	put(m, 0, 4);			/* no unit of its own: whatever fits a message */
	return 0;
}

int p9_do_lcreate(struct msg *m)
{
	struct tree *tree = &m->srv->tree;
	uint32_t id = get32(m), mode;
	struct node *dir = NULL, *node = NULL, *old = NULL;
	char name[NAME_MAX + 2];
	struct stat st, seen;
	struct fid *fid;
	int flags, err, fd;

	get_str(m, name, sizeof(name));
	flags = (int)get32(m);
	mode = get32(m) & 07777;
	get32(m);			/* gid: the host decides */
	if (m->bad)
		return -EPROTO;
	if (tree->readonly)
		return -EROFS;
	if (!tree_name_ok(name) || (flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	fid = p9_fid_get(m->srv, id);
	if (!fid)
		return -EBADF;
	pthread_mutex_lock(&fid->lock);
	dir = node_get(fid->node);
	err = fid->fd >= 0 ? -EBADF : 0;
	pthread_mutex_unlock(&fid->lock);
	if (err)
		goto out;

	fd = tree_create(tree, dir, name, flags & OPEN_FLAGS & ~O_DIRECTORY, mode);
	err = fd < 0 ? fd : 0;
	if (!err || (err == -EEXIST && !(flags & O_EXCL))) {
		int found = tree_lookup(tree, dir, name, &node, &st);

		if (err)
			err = found;
		if (!err && fd < 0) {
			fd = tree_reopen(tree, node, flags & OPEN_FLAGS & ~O_DIRECTORY);
			err = fd < 0 ? fd : 0;
		}
		/* Somebody has already put another file in the place of the new one: start from that. */
		if (!err && (found || fstat(fd, &seen) || seen.st_ino != st.st_ino ||
			     seen.st_dev != st.st_dev))
			err = -ESTALE;
	}
	if (!err) {
		pthread_mutex_lock(&fid->lock);
		if (fid->fd >= 0) {
			err = -EBADF;
		} else {
			old = fid->node;
			fid->node = node;
			fid->fd = fd;
			fid->flags = flags;
			node = NULL;
			fd = -1;
		}
		pthread_mutex_unlock(&fid->lock);
	}
	if (!err) {
		put_qid(m, &st);
		put(m, 0, 4);
	}
	tree_fd_put(tree, fd);
out:
	node_put(tree, old);
	node_put(tree, node);
	node_put(tree, dir);
	p9_fid_put(m->srv, fid);
	return err;
}

/* Data */

/* Room for the data of a reply whose count field comes first. */
static uint32_t room(const struct msg *m, uint32_t count)
{
	uint32_t left = m->max - m->len;

	left = left > 4 ? left - 4 : 0;
	return count < left ? count : left;
}

int p9_do_read(struct msg *m)
{
	uint32_t id = get32(m), count;
	uint64_t off = get64(m);
	struct fid *fid;
	ssize_t n;
	int err = 0, fd;

	count = get32(m);
	if (m->bad)
		return -EPROTO;
	if (off > INT64_MAX)
		return -EINVAL;
	fid = p9_fid_get(m->srv, id);
	if (!fid)
		return -EBADF;
	fd = fid_fd(fid);
	count = room(m, count);
	do {
		n = fd < 0 ? (errno = EBADF, -1) : pread(fd, m->out + m->len + 4, count, (off_t)off);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		err = -errno;
	} else {
		put(m, (uint64_t)n, 4);
		put_raw(m, (size_t)n);
	}
	p9_fid_put(m->srv, fid);
	return err;
}

/*
 * Where does a write of a file opened for appending go? The client computes offsets from a size that may be
 * old: several of its processes, or the host, append too. So the end is found anew, here. But a client that
 * caches writes back whole pages of such a file through the same fid: those begin at a page and reach from
 * within the file to its end or over whole pages, and stay where they are. It has to fill those pages first, so
 * what is open for writing only is never such a fid.
 */
static bool must_append(int fd, int flags, uint64_t off, uint32_t count)
{
	struct stat st;

	if (!(flags & O_APPEND))
		return false;
	if ((flags & O_ACCMODE) == O_WRONLY)
		return true;
	if (fstat(fd, &st))
		return false;
	if (off >= (uint64_t)st.st_size)
		return true;
	return off % 4096 || (count % 4096 && off + count < (uint64_t)st.st_size);
}

int p9_do_write(struct msg *m)
{
	uint32_t id = get32(m), count;
	uint64_t off = get64(m);
	struct iovec iov;
	const uint8_t *data;
	struct fid *fid;
	ssize_t n;
	int err = 0, fd;

	count = get32(m);
	data = take(m, count);
	if (m->bad)
		return -EPROTO;
	if (off > INT64_MAX || count > INT64_MAX - off)
		return -EFBIG;
	if (m->srv->tree.readonly)
		return -EROFS;
	fid = p9_fid_get(m->srv, id);
	if (!fid)
		return -EBADF;
	fd = fid_fd(fid);
	iov = (struct iovec){ (void *)(uintptr_t)data, count };
	do {
		if (fd < 0)
			n = (errno = EBADF, -1);
		else
			n = pwritev2(fd, &iov, 1, (off_t)off,
				     must_append(fd, fid->flags, off, count) ? RWF_APPEND : 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		err = -errno;
	else
		put(m, (uint64_t)n, 4);
	p9_fid_put(m->srv, fid);
	return err;
}

int p9_do_fsync(struct msg *m)
{
	uint32_t id = get32(m), datasync = get32(m);
	struct fid *fid;
	int err = 0, fd;

	if (m->bad)
		return -EPROTO;
	fid = p9_fid_get(m->srv, id);
	if (!fid)
		return -EBADF;
	fd = fid_fd(fid);
	if (fd < 0)
		err = -EBADF;
	else if (datasync ? fdatasync(fd) : fsync(fd))
		err = -errno;
	p9_fid_put(m->srv, fid);
	return err;
}

struct kernel_dirent {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

#define DIRENT_MAX	(NAME_MAX + 1 + offsetof(struct kernel_dirent, d_name) + 8)

/*
 * An entry is at most 7/6 as long in the protocol as it is in the kernel's answer, so a buffer of 6/7 of the
 * room never gives more than can be passed on, and the descriptor stands where the client will go on.
 */
static int read_entries(struct msg *m, struct fid *fid, uint64_t off, uint32_t count)
{
	size_t size = count / 7u * 6u;
	dev_t dev = fid->node->dev;
	struct stat top;
	uint8_t *buf;
	ssize_t n;

	if (count < DIRENT_MAX * 7 / 6 + 7)
		size = DIRENT_MAX;
	if (fstat(m->srv->tree.root_fd, &top))
		return -errno;
	if (off != fid->dir_pos && lseek(fid->fd, (off_t)off, SEEK_SET) < 0)
		return -errno;
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	fid->dir_pos = off;
	n = syscall(SYS_getdents64, fid->fd, buf, size);
	if (n < 0) {
		free(buf);
		return -errno;
	}
	for (ssize_t at = 0; at < n; ) {
		struct kernel_dirent *d = (struct kernel_dirent *)(buf + at);
		size_t len = strlen(d->d_name);

		if (24 + len > count) {
			/* Only with a small count: go back to what did not fit. Nothing would mean the end. */
			int err = at ? 0 : -EINVAL;

			if (lseek(fid->fd, (off_t)fid->dir_pos, SEEK_SET) < 0)
				err = -errno;
			free(buf);
			return err;
		}
		put(m, d->d_type == DT_DIR ? QID_DIR : d->d_type == DT_LNK ? QID_SYMLINK : 0, 1);
		put(m, 0, 4);
		put(m, qid_path(dev, d->d_ino, top.st_dev), 8);
		put(m, (uint64_t)d->d_off, 8);
		put(m, d->d_type, 1);
		put_str(m, d->d_name, len);
		count -= 24 + (uint32_t)len;
		fid->dir_pos = (uint64_t)d->d_off;
		at += d->d_reclen;
	}
	free(buf);
	return 0;
}

int p9_do_readdir(struct msg *m)
{
	uint32_t id = get32(m), count, at = m->len;
	uint64_t off = get64(m);
	struct fid *fid;
	int err;

	count = get32(m);
	if (m->bad)
		return -EPROTO;
	fid = p9_fid_get(m->srv, id);
	if (!fid)
		return -EBADF;
	count = room(m, count);
	put(m, 0, 4);
	pthread_mutex_lock(&fid->lock);
	if (!S_ISDIR(fid->node->type))
		err = -ENOTDIR;
	else if (fid->node->fence)
		err = 0;
	else if (fid->fd < 0)
		err = -EBADF;
	else
		err = read_entries(m, fid, off, count);
	pthread_mutex_unlock(&fid->lock);
	p9_fid_put(m->srv, fid);
	if (!err && !m->full) {
		uint32_t n = htole32(m->len - at - 4);

		memcpy(m->out + at, &n, 4);
	}
	return err;
}

/* Attributes */

int p9_do_getattr(struct msg *m)
{
	uint32_t id = get32(m);
	struct node *node;
	struct stat st;
	int err;

	get64(m);			/* what is asked for: all of it comes in one call */
	if (m->bad)
		return -EPROTO;
	node = p9_fid_node(m->srv, id);
	if (!node)
		return -EBADF;
	err = fstat(node->fd, &st) ? -errno : 0;
	node_put(&m->srv->tree, node);
	if (err)
		return err;
	put(m, GETATTR_BASIC, 8);
	put_qid(m, &st);
	put(m, st.st_mode, 4);
	put(m, st.st_uid, 4);
	put(m, st.st_gid, 4);
	put(m, st.st_nlink, 8);
	put(m, st.st_rdev, 8);
	put(m, (uint64_t)st.st_size, 8);
	put(m, (uint64_t)st.st_blksize, 8);
	put(m, (uint64_t)st.st_blocks, 8);
	put(m, (uint64_t)st.st_atim.tv_sec, 8);
	put(m, (uint64_t)st.st_atim.tv_nsec, 8);
	put(m, (uint64_t)st.st_mtim.tv_sec, 8);
	put(m, (uint64_t)st.st_mtim.tv_nsec, 8);
	put(m, (uint64_t)st.st_ctim.tv_sec, 8);
	put(m, (uint64_t)st.st_ctim.tv_nsec, 8);
	for (unsigned int i = 0; i < 4; i++)
		put(m, 0, 8);		/* birth time, generation, data version: not given */
	return 0;
}

static int set_size(struct tree *tree, struct node *node, uint64_t size)
{
	int fd, err;

	if (size > INT64_MAX)
		return -EFBIG;
	if (!S_ISREG(node->type))
		return S_ISDIR(node->type) ? -EISDIR : -EINVAL;
	fd = tree_reopen(tree, node, O_WRONLY);
	if (fd < 0)
		return fd;
	err = ftruncate(fd, (off_t)size) ? -errno : 0;
	tree_fd_put(tree, fd);
	return err;
}

static struct timespec get_time(struct msg *m, bool set, bool given)
{
	struct timespec ts = { .tv_sec = (time_t)get64(m) };
	uint64_t nsec = get64(m);

	/* The special values of utimensat() are no times of a guest's. */
	ts.tv_nsec = !set ? UTIME_OMIT : !given ? UTIME_NOW : nsec < 1000000000u ? (long)nsec : -1;
	return ts;
}

int p9_do_setattr(struct msg *m)
{
	struct tree *tree = &m->srv->tree;
	uint32_t id = get32(m), valid = get32(m), mode = get32(m), uid = get32(m), gid = get32(m);
	uint64_t size = get64(m);
	struct timespec ts[2];
	struct node *node;
	struct fid *fid;
	char name[12];
	int err = 0, fd;

	ts[0] = get_time(m, valid & SETATTR_ATIME, valid & SETATTR_ATIME_SET);
	ts[1] = get_time(m, valid & SETATTR_MTIME, valid & SETATTR_MTIME_SET);
	if (m->bad)
		return -EPROTO;
	if (tree->readonly)
		return -EROFS;
	fid = p9_fid_get(m->srv, id);
	if (!fid)
		return -EBADF;
	pthread_mutex_lock(&fid->lock);
	node = node_get(fid->node);
	fd = fid->fd >= 0 && (fid->flags & O_ACCMODE) != O_RDONLY ? fid->fd : -1;
	pthread_mutex_unlock(&fid->lock);

	tree_fd_name(node->fd, name);
	if (node->fence)
		err = -EACCES;
	if (!err && (valid & (SETATTR_UID | SETATTR_GID)) &&
	    fchownat(node->fd, "", valid & SETATTR_UID ? uid : (uid_t)-1,
		     valid & SETATTR_GID ? gid : (gid_t)-1, AT_EMPTY_PATH))
		err = -errno;
	if (!err && (valid & SETATTR_MODE)) {
		if (S_ISLNK(node->type))
			err = -EOPNOTSUPP;
		else if (fchmodat(tree->proc_fd, name, mode & 07777, 0))
			err = -errno;
	}
	if (!err && (valid & SETATTR_SIZE)) {
		/* An open descriptor may write even where the mode of the file no longer lets anyone. */
		if (fd >= 0)
			err = size > INT64_MAX ? -EFBIG : ftruncate(fd, (off_t)size) ? -errno : 0;
		else
			err = set_size(tree, node, size);
	}
	if (!err && (valid & (SETATTR_ATIME | SETATTR_MTIME)) && utimensat(tree->proc_fd, name, ts, 0))
		err = -errno;
	node_put(tree, node);
	p9_fid_put(m->srv, fid);
	return err;
}

int p9_do_statfs(struct msg *m)
{
	uint32_t id = get32(m);
	struct node *node;
	struct statfs sf;
	uint64_t fsid = 0;
	int err;

	if (m->bad)
		return -EPROTO;
	node = p9_fid_node(m->srv, id);
	if (!node)
		return -EBADF;
	err = fstatfs(node->fd, &sf) ? -errno : 0;
	node_put(&m->srv->tree, node);
	if (err)
		return err;
	memcpy(&fsid, &sf.f_fsid, sizeof(fsid));
	put(m, V9FS_MAGIC_FS, 4);
	put(m, (uint64_t)sf.f_bsize, 4);
	put(m, sf.f_blocks, 8);
	put(m, sf.f_bfree, 8);
	put(m, sf.f_bavail, 8);
	put(m, sf.f_files, 8);
	put(m, sf.f_ffree, 8);
	put(m, fsid, 8);
	put(m, (uint64_t)sf.f_namelen, 4);
	return 0;
}
