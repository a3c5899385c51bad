// SPDX-License-Identifier: GPL-2.0-only
/*
 * interp-fetch.c - instructions that end, or don't, at the end of a page whose next is not there
 *
 * Oracle: the processor that runs the test. Bytes are put at the end of a page of code. Where the decoder wants more than
 * there is, the processor has to raise #PF for a fetch, with the address of the next page; where the decoder has seen
 * enough to say no, #UD, or #GP if it is more than 15 bytes. What would be executed is left out.
 *
 * 32-bit code is tried, too, where the host lets programs have it: see interp-native.h.
 *
 * TEST_SEED=n repeats a run.
 */
#include "tap.h"

#ifndef __x86_64__

int main(void)
{
	skip("fetches against the host", "the host is not x86-64");
	return tap_done();
}

#else

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "emul/base.h"
#include "emul/guest/x86/decode.h"

#define SEL_CODE32	0x23	/* Linux's flat segment for programs */
#define SEL_CODE64	0x33

static u64 seed;
static enum x86_mode mode;
static sigjmp_buf jump;
static u8 *page;	/* of code; nothing is mapped behind it */
static struct fault {
	u32 vector, error;
	u64 addr;
} host;

static void on_fault(int sig, siginfo_t *si, void *context)
{
	const greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig, (void)si;
	host = (struct fault){ (u32)g[REG_TRAPNO], (u32)g[REG_ERR], g[REG_TRAPNO] == 14 ? (u64)g[REG_CR2] : 0 };
	siglongjmp(jump, 1);
}

/* Jump to @bytes with general registers that reach no memory. False: they were executed. */
__attribute__((no_sanitize("address", "undefined")))
static bool run(const u8 *bytes, unsigned int n)
{
	u8 *at = page + 4096 - n;
	struct { u32 off; u16 sel; } __attribute__((packed)) to = {
		(u32)(uintptr_t)at, mode == X86_MODE_64 ? SEL_CODE64 : SEL_CODE32
	};

	memcpy(at, bytes, n);
	host = (struct fault){ 0 };
	if (!sigsetjmp(jump, 0)) {
		__asm__ volatile("xor %%ebx, %%ebx; xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi; xor %%edi, %%edi;"
				 "ljmp *(%0)" : : "a"(&to), "m"(to) : "rbx", "rcx", "rdx", "rsi", "rdi", "memory", "cc");
		return false;
	}
	return true;
}

/* Bytes that begin like an instruction, most often with prefixes. */
static unsigned int make(u8 *b)
{
	static const u8 prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x48, 0x40, 0x4f };
	unsigned int n = 0, len = 1 + (unsigned int)(tap_random(&seed) % 16);

	while (n < 16 && tap_random(&seed) % 16 < (len > 12 ? 15 : 6))
		b[n++] = prefixes[tap_random(&seed) % sizeof(prefixes)];
	if (n < 16 && tap_random(&seed) % 3 == 0)
		b[n++] = 0x0f;
	while (n < 16)
		b[n++] = (u8)tap_random(&seed);
	return len;
}

static bool is_prefix(u8 b)
{
	if (mode == X86_MODE_64 && (b & 0xf0) == 0x40)
		return true;
	return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 || b == 0xf3 || b == 0x2e || b == 0x36 || b == 0x3e ||
	       b == 0x26 || b == 0x64 || b == 0x65;
}

/*
 * What processors differ in by maker: UD0 and UD1 have a ModRM byte or none, and the displacement of a near branch with an
 * operand-size prefix in 64-bit code has 32 bits or 16.
 */
static bool differs(const u8 *b, unsigned int n, unsigned int prefixes)
{
	bool two = prefixes + 1 < n && b[prefixes] == 0x0f;
	u8 op = two ? b[prefixes + 1] : b[prefixes];

	if (two && (op == 0xb9 || op == 0xff))
		return true;
	return mode == X86_MODE_64 && memchr(b, 0x66, prefixes) && (two ? (op & 0xf0) == 0x80 : (op & 0xfe) == 0xe8);
}

