// SPDX-License-Identifier: GPL-2.0-only
/*
 * run.c - KVM_RUN: the one place where a vCPU enters and leaves the guest
 *
 * The contract between a vCPU and everyone who wants its attention:
 *
 *	vCPU thread				anyone
 *	mode = IN_GUEST				set a request
 *	full barrier				full barrier
 *	requests? then do not enter		mode IN_GUEST? then send an IPI
 *	run the guest
 *	mode = OUTSIDE
 *
 * One of the two sees the other. The vCPU has interrupts off from before the first line to after
 * the last, so the IPI comes to bear as an exit from the guest.

 */
#include <linux/kvm_host.h>
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <uapi/linux/kvm_para.h>
#include <asm/apic.h>
#include <asm/debugreg.h>
#include <asm/fpu/xcr.h>
#include <asm/irq_vectors.h>
#include <asm/msr.h>
#include <asm/pkru.h>

#include "../emul/guest/x86/decode.h"
#include "compat/compat.h"
#include "tenon.h"
#include "trace.h"
#include "vendor.h"

void tenon_make_request(struct tenon_vcpu *vcpu, enum tenon_req req)
{
	/* What the request is about is visible before it. */
	smp_mb__before_atomic();
	set_bit(req, &vcpu->requests);
}

void tenon_kick(struct tenon_vcpu *vcpu)
{
	int me, cpu;

	/* The request is visible before the sleeper is looked for: rcuwait has the barrier. */
	rcuwait_wake_up(&vcpu->wait);
	me = get_cpu();
	if (READ_ONCE(vcpu->mode) == TENON_IN_GUEST &&
	    cmpxchg(&vcpu->mode, TENON_IN_GUEST, TENON_EXITING) == TENON_IN_GUEST) {
		cpu = READ_ONCE(vcpu->cpu);
		if (cpu >= 0 && cpu != me && cpu_online(cpu))
			smp_send_reschedule(cpu);
	}
	put_cpu();
}

/*
 * The local APIC has posted an interrupt. A processor that fetches these does so on that vector; for any other it is an
 * exit like that of a kick. No request is left, so that a guest that has it already need not come out: the vCPU takes what
 * was posted to IRR after it has set its mode, and the same contract holds between the two.
 */
void tenon_notify(struct tenon_vcpu *vcpu)
{
	int me, cpu;

	/* What was posted is visible before the sleeper is looked for: rcuwait has the barrier. */
	rcuwait_wake_up(&vcpu->wait);
	me = get_cpu();
	if (READ_ONCE(vcpu->mode) == TENON_IN_GUEST) {
		cpu = READ_ONCE(vcpu->cpu);
		if (cpu >= 0 && cpu != me && cpu_online(cpu))
			apic->send_IPI_mask(cpumask_of(cpu), POSTED_INTR_VECTOR);
	}
	put_cpu();
}

void tenon_request_all(struct tenon_vm *vm, enum tenon_req req)
{
	unsigned int n, count = tenon_nr_vcpus(vm);

	for (n = 0; n < count; n++) {
		tenon_make_request(vm->vcpu[n], req);
		tenon_kick(vm->vcpu[n]);
	}
}

static void flush_ack(void *arg)
{
}

/* No vCPU goes on using a translation from before the call. May be called with mmu_lock held. */
void tenon_flush_all(struct tenon_vm *vm)
{
	unsigned int n, count = tenon_nr_vcpus(vm);
	int cpu;

	for (n = 0; n < count; n++)
		tenon_make_request(vm->vcpu[n], TENON_REQ_TLB_FLUSH);
	/* The request before the mode: see the contract at the top. */
	smp_mb();
	for (n = 0; n < count; n++) {
		if (READ_ONCE(vm->vcpu[n]->mode) == TENON_OUTSIDE)
			continue;
		cpu = READ_ONCE(vm->vcpu[n]->cpu);
		if (cpu >= 0)
			smp_call_function_single(cpu, flush_ack, NULL, 1);
	}
}

/* ---- exceptions ---- */

static bool contributory(u8 vector)
{
	return vector == 0 || (vector >= 10 && vector <= 13);
}

