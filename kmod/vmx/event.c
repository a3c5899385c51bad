// SPDX-License-Identifier: GPL-2.0-only
/*
 * event.c - Intel VT-x: what goes into a guest beside its own code: events, windows for them, the part of the local APIC
 * and of its timer that is the processor's
 *
 * Source: Intel SDM vol. 3, "Event Injection", "APIC Virtualization and Virtual Interrupts".
 */
#include <linux/kvm_host.h>
#include <asm/irq_vectors.h>
#include <asm/msr.h>
#include <asm/trapnr.h>

#include "../../emul/guest/x86/decode.h"
#include "../tenon.h"
#include "../vendor.h"
#include "vmx.h"

/* Exceptions that push an error code, in protected mode. */
#define HAS_ERROR (BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17))

bool vmx_can_take_irq(struct tenon_vcpu *vcpu)
{
	return (vcpu->rflags & X86_EFLAGS_IF) && !vmx_int_shadow(vcpu);
}

bool vmx_can_take_nmi(struct tenon_vcpu *vcpu)
{
	return !vcpu->nmi_masked && !vmx_int_shadow(vcpu);
}

void vmx_inject(struct tenon_vcpu *vcpu, enum tenon_event_type type, const struct tenon_event *event)
{
	static const u32 types[] = {
		[TENON_EXCEPTION] = INTR_TYPE_HARD_EXCEPTION,
		[TENON_NMI] = INTR_TYPE_NMI_INTR,
		[TENON_INTERRUPT] = INTR_TYPE_EXT_INTR,
	};
	u32 info = INTR_INFO_VALID_MASK | types[type] | event->vector;

	if (type == TENON_EXCEPTION) {
		/* Entries want it there exactly when the processor would push one, and of no more than 16 bits. */
		if (event->vector < 32 && (BIT(event->vector) & HAS_ERROR) && (vmx_read(GUEST_CR0) & X86_CR0_PE)) {
			info |= INTR_INFO_DELIVER_CODE_MASK;
			vmx_write(VM_ENTRY_EXCEPTION_ERROR_CODE, event->error & 0xffff);
		}
		if (event->vector == X86_TRAP_PF)
			to_vmx(vcpu)->cr2 = event->payload;
	}
	vmx_write(VM_ENTRY_INTR_INFO_FIELD, info);
}

static void change_controls(struct vmx_vcpu *vmx, u32 bit, bool on)
{
	const u32 controls = on ? vmx->cpu_controls | bit : vmx->cpu_controls & ~bit;

	if (controls == vmx->cpu_controls)
		return;
	vmx->cpu_controls = controls;
	vmx_write(CPU_BASED_VM_EXEC_CONTROL, controls);
}

void vmx_windows(struct tenon_vcpu *vcpu, bool irq, bool nmi)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	/* The window for NMIs is open in the shadow of STI already, where some processors take none: interrupts are on. */
	if (nmi && !vcpu->nmi_masked && (vmx_read(GUEST_INTERRUPTIBILITY_INFO) & GUEST_INTR_STATE_STI)) {
		irq = true;
		nmi = false;
	}
	change_controls(vmx, CPU_BASED_INTR_WINDOW_EXITING, irq);
	change_controls(vmx, CPU_BASED_NMI_WINDOW_EXITING, nmi);
}

/* ---- the local APIC and its timer ---- */

/* What a guest reads of the local APIC's page as it stands there. The ICR is two registers here, and the count moves. */
static const struct {
	u16 first, last;
} apic_reads[] = {
	{ LAPIC_ID, LAPIC_VERSION },
	{ LAPIC_TPR, LAPIC_TPR },
	{ LAPIC_PPR, LAPIC_PPR },
	{ LAPIC_LDR, LAPIC_LDR },
	{ LAPIC_SVR, LAPIC_ESR },
	{ LAPIC_LVT_TIMER, LAPIC_TIMER_INIT },
	{ LAPIC_TIMER_DIVIDE, LAPIC_TIMER_DIVIDE },
};

/*
 * How much of the local APIC's work is the processor's: of a control that is off, MSRs that do not exit would be the host's
 * own. Intel SDM vol. 3, "Virtualizing MSR-Based APIC Accesses".
 */
