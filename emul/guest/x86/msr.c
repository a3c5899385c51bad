// SPDX-License-Identifier: GPL-2.0-only
/*
 * msr.c - model-specific registers: one table, sorted by number
 *
 * A row says where a register lives (a field of the state, a constant, functions of its own), which bits a
 * write may not set, and who has it. A number that no row covers is #GP. The local APIC's registers belong to
 * the embedder.
 */
#include "cpuid.h"
#include "msr.h"
#include "system.h"

enum msr_kind {
	MSR_FIELD,     /* u64 in struct x86_state */
	MSR_CANONICAL, /* ... that must be a canonical address */
	MSR_CONST,     /* reads @value; writes are #GP */
	MSR_IGNORE, /* reads @value; writes of anything but @reserved bits are accepted and have no effect */
	MSR_FUNC,
};

struct msr_row {
	u32 first, last;
	u8 kind;
	u8 who;			/* MSR_ON_* : else #GP */
	u16 offset;		/* MSR_FIELD: of register @first; the following ones follow it */
	u64 reserved;		/* bits that must be 0 in a write */
	u64 value;
	bool (*read)(struct x86_cpu *cpu, u32 msr, u64 *val);
	bool (*write)(struct x86_cpu *cpu, u32 msr, u64 val);
};
#define MSR_ON_ALL	0
#define MSR_ON_INTEL	1
#define MSR_ON_AMD	2
#define MSR_ON_LM	3	/* with 64-bit mode */
#define MSR_ON_SPEC	4	/* with SPEC_CTRL, ARCH_CAPABILITIES */
#define MSR_ON_TSC_AUX	5
#define MSR_ON_SYSCALL	6
#define MSR_ON_TSC_ADJUST 7
#define MSR_ON_SEP	8
#define MSR_ON_XSAVES	9
#define MSR_ON_ARCH_CAP	10
#define MSR_ON_TSC	11
#define MSR_ON_MTRR	12
#define MSR_ON_PAT	13
#define MSR_ON_MCA	14
#define MSR_ON_EFER	15

#define FIELD(f)	offsetof(struct x86_state, f)

/* --- time --- */

static bool tsc_read(struct x86_cpu *cpu, u32 msr, u64 *val)
{
	(void)msr;
	*val = x86_tsc(cpu);
	return true;
}

/*
 * The guest's TSC has been set: a deadline armed before (SDM vol. 3 "TSC-Deadline Mode") comes at another time now, which
 * the embedder computes when it is written.
 */
static void tsc_moved(struct x86_cpu *cpu)
{
	const struct emul_vm *vm = cpu->core.vm;
	u64 deadline;

	if (x86_apic_msr_ok(cpu, MSR_TSC_DEADLINE) &&
	    vm->ops->msr_read(vm->opaque, &cpu->core, MSR_TSC_DEADLINE, &deadline) && deadline)
		vm->ops->msr_write(vm->opaque, &cpu->core, MSR_TSC_DEADLINE, deadline);
}

/* SDM vol. 3 "Time-Stamp Counter Adjustment": each of the two registers moves by what the other was moved. */
static bool tsc_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	u64 delta = val - x86_tsc(cpu);

	(void)msr;
	cpu->s.tsc_offset += delta;
	cpu->s.tsc_adjust += delta;
	tsc_moved(cpu);
	return true;
}

static bool tsc_adjust_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	(void)msr;
	cpu->s.tsc_offset += val - cpu->s.tsc_adjust;
	cpu->s.tsc_adjust = val;
	tsc_moved(cpu);
	return true;
}

/* --- modes --- */

/* SDM vol. 3 "Extended Feature Enable Register" */
static bool efer_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	struct x86_state *s = &cpu->s;
	u64 changed;

	(void)msr;
	val = (val & ~(u64)X86_EFER_LMA) | (s->efer & X86_EFER_LMA);
	changed = val ^ s->efer;
	if (val & x86_efer_reserved(cpu))
		return false;
	if ((changed & X86_EFER_LME) && (s->cr0 & X86_CR0_PG))
		return false;
	s->efer = val;
	if (changed & X86_EFER_NXE)
		x86_tlb_flush(cpu, true);
	return true;
}

static bool seg_base_read(struct x86_cpu *cpu, u32 msr, u64 *val)
{
	*val = cpu->s.seg[msr == MSR_FS_BASE ? X86_FS : X86_GS].base;
	return true;
}