/* AMD APM vol. 2, "#DF - Double-Fault Exception": one fault during the delivery of another. */
void tenon_queue_exception(struct tenon_vcpu *vcpu, u8 vector, bool has_error, u32 error,
			   u64 payload)
{
	struct tenon_event *e = &vcpu->exception;

	if (e->pending) {
		if (e->vector == 8) {
			tenon_make_request(vcpu, TENON_REQ_TRIPLE_FAULT);
			e->pending = false;
			return;
		}
		if ((contributory(e->vector) && contributory(vector)) ||
		    (e->vector == 14 && (contributory(vector) || vector == 14))) {
			*e = (struct tenon_event){ .pending = true,
						   .vector = 8,
						   .has_error = true };
			return;
		}
	}
	*e = (struct tenon_event){
		.pending = true,
		.vector = vector,
		.has_error = has_error,
		.error = error,
		.payload = payload,
	};
}

/* ---- halts ---- */

int tenon_emulate_halt(struct tenon_vcpu *vcpu)
{
	vcpu->stats.halts++;
	if (vcpu->lapic) {
		vcpu->mp_state = KVM_MP_STATE_HALTED;
		return 1;
	}
	vcpu->run->exit_reason = KVM_EXIT_HLT;
	return 0;
}

/* RBX and RCX are a bit map of APIC IDs from RDX on, RSI is what would be written to the low half of an ICR. */
static s64 hypercall_ipi(struct tenon_vcpu *vcpu)
{
	const u64 map[2] = { vcpu->gpr[X86_RBX], vcpu->gpr[X86_RCX] };
	const u32 first = vcpu->gpr[X86_RDX], icr = vcpu->gpr[X86_RSI];
	const struct irq_msg msg = {
		.vector = icr & LAPIC_LVT_VECTOR,
		.delivery = (icr & LAPIC_LVT_DELIVERY) >> 8,
	};
	struct tenon_vm *vm = vcpu->vm;
	unsigned int n;
	s64 count = 0;

	if ((icr & (LAPIC_ICR_LOGICAL | LAPIC_ICR_SHORTHAND)) ||
	    (msg.delivery != IRQ_FIXED && msg.delivery != IRQ_NMI))
		return -KVM_EINVAL;
	for (n = 0; n < tenon_nr_lapics(vm); n++) {
		struct lapic *apic = vm->lapics[n];
		const u32 bit = apic->config.id - first;

		if (bit < 128 && (map[array_index_nospec(bit / 64, 2)] >> bit % 64 & 1) &&
		    lapic_accept(apic, &msg) >= 0)
			count++;
	}
	return count;
}

int tenon_hypercall(struct tenon_vcpu *vcpu)
{
	const u32 nr = vcpu->gpr[X86_RAX];
	const u32 apic_id = vcpu->gpr[X86_RCX];
	struct tenon_vm *vm = vcpu->vm;
	s64 ret = -KVM_ENOSYS;
	unsigned int n;

	vcpu->stats.hypercalls++;
	if (tenon_vendor->cpl(vcpu)) {
		ret = -KVM_EPERM;
	} else if (nr == KVM_HC_VAPIC_POLL_IRQ) {
		ret = 0;
	} else if (nr == KVM_HC_KICK_CPU) {
		for (n = 0; n < tenon_nr_vcpus(vm); n++) {
			struct tenon_vcpu *other = vm->vcpu[n];

			if (!other->lapic || other->lapic->config.id != apic_id)
				continue;
			WRITE_ONCE(other->halted_wakeup, true);
			tenon_make_request(other, TENON_REQ_KICK);
			tenon_kick(other);
		}
		ret = 0;
	} else if (nr == KVM_HC_SEND_IPI && (vcpu->pv_features & BIT(KVM_FEATURE_PV_SEND_IPI))) {
		ret = hypercall_ipi(vcpu);
	}
	vcpu->gpr[X86_RAX] = ret;
	return tenon_skip_insn(vcpu);
}

/*
 * The guest spins, on a lock that another of its vCPUs holds, it seems: let one that was preempted have this CPU. The
 * search starts after the last one favoured, so that each has its turn.
 */
void tenon_spin(struct tenon_vcpu *vcpu)
{
	struct tenon_vm *vm = vcpu->vm;
	const unsigned int count = tenon_nr_vcpus(vm), start = READ_ONCE(vm->spin_last);
	unsigned int n, tries = 3;

	for (n = 1; n <= count && tries; n++) {
		const unsigned int at = array_index_nospec((start + n) % count, count);
		struct tenon_vcpu *other = vm->vcpu[at];
		struct task_struct *task;
		int ret;

		if (other == vcpu || !READ_ONCE(other->preempted))
			continue;
		rcu_read_lock();
		task = get_pid_task(rcu_dereference(other->pid), PIDTYPE_PID);
		rcu_read_unlock();
		if (!task)
			continue;
		ret = yield_to(task, true);
		put_task_struct(task);
		if (ret > 0) {
			vcpu->stats.yields++;
			WRITE_ONCE(vm->spin_last, at);
			return;
		}
		if (ret < 0)
			tries--;
	}
}

