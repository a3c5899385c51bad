// SPDX-License-Identifier: GPL-2.0-only
/*
 * dgram.c - frames by a socket, between a card and a process that is its network
 *
 * A machine that runs can't make sockets any more: a network that takes some is served by a process of its own, which has
 * the other end of a pair of AF_UNIX sockets. They are of type SOCK_SEQPACKET: a message is a frame, and each end learns
 * that the other one is gone. A frame stands behind its struct virtio_net_hdr_v1, since what that leaves undone saves the
 * most: checksums, and segments that are one frame of 64 KB instead of 45 of 1500 bytes.
 *
 * Neither end trusts the other. That of the machine may have been handed over by anybody; the other one gets what a guest
 * sent that may have taken over the machine. Neither waits for the other, nor drops a frame because it is slow: what does
 * not fit stays where it came from, in the guest's ring or in the sockets of the host.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/if_ether.h>

#include "../msg.h"
#include "../sandbox.h"
#include "net.h"

#define DGRAM_BATCH	64u
#define HDR_SIZE	sizeof(struct virtio_net_hdr_v1)

/* 0: sent, or lost as on a wire; -EAGAIN: there is no room; -EPIPE: nobody is at the other end. */
static int put(int fd, const struct virtio_net_hdr_v1 *hdr, const uint8_t *frame, size_t len)
{
	struct iovec iov[] = { { (void *)(uintptr_t)hdr, HDR_SIZE }, { (void *)(uintptr_t)frame, len } };
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	/* Not by O_NONBLOCK, which whoever else has the socket could take away. */
	while (sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN)
			return -EAGAIN;
		return errno == EPIPE || errno == ECONNRESET || errno == ECONNREFUSED || errno == ENOTCONN ? -EPIPE : 0;
	}
	return 0;
}

/* The length of a frame in @buf, behind its header; 0: of no frame; -EAGAIN: there is none; -EPIPE: there will be none. */
static int get(int fd, uint8_t buf[NET_DGRAM_MAX])
{
	const ssize_t len = recv(fd, buf, NET_DGRAM_MAX, MSG_DONTWAIT | MSG_TRUNC);

	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	if (!len)
		return -EPIPE;
	return len < (ssize_t)(HDR_SIZE + ETH_HLEN) || len > (ssize_t)NET_DGRAM_MAX ? 0 : (int)(len - (ssize_t)HDR_SIZE);
}

/* The machine's end */

struct dgram {
	int fd;
	int index;			/* in net_poll, -1: not polled */
	bool dead;			/* the other end is closed */
	size_t in_len, out_len;		/* of frames that wait for room in the guest, and in the socket; 0: none */
	struct virtio_net_hdr_v1 out_hdr;
	uint8_t in[NET_DGRAM_MAX], out[NET_FRAME_MAX];
};

static void end(struct dgram *d)
{
	if (!d->dead)
		msg_warn("a network card that was added has lost its network: the process that served it has ended. Remove it "
			 "(tenon device remove), and add it again");
	d->dead = true;
	d->in_len = d->out_len = 0;
}

static bool dgram_can_send(struct net *net)
{
	return !((struct dgram *)net->state)->out_len;
}

static void dgram_send(struct net *net, const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len)
{
	struct dgram *d = net->state;

	if (d->dead || put(d->fd, hdr, frame, len) != -EAGAIN)
		return;
	d->out_hdr = *hdr;
	memcpy(d->out, frame, len);
	d->out_len = len;
}

/* A header that a guest can make something of; segments are not offered, and go no further (virtio-net.c). */
static bool mend(struct virtio_net_hdr_v1 *hdr, size_t len)
{
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if ((size_t)le16toh(hdr->csum_start) + le16toh(hdr->csum_offset) + 2 > len)
			return false;
		hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	} else {
		hdr->flags &= VIRTIO_NET_HDR_F_DATA_VALID;
		hdr->csum_start = hdr->csum_offset = 0;
	}
	hdr->hdr_len = hdr->gso_size = 0;
	return true;
}

static bool deliver(struct net *net, struct dgram *d)
{
	struct virtio_net_hdr_v1 hdr;

	memcpy(&hdr, d->in, HDR_SIZE);
	if (mend(&hdr, d->in_len) && !net->receive(net->opaque, &hdr, d->in + HDR_SIZE, d->in_len))
		return false;
	d->in_len = 0;
	return true;
}

