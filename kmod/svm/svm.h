/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * svm.h - AMD SVM: what the files of svm/ share

 */
#ifndef TENON_SVM_H
#define TENON_SVM_H

#include <linux/percpu.h>
#include <asm/msr-index.h>

#include "../vendor.h"
#include "vmcb.h"

/* What the processor has, and parameters of the module have not turned off; each works without it. */
struct svm_features {
	bool nrips;
	bool decode;
	bool flush_asid;
	bool clean;
	bool pause_filter;
	bool pause_threshold;
	bool tsc_scale;
	bool lbr;
	u32 nr_asids;
};

extern struct svm_features svm_features;

struct svm_cpu {
	/* set while virtualization is on */
	bool enabled;
	/* pages of this CPU: the processor's save area, and what VMSAVE keeps of the host */
	struct page *hsave;
	struct page *host;
	/* address space identifiers: a generation ends when they are used up */
	u64 asid_generation;
	u32 asid_next;
	/* what guests' RDTSC is scaled by: the register does not concern the host */
	u64 tsc_ratio;
	u64 host_tsc_aux; /* the kernel's own, which stays */
	/* the last guest that ran here */
	struct vmcb *last;
};

DECLARE_PER_CPU(struct svm_cpu, svm_cpus);

struct svm_vcpu {
	struct tenon_vcpu *vcpu;
	struct vmcb *vmcb;
	u64 vmcb_pa;
	u64 host_pa;
	u8 *msrpm;
	u64 spec_ctrl; /* only without X86_FEATURE_V_SPEC_CTRL: the VMCB holds it otherwise */
	/* address space of the guest on one CPU */
	u64 asid_generation;
	int asid_cpu;
	bool flush; /* only with svm_features.flush_asid */
	bool host_saved;
	/* windows that were asked for */
	bool irq_window;
	bool nmi_step;
	bool stepped; /* TF was ours in the last entry, not the guest's own */
	u64 nmi_iret_rip;
	u64 entry_dr6; /* a debugger's traps leave no trace in the guest's DR6 */
	u64 guest_dr7; /* the VMCB may hold the debugger's instead */
};

static inline struct svm_vcpu *to_svm(struct tenon_vcpu *vcpu)
{
	return vcpu->arch;
}

extern u8 *svm_iopm;
extern u8 *svm_msrpm;

#define SVM_MSRPM_ORDER 1 /* 8 KiB */

static inline void svm_dirty(struct svm_vcpu *svm, u32 bits)
{
	svm->vmcb->control.clean &= ~bits;
}

/* The guest's translations go before the next entry. */
static inline void svm_flush(struct svm_vcpu *svm)
{
	if (svm_features.flush_asid)
		svm->flush = true;
	else
		svm->asid_generation = 0;
}

/* enter.S */
void tenon_svm_enter(u64 *gpr, u64 vmcb_pa, u64 host_pa, u64 spec_ctrl);

/* setup.c */
#define SVM_MSR_READ  1
#define SVM_MSR_WRITE 2
void svm_msr_access(u8 *msrpm, u32 msr, unsigned int free);

/* exit.c */
int svm_exit(struct tenon_vcpu *vcpu);
int svm_get_msr(struct tenon_vcpu *vcpu, u32 msr, u64 *value);
int svm_set_msr(struct tenon_vcpu *vcpu, u32 msr, u64 value);
bool svm_has_msr(u32 msr);

/* vcpu.c, event.c */
int svm_vcpu_create(struct tenon_vcpu *vcpu);
void svm_vcpu_destroy(struct tenon_vcpu *vcpu);
void svm_vcpu_reset(struct tenon_vcpu *vcpu, bool init);
void svm_vcpu_load(struct tenon_vcpu *vcpu, int cpu);
void svm_vcpu_put(struct tenon_vcpu *vcpu);
void svm_cpuid_changed(struct tenon_vcpu *vcpu);
void svm_prepare(struct tenon_vcpu *vcpu);
void svm_enter(struct tenon_vcpu *vcpu);
void svm_inject(struct tenon_vcpu *vcpu, enum tenon_event_type type, const struct tenon_event *event);
void svm_windows(struct tenon_vcpu *vcpu, bool irq, bool nmi);
bool svm_can_take_irq(struct tenon_vcpu *vcpu);
bool svm_can_take_nmi(struct tenon_vcpu *vcpu);
void svm_get_segment(struct tenon_vcpu *vcpu, unsigned int seg, struct kvm_segment *out);
void svm_set_segment(struct tenon_vcpu *vcpu, unsigned int seg, const struct kvm_segment *in);
void svm_get_code(struct tenon_vcpu *vcpu, struct tenon_code *code);
void svm_get_sys(struct tenon_vcpu *vcpu, struct tenon_sys *sys);
void svm_set_sys(struct tenon_vcpu *vcpu, const struct tenon_sys *sys);
void svm_set_tsc_offset(struct tenon_vcpu *vcpu);
u32 svm_int_shadow(struct tenon_vcpu *vcpu);
void svm_set_int_shadow(struct tenon_vcpu *vcpu, u32 shadow);
u64 svm_cpl(struct tenon_vcpu *vcpu);
void svm_debug_changed(struct tenon_vcpu *vcpu);
u64 svm_get_dr67(struct tenon_vcpu *vcpu, unsigned int n);
void svm_set_dr67(struct tenon_vcpu *vcpu, unsigned int n, u64 value);
void svm_set_cr4(struct svm_vcpu *svm, u64 cr4);
u64 svm_next_rip(struct tenon_vcpu *vcpu);
void svm_end_shadow(struct tenon_vcpu *vcpu);
void svm_refused(struct tenon_vcpu *vcpu);

#endif /* TENON_SVM_H */
