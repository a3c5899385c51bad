// SPDX-License-Identifier: GPL-2.0-only
/*
 * system.c - system instructions without a larger subject: interrupt flag, halt, caches, counters, undefined
 * opcodes
 */
#include <time.h>

#include "system.h"

static int undefined(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	return x86_ud(cpu);
}

/* --- interrupts and waiting --- */

/*
 * What CLI and STI change, SDM vol. 2 "CLI", "STI" and vol. 3 "Interrupt and Exception Handling in
 * Virtual-8086 Mode", "Protected-Mode Virtual Interrupts": IF, with CR4.VME and PVI its image VIF, or 0:
 * nothing, #GP.
 */
static u64 interrupt_flag(const struct x86_cpu *cpu)
{
	if (!(cpu->s.cr0 & X86_CR0_PE) || cpu->cpl <= x86_iopl(cpu))
		return X86_IF;
	if (cpu->s.rflags & X86_VM)
		return cpu->s.cr4 & X86_CR4_VME ? X86_VIF : 0;
	return cpu->cpl == 3 && (cpu->s.cr4 & X86_CR4_PVI) ? X86_VIF : 0;
}

static int cli(struct x86_cpu *cpu, const struct uop *u)
{
	u64 flag = interrupt_flag(cpu);

	(void)u;
	if (!flag)
		return x86_gp0(cpu);
	cpu->s.rflags &= ~flag;
	return X86_NEXT;
}

/* Interrupts wait for the following instruction, but only after a change from 0: SDM vol. 2 "STI". */
static int sti(struct x86_cpu *cpu, const struct uop *u)
{
	u64 flag = interrupt_flag(cpu);

	(void)u;
	if (!flag || (flag == X86_VIF && (cpu->s.rflags & X86_VIP)))
		return x86_gp0(cpu);
	if (cpu->s.rflags & flag)
		return X86_NEXT;
	cpu->s.rflags |= flag;
	if (flag == X86_VIF)
		return X86_NEXT;
	cpu->s.intr_shadow = 1;
	return X86_LEAVE;
}

static int hlt(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	if (cpu->cpl)
		return x86_gp0(cpu);
	cpu->s.halted = 1;
	return X86_LEAVE;
}

#define MONITOR_LINE	64
#define MWAIT_POLL_NS	50000

/* SDM vol. 2 "MONITOR". A line that is no RAM is not watched: the MWAIT that follows does not wait. */
static int monitor(struct x86_cpu *cpu, const struct uop *u)
{
	u64 lin;
	u8 byte;

	if (cpu->cpl)
		return x86_ud(cpu);
	if ((u32)cpu->s.gpr[X86_RCX])
		return x86_gp0(cpu);
	if (!x86_linear(cpu, u->insn.seg, cpu->s.gpr[X86_RAX] & u->ea_mask, 1, ACC_READ, &lin) ||
	    !x86_load8(cpu, lin, &byte))
		return X86_FAULT;
	cpu->monitored = x86_host_ptr(cpu, lin & ~(u64)(MONITOR_LINE - 1), MONITOR_LINE, ACC_READ);
	if (cpu->monitored)
		memcpy(cpu->monitor_was, cpu->monitored, MONITOR_LINE);
	return X86_NEXT;
}

/*
 * SDM vol. 2 "MWAIT". Stores are not watched but looked for: a value stored that was there before is missed, until an
 * interrupt comes. ECX[0]: one that IF holds back ends the wait, too.
 */
static int mwait(struct x86_cpu *cpu, const struct uop *u)
{
	const struct timespec poll = { .tv_nsec = MWAIT_POLL_NS };
	u32 ecx = (u32)cpu->s.gpr[X86_RCX];

	(void)u;
	if (cpu->cpl)
		return x86_ud(cpu);
	if (ecx & ~1U)
		return x86_gp0(cpu);
	while (cpu->monitored && !memcmp(cpu->monitored, cpu->monitor_was, MONITOR_LINE) &&
	       !atomic_load(&cpu->core.request) && !(cpu->intr_waiting && (ecx & 1 || cpu->s.rflags & X86_IF)))
		nanosleep(&poll, NULL);
	cpu->monitored = NULL;
	return X86_LEAVE;
}

/* --- caches and TLBs --- */

static int cpl0_nop(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	return cpu->cpl ? x86_gp0(cpu) : X86_NEXT;
}

