// SPDX-License-Identifier: GPL-2.0-only
/*
 * jit-diff.c - the translator against the interpreter
 *
 * Oracle: the interpreter, which has been compared with the processor (interp-int, vec-host). Two VMs with equal
 * registers and memory run the same random program, one in translated code (every block at once, with a tiny cache;
 * then with blocks of one instruction and all that EMUL_JIT_STRESS does), one in the interpreter. Programs have branches and loops, accesses that cross pages or fault in the middle of a
 * block, and stores into their own code. Registers, memory, RIP, the way the run ended and, where it ended with HLT, flags
 * must agree. (Flags that nobody can read any more are not kept over a fault: translator.rst.)
 *
 * Usage: jit-diff [programs]; TEST_SEED=n repeats a run.
 */
#include <signal.h>
#include <time.h>

#include "tap.h"

#ifndef __x86_64__

int main(void)
{
	skip("translator against interpreter", "the host is not x86-64");
	return tap_done();
}

#else

#include "interp-vm.h"

#define VA		0x10000000ULL	/* code, then data */
#define CODE_PAGES	2
#define DATA_PAGES	5		/* the last but one is read-only; after the last comes nothing */
#define PAGES		(CODE_PAGES + DATA_PAGES)
#define DATA		(VA + CODE_PAGES * 4096)
#define COUNTER		(DATA + 4 * 4096 + 1000)	/* of a loop: where programs hardly ever write */
#define PROGRAM_MAX	600

static u64 seed;
static u64 rnd(void)
{
	return tap_random(&seed);
}
static u64 below(u64 n)
{
	return rnd() % n;
}
static bool chance(unsigned int percent)
{
	return below(100) < percent;
}

/* --- two machines --- */

struct machine {
	struct emul_vm *vm;
	struct x86_cpu *cpu;
	u8 *mem;		/* PAGES pages */
	u8 *tables;
};

static struct machine translator, interpreter;

static void machine_init(struct machine *m, enum emul_jit jit)
{
	const struct emul_config cfg = { .max_vcpus = 1, .tsc_hz = 1000000000, .jit = jit, .count = true };
	char err[200] = "";

	m->vm = emul_vm_create(&cfg, &ops, NULL, err, sizeof(err));
	m->tables = mmap(NULL, GUEST_RAM + PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!m->vm || m->tables == MAP_FAILED || emul_mem_add(m->vm, 0, GUEST_RAM, m->tables, 0) ||
	    emul_mem_add(m->vm, SCRATCH_GPA, PAGES * 4096, m->tables + GUEST_RAM, 0)) {
		printf("Bail out! no VM: %s\n", err);
		exit(EXIT_FAILURE);
	}
	m->mem = m->tables + GUEST_RAM;
	m->cpu = x86_cpu(emul_vcpu_create(m->vm, 0, NULL));
	map_pages(m->tables, (const u8 *)VA, PAGES);
	/* level 1 table: page 4 of map_pages()'s */
	for (unsigned int n = 0; n < GUEST_RAM / 8; n++) {
		u64 *e = (u64 *)m->tables + n;

		if ((*e & ~0xfffULL) == SCRATCH_GPA + (PAGES - 2) * 4096 && *e & 1)
			*e &= ~2ULL;
	}
	m->cpu->s.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP;
	m->cpu->s.cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
	m->cpu->s.xcr0 = 7;
	m->cpu->s.cr3 = 0;
	m->cpu->s.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
	m->cpu->s.sfmask = X86_CF | X86_DF;
	test_segments(m->cpu, X86_MODE_64);
}

/* --- programs --- */

static u8 code[PROGRAM_MAX + 64];
static unsigned int len;
static unsigned int starts[256], nr_starts;

static void put(const void *p, unsigned int n)
{
	memcpy(code + len, p, n);
	len += n;
}
#define PUT(s)	put(s, sizeof(s) - 1)

static const u8 pointers[] = { X86_RBX, X86_RSI, X86_RBP, X86_RDI, X86_R11, X86_R13, X86_R14, X86_R15 };

static enum x86_mode mode;
static bool wide, small;	/* 64-bit, 16-bit code */
static u64 data_base, code_base;	/* of segments */
static u32 data_limit;

/* An address in the data, as an offset of its segment. */
static u64 place(void)
{
	static const u16 ends[] = { 4096, 2 * 4096, 3 * 4096, 4 * 4096, 5 * 4096 };

	if (small && chance(20))
		return data_limit - below(9);
	return DATA - data_base + (chance(30) ? ends[below(chance(5) ? 5 : 3)] - below(40) : below(3 * 4096));
}

