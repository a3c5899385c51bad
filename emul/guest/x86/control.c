// SPDX-License-Identifier: GPL-2.0-only
/*
 * control.c - control registers, and what follows from the state of the processor as a whole
 */
#include "cpuid.h"
#include "system.h"

static void flat_segments(struct x86_cpu *cpu)
{
	cpu->flat = 0;
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		cpu->flat |= (u8)(x86_seg_flat(&cpu->s.seg[i]) << i);
}

/*
 * On the way of every change of privilege: no loops, few branches. The CPL is kept as SS.DPL (in a null SS
 * too), as SDM vol. 3 "Privilege Levels" and the AMD APM's VMCB both have it.
 */
void x86_mode_changed(struct x86_cpu *cpu)
{
	const struct x86_state *s = &cpu->s;
	const struct x86_segreg *cs = &s->seg[X86_CS], *ss = &s->seg[X86_SS];
	bool keep;

	cpu->long_mode = s->efer & X86_EFER_LMA;
	cpu->cpl = !(s->cr0 & X86_CR0_PE) ? 0 : s->rflags & X86_VM ? 3 : attr_dpl(ss->attr);
	cpu->code64 = cpu->long_mode && (cs->attr & X86_ATTR_L);
	if (cpu->code64) {
		cpu->mode = X86_MODE_64;
		cpu->rip_mask = ~0ULL;
		cpu->stack_mask = ~0ULL;
	} else {
		cpu->mode = cs->attr & X86_ATTR_DB ? X86_MODE_32 : X86_MODE_16;
		/* IP wraps at 64 KiB, but a 16-bit segment can be made larger than that. */
		cpu->rip_mask = cpu->mode == X86_MODE_32 || cs->limit > 0xffff ? 0xffffffff : 0xffff;
		cpu->stack_mask = ss->attr & X86_ATTR_DB ? 0xffffffff : 0xffff;
	}
	keep = !cpu->code64;
	cpu->flat32 = cpu->code16 = false;
	if (keep)
		flat_segments(cpu);
	if (cpu->mode == X86_MODE_16) {
		x86_code16_changed(cpu);
		for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
			x86_bound_changed(cpu, i);
	}
	cpu->lin_base[X86_ES] = keep ? s->seg[X86_ES].base : 0;
	cpu->lin_base[X86_CS] = keep ? cs->base : 0;
	cpu->lin_base[X86_SS] = keep ? ss->base : 0;
	cpu->lin_base[X86_DS] = keep ? s->seg[X86_DS].base : 0;
	cpu->lin_base[X86_FS] = s->seg[X86_FS].base;
	cpu->lin_base[X86_GS] = s->seg[X86_GS].base;
	if (keep)
		x86_flat32_changed(cpu);
	cpu->slow = (s->rflags & (X86_TF | X86_RF)) || (s->dr[7] & X86_DR7_ENABLED);
	/* SDM vol. 3 "Interrupt 17 - Alignment Check Exception": at CPL 3, with CR0.AM and RFLAGS.AC */
	cpu->watch = (s->rflags & X86_AC) && cpu->cpl == 3 && (s->cr0 & X86_CR0_AM) ? X86_WATCH_ALIGN : 0;
	if (unlikely(s->dr[7] & X86_DR7_ENABLED))
		cpu->watch |= x86_watch_debug(cpu);
	x86_tlb_select(cpu);
}

/* --- CR0 --- */

/* PAE paging is in use with these values, and not IA-32e paging. */
static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return (cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE) && !(efer & X86_EFER_LME);
}

/*
 * SDM vol. 3 "Control Registers", vol. 2 "MOV - Move to/from Control Registers", and "Initializing IA-32e
 * Mode"
 */
