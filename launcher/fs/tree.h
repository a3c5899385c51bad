/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tree.h - a directory of the host that is shared with a guest, and the way from names to files in it
 *
 * Every name goes through openat2() with RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS and RESOLVE_NO_SYMLINKS, one
 * component at a time from a directory that was itself found this way: symbolic links are the guest's to
 * follow, and no rename in between leads out of the tree. A node holds an O_PATH descriptor, so that it means
 * the same file for as long as the guest uses it, whatever becomes of its name.
 *
 * A mount point of a kernel interface (/proc, /sys, cgroups...) is a *fenced* node: an empty directory.
 * Otherwise a guest that is given / could reach processes of the host through it.
 */
#ifndef TENON_TREE_H
#define TENON_TREE_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct tree {
	const char *path;		/* for messages */
	int root_fd, proc_fd;		/* O_PATH: the directory, /proc/self/fd */
	mode_t mask;			/* the process's umask, which a guest's modes are not subject to */
	bool readonly;
	atomic_uint nr_fd;		/* descriptors that guests made this tree hold */
	unsigned int max_all;		/* that the trees of the process may hold together */
};

struct node {
	atomic_uint refs;
	int fd;
	mode_t type;			/* S_IFMT of it: a file never changes its type */
	dev_t dev;
	bool fence;
};

/* 0, or -errno with a message printed. */
int tree_open(struct tree *tree, const char *path, bool readonly);
void tree_close(struct tree *tree);

/* All of these return 0 (or a descriptor) or -errno. Any thread. */

/* The top of the tree. */
int tree_root(struct tree *tree, struct node **out, struct stat *st);
/* The entry @name of the directory @dir; ".." stays within the tree. */
int tree_lookup(struct tree *tree, struct node *dir, const char *name, struct node **out, struct stat *st);
/* Open a regular file or directory that is known as a node; O_CLOEXEC is added. Count it by tree_fd_put(). */
int tree_reopen(struct tree *tree, struct node *node, int flags);
void tree_fd_put(struct tree *tree, int fd);
/* Create a regular file that must not exist, and open it. */
int tree_create(struct tree *tree, struct node *dir, const char *name, int flags, mode_t mode);
/* The directory that @node is in and its name there; -ENOENT if it has none any more, or lies outside. */
int tree_locate(struct tree *tree, struct node *node, struct node **dir, char name[NAME_MAX + 1]);
/* The bits of @mode that the umask took from a file just created. */
int tree_fix_mode(struct tree *tree, struct node *node, mode_t mode);
/* /proc/self/fd/FD, relative to tree->proc_fd: a name for calls that follow links. */
void tree_fd_name(int fd, char name[12]);

struct node *node_get(struct node *node);
void node_put(struct tree *tree, struct node *node);

/* One component of a path, neither "." nor "..". */
bool tree_name_ok(const char *name);

#endif /* TENON_TREE_H */
