// SPDX-License-Identifier: GPL-2.0-only
/*
 * vcpu.c - AMD SVM: the state of one vCPU and the way into the guest

 */
#include <linux/context_tracking.h>
#include <linux/hw_breakpoint.h>
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/spec-ctrl.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>

#include "../../emul/guest/x86/decode.h"
#include "../tenon.h"
#include "../trace.h"
#include "svm.h"

#define SVM_CR8 8
#define SVM_I1                                                                                     \
	(VMCB_I1_INTR | VMCB_I1_NMI | VMCB_I1_SMI | VMCB_I1_INIT | VMCB_I1_RDPMC | VMCB_I1_CPUID | \
	 VMCB_I1_RSM | VMCB_I1_INVD | VMCB_I1_HLT | VMCB_I1_INVLPGA | VMCB_I1_IOIO | VMCB_I1_MSR | \
	 VMCB_I1_FERR_FREEZE | VMCB_I1_SHUTDOWN)
#define SVM_I2                                                                              \
	(VMCB_I2_VMRUN | VMCB_I2_VMMCALL | VMCB_I2_VMLOAD | VMCB_I2_VMSAVE | VMCB_I2_STGI | \
	 VMCB_I2_CLGI | VMCB_I2_SKINIT | VMCB_I2_WBINVD | VMCB_I2_MONITOR | VMCB_I2_MWAIT | \
	 VMCB_I2_MWAIT_ARMED | VMCB_I2_XSETBV | VMCB_I2_RDPRU)
#define SVM_I3 (VMCB_I3_INVLPGB | VMCB_I3_INVLPGB_BAD | VMCB_I3_MCOMMIT | VMCB_I3_TLBSYNC)

/* ---- life ---- */

int svm_vcpu_create(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = kzalloc(sizeof(*svm), GFP_KERNEL_ACCOUNT);
	struct page *page;

	if (!svm)
		return -ENOMEM;
	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	svm->msrpm = (u8 *)__get_free_pages(GFP_KERNEL_ACCOUNT, SVM_MSRPM_ORDER);
	if (!page || !svm->msrpm) {
		if (page)
			__free_page(page);
		free_pages((unsigned long)svm->msrpm, SVM_MSRPM_ORDER);
		kfree(svm);
		return -ENOMEM;
	}
	memcpy(svm->msrpm, svm_msrpm, PAGE_SIZE << SVM_MSRPM_ORDER);
	svm->vcpu = vcpu;
	svm->vmcb = page_address(page);
	svm->vmcb_pa = page_to_phys(page);
	svm->asid_cpu = -1;
	vcpu->arch = svm;
	return 0;
}

void svm_vcpu_destroy(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	int cpu;

	/*
	 * A page that is used again may not be taken for the VMCB whose state the processor has
	 * cached.
	 */
	for_each_possible_cpu(cpu) cmpxchg(per_cpu_ptr(&svm_cpus.last, cpu), svm->vmcb, NULL);
	free_page((unsigned long)svm->vmcb);
	free_pages((unsigned long)svm->msrpm, SVM_MSRPM_ORDER);
	kfree(svm);
	vcpu->arch = NULL;
}

static void set_segment(struct vmcb_segment *s, u16 selector, u16 attrib, u32 limit, u64 base)
{
	s->selector = selector;
	s->attrib = attrib;
	s->limit = limit;
	s->base = base;
}

