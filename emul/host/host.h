/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * host.h - the seam behind which guest x87, MMX, SSE and AVX instructions are computed
 *
 * guest/x86/vec.c and xstate.c do everything that is the guest's affair: checks, memory operands, exceptions,
 * images. What is left is arithmetic on registers and at most one plain memory operand, and that is asked for
 * here. On x86-64 the host's own processor computes it (host/x86_64/); another host implements the same
 * functions in C.
 *
 * Contract
 *  - XMM and YMM registers are in struct x86_fpu whenever C code runs.
 *  - x87 registers (with MMX) and MXCSR are in struct x86_fpu, or in the implementation's keeping for those
 *    units that x86_fpu_live.live names. They are brought there by host_fpu_load() and back by
 *    host_fpu_save(), which leaves the thread as the C ABI wants it.
 *  - All functions that take a struct x86_fpu_live are called on the thread of the vCPU that owns it.
 */
#ifndef TENON_HOST_H
#define TENON_HOST_H

#include "../guest/x86/state.h"

#ifndef __x86_64__
#error "emul/host/ implements host.h for x86-64 only: host_*() are missing for this host (host-seam.rst)"
#endif

/* Units whose state host_fpu_load() takes over. */
#define HOST_MXCSR	BIT(0)
#define HOST_X87	BIT(1)

/*
 * A vCPU's side of the seam.
 * @live:	HOST_*: state.fpu is stale in these, the truth is with the implementation
 * @masked:	with MXCSR live: all its exceptions are masked
 * @scratch:	the implementation's own
 * @bounce:	stands in for a memory operand that can't be reached directly; aligned as no operand is more
 *		strictly
 */
struct x86_fpu_live {
	u32 live;
	bool masked;
	void *scratch;
	u8 bounce[64] __attribute__((aligned(64)));
};

/*
 * A compiled instruction. @mem is the memory operand, as aligned as the guest's when the instruction demands
 * alignment; @gpr is x86_state.gpr. @flags holds arithmetic flags in bits 8..15 as LAHF has them and OF in
 * bit 0, read and written by instructions whose row says so. Returns 0, or the vector of an unmasked
 * floating-point exception (X86_EXC_MF, X86_EXC_XM): then nothing has changed but the exception flags of the
 * unit.
 */
typedef u32 (*host_fn)(void *mem, struct x86_fpu *fpu, u64 *gpr, u64 *flags, const struct x86_insn *insn);

/* Once a process, before anything else; may be called again. False: executable memory is forbidden. */
bool host_init(void);
struct x86_fpu_live *host_live_new(void);
void host_live_free(struct x86_fpu_live *live);

/*
 * Compile an instruction of class FPU or VEC whose operands are registers and plain memory. The code lives as
 * long as the process. Not reentrant: the caller serialises. NULL: no room left, or not an instruction of
 * this host.
 */
host_fn host_compile(const struct x86_insn *insn, bool code64);
/* The same for one call by this vCPU: the next call overwrites it. Needs no lock. */
host_fn host_compile_once(struct x86_fpu_live *live, const struct x86_insn *insn, bool code64);

/* Make the units @what (and those already live) live. */
void host_fpu_load(struct x86_fpu_live *live, struct x86_fpu *fpu, u32 what);
/* Bring home what is live; nothing is live afterwards. */
void host_fpu_save(struct x86_fpu_live *live, struct x86_fpu *fpu);
/* Nothing is live any more; what was is lost. */
void host_fpu_drop(struct x86_fpu_live *live);
/* x87 status and control word while HOST_X87 is live. */
u16 host_x87_status(void);
u16 host_x87_control(void);

/* Bits of MXCSR that are implemented. */
u32 host_mxcsr_mask(void);
/* BIT_ULL(enum x86_feat) of the instructions that host_compile() takes. */
u64 host_features(void);

#endif /* TENON_HOST_H */
