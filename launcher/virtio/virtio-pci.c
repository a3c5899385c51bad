// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-pci.c - virtio 1.x over PCI
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Virtio Over PCI Bus". BAR 4 holds all register structures, a page each; BAR 1
 * the MSI-X table. Device ids are from 0x1040, and there is no I/O BAR, unless a device is transitional: BAR 0 has the
 * registers of "Legacy Interfaces: A Note on PCI Device Layout" then.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "../msg.h"
#include "virtio.h"

#define LEGACY_BAR		0
#define REG_BAR			4
#define MSIX_BAR		1
#define REG_COMMON		0x0000u
#define REG_ISR			0x1000u
#define REG_DEVICE		0x2000u
#define REG_NOTIFY		0x3000u
#define REG_BAR_SIZE		0x4000u
#define REG_PAGE		0x1000u
#define NOTIFY_MULTIPLIER	4u

#define ISR_QUEUE		1u
#define ISR_CONFIG		2u
#define CONFIG_MAX		256u

_Static_assert(offsetof(struct virtio_pci_common_cfg, queue_used_hi) == 52, "common configuration layout");

/* The public part is what a worker uses: with dev->lock held. */

bool virtio_queue_live(const struct virtio_dev *dev, unsigned int n)
{
	/*
	 * Old drivers use a queue once it has an address: Linux' looked for partitions before it set DRIVER_OK, and up to
	 * 2.6.33 did not make the device a master of the bus.
	 */
	if (dev->legacy)
		return !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET) && dev->vq[n].enabled && !dev->vq[n].broken;
	return (dev->status & VIRTIO_CONFIG_S_DRIVER_OK) && !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET) &&
	       dev->vq[n].enabled && !dev->vq[n].broken && pci_bus_master(&dev->pci);
}

static void interrupt(struct virtio_dev *dev, uint16_t vector, uint8_t cause)
{
	if (pci_msix_enabled(&dev->pci)) {
		/* VIRTIO_MSI_NO_VECTOR is out of range: nothing is sent. */
		pci_msix_notify(&dev->pci, vector);
		return;
	}
	dev->isr |= cause;
	pci_set_intx(&dev->pci, true);
}

void virtio_interrupt(struct virtio_dev *dev, unsigned int queue)
{
	if (!pci_msix_signal(&dev->pci, queue))
		interrupt(dev, dev->vq[queue].vector, ISR_QUEUE);
}

int virtio_interrupt_fd(const struct virtio_dev *dev, unsigned int queue)
{
	return pci_msix_source_fd(&dev->pci, queue);
}

