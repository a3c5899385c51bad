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

int parse_disk(char *s, struct vm_disk *disk)
{
	static const char ro[] = ",ro";
	size_t len = strlen(s);

	disk->path = s;
	disk->readonly = false;
	if (len >= strlen(ro) && !strcmp(s + len - strlen(ro), ro)) {
		s[len - strlen(ro)] = '\0';
		disk->readonly = true;
	}
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
