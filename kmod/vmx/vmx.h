/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmx.h - Intel VT-x: what the files of vmx/ share
 *
 * Where the state of a vCPU is. A VMCS can be read and written only while it is the current one of a CPU, and memory does
 * not hold all of it before VMCLEAR. So:
 *
 *	off a CPU	vmx_vcpu_put() has cleared it: memory has all of it, no CPU anything
 *	on a CPU	vmx_vcpu_load() has made it current there; VMREAD and VMWRITE work
 *	switched	with the first entry after that, the registers that neither VM entry nor VM exit switches (STAR,
 *			LSTAR, SYSCALL_MASK, KERNEL_GS_BASE) are the guest's, and FS, GS, DS, ES, LDTR and TR are not
 *			what user space left: until vmx_vcpu_put()
 *
 * All callers of the ops hold vcpu->mutex and have the vCPU loaded (vcpu.c). A CPU that goes offline, or ends VMX operation
 * on the way down, has at most the one VMCS that is current there: vmx_cpu_disable() clears it.
 */
#ifndef TENON_VMX_H
#define TENON_VMX_H

#include <linux/percpu.h>
#include <asm/asm.h>
#include <asm/io.h>
#include <asm/msr-index.h>
#include <asm/vmx.h>

#include "../compat/compat.h"
#include "../vendor.h"

/* Controls, of what is required and what the processor offers beside. Bits that are not named keep their default. */
struct vmx_controls {
	u32 pin;
	u32 cpu;
	u32 cpu2;
	u32 exit;
	u32 entry;
};

/*
 * @ad: accessed and dirty bits of EPT; @flush_l1d: before each entry (L1TF)
 *
 * With the parameter vmx_unproven: @mtf: single steps of a debugger by the monitor trap flag; @posts: local APICs post;
 * @fetches: and the processor fetches that by itself; @virtual_apic: those of VMX_VIRTUAL_APIC that there are; @timer_shift: a
 * tick of the preemption timer is so many of the TSC, as a power of two
 */
struct vmx_features {
	u32 revision;
	bool vpid;
	bool ad;
	bool flush_l1d;
	bool mtf;
	bool posts;
	bool fetches;
	u32 virtual_apic;
	u8 timer_shift;
	struct vmx_controls controls;
};

extern struct vmx_features vmx_features;

struct vmx_vcpu;

struct vmx_cpu {
	/* set while virtualization is on */
	bool enabled;
	struct page *vmxon;
	u64 host_tsc_aux; /* the kernel's own, which stays */
	/* whose VMCS is current here */
	struct vmx_vcpu *current_vcpu;
	/* the last guest that ran here */
	struct vmx_vcpu *last;
};

DECLARE_PER_CPU(struct vmx_cpu, vmx_cpus);

/* MSRs that only vmx_switch_in() and vmx_vcpu_put() switch. The guest's writes of all but the last exit. */
enum vmx_switched {
	VMX_STAR,
	VMX_LSTAR,
	VMX_SYSCALL_MASK,
	VMX_KERNEL_GS_BASE,
	VMX_SWITCHED,
};

/* Secondary controls of a local APIC whose interrupts the processor delivers: the first, and in x2APIC mode all if it can. */
#define VMX_VIRTUAL_APIC (SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY | SECONDARY_EXEC_APIC_REGISTER_VIRT | \
			  SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE)

/* MSRs of performance counters that entry and exit switch, at most */
#define VMX_COUNTERS 64

/* Where no interrupt comes: after STI, and after MOV SS. */
#define VMX_SHADOW (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS)

struct vmx_vcpu {
	struct tenon_vcpu *vcpu;
	struct page *vmcs;
	struct page *msr_bitmap;
	struct page *apic_page; /* holds the TPR, for MOV CR8 */
	struct page *msr_lists; /* VMX_COUNTERS to be loaded by entry, then as many by exit; then what is posted */
	u16 vpid;		/* 0: without, and each entry and exit flushes */
	u64 eptp;

