// SPDX-License-Identifier: GPL-2.0-only
/*
 * task.c - hardware task switching, SDM vol. 3 "Task Switching"
 *
 * Up to the point where TR changes, a fault belongs to the outgoing task and nothing of it has changed. From
 * there on it belongs to the incoming one: its registers are loaded first, as far as the TSS gives them, then
 * its segment registers are checked one by one, and the first fault is reported with the new task's CS:EIP.
 */
#include "system.h"

/* Offsets in a TSS of 32 and of 16 bits, SDM vol. 3 "Task-State Segment" */
struct tss_layout {
	u16 size, bytes, cr3, eip, eflags, gpr, seg, ldt;
	u8 nr_seg;
};
static const struct tss_layout tss32 = {
	.size = 4,
	.bytes = 0x68,
	.cr3 = 0x1c,
	.eip = 0x20,
	.eflags = 0x24,
	.gpr = 0x28,
	.seg = 0x48,
	.ldt = 0x60,
	.nr_seg = 6,
};
static const struct tss_layout tss16 = {
	.size = 2,
	.bytes = 0x2c,
	.eip = 0x0e,
	.eflags = 0x10,
	.gpr = 0x12,
	.seg = 0x22,
	.ldt = 0x2a,
	.nr_seg = 4,
};
#define TSS32_TRAP	0x64

static const struct tss_layout *layout(u16 attr)
{
	return attr_type(attr) & 8 ? &tss32 : &tss16;
}

bool x86_task_find(struct x86_cpu *cpu, u16 sel, bool iret, u32 ext, u64 *d)
{
	unsigned int type, want = iret ? SYS_TSS_BUSY_BIT : 0;
	enum x86_vector vec = iret ? X86_EXC_TS : X86_EXC_GP;
	u16 attr;

	if (sel & X86_SEL_TI || sel_null(sel)) {
		x86_raise_sel(cpu, vec, sel, ext);
		return false;
	}
	if (!x86_desc_read(cpu, sel, vec, ext, d, NULL))
		return false;
	attr = desc_attr(*d);
	type = attr_type(attr);
	if (type != (SYS_TSS16 | want) && type != (SYS_TSS32 | want)) {
		x86_raise_sel(cpu, vec, sel, ext);
		return false;
	}
	if (!(attr & X86_ATTR_P)) {
		x86_raise_sel(cpu, X86_EXC_NP, sel, ext);
		return false;
	}
	return true;
}

struct tss {
	u64 cr3, eip, eflags, gpr[8], seg[6], ldt, trap;
};

static bool tss_read(struct x86_cpu *cpu, u64 base, const struct tss_layout *l, struct tss *t)
{
	memset(t, 0, sizeof(*t));
	if (l->cr3 && !x86_sys_load(cpu, x86_table_lin(cpu, base, l->cr3), 4, &t->cr3))
		return false;
	if (!x86_sys_load(cpu, x86_table_lin(cpu, base, l->eip), l->size, &t->eip) ||
	    !x86_sys_load(cpu, x86_table_lin(cpu, base, l->eflags), l->size, &t->eflags) ||
	    !x86_sys_load(cpu, x86_table_lin(cpu, base, l->ldt), 2, &t->ldt))
		return false;
	for (unsigned int i = 0; i < 8; i++)
		if (!x86_sys_load(cpu, x86_table_lin(cpu, base, l->gpr + i * l->size), l->size, &t->gpr[i]))
			return false;
	for (unsigned int i = 0; i < l->nr_seg; i++)
		if (!x86_sys_load(cpu, x86_table_lin(cpu, base, l->seg + i * l->size), 2, &t->seg[i]))
			return false;
	return l->size == 2 || x86_sys_load(cpu, x86_table_lin(cpu, base, TSS32_TRAP), 2, &t->trap);
}

static bool tss_save(struct x86_cpu *cpu, u64 base, const struct tss_layout *l, u64 eip, u64 eflags)
{
	const struct x86_state *s = &cpu->s;

	if (!x86_sys_store(cpu, x86_table_lin(cpu, base, l->eip), l->size, eip) ||
	    !x86_sys_store(cpu, x86_table_lin(cpu, base, l->eflags), l->size, eflags))
		return false;
	for (unsigned int i = 0; i < 8; i++)
		if (!x86_sys_store(cpu, x86_table_lin(cpu, base, l->gpr + i * l->size), l->size, s->gpr[i]))
			return false;
	for (unsigned int i = 0; i < l->nr_seg; i++)
		if (!x86_sys_store(cpu, x86_table_lin(cpu, base, l->seg + i * l->size), 2, s->seg[i].sel))
			return false;
	return true;
}