static bool seg_base_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	enum x86_seg seg = msr == MSR_FS_BASE ? X86_FS : X86_GS;

	if (!x86_canonical(val))
		return false;
	cpu->s.seg[seg].base = val;
	x86_seg_changed(cpu, seg);
	return true;
}

/* --- memory types: checked and kept, without effect on memory that is always coherent --- */

static bool mem_type_ok(unsigned int type, bool pat)
{
	return type == 0 || type == 1 || (type >= 4 && type <= 6) || (pat && type == 7);
}

static bool types_ok(u64 val, bool pat)
{
	for (unsigned int i = 0; i < 8; i++)
		if (!mem_type_ok(val >> (8 * i) & 0xff, pat))
			return false;
	return true;
}

static bool pat_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	(void)msr;
	if (!types_ok(val, true))
		return false;
	cpu->s.pat = val;
	return true;
}

static u64 *mtrr_fixed(struct x86_cpu *cpu, u32 msr)
{
	if (msr == MSR_MTRR_FIX64K)
		return &cpu->s.mtrr_fixed[0];
	if (msr < MSR_MTRR_FIX4K)
		return &cpu->s.mtrr_fixed[1 + msr - MSR_MTRR_FIX16K];
	return &cpu->s.mtrr_fixed[3 + msr - MSR_MTRR_FIX4K];
}

static bool mtrr_fixed_read(struct x86_cpu *cpu, u32 msr, u64 *val)
{
	*val = *mtrr_fixed(cpu, msr);
	return true;
}

static bool mtrr_fixed_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	if (!types_ok(val, false))
		return false;
	*mtrr_fixed(cpu, msr) = val;
	return true;
}

static bool mtrr_var_read(struct x86_cpu *cpu, u32 msr, u64 *val)
{
	unsigned int i = (msr - MSR_MTRR_PHYS_BASE0) / 2;

	*val = msr & 1 ? cpu->s.mtrr_mask[i] : cpu->s.mtrr_base[i];
	return true;
}

static bool mtrr_var_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	unsigned int i = (msr - MSR_MTRR_PHYS_BASE0) / 2;

	if (val >> x86_maxphyaddr(cpu))
		return false;
	if (msr & 1) {
		if (val & 0x7ff)
			return false;
		cpu->s.mtrr_mask[i] = val;
		return true;
	}
	if ((val & 0xf00) || !mem_type_ok(val & 0xff, false))
		return false;
	cpu->s.mtrr_base[i] = val;
	return true;
}

static bool mtrr_def_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	(void)msr;
	if ((val & ~0xcffULL) || !mem_type_ok(val & 0xff, false))
		return false;
	cpu->s.mtrr_def_type = val;
	return true;
}

/* --- others --- */

/* SDM vol. 4: XD disable works through CPUID and EFER; both take it from here. */
static bool misc_enable_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	const u64 fixed = MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL;
	const u64 writable = MISC_ENABLE_FAST_STRING | MISC_ENABLE_LIMIT_CPUID;

	(void)msr;
	cpu->s.misc_enable = (val & writable) | fixed;
	return true;
}

static bool platform_info_read(struct x86_cpu *cpu, u32 msr, u64 *val)
{
	u64 ratio = x86_cpuid_tsc_hz(cpu) / 100000000;

	(void)msr;
	ratio = ratio ? min(ratio, (u64)0xff) : 1;
	*val = ratio << 8 |
	       ratio << 40; /* maximum non-turbo and maximum efficiency ratio, in units of 100 MHz */
	return true;
}

static bool write_only_read(struct x86_cpu *cpu, u32 msr, u64 *val)
{
	(void)cpu, (void)msr, (void)val;
	return false;
}

