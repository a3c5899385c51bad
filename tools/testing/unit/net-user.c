// SPDX-License-Identifier: GPL-2.0-only
/*
 * net-user.c - the user network, fed with frames by hand; checksums; reading of --net
 *
 * The oracles: RFC 791, 793, 1071, 2131; sockets of this process as the other end; for what may not be
 * reached, listening sockets that nobody may come to.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include "launcher/net/net.h"
#include "machine-fake.h"

#define GUEST	"\x0a\x00\x02\x0f"
#define ROUTER	"\x0a\x00\x02\x02"
#define TCP_SYN	0x02
#define TCP_RST	0x04
#define TCP_PSH	0x08
#define TCP_ACK	0x10

static const uint8_t own[] = { 2, 0, 0, 0, 0, 1 }, router_mac[] = { 0x52, 0x55, 10, 0, 2, 2 };
static struct net net;
static struct net_poll polls;

/* What came in, the last frames first. */
static struct {
	uint8_t frame[64][NET_FRAME_MAX];
	size_t len[64];
	unsigned int nr;
	bool full;
} got;

static bool receive(void *opaque, const struct virtio_net_hdr_v1 *hdr, const uint8_t *frame, size_t len)
{
	(void)opaque;
	(void)hdr;
	if (got.full)
		return false;
	if (got.nr < 64 && len <= NET_FRAME_MAX) {
		memcpy(got.frame[got.nr], frame, len);
		got.len[got.nr++] = len;
	}
	return true;
}

static void run_once(int timeout)
{
	polls.nr = 0;
	net.ops->poll_prepare(&net, &polls, &timeout);
	poll(polls.fd, polls.nr, timeout);
	net.ops->poll_done(&net, &polls);
}

/* Run for @ms, or until @n frames have come. */
static bool run(unsigned int n, unsigned int ms)
{
	uint64_t end = clock_ns() + ms * 1000000ull;

	while (got.nr < n && clock_ns() < end)
		run_once(10);
	return got.nr >= n;
}

static bool user_up(struct vm_net *config)
{
	memset(&got, 0, sizeof(got));
	net = (struct net){ .ops = &net_user, .receive = receive };
	return !net_user.open(&net, config, 0);
}

static void user_down(void)
{
	net_user.close(&net);
}

/* Frames of the guest */

static uint16_t slow_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	size_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void put16(uint8_t *p, unsigned int v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static unsigned int get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint8_t tx[NET_FRAME_MAX];

static void eth_ip(const void *src, const void *dst, uint8_t proto, size_t len)
{
	memcpy(tx, router_mac, 6);
	memcpy(tx + 6, own, 6);
	put16(tx + 12, ETH_P_IP);
	memset(tx + 14, 0, 20);
	tx[14] = 0x45;
	put16(tx + 16, 20 + len);
	tx[22] = 64;
	tx[23] = proto;
	memcpy(tx + 26, src, 4);
	memcpy(tx + 30, dst, 4);
	put16(tx + 24, (uint16_t)~slow_sum(tx + 14, 20, 0));
}

static uint32_t pseudo(const uint8_t *frame, size_t len)
{
	return slow_sum(frame + 26, 8, frame[23] + len);
}

/* A TCP segment whose payload stands at tx + 54. The card finishes the checksum if @offload. */
static void send_tcp(const void *dst, uint16_t sport, uint16_t dport, uint32_t seq, uint32_t ack,
		     uint8_t flags,
		     size_t len, bool offload)
{
	struct virtio_net_hdr_v1 hdr = { 0 };

	eth_ip(GUEST, dst, IPPROTO_TCP, 20 + len);
	memset(tx + 34, 0, 20);
	put16(tx + 34, sport);
	put16(tx + 36, dport);
	put32(tx + 38, seq);
	put32(tx + 42, ack);
	tx[46] = 5 << 4;
	tx[47] = flags;
	put16(tx + 48, 65535);
	if (offload) {
		hdr = (struct virtio_net_hdr_v1){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34,
						  .csum_offset = 16, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
						  .gso_size = 1460 };
		put16(tx + 50, slow_sum(NULL, 0, pseudo(tx, 20)));
	} else {
		put16(tx + 50, (uint16_t)~slow_sum(tx + 34, 20 + len, pseudo(tx, 20 + len)));
	}
	net.ops->send(&net, &hdr, tx, 54 + len);
}

static void send_udp(const void *src, const void *dst, uint16_t sport, uint16_t dport, const void *data,
		     size_t len)
{
	struct virtio_net_hdr_v1 hdr = { 0 };

	eth_ip(src, dst, IPPROTO_UDP, 8 + len);
	put16(tx + 34, sport);
	put16(tx + 36, dport);
	put16(tx + 38, 8 + len);
	put16(tx + 40, 0);
	memcpy(tx + 42, data, len);
	net.ops->send(&net, &hdr, tx, 42 + len);
}

/* libslirp answers nobody whose MAC address it does not know. */
static bool arp(void)
{
	struct virtio_net_hdr_v1 hdr = { 0 };

	memset(tx, 0xff, 6);
	memcpy(tx + 6, own, 6);
	memcpy(tx + 12, "\x08\x06\0\1\x08\0\6\4\0\1", 10);
	memcpy(tx + 22, own, 6);
	memcpy(tx + 28, GUEST, 4);
	memset(tx + 32, 0, 6);
	memcpy(tx + 38, ROUTER, 4);
	net.ops->send(&net, &hdr, tx, 60);
	return run(1, 1000) && get16(got.frame[0] + 20) == 2 && !memcmp(got.frame[0] + 28, ROUTER, 4);
}

static int listener(int type, uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    (type == SOCK_STREAM && listen(fd, 5)) || getsockname(fd, (struct sockaddr *)&addr, &len))
		abort();
	*port = ntohs(addr.sin_port);
	return fd;
}

