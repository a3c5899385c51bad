// SPDX-License-Identifier: GPL-2.0-only
/*
 * seed.c - a disk that tells cloud-init who may log in
 *
 * cloud-init documentation, "NoCloud": a file system labelled cidata with the files user-data and meta-data. It is
 * an ISO 9660 one (ECMA-119 "Volume and File Structure of CDROM for Information Interchange"), of a single
 * directory. Their names have a '-' and no extension, which the standard does not allow and every system reads.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/table.h"
#include "msg.h"
#include "seed.h"

#define SECTOR		2048u
#define KEYS_MAX	65536u
#define IMAGE_MAX	(256u << 10)

enum { SEC_VOLUME = 16, SEC_END, SEC_PATHS_LE, SEC_PATHS_BE, SEC_ROOT, SEC_FILES };

/* ISO 9660 */

/* "Both-byte orders" */
static void both16(struct table *t, uint16_t val)
{
	put16(t, val);
	put16(t, (uint16_t)(val << 8 | val >> 8));
}

static void both32(struct table *t, uint32_t val)
{
	put32(t, val);
	put32(t, __builtin_bswap32(val));
}

static void padded(struct table *t, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		put8(t, *s ? (uint8_t)*s++ : ' ');
}

/* "Directory Record" */
static void record(struct table *t, const char *name, size_t name_len, uint32_t sector, uint32_t size, bool dir)
{
	size_t start = t->len;

	put8(t, 0);
	put8(t, 0);
	both32(t, sector);
	both32(t, size);
	table_put(t, "\175\1\1\0\0\0", 7);	/* 2025-01-01, so that the same disk is made every time */
	put8(t, dir ? 2 : 0);
	put16(t, 0);
	both16(t, 1);
	put8(t, (uint8_t)name_len);
	table_put(t, name, name_len);
	table_align(t, 2);
	table_set(t, start, t->len - start, 1);
}

/* "Type L Path Table" and "Type M Path Table": the root. */
static void path_table(struct table *t, bool big)
{
	put8(t, 1);
	put8(t, 0);
	put32(t, big ? __builtin_bswap32(SEC_ROOT) : SEC_ROOT);
	put16(t, big ? 0x0100 : 1);
	put16(t, 0);
	table_align(t, SECTOR);
}

static void volume(struct table *t, uint32_t sectors)
{
	put8(t, 1);
	table_put(t, "CD001\1", 7);
	padded(t, "", 32);
	padded(t, "cidata", 32);
	table_zero(t, 8);
	both32(t, sectors);
	table_zero(t, 32);
	both16(t, 1);
	both16(t, 1);
	both16(t, SECTOR);
	both32(t, 10);			/* size of a path table */
	put32(t, SEC_PATHS_LE);
	put32(t, 0);
	put32(t, __builtin_bswap32(SEC_PATHS_BE));
	put32(t, 0);
	record(t, "", 1, SEC_ROOT, SECTOR, true);
	padded(t, "", 128 * 4 + 37 * 3);
	for (unsigned int i = 0; i < 4; i++) {
		padded(t, "0000000000000000", 16);	/* times: not given */
		put8(t, 0);
	}
	put8(t, 1);
	table_align(t, SECTOR);
	put8(t, 255);			/* "Volume Descriptor Set Terminator" */
	table_put(t, "CD001\1", 7);
	table_align(t, SECTOR);
}

static void image(struct table *t, const char *meta, const char *user)
{
	size_t meta_len = strlen(meta), user_len = strlen(user);
	uint32_t at_user = SEC_FILES + (uint32_t)((meta_len + SECTOR - 1) / SECTOR);
	uint32_t end = at_user + (uint32_t)((user_len + SECTOR - 1) / SECTOR);

	table_zero(t, SEC_VOLUME * SECTOR);
	volume(t, end);
	path_table(t, false);
	path_table(t, true);
	record(t, "", 1, SEC_ROOT, SECTOR, true);
	record(t, "\1", 1, SEC_ROOT, SECTOR, true);
	record(t, "META-DATA.;1", 12, SEC_FILES, (uint32_t)meta_len, false);
	record(t, "USER-DATA.;1", 12, at_user, (uint32_t)user_len, false);
	table_align(t, SECTOR);
	table_put(t, meta, meta_len);
	table_align(t, SECTOR);
	table_put(t, user, user_len);
	table_align(t, SECTOR);
}

/* What cloud-init reads */

