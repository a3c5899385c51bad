// SPDX-License-Identifier: GPL-2.0-only
/*
 * ring.c - several transfers of a file at once by one thread, with the kernel's io_uring
 *
 * A filter of system calls sees none of what is in a ring. So it is made, and restricted to reading and writing, before
 * the guest runs: what its thread may do by system calls, too. IORING_REGISTER_RESTRICTIONS is for good. The file is not
 * registered with the ring, which would keep it open, and locked, for a while after the end.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>

#include "../loop.h"
#include "ring.h"

struct block_ring {
	struct io_uring uring;
	int fd;
	unsigned int added, running;
	bool dead;			/* holds transfers that must not be started any more */
};

/* Not all versions of the library have functions for these. */
static int ring_register(struct io_uring *uring, unsigned int what, const void *arg, unsigned int nr)
{
	return syscall(SYS_io_uring_register, uring->ring_fd, what, arg, nr) ? -errno : 0;
}

static int restrict_ring(struct io_uring *uring)
{
	const struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
	};
	int err = ring_register(uring, IORING_REGISTER_RESTRICTIONS, only, sizeof(only) / sizeof(only[0]));

	return err ? err : ring_register(uring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

struct block_ring *block_ring_new(int fd, unsigned int depth)
{
	struct block_ring *ring = calloc(1, sizeof(*ring));
	int err;

	if (!ring)
		return NULL;
	err = io_uring_queue_init(depth, &ring->uring, IORING_SETUP_R_DISABLED);
	if (err) {
		free(ring);
	} else {
		ring->fd = fd;
		err = restrict_ring(&ring->uring);
		if (!err)
			return ring;
		block_ring_free(ring);
	}
	errno = -err;
	return NULL;
}

void block_ring_free(struct block_ring *ring)
{
	if (!ring)
		return;
	io_uring_queue_exit(&ring->uring);
	free(ring);
}

void block_ring_add(struct block_ring *ring, bool write, const struct iovec *iov, unsigned int nr, uint64_t off, void *tag)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (write)
		io_uring_prep_writev(sqe, ring->fd, iov, nr, off);
	else
		io_uring_prep_readv(sqe, ring->fd, iov, nr, off);
	io_uring_sqe_set_data(sqe, tag);
	ring->added++;
}

void block_ring_submit(struct block_ring *ring)
{
	while (ring->added) {
		int done = io_uring_submit(&ring->uring);

		if (done == -EINTR)
			continue;
		if (done <= 0) {
			ring->dead = true;
			return;
		}
		ring->added -= (unsigned int)done;
		ring->running += (unsigned int)done;
	}
}

bool block_ring_usable(const struct block_ring *ring)
{
	return ring && !ring->dead;
}

bool block_ring_busy(const struct block_ring *ring)
{
	return ring->running;
}

/* 0 or -errno, -ETIME if none has come by then. */
static int wait_until(struct io_uring *uring, uint64_t until, struct io_uring_cqe **cqe)
{
	struct __kernel_timespec ts = { 0 };
	uint64_t now;

	if (until == UINT64_MAX)
		return io_uring_wait_cqe(uring, cqe);
	if (!io_uring_peek_cqe(uring, cqe))
		return 0;
	now = clock_ns();
	/* Without this feature the library takes a request for the time, which the ring may not have. */
	if (now >= until || !(uring->features & IORING_FEAT_EXT_ARG))
		return -ETIME;
	ts.tv_nsec = until - now < 999999999 ? (long)(until - now) : 999999999;
	return io_uring_wait_cqe_timeout(uring, cqe, &ts);
}

void *block_ring_wait(struct block_ring *ring, uint64_t until, int64_t *result)
{
	struct io_uring_cqe *cqe;
	void *tag;
	int err;

	if (!ring->running)
		return NULL;
	do {
		err = wait_until(&ring->uring, until, &cqe);
	} while (err == -EINTR || err == -EAGAIN);
	if (err == -ETIME && until != UINT64_MAX)
		return NULL;
	if (err)
		abort();	/* transfers run on guest memory that nobody could take back */
	tag = io_uring_cqe_get_data(cqe);
	*result = cqe->res;
	io_uring_cqe_seen(&ring->uring, cqe);
	ring->running--;
	return tag;
}