	/* on a CPU */
	int cpu; /* the last one */
	bool launched;
	bool flush_ept;	 /* before the next entry: what was translated by EPT */
	bool flush_vpid; /* before the next entry: what the guest's own tables said */
	u32 cpu_controls; /* as the VMCS has them */
	unsigned int counters; /* the same: length of the lists of MSRs */
	bool delivers;	  /* the same: virtual interrupts */
	bool apic_msrs;	  /* the same: the local APIC's MSRs */
	u64 eoi_exits[4]; /* the same: vectors whose EOI exits */
	u64 deadline;	  /* of the host's TSC: the guest exits then */

	/* of the host, while switched */
	bool switched;
	u16 host_fs, host_gs, host_ds, host_es, host_ldt;
	u64 host_fs_base;
	u64 host_msr[VMX_SWITCHED];
	u64 host_cr3;
	u64 host_cr4;

	/* of the guest, beside the VMCS */
	u64 msr[VMX_SWITCHED];
	u64 cstar; /* held, and of no effect: SYSCALL is of 64-bit mode alone */
	u64 cr2;
	u64 dr6;
	u64 guest_dr7; /* the VMCS may hold the debugger's instead */
	u64 spec_ctrl;
	u64 cr4_owned; /* bits that the guest changes by itself */

	/* of the last exit */
	u32 exit_reason;
	u32 exit_intr;
	bool failed; /* VMLAUNCH or VMRESUME came back at once */
};

static inline struct vmx_vcpu *to_vmx(struct tenon_vcpu *vcpu)
{
	return vcpu->arch;
}

/* ---- instructions: each faults, and is passed over, if VMX operation has ended under it ---- */

static __always_inline u64 vmx_read(unsigned long field)
{
	unsigned long value = 0;

	asm volatile("1: vmread %1, %0\n2:\n" _ASM_EXTABLE(1b, 2b) : "+r"(value) : "r"(field) : "cc");
	return value;
}

void vmx_refused(const char *what, unsigned long field);

static __always_inline void vmx_write(unsigned long field, unsigned long value)
{
	bool failed = false;

	asm volatile("1: vmwrite %2, %1\n\tsetbe %0\n2:\n" _ASM_EXTABLE(1b, 2b)
		     : "+q"(failed) : "r"(field), "rm"(value) : "cc");
	if (unlikely(failed))
		vmx_refused("VMWRITE", field);
}

static inline void vmx_clear(const struct vmx_vcpu *vmx)
{
	const u64 pa = page_to_phys(vmx->vmcs);

	asm volatile("1: vmclear %0\n2:\n" _ASM_EXTABLE(1b, 2b) : : "m"(pa) : "cc", "memory");
}

static inline void vmx_make_current(const struct vmx_vcpu *vmx)
{
	const u64 pa = page_to_phys(vmx->vmcs);

	asm volatile("1: vmptrld %0\n2:\n" _ASM_EXTABLE(1b, 2b) : : "m"(pa) : "cc", "memory");
}

struct vmx_invalidation {
	u64 what; /* a VPID, or the pointer to a root of EPT */
	u64 address;
};

#define VMX_INVALIDATE(insn, type, operand)						\
do {											\
	const struct vmx_invalidation d_ = { .what = (operand) };			\
	bool failed_ = false;								\
											\
	asm volatile("1: " insn " %1, %2\n\tsetbe %0\n2:\n" _ASM_EXTABLE(1b, 2b)	\
		     : "+q"(failed_) : "m"(d_), "r"((unsigned long)(type)) : "cc", "memory");	\
	if (unlikely(failed_))								\
		vmx_refused(insn, operand);						\
} while (0)

/* Everything of one VM on this CPU: guest-physical and combined translations, of all VPIDs. */
static inline void vmx_invept(u64 eptp)
{
	VMX_INVALIDATE("invept", VMX_EPT_EXTENT_CONTEXT, eptp);
}

