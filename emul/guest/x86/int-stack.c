// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-stack.c - PUSH, POP and their kin; the stack primitives that other handlers use
 *
 * The stack pointer is as wide as the stack segment says (stack_mask), the items as wide as the operand size.
 */
#include "int-common.h"

bool x86_push(struct x86_cpu *cpu, unsigned int size, u64 val)
{
	switch (size) {
	case 2:
		return push16(cpu, (u16)val);
	case 4:
		return push32(cpu, (u32)val);
	default:
		return push64(cpu, val);
	}
}

static bool peek(struct x86_cpu *cpu, u64 sp, unsigned int size, u64 *val)
{
	u16 v16;
	u32 v32;

	switch (size) {
	case 2:
		if (!peek16(cpu, sp, &v16))
			return false;
		*val = v16;
		return true;
	case 4:
		if (!peek32(cpu, sp, &v32))
			return false;
		*val = v32;
		return true;
	default:
		return peek64(cpu, sp, val);
	}
}

bool x86_pop(struct x86_cpu *cpu, unsigned int size, u64 *val)
{
	if (!peek(cpu, cpu->s.gpr[X86_RSP], size, val))
		return false;
	x86_rsp_add(cpu, size);
	return true;
}

/* Store @val at @sp in the stack segment, the stack pointer untouched. */
static bool poke(struct x86_cpu *cpu, u64 sp, unsigned int size, u64 val)
{
	u64 lin;

	if (!x86_linear(cpu, X86_SS, sp & cpu->stack_mask, size, ACC_WRITE, &lin))
		return false;
	switch (size) {
	case 2:
		return x86_store16(cpu, lin, (u16)val);
	case 4:
		return x86_store32(cpu, lin, (u32)val);
	default:
		return x86_store64(cpu, lin, val);
	}
}

