// SPDX-License-Identifier: GPL-2.0-only
/*
 * launcher-options.c - sizes, numbers and disks as the command line has them; the oracle is the table
 */
#include <errno.h>
#include <string.h>

#include "launcher/cmd.h"
#include "tap.h"

static const struct {
	const char *text;
	int ret;
	uint64_t val;
} sizes[] = {
	{ "0", 0, 0 },
	{ "1", 0, 1 },
	{ "512M", 0, 512ull << 20 },
	{ "512m", 0, 512ull << 20 },
	{ "512MB", 0, 512ull << 20 },
	{ "512MiB", 0, 512ull << 20 },
	{ "4k", 0, 4096 },
	{ "7B", 0, 7 },
	{ "2G", 0, 2ull << 30 },
	{ "1T", 0, 1ull << 40 },
	{ "0x1000", 0, 4096 },
	{ "0x10M", 0, 16ull << 20 },
	{ "010", 0, 10 },
	{ "18446744073709551615", 0, UINT64_MAX },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "17179869183G", 0, 17179869183ull << 30 },
	{ "17179869184G", -ERANGE, 0 },
	{ "99999999999999999999T", -ERANGE, 0 },
	{ "16777216T", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "M", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
	{ " 1", -EINVAL, 0 },
	{ "1 ", -EINVAL, 0 },
	{ "1.5G", -EINVAL, 0 },
	{ "0x", -EINVAL, 0 },
	{ "0xM", -EINVAL, 0 },
	{ "12Q", -EINVAL, 0 },
	{ "12MM", -EINVAL, 0 },
	{ "12BB", -EINVAL, 0 },
	{ "12Mi", -EINVAL, 0 },
	{ "lots", -EINVAL, 0 },
};

static const struct {
	const char *text;
	uint64_t min, max;
	int ret;
	uint64_t val;
} uints[] = {
	{ "1", 1, 255, 0, 1 },
	{ "255", 1, 255, 0, 255 },
	{ "0xf4", 0, 0xfffc, 0, 0xf4 },
	{ "0", 1, 255, -ERANGE, 0 },
	{ "256", 1, 255, -ERANGE, 0 },
	{ "1000", 1, 255, -ERANGE, 0 },
	{ "99999999999999999999999", 1, 255, -ERANGE, 0 },
	{ "-1", 0, 255, -EINVAL, 0 },
	{ "2x", 1, 255, -EINVAL, 0 },
	{ "two", 1, 255, -EINVAL, 0 },
	{ "", 0, 255, -EINVAL, 0 },
	{ "1K", 0, 5000, -EINVAL, 0 },
};

static const struct {
	const char *text;
	int ret;
	const char *path;
	bool readonly;
} disks[] = {
	{ "disk.img", 0, "disk.img", false },
	{ "disk.img,ro", 0, "disk.img", true },
	{ "a,b.img", 0, "a,b.img", false },
	{ "a,ro,ro", 0, "a,ro", true },
	{ "ro", 0, "ro", false },
	{ "", -EINVAL, "", false },
	{ ",ro", -EINVAL, "", true },
};

static const struct {
	const char *text;
	int ret;
	const char *path;
	const struct block_driver *format;
	enum block_cache cache;
	bool snapshot, no_discard;
} disk_options[] = {
	{ "d,format=qcow2", 0, "d", &block_qcow2, BLOCK_WRITEBACK, false, false },
	{ "d,format=raw,cache=none,discard=off", 0, "d", &block_raw, BLOCK_NONE, false, true },
	{ "d,snapshot,discard=on", 0, "d", NULL, BLOCK_WRITEBACK, true, false },
	{ "a,x=y,cache=unsafe", 0, "a,x=y", NULL, BLOCK_UNSAFE, false, false },
	{ "d,cache=writethrough,cache=none", 0, "d,cache=writethrough", NULL, BLOCK_NONE, false, false },
	{ "d,format=vmdk", -EINVAL, NULL, NULL, BLOCK_WRITEBACK, false, false },
	{ "d,cache=", -EINVAL, NULL, NULL, BLOCK_WRITEBACK, false, false },
	{ "d,discard=maybe", -EINVAL, NULL, NULL, BLOCK_WRITEBACK, false, false },
	{ "d,ro,snapshot", -EINVAL, NULL, NULL, BLOCK_WRITEBACK, false, false },
	{ "d,serial=123456789012345678901", -EINVAL, NULL, NULL, BLOCK_WRITEBACK, false, false },
};

#define NR(a)	(sizeof(a) / sizeof((a)[0]))

int main(void)
{
	uint64_t ram = 0;

	for (unsigned int i = 0; i < NR(sizes); i++) {
		uint64_t val = 0;
		int ret = parse_size(sizes[i].text, &val);

		ok(ret == sizes[i].ret && val == sizes[i].val, "size '%s': %d, %llu", sizes[i].text, ret,
		   (unsigned long long)val);
	}
	for (unsigned int i = 0; i < NR(uints); i++) {
		uint64_t val = 0;
		int ret = parse_uint(uints[i].text, uints[i].min, uints[i].max, &val);

		ok(ret == uints[i].ret && val == uints[i].val, "number '%s': %d, %llu", uints[i].text, ret,
		   (unsigned long long)val);
	}
	for (unsigned int i = 0; i < NR(disks); i++) {
		struct vm_disk disk = { 0 };
		const char *bad;
		char text[32];
		int ret;

		snprintf(text, sizeof(text), "%s", disks[i].text);
		ret = parse_disk(text, &disk, &bad);
		ok(ret == disks[i].ret && !strcmp(disk.path, disks[i].path) &&
			   disk.readonly == disks[i].readonly,
		   "disk '%s': %d, '%s'%s", disks[i].text, ret, disk.path, disk.readonly ? " read-only" : "");
	}
	for (unsigned int i = 0; i < NR(disk_options); i++) {
		struct vm_disk disk;
		const char *bad;
		char text[64];
		int ret;

		snprintf(text, sizeof(text), "%s", disk_options[i].text);
		ret = parse_disk(text, &disk, &bad);
		ok(ret == disk_options[i].ret &&
			   (ret ? bad != NULL : !strcmp(disk.path, disk_options[i].path)) &&
			   (ret ||
			    (disk.format == disk_options[i].format && disk.cache == disk_options[i].cache &&
			     disk.snapshot == disk_options[i].snapshot &&
			     disk.no_discard == disk_options[i].no_discard)),
		   "disk '%s': %d, '%s'", disk_options[i].text, ret, ret ? bad : disk.path);
	}
	ok(host_memory(&ram) >= ram && ram > 0, "the host has memory");
	ok(host_cpus() > 0, "and processors");
	return tap_done();
}
