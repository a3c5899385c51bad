/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * small.h - what a 32-bit program needs that has no C library: system calls by INT 80H, and output
 */
#ifndef TENON_TEST_SMALL_H
#define TENON_TEST_SMALL_H

#include <asm/unistd_32.h>

static inline long syscall4(long nr, long a, long b, long c, long d)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return ret;
}

static void print(const char *s)
{
	long n = 0;

	while (s[n])
		n++;
	syscall4(__NR_write, 1, (long)s, n, 0);
}

static void print_hex(unsigned long x)
{
	char buf[9];

	for (int i = 0; i < 8; i++)
		buf[i] = "0123456789abcdef"[x >> (28 - 4 * i) & 15];
	buf[8] = 0;
	print(buf);
}

/* A line for the test: "T>NAME=ok", or what came instead. */
static void check(const char *name, unsigned long got, unsigned long want)
{
	print("T>");
	print(name);
	print("=");
	if (got != want) {
		print_hex(got);
		print(", not ");
		print_hex(want);
		print("\n");
		return;
	}
	print("ok\n");
}

#endif /* TENON_TEST_SMALL_H */