static void put_pointer(void)
{
	u8 r = pointers[below(sizeof(pointers))];
	u8 b[2] = { (u8)(0x48 | (r >= 8)), (u8)(0xb8 | (r & 7)) };
	u64 v = !small && chance(2) ? VA + below(len + 16) : place();	/* or into the program itself */

	if (!wide)
		b[1] = (u8)(0xb8 | pointers[below(4)]);
	put(b + !wide, 1 + wide);
	put(&v, wide ? 8 : small ? 2 : 4);
}

/* What the manuals leave undefined differs: such flags are overwritten at once. */
static bool flags_undefined(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_SHL: case X86_OP_SHR: case X86_OP_SAR: case X86_OP_ROL: case X86_OP_ROR: case X86_OP_RCL:
	case X86_OP_RCR: case X86_OP_SHLD: case X86_OP_SHRD: case X86_OP_BT: case X86_OP_BTS: case X86_OP_BTR:
	case X86_OP_BTC: case X86_OP_BSF: case X86_OP_BSR: case X86_OP_TZCNT: case X86_OP_LZCNT:
	case X86_OP_MUL: case X86_OP_IMUL1: case X86_OP_IMUL2: case X86_OP_IMUL3: case X86_OP_DIV:
	case X86_OP_IDIV: case X86_OP_ANDN: case X86_OP_BEXTR: case X86_OP_BLSI: case X86_OP_BLSMSK:
	case X86_OP_BLSR: case X86_OP_BZHI: case X86_OP_AND: case X86_OP_OR: case X86_OP_XOR: case X86_OP_TEST:
		return true;
	default:
		return false;
	}
}

static bool carry_defined(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_ROL: case X86_OP_ROR: case X86_OP_RCL: case X86_OP_RCR: case X86_OP_BT: case X86_OP_BTS:
	case X86_OP_BTR: case X86_OP_BTC: case X86_OP_TZCNT: case X86_OP_LZCNT: case X86_OP_MUL: case X86_OP_IMUL1:
	case X86_OP_IMUL2: case X86_OP_IMUL3: case X86_OP_AND: case X86_OP_OR: case X86_OP_XOR: case X86_OP_TEST:
		return true;
	default:
		return false;
	}
}

static bool excluded(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_RDRAND: case X86_OP_RDSEED: case X86_OP_JMP: case X86_OP_JMPI: case X86_OP_CALL: case X86_OP_CALLI:
	case X86_OP_RET: case X86_OP_JCC: case X86_OP_LOOP: case X86_OP_LOOPE: case X86_OP_LOOPNE: case X86_OP_JCXZ:
	case X86_OP_IN: case X86_OP_OUT: case X86_OP_INS: case X86_OP_OUTS: case X86_OP_POPF: case X86_OP_PAUSE:
	case X86_OP_STD:
		return true;
	case X86_OP_SHLD: case X86_OP_SHRD: case X86_OP_BSWAP: case X86_OP_MOVSXD:
		return i->opsize == 2;
	default:
		return i->flags & (X86_IF_REP | X86_IF_REPNE) || (i->addrsize == 2 && !small);
	}
}

