// SPDX-License-Identifier: GPL-2.0-only
/*
 * user.c - a network without privileges: the host's own sockets, by libslirp
 *
 * The guest is alone on 10.0.2.0/24 (the second card on 10.0.3.0/24, and so on) and fec0::/64: .2 is the
 * router, .3 forwards to the host's resolver, .15 is what DHCP gives out. A TCP connection of the guest
 * ends in libslirp and goes on from a socket of this process; no packet size is lost on the way, so packets
 * between the guest and libslirp are as large as IP allows, and each is handled once instead of in 45 pieces.
 *
 * What the host keeps on its loopback interface stays there: libslirp refuses the router's address, and
 * destinations that the host's own stack takes for itself (127.0.0.0/8, 0.0.0.0/8, ::1 and the like) are
 * dropped here before libslirp sees them, since it would hand them to connect() as they are.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <linux/if_ether.h>
#include <slirp/libslirp.h>

#include "../msg.h"
#include "../sandbox.h"
#include "net.h"

/*
 * Frames that wait for room in the guest. libslirp does not wait: what comes on top is lost, and TCP
 * slows down.
 */
#define BACKLOG_MAX	256u
#define BACKLOG_BYTES	(4u << 20)
#define NS_PER_MS	1000000u

struct frame {
	struct frame *next;
	size_t len;
	uint8_t data[];
};

struct user_timer {
	SlirpTimerCb fn;
	void *opaque;
	int64_t deadline;		/* ms, or INT64_MAX */
	struct user_timer *next;
};

struct user {
	struct net *net;
	Slirp *slirp;
	struct user_timer *timers;
	struct net_poll *poll;		/* during poll_prepare() and poll_done() */
	bool polled;			/* sockets were added */

	struct frame *first, **last;
	unsigned int nr;
	size_t bytes;
};

/* From libslirp to the guest */

static const struct virtio_net_hdr_v1 rx_hdr = {
	.flags = VIRTIO_NET_HDR_F_DATA_VALID,
	.gso_type = VIRTIO_NET_HDR_GSO_NONE,
};

static void flush_backlog(struct user *u)
{
	while (u->first) {
		struct frame *f = u->first;

		if (!u->net->receive(u->net->opaque, &rx_hdr, f->data, f->len))
			return;
		u->first = f->next;
		if (!u->first)
			u->last = &u->first;
		u->nr--;
		u->bytes -= f->len;
		free(f);
	}
}

static ssize_t cb_send_packet(const void *buf, size_t len, void *opaque)
{
	struct user *u = opaque;
	struct frame *f;

	if (!u->first && u->net->receive(u->net->opaque, &rx_hdr, buf, len))
		return (ssize_t)len;
	if (u->nr >= BACKLOG_MAX || u->bytes + len > BACKLOG_BYTES)
		return (ssize_t)len;
	f = malloc(sizeof(*f) + len);
	if (!f)
		return (ssize_t)len;
	f->next = NULL;
	f->len = len;
	memcpy(f->data, buf, len);
	*u->last = f;
	u->last = &f->next;
	u->nr++;
	u->bytes += len;
	return (ssize_t)len;
}

/* A guest can send nonsense as fast as it likes: nothing is printed. */
static void cb_guest_error(const char *msg, void *opaque)
{
	(void)msg;
	(void)opaque;
}

/* Timers */

static int64_t cb_clock(void *opaque)
{
	(void)opaque;
	return (int64_t)clock_ns();
}

static void *cb_timer_new(SlirpTimerCb fn, void *fn_opaque, void *opaque)
{
	struct user *u = opaque;
	struct user_timer *t = malloc(sizeof(*t));

	if (!t)
		abort();		/* libslirp knows no failure here; this is before the guest runs */
	*t = (struct user_timer){ .fn = fn, .opaque = fn_opaque, .deadline = INT64_MAX, .next = u->timers };
	u->timers = t;
	return t;
}

static void cb_timer_free(void *timer, void *opaque)
{
	struct user_timer **p = &((struct user *)opaque)->timers;

	for (; *p; p = &(*p)->next) {
		if (*p != timer)
			continue;
		*p = (*p)->next;
		free(timer);
		return;
	}
}

static void cb_timer_mod(void *timer, int64_t ms, void *opaque)
{
	(void)opaque;
	((struct user_timer *)timer)->deadline = ms;
}

static void run_timers(struct user *u)
{
	int64_t now = (int64_t)(clock_ns() / NS_PER_MS);
	struct user_timer *t, *next;

	for (t = u->timers; t; t = next) {
		next = t->next;
		if (t->deadline > now)
			continue;
		t->deadline = INT64_MAX;
		t->fn(t->opaque);
	}
}

