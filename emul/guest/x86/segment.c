// SPDX-License-Identifier: GPL-2.0-only
/*
 * segment.c - descriptors, segment registers and the instructions that load, store and verify them
 */
#include "system.h"

/* --- descriptors --- */

static bool desc_addr(const struct x86_cpu *cpu, u16 sel, unsigned int bytes, u64 *lin)
{
	u32 off = sel & 0xfff8;

	if (sel & X86_SEL_TI) {
		if (!(cpu->s.ldtr.attr & X86_ATTR_P) || off + bytes - 1 > cpu->s.ldtr.limit)
			return false;
		*lin = x86_table_lin(cpu, cpu->s.ldtr.base, off);
	} else {
		if (off + bytes - 1 > cpu->s.gdtr.limit)
			return false;
		*lin = x86_table_lin(cpu, cpu->s.gdtr.base, off);
	}
	return true;
}

enum x86_desc_found x86_desc_find(struct x86_cpu *cpu, u16 sel, u64 *d, u64 *high)
{
	u64 lin;

	if (!desc_addr(cpu, sel, 8, &lin))
		return DESC_OUTSIDE;
	if (!x86_sys_load(cpu, lin, 8, d))
		return DESC_FAULT;
	if (!high)
		return DESC_OK;
	*high = 0;
	if (!cpu->long_mode || (*d & BIT_ULL(44)))
		return DESC_OK;
	if (!desc_addr(cpu, sel, 16, &lin))
		return DESC_OUTSIDE;
	return x86_sys_load(cpu, lin + 8, 8, high) ? DESC_OK : DESC_FAULT;
}

bool x86_desc_read(struct x86_cpu *cpu, u16 sel, enum x86_vector vec, u32 ext, u64 *d, u64 *high)
{
	enum x86_desc_found found = x86_desc_find(cpu, sel, d, high);

	if (found == DESC_OUTSIDE)
		x86_raise_sel(cpu, vec, sel, ext);
	return found == DESC_OK;
}

bool x86_desc_set_type(struct x86_cpu *cpu, u16 sel, u64 d, unsigned int type)
{
	u64 lin;

	if (!desc_addr(cpu, sel, 8, &lin)) {
		x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
		return false;
	}
	return x86_sys_store(cpu, lin + 5, 1, (d >> 40 & 0xf0) | type);
}

bool x86_desc_accessed(struct x86_cpu *cpu, u16 sel, u64 *d)
{
	if (*d & BIT_ULL(40))
		return true;
	*d |= BIT_ULL(40);
	return x86_desc_set_type(cpu, sel, *d, *d >> 40 & 0xf);
}

void x86_seg_fill(struct x86_segreg *r, u16 sel, u64 d)
{
	r->sel = sel;
	r->attr = desc_attr(d);
	r->limit = desc_limit(d);
	r->base = desc_base(d);
}

void x86_seg_null(struct x86_segreg *r, u16 sel, unsigned int dpl)
{
	*r = (struct x86_segreg) { .sel = sel, .attr = dpl << X86_ATTR_DPL_SHIFT };
}

/*
 * Real mode changes the base alone: limit and size stay what protected mode left there ("unreal" mode counts
 * on it). Virtual-8086 mode sets everything, SDM vol. 3 "Virtual-8086 Mode: Segment Registers".
 */
void x86_seg_real(struct x86_cpu *cpu, enum x86_seg seg, u16 sel)
{
	struct x86_segreg *r = &cpu->s.seg[seg];

	r->sel = sel;
	r->base = (u32)sel << 4;
	if (cpu->s.rflags & X86_VM) {
		r->limit = 0xffff;
		r->attr = X86_ATTR_V86;
		return;
	}
	if (!(r->attr & X86_ATTR_P)) {
		r->limit = 0xffff;
		r->attr = 0;
	}
	r->attr = (r->attr & (X86_ATTR_DB | X86_ATTR_G)) | X86_ATTR_REAL;
}

