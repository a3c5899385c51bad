// SPDX-License-Identifier: GPL-2.0-only
/*
 * block-qcow2.c - qcow2 images under random operations
 *
 * The oracles: an array of what the disk should have; and QEMU's qemu-img and qemu-io as the other
 * implementation of the format, which examine and read what was written here, and write what is read here.
 * TEST_SEED repeats a run.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/block/qcow2.h"
#include "tap.h"

#define MAX   (48u << 20)
#define SNAPS 3

static char dir[] = "/tmp/tenon-qcow2-XXXXXX";
static uint64_t seed;
static uint8_t *model, *back, *below, *snap[SNAPS];
static uint64_t snap_size[SNAPS], below_size;
static bool have_qemu;

__attribute__((format(printf, 1, 2))) static bool sh(const char *fmt, ...)
{
	char cmd[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = snprintf(cmd, sizeof(cmd), "cd %s && { ", dir);
	n += vsnprintf(cmd + n, sizeof(cmd) - n, fmt, ap);
	va_end(ap);
	snprintf(cmd + n, sizeof(cmd) - n, "; } >log 2>&1");
	if (!system(cmd))
		return true;
	printf("# failed: %s\n", cmd);
	snprintf(cmd, sizeof(cmd), "sed 's/^/# /' %s/log | head -n 10", dir);
	return system(cmd) && false;
}

static char *path(const char *name)
{
	static char buf[4][96];
	static unsigned int i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", dir, name);
	return buf[i];
}

static void dump(const char *name, const uint8_t *data, uint64_t len)
{
	int fd = open(path(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
	uint64_t at;

	if (fd < 0 || ftruncate(fd, len))
		abort();
	for (at = 0; at < len; at += 4096) {
		uint64_t n = len - at < 4096 ? len - at : 4096;

		if ((data[at] || memcmp(data + at, data + at + 1, n - 1)) &&
		    pwrite(fd, data + at, n, at) != (ssize_t)n)
			abort();
	}
	close(fd);
}

static int open_disk(struct block *blk, const char *name, bool readonly)
{
	const struct block_options opts = { .format = &block_qcow2, .readonly = readonly, .discard = true };

	return block_open(blk, path(name), &opts);
}

/* In pieces, so that the vector's ends are within clusters. */
static bool same(struct block *blk, const uint8_t *want, uint64_t size)
{
	struct iovec iov[3];
	uint64_t i;

	if (blk->size != size) {
		diag("size %llu, want %llu", (unsigned long long)blk->size, (unsigned long long)size);
		return false;
	}
	memset(back, 0xa5, size);
	iov[0] = (struct iovec){ back, size / 3 };
	iov[1] = (struct iovec){ back + size / 3, 1 };
	iov[2] = (struct iovec){ back + size / 3 + 1, size - size / 3 - 1 };
	if (block_read(blk, iov, 3, 0)) {
		diag("read fails");
		return false;
	}
	if (!memcmp(back, want, size))
		return true;
	for (i = 0; back[i] == want[i]; i++)
		;
	diag("differs at %#llx: %02x, want %02x", (unsigned long long)i, back[i], want[i]);
	return false;
}

static bool whole(struct block *blk)
{
	struct qcow2_check res = { 0 };

	if (qcow2_check(blk, false, &res) || res.corruptions || res.leaks || res.flags) {
		diag("check: %llu damaged, %llu leaks, %llu flags", (unsigned long long)res.corruptions,
		     (unsigned long long)res.leaks, (unsigned long long)res.flags);
		return false;
	}
	return true;
}

static void junk(uint8_t *buf, uint64_t len)
{
	uint64_t i, val = tap_random(&seed);
	bool packs = val & 1;

	for (i = 0; i < len; i++) {
		if (!packs && i % 8 == 0)
			val = tap_random(&seed);
		buf[i] = val >> 8 * (i % 8);
	}
}

static uint64_t pick(uint64_t n)
{
	return tap_random(&seed) % n;
}

