// SPDX-License-Identifier: GPL-2.0-only
/*
 * smm.c - system management mode: entry at an SMI, the state-save area, RSM
 *
 * After SDM vol. 3 "System Management Mode" and AMD APM vol. 2 "System-Management Mode". The save area is
 * AMD's (revision 64H) on a processor with 64-bit mode, whoever the vendor: Intel documents no more than the
 * fields where firmware finds general registers, and those are AMD's too. Other processors have the area of
 * the Pentium (revision 0). Which memory is behind SMBASE, and who else may see it, is the chipset's affair.
 */
#include <stdio.h>

#include "../../include/tenon/emul-x86.h"
#include "cpuid.h"
#include "system.h"

#define SMM_ENTRY	0x8000
#define SMM_REV_RELOC	BIT(17)		/* SMBASE can be changed */
#define SMM_REV_64	0x64

/* Area of 512 bytes from SMBASE + FE00H, AMD APM vol. 2 "SMM State-Save Area" */
struct save_seg64 {
	u16 sel, attr;
	u32 limit;
	u64 base;
};
struct save64 {
	struct save_seg64 seg[X86_SEG_COUNT], gdtr, ldtr, idtr, tr;
	u64 io_rip, io_rcx, io_rsi, io_rdi;
	u32 io_trap, local_status;
	u8 io_restart, halt_restart, nmi_masked, rsvd1[5];
	u64 efer, svm[3];
	u32 rsvd2[3], revision, smbase, rsvd3[7];
	u64 svm2[5];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
	u64 gpr[16];			/* R15 first */
};
#define AREA64	0xfe00
static_assert(sizeof(struct save64) == 512, "SMM state-save area");
static_assert(offsetof(struct save64, efer) == 0xd0 && offsetof(struct save64, revision) == 0xfc &&
	      offsetof(struct save64, cr4) == 0x148 && offsetof(struct save64, rip) == 0x178 &&
	      offsetof(struct save64, halt_restart) == 0xc9 && offsetof(struct save64, gpr) == 0x180,
	      "SMM state-save area");

/*
 * Area of 512 bytes from SMBASE + FE00H of a 32-bit processor. Selectors, registers and what is above are SDM
 * vol. 3 "SMRAM State Save Map"; the hidden parts are where Intel leaves reserved what every implementation
 * keeps there.
 */
struct save_seg32 {
	u32 attr, limit, base;
};
struct save32 {
	u8 rsvd1[0xf8];
	u32 smbase, revision;
	u16 io_restart, halt_restart;
	u32 rsvd2[4];
	u32 cr4, rsvd3[5];
	struct save_seg32 seg_hi[3];	/* DS, FS, GS */
	struct { u32 rsvd, limit, base; } idtr;
	struct save_seg32 tr;
	u32 rsvd4;
	struct { u32 rsvd, limit, base; } gdtr;
	struct save_seg32 ldtr;
	struct save_seg32 seg_lo[3];	/* ES, CS, SS */
	u32 sel[X86_SEG_COUNT], ldtr_sel, tr_sel;
	u32 dr7, dr6, gpr[8], eip, eflags, cr3, cr0;
};
static_assert(sizeof(struct save32) == 512, "SMM state-save area, 32 bits");
static_assert(offsetof(struct save32, smbase) == 0xf8 && offsetof(struct save32, halt_restart) == 0x102 &&
	      offsetof(struct save32, cr4) == 0x114 && offsetof(struct save32, seg_hi) == 0x12c &&
	      offsetof(struct save32, tr) == 0x15c && offsetof(struct save32, seg_lo) == 0x184 &&
	      offsetof(struct save32, sel) == 0x1a8 && offsetof(struct save32, gpr) == 0x1d0 &&
	      offsetof(struct save32, cr0) == 0x1fc, "SMM state-save area, 32 bits");

static bool is_64(const struct x86_cpu *cpu)
{
	return !(x86_efer_reserved(cpu) & X86_EFER_LME);
}