/* A random instruction of the table that has a chance not to fault. */
static void put_random(bool vectors)
{
	for (;;) {
		struct x86_insn i;
		unsigned int n = 0, at, cls;
		u8 b[32];

		for (unsigned int k = 0; k < sizeof(b); k++)
			b[k] = (u8)rnd();
		if (chance(10))
			b[n++] = 0x66;
		if (chance(vectors ? 40 : 8))
			b[n++] = chance(50) ? 0xf2 : 0xf3;
		if (chance(6))
			b[n++] = 0xf0;
		if (chance(5))
			b[n++] = chance(50) ? 0x64 : 0x65;
		else if (chance(5))
			b[n++] = (u8)(0x26 | below(4) << 3);	/* ES, CS, SS, DS */
		if (chance(4))
			b[n++] = 0x67;
		if (chance(vectors ? 40 : 8)) {
			b[n++] = 0xc4;
			b[n] = (wide ? b[n] & 0xe0 : 0xe0) | (1 + below(3));
			n += 2;
		} else {
			if (wide && chance(50))
				b[n++] = (u8)(0x40 | below(16));
			if (vectors || chance(30)) {
				b[n++] = 0x0f;
				if (chance(20))
					b[n++] = chance(50) ? 0x38 : 0x3a;
			}
		}
		if (vectors && chance(12))
			b[n] = (u8)(0xd8 | below(8));
		at = n + 1;
		/* operands in memory by a pointer, with a small displacement */
		if ((b[at] & 0xc0) != 0xc0) {
			static const u8 base[] = { 3, 6, 5, 7, 0 };

			b[at] = (u8)(0x40 | (b[at] & 0x38) | (small ? chance(10) ? below(4) : 4 + below(4) : base[below(4)]));
			if (small && chance(50))	/* no displacement: to the end of a segment */
				b[at] = (u8)((b[at] & 0x38) | (chance(50) ? 7 : 4 + below(2)));
			if (!small && chance(20)) {	/* [base + index * scale + disp8] */
				b[at] = (b[at] & 0x78) | 4;
				b[at + 1] = (u8)((chance(70) ? 4 : below(8)) << 3 | base[below(4)] | (b[at + 1] & 0xc0));
			}
		}
		if (x86_decode(&i, b, 15, mode) != X86_DECODE_OK || excluded(&i))
			continue;
		cls = x86_op_class[i.op];
		if (cls != X86_CLASS_INT && !(vectors && (cls == X86_CLASS_VEC || cls == X86_CLASS_FPU)))
			continue;
		if (!x86_has(translator.cpu, x86_rows[i.row].feat))
			continue;
		put(b, i.len);
		if (flags_undefined(&i)) {
			if (chance(30) && carry_defined(&i))
				put(&"\x48\x11\xca"[!wide], 2 + wide);	/* adc rdx, rcx */
			put(&"\x48\x39\xc8"[!wide], 2 + wide);		/* cmp rax, rcx */
		}
		return;
	}
}

/*
 * Instructions of system.c, and others that leave the straight line by their handler: SYSCALL leads to the program's end,
 * MOV CR3 and WRMSR ask the loop to look at everything.
 */
static void put_system(void)
{
	static const struct { u8 n; char b[16]; } insns[] = {
#define I(s)	{ sizeof(s) - 1, s }
		I("\xfa"), I("\xfb"), I("\xfb\xfa"),			/* cli; sti; sti, cli */
		I("\xfc"), I("\xfd\xa4\xfc"),			/* cld; std, movsb, cld */
		I("\x9c\x58"), I("\x39\xc8\x9c\x5a"),		/* pushf, pop rax; cmp eax, ecx, pushf, pop rdx */
		I("\x0f\x20\xd8\x0f\x22\xd8"),			/* mov rax, cr3; mov cr3, rax */
		/* 64-bit code only: */
		I("\x0f\x01\xf8"),				/* swapgs */
		I("\xf3\x48\x0f\xae\xc0"), I("\xf3\x4d\x0f\xae\xcd"),	/* rdfsbase rax; rdgsbase r13 */
		I("\xf3\x48\x0f\xae\xd3"), I("\xf3\x49\x0f\xae\xdf"),	/* wrfsbase rbx; wrgsbase r15 */
		I("\xf3\x0f\xae\xd8"), I("\xf3\x48\x0f\xae\xd2"),	/* wrgsbase eax; wrfsbase rdx */
		I("\xb9\x02\x01\0\xc0\x0f\x32\x0f\x30"),	/* ecx = MSR_KERNEL_GS_BASE; rdmsr; wrmsr */
		I("\x0f\x05"),					/* syscall */
#undef I
	};
	unsigned int i = (unsigned int)below(wide ? sizeof(insns) / sizeof(insns[0]) : 8);

	put(insns[i].b, insns[i].n);
}

/* MOVS and STOS, repeated; not over the program, whose flags were dead before there was other code (translator.rst) */
static void put_string(void)
{
	static const u8 op[] = { 0xa4, 0xa5, 0xaa, 0xab };

	PUT("\xbf");				/* mov edi, address */
	put(&(u32){ (u32)place() }, small ? 2 : 4);
	PUT("\xb9");				/* mov ecx, count */
	put(&(u32){ (u32)below(chance(90) ? 60 : 3000) }, small ? 2 : 4);
	if (chance(20))
		PUT("\x66");
	if (chance(25))
		put(&(u8){ (u8)(0x26 | below(4) << 3) }, 1);
	PUT("\xf3");
	if (wide && chance(40))
		PUT("\x48");
	put(&op[below(4)], 1);
}

