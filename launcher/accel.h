/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * accel.h - the back end that runs guest code: one const ops table each for the module and the software CPU
 *
 * Register state crosses in the KVM ABI's own structs, which the module takes as they are.
 */
#ifndef TENON_ACCEL_H
#define TENON_ACCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

struct vm;
struct vcpu;

/* Why a vCPU stopped running. Everything else (devices, halts, interrupts) is served inside. */
enum vcpu_stop {
	VCPU_STOP_KICK,		/* vcpu_kick() */
	VCPU_STOP_SHUTDOWN,	/* triple fault */
	VCPU_STOP_DEBUG,
	VCPU_STOP_ERROR,	/* vcpu->msg says why */
};

/**
 * struct accel_ops - a way of running guest code
 * @name:	as in --accel NAME
 * @summary:	one line for `tenon info`
 * @probe:	is it usable here? If not, write into @why what is missing and what to do about it (one or two sentences)
 * @vm_init:	set up vm->accel with vm->config; -errno with a message printed on failure
 * @vm_exit:	undo vm_init; all vCPUs are gone
 * @ram_add:	back guest-physical memory by host memory
 * @vcpu_init, @vcpu_exit: on the vCPU's own thread
 * @set_boot_regs: start state of the boot vCPU (others wait for SIPI)
 * @get_regs:	for messages and debugging; on the vCPU's thread
 * @run:	run until something stops it; on the vCPU's thread
 * @kick:	make @run return VCPU_STOP_KICK; any thread
 * @irq_line:	set the level of an interrupt line (GSI); any thread
 * @pit_irq:	the PIT is connected with IRQ 0 (as after @vm_init), or GSI 0 is @irq_line's: PIC input 0 and IOAPIC pin 2.
 *		Any thread
 * @msi:	deliver a message-signalled interrupt; any thread
 * @nmi:	deliver an NMI
 * @doorbell:	optional: from now on (until @on is false) a write of two bytes to @gpa signals the eventfd @fd, and the
 *		device is not called. A wish: where it fails, the device is called
 * @irqfd:	optional: from now on (until @on is false) a signal of the eventfd @fd delivers this message, without any
 *		thread's doing. False: it does not. For one caller at a time
 * @clock:	optional: what it has of time, beside guest_ns(), stands still or goes on. No vCPU is in guest code; called
 *		to go on without having stood still, too
 * @dma_map, @dma_unmap: a device's way to RAM, as emul_dma_map()
 * @stats:	optional: print counters to the file descriptor
 */
struct accel_ops {
	const char *name;
	const char *summary;
	bool (*probe)(char *why, size_t len);
	int (*vm_init)(struct vm *vm);
	void (*vm_exit)(struct vm *vm);
	int (*ram_add)(struct vm *vm, uint64_t gpa, uint64_t size, void *host, bool readonly);
	int (*vcpu_init)(struct vcpu *vcpu);
	void (*vcpu_exit)(struct vcpu *vcpu);
	int (*set_boot_regs)(struct vcpu *vcpu, const struct kvm_regs *regs, const struct kvm_sregs *sregs);
	int (*get_regs)(struct vcpu *vcpu, struct kvm_regs *regs, struct kvm_sregs *sregs);
	enum vcpu_stop (*run)(struct vcpu *vcpu);
	void (*kick)(struct vcpu *vcpu);
	void (*irq_line)(struct vm *vm, unsigned int gsi, bool level);
	void (*pit_irq)(struct vm *vm, bool on);
	void (*msi)(struct vm *vm, uint64_t addr, uint32_t data);
	void (*nmi)(struct vcpu *vcpu);
	void (*doorbell)(struct vm *vm, uint64_t gpa, int fd, bool on);
	bool (*irqfd)(struct vm *vm, int fd, uint64_t addr, uint32_t data, bool on);
	void (*clock)(struct vm *vm, bool run);
	void *(*dma_map)(struct vm *vm, uint64_t gpa, uint64_t *len, bool write);
	void (*dma_unmap)(struct vm *vm, uint64_t gpa, uint64_t len, bool write);
	void (*stats)(struct vm *vm, int fd);
};

extern const struct accel_ops accel_module, accel_soft, accel_kvm;

/* The back ends in order of preference, of which auto takes the first usable one; NULL-terminated. */
extern const struct accel_ops *const accel_table[];
const struct accel_ops *accel_by_name(const char *name);

#endif /* TENON_ACCEL_H */
