// SPDX-License-Identifier: GPL-2.0-only
/*
 * xstate.c - instructions that save, restore or scatter extended state
 *
 * Images are built here from struct x86_fpu, which is brought home first, so that they never show the host's
 * instruction pointers or layout. After SDM vol. 1 "x87 FPU State", "FXSAVE and FXRSTOR", "Managing State
 * Using the XSAVE Feature Set".
 *
 * x86_fxsave.st[] is relative to the top of the stack, ftw and MMX registers are not: whoever moves the top
 * without reloading the registers rotates st[] (x87_set_top()).
 */
#include "../../host/host.h"
#include "interp.h"

#define FSW_ES		BIT(7)
#define FSW_B		BIT(15)
#define FSW_TOP_SHIFT	11
#define FSW_TOP		(7U << FSW_TOP_SHIFT)
#define FCW_MASKS	0x3f
#define FCW_INIT	0x037f
#define MXCSR_INIT	0x1f80

/* --- checks --- */

/* May x87 state be touched? 0, or X86_FAULT. */
static int x87_check(struct x86_cpu *cpu, const struct uop *u)
{
	if (cpu->s.cr0 & (X86_CR0_EM | X86_CR0_TS))
		return x86_raise(cpu, X86_EXC_NM);
	x86_fpu_sync(cpu);
	if ((x86_rows[u->insn.row].flags & X86_RF_X87_WAIT) && (cpu->s.fpu.fx.fsw & FSW_ES) &&
	    (cpu->s.cr0 & X86_CR0_NE))
		return x86_raise(cpu, X86_EXC_MF);
	return 0;
}

static int sse_check(struct x86_cpu *cpu, const struct uop *u)
{
	if (u->insn.flags & X86_IF_VEX) {
		if (!(cpu->s.cr4 & X86_CR4_OSXSAVE) || (cpu->s.xcr0 & 6) != 6 || !x86_protected(cpu))
			return x86_ud(cpu);
	} else if ((cpu->s.cr0 & X86_CR0_EM) || !(cpu->s.cr4 & X86_CR4_OSFXSR)) {
		return x86_ud(cpu);
	}
	if (cpu->s.cr0 & X86_CR0_TS)
		return x86_raise(cpu, X86_EXC_NM);
	x86_fpu_sync(cpu);
	return 0;
}

static int xsave_check(struct x86_cpu *cpu)
{
	if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
		return x86_ud(cpu);
	if (cpu->s.cr0 & X86_CR0_TS)
		return x86_raise(cpu, X86_EXC_NM);
	x86_fpu_sync(cpu);
	return 0;
}

static unsigned int vector_regs(const struct x86_cpu *cpu)
{
	return cpu->code64 ? 16 : 8;
}

/* --- x87 --- */

static unsigned int x87_top(const struct x86_fxsave *fx)
{
	return (fx->fsw & FSW_TOP) >> FSW_TOP_SHIFT;
}

/* Move the top of the stack, physical registers staying what they are. */
static void x87_set_top(struct x86_fxsave *fx, unsigned int top)
{
	unsigned int shift = (top - x87_top(fx)) & 7;
	u8 old[8][16];

	memcpy(old, fx->st, sizeof(old));
	for (unsigned int i = 0; i < 8; i++)
		memcpy(fx->st[i], old[(i + shift) & 7], 16);
	fx->fsw = (fx->fsw & ~FSW_TOP) | top << FSW_TOP_SHIFT;
}

/* ES and B follow from the exception flags and masks. */
static void x87_update_es(struct x86_fxsave *fx)
{
	fx->fsw &= ~(FSW_ES | FSW_B);
	if (fx->fsw & ~fx->fcw & FCW_MASKS)
		fx->fsw |= FSW_ES | FSW_B;
}

