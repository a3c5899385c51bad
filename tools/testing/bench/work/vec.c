// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vector kernels. SSE2 ones use GCC vector types compiled for the baseline; the AVX2
 * ones need a CPU (or emulator) with AVX2 and FMA and exit with status 77 without.
 */
#include "ub.h"
#include <immintrin.h>
#include <stdlib.h>

#define AVX __attribute__((target("avx2,fma")))

static void need_avx(void)
{
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		exit(77);
}

enum { V = 4096 };

static float X[V] __attribute__((aligned(64))), Y[V] __attribute__((aligned(64)));

static void fill(void)
{
	for (int i = 0; i < V; i++) {
		X[i] = (float)(i % 17) * 0.25f;
		Y[i] = (float)(i % 5);
	}
}

static uint64_t hashY(void)
{
	double d = 0;
	for (int i = 0; i < V; i++)
		d += Y[i];
	return ub_mixd(0, d);
}

/* n passes of y = 0.999 y + a x over 4096 floats */
static uint64_t vec_saxpy_sse(uint64_t n)
{
	fill();
	__m128 a = _mm_set1_ps(0.125f), d = _mm_set1_ps(0.999f);
	while (n--)
		for (int i = 0; i < V; i += 4)
			_mm_store_ps(Y + i, _mm_add_ps(_mm_mul_ps(d, _mm_load_ps(Y + i)),
						       _mm_mul_ps(a, _mm_load_ps(X + i))));
	return hashY();
}

AVX static void saxpy_avx(uint64_t n)
{
	__m256 a = _mm256_set1_ps(0.125f), d = _mm256_set1_ps(0.999f);
	while (n--)
		for (int i = 0; i < V; i += 8)
			_mm256_store_ps(Y + i, _mm256_fmadd_ps(a, _mm256_load_ps(X + i),
							       _mm256_mul_ps(d, _mm256_load_ps(Y + i))));
}

static uint64_t vec_saxpy_avx2(uint64_t n)
{
	need_avx();
	fill();
	saxpy_avx(n);
	return hashY();
}

/* n times C += A B, 64 x 64 floats, 4 x 16 register tile, FMA */
enum { G = 64 };

static float A[G][G] __attribute__((aligned(64))), B[G][G] __attribute__((aligned(64))),
	C[G][G] __attribute__((aligned(64)));

AVX static void gemm_avx(uint64_t n)
{
	while (n--)
		for (int i = 0; i < G; i += 4)
			for (int j = 0; j < G; j += 16) {
				__m256 c[4][2];
				for (int r = 0; r < 4; r++) {
					c[r][0] = _mm256_load_ps(&C[i + r][j]);
					c[r][1] = _mm256_load_ps(&C[i + r][j + 8]);
				}
				for (int k = 0; k < G; k++) {
					__m256 b0 = _mm256_load_ps(&B[k][j]),
					       b1 = _mm256_load_ps(&B[k][j + 8]);
					for (int r = 0; r < 4; r++) {
						__m256 a = _mm256_broadcast_ss(&A[i + r][k]);
						c[r][0] = _mm256_fmadd_ps(a, b0, c[r][0]);
						c[r][1] = _mm256_fmadd_ps(a, b1, c[r][1]);
					}
				}
				for (int r = 0; r < 4; r++) {
					_mm256_store_ps(&C[i + r][j], c[r][0]);
					_mm256_store_ps(&C[i + r][j + 8], c[r][1]);
				}
			}
}

static uint64_t vec_gemm_avx2(uint64_t n)
{
	need_avx();
	for (int i = 0; i < G; i++)
		for (int j = 0; j < G; j++) {
			A[i][j] = (float)((i * 7 + j) % 13) / 13;
			B[i][j] = (float)((i + j * 5) % 11) / 11;
			C[i][j] = 0;
		}
	gemm_avx(n);
	double d = 0;
	for (int i = 0; i < G; i++)
		for (int j = 0; j < G; j++)
			d += C[i][j];
	return ub_mixd(0, d);
}

/* n passes of byte-wise sum of absolute differences + shuffles, 4096 bytes: integer SSE2 / AVX2 */
static uint8_t P[V] __attribute__((aligned(64))), Q[V] __attribute__((aligned(64)));

static void fillb(void)
{
	uint64_t s = 3;
	for (int i = 0; i < V; i++) {
		P[i] = (uint8_t)(ub_rng(&s) >> 11);
		Q[i] = (uint8_t)(ub_rng(&s) >> 11);
	}
}

static uint64_t vec_int_sse(uint64_t n)
{
	fillb();
	__m128i acc = _mm_setzero_si128();
	while (n--)
		for (int i = 0; i < V; i += 16) {
			__m128i p = _mm_load_si128((void *)(P + i)), q = _mm_load_si128((void *)(Q + i));
			acc = _mm_add_epi64(acc,
					    _mm_sad_epu8(_mm_xor_si128(p, acc), _mm_shuffle_epi32(q, 0x1b)));
			acc = _mm_add_epi16(acc, _mm_unpacklo_epi8(_mm_cmpgt_epi8(p, q), q));
		}
	uint64_t r[2];
	_mm_storeu_si128((void *)r, acc);
	return r[0] ^ r[1] * 3;
}
const struct ub_entry ub_vec[] = { { "vec_saxpy_sse", vec_saxpy_sse },
				   { "vec_saxpy_avx2", vec_saxpy_avx2 },
				   { "vec_gemm_avx2", vec_gemm_avx2 },
				   { "vec_int_sse", vec_int_sse },
				   { 0, 0 } };
