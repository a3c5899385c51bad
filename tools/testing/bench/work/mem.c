// SPDX-License-Identifier: GPL-2.0-only
/* Memory: what the software MMU costs on streaming, dependent and block accesses. */
#include "ub.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *big(size_t n)
{
	void *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		ub_die("mmap");
	return p;
}

/* mem_triad: n passes a = b + 3 c over 3 x 16 MiB */
static uint64_t mem_triad(uint64_t n)
{
	enum { M = 2 << 20 };

	double *a = big(M * 8), *b = big(M * 8), *c = big(M * 8);
	for (int i = 0; i < M; i++) {
		b[i] = i & 255;
		c[i] = 1;
	}
	while (n--) {
		for (int i = 0; i < M; i++)
			a[i] = b[i] + 3.0 * c[i];
		c[n % M] += 1;
		__asm__ volatile("" ::: "memory");
	}
	double s = 0;
	for (int i = 0; i < M; i += 1111)
		s += a[i];
	return ub_mixd(0, s);
}

/* mem_chase / mem_chase_l2: n dependent loads round a random cycle of cache lines */
static uint64_t chase(uint64_t n, size_t bytes)
{
	size_t lines = bytes / 64;
	uint8_t *p = big(bytes);
	uint64_t s = 11;
	uint32_t *perm = big(lines * 4);
	for (size_t i = 0; i < lines; i++)
		perm[i] = (uint32_t)i;
	for (size_t i = lines - 1; i; i--) {
		size_t j = ub_rng(&s) % i;
		uint32_t t = perm[i];
		perm[i] = perm[j];
		perm[j] = t;
	}
	for (size_t i = 0; i < lines; i++)
		*(void **)(p + (size_t)i * 64) = p + (size_t)perm[i] * 64;
	void **q = (void **)p;
	while (n >= 8) {
		q = *q;
		q = *q;
		q = *q;
		q = *q;
		q = *q;
		q = *q;
		q = *q;
		q = *q;
		n -= 8;
	}
	return 1 + (uint64_t)((uint8_t *)q - p);
}

static uint64_t mem_chase(uint64_t n)
{
	return chase(n, 64u << 20);
}

static uint64_t mem_chase_l2(uint64_t n)
{
	return chase(n, 512u << 10);
}

/* mem_copy: n MiB of libc memcpy, 8 MiB blocks; mem_copy_small: n x 64..255 byte copies */
static uint64_t mem_copy(uint64_t n)
{
	uint8_t *a = big(8 << 20), *b = big(8 << 20);
	memset(a, 5, 8 << 20);
	for (uint64_t i = 0; i < n; i += 8) {
		memcpy(b, a, 8 << 20);
		a[i & 0xfffff] ^= b[77];
		__asm__ volatile("" ::: "memory");
	}
	return b[123] + 1000u + a[0];
}

static uint64_t mem_copy_small(uint64_t n)
{
	static uint8_t buf[65536];
	uint64_t h = 0;
	for (int i = 0; i < 65536; i++)
		buf[i] = (uint8_t)(i * 7);
	for (uint64_t i = 0; i < n; i++) {
		size_t len = 64 + (i * 29 % 192);
		memcpy(buf + 32768 + (i * 37 & 8191), buf + (i * 53 & 8191), len);
		__asm__ volatile("" ::: "memory");
		h += buf[32768 + (i * 37 & 8191)];
	}
	return h;
}

/* mem_rep: n MiB of rep movsq + rep stosb (what kernels use for pages) */
static uint64_t mem_rep(uint64_t n)
{
	uint8_t *a = big(1 << 20), *b = big(1 << 20);
	memset(a, 9, 1 << 20);
	for (uint64_t i = 0; i < n; i++)
		for (size_t o = 0; o < 1 << 20; o += 4096) {
			void *d = b + o, *s = a + o;
			size_t c = 512;
			if (i & 1)
				__asm__ volatile("rep stosq" : "+D"(d), "+c"(c) : "a"(i) : "memory");
			else
				__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(c)::"memory");
		}
	return b[4097] + 1000u;
}
const struct ub_entry ub_mem[] = { { "mem_triad", mem_triad },
				   { "mem_chase", mem_chase },
				   { "mem_chase_l2", mem_chase_l2 },
				   { "mem_copy", mem_copy },
				   { "mem_copy_small", mem_copy_small },
				   { "mem_rep", mem_rep },
				   { 0, 0 } };