static void x87_init(struct x86_fpu *fpu)
{
	x87_set_top(&fpu->fx, 0);
	fpu->fx.fcw = FCW_INIT;
	fpu->fx.fsw = 0;
	fpu->fx.ftw = 0;
	fpu->fip = fpu->fdp = 0;
	fpu->fcs = fpu->fds = fpu->fop = 0;
}

/* A control word as the unit holds it: reserved bits 7, 13..15 read as 0, bit 6 as 1. */
static u16 x87_fcw(u16 fcw)
{
	return (fcw & 0x1f3f) | 0x0040;
}

/* Tag of a register that is not empty: valid, zero or special (SDM vol. 1 "x87 FPU Tag Word"). */
static unsigned int x87_tag(const u8 *reg)
{
	unsigned int exp;
	u64 mant;

	mant = emul_read64(reg);
	exp = emul_read16(reg + 8) & 0x7fff;
	if (exp == 0 && mant == 0)
		return 1;
	if (exp == 0 || exp == 0x7fff || !(mant >> 63))
		return 2;
	return 0;
}

static u16 x87_full_tags(const struct x86_fxsave *fx)
{
	unsigned int top = x87_top(fx);
	u16 tags = 0;

	for (unsigned int r = 0; r < 8; r++)
		tags |= (fx->ftw & BIT(r) ? x87_tag(fx->st[(r - top) & 7]) : 3U) << (2 * r);
	return tags;
}

static u8 x87_abridged_tags(u16 tags)
{
	u8 ftw = 0;

	for (unsigned int r = 0; r < 8; r++)
		if ((tags >> (2 * r) & 3) != 3)
			ftw |= BIT(r);
	return ftw;
}

/* Is the environment of this instruction the 16-bit one? */
static bool env16(const struct uop *u)
{
	return u->insn.opsize == 2;
}

/* Returns the size. SDM vol. 1 "Protected Mode x87 FPU State Image in Memory" and the figures after it */
static unsigned int env_build(const struct x86_cpu *cpu, const struct uop *u, u8 *img)
{
	const struct x86_fpu *fpu = &cpu->s.fpu;
	u16 tags = x87_full_tags(&fpu->fx);
	bool prot = x86_protected(cpu);
	u32 fip = fpu->fip, fdp = fpu->fdp;

	if (!prot) {	/* real and virtual-8086 mode keep linear addresses */
		fip += (u32)fpu->fcs << 4;
		fdp += (u32)fpu->fds << 4;
	}
	if (env16(u)) {
		emul_write16(img, fpu->fx.fcw);
		emul_write16(img + 2, fpu->fx.fsw);
		emul_write16(img + 4, tags);
		emul_write16(img + 6, fip);
		emul_write16(img + 8, prot ? fpu->fcs : (fip >> 4 & 0xf000) | fpu->fop);
		emul_write16(img + 10, fdp);
		emul_write16(img + 12, prot ? fpu->fds : fdp >> 4 & 0xf000);
		return 14;
	}
	emul_write32(img, 0xffff0000 | fpu->fx.fcw);
	emul_write32(img + 4, 0xffff0000 | fpu->fx.fsw);
	emul_write32(img + 8, 0xffff0000 | tags);
	if (prot) {
		emul_write32(img + 12, fip);
		emul_write32(img + 16, (u32)fpu->fop << 16 | fpu->fcs);
		emul_write32(img + 20, fdp);
		emul_write32(img + 24, 0xffff0000 | fpu->fds);
	} else {
		emul_write32(img + 12, 0xffff0000 | (fip & 0xffff));
		emul_write32(img + 16, (fip >> 4 & 0x0ffff000) | fpu->fop);
		emul_write32(img + 20, 0xffff0000 | (fdp & 0xffff));
		emul_write32(img + 24, fdp >> 4 & 0x0ffff000);
	}
	return 28;
}

