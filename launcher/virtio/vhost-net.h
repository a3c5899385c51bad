/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vhost-net.h - the host's kernel moves the frames between a card's two queues and a tap interface
 *
 * All with the device's lock held, but for vhost_net_open() and vhost_net_close().
 */
#ifndef TENON_VHOST_NET_H
#define TENON_VHOST_NET_H

#include <stdatomic.h>

#include "virtio.h"

#define VHOST_NET_PATH		"/dev/vhost-net"
#define VHOST_NET_QUEUES	2u	/* receive and send, the first of the card */

struct vhost_net {
	int fd;
	uint64_t features;		/* what the kernel knows */
	/* The guest's notifications of each queue: the kernel's while it runs, the card's otherwise. */
	int kick_fd[VHOST_NET_QUEUES];
	int err_fd;			/* the kernel gave up on a queue */
	atomic_bool running;		/* may be read without the lock */
};

/* 0, or -errno. @fd: of VHOST_NET_PATH, taken in any case; 0: open it, before the process is confined. */
int vhost_net_open(struct vhost_net *v, int fd);
/* Whoever has the descriptor, too, may use it anew. */
void vhost_net_close(struct vhost_net *v);
/* NULL, or what is wrong with a descriptor that is to be one. */
const char *vhost_net_check(int fd);
/*
 * The driver is ready, or the card master of the bus again: let the kernel have the queues. -errno if it can't take them as
 * the driver has set them up; the card has them then.
 */
int vhost_net_start(struct vhost_net *v, struct virtio_dev *dev, int tap_fd);
/* When this returns, it touches neither queues nor frames. */
void vhost_net_stop(struct vhost_net *v);
/* The same for a while: vhost_net_start() goes on from there. */
void vhost_net_suspend(struct vhost_net *v, struct virtio_dev *dev);
/* The guest has put something into a queue of the kernel's. */
void vhost_net_kick(struct vhost_net *v, unsigned int queue);

#endif /* TENON_VHOST_NET_H */