static int invlpg(struct x86_cpu *cpu, const struct uop *u)
{
	u64 ea;

	if (!(u->insn.flags & X86_IF_MEM))
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	/* No limit is checked, and an address that isn't canonical is ignored: SDM vol. 2 "INVLPG". */
	ea = x86_ea(cpu, u) + cpu->lin_base[u->insn.seg];
	if (!cpu->code64)
		ea &= 0xffffffff;
	if (x86_canonical(ea))
		x86_tlb_flush_page(cpu, ea);
	return X86_LEAVE;
}

/* SDM vol. 2 "INVPCID". Entries are held of the present PCID only, whose number thus doesn't matter. */
static int invpcid(struct x86_cpu *cpu, const struct uop *u)
{
	u64 type = gpr_get(cpu, u->insn.reg, cpu->code64 ? 8 : 4), lin, pcid, addr;

	if (cpu->cpl)
		return x86_gp0(cpu);
	if (!x86_operand(cpu, u, 16, ACC_READ, &lin) || !x86_load64(cpu, lin, &pcid) ||
	    !x86_load64(cpu, x86_table_lin(cpu, lin, 8), &addr))
		return X86_FAULT;
	if (type > 3 || pcid >> 12)
		return x86_gp0(cpu);
	if (type < 2 && pcid && !(cpu->s.cr4 & X86_CR4_PCIDE))
		return x86_gp0(cpu);
	if (type == 0) {
		if (!x86_canonical(addr))
			return x86_gp0(cpu);
		x86_tlb_flush_page(cpu, cpu->long_mode ? addr : (u32)addr);
	} else {
		x86_tlb_flush(cpu, type == 2);
	}
	return X86_LEAVE;
}

/* --- counters --- */

u64 x86_tsc(struct x86_cpu *cpu)
{
	const struct emul_vm *vm = cpu->core.vm;

	return emul_nondet(&cpu->core, EMUL_INPUT_TSC, vm->ops->tsc(vm->opaque, &cpu->core)) +
	       cpu->s.tsc_offset;
}

static int rdtsc(struct x86_cpu *cpu, const struct uop *u)
{
	u64 tsc;

	(void)u;
	if (!x86_has(cpu, X86_FEAT_TSC))
		return x86_ud(cpu);
	if (cpu->cpl && (cpu->s.cr4 & X86_CR4_TSD))
		return x86_gp0(cpu);
	tsc = x86_tsc(cpu);
	cpu->s.gpr[X86_RAX] = (u32)tsc;
	cpu->s.gpr[X86_RDX] = tsc >> 32;
	return X86_NEXT;
}

static int rdtscp(struct x86_cpu *cpu, const struct uop *u)
{
	if (!x86_has(cpu, X86_FEAT_RDTSCP))
		return x86_ud(cpu);
	if (rdtsc(cpu, u) == X86_FAULT)
		return X86_FAULT;
	cpu->s.gpr[X86_RCX] = (u32)cpu->s.tsc_aux;
	return X86_NEXT;
}

static int rdpid(struct x86_cpu *cpu, const struct uop *u)
{
	if (!x86_has(cpu, X86_FEAT_RDPID))
		return x86_ud(cpu);
	gpr_set(cpu, u->insn.rm, cpu->code64 ? 8 : 4, cpu->s.tsc_aux);
	return X86_NEXT;
}

/* No performance counter is offered: every index is invalid. */
static int rdpmc(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	return x86_gp0(cpu);
}

/* --- model-specific registers, CPUID --- */

static int rdmsr(struct x86_cpu *cpu, const struct uop *u)
{
	u64 val;

	(void)u;
	if (cpu->cpl || !x86_msr_read(cpu, (u32)cpu->s.gpr[X86_RCX], &val))
		return x86_gp0(cpu);
	cpu->s.gpr[X86_RAX] = (u32)val;
	cpu->s.gpr[X86_RDX] = val >> 32;
	return X86_NEXT;
}

static int wrmsr(struct x86_cpu *cpu, const struct uop *u)
{
	u64 val = (u32)cpu->s.gpr[X86_RAX] | cpu->s.gpr[X86_RDX] << 32;

	(void)u;
	if (cpu->cpl || !x86_msr_write(cpu, (u32)cpu->s.gpr[X86_RCX], val))
		return x86_gp0(cpu);
	return X86_LEAVE;
}

static int cpuid(struct x86_cpu *cpu, const struct uop *u)
{
	struct x86_cpuid_leaf l;

	(void)u;
	x86_cpuid(cpu, (u32)cpu->s.gpr[X86_RAX], (u32)cpu->s.gpr[X86_RCX], &l);
	cpu->s.gpr[X86_RAX] = l.eax;
	cpu->s.gpr[X86_RBX] = l.ebx;
	cpu->s.gpr[X86_RCX] = l.ecx;
	cpu->s.gpr[X86_RDX] = l.edx;
	return X86_NEXT;
}

