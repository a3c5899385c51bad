/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * fuzz.h - what the parts of fuzz share: random numbers, the memory of guests, and what there is in a round
 */
#ifndef TENON_FUZZ_H
#define TENON_FUZZ_H

#include <stdatomic.h>

#include "harness.h"

#define PAGE	0x1000ul
#define ARENA	(4ul << 20)	/* guest memory of all VMs of a round */
#define MAX_THREADS 8

extern bool verbose;
/* By QEMU, see runs_on_tcg(); then, of this round: guests have no long mode, or don't change EFER and CR0. */
extern bool emulated, no_long, keep_long;
extern int node;		/* the device */
extern uint8_t *arena;
extern size_t run_size;

/* Shared by all threads of a round: files and mappings come and go under each other. */
extern _Atomic int vms[3], vcpus[6], events[4];
extern void *_Atomic runs[6];
extern _Atomic unsigned long calls, entries;
extern _Atomic bool stop;

/* What follows is of the calling thread, which begins with this. */
void seed_thread(uint64_t seed);
/* ...of the round, for one thread. */
uint64_t thread_seed(unsigned int thread);
uint64_t rnd(void);
uint64_t below(uint64_t n);
bool one_in(unsigned int n);
/* Small, round, at an edge, or anything. */
uint64_t value(void);
#define PICK(array) ((array)[below(COUNT(array))])

/*
 * Pages of code, of tables, of noise, and of nothing. By a system call: memory that another thread has just taken away is an
 * error then, and no fault.
 */
void fill(void *where, size_t len);

/* ioctl(), counted and, with --verbose, told */
int call_(const char *name, int fd, unsigned long cmd, unsigned long arg);
#define call(fd, cmd, arg) call_(#cmd, fd, cmd, (unsigned long)(arg))

/* This thread is out of KVM_RUN every 3 ms. */
void kick_often(void);

/* fuzz-calls.c; @buf: four pages for structures */
void set_state(int vcpu, uint8_t *buf);
void set_msrs(int vcpu);
void drop_long(struct kvm_cpuid2 *c);
void vcpu_call(int vcpu, uint8_t *buf);

/* fuzz-guests.c: the CPUID that is supported, with what guests of this round may have: 0 or an error */
int give_cpuid(int vcpu);
/* One VM with all there is in it, 0 or -1; and with storms in it, which count the interrupts */
int new_vm(unsigned int nvcpus);
void put_storms(unsigned int nvcpus);
#define STORM_COUNT	((volatile uint32_t *)(arena + 0x9000))

/* Threads, by number. */
void *fuzz_caller(void *n);
void *fuzz_guest(void *n);
void *storm_vcpu(void *n);
void *storm_host(void *n);

#endif /* TENON_FUZZ_H */
