// SPDX-License-Identifier: GPL-2.0-only
/*
 * exit.c - AMD SVM: what to do when a guest leaves
 *
 * Source: AMD APM vol. 2, appendix "SVM Intercept Exit Codes".

 */
#include <linux/nospec.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/processor-flags.h>
#include <uapi/asm/svm.h>

#include "../../emul/guest/x86/decode.h"
#include "../tenon.h"
#include "../trace.h"
#include "svm.h"

/* AMD APM vol. 2, "Nested Page Faults, Fault Ordering": at the guest's final physical address, not in its tables */
#define NPF_FINAL BIT_ULL(32)

static struct vmcb_control *control(struct tenon_vcpu *vcpu)
{
	return &to_svm(vcpu)->vmcb->control;
}

static int exit_msr(struct tenon_vcpu *vcpu)
{
	return tenon_exit_msr(vcpu, control(vcpu)->exit_info1 & 1);
}

/* AMD APM vol. 2, "IOIO Intercept": EXITINFO1 is the access, EXITINFO2 the RIP after it. */
static int exit_ioio(struct tenon_vcpu *vcpu)
{
	const u64 info = control(vcpu)->exit_info1;
	const u64 next = control(vcpu)->exit_info2;
	const unsigned int size = info >> 4 & 7;
	const u16 port = info >> 16;

	if (size != 1 && size != 2 && size != 4)
		return -EIO;
	if (info & BIT(2))
		return tenon_pio_string(vcpu, port, size, info & 1, info & BIT(3), next);
	return tenon_pio(vcpu, port, size, info & 1, next);
}

static int exit_npf(struct tenon_vcpu *vcpu)
{
	const struct vmcb_control *c = control(vcpu);
	const u64 error = c->exit_info1, gpa = c->exit_info2;

	trace_tenon_page_fault(vcpu->id, vcpu->rip, gpa, error);
	/* A reserved bit in a nested table is a bug of ours, not of the guest's. */
	if (error & BIT(3))
		return -EIO;
	return tenon_exit_nested(vcpu, gpa, error & (TENON_ACCESS_WRITE | TENON_ACCESS_FETCH), error & NPF_FINAL,
				 c->insn_bytes, svm_features.decode ? min_t(unsigned int, c->insn_len & 0xf, 15) : 0);
}

static int exit_iret(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->control.intercept1 &= ~VMCB_I1_IRET;
	svm_dirty(svm, VMCB_CLEAN_INTERCEPTS);
	vcpu->nmi_shadow_iret = true;
	svm->nmi_iret_rip = vcpu->rip;
	return 1;
}

static int exit_shutdown(struct tenon_vcpu *vcpu)
{
	to_svm(vcpu)->vmcb->control.clean = 0;
	return tenon_exit_shutdown(vcpu);
}

/* The general register of a MOV to or from CR or DR, from the hardware or by decoding. */
static int mov_reg(struct tenon_vcpu *vcpu, unsigned int *reg, u64 *next)
{
	const struct x86_insn *insn;
	struct tenon_code code;
	unsigned int n;
	u8 bytes[TENON_FETCH_MAX];

	if (svm_features.decode && svm_features.nrips &&
	    (control(vcpu)->exit_info1 & BIT_ULL(63))) {
		*reg = control(vcpu)->exit_info1 & 0xf;
		*next = control(vcpu)->next_rip;
		return 0;
	}
	svm_get_code(vcpu, &code);
	if (tenon_fetch(vcpu, &code, bytes, &n))
		return -EFAULT;
	insn = tenon_decode(vcpu, &code, bytes, n);
	if (!insn)
		return -EFAULT;
	*reg = array_index_nospec(insn->rm & 0xf, 16);
	*next = vcpu->rip + insn->len;
	if (code.mode != X86_MODE_64)
		*next = (u32)*next;
	return 0;
}

static bool in_long_mode(struct tenon_vcpu *vcpu)
{
	const struct vmcb_save *s = &to_svm(vcpu)->vmcb->save;

	return (s->efer & EFER_LMA) && (s->cs.attrib & BIT(9));
}

