/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ub: one static multi-call micro-benchmark binary.
 * Every benchmark is   uint64_t f(uint64_t n)   : do n units of work, return
 * a checksum.  The checksum is deterministic for a given n, so an emulator's
 * answer can be compared with the native one.  0 means "nothing to check".
 */
#ifndef UB_H
#define UB_H
#include <stdint.h>
#include <stddef.h>

typedef uint64_t (*ub_fn)(uint64_t n);

struct ub_entry {
	const char *name;
	ub_fn fn;
};
extern const struct ub_entry ub_int[], ub_fp[], ub_vec[], ub_mem[], ub_os[], ub_legacy[];

static inline uint64_t ub_rng(uint64_t *s)
{
	uint64_t x = *s;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *s = x;
}

static inline uint64_t ub_mixd(uint64_t h, double d)
{
	union {
		double d;
		uint64_t u;
	} v = { d };

	return (h ^ v.u) * 0x9E3779B97F4A7C15ull;
}

_Noreturn void ub_die(const char *what);
#endif
