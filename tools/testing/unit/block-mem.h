/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * block-mem.h - a file in memory that knows what a crash would leave of it
 *
 * What was written since the last sync is kept as events. A crash leaves the durable content and any subset
 * of the events' sectors.
 */
#ifndef TENON_BLOCK_MEM_H
#define TENON_BLOCK_MEM_H

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "launcher/block/qcow2.h"
#include "tap.h"

#define MEM_MAX (256ull << 20)

struct mem_event {
	uint64_t off, len;
	uint8_t *data; /* NULL: the size becomes off */
};

struct mem {
	struct bfile f;
	uint8_t *now, *durable;
	uint64_t size, durable_size, limit;
	struct mem_event *ev;
	unsigned int nr_ev, max_ev;
	bool log, fail_sync;
	void (*hook)(struct mem *m); /* after every change */
	bool *closed;
};

static inline void mem_record(struct mem *m, uint64_t off, uint64_t len)
{
	struct mem_event *e;

	if (!m->log)
		return;
	if (m->nr_ev == m->max_ev) {
		m->max_ev = m->max_ev * 2 + 16;
		m->ev = realloc(m->ev, m->max_ev * sizeof(*m->ev));
	}
	e = &m->ev[m->nr_ev++];
	*e = (struct mem_event){ off, len, NULL };
	if (len) {
		e->data = malloc(len);
		memcpy(e->data, m->now + off, len);
	}
	if (m->hook)
		m->hook(m);
}

static inline int64_t mem_read(struct bfile *f, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct mem *m = (struct mem *)f;
	uint64_t got = off >= m->size ? 0 : m->size - off < len ? m->size - off : len;

	cursor_put(cur, m->now + (got ? off : 0), got);
	cursor_zero(cur, len - got);
	return got;
}

static inline int mem_write(struct bfile *f, struct block_cursor *cur, uint64_t len, uint64_t off)
{
	struct mem *m = (struct mem *)f;

	if (off > m->limit || len > m->limit - off)
		return -ENOSPC;
	cursor_get(cur, m->now + off, len);
	if (off + len > m->size)
		m->size = off + len;
	mem_record(m, off, len);
	return 0;
}

static inline int mem_sync(struct bfile *f)
{
	struct mem *m = (struct mem *)f;
	unsigned int i;

	if (m->fail_sync)
		return -EIO;
	for (i = 0; i < m->nr_ev; i++) {
		if (m->ev[i].data)
			memcpy(m->durable + m->ev[i].off, m->ev[i].data, m->ev[i].len);
		free(m->ev[i].data);
	}
	m->nr_ev = 0;
	m->durable_size = m->size;
	if (m->hook)
		m->hook(m);
	return 0;
}

static inline int64_t mem_size(struct bfile *f)
{
	return ((struct mem *)f)->size;
}

static inline int mem_resize(struct bfile *f, uint64_t size)
{
	struct mem *m = (struct mem *)f;

	if (size > m->limit)
		return -ENOSPC;
	if (size < m->size)
		memset(m->now + size, 0, m->size - size);
	m->size = size;
	mem_record(m, size, 0);
	return 0;
}

static inline int mem_zero(struct bfile *f, uint64_t off, uint64_t len, bool unmap)
{
	struct mem *m = (struct mem *)f;

	(void)unmap;
	if (off >= m->size)
		return 0;
	if (len > m->size - off)
		len = m->size - off;
	memset(m->now + off, 0, len);
	mem_record(m, off, len);
	return 0;
}

static inline void mem_close(struct bfile *f)
{
	struct mem *m = (struct mem *)f;
	unsigned int i;

	for (i = 0; i < m->nr_ev; i++)
		free(m->ev[i].data);
	free(m->ev);
	munmap(m->now, MEM_MAX);
	munmap(m->durable, MEM_MAX);
	free(m);
}

static const struct bfile_ops mem_ops = {
	.read = mem_read,
	.write = mem_write,
	.sync = mem_sync,
	.size = mem_size,
	.resize = mem_resize,
	.zero = mem_zero,
	.close = mem_close,
};

static inline struct mem *mem_new(void)
{
	struct mem *m = calloc(1, sizeof(*m));

	m->f.ops = &mem_ops;
	m->f.path = strdup("(memory)");
	m->limit = MEM_MAX;
	m->now = mmap(NULL, MEM_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	m->durable = mmap(NULL, MEM_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);
	return m;
}

/* What a crash now might leave: of the events' sectors each with a probability of @of_16 in 16. */
static inline struct mem *mem_crash(const struct mem *m, uint64_t *seed, unsigned int of_16)
{
	struct mem *c = mem_new();
	unsigned int i;

	memcpy(c->now, m->durable, m->durable_size);
	c->size = m->durable_size;
	for (i = 0; i < m->nr_ev; i++) {
		const struct mem_event *e = &m->ev[i];
		uint64_t at, n;

		if (!e->data) {
			if (tap_random(seed) % 16 < of_16)
				c->size = e->off > c->size ? e->off : c->size;
			continue;
		}
		for (at = 0; at < e->len; at += n) {
			n = 512 - (e->off + at) % 512;
			if (n > e->len - at)
				n = e->len - at;
			if (tap_random(seed) % 16 >= of_16)
				continue;
			memcpy(c->now + e->off + at, e->data + at, n);
			if (c->size < e->off + at + n)
				c->size = e->off + at + n;
		}
	}
	return c;
}

static inline int mem_open(struct block *blk, struct mem *m, bool readonly, struct block *backing)
{
	const struct block_options opts = { .format = &block_qcow2, .readonly = readonly, .discard = true };

	return block_open_file(blk, "(memory)", &m->f, backing, &opts, 0);
}

#endif /* TENON_BLOCK_MEM_H */
