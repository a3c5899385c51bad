/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * system.h - what the system half of the interpreter shares: descriptors, stack frames, transfers, debug
 * registers
 */
#ifndef TENON_X86_SYSTEM_H
#define TENON_X86_SYSTEM_H

#include "interp.h"

/* Selectors, SDM vol. 3 "Segment Selectors" */
#define X86_SEL_RPL	3
#define X86_SEL_TI	4
static inline bool sel_null(u16 sel)
{
	return !(sel & ~X86_SEL_RPL);
}
static inline unsigned int sel_rpl(u16 sel)
{
	return sel & X86_SEL_RPL;
}

/* Segment descriptors as the 8 bytes in memory, SDM vol. 3 "Segment Descriptors" */
static inline u64 desc_base(u64 d)
{
	return (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
}
static inline u32 desc_limit(u64 d)
{
	u32 limit = (u32)(d & 0xffff) | (u32)(d >> 32 & 0xf0000);

	return d & BIT_ULL(55) ? limit << 12 | 0xfff : limit;
}
static inline u16 desc_attr(u64 d)
{
	return d >> 40 & 0xf0ff;
}

/* Fields of struct x86_segreg.attr */
static inline unsigned int attr_type(
	u16 attr) /* with the S bit: 0x10..0x17 data, 0x18..0x1f code, below system */
{
	return attr & (X86_ATTR_S | X86_ATTR_TYPE);
}
static inline unsigned int attr_dpl(u16 attr)
{
	return attr >> X86_ATTR_DPL_SHIFT & 3;
}
static inline bool attr_is_code(u16 attr)
{
	return (attr & (X86_ATTR_S | X86_ATTR_CODE)) == (X86_ATTR_S | X86_ATTR_CODE);
}
static inline bool attr_is_conforming(u16 attr)
{
	return attr & X86_ATTR_E;
}
static inline bool attr_is_wdata(u16 attr)	/* writable data */
{
	return (attr & (X86_ATTR_S | X86_ATTR_CODE | X86_ATTR_W)) == (X86_ATTR_S | X86_ATTR_W);
}
static inline bool attr_is_readable(u16 attr)	/* data, or readable code */
{
	return (attr & X86_ATTR_S) && (attr & (X86_ATTR_CODE | X86_ATTR_W)) != X86_ATTR_CODE;
}

/* System descriptor types, SDM vol. 3 "System Descriptor Types" */
enum x86_systype {
	SYS_TSS16 = 1,
	SYS_LDT = 2,
	SYS_TSS16_BUSY = 3,
	SYS_CALL16 = 4,
	SYS_TASK_GATE = 5,
	SYS_INT16 = 6,
	SYS_TRAP16 = 7,
	SYS_TSS32 = 9,
	SYS_TSS32_BUSY = 11,
	SYS_CALL32 = 12,
	SYS_INT32 = 14,
	SYS_TRAP32 = 15,
	SYS_TSS_BUSY_BIT = 2,
};

/* Attributes of segments that the processor makes up itself */
#define X86_ATTR_REAL	0x0093		/* present, writable data, accessed */
#define X86_ATTR_V86	0x00f3		/* ... of DPL 3 */
#define X86_ATTR_CODE64	0xa09b		/* 4 GiB, L */
#define X86_ATTR_CODE32	0xc09b
#define X86_ATTR_DATA32	0xc093

#define X86_CR0_DEFINED									\
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP |	\
	 X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)

/* DR6, DR7, SDM vol. 3 "Debug Registers" */
#define X86_DR6_FIXED	0xffff0ff0ULL
#define X86_DR6_BD	BIT(13)
#define X86_DR6_BS	BIT(14)
#define X86_DR6_BT	BIT(15)
#define X86_DR6_WRITABLE 0xe00fULL
#define X86_DR7_FIXED	0x400ULL
#define X86_DR7_GD	BIT(13)
#define X86_DR7_ENABLED	0xffULL
#define X86_DR7_WRITABLE 0xffff23ffULL

/* --- descriptors and segment registers (segment.c) --- */

/* Linear address of @off in a descriptor table or TSS: 32 bits outside IA-32e mode. */
static inline u64 x86_table_lin(const struct x86_cpu *cpu, u64 base, u64 off)
{
	return cpu->long_mode ? base + off : (u32)(base + off);
}
enum x86_desc_found { DESC_OK, DESC_OUTSIDE, DESC_FAULT };
/*
 * Find the descriptor of @sel; @high (16-byte system descriptors of IA-32e mode) may be NULL. Nothing raised
 * on OUTSIDE.
 */