void virtio_config_changed(struct virtio_dev *dev)
{
	if (!(dev->status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	dev->config_generation++;
	interrupt(dev, dev->config_vector, ISR_CONFIG);
}

void virtio_needs_reset(struct virtio_dev *dev, const char *why)
{
	if (dev->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	/* Once: a guest must not be able to flood the log. */
	if (!dev->warned)
		msg_warn("%s: the guest's driver broke the protocol (%s); the device stops until it is reset",
			 dev->ops->name, why);
	dev->warned = true;
	dev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	virtio_config_changed(dev);
}

void virtio_push(struct virtio_dev *dev, unsigned int queue, const struct vq_elem *elem, uint32_t written)
{
	struct virtqueue *vq = &dev->vq[queue];

	if (vq_push(vq, elem, written)) {
		virtio_needs_reset(dev, vq->broken);
		return;
	}
	virtio_signal(dev, queue);
}

void virtio_signal(struct virtio_dev *dev, unsigned int queue)
{
	struct virtqueue *vq = &dev->vq[queue];

	if (vq_wants_interrupt(vq))
		virtio_interrupt(dev, queue);
}

/* Device status */

static uint16_t vector_or_none(const struct virtio_dev *dev, uint16_t vector)
{
	return vector < dev->pci.msix_nr ? vector : VIRTIO_MSI_NO_VECTOR;
}

static void set_vector(struct virtio_dev *dev, unsigned int n, uint16_t vector)
{
	dev->vq[n].vector = vector_or_none(dev, vector);
	pci_msix_set_source(&dev->pci, n, dev->vq[n].vector);
}

static void reset_queue(struct virtio_dev *dev, unsigned int n)
{
	dev->vq[n] = (struct virtqueue){ .vm = dev->vm, .size = VQ_MAX_SIZE };
	set_vector(dev, n, VIRTIO_MSI_NO_VECTOR);
}

/* Called with vm->lock held or at exit; takes dev->lock. */
static void virtio_reset(struct virtio_dev *dev)
{
	unsigned int i;

	pthread_mutex_lock(&dev->lock);
	dev->status = 0;		/* from here on no worker takes anything up */
	for (i = 0; i < dev->nr_queues; i++)
		dev->vq[i].enabled = false;
	dev->ops->quiesce(dev);
	dev->features = 0;
	dev->isr = 0;
	dev->config_vector = VIRTIO_MSI_NO_VECTOR;
	dev->offered_select = 0;
	dev->features_select = 0;
	dev->queue_select = 0;
	dev->legacy = false;
	for (i = 0; i < dev->nr_queues; i++)
		reset_queue(dev, i);
	pci_set_intx(&dev->pci, false);
	pthread_mutex_unlock(&dev->lock);
}

static void notify_all(struct virtio_dev *dev)
{
	unsigned int i;

	for (i = 0; i < dev->nr_queues; i++)
		if (virtio_queue_live(dev, i))
			dev->ops->notify(dev, i);
}

static void write_status(struct virtio_dev *dev, uint8_t val)
{
	uint8_t old = dev->status;
	unsigned int i;

	/* Bits are only ever added; all that takes them away is a reset. */
	val |= old;
	if (!dev->legacy && (val & ~old & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    ((dev->features & ~dev->offered) || !virtio_has(dev, VIRTIO_F_VERSION_1)))
		val &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!dev->legacy && !(val & VIRTIO_CONFIG_S_FEATURES_OK))
		val &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	dev->status = val;
	if (!(val & ~old & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	if (dev->ops->start)
		dev->ops->start(dev);
	for (i = 0; i < dev->nr_queues; i++)
		if (dev->vq[i].enabled && dev->vq[i].broken)
			virtio_needs_reset(dev, dev->vq[i].broken);
	/* Something may have been queued before. */
	notify_all(dev);
}

static void enable_queue(struct virtio_dev *dev, struct virtqueue *vq)
{
	if (vq->enabled || (!dev->legacy && !(dev->status & VIRTIO_CONFIG_S_FEATURES_OK)))
		return;
	vq->event_idx = virtio_has(dev, VIRTIO_RING_F_EVENT_IDX);
	vq->indirect = virtio_has(dev, VIRTIO_RING_F_INDIRECT_DESC);
	vq->packed = virtio_has(dev, VIRTIO_F_RING_PACKED);
	vq->enabled = true;
	if (vq_start(vq))
		virtio_needs_reset(dev, vq->broken);
}

/* Common configuration */

static struct virtqueue *selected(struct virtio_dev *dev)
{
	return dev->queue_select < dev->nr_queues ? &dev->vq[dev->queue_select] : NULL;
}

/* The register that starts at @off, as one number; *len is its width. */
static uint64_t common_get(struct virtio_dev *dev, unsigned int off, unsigned int *len)
{
	const struct virtqueue *vq = selected(dev);

	*len = 4;
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return dev->offered_select;
	case VIRTIO_PCI_COMMON_DF:
		return dev->offered_select < 2 ? (uint32_t)(dev->offered >> 32 * dev->offered_select) : 0;
	case VIRTIO_PCI_COMMON_GFSELECT:
		return dev->features_select;
	case VIRTIO_PCI_COMMON_GF:
		return dev->features_select < 2 ? (uint32_t)(dev->features >> 32 * dev->features_select) : 0;
	}
	*len = 1;
	switch (off) {
	case VIRTIO_PCI_COMMON_STATUS:
		return dev->status;
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return dev->config_generation;
	}
	*len = 2;
	switch (off) {
	case VIRTIO_PCI_COMMON_MSIX:
		return dev->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return dev->nr_queues;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return dev->queue_select;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return vq ? vq->size : 0;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return vq ? vq->vector : VIRTIO_MSI_NO_VECTOR;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return vq && vq->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return vq ? dev->queue_select : 0;
	}
	*len = 8;
	switch (off) {
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return vq ? vq->desc : 0;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return vq ? vq->avail : 0;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return vq ? vq->used : 0;
	}
	*len = 1;
	return 0;
}

static uint64_t common_read(struct virtio_dev *dev, unsigned int off, unsigned int len)
{
	unsigned int width, back;
	uint64_t val;

	/* Addresses are read in halves, and a cautious driver may read a number in bytes. */
	for (back = 0; back < 8 && back <= off; back++) {
		val = common_get(dev, off - back, &width);
		if (back < width)
			break;
	}
	if (back >= 8 || back > off)
		return 0;
	val >>= 8 * back;
	return len < 8 ? val & ((1ull << 8 * len) - 1) : val;
}

/* Addresses come in halves of 32 bits, or whole. */
static void set_address(uint64_t *addr, unsigned int at, uint64_t val, unsigned int len)
{
	if (len == 8 && !at)
		*addr = val;
	else if (len == 4)
		*addr = (*addr & ~(0xffffffffull << 8 * at)) | (val & 0xffffffff) << 8 * at;
}

static void common_write(struct virtio_dev *dev, unsigned int off, uint64_t val, unsigned int len)
{
	struct virtqueue *vq = selected(dev);

	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		dev->offered_select = val;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		dev->features_select = val;
		break;
	case VIRTIO_PCI_COMMON_GF:
		if (dev->features_select > 1 || (dev->status & VIRTIO_CONFIG_S_FEATURES_OK))
			break;
		dev->features &= ~(0xffffffffull << 32 * dev->features_select);
		dev->features |= (uint64_t)(uint32_t)val << 32 * dev->features_select;
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		dev->config_vector = vector_or_none(dev, val);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		write_status(dev, val);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		dev->queue_select = val;
		break;
	case VIRTIO_PCI_COMMON_Q_SIZE:
		val &= 0xffff;
		if (vq && !vq->enabled && val && val <= VQ_MAX_SIZE)
			vq->size = val;
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		if (vq)
			set_vector(dev, dev->queue_select, val);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (vq && (val & 0xffff) == 1)
			enable_queue(dev, vq);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		if (vq && !vq->enabled)
			set_address(&vq->desc, off - VIRTIO_PCI_COMMON_Q_DESCLO, val, len);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		if (vq && !vq->enabled)
			set_address(&vq->avail, off - VIRTIO_PCI_COMMON_Q_AVAILLO, val, len);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		if (vq && !vq->enabled)
			set_address(&vq->used, off - VIRTIO_PCI_COMMON_Q_USEDLO, val, len);
		break;
	}
}

/* Device configuration */

static uint64_t config_read(struct virtio_dev *dev, unsigned int off, unsigned int len)
{
	uint8_t config[CONFIG_MAX] = { 0 };
	uint64_t val = 0;

	dev->ops->config_read(dev, config);
	if (off + len <= dev->ops->config_size)
		memcpy(&val, config + off, len);
	return val;
}

static void config_write(struct virtio_dev *dev, unsigned int off, uint64_t val, unsigned int len)
{
	uint8_t config[CONFIG_MAX] = { 0 };

	if (!dev->ops->config_written || off + len > dev->ops->config_size)
		return;
	dev->ops->config_read(dev, config);
	memcpy(config + off, &val, len);
	dev->ops->config_written(dev, config, off, len);
}

/* Reading takes what there is, and the interrupt with it. */
static uint8_t read_isr(struct virtio_dev *dev)
{
	uint8_t val = dev->isr;

	dev->isr = 0;
	pci_set_intx(&dev->pci, false);
	return val;
}

/*
 * The legacy interface: a driver that knows no more than it, and neither FEATURES_OK nor VERSION_1. It is in use from its
 * first write to a reset.
 */

/* Features of 32 bits that mean the same there; and drivers may lay out buffers as they like. */
static uint32_t legacy_offered(const struct virtio_dev *dev)
{
	return (uint32_t)dev->offered | 1u << VIRTIO_F_ANY_LAYOUT;
}

static unsigned int legacy_config(const struct virtio_dev *dev)
{
	return VIRTIO_PCI_CONFIG_OFF(pci_msix_enabled(&dev->pci));
}

static uint64_t legacy_read(void *opaque, uint64_t off, unsigned int len)
{
	struct virtio_dev *dev = opaque;
	const unsigned int config = legacy_config(dev);
	const struct virtqueue *vq;
	uint64_t val = 0;

	pthread_mutex_lock(&dev->lock);
	vq = selected(dev);
	if (off >= config) {
		val = config_read(dev, off - config, len);
		goto out;
	}
	switch (off) {
	case VIRTIO_PCI_HOST_FEATURES:
		val = legacy_offered(dev);
		break;
	case VIRTIO_PCI_GUEST_FEATURES:
		val = (uint32_t)dev->features;
		break;
	case VIRTIO_PCI_QUEUE_PFN:
		val = vq && vq->enabled ? vq->desc >> VIRTIO_PCI_QUEUE_ADDR_SHIFT : 0;
		break;
	case VIRTIO_PCI_QUEUE_NUM:
		val = vq ? vq->size : 0;
		break;
	case VIRTIO_PCI_QUEUE_SEL:
		val = dev->queue_select;
		break;
	case VIRTIO_PCI_STATUS:
		val = dev->status;
		break;
	case VIRTIO_PCI_ISR:
		val = read_isr(dev);
		break;
	case VIRTIO_MSI_CONFIG_VECTOR:
		val = dev->config_vector;
		break;
	case VIRTIO_MSI_QUEUE_VECTOR:
		val = vq ? vq->vector : VIRTIO_MSI_NO_VECTOR;
		break;
	}
out:
	pthread_mutex_unlock(&dev->lock);
	return val;
}

/* The rings lie behind one another, the used ring on a page of its own. Address 0 takes the queue out of use. */
static void legacy_set_queue(struct virtio_dev *dev, struct virtqueue *vq, uint32_t pfn)
{
	const uint16_t vector = vq->vector;

	if (!pfn) {
		vq->enabled = false;	/* from here on no worker takes anything up */
		if (dev->ops->drain)
			dev->ops->drain(dev);
		reset_queue(dev, dev->queue_select);
		set_vector(dev, dev->queue_select, vector);
		return;
	}
	if (vq->enabled)
		return;
	vq->desc = (uint64_t)pfn << VIRTIO_PCI_QUEUE_ADDR_SHIFT;
	vq->avail = vq->desc + sizeof(struct vring_desc) * vq->size;
	vq->used = (vq->avail + sizeof(uint16_t) * (3 + vq->size) + VIRTIO_PCI_VRING_ALIGN - 1) &
		   ~(uint64_t)(VIRTIO_PCI_VRING_ALIGN - 1);
	enable_queue(dev, vq);
}

static void legacy_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct virtio_dev *dev = opaque;
	const unsigned int config = legacy_config(dev);
	struct virtqueue *vq;

	if (off == VIRTIO_PCI_STATUS && !(val & 0xff)) {
		virtio_reset(dev);
		return;
	}
	pthread_mutex_lock(&dev->lock);
	/* A driver of version 1 has it in its hands. */
	if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK && !dev->legacy)
		goto out;
	/* Nor may it have what another interface accepted, and this one does not know. */
	if (!dev->legacy)
		dev->features &= legacy_offered(dev);
	dev->legacy = true;
	vq = selected(dev);
	if (off >= config) {
		config_write(dev, off - config, val, len);
		goto out;
	}
	switch (off) {
	case VIRTIO_PCI_GUEST_FEATURES:
		dev->features = (uint32_t)val & legacy_offered(dev);
		break;
	case VIRTIO_PCI_QUEUE_PFN:
		if (vq)
			legacy_set_queue(dev, vq, (uint32_t)val);
		break;
	case VIRTIO_PCI_QUEUE_SEL:
		dev->queue_select = val;
		break;
	case VIRTIO_PCI_QUEUE_NOTIFY:
		val &= 0xffff;
		if (val < dev->nr_queues && virtio_queue_live(dev, val))
			dev->ops->notify(dev, val);
		break;
	case VIRTIO_PCI_STATUS:
		write_status(dev, val);
		break;
	case VIRTIO_MSI_CONFIG_VECTOR:
		dev->config_vector = vector_or_none(dev, val);
		break;
	case VIRTIO_MSI_QUEUE_VECTOR:
		if (vq)
			set_vector(dev, dev->queue_select, val);
		break;
	}
out:
	pthread_mutex_unlock(&dev->lock);
}

static const struct region_ops legacy_ops = { .read = legacy_read, .write = legacy_write };

/* The register BAR */

static uint64_t reg_read(void *opaque, uint64_t off, unsigned int len)
{
	struct virtio_dev *dev = opaque;
	uint64_t val = 0;

	pthread_mutex_lock(&dev->lock);
	switch (off & ~(uint64_t)(REG_PAGE - 1)) {
	case REG_COMMON:
		val = common_read(dev, off - REG_COMMON, len);
		break;
	case REG_ISR:
		if (off == REG_ISR)
			val = read_isr(dev);
		break;
	case REG_DEVICE:
		val = config_read(dev, off - REG_DEVICE, len);
		break;
	}
	pthread_mutex_unlock(&dev->lock);
	return val;
}

static void reg_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct virtio_dev *dev = opaque;
	unsigned int queue;

	if (off == REG_COMMON + VIRTIO_PCI_COMMON_STATUS && !(val & 0xff)) {
		virtio_reset(dev);
		return;
	}
	pthread_mutex_lock(&dev->lock);
	if (dev->legacy) {
		/* Until a reset it is the other interface's. */
		pthread_mutex_unlock(&dev->lock);
		return;
	}
	switch (off & ~(uint64_t)(REG_PAGE - 1)) {
	case REG_COMMON:
		common_write(dev, off - REG_COMMON, val, len);
		break;
	case REG_DEVICE:
		config_write(dev, off - REG_DEVICE, val, len);
		break;
	case REG_NOTIFY:
		queue = (off - REG_NOTIFY) / NOTIFY_MULTIPLIER;
		if (queue < dev->nr_queues && virtio_queue_live(dev, queue))
			dev->ops->notify(dev, queue);
		break;
	}
	pthread_mutex_unlock(&dev->lock);
}

