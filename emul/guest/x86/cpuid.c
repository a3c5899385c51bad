// SPDX-License-Identifier: GPL-2.0-only
/*
 * cpuid.c - CPU models: which features the guest is offered, and the leaves that say so
 *
 * One table names every feature bit that may be offered: what isn't in it doesn't exist. A model is a list of
 * names of the table; "max" is all of it but what on_request() names. What the host's own instructions have to compute (SSE, AVX, ...) is
 * offered only if the host has it.
 *
 * The software CPU doesn't speculate. The Intel models say so in IA32_ARCH_CAPABILITIES, and "max" in its
 * model number as well (an in-order Atom): operating systems then leave out their costly defences.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cpuid.h"
#include "msr.h"

#define NO_FEAT	X86_FEAT_COUNT

#define XCR0_X87	BIT(0)
#define XCR0_SSE	BIT(1)
#define XCR0_AVX	BIT(2)
#define XCR0_PKRU	BIT(9)

struct feature {
	const char *name;
	u8 word;		/* enum cpuid_word */
	u8 bit;
	u8 feat;		/* enum x86_feat, or NO_FEAT */
	const char *needs[2];
};

static const struct feature features[] = {
	/* 1.EDX, SDM vol. 2 "CPUID", Feature Information */
	{ "fpu", CPUID_1_EDX, 0, X86_FEAT_FPU, { NULL } },
	{ "vme", CPUID_1_EDX, 1, NO_FEAT, { NULL } },
	{ "de", CPUID_1_EDX, 2, NO_FEAT, { NULL } },
	{ "pse", CPUID_1_EDX, 3, NO_FEAT, { NULL } },
	{ "tsc", CPUID_1_EDX, 4, X86_FEAT_TSC, { NULL } },
	{ "msr", CPUID_1_EDX, 5, X86_FEAT_MSR, { NULL } },
	{ "pae", CPUID_1_EDX, 6, NO_FEAT, { NULL } },
	{ "mce", CPUID_1_EDX, 7, NO_FEAT, { NULL } },
	{ "cx8", CPUID_1_EDX, 8, X86_FEAT_CX8, { NULL } },
	{ "apic", CPUID_1_EDX, 9, NO_FEAT, { "msr" } },
	{ "sep", CPUID_1_EDX, 11, X86_FEAT_SEP, { "msr" } },
	{ "mtrr", CPUID_1_EDX, 12, NO_FEAT, { "msr" } },
	{ "pge", CPUID_1_EDX, 13, NO_FEAT, { NULL } },
	{ "mca", CPUID_1_EDX, 14, NO_FEAT, { "mce" } },
	{ "cmov", CPUID_1_EDX, 15, X86_FEAT_CMOV, { NULL } },
	{ "pat", CPUID_1_EDX, 16, NO_FEAT, { "msr" } },
	{ "pse36", CPUID_1_EDX, 17, NO_FEAT, { "pse" } },
	{ "clflush", CPUID_1_EDX, 19, X86_FEAT_CLFLUSH, { NULL } },
	{ "mmx", CPUID_1_EDX, 23, X86_FEAT_MMX, { "fpu" } },
	{ "fxsr", CPUID_1_EDX, 24, X86_FEAT_FXSR, { "fpu" } },
	{ "sse", CPUID_1_EDX, 25, X86_FEAT_SSE, { "fxsr", "mmx" } },
	{ "sse2", CPUID_1_EDX, 26, X86_FEAT_SSE2, { "sse" } },
	{ "ss", CPUID_1_EDX, 27, NO_FEAT, { NULL } },
	/* 1.ECX */
	{ "sse3", CPUID_1_ECX, 0, X86_FEAT_SSE3, { "sse2" } },
	{ "pclmulqdq", CPUID_1_ECX, 1, X86_FEAT_PCLMUL, { "sse2" } },
	{ "monitor", CPUID_1_ECX, 3, X86_FEAT_MONITOR, { NULL } },
	{ "ssse3", CPUID_1_ECX, 9, X86_FEAT_SSSE3, { "sse3" } },
	{ "fma", CPUID_1_ECX, 12, X86_FEAT_FMA, { "avx" } },
	{ "cx16", CPUID_1_ECX, 13, X86_FEAT_CX16, { NULL } },
	{ "pcid", CPUID_1_ECX, 17, NO_FEAT, { "lm" } },
	{ "sse4_1", CPUID_1_ECX, 19, X86_FEAT_SSE41, { "ssse3" } },
	{ "sse4_2", CPUID_1_ECX, 20, X86_FEAT_SSE42, { "sse4_1" } },
	{ "x2apic", CPUID_1_ECX, 21, NO_FEAT, { "apic" } },
	{ "movbe", CPUID_1_ECX, 22, X86_FEAT_MOVBE, { NULL } },
	{ "popcnt", CPUID_1_ECX, 23, X86_FEAT_POPCNT, { NULL } },
	{ "tsc_deadline", CPUID_1_ECX, 24, NO_FEAT, { "apic", "tsc" } },
	{ "aes", CPUID_1_ECX, 25, X86_FEAT_AES, { "sse2" } },
	{ "xsave", CPUID_1_ECX, 26, X86_FEAT_XSAVE, { "fxsr" } },
	{ "avx", CPUID_1_ECX, 28, X86_FEAT_AVX, { "xsave", "sse4_2" } },
	{ "f16c", CPUID_1_ECX, 29, X86_FEAT_F16C, { "avx" } },
	{ "rdrand", CPUID_1_ECX, 30, X86_FEAT_RDRAND, { NULL } },
	{ "hypervisor", CPUID_1_ECX, 31, NO_FEAT, { NULL } },
	/* 6.EAX */
	{ "arat", CPUID_6_EAX, 2, NO_FEAT, { "apic" } },
	/* 7.0 */
	{ "fsgsbase", CPUID_7_EBX, 0, X86_FEAT_FSGSBASE, { "lm" } },
	{ "tsc_adjust", CPUID_7_EBX, 1, NO_FEAT, { "tsc", "msr" } },
	{ "bmi1", CPUID_7_EBX, 3, X86_FEAT_BMI1, { NULL } },
	{ "avx2", CPUID_7_EBX, 5, X86_FEAT_AVX2, { "avx" } },
	{ "smep", CPUID_7_EBX, 7, NO_FEAT, { NULL } },
	{ "bmi2", CPUID_7_EBX, 8, X86_FEAT_BMI2, { NULL } },
	{ "erms", CPUID_7_EBX, 9, NO_FEAT, { NULL } },
	{ "invpcid", CPUID_7_EBX, 10, X86_FEAT_INVPCID, { "pcid" } },
	{ "rdseed", CPUID_7_EBX, 18, X86_FEAT_RDSEED, { NULL } },
	{ "adx", CPUID_7_EBX, 19, X86_FEAT_ADX, { NULL } },
	{ "smap", CPUID_7_EBX, 20, X86_FEAT_SMAP, { NULL } },
	{ "clflushopt", CPUID_7_EBX, 23, X86_FEAT_CLFLUSHOPT, { "clflush" } },
	{ "clwb", CPUID_7_EBX, 24, X86_FEAT_CLWB, { "clflush" } },
	{ "sha", CPUID_7_EBX, 29, X86_FEAT_SHA, { "sse2" } },
	{ "umip", CPUID_7_ECX, 2, NO_FEAT, { NULL } },
	{ "pku", CPUID_7_ECX, 3, X86_FEAT_PKU, { "lm" } },
	{ "gfni", CPUID_7_ECX, 8, X86_FEAT_GFNI, { "sse2" } },
	{ "vaes", CPUID_7_ECX, 9, X86_FEAT_VAES, { "avx", "aes" } },
	{ "vpclmulqdq", CPUID_7_ECX, 10, X86_FEAT_VPCLMUL, { "avx", "pclmulqdq" } },
	{ "rdpid", CPUID_7_ECX, 22, X86_FEAT_RDPID, { "msr" } },
	{ "fsrm", CPUID_7_EDX, 4, NO_FEAT, { "erms" } },
	{ "spec_ctrl", CPUID_7_EDX, 26, NO_FEAT, { "msr" } },
	{ "arch_capabilities", CPUID_7_EDX, 29, NO_FEAT, { "spec_ctrl" } },
	/* 0DH.1 */
	{ "xsaveopt", CPUID_D1_EAX, 0, X86_FEAT_XSAVEOPT, { "xsave" } },
	{ "xsavec", CPUID_D1_EAX, 1, X86_FEAT_XSAVEC, { "xsave" } },
	{ "xgetbv1", CPUID_D1_EAX, 2, NO_FEAT, { "xsave" } },
	{ "xsaves", CPUID_D1_EAX, 3, X86_FEAT_XSAVES, { "xsavec", "msr" } },
	/* 80000001H, AMD APM vol. 3 "Obtaining Processor Information" */
	{ "lahf_lm", CPUID_EXT1_ECX, 0, X86_FEAT_LAHF64, { "lm" } },
	{ "lzcnt", CPUID_EXT1_ECX, 5, X86_FEAT_LZCNT, { NULL } },
	{ "3dnowprefetch", CPUID_EXT1_ECX, 8, X86_FEAT_PREFETCHW, { NULL } },
	{ "syscall", CPUID_EXT1_EDX, 11, X86_FEAT_SYSCALL, { "msr" } },
	{ "nx", CPUID_EXT1_EDX, 20, NO_FEAT, { "pae", "msr" } },
	{ "pdpe1gb", CPUID_EXT1_EDX, 26, NO_FEAT, { "lm" } },
	{ "rdtscp", CPUID_EXT1_EDX, 27, X86_FEAT_RDTSCP, { "tsc", "msr" } },
	{ "lm", CPUID_EXT1_EDX, 29, NO_FEAT, { "pae", "syscall" } },
	{ "invtsc", CPUID_EXT7_EDX, 8, NO_FEAT, { "tsc" } },
};
#define NR_FEATURES	ARRAY_SIZE(features)