/* The file's keys as a list in YAML; -errno with a message printed. */
static int read_keys(const char *path, FILE *out)
{
	char line[8192];
	unsigned int nr = 0;
	size_t total = 0;
	FILE *f = fopen(path, "re");

	if (!f) {
		int err = -errno;

		msg_error("--cloud-init: open the public key '%s': %s. Check the path, or make a key: ssh-keygen",
			  path, strerror(-err));
		return err;
	}
	while (fgets(line, sizeof(line), f)) {
		size_t len = strcspn(line, "\r\n");

		line[len] = '\0';
		total += len;
		if (!len || line[0] == '#')
			continue;
		if (strstr(line, "PRIVATE KEY")) {
			msg_error("--cloud-init: '%s' is a private key, which no guest may see. Give the public one, '%s.pub'",
				  path, path);
			nr = 0;
			break;
		}
		for (size_t i = 0; i < len; i++)
			if (!isprint((unsigned char)line[i]) || line[i] == '"' || line[i] == '\\')
				line[0] = '\0';
		if (total > KEYS_MAX || !strchr(line, ' ')) {
			msg_error("--cloud-init: '%s' has something else than public keys, one a line. Give a file such as "
				  "~/.ssh/id_ed25519.pub", path);
			nr = 0;
			break;
		}
		fprintf(out, "      - \"%s\"\n", line);
		nr++;
	}
	if (feof(f) && !nr)
		msg_error("--cloud-init: there is no key in '%s'. Give a file such as ~/.ssh/id_ed25519.pub", path);
	fclose(f);
	return nr ? 0 : -EINVAL;
}

static bool name_ok(const char *s, bool host)
{
	size_t len = strlen(s);

	if (!len || len > (host ? 63 : 32) || isdigit((unsigned char)*s) || *s == '-')
		return false;
	for (; *s; s++)
		if (!(*s >= 'a' && *s <= 'z') && !isdigit((unsigned char)*s) && *s != '-' && (host || *s != '_'))
			return false;
	return true;
}

int seed_parse(char *s, struct seed *seed)
{
	char *save = NULL;

	*seed = (struct seed){ .host = "tenon" };
	for (char *opt = strtok_r(s, ",", &save); opt; opt = strtok_r(NULL, ",", &save)) {
		if (!strncmp(opt, "user=", 5))
			seed->user = opt + 5;
		else if (!strncmp(opt, "ssh-key=", 8))
			seed->ssh_key = opt + 8;
		else if (!strncmp(opt, "host=", 5))
			seed->host = opt + 5;
		else {
			msg_error("--cloud-init: there is no '%s'. Give user=NAME,ssh-key=FILE and, if you like, host=NAME", opt);
			return -EINVAL;
		}
	}
	if (!seed->user || !seed->ssh_key) {
		msg_error("--cloud-init: who may log in? Give user=NAME,ssh-key=FILE");
		return -EINVAL;
	}
	if (!name_ok(seed->user, false) || !name_ok(seed->host, true)) {
		msg_error("--cloud-init: '%s' is no name of a %s: small letters, digits and '-' make one",
			  name_ok(seed->user, false) ? seed->host : seed->user,
			  name_ok(seed->user, false) ? "host" : "user");
		return -EINVAL;
	}
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int seed_create(const struct seed *seed)
{
	struct table t = { .data = calloc(1, IMAGE_MAX), .cap = IMAGE_MAX };
	uint64_t id = 0xcbf29ce484222325;	/* FNV-1a: cloud-init acts when the instance is a new one */
	char *user = NULL, meta[256];
	size_t user_len = 0;
	FILE *f = open_memstream(&user, &user_len);
	int err = -ENOMEM, fd = -1;

	if (!t.data || !f) {
		msg_error("--cloud-init: out of memory");
		goto out;
	}
	fprintf(f, "#cloud-config\nhostname: %s\nusers:\n  - name: %s\n    shell: /bin/bash\n"
		   "    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n    lock_passwd: true\n    ssh_authorized_keys:\n",
		seed->host, seed->user);
	err = read_keys(seed->ssh_key, f);
	fclose(f);
	f = NULL;
	if (err)
		goto out;
	for (size_t i = 0; i < user_len; i++)
		id = (id ^ (uint8_t)user[i]) * 0x100000001b3;
	snprintf(meta, sizeof(meta), "instance-id: tenon-%016llx\nlocal-hostname: %s\n", (unsigned long long)id, seed->host);
	image(&t, meta, user);
	fd = memfd_create("cloud-init", MFD_CLOEXEC);
	err = fd < 0 ? -errno : t.full ? -E2BIG : write_all(fd, t.data, t.len);
	if (err) {
		msg_error("--cloud-init: make the disk: %s", strerror(-err));
		if (fd >= 0)
			close(fd);
	}
out:
	if (f)
		fclose(f);
	free(user);
	free(t.data);
	return err ? err : fd;
}