/* Would a halted vCPU go on? */
bool tenon_vcpu_runnable(struct tenon_vcpu *vcpu)
{
	if (READ_ONCE(vcpu->requests) & ~(BIT(TENON_REQ_TLB_FLUSH) | BIT(TENON_REQ_KICK) |
					  BIT(TENON_REQ_CLOCK) | BIT(TENON_REQ_STEAL)))
		return true;
	if (vcpu->mp_state != KVM_MP_STATE_HALTED)
		return false;
	if (READ_ONCE(vcpu->halted_wakeup) || vcpu->exception.pending || vcpu->nmi_pending)
		return true;
	return tenon_irq_pending(vcpu) >= 0 && tenon_vendor->can_take_irq(vcpu);
}

static int vcpu_block(struct tenon_vcpu *vcpu)
{
	/* A guest that polls by itself asks its host not to. */
	const u64 budget = vcpu->msr_poll_control & 1 ? READ_ONCE(tenon_halt_poll_ns) : 0;
	ktime_t start;

	tenon_lapic_sleeps(vcpu);
	if (budget && vcpu->mp_state == KVM_MP_STATE_HALTED) {
		start = ktime_get();
		do {
			if (tenon_vcpu_runnable(vcpu))
				return 1;
			cpu_relax();
		} while (!need_resched() && !signal_pending(current) &&
			 ktime_to_ns(ktime_sub(ktime_get(), start)) <
				 min_t(u64, budget, NSEC_PER_MSEC));
	}
	/* A signal is seen by the loop. */
	(void)rcuwait_wait_event(&vcpu->wait, tenon_vcpu_runnable(vcpu), TASK_INTERRUPTIBLE);
	return 1;
}

/* ---- requests ---- */

static void vcpu_init_received(struct tenon_vcpu *vcpu)
{
	tenon_vcpu_reset(vcpu, true);
	vcpu->mp_state =
		vcpu->id == vcpu->vm->bsp_id ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED;
}

static void vcpu_sipi_received(struct tenon_vcpu *vcpu)
{
	struct kvm_segment cs;

	if (vcpu->mp_state != KVM_MP_STATE_INIT_RECEIVED)
		return;
	tenon_vendor->get_segment(vcpu, X86_CS, &cs);
	cs.selector = READ_ONCE(vcpu->sipi_vector) << 8;
	cs.base = (u64)cs.selector << 4;
	tenon_vendor->set_segment(vcpu, X86_CS, &cs);
	vcpu->rip = 0;
	vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
}

/* A flush is for the entry itself. */
static bool requested(struct tenon_vcpu *vcpu)
{
	return READ_ONCE(vcpu->requests) & ~BIT(TENON_REQ_TLB_FLUSH);
}

static int vcpu_requests(struct tenon_vcpu *vcpu)
{
	if (!requested(vcpu)) {
		if (unlikely(vcpu->timer_stale))
			tenon_lapic_rearm(vcpu);
		return 1;
	}
	if (tenon_take_request(vcpu, TENON_REQ_TRIPLE_FAULT)) {
		vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
		return 0;
	}
	/* Cleared first: whatever comes after sets it again. */
	clear_bit(TENON_REQ_KICK, &vcpu->requests);
	/* Before what it may have been about is looked at. */
	smp_mb__after_atomic();
	if (READ_ONCE(vcpu->vectors_stale)) {
		WRITE_ONCE(vcpu->vectors_stale, false);
		tenon_routes_ioapic_vectors(vcpu);
	}
	tenon_lapic_process(vcpu);
	/* Mostly it was no more than that. */
	if (!requested(vcpu))
		return 1;
	if (tenon_take_request(vcpu, TENON_REQ_NMI)) {
		unsigned int limit = vcpu->nmi_masked ? 1 : 2;

		vcpu->nmi_pending = min_t(unsigned int, limit,
					  vcpu->nmi_pending + atomic_xchg(&vcpu->nmi_queued, 0));
	}
	if (tenon_take_request(vcpu, TENON_REQ_INIT))
		vcpu_init_received(vcpu);
	if (tenon_take_request(vcpu, TENON_REQ_SIPI))
		vcpu_sipi_received(vcpu);
	if (tenon_take_request(vcpu, TENON_REQ_CLOCK))
		tenon_clock_update(vcpu);
	if (tenon_take_request(vcpu, TENON_REQ_STEAL))
		tenon_steal_update(vcpu);
	return 1;
}