static bool one_op(struct block *blk, bool *there, bool may_resize)
{
	struct qcow2 *q = blk->priv;
	uint64_t at = pick(blk->size / 512) * 512, len = 512 * (1 + pick(pick(3) ? 64 : 2048)),
		 unit = q->cluster_size;
	unsigned int n = pick(SNAPS), what = pick(40);
	char name[8];
	int err = 0;

	if (len > blk->size - at)
		len = blk->size - at;
	snprintf(name, sizeof(name), "snap%u", n);
	if (what < 18) {
		/* Two buffers, the seam anywhere. */
		uint64_t cut = pick(len);

		junk(model + at, len);
		err = block_write(blk,
				  (struct iovec[]){ { model + at, cut }, { model + at + cut, len - cut } }, 2,
				  at, pick(16) == 0);
	} else if (what < 22) {
		at = at / unit * unit;
		if (at + unit <= blk->size) {
			junk(model + at, unit);
			err = qcow2_write_compressed(blk, model + at, at);
			if (err == 1)
				err = block_write(blk, &(struct iovec){ model + at, unit }, 1, at, false);
		}
	} else if (what < 27) {
		memset(model + at, 0, len);
		err = block_zero(blk, at, len, pick(2));
	} else if (what < 31) {
		/* Whole clusters: what they read as afterwards is known here, though not promised. */
		at = at / unit * unit;
		len = (len + unit - 1) / unit * unit;
		if (at + len <= blk->size && (!blk->backing || q->version == 3)) {
			memset(model + at, 0, len);
			err = block_discard(blk, at, len);
		}
	} else if (what < 33) {
		err = block_flush(blk);
	} else if (what < 38) {
		if (!there[n]) {
			memcpy(snap[n], model, blk->size);
			snap_size[n] = blk->size;
			err = qcow2_snapshot_create(blk, name);
			there[n] = true;
		} else if (pick(3)) {
			err = qcow2_snapshot_delete(blk, name);
			there[n] = false;
		} else {
			err = qcow2_snapshot_apply(blk, name);
			memcpy(model, snap[n], snap_size[n]);
		}
	} else if (may_resize) {
		uint64_t size = blk->size, old = size;

		size = pick(2) ? size + 512 * pick(8192) : size - 512 * pick(size / 1024);
		if (size && size <= MAX) {
			if (size > old)
				memset(model + old, 0, size - old);
			err = block_resize(blk, size);
		}
	}
	if (err)
		diag("operation %u fails: %s", what, strerror(-err));
	return !err;
}

