/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio.h - virtio 1.x devices: queues, the PCI transport, what a device type provides
 *
 * Locks, outermost first: vm->lock (register accesses), dev->lock (all state of one device and its queues),
 * then those of the PCI host and the back end. A device's worker takes dev->lock and never vm->lock, so that
 * a vCPU which resets the device may wait for it.
 */
#ifndef TENON_VIRTIO_H
#define TENON_VIRTIO_H

#include <pthread.h>

#include "../machine/hotplug.h"
#include "../machine/pci.h"

#define VQ_MAX_SIZE	256u		/* power of two, as all sizes of split queues are */
#define VQ_MAX_SEGS	256u		/* descriptors in one chain */

/* A chain of descriptors, copied out of guest memory: first what the device reads, then what it writes. */
struct vq_seg {
	uint64_t gpa;
	uint32_t len;
};

struct vq_elem {
	uint16_t head;			/* what the driver knows it by */
	uint16_t descs;			/* how many of the ring's descriptors it took (packed) */
	unsigned int nr_out, nr_in;
	uint32_t out_len, in_len;	/* the sums fit, or the chain is refused */
	struct vq_seg seg[VQ_MAX_SEGS];
};

struct vq_ring;

/* A virtqueue. Owned by dev->lock. */
struct virtqueue {
	struct vm *vm;

	/*
	 * As the driver sets it up; constant while enabled. In a packed queue the descriptor ring, and the areas
	 * where driver and device say when they want to be notified.
	 */
	uint64_t desc, avail, used;
	uint16_t size, vector;
	bool enabled;

	/* features */
	bool event_idx, indirect, packed;
	const struct vq_ring *ring;	/* virtqueue-split.c or virtqueue-packed.c; by vq_start() */

	/* Progress; each layout counts its own way. */
	uint16_t next_avail;		/* where the next chain will be */
	uint16_t next_used;		/* where the next one given back will be */
	uint16_t signalled;		/* next_used at the last interrupt decision */
	const char *broken;		/* why no more is read from this queue */
};

/* Check what the driver gave. 0, or -EINVAL with vq->broken set. */
int vq_start(struct virtqueue *vq);
/* Next chain: 1, 0 if there is none, -EPROTO if the driver gave nonsense (vq->broken says what). */
int vq_pop(struct virtqueue *vq, struct vq_elem *elem);
/* Give a chain back with @written bytes; -EPROTO as above. */
int vq_push(struct virtqueue *vq, const struct vq_elem *elem, uint32_t written);
/* Does the driver want an interrupt for what was pushed since the last call? */
bool vq_wants_interrupt(struct virtqueue *vq);
/* Ask for notifications before going to sleep; true if more has arrived meanwhile. */
bool vq_rearm(struct virtqueue *vq);
bool vq_pending(struct virtqueue *vq);

/* A chain to be given back: what its vq_elem says of it, and how much was written. */
struct vq_used {
	uint16_t head, descs;
	uint32_t written;
};

/*
 * For data that spans several chains: take them, then go back to before the first one (vq_mark(), vq_rewind()), or
 * give all of them back in one step. Nothing is written into the ring before that: a packed one has no other place for
 * what the driver wrote.
 */
static inline uint16_t vq_mark(const struct virtqueue *vq)
{
	return vq->next_avail;
}
void vq_rewind(struct virtqueue *vq, uint16_t mark);
int vq_push_all(struct virtqueue *vq, const struct vq_used *used, unsigned int nr);
/* Like vq_rearm(), for a queue that has chains, but too few: be notified of, or see, further ones. */
bool vq_rearm_beyond(struct virtqueue *vq);
/* Someone else has worked on a split queue, up to @next_avail: go on from there. False: the ring is not in RAM. */
bool vq_take_back(struct virtqueue *vq, uint16_t next_avail);

/* Copy @len bytes at offset @off of what the device reads (@in: writes) of a chain; false if that is not RAM. */
bool vq_copy(struct vm *vm, const struct vq_elem *elem, bool in, uint64_t off, void *buf, uint64_t len);

/* Copies to and from guest RAM while it runs; false if not all of it is RAM. */
bool dma_read(struct vm *vm, uint64_t gpa, void *buf, uint64_t len);
bool dma_write(struct vm *vm, uint64_t gpa, const void *buf, uint64_t len);

struct virtio_dev;
struct virtio_pool;

/* A device type. All of these are called with dev->lock held unless it says otherwise. */
struct virtio_ops {
	const char *name;
	uint16_t id;			/* virtio device type */
	uint8_t class[3];		/* PCI: programming interface, subclass, class */
	unsigned int nr_queues;
	unsigned int config_size;