/* Rows in ascending order (the unit tests check): found by bisection. */
static const struct msr_row msrs[] = {
	{ MSR_P5_MC_ADDR, MSR_P5_MC_TYPE, .kind = MSR_IGNORE },
	{ MSR_TSC, MSR_TSC, .kind = MSR_FUNC, .who = MSR_ON_TSC, .read = tsc_read, .write = tsc_write },
	{ MSR_PLATFORM_ID, MSR_PLATFORM_ID, .kind = MSR_CONST, .who = MSR_ON_INTEL },
	{ MSR_EBL_CR_POWERON, MSR_EBL_CR_POWERON, .kind = MSR_IGNORE, .who = MSR_ON_INTEL },
	{ MSR_FEATURE_CONTROL, MSR_FEATURE_CONTROL, .kind = MSR_CONST, .who = MSR_ON_INTEL, .value = 1 },
	{ MSR_TSC_ADJUST, MSR_TSC_ADJUST, .kind = MSR_FIELD, .who = MSR_ON_TSC_ADJUST,
	  .offset = FIELD(tsc_adjust), .write = tsc_adjust_write },
	/* IBRS, and STIBP, which is no fault where CPUID lacks it; SSBD would be a feature of its own */
	{ MSR_SPEC_CTRL, MSR_SPEC_CTRL, .kind = MSR_FIELD, .who = MSR_ON_SPEC, .offset = FIELD(spec_ctrl),
	  .reserved = ~3ULL },
	{ MSR_PRED_CMD, MSR_PRED_CMD, .kind = MSR_IGNORE, .who = MSR_ON_SPEC, .reserved = ~1ULL,
	  .read = write_only_read },
	{ MSR_BIOS_UPDT_TRIG, MSR_BIOS_UPDT_TRIG, .kind = MSR_IGNORE, .who = MSR_ON_INTEL,
	  .read = write_only_read },
	/* The revision is in the upper half; the lower is written before it is read. */
	{ MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, .kind = MSR_IGNORE, .value = 0x0100000000ULL },
	{ MSR_FSB_FREQ, MSR_FSB_FREQ, .kind = MSR_CONST, .who = MSR_ON_INTEL, .value = 0x5 /* 100 MHz */ },
	{ MSR_PLATFORM_INFO, MSR_PLATFORM_INFO, .kind = MSR_CONST, .who = MSR_ON_INTEL,
	  .read = platform_info_read },
	/* fixed ranges, write-combining */
	{ MSR_MTRR_CAP, MSR_MTRR_CAP, .kind = MSR_CONST, .who = MSR_ON_MTRR,
	  .value = BIT(10) | BIT(8) | X86_MTRR_VAR },
	{ MSR_ARCH_CAPABILITIES, MSR_ARCH_CAPABILITIES, .kind = MSR_CONST, .who = MSR_ON_ARCH_CAP,
	  .value = ARCH_CAP },
	{ MSR_BBL_CR_CTL3, MSR_BBL_CR_CTL3, .kind = MSR_IGNORE, .who = MSR_ON_INTEL, .value = 0xbe702111 },
	{ MSR_SYSENTER_CS, MSR_SYSENTER_CS, .kind = MSR_FIELD, .who = MSR_ON_SEP,
	  .offset = FIELD(sysenter_cs), .reserved = 0xffffffff00000000ULL },
	{ MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, .kind = MSR_CANONICAL, .who = MSR_ON_SEP,
	  .offset = FIELD(sysenter_esp) },
	{ MSR_MCG_CAP, MSR_MCG_CAP, .kind = MSR_CONST, .who = MSR_ON_MCA }, /* no banks */
	{ MSR_MCG_STATUS, MSR_MCG_STATUS, .kind = MSR_FIELD, .who = MSR_ON_MCA,
	  .offset = FIELD(mcg_status), .reserved = ~7ULL },
	{ MSR_MISC_ENABLE, MSR_MISC_ENABLE, .kind = MSR_FIELD, .who = MSR_ON_INTEL,
	  .offset = FIELD(misc_enable), .write = misc_enable_write },
	{ MSR_DEBUGCTL, MSR_DEBUGCTL, .kind = MSR_IGNORE, .reserved = ~0ULL }, /* no branch records, no BTF */
	{ MSR_LASTBRANCHFROMIP, MSR_LASTINTTOIP, .kind = MSR_CONST },
	{ MSR_MTRR_PHYS_BASE0, MSR_MTRR_PHYS_BASE0 + 2 * X86_MTRR_VAR - 1, .kind = MSR_FUNC, .who = MSR_ON_MTRR,
	  .read = mtrr_var_read, .write = mtrr_var_write },
	{ MSR_MTRR_FIX64K, MSR_MTRR_FIX64K, .kind = MSR_FUNC, .who = MSR_ON_MTRR,
	  .read = mtrr_fixed_read, .write = mtrr_fixed_write },
	{ MSR_MTRR_FIX16K, MSR_MTRR_FIX16K + 1, .kind = MSR_FUNC, .who = MSR_ON_MTRR,
	  .read = mtrr_fixed_read, .write = mtrr_fixed_write },
	{ MSR_MTRR_FIX4K, MSR_MTRR_FIX4K + 7, .kind = MSR_FUNC, .who = MSR_ON_MTRR,
	  .read = mtrr_fixed_read, .write = mtrr_fixed_write },
	{ MSR_PAT, MSR_PAT, .kind = MSR_FIELD, .who = MSR_ON_PAT, .offset = FIELD(pat), .write = pat_write },
	{ MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, .kind = MSR_FIELD, .who = MSR_ON_MTRR,
	  .offset = FIELD(mtrr_def_type), .write = mtrr_def_write },
	{ MSR_XSS, MSR_XSS, .kind = MSR_FIELD, .who = MSR_ON_XSAVES, .offset = FIELD(xss),
	  .reserved = ~0ULL },
	{ MSR_EFER, MSR_EFER, .kind = MSR_FIELD, .who = MSR_ON_EFER, .offset = FIELD(efer),
	  .write = efer_write },
	{ MSR_STAR, MSR_STAR, .kind = MSR_FIELD, .who = MSR_ON_SYSCALL, .offset = FIELD(star) },
	{ MSR_LSTAR, MSR_CSTAR, .kind = MSR_CANONICAL, .who = MSR_ON_LM, .offset = FIELD(lstar) },
	{ MSR_SFMASK, MSR_SFMASK, .kind = MSR_FIELD, .who = MSR_ON_LM, .offset = FIELD(sfmask),
	  .reserved = 0xffffffff00000000ULL },
	{ MSR_FS_BASE, MSR_GS_BASE, .kind = MSR_FUNC, .who = MSR_ON_LM, .read = seg_base_read,
	  .write = seg_base_write },
	{ MSR_KERNEL_GS_BASE, MSR_KERNEL_GS_BASE, .kind = MSR_CANONICAL, .who = MSR_ON_LM,
	  .offset = FIELD(kernel_gs_base) },
	{ MSR_TSC_AUX, MSR_TSC_AUX, .kind = MSR_FIELD, .who = MSR_ON_TSC_AUX, .offset = FIELD(tsc_aux),
	  .reserved = 0xffffffff00000000ULL },
	/* The four old performance counters stand still. */
	{ MSR_K7_EVNTSEL0, MSR_K7_PERFCTR0 + 3, .kind = MSR_IGNORE, .who = MSR_ON_AMD },
	{ MSR_K8_SYSCFG, MSR_K8_SYSCFG, .kind = MSR_IGNORE, .who = MSR_ON_AMD },
	{ MSR_K7_HWCR, MSR_K7_HWCR, .kind = MSR_IGNORE, .who = MSR_ON_AMD,
	  .value = BIT(24) /* TSC runs at P0 frequency */ },
	{ MSR_K8_IORR_BASE0, MSR_K8_TOP_MEM1, .kind = MSR_IGNORE, .who = MSR_ON_AMD },
	{ MSR_K8_TOP_MEM2, MSR_K8_TOP_MEM2, .kind = MSR_IGNORE, .who = MSR_ON_AMD },
	{ MSR_K8_NB_CFG, MSR_K8_PATCH_LOADER, .kind = MSR_IGNORE, .who = MSR_ON_AMD },
	{ MSR_K8_INT_PENDING, MSR_K8_INT_PENDING, .kind = MSR_IGNORE, .who = MSR_ON_AMD },
	{ MSR_K8_TSEG_ADDR, MSR_K8_TSEG_MASK, .kind = MSR_IGNORE, .who = MSR_ON_AMD },
	{ MSR_VM_CR, MSR_VM_CR, .kind = MSR_CONST, .who = MSR_ON_AMD, .value = BIT(4) /* SVM disabled */ },
	{ MSR_K8_DC_CFG, MSR_K8_DC_CFG, .kind = MSR_IGNORE, .who = MSR_ON_AMD },
	/* LFENCE always serializes */
	{ MSR_K8_DE_CFG, MSR_K8_DE_CFG, .kind = MSR_IGNORE, .who = MSR_ON_AMD, .value = BIT(1) },
};

