// SPDX-License-Identifier: GPL-2.0-only
/*
 * block-nbd.c - a disk over NBD: what is written is in the server's file, what is read is what is there, whatever the
 * order; refusals; a server that goes away
 *
 * The oracles: a model in memory, and the file that qemu-nbd serves.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/block/block.h"
#include "machine-fake.h"

#define SIZE	(8u << 20)
#define OPS	2000u

static char dir[] = "/tmp/tenon-nbd-XXXXXX", file[64], uri[128];
static uint8_t model[SIZE], buf[SIZE];

/* Serve the file, with these options, until stop(). */
static bool serve(const char *options)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "qemu-nbd --fork -t -f raw --discard=unmap --detect-zeroes=off --pid-file=%s/pid -k %s/sock -x disk "
		 "%s %s >%s/log 2>&1", dir, dir, options, file, dir);
	return system(cmd) == 0;
}

static void stop(void)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "p=$(cat %s/pid) && kill $p && while kill -0 $p 2>/dev/null; do sleep 0.02; done", dir);
	(void)!system(cmd);
}

static bool file_is_model(void)
{
	int fd = open(file, O_RDONLY);
	bool same = pread(fd, buf, SIZE, 0) == (ssize_t)SIZE && !memcmp(buf, model, SIZE);

	close(fd);
	return same;
}

static int rw(struct block *blk, bool write, void *p, uint64_t len, uint64_t off)
{
	/* in two pieces, of which the first is no multiple of anything */
	struct iovec iov[2] = { { p, len / 3 }, { (char *)p + len / 3, len - len / 3 } };

	return write ? block_write(blk, iov, 2, off, false) : block_read(blk, iov, 2, off);
}

static void test_random(struct block *blk)
{
	uint64_t seed = tap_seed(0x4bd);
	unsigned int bad = 0, undefined = 0;

	diag("seed %#llx", (unsigned long long)seed);
	for (unsigned int i = 0; i < OPS && !bad; i++) {
		uint64_t r = tap_random(&seed), off = (r >> 8) % (SIZE / 512) * 512, len = ((r >> 40) % 64 + 1) * 512;

		if (!(r >> 60))
			len *= 50;	/* more than a request holds */
		if (len > SIZE - off)
			len = SIZE - off;
		switch (r & 7) {
		case 0:
		case 1:
		case 2:
			for (uint64_t n = 0; n < len; n++)
				model[off + n] = (uint8_t)(r + n);
			memcpy(buf, model + off, len);
			bad += rw(blk, true, buf, len, off) != 0;
			break;
		case 3:
			bad += block_zero(blk, off, len, r >> 4 & 1) != 0;
			memset(model + off, 0, len);
			break;
		case 4:
			bad += block_discard(blk, off, len) != 0;
			/* Undefined from here on: take what is there. */
			bad += rw(blk, false, model + off, len, off) != 0;
			undefined++;
			break;
		case 5:
			bad += block_flush(blk) != 0;
			break;
		default:
			bad += rw(blk, false, buf, len, off) != 0 || memcmp(buf, model + off, len);
		}
	}
	is_u64(bad, 0, "%u operations (%u discards) do what they would in memory", OPS, undefined);
	is_u64((uint64_t)block_flush(blk), 0, "a flush");
	ok(file_is_model(), "and the server's file has it all");
}

static void test_space(struct block *blk)
{
	struct stat before, after;

	memset(model, 0x5a, SIZE);
	memcpy(buf, model, SIZE);
	rw(blk, true, buf, SIZE, 0);
	block_flush(blk);
	stat(file, &before);
	is_u64((uint64_t)block_discard(blk, 1 << 20, 4 << 20), 0, "4 MiB are discarded");
	block_flush(blk);
	stat(file, &after);
	ok(before.st_blocks - after.st_blocks >= 3 << 11, "and the server's file takes up less (%lld KiB)",
	   (long long)(before.st_blocks - after.st_blocks) / 2);
}

static void test_refusals(void)
{
	const struct block_options plain = { 0 }, ro = { .readonly = true }, format = { .format = &block_qcow2 };
	struct block blk;

	quiet(true);
	ok(block_open(&blk, uri, &format) == -EINVAL, "a format is not for this end to read");
	stop();
	ok(block_open(&blk, uri, &plain) != 0, "no server is an error");
	serve("-r");
	ok(block_open(&blk, uri, &plain) == -EROFS, "a server that lets nobody write, too");
	ok(!block_open(&blk, uri, &ro), "unless nobody wants to");
	ok(!rw(&blk, false, buf, 512, 0) && !memcmp(buf, model, 512), "and can be read");
	is_u64(blk.size, SIZE, "it is as large as the file");
	stop();
	ok(rw(&blk, false, buf, 512, 512) < 0, "when the server goes, reading fails");
	ok(rw(&blk, false, buf, 512, 512) < 0, "and goes on failing");
	block_close(&blk);
	ok(!nbd_uri("nbd.img") && !nbd_uri("nbds") && !nbd_uri("/nbd://x") && nbd_uri("nbd://h/x"), "names of files are none");
	quiet(false);
}

int main(void)
{
	const struct block_options opts = { .discard = true };
	char cmd[128];
	struct block blk;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	if (system("command -v qemu-nbd >/dev/null")) {
		skip("disks over NBD", "qemu-nbd (qemu-utils) is not installed");
		return tap_done();
	}
	if (!mkdtemp(dir))
		return 1;
	snprintf(file, sizeof(file), "%s/disk", dir);
	snprintf(uri, sizeof(uri), "nbd+unix:///disk?socket=%s/sock", dir);
	fd = open(file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, SIZE) || close(fd))
		return 1;
	if (ok(serve(""), "qemu-nbd serves a file") && ok(!block_open(&blk, uri, &opts), "which opens as a disk")) {
		is_u64(blk.size, SIZE, "of its size");
		test_random(&blk);
		test_space(&blk);
		is_u64((uint64_t)block_close(&blk), 0, "it closes");
		test_refusals();
	}
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	(void)!system(cmd);
	return tap_done();
}