/* What the host's instructions compute behind the seam: offered if the host has it. */
#define HOST_FEATS                                                                                          \
	(BIT_ULL(X86_FEAT_MMX) | BIT_ULL(X86_FEAT_SSE) | BIT_ULL(X86_FEAT_SSE2) | BIT_ULL(X86_FEAT_SSE3) |  \
	 BIT_ULL(X86_FEAT_SSSE3) | BIT_ULL(X86_FEAT_SSE41) | BIT_ULL(X86_FEAT_SSE42) |                      \
	 BIT_ULL(X86_FEAT_AES) | BIT_ULL(X86_FEAT_PCLMUL) | BIT_ULL(X86_FEAT_SHA) | BIT_ULL(X86_FEAT_AVX) | \
	 BIT_ULL(X86_FEAT_AVX2) | BIT_ULL(X86_FEAT_FMA) | BIT_ULL(X86_FEAT_F16C) | BIT_ULL(X86_FEAT_GFNI) | \
	 BIT_ULL(X86_FEAT_VAES) | BIT_ULL(X86_FEAT_VPCLMUL))

/* --- models --- */

#define FEATS_64                                                                                         \
	"fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 " \
	"syscall nx lm hypervisor "
#define FEATS_V2	FEATS_64 "sse3 ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm "
#define FEATS_V3	FEATS_V2 "xsave avx avx2 bmi1 bmi2 f16c fma lzcnt movbe "
#define FEATS_VM	"x2apic tsc_deadline tsc_adjust arat invtsc spec_ctrl arch_capabilities "

