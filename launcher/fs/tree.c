// SPDX-License-Identifier: GPL-2.0-only
/*
 * tree.c - a directory of the host that is shared with a guest
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>
#include <linux/openat2.h>

#include "../msg.h"
#include "tree.h"

#define FD_RESERVE	256u		/* descriptors left to the rest of the machine */
#define FD_MAX		65536u		/* of one tree */
#define FD_MIN		64u

#define RESOLVE_ALL	(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)

static int open_beneath(int dir, const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned int)flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = mode,
		.resolve = RESOLVE_ALL,
	};
	int fd;

	/* O_PATH takes O_DIRECTORY, O_NOFOLLOW and O_CLOEXEC only, and those are what is set. */
	do {
		fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	} while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

bool tree_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len <= NAME_MAX && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

void tree_fd_name(int fd, char name[12])
{
	snprintf(name, 12, "%d", fd);
}

/* Nodes */

struct node *node_get(struct node *node)
{
	atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
	return node;
}

void node_put(struct tree *tree, struct node *node)
{
	if (!node || atomic_fetch_sub(&node->refs, 1) != 1)
		return;
	tree_fd_put(tree, node->fd);
	free(node);
}

/* Several shares together must not take what the rest of the machine needs. */
static atomic_uint nr_all;

static void fd_uncount(struct tree *tree)
{
	atomic_fetch_sub(&tree->nr_fd, 1);
	atomic_fetch_sub(&nr_all, 1);
}

static int fd_get(struct tree *tree)
{
	unsigned int n = atomic_fetch_add(&tree->nr_fd, 1), all = atomic_fetch_add(&nr_all, 1);

	if (n < FD_MAX && all < tree->max_all)
		return 0;
	fd_uncount(tree);
	return -ENFILE;
}

void tree_fd_put(struct tree *tree, int fd)
{
	if (fd < 0)
		return;
	close(fd);
	fd_uncount(tree);
}

/* Does the file system give access to the kernel or to processes, instead of to files? */
static bool is_interface(int fd)
{
	/* Those that <linux/magic.h> does not have in every version are by number. */
	static const unsigned int magic[] = {
		PROC_SUPER_MAGIC, SYSFS_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC, SELINUX_MAGIC,
		SMACK_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC, DEVPTS_SUPER_MAGIC,
		NSFS_MAGIC, EFIVARFS_MAGIC, PSTOREFS_MAGIC, BINFMTFS_MAGIC, XENFS_SUPER_MAGIC,
		0x62656570 /* configfs */, 0x65735543 /* fusectl */, 0x19800202 /* mqueue */,
		0x6c6f6f70 /* binderfs */, 0x5a3c69f0 /* apparmorfs */, 0x67596969 /* rpc_pipefs */,
		0x6e667364 /* nfsd */, 0x07655821 /* resctrl */,
	};
	struct statfs sf;

	if (fstatfs(fd, &sf))
		return true;
	for (unsigned int i = 0; i < sizeof(magic) / sizeof(magic[0]); i++)
		if ((unsigned int)sf.f_type == magic[i])
			return true;
	return false;
}

/* Takes over @fd, which is counted. @above: the device of the directory it was found in. */
static int node_new(struct tree *tree, int fd, const dev_t *above, struct node **out, struct stat *st)
{
	struct node *node = malloc(sizeof(*node));
	int err = node ? 0 : -ENOMEM;

	if (!err && fstat(fd, st))
		err = -errno;
	if (err) {
		free(node);
		tree_fd_put(tree, fd);
		return err;
	}
	atomic_init(&node->refs, 1);
	node->fd = fd;
	node->type = st->st_mode & S_IFMT;
	node->dev = st->st_dev;
	node->fence = above && *above != st->st_dev && is_interface(fd);
	*out = node;
	return 0;
}

int tree_root(struct tree *tree, struct node **out, struct stat *st)
{
	int err = fd_get(tree), fd;

	if (err)
		return err;
	fd = fcntl(tree->root_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0) {
		err = -errno;
		fd_uncount(tree);
		return err;
	}
	return node_new(tree, fd, NULL, out, st);
}

