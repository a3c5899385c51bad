/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtqueue.h - what virtqueue.c and the two layouts of rings know of one another
 */
#ifndef TENON_VIRTQUEUE_H
#define TENON_VIRTQUEUE_H

#include "virtio.h"

/* A layout. Called for queues that are not broken; they may break them. */
struct vq_ring {
	const char *(*check)(struct virtqueue *vq);	/* NULL, or what is wrong with the addresses */
	int (*available)(struct virtqueue *vq);		/* are there chains? -EPROTO */
	int (*pop)(struct virtqueue *vq, struct vq_elem *elem);
	int (*push)(struct virtqueue *vq, const struct vq_used *used, unsigned int nr);	/* @nr > 0 */
	bool (*wants_interrupt)(struct virtqueue *vq, uint16_t old);
	/* with event indices */
	void (*rearm)(struct virtqueue *vq);
	bool (*rearm_beyond)(struct virtqueue *vq);
};

extern const struct vq_ring vq_split, vq_packed;

/* Numbers of 16 bits are read and written whole, and in order with what stands around them. */
bool vq_load16(struct virtqueue *vq, uint64_t gpa, uint16_t *val);
bool vq_store16(struct virtqueue *vq, uint64_t gpa, uint16_t val);
bool vq_is_ram(struct vm *vm, uint64_t gpa, uint64_t len, bool write);
/* -EPROTO */
int vq_broken(struct virtqueue *vq, const char *why);
/* Append one descriptor, in the host's byte order, to a chain. */
int vq_add_seg(struct virtqueue *vq, struct vq_elem *elem, uint64_t addr, uint32_t len, uint16_t flags);
/* Read the table of an indirect descriptor: how many it has, or -EPROTO. */
int vq_read_indirect(struct virtqueue *vq, uint64_t addr, uint32_t len, uint16_t flags, void *table);

#endif /* TENON_VIRTQUEUE_H */
