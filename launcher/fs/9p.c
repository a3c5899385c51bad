// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p.c - server of the protocol 9P2000.L
 *
 * Source: "9P2000.L protocol" (diod), Plan 9 manual section 5, and <net/9p/9p.h> of Linux for the numbers.
 * All numbers are little-endian; a string is a 16-bit length and that many bytes.
 *
 * A *fid* is the client's number for a file: a node (which file), and after Topen or Tcreate a descriptor
 * too. Messages of one session are handled on several threads: the table is under srv->lock, what a fid means
 * under fid->lock, and both are only held to look things up. A fid that is clunked while another message uses
 * it lives until that is done.
 *
 * Example: the guest's open("/a/b") arrives as
 *	Twalk fid=0 newfid=5 "a" "b"	-> Rwalk, two qids; fid 5 holds an O_PATH descriptor of b
 *	Tlopen fid=5 flags=O_RDONLY	-> Rlopen; fid 5 holds a descriptor for reading as well
 *	Tclunk fid=5			-> Rclunk; both are closed
 *
 * Files are used with the rights of the launcher's user. A guest's chown is the host's chown: without
 * privilege it fails unless it changes nothing. Locks are granted at once: the guest's kernel keeps them
 * among its own processes, and others don't see them. Extended attributes are not served.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "9p-internal.h"

enum {
	RLERROR = 7, TSTATFS = 8, TLOPEN = 12, TLCREATE = 14, TSYMLINK = 16, TMKNOD = 18, TRENAME = 20,
	TREADLINK = 22, TGETATTR = 24, TSETATTR = 26, TXATTRWALK = 30, TXATTRCREATE = 32, TREADDIR = 40,
	TFSYNC = 50, TLOCK = 52, TGETLOCK = 54, TLINK = 70, TMKDIR = 72, TRENAMEAT = 74, TUNLINKAT = 76,
	TVERSION = 100, TAUTH = 102, TATTACH = 104, TWALK = 110, TREAD = 116, TWRITE = 118, TCLUNK = 120,
	TREMOVE = 122, NR_TYPES = 128,
};

#define NOFID		0xffffffffu
#define WALK_MAX	16u
#define MSIZE_MIN	4096u
#define MAX_FIDS	65536u
#define VERSION		"9P2000.L"
#define LOCK_UNLCK	2u

/* Fids */

static struct fid **fid_slot(struct p9_server *srv, uint32_t id)
{
	struct fid **p = &srv->fid[(id * 2654435761u) >> 22 & (FID_BUCKETS - 1)];

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

struct fid *p9_fid_get(struct p9_server *srv, uint32_t id)
{
	struct fid *fid;

	pthread_mutex_lock(&srv->lock);
	fid = *fid_slot(srv, id);
	if (fid)
		atomic_fetch_add(&fid->refs, 1);
	pthread_mutex_unlock(&srv->lock);
	return fid;
}

void p9_fid_put(struct p9_server *srv, struct fid *fid)
{
	if (!fid || atomic_fetch_sub(&fid->refs, 1) != 1)
		return;
	tree_fd_put(&srv->tree, fid->fd);
	node_put(&srv->tree, fid->node);
	pthread_mutex_destroy(&fid->lock);
	free(fid);
}

/* A new fid for @node, whose reference it takes over in any case. */
static int fid_add(struct p9_server *srv, uint32_t id, struct node *node)
{
	struct fid *fid = malloc(sizeof(*fid)), **slot;
	int err = fid ? 0 : -ENOMEM;

	if (!err) {
		*fid = (struct fid){ .id = id, .node = node, .fd = -1 };
		atomic_init(&fid->refs, 1);
		pthread_mutex_init(&fid->lock, NULL);
		pthread_mutex_lock(&srv->lock);
		slot = fid_slot(srv, id);
		if (id == NOFID || *slot) {
			err = -EBADF;
		} else if (srv->nr_fids >= MAX_FIDS) {
			err = -ENFILE;
		} else {
			srv->nr_fids++;
			*slot = fid;
		}
		pthread_mutex_unlock(&srv->lock);
	}
	if (err) {
		node_put(&srv->tree, node);
		if (fid)
			pthread_mutex_destroy(&fid->lock);
		free(fid);
	}
	return err;
}

int p9_fid_del(struct p9_server *srv, uint32_t id)
{
	struct fid *fid, **slot;

	pthread_mutex_lock(&srv->lock);
	slot = fid_slot(srv, id);
	fid = *slot;
	if (fid) {
		*slot = fid->next;
		srv->nr_fids--;
	}
	pthread_mutex_unlock(&srv->lock);
	p9_fid_put(srv, fid);
	return fid ? 0 : -EBADF;
}

/* The node that a fid means now; the caller puts it. */
struct node *p9_fid_node(struct p9_server *srv, uint32_t id)
{
	struct fid *fid = p9_fid_get(srv, id);
	struct node *node;