void vmx_write_apic_controls(struct vmx_vcpu *vmx, bool delivers, bool msrs)
{
	const struct vmx_controls *c = &vmx_features.controls;
	u32 cpu2 = vmx->vpid ? c->cpu2 : c->cpu2 & ~SECONDARY_EXEC_ENABLE_VPID;
	unsigned int n, reg;

	if (delivers)
		cpu2 |= msrs ? VMX_VIRTUAL_APIC : SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY;
	vmx_write(PIN_BASED_VM_EXEC_CONTROL, c->pin | (delivers && vmx_features.fetches ? PIN_BASED_POSTED_INTR : 0));
	vmx_write(SECONDARY_VM_EXEC_CONTROL, cpu2);
	vmx_write(VIRTUAL_APIC_PAGE_ADDR, delivers ? virt_to_phys(vmx->vcpu->lapic_page) : page_to_phys(vmx->apic_page));
	vmx->delivers = delivers;
	if (vmx->apic_msrs == msrs)
		return;
	for (n = 0; n < ARRAY_SIZE(apic_reads); n++) {
		for (reg = apic_reads[n].first; reg <= apic_reads[n].last; reg += 0x10)
			vmx_msr_access(vmx, LAPIC_MSR_X2APIC + (reg >> 4), msrs, msrs && reg == LAPIC_TPR);
	}
	vmx_msr_access(vmx, LAPIC_MSR_X2APIC + (LAPIC_EOI >> 4), false, msrs);
	vmx->apic_msrs = msrs;
}

/*
 * The local APIC posts in the first 256 bits of a posted-interrupt descriptor, of which the processor itself uses nothing else:
 * ON, SN, NDST and NV are for those who notify by it, and here each who posts sends the vector himself (tenon_notify()).
 * A processor that does not fetch is told by an exit. Intel SDM vol. 3, "Posted-Interrupt Processing".
 */
u32 *vmx_posted(struct tenon_vcpu *vcpu)
{
	if (!vmx_features.posts)
		return NULL;
	return page_address(to_vmx(vcpu)->msr_lists) + 2 * VMX_COUNTERS * sizeof(struct vmx_msr_entry);
}

/* Not for one with a debugger, nor where the TPR that counts is a copy in the guest's memory, or is to be watched. */
bool vmx_delivers(struct tenon_vcpu *vcpu)
{
	return (vmx_features.virtual_apic & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY) && lapic_enabled(vcpu->lapic) &&
	       !vcpu->guest_debug && !vcpu->vapic_addr && !vcpu->tpr_reporting;
}

/*
 * The page of a local APIC holds all of its state but for what requests and what is in service, which the processor keeps in the
 * VMCS while it delivers: read off the page for each entry, as the page may have been written to in between. So is whose EOI
 * is to exit, after lapic_collect() and before any vector that came with it can be delivered.
 */
static void prepare_delivery(struct tenon_vcpu *vcpu, struct vmx_vcpu *vmx)
{
	const struct lapic *apic = vcpu->lapic;
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(vmx->eoi_exits); n++) {
		const u64 exits = lapic_wants_eoi(apic, 2 * n) | (u64)lapic_wants_eoi(apic, 2 * n + 1) << 32;

		if (exits == vmx->eoi_exits[n])
			continue;
		vmx_write(EOI_EXIT_BITMAP0 + n * 2, exits);
		vmx->eoi_exits[n] = exits;
	}
	vmx_write(GUEST_INTR_STATUS,
		  max(lapic_highest(apic, LAPIC_ISR), 0) << 8 | max(lapic_highest(apic, LAPIC_IRR), 0));
}

/* Interrupts by the processor; or the TPR in CR8, and an exit when it lets an interrupt in. */
static void prepare_apic(struct tenon_vcpu *vcpu, struct vmx_vcpu *vmx)
{
	const bool delivers = tenon_irqs_delivered(vcpu);
	const bool msrs = delivers && vmx_features.virtual_apic == VMX_VIRTUAL_APIC && lapic_is_x2apic(vcpu->lapic);
	u64 tpr = vcpu->cr8 & 0xf;
	int held = -1;

	if (unlikely(delivers != vmx->delivers || msrs != vmx->apic_msrs))
		vmx_write_apic_controls(vmx, delivers, msrs);
	if (delivers) {
		prepare_delivery(vcpu, vmx);
		return;
	}
	if (vcpu->lapic)
		held = tenon_tpr_holds(vcpu, &tpr);
	*((u8 *)page_address(vmx->apic_page) + LAPIC_TPR) = tpr << 4;
	vmx_write(TPR_THRESHOLD, max(held, 0));
}

