// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-blk.c - the block device as a driver sees it, through PCI, with its worker threads; then a hostile
 * driver
 *
 * The oracles: the VIRTIO specification ("Virtio Over PCI Bus", "Block Device"), the image file itself, and
 * the sanitizers.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <time.h>
#include <sys/syscall.h>
#include <linux/pci_regs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "launcher/virtio/virtio.h"
#include "machine-fake.h"

#define DEVFN	(2 << 3)
#define DESC	0x10000u
#define AVAIL	0x11000u
#define USED	0x12000u
#define HDR	0x20000u
#define STATUS	0x21000u
#define DATA	0x30000u
#define QSIZE	16u
#define IMAGE	(1u << 20)

static struct vm *vm;
static void *pci, *blk;
static char path[] = "/tmp/tenon-vblk-XXXXXX";
static int image_fd;
static uint64_t bar, msix;
static uint16_t avail_idx;

static unsigned int find_cap(uint8_t type)
{
	unsigned int cap = cfg_get(vm, DEVFN, PCI_CAPABILITY_LIST, 1), n;

	for (n = 0; cap && n < 48; n++, cap = cfg_get(vm, DEVFN, cap + 1, 1))
		if (cfg_get(vm, DEVFN, cap, 1) == PCI_CAP_ID_VNDR && cfg_get(vm, DEVFN, cap + 3, 1) == type)
			return cap;
	return 0;
}

static uint64_t cap_addr(uint8_t type)
{
	unsigned int cap = find_cap(type);

	return bar + cfg_get(vm, DEVFN, cap + offsetof(struct virtio_pci_cap, offset), 4);
}

static uint32_t common(unsigned int reg, unsigned int len)
{
	return mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_COMMON_CFG) + reg, len);
}

static void *ram(uint64_t gpa)
{
	return (char *)vm->ram[0].host + gpa;
}

static void set_common(unsigned int reg, uint64_t val, unsigned int len)
{
	mmio_write(vm, cap_addr(VIRTIO_PCI_CAP_COMMON_CFG) + reg, val, len);
}

