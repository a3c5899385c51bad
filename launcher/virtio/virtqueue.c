// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtqueue.c - virtqueues: access to guest memory, and what both layouts of the rings share
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Virtqueues". Everything in the rings is the guest's and may
 * change at any moment: each field is read once, into a copy that is checked and then used. Every access goes
 * through the back end's DMA interface.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <linux/virtio_ring.h>

#include "virtqueue.h"

/* Guest memory */

static bool dma_copy(struct vm *vm, uint64_t gpa, void *buf, uint64_t len, bool write)
{
	const struct accel_ops *accel = vm->config.accel;

	while (len) {
		uint64_t part = len;
		void *host = accel->dma_map(vm, gpa, &part, write);

		if (!host || !part)
			return false;
		if (write)
			memcpy(host, buf, part);
		else
			memcpy(buf, host, part);
		accel->dma_unmap(vm, gpa, part, write);
		gpa += part;
		buf = (char *)buf + part;
		len -= part;
	}
	return true;
}

bool dma_read(struct vm *vm, uint64_t gpa, void *buf, uint64_t len)
{
	return dma_copy(vm, gpa, buf, len, false);
}

bool dma_write(struct vm *vm, uint64_t gpa, const void *buf, uint64_t len)
{
	return dma_copy(vm, gpa, (void *)buf, len, true);
}

/* Indices and flags are read and written whole and in order with what stands around them. */
bool vq_load16(struct virtqueue *vq, uint64_t gpa, uint16_t *val)
{
	uint64_t len = sizeof(*val);
	uint16_t *host = vq->vm->config.accel->dma_map(vq->vm, gpa, &len, false);

	if (!host || len < sizeof(*val))
		return false;
	*val = le16toh(__atomic_load_n(host, __ATOMIC_ACQUIRE));
	vq->vm->config.accel->dma_unmap(vq->vm, gpa, len, false);
	return true;
}

bool vq_store16(struct virtqueue *vq, uint64_t gpa, uint16_t val)
{
	uint64_t len = sizeof(val);
	uint16_t *host = vq->vm->config.accel->dma_map(vq->vm, gpa, &len, true);

	if (!host || len < sizeof(val))
		return false;
	__atomic_store_n(host, htole16(val), __ATOMIC_RELEASE);
	vq->vm->config.accel->dma_unmap(vq->vm, gpa, len, true);
	return true;
}

bool vq_is_ram(struct vm *vm, uint64_t gpa, uint64_t len, bool write)
{
	while (len) {
		uint64_t part = len;

		if (!vm->config.accel->dma_map(vm, gpa, &part, write) || !part)
			return false;
		vm->config.accel->dma_unmap(vm, gpa, part, write);
		gpa += part;
		len -= part;
	}
	return true;
}

int vq_broken(struct virtqueue *vq, const char *why)
{
	vq->broken = why;
	return -EPROTO;
}

/* Chains */

int vq_add_seg(struct virtqueue *vq, struct vq_elem *elem, uint64_t addr, uint32_t len, uint16_t flags)
{
	unsigned int n = elem->nr_out + elem->nr_in;
	bool in = flags & VRING_DESC_F_WRITE;

	if (n >= VQ_MAX_SEGS)
		return vq_broken(vq, "descriptor chain is too long");
	if (!in && elem->nr_in)
		return vq_broken(vq, "readable descriptor after a writable one");
	if (len > UINT32_MAX - elem->out_len || len > UINT32_MAX - elem->in_len)
		return vq_broken(vq, "descriptor chain is longer than 4 GiB");
	if (addr + len < len)
		return vq_broken(vq, "descriptor wraps round the address space");
	elem->seg[n] = (struct vq_seg){ addr, len };
	if (in) {
		elem->nr_in++;
		elem->in_len += len;
	} else {
		elem->nr_out++;
		elem->out_len += len;
	}
	return 0;
}

int vq_read_indirect(struct virtqueue *vq, uint64_t addr, uint32_t len, uint16_t flags, void *table)
{
	unsigned int n = len / sizeof(struct vring_desc);

	if (!vq->indirect)
		return vq_broken(vq, "indirect descriptor without the feature");
	if (flags & VRING_DESC_F_NEXT)
		return vq_broken(vq, "indirect descriptor with a successor");
	if (!n || n > VQ_MAX_SEGS || len % sizeof(struct vring_desc))
		return vq_broken(vq, "indirect table has a bad length");
	if (!dma_read(vq->vm, addr, table, len))
		return vq_broken(vq, "indirect table is not in RAM");
	return (int)n;
}

bool vq_copy(struct vm *vm, const struct vq_elem *elem, bool in, uint64_t off, void *buf, uint64_t len)
{
	unsigned int i = in ? elem->nr_out : 0, end = in ? elem->nr_out + elem->nr_in : elem->nr_out;

	for (; i < end && len; i++) {
		uint64_t part = elem->seg[i].len;

		if (off >= part) {
			off -= part;
			continue;
		}
		part -= off;
		if (part > len)
			part = len;
		if (!dma_copy(vm, elem->seg[i].gpa + off, buf, part, in))
			return false;
		buf = (char *)buf + part;
		len -= part;
		off = 0;
	}
	return !len;
}

/* Either layout */

int vq_start(struct virtqueue *vq)
{
	vq->ring = vq->packed ? &vq_packed : &vq_split;
	vq->next_avail = 0;
	vq->next_used = 0;
	vq->signalled = 0;
	vq->broken = NULL;
	if (!vq->size || vq->size > VQ_MAX_SIZE)
		vq->broken = "queue size is not 1 to 256";
	else
		vq->broken = vq->ring->check(vq);
	return vq->broken ? -EINVAL : 0;
}

int vq_pop(struct virtqueue *vq, struct vq_elem *elem)
{
	int n = vq->broken ? -EPROTO : vq->ring->available(vq);

	if (n <= 0)
		return n;
	elem->nr_out = 0;
	elem->nr_in = 0;
	elem->out_len = 0;
	elem->in_len = 0;
	return vq->ring->pop(vq, elem);
}

bool vq_pending(struct virtqueue *vq)
{
	return vq->broken || vq->ring->available(vq);
}

void vq_rewind(struct virtqueue *vq, uint16_t mark)
{
	vq->next_avail = mark;
}

int vq_push_all(struct virtqueue *vq, const struct vq_used *used, unsigned int nr)
{
	if (vq->broken)
		return -EPROTO;
	return nr ? vq->ring->push(vq, used, nr) : 0;
}

int vq_push(struct virtqueue *vq, const struct vq_elem *elem, uint32_t written)
{
	return vq_push_all(vq, &(struct vq_used){ elem->head, elem->descs, written }, 1);
}

bool vq_wants_interrupt(struct virtqueue *vq)
{
	uint16_t old = vq->signalled;

	/* What was pushed is visible before the driver's wish is read; pairs with the driver's own barrier. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vq->signalled = vq->next_used;
	return vq->ring->wants_interrupt(vq, old);
}

bool vq_rearm(struct virtqueue *vq)
{
	if (vq->event_idx && !vq->broken)
		vq->ring->rearm(vq);
	/* The wish is visible before the ring is looked at once more. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vq_pending(vq);
}

bool vq_rearm_beyond(struct virtqueue *vq)
{
	return !vq->broken && vq->event_idx && vq->ring->rearm_beyond(vq);
}
