// SPDX-License-Identifier: GPL-2.0-only
/*
 * block-qcow2-fuzz.c - damaged and hostile qcow2 images
 *
 * The oracles: the sanitizers, a clock, and for the named cases that the image is refused or the request
 * fails. TEST_SEED repeats a run, TEST_TIMES makes it longer.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "block-mem.h"

#define DISK (2u << 20)

static uint64_t seed;

static struct mem *copy_of(const struct mem *from)
{
	struct mem *m = mem_new();

	memcpy(m->now, from->now, from->size);
	m->size = from->size;
	/* A hostile image may ask for more. */
	m->limit = 64 << 20;
	return m;
}

static struct mem *make(const struct qcow2_create *how)
{
	static uint8_t buf[256 << 10];
	struct mem *m = mem_new(), *out;
	struct block blk;
	unsigned int i;

	for (i = 0; i < sizeof(buf); i++)
		buf[i] = i >> 3;
	if (qcow2_create(&m->f, how) || mem_open(&blk, m, false, NULL))
		abort();
	for (i = 0; i < 12; i++) {
		uint64_t at = tap_random(&seed) % (DISK / 512 - 64) * 512;

		if (i == 5)
			qcow2_snapshot_create(&blk, "one");
		if (i == 8)
			qcow2_snapshot_create(&blk, "two");
		if (i % 4 == 3)
			qcow2_write_compressed(&blk, buf, i * how->cluster_size);
		else
			block_write(&blk, &(struct iovec){ buf, 512 * (1 + i * 5) }, 1, at, false);
	}
	block_zero(&blk, 65536, 65536, false);
	block_flush(&blk);
	out = copy_of(m);
	block_close(&blk);
	return out;
}

/* Whatever comes of it. */
static void use(struct mem *m, struct mem *below)
{
	static uint8_t buf[DISK];
	struct qcow2_check res = { .quiet = true };
	bool readonly = tap_random(&seed) % 4 == 0;
	struct block blk, backing;
	unsigned int i;

	if (below) {
		const struct block_options opts = { .format = &block_raw, .readonly = true };

		if (block_open_file(&backing, "below", &below->f, NULL, &opts, 0))
			abort();
	}
	if (!mem_open(&blk, m, readonly, below ? &backing : NULL)) {
		uint64_t n = blk.size < DISK ? blk.size : DISK;

		for (i = 0; i < 12; i++) {
			uint64_t at = tap_random(&seed) % (n / 512) * 512,
				 len = 512 * (1 + tap_random(&seed) % 200);

			if (len > n - at)
				len = n - at;
			switch (tap_random(&seed) % 10) {
			case 0:
				block_zero(&blk, at, len, i & 1);
				break;
			case 1:
				block_discard(&blk, at, len);
				break;
			case 2:
				block_flush(&blk);
				break;
			case 3:
				if (!readonly)
					qcow2_snapshot_create(&blk, "new");
				break;
			case 4:
				qcow2_snapshot_apply(&blk, "one");
				break;
			case 5:
				qcow2_snapshot_delete(&blk, tap_random(&seed) & 1 ? "one" : "two");
				break;
			case 6:
				qcow2_check(&blk, !readonly && tap_random(&seed) % 2, &res);
				break;
			case 7:
				if (blk.size < 16 << 20)
					block_resize(&blk, blk.size + 512 * (tap_random(&seed) % 2048));
				break;
			default:
				if (!readonly)
					block_write(&blk, &(struct iovec){ buf, len }, 1, at, i & 1);
			}
			n = blk.size < n ? blk.size : n;
			block_read(&blk, &(struct iovec){ buf, n }, 1, 0);
		}
		block_close(&blk);
	}
	if (below)
		block_close(&backing);
}

static void put(struct mem *m, uint64_t off, uint64_t val, unsigned int len)
{
	unsigned int i;

	for (i = 0; i < len && off + i < m->size; i++)
		m->now[off + i] = val >> 8 * (len - 1 - i);
}

static uint64_t get(const struct mem *m, uint64_t off)
{
	uint64_t val;

	memcpy(&val, m->now + off, 8);
	return be64toh(val);
}

