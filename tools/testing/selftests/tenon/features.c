// SPDX-License-Identifier: GPL-2.0-only
/*
 * features.c - what the node says of itself, and what an operator sees
 */
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "harness.h"

/* ---- every capability has its test ---- */

#define MAX_CAPS 512

TEST(caps, "each capability that is offered is exercised by a test")
{
	char dir[512], path[1024];
	bool tested[MAX_CAPS] = { false };
	ssize_t len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	unsigned int cap;
	struct dirent *d;
	DIR *list;

	if (is_kvm())
		SKIP("KVM offers more");
	REQUIRE(len > 0);
	dir[len] = 0;
	*strrchr(dir, '/') = 0;
	list = opendir(dir);
	REQUIRE(list);
	while ((d = readdir(list))) {
		FILE *out;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s --caps", dir, d->d_name);
		out = popen(path, "r");
		REQUIRE(out);
		while (fscanf(out, "%u", &cap) == 1)
			tested[cap % MAX_CAPS] = true;
		CHECK_EQ(pclose(out), 0);
	}
	closedir(list);
	for (cap = 0; cap < MAX_CAPS; cap++) {
		if (has_cap(cap) <= 0 || tested[cap])
			continue;
		printf("#   capability %u is offered, and none of the tests in %s names it\n", cap, dir);
		test_fail(__FILE__, __LINE__, "a capability without a test", 0);
	}
}

/* ---- what an operator sees ---- */

static bool file_has(const char *path, const char *what)
{
	static char text[1 << 16];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	return strstr(text, what);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	REQUIRE(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), (long)strlen(text));
	close(fd);
}

ASM16(seen_code, "cpuid;" SAY(0x5a) "hlt");
TEST(seen, "tracepoints and counters tell of an exit, and the directory goes with its VM")
{
	struct vm *vm;
	struct stat st;
	struct dirent *d;
	char path[512], dir[300] = "";
	DIR *list;

	if (is_kvm())
		SKIP("Tenon's own");
	if (stat("/sys/kernel/debug/tenon", &st))
		REQUIRE(!mount("none", "/sys/kernel/debug", "debugfs", 0, NULL));
	if (stat("/sys/kernel/tracing/events/tenon", &st))
		REQUIRE(!mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL));
	put("/sys/kernel/tracing/trace", "");
	put("/sys/kernel/tracing/events/tenon/enable", "1");
	vm = GUEST(CHIPS_NONE, MODE_REAL, seen_code);
	CHECK(vm_says(vm, 0, 0x5a));
	put("/sys/kernel/tracing/events/tenon/enable", "0");
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_entry: vcpu 0 rip 0x1000"));
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_exit: vcpu 0 rip 0x1000 reason 0x72"));
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_page_fault: vcpu 0 rip 0x1000 gpa 0x1000"));
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_pio: vcpu 0 out port 0x80 size 1 count 1 value 0x5a"));

	snprintf(path, sizeof(path), "%d-", getpid());
	list = opendir("/sys/kernel/debug/tenon");
	REQUIRE(list);
	while ((d = readdir(list))) {
		if (!strncmp(d->d_name, path, strlen(path)))
			snprintf(dir, sizeof(dir), "%s", d->d_name);
	}
	closedir(list);
	REQUIRE(*dir);
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s/vcpu0", dir);
	CHECK(file_has(path, "\nio_user 1\n"));
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s/total", dir);
	CHECK(file_has(path, "vcpus 1\n"));
	CHECK(!file_has(path, "\nexits 0\n"));
	CHECK(!file_has("/sys/kernel/debug/tenon/total", "vms 0\n"));
	vm_free(vm);
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s", dir);
	CHECK(stat(path, &st) && errno == ENOENT);
	CHECK(!file_has("/sys/kernel/debug/tenon/total", "\nio_user 0\n"));
}