struct model {
	const char *name;
	const char *features;	/* NULL: all */
	bool intel;
	u32 signature;
	u8 phys_bits;
};

#define SIG_BONNELL	0x000106ca	/* family 6, model 1CH, stepping 10 */

static const struct model models[] = {
	{ "max", NULL, true, SIG_BONNELL, 46 },
	{ "qemu64", FEATS_64 "sse3 cx16 lahf_lm x2apic arat invtsc ", false, 0x00060fb1, 40 },
	{ "Nehalem", FEATS_V2 FEATS_VM "rdtscp ", true, 0x000106a5, 40 },
	{ "Haswell", FEATS_V3 FEATS_VM "rdtscp aes pclmulqdq rdrand fsgsbase smep erms xsaveopt pdpe1gb "
	  "pcid invpcid ",
	  true, 0x000306c3, 40 },
	{ "x86-64-v2", FEATS_V2 FEATS_VM, true, SIG_BONNELL, 40 },
	{ "x86-64-v3", FEATS_V3 FEATS_VM, true, SIG_BONNELL, 40 },
};

/* Names are compared with '-' and '.' read as '_'. */
static bool same_name(const char *name, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = s[i] == '-' || s[i] == '.' ? '_' : s[i];

		if (!name[i] || name[i] != c)
			return false;
	}
	return !name[len];
}