void x86_segs_outer(struct x86_cpu *cpu)
{
	static const u8 segs[] = { X86_ES, X86_DS, X86_FS, X86_GS };
	unsigned int cpl = attr_dpl(cpu->s.seg[X86_SS].attr);

	for (unsigned int i = 0; i < ARRAY_SIZE(segs); i++) {
		struct x86_segreg *r = &cpu->s.seg[segs[i]];

		if (!(r->attr & X86_ATTR_P) || attr_dpl(r->attr) >= cpl)
			continue;
		if (attr_is_code(r->attr) && attr_is_conforming(r->attr))
			continue;
		r->sel = 0;
		r->attr = 0;
	}
}

/* SDM vol. 2 "MOV", loading SS in protected mode */
static int load_ss(struct x86_cpu *cpu, u16 sel)
{
	u64 d;
	u16 attr;

	if (sel_null(sel)) {
		if (!cpu->code64 || cpu->cpl == 3 || sel_rpl(sel) != cpu->cpl)
			return x86_gp0(cpu);
		x86_seg_null(&cpu->s.seg[X86_SS], sel, cpu->cpl);
		x86_seg_changed(cpu, X86_SS);
		return X86_NEXT;
	}
	if (!x86_desc_read(cpu, sel, X86_EXC_GP, 0, &d, NULL))
		return X86_FAULT;
	attr = desc_attr(d);
	if (sel_rpl(sel) != cpu->cpl || !attr_is_wdata(attr) || attr_dpl(attr) != cpu->cpl)
		return x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
	if (!(attr & X86_ATTR_P))
		return x86_raise_sel(cpu, X86_EXC_SS, sel, 0);
	if (!x86_desc_accessed(cpu, sel, &d))
		return X86_FAULT;
	x86_seg_fill(&cpu->s.seg[X86_SS], sel, d);
	x86_seg_changed(cpu, X86_SS);
	return X86_NEXT;
}

int x86_load_seg(struct x86_cpu *cpu, enum x86_seg seg, u16 sel)
{
	u64 d;
	u16 attr;

	if (!x86_protected(cpu)) {
		x86_seg_real(cpu, seg, sel);
		x86_seg_changed(cpu, seg);
		return X86_NEXT;
	}
	if (seg == X86_SS)
		return load_ss(cpu, sel);
	if (sel_null(sel)) {
		x86_seg_null(&cpu->s.seg[seg], sel, 0);
		x86_seg_changed(cpu, seg);
		return X86_NEXT;
	}
	if (!x86_desc_read(cpu, sel, X86_EXC_GP, 0, &d, NULL))
		return X86_FAULT;
	attr = desc_attr(d);
	if (!attr_is_readable(attr))
		return x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
	if (!(attr_is_code(attr) && attr_is_conforming(attr)) &&
	    (sel_rpl(sel) > attr_dpl(attr) || cpu->cpl > attr_dpl(attr)))
		return x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
	if (!(attr & X86_ATTR_P))
		return x86_raise_sel(cpu, X86_EXC_NP, sel, 0);
	if (!x86_desc_accessed(cpu, sel, &d))
		return X86_FAULT;
	x86_seg_fill(&cpu->s.seg[seg], sel, d);
	x86_seg_changed(cpu, seg);
	return X86_NEXT;
}

/* --- instructions that move segment registers --- */

static int mov_from_seg(struct x86_cpu *cpu, const struct uop *u)
{
	if (u->insn.reg >= X86_SEG_COUNT)
		return x86_ud(cpu);
	return x86_write_ew(cpu, u, cpu->s.seg[u->insn.reg].sel);
}

/*
 * Loads of SS hold interrupts and debug traps off for one instruction, SDM vol. 3 "Masking Exceptions and
 * Interrupts".
 */
