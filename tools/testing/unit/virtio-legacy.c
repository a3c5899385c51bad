// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-legacy.c - a disk and a network card by the interface that drivers before virtio 1.0 know
 *
 * Oracle: Virtual I/O Device (VIRTIO) Version 1.2, "Legacy Interfaces: A Note on PCI Device Layout" and the other notes
 * of that kind.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "launcher/virtio/virtio.h"
#include "machine-fake.h"
#include "net-fake.h"

#define BLK		(2 << 3)
#define NET		(3 << 3)
#define QSIZE		256u
#define RING(q)		(0x10000u + (q) * 0x4000u)
#define AVAIL(q)	(RING(q) + 16 * QSIZE)
#define USED(q)		(RING(q) + 0x2000u)	/* the next page: 4096 + 2 * (3 + 256) */
#define DATA		0x40000u

_Static_assert(16 * QSIZE + 2 * (3 + QSIZE) <= 0x2000 && 16 * QSIZE + 2 * (3 + QSIZE) > 0x1000, "the used ring's page");

static struct vm *vm;
static uint16_t io;		/* of the device in hand */
static uint16_t avail_idx[3];

static void *ram(uint64_t gpa)
{
	return (char *)vm->ram[0].host + gpa;
}

static void pause_ms(void)
{
	usleep(1000);
}

static uint16_t used_idx(unsigned int q)
{
	return __atomic_load_n((uint16_t *)ram(USED(q) + 2), __ATOMIC_ACQUIRE);
}

static bool completed(unsigned int q)
{
	for (unsigned int i = 0; i < 3000 && used_idx(q) != avail_idx[q]; i++)
		pause_ms();
	return used_idx(q) == avail_idx[q];
}

static void set_queue(unsigned int q)
{
	memset(ram(RING(q)), 0, 0x4000);
	avail_idx[q] = 0;
	out(vm, io + VIRTIO_PCI_QUEUE_SEL, q, 2);
	out(vm, io + VIRTIO_PCI_QUEUE_PFN, RING(q) >> 12, 4);
}

static void desc(unsigned int q, unsigned int i, uint64_t addr, uint32_t len, uint16_t flags)
{
	const struct vring_desc d = { addr, len, flags, (uint16_t)(i + 1) };

	memcpy(ram(RING(q) + 16 * i), &d, sizeof(d));
}

static void kick(unsigned int q)
{
	*(uint16_t *)ram(AVAIL(q) + 4 + 2 * (avail_idx[q] % QSIZE)) = 0;
	avail_idx[q]++;
	__atomic_store_n((uint16_t *)ram(AVAIL(q) + 2), avail_idx[q], __ATOMIC_RELEASE);
	out(vm, io + VIRTIO_PCI_QUEUE_NOTIFY, q, 2);
}

static void set_status(uint8_t val)
{
	out(vm, io + VIRTIO_PCI_STATUS, val, 1);
}

/* Read a sector; the status byte. */
static uint8_t read_sector(uint64_t sector)
{
	const struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN, .sector = sector };

	memcpy(ram(DATA), &hdr, sizeof(hdr));
	memset(ram(DATA + 0x1000), 0xee, 513);
	desc(0, 0, DATA, sizeof(hdr), VRING_DESC_F_NEXT);
	desc(0, 1, DATA + 0x1000, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
	desc(0, 2, DATA + 0x1200, 1, VRING_DESC_F_WRITE);
	kick(0);
	return completed(0) ? *(uint8_t *)ram(DATA + 0x1200) : 0xdd;
}

/* What the driver chose before stays when it gives a queue back. */
static void test_writethrough(void)
{
	const uint16_t wce = io + VIRTIO_PCI_CONFIG_OFF(false) + offsetof(struct virtio_blk_config, wce);

	set_status(3);
	out(vm, io + VIRTIO_PCI_GUEST_FEATURES, 1u << VIRTIO_BLK_F_CONFIG_WCE, 4);
	out(vm, wce, 0, 1);
	set_queue(0);
	out(vm, io + VIRTIO_PCI_QUEUE_PFN, 0, 4);
	is_u64(in(vm, wce, 1), 0, "a write-through disk stays one when a queue is given back");
	set_status(0);
	is_u64(in(vm, wce, 1), 1, "until it is reset");
}

