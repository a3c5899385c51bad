// SPDX-License-Identifier: GPL-2.0-only
/*
 * state.c - ioctls that read and write what a vCPU consists of
 *
 * Every value may have been made up: what the processor would refuse to enter with is refused here,
 * or comes out as KVM_EXIT_FAIL_ENTRY; nothing of it can harm the host.

 */
#include <linux/nospec.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/debugreg.h>
#include <asm/mce.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "../emul/guest/x86/decode.h"
#include "tenon.h"
#include "vendor.h"

static void get_regs(struct tenon_vcpu *vcpu, struct kvm_regs *r)
{
	const u64 *g = vcpu->gpr;

	*r = (struct kvm_regs){
		.rax = g[X86_RAX],
		.rbx = g[X86_RBX],
		.rcx = g[X86_RCX],
		.rdx = g[X86_RDX],
		.rsi = g[X86_RSI],
		.rdi = g[X86_RDI],
		.rsp = g[X86_RSP],
		.rbp = g[X86_RBP],
		.r8 = g[X86_R8],
		.r9 = g[X86_R9],
		.r10 = g[X86_R10],
		.r11 = g[X86_R11],
		.r12 = g[X86_R12],
		.r13 = g[X86_R13],
		.r14 = g[X86_R14],
		.r15 = g[X86_R15],
		.rip = vcpu->rip,
		.rflags = vcpu->rflags,
	};
}

static void set_regs(struct tenon_vcpu *vcpu, const struct kvm_regs *r)
{
	u64 *g = vcpu->gpr;

	g[X86_RAX] = r->rax;
	g[X86_RBX] = r->rbx;
	g[X86_RCX] = r->rcx;
	g[X86_RDX] = r->rdx;
	g[X86_RSI] = r->rsi;
	g[X86_RDI] = r->rdi;
	g[X86_RSP] = r->rsp;
	g[X86_RBP] = r->rbp;
	g[X86_R8] = r->r8;
	g[X86_R9] = r->r9;
	g[X86_R10] = r->r10;
	g[X86_R11] = r->r11;
	g[X86_R12] = r->r12;
	g[X86_R13] = r->r13;
	g[X86_R14] = r->r14;
	g[X86_R15] = r->r15;
	vcpu->rip = r->rip;
	vcpu->rflags = r->rflags | X86_EFLAGS_FIXED;
	vcpu->step_due = false;
	vcpu->exception.pending = false;
}

static void get_sregs(struct tenon_vcpu *vcpu, struct kvm_sregs *s)
{
	struct tenon_sys sys;

	memset(s, 0, sizeof(*s));
	tenon_vendor->get_segment(vcpu, X86_CS, &s->cs);
	tenon_vendor->get_segment(vcpu, X86_DS, &s->ds);
	tenon_vendor->get_segment(vcpu, X86_ES, &s->es);
	tenon_vendor->get_segment(vcpu, X86_FS, &s->fs);
	tenon_vendor->get_segment(vcpu, X86_GS, &s->gs);
	tenon_vendor->get_segment(vcpu, X86_SS, &s->ss);
	tenon_vendor->get_segment(vcpu, TENON_SEG_TR, &s->tr);
	tenon_vendor->get_segment(vcpu, TENON_SEG_LDT, &s->ldt);
	tenon_vendor->get_sys(vcpu, &sys);
	s->gdt.base = sys.gdt_base;
	s->gdt.limit = sys.gdt_limit;
	s->idt.base = sys.idt_base;
	s->idt.limit = sys.idt_limit;
	s->cr0 = sys.cr0;
	s->cr2 = sys.cr2;
	s->cr3 = sys.cr3;
	s->cr4 = sys.cr4;
	s->efer = sys.efer;
	s->cr8 = vcpu->lapic ? lapic_get_tpr(vcpu->lapic) >> 4 : vcpu->cr8;
	s->apic_base = vcpu->lapic ? vcpu->lapic->base :
				     LAPIC_DEFAULT_BASE | LAPIC_BASE_ENABLED |
					     (vcpu->id == vcpu->vm->bsp_id ? LAPIC_BASE_BSP : 0);
	if (vcpu->injected.pending && !vcpu->injected_is_nmi)
		__set_bit(vcpu->injected.vector, (unsigned long *)s->interrupt_bitmap);
	else if (vcpu->user_irq >= 0)
		__set_bit(vcpu->user_irq & 0xff, (unsigned long *)s->interrupt_bitmap);
}

