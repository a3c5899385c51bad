/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmcb.h - the virtual machine control block
 *
 * Source: AMD APM vol. 2, appendix "Layout of VMCB".

 */
#ifndef TENON_SVM_VMCB_H
#define TENON_SVM_VMCB_H

#include <linux/build_bug.h>
#include <linux/types.h>

struct vmcb_control {
	u16 cr_read;
	u16 cr_write;
	u16 dr_read;
	u16 dr_write;
	u32 exceptions;
	u32 intercept1;
#define VMCB_I1_INTR	    BIT(0)
#define VMCB_I1_NMI	    BIT(1)
#define VMCB_I1_SMI	    BIT(2)
#define VMCB_I1_INIT	    BIT(3)
#define VMCB_I1_VINTR	    BIT(4)
#define VMCB_I1_RDPMC	    BIT(15)
#define VMCB_I1_CPUID	    BIT(18)
#define VMCB_I1_RSM	    BIT(19)
#define VMCB_I1_IRET	    BIT(20)
#define VMCB_I1_INVD	    BIT(22)
#define VMCB_I1_PAUSE	    BIT(23)
#define VMCB_I1_HLT	    BIT(24)
#define VMCB_I1_INVLPGA	    BIT(26)
#define VMCB_I1_IOIO	    BIT(27)
#define VMCB_I1_MSR	    BIT(28)
#define VMCB_I1_TASK_SWITCH BIT(29)
#define VMCB_I1_FERR_FREEZE BIT(30)
#define VMCB_I1_SHUTDOWN    BIT(31)
	u32 intercept2;
#define VMCB_I2_VMRUN	    BIT(0)
#define VMCB_I2_VMMCALL	    BIT(1)
#define VMCB_I2_VMLOAD	    BIT(2)
#define VMCB_I2_VMSAVE	    BIT(3)
#define VMCB_I2_STGI	    BIT(4)
#define VMCB_I2_CLGI	    BIT(5)
#define VMCB_I2_SKINIT	    BIT(6)
#define VMCB_I2_WBINVD	    BIT(9)
#define VMCB_I2_MONITOR	    BIT(10)
#define VMCB_I2_MWAIT	    BIT(11)
#define VMCB_I2_MWAIT_ARMED BIT(12)
#define VMCB_I2_XSETBV	    BIT(13)
#define VMCB_I2_RDPRU	    BIT(14)
	u32 intercept3;
#define VMCB_I3_INVLPGB	    BIT(0)
#define VMCB_I3_INVLPGB_BAD BIT(1)
#define VMCB_I3_INVPCID	    BIT(2)
#define VMCB_I3_MCOMMIT	    BIT(3)
#define VMCB_I3_TLBSYNC	    BIT(4)
	u8 reserved_018[0x3c - 0x18];
	u16 pause_threshold;
	u16 pause_count;
	u64 iopm;
	u64 msrpm;
	u64 tsc_offset;
	u32 asid;
	u8 tlb_control;
#define VMCB_TLB_NOTHING 0
#define VMCB_TLB_ALL	 1
#define VMCB_TLB_ASID	 3
	u8 reserved_05d[3];
	u64 vintr;
#define VMCB_V_TPR	    GENMASK_ULL(7, 0)
#define VMCB_V_IRQ	    BIT_ULL(8)
#define VMCB_V_GIF	    BIT_ULL(9)
#define VMCB_V_PRIO	    GENMASK_ULL(19, 16)
#define VMCB_V_IGN_TPR	    BIT_ULL(20)
#define VMCB_V_MASKING	    BIT_ULL(24)
#define VMCB_V_GIF_ENABLE   BIT_ULL(25)
#define VMCB_V_VECTOR_SHIFT 32
	u64 int_state;
#define VMCB_INT_SHADOW BIT_ULL(0)
	u64 exit_code;
	u64 exit_info1;
	u64 exit_info2;
	u64 exit_int_info; /* as event_inject */
	u64 nested;
#define VMCB_NESTED_PAGING BIT_ULL(0)
	u64 avic_bar;
	u64 ghcb;
	u64 event_inject;
#define VMCB_EVENT_VECTOR    0xffull
#define VMCB_EVENT_TYPE	     (7ull << 8)
#define VMCB_EVENT_INTR	     (0ull << 8)
#define VMCB_EVENT_NMI	     (2ull << 8)
#define VMCB_EVENT_EXCEPTION (3ull << 8)
#define VMCB_EVENT_SOFT	     (4ull << 8)
#define VMCB_EVENT_HAS_ERROR BIT_ULL(11)
#define VMCB_EVENT_VALID     BIT_ULL(31)
	u64 nested_cr3;
	u64 virt_ext;
#define VMCB_EXT_LBR BIT_ULL(0)
	u32 clean;
#define VMCB_CLEAN_INTERCEPTS BIT(0) /* intercepts, TSC offset, pause filter */
#define VMCB_CLEAN_PERMISSION BIT(1)
#define VMCB_CLEAN_ASID	      BIT(2)
#define VMCB_CLEAN_VINTR      BIT(3)
#define VMCB_CLEAN_NESTED     BIT(4)
#define VMCB_CLEAN_CR	      BIT(5)
#define VMCB_CLEAN_DR	      BIT(6)
#define VMCB_CLEAN_DT	      BIT(7)
#define VMCB_CLEAN_SEG	      BIT(8)
#define VMCB_CLEAN_CR2	      BIT(9)
#define VMCB_CLEAN_LBR	      BIT(10)
	u32 reserved_0c4;
	u64 next_rip;
	u8 insn_len;
	u8 insn_bytes[15];
	u8 reserved_0e0[0x400 - 0xe0];
} __packed;