/* Tests */

static void test_dhcp(void)
{
	struct vm_net config = { .ops = &net_user };
	uint8_t req[300] = { 1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78 };
	const uint8_t *p;
	unsigned int i;

	ok(user_up(&config), "a user network");
	ok(net.mac[0] == 0x52 && (net.mac[0] & 3) == 2, "its MAC is locally administered, for one station");
	ok(arp(), "the router answers ARP");
	got.nr = 0;
	memcpy(req + 28, own, 6);
	memcpy(req + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8);
	send_udp("\0\0\0\0", "\xff\xff\xff\xff", 68, 67, req, sizeof(req));
	ok(run(1, 1000), "DHCP answers");
	p = got.frame[0] + 42;
	ok(p[0] == 2 && get32(p + 4) == 0x12345678 && !memcmp(p + 16, GUEST, 4), "with 10.0.2.15");
	for (i = 240; i < 300 && p[i] != 3 && p[i] != 255; i += 2 + p[i + 1])
		;
	ok(p[i] == 3 && !memcmp(p + i + 2, ROUTER, 4), "and the router");
	user_down();
}

static void test_tcp(void)
{
	struct vm_net config = { .ops = &net_user, .host_loopback = true };
	static uint8_t buf[60000];
	uint16_t port;
	int fd = listener(SOCK_STREAM, &port), conn;
	uint32_t peer;
	size_t i, n;
	ssize_t r;

	user_up(&config);
	arp();
	got.nr = 0;
	send_tcp(ROUTER, 5000, port, 1000, 0, TCP_SYN, 0, false);
	ok(run(1, 1000) && got.frame[0][47] == (TCP_SYN | TCP_ACK),
	   "with permission, the host's loopback answers");
	peer = get32(got.frame[0] + 38) + 1;
	conn = accept(fd, NULL, NULL);
	ok(conn >= 0, "and has the connection");
	fcntl(conn, F_SETFL, O_NONBLOCK);
	send_tcp(ROUTER, 5000, port, 1001, peer, TCP_ACK, 0, false);

	/* 40000 bytes in one frame: checksum and segmentation are left to the network. */
	for (i = 0; i < 40000; i++)
		tx[54 + i] = (uint8_t)(i * 11 + (i >> 8));
	send_tcp(ROUTER, 5000, port, 1001, peer, TCP_ACK | TCP_PSH, 40000, true);
	for (n = 0, i = 0; n < 40000 && i < 100; i++) {
		run_once(10);
		r = read(conn, buf + n, sizeof(buf) - n);
		n += r > 0 ? (size_t)r : 0;
	}
	for (i = 0; i < n && buf[i] == (uint8_t)(i * 11 + (i >> 8)); i++)
		;
	is_u64(i, 40000, "40000 bytes in one frame arrive as sent");

	/* The other way: what does not fit into the guest now waits. */
	got.nr = 0;
	got.full = true;
	ok(write(conn, buf, 3000) == 3000 && !run(1, 100), "a guest without buffers gets nothing");
	got.full = false;
	ok(run(1, 1000), "and then what was kept");
	for (i = 0, n = 0; i < got.nr; i++)
		n += get16(got.frame[i] + 16) - 40;
	is_u64(n, 3000, "all of it");
	ok(slow_sum(got.frame[0] + 34, got.len[0] - 34, pseudo(got.frame[0], got.len[0] - 34)) == 0xffff,
	   "with a good checksum");
	close(conn);
	close(fd);
	user_down();
}

