// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtqueue-packed.c - the layout of "Packed Virtqueues": one ring, in which driver and device overwrite each
 * other's descriptors
 *
 * A descriptor belongs to the device if its AVAIL bit is the driver's wrap counter and its USED bit is not; both
 * counters start at 1 and change with every round. A position here counts the descriptors of two rounds, 0 to
 * 2 * size - 1: it is slot and counter in one (the counter is 1 in the first round), and differences are
 * modulo 2 * size.
 *
 * Example, size 4: the driver makes a chain of three available in slots 3, 0, 1 of its first round. The device finds
 * it at position 3, goes on at position 6, and gives it back with one descriptor at its own position, whatever
 * that is; that position then moves by three, too.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "virtqueue.h"

_Static_assert(sizeof(struct vring_packed_desc) == 16, "descriptor layout");
_Static_assert(sizeof(struct vring_packed_desc_event) == 4, "event suppression layout");

#define AVAIL		(1u << VRING_PACKED_DESC_F_AVAIL)
#define USED		(1u << VRING_PACKED_DESC_F_USED)
#define EVENT_WRAP	(1u << VRING_PACKED_EVENT_F_WRAP_CTR)

static uint64_t slot_addr(const struct virtqueue *vq, unsigned int pos)
{
	return vq->desc + sizeof(struct vring_packed_desc) * (pos % vq->size);
}

static uint64_t flags_addr(const struct virtqueue *vq, unsigned int pos)
{
	return slot_addr(vq, pos) + offsetof(struct vring_packed_desc, flags);
}

static uint16_t advance(const struct virtqueue *vq, uint16_t pos, uint16_t n)
{
	return (pos + n) % (2u * vq->size);
}

static const char *packed_check(struct virtqueue *vq)
{
	if (vq->desc & 15 || vq->avail & 3 || vq->used & 3)
		return "ring address is not aligned";
	if (!vq_is_ram(vq->vm, vq->desc, sizeof(struct vring_packed_desc) * vq->size, true) ||
	    !vq_is_ram(vq->vm, vq->avail, sizeof(struct vring_packed_desc_event), false) ||
	    !vq_is_ram(vq->vm, vq->used, sizeof(struct vring_packed_desc_event), true))
		return "ring is not in RAM";
	return NULL;
}

static int available_at(struct virtqueue *vq, uint16_t pos)
{
	uint16_t flags;

	if (!vq_load16(vq, flags_addr(vq, pos), &flags))
		return vq_broken(vq, "descriptor ring is not in RAM");
	return pos < vq->size ? (flags & (AVAIL | USED)) == AVAIL : (flags & (AVAIL | USED)) == USED;
}

static int packed_available(struct virtqueue *vq)
{
	return available_at(vq, vq->next_avail);
}

/* A table's descriptors stand in order: the length says how many there are, and no flag but WRITE counts. */
static int add_indirect(struct virtqueue *vq, struct vq_elem *elem, const struct vring_packed_desc *outer)
{
	struct vring_packed_desc table[VQ_MAX_SEGS];
	int i, err = 0, n = vq_read_indirect(vq, le64toh(outer->addr), le32toh(outer->len),
					     le16toh(outer->flags), table);

	for (i = 0; i < n && !err; i++)
		err = vq_add_seg(vq, elem, le64toh(table[i].addr), le32toh(table[i].len),
				 le16toh(table[i].flags));
	return n < 0 ? n : err;
}

static int packed_pop(struct virtqueue *vq, struct vq_elem *elem)
{
	unsigned int n;

	for (n = 0; n < vq->size; n++) {
		struct vring_packed_desc desc;
		uint16_t flags;
		int err;

		if (!dma_read(vq->vm, slot_addr(vq, vq->next_avail + n), &desc, sizeof(desc)))
			return vq_broken(vq, "descriptor ring is not in RAM");
		flags = le16toh(desc.flags);
		if (flags & VRING_DESC_F_INDIRECT)
			err = add_indirect(vq, elem, &desc);
		else
			err = vq_add_seg(vq, elem, le64toh(desc.addr), le32toh(desc.len), flags);
		if (err)
			return err;
		if (flags & VRING_DESC_F_NEXT)
			continue;
		elem->head = le16toh(desc.id);
		elem->descs = n + 1;
		vq->next_avail = advance(vq, vq->next_avail, elem->descs);
		return 1;
	}
	return vq_broken(vq, "descriptor chain is longer than the ring");
}

static int packed_push(struct virtqueue *vq, const struct vq_used *used, unsigned int nr)
{
	const unsigned int at = offsetof(struct vring_packed_desc, len);
	uint16_t pos = vq->next_used, first = 0;
	bool ok = true;

	for (unsigned int i = 0; i < nr && ok; i++, used++) {
		struct vring_packed_desc desc = { .len = htole32(used->written), .id = htole16(used->head) };
		uint16_t flags = (pos < vq->size ? AVAIL | USED : 0) | (used->written ? VRING_DESC_F_WRITE : 0);

		/* Identifier and length before the flags; the first one's flags are what shows all of them. */
		ok = dma_write(vq->vm, slot_addr(vq, pos) + at, &desc.len, offsetof(struct vring_packed_desc, flags) - at);
		if (!i)
			first = flags;
		else
			ok = ok && vq_store16(vq, flags_addr(vq, pos), flags);
		pos = advance(vq, pos, used->descs);
	}
	if (!ok || !vq_store16(vq, flags_addr(vq, vq->next_used), first))
		return vq_broken(vq, "descriptor ring is not in RAM");
	vq->next_used = pos;
	return 0;
}

static bool packed_wants_interrupt(struct virtqueue *vq, uint16_t old)
{
	uint16_t flags, off_wrap;
	unsigned int round = 2u * vq->size, event;

	if (!vq_load16(vq, vq->avail + offsetof(struct vring_packed_desc_event, flags), &flags))
		return true;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !vq->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	if (!vq_load16(vq, vq->avail + offsetof(struct vring_packed_desc_event, off_wrap), &off_wrap))
		return true;
	event = off_wrap & ~EVENT_WRAP;
	if (event >= vq->size)
		return true;
	if (!(off_wrap & EVENT_WRAP))
		event += vq->size;
	/* Has it been passed, on the way from @old to where we are? */
	return (event + round - old) % round < (vq->next_used + round - old) % round;
}

static void ask_at(struct virtqueue *vq, uint16_t pos)
{
	uint16_t off_wrap = pos % vq->size | (pos < vq->size ? EVENT_WRAP : 0);

	if (!vq_store16(vq, vq->used + offsetof(struct vring_packed_desc_event, off_wrap), off_wrap) ||
	    !vq_store16(vq, vq->used + offsetof(struct vring_packed_desc_event, flags),
			VRING_PACKED_EVENT_FLAG_DESC))
		vq_broken(vq, "device event area is not in RAM");
}

static void packed_rearm(struct virtqueue *vq)
{
	ask_at(vq, vq->next_avail);
}

static bool packed_rearm_beyond(struct virtqueue *vq)
{
	uint16_t pos = vq->next_avail;
	unsigned int n;

	for (n = 0; n < vq->size && available_at(vq, pos) > 0; n++)
		pos = advance(vq, pos, 1);
	if (n == vq->size || vq->broken)
		return false;
	ask_at(vq, pos);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return available_at(vq, pos) > 0;
}

const struct vq_ring vq_packed = {
	.check = packed_check,
	.available = packed_available,
	.pop = packed_pop,
	.push = packed_push,
	.wants_interrupt = packed_wants_interrupt,
	.rearm = packed_rearm,
	.rearm_beyond = packed_rearm_beyond,
};
