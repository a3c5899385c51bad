// SPDX-License-Identifier: GPL-2.0-only
/* Operating-system work: kernel entry/exit, process creation, context switches, faults, block I/O. */
#include "ub.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t os_syscall(uint64_t n)
{
	uint64_t r = 0;
	while (n--)
		r += syscall(SYS_getppid) > 0;
	return r;
}

/* clock_gettime: vDSO + TSC where the guest has one, else a system call */
static uint64_t os_clock(uint64_t n)
{
	struct timespec t;
	uint64_t r = 0;
	while (n--) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		r += (unsigned long)t.tv_nsec > 0;
	}
	return r ? 1 : 2;
}

static uint64_t os_forkexec(uint64_t n)
{
	const char *prog = access("/bin/true", X_OK) ? "/bin/busybox" : "/bin/true";
	uint64_t bad = 0;
	while (n--) {
		pid_t p = fork();
		if (p < 0)
			ub_die("fork");
		if (!p) {
			execl(prog, "true", (char *)0);
			_exit(127);
		}
		int st;
		while (waitpid(p, &st, 0) < 0 && errno == EINTR)
			;
		bad += st != 0;
	}
	return bad + 1;
}

/* fork + exit with 8 MiB of touched memory (page-table copies, COW) */
static uint64_t os_fork(uint64_t n)
{
	enum { SZ = 8 << 20 };

	uint8_t *m = mmap(0, SZ, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(m, 1, SZ);
	uint64_t r = 0;
	while (n--) {
		pid_t p = fork();
		if (!p) {
			for (int i = 0; i < SZ; i += 65536)
				m[i]++;
			_exit(m[0]);
		}
		int st;
		waitpid(p, &st, 0);
		r += WEXITSTATUS(st);
	}
	return r;
}

/* n page faults: mmap 1 MiB, touch each page, munmap */
static uint64_t os_pagefault(uint64_t n)
{
	uint64_t r = 0;
	for (uint64_t i = 0; i < n; i += 256) {
		uint8_t *m = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (m == MAP_FAILED)
			ub_die("mmap");
		for (int k = 0; k < 256; k++) {
			m[k * 4096] = (uint8_t)k;
			r += m[k * 4096 + 1] + 1u;
		}
		munmap(m, 1 << 20);
	}
	return r;
}

/* n increments under a mutex by each of 2 threads, plus an atomic counter (lock-prefixed code, futexes) */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static uint64_t shared_v, atomic_v, per;

static void *worker(void *a)
{
	for (uint64_t i = 0; i < per; i++) {
		if (!(i & 15)) {
			pthread_mutex_lock(&mu);
			shared_v++;
			pthread_mutex_unlock(&mu);
		}
		__atomic_fetch_add(&atomic_v, 1, __ATOMIC_SEQ_CST);
	}
	return a;
}

static uint64_t os_threads(uint64_t n)
{
	pthread_t t[2];
	per = n;
	shared_v = atomic_v = 0;
	for (int i = 0; i < 2; i++)
		if (pthread_create(&t[i], 0, worker, 0))
			ub_die("pthread_create");
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], 0);
	return shared_v * 31 + atomic_v;
}

/* Block I/O on the raw tail of the disk ($UB_DEV from byte $UB_OFF on, $UB_LEN bytes), O_DIRECT. */
static int io_open(int fl, uint64_t *off, uint64_t *len)
{
	const char *d = getenv("UB_DEV"), *o = getenv("UB_OFF"), *l = getenv("UB_LEN");
	if (!d || !o || !l) {
		fprintf(stderr, "UB_DEV/UB_OFF/UB_LEN unset\n");
		exit(77);
	}
	*off = strtoull(o, 0, 0);
	*len = strtoull(l, 0, 0);
	int fd = open(d, fl | O_DIRECT);
	if (fd < 0)
		ub_die(d);
	return fd;
}

static void *io_buf(void)
{
	void *b;
	if (posix_memalign(&b, 4096, 1 << 20))
		ub_die("memalign");
	memset(b, 0x5a, 1 << 20);
	return b;
}

/* n MiB sequential */
static uint64_t io_write(uint64_t n)
{
	uint64_t o, l;
	int fd = io_open(O_RDWR, &o, &l);
	void *b = io_buf();
	for (uint64_t i = 0; i < n; i++)
		if (pwrite(fd, b, 1 << 20, (off_t)(o + (i << 20) % l)) != 1 << 20)
			ub_die("pwrite");
	fdatasync(fd);
	close(fd);
	return n;
}

static uint64_t io_read(uint64_t n)
{
	uint64_t o, l;
	int fd = io_open(O_RDONLY, &o, &l);
	void *b = io_buf();
	for (uint64_t i = 0; i < n; i++)
		if (pread(fd, b, 1 << 20, (off_t)(o + (i << 20) % l)) != 1 << 20)
			ub_die("pread");
	close(fd);
	return n;
}

/* n random 4 KiB reads, queue depth 1 */
static uint64_t io_rand(uint64_t n)
{
	uint64_t o, l, s = 5;
	int fd = io_open(O_RDONLY, &o, &l);
	void *b = io_buf();
	while (n--)
		if (pread(fd, b, 4096, (off_t)(o + ub_rng(&s) % (l >> 12) * 4096)) != 4096)
			ub_die("pread");
	close(fd);
	return 1;
}
const struct ub_entry ub_os[] = { { "os_syscall", os_syscall },	    { "os_clock", os_clock },
				  { "os_forkexec", os_forkexec },   { "os_fork", os_fork },
				  { "os_pagefault", os_pagefault }, { "os_threads", os_threads },
				  { "io_write", io_write },	    { "io_read", io_read },
				  { "io_rand", io_rand },	    { 0, 0 } };
