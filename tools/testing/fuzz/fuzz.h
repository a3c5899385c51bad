/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fuzz.h - input of a fuzzer as a stream of numbers; it ends in zeros
 */
#ifndef TENON_FUZZ_H
#define TENON_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct input {
	const uint8_t *p;
	size_t left;
};

static inline void take(struct input *in, void *buf, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(buf, 0, len);
	memcpy(buf, in->p, n);
	in->p += n;
	in->left -= n;
}

static inline uint64_t take_uint(struct input *in, unsigned int len)
{
	uint64_t val = 0;

	take(in, &val, len);
	return val;
}

#endif /* TENON_FUZZ_H */
