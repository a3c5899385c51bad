// SPDX-License-Identifier: GPL-2.0-only
/*
 * clock.c - TSC and the paravirtual clock
 *
 * The clock of a VM is one pair of (nanoseconds, TSC), taken once, and the rate of the TSC from
 * there on: the same for every vCPU and for KVM_GET_CLOCK, so it never goes backwards between them.
 * It does not follow the host's NTP corrections; guests have NTP of their own.

 */
#include <linux/math64.h>
#include <linux/sched.h>
#include <linux/timekeeping.h>
#include <uapi/linux/kvm_para.h>
#include <asm/pvclock-abi.h>
#include <asm/tsc.h>

#include "tenon.h"
#include "vendor.h"

/*
 * a * mul / div. The processor traps where the quotient does not fit: it stops at the largest then. Rates may be the
 * caller's own.
 */
u64 tenon_mul_div(u64 a, u32 mul, u32 div)
{
	return mul_u64_u64_shr(a, mul, 64) < div ? mul_u64_u32_div(a, mul, div) : U64_MAX;
}

static u32 abs_diff_u32(u32 a, u32 b)
{
	return a > b ? a - b : b - a;
}

/* AMD APM vol. 2, "TSC Ratio MSR": the offset comes after the scale. */
static u64 scaled(const struct tenon_vcpu *vcpu, u64 tsc)
{
	return vcpu->tsc_ratio == TENON_TSC_UNSCALED ? tsc : mul_u64_u64_shr(tsc, vcpu->tsc_ratio, 32);
}

u64 tenon_guest_tsc(struct tenon_vcpu *vcpu)
{
	return scaled(vcpu, rdtsc()) + vcpu->tsc_offset;
}

/*
 * A rate that is not the host's needs a processor that scales; what clocks drift by anyway (250 ppm) needs nothing. The
 * guest's TSC goes on from where it is.
 */
int tenon_set_tsc_khz(struct tenon_vcpu *vcpu, u32 khz)
{
	const u64 now = tenon_guest_tsc(vcpu);
	u64 ratio = TENON_TSC_UNSCALED;

	if (!khz)
		khz = vcpu->vm->tsc_khz;
	if (abs_diff_u32(khz, tsc_khz) > tsc_khz / 4000) {
		ratio = div_u64((u64)khz << 32, tsc_khz);
		if (!tenon_vendor->tsc_scales() || !ratio || ratio > TENON_TSC_RATIO_MAX)
			return -EINVAL;
	}
	vcpu->tsc_khz = khz;
	vcpu->tsc_ratio = ratio;
	vcpu->tsc_offset = now - scaled(vcpu, rdtsc());
	tenon_vendor->set_tsc_offset(vcpu);
	vcpu->timer_stale = vcpu->lapic;
	tenon_make_request(vcpu, TENON_REQ_CLOCK);
	return 0;
}

/*
 * Writes of nearly the same value within a second mean to synchronise the TSCs of several vCPUs:
 * they get the same offset. So does a host that sets 0 in each new vCPU.

 */
void tenon_write_tsc(struct tenon_vcpu *vcpu, u64 value, bool host)
{
	struct tenon_vm *vm = vcpu->vm;
	const u64 now = ktime_get_ns(), tsc = scaled(vcpu, rdtsc());
	unsigned long flags;
	u64 offset = value - tsc;

	raw_spin_lock_irqsave(&vm->clock_lock, flags);
	if (host && vm->tsc_write_ns) {
		const u64 elapsed = tenon_mul_div(now - vm->tsc_write_ns, vcpu->tsc_khz, 1000000);
		const s64 delta = value - (vm->tsc_write_last + elapsed);
		const u64 limit = (u64)vcpu->tsc_khz * 1000;

		/* The first value is not one of several: what there was before, the vCPU got when it was made. */
		if ((!value || (vm->tsc_set && delta < (s64)limit && delta > -(s64)limit)) &&
		    vcpu->tsc_ratio == vm->tsc_ratio_last)
			offset = vm->tsc_offset_last;
	}
	if (host && value)
		vm->tsc_set = true;
	if (offset != vm->tsc_offset_last || !vm->tsc_write_ns) {
		vm->tsc_offset_last = offset;
		vm->tsc_ratio_last = vcpu->tsc_ratio;
		vm->tsc_write_last = value;
		vm->tsc_write_ns = now;
	}
	raw_spin_unlock_irqrestore(&vm->clock_lock, flags);

	if (!host)
		vcpu->msr_tsc_adjust += offset - vcpu->tsc_offset;
	vcpu->tsc_offset = offset;
	tenon_vendor->set_tsc_offset(vcpu);
	vcpu->timer_stale = vcpu->lapic;
	tenon_make_request(vcpu, TENON_REQ_CLOCK);
}

