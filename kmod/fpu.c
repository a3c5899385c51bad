// SPDX-License-Identifier: GPL-2.0-only
/*
 * fpu.c - x87, SSE and AVX state
 *
 * While KVM_RUN is under way, the thread's FPU state is the guest's: the kernel saves and restores
 * it across a context switch like any other. In between, it lies in a buffer of its own.

 */
#include <linux/init.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/fpu/xcr.h>
#include <asm/fpu/xstate.h>

#include "../emul/guest/x86/decode.h"
#include "tenon.h"
#include "vendor.h"

#define XCR0_YMM    BIT_ULL(2)
#define XCR0_AVX512 (BIT_ULL(5) | BIT_ULL(6) | BIT_ULL(7))

int tenon_fpu_create(struct tenon_vcpu *vcpu)
{
	return fpu_alloc_guest_fpstate(&vcpu->fpu) ? 0 : -ENOMEM;
}

void tenon_fpu_destroy(struct tenon_vcpu *vcpu)
{
	fpu_free_guest_fpstate(&vcpu->fpu);
}

/* AMD APM vol. 2, "Initial Processor State": as after FNINIT, MXCSR 1F80h. */
void tenon_fpu_reset(struct tenon_vcpu *vcpu)
{
	struct fpstate *fps = vcpu->fpu.fpstate;

	memset(&fps->regs, 0, sizeof(struct fxregs_state));
	fps->regs.fxsave.cwd = 0x37f;
	fps->regs.fxsave.mxcsr = MXCSR_DEFAULT;
	if (boot_cpu_has(X86_FEATURE_XSAVE)) {
		/* A component whose bit is clear is loaded with its initial values. */
		fps->regs.xsave.header.xfeatures = XFEATURE_MASK_FP | XFEATURE_MASK_SSE;
	}
}

void tenon_fpu_enter(struct tenon_vcpu *vcpu)
{
	fpu_swap_kvm_fpstate(&vcpu->fpu, true);
	vcpu->fpu_loaded = true;
}

void tenon_fpu_leave(struct tenon_vcpu *vcpu)
{
	vcpu->fpu_loaded = false;
	fpu_swap_kvm_fpstate(&vcpu->fpu, false);
}

/* AMD APM vol. 2, "XFEATURE_ENABLED_MASK": 0 or -EINVAL. */
int tenon_xsetbv(struct tenon_vcpu *vcpu, u32 index, u64 value)
{
	if (index || !(value & 1) || (value & ~vcpu->xcr0_allowed))
		return -EINVAL;
	if ((value & XCR0_YMM) && !(value & 2))
		return -EINVAL;
	if ((value & XCR0_AVX512) && ((value & XCR0_AVX512) != XCR0_AVX512 || !(value & XCR0_YMM)))
		return -EINVAL;
	vcpu->xcr0 = value;
	return 0;
}

/* ---- a vector register for an emulated instruction, within KVM_RUN ---- */

#define VEC_CASE(n, insn_sse, insn_avx)                                     \
	case n:                                                             \
		if (ymm)                                                    \
			asm volatile(insn_avx(n) : : "r"(data) : "memory"); \
		else                                                        \
			asm volatile(insn_sse(n) : : "r"(data) : "memory"); \
		break;

#define STORE_SSE(n) "movdqu %%xmm" #n ", (%0)"
#define STORE_AVX(n) "vmovdqu %%ymm" #n ", (%0)"
#define LOAD_SSE(n)  "movdqu (%0), %%xmm" #n
#define LOAD_AVX(n)  "vmovdqu (%0), %%ymm" #n
#define VEC_CASES(a, b)                                                                           \
	VEC_CASE(0, a, b)                                                                         \
	VEC_CASE(1, a, b) VEC_CASE(2, a, b) VEC_CASE(3, a, b) VEC_CASE(4, a, b) VEC_CASE(5, a, b) \
		VEC_CASE(6, a, b) VEC_CASE(7, a, b) VEC_CASE(8, a, b) VEC_CASE(9, a, b)           \
			VEC_CASE(10, a, b) VEC_CASE(11, a, b) VEC_CASE(12, a, b)                  \
				VEC_CASE(13, a, b) VEC_CASE(14, a, b) VEC_CASE(15, a, b)

static void vec_begin(void)
{
	fpregs_lock();
	fpregs_assert_state_consistent();
	if (test_thread_flag(TIF_NEED_FPU_LOAD))
		switch_fpu_return();
}

int tenon_vec_read(struct tenon_vcpu *vcpu, unsigned int reg, void *data, bool ymm)
{
	if (!vcpu->fpu_loaded || (ymm && !boot_cpu_has(X86_FEATURE_AVX)))
		return -EINVAL;
	vec_begin();
	switch (reg) {
		VEC_CASES(STORE_SSE, STORE_AVX)
	}
	fpregs_unlock();
	return 0;
}

/*
 * The rest of an SSE register is cleared by the loads that come here; VEX clears above 128 bits as
 * well.
 */
int tenon_vec_write(struct tenon_vcpu *vcpu, unsigned int reg, const void *value, unsigned int len,
		    bool ymm)
{
	u8 data[32] = {};

	if (!vcpu->fpu_loaded || (ymm && !boot_cpu_has(X86_FEATURE_AVX)) || len > sizeof(data))
		return -EINVAL;
	memcpy(data, value, len);
	vec_begin();
	switch (reg) {
		VEC_CASES(LOAD_SSE, LOAD_AVX)
	}
	fpregs_unlock();
	return 0;
}

/* ---- ioctls ---- */

/*
 * Bits of MXCSR that this processor has (AMD APM vol. 2, "FXSAVE and FXRSTOR Instructions",
 * MXCSR_MASK).
 */
