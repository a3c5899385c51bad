// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2.c - images of any content: opened, checked, read, written, repaired
 *
 * An input is steps, 3 bytes each, then the image. Images with clusters of 512 bytes have all tables within a few
 * KiB; the corpus has one of each kind, made by qemu-img.
 */
#include "tools/testing/unit/block-mem.h"
#include "fuzz.h"

#define STEPS	 8
#define SCRIPT	 (3 * STEPS)
#define IO	 (64u << 10)

static void step(struct block *blk, const uint8_t *op)
{
	static uint8_t buf[IO];
	struct qcow2_check res = { .quiet = true };
	uint64_t at = blk->size > IO ? op[1] * (blk->size / 512 / 256) * 512 : 0, len = 512 * (1 + op[2] % 16);

	if (at + len > blk->size)
		len = blk->size - at;
	switch (op[0] % 12) {
	case 0:
		block_zero(blk, at, len, op[2] & 1);
		break;
	case 1:
		block_discard(blk, at, len);
		break;
	case 2:
		block_flush(blk);
		break;
	case 3:
		if (!blk->readonly)
			qcow2_snapshot_create(blk, "s");
		break;
	case 4:
		if (!blk->readonly)
			qcow2_snapshot_apply(blk, "s");
		break;
	case 5:
		if (!blk->readonly)
			qcow2_snapshot_delete(blk, "s");
		break;
	case 6:
		qcow2_check(blk, !blk->readonly, &res);
		break;
	case 7:
		if (blk->size < 8 << 20)
			block_resize(blk, blk->size + 512 * op[1]);
		break;
	case 8:
		qcow2_check(blk, false, &res);
		break;
	case 9:
		block_read(blk, &(struct iovec){ buf, len }, 1, at);
		break;
	default:
		memset(buf, op[2], len);
		block_write(blk, &(struct iovec){ buf, len }, 1, at, op[0] & 16);
		block_read(blk, &(struct iovec){ buf, len }, 1, at);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct block_options opts = { .format = &block_qcow2, .discard = true, .backing = BLOCK_BACKING_NONE };
	struct block blk;
	struct mem *m;
	unsigned int i;

	if (size < SCRIPT)
		return -1;
	m = mem_new();
	m->limit = 16 << 20;
	m->size = size - SCRIPT;
	memcpy(m->now, data + SCRIPT, m->size);
	opts.readonly = data[0] & 0x80;
	opts.repair = data[3] & 0x80;
	opts.no_backing = data[6] & 0x80;
	if (block_open_file(&blk, "(memory)", &m->f, NULL, &opts, 0))
		return 0;
	for (i = 0; i < STEPS; i++)
		step(&blk, data + 3 * i);
	block_close(&blk);
	return 0;
}
