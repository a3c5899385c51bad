/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * qcow2.h - qcow2 images: format and state, shared by the qcow2-*.c
 *
 * The format: "The qcow2 image format" (QEMU, docs/interop/qcow2.txt). The rules by which an image survives a
 * crash: Documentation/block.rst.
 *
 * Locks: q->lock is held for reading while data of existing mappings is transferred, for writing whenever
 * a mapping or refcount changes. Readers take q->cache_lock inside it to look at tables. Functions that need
 * q->lock for writing say so by starting with "q2_", but for q2_lookup() and q2_read(), which need it for
 * reading.
 */
#ifndef TENON_QCOW2_H
#define TENON_QCOW2_H

#include <assert.h>
#include <endian.h>
#include <pthread.h>

#include "block.h"

#define Q2_MAGIC		0x514649fbu
#define Q2_OFFSET		0x00fffffffffffe00ull /* of table entries */
#define Q2_COPIED		(1ull << 63)	      /* this is the only reference */
#define Q2_COMPRESSED		(1ull << 62)
#define Q2_ZERO			1ull

#define Q2_INCOMPAT_DIRTY	1u
#define Q2_INCOMPAT_CORRUPT	2u
#define Q2_INCOMPAT_DATA_FILE	4u
#define Q2_INCOMPAT_COMPRESSION 8u
#define Q2_INCOMPAT_EXTL2	16u
#define Q2_COMPAT_LAZY		1u
#define Q2_AUTOCLEAR_BITMAPS	1u

#define Q2_EXT_END		0u
#define Q2_EXT_FORMAT		0xe2792acau

#define Q2_L1_MAX		(32u << 20) /* bytes */
#define Q2_RT_MAX		(8u << 20)  /* bytes */
#define Q2_SNAPSHOTS_MAX	65536u
#define Q2_SNAPTAB_MAX		(64u << 20) /* bytes */
#define Q2_SNAPEXTRA_MAX	1024u
#define Q2_BACKING_MAX		1023u

/* Big endian. */
struct q2_header {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_len;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_size;
	uint64_t l1_offset;
	uint64_t rt_offset;
	uint32_t rt_clusters;
	uint32_t nr_snapshots;
	uint64_t snapshots_offset;
	/* version 3 */
	uint64_t incompat, compat, autoclear;
	uint32_t refcount_order;
	uint32_t header_length;
	uint8_t compression;
	uint8_t pad[7];
};

static_assert(sizeof(struct q2_header) == 112, "header");
static_assert(offsetof(struct q2_header, incompat) == 72, "version 2 part");
static_assert(offsetof(struct q2_header, compression) == 104, "compression type");

struct q2_snapshot_header {
	uint64_t l1_offset;
	uint32_t l1_size;
	uint16_t id_len, name_len;
	uint32_t date_sec, date_nsec;
	uint64_t vm_clock;
	uint32_t vm_state_size;
	uint32_t extra_len;
};

static_assert(sizeof(struct q2_snapshot_header) == 40, "snapshot header");

struct q2_snapshot {
	uint64_t l1_offset;
	uint32_t l1_size;
	char *id, *name;
	uint32_t date_sec, date_nsec;
	uint64_t vm_clock, vm_state_size;
	uint64_t disk_size; /* UINT64_MAX: not recorded */
	uint8_t *extra;	    /* as read, kept */
	uint32_t extra_len;
};

/* A cached cluster of L2 entries or refcounts, as it is in the file. */
struct q2_table {
	struct q2_table *next; /* in its hash chain */
	uint64_t off;
	uint64_t used; /* time of last use */
	bool dirty;
	bool fresh; /* L2: nothing on disk refers to it yet */
	uint8_t *data;
};

#define Q2_HASH 256u

struct q2_cache {
	struct q2_table *hash[Q2_HASH];
	unsigned int nr, nr_dirty, max;
	uint64_t clock;
};

struct q2_range {
	uint64_t off, len;
};

struct qcow2 {
	struct block *blk;
	struct bfile *f;
	pthread_rwlock_t lock;
	pthread_mutex_t cache_lock;