/* libslirp runs on the thread that polls: it sees changes by itself. */
static void cb_poll_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void cb_notify(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = cb_send_packet,
	.guest_error = cb_guest_error,
	.clock_get_ns = cb_clock,
	.timer_new = cb_timer_new,
	.timer_free = cb_timer_free,
	.timer_mod = cb_timer_mod,
	.register_poll_fd = cb_poll_fd,
	.unregister_poll_fd = cb_poll_fd,
	.notify = cb_notify,
};

/* Polling */

static const struct {
	int slirp;
	short poll;
} event_map[] = {
	{ SLIRP_POLL_IN, POLLIN },
	{ SLIRP_POLL_OUT, POLLOUT },
	{ SLIRP_POLL_PRI, POLLPRI },
	{ SLIRP_POLL_ERR, POLLERR },
	{ SLIRP_POLL_HUP, POLLHUP },
};

#define NR_EVENTS	(sizeof(event_map) / sizeof(event_map[0]))

static int cb_add_poll(int fd, int events, void *opaque)
{
	struct user *u = opaque;
	short ev = 0;
	unsigned int i;

	for (i = 0; i < NR_EVENTS; i++)
		if (events & event_map[i].slirp)
			ev |= event_map[i].poll;
	return net_poll_add(u->poll, fd, ev);
}

static int cb_revents(int index, void *opaque)
{
	struct user *u = opaque;
	int events = 0;
	unsigned int i;

	if (index < 0 || (unsigned int)index >= u->poll->nr)
		return 0;
	for (i = 0; i < NR_EVENTS; i++)
		if (u->poll->fd[index].revents & event_map[i].poll)
			events |= event_map[i].slirp;
	return events;
}

static void shorten(int *timeout, int64_t ms)
{
	if (ms < 0)
		ms = 0;
	if (ms < INT32_MAX && (*timeout < 0 || ms < *timeout))
		*timeout = (int)ms;
}

static void user_poll_prepare(struct net *net, struct net_poll *poll, int *timeout)
{
	struct user *u = net->state;
	uint32_t ms = *timeout < 0 ? UINT32_MAX : (uint32_t)*timeout;
	int64_t now = (int64_t)(clock_ns() / NS_PER_MS);
	struct user_timer *t;

	for (t = u->timers; t; t = t->next)
		if (t->deadline != INT64_MAX)
			shorten(timeout, t->deadline - now);
	/* With a backlog, data stays in the sockets until the guest has made room. */
	u->polled = !u->first;
	if (!u->polled)
		return;
	u->poll = poll;
	slirp_pollfds_fill(u->slirp, &ms, cb_add_poll, u);
	if (ms != UINT32_MAX)
		shorten(timeout, ms);
}

static void user_poll_done(struct net *net, const struct net_poll *poll)
{
	struct user *u = net->state;

	flush_backlog(u);
	run_timers(u);
	if (!u->polled)
		return;
	u->poll = (struct net_poll *)poll;
	slirp_pollfds_poll(u->slirp, 0, cb_revents, u);
	u->polled = false;
}

/* From the guest to libslirp */

/*
 * A whole IPv4 packet: libslirp trusts what comes from the guest more than it should, and pieces of packets, put
 * together by it, corrupt its memory. With this MTU a guest that does not ask for pieces sends none.
 */
static bool acceptable_ipv4(const uint8_t *ip, size_t len)
{
	unsigned int header = (ip[0] & 15) * 4u, total = ip[2] << 8 | ip[3];

	if (ip[0] >> 4 != 4 || header < 20 || total < header || total > len)
		return false;
	/* more fragments, or an offset */
	if (ip[6] & 0x3f || ip[7])
		return false;
	return ip[16] != 0 && ip[16] != 127;
}

/* Is it a packet that libslirp knows, to somewhere else than this host's own stack? */
static bool acceptable(const uint8_t *frame, size_t len)
{
	static const uint8_t zero[10];
	const uint8_t *ip = frame + ETH_HLEN;

	if (len < ETH_HLEN + 28)
		return false;
	len -= ETH_HLEN;
	switch (frame[12] << 8 | frame[13]) {
	case ETH_P_ARP:
		return true;
	case ETH_P_IP:
		return acceptable_ipv4(ip, len);
	case ETH_P_IPV6:
		/* ::, ::1, and IPv4 addresses within IPv6 */
		return len >= 40 && (unsigned int)(ip[4] << 8 | ip[5]) <= len - 40 &&
		       memcmp(ip + 24, zero, sizeof(zero));
	}
	return false;
}