/* AMD APM vol. 2, "Initial Processor State"; INIT keeps the caches, the FPU and most MSRs. */
void svm_vcpu_reset(struct tenon_vcpu *vcpu, bool init)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control *c = &svm->vmcb->control;
	struct vmcb_save *s = &svm->vmcb->save;
	u64 cr0 = s->cr0 & (X86_CR0_CD | X86_CR0_NW);

	memset(c, 0, sizeof(*c));
	/*
	 * CR4 is checked on its way in; CR8 while an interrupt waits for it; debug registers are
	 * kept here.
	 */
	c->cr_write = BIT(4);
	c->dr_read = 0xffff;
	c->dr_write = 0xffff;
	c->exceptions = BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC);
	c->intercept1 = SVM_I1;
	c->intercept2 = SVM_I2;
	c->intercept3 = SVM_I3;
	c->iopm = virt_to_phys(svm_iopm);
	c->msrpm = virt_to_phys(svm->msrpm);
	c->tsc_offset = vcpu->tsc_offset;
	c->vintr = VMCB_V_MASKING;
	c->nested = VMCB_NESTED_PAGING;
	c->nested_cr3 = virt_to_phys(vcpu->vm->tdp_root);
	if (svm_features.pause_filter) {
		c->pause_count = 3000;
		if (svm_features.pause_threshold)
			c->pause_threshold = 128;
		c->intercept1 |= VMCB_I1_PAUSE;
	}

	set_segment(&s->cs, 0xf000, 0x9b, 0xffff, 0xffff0000);
	set_segment(&s->ds, 0, 0x93, 0xffff, 0);
	s->es = s->ds;
	s->fs = s->ds;
	s->gs = s->ds;
	s->ss = s->ds;
	set_segment(&s->gdtr, 0, 0, 0xffff, 0);
	s->idtr = s->gdtr;
	set_segment(&s->ldtr, 0, 0x82, 0xffff, 0);
	set_segment(&s->tr, 0, 0x8b, 0xffff, 0);
	s->cpl = 0;
	s->cr0 = init ? X86_CR0_ET | cr0 : X86_CR0_ET | X86_CR0_CD | X86_CR0_NW;
	s->cr2 = 0;
	s->cr3 = 0;
	svm_set_cr4(svm, 0);
	s->efer = EFER_SVME;
	s->dr6 = DR6_RESERVED;
	svm->guest_dr7 = 0x400;
	s->rflags = 2;
	if (!init) {
		s->pat = 0x0007040600070406ull;
		s->star = 0;
		s->lstar = 0;
		s->cstar = 0;
		s->sfmask = 0;
		s->kernel_gs_base = 0;
		s->sysenter_cs = 0;
		s->sysenter_esp = 0;
		s->sysenter_eip = 0;
		s->br_from = 0;
		s->br_to = 0;
		s->exc_from = 0;
		s->exc_to = 0;
	}
	s->debugctl = 0;
	s->spec_ctrl = 0;
	svm->spec_ctrl = 0;
	memset(vcpu->gpr, 0, sizeof(vcpu->gpr));
	vcpu->gpr[X86_RDX] = 0x600;
	vcpu->rip = 0xfff0;
	vcpu->rflags = 2;
	svm->irq_window = false;
	svm->nmi_step = false;
	svm->asid_generation = 0;
	svm_debug_changed(vcpu);
}

void svm_vcpu_load(struct tenon_vcpu *vcpu, int cpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct svm_cpu *sc = per_cpu_ptr(&svm_cpus, cpu);

	svm->host_pa = page_to_phys(sc->host);
	svm->host_saved = false;
	if (READ_ONCE(sc->last) != svm->vmcb) {
		/* Another guest ran here: what it trained may not steer this one. */
		indirect_branch_prediction_barrier();
		WRITE_ONCE(sc->last, svm->vmcb);
		svm->vmcb->control.clean = 0;
	}
	if (svm->asid_cpu != cpu) {
		svm->asid_cpu = cpu;
		svm->asid_generation = 0;
		svm->vmcb->control.clean = 0;
	}
	if (boot_cpu_has(X86_FEATURE_RDTSCP) && sc->host_tsc_aux != vcpu->msr_tsc_aux)
		wrmsrl(MSR_TSC_AUX, vcpu->msr_tsc_aux);
}

void svm_vcpu_put(struct tenon_vcpu *vcpu)
{
	const struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);

	if (boot_cpu_has(X86_FEATURE_RDTSCP) && sc->host_tsc_aux != vcpu->msr_tsc_aux)
		wrmsrl(MSR_TSC_AUX, sc->host_tsc_aux);
}

