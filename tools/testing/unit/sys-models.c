// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-models - every encoding of the instruction table under every CPU model, and with each feature taken
 * away
 *
 * Oracle: the models' own CPUID: an instruction executes if its bit (SDM vol. 2 and AMD APM vol. 3, "CPUID
 * Feature Flag" of each instruction) is set, and is #UD if not, but for the encodings that were something
 * else before the feature came: TZCNT (BSF), LZCNT (BSR), and PREFETCHW (a NOP on processors with 64-bit
 * mode, APM "PREFETCH").
 *
 * Registers follow CPUID as well: which bits of CR4, EFER and XCR0 can be set, and which MSRs there are. Every feature has
 * to be tried in one of these ways, or to be one with which nothing can be done.
 */
#include "../../../emul/guest/x86/decode-table.h"
#include "sys-common.h"

struct sample {
	u8 len, bytes[X86_INSN_MAX];
	u8 feat;
	u16 op;
};
static struct sample samples[16384];
static unsigned int nr_samples;

/* Encodings for each row in 64-bit mode: all opcodes, prefixes, and ModRM forms; memory operands are (%rax).
 */
static void try_bytes(const u8 *bytes, u8 *seen)
{
	struct x86_insn insn;
	const struct x86_row *row;
	unsigned int form;

	if (x86_decode(&insn, bytes, X86_INSN_MAX, X86_MODE_64) != X86_DECODE_OK)
		return;
	row = &x86_rows[insn.row];
	form = (insn.flags & X86_IF_MEM ? 1 : 0) | (insn.flags & X86_IF_L ? 2 : 0);
	if (seen[insn.row * 4 + form] || nr_samples == ARRAY_SIZE(samples))
		return;
	seen[insn.row * 4 + form] = 1;
	samples[nr_samples].len = insn.len;
	memcpy(samples[nr_samples].bytes, bytes, X86_INSN_MAX);
	samples[nr_samples].op = insn.op;
	samples[nr_samples].feat =
		row->flags & X86_RF_L1_AVX2 && insn.flags & X86_IF_L ? X86_FEAT_AVX2 : row->feat;
	nr_samples++;
}

static void collect(void)
{
	static const u8 prefixes[] = { 0, 0x66, 0xf3, 0xf2 };
	u8 *seen = calloc(x86_row_count, 4);

	for (unsigned int map = 0; map < 4; map++)
		for (unsigned int vex = 0; vex < 2; vex++)
			for (unsigned int p = 0; p < 4; p++)
				for (unsigned int op = 0; op < 256; op++)
					for (unsigned int w = 0; w < 4; w++)
						for (unsigned int modrm = 0; modrm < 256; modrm++) {
							u8 b[X86_INSN_MAX] = { 0 }, n = 0;

							/* memory as (%rax) alone */
							if (modrm < 0xc0 && (modrm & 7) != 0)
								continue;
							if (modrm >= 0x40 && modrm < 0xc0)
								continue;
							if (vex) {
								if (!map)
									continue;
								/* bit 0 of w: W, bit 1: L; vvvv = XMM0 */
								b[n++] = 0xc4;
								b[n++] = 0xe0 | map;
								b[n++] = (w & 1) << 7 | 0x78 | (w >> 1) << 2 |
									 p;
							} else {
								if (prefixes[p])
									b[n++] = prefixes[p];
								if (w > 1)
									continue;
								if (w)
									b[n++] = 0x48;
								if (map)
									b[n++] = 0x0f;
								if (map > 1)
									b[n++] = map == 2 ? 0x38 : 0x3a;
							}
							b[n++] = (u8)op;
							b[n++] = (u8)modrm;
							try_bytes(b, seen);
						}
	free(seen);
}

static bool undefined(const struct sample *t)
{
	long64(0);
	s->cr4 |= ~x86_cr4_reserved(cpu) &
		  (X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE | X86_CR4_FSGSBASE | X86_CR4_PKE);
	s->xcr0 = x86_xcr0_supported(cpu) | 1;
	s->fpu.fx.fcw = 0x37f;
	s->fpu.fx.fsw = s->fpu.fx.ftw = 0;
	s->fpu.fx.mxcsr = 0x1f80;
	for (unsigned int i = 0; i < 16; i++)
		s->gpr[i] = i == X86_RSP ? STACK : DATA;
	s->gpr[X86_RCX] = s->gpr[X86_RDX] = 0;
	memset(s->fpu.fx.xmm, 0, sizeof(s->fpu.fx.xmm));
	cpu->monitored = NULL;		/* or MWAIT waits */
	s->tr.limit = 0x2067;
	emul_x86_changed(vcpu);
	step_bytes(t->bytes, t->len);
	return at_handler() == X86_EXC_UD;
}

