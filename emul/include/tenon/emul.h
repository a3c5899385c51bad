/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * emul.h - the software CPU as a library
 *
 * A VM is guest-physical memory, a way out for accesses that are not RAM, and vCPUs. The embedder gives each vCPU a
 * thread and calls emul_run() in a loop; everything that is not computation (devices, interrupt controllers, time)
 * comes from the embedder through struct emul_ops.
 *
 * Guest-architecture state is reached through emul/guest/<arch>/state.h; nothing here names a register.
 */
#ifndef TENON_EMUL_H
#define TENON_EMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct emul_vm;
struct emul_vcpu;

enum emul_space {
	EMUL_MMIO,		/* guest-physical memory space */
	EMUL_PIO,		/* x86 port space */
};

/*
 * Why emul_run() returned. It returns at an instruction boundary with precise state.
 */
enum emul_exit_reason {
	EMUL_EXIT_KICK,		/* emul_kick() was called */
	EMUL_EXIT_HALT,		/* the guest halted (or is waiting for start-up): wait until emul_kick() or an interrupt */
	EMUL_EXIT_SHUTDOWN,	/* triple fault */
	EMUL_EXIT_DEBUG,	/* breakpoint or finished step of the embedder's debugger */
	EMUL_EXIT_ERROR,	/* the emulator can't go on; @msg says why */
};

struct emul_exit {
	enum emul_exit_reason reason;
	const char *msg;	/* EMUL_EXIT_ERROR and EMUL_EXIT_SHUTDOWN: one line, owned by the vCPU */
};

/* Sources of non-determinism. Every such value enters through one function and can be recorded and replayed. */
enum emul_input {
	EMUL_INPUT_TSC,
	EMUL_INPUT_RANDOM,
	EMUL_INPUT_IO,		/* value read from a device */
	EMUL_INPUT_INTR,	/* vector taken from the interrupt controller, -1: none; the instruction count says when */
	EMUL_INPUT_MSR,		/* what an MSR or CR8 of the interrupt controller holds, and whether it took a value */
	EMUL_INPUT_NMI, EMUL_INPUT_SMI,	/* one is delivered now */
	EMUL_INPUT_DMA,		/* a device has written guest memory, from this address on; to be seen, not replaced */
	EMUL_INPUT_OUTPUT,	/* a value written to a device; to be seen, not replaced */
};

/**
 * struct emul_ops - what the software CPU asks of its embedder
 * @access:	perform a device access of 1 to 64 bytes (naturally split is the device's own affair); reads fill @data.
 *		Called on the vCPU's thread, at a point where the state is precise; may call emul_kick().
 * @intr_ack:	return the vector of the pending external interrupt and take it from the controller; -1 if there is none
 *		(any more). Called with the vCPU able to take it.
 * @intr_pending: is there an external interrupt for this vCPU (by priority deliverable)? Called after emul_kick().
 * @tpr_get, @tpr_set: the task priority behind CR8 (0..15)
 * @msr_read, @msr_write: model-specific registers that the interrupt controller owns (IA32_APIC_BASE, x2APIC range,
 *		IA32_TSC_DEADLINE); false: #GP
 * @tsc:	the guest's time-stamp counter, before the vCPU's own offset
 * @input:	optional: sees (and may replace) every non-deterministic value; NULL: values pass unchanged. EMUL_INPUT_DMA
 *		comes on the device's thread, with no vCPU
 *
 * All members but @input are required; emul_vm_create() checks. All but @access run with the guest's floating-point
 * environment in the host's registers: they must not compute in floating point.
 */
struct emul_ops {
	void (*access)(void *opaque, struct emul_vcpu *vcpu, enum emul_space space, uint64_t addr, void *data,
		       unsigned int len, bool write);
	int (*intr_ack)(void *opaque, struct emul_vcpu *vcpu);
	bool (*intr_pending)(void *opaque, struct emul_vcpu *vcpu);
	uint8_t (*tpr_get)(void *opaque, struct emul_vcpu *vcpu);
	void (*tpr_set)(void *opaque, struct emul_vcpu *vcpu, uint8_t tpr);
	bool (*msr_read)(void *opaque, struct emul_vcpu *vcpu, uint32_t msr, uint64_t *val);
	bool (*msr_write)(void *opaque, struct emul_vcpu *vcpu, uint32_t msr, uint64_t val);
	uint64_t (*tsc)(void *opaque, struct emul_vcpu *vcpu);
	uint64_t (*input)(void *opaque, struct emul_vcpu *vcpu, enum emul_input kind, uint64_t val);
};

enum emul_jit {
	EMUL_JIT_ON,
	EMUL_JIT_OFF,
	EMUL_JIT_EAGER,		/* all code at once, into a tiny cache */
	EMUL_JIT_STRESS,	/* and blocks of one instruction, a TLB of one entry, flushes at random, 10,000 interruptions a second */
};