/* ---- registers ---- */

static struct vmcb_segment *segment(struct svm_vcpu *svm, unsigned int seg)
{
	struct vmcb_save *s = &svm->vmcb->save;

	switch (seg) {
	case X86_ES:
		return &s->es;
	case X86_CS:
		return &s->cs;
	case X86_SS:
		return &s->ss;
	case X86_DS:
		return &s->ds;
	case X86_FS:
		return &s->fs;
	case X86_GS:
		return &s->gs;
	case TENON_SEG_TR:
		return &s->tr;
	default:
		return &s->ldtr;
	}
}

void svm_get_segment(struct tenon_vcpu *vcpu, unsigned int seg, struct kvm_segment *out)
{
	const struct vmcb_segment *s = segment(to_svm(vcpu), seg);

	*out = (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->attrib & 0xf,
		.s = s->attrib >> 4 & 1,
		.dpl = s->attrib >> 5 & 3,
		.present = s->attrib >> 7 & 1,
		.avl = s->attrib >> 8 & 1,
		.l = s->attrib >> 9 & 1,
		.db = s->attrib >> 10 & 1,
		.g = s->attrib >> 11 & 1,
	};
	switch (seg) {
	case X86_CS:
		/* Some processors do not keep G, which the limit tells. */
		out->g = s->limit > 0xfffff;
		break;
	case TENON_SEG_TR:
		out->type |= 2;
		break;
	case X86_SS:
		/* The CPL is kept beside SS. */
		out->dpl = to_svm(vcpu)->vmcb->save.cpl;
		if (!out->present)
			out->db = 0;
		break;
	default:
		if (out->present && out->s)
			out->type |= 1;
		break;
	}
	out->unusable = !out->present;
}

void svm_set_segment(struct tenon_vcpu *vcpu, unsigned int seg, const struct kvm_segment *in)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_segment *s = segment(svm, seg);

	s->base = in->base;
	s->limit = in->limit;
	s->selector = in->selector;
	s->attrib = (in->type & 0xf) | (in->s & 1) << 4 | (in->dpl & 3) << 5 |
		    ((in->present & 1) && !in->unusable) << 7 | (in->avl & 1) << 8 |
		    (in->l & 1) << 9 | (in->db & 1) << 10 | (in->g & 1) << 11;
	if (seg == X86_SS)
		svm->vmcb->save.cpl = in->dpl & 3;
	svm_dirty(svm, VMCB_CLEAN_SEG);
}

u64 svm_cpl(struct tenon_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->save.cpl;
}

void svm_get_code(struct tenon_vcpu *vcpu, struct tenon_code *code)
{
	const struct vmcb_save *s = &to_svm(vcpu)->vmcb->save;

	*code = (struct tenon_code){
		.cr0 = s->cr0,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.efer = s->efer,
		.cs_base = s->cs.base,
		.cpl = s->cpl,
		.mode = (s->efer & EFER_LMA) && (s->cs.attrib & BIT(9)) ? X86_MODE_64 :
			s->cs.attrib & BIT(10) ? X86_MODE_32 : X86_MODE_16,
	};
}

void svm_get_sys(struct tenon_vcpu *vcpu, struct tenon_sys *sys)
{
	const struct vmcb_save *s = &to_svm(vcpu)->vmcb->save;

	*sys = (struct tenon_sys){
		.cr0 = s->cr0,
		.cr2 = s->cr2,
		.cr3 = s->cr3,
		.cr4 = s->cr4,
		.efer = s->efer & ~(u64)EFER_SVME,
		.pat = s->pat,
		.gdt_base = s->gdtr.base,
		.gdt_limit = s->gdtr.limit & 0xffff,
		.idt_base = s->idtr.base,
		.idt_limit = s->idtr.limit & 0xffff,
	};
}

