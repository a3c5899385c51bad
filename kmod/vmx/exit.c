// SPDX-License-Identifier: GPL-2.0-only
/*
 * exit.c - Intel VT-x: what to do when a guest leaves
 *
 * Source: Intel SDM vol. 3, appendix "VMX Basic Exit Reasons"; "Exit Qualification for ..." for the bits.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/percpu.h>
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include <asm/cpu.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/processor-flags.h>
#include <asm/tsc.h>
#include <uapi/asm/vmx.h>

#include "../../emul/guest/x86/decode.h"
#include "../tenon.h"
#include "../trace.h"
#include "vmx.h"

/* In an exit qualification: access of EPT */
#define EPT_WRITE BIT(1)
#define EPT_FETCH BIT(2)
#define EPT_FINAL (BIT(7) | BIT(8)) /* a linear address, and not for the guest's own tables */

static u64 qualification(void)
{
	return vmx_read(EXIT_QUALIFICATION);
}

/* After the instruction that exited. */
u64 vmx_next_rip(struct tenon_vcpu *vcpu)
{
	const u64 next = vcpu->rip + vmx_read(VM_EXIT_INSTRUCTION_LEN);
	struct tenon_code code;

	vmx_get_code(vcpu, &code);
	return code.mode == X86_MODE_64 ? next : (u32)next;
}

static int exit_rdmsr(struct tenon_vcpu *vcpu)
{
	return tenon_exit_msr(vcpu, false);
}

static int exit_wrmsr(struct tenon_vcpu *vcpu)
{
	return tenon_exit_msr(vcpu, true);
}

static int exit_io(struct tenon_vcpu *vcpu)
{
	const u64 q = qualification();
	const unsigned int size = (q & 7) + 1;
	const u16 port = q >> 16;
	const bool in = q & BIT(3);

	if (q & BIT(4))
		return tenon_pio_string(vcpu, port, size, in, q & BIT(5), vmx_next_rip(vcpu));
	return tenon_pio(vcpu, port, size, in, vmx_next_rip(vcpu));
}

static int exit_ept(struct tenon_vcpu *vcpu)
{
	const u64 q = qualification(), gpa = vmx_read(GUEST_PHYSICAL_ADDRESS);

	trace_tenon_page_fault(vcpu->id, vcpu->rip, gpa, q);
	/* IRET has ended the masking of NMIs, but has not come to its end. */
	if (unlikely(q & INTR_INFO_UNBLOCK_NMI) && !(vmx_read(IDT_VECTORING_INFO_FIELD) & INTR_INFO_VALID_MASK))
		vcpu->nmi_masked = true;
	return tenon_exit_nested(vcpu, gpa,
				 (q & EPT_WRITE ? TENON_ACCESS_WRITE : 0) | (q & EPT_FETCH ? TENON_ACCESS_FETCH : 0),
				 (q & EPT_FINAL) == EPT_FINAL, NULL, 0);
}

/* An entry of EPT that the processor does not take is a bug of ours. */
static int exit_ept_bad(struct tenon_vcpu *vcpu)
{
	return -EIO;
}

/* MOV to CR0 of bits that are ours in the processor: Intel SDM vol. 2, "MOV - Move to/from Control Registers" */
static int exit_cr0(struct tenon_vcpu *vcpu, u64 value, u64 next)
{
	struct tenon_sys sys;
	struct tenon_code code;

	vmx_get_sys(vcpu, &sys);
	vmx_get_code(vcpu, &code);
	value |= X86_CR0_ET;
	if ((value >> 32) || ((value & X86_CR0_PG) && !(value & X86_CR0_PE)) ||
	    ((value & X86_CR0_NW) && !(value & X86_CR0_CD)))
		return tenon_exit_gp(vcpu);
	if ((value ^ sys.cr0) & X86_CR0_PG) {
		if (value & X86_CR0_PG) {
			if ((sys.efer & EFER_LME) &&
			    (!(sys.cr4 & X86_CR4_PAE) || (vmx_read(GUEST_CS_AR_BYTES) & BIT(13))))
				return tenon_exit_gp(vcpu);
			if (sys.efer & EFER_LME)
				sys.efer |= EFER_LMA;
		} else {
			if (code.mode == X86_MODE_64 || (sys.cr4 & X86_CR4_PCIDE))
				return tenon_exit_gp(vcpu);
			sys.efer &= ~(u64)EFER_LMA;
		}
	}
	sys.cr0 = value;
	vmx_set_sys(vcpu, &sys);
	tenon_advance(vcpu, next);
	return 1;
}

