// SPDX-License-Identifier: GPL-2.0-only
/*
 * block-ring.c - transfers by a ring, and what a ring that was taken over could do
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "launcher/block/ring.c"	/* to put into the ring what block_ring_add() never does */
#include "tap.h"

#define SIZE	(1u << 20)
#define PIECE	4096u
#define DEPTH	16u

static char path[] = "/tmp/tenon-ring-XXXXXX";
static uint8_t data[SIZE], back[SIZE];

static unsigned int all(struct block_ring *ring, bool write, uint8_t *buf)
{
	struct iovec iov[DEPTH];
	unsigned int good = 0;
	int64_t got;

	for (unsigned int at = 0; at < SIZE; at += DEPTH * PIECE) {
		for (unsigned int i = 0; i < DEPTH; i++) {
			iov[i] = (struct iovec){ buf + at + i * PIECE, PIECE };
			block_ring_add(ring, write, &iov[i], 1, at + i * PIECE, &iov[i]);
		}
		block_ring_submit(ring);
		while (block_ring_wait(ring, UINT64_MAX, &got))
			good += got == PIECE;
	}
	return good;
}

/* What the kernel says to an operation that is none of the two. */
static int64_t other(struct block_ring *ring, void (*prepare)(struct io_uring_sqe *sqe))
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	int64_t got = 0;

	prepare(sqe);
	io_uring_sqe_set_data(sqe, ring);
	ring->added++;
	block_ring_submit(ring);
	block_ring_wait(ring, UINT64_MAX, &got);
	return got;
}

static void open_other(struct io_uring_sqe *sqe)
{
	io_uring_prep_openat(sqe, AT_FDCWD, "/dev/null", O_RDONLY, 0);
}

static void discard(struct io_uring_sqe *sqe)
{
	io_uring_prep_fallocate(sqe, 0, 0, 0, 1);
}

int main(void)
{
	uint64_t seed = tap_seed(0x7106);
	int fd = mkstemp(path);
	struct iovec iov = { back, PIECE };
	struct block_ring *ring;
	int64_t got = 0;

	if (fd < 0)
		return 1;
	unlink(path);
	ring = block_ring_new(fd, DEPTH);
	if (!ring) {
		printf("1..0 # SKIP io_uring: %s\n", strerror(errno));
		return 0;
	}
	ok(!block_ring_wait(ring, UINT64_MAX, &got), "nothing to wait for");
	for (unsigned int i = 0; i < SIZE; i++)
		data[i] = (uint8_t)tap_random(&seed);
	is_u64(all(ring, true, data), SIZE / PIECE, "all pieces are written");
	is_u64((uint64_t)pread(fd, back, SIZE, 0), SIZE, "the file has them");
	ok(!memcmp(data, back, SIZE), "as they were");
	memset(back, 0, SIZE);
	is_u64(all(ring, false, back), SIZE / PIECE, "all are read");
	ok(!memcmp(data, back, SIZE), "as they were");
	block_ring_add(ring, false, &iov, 1, SIZE - 512, &iov);
	block_ring_submit(ring);
	ok(block_ring_wait(ring, UINT64_MAX, &got) == &iov && got == 512, "over the end of the file it says how much there was");

	is_u64((uint64_t)-other(ring, open_other), EACCES, "no other operation");
	is_u64((uint64_t)-other(ring, discard), EACCES, "nor that");
	ok(syscall(SYS_io_uring_register, ring->uring.ring_fd, IORING_REGISTER_FILES, &fd, 1) < 0 && errno == EACCES,
	   "nothing can be registered");
	ok(block_ring_usable(ring), "it goes on");
	is_u64(all(ring, false, back), SIZE / PIECE, "reading");
	block_ring_free(ring);
	close(fd);
	return tap_done();
}
