// SPDX-License-Identifier: GPL-2.0-only
/*
 * net-dgram.c - frames by a socket: the machine's end against a peer that does as it likes, the other end against a machine
 * that does, and both against each other when one is slow
 *
 * The oracles: the frames that went in; VIRTIO, "Device Operation" of the network device, for what a header may say.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher/net/net.h"
#include "machine-fake.h"

#define HDR	sizeof(struct virtio_net_hdr_v1)

static struct net net;			/* the machine's end */
static struct net_relay relay;		/* the other one, with a network that records */
static int sock[2];
static struct net_poll polls;
static uint8_t frame[NET_FRAME_MAX + 100];

struct record {
	unsigned int nr;
	bool full;			/* takes nothing */
	bool wrong;			/* a frame that does not follow the one before */
	size_t len;
	struct virtio_net_hdr_v1 hdr;
};

static struct record guest, world;

/* Frames of a sequence have their number in them. */
static void note(struct record *r, const struct virtio_net_hdr_v1 *hdr, const uint8_t *data, size_t len)
{
	uint32_t number;

	memcpy(&number, data, sizeof(number));
	r->wrong |= number != r->nr;
	r->nr++;
	r->hdr = *hdr;
	r->len = len;
}

static bool guest_receive(void *opaque, const struct virtio_net_hdr_v1 *hdr, const uint8_t *data, size_t len)
{
	(void)opaque;
	if (guest.full)
		return false;
	note(&guest, hdr, data, len);
	return true;
}

static void world_send(struct net *n, const struct virtio_net_hdr_v1 *hdr, uint8_t *data, size_t len)
{
	(void)n;
	note(&world, hdr, data, len);
}

static void world_prepare(struct net *n, struct net_poll *poll, int *timeout)
{
	(void)n;
	(void)poll;
	(void)timeout;
}

static void world_done(struct net *n, const struct net_poll *poll)
{
	(void)n;
	(void)poll;
}

static const struct net_ops world_ops = { .send = world_send, .poll_prepare = world_prepare, .poll_done = world_done };
static struct net world_net = { .ops = &world_ops };