static void test_loopback(void)
{
	struct vm_net config = { .ops = &net_user };
	static const uint8_t v6[][16] = {
		{ [15] = 1 }, { 0 }, { [10] = 255, 255, 127, 0, 0, 1 }, { 0xfe, 0xc0, [15] = 2 },
	};
	static const char *const dst[] = { ROUTER, "\x7f\0\0\1", "\x7f\1\2\3", "\0\0\0\0", "\0\0\0\1",
		"\xff\xff\xff\xff" };
	struct virtio_net_hdr_v1 hdr = { 0 };
	uint16_t port, uport;
	int fd = listener(SOCK_STREAM, &port), ufd = listener(SOCK_DGRAM, &uport), one = 1;
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd6 = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
	unsigned int i;

	any6.sin6_port = htons(port);
	setsockopt(fd6, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd6, (struct sockaddr *)&any6, sizeof(any6)) || listen(fd6, 5))
		diag("no IPv6 loopback here: nothing listens on it");
	user_up(&config);
	arp();
	for (i = 0; i < sizeof(dst) / sizeof(dst[0]); i++) {
		send_tcp(dst[i], 5000 + i, port, 1, 0, TCP_SYN, 0, false);
		send_udp(GUEST, dst[i], 5000 + i, uport, "x", 1);
	}
	for (i = 0; i < sizeof(v6) / sizeof(v6[0]); i++) {
		uint32_t sum;

		memcpy(tx, router_mac, 6);
		memcpy(tx + 6, own, 6);
		put16(tx + 12, ETH_P_IPV6);
		memset(tx + 14, 0, 60);
		tx[14] = 0x60;
		put16(tx + 18, 20);
		tx[20] = IPPROTO_TCP;
		tx[21] = 64;
		memcpy(tx + 22, "\xfe\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0f", 16);
		memcpy(tx + 38, v6[i], 16);
		put16(tx + 54, 6000 + i);
		put16(tx + 56, port);
		tx[66] = 5 << 4;
		tx[67] = TCP_SYN;
		put16(tx + 68, 65535);
		sum = slow_sum(tx + 22, 32, 20 + IPPROTO_TCP);
		put16(tx + 70, (uint16_t)~slow_sum(tx + 54, 20, sum));
		net.ops->send(&net, &hdr, tx, 74);
	}
	run(1000, 300);
	ok(accept(fd, NULL, NULL) < 0 && errno == EAGAIN,
	   "without permission nobody reaches the host's loopback");
	ok(recv(ufd, &one, sizeof(one), 0) < 0 && errno == EAGAIN, "nor by UDP");
	ok(accept(fd6, NULL, NULL) < 0, "nor by IPv6");
	user_down();
	close(fd6);
	close(ufd);
	close(fd);
}