/* #UD by design, whatever the model has, in the state above */
static bool never(u16 op)
{
	switch (op) {
	case X86_OP_UD0:
	case X86_OP_UD1:
	case X86_OP_UD2:
	case X86_OP_RSM:
	case X86_OP_VMCALL:
	case X86_OP_VMMCALL:
		return true;
	default:
		return false;
	}
}

/* Was a valid encoding before its feature came */
static bool older(u16 op)
{
	return op == X86_OP_TZCNT || op == X86_OP_LZCNT || op == X86_OP_PREFETCH;
}

/* Not decided by a feature: register numbers, SYSCALL's mode, Intel or AMD */
static bool by_state(const struct sample *t)
{
	switch (t->op) {
	case X86_OP_MOV_FROM_CR:
	case X86_OP_MOV_TO_CR:
	case X86_OP_MOV_FROM_DR:
	case X86_OP_MOV_TO_DR:
	case X86_OP_MOV_FROM_SEG:
	case X86_OP_MOV_TO_SEG:
	case X86_OP_SYSENTER:
	case X86_OP_SYSEXIT:
		return true;
	default:
		return false;
	}
}

/* Features that were seen to be missed: by name, as x86_cpuid_feature() has them. */
static const char *tried[128];

static void note(const char *feature)
{
	unsigned int i = 0;

	while (tried[i] && strcmp(tried[i], feature))
		i++;
	tried[i] = feature;
}

static bool is_tried(const char *feature)
{
	for (unsigned int i = 0; tried[i]; i++)
		if (!strcmp(tried[i], feature))
			return true;
	return false;
}

/* @without: the feature that @model lacks, or NULL: everything is tried. */
static void check(const char *model, const char *without)
{
	unsigned int bad = 0, ran = 0, ud = 0;

	machine_init(model, 1);
	for (unsigned int i = 0; i < nr_samples; i++) {
		const struct sample *t = &samples[i];
		bool has = x86_has(cpu, t->feat), want = never(t->op) || (!has && !older(t->op)), got;

		if (by_state(t) || (without && has))
			continue;
		got = undefined(t);
		ran++;
		ud += got;
		if (got != want && bad++ < 5)
			diag("%s: %s (feature %u) %02x %02x %02x %02x %02x: %s", model, x86_op_name(t->op),
			     t->feat, t->bytes[0], t->bytes[1], t->bytes[2], t->bytes[3], t->bytes[4],
			     got ? "#UD" : "executes");
	}
	/* Many features have no instruction of their own: see below. */
	if (!without || ran)
		ok(!bad && ran, "%s: %u encodings, %u of them #UD, as CPUID says", model, ran, ud);
	if (without && ud)
		note(without);
	machine_exit();
}

/* --- features that are a bit of a register --- */

static bool cpuid_bit(u32 leaf, u32 sub, unsigned int reg, unsigned int bit)
{
	struct x86_cpuid_leaf l;
	const u32 *r[] = { &l.eax, &l.ebx, &l.ecx, &l.edx };

	x86_cpuid(cpu, leaf, sub, &l);
	return *r[reg] >> bit & 1;
}
enum { EAX, EBX, ECX, EDX };

/* Where CPUID shows a feature, SDM vol. 2 "CPUID"; bit 64: always there. */
struct place { u32 leaf, sub; u8 reg, bit; };
#define ALWAYS	{ 0, 0, 0, 64 }
static bool shown(const struct place *p)
{
	return p->bit == 64 || cpuid_bit(p->leaf, p->sub, p->reg, p->bit);
}

/* Registers are written by 32-bit code: a model may lack 64-bit mode. */
static bool write_cr4(u64 bit)
{
	protected32(0);
	s->gpr[X86_RAX] = bit;
	STEP(0x0f, 0x22, 0xe0);
	return at_handler() < 0;
}

static bool write_msr(u32 msr, u64 val)
{
	protected32(0);
	s->gpr[X86_RCX] = msr;
	s->gpr[X86_RAX] = (u32)val;
	s->gpr[X86_RDX] = val >> 32;
	STEP(0x0f, 0x30);
	return at_handler() < 0;
}