const char *x86_cpuid_feature(unsigned int i)
{
	return i < NR_FEATURES ? features[i].name : NULL;
}

static int find_feature(const char *s, size_t len)
{
	static const struct { const char *alias, *name;
	} aliases[] = {
		{ "abm", "lzcnt" },
		{ "pclmul", "pclmulqdq" },
		{ "sha_ni", "sha" },
		{ "constant_tsc", "invtsc" },
	};

	for (unsigned int i = 0; i < NR_FEATURES; i++)
		if (same_name(features[i].name, s, len))
			return (int)i;
	for (unsigned int i = 0; i < ARRAY_SIZE(aliases); i++)
		if (same_name(aliases[i].alias, s, len))
			return find_feature(aliases[i].name, strlen(aliases[i].name));
	return -1;
}

/* Not in "max": operating systems idle in MWAIT where they can, and HLT costs the host less. */
static bool on_request(const struct feature *f)
{
	return f->feat == X86_FEAT_MONITOR;
}

static bool host_lacks(const struct feature *f, u64 host)
{
	return f->feat != NO_FEAT && (HOST_FEATS >> f->feat & 1) && !(host >> f->feat & 1);
}

/* The set of a space-separated list of names. */
static void add_list(bool *on, const char *list)
{
	while (*list) {
		size_t len = strcspn(list, " ");
		int i = len ? find_feature(list, len) : -1;

		if (i >= 0)
			on[i] = true;
		list += len + (list[len] == ' ');
	}
}

/* Take out what needs something that isn't there. Each round but the last takes something out. */
static void drop_dependants(bool *on)
{
	bool again = true;

	while (again) {
		again = false;
		for (unsigned int i = 0; i < NR_FEATURES; i++)
			for (unsigned int n = 0; on[i] && n < ARRAY_SIZE(features[i].needs); n++) {
				const char *need = features[i].needs[n];

				if (!need || on[find_feature(need, strlen(need))])
					continue;
				on[i] = false;
				again = true;
			}
	}
}

/* ",+name,-name": true if all were understood and can be had. */
static bool parse_changes(const char *s, bool *on, u64 host, char *err, size_t errlen)
{
	bool asked[NR_FEATURES] = { false };

	while (*s == ',') {
		size_t len = strcspn(++s, ",");
		int i;

		if (len < 2 || (*s != '+' && *s != '-')) {
			snprintf(err, errlen, "CPU feature '%.*s': expected +name or -name", (int)len, s);
			return false;
		}
		i = find_feature(s + 1, len - 1);
		if (i < 0) {
			snprintf(err, errlen, "CPU feature '%.*s' is unknown, or not implemented",
				 (int)len - 1, s + 1);
			return false;
		}
		if (*s == '+' && host_lacks(&features[i], host)) {
			snprintf(err, errlen, "CPU feature '%s': this computer's processor does not have it",
				 features[i].name);
			return false;
		}
		on[i] = asked[i] = *s == '+';
		s += len;
	}
	drop_dependants(on);
	for (unsigned int i = 0; i < NR_FEATURES; i++)
		if (asked[i] && !on[i]) {
			snprintf(err, errlen, "CPU feature '%s' needs others that this model lacks: %s%s%s",
				 features[i].name, features[i].needs[0] ? features[i].needs[0] : "",
				 features[i].needs[1] ? ", " : "",
				 features[i].needs[1] ? features[i].needs[1] : "");
			return false;
		}
	return true;
}

/*
 * The ratio of CPUID.15H for a TSC of @hz: the nearest with a numerator small enough that kHz of the crystal
 * times it fits 32 bits, in which operating systems compute.
 */
static void tsc_ratio(struct x86_cpuid_table *t, u64 hz)
{
	const u64 max_num = 0xffffffffu / (X86_CRYSTAL_HZ / 1000);
	u64 best = ~0ULL;

	if (!hz || hz > X86_CRYSTAL_HZ * max_num)
		return;
	for (u64 den = 1; den <= 65536; den++) {
		u64 num = (hz * den + X86_CRYSTAL_HZ / 2) / X86_CRYSTAL_HZ, a = num * X86_CRYSTAL_HZ,
		    b = hz * den;
		u64 off = a > b ? a - b : b - a;

		if (num > max_num)
			break;
		/* off / den < best / tsc_den */
		if (!num || (t->tsc_den && off * t->tsc_den >= best * den))
			continue;
		best = off;
		t->tsc_num = (u32)num;
		t->tsc_den = (u32)den;
		if (!off)
			break;
	}
}

