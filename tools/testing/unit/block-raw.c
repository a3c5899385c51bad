// SPDX-License-Identifier: GPL-2.0-only
/*
 * block-raw.c - raw images: opening, locks, sizes, transfers; the oracle is pread() on the file
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/block/block.h"
#include "tap.h"

static char dir[] = "/tmp/tenon-block-XXXXXX";
static char path[64];

static void make(off_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || ftruncate(fd, size))
		abort();
	close(fd);
}

static void test_open(void)
{
	struct block a, b;

	is_u64(block_open(&a, path, false), (uint64_t)-ENOENT, "a missing file");
	is_u64(block_open(&a, dir, true), (uint64_t)-EISDIR, "a directory");
	is_u64(block_open(&a, "/dev/null", true), (uint64_t)-EINVAL, "a character device");
	make(0);
	is_u64(block_open(&a, path, false), (uint64_t)-EINVAL, "an empty file");
	make(511);
	is_u64(block_open(&a, path, false), (uint64_t)-EINVAL, "less than a sector");
	make(1000);
	is_u64(block_open(&a, path, false), 0, "an odd size");
	is_u64(a.size, 512, "is rounded down");
	is_u64(block_open(&b, path, false), (uint64_t)-EBUSY, "a second writer is kept out");
	is_u64(block_open(&b, path, true), (uint64_t)-EBUSY, "a reader beside a writer too");
	block_close(&a);
	is_u64(block_open(&a, path, true), 0, "a reader");
	is_u64(block_open(&b, path, true), 0, "and another one");
	block_close(&b);
	is_u64(block_open(&b, path, false), (uint64_t)-EBUSY, "but no writer beside it");
	block_close(&a);
	unlink(path);
	if (mkfifo(path, 0600))
		abort();
	is_u64(block_open(&a, path, true), (uint64_t)-EINVAL, "a FIFO is refused, not waited for");
	unlink(path);
}

static void test_transfer(void)
{
	static uint8_t data[8192], back[8192];
	struct iovec iov[1300];
	struct block blk;
	unsigned int i;
	int fd;

	for (i = 0; i < sizeof(data); i++)
		data[i] = i * 7 + (i >> 8);
	make(1 << 20);
	is_u64(block_open(&blk, path, false), 0, "an image of 1 MiB");
	fd = open(path, O_RDONLY);
	/* More pieces than the kernel takes at a time, some of them empty. */
	for (i = 0; i < 1300; i++)
		iov[i] = (struct iovec){ data + i * 5, i == 7 ? 0 : i < 1299 ? 5 : 1 };
	is_u64(block_write(&blk, iov, 1300, 4096, true), 0, "written in 1300 pieces");
	is_u64(pread(fd, back, 35, 4096), 35, "read from the file");
	ok(!memcmp(back, data, 35), "what was written");
	is_u64(pread(fd, back, 6456, 4096 + 35), 6456, "after the empty piece");
	ok(!memcmp(back, data + 40, 6456), "the rest follows");
	memset(back, 0, sizeof(back));
	iov[0] = (struct iovec){ back, 100 };
	iov[1] = (struct iovec){ back + 100, 412 };
	is_u64(block_read(&blk, iov, 2, 4096 + 35), 0, "read in pieces");
	ok(!memcmp(back, data + 40, 512), "the same data");
	is_u64(block_flush(&blk), 0, "flushed");

	if (truncate(path, 4096))
		abort();
	iov[0] = (struct iovec){ back, 512 };
	is_u64(block_read(&blk, iov, 1, 8192), (uint64_t)-EIO,
	       "a file that has shrunk is an error, not zeros");
	close(fd);
	block_close(&blk);
}

/* A file size limit stands in for a full disk. */
static void test_failure(void)
{
	struct rlimit limit = { 8192, 8192 };
	static uint8_t data[8192];
	struct iovec iov = { data, sizeof(data) };
	struct block blk;

	make(4096);
	is_u64(block_open(&blk, path, false), 0, "an image");
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	is_u64(block_write(&blk, &iov, 1, 8192, false), (uint64_t)-EFBIG, "a write that has no room fails");
	is_u64(block_flush(&blk), 0, "a flush is none the worse");
	atomic_store(&blk.sync_failed, true);
	is_u64(block_flush(&blk), (uint64_t)-EIO, "a flush after a failed one fails");
	iov = (struct iovec){ data, 512 };
	is_u64(block_write(&blk, &iov, 1, 0, true), (uint64_t)-EIO, "and so does a synchronous write");
	iov = (struct iovec){ data, 512 };
	is_u64(block_read(&blk, &iov, 1, 0), 0, "reads still work");
	atomic_store(&blk.sync_failed, false);
	block_close(&blk);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/disk", dir);
	fclose(stderr);
	test_open();
	test_transfer();
	test_failure();
	unlink(path);
	rmdir(dir);
	return tap_done();
}
