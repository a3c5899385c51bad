/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 9p-internal.h - what the files of the 9P2000.L server share: messages, fids, handlers
 */
#ifndef TENON_9P_INTERNAL_H
#define TENON_9P_INTERNAL_H

#include <endian.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "9p.h"
#include "tree.h"

#define QID_DIR		0x80
#define QID_SYMLINK	0x02

#define FID_BUCKETS	1024u

struct fid {
	struct fid *next;		/* srv->lock */
	uint32_t id;
	atomic_uint refs;

	pthread_mutex_t lock;		/* what follows, except that fd stays once it is set */
	struct node *node;
	int fd;				/* -1: not open */
	int flags;			/* as it was opened */
	uint64_t dir_pos;		/* where the descriptor of a directory stands */
};

struct p9_server {
	struct tree tree;
	atomic_uint msize;		/* 0: no version agreed on yet */

	pthread_mutex_t lock;
	struct fid *fid[FID_BUCKETS];
	unsigned int nr_fids;
};

/* A message: what is left to read, what has been written */
struct msg {
	struct p9_server *srv;
	const uint8_t *in, *end;
	bool bad;			/* the message ended early, or a string in it makes no sense */
	uint8_t *out;
	uint32_t len, max;
	bool full;
};

/* Reading and writing of messages */

static inline const uint8_t *take(struct msg *m, size_t len)
{
	const uint8_t *p = m->in;

	if ((size_t)(m->end - m->in) < len) {
		m->bad = true;
		return NULL;
	}
	m->in += len;
	return p;
}

static inline uint64_t get(struct msg *m, unsigned int len)
{
	const uint8_t *p = take(m, len);
	uint64_t val = 0;

	if (p)
		memcpy(&val, p, len);
	return le64toh(val);
}

static inline uint16_t get16(struct msg *m)
{
	return (uint16_t)get(m, 2);
}

static inline uint32_t get32(struct msg *m)
{
	return (uint32_t)get(m, 4);
}

static inline uint64_t get64(struct msg *m)
{
	return get(m, 8);
}

/* A string with its terminator into @buf. One that has a NUL in it, or does not fit, is no name. */
static inline void get_str(struct msg *m, char *buf, size_t size)
{
	size_t len = get16(m);
	const uint8_t *p = take(m, len);

	buf[0] = '\0';
	if (!p)
		return;
	if (len >= size || memchr(p, 0, len)) {
		m->bad = true;
		return;
	}
	memcpy(buf, p, len);
	buf[len] = '\0';
}

static inline uint8_t *put_raw(struct msg *m, size_t len)
{
	uint8_t *p = m->out + m->len;

	if (m->full || len > m->max - m->len) {
		m->full = true;
		return NULL;
	}
	m->len += (uint32_t)len;
	return p;
}

static inline void put(struct msg *m, uint64_t val, unsigned int len)
{
	uint8_t *p = put_raw(m, len);

	val = htole64(val);
	if (p)
		memcpy(p, &val, len);
}

static inline void put_str(struct msg *m, const char *s, size_t len)
{
	uint8_t *p;

	put(m, len, 2);
	p = put_raw(m, len);
	if (p)
		memcpy(p, s, len);
}

/* Inode numbers are unique on one device only; other devices' are moved out of the way of the first's. */
static inline uint64_t qid_path(dev_t dev, ino_t ino, dev_t top)
{
	return dev == top ? ino : ino ^ (dev ^ top) * 0x9e3779b97f4a7c15ull;
}

static inline void put_qid(struct msg *m, const struct stat *st)
{
	struct stat top;
	uint32_t version = (uint32_t)(st->st_mtim.tv_sec ^ st->st_mtim.tv_nsec << 2 ^ st->st_size);

	if (fstat(m->srv->tree.root_fd, &top))
		top.st_dev = 0;
	put(m, S_ISDIR(st->st_mode) ? QID_DIR : S_ISLNK(st->st_mode) ? QID_SYMLINK : 0, 1);
	/* Version 0 means to Linux that the file must not be cached. */
	put(m, version ? version : 1, 4);
	put(m, qid_path(st->st_dev, st->st_ino, top.st_dev), 8);
}

/* Fids. A reference that was got is put. NULL: there is none of this number. */
struct fid *p9_fid_get(struct p9_server *srv, uint32_t id);
void p9_fid_put(struct p9_server *srv, struct fid *fid);
/* The node that a fid means now; the caller puts it. */
struct node *p9_fid_node(struct p9_server *srv, uint32_t id);
/* Take the number from a fid. 0 or -EBADF. */
int p9_fid_del(struct p9_server *srv, uint32_t id);

/* Handlers of messages: 0 with the reply written, or -errno. */
int p9_do_lopen(struct msg *m);
int p9_do_lcreate(struct msg *m);
int p9_do_read(struct msg *m);
int p9_do_write(struct msg *m);
int p9_do_fsync(struct msg *m);
int p9_do_readdir(struct msg *m);
int p9_do_getattr(struct msg *m);
int p9_do_setattr(struct msg *m);
int p9_do_statfs(struct msg *m);
int p9_do_readlink(struct msg *m);
int p9_do_symlink(struct msg *m);
int p9_do_mknod(struct msg *m);
int p9_do_mkdir(struct msg *m);
int p9_do_link(struct msg *m);
int p9_do_renameat(struct msg *m);
int p9_do_rename(struct msg *m);
int p9_do_unlinkat(struct msg *m);
int p9_do_remove(struct msg *m);

#endif /* TENON_9P_INTERNAL_H */
