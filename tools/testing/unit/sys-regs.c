// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-regs - control, debug and model-specific registers, CPUID, the flags that system instructions own
 *
 * Oracle: SDM vol. 3 "Control Registers", "Debug Registers", "Initializing IA-32e Mode", vol. 4 (reserved
 * bits of MSRs), vol. 2 "CPUID", "MOV - Move to/from Control Registers", "XSETBV", "CLAC", "STI"; x86-64
 * psABI "Micro-Architecture Levels".
 */
#include "sys-common.h"

static void mov_cr(unsigned int cr, u64 val)
{
	s->gpr[X86_RAX] = val;
	if (cr < 8)
		STEP(0x0f, 0x22, (u8)(0xc0 | cr << 3));
	else
		STEP(0x44, 0x0f, 0x22, (u8)(0xc0 | (cr & 7) << 3));
}

static bool gp(void)
{
	return at_handler() == X86_EXC_GP;
}

static void test_cr(void)
{
	protected32(0);
	mov_cr(0, X86_CR0_PG);
	ok(gp(), "CR0: PG without PE: #GP");
	protected32(0);
	mov_cr(0, X86_CR0_PE | X86_CR0_NW);
	ok(gp(), "CR0: NW without CD: #GP");
	protected32(0);
	mov_cr(0, X86_CR0_PE | X86_CR0_TS | 0x1ff00);
	ok(s->cr0 == (X86_CR0_PE | X86_CR0_TS | X86_CR0_ET | X86_CR0_WP), "CR0: reserved bits read 0, ET 1");
	long64(0);
	mov_cr(0, 0x100000000 | s->cr0);
	ok(gp(), "CR0: upper half: #GP");
	long64(0);
	mov_cr(0, s->cr0 & ~(u64)X86_CR0_PG);
	ok(gp(), "CR0: PG cleared by 64-bit code: #GP");
	protected32(0);
	s->efer = X86_EFER_LME;
	mov_cr(0, s->cr0 | X86_CR0_PG);
	ok(gp(), "CR0: PG with LME and without PAE: #GP");
	protected32(0);
	for (unsigned int i = 0; i < 8; i++)
		poke(0x3000 + i * 8, 8, (u64)i << 21 | 0x87);
	s->efer = X86_EFER_LME;
	s->cr4 = X86_CR4_PAE;
	mov_cr(0, s->cr0 | X86_CR0_PG);
	ok((s->efer & X86_EFER_LMA) && cpu->long_mode && cpu->mode == X86_MODE_32,
	   "CR0: PG with LME and PAE: IA-32e mode");
	mov_cr(0, s->cr0 & ~(u64)X86_CR0_PG);
	ok(!(s->efer & X86_EFER_LMA) && !cpu->long_mode, "CR0: PG cleared in compatibility mode: left again");
	protected32(0);
	s->cr4 = X86_CR4_PAE;
	poke(0x1000, 8, 0x2000 | 7);		/* bits 2..1 of a PDPTE are reserved */
	mov_cr(0, s->cr0 | X86_CR0_PG);
	ok(gp() && !(s->cr0 & X86_CR0_PG), "CR0: PAE paging with a bad PDPTE: #GP");

	long64(0);
	mov_cr(3, 1ULL << x86_maxphyaddr(cpu));
	ok(gp(), "CR3: beyond MAXPHYADDR: #GP");
	long64(0);
	mov_cr(4, s->cr4 & ~(u64)X86_CR4_PAE);
	ok(gp(), "CR4: PAE cleared in IA-32e mode: #GP");
	for (unsigned int bit = 0; bit < 64; bit++) {
		bool reserved = x86_cr4_reserved(cpu) >> bit & 1;

		long64(0);
		mov_cr(4, s->cr4 | BIT_ULL(bit));
		if (gp() != reserved)
			ok(false, "CR4 bit %u: reserved %d", bit, reserved);
	}
	ok(true, "CR4: every reserved bit #GP, no other");
	long64(0);
	mov_cr(8, 5);
	ok(tpr == 5, "CR8 writes the task priority");
	mov_cr(8, 16);
	ok(gp(), "CR8: reserved bits: #GP");
	long64(3);
	mov_cr(3, 0);
	ok(gp(), "CR3 at CPL 3: #GP");
	long64(0);
	mov_cr(1, 0);
	ok(at_handler() == X86_EXC_UD, "CR1: #UD");

	protected32(0);
	s->gpr[X86_RAX] = X86_CR0_TS;
	STEP(0x0f, 0x01, 0xf0);
	ok(s->cr0 == (X86_CR0_PE | X86_CR0_TS | X86_CR0_ET | X86_CR0_NE), "LMSW sets TS and can't clear PE");
	STEP(0x0f, 0x06);
	ok(!(s->cr0 & X86_CR0_TS), "CLTS");
	STEP(0x0f, 0x01, 0xe0);
	is_u64(s->gpr[X86_RAX], s->cr0, "SMSW to a 32-bit register");

	real_mode();
	s->gpr[X86_RAX] = X86_CR0_PE;
	STEP(0x0f, 0x22, 0xc0);
	ok((s->cr0 & X86_CR0_PE) && cpu->mode == X86_MODE_16 && cpu->cpl == 0 && s->rip == 3,
	   "real to protected mode");
}

