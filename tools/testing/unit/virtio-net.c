// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-net.c - the network card as a driver sees it, with a back end that records and injects frames;
 * then a hostile driver
 *
 * The oracles: the VIRTIO specification ("Network Device"), a checksum computed byte by byte, and the
 * sanitizers.
 */
#include <sys/eventfd.h>

#include "launcher/net/net.h"
#include "virtio-drv.h"

#define RX	0
#define TX	1
#define CTRL	2
#define HDR	12u
#define BUF(i)	(0x40000u + (i) * 0x1000u)
#define OUT	0x80000u
#define CMD	0x30000u
#define ACK	0x31000u
#define F(n)	(1ull << VIRTIO_NET_F_##n)
#define ALL	(F(CSUM) | F(GUEST_CSUM) | F(MRG_RXBUF) | F(HOST_TSO4) | F(GUEST_TSO4) | F(CTRL_VQ) | \
		 F(CTRL_RX) | F(CTRL_MAC_ADDR) | F(MAC) | F(STATUS) | F(MTU))

static const uint8_t own[] = { 0x02, 1, 2, 3, 4, 5 };
static void *card;

/* The back end: one frame to inject at a time, the last one sent is kept. */
static struct {
	pthread_mutex_t lock;
	int fd;
	struct virtio_net_hdr_v1 in_hdr, out_hdr;
	uint8_t in[NET_FRAME_MAX], out[NET_FRAME_MAX];
	size_t in_len, out_len;
	unsigned int refused, sent, opened;
	uint64_t offload;
	bool echo;
	atomic_bool full;		/* it takes no frame, until woken without this */
} peer = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int peer_open(struct net *net, const struct vm_net *config, unsigned int index)
{
	(void)config;
	(void)index;
	memcpy(net->mac, own, 6);
	net->mtu = 9000;
	peer.fd = eventfd(0, EFD_NONBLOCK);
	peer.opened++;
	return 0;
}

static void peer_close(struct net *net)
{
	(void)net;
	close(peer.fd);
	peer.opened--;
}

static bool peer_can_send(struct net *net)
{
	(void)net;
	return !atomic_load(&peer.full);
}

static void peer_send(struct net *net, const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len)
{
	pthread_mutex_lock(&peer.lock);
	peer.out_hdr = *hdr;
	memcpy(peer.out, frame, len);
	peer.out_len = len;
	peer.sent++;
	pthread_mutex_unlock(&peer.lock);
	if (peer.echo)
		net->receive(net->opaque, hdr, frame, len);
}

static void peer_prepare(struct net *net, struct net_poll *poll, int *timeout)
{
	(void)net;
	(void)timeout;
	net_poll_add(poll, peer.fd, POLLIN);
}

static void peer_done(struct net *net, const struct net_poll *poll)
{
	uint64_t n;

	(void)poll;
	(void)!read(peer.fd, &n, sizeof(n));
	pthread_mutex_lock(&peer.lock);
	if (peer.in_len) {
		if (net->receive(net->opaque, &peer.in_hdr, peer.in, peer.in_len))
			peer.in_len = 0;
		else
			peer.refused++;
	}
	pthread_mutex_unlock(&peer.lock);
}

static void peer_offload(struct net *net, uint64_t features)
{
	(void)net;
	peer.offload = features;
}

static void peer_enter(void)
{
}

static const struct net_ops fake_net = {
	.name = "fake",
	.offload = F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4) | F(GUEST_TSO4),
	.open = peer_open,
	.close = peer_close,
	.enter = peer_enter,
	.can_send = peer_can_send,
	.send = peer_send,
	.poll_prepare = peer_prepare,
	.poll_done = peer_done,
	.set_offload = peer_offload,
};

static void inject_hdr(const uint8_t dst[6], size_t len, const struct virtio_net_hdr_v1 *hdr)
{
	uint64_t one = 1;
	size_t i;

	pthread_mutex_lock(&peer.lock);
	peer.in_hdr = *hdr;
	memcpy(peer.in, dst, 6);
	for (i = 6; i < len; i++)
		peer.in[i] = (uint8_t)(i * 7 + (i >> 8));
	peer.in_len = len;
	peer.refused = 0;
	pthread_mutex_unlock(&peer.lock);
	(void)!write(peer.fd, &one, sizeof(one));
}

static void inject(const uint8_t dst[6], size_t len, uint8_t flags, uint8_t gso)
{
	inject_hdr(dst, len, &(struct virtio_net_hdr_v1){ .flags = flags, .gso_type = gso });
}

