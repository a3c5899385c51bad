// SPDX-License-Identifier: GPL-2.0-only
/*
 * msr.c - model-specific registers
 *
 * What KVM_GET_MSR_INDEX_LIST names, KVM_SET_MSRS accepts, and the other way round for what has to
 * be saved. A guest may in addition read as zero, and write to no effect, a few registers that its
 * kernel touches without looking.

 */
#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/kvm_para.h>
#include <asm/cpufeature.h>
#include <asm/mce.h>
#include <asm/msr.h>
#include <asm/msr-index.h>
#include <asm/mtrr.h>

#include "tenon.h"
#include "vendor.h"

#define MAX_MSRS  256
#define MCE_BANKS 32

static const u32 msrs_saved[] = {
	MSR_IA32_SYSENTER_CS,
	MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
	MSR_STAR,
	MSR_CSTAR,
	MSR_KERNEL_GS_BASE,
	MSR_SYSCALL_MASK,
	MSR_LSTAR,
	MSR_IA32_TSC,
	MSR_IA32_CR_PAT,
	MSR_TSC_AUX,
	MSR_IA32_TSC_ADJUST,
	MSR_IA32_TSC_DEADLINE,
	MSR_IA32_MISC_ENABLE,
	MSR_IA32_XSS,
	MSR_IA32_SPEC_CTRL,
	MSR_AMD64_VIRT_SPEC_CTRL,
	MSR_IA32_DEBUGCTLMSR,
	MSR_IA32_LASTBRANCHFROMIP,
	MSR_IA32_LASTBRANCHTOIP,
	MSR_IA32_LASTINTFROMIP,
	MSR_IA32_LASTINTTOIP,
	MSR_IA32_MCG_STATUS,
	MSR_IA32_MCG_CTL,
	MSR_KVM_SYSTEM_TIME,
	MSR_KVM_WALL_CLOCK,
	MSR_KVM_SYSTEM_TIME_NEW,
	MSR_KVM_WALL_CLOCK_NEW,
	MSR_KVM_STEAL_TIME,
	MSR_KVM_PV_EOI_EN,
	MSR_KVM_POLL_CONTROL,
	MSR_MTRRdefType,
	MSR_MTRRfix64K_00000,
	MSR_MTRRfix16K_80000,
	MSR_MTRRfix16K_A0000,
	MSR_MTRRfix4K_C0000,
	MSR_MTRRfix4K_C8000,
	MSR_MTRRfix4K_D0000,
	MSR_MTRRfix4K_D8000,
	MSR_MTRRfix4K_E0000,
	MSR_MTRRfix4K_E8000,
	MSR_MTRRfix4K_F0000,
	MSR_MTRRfix4K_F8000,
};

/* Of these, what this processor has. */
static bool msr_is_there(u32 msr)
{
	switch (msr) {
	case MSR_TSC_AUX:
		return boot_cpu_has(X86_FEATURE_RDTSCP);
	case MSR_AMD64_VIRT_SPEC_CTRL:
		return tenon_offers_virt_ssbd();
	default:
		return tenon_vendor->has_msr(msr);
	}
}

static const u32 msrs_feature[] = { MSR_IA32_UCODE_REV };

/* Read as zero; a guest's writes go nowhere. */
static bool msr_is_quiet(u32 msr)
{
	switch (msr) {
	case MSR_IA32_UCODE_REV:
	case MSR_IA32_UCODE_WRITE:
	case MSR_IA32_BBL_CR_CTL3:
	case MSR_IA32_PERF_CTL:
	case MSR_AMD64_PATCH_LOADER:
	case MSR_K7_EVNTSEL0 ... MSR_K7_PERFCTR3:
	case MSR_AMD64_SYSCFG:
	case MSR_K8_TSEG_ADDR:
	case MSR_K8_TSEG_MASK:
	case MSR_K8_INT_PENDING_MSG:
	case MSR_K7_HWCR:
	case MSR_VM_HSAVE_PA:
	case MSR_AMD64_NB_CFG:
	case MSR_FAM10H_MMIO_CONF_BASE:
	case MSR_AMD64_BU_CFG2:
	case MSR_AMD64_DC_CFG:
	case MSR_F15H_EX_CFG:
	case MSR_AMD64_TW_CFG:
	case MSR_AMD64_OSVW_ID_LENGTH:
	case MSR_AMD64_OSVW_STATUS:
	case MSR_IA32_PLATFORM_ID:
	case MSR_IA32_EBL_CR_POWERON:
	case MSR_AMD64_DE_CFG:
		return true;
	default:
		return false;
	}
}

