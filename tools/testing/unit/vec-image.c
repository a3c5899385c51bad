// SPDX-License-Identifier: GPL-2.0-only
/*
 * vec-image.c - what vec-host.c can't ask the processor: pointers in images, formats by mode, permissions
 *
 * Oracle: Intel SDM vol. 1 "x87 FPU State Image in Memory" (figures), "FXSAVE Area", "XSAVE Area", SDM vol. 2
 * exception lists and vol. 3 "Interrupt 7", "Interrupt 16", "Interrupt 19"; values written out by hand.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/mman.h>

#include "tap.h"
#include "vec-common.h"

static u8 *mem;
static struct x86_cpu *cpu;

static int run_on(struct x86_cpu *c, const char *bytes, unsigned int n)
{
	struct uop u = { .ea_mask = c->code64 ? ~0ULL : 0xffffffff, .off = 0x123 };

	if (x86_decode(&u.insn, (const u8 *)bytes, n, c->mode) != X86_DECODE_OK) {
		diag("undecodable");
		return -1;
	}
	c->exc.vector = 0xff;
	return guest_run(c, &u);
}
#define RUN(bytes)	run_on(cpu, bytes, sizeof(bytes) - 1)

/* Vector of the exception that the instruction raises; -1: none. */
#define FAULT(bytes)	(RUN(bytes) == X86_FAULT ? cpu->exc.vector : -1)

static u16 m16(unsigned int off) { return emul_read16(mem + off); }
static u32 m32(unsigned int off) { return emul_read32(mem + off); }
static u64 m64(unsigned int off) { return emul_read64(mem + off); }

static void fresh(enum x86_mode mode)
{
	x86_fpu_reset(cpu, false);
	cpu->s.cr0 = X86_CR0_PE | X86_CR0_NE | X86_CR0_MP;
	cpu->s.cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	cpu->s.xcr0 = 7;
	cpu->s.efer = 0;
	cpu->s.rflags = X86_FLAG1;
	cpu->cpl = 0;
	guest_mode(cpu, mode);
	guest_tlb(cpu, true);
	memset(mem, 0xcc, 4096);
	cpu->s.gpr[X86_RBX] = (u64)mem;
	cpu->s.gpr[X86_REG_RIP] = 0x12345000;
	cpu->s.seg[X86_CS].sel = 0x1b;
	cpu->s.seg[X86_DS].sel = 0x23;
	RUN("\xdb\xe3");			/* FNINIT */
	x86_fpu_sync(cpu);
}

/* FLD1; FLDZ; FADD DWORD [EBX]: leaves FIP 12345123, FDP EBX, FOP 003 (D8 03) */
static void some_x87(void)
{
	emul_write32(mem, 0x3f800000);
	RUN("\xd9\xe8");
	RUN("\xd9\xee");
	RUN("\xd8\x03");
}