	/* the header; sector 0 is always written as a whole, so that its changes are atomic */
	uint8_t sector0[512];
	unsigned int version, cluster_bits;
	uint64_t incompat, compat, autoclear;
	unsigned int refcount_order;
	uint8_t compression;
	char backing_format[16], *backing_name;
	bool lazy;
	bool corrupt_told;

	/* derived */
	uint64_t cluster_size;
	unsigned int l2_bits;	 /* log2 of entries in an L2 table */
	unsigned int entry_size; /* 8, or 16 with extended L2 */
	unsigned int nr_sub;	 /* subclusters in a cluster */
	unsigned int rb_bits;	 /* log2 of entries in a refcount block */

	/* tables in memory, in host byte order */
	uint64_t *l1, l1_offset;
	uint32_t l1_size;
	uint32_t l1_dirty_lo, l1_dirty_hi; /* [lo, hi) */
	uint64_t *rt, rt_offset;
	uint32_t rt_size, rt_clusters;
	struct q2_snapshot *snap;
	unsigned int nr_snaps;
	uint64_t snap_offset, snap_len;
	struct q2_cache l2, rb;

	/* allocation */
	uint64_t hint;	   /* no cluster below is known to be free */
	uint64_t file_end; /* no allocated data of this run lies beyond */
	uint64_t comp_off; /* where the next compressed cluster may go on; 0: nowhere */
	/* Clusters that nothing in memory refers to but the disk may: freed after the next commit. */
	struct q2_range *freed;
	unsigned int nr_freed, max_freed;
	bool synced_l2; /* nothing but data was written since the last commit */
};

/* What a guest cluster is made of. */
struct q2_map {
	bool compressed;
	bool copied;	      /* L1 and L2 entry both: may be written in place */
	uint64_t host;	      /* cluster offset; compressed: byte offset */
	uint32_t comp_len;    /* up to the end of the last sector */
	uint32_t alloc, zero; /* bit a subcluster */
	uint64_t raw;	      /* L2 entry */
};

struct q2_extent {
	enum { Q2_HOLE, Q2_ZEROS, Q2_DATA, Q2_COMP } kind;

	bool copied;
	uint64_t host; /* of the first byte */
	uint64_t len;
	struct q2_map map; /* of the first cluster */
};

static inline uint64_t q2_round(const struct qcow2 *q, uint64_t n)
{
	return (n + q->cluster_size - 1) & ~(q->cluster_size - 1);
}

static inline uint32_t q2_sub_mask(const struct qcow2 *q)
{
	return q->nr_sub == 32 ? UINT32_MAX : 1;
}

/* Guest bytes that an L1 entry covers, as a shift. */
static inline unsigned int q2_l1_shift(const struct qcow2 *q)
{
	return q->cluster_bits + q->l2_bits;
}

/* Say that the image is damaged, once, and return -EIO. */
int q2_corrupt(struct qcow2 *q, const char *what, uint64_t at);

/* qcow2.c */
int q2_write_header(struct qcow2 *q);
/* First change of the run to what refcounts count: lazy images get their dirty bit. */
int q2_set_dirty(struct qcow2 *q);
/* The header's fields are checked, tables are read. */
int q2_load_tables(struct qcow2 *q, uint64_t l1_offset, uint32_t l1_size, uint64_t **l1);
bool q2_table_in_file(struct qcow2 *q, uint64_t off, uint64_t len);
uint64_t q2_l1_needed(const struct qcow2 *q, uint64_t size);

/* qcow2-cache.c */
/* The table at @off, read if need be; valid until the next call for this cache. */
int q2_cache_get(struct qcow2 *q, struct q2_cache *c, uint64_t off, struct q2_table **tab);
/* A table that is not in the file yet: zeroed and dirty. */
int q2_cache_new(struct qcow2 *q, struct q2_cache *c, uint64_t off, struct q2_table **tab);
void q2_cache_dirty(struct q2_cache *c, struct q2_table *tab);
void q2_cache_forget(struct q2_cache *c, uint64_t off);
void q2_cache_drop(struct q2_cache *c);
int q2_cache_write(struct qcow2 *q, struct q2_cache *c, bool fresh_only);
/* Bring everything into the file in the order that a crash allows; Documentation/block.rst. */
int q2_commit(struct qcow2 *q);
/* Commit if too much is held back. */
int q2_throttle(struct qcow2 *q);