/* The area is physical memory, or what the chipset puts there. */
static void area_move(struct x86_cpu *cpu, u64 gpa, void *buf, unsigned int len, bool write)
{
	for (unsigned int i = 0, n; i < len; i += n) {
		const struct emul_slot *slot = emul_slot_find(cpu->core.vm, gpa + i);
		u8 *p = (u8 *)buf + i;

		n = min(len - i, 64u);		/* aligned: within one slot */
		if (!slot || (write && slot->flags & EMUL_MEM_READONLY)) {
			emul_io(&cpu->core, EMUL_MMIO, gpa + i, p, n, write);
		} else if (write) {
			memcpy(slot->host + (gpa + i - slot->gpa), p, n);
			emul_mark_dirty(slot, gpa + i, n);
			emul_code_invalidate(cpu->core.vm, slot, gpa + i, n);
		} else {
			memcpy(p, slot->host + (gpa + i - slot->gpa), n);
		}
	}
}

static void seg_save64(struct save_seg64 *to, const struct x86_segreg *r)
{
	*to = (struct save_seg64){ .sel = r->sel, .attr = r->attr, .limit = r->limit, .base = r->base };
}

static void save_64(const struct x86_cpu *cpu, struct save64 *a, bool halted)
{
	const struct x86_state *s = &cpu->s;

	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		seg_save64(&a->seg[i], &s->seg[i]);
	seg_save64(&a->ldtr, &s->ldtr);
	seg_save64(&a->tr, &s->tr);
	a->gdtr.limit = s->gdtr.limit;
	a->gdtr.base = s->gdtr.base;
	a->idtr.limit = s->idtr.limit;
	a->idtr.base = s->idtr.base;
	a->halt_restart = halted;
	a->nmi_masked = s->nmi_masked;
	a->efer = s->efer;
	a->revision = SMM_REV_RELOC | SMM_REV_64;
	a->smbase = (u32)s->smbase;
	a->cr4 = s->cr4;
	a->cr3 = s->cr3;
	a->cr0 = s->cr0;
	a->dr7 = s->dr[7];
	a->dr6 = s->dr[6];
	a->rflags = x86_get_rflags(s);
	a->rip = s->rip;
	for (unsigned int i = 0; i < 16; i++)
		a->gpr[15 - i] = s->gpr[i];
}

static void seg_save32(struct save_seg32 *to, const struct x86_segreg *r)
{
	*to = (struct save_seg32){ .attr = r->attr, .limit = r->limit, .base = (u32)r->base };
}

static void save_32(const struct x86_cpu *cpu, struct save32 *a, bool halted)
{
	const struct x86_state *s = &cpu->s;

	for (unsigned int i = 0; i < X86_SEG_COUNT; i++) {
		seg_save32(i < 3 ? &a->seg_lo[i] : &a->seg_hi[i - 3], &s->seg[i]);
		a->sel[i] = s->seg[i].sel;
	}
	seg_save32(&a->ldtr, &s->ldtr);
	seg_save32(&a->tr, &s->tr);
	a->ldtr_sel = s->ldtr.sel;
	a->tr_sel = s->tr.sel;
	a->gdtr.limit = s->gdtr.limit;
	a->gdtr.base = (u32)s->gdtr.base;
	a->idtr.limit = s->idtr.limit;
	a->idtr.base = (u32)s->idtr.base;
	a->halt_restart = halted;
	a->revision = SMM_REV_RELOC;
	a->smbase = (u32)s->smbase;
	a->cr4 = (u32)s->cr4;
	a->cr3 = (u32)s->cr3;
	a->cr0 = (u32)s->cr0;
	a->dr7 = (u32)s->dr[7];
	a->dr6 = (u32)s->dr[6];
	a->eflags = (u32)x86_get_rflags(s);
	a->eip = (u32)s->rip;
	for (unsigned int i = 0; i < 8; i++)
		a->gpr[i] = (u32)s->gpr[i];
}