static bool taken(void)
{
	return wait_for(({
		pthread_mutex_lock(&peer.lock);
		bool gone = !peer.in_len;
		pthread_mutex_unlock(&peer.lock);
		gone;
	}));
}

/* Buffers of @len bytes, one chain each, from descriptor @first on. */
static void offer_buffers(unsigned int first, unsigned int n, uint32_t len)
{
	unsigned int i;

	for (i = first; i < first + n; i++) {
		desc(RX, i % QSIZE, BUF(i % QSIZE), len, VRING_DESC_F_WRITE, 0);
		offer(RX, i % QSIZE);
	}
	notify(RX);
}

static uint8_t command(uint8_t class, uint8_t cmd, const void *data, uint32_t len)
{
	uint8_t hdr[2] = { class, cmd }, ack = 0xee;

	dma_write(vm, CMD, hdr, 2);
	dma_write(vm, CMD + 2, data, len);
	dma_write(vm, ACK, &ack, 1);
	desc(CTRL, 0, CMD, 2, VRING_DESC_F_NEXT, len ? 1 : 2);
	desc(CTRL, 1, CMD + 2, len, VRING_DESC_F_NEXT, 2);
	desc(CTRL, 2, ACK, 1, VRING_DESC_F_WRITE, 0);
	kick(CTRL, 0);
	if (!completed(CTRL))
		return 0xfe;
	dma_read(vm, ACK, &ack, 1);
	return ack;
}

static bool send_frame(const struct virtio_net_hdr_v1 *hdr, uint32_t len)
{
	dma_write(vm, OUT, hdr, HDR);
	desc(TX, 0, OUT, HDR, VRING_DESC_F_NEXT, 1);
	desc(TX, 1, OUT + HDR, len, 0, 0);
	kick(TX, 0);
	return completed(TX);
}

static void test_discovery(void)
{
	uint64_t dev = cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG);
	unsigned int i, same = 0;

	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10411af4, "a modern virtio network card");
	is_u64(cfg_get(vm, DEVFN, PCI_CLASS_DEVICE, 2), 0x0200, "of class Ethernet");
	is_u64(common(VIRTIO_PCI_COMMON_NUMQ, 2), 3, "three queues");
	is_u64(offered() & ALL, ALL, "features of card and back end are offered");
	is_u64(offered() & (F(GUEST_TSO6) | F(HOST_UFO) | F(MQ)), 0, "and none that they lack");
	for (i = 0; i < 6; i++)
		same += mmio_read(vm, dev + i, 1) == own[i];
	is_u64(same, 6, "the back end's MAC address");
	is_u64(mmio_read(vm, dev + 6, 2), VIRTIO_NET_S_LINK_UP, "link up");
	is_u64(mmio_read(vm, dev + 10, 2), 9000, "its MTU");
}

static void test_send(void)
{
	struct virtio_net_hdr_v1 hdr = { 0 };
	const uint64_t one = 1;
	uint8_t data[3000];
	unsigned int i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13);
	dma_write(vm, OUT + HDR, data, sizeof(data));
	ok(start(ALL), "negotiation");
	ok((peer.offload & ALL) == ALL, "the back end hears of it");
	ok(send_frame(&hdr, 100), "a frame out");
	ok(wait_for(peer.sent == 1), "reaches the back end");
	ok(peer.out_len == 100 && !memcmp(peer.out, data, 100), "unchanged");
	hdr.flags = 0xff;
	hdr.csum_start = 14;
	hdr.csum_offset = 6;
	hdr.num_buffers = 77;
	send_frame(&hdr, 1000);
	ok(wait_for(peer.sent == 2) && peer.out_hdr.flags == VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	   peer.out_hdr.csum_start == 14 && !peer.out_hdr.num_buffers, "of its header what makes sense");
	hdr = (struct virtio_net_hdr_v1){ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 500 };
	send_frame(&hdr, 3000);
	ok(wait_for(peer.sent == 3) && peer.out_hdr.gso_size == 500, "one to be segmented");
	hdr.gso_size = 0;
	send_frame(&hdr, 3000);
	hdr = (struct virtio_net_hdr_v1){ .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 500 };
	send_frame(&hdr, 3000);
	hdr.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	send_frame(&hdr, 3000);
	hdr = (struct virtio_net_hdr_v1){ 0 };
	send_frame(&hdr, 5);
	send_frame(&hdr, 80000);
	send_frame(&hdr, 60);
	ok(wait_for(peer.sent == 4) && peer.out_len == 60,
	   "segments of size 0, kinds not negotiated, too short and too long ones are dropped");
	start(0);
	hdr = (struct virtio_net_hdr_v1){ .flags = 1, .csum_start = 14, .csum_offset = 6 };
	send_frame(&hdr, 1000);
	hdr.flags = 0;
	send_frame(&hdr, 61);
	ok(wait_for(peer.sent == 5) && peer.out_len == 61, "so are checksums without the feature");

	/* Two buffers: a frame that is taken and one that is not would show the same. */
	atomic_store(&peer.full, true);
	dma_write(vm, OUT, &hdr, HDR);
	desc(TX, 0, OUT, HDR + 62, 0, 0);
	offer(TX, 0);
	desc(TX, 1, OUT, HDR + 63, 0, 0);
	kick(TX, 1);
	usleep(100000);
	ok(peer.sent == 5 && used_idx(TX) == (uint16_t)(avail_idx[TX] - 2), "what a full back end does not take stays in the ring");
	atomic_store(&peer.full, false);
	(void)!write(peer.fd, &one, sizeof(one));
	ok(completed(TX) && wait_for(peer.sent == 7) && peer.out_len == 63, "until there is room, without another notification");
}

