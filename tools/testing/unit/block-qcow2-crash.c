// SPDX-License-Identifier: GPL-2.0-only
/*
 * block-qcow2-crash.c - a random sequence of operations, cut after every write with any part of what was not
 * synced lost; full disks; failing syncs
 *
 * The oracle: every sector carries the number of the operation that wrote it. After a crash it may have any
 * value it had since the last flush that was acknowledged, no older one, and the image's references have to
 * be counted high enough. TEST_SEED repeats a run.
 */
#include "block-mem.h"

#define DISK	(1u << 20)
#define SECTORS (2 * DISK / 512)
#define SNAPS	4

/* Values that a sector may have after a crash. 0: zeros. */
struct sector {
	uint32_t val[64];
	unsigned int nr;
};

static struct sector may[SECTORS];
static uint32_t snap_val[SNAPS][SECTORS];
static uint64_t snap_size[SNAPS];
static bool snap_there[SNAPS], snap_changing[SNAPS];
static uint64_t seed, size_old, size_new;
static unsigned int cuts, bad, ops;
static unsigned int every = 1, events;
static char why[256];

static void now(uint64_t s, uint32_t val)
{
	struct sector *m = &may[s];

	if (m->nr == 64)
		memmove(m->val, m->val + 1, --m->nr * sizeof(m->val[0]));
	m->val[m->nr++] = val;
}

static uint32_t last(uint64_t s)
{
	return may[s].val[may[s].nr - 1];
}

static void settled(void)
{
	uint64_t s;

	for (s = 0; s < SECTORS; s++)
		may[s] = (struct sector){ { last(s) }, 1 };
	size_old = size_new;
}

static void fill(uint8_t *buf, uint64_t sector, uint64_t nr, uint32_t val)
{
	uint64_t i, j;

	for (i = 0; i < nr; i++) {
		for (j = 0; j < 512; j += 8) {
			uint32_t two[2] = { val, val ? (uint32_t)(sector + i) : 0 };

			memcpy(buf + i * 512 + j, two, 8);
		}
	}
}

static bool value(const uint8_t *buf, uint64_t sector, uint32_t *val)
{
	uint8_t want[512];

	memcpy(val, buf, 4);
	fill(want, sector, 1, *val);
	return !memcmp(want, buf, 512);
}

static bool failed(const char *what, unsigned long long at, unsigned long long val)
{
	if (!*why)
		snprintf(why, sizeof(why), "operation %u, cut %u: %s (%llu, %llu)", ops, cuts, what, at, val);
	bad++;
	return false;
}

static bool check_content(struct block *blk)
{
	static uint8_t buf[2 * DISK];
	uint64_t s;
	unsigned int i;
	uint32_t val;

	if (blk->size != size_old && blk->size != size_new)
		return failed("size", blk->size, size_old);
	if (block_read(blk, &(struct iovec){ buf, blk->size }, 1, 0))
		return failed("read", 0, 0);
	for (s = 0; s < blk->size / 512; s++) {
		if (!value(buf + s * 512, s, &val))
			return failed("torn sector", s, val);
		for (i = 0; i < may[s].nr && may[s].val[i] != val; i++)
			;
		if (i == may[s].nr && s < size_old / 512)
			return failed("lost or stale sector", s, val);
	}
	return true;
}

static bool check_snapshot(struct block *blk, unsigned int n)
{
	static uint8_t buf[2 * DISK];
	char name[16];
	uint64_t s;
	uint32_t val;

	snprintf(name, sizeof(name), "s%u", n);
	if (!qcow2_snapshot_find(blk, name))
		return snap_changing[n] || failed("snapshot is gone", n, 0);
	if (qcow2_snapshot_apply(blk, name))
		return failed("snapshot cannot be applied", n, 0);
	if (blk->size != snap_size[n])
		return failed("snapshot's size", blk->size, snap_size[n]);
	if (block_read(blk, &(struct iovec){ buf, blk->size }, 1, 0))
		return failed("read snapshot", n, 0);
	for (s = 0; s < blk->size / 512; s++) {
		if (!value(buf + s * 512, s, &val) || val != snap_val[n][s])
			return failed("snapshot's sector", s, val);
	}
	return true;
}