static int loaded(struct x86_cpu *cpu, enum x86_seg seg)
{
	if (seg != X86_SS)
		return X86_NEXT;
	cpu->s.intr_shadow = 1;
	return X86_LEAVE;
}

static int mov_to_seg(struct x86_cpu *cpu, const struct uop *u)
{
	u16 sel;

	if (u->insn.reg >= X86_SEG_COUNT || u->insn.reg == X86_CS)
		return x86_ud(cpu);
	if (!x86_read_ew(cpu, u, &sel) || x86_load_seg(cpu, u->insn.reg, sel) == X86_FAULT)
		return X86_FAULT;
	return loaded(cpu, u->insn.reg);
}

static int push_seg(struct x86_cpu *cpu, const struct uop *u)
{
	return x86_push(cpu, u->insn.opsize, cpu->s.seg[u->insn.reg].sel) ? X86_NEXT : X86_FAULT;
}

static int pop_seg(struct x86_cpu *cpu, const struct uop *u)
{
	u64 rsp = cpu->s.gpr[X86_RSP], after, val;

	if (!x86_pop(cpu, u->insn.opsize, &val))
		return X86_FAULT;
	/*
	 * The segment is loaded with RSP as before, so that a fault finds it so; POP SS also counts by the
	 * old stack size.
	 */
	after = cpu->s.gpr[X86_RSP];
	cpu->s.gpr[X86_RSP] = rsp;
	if (x86_load_seg(cpu, u->insn.reg, (u16)val) == X86_FAULT)
		return X86_FAULT;
	cpu->s.gpr[X86_RSP] = after;
	return loaded(cpu, u->insn.reg);
}

bool x86_load_far_pointer(struct x86_cpu *cpu, const struct uop *u, u64 *off, u16 *sel)
{
	unsigned int size = u->insn.opsize;
	u64 lin;
	u32 off32;
	u16 off16;

	if (!x86_operand(cpu, u, size + 2, ACC_READ, &lin))
		return false;
	switch (size) {
	case 2:
		if (!x86_load16(cpu, lin, &off16))
			return false;
		*off = off16;
		break;
	case 4:
		if (!x86_load32(cpu, lin, &off32))
			return false;
		*off = off32;
		break;
	default:
		if (!x86_load64(cpu, lin, off))
			return false;
	}
	return x86_load16(cpu, x86_table_lin(cpu, lin, size), sel);
}

static int load_far_pointer(struct x86_cpu *cpu, const struct uop *u, enum x86_seg seg)
{
	u64 off;
	u16 sel;

	if (!(u->insn.flags & X86_IF_MEM))
		return x86_ud(cpu);
	if (!x86_load_far_pointer(cpu, u, &off, &sel) || x86_load_seg(cpu, seg, sel) == X86_FAULT)
		return X86_FAULT;
	gpr_set(cpu, u->insn.reg, u->insn.opsize, off);
	return X86_NEXT;
}

static int les(struct x86_cpu *cpu, const struct uop *u) { return load_far_pointer(cpu, u, X86_ES); }
static int lds(struct x86_cpu *cpu, const struct uop *u) { return load_far_pointer(cpu, u, X86_DS); }
static int lss(struct x86_cpu *cpu, const struct uop *u) { return load_far_pointer(cpu, u, X86_SS); }
static int lfs(struct x86_cpu *cpu, const struct uop *u) { return load_far_pointer(cpu, u, X86_FS); }
static int lgs(struct x86_cpu *cpu, const struct uop *u) { return load_far_pointer(cpu, u, X86_GS); }

const struct interp_op interp_MOV_FROM_SEG = IOP_ALL(mov_from_seg);
const struct interp_op interp_MOV_TO_SEG = IOP_ALL(mov_to_seg);
const struct interp_op interp_PUSH_SEG = IOP_ALL(push_seg);
const struct interp_op interp_POP_SEG = IOP_ALL(pop_seg);
const struct interp_op interp_LES = IOP_ALL(les);
const struct interp_op interp_LDS = IOP_ALL(lds);
const struct interp_op interp_LSS = IOP_ALL(lss);
const struct interp_op interp_LFS = IOP_ALL(lfs);
const struct interp_op interp_LGS = IOP_ALL(lgs);

