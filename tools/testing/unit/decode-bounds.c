// SPDX-License-Identifier: GPL-2.0-only
/*
 * decode-bounds.c - what the decoder reads, and what it says of a part of an instruction
 *
 * Oracle: the contract in decode.h. The bytes end at a page that faults. Of an instruction of n bytes every
 * shorter beginning is X86_DECODE_MORE or, where the bytes so far leave no valid ending, X86_DECODE_INVALID:
 * never another instruction. Bytes behind the instruction change nothing.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "../../../emul/guest/x86/decode.h"
#include "tap.h"

static u8 *fence;	/* first byte that must not be read */

/* Decodes bytes that end at the fence. */
static enum x86_decode_result decode_fenced(struct x86_insn *insn, const u8 *bytes, unsigned int n,
					    enum x86_mode mode)
{
	memcpy(fence - n, bytes, n);
	return x86_decode(insn, fence - n, n, mode);
}

static bool insn_equal(const struct x86_insn *a, const struct x86_insn *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool consistent(const u8 *bytes, enum x86_mode mode)
{
	struct x86_insn whole, part;
	enum x86_decode_result result, r;
	unsigned int n;

	result = decode_fenced(&whole, bytes, X86_INSN_MAX, mode);
	if (result == X86_DECODE_MORE || whole.len > X86_INSN_MAX || whole.row >= x86_row_count ||
	    whole.op >= X86_OP_COUNT)
		return false;
	if (result == X86_DECODE_OK && (!whole.len || whole.op == X86_OP_INVALID))
		return false;
	if (result != X86_DECODE_OK && (whole.op != X86_OP_INVALID || whole.row))
		return false;

	for (n = 0; n <= X86_INSN_MAX; n++) {
		r = decode_fenced(&part, bytes, n, mode);
		if (part.len > n)
			return false;
		if (n >= whole.len && result != X86_DECODE_TOO_LONG ?
			    r != result || !insn_equal(&whole, &part) :
			    n < X86_INSN_MAX && r != X86_DECODE_MORE)
			return false;
	}
	return true;
}

static bool is_sane(const u8 *bytes, enum x86_mode mode)
{
	struct x86_insn insn;

	if (x86_decode(&insn, bytes, X86_INSN_MAX, mode) != X86_DECODE_OK)
		return true;

	return (insn.opsize == 1 || insn.opsize == 2 || insn.opsize == 4 || insn.opsize == 8) &&
	       (insn.addrsize == 2 || insn.addrsize == 4 || insn.addrsize == 8) && insn.seg < X86_SEG_COUNT &&
	       insn.reg < 16 && insn.rm < 16 && insn.vvvv < 16 && insn.scale < 4 &&
	       insn.base < X86_REG_COUNT && insn.index <= X86_REG_ZERO && insn.disp_off < insn.len &&
	       insn.immsize < insn.len && (insn.opsize != 8 || mode == X86_MODE_64) &&
	       (insn.addrsize != 8 || mode == X86_MODE_64);
}

int main(void)
{
	static const u8 start[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x48,
				    0x0f, 0x0f, 0x0f, 0xc4, 0xc5, 0x8f, 0x62 };
	const char *env = getenv("DECODE_COUNT");
	unsigned long count = env ? strtoul(env, NULL, 0) : 200000, i, bad = 0, insane = 0;
	u64 seed = tap_seed(0xfe9ce);
	long page = sysconf(_SC_PAGESIZE);
	struct x86_insn insn;
	u8 bytes[16];
	unsigned int j, k;
	u8 *map;

	diag("TEST_SEED=%#llx DECODE_COUNT=%lu", (unsigned long long)seed, count);
	map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || mprotect(map + page, page, PROT_NONE))
		return EXIT_FAILURE;
	fence = map + page;

	for (i = 0; i < count; i++) {
		enum x86_mode mode = i % X86_MODE_COUNT;

		for (j = 0; j < sizeof(bytes); j++)
			bytes[j] = tap_random(&seed) >> 24;
		k = tap_random(&seed) >> 20 & 15;
		for (j = 0; j < k && tap_random(&seed) >> 30 & 1; j++)
			bytes[j] = start[(tap_random(&seed) >> 33) % ARRAY_SIZE(start)];
		if (!consistent(bytes, mode) && bad++ < 5)
			diag("mode %u: %02x %02x %02x %02x %02x %02x %02x %02x", mode, bytes[0], bytes[1],
			     bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]);
		insane += !is_sane(bytes, mode);
	}
	ok(!bad, "every beginning of %lu instructions asks for more and nothing is read beyond", count);
	ok(!insane, "all fields are within their ranges");

	/* Fifteen prefixes, fourteen and an opcode, and what no room is left for */
	memset(bytes, 0x66, sizeof(bytes));
	ok(decode_fenced(&insn, bytes, 15, X86_MODE_64) == X86_DECODE_TOO_LONG, "15 prefixes are too long");
	ok(decode_fenced(&insn, bytes, 14, X86_MODE_64) == X86_DECODE_MORE, "14 prefixes may go on");
	bytes[14] = 0x90;
	ok(decode_fenced(&insn, bytes, 15, X86_MODE_64) == X86_DECODE_OK && insn.len == 15,
	   "14 prefixes and NOP");
	bytes[14] = 0xb0;
	ok(decode_fenced(&insn, bytes, 15, X86_MODE_64) == X86_DECODE_TOO_LONG && insn.op == X86_OP_INVALID,
	   "14 prefixes and MOV AL, imm8 are 16 bytes");
	ok(x86_decode(&insn, bytes, 16, X86_MODE_64) == X86_DECODE_TOO_LONG, "... and byte 16 does not help");
	ok(decode_fenced(&insn, bytes, 0, X86_MODE_64) == X86_DECODE_MORE && insn.len == 0,
	   "no bytes at all");
	return tap_done();
}