static void make_program(void)
{
	unsigned int n = 3 + (unsigned int)below(30), fix[32], nr_fix = 0, size = PROGRAM_MAX;
	unsigned int system = chance(40) ? 15 : 0;
	bool vectors = chance(40), loop = chance(60);

	len = 0;
	nr_starts = 0;
	data_base = small ? DATA - below(0xa000) : 0;
	data_limit = chance(50) ? 0xffff : (u32)(DATA - data_base + below((DATA_PAGES - 1) * 4096));
	for (unsigned int k = 0; k < 4; k++)
		put_pointer();
	for (unsigned int k = 0; k < n && len < size - 60; k++) {
		starts[nr_starts++] = len;
		if (chance(15)) {
			put_pointer();
		} else if (chance(12) && nr_fix < 32) {
			u8 j[6] = { 0x0f, (u8)(0x80 | below(16)) };

			put(j, small ? 4 : 6);
			fix[nr_fix++] = len;
		} else if (chance(4)) {			/* push; pop */
			u8 r[2] = { (u8)(0x50 | below(8)), (u8)(0x58 | below(8)) };

			put(r, 2);
		} else if (vectors && chance(4)) {
			if (chance(70))
				PUT("\xc5\xf8\x77");	/* vzeroupper */
			else
				PUT("\xc5\xfc\x77");	/* vzeroall */
		} else if (chance(system)) {
			put_system();
		} else if (chance(5)) {
			put_string();
		} else if (small && chance(10)) {
			static const struct { u8 n; char b[20]; } insns[] = {
#define I(s)	{ sizeof(s) - 1, s }
				I("\xe8\0\0\x83\xc4\x02"),			/* call +0; add sp, 2 */
				I("\x66\xe8\0\0\0\0\x83\xc4\x04"),		/* calll +0; add sp, 4 */
				I("\xe8\0\0\x58\x83\xc0\x06\x50\xc3"),	/* call +0; pop ax; add ax, 6; push ax; ret */
				I("\xe8\0\0\x5a\x83\xc2\x06\xff\xe2"),	/* call +0; pop dx; add dx, 6; jmp dx */
				/* calll +0; popl eax; addl eax, 10; pushl eax; retl */
				I("\x66\xe8\0\0\0\0\x66\x58\x66\x83\xc0\x0a\x66\x50\x66\xc3"),
				I("\x66\x31\xd2\xe8\0\0\x5a\x83\xc2\x07\x66\xff\xe2"),	/* likewise, jmpl edx */
				I("\xe2\0"), I("\xe3\0"), I("\xe2\1\x90"),	/* loop +0; jcxz +0; loop +1, nop */
				I("\x0e\x83\xc4\x02"), I("\x8c\xd8"),	/* push cs, add sp, 2; mov ax, ds */
#undef I
			};
			unsigned int i = (unsigned int)below(sizeof(insns) / sizeof(insns[0]));

			put(insns[i].b, insns[i].n);
		} else if (small) {
			put_random(vectors);
		} else if (!wide && chance(3)) {	/* call +0; add esp, 4 */
			PUT("\xe8\0\0\0\0\x83\xc4\x04");
		} else if (!wide && chance(3)) {	/* call +0; pop eax; add eax, 6; push eax; ret */
			PUT("\xe8\0\0\0\0\x58\x83\xc0\x06\x50\xc3");
		} else if (!wide && chance(2)) {	/* call +0; pop edx; add edx, 6; jmp edx */
			PUT("\xe8\0\0\0\0\x5a\x83\xc2\x06\xff\xe2");
		} else if (!wide && chance(2)) {	/* call +0; pop eax; inc byte [eax + 5]; mov al, 0 */
			PUT("\xe8\0\0\0\0\x58\xfe\x40\x05\xb0\0");
		} else if (!wide) {
			put_random(vectors);
		} else if (chance(3)) {			/* call +0; add rsp, 8 */
			PUT("\xe8\0\0\0\0\x48\x83\xc4\x08");
		} else if (chance(3)) {			/* lea rax, [rip + 3]; push rax; ret; nop */
			PUT("\x48\x8d\x05\x02\0\0\0\x50\xc3");
		} else if (chance(2)) {			/* lea rdx, [rip + 2]; jmp rdx */
			PUT("\x48\x8d\x15\x02\0\0\0\xff\xe2");
		} else if (chance(2)) {			/* inc byte [rip + 1]; mov al, 0 */
			PUT("\xfe\x05\x01\0\0\0\xb0\0");
		} else {
			put_random(vectors);
		}
	}
	starts[nr_starts++] = len;
	/* forward, to a later instruction */
	for (unsigned int k = 0; k < nr_fix; k++) {
		unsigned int to;
		s32 rel;

		do
			to = starts[below(nr_starts)];
		while (to < fix[k]);
		rel = (s32)(to - fix[k]);
		memcpy(code + fix[k] - (small ? 2 : 4), &rel, small ? 2 : 4);
	}
	if (loop) {	/* dec dword [counter]; jnz start */
		u32 counter = (u32)(COUNTER - data_base);
		s32 rel;

		if (small)
			PUT("\x66\xff\x0e");
		else if (wide)
			PUT("\xff\x0c\x25");
		else
			PUT("\xff\x0d");
		put(&counter, small ? 2 : 4);
		PUT("\x0f\x85\0\0");
		if (!small)
			PUT("\0\0");
		rel = -(s32)len;
		memcpy(code + len - (small ? 2 : 4), &rel, small ? 2 : 4);
	}
	PUT("\xf4");
}

