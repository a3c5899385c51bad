// SPDX-License-Identifier: GPL-2.0-only
/*
 * fpu.c - guest floating-point state in the registers of an x86-64 host
 *
 * While a vCPU runs, MXCSR and the x87 registers of its thread may be the guest's, unmasked exceptions
 * included. C code is compiled for general registers only and libc's memory functions compute nothing, so
 * both stay intact between two guest instructions. An unmasked exception surfaces as SIGFPE inside a stub;
 * the handler makes the stub return the exception's vector.
 */
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

#include "stub.h"

#define MXCSR_DEFAULT	0x1f80

static struct {
	pthread_once_t once;
	bool ok;
	u64 features;
	u32 mxcsr_mask;
	struct sigaction chained;
} host = { .once = PTHREAD_ONCE_INIT };

static __thread bool sigfpe_open;	/* this thread doesn't block SIGFPE */

/* --- what the host has --- */

static u64 xgetbv0(void)
{
	u32 lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (u64)hi << 32;
}

static void detect(void)
{
	static const struct {
		u8 feat, leaf, reg, bit;	/* reg: 1 EBX, 2 ECX, 3 EDX */
		bool avx;
	} bits[] = {
		{ X86_FEAT_FPU, 1, 3, 0, false }, { X86_FEAT_CMOV, 1, 3, 15, false },
		{ X86_FEAT_MMX, 1, 3, 23, false }, { X86_FEAT_MMXEXT, 1, 3, 25, false },
		{ X86_FEAT_FXSR, 1, 3, 24, false }, { X86_FEAT_SSE, 1, 3, 25, false },
		{ X86_FEAT_SSE2, 1, 3, 26, false }, { X86_FEAT_SSE3, 1, 2, 0, false },
		{ X86_FEAT_PCLMUL, 1, 2, 1, false }, { X86_FEAT_SSSE3, 1, 2, 9, false },
		{ X86_FEAT_FMA, 1, 2, 12, true }, { X86_FEAT_SSE41, 1, 2, 19, false },
		{ X86_FEAT_SSE42, 1, 2, 20, false }, { X86_FEAT_AES, 1, 2, 25, false },
		{ X86_FEAT_AVX, 1, 2, 28, true }, { X86_FEAT_F16C, 1, 2, 29, true },
		{ X86_FEAT_AVX2, 7, 1, 5, true }, { X86_FEAT_SHA, 7, 1, 29, false },
		{ X86_FEAT_GFNI, 7, 2, 8, false }, { X86_FEAT_VAES, 7, 2, 9, true },
		{ X86_FEAT_VPCLMUL, 7, 2, 10, true },
	};
	u32 r[8][4] = { { 0 } };
	bool avx;

	if (__get_cpuid_max(0, NULL) < 1)
		return;
	__cpuid(1, r[1][0], r[1][1], r[1][2], r[1][3]);
	if (__get_cpuid_max(0, NULL) >= 7)
		__cpuid_count(7, 0, r[7][0], r[7][1], r[7][2], r[7][3]);
	avx = (r[1][2] & BIT(27)) && (xgetbv0() & 6) == 6 && (r[1][2] & BIT(28));
	for (unsigned int i = 0; i < ARRAY_SIZE(bits); i++)
		if ((r[bits[i].leaf][bits[i].reg] & BIT(bits[i].bit)) && (avx || !bits[i].avx))
			host.features |= BIT_ULL(bits[i].feat);
	/* The guest's XSAVE family is C code; what it holds is a matter of the other features. */
	host.features |= BIT_ULL(X86_FEAT_XSAVE) | BIT_ULL(X86_FEAT_XSAVEC) | BIT_ULL(X86_FEAT_XSAVEOPT) |
			 BIT_ULL(X86_FEAT_XSAVES);
}

u64 host_features(void)
{
	host_init();
	return host.features;
}

u32 host_mxcsr_mask(void)
{
	return host.mxcsr_mask;
}

/* --- unmasked exceptions --- */

static void not_ours(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *old = &host.chained;

	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(sig, info, context);
	} else if (old->sa_handler == SIG_DFL || (old->sa_handler == SIG_IGN && info->si_code > 0)) {
		/* The faulting instruction runs again and ends the process; a sent signal is repeated. */
		signal(sig, SIG_DFL);
		if (info->si_code <= 0)
			raise(sig);
	} else if (old->sa_handler != SIG_IGN) {
		old->sa_handler(sig);
	}
}

