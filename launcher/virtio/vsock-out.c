// SPDX-License-Identifier: GPL-2.0-only
/*
 * vsock-out.c - see vsock-out.h
 *
 * A system call filter can't look at a path, and Landlock does not know of sockets: a thread that may connect to one Unix
 * socket may connect to all of the user's. The thread that reads what the guest wrote may connect to none. It asks this
 * process, for a port, and gets a descriptor. The process has forked before the guest ran, has nothing of the machine
 * open, and is told nothing but four bytes at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../ctl.h"
#include "../msg.h"
#include "../sandbox.h"
#include "../unix-socket.h"
#include "vsock-out.h"

/* A message with room for one descriptor. */
struct message {
	struct msghdr head;
	struct iovec iov;
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	int32_t err;
};

static void message_init(struct message *m)
{
	memset(m, 0, sizeof(*m));
	m->iov = (struct iovec){ &m->err, sizeof(m->err) };
	m->head = (struct msghdr){ .msg_iov = &m->iov, .msg_iovlen = 1 };
}

static void message_room(struct message *m)
{
	m->head.msg_control = m->control.buf;
	m->head.msg_controllen = sizeof(m->control.buf);
}

static void serve(int sock, const char *path)
{
	char name[CTL_PATH_MAX + 12];
	struct message m;
	uint32_t port;

	while (recv(sock, &port, sizeof(port), 0) == sizeof(port)) {
		int fd;

		snprintf(name, sizeof(name), "%s_%u", path, port);
		fd = unix_connect(name);
		message_init(&m);
		m.err = fd < 0 ? fd : 0;
		if (fd >= 0) {
			struct cmsghdr *c;

			message_room(&m);
			c = CMSG_FIRSTHDR(&m.head);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(fd));
			memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		}
		sendmsg(sock, &m.head, MSG_NOSIGNAL);
		if (fd >= 0)
			close(fd);
	}
}

int vsock_out_start(struct vsock_out *out, const char *path)
{
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		err = -errno;
		msg_error("create sockets for --vsock: %s. Raise the limit of open files (ulimit -n)", strerror(-err));
		return err;
	}
	out->pid = sandbox_fork(SANDBOX_CONNECT);
	if (out->pid < 0) {
		err = -errno;
		msg_error("start a process for --vsock: %s. Raise the limit of processes (ulimit -u)", strerror(-err));
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (!out->pid) {
		prctl(PR_SET_NAME, "vsock-connect");
		/* Nothing of the machine but this: locks of images and the interface would outlive it. */
		dup2(pair[1], 0);
		syscall(SYS_close_range, 3u, ~0u, 0u);
		sandbox_enter(SANDBOX_CONNECT, NULL);
		serve(0, path);
		_exit(0);
	}
	close(pair[1]);
	out->fd = pair[0];
	return 0;
}

void vsock_out_stop(struct vsock_out *out)
{
	if (out->fd < 0)
		return;
	/* It ends when nobody can ask it any more. */
	close(out->fd);
	waitpid(out->pid, NULL, 0);
}

int vsock_out_connect(const struct vsock_out *out, uint32_t port)
{
	struct message m;
	struct cmsghdr *c;
	int fd = -1;

	message_init(&m);
	message_room(&m);
	if (send(out->fd, &port, sizeof(port), MSG_NOSIGNAL) != sizeof(port) ||
	    recvmsg(out->fd, &m.head, MSG_CMSG_CLOEXEC) != sizeof(m.err))
		return -EPIPE;
	c = CMSG_FIRSTHDR(&m.head);
	if (!m.err && c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd >= 0 ? fd : m.err < 0 ? m.err : -EPROTO;
}
