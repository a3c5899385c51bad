// SPDX-License-Identifier: GPL-2.0-only
/*
 * fs-9p.c - the 9P2000.L server as a client sees it: what it serves, that nothing leads out of the shared
 * directory, and that no message does harm
 *
 * The oracles: the 9P2000.L protocol, the host's own view of the directory, and the sanitizers.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "launcher/fs/9p.h"
#include "tap.h"

#define MSIZE		65536u
#define SETATTR_FMT	"4444488888"

enum {
	STATFS = 8, LOPEN = 12, LCREATE = 14, SYMLINK = 16, MKNOD = 18, RENAME = 20, READLINK = 22,
	GETATTR = 24, SETATTR = 26, XATTRWALK = 30, READDIR = 40, FSYNC = 50, LOCK = 52, GETLOCK = 54,
	LINK = 70, MKDIR = 72, RENAMEAT = 74, UNLINKAT = 76, VERSION = 100, AUTH = 102, ATTACH = 104,
	WALK = 110, READ = 116, WRITE = 118, CLUNK = 120, REMOVE = 122,
};

static struct p9_server *srv;
static char top[64], share[96], outside[96];

/* A client, one a thread. Formats: 1 2 4 8 numbers of that many bytes, s a string, d data and its length. */
struct client {
	struct p9_server *srv;
	uint8_t req[MSIZE], reply[MSIZE];
	uint32_t len, at;		/* of the reply: length, next byte to look at */
};
static struct client *c;

static void add(uint8_t **p, uint64_t val, unsigned int len)
{
	memcpy(*p, &val, len);
	*p += len;
}

static uint32_t build(uint8_t *req, uint8_t type, const char *fmt, va_list ap)
{
	uint8_t *p = req + 7;

	for (; *fmt; fmt++) {
		const char *s;
		uint32_t n;

		switch (*fmt) {
		case '1':
		case '2':
		case '4':
			add(&p, va_arg(ap, unsigned int), *fmt - '0');
			break;
		case '8':
			add(&p, va_arg(ap, uint64_t), 8);
			break;
		case 's':
			s = va_arg(ap, const char *);
			add(&p, strlen(s), 2);
			memcpy(p, s, strlen(s));
			p += strlen(s);
			break;
		case 'd':
			s = va_arg(ap, const char *);
			n = va_arg(ap, unsigned int);
			add(&p, n, 4);
			memcpy(p, s, n);
			p += n;
			break;
		}
	}
	memcpy(req, &(uint32_t){ p - req }, 4);
	req[4] = type;
	memcpy(req + 5, &(uint16_t){ 7 }, 2);
	return p - req;
}

/* 0, or the errno that the server answered with. */
static int call(struct client *cl, uint8_t type, const char *fmt, ...)
{
	uint32_t len, size;
	va_list ap;

	va_start(ap, fmt);
	len = build(cl->req, type, fmt, ap);
	va_end(ap);
	cl->len = p9_handle(cl->srv, cl->req, len, cl->reply, MSIZE);
	cl->at = 7;
	memcpy(&size, cl->reply, 4);
	if (cl->len < 7 || size != cl->len)
		return -1;
	if (cl->reply[4] == 7) {
		memcpy(&size, cl->reply + 7, 4);
		return size;
	}
	return cl->reply[4] == type + 1 ? 0 : -1;
}

static uint64_t get(struct client *cl, unsigned int len)
{
	uint64_t val = 0;

	if (cl->at + len <= cl->len)
		memcpy(&val, cl->reply + cl->at, len);
	cl->at += len;
	return val;
}

static int walk1(struct client *cl, uint32_t fid, uint32_t newfid, const char *name)
{
	int err = call(cl, WALK, "442s", fid, newfid, 1, name);

	return err ? err : get(cl, 2) == 1 ? 0 : -1;
}

