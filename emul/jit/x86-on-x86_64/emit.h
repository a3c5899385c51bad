/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * emit.h - encoding host instructions
 *
 * Code is written through the writable view of the cache; since branches are relative, it reads the same in the
 * executable one. Whoever emits makes sure that there is room before (TRANSLATION_MAX).
 */
#ifndef TENON_JIT_EMIT_H
#define TENON_JIT_EMIT_H

#include "../../guest/x86/block.h"

/* Host registers that are not a guest register's. RSP holds the struct x86_cpu. */
enum { H_RAX, H_RCX, H_RDX, H_RBX, H_CPU, H_RBP, H_RSI, H_RDI, H_R8, H_R9, H_R10, H_R11, H_R12, H_GUEST_RSP,
	H_T0, H_T1, H_NONE = 0xff };

/* Host register of a guest register, H_NONE if it is in memory. */
static inline unsigned int host_reg(unsigned int g)
{
	return g == X86_RSP ? H_GUEST_RSP : g < X86_R13 ? g : H_NONE;
}

struct emit {
	u8 *p;
	bool bmi2;		/* the host has RORX */
	u8 t0;			/* what H_T0 holds, to whoever sets it; 0 once an instruction names the register */
};

/* The operand that ModRM.rm names: a register, or memory. */
struct rm {
	bool mem;
	u8 reg;			/* the register; of memory the base */
	u8 index, scale;	/* index H_NONE: none */
	s32 disp;
};
#define RM_REG(r)		((struct rm){ .reg = (r), .index = H_NONE })
#define RM_MEM(b, d)		((struct rm){ .mem = true, .reg = (b), .index = H_NONE, .disp = (d) })
#define RM_SIB(b, i, s, d)	((struct rm){ .mem = true, .reg = (b), .index = (i), .scale = (s), .disp = (d) })
#define RM_CPU(field)		RM_MEM(H_CPU, (s32)offsetof(struct x86_cpu, field))
#define RM_GPR(g)		RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, s.gpr) + 8 * (g)))

/* How an instruction is encoded, beside its operands. */
struct enc {
	u8 opsz;		/* 0x66 or 0 */
	u8 rep;			/* 0xf2, 0xf3 or 0 */
	bool lock, w;
	bool rex;		/* a REX prefix even if it is empty: SPL..DIL */
	bool vex, l;
	u8 vvvv, pp;		/* VEX only */
	u8 map;			/* enum x86_map */
	u8 op;
};

static inline void put8(struct emit *e, u8 v)
{
	*e->p++ = v;
}
static inline void put32(struct emit *e, u32 v)
{
	memcpy(e->p, &v, 4);
	e->p += 4;
}
static inline void put64(struct emit *e, u64 v)
{
	memcpy(e->p, &v, 8);
	e->p += 8;
}
static inline void put_bytes(struct emit *e, const void *s, unsigned int n)
{
	memcpy(e->p, s, n);
	e->p += n;
}
#define PUT(e, s)	put_bytes(e, s, sizeof(s) - 1)

void put_insn(struct emit *e, const struct enc *c, unsigned int reg, struct rm rm);

/* reg <- rm, rm <- reg and the like: one-byte opcodes, 64 or 32 bits */
static inline void put_op(struct emit *e, u8 op, bool w, unsigned int reg, struct rm rm)
{
	const struct enc c = { .w = w, .op = op };

	put_insn(e, &c, reg, rm);
}
#define OP_ADD_RM	0x03
#define OP_XOR_RM	0x33
#define OP_CMP_RM	0x3b
#define OP_MOV_MR	0x89
#define OP_MOV_RM	0x8b
#define OP_LEA		0x8d