void svm_set_sys(struct tenon_vcpu *vcpu, const struct tenon_sys *sys)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_save *s = &svm->vmcb->save;

	/* What the TLB holds was built under the old ones. */
	if ((s->cr0 ^ sys->cr0) & (X86_CR0_PG | X86_CR0_WP) || s->cr3 != sys->cr3 ||
	    s->cr4 != sys->cr4 || (s->efer ^ sys->efer) & (EFER_LMA | EFER_NX))
		svm_flush(svm);
	s->cr0 = sys->cr0;
	s->cr2 = sys->cr2;
	s->cr3 = sys->cr3;
	svm_set_cr4(svm, sys->cr4);
	s->efer = sys->efer | EFER_SVME;
	s->pat = sys->pat;
	s->gdtr.base = sys->gdt_base;
	s->gdtr.limit = sys->gdt_limit;
	s->idtr.base = sys->idt_base;
	s->idtr.limit = sys->idt_limit;
	svm->vmcb->control.clean = 0;
}

void svm_set_cr4(struct svm_vcpu *svm, u64 cr4)
{
	svm->vmcb->save.cr4 = cr4;
	svm->vcpu->cr4_pke = cr4 & X86_CR4_PKE;
}

/*
 * What the guest may do by itself: barriers are no secret, and its SPEC_CTRL where the processor has one for it. Elsewhere
 * that is switched in enter.S, and what the guest writes comes by here.
 */
void svm_cpuid_changed(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	const bool spec_ctrl = vcpu->spec_ctrl_allowed && cpu_feature_enabled(X86_FEATURE_V_SPEC_CTRL);

	svm_msr_access(svm->msrpm, MSR_IA32_SPEC_CTRL, spec_ctrl ? SVM_MSR_READ | SVM_MSR_WRITE : 0);
	svm_msr_access(svm->msrpm, MSR_IA32_PRED_CMD, vcpu->pred_cmd_allowed ? SVM_MSR_WRITE : 0);
	svm_msr_access(svm->msrpm, MSR_IA32_FLUSH_CMD, vcpu->flush_cmd_allowed ? SVM_MSR_WRITE : 0);
	svm_dirty(svm, VMCB_CLEAN_PERMISSION);
}

void svm_set_tsc_offset(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->control.tsc_offset = vcpu->tsc_offset;
	svm_dirty(svm, VMCB_CLEAN_INTERCEPTS);
}

u32 svm_int_shadow(struct tenon_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->control.int_state & VMCB_INT_SHADOW ? 1 : 0;
}

void svm_set_int_shadow(struct tenon_vcpu *vcpu, u32 shadow)
{
	struct vmcb_control *c = &to_svm(vcpu)->vmcb->control;

	c->int_state &= ~VMCB_INT_SHADOW;
	if (shadow)
		c->int_state |= VMCB_INT_SHADOW;
}

u64 svm_get_dr67(struct tenon_vcpu *vcpu, unsigned int n)
{
	return n == 6 ? to_svm(vcpu)->vmcb->save.dr6 : to_svm(vcpu)->guest_dr7;
}

void svm_set_dr67(struct tenon_vcpu *vcpu, unsigned int n, u64 value)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (n == 6)
		svm->vmcb->save.dr6 = (value & 0xe00f) | DR6_RESERVED;
	else
		svm->guest_dr7 = (value & 0xffff2fff) | 0x400;
	svm_debug_changed(vcpu);
}

/* The debugger's breakpoints, if it set any, take the place of the guest's own. */
void svm_debug_changed(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb *vmcb = svm->vmcb;

	vmcb->save.dr7 = vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP ? vcpu->guest_debug_dr[7] :
								      svm->guest_dr7;
	vmcb->control.exceptions &= ~BIT(3);
	if ((vcpu->guest_debug & KVM_GUESTDBG_ENABLE) &&
	    (vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP))
		vmcb->control.exceptions |= BIT(3);
	svm_dirty(svm, VMCB_CLEAN_DR | VMCB_CLEAN_INTERCEPTS);
}