static bool read_msr(u32 msr)
{
	protected32(0);
	s->gpr[X86_RCX] = msr;
	STEP(0x0f, 0x32);
	return at_handler() < 0;
}

static bool write_xcr0(u64 val)
{
	long64(0);
	s->cr4 |= X86_CR4_OSXSAVE;
	s->gpr[X86_RAX] = (u32)val;
	s->gpr[X86_RDX] = val >> 32;
	STEP(0x0f, 0x01, 0xd1);
	return at_handler() < 0;
}

/* SDM vol. 3 "Control Registers"; PCIDE needs 64-bit mode, and is tried below. */
static const struct { u8 bit; const char *name; struct place place; } cr4_bits[] = {
	{ 0, "vme", { 1, 0, EDX, 1 } }, { 1, "vme", { 1, 0, EDX, 1 } }, { 2, "tsc", { 1, 0, EDX, 4 } },
	{ 3, "de", { 1, 0, EDX, 2 } }, { 4, "pse", { 1, 0, EDX, 3 } }, { 5, "pae", { 1, 0, EDX, 6 } },
	{ 6, "mce", { 1, 0, EDX, 7 } }, { 7, "pge", { 1, 0, EDX, 13 } }, { 8, NULL, ALWAYS },
	{ 9, "fxsr", { 1, 0, EDX, 24 } }, { 10, "sse", { 1, 0, EDX, 25 } }, { 11, "umip", { 7, 0, ECX, 2 } },
	{ 16, "fsgsbase", { 7, 0, EBX, 0 } }, { 18, "xsave", { 1, 0, ECX, 26 } }, { 20, "smep", { 7, 0, EBX, 7 } },
	{ 21, "smap", { 7, 0, EBX, 20 } }, { 22, "pku", { 7, 0, ECX, 3 } },
}, efer_bits[] = {
	{ 0, "syscall", { 0x80000001, 0, EDX, 11 } }, { 8, "lm", { 0x80000001, 0, EDX, 29 } },
	{ 11, "nx", { 0x80000001, 0, EDX, 20 } },
};

/* SDM vol. 4 "Architectural MSRs", with the condition of each; 2nd: or this one */
static const struct { u32 msr; const char *name; struct place place, or; } msrs[] = {
	{ 0x10, "tsc", { 1, 0, EDX, 4 }, { 1, 0, EDX, 4 } }, { 0x1b, "apic", { 1, 0, EDX, 9 }, { 1, 0, EDX, 9 } },
	{ 0x3b, "tsc_adjust", { 7, 0, EBX, 1 }, { 7, 0, EBX, 1 } },
	{ 0x48, "spec_ctrl", { 7, 0, EDX, 26 }, { 7, 0, EDX, 26 } },
	{ 0xfe, "mtrr", { 1, 0, EDX, 12 }, { 1, 0, EDX, 12 } }, { 0x200, "mtrr", { 1, 0, EDX, 12 }, { 1, 0, EDX, 12 } },
	{ 0x10a, "arch_capabilities", { 7, 0, EDX, 29 }, { 7, 0, EDX, 29 } },
	{ 0x174, "sep", { 1, 0, EDX, 11 }, { 1, 0, EDX, 11 } }, { 0x176, "sep", { 1, 0, EDX, 11 }, { 1, 0, EDX, 11 } },
	{ 0x179, "mca", { 1, 0, EDX, 14 }, { 1, 0, EDX, 14 } }, { 0x277, "pat", { 1, 0, EDX, 16 }, { 1, 0, EDX, 16 } },
	{ 0x6e0, "tsc_deadline", { 1, 0, ECX, 24 }, { 1, 0, ECX, 24 } },
	{ 0xda0, "xsaves", { 0xd, 1, EAX, 3 }, { 0xd, 1, EAX, 3 } },
	{ 0xc0000081, "syscall", { 0x80000001, 0, EDX, 11 }, { 0x80000001, 0, EDX, 11 } },
	{ 0xc0000082, "lm", { 0x80000001, 0, EDX, 29 }, { 0x80000001, 0, EDX, 29 } },
	{ 0xc0000100, "lm", { 0x80000001, 0, EDX, 29 }, { 0x80000001, 0, EDX, 29 } },
	{ 0xc0000103, NULL, { 0x80000001, 0, EDX, 27 }, { 7, 0, ECX, 22 } },
};