static void test_disk(void)
{
	uint32_t features;
	uint64_t modern = cfg_get(vm, BLK, 0x20, 4) & ~15u;

	is_u64(cfg_get(vm, BLK, 0, 4), 0x10011af4, "the id of a transitional disk");
	is_u64(cfg_get(vm, BLK, PCI_REVISION_ID, 1), 0, "revision 0");
	is_u64(cfg_get(vm, BLK, PCI_SUBSYSTEM_ID, 2), 2, "the type as subsystem id");
	ok(cfg_get(vm, BLK, 0x10, 4) & PCI_BASE_ADDRESS_SPACE_IO, "ports in BAR 0");
	io = (uint16_t)(cfg_get(vm, BLK, 0x10, 4) & ~3u);
	/* Old drivers leave bus mastering as it is. */
	cfg_set(vm, BLK, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
	features = in(vm, io + VIRTIO_PCI_HOST_FEATURES, 4);
	ok(features & 1u << VIRTIO_BLK_F_FLUSH && features & 1u << VIRTIO_RING_F_INDIRECT_DESC, "features");
	is_u64(in(vm, io + VIRTIO_PCI_STATUS, 1), 0, "no driver yet");
	is_u64(in(vm, io + VIRTIO_PCI_CONFIG_OFF(false), 4), 8, "the capacity, behind the registers");
	set_status(1);
	set_status(3);
	out(vm, io + VIRTIO_PCI_GUEST_FEATURES, ~0u, 4);
	is_u64(in(vm, io + VIRTIO_PCI_GUEST_FEATURES, 4), features, "no features but those offered");
	out(vm, io + VIRTIO_PCI_GUEST_FEATURES, 0, 4);
	out(vm, io + VIRTIO_PCI_QUEUE_SEL, 7, 2);
	is_u64(in(vm, io + VIRTIO_PCI_QUEUE_NUM, 2), 0, "a queue that there is not");
	out(vm, io + VIRTIO_PCI_QUEUE_SEL, 0, 2);
	is_u64(in(vm, io + VIRTIO_PCI_QUEUE_NUM, 2), QSIZE, "the size of one that there is");
	is_u64(in(vm, io + VIRTIO_PCI_QUEUE_PFN, 4), 0, "not in use");
	set_queue(0);
	is_u64(in(vm, io + VIRTIO_PCI_QUEUE_PFN, 4), RING(0) >> 12, "in use");
	is_u64(read_sector(1), VIRTIO_BLK_S_OK, "a sector is read before the driver is ready");
	is_u64(((uint8_t *)ram(DATA + 0x1000))[0], 0x11, "the right one");
	set_status(7);
	ok(fake.line[pci_gsi(2, 0)], "interrupted");
	is_u64(in(vm, io + VIRTIO_PCI_ISR, 1), 1, "for a queue");
	ok(!fake.line[pci_gsi(2, 0)] && in(vm, io + VIRTIO_PCI_ISR, 1) == 0, "which is taken by reading");
	is_u64(read_sector(100), VIRTIO_BLK_S_IOERR, "a sector beyond the end");
	is_u64(mmio_read(vm, modern + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1, "the other interface shows the same device");
	mmio_write(vm, modern + VIRTIO_PCI_COMMON_STATUS, 15, 1);
	is_u64(in(vm, io + VIRTIO_PCI_STATUS, 1), 7, "and can't be used beside it");
	out(vm, io + VIRTIO_PCI_QUEUE_PFN, 0, 4);
	is_u64(in(vm, io + VIRTIO_PCI_QUEUE_PFN, 4), 0, "address 0 takes the queue back");
	set_queue(0);
	is_u64(read_sector(2), VIRTIO_BLK_S_OK, "and it can be used again");
	set_status(0);
	is_u64(in(vm, io + VIRTIO_PCI_QUEUE_PFN, 4), 0, "as does a reset");
	out(vm, io + VIRTIO_PCI_QUEUE_PFN, 0xfffffff0, 4);
	ok(read_sector(0) == 0xdd, "a queue outside RAM is none");
	set_status(0);

	/* A driver of version 1 sets it up: nothing that comes by ports disturbs it. */
	mmio_write(vm, modern + VIRTIO_PCI_COMMON_STATUS, 3, 1);
	mmio_write(vm, modern + VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	mmio_write(vm, modern + VIRTIO_PCI_COMMON_GF, 1, 4);
	mmio_write(vm, modern + VIRTIO_PCI_COMMON_STATUS, 11, 1);
	is_u64(mmio_read(vm, modern + VIRTIO_PCI_COMMON_STATUS, 1), 11, "it is a device of version 1 as well");
	out(vm, io + VIRTIO_PCI_GUEST_FEATURES, 1, 4);
	mmio_write(vm, modern + VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	is_u64(mmio_read(vm, modern + VIRTIO_PCI_COMMON_GF, 4), 0, "whose features are not to be had by ports");
	set_status(0);
	/* One that turns to ports half-way has nothing of what it accepted that ports do not offer. */
	mmio_write(vm, modern + VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	mmio_write(vm, modern + VIRTIO_PCI_COMMON_GF, 1 | 1 << (VIRTIO_F_RING_PACKED - 32), 4);
	set_status(3);
	is_u64(mmio_read(vm, modern + VIRTIO_PCI_COMMON_GF, 4), 0, "no packed rings by ports");
	set_status(0);
}

/* With this header, a frame goes out and comes back. */
static bool frame_round(uint32_t features, uint32_t head)
{
	const uint8_t frame[60] = { 2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 0x88, 0xb5, 'h', 'i' };

	set_status(0);
	set_status(3);
	out(vm, io + VIRTIO_PCI_GUEST_FEATURES, features, 4);
	set_queue(0);
	set_queue(1);
	set_status(7);
	desc(0, 0, DATA + 0x4000, 2048, VRING_DESC_F_WRITE);
	kick(0);
	memset(ram(DATA + 0x2000), 0, head);
	memcpy(ram(DATA + 0x2000 + head), frame, sizeof(frame));
	desc(1, 0, DATA + 0x2000, head + sizeof(frame), 0);
	wire_got.len = 0;
	kick(1);
	if (!completed(1) || !completed(0))
		return false;
	return wire_got.len == sizeof(frame) && !memcmp(wire_got.frame, frame, sizeof(frame)) &&
	       ((struct vring_used_elem *)ram(USED(0) + 4))->len == head + sizeof(frame) &&
	       !memcmp(ram(DATA + 0x4000 + head), frame, sizeof(frame));
}

static void test_card(void)
{
	is_u64(cfg_get(vm, NET, 0, 4), 0x10001af4, "the id of a transitional card");
	is_u64(cfg_get(vm, NET, PCI_SUBSYSTEM_ID, 2), 1, "the type as subsystem id");
	io = (uint16_t)(cfg_get(vm, NET, 0x10, 4) & ~3u);
	is_u64(in(vm, io + VIRTIO_PCI_CONFIG_OFF(false), 1), 2, "its address");
	ok(frame_round(0, 10), "without mergeable buffers the header has 10 bytes");
	ok(frame_round(1u << VIRTIO_NET_F_MRG_RXBUF, 12), "with them 12");
	set_status(0);
}

int main(void)
{
	char path[] = "/tmp/tenon-legacy-XXXXXX";
	void *pci, *blk, *net;
	uint8_t image[4096];
	int fd = mkstemp(path);

	memset(image, 0x11, sizeof(image));
	if (fd < 0 || write(fd, image, sizeof(image)) != sizeof(image))
		return 1;
	close(fd);
	vm = fake_vm(4 << 20);
	vm->config.disk[0] = (struct vm_disk){ .path = path, .transitional = true, .cache = BLOCK_UNSAFE };
	vm->config.net[0] = (struct vm_net){ .ops = &wire, .transitional = true };
	vm->config.nr_disks = vm->config.nr_nets = 1;
	if (pci_host_device.init(vm, &pci) || virtio_blk_device.init(vm, &blk) || virtio_net_device.init(vm, &net))
		return 1;
	quiet(true);
	test_disk();
	test_writethrough();
	test_card();
	quiet(false);
	virtio_net_device.exit(vm, net);
	virtio_blk_device.exit(vm, blk);
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	unlink(path);
	return tap_done();
}