/* Load an environment; @rotate: the registers stay where they physically are. */
static void env_load(struct x86_cpu *cpu, const struct uop *u, const u8 *img, bool rotate)
{
	struct x86_fpu *fpu = &cpu->s.fpu;
	bool prot = x86_protected(cpu);
	unsigned int w = env16(u) ? 2 : 4;
	u16 fsw = emul_read16(img + w);

	if (rotate)
		x87_set_top(&fpu->fx, (fsw & FSW_TOP) >> FSW_TOP_SHIFT);
	fpu->fx.fcw = x87_fcw(emul_read16(img));
	fpu->fx.fsw = fsw;
	x87_update_es(&fpu->fx);
	fpu->fx.ftw = x87_abridged_tags(emul_read16(img + 2 * w));
	fpu->fip = emul_read16(img + 3 * w);
	fpu->fdp = emul_read16(img + 5 * w);
	if (prot) {
		if (w == 4) {
			fpu->fip = emul_read32(img + 12);
			fpu->fdp = emul_read32(img + 20);
			fpu->fop = emul_read16(img + 18) & 0x7ff;
		}
		fpu->fcs = emul_read16(img + 4 * w);
		fpu->fds = emul_read16(img + 6 * w);
	} else {
		u32 ip = w == 4 ? emul_read32(img + 16) & 0x0ffff000 : emul_read16(img + 8) & 0xf000;
		u32 dp = w == 4 ? emul_read32(img + 24) & 0x0ffff000 : emul_read16(img + 12) & 0xf000;

		fpu->fip |= (u64)ip << 4;
		fpu->fdp |= (u64)dp << 4;
		fpu->fop = emul_read16(img + 4 * w) & 0x7ff;
		fpu->fcs = fpu->fds = 0;
	}
}

static int do_fnstenv(struct x86_cpu *cpu, const struct uop *u)
{
	unsigned int len;
	u8 img[28];
	u64 lin;

	if (x87_check(cpu, u) || !x86_operand(cpu, u, env16(u) ? 14 : 28, ACC_WRITE, &lin))
		return X86_FAULT;
	len = env_build(cpu, u, img);
	if (!x86_store_bytes(cpu, lin, img, len))
		return X86_FAULT;
	cpu->s.fpu.fx.fcw |= FCW_MASKS;
	x87_update_es(&cpu->s.fpu.fx);
	return X86_NEXT;
}

static int do_fldenv(struct x86_cpu *cpu, const struct uop *u)
{
	unsigned int len = env16(u) ? 14 : 28;
	u8 img[28];
	u64 lin;

	if (x87_check(cpu, u) || !x86_operand(cpu, u, len, ACC_READ, &lin) ||
	    !x86_load_bytes(cpu, lin, img, len))
		return X86_FAULT;
	env_load(cpu, u, img, true);
	return X86_NEXT;
}

static int do_fnsave(struct x86_cpu *cpu, const struct uop *u)
{
	unsigned int len = env16(u) ? 14 : 28;
	u8 img[28 + 80];
	u64 lin;

	if (x87_check(cpu, u) || !x86_operand(cpu, u, len + 80, ACC_WRITE, &lin))
		return X86_FAULT;
	env_build(cpu, u, img);
	for (unsigned int i = 0; i < 8; i++)
		memcpy(img + len + 10 * i, cpu->s.fpu.fx.st[i], 10);
	if (!x86_store_bytes(cpu, lin, img, len + 80))
		return X86_FAULT;
	x87_init(&cpu->s.fpu);
	return X86_NEXT;
}

static int do_frstor(struct x86_cpu *cpu, const struct uop *u)
{
	unsigned int len = env16(u) ? 14 : 28;
	u8 img[28 + 80];
	u64 lin;

	if (x87_check(cpu, u) || !x86_operand(cpu, u, len + 80, ACC_READ, &lin) ||
	    !x86_load_bytes(cpu, lin, img, len + 80))
		return X86_FAULT;
	env_load(cpu, u, img, false);
	for (unsigned int i = 0; i < 8; i++)
		memcpy(cpu->s.fpu.fx.st[i], img + len + 10 * i, 10);
	return X86_NEXT;
}

