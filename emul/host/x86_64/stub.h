/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * stub.h - between stub.c, which makes machine code, and fpu.c, which owns the thread's floating-point state
 */
#ifndef TENON_HOST_STUB_H
#define TENON_HOST_STUB_H

#include "../host.h"

/* The code cache, executable view. */
bool stub_init(bool avx);
bool stub_contains(u64 rip);
/* Where a stub that faulted goes on: returns RAX to the stub's caller. */
u64 stub_fault_exit(void);
void *stub_scratch_new(void);
void stub_scratch_free(void *scratch);

#endif /* TENON_HOST_STUB_H */
