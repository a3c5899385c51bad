// SPDX-License-Identifier: GPL-2.0-only
/*
 * Integer benchmarks: what a translator's integer code, flags, branches,
 * indirect branches, calls/returns and code invalidation cost.
 */
#include "ub.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* int_mix: list + matrix + state machine + crc, a few KiB of data */
struct node {
	struct node *next;
	uint16_t key, val;
};

static uint16_t crc16(uint8_t d, uint16_t c)
{
	for (int i = 0; i < 8; i++) {
		unsigned b = (d ^ c) & 1;
		d >>= 1;
		c >>= 1;
		if (b)
			c ^= 0xA001;
	}
	return c;
}

static struct node *merge_sort(struct node *l, int by_val)
{
	if (!l || !l->next)
		return l;
	struct node *slow = l, *fast = l->next;
	while (fast && fast->next) {
		slow = slow->next;
		fast = fast->next->next;
	}
	struct node *b = slow->next;
	slow->next = 0;
	struct node *a = merge_sort(l, by_val);
	b = merge_sort(b, by_val);
	struct node head, *t = &head;
	while (a && b) {
		int c = by_val ? (int)a->val - (int)b->val : (int)a->key - (int)b->key;
		if (c <= 0) {
			t->next = a;
			t = a;
			a = a->next;
		} else {
			t->next = b;
			t = b;
			b = b->next;
		}
	}
	t->next = a ? a : b;
	return head.next;
}

static unsigned scan_numbers(const char *s, unsigned *cnt)
{
	enum { START, INT, FRAC, EXPS, EXP, BAD } st = START;

	unsigned h = 0;
	for (; *s; s++) {
		char c = *s;
		if (c == ',') {
			cnt[st]++;
			st = START;
			h = h * 31 + 7;
			continue;
		}
		int dig = c >= '0' && c <= '9';
		switch (st) {
		case START:
			st = dig || c == '-' || c == '+' ? INT : c == '.' ? FRAC : BAD;
			break;
		case INT:
			st = dig ? INT : c == '.' ? FRAC : c == 'e' ? EXPS : BAD;
			break;
		case FRAC:
			st = dig ? FRAC : c == 'e' ? EXPS : BAD;
			break;
		case EXPS:
			st = dig || c == '-' || c == '+' ? EXP : BAD;
			break;
		case EXP:
			st = dig ? EXP : BAD;
			break;
		case BAD:
			break;
		}
		h = h * 33 + (unsigned)st;
	}
	return h;
}

/* on a page of its own: a hot loop which straddles a page would dominate a translator's time (see int_xpage)
 */
__attribute__((aligned(4096), noinline)) static uint64_t int_mix(uint64_t n)
{
	enum { NL = 64, NM = 12 };
	static struct node pool[NL];
	static int16_t A[NM][NM], B[NM][NM];
	static int32_t C[NM][NM];
	static const char text[] = "12,-3.14,1e9,+7.5e-3,abc,0.001,99,12.e4,5x,1e,-8,.5,";
	uint64_t seed = 88172645463325252ull;
	unsigned cnt[6] = { 0 };
	uint16_t crc = 0;
	for (uint64_t it = 0; it < n; it++) {
		for (int i = 0; i < NL; i++) {
			uint64_t r = ub_rng(&seed);
			pool[i].next = i + 1 < NL ? &pool[i + 1] : 0;
			pool[i].key = (uint16_t)r;
			pool[i].val = (uint16_t)(r >> 16);
		}
		struct node *l = merge_sort(pool, 0);
		l = merge_sort(l, 1);
		for (struct node *p = l; p; p = p->next)
			crc = crc16((uint8_t)p->key, crc);
		for (int i = 0; i < NM; i++)
			for (int j = 0; j < NM; j++) {
				A[i][j] = (int16_t)(seed >> (i + j));
				B[i][j] = (int16_t)(it + i * j);
			}
		for (int i = 0; i < NM; i++)
			for (int j = 0; j < NM; j++) {
				int32_t s = 0;
				for (int k = 0; k < NM; k++)
					s += A[i][k] * B[k][j];
				C[i][j] = s;
			}
		for (int i = 0; i < NM; i++)
			crc = crc16((uint8_t)C[i][NM - 1 - i], crc);
		unsigned h = scan_numbers(text, cnt);
		crc = crc16((uint8_t)h, crc);
	}
	uint64_t r = crc;
	for (int i = 0; i < 6; i++)
		r = r * 1000003 + cnt[i];
	return r;
}

/* int_sieve: n rounds of primes below 64 Ki (L1/L2 resident) */
static uint64_t int_sieve(uint64_t n)
{
	enum { M = 65536 };

	static uint8_t s[M];
	uint64_t total = 0;
	while (n--) {
		memset(s, 1, M);
		for (unsigned i = 2; i * i < M; i++)
			if (s[i])
				for (unsigned j = i * i; j < M; j += i)
					s[j] = 0;
		for (unsigned i = 2; i < M; i++)
			total += s[i] ? i : 0;
	}
	return total;
}

/* int_sha256: plain C SHA-256 compression, n blocks (rotates, adds) */
static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};
#define ROR(x, k) (((x) >> (k)) | ((x) << (32 - (k))))