static int walk0(struct client *cl, uint32_t fid, uint32_t newfid)
{
	return call(cl, WALK, "442", fid, newfid, 0);
}

static void begin(struct client *cl)
{
	call(cl, VERSION, "4s", MSIZE, "9P2000.L");
	call(cl, ATTACH, "44ss4", 0, ~0u, "root", "", 0);
}

/* The host's side */

static char *path(const char *dir, const char *name)
{
	static char buf[4][256];
	static unsigned int i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", dir, name);
	return buf[i];
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	fputs(text, f);
	fclose(f);
}

static bool file_is(const char *name, const char *text)
{
	char buf[256] = "";
	FILE *f = fopen(name, "r");

	if (!f)
		return false;
	buf[fread(buf, 1, sizeof(buf) - 1, f)] = '\0';
	fclose(f);
	return !strcmp(buf, text);
}

static void quiet_errors(void)
{
	int fd = open("/dev/null", O_WRONLY);

	if (!getenv("VERBOSE"))
		dup2(fd, 2);
	close(fd);
}

static unsigned int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Tests */

static void test_session(void)
{
	is_u64(call(c, GETATTR, "48", 0, 0x7ffull), EPROTO, "nothing goes before the version");
	is_u64(call(c, VERSION, "4s", 8192, "9P2000.u"), 0, "another version is answered");
	get(c, 4);
	ok(get(c, 2) == 7 && !memcmp(c->reply + c->at, "unknown", 7), "with \"unknown\"");
	is_u64(call(c, VERSION, "4s", 100, "9P2000.L"), EMSGSIZE, "messages of 100 bytes are too small");
	is_u64(call(c, VERSION, "4s", ~0u, "9P2000.L"), 0, "9P2000.L");
	is_u64(get(c, 4), P9_MSIZE_MAX, "with the longest message that there is");
	is_u64(call(c, ATTACH, "44ss4", 0, ~0u, "root", "../..", 0), ENOENT, "there is no other tree");
	is_u64(call(c, ATTACH, "44ss4", 0, ~0u, "root", "", 0), 0, "attach");
	is_u64(get(c, 1), 0x80, "to a directory");
	is_u64(call(c, ATTACH, "44ss4", 0, ~0u, "root", "", 0), EBADF, "not twice with the same fid");
	is_u64(call(c, AUTH, "4ss4", 1, "root", "", 0), EOPNOTSUPP, "no authentication");
	is_u64(call(c, XATTRWALK, "44s", 0, 1, "user.x"), EOPNOTSUPP, "no extended attributes");
	is_u64(call(c, 99, ""), EOPNOTSUPP, "an unknown message");
}