static void on_sigfpe(int sig, siginfo_t *info, void *context)
{
	greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;

	if (info->si_code <= 0 || !stub_contains(gregs[REG_RIP])) {
		not_ours(sig, info, context);
		return;
	}
	/* Exception flags, set in the frame's image of the unit, come back with sigreturn. */
	gregs[REG_RAX] = gregs[REG_TRAPNO];
	gregs[REG_RIP] = stub_fault_exit();
}

static void open_sigfpe(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGFPE);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	sigfpe_open = true;
}

/* --- the thread's own state --- */

static u32 mxcsr_read(void)
{
	u32 v;

	asm volatile("stmxcsr %0" : "=m"(v));
	return v;
}

static void mxcsr_write(u32 v)
{
	asm volatile("ldmxcsr %0" : : "m"(v));
}

u16 host_x87_status(void)
{
	u16 v;

	asm volatile("fnstsw %0" : "=m"(v));
	return v;
}

u16 host_x87_control(void)
{
	u16 v;

	asm volatile("fnstcw %0" : "=m"(v));
	return v;
}

void host_fpu_load(struct x86_fpu_live *live, struct x86_fpu *fpu, u32 what)
{
	what &= ~live->live;
	if (unlikely(!sigfpe_open))
		open_sigfpe();
	/* whoever wrote the state from outside, LDMXCSR and FXRSTOR must not fault here */
	fpu->fx.mxcsr &= host.mxcsr_mask;
	if (what & HOST_MXCSR || (what & HOST_X87 && !(live->live & HOST_MXCSR)))
		live->masked = (fpu->fx.mxcsr & 0x1f80) == 0x1f80;
	if (what & HOST_X87) {
		/* FXRSTOR loads MXCSR too; the XMM registers, which it also loads, belong to nobody here. */
		if (live->live & HOST_MXCSR)
			fpu->fx.mxcsr = mxcsr_read();
		asm volatile("fxrstor64 %0" : : "m"(fpu->fx));
		live->live |= HOST_X87 | HOST_MXCSR;
	} else if (what & HOST_MXCSR) {
		mxcsr_write(fpu->fx.mxcsr);
		live->live |= HOST_MXCSR;
	}
}

void host_fpu_drop(struct x86_fpu_live *live)
{
	if (live->live & HOST_X87)
		asm volatile("fninit");
	if (live->live & HOST_MXCSR)
		mxcsr_write(MXCSR_DEFAULT);
	live->live = 0;
}

void host_fpu_save(struct x86_fpu_live *live, struct x86_fpu *fpu)
{
	if (!live->live)
		return;
	if (live->live & HOST_MXCSR)
		fpu->fx.mxcsr = mxcsr_read();
	if (live->live & HOST_X87) {
		struct x86_fxsave img;

		asm volatile("fxsave64 %0" : "=m"(img));
		fpu->fx.fcw = img.fcw;
		fpu->fx.fsw = img.fsw;
		fpu->fx.ftw = img.ftw;
		memcpy(fpu->fx.st, img.st, sizeof(img.st));
	}
	host_fpu_drop(live);
}

/* --- set-up --- */

static void init_once(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct x86_fxsave img = { 0 };

	detect();
	asm volatile("fxsave64 %0" : "+m"(img));
	/* AMD's misaligned-SSE bit is not offered: FXSAVE's mask of a processor without it */
	host.mxcsr_mask = (img.mxcsr_mask ? img.mxcsr_mask : 0xffbf) & 0xffff;
	if (!stub_init(host.features & BIT_ULL(X86_FEAT_AVX)))
		return;
	sigemptyset(&sa.sa_mask);
	if (sigaction(SIGFPE, &sa, &host.chained) < 0)
		return;
	host.ok = true;
}

bool host_init(void)
{
	pthread_once(&host.once, init_once);
	return host.ok;
}

struct x86_fpu_live *host_live_new(void)
{
	struct x86_fpu_live *live;

	if (!host_init())
		return NULL;
	live = aligned_alloc(64, sizeof(*live));
	if (!live)
		return NULL;
	memset(live, 0, sizeof(*live));
	live->scratch = stub_scratch_new();
	if (!live->scratch) {
		free(live);
		return NULL;
	}
	return live;
}

void host_live_free(struct x86_fpu_live *live)
{
	if (!live)
		return;
	stub_scratch_free(live->scratch);
	free(live);
}