enum x86_desc_found x86_desc_find(struct x86_cpu *cpu, u16 sel, u64 *d, u64 *high);
/* The same, raising @vec with the selector and @ext as its error code when outside the table. */
bool x86_desc_read(struct x86_cpu *cpu, u16 sel, enum x86_vector vec, u32 ext, u64 *d, u64 *high);
/* Set the accessed bit of a code or data descriptor, in memory and in *@d. */
bool x86_desc_accessed(struct x86_cpu *cpu, u16 sel, u64 *d);
/* Write the type byte of a system descriptor (busy bit of a TSS). */
bool x86_desc_set_type(struct x86_cpu *cpu, u16 sel, u64 d, unsigned int type);
void x86_seg_fill(struct x86_segreg *r, u16 sel, u64 d);
void x86_seg_null(struct x86_segreg *r, u16 sel, unsigned int dpl);
/* Segment register load as real (or, with VM set in RFLAGS, virtual-8086) mode does it; no checks. */
void x86_seg_real(struct x86_cpu *cpu, enum x86_seg seg, u16 sel);
/* Null DS, ES, FS and GS where the privilege level just entered may not use them. */
void x86_segs_outer(struct x86_cpu *cpu);
/* Is there nothing to check in data accesses to a segment? Writable data, not expand-down, of 4 GiB. */
static inline bool x86_seg_flat(const struct x86_segreg *r)
{
	const u16 attr = X86_ATTR_P | X86_ATTR_CODE | X86_ATTR_E | X86_ATTR_W;

	return r->limit == 0xffffffff && (r->attr & attr) == (X86_ATTR_P | X86_ATTR_W);
}

static inline void x86_flat32_changed(struct x86_cpu *cpu)
{
	const u8 need = BIT(X86_SS) | BIT(X86_DS) | BIT(X86_ES);

	cpu->flat32 = cpu->mode == X86_MODE_32 && (cpu->flat & need) == need && cpu->stack_mask == 0xffffffff &&
		      !(cpu->lin_base[X86_CS] | cpu->lin_base[X86_SS] | cpu->lin_base[X86_DS] | cpu->lin_base[X86_ES]) &&
		      cpu->s.seg[X86_CS].limit == 0xffffffff && x86_protected(cpu);
}

/* Offsets below which data of the segment can be read, or written, without a look at the rest of the descriptor. */
static inline void x86_bound_changed(struct x86_cpu *cpu, enum x86_seg seg)
{
	const struct x86_segreg *r = &cpu->s.seg[seg];
	const u16 attr = r->attr & (X86_ATTR_P | X86_ATTR_CODE | X86_ATTR_E | X86_ATTR_W);
	u64 bound = (u64)r->limit + 1;

	cpu->bound[seg][0] = attr & X86_ATTR_P && !(attr & X86_ATTR_CODE ? ~attr & X86_ATTR_W : attr & X86_ATTR_E) ? bound : 0;
	cpu->bound[seg][1] = attr == (X86_ATTR_P | X86_ATTR_W) ? bound : 0;
}

static inline void x86_code16_changed(struct x86_cpu *cpu)
{
	cpu->code16 = cpu->mode == X86_MODE_16 && cpu->stack_mask == 0xffff && cpu->s.seg[X86_CS].limit == 0xffff;
}

/* Derived state after a load of @seg that changes neither CPL nor mode. */
static inline void x86_seg_changed(struct x86_cpu *cpu, enum x86_seg seg)
{
	cpu->flat = (u8)((cpu->flat & ~BIT(seg)) | x86_seg_flat(&cpu->s.seg[seg]) << seg);
	if (!cpu->code64 || seg >= X86_FS)
		cpu->lin_base[seg] = cpu->s.seg[seg].base;
	if (seg == X86_SS && !cpu->code64)
		cpu->stack_mask = cpu->s.seg[X86_SS].attr & X86_ATTR_DB ? 0xffffffff : 0xffff;
	if (!cpu->code64)
		x86_flat32_changed(cpu);
	if (cpu->mode == X86_MODE_16) {
		x86_code16_changed(cpu);
		x86_bound_changed(cpu, seg);
	}
}
/* A far pointer in memory: offset of the operand size, then the selector. False: exception raised. */
bool x86_load_far_pointer(struct x86_cpu *cpu, const struct uop *u, u64 *off, u16 *sel);
static inline int x86_raise_sel(struct x86_cpu *cpu, enum x86_vector vec, u16 sel, u32 ext)
{
	return x86_raise_err(cpu, vec, (sel & ~X86_SEL_RPL & 0xffff) | ext);
}

/* --- stacks (far.c) --- */

/*
 * A stack that a transfer is about to push its frame on; nothing of the vCPU changes until the transfer is
 * certain.
 */
struct x86_stack {
	struct x86_segreg ss;
	u64 sp, mask;
	u8 cpl;			/* rights of the accesses */
	bool flat;		/* 64-bit: no segment limit */
	u32 error;		/* error code of #SS */
};

/* The stack in use; @ext: EXT bit of faults. */
void x86_stack_current(const struct x86_cpu *cpu, struct x86_stack *st, u32 ext);
/* The stack that the TSS holds for privilege level @cpl, checked as for an inter-privilege transfer. */
bool x86_stack_of_tss(struct x86_cpu *cpu, unsigned int cpl, u32 ext, struct x86_stack *st);
/* Push @n values of @size bytes, val[0] first, after checking that all of them can be. */
bool x86_stack_push(struct x86_cpu *cpu, struct x86_stack *st, const u64 *val, unsigned int n,
		    unsigned int size);