static void test_env(void)
{
	u32 ebx = (u64)mem;

	fresh(X86_MODE_32);
	some_x87();
	ok(RUN("\xd9\x73\x40") == X86_NEXT, "FNSTENV, 32-bit protected mode");
	is_u64(m32(0x40), 0xffff037f, "control word");
	is_u64(m32(0x44), 0xffff3000, "status word: TOP 6");
	is_u64(m32(0x48), 0xffff0fff, "tag word: R7 and R6 valid");
	is_u64(m32(0x4c), 0x12345123, "FIP");
	is_u64(m32(0x50), 0x0003001b, "FOP and FCS");
	is_u64(m32(0x54), ebx, "FDP");
	is_u64(m32(0x58), 0xffff0023, "FDS");
	is_u64(m32(0x5c), 0xcccccccc, "nothing behind");

	ok(RUN("\x66\xd9\x73\x40") == X86_NEXT, "FNSTENV, 16-bit protected mode");
	is_u64(m16(0x40), 0x037f, "control word");
	is_u64(m16(0x42), 0x3000, "status word");
	is_u64(m16(0x44), 0x0fff, "tag word");
	is_u64(m16(0x46), 0x5123, "FIP");
	is_u64(m16(0x48), 0x001b, "FCS");
	is_u64(m16(0x4a), ebx & 0xffff, "FDP");
	is_u64(m16(0x4c), 0x0023, "FDS");

	/* real mode: CS:IP 1234:5123 is linear 17463 */
	fresh(X86_MODE_32);
	cpu->s.cr0 &= ~X86_CR0_PE;
	cpu->s.gpr[X86_REG_RIP] = 0x5000;
	cpu->s.seg[X86_CS].sel = 0x1234;
	cpu->s.seg[X86_DS].sel = 0;
	some_x87();
	RUN("\xd9\x73\x40");
	is_u64(m32(0x4c), 0xffff7463, "FNSTENV, 32-bit real mode: FIP low");
	is_u64(m32(0x50), 0x00001003, "FIP high and FOP");
	is_u64(m32(0x54), 0xffff0000 | (ebx & 0xffff), "FDP low");
	is_u64(m32(0x58), ebx >> 4 & 0x0ffff000, "FDP high");
	RUN("\x66\xd9\x73\x40");
	is_u64(m16(0x46), 0x7463, "FNSTENV, 16-bit real mode: FIP low");
	is_u64(m16(0x48), 0x1003, "FIP high and FOP");

	/* and back */
	fresh(X86_MODE_32);
	some_x87();
	RUN("\xdd\x73\x40");			/* FNSAVE */
	is_u64(m64(0x40 + 28), 1ULL << 63, "FNSAVE: significand of ST0");
	is_u64(m16(0x40 + 36), 0x3fff, "exponent of ST0");
	is_u64(m64(0x40 + 38), 1ULL << 63, "significand of ST1");
	RUN("\xd9\xb3\x00\x01\x00\x00");	/* FNSTENV */
	is_u64(m32(0x100), 0xffff037f, "initialised: control word");
	is_u64(m32(0x108), 0xffffffff, "tags");
	is_u64(m32(0x10c), 0, "FIP");
	RUN("\xdd\x63\x40");			/* FRSTOR */
	RUN("\xd9\xb3\x00\x01\x00\x00");
	ok(!memcmp(mem + 0x40, mem + 0x100, 28), "FRSTOR restores all that FNSTENV shows");
	RUN("\xdd\x1b");			/* FSTP QWORD */
	is_u64(m64(0), 0x3ff0000000000000, "and the registers");
}

static void test_fxsave(void)
{
	fresh(X86_MODE_64);
	cpu->s.gpr[X86_REG_RIP] = 0x7f1234567000;
	some_x87();
	RUN("\x0f\xae\x43\x40");
	is_u64(m32(0x48), 0x34567123, "FXSAVE: FIP");
	is_u64(m32(0x4c), 0x1b, "FCS");
	is_u64(m32(0x50), (u32)(u64)mem, "FDP");
	is_u64(m32(0x54), 0x23, "FDS");
	is_u64(m16(0x46), 0x003, "FOP");
	is_u64(mem[0x44], 0xc0, "abridged tags");
	RUN("\x48\x0f\xae\x43\x40");
	is_u64(m64(0x48), 0x7f1234567123, "FXSAVE64: FIP");
	is_u64(m64(0x50), (u64)mem, "FDP");
	is_u64(m32(0x40 + 416), 0xcccccccc, "bytes 416 and on are the program's");
	is_u64(FAULT("\x0f\xae\x43\x41"), X86_EXC_GP, "misaligned");
	guest_mode(cpu, X86_MODE_32);
	memset(mem, 0xcc, 4096);
	RUN("\x0f\xae\x43\x40");
	is_u64(m32(0x40 + 288), 0xcccccccc, "outside 64-bit mode XMM8 is not stored");
	emul_write32(mem + 0x40 + 24, 0x10000);
	is_u64(FAULT("\x0f\xae\x4b\x40"), X86_EXC_GP, "FXRSTOR: reserved bit of MXCSR");
}

