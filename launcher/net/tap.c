// SPDX-License-Identifier: GPL-2.0-only
/*
 * tap.c - an interface of the host, by the tun driver
 *
 * An interface that does not exist is created, brought up, and gone again with this process, however that
 * ends. That takes CAP_NET_ADMIN. One that exists (made by: ip tuntap add NAME mode tap user USER) is used
 * as it is, which takes nothing but being its owner. Checksums and segmentation pass through to the host's
 * stack.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <net/if.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>

#include "../msg.h"
#include "../sandbox.h"
#include "net.h"

#define TAP_BATCH	64u
#define HDR_SIZE	sizeof(struct virtio_net_hdr_v1)

struct tap {
	int fd;
	int index;			/* in net_poll, -1: not polled */
	char name[IFNAMSIZ];
	bool dead;			/* the interface is gone */
	size_t len;			/* of a frame that the guest had no room for; 0: none */
	uint8_t buf[HDR_SIZE + NET_FRAME_MAX];
};

/* Frames */

static void tap_send(struct net *net, const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len)
{
	struct tap *tap = net->state;
	struct iovec iov[] = { { (void *)hdr, sizeof(*hdr) }, { frame, len } };

	/* The driver judges header and frame. What it refuses, or has no memory for, is lost as on a wire. */
	(void)!writev(tap->fd, iov, 2);
}

static bool deliver(struct net *net, struct tap *tap)
{
	struct virtio_net_hdr_v1 hdr;

	memcpy(&hdr, tap->buf, sizeof(hdr));
	if (!net->receive(net->opaque, &hdr, tap->buf + HDR_SIZE, tap->len - HDR_SIZE))
		return false;
	tap->len = 0;
	return true;
}

static void tap_poll_prepare(struct net *net, struct net_poll *poll, int *timeout)
{
	struct tap *tap = net->state;

	(void)timeout;
	/* Frames stay in the driver's queue until the guest has made room. */
	tap->index = tap->len || tap->dead ? -1 : net_poll_add(poll, tap->fd, POLLIN);
}

static void tap_poll_done(struct net *net, const struct net_poll *poll)
{
	struct tap *tap = net->state;
	unsigned int n;

	if (tap->len) {
		if (!deliver(net, tap))
			return;
	} else if (tap->index < 0 || !poll->fd[tap->index].revents) {
		return;
	}
	for (n = 0; n < TAP_BATCH; n++) {
		ssize_t got = read(tap->fd, tap->buf, sizeof(tap->buf));

		if (got < 0 && errno != EAGAIN && errno != EINTR) {
			msg_warn("tap '%s': read: %s. The guest receives nothing any more: was the interface "
				 "deleted?", tap->name, strerror(errno));
			tap->dead = true;
		}
		if (got <= (ssize_t)HDR_SIZE)
			return;
		tap->len = (size_t)got;
		if (!deliver(net, tap))
			return;
	}
}

static void tap_set_offload(struct net *net, uint64_t features)
{
	static const struct {
		unsigned int feature, offload;
	} map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	struct tap *tap = net->state;
	unsigned int i, offload = 0;

	for (i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (features >> map[i].feature & 1)
			offload |= map[i].offload;
	/* Without checksums the others make no sense to the driver, which refuses them. */
	if (!(offload & TUN_F_CSUM))
		offload = 0;
	if (ioctl(tap->fd, TUNSETOFFLOAD, offload))
		msg_warn("tap '%s': set offloads 0x%x: %s", tap->name, offload, strerror(errno));
}

/* Set-up */

/*
 * An address that is the guest's in every run and nobody else's on a bridge: made of the name of the
 * interface and the host's machine-id, of which it gives nothing away (FNV-1a).
 */
static void choose_mac(const char *name, uint8_t mac[6])
{
	uint64_t hash = 0xcbf29ce484222325ull;
	char id[64] = "";
	unsigned int i;
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, id, sizeof(id) - 1) : 0;

	if (fd >= 0)
		close(fd);
	for (i = 0; len > 0 && i < (unsigned int)len; i++)
		hash = (hash ^ (uint8_t)id[i]) * 0x100000001b3ull;
	for (i = 0; name[i]; i++)
		hash = (hash ^ (uint8_t)name[i]) * 0x100000001b3ull;
	memcpy(mac, (uint8_t[]){ 0x52, 0x54, 0x00 }, 3);
	for (i = 3; i < 6; i++)
		mac[i] = (uint8_t)(hash >> (8 * i + 8));
}

