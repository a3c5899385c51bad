// SPDX-License-Identifier: GPL-2.0-only
/*
 * syscall.c - fast system calls: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, and the bases of FS and GS
 *
 * Where Intel and AMD disagree the guest's CPUID vendor decides: on Intel SYSCALL and SYSRET exist in 64-bit
 * mode only, SYSRET checks RCX before it leaves CPL 0 and sets SS completely; on AMD SYSENTER and SYSEXIT
 * exist in legacy mode only, and SYSRET changes no more of SS than the selector and the privilege level.
 */
#include "cpuid.h"
#include "system.h"

static void set_flat(struct x86_segreg *r, u16 sel, u16 attr, unsigned int dpl)
{
	*r = (struct x86_segreg){ .sel = sel, .attr = attr | dpl << X86_ATTR_DPL_SHIFT, .limit = 0xffffffff };
}

/* SDM vol. 2 "SYSCALL", AMD APM vol. 3 "SYSCALL" */
static int insn_syscall(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_state *s = &cpu->s;
	u16 cs = (u16)(s->star >> 32) & 0xfffc;
	u64 flags;

	if (!(s->efer & X86_EFER_SCE) || !x86_has(cpu, X86_FEAT_SYSCALL))
		return x86_ud(cpu);
	if (!cpu->code64 && (x86_is_intel(cpu) || !x86_protected(cpu)))
		return x86_ud(cpu);
	flags = x86_get_rflags(s) & ~(u64)X86_RF;
	if (cpu->long_mode) {
		s->gpr[X86_RCX] = x86_next_rip(cpu, u);
		s->gpr[X86_R11] = flags;
		s->rip = cpu->code64 ? s->lstar : s->cstar;
		x86_set_rflags(s, flags & ~s->sfmask);
		set_flat(&s->seg[X86_CS], cs, X86_ATTR_CODE64, 0);
	} else {
		s->gpr[X86_RCX] = x86_next_rip(cpu, u);
		s->rip = (u32)s->star;
		x86_set_rflags(s, flags & ~(u64)(X86_IF | X86_VM));
		set_flat(&s->seg[X86_CS], cs, X86_ATTR_CODE32, 0);
	}
	set_flat(&s->seg[X86_SS], cs + 8, X86_ATTR_DATA32, 0);
	x86_mode_changed(cpu);
	return X86_JUMP;
}

#define SYSRET_FLAGS	0x3c7fd7ULL

static int insn_sysret(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_state *s = &cpu->s;
	u16 base = (u16)(s->star >> 48) & 0xfffc;
	bool to64 = cpu->long_mode && u->insn.opsize == 8;
	u64 flags = x86_get_rflags(s);

	if (!(s->efer & X86_EFER_SCE) || !x86_has(cpu, X86_FEAT_SYSCALL))
		return x86_ud(cpu);
	if (!cpu->code64 && (x86_is_intel(cpu) || !x86_protected(cpu)))
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	if (to64 && x86_is_intel(cpu) && !x86_canonical(s->gpr[X86_RCX]))
		return x86_gp0(cpu);

	if (to64)
		set_flat(&s->seg[X86_CS], (u16)(base + 16) | 3, X86_ATTR_CODE64, 3);
	else
		set_flat(&s->seg[X86_CS], base | 3, X86_ATTR_CODE32, 3);
	s->rip = to64 ? s->gpr[X86_RCX] : (u32)s->gpr[X86_RCX];
	if (cpu->long_mode)
		flags = (s->gpr[X86_R11] & SYSRET_FLAGS) | X86_FLAG1;
	else
		flags |= X86_IF;
	if (!(s->dr[7] & X86_DR7_ENABLED))
		flags &= ~(u64)X86_RF;
	x86_set_rflags(s, flags);
	if (x86_is_intel(cpu)) {
		set_flat(&s->seg[X86_SS], (u16)(base + 8) | 3, X86_ATTR_DATA32, 3);
	} else {
		s->seg[X86_SS].sel = (u16)(base + 8) | 3;
		s->seg[X86_SS].attr |= 3 << X86_ATTR_DPL_SHIFT;
	}
	x86_mode_changed(cpu);
	return X86_JUMP;
}

static bool sysenter_ok(struct x86_cpu *cpu)
{
	return x86_has(cpu, X86_FEAT_SEP) && (x86_is_intel(cpu) || !cpu->long_mode);
}