static uint64_t offered(void)
{
	uint64_t features;

	set_common(VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	features = common(VIRTIO_PCI_COMMON_DF, 4);
	set_common(VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	return features | (uint64_t)common(VIRTIO_PCI_COMMON_DF, 4) << 32;
}

static bool negotiate(uint64_t features)
{
	set_common(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	set_common(VIRTIO_PCI_COMMON_STATUS, 1, 1);
	set_common(VIRTIO_PCI_COMMON_STATUS, 3, 1);
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	set_common(VIRTIO_PCI_COMMON_GF, features, 4);
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	set_common(VIRTIO_PCI_COMMON_GF, features >> 32, 4);
	set_common(VIRTIO_PCI_COMMON_STATUS, 11, 1);
	return common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_FEATURES_OK;
}

/* Reset, negotiate, set up the queue, go. */
static void start(uint64_t features, unsigned int vector)
{
	set_common(VIRTIO_PCI_COMMON_STATUS, 0, 1);	/* no worker looks at the rings from here on */
	memset((char *)vm->ram[0].host + DESC, 0, 0x3000);
	avail_idx = 0;
	negotiate(features | 1ull << VIRTIO_F_VERSION_1);
	set_common(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	set_common(VIRTIO_PCI_COMMON_Q_SIZE, QSIZE, 2);
	set_common(VIRTIO_PCI_COMMON_Q_MSIX, vector, 2);
	set_common(VIRTIO_PCI_COMMON_Q_DESCLO, DESC, 4);
	set_common(VIRTIO_PCI_COMMON_Q_DESCHI, 0, 4);
	set_common(VIRTIO_PCI_COMMON_Q_AVAILLO, AVAIL, 4);
	set_common(VIRTIO_PCI_COMMON_Q_AVAILHI, 0, 4);
	set_common(VIRTIO_PCI_COMMON_Q_USEDLO, USED, 4);
	set_common(VIRTIO_PCI_COMMON_Q_USEDHI, 0, 4);
	set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	set_common(VIRTIO_PCI_COMMON_STATUS, 15, 1);
}

static void desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc d = { addr, len, flags, next };

	dma_write(vm, DESC + 16 * i, &d, sizeof(d));
}

static void kick(uint16_t head)
{
	dma_write(vm, AVAIL + 4 + 2 * (avail_idx % QSIZE), &head, 2);
	avail_idx++;
	__atomic_store_n((uint16_t *)((char *)vm->ram[0].host + AVAIL + 2), avail_idx, __ATOMIC_RELEASE);
	mmio_write(vm, cap_addr(VIRTIO_PCI_CAP_NOTIFY_CFG), 0, 2);
}

static uint16_t used_idx(void)
{
	return __atomic_load_n((uint16_t *)((char *)vm->ram[0].host + USED + 2), __ATOMIC_ACQUIRE);
}

static void pause_ms(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Wait for all requests, five seconds at most. */
static bool completed(void)
{
	unsigned int i;

	for (i = 0; i < 5000 && used_idx() != avail_idx; i++)
		pause_ms();
	return used_idx() == avail_idx;
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t len, bool in)
{
	struct virtio_blk_outhdr hdr = { .type = type, .sector = sector };
	uint8_t status = 0xee;

	dma_write(vm, HDR, &hdr, sizeof(hdr));
	dma_write(vm, STATUS, &status, 1);
	desc(0, HDR, sizeof(hdr), VRING_DESC_F_NEXT, len ? 1 : 2);
	desc(1, DATA, len, VRING_DESC_F_NEXT | (in ? VRING_DESC_F_WRITE : 0), 2);
	desc(2, STATUS, 1, VRING_DESC_F_WRITE, 0);
	kick(0);
	if (!completed())
		return 0xfe;
	dma_read(vm, STATUS, &status, 1);
	return status;
}

static bool set_up(bool readonly, enum block_aio aio)
{
	vm = fake_vm(4 << 20);
	vm->config.disk[0] = (struct vm_disk){ .path = path, .readonly = readonly, .aio = aio };
	vm->config.nr_disks = 1;
	vm->config.cpus = 2;
	if (pci_host_device.init(vm, &pci) || virtio_blk_device.init(vm, &blk))
		return false;
	bar = cfg_get(vm, DEVFN, 0x20, 4) & ~15u;
	msix = cfg_get(vm, DEVFN, 0x14, 4) & ~15u;
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	return true;
}

static void tear_down(void)
{
	virtio_blk_device.exit(vm, blk);
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
}

#define BASIC	(1ull << VIRTIO_BLK_F_FLUSH)

static void test_discovery(void)
{
	uint64_t dev = cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG);
	unsigned int cap;

	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10421af4, "a modern virtio block device");
	is_u64(cfg_get(vm, DEVFN, PCI_REVISION_ID, 1), 1, "revision 1");
	ok(find_cap(1) && find_cap(2) && find_cap(3) && find_cap(4) && find_cap(5), "all five capabilities");
	ok(offered() >> VIRTIO_F_VERSION_1 & 1, "VERSION_1 is offered");
	ok(offered() >> VIRTIO_BLK_F_FLUSH & 1, "FLUSH is offered");
	is_u64(common(VIRTIO_PCI_COMMON_NUMQ, 2), 2, "a queue for each of two CPUs");
	is_u64(common(VIRTIO_PCI_COMMON_Q_SIZE, 2), VQ_MAX_SIZE, "of 256 descriptors");
	is_u64(mmio_read(vm, dev, 8), IMAGE / 512, "capacity");
	is_u64(mmio_read(vm, dev, 4), IMAGE / 512, "capacity, in 32 bits");
	is_u64(mmio_read(vm, dev + 20, 4), 512, "block size");
	is_u64(mmio_read(vm, dev + offsetof(struct virtio_blk_config, num_queues), 2), 2, "two queues");
	is_u64(mmio_read(vm, dev + offsetof(struct virtio_blk_config, physical_block_exp), 1), 3,
	       "topology: physical blocks of 4096 bytes");
	ok(!negotiate(0), "features without VERSION_1 are refused");
	ok(!negotiate(1ull << VIRTIO_F_VERSION_1 | 1ull << 63), "so are features that were not offered");
	ok(negotiate(1ull << VIRTIO_F_VERSION_1), "a modest choice is accepted");

	/* The window in configuration space */
	cap = find_cap(VIRTIO_PCI_CAP_PCI_CFG);
	cfg_set(vm, DEVFN, cap + 4, 4, 1);
	cfg_set(vm, DEVFN, cap + 8, 0x2000, 4);
	cfg_set(vm, DEVFN, cap + 12, 4, 4);
	is_u64(cfg_get(vm, DEVFN, cap + 16, 4), IMAGE / 512, "capacity, by the configuration access window");
	cfg_set(vm, DEVFN, cap + 8, VIRTIO_PCI_COMMON_STATUS, 4);
	cfg_set(vm, DEVFN, cap + 12, 1, 4);
	cfg_set(vm, DEVFN, cap + 16, 0, 1);
	is_u64(common(VIRTIO_PCI_COMMON_STATUS, 1), 0, "a reset by the window");
	cfg_set(vm, DEVFN, cap + 8, 0xffffffff, 4);
	is_u64(cfg_get(vm, DEVFN, cap + 16, 4) & 0, 0, "an offset outside is harmless");
}

static uint8_t range_request(uint32_t type, uint64_t sector, uint32_t nr, uint32_t flags, uint32_t times)
{
	struct virtio_blk_discard_write_zeroes range = { .sector = sector,
							 .num_sectors = nr,
							 .flags = flags };
	uint32_t i;

	for (i = 0; i < times; i++)
		dma_write(vm, DATA + i * sizeof(range), &range, sizeof(range));
	return request(type, 0, times * sizeof(range), false);
}

static void test_ranges(void)
{
	uint64_t features = BASIC | 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	uint64_t dev = cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG);
	uint8_t data[4096], back[4096], zero[4096] = { 0 };

	memset(data, 0x77, sizeof(data));
	is_u64((offered() & features) == features, 1, "DISCARD and WRITE_ZEROES are offered");
	ok(mmio_read(vm, dev + offsetof(struct virtio_blk_config, max_discard_sectors), 4) &&
		   mmio_read(vm, dev + offsetof(struct virtio_blk_config, max_write_zeroes_seg), 4),
	   "with their limits");
	start(features, 0);
	if (pwrite(image_fd, data, 4096, 65536) != 4096)
		abort();
	is_u64(range_request(VIRTIO_BLK_T_WRITE_ZEROES, 129, 1, 0, 1), VIRTIO_BLK_S_OK, "one sector zeroed");
	is_u64(pread(image_fd, back, 4096, 65536), 4096, "the image");
	ok(!memcmp(back, data, 512) && !memcmp(back + 512, zero, 512) && !memcmp(back + 1024, data, 3072),
	   "has it, and no more");
	is_u64(range_request(VIRTIO_BLK_T_WRITE_ZEROES, 128, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, 3),
	       VIRTIO_BLK_S_OK, "zeroed and unmapped, three ranges");
	is_u64(pread(image_fd, back, 4096, 65536), 4096, "the image");
	ok(!memcmp(back, zero, 4096), "is zero there");
	is_u64(range_request(VIRTIO_BLK_T_DISCARD, 0, 64, 0, 32), VIRTIO_BLK_S_OK,
	       "as many ranges as are allowed");
	is_u64(range_request(VIRTIO_BLK_T_DISCARD, 0, 64, 0, 33), VIRTIO_BLK_S_IOERR, "one more");
	is_u64(range_request(VIRTIO_BLK_T_DISCARD, 0, 64, 1, 1), VIRTIO_BLK_S_UNSUPP, "discard with a flag");
	is_u64(range_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, 64, 2, 1), VIRTIO_BLK_S_UNSUPP, "an unknown flag");
	is_u64(range_request(VIRTIO_BLK_T_DISCARD, IMAGE / 512, 1, 0, 1), VIRTIO_BLK_S_IOERR,
	       "behind the end");
	is_u64(range_request(VIRTIO_BLK_T_DISCARD, 1, IMAGE / 512, 0, 1), VIRTIO_BLK_S_IOERR,
	       "across the end");
	is_u64(range_request(VIRTIO_BLK_T_WRITE_ZEROES, ~0ull, ~0u, 0, 1), VIRTIO_BLK_S_IOERR,
	       "numbers that wrap");
	is_u64(request(VIRTIO_BLK_T_DISCARD, 0, 0, false), VIRTIO_BLK_S_IOERR, "no range at all");
	is_u64(request(VIRTIO_BLK_T_DISCARD, 0, 17, false), VIRTIO_BLK_S_IOERR, "a range and a bit");
	start(BASIC, 0);
	is_u64(range_request(VIRTIO_BLK_T_DISCARD, 0, 8, 0, 1), VIRTIO_BLK_S_UNSUPP,
	       "not negotiated, not done");
}