static int exit_cr_write(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_save *s = &svm->vmcb->save;
	const unsigned int cr = svm->vmcb->control.exit_code - SVM_EXIT_WRITE_CR0;
	struct tenon_sys sys;
	unsigned int reg;
	u64 value, next;

	if (mov_reg(vcpu, &reg, &next))
		return 1; /* the instruction has changed under it: look again */
	value = vcpu->gpr[reg];
	if (!in_long_mode(vcpu))
		value = (u32)value;
	if (cr == 8)
		return tenon_exit_cr8(vcpu, value, next);
	svm_get_sys(vcpu, &sys);
	if (!tenon_cr4_valid(vcpu, &sys, value))
		return tenon_exit_gp(vcpu);
	if ((value ^ s->cr4) &
	    (X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PCIDE | X86_CR4_SMEP | X86_CR4_SMAP |
	     X86_CR4_PKE))
		svm_flush(svm);
	svm_set_cr4(svm, value);
	svm_dirty(svm, VMCB_CLEAN_CR);
	tenon_advance(vcpu, next);
	return 1;
}

static int exit_dr(struct tenon_vcpu *vcpu)
{
	const u32 code = control(vcpu)->exit_code - SVM_EXIT_READ_DR0;

	return tenon_exit_dr(vcpu, code & 0xf, code & 0x10, mov_reg);
}

/* #DB is intercepted always: one whose delivery raises it again would never leave the processor. */
static int exit_db(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 dr6 = svm->vmcb->save.dr6;

	if ((vcpu->guest_debug & KVM_GUESTDBG_ENABLE) &&
	    ((vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP) ||
	     (vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP))) {
		svm->vmcb->save.dr6 = svm->entry_dr6;
		svm_dirty(svm, VMCB_CLEAN_DR);
		return tenon_exit_debug(vcpu, 1, dr6, svm->vmcb->save.dr7);
	}
	if (svm->nmi_step && svm->stepped) {
		/* The step over IRET, or out of an interrupt shadow, was ours; a breakpoint met with is the guest's. */
		svm->vmcb->save.dr6 &= ~(u64)DR_STEP;
		svm_dirty(svm, VMCB_CLEAN_DR);
		if (!(dr6 & ~svm->entry_dr6 & DR_TRAP_BITS))
			return 1;
	}
	tenon_queue_exception(vcpu, 1, false, 0, 0);
	return 1;
}

static int exit_bp(struct tenon_vcpu *vcpu)
{
	return tenon_exit_debug(vcpu, 3, 0, 0);
}

static int exit_ac(struct tenon_vcpu *vcpu)
{
	tenon_queue_exception(vcpu, 17, true, 0, 0);
	return 1;
}

static int (*const exits[])(struct tenon_vcpu *vcpu) = {
	[SVM_EXIT_WRITE_CR4] = exit_cr_write,
	[SVM_EXIT_WRITE_CR8] = exit_cr_write,
	[SVM_EXIT_READ_DR0... SVM_EXIT_READ_DR7] = exit_dr,
	[SVM_EXIT_WRITE_DR0... SVM_EXIT_WRITE_DR7] = exit_dr,
	[SVM_EXIT_EXCP_BASE + 1] = exit_db,
	[SVM_EXIT_EXCP_BASE + 3] = exit_bp,
	[SVM_EXIT_EXCP_BASE + 17] = exit_ac,
	[SVM_EXIT_EXCP_BASE + 18] = tenon_exit_nothing,
	[SVM_EXIT_INTR] = tenon_exit_nothing,
	[SVM_EXIT_NMI] = tenon_exit_nothing,
	[SVM_EXIT_SMI] = tenon_exit_nothing,
	[SVM_EXIT_INIT] = tenon_exit_nothing,
	[SVM_EXIT_VINTR] = tenon_exit_nothing,
	[SVM_EXIT_RDPMC] = tenon_exit_gp,
	[SVM_EXIT_CPUID] = tenon_exit_cpuid,
	[SVM_EXIT_RSM] = tenon_exit_ud,
	[SVM_EXIT_IRET] = exit_iret,
	[SVM_EXIT_INVD] = tenon_skip_insn,
	[SVM_EXIT_PAUSE] = tenon_exit_pause,
	[SVM_EXIT_HLT] = tenon_exit_hlt,
	[SVM_EXIT_INVLPGA] = tenon_exit_ud,
	[SVM_EXIT_IOIO] = exit_ioio,
	[SVM_EXIT_MSR] = exit_msr,
	[SVM_EXIT_FERR_FREEZE] = tenon_exit_nothing,
	[SVM_EXIT_SHUTDOWN] = exit_shutdown,
	[SVM_EXIT_VMRUN] = tenon_exit_ud,
	[SVM_EXIT_VMMCALL] = tenon_hypercall,
	[SVM_EXIT_VMLOAD] = tenon_exit_ud,
	[SVM_EXIT_VMSAVE] = tenon_exit_ud,
	[SVM_EXIT_STGI] = tenon_exit_ud,
	[SVM_EXIT_CLGI] = tenon_exit_ud,
	[SVM_EXIT_SKINIT] = tenon_exit_ud,
	[SVM_EXIT_WBINVD] = tenon_skip_insn,
	[SVM_EXIT_MONITOR] = tenon_exit_ud,
	[SVM_EXIT_MWAIT] = tenon_exit_ud,
	[SVM_EXIT_MWAIT_COND] = tenon_exit_ud,
	[SVM_EXIT_XSETBV] = tenon_exit_xsetbv,
	[SVM_EXIT_RDPRU] = tenon_exit_ud,
};

