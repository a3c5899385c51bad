// SPDX-License-Identifier: GPL-2.0-only
/*
 * packet.c - frames from the guest to the user network, unfinished checksums, and messages of the socket by which a card and
 * a network in another process exchange frames, both ways
 *
 * Runs in a network namespace of its own: where nobody is, nobody is bothered by what the guest sends. What
 * libslirp does with memory that it allocated is seen by AddressSanitizer only where it calls the C library.
 */
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <linux/if_ether.h>

#include "launcher/net/net.h"
#include "tools/testing/unit/machine-fake.h"
#include "fuzz.h"

#define FRAMES	16

static struct net_poll polls;
static uint8_t frame[NET_FRAME_MAX];

static bool receive(void *opaque, const struct virtio_net_hdr_v1 *hdr, const uint8_t *data, size_t len)
{
	uint8_t sum = 0;

	/* What the guest is told of the checksum is about this frame. */
	if ((hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && hdr->csum_start + hdr->csum_offset + 2u > len)
		abort();
	/* All of it can be read. */
	while (len--)
		sum ^= data[len];
	return (*(unsigned int *)opaque)++ < 64 || sum;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		perror("packet: a network namespace");
		exit(1);
	}
	return 0;
}

static struct net_relay relay;

/* The network's turn, and the card's. */
static void turn(struct net *card)
{
	int timeout = 0;

	net_relay_turn(&relay, 0);
	polls.nr = 0;
	card->ops->poll_prepare(card, &polls, &timeout);
	poll(polls.fd, polls.nr, 0);
	card->ops->poll_done(card, &polls);
}

/* Lengths and checksum right, or the packet goes no further than the first look at it. */
static void mend_ipv4(uint8_t *ip, size_t len)
{
	uint32_t sum = 0;
	unsigned int i;

	if (len < 20)
		return;
	ip[0] = 0x45;
	ip[2] = len >> 8;
	ip[3] = len;
	ip[10] = ip[11] = 0;
	for (i = 0; i < 20; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	ip[10] = ~sum >> 8;
	ip[11] = ~sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vm_net config = { .ops = &net_user }, card_config = { .ops = &net_dgram, .mtu = 1500 };
	struct input in = { data, size };
	unsigned int received = 0, i;
	struct net net = { .ops = &net_user }, card = { .ops = &net_dgram, .receive = receive, .opaque = &received };
	int sock[2];

	if (net_user.open(&net, &config, 0) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		abort();
	card_config.fd = sock[0];
	if (net_dgram.open(&card, &card_config, 0))
		abort();
	net_relay_init(&relay, &net, sock[1]);
	for (i = 0; i < FRAMES && in.left; i++) {
		uint8_t what = take_uint(&in, 1);
		size_t len = take_uint(&in, what & 0x20 ? 2 : 1);
		struct virtio_net_hdr_v1 hdr = { 0 };

		if (len < ETH_HLEN)
			len = ETH_HLEN;
		if (what & 0x40)
			take(&in, &hdr, sizeof(hdr));
		take(&in, frame, len);
		switch (what & 3) {
		case 1:
			frame[12] = 0x08;
			frame[13] = 0x00;
			if (what & 4)
				mend_ipv4(frame + ETH_HLEN, len - ETH_HLEN);
			break;
		case 2:
			frame[12] = 0x86;
			frame[13] = 0xdd;
			if (len >= ETH_HLEN + 40) {
				frame[14] = 0x60;
				frame[18] = (len - ETH_HLEN - 40) >> 8;
				frame[19] = len - ETH_HLEN - 40;
			}
			break;
		case 3:
			frame[12] = 0x08;
			frame[13] = 0x06;
			break;
		}
		/* Transport checksums as a guest leaves them to its card. */
		if (what & 8 && (what & 3) == 1) {
			hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
			hdr.csum_start = ETH_HLEN + 20;
			hdr.csum_offset = len > 23 && frame[23] == IPPROTO_TCP ? 16 : 6;
		}
		/* By one that has taken over the machine, or that has handed over the socket: without a header, too. */
		if (what & 0x80) {
			struct iovec iov[] = { { &hdr, what & 0x40 ? sizeof(hdr) : 0 }, { frame, len } };
			const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

			(void)!sendmsg(sock[hdr.num_buffers & 1], &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		} else {
			net_user.send(&net, &hdr, frame, len);
		}
		if (what & 0x10)
			turn(&card);
	}
	turn(&card);
	net_dgram.close(&card);
	if (net_relay_turn(&relay, 0))
		abort();
	net_user.close(&net);
	close(sock[1]);
	free(relay.poll.fd);
	return 0;
}