/*
 * Can what CPUID of @model shows be set, and nothing else? SYSCALL is shown to 64-bit code alone on Intel's processors:
 * CPUID is asked in that mode where there is one.
 */
static void check_registers(const char *model, const char *without)
{
	bool lm, can[ARRAY_SIZE(msrs)], msr = true;
	unsigned int bad = 0, writes = 0;
	u64 cr4 = 0, efer = 0, xcr0;
	struct x86_cpuid_leaf l;

	machine_init(model, 1);
	apic_base = 0xfee00900;
	lm = cpuid_bit(0x80000001, 0, EDX, 29);
	if (lm)
		long64(0);
	for (unsigned int i = 0; i < ARRAY_SIZE(cr4_bits); i++)
		cr4 |= shown(&cr4_bits[i].place) ? BIT_ULL(cr4_bits[i].bit) : 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(efer_bits); i++)
		efer |= shown(&efer_bits[i].place) ? BIT_ULL(efer_bits[i].bit) : 0;
	/* Without 64-bit mode there is nowhere to see SYSCALL, which AMD's have without. */
	if (!lm && x86_has(cpu, X86_FEAT_SYSCALL))
		efer |= 1;
	for (unsigned int i = 0; i < ARRAY_SIZE(msrs); i++)
		can[i] = shown(&msrs[i].place) || shown(&msrs[i].or) || (msrs[i].msr == 0xc0000081 && (efer & 1));
	x86_cpuid(cpu, 0xd, 0, &l);
	xcr0 = cpuid_bit(1, 0, ECX, 26) ? l.eax | (u64)l.edx << 32 : 0;
	msr = cpuid_bit(1, 0, EDX, 5);

	for (unsigned int i = 0; i < 32; i++, writes++)
		if (i != 17 && write_cr4(BIT_ULL(i)) != !!(cr4 & BIT_ULL(i)) && bad++ < 5)
			diag("%s: CR4 bit %u %s", model, i, cr4 & BIT_ULL(i) ? "can't be set" : "can be set");
	for (unsigned int i = 0; msr && i < 64; i++, writes++)
		/* LMA is not written, SDM vol. 4 "IA32_EFER" */
		if (efer && i != 10 && write_msr(0xc0000080, BIT_ULL(i)) != !!(efer & BIT_ULL(i)) && bad++ < 5)
			diag("%s: EFER bit %u %s", model, i, efer & BIT_ULL(i) ? "can't be set" : "can be set");
	for (unsigned int i = 0; i < ARRAY_SIZE(msrs); i++, writes++)
		if (read_msr(msrs[i].msr) != (msr && can[i]) && bad++ < 5)
			diag("%s: MSR %#x %s", model, msrs[i].msr, can[i] ? "can't be read" : "can be read");
	/* Every set of the components below 10, SDM vol. 1 "Enabling the XSAVE Feature Set": x87 always, AVX with SSE */
	for (u64 v = 0; lm && xcr0 && v < 0x400; v++, writes++) {
		bool good = (v & 1) && !(v & ~xcr0) && (!(v & 4) || (v & 2));

		if (write_xcr0(v) != good && bad++ < 5)
			diag("%s: XCR0 %#llx %s", model, (unsigned long long)v, good ? "can't be set" : "can be set");
	}
	for (unsigned int i = 10; lm && xcr0 && i < 64; i++, writes++)
		if (write_xcr0(BIT_ULL(i) | 1) && bad++ < 5)
			diag("%s: XCR0 bit %u can be set", model, i);
	ok(!bad, "%s: CR4, EFER, XCR0 and MSRs, %u accesses as CPUID says", model, writes);
	machine_exit();
	for (unsigned int i = 0; without && i < ARRAY_SIZE(cr4_bits); i++)
		if (cr4_bits[i].name && !strcmp(cr4_bits[i].name, without) && !(cr4 & BIT_ULL(cr4_bits[i].bit)))
			note(without);
	for (unsigned int i = 0; without && i < ARRAY_SIZE(efer_bits); i++)
		if (!strcmp(efer_bits[i].name, without) && !(efer & BIT_ULL(efer_bits[i].bit)))
			note(without);
	for (unsigned int i = 0; without && i < ARRAY_SIZE(msrs); i++)
		if (msrs[i].name && !strcmp(msrs[i].name, without) && !can[i])
			note(without);
}

/* --- features that are something else --- */

