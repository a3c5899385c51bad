// SPDX-License-Identifier: GPL-2.0-only
/*
 * features.c - are the flags of /proc/cpuinfo true? An instruction of each is executed
 *
 * Oracle: SDM vol. 2, "CPUID Feature Flag" of each instruction: without it #UD. Privileged ones are #GP(0) in a program
 * if the processor has them. What no processor here has (AVX-512, AMD's extensions) is tried as well.
 * Prints "T>wrong=NAME: ..." for each that isn't, "T>tried=N" and "T>flags=...".
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { RUNS, PRIVILEGED };

static const struct test {
	const char *flag;	/* NULL: never there */
	unsigned char n, bytes[9], kind;
} tests[] = {
	{ "fpu", 2, { 0xd9, 0xe8 }, RUNS },					/* FLD1 */
	{ "tsc", 2, { 0x0f, 0x31 }, RUNS },					/* RDTSC */
	{ "cx8", 3, { 0x0f, 0xc7, 0x08 }, RUNS },				/* CMPXCHG8B */
	{ "cmov", 3, { 0x0f, 0x44, 0xca }, RUNS },
	{ "clflush", 3, { 0x0f, 0xae, 0x38 }, RUNS },
	{ "mmx", 3, { 0x0f, 0xfc, 0xc1 }, RUNS },				/* PADDB */
	{ "fxsr", 3, { 0x0f, 0xae, 0x00 }, RUNS },
	{ "sse", 3, { 0x0f, 0x58, 0xc1 }, RUNS },				/* ADDPS */
	{ "sse2", 4, { 0x66, 0x0f, 0x58, 0xc1 }, RUNS },			/* ADDPD */
	{ "pni", 4, { 0xf2, 0x0f, 0x7c, 0xc1 }, RUNS },				/* HADDPS */
	{ "pclmulqdq", 6, { 0x66, 0x0f, 0x3a, 0x44, 0xc1, 0 }, RUNS },
	{ "ssse3", 5, { 0x66, 0x0f, 0x38, 0x1c, 0xc1 }, RUNS },			/* PABSB */
	{ "fma", 5, { 0xc4, 0xe2, 0x71, 0xb8, 0xc2 }, RUNS },			/* VFMADD231PS */
	{ "cx16", 4, { 0x48, 0x0f, 0xc7, 0x08 }, RUNS },
	{ "sse4_1", 5, { 0x66, 0x0f, 0x38, 0x40, 0xc1 }, RUNS },		/* PMULLD */
	{ "sse4_2", 5, { 0x66, 0x0f, 0x38, 0x37, 0xc1 }, RUNS },		/* PCMPGTQ */
	{ "sse4_2", 5, { 0xf2, 0x0f, 0x38, 0xf1, 0xca }, RUNS },		/* CRC32 */
	{ "movbe", 4, { 0x0f, 0x38, 0xf0, 0x08 }, RUNS },
	{ "popcnt", 4, { 0xf3, 0x0f, 0xb8, 0xca }, RUNS },
	{ "aes", 5, { 0x66, 0x0f, 0x38, 0xdc, 0xc1 }, RUNS },			/* AESENC */
	{ "xsave", 3, { 0x0f, 0xae, 0x20 }, RUNS },
	{ "xsave", 3, { 0x0f, 0x01, 0xd0 }, RUNS },				/* XGETBV */
	{ "avx", 4, { 0xc5, 0xf4, 0x58, 0xc2 }, RUNS },				/* VADDPS ymm */
	{ "f16c", 5, { 0xc4, 0xe2, 0x79, 0x13, 0xc1 }, RUNS },			/* VCVTPH2PS */
	{ "rdrand", 3, { 0x0f, 0xc7, 0xf1 }, RUNS },
	{ "lahf_lm", 1, { 0x9f }, RUNS },
	{ "fsgsbase", 5, { 0xf3, 0x48, 0x0f, 0xae, 0xc1 }, RUNS },		/* RDFSBASE */
	{ "bmi1", 5, { 0xc4, 0xe2, 0x70, 0xf2, 0xca }, RUNS },			/* ANDN */
	{ "avx2", 4, { 0xc5, 0xf5, 0xfe, 0xc2 }, RUNS },			/* VPADDD ymm */
	{ "bmi2", 5, { 0xc4, 0xe2, 0x73, 0xf6, 0xca }, RUNS },			/* MULX */
	{ "invpcid", 5, { 0x66, 0x0f, 0x38, 0x82, 0x08 }, PRIVILEGED },
	{ "rdseed", 3, { 0x0f, 0xc7, 0xf9 }, RUNS },
	{ "adx", 5, { 0x66, 0x0f, 0x38, 0xf6, 0xca }, RUNS },			/* ADCX */
	{ "clflushopt", 4, { 0x66, 0x0f, 0xae, 0x38 }, RUNS },
	{ "clwb", 4, { 0x66, 0x0f, 0xae, 0x30 }, RUNS },
	{ "sha_ni", 4, { 0x0f, 0x38, 0xc8, 0xc1 }, RUNS },			/* SHA1NEXTE */
	{ "ospke", 3, { 0x0f, 0x01, 0xee }, RUNS },				/* RDPKRU */
	{ "gfni", 6, { 0x66, 0x0f, 0x3a, 0xce, 0xc1, 0 }, RUNS },		/* GF2P8AFFINEQB */
	{ "vaes", 5, { 0xc4, 0xe2, 0x75, 0xdc, 0xc2 }, RUNS },			/* VAESENC ymm */
	{ "vpclmulqdq", 6, { 0xc4, 0xe3, 0x75, 0x44, 0xc2, 0 }, RUNS },		/* of ymm */
	{ "rdpid", 4, { 0xf3, 0x0f, 0xc7, 0xf9 }, RUNS },
	{ "rdtscp", 3, { 0x0f, 0x01, 0xf9 }, RUNS },
	{ "xsaveopt", 3, { 0x0f, 0xae, 0x30 }, RUNS },
	{ "xsavec", 3, { 0x0f, 0xc7, 0x20 }, RUNS },
	{ "xsaves", 3, { 0x0f, 0xc7, 0x28 }, PRIVILEGED },
	{ NULL, 6, { 0x62, 0xf1, 0x74, 0x48, 0x58, 0xc2 }, RUNS },		/* VADDPS zmm: AVX-512 */
	{ NULL, 6, { 0xc7, 0xf8, 0, 0, 0, 0 }, RUNS },				/* XBEGIN: RTM */
	{ NULL, 5, { 0xf2, 0x0f, 0x79, 0xc1 }, RUNS },				/* INSERTQ: SSE4A */
	{ NULL, 4, { 0x0f, 0x0f, 0xc1, 0x9e }, RUNS },				/* PFADD: 3DNow! */
	{ NULL, 6, { 0xc4, 0xe3, 0x71, 0x68, 0xc2, 0x30 }, RUNS },		/* VFMADDPS: FMA4 */
	{ NULL, 5, { 0x8f, 0xe9, 0x70, 0x01, 0xca }, RUNS },			/* BLCFILL: TBM */
	{ NULL, 3, { 0x0f, 0x01, 0xe8 }, RUNS },				/* SERIALIZE */
	{ NULL, 3, { 0x0f, 0x01, 0xfc }, RUNS },				/* CLZERO */
	{ NULL, 3, { 0x0f, 0x01, 0xfd }, RUNS },				/* RDPRU */
	{ NULL, 4, { 0x66, 0x0f, 0xae, 0xf1 }, RUNS },				/* TPAUSE: WAITPKG */
	{ NULL, 4, { 0x0f, 0x38, 0xf9, 0x08 }, RUNS },				/* MOVDIRI */
	{ NULL, 5, { 0xc4, 0xe2, 0x71, 0x50, 0xc2 }, RUNS },			/* VPDPBUSD: AVX-VNNI */
	{ NULL, 3, { 0x0f, 0x01, 0xc1 }, RUNS },				/* VMCALL */
	{ NULL, 3, { 0x0f, 0x01, 0xc8 }, RUNS },				/* MONITOR, in a program */
};

