// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-rng.c - the entropy device as a driver sees it; then a hostile driver
 *
 * The oracles: the VIRTIO specification ("Entropy Device"), and the sanitizers.
 */
#include "virtio-drv.h"

#define DATA	0x30000u

static bool all_zero(uint64_t gpa, unsigned int len)
{
	const uint8_t *p = ram(gpa);
	unsigned int i;

	for (i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static void test_requests(void)
{
	uint64_t t0;
	unsigned int i;

	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10441af4, "a modern virtio entropy device");
	ok(start(1ull << VIRTIO_RING_F_EVENT_IDX), "features");
	memset(ram(DATA), 0, 8192);
	desc(0, 0, DATA, 64, VRING_DESC_F_WRITE, 0);
	kick(0, 0);
	ok(completed(0), "a request of 64 bytes completes");
	is_u64(used_elem(0, 0).len, 64, "with 64 bytes");
	ok(!all_zero(DATA, 64) && all_zero(DATA + 64, 64), "which are there, and no others");
	desc(0, 1, DATA, 32, VRING_DESC_F_WRITE, 0);
	desc(0, 0, DATA + 64, 32, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	kick(0, 0);
	ok(completed(0), "one in two pieces");
	ok(!all_zero(DATA + 64, 32) && memcmp(ram(DATA), ram(DATA + 64), 32), "differs from the first");
	desc(0, 0, DATA, 1 << 20, VRING_DESC_F_WRITE, 0);
	kick(0, 0);
	ok(completed(0), "a large one");
	is_u64(used_elem(0, 2).len, 4096, "gets a part");

	/* The rate: a megabyte is saved up at most, so another one takes about a second. */
	t0 = clock_ns();
	for (i = 0; i < 512; i++) {
		kick(0, 0);
		if (!completed(0))
			break;
	}
	is_u64(i, 512, "2 MiB arrive");
	ok(clock_ns() - t0 > 800000000u, "at no more than a MiB a second (%u ms)",
	   (unsigned int)((clock_ns() - t0) / 1000000));
}

static void test_broken(void)
{
	quiet(true);
	start(0);
	desc(0, 0, DATA, 64, 0, 0);
	kick(0, 0);
	ok(needs_reset(), "a request with nothing to write to: the device needs a reset");
	start(0);
	desc(0, 0, 0x7000000000ull, 64, VRING_DESC_F_WRITE, 0);
	kick(0, 0);
	ok(needs_reset(), "likewise memory that is none");
	quiet(false);
}

static void test_random(void)
{
	uint64_t seed = tap_seed(0x5eed), i;
	unsigned int n;

	diag("seed %#llx", (unsigned long long)seed);
	quiet(true);
	for (i = 0; i < 10000; i++) {
		uint64_t r = tap_random(&seed);

		if (!(r >> 60)) {
			start((r & 1) << VIRTIO_RING_F_EVENT_IDX |
			      (r >> 1 & 1) << VIRTIO_RING_F_INDIRECT_DESC);
		} else if (r >> 60 < 4) {
			random_access(r, tap_random(&seed));
		} else {
			for (n = 0; n < QSIZE; n++) {
				uint64_t s = tap_random(&seed);

				desc(0, n, s >> 63 ? s : DATA + (s & 0xffff), s >> 60 & 7 ? s >> 50 & 127 : s,
				     s >> 40 & 31 ? VRING_DESC_F_WRITE | (s >> 46 & 1) : s >> 46 & 7,
				     s >> 47 & 15);
			}
			kick(0, r >> 20 & 63 ? r & 15 : r);
		}
	}
	machine_reset();
	quiet(false);
	start(0);
	desc(0, 0, DATA, 16, VRING_DESC_F_WRITE, 0);
	kick(0, 0);
	ok(completed(0), "10000 hostile accesses, a reset, and it works");
}

/* A back end that passes notifications on as an eventfd: where from, and to which. */
static struct {
	uint64_t gpa;
	int fd;
} bell;

static void fake_doorbell(struct vm *v, uint64_t gpa, int fd, bool on)
{
	(void)v;
	bell.gpa = on ? gpa : 0;
	bell.fd = on ? fd : -1;
}

static void test_doorbell(void)
{
	const uint64_t one = 1;
	unsigned int n;

	start(0);
	is_u64(bell.gpa, cap_addr(VIRTIO_PCI_CAP_NOTIFY_CFG), "the queue has a doorbell of the back end's");
	desc(0, 0, DATA, 64, VRING_DESC_F_WRITE, 0);
	for (n = 0; n < 100; n++) {
		offer(0, 0);
		if (write(bell.fd, &one, sizeof(one)) != sizeof(one) || !completed(0))
			break;
	}
	is_u64(n, 100, "which is as good as a notification, again and again");
	kick(0, 0);
	ok(completed(0), "as is one to the device");
	machine_reset();
	ok(start(0), "a reset");
	desc(0, 0, DATA, 64, VRING_DESC_F_WRITE, 0);
	offer(0, 0);
	ok(write(bell.fd, &one, sizeof(one)) == sizeof(one) && completed(0), "changes nothing");
}

/* By its notifications, or with doorbells. */
static void run(const struct accel_ops *accel, void (*test)(void))
{
	void *rng;

	vm = fake_vm(4 << 20);
	vm->config.accel = accel;
	if (pci_host_device.init(vm, &pci) || virtio_rng_device.init(vm, &rng))
		exit(1);
	drv_init(1);
	test();
	virtio_rng_device.exit(vm, rng);
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
}

static void test_all(void)
{
	test_requests();
	test_broken();
	test_random();
}

int main(void)
{
	struct accel_ops accel = fake_accel;

	run(&accel, test_all);
	accel.doorbell = fake_doorbell;
	run(&accel, test_doorbell);
	ok(!bell.gpa, "the doorbell goes with the device");
	return tap_done();
}
