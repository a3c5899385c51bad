/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rootfs.h - tenon run --rootfs: a directory of the host as the guest's root file system, and a command in it
 */
#ifndef TENON_ROOTFS_H
#define TENON_ROOTFS_H

#include "vm.h"

struct rootfs {
	const char *dir;		/* NULL: not asked for */
	bool readonly;			/* the guest's changes stay in its memory */
	const char *modules;		/* where the kernel's modules are; NULL: look for them */
	char **command;			/* NULL-terminated; empty: a shell */
};

/*
 * Complete @config: kernel if none is given, initial RAM disk, command line, share, how it ends. Its strings
 * live as long as the process. 0, or -errno with a message printed.
 */
int rootfs_prepare(const struct rootfs *rootfs, struct vm_config *config);

#endif /* TENON_ROOTFS_H */
