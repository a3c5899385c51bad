// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-ring.c - virtqueues against a driver that is honest, then against one that is not
 *
 * The oracles of the honest part are "Split Virtqueues" and "Packed Virtqueues" of the VIRTIO specification; that of the hostile part
 * is the sanitizers, and that whatever comes out of vq_pop() keeps its promises.
 */
#include <errno.h>
#include <linux/virtio_ring.h>

#include "launcher/virtio/virtio.h"
#include "machine-fake.h"

#define DESC	0x10000u
#define AVAIL	0x20000u
#define USED	0x30000u
#define TABLE	0x40000u
#define SIZE	8u

static struct vm *vm;
static struct virtqueue vq;
static struct vq_elem elem;

static void desc(unsigned int i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc d = { addr, len, flags, next };

	dma_write(vm, DESC + 16 * i, &d, sizeof(d));
}

static void offer(uint16_t head)
{
	uint16_t idx;

	dma_read(vm, AVAIL + 2, &idx, 2);
	dma_write(vm, AVAIL + 4 + 2 * (idx % SIZE), &head, 2);
	idx++;
	dma_write(vm, AVAIL + 2, &idx, 2);
}

static uint16_t get16(uint64_t gpa)
{
	uint16_t val = 0;

	dma_read(vm, gpa, &val, 2);
	return val;
}

static void set16(uint64_t gpa, uint16_t val)
{
	dma_write(vm, gpa, &val, 2);
}

static void fresh(bool event_idx)
{
	memset(vm->ram[0].host, 0, 0x60000);
	vq = (struct virtqueue){
		.vm = vm, .desc = DESC, .avail = AVAIL, .used = USED, .size = SIZE,
		.enabled = true, .event_idx = event_idx, .indirect = true,
	};
	if (vq_start(&vq))
		abort();
}

static void test_honest(void)
{
	struct vring_used_elem used;
	struct vring_desc table[3] = {
		{ 0x1000, 16, VRING_DESC_F_NEXT, 2 },
		{ 0x3000, 1, VRING_DESC_F_WRITE, 0 },
		{ 0x2000, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1 },
	};

	fresh(false);
	is_u64(vq_pop(&vq, &elem), 0, "an empty queue");
	desc(3, 0x1000, 16, VRING_DESC_F_NEXT, 1);
	desc(1, 0x2000, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0);
	desc(0, 0x3000, 1, VRING_DESC_F_WRITE, 0);
	offer(3);
	is_u64(vq_pop(&vq, &elem), 1, "a chain of three");
	ok(elem.head == 3 && elem.nr_out == 1 && elem.nr_in == 2 && elem.out_len == 16 && elem.in_len == 513,
	   "its head, counts and lengths");
	ok(elem.seg[0].gpa == 0x1000 && elem.seg[1].gpa == 0x2000 && elem.seg[2].gpa == 0x3000, "in order");
	is_u64(vq_pop(&vq, &elem), 0, "only once");
	is_u64(vq_push(&vq, &elem, 513), 0, "given back");
	is_u64(get16(USED + 2), 1, "used index");
	dma_read(vm, USED + 4, &used, sizeof(used));
	ok(used.id == 3 && used.len == 513, "used element");
	ok(vq_wants_interrupt(&vq), "the driver wants an interrupt");
	set16(AVAIL, VRING_AVAIL_F_NO_INTERRUPT);
	ok(!vq_wants_interrupt(&vq), "unless it says it does not");

	fresh(true);
	dma_write(vm, TABLE, table, sizeof(table));
	desc(5, TABLE, sizeof(table), VRING_DESC_F_INDIRECT, 0);
	offer(5);
	is_u64(vq_pop(&vq, &elem), 1, "an indirect chain");
	ok(elem.head == 5 && elem.nr_out == 1 && elem.nr_in == 2 && elem.seg[1].gpa == 0x2000, "follows its "
											       "links");
	set16(AVAIL + 4 + 2 * SIZE, 1);
	vq_push(&vq, &elem, 1);
	ok(!vq_wants_interrupt(&vq), "event index 1: not for the first");
	vq_push(&vq, &elem, 1);
	ok(vq_wants_interrupt(&vq), "but for the second");
	ok(!vq_rearm(&vq), "nothing more");
	is_u64(get16(USED + 4 + 8 * SIZE), 1, "and the device's event index asks for the next");
	offer(5);
	ok(vq_rearm(&vq), "which rearming does not miss");

	fresh(false);
	desc(0, 0x1000, 16, 0, 0);
	for (unsigned int i = 0; i < 70000; i++) {
		offer(0);
		if (vq_pop(&vq, &elem) != 1 || vq_push(&vq, &elem, i))
			break;
	}
	is_u64(vq.next_used, (uint16_t)70000, "indices wrap");
	is_u64(get16(USED + 2), (uint16_t)70000, "in the ring too");
}