static bool check_tables(struct block *blk, bool exact)
{
	struct qcow2_check res = { 0 };

	if (qcow2_check(blk, false, &res))
		return failed("check", 0, 0);
	if (res.corruptions)
		return failed("damaged", res.corruptions, res.leaks);
	return !exact || !(res.leaks | res.flags) || failed("leaks", res.leaks, res.flags);
}

static void crash(struct mem *m)
{
	static const unsigned int parts[] = { 0, 16, 8, 8, 4, 12, 15, 1 };
	struct mem *c;
	struct block blk;
	unsigned int i;
	bool good;

	if (bad || events++ % every)
		return;
	cuts++;
	c = mem_crash(m, &seed, parts[cuts % 8]);
	if (mem_open(&blk, c, false, NULL)) {
		failed("does not open", 0, 0);
		return;
	}
	good = check_tables(&blk, false) && check_content(&blk);
	for (i = 0; i < SNAPS && good && cuts % 4 == 0; i++) {
		if (snap_there[i] || snap_changing[i])
			good = check_snapshot(&blk, i) && check_tables(&blk, false);
	}
	/* Nothing of it may stay for good. */
	if (good && cuts % 8 == 1) {
		struct qcow2_check res = { .quiet = true };

		good = (!qcow2_check(&blk, true, &res) || failed("repair", 0, 0)) &&
		       check_tables(&blk, true) && check_content(&blk);
	}
	block_close(&blk);
}

static void op_write(struct block *blk, bool compressed)
{
	static uint8_t buf[256 << 10];
	struct qcow2 *q = blk->priv;
	uint64_t sectors = blk->size / 512, at = tap_random(&seed) % sectors, nr, i;

	nr = 1 + tap_random(&seed) % (tap_random(&seed) % 4 ? 16 : 256);
	if (compressed) {
		nr = q->cluster_size / 512;
		at = at / nr * nr;
		if (at + nr > sectors || nr > sizeof(buf) / 512)
			return;
	}
	if (nr > sectors - at)
		nr = sectors - at;
	for (i = 0; i < nr; i++)
		now(at + i, ops);
	fill(buf, at, nr, ops);
	if (compressed ? qcow2_write_compressed(blk, buf, at * 512) < 0 :
			 block_write(blk, &(struct iovec){ buf, nr * 512 }, 1, at * 512, false))
		failed("write", at, nr);
}

static void op_zero(struct block *blk, bool discard)
{
	struct qcow2 *q = blk->priv;
	uint64_t sectors = blk->size / 512, at = tap_random(&seed) % sectors, nr,
		 unit = q->cluster_size / 512, i;

	nr = 1 + tap_random(&seed) % 512;
	if (discard) {
		at = at / unit * unit;
		nr = (nr + unit - 1) / unit * unit;
		if (at + nr > sectors)
			return;
	}
	if (nr > sectors - at)
		nr = sectors - at;
	for (i = 0; i < nr; i++)
		now(at + i, 0);
	if (discard ? block_discard(blk, at * 512, nr * 512) :
		      block_zero(blk, at * 512, nr * 512, tap_random(&seed) & 1))
		failed("zero", at, nr);
}

static void op_snapshot(struct block *blk)
{
	unsigned int n = tap_random(&seed) % SNAPS, what = tap_random(&seed) % 3;
	char name[16];
	uint64_t s;
	int err;

	snprintf(name, sizeof(name), "s%u", n);
	if (!snap_there[n]) {
		for (s = 0; s < SECTORS; s++)
			snap_val[n][s] = last(s);
		snap_size[n] = blk->size;
		snap_changing[n] = true;
		err = qcow2_snapshot_create(blk, name);
		snap_there[n] = true;
	} else if (what) {
		snap_changing[n] = true;
		err = qcow2_snapshot_delete(blk, name);
		snap_there[n] = false;
	} else {
		for (s = 0; s < SECTORS; s++)
			now(s, s < snap_size[n] / 512 ? snap_val[n][s] : 0);
		size_new = snap_size[n];
		err = qcow2_snapshot_apply(blk, name);
	}
	snap_changing[n] = false;
	if (err)
		failed("snapshot operation", n, -err);
	settled();
}

