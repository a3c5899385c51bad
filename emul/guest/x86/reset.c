// SPDX-License-Identifier: GPL-2.0-only
/*
 * reset.c - the processor after power-up and after INIT, SDM vol. 3 "Processor State After Reset"
 */
#include "cpuid.h"
#include "msr.h"
#include "system.h"

static void reset_seg(struct x86_segreg *r, u16 sel, u64 base, u16 attr)
{
	*r = (struct x86_segreg) { .sel = sel, .base = base, .limit = 0xffff, .attr = attr };
}

/* What INIT leaves alone: TSC, MTRRs, machine check, most MSRs, x87 and SSE state, CR0.CD and NW. */
static void power_up(struct x86_state *s)
{
	s->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
	s->xcr0 = 1;
	s->xss = 0;
	s->pkru = 0;
	s->star = s->lstar = s->cstar = s->sfmask = s->kernel_gs_base = 0;
	s->sysenter_cs = s->sysenter_esp = s->sysenter_eip = 0;
	s->pat = X86_PAT_RESET;
	s->tsc_aux = s->tsc_offset = s->tsc_adjust = 0;
	s->misc_enable = MISC_ENABLE_FAST_STRING | MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL;
	s->smbase = 0x30000;
	s->spec_ctrl = 0;
	s->mtrr_def_type = 0;
	memset(s->mtrr_fixed, 0, sizeof(s->mtrr_fixed));
	memset(s->mtrr_base, 0, sizeof(s->mtrr_base));
	memset(s->mtrr_mask, 0, sizeof(s->mtrr_mask));
	s->mcg_status = s->mcg_ctl = 0;
}

void x86_reset(struct x86_cpu *cpu, bool init)
{
	struct x86_state *s = &cpu->s;

	if (!init)
		power_up(s);
	s->cr0 &= X86_CR0_CD | X86_CR0_NW;
	s->cr0 |= X86_CR0_ET;
	s->cr2 = s->cr3 = s->cr4 = s->efer = 0;
	memset(s->pdpte, 0, sizeof(s->pdpte));

	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[X86_RDX] = cpu->cpuid->signature;
	s->rip = 0xfff0;
	x86_set_rflags(s, X86_FLAG1);
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		reset_seg(&s->seg[i], 0, 0, X86_ATTR_REAL);
	reset_seg(&s->seg[X86_CS], 0xf000, 0xffff0000, X86_ATTR_REAL);
	reset_seg(&s->ldtr, 0, 0, X86_ATTR_P | SYS_LDT);
	reset_seg(&s->tr, 0, 0, X86_ATTR_P | SYS_TSS32_BUSY);
	s->gdtr = s->idtr = (struct x86_dtr) { .limit = 0xffff };
	memset(s->dr, 0, sizeof(s->dr));
	s->dr[6] = X86_DR6_FIXED;
	s->dr[7] = X86_DR7_FIXED;
	s->intr_shadow = s->nmi_masked = s->smm = s->halted = 0;

	cpu->exc = (struct x86_exc) { 0 };
	cpu->monitored = NULL;
	cpu->watch_hits = 0;
	cpu->shutdown = false;
	cpu->debug_shadow = false;
	x86_fpu_reset(cpu, init);
	x86_tlb_flush(cpu, true);
	x86_mode_changed(cpu);
}
