// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-balloon.c - the balloon as a driver sees it: what goes back to the host, and what does not; then a hostile
 * driver
 *
 * The oracles: the VIRTIO specification ("Traditional Memory Balloon Device"), how much memory the host says that the
 * guest's RAM takes, and the sanitizers.
 */
#include <sys/mman.h>

#include "virtio-drv.h"

#define MEMORY	(8u << 20)
#define PFNS	0x30000u
#define PAGE	4096u
#define AREA	(4u << 20)	/* from here on there is nothing of the test's own */

static void *balloon;

/* KiB that the host holds for the guest. */
static uint64_t held(void)
{
	unsigned char there[MEMORY / PAGE];
	uint64_t pages = 0;

	if (mincore(vm->ram[0].host, MEMORY, there))
		return 0;
	for (unsigned int i = 0; i < MEMORY / PAGE; i++)
		pages += there[i] & 1;
	return pages * PAGE / 1024;
}

static bool page_is(uint64_t page, uint8_t val)
{
	const uint8_t *p = ram(page * PAGE);

	for (unsigned int i = 0; i < PAGE; i++)
		if (p[i] != val)
			return false;
	return true;
}

/* All memory is there, and reading it changes nothing. Returns how much that is. */
static uint64_t fill(void)
{
	memset(ram(PFNS), 0, PAGE);
	memset(ram(AREA), 0xa5, MEMORY - AREA);
	return held();
}

static uint32_t config(unsigned int off)
{
	return (uint32_t)mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + off, 4);
}

/* Page numbers into the balloon. */
static bool give(const uint32_t *pfn, unsigned int nr)
{
	memcpy(ram(PFNS), pfn, nr * sizeof(*pfn));
	desc(0, 0, PFNS, nr * (uint32_t)sizeof(*pfn), 0, 0);
	kick(0, 0);
	return completed(0);
}

static void test_inflate(void)
{
	const uint32_t first = AREA / PAGE, up[] = { first, first + 1, first + 2 }, down[] = { first + 9, first + 8, first + 7 };
	const uint32_t mixed[] = { first + 20, 0x7fffffff, first + 30, MEMORY / PAGE, first + 22 };
	uint64_t before;

	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10451af4, "a modern virtio balloon");
	is_u64(offered() & 0x3f, 1 << 5 | 1 << 2, "with reporting, and deflation when memory runs out, but no statistics");
	ok(start(1 << 5), "features");
	before = fill();
	ok(give(up, 3), "three pages upwards are taken");
	is_u64(before - held(), 12, "and go back to the host");
	ok(page_is(first, 0) && page_is(first + 2, 0) && page_is(first + 3, 0xa5), "these, and not the next");
	before = fill();
	ok(give(down, 3), "three downwards");
	is_u64(before - held(), 12, "likewise");
	ok(page_is(first + 7, 0) && page_is(first + 9, 0) && page_is(first + 6, 0xa5) && page_is(first + 10, 0xa5),
	   "these, and no neighbours");
	before = fill();
	ok(give(mixed, 5), "some with numbers of no page among them");
	is_u64(before - held(), 12, "those that there are go back");
	ok(page_is(first + 21, 0xa5) && page_is(first + 31, 0xa5), "nothing else");
	ok(!(common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET), "and the device goes on");
	before = fill();
	ok(give(up, 3), "three pages again");
	desc(1, 0, PFNS, 4, 0, 0);
	kick(1, 0);
	ok(completed(1), "deflation");
	*(uint8_t *)ram(AREA) = 1;
	is_u64(before - held(), 8, "a page comes back when it is touched");
}