/* SDM vol. 3 "SMI Handler Execution Environment" */
void x86_enter_smm(struct x86_cpu *cpu)
{
	struct x86_state *s = &cpu->s;
	bool halted = s->halted;

	if (is_64(cpu)) {
		struct save64 a = { 0 };

		save_64(cpu, &a, halted);
		area_move(cpu, s->smbase + AREA64, &a, sizeof(a), true);
	} else {
		struct save32 a = { 0 };

		save_32(cpu, &a, halted);
		area_move(cpu, s->smbase + AREA64, &a, sizeof(a), true);
	}
	/* Bit 1 remembers if NMIs were masked before, for areas that have no room for it. */
	s->smm = 1 | s->nmi_masked << 1;
	s->nmi_masked = 1;
	s->halted = 0;
	s->intr_shadow = 0;
	cpu->watch_hits = 0;
	cpu->core.stats.interrupts++;

	x86_set_rflags(s, X86_FLAG1);
	s->rip = SMM_ENTRY;
	s->cr0 &= ~(u64)(X86_CR0_PE | X86_CR0_EM | X86_CR0_TS | X86_CR0_PG);
	s->cr4 = 0;
	s->efer = 0;
	s->dr[7] = X86_DR7_FIXED;
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = (struct x86_segreg){ .attr = X86_ATTR_REAL | X86_ATTR_G, .limit = 0xffffffff };
	s->seg[X86_CS].sel = (u16)(s->smbase >> 4);
	s->seg[X86_CS].base = s->smbase;
	x86_tlb_flush(cpu, true);
	x86_mode_changed(cpu);
}

/* --- RSM --- */

/* What of the registers can be wrong, SDM vol. 3 "Exiting From SMM": the processor shuts down then. */
static bool control_ok(const struct x86_cpu *cpu, u64 cr0, u64 cr3, u64 cr4, u64 efer)
{
	bool lma = efer & X86_EFER_LMA;

	if ((cr0 & X86_CR0_PG && !(cr0 & X86_CR0_PE)) || (cr0 & X86_CR0_NW && !(cr0 & X86_CR0_CD)) ||
	    cr0 >> 32)
		return false;
	if (cr4 & x86_cr4_reserved(cpu) || efer & x86_efer_reserved(cpu))
		return false;
	if (lma != (efer & X86_EFER_LME && cr0 & X86_CR0_PG) || (lma && !(cr4 & X86_CR4_PAE)))
		return false;
	return !(cr4 & X86_CR4_PCIDE && !lma) && (!lma || !(cr3 >> x86_maxphyaddr(cpu)));
}

static void seg_load64(struct x86_segreg *r, const struct save_seg64 *from)
{
	*r = (struct x86_segreg){
		.sel = from->sel, .attr = from->attr & 0xf0ff, .limit = from->limit, .base = from->base
	};
}

static void seg_load32(struct x86_segreg *r, const struct save_seg32 *from, u32 sel)
{
	*r = (struct x86_segreg){
		.sel = (u16)sel, .attr = from->attr & 0xf0ff, .limit = from->limit, .base = from->base
	};
}

#define RFLAGS_VALID	0x3f7fd5ULL

