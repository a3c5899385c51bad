// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-misc.c - hints, fences, cache control, random numbers
 */
#include <sched.h>
#include <sys/random.h>

#include "int-common.h"

/* NOP with a memory operand does not access it. */
HANDLER(nop)
{
	(void)cpu;
	(void)u;
	return X86_NEXT;
}
const struct interp_op interp_NOP = IOP_ALL(nop);
const struct interp_op interp_PREFETCH = IOP_ALL(nop);

/*
 * Guest code that waits for another vCPU says PAUSE. Where host processors are fewer than vCPUs, the one
 * waited for may not be running: give way now and then.
 */
#define PAUSES_A_YIELD	64

HANDLER(pause)
{
	static __thread unsigned int pauses;

	(void)u;
	if (cpu->core.vm->nr_vcpus > 1 && ++pauses % PAUSES_A_YIELD == 0)
		sched_yield();
	return X86_NEXT;
}
const struct interp_op interp_PAUSE = IOP_ALL(pause);

/*
 * Loads and stores are in guest order already (emul_read, emul_write); only a store followed by a load may
 * still be seen the other way round, and only MFENCE forbids that.
 */
HANDLER(mfence)
{
	(void)cpu;
	(void)u;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return X86_NEXT;
}
const struct interp_op interp_MFENCE = IOP_ALL(mfence);
const struct interp_op interp_LFENCE = IOP_ALL(nop);
const struct interp_op interp_SFENCE = IOP_ALL(nop);

/* Nothing is cached, but the address is checked as for a load of a byte, SDM vol. 2 "CLFLUSH". */
HANDLER(clflush)
{
	u64 lin;

	if (!x86_operand(cpu, u, 1, ACC_READ, &lin) || !x86_probe(cpu, lin, 1, ACC_READ))
		return X86_FAULT;
	return X86_NEXT;
}
const struct interp_op interp_CLFLUSH = IOP_ALL(clflush);
const struct interp_op interp_CLFLUSHOPT = IOP_ALL(clflush);
const struct interp_op interp_CLWB = IOP_ALL(clflush);

/* Random numbers of the host, fetched some at a time. False: the host has none to give now. */
static bool host_random(u64 *val)
{
	static __thread u64 pool[32];
	static __thread unsigned int left;

	if (!left) {
		ssize_t n = getrandom(pool, sizeof(pool), GRND_NONBLOCK);

		if (n < (ssize_t)sizeof(pool[0]))
			return false;
		left = (unsigned int)((size_t)n / sizeof(pool[0]));
	}
	*val = pool[--left];
	pool[left] = 0;
	return true;
}

/* CF says whether there is a number, the destination is 0 if not; all other flags are cleared. */
HANDLER(rdrand)
{
	u64 val = 0;
	bool have = host_random(&val);

	if (have)
		val = emul_nondet(&cpu->core, EMUL_INPUT_RANDOM, val);
	gpr_set(cpu, u->insn.rm, u->insn.opsize, val);
	cc_set(&cpu->s, have ? X86_CF : 0);
	return X86_NEXT;
}
const struct interp_op interp_RDRAND = IOP_ALL(rdrand);
const struct interp_op interp_RDSEED = IOP_ALL(rdrand);