static void test_hostfwd(void)
{
	struct vm_net config = { .ops = &net_user, .nr_fwd = 2, .host_loopback = true };
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint16_t port, uport;
	char c = 0;
	int fd = listener(SOCK_STREAM, &port), ufd = listener(SOCK_DGRAM, &uport), i;

	config.fwd[0] = (struct vm_hostfwd){ false, addr.sin_addr.s_addr, 0, port, 22 };
	config.fwd[1] = (struct vm_hostfwd){ true, addr.sin_addr.s_addr, 0, uport, 53 };
	quiet(true);
	ok(!user_up(&config), "a port that is taken cannot be forwarded");
	quiet(false);
	close(fd);
	close(ufd);
	ok(user_up(&config), "a free one can");
	arp();
	got.nr = 0;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	addr.sin_port = htons(port);
	connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	ok(run(1, 1000) && got.frame[0][47] == TCP_SYN && get16(got.frame[0] + 36) == 22 &&
	   !memcmp(got.frame[0] + 30, GUEST, 4), "a connection to it reaches the guest's port");
	close(fd);
	ufd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	addr.sin_port = htons(uport);
	got.nr = 0;
	sendto(ufd, "q", 1, 0, (struct sockaddr *)&addr, sizeof(addr));
	for (i = 0; i < 100 && !(got.nr && got.frame[got.nr - 1][23] == IPPROTO_UDP); i++)
		run_once(10);
	if (ok(got.nr && get16(got.frame[got.nr - 1] + 36) == 53, "so does a datagram")) {
		const uint8_t *f = got.frame[got.nr - 1];

		send_udp(GUEST, f + 26, 53, get16(f + 34), "a", 1);
		for (i = 0; i < 50 && recv(ufd, &c, 1, 0) != 1; i++)
			run_once(10);
		ok(c == 'a', "and the answer comes back");
	}
	close(ufd);
	user_down();
}

static void test_checksum(void)
{
	struct virtio_net_hdr_v1 hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };
	uint64_t seed = tap_seed(0xc5);
	unsigned int i, bad = 0;

	for (i = 0; i < 20000; i++) {
		size_t len = tap_random(&seed) % 300, k, start = tap_random(&seed) % 320,
		       off = tap_random(&seed) % 40;
		uint16_t want;
		bool fits = start + off + 2 <= len, done;

		for (k = 0; k < len; k++)
			tx[k] = tap_random(&seed) >> 56;
		tx[12] = 0x88;		/* no protocol that it knows */
		hdr.csum_start = start;
		hdr.csum_offset = off;
		want = fits ? (uint16_t)~slow_sum(tx + start, len - start, 0) : 0;
		if (!want && off == 6)
			want = 0xffff;
		/* The sum is of the right order only from an even offset on; so is the field. */
		if (off & 1)
			continue;
		done = net_checksum(&hdr, tx, len);
		bad += done != fits || (fits && get16(tx + start + off) != want);
	}
	is_u64(bad, 0, "20000 random checksums");
	hdr.csum_start = 0xffff;
	hdr.csum_offset = 0xffff;
	ok(!net_checksum(&hdr, tx, sizeof(tx)), "a field outside the frame is refused");
}

static bool parses(const char *s, struct vm_net *config)
{
	static char buf[16][300];
	static unsigned int n;

	snprintf(buf[n % 16], sizeof(buf[0]), "%s", s);
	return !net_parse(buf[n++ % 16], config);
}