/* --- running and comparing --- */

static u8 image[PAGES * 4096];
static u64 gpr[16];
static struct x86_fpu fpu;
static u64 start_rip;		/* without the segment's base */
static bool user, fsgsbase;
static bool unreadable;		/* CS may only be executed */

static void make_state(void)
{
	for (unsigned int i = 0; i < sizeof(image); i += 8)
		*(u64 *)(image + i) = chance(50) ? rnd() : below(300);
	memset(image, 0xf4, CODE_PAGES * 4096);
	start_rip = VA + (chance(40) ? 4096 - below(len + 1) : below(4096));
	memcpy(image + (start_rip - VA), code, len);
	/* IP from a page that a segment begins in, anywhere, or where it wraps */
	code_base = !small ? 0 : chance(30) ? start_rip - below(4096) : chance(80) ? start_rip - below(0xf000) :
		    start_rip - 0x10000 + below(len + 32);
	*(u32 *)(image + (COUNTER - VA)) = (u32)(1 + below(chance(10) ? 60 : 6));	/* groups that always fail are given up */
	for (unsigned int i = 0; i < 16; i++)
		gpr[i] = chance(50) ? rnd() : below(100);
	for (unsigned int i = 0; i < sizeof(pointers); i++)
		gpr[pointers[i]] = place();
	for (unsigned int i = 0; i < 16 && !wide; i++)
		gpr[i] = (u32)gpr[i];
	gpr[X86_RSP] = DATA - data_base + 4096 + below(4096) + (small && chance(50) ? 0xabcd0000 : 0);
	user = chance(10);
	fsgsbase = chance(80);
	unreadable = chance(30);
	memset(&fpu, 0, sizeof(fpu));
	for (unsigned int i = 0; i < 16; i++)
		for (unsigned int k = 0; k < 16; k++)
			fpu.fx.xmm[i][k] = (u8)rnd(), fpu.ymmh[i][k] = (u8)rnd();
	fpu.fx.fcw = 0x37f;
	fpu.fx.mxcsr = 0x1f80;
}

static void run(struct machine *m, struct emul_exit *x)
{
	struct x86_cpu *cpu = m->cpu;
	u64 size = sizeof(image);

	memcpy(emul_dma_map(m->vm, SCRATCH_GPA, &size, true), image, sizeof(image));
	emul_dma_unmap(m->vm, SCRATCH_GPA, size, true);
	memcpy(cpu->s.gpr, gpr, sizeof(gpr));
	cpu->s.fpu = fpu;
	cpu->s.rip = start_rip - code_base;
	cpu->s.halted = 0;
	cpu->s.cr2 = 0;
	cpu->s.idtr.limit = 0;
	test_segments(cpu, mode);
	for (unsigned int i = 0; i < X86_SEG_COUNT && !user; i++)
		cpu->s.seg[i].attr &= ~(3 << X86_ATTR_DPL_SHIFT);
	if (unreadable)
		cpu->s.seg[X86_CS].attr &= (u16)~X86_ATTR_W;	/* of code: readable */
	for (unsigned int i = 0; i < X86_SEG_COUNT && small; i++) {
		cpu->s.seg[i].base = i == X86_CS ? code_base : data_base;
		cpu->s.seg[i].limit = i == X86_CS ? 0xffff : data_limit;
		cpu->s.seg[i].attr &= (u16)~(X86_ATTR_DB | X86_ATTR_G);
	}
	cpu->s.seg[X86_FS].base = DATA + 64;
	cpu->s.seg[X86_GS].base = DATA + 4096 - 8;
	cpu->s.kernel_gs_base = DATA + 2 * 4096;
	cpu->s.lstar = cpu->s.rip + starts[nr_starts - 1];
	cpu->s.cr4 &= ~(u64)X86_CR4_FSGSBASE;
	cpu->s.cr4 |= fsgsbase ? X86_CR4_FSGSBASE : 0;
	x86_set_rflags(&cpu->s, 2);
	emul_x86_changed(&cpu->core);
	emul_run(&cpu->core, x);
}