/* RFC 1071, byte by byte. */
static uint16_t slow_sum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void test_receive(void)
{
	static const uint8_t other[] = { 2, 9, 9, 9, 9, 9 }, broadcast[] = { 255, 255, 255, 255, 255, 255 };
	const struct virtio_net_hdr_v1 *hdr = ram(BUF(0));
	uint8_t back[5000];
	uint16_t csum;

	start(ALL | 1ull << VIRTIO_RING_F_EVENT_IDX);
	offer_buffers(0, 4, 2048);
	inject(own, 100, 0, 0);
	ok(taken() && used_idx(RX) == 1, "a frame in");
	is_u64(used_elem(RX, 0).len, 112, "used length is header and frame");
	is_u64(hdr->num_buffers, 1, "in one buffer");
	ok(!memcmp(ram(BUF(0) + HDR), peer.in, 100), "unchanged");

	/* Merged buffers: 5000 bytes need three of 2048, which are shown at once. */
	inject(own, 5000, 0, 0);
	ok(taken() && used_idx(RX) == 4, "a long frame takes three buffers");
	is_u64(((struct virtio_net_hdr_v1 *)ram(BUF(1)))->num_buffers, 3, "the header says so");
	ok(used_elem(RX, 1).len == 2048 && used_elem(RX, 2).len == 2048 && used_elem(RX, 3).len == 916,
	   "and the lengths");
	memcpy(back, ram(BUF(1) + HDR), 2036);
	memcpy(back + 2036, ram(BUF(2)), 2048);
	memcpy(back + 4084, ram(BUF(3)), 916);
	ok(!memcmp(back, peer.in, 5000), "unchanged");

	/* Too few buffers: the frame waits, also with event indices, until there are enough. */
	offer_buffers(4, 1, 2048);
	inject(own, 5000, 0, 0);
	ok(wait_for(peer.refused), "with too few buffers the back end keeps it");
	is_u64(used_idx(RX), 4, "and the driver sees nothing of it");
	offer_buffers(5, 1, 2048);
	offer_buffers(6, 1, 2048);
	ok(taken() && used_idx(RX) == 7, "it arrives with the third buffer");

	/* The filter */
	offer_buffers(7, 4, 2048);
	inject(other, 100, 0, 0);
	ok(taken() && used_idx(RX) == 8, "without a filter a frame for others arrives");
	is_u64(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1), VIRTIO_NET_OK,
	       "promisc off");
	inject(other, 100, 0, 0);
	ok(taken() && used_idx(RX) == 8, "then it does not");
	inject(broadcast, 100, 0, 0);
	ok(taken() && used_idx(RX) == 9, "a broadcast does");
	is_u64(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6), VIRTIO_NET_OK,
	       "new MAC");
	is_u64(mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + 1, 1), 9, "shows in the configuration");
	inject(other, 100, 0, 0);
	ok(taken() && used_idx(RX) == 10, "now the frame arrives");
	{
		uint8_t table[] = { 1, 0, 0, 0, 2, 0, 0, 0, 0, 7, 1, 0, 0, 0, 1, 0, 94, 0, 0, 1 };
		uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0 };

		is_u64(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)),
		       VIRTIO_NET_OK, "an address table");
		inject((uint8_t[]){ 2, 0, 0, 0, 0, 7 }, 100, 0, 0);
		ok(taken() && used_idx(RX) == 11, "its addresses arrive");
		inject((uint8_t[]){ 1, 0, 94, 0, 0, 2 }, 100, 0, 0);
		ok(taken() && used_idx(RX) == 11, "other groups do not");
		is_u64(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, huge, sizeof(huge)),
		       VIRTIO_NET_ERR, "a table longer than its command");
	}
	is_u64(command(VIRTIO_NET_CTRL_RX, 99, "\1", 1), VIRTIO_NET_ERR, "an unknown mode");
	is_u64(command(77, 0, "", 0), VIRTIO_NET_ERR, "an unknown class");

	/* What the driver did not agree to */
	start(F(CTRL_VQ));
	is_u64(mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + 1, 1), 1, "a reset restores the MAC");
	offer_buffers(0, 4, 2048);
	inject(own, 3000, 0, 0);
	ok(taken() && !used_idx(RX), "without merging a frame must fit into one buffer");
	inject(own, 1000, 0, VIRTIO_NET_HDR_GSO_TCPV4);
	ok(taken() && !used_idx(RX), "segments are dropped without the feature");
	inject(own, 1000, 0, 0);
	ok(taken() && used_idx(RX) == 1, "a plain frame arrives");
	inject_hdr(own, 1001, &(struct virtio_net_hdr_v1){ .flags = 1, .csum_start = 34, .csum_offset = 16 });
	ok(taken() && used_idx(RX) == 2, "an unfinished checksum");
	ok(!((struct virtio_net_hdr_v1 *)ram(BUF(1)))->flags, "is finished");
	memcpy(back, ram(BUF(1) + HDR), 1001);
	csum = back[50] << 8 | back[51];
	back[50] = peer.in[50];
	back[51] = peer.in[51];
	is_u64(csum, (uint16_t)~slow_sum(back + 34, 1001 - 34), "correctly");

	/* Interrupts */
	ok(fake.line[pci_gsi(2, 0)], "the interrupt pin is up");
}