static bool bit_on(const struct x86_cpuid_table *t, const char *name)
{
	int i = find_feature(name, strlen(name));

	return i >= 0 && (t->word[features[i].word] >> features[i].bit & 1);
}

static void derive(struct x86_cpuid_table *t)
{
	u64 cr4 = X86_CR4_PCE, efer = 0;

	cr4 |= bit_on(t, "vme") ? X86_CR4_VME | X86_CR4_PVI : 0;
	cr4 |= bit_on(t, "pcid") ? X86_CR4_PCIDE : 0;
	cr4 |= bit_on(t, "pku") ? X86_CR4_PKE : 0;
	cr4 |= bit_on(t, "tsc") ? X86_CR4_TSD : 0;
	cr4 |= bit_on(t, "de") ? X86_CR4_DE : 0;
	cr4 |= bit_on(t, "pse") ? X86_CR4_PSE : 0;
	cr4 |= bit_on(t, "pae") ? X86_CR4_PAE : 0;
	cr4 |= bit_on(t, "mce") ? X86_CR4_MCE : 0;
	cr4 |= bit_on(t, "pge") ? X86_CR4_PGE : 0;
	cr4 |= bit_on(t, "fxsr") ? X86_CR4_OSFXSR : 0;
	cr4 |= bit_on(t, "sse") ? X86_CR4_OSXMMEXCPT : 0;
	cr4 |= bit_on(t, "umip") ? X86_CR4_UMIP : 0;
	cr4 |= bit_on(t, "fsgsbase") ? X86_CR4_FSGSBASE : 0;
	cr4 |= bit_on(t, "xsave") ? X86_CR4_OSXSAVE : 0;
	cr4 |= bit_on(t, "smep") ? X86_CR4_SMEP : 0;
	cr4 |= bit_on(t, "smap") ? X86_CR4_SMAP : 0;
	t->cr4_reserved = ~cr4;

	efer |= bit_on(t, "syscall") ? X86_EFER_SCE : 0;
	efer |= bit_on(t, "lm") ? X86_EFER_LME | X86_EFER_LMA : 0;
	efer |= bit_on(t, "nx") ? X86_EFER_NXE : 0;
	t->efer_reserved = ~efer;

	if (bit_on(t, "xsave"))
		t->xcr0 = XCR0_X87 | XCR0_SSE | (bit_on(t, "avx") ? XCR0_AVX : 0) |
			  (bit_on(t, "pku") ? XCR0_PKRU : 0);
	t->xgetbv1 = bit_on(t, "xgetbv1");
	t->spec_ctrl = bit_on(t, "spec_ctrl");
	t->tsc_adjust = bit_on(t, "tsc_adjust");
	t->apic = bit_on(t, "apic");
	t->x2apic = bit_on(t, "x2apic");
	t->tsc_deadline = bit_on(t, "tsc_deadline");
}

