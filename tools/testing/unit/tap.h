/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tap.h - the smallest Test Anything Protocol producer that the unit tests need
 *
 * One program, one plan: call ok() and its relatives as often as needed, then end main() with "return
 * tap_done();".
 */
#ifndef TENON_TAP_H
#define TENON_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned int tap_run;
static unsigned int tap_failed;

__attribute__((format(printf, 4, 5)))
static inline bool tap_result(bool pass, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %u - ", pass ? "" : "not ", ++tap_run);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (!pass) {
		tap_failed++;
		printf("#   at %s:%d\n", file, line);
	}
	fflush(stdout);
	return pass;
}

/* One test: passes if @cond holds. The rest is its name, as for printf(). Evaluates to the result. */
#define ok(cond, ...)	tap_result(!!(cond), __FILE__, __LINE__, __VA_ARGS__)

/* One test: passes if both numbers are equal, otherwise shows them. */
#define is_u64(got, want, ...) ({							\
	const uint64_t tap_got = (got), tap_want = (want);				\
											\
	if (!ok(tap_got == tap_want, __VA_ARGS__))					\
		printf("#   got  %#llx (%llu)\n#   want %#llx (%llu)\n",		\
		       (unsigned long long)tap_got, (unsigned long long)tap_got,	\
		       (unsigned long long)tap_want, (unsigned long long)tap_want);	\
	tap_got == tap_want;								\
})

/* A comment line, as for printf(), without the newline. */
#define diag(...)	do { printf("# "); printf(__VA_ARGS__); putchar('\n'); } while (0)

/* One test that cannot run here: @name and @why are string literals. */
#define skip(name, why)	tap_result(true, __FILE__, __LINE__, "%s # SKIP %s", name, why)

/* Print the plan. Return: exit status for main(). */
static inline int tap_done(void)
{
	printf("1..%u\n", tap_run);
	if (tap_failed)
		printf("# %u of %u failed\n", tap_failed, tap_run);
	return tap_failed || !tap_run ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* xorshift64*: the same numbers on every host. Seed with anything but zero, and print it. */
static inline uint64_t tap_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

/* The seed of a property test: TEST_SEED from the environment, or @fallback. */
static inline uint64_t tap_seed(uint64_t fallback)
{
	const char *env = getenv("TEST_SEED");
	uint64_t seed = env ? strtoull(env, NULL, 0) : fallback;

	return seed ? seed : 1;
}

#endif /* TENON_TAP_H */
