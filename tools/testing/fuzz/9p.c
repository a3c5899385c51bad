// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p.c - the 9P2000.L server against a client that does what the input says, on a directory that is written to
 *
 * An input is steps: a message with fields of the right sizes, filled from the input, or bytes as they come (to a
 * server of the same directory that is only read, since names from an input must not become files of the host). Names
 * are chosen from a list that has those which could lead out of the directory. The oracle, beside the sanitizers: what
 * lies outside it is as it was.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/fs/9p.h"
#include "fuzz.h"

#define STEPS	48
#define MSIZE	8192u
#define NR_FIDS	6u

static char top[] = "/tmp/tenon-fuzz-9p-XXXXXX";
static char share[64], outside[64], secret[80];
static struct p9_server *rw, *ro;
static struct stat before, before_dir;

/* Fields of each type of message: 1 2 4 8 numbers of that many bytes, f a fid, s a name, d data with its length. */
static const struct {
	uint8_t type;
	const char *fields;
} messages[] = {
	{ 8, "f" }, { 12, "f4" }, { 14, "fs444" }, { 16, "fss4" }, { 18, "fs4444" }, { 20, "ffs" }, { 22, "f" },
	{ 24, "f8" }, { 26, "f4444488888" }, { 30, "ffs" }, { 32, "fs84" }, { 40, "f84" }, { 50, "f4" },
	{ 52, "f14884s" }, { 54, "f1884s" }, { 70, "ffs" }, { 72, "fs44" }, { 74, "fsfs" }, { 76, "fs4" },
	{ 100, "4v" }, { 102, "fss4" }, { 104, "ffss4" }, { 110, "ff2s" }, { 110, "ff2ss" }, { 110, "ff2" },
	{ 116, "f84" }, { 118, "f8d" }, { 120, "f" }, { 122, "f" },
};

static const char *const names[] = {
	"a", "b", "c", "dir", "link", "..", ".", "", "a/b", "../outside", "/etc/passwd", "../outside/secret",
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	return ftw->level ? remove(path) : 0;
}

static void empty(void)
{
	nftw(share, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void leave(void)
{
	empty();
	rmdir(share);
	unlink(secret);
	rmdir(outside);
	rmdir(top);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int fd;

	(void)argc;
	(void)argv;
	if (!mkdtemp(top))
		abort();
	snprintf(share, sizeof(share), "%s/share", top);
	snprintf(outside, sizeof(outside), "%s/outside", top);
	snprintf(secret, sizeof(secret), "%s/secret", outside);
	if (mkdir(share, 0700) || mkdir(outside, 0700))
		abort();
	fd = open(secret, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "secret", 6) != 6 || close(fd) || stat(secret, &before) || stat(outside, &before_dir))
		abort();
	if (p9_open(&rw, share, false) || p9_open(&ro, share, true))
		abort();
	atexit(leave);
	return 0;
}

static uint8_t *put_name(uint8_t *p, const char *s)
{
	uint16_t len = (uint16_t)strlen(s);

	memcpy(p, &len, 2);
	memcpy(p + 2, s, len);
	return p + 2 + len;
}

static uint32_t build(struct input *in, uint8_t *msg)
{
	unsigned int which = take_uint(in, 1) % (sizeof(messages) / sizeof(messages[0]));
	uint8_t *p = msg + P9_HEADER;
	uint32_t len;

	for (const char *f = messages[which].fields; *f; f++) {
		switch (*f) {
		case 'f':
			len = (uint32_t)take_uint(in, 1) % NR_FIDS;
			memcpy(p, &len, 4);
			p += 4;
			break;
		case 's':
			p = put_name(p, names[take_uint(in, 1) % (sizeof(names) / sizeof(names[0]))]);
			break;
		case 'v':
			p = put_name(p, "9P2000.L");
			break;
		case 'd':
			len = (uint32_t)take_uint(in, 1);
			memcpy(p, &len, 4);
			take(in, p + 4, len);
			p += 4 + len;
			break;
		default:
			take(in, p, (size_t)(*f - '0'));
			p += *f - '0';
		}
	}
	len = (uint32_t)(p - msg);
	memcpy(msg, &len, 4);
	msg[4] = messages[which].type;
	msg[5] = msg[6] = 1;
	return len;
}

/* A version and a root, or the server has nothing to say. */
static void greet(struct p9_server *srv)
{
	static const uint8_t version[] = { 21, 0, 0, 0, 100, 1, 0, 0, 32, 0, 0, 8, 0, '9', 'P', '2', '0', '0', '0', '.', 'L' };
	static const uint8_t attach[] = { 23, 0, 0, 0, 104, 1, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0 };
	uint8_t reply[64];

	if (p9_handle(srv, version, sizeof(version), reply, sizeof(reply)) < P9_HEADER || reply[4] != 101 ||
	    p9_handle(srv, attach, sizeof(attach), reply, sizeof(reply)) < P9_HEADER || reply[4] != 105)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t msg[MSIZE], reply[MSIZE];
	struct stat now, now_dir;

	greet(rw);
	greet(ro);
	for (unsigned int i = 0; i < STEPS && in.left; i++) {
		bool raw = !(take_uint(&in, 1) % 8);
		uint32_t len, max = sizeof(reply), got;

		if (raw) {
			len = (uint32_t)take_uint(&in, 1);
			take(&in, msg, len);
			max = (uint32_t)take_uint(&in, 2) % sizeof(reply);
		} else {
			len = build(&in, msg);
		}
		got = p9_handle(raw ? ro : rw, msg, len, reply, max);
		if (got > max)
			abort();
	}
	p9_reset(rw);
	p9_reset(ro);
	if (stat(secret, &now) || stat(outside, &now_dir) || now.st_size != before.st_size || now.st_nlink != 1 ||
	    now.st_mode != before.st_mode || now.st_mtim.tv_nsec != before.st_mtim.tv_nsec ||
	    now.st_uid != before.st_uid || now_dir.st_mtim.tv_nsec != before_dir.st_mtim.tv_nsec ||
	    now_dir.st_mode != before_dir.st_mode)
		abort();
	empty();
	return 0;
}