	void (*config_read)(struct virtio_dev *dev, void *config);	/* fill config_size bytes */
	/* optional: the driver wrote [off, off + len) of a copy */
	void (*config_written)(struct virtio_dev *dev, const void *config, unsigned int off,
			       unsigned int len);
	void (*start)(struct virtio_dev *dev);				/* optional: the driver is ready */
	/* there may be something in a queue; called for each when the driver is ready, too */
	void (*notify)(struct virtio_dev *dev, unsigned int queue);
	/* a reset: return when no worker uses a queue, the device's own state as at the start; may wait on dev->lock */
	void (*quiesce)(struct virtio_dev *dev);
	/* optional: bus mastering may have been switched on or off, with the driver ready or not */
	void (*mastering)(struct virtio_dev *dev);
	/* optional: the same wait, and nothing else; not for devices that use queues only with dev->lock */
	void (*drain)(struct virtio_dev *dev);
};

struct virtio_dev {
	struct vm *vm;
	const struct virtio_ops *ops;
	uint64_t offered;		/* features */
	unsigned int nr_queues;		/* ops->nr_queues, unless the device says otherwise */
	struct virtio_pool *pool;	/* pool.h, or NULL */
	bool transitional;		/* has the interface of drivers before 1.0 as well; before virtio_init() */
	bool split_only;		/* packed rings are not offered; before virtio_init() */
	int notify_fd;			/* an eventfd that is as good as ops->notify(), or 0; before virtio_init() */
	const int *queue_fd;		/* eventfds of the first queues' own; before virtio_init() */
	unsigned int nr_queue_fds;

	pthread_mutex_t lock;
	uint64_t features;		/* as the driver accepted them */
	uint8_t status, isr, config_generation;
	uint16_t config_vector;
	uint32_t offered_select, features_select;
	uint16_t queue_select;
	bool legacy;			/* its driver uses that interface */
	struct virtqueue *vq;
	bool warned;
	uint8_t pci_cfg_cap;		/* offset of the configuration access capability */

	struct pci_dev pci;
	struct slot *slot;		/* NULL, or where it is plugged in: before virtio_init() */
};

/* dev->ops and dev->offered are set. Puts the device on the PCI bus; 0, or -errno with a message printed. */
int virtio_init(struct virtio_dev *dev, struct vm *vm);
void virtio_exit(struct virtio_dev *dev);
/* Another notify_fd, of a device that is on the bus already. With the device lock held, or before the guest runs. */
void virtio_doorbell(struct virtio_dev *dev, int fd);

/* With dev->lock held: */
static inline bool virtio_has(const struct virtio_dev *dev, unsigned int feature)
{
	return dev->features >> feature & 1;
}
/* May queue @n be worked on? */
bool virtio_queue_live(const struct virtio_dev *dev, unsigned int n);
void virtio_push(struct virtio_dev *dev, unsigned int queue, const struct vq_elem *elem, uint32_t written);
/* After vq_push_all(): send the interrupt if the driver wants it. */
void virtio_signal(struct virtio_dev *dev, unsigned int queue);
/* Whether the driver wants it or not. */
void virtio_interrupt(struct virtio_dev *dev, unsigned int queue);
/*
 * An eventfd that does the same, or -1 if the back end has none. While it is connected with nothing (masked, no MSI-X) it
 * keeps its signals, for whoever reads them to call virtio_interrupt(). Any time after virtio_init().
 */
int virtio_interrupt_fd(const struct virtio_dev *dev, unsigned int queue);
/* The driver broke the protocol, or gave memory that is none: stop, until it resets the device. */
void virtio_needs_reset(struct virtio_dev *dev, const char *why);

/* Tell the driver that the configuration has changed. */
void virtio_config_changed(struct virtio_dev *dev);

/*
 * Let the guest have @bytes of its memory, once its driver gets to it, and how much it has. False: the machine has no
 * balloon.
 */
bool balloon_set(struct vm *vm, uint64_t bytes);
bool balloon_get(struct vm *vm, uint64_t *bytes);

/*
 * A disk or a card that is plugged in while the guest runs: its config has a descriptor, and lives as long as it does.
 * *@dev, or -errno with a message printed. Main thread, with the device lock held.
 */
int vblk_plug(struct vm *vm, const struct vm_disk *config, struct slot *slot, struct virtio_dev **dev);
/* 0, or -errno if what the guest wrote last may be lost. */
int vblk_unplug(struct virtio_dev *dev);
int vnet_plug(struct vm *vm, const struct vm_net *config, struct slot *slot, struct virtio_dev **dev);
void vnet_unplug(struct virtio_dev *dev);

extern const struct device_ops virtio_balloon_device;
extern const struct device_ops virtio_console_device;
extern const struct device_ops virtio_blk_device;
extern const struct device_ops virtio_9p_device;
extern const struct device_ops virtio_net_device;
extern const struct device_ops virtio_rng_device;
extern const struct device_ops virtio_vsock_device;

#endif /* TENON_VIRTIO_H */