static void test_requests(void)
{
	uint8_t data[4096], back[4096], id[20] = { 0 };
	unsigned int i, count;

	for (i = 0; i < sizeof(data); i++)
		data[i] = i * 31 + (i >> 7);
	start(BASIC, 0);
	dma_write(vm, DATA, data, sizeof(data));
	is_u64(request(VIRTIO_BLK_T_OUT, 8, 4096, false), VIRTIO_BLK_S_OK, "write of 8 sectors");
	is_u64(pread(image_fd, back, 4096, 4096), 4096, "the image");
	ok(!memcmp(data, back, 4096), "has them");
	memset((char *)vm->ram[0].host + DATA, 0, 4096);
	is_u64(request(VIRTIO_BLK_T_IN, 9, 512, true), VIRTIO_BLK_S_OK, "read of one");
	ok(!memcmp((char *)vm->ram[0].host + DATA, data + 512, 512), "the same data");
	is_u64(*(uint32_t *)((char *)vm->ram[0].host + USED + 4 + 8 + 4), 513,
	       "used length is data and status");
	is_u64(request(VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_OK, "flush");
	is_u64(request(VIRTIO_BLK_T_GET_ID, 0, 20, true), VIRTIO_BLK_S_OK, "get id");
	dma_read(vm, DATA, id, 20);
	ok(!strncmp((char *)id, "tenon-disk0", 20), "which is %.20s", (char *)id);
	is_u64(request(77, 0, 0, false), VIRTIO_BLK_S_UNSUPP, "unknown type");
	is_u64(request(VIRTIO_BLK_T_IN, IMAGE / 512, 512, true), VIRTIO_BLK_S_IOERR, "read behind the end");
	is_u64(request(VIRTIO_BLK_T_IN, IMAGE / 512 - 1, 1024, true), VIRTIO_BLK_S_IOERR,
	       "read across the end");
	is_u64(request(VIRTIO_BLK_T_OUT, ~0ull, 512, false), VIRTIO_BLK_S_IOERR, "sector number that wraps");
	is_u64(request(VIRTIO_BLK_T_IN, 0, 100, true), VIRTIO_BLK_S_IOERR, "part of a sector");
	desc(1, 0x7000000000ull, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
	kick(0);
	ok(completed(), "data outside RAM completes");

	/* Interrupts: the pin, then messages. */
	mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_ISR_CFG), 1);
	ok(!fake.line[pci_gsi(2, 0)], "reading the ISR lowers the pin");
	request(VIRTIO_BLK_T_FLUSH, 0, 0, false);
	for (i = 0; i < 1000 && !fake.line[pci_gsi(2, 0)]; i++)
		pause_ms();
	ok(fake.line[pci_gsi(2, 0)], "a completion raises it");
	is_u64(mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_ISR_CFG), 1), 1, "ISR says queue");
	is_u64(mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_ISR_CFG), 1), 0, "and is cleared by that");
	for (i = cfg_get(vm, DEVFN, PCI_CAPABILITY_LIST, 1); cfg_get(vm, DEVFN, i, 1) != PCI_CAP_ID_MSIX; )
		i = cfg_get(vm, DEVFN, i + 1, 1);
	cfg_set(vm, DEVFN, i + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	mmio_write(vm, msix + 16, 0xfee00000, 8);
	mmio_write(vm, msix + 24, 0x55, 4);
	mmio_write(vm, msix + 28, 0, 4);
	start(BASIC, 1);
	count = fake.msi_count;
	request(VIRTIO_BLK_T_FLUSH, 0, 0, false);
	for (i = 0; i < 1000 && fake.msi_count == count; i++)
		pause_ms();
	ok(fake.msi_count == count + 1 && fake.msi_data == 0x55, "with MSI-X it sends its message");
	ok(!fake.line[pci_gsi(2, 0)], "and leaves the pin alone");

	/* No bus master, no DMA: what was queued waits. */
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	kick(0);
	pause_ms();
	ok(used_idx() != avail_idx, "no request is taken without bus mastering");
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	ok(completed(), "it is as soon as that is on");

	start(BASIC | 1ull << VIRTIO_RING_F_EVENT_IDX, 1);
	for (i = 0; i < 200; i++)
		if (request(VIRTIO_BLK_T_IN, i % 100, 512, true) != VIRTIO_BLK_S_OK)
			break;
	is_u64(i, 200, "200 requests with event indices");
	start(1ull << VIRTIO_BLK_F_CONFIG_WCE, 1);
	mmio_write(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + offsetof(struct virtio_blk_config, wce), 0, 1);
	is_u64(mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + offsetof(struct virtio_blk_config, wce),
			 1),
	       0, "the cache can be switched to write-through");
	is_u64(request(VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_OK, "a write then");
}