/* A directory by its path relative to the top, "" for the top itself. */
static int lookup_path(struct tree *tree, const char *path, struct node **out, struct stat *st)
{
	int err, fd;

	if (!*path)
		return tree_root(tree, out, st);
	err = fd_get(tree);
	if (err)
		return err;
	fd = open_beneath(tree->root_fd, path, O_PATH | O_DIRECTORY, 0);
	if (fd < 0) {
		fd_uncount(tree);
		return fd;
	}
	/* It may be on any device: let it be looked at. */
	return node_new(tree, fd, &(dev_t){ 0 }, out, st);
}

/* Where @node is now, relative to the top: "" if it is the top. A hint, to be verified. */
static int find_path(struct tree *tree, struct node *node, char path[PATH_MAX])
{
	char top[PATH_MAX], name[12];
	ssize_t n, len;

	tree_fd_name(tree->root_fd, name);
	len = readlinkat(tree->proc_fd, name, top, sizeof(top));
	tree_fd_name(node->fd, name);
	n = readlinkat(tree->proc_fd, name, path, PATH_MAX);
	if (len <= 0 || n <= 0)
		return -ENOENT;
	if (len == PATH_MAX || n == PATH_MAX)
		return -ENAMETOOLONG;
	path[n] = '\0';
	if (len == 1)
		len = 0;		/* "/" */
	if (n < len || memcmp(path, top, (size_t)len) || (path[len] && path[len] != '/'))
		return -ENOENT;
	n = path[len] ? n - len - 1 : 0;
	memmove(path, path + len + (path[len] != '\0'), (size_t)n);
	path[n] = '\0';
	return 0;
}

int tree_locate(struct tree *tree, struct node *node, struct node **dir, char name[NAME_MAX + 1])
{
	char path[PATH_MAX];
	struct stat st, self;
	const char *base;
	char *slash;
	int err = find_path(tree, node, path);

	if (err)
		return err;
	if (!*path)
		return -EBUSY;		/* the top is in no directory of the tree */
	slash = strrchr(path, '/');
	base = slash ? slash + 1 : path;
	if (!tree_name_ok(base))
		return -ENOENT;
	strcpy(name, base);
	if (slash)
		*slash = '\0';
	err = lookup_path(tree, slash ? path : "", dir, &st);
	if (err)
		return err;
	/* The name may have moved meanwhile, or belong to a deleted file's successor. */
	if (fstat(node->fd, &self) || fstatat((*dir)->fd, name, &st, AT_SYMLINK_NOFOLLOW) ||
	    st.st_dev != self.st_dev || st.st_ino != self.st_ino) {
		node_put(tree, *dir);
		return -ENOENT;
	}
	return 0;
}

static int lookup_parent(struct tree *tree, struct node *dir, struct node **out, struct stat *st)
{
	char name[NAME_MAX + 1];
	struct stat top;
	int err;

	/* As on any system, the top is its own parent. */
	if (fstat(dir->fd, st) || fstat(tree->root_fd, &top))
		return -errno;
	if (st->st_dev == top.st_dev && st->st_ino == top.st_ino) {
		*out = node_get(dir);
		return 0;
	}
	err = tree_locate(tree, dir, out, name);
	if (!err && fstat((*out)->fd, st)) {
		err = -errno;
		node_put(tree, *out);
	}
	return err;
}

int tree_lookup(struct tree *tree, struct node *dir, const char *name, struct node **out, struct stat *st)
{
	int err, fd;

	if (!S_ISDIR(dir->type))
		return -ENOTDIR;
	if (!strcmp(name, ".."))
		return lookup_parent(tree, dir, out, st);
	if (dir->fence || !tree_name_ok(name))
		return strlen(name) > NAME_MAX ? -ENAMETOOLONG : -ENOENT;
	err = fd_get(tree);
	if (err)
		return err;
	fd = open_beneath(dir->fd, name, O_PATH, 0);
	if (fd < 0) {
		fd_uncount(tree);
		return fd;
	}
	return node_new(tree, fd, &dir->dev, out, st);
}

/*
 * Through /proc/self/fd, which leads to the very file that the node holds. Devices, pipes and sockets are
 * never opened: the guest has its own behind such a node, and opening the host's may block or do harm.
 */
