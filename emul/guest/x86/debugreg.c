// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugreg.c - debug registers and breakpoints
 */
#include "system.h"

/*
 * SDM vol. 3 "Debug Status Register": B0..B3 are cleared by nobody but software, so new conditions replace
 * old ones only there.
 */
int x86_raise_db(struct x86_cpu *cpu, u64 dr6)
{
	u64 *reg = &cpu->s.dr[6];

	if (dr6 & 15)
		*reg &= ~15ULL;
	*reg |= (dr6 & X86_DR6_WRITABLE) | X86_DR6_FIXED;
	return x86_raise(cpu, X86_EXC_DB);
}

enum { BP_EXEC, BP_WRITE, BP_IO, BP_ACCESS };

static unsigned int bp_type(const struct x86_cpu *cpu, unsigned int i)
{
	return cpu->s.dr[7] >> (16 + 4 * i) & 3;
}

static unsigned int bp_len(const struct x86_cpu *cpu, unsigned int i)
{
	static const u8 len[4] = { 1, 2, 8, 4 };

	return len[cpu->s.dr[7] >> (18 + 4 * i) & 3];
}

static bool bp_enabled(const struct x86_cpu *cpu, unsigned int i)
{
	return cpu->s.dr[7] >> (2 * i) & 3;
}

u64 x86_code_breakpoints(const struct x86_cpu *cpu, u64 lin)
{
	u64 hit = 0;

	if (cpu->s.rflags & X86_RF)
		return 0;
	for (unsigned int i = 0; i < 4; i++)
		if (bp_enabled(cpu, i) && bp_type(cpu, i) == BP_EXEC && cpu->s.dr[i] == lin)
			hit |= BIT(i);
	return hit;
}

u64 x86_data_breakpoints(const struct x86_cpu *cpu, u64 addr, unsigned int len, bool write, bool io)
{
	u64 hit = 0;

	for (unsigned int i = 0; i < 4; i++) {
		u64 first = cpu->s.dr[i] & ~(u64)(bp_len(cpu, i) - 1);
		bool match;

		if (!bp_enabled(cpu, i))
			continue;
		switch (bp_type(cpu, i)) {
		case BP_WRITE:
			match = write && !io;
			break;
		case BP_IO:
			match = io && (cpu->s.cr4 & X86_CR4_DE);
			break;
		case BP_ACCESS:
			match = !io;
			break;
		default:
			match = false;
			break;
		}
		if (match && addr <= first + bp_len(cpu, i) - 1 && first <= addr + len - 1)
			hit |= BIT(i);
	}
	return hit;
}

u8 x86_watch_debug(const struct x86_cpu *cpu)
{
	u8 watch = 0;

	for (unsigned int i = 0; i < 4; i++) {
		if (!bp_enabled(cpu, i))
			continue;
		switch (bp_type(cpu, i)) {
		case BP_WRITE:
		case BP_ACCESS:
			watch |= X86_WATCH_DATA;
			break;
		case BP_IO:
			watch |= cpu->s.cr4 & X86_CR4_DE ? X86_WATCH_IO : 0;
			break;
		default:
			break;
		}
	}
	return watch;
}

bool x86_code_breakpoint(struct x86_cpu *cpu)
{
	u64 rip = cpu->s.rip, hit;

	if (unlikely(cpu->debug_shadow)) {
		cpu->debug_shadow = false;
		return true;
	}
	/* What the delivery of an event met: a trap before its handler's first instruction */
	if (unlikely(cpu->watch_hits)) {
		if (!x86_debug_trap(cpu, false))
			return false;
		rip = cpu->s.rip;
	}
	hit = x86_code_breakpoints(cpu, cpu->code64 ? rip : (u32)(cpu->s.seg[X86_CS].base + rip));

	/*
	 * RF has served its purpose once the instruction is let through; a fault of its sets RF in the image
	 * anyway.
	 */
	if (cpu->s.rflags & X86_RF) {
		cpu->s.rflags &= ~(u64)X86_RF;
		x86_mode_changed(cpu);
	}
	if (!hit)
		return true;
	x86_raise_db(cpu, hit);
	return x86_deliver_exception(cpu);
}

/*
 * SDM vol. 3 "Single-Step Exception Condition": TF as it was before the instruction counts, but what goes
 * through a gate, or through SYSCALL with TF in its mask, clears TF and takes no trap. "Masking Exceptions
 * and Interrupts": after a load of SS the traps wait; of the single-step trap that of the next instruction is
 * left.
 */
bool x86_debug_trap(struct x86_cpu *cpu, bool step)
{
	enum x86_op op = cpu->u ? cpu->u->insn.op : X86_OP_INVALID;
	u64 hits;

	if (cpu->s.intr_shadow && (op == X86_OP_MOV_TO_SEG || op == X86_OP_POP_SEG)) {
		cpu->debug_shadow = true;
		return true;
	}
	if (op == X86_OP_INT || op == X86_OP_INT3 || op == X86_OP_INTO || op == X86_OP_INT1 ||
	    op == X86_OP_SYSCALL)
		step = step && (cpu->s.rflags & X86_TF);
	hits = cpu->watch_hits | (step ? X86_DR6_BS : 0);
	cpu->watch_hits = 0;
	if (!hits)
		return true;
	x86_raise_db(cpu, hits);
	return x86_deliver_exception(cpu);
}

bool x86_single_step(struct x86_cpu *cpu)
{
	return x86_debug_trap(cpu, true);
}

/* Checks common to both directions; the register number, or -1 with an exception raised. */
static int dr_number(struct x86_cpu *cpu, const struct uop *u)
{
	unsigned int n = u->insn.reg;

	if (n > 7 || ((n == 4 || n == 5) && (cpu->s.cr4 & X86_CR4_DE))) {
		x86_ud(cpu);
		return -1;
	}
	if (cpu->cpl) {
		x86_gp0(cpu);
		return -1;
	}
	if (cpu->s.dr[7] & X86_DR7_GD) {
		x86_raise_db(cpu, X86_DR6_BD);
		return -1;
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

static int mov_from_dr(struct x86_cpu *cpu, const struct uop *u)
{
	int n = dr_number(cpu, u);

	if (n < 0)
		return X86_FAULT;
	gpr_set(cpu, u->insn.rm, cpu->code64 ? 8 : 4, cpu->s.dr[n]);
	return X86_NEXT;
}

static int mov_to_dr(struct x86_cpu *cpu, const struct uop *u)
{
	u64 val = gpr_get(cpu, u->insn.rm, cpu->code64 ? 8 : 4);
	int n = dr_number(cpu, u);

	if (n < 0)
		return X86_FAULT;
	if (n >= 6 && val >> 32)
		return x86_gp0(cpu);
	if (n == 6)
		val = (val & X86_DR6_WRITABLE) | X86_DR6_FIXED;
	if (n == 7)
		val = (val & X86_DR7_WRITABLE) | X86_DR7_FIXED;
	cpu->s.dr[n] = val;
	if (n != 7)
		return X86_NEXT;
	cpu->watch_hits = 0;
	x86_mode_changed(cpu);
	return X86_LEAVE;
}

const struct interp_op interp_MOV_FROM_DR = IOP_ALL(mov_from_dr);
const struct interp_op interp_MOV_TO_DR = IOP_ALL(mov_to_dr);
