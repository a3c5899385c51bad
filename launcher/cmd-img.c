// SPDX-License-Identifier: GPL-2.0-only
/*
 * cmd-img.c - tenon img: disk images without a machine round them
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "block/qcow2.h"
#include "cmd.h"
#include "msg.h"

#define IMG_LEAKS   3 /* check: exit statuses of its own */
#define IMG_DAMAGED 4
#define COPY_CHUNK  (2u << 20)

static const char help[] =
	"Usage: tenon img COMMAND [OPTIONS] FILE...\n"
	"\n"
	"Makes and examines disk images. A name that ends in .qcow2 is a qcow2 image, any other is raw, "
	"whatever is in\n"
	"the file; --format says otherwise.\n"
	"\n"
	"Commands:\n"
	"  create FILE SIZE            make an image; SIZE may be left out with --backing\n"
	"  info FILE                   what an image is\n"
	"  check FILE                  examine a qcow2 image's tables\n"
	"  convert SOURCE TARGET       copy an image into a new one\n"
	"  resize FILE SIZE            make the disk larger (+SIZE: by so much) or, with --shrink, smaller\n"
	"  commit FILE                 write what an image has into its backing file, and empty it\n"
	"  snapshot list FILE          internal snapshots of a qcow2 image\n"
	"  snapshot create|apply|delete FILE NAME\n"
	"  map FILE                    which parts of the disk have data, zeros or nothing\n"
	"\n"
	"Options:\n"
	"  -f, --format FORMAT         raw or qcow2: the image; for convert: the source\n"
	"  -O, --output FORMAT         convert: of the target\n"
	"  -b, --backing FILE          create: the image that the new one builds on; read-only from then on\n"
	"  -F, --backing-format FORMAT create: its format\n"
	"  -o, --options LIST          create, convert; qcow2: cluster_size=SIZE, compat=0.10|1.1, "
	"refcount_bits=N,\n"
	"                              extended_l2=on, lazy_refcounts=on, compression_type=zlib|zstd,\n"
	"                              preallocation=off|metadata|falloc|full; raw: "
	"preallocation=off|falloc|full\n"
	"  -c, --compress              convert: to compressed clusters\n"
	"  -p, --progress              convert, commit: show it also if standard error is no terminal\n"
	"      --repair                check: count the references anew\n"
	"      --shrink                resize: the end of the disk may be lost\n"
	"      --force                 create, convert: what is in an existing file may be lost\n"
	"      --any-backing           backing files may be outside of the directory of the image that names "
	"them\n"
	"      --json                  info, check, map, snapshot list: for programs\n"
	"  -h, --help                  this text\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 wrong options; check: 3 clusters are lost but no data, 4 damaged.\n"
	"\n"
	"Examples:\n"
	"  tenon img create disk.qcow2 20G\n"
	"  tenon img create -b base.qcow2 -F qcow2 test.qcow2\n"
	"  tenon img convert -c disk.img disk.qcow2\n";

enum { OPT_REPAIR = 256, OPT_SHRINK, OPT_FORCE, OPT_ANY_BACKING, OPT_JSON };

static const struct option options[] = { { "format", required_argument, NULL, 'f' },
					 { "output", required_argument, NULL, 'O' },
					 { "backing", required_argument, NULL, 'b' },
					 { "backing-format", required_argument, NULL, 'F' },
					 { "options", required_argument, NULL, 'o' },
					 { "compress", no_argument, NULL, 'c' },
					 { "progress", no_argument, NULL, 'p' },
					 { "repair", no_argument, NULL, OPT_REPAIR },
					 { "shrink", no_argument, NULL, OPT_SHRINK },
					 { "force", no_argument, NULL, OPT_FORCE },
					 { "any-backing", no_argument, NULL, OPT_ANY_BACKING },
					 { "json", no_argument, NULL, OPT_JSON },
					 { "help", no_argument, NULL, 'h' },
					 { 0 } };