static int set_sregs(struct tenon_vcpu *vcpu, const struct kvm_sregs *s)
{
	struct tenon_sys sys;
	unsigned long pending;

	/* AMD APM vol. 2, "Canonicalization and Consistency Checks". */
	if ((s->cr0 >> 32) || ((s->cr0 & X86_CR0_PG) && !(s->cr0 & X86_CR0_PE)) ||
	    ((s->cr0 & X86_CR0_NW) && !(s->cr0 & X86_CR0_CD)))
		return -EINVAL;
	if ((s->cr4 & ~vcpu->cr4_allowed) || (s->efer & ~vcpu->efer_allowed))
		return -EINVAL;
	if ((s->efer & EFER_LME) && (s->cr0 & X86_CR0_PG)) {
		if (!(s->cr4 & X86_CR4_PAE) || !(s->efer & EFER_LMA) || s->cr3 >> vcpu->phys_bits)
			return -EINVAL;
	} else if ((s->efer & EFER_LMA) || s->cs.l) {
		if (s->efer & EFER_LMA)
			return -EINVAL;
	}
	if (s->cr8 & ~0xfull)
		return -EINVAL;
	if (vcpu->lapic && s->apic_base != vcpu->lapic->base &&
	    lapic_set_base(vcpu->lapic, s->apic_base, true))
		return -EINVAL;

	tenon_vendor->get_sys(vcpu, &sys);
	sys.gdt_base = s->gdt.base;
	sys.gdt_limit = s->gdt.limit;
	sys.idt_base = s->idt.base;
	sys.idt_limit = s->idt.limit;
	sys.cr0 = s->cr0 | X86_CR0_ET;
	sys.cr2 = s->cr2;
	sys.cr3 = s->cr3;
	sys.cr4 = s->cr4;
	sys.efer = s->efer;
	tenon_vendor->set_sys(vcpu, &sys);
	tenon_vendor->set_segment(vcpu, X86_CS, &s->cs);
	tenon_vendor->set_segment(vcpu, X86_DS, &s->ds);
	tenon_vendor->set_segment(vcpu, X86_ES, &s->es);
	tenon_vendor->set_segment(vcpu, X86_FS, &s->fs);
	tenon_vendor->set_segment(vcpu, X86_GS, &s->gs);
	tenon_vendor->set_segment(vcpu, X86_SS, &s->ss);
	tenon_vendor->set_segment(vcpu, TENON_SEG_TR, &s->tr);
	tenon_vendor->set_segment(vcpu, TENON_SEG_LDT, &s->ldt);
	vcpu->cr8 = s->cr8;
	if (vcpu->lapic)
		lapic_set_tpr(vcpu->lapic, s->cr8 << 4);

	pending = find_first_bit((unsigned long *)s->interrupt_bitmap, 256);
	if (pending < 256) {
		vcpu->injected = (struct tenon_event){ .pending = true, .vector = pending };
		vcpu->injected_is_nmi = false;
	}
	/* A boot processor that user space puts at the reset vector runs. */
	if (vcpu->id == vcpu->vm->bsp_id && s->cs.selector == 0xf000 && vcpu->rip == 0xfff0 &&
	    !(s->cr0 & X86_CR0_PE))
		vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
	return 0;
}

static void get_events(struct tenon_vcpu *vcpu, struct kvm_vcpu_events *e)
{
	*e = (struct kvm_vcpu_events){
		.exception.injected = vcpu->exception.pending,
		.exception.nr = vcpu->exception.vector,
		.exception.has_error_code = vcpu->exception.has_error,
		.exception.error_code = vcpu->exception.error,
		.interrupt.injected = vcpu->injected.pending && !vcpu->injected_is_nmi,
		.interrupt.nr = vcpu->injected.vector,
		.interrupt.shadow = tenon_vendor->int_shadow(vcpu) ? KVM_X86_SHADOW_INT_STI : 0,
		.nmi.injected = vcpu->injected.pending && vcpu->injected_is_nmi,
		.nmi.pending = vcpu->nmi_pending + atomic_read(&vcpu->nmi_queued) != 0,
		.nmi.masked = vcpu->nmi_masked,
		.sipi_vector = 0,
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
	};
}