/* LSTAR and CSTAR, ESP and EIP are rows of two: their fields must follow each other. */
static_assert(FIELD(cstar) == FIELD(lstar) + 8 && FIELD(sysenter_eip) == FIELD(sysenter_esp) + 8,
	      "MSR rows of two");

static bool msr_present(const struct x86_cpu *cpu, const struct msr_row *r)
{
	switch (r->who) {
	case MSR_ON_INTEL:
		return x86_is_intel(cpu);
	case MSR_ON_AMD:
		return !x86_is_intel(cpu);
	case MSR_ON_LM:
		return !(x86_efer_reserved(cpu) & X86_EFER_LME);
	case MSR_ON_SPEC:
		return x86_has_spec_ctrl(cpu);
	case MSR_ON_TSC_AUX:
		return x86_has(cpu, X86_FEAT_RDTSCP) || x86_has(cpu, X86_FEAT_RDPID);
	case MSR_ON_EFER:
		return x86_efer_reserved(cpu) != ~0ULL;
	case MSR_ON_SYSCALL:
		return x86_has(cpu, X86_FEAT_SYSCALL);
	case MSR_ON_TSC_ADJUST:
		return x86_has_tsc_adjust(cpu);
	case MSR_ON_SEP:
		return x86_has(cpu, X86_FEAT_SEP);
	case MSR_ON_XSAVES:
		return x86_has(cpu, X86_FEAT_XSAVES);
	case MSR_ON_ARCH_CAP:
		return x86_cpuid_bit(cpu, CPUID_7_EDX, 29);
	case MSR_ON_TSC:
		return x86_has(cpu, X86_FEAT_TSC);
	case MSR_ON_MTRR:
		return x86_cpuid_bit(cpu, CPUID_1_EDX, 12);
	case MSR_ON_PAT:
		return x86_cpuid_bit(cpu, CPUID_1_EDX, 16);
	case MSR_ON_MCA:
		return x86_cpuid_bit(cpu, CPUID_1_EDX, 14);
	default:
		return true;
	}
}