static void op_resize(struct block *blk)
{
	uint64_t size = blk->size + 512 * (1 + tap_random(&seed) % 300), s;

	if (size > 2 * DISK || bad)
		return;
	size_new = size;
	for (s = blk->size / 512; s < size / 512; s++)
		may[s] = (struct sector){ { 0 }, 1 };
	if (block_resize(blk, size))
		failed("resize", size, 0);
	settled();
}

static void run(const char *name, const struct qcow2_create *how, unsigned int nr_ops, bool snaps)
{
	struct mem *m = mem_new();
	struct block blk;
	uint64_t s, start = seed;
	bool good;

	bad = cuts = 0;
	*why = '\0';
	memset(snap_there, 0, sizeof(snap_there));
	for (s = 0; s < SECTORS; s++)
		may[s] = (struct sector){ { 0 }, 1 };
	size_old = size_new = how->size;
	m->log = true;
	if (!ok(!qcow2_create(&m->f, how) && !mem_open(&blk, m, false, NULL), "%s: made and opened", name))
		return;
	m->hook = crash;
	for (ops = 1; ops <= nr_ops && !bad; ops++) {
		unsigned int what = tap_random(&seed) % 32;

		if (what < 14)
			op_write(&blk, false);
		else if (what < 17) /* many in a cluster, more than few bits count */
			op_write(&blk, how->refcount_bits >= 16);
		else if (what < 20)
			op_zero(&blk, false);
		else if (what < 23)
			op_zero(&blk, true);
		else if (what < 28 && !block_flush(&blk))
			settled();
		else if (what < 31 && snaps)
			op_snapshot(&blk);
		else if (what == 31 && (how->version == 3 || !snaps))
			op_resize(&blk);
	}
	m->hook = NULL;
	good = !bad && !block_flush(&blk);
	settled();
	good = good && check_tables(&blk, false) && check_content(&blk);
	ok(good, "%s: %u cuts in %u operations%s%s", name, cuts, nr_ops, *why ? ": " : "", why);
	if (!good)
		diag("TEST_SEED=%#llx", (unsigned long long)start);
	/* Closed in order: nothing is left over. */
	if (good) {
		struct mem *c;
		struct block again;

		block_flush(&blk);
		((struct qcow2 *)blk.priv)->blk->discard = true;
		q2_cache_write(blk.priv, &((struct qcow2 *)blk.priv)->rb, false);
		mem_sync(&m->f);
		c = mem_crash(m, &seed, 16);
		if (!mem_open(&again, c, false, NULL)) {
			ok(check_tables(&again, true), "%s: nothing leaked: %s", name, why);
			block_close(&again);
		}
	}
	block_close(&blk);
}

static void test_enospc(void)
{
	const struct qcow2_create how = {
		.size = DISK, .version = 3, .cluster_size = 4096, .refcount_bits = 16
	};
	struct mem *m = mem_new();
	static uint8_t buf[4096], back[4096];
	struct block blk;
	unsigned int i, done = 0, wrong = 0;
	int err = 0;

	ok(!qcow2_create(&m->f, &how) && !mem_open(&blk, m, false, NULL),
	   "an image on a disk that gets full");
	m->limit = 300 << 10;
	for (i = 0; i < DISK / 4096 && !err; i++) {
		memset(buf, i + 1, sizeof(buf));
		err = block_write(&blk, &(struct iovec){ buf, 4096 }, 1, i * 4096ull, false);
		done = i;
	}
	is_u64(-err, ENOSPC, "the write for which there is no room fails");
	is_u64(block_flush(&blk), 0, "a flush of what came before does not");
	m->limit = MEM_MAX;
	memset(buf, 0xee, sizeof(buf));
	is_u64(block_write(&blk, &(struct iovec){ buf, 4096 }, 1, done * 4096ull, true), 0,
	       "with room it goes on");
	for (i = 0; i <= done; i++) {
		memset(buf, i == done ? 0xee : i + 1, sizeof(buf));
		wrong += block_read(&blk, &(struct iovec){ back, 4096 }, 1, i * 4096ull) ||
			 memcmp(buf, back, 4096);
	}
	is_u64(wrong, 0, "all of it is there");
	why[0] = 0;
	ok(check_tables(&blk, true), "and nothing leaked %s", why);
	block_close(&blk);
}