static int set_events(struct tenon_vcpu *vcpu, const struct kvm_vcpu_events *e)
{
	if (e->flags & ~(u32)(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			      KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SMM))
		return -EINVAL;
	if (e->exception.injected && (e->exception.nr > 31 || e->exception.nr == 2))
		return -EINVAL;
	if ((e->flags & KVM_VCPUEVENT_VALID_SMM) && (e->smi.smm || e->smi.pending))
		return -EINVAL;
	vcpu->exception = (struct tenon_event){
		.pending = e->exception.injected,
		.vector = e->exception.nr,
		.has_error = e->exception.has_error_code,
		.error = e->exception.error_code,
	};
	if (e->exception.injected && e->exception.nr == 14) {
		struct tenon_sys sys;

		tenon_vendor->get_sys(vcpu, &sys);
		vcpu->exception.payload = sys.cr2;
	}
	vcpu->injected.pending = false;
	if (e->interrupt.injected || e->nmi.injected) {
		vcpu->injected_is_nmi = e->nmi.injected;
		vcpu->injected = (struct tenon_event){
			.pending = true,
			.vector = e->nmi.injected ? 2 : e->interrupt.nr,
		};
	}
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW)
		tenon_vendor->set_int_shadow(vcpu, e->interrupt.shadow);
	vcpu->nmi_masked = e->nmi.masked;
	vcpu->nmi_shadow_iret = false;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING) {
		atomic_set(&vcpu->nmi_queued, 0);
		vcpu->nmi_pending = !!e->nmi.pending;
	}
	if (e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR)
		vcpu->sipi_vector = e->sipi_vector;
	return 0;
}

static void get_debugregs(struct tenon_vcpu *vcpu, struct kvm_debugregs *d)
{
	memset(d, 0, sizeof(*d));
	memcpy(d->db, vcpu->dr, sizeof(d->db));
	d->dr6 = tenon_vendor->get_dr67(vcpu, 6);
	d->dr7 = tenon_vendor->get_dr67(vcpu, 7);
}

static int set_debugregs(struct tenon_vcpu *vcpu, const struct kvm_debugregs *d)
{
	if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
		return -EINVAL;
	memcpy(vcpu->dr, d->db, sizeof(vcpu->dr));
	tenon_vendor->set_dr67(vcpu, 6, d->dr6);
	tenon_vendor->set_dr67(vcpu, 7, d->dr7);
	return 0;
}

static int set_guest_debug(struct tenon_vcpu *vcpu, const struct kvm_guest_debug *d)
{
	if (d->control & ~(u32)TENON_GUESTDBG)
		return -EINVAL;
	if (d->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
		if (vcpu->exception.pending)
			return -EBUSY;
		tenon_queue_exception(vcpu, d->control & KVM_GUESTDBG_INJECT_DB ? 1 : 3, false, 0,
				      0);
	}
	vcpu->guest_debug = d->control & KVM_GUESTDBG_ENABLE ? d->control : 0;
	if (vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP) {
		unsigned int n;

		for (n = 0; n < 4; n++)
			vcpu->guest_debug_dr[n] = d->arch.debugreg[n];
		/* No general detect: it would be the guest's own accesses that it reports. */
		vcpu->guest_debug_dr[7] = (d->arch.debugreg[7] & 0xffff0fff) | 0x400;
	}
	tenon_vendor->debug_changed(vcpu);
	return 0;
}

static int set_mp_state(struct tenon_vcpu *vcpu, const struct kvm_mp_state *mp)
{
	switch (mp->mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_HALTED:
		if (!vcpu->lapic)
			return -EINVAL;
		break;
	case KVM_MP_STATE_SIPI_RECEIVED:
		if (!vcpu->lapic)
			return -EINVAL;
		vcpu->mp_state = KVM_MP_STATE_INIT_RECEIVED;
		tenon_make_request(vcpu, TENON_REQ_SIPI);
		return 0;
	default:
		return -EINVAL;
	}
	vcpu->mp_state = mp->mp_state;
	return 0;
}

static int translate(struct tenon_vcpu *vcpu, struct kvm_translation *t)
{
	struct tenon_code code;
	u32 error;
	u64 gpa;

	tenon_vendor->get_code(vcpu, &code);
	t->valid = !tenon_gva_to_gpa(vcpu, &code, t->linear_address, 0, &gpa, &error);
	t->physical_address = t->valid ? gpa : ~0ull;
	t->writeable = 1;
	t->usermode = 0;
	return 0;
}

/* In x2APIC mode the ID is all 32 bits, and shifted as in an xAPIC without KVM_X2APIC_API_USE_32BIT_IDS. */
static u32 lapic_id_as_told(const struct tenon_vcpu *vcpu)
{
	return vcpu->vm->x2apic_32bit ? vcpu->lapic->config.id : vcpu->lapic->config.id << 24;
}

