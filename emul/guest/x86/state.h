/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * state.h - the architectural state of an x86 vCPU
 *
 * What a program can see of the processor, nothing of how it is emulated. Interpreter, translator, back ends and
 * tests share it.
 */
#ifndef TENON_X86_STATE_H
#define TENON_X86_STATE_H

#include "../../base.h"
#include "decode.h"

/* RFLAGS, SDM vol. 1 "EFLAGS Register" */
#define X86_CF		BIT(0)
#define X86_FLAG1	BIT(1)		/* always set */
#define X86_PF		BIT(2)
#define X86_AF		BIT(4)
#define X86_ZF		BIT(6)
#define X86_SF		BIT(7)
#define X86_TF		BIT(8)
#define X86_IF		BIT(9)
#define X86_DF		BIT(10)
#define X86_OF		BIT(11)
#define X86_IOPL	(BIT(12) | BIT(13))
#define X86_IOPL_SHIFT	12
#define X86_NT		BIT(14)
#define X86_RF		BIT(16)
#define X86_VM		BIT(17)
#define X86_AC		BIT(18)
#define X86_VIF		BIT(19)
#define X86_VIP		BIT(20)
#define X86_ID		BIT(21)
#define X86_ARITH	(X86_CF | X86_PF | X86_AF | X86_ZF | X86_SF | X86_OF)

/* Control registers, SDM vol. 3 "Control Registers" */
#define X86_CR0_PE	BIT(0)
#define X86_CR0_MP	BIT(1)
#define X86_CR0_EM	BIT(2)
#define X86_CR0_TS	BIT(3)
#define X86_CR0_ET	BIT(4)
#define X86_CR0_NE	BIT(5)
#define X86_CR0_WP	BIT(16)
#define X86_CR0_AM	BIT(18)
#define X86_CR0_NW	BIT(29)
#define X86_CR0_CD	BIT(30)
#define X86_CR0_PG	BIT(31)

#define X86_CR4_VME	BIT(0)
#define X86_CR4_PVI	BIT(1)
#define X86_CR4_TSD	BIT(2)
#define X86_CR4_DE	BIT(3)
#define X86_CR4_PSE	BIT(4)
#define X86_CR4_PAE	BIT(5)
#define X86_CR4_MCE	BIT(6)
#define X86_CR4_PGE	BIT(7)
#define X86_CR4_PCE	BIT(8)
#define X86_CR4_OSFXSR	BIT(9)
#define X86_CR4_OSXMMEXCPT BIT(10)
#define X86_CR4_UMIP	BIT(11)
#define X86_CR4_FSGSBASE BIT(16)
#define X86_CR4_PCIDE	BIT(17)
#define X86_CR4_OSXSAVE	BIT(18)
#define X86_CR4_SMEP	BIT(20)
#define X86_CR4_SMAP	BIT(21)
#define X86_CR4_PKE	BIT(22)

#define X86_EFER_SCE	BIT(0)
#define X86_EFER_LME	BIT(8)
#define X86_EFER_LMA	BIT(10)
#define X86_EFER_NXE	BIT(11)
#define X86_EFER_FFXSR	BIT(14)

/* Exception vectors, SDM vol. 3 "Exception and Interrupt Vectors" */
enum x86_vector {
	X86_EXC_DE = 0, X86_EXC_DB = 1, X86_EXC_NMI = 2, X86_EXC_BP = 3, X86_EXC_OF = 4, X86_EXC_BR = 5, X86_EXC_UD = 6,
	X86_EXC_NM = 7, X86_EXC_DF = 8, X86_EXC_TS = 10, X86_EXC_NP = 11, X86_EXC_SS = 12, X86_EXC_GP = 13,
	X86_EXC_PF = 14, X86_EXC_MF = 16, X86_EXC_AC = 17, X86_EXC_MC = 18, X86_EXC_XM = 19,
};

/* Page-fault error code, SDM vol. 3 "Page-Fault Exceptions" */
#define X86_PF_P	BIT(0)
#define X86_PF_W	BIT(1)
#define X86_PF_U	BIT(2)
#define X86_PF_RSVD	BIT(3)
#define X86_PF_I	BIT(4)
#define X86_PF_PK	BIT(5)