/* --- instructions that look at descriptors --- */

static int arpl(struct x86_cpu *cpu, const struct uop *u)
{
	u16 dst, src = (u16)cpu->s.gpr[u->insn.reg];
	bool adjust;
	u64 lin = 0;

	if (!x86_protected(cpu))
		return x86_ud(cpu);
	if (u->insn.flags & X86_IF_MEM) {
		if (!x86_operand(cpu, u, 2, ACC_WRITE, &lin) || !x86_load_rmw16(cpu, lin, &dst))
			return X86_FAULT;
	} else {
		dst = (u16)cpu->s.gpr[u->insn.rm];
	}
	adjust = sel_rpl(dst) < sel_rpl(src);
	if (adjust) {
		dst = (dst & ~X86_SEL_RPL) | sel_rpl(src);
		if (!(u->insn.flags & X86_IF_MEM))
			gpr_set(cpu, u->insn.rm, 2, dst);
		else if (!x86_store16(cpu, lin, dst))
			return X86_FAULT;
	}
	x86_set_zf(cpu, adjust);
	return X86_NEXT;
}

static bool visible(const struct x86_cpu *cpu, u16 sel, u16 attr)
{
	if (attr_is_code(attr) && attr_is_conforming(attr))
		return true;
	return attr_dpl(attr) >= cpu->cpl && attr_dpl(attr) >= sel_rpl(sel);
}

/* LAR and LSL: which system descriptor types count is a bit mask. */
static int look(struct x86_cpu *cpu, const struct uop *u, u32 types, u32 types_long, u64 *d)
{
	enum x86_desc_found found;
	u64 high;
	u16 sel, attr;

	if (!x86_protected(cpu))
		return x86_ud(cpu);
	if (!x86_read_ew(cpu, u, &sel))
		return X86_FAULT;
	if (sel_null(sel))
		goto invalid;
	found = x86_desc_find(cpu, sel, d, &high);
	if (found == DESC_FAULT)
		return X86_FAULT;
	if (found == DESC_OUTSIDE)
		goto invalid;
	attr = desc_attr(*d);
	if (!(attr & X86_ATTR_S) && !((cpu->long_mode ? types_long : types) & BIT(attr & X86_ATTR_TYPE)))
		goto invalid;
	if (!visible(cpu, sel, attr))
		goto invalid;
	x86_set_zf(cpu, true);
	return X86_NEXT;
invalid:
	x86_set_zf(cpu, false);
	return X86_LEAVE;
}

#define LSL_TYPES \
	(BIT(SYS_TSS16) | BIT(SYS_LDT) | BIT(SYS_TSS16_BUSY) | BIT(SYS_TSS32) | BIT(SYS_TSS32_BUSY))
#define LAR_TYPES	(LSL_TYPES | BIT(SYS_CALL16) | BIT(SYS_TASK_GATE) | BIT(SYS_CALL32))
#define LSL_TYPES_LONG	(BIT(SYS_LDT) | BIT(SYS_TSS32) | BIT(SYS_TSS32_BUSY))
#define LAR_TYPES_LONG	(LSL_TYPES_LONG | BIT(SYS_CALL32))

static int lar(struct x86_cpu *cpu, const struct uop *u)
{
	u64 d;
	int next = look(cpu, u, LAR_TYPES, LAR_TYPES_LONG, &d);

	if (next == X86_FAULT)
		return next;
	if (next == X86_NEXT)
		gpr_set(cpu, u->insn.reg, u->insn.opsize,
			d >> 32 & (u->insn.opsize == 2 ? 0xff00 : 0xffff00));
	return X86_NEXT;
}