int x86_set_cr0(struct x86_cpu *cpu, u64 val)
{
	struct x86_state *s = &cpu->s;
	u64 changed;

	if (val >> 32)
		return x86_gp0(cpu);
	val = (val & X86_CR0_DEFINED) | X86_CR0_ET;
	changed = val ^ s->cr0;
	if ((val & X86_CR0_PG) && !(val & X86_CR0_PE))
		return x86_gp0(cpu);
	if ((val & X86_CR0_NW) && !(val & X86_CR0_CD))
		return x86_gp0(cpu);
	if (changed & val & X86_CR0_PG && s->efer & X86_EFER_LME) {
		unsigned int tss = attr_type(s->tr.attr);

		if (!(s->cr4 & X86_CR4_PAE) || (s->seg[X86_CS].attr & X86_ATTR_L))
			return x86_gp0(cpu);
		if ((s->tr.attr & X86_ATTR_P) && (tss == SYS_TSS16 || tss == SYS_TSS16_BUSY))
			return x86_gp0(cpu);
	}
	if ((changed & X86_CR0_PG) && !(val & X86_CR0_PG) && (cpu->code64 || (s->cr4 & X86_CR4_PCIDE)))
		return x86_gp0(cpu);
	if ((changed & (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW)) && pae_paging(val, s->cr4, s->efer) &&
	    !x86_load_pdptes(cpu, s->cr3))
		return X86_FAULT;

	s->cr0 = val;
	if (changed & X86_CR0_PG) {
		if ((val & X86_CR0_PG) && (s->efer & X86_EFER_LME))
			s->efer |= X86_EFER_LMA;
		else
			s->efer &= ~(u64)X86_EFER_LMA;
	}
	if (changed & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE))
		x86_tlb_flush(cpu, true);
	x86_mode_changed(cpu);
	return X86_LEAVE;
}

/* --- CR3, CR4 --- */

/*
 * With CR4.PCIDE bits 11..0 name a PCID and bit 63 asks to keep its entries, SDM vol. 3 "Process-Context
 * Identifiers". Entries are kept of no PCID but the present one: which ones a processor keeps is its own
 * affair.
 */
int x86_set_cr3(struct x86_cpu *cpu, u64 val)
{
	struct x86_state *s = &cpu->s;
	bool keep = (s->cr4 & X86_CR4_PCIDE) && val >> 63;

	if (keep)
		val &= ~BIT_ULL(63);
	if (cpu->long_mode && (val >> x86_maxphyaddr(cpu)))
		return x86_gp0(cpu);
	if (!cpu->code64)
		val &= 0xffffffff;
	if (pae_paging(s->cr0, s->cr4, s->efer) && !x86_load_pdptes(cpu, val))
		return X86_FAULT;
	if (!keep || val != s->cr3)
		x86_tlb_flush(cpu, false);
	s->cr3 = val;
	return X86_LEAVE;
}

#define CR4_PAGING \
	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE)

int x86_set_cr4(struct x86_cpu *cpu, u64 val)
{
	struct x86_state *s = &cpu->s;
	u64 changed = val ^ s->cr4;

	if (val & x86_cr4_reserved(cpu))
		return x86_gp0(cpu);
	if (cpu->long_mode && !(val & X86_CR4_PAE))
		return x86_gp0(cpu);
	/* SDM vol. 3 "Process-Context Identifiers (PCIDs)" */
	if ((changed & val & X86_CR4_PCIDE) && (!cpu->long_mode || (s->cr3 & 0xfff)))
		return x86_gp0(cpu);
	/* SDM vol. 3 "PDPTE Registers": what reloads them. */
	if ((changed & (X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PGE | X86_CR4_SMEP)) &&
	    pae_paging(s->cr0, val, s->efer) && !x86_load_pdptes(cpu, s->cr3))
		return X86_FAULT;
	s->cr4 = val;
	if (changed & CR4_PAGING)
		x86_tlb_flush(cpu, true);
	x86_mode_changed(cpu);
	return X86_LEAVE;
}

/* --- instructions --- */

static int mov_from_cr(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_state *s = &cpu->s;
	unsigned int size = cpu->code64 ? 8 : 4;
	u64 val;

	switch (u->insn.reg) {
	case 0:
		val = s->cr0;
		break;
	case 2:
		val = s->cr2;
		break;
	case 3:
		val = s->cr3;
		break;
	case 4:
		val = s->cr4;
		break;
	case 8:
		if (cpu->cpl)
			return x86_gp0(cpu);
		val = emul_tpr_get(&cpu->core) & 15;
		break;
	default:
		return x86_ud(cpu);
	}
	if (cpu->cpl)
		return x86_gp0(cpu);
	gpr_set(cpu, u->insn.rm, size, val);
	return X86_NEXT;
}