/* --- the 512 bytes that FXSAVE and XSAVE share --- */

#define LEGACY_X87_END	24		/* control part of the x87 state */
#define LEGACY_ST	offsetof(struct x86_fxsave, st)
#define LEGACY_XMM	offsetof(struct x86_fxsave, xmm)

static void legacy_build(const struct x86_cpu *cpu, const struct uop *u, struct x86_fxsave *img)
{
	const struct x86_fpu *fpu = &cpu->s.fpu;

	memset(img, 0, sizeof(*img));
	img->fcw = fpu->fx.fcw;
	img->fsw = fpu->fx.fsw;
	img->ftw = fpu->fx.ftw;
	img->fop = fpu->fop;
	if (u->insn.flags & X86_IF_W) {
		img->fip = fpu->fip;
		img->fdp = fpu->fdp;
	} else {
		img->fip = (u32)fpu->fip | (u64)fpu->fcs << 32;
		img->fdp = (u32)fpu->fdp | (u64)fpu->fds << 32;
	}
	img->mxcsr = fpu->fx.mxcsr;
	img->mxcsr_mask = host_mxcsr_mask();
	for (unsigned int i = 0; i < 8; i++)
		memcpy(img->st[i], fpu->fx.st[i], 10);
	memcpy(img->xmm, fpu->fx.xmm, sizeof(img->xmm));
}

static void legacy_load_x87(struct x86_cpu *cpu, const struct uop *u, const struct x86_fxsave *img)
{
	struct x86_fpu *fpu = &cpu->s.fpu;

	fpu->fx.fcw = x87_fcw(img->fcw);
	fpu->fx.fsw = img->fsw;
	x87_update_es(&fpu->fx);
	fpu->fx.ftw = img->ftw;
	fpu->fop = img->fop & 0x7ff;
	if (u->insn.flags & X86_IF_W) {
		fpu->fip = img->fip;
		fpu->fdp = img->fdp;
		fpu->fcs = fpu->fds = 0;
	} else {
		fpu->fip = (u32)img->fip;
		fpu->fdp = (u32)img->fdp;
		fpu->fcs = img->fip >> 32;
		fpu->fds = img->fdp >> 32;
	}
	for (unsigned int i = 0; i < 8; i++)
		memcpy(fpu->fx.st[i], img->st[i], 10);
}

/* Fast FXSAVE: AMD APM vol. 2 "EFER", FFXSR: no XMM registers at CPL 0 in 64-bit mode */
static unsigned int fxsave_regs(const struct x86_cpu *cpu)
{
	if ((cpu->s.efer & X86_EFER_FFXSR) && cpu->code64 && cpu->cpl == 0)
		return 0;
	return vector_regs(cpu);
}

static int do_fxsave(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_fxsave img;
	u64 lin;

	if (x87_check(cpu, u) || !x86_operand(cpu, u, 512, ACC_WRITE, &lin))
		return X86_FAULT;
	if (lin & 15)
		return x86_gp0(cpu);
	legacy_build(cpu, u, &img);
	if (!x86_probe(cpu, lin, 512, ACC_WRITE))
		return X86_FAULT;
	return x86_store_bytes(cpu, lin, &img, LEGACY_XMM + 16 * fxsave_regs(cpu)) ? X86_NEXT : X86_FAULT;
}

static int do_fxrstor(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_fxsave img;
	u64 lin;

	if (x87_check(cpu, u) || !x86_operand(cpu, u, 512, ACC_READ, &lin))
		return X86_FAULT;
	if (lin & 15)
		return x86_gp0(cpu);
	if (!x86_load_bytes(cpu, lin, &img, sizeof(img)))
		return X86_FAULT;
	if (img.mxcsr & ~host_mxcsr_mask())
		return x86_gp0(cpu);
	legacy_load_x87(cpu, u, &img);
	cpu->s.fpu.fx.mxcsr = img.mxcsr;
	memcpy(cpu->s.fpu.fx.xmm, img.xmm, 16 * fxsave_regs(cpu));
	return X86_NEXT;
}