static void dgram_poll_prepare(struct net *net, struct net_poll *poll, int *timeout)
{
	struct dgram *d = net->state;
	/* Frames stay in the socket until the guest has made room. */
	const short events = (d->in_len ? 0 : POLLIN) | (d->out_len ? POLLOUT : 0);

	(void)timeout;
	d->index = d->dead || !events ? -1 : net_poll_add(poll, d->fd, events);
}

static void dgram_poll_done(struct net *net, const struct net_poll *poll)
{
	struct dgram *d = net->state;
	const short events = d->index < 0 ? 0 : poll->fd[d->index].revents;
	int got;

	if (d->out_len && (events & ~POLLIN)) {
		got = put(d->fd, &d->out_hdr, d->out, d->out_len);
		if (got != -EAGAIN)
			d->out_len = 0;
		if (got == -EPIPE)
			end(d);
	}
	if (d->in_len ? !deliver(net, d) : d->dead || !(events & ~POLLOUT))
		return;
	for (unsigned int n = 0; n < DGRAM_BATCH; n++) {
		got = get(d->fd, d->in);
		if (got == -EPIPE)
			end(d);
		if (got < 0)
			return;
		d->in_len = (size_t)got;
		if (got && !deliver(net, d))
			return;
	}
}

static int dgram_open(struct net *net, const struct vm_net *config, unsigned int index)
{
	struct dgram *d = calloc(1, sizeof(*d));

	(void)index;
	if (!d) {
		close(config->fd);
		return -ENOMEM;
	}
	d->fd = config->fd;
	d->index = -1;
	net->state = d;
	memcpy(net->mac, config->mac, sizeof(net->mac));
	net->mtu = (uint16_t)config->mtu;
	return 0;
}

static void dgram_close(struct net *net)
{
	struct dgram *d = net->state;

	close(d->fd);
	free(d);
	net->state = NULL;
}

static void dgram_enter(void)
{
	sandbox_enter(SANDBOX_NET_DGRAM, NULL);
}

const char *dgram_check(int fd)
{
	int domain = 0, type = 0;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    domain != AF_UNIX || type != SOCK_SEQPACKET)
		return "The descriptor is no AF_UNIX socket of type SOCK_SEQPACKET";
	return NULL;
}

const struct net_ops net_dgram = {
	.name = "dgram",
	.offload = NET_USER_OFFLOADS,
	.open = dgram_open,
	.close = dgram_close,
	.enter = dgram_enter,
	.can_send = dgram_can_send,
	.send = dgram_send,
	.poll_prepare = dgram_poll_prepare,
	.poll_done = dgram_poll_done,
};

/* The other end */

static bool relay_receive(void *opaque, const struct virtio_net_hdr_v1 *hdr, const uint8_t *frame, size_t len)
{
	struct net_relay *r = opaque;

	/* That nobody is there any more is seen where frames are read. */
	if (!r->full)
		r->full = put(r->fd, hdr, frame, len) == -EAGAIN;
	return !r->full;
}

void net_relay_init(struct net_relay *r, struct net *net, int fd)
{
	*r = (struct net_relay){ .net = net, .fd = fd };
	net->receive = relay_receive;
	net->opaque = r;
}

bool net_relay_turn(struct net_relay *r, int timeout)
{
	struct virtio_net_hdr_v1 hdr;
	short events;
	int len;

	r->poll.nr = 0;
	if (net_poll_add(&r->poll, r->fd, POLLIN | (r->full ? POLLOUT : 0)) < 0)
		return false;
	r->net->ops->poll_prepare(r->net, &r->poll, &timeout);
	if (poll(r->poll.fd, r->poll.nr, timeout) < 0)
		for (unsigned int i = 0; i < r->poll.nr; i++)
			r->poll.fd[i].revents = 0;
	events = r->poll.fd[0].revents;
	if (events & ~POLLIN)
		r->full = false;
	for (unsigned int n = 0; n < DGRAM_BATCH && (events & ~POLLOUT); n++) {
		len = get(r->fd, r->buf);
		if (len == -EPIPE)
			return false;
		if (len < 0)
			break;
		memcpy(&hdr, r->buf, HDR_SIZE);
		if (len)
			r->net->ops->send(r->net, &hdr, r->buf + HDR_SIZE, (size_t)len);
	}
	r->net->ops->poll_done(r->net, &r->poll);
	return true;
}