/* A program that has overwritten itself may have become one that never ends. */
static void too_long(int sig)
{
	(void)sig;
	emul_kick(&translator.cpu->core);
	emul_kick(&interpreter.cpu->core);
	alarm(1);
}

static void dump(void)
{
	printf("# at %llx:", (unsigned long long)start_rip);
	for (unsigned int i = 0; i < len; i++)
		printf(" %02x", code[i]);
	printf("\n");
}

static bool agree(const struct emul_exit *a, const struct emul_exit *b)
{
	const struct x86_state *s = &translator.cpu->s, *t = &interpreter.cpu->s;
	bool same = a->reason == b->reason && s->rip == t->rip && s->cr2 == t->cr2 &&
		    !memcmp(s->gpr, t->gpr, 16 * 8) && !memcmp(translator.mem, interpreter.mem, PAGES * 4096) &&
		    !memcmp(s->fpu.fx.xmm, t->fpu.fx.xmm, 256) && !memcmp(s->fpu.ymmh, t->fpu.ymmh, 256) &&
		    !memcmp(s->fpu.fx.st, t->fpu.fx.st, 128) && s->fpu.fx.mxcsr == t->fpu.fx.mxcsr &&
		    s->fpu.fx.fsw == t->fpu.fx.fsw && s->fpu.fx.fcw == t->fpu.fx.fcw && s->fpu.fip == t->fpu.fip &&
		    s->fpu.fdp == t->fpu.fdp && s->fpu.fop == t->fpu.fop && s->fpu.fcs == t->fpu.fcs &&
		    s->fpu.fds == t->fpu.fds && s->rflags == t->rflags && s->kernel_gs_base == t->kernel_gs_base &&
		    s->seg[X86_FS].base == t->seg[X86_FS].base && s->seg[X86_GS].base == t->seg[X86_GS].base;

	if (a->reason == EMUL_EXIT_HALT)
		same = same && cc_get(s) == cc_get(t);
	if (same)
		return true;
	printf("# translator reason %d rip %llx flags %llx cr2 %llx, interpreter reason %d rip %llx flags %llx cr2 %llx\n",
	       a->reason, (unsigned long long)s->rip, (unsigned long long)cc_get(s), (unsigned long long)s->cr2, b->reason,
	       (unsigned long long)t->rip, (unsigned long long)cc_get(t), (unsigned long long)t->cr2);
	for (unsigned int i = 0; i < 16; i++)
		if (s->gpr[i] != t->gpr[i])
			printf("# r%u: %llx, %llx\n", i, (unsigned long long)s->gpr[i], (unsigned long long)t->gpr[i]);
	for (unsigned int i = 0; i < 16; i++)
		if (memcmp(s->fpu.fx.xmm[i], t->fpu.fx.xmm[i], 16) || memcmp(s->fpu.ymmh[i], t->fpu.ymmh[i], 16))
			printf("# vector register %u\n", i);
	printf("# fsw %x, %x; fip %llx, %llx; fdp %llx, %llx; fop %x, %x\n", s->fpu.fx.fsw, t->fpu.fx.fsw,
	       (unsigned long long)s->fpu.fip, (unsigned long long)t->fpu.fip, (unsigned long long)s->fpu.fdp,
	       (unsigned long long)t->fpu.fdp, s->fpu.fop, t->fpu.fop);
	for (unsigned int i = 0, bad = 0; i < PAGES * 4096 && bad < 4; i++)
		if (translator.mem[i] != interpreter.mem[i]) {
			printf("# memory %llx: %02x, %02x\n", (unsigned long long)VA + i, translator.mem[i], interpreter.mem[i]);
			bad++;
		}
	dump();
	return false;
}