static int exit_cr4(struct tenon_vcpu *vcpu, u64 value, u64 next)
{
	struct tenon_sys sys;

	vmx_get_sys(vcpu, &sys);
	if (!tenon_cr4_valid(vcpu, &sys, value))
		return tenon_exit_gp(vcpu);
	sys.cr4 = value;
	vmx_set_sys(vcpu, &sys);
	tenon_advance(vcpu, next);
	return 1;
}

/* CLTS and LMSW change no bit that is ours, and reads need none. */
static int exit_cr(struct tenon_vcpu *vcpu)
{
	const u64 q = qualification(), next = vmx_next_rip(vcpu);
	struct tenon_code code;
	u64 value;

	if (q >> 4 & 3)
		return tenon_exit_unexpected(vcpu, q << 32 | EXIT_REASON_CR_ACCESS);
	value = vcpu->gpr[q >> 8 & 0xf];
	vmx_get_code(vcpu, &code);
	if (code.mode != X86_MODE_64)
		value = (u32)value;
	switch (q & 0xf) {
	case 0:
		return exit_cr0(vcpu, value, next);
	case 4:
		return exit_cr4(vcpu, value, next);
	case 8:
		return tenon_exit_cr8(vcpu, value, next);
	default:
		return tenon_exit_unexpected(vcpu, q << 32 | EXIT_REASON_CR_ACCESS);
	}
}

static int dr_operand(struct tenon_vcpu *vcpu, unsigned int *reg, u64 *next)
{
	*reg = qualification() >> 8 & 0xf;
	*next = vmx_next_rip(vcpu);
	return 0;
}

static int exit_dr(struct tenon_vcpu *vcpu)
{
	const u64 q = qualification();

	/* Privilege comes before the exit is thought of on some processors, and after it on others. */
	if (vmx_cpl(vcpu))
		return tenon_exit_gp(vcpu);
	return tenon_exit_dr(vcpu, q & 7, !(q & BIT(4)), dr_operand);
}

/* #DB is intercepted always: one whose delivery raises it again would never leave the processor. */
static int exit_db(struct tenon_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	const u64 met = qualification() & (DR_TRAP_BITS | DR_STEP | TENON_DR6_BD);

	if ((vcpu->guest_debug & KVM_GUESTDBG_ENABLE) &&
	    (vcpu->guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP)))
		return tenon_exit_debug(vcpu, 1, DR6_RESERVED | met, vmx_read(GUEST_DR7));
	/* INT1 is an instruction, and over. */
	if ((vmx->exit_intr & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_PRIV_SW_EXCEPTION)
		tenon_advance(vcpu, vmx_next_rip(vcpu));
	vmx->dr6 = (vmx->dr6 & ~(u64)DR_TRAP_BITS) | met | DR6_RESERVED;
	tenon_queue_exception(vcpu, 1, false, 0, 0);
	return 1;
}

/*
 * Intercepted always, as #DB is. One that the guest has not asked for, by CR0.AM and RFLAGS.AC at CPL 3, is the host's: for a
 * locked access over two cache lines, of which the host wants to know. It warns, or sends a signal; the guest goes on.
 */
static int exit_ac(struct tenon_vcpu *vcpu)
{
	struct tenon_code code;

	vmx_get_code(vcpu, &code);
	if (boot_cpu_has(X86_FEATURE_SPLIT_LOCK_DETECT) &&
	    !(code.cpl == 3 && (code.cr0 & X86_CR0_AM) && (vcpu->rflags & X86_EFLAGS_AC))) {
		handle_guest_split_lock(vcpu->rip);
		return 1;
	}
	tenon_queue_exception(vcpu, 17, true, vmx_read(VM_EXIT_INTR_ERROR_CODE), 0);
	return 1;
}