/* SDM vol. 3 "Process-Context Identifiers (PCIDs)", vol. 2 "INVPCID" */
static void test_pcid(void)
{
	static const u8 invpcid[] = { 0x66, 0x0f, 0x38, 0x82, 0x08 };	/* (%rax), type in %rcx */
	u64 val;

	long64(0);
	s->cr3 |= 1;
	mov_cr(4, s->cr4 | X86_CR4_PCIDE);
	ok(gp(), "CR4.PCIDE with bits in CR3 11..0: #GP");
	protected32(0);
	mov_cr(4, X86_CR4_PCIDE);
	ok(gp(), "CR4.PCIDE outside IA-32e mode: #GP");
	long64(0);
	mov_cr(3, s->cr3 | BIT_ULL(63));
	ok(gp(), "CR3 bit 63 without PCIDE: #GP");
	long64(0);
	mov_cr(4, s->cr4 | X86_CR4_PCIDE);
	ok(!gp() && (s->cr4 & X86_CR4_PCIDE), "CR4.PCIDE");
	mov_cr(3, BIT_ULL(63) | 0x1005);
	is_u64(s->cr3, 0x1005, "CR3 with PCIDE: bit 63 isn't stored, the PCID is");
	val = s->cr0 & ~(u64)X86_CR0_PG;
	mov_cr(0, val);
	ok(gp(), "CR0.PG cleared with PCIDE: #GP");

	for (u64 type = 0; type < 5; type++) {
		u64 v;

		long64(0);
		s->cr4 |= X86_CR4_PGE;
		emul_x86_changed(vcpu);
		poke(0x3008, 8, 0x200000 | 0x187);	/* a global page */
		poke(0x3010, 8, 0x400000 | 0x87);
		x86_load64(cpu, 0x200000, &v);
		x86_load64(cpu, 0x400000, &v);
		ram[0x600000] = 0x66;
		ram[0x200000] = ram[0x400000] = 0x22;
		poke(0x3008, 8, 0x600000 | 0x187);
		poke(0x3010, 8, 0x600000 | 0x87);
		poke(DATA, 8, 0);
		poke(DATA + 8, 8, 0x400000);
		s->gpr[X86_RAX] = DATA;
		s->gpr[X86_RCX] = type;
		step_bytes(invpcid, sizeof(invpcid));
		if (type == 4) {
			ok(gp(), "INVPCID: type 4: #GP");
			continue;
		}
		x86_load64(cpu, 0x400000, &v);
		ok(s->rip == CODE + 5 && (v & 0xff) == 0x66, "INVPCID type %llu drops the page",
		   (unsigned long long)type);
		if (type == 2) {
			x86_load64(cpu, 0x200000, &v);
			ok((v & 0xff) == 0x66, "INVPCID type 2: global ones too");
		}
	}
	for (unsigned int i = 0; i < 5; i++) {
		static const struct { unsigned int cpl; u64 type, pcid, addr; const char *name; } t[] = {
			{ 3, 0, 0, 0, "CPL 3" },
			{ 0, 0, 0x1000, 0, "reserved bits of the descriptor" },
			{ 0, 0, 0, 0x800000000000, "address not canonical" },
			{ 0, 0, 1, 0, "PCID without CR4.PCIDE" },
			{ 0, 0x100000000, 0, 0, "type of 64 bits" },
		};

		long64(t[i].cpl);
		poke(DATA, 8, t[i].pcid);
		poke(DATA + 8, 8, t[i].addr);
		s->gpr[X86_RAX] = DATA;
		s->gpr[X86_RCX] = t[i].type;
		step_bytes(invpcid, sizeof(invpcid));
		ok(gp(), "INVPCID: %s: #GP", t[i].name);
	}
	v86_mode(3);
	STEP(0x66, 0x0f, 0x38, 0x82, 0x07);
	ok(gp(), "INVPCID in virtual-8086 mode: #GP");
	real_mode();
	STEP(0x66, 0x0f, 0x38, 0x82, 0x07);
	is_u64(s->rip, 5, "INVPCID in real mode");
}