static void test_sync(void)
{
	const struct qcow2_create how = {
		.size = DISK, .version = 3, .cluster_size = 4096, .refcount_bits = 16
	};
	struct mem *m = mem_new();
	static uint8_t buf[4096];
	struct block blk, again;
	struct mem *c;

	m->log = true;
	ok(!qcow2_create(&m->f, &how) && !mem_open(&blk, m, false, NULL), "an image whose syncs fail");
	memset(buf, 0x11, sizeof(buf));
	is_u64(block_write(&blk, &(struct iovec){ buf, 4096 }, 1, 0, true), 0, "written and flushed");
	m->fail_sync = true;
	is_u64(block_write(&blk, &(struct iovec){ buf, 4096 }, 1, 65536, true), (uint64_t)-EIO,
	       "a failing flush");
	m->fail_sync = false;
	is_u64(block_flush(&blk), (uint64_t)-EIO, "stays failed");
	block_zero(&blk, 0, 4096, true);
	is_u64(block_flush(&blk), (uint64_t)-EIO, "for good");
	c = mem_crash(m, &seed, 8);
	why[0] = 0;
	ok(!mem_open(&again, c, false, NULL) && check_tables(&again, false), "the image is whole %s", why);
	is_u64(block_read(&again, &(struct iovec){ buf, 4096 }, 1, 0), 0, "it reads");
	is_u64(buf[5], 0x11, "what was flushed");
	block_close(&again);
	block_close(&blk);
}

int main(void)
{
	static const struct {
		const char *name;
		struct qcow2_create how;
		unsigned int ops;
		bool snaps;
	} kinds[] = {
		{ "4K clusters", { .version = 3, .cluster_size = 4096, .refcount_bits = 16 }, 300, false },
		{ "4K clusters, snapshots",
		  { .version = 3, .cluster_size = 4096, .refcount_bits = 16 },
		  300,
		  true },
		{ "512 byte clusters", { .version = 3, .cluster_size = 512, .refcount_bits = 16 }, 60, true },
		{ "64 bit refcounts", { .version = 3, .cluster_size = 1024, .refcount_bits = 64 }, 80, true },
		{ "4 bit refcounts", { .version = 3, .cluster_size = 8192, .refcount_bits = 4 }, 300, true },
		{ "version 2", { .version = 2, .cluster_size = 4096, .refcount_bits = 16 }, 300, true },
		{ "extended L2",
		  { .version = 3, .cluster_size = 16384, .refcount_bits = 16, .extended_l2 = true },
		  300,
		  true },
		{ "lazy refcounts",
		  { .version = 3, .cluster_size = 4096, .refcount_bits = 16, .lazy_refcounts = true },
		  250,
		  true },
		{ "64K clusters",
		  { .version = 3, .cluster_size = 65536, .refcount_bits = 16, .zstd = true },
		  300,
		  true },
	};

	unsigned int i;

	seed = tap_seed(0x1c0ffee);
	diag("TEST_SEED=%#llx", (unsigned long long)seed);
	if (!getenv("TEST_STDERR"))
		fclose(stderr);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct qcow2_create how = kinds[i].how;

		how.size = DISK - 512 * (i % 3);
		run(kinds[i].name, &how, kinds[i].ops, kinds[i].snaps);
	}
	test_enospc();
	test_sync();
	return tap_done();
}