/*
 * A segment register with its hidden part. attr holds bits 8..23 of the descriptor's high word moved down by 8:
 * type 0..3, S 4, DPL 5..6, P 7, limit bits 8..11 always 0, AVL 12, L 13, D/B 14, G 15. limit is in bytes, G applied.
 */
struct x86_segreg {
	u16 sel;
	u16 attr;
	u32 limit;
	u64 base;
};
#define X86_ATTR_TYPE	0x000f
#define X86_ATTR_A	BIT(0)		/* accessed */
#define X86_ATTR_W	BIT(1)		/* data: writable; code: readable */
#define X86_ATTR_E	BIT(2)		/* data: expand-down; code: conforming */
#define X86_ATTR_CODE	BIT(3)
#define X86_ATTR_S	BIT(4)
#define X86_ATTR_DPL_SHIFT 5
#define X86_ATTR_P	BIT(7)
#define X86_ATTR_L	BIT(13)
#define X86_ATTR_DB	BIT(14)
#define X86_ATTR_G	BIT(15)
/* P clear: the register is unusable (null selector loaded); any use faults outside 64-bit mode. */

struct x86_dtr {
	u64 base;
	u16 limit;
};

/* FXSAVE image, SDM vol. 1 "FXSAVE Area" (64-bit layout), as the host's own instructions read and write it. */
struct x86_fxsave {
	u16 fcw;
	u16 fsw;
	u8 ftw;			/* abridged: 1 = valid */
	u8 rsvd1;
	u16 fop;
	u64 fip;
	u64 fdp;
	u32 mxcsr;
	u32 mxcsr_mask;
	u8 st[8][16];		/* ST0..ST7 (top-relative), MMX in the low 8 bytes */
	u8 xmm[16][16];
	u8 rsvd2[96];
} __attribute__((aligned(64)));
static_assert(sizeof(struct x86_fxsave) == 512, "FXSAVE image");
static_assert(offsetof(struct x86_fxsave, mxcsr) == 24 && offsetof(struct x86_fxsave, xmm) == 160, "FXSAVE image");

struct x86_fpu {
	struct x86_fxsave fx;
	u8 ymmh[16][16];	/* upper halves of YMM0..15 */
	u64 fip, fdp;		/* last x87 instruction and operand: the host's own are never shown to the guest */
	u16 fcs, fds, fop;
} __attribute__((aligned(64)));

#define X86_MTRR_VAR	8

struct x86_state {
	/* general registers; [X86_REG_ZERO] is 0, [X86_REG_RIP] the RIP of the byte at offset 0 of the page being executed */
	u64 gpr[X86_REG_COUNT];
	u64 rip;

	/*
	 * Arithmetic flags, held as the last result instead of bits (see flags.h): res is the result, sign-extended;
	 * aux bit 63 is CF, bit 62 CF ^ OF, bit 3 AF, bit 0 inverts SF, bits 8..15 are xored into the byte PF is computed of.
	 */
	u64 cc_res, cc_aux;
	u64 rflags;		/* all other flags; bit 1 set, X86_ARITH bits 0 */

	struct x86_segreg seg[X86_SEG_COUNT], ldtr, tr;
	struct x86_dtr gdtr, idtr;

	u64 cr0, cr2, cr3, cr4, efer;
	u64 pdpte[4];		/* PAE paging: loaded by MOV to CR3 */
	u64 dr[8];
	u64 xcr0, xss;
	u32 pkru;

	/* model-specific registers with state of their own */
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, tsc_aux, tsc_offset, tsc_adjust, misc_enable, smbase, spec_ctrl;
	u64 mtrr_def_type, mtrr_fixed[11], mtrr_base[X86_MTRR_VAR], mtrr_mask[X86_MTRR_VAR];
	u64 mcg_status, mcg_ctl;

	/* what is not in a register but survives an instruction */
	u8 intr_shadow;		/* STI or MOV SS: interrupts wait for one more instruction */
	u8 nmi_masked;		/* until IRET */
	u8 smm;
	u8 halted;

	struct x86_fpu fpu;
};

#endif /* TENON_X86_STATE_H */