/* qcow2-map.c */
int q2_lookup(struct qcow2 *q, uint64_t off, uint64_t len, struct q2_extent *ext);
int q2_get_map(struct qcow2 *q, uint64_t off, struct q2_map *map);
void q2_decode(const struct qcow2 *q, const uint8_t *entry, bool l1_copied, struct q2_map *map);
/* Change an entry; the L2 table is allocated or copied first if need be. */
int q2_set_map(struct qcow2 *q, uint64_t off, uint64_t entry, uint32_t alloc, uint32_t zero);
/* What an entry refers to will be freed. */
int q2_release(struct qcow2 *q, const struct q2_map *map);
int q2_set_l1(struct qcow2 *q, uint32_t idx, uint64_t entry);

/* qcow2-refcount.c */
uint64_t q2_rc_entry(const uint8_t *block, unsigned int order, uint64_t idx);
void q2_rc_set_entry(uint8_t *block, unsigned int order, uint64_t idx, uint64_t val);
int q2_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *count);
/* Change the counts of all clusters that [off, off + len) touches by @delta (1 or -1). */
int q2_ref(struct qcow2 *q, uint64_t off, uint64_t len, int delta);
/* @n clusters in a row, with a count of 1. */
int q2_alloc(struct qcow2 *q, uint64_t n, uint64_t *off);
/* Give back what nothing on disk has ever referred to. */
void q2_unalloc(struct qcow2 *q, uint64_t off, uint64_t len);
int q2_free_later(struct qcow2 *q, uint64_t off, uint64_t len);
int q2_apply_freed(struct qcow2 *q);
/* Would data there destroy the image? */
bool q2_is_metadata(const struct qcow2 *q, uint64_t off, uint64_t len);

/* qcow2-io.c */
int q2_read(struct qcow2 *q, struct block_cursor *cur, uint64_t len, uint64_t off);
int qcow2_read(struct block *blk, struct block_cursor *cur, uint64_t len, uint64_t off);
int qcow2_write(struct block *blk, struct block_cursor *cur, uint64_t len, uint64_t off);
bool qcow2_place(struct block *blk, bool write, uint64_t off, uint64_t len, uint64_t *at);
void qcow2_hold(struct block *blk, bool on);
int qcow2_discard(struct block *blk, uint64_t off, uint64_t len);
int qcow2_zero(struct block *blk, uint64_t off, uint64_t len, bool unmap);
int qcow2_extent(struct block *blk, uint64_t off, uint64_t len, enum block_kind *kind, uint64_t *n);
int q2_zero_range(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap);
/* Forget all mappings of whole clusters in a range: the backing file shows through. */
int q2_unmap(struct qcow2 *q, uint64_t off, uint64_t len);
/* One whole cluster, compressed. 1: does not get smaller, nothing was written. */
int qcow2_write_compressed(struct block *blk, const void *buf, uint64_t off);

/* qcow2-resize.c */
int qcow2_resize(struct block *blk, uint64_t size);
int q2_grow_l1(struct qcow2 *q, uint64_t entries);

/* qcow2-snapshot.c */
int q2_snapshots_load(struct qcow2 *q, uint32_t nr, uint64_t off);
void q2_snapshots_drop(struct qcow2 *q);
struct q2_snapshot *qcow2_snapshot_find(struct block *blk, const char *name);
int qcow2_snapshot_create(struct block *blk, const char *name);
int qcow2_snapshot_apply(struct block *blk, const char *name);
int qcow2_snapshot_delete(struct block *blk, const char *name);
/* Set the flag of exactly those active entries whose target has a count of 1. */
int q2_fix_copied(struct qcow2 *q, bool only_clear);

/* qcow2-check.c */
struct qcow2_check {
	uint64_t corruptions;	      /* references without a count, to nowhere, flags that would lose data */
	uint64_t leaks;		      /* clusters counted too high */
	uint64_t flags;		      /* flags that cost time, not data */
	uint64_t clusters, allocated; /* of the guest */
	uint64_t host_clusters;
	bool repaired;
	bool quiet;
	bool partial; /* leaks were not looked for */
};

int qcow2_check(struct block *blk, bool repair, struct qcow2_check *res);

#endif /* TENON_QCOW2_H */