static void test_mode(enum x86_mode m, enum emul_jit jit, unsigned long programs, const char *name)
{
	unsigned long halted = 0, bad = 0;
	struct emul_stats st;

	mode = m;
	wide = m == X86_MODE_64;
	small = m == X86_MODE_16;
	machine_init(&translator, jit);
	machine_init(&interpreter, EMUL_JIT_OFF);
	signal(SIGALRM, too_long);
	for (unsigned long n = 0; n < programs && bad < 5; n++) {
		struct emul_exit a, b;
		u64 was = seed;

		make_program();
		make_state();
		alarm(10);
		run(&translator, &a);
		run(&interpreter, &b);
		alarm(0);
		if (a.reason == EMUL_EXIT_KICK && b.reason == EMUL_EXIT_KICK)
			continue;
		halted += a.reason == EMUL_EXIT_HALT;
		if (!agree(&a, &b)) {
			printf("# program %lu, TEST_SEED=%llu\n", n, (unsigned long long)was);
			bad++;
		}
	}
	signal(SIGALRM, SIG_IGN);
	emul_vcpu_stats(&translator.cpu->core, &st);
	printf("# %lu programs, %lu ran to their end; %llu instructions, %llu translated, %llu by handlers\n", programs,
	       halted, (unsigned long long)st.insns, (unsigned long long)st.jit_insns, (unsigned long long)st.jit_calls);
	ok(!bad, "%s: random programs agree", name);
	ok(st.jit_insns * 10 > st.insns * 6, "%s: most of it was translated code", name);
	emul_vm_destroy(translator.cpu->core.vm);
	emul_vm_destroy(interpreter.cpu->core.vm);
}

/* Real mode at 1000:0800. */
static const struct x86_state *real_mode_init(enum emul_jit jit)
{
	struct x86_state *s;

	machine_init(&translator, jit);
	s = &translator.cpu->s;
	emul_vcpu_reset(&translator.cpu->core, false);
	s->seg[X86_CS].sel = 0x1000;
	s->seg[X86_CS].base = 0x10000;
	s->seg[X86_SS].base = 0x50000;
	memset(s->gpr, 0, 8 * 8);
	s->gpr[X86_RSP] = 0x7000;
	s->rip = 0x800;
	return s;
}

static enum emul_exit_reason real_mode_run(void)
{
	struct emul_exit x;

	emul_x86_changed(&translator.cpu->core);
	emul_run(&translator.cpu->core, &x);
	return x.reason;
}

/*
 * In real mode: the same offsets in two segments, and the same bytes at offsets of another segment.
 *
 *	1000:0800	100 times: call 1800, which sets AX to 1; add bx, ax; call 3000:0900; call 3080:0100
 *	3000:0900	call 1800 (or, from 3080:0100, 1000), which sets AX to 2; add dx, ax; retf
 */
static void test_real_mode(void)
{
	static const u8 caller[] = {
		0xb9, 100, 0, 0xe8, 0xfa, 0x0f, 0x01, 0xc3, 0x9a, 0x00, 0x09, 0x00, 0x30, 0x9a, 0x00, 0x01, 0x80, 0x30,
		0xe2, 0xef, 0xf4,
	}, one[] = { 0xb8, 1, 0, 0xc3 }, far[] = { 0xe8, 0xfd, 0x0e, 0x01, 0xc2, 0xcb }, two[] = { 0xb8, 2, 0, 0xc3 };
	const struct x86_state *s = real_mode_init(EMUL_JIT_EAGER);

	memcpy(translator.tables + 0x10800, caller, sizeof(caller));
	memcpy(translator.tables + 0x11800, one, sizeof(one));
	memcpy(translator.tables + 0x30900, far, sizeof(far));
	memcpy(translator.tables + 0x31800, two, sizeof(two));
	is_u64(real_mode_run(), EMUL_EXIT_HALT, "real mode: the program ends");
	is_u64(s->rip, 0x800 + sizeof(caller), "real mode: at its end");
	is_u64(s->gpr[X86_RBX] << 32 | s->gpr[X86_RDX], 100ULL << 32 | 400, "real mode: offsets belong to their segment");
	emul_vm_destroy(translator.vm);

	/* fninit; mov bx, ffff; mov si, 11; fld dword [bx+si], five times */
	s = real_mode_init(EMUL_JIT_EAGER);
	memcpy(translator.tables + 0x10800, "\xb9\x05\0\xdb\xe3\xbb\xff\xff\xbe\x11\0\xd9\0\xe2\xf4\xf4", 16);
	is_u64(real_mode_run(), EMUL_EXIT_HALT, "x87 with a 16-bit address: end");
	is_u64(s->fpu.fdp, 0x10, "x87 with a 16-bit address: FDP");
	emul_vm_destroy(translator.vm);

	/*
	 * A MOV of three bytes at the last two of segment and page is #GP each time. Its handler counts them: inc bx; mov sp, 7000;
	 * cmp bx, 10; jae +3; jmp fffe; hlt.
	 */
	s = real_mode_init(EMUL_JIT_EAGER);
	memcpy(translator.tables + 0x1fffe, "\xb8\x34\x12", 3);
	memcpy(translator.tables + 0x10800, "\x43\xbc\0\x70\x83\xfb\x0a\x73\x03\xe9\xf2\xf7\xf4", 13);
	memcpy(translator.tables + X86_EXC_GP * 4, "\0\x08\0\x10", 4);
	memset(translator.tables + 0x10001, 0xf4, 1);
	is_u64(real_mode_run(), EMUL_EXIT_HALT, "an instruction over the end of its segment and page: end");
	is_u64(s->gpr[X86_RBX] << 16 | s->gpr[X86_RAX], 10 << 16, "an instruction over the end of its segment and page: #GP each time");
	emul_vm_destroy(translator.vm);
}