static void test_xsave(void)
{
	struct x86_fpu *fpu = &cpu->s.fpu;

	fresh(X86_MODE_64);
	memset(mem, 0, 4096);
	cpu->s.gpr[X86_RAX] = 7;
	cpu->s.gpr[X86_RDX] = 0;
	fpu->ymmh[3][5] = 0x77;
	is_u64(FAULT("\x0f\xc7\x63\x41"), X86_EXC_GP, "XSAVEC: misaligned");
	ok(RUN("\x0f\xc7\x63\x40") == X86_NEXT, "XSAVEC with AVX in use only");
	is_u64(m64(0x40 + 512), 4, "XSTATE_BV");
	is_u64(m64(0x40 + 520), 1ULL << 63 | 7, "XCOMP_BV");
	is_u64(mem[0x40 + 576 + 3 * 16 + 5], 0x77, "upper half of YMM3");
	is_u64(m32(0x40 + 24), 0, "MXCSR is initial and was not written");

	cpu->s.xss = 0;
	ok(RUN("\x0f\xc7\x6b\x40") == X86_NEXT, "XSAVES");
	memset(fpu->ymmh, 0xff, 256);
	fpu->fx.mxcsr = 0x1fa0;
	ok(RUN("\x0f\xc7\x5b\x40") == X86_NEXT, "XRSTORS");
	is_u64(fpu->ymmh[3][5], 0x77, "YMM3 is back");
	is_u64(fpu->ymmh[2][0], 0, "YMM2 too");
	is_u64(fpu->fx.mxcsr, 0x1f80, "MXCSR initial");
	emul_write64(mem + 0x40 + 520, 0);
	is_u64(FAULT("\x0f\xc7\x5b\x40"), X86_EXC_GP, "XRSTORS of the standard form");
	cpu->cpl = 3;
	is_u64(FAULT("\x0f\xc7\x5b\x40"), X86_EXC_GP, "XRSTORS at CPL 3");
	is_u64(FAULT("\x0f\xc7\x6b\x40"), X86_EXC_GP, "XSAVES at CPL 3");
	cpu->cpl = 0;

	cpu->s.xcr0 = 3;
	emul_write64(mem + 0x40 + 512, 4);
	is_u64(FAULT("\x0f\xae\x6b\x40"), X86_EXC_GP, "XRSTOR of a component that XCR0 has not");
	cpu->s.cr4 &= ~X86_CR4_OSXSAVE;
	is_u64(FAULT("\x0f\xae\x6b\x40"), X86_EXC_UD, "XRSTOR without CR4.OSXSAVE");
	is_u64(FAULT("\x0f\xae\x63\x40"), X86_EXC_UD, "XSAVE without CR4.OSXSAVE");

	/* PKRU: offset 832, or behind AVX in the compacted form */
	fresh(X86_MODE_64);
	memset(mem, 0, 4096);
	cpu->s.xcr0 = 0x207;
	cpu->s.gpr[X86_RAX] = ~0ULL;
	cpu->s.gpr[X86_RDX] = ~0ULL;
	cpu->s.pkru = 0x55555554;
	RUN("\x0f\xae\x63\x40");
	is_u64(m64(0x40 + 832), 0x55555554, "XSAVE: PKRU");
	cpu->s.pkru = 0;
	ok(RUN("\x0f\xae\x6b\x40") == X86_NEXT && cpu->s.pkru == 0x55555554, "XRSTOR: PKRU");
	cpu->s.gpr[X86_RAX] = 0x200;
	RUN("\x0f\xc7\x63\x40");
	is_u64(m64(0x40 + 576), 0x55555554, "XSAVEC of PKRU alone: first in the extended region");
	cpu->s.pkru = 0;
}