static void user_send(struct net *net, const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len)
{
	struct user *u = net->state;

	/* What is to be cut into segments is not: libslirp takes it as one long segment. */
	if (acceptable(frame, len) && net_checksum(hdr, frame, len))
		slirp_input(u->slirp, frame, (int)len);
}

/* Creation */

static void user_close(struct net *net)
{
	struct user *u = net->state;

	if (u->slirp)
		slirp_cleanup(u->slirp);
	while (u->timers)
		cb_timer_free(u->timers, u);
	while (u->first) {
		struct frame *f = u->first;

		u->first = f->next;
		free(f);
	}
	free(u);
	net->state = NULL;
}

static int add_hostfwd(struct user *u, const struct vm_hostfwd *fwd)
{
	struct in_addr host = { fwd->host_addr }, guest = { fwd->guest_addr };
	char name[INET_ADDRSTRLEN] = "?";
	int err;

	errno = 0;
	if (slirp_add_hostfwd(u->slirp, fwd->udp, host, fwd->host_port, guest, fwd->guest_port) >= 0)
		return 0;
	err = errno ? -errno : -EINVAL;
	inet_ntop(AF_INET, &host, name, sizeof(name));
	msg_error("--net: listen on %s port %s:%u for the guest: %s. %s", fwd->udp ? "UDP" : "TCP", name,
		  fwd->host_port, strerror(-err),
		  err == -EACCES ? "Ports below 1024 are root's: take a higher one" :
		  err == -EADDRINUSE ? "Take another port, or stop what uses it (ss -lntup shows it)" :
		  "Is this an address of this host?");
	return err;
}

uint32_t user_network(unsigned int index)
{
	return 0x0a000200u + (index << 8);
}

void user_mac(unsigned int index, uint8_t mac[6])
{
	memcpy(mac, (uint8_t[]){ 0x52, 0x54, 0x00, 0x54, 0x4e, (uint8_t)(0x01 + index) }, 6);
}

static int user_open(struct net *net, const struct vm_net *config, unsigned int index)
{
	const uint32_t base = user_network(index);
	SlirpConfig cfg = {
		.version = 4,
		.in_enabled = true,
		.vnetwork = { htonl(base) },
		.vnetmask = { htonl(0xffffff00u) },
		.vhost = { htonl(base + 2) },
		.vdhcp_start = { htonl(base + 15) },
		.vnameserver = { htonl(base + 3) },
		.in6_enabled = true,
		.vprefix_len = 64,
		.disable_host_loopback = !config->host_loopback,
	};
	struct user *u = calloc(1, sizeof(*u));
	unsigned int i;
	int err;

	if (!u)
		return -ENOMEM;
	u->net = net;
	u->last = &u->first;
	net->state = u;
	user_mac(index, net->mac);
	net->mtu = config->mtu ? config->mtu : NET_MTU_MAX;

	/* fec0:0:0:INDEX::/64, with the router and the resolver as in IPv4 */
	cfg.if_mtu = cfg.if_mru = net->mtu;
	cfg.vprefix_addr6.s6_addr[0] = 0xfe;
	cfg.vprefix_addr6.s6_addr[1] = 0xc0;
	cfg.vprefix_addr6.s6_addr[7] = (uint8_t)index;
	cfg.vhost6 = cfg.vprefix_addr6;
	cfg.vhost6.s6_addr[15] = 2;
	cfg.vnameserver6 = cfg.vprefix_addr6;
	cfg.vnameserver6.s6_addr[15] = 3;
	u->slirp = slirp_new(&cfg, &callbacks, u);
	if (!u->slirp) {
		msg_error("--net: set up the user network: libslirp %s refused", slirp_version_string());
		err = -EINVAL;
		goto fail;
	}
	for (i = 0; i < config->nr_fwd; i++) {
		err = add_hostfwd(u, &config->fwd[i]);
		if (err)
			goto fail;
	}
	return 0;

fail:
	user_close(net);
	return err;
}

/*
 * libslirp asks the host's resolver, and reads which that is whenever the file has changed. It changes by being
 * replaced, so what may be read is its directory: by a link that is often one below /run, otherwise /etc.
 */
static void user_enter(void)
{
	char path[PATH_MAX];

	if (realpath("/etc/resolv.conf", path))
		*strrchr(path, '/') = '\0';
	else
		strcpy(path, "/etc");
	sandbox_enter(SANDBOX_NET_USER, (const char *[]){ path, NULL });
}

const struct net_ops net_user = {
	.name = "user",
	.offload = NET_USER_OFFLOADS,
	.open = user_open,
	.close = user_close,
	.enter = user_enter,
	.send = user_send,
	.poll_prepare = user_poll_prepare,
	.poll_done = user_poll_done,
};