/* --- XSAVE --- */

#define XF_X87		BIT(0)
#define XF_SSE		BIT(1)
#define XF_AVX		BIT(2)
#define XF_PKRU		BIT(9)
#define XF_ALL		(XF_X87 | XF_SSE | XF_AVX | XF_PKRU)
#define XCOMP_COMPACT	BIT_ULL(63)

/* Standard offsets, as CPUID leaf 0DH must tell them. AVX: 256 bytes, PKRU: 8. The area ends at 840. */
#define XSAVE_HEADER	512
#define XSAVE_EXT	576
#define XSAVE_AVX	XSAVE_EXT
#define XSAVE_PKRU	832

struct xsave_header {
	u64 xstate_bv;
	u64 xcomp_bv;
	u64 rsvd[6];
};
static_assert(sizeof(struct xsave_header) == XSAVE_EXT - XSAVE_HEADER, "XSAVE header");

static unsigned int pkru_offset(bool compact, u64 components)
{
	return !compact ? XSAVE_PKRU : components & XF_AVX ? XSAVE_EXT + 256 : XSAVE_EXT;
}

static u64 edx_eax(const struct x86_cpu *cpu)
{
	return (u64)(u32)cpu->s.gpr[X86_RDX] << 32 | (u32)cpu->s.gpr[X86_RAX];
}

static bool all_zero(const void *p, unsigned int len)
{
	const u8 *b = p;

	for (unsigned int i = 0; i < len; i += 8)
		if (emul_read64(b + i))
			return false;
	return true;
}

/* XINUSE: what is not in its initial state. SDM vol. 1 "Processor Tracking of XSAVE-Managed State" */
static u64 xsave_in_use(const struct x86_cpu *cpu)
{
	const struct x86_fpu *fpu = &cpu->s.fpu;
	u64 in_use = 0;

	if (fpu->fx.fcw != FCW_INIT || fpu->fx.fsw || fpu->fx.ftw || fpu->fip || fpu->fdp || fpu->fcs ||
	    fpu->fds || fpu->fop || !all_zero(fpu->fx.st, sizeof(fpu->fx.st)))
		in_use |= XF_X87;
	if (!all_zero(fpu->fx.xmm, sizeof(fpu->fx.xmm)))
		in_use |= XF_SSE;
	if (!all_zero(fpu->ymmh, sizeof(fpu->ymmh)))
		in_use |= XF_AVX;
	if (cpu->s.pkru)
		in_use |= XF_PKRU;
	return in_use;
}

u64 x86_xstate_in_use(struct x86_cpu *cpu)
{
	x86_fpu_sync(cpu);
	return xsave_in_use(cpu) | (cpu->s.fpu.fx.mxcsr != MXCSR_INIT ? XF_SSE : 0);
}

/* Store the components @parts of an area at @lin. All pages have been probed. */
static bool xsave_parts(struct x86_cpu *cpu, const struct uop *u, u64 lin, u64 parts, bool mxcsr,
			unsigned int pkru)
{
	struct x86_fxsave img;
	unsigned int n = vector_regs(cpu);

	legacy_build(cpu, u, &img);
	if ((parts & XF_X87) && (!x86_store_bytes(cpu, lin, &img, LEGACY_X87_END) ||
				 !x86_store_bytes(cpu, lin + LEGACY_ST, img.st, sizeof(img.st))))
		return false;
	if (mxcsr && !x86_store_bytes(cpu, lin + LEGACY_X87_END, &img.mxcsr, 8))
		return false;
	if ((parts & XF_SSE) && !x86_store_bytes(cpu, lin + LEGACY_XMM, img.xmm, 16 * n))
		return false;
	if ((parts & XF_AVX) && !x86_store_bytes(cpu, lin + XSAVE_AVX, cpu->s.fpu.ymmh, 16 * n))
		return false;
	if (parts & XF_PKRU) {
		u64 val = cpu->s.pkru;

		return x86_store_bytes(cpu, lin + pkru, &val, sizeof(val));
	}
	return true;
}