/*
 * Run the interpreter beside the translator, on a copy of the machine, and compare: after each block, or each time translated
 * code is left, which is what it does 10,000 times a second anyway. One vCPU. A difference ends emul_run() with
 * EMUL_EXIT_ERROR. See Documentation/lockstep.rst.
 */
enum emul_lockstep_mode { EMUL_LOCKSTEP_OFF, EMUL_LOCKSTEP_BLOCKS, EMUL_LOCKSTEP_CHAINS };

/**
 * struct emul_config - fixed properties of a VM
 * @max_vcpus:	how many vCPUs emul_vcpu_create() will be asked for
 * @tsc_hz:	frequency of emul_ops.tsc, published to the guest
 * @jit:	translate hot code (the default), never, or in a way that is for tests
 * @count:	count the instructions that translated code executes, which takes time; lockstep counts anyway
 * @perf_map:	file descriptor: a line for each translation, by which perf names it; 0: none
 * @trace:	file descriptor: each translated block and the code made of it, as text; 0: none
 * @lockstep:	compare the translator with the interpreter at every step (for tests: slow)
 * @cpu:	guest CPU model and feature changes ("max", "x86-64-v2,-avx"); NULL: everything implemented
 */
struct emul_config {
	unsigned int max_vcpus;
	uint64_t tsc_hz;
	const char *cpu;
	enum emul_jit jit;
	bool count;
	int perf_map, trace;
	enum emul_lockstep_mode lockstep;
};

/* Is emul_config.cpu a model that there is, and can it be had here? If not, @err says why. */
bool emul_cpu_valid(const char *cpu, char *err, size_t errlen);

/* Create a VM; NULL with a message in @err (@errlen bytes) on failure. */
struct emul_vm *emul_vm_create(const struct emul_config *cfg, const struct emul_ops *ops, void *opaque, char *err,
			       size_t errlen);
/* All vCPU threads must have left emul_run(). */
void emul_vm_destroy(struct emul_vm *vm);

#define EMUL_MEM_READONLY	1	/* writes go to emul_ops.access */

/* Back [gpa, gpa + size) by host memory. Page-aligned, not overlapping. Before the first emul_run(). 0 or -errno. */
int emul_mem_add(struct emul_vm *vm, uint64_t gpa, uint64_t size, void *host, unsigned int flags);

/*
 * A device's way to guest memory. emul_dma_map() gives the host address of guest memory, which is contiguous for
 * *@len bytes (shortened if need be), or NULL if there is no RAM (or no writable RAM, for @write) at @gpa.
 * emul_dma_unmap() ends the access: written bytes are marked dirty and translations of them are dropped. Any thread.
 */
void *emul_dma_map(struct emul_vm *vm, uint64_t gpa, uint64_t *len, bool write);
void emul_dma_unmap(struct emul_vm *vm, uint64_t gpa, uint64_t len, bool write);

/* Create vCPU @id in its power-up state. NULL: no memory. */
struct emul_vcpu *emul_vcpu_create(struct emul_vm *vm, unsigned int id, void *opaque);
unsigned int emul_vcpu_id(const struct emul_vcpu *vcpu);
void *emul_vcpu_opaque(const struct emul_vcpu *vcpu);
/* Power-up state; @init: the lighter reset of an INIT. On the vCPU's thread, or before it runs. */
void emul_vcpu_reset(struct emul_vcpu *vcpu, bool init);

/* Run guest code until there is a reason not to. On the vCPU's thread. */
void emul_run(struct emul_vcpu *vcpu, struct emul_exit *exit);
/* Execute exactly one instruction from any state (or deliver one pending event). On the vCPU's thread. */
void emul_step(struct emul_vcpu *vcpu, struct emul_exit *exit);

/* Ways to get a vCPU's attention, from any thread, safe in signal handlers. */
void emul_kick(struct emul_vcpu *vcpu);		/* emul_run() returns EMUL_EXIT_KICK soon */
void emul_intr(struct emul_vcpu *vcpu);		/* look at emul_ops.intr_pending again */
void emul_nmi(struct emul_vcpu *vcpu);		/* deliver an NMI */

/**
 * struct emul_stats - counters of a vCPU
 * @insns:	guest instructions retired
 * @jit_insns:	of these, in translated code; @jit_calls: of these, by a handler of the interpreter called from there
 * @jit_blocks:	blocks translated
 * @blocks:	decoded blocks built
 * @tlb_fills:	page walks
 * @io:		device accesses
 * @exceptions:	exceptions and software interrupts delivered
 * @interrupts:	external interrupts delivered
 */
struct emul_stats {
	uint64_t insns, jit_insns, jit_calls, jit_blocks, blocks, tlb_fills, io, exceptions, interrupts;
};
void emul_vcpu_stats(const struct emul_vcpu *vcpu, struct emul_stats *stats);
/* In words: what was not done in translated code, and why. While the vCPU does not run. */
void emul_vcpu_describe(const struct emul_vcpu *vcpu, int fd);

#endif /* TENON_EMUL_H */
