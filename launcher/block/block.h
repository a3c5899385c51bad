/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * block.h - disk images
 *
 * An image is raw: what the guest writes to sector n stands at byte 512 * n of the file, and no content makes
 * it anything else. Images are never probed: a guest could write another format's header into its disk and
 * have it interpreted at the next start.
 */
#ifndef TENON_BLOCK_H
#define TENON_BLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_SECTOR	512u

struct block {
	const char *path;
	int fd;
	uint64_t size;			/* bytes, a multiple of BLOCK_SECTOR */
	bool readonly;
	/* Data that was reported written may be lost: no later flush can heal that. */
	atomic_bool sync_failed;
};

/* Open an image file or block device and lock it against others. 0, or -errno with a message printed. */
int block_open(struct block *blk, const char *path, bool readonly);
void block_close(struct block *blk);

/*
 * Transfer all of @iov at byte @off; changes @iov. @sync: on stable storage before return. Any thread,
 * several at a time. 0 or -errno; the range has been checked against size.
 */
int block_read(struct block *blk, struct iovec *iov, unsigned int nr, uint64_t off);
int block_write(struct block *blk, struct iovec *iov, unsigned int nr, uint64_t off, bool sync);
/* Bring all completed writes to stable storage. Once this has failed it fails for the rest of the run. */
int block_flush(struct block *blk);

#endif /* TENON_BLOCK_H */
