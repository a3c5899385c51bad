/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * interp.h - what the interpreter's handler files share: register access and the table of operations
 *
 * A file an instruction class (int-*.c, string.c, flow.c, system.c, ...) defines for each of its operations
 *
 *	const struct interp_op interp_ADD = { .fn = { [FORM_RR] = { add_rr8, add_rr16, add_rr32, add_rr64 }, ... } };
 *
 * and interp.c gathers them by ops.def: an operation without a handler does not link.
 */
#ifndef TENON_X86_INTERP_H
#define TENON_X86_INTERP_H

#include "cpu.h"
#include "flags.h"

/* Registers by byte offset into state.gpr (uop.d, uop.s). A 32-bit write clears the upper half, SDM vol. 1. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define GPR_AT(cpu, off, bits)	((u8 *)(cpu)->s.gpr + (off))
#else
#define GPR_AT(cpu, off, bits)	((u8 *)(cpu)->s.gpr + ((off) & ~7) + 8 - (bits) / 8 - ((off) & 7))
#endif

static __always_inline u8 reg8(const struct x86_cpu *cpu, u8 off) { return *GPR_AT(cpu, off, 8); }
static __always_inline u16 reg16(const struct x86_cpu *cpu, u8 off) { return (u16)cpu->s.gpr[off / 8]; }
static __always_inline u32 reg32(const struct x86_cpu *cpu, u8 off) { return (u32)cpu->s.gpr[off / 8]; }
static __always_inline u64 reg64(const struct x86_cpu *cpu, u8 off) { return cpu->s.gpr[off / 8]; }
static __always_inline void set_reg8(struct x86_cpu *cpu, u8 off, u8 v) { *GPR_AT(cpu, off, 8) = v; }
static __always_inline void set_reg16(struct x86_cpu *cpu, u8 off, u16 v)
{
	cpu->s.gpr[off / 8] = (cpu->s.gpr[off / 8] & ~0xffffULL) | v;
}
static __always_inline void set_reg32(struct x86_cpu *cpu, u8 off, u32 v) { cpu->s.gpr[off / 8] = v; }
static __always_inline void set_reg64(struct x86_cpu *cpu, u8 off, u64 v) { cpu->s.gpr[off / 8] = v; }

/* Registers by number, size a parameter. */
static inline u64 gpr_get(const struct x86_cpu *cpu, unsigned int reg, unsigned int size)
{
	return size == 8 ? cpu->s.gpr[reg] : cpu->s.gpr[reg] & (BIT_ULL(size * 8) - 1);
}
static inline void gpr_set(struct x86_cpu *cpu, unsigned int reg, unsigned int size, u64 v)
{
	u64 mask = size >= 4 ? ~0ULL : BIT_ULL(size * 8) - 1;

	if (size == 4)
		v = (u32)v;
	cpu->s.gpr[reg] = (cpu->s.gpr[reg] & ~mask) | (v & mask);
}

/* The stack: by stack-segment size, with its limit checks. Push and pop move rsp only when the access has succeeded. */
bool x86_push(struct x86_cpu *cpu, unsigned int size, u64 val);
bool x86_pop(struct x86_cpu *cpu, unsigned int size, u64 *val);
/* rsp += delta within the stack size. */
static inline void x86_rsp_add(struct x86_cpu *cpu, s64 delta)
{
	u64 *rsp = &cpu->s.gpr[X86_RSP];

	*rsp = (*rsp & ~cpu->stack_mask) | ((*rsp + (u64)delta) & cpu->stack_mask);
}

#define INTERP_DECLARE_INT(name) extern const struct interp_op interp_##name;
#define INTERP_DECLARE_SYS(name) extern const struct interp_op interp_##name;
#define INTERP_DECLARE_XST(name) extern const struct interp_op interp_##name;
#define INTERP_DECLARE_FPU(name)
#define INTERP_DECLARE_VEC(name)
#define X86_OP(name, class) INTERP_DECLARE_##class(name)
#include "ops.def"
#undef X86_OP

#endif /* TENON_X86_INTERP_H */
