/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vsock-out.h - connections of the guest to programs of the host, made by a process that can do nothing else
 */
#ifndef TENON_VSOCK_OUT_H
#define TENON_VSOCK_OUT_H

#include <stdint.h>
#include <sys/types.h>

struct vsock_out {
	int fd;				/* to the process; -1: there is none */
	pid_t pid;
};

/* For ports at PATH_PORT. 0, or -errno with a message printed. */
int vsock_out_start(struct vsock_out *out, const char *path);
void vsock_out_stop(struct vsock_out *out);
/* A socket that is connected with who listens at PATH_PORT, or -errno. */
int vsock_out_connect(const struct vsock_out *out, uint32_t port);

#endif /* TENON_VSOCK_OUT_H */
