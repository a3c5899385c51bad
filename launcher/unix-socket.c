// SPDX-License-Identifier: GPL-2.0-only
/*
 * unix-socket.c - see unix-socket.h
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "msg.h"
#include "unix-socket.h"

static int new_socket(const char *path, struct sockaddr_un *addr)
{
	int fd;

	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(addr->sun_path))
		return -ENAMETOOLONG;
	strcpy(addr->sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? -errno : fd;
}

static int bind_path(int fd, const struct sockaddr_un *addr, int backlog)
{
	const char *path = addr->sun_path;
	struct stat st;
	mode_t mask;
	int err = 0;

	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno == ECONNREFUSED && !lstat(path, &st) && S_ISSOCK(st.st_mode))
		unlink(path);
	mask = umask(077);
	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) || listen(fd, backlog))
		err = -errno;
	umask(mask);
	return err;
}

int unix_listen(const char *what, const char *path, int backlog)
{
	struct sockaddr_un addr;
	int fd = new_socket(path, &addr);
	int err = fd < 0 ? fd : bind_path(fd, &addr, backlog);

	if (!err)
		return fd;
	if (fd >= 0)
		close(fd);
	msg_error("%s: listen at '%s': %s. %s", what, path, strerror(-err),
		  err == -EADDRINUSE ? "Another machine listens there, or it is a file: choose another path" :
		  "Is its directory there, and yours?");
	return err;
}

int unix_connect(const char *path)
{
	struct sockaddr_un addr;
	int fd = new_socket(path, &addr), err;

	if (fd < 0 || !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	err = -errno;
	close(fd);
	return err;
}