const struct x86_cpuid_table *x86_cpuid_new(const char *model, u64 tsc_hz, char *err, size_t errlen)
{
	static const char brand[] = "Tenon software CPU";
	const struct model *m = NULL;
	bool on[NR_FEATURES] = { false };
	struct x86_cpuid_table *t;
	u64 host = x86_host_features();
	size_t len;

	if (!model || !*model)
		model = "max";
	len = strcspn(model, ",");
	for (unsigned int i = 0; i < ARRAY_SIZE(models); i++)
		if (strlen(models[i].name) == len && !strncmp(models[i].name, model, len))
			m = &models[i];
	if (!m) {
		snprintf(err, errlen,
			 "CPU model '%.*s' is unknown: try max, x86-64-v3, x86-64-v2, Haswell, Nehalem or "
			 "qemu64",
			 (int)len, model);
		return NULL;
	}
	if (m->features)
		add_list(on, m->features);
	for (unsigned int i = 0; i < NR_FEATURES; i++)
		on[i] = (on[i] || (!m->features && !on_request(&features[i]))) && !host_lacks(&features[i], host);
	drop_dependants(on);
	if (!parse_changes(model + len, on, host, err, errlen))
		return NULL;

	t = calloc(1, sizeof(*t));
	if (!t) {
		snprintf(err, errlen, "CPU model '%s': out of memory", model);
		return NULL;
	}
	t->feats = BIT_ULL(X86_FEAT_BASE) | BIT_ULL(X86_FEAT_SMM);	/* SMM has no bit in CPUID */
	for (unsigned int i = 0; i < NR_FEATURES; i++) {
		if (!on[i])
			continue;
		t->word[features[i].word] |= 1u << features[i].bit;
		if (features[i].feat != NO_FEAT)
			t->feats |= BIT_ULL(features[i].feat);
	}
	/* SSE brought its additions to MMX along; AMD has a bit for them too. */
	if (t->feats & BIT_ULL(X86_FEAT_SSE))
		t->feats |= BIT_ULL(X86_FEAT_MMXEXT);
	t->intel = m->intel;
	t->signature = m->signature;
	t->phys_bits = bit_on(t, "lm") ? m->phys_bits : bit_on(t, "pae") ? 36 : 32;
	t->tsc_hz = tsc_hz;
	t->max_leaf = m->intel ? 0x16 : 0xd;
	t->max_ext = 0x80000008;
	memcpy(t->brand, brand, sizeof(brand));
	if (!m->intel) {
		/* AMD repeats the bits of 1.EDX in 80000001.EDX, APM vol. 3 "CPUID Fn8000_0001_EDX". */
		t->word[CPUID_EXT1_EDX] |= t->word[CPUID_1_EDX] & 0x0183f3ff;
		if (t->feats & BIT_ULL(X86_FEAT_MMXEXT))
			t->word[CPUID_EXT1_EDX] |= 1u << 22;
	}
	tsc_ratio(t, tsc_hz);
	derive(t);
	return t;
}

void x86_cpuid_free(const struct x86_cpuid_table *t)
{
	free((void *)t);
}

/* --- what engines ask --- */

bool x86_has(const struct x86_cpu *cpu, enum x86_feat feat)
{
	return cpu->cpuid->feats >> feat & 1;
}

u64 x86_cr4_reserved(const struct x86_cpu *cpu)
{
	return cpu->cpuid->cr4_reserved;
}

u64 x86_efer_reserved(const struct x86_cpu *cpu)
{
	return cpu->cpuid->efer_reserved;
}

u64 x86_xcr0_supported(const struct x86_cpu *cpu)
{
	return cpu->cpuid->xcr0;
}

unsigned int x86_maxphyaddr(const struct x86_cpu *cpu)
{
	return cpu->cpuid->phys_bits;
}

bool x86_apic_msr_ok(const struct x86_cpu *cpu, u32 msr)
{
	if (msr == MSR_TSC_DEADLINE)
		return cpu->cpuid->tsc_deadline;
	return msr == MSR_APIC_BASE ? cpu->cpuid->apic : cpu->cpuid->x2apic;
}

/* --- leaves --- */

static unsigned int log2_up(unsigned int n)
{
	unsigned int bits = 0;

	while (bits < 16 && (1u << bits) < n)
		bits++;
	return bits;
}

static u32 chars4(const char *s)
{
	return (u32)(u8)s[0] | (u32)(u8)s[1] << 8 | (u32)(u8)s[2] << 16 | (u32)(u8)s[3] << 24;
}

/* Deterministic cache parameters; the last level is shared by all. */
static void leaf_4(u32 sub, unsigned int vcpus, struct x86_cpuid_leaf *l)
{
	static const struct { u8 type, level; u16 ways; u32 sets; } caches[] = {
		{ 1, 1, 8, 64 }, { 2, 1, 8, 64 }, { 3, 2, 16, 1024 }, { 3, 3, 16, 16384 },
	};
	unsigned int bits = log2_up(vcpus);

	if (sub >= ARRAY_SIZE(caches))
		return;
	l->eax = caches[sub].type | caches[sub].level << 5 | BIT(8) | (u32)min((1u << bits) - 1, 63u) << 26;
	if (caches[sub].level == 3)
		l->eax |= (u32)min((1u << bits) - 1, 0xfffu) << 14;
	l->ebx = 63 | (u32)(caches[sub].ways - 1) << 22;
	l->ecx = caches[sub].sets - 1;
	l->edx = caches[sub].level == 3 ? BIT(1) : 0;
}

