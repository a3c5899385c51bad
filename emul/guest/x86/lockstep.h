/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lockstep.h - x86's part of lockstep: the interpreter follows, and registers and memory are compared
 */
#ifndef TENON_X86_LOCKSTEP_H
#define TENON_X86_LOCKSTEP_H

#include "../../core/lockstep.h"
#include "cpu.h"

/*
 * Between two instructions of a vCPU in lockstep. The leader: the twin follows, and both are compared; false: they
 * differ, core.msg says how. The twin: false when it has come to where the leader is.
 */
bool x86_lockstep_turn(struct x86_cpu *cpu);
/* The twin: how many instructions it may execute until then; at least one. */
u64 x86_lockstep_budget(const struct x86_cpu *cpu);

/* Is a turn due after this very block? */
static inline bool x86_lockstep_blocks(const struct x86_cpu *cpu)
{
	const struct emul_lockstep *ls = cpu->core.vm->lockstep;

	return unlikely(ls) && ls->blocks;
}

#endif /* TENON_X86_LOCKSTEP_H */
