// SPDX-License-Identifier: GPL-2.0-only
/*
 * usage: ub NAME N      runs benchmark NAME with N units of work
 *        ub list        lists the names
 */
#include "ub.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ub_die(const char *what)
{
	perror(what);
	exit(3);
}

static const struct ub_entry *const tabs[] = { ub_int, ub_fp, ub_vec, ub_mem, ub_os, ub_legacy };

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: ub NAME N | ub list\n");
		return 2;
	}
	uint64_t n = argc > 2 ? strtoull(argv[2], 0, 0) : 1;
	for (size_t t = 0; t < sizeof(tabs) / sizeof(*tabs); t++)
		for (const struct ub_entry *e = tabs[t]; e->name; e++) {
			if (!strcmp(argv[1], "list")) {
				puts(e->name);
				continue;
			}
			if (!strcmp(argv[1], e->name)) {
				printf("CHECK %016llx\n", (unsigned long long)e->fn(n));
				return 0;
			}
		}
	return strcmp(argv[1], "list") ? 2 : 0;
}