static int exit_exception(struct tenon_vcpu *vcpu)
{
	const u32 info = to_vmx(vcpu)->exit_intr;

	if ((info & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
		return 1;
	switch (info & INTR_INFO_VECTOR_MASK) {
	case 1:
		return exit_db(vcpu);
	case 3:
		return tenon_exit_debug(vcpu, 3, 0, 0);
	case 17:
		return exit_ac(vcpu);
	case 18:
		return 1;
	default:
		return tenon_exit_unexpected(vcpu, info);
	}
}

/* The processor has done the rest of it. RIP is after the write. */
static int exit_eoi(struct tenon_vcpu *vcpu)
{
	lapic_eoi_done(vcpu->lapic, qualification());
	return 1;
}

/* An instruction of a guest that a debugger steps has come to its end, or an event is about to be served. */
static int exit_mtf(struct tenon_vcpu *vcpu)
{
	return tenon_exit_debug(vcpu, 1, DR6_RESERVED | DR_STEP, vmx_read(GUEST_DR7));
}

static int exit_timer(struct tenon_vcpu *vcpu)
{
	if (rdtsc() >= to_vmx(vcpu)->deadline)
		tenon_make_request(vcpu, TENON_REQ_TIMER);
	return 1;
}

static int (*const exits[])(struct tenon_vcpu *vcpu) = {
	[EXIT_REASON_EXCEPTION_NMI] = exit_exception,
	[EXIT_REASON_EXTERNAL_INTERRUPT] = tenon_exit_nothing,
	[EXIT_REASON_TRIPLE_FAULT] = tenon_exit_shutdown,
	[EXIT_REASON_INIT_SIGNAL] = tenon_exit_nothing,
	[EXIT_REASON_INTERRUPT_WINDOW] = tenon_exit_nothing,
	[EXIT_REASON_NMI_WINDOW] = tenon_exit_nothing,
	[EXIT_REASON_CPUID] = tenon_exit_cpuid,
	[EXIT_REASON_HLT] = tenon_exit_hlt,
	[EXIT_REASON_INVD] = tenon_skip_insn,
	[EXIT_REASON_RDPMC] = tenon_exit_gp,
	[EXIT_REASON_VMCALL] = tenon_hypercall,
	[EXIT_REASON_VMCLEAR] = tenon_exit_ud,
	[EXIT_REASON_VMLAUNCH] = tenon_exit_ud,
	[EXIT_REASON_VMPTRLD] = tenon_exit_ud,
	[EXIT_REASON_VMPTRST] = tenon_exit_ud,
	[EXIT_REASON_VMREAD] = tenon_exit_ud,
	[EXIT_REASON_VMRESUME] = tenon_exit_ud,
	[EXIT_REASON_VMWRITE] = tenon_exit_ud,
	[EXIT_REASON_VMOFF] = tenon_exit_ud,
	[EXIT_REASON_VMON] = tenon_exit_ud,
	[EXIT_REASON_CR_ACCESS] = exit_cr,
	[EXIT_REASON_DR_ACCESS] = exit_dr,
	[EXIT_REASON_IO_INSTRUCTION] = exit_io,
	[EXIT_REASON_MSR_READ] = exit_rdmsr,
	[EXIT_REASON_MSR_WRITE] = exit_wrmsr,
	[EXIT_REASON_MWAIT_INSTRUCTION] = tenon_exit_ud,
	[EXIT_REASON_MONITOR_TRAP_FLAG] = exit_mtf,
	[EXIT_REASON_MONITOR_INSTRUCTION] = tenon_exit_ud,
	[EXIT_REASON_PAUSE_INSTRUCTION] = tenon_exit_pause,
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = tenon_exit_nothing,
	[EXIT_REASON_EOI_INDUCED] = exit_eoi,
	[EXIT_REASON_EPT_VIOLATION] = exit_ept,
	[EXIT_REASON_EPT_MISCONFIG] = exit_ept_bad,
	[EXIT_REASON_INVEPT] = tenon_exit_ud,
	[EXIT_REASON_INVVPID] = tenon_exit_ud,
	[EXIT_REASON_PREEMPTION_TIMER] = exit_timer,
	[EXIT_REASON_WBINVD] = tenon_skip_insn,
	[EXIT_REASON_XSETBV] = tenon_exit_xsetbv,
	[EXIT_REASON_ENCLS] = tenon_exit_ud,
};

/* Intel SDM vol. 3, "Checks on the Guest State Area": what they look at, for whoever reads the kernel log. */
static void dump_guest(struct tenon_vcpu *vcpu)
{
	static DEFINE_RATELIMIT_STATE(said, 5 * HZ, 2);
	static const char names[][5] = { "ES", "CS", "SS", "DS", "FS", "GS", "LDTR", "TR" };
	unsigned int n;

	if (!__ratelimit(&said))
		return;
	pr_err("vCPU %u: entry refused, reason %#x, qualification %#llx\n", vcpu->id, to_vmx(vcpu)->exit_reason,
	       qualification());
	pr_err("CR0 %#llx CR3 %#llx CR4 %#llx EFER %#llx DR7 %#llx controls %#llx\n", vmx_read(GUEST_CR0),
	       vmx_read(GUEST_CR3), vmx_read(GUEST_CR4), vmx_read(GUEST_IA32_EFER), vmx_read(GUEST_DR7),
	       vmx_read(VM_ENTRY_CONTROLS));
	pr_err("RIP %#llx RFLAGS %#llx interruptibility %#llx pending debug %#llx event %#llx\n",
	       vmx_read(GUEST_RIP), vmx_read(GUEST_RFLAGS), vmx_read(GUEST_INTERRUPTIBILITY_INFO),
	       vmx_read(GUEST_PENDING_DBG_EXCEPTIONS), vmx_read(VM_ENTRY_INTR_INFO_FIELD));
	for (n = 0; n < ARRAY_SIZE(names); n++)
		pr_err("%s %#llx base %#llx limit %#llx rights %#llx\n", names[n],
		       vmx_read(GUEST_ES_SELECTOR + n * 2), vmx_read(GUEST_ES_BASE + n * 2),
		       vmx_read(GUEST_ES_LIMIT + n * 2), vmx_read(GUEST_ES_AR_BYTES + n * 2));
}

int vmx_exit(struct tenon_vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = to_vmx(vcpu);
	const u32 reason = vmx->exit_reason;

	if (unlikely(vmx->failed)) {
		const u64 error = vmx_read(VM_INSTRUCTION_ERROR);

		vmx_refused(vmx->launched ? "VMRESUME" : "VMLAUNCH", vcpu->id);
		return tenon_exit_fail_entry(vcpu, error);
	}
	trace_tenon_exit(vcpu->id, vcpu->rip, reason, qualification(), vmx->exit_intr);
	if (unlikely(reason & VMX_EXIT_REASONS_FAILED_VMENTRY)) {
		dump_guest(vcpu);
		return tenon_exit_fail_entry(vcpu, reason);
	}
	return tenon_exit_by(vcpu, exits, ARRAY_SIZE(exits), reason);
}

/* ---- MSRs ---- */

bool vmx_has_msr(u32 msr)
{
	switch (msr) {
	case MSR_IA32_SPEC_CTRL:
		return boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL);
	/* Last branch records are the host's alone. */
	case MSR_IA32_DEBUGCTLMSR:
	case MSR_IA32_LASTBRANCHFROMIP:
	case MSR_IA32_LASTBRANCHTOIP:
	case MSR_IA32_LASTINTFROMIP:
	case MSR_IA32_LASTINTTOIP:
		return false;
	default:
		return true;
	}
}

/* The VMCS field of an MSR, or 0: that of no MSR here. */
static unsigned long msr_field(u32 msr)
{
	switch (msr) {
	case MSR_FS_BASE:
		return GUEST_FS_BASE;
	case MSR_GS_BASE:
		return GUEST_GS_BASE;
	case MSR_IA32_SYSENTER_CS:
		return GUEST_SYSENTER_CS;
	case MSR_IA32_SYSENTER_ESP:
		return GUEST_SYSENTER_ESP;
	case MSR_IA32_SYSENTER_EIP:
		return GUEST_SYSENTER_EIP;
	case MSR_IA32_CR_PAT:
		return GUEST_IA32_PAT;
	default:
		return 0;
	}
}

/* Where an MSR is kept that VM entry does not load. */
static u64 *msr_kept(struct vmx_vcpu *vmx, u32 msr, int *switched)
{
	*switched = -1;
	switch (msr) {
	case MSR_STAR:
		*switched = VMX_STAR;
		break;
	case MSR_LSTAR:
		*switched = VMX_LSTAR;
		break;
	case MSR_SYSCALL_MASK:
		*switched = VMX_SYSCALL_MASK;
		break;
	case MSR_KERNEL_GS_BASE:
		*switched = VMX_KERNEL_GS_BASE;
		break;
	case MSR_CSTAR:
		return &vmx->cstar;
	case MSR_IA32_SPEC_CTRL:
		return boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL) ? &vmx->spec_ctrl : NULL;
	default:
		return NULL;
	}
	return &vmx->msr[*switched];
}

int vmx_get_msr(struct tenon_vcpu *vcpu, u32 msr, u64 *value)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	const unsigned long field = msr_field(msr);
	const u64 *kept;
	int switched;

	if (field) {
		*value = vmx_read(field);
		return 0;
	}
	kept = msr_kept(vmx, msr, &switched);
	if (!kept)
		return -ENOENT;
	*value = switched == VMX_KERNEL_GS_BASE ? vmx_kernel_gs_base(vmx) : *kept;
	return 0;
}

int vmx_set_msr(struct tenon_vcpu *vcpu, u32 msr, u64 value)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	const unsigned long field = msr_field(msr);
	int switched;
	u64 *kept;

	if (field) {
		vmx_write(field, value);
		return 0;
	}
	kept = msr_kept(vmx, msr, &switched);
	if (!kept)
		return -ENOENT;
	*kept = value;
	if (switched >= 0)
		vmx_msr_changed(vmx, switched);
	return 0;
}