/* ---- nanoseconds of the VM ---- */

/* A TSC that is behind, of a CPU out of step or after the machine has slept, is no time that has passed. */
static u64 tsc_to_ns(struct tenon_vm *vm, u64 ticks)
{
	return (s64)ticks < 0 ? 0 : tenon_mul_div(ticks, 1000000, vm->tsc_khz);
}

void tenon_clock_init(struct tenon_vm *vm)
{
	vm->clock_base_tsc = rdtsc();
	vm->clock_base_ns = 0;
}

/* All of the same moment. */
void tenon_clock_get(struct tenon_vm *vm, struct kvm_clock_data *data)
{
	unsigned long flags;

	*data = (struct kvm_clock_data){ .flags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC };
	if (boot_cpu_has(X86_FEATURE_CONSTANT_TSC))
		data->flags |= KVM_CLOCK_TSC_STABLE;
	raw_spin_lock_irqsave(&vm->clock_lock, flags);
	data->host_tsc = rdtsc();
	data->realtime = ktime_get_real_ns();
	data->clock = vm->clock_base_ns + tsc_to_ns(vm, data->host_tsc - vm->clock_base_tsc);
	raw_spin_unlock_irqrestore(&vm->clock_lock, flags);
}

void tenon_clock_set(struct tenon_vm *vm, u64 ns)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&vm->clock_lock, flags);
	vm->clock_base_tsc = rdtsc();
	vm->clock_base_ns = ns;
	raw_spin_unlock_irqrestore(&vm->clock_lock, flags);
	tenon_request_all(vm, TENON_REQ_CLOCK);
}

/* ---- the structures in guest memory ---- */

/* Ticks to nanoseconds as pvclock does it: (ticks << shift) * mul >> 32. */
static void pvclock_scale(u32 khz, s8 *shift, u32 *mul)
{
	u64 hz = (u64)khz * 1000;
	s8 s = 0;

	while (hz > 2 * NSEC_PER_SEC) {
		hz >>= 1;
		s--;
	}
	/* Above it, or the factor would be 1 and more. */
	while (hz <= NSEC_PER_SEC) {
		hz <<= 1;
		s++;
	}
	*shift = s;
	*mul = div64_u64((u64)NSEC_PER_SEC << 32, hz);
}

