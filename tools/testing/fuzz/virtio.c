// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio.c - a driver that does what the input says: rings, registers and doorbells of disks, entropy, network
 * cards, shared directories, a balloon, a channel and sockets, with their threads
 *
 * An input is the device, then steps. Some write anything anywhere; others do what an honest driver does, with
 * contents from the input, or hardly any input would get past the negotiation.
 */
#include <sys/eventfd.h>
#include <sys/stat.h>

#define DRV_QUEUES 6
#include "tools/testing/unit/virtio-drv.h"
#include "tools/testing/unit/net-fake.h"
#include "fuzz.h"

#define AREA	0x10000u	/* rings; then buffers */
#define AREA_LEN 0x40000u
#define BUFFERS	0x30000u
#define IMAGE	(1u << 20)
#define STEPS	64

/* Frames come back twice: as they are, and with their checksum. */
static void twice(struct net *net, const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len)
{
	net->receive(net->opaque, hdr, frame, len);
	if (net_checksum(hdr, frame, len))
		net->receive(net->opaque, hdr, frame, len);
}

static const struct device_ops *const devices[] = {
	&virtio_blk_device, &virtio_rng_device, &virtio_net_device, &virtio_9p_device, &virtio_balloon_device,
	&virtio_console_device, &virtio_vsock_device,
};

#define NR_DEVICES (sizeof(devices) / sizeof(devices[0]))

static char image[] = "/tmp/tenon-fuzz-disk-XXXXXX", share[] = "/tmp/tenon-fuzz-share-XXXXXX";
static char channel[64], vsock[64];
static struct {
	struct vm *vm;
	void *pci, *state;
} machine[NR_DEVICES];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct net_ops echo;
	char file[64];
	unsigned int i;
	int fd = mkstemp(image);

	(void)argc;
	(void)argv;
	echo = wire;
	echo.send = twice;
	if (fd < 0 || ftruncate(fd, IMAGE) || !mkdtemp(share))
		abort();
	close(fd);
	snprintf(file, sizeof(file), "%s/file", share);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	snprintf(channel, sizeof(channel), "%s/channel", share);
	snprintf(vsock, sizeof(vsock), "%s/vsock", share);
	for (i = 0; i < NR_DEVICES; i++) {
		vm = machine[i].vm = fake_vm(4 << 20);
		vm->config.cpus = 2;
		vm->config.nr_disks = vm->config.nr_nets = vm->config.nr_shares = 1;
		vm->config.disk[0] = (struct vm_disk){
			.path = image, .cache = BLOCK_UNSAFE, .aio = BLOCK_AIO_URING, .transitional = true,
		};
		vm->config.net[0].ops = &echo;
		vm->config.net[0].transitional = true;
		/* Read-only: names from an input must not become files of the host. */
		vm->config.share[0] = (struct vm_share){ .path = share, .tag = "fuzz", .readonly = true };
		vm->config.balloon = true;
		vm->config.channel[0] = (struct vm_channel){ "fuzz", channel };
		vm->config.nr_channels = 1;
		vm->config.vsock_path = vsock;
		vm->config.vsock_cid = 3;
		if (pci_host_device.init(vm, &machine[i].pci) ||
		    devices[i]->init(vm, &machine[i].state))
			abort();
	}
	/* They are open, and whatever way this process ends, nothing is left. */
	unlink(image);
	unlink(channel);
	return 0;
}

static void chain(struct input *in)
{
	unsigned int q = take_uint(in, 1) % DRV_QUEUES, n = 1 + take_uint(in, 1) % 4, i, out = take_uint(in, 1) % 4;
	uint16_t head = take_uint(in, 1) % QSIZE;

	for (i = 0; i < n; i++) {
		uint64_t at = BUFFERS + (uint64_t)(head + i) % QSIZE * 0x800;
		uint32_t len = take_uint(in, 2) & 0x7fff;
		uint8_t data[64];

		if (i < out) {
			take(in, data, len < sizeof(data) ? len : sizeof(data));
			dma_write(vm, at, data, sizeof(data));
		}
		desc(q, (head + i) % QSIZE, at, len,
		     (i + 1 < n ? VRING_DESC_F_NEXT : 0) | (i >= out ? VRING_DESC_F_WRITE : 0),
		     (head + i + 1) % QSIZE);
	}
	kick(q, head);
}

static void packed_chain(struct input *in)
{
	unsigned int q = take_uint(in, 1) % DRV_QUEUES;
	struct vring_packed_desc d;

	take(in, &d, sizeof(d));
	d.addr &= 0x7fffff;
	dma_write(vm, DESC(q) + 16 * (take_uint(in, 1) % QSIZE), &d, sizeof(d));
	notify(q);
}

/* Where BAR 0 of a transitional device is, put there again. */
static uint16_t ports;

static void in_port(uint32_t off)
{
	in(vm, ports + (off & ~3u), 4);
}

static void step(struct input *in)
{
	uint8_t what = take_uint(in, 1), data[32];
	uint32_t off, len = 1u << (what >> 4 & 3);

	switch (what & 15) {
	case 0:
		start(take_uint(in, 8) & offered());
		break;
	case 1:
		off = take_uint(in, 2) & 0x3fff;
		mmio_write(vm, bar + (off & ~(len - 1)), take_uint(in, len), len);
		break;
	case 2:
		off = take_uint(in, 2) & 0x3fff;
		mmio_read(vm, bar + (off & ~(len - 1)), len);
		break;
	case 3:
		off = take_uint(in, 1) & 0xff;
		cfg_set(vm, DEVFN, off & ~3u, take_uint(in, 4), 4);
		cfg_get(vm, DEVFN, take_uint(in, 1) & ~3u, 4);
		/* or the rest of the input talks to nobody */
		drv_enable();
		cfg_set(vm, DEVFN, 0x20, bar, 4);
		cfg_set(vm, DEVFN, 0x24, 0, 4);
		cfg_set(vm, DEVFN, 0x14, msix, 4);
		cfg_set(vm, DEVFN, 0x10, ports, 4);
		break;
	case 4:
		mmio_write(vm, msix + (take_uint(in, 2) & 0xffc), take_uint(in, 4), 4);
		break;
	case 5:
		off = take_uint(in, 3) % AREA_LEN;
		take(in, data, sizeof(data));
		dma_write(vm, AREA + off, data, sizeof(data));
		break;
	case 6:
		notify(take_uint(in, 1) % DRV_QUEUES);
		break;
	case 7:
	case 8:
		packed_chain(in);
		break;
	case 9:
		off = take_uint(in, 1) & 63;
		set_common(off, take_uint(in, len), len);
		break;
	case 10:
		/* the ports of a transitional one; a queue where the rings are */
		off = take_uint(in, 1) & 0x7f;
		if (off == VIRTIO_PCI_QUEUE_PFN && len == 4)
			out(vm, ports + off, DESC(take_uint(in, 1) % DRV_QUEUES) >> 12, 4);
		else
			out(vm, ports + off, take_uint(in, len < 4 ? len : 4), len < 4 ? len : 4);
		in_port(off);
		break;
	default:
		chain(in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned int i = take_uint(&in, 1) % NR_DEVICES;

	vm = machine[i].vm;
	pci = machine[i].pci;
	drv_init(DRV_QUEUES);
	ports = cfg_get(vm, DEVFN, 0x10, 4) & ~3u;
	start(~0ull & offered() & ~(in.left & 1 ? 1ull << VIRTIO_F_RING_PACKED : 0));
	for (i = 0; i < STEPS && in.left; i++)
		step(&in);
	/* Waits for what is in hand: the threads must come back. */
	machine_reset();
	return 0;
}