static int lsl(struct x86_cpu *cpu, const struct uop *u)
{
	u64 d;
	int next = look(cpu, u, LSL_TYPES, LSL_TYPES_LONG, &d);

	if (next == X86_FAULT)
		return next;
	if (next == X86_NEXT)
		gpr_set(cpu, u->insn.reg, u->insn.opsize, desc_limit(d));
	return X86_NEXT;
}

static int verify(struct x86_cpu *cpu, const struct uop *u, bool write)
{
	enum x86_desc_found found;
	bool ok = false;
	u16 sel, attr;
	u64 d;

	if (!x86_protected(cpu))
		return x86_ud(cpu);
	if (!x86_read_ew(cpu, u, &sel))
		return X86_FAULT;
	if (!sel_null(sel)) {
		found = x86_desc_find(cpu, sel, &d, NULL);
		if (found == DESC_FAULT)
			return X86_FAULT;
		if (found == DESC_OK) {
			attr = desc_attr(d);
			ok = (write ? attr_is_wdata(attr) : attr_is_readable(attr)) &&
			     visible(cpu, sel, attr);
		}
	}
	x86_set_zf(cpu, ok);
	return X86_NEXT;
}

static int verr(struct x86_cpu *cpu, const struct uop *u) { return verify(cpu, u, false); }
static int verw(struct x86_cpu *cpu, const struct uop *u) { return verify(cpu, u, true); }

const struct interp_op interp_ARPL = IOP_ALL(arpl);
const struct interp_op interp_LAR = IOP_ALL(lar);
const struct interp_op interp_LSL = IOP_ALL(lsl);
const struct interp_op interp_VERR = IOP_ALL(verr);
const struct interp_op interp_VERW = IOP_ALL(verw);

/* --- descriptor-table registers --- */

static bool umip(const struct x86_cpu *cpu)
{
	return cpu->cpl > 0 && (cpu->s.cr4 & X86_CR4_UMIP);
}

static int store_dtr(struct x86_cpu *cpu, const struct uop *u, const struct x86_dtr *dtr)
{
	unsigned int bytes = cpu->code64 ? 8 : 4;
	u8 buf[10];
	u64 lin;

	if (!(u->insn.flags & X86_IF_MEM))
		return x86_ud(cpu);
	if (umip(cpu))
		return x86_gp0(cpu);
	buf[0] = (u8)dtr->limit;
	buf[1] = dtr->limit >> 8;
	for (unsigned int i = 0; i < bytes; i++)
		buf[2 + i] = (u8)(dtr->base >> (8 * i));
	if (!x86_operand(cpu, u, 2 + bytes, ACC_WRITE, &lin) || !x86_store_bytes(cpu, lin, buf, 2 + bytes))
		return X86_FAULT;
	return X86_NEXT;
}

static int load_dtr(struct x86_cpu *cpu, const struct uop *u, struct x86_dtr *dtr)
{
	unsigned int bytes = cpu->code64 ? 8 : 4;
	u64 lin, base = 0;
	u8 buf[10];

	if (!(u->insn.flags & X86_IF_MEM))
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	if (!x86_operand(cpu, u, 2 + bytes, ACC_READ, &lin) || !x86_load_bytes(cpu, lin, buf, 2 + bytes))
		return X86_FAULT;
	for (unsigned int i = bytes; i-- > 0; )
		base = base << 8 | buf[2 + i];
	if (!cpu->code64 && u->insn.opsize == 2)
		base &= 0xffffff;
	if (cpu->code64 && !x86_canonical(base))
		return x86_gp0(cpu);
	dtr->base = base;
	dtr->limit = (u16)(buf[0] | buf[1] << 8);
	return X86_NEXT;
}