static void test_pku(void)
{
	long64(0);
	STEP(0x0f, 0x01, 0xee);
	ok(at_handler() == X86_EXC_UD, "RDPKRU without CR4.PKE: #UD");
	long64(3);
	s->cr4 |= X86_CR4_PKE;
	s->gpr[X86_RAX] = 0x5555aaaa;
	s->gpr[X86_RCX] = s->gpr[X86_RDX] = 0;
	STEP(0x0f, 0x01, 0xef);
	is_u64(s->pkru, 0x5555aaaa, "WRPKRU at CPL 3");
	s->pkru = 0x12345678;
	s->gpr[X86_RDX] = 7;
	s->gpr[X86_RAX] = ~0ULL;
	STEP(0x0f, 0x01, 0xee);
	ok(s->gpr[X86_RAX] == 0x12345678 && s->gpr[X86_RDX] == 0, "RDPKRU");
	STEP(0x0f, 0x01, 0xee);
	s->pkru = 0;
	s->gpr[X86_RCX] = 1;
	STEP(0x0f, 0x01, 0xee);
	ok(gp(), "RDPKRU with ECX: #GP");
	s->pkru = 0;
}

static void test_xcr(void)
{
	static const struct { u32 ecx; u64 val; bool ok;
	} t[] = {
		{ 0, 1, true },	 { 0, 3, true },  { 0, 7, true },      { 0, 0, false },
		{ 0, 2, false }, { 0, 5, false }, { 0, 8 | 7, false }, { 1, 7, false },
	};

	long64(0);
	STEP(0x0f, 0x01, 0xd0);
	ok(at_handler() == X86_EXC_UD, "XGETBV without CR4.OSXSAVE: #UD");
	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		bool can = t[i].ok && !(t[i].val & ~x86_xcr0_supported(cpu));

		long64(0);
		s->cr4 |= X86_CR4_OSXSAVE;
		s->gpr[X86_RCX] = t[i].ecx;
		s->gpr[X86_RAX] = t[i].val;
		STEP(0x0f, 0x01, 0xd1);
		ok(can ? s->xcr0 == t[i].val : gp(), "XSETBV: XCR%u = %#llx", t[i].ecx,
		   (unsigned long long)t[i].val);
	}
}

static void test_dr(void)
{
	long64(0);
	s->gpr[X86_RAX] = 0xffffffff;
	STEP(0x0f, 0x23, 0xf0);
	is_u64(s->dr[6], 0xffff0ff0 | 0xe00f, "DR6: fixed bits");
	s->gpr[X86_RAX] = 0xffff23ff & ~0x2000u & ~0xffu;
	STEP(0x0f, 0x23, 0xf8);
	is_u64(s->dr[7], 0xffff0700, "DR7: bit 10 reads 1, bits 11, 12, 14, 15 read 0");
	long64(0);
	s->gpr[X86_RAX] = 0x100000000;
	STEP(0x0f, 0x23, 0xf8);
	ok(gp(), "DR7: upper half: #GP");
	long64(0);
	s->dr[6] = 0xffff0ff1;
	STEP(0x0f, 0x21, 0xe0);
	is_u64(s->gpr[X86_RAX], 0xffff0ff1, "DR4 is DR6");
	long64(0);
	s->cr4 |= X86_CR4_DE;
	STEP(0x0f, 0x21, 0xe0);
	ok(at_handler() == X86_EXC_UD, "DR4 with CR4.DE: #UD");
	long64(3);
	STEP(0x0f, 0x21, 0xc0);
	ok(gp(), "MOV DR at CPL 3: #GP");
}

static bool wr(u32 msr, u64 val)
{
	return x86_msr_write(cpu, msr, val);
}
static u64 rd(u32 msr)
{
	u64 val = 0xdeaddeaddead;

	return x86_msr_read(cpu, msr, &val) ? val : 0xbad0bad0bad0;
}

