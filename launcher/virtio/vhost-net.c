// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhost-net.c - see vhost-net.h
 *
 * The kernel's <linux/vhost.h>. It reads and writes the guest's memory and the rings by this process's addresses, gets the
 * guest's notifications from the back end (accel_ops.doorbell) and sends interrupts by it (accel_ops.irqfd): while frames
 * flow, no thread of this process runs. So it takes a back end that runs the guest in the kernel; the software CPU wants to
 * know of every write to memory (accel_ops.dma_map), and gets none of this.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "vhost-net.h"

#define BIT(n)		(1ull << (n))

/* What of the negotiated features changes how the two queues are to be read. */
#define QUEUE_FEATURES	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
			 BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_NET_F_MRG_RXBUF))

int vhost_net_open(struct vhost_net *v, int fd)
{
	int err;

	*v = (struct vhost_net){ .kick_fd = { -1, -1 }, .err_fd = -1 };
	v->fd = fd ? fd : open(VHOST_NET_PATH, O_RDWR | O_CLOEXEC);
	if (v->fd < 0)
		return -errno;
	v->kick_fd[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	v->kick_fd[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	v->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* Its thread works with this process's memory, and starts here. */
	if (v->kick_fd[0] >= 0 && v->kick_fd[1] >= 0 && v->err_fd >= 0 && !ioctl(v->fd, VHOST_SET_OWNER) &&
	    !ioctl(v->fd, VHOST_GET_FEATURES, &v->features))
		return 0;
	err = -errno;
	vhost_net_close(v);
	return err;
}

void vhost_net_close(struct vhost_net *v)
{
	const int fds[] = { v->fd, v->kick_fd[0], v->kick_fd[1], v->err_fd };

	if (v->fd >= 0)
		ioctl(v->fd, VHOST_RESET_OWNER);
	for (unsigned int i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

const char *vhost_net_check(int fd)
{
	uint64_t features;

	return ioctl(fd, VHOST_GET_FEATURES, &features) ? "vhostfd is no descriptor of /dev/vhost-net" : NULL;
}

static int set_memory(const struct vhost_net *v, const struct vm *vm)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region[sizeof(vm->ram) / sizeof(vm->ram[0])];
	} mem = { .head.nregions = vm->nr_ram };

	for (unsigned int i = 0; i < vm->nr_ram; i++)
		mem.region[i] = (struct vhost_memory_region){
			.guest_phys_addr = vm->ram[i].gpa,
			.memory_size = vm->ram[i].size,
			.userspace_addr = (uintptr_t)vm->ram[i].host,
		};
	return ioctl(v->fd, VHOST_SET_MEM_TABLE, &mem) ? -errno : 0;
}

/* Where a part of a ring is in this process: in one piece, since vq_start() found it in RAM, unless RAM has a gap there. */
static uint64_t address(struct vm *vm, uint64_t gpa, uint64_t len)
{
	uint64_t part = len;
	void *host = vm->config.accel->dma_map(vm, gpa, &part, true);

	return host && part == len ? (uintptr_t)host : 0;
}

static int set_queue(const struct vhost_net *v, const struct virtio_dev *dev, unsigned int n)
{
	const struct virtqueue *vq = &dev->vq[n];
	const uint64_t size = vq->size;
	struct vhost_vring_state num = { .index = n, .num = vq->size }, base = { .index = n, .num = vq->next_avail };
	struct vhost_vring_file kick = { .index = n, .fd = v->kick_fd[n] }, err = { .index = n, .fd = v->err_fd };
	struct vhost_vring_file call = { .index = n, .fd = virtio_interrupt_fd(dev, n) };
	struct vhost_vring_addr addr = {
		.index = n,
		.desc_user_addr = address(dev->vm, vq->desc, size * sizeof(struct vring_desc)),
		.avail_user_addr = address(dev->vm, vq->avail, (3 + size) * sizeof(uint16_t)),
		.used_user_addr = address(dev->vm, vq->used, 3 * sizeof(uint16_t) + size * sizeof(struct vring_used_elem)),
	};

	if (!addr.desc_user_addr || !addr.avail_user_addr || !addr.used_user_addr)
		return -EFAULT;
	return ioctl(v->fd, VHOST_SET_VRING_NUM, &num) || ioctl(v->fd, VHOST_SET_VRING_BASE, &base) ||
	       ioctl(v->fd, VHOST_SET_VRING_ADDR, &addr) || ioctl(v->fd, VHOST_SET_VRING_KICK, &kick) ||
	       ioctl(v->fd, VHOST_SET_VRING_CALL, &call) || ioctl(v->fd, VHOST_SET_VRING_ERR, &err) ? -errno : 0;
}

int vhost_net_start(struct vhost_net *v, struct virtio_dev *dev, int tap_fd)
{
	uint64_t features = dev->features & QUEUE_FEATURES;
	int err;

	/* An old driver's frames have another header, and it may set up a queue again at any time. */
	if (!virtio_has(dev, VIRTIO_F_VERSION_1) || (features & ~v->features))
		return -ENOTSUP;
	for (unsigned int n = 0; n < VHOST_NET_QUEUES; n++)
		if (!virtio_queue_live(dev, n))
			return -ENOTSUP;
	err = ioctl(v->fd, VHOST_SET_FEATURES, &features) ? -errno : set_memory(v, dev->vm);
	for (unsigned int n = 0; n < VHOST_NET_QUEUES && !err; n++)
		err = set_queue(v, dev, n);
	for (unsigned int n = 0; n < VHOST_NET_QUEUES && !err; n++) {
		struct vhost_vring_file backend = { .index = n, .fd = tap_fd };

		atomic_store(&v->running, true);
		if (ioctl(v->fd, VHOST_NET_SET_BACKEND, &backend))
			err = -errno;
	}
	if (err && atomic_load(&v->running)) {
		/* It may have taken chains of the one queue, of which the card knows nothing. */
		vhost_net_stop(v);
		virtio_needs_reset(dev, "the kernel's vhost-net took one of two queues");
	}
	return err;
}

void vhost_net_stop(struct vhost_net *v)
{
	for (unsigned int n = 0; n < VHOST_NET_QUEUES && atomic_load(&v->running); n++) {
		struct vhost_vring_file none = { .index = n, .fd = -1 };

		ioctl(v->fd, VHOST_NET_SET_BACKEND, &none);
	}
	atomic_store(&v->running, false);
}

void vhost_net_suspend(struct vhost_net *v, struct virtio_dev *dev)
{
	if (!atomic_load(&v->running))
		return;
	vhost_net_stop(v);
	for (unsigned int n = 0; n < VHOST_NET_QUEUES; n++) {
		struct vhost_vring_state base = { .index = n };

		if (ioctl(v->fd, VHOST_GET_VRING_BASE, &base) || !vq_take_back(&dev->vq[n], (uint16_t)base.num))
			virtio_needs_reset(dev, "the kernel's vhost-net does not say what it has done");
	}
}

void vhost_net_kick(struct vhost_net *v, unsigned int queue)
{
	const uint64_t one = 1;

	(void)!write(v->kick_fd[queue], &one, sizeof(one));
}
