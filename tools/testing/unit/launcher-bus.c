// SPDX-License-Identifier: GPL-2.0-only
/*
 * launcher-bus.c - regions and the splitting of accesses; the oracle is a byte array behind a recording
 * device
 */
#include <errno.h>
#include <string.h>

#include "launcher/bus.h"
#include "launcher/vm.h"
#include "tap.h"

#define NR_CALLS	64

static struct call {
	uint64_t off;
	unsigned int len;
	bool write;
} calls[NR_CALLS];
static unsigned int nr_calls;
static bool misaligned, unlocked_call;
static struct vm vm;

struct mem {
	uint64_t base;
	uint8_t byte[256];
};

static void record(const struct mem *m, uint64_t off, unsigned int len, bool write)
{
	if (len > 8 || (len & (len - 1)) || ((m->base + off) & (len - 1)))
		misaligned = true;
	if (!pthread_mutex_trylock(&vm.lock)) {
		unlocked_call = true;
		pthread_mutex_unlock(&vm.lock);
	}
	if (nr_calls < NR_CALLS)
		calls[nr_calls] = (struct call) { off, len, write };
	nr_calls++;
}

static uint64_t mem_read(void *opaque, uint64_t off, unsigned int len)
{
	struct mem *m = opaque;
	uint64_t val = 0xa5a5a5a5a5a5a5a5ull;	/* the bytes beyond len must not matter */

	record(m, off, len, false);
	memcpy(&val, m->byte + off, len);
	return val;
}

static void mem_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct mem *m = opaque;

	record(m, off, len, true);
	memcpy(m->byte + off, &val, len);
}

static const struct region_ops mem_ops = { .read = mem_read, .write = mem_write };
static const struct region_ops unlocked_ops = { .read = mem_read, .write = mem_write, .unlocked = true };
static const struct region_ops mute_ops = { 0 };

static void test_table(void)
{
	static struct mem m;
	struct bus bus;
	uint64_t val;

	bus_init(&bus, false);
	is_u64((uint64_t)-bus_add(&bus, 0x1000, 0, &mem_ops, &m, "m"), EINVAL, "an empty region is refused");
	is_u64((uint64_t)-bus_add(&bus, UINT64_MAX, 2, &mem_ops, &m, "m"), EINVAL,
	       "one that wraps is refused");
	is_u64((uint64_t)bus_add(&bus, 0x1000, 0x10, &mem_ops, &m, "m"), 0, "a region is added");
	is_u64((uint64_t)-bus_add(&bus, 0x100f, 1, &mem_ops, &m, "m"), EEXIST, "overlap at its end");
	is_u64((uint64_t)-bus_add(&bus, 0xfff, 2, &mem_ops, &m, "m"), EEXIST, "overlap at its start");
	is_u64((uint64_t)-bus_add(&bus, 0x0, 0x10000, &mem_ops, &m, "m"), EEXIST, "overlap of the whole");
	is_u64((uint64_t)-bus_add(&bus, 0x1004, 4, &mem_ops, &m, "m"), EEXIST, "overlap inside");
	is_u64((uint64_t)bus_add(&bus, 0x1010, 1, &mem_ops, &m, "m"), 0, "a neighbour above");
	is_u64((uint64_t)bus_add(&bus, 0xfff, 1, &mem_ops, &m, "m"), 0, "a neighbour below");
	is_u64((uint64_t)bus_add(&bus, UINT64_MAX, 1, &mem_ops, &m, "m"), 0, "the last byte of all");
	bus_remove(&bus, 0x1000, 0x8);
	is_u64(bus.nr, 4, "removal needs the exact size");
	bus_remove(&bus, 0x1000, 0x10);
	is_u64(bus.nr, 3, "removal");
	bus_access(&vm, &bus, 0x1000, &val, 8, false);
	is_u64(val, UINT64_MAX, "reads of nothing give all ones");
	is_u64((uint64_t)bus_add(&bus, 0x2000, 8, &mute_ops, &m, "mute"), 0, "a region without functions");
	bus_access(&vm, &bus, 0x2000, &val, 8, false);
	is_u64(val, UINT64_MAX, "reads all ones as well");
	bus_access(&vm, &bus, 0x2000, &val, 8, true);
	bus_exit(&bus);

	bus_init(&bus, true);
	is_u64((uint64_t)-bus_add(&bus, 0xffff, 2, &mem_ops, &m, "m"), EINVAL, "ports end at 0xffff");
	is_u64((uint64_t)bus_add(&bus, 0xfffc, 4, &mem_ops, &m, "m"), 0, "the last four ports");
	nr_calls = 0;
	bus_access(&vm, &bus, 0xfffc, &val, 8, false);
	ok(nr_calls == 1 && calls[0].len == 4 && (uint32_t)(val >> 32) == UINT32_MAX,
	   "beyond the last port is nothing");
	bus_exit(&bus);

	/* Many regions, added in no order: every one is found. */
	bus_init(&bus, false);
	static struct mem many[200];
	bool found = true;

	for (unsigned int i = 0; i < 200; i++) {
		unsigned int n = i * 77 % 200;

		many[n].base = n * 0x10ull;
		many[n].byte[3] = (uint8_t)n;
		found &= !bus_add(&bus, many[n].base, 4 + n % 12, &mem_ops, &many[n], "many");
	}
	for (unsigned int n = 0; n < 200; n++) {
		uint8_t byte = 0;

		bus_access(&vm, &bus, n * 0x10 + 3, &byte, 1, false);
		found &= byte == n;
	}
	ok(found, "200 regions are found");
	bus_exit(&bus);
}

