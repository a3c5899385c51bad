// SPDX-License-Identifier: GPL-2.0-only
/*
 * nbd.c - a disk that another process or machine serves: Network Block Device, by libnbd
 *
 * nbd://HOST[:PORT]/EXPORT over TCP, nbd+unix:///EXPORT?socket=PATH. Source: "The NBD protocol". An export is raw: where
 * it comes from an image, the server knows the format. Only the user names one; an image can't (qcow2.c opens files).
 *
 * There is one connection, whose calls take turns. When it breaks, requests fail for the rest of the run: what the
 * server had acknowledged and not flushed may be gone, and only a new start can tell.
 */
#include <errno.h>
#include <libnbd.h>
#include <stdlib.h>
#include <string.h>

#include "../msg.h"
#include "block.h"

#define CHUNK		(1u << 20)	/* of data in a request */
#define RANGE		(1u << 30)	/* of a request without data */

struct nbd_file {
	struct bfile f;
	struct nbd_handle *h;
	bool can_flush, can_zero, can_trim;
};

bool nbd_uri(const char *path)
{
	return !strncmp(path, "nbd://", 6) || !strncmp(path, "nbd+unix://", 11) ||
	       !strncmp(path, "nbds://", 7) || !strncmp(path, "nbds+unix://", 12);
}

static int last_error(void)
{
	int err = nbd_get_errno();

	return err ? -err : -EIO;
}

static int64_t nbd_file_size(struct bfile *f)
{
	int64_t size = nbd_get_size(((struct nbd_file *)f)->h);

	return size < 0 ? last_error() : size;
}

static int64_t nbd_file_read(struct bfile *f, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct nbd_file *n = (struct nbd_file *)f;
	void *buf = malloc(len < CHUNK ? len : CHUNK);
	uint64_t done = 0;
	int err = buf ? 0 : -ENOMEM;

	while (!err && done < len) {
		uint64_t part = len - done < CHUNK ? len - done : CHUNK;

		if (nbd_pread(n->h, buf, part, off + done, 0)) {
			err = last_error();
			break;
		}
		cursor_put(cur, buf, part);
		done += part;
	}
	free(buf);
	return err ? err : (int64_t)len;
}

static int nbd_file_write(struct bfile *f, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct nbd_file *n = (struct nbd_file *)f;
	void *buf = malloc(len < CHUNK ? len : CHUNK);
	int err = buf ? 0 : -ENOMEM;

	while (!err && len) {
		uint64_t part = len < CHUNK ? len : CHUNK;

		cursor_get(cur, buf, part);
		if (nbd_pwrite(n->h, buf, part, off, 0))
			err = last_error();
		off += part;
		len -= part;
	}
	free(buf);
	return err;
}

static int nbd_file_sync(struct bfile *f)
{
	struct nbd_file *n = (struct nbd_file *)f;

	return n->can_flush && nbd_flush(n->h, 0) ? last_error() : 0;
}

static int nbd_file_resize(struct bfile *f, uint64_t size)
{
	(void)f;
	(void)size;
	return -EOPNOTSUPP;
}

static int nbd_file_zero(struct bfile *f, uint64_t off, uint64_t len, bool unmap)
{
	struct nbd_file *n = (struct nbd_file *)f;

	if (!n->can_zero)
		return -EOPNOTSUPP;
	while (len) {
		uint64_t part = len < RANGE ? len : RANGE;

		if (nbd_zero(n->h, part, off, unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE))
			return last_error();
		off += part;
		len -= part;
	}
	return 0;
}

static int nbd_file_discard(struct bfile *f, uint64_t off, uint64_t len)
{
	struct nbd_file *n = (struct nbd_file *)f;

	while (len && n->can_trim) {
		uint64_t part = len < RANGE ? len : RANGE;

		if (nbd_trim(n->h, part, off, 0))
			return last_error();
		off += part;
		len -= part;
	}
	return 0;
}

static void nbd_file_close(struct bfile *f)
{
	struct nbd_file *n = (struct nbd_file *)f;

	nbd_shutdown(n->h, 0);
	nbd_close(n->h);
	free(n);
}

static const struct bfile_ops nbd_ops = {
	.read = nbd_file_read,
	.write = nbd_file_write,
	.sync = nbd_file_sync,
	.size = nbd_file_size,
	.resize = nbd_file_resize,
	.zero = nbd_file_zero,
	.discard = nbd_file_discard,
	.close = nbd_file_close,
};

/* What the server can, and whether that will do. */
static int look_at(struct nbd_file *n, const char *uri, bool readonly)
{
	int64_t unit = nbd_get_block_size(n->h, LIBNBD_SIZE_MINIMUM);

	if (!readonly && nbd_is_read_only(n->h) > 0) {
		msg_error("open disk '%s': its server lets nobody write to it. Use it read-only (,ro)", uri);
		return -EROFS;
	}
	if (unit > BLOCK_SECTOR) {
		msg_error("open disk '%s': its server takes requests of %lld bytes and multiples only, and guests make such of "
			  "%u bytes", uri, (long long)unit, BLOCK_SECTOR);
		return -EINVAL;
	}
	n->can_flush = nbd_can_flush(n->h) > 0;
	n->can_zero = nbd_can_zero(n->h) > 0;
	n->can_trim = nbd_can_trim(n->h) > 0;
	if (!readonly && !n->can_flush)
		msg_warn("disk '%s': its server knows no flush. What the guest has written may be lost when the server's machine "
			 "fails", uri);
	return 0;
}

struct bfile *nbd_file_open(const char *uri, const struct file_open *how, int *err)
{
	struct nbd_file *n = calloc(1, sizeof(*n));

	*err = -ENOMEM;
	if (!n)
		return NULL;
	n->f.ops = &nbd_ops;
	n->f.unsafe = how->unsafe;
	n->f.path = strdup(uri);
	n->h = nbd_create();
	if (!n->f.path || !n->h) {
		msg_error("open disk '%s': out of memory", uri);
		goto fail;
	}
	/* No TLS, which reads files whenever it likes, and nothing that starts a program. */
	if (nbd_set_uri_allow_transports(n->h, LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX) ||
	    nbd_set_uri_allow_tls(n->h, LIBNBD_TLS_DISABLE) || nbd_set_uri_allow_local_file(n->h, false) ||
	    nbd_connect_uri(n->h, uri)) {
		*err = last_error();
		msg_error("connect to disk '%s': %s. Does the server run, and export that name? The address is "
			  "nbd://HOST[:PORT]/NAME or nbd+unix:///NAME?socket=PATH", uri, nbd_get_error());
		goto fail;
	}
	*err = look_at(n, uri, how->readonly);
	if (!*err)
		return &n->f;
fail:
	if (n->h)
		nbd_close(n->h);
	free(n->f.path);
	free(n);
	return NULL;
}
