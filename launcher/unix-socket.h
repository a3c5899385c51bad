/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * unix-socket.h - Unix sockets of a machine by path, for its user alone
 */
#ifndef TENON_UNIX_SOCKET_H
#define TENON_UNIX_SOCKET_H

/*
 * Listen at @path, without blocking. A socket that a machine which is no more has left behind makes way; anything else
 * does not. The descriptor, or -errno with a message printed that begins with @what.
 */
int unix_listen(const char *what, const char *path, int backlog);
/* Connect to whoever listens at @path; never waits. The descriptor, or -errno. */
int unix_connect(const char *path);

#endif /* TENON_UNIX_SOCKET_H */