static char flags[4096];
static unsigned char *code, *data;
static sigjmp_buf jump;

static int has(const char *flag)
{
	char word[32];

	snprintf(word, sizeof(word), " %s ", flag);
	return !!strstr(flags, word);
}

static void on_signal(int sig)
{
	siglongjmp(jump, sig);
}

/* The signal that @bytes end with, or 0; RAX is an aligned buffer, RDX and the result in RCX start as given. */
static int run(const unsigned char *bytes, unsigned int n, unsigned long *rcx)
{
	volatile int sig;

	memcpy(code, bytes, n);
	code[n] = 0xc3;
	sig = sigsetjmp(jump, 1);
	if (!sig) {
		unsigned long rax = (unsigned long)data, rdx = 1, out = *rcx;

		__asm__ volatile("sub $128, %%rsp; call *%[code]; emms; add $128, %%rsp"
				 : "+a"(rax), "+c"(out), "+d"(rdx) : [code] "r"(code)
				 : "rbx", "rsi", "rdi", "xmm0", "xmm1", "xmm2", "memory", "cc");
		*rcx = out;
	}
	return sig;
}

static void wrong(const char *name, const unsigned char *b, int there, int sig)
{
	printf("T>wrong=%s: %s in cpuinfo, and %02x %02x %02x %02x %02x: %s\n", name ? name : "none", there ? "is" : "not",
	       b[0], b[1], b[2], b[3], b[4], sig ? strsignal(sig) : "runs");
}