/* One package, a core a vCPU, a thread a core */
static void leaf_b(u32 sub, unsigned int vcpus, u32 apic_id, struct x86_cpuid_leaf *l)
{
	if (sub == 0) {
		l->ebx = 1;
		l->ecx = 1 << 8;
	} else if (sub == 1) {
		l->eax = log2_up(vcpus);
		l->ebx = vcpus;
		l->ecx = 1 | 2 << 8;
	} else {
		l->ecx = sub & 0xff;
	}
	l->edx = apic_id;
}

/* Area of the components @xcr0, in the standard form or the compacted one; as xstate.c lays it out. */
static u32 xsave_size(u64 xcr0, bool compact)
{
	u32 size = 576;

	if (xcr0 & XCR0_AVX)
		size += 256;
	if (xcr0 & XCR0_PKRU)
		size = (compact ? size : 832) + 8;
	return size;
}

static void leaf_d(const struct x86_cpu *cpu, u32 sub, struct x86_cpuid_leaf *l)
{
	const struct x86_cpuid_table *t = cpu->cpuid;

	if (!t->xcr0)
		return;
	if (sub == 0) {
		l->eax = (u32)t->xcr0;
		l->ebx = xsave_size(cpu->s.xcr0, false);
		l->ecx = xsave_size(t->xcr0, false);
		l->edx = t->xcr0 >> 32;
	} else if (sub == 1) {
		l->eax = t->word[CPUID_D1_EAX];
		/* no supervisor state: IA32_XSS has no bit that could be set */
		l->ebx = l->eax & (BIT(1) | BIT(3)) ? xsave_size(cpu->s.xcr0 | cpu->s.xss, true) : 0;
	} else if (sub == 2 && (t->xcr0 & XCR0_AVX)) {
		l->eax = 256;
		l->ebx = 576;
	} else if (sub == 9 && (t->xcr0 & XCR0_PKRU)) {
		l->eax = 8;
		l->ebx = 832;
	}
}

static void leaf_1(struct x86_cpu *cpu, unsigned int vcpus, struct x86_cpuid_leaf *l)
{
	const struct x86_cpuid_table *t = cpu->cpuid;
	u64 apic_base = 0;

	l->eax = t->signature;
	l->ebx = 8 << 8 | (cpu->core.id & 0xff) << 24;
	l->ecx = t->word[CPUID_1_ECX];
	l->edx = t->word[CPUID_1_EDX];
	if (vcpus > 1) {
		l->ebx |= min(1u << log2_up(vcpus), 255u) << 16;
		l->edx |= BIT(28);
	}
	if (cpu->s.cr4 & X86_CR4_OSXSAVE)
		l->ecx |= BIT(27);
	/* The bit goes away with IA32_APIC_BASE.EN, SDM vol. 3 "Presence of the Local APIC". */
	if (t->apic && emul_msr_read(&cpu->core, MSR_APIC_BASE, &apic_base) &&
	    !(apic_base & BIT(11)))
		l->edx &= ~(u32)BIT(9);
}

static void leaf_ext(const struct x86_cpu *cpu, u32 leaf, unsigned int vcpus, struct x86_cpuid_leaf *l)
{
	const struct x86_cpuid_table *t = cpu->cpuid;
	const char *p;

	switch (leaf) {
	case 0x80000000:
		l->eax = t->max_ext;
		if (!t->intel)
			*l = (struct x86_cpuid_leaf){ t->max_ext, chars4("Auth"), chars4("cAMD"),
						      chars4("enti") };
		return;
	case 0x80000001:
		l->eax = t->intel ? 0 : t->signature;
		l->ecx = t->word[CPUID_EXT1_ECX];
		l->edx = t->word[CPUID_EXT1_EDX];
		if (!t->intel && vcpus > 1)
			l->ecx |= BIT(1);	/* CmpLegacy: the logical processors are cores */
		/* Intel shows SYSCALL in 64-bit mode only, SDM vol. 2 "CPUID". */
		if (t->intel && !cpu->code64)
			l->edx &= ~(u32)BIT(11);
		return;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
		p = t->brand + (leaf - 0x80000002) * 16;
		*l = (struct x86_cpuid_leaf) { chars4(p), chars4(p + 4), chars4(p + 8), chars4(p + 12) };
		return;
	case 0x80000005:
		if (!t->intel)		/* L1 caches: 32 KiB, 8 ways */
			*l = (struct x86_cpuid_leaf) { 0x01ff01ff, 0x01ff01ff, 0x20080140, 0x20080140 };
		return;
	case 0x80000006:
		l->ecx = 1024u << 16 | 8 << 12 | (t->intel ? 0 : BIT(8)) | 64;	/* 1 MiB, 16 ways */
		if (!t->intel)
			l->edx = 32u << 18 | 8 << 12 | BIT(8) | 64;		/* 16 MiB */
		return;
	case 0x80000007:
		l->edx = t->word[CPUID_EXT7_EDX];
		return;
	case 0x80000008:
		l->eax = t->phys_bits | (t->word[CPUID_EXT1_EDX] & BIT(29) ? 48 : 32) << 8;
		l->ebx = t->word[CPUID_EXT8_EBX];
		if (!t->intel)
			l->ecx = min(vcpus - 1, 255u) | log2_up(vcpus) << 12;
		return;
	default:
		return;
	}
}

