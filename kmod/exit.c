// SPDX-License-Identifier: GPL-2.0-only
/*
 * exit.c - exits that all processors have: 1 go on, 0 back to user space, or -errno

 */
#include <linux/kvm.h>
#include <linux/nospec.h>
#include <asm/processor-flags.h>

#include "../emul/guest/x86/decode.h"
#include "tenon.h"
#include "trace.h"
#include "vendor.h"

/* Served when interrupts came back on, or by tenon_events(). */
int tenon_exit_nothing(struct tenon_vcpu *vcpu)
{
	return 1;
}

int tenon_exit_ud(struct tenon_vcpu *vcpu)
{
	tenon_inject_ud(vcpu);
	return 1;
}

int tenon_exit_gp(struct tenon_vcpu *vcpu)
{
	tenon_inject_gp(vcpu);
	return 1;
}

int tenon_exit_cpuid(struct tenon_vcpu *vcpu)
{
	u32 eax = vcpu->gpr[X86_RAX], ecx = vcpu->gpr[X86_RCX], ebx, edx;

	tenon_cpuid(vcpu, &eax, &ebx, &ecx, &edx);
	vcpu->gpr[X86_RAX] = eax;
	vcpu->gpr[X86_RBX] = ebx;
	vcpu->gpr[X86_RCX] = ecx;
	vcpu->gpr[X86_RDX] = edx;
	return tenon_skip_insn(vcpu);
}

int tenon_exit_hlt(struct tenon_vcpu *vcpu)
{
	int ret = tenon_skip_insn(vcpu);

	return ret <= 0 ? ret : tenon_emulate_halt(vcpu);
}

int tenon_exit_pause(struct tenon_vcpu *vcpu)
{
	tenon_spin(vcpu);
	return 1;
}

static u64 edx_eax(const struct tenon_vcpu *vcpu)
{
	return (u32)vcpu->gpr[X86_RAX] | vcpu->gpr[X86_RDX] << 32;
}

int tenon_exit_msr(struct tenon_vcpu *vcpu, bool write)
{
	const u32 msr = vcpu->gpr[X86_RCX];
	u64 value = 0;
	int ret;

	vcpu->stats.msrs++;
	if (write) {
		value = edx_eax(vcpu);
		ret = tenon_wrmsr(vcpu, msr, value, false);
	} else {
		ret = tenon_rdmsr(vcpu, msr, &value, false);
		if (!ret) {
			vcpu->gpr[X86_RAX] = (u32)value;
			vcpu->gpr[X86_RDX] = value >> 32;
		}
	}
	trace_tenon_msr(vcpu->id, write, msr, value, ret);
	return ret ? tenon_exit_gp(vcpu) : tenon_skip_insn(vcpu);
}

int tenon_exit_xsetbv(struct tenon_vcpu *vcpu)
{
	if (tenon_vendor->cpl(vcpu) || tenon_xsetbv(vcpu, vcpu->gpr[X86_RCX], edx_eax(vcpu)))
		return tenon_exit_gp(vcpu);
	return tenon_skip_insn(vcpu);
}

/* MOV to CR8, of what the instruction has in its register. */
int tenon_exit_cr8(struct tenon_vcpu *vcpu, u64 value, u64 next)
{
	bool falls;

	if (value & ~0xfull)
		return tenon_exit_gp(vcpu);
	falls = value < vcpu->cr8;
	vcpu->cr8 = value;
	if (vcpu->lapic)
		lapic_set_tpr(vcpu->lapic, value << 4);
	tenon_advance(vcpu, next);
	if (falls && !vcpu->lapic) {
		vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
		return 0;
	}
	return 1;
}

/* May MOV set CR4 to this? AMD APM vol. 2, "CR4 Register"; Intel SDM vol. 3, "Control Registers" */
bool tenon_cr4_valid(struct tenon_vcpu *vcpu, const struct tenon_sys *sys, u64 value)
{
	const bool lma = sys->efer & EFER_LMA;

	return !(value & ~vcpu->cr4_allowed) &&
	       (!lma || ((value & X86_CR4_PAE) && !((value ^ sys->cr4) & X86_CR4_LA57))) &&
	       (!(value & X86_CR4_PCIDE) || (sys->cr4 & X86_CR4_PCIDE) || (lma && !(sys->cr3 & 0xfff)));
}

/*
 * MOV to or from a debug register. @operand: which, and the general register and the RIP after it; it may fail, if the
 * instruction has changed meanwhile.
 */
int tenon_exit_dr(struct tenon_vcpu *vcpu, unsigned int dr, bool write,
		  int (*operand)(struct tenon_vcpu *vcpu, unsigned int *reg, u64 *next))
{
	const u64 dr7 = tenon_vendor->get_dr67(vcpu, 7);
	struct tenon_code code;
	struct tenon_sys sys;
	unsigned int reg;
	u64 value, next;
	bool wide;

	if (dr7 & TENON_DR7_GD) {
		/* General detect. */
		tenon_vendor->set_dr67(vcpu, 6, tenon_vendor->get_dr67(vcpu, 6) | TENON_DR6_BD);
		tenon_vendor->set_dr67(vcpu, 7, dr7 & ~TENON_DR7_GD);
		tenon_queue_exception(vcpu, 1, false, 0, 0);
		return 1;
	}
	if (operand(vcpu, &reg, &next))
		return 1;
	if (dr == 4 || dr == 5) {
		tenon_vendor->get_sys(vcpu, &sys);
		if (sys.cr4 & X86_CR4_DE)
			return tenon_exit_ud(vcpu);
		dr += 2;
	}
	if (dr > 7)
		return tenon_exit_ud(vcpu);
	tenon_vendor->get_code(vcpu, &code);
	wide = code.mode == X86_MODE_64;
	if (write) {
		value = vcpu->gpr[reg];
		if (!wide)
			value = (u32)value;
		if (dr >= 6 && value >> 32)
			return tenon_exit_gp(vcpu);
		if (dr < 4)
			vcpu->dr[array_index_nospec(dr, 4)] = value;
		else
			tenon_vendor->set_dr67(vcpu, dr, value);
	} else {
		value = dr < 4 ? vcpu->dr[array_index_nospec(dr, 4)] : tenon_vendor->get_dr67(vcpu, dr);
		vcpu->gpr[reg] = wide ? value : (u32)value;
	}
	tenon_advance(vcpu, next);
	return 1;
}

/* A trap or breakpoint that a debugger in user space waits for. @dr6: what has been met with */
int tenon_exit_debug(struct tenon_vcpu *vcpu, u8 vector, u64 dr6, u64 dr7)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_segment cs;

	tenon_vendor->get_segment(vcpu, X86_CS, &cs);
	run->exit_reason = KVM_EXIT_DEBUG;
	run->debug.arch.exception = vector;
	run->debug.arch.pc = cs.base + vcpu->rip;
	run->debug.arch.dr6 = dr6;
	run->debug.arch.dr7 = dr7;
	return 0;
}

int tenon_exit_shutdown(struct tenon_vcpu *vcpu)
{
	/* The guest's state is undefined now: leave that of a reset. */
	tenon_vendor->vcpu_reset(vcpu, true);
	vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

int tenon_exit_fail_entry(struct tenon_vcpu *vcpu, u64 reason)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = reason;
	run->fail_entry.cpu = raw_smp_processor_id();
	return 0;
}

int tenon_exit_unexpected(struct tenon_vcpu *vcpu, u64 reason)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
	run->internal.ndata = 2;
	run->internal.data[0] = reason;
	run->internal.data[1] = raw_smp_processor_id();
	return 0;
}