static void run(const char *name, const struct qcow2_create *how, bool backing, unsigned int ops)
{
	const struct file_open create = { .create = true };
	uint64_t start = seed, blk_size;
	bool there[SNAPS] = { false }, good;
	struct qcow2_create h = *how;
	struct bfile *f;
	struct block blk;
	unsigned int i;
	char cmd[64];
	int err;

	unlink(path("disk"));
	memset(model, 0, MAX);
	if (backing) {
		h.backing = "base";
		h.backing_format = "raw";
		below_size = (h.size / 2 + pick(h.size)) & ~511ull;
		memset(below, 0, MAX);
		junk(below + 4096, below_size / 2);
		dump("base", below, below_size);
		memcpy(model, below, below_size < h.size ? below_size : h.size);
	}
	f = file_open(path("disk"), &create, &err);
	good = f && !qcow2_create(f, &h);
	bfile_close(f);
	good = good && !open_disk(&blk, "disk", false);
	if (!ok(good, "%s: made", name))
		return;
	for (i = 0; i < ops && good; i++) {
		good = one_op(&blk, there, h.version == 3);
		if (good && pick(40) == 0) {
			good = !block_close(&blk) && !open_disk(&blk, "disk", false) && whole(&blk) &&
			       same(&blk, model, blk.size);
		} else if (good && pick(10) == 0) {
			good = same(&blk, model, blk.size);
		}
	}
	good = good && same(&blk, model, blk.size);
	ok(good, "%s: %u operations", name, i);
	if (good)
		dump("model", model, blk.size);
	blk_size = blk.size;
	good = good && !block_close(&blk);
	if (good && have_qemu) {
		good = sh("qemu-img check -f qcow2 disk && qemu-img compare -f qcow2 -F raw disk model");
		ok(good, "%s: QEMU finds it whole, and the same in it", name);
		for (i = 0; i < SNAPS && good; i++) {
			if (!there[i])
				continue;
			dump("model", snap[i], snap_size[i]);
			snprintf(cmd, sizeof(cmd), "snap%u", i);
			/* Converting from a snapshot reads all its tables. */
			/* QEMU gives it the present size of the disk. */
			if (h.version == 3)
				good = sh("qemu-img convert -l %s -O raw disk out && cmp -n %llu out model",
					  cmd,
					  (unsigned long long)(snap_size[i] < blk_size ? snap_size[i] :
											 blk_size));
		}
		ok(good, "%s: and in its snapshots", name);
	}
	if (good) {
		/* And when all snapshots are gone, nothing of them is left. */
		good = !open_disk(&blk, "disk", false);
		for (i = 0; i < SNAPS && good; i++) {
			snprintf(cmd, sizeof(cmd), "snap%u", i);
			if (there[i])
				good = !qcow2_snapshot_delete(&blk, cmd);
		}
		good = good && whole(&blk) && same(&blk, model, blk.size);
		good = !block_close(&blk) && good;
		ok(good && (!have_qemu || sh("qemu-img check -f qcow2 disk")),
		   "%s: nothing left of snapshots", name);
	}
	if (!good)
		diag("TEST_SEED=%#llx", (unsigned long long)start);
}

/* What QEMU writes, and then what both write in turn. */
static void foreign(const char *name, const char *options, uint64_t size, bool compress)
{
	uint64_t start = seed;
	struct block blk;
	unsigned int i, round;
	bool good;

	memset(model, 0, MAX);
	good = sh("rm -f disk; qemu-img create -f qcow2 -o %s disk %llu", options, (unsigned long long)size);
	for (round = 0; round < 6 && good; round++) {
		char cmds[3000];
		int n = 0;

		for (i = 0; i < 20; i++) {
			uint64_t at = pick(size / 512) * 512, len = 512 * (1 + pick(512));
			unsigned int val = 1 + pick(255);

			if (len > size - at)
				len = size - at;
			if (pick(4) == 0) {
				memset(model + at, 0, len);
				n += snprintf(cmds + n, sizeof(cmds) - n, " -c 'write -z %s %llu %llu'",
					      pick(2) ? "-u" : "", (unsigned long long)at,
					      (unsigned long long)len);
			} else {
				memset(model + at, val, len);
				n += snprintf(cmds + n, sizeof(cmds) - n, " -c 'write -P %u %llu %llu'", val,
					      (unsigned long long)at, (unsigned long long)len);
			}
		}
		good = sh("qemu-io -f qcow2 %s disk && ! grep -i fail log", cmds);
		if (good && round == 1)
			good = sh("qemu-img snapshot -c one disk");
		if (good && round == 1)
			memcpy(snap[0], model, size);
		if (good && round == 3 && compress)
			good = sh("qemu-img convert -c -O qcow2 -o %s disk disk2 && mv disk2 disk", options);
		good = good && !open_disk(&blk, "disk", round % 2 == 0);
		if (!good)
			break;
		good = whole(&blk) && same(&blk, model, size);
		for (i = 0; i < 20 && good && round % 2; i++) {
			uint64_t at = pick(size / 512) * 512, len = 512 * (1 + pick(512));

			if (len > size - at)
				len = size - at;
			junk(model + at, len);
			good = !block_write(&blk, &(struct iovec){ model + at, len }, 1, at, false);
		}
		good = !block_close(&blk) && good;
		dump("model", model, size);
		good = good &&
		       sh("qemu-img check -f qcow2 disk && qemu-img compare -f qcow2 -F raw disk model");
	}
	if (good && !compress) {
		good = !open_disk(&blk, "disk", false);
		if (good) {
			good = !qcow2_snapshot_apply(&blk, "one") && same(&blk, snap[0], size) &&
			       whole(&blk) && !qcow2_snapshot_delete(&blk, "one") &&
			       same(&blk, snap[0], size) && whole(&blk);
			good = !block_close(&blk) && good;
		}
		good = good && sh("qemu-img check -f qcow2 disk");
	}
	ok(good, "QEMU's image, %s: read and written in turn", name);
	if (!good)
		diag("TEST_SEED=%#llx", (unsigned long long)start);
}