static void test_report(void)
{
	const uint64_t first = AREA / PAGE;
	uint64_t before;

	start(1 << 5);
	before = fill();
	desc(2, 0, AREA, 16 * PAGE, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	desc(2, 1, AREA + 32 * PAGE, 16 * PAGE, VRING_DESC_F_WRITE, 0);
	kick(2, 0);
	ok(completed(2), "a report of two pieces");
	is_u64(before - held(), 128, "both go back");
	ok(page_is(first + 15, 0) && page_is(first + 16, 0xa5) && page_is(first + 47, 0) && page_is(first + 48, 0xa5),
	   "and nothing between or behind them");
	before = fill();
	desc(2, 0, AREA + 64 * PAGE + 1, 3 * PAGE, VRING_DESC_F_WRITE, 0);
	kick(2, 0);
	ok(completed(2), "one that begins within a page");
	is_u64(before - held(), 8, "the whole pages go back");
	ok(page_is(first + 64, 0xa5) && page_is(first + 65, 0) && page_is(first + 66, 0) && page_is(first + 67, 0xa5),
	   "and the others stay");
	desc(2, 0, MEMORY - PAGE, 2 * PAGE, VRING_DESC_F_WRITE, 0);
	before = fill();
	kick(2, 0);
	ok(completed(2), "one over the end of memory");
	is_u64(before - held(), 4, "gives back what is memory");
	quiet(true);
	desc(2, 0, 0xfffffffffffff000ull, 0x2000, VRING_DESC_F_WRITE, 0);
	kick(2, 0);
	ok(needs_reset(), "one around the end of addresses: the device needs a reset");
	quiet(false);
}

static void test_size(void)
{
	uint64_t bytes = 0;
	uint32_t gen;

	start(1 << 5);
	is_u64(config(0), 0, "at first nothing is wanted");
	ok(balloon_get(vm, &bytes) && bytes == MEMORY, "and the guest has it all");
	gen = common(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	ok(balloon_set(vm, MEMORY - (1 << 20)), "a size is set");
	is_u64(config(0), 256, "the driver finds how many pages to give");
	ok(common(VIRTIO_PCI_COMMON_CFGGENERATION, 1) != gen, "in a configuration that has changed");
	mmio_write(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + 4, 256, 4);
	is_u64(config(4), 256, "what it says that it gave is kept");
	ok(balloon_get(vm, &bytes) && bytes == MEMORY - (1 << 20), "and told");
	mmio_write(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + 4, 0xffffffff, 4);
	ok(balloon_get(vm, &bytes) && bytes == 0, "more than there is counts as all");
	balloon_set(vm, 1ull << 40);
	is_u64(config(0), 0, "more than the machine has is what it has");
	balloon_set(vm, MEMORY / 2);
	machine_reset();
	drv_enable();
	ok(balloon_get(vm, &bytes) && bytes == MEMORY, "after a reset the guest has it all");
	is_u64(config(0), MEMORY / 2 / PAGE, "and is asked again");
}

static void test_random(void)
{
	uint64_t seed = tap_seed(0xba11), i;

	diag("seed %#llx", (unsigned long long)seed);
	quiet(true);
	for (i = 0; i < 10000; i++) {
		uint64_t r = tap_random(&seed);
		unsigned int q = r % 3;

		if (!(r >> 60)) {
			start((r & 1) << 5);
		} else if (r >> 60 < 4) {
			random_access(r, tap_random(&seed));
		} else {
			for (unsigned int n = 0; n < QSIZE; n++) {
				uint64_t s = tap_random(&seed);

				desc(q, n, s >> 60 ? AREA + (s & 0x3fffff) : s, s >> 40 & 0x7fff, s >> 32 & 3, s >> 47 & 15);
			}
			kick(q, r >> 20 & 15);
		}
	}
	machine_reset();
	quiet(false);
	drv_init(3);
	start(1 << 5);
	fill();
	ok(give((uint32_t[]){ AREA / PAGE }, 1) && page_is(AREA / PAGE, 0), "10000 hostile accesses, a reset, and it works");
}

int main(void)
{
	vm = fake_vm(MEMORY);
	vm->config.balloon = true;
	if (pci_host_device.init(vm, &pci) || virtio_balloon_device.init(vm, &balloon))
		return 1;
	drv_init(3);
	test_inflate();
	test_report();
	test_size();
	test_random();
	virtio_balloon_device.exit(vm, balloon);
	ok(!balloon_set(vm, 1), "without a balloon there is no size to set");
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	return tap_done();
}