static void test_files(void)
{
	struct stat st;
	uint64_t mode, size;

	walk0(c, 0, 1);
	is_u64(call(c, LCREATE, "4s444", 1, "new", O_RDWR, 06666, 0), 0, "create");
	ok(!stat(path(share, "new"), &st) && (st.st_mode & 07777) == 06666, "with the guest's mode, whatever the umask");
	is_u64(call(c, WRITE, "48d", 1, 0ull, "hello world", 11), 0, "write");
	is_u64(get(c, 4), 11, "all of it");
	ok(file_is(path(share, "new"), "hello world"), "the host sees it");
	is_u64(call(c, READ, "484", 1, 6ull, 100), 0, "read from the middle");
	ok(get(c, 4) == 5 && !memcmp(c->reply + c->at, "world", 5), "to the end");
	is_u64(call(c, READ, "484", 1, ~0ull, 100), EINVAL, "at an offset that is none");
	is_u64(call(c, WRITE, "48d", 1, ~0ull - 3, "hello", 5), EFBIG, "write there");
	is_u64(call(c, READ, "484", 1, 0ull, ~0u), 0, "ask for 4 GiB");
	is_u64(get(c, 4), 11, "get what there is");
	is_u64(call(c, LOPEN, "44", 1, O_RDONLY), EBADF, "open twice");
	is_u64(call(c, FSYNC, "44", 1, 0), 0, "fsync");
	is_u64(call(c, LCREATE, "4s444", 1, "x", O_RDWR, 0666, 0), EBADF, "create in a file");
	is_u64(walk1(c, 1, 2, "x"), ENOTDIR, "walk from a file");

	is_u64(walk1(c, 0, 2, "new"), 0, "walk");
	is_u64(call(c, READ, "484", 2, 0ull, 100), EBADF, "read without open");
	is_u64(call(c, GETATTR, "48", 2, 0x7ffull), 0, "getattr");
	c->at += 8 + 13;
	mode = get(c, 4);
	c->at += 8 + 16;
	size = get(c, 8);
	ok(mode == (S_IFREG | 06666) && size == 11, "mode and size");
	is_u64(call(c, SETATTR, SETATTR_FMT, 2, 1 | 8, 0600, 0, 0, 5ull, 0ull, 0ull, 0ull, 0ull), 0, "set both");
	ok(!stat(path(share, "new"), &st) && (st.st_mode & 07777) == 0600 && st.st_size == 5, "the host sees them");
	is_u64(call(c, SETATTR, SETATTR_FMT, 2, 0x1b0, 0, 0, 0, 0ull, 1000ull, 5ull, 2000ull, 6ull), 0, "set times");
	ok(!stat(path(share, "new"), &st) && st.st_atime == 1000 && st.st_mtime == 2000 && st.st_mtim.tv_nsec == 6,
	   "the host sees them");
	is_u64(call(c, SETATTR, SETATTR_FMT, 2, 0x1b0, 0, 0, 0, 0ull, 1000ull, (uint64_t)UTIME_NOW, 0ull, 0ull), EINVAL,
	       "a time of no meaning");
	is_u64(call(c, LOCK, "414884s", 2, 1, 0, 0ull, 0ull, 1, "guest"), 0, "lock");
	is_u64(call(c, GETLOCK, "41884s", 2, 1, 0ull, 0ull, 1, "guest"), 0, "getlock");
	is_u64(get(c, 1), 2, "unlocked");
	is_u64(call(c, STATFS, "4", 2), 0, "statfs");

	/* Some that append with an old idea of the size; then write-back of a whole page, through a fid that can read. */
	call(c, SETATTR, SETATTR_FMT, 2, 8, 0, 0, 0, 0ull, 0ull, 0ull, 0ull, 0ull);
	walk0(c, 2, 3);
	is_u64(call(c, LOPEN, "44", 3, O_WRONLY | O_APPEND), 0, "open for appending");
	call(c, WRITE, "48d", 3, 0ull, "hello", 5);
	call(c, WRITE, "48d", 3, 0ull, " one,", 5);
	call(c, WRITE, "48d", 3, 5ull, " two", 4);
	ok(file_is(path(share, "new"), "hello one, two"), "what is appended does not overwrite");
	call(c, CLUNK, "4", 3);
	walk0(c, 2, 3);
	is_u64(call(c, LOPEN, "44", 3, O_RDWR | O_APPEND), 0, "open for reading and appending");
	call(c, WRITE, "48d", 3, 5ull, " three", 6);
	ok(file_is(path(share, "new"), "hello one, two three"), "what is appended does not overwrite");
	call(c, WRITE, "48d", 3, 0ull, "HELLO ONE, TWO THREE four", 25);
	ok(file_is(path(share, "new"), "HELLO ONE, TWO THREE four"), "a cached page stays where it is");
	call(c, CLUNK, "4", 3);

	is_u64(call(c, UNLINKAT, "4s4", 0, "new", 0), 0, "unlink an open file");
	is_u64(call(c, READ, "484", 1, 0ull, 5), 0, "it can still be read");
	is_u64(call(c, WRITE, "48d", 1, 0ull, "still", 5), 0, "and written");
	is_u64(call(c, GETATTR, "48", 2, 0x7ffull), 0, "and has attributes");
	is_u64(call(c, LINK, "44s", 0, 2, "back"), ENOENT, "but gets no new name");
	is_u64(call(c, REMOVE, "4", 2), ENOENT, "and none to remove");
	is_u64(call(c, CLUNK, "4", 2), EBADF, "which took the fid");
	is_u64(call(c, CLUNK, "4", 1), 0, "clunk");
}