/* SDM vol. 2 "SYSENTER" */
static int insn_sysenter(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_state *s = &cpu->s;
	u16 cs = s->sysenter_cs & 0xfffc;

	(void)u;
	if (!sysenter_ok(cpu))
		return x86_ud(cpu);
	if (!(s->cr0 & X86_CR0_PE) || !cs)
		return x86_gp0(cpu);
	s->rflags &= ~(u64)(X86_VM | X86_IF | X86_RF);
	set_flat(&s->seg[X86_CS], cs, cpu->long_mode ? X86_ATTR_CODE64 : X86_ATTR_CODE32, 0);
	set_flat(&s->seg[X86_SS], cs + 8, X86_ATTR_DATA32, 0);
	s->gpr[X86_RSP] = cpu->long_mode ? s->sysenter_esp : (u32)s->sysenter_esp;
	s->rip = cpu->long_mode ? s->sysenter_eip : (u32)s->sysenter_eip;
	x86_mode_changed(cpu);
	return X86_JUMP;
}

static int insn_sysexit(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_state *s = &cpu->s;
	u16 cs = s->sysenter_cs & 0xfffc;
	bool to64 = cpu->long_mode && u->insn.opsize == 8;
	u64 rip = s->gpr[X86_RDX], rsp = s->gpr[X86_RCX];

	if (!sysenter_ok(cpu))
		return x86_ud(cpu);
	if (!cs || !x86_protected(cpu) || cpu->cpl)
		return x86_gp0(cpu);
	if (to64 && (!x86_canonical(rip) || !x86_canonical(rsp)))
		return x86_gp0(cpu);
	set_flat(&s->seg[X86_CS], (u16)(cs + (to64 ? 32 : 16)) | 3, to64 ? X86_ATTR_CODE64 : X86_ATTR_CODE32,
		 3);
	set_flat(&s->seg[X86_SS], (u16)(cs + (to64 ? 40 : 24)) | 3, X86_ATTR_DATA32, 3);
	s->rip = to64 ? rip : (u32)rip;
	s->gpr[X86_RSP] = to64 ? rsp : (u32)rsp;
	x86_mode_changed(cpu);
	return X86_JUMP;
}

static int swapgs(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_state *s = &cpu->s;
	u64 base = s->seg[X86_GS].base;

	(void)u;
	if (!cpu->code64)
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	s->seg[X86_GS].base = s->kernel_gs_base;
	s->kernel_gs_base = base;
	cpu->lin_base[X86_GS] = s->seg[X86_GS].base;
	return X86_NEXT;
}

static int rdbase(struct x86_cpu *cpu, const struct uop *u, enum x86_seg seg)
{
	if (!cpu->code64 || !(cpu->s.cr4 & X86_CR4_FSGSBASE))
		return x86_ud(cpu);
	gpr_set(cpu, u->insn.rm, u->insn.opsize, cpu->s.seg[seg].base);
	return X86_NEXT;
}

static int wrbase(struct x86_cpu *cpu, const struct uop *u, enum x86_seg seg)
{
	u64 val = gpr_get(cpu, u->insn.rm, u->insn.opsize);

	if (!cpu->code64 || !(cpu->s.cr4 & X86_CR4_FSGSBASE))
		return x86_ud(cpu);
	if (!x86_canonical(val))
		return x86_gp0(cpu);
	cpu->s.seg[seg].base = val;
	cpu->lin_base[seg] = val;
	return X86_NEXT;
}

static int rdfsbase(struct x86_cpu *cpu, const struct uop *u) { return rdbase(cpu, u, X86_FS); }
static int rdgsbase(struct x86_cpu *cpu, const struct uop *u) { return rdbase(cpu, u, X86_GS); }
static int wrfsbase(struct x86_cpu *cpu, const struct uop *u) { return wrbase(cpu, u, X86_FS); }
static int wrgsbase(struct x86_cpu *cpu, const struct uop *u) { return wrbase(cpu, u, X86_GS); }

const struct interp_op interp_SYSCALL = IOP_ALL(insn_syscall);
const struct interp_op interp_SYSRET = IOP_ALL(insn_sysret);
const struct interp_op interp_SYSENTER = IOP_ALL(insn_sysenter);
const struct interp_op interp_SYSEXIT = IOP_ALL(insn_sysexit);
const struct interp_op interp_SWAPGS = IOP_ALL(swapgs);
const struct interp_op interp_RDFSBASE = IOP_ALL(rdfsbase);
const struct interp_op interp_RDGSBASE = IOP_ALL(rdgsbase);
const struct interp_op interp_WRFSBASE = IOP_ALL(wrfsbase);
const struct interp_op interp_WRGSBASE = IOP_ALL(wrgsbase);