void tenon_clock_update(struct tenon_vcpu *vcpu)
{
	struct tenon_vm *vm = vcpu->vm;
	struct pvclock_vcpu_time_info info = {};
	const u64 gpa = vcpu->pv_system_time & ~1ull;
	unsigned long flags;
	u8 flag;

	if (!(vcpu->pv_system_time & 1))
		return;
	raw_spin_lock_irqsave(&vm->clock_lock, flags);
	info.tsc_timestamp = scaled(vcpu, vm->clock_base_tsc) + vcpu->tsc_offset;
	info.system_time = vm->clock_base_ns;
	raw_spin_unlock_irqrestore(&vm->clock_lock, flags);
	pvclock_scale(vcpu->tsc_khz, &info.tsc_shift, &info.tsc_to_system_mul);
	info.flags = boot_cpu_has(X86_FEATURE_CONSTANT_TSC) ? PVCLOCK_TSC_STABLE_BIT : 0;
	/* The guest takes that flag back when it has seen it. */
	if (vcpu->pv_stopped || (!tenon_read_phys(vm, gpa + offsetof(typeof(info), flags), &flag, 1) &&
				 (flag & PVCLOCK_GUEST_STOPPED)))
		info.flags |= PVCLOCK_GUEST_STOPPED;
	vcpu->pv_stopped = false;

	/* An odd version says "being written". */
	vcpu->pv_version = (vcpu->pv_version + 1) | 1;
	info.version = vcpu->pv_version;
	if (tenon_write_phys(vm, gpa, &info.version, sizeof(info.version)))
		return;
	smp_wmb(); /* odd before the rest */
	tenon_write_phys(vm, gpa + sizeof(u32), (u8 *)&info + sizeof(u32),
			 sizeof(info) - sizeof(u32));
	smp_wmb(); /* the rest before even */
	vcpu->pv_version++;
	info.version = vcpu->pv_version;
	tenon_write_phys(vm, gpa, &info.version, sizeof(info.version));
}

/* Wall clock at the clock's zero. */
void tenon_clock_wall(struct tenon_vm *vm, u64 gpa)
{
	struct pvclock_wall_clock wall = {};
	struct kvm_clock_data now;
	u32 version;
	u64 ns;

	if (tenon_read_phys(vm, gpa, &version, sizeof(version)))
		return;
	version = (version + 1) | 1;
	if (tenon_write_phys(vm, gpa, &version, sizeof(version)))
		return;
	smp_wmb(); /* odd before the rest */
	tenon_clock_get(vm, &now);
	ns = now.realtime - now.clock;
	wall.sec = div_u64(ns, NSEC_PER_SEC);
	wall.nsec = ns - wall.sec * (u64)NSEC_PER_SEC;
	tenon_write_phys(vm, gpa + sizeof(u32), &wall.sec, 2 * sizeof(u32));
	smp_wmb(); /* the rest before even */
	version++;
	tenon_write_phys(vm, gpa, &version, sizeof(version));
}

/* For the guest's other processors, which need not wait for this one now. Atomic context. */
void tenon_steal_preempted(struct tenon_vcpu *vcpu)
{
	u8 preempted = KVM_VCPU_PREEMPTED;

	tenon_access_atomic(vcpu->vm, (vcpu->pv_steal_time & ~63ull) + offsetof(struct kvm_steal_time, preempted),
			    &preempted, 1, true);
}

/* Time that the thread was ready to run and did not. */
void tenon_steal_update(struct tenon_vcpu *vcpu)
{
#ifdef CONFIG_SCHED_INFO
	const u64 gpa = vcpu->pv_steal_time & ~63ull;
	const u64 delay = current->sched_info.run_delay;
	struct kvm_steal_time st;

	if (!(vcpu->pv_steal_time & 1) || tenon_read_phys(vcpu->vm, gpa, &st, sizeof(st)))
		return;
	st.version = (st.version + 1) | 1;
	if (tenon_write_phys(vcpu->vm, gpa + offsetof(struct kvm_steal_time, version), &st.version,
			     4))
		return;
	smp_wmb(); /* odd before the rest */
	st.steal += delay - vcpu->steal_last;
	vcpu->steal_last = delay;
	tenon_write_phys(vcpu->vm, gpa + offsetof(struct kvm_steal_time, steal), &st.steal, 8);
	st.preempted = 0;
	tenon_write_phys(vcpu->vm, gpa + offsetof(struct kvm_steal_time, preempted), &st.preempted, 1);
	smp_wmb(); /* the rest before even */
	st.version++;
	tenon_write_phys(vcpu->vm, gpa + offsetof(struct kvm_steal_time, version), &st.version, 4);
#endif
}
