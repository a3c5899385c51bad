// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-vhost.c - a card whose queues the kernel's vhost-net serves
 *
 * The kernel is one of this test's, by ioctl() in place of the C library's: what it was told, and when, by the kernel's
 * <linux/vhost.h>. The real one serves guests in tools/testing/selftests/tenon/tap.sh.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>

#include "launcher/net/net.h"
#include "launcher/virtio/vhost-net.h"
#include "virtio-drv.h"

#define FEATURES	(1ull << VIRTIO_NET_F_MRG_RXBUF | 1ull << VIRTIO_RING_F_EVENT_IDX)

/* What the kernel has been told, and how far it has come. */
static struct {
	unsigned int owners;
	uint64_t features;
	struct {
		unsigned int base;
		int kick, call, err, backend;
		uint64_t avail;
	} vring[2];
} k;

static int vhost(unsigned long request, void *arg)
{
	struct vhost_vring_state *state = arg;
	const struct vhost_vring_file *file = arg;
	const struct vhost_vring_addr *addr = arg;

	switch (request) {
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC | FEATURES;
		return 0;
	case VHOST_SET_OWNER:
		k.owners++;
		return 0;
	case VHOST_RESET_OWNER:
		k.owners--;
		return 0;
	case VHOST_SET_FEATURES:
		k.features = *(uint64_t *)arg;
		return 0;
	case VHOST_SET_MEM_TABLE:
	case VHOST_SET_VRING_NUM:
		return 0;
	case VHOST_SET_VRING_BASE:
		k.vring[state->index].base = state->num;
		return 0;
	case VHOST_GET_VRING_BASE:
		state->num = k.vring[state->index].base;
		return 0;
	case VHOST_SET_VRING_ADDR:
		k.vring[addr->index].avail = addr->avail_user_addr;
		return 0;
	case VHOST_SET_VRING_KICK:
		k.vring[file->index].kick = file->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		k.vring[file->index].call = file->fd;
		return 0;
	case VHOST_SET_VRING_ERR:
		k.vring[file->index].err = file->fd;
		return 0;
	case VHOST_NET_SET_BACKEND:
		k.vring[file->index].backend = file->fd;
		return 0;
	}
	errno = ENOTTY;
	return -1;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (_IOC_TYPE(request) == VHOST_VIRTIO)
		return vhost(request, arg);
	if (request == TUNSETOFFLOAD)
		return 0;
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

static void fake_doorbell(struct vm *machine, uint64_t gpa, int fd, bool on)
{
	(void)machine, (void)gpa, (void)fd, (void)on;
}

static bool fake_irqfd(struct vm *machine, int fd, uint64_t addr, uint32_t data, bool on)
{
	(void)machine, (void)fd, (void)addr, (void)data;
	return on;
}

static bool signalled(int fd)
{
	uint64_t count;

	return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) > 0 && read(fd, &count, sizeof(count)) > 0;
}

static bool has_both(int fd)
{
	return k.vring[0].backend == fd && k.vring[1].backend == fd;
}

static void master(bool on)
{
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0), 2);
}

int main(void)
{
	struct accel_ops accel;
	const uint64_t one = 1;
	void *net;
	int pair[2], tap;
	uint8_t isr = 0;

	vm = fake_vm(4 << 20);
	accel = *vm->config.accel;
	accel.doorbell = fake_doorbell;
	accel.irqfd = fake_irqfd;
	vm->config.accel = &accel;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair))
		return 1;
	k.vring[0].backend = k.vring[1].backend = -1;
	tap = pair[0];
	vm->config.net[0] = (struct vm_net){
		.ops = &net_tap, .ifname = "fake", .mtu = 1500, .fd = tap, .vhost_fd = eventfd(0, 0),
	};
	vm->config.nr_nets = 1;
	if (pci_host_device.init(vm, &pci) || virtio_net_device.init(vm, &net))
		return 1;
	drv_init(3);
	ok(!(offered() >> VIRTIO_F_RING_PACKED & 1), "packed rings are not offered, which it does not know");
	is_u64(k.owners, 1, "it works with this process's memory");
	ok(has_both(-1), "and does nothing before the driver is ready");
	ok(start(FEATURES), "the driver is");
	ok(has_both(tap) && k.features == (FEATURES | 1ull << VIRTIO_F_VERSION_1), "it has both queues, as they were negotiated");
	is_u64(k.vring[1].avail, (uintptr_t)ram(AVAIL(1)), "which are where the driver put them");
	notify(1);
	ok(signalled(k.vring[1].kick), "it is told what is in a queue");

	/* It has worked on some. */
	k.vring[0].base = 3;
	k.vring[1].base = 5;
	*(uint16_t *)ram(USED(0) + 2) = 3;
	*(uint16_t *)ram(USED(1) + 2) = 5;
	master(false);
	ok(has_both(-1), "a card that is not master of the bus: it has to leave the queues alone");
	k.vring[0].base = k.vring[1].base = 0;
	master(true);
	ok(has_both(tap), "master again: it has them back");
	ok(k.vring[0].base == 3 && k.vring[1].base == 5, "where it was");
	ok(signalled(k.vring[1].kick), "and looks for what came meanwhile");
	master(true);
	ok(k.vring[1].base == 5 && has_both(tap), "a write that changes nothing changes nothing");
	start(FEATURES);
	ok(k.vring[0].base == 0 && k.vring[1].base == 0 && has_both(tap), "after a reset it starts over");

	quiet(true);
	(void)!write(k.vring[0].err, &one, sizeof(one));
	ok(needs_reset() && has_both(-1), "a ring that it can't read ends the device");
	master(false);
	master(true);
	ok(has_both(-1), "for good");
	quiet(false);
	start(FEATURES);
	ok(has_both(tap) && !(common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET), "until a reset");
	(void)!write(k.vring[1].call, &one, sizeof(one));
	ok(wait_for(isr |= mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_ISR_CFG), 1) & 1), "an interrupt that the kernel can't send, the card's thread does");
	machine_reset();
	ok(has_both(-1), "the machine's reset: nothing is touched");
	virtio_net_device.exit(vm, net);
	is_u64(k.owners, 0, "at the end somebody else can have it");
	pci_host_device.exit(vm, pci);
	close(pair[1]);
	fake_vm_exit(vm);
	return tap_done();
}
