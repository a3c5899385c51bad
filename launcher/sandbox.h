/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sandbox.h - what a thread may still ask of the host once it deals with what a guest wrote
 *
 * Documentation/sandbox.rst has the picture, sandbox.c the calls of each role and why.
 */
#ifndef TENON_SANDBOX_H
#define TENON_SANDBOX_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* What a thread does. Threads inherit the confinement of the thread that starts them. */
enum sandbox_role {
	SANDBOX_MAIN,			/* the loop, resets, the end; starts vCPU threads */
	SANDBOX_VCPU,			/* guest code and the registers of devices */
	SANDBOX_CONSOLE,
	SANDBOX_RNG,
	SANDBOX_BALLOON,
	SANDBOX_CHANNEL,
	SANDBOX_VSOCK,
	SANDBOX_CONNECT,		/* a process that connects to Unix sockets, and passes the descriptors on */
	SANDBOX_DISK,
	SANDBOX_NBD,
	SANDBOX_NET_USER,		/* libslirp: the sockets of the host */
	SANDBOX_NET_TAP,
	SANDBOX_NET_DGRAM,
	SANDBOX_SHARE,			/* a 9p server: the files below a directory */
	SANDBOX_SHARE_RO,
	SANDBOX_NR_ROLES,
};

/* Before the first thread is started; without this call, sandbox_enter() does nothing. 0, or -errno with a message. */
int sandbox_init(void);
/*
 * Confine the calling thread for good. @dirs: the directories that the role's rights to files are confined to, where it
 * has any (main, net, share), up to NULL; or NULL for none. Ends the process with a message if that fails.
 */
void sandbox_enter(enum sandbox_role role, const char *const *dirs);
/* Threads that a confined thread starts have its confinement, and can only add to it: the creator asks, the thread tells. */
bool sandbox_entered(void);
void sandbox_inherited(void);
/* Make the filter of a role that will be entered later, by such a thread. */
void sandbox_prepare(enum sandbox_role role);
/* fork(), for a process that is to enter a role. */
pid_t sandbox_fork(enum sandbox_role role);
/* In the handler of SIGSYS: say which thread made which system call. */
void sandbox_explain(const siginfo_t *info);
/* For tenon info: what of it this host has. */
bool sandbox_probe(unsigned int *landlock_abi);

#endif /* TENON_SANDBOX_H */