u64 svm_next_rip(struct tenon_vcpu *vcpu)
{
	return svm_features.nrips ? to_svm(vcpu)->vmcb->control.next_rip : 0;
}

void svm_end_shadow(struct tenon_vcpu *vcpu)
{
	to_svm(vcpu)->vmcb->control.int_state &= ~VMCB_INT_SHADOW;
}

/* ---- events ---- */

bool svm_can_take_irq(struct tenon_vcpu *vcpu)
{
	const struct vmcb_control *c = &to_svm(vcpu)->vmcb->control;

	return (vcpu->rflags & X86_EFLAGS_IF) && !(c->int_state & VMCB_INT_SHADOW);
}

bool svm_can_take_nmi(struct tenon_vcpu *vcpu)
{
	const struct vmcb_control *c = &to_svm(vcpu)->vmcb->control;

	return !vcpu->nmi_masked && !(c->int_state & VMCB_INT_SHADOW);
}

/* A dummy interrupt of the highest priority: the exit comes when the guest would take it. */
#define VINTR_WINDOW (VMCB_V_IRQ | VMCB_V_IGN_TPR | VMCB_V_PRIO)

static void svm_irq_window(struct svm_vcpu *svm, bool on)
{
	struct vmcb_control *c = &svm->vmcb->control;

	if (svm->irq_window == on)
		return;
	svm->irq_window = on;
	if (on) {
		c->vintr |= VINTR_WINDOW;
		c->intercept1 |= VMCB_I1_VINTR;
	} else {
		c->vintr &= ~VINTR_WINDOW;
		c->intercept1 &= ~VMCB_I1_VINTR;
	}
	svm_dirty(svm, VMCB_CLEAN_INTERCEPTS | VMCB_CLEAN_VINTR);
}

/*
 * VMRUN was refused. The hypervisor that this one runs in may have written to the VMCB what it had
 * not read yet (QEMU does): without V_INTR_MASKING, the next guest would keep interrupts from the
 * host by its own IF.
 */
void svm_refused(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->control.vintr = VMCB_V_MASKING | (svm->irq_window ? VINTR_WINDOW : 0);
	svm->vmcb->control.clean = 0;
}

void svm_inject(struct tenon_vcpu *vcpu, enum tenon_event_type type, const struct tenon_event *event)
{
	static const u64 types[] = {
		[TENON_EXCEPTION] = VMCB_EVENT_EXCEPTION,
		[TENON_NMI] = VMCB_EVENT_NMI,
		[TENON_INTERRUPT] = VMCB_EVENT_INTR,
	};
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control *c = &svm->vmcb->control;

	c->event_inject = VMCB_EVENT_VALID | types[type] | event->vector |
			  (event->has_error ? VMCB_EVENT_HAS_ERROR | (u64)event->error << 32 : 0);
	if (type == TENON_EXCEPTION && event->vector == 14) {
		svm->vmcb->save.cr2 = event->payload;
		svm_dirty(svm, VMCB_CLEAN_CR2);
	}
	if (type == TENON_EXCEPTION && event->vector == X86_TRAP_DB)
		svm_dirty(svm, VMCB_CLEAN_DR);
	if (type == TENON_NMI) {
		vcpu->nmi_shadow_iret = false;
		c->intercept1 |= VMCB_I1_IRET;
		svm_dirty(svm, VMCB_CLEAN_INTERCEPTS);
	}
}

static void svm_nmi_window(struct svm_vcpu *svm)
{
	struct vmcb_control *c = &svm->vmcb->control;
	struct tenon_vcpu *vcpu = svm->vcpu;

	if (vcpu->nmi_masked && !vcpu->nmi_shadow_iret) {
		/* The handler ends with IRET. */
		c->intercept1 |= VMCB_I1_IRET;
		svm_dirty(svm, VMCB_CLEAN_INTERCEPTS);
		return;
	}
	/* IRET is about to run, or an interrupt shadow to end: one instruction more. */
	svm->nmi_step = true;
}