static void test_names(void)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/etc", "../x" };
	char longest[NAME_MAX + 2];
	struct stat st;

	is_u64(call(c, MKDIR, "4s44", 0, "d", 01777, 0), 0, "mkdir");
	ok(!stat(path(share, "d"), &st) && (st.st_mode & 07777) == 01777, "with its mode");
	is_u64(call(c, SYMLINK, "4ss4", 0, "link", "d/../../x", 0), 0, "symlink");
	walk1(c, 0, 5, "link");
	is_u64(call(c, READLINK, "4", 5), 0, "readlink");
	ok(get(c, 2) == 9 && !memcmp(c->reply + c->at, "d/../../x", 9), "as it was given");
	is_u64(call(c, LOPEN, "44", 5, O_RDONLY), ELOOP, "a link is not opened");
	is_u64(call(c, LINK, "44s", 0, 5, "link2"), 0, "but linked");
	is_u64(call(c, CLUNK, "4", 5), 0, "clunk");
	is_u64(call(c, MKNOD, "4s4444", 0, "pipe", S_IFIFO | 0644, 0, 0, 0), 0, "a pipe can be made");
	walk1(c, 0, 5, "pipe");
	is_u64(call(c, LOPEN, "44", 5, O_RDONLY), ENXIO, "but the host's is not opened");
	call(c, CLUNK, "4", 5);
	is_u64(call(c, MKNOD, "4s4444", 0, "sda", S_IFBLK | 0666, 8, 0, 0), EPERM, "no device is made");
	is_u64(call(c, RENAMEAT, "4s4s", 0, "pipe", 0, "p2"), 0, "renameat");
	walk1(c, 0, 5, "p2");
	walk1(c, 0, 6, "d");
	is_u64(call(c, RENAME, "44s", 5, 6, "p3"), 0, "rename by fid");
	ok(!lstat(path(share, "d/p3"), &st) && S_ISFIFO(st.st_mode), "moved");
	is_u64(call(c, UNLINKAT, "4s4", 0, "d", 0x200), ENOTEMPTY, "rmdir of a full directory");
	is_u64(call(c, REMOVE, "4", 5), 0, "remove by fid");
	is_u64(call(c, REMOVE, "4", 6), 0, "a directory too");
	ok(lstat(path(share, "d"), &st) && errno == ENOENT, "gone");

	memset(longest, 'n', sizeof(longest) - 1);
	longest[NAME_MAX + 1] = '\0';
	is_u64(walk1(c, 0, 5, longest), ENAMETOOLONG, "a name of 256 bytes");
	longest[NAME_MAX] = '\0';
	is_u64(walk1(c, 0, 5, longest), ENOENT, "one of 255");
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bool fine = true;

		if (strcmp(bad[i], ".."))
			fine = walk1(c, 0, 5, bad[i]) == ENOENT;
		fine &= call(c, MKDIR, "4s44", 0, bad[i], 0755, 0) != 0;
		fine &= call(c, UNLINKAT, "4s4", 0, bad[i], 0x200) != 0;
		fine &= call(c, RENAMEAT, "4s4s", 0, "link", 0, bad[i]) != 0;
		fine &= call(c, RENAMEAT, "4s4s", 0, bad[i], 0, "x") != 0;
		fine &= call(c, SYMLINK, "4ss4", 0, bad[i], "x", 0) != 0;
		walk0(c, 0, 5);
		fine &= call(c, LCREATE, "4s444", 5, bad[i], O_RDWR, 0644, 0) != 0;
		call(c, CLUNK, "4", 5);
		ok(fine, "\"%s\" is no name", bad[i]);
	}
}