/* In place of the C library's: how often, and whether it works. */
static atomic_uint syncs;
static atomic_bool sync_fails;

int fdatasync(int fd)
{
	atomic_fetch_add(&syncs, 1);
	if (!atomic_load(&sync_fails))
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}

static unsigned int synced(uint32_t type, uint32_t len)
{
	unsigned int before = atomic_load(&syncs);

	is_u64(request(type, 0, len, false), VIRTIO_BLK_S_OK, "request %u", type);
	return atomic_load(&syncs) - before;
}

static void test_write_through(void)
{
	struct virtio_blk_discard_write_zeroes range = { .num_sectors = 8 };

	start(BASIC, 0);
	is_u64(synced(VIRTIO_BLK_T_OUT, 512), 0, "with FLUSH negotiated a write is not on storage at once");
	is_u64(synced(VIRTIO_BLK_T_FLUSH, 0), 1, "a flush brings it there");
	start(1ull << VIRTIO_BLK_F_WRITE_ZEROES, 0);
	is_u64(synced(VIRTIO_BLK_T_OUT, 512), 1, "without FLUSH a write is on storage before it completes");
	dma_write(vm, DATA, &range, sizeof(range));
	is_u64(synced(VIRTIO_BLK_T_WRITE_ZEROES, sizeof(range)), 1, "so is a write of zeroes");
	start(BASIC | 1ull << VIRTIO_BLK_F_CONFIG_WCE, 0);
	mmio_write(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + offsetof(struct virtio_blk_config, wce), 0, 1);
	is_u64(synced(VIRTIO_BLK_T_OUT, 512), 1, "and a write with the cache switched off");
}