static bool task_ldt(struct x86_cpu *cpu, u16 sel, u32 ext)
{
	u64 d;

	x86_seg_null(&cpu->s.ldtr, sel, 0);
	if (sel_null(sel))
		return true;
	if (sel & X86_SEL_TI || x86_desc_find(cpu, sel, &d, NULL) == DESC_OUTSIDE)
		goto ts;
	if (!x86_desc_read(cpu, sel, X86_EXC_TS, ext, &d, NULL))
		return false;
	if (attr_type(desc_attr(d)) != SYS_LDT || !(desc_attr(d) & X86_ATTR_P))
		goto ts;
	x86_seg_fill(&cpu->s.ldtr, sel, d);
	return true;
ts:
	x86_raise_sel(cpu, X86_EXC_TS, sel, ext);
	return false;
}

/* SDM vol. 3 "Exception Conditions Checked During a Task Switch" */
static bool task_seg(struct x86_cpu *cpu, enum x86_seg seg, u16 sel, unsigned int cpl, u32 ext)
{
	bool code, bad;
	u16 attr;
	u64 d;

	if (sel_null(sel)) {
		if (seg != X86_CS && seg != X86_SS)
			return true;
		goto ts;
	}
	if (!x86_desc_read(cpu, sel, X86_EXC_TS, ext, &d, NULL))
		return false;
	attr = desc_attr(d);
	code = attr_is_code(attr);
	switch (seg) {
	case X86_CS:
		bad = !code || (attr_is_conforming(attr) ? attr_dpl(attr) > cpl : attr_dpl(attr) != cpl);
		break;
	case X86_SS:
		bad = !attr_is_wdata(attr) || attr_dpl(attr) != cpl || sel_rpl(sel) != cpl;
		break;
	default:
		bad = !attr_is_readable(attr) || (!(code && attr_is_conforming(attr)) &&
						  (attr_dpl(attr) < cpl || attr_dpl(attr) < sel_rpl(sel)));
		break;
	}
	if (bad)
		goto ts;
	if (!(attr & X86_ATTR_P)) {
		x86_raise_sel(cpu, seg == X86_SS ? X86_EXC_SS : X86_EXC_NP, sel, ext);
		return false;
	}
	if (!x86_desc_accessed(cpu, sel, &d))
		return false;
	x86_seg_fill(&cpu->s.seg[seg], sel, d);
	return true;
ts:
	x86_raise_sel(cpu, X86_EXC_TS, sel, ext);
	return false;
}

/* The incoming task's context, the part that can fault. */
static bool task_enter(struct x86_cpu *cpu, const struct tss *t, const struct x86_task_switch *sw,
		       unsigned int size)
{
	static const u8 order[] = { X86_SS, X86_DS, X86_ES, X86_FS, X86_GS };
	unsigned int cpl = sel_rpl((u16)t->seg[X86_CS]);
	struct x86_state *s = &cpu->s;
	struct x86_stack st;

	if (!task_ldt(cpu, (u16)t->ldt, sw->ext))
		return false;
	if (s->rflags & X86_VM) {
		for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
			x86_seg_real(cpu, i, (u16)t->seg[i]);
	} else {
		if (!task_seg(cpu, X86_CS, (u16)t->seg[X86_CS], cpl, sw->ext))
			return false;
		for (unsigned int i = 0; i < ARRAY_SIZE(order); i++)
			if (!task_seg(cpu, order[i], (u16)t->seg[order[i]], cpl, sw->ext))
				return false;
	}
	x86_mode_changed(cpu);
	if (sw->has_error) {
		u64 error = sw->error;

		x86_stack_current(cpu, &st, sw->ext);
		if (!x86_stack_push(cpu, &st, &error, 1, size))
			return false;
		x86_stack_commit(cpu, &st, false);
	}
	if (s->rip > s->seg[X86_CS].limit) {
		x86_raise_err(cpu, X86_EXC_GP, sw->ext);
		return false;
	}
	if (t->trap & 1) {
		x86_raise_db(cpu, X86_DR6_BT);
		return false;
	}
	return true;
}

