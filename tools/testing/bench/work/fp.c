// SPDX-License-Identifier: GPL-2.0-only
/* Scalar floating point; build with -fno-tree-vectorize so that it stays scalar SSE2. */
#include "ub.h"
#include <math.h>
#include <string.h>

/* fp_nbody: n steps of a 5-body system */
struct body {
	double x, y, z, vx, vy, vz, m;
};

static uint64_t fp_nbody(uint64_t n)
{
	struct body b[5];
	uint64_t s = 1234567;
	for (int i = 0; i < 5; i++) {
		double *d = &b[i].x;
		for (int k = 0; k < 6; k++)
			d[k] = (double)(int64_t)(ub_rng(&s) >> 20) / 1e13 * (k < 3 ? 10 + 7 * i : 0.1);
		b[i].m = i ? 0.001 * i : 39.0;
	}
	const double dt = 0.001;
	while (n--) {
		for (int i = 0; i < 5; i++)
			for (int j = i + 1; j < 5; j++) {
				double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
				double d2 = dx * dx + dy * dy + dz * dz + 0.01;
				double mag = dt / (d2 * sqrt(d2));
				b[i].vx -= dx * b[j].m * mag;
				b[i].vy -= dy * b[j].m * mag;
				b[i].vz -= dz * b[j].m * mag;
				b[j].vx += dx * b[i].m * mag;
				b[j].vy += dy * b[i].m * mag;
				b[j].vz += dz * b[i].m * mag;
			}
		for (int i = 0; i < 5; i++) {
			b[i].x += dt * b[i].vx;
			b[i].y += dt * b[i].vy;
			b[i].z += dt * b[i].vz;
		}
	}
	uint64_t h = 0;
	for (int i = 0; i < 5; i++)
		h = ub_mixd(ub_mixd(h, b[i].x), b[i].vz);
	return h;
}

/* fp_mandel: n points, at most 200 iterations */
static uint64_t fp_mandel(uint64_t n)
{
	uint64_t sum = 0;
	for (uint64_t p = 0; p < n; p++) {
		double cr = -2.0 + (double)(p * 7919 % 3000) / 1000,
		       ci = -1.2 + (double)(p * 104729 % 2400) / 1000;
		double zr = 0, zi = 0;
		int k = 0;
		while (k < 200) {
			double r2 = zr * zr, i2 = zi * zi;
			if (r2 + i2 > 4)
				break;
			zi = 2 * zr * zi + ci;
			zr = r2 - i2 + cr;
			k++;
		}
		sum += (uint64_t)k;
	}
	return sum;
}

/* fp_linpack: n times LU factor + solve, 100 x 100, partial pivoting */
static uint64_t fp_linpack(uint64_t n)
{
	enum { M = 100 };

	static double a[M][M], b[M];
	uint64_t h = 0, s = 1325;
	while (n--) {
		for (int i = 0; i < M; i++) {
			b[i] = 0;
			for (int j = 0; j < M; j++) {
				a[i][j] = (double)(int64_t)ub_rng(&s) / 9.3e18;
				b[i] += a[i][j];
			}
		}
		for (int k = 0; k < M; k++) {
			int p = k;
			for (int i = k + 1; i < M; i++)
				if (fabs(a[i][k]) > fabs(a[p][k]))
					p = i;
			if (p != k) {
				double t;
				for (int j = 0; j < M; j++) {
					t = a[k][j];
					a[k][j] = a[p][j];
					a[p][j] = t;
				}
				t = b[k];
				b[k] = b[p];
				b[p] = t;
			}
			for (int i = k + 1; i < M; i++) {
				double f = a[i][k] / a[k][k];
				for (int j = k + 1; j < M; j++)
					a[i][j] -= f * a[k][j];
				b[i] -= f * b[k];
			}
		}
		for (int k = M - 1; k >= 0; k--) {
			for (int j = k + 1; j < M; j++)
				b[k] -= a[k][j] * b[j];
			b[k] /= a[k][k];
		}
		h = ub_mixd(h, b[0]);
	}
	return h;
}

/* fp_x87: logistic-map orbit in 80-bit long double */
static uint64_t fp_x87(uint64_t n)
{
	volatile long double x0 = 0.3L;
	long double x = x0, y = 1;
	for (uint64_t i = 0; i < n; i++) {
		x = 3.99L * x * (1 - x);
		y = y * 0.5L + x / (y + 1);
	}
	return ub_mixd(ub_mixd(0, (double)x), (double)y);
}

const struct ub_entry ub_fp[] = { { "fp_nbody", fp_nbody },
				  { "fp_mandel", fp_mandel },
				  { "fp_linpack", fp_linpack },
				  { "fp_x87", fp_x87 },
				  { 0, 0 } };
