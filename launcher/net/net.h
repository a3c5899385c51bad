/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * net.h - what a network card of the guest hangs on
 *
 * A back end has no thread and no lock: everything but open(), close() and set_offload() is called on the I/O
 * thread of the device. Frames are Ethernet without checksum sequence; struct virtio_net_hdr_v1, in
 * little-endian order as in the guest's memory, says what is left to be done to them (checksum,
 * segmentation).
 */
#ifndef TENON_NET_H
#define TENON_NET_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/virtio_net.h>

#include "../vm.h"

/* The longest frame either way: Ethernet header with VLAN tag, and the longest IP packet. */
#define NET_FRAME_MAX	(18u + 65535u)
#define NET_MTU_MIN	576u
#define NET_MTU_MAX	65520u

struct net_poll {
	struct pollfd *fd;
	unsigned int nr, cap;
};

/* Index of the entry, or -1: no memory. */
int net_poll_add(struct net_poll *poll, int fd, short events);

/* Owned by the device; a back end keeps its own data in @state. */
struct net {
	const struct net_ops *ops;
	void *state;

	/* filled by open() */
	uint8_t mac[6];			/* of the guest's card */
	uint16_t mtu;

	/*
	 * Filled by the device. A frame for the guest: false if it has no room now, and receive() is to be
	 * tried again in poll_done(). What nobody listens to is taken and dropped.
	 */
	bool (*receive)(void *opaque, const struct virtio_net_hdr_v1 *hdr, const uint8_t *frame, size_t len);
	void *opaque;
};

/**
 * struct net_ops - a way to a network
 * @name:	as in --net NAME
 * @offload:	VIRTIO_NET_F_* of checksums and segmentation that it can take and give
 * @open:	0, or -errno with a message printed; @index counts the network cards of the machine
 * @close:	undo open()
 * @enter:	on the I/O thread before all else: sandbox_enter()
 * @can_send:	optional: false if it can take no frame now; poll_done() comes when that may have changed
 * @send:	a frame from the guest; may change it, and call net->receive()
 * @poll_prepare: add file descriptors to wait for; shorten *@timeout (milliseconds, -1: none)
 * @poll_done:	after waiting, and whenever the guest may have room: serve them
 * @set_offload: optional: these features were negotiated (which GUEST_* may frames use?); any thread
 */
struct net_ops {
	const char *name;
	uint64_t offload;
	int (*open)(struct net *net, const struct vm_net *config, unsigned int index);
	void (*close)(struct net *net);
	void (*enter)(void);
	bool (*can_send)(struct net *net);
	void (*send)(struct net *net, const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len);
	void (*poll_prepare)(struct net *net, struct net_poll *poll, int *timeout);
	void (*poll_done)(struct net *net, const struct net_poll *poll);
	void (*set_offload)(struct net *net, uint64_t features);
};

/* All of them: what the host's own interfaces, and Linux as a guest, know of. */
#define NET_OFFLOADS	(1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 | \
			 1ull << VIRTIO_NET_F_HOST_ECN | 1ull << VIRTIO_NET_F_GUEST_CSUM | \
			 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN)

/* What libslirp can do with. */
#define NET_USER_OFFLOADS (1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 | \
			   1ull << VIRTIO_NET_F_HOST_ECN | 1ull << VIRTIO_NET_F_GUEST_CSUM)

extern const struct net_ops net_user;
extern const struct net_ops net_tap;
extern const struct net_ops net_dgram;
/* Of the user network with this index, as in 10.0.2.0: in the host's order. */
uint32_t user_network(unsigned int index);
/* The address of a card on it, alone there: the same in every run. */
void user_mac(unsigned int index, uint8_t mac[6]);
/* The descriptor of an interface that net_tap.open() has set up, and its name. */
int tap_fd(const struct net *net, const char **ifname);
/* An interface that another process has opened: NULL, or why frames can't be exchanged by it. */
const char *tap_check(int fd);
/* The same for a socket of net_dgram. */
const char *dgram_check(int fd);

/* The other end of such a socket: a network, and the socket that its card is reached by. */
#define NET_DGRAM_MAX	(sizeof(struct virtio_net_hdr_v1) + NET_FRAME_MAX)

struct net_relay {
	struct net *net;
	int fd;
	bool full;			/* the socket; see net->receive() */
	struct net_poll poll;
	uint8_t buf[NET_DGRAM_MAX];
};

void net_relay_init(struct net_relay *r, struct net *net, int fd);
/* Wait, @timeout ms at most (-1: for ever), and pass on what there is. False: the card is gone. */
bool net_relay_turn(struct net_relay *r, int timeout);

/*
 * Start a process that is a user network for the card at the other end of @fd, until that is closed. 0, or -errno with a
 * message printed. Of the descriptors of this process it has no more than @fd.
 */
int net_process(const struct vm_net *config, unsigned int index, int fd);

/*
 * Read "user,hostfwd=...", "tap,bridge=..."; changes @s, parts of which @net keeps. 0, or -errno with a
 * message printed.
 */
int net_parse(char *s, struct vm_net *net);

/* Six bytes in hexadecimal, of a single card, as in 52:54:00:12:34:56. */
bool net_parse_mac(const char *s, uint8_t mac[6]);

/* Do what @hdr leaves to be done to the checksum. False: the frame makes no sense. */
bool net_checksum(const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len);

#endif /* TENON_NET_H */