/* What is left until the deadline, rounded up; where that is too long, the guest exits in between. */
static void prepare_timer(struct vmx_vcpu *vmx)
{
	const u64 now = rdtsc(), tick = 1ull << vmx_features.timer_shift;
	u64 ticks = U32_MAX;

	if (vmx->deadline != U64_MAX)
		ticks = vmx->deadline > now ? (vmx->deadline - now + tick - 1) >> vmx_features.timer_shift : 0;
	vmx_write(VMX_PREEMPTION_TIMER_VALUE, min_t(u64, ticks, U32_MAX));
}

/* ---- before an entry, and after it ---- */

/* Not where the guest has TF set itself: that trap comes after the same instruction, and is the one. */
bool vmx_steps_by_mtf(const struct tenon_vcpu *vcpu)
{
	return vmx_features.mtf && (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP) && !(vcpu->rflags & X86_EFLAGS_TF);
}

/* The local APIC, steps of a debugger, and whether NMIs are masked. */
void vmx_prepare(struct tenon_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	u64 state = vmx_read(GUEST_INTERRUPTIBILITY_INFO), want = state & ~(u64)GUEST_INTR_STATE_NMI;
	const bool step = vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP, mtf = vmx_steps_by_mtf(vcpu);

	change_controls(vmx, CPU_BASED_MONITOR_TRAP_FLAG, mtf);
	prepare_apic(vcpu, vmx);
	if (vmx_features.controls.pin & PIN_BASED_VMX_PREEMPTION_TIMER)
		prepare_timer(vmx);

	/* An NMI on its way in masks others by itself. */
	if (vcpu->nmi_masked &&
	    (vmx_read(VM_ENTRY_INTR_INFO_FIELD) & (INTR_INFO_VALID_MASK | INTR_INFO_INTR_TYPE_MASK)) !=
		    (INTR_INFO_VALID_MASK | INTR_TYPE_NMI_INTR))
		want |= GUEST_INTR_STATE_NMI;
	/* A step begins with no trap left over, nor in the shadow of STI or MOV SS, where an entry with TF set wants one. */
	if (unlikely(step && !mtf)) {
		want &= ~(u64)VMX_SHADOW;
		vmx_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	}
	if (want != state)
		vmx_write(GUEST_INTERRUPTIBILITY_INFO, want);
}

/*
 * What was being delivered when the guest left has to be delivered again (Intel SDM vol. 3, "Information for VM Exits That
 * Occur During Event Delivery").
 */
void vmx_requeue(struct tenon_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	const u32 info = vmx_read(IDT_VECTORING_INFO_FIELD);
	struct tenon_event event;

	if (likely(!(info & INTR_INFO_VALID_MASK))) {
		/* IRET has ended the masking, but has not come to its end. */
		if (unlikely((vmx->exit_intr & (INTR_INFO_VALID_MASK | INTR_INFO_UNBLOCK_NMI)) ==
			     (INTR_INFO_VALID_MASK | INTR_INFO_UNBLOCK_NMI)) &&
		    (vmx->exit_intr & INTR_INFO_VECTOR_MASK) != 8)
			vcpu->nmi_masked = true;
		return;
	}
	event = (struct tenon_event){
		.pending = true,
		.vector = info & VECTORING_INFO_VECTOR_MASK,
		.has_error = info & VECTORING_INFO_DELIVER_CODE_MASK,
		.error = vmx_read(IDT_VECTORING_ERROR_CODE),
		.payload = vmx->cr2,
	};
	switch (info & VECTORING_INFO_TYPE_MASK) {
	case INTR_TYPE_NMI_INTR:
		tenon_requeue(vcpu, TENON_NMI, &event);
		break;
	case INTR_TYPE_EXT_INTR:
		tenon_requeue(vcpu, TENON_INTERRUPT, &event);
		break;
	case INTR_TYPE_HARD_EXCEPTION:
		tenon_requeue(vcpu, TENON_EXCEPTION, &event);
		break;
	default:
		/* INT n, INT1, INT3 and INTO run again. */
		break;
	}
}