/* Where the back end can, a notification goes to the device's thread without a vCPU's leaving the guest. */
static void reg_moved(void *opaque, uint64_t addr, bool on)
{
	const struct virtio_dev *dev = opaque;
	const struct accel_ops *accel = dev->vm->config.accel;

	if (!accel->doorbell || !dev->notify_fd)
		return;
	for (unsigned int i = 0; i < dev->nr_queues; i++)
		accel->doorbell(dev->vm, addr + REG_NOTIFY + i * NOTIFY_MULTIPLIER,
				i < dev->nr_queue_fds ? dev->queue_fd[i] : dev->notify_fd, on);
}

void virtio_doorbell(struct virtio_dev *dev, int fd)
{
	const uint64_t at = dev->pci.bar[REG_BAR].mapped;

	if (at != UINT64_MAX)
		reg_moved(dev, at, false);
	dev->notify_fd = fd;
	if (at != UINT64_MAX)
		reg_moved(dev, at, true);
}

static const struct region_ops reg_ops = { .read = reg_read, .write = reg_write };

/*
 * The configuration access capability is a window into BAR 4 for firmware that cannot map it: reads and
 * writes of its data field are accesses at the offset that was written before.
 */
static bool window(struct virtio_dev *dev, unsigned int off, unsigned int len, uint32_t *at, uint32_t *width)
{
	const uint8_t *cap = dev->pci.cfg + dev->pci_cfg_cap;
	unsigned int data = dev->pci_cfg_cap + sizeof(struct virtio_pci_cap);

	*at = pci_get32(cap + offsetof(struct virtio_pci_cap, offset));
	*width = pci_get32(cap + offsetof(struct virtio_pci_cap, length));
	return dev->pci_cfg_cap && off < data + 4 && off + len > data &&
	       cap[offsetof(struct virtio_pci_cap, bar)] == REG_BAR &&
	       (*width == 1 || *width == 2 || *width == 4) && !(*at & (*width - 1)) && *at < REG_BAR_SIZE;
}

