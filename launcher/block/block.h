/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * block.h - disk images: what every format offers, and the files they lie in
 *
 * The format of an image is said by the user or by the file's name, never by its content: a guest could write
 * another format's header into its raw disk and have it interpreted at the next start.
 * Documentation/block.rst has the rules, and the invariants that make qcow2 survive a crash.
 */
#ifndef TENON_BLOCK_H
#define TENON_BLOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_SECTOR	512u
#define BLOCK_CHAIN_MAX 32u /* images in a backing chain */

/* Where in a vector of buffers the next byte comes from or goes to. */
struct block_cursor {
	const struct iovec *iov;
	unsigned int nr;
	size_t skip; /* of iov[0] */
};

void cursor_advance(struct block_cursor *cur, uint64_t len);
void cursor_zero(struct block_cursor *cur, uint64_t len);
void cursor_put(struct block_cursor *cur, const void *buf, uint64_t len);
void cursor_get(struct block_cursor *cur, void *buf, uint64_t len);

/*
 * A file below an image. Its own threads' safety: any number of calls at a time, but resize() alone.
 * read() consumes @len bytes of the cursor and returns how many the file had; the rest is zeroed.
 */
struct bfile;

struct bfile_ops {
	int64_t (*read)(struct bfile *f, struct block_cursor *cur, uint64_t len, uint64_t off);
	int (*write)(struct bfile *f, struct block_cursor *cur, uint64_t len, uint64_t off);
	int (*sync)(struct bfile *f);
	int64_t (*size)(struct bfile *f);
	int (*resize)(struct bfile *f, uint64_t size);
	/* Make a range read as zeros, giving its space back if @unmap; -EOPNOTSUPP if there is no quick way.
	 */
	int (*zero)(struct bfile *f, uint64_t off, uint64_t len, bool unmap);
	/* Optional: the content of a range does not matter any more. */
	int (*discard)(struct bfile *f, uint64_t off, uint64_t len);
	/* Optional: provide the space of a range, content unchanged. */
	int (*reserve)(struct bfile *f, uint64_t off, uint64_t len);
	/*
	 * Optional, for transfers that do not go through here (ring.h): the descriptor; whether it takes these buffers as
	 * they are; and no read-modify-write meanwhile.
	 */
	int (*fd)(struct bfile *f);
	bool (*takes)(struct bfile *f, const struct iovec *iov, unsigned int nr, uint64_t off);
	void (*hold)(struct bfile *f, bool on);
	/* Optional: how far from @off is all data, or all hole (*hole)? */
	uint64_t (*extent)(struct bfile *f, uint64_t off, uint64_t len, bool *hole);
	void (*close)(struct bfile *f);
};

struct bfile {
	const struct bfile_ops *ops;
	/* Data that was reported written may be lost: no later sync can heal that. */
	atomic_bool sync_failed;
	bool unsafe;	   /* sync does nothing */
	char *path;	   /* for messages */
	uint64_t dev, ino; /* 0: not a file of the host */
};

/* Plain buffers; a read of less than @len is -EIO. */
int bfile_read(struct bfile *f, void *buf, uint64_t len, uint64_t off);
int bfile_write(struct bfile *f, const void *buf, uint64_t len, uint64_t off);
/* Bring all completed writes to stable storage. Once this has failed it fails for the rest of the run. */
int bfile_sync(struct bfile *f);
void bfile_close(struct bfile *f);

enum block_cache {
	BLOCK_WRITEBACK,    /* the host caches; a flush syncs */
	BLOCK_WRITETHROUGH, /* every write syncs */
	BLOCK_NONE,	    /* O_DIRECT */
	BLOCK_UNSAFE,	    /* flushes do nothing */
};

extern const char *const block_cache_names[];
bool block_cache_by_name(const char *name, enum block_cache *cache);

/* Who transfers what has its place in the file. */
enum block_aio {
	BLOCK_AIO_DEFAULT,  /* io_uring where the host has it and does not cache */
	BLOCK_AIO_THREADS,  /* a thread for each request */
	BLOCK_AIO_URING,    /* by io_uring, several of a thread's at a time */
};

/* Which files an image may name as its backing file. */
enum block_backing {
	BLOCK_BACKING_INSIDE, /* those in its own directory, or below */
	BLOCK_BACKING_ANY,
	BLOCK_BACKING_NONE,
};

struct block_driver;

/* A backing file that was opened, and locked, elsewhere. It stays its owner's. */
struct block_given {
	int fd;
	const char *path; /* for messages */
	const struct block_driver *format;
};

struct block_options {
	const struct block_driver *format; /* NULL: by the file's name */
	bool readonly;
	bool snapshot; /* writes go to a temporary overlay that is dropped at the end */
	bool discard;  /* give the space of discarded ranges back */
	enum block_cache cache;
	enum block_backing backing;
	const struct block_given *given; /* the backing files, each that of the one before it: nothing else is opened */
	unsigned int nr_given;
	bool backing_writable;	     /* for commit */
	bool no_lock;		     /* look at an image that is in use */
	bool no_backing;	     /* only what is in this file matters */
	bool repair;		     /* opened to be repaired: leave damage alone */
	const struct block *overlay; /* opened as the backing file of that image */
};

struct block {
	const char *path; /* for messages; the caller's */
	const struct block_driver *drv;
	struct bfile *file;
	struct block *backing;	     /* reads of what is not allocated here go there; NULL: zeros */
	char *backing_path;	     /* not NULL: backing was opened with this image, by this name */
	const struct block *overlay; /* this is its backing file */
	void *priv;		     /* the driver's */
	uint64_t size;		     /* bytes, a multiple of BLOCK_SECTOR */
	bool readonly, discard, writethrough;
	struct block *under; /* snapshot: the image below the temporary overlay */
};