/* Combined translations of one vCPU on this CPU. */
static inline void vmx_invvpid(u16 vpid)
{
	VMX_INVALIDATE("invvpid", VMX_VPID_EXTENT_SINGLE_CONTEXT, vpid);
}

/* enter.S */
bool tenon_vmx_enter(u64 *gpr, bool launched, u64 spec_ctrl);
void tenon_vmx_exit(void);
void tenon_vmx_interrupt(unsigned long handler);

/* exit.c */
int vmx_exit(struct tenon_vcpu *vcpu);
int vmx_get_msr(struct tenon_vcpu *vcpu, u32 msr, u64 *value);
int vmx_set_msr(struct tenon_vcpu *vcpu, u32 msr, u64 value);
bool vmx_has_msr(u32 msr);
u64 vmx_next_rip(struct tenon_vcpu *vcpu);

/* vcpu.c */
int vmx_vcpu_create(struct tenon_vcpu *vcpu);
void vmx_vcpu_destroy(struct tenon_vcpu *vcpu);
void vmx_vcpu_reset(struct tenon_vcpu *vcpu, bool init);
void vmx_vcpu_load(struct tenon_vcpu *vcpu, int cpu);
void vmx_vcpu_put(struct tenon_vcpu *vcpu);
void vmx_cpuid_changed(struct tenon_vcpu *vcpu);
void vmx_enter(struct tenon_vcpu *vcpu);
void vmx_get_segment(struct tenon_vcpu *vcpu, unsigned int seg, struct kvm_segment *out);
void vmx_set_segment(struct tenon_vcpu *vcpu, unsigned int seg, const struct kvm_segment *in);
void vmx_get_code(struct tenon_vcpu *vcpu, struct tenon_code *code);
void vmx_get_sys(struct tenon_vcpu *vcpu, struct tenon_sys *sys);
void vmx_set_sys(struct tenon_vcpu *vcpu, const struct tenon_sys *sys);
void vmx_set_tsc_offset(struct tenon_vcpu *vcpu);
u32 vmx_int_shadow(struct tenon_vcpu *vcpu);
void vmx_set_int_shadow(struct tenon_vcpu *vcpu, u32 shadow);
u64 vmx_cpl(struct tenon_vcpu *vcpu);
void vmx_debug_changed(struct tenon_vcpu *vcpu);
u64 vmx_get_dr67(struct tenon_vcpu *vcpu, unsigned int n);
void vmx_set_dr67(struct tenon_vcpu *vcpu, unsigned int n, u64 value);
void vmx_end_shadow(struct tenon_vcpu *vcpu);
void vmx_serve(struct tenon_vcpu *vcpu);
bool vmx_set_deadline(struct tenon_vcpu *vcpu, u64 tsc);
u64 vmx_kernel_gs_base(struct vmx_vcpu *vmx);
void vmx_msr_changed(struct vmx_vcpu *vmx, enum vmx_switched n);
void vmx_msr_access(struct vmx_vcpu *vmx, u32 msr, bool read, bool write);

/* event.c */
void vmx_write_apic_controls(struct vmx_vcpu *vmx, bool delivers, bool msrs);
bool vmx_can_take_irq(struct tenon_vcpu *vcpu);
bool vmx_can_take_nmi(struct tenon_vcpu *vcpu);
void vmx_inject(struct tenon_vcpu *vcpu, enum tenon_event_type type, const struct tenon_event *event);
void vmx_windows(struct tenon_vcpu *vcpu, bool irq, bool nmi);
u32 *vmx_posted(struct tenon_vcpu *vcpu);
bool vmx_delivers(struct tenon_vcpu *vcpu);
bool vmx_steps_by_mtf(const struct tenon_vcpu *vcpu);
void vmx_prepare(struct tenon_vcpu *vcpu);
void vmx_requeue(struct tenon_vcpu *vcpu);

#endif /* TENON_VMX_H */