static int mov_to_cr(struct x86_cpu *cpu, const struct uop *u)
{
	u64 val = gpr_get(cpu, u->insn.rm, cpu->code64 ? 8 : 4);
	unsigned int cr = u->insn.reg;

	if (cr != 0 && cr != 2 && cr != 3 && cr != 4 && cr != 8)
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	switch (cr) {
	case 0:
		return x86_set_cr0(cpu, val);
	case 2:
		cpu->s.cr2 = val;
		return X86_NEXT;
	case 3:
		return x86_set_cr3(cpu, val);
	case 4:
		return x86_set_cr4(cpu, val);
	default:
		if (val > 15)
			return x86_gp0(cpu);
		cpu->core.vm->ops->tpr_set(cpu->core.vm->opaque, &cpu->core, (u8)val);
		return X86_LEAVE;
	}
}

static int clts(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	if (cpu->cpl)
		return x86_gp0(cpu);
	cpu->s.cr0 &= ~(u64)X86_CR0_TS;
	return X86_LEAVE;
}

/* Writes CR0 bits 3..0, but can't clear PE: SDM vol. 2 "LMSW". */
static int lmsw(struct x86_cpu *cpu, const struct uop *u)
{
	u16 val;

	if (cpu->cpl)
		return x86_gp0(cpu);
	if (!x86_read_ew(cpu, u, &val))
		return X86_FAULT;
	return x86_set_cr0(cpu, (cpu->s.cr0 & ~0xeULL) | (val & 0xf));
}

static int smsw(struct x86_cpu *cpu, const struct uop *u)
{
	if (cpu->cpl && (cpu->s.cr4 & X86_CR4_UMIP))
		return x86_gp0(cpu);
	return x86_write_ew(cpu, u, cpu->s.cr0);
}

static int xgetbv(struct x86_cpu *cpu, const struct uop *u)
{
	u64 val = cpu->s.xcr0;

	(void)u;
	if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
		return x86_ud(cpu);
	/* ECX = 1: what of it is in use, if CPUID.(EAX=0DH,ECX=1):EAX[2] is set */
	if ((u32)cpu->s.gpr[X86_RCX] == 1 && x86_has_xgetbv1(cpu))
		val &= x86_xstate_in_use(cpu);
	else if ((u32)cpu->s.gpr[X86_RCX])
		return x86_gp0(cpu);
	cpu->s.gpr[X86_RAX] = (u32)val;
	cpu->s.gpr[X86_RDX] = val >> 32;
	return X86_NEXT;
}

/* SDM vol. 1 "Enabling the XSAVE Feature Set": x87 always, AVX only with SSE. */
static int xsetbv(struct x86_cpu *cpu, const struct uop *u)
{
	u64 val = (u32)cpu->s.gpr[X86_RAX] | cpu->s.gpr[X86_RDX] << 32;

	(void)u;
	if (!(cpu->s.cr4 & X86_CR4_OSXSAVE))
		return x86_ud(cpu);
	if (cpu->cpl || (u32)cpu->s.gpr[X86_RCX])
		return x86_gp0(cpu);
	if ((val & ~x86_xcr0_supported(cpu)) || !(val & 1) || (val & 6) == 4)
		return x86_gp0(cpu);
	cpu->s.xcr0 = val;
	return X86_LEAVE;
}

const struct interp_op interp_MOV_FROM_CR = IOP_ALL(mov_from_cr);
const struct interp_op interp_MOV_TO_CR = IOP_ALL(mov_to_cr);
const struct interp_op interp_CLTS = IOP_ALL(clts);
const struct interp_op interp_LMSW = IOP_ALL(lmsw);
const struct interp_op interp_SMSW = IOP_ALL(smsw);
const struct interp_op interp_XGETBV = IOP_ALL(xgetbv);
const struct interp_op interp_XSETBV = IOP_ALL(xsetbv);
