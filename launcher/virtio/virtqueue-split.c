// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtqueue-split.c - the layout of "Split Virtqueues": a table of descriptors, a ring of chains for the device
 * and one of chains given back. Positions are the rings' indices, which count all chains ever.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>

#include "virtqueue.h"

_Static_assert(sizeof(struct vring_desc) == 16 && sizeof(struct vring_used_elem) == 8, "ring layout");

#define AVAIL_IDX	2
#define AVAIL_RING	4
#define USED_IDX	2
#define USED_RING	4

static uint64_t avail_event_addr(const struct virtqueue *vq)
{
	return vq->used + USED_RING + sizeof(struct vring_used_elem) * vq->size;
}

static uint64_t used_event_addr(const struct virtqueue *vq)
{
	return vq->avail + AVAIL_RING + sizeof(uint16_t) * vq->size;
}

static const char *split_check(struct virtqueue *vq)
{
	uint64_t n = vq->size;

	if (n & (n - 1))
		return "queue size is not a power of two";
	if (vq->desc & 15 || vq->avail & 1 || vq->used & 3)
		return "ring address is not aligned";
	if (!vq_is_ram(vq->vm, vq->desc, 16 * n, false) || !vq_is_ram(vq->vm, vq->avail, 6 + 2 * n, false) ||
	    !vq_is_ram(vq->vm, vq->used, 6 + 8 * n, true))
		return "ring is not in RAM";
	return NULL;
}

static int split_available(struct virtqueue *vq)
{
	uint16_t idx, n;

	if (!vq_load16(vq, vq->avail + AVAIL_IDX, &idx))
		return vq_broken(vq, "available ring is not in RAM");
	n = idx - vq->next_avail;
	if (n > vq->size)
		return vq_broken(vq, "available index runs ahead of the ring");
	return n;
}

static int add_desc(struct virtqueue *vq, struct vq_elem *elem, const struct vring_desc *desc)
{
	return vq_add_seg(vq, elem, le64toh(desc->addr), le32toh(desc->len), le16toh(desc->flags));
}

static int add_indirect(struct virtqueue *vq, struct vq_elem *elem, const struct vring_desc *outer)
{
	struct vring_desc table[VQ_MAX_SEGS];
	int n = vq_read_indirect(vq, le64toh(outer->addr), le32toh(outer->len), le16toh(outer->flags), table);
	int i = 0, seen;

	for (seen = 0; seen < n; seen++) {
		uint16_t flags = le16toh(table[i].flags);
		int err;

		if (flags & VRING_DESC_F_INDIRECT)
			return vq_broken(vq, "indirect descriptor within an indirect table");
		err = add_desc(vq, elem, &table[i]);
		if (err || !(flags & VRING_DESC_F_NEXT))
			return err;
		i = le16toh(table[i].next);
		if (i >= n)
			return vq_broken(vq, "descriptor link points out of the indirect table");
	}
	return n < 0 ? n : vq_broken(vq, "loop in an indirect table");
}

static int split_pop(struct virtqueue *vq, struct vq_elem *elem)
{
	unsigned int i, seen;
	uint16_t head;

	if (!vq_load16(vq, vq->avail + AVAIL_RING + sizeof(head) * (vq->next_avail & (vq->size - 1)), &head))
		return vq_broken(vq, "available ring is not in RAM");
	if (head >= vq->size)
		return vq_broken(vq, "available ring names a descriptor out of range");
	elem->head = head;
	for (i = head, seen = 0; seen < vq->size; seen++) {
		struct vring_desc desc;
		int err;

		if (!dma_read(vq->vm, vq->desc + sizeof(desc) * i, &desc, sizeof(desc)))
			return vq_broken(vq, "descriptor table is not in RAM");
		if (le16toh(desc.flags) & VRING_DESC_F_INDIRECT)
			err = add_indirect(vq, elem, &desc);
		else
			err = add_desc(vq, elem, &desc);
		if (err)
			return err;
		if (!(le16toh(desc.flags) & VRING_DESC_F_NEXT)) {
			vq->next_avail++;
			return 1;
		}
		i = le16toh(desc.next);
		if (i >= vq->size)
			return vq_broken(vq, "descriptor link points out of the table");
	}
	return vq_broken(vq, "loop in a descriptor chain");
}

static int split_push(struct virtqueue *vq, const struct vq_used *used, unsigned int nr)
{
	while (nr--) {
		struct vring_used_elem elem = { .id = htole32(used->head), .len = htole32(used->written) };

		if (!dma_write(vq->vm, vq->used + USED_RING + sizeof(elem) * (vq->next_used & (vq->size - 1)), &elem,
			       sizeof(elem)))
			return vq_broken(vq, "used ring is not in RAM");
		vq->next_used++;
		used++;
	}
	if (!vq_store16(vq, vq->used + USED_IDX, vq->next_used))
		return vq_broken(vq, "used ring is not in RAM");
	return 0;
}

static bool split_wants_interrupt(struct virtqueue *vq, uint16_t old)
{
	uint16_t val;

	if (!vq->event_idx)
		return !vq_load16(vq, vq->avail, &val) || !(val & VRING_AVAIL_F_NO_INTERRUPT);
	return !vq_load16(vq, used_event_addr(vq), &val) || vring_need_event(val, vq->next_used, old);
}

static void split_rearm(struct virtqueue *vq)
{
	if (!vq_store16(vq, avail_event_addr(vq), vq->next_avail))
		vq_broken(vq, "used ring is not in RAM");
}

static bool split_rearm_beyond(struct virtqueue *vq)
{
	uint16_t idx, now;

	if (!vq_load16(vq, vq->avail + AVAIL_IDX, &idx) || !vq_store16(vq, avail_event_addr(vq), idx)) {
		vq_broken(vq, "ring is not in RAM");
		return false;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vq_load16(vq, vq->avail + AVAIL_IDX, &now) && now != idx;
}

bool vq_take_back(struct virtqueue *vq, uint16_t next_avail)
{
	if (!vq_load16(vq, vq->used + USED_IDX, &vq->next_used))
		return false;
	vq->next_avail = next_avail;
	vq->signalled = vq->next_used;
	return true;
}

const struct vq_ring vq_split = {
	.check = split_check,
	.available = split_available,
	.pop = split_pop,
	.push = split_push,
	.wants_interrupt = split_wants_interrupt,
	.rearm = split_rearm,
	.rearm_beyond = split_rearm_beyond,
};
