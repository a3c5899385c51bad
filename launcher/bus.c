// SPDX-License-Identifier: GPL-2.0-only
/*
 * bus.c - address regions and the devices behind them
 *
 * A region found is copied out and the table unlocked before the device is called, so a device may move
 * regions about (PCI BARs) from its own callback. What a vCPU has found may be gone by the time it has the
 * device lock: it looks again then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus.h"
#include "vm.h"

#define BUS_MAX_PIO	4u
#define BUS_MAX_MMIO	8u

void bus_init(struct bus *bus, bool is_pio)
{
	memset(bus, 0, sizeof(*bus));
	pthread_rwlock_init(&bus->lock, NULL);
	bus->is_pio = is_pio;
}

void bus_exit(struct bus *bus)
{
	free(bus->region);
	bus->region = NULL;
	bus->nr = bus->cap = 0;
	pthread_rwlock_destroy(&bus->lock);
}

/* Index of the first region that ends above @addr; bus->nr if there is none. */
static unsigned int bus_search(const struct bus *bus, uint64_t addr)
{
	unsigned int lo = 0, hi = bus->nr;

	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;
		const struct region *r = &bus->region[mid];

		if (r->base + (r->size - 1) < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int bus_add(struct bus *bus, uint64_t base, uint64_t size, const struct region_ops *ops, void *opaque,
	    const char *name)
{
	unsigned int i;
	uint64_t last;
	int ret = 0;

	if (!size || !ops || __builtin_add_overflow(base, size - 1, &last))
		return -EINVAL;
	if (bus->is_pio && last > 0xffff)
		return -EINVAL;

	pthread_rwlock_wrlock(&bus->lock);
	i = bus_search(bus, base);
	if (i < bus->nr && bus->region[i].base <= last) {
		ret = -EEXIST;
		goto out;
	}
	if (bus->nr == bus->cap) {
		unsigned int cap = bus->cap ? bus->cap * 2 : 32;
		struct region *region = realloc(bus->region, cap * sizeof(*region));

		if (!region) {
			ret = -ENOMEM;
			goto out;
		}
		bus->region = region;
		bus->cap = cap;
	}
	memmove(&bus->region[i + 1], &bus->region[i], (bus->nr - i) * sizeof(*bus->region));
	bus->region[i] = (struct region) {
		.base = base,
		.size = size,
		.ops = ops,
		.opaque = opaque,
		.name = name,
	};
	bus->nr++;
out:
	pthread_rwlock_unlock(&bus->lock);
	return ret;
}

void bus_remove(struct bus *bus, uint64_t base, uint64_t size)
{
	unsigned int i;

	pthread_rwlock_wrlock(&bus->lock);
	i = bus_search(bus, base);
	if (i < bus->nr && bus->region[i].base == base && bus->region[i].size == size) {
		bus->nr--;
		memmove(&bus->region[i], &bus->region[i + 1], (bus->nr - i) * sizeof(*bus->region));
		atomic_fetch_add(&bus->removals, 1);
	}
	pthread_rwlock_unlock(&bus->lock);
}

/*
 * Find what is at @addr. @room gets the number of bytes, 8 at most, from @addr on that belong to the same
 * region, or to none.
 */
static bool bus_find(struct bus *bus, uint64_t addr, struct region *found, uint64_t *room)
{
	const struct region *r;
	bool hit = false;
	unsigned int i;

	*room = BUS_MAX_MMIO;
	pthread_rwlock_rdlock(&bus->lock);
	i = bus_search(bus, addr);
	if (i < bus->nr) {
		uint64_t gap;

		r = &bus->region[i];
		hit = r->base <= addr;
		if (hit) {
			*found = *r;
			gap = r->size - (addr - r->base);
		} else {
			gap = r->base - addr;
		}
		if (gap < *room)
			*room = gap;
	}
	pthread_rwlock_unlock(&bus->lock);
	return hit;
}

/* With the device lock held. */
static bool bus_has(struct bus *bus, const struct region *r)
{
	unsigned int i = bus_search(bus, r->base);

	return i < bus->nr && bus->region[i].base == r->base && bus->region[i].opaque == r->opaque &&
	       bus->region[i].ops == r->ops;
}

/* The largest naturally aligned access at @addr that has no more than @room bytes. */
static unsigned int bus_piece(uint64_t addr, uint64_t room)
{
	unsigned int len = BUS_MAX_MMIO;

	while (len > room || (addr & (len - 1)))
		len >>= 1;
	return len;
}

static void bus_one(struct vm *vm, struct bus *bus, const struct region *r, unsigned int removals, uint64_t off,
		    uint8_t *data, unsigned int len, bool write)
{
	uint64_t val = 0;

	if (!r->ops->unlocked)
		pthread_mutex_lock(&vm->lock);
	if (!r->ops->unlocked && atomic_load(&bus->removals) != removals && !bus_has(bus, r)) {
		val = UINT64_MAX;	/* the device went while this waited for the lock */
	} else if (!write) {
		val = r->ops->read ? r->ops->read(r->opaque, off, len) : UINT64_MAX;
	} else if (r->ops->write) {
		memcpy(&val, data, len);	/* the bus is little-endian, as the hosts are */
		r->ops->write(r->opaque, off, val, len);
	}
	if (!r->ops->unlocked)
		pthread_mutex_unlock(&vm->lock);
	if (!write)
		memcpy(data, &val, len);
}

void bus_access(struct vm *vm, struct bus *bus, uint64_t addr, void *data, unsigned int len, bool write)
{
	uint64_t max = bus->is_pio ? BUS_MAX_PIO : BUS_MAX_MMIO;
	uint8_t *p = data;

	while (len) {
		unsigned int removals = atomic_load(&bus->removals);
		struct region r = { 0 };
		uint64_t room;
		bool hit = bus_find(bus, addr, &r, &room);
		unsigned int piece;

		if (room > max)
			room = max;
		if (room > len)
			room = len;
		piece = bus_piece(addr, room);
		if (hit)
			bus_one(vm, bus, &r, removals, addr - r.base, p, piece, write);
		else if (!write)
			memset(p, 0xff, piece);
		addr += piece;
		p += piece;
		len -= piece;
	}
}
