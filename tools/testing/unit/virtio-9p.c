// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-9p.c - the transport of 9P2000.L as a driver sees it; then a hostile driver
 *
 * The oracles: the VIRTIO specification, what Linux's trans_virtio expects, and the sanitizers.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <linux/virtio_9p.h>

#include "virtio-drv.h"

#define REQ	0x30000u
#define REPLY	0x40000u
#define ROOM	8192u

static char dir[] = "/tmp/tenon-v9p-XXXXXX";

static unsigned int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static uint32_t le(uint64_t gpa, unsigned int len)
{
	uint32_t val = 0;

	memcpy(&val, ram(gpa), len);
	return val;
}

/* A message in slot @slot of the rings: two descriptors, and memory of its own. */
static uint32_t put(unsigned int slot, uint8_t type, uint16_t tag, const void *body, uint32_t len, uint32_t room)
{
	uint64_t req = REQ + slot * 0x1000, reply = REPLY + slot * ROOM;
	uint8_t *p = ram(req);
	uint32_t size = len + 7;

	memcpy(p, &size, 4);
	p[4] = type;
	memcpy(p + 5, &tag, 2);
	memcpy(p + 7, body, len);
	memset(ram(reply), 0, 64);
	desc(0, slot * 2, req, size, VRING_DESC_F_NEXT, slot * 2 + 1);
	desc(0, slot * 2 + 1, reply, room, VRING_DESC_F_WRITE, 0);
	return size;
}

static uint8_t call(uint8_t type, const void *body, uint32_t len)
{
	put(0, type, 9, body, len, ROOM);
	kick(0, 0);
	return completed(0) ? le(REPLY + 4, 1) : 0;
}

static const uint8_t version[] = "\x00\x20\x00\x00\x08\x00" "9P2000.L";
static const uint8_t attach[] = "\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00";
static const uint8_t walk[] = "\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x04\x00" "file";
static const uint8_t getattr[] = "\x01\x00\x00\x00\xff\x07\x00\x00\x00\x00\x00\x00";

static bool session(void)
{
	return call(100, version, 14) == 101 && call(104, attach, 16) == 105;
}

static void test_messages(void)
{
	uint64_t cfg = cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG);
	unsigned int before;
	uint16_t old = 9;

	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10491af4, "a modern virtio 9P transport");
	ok(offered() >> VIRTIO_9P_MOUNT_TAG & 1, "it has a tag");
	is_u64(mmio_read(vm, cfg, 2), 4, "of four letters");
	is_u64(mmio_read(vm, cfg + 2, 4), 0x74736574, "\"test\"");
	ok(start(1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_9P_MOUNT_TAG), "features");
	before = open_fds();
	ok(session(), "version and attach");
	is_u64(used_elem(0, 0).len, 21, "the first reply's length is in the used ring");
	is_u64(used_elem(0, 1).len, 20, "and the second's");
	is_u64(call(110, walk, 16), 111, "walk");
	is_u64(call(24, getattr, 12), 25, "getattr");
	is_u64(le(REPLY, 4), 160, "a reply of 160 bytes");
	is_u64(le(REPLY + 5, 2), 9, "with the tag of the request");

	/* A message and a flush of it in one go: the flush comes back second. */
	put(0, 24, 9, getattr, 12, ROOM);
	put(1, 108, 10, &old, 2, ROOM);
	offer(0, 0);
	kick(0, 2);
	ok(completed(0), "a flush is answered");
	is_u64(used_elem(0, used_idx(0) - 1).id, 2, "after the message that it is about");
	is_u64(le(REPLY + ROOM + 4, 1), 109, "as such");

	put(0, 24, 9, getattr, 12, 20);
	kick(0, 0);
	ok(completed(0), "a reply for which there is too little room");
	is_u64(le(REPLY + 4, 1), 7, "becomes an error");
	is_u64(le(REPLY + 7, 4), EMSGSIZE, "that says so");
	ok(open_fds() > before, "the guest holds a file");
	machine_reset();
	ok(open_fds() <= before, "a reset takes it away");
}

static void test_broken(void)
{
	quiet(true);
	start(0);
	session();
	put(0, 24, 9, getattr, 12, 8);
	kick(0, 0);
	ok(needs_reset(), "no room for an error: the device needs a reset");
	start(0);
	ok(session(), "and works after it");
	desc(0, 0, REQ, 6, VRING_DESC_F_NEXT, 1);
	kick(0, 0);
	ok(needs_reset(), "half a header: likewise");
	start(0);
	put(0, 24, 9, getattr, 12, ROOM);
	desc(0, 1, 0x7000000000ull, ROOM, VRING_DESC_F_WRITE, 0);
	kick(0, 0);
	ok(needs_reset(), "a reply to memory that is none: likewise");
	quiet(false);
}

static void test_random(void)
{
	static const uint8_t types[] = { 8, 12, 14, 16, 18, 20, 22, 24, 26, 40, 50, 72, 74, 76, 100, 104, 108,
					 110, 116, 118, 120, 122 };
	uint64_t seed = tap_seed(0x9f), i;
	unsigned int n;

	diag("seed %#llx", (unsigned long long)seed);
	quiet(true);
	for (i = 0; i < 10000; i++) {
		uint64_t r = tap_random(&seed);
		uint8_t body[64];

		if (!(r >> 60)) {
			start((r & 1) << VIRTIO_RING_F_EVENT_IDX |
			      (r >> 1 & 1) << VIRTIO_RING_F_INDIRECT_DESC);
			session();
		} else if (r >> 60 == 1) {
			random_access(r, tap_random(&seed));
		} else {
			for (n = 0; n < sizeof(body); n++)
				body[n] = (tap_random(&seed) & 3) ? 0 : tap_random(&seed);
			n = r >> 8 & 7;
			put(n, types[(r >> 16) % sizeof(types)], r >> 24 & 3, body, r >> 32 & 63,
			    r >> 38 & 3 ? ROOM : r >> 40 & 31);
			if (!(r >> 46 & 15))
				desc(0, n * 2, tap_random(&seed) & 0x7fffff, r >> 20 & 0xffff, r >> 50 & 7,
				     r >> 55 & 15);
			kick(0, n * 2);
		}
	}
	machine_reset();
	quiet(false);
	start(0);
	ok(session(), "10000 hostile accesses, a reset, and it works");
}

int main(void)
{
	char cmd[96];
	FILE *f;
	void *v9p;

	if (!mkdtemp(dir) || chdir(dir))
		return 1;
	f = fopen("file", "w");
	fclose(f);
	vm = fake_vm(4 << 20);
	vm->config.share[0] = (struct vm_share){ .path = dir, .tag = "test" };
	vm->config.nr_shares = 1;
	if (pci_host_device.init(vm, &pci) || virtio_9p_device.init(vm, &v9p))
		return 1;
	drv_init(1);
	test_messages();
	test_broken();
	test_random();
	virtio_9p_device.exit(vm, v9p);
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	snprintf(cmd, sizeof(cmd), "chmod -R u+rwx %s; rm -rf %s", dir, dir);
	if (system(cmd)) { }
	return tap_done();
}