/* End of the area that holds @components. */
static unsigned int area_end(bool compact, u64 components)
{
	if (components & XF_PKRU)
		return pkru_offset(compact, components) + 8;
	return components & XF_AVX ? XSAVE_EXT + 256 : XSAVE_EXT;
}

/* XSAVE and XSAVEOPT, which saves as much: the optimisations of the latter are permitted, not promised. */
static int do_xsave(struct x86_cpu *cpu, const struct uop *u)
{
	u64 rfbm = cpu->s.xcr0 & edx_eax(cpu) & XF_ALL, lin, bv;
	unsigned int len = area_end(false, rfbm);

	if (xsave_check(cpu) || !x86_operand(cpu, u, len, ACC_WRITE, &lin))
		return X86_FAULT;
	if (lin & 63)
		return x86_gp0(cpu);
	if (!x86_probe(cpu, lin, len, ACC_WRITE) || !x86_load_bytes(cpu, lin + XSAVE_HEADER, &bv, sizeof(bv)))
		return X86_FAULT;
	bv = (bv & ~rfbm) | (xsave_in_use(cpu) & rfbm);
	if (!xsave_parts(cpu, u, lin, rfbm, rfbm & (XF_SSE | XF_AVX), XSAVE_PKRU) ||
	    !x86_store_bytes(cpu, lin + XSAVE_HEADER, &bv, sizeof(bv)))
		return X86_FAULT;
	return X86_NEXT;
}

static int save_compact(struct x86_cpu *cpu, const struct uop *u, u64 enabled)
{
	u64 rfbm = enabled & edx_eax(cpu) & XF_ALL, parts, lin, head[2];
	unsigned int len = area_end(true, rfbm);

	if (xsave_check(cpu) || !x86_operand(cpu, u, len, ACC_WRITE, &lin))
		return X86_FAULT;
	if (lin & 63)
		return x86_gp0(cpu);
	if (!x86_probe(cpu, lin, len, ACC_WRITE))
		return X86_FAULT;
	parts = xsave_in_use(cpu);
	if (cpu->s.fpu.fx.mxcsr != MXCSR_INIT)
		parts |= XF_SSE;
	parts &= rfbm;
	head[0] = parts;
	head[1] = rfbm | XCOMP_COMPACT;
	if (!xsave_parts(cpu, u, lin, parts, parts & XF_SSE, pkru_offset(true, rfbm)) ||
	    !x86_store_bytes(cpu, lin + XSAVE_HEADER, head, sizeof(head)))
		return X86_FAULT;
	return X86_NEXT;
}

static int do_xsavec(struct x86_cpu *cpu, const struct uop *u)
{
	return save_compact(cpu, u, cpu->s.xcr0);
}

static int do_xsaves(struct x86_cpu *cpu, const struct uop *u)
{
	if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	return save_compact(cpu, u, cpu->s.xcr0 | cpu->s.xss);
}

/* The header's own rules; SDM vol. 2 "XRSTOR", "XRSTORS" exceptions. */
static bool header_valid(const struct x86_cpu *cpu, const struct xsave_header *h, u64 enabled,
			 bool supervisor)
{
	bool compact = h->xcomp_bv & XCOMP_COMPACT;

	if (!compact)
		return !supervisor && !(h->xstate_bv & ~enabled) && !h->xcomp_bv && !h->rsvd[0];
	if (!supervisor && !x86_has(cpu, X86_FEAT_XSAVEC))
		return false;
	return !(h->xcomp_bv & ~XCOMP_COMPACT & ~enabled) && !(h->xstate_bv & ~h->xcomp_bv) &&
	       all_zero(h->rsvd, sizeof(h->rsvd));
}