/* ---- entry ---- */

/* Is there anything for tenon_events() to do? Mostly there is not: nothing waits, and no window is open. */
static bool events_due(struct tenon_vcpu *vcpu)
{
	return vcpu->exception.pending || vcpu->injected.pending || vcpu->nmi_pending || vcpu->windows ||
	       vcpu->user_irq >= 0 || READ_ONCE(vcpu->run->request_interrupt_window) ||
	       (vcpu->lapic && !lapic_quiet(vcpu->lapic));
}

static int vcpu_enter(struct tenon_vcpu *vcpu)
{
	bool swap_xcr0, swap_pkru;
	u64 host_xcr0, host_xss;
	u32 host_pkru;

	preempt_disable();
	local_irq_disable();
	WRITE_ONCE(vcpu->mode, TENON_IN_GUEST);
	/* The mode before the requests: see the contract at the top. */
	smp_mb();
	if (unlikely(requested(vcpu) || need_resched() || signal_pending(current))) {
		WRITE_ONCE(vcpu->mode, TENON_OUTSIDE);
		local_irq_enable();
		preempt_enable();
		return 1;
	}
	if (events_due(vcpu))
		tenon_events(vcpu);
	tenon_vendor->prepare(vcpu);

	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
	host_xcr0 = tenon_host_xcr0;
	swap_xcr0 = host_xcr0 && vcpu->xcr0 != host_xcr0;
	if (swap_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, vcpu->xcr0);

	host_xss = tenon_host_xss;
	if (host_xss)
		wrmsrl(MSR_IA32_XSS, 0);

	/* What a guest that has none cannot have changed either. */
	swap_pkru = cpu_feature_enabled(X86_FEATURE_OSPKE) &&
		    (vcpu->cr4_pke || (vcpu->xcr0 & XFEATURE_MASK_PKRU));
	if (swap_pkru) {
		host_pkru = read_pkru();
		write_pkru(vcpu->pkru);
	}

	if (unlikely(vcpu->pv_eoi & 1))
		tenon_pv_eoi_offer(vcpu);
	trace_tenon_entry(vcpu->id, vcpu->rip);
	guest_timing_enter_irqoff();
	tenon_vendor->enter(vcpu);

	if (swap_pkru) {
		vcpu->pkru = read_pkru();
		write_pkru(host_pkru);
	}
	if (host_xss)
		wrmsrl(MSR_IA32_XSS, host_xss);

	if (swap_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr0);
	/* Nothing of the guest's comes after this: tenon_flush_all() takes it as gone. */
	smp_store_release(&vcpu->mode, TENON_OUTSIDE);
	vcpu->stats.exits++;

	/* The interrupt that ended the guest is served, and accounted to the guest's time, here. */
	if (tenon_vendor->serve)
		tenon_vendor->serve(vcpu);
	local_irq_enable();
	local_irq_disable();
	guest_timing_exit_irqoff();
	local_irq_enable();
	preempt_enable();

	if (unlikely(vcpu->pv_eoi_pending))
		tenon_pv_eoi_take(vcpu);
	if (unlikely(vcpu->vapic_addr))
		tenon_vapic_out(vcpu);
	return tenon_vendor->exit(vcpu);
}

/* KVM_INTERRUPT would be taken at once. */
static bool vcpu_window_open(struct tenon_vcpu *vcpu)
{
	return tenon_user_pic(vcpu) && vcpu->user_irq < 0 && tenon_vendor->can_take_irq(vcpu) &&
	       !vcpu->exception.pending && !vcpu->injected.pending;
}

/* AMD APM vol. 2, "Single Stepping": the trap after an instruction that the processor has not carried out itself. */
static int vcpu_step(struct tenon_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct kvm_segment cs;

	vcpu->step_due = false;
	if (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP) {
		tenon_vendor->get_segment(vcpu, X86_CS, &cs);
		run->exit_reason = KVM_EXIT_DEBUG;
		run->debug.arch.exception = 1;
		run->debug.arch.pc = cs.base + vcpu->rip;
		run->debug.arch.dr6 = DR6_RESERVED | DR_STEP;
		run->debug.arch.dr7 = tenon_vendor->get_dr67(vcpu, 7);
		return 0;
	}
	if (vcpu->rflags & X86_EFLAGS_TF) {
		tenon_vendor->set_dr67(vcpu, 6, tenon_vendor->get_dr67(vcpu, 6) | DR_STEP);
		tenon_queue_exception(vcpu, 1, false, 0, 0);
	}
	return 1;
}