static void test_msr(void)
{
	static const u32 reads[] = { 0x10,	 0x17,	     0x1b,	 0x3a,	     0x3b,	 0x8b,
				     0xce,	 0xfe,	     0x10a,	 0x174,	     0x175,	 0x176,
				     0x179,	 0x17a,	     0x1a0,	 0x1d9,	     0x200,	 0x20f,
				     0x250,	 0x258,	     0x259,	 0x268,	     0x26f,	 0x277,
				     0x2ff,	 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
				     0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103 };
	static const u32 none[] = { 0x2,	0x210,	    0x251,	0x25a,	    0x270,	0x278,
				    0x300,	0x38f,	    0x400,	0x480,	    0x560,	0x6e1,
				    0x900,	0xda1,	    0xc0000085, 0xc0000104, 0xc0010015, 0xc0010114,
				    0x40000000, 0x4b564d00, 0xffffffff };

	long64(0);
	for (unsigned int i = 0; i < ARRAY_SIZE(reads); i++)
		ok(rd(reads[i]) != 0xbad0bad0bad0, "MSR %#x reads", reads[i]);
	for (unsigned int i = 0; i < ARRAY_SIZE(none); i++)
		ok(rd(none[i]) == 0xbad0bad0bad0 && !wr(none[i], 0), "MSR %#x: #GP", none[i]);

	ok(!wr(0x49, 2) && wr(0x49, 1) && rd(0x49) == 0xbad0bad0bad0, "PRED_CMD: write-only, one bit");
	ok(!wr(0xfe, 0), "MTRRCAP is read-only");
	ok(wr(0x277, 0x0007040600070406) && !wr(0x277, 2) && !wr(0x277, 0x0300000000000000) && !wr(0x277, 8),
	   "PAT: types 2, 3, 8 are reserved");
	ok(wr(0x2ff, 0xc06) && !wr(0x2ff, 0xc07) && !wr(0x2ff, 0x1000),
	   "MTRRdefType: type and reserved bits");
	ok(wr(0x200, 0x80000006) && rd(0x200) == 0x80000006 && !wr(0x200, 0x102) && !wr(0x200, 7) &&
		   !wr(0x200, 1ULL << 50),
	   "MTRRphysBase0");
	ok(wr(0x20f, 0x800) && s->mtrr_mask[7] == 0x800 && !wr(0x20f, 1), "MTRRphysMask7");
	ok(wr(0x250, 0x0606060606060606) && !wr(0x250, 2) && rd(0x250) == 0x0606060606060606, "MTRRfix64K");
	ok(wr(0x26f, 0x0505050505050505) && s->mtrr_fixed[10] == 0x0505050505050505,
	   "MTRRfix4K_F8000 is the last");
	ok(!wr(0xc0000082, 0x800000000000) && wr(0xc0000082, 0xffff800000000000), "LSTAR: canonical");
	ok(!wr(0xc0000100, 0x800000000000) && wr(0xc0000100, 0xffff800000000000) &&
		   cpu->lin_base[X86_FS] == 0xffff800000000000,
	   "FS_BASE: canonical, in force at once");
	ok(!wr(0x176, 0x800000000000) && wr(0x176, 0x1234) && s->sysenter_eip == 0x1234,
	   "SYSENTER_EIP: canonical");
	ok(!wr(0xc0000103, 1ULL << 32) && wr(0xc0000103, 7), "TSC_AUX: 32 bits");
	ok(!wr(0xc0000080, 1ULL << 63) && !wr(0xc0000080, 0x4000), "EFER: reserved bits");
	ok(!wr(0xc0000080, s->efer & ~(u64)X86_EFER_LME), "EFER: LME can't change with paging on");
	ok(wr(0xc0000080, X86_EFER_LME | X86_EFER_SCE) && (s->efer & X86_EFER_LMA),
	   "EFER: LMA is not written");
	wr(0x3b, 0);
	tsc_now = 5000;
	wr(0x10, 1000);
	ok(rd(0x10) == 1000 && rd(0x3b) == (u64)-4000, "TSC write moves TSC_ADJUST");
	wr(0x3b, 0);
	is_u64(rd(0x10), 5000, "TSC_ADJUST write moves TSC");
	deadline_writes = 0;
	ok(wr(0x10, 5000) && wr(0x3b, 0) && !deadline_writes, "TSC written: no deadline to be moved");
	tsc_deadline = 7000;
	ok(wr(0x10, 6000) && deadline_writes == 1 && wr(0x3b, 0) && deadline_writes == 2 && tsc_deadline == 7000,
	   "TSC written: a pending deadline is armed anew");
	tsc_deadline = 0;
	ok(rd(0x1b) == apic_base, "APIC_BASE is the embedder's");
	is_u64(rd(0x10a) & 0x3b, 0x3b, "ARCH_CAPABILITIES: RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO, MDS_NO");
	long64(3);
	s->gpr[X86_RCX] = 0x10;
	STEP(0x0f, 0x32);
	faulted64(X86_EXC_GP, 0, "RDMSR at CPL 3: #GP(0)");
	long64(0);
	s->gpr[X86_RCX] = 0xffffffff00000277;
	s->gpr[X86_RAX] = 0xffffffff00070406;
	s->gpr[X86_RDX] = 0xffffffff00070406;
	STEP(0x0f, 0x30);
	is_u64(s->pat, 0x0007040600070406, "WRMSR takes 32 bits of each register");
}