static long lapic_state(struct tenon_vcpu *vcpu, bool set, void __user *arg)
{
	struct kvm_lapic_state *s;
	long ret = 0;
	u32 id;

	if (!vcpu->lapic)
		return -EINVAL;
	if (!set) {
		s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
		if (!s)
			return -ENOMEM;
		lapic_collect(vcpu->lapic);
		lapic_save(vcpu->lapic, s->regs, tenon_now());
		if (lapic_is_x2apic(vcpu->lapic)) {
			id = lapic_id_as_told(vcpu);
			memcpy(s->regs + LAPIC_ID, &id, sizeof(id));
		}
		if (copy_to_user(arg, s, sizeof(*s)))
			ret = -EFAULT;
		kfree(s);
		return ret;
	}
	s = memdup_user(arg, sizeof(*s));
	if (IS_ERR(s))
		return PTR_ERR(s);
	memcpy(&id, s->regs + LAPIC_ID, sizeof(id));
	if (lapic_is_x2apic(vcpu->lapic) && vcpu->vm->x2apic_32bit && id != lapic_id_as_told(vcpu)) {
		ret = -EINVAL;
	} else {
		lapic_restore(vcpu->lapic, s->regs, tenon_now());
		vcpu->timer_stale = true;
		vcpu->vectors_stale = true;
	}
	kfree(s);
	return ret;
}

static int setup_mce(struct tenon_vcpu *vcpu, u64 cap)
{
	const unsigned int banks = cap & 0xff;
	unsigned int n;

	if (!banks || banks > 32 || (cap & ~(u64)(0xff | MCG_CTL_P | MCG_SER_P)))
		return -EINVAL;
	vcpu->msr_mcg_cap = cap;
	if (cap & MCG_CTL_P)
		vcpu->msr_mcg_ctl = ~0ull;
	for (n = 0; n < banks; n++)
		vcpu->mce_banks[n * 4] = ~0ull;
	return 0;
}

/* Intel SDM vol. 3, "Machine-Check Architecture": log it, and raise #MC if it is uncorrected. */
static int set_mce(struct tenon_vcpu *vcpu, const struct kvm_x86_mce *mce)
{
	struct tenon_sys sys;
	u64 *bank;

	if (mce->bank >= (vcpu->msr_mcg_cap & 0xff) || !(mce->status & MCI_STATUS_VAL))
		return -EINVAL;
	bank = &vcpu->mce_banks[array_index_nospec(mce->bank, 32) * 4];
	if ((mce->status & MCI_STATUS_UC) && (vcpu->msr_mcg_cap & MCG_CTL_P) &&
	    vcpu->msr_mcg_ctl != ~0ull)
		return 0;
	if ((mce->status & MCI_STATUS_UC) && bank[0] != ~0ull)
		return 0;
	if (mce->status & MCI_STATUS_UC) {
		tenon_vendor->get_sys(vcpu, &sys);
		if ((vcpu->msr_mcg_status & MCG_STATUS_MCIP) || !(sys.cr4 & X86_CR4_MCE)) {
			tenon_make_request(vcpu, TENON_REQ_TRIPLE_FAULT);
			return 0;
		}
		bank[1] = mce->status | (bank[1] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0);
		bank[2] = mce->addr;
		bank[3] = mce->misc;
		vcpu->msr_mcg_status = mce->mcg_status;
		tenon_queue_exception(vcpu, 18, false, 0, 0);
	} else if (!(bank[1] & MCI_STATUS_VAL) || !(bank[1] & MCI_STATUS_UC)) {
		bank[1] = mce->status | (bank[1] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0);
		bank[2] = mce->addr;
		bank[3] = mce->misc;
	} else {
		bank[1] |= MCI_STATUS_OVER;
	}
	return 0;
}

#define GET(type, call)                                                        \
	({                                                                     \
		type *v_ = kzalloc(sizeof(*v_), GFP_KERNEL_ACCOUNT);           \
		long r_ = -ENOMEM;                                             \
									       \
		if (v_) {                                                      \
			call;                                                  \
			r_ = copy_to_user(arg, v_, sizeof(*v_)) ? -EFAULT : 0; \
			kfree(v_);                                             \
		}                                                              \
		r_;                                                            \
	})

#define SET(type, call)                                   \
	({                                                \
		type *v_ = memdup_user(arg, sizeof(*v_)); \
		long r_ = PTR_ERR_OR_ZERO(v_);            \
							  \
		if (!r_) {                                \
			r_ = (call);                      \
			kfree(v_);                        \
		}                                         \
		r_;                                       \
	})