enum x86_transfer x86_task_switch(struct x86_cpu *cpu, const struct x86_task_switch *sw)
{
	struct x86_state *s = &cpu->s;
	const struct tss_layout *from = layout(s->tr.attr), *to = layout(desc_attr(sw->desc));
	bool nested = sw->why == TASK_CALL || sw->why == TASK_INT;
	u64 base = desc_base(sw->desc), flags = x86_get_rflags(s), old;
	u16 old_tr = s->tr.sel;
	struct tss t;

	/* Everything of the outgoing task is checked before any of it is written. */
	if (desc_limit(sw->desc) < to->bytes - 1u) {
		x86_raise_sel(cpu, X86_EXC_TS, sw->sel, sw->ext);
		return XFER_FAULT;
	}
	if (!(s->tr.attr & X86_ATTR_P) || s->tr.limit < from->bytes - 1u) {
		x86_raise_sel(cpu, X86_EXC_TS, old_tr, sw->ext);
		return XFER_FAULT;
	}
	if (!x86_sys_probe(cpu, x86_table_lin(cpu, s->tr.base, 0), from->bytes, ACC_WRITE))
		return XFER_FAULT;
	if (nested && !x86_sys_probe(cpu, x86_table_lin(cpu, base, 0), 2, ACC_WRITE))
		return XFER_FAULT;
	if (!tss_read(cpu, base, to, &t))
		return XFER_FAULT;
	if (!nested && x86_desc_find(cpu, old_tr, &old, NULL) != DESC_OK) {
		x86_raise_sel(cpu, X86_EXC_TS, old_tr, sw->ext);
		return XFER_FAULT;
	}

	if (sw->why == TASK_IRET)
		flags &= ~(u64)X86_NT;
	if (!tss_save(cpu, s->tr.base, from, sw->rip, flags))
		return XFER_FAULT;
	if (nested && !x86_sys_store(cpu, x86_table_lin(cpu, base, 0), 2, old_tr))
		return XFER_FAULT;
	if (!nested && !x86_desc_set_type(cpu, old_tr, old, (old >> 40 & 0xf) & ~SYS_TSS_BUSY_BIT))
		return XFER_FAULT;
	if (sw->why != TASK_IRET &&
	    !x86_desc_set_type(cpu, sw->sel, sw->desc, (sw->desc >> 40 & 0xf) | SYS_TSS_BUSY_BIT))
		return XFER_FAULT;

	/* From here on it is the incoming task. */
	x86_seg_fill(&s->tr, sw->sel, sw->desc);
	s->tr.attr |= SYS_TSS_BUSY_BIT;
	s->cr0 |= X86_CR0_TS;
	if (to->cr3 && (s->cr0 & X86_CR0_PG)) {
		if ((s->cr4 & X86_CR4_PAE) && !x86_load_pdptes(cpu, t.cr3))
			t.cr3 = s->cr3;		/* the SDM leaves open what follows; keep what works */
		s->cr3 = t.cr3;
		x86_tlb_flush(cpu, false);
	}
	s->rip = t.eip;
	if (nested)
		t.eflags |= X86_NT;
	if (to->size == 2)
		t.eflags &= 0xffff;
	x86_set_rflags(s, t.eflags & (X86_ARITH | X86_TF | X86_IF | X86_DF | X86_IOPL | X86_NT | X86_RF |
				      X86_VM | X86_AC | X86_ID));
	/* A 16-bit TSS leaves the upper halves of the registers as they are (undefined by the manual). */
	for (unsigned int i = 0; i < 8; i++)
		s->gpr[i] = to->size == 4 ? t.gpr[i] : (s->gpr[i] & ~0xffffULL) | t.gpr[i];
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		x86_seg_null(&s->seg[i], (u16)t.seg[i], sel_rpl((u16)t.seg[X86_CS]));
	s->dr[7] &= ~0x55ULL;		/* local breakpoints */
	s->intr_shadow = 0;
	s->halted = 0;
	x86_mode_changed(cpu);
	if (task_enter(cpu, &t, sw, to->size))
		return XFER_DONE;
	x86_mode_changed(cpu);		/* by the segments that could be loaded */
	return XFER_FAULT_AFTER;
}