static void refused(const char *what)
{
	offer(0);
	is_u64(vq_pop(&vq, &elem), (uint64_t)-EPROTO, "refused: %s (%s)", what, vq.broken ? vq.broken : "?");
	is_u64(vq_pop(&vq, &elem), (uint64_t)-EPROTO, "and stays so");
}

static void test_hostile(void)
{
	struct vring_desc d;

	fresh(false);
	desc(0, 0x1000, 16, VRING_DESC_F_NEXT, 0);
	refused("a loop");
	fresh(false);
	desc(0, 0x1000, 16, VRING_DESC_F_NEXT, SIZE);
	refused("a link out of the table");
	fresh(false);
	desc(0, 0x1000, 16, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	desc(1, 0x1000, 16, 0, 0);
	refused("readable after writable");
	fresh(false);
	desc(0, 0x1000, 0xffffffff, VRING_DESC_F_NEXT, 1);
	desc(1, 0x1000, 0xffffffff, 0, 0);
	refused("4 GiB and more");
	fresh(false);
	desc(0, 0xfffffffffffffff0ull, 0x20, 0, 0);
	refused("wrapping address");
	fresh(false);
	desc(0, TABLE, 24, VRING_DESC_F_INDIRECT, 0);
	refused("odd indirect table");
	fresh(false);
	desc(0, TABLE, 0, VRING_DESC_F_INDIRECT, 0);
	refused("empty indirect table");
	fresh(false);
	desc(0, TABLE, 16 * (VQ_MAX_SEGS + 1), VRING_DESC_F_INDIRECT, 0);
	refused("large indirect table");
	fresh(false);
	desc(0, 1ull << 40, 16, VRING_DESC_F_INDIRECT, 0);
	refused("indirect table outside RAM");
	fresh(false);
	desc(0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	d = (struct vring_desc){ TABLE, 16, VRING_DESC_F_INDIRECT, 0 };
	dma_write(vm, TABLE, &d, sizeof(d));
	refused("nested indirect table");
	fresh(false);
	vq.indirect = false;
	desc(0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	refused("indirect without the feature");
	fresh(false);
	set16(AVAIL + 4, 0xffff);
	set16(AVAIL + 2, 1);
	is_u64(vq_pop(&vq, &elem), (uint64_t)-EPROTO, "refused: head out of range");
	fresh(false);
	set16(AVAIL + 2, SIZE + 1);
	is_u64(vq_pop(&vq, &elem), (uint64_t)-EPROTO, "refused: more available than the ring holds");

	vq.size = 6;
	ok(vq_start(&vq), "refused: size not a power of two");
	vq.size = SIZE;
	vq.desc = DESC + 8;
	ok(vq_start(&vq), "refused: unaligned ring");
	vq.desc = vm->config.memory - 64;
	ok(vq_start(&vq), "refused: ring that leaves RAM");
	vq.desc = 0xfffffffffffffff0ull;
	ok(vq_start(&vq), "refused: ring that wraps");
}

static void test_random(void)
{
	uint64_t seed = tap_seed(0xbadc0de), bad = 0, got = 0, i;

	diag("seed %#llx", (unsigned long long)seed);
	for (i = 0; i < 200000; i++) {
		unsigned int n, k;
		uint64_t out = 0, in = 0;

		if (i % 64 == 0 || vq.broken) {
			fresh(tap_random(&seed) & 1);
			vq.indirect = tap_random(&seed) & 7;
		}
		for (n = 0; n < SIZE; n++) {
			uint64_t r = tap_random(&seed);
			/* Mostly plausible, so that chains get long before they go wrong. */
			uint64_t addr = r & 15 ? TABLE + (r >> 8 & 0xfff0) : tap_random(&seed);
			uint32_t len = r & 0xf0 ? r >> 24 & 0xff0 : r >> 24;
			uint16_t flags = r >> 56 & (r & 0x700 ? 3 : 7),
				 next = r & 0x1f000 ? (n + 1) % SIZE : r >> 40;

			desc(n, addr, len, flags, next);
			struct vring_desc d = { addr, len, flags & 3, r & 0x20000 ? n + 1 : next };

			dma_write(vm, TABLE + 16 * (r >> 33 & 0xff), &d, sizeof(d));
		}
		offer(tap_random(&seed) % (SIZE + (i % 16 == 0)));
		while (vq_pop(&vq, &elem) == 1) {
			got++;
			for (k = 0; k < elem.nr_out; k++)
				out += elem.seg[k].len;
			for (; k < elem.nr_out + elem.nr_in; k++)
				in += elem.seg[k].len;
			if (k > VQ_MAX_SEGS || !k || out != elem.out_len || in != elem.in_len ||
			    elem.head >= SIZE)
				bad++;
			vq_push(&vq, &elem, in);
			vq_wants_interrupt(&vq);
			vq_rearm(&vq);
			out = in = 0;
		}
	}
	is_u64(bad, 0, "random rings: every chain taken is whole");
	ok(got > 10000, "%llu chains taken", (unsigned long long)got);
}

/* ---- packed: a driver of its own, with the counters as the specification has them */

#define PSIZE	7u		/* need not be a power of two */

static struct {
	unsigned int slot;
	bool wrap;
	unsigned int used_slot;
	bool used_wrap;
	unsigned int free;
	unsigned int len[64];	/* descriptors of the chain with that id; 0: none */
} drv;

static void fresh_packed(bool event_idx)
{
	memset(vm->ram[0].host, 0, 0x60000);
	memset(&drv, 0, sizeof(drv));
	drv.wrap = drv.used_wrap = true;
	drv.free = PSIZE;
	vq = (struct virtqueue){
		.vm = vm, .desc = DESC, .avail = AVAIL, .used = USED, .size = PSIZE,
		.enabled = true, .event_idx = event_idx, .indirect = true, .packed = true,
	};
	if (vq_start(&vq))
		abort();
}

/* A chain of @n descriptors, each of @len bytes, the last one for the device to write; then it is available. */
static void offer_packed(uint16_t id, unsigned int n, uint32_t len)
{
	unsigned int first = drv.slot, i;
	uint16_t first_flags = 0;

	for (i = 0; i < n; i++) {
		struct vring_packed_desc d = {
			.addr = 0x1000 * (id + 1) + 0x100 * i, .len = len, .id = i + 1 == n ? id : 0xdead,
			.flags = (i + 1 < n ? VRING_DESC_F_NEXT : VRING_DESC_F_WRITE) |
				 1 << (drv.wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED),
		};

		if (!i) {
			first_flags = d.flags;
			dma_read(vm, DESC + 16 * drv.slot + 14, &d.flags, 2);
		}
		dma_write(vm, DESC + 16 * drv.slot, &d, sizeof(d));
		if (++drv.slot == PSIZE) {
			drv.slot = 0;
			drv.wrap = !drv.wrap;
		}
	}
	set16(DESC + 16 * first + 14, first_flags);
	drv.free -= n;
	drv.len[id] = n;
}

/* What the driver finds given back: an id, or -1. */
static int reap_packed(uint32_t *len)
{
	struct vring_packed_desc d;
	bool avail, used;

	dma_read(vm, DESC + 16 * drv.used_slot, &d, sizeof(d));
	avail = d.flags >> VRING_PACKED_DESC_F_AVAIL & 1;
	used = d.flags >> VRING_PACKED_DESC_F_USED & 1;
	if (avail != used || used != drv.used_wrap)
		return -1;
	if (d.id >= 64 || !drv.len[d.id])
		return -2;
	*len = d.len;
	drv.used_slot += drv.len[d.id];
	if (drv.used_slot >= PSIZE) {
		drv.used_slot -= PSIZE;
		drv.used_wrap = !drv.used_wrap;
	}
	drv.free += drv.len[d.id];
	drv.len[d.id] = 0;
	return d.id;
}

static void test_packed(void)
{
	uint64_t seed = tap_seed(0x9ac), rounds, bad = 0, moved = 0;
	static struct vq_elem held[PSIZE];
	struct vring_packed_desc table[2] = {
		{ .addr = 0x1000, .len = 16, .flags = VRING_DESC_F_NEXT },
		{ .addr = 0x2000, .len = 512, .flags = VRING_DESC_F_WRITE },
	}, d;
	unsigned int nr_held = 0, next_id = 0, i;
	struct vq_used used[2];
	uint16_t mark;
	uint32_t len;

	fresh_packed(false);
	is_u64(vq_pop(&vq, &elem), 0, "packed: an empty queue");
	offer_packed(5, 3, 16);
	is_u64(vq_pop(&vq, &elem), 1, "a chain of three");
	ok(elem.head == 5 && elem.nr_out == 2 && elem.nr_in == 1 && elem.seg[1].gpa == 0x6100, "its id and parts");
	is_u64(vq_pop(&vq, &elem), 0, "only once");
	is_u64((uint64_t)reap_packed(&len), (uint64_t)-1, "the driver has nothing back yet");
	vq_push(&vq, &elem, 16);
	ok(reap_packed(&len) == 5 && len == 16, "given back");
	ok(vq_wants_interrupt(&vq), "the driver wants an interrupt");
	set16(AVAIL + 2, VRING_PACKED_EVENT_FLAG_DISABLE);
	ok(!vq_wants_interrupt(&vq), "unless it says it does not");

	/* Out of order, for many rounds: everything that was offered comes back once. */
	fresh_packed(true);
	for (rounds = 0; rounds < 100000; rounds++) {
		unsigned int n = 1 + tap_random(&seed) % 3;

		if (drv.free >= n) {
			while (drv.len[next_id % 64])
				next_id++;
			offer_packed(next_id++ % 64, n, 32);
		}
		if (tap_random(&seed) & 1 && nr_held < PSIZE && vq_pop(&vq, &held[nr_held]) == 1) {
			if (held[nr_held].descs != drv.len[held[nr_held].head])
				bad++;
			nr_held++;
		}
		if (nr_held && tap_random(&seed) & 1) {
			i = tap_random(&seed) % nr_held;
			vq_push(&vq, &held[i], held[i].head + 1);
			held[i] = held[--nr_held];
		}
		while ((i = reap_packed(&len)) != (unsigned int)-1) {
			moved++;
			if ((int)i < 0 || len != i + 1)
				bad++;
		}
	}
	is_u64(bad, 0, "chains given back out of order are what was taken");
	ok(moved > 20000, "%llu of them", (unsigned long long)moved);

	/* Several at once, or none. */
	fresh_packed(true);
	for (i = 0; i < PSIZE - 1; i++) {
		offer_packed(0, 1, 8);
		vq_pop(&vq, &elem);
		vq_push(&vq, &elem, 1);
		reap_packed(&len);
	}
	offer_packed(1, 1, 8);
	offer_packed(2, 1, 8);
	mark = vq_mark(&vq);
	for (i = 0; i < 2; i++)
		vq_pop(&vq, &elem);
	is_u64(vq_pop(&vq, &elem), 0, "a third chain is missing");
	vq_rewind(&vq, mark);
	is_u64((uint64_t)reap_packed(&len), (uint64_t)-1, "taken, but not given back");
	for (i = 0; i < 2; i++) {
		ok(vq_pop(&vq, &elem) == 1 && elem.in_len == 8, "chain %u is what it was at the first try", i);
		used[i] = (struct vq_used){ elem.head, elem.descs, 8 };
	}
	vq_push_all(&vq, used, 2);
	ok(reap_packed(&len) == 1 && reap_packed(&len) == 2, "both at once, across the end of the ring");

	/* Event indices, by slot and wrap counter */
	fresh_packed(true);
	set16(AVAIL, 1 | 1 << VRING_PACKED_EVENT_F_WRAP_CTR);
	set16(AVAIL + 2, VRING_PACKED_EVENT_FLAG_DESC);
	for (i = 0; i < 3; i++) {
		offer_packed(i, 1, 8);
		vq_pop(&vq, &elem);
		vq_push(&vq, &elem, 1);
		is_u64(vq_wants_interrupt(&vq), i == 1, "slot %u, event 1: %s interrupt", i, i == 1 ? "an" : "no");
	}
	ok(!vq_rearm(&vq), "nothing more");
	ok(get16(USED) == (3 | 1 << VRING_PACKED_EVENT_F_WRAP_CTR) &&
	   get16(USED + 2) == VRING_PACKED_EVENT_FLAG_DESC, "the device asks for slot 3 of the first round");
	offer_packed(3, 1, 8);
	ok(vq_rearm(&vq), "which rearming does not miss");
	offer_packed(4, 1, 8);
	ok(!vq_rearm_beyond(&vq), "nothing beyond");
	ok(get16(USED) == (5 | 1 << VRING_PACKED_EVENT_F_WRAP_CTR), "the device asks for slot 5");

	fresh_packed(true);
	dma_write(vm, TABLE, table, sizeof(table));
	d = (struct vring_packed_desc){ .addr = TABLE, .len = sizeof(table), .id = 3,
					.flags = VRING_DESC_F_INDIRECT | 1 << VRING_PACKED_DESC_F_AVAIL };
	dma_write(vm, DESC, &d, sizeof(d));
	ok(vq_pop(&vq, &elem) == 1 && elem.nr_out == 1 && elem.nr_in == 1 && elem.in_len == 512, "an indirect table");

	fresh_packed(false);
	for (i = 0; i < PSIZE; i++) {
		d = (struct vring_packed_desc){ .addr = 0x1000, .len = 1,
						.flags = VRING_DESC_F_NEXT | 1 << VRING_PACKED_DESC_F_AVAIL };
		dma_write(vm, DESC + 16 * i, &d, sizeof(d));
	}
	is_u64(vq_pop(&vq, &elem), (uint64_t)-EPROTO, "refused: a chain without an end");
	vq.desc = vm->config.memory - 64;
	ok(vq_start(&vq), "refused: ring that leaves RAM");

	/* Nonsense */
	for (i = 0, bad = moved = 0; i < 200000; i++) {
		uint64_t r = tap_random(&seed), s = tap_random(&seed);

		if (i % 64 == 0 || vq.broken)
			fresh_packed(r >> 60 & 1);
		d = (struct vring_packed_desc){
			.addr = r & 15 ? TABLE + (s & 0xfff0) : s, .len = r & 0xf0 ? s >> 40 & 0xff0 : s >> 32,
			.id = r >> 8, .flags = (r >> 24 & (r & 0x70000 ? 3 : 7)) | (r >> 28 & 3) << 14 |
					       (r >> 30 & 1) << VRING_PACKED_DESC_F_AVAIL,
		};
		dma_write(vm, r >> 32 & 3 ? DESC + 16 * (r >> 34 & 7) : TABLE + (r >> 34 & 0xff0), &d, sizeof(d));
		set16(AVAIL + (r >> 50 & 2), s);
		if (vq_pop(&vq, &elem) != 1)
			continue;
		moved++;
		if (!elem.descs || elem.descs > PSIZE || elem.nr_out + elem.nr_in > VQ_MAX_SEGS)
			bad++;
		vq_push(&vq, &elem, r >> 40);
		vq_wants_interrupt(&vq);
		vq_rearm(&vq);
		vq_rearm_beyond(&vq);
	}
	is_u64(bad, 0, "random rings: every chain taken is whole");
	ok(moved > 2000, "%llu chains taken", (unsigned long long)moved);
}

int main(void)
{
	vm = fake_vm(1 << 20);
	test_honest();
	test_hostile();
	test_random();
	test_packed();
	fake_vm_exit(vm);
	return tap_done();
}
