// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpio.c - makes an initial RAM disk: a cpio archive of the kind "newc", in memory
 *
 * Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux. A header of 110 characters,
 * the name with its terminator, the data; name and data are padded to a multiple of 4.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpio.h"

#define HEADER_LEN	110

static void put(struct cpio *cpio, const void *data, size_t len)
{
	while (len && !cpio->err) {
		ssize_t n = write(cpio->fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			cpio->err = n ? -errno : -EIO;
			break;
		}
		data = (const char *)data + n;
		len -= (size_t)n;
	}
}

static void pad(struct cpio *cpio, size_t len)
{
	put(cpio, "\0\0\0", -len & 3);
}

static int entry(struct cpio *cpio, const char *path, mode_t mode, const void *data, size_t len)
{
	char header[HEADER_LEN + 1];
	size_t name = strlen(path) + 1;

	if (len > UINT32_MAX && !cpio->err)
		cpio->err = -EFBIG;
	snprintf(header, sizeof(header), "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		 ++cpio->ino, mode, 0, 0, S_ISDIR(mode) ? 2 : 1, 0, (unsigned int)len, 0, 0, 0, 0,
		 (unsigned int)name, 0);
	put(cpio, header, HEADER_LEN);
	put(cpio, path, name);
	pad(cpio, HEADER_LEN + name);
	put(cpio, data, len);
	pad(cpio, len);
	return cpio->err;
}

int cpio_dir(struct cpio *cpio, const char *path)
{
	return entry(cpio, path, S_IFDIR | 0755, NULL, 0);
}

int cpio_file(struct cpio *cpio, const char *path, mode_t mode, const void *data, size_t len)
{
	return entry(cpio, path, S_IFREG | mode, data, len);
}

int cpio_begin(struct cpio *cpio)
{
	*cpio = (struct cpio){ .fd = memfd_create("initrd", MFD_CLOEXEC) };
	if (cpio->fd < 0)
		cpio->err = -errno;
	return cpio->err;
}

int cpio_end(struct cpio *cpio)
{
	return entry(cpio, "TRAILER!!!", 0, NULL, 0);
}