enum block_kind { BLOCK_HOLE, BLOCK_ZERO, BLOCK_DATA };

/* What a format provides. Ranges have been checked against size; len is not 0. */
struct block_driver {
	const char *name;
	/* blk->file, path, readonly and discard are set. Sets size; 0, or -errno with a message printed. */
	int (*open)(struct block *blk, const struct block_options *opts, unsigned int depth);
	void (*close)(struct block *blk);
	int (*read)(struct block *blk, struct block_cursor *cur, uint64_t len, uint64_t off);
	int (*write)(struct block *blk, struct block_cursor *cur, uint64_t len, uint64_t off);
	int (*flush)(struct block *blk);
	int (*discard)(struct block *blk, uint64_t off, uint64_t len);
	int (*zero)(struct block *blk, uint64_t off, uint64_t len, bool unmap);
	int (*resize)(struct block *blk, uint64_t size);
	/*
	 * Optional: where in blk->file all of a range is, if it can be read, or written over, there. While held, it stays
	 * there.
	 */
	bool (*place)(struct block *blk, bool write, uint64_t off, uint64_t len, uint64_t *at);
	void (*hold)(struct block *blk, bool on);
	/* How much from @off on is of one kind; BLOCK_HOLE: what the backing file has there, or zeros. */
	int (*extent)(struct block *blk, uint64_t off, uint64_t len, enum block_kind *kind, uint64_t *n);
};

extern const struct block_driver block_raw, block_qcow2;

/* "raw", "qcow2"; NULL for others. */
const struct block_driver *block_driver_by_name(const char *name);
/* What a name without format= means: *.qcow2 is qcow2, everything else raw. */
const struct block_driver *block_driver_by_path(const char *path);

/* Open an image and lock it against others. 0, or -errno with a message printed. */
int block_open(struct block *blk, const char *path, const struct block_options *opts);
/* The same on a descriptor that was opened, and its file locked, elsewhere; not for snapshots. */
int block_open_fd(struct block *blk, int fd, const char *path, const struct block_options *opts);
/* The same on an open file, which belongs to the image from then on, success or not. @backing may be NULL. */
int block_open_file(struct block *blk, const char *path, struct bfile *file, struct block *backing,
		    const struct block_options *opts, unsigned int depth);
/* 0, or -errno with a message printed if data may be lost. */
int block_close(struct block *blk);

/*
 * Transfer all of @iov at byte @off. @sync: on stable storage before return. Any thread, several at a time;
 * ranges beyond size are -EINVAL. 0 or -errno.
 */
int block_read(struct block *blk, const struct iovec *iov, unsigned int nr, uint64_t off);
int block_write(struct block *blk, const struct iovec *iov, unsigned int nr, uint64_t off, bool sync);
int block_flush(struct block *blk);
/*
 * For transfers by a ring (ring.h): the descriptor of the file, or -1; and between block_hold(on) and block_hold(off), which
 * may be another thread's if neither does anything else with the image meanwhile, where in the file a range is. False: for
 * block_read() and block_write() only.
 */
int block_fd(struct block *blk);
void block_hold(struct block *blk, bool on);
bool block_place(struct block *blk, bool write, const struct iovec *iov, unsigned int nr, uint64_t off, uint64_t *at);
/* Content of the range becomes undefined (discard) or zero; @unmap: its space may be given back. */
int block_discard(struct block *blk, uint64_t off, uint64_t len);
int block_zero(struct block *blk, uint64_t off, uint64_t len, bool unmap);
int block_resize(struct block *blk, uint64_t size);
int block_extent(struct block *blk, uint64_t off, uint64_t len, enum block_kind *kind, uint64_t *n);

/* file.c: files of the host */

struct file_open {
	bool readonly, direct, unsafe, no_lock;
	bool create, overwrite; /* a new file; of a name that may exist */
	int dir;		/* with beneath: the directory that may not be left */
	bool beneath;
};

/* An open, locked file, or NULL with *err and a message printed. */
struct bfile *file_open(const char *path, const struct file_open *how, int *err);
/* What another process has opened and locked so; the descriptor is the file's, success or not. @path: for messages. */
struct bfile *file_adopt(int fd, const char *path, const struct file_open *how, int *err);
/* Lock a file for as long as any duplicate of the descriptor is open. 0, or -EBUSY with a message printed. */
int file_lock(int fd, const char *path, bool readonly);
/* The descriptor of an open file of the host's. */
int file_fd(const struct bfile *f);
/* A lock of which writers get their turn; who has it for reading must not take it again. */
void block_rwlock_init(pthread_rwlock_t *lock);
/* A file without a name, gone when it is closed. */
struct bfile *file_temporary(int *err);

/* nbd.c: what a server of another process or machine exports */

/* Is it the address of one, and no name of a file? */
bool nbd_uri(const char *path);
/* Connected, or NULL with *err and a message printed. */
struct bfile *nbd_file_open(const char *uri, const struct file_open *how, int *err);

/* Making images */

enum block_prealloc { PREALLOC_OFF, PREALLOC_METADATA, PREALLOC_FALLOC, PREALLOC_FULL };

struct qcow2_create {
	uint64_t size;
	unsigned int version; /* 2 or 3 */
	unsigned int cluster_size;
	unsigned int refcount_bits;
	bool extended_l2, lazy_refcounts, zstd;
	const char *backing, *backing_format; /* or NULL */
};

/* Write an empty image to an empty file. 0, or -errno with a message printed. */
int qcow2_create(struct bfile *f, const struct qcow2_create *how);
int qcow2_preallocate(struct block *blk, enum block_prealloc how);

#endif /* TENON_BLOCK_H */
