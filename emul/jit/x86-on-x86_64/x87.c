// SPDX-License-Identifier: GPL-2.0-only
/*
 * x87.c - x87 instructions, emitted as they are: the unit's state is in the host between instructions anyway
 *
 * jit.missing says that it is there, that CR0 allows it and that all exceptions are masked, so that none can be pending.
 * The pointers to the last instruction and operand are the guest's, noted in state.fpu as the interpreter does.
 */
#include "translate.h"

#define READY	JIT_X87

/* Neither recorded nor able to unmask anything: FNSTSW AX, and FNSTCW and FNSTSW to memory */
static bool stores_control(const struct x86_insn *i)
{
	return i->op == X86_OP_FNSTSW || i->op == X86_OP_FNSTCW;
}

static bool taken(const struct x86_insn *i)
{
	if (x86_op_class[i->op] != X86_CLASS_FPU || i->map != X86_MAP_1 || (i->opcode & 0xf8) != 0xd8)
		return false;
	switch (i->op) {
	case X86_OP_FLDCW: case X86_OP_FNINIT: case X86_OP_FNCLEX: case X86_OP_FNOP:
	case X86_OP_FCMOVB: case X86_OP_FCMOVE: case X86_OP_FCMOVBE: case X86_OP_FCMOVU:
	case X86_OP_FCMOVNB: case X86_OP_FCMOVNE: case X86_OP_FCMOVNBE: case X86_OP_FCMOVNU:
		return false;
	default:
		return true;
	}
}

static void record_selector(struct tr *t, enum x86_seg seg, s32 to)
{
	const struct enc c = { .opsz = 0x66, .op = OP_MOV_MR };
	const struct enc movzx = { .map = X86_MAP_0F, .op = 0xb7 };

	put_insn(&t->e, &movzx, H_T1,
		 RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, s.seg) + seg * sizeof(struct x86_segreg))));
	put_insn(&t->e, &c, H_T1, RM_MEM(H_CPU, to));
}

static void record(struct tr *t, const struct uop *u)
{
	const struct enc c = { .opsz = 0x66, .op = 0xc7 }, movzx = { .map = X86_MAP_0F, .op = 0xb7 };
	const struct x86_insn *i = &u->insn;
	u16 fop = (u16)((i->opcode & 7) << 8 | i->modrm);

	static_assert(offsetof(struct x86_segreg, sel) == 0, "selectors are read at the start of the register");
	put_load(&t->e, H_T1, RM_CPU(s.gpr[X86_REG_RIP]));
	put_lea(&t->e, H_T1, RM_MEM(H_T1, u->off));
	put_store(&t->e, H_T1, RM_CPU(s.fpu.fip));
	put_insn(&t->e, &c, 0, RM_CPU(s.fpu.fop));
	put_bytes(&t->e, &fop, 2);
	record_selector(t, X86_CS, (s32)offsetof(struct x86_cpu, s.fpu.fcs));
	if (!(i->flags & X86_IF_MEM))
		return;
	put_op(&t->e, OP_LEA, i->addrsize == 8, H_T1, tr_ea(t, u));
	if (i->addrsize == 2)
		put_insn(&t->e, &movzx, H_T1, RM_REG(H_T1));
	put_store(&t->e, H_T1, RM_CPU(s.fpu.fdp));
	record_selector(t, i->seg, (s32)offsetof(struct x86_cpu, s.fpu.fds));
}

bool tr_x87(struct tr *t, const struct uop *u)
{
	const struct x86_insn *i = &u->insn;
	const struct x86_row *row = &x86_rows[i->row];
	const struct enc c = { .op = i->opcode };
	bool mem = i->flags & X86_IF_MEM, write = false;
	unsigned int size = 0;

	if (!taken(i) || (mem && !tr_ea_ok(t, u)))
		return false;
	for (unsigned int k = 0; mem && k < ARRAY_SIZE(row->opnd); k++)
		if (row->opnd[k].kind == X86_OK_M || row->opnd[k].kind == X86_OK_E) {
			size = x86_opnd_size(i, &row->opnd[k]);
			write = row->opnd[k].access & X86_WR;
		}
	if (mem && !size)
		return false;
	if (!(t->vec_checked & READY)) {
		const struct enc test = { .op = 0xf6 };

		tr_clobber(t);
		put_insn(&t->e, &test, 0, RM_CPU(jit.missing));
		put8(&t->e, READY);
		tr_slow(t, CC_NE);
		t->vec_checked |= READY;
	}
	if (mem) {
		put_insn(&t->e, &c, i->modrm >> 3 & 7, tr_operand(t, u, size, write));
	} else {
		put8(&t->e, i->opcode);
		put8(&t->e, i->modrm);
	}
	if (!stores_control(i))
		record(t, u);
	if (row->flags & X86_RF_FLAGS_W)
		t->where = t->after ? IN_EFLAGS : NOWHERE;
	return true;
}
