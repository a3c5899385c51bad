// SPDX-License-Identifier: GPL-2.0-only
/*
 * net.c - reading of --net, and what back ends share
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <net/if.h>

#include "../cmd.h"
#include "../msg.h"
#include "net.h"

int net_poll_add(struct net_poll *poll, int fd, short events)
{
	if (poll->nr == poll->cap) {
		unsigned int cap = poll->cap ? 2 * poll->cap : 16;
		struct pollfd *p = realloc(poll->fd, cap * sizeof(*p));

		if (!p)
			return -1;
		poll->fd = p;
		poll->cap = cap;
	}
	poll->fd[poll->nr] = (struct pollfd){ .fd = fd, .events = events };
	return (int)poll->nr++;
}

/* "ADDR:PORT" with an address that may be left out. */
static bool parse_endpoint(char *s, uint32_t *addr, uint16_t *port)
{
	char *colon = strrchr(s, ':');
	struct in_addr in;
	uint64_t val;

	if (!colon)
		return false;
	*colon = '\0';
	if (*s) {
		if (inet_pton(AF_INET, s, &in) != 1)
			return false;
		*addr = in.s_addr;
	}
	if (parse_uint(colon + 1, 1, 65535, &val))
		return false;
	*port = (uint16_t)val;
	return true;
}

/* "tcp:[ADDR]:PORT-[GUEST]:PORT" */
static int parse_hostfwd(char *s, struct vm_net *net)
{
	struct vm_hostfwd fwd = { .host_addr = htonl(INADDR_LOOPBACK) };
	char copy[128], *guest;

	snprintf(copy, sizeof(copy), "%s", s);
	if (net->nr_fwd == VM_MAX_HOSTFWD) {
		msg_error("--net: hostfwd=%s is one too many. Give %u at most", copy, VM_MAX_HOSTFWD);
		return -EINVAL;
	}
	guest = strchr(s, '-');
	fwd.udp = !strncmp(s, "udp:", 4);
	if (!guest || (!fwd.udp && strncmp(s, "tcp:", 4)))
		goto bad;
	*guest++ = '\0';
	if (!parse_endpoint(s + 4, &fwd.host_addr, &fwd.host_port) ||
	    !parse_endpoint(guest, &fwd.guest_addr, &fwd.guest_port))
		goto bad;
	net->fwd[net->nr_fwd++] = fwd;
	return 0;

bad:
	msg_error("--net: hostfwd=%s is not understood. Give tcp or udp, a port of the host and one of the "
		  "guest, as in hostfwd=tcp::2222-:22; addresses (IPv4) stand before the colons of the ports",
		  copy);
	return -EINVAL;
}

bool net_parse_mac(const char *s, uint8_t mac[6])
{
	unsigned int m[6], i;
	int end = 0;

	if (sscanf(s, "%2x:%2x:%2x:%2x:%2x:%2x%n", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5], &end) != 6 ||
	    s[end] || strlen(s) != 17)
		return false;
	for (i = 0; i < 6; i++)
		mac[i] = (uint8_t)m[i];
	return !(mac[0] & 1) && memcmp(mac, "\0\0\0\0\0", 6);
}

static int parse_mac(const char *s, uint8_t mac[6])
{
	if (net_parse_mac(s, mac))
		return 0;
	msg_error("--net: mac=%s is no address of a card. Give six bytes, the first one even, as in "
		  "mac=52:54:00:12:34:56", s);
	return -EINVAL;
}

static int parse_ifname(const char *option, const char *s, const char **name)
{
	if (!*s || strlen(s) >= IFNAMSIZ || strchr(s, '/') || !strcmp(s, ".") || !strcmp(s, "..")) {
		msg_error("--net: %s=%s is no name of a network interface (1 to %d characters)", option, s,
			  IFNAMSIZ - 1);
		return -EINVAL;
	}
	*name = s;
	return 0;
}

static int parse_option(char *s, struct vm_net *net)
{
	bool user = net->ops == &net_user;
	char *val = strchr(s, '=');
	uint64_t num;

	if (val)
		*val++ = '\0';
	if (val && !strcmp(s, "mac"))
		return parse_mac(val, net->mac);
	if (val && !strcmp(s, "mtu")) {
		if (parse_uint(val, NET_MTU_MIN, NET_MTU_MAX, &num)) {
			msg_error("--net: mtu=%s is no size of a packet. Give %u to %u", val, NET_MTU_MIN,
				  NET_MTU_MAX);
			return -EINVAL;
		}
		net->mtu = (unsigned int)num;
		return 0;
	}
	if (!val && !strcmp(s, "transitional")) {
		net->transitional = true;
		return 0;
	}
	if (user && val && !strcmp(s, "hostfwd"))
		return parse_hostfwd(val, net);
	if (user && !val && !strcmp(s, "host-loopback")) {
		net->host_loopback = true;
		return 0;
	}
	if (!user && val && !strcmp(s, "ifname"))
		return parse_ifname(s, val, &net->ifname);
	if (!user && val && !strcmp(s, "bridge"))
		return parse_ifname(s, val, &net->bridge);
	if (!user && val && !strcmp(s, "vhost") && (!strcmp(val, "on") || !strcmp(val, "off"))) {
		net->vhost = strcmp(val, "on") ? VM_VHOST_OFF : VM_VHOST_ON;
		return 0;
	}
	msg_error("--net %s: there is no option '%s'%s. Choose from %s", net->ops->name, s,
		  val ? "" : " without a value",
		  user ? "hostfwd=, host-loopback, mac=, mtu=, transitional" :
		  "ifname=, bridge=, vhost=on|off, mac=, mtu=, transitional");
	return -EINVAL;
}

/*
 * libslirp lets no datagram out to the host's loopback without permission, be it an answer to one from
 * there.
 */
static int check_udp(const struct vm_net *net)
{
	unsigned int i;

	for (i = 0; i < net->nr_fwd && !net->host_loopback; i++) {
		if (!net->fwd[i].udp || ntohl(net->fwd[i].host_addr) >> 24 != 127)
			continue;
		msg_error("--net: hostfwd=udp on the host's loopback address (the default): the guest's "
			  "answers would go there, which host-loopback permits. Add it, or give another "
			  "address, as in hostfwd=udp:0.0.0.0:%u-:%u", net->fwd[i].host_port,
			  net->fwd[i].guest_port);
		return -EINVAL;
	}
	return 0;
}

int net_parse(char *s, struct vm_net *net)
{
	char *name = strsep(&s, ",");
	int err = 0;

	*net = (struct vm_net){ 0 };
	if (!strcmp(name, "user")) {
		net->ops = &net_user;
	} else if (!strcmp(name, "tap")) {
		net->ops = &net_tap;
	} else {
		msg_error("--net: there is no network '%s'. Choose from user, tap, none", name);
		return -EINVAL;
	}
	while (!err && s)
		err = parse_option(strsep(&s, ","), net);
	return err ? err : check_udp(net);
}