	if (!fid)
		return NULL;
	pthread_mutex_lock(&fid->lock);
	node = node_get(fid->node);
	pthread_mutex_unlock(&fid->lock);
	p9_fid_put(srv, fid);
	return node;
}

/* Session */

static void drop_fids(struct p9_server *srv)
{
	struct fid *list = NULL, *fid;

	pthread_mutex_lock(&srv->lock);
	for (unsigned int i = 0; i < FID_BUCKETS; i++) {
		while ((fid = srv->fid[i])) {
			srv->fid[i] = fid->next;
			fid->next = list;
			list = fid;
		}
	}
	srv->nr_fids = 0;
	pthread_mutex_unlock(&srv->lock);
	while ((fid = list)) {
		list = fid->next;
		p9_fid_put(srv, fid);
	}
}

static int do_version(struct msg *m)
{
	uint32_t msize = get32(m);
	char version[32];

	get_str(m, version, sizeof(version));
	if (m->bad)
		return -EPROTO;
	if (msize < MSIZE_MIN)
		return -EMSGSIZE;
	drop_fids(m->srv);
	if (msize > P9_MSIZE_MAX)
		msize = P9_MSIZE_MAX;
	/* "9P2000.L" exactly: older dialects have other messages. */
	if (strcmp(version, VERSION)) {
		atomic_store(&m->srv->msize, 0);
		strcpy(version, "unknown");
	} else {
		atomic_store(&m->srv->msize, msize);
	}
	put(m, msize, 4);
	put_str(m, version, strlen(version));
	return 0;
}

static int do_attach(struct msg *m)
{
	uint32_t id = get32(m);
	char uname[256], aname[256];
	struct node *node;
	struct stat st;
	int err;

	get32(m);			/* afid: there is no authentication */
	get_str(m, uname, sizeof(uname));
	get_str(m, aname, sizeof(aname));
	get32(m);			/* n_uname: the host's rights are the launcher's, whoever asks */
	if (m->bad)
		return -EPROTO;
	if (strcmp(aname, "") && strcmp(aname, "/"))
		return -ENOENT;
	err = tree_root(&m->srv->tree, &node, &st);
	if (!err)
		err = fid_add(m->srv, id, node);
	if (!err)
		put_qid(m, &st);
	return err;
}

static int do_clunk(struct msg *m)
{
	uint32_t id = get32(m);

	return m->bad ? -EPROTO : p9_fid_del(m->srv, id);
}

static int do_walk(struct msg *m)
{
	struct tree *tree = &m->srv->tree;
	uint32_t id = get32(m), newid = get32(m), at;
	unsigned int nr = get16(m), i;
	struct node *node, *next;
	struct stat st;
	int err = 0;

	if (m->bad || nr > WALK_MAX)
		return -EPROTO;
	node = p9_fid_node(m->srv, id);
	if (!node)
		return -EBADF;
	at = m->len;
	put(m, 0, 2);
	for (i = 0; i < nr; i++) {
		char name[NAME_MAX + 2];

		get_str(m, name, sizeof(name));
		err = m->bad ? -EPROTO : tree_lookup(tree, node, name, &next, &st);
		if (err)
			break;
		node_put(tree, node);
		node = next;
		put_qid(m, &st);
	}
	/* Partial success is success, but leaves no new fid. */
	if (i < nr) {
		node_put(tree, node);
		if (!i || m->bad)
			return err;
	} else {
		if (newid == id)
			p9_fid_del(m->srv, id);
		err = fid_add(m->srv, newid, node);
		if (err)
			return err;
	}
	m->out[at] = (uint8_t)i;
	return 0;
}

/* Locks */

static int do_lock(struct msg *m)
{
	uint32_t id = get32(m);
	char client[256];
	struct node *node;

	get(m, 1);
	get32(m);
	get64(m);
	get64(m);
	get32(m);
	get_str(m, client, sizeof(client));
	if (m->bad)
		return -EPROTO;
	node = p9_fid_node(m->srv, id);
	if (!node)
		return -EBADF;
	node_put(&m->srv->tree, node);
	put(m, 0, 1);			/* success */
	return 0;
}

static int do_getlock(struct msg *m)
{
	uint32_t id = get32(m), proc;
	uint64_t start, length;
	struct node *node;
	char client[256];

	get(m, 1);
	start = get64(m);
	length = get64(m);
	proc = get32(m);
	get_str(m, client, sizeof(client));
	if (m->bad)
		return -EPROTO;
	node = p9_fid_node(m->srv, id);
	if (!node)
		return -EBADF;
	node_put(&m->srv->tree, node);
	put(m, LOCK_UNLCK, 1);
	put(m, start, 8);
	put(m, length, 8);
	put(m, proc, 4);
	put_str(m, client, strlen(client));
	return 0;
}

static int do_unsupported(struct msg *m)
{
	(void)m;
	return -EOPNOTSUPP;
}

static const struct {
	int (*fn)(struct msg *m);
	bool writes;
} handler[NR_TYPES] = {
	[TSTATFS] = { p9_do_statfs, false },
	[TLOPEN] = { p9_do_lopen, false },		/* looks at the flags */
	[TLCREATE] = { p9_do_lcreate, true },
	[TSYMLINK] = { p9_do_symlink, true },
	[TMKNOD] = { p9_do_mknod, true },
	[TRENAME] = { p9_do_rename, true },
	[TREADLINK] = { p9_do_readlink, false },
	[TGETATTR] = { p9_do_getattr, false },
	[TSETATTR] = { p9_do_setattr, true },
	[TXATTRWALK] = { do_unsupported, false },
	[TXATTRCREATE] = { do_unsupported, false },
	[TREADDIR] = { p9_do_readdir, false },
	[TFSYNC] = { p9_do_fsync, false },
	[TLOCK] = { do_lock, false },
	[TGETLOCK] = { do_getlock, false },
	[TLINK] = { p9_do_link, true },
	[TMKDIR] = { p9_do_mkdir, true },
	[TRENAMEAT] = { p9_do_renameat, true },
	[TUNLINKAT] = { p9_do_unlinkat, true },
	[TVERSION] = { do_version, false },
	[TAUTH] = { do_unsupported, false },
	[TATTACH] = { do_attach, false },
	[TWALK] = { do_walk, false },
	[TREAD] = { p9_do_read, false },
	[TWRITE] = { p9_do_write, true },
	[TCLUNK] = { do_clunk, false },
	[TREMOVE] = { p9_do_remove, false },	/* clunks in any case */
};

/* Length and type stand first in what put_raw() wrote, once they are known. */
static uint32_t finish(struct msg *m, uint8_t type, uint16_t tag)
{
	uint32_t len = htole32(m->len);

	memcpy(m->out, &len, 4);
	m->out[4] = type;
	m->out[5] = (uint8_t)tag;
	m->out[6] = (uint8_t)(tag >> 8);
	return m->len;
}

uint32_t p9_flushed(uint16_t tag, void *reply, uint32_t max)
{
	struct msg m = { .out = reply, .max = max, .len = P9_HEADER };

	return max < P9_HEADER ? 0 : finish(&m, P9_TFLUSH + 1, tag);
}

uint32_t p9_handle(struct p9_server *srv, const void *req, uint32_t len, void *reply, uint32_t max)
{
	uint32_t msize = atomic_load(&srv->msize), size;
	struct msg m = { .srv = srv, .in = req, .out = reply };
	uint8_t type;
	uint16_t tag;
	int err;

	if (len < P9_HEADER || max < P9_HEADER + 4)
		return 0;
	m.end = m.in + len;
	size = get32(&m);
	type = (uint8_t)get(&m, 1);
	tag = get16(&m);
	m.max = max;
	m.len = P9_HEADER;
	if (msize && m.max > msize)
		m.max = msize;
	/* The transport may hand over more than the message: only that counts. */
	if (size < P9_HEADER || size > len) {
		err = -EPROTO;
	} else {
		m.end = (const uint8_t *)req + size;
		if (type >= NR_TYPES || !handler[type].fn)
			err = -EOPNOTSUPP;
		else if (!msize && type != TVERSION)
			err = -EPROTO;
		else if (handler[type].writes && srv->tree.readonly)
			err = -EROFS;
		else
			err = handler[type].fn(&m);
	}
	if (!err && m.full)
		err = -EMSGSIZE;
	if (!err)
		return finish(&m, (uint8_t)(type + 1), tag);
	m.len = P9_HEADER;
	m.full = false;
	put(&m, (uint64_t)-err, 4);
	return finish(&m, RLERROR, tag);
}

void p9_reset(struct p9_server *srv)
{
	drop_fids(srv);
	atomic_store(&srv->msize, 0);
}

int p9_open(struct p9_server **out, const char *path, bool readonly)
{
	struct p9_server *srv = calloc(1, sizeof(*srv));
	int err;

	if (!srv)
		return -ENOMEM;
	err = tree_open(&srv->tree, path, readonly);
	if (err) {
		free(srv);
		return err;
	}
	pthread_mutex_init(&srv->lock, NULL);
	*out = srv;
	return 0;
}

void p9_close(struct p9_server *srv)
{
	p9_reset(srv);
	pthread_mutex_destroy(&srv->lock);
	tree_close(&srv->tree);
	free(srv);
}