static struct virtio_dev *from_pci(struct pci_dev *pci)
{
	return (struct virtio_dev *)((char *)pci - offsetof(struct virtio_dev, pci));
}

static void virtio_cfg_read(struct pci_dev *pci, unsigned int off, unsigned int len)
{
	struct virtio_dev *dev = from_pci(pci);
	uint32_t at, width;

	if (window(dev, off, len, &at, &width))
		pci_put32(pci->cfg + dev->pci_cfg_cap + sizeof(struct virtio_pci_cap),
			  reg_read(dev, at, width));
}

static void virtio_cfg_written(struct pci_dev *pci, unsigned int off, unsigned int len)
{
	struct virtio_dev *dev = from_pci(pci);
	uint32_t at, width, val;

	if (window(dev, off, len, &at, &width)) {
		val = pci_get32(pci->cfg + dev->pci_cfg_cap + sizeof(struct virtio_pci_cap));
		if (width < 4)
			val &= (1u << 8 * width) - 1;
		reg_write(dev, at, val, width);
	}
	/* Bus mastering may have been switched on with requests waiting. */
	if (off <= PCI_COMMAND && off + len > PCI_COMMAND) {
		pthread_mutex_lock(&dev->lock);
		if (dev->ops->mastering)
			dev->ops->mastering(dev);
		notify_all(dev);
		pthread_mutex_unlock(&dev->lock);
	}
}