static void test_readdir(void)
{
	enum { FILES = 3000 };
	static uint8_t seen[FILES];
	unsigned int n = 0, twice = 0, others = 0, i;
	uint64_t off = 0, back = 0;
	char name[32];

	mkdir(path(share, "many"), 0755);
	for (i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "many/%.*s%u", i % 20, "abcdefghijklmnopqrst", i);
		close(open(path(share, name), O_CREAT | O_WRONLY, 0644));
	}
	walk1(c, 0, 5, "many");
	is_u64(call(c, READDIR, "484", 5, 0ull, 1000), EBADF, "readdir without open");
	is_u64(call(c, LOPEN, "44", 5, O_RDONLY | O_DIRECTORY), 0, "open a directory");
	is_u64(call(c, READ, "484", 5, 0ull, 1000), EISDIR, "it is not read as a file");
	is_u64(call(c, READDIR, "484", 5, 0ull, 20), EINVAL, "room for no entry");
	for (;;) {
		uint32_t left;

		if (call(c, READDIR, "484", 5, off, 200 + n % 5000))
			break;
		left = get(c, 4);
		if (!left)
			break;
		while (c->at < c->len) {
			unsigned int len;

			c->at += 13;
			off = get(c, 8);
			get(c, 1);
			len = get(c, 2);
			memcpy(name, c->reply + c->at, len < 31 ? len : 31);
			name[len < 31 ? len : 31] = '\0';
			c->at += len;
			i = atoi(name + strcspn(name, "0123456789"));
			if (name[0] == '.')
				others++;
			else if (i < FILES && seen[i]++)
				twice++;
			else
				n++;
			/* Files that come and go meanwhile do not disturb the others. */
			if (n == 100)
				back = off;
			if (n % 10 == 0) {
				close(open(path(share, "many/.tmp"), O_CREAT | O_WRONLY, 0644));
				unlink(path(share, "many/.tmp"));
			}
		}
	}
	ok(n == FILES && !twice && others >= 2, "every entry once (%u, %u twice)", n, twice);
	call(c, READDIR, "484", 5, back, 4000);
	ok(get(c, 4) > 0, "it can be read again from an offset");
	is_u64(call(c, READDIR, "484", 5, 1ull << 63, 4000) != -1, 1, "an offset of the guest's own does no harm");
	call(c, CLUNK, "4", 5);
}

