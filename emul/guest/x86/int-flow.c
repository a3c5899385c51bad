// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-flow.c - near transfers of control
 *
 * A target that can't be gone to faults before the transfer has had any effect. In 64-bit mode near branches
 * are of 64 bits whatever the prefixes; elsewhere the target is cut to the operand size.
 */
#include "int-common.h"

static __always_inline u64 cut_rip(const struct x86_cpu *cpu, const struct uop *u, u64 rip)
{
	if (likely(cpu->code64))
		return rip;
	return u->insn.opsize == 2 ? rip & 0xffff : rip & 0xffffffff;
}
static __always_inline u64 rel_target(const struct x86_cpu *cpu, const struct uop *u)
{
	return cut_rip(cpu, u, cpu->s.gpr[X86_REG_RIP] + u->off + u->insn.len + u->insn.imm);
}
static __always_inline unsigned int branch_size(const struct x86_cpu *cpu, const struct uop *u)
{
	return cpu->code64 ? 8 : u->insn.opsize == 2 ? 2 : 4;
}

HANDLER(jmp)
{
	return x86_jump(cpu, rel_target(cpu, u));
}
const struct interp_op interp_JMP = IOP_ALL(jmp);

/* Target of an indirect branch: the only operand, in a register or in memory. */
static __always_inline bool indirect_target(struct x86_cpu *cpu, const struct uop *u, u64 *rip)
{
	u64 lin;
	u16 v16;
	u32 v32;

	if (!(u->insn.flags & X86_IF_MEM)) {
		*rip = cut_rip(cpu, u, get64(cpu, u->d));
		return true;
	}
	switch (branch_size(cpu, u)) {
	case 2:
		if (!x86_operand(cpu, u, 2, ACC_READ, &lin) || !x86_load16(cpu, lin, &v16))
			return false;
		*rip = v16;
		return true;
	case 4:
		if (!x86_operand(cpu, u, 4, ACC_READ, &lin) || !x86_load32(cpu, lin, &v32))
			return false;
		*rip = v32;
		return true;
	default:
		return x86_operand(cpu, u, 8, ACC_READ, &lin) && x86_load64(cpu, lin, rip);
	}
}
HANDLER(jmpi)
{
	u64 rip;

	return indirect_target(cpu, u, &rip) ? x86_jump(cpu, rip) : X86_FAULT;
}
const struct interp_op interp_JMPI = IOP_ALL(jmpi);

static __always_inline int call_to(struct x86_cpu *cpu, const struct uop *u, u64 rip)
{
	u64 next = x86_next_rip(cpu, u);

	if (likely(cpu->code64)) {
		if (unlikely(!x86_canonical(rip)))
			return x86_gp0(cpu);
		if (!push64(cpu, next))
			return X86_FAULT;
	} else {
		if (unlikely(rip > cpu->s.seg[X86_CS].limit))
			return x86_gp0(cpu);
		if (!x86_push(cpu, branch_size(cpu, u), next))
			return X86_FAULT;
	}
	cpu->s.rip = rip;
	return X86_JUMP;
}
HANDLER(call)
{
	return call_to(cpu, u, rel_target(cpu, u));
}
HANDLER(calli)
{
	u64 rip;

	return indirect_target(cpu, u, &rip) ? call_to(cpu, u, rip) : X86_FAULT;
}
const struct interp_op interp_CALL = IOP_ALL(call);
const struct interp_op interp_CALLI = IOP_ALL(calli);

HANDLER(ret)
{
	unsigned int size = branch_size(cpu, u);
	u64 rip, sp = cpu->s.gpr[X86_RSP];
	u32 v32;
	u16 v16;

	if (likely(size == 8)) {
		if (!peek64(cpu, sp, &rip))
			return X86_FAULT;
	} else if (size == 4) {
		if (!peek32(cpu, sp, &v32))
			return X86_FAULT;
		rip = v32;
	} else {
		if (!peek16(cpu, sp, &v16))
			return X86_FAULT;
		rip = v16;
	}
	if (x86_jump(cpu, rip) == X86_FAULT)
		return X86_FAULT;
	x86_rsp_add(cpu, size + (u16)u->insn.imm);
	return X86_JUMP;
}
const struct interp_op interp_RET = IOP_ALL(ret);

#define DEF_JCC(n)										\
HANDLER(jcc_##n)										\
{												\
	return cc_test(&cpu->s, n) ? x86_jump(cpu, rel_target(cpu, u)) : X86_NEXT;		\
}
DEF_JCC(0) DEF_JCC(1) DEF_JCC(2) DEF_JCC(3) DEF_JCC(4) DEF_JCC(5) DEF_JCC(6) DEF_JCC(7)
DEF_JCC(8) DEF_JCC(9) DEF_JCC(10) DEF_JCC(11) DEF_JCC(12) DEF_JCC(13) DEF_JCC(14) DEF_JCC(15)
static const uop_fn jcc_by_cc[16] = {
	jcc_0, jcc_1, jcc_2, jcc_3, jcc_4, jcc_5, jcc_6, jcc_7, jcc_8, jcc_9, jcc_10, jcc_11, jcc_12, jcc_13,
		jcc_14, jcc_15,
};
HANDLER(jcc)
{
	return jcc_by_cc[u->insn.opcode & 15](cpu, u);
}
const struct interp_op interp_JCC = {
	.fn = { [FORM_RR] = IOP_SIZES(jcc), [FORM_RI] = IOP_SIZES(jcc), [FORM_MI] = IOP_SIZES(jcc) },
	.cc = jcc_by_cc,
};

/* LOOP: the count, as wide as the address size, is decremented only if the jump can be made. */
static __always_inline int loop_do(struct x86_cpu *cpu, const struct uop *u, bool cond)
{
	u64 count = (cpu->s.gpr[X86_RCX] - 1) & addr_mask(u);
	int next = X86_NEXT;

	if (count && cond)
		next = x86_jump(cpu, rel_target(cpu, u));
	if (next != X86_FAULT)
		gpr_set(cpu, X86_RCX, u->insn.addrsize, count);
	return next;
}
HANDLER(loop)
{
	return loop_do(cpu, u, true);
}
HANDLER(loope)
{
	return loop_do(cpu, u, cc_zf(&cpu->s));
}
HANDLER(loopne)
{
	return loop_do(cpu, u, !cc_zf(&cpu->s));
}
HANDLER(jcxz)
{
	return cpu->s.gpr[X86_RCX] & addr_mask(u) ? X86_NEXT : x86_jump(cpu, rel_target(cpu, u));
}
const struct interp_op interp_LOOP = IOP_ALL(loop);
const struct interp_op interp_LOOPE = IOP_ALL(loope);
const struct interp_op interp_LOOPNE = IOP_ALL(loopne);
const struct interp_op interp_JCXZ = IOP_ALL(jcxz);