static void test_misc(void)
{
	long64(3);
	STEP(0xfa);
	ok(gp(), "CLI at CPL 3, IOPL 0: #GP");
	long64(3);
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_IOPL);
	STEP(0xfb);
	ok((s->rflags & X86_IF) && s->intr_shadow, "STI at CPL 3, IOPL 3: allowed, with a shadow");
	STEP(0xfb);
	ok(!s->intr_shadow, "STI with IF set: no shadow");
	long64(0);
	STEP(0xf4);
	ok(s->halted && s->rip == CODE + 1, "HLT");
	long64(3);
	STEP(0xf4);
	ok(gp(), "HLT at CPL 3: #GP");
	long64(0);
	STEP(0x0f, 0x01, 0xcb);
	ok((s->rflags & X86_AC) && s->rip == CODE + 3, "STAC");
	STEP(0x0f, 0x01, 0xca);
	ok(!(s->rflags & X86_AC), "CLAC");
	long64(0);
	s->cr4 |= X86_CR4_SMAP;
	emul_x86_changed(vcpu);
	ok(cpu->tlb == &cpu->tlbs[TLB_KERNEL], "SMAP without AC: TLB_KERNEL");
	s->rflags |= X86_AC;
	x86_mode_changed(cpu);
	ok(cpu->tlb == &cpu->tlbs[TLB_KERNEL_AC], "SMAP with AC: TLB_KERNEL_AC");
	long64(3);
	STEP(0x0f, 0x01, 0xcb);
	ok(at_handler() == X86_EXC_UD, "STAC at CPL 3: #UD");
	long64(3);
	s->cr4 |= X86_CR4_TSD;
	STEP(0x0f, 0x31);
	ok(gp(), "RDTSC at CPL 3 with TSD: #GP");
	long64(0);
	tsc_now = 0x123456789a;
	s->tsc_offset = 0;
	s->tsc_aux = 7;
	STEP(0x0f, 0x01, 0xf9);
	ok(s->gpr[X86_RAX] == 0x3456789a && s->gpr[X86_RDX] == 0x12 && s->gpr[X86_RCX] == 7, "RDTSCP");
	long64(3);
	STEP(0xf3, 0x0f, 0xae, 0xc0);
	ok(at_handler() == X86_EXC_UD, "RDFSBASE without CR4.FSGSBASE: #UD");
	long64(3);
	s->cr4 |= X86_CR4_FSGSBASE;
	s->gpr[X86_RAX] = 0x7fff12345678;
	STEP(0xf3, 0x48, 0x0f, 0xae, 0xd0);
	ok(s->seg[X86_FS].base == 0x7fff12345678 && cpu->lin_base[X86_FS] == 0x7fff12345678,
	   "WRFSBASE, 64-bit");
	STEP(0xf3, 0x0f, 0xae, 0xc1);
	is_u64(s->gpr[X86_RCX], 0x12345678, "RDFSBASE, 32-bit: zero-extended");
	long64(3);
	s->cr4 |= X86_CR4_FSGSBASE;
	s->gpr[X86_RAX] = 0x800000000000;
	STEP(0xf3, 0x48, 0x0f, 0xae, 0xd8);
	ok(gp(), "WRGSBASE, not canonical: #GP");
	protected32(0);
	s->gpr[X86_RAX] = 5;
	poke(DATA, 4, (u32)-3);
	poke(DATA + 4, 4, 5);
	STEP(0x62, 0x05, 0, 0x80, 1, 0);
	ok(s->rip == CODE + 6, "BOUND, within");
	s->rip = CODE;
	s->gpr[X86_RAX] = 6;
	STEP(0x62, 0x05, 0, 0x80, 1, 0);
	ok(at_handler() == X86_EXC_BR, "BOUND, above: #BR");
	long64(0);
	STEP(0x0f, 0x01, 0xc1);
	ok(at_handler() == X86_EXC_UD, "VMCALL: #UD");
	long64(0);
	STEP(0x0f, 0xaa);
	ok(at_handler() == X86_EXC_UD, "RSM outside SMM: #UD");
	long64(0);
	STEP(0x0f, 0x33);
	ok(gp(), "RDPMC: no such counter: #GP");
}

static struct x86_cpuid_leaf leaf(u32 a, u32 c)
{
	struct x86_cpuid_leaf l;

	x86_cpuid(cpu, a, c, &l);
	return l;
}