void x86_cpuid(struct x86_cpu *cpu, u32 leaf, u32 subleaf, struct x86_cpuid_leaf *l)
{
	const struct x86_cpuid_table *t = cpu->cpuid;
	unsigned int vcpus = max(cpu->core.vm->cfg.max_vcpus, 1u);
	u32 max_leaf = t->max_leaf;

	*l = (struct x86_cpuid_leaf) { 0 };
	if (t->intel && (cpu->s.misc_enable & MISC_ENABLE_LIMIT_CPUID))
		max_leaf = 3;
	if (leaf >= 0x40000000 && leaf <= 0x400000ff && (t->word[CPUID_1_ECX] & BIT(31))) {
		if (leaf == 0x40000000) {
			*l = (struct x86_cpuid_leaf){ 0x40000010, chars4("Teno"), chars4("nTen"),
						      chars4("onTe") };
		} else if (leaf == 0x40000010) {
			/*
			 * kHz of the TSC and of the local APIC's timer, the convention that several
			 * hypervisors share
			 */
			l->eax = (u32)(t->tsc_hz / 1000);
			l->ebx = X86_CRYSTAL_HZ / 1000;
		}
		return;
	}
	if (leaf >= 0x80000000 && leaf <= t->max_ext) {
		leaf_ext(cpu, leaf, vcpus, l);
		return;
	}
	if (leaf > max_leaf) {
		/* Beyond the end Intel repeats the last basic leaf, AMD says 0. */
		if (!t->intel)
			return;
		leaf = max_leaf;
	}
	switch (leaf) {
	case 0:
		if (t->intel)
			*l = (struct x86_cpuid_leaf){ max_leaf, chars4("Genu"), chars4("ntel"),
						      chars4("ineI") };
		else
			*l = (struct x86_cpuid_leaf){ max_leaf, chars4("Auth"), chars4("cAMD"),
						      chars4("enti") };
		break;
	case 1:
		leaf_1(cpu, vcpus, l);
		break;
	case 2:
		l->eax = t->intel ? 0x0000ff01 : 0;	/* see leaf 4 */
		break;
	case 4:
		if (t->intel)
			leaf_4(subleaf, vcpus, l);
		break;
	case 5:
		/* line of 64 bytes; masked interrupts may end MWAIT; one kind of C1 */
		if (x86_has(cpu, X86_FEAT_MONITOR))
			*l = (struct x86_cpuid_leaf){ 64, 64, 3, 0x10 };
		break;
	case 6:
		l->eax = t->word[CPUID_6_EAX];
		break;
	case 7:
		if (subleaf == 0)
			*l = (struct x86_cpuid_leaf){ 0, t->word[CPUID_7_EBX], t->word[CPUID_7_ECX],
						      t->word[CPUID_7_EDX] };
		if (subleaf == 0 && (cpu->s.cr4 & X86_CR4_PKE))
			l->ecx |= BIT(4);	/* OSPKE */
		break;
	case 0xb:
		leaf_b(subleaf, vcpus, cpu->core.id, l);
		break;
	case 0xd:
		leaf_d(cpu, subleaf, l);
		break;
	case 0x15:
		if (t->tsc_num)
			*l = (struct x86_cpuid_leaf) { t->tsc_den, t->tsc_num, X86_CRYSTAL_HZ, 0 };
		break;
	case 0x16:
		l->eax = (u32)min(t->tsc_hz / 1000000, (u64)0xffff);
		l->ebx = l->eax;
		l->ecx = 100;
		break;
	default:
		break;
	}
}
