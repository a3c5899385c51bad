/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio-drv.h - a driver's half of virtio over PCI, for devices with several queues on a fake machine
 */
#ifndef TENON_VIRTIO_DRV_H
#define TENON_VIRTIO_DRV_H

#include <time.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "launcher/virtio/virtio.h"
#include "machine-fake.h"

#define DEVFN		(2 << 3)
#define QSIZE		16u
#define Q_BASE(q)	(0x10000u + (q) * 0x4000u)
#define DESC(q)		Q_BASE(q)
#define AVAIL(q)	(Q_BASE(q) + 0x1000u)
#define USED(q)		(Q_BASE(q) + 0x2000u)
#ifndef DRV_QUEUES
#define DRV_QUEUES	3
#endif

static struct vm *vm;
static void *pci;
static uint64_t bar, msix;
static unsigned int nr_queues;
static uint16_t avail_idx[DRV_QUEUES];

static inline void *ram(uint64_t gpa)
{
	return (char *)vm->ram[0].host + gpa;
}

static inline uint64_t cap_addr(uint8_t type)
{
	unsigned int cap = cfg_get(vm, DEVFN, PCI_CAPABILITY_LIST, 1), n;

	for (n = 0; cap && n < 48; n++, cap = cfg_get(vm, DEVFN, cap + 1, 1))
		if (cfg_get(vm, DEVFN, cap, 1) == PCI_CAP_ID_VNDR && cfg_get(vm, DEVFN, cap + 3, 1) == type)
			return bar + cfg_get(vm, DEVFN, cap + offsetof(struct virtio_pci_cap, offset), 4);
	return 0;
}

static inline uint32_t common(unsigned int reg, unsigned int len)
{
	return mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_COMMON_CFG) + reg, len);
}

static inline void set_common(unsigned int reg, uint64_t val, unsigned int len)
{
	mmio_write(vm, cap_addr(VIRTIO_PCI_CAP_COMMON_CFG) + reg, val, len);
}

static inline uint64_t offered(void)
{
	uint64_t features;

	set_common(VIRTIO_PCI_COMMON_DFSELECT, 0, 4);
	features = common(VIRTIO_PCI_COMMON_DF, 4);
	set_common(VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	return features | (uint64_t)common(VIRTIO_PCI_COMMON_DF, 4) << 32;
}

/* Reset, negotiate, set up the queues, go. */
static inline bool start(uint64_t features)
{
	unsigned int q;

	set_common(VIRTIO_PCI_COMMON_STATUS, 0, 1);	/* no worker looks at the rings from here on */
	set_common(VIRTIO_PCI_COMMON_STATUS, 3, 1);
	features |= 1ull << VIRTIO_F_VERSION_1;
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	set_common(VIRTIO_PCI_COMMON_GF, features, 4);
	set_common(VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	set_common(VIRTIO_PCI_COMMON_GF, features >> 32, 4);
	set_common(VIRTIO_PCI_COMMON_STATUS, 11, 1);
	if (!(common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_FEATURES_OK))
		return false;
	for (q = 0; q < nr_queues; q++) {
		memset(ram(DESC(q)), 0, 0x3000);
		avail_idx[q] = 0;
		set_common(VIRTIO_PCI_COMMON_Q_SELECT, q, 2);
		set_common(VIRTIO_PCI_COMMON_Q_SIZE, QSIZE, 2);
		set_common(VIRTIO_PCI_COMMON_Q_MSIX, q, 2);
		set_common(VIRTIO_PCI_COMMON_Q_DESCLO, DESC(q), 8);
		set_common(VIRTIO_PCI_COMMON_Q_AVAILLO, AVAIL(q), 8);
		set_common(VIRTIO_PCI_COMMON_Q_USEDLO, USED(q), 8);
		set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	}
	set_common(VIRTIO_PCI_COMMON_STATUS, 15, 1);
	return true;
}

static inline void desc(unsigned int q, unsigned int i, uint64_t addr, uint32_t len, uint16_t flags,
			uint16_t next)
{
	struct vring_desc d = { addr, len, flags, next };

	dma_write(vm, DESC(q) + 16 * i, &d, sizeof(d));
}

static inline void notify(unsigned int q)
{
	mmio_write(vm, cap_addr(VIRTIO_PCI_CAP_NOTIFY_CFG) + 4 * q, q, 2);
}

/* Make a chain available without saying so. */
static inline void offer(unsigned int q, uint16_t head)
{
	dma_write(vm, AVAIL(q) + 4 + 2 * (avail_idx[q] % QSIZE), &head, 2);
	avail_idx[q]++;
	__atomic_store_n((uint16_t *)ram(AVAIL(q) + 2), avail_idx[q], __ATOMIC_RELEASE);
}

static inline void kick(unsigned int q, uint16_t head)
{
	offer(q, head);
	notify(q);
}

static inline uint16_t used_idx(unsigned int q)
{
	return __atomic_load_n((uint16_t *)ram(USED(q) + 2), __ATOMIC_ACQUIRE);
}

static inline struct vring_used_elem used_elem(unsigned int q, uint16_t idx)
{
	struct vring_used_elem e;

	dma_read(vm, USED(q) + 4 + sizeof(e) * (idx % QSIZE), &e, sizeof(e));
	return e;
}

static inline void pause_ms(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Wait until @cond holds, five seconds at most. */
#define wait_for(cond) ({						\
	unsigned int wait_n;						\
									\
	for (wait_n = 0; wait_n < 5000 && !(cond); wait_n++)		\
		pause_ms();						\
	!!(cond);							\
})

static inline bool completed(unsigned int q)
{
	return wait_for(used_idx(q) == avail_idx[q]);
}

static inline bool needs_reset(void)
{
	return wait_for(common(VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static inline void drv_enable(void)
{
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static inline void drv_init(unsigned int queues)
{
	nr_queues = queues;
	bar = cfg_get(vm, DEVFN, 0x20, 4) & ~15u;
	msix = cfg_get(vm, DEVFN, 0x14, 4) & ~15u;
	drv_enable();
}

/* One register access without sense; what would only end the test is put right again. */
static inline void random_access(uint64_t r, uint64_t val)
{
	switch (r & 3) {
	case 0:
		mmio_write(vm, bar + (r >> 8 & 63), val, 1 << (r >> 16 & 3));
		break;
	case 1:
		mmio_write(vm, bar + (r >> 8 & 0x3fff & ~7), val, 1 << (r >> 32 & 3));
		mmio_read(vm, bar + (r >> 8 & 0x3fff & ~7), 1 << (r >> 32 & 3));
		break;
	case 2:
		cfg_set(vm, DEVFN, r >> 8 & 0xff & ~3, val, 4);
		drv_enable();
		cfg_set(vm, DEVFN, 0x20, bar, 4);
		cfg_set(vm, DEVFN, 0x24, 0, 4);
		cfg_set(vm, DEVFN, 0x14, msix, 4);
		break;
	case 3:
		mmio_write(vm, msix + (r >> 8 & 0xfff & ~3), val, 4);
		break;
	}
}

static inline void machine_reset(void)
{
	pthread_mutex_lock(&vm->lock);
	pci_host_device.reset(vm, pci);
	pthread_mutex_unlock(&vm->lock);
	drv_enable();
}

#endif /* TENON_VIRTIO_DRV_H */