static void up(void)
{
	struct vm_net config = { .ops = &net_dgram, .mac = { 2 }, .mtu = 1500 };

	guest = world = (struct record){ 0 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		abort();
	config.fd = sock[0];
	net = (struct net){ .ops = &net_dgram, .receive = guest_receive };
	if (net_dgram.open(&net, &config, 0))
		abort();
	net_relay_init(&relay, &world_net, sock[1]);
}

static void down(void)
{
	if (net.state)
		net_dgram.close(&net);
	close(sock[1]);
	free(relay.poll.fd);
}

/* Whether the machine's end waits for anything. */
static bool turn(void)
{
	int timeout = 0;

	polls.nr = 0;
	net_dgram.poll_prepare(&net, &polls, &timeout);
	poll(polls.fd, polls.nr, 0);
	net_dgram.poll_done(&net, &polls);
	return polls.nr;
}

static void number(uint32_t n)
{
	memcpy(frame, &n, sizeof(n));
}

/* From the peer, as it is: a header and @len bytes. */
static void peer_says(const struct virtio_net_hdr_v1 *hdr, size_t len)
{
	struct iovec iov[] = { { (void *)(uintptr_t)hdr, HDR }, { frame, len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (sendmsg(sock[1], &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		abort();
}

static void test_check(void)
{
	int pair[2], fd;

	up();
	ok(!dgram_check(sock[0]), "a socket of the right type is taken");
	ok(!memcmp(net.mac, "\2\0\0\0\0\0", 6) && net.mtu == 1500, "address and MTU are what was said");
	down();
	for (unsigned int i = 0; i < 2; i++) {
		if (socketpair(AF_UNIX, i ? SOCK_DGRAM : SOCK_STREAM, 0, pair))
			abort();
		ok(dgram_check(pair[0]) != NULL, "one of type %s is not", i ? "SOCK_DGRAM" : "SOCK_STREAM");
		close(pair[0]);
		close(pair[1]);
	}
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	ok(dgram_check(fd) != NULL, "nor one of IP");
	close(fd);
	fd = open("/dev/null", O_RDWR);
	ok(dgram_check(fd) != NULL, "nor a file");
	close(fd);
}

static void test_lengths(void)
{
	const struct virtio_net_hdr_v1 none = { 0 };
	static const size_t bad[] = { 0, 1, 13, NET_FRAME_MAX + 1, NET_FRAME_MAX + 100 };

	up();
	number(0);
	peer_says(&none, NET_FRAME_MAX);
	turn();
	ok(guest.nr == 1 && guest.len == NET_FRAME_MAX, "the longest frame arrives");
	number(1);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		peer_says(&none, bad[i]);
	(void)!send(sock[1], "x", 1, 0);
	peer_says(&none, 14);
	turn();
	ok(guest.nr == 2 && guest.len == 14 && !guest.wrong, "shorter and longer ones than there are don't, and the next one does");

	number(0);
	net_dgram.send(&net, &none, frame, NET_FRAME_MAX);
	ok(net_relay_turn(&relay, 0) && world.nr == 1 && world.len == NET_FRAME_MAX, "the same the other way");
	number(1);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		net_dgram.send(&net, &none, frame, bad[i]);
	(void)!send(sock[0], "x", 1, 0);
	net_dgram.send(&net, &none, frame, 14);
	ok(net_relay_turn(&relay, 0) && world.nr == 2 && world.len == 14 && !world.wrong, "whatever the machine sends");
	down();
}

static void test_headers(void)
{
	static const struct {
		struct virtio_net_hdr_v1 hdr;
		bool passes;
		uint8_t flags;
	} t[] = {
		{ { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 }, true, VIRTIO_NET_HDR_F_NEEDS_CSUM },
		{ { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 98, .csum_offset = 0 }, true, VIRTIO_NET_HDR_F_NEEDS_CSUM },
		{ { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 99, .csum_offset = 0 }, false, 0 },
		{ { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff }, false, 0 },
		{ { .flags = VIRTIO_NET_HDR_F_DATA_VALID }, true, VIRTIO_NET_HDR_F_DATA_VALID },
		{ { .flags = 0xff, .csum_start = 34, .csum_offset = 6 }, true, VIRTIO_NET_HDR_F_NEEDS_CSUM },
		{ { .flags = 0xfe, .hdr_len = 0xffff, .gso_size = 0xffff, .csum_start = 0xffff }, true, VIRTIO_NET_HDR_F_DATA_VALID },
	};

	up();
	for (unsigned int i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const unsigned int before = guest.nr;

		number(before);
		peer_says(&t[i].hdr, 100);
		turn();
		ok(guest.nr - before == t[i].passes && (!t[i].passes || (guest.hdr.flags == t[i].flags && !guest.hdr.gso_size &&
		   !guest.hdr.hdr_len && (guest.hdr.flags == VIRTIO_NET_HDR_F_NEEDS_CSUM || !guest.hdr.csum_start))),
		   "header %u is %s", i, t[i].passes ? "made one that a guest can use" : "no frame's");
	}
	down();
}

/* The one end sends until there is no room; nothing is lost, and the order stays. */
static void test_slow(void)
{
	const struct virtio_net_hdr_v1 none = { 0 };
	unsigned int sent = 0, n;

	up();
	/* The guest sends, and the other end sleeps. The socket blocks: who has it may have seen to that. */
	while (net_dgram.can_send(&net) && sent < 10000) {
		number(sent++);
		net_dgram.send(&net, &none, frame, 60000);
	}
	ok(sent > 1 && sent < 10000, "a machine whose frames nobody takes stops after %u of them", sent);
	turn();
	ok(!net_dgram.can_send(&net), "for as long as that is so");
	for (n = 0; n < 10000 && world.nr < 500; n++) {
		net_relay_turn(&relay, 0);
		turn();
		while (net_dgram.can_send(&net) && sent < 500) {
			number(sent++);
			net_dgram.send(&net, &none, frame, 60000);
		}
	}
	ok(world.nr == 500 && !world.wrong, "then all 500 arrive, one after the other");

	/* The network sends, and the guest has no room. */
	guest.full = true;
	for (sent = 0; sent < 10000; sent++) {
		number(sent);
		if (!world_net.receive(world_net.opaque, &none, frame, 60000))
			break;
		turn();
	}
	ok(sent > 1 && sent < 10000, "a network whose frames the guest does not take is told so after %u of them", sent);
	ok(!turn(), "and the machine's end waits for the guest alone");
	guest.full = false;
	for (n = 0; n < 10000 && guest.nr < 500; n++) {
		turn();
		net_relay_turn(&relay, 0);
		for (; sent < 500; sent++) {
			number(sent);
			if (!world_net.receive(world_net.opaque, &none, frame, 60000))
				break;
		}
	}
	ok(guest.nr == 500 && !guest.wrong, "then all 500 arrive, one after the other");
	down();
}

static void test_end(void)
{
	const struct virtio_net_hdr_v1 none = { 0 };
	unsigned int i;

	up();
	number(0);
	net_dgram.send(&net, &none, frame, 100);
	net_dgram.close(&net);
	ok(!net_relay_turn(&relay, 1000) && world.nr == 1, "a machine that is gone ends the other end, after the last frame");
	down();

	up();
	for (i = 0; net_dgram.can_send(&net) && i < 10000; i++)
		net_dgram.send(&net, &none, frame, 60000);
	number(0);
	peer_says(&none, 100);
	close(sock[1]);
	quiet(true);
	turn();
	turn();
	quiet(false);
	ok(!turn() && net_dgram.can_send(&net), "a network that is gone leaves a card that waits for nothing, and takes frames");
	net_dgram.send(&net, &none, frame, 100);
	ok(net_dgram.can_send(&net), "which are lost");
	sock[1] = -1;
	down();

	up();
	guest.full = true;
	number(0);
	peer_says(&none, 100);
	turn();
	close(sock[1]);
	ok(!turn(), "while a frame waits for the guest, the end is not looked at again and again");
	guest.full = false;
	quiet(true);
	turn();
	quiet(false);
	ok(guest.nr == 1 && !turn(), "the frame arrives all the same");
	sock[1] = -1;
	down();
}

static void test_random(void)
{
	uint64_t seed = tap_seed(0xd9a3);
	const unsigned int rounds = 20000;
	unsigned int i;

	diag("seed %#llx", (unsigned long long)seed);
	up();
	for (i = 0; i < rounds; i++) {
		const uint64_t r = tap_random(&seed);
		uint8_t *msg = frame;
		size_t len = 1 + (r >> 8 & (r & 1 ? 127 : 0x1ffff)) % sizeof(frame);

		for (unsigned int n = 0; n < 40; n++)
			msg[n] = (uint8_t)(tap_random(&seed) >> 56);
		(void)!send(sock[r >> 60 & 1], msg, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		guest.full = r >> 61 & 1;
		turn();
		if (!net_relay_turn(&relay, 0))
			break;
	}
	is_u64(i, rounds, "messages of random lengths and contents, both ways");
	guest = world = (struct record){ 0 };
	turn();
	guest.nr = world.nr = 0;
	guest.wrong = false;
	number(0);
	peer_says(&(struct virtio_net_hdr_v1){ 0 }, 100);
	turn();
	ok(guest.nr == 1 && !guest.wrong, "a good frame arrives after them");
	down();
}

int main(void)
{
	test_check();
	test_lengths();
	test_headers();
	test_slow();
	test_end();
	test_random();
	free(polls.fd);
	return tap_done();
}