/* Make it the stack in use: SS (if @ss) and RSP. */
void x86_stack_commit(struct x86_cpu *cpu, const struct x86_stack *st, bool ss);
/* Value of @size bytes at @off above the top of the stack in use. */
bool x86_stack_peek(struct x86_cpu *cpu, u64 off, unsigned int size, u64 *val);

/* --- transfers --- */

enum x86_transfer {
	XFER_FAULT, /* a fault is in cpu->exc and nothing has changed */
	XFER_DONE,
	XFER_FAULT_AFTER, /* a task was switched to and its context faults: in cpu->exc, with state.rip the
			     address to push */
};
/* What a handler returns for it: a fault after the switch is delivered in the new task (exception.c). */
int x86_transfer_next(struct x86_cpu *cpu, enum x86_transfer x);
/* Deliver one event, once (exception.c). @rip is pushed. */
enum x86_transfer x86_deliver_event(struct x86_cpu *cpu, const struct x86_exc *e, u64 rip);

enum x86_task_why { TASK_JMP, TASK_CALL, TASK_INT, TASK_IRET };
struct x86_task_switch {
	u16 sel;
	u64 desc;		/* TSS descriptor of sel, already found present and of the right type */
	u64 rip;		/* where the outgoing task will go on */
	enum x86_task_why why;
	bool has_error;		/* push @error on the new task's stack */
	u32 error;
	u32 ext;
};
enum x86_transfer x86_task_switch(struct x86_cpu *cpu, const struct x86_task_switch *sw);	/* task.c */
/*
 * Find the TSS that a task gate or a transfer names; false: exception raised. @iret: it must be busy, else
 * available.
 */
bool x86_task_find(struct x86_cpu *cpu, u16 sel, bool iret, u32 ext, u64 *d);

/* --- privilege, flags --- */

static inline void x86_set_zf(struct x86_cpu *cpu, bool zf)
{
	cc_set(&cpu->s, (cc_get(&cpu->s) & ~(u64)X86_ZF) | (zf ? X86_ZF : 0));
}
/* The TLB in use, by CPL, SMAP and cpu->watch. */
static inline void x86_tlb_select(struct x86_cpu *cpu)
{
	bool smap = (cpu->s.cr4 & X86_CR4_SMAP) && !(cpu->s.rflags & X86_AC);

	cpu->tlb_mode = cpu->cpl == 3 ? TLB_USER : smap ? TLB_KERNEL : TLB_KERNEL_AC;
	cpu->tlb = unlikely(cpu->watch & (X86_WATCH_DATA | X86_WATCH_ALIGN)) ? &cpu->tlb_none :
									      &cpu->tlbs[cpu->tlb_mode];
}
/* Operand E of 16 bits: register or memory. */
static inline bool x86_read_ew(struct x86_cpu *cpu, const struct uop *u, u16 *val)
{
	u64 lin;

	if (!(u->insn.flags & X86_IF_MEM)) {
		*val = (u16)cpu->s.gpr[u->insn.rm];
		return true;
	}
	return x86_operand(cpu, u, 2, ACC_READ, &lin) && x86_load16(cpu, lin, val);
}
/* A 16-bit system value to E: 16 bits to memory, zero-extended to the operand size to a register. */
static inline int x86_write_ew(struct x86_cpu *cpu, const struct uop *u, u64 val)
{
	u64 lin;

	if (!(u->insn.flags & X86_IF_MEM)) {
		gpr_set(cpu, u->insn.rm, u->insn.opsize, val);
		return X86_NEXT;
	}
	if (!x86_operand(cpu, u, 2, ACC_WRITE, &lin) || !x86_store16(cpu, lin, (u16)val))
		return X86_FAULT;
	return X86_NEXT;
}

/* --- debug (debugreg.c) --- */

/*
 * #DB for the conditions @dr6 (B0..B3, BD, BS, BT); returns X86_FAULT. For a trap, rip is the next
 * instruction's.
 */
int x86_raise_db(struct x86_cpu *cpu, u64 dr6);
/*
 * Code breakpoints on the instruction at linear address @lin: bits B0..B3 of those enabled, 0 if none or RF
 * is set.
 */
u64 x86_code_breakpoints(const struct x86_cpu *cpu, u64 lin);
/* Data breakpoints hit by an access; @io: a port. */
u64 x86_data_breakpoints(const struct x86_cpu *cpu, u64 addr, unsigned int len, bool write, bool io);
/* X86_WATCH_DATA and X86_WATCH_IO as DR7 and CR4.DE have it */
u8 x86_watch_debug(const struct x86_cpu *cpu);

#endif /* TENON_X86_SYSTEM_H */