static void test_permissions(void)
{
	static const struct {
		const char *name, *bytes;
		unsigned int len;
		int em, ts, mp_ts, no_osfxsr, no_osxsave, no_xcr0, real;	/* vector, -1: none */
	} t[] = {
#define I(b) b, sizeof(b) - 1
		{ "FLD1", I("\xd9\xe8"), 7, 7, 7, -1, -1, -1, -1 },
		{ "FWAIT", I("\x9b"), -1, -1, 7, -1, -1, -1, -1 },
		{ "FNSTSW", I("\xdf\xe0"), 7, 7, 7, -1, -1, -1, -1 },
		{ "FNSTENV", I("\xd9\x33"), 7, 7, 7, -1, -1, -1, -1 },
		{ "PADDB mm", I("\x0f\xfc\xc1"), 6, 7, 7, -1, -1, -1, -1 },
		{ "EMMS", I("\x0f\x77"), 6, 7, 7, -1, -1, -1, -1 },
		{ "ADDPS", I("\x0f\x58\xc1"), 6, 7, 7, 6, -1, -1, -1 },
		{ "CVTTSS2SI r, m", I("\xf3\x0f\x2c\x03"), 6, 7, 7, 6, -1, -1, -1 },
		{ "LDMXCSR", I("\x0f\xae\x13"), 6, 7, 7, 6, -1, -1, -1 },
		{ "FXSAVE", I("\x0f\xae\x03"), 7, 7, 7, -1, -1, -1, -1 },
		{ "XSAVE", I("\x0f\xae\x23"), -1, 7, 7, -1, 6, -1, -1 },
		{ "VADDPS", I("\xc5\xf0\x58\xc1"), -1, 7, 7, -1, 6, 6, 6 },
		{ "VMOVAPS m", I("\xc5\xf8\x28\x03"), -1, 7, 7, -1, 6, 6, 6 },
		{ "VZEROUPPER", I("\xc5\xf8\x77"), -1, 7, 7, -1, 6, 6, 6 },
		{ "VSTMXCSR", I("\xc5\xf8\xae\x1b"), -1, 7, 7, -1, 6, 6, 6 },
		{ "VGATHERDPS", I("\xc4\xe2\x71\x92\x14\x03"), -1, 7, 7, -1, 6, 6, 6 },
#undef I
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		int got[8], want[8] = { -1, t[i].em, t[i].ts, t[i].mp_ts, t[i].no_osfxsr, t[i].no_osxsave,
					t[i].no_xcr0, t[i].real };
		bool pass = true;

		for (unsigned int k = 0; k < 8; k++) {
			fresh(X86_MODE_32);
			cpu->s.cr0 = X86_CR0_PE | X86_CR0_NE;
			emul_write32(mem, 0x1f80);
			cpu->s.gpr[X86_RAX] = 0;
			cpu->s.cr0 |= k == 1 ? X86_CR0_EM : 0;
			cpu->s.cr0 |= k == 2 ? X86_CR0_TS : 0;
			cpu->s.cr0 |= k == 3 ? X86_CR0_TS | X86_CR0_MP : 0;
			cpu->s.cr4 &= k == 4 ? ~X86_CR4_OSFXSR : k == 5 ? ~X86_CR4_OSXSAVE : ~0UL;
			if (k == 6)
				cpu->s.xcr0 = 3;
			if (k == 7)
				cpu->s.cr0 &= ~X86_CR0_PE;
			got[k] = run_on(cpu, t[i].bytes, t[i].len) == X86_FAULT ? cpu->exc.vector : -1;
			pass &= got[k] == want[k];
		}
		if (!ok(pass, "%s: free, EM, TS, MP+TS, no OSFXSR, no OSXSAVE, no XCR0, real", t[i].name))
			for (unsigned int k = 0; k < 8; k++)
				diag("case %u: got %d, want %d", k, got[k], want[k]);
	}
}