/* Last: the disk does not recover from it. */
static void test_sync_fails(void)
{
	quiet(true);
	start(BASIC, 0);
	atomic_store(&sync_fails, true);
	is_u64(request(VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_IOERR, "a flush that fails says so");
	atomic_store(&sync_fails, false);
	is_u64(request(VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_IOERR, "and so do later ones");
	start(0, 0);
	is_u64(request(VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_IOERR, "also after a reset, and for write-through");
	is_u64(request(VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK, "reads go on");
}

/* Several requests that a thread finds at once, which go through its ring if it has one. */
static void test_together(void)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t len;
		uint8_t status;
	} req[] = {
		{ VIRTIO_BLK_T_OUT, 16, 1024, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_IN, 32, 512, VIRTIO_BLK_S_OK },
		{ VIRTIO_BLK_T_OUT, IMAGE / 512 - 1, 1024, VIRTIO_BLK_S_IOERR },
		{ 77, 0, 512, VIRTIO_BLK_S_UNSUPP },
		{ VIRTIO_BLK_T_IN, 33, 1024, VIRTIO_BLK_S_OK },
	};
	uint8_t *data = ram(DATA), want[1536], back[1024];
	unsigned int round, i, wrong = 0;

	for (i = 0; i < sizeof(want); i++)
		want[i] = i * 7 + (i >> 8);
	is_u64(pwrite(image_fd, want, sizeof(want), 32 * 512), sizeof(want), "the image has something");
	for (round = 0; round < 200 && !wrong; round++) {
		start(BASIC, 0);
		memset(data, round, 0x1000);
		memset(ram(STATUS), 0xee, 8);
		for (i = 0; i < 5; i++) {
			struct virtio_blk_outhdr hdr = { .type = req[i].type, .sector = req[i].sector };
			uint16_t head = 3 * i;

			dma_write(vm, HDR + 16 * i, &hdr, sizeof(hdr));
			desc(head, HDR + 16 * i, 16, VRING_DESC_F_NEXT, head + 1);
			desc(head + 1, DATA + 0x800 * i, req[i].len,
			     VRING_DESC_F_NEXT | (req[i].type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0), head + 2);
			desc(head + 2, STATUS + i, 1, VRING_DESC_F_WRITE, 0);
			dma_write(vm, AVAIL + 4 + 2 * i, &head, 2);
		}
		avail_idx = 4;
		kick(12);
		wrong += !completed();
		for (i = 0; i < 5; i++)
			wrong += *(uint8_t *)ram(STATUS + i) != req[i].status;
		wrong += pread(image_fd, back, 1024, 16 * 512) != 1024 || memcmp(back, data, 1024) || back[0] != (uint8_t)round;
		wrong += memcmp(data + 0x800, want, 512) || memcmp(data + 0x2000, want + 512, 1024);
	}
	is_u64(wrong, 0, "200 times five requests at once: statuses and data");
}

/* In place of the library's: nothing comes in time. */
static atomic_bool late;

int io_uring_wait_cqe_timeout(struct io_uring *uring, struct io_uring_cqe **cqe, struct __kernel_timespec *ts)
{
	(void)ts;
	return atomic_load(&late) ? -ETIME : io_uring_wait_cqe(uring, cqe);
}

/* And how often the thread that notifies starts a transfer. */
static unsigned int started_here, deaf;
static pthread_t notifier;

int io_uring_submit(struct io_uring *uring)
{
	started_here += pthread_equal(pthread_self(), notifier) != 0;
	return io_uring_submit_and_wait(uring, 0);
}

static unsigned int reads_here(unsigned int nr)
{
	unsigned int before = started_here, wrong = 0;

	while (nr--) {
		const unsigned int here = started_here;

		wrong += request(VIRTIO_BLK_T_IN, 0, 4096, true) != VIRTIO_BLK_S_OK;
		if (started_here != here && !atomic_load(&late))
			deaf += *(uint16_t *)ram(USED + 4 + 8 * QSIZE) != avail_idx;
	}
	is_u64(wrong, 0, "reads succeed");
	return started_here - before;
}

static void test_here(void)
{
	unsigned int i, wrong = 0;
	uint8_t buf[4096];

	start(BASIC | 1ull << VIRTIO_RING_F_EVENT_IDX, 0);
	notifier = pthread_self();
	deaf = 0;
	/* No vCPU runs here; that they wait is for the test to say. */
	atomic_store(&vm->halted, vm->config.cpus);
	ok(reads_here(300) > 150, "a machine that only waits is served by the vCPU that notifies");
	ok(deaf <= 10, "and the device asks for the next notification: %u times not at once", deaf);
	is_u64(request(VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_OK, "what may take long is handed over");
	atomic_store(&late, true);
	for (i = 0; i < 200; i++) {
		const uint64_t sector = i % 16 * 8;

		memset(buf, (int)i, sizeof(buf));
		wrong += pwrite(image_fd, buf, sizeof(buf), sector * 512) != sizeof(buf) || fsync(image_fd) ||
			 posix_fadvise(image_fd, 0, 0, POSIX_FADV_DONTNEED);
		wrong += request(VIRTIO_BLK_T_IN, sector, 4096, true) != VIRTIO_BLK_S_OK || memcmp(ram(DATA), buf, 4096);
	}
	is_u64(wrong, 0, "so is what does take long");
	atomic_store(&late, false);
	atomic_store(&vm->halted, 0);
	reads_here(400);
	is_u64(reads_here(100), 0, "not when a vCPU has something else to do");
	atomic_store(&vm->halted, vm->config.cpus);
}

static void test_broken(void)
{
	quiet(true);
	start(BASIC, 1);
	desc(0, HDR, 16, VRING_DESC_F_NEXT, 0);
	kick(0);
	for (int i = 0; i < 1000 && !(common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET); i++)
		pause_ms();
	ok(common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET, "a loop in a chain: the device "
									      "needs a reset");
	start(BASIC, 1);
	is_u64(request(VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK, "and works after it");
	desc(0, HDR, 16, 0, 0);
	kick(0);
	for (int i = 0; i < 1000 && !(common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET); i++)
		pause_ms();
	ok(common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET, "no status: likewise");
	quiet(false);
}

static void test_random(void)
{
	uint64_t seed = tap_seed(0xd15c), i;
	struct timespec t0, t1;

	diag("seed %#llx", (unsigned long long)seed);
	quiet(true);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (i = 0; i < 30000; i++) {
		uint64_t r = tap_random(&seed), val = tap_random(&seed);
		struct virtio_blk_outhdr hdr = { .type = r >> 60 & 1 ? r >> 50 & 15 : r >> 50 & 1,
						 .sector = val & 0x8ff };
		unsigned int n;

		switch (r & 15) {
		case 0:
			start((r >> 8 & 1) << VIRTIO_RING_F_EVENT_IDX |
				      (r >> 9 & 1) << VIRTIO_RING_F_INDIRECT_DESC,
			      r >> 10 & 1);
			break;
		case 1:
			mmio_write(vm, bar + (r >> 8 & 63), val, 1 << (r >> 16 & 3));
			break;
		case 2:
			mmio_write(vm, bar + (r >> 8 & 0x3fff & ~7), val, 1 << (r >> 32 & 3));
			mmio_read(vm, bar + (r >> 8 & 0x3fff & ~7), 1 << (r >> 32 & 3));
			break;
		case 3:
			cfg_set(vm, DEVFN, r >> 8 & 0xff & ~3, val, 4);
			cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
			cfg_set(vm, DEVFN, 0x20, bar, 4);
			cfg_set(vm, DEVFN, 0x24, 0, 4);
			cfg_set(vm, DEVFN, 0x14, msix, 4);
			break;
		case 4:
			mmio_write(vm, msix + (r >> 8 & 0xfff & ~3), val, 4);
			break;
		default:
			dma_write(vm, HDR, &hdr, sizeof(hdr));
			for (n = 0; n < QSIZE; n++) {
				uint64_t s = tap_random(&seed);
				uint16_t flags =
					n % 3 == 0 ? VRING_DESC_F_NEXT :
					n % 3 == 1 ? VRING_DESC_F_NEXT | (hdr.type ? 0 : VRING_DESC_F_WRITE) :
						     VRING_DESC_F_WRITE;
				uint64_t addr = n % 3 == 0 ? HDR : n % 3 == 1 ? DATA + (s & 0xfff0) : STATUS;
				uint32_t len = n % 3 == 0 ? 16 : n % 3 == 1 ? (s >> 32 & 15) * 512 : 1;

				if (!(s >> 40 & 63))
					flags ^= 1 << (s >> 48 & 3);
				if (!(s >> 46 & 63))
					addr = s & 0x3ffffff;
				if (!(s >> 52 & 63))
					len = s >> 30;
				desc(n, addr, len, flags, n + 1);
			}
			kick(r >> 20 & 63 ? (r >> 8) % 5 * 3 : r >> 8);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	pthread_mutex_lock(&vm->lock);
	pci_host_device.reset(vm, pci);
	pthread_mutex_unlock(&vm->lock);
	quiet(false);
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	start(BASIC, 1);
	is_u64(request(VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK,
	       "30000 hostile accesses, a reset, and it works");
	diag("%.1f s", (t1.tv_sec - t0.tv_sec) + (t1.tv_nsec - t0.tv_nsec) / 1e9);
}

int main(void)
{
	image_fd = mkstemp(path);
	if (image_fd < 0 || ftruncate(image_fd, IMAGE) || !set_up(false, BLOCK_AIO_THREADS))
		return 1;
	test_discovery();
	test_requests();
	test_ranges();
	test_write_through();
	test_together();
	test_broken();
	test_random();
	test_sync_fails();
	tear_down();
	quiet(false);

	if (!set_up(false, BLOCK_AIO_DEFAULT))
		return 1;
	test_requests();
	test_here();
	test_together();
	test_random();
	tear_down();

	if (!set_up(false, BLOCK_AIO_URING))
		return 1;
	test_requests();
	test_here();
	test_together();
	test_broken();
	test_random();
	tear_down();

	if (!set_up(true, BLOCK_AIO_THREADS))
		return 1;
	ok(offered() >> VIRTIO_BLK_F_RO & 1, "a read-only disk says so");
	start(BASIC, 0);
	is_u64(request(VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_IOERR, "and refuses writes");
	is_u64(request(VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK, "but not reads");
	is_u64(request(VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_OK, "a flush has nothing to do");
	tear_down();
	unlink(path);
	return tap_done();
}