static int restore(struct x86_cpu *cpu, const struct uop *u, u64 enabled, bool supervisor)
{
	u64 rfbm, parts, lin, pkru = 0;
	unsigned int n = vector_regs(cpu);
	struct x86_fpu *fpu = &cpu->s.fpu;
	u8 ymmh[16][16];
	bool compact;
	struct {
		struct x86_fxsave fx;
		struct xsave_header h;
	} img;

	if (xsave_check(cpu) || !x86_operand(cpu, u, XSAVE_EXT, ACC_READ, &lin))
		return X86_FAULT;
	if (lin & 63)
		return x86_gp0(cpu);
	if (!x86_load_bytes(cpu, lin, &img, XSAVE_EXT))
		return X86_FAULT;
	if (!header_valid(cpu, &img.h, enabled, supervisor))
		return x86_gp0(cpu);
	compact = img.h.xcomp_bv & XCOMP_COMPACT;
	rfbm = enabled & edx_eax(cpu) & XF_ALL;
	parts = rfbm & img.h.xstate_bv;

	/* the standard form always takes MXCSR from memory, to the compacted it is part of SSE */
	if (compact ? parts & XF_SSE : rfbm & (XF_SSE | XF_AVX)) {
		if (img.fx.mxcsr & ~host_mxcsr_mask())
			return x86_gp0(cpu);
	} else if (compact && (rfbm & XF_SSE)) {
		img.fx.mxcsr = MXCSR_INIT;
	} else {
		img.fx.mxcsr = fpu->fx.mxcsr;
	}
	memset(ymmh, 0, sizeof(ymmh));
	if ((parts & XF_AVX) && (!x86_operand(cpu, u, XSAVE_EXT + 256, ACC_READ, &lin) ||
				 !x86_load_bytes(cpu, lin + XSAVE_AVX, ymmh, 16 * n)))
		return X86_FAULT;
	if (parts & XF_PKRU) {
		unsigned int off = pkru_offset(compact, img.h.xcomp_bv);

		if (!x86_operand(cpu, u, off + 8, ACC_READ, &lin) ||
		    !x86_load_bytes(cpu, lin + off, &pkru, 8))
			return X86_FAULT;
		if (pkru >> 32)
			return x86_gp0(cpu);
	}

	/* device memory may have brought the state to life again */
	x86_fpu_sync(cpu);
	fpu->fx.mxcsr = img.fx.mxcsr;
	if (parts & XF_X87) {
		legacy_load_x87(cpu, u, &img.fx);
	} else if (rfbm & XF_X87) {
		x87_init(fpu);
		memset(fpu->fx.st, 0, sizeof(fpu->fx.st));
	}
	if (rfbm & XF_SSE) {
		if (parts & XF_SSE)
			memcpy(fpu->fx.xmm, img.fx.xmm, 16 * n);
		else
			memset(fpu->fx.xmm, 0, 16 * n);
	}
	if (rfbm & XF_AVX)
		memcpy(fpu->ymmh, ymmh, 16 * n);
	if (rfbm & XF_PKRU)
		x86_set_pkru(cpu, (u32)pkru);
	return X86_NEXT;
}

static int do_xrstor(struct x86_cpu *cpu, const struct uop *u)
{
	return restore(cpu, u, cpu->s.xcr0, false);
}

static int do_xrstors(struct x86_cpu *cpu, const struct uop *u)
{
	if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	return restore(cpu, u, cpu->s.xcr0 | cpu->s.xss, true);
}

/* --- MXCSR --- */

static int do_ldmxcsr(struct x86_cpu *cpu, const struct uop *u)
{
	u64 lin;
	u32 val;

	if (sse_check(cpu, u) || !x86_operand(cpu, u, 4, ACC_READ, &lin) || !x86_load32(cpu, lin, &val))
		return X86_FAULT;
	if (val & ~host_mxcsr_mask())
		return x86_gp0(cpu);
	cpu->s.fpu.fx.mxcsr = val;
	return X86_NEXT;
}