/* Is a page of 1 GiB what it says? Else its PS bit is reserved: SDM vol. 3 "4-Level Paging". */
static bool has_1g(void)
{
	long64(0);
	poke(0x2008, 8, 0x87);
	s->gpr[X86_RAX] = 0x40000000 + DATA;
	emul_x86_changed(vcpu);
	STEP(0x8a, 0x00);
	return at_handler() < 0;
}
static bool has_xgetbv1(void)
{
	long64(0);
	s->cr4 |= X86_CR4_OSXSAVE;
	s->gpr[X86_RCX] = 1;
	emul_x86_changed(vcpu);
	STEP(0x0f, 0x01, 0xd0);
	return at_handler() < 0;
}
static bool has_pcid(void)
{
	long64(0);
	s->gpr[X86_RAX] = s->cr4 | X86_CR4_PCIDE;
	STEP(0x0f, 0x22, 0xe0);
	return at_handler() < 0;
}
/* Bits 13 to 20 of a 4-MiB page's PDE: address bits, or reserved. SDM vol. 3 "32-Bit Paging" */
static bool has_pse36(void)
{
	protected32(0);
	for (unsigned int i = 0; i < 4; i++)
		poke(0x1000 + i * 4, 4, i << 22 | 0x87);
	poke(0x1000 + 4 * 4, 4, 0x2087);		/* 4 GiB up: no memory, which reads all ones */
	s->cr4 = X86_CR4_PSE;
	s->cr0 |= X86_CR0_PG;
	s->gpr[X86_RBX] = 4 << 22;
	emul_x86_changed(vcpu);
	STEP(0x8a, 0x03);
	return at_handler() < 0;
}
static bool has_msr(void)
{
	protected32(0);
	s->gpr[X86_RCX] = 0x10;
	STEP(0x0f, 0x32);
	return at_handler() != X86_EXC_UD;
}
static bool has_hypervisor(void)
{
	struct x86_cpuid_leaf l;

	x86_cpuid(cpu, 0x40000000, 0, &l);
	return l.eax == 0x40000010;
}
/* SDM vol. 3 "x2APIC State Transitions": EXTD is reserved without the feature. */
static bool has_x2apic(void)
{
	return read_msr(0x802) || x86_apic_msr_ok(cpu, 0x802);
}

static void check_others(void)
{
	static const struct { const char *name; bool (*has)(void); } t[] = {
		{ "pdpe1gb", has_1g }, { "xgetbv1", has_xgetbv1 }, { "pcid", has_pcid }, { "pse36", has_pse36 },
		{ "msr", has_msr }, { "hypervisor", has_hypervisor }, { "x2apic", has_x2apic },
	};
	char name[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		bool with, without;

		machine_init("max", 1);
		with = t[i].has();
		machine_exit();
		snprintf(name, sizeof(name), "max,-%s", t[i].name);
		machine_init(name, 1);
		without = t[i].has();
		machine_exit();
		ok(with && !without, "%s: with it, and not without", t[i].name);
		note(t[i].name);
	}
}

/* What can be done without the feature as well, if not as fast; LZCNT and TZCNT do something else, see older(). */
static bool nothing_to_try(const char *feature)
{
	static const char *const t[] = { "ss", "arat", "erms", "fsrm", "invtsc", "lzcnt", "3dnowprefetch" };

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		if (!strcmp(t[i], feature))
			return true;
	return false;
}

int main(void)
{
	static const char *const models[] = {
		"max", "qemu64", "Nehalem", "Haswell", "x86-64-v2", "x86-64-v3"
	};
	const char *feature;
	char name[64];

	collect();
	diag("%u encodings of %u rows", nr_samples, x86_row_count - 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(models); i++) {
		check(models[i], NULL);
		check_registers(models[i], NULL);
	}
	check("max,+monitor", NULL);
	for (unsigned int i = 0; (feature = x86_cpuid_feature(i)); i++) {
		snprintf(name, sizeof(name), "max,-%s", feature);
		/* Without 64-bit mode there is no 64-bit code to try. */
		if (strcmp(feature, "lm") && strcmp(feature, "syscall") && strcmp(feature, "pae") && strcmp(feature, "msr"))
			check(name, feature);
		check_registers(name, feature);
	}
	check_others();
	for (unsigned int i = 0; (feature = x86_cpuid_feature(i)); i++)
		if (!nothing_to_try(feature))
			ok(is_tried(feature), "%s: what it gives faults without it", feature);
	return tap_done();
}
