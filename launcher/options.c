// SPDX-License-Identifier: GPL-2.0-only
/*
 * options.c - reading of arguments, and what the host has to compare them with
 */
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "cmd.h"

/* strtoull() alone takes signs and spaces, and wraps "-1" round. */
static int parse_number(const char *s, uint64_t *val, const char **end)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	char *e;

	if (!isdigit((unsigned char)s[0]) || (hex && !isxdigit((unsigned char)s[2])))
		return -EINVAL;
	errno = 0;
	*val = strtoull(s, &e, hex ? 16 : 10);
	*end = e;
	return errno == ERANGE ? -ERANGE : 0;
}

int parse_size(const char *s, uint64_t *size)
{
	static const char units[] = "BKMGT";
	const char *end, *unit;
	unsigned int shift;
	uint64_t val;
	int ret = parse_number(s, &val, &end);

	if (ret == -EINVAL)
		return ret;
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit)
			return -EINVAL;
		shift = 10 * (unsigned int)(unit - units);
		end++;
		/* "512MB" and "512MiB" mean the same here. */
		if (shift && !strcasecmp(end, "ib"))
			end += 2;
		else if (shift && !strcasecmp(end, "b"))
			end++;
		if (*end)
			return -EINVAL;
		if (ret || val > UINT64_MAX >> shift)
			return -ERANGE;
		val <<= shift;
	}
	if (ret)
		return ret;
	*size = val;
	return 0;
}

int parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *val)
{
	const char *end;
	uint64_t v;
	int ret = parse_number(s, &v, &end);

	if (ret == -EINVAL || *end)
		return -EINVAL;
	if (ret || v < min || v > max)
		return -ERANGE;
	*val = v;
	return 0;
}

/* The value of a disk option; 0, -EINVAL. */
static int disk_value(const char *key, size_t len, const char *val, struct vm_disk *disk)
{
	static const char *const backings[] = {
		[BLOCK_BACKING_INSIDE] = "inside", [BLOCK_BACKING_ANY] = "any", [BLOCK_BACKING_NONE] = "none",
	};

	if (len == 6 && !strncmp(key, "format", len)) {
		disk->format = block_driver_by_name(val);
		return disk->format ? 0 : -EINVAL;
	}
	if (len == 7 && !strncmp(key, "discard", len)) {
		disk->no_discard = !strcmp(val, "off");
		return disk->no_discard || !strcmp(val, "on") ? 0 : -EINVAL;
	}
	if (len == 6 && !strncmp(key, "serial", len)) {
		disk->serial = val;
		return *val && strlen(val) <= 20 ? 0 : -EINVAL;
	}
	if (len == 5 && !strncmp(key, "cache", len))
		return block_cache_by_name(val, &disk->cache) ? 0 : -EINVAL;
	if (len == 3 && !strncmp(key, "aio", len)) {
		disk->aio = strcmp(val, "io_uring") ? BLOCK_AIO_THREADS : BLOCK_AIO_URING;
		return disk->aio == BLOCK_AIO_URING || !strcmp(val, "threads") ? 0 : -EINVAL;
	}
	if (len == 7 && !strncmp(key, "backing", len)) {
		for (unsigned int i = 0; i < sizeof(backings) / sizeof(backings[0]); i++) {
			if (!strcmp(val, backings[i])) {
				disk->backing = (enum block_backing)i;
				return 0;
			}
		}
	}
	return -EINVAL;
}

int parse_disk(char *s, struct vm_disk *disk, const char **bad)
{
	static const char *const names[] = {
		"ro", "snapshot", "transitional", "format=", "cache=", "discard=", "backing=", "serial=", "aio=",
	};
	unsigned int seen = 0, i;
	char *comma;

	*disk = (struct vm_disk){ .path = s };
	*bad = NULL;
	while ((comma = strrchr(s, ',')) != NULL) {
		const char *opt = comma + 1, *eq = strchr(opt, '=');

		for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			if (eq ? !strncmp(opt, names[i], (size_t)(eq + 1 - opt)) && !names[i][eq + 1 - opt] :
				 !strcmp(opt, names[i]))
				break;
		}
		/* Anything else, and the same once more, belongs to the name. */
		if (i == sizeof(names) / sizeof(names[0]) || seen >> i & 1)
			break;
		seen |= 1u << i;
		if (i == 0)
			disk->readonly = true;
		else if (i == 1)
			disk->snapshot = true;
		else if (i == 2)
			disk->transitional = true;
		else if (disk_value(opt, (size_t)(eq - opt), eq + 1, disk)) {
			*bad = opt;
			return -EINVAL;
		}
		*comma = '\0';
	}
	if (disk->readonly && disk->snapshot) {
		*bad = "snapshot";
		return -EINVAL;
	}
	return *s ? 0 : -EINVAL;
}

int parse_share(char *s, struct vm_share *share)
{
	char *comma;
	size_t len;

	*share = (struct vm_share){ .path = s };
	while ((comma = strrchr(s, ','))) {
		if (!strcmp(comma, ",ro"))
			share->readonly = true;
		else if (!strncmp(comma, ",tag=", 5))
			share->tag = comma + 5;
		else
			break;
		*comma = '\0';
	}
	len = share->tag ? strlen(share->tag) : 1;
	if (!len || len > VM_SHARE_TAG_MAX)
		return -ENAMETOOLONG;
	return *s ? 0 : -EINVAL;
}

uint64_t host_memory(uint64_t *ram)
{
	struct sysinfo si;
	unsigned long long limit;
	uint64_t total, swap;
	FILE *f;

	if (sysinfo(&si) < 0)
		return 0;
	total = (uint64_t)si.totalram * si.mem_unit;
	swap = (uint64_t)si.totalswap * si.mem_unit;

	/* Inside a container the root of the hierarchy is the container's own group. */
	f = fopen("/sys/fs/cgroup/memory.max", "re");
	if (f) {
		if (fscanf(f, "%llu", &limit) == 1 && limit && limit < total)
			total = limit;
		fclose(f);
	}
	if (ram)
		*ram = total;
	return total + swap;
}

unsigned int host_cpus(void)
{
	cpu_set_t set;
	long n;

	if (!sched_getaffinity(0, sizeof(set), &set))
		return (unsigned int)CPU_COUNT(&set);
	n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned int)n : 1;
}