void svm_windows(struct tenon_vcpu *vcpu, bool irq, bool nmi)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->nmi_step = false;
	if (nmi)
		svm_nmi_window(svm);
	svm_irq_window(svm, irq);
}

/*
 * The TPR in CR8; and an exit on its change while it holds an interrupt back. Without a local APIC here, user space alone
 * knows what it holds back.
 */
void svm_prepare(struct tenon_vcpu *vcpu)
{
	struct vmcb_control *c = &to_svm(vcpu)->vmcb->control;
	u64 tpr = vcpu->cr8 & 0xf;
	bool held = !vcpu->lapic;

	if (vcpu->lapic)
		held = tenon_tpr_holds(vcpu, &tpr) >= 0;
	c->vintr = (c->vintr & ~VMCB_V_TPR) | tpr;
	if (held != !!(c->cr_write & BIT(SVM_CR8))) {
		c->cr_write ^= BIT(SVM_CR8);
		svm_dirty(to_svm(vcpu), VMCB_CLEAN_INTERCEPTS);
	}
	svm_dirty(to_svm(vcpu), VMCB_CLEAN_VINTR);
}

/*
 * What was being delivered when the guest left has to be delivered again (AMD APM vol. 2,
 * "EXITINTINFO").
 */
static void svm_requeue(struct tenon_vcpu *vcpu)
{
	struct vmcb_control *c = &to_svm(vcpu)->vmcb->control;
	u64 info = c->exit_int_info;
	struct tenon_event event;

	c->event_inject = 0;
	if (likely(!(info & VMCB_EVENT_VALID)))
		return;
	event = (struct tenon_event){
		.pending = true,
		.vector = info & VMCB_EVENT_VECTOR,
		.has_error = info & VMCB_EVENT_HAS_ERROR,
		.error = info >> 32,
		.payload = to_svm(vcpu)->vmcb->save.cr2,
	};
	switch (info & VMCB_EVENT_TYPE) {
	case VMCB_EVENT_NMI:
		tenon_requeue(vcpu, TENON_NMI, &event);
		break;
	case VMCB_EVENT_INTR:
		tenon_requeue(vcpu, TENON_INTERRUPT, &event);
		break;
	case VMCB_EVENT_EXCEPTION:
		/* INT3 and INTO run again. */
		if (event.vector != 3 && event.vector != 4)
			tenon_requeue(vcpu, TENON_EXCEPTION, &event);
		break;
	default:
		/* INT n runs again. */
		break;
	}
}

/* ---- entry ---- */

static void svm_new_asid(struct svm_vcpu *svm, struct svm_cpu *sc)
{
	struct vmcb_control *c = &svm->vmcb->control;

	if (sc->asid_next >= svm_features.nr_asids) {
		sc->asid_generation++;
		sc->asid_next = 1;
		c->tlb_control = VMCB_TLB_ALL;
	}
	svm->asid_generation = sc->asid_generation;
	c->asid = sc->asid_next++;
	svm_dirty(svm, VMCB_CLEAN_ASID);
}

static noinstr void svm_world_switch(struct tenon_vcpu *vcpu, struct svm_vcpu *svm)
{
	guest_state_enter_irqoff();
	tenon_svm_enter(vcpu->gpr, svm->vmcb_pa, svm->host_pa, svm->spec_ctrl);
	guest_state_exit_irqoff();
}

static void svm_load_dr(const u64 *dr)
{
	/* Until VMRUN, none of them may match for the host. */
	set_debugreg(0, 7);
	set_debugreg(dr[0], 0);
	set_debugreg(dr[1], 1);
	set_debugreg(dr[2], 2);
	set_debugreg(dr[3], 3);
}

static __always_inline bool svm_ssbd_elsewhere(void)
{
	return static_cpu_has(X86_FEATURE_LS_CFG_SSBD) || static_cpu_has(X86_FEATURE_VIRT_SSBD);
}

