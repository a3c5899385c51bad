// SPDX-License-Identifier: GPL-2.0-only
/*
 * 9p-name.c - 9P2000.L: making, moving and removing names
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "9p-internal.h"

#define UNLINK_DIR	0x200u		/* P9_DOTL_AT_REMOVEDIR */

/* The directory and the name in it that most changes begin with. */
static int get_entry(struct msg *m, struct node **dir, char name[NAME_MAX + 2])
{
	uint32_t id = get32(m);

	*dir = NULL;
	get_str(m, name, NAME_MAX + 2);
	if (m->bad)
		return -EPROTO;
	if (!tree_name_ok(name))
		return strlen(name) > NAME_MAX ? -ENAMETOOLONG : !strcmp(name, "..") ? -EEXIST : -EINVAL;
	*dir = p9_fid_node(m->srv, id);
	if (!*dir)
		return -EBADF;
	if (!S_ISDIR((*dir)->type) || (*dir)->fence) {
		int err = (*dir)->fence ? -EACCES : -ENOTDIR;

		node_put(&m->srv->tree, *dir);
		*dir = NULL;
		return err;
	}
	return 0;
}

int p9_do_readlink(struct msg *m)
{
	uint32_t id = get32(m);
	char target[PATH_MAX];
	struct node *node;
	ssize_t n;
	int err;

	if (m->bad)
		return -EPROTO;
	node = p9_fid_node(m->srv, id);
	if (!node)
		return -EBADF;
	n = S_ISLNK(node->type) ? readlinkat(node->fd, "", target, sizeof(target)) : (errno = EINVAL, -1);
	err = n < 0 ? -errno : 0;
	node_put(&m->srv->tree, node);
	if (!err)
		put_str(m, target, (size_t)n);
	return err;
}

/* Names */

/* Answer with the qid of what has just been made, after its mode is made right. */
static int put_made(struct msg *m, struct node *dir, const char *name, mode_t mode)
{
	struct tree *tree = &m->srv->tree;
	struct node *node;
	struct stat st;
	int err = tree_lookup(tree, dir, name, &node, &st);

	if (err)
		return err;
	err = tree_fix_mode(tree, node, mode);
	node_put(tree, node);
	if (!err)
		put_qid(m, &st);
	return err;
}

int p9_do_symlink(struct msg *m)
{
	char name[NAME_MAX + 2], target[PATH_MAX];
	struct node *dir;
	int err = get_entry(m, &dir, name);

	if (err)
		return err;
	get_str(m, target, sizeof(target));
	get32(m);
	err = m->bad ? -EPROTO : symlinkat(target, dir->fd, name) ? -errno : put_made(m, dir, name, 0);
	node_put(&m->srv->tree, dir);
	return err;
}

int p9_do_mknod(struct msg *m)
{
	char name[NAME_MAX + 2];
	struct node *dir;
	uint32_t mode, maj, min;
	int err = get_entry(m, &dir, name);

	if (err)
		return err;
	mode = get32(m);
	maj = get32(m);
	min = get32(m);
	get32(m);
	/*
	 * A device node would be one of the host: with a privileged launcher it would give the host's users
	 * what the guest likes. 0:0 is no device but overlayfs's mark of a deleted file.
	 */
	if (m->bad)
		err = -EPROTO;
	else if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode) && !(S_ISCHR(mode) && !maj && !min))
		err = -EPERM;
	else
		err = mknodat(dir->fd, name, mode & (S_IFMT | 07777), 0) ? -errno :
		      put_made(m, dir, name, mode & 07777);
	node_put(&m->srv->tree, dir);
	return err;
}

int p9_do_mkdir(struct msg *m)
{
	char name[NAME_MAX + 2];
	struct node *dir;
	uint32_t mode;
	int err = get_entry(m, &dir, name);

	if (err)
		return err;
	mode = get32(m) & 07777;
	get32(m);
	err = m->bad ? -EPROTO : mkdirat(dir->fd, name, mode) ? -errno : put_made(m, dir, name, mode);
	node_put(&m->srv->tree, dir);
	return err;
}

int p9_do_link(struct msg *m)
{
	struct tree *tree = &m->srv->tree;
	uint32_t dir_id = get32(m), id = get32(m);
	struct node *dir, *node;
	char name[NAME_MAX + 2], from[12];
	int err;

	get_str(m, name, sizeof(name));
	if (m->bad)
		return -EPROTO;
	if (!tree_name_ok(name))
		return -EINVAL;
	dir = p9_fid_node(m->srv, dir_id);
	node = p9_fid_node(m->srv, id);
	if (!dir || !node) {
		err = -EBADF;
	} else if (dir->fence || !S_ISDIR(dir->type)) {
		err = dir->fence ? -EACCES : -ENOTDIR;
	} else {
		tree_fd_name(node->fd, from);
		err = linkat(tree->proc_fd, from, dir->fd, name, AT_SYMLINK_FOLLOW) ? -errno : 0;
	}
	node_put(tree, node);
	node_put(tree, dir);
	return err;
}

int p9_do_renameat(struct msg *m)
{
	char name[NAME_MAX + 2], newname[NAME_MAX + 2];
	struct node *dir, *newdir;
	int err = get_entry(m, &dir, name);

	if (err)
		return err;
	err = get_entry(m, &newdir, newname);
	if (!err)
		err = renameat(dir->fd, name, newdir->fd, newname) ? -errno : 0;
	node_put(&m->srv->tree, newdir);
	node_put(&m->srv->tree, dir);
	return err;
}

int p9_do_rename(struct msg *m)
{
	struct tree *tree = &m->srv->tree;
	uint32_t id = get32(m);
	char name[NAME_MAX + 1], newname[NAME_MAX + 2];
	struct node *node, *dir = NULL, *newdir;
	int err = get_entry(m, &newdir, newname);

	if (err)
		return err;
	node = p9_fid_node(m->srv, id);
	err = node ? tree_locate(tree, node, &dir, name) : -EBADF;
	if (!err) {
		err = renameat(dir->fd, name, newdir->fd, newname) ? -errno : 0;
		node_put(tree, dir);
	}
	node_put(tree, node);
	node_put(tree, newdir);
	return err;
}

int p9_do_unlinkat(struct msg *m)
{
	char name[NAME_MAX + 2];
	struct node *dir;
	uint32_t flags;
	int err = get_entry(m, &dir, name);

	if (err)
		return err;
	flags = get32(m);
	err = m->bad ? -EPROTO : unlinkat(dir->fd, name, flags & UNLINK_DIR ? AT_REMOVEDIR : 0) ? -errno : 0;
	node_put(&m->srv->tree, dir);
	return err;
}

/* The fid is gone afterwards, whether the file is or not. */
int p9_do_remove(struct msg *m)
{
	struct tree *tree = &m->srv->tree;
	uint32_t id = get32(m);
	char name[NAME_MAX + 1];
	struct node *node, *dir;
	int err;

	if (m->bad)
		return -EPROTO;
	node = p9_fid_node(m->srv, id);
	if (!node)
		return -EBADF;
	p9_fid_del(m->srv, id);
	err = tree->readonly ? -EROFS : tree_locate(tree, node, &dir, name);
	if (!err) {
		err = unlinkat(dir->fd, name, S_ISDIR(node->type) ? AT_REMOVEDIR : 0) ? -errno : 0;
		node_put(tree, dir);
	}
	node_put(tree, node);
	return err;
}