int tree_reopen(struct tree *tree, struct node *node, int flags)
{
	char name[12];
	int err, fd;

	flags &= ~(O_CREAT | O_EXCL | O_NOFOLLOW);
	if (S_ISLNK(node->type))
		return -ELOOP;
	if (!S_ISREG(node->type) && !S_ISDIR(node->type))
		return -ENXIO;
	if (node->fence)
		return -EACCES;
	err = fd_get(tree);
	if (err)
		return err;
	tree_fd_name(node->fd, name);
	do {
		fd = openat(tree->proc_fd, name, flags | O_CLOEXEC | O_NOCTTY);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		err = -errno;
		fd_uncount(tree);
		return err;
	}
	return fd;
}

int tree_create(struct tree *tree, struct node *dir, const char *name, int flags, mode_t mode)
{
	int err, fd;

	if (!S_ISDIR(dir->type))
		return -ENOTDIR;
	if (dir->fence)
		return -EACCES;
	err = fd_get(tree);
	if (err)
		return err;
	fd = open_beneath(dir->fd, name, flags | O_CREAT | O_EXCL | O_NOCTTY, mode);
	if (fd < 0) {
		fd_uncount(tree);
		return fd;
	}
	if ((mode & tree->mask) && fchmod(fd, mode)) {
		err = -errno;
		tree_fd_put(tree, fd);
		return err;
	}
	return fd;
}

int tree_fix_mode(struct tree *tree, struct node *node, mode_t mode)
{
	char name[12];

	if (!(mode & tree->mask) || S_ISLNK(node->type))
		return 0;
	tree_fd_name(node->fd, name);
	return fchmodat(tree->proc_fd, name, mode & 07777, 0) ? -errno : 0;
}

/* The tree */

/*
 * A guest may hold many files, and the usual soft limit is made for select(). The hard limit is for those who
 * know better, and that is what this is.
 */
static unsigned int find_max_all(void)
{
	struct rlimit lim;
	uint64_t n;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return FD_MIN;
	if (lim.rlim_cur < lim.rlim_max) {
		struct rlimit more = { lim.rlim_max, lim.rlim_max };

		if (!setrlimit(RLIMIT_NOFILE, &more))
			lim = more;
	}
	n = lim.rlim_cur > FD_RESERVE ? lim.rlim_cur - FD_RESERVE : 0;
	return n < FD_MIN ? FD_MIN : n > INT_MAX ? INT_MAX : (unsigned int)n;
}

int tree_open(struct tree *tree, const char *path, bool readonly)
{
	struct stat st;
	int err, fd;

	*tree = (struct tree){ .path = path, .readonly = readonly, .root_fd = -1, .proc_fd = -1 };
	tree->max_all = find_max_all();
	tree->mask = umask(077);
	umask(tree->mask);
	tree->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (tree->root_fd < 0) {
		err = -errno;
		msg_error("share '%s': %s. %s", path, strerror(-err),
			  err == -ENOTDIR ? "Only a directory can be shared: name the one that it is in"
					  : "Check the path and its permissions");
		return err;
	}
	if (fstat(tree->root_fd, &st) || is_interface(tree->root_fd)) {
		err = -EINVAL;
		msg_error("share '%s': it is an interface of the host's kernel, and a guest could get hold "
			  "of the host through it. Share a directory of files", path);
		goto err;
	}
	tree->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (tree->proc_fd < 0) {
		err = -errno;
		msg_error("share '%s': open /proc/self/fd: %s. Sharing needs /proc: mount it", path,
			  strerror(-err));
		goto err;
	}
	fd = open_beneath(tree->root_fd, ".", O_PATH, 0);
	if (fd < 0) {
		err = fd;
		msg_error("share '%s': openat2: %s. Sharing needs Linux 5.6 or later%s", path, strerror(-err),
			  err == -EPERM ? ", and a container runtime that lets this call through" : "");
		goto err;
	}
	close(fd);
	return 0;

err:
	tree_close(tree);
	return err;
}

void tree_close(struct tree *tree)
{
	if (tree->proc_fd >= 0)
		close(tree->proc_fd);
	if (tree->root_fd >= 0)
		close(tree->root_fd);
	tree->proc_fd = tree->root_fd = -1;
}