void svm_enter(struct tenon_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	struct vmcb *vmcb = svm->vmcb;
	struct vmcb_save *s = &vmcb->save;
	bool step;

	if (unlikely(!sc->enabled)) {
		/* The emergency path has been here. */
		vmcb->control.exit_code = 0x61;
		return;
	}
	if (unlikely(!svm->host_saved)) {
		asm volatile("vmsave %0" : : "a"(svm->host_pa) : "memory");
		svm->host_saved = true;
	}
	if (svm_features.tsc_scale && unlikely(sc->tsc_ratio != vcpu->tsc_ratio)) {
		wrmsrl(MSR_AMD64_TSC_RATIO, vcpu->tsc_ratio);
		sc->tsc_ratio = vcpu->tsc_ratio;
	}
	vmcb->control.tlb_control = VMCB_TLB_NOTHING;
	if (unlikely(tenon_take_request(vcpu, TENON_REQ_TLB_FLUSH))) {
		vcpu->stats.flushes++;
		svm_flush(svm);
	}
	/* What has to be flushed is flushed by its identifier where the processor can; a new one does as well. */
	if (unlikely(svm->asid_generation != sc->asid_generation)) {
		vcpu->stats.tlb_flushes++;
		svm_new_asid(svm, sc);
	} else if (unlikely(svm->flush)) {
		vcpu->stats.tlb_flushes++;
		vmcb->control.tlb_control = VMCB_TLB_ASID;
	}
	svm->flush = false;

	s->rax = vcpu->gpr[X86_RAX];
	s->rsp = vcpu->gpr[X86_RSP];
	s->rip = vcpu->rip;
	s->rflags = vcpu->rflags;
	svm->entry_dr6 = s->dr6;
	/* The last quotient of the host's stays in the divider. */
	if (static_cpu_has_bug(X86_BUG_DIV0))
		amd_clear_divider();
	/* A trap that the guest has asked for itself is the guest's. */
	step = (svm->nmi_step || (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP)) &&
	       !(vcpu->rflags & X86_EFLAGS_TF);
	svm->stepped = step;
	if (unlikely(step))
		s->rflags |= X86_EFLAGS_TF;
	if (unlikely(s->dr7 & 0xff))
		svm_load_dr(vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP ? vcpu->guest_debug_dr :
									 vcpu->dr);

	asm volatile("clgi" : : : "memory");
	/* Speculative store bypass, on processors that do not have it in SPEC_CTRL. */
	if (svm_ssbd_elsewhere())
		x86_spec_ctrl_set_guest(vcpu->msr_virt_spec_ctrl);
	svm_world_switch(vcpu, svm);
	if (svm_ssbd_elsewhere())
		x86_spec_ctrl_restore_host(vcpu->msr_virt_spec_ctrl);
	asm volatile("stgi" : : : "memory");

	if (unlikely(s->dr7 & 0xff) || unlikely(hw_breakpoint_active()))
		hw_breakpoint_restore();
	vcpu->gpr[X86_RAX] = s->rax;
	vcpu->gpr[X86_RSP] = s->rsp;
	vcpu->rip = s->rip;
	vcpu->rflags = s->rflags;
	if (unlikely(step))
		vcpu->rflags &= ~(u64)X86_EFLAGS_TF;
	vmcb->control.clean = svm_features.clean ? ~0u : 0;
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	/* VMSCAPE: user space does not run on what the guest trained. */
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
	/*
	 * A machine check of the host's, taken as an exit: let the host see it where it happened.
	 */
	if (unlikely(vmcb->control.exit_code == 0x40 + X86_TRAP_MC))
		asm volatile("int $18");
	tenon_tpr_out(vcpu, vmcb->control.vintr & 0xf);
	svm_requeue(vcpu);
	/* An IRET that was let through has ended the NMI once RIP has moved. */
	if (unlikely(vcpu->nmi_shadow_iret) && vcpu->rip != svm->nmi_iret_rip) {
		vcpu->nmi_shadow_iret = false;
		vcpu->nmi_masked = false;
	}
}