/* The host may know more than the decoder: EVEX, REX2, XOP, XABORT and XBEGIN; and what is undefined in other maps. */
static bool left_out(const u8 *b, unsigned int n, enum x86_decode_result r)
{
	unsigned int i = 0;

	while (i < n && is_prefix(b[i]))
		i++;
	if (i == n)
		return false;
	if (b[i] == 0x62 || b[i] == 0xd5 || b[i] == 0x8f || ((b[i] & 0xfe) == 0xc6 && i + 1 < n && b[i + 1] == 0xf8))
		return true;
	if (differs(b, n, i))
		return true;
	return r == X86_DECODE_INVALID && (b[i] == 0x0f || b[i] == 0xc4 || b[i] == 0xc5);
}

/*
 * Invalid whatever follows? SDM vol. 3 "Prioritization of Concurrent Events" has the fetch first; a processor that stops
 * reading when it knows is no surprise, since what an invalid opcode's length is no manual says.
 */
static bool may_know(const u8 *b, unsigned int n)
{
	u8 all[X86_INSN_MAX] = { 0 };
	struct x86_insn insn;

	memcpy(all, b, min(n, (unsigned int)sizeof(all)));
	return x86_decode(&insn, all, sizeof(all), mode) == X86_DECODE_INVALID || memchr(b, 0xf0, n);
}

static void test_mode(enum x86_mode m)
{
	unsigned int bad = 0, cut = 0, undefined = 0, too_long = 0;

	mode = m;
	for (unsigned int i = 0; i < 60000; i++) {
		struct fault want = { 0 };
		struct x86_insn insn;
		u8 b[16];
		unsigned int n = make(b);
		enum x86_decode_result r = x86_decode(&insn, b, n, mode);

		if (left_out(b, n, r))
			continue;
		switch (r) {
		case X86_DECODE_MORE:
			want = (struct fault){ 14, 0x14, (u64)page + 4096 };
			cut++;
			break;
		case X86_DECODE_INVALID:
			want.vector = 6;
			undefined++;
			break;
		case X86_DECODE_TOO_LONG:
			want.vector = 13;
			too_long++;
			break;
		default:
			continue;
		}
		if (run(b, n) && host.vector == want.vector && host.addr == want.addr && host.error == want.error)
			continue;
		if (host.vector == 6 && may_know(b, n))
			continue;
		if (bad++ < 20) {
			char text[64] = "";

			for (unsigned int k = 0; k < n; k++)
				sprintf(text + strlen(text), " %02x", b[k]);
			diag("%s: host %u, %#x at %#llx, decoder %u", text, host.vector, host.error, (unsigned long long)host.addr,
			     want.vector);
		}
	}
	ok(!bad && cut && undefined && too_long, "%s code: %u cut off, %u undefined, %u too long: as the host has them",
	   mode == X86_MODE_64 ? "64-bit" : "32-bit", cut, undefined, too_long);
}

static bool has_segment(u32 sel)
{
	u32 rights;
	bool there;

	__asm__ volatile("lar %2, %0; setz %1" : "=r"(rights), "=q"(there) : "r"(sel) : "cc");
	return there;
}

int main(void)
{
	static u8 stack[1 << 16];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	seed = tap_seed((u64)time(NULL) * 0x9e3779b97f4a7c15ull);
	diag("TEST_SEED=%#llx", (unsigned long long)seed);
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (page == MAP_FAILED || munmap(page + 4096, 4096))
		return 1;
	sigaltstack(&ss, NULL);
	for (unsigned int i = 0; i < 4; i++)
		sigaction((int[]){ SIGSEGV, SIGBUS, SIGILL, SIGFPE }[i], &sa, NULL);
	test_mode(X86_MODE_64);
	if (has_segment(SEL_CODE32))
		test_mode(X86_MODE_32);
	else
		skip("32-bit code", "the host gives programs no such segments");
	return tap_done();
}

#endif /* __x86_64__ */