static bool canonical(u64 address)
{
	return (u64)((s64)(address << 16) >> 16) == address;
}

static u64 *mtrr(struct tenon_vcpu *vcpu, u32 msr)
{
	switch (msr) {
	case MSR_MTRRdefType:
		return &vcpu->mtrr_def_type;
	case MSR_MTRRfix64K_00000:
		return &vcpu->mtrr_fixed[0];
	case MSR_MTRRfix16K_80000:
	case MSR_MTRRfix16K_A0000:
		return &vcpu->mtrr_fixed[1 + array_index_nospec(msr - MSR_MTRRfix16K_80000, 2)];
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
		return &vcpu->mtrr_fixed[3 + array_index_nospec(msr - MSR_MTRRfix4K_C0000, 8)];
	case 0x200 ... 0x20f:
		return &vcpu->mtrr_var[array_index_nospec(msr - 0x200, 16)];
	default:
		return NULL;
	}
}

static bool memory_type(u8 type)
{
	return type < 8 && ((1u << type) & 0x73); /* 0, 1, 4, 5, 6 */
}

static int set_mtrr(struct tenon_vcpu *vcpu, u32 msr, u64 value)
{
	u64 *field = mtrr(vcpu, msr);
	unsigned int n;

	if (msr == MSR_MTRRdefType) {
		if ((value & ~0xcffull) || !memory_type(value & 0xff))
			return -EINVAL;
	} else if (msr >= 0x200 && msr <= 0x20f) {
		if (value >> vcpu->phys_bits ||
		    (!(msr & 1) && (value & 0xf00 || !memory_type(value & 0xff))) ||
		    ((msr & 1) && (value & 0x7ff)))
			return -EINVAL;
	} else {
		for (n = 0; n < 8; n++) {
			if (!memory_type(value >> n * 8 & 0xff))
				return -EINVAL;
		}
	}
	*field = value;
	return 0;
}

