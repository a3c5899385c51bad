// SPDX-License-Identifier: GPL-2.0-only
/*
 * verify.c - reads and writes a disk at random, from several processes, and knows what has to be there
 *
 *	verify fill FILE MIB			make a file in which every sector has its first content
 *	verify run DEVICE MIB SEED OPS		in the guest: write, zero, discard, flush, and compare what is read
 *	verify check FILE MIB SEED OPS		on the host: compare with what the same run must have left
 *
 * A sector's content says which sector it is and how often it was written. Chunks of 16 KiB belong to the processes in
 * turn, so that a cluster of an image is several processes' and no sector is: the result depends on the seed alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/fs.h>

#define SECTOR		512u
#define CHUNK		32u		/* sectors */
#define WORKERS		4u
#define UNKNOWN		UINT32_MAX	/* discarded: anything may be read */
#define ZERO		0u
#define FIRST		1u

static const char *name;
static uint32_t *version;		/* of each sector */
static uint32_t nr_sectors;
static uint8_t *buf;

static uint64_t random64(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void fail(const char *what, uint32_t sector)
{
	fprintf(stderr, "verify %s: %s at sector %u: %s\n", name, what, sector, strerror(errno));
	exit(1);
}

static void content(uint32_t sector, uint32_t ver, uint64_t *to)
{
	uint64_t state = (uint64_t)ver << 32 | sector;

	for (unsigned int i = 0; i < SECTOR / 8; i++)
		to[i] = ver == ZERO ? 0 : i == 0 ? state : random64(&state);
}

static void compare(uint32_t sector, uint32_t nr)
{
	uint64_t want[SECTOR / 8];

	for (uint32_t i = 0; i < nr; i++) {
		const uint64_t *got = (const uint64_t *)(buf + i * SECTOR);

		if (version[sector + i] == UNKNOWN)
			continue;
		content(sector + i, version[sector + i], want);
		if (!memcmp(got, want, SECTOR))
			continue;
		fprintf(stderr, "verify %s: sector %u: version %u expected, there is %016llx %016llx\n", name, sector + i,
			version[sector + i], (unsigned long long)got[0], (unsigned long long)got[1]);
		exit(1);
	}
}

static void transfer(int fd, uint32_t sector, uint32_t nr, int write)
{
	size_t len = nr * SECTOR;
	ssize_t n = write ? pwrite(fd, buf, len, (off_t)sector * SECTOR) : pread(fd, buf, len, (off_t)sector * SECTOR);

	if (n == (ssize_t)len)
		return;
	if (n >= 0)
		errno = 0;
	fail(write ? "short write" : "short read", sector);
}

/* One worker's operations; without a device only what they leave. */
static void work(int fd, unsigned int worker, uint64_t seed, unsigned int ops)
{
	uint64_t state = seed * WORKERS + worker;
	uint32_t ver = FIRST + 1;

	while (ops--) {
		uint32_t chunk = random64(&state) % (nr_sectors / CHUNK / WORKERS) * WORKERS + worker;
		uint32_t from = random64(&state) % CHUNK, nr = 1 + random64(&state) % (CHUNK - from), what = random64(&state) % 16;
		uint32_t sector = chunk * CHUNK + from;
		uint64_t range[2];

		/* What the page size of a host or a file system likes better. */
		if (random64(&state) % 2) {
			sector &= ~7u;
			nr = (nr + 7) & ~7u;
		}
		range[0] = (uint64_t)sector * SECTOR;
		range[1] = nr * SECTOR;
		if (what < 7) {
			for (uint32_t i = 0; i < nr; i++) {
				version[sector + i] = ver;
				content(sector + i, ver, (uint64_t *)(buf + i * SECTOR));
			}
			ver++;
			if (fd >= 0)
				transfer(fd, sector, nr, 1);
		} else if (what == 7) {
			for (uint32_t i = 0; i < nr; i++)
				version[sector + i] = ZERO;
			if (fd >= 0 && ioctl(fd, BLKZEROOUT, range))
				fail("write zeroes", sector);
		} else if (what == 8) {
			for (uint32_t i = 0; i < nr; i++)
				version[sector + i] = UNKNOWN;
			if (fd >= 0 && ioctl(fd, BLKDISCARD, range) && errno != EOPNOTSUPP)
				fail("discard", sector);
		} else if (what == 9) {
			if (fd >= 0 && fsync(fd))
				fail("flush", sector);
		} else if (fd >= 0) {
			transfer(fd, sector, nr, 0);
			compare(sector, nr);
		}
	}
}

static int run(const char *path, uint64_t seed, unsigned int ops)
{
	int status, bad = 0;

	for (unsigned int w = 0; w < WORKERS; w++) {
		int fd;

		if (fork())
			continue;
		fd = open(path, O_RDWR | O_DIRECT);
		if (fd < 0)
			fail("open", 0);
		work(fd, w, seed, ops);
		exit(0);
	}
	while (wait(&status) > 0)
		bad |= status;
	return bad != 0;
}

static void each(int fd, int write)
{
	for (uint32_t s = 0; s < nr_sectors; s += CHUNK) {
		for (uint32_t i = 0; i < CHUNK && write; i++)
			content(s + i, FIRST, (uint64_t *)(buf + i * SECTOR));
		transfer(fd, s, CHUNK, write);
		if (!write)
			compare(s, CHUNK);
	}
}

int main(int argc, char **argv)
{
	int fill = argc == 4 && !strcmp(argv[1], "fill"), fd;

	if (!fill && argc != 6) {
		fprintf(stderr, "usage: verify fill FILE MIB | verify run|check FILE MIB SEED OPS\n");
		return 2;
	}
	name = argv[2];
	nr_sectors = (uint32_t)strtoul(argv[3], NULL, 0) << 11;
	version = malloc(nr_sectors * sizeof(*version));
	if (!version || posix_memalign((void **)&buf, 4096, CHUNK * SECTOR))
		return 2;
	for (uint32_t i = 0; i < nr_sectors; i++)
		version[i] = FIRST;
	if (!strcmp(argv[1], "run"))
		return run(name, strtoull(argv[4], NULL, 0), (unsigned int)strtoul(argv[5], NULL, 0));
	fd = open(name, fill ? O_RDWR | O_CREAT | O_TRUNC : O_RDONLY, 0666);
	if (fd < 0)
		fail("open", 0);
	for (unsigned int w = 0; w < WORKERS && !fill; w++)
		work(-1, w, strtoull(argv[4], NULL, 0), (unsigned int)strtoul(argv[5], NULL, 0));
	each(fd, fill);
	return 0;
}
