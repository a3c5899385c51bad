/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * emul-x86.h - the register state of an x86 vCPU of the software CPU
 */
#ifndef TENON_EMUL_X86_H
#define TENON_EMUL_X86_H

#include "emul.h"
#include "../../guest/x86/state.h"

/*
 * The state itself; on the vCPU's thread or while it does not run. emul_x86_changed() must follow a change. RFLAGS is
 * split in two inside (see state.h): use the accessors.
 */
struct x86_state *emul_x86_state(struct emul_vcpu *vcpu);
void emul_x86_changed(struct emul_vcpu *vcpu);
uint64_t emul_x86_rflags(const struct emul_vcpu *vcpu);
void emul_x86_set_rflags(struct emul_vcpu *vcpu, uint64_t rflags);

/* Width of physical addresses, as the guest's CPUID has it. */
unsigned int emul_x86_phys_bits(const struct emul_vm *vm);

/* Start-up IPI: leave the wait after INIT at @vector * 4096 in real mode. On the vCPU's thread. */
void emul_x86_sipi(struct emul_vcpu *vcpu, uint8_t vector);

/* System management interrupt, from any thread: the vCPU enters SMM between two instructions, once it is out of it. */
void emul_smi(struct emul_vcpu *vcpu);

#endif /* TENON_EMUL_X86_H */
