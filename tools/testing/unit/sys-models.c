// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-models - every encoding of the instruction table under every CPU model, and with each feature taken
 * away
 *
 * Oracle: the models' own CPUID: an instruction executes if its bit (SDM vol. 2 and AMD APM vol. 3, "CPUID
 * Feature Flag" of each instruction) is set, and is #UD if not, but for the encodings that were something
 * else before the feature came: TZCNT (BSF), LZCNT (BSR), and PREFETCHW (a NOP on processors with 64-bit
 * mode, APM "PREFETCH").
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

static void check(const char *model, bool all)
{
	unsigned int bad = 0, ran = 0, ud = 0;

	machine_init(model, 1);
	for (unsigned int i = 0; i < nr_samples; i++) {
		const struct sample *t = &samples[i];
		bool has = x86_has(cpu, t->feat), want = never(t->op) || (!has && !older(t->op)), got;

		if (by_state(t) || (!all && has))
			continue;
		got = undefined(t);
		ran++;
		ud += got;
		if (got != want && bad++ < 5)
			diag("%s: %s (feature %u) %02x %02x %02x %02x %02x: %s", model, x86_op_name(t->op),
			     t->feat, t->bytes[0], t->bytes[1], t->bytes[2], t->bytes[3], t->bytes[4],
			     got ? "#UD" : "executes");
	}
	/* Many features have no instruction of their own: test_bits(). */
	if (all || ran)
		ok(!bad && ran, "%s: %u encodings, %u of them #UD, as CPUID says", model, ran, ud);
	machine_exit();
}

/* --- features that are a bit of a register --- */

static bool write_cr4(u64 bit)
{
	long64(0);
	s->gpr[X86_RAX] = s->cr4 | bit;
	STEP(0x0f, 0x22, 0xe0);
	return at_handler() < 0;
}
static bool write_msr(u32 msr, u64 val)
{
	long64(0);
	return x86_msr_write(cpu, msr, val);
}
/* Is a page of 1 GiB what it says? Else its PS bit is reserved: SDM vol. 3 "4-Level Paging". */
static bool has_1g(u64 unused)
{
	(void)unused;
	long64(0);
	poke(0x2008, 8, 0x87);
	s->gpr[X86_RAX] = 0x40000000 + DATA;
	emul_x86_changed(vcpu);
	STEP(0x8a, 0x00);
	return at_handler() < 0;
}
static bool has_xgetbv1(u64 unused)
{
	(void)unused;
	long64(0);
	s->cr4 |= X86_CR4_OSXSAVE;
	s->gpr[X86_RCX] = 1;
	emul_x86_changed(vcpu);
	STEP(0x0f, 0x01, 0xd0);
	return at_handler() < 0;
}
static bool has_nx(u64 unused)
{
	(void)unused;
	return write_msr(0xc0000080, X86_EFER_LME | X86_EFER_NXE);
}
/* SDM vol. 3 "Control Registers": a bit is reserved on a processor that lacks its feature. */
static void test_bits(void)
{
	static const struct { const char *name; bool (*has)(u64 bit); u64 bit; } t[] = {
		{ "vme", write_cr4, X86_CR4_VME }, { "de", write_cr4, X86_CR4_DE }, { "pse", write_cr4, X86_CR4_PSE },
		{ "mce", write_cr4, X86_CR4_MCE }, { "pge", write_cr4, X86_CR4_PGE },
		{ "tsc", write_cr4, X86_CR4_TSD }, { "fxsr", write_cr4, X86_CR4_OSFXSR },
		{ "sse", write_cr4, X86_CR4_OSXMMEXCPT }, { "umip", write_cr4, X86_CR4_UMIP },
		{ "fsgsbase", write_cr4, X86_CR4_FSGSBASE }, { "pcid", write_cr4, X86_CR4_PCIDE },
		{ "xsave", write_cr4, X86_CR4_OSXSAVE }, { "smep", write_cr4, X86_CR4_SMEP },
		{ "smap", write_cr4, X86_CR4_SMAP }, { "pku", write_cr4, X86_CR4_PKE },
		{ "pdpe1gb", has_1g, 0 }, { "xgetbv1", has_xgetbv1, 0 }, { "nx", has_nx, 0 },
	};
	char name[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		bool with, without;

		machine_init("max", 1);
		with = t[i].has(t[i].bit);
		machine_exit();
		snprintf(name, sizeof(name), "max,-%s", t[i].name);
		machine_init(name, 1);
		without = t[i].has(t[i].bit);
		machine_exit();
		ok(with && !without, "%s: with it, and not without", t[i].name);
	}
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
	for (unsigned int i = 0; i < ARRAY_SIZE(models); i++)
		check(models[i], true);
	check("max,+monitor", true);
	for (unsigned int i = 0; (feature = x86_cpuid_feature(i)); i++) {
		/* Without 64-bit mode there is no 64-bit code to try. */
		if (!strcmp(feature, "lm") || !strcmp(feature, "syscall") || !strcmp(feature, "pae") ||
		    !strcmp(feature, "msr"))
			continue;
		snprintf(name, sizeof(name), "max,-%s", feature);
		check(name, false);
	}
	test_bits();
	return tap_done();
}