static void virtio_pci_reset(struct pci_dev *pci)
{
	virtio_reset(from_pci(pci));
}

/* Capabilities */

static int add_virtio_cap(struct virtio_dev *dev, uint8_t type, uint32_t offset, uint32_t length,
			  unsigned int extra)
{
	struct virtio_pci_notify_cap cap = {
		.cap = {
			.cap_len = sizeof(struct virtio_pci_cap) + extra,
			.cfg_type = type,
			.bar = REG_BAR,
			.offset = htole32(offset),
			.length = htole32(length),
		},
		.notify_off_multiplier = type == VIRTIO_PCI_CAP_NOTIFY_CFG ? htole32(NOTIFY_MULTIPLIER) : 0,
	};

	return pci_add_cap(&dev->pci, PCI_CAP_ID_VNDR, (const char *)&cap + 2, cap.cap.cap_len - 2);
}

static int add_caps(struct virtio_dev *dev)
{
	int err;

	err = pci_msix_init(&dev->pci, dev->nr_queues + 1, MSIX_BAR);
	if (!err)
		err = pci_msix_add_sources(&dev->pci, dev->vm, dev->nr_queues);
	if (err)
		return err;
	if (add_virtio_cap(dev, VIRTIO_PCI_CAP_COMMON_CFG, REG_COMMON, REG_PAGE, 0) < 0 ||
	    add_virtio_cap(dev, VIRTIO_PCI_CAP_ISR_CFG, REG_ISR, REG_PAGE, 0) < 0 ||
	    add_virtio_cap(dev, VIRTIO_PCI_CAP_DEVICE_CFG, REG_DEVICE, REG_PAGE, 0) < 0 ||
	    add_virtio_cap(dev, VIRTIO_PCI_CAP_NOTIFY_CFG, REG_NOTIFY, REG_PAGE, 4) < 0)
		return -ENOSPC;
	err = add_virtio_cap(dev, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 4);
	if (err < 0)
		return err;
	dev->pci_cfg_cap = err;
	dev->pci.cfg[err + offsetof(struct virtio_pci_cap, bar)] = 0;
	dev->pci.wmask[err + offsetof(struct virtio_pci_cap, bar)] = 0xff;
	memset(dev->pci.wmask + err + offsetof(struct virtio_pci_cap, offset), 0xff, 12);
	return 0;
}