static inline void put_load(struct emit *e, unsigned int reg, struct rm rm)
{
	put_op(e, OP_MOV_RM, true, reg, rm);
}
static inline void put_store(struct emit *e, unsigned int reg, struct rm rm)
{
	put_op(e, OP_MOV_MR, true, reg, rm);
}
static inline void put_move(struct emit *e, unsigned int to, unsigned int from)
{
	put_op(e, OP_MOV_RM, true, to, RM_REG(from));
}
static inline void put_lea(struct emit *e, unsigned int reg, struct rm rm)
{
	put_op(e, OP_LEA, true, reg, rm);
}
/* group 1: /0 ADD, /4 AND, /5 SUB, /7 CMP with a 32-bit immediate */
static inline void put_imm(struct emit *e, unsigned int ext, bool w, struct rm rm, u32 imm)
{
	put_op(e, 0x81, w, ext, rm);
	put32(e, imm);
}
/* MOV reg, imm64 */
static inline void put_const(struct emit *e, unsigned int reg, u64 v)
{
	if (reg == H_T0)
		e->t0 = 0;
	if (v <= 0xffffffff) {
		if (reg >= 8)
			put8(e, 0x41);
		put8(e, 0xb8 | (reg & 7));
		put32(e, (u32)v);
		return;
	}
	put8(e, 0x48 | (reg >= 8));
	put8(e, 0xb8 | (reg & 7));
	put64(e, v);
}

static inline void put_jmp_rm(struct emit *e, struct rm rm)
{
	const struct enc c = { .op = 0xff };

	put_insn(e, &c, 4, rm);
}
/* @reg: the hash of the key in H_T1 by X86_JUMP_SLOT(), times 2, or X86_FAR_SLOT(), of which these are shift and mask. */
static inline void put_hash(struct emit *e, unsigned int reg, u8 shift, u32 mask)
{
	put_move(e, reg, H_T1);
	put_op(e, 0xc1, true, 5, RM_REG(reg));		/* shr */
	put8(e, shift);
	put_op(e, OP_XOR_RM, false, reg, RM_REG(H_T1));
	put_imm(e, 4, false, RM_REG(reg), mask);
}

/* H_T0: the slot of the RIP in H_T1 in a jump cache, times 2. */
static inline void put_jump_hash(struct emit *e)
{
	put_hash(e, H_T0, 12, 2 * (X86_JUMP_SIZE - 1));
}

/* H_T0: the slot of the page of the address in H_T1, in a TLB of @size entries of 32 bytes; destroys EFLAGS. */
static inline void put_page_slot(struct emit *e, u32 size)
{
	const struct enc rorx = { .vex = true, .map = X86_MAP_0F3A, .pp = 3, .op = 0xf0 };

	if (e->bmi2) {
		put_insn(e, &rorx, H_T0, RM_REG(H_T1));
	} else {
		put_move(e, H_T0, H_T1);
		put_op(e, 0xc1, false, 5, RM_REG(H_T0));	/* shr */
	}
	put8(e, EMUL_PAGE_SHIFT - 5);
	put_imm(e, 4, false, RM_REG(H_T0), (size - 1) << 5);
}

/* Branches: the address of the 32-bit displacement is returned, to be set by put_target(). */
static inline u8 *put_jmp(struct emit *e)
{
	put8(e, 0xe9);
	put32(e, 0);
	return e->p - 4;
}
static inline u8 *put_jcc(struct emit *e, unsigned int cc)
{
	put8(e, 0x0f);
	put8(e, 0x80 | cc);
	put32(e, 0);
	return e->p - 4;
}
static inline void put_target(u8 *at, const u8 *target)
{
	s32 rel = (s32)(target - (at + 4));

	memcpy(at, &rel, 4);
}
static inline void put_jmp_to(struct emit *e, const u8 *target)
{
	u8 *at = put_jmp(e);

	put_target(at, target);
}
/* So that the displacement of a branch whose opcode takes @opcode bytes can be replaced atomically. */
static inline void put_branch_align(struct emit *e, unsigned int opcode)
{
	static const char *const nop[] = { "", "\x90", "\x66\x90", "\x0f\x1f\x00" };
	unsigned int n = -((uintptr_t)e->p + opcode) & 3;

	put_bytes(e, nop[n], n);
}

enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

#endif /* TENON_JIT_EMIT_H */