struct img {
	const struct block_driver *format, *output, *backing_format;
	const char *backing;
	struct qcow2_create create;
	enum block_prealloc prealloc;
	bool qcow2_options; /* some were given that raw has not */
	bool compress, progress, repair, shrink, force, any_backing, json;
};

/* ---- what is printed */

static void json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = *s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

/* Names come out of images: no control character reaches the terminal. */
static void text_string(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

static void progress(const struct img *img, uint64_t done, uint64_t total)
{
	static int last = -1;
	int percent = total ? (int)((double)done * 100 / (double)total) : 100;

	if (percent == last || !(img->progress || isatty(STDERR_FILENO)))
		return;
	last = percent;
	fprintf(stderr, "\r%3d%%%s", percent, done == total ? "\n" : "");
}

/* ---- helpers */

static struct block_options open_options(const struct img *img, bool readonly)
{
	return (struct block_options){
		.format = img->format,
		.readonly = readonly,
		.discard = true,
		.backing = img->any_backing ? BLOCK_BACKING_ANY : BLOCK_BACKING_INSIDE,
	};
}

static int failed(const char *what, const char *path, int err)
{
	msg_error("%s '%s': %s", what, path,
		  err == -EMLINK ? "reference counts of this width cannot count that high (refcount_bits)" :
				   strerror(-err));
	return EXIT_FAILED;
}

static struct block_driver const *driver_of(const struct block_driver *given, const char *path)
{
	return given ? given : block_driver_by_path(path);
}

/* Make and open a new image. */
static int make(const struct img *img, const char *path, const struct block_driver *drv, struct block *blk,
		const struct qcow2_create *how)
{
	const struct file_open create = { .create = true, .overwrite = img->force };
	struct block_options opts = open_options(img, false);
	struct bfile *f;
	int err;

	f = file_open(path, &create, &err);
	if (!f)
		return err;
	opts.format = drv;
	opts.no_backing = true;
	if (drv == &block_raw) {
		err = f->ops->resize(f, how->size);
		if (err)
			failed("set the size of", path, err);
		if (!err && img->prealloc == PREALLOC_FALLOC && f->ops->reserve)
			err = f->ops->reserve(f, 0, how->size);
	} else {
		err = qcow2_create(f, how);
	}
	if (err) {
		bfile_close(f);
		unlink(path);
		return err;
	}
	err = block_open_file(blk, path, f, NULL, &opts, 0);
	if (err)
		unlink(path);
	return err;
}

static int preallocate(const struct img *img, struct block *blk)
{
	int err = 0;

	if (blk->drv == &block_qcow2)
		return qcow2_preallocate(blk, img->prealloc);
	if (img->prealloc == PREALLOC_FULL) {
		uint8_t *zeros = calloc(1, COPY_CHUNK);
		uint64_t off = 0;

		err = zeros ? 0 : -ENOMEM;
		for (; off < blk->size && !err; off += COPY_CHUNK)
			err = bfile_write(blk->file, zeros,
					  blk->size - off < COPY_CHUNK ? blk->size - off : COPY_CHUNK, off);
		free(zeros);
	}
	return err;
}

static int check_options(const struct img *img, const struct block_driver *drv)
{
	if (drv == &block_raw &&
	    (img->qcow2_options || img->compress || img->backing || img->prealloc == PREALLOC_METADATA)) {
		msg_error("a raw image has no backing file, no compressed clusters and no option but "
			  "preallocation");
		return -EINVAL;
	}
	return 0;
}

/* ---- commands: argv holds what is no option */

static int img_create(struct img *img, int argc, char **argv)
{
	const struct block_driver *drv = driver_of(img->format, argv[0]);
	struct qcow2_create how = img->create;
	struct block blk;
	int err;

	if (check_options(img, drv))
		return EXIT_USAGE;
	if (argc > 1 && (parse_size(argv[1], &how.size) || !how.size || how.size > INT64_MAX)) {
		msg_error("create '%s': '%s' is not a size. Give a number and a unit, as in 20G", argv[0],
			  argv[1]);
		return EXIT_USAGE;
	}
	how.size = (how.size + BLOCK_SECTOR - 1) & ~(uint64_t)(BLOCK_SECTOR - 1);
	if (img->backing) {
		struct block_options opts = open_options(img, true);
		const char *slash = strrchr(argv[0], '/');
		size_t dir = slash && img->backing[0] != '/' ? (size_t)(slash + 1 - argv[0]) : 0;
		char path[4096];

		/* As the image will find it: relative to its own directory. */
		snprintf(path, sizeof(path), "%.*s%s", (int)dir, argv[0], img->backing);
		opts.format = img->backing_format ? img->backing_format : block_driver_by_path(path);
		how.backing = img->backing;
		how.backing_format = opts.format->name;
		if (block_open(&blk, path, &opts))
			return EXIT_FAILED;
		if (argc < 2)
			how.size = blk.size;
		block_close(&blk);
	} else if (argc < 2) {
		msg_error("create '%s': no size. Give one, as in: tenon img create '%s' 20G", argv[0],
			  argv[0]);
		return EXIT_USAGE;
	}
	if (img->backing && img->prealloc != PREALLOC_OFF) {
		msg_error("create '%s': an image with a backing file cannot be preallocated", argv[0]);
		return EXIT_USAGE;
	}
	err = make(img, argv[0], drv, &blk, &how);
	if (err)
		return EXIT_FAILED;
	err = preallocate(img, &blk);
	if (err)
		failed("preallocate", argv[0], err);
	if (block_close(&blk) || err) {
		unlink(argv[0]);
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static void print_snapshots(const struct qcow2 *q, bool json)
{
	unsigned int i;

	if (json)
		printf("[");
	else if (q->nr_snaps)
		printf("%-6s %-20s %-19s %12s\n", "ID", "NAME", "DATE", "VM STATE");
	for (i = 0; i < q->nr_snaps; i++) {
		const struct q2_snapshot *s = &q->snap[i];
		time_t when = s->date_sec;
		char date[32] = "?";
		struct tm tm;

		if (json) {
			printf("%s{\"id\": ", i ? ", " : "");
			json_string(s->id);
			printf(", \"name\": ");
			json_string(s->name);
			printf(", \"date-sec\": %u, \"date-nsec\": %u, \"vm-state-size\": %" PRIu64 "}",
			       s->date_sec, s->date_nsec, s->vm_state_size);
			continue;
		}
		if (localtime_r(&when, &tm))
			strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
		text_string(s->id);
		printf("%*s", (int)(strlen(s->id) < 7 ? 7 - strlen(s->id) : 1), "");
		text_string(s->name);
		printf("%*s%s %12" PRIu64 "\n", (int)(strlen(s->name) < 21 ? 21 - strlen(s->name) : 1), "",
		       date, s->vm_state_size);
	}
	if (json)
		printf("]");
}

static int img_info(struct img *img, int argc, char **argv)
{
	struct block_options opts = open_options(img, true);
	const struct qcow2 *q;
	struct block blk;
	struct stat st;

	(void)argc;
	/* Looking is harmless, also while a machine runs on it. */
	opts.no_lock = true;
	opts.no_backing = true;
	if (block_open(&blk, argv[0], &opts))
		return EXIT_FAILED;
	if (stat(argv[0], &st))
		st.st_blocks = 0;
	q = blk.drv == &block_qcow2 ? blk.priv : NULL;
	if (img->json) {
		printf("{\"filename\": ");
		json_string(argv[0]);
		printf(", \"format\": \"%s\", \"virtual-size\": %" PRIu64 ", \"actual-size\": %" PRIu64,
		       blk.drv->name, blk.size, (uint64_t)st.st_blocks * 512);
		if (q) {
			printf(", \"cluster-size\": %" PRIu64 ", \"dirty-flag\": %s", q->cluster_size,
			       q->incompat & Q2_INCOMPAT_DIRTY ? "true" : "false");
			if (q->backing_name) {
				printf(", \"backing-filename\": ");
				json_string(q->backing_name);
				printf(", \"backing-filename-format\": ");
				json_string(q->backing_format);
			}
			printf(", \"compat\": \"%s\", \"compression-type\": \"%s\", \"lazy-refcounts\": %s, "
			       "\"refcount-bits\": %u, \"corrupt\": %s, \"extended-l2\": %s, \"snapshots\": ",
			       q->version == 2 ? "0.10" : "1.1", q->compression ? "zstd" : "zlib",
			       q->compat & Q2_COMPAT_LAZY ? "true" : "false", 1u << q->refcount_order,
			       q->incompat & Q2_INCOMPAT_CORRUPT ? "true" : "false",
			       q->entry_size == 16 ? "true" : "false");
			print_snapshots(q, true);
		}
		printf("}\n");
	} else {
		printf("image:            %s\nformat:           %s\ndisk size:        %" PRIu64
		       " bytes (%.4g GiB)\n"
		       "space used:       %" PRIu64 " bytes\n",
		       argv[0], blk.drv->name, blk.size, (double)blk.size / (1 << 30),
		       (uint64_t)st.st_blocks * 512);
		if (q) {
			printf("cluster size:     %" PRIu64 "\ncompat:           %s\ncompression:      %s\n"
			       "refcount bits:    %u\nlazy refcounts:   %s\nextended L2:      %s\n",
			       q->cluster_size, q->version == 2 ? "0.10" : "1.1",
			       q->compression ? "zstd" : "zlib", 1u << q->refcount_order,
			       q->compat & Q2_COMPAT_LAZY ? "yes" : "no", q->entry_size == 16 ? "yes" : "no");
			if (q->incompat & (Q2_INCOMPAT_DIRTY | Q2_INCOMPAT_CORRUPT))
				printf("state:            %s\n", q->incompat & Q2_INCOMPAT_CORRUPT ?
									 "damaged" :
									 "in use, or not closed: repaired "
									 "when it is opened for writing");
			if (q->backing_name) {
				printf("backing file:     ");
				text_string(q->backing_name);
				printf(" (");
				text_string(*q->backing_format ? q->backing_format : "format not named");
				printf(")\n");
			}
			if (q->nr_snaps)
				printf("snapshots:\n");
			print_snapshots(q, false);
		}
	}
	block_close(&blk);
	return EXIT_OK;
}

static int img_check(struct img *img, int argc, char **argv)
{
	struct block_options opts = open_options(img, !img->repair);
	struct qcow2_check res = { 0 };
	struct block blk;
	int err;

	(void)argc;
	opts.no_backing = true;
	opts.repair = true;
	if (block_open(&blk, argv[0], &opts))
		return EXIT_FAILED;
	if (blk.drv != &block_qcow2) {
		msg_error("check '%s': a raw image has nothing that could be checked", argv[0]);
		block_close(&blk);
		return EXIT_FAILED;
	}
	err = qcow2_check(&blk, img->repair, &res);
	if (block_close(&blk) && !err)
		err = -EIO;
	if (err)
		return failed("check", argv[0], err);
	if (img->json)
		printf("{\"corruptions\": %" PRIu64 ", \"leaks\": %" PRIu64 ", \"stale-flags\": %" PRIu64
		       ", \"allocated-clusters\": %" PRIu64 ", \"total-clusters\": %" PRIu64
		       ", \"repaired\": %s}\n",
		       res.corruptions, res.leaks, res.flags, res.allocated, res.clusters,
		       res.repaired ? "true" : "false");
	else
		printf("%s: %" PRIu64 " damaged, %" PRIu64 " lost clusters; %" PRIu64 " of %" PRIu64
		       " clusters in use%s%s\n",
		       argv[0], res.corruptions, res.leaks, res.allocated, res.clusters,
		       res.partial ? "; lost clusters were not looked for, as the image has bitmaps" : "",
		       res.repaired ? "; repaired" : "");
	if (img->repair && res.partial)
		msg_warn(
			"'%s' has bitmaps, and was not repaired. Remove them first: qemu-img bitmap --remove",
			argv[0]);
	return res.corruptions ? IMG_DAMAGED : res.leaks ? IMG_LEAKS : EXIT_OK;
}

static bool all_zero(const uint8_t *buf, uint64_t len)
{
	return !len || (!buf[0] && !memcmp(buf, buf + 1, len - 1));
}

/* What [off, ...) reads as, through all backing files: false if surely zeros for *n bytes. */
static bool may_have_data(struct block *blk, uint64_t off, uint64_t len, uint64_t *n)
{
	enum block_kind kind;

	*n = len;
	if (block_extent(blk, off, len, &kind, n))
		return true;
	if (kind != BLOCK_HOLE)
		return kind == BLOCK_DATA;
	if (!blk->backing || off >= blk->backing->size)
		return false;
	if (*n > blk->backing->size - off)
		*n = blk->backing->size - off;
	return may_have_data(blk->backing, off, *n, n);
}

/* Write a chunk, leaving out aligned blocks of zeros: the target is new. */
static int put_chunk(const struct img *img, struct block *dst, uint8_t *buf, uint64_t len, uint64_t off,
		     uint64_t unit)
{
	uint64_t at, n, start;
	int err = 0;

	for (at = 0; at < len && !err; at += n) {
		n = unit < len - at ? unit : len - at;
		if (all_zero(buf + at, n))
			continue;
		if (img->compress) {
			/* A whole cluster, also at the end of the disk. */
			if (n < unit)
				memset(buf + at + n, 0, unit - n);
			err = qcow2_write_compressed(dst, buf + at, off + at);
			if (err <= 0)
				continue;
		} else {
			start = at;
			while (at + n < len &&
			       !all_zero(buf + at + n, unit < len - at - n ? unit : len - at - n))
				n += unit < len - at - n ? unit : len - at - n;
			at = start;
		}
		err = block_write(dst, &(struct iovec){ buf + at, n }, 1, off + at, false);
	}
	return err;
}

static int copy(const struct img *img, struct block *src, struct block *dst, const char *from)
{
	uint64_t off = 0, n,
		 unit = dst->drv == &block_qcow2 ? ((struct qcow2 *)dst->priv)->cluster_size : 4096;
	uint8_t *buf = malloc(COPY_CHUNK);
	int err = buf ? 0 : -ENOMEM;

	while (off < src->size && !err) {
		progress(img, off, src->size);
		if (!may_have_data(src, off, src->size - off, &n)) {
			/* Whole clusters of the target, or the rest would be taken for all of one. */
			if (off + n < src->size)
				n = ((off + n) & ~(unit - 1)) - off;
			if ((int64_t)n > 0) {
				off += n;
				continue;
			}
		}
		n = src->size - off < COPY_CHUNK ? src->size - off : COPY_CHUNK;
		err = block_read(src, &(struct iovec){ buf, n }, 1, off);
		if (err) {
			failed("read", from, err);
			break;
		}
		err = put_chunk(img, dst, buf, n, off, unit);
		if (err)
			failed("write", dst->path, err);
		off += n;
	}
	if (!err)
		progress(img, src->size, src->size);
	free(buf);
	return err;
}

static int img_convert(struct img *img, int argc, char **argv)
{
	const struct block_driver *drv = driver_of(img->output, argv[1]);
	struct block_options opts = open_options(img, true);
	struct qcow2_create how = img->create;
	struct block src, dst;
	int err;

	(void)argc;
	if (img->backing) {
		msg_error("convert: --backing is for create");
		return EXIT_USAGE;
	}
	if (check_options(img, drv))
		return EXIT_USAGE;
	if (block_open(&src, argv[0], &opts))
		return EXIT_FAILED;
	how.size = src.size;
	err = make(img, argv[1], drv, &dst, &how);
	if (err)
		goto out;
	err = preallocate(img, &dst);
	if (err)
		failed("preallocate", argv[1], err);
	else
		err = copy(img, &src, &dst, argv[0]);
	if (block_close(&dst) && !err)
		err = -EIO;
	if (err)
		unlink(argv[1]);
out:
	block_close(&src);
	return err ? EXIT_FAILED : EXIT_OK;
}

static int img_resize(struct img *img, int argc, char **argv)
{
	struct block_options opts = open_options(img, false);
	const char *arg = argv[1] + (argv[1][0] == '+' || argv[1][0] == '-');
	struct block blk;
	uint64_t size;
	int err;

	(void)argc;
	if (parse_size(arg, &size)) {
		msg_error("resize '%s': '%s' is not a size. Give a number and a unit, as in 20G or +5G",
			  argv[0], argv[1]);
		return EXIT_USAGE;
	}
	if (block_open(&blk, argv[0], &opts))
		return EXIT_FAILED;
	if (argv[1][0] == '+' && __builtin_add_overflow(blk.size, size, &size))
		size = UINT64_MAX;
	else if (argv[1][0] == '-')
		size = size < blk.size ? blk.size - size : 0;
	if (size < UINT64_MAX - BLOCK_SECTOR)
		size = (size + BLOCK_SECTOR - 1) & ~(uint64_t)(BLOCK_SECTOR - 1);
	if (size < blk.size && !img->shrink) {
		msg_error("resize '%s': the disk would lose its last %" PRIu64
			  " bytes. Shrink what is in it first, then "
			  "say --shrink",
			  argv[0], blk.size - size);
		err = -EINVAL;
	} else {
		err = block_resize(&blk, size);
		if (err)
			failed("resize", argv[0], err);
	}
	if (block_close(&blk))
		err = -EIO;
	return err ? EXIT_FAILED : EXIT_OK;
}

static int img_commit(struct img *img, int argc, char **argv)
{
	struct block_options opts = open_options(img, false);
	uint64_t off = 0, n;
	struct block blk;
	struct qcow2 *q;
	uint8_t *buf;
	int err = 0;

	(void)argc;
	opts.backing_writable = true;
	if (block_open(&blk, argv[0], &opts))
		return EXIT_FAILED;
	if (!blk.backing) {
		msg_error("commit '%s': it has no backing file", argv[0]);
		block_close(&blk);
		return EXIT_FAILED;
	}
	q = blk.priv;
	buf = malloc(COPY_CHUNK);
	if (!buf)
		err = -ENOMEM;
	if (!err && blk.backing->size < blk.size)
		err = block_resize(blk.backing, blk.size);
	while (off < blk.size && !err) {
		enum block_kind kind;

		progress(img, off, blk.size);
		err = block_extent(&blk, off, blk.size - off, &kind, &n);
		if (err)
			break;
		if (n > COPY_CHUNK && kind != BLOCK_HOLE)
			n = COPY_CHUNK;
		if (kind == BLOCK_ZERO)
			err = block_zero(blk.backing, off, n, true);
		if (kind == BLOCK_DATA) {
			err = block_read(&blk, &(struct iovec){ buf, n }, 1, off);
			if (!err)
				err = block_write(blk.backing, &(struct iovec){ buf, n }, 1, off, false);
		}
		off += n;
	}
	/* Only what is safe there may go from here. */
	if (!err)
		err = block_flush(blk.backing);
	if (!err) {
		pthread_rwlock_wrlock(&q->lock);
		err = q2_unmap(q, 0, q2_round(q, blk.size));
		pthread_rwlock_unlock(&q->lock);
	}
	if (!err) {
		err = block_flush(&blk);
		progress(img, blk.size, blk.size);
	}
	if (err)
		failed("commit", argv[0], err);
	free(buf);
	if (block_close(&blk))
		err = -EIO;
	return err ? EXIT_FAILED : EXIT_OK;
}

static int img_snapshot(struct img *img, int argc, char **argv)
{
	bool list = !strcmp(argv[0], "list");
	struct block_options opts = open_options(img, list);
	struct block blk;
	int err = 0;

	if (argc != (list ? 2 : 3) ||
	    (!list && strcmp(argv[0], "create") && strcmp(argv[0], "apply") && strcmp(argv[0], "delete"))) {
		msg_error("snapshot: give list FILE, create FILE NAME, apply FILE NAME or delete FILE NAME");
		return EXIT_USAGE;
	}
	opts.no_backing = true;
	opts.no_lock = list;
	if (block_open(&blk, argv[1], &opts))
		return EXIT_FAILED;
	if (blk.drv != &block_qcow2) {
		msg_error("snapshot '%s': raw images have none", argv[1]);
		block_close(&blk);
		return EXIT_FAILED;
	}
	if (list) {
		print_snapshots(blk.priv, img->json);
		if (img->json)
			putchar('\n');
	} else if (argv[0][0] == 'c') {
		err = qcow2_snapshot_create(&blk, argv[2]);
	} else if (argv[0][0] == 'a') {
		err = qcow2_snapshot_apply(&blk, argv[2]);
	} else {
		err = qcow2_snapshot_delete(&blk, argv[2]);
	}
	if (err == -ENOENT)
		msg_error("snapshot '%s': there is none of the name or id '%s'. See: tenon img snapshot list "
			  "'%s'",
			  argv[1], argv[2], argv[1]);
	else if (err)
		failed("snapshot", argv[1], err);
	if (block_close(&blk))
		err = -EIO;
	return err ? EXIT_FAILED : EXIT_OK;
}

static int img_map(struct img *img, int argc, char **argv)
{
	static const char *const kinds[] = {
		[BLOCK_HOLE] = "hole", [BLOCK_ZERO] = "zero", [BLOCK_DATA] = "data"
	};
	struct block_options opts = open_options(img, true);
	uint64_t off = 0, n, more;
	enum block_kind kind, next;
	struct block blk;
	int err = 0;

	(void)argc;
	opts.no_backing = true;
	if (block_open(&blk, argv[0], &opts))
		return EXIT_FAILED;
	if (img->json)
		printf("[");
	while (off < blk.size && !err) {
		err = block_extent(&blk, off, blk.size - off, &kind, &n);
		while (!err && off + n < blk.size &&
		       !block_extent(&blk, off + n, blk.size - off - n, &next, &more) && next == kind)
			n += more;
		if (err)
			break;
		if (img->json)
			printf("%s{\"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"kind\": \"%s\"}",
			       off ? ",\n" : "", off, n, kinds[kind]);
		else
			printf("%16" PRIu64 " %16" PRIu64 " %s\n", off, n, kinds[kind]);
		off += n;
	}
	if (img->json)
		printf("]\n");
	if (err)
		failed("map", argv[0], err);
	block_close(&blk);
	return err ? EXIT_FAILED : EXIT_OK;
}

static const struct {
	const char *name;
	int min, max; /* arguments */
	int (*fn)(struct img *img, int argc, char **argv);
} commands[] = {
	{ "create", 1, 2, img_create },	    { "info", 1, 1, img_info },	    { "check", 1, 1, img_check },
	{ "convert", 2, 2, img_convert },   { "resize", 2, 2, img_resize }, { "commit", 1, 1, img_commit },
	{ "snapshot", 2, 3, img_snapshot }, { "map", 1, 1, img_map },
};

/* ---- options */

static int read_bool(const char *val, bool *out)
{
	*out = !strcmp(val, "on");
	return *out || !strcmp(val, "off") ? 0 : -EINVAL;
}

static int read_create_option(struct img *img, const char *key, const char *val)
{
	static const char *const preallocs[] = {
		[PREALLOC_OFF] = "off",
		[PREALLOC_METADATA] = "metadata",
		[PREALLOC_FALLOC] = "falloc",
		[PREALLOC_FULL] = "full",
	};
	uint64_t n;
	unsigned int i;

	if (!strcmp(key, "preallocation")) {
		for (i = 0; i < sizeof(preallocs) / sizeof(preallocs[0]); i++) {
			if (!strcmp(val, preallocs[i])) {
				img->prealloc = (enum block_prealloc)i;
				return 0;
			}
		}
		return -EINVAL;
	}
	img->qcow2_options = true;
	if (!strcmp(key, "cluster_size")) {
		if (parse_size(val, &n) || n < 512 || n > 2u << 20 || n & (n - 1))
			return -EINVAL;
		img->create.cluster_size = n;
		return 0;
	}
	if (!strcmp(key, "refcount_bits")) {
		if (parse_uint(val, 1, 64, &n) || n & (n - 1))
			return -EINVAL;
		img->create.refcount_bits = n;
		return 0;
	}
	if (!strcmp(key, "compat")) {
		img->create.version = !strcmp(val, "0.10") || !strcmp(val, "v2") ? 2 : 3;
		return img->create.version == 2 || !strcmp(val, "1.1") || !strcmp(val, "v3") ? 0 : -EINVAL;
	}
	if (!strcmp(key, "compression_type")) {
		img->create.zstd = !strcmp(val, "zstd");
		return img->create.zstd || !strcmp(val, "zlib") ? 0 : -EINVAL;
	}
	if (!strcmp(key, "extended_l2"))
		return read_bool(val, &img->create.extended_l2);
	if (!strcmp(key, "lazy_refcounts"))
		return read_bool(val, &img->create.lazy_refcounts);
	return -EINVAL;
}

static int read_list(struct img *img, char *list)
{
	char *save, *item, *eq;

	for (item = strtok_r(list, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		eq = strchr(item, '=');
		if (eq)
			*eq = '\0';
		if (!eq || read_create_option(img, item, eq + 1)) {
			msg_error("--options: '%s%s%s' is not possible. See tenon img --help", item,
				  eq ? "=" : "", eq ? eq + 1 : "");
			return -EINVAL;
		}
	}
	return 0;
}

static int read_format(const char *arg, const struct block_driver **drv)
{
	*drv = block_driver_by_name(arg);
	if (*drv)
		return 0;
	msg_error("there is no image format '%s' here. Choose raw or qcow2", arg);
	return -EINVAL;
}

/* -1: go on; otherwise the exit status. */
static int read_options(struct img *img, int argc, char **argv)
{
	int opt, err = 0;

	opterr = 0;
	optind = 1;
	while (!err && (opt = getopt_long(argc, argv, ":f:O:b:F:o:cph", options, NULL)) != -1) {
		switch (opt) {
		case 'f':
			err = read_format(optarg, &img->format);
			break;
		case 'O':
			err = read_format(optarg, &img->output);
			break;
		case 'F':
			err = read_format(optarg, &img->backing_format);
			break;
		case 'b':
			img->backing = optarg;
			break;
		case 'o':
			err = read_list(img, optarg);
			break;
		case 'c':
			img->compress = true;
			break;
		case 'p':
			img->progress = true;
			break;
		case OPT_REPAIR:
			img->repair = true;
			break;
		case OPT_SHRINK:
			img->shrink = true;
			break;
		case OPT_FORCE:
			img->force = true;
			break;
		case OPT_ANY_BACKING:
			img->any_backing = true;
			break;
		case OPT_JSON:
			img->json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		case ':':
			msg_error("the option '%s' needs a value. See tenon img --help", argv[optind - 1]);
			return EXIT_USAGE;
		default:
			msg_error("there is no option '%s'. See tenon img --help; a size that begins with a "
				  "minus sign "
				  "stands behind '--'",
				  argv[optind - 1]);
			return EXIT_USAGE;
		}
	}
	return err ? EXIT_USAGE : -1;
}

int cmd_img(int argc, char **argv)
{
	struct img img = {
		.create = { .version = 3, .cluster_size = 65536, .refcount_bits = 16 },
	};
	int status = read_options(&img, argc, argv);
	unsigned int i;

	if (status >= 0)
		return status;
	argc -= optind;
	argv += optind;
	if (!argc) {
		msg_error("img: no command. See tenon img --help");
		return EXIT_USAGE;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[0], commands[i].name))
			continue;
		if (argc - 1 < commands[i].min || argc - 1 > commands[i].max) {
			msg_error("img %s: %s arguments. See tenon img --help", argv[0],
				  argc - 1 < commands[i].min ? "too few" : "too many");
			return EXIT_USAGE;
		}
		return commands[i].fn(&img, argc - 1, argv + 1);
	}
	msg_error("img: there is no command '%s'. See tenon img --help", argv[0]);
	return EXIT_USAGE;
}