static void test_broken(void)
{
	struct virtio_net_hdr_v1 hdr = { 0 };

	quiet(true);
	start(ALL);
	desc(TX, 0, OUT, 4, 0, 0);
	kick(TX, 0);
	ok(needs_reset(), "a frame without header: the device needs a reset");
	start(ALL);
	desc(TX, 0, 0x7000000000ull, 100, 0, 0);
	kick(TX, 0);
	ok(needs_reset(), "likewise one outside RAM");
	start(ALL);
	desc(RX, 0, BUF(0), 12, VRING_DESC_F_WRITE, 0);
	kick(RX, 0);
	inject(own, 100, 0, 0);
	ok(taken() && needs_reset(), "a receive buffer that holds nothing");
	start(ALL);
	desc(RX, 0, 0x7000000000ull, 2048, VRING_DESC_F_WRITE, 0);
	kick(RX, 0);
	inject(own, 100, 0, 0);
	ok(taken() && needs_reset(), "a receive buffer outside RAM");
	start(ALL);
	desc(CTRL, 0, CMD, 3, 0, 0);
	kick(CTRL, 0);
	ok(needs_reset(), "a command without room for its status");
	start(ALL);
	ok(send_frame(&hdr, 100), "it works after a reset");
	quiet(false);
}

static void test_random(void)
{
	uint64_t seed = tap_seed(0x4e7), i;
	struct virtio_net_hdr_v1 hdr = { 0 };
	unsigned int n, q, received = 0, commands = 0, sent = peer.sent;

	diag("seed %#llx", (unsigned long long)seed);
	quiet(true);
	peer.echo = true;
	for (i = 0; i < 200000; i++) {
		uint64_t r = tap_random(&seed);

		if (!(r >> 60)) {
			received += used_idx(RX);
			commands += used_idx(CTRL);
			start((r & 0xffffff & ALL) | F(MRG_RXBUF) * (r >> 32 & 1) |
			      (r >> 30 & 1) << VIRTIO_RING_F_EVENT_IDX |
			      (r >> 31 & 1) << VIRTIO_RING_F_INDIRECT_DESC);
			continue;
		}
		if (r >> 58 == 4) {
			random_access(r, tap_random(&seed));
			continue;
		}
		if (r >> 60 == 3 || r >> 60 == 4)
			inject(own, 14 + (r >> 8 & 0x3fff), r >> 32 & 3, r >> 34 & 1);
		q = r % 3;
		for (n = 0; n < 16; n++)
			((uint8_t *)ram(q == TX ? OUT : CMD))[n] = tap_random(&seed) >> (r >> 40 & 7 ? 62 :
											 0);
		for (n = 0; n < QSIZE; n++) {
			uint64_t s = tap_random(&seed);
			bool in = q == RX || (q == CTRL && n % 3 == 2);
			uint64_t addr = q == RX ? BUF(n) : q == TX ? OUT + (n & 1) * HDR : CMD + (n % 3) * 2;
			uint32_t len = q == RX ? 2048 : q == TX ? n & 1 ? 100 : HDR : n % 3 == 0 ? 2 : 8;
			uint16_t flags = (in ? VRING_DESC_F_WRITE : 0) |
					 (q == TX && !(n & 1) ? VRING_DESC_F_NEXT : 0) |
					 (q == CTRL && n % 3 < 2 ? VRING_DESC_F_NEXT : 0);

			if (!(s >> 40 & 127))
				flags ^= 1 << (s >> 48 & 3);
			if (!(s >> 46 & 255))
				addr = s & 0x7fffff;
			if (!(s >> 52 & 255))
				len = s >> (30 + (s & 15));
			desc(q, n, addr, len, flags, n + 1);
		}
		for (n = 0; n < (r >> 50 & 7); n++)
			offer(q, r >> 20 & 63 ? ((r >> 8) + n * (q + 1)) & 15 : r >> 8);
		notify(q);
	}
	peer.echo = false;
	diag("%u frames sent, about %u received, %u commands", peer.sent - sent, received & 0xffffff,
	     commands & 0xffffff);
	machine_reset();
	quiet(false);
	start(ALL);
	n = peer.sent;
	ok(send_frame(&hdr, 100) && wait_for(peer.sent > n),
	   "200000 hostile accesses, a reset, and it sends");
	pthread_mutex_lock(&peer.lock);
	peer.in_len = 0;
	pthread_mutex_unlock(&peer.lock);
	offer_buffers(0, 2, 2048);
	inject(own, 100, 0, 0);
	ok(taken() && used_idx(RX) == 1, "and receives");
}