static uint64_t interesting(const struct mem *m)
{
	static const uint64_t vals[] = {
		0,
		1,
		2,
		511,
		512,
		513,
		4096,
		65536,
		1ull << 31,
		1ull << 32,
		1ull << 55,
		1ull << 62,
		1ull << 63,
		UINT32_MAX,
		UINT64_MAX,
		INT64_MAX,
		0x00fffffffffffe00,
		0x4000000000000001,
	};
	uint64_t val = vals[tap_random(&seed) % (sizeof(vals) / sizeof(vals[0]))];

	switch (tap_random(&seed) % 4) {
	case 0:
		return val;
	case 1:
		return val + tap_random(&seed) % 9 - 4;
	case 2:
		return tap_random(&seed) % m->size;
	default:
		/* A place of a table. */
		return tap_random(&seed) % (m->size >> 9) << 9 | (tap_random(&seed) & 1 ? 1ull << 63 : 0);
	}
}

static void mutate(struct mem *m, const struct qcow2_create *how)
{
	unsigned int n = 1 + tap_random(&seed) % 5;
	uint64_t l1 = get(m, 40), l2, at;

	while (n--) {
		switch (tap_random(&seed) % 6) {
		case 0: /* the header */
			put(m, 8 + tap_random(&seed) % 104, interesting(m), 1 << tap_random(&seed) % 4);
			break;
		case 1:
			put(m, l1 + 8 * (tap_random(&seed) % 4), interesting(m), 8);
			break;
		case 2:
		case 3:
			l2 = get(m, l1) & Q2_OFFSET;
			if (l2 && l2 < m->size)
				put(m, l2 + 8 * (tap_random(&seed) % (how->cluster_size / 8)), interesting(m),
				    8);
			break;
		case 4: /* the start of any cluster: tables, counts, compressed data, snapshots */
			at = tap_random(&seed) % (m->size / how->cluster_size + 1) * how->cluster_size;
			put(m, at + tap_random(&seed) % 128, interesting(m), 1 << tap_random(&seed) % 4);
			break;
		default:
			at = tap_random(&seed) % m->size;
			m->now[at] ^= 1 << tap_random(&seed) % 8;
		}
	}
	if (tap_random(&seed) % 16 == 0)
		m->size = tap_random(&seed) % (m->size + 1);
}

static void test_random(void)
{
	static const struct qcow2_create kinds[] = {
		{ .size = DISK, .version = 3, .cluster_size = 512, .refcount_bits = 16 },
		{ .size = DISK, .version = 2, .cluster_size = 4096, .refcount_bits = 16 },
		{ .size = DISK,
		  .version = 3,
		  .cluster_size = 4096,
		  .refcount_bits = 16,
		  .lazy_refcounts = true },
		{ .size = DISK, .version = 3, .cluster_size = 4096, .refcount_bits = 8, .zstd = true },
		{ .size = DISK,
		  .version = 3,
		  .cluster_size = 16384,
		  .refcount_bits = 16,
		  .extended_l2 = true },
	};
	const char *times = getenv("TEST_TIMES");
	unsigned int i, n, rounds = times ? strtoul(times, NULL, 0) : 60;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct mem *base = make(&kinds[i]);
		struct timespec a, b;

		clock_gettime(CLOCK_MONOTONIC, &a);
		for (n = 0; n < rounds; n++) {
			struct mem *m = copy_of(base), *below = NULL;

			if (n % 3 == 0) {
				below = mem_new();
				below->size = DISK / 2;
			}
			mutate(m, &kinds[i]);
			use(m, below);
		}
		clock_gettime(CLOCK_MONOTONIC, &b);
		ok(1, "%u damaged images with clusters of %u: %lld s", rounds, kinds[i].cluster_size,
		   (long long)(b.tv_sec - a.tv_sec));
		bfile_close(&base->f);
	}
}

static int try_open(const struct mem *base, uint64_t off, uint64_t val, unsigned int len)
{
	struct mem *m = copy_of(base);
	struct block blk;
	int err;

	put(m, off, val, len);
	err = mem_open(&blk, m, false, NULL);
	if (!err)
		block_close(&blk);
	return err;
}