static int sgdt(struct x86_cpu *cpu, const struct uop *u) { return store_dtr(cpu, u, &cpu->s.gdtr); }
static int sidt(struct x86_cpu *cpu, const struct uop *u) { return store_dtr(cpu, u, &cpu->s.idtr); }
static int lgdt(struct x86_cpu *cpu, const struct uop *u) { return load_dtr(cpu, u, &cpu->s.gdtr); }
static int lidt(struct x86_cpu *cpu, const struct uop *u) { return load_dtr(cpu, u, &cpu->s.idtr); }

static int sldt(struct x86_cpu *cpu, const struct uop *u)
{
	if (!x86_protected(cpu))
		return x86_ud(cpu);
	return umip(cpu) ? x86_gp0(cpu) : x86_write_ew(cpu, u, cpu->s.ldtr.sel);
}

static int str(struct x86_cpu *cpu, const struct uop *u)
{
	if (!x86_protected(cpu))
		return x86_ud(cpu);
	return umip(cpu) ? x86_gp0(cpu) : x86_write_ew(cpu, u, cpu->s.tr.sel);
}

static int lldt(struct x86_cpu *cpu, const struct uop *u)
{
	u64 d, high, base;
	u16 sel;

	if (!x86_protected(cpu))
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	if (!x86_read_ew(cpu, u, &sel))
		return X86_FAULT;
	if (sel_null(sel)) {
		x86_seg_null(&cpu->s.ldtr, sel, 0);
		return X86_NEXT;
	}
	if (sel & X86_SEL_TI)
		return x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
	if (!x86_desc_read(cpu, sel, X86_EXC_GP, 0, &d, &high))
		return X86_FAULT;
	base = desc_base(d) | high << 32;
	if (attr_type(desc_attr(d)) != SYS_LDT || !x86_canonical(base))
		return x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
	if (!(desc_attr(d) & X86_ATTR_P))
		return x86_raise_sel(cpu, X86_EXC_NP, sel, 0);
	x86_seg_fill(&cpu->s.ldtr, sel, d);
	cpu->s.ldtr.base = base;
	return X86_NEXT;
}

static int ltr(struct x86_cpu *cpu, const struct uop *u)
{
	u64 d, high, base;
	unsigned int type;
	u16 sel;

	if (!x86_protected(cpu))
		return x86_ud(cpu);
	if (cpu->cpl)
		return x86_gp0(cpu);
	if (!x86_read_ew(cpu, u, &sel))
		return X86_FAULT;
	if (sel_null(sel))
		return x86_gp0(cpu);
	if (sel & X86_SEL_TI)
		return x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
	if (!x86_desc_read(cpu, sel, X86_EXC_GP, 0, &d, &high))
		return X86_FAULT;
	base = desc_base(d) | high << 32;
	type = attr_type(desc_attr(d));
	if ((type != SYS_TSS32 && (cpu->long_mode || type != SYS_TSS16)) || !x86_canonical(base))
		return x86_raise_sel(cpu, X86_EXC_GP, sel, 0);
	if (!(desc_attr(d) & X86_ATTR_P))
		return x86_raise_sel(cpu, X86_EXC_NP, sel, 0);
	if (!x86_desc_set_type(cpu, sel, d, type | SYS_TSS_BUSY_BIT))
		return X86_FAULT;
	x86_seg_fill(&cpu->s.tr, sel, d);
	cpu->s.tr.attr |= SYS_TSS_BUSY_BIT;
	cpu->s.tr.base = base;
	return X86_NEXT;
}

const struct interp_op interp_SGDT = IOP_ALL(sgdt);
const struct interp_op interp_SIDT = IOP_ALL(sidt);
const struct interp_op interp_LGDT = IOP_ALL(lgdt);
const struct interp_op interp_LIDT = IOP_ALL(lidt);
const struct interp_op interp_SLDT = IOP_ALL(sldt);
const struct interp_op interp_STR = IOP_ALL(str);
const struct interp_op interp_LLDT = IOP_ALL(lldt);
const struct interp_op interp_LTR = IOP_ALL(ltr);
