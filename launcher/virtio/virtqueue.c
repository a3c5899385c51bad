// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtqueue.c - split virtqueues
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Split Virtqueues". Everything in the rings is the guest's and may
 * change at any moment: each field is read once, into a copy that is checked and then used. Every access goes
 * through the back end's DMA interface.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <linux/virtio_ring.h>

#include "virtio.h"

_Static_assert(sizeof(struct vring_desc) == 16 && sizeof(struct vring_used_elem) == 8, "ring layout");

#define AVAIL_IDX	2
#define AVAIL_RING	4
#define USED_IDX	2
#define USED_RING	4

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
static bool load16(struct virtqueue *vq, uint64_t gpa, uint16_t *val)
{
	uint64_t len = sizeof(*val);
	uint16_t *host = vq->vm->config.accel->dma_map(vq->vm, gpa, &len, false);

	if (!host || len < sizeof(*val))
		return false;
	*val = le16toh(__atomic_load_n(host, __ATOMIC_ACQUIRE));
	vq->vm->config.accel->dma_unmap(vq->vm, gpa, len, false);
	return true;
}

static bool store16(struct virtqueue *vq, uint64_t gpa, uint16_t val)
{
	uint64_t len = sizeof(val);
	uint16_t *host = vq->vm->config.accel->dma_map(vq->vm, gpa, &len, true);

	if (!host || len < sizeof(val))
		return false;
	__atomic_store_n(host, htole16(val), __ATOMIC_RELEASE);
	vq->vm->config.accel->dma_unmap(vq->vm, gpa, len, true);
	return true;
}

static int broken(struct virtqueue *vq, const char *why)
{
	vq->broken = why;
	return -EPROTO;
}

static uint64_t avail_event_addr(const struct virtqueue *vq)
{
	return vq->used + USED_RING + sizeof(struct vring_used_elem) * vq->size;
}

static uint64_t used_event_addr(const struct virtqueue *vq)
{
	return vq->avail + AVAIL_RING + sizeof(uint16_t) * vq->size;
}

static bool is_ram(struct vm *vm, uint64_t gpa, uint64_t len, bool write)
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

int vq_start(struct virtqueue *vq)
{
	uint64_t n = vq->size;

	vq->last_avail = 0;
	vq->used_idx = 0;
	vq->signalled = 0;
	vq->broken = NULL;
	if (!n || n > VQ_MAX_SIZE || (n & (n - 1)))
		vq->broken = "queue size is not a power of two up to 256";
	else if (vq->desc & 15 || vq->avail & 1 || vq->used & 3)
		vq->broken = "ring address is not aligned";
	else if (!is_ram(vq->vm, vq->desc, 16 * n, false) || !is_ram(vq->vm, vq->avail, 6 + 2 * n, false) ||
		 !is_ram(vq->vm, vq->used, 6 + 8 * n, true))
		vq->broken = "ring is not in RAM";
	return vq->broken ? -EINVAL : 0;
}

static int avail_count(struct virtqueue *vq)
{
	uint16_t idx, n;

	if (vq->broken)
		return -EPROTO;
	if (!load16(vq, vq->avail + AVAIL_IDX, &idx))
		return broken(vq, "available ring is not in RAM");
	n = idx - vq->last_avail;
	if (n > vq->size)
		return broken(vq, "available index runs ahead of the ring");
	return n;
}

bool vq_pending(struct virtqueue *vq)
{
	return avail_count(vq) != 0;
}

/* Append one descriptor of the chain. */
static int add_seg(struct virtqueue *vq, struct vq_elem *elem, const struct vring_desc *desc)
{
	unsigned int n = elem->nr_out + elem->nr_in;
	bool in = le16toh(desc->flags) & VRING_DESC_F_WRITE;
	uint32_t len = le32toh(desc->len);

	if (n >= VQ_MAX_SEGS)
		return broken(vq, "descriptor chain is too long");
	if (!in && elem->nr_in)
		return broken(vq, "readable descriptor after a writable one");
	if (len > UINT32_MAX - elem->out_len || len > UINT32_MAX - elem->in_len)
		return broken(vq, "descriptor chain is longer than 4 GiB");
	if (le64toh(desc->addr) + len < len)
		return broken(vq, "descriptor wraps round the address space");
	elem->seg[n] = (struct vq_seg){ le64toh(desc->addr), len };
	if (in) {
		elem->nr_in++;
		elem->in_len += len;
	} else {
		elem->nr_out++;
		elem->out_len += len;
	}
	return 0;
}