static void test_header(void)
{
	static const struct {
		const char *name;
		unsigned int off, len;
		uint64_t val;
	} cases[] = {
		{ "another magic", 0, 4, 0x514649fc },
		{ "version 1", 4, 4, 1 },
		{ "version 4", 4, 4, 4 },
		{ "encryption", 32, 4, 1 },
		{ "clusters of 256 bytes", 20, 4, 8 },
		{ "clusters of 4M", 20, 4, 22 },
		{ "a shift of 2^32 - 1", 20, 4, UINT32_MAX },
		{ "no size", 24, 8, 0 },
		{ "an odd size", 24, 8, 513 },
		{ "the largest size", 24, 8, UINT64_MAX },
		{ "a size beyond its tables", 24, 8, 1ull << 50 },
		{ "no L1 table", 36, 4, 0 },
		{ "a huge L1 table", 36, 4, UINT32_MAX },
		{ "an L1 table of 32 MiB in a small file", 36, 4, 4 << 20 },
		{ "an L1 table out of the file", 40, 8, 1ull << 40 },
		{ "an L1 table whose end overflows", 40, 8, UINT64_MAX & ~4095ull },
		{ "an unaligned L1 table", 40, 8, 4097 },
		{ "a refcount table out of the file", 48, 8, 1ull << 40 },
		{ "an unaligned refcount table", 48, 8, 513 },
		{ "no refcount table", 56, 4, 0 },
		{ "a huge refcount table", 56, 4, UINT32_MAX },
		{ "snapshots without end", 60, 4, UINT32_MAX },
		{ "snapshots out of the file", 64, 8, 1ull << 40 },
		{ "unknown features", 72, 8, 1ull << 40 },
		{ "an external data file", 72, 8, 4 },
		{ "an unknown compression", 104, 1, 2 },
		{ "compression without its feature", 104, 1, 1 },
		{ "extended L2 in small clusters", 72, 8, 16 },
		{ "the mark of damage", 72, 8, 2 },
		{ "counts of 128 bits", 96, 4, 7 },
		{ "a header longer than its cluster", 100, 4, 8192 },
		{ "a header of no length", 100, 4, 0 },
		{ "an odd header length", 100, 4, 109 },
		{ "a backing file's name behind the cluster", 8, 8, 4095 },
	};
	const struct qcow2_create how = {
		.size = DISK, .version = 3, .cluster_size = 4096, .refcount_bits = 16
	};
	struct mem *base = make(&how);
	unsigned int i;

	put(base, 16, 1023, 4); /* the length of a name, unless its offset is 0 */
	is_u64(try_open(base, 0, 0x514649fb, 4), 0, "the image as it is");
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ok(try_open(base, cases[i].off, cases[i].val, cases[i].len), "refused: %s", cases[i].name);
	bfile_close(&base->f);
}

/* A table that says it is its own data: a guest must not get at it by writing. */
static void test_overlap(void)
{
	const struct qcow2_create how = {
		.size = DISK, .version = 3, .cluster_size = 4096, .refcount_bits = 16
	};
	static const char *const names[] = { "the header", "the refcount table", "the L1 table" };
	static uint8_t buf[4096];
	struct mem *base = make(&how);
	uint64_t where[3] = { 0, get(base, 48), get(base, 40) };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		struct mem *m = copy_of(base);
		uint64_t l1 = get(m, 40), l2;
		struct block blk;
		uint8_t was[512];

		/* The active table's, after the snapshots: exclusive. */
		put(m, l1, l2 = (m->size + 4095) & ~4095ull, 8);
		m->size = l2 + 4096;
		put(m, l1, l2 | Q2_COPIED, 8);
		put(m, l2, where[i] | Q2_COPIED, 8);
		memcpy(was, m->now + where[i], 512);
		if (!ok(!mem_open(&blk, m, false, NULL), "an L2 entry that leads to %s", names[i]))
			continue;
		memset(buf, 0x5a, sizeof(buf));
		block_write(&blk, &(struct iovec){ buf, 4096 }, 1, 0, false);
		ok(!memcmp(was, m->now + where[i], 512), "is not written through");
		block_close(&blk);
	}
	bfile_close(&base->f);
}

static char dir[] = "/tmp/tenon-hostile-XXXXXX";

static char *path(const char *name)
{
	static char buf[4][160];
	static unsigned int i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", dir, name);
	return buf[i];
}

static void overlay(const char *name, const char *backing, const char *format)
{
	const struct file_open create = { .create = true, .overwrite = true };
	const struct qcow2_create how = {
		.size = DISK,
		.version = 3,
		.cluster_size = 65536,
		.refcount_bits = 16,
		.backing = backing,
		.backing_format = format,
	};
	int err;
	struct bfile *f = file_open(path(name), &create, &err);

	if (!f || qcow2_create(f, &how))
		abort();
	bfile_close(f);
}