/* As a device's workers use it: several at a time, each with blocks of its own, often in the same clusters.
 */
struct worker {
	struct block *blk;
	unsigned int nr, wrong;
	uint64_t seed;
	pthread_t thread;
};

#define WORKERS	   4u
#define WORK_BLOCK 3072u

static void *work(void *opaque)
{
	struct worker *w = opaque;
	uint8_t buf[WORK_BLOCK], got[WORK_BLOCK];
	uint64_t blocks = w->blk->size / WORK_BLOCK / WORKERS;
	unsigned int i;

	for (i = 0; i < 400; i++) {
		uint64_t at = (tap_random(&w->seed) % blocks * WORKERS + w->nr) * WORK_BLOCK;

		memset(buf, tap_random(&w->seed), sizeof(buf));
		if (tap_random(&w->seed) % 8 == 0) {
			memset(buf, 0, sizeof(buf));
			w->wrong += !!block_zero(w->blk, at, sizeof(buf), i & 1);
		} else {
			w->wrong += !!block_write(w->blk, &(struct iovec){ buf, sizeof(buf) }, 1, at,
						  i % 32 == 0);
		}
		w->wrong += !!block_read(w->blk, &(struct iovec){ got, sizeof(got) }, 1, at);
		w->wrong += !!memcmp(buf, got, sizeof(buf));
		memcpy(model + at, buf, sizeof(buf));
		if (w->nr == 0 && i % 100 == 50)
			w->wrong += !!qcow2_snapshot_create(w->blk, i == 50  ? "a" :
								    i == 150 ? "b" :
									       "c") &&
				    i < 300;
	}
	return NULL;
}

static void test_threads(unsigned int cluster, bool extended)
{
	const struct qcow2_create how = {
		.size = 6 << 20,
		.version = 3,
		.cluster_size = cluster,
		.refcount_bits = 16,
		.extended_l2 = extended,
	};
	const struct file_open create = { .create = true, .overwrite = true };
	struct worker workers[WORKERS];
	unsigned int i, wrong = 0;
	struct block blk;
	struct bfile *f;
	int err;

	memset(model, 0, MAX);
	f = file_open(path("disk"), &create, &err);
	ok(f && !qcow2_create(f, &how), "threads: made");
	bfile_close(f);
	if (open_disk(&blk, "disk", false))
		return;
	for (i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){ .blk = &blk, .nr = i, .seed = tap_random(&seed) | 1 };
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
	}
	for (i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		wrong += workers[i].wrong;
	}
	is_u64(wrong, 0, "threads, %u%s: each reads what it wrote", cluster, extended ? ", extended L2" : "");
	ok(same(&blk, model, blk.size) && whole(&blk), "threads: all is there");
	ok(!block_close(&blk) && (!have_qemu || sh("qemu-img check -f qcow2 disk")), "threads: and whole");
}