/* Every bit of CPUID that has an operation says the same as x86_has(). */
static void check_features(const char *model)
{
	static const struct { u8 feat; u32 leaf; u8 reg, bit;
	} t[] = {
		{ X86_FEAT_SSE, 1, 3, 25 },
		{ X86_FEAT_SSE2, 1, 3, 26 },
		{ X86_FEAT_CMOV, 1, 3, 15 },
		{ X86_FEAT_FXSR, 1, 3, 24 },
		{ X86_FEAT_SSE3, 1, 2, 0 },
		{ X86_FEAT_PCLMUL, 1, 2, 1 },
		{ X86_FEAT_MONITOR, 1, 2, 3 },
		{ X86_FEAT_VMX, 1, 2, 5 },
		{ X86_FEAT_SSSE3, 1, 2, 9 },
		{ X86_FEAT_FMA, 1, 2, 12 },
		{ X86_FEAT_CX16, 1, 2, 13 },
		{ X86_FEAT_SSE41, 1, 2, 19 },
		{ X86_FEAT_SSE42, 1, 2, 20 },
		{ X86_FEAT_MOVBE, 1, 2, 22 },
		{ X86_FEAT_POPCNT, 1, 2, 23 },
		{ X86_FEAT_AES, 1, 2, 25 },
		{ X86_FEAT_XSAVE, 1, 2, 26 },
		{ X86_FEAT_AVX, 1, 2, 28 },
		{ X86_FEAT_F16C, 1, 2, 29 },
		{ X86_FEAT_RDRAND, 1, 2, 30 },
		{ X86_FEAT_FSGSBASE, 7, 1, 0 },
		{ X86_FEAT_BMI1, 7, 1, 3 },
		{ X86_FEAT_AVX2, 7, 1, 5 },
		{ X86_FEAT_BMI2, 7, 1, 8 },
		{ X86_FEAT_INVPCID, 7, 1, 10 },
		{ X86_FEAT_RDSEED, 7, 1, 18 },
		{ X86_FEAT_ADX, 7, 1, 19 },
		{ X86_FEAT_SMAP, 7, 1, 20 },
		{ X86_FEAT_CLFLUSHOPT, 7, 1, 23 },
		{ X86_FEAT_CLWB, 7, 1, 24 },
		{ X86_FEAT_SHA, 7, 1, 29 },
		{ X86_FEAT_PKU, 7, 2, 3 },
		{ X86_FEAT_GFNI, 7, 2, 8 },
		{ X86_FEAT_VAES, 7, 2, 9 },
		{ X86_FEAT_VPCLMUL, 7, 2, 10 },
		{ X86_FEAT_RDPID, 7, 2, 22 },
		{ X86_FEAT_LAHF64, 0x80000001, 2, 0 },
		{ X86_FEAT_SVM, 0x80000001, 2, 2 },
		{ X86_FEAT_LZCNT, 0x80000001, 2, 5 },
		{ X86_FEAT_PREFETCHW, 0x80000001, 2, 8 },
		{ X86_FEAT_SYSCALL, 0x80000001, 3, 11 },
		{ X86_FEAT_RDTSCP, 0x80000001, 3, 27 },
		{ X86_FEAT_XSAVEOPT, 0xd, 0, 0 },
		{ X86_FEAT_XSAVEC, 0xd, 0, 1 },
		{ X86_FEAT_XSAVES, 0xd, 0, 3 },
	};
	unsigned int bad = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		struct x86_cpuid_leaf l = leaf(t[i].leaf, t[i].leaf == 0xd);
		u32 reg = (const u32[]){ l.eax, l.ebx, l.ecx, l.edx }[t[i].reg];

		if ((reg >> t[i].bit & 1) != x86_has(cpu, t[i].feat)) {
			diag("feature %u", t[i].feat);
			bad++;
		}
	}
	is_u64(bad, 0, "%s: CPUID bits agree with what is executed", model);
	ok(!(leaf(7, 0).ebx & BIT(7)) == !!(x86_cr4_reserved(cpu) & X86_CR4_SMEP) &&
		   !(leaf(7, 0).ebx & BIT(20)) == !!(x86_cr4_reserved(cpu) & X86_CR4_SMAP) &&
		   !(leaf(7, 0).ebx & BIT(0)) == !!(x86_cr4_reserved(cpu) & X86_CR4_FSGSBASE) &&
		   !(leaf(7, 0).ecx & BIT(2)) == !!(x86_cr4_reserved(cpu) & X86_CR4_UMIP) &&
		   !(leaf(1, 0).ecx & BIT(26)) == !!(x86_cr4_reserved(cpu) & X86_CR4_OSXSAVE) &&
		   !(leaf(1, 0).edx & BIT(1)) == !!(x86_cr4_reserved(cpu) & X86_CR4_VME) &&
		   !(leaf(1, 0).edx & BIT(1)) == !!(x86_cr4_reserved(cpu) & X86_CR4_PVI) &&
		   !(leaf(1, 0).ecx & BIT(17)) == !!(x86_cr4_reserved(cpu) & X86_CR4_PCIDE) &&
		   !(leaf(7, 0).ecx & BIT(3)) == !!(x86_cr4_reserved(cpu) & X86_CR4_PKE),
	   "%s: CR4's reserved bits agree with CPUID", model);
	ok((leaf(0xd, 0).eax | (u64)leaf(0xd, 0).edx << 32) == x86_xcr0_supported(cpu),
	   "%s: leaf 0DH is XCR0", model);
	ok(leaf(0x80000008, 0).eax == (x86_maxphyaddr(cpu) | 48 << 8), "%s: address sizes", model);
}

