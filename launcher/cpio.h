/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cpio.h - makes an initial RAM disk: a cpio archive of the kind "newc", in memory
 */
#ifndef TENON_CPIO_H
#define TENON_CPIO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct cpio {
	int fd;				/* memfd */
	uint32_t ino;
	int err;			/* of the first call that failed; later ones do nothing */
};

/* All return 0 or -errno. */
int cpio_begin(struct cpio *cpio);
int cpio_dir(struct cpio *cpio, const char *path);
int cpio_file(struct cpio *cpio, const char *path, mode_t mode, const void *data, size_t len);
/* Write the trailer; the archive stays in cpio->fd. */
int cpio_end(struct cpio *cpio);

#endif /* TENON_CPIO_H */