int main(void)
{
	static const struct {
		const char *name;
		struct qcow2_create how;
		bool backing;
	} kinds[] = {
		{ "512 byte clusters",
		  { .size = 3 << 20, .version = 3, .cluster_size = 512, .refcount_bits = 16 },
		  0 },
		{ "version 2, 1K",
		  { .size = 5 << 20, .version = 2, .cluster_size = 1024, .refcount_bits = 16 },
		  0 },
		{ "version 2, backing file",
		  { .size = 9 << 20, .version = 2, .cluster_size = 65536, .refcount_bits = 16 },
		  1 },
		{ "4K, 64 bit counts",
		  { .size = 9 << 20, .version = 3, .cluster_size = 4096, .refcount_bits = 64 },
		  0 },
		{ "64K",
		  { .size = (20 << 20) + 512, .version = 3, .cluster_size = 65536, .refcount_bits = 16 },
		  0 },
		{ "64K, backing file",
		  { .size = (20 << 20) - 512, .version = 3, .cluster_size = 65536, .refcount_bits = 16 },
		  1 },
		{ "64K, lazy, zstd",
		  { .size = 20 << 20,
		    .version = 3,
		    .cluster_size = 65536,
		    .refcount_bits = 16,
		    .lazy_refcounts = true,
		    .zstd = true },
		  0 },
		{ "2M", { .size = 20 << 20, .version = 3, .cluster_size = 2 << 20, .refcount_bits = 32 }, 0 },
		{ "extended L2, 16K",
		  { .size = 7 << 20,
		    .version = 3,
		    .cluster_size = 16384,
		    .refcount_bits = 16,
		    .extended_l2 = true },
		  0 },
		{ "extended L2, 64K, backing file",
		  { .size = 20 << 20,
		    .version = 3,
		    .cluster_size = 65536,
		    .refcount_bits = 16,
		    .extended_l2 = true },
		  1 },
		{ "extended L2, 2M, zstd",
		  { .size = 20 << 20,
		    .version = 3,
		    .cluster_size = 2 << 20,
		    .refcount_bits = 16,
		    .extended_l2 = true,
		    .zstd = true },
		  1 },
	};

	static const struct {
		const char *name, *options;
		uint64_t size;
	} theirs[] = {
		{ "plain", "compat=1.1", 20 << 20 },
		{ "version 2", "compat=0.10,cluster_size=4k", 6 << 20 },
		{ "512 byte clusters", "cluster_size=512", 2 << 20 },
		{ "2M clusters", "cluster_size=2M", 20 << 20 },
		{ "extended L2", "extended_l2=on", 20 << 20 },
		{ "lazy refcounts, zstd", "lazy_refcounts=on,compression_type=zstd", 20 << 20 },
		{ "2 bit refcounts", "refcount_bits=2", 20 << 20 },
		{ "preallocated", "preallocation=metadata", 20 << 20 },
	};

	const char *times = getenv("TEST_TIMES");
	unsigned int i, n = times ? strtoul(times, NULL, 0) : 1;

	seed = tap_seed(0x5eed);
	diag("TEST_SEED=%#llx", (unsigned long long)seed);
	if (!mkdtemp(dir))
		return 1;
	if (!getenv("TEST_STDERR"))
		fclose(stderr);
	have_qemu = !system("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1");
	model = malloc(MAX);
	back = malloc(MAX);
	below = malloc(MAX);
	for (i = 0; i < SNAPS; i++)
		snap[i] = malloc(MAX);
	if (!have_qemu)
		skip("QEMU's tools", "qemu-img and qemu-io are not installed");
	test_threads(4096, false);
	test_threads(65536, true);
	while (n--) {
		for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
			run(kinds[i].name, &kinds[i].how, kinds[i].backing, 250);
		for (i = 0; i < sizeof(theirs) / sizeof(theirs[0]) && have_qemu; i++) {
			foreign(theirs[i].name, theirs[i].options, theirs[i].size, false);
			if (strncmp(theirs[i].options, "prealloc", 8)) /* compression excludes that */
				foreign(theirs[i].name, theirs[i].options, theirs[i].size, true);
		}
	}
	free(model);
	free(back);
	free(below);
	for (i = 0; i < SNAPS; i++)
		free(snap[i]);
	sh("rm -f disk disk2 base model out");
	unlink(path("log"));
	rmdir(dir);
	return tap_done();
}