#define PUSH_REG(name, form, rhs, bits)								\
SLOW(name##_##form##bits)									\
{												\
	return push##bits(cpu, rhs) ? X86_NEXT : X86_FAULT;					\
}												\
HANDLER(name##_##form##bits)									\
{												\
	u64 sp = cpu->s.gpr[X86_RSP] - (bits) / 8;						\
	void *p = fast_ptr(cpu, sp, bits, true);						\
												\
	if (unlikely(!p))									\
		return name##_##form##bits##_slow(cpu, u);					\
	emul_write##bits(p, rhs);								\
	cpu->s.gpr[X86_RSP] = sp;								\
	return X86_NEXT;									\
}
#define DEF_PUSH(name, bits)									\
PUSH_REG(name, rr, get##bits(cpu, u->d), bits)							\
PUSH_REG(name, ri, (u##bits)u->insn.imm, bits)							\
HANDLER(name##_mr##bits)									\
{												\
	u##bits v;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &v))	\
		return X86_FAULT;								\
	return push##bits(cpu, v) ? X86_NEXT : X86_FAULT;					\
}
V_SIZES(DEF_PUSH, push)
const struct interp_op interp_PUSH = { .fn = {
	[FORM_RR] = BY_SIZE_V(push_rr), [FORM_RI] = BY_SIZE_V(push_ri), [FORM_MR] = BY_SIZE_V(push_mr),
} };

/*
 * A POP into rSP leaves the value popped there. The address of a memory destination is computed with rSP
 * already incremented, SDM vol. 2 "POP"; a fault takes the increment back.
 */
#define DEF_POP(name, bits)									\
SLOW(name##_rr##bits)										\
{												\
	u##bits v;										\
												\
	if (!peek##bits(cpu, cpu->s.gpr[X86_RSP], &v))						\
		return X86_FAULT;								\
	x86_rsp_add(cpu, (bits) / 8);								\
	put##bits(cpu, u->d, v);								\
	return X86_NEXT;									\
}												\
HANDLER(name##_rr##bits)									\
{												\
	const void *p = fast_ptr(cpu, cpu->s.gpr[X86_RSP], bits, false);			\
	u##bits v;										\
												\
	if (unlikely(!p))									\
		return name##_rr##bits##_slow(cpu, u);						\
	v = emul_read##bits(p);									\
	cpu->s.gpr[X86_RSP] += (bits) / 8;							\
	put##bits(cpu, u->d, v);								\
	return X86_NEXT;									\
}												\
HANDLER(name##_mr##bits)									\
{												\
	u64 rsp = cpu->s.gpr[X86_RSP], lin;							\
	u##bits v;										\
												\
	if (!peek##bits(cpu, rsp, &v))								\
		return X86_FAULT;								\
	x86_rsp_add(cpu, (bits) / 8);								\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_WRITE, &lin) || !x86_store##bits(cpu, lin, v)) { \
		cpu->s.gpr[X86_RSP] = rsp;							\
		return X86_FAULT;								\
	}											\
	return X86_NEXT;									\
}
V_SIZES(DEF_POP, pop)
const struct interp_op interp_POP = { .fn = {
	[FORM_RR] = BY_SIZE_V(pop_rr), [FORM_MR] = BY_SIZE_V(pop_mr),
} };

/*
 * A fault part of the way leaves what was stored below the stack pointer, which has not moved: it is done
 * again.
 */
HANDLER(pusha)
{
	unsigned int size = u->insn.opsize, reg;
	u64 rsp = cpu->s.gpr[X86_RSP];

	for (reg = X86_RAX; reg <= X86_RDI; reg++)
		if (!poke(cpu, rsp - (reg + 1) * size, size, cpu->s.gpr[reg]))
			return X86_FAULT;
	x86_rsp_add(cpu, -8 * (s64)size);
	return X86_NEXT;
}
HANDLER(popa)
{
	unsigned int size = u->insn.opsize, reg;
	u64 val[8];

	for (reg = X86_RAX; reg <= X86_RDI; reg++)
		if (!peek(cpu, cpu->s.gpr[X86_RSP] + (7 - reg) * size, size, &val[reg]))
			return X86_FAULT;
	for (reg = X86_RAX; reg <= X86_RDI; reg++)
		if (reg != X86_RSP)
			gpr_set(cpu, reg, size, val[reg]);
	x86_rsp_add(cpu, 8 * size);
	return X86_NEXT;
}
const struct interp_op interp_PUSHA = IOP_ALL(pusha);
const struct interp_op interp_POPA = IOP_ALL(popa);

/*
 * In virtual-8086 mode PUSHF and POPF are for IOPL 3 only, SDM vol. 3 "Sensitive Instructions"; with CR4.VME
 * those of 16 bits show and change VIF in the place of IF.
 */
static bool flags_sensitive(const struct x86_cpu *cpu)
{
	return (cpu->s.rflags & X86_VM) && x86_iopl(cpu) < 3;
}
static bool flags_virtual(const struct x86_cpu *cpu, const struct uop *u)
{
	return (cpu->s.cr4 & X86_CR4_VME) && u->insn.opsize == 2;
}

HANDLER(pushf)
{
	u64 val = x86_get_rflags(&cpu->s) & ~(u64)(X86_VM | X86_RF);

	if (flags_sensitive(cpu)) {
		if (!flags_virtual(cpu, u))
			return x86_gp0(cpu);
		val = (val & ~(u64)X86_IF) | X86_IOPL | (val & X86_VIF ? X86_IF : 0);
	}
	return x86_push(cpu, u->insn.opsize, val) ? X86_NEXT : X86_FAULT;
}

/* Which flags change is in SDM vol. 2 "POPF", table "Effect of POPF/POPFD on the EFLAGS Register". */
HANDLER(popf)
{
	u64 mask = X86_ARITH | X86_TF | X86_DF | X86_NT | X86_AC | X86_ID, old = cpu->s.rflags, val;
	u64 rsp = cpu->s.gpr[X86_RSP];
	bool virtual = flags_sensitive(cpu);

	if (virtual && !flags_virtual(cpu, u))
		return x86_gp0(cpu);
	if (!x86_pop(cpu, u->insn.opsize, &val))
		return X86_FAULT;
	if (virtual) {
		if ((val & X86_TF) || ((val & X86_IF) && (old & X86_VIP))) {
			cpu->s.gpr[X86_RSP] = rsp;
			return x86_gp0(cpu);
		}
		val |= val & X86_IF ? X86_VIF : 0;
	}
	if (cpu->cpl == 0)
		mask |= X86_IOPL;
	if (cpu->cpl <= x86_iopl(cpu))
		mask |= X86_IF;
	if (u->insn.opsize == 2)
		mask &= 0xffff;
	if (virtual)
		mask |= X86_VIF;
	x86_set_rflags(&cpu->s, (val & mask) | (old & ~mask & ~(u64)X86_RF));
	if ((old ^ cpu->s.rflags) & (X86_AC | X86_TF))
		x86_mode_changed(cpu);
	return (old ^ cpu->s.rflags) & ~(u64)(X86_DF | X86_NT | X86_ID) ? X86_LEAVE : X86_NEXT;
}
const struct interp_op interp_PUSHF = IOP_ALL(pushf);
const struct interp_op interp_POPF = IOP_ALL(popf);

/*
 * ENTER: rBP is pushed, then level - 1 frame pointers of the enclosing frames are copied, then the new
 * frame's own. All on copies of the registers: a fault leaves them alone. The new top of the stack must be
 * writable.
 */
HANDLER(enter)
{
	unsigned int size = u->insn.opsize, level = u->insn.imm2 & 31, i;
	u64 sp = cpu->s.gpr[X86_RSP] - size, bp = cpu->s.gpr[X86_RBP], frame = sp, val, lin;

	if (!poke(cpu, sp, size, bp))
		return X86_FAULT;
	for (i = 1; i < level; i++) {
		bp -= size;
		sp -= size;
		if (!peek(cpu, bp, size, &val) || !poke(cpu, sp, size, val))
			return X86_FAULT;
	}
	if (level) {
		sp -= size;
		if (!poke(cpu, sp, size, frame))
			return X86_FAULT;
	}
	sp -= (u16)u->insn.imm;
	if (!x86_linear(cpu, X86_SS, sp & cpu->stack_mask, size, ACC_WRITE, &lin) ||
	    !x86_probe(cpu, lin, size, ACC_WRITE))
		return X86_FAULT;
	frame = (cpu->s.gpr[X86_RSP] & ~cpu->stack_mask) | (frame & cpu->stack_mask);
	gpr_set(cpu, X86_RBP, size, frame);
	x86_rsp_add(cpu, (s64)(sp - cpu->s.gpr[X86_RSP]));
	return X86_NEXT;
}
HANDLER(leave)
{
	unsigned int size = u->insn.opsize;
	u64 bp = cpu->s.gpr[X86_RBP], val;

	if (!peek(cpu, bp, size, &val))
		return X86_FAULT;
	x86_rsp_add(cpu, (s64)(bp + size - cpu->s.gpr[X86_RSP]));
	gpr_set(cpu, X86_RBP, size, val);
	return X86_NEXT;
}
const struct interp_op interp_ENTER = IOP_ALL(enter);
const struct interp_op interp_LEAVE = IOP_ALL(leave);