static void test_escape(void)
{
	symlink("/etc", path(share, "abs"));
	symlink("../outside", path(share, "rel"));
	mkdir(path(share, "deep"), 0755);
	mkdir(path(share, "deep/er"), 0755);
	write_file(path(share, "deep/f"), "inside");

	walk1(c, 0, 5, "abs");
	is_u64(walk1(c, 5, 6, "passwd"), ENOTDIR, "no way through an absolute link");
	call(c, CLUNK, "4", 5);
	is_u64(call(c, WALK, "442ss", 0, 5, 2, "rel", "secret"), 0, "nor a relative one");
	is_u64(get(c, 2), 1, "the walk ends at it");
	is_u64(call(c, CLUNK, "4", 5), EBADF, "and leaves no fid");
	is_u64(call(c, WALK, "442ssss", 0, 5, 4, "..", "..", "outside", "secret"), 0, "nor up");
	is_u64(get(c, 2), 2, "the top is its own parent");
	is_u64(call(c, WALK, "442sssss", 0, 5, 5, "deep", "er", "..", "..", "deep"), 0, "down and up again");
	is_u64(get(c, 2), 5, "stays inside");
	is_u64(walk1(c, 5, 6, "f"), 0, "and leads where it should");
	call(c, CLUNK, "4", 5);
	call(c, CLUNK, "4", 6);

	/* The host takes a directory out of the share while the guest stands in it. */
	call(c, WALK, "442ss", 0, 5, 2, "deep", "er");
	rename(path(share, "deep/er"), path(outside, "er"));
	is_u64(walk1(c, 5, 6, ".."), ENOENT, "no way up from a directory that was moved out");
	rename(path(outside, "er"), path(share, "deep/er"));
	is_u64(walk1(c, 5, 6, ".."), 0, "there is one after it came back");
	call(c, CLUNK, "4", 5);
	call(c, CLUNK, "4", 6);

	/* A kernel interface mounted in the share: "/" has /proc. */
	{
		struct client *r = calloc(1, sizeof(*r));

		if (!p9_open(&r->srv, "/", true)) {
			begin(r);
			is_u64(walk1(r, 0, 1, "proc"), 0, "/proc is there");
			is_u64(walk1(r, 1, 2, "self"), ENOENT, "but nothing in it");
			is_u64(call(r, LOPEN, "44", 1, O_RDONLY | O_DIRECTORY), 0, "it can be opened");
			is_u64(call(r, READDIR, "484", 1, 0ull, 4000), 0, "and read");
			is_u64(get(r, 4), 0, "as an empty directory");
			p9_close(r->srv);
		}
		free(r);
	}
	ok(p9_open(&(struct p9_server *){ NULL }, "/proc/self", true) == -EINVAL, "/proc itself is not shared");
	ok(p9_open(&(struct p9_server *){ NULL }, "/etc/passwd", true) == -ENOTDIR, "nor is a file");
}

/* Directories turn into links and back while clients walk: no walk may ever see the secret. */
static atomic_bool racing;
static atomic_uint escapes, walks;

static void *swapper(void *arg)
{
	(void)arg;
	while (atomic_load(&racing)) {
		rename(path(share, "race/d"), path(share, "race/hidden"));
		symlink("../../outside", path(share, "race/d"));
		unlink(path(share, "race/d"));
		rename(path(share, "race/hidden"), path(outside, "d"));
		rename(path(outside, "d"), path(share, "race/d"));
	}
	return NULL;
}

static void *racer(void *arg)
{
	struct client *cl = calloc(1, sizeof(*cl));
	uint32_t base = (uintptr_t)arg * 100 + 1000;

	cl->srv = srv;
	while (atomic_load(&racing)) {
		/* "secret" is in outside only, "f" in race/d only. */
		if (!call(cl, WALK, "442sss", 0, base, 3, "race", "d", "secret") && get(cl, 2) == 3)
			atomic_fetch_add(&escapes, 1);
		call(cl, CLUNK, "4", base);
		if (!call(cl, WALK, "442ss", 0, base, 2, "race", "d") && get(cl, 2) == 2) {
			if (!walk1(cl, base, base + 1, "..") && !walk1(cl, base + 1, base + 2, "secret"))
				atomic_fetch_add(&escapes, 1);
			call(cl, CLUNK, "4", base + 2);
			call(cl, CLUNK, "4", base + 1);
			walk0(cl, base, base + 1);
			if (!call(cl, LCREATE, "4s444", base + 1, "made", O_RDWR, 0644, 0))
				call(cl, UNLINKAT, "4s4", base, "made", 0);
			call(cl, CLUNK, "4", base + 1);
		}
		call(cl, CLUNK, "4", base);
		atomic_fetch_add(&walks, 1);
	}
	free(cl);
	return NULL;
}

static void test_race(void)
{
	pthread_t t[4];

	mkdir(path(share, "race"), 0755);
	mkdir(path(share, "race/d"), 0755);
	write_file(path(share, "race/d/f"), "x");
	atomic_store(&racing, true);
	for (unsigned int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, i ? racer : swapper, (void *)(uintptr_t)i);
	nanosleep(&(struct timespec){ .tv_sec = 2 }, NULL);
	atomic_store(&racing, false);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ok(!atomic_load(&escapes) && atomic_load(&walks) > 100, "%u walks in a race, none led out",
	   atomic_load(&walks));
	ok(access(path(outside, "made"), F_OK), "nothing was made outside");
}