static void test_parse(void)
{
	static const char *const bad[] = {
		"", "usr", "user,", "user,hostfwd", "user,hostfwd=", "user,hostfwd=tcp::22",
			"user,hostfwd=tcp::0-:22",
		"user,hostfwd=tcp::22-:65536", "user,hostfwd=udp::53-:53", "user,hostfwd=sctp::1-:2",
		"user,hostfwd=tcp:1.2.3:1-:2",
		"user,hostfwd=tcp::1-:", "user,mac=", "user,mac=01:00:00:00:00:00",
		"user,mac=00:00:00:00:00:00",
		"user,mac=2:0:0:0:0:1", "user,mac=02:00:00:00:00:01x", "user,mtu=100", "user,mtu=70000",
		"user,ifname=x",
		"user,host-loopback=1", "tap,ifname=", "tap,ifname=averyverylongname", "tap,bridge=a/b",
		"tap,hostfwd=x",
	};
	struct vm_net c;
	unsigned int i;

	ok(parses("user", &c) && c.ops == &net_user && !c.host_loopback, "user");
	ok(parses("user,host-loopback,hostfwd=tcp::2222-:22,hostfwd=udp:0.0.0.0:53-10.0.2.20:5353,mtu=1500,"
		  "mac=02:aa:00:00:00:01", &c), "user with all options");
	ok(c.host_loopback && c.nr_fwd == 2 && c.mtu == 1500 && c.mac[1] == 0xaa, "which arrive");
	ok(!c.fwd[0].udp && c.fwd[0].host_addr == htonl(INADDR_LOOPBACK) && c.fwd[0].host_port == 2222 &&
	   c.fwd[0].guest_port == 22, "a forward listens on loopback unless told otherwise");
	ok(c.fwd[1].udp && !c.fwd[1].host_addr && c.fwd[1].guest_addr == htonl(0x0a000214),
	   "and elsewhere if told");
	ok(parses("tap,ifname=vm0,bridge=br0", &c) && c.ops == &net_tap && !strcmp(c.ifname, "vm0") &&
	   !strcmp(c.bridge, "br0"), "tap");
	quiet(true);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]) && !parses(bad[i], &c); i++)
		;
	quiet(false);
	is_u64(i, sizeof(bad) / sizeof(bad[0]), "nonsense is refused%s%s",
	       i < sizeof(bad) / sizeof(bad[0]) ? " but: " : "", i < sizeof(bad) / sizeof(bad[0]) ? bad[i] :
	       "");
}

static void test_random(void)
{
	/* Forwards and restricted networks aside: nothing of this may leave the host. */
	struct vm_net config = { .ops = &net_user };
	uint64_t seed = tap_seed(0xf4a3), i;

	diag("seed %#llx", (unsigned long long)seed);
	user_up(&config);
	arp();
	quiet(true);
	for (i = 0; i < 50000; i++) {
		uint64_t r = tap_random(&seed);
		struct virtio_net_hdr_v1 hdr = { .flags = r & 1, .csum_start = 34, .csum_offset = r & 2 ?
			16 : 6 };
		size_t len = 14 + (r >> 8 & (r >> 60 ? 127 : 0xffff)), k, n;

		for (k = 0; k < len; k++)
			tx[k] = tap_random(&seed) >> 56;
		switch (r >> 4 & 3) {
		case 0:
			/* DNS would go out: not to 10.0.2.3 */
			eth_ip(GUEST, ROUTER, r >> 32 & 3 ? IPPROTO_UDP : IPPROTO_TCP, len < 34 ? 0 :
			       len - 34);
			put16(tx + 36, r >> 34 & 1 ? 69 : 67);
			put16(tx + 38, len < 34 ? 0 : len - 34);
			break;
		case 1:
			put16(tx + 12, ETH_P_ARP);
			memcpy(tx + 14, "\0\1\x08\0\6\4\0", 7);
			break;
		case 2:
			/* Neighbour discovery and DHCPv6 */
			put16(tx + 12, ETH_P_IPV6);
			tx[14] = 0x60;
			put16(tx + 18, len < 54 ? 0 : len - 54);
			tx[20] = r >> 35 & 1 ? 58 : 17;
			tx[21] = 255;
			memcpy(tx + 38, "\xff\x02\0\0\0\0\0\0\0\0\0\0\0\1\0\2", 16);
			put16(tx + 56, 547);
			break;
		case 3:
			eth_ip(GUEST, ROUTER, 1, len < 34 ? 0 : len - 34);
			break;
		}
		for (n = 0; r >> 40 & 1 && n < 2; n++) {
			k = 14 + tap_random(&seed) % 20;
			if ((k < 30 || k > 33) && k < len)
				tx[k] = tap_random(&seed) >> 56;
		}
		if (len < 34)
			len = 34;
		net.ops->send(&net, &hdr, tx, len);
		got.nr = 0;
		if (!(i & 255))
			run_once(0);
	}
	quiet(false);
	got.nr = 0;
	ok(arp(), "50000 hostile packets, and the router answers");
	user_down();
}

int main(void)
{
	test_parse();
	test_checksum();
	test_dhcp();
	test_tcp();
	test_loopback();
	test_hostfwd();
	test_random();
	free(polls.fd);
	return tap_done();
}