static int do_stmxcsr(struct x86_cpu *cpu, const struct uop *u)
{
	u64 lin;

	if (sse_check(cpu, u) || !x86_operand(cpu, u, 4, ACC_WRITE, &lin) ||
	    !x86_store32(cpu, lin, cpu->s.fpu.fx.mxcsr))
		return X86_FAULT;
	return X86_NEXT;
}

/* --- MASKMOVQ, MASKMOVDQU: bytes whose mask has bit 7 set go to DS:rDI --- */

static int do_maskmov(struct x86_cpu *cpu, const struct uop *u)
{
	bool mmx = x86_rows[u->insn.row].opnd[0].kind == X86_OK_P;
	unsigned int size = mmx ? 8 : 16, addr_bits = u->insn.addrsize * 8;
	struct x86_fxsave *fx = &cpu->s.fpu.fx;
	u64 ea = cpu->s.gpr[X86_RDI] & (~0ULL >> (64 - addr_bits)), lin;
	const u8 *data, *mask;

	if (mmx) {
		if (cpu->s.cr0 & X86_CR0_EM)
			return x86_ud(cpu);
		if (cpu->s.cr0 & X86_CR0_TS)
			return x86_raise(cpu, X86_EXC_NM);
		x86_fpu_sync(cpu);
		if ((fx->fsw & FSW_ES) && (cpu->s.cr0 & X86_CR0_NE))
			return x86_raise(cpu, X86_EXC_MF);
	} else if (sse_check(cpu, u)) {
		return X86_FAULT;
	}
	if (!x86_linear(cpu, u->insn.seg, ea, size, ACC_WRITE, &lin))
		return X86_FAULT;
	if (mmx) {
		unsigned int top = x87_top(fx);

		data = fx->st[(u->insn.reg - top) & 7];
		mask = fx->st[(u->insn.rm - top) & 7];
	} else {
		data = fx->xmm[u->insn.reg];
		mask = fx->xmm[u->insn.rm];
	}

	/* SDM vol. 2 "MASKMOVDQU" leaves open if bytes that are not selected fault: here they do */
	if (!x86_probe(cpu, lin, size, ACC_WRITE))
		return X86_FAULT;
	for (unsigned int i = 0; i < size; i++)
		if ((mask[i] & 0x80) && !x86_store8(cpu, lin + i, data[i]))
			return X86_FAULT;
	if (mmx) {	/* as any MMX instruction: TOP 0, all tags valid */
		x87_set_top(fx, 0);
		fx->ftw = 0xff;
	}
	return X86_NEXT;
}

const struct interp_op interp_FNSTENV = IOP_ALL(do_fnstenv);
const struct interp_op interp_FNSAVE = IOP_ALL(do_fnsave);
const struct interp_op interp_FLDENV = IOP_ALL(do_fldenv);
const struct interp_op interp_FRSTOR = IOP_ALL(do_frstor);
const struct interp_op interp_FXSAVE = IOP_ALL(do_fxsave);
const struct interp_op interp_FXRSTOR = IOP_ALL(do_fxrstor);
const struct interp_op interp_XSAVE = IOP_ALL(do_xsave);
const struct interp_op interp_XSAVEOPT = IOP_ALL(do_xsave);
const struct interp_op interp_XSAVEC = IOP_ALL(do_xsavec);
const struct interp_op interp_XSAVES = IOP_ALL(do_xsaves);
const struct interp_op interp_XRSTOR = IOP_ALL(do_xrstor);
const struct interp_op interp_XRSTORS = IOP_ALL(do_xrstors);
const struct interp_op interp_LDMXCSR = IOP_ALL(do_ldmxcsr);
const struct interp_op interp_STMXCSR = IOP_ALL(do_stmxcsr);
const struct interp_op interp_MASKMOV = IOP_ALL(do_maskmov);
