/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bus.h - address regions and the devices behind them
 */
#ifndef TENON_BUS_H
#define TENON_BUS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

/*
 * A device's answer to accesses in its region. off is relative to the region's base; len is 1 to 8 (larger
 * and unaligned guest accesses are split by the bus into naturally sized ones). Called with the device lock
 * held, unless the region is `unlocked`; such a region can't be removed while vCPUs run.
 */
struct region_ops {
	uint64_t (*read)(void *opaque, uint64_t off, unsigned int len);
	void (*write)(void *opaque, uint64_t off, uint64_t val, unsigned int len);
	bool unlocked;
};

struct region {
	uint64_t base, size;
	const struct region_ops *ops;
	void *opaque;
	const char *name;
};

/* Regions sorted by base. Changed with the device lock held; looked up under a read lock of its own. */
struct bus {
	pthread_rwlock_t lock;
	struct region *region;
	unsigned int nr, cap;
	atomic_uint removals;		/* of regions */
	bool is_pio;
};

void bus_init(struct bus *bus, bool is_pio);
void bus_exit(struct bus *bus);
/* 0, -EEXIST if it overlaps another region, -EINVAL if empty or wrapping, -ENOMEM. */
int bus_add(struct bus *bus, uint64_t base, uint64_t size, const struct region_ops *ops, void *opaque,
	    const char *name);
void bus_remove(struct bus *bus, uint64_t base, uint64_t size);
/* A vCPU's access. Reads of nothing give all ones, writes to nothing are dropped. */
void bus_access(struct vm *vm, struct bus *bus, uint64_t addr, void *data, unsigned int len, bool write);

#endif /* TENON_BUS_H */
