/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cmd.h - the subcommands, and what they share for reading their arguments
 */
#ifndef TENON_CMD_H
#define TENON_CMD_H

#include <stdbool.h>
#include <stdint.h>

#include "vm.h"

/* Exit statuses of commands other than run, which has enum vm_end. */
#define EXIT_OK		0
#define EXIT_FAILED	1
#define EXIT_USAGE	2

struct cmd {
	const char *name;
	const char *summary;
	int (*fn)(int argc, char **argv);	/* argv[0] is the subcommand; returns the exit status */
};

int cmd_run(int argc, char **argv);
int cmd_ls(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_kill(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_memory(int argc, char **argv);
int cmd_device(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_img(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* options.c */

/* "512M", "2G", "65536": bytes. 0, -EINVAL (not a size), -ERANGE (more than 64 bits hold). */
int parse_size(const char *s, uint64_t *size);
/* Decimal or 0x...; the whole string; 0, -EINVAL, -ERANGE (outside of [min, max]). */
int parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *val);
/*
 * "FILE[,OPTION...]": options are taken from the end, so that a name may have commas. @s is changed and must
 * live as long as @disk. 0, or -EINVAL with *bad the option that is wrong, NULL if there is no file name.
 */
int parse_disk(char *s, struct vm_disk *disk, const char **bad);

/*
 * "DIR[,tag=NAME][,ro]"; a comma elsewhere is part of the name. Likewise. -ENAMETOOLONG: not a tag; without one
 * it is NULL.
 */
int parse_share(char *s, struct vm_share *share);

/* RAM and swap of this host in bytes, or what the control group allows of it; 0: unknown. */
uint64_t host_memory(uint64_t *ram);
unsigned int host_cpus(void);

#endif /* TENON_CMD_H */