/* Two adjacent regions, a hole, a third; every address and length against the byte arrays. */
static void test_split(bool pio)
{
	static struct mem m[3];

	static const struct {
		uint64_t base, size;
	} at[3] = { { 0x103, 0x1d }, { 0x120, 0x20 }, { 0x155, 0x2b } };
	uint8_t model[0x100], data[64], want[64];
	bool reads = true, writes = true;
	unsigned int max = 0;
	uint64_t seed = tap_seed(42);
	struct bus bus;

	bus_init(&bus, pio);
	memset(model, 0xff, sizeof(model));
	for (unsigned int i = 0; i < 3; i++) {
		m[i].base = at[i].base;
		bus_add(&bus, at[i].base, at[i].size, i == 1 ? &unlocked_ops : &mem_ops, &m[i], "m");
		for (unsigned int j = 0; j < at[i].size; j++)
			model[at[i].base - 0x100 + j] = m[i].byte[j] = (uint8_t)tap_random(&seed);
	}
	misaligned = false;
	for (unsigned int len = 1; len <= 64; len++) {
		for (unsigned int addr = 0; addr + len <= sizeof(model); addr++) {
			nr_calls = 0;
			bus_access(&vm, &bus, 0x100 + addr, data, len, false);
			reads &= !memcmp(data, model + addr, len);
			for (unsigned int i = 0; i < nr_calls && i < NR_CALLS; i++)
				max = calls[i].len > max ? calls[i].len : max;

			for (unsigned int i = 0; i < len; i++)
				want[i] = (uint8_t)tap_random(&seed);
			bus_access(&vm, &bus, 0x100 + addr, want, len, true);
			for (unsigned int i = 0; i < 3; i++) {
				for (unsigned int j = 0; j < at[i].size; j++) {
					unsigned int a = (unsigned int)at[i].base - 0x100 + j;

					if (a >= addr && a < addr + len)
						model[a] = want[a - addr];
					writes &= m[i].byte[j] == model[a];
				}
			}
		}
	}
	ok(reads, "%s: reads of 1 to 64 bytes at every address", pio ? "ports" : "memory");
	ok(writes, "%s: writes of 1 to 64 bytes at every address", pio ? "ports" : "memory");
	ok(!misaligned, "%s: pieces are naturally aligned", pio ? "ports" : "memory");
	is_u64(max, pio ? 4 : 8, "%s: the largest piece", pio ? "ports" : "memory");
	bus_exit(&bus);
}

static void test_lock(void)
{
	static struct mem m;
	struct bus bus;
	uint32_t val;

	bus_init(&bus, false);
	bus_add(&bus, 0, 8, &mem_ops, &m, "locked");
	bus_add(&bus, 8, 8, &unlocked_ops, &m, "unlocked");
	unlocked_call = false;
	bus_access(&vm, &bus, 0, &val, 4, false);
	ok(!unlocked_call, "the device lock is held");
	bus_access(&vm, &bus, 8, &val, 4, false);
	ok(unlocked_call, "and not for an unlocked region");
	bus_exit(&bus);
}

int main(void)
{
	pthread_mutex_init(&vm.lock, NULL);
	test_table();
	test_split(false);
	test_split(true);
	test_lock();
	return tap_done();
}
