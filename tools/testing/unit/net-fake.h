/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * net-fake.h - a wire that gives every frame back
 */
#ifndef TENON_NET_FAKE_H
#define TENON_NET_FAKE_H

#include "launcher/net/net.h"

/* The last frame that the card gave it. */
static struct {
	size_t len;
	uint8_t frame[64];
} wire_got;

static int wire_open(struct net *net, const struct vm_net *config, unsigned int index)
{
	(void)config;
	(void)index;
	memset(net->mac, 2, 6);
	net->mtu = 9000;
	return 0;
}

static void wire_close(struct net *net)
{
	(void)net;
}

static void wire_enter(void)
{
}

static void wire_send(struct net *net, const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len)
{
	memcpy(wire_got.frame, frame, len < sizeof(wire_got.frame) ? len : sizeof(wire_got.frame));
	wire_got.len = len;
	net->receive(net->opaque, hdr, frame, len);
}

static void wire_prepare(struct net *net, struct net_poll *poll, int *timeout)
{
	(void)net;
	(void)poll;
	(void)timeout;
}

static void wire_done(struct net *net, const struct net_poll *poll)
{
	(void)net;
	(void)poll;
}

static const struct net_ops wire = {
	.name = "wire",
	.offload = NET_OFFLOADS,
	.open = wire_open,
	.close = wire_close,
	.enter = wire_enter,
	.send = wire_send,
	.poll_prepare = wire_prepare,
	.poll_done = wire_done,
};

#endif /* TENON_NET_FAKE_H */