static uint64_t int_sha256(uint64_t n)
{
	uint32_t H[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };
	for (uint64_t b = 0; b < n; b++) {
		uint32_t w[64];
		for (int i = 0; i < 16; i++)
			w[i] = (uint32_t)(b * 2654435761u + i);
		for (int i = 16; i < 64; i++) {
			uint32_t s0 = ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ (w[i - 15] >> 3);
			uint32_t s1 = ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ (w[i - 2] >> 10);
			w[i] = w[i - 16] + s0 + w[i - 7] + s1;
		}
		uint32_t v[8];
		memcpy(v, H, sizeof v);
		for (int i = 0; i < 64; i++) {
			uint32_t S1 = ROR(v[4], 6) ^ ROR(v[4], 11) ^ ROR(v[4], 25);
			uint32_t t1 = v[7] + S1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
			uint32_t S0 = ROR(v[0], 2) ^ ROR(v[0], 13) ^ ROR(v[0], 22);
			uint32_t t2 = S0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
			v[7] = v[6];
			v[6] = v[5];
			v[5] = v[4];
			v[4] = v[3] + t1;
			v[3] = v[2];
			v[2] = v[1];
			v[1] = v[0];
			v[0] = t1 + t2;
		}
		for (int i = 0; i < 8; i++)
			H[i] += v[i];
	}
	return (uint64_t)H[0] << 32 | H[7];
}

/* int_bigmul: n 32-limb schoolbook multiplications (mul/adc chains) */
static uint64_t int_bigmul(uint64_t n)
{
	enum { L = 32 };

	static uint64_t a[L], b[L], r[2 * L];
	uint64_t s = 0x123456789abcdefull;
	for (int i = 0; i < L; i++) {
		a[i] = ub_rng(&s);
		b[i] = ub_rng(&s);
	}
	for (uint64_t it = 0; it < n; it++) {
		memset(r, 0, sizeof r);
		for (int i = 0; i < L; i++) {
			uint64_t c = 0;
			for (int j = 0; j < L; j++) {
				unsigned __int128 t = (unsigned __int128)a[i] * b[j] + r[i + j] + c;
				r[i + j] = (uint64_t)t;
				c = (uint64_t)(t >> 64);
			}
			r[i + L] = c;
		}
		a[it % L] ^= r[L];
		b[(it + 5) % L] += r[2 * L - 1];
	}
	return r[L] ^ a[3] ^ b[7];
}

/* int_callret: deep recursion, n times fib(20) (call/ret prediction) */
static __attribute__((noinline, noclone, optimize("O1"))) uint64_t fib(unsigned k)
{
	return k < 2 ? k : fib(k - 1) + fib(k - 2);
}

static uint64_t int_callret(uint64_t n)
{
	uint64_t r = 0;
	while (n--) {
		r = r * 3 + fib(20);
		__asm__ volatile("" ::: "memory");
	}
	return r;
}

/* int_smc: a small JIT: write a function, run it, rewrite it, n times */
static uint64_t int_smc(uint64_t n)
{
	uint8_t *c = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c == MAP_FAILED)
		ub_die("mmap rwx");
	uint64_t r = 0;
	for (uint64_t i = 0; i < n; i++) {
		uint8_t *p = c + (i & 7) * 64;
		uint32_t imm = (uint32_t)(i * 2654435761u) & 0x7fffffff;
		*p++ = 0x48;
		*p++ = 0x89;
		*p++ = 0xf8; /* mov rax, rdi      */
		*p++ = 0x48;
		*p++ = 0x05;
		memcpy(p, &imm, 4);
		p += 4; /* add rax, imm32    */
		*p++ = 0x48;
		*p++ = 0xc1;
		*p++ = 0xc0;
		*p++ = (uint8_t)(i & 63); /* rol rax, imm8     */
		*p++ = 0xc3;
		uint64_t (*f)(uint64_t) = (uint64_t(*)(uint64_t))(c + (i & 7) * 64);
		for (int k = 0; k < 20; k++)
			r = f(r);
	}
	munmap(c, 4096);
	return r;
}

/* int_xpage: n x 1000 turns of a loop that straddles a page boundary */
extern uint64_t ub_xpage_loop(uint64_t turns, uint64_t x);
__asm__(".pushsection .text\n .balign 4096\n .skip 4096 - 8\n .globl ub_xpage_loop\nub_xpage_loop:\n"
	" mov %rsi, %rax\n" /* 3 bytes, 5 left on the page */
	"1: lea 1(%rax,%rax,4), %rax\n ror $7, %rax\n xor %rdi, %rax\n dec %rdi\n jnz 1b\n ret\n "
	".popsection");

static uint64_t int_xpage(uint64_t n)
{
	uint64_t x = 1;
	while (n--)
		x = ub_xpage_loop(1000, x);
	return x;
}

const struct ub_entry ub_int[] = { { "int_mix", int_mix },	   { "int_sieve", int_sieve },
				   { "int_sha256", int_sha256 },   { "int_bigmul", int_bigmul },
				   { "int_callret", int_callret }, { "int_smc", int_smc },
				   { "int_xpage", int_xpage },	   { 0, 0 } };
