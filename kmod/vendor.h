/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vendor.h - what differs between processor makers: one const ops table each
 */
#ifndef TENON_VENDOR_H
#define TENON_VENDOR_H

#include <linux/nospec.h>
#include <asm/processor-flags.h>

#include "tenon.h"

#define TENON_SEG_TR  6
#define TENON_SEG_LDT 7
#define TENON_SEGS    8

#define TENON_DR7_GD BIT_ULL(13) /* general detect */
#define TENON_DR6_BD BIT_ULL(13)

/**
 * struct tenon_sys - system registers
 * @cr0, @cr2, @cr3, @cr4, @efer, @pat: as the guest sees them
 * @gdt_base, @gdt_limit, @idt_base, @idt_limit: descriptor tables
 */
struct tenon_sys {
	u64 cr0;
	u64 cr2;
	u64 cr3;
	u64 cr4;
	u64 efer;
	u64 pat;
	u64 gdt_base;
	u64 idt_base;
	u32 gdt_limit;
	u32 idt_limit;
};

/**
 * struct tenon_tdp_format - entries of nested page tables, where makers differ
 * @accessed: the bit that the processor sets, or 0
 * @table, @leaf: what to set beside an address and the permissions
 * @levels: depth
 * @max_level: of the largest page, 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB
 *
 * Bits 0 to 2 and 7 mean the same: present or readable, writable, user or executable; a large page.
 */
struct tenon_tdp_format {
	u64 accessed;
	u64 table;
	u64 leaf;
	u8 levels;
	u8 max_level;
};

/* Set by the vendor's setup. */
extern struct tenon_tdp_format tenon_tdp;

/**
 * struct tenon_vendor - operations of svm/ or vmx/
 * @name: for messages
 * @probe: is this processor one of ours? -ENODEV silently if not; other errors with a message that
 * says what to do
 * @setup, @teardown: once a module
 * @cpu_free: is virtualization unused on this CPU? -EBUSY if not. With interrupts off
 * @cpu_enable, @cpu_disable: turn virtualization on and off on this CPU, with interrupts off
 * @vcpu_create, @vcpu_destroy: vcpu->arch
 * @vcpu_reset: state after power-on or INIT
 * @vcpu_load, @vcpu_put: the vCPU comes to and leaves this CPU; preemption off
 * @prepare: state is complete: translate pending events and requests into the next entry;
 * interrupts off
 * @enter: run the guest once; interrupts off. Registers are in vcpu->gpr, rip and rflags before and
 * after
 * @exit: act on the exit; interrupts on. 1 go on, 0 back to user space, or -errno
 * @can_take_irq, @can_take_nmi: the guest would take one now
 * @inject: deliver this with the next entry
 * @windows: exit when the guest could take an interrupt, an NMI
 * @get_segment, @set_segment: X86_ES to X86_GS, then TENON_SEG_TR and TENON_SEG_LDT
 * @get_code: what reading an instruction and its operands takes
 * @get_sys, @set_sys: control registers and descriptor tables
 * @tsc_scales: a guest may have another rate than the host
 * @set_tsc_offset: vcpu->tsc_offset or tsc_ratio has changed
 * @next_rip: RIP after the instruction that exited, or 0 where the hardware does not say
 * @get_msr, @set_msr: MSRs that live in the vendor's state; -ENOENT for others, and where the processor has none
 * @has_msr: does this processor have it, of those?
 * @cpuid_limit: take out of what guests can be offered what guests cannot use
 * @cpuid_changed: what the guest is told of its processor has changed
 * @end_shadow: the shadow of STI or MOV SS is over
 * @int_shadow, @set_int_shadow: the guest is in the shadow of STI or MOV SS
 * @debug_changed: vcpu->guest_debug has changed
 *
 * Optional, for a processor that does some of a local APIC's work:
 * @posted: where a vCPU's local APIC leaves edges for the processor to fetch, struct lapic_config.posted; NULL: nowhere
 * @delivers: the next entry delivers the interrupts of the local APIC by itself; asked only where @posted is not NULL
 * @serve: call the handler of a host's interrupt that the exit has acknowledged; interrupts off
 * @set_deadline: let the guest exit, with TENON_REQ_TIMER, when the host's TSC is there; U64_MAX is never. False: it cannot
 */