static int vcpu_loop(struct tenon_vcpu *vcpu)
{
	int ret;

	if (unlikely(vcpu->mp_state == KVM_MP_STATE_UNINITIALIZED)) {
		/* As with KVM, the first INIT ends the wait with EAGAIN: its caller may set registers then. */
		vcpu_block(vcpu);
		if (signal_pending(current)) {
			vcpu->run->exit_reason = KVM_EXIT_INTR;
			return -EINTR;
		}
		ret = vcpu_requests(vcpu);
		return ret <= 0 ? ret : -EAGAIN;
	}
	for (;;) {
		if (unlikely(vcpu->step_due)) {
			ret = vcpu_step(vcpu);
			if (ret <= 0)
				return ret;
		}
		if (unlikely(vcpu->pending_eoi)) {
			vcpu->pending_eoi = false;
			vcpu->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
			return 0;
		}
		if (unlikely(vcpu->tpr_accessed)) {
			vcpu->tpr_accessed = false;
			vcpu->run->exit_reason = KVM_EXIT_TPR_ACCESS;
			return 0;
		}
		ret = vcpu_requests(vcpu);
		if (ret <= 0)
			return ret;
		if (likely(vcpu->mp_state == KVM_MP_STATE_RUNNABLE)) {
			if (unlikely(vcpu->vapic_addr))
				tenon_vapic_in(vcpu);
			ret = vcpu_enter(vcpu);
		} else if (vcpu->mp_state == KVM_MP_STATE_HALTED && tenon_vcpu_runnable(vcpu)) {
			WRITE_ONCE(vcpu->halted_wakeup, false);
			vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
			continue;
		} else {
			ret = vcpu_block(vcpu);
		}
		if (ret <= 0)
			return ret;
		if (unlikely(READ_ONCE(vcpu->run->request_interrupt_window)) &&
		    vcpu_window_open(vcpu)) {
			vcpu->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			return 0;
		}
		if (unlikely(signal_pending(current))) {
			vcpu->stats.signals++;
			vcpu->run->exit_reason = KVM_EXIT_INTR;
			return -EINTR;
		}
		if (need_resched())
			cond_resched();
	}
}

static void vcpu_report(struct tenon_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	run->if_flag = !!(vcpu->rflags & X86_EFLAGS_IF);
	run->cr8 = vcpu->lapic ? lapic_get_tpr(vcpu->lapic) >> 4 : vcpu->cr8;
	run->apic_base = vcpu->lapic ? vcpu->lapic->base :
				       LAPIC_DEFAULT_BASE | LAPIC_BASE_ENABLED |
					       (vcpu->id == vcpu->vm->bsp_id ? LAPIC_BASE_BSP : 0);
	run->flags = 0;
	run->ready_for_interrupt_injection =
		vcpu->vm->irqchip == TENON_IRQCHIP_KERNEL || vcpu_window_open(vcpu);
}

int tenon_vcpu_run(struct tenon_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	const bool immediate = compat_immediate_exit(run);
	int (*complete)(struct tenon_vcpu *vcpu);
	int ret = 1;

	if (READ_ONCE(run->kvm_valid_regs) || READ_ONCE(run->kvm_dirty_regs))
		return -EINVAL;
	if (!vcpu->lapic)
		vcpu->cr8 = READ_ONCE(run->cr8) & 0xf;
	/* As with KVM, the reason of the exit before is still there then. */
	if (immediate && !vcpu->complete) {
		vcpu_report(vcpu);
		return -EINTR;
	}
	if (vcpu->sigset_active)
		sigprocmask(SIG_SETMASK, &vcpu->sigset, &current->real_blocked);
	tenon_vcpu_load(vcpu);
	tenon_fpu_enter(vcpu);
	tenon_make_request(vcpu, TENON_REQ_KICK);
	if (vcpu->pv_steal_time & 1)
		set_bit(TENON_REQ_STEAL, &vcpu->requests);

	complete = vcpu->complete;
	if (complete) {
		vcpu->complete = NULL;
		ret = complete(vcpu);
	}
	if (ret > 0) {
		if (immediate) {
			ret = -EINTR;
		} else {
			run->exit_reason = KVM_EXIT_UNKNOWN;
			vcpu->has_run = true;
			ret = vcpu_loop(vcpu);
		}
	}

	tenon_fpu_leave(vcpu);
	vcpu_report(vcpu);
	tenon_vcpu_put(vcpu);
	if (vcpu->sigset_active) {
		sigprocmask(SIG_SETMASK, &current->real_blocked, NULL);
		sigemptyset(&current->real_blocked);
	}
	return ret;
}