static u32 mxcsr_mask __ro_after_init;

void __init tenon_fpu_setup(void)
{
	static struct fxregs_state fx __initdata __aligned(16);

	fpregs_lock();
	asm volatile("fxsave %0" : "+m"(fx));
	fpregs_unlock();
	mxcsr_mask = fx.mxcsr_mask ? fx.mxcsr_mask : 0xffbf;
}

static long get_fpu(struct tenon_vcpu *vcpu, void __user *arg)
{
	const struct fxregs_state *fx = &vcpu->fpu.fpstate->regs.fxsave;
	struct kvm_fpu fpu = {};

	memcpy(fpu.fpr, fx->st_space, sizeof(fpu.fpr));
	fpu.fcw = fx->cwd;
	fpu.fsw = fx->swd;
	fpu.ftwx = fx->twd;
	fpu.last_opcode = fx->fop;
	fpu.last_ip = fx->rip;
	fpu.last_dp = fx->rdp;
	fpu.mxcsr = fx->mxcsr;
	memcpy(fpu.xmm, fx->xmm_space, sizeof(fpu.xmm));
	return copy_to_user(arg, &fpu, sizeof(fpu)) ? -EFAULT : 0;
}

static long set_fpu(struct tenon_vcpu *vcpu, void __user *arg)
{
	struct fpstate *fps = vcpu->fpu.fpstate;
	struct fxregs_state *fx = &fps->regs.fxsave;
	struct kvm_fpu fpu;

	if (copy_from_user(&fpu, arg, sizeof(fpu)))
		return -EFAULT;
	memcpy(fx->st_space, fpu.fpr, sizeof(fpu.fpr));
	fx->cwd = fpu.fcw;
	fx->swd = fpu.fsw;
	fx->twd = fpu.ftwx;
	fx->fop = fpu.last_opcode;
	fx->rip = fpu.last_ip;
	fx->rdp = fpu.last_dp;
	/* A reserved bit would fault when the state is loaded. */
	fx->mxcsr = fpu.mxcsr & mxcsr_mask;
	memcpy(fx->xmm_space, fpu.xmm, sizeof(fpu.xmm));
	if (boot_cpu_has(X86_FEATURE_XSAVE))
		fps->regs.xsave.header.xfeatures |= XFEATURE_MASK_FP | XFEATURE_MASK_SSE;
	return 0;
}

static long get_xsave(struct tenon_vcpu *vcpu, void __user *arg, unsigned int size)
{
	void *xsave = kzalloc(size, GFP_KERNEL_ACCOUNT);
	long ret;

	if (!xsave)
		return -ENOMEM;
	fpu_copy_guest_fpstate_to_uabi(&vcpu->fpu, xsave, size, vcpu->xcr0_allowed | XFEATURE_MASK_FPSSE,
				       vcpu->pkru);
	ret = copy_to_user(arg, xsave, size) ? -EFAULT : 0;
	kfree(xsave);
	return ret;
}

static long set_xsave(struct tenon_vcpu *vcpu, void __user *arg)
{
	/* The caller's is as large as KVM_CAP_XSAVE2 says; the kernel's copy reads as much as its own state may have. */
	const size_t given = tenon_xsave_size(), size = max_t(size_t, vcpu->fpu.uabi_size, given);
	void *buf = kzalloc(size, GFP_KERNEL_ACCOUNT);
	long ret;

	if (!buf)
		return -ENOMEM;
	ret = copy_from_user(buf, arg, given) ? -EFAULT :
		fpu_copy_uabi_to_guest_fpstate(&vcpu->fpu, buf, tenon_host_xcr0, &vcpu->pkru);
	kfree(buf);
	return ret;
}

static long get_xcrs(struct tenon_vcpu *vcpu, void __user *arg)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1 };

	xcrs.xcrs[0].xcr = 0;
	xcrs.xcrs[0].value = vcpu->xcr0;
	return copy_to_user(arg, &xcrs, sizeof(xcrs)) ? -EFAULT : 0;
}

static long set_xcrs(struct tenon_vcpu *vcpu, void __user *arg)
{
	struct kvm_xcrs xcrs;
	unsigned int n;

	if (copy_from_user(&xcrs, arg, sizeof(xcrs)))
		return -EFAULT;
	if (xcrs.nr_xcrs > KVM_MAX_XCRS || xcrs.flags)
		return -EINVAL;
	for (n = 0; n < xcrs.nr_xcrs; n++) {
		if (xcrs.xcrs[n].xcr == 0)
			return tenon_xsetbv(vcpu, 0, xcrs.xcrs[n].value);
	}
	return 0;
}

long tenon_fpu_ioctl(struct tenon_vcpu *vcpu, unsigned int cmd, void __user *arg)
{
	switch (cmd) {
	case KVM_GET_FPU:
		return get_fpu(vcpu, arg);
	case KVM_SET_FPU:
		return set_fpu(vcpu, arg);
	case KVM_GET_XSAVE:
		/* With more state than fits there is only the other. */
		if (tenon_xsave_size() > sizeof(struct kvm_xsave))
			return -EINVAL;
		return get_xsave(vcpu, arg, sizeof(struct kvm_xsave));
	case KVM_GET_XSAVE2:
		return get_xsave(vcpu, arg, tenon_xsave_size());
	case KVM_SET_XSAVE:
		return set_xsave(vcpu, arg);
	case KVM_GET_XCRS:
		return boot_cpu_has(X86_FEATURE_XSAVE) ? get_xcrs(vcpu, arg) : -EINVAL;
	case KVM_SET_XCRS:
		return boot_cpu_has(X86_FEATURE_XSAVE) ? set_xcrs(vcpu, arg) : -EINVAL;
	default:
		return -ENOTTY;
	}
}