static void read_flags(void)
{
	char line[4000];
	FILE *f = fopen("/proc/cpuinfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "flags", 5) && strchr(line, ':')) {
			line[strcspn(line, "\n")] = 0;
			snprintf(flags, sizeof(flags), "%s ", strchr(line, ':') + 1);
			break;
		}
}

int main(void)
{
	static const unsigned char tzcnt[] = { 0xf3, 0x48, 0x0f, 0xbc, 0xc9 }, lzcnt[] = { 0xf3, 0x48, 0x0f, 0xbd, 0xc9 },
				   xgetbv1[] = { 0x0f, 0x01, 0xd0 }, ret[] = { 0x90 };
	unsigned int n = 0;
	unsigned long rcx;
	int sig;

	read_flags();
	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED || data == MAP_FAILED || !*flags)
		return 1;
	signal(SIGILL, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGFPE, on_signal);
	signal(SIGBUS, on_signal);
	for (const struct test *t = tests; t < tests + sizeof(tests) / sizeof(*tests); t++, n++) {
		int there = t->flag && has(t->flag), want = !there ? SIGILL : t->kind == PRIVILEGED ? SIGSEGV : 0;

		memset(data, 0, 4096);
		rcx = 0;
		sig = run(t->bytes, t->n, &rcx);
		if (sig != want)
			wrong(t->flag, t->bytes, there, sig);
	}
	/* Older encodings, which do something else without the flag: of 0 BSF leaves RCX, of 1 BSR gives 0. */
	rcx = 0;
	sig = run(tzcnt, sizeof(tzcnt), &rcx);
	if (sig || (rcx == 64) != has("bmi1"))
		wrong("bmi1", tzcnt, has("bmi1"), sig);
	rcx = 1;
	sig = run(lzcnt, sizeof(lzcnt), &rcx);
	if (sig || (rcx == 63) != has("abm"))
		wrong("abm", lzcnt, has("abm"), sig);
	/* XGETBV of 1 is #GP without its flag, and #UD without XSAVE. */
	rcx = 1;
	sig = run(xgetbv1, sizeof(xgetbv1), &rcx);
	if (sig != (has("xgetbv1") ? 0 : has("xsave") ? SIGSEGV : SIGILL))
		wrong("xgetbv1", xgetbv1, has("xgetbv1"), sig);
	/* Code in a page that is not for code. */
	sig = run(ret, sizeof(ret), &rcx);
	mprotect(code, 4096, PROT_READ | PROT_WRITE);
	sig = sig ? sig : run(ret, sizeof(ret), &rcx);
	if (sig != (has("nx") ? SIGSEGV : 0))
		wrong("nx", ret, has("nx"), sig);
	printf("T>tried=%u\nT>flags=%s\n", n + 4, flags);
	return 0;
}