static const struct msr_row *msr_find(const struct x86_cpu *cpu, u32 msr)
{
	unsigned int lo = 0, hi = ARRAY_SIZE(msrs);

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (msr > msrs[mid].last)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == ARRAY_SIZE(msrs) || msr < msrs[lo].first || !msr_present(cpu, &msrs[lo]))
		return NULL;
	return &msrs[lo];
}

static u64 *msr_field(struct x86_cpu *cpu, const struct msr_row *r, u32 msr)
{
	return (u64 *)((char *)&cpu->s + r->offset) + (msr - r->first);
}

/* The local APIC's, by far the busiest */
static bool is_apic_msr(u32 msr)
{
	return (msr >= MSR_X2APIC && msr <= MSR_X2APIC_END) || msr == MSR_TSC_DEADLINE ||
	       msr == MSR_APIC_BASE;
}

bool x86_msr_read(struct x86_cpu *cpu, u32 msr, u64 *val)
{
	const struct msr_row *r;

	if (is_apic_msr(msr))
		return x86_apic_msr_ok(cpu, msr) && emul_msr_read(&cpu->core, msr, val);
	r = msr_find(cpu, msr);
	if (!r)
		return false;
	if (r->read)
		return r->read(cpu, msr, val);
	*val = r->kind == MSR_FIELD || r->kind == MSR_CANONICAL ? *msr_field(cpu, r, msr) : r->value;
	return true;
}

bool x86_msr_write(struct x86_cpu *cpu, u32 msr, u64 val)
{
	const struct msr_row *r;

	if (is_apic_msr(msr))
		return x86_apic_msr_ok(cpu, msr) && emul_msr_write(&cpu->core, msr, val);
	r = msr_find(cpu, msr);
	if (!r || (val & r->reserved))
		return false;
	if (r->write)
		return r->write(cpu, msr, val);
	switch (r->kind) {
	case MSR_FIELD:
		*msr_field(cpu, r, msr) = val;
		return true;
	case MSR_CANONICAL:
		if (!x86_canonical(val))
			return false;
		*msr_field(cpu, r, msr) = val;
		return true;
	case MSR_IGNORE:
		return true;
	default:
		return false;
	}
}