static int link_failed(const char *what, const char *name, int err)
{
	msg_error("--net tap: %s '%s': %s%s", what, name, nl_geterror(err),
		  err == -NLE_PERM ? ". It takes root, or CAP_NET_ADMIN; --net user takes nothing" : "");
	return err == -NLE_PERM ? -EPERM : err == -NLE_NODEV || err == -NLE_OBJ_NOTFOUND ? -ENODEV : -EIO;
}

/* The MTU of an interface and its state. */
static int link_query(struct nl_sock *sock, struct tap *tap, unsigned int *mtu, bool *up)
{
	struct rtnl_link *link;
	int err = rtnl_link_get_kernel(sock, 0, tap->name, &link);

	if (err < 0)
		return link_failed("look at interface", tap->name, err);
	*mtu = rtnl_link_get_mtu(link);
	*up = rtnl_link_get_flags(link) & IFF_UP;
	rtnl_link_put(link);
	return 0;
}

static int find_bridge(struct nl_sock *sock, const char *name, int *index)
{
	struct rtnl_link *link;
	const char *type;
	bool bridge;
	int err = rtnl_link_get_kernel(sock, 0, name, &link);

	if (err < 0) {
		if (err != -NLE_NODEV && err != -NLE_OBJ_NOTFOUND)
			return link_failed("look for bridge", name, err);
		msg_error("--net tap: there is no bridge '%s'. Create it: ip link add %s type bridge", name,
			  name);
		return -ENODEV;
	}
	type = rtnl_link_get_type(link);
	bridge = type && (!strcmp(type, "bridge") || !strcmp(type, "openvswitch"));
	*index = rtnl_link_get_ifindex(link);
	rtnl_link_put(link);
	if (bridge)
		return 0;
	msg_error("--net tap: '%s' is no bridge. ip -br link show type bridge lists those there are", name);
	return -EINVAL;
}

/* The host's end: a bridge takes the lowest address of its ports for its own, which must not be this one. */
static struct nl_addr *host_address(const struct net *net)
{
	uint8_t mac[6];

	memcpy(mac, net->mac, sizeof(mac));
	mac[0] = 0xfe;
	return nl_addr_build(AF_LLC, mac, sizeof(mac));
}

/* Bring up a new interface, and change what was asked for of an old one. */
static int link_change(struct nl_sock *sock, const struct net *net, struct tap *tap,
		       const struct vm_net *config, bool created)
{
	struct rtnl_link *link = rtnl_link_alloc(), *orig = rtnl_link_alloc();
	struct nl_addr *addr = host_address(net);
	int err = -ENOMEM, bridge = 0;

	if (!link || !orig || !addr)
		goto out;
	rtnl_link_set_name(orig, tap->name);
	rtnl_link_set_ifindex(orig, (int)if_nametoindex(tap->name));
	if (created) {
		rtnl_link_set_flags(link, IFF_UP);
		rtnl_link_set_addr(link, addr);
	}
	if (config->mtu)
		rtnl_link_set_mtu(link, config->mtu);
	if (config->bridge) {
		err = find_bridge(sock, config->bridge, &bridge);
		if (err)
			goto out;
		rtnl_link_set_master(link, bridge);
	}
	err = 0;
	if (created || config->mtu || config->bridge)
		err = rtnl_link_change(sock, orig, link, 0);
	if (err < 0)
		err = link_failed(config->bridge ? "set up, and attach to its bridge, interface" :
				  "set up interface", tap->name, err);
out:
	if (addr)
		nl_addr_put(addr);
	rtnl_link_put(orig);
	rtnl_link_put(link);
	return err;
}

static int link_set_up(struct net *net, struct tap *tap, const struct vm_net *config, bool created)
{
	struct nl_sock *sock = nl_socket_alloc();
	unsigned int mtu = 0;
	bool up = false;
	int err;

	if (!sock)
		return -ENOMEM;
	err = nl_connect(sock, NETLINK_ROUTE);
	if (err < 0) {
		err = link_failed("connect to rtnetlink for", tap->name, err);
		goto out;
	}
	err = link_change(sock, net, tap, config, created);
	if (!err)
		err = link_query(sock, tap, &mtu, &up);
	if (err)
		goto out;
	net->mtu = mtu < NET_MTU_MIN ? NET_MTU_MIN : mtu > NET_MTU_MAX ? NET_MTU_MAX : mtu;
	if (!up)
		msg_warn("--net tap: interface '%s' is down: the guest reaches nobody. ip link set %s up",
			 tap->name, tap->name);
out:
	nl_socket_free(sock);
	return err;
}