/* A back end that rings: which addresses lead to which eventfd. */
static struct {
	uint64_t gpa[16];
	int fd[16];
	unsigned int nr;
} bell;

static void fake_doorbell(struct vm *v, uint64_t gpa, int fd, bool on)
{
	(void)v;
	for (unsigned int i = 0; i < bell.nr && !on; i++) {
		if (bell.gpa[i] != gpa || bell.fd[i] != fd)
			continue;
		bell.nr--;
		bell.gpa[i] = bell.gpa[bell.nr];
		bell.fd[i] = bell.fd[bell.nr];
		return;
	}
	if (on && bell.nr < 16) {
		bell.gpa[bell.nr] = gpa;
		bell.fd[bell.nr++] = fd;
	}
}

static void test_doorbell(void)
{
	const uint64_t one = 1, at = cap_addr(VIRTIO_PCI_CAP_NOTIFY_CFG);
	unsigned int expected = 0;

	start(0);
	is_u64(bell.nr, 3, "each queue has a doorbell of the back end's");
	for (unsigned int i = 0; i < bell.nr; i++)
		expected |= 1u << (bell.gpa[i] - at) / 4;
	is_u64(expected, 7, "where its notifications go");
	memset(ram(0x30000), 0, 12 + 64);
	desc(1, 0, 0x30000, 12 + 64, 0, 0);
	offer(1, 0);
	ok(write(bell.fd[0], &one, sizeof(one)) == sizeof(one) && completed(1), "and as good as one");
	cfg_set(vm, DEVFN, PCI_COMMAND, 0, 2);
	is_u64(bell.nr, 0, "off the bus, it has none");
	drv_enable();
	is_u64(bell.nr, 3, "and has them again with it");
	machine_reset();
	bell.nr = 0;
	pci_tell_bars(vm->pci);
	is_u64(bell.nr, 3, "a back end that is a new one after a reset is told again");
	drv_enable();
}

int main(void)
{
	struct accel_ops accel = fake_accel;

	accel.doorbell = fake_doorbell;
	vm = fake_vm(8 << 20);
	vm->config.accel = &accel;
	vm->config.net[0].ops = &fake_net;
	vm->config.nr_nets = 1;
	if (pci_host_device.init(vm, &pci) || virtio_net_device.init(vm, &card))
		return 1;
	drv_init(3);
	test_discovery();
	test_send();
	test_receive();
	test_broken();
	test_doorbell();
	test_random();
	virtio_net_device.exit(vm, card);
	is_u64(peer.opened, 0, "the back end is closed");
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	return tap_done();
}
