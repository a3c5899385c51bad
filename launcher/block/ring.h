/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ring.h - several transfers of a file at once by one thread, with the kernel's io_uring
 */
#ifndef TENON_BLOCK_RING_H
#define TENON_BLOCK_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* Used by one thread at a time. It can do nothing but read and write files. */
struct block_ring;

/* For @depth transfers of @fd at a time; NULL with errno set if the host has no io_uring for this process. */
struct block_ring *block_ring_new(int fd, unsigned int depth);
void block_ring_free(struct block_ring *ring);
/* Add a transfer. @tag is what block_ring_wait() calls it; @iov has to stay until then. */
void block_ring_add(struct block_ring *ring, bool write, const struct iovec *iov, unsigned int nr, uint64_t off, void *tag);
/* Start those that were added. */
void block_ring_submit(struct block_ring *ring);
/*
 * Wait for one, until @until at most (clock_ns(); UINT64_MAX: as long as it takes): its tag, with the bytes that were
 * transferred or -errno in *@result. NULL: there are no more, or no longer time. One that was added and never comes could
 * not be started; block_ring_usable() is false then.
 */
void *block_ring_wait(struct block_ring *ring, uint64_t until, int64_t *result);
/* Transfers are under way. */
bool block_ring_busy(const struct block_ring *ring);
bool block_ring_usable(const struct block_ring *ring);

#endif /* TENON_BLOCK_RING_H */