static void test_exceptions(void)
{
	struct x86_fpu *fpu = &cpu->s.fpu;
	u64 zero = 0;

	/* DIVSD xmm0, xmm1 by zero, unmasked */
	fresh(X86_MODE_64);
	fpu->fx.mxcsr = 0x1d80;
	fpu->fx.xmm[0][7] = 0x3f;
	is_u64(FAULT("\xf2\x0f\x5e\xc1"), X86_EXC_XM, "division by zero: #XM");
	x86_fpu_sync(cpu);
	is_u64(fpu->fx.mxcsr, 0x1d84, "ZE is recorded");
	is_u64(fpu->fx.xmm[0][7], 0x3f, "the destination is as it was");
	cpu->s.cr4 &= ~X86_CR4_OSXMMEXCPT;
	is_u64(FAULT("\xf2\x0f\x5e\xc1"), X86_EXC_UD, "#UD without CR4.OSXMMEXCPT");

	/* FDIV by zero, unmasked; the next waiting instruction reports it */
	fresh(X86_MODE_64);
	emul_write16(mem, 0x037b);
	memcpy(mem + 8, &zero, 8);
	RUN("\xd9\x2b");			/* FLDCW */
	RUN("\xd9\xe8");			/* FLD1 */
	ok(RUN("\xdc\x73\x08") == X86_NEXT, "FDIV: nothing yet");
	is_u64(FAULT("\xd9\xe8"), X86_EXC_MF, "FLD1 after it: #MF");
	is_u64(FAULT("\x9b"), X86_EXC_MF, "FWAIT: #MF");
	is_u64(FAULT("\x0f\xfc\xc1"), X86_EXC_MF, "MMX: #MF");
	is_u64(FAULT("\xd9\x63\x40"), X86_EXC_MF, "FLDENV: #MF");
	cpu->s.gpr[X86_RAX] = ~0ULL;
	ok(RUN("\xdf\xe0") == X86_NEXT, "FNSTSW AX does not wait");
	is_u64(cpu->s.gpr[X86_RAX], 0xffffffffffffb884, "and writes 16 bits");
	ok(RUN("\xd9\x73\x40") == X86_NEXT, "FNSTENV does not wait");
	is_u64(m32(0x50) >> 16, 0x473, "FOP is the division's");
	is_u64(m16(0x44), 0xb884, "status in the image");
	ok(RUN("\xd9\xe8") == X86_NEXT, "FNSTENV has masked it");

	/* NE clear: goes on, the flag stays */
	fresh(X86_MODE_64);
	cpu->s.cr0 &= ~X86_CR0_NE;
	emul_write16(mem, 0x037b);
	memcpy(mem + 8, &zero, 8);
	RUN("\xd9\x2b");
	RUN("\xd9\xe8");
	RUN("\xdc\x73\x08");
	ok(RUN("\xd9\xee") == X86_NEXT, "CR0.NE clear: pending exception is ignored");
	ok(RUN("\xd9\xee") == X86_NEXT, "and again");
	RUN("\xdd\x7b\x20");			/* FNSTSW */
	is_u64(m16(0x20) & 0x80ff, 0x8084, "but stays pending");
	ok(RUN("\xdb\xe2") == X86_NEXT, "FNCLEX");
	RUN("\xdd\x7b\x20");
	is_u64(m16(0x20) & 0x80ff, 0, "clears it");

	/* an unmasked invalid store through the bounce buffer leaves memory alone */
	fresh(X86_MODE_64);
	emul_write16(mem, 0x037e);
	RUN("\xd9\x2b");
	guest_tlb(cpu, false);
	memset(mem + 16, 0x5a, 16);
	RUN("\xdb\x53\x10");			/* FIST DWORD of an empty register */
	is_u64(m64(16), 0x5a5a5a5a5a5a5a5a, "invalid FIST stores nothing");
	x86_fpu_sync(cpu);
	is_u64(fpu->fx.fsw & 0x80c1, 0x80c1, "and is pending");
}

/* uops shared by several vCPUs, each finding the instruction for the first time */
static struct uop shared[4096];

static void *thread(void *arg)
{
	struct x86_cpu *c = guest_new();
	unsigned long *wrong = arg;

	guest_mode(c, X86_MODE_64);
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(shared); i++) {
			unsigned int d = shared[i].insn.reg, s = shared[i].insn.rm;
			u8 before;

			memset(c->s.fpu.fx.xmm[s], i, 16);
			memset(c->s.fpu.fx.xmm[d], round, 16);
			before = c->s.fpu.fx.xmm[s][3];
			if (interp_vec(c, &shared[i]) != X86_NEXT ||
			    c->s.fpu.fx.xmm[d][3] != (u8)(d == s ? 2 * before : round + before))
				++*wrong;
		}
	}
	guest_free(c);
	return NULL;
}

static void test_threads(void)
{
	unsigned long wrong[4] = { 0 };
	pthread_t t[4];

	for (unsigned int i = 0; i < ARRAY_SIZE(shared); i++) {
		u8 b[] = { 0x66, 0x40 | (i >> 3 & 1) << 2 | (i >> 7 & 1), 0x0f, 0xfc,
			   0xc0 | (i & 7) << 3 | (i >> 4 & 7) };		/* PADDB */

		x86_decode(&shared[i].insn, b, sizeof(b), X86_MODE_64);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, thread, &wrong[i]);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	ok(!(wrong[0] + wrong[1] + wrong[2] + wrong[3]), "four vCPUs share uops");
}

int main(void)
{
	/* below 4 GiB, so that 32-bit modes reach it */
	mem = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (mem == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	guest_memory(mem, 8192);
	cpu = guest_new();
	x86_fpu_reset(cpu, false);
	is_u64(cpu->s.fpu.fx.fcw, 0x40, "power-up: control word");
	is_u64(cpu->s.fpu.fx.mxcsr, 0x1f80, "power-up: MXCSR");
	test_env();
	test_fxsave();
	test_xsave();
	test_permissions();
	/* valgrind computes with all exceptions masked */
	if (strstr(getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "", "vgpreload"))
		skip("unmasked exceptions", "valgrind has none");
	else
		test_exceptions();
	test_threads();
	guest_free(cpu);
	return tap_done();
}