static int set_regs_checked(struct tenon_vcpu *vcpu, const struct kvm_regs *r)
{
	set_regs(vcpu, r);
	return 0;
}

static long translate_ioctl(struct tenon_vcpu *vcpu, void __user *arg)
{
	struct kvm_translation t;

	if (copy_from_user(&t, arg, sizeof(t)))
		return -EFAULT;
	translate(vcpu, &t);
	return copy_to_user(arg, &t, sizeof(t)) ? -EFAULT : 0;
}

static int vcpu_enable_cap(struct tenon_vcpu *vcpu, const struct kvm_enable_cap *cap)
{
	return -EINVAL;
}

static int set_vapic(struct tenon_vcpu *vcpu, const struct kvm_vapic_addr *addr)
{
	u32 word;

	if (!vcpu->lapic || (addr->vapic_addr & 3))
		return -EINVAL;
	if (addr->vapic_addr && tenon_read_phys(vcpu->vm, addr->vapic_addr, &word, sizeof(word)))
		return -EINVAL;
	vcpu->vapic_addr = addr->vapic_addr;
	return 0;
}

static int tpr_reporting(struct tenon_vcpu *vcpu, const struct kvm_tpr_access_ctl *ctl)
{
	if (!vcpu->lapic || ctl->flags)
		return -EINVAL;
	vcpu->tpr_reporting = ctl->enabled;
	return 0;
}

/* The guest was stopped for a while: its watchdogs are not to bark. */
static int clock_stopped(struct tenon_vcpu *vcpu)
{
	if (!(vcpu->pv_system_time & 1))
		return -EINVAL;
	vcpu->pv_stopped = true;
	tenon_make_request(vcpu, TENON_REQ_CLOCK);
	return 0;
}

long tenon_state_ioctl(struct tenon_vcpu *vcpu, unsigned int cmd, void __user *arg)
{
	switch (cmd) {
	case KVM_GET_REGS:
		return GET(struct kvm_regs, get_regs(vcpu, v_));
	case KVM_SET_REGS:
		return SET(struct kvm_regs, set_regs_checked(vcpu, v_));
	case KVM_GET_SREGS:
		return GET(struct kvm_sregs, get_sregs(vcpu, v_));
	case KVM_SET_SREGS:
		return SET(struct kvm_sregs, set_sregs(vcpu, v_));
	case KVM_GET_VCPU_EVENTS:
		return GET(struct kvm_vcpu_events, get_events(vcpu, v_));
	case KVM_SET_VCPU_EVENTS:
		return SET(struct kvm_vcpu_events, set_events(vcpu, v_));
	case KVM_GET_DEBUGREGS:
		return GET(struct kvm_debugregs, get_debugregs(vcpu, v_));
	case KVM_SET_DEBUGREGS:
		return SET(struct kvm_debugregs, set_debugregs(vcpu, v_));
	case KVM_SET_GUEST_DEBUG:
		return SET(struct kvm_guest_debug, set_guest_debug(vcpu, v_));
	case KVM_GET_MP_STATE:
		return GET(struct kvm_mp_state, v_->mp_state = vcpu->mp_state);
	case KVM_SET_MP_STATE:
		return SET(struct kvm_mp_state, set_mp_state(vcpu, v_));
	case KVM_TRANSLATE:
		return translate_ioctl(vcpu, arg);
	case KVM_GET_LAPIC:
		return lapic_state(vcpu, false, arg);
	case KVM_SET_LAPIC:
		return lapic_state(vcpu, true, arg);
	case KVM_TPR_ACCESS_REPORTING:
		return SET(struct kvm_tpr_access_ctl, tpr_reporting(vcpu, v_));
	case KVM_SET_VAPIC_ADDR:
		return SET(struct kvm_vapic_addr, set_vapic(vcpu, v_));
	case KVM_X86_SETUP_MCE:
		return SET(u64, setup_mce(vcpu, *v_));
	case KVM_X86_SET_MCE:
		return SET(struct kvm_x86_mce, set_mce(vcpu, v_));
	case KVM_GET_TSC_KHZ:
		return vcpu->tsc_khz;
	case KVM_SET_TSC_KHZ:
		return (unsigned long)arg > U32_MAX ? -EINVAL : tenon_set_tsc_khz(vcpu, (unsigned long)arg);
	case KVM_KVMCLOCK_CTRL:
		return clock_stopped(vcpu);
	case KVM_ENABLE_CAP:
		return SET(struct kvm_enable_cap, vcpu_enable_cap(vcpu, v_));
	default:
		return -EINVAL;
	}
}