/* --- SMAP, protection keys --- */

static int set_ac(struct x86_cpu *cpu, u64 ac)
{
	if (!x86_has(cpu, X86_FEAT_SMAP) || cpu->cpl)
		return x86_ud(cpu);
	cpu->s.rflags = (cpu->s.rflags & ~(u64)X86_AC) | ac;
	x86_tlb_select(cpu);
	return X86_NEXT;
}

static int clac(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	return set_ac(cpu, 0);
}

static int stac(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	return set_ac(cpu, X86_AC);
}

static int rdpkru(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	if (!(cpu->s.cr4 & X86_CR4_PKE))
		return x86_ud(cpu);
	if ((u32)cpu->s.gpr[X86_RCX])
		return x86_gp0(cpu);
	cpu->s.gpr[X86_RAX] = cpu->s.pkru;
	cpu->s.gpr[X86_RDX] = 0;
	return X86_NEXT;
}

static int wrpkru(struct x86_cpu *cpu, const struct uop *u)
{
	(void)u;
	if (!(cpu->s.cr4 & X86_CR4_PKE))
		return x86_ud(cpu);
	if ((u32)cpu->s.gpr[X86_RCX] || (u32)cpu->s.gpr[X86_RDX])
		return x86_gp0(cpu);
	x86_set_pkru(cpu, (u32)cpu->s.gpr[X86_RAX]);
	return X86_NEXT;
}

/* --- ports --- */

/* SDM vol. 1 "I/O Permission Bit Map" */
bool x86_io_allowed(struct x86_cpu *cpu, u16 port, unsigned int len)
{
	const struct x86_segreg *tr = &cpu->s.tr;
	u64 map, bits;
	u32 off;

	if (!(cpu->s.cr0 & X86_CR0_PE) || (!(cpu->s.rflags & X86_VM) && cpu->cpl <= x86_iopl(cpu)))
		return true;
	if (!(tr->attr & X86_ATTR_P) || !(attr_type(tr->attr) & 8) || tr->limit < 0x67)
		goto gp;
	if (!x86_sys_load(cpu, x86_table_lin(cpu, tr->base, 0x66), 2, &map))
		return false;
	/* Two bytes are always read, so that an access may straddle them. */
	off = (u32)map + port / 8;
	if (off + 1 > tr->limit)
		goto gp;
	if (!x86_sys_load(cpu, x86_table_lin(cpu, tr->base, off), 2, &bits))
		return false;
	if (!(bits >> (port % 8) & (BIT(len) - 1)))
		return true;
gp:
	x86_gp0(cpu);
	return false;
}

const struct interp_op interp_INVALID = IOP_ALL(undefined);
const struct interp_op interp_UD0 = IOP_ALL(undefined);
const struct interp_op interp_UD1 = IOP_ALL(undefined);
const struct interp_op interp_UD2 = IOP_ALL(undefined);
const struct interp_op interp_VMCALL = IOP_ALL(undefined);	/* outside VMX operation */
const struct interp_op interp_VMMCALL = IOP_ALL(undefined);
const struct interp_op interp_CLI = IOP_ALL(cli);
const struct interp_op interp_STI = IOP_ALL(sti);
const struct interp_op interp_HLT = IOP_ALL(hlt);
const struct interp_op interp_MONITOR = IOP_ALL(monitor);
const struct interp_op interp_MWAIT = IOP_ALL(mwait);
const struct interp_op interp_INVD = IOP_ALL(cpl0_nop);
const struct interp_op interp_WBINVD = IOP_ALL(cpl0_nop);
const struct interp_op interp_INVPCID = IOP_ALL(invpcid);
const struct interp_op interp_INVLPG = IOP_ALL(invlpg);
const struct interp_op interp_RDTSC = IOP_ALL(rdtsc);
const struct interp_op interp_RDTSCP = IOP_ALL(rdtscp);
const struct interp_op interp_RDPID = IOP_ALL(rdpid);
const struct interp_op interp_RDPMC = IOP_ALL(rdpmc);
const struct interp_op interp_RDMSR = IOP_ALL(rdmsr);
const struct interp_op interp_WRMSR = IOP_ALL(wrmsr);
const struct interp_op interp_CPUID = IOP_ALL(cpuid);
const struct interp_op interp_CLAC = IOP_ALL(clac);
const struct interp_op interp_STAC = IOP_ALL(stac);
const struct interp_op interp_RDPKRU = IOP_ALL(rdpkru);
const struct interp_op interp_WRPKRU = IOP_ALL(wrpkru);