struct tenon_vendor {
	const char *name;
	int (*probe)(void);
	int (*setup)(void);
	void (*teardown)(void);
	int (*cpu_free)(void);
	int (*cpu_enable)(void);
	void (*cpu_disable)(void);
	int (*vcpu_create)(struct tenon_vcpu *vcpu);
	void (*vcpu_destroy)(struct tenon_vcpu *vcpu);
	void (*vcpu_reset)(struct tenon_vcpu *vcpu, bool init);
	void (*vcpu_load)(struct tenon_vcpu *vcpu, int cpu);
	void (*vcpu_put)(struct tenon_vcpu *vcpu);
	void (*prepare)(struct tenon_vcpu *vcpu);
	void (*enter)(struct tenon_vcpu *vcpu);
	int (*exit)(struct tenon_vcpu *vcpu);
	bool (*can_take_irq)(struct tenon_vcpu *vcpu);
	bool (*can_take_nmi)(struct tenon_vcpu *vcpu);
	void (*inject)(struct tenon_vcpu *vcpu, enum tenon_event_type type, const struct tenon_event *event);
	void (*windows)(struct tenon_vcpu *vcpu, bool irq, bool nmi);
	void (*get_segment)(struct tenon_vcpu *vcpu, unsigned int seg, struct kvm_segment *out);
	void (*set_segment)(struct tenon_vcpu *vcpu, unsigned int seg,
			    const struct kvm_segment *in);
	void (*get_code)(struct tenon_vcpu *vcpu, struct tenon_code *code);
	void (*get_sys)(struct tenon_vcpu *vcpu, struct tenon_sys *sys);
	void (*set_sys)(struct tenon_vcpu *vcpu, const struct tenon_sys *sys);
	bool (*tsc_scales)(void);
	void (*set_tsc_offset)(struct tenon_vcpu *vcpu);
	u64 (*next_rip)(struct tenon_vcpu *vcpu);
	int (*get_msr)(struct tenon_vcpu *vcpu, u32 msr, u64 *value);
	int (*set_msr)(struct tenon_vcpu *vcpu, u32 msr, u64 value);
	bool (*has_msr)(u32 msr);
	void (*cpuid_limit)(struct kvm_cpuid_entry2 *e);
	void (*cpuid_changed)(struct tenon_vcpu *vcpu);
	void (*end_shadow)(struct tenon_vcpu *vcpu);
	u32 (*int_shadow)(struct tenon_vcpu *vcpu);
	void (*set_int_shadow)(struct tenon_vcpu *vcpu, u32 shadow);
	u64 (*cpl)(struct tenon_vcpu *vcpu);
	void (*debug_changed)(struct tenon_vcpu *vcpu);
	u64 (*get_dr67)(struct tenon_vcpu *vcpu, unsigned int n);
	void (*set_dr67)(struct tenon_vcpu *vcpu, unsigned int n, u64 value);
	u32 *(*posted)(struct tenon_vcpu *vcpu);
	bool (*delivers)(struct tenon_vcpu *vcpu);
	void (*serve)(struct tenon_vcpu *vcpu);
	bool (*set_deadline)(struct tenon_vcpu *vcpu, u64 tsc);
};

extern const struct tenon_vendor tenon_svm;
extern const struct tenon_vendor tenon_vmx;

/* ---- exit.c ---- */
int tenon_exit_nothing(struct tenon_vcpu *vcpu);
int tenon_exit_ud(struct tenon_vcpu *vcpu);
int tenon_exit_gp(struct tenon_vcpu *vcpu);
int tenon_exit_cpuid(struct tenon_vcpu *vcpu);
int tenon_exit_hlt(struct tenon_vcpu *vcpu);
int tenon_exit_pause(struct tenon_vcpu *vcpu);
int tenon_exit_msr(struct tenon_vcpu *vcpu, bool write);
int tenon_exit_xsetbv(struct tenon_vcpu *vcpu);
int tenon_exit_cr8(struct tenon_vcpu *vcpu, u64 value, u64 next);
int tenon_exit_dr(struct tenon_vcpu *vcpu, unsigned int dr, bool write,
		  int (*operand)(struct tenon_vcpu *vcpu, unsigned int *reg, u64 *next));
int tenon_exit_debug(struct tenon_vcpu *vcpu, u8 vector, u64 dr6, u64 dr7);
int tenon_exit_shutdown(struct tenon_vcpu *vcpu);
int tenon_exit_fail_entry(struct tenon_vcpu *vcpu, u64 reason);
int tenon_exit_unexpected(struct tenon_vcpu *vcpu, u64 reason);
bool tenon_cr4_valid(struct tenon_vcpu *vcpu, const struct tenon_sys *sys, u64 value);

/*
 * A nested page fault. @access: TENON_ACCESS_WRITE, TENON_ACCESS_FETCH; @final: at the guest's final physical address,
 * not in its page tables; @bytes: of the instruction, as far as the processor tells.
 */
static inline int tenon_exit_nested(struct tenon_vcpu *vcpu, u64 gpa, u32 access, bool final, const u8 *bytes,
				    unsigned int nbytes)
{
	/* The guest's own tables and its code are not what the operand of the instruction is about. */
	const bool operand = final && !(access & TENON_ACCESS_FETCH);
	int ret;

	vcpu->stats.faults++;
	ret = tenon_tdp_fault(vcpu, gpa, access & TENON_ACCESS_WRITE, access & TENON_ACCESS_FETCH);
	if (ret < 0)
		return ret;
	if (ret != TENON_FAULT_MMIO)
		return 1;
	return tenon_mmio_fault(vcpu, operand ? gpa : TENON_NO_GPA, access & TENON_ACCESS_WRITE, bytes, nbytes);
}

/* By the one of @exits, of which there are @nr, for @code, which is as the guest wills. */
static __always_inline int tenon_exit_by(struct tenon_vcpu *vcpu, int (*const exits[])(struct tenon_vcpu *vcpu),
					 unsigned int nr, u64 code)
{
	if (likely(code < nr)) {
		const u32 n = array_index_nospec((u32)code, nr);

		if (likely(exits[n]))
			return exits[n](vcpu);
	}
	return tenon_exit_unexpected(vcpu, code);
}

/* An instruction, or one round of a repeated one, has been carried out here: what the processor would have done then. */
static inline void tenon_advance(struct tenon_vcpu *vcpu, u64 rip)
{
	vcpu->rip = rip;
	vcpu->rflags &= ~(u64)X86_EFLAGS_RF;
	tenon_vendor->end_shadow(vcpu);
	if (unlikely((vcpu->rflags & X86_EFLAGS_TF) || (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP)))
		vcpu->step_due = true;
}

#endif /* TENON_VENDOR_H */