/* Code in linear page 0, executed often, is not there any more with other page tables. */
static void test_page_0(void)
{
	/* mov ecx, 8; 1: mov ebx, 100h; call rbx; dec ecx; jnz 1b; mov eax, 5000h; mov cr3, rax; mov ebx, 100h; call rbx; hlt */
	static const u8 caller[] = "\xb9\x08\0\0\0\xbb\0\x01\0\0\xff\xd3\xff\xc9\x75\xf5"
				   "\xb8\0\x50\0\0\x0f\x22\xd8\xbb\0\x01\0\0\xff\xd3\xf4";
	struct x86_cpu *cpu;
	struct emul_exit x;

	machine_init(&translator, EMUL_JIT_EAGER);
	cpu = translator.cpu;
	for (unsigned int at = 0x1000; at <= 0x5000; at += 0x4000) {
		u64 *table = (u64 *)(translator.tables + at);

		for (unsigned int level = 0; level < 3; level++)
			table[512 * level] = (at + 0x1000 * (level + 1)) | 3;
		for (unsigned int i = 0; i < 256; i++)
			table[512 * 3 + i] = at == 0x5000 && !i ? 0 : i * 0x1000 | 3;
	}
	memcpy(translator.tables + 0x100, "\x48\xff\xc2\xc3", 4);	/* inc rdx; ret */
	memcpy(translator.tables + 0x10000, caller, sizeof(caller));
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		cpu->s.seg[i].attr &= ~(3 << X86_ATTR_DPL_SHIFT);
	cpu->s.cr3 = 0x1000;
	cpu->s.idtr.limit = 0;
	cpu->s.gpr[X86_RSP] = 0x90000;
	cpu->s.gpr[X86_RDX] = 0;
	cpu->s.rip = 0x10000;
	emul_x86_changed(&cpu->core);
	emul_run(&cpu->core, &x);
	is_u64(x.reason, EMUL_EXIT_SHUTDOWN, "code of page 0 with other tables: a page fault");
	is_u64(cpu->s.gpr[X86_RDX], 8, "code of page 0 with other tables: not executed");
	emul_vm_destroy(translator.vm);
}

int main(int argc, char **argv)
{
	unsigned long programs = argc > 1 ? strtoul(argv[1], NULL, 0) : 3000;
	const char *s = getenv("TEST_SEED");

	(void)test_cpu;
	seed = s ? strtoull(s, NULL, 0) : (u64)time(NULL);
	printf("# TEST_SEED=%llu\n", (unsigned long long)seed);
	test_mode(X86_MODE_64, EMUL_JIT_EAGER, programs, "blocks");
	test_mode(X86_MODE_64, EMUL_JIT_STRESS, programs, "stress");
	test_mode(X86_MODE_32, EMUL_JIT_EAGER, programs, "blocks, 32-bit code");
	test_mode(X86_MODE_32, EMUL_JIT_STRESS, programs, "stress, 32-bit code");
	test_mode(X86_MODE_16, EMUL_JIT_EAGER, programs, "blocks, 16-bit code");
	test_mode(X86_MODE_16, EMUL_JIT_STRESS, programs, "stress, 16-bit code");
	test_real_mode();
	test_page_0();
	return tap_done();
}

#endif /* __x86_64__ */
