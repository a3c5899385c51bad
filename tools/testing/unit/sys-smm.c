// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-smm - system management mode: entry, the state-save area, RSM
 *
 * Oracle: SDM vol. 3 "SMI Handler Execution Environment", "SMRAM", "Exiting From SMM"; AMD APM vol. 2 "SMM
 * State-Save Area" (offsets of the 64-bit area); SDM "SMRAM State Save Map" (of the 32-bit one).
 */
#include "sys-common.h"

#define SMBASE	0x70000u

static struct x86_state before;

static void smi(void)
{
	struct emul_exit exit;

	memcpy(&before, s, sizeof(before));
	emul_smi(vcpu);
	emul_step(vcpu, &exit);
}

static void handler(const void *code, size_t n)
{
	u64 len = n;
	void *p = emul_dma_map(vm, SMBASE + 0x8000, &len, true);

	memcpy(p, code, n);
	emul_dma_unmap(vm, SMBASE + 0x8000, n, true);
}

static void prepare(void)
{
	s->smbase = SMBASE;
	s->smm = 0;
	for (unsigned int i = 0; i < 16; i++)
		s->gpr[i] = 0x1111111111111111ULL * i;
	s->dr[6] = 0xffff0ff0 | X86_FLAG1;
	emul_x86_changed(vcpu);
}

static bool same_seg(const struct x86_segreg *a, const struct x86_segreg *b)
{
	return a->sel == b->sel && a->attr == b->attr && a->limit == b->limit && a->base == b->base;
}

static bool same_state(const struct x86_state *a, const struct x86_state *b)
{
	bool same = !memcmp(a->gpr, b->gpr, 16 * 8) && a->rip == b->rip &&
		    x86_get_rflags(a) == x86_get_rflags(b) && a->cr0 == b->cr0 && a->cr3 == b->cr3 &&
		    a->cr4 == b->cr4 && a->efer == b->efer && a->dr[6] == b->dr[6] && a->dr[7] == b->dr[7] &&
		    a->gdtr.base == b->gdtr.base && a->idtr.limit == b->idtr.limit &&
		    a->halted == b->halted && a->nmi_masked == b->nmi_masked;

	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		same &= same_seg(&a->seg[i], &b->seg[i]);
	return same && same_seg(&a->ldtr, &b->ldtr) && same_seg(&a->tr, &b->tr);
}

static void round_trip(const char *mode)
{
	static const u8 nop_rsm[] = { 0x90, 0x0f, 0xaa };
	struct emul_exit exit;

	handler(nop_rsm, sizeof(nop_rsm));
	smi();
	ok(s->smm && s->rip == 0x8001 && s->seg[X86_CS].base == SMBASE && s->seg[X86_CS].sel == SMBASE >> 4,
	   "%s: entered at SMBASE + 8000H", mode);
	ok(!(s->cr0 & (X86_CR0_PE | X86_CR0_PG | X86_CR0_EM | X86_CR0_TS)) && !s->cr4 && !s->efer &&
		   s->dr[7] == 0x400 && x86_get_rflags(s) == X86_FLAG1 && s->nmi_masked &&
		   cpu->mode == X86_MODE_16 && cpu->cpl == 0 && s->seg[X86_DS].limit == 0xffffffff &&
		   s->seg[X86_DS].base == 0,
	   "%s: real mode with segments of 4 GiB, no interrupts nor NMIs", mode);
	emul_step(vcpu, &exit);
	ok(!s->smm && same_state(s, &before), "%s: RSM brings everything back", mode);
}

static void test_round_trips(void)
{
	long64(3);
	prepare();
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_CF | X86_OF | X86_ID | X86_IOPL);
	round_trip("64-bit, CPL 3");
	long64(0);
	prepare();
	s->cr4 |= X86_CR4_PGE;
	s->nmi_masked = 1;
	emul_x86_changed(vcpu);
	round_trip("64-bit, CPL 0, in an NMI handler");
	protected32(3);
	prepare();
	for (unsigned int i = 0; i < 16; i++)
		s->gpr[i] = 0x01010101 * i;
	round_trip("32-bit, CPL 3");
	v86_mode(3);
	prepare();
	round_trip("virtual-8086");
	real_mode();
	prepare();
	round_trip("real mode");
}