static void test_readonly(void)
{
	struct client *r = calloc(1, sizeof(*r));
	static const uint8_t writes[] = { SYMLINK, MKNOD, MKDIR, LCREATE, RENAME, RENAMEAT, UNLINKAT, LINK };

	write_file(path(share, "ro"), "text");
	if (p9_open(&r->srv, share, true))
		return;
	begin(r);
	walk1(r, 0, 1, "ro");
	is_u64(call(r, LOPEN, "44", 1, O_RDWR), EROFS, "read-only: not opened for writing");
	is_u64(call(r, LOPEN, "44", 1, O_RDONLY | O_TRUNC), EROFS, "nor truncated");
	is_u64(call(r, LOPEN, "44", 1, O_RDONLY), 0, "but for reading");
	is_u64(call(r, WRITE, "48d", 1, 0ull, "x", 1), EROFS, "not written");
	is_u64(call(r, SETATTR, SETATTR_FMT, 1, 1, 0, 0, 0, 0ull, 0ull, 0ull, 0ull, 0ull), EROFS, "not changed");
	for (unsigned int i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
		is_u64(call(r, writes[i], ""), EROFS, "message %u is refused", writes[i]);
	is_u64(call(r, REMOVE, "4", 1), EROFS, "not removed");
	ok(file_is(path(share, "ro"), "text"), "it is as it was");
	p9_close(r->srv);
	free(r);
}

static void test_limits(void)
{
	unsigned int before = open_fds(), n;
	int err = 0;

	for (n = 1; n < 200000 && !err; n++)
		err = walk1(c, 0, n + 10, "deep");
	is_u64(err, ENFILE, "there is an end to fids: %u", n);
	is_u64(walk1(c, 0, 5, "deep"), ENFILE, "also for others");
	is_u64(call(c, GETATTR, "48", 10 + 1, 0x7ffull), 0, "those that exist work");
	begin(c);
	ok(open_fds() <= before + 2, "a new session gives all back");
	is_u64(walk1(c, 0, 5, "deep"), 0, "and can walk");
	call(c, CLUNK, "4", 5);
}

/* Messages that begin well and end badly. Everything is in a directory that may be wrecked. */
static void *fuzz_thread(void *arg)
{
	static const struct {
		uint8_t type;
		const char *fmt;
	} all[] = {
		{ STATFS, "4" }, { LOPEN, "44" }, { LCREATE, "4s444" }, { SYMLINK, "4ss4" }, { MKNOD, "4s4444" },
		{ RENAME, "44s" }, { READLINK, "4" }, { GETATTR, "48" }, { SETATTR, "4444488888" },
		{ XATTRWALK, "44s" }, { READDIR, "484" }, { FSYNC, "44" }, { LOCK, "414884s" }, { GETLOCK, "41884s" },
		{ LINK, "44s" }, { MKDIR, "4s44" }, { RENAMEAT, "4s4s" }, { UNLINKAT, "4s4" }, { VERSION, "4s" },
		{ AUTH, "4ss4" }, { ATTACH, "44ss4" }, { WALK, "442sss" }, { READ, "484" }, { WRITE, "48d" },
		{ CLUNK, "4" }, { REMOVE, "4" },
	};
	static const char *const names[] = { "a", "b", "c", "d", "e", "..", ".", "", "a/b", "loop" };
	struct client *cl = calloc(1, sizeof(*cl));
	uint64_t seed = tap_seed(0x9009) + (uintptr_t)arg * 77777, i;

	cl->srv = srv;
	for (i = 0; i < 60000; i++) {
		uint64_t r = tap_random(&seed), pick = tap_random(&seed);
		unsigned int kind = pick % (sizeof(all) / sizeof(all[0]));
		uint8_t *p = cl->req + 7, *exact, *reply;
		uint32_t len, max;

		/* New sessions are rare, or nothing would ever be open. */
		if (all[kind].type == VERSION && (r & 0xff))
			continue;
		for (const char *f = all[kind].fmt; *f; f++) {
			uint64_t v = tap_random(&seed);
			const char *s = names[v % 10];

			if (*f == 's') {
				if (all[kind].type == VERSION)
					s = "9P2000.L";
				if (all[kind].type == ATTACH)
					s = "";
				add(&p, (v >> 20 & 63) ? strlen(s) : v >> 40, 2);
				memcpy(p, s, strlen(s));
				p += strlen(s);
			} else if (*f == 'd') {
				add(&p, (v >> 8 & 15) ? v & 0xff : v, 4);
				p += v & 0xff;
			} else if (all[kind].type == WALK && *f == '2') {
				add(&p, v & 3, 2);
			} else {
				v = (v >> 50 & 3) ? v & 15 : (v >> 52 & 3) ? v & 0xfff : v;
				add(&p, v, *f - '0');
			}
		}
		len = p - cl->req;
		/* Cut, grow or lie about the length. */
		if (!(r & 15))
			len = (r >> 8) % (len + 1);
		memcpy(cl->req, &len, 4);
		if (!(r >> 4 & 15))
			memcpy(cl->req, &(uint32_t){ r >> 16 }, 4);
		cl->req[4] = (r >> 28 & 0xff) ? all[kind].type : r >> 36;
		for (unsigned int n = r >> 56 & 7; !(r >> 52 & 7) && n; n--)
			cl->req[7 + tap_random(&seed) % 60] = tap_random(&seed);
		max = (r >> 44 & 7) ? 4096 : (r >> 48) % 300;
		/* Of exactly that size, for the sanitizer. */
		exact = malloc(len ? len : 1);
		reply = malloc(max ? max : 1);
		memcpy(exact, cl->req, len);
		cl->len = p9_handle(cl->srv, exact, len, reply, max);
		if (cl->len > max)
			abort();
		free(exact);
		free(reply);
	}
	free(cl);
	return NULL;
}

static void test_fuzz(void)
{
	unsigned int before;
	pthread_t t[3];

	diag("seed %#llx", (unsigned long long)tap_seed(0x9009));
	begin(c);
	before = open_fds();
	for (unsigned int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, fuzz_thread, (void *)(uintptr_t)i);
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	p9_reset(srv);
	ok(open_fds() <= before, "180000 hostile messages on three threads, no descriptor lost");
	begin(c);
	is_u64(call(c, GETATTR, "48", 0, 0x7ffull), 0, "and a new session works");
	ok(file_is(path(outside, "secret"), "secret"), "what is outside is as it was");
}

int main(void)
{
	char cmd[256];

	umask(027);
	strcpy(top, "/tmp/tenon-9p-XXXXXX");
	if (!mkdtemp(top))
		return 1;
	snprintf(share, sizeof(share), "%s/share", top);
	snprintf(outside, sizeof(outside), "%s/outside", top);
	mkdir(share, 0755);
	mkdir(outside, 0755);
	write_file(path(outside, "secret"), "secret");
	c = calloc(1, sizeof(*c));
	if (p9_open(&srv, share, false))
		return 1;
	quiet_errors();
	c->srv = srv;

	test_session();
	test_files();
	test_names();
	test_readdir();
	test_escape();
	test_race();
	test_readonly();
	test_limits();
	test_fuzz();

	p9_close(srv);
	free(c);
	snprintf(cmd, sizeof(cmd), "chmod -R u+rwx %s; rm -rf %s", top, top);
	if (system(cmd)) { }
	return tap_done();
}
