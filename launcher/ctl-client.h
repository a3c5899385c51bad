/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctl-client.h - a client of the control socket: what it said (ctl.c) and what its commands do (ctl-commands.c)
 */
#ifndef TENON_CTL_CLIENT_H
#define TENON_CTL_CLIENT_H

#include <json-c/json.h>

#include "ctl.h"
#include "loop.h"

#define MAX_CLIENTS	8u
#define FDS_MAX		8u		/* of a client, with names and without */

struct client {
	struct ctl *ctl;
	struct watch watch;		/* fd -1: free */
	bool negotiated, console, closing;
	struct json_object *args;	/* of the command at work */
	const char *refusal;		/* by it: why not */
	char *in, *out;
	size_t in_len, out_len;
	unsigned int nr_came;		/* descriptors that have come and wait for their getfd */
	int came[FDS_MAX];
	struct {
		char name[CTL_NAME_MAX + 1];	/* "": free */
		int fd;
	} named[FDS_MAX];
};

struct ctl {
	struct vm *vm;
	char path[CTL_PATH_MAX], lock_path[CTL_PATH_MAX];
	int lock_fd;
	struct watch listen;
	struct client client[MAX_CLIENTS];
};

/* Takes the reference. */
void ctl_send(struct client *c, struct json_object *obj);
/* What speaks the protocol; a new reference. */
struct json_object *ctl_version(void);
/* Close the descriptors that have come. */
void ctl_close_came(struct client *c);

/* Do what a request asks for, and answer. */
void ctl_execute(struct client *c, struct json_object *request);
/*
 * Refuse a request without a look at what it wants. Was it to take a descriptor? Those that came go, or the next one would
 * take the wrong one.
 */
void ctl_not_understood(struct client *c, struct json_object *id, const char *class, const char *desc);

#endif /* TENON_CTL_CLIENT_H */