static void tap_close(struct net *net)
{
	struct tap *tap = net->state;

	if (tap->fd >= 0)
		close(tap->fd);
	free(tap);
	net->state = NULL;
}

static int attach(struct tap *tap, const struct vm_net *config)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int hdr_size = HDR_SIZE, err;

	tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap->fd < 0) {
		err = -errno;
		msg_error("--net tap: open /dev/net/tun: %s. %s", strerror(-err),
			  err == -ENOENT || err == -ENODEV ? "Load the driver: modprobe tun" :
			  "--net user needs no such file");
		return err;
	}
	/* The driver numbers interfaces itself if there is a %d. */
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", config->ifname ? config->ifname : "tenon%d");
	if (ioctl(tap->fd, TUNSETIFF, &req)) {
		err = -errno;
		msg_error("--net tap: get interface '%s': %s. %s",
			  config->ifname ? config->ifname : "tenon0", strerror(-err),
			  err == -EPERM ? "It takes root (CAP_NET_ADMIN) to create one, or to own it: ip "
					  "tuntap add NAME mode tap user USER; --net user takes nothing" :
			  err == -EBUSY ? "Another process has it in use" :
			  "Is there another interface of this name?");
		return err;
	}
	memcpy(tap->name, req.ifr_name, sizeof(tap->name));
	tap->name[sizeof(tap->name) - 1] = '\0';
	if (ioctl(tap->fd, TUNSETVNETHDRSZ, &hdr_size) || ioctl(tap->fd, TUNSETOFFLOAD, 0)) {
		err = -errno;
		msg_error("--net tap: set the header size of '%s': %s", tap->name, strerror(-err));
		return err;
	}
	return 0;
}

static int tap_open(struct net *net, const struct vm_net *config, unsigned int index)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	bool created;
	int err;

	(void)index;
	if (!tap) {
		if (config->fd)
			close(config->fd);
		return -ENOMEM;
	}
	tap->fd = -1;
	tap->index = -1;
	net->state = tap;
	if (config->fd) {
		/* By another process; the interface is as it is to be. */
		tap->fd = config->fd;
		memcpy(net->mac, config->mac, sizeof(net->mac));
		net->mtu = (uint16_t)config->mtu;
		snprintf(tap->name, sizeof(tap->name), "%s", config->ifname);
		return 0;
	}
	created = !config->ifname || !if_nametoindex(config->ifname);
	err = attach(tap, config);
	if (!err) {
		choose_mac(tap->name, net->mac);
		err = link_set_up(net, tap, config, created);
	}
	if (err)
		tap_close(net);
	return err;
}

const char *tap_check(int fd)
{
	const short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	const int mode = fcntl(fd, F_GETFL);
	struct ifreq req = { 0 };
	struct stat st;
	int hdr_size;

	if (mode < 0 || fstat(fd, &st) || !S_ISCHR(st.st_mode) || ioctl(fd, TUNGETIFF, &req) || !(req.ifr_flags & IFF_TAP))
		return "The descriptor is no tap interface's";
	if ((mode & O_ACCMODE) != O_RDWR || !(mode & O_NONBLOCK))
		return "The tap interface is not opened with O_RDWR and O_NONBLOCK";
	if ((req.ifr_flags & flags) != flags || ioctl(fd, TUNGETVNETHDRSZ, &hdr_size) || hdr_size != (int)HDR_SIZE)
		return "The tap interface has not IFF_NO_PI, IFF_VNET_HDR and a header size (TUNSETVNETHDRSZ) of 12";
	return NULL;
}

int tap_fd(const struct net *net, const char **ifname)
{
	const struct tap *tap = net->state;

	*ifname = tap->name;
	return tap->fd;
}

static void tap_enter(void)
{
	sandbox_enter(SANDBOX_NET_TAP, NULL);
}

const struct net_ops net_tap = {
	.name = "tap",
	.offload = NET_OFFLOADS,
	.open = tap_open,
	.close = tap_close,
	.enter = tap_enter,
	.send = tap_send,
	.poll_prepare = tap_poll_prepare,
	.poll_done = tap_poll_done,
	.set_offload = tap_set_offload,
};
