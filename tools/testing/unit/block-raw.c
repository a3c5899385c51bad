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

static int open_raw(struct block *blk, const char *name, bool readonly)
{
	const struct block_options opts = { .format = &block_raw, .readonly = readonly };

	return block_open(blk, name, &opts);
}

static void test_open(void)
{
	struct block a, b;

	is_u64(open_raw(&a, path, false), (uint64_t)-ENOENT, "a missing file");
	is_u64(open_raw(&a, dir, true), (uint64_t)-EISDIR, "a directory");
	is_u64(open_raw(&a, "/dev/null", true), (uint64_t)-EINVAL, "a character device");
	make(0);
	is_u64(open_raw(&a, path, false), (uint64_t)-EINVAL, "an empty file");
	make(511);
	is_u64(open_raw(&a, path, false), (uint64_t)-EINVAL, "less than a sector");
	make(1000);
	is_u64(open_raw(&a, path, false), 0, "an odd size");
	is_u64(a.size, 512, "is rounded down");
	is_u64(open_raw(&b, path, false), (uint64_t)-EBUSY, "a second writer is kept out");
	is_u64(open_raw(&b, path, true), (uint64_t)-EBUSY, "a reader beside a writer too");
	block_close(&a);
	is_u64(open_raw(&a, path, true), 0, "a reader");
	is_u64(open_raw(&b, path, true), 0, "and another one");
	block_close(&b);
	is_u64(open_raw(&b, path, false), (uint64_t)-EBUSY, "but no writer beside it");
	block_close(&a);
	unlink(path);
	if (mkfifo(path, 0600))
		abort();
	is_u64(open_raw(&a, path, true), (uint64_t)-EINVAL, "a FIFO is refused, not waited for");
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
	is_u64(open_raw(&blk, path, false), 0, "an image of 1 MiB");
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

/* O_DIRECT: memory, offsets and lengths of any kind, also at the end of the file. */
static void test_direct(const struct block_driver *drv)
{
	const struct block_options opts = { .format = drv, .cache = BLOCK_NONE };
	static uint8_t model[300 << 10], back[300 << 10], data[70000];
	const struct qcow2_create how = {
		.size = sizeof(model),
		.version = 3,
		.cluster_size = 512,
		.refcount_bits = 16,
	};
	uint64_t seed = tap_seed(0xd1ec7), start = seed;
	const struct file_open create = { .create = true, .overwrite = true };
	unsigned int i, j, wrong = 0;
	struct block blk;
	struct bfile *f;
	int err;

	memset(model, 0, sizeof(model));
	make(sizeof(model));
	if (drv == &block_qcow2) {
		f = file_open(path, &create, &err);
		ok(f && !qcow2_create(f, &how), "made");
		bfile_close(f);
	}
	is_u64(block_open(&blk, path, &opts), 0, "%s, cache=none", drv->name);
	for (i = 0; i < 200; i++) {
		uint64_t at = tap_random(&seed) % 590 * 512, len = 512 * (1 + tap_random(&seed) % 100);
		uint64_t shift = tap_random(&seed) % 64, cut;

		if (len > sizeof(model) - at)
			len = sizeof(model) - at;
		cut = tap_random(&seed) % len;
		for (j = 0; j < len; j++)
			data[shift + j] = tap_random(&seed);
		memcpy(model + at, data + shift, len);
		wrong += !!block_write(
			&blk, (struct iovec[]){ { data + shift, cut }, { data + shift + cut, len - cut } }, 2,
			at, false);
	}
	wrong += !!block_read(
		&blk, (struct iovec[]){ { back, 12345 }, { back + 12345, sizeof(back) - 12345 } }, 2, 0);
	wrong += !!memcmp(back, model, sizeof(back)) + !!block_close(&blk);
	if (!is_u64(wrong, 0, "reads what was written"))
		diag("TEST_SEED=%#llx", (unsigned long long)start);
	is_u64(block_open(&blk, path, &(struct block_options){ .format = drv, .readonly = true }), 0,
	       "and without");
	is_u64(blk.size, sizeof(model), "of the same size");
	block_read(&blk, &(struct iovec){ back, sizeof(back) }, 1, 0);
	ok(!memcmp(back, model, sizeof(back)), "the same");
	block_close(&blk);
}

/* A file size limit stands in for a full disk. */
static void test_failure(void)
{
	struct rlimit limit = { 8192, 8192 };
	static uint8_t data[8192];
	struct iovec iov = { data, sizeof(data) };
	struct block blk;

	make(16384);
	is_u64(open_raw(&blk, path, false), 0, "an image");
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	is_u64(block_write(&blk, &iov, 1, 8192, false), (uint64_t)-EFBIG, "a write that has no room fails");
	is_u64(block_flush(&blk), 0, "a flush is none the worse");
	atomic_store(&blk.file->sync_failed, true);
	is_u64(block_flush(&blk), (uint64_t)-EIO, "a flush after a failed one fails");
	iov = (struct iovec){ data, 512 };
	is_u64(block_write(&blk, &iov, 1, 0, true), (uint64_t)-EIO, "and so does a synchronous write");
	iov = (struct iovec){ data, 512 };
	is_u64(block_read(&blk, &iov, 1, 0), 0, "reads still work");
	atomic_store(&blk.file->sync_failed, false);
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
	test_direct(&block_raw);
	test_direct(&block_qcow2);
	test_failure();
	unlink(path);
	rmdir(dir);
	return tap_done();
}
