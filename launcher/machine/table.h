/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * table.h - a growing little-endian byte buffer with an end, for tables of firmware and AML
 */
#ifndef TENON_TABLE_H
#define TENON_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct table {
	uint8_t *data;
	size_t len, cap;
	bool full;			/* something did not fit; looked at once, at the end */
};

/* Make room for @len bytes; returns where, or NULL. */
static inline uint8_t *table_grow(struct table *t, size_t len)
{
	if (t->full || len > t->cap - t->len) {
		t->full = true;
		return NULL;
	}
	t->len += len;
	return t->data + t->len - len;
}

static inline void table_put(struct table *t, const void *data, size_t len)
{
	uint8_t *at = table_grow(t, len);

	if (at && len)
		memcpy(at, data, len);
}

static inline void table_int(struct table *t, uint64_t val, unsigned int len)
{
	uint8_t *at = table_grow(t, len);
	unsigned int i;

	for (i = 0; at && i < len; i++)
		at[i] = val >> 8 * i;
}

static inline void put8(struct table *t, uint8_t val)
{
	table_int(t, val, 1);
}

static inline void put16(struct table *t, uint16_t val)
{
	table_int(t, val, 2);
}

static inline void put32(struct table *t, uint32_t val)
{
	table_int(t, val, 4);
}

static inline void put64(struct table *t, uint64_t val)
{
	table_int(t, val, 8);
}

static inline void table_zero(struct table *t, size_t len)
{
	uint8_t *at = table_grow(t, len);

	if (at)
		memset(at, 0, len);
}

/* Overwrite what is there already. */
static inline void table_set(struct table *t, size_t at, uint64_t val, unsigned int len)
{
	unsigned int i;

	for (i = 0; i < len && at + i < t->len; i++)
		t->data[at + i] = val >> 8 * i;
}

static inline void table_align(struct table *t, size_t align)
{
	table_zero(t, -t->len & (align - 1));
}

#endif /* TENON_TABLE_H */