static bool load_64(struct x86_cpu *cpu, u32 *smbase, bool *halt)
{
	struct x86_state *s = &cpu->s;
	struct save64 a;

	area_move(cpu, s->smbase + AREA64, &a, sizeof(a), false);
	if (!control_ok(cpu, a.cr0, a.cr3, a.cr4, a.efer))
		return false;
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		seg_load64(&s->seg[i], &a.seg[i]);
	seg_load64(&s->ldtr, &a.ldtr);
	seg_load64(&s->tr, &a.tr);
	s->gdtr = (struct x86_dtr){ .base = a.gdtr.base, .limit = (u16)a.gdtr.limit };
	s->idtr = (struct x86_dtr){ .base = a.idtr.base, .limit = (u16)a.idtr.limit };
	s->efer = a.efer;
	s->cr0 = (a.cr0 & X86_CR0_DEFINED) | X86_CR0_ET;
	s->cr3 = a.cr3;
	s->cr4 = a.cr4;
	s->dr[6] = (a.dr6 & X86_DR6_WRITABLE) | X86_DR6_FIXED;
	s->dr[7] = (a.dr7 & X86_DR7_WRITABLE) | X86_DR7_FIXED;
	for (unsigned int i = 0; i < 16; i++)
		s->gpr[i] = a.gpr[15 - i];
	s->rip = a.rip;
	x86_set_rflags(s, (a.rflags & RFLAGS_VALID) | X86_FLAG1);
	*smbase = a.smbase;
	*halt = a.halt_restart & 1;
	return true;
}

static bool load_32(struct x86_cpu *cpu, u32 *smbase, bool *halt)
{
	struct x86_state *s = &cpu->s;
	struct save32 a;

	area_move(cpu, s->smbase + AREA64, &a, sizeof(a), false);
	if (!control_ok(cpu, a.cr0, a.cr3, a.cr4, 0))
		return false;
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		seg_load32(&s->seg[i], i < 3 ? &a.seg_lo[i] : &a.seg_hi[i - 3], a.sel[i]);
	seg_load32(&s->ldtr, &a.ldtr, a.ldtr_sel);
	seg_load32(&s->tr, &a.tr, a.tr_sel);
	s->gdtr = (struct x86_dtr){ .base = a.gdtr.base, .limit = (u16)a.gdtr.limit };
	s->idtr = (struct x86_dtr){ .base = a.idtr.base, .limit = (u16)a.idtr.limit };
	s->efer = 0;
	s->cr0 = (a.cr0 & X86_CR0_DEFINED) | X86_CR0_ET;
	s->cr3 = a.cr3;
	s->cr4 = a.cr4;
	s->dr[6] = (a.dr6 & X86_DR6_WRITABLE) | X86_DR6_FIXED;
	s->dr[7] = (a.dr7 & X86_DR7_WRITABLE) | X86_DR7_FIXED;
	for (unsigned int i = 0; i < 8; i++)
		s->gpr[i] = a.gpr[i];
	s->rip = a.eip;
	x86_set_rflags(s, (a.eflags & RFLAGS_VALID) | X86_FLAG1);
	*smbase = a.smbase;
	*halt = a.halt_restart & 1;
	return true;
}

static int rsm(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_state *s = &cpu->s;
	u32 smbase = 0;
	bool halt = false, ok;

	(void)u;
	if (!s->smm)
		return x86_ud(cpu);
	ok = is_64(cpu) ? load_64(cpu, &smbase, &halt) : load_32(cpu, &smbase, &halt);
	if (ok && (s->cr0 & X86_CR0_PG) && (s->cr4 & X86_CR4_PAE) && !(s->efer & X86_EFER_LMA))
		ok = x86_load_pdptes(cpu, s->cr3);
	if (!ok) {
		snprintf(cpu->core.msg, sizeof(cpu->core.msg),
			 "RSM: the state-save area at %#llx holds a state that the processor can't be in",
			 (unsigned long long)s->smbase + AREA64);
		cpu->shutdown = true;
		return x86_raise_err(cpu, X86_EXC_DF, 0);
	}
	s->smbase = smbase;
	s->nmi_masked = s->smm >> 1;
	s->smm = 0;
	s->halted = halt;
	x86_tlb_flush(cpu, true);
	x86_mode_changed(cpu);
	return X86_JUMP;
}

const struct interp_op interp_RSM = IOP_ALL(rsm);

void emul_smi(struct emul_vcpu *vcpu)
{
	emul_request(vcpu, X86_REQ_SMI);
}