static int add_indirect(struct virtqueue *vq, struct vq_elem *elem, const struct vring_desc *outer)
{
	struct vring_desc table[VQ_MAX_SEGS];
	uint32_t len = le32toh(outer->len);
	unsigned int n = len / sizeof(table[0]), i = 0, seen;

	if (!vq->indirect)
		return broken(vq, "indirect descriptor without the feature");
	if (le16toh(outer->flags) & VRING_DESC_F_NEXT)
		return broken(vq, "indirect descriptor with a successor");
	if (!n || n > VQ_MAX_SEGS || len % sizeof(table[0]))
		return broken(vq, "indirect table has a bad length");
	if (!dma_read(vq->vm, le64toh(outer->addr), table, len))
		return broken(vq, "indirect table is not in RAM");
	for (seen = 0; seen < n; seen++) {
		uint16_t flags = le16toh(table[i].flags);
		int err;

		if (flags & VRING_DESC_F_INDIRECT)
			return broken(vq, "indirect descriptor within an indirect table");
		err = add_seg(vq, elem, &table[i]);
		if (err || !(flags & VRING_DESC_F_NEXT))
			return err;
		i = le16toh(table[i].next);
		if (i >= n)
			return broken(vq, "descriptor link points out of the indirect table");
	}
	return broken(vq, "loop in an indirect table");
}

int vq_pop(struct virtqueue *vq, struct vq_elem *elem)
{
	unsigned int i, seen;
	uint16_t head;
	int n = avail_count(vq);

	if (n <= 0)
		return n;
	if (!load16(vq, vq->avail + AVAIL_RING + sizeof(head) * (vq->last_avail & (vq->size - 1)), &head))
		return broken(vq, "available ring is not in RAM");
	if (head >= vq->size)
		return broken(vq, "available ring names a descriptor out of range");
	elem->head = head;
	elem->nr_out = 0;
	elem->nr_in = 0;
	elem->out_len = 0;
	elem->in_len = 0;

	for (i = head, seen = 0; seen < vq->size; seen++) {
		struct vring_desc desc;
		int err;

		if (!dma_read(vq->vm, vq->desc + sizeof(desc) * i, &desc, sizeof(desc)))
			return broken(vq, "descriptor table is not in RAM");
		if (le16toh(desc.flags) & VRING_DESC_F_INDIRECT)
			err = add_indirect(vq, elem, &desc);
		else
			err = add_seg(vq, elem, &desc);
		if (err)
			return err;
		if (!(le16toh(desc.flags) & VRING_DESC_F_NEXT)) {
			vq->last_avail++;
			return 1;
		}
		i = le16toh(desc.next);
		if (i >= vq->size)
			return broken(vq, "descriptor link points out of the table");
	}
	return broken(vq, "loop in a descriptor chain");
}

void vq_unpop(struct virtqueue *vq, unsigned int n)
{
	vq->last_avail -= n;
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

int vq_fill(struct virtqueue *vq, unsigned int n, uint16_t head, uint32_t written)
{
	struct vring_used_elem used = { .id = htole32(head), .len = htole32(written) };
	uint16_t idx = vq->used_idx + n;

	if (vq->broken)
		return -EPROTO;
	if (!dma_write(vq->vm, vq->used + USED_RING + sizeof(used) * (idx & (vq->size - 1)), &used,
		       sizeof(used)))
		return broken(vq, "used ring is not in RAM");
	return 0;
}

int vq_publish(struct virtqueue *vq, unsigned int n)
{
	if (vq->broken)
		return -EPROTO;
	vq->used_idx += n;
	if (!store16(vq, vq->used + USED_IDX, vq->used_idx))
		return broken(vq, "used ring is not in RAM");
	return 0;
}

int vq_push(struct virtqueue *vq, uint16_t head, uint32_t written)
{
	int err = vq_fill(vq, 0, head, written);

	return err ? err : vq_publish(vq, 1);
}

bool vq_wants_interrupt(struct virtqueue *vq)
{
	uint16_t val, old = vq->signalled;

	/* The used index is visible before the driver's wish is read; pairs with the driver's own barrier. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	vq->signalled = vq->used_idx;
	if (!vq->event_idx)
		return !load16(vq, vq->avail, &val) || !(val & VRING_AVAIL_F_NO_INTERRUPT);
	return !load16(vq, used_event_addr(vq), &val) || vring_need_event(val, vq->used_idx, old);
}

bool vq_rearm(struct virtqueue *vq)
{
	if (vq->event_idx && !store16(vq, avail_event_addr(vq), vq->last_avail))
		broken(vq, "used ring is not in RAM");
	/* The wish is visible before the ring is looked at once more. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vq_pending(vq);
}

bool vq_rearm_beyond(struct virtqueue *vq)
{
	uint16_t idx, now;

	if (vq->broken || !vq->event_idx)
		return false;
	if (!load16(vq, vq->avail + AVAIL_IDX, &idx) || !store16(vq, avail_event_addr(vq), idx)) {
		broken(vq, "ring is not in RAM");
		return false;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(vq, vq->avail + AVAIL_IDX, &now) && now != idx;
}