/* SDM vol. 2 "MONITOR", "MWAIT": offered by +monitor alone. */
static void test_mwait(void)
{
	struct emul_exit exit;
	u64 before;

	machine_exit();
	machine_init(NULL, 1);
	long64(0);
	STEP(0x0f, 0x01, 0xc8);
	ok(at_handler() == X86_EXC_UD, "MONITOR without the feature");
	machine_exit();
	machine_init("max,+monitor", 1);
	ok(leaf(1, 0).ecx >> 3 & 1 && leaf(5, 0).eax == 64 && leaf(5, 0).ecx == 3, "monitor: CPUID");
	long64(0);
	s->gpr[X86_RAX] = DATA;
	STEP(0x0f, 0x01, 0xc8);
	poke(DATA + 60, 4, 77);
	s->gpr[X86_RAX] = 0;
	STEP(0x0f, 0x01, 0xc9);
	is_u64(s->rip, CODE + 6, "MWAIT ends by a store to the line");
	STEP(0x0f, 0x01, 0xc9);
	is_u64(s->rip, CODE + 9, "MWAIT without MONITOR does not wait");
	s->gpr[X86_RAX] = DATA;
	STEP(0x0f, 0x01, 0xc8);
	emul_kick(vcpu);
	emul_step(vcpu, &exit);
	ok(exit.reason == EMUL_EXIT_KICK, "a kick comes first");
	cpu->intr_waiting = true;
	s->gpr[X86_RCX] = 1;
	before = s->rip;
	STEP(0x0f, 0x01, 0xc9);
	is_u64(s->rip, before + 3, "MWAIT, ECX[0]: ends by an interrupt that IF holds back");
	cpu->intr_waiting = false;
	long64(0);
	s->gpr[X86_RCX] = 2;
	STEP(0x0f, 0x01, 0xc9);
	faulted64(X86_EXC_GP, 0, "MWAIT: reserved bit of ECX");
	long64(3);
	STEP(0x0f, 0x01, 0xc9);
	ok(at_handler() == X86_EXC_UD, "MWAIT at CPL 3");
}

/* MSRs are there if, and only if, CPUID says so: SDM vol. 4 "Architectural MSRs" */
static void test_msr_features(void)
{
	static const struct { const char *cpu; u32 msr; } t[] = {
		{ "max,-mtrr", 0xfe }, { "max,-mtrr", 0x200 }, { "max,-mtrr", 0x250 }, { "max,-mtrr", 0x2ff },
		{ "max,-pat", 0x277 }, { "max,-mca", 0x179 }, { "max,-tsc", 0x10 }, { "max,-tsc_adjust", 0x3b },
		{ "max,-sep", 0x174 }, { "max,-arch_capabilities", 0x10a }, { "max,-spec_ctrl", 0x48 },
		{ "max,-xsaves", 0xda0 }, { "max,-syscall", 0xc0000081 }, { "max,-lm", 0xc0000102 },
		{ "max,-rdtscp,-rdpid", 0xc0000103 },
	};
	u64 val;

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		machine_exit();
		machine_init("max", 1);
		ok(x86_msr_read(cpu, t[i].msr, &val), "max has MSR %#x", t[i].msr);
		machine_exit();
		machine_init(t[i].cpu, 1);
		ok(!x86_msr_read(cpu, t[i].msr, &val) && !x86_msr_write(cpu, t[i].msr, 0), "%s has not", t[i].cpu);
	}
}

static void test_models(void)
{
	static const char *const names[] = { "max",	 "qemu64",     "Nehalem",
					     "Haswell",	 "x86-64-v2",  "x86-64-v3",
					     "max,-avx", "max,-xsave", "qemu64,+sse4.1,+ssse3" };
	char err[200] = "";

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		machine_exit();
		machine_init(names[i], 4);
		long64(0);
		check_features(names[i]);
	}
	ok(x86_has(cpu, X86_FEAT_SSE41) && !x86_has(cpu, X86_FEAT_SSE42), "+sse4.1 adds it");

	machine_exit();
	machine_init("max,-xsave", 1);
	ok(!x86_has(cpu, X86_FEAT_AVX2) && !x86_has(cpu, X86_FEAT_FMA), "-xsave takes AVX and what needs it");
	ok(!x86_cpuid_new("nonsense", 1, err, sizeof(err)) && strstr(err, "nonsense"),
	   "unknown model: refused");
	ok(!x86_cpuid_new("max,+vmx", 1, err, sizeof(err)) && strstr(err, "vmx"),
	   "unimplemented feature: refused");
	ok(!x86_cpuid_new("max,foo", 1, err, sizeof(err)) && strstr(err, "foo"),
	   "feature without a sign: refused");
	ok(!x86_cpuid_new("max,", 1, err, sizeof(err)), "empty feature: refused");
	ok(!x86_cpuid_new("qemu64,+avx", 1, err, sizeof(err)) && strstr(err, "xsave"),
	   "feature whose needs are missing: refused");

	machine_exit();
	machine_init("x86-64-v3", 1);
	for (unsigned int i = 0; i < 9; i++) {
		static const u8 v3[] = { X86_FEAT_AVX,	 X86_FEAT_AVX2,	 X86_FEAT_BMI1,
					 X86_FEAT_BMI2,	 X86_FEAT_F16C,	 X86_FEAT_FMA,
					 X86_FEAT_LZCNT, X86_FEAT_MOVBE, X86_FEAT_XSAVE };

		if (!(x86_host_features() >> X86_FEAT_AVX2 & 1))
			skip("x86-64-v3 is complete", "the host has no AVX2");
		else
			ok(x86_has(cpu, v3[i]), "x86-64-v3 has feature %u", v3[i]);
	}
}