#define SVM_EXIT_NESTED_FAULT 0x400

int svm_exit(struct tenon_vcpu *vcpu)
{
	const u64 code = control(vcpu)->exit_code;

	trace_tenon_exit(vcpu->id, vcpu->rip, code, control(vcpu)->exit_info1, control(vcpu)->exit_info2);
	if (likely(code == SVM_EXIT_NESTED_FAULT))
		return exit_npf(vcpu);
	/* Some hypervisors that this one runs in leave the upper half 0. */
	if (unlikely(code >= ARRAY_SIZE(exits) && (u32)code == (u32)SVM_EXIT_ERR)) {
		svm_refused(vcpu);
		return tenon_exit_fail_entry(vcpu, code);
	}
	return tenon_exit_by(vcpu, exits, ARRAY_SIZE(exits), code);
}

/* ---- MSRs in the VMCB ---- */

/* Of those that not every processor has. */
bool svm_has_msr(u32 msr)
{
	switch (msr) {
	case MSR_IA32_SPEC_CTRL:
		return boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL);
	case MSR_IA32_DEBUGCTLMSR:
	case MSR_IA32_LASTBRANCHFROMIP:
	case MSR_IA32_LASTBRANCHTOIP:
	case MSR_IA32_LASTINTFROMIP:
	case MSR_IA32_LASTINTTOIP:
		return svm_features.lbr;
	default:
		return true;
	}
}

static u64 *msr_field(struct svm_vcpu *svm, u32 msr)
{
	struct vmcb_save *s = &svm->vmcb->save;

	switch (msr) {
	case MSR_STAR:
		return &s->star;
	case MSR_LSTAR:
		return &s->lstar;
	case MSR_CSTAR:
		return &s->cstar;
	case MSR_SYSCALL_MASK:
		return &s->sfmask;
	case MSR_KERNEL_GS_BASE:
		return &s->kernel_gs_base;
	case MSR_FS_BASE:
		return &s->fs.base;
	case MSR_GS_BASE:
		return &s->gs.base;
	case MSR_IA32_SYSENTER_CS:
		return &s->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP:
		return &s->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP:
		return &s->sysenter_eip;
	case MSR_IA32_CR_PAT:
		return &s->pat;
	case MSR_IA32_SPEC_CTRL:
		return boot_cpu_has(X86_FEATURE_V_SPEC_CTRL) ? &s->spec_ctrl : &svm->spec_ctrl;
	case MSR_IA32_DEBUGCTLMSR:
		return &s->debugctl;
	case MSR_IA32_LASTBRANCHFROMIP:
		return &s->br_from;
	case MSR_IA32_LASTBRANCHTOIP:
		return &s->br_to;
	case MSR_IA32_LASTINTFROMIP:
		return &s->exc_from;
	case MSR_IA32_LASTINTTOIP:
		return &s->exc_to;
	default:
		return NULL;
	}
}

int svm_get_msr(struct tenon_vcpu *vcpu, u32 msr, u64 *value)
{
	const u64 *field = msr_field(to_svm(vcpu), msr);

	if (!field || !svm_has_msr(msr))
		return -ENOENT;
	*value = *field;
	return 0;
}

int svm_set_msr(struct tenon_vcpu *vcpu, u32 msr, u64 value)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 *field = msr_field(svm, msr);

	if (!field || !svm_has_msr(msr))
		return -ENOENT;
	*field = value;
	/* Switched in full only for a guest that uses it: each entry and exit pays. */
	if (msr == MSR_IA32_DEBUGCTLMSR)
		svm->vmcb->control.virt_ext = value ? VMCB_EXT_LBR : 0;
	svm->vmcb->control.clean = 0;
	return 0;
}