int virtio_init(struct virtio_dev *dev, struct vm *vm)
{
	struct pci_dev *pci = &dev->pci;
	int err;

	dev->vm = vm;
	if (!dev->nr_queues)
		dev->nr_queues = dev->ops->nr_queues;
	dev->vq = calloc(dev->nr_queues, sizeof(*dev->vq));
	if (!dev->vq)
		return -ENOMEM;
	dev->offered |= 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
			1ull << VIRTIO_RING_F_EVENT_IDX | (dev->split_only ? 0 : 1ull << VIRTIO_F_RING_PACKED);
	pthread_mutex_init(&dev->lock, NULL);

	pci->name = dev->ops->name;
	pci_put16(pci->cfg + PCI_VENDOR_ID, 0x1af4);
	pci_put16(pci->cfg + PCI_DEVICE_ID, 0x1040 + dev->ops->id);
	pci->cfg[PCI_REVISION_ID] = 1;
	memcpy(pci->cfg + PCI_CLASS_PROG, dev->ops->class, 3);
	pci_put16(pci->cfg + PCI_SUBSYSTEM_VENDOR_ID, 0x1af4);
	pci_put16(pci->cfg + PCI_SUBSYSTEM_ID, 0x1100);
	pci->cfg[PCI_INTERRUPT_PIN] = 1;
	pci->bar[REG_BAR] = (struct pci_bar){
		.size = REG_BAR_SIZE,
		.mem64 = true,
		.prefetch = true,
		.ops = &reg_ops,
		.opaque = dev,
		.moved = reg_moved,
	};
	if (dev->transitional) {
		uint64_t size = 32;

		while (size < VIRTIO_PCI_CONFIG_OFF(true) + dev->ops->config_size)
			size *= 2;
		pci_put16(pci->cfg + PCI_DEVICE_ID, dev->ops->id == 1 ? 0x1000 : 0x1001);
		pci->cfg[PCI_REVISION_ID] = 0;
		pci_put16(pci->cfg + PCI_SUBSYSTEM_ID, dev->ops->id);
		pci->bar[LEGACY_BAR] = (struct pci_bar){ .size = size, .io = true, .ops = &legacy_ops, .opaque = dev };
	}
	pci->cfg_read = virtio_cfg_read;
	pci->cfg_written = virtio_cfg_written;
	pci->reset = virtio_pci_reset;
	err = add_caps(dev);
	if (!err && dev->slot) {
		dev->slot->pci = pci;
		err = hotplug_add(vm, dev->slot);
	} else if (!err) {
		err = pci_add(vm->pci, pci, -1);
	}
	if (err) {
		msg_error("put %s on the PCI bus: %s", dev->ops->name, strerror(-err));
		pci_dev_exit(pci);
		pthread_mutex_destroy(&dev->lock);
		free(dev->vq);
		return err;
	}
	virtio_reset(dev);
	return 0;
}

void virtio_exit(struct virtio_dev *dev)
{
	virtio_reset(dev);
	if (dev->slot)
		hotplug_forget(dev->vm, dev->slot);
	pci_dev_exit(&dev->pci);
	pthread_mutex_destroy(&dev->lock);
	free(dev->vq);
}