static bool pat_valid(u64 value)
{
	unsigned int n;

	for (n = 0; n < 8; n++) {
		const u8 type = value >> n * 8;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static int set_efer(struct tenon_vcpu *vcpu, u64 value, bool host)
{
	struct tenon_sys sys;

	if (value & ~vcpu->efer_allowed)
		return -EINVAL;
	tenon_vendor->get_sys(vcpu, &sys);
	if (!host) {
		if ((sys.cr0 & X86_CR0_PG) && ((value ^ sys.efer) & EFER_LME))
			return -EINVAL;
		/* LMA follows LME and paging; it cannot be written. */
		value = (value & ~(u64)EFER_LMA) | (sys.efer & EFER_LMA);
	}
	sys.efer = value;
	tenon_vendor->set_sys(vcpu, &sys);
	return 0;
}

static bool guest_has_xsaves(struct tenon_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *e = tenon_cpuid_find(vcpu, 0xd, 1);

	return e && (e->eax & BIT(3)) && boot_cpu_has(X86_FEATURE_XSAVES);
}

static int pv_feature(struct tenon_vcpu *vcpu, unsigned int bit, bool host)
{
	return host || (vcpu->pv_features & BIT(bit)) ? 0 : -EINVAL;
}

/*
 * 0, or -EINVAL: #GP for a guest, the end of the list for KVM_SET_MSRS. @host: not the guest, but
 * its owner.
 */
int tenon_wrmsr(struct tenon_vcpu *vcpu, u32 msr, u64 value, bool host)
{
	switch (msr) {
	case MSR_EFER:
		return set_efer(vcpu, value, host);
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_FS_BASE:
	case MSR_GS_BASE:
	case MSR_KERNEL_GS_BASE:
	case MSR_IA32_SYSENTER_ESP:
	case MSR_IA32_SYSENTER_EIP:
		if (!canonical(value))
			return -EINVAL;
		return tenon_vendor->set_msr(vcpu, msr, value);
	case MSR_STAR:
	case MSR_SYSCALL_MASK:
	case MSR_IA32_SYSENTER_CS:
		return tenon_vendor->set_msr(vcpu, msr, value);
	case MSR_IA32_CR_PAT:
		return pat_valid(value) ? tenon_vendor->set_msr(vcpu, msr, value) : -EINVAL;
	case MSR_IA32_SPEC_CTRL:
		/* Its owner may set it before CPUID, to what the processor takes. */
		if (value & ~(host ? tenon_spec_ctrl_bits() : vcpu->spec_ctrl_allowed) ||
		    !(host || vcpu->spec_ctrl_allowed))
			return -EINVAL;
		return tenon_vendor->set_msr(vcpu, msr, value) ? -EINVAL : 0;
	case MSR_AMD64_VIRT_SPEC_CTRL:
		if (!tenon_offers_virt_ssbd() || !(host || vcpu->virt_spec_ctrl_allowed) ||
		    (value & ~SPEC_CTRL_SSBD))
			return -EINVAL;
		vcpu->msr_virt_spec_ctrl = value;
		return 0;
	case MSR_IA32_PRED_CMD:
		if (!vcpu->pred_cmd_allowed || (value & ~vcpu->pred_cmd_allowed))
			return -EINVAL;
		if (value)
			wrmsrl(MSR_IA32_PRED_CMD, value);
		return 0;
	case MSR_IA32_FLUSH_CMD:
		if (!vcpu->flush_cmd_allowed || (value & ~vcpu->flush_cmd_allowed))
			return -EINVAL;
		if (value)
			wrmsrl(MSR_IA32_FLUSH_CMD, value);
		return 0;
	case MSR_IA32_DEBUGCTLMSR:
		if (value & ~(u64)(DEBUGCTLMSR_LBR | DEBUGCTLMSR_BTF))
			return -EINVAL;
		/* Without virtualization of last branch records, a guest gets none. */
		return tenon_vendor->set_msr(vcpu, msr, value) && (host && value) ? -EINVAL : 0;
	case MSR_IA32_LASTBRANCHFROMIP:
	case MSR_IA32_LASTBRANCHTOIP:
	case MSR_IA32_LASTINTFROMIP:
	case MSR_IA32_LASTINTTOIP:
		if (host)
			return tenon_vendor->set_msr(vcpu, msr, value) && value ? -EINVAL : 0;
		return 0;
	case MSR_IA32_TSC:
		tenon_write_tsc(vcpu, value, host);
		return 0;
	case MSR_IA32_TSC_ADJUST:
		if (!host) {
			vcpu->tsc_offset += value - vcpu->msr_tsc_adjust;
			tenon_vendor->set_tsc_offset(vcpu);
			vcpu->timer_stale = vcpu->lapic;
			tenon_make_request(vcpu, TENON_REQ_CLOCK);
		}
		vcpu->msr_tsc_adjust = value;
		return 0;
	case MSR_TSC_AUX:
		if (!boot_cpu_has(X86_FEATURE_RDTSCP) || value >> 32)
			return -EINVAL;
		preempt_disable();
		vcpu->msr_tsc_aux = value;
		/* The vCPU is on this CPU: its value is in the register. */
		wrmsrl(MSR_TSC_AUX, value);
		preempt_enable();
		return 0;
	case MSR_IA32_MISC_ENABLE:
		vcpu->msr_misc_enable = value;
		return 0;
	case MSR_IA32_APICBASE:
		if (!vcpu->lapic)
			return host ? 0 : -EINVAL;
		return lapic_set_base(vcpu->lapic, value, host) ? -EINVAL : 0;
	case LAPIC_MSR_X2APIC ... LAPIC_MSR_X2APIC_LAST:
	case MSR_IA32_TSC_DEADLINE:
		if (!vcpu->lapic)
			return host && msr == MSR_IA32_TSC_DEADLINE && !value ? 0 : -EINVAL;
		if (lapic_msr_write(vcpu->lapic, msr, value, tenon_now()))
			return host && msr == MSR_IA32_TSC_DEADLINE && !value ? 0 : -EINVAL;
		return 0;
	case MSR_MTRRdefType:
	case MSR_MTRRfix64K_00000:
	case MSR_MTRRfix16K_80000:
	case MSR_MTRRfix16K_A0000:
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
	case 0x200 ... 0x20f:
		return set_mtrr(vcpu, msr, value);
	case MSR_IA32_MCG_STATUS:
		vcpu->msr_mcg_status = value;
		return 0;
	case MSR_IA32_MCG_CTL:
		if (!host && !(vcpu->msr_mcg_cap & MCG_CTL_P))
			return -EINVAL;
		vcpu->msr_mcg_ctl = value;
		return 0;
	case MSR_IA32_MC0_CTL ... MSR_IA32_MC0_CTL + 4 * MCE_BANKS - 1:
		if (msr - MSR_IA32_MC0_CTL >= 4 * (vcpu->msr_mcg_cap & 0xff))
			return -EINVAL;
		vcpu->mce_banks[array_index_nospec(msr - MSR_IA32_MC0_CTL, 4 * MCE_BANKS)] = value;
		return 0;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		if (pv_feature(vcpu,
			       msr == MSR_KVM_SYSTEM_TIME ? KVM_FEATURE_CLOCKSOURCE :
							    KVM_FEATURE_CLOCKSOURCE2,
			       host))
			return -EINVAL;
		vcpu->pv_system_time = value;
		tenon_make_request(vcpu, TENON_REQ_CLOCK);
		return 0;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		if (pv_feature(vcpu,
			       msr == MSR_KVM_WALL_CLOCK ? KVM_FEATURE_CLOCKSOURCE :
							   KVM_FEATURE_CLOCKSOURCE2,
			       host))
			return -EINVAL;
		vcpu->vm->wall_clock_msr = value;
		if (value)
			tenon_clock_wall(vcpu->vm, value);
		return 0;
	case MSR_KVM_STEAL_TIME:
		if (pv_feature(vcpu, KVM_FEATURE_STEAL_TIME, host) || (value & 0x3e))
			return -EINVAL;
		vcpu->pv_steal_time = value;
#ifdef CONFIG_SCHED_INFO
		vcpu->steal_last = current->sched_info.run_delay;
#endif
		if (value & 1)
			tenon_make_request(vcpu, TENON_REQ_STEAL);
		return 0;
	case MSR_IA32_XSS:
		/* XSAVES works; there is no supervisor state. */
		return value || !(host || guest_has_xsaves(vcpu)) ? -EINVAL : 0;
	case MSR_KVM_PV_EOI_EN:
		if (pv_feature(vcpu, KVM_FEATURE_PV_EOI, host) || (value & 2) || (!vcpu->lapic && value))
			return -EINVAL;
		vcpu->pv_eoi = value;
		return 0;
	case MSR_KVM_POLL_CONTROL:
		if (pv_feature(vcpu, KVM_FEATURE_POLL_CONTROL, host) || (value & ~1ull))
			return -EINVAL;
		vcpu->msr_poll_control = value;
		return 0;
	default:
		return msr_is_quiet(msr) && (!host || !value) ? 0 : -EINVAL;
	}
}

int tenon_rdmsr(struct tenon_vcpu *vcpu, u32 msr, u64 *value, bool host)
{
	struct tenon_sys sys;

	switch (msr) {
	case MSR_EFER:
		tenon_vendor->get_sys(vcpu, &sys);
		*value = sys.efer;
		return 0;
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_FS_BASE:
	case MSR_GS_BASE:
	case MSR_KERNEL_GS_BASE:
	case MSR_IA32_SYSENTER_ESP:
	case MSR_IA32_SYSENTER_EIP:
	case MSR_STAR:
	case MSR_SYSCALL_MASK:
	case MSR_IA32_SYSENTER_CS:
	case MSR_IA32_CR_PAT:
		return tenon_vendor->get_msr(vcpu, msr, value);
	case MSR_IA32_SPEC_CTRL:
		if (!(host || vcpu->spec_ctrl_allowed))
			return -EINVAL;
		return tenon_vendor->get_msr(vcpu, msr, value) ? -EINVAL : 0;
	case MSR_AMD64_VIRT_SPEC_CTRL:
		*value = vcpu->msr_virt_spec_ctrl;
		return tenon_offers_virt_ssbd() && (host || vcpu->virt_spec_ctrl_allowed) ? 0 : -EINVAL;
	case MSR_IA32_DEBUGCTLMSR:
	case MSR_IA32_LASTBRANCHFROMIP:
	case MSR_IA32_LASTBRANCHTOIP:
	case MSR_IA32_LASTINTFROMIP:
	case MSR_IA32_LASTINTTOIP:
		*value = 0;
		tenon_vendor->get_msr(vcpu, msr, value);
		return 0;
	case MSR_IA32_TSC:
		*value = tenon_guest_tsc(vcpu);
		return 0;
	case MSR_IA32_TSC_ADJUST:
		*value = vcpu->msr_tsc_adjust;
		return 0;
	case MSR_TSC_AUX:
		*value = vcpu->msr_tsc_aux;
		return boot_cpu_has(X86_FEATURE_RDTSCP) ? 0 : -EINVAL;
	case MSR_IA32_MISC_ENABLE:
		*value = vcpu->msr_misc_enable;
		return 0;
	case MSR_IA32_APICBASE:
		*value = vcpu->lapic ? vcpu->lapic->base :
				       LAPIC_DEFAULT_BASE | LAPIC_BASE_ENABLED |
					       (vcpu->id == vcpu->vm->bsp_id ? LAPIC_BASE_BSP : 0);
		return 0;
	case LAPIC_MSR_X2APIC ... LAPIC_MSR_X2APIC_LAST:
	case MSR_IA32_TSC_DEADLINE:
		if (vcpu->lapic && !lapic_msr_read(vcpu->lapic, msr, value, tenon_now()))
			return 0;
		*value = 0;
		return host && msr == MSR_IA32_TSC_DEADLINE ? 0 : -EINVAL;
	case MSR_MTRRcap:
		*value = 0x508; /* eight variable ranges, fixed ranges, write-combining */
		return 0;
	case MSR_MTRRdefType:
	case MSR_MTRRfix64K_00000:
	case MSR_MTRRfix16K_80000:
	case MSR_MTRRfix16K_A0000:
	case MSR_MTRRfix4K_C0000 ... MSR_MTRRfix4K_F8000:
	case 0x200 ... 0x20f:
		*value = *mtrr(vcpu, msr);
		return 0;
	case MSR_IA32_MCG_CAP:
		*value = vcpu->msr_mcg_cap;
		return 0;
	case MSR_IA32_MCG_STATUS:
		*value = vcpu->msr_mcg_status;
		return 0;
	case MSR_IA32_MCG_CTL:
		if (!host && !(vcpu->msr_mcg_cap & MCG_CTL_P))
			return -EINVAL;
		*value = vcpu->msr_mcg_ctl;
		return 0;
	case MSR_IA32_MC0_CTL ... MSR_IA32_MC0_CTL + 4 * MCE_BANKS - 1:
		if (msr - MSR_IA32_MC0_CTL >= 4 * (vcpu->msr_mcg_cap & 0xff))
			return -EINVAL;
		*value = vcpu->mce_banks[array_index_nospec(msr - MSR_IA32_MC0_CTL, 4 * MCE_BANKS)];
		return 0;
	case MSR_IA32_P5_MC_ADDR:
	case MSR_IA32_P5_MC_TYPE:
	case MSR_IA32_PERF_STATUS:
		*value = 0;
		return 0;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		*value = vcpu->pv_system_time;
		return pv_feature(vcpu, KVM_FEATURE_CLOCKSOURCE2, host);
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		*value = vcpu->vm->wall_clock_msr;
		return pv_feature(vcpu, KVM_FEATURE_CLOCKSOURCE2, host);
	case MSR_KVM_STEAL_TIME:
		*value = vcpu->pv_steal_time;
		return pv_feature(vcpu, KVM_FEATURE_STEAL_TIME, host);
	case MSR_IA32_XSS:
		*value = 0;
		return host || guest_has_xsaves(vcpu) ? 0 : -EINVAL;
	case MSR_KVM_PV_EOI_EN:
		*value = vcpu->pv_eoi;
		return pv_feature(vcpu, KVM_FEATURE_PV_EOI, host);
	case MSR_KVM_POLL_CONTROL:
		*value = vcpu->msr_poll_control;
		return pv_feature(vcpu, KVM_FEATURE_POLL_CONTROL, host);
	default:
		*value = 0;
		return msr_is_quiet(msr) ? 0 : -EINVAL;
	}
}

/* ---- ioctls ---- */

int tenon_msr_list(struct kvm_msr_list __user *arg, bool features)
{
	const u32 *from = features ? msrs_feature : msrs_saved;
	const u32 all = features ? ARRAY_SIZE(msrs_feature) : ARRAY_SIZE(msrs_saved);
	u32 list[ARRAY_SIZE(msrs_saved)], count = 0, room, n;

	for (n = 0; n < all; n++) {
		if (features || msr_is_there(from[n]))
			list[count++] = from[n];
	}

	if (get_user(room, &arg->nmsrs) || put_user(count, &arg->nmsrs))
		return -EFAULT;
	if (room < count)
		return -E2BIG;
	return copy_to_user(arg->indices, list, count * sizeof(u32)) ? -EFAULT : 0;
}

static int msrs_copy(struct tenon_vcpu *vcpu, struct kvm_msrs __user *arg, bool write)
{
	struct kvm_msr_entry *entries;
	struct kvm_msrs head;
	u32 n;
	int ret;

	if (copy_from_user(&head, arg, sizeof(head)))
		return -EFAULT;
	if (head.nmsrs >= MAX_MSRS)
		return -E2BIG;
	entries = vmemdup_user(arg->entries, array_size(head.nmsrs, sizeof(*entries)));
	if (IS_ERR(entries))
		return PTR_ERR(entries);
	for (n = 0; n < head.nmsrs; n++) {
		if (!vcpu) {
			if (entries[n].index != MSR_IA32_UCODE_REV)
				break;
			entries[n].data = 0x01000065;
			continue;
		}
		if (write ? tenon_wrmsr(vcpu, entries[n].index, entries[n].data, true) :
			    tenon_rdmsr(vcpu, entries[n].index, &entries[n].data, true))
			break;
	}
	ret = n;
	if (!write && copy_to_user(arg->entries, entries, array_size(n, sizeof(*entries))))
		ret = -EFAULT;
	kvfree(entries);
	return ret;
}

int tenon_msrs_io(struct tenon_vcpu *vcpu, struct kvm_msrs __user *arg, bool write)
{
	return msrs_copy(vcpu, arg, write);
}

int tenon_msrs_system_get(struct kvm_msrs __user *arg)
{
	return msrs_copy(NULL, arg, false);
}