struct vmcb_segment {
	u16 selector;
	u16 attrib; /* bits 7:0 and 15:12 of the descriptor's attributes, packed into 11:0 */
	u32 limit;
	u64 base;
} __packed;

struct vmcb_save {
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved_0a0[0xcb - 0xa0];
	u8 cpl;
	u32 reserved_0cc;
	u64 efer;
	u8 reserved_0d8[0x148 - 0xd8];
	u64 cr4;
	u64 cr3;
	u64 cr0;
	u64 dr7;
	u64 dr6;
	u64 rflags;
	u64 rip;
	u8 reserved_180[0x1d8 - 0x180];
	u64 rsp;
	u8 reserved_1e0[0x1f8 - 0x1e0];
	u64 rax;
	u64 star;
	u64 lstar;
	u64 cstar;
	u64 sfmask;
	u64 kernel_gs_base;
	u64 sysenter_cs;
	u64 sysenter_esp;
	u64 sysenter_eip;
	u64 cr2;
	u8 reserved_248[0x268 - 0x248];
	u64 pat;
	u64 debugctl;
	u64 br_from;
	u64 br_to;
	u64 exc_from;
	u64 exc_to;
	u8 reserved_298[0x2e0 - 0x298];
	u64 spec_ctrl;
	u8 reserved_2e8[0xc00 - 0x2e8];
} __packed;

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save save;
} __packed;

static_assert(offsetof(struct vmcb_control, pause_threshold) == 0x03c);
static_assert(offsetof(struct vmcb_control, iopm) == 0x040);
static_assert(offsetof(struct vmcb_control, asid) == 0x058);
static_assert(offsetof(struct vmcb_control, vintr) == 0x060);
static_assert(offsetof(struct vmcb_control, exit_code) == 0x070);
static_assert(offsetof(struct vmcb_control, nested) == 0x090);
static_assert(offsetof(struct vmcb_control, event_inject) == 0x0a8);
static_assert(offsetof(struct vmcb_control, nested_cr3) == 0x0b0);
static_assert(offsetof(struct vmcb_control, clean) == 0x0c0);
static_assert(offsetof(struct vmcb_control, next_rip) == 0x0c8);
static_assert(offsetof(struct vmcb_control, insn_len) == 0x0d0);
static_assert(offsetof(struct vmcb, save) == 0x400);
static_assert(offsetof(struct vmcb_save, cpl) == 0x0cb);
static_assert(offsetof(struct vmcb_save, efer) == 0x0d0);
static_assert(offsetof(struct vmcb_save, cr4) == 0x148);
static_assert(offsetof(struct vmcb_save, rip) == 0x178);
static_assert(offsetof(struct vmcb_save, rsp) == 0x1d8);
static_assert(offsetof(struct vmcb_save, rax) == 0x1f8);
static_assert(offsetof(struct vmcb_save, cr2) == 0x240);
static_assert(offsetof(struct vmcb_save, pat) == 0x268);
static_assert(offsetof(struct vmcb_save, spec_ctrl) == 0x2e0);
static_assert(sizeof(struct vmcb) == 0x1000);

#endif /* TENON_SVM_VMCB_H */