static void test_cpuid(void)
{
	struct x86_cpuid_leaf l;
	char brand[49] = "";
	u64 hz;

	machine_exit();
	machine_init("max", 4);
	long64(0);
	ok(!(leaf(1, 0).ecx & BIT(27)), "OSXSAVE clear");
	s->cr4 |= X86_CR4_OSXSAVE;
	ok(leaf(1, 0).ecx & BIT(27), "OSXSAVE follows CR4");
	ok(leaf(1, 0).edx & BIT(9), "APIC set");
	apic_base &= ~0x800ULL;
	ok(!(leaf(1, 0).edx & BIT(9)), "APIC follows IA32_APIC_BASE.EN");
	apic_base |= 0x800;
	cpu->core.id = 2;
	ok(leaf(1, 0).ebx >> 24 == 2 && leaf(0xb, 0).edx == 2, "APIC id in leaves 1 and 0BH");
	ok((leaf(1, 0).ebx >> 16 & 0xff) == 4 && (leaf(1, 0).edx & BIT(28)), "four logical processors, HTT");
	ok(leaf(0xb, 1).eax == 2 && leaf(0xb, 1).ebx == 4 && leaf(0xb, 1).ecx == 0x201 &&
		   leaf(0xb, 2).ebx == 0,
	   "leaf 0BH: cores");
	cpu->core.id = 0;
	for (u32 i = 0; i < 3; i++) {
		l = leaf(0x80000002 + i, 0);
		memcpy(brand + i * 16, &l, 16);
	}
	ok(!strcmp(brand, "Tenon software CPU"), "brand string");
	l = leaf(0x15, 0);
	hz = l.eax ? (u64)l.ecx * l.ebx / l.eax : 0;
	is_u64(hz, 2500000000, "leaf 15H: TSC frequency");
	ok((u64)l.ecx / 1000 * l.ebx <= 0xffffffff, "leaf 15H: fits 32-bit arithmetic in kHz");
	is_u64(leaf(0x40000010, 0).eax, 2500000, "leaf 40000010H: kHz");
	s->xcr0 = 1;
	ok(leaf(0xd, 0).ebx == 576, "leaf 0DH: size follows XCR0");
	s->misc_enable |= BIT(22);
	ok(leaf(0, 0).eax == 3, "MISC_ENABLE limits the leaves");

	/* odd frequencies: within a millionth */
	for (u64 f = 800000003; f < 5000000000; f += 314159265) {
		struct x86_cpuid_table *t = (void *)x86_cpuid_new("max", f, brand, sizeof(brand));
		u64 got = (u64)X86_CRYSTAL_HZ * t->tsc_num / t->tsc_den, off = got > f ? got - f : f - got;

		if (off > f / 1000000)
			ok(false, "leaf 15H for %llu Hz is %llu", (unsigned long long)f,
			   (unsigned long long)got);
		x86_cpuid_free(t);
	}
	ok(true, "leaf 15H: within a millionth for odd frequencies");
}

/* SDM vol. 3 "Processor State After Reset", the table */
static void test_reset(void)
{
	machine_exit();
	machine_init(NULL, 1);
	ok(s->rip == 0xfff0 && s->seg[X86_CS].sel == 0xf000 && s->seg[X86_CS].base == 0xffff0000 &&
		   s->seg[X86_CS].limit == 0xffff,
	   "reset: CS:IP");
	ok(emul_x86_rflags(vcpu) == 2 && s->cr0 == 0x60000010 && !s->cr2 && !s->cr3 && !s->cr4 && !s->efer,
	   "reset: flags, control registers");
	ok(s->gpr[X86_RDX] == leaf(1, 0).eax && !s->gpr[X86_RAX], "reset: EDX is the signature");
	ok(s->dr[6] == 0xffff0ff0 && s->dr[7] == 0x400, "reset: DR6, DR7");
	ok(s->gdtr.limit == 0xffff && s->idtr.limit == 0xffff && s->ldtr.attr == 0x82 && s->tr.attr == 0x8b,
	   "reset: table registers");
	ok(s->pat == 0x0007040600070406 && s->xcr0 == 1 && !s->mtrr_def_type, "reset: PAT, XCR0, MTRRs");
	long64(0);
	s->pat = 6;
	s->tsc_aux = 9;
	s->mtrr_def_type = 0xc06;
	s->cr0 &= ~(u64)(X86_CR0_CD | X86_CR0_NW);
	emul_vcpu_reset(vcpu, true);
	ok(s->pat == 6 && s->tsc_aux == 9 && s->mtrr_def_type == 0xc06 && s->cr0 == 0x10 &&
		   s->rip == 0xfff0 && cpu->mode == X86_MODE_16,
	   "INIT: MSRs and CD, NW stay, the rest as after reset");
}

int main(void)
{
	machine_init(NULL, 1);
	test_cr();
	test_pcid();
	test_pku();
	test_xcr();
	test_dr();
	test_msr();
	test_misc();
	test_models();
	test_cpuid();
	test_reset();
	test_mwait();
	test_msr_features();
	machine_exit();
	return tap_done();
}