static int try_path(const char *name, enum block_backing backing)
{
	const struct block_options opts = { .readonly = true, .backing = backing };
	struct block blk;
	int err = block_open(&blk, path(name), &opts);

	if (!err)
		block_close(&blk);
	return err;
}

static void raw(const char *name)
{
	int fd = open(path(name), O_RDWR | O_CREAT, 0600);

	if (fd < 0 || ftruncate(fd, DISK))
		abort();
	close(fd);
}

static void test_backing(void)
{
	unsigned int i;
	char name[32], next[32];

	if (!mkdtemp(dir) || mkdir(path("in"), 0700) || mkdir(path("in/sub"), 0700))
		abort();
	raw("out.raw");
	raw("in/in.raw");
	raw("in/sub/deep.raw");
	if (symlink("../out.raw", path("in/link.raw")))
		abort();
	overlay("in/a.qcow2", "in.raw", "raw");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), 0, "a backing file beside the image");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_NONE), (uint64_t)-EPERM, "none is allowed");
	overlay("in/a.qcow2", "sub/deep.raw", "raw");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), 0, "one below");
	overlay("in/a.qcow2", path("in/in.raw"), "raw");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), 0, "an absolute name of one beside it");
	overlay("in/a.qcow2", "../out.raw", "raw");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), (uint64_t)-EXDEV, "not one above");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_ANY), 0, "unless that is allowed");
	overlay("in/a.qcow2", "link.raw", "raw");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), (uint64_t)-EXDEV, "not by a symbolic link");
	overlay("in/a.qcow2", "/etc/passwd", "raw");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), (uint64_t)-EXDEV, "not /etc/passwd");
	overlay("in/a.qcow2", "in.raw", NULL);
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), (uint64_t)-EINVAL, "a format is not guessed");
	overlay("in/a.qcow2", "a.qcow2", "qcow2");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), (uint64_t)-ELOOP, "its own backing file");
	overlay("in/a.qcow2", "b.qcow2", "qcow2");
	overlay("in/b.qcow2", "a.qcow2", "qcow2");
	is_u64(try_path("in/a.qcow2", BLOCK_BACKING_INSIDE), (uint64_t)-ELOOP, "a circle of two");
	overlay("in/c0.qcow2", "in.raw", "raw");
	for (i = 1; i <= BLOCK_CHAIN_MAX; i++) {
		snprintf(name, sizeof(name), "in/c%u.qcow2", i);
		snprintf(next, sizeof(next), "c%u.qcow2", i - 1);
		overlay(name, next, "qcow2");
	}
	snprintf(name, sizeof(name), "in/c%u.qcow2", BLOCK_CHAIN_MAX - 2);
	is_u64(try_path(name, BLOCK_BACKING_INSIDE), 0, "a chain of %u", BLOCK_CHAIN_MAX);
	snprintf(name, sizeof(name), "in/c%u.qcow2", BLOCK_CHAIN_MAX);
	is_u64(try_path(name, BLOCK_BACKING_INSIDE), (uint64_t)-ELOOP, "a longer chain");
	/* What a guest writes into a raw disk does not make it another kind of disk. */
	if (rename(path("in/c0.qcow2"), path("in/disk.img")))
		abort();
	is_u64(block_driver_by_path(path("in/disk.img")) == &block_raw, 1,
	       "a raw disk's content is not looked at");
	is_u64(try_path("in/disk.img", BLOCK_BACKING_INSIDE), 0, "and it opens as raw");
	if (rename(path("out.raw"), path("out.qcow2")))
		abort();
	is_u64(try_path("out.qcow2", BLOCK_BACKING_INSIDE), (uint64_t)-EINVAL,
	       "*.qcow2 without the magic is refused");
	snprintf(name, sizeof(name), "%s", dir);
	if (strlen(name) && !strncmp(name, "/tmp/tenon-hostile-", 19)) {
		char cmd[64];

		snprintf(cmd, sizeof(cmd), "rm -r %s", name);
		if (system(cmd))
			abort();
	}
}

int main(void)
{
	seed = tap_seed(0xbadc0de);
	diag("TEST_SEED=%#llx", (unsigned long long)seed);
	if (!getenv("TEST_STDERR") && !freopen("/dev/null", "w", stderr))
		return 1;
	test_header();
	test_overlap();
	test_backing();
	test_random();
	return tap_done();
}