static void test_area64(void)
{
	static const u8 rsm[] = { 0x90, 0x0f, 0xaa };
	struct emul_exit exit;

	long64(0);
	prepare();
	s->nmi_masked = 0;
	handler(rsm, sizeof(rsm));
	smi();
	is_u64(peek(SMBASE + 0xfefc, 4), 0x20064, "FEFCH: revision");
	is_u64(peek(SMBASE + 0xff00, 4), SMBASE, "FF00H: SMBASE");
	ok(peek(SMBASE + 0xff78, 8) == CODE && peek(SMBASE + 0xff70, 8) == X86_FLAG1,
	   "FF78H, FF70H: RIP, RFLAGS");
	ok(peek(SMBASE + 0xfff8, 8) == 0 && peek(SMBASE + 0xfff0, 8) == 0x1111111111111111 &&
	   peek(SMBASE + 0xff80, 8) == ~0ULL, "FFF8H RAX, FFF0H RCX, FF80H R15");
	ok(peek(SMBASE + 0xff58, 8) == before.cr0 && peek(SMBASE + 0xff50, 8) == before.cr3 &&
	   peek(SMBASE + 0xff48, 8) == before.cr4 && peek(SMBASE + 0xfed0, 8) == before.efer,
	   "FF58H CR0, FF50H CR3, FF48H CR4, FED0H EFER");
	ok(peek(SMBASE + 0xfe10, 2) == SEL_CODE64 && peek(SMBASE + 0xfe14, 4) == 0xffffffff, "FE10H: CS");
	ok(peek(SMBASE + 0xfe68, 8) == GDT && peek(SMBASE + 0xfe64, 4) == SEL_END - 1, "FE60H: GDTR");
	/* what the handler changes counts */
	poke(SMBASE + 0xff78, 8, CODE + 0x100);
	poke(SMBASE + 0xff00, 4, 0x80000);
	emul_step(vcpu, &exit);
	ok(s->rip == CODE + 0x100 && s->smbase == 0x80000, "RSM takes RIP and SMBASE from the area");

	/* HLT: the handler may say whether to go on behind it */
	for (unsigned int again = 0; again < 2; again++) {
		long64(0);
		prepare();
		STEP(0xf4);
		smi();
		is_u64(peek(SMBASE + 0xfec9, 1), 1, "FEC9H: SMI in HLT");
		poke(SMBASE + 0xfec9, 1, again);
		emul_step(vcpu, &exit);
		ok(s->halted == again && s->rip == CODE + 1, "RSM %s",
		   again ? "halts again" : "goes on behind HLT");
		s->halted = 0;
	}

	/* an SMI in SMM waits for RSM */
	long64(0);
	prepare();
	smi();
	emul_smi(vcpu);
	emul_step(vcpu, &exit);		/* RSM */
	ok(!s->smm && s->rip == CODE, "a second SMI waits for RSM");
	emul_step(vcpu, &exit);
	ok(s->smm && s->rip == 0x8001, "...and comes then");
	emul_step(vcpu, &exit);

	long64(0);
	prepare();
	s->gpr[X86_RSP] = STACK;
	STEP(0x0f, 0xaa);
	ok(at_handler() == X86_EXC_UD, "RSM outside SMM: #UD");

	/* a state that can't be: shutdown */
	static const struct { u16 off; u8 size; u64 val; const char *name;
	} bad[] = {
		{ 0xff58, 8, 0x80000000, "CR0.PG without PE" },
		{ 0xff58, 8, 0x20000001, "CR0.NW without CD" },
		{ 0xff48, 8, 0x80000000, "reserved bit of CR4" },
		{ 0xfed0, 8, 2, "reserved bit of EFER" },
		{ 0xff48, 8, 0, "IA-32e mode without PAE" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		long64(0);
		prepare();
		smi();
		poke(SMBASE + bad[i].off, bad[i].size, bad[i].val);
		emul_step(vcpu, &exit);
		ok(exit.reason == EMUL_EXIT_SHUTDOWN && strstr(exit.msg, "RSM"), "RSM, %s: shutdown",
		   bad[i].name);
		emul_vcpu_reset(vcpu, false);
	}
}

static void test_area32(void)
{
	static const u8 rsm[] = { 0x90, 0x0f, 0xaa };
	struct emul_exit exit;

	machine_exit();
	machine_init("max,-lm", 1);
	protected32(0);
	prepare();
	for (unsigned int i = 0; i < 16; i++)
		s->gpr[i] = 0x01010101 * i;
	handler(rsm, sizeof(rsm));
	smi();
	is_u64(peek(SMBASE + 0xfefc, 4), 0x20000, "7EFCH: revision");
	is_u64(peek(SMBASE + 0xfef8, 4), SMBASE, "7EF8H: SMBASE");
	ok(peek(SMBASE + 0xfffc, 4) == before.cr0 && peek(SMBASE + 0xfff8, 4) == before.cr3 &&
	   peek(SMBASE + 0xfff4, 4) == X86_FLAG1 && peek(SMBASE + 0xfff0, 4) == CODE,
	   "7FFCH CR0, 7FF8H CR3, 7FF4H EFLAGS, 7FF0H EIP");
	ok(peek(SMBASE + 0xffec, 4) == 0x07070707 && peek(SMBASE + 0xffe0, 4) == 0x04040404 &&
		   peek(SMBASE + 0xffd4, 4) == 0x01010101 && peek(SMBASE + 0xffd0, 4) == 0,
	   "7FECH EDI, 7FE0H ESP, 7FD4H ECX, 7FD0H EAX");
	ok(peek(SMBASE + 0xffcc, 4) == before.dr[6] && peek(SMBASE + 0xffc8, 4) == 0x400 &&
	   peek(SMBASE + 0xffc4, 4) == SEL_TSS && peek(SMBASE + 0xffac, 4) == SEL_CODE32 &&
	   peek(SMBASE + 0xffa8, 4) == SEL_DATA, "7FCCH DR6, 7FC8H DR7, 7FC4H TR, 7FACH CS, 7FA8H ES");
	emul_step(vcpu, &exit);
	ok(!s->smm && same_state(s, &before), "32-bit area: RSM brings everything back");
}

int main(void)
{
	machine_init(NULL, 1);
	test_round_trips();
	test_area64();
	test_area32();
	machine_exit();
	return tap_done();
}
