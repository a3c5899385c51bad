// SPDX-License-Identifier: GPL-2.0-only
/*
 * vec-host.c - every x87, MMX, SSE and AVX row of the instruction table against the processor itself
 *
 * Oracle: the host executes the original bytes, with the whole register state loaded by XRSTOR and general
 * registers and memory operand in place, in a trampoline that shares no code with the stub generator.
 * Compared are vector and general registers, flags, MXCSR, x87 state, memory and exception; not the x87
 * instruction and data pointers, which are the guest's by design (vec-image.c tests them).
 *
 * Memory stand-ins: linear addresses are host addresses, two pages with an inaccessible third.
 *
 *	TEST_SEED=n	another sample
 *	TEST_COUNT=n	instances a row (default 2000)
 *	TEST_CLASS=n	at least so many instances a class of rows
 *	vec-host bench	time a few instructions
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

#include "tap.h"
#include "vec-common.h"

static u64 rng;

static u64 rnd(void)
{
	return tap_random(&rng);
}

static unsigned int below(unsigned int n)
{
	return (rnd() >> 20) % n;
}

/* --- the native side --- */

struct xarea {
	struct x86_fxsave fx;
	u64 bv, comp, rsvd[6];
	u8 ymmh[16][16];
	u8 more[2048];		/* whatever else the host's XCR0 has */
} __attribute__((aligned(64)));

struct native {
	struct xarea area;
	u64 gpr[16];
	u64 rflags, host_rsp;
	u32 mxcsr_default;
};

#define ARENA_SIZE	(2 * 4096)

static struct native *nat;
static u8 *code, *code_insn, *code_after;
static u8 *arena;	/* ARENA_SIZE bytes, then a page that is not there */
static volatile unsigned int nat_fault, nat_error;
static volatile u64 nat_addr;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)info;
	if ((u64)g[REG_RIP] - (u64)code >= 4096) {
		signal(sig, SIG_DFL);
		return;
	}
	nat_fault = g[REG_TRAPNO];
	nat_error = g[REG_ERR];
	nat_addr = g[REG_CR2];
	g[REG_RIP] = (u64)code_after;
}

static u8 *put_abs(u8 *p, const char *op, unsigned int n, unsigned int reg, const void *addr)
{
	u32 a = (u64)addr;

	memcpy(p, op, n);
	p += n;
	*p++ = 0x04 | (reg & 7) << 3;
	*p++ = 0x25;
	memcpy(p, &a, 4);
	return p + 4;
}

static void native_setup(void)
{
	static const u8 push[] = { 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57 };
	static const u8 pop[] = { 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3 };
	static u8 stack[65536];
	const int map = MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT;
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	u8 *p;

	code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, map, -1, 0);
	nat = mmap(NULL, 8192, PROT_READ | PROT_WRITE, map, -1, 0);
	arena = mmap(NULL, ARENA_SIZE + 4096, PROT_READ | PROT_WRITE, map, -1, 0);
	if (code == MAP_FAILED || nat == MAP_FAILED || arena == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	mprotect(arena + ARENA_SIZE, 4096, PROT_NONE);
	guest_memory(arena, ARENA_SIZE);
	sigaltstack(&ss, NULL);
	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
	nat->mxcsr_default = 0x1f80;

	p = code;
	memcpy(p, push, sizeof(push));
	p += sizeof(push);
	p = put_abs(p, "\x48\x89", 2, 4, &nat->host_rsp);
	memcpy(p, "\xb8\x07\0\0\0\x31\xd2", 7);
	p = put_abs(p + 7, "\x48\x0f\xae", 3, 5, &nat->area);		/* xrstor64 */
	p = put_abs(p, "\xff", 1, 6, &nat->rflags);			/* push */
	*p++ = 0x9d;							/* popfq */
	for (unsigned int i = 0; i < 16; i++)
		p = put_abs(p, i < 8 ? "\x48\x8b" : "\x4c\x8b", 2, i, &nat->gpr[i]);
	code_insn = p;
	p += 16;
	code_after = p;
	for (unsigned int i = 0; i < 16; i++)
		p = put_abs(p, i < 8 ? "\x48\x89" : "\x4c\x89", 2, i, &nat->gpr[i]);
	p = put_abs(p, "\x48\x8b", 2, 4, &nat->host_rsp);
	*p++ = 0x9c;							/* pushfq */
	p = put_abs(p, "\x8f", 1, 0, &nat->rflags);			/* pop */
	memcpy(p, "\xb8\x07\0\0\0\x31\xd2", 7);
	p = put_abs(p + 7, "\x48\x0f\xae", 3, 4, &nat->area);		/* xsave64 */
	memcpy(p, "\xdb\xe3\xc5\xf8\x77\xfc", 6);			/* fninit; vzeroupper; cld */
	p = put_abs(p + 6, "\x0f\xae", 2, 2, &nat->mxcsr_default);	/* ldmxcsr */
	memcpy(p, pop, sizeof(pop));
}

static void native_run(const u8 *insn, unsigned int len)
{
	memset(code_insn, 0x90, 16);
	memcpy(code_insn, insn, len);
	nat_fault = 0;
	((void (*)(void))code)();
	/* a component in its initial state need not have been written */
	if (!(nat->area.bv & 2))
		memset(nat->area.fx.xmm, 0, sizeof(nat->area.fx.xmm));
	if (!(nat->area.bv & 4))
		memset(nat->area.ymmh, 0, sizeof(nat->area.ymmh));
}

/* --- random states --- */

static u32 rnd_f32(void)
{
	static const u32 special[] = {
		0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7fa00000, 0xffc12345, 1, 0x807fffff,
		0x00800000, 0x7f7fffff, 0x3f800000, 0xbf800000, 0x4f000000, 0xcf000000, 0x3f000000,
		0x4b000001, 0x5f000000,
	};

	switch (below(4)) {
	case 0:
		return special[below(ARRAY_SIZE(special))];
	case 1:
		return (u32)(rnd() >> 8 & 0x807fffff) | (120 + below(16)) << 23;
	default:
		return rnd() >> 16;
	}
}

static u64 rnd_f64(void)
{
	static const u64 special[] = {
		0, 1ULL << 63, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff4000000000000,
		0xfff8000000012345, 1, 0x800fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
		0x3ff0000000000000, 0xbff0000000000000, 0x41e0000000000000, 0xc1e0000000000000,
		0x43e0000000000000, 0x3fe0000000000000, 0x36a0000000000000, 0x47efffffe0000000,
		0x4340000000000001,
	};

	switch (below(4)) {
	case 0:
		return special[below(ARRAY_SIZE(special))];
	case 1:
		return (rnd() & 0x800fffffffffffff) | (u64)(1016 + below(16)) << 52;
	default:
		return rnd();
	}
}

static void rnd_f80(u8 *p)
{
	u64 mant = rnd();
	u16 exp = rnd() >> 13;

	switch (below(6)) {
	case 0:
		exp = (exp & 0x8000) | (below(2) ? 0x7fff : 0);
		mant = below(2) ? 1ULL << 63 : below(2) ? 3ULL << 62 : below(2) ? 0 : mant;
		break;
	case 1:		/* any bit pattern, unnormals included */
		break;
	case 2:
		mant = (u64)below(1000) << 54 | 1ULL << 63;
		exp = (exp & 0x8000) | (0x3fff + below(10));
		break;
	case 3:		/* around the integers' limits, small transcendental arguments */
		mant |= 1ULL << 63;
		exp = (exp & 0x8000) | (0x3ff0 + below(0x60));
		break;
	default:
		mant |= 1ULL << 63;
		exp = (exp & 0x8000) | (0x3ffb + below(8));
	}
	memcpy(p, &mant, 8);
	memcpy(p + 8, &exp, 2);
}

static void rnd_vec(void *to, unsigned int bytes)
{
	unsigned int kind = below(5);
	u8 *p = to;

	for (unsigned int i = 0; i < bytes; i += 8) {
		u64 v = rnd();

		if (kind == 0)
			v = rnd_f32() | (u64)rnd_f32() << 32;
		else if (kind == 1)
			v = rnd_f64();
		else if (kind == 2)
			v &= rnd() & 0x0f0f0f0f0f0f0f0f;
		else if (kind == 3 && below(2))
			v = -(u64)below(3);
		memcpy(p + i, &v, 8);
	}
}

static u32 rnd_mxcsr(void)
{
	if (!below(4))
		return rnd() >> 10 & 0xffff;
	return 0x1f80 | (rnd() >> 10 & 0xe07f & (below(2) ? 0xffff : 0x603f));
}

static void rnd_x87(struct x86_fxsave *fx, bool mmx)
{
	fx->fcw = 0x40 | (rnd() >> 9 & 0x1f00) | (below(3) ? 0x3f : below(64));
	fx->fsw = rnd() >> 7 & 0x7f7f;
	if (below(3))
		fx->fsw &= ~0x3f;
	else if (below(4))
		fx->fsw &= ~(~fx->fcw & 0x3f);
	if (fx->fsw & ~fx->fcw & 0x3f)
		fx->fsw |= 0x8080;
	fx->ftw = below(2) ? 0xff : rnd() >> 11;
	for (unsigned int i = 0; i < 8; i++) {
		memset(fx->st[i], 0, 16);
		rnd_f80(fx->st[i]);
		if (mmx)
			rnd_vec(fx->st[i], 8);
	}
}

/* --- one instance --- */

struct template {
	u8 vex, map, opcode, pfx, w, l;
};

#define MAX_TEMPLATES 64
static struct {
	struct template t[MAX_TEMPLATES];
	unsigned int n;
} *templates;

static unsigned int encode(u8 *p, const struct template *t, bool rex_ok)
{
	static const u8 pfx[] = { 0, 0x66, 0xf3, 0xf2 };
	u8 *start = p, r = rnd() >> 33;

	if (t->vex) {
		*p++ = 0xc4;
		*p++ = (rex_ok ? r & 0xe0 : 0xe0) | t->map;
		*p++ = t->w << 7 | (below(2) ? 0x78 : below(16) << 3) | t->l << 2 | t->pfx;
	} else {
		/* a prefix more than once, one that says nothing new, and a REX prefix that is not the last */
		if (t->pfx && below(8) == 0)
			*p++ = pfx[t->pfx];
		if (below(8) == 0)
			*p++ = 0x3e;
		if (rex_ok && below(16) == 0)
			*p++ = 0x40 | below(16);
		if (below(8) == 0)
			*p++ = 0x3e;
		if (t->pfx)
			*p++ = pfx[t->pfx];
		else if (below(8) == 0)
			*p++ = 0x3e;
		if (rex_ok && (t->w || below(2)))
			*p++ = 0x40 | t->w << 3 | (r & 7);
		if (t->map) {
			*p++ = 0x0f;
			if (t->map == X86_MAP_0F38)
				*p++ = 0x38;
			if (t->map == X86_MAP_0F3A)
				*p++ = 0x3a;
		}
	}
	*p++ = t->opcode;
	return p - start;
}

/* Does the template reach a row with this ModRM byte? Notes it there. */
static void note_template(const struct template *t, u8 modrm, enum x86_mode mode)
{
	struct x86_insn insn = { 0 };
	u8 buf[16] = { 0 };
	unsigned int n;

	for (unsigned int try = 0; try < 8; try++) {
		n = encode(buf, t, mode == X86_MODE_64);
		buf[n] = modrm;
		buf[n + 1] = 0x0b;	/* a SIB byte, for gathers */
		if (x86_decode(&insn, buf, 15, mode) == X86_DECODE_OK)
			break;
	}
	if (insn.op == X86_OP_INVALID || insn.opcode != t->opcode || insn.map != t->map)
		return;
	if (mode == X86_MODE_32 && !(x86_rows[insn.row].flags & X86_RF_NO64))
		return;
	n = templates[insn.row].n;
	if (n < MAX_TEMPLATES && (!n || memcmp(&templates[insn.row].t[n - 1], t, sizeof(*t))))
		templates[insn.row].t[templates[insn.row].n++] = *t;
}

/* All ways to reach each row, found by decoding everything. */
static void find_templates(void)
{
	templates = calloc(x86_row_count, sizeof(*templates));
	for (unsigned int k = 0; k < 2 * 4 * 4 * 2 * 2 * 256; k++) {
		struct template t = { k & 1, k >> 1 & 3, k >> 7, k >> 3 & 3, k >> 5 & 1, k >> 6 & 1 };

		if ((t.vex && !t.map) || (!t.vex && t.l))
			continue;
		for (unsigned int modrm = 0; modrm < 256; modrm++) {
			note_template(&t, modrm, X86_MODE_64);
			if (t.vex && t.w)
				note_template(&t, modrm, X86_MODE_32);
		}
	}
}

struct instance {
	u8 bytes[16];
	u8 native[16];		/* what the oracle gets */
	struct x86_insn insn;
	enum x86_mode mode;
	u64 target;
	bool s_image;		/* the operand is an image of state */
	u8 *win;		/* memory around the operand that is compared */
	unsigned int len;	/* of @win */
};

static bool has_kind(const struct x86_row *row, unsigned int kind)
{
	for (unsigned int i = 0; i < 4; i++)
		if (row->opnd[i].kind == kind)
			return true;
	return false;
}

static bool is_image(const struct x86_row *row)
{
	return row->opnd[0].kind == X86_OK_M && row->opnd[0].size == X86_SZ_S;
}

/* The oracle runs in 64-bit mode: does it read these bytes as 32-bit mode does? */
static bool same_in_32(struct instance *in)
{
	bool no64 = x86_rows[in->insn.row].flags & X86_RF_NO64;
	struct x86_insn insn64;

	memcpy(in->native, in->bytes, sizeof(in->native));
	if (no64)		/* forms whose VEX.W does not count outside 64-bit mode */
		in->native[2] &= 0x7f;
	if (in->mode != X86_MODE_32)
		return true;
	if (in->insn.op == X86_OP_VZEROUPPER || in->insn.op == X86_OP_VZEROALL)
		return false;
	return x86_decode(&insn64, in->native, 15, X86_MODE_64) == X86_DECODE_OK &&
	       (no64 ? insn64.op == in->insn.op : insn64.row == in->insn.row) &&
	       insn64.vvvv == in->insn.vvvv && insn64.imm == in->insn.imm &&
	       (no64 || insn64.opsize == in->insn.opsize) && insn64.len == in->insn.len;
}

static bool make_insn(struct instance *in, unsigned int row)
{
	for (unsigned int try = 0; try < 10000; try++) {
		const struct template *t = &templates[row].t[below(templates[row].n)];
		unsigned int n;

		in->s_image = is_image(&x86_rows[row]);
		in->mode = below(4) || in->s_image ? X86_MODE_64 : X86_MODE_32;
		if (x86_rows[row].flags & X86_RF_NO64)
			in->mode = X86_MODE_32;
		memset(in->bytes, 0, sizeof(in->bytes));
		n = encode(in->bytes, t, in->mode == X86_MODE_64);
		for (unsigned int i = n; i < 15; i++)
			in->bytes[i] = rnd() >> 40;
		if ((in->bytes[n] & 0xc0) == 0 && (x86_rows[row].flags & X86_RF_MODRM))
			in->bytes[n] |= 0x40;
		if (has_kind(&x86_rows[row], X86_OK_VM))
			in->bytes[n] = (in->bytes[n] & 0x38) | 0x44;
		if (x86_decode(&in->insn, in->bytes, 15, in->mode) != X86_DECODE_OK || in->insn.row != row)
			continue;
		if (!same_in_32(in))
			continue;
		if (in->insn.flags & X86_IF_MEM) {
			unsigned int base = in->insn.base, index = in->insn.index;

			if (base == X86_REG_RIP || base == X86_REG_ZERO)
				continue;
			if (!has_kind(&x86_rows[row], X86_OK_VM) && base == index)
				continue;
			if (in->s_image && (base == X86_RAX || base == X86_RDX))
				continue;
			if (in->s_image && (index == X86_RAX || index == X86_RDX))
				continue;
		}
		return true;
	}
	return false;
}

static void make_image(const struct instance *in, u8 *to)
{
	struct xarea a;
	bool compact = below(2);

	rnd_vec(&a, 1024);
	if (in->insn.op != X86_OP_FXRSTOR && in->insn.op != X86_OP_XRSTOR && in->insn.op != X86_OP_XRSTORS) {
		if (in->insn.op == X86_OP_XSAVE)
			a.bv = below(8);
		goto out;
	}
	rnd_x87(&a.fx, false);
	a.fx.mxcsr = below(8) ? rnd_mxcsr() : rnd();
	if (in->insn.op == X86_OP_FXRSTOR)
		goto out;
	a.bv = below(8);
	a.comp = compact ? 1ULL << 63 | 7 : 0;
	memset(a.rsvd, 0, sizeof(a.rsvd));
	switch (below(16)) {
	case 0:
		a.bv |= 1ULL << 40;
		break;
	case 1:
		a.comp ^= below(8);
		break;
	case 2:
		a.rsvd[0] = 1;
		break;
	case 3:
		a.rsvd[below(6)] = 1;
		break;
	}
out:
	memcpy(to, &a, 1024);
}

static void make_state(struct instance *in)
{
	const struct x86_insn *insn = &in->insn;
	const struct x86_row *row = &x86_rows[insn->row];
	bool mmx = has_kind(row, X86_OK_P) || has_kind(row, X86_OK_Q) || has_kind(row, X86_OK_N);
	struct xarea *a = &nat->area;

	memset(&a->bv, 0, 64);
	a->bv = 7;
	rnd_x87(&a->fx, mmx);
	a->fx.fip = a->fx.fdp = 0;
	a->fx.fop = 0;
	a->fx.mxcsr = rnd_mxcsr();
	rnd_vec(a->fx.xmm, sizeof(a->fx.xmm));
	rnd_vec(a->ymmh, sizeof(a->ymmh));
	if (in->s_image && below(4) == 0)
		memset(a->ymmh, 0, sizeof(a->ymmh));
	for (unsigned int i = 0; i < 16; i++) {
		nat->gpr[i] = below(4) ? rnd() : below(64);
		if (in->mode == X86_MODE_32)
			nat->gpr[i] = (u32)nat->gpr[i];
	}
	/* what can't hold an interrupt's frame can't be a stack pointer on every host: see interp-native.h */
	nat->gpr[X86_RSP] = (u64)((s64)(nat->gpr[X86_RSP] << 17) >> 17);
	nat->rflags = 0x202 | (rnd() >> 15 & X86_ARITH);

	/* where memory is: mostly around the page boundary, some at the end of the accessible pages */
	in->target = (u64)arena + 4096 - 128 + below(256);
	if (below(8) == 0)
		in->target = (u64)arena + ARENA_SIZE - below(40);
	if ((row->flags & X86_RF_ALIGN) && below(16))
		in->target &= ~31ULL;
	if (in->s_image) {
		in->target = (u64)arena + 4096 - (below(2) ? 1024 : 256) + below(64);
		if (below(16))
			in->target &= ~63ULL;
		nat->gpr[X86_RAX] = below(2) ? 7 : below(8);
	}
	if (insn->op == X86_OP_MASKMOV)
		nat->gpr[X86_RDI] = in->target;
	if (!(insn->flags & X86_IF_MEM))
		return;
	if (has_kind(row, X86_OK_VM)) {
		bool wide = insn->opcode & 1;
		u64 min = 0;

		for (unsigned int i = 0; i < (wide ? 4 : 8); i++) {
			s64 v = (s64)below(32) - 16;

			if (wide)
				memcpy((i < 2 ? a->fx.xmm : a->ymmh)[insn->index] + 8 * (i & 1), &v, 8);
			else
				memcpy((i < 4 ? a->fx.xmm : a->ymmh)[insn->index] + 4 * (i & 3), &v, 4);
		}
		nat->gpr[insn->base] = in->target - min - insn->disp;
		if (in->mode == X86_MODE_32)	/* the host's address has 64 bits */
			nat->gpr[insn->base] &= ~0ULL;
	} else if (insn->index != X86_REG_ZERO) {
		nat->gpr[insn->index] = below(512);
		nat->gpr[insn->base] = in->target - insn->disp - (nat->gpr[insn->index] << insn->scale);
	} else {
		nat->gpr[insn->base] = in->target - insn->disp;
	}
}

#define WINDOW_BEFORE	1024
#define WINDOW		(WINDOW_BEFORE + 2048)

static unsigned int failures;

static void report(const struct instance *in, const char *what)
{
	if (failures++ > 40)
		return;
	printf("# row %u %s: %s differs, mode %d,", in->insn.row, x86_op_name(in->insn.op), what, in->mode);
	for (unsigned int i = 0; i < in->insn.len; i++)
		printf(" %02x", in->bytes[i]);
	printf("\n");
}

static void report_bytes(const char *name, const void *guest, const void *native, unsigned int len)
{
	const u8 *g = guest, *n = native;

	if (failures > 40)
		return;
	for (unsigned int i = 0; i < len; i++)
		if (g[i] != n[i]) {
			printf("#   %s byte %u: guest %02x, native %02x\n", name, i, g[i], n[i]);
			return;
		}
}

/* What FXSAVE and its like say of the last instruction is the guest's own. */
static void forget_pointers(const struct instance *in, u8 *image)
{
	unsigned int w;

	switch (in->insn.op) {
	case X86_OP_FNSTENV:
	case X86_OP_FNSAVE:
		w = in->insn.opsize == 2 ? 2 : 4;
		memset(image + 3 * w, 0, 4 * w);
		break;
	case X86_OP_FXSAVE: case X86_OP_XSAVE: case X86_OP_XSAVEOPT: case X86_OP_XSAVEC: case X86_OP_XSAVES:
		memset(image + 6, 0, 18);
		image[30] &= ~2;	/* MXCSR_MASK: AMD's misaligned mode is not the guest's */
		break;
	}
}

static bool loads_mxcsr(enum x86_op op)
{
	return op == X86_OP_LDMXCSR || op == X86_OP_FXRSTOR || op == X86_OP_XRSTOR;
}

/* All that an instruction reads or changes. */
struct outcome {
	u32 vector, error;	/* of its exception; is it a write that has no page? */
	u64 addr;		/* of a page fault */
	u64 gpr[16], rflags;
	struct x86_fxsave fx;
	u8 ymmh[16][16];
	u8 mem[WINDOW];
};

static void host_outcome(const struct instance *in, struct outcome *o)
{
	o->vector = nat_fault;
	o->error = nat_fault == X86_EXC_PF ? nat_error & X86_PF_W : 0;
	o->addr = nat_fault == X86_EXC_PF ? nat_addr : 0;
	memcpy(o->gpr, nat->gpr, sizeof(o->gpr));
	o->rflags = nat->rflags;
	o->fx = nat->area.fx;
	memcpy(o->ymmh, nat->area.ymmh, sizeof(o->ymmh));
	memcpy(o->mem, in->win, in->len);
}

/* Run @u from the state @from: to @to. */
static int guest_outcome(struct x86_cpu *cpu, const struct instance *in, const struct uop *u,
			 const struct outcome *from, struct outcome *to)
{
	struct x86_fpu *fpu = &cpu->s.fpu;
	int ret;

	memcpy(in->win, from->mem, in->len);
	memcpy(cpu->s.gpr, from->gpr, sizeof(from->gpr));
	x86_set_rflags(&cpu->s, from->rflags);
	x86_fpu_changed(cpu);
	fpu->fx = from->fx;
	memcpy(fpu->ymmh, from->ymmh, sizeof(fpu->ymmh));
	ret = guest_run(cpu, u);
	x86_fpu_sync(cpu);

	to->vector = ret == X86_FAULT ? cpu->exc.vector : 0;
	to->error = to->vector == X86_EXC_PF ? cpu->exc.error : 0;
	to->addr = to->vector == X86_EXC_PF ? cpu->s.cr2 : 0;
	memcpy(to->gpr, cpu->s.gpr, sizeof(to->gpr));
	to->rflags = x86_get_rflags(&cpu->s);
	to->fx = fpu->fx;
	memcpy(to->ymmh, fpu->ymmh, sizeof(to->ymmh));
	memcpy(to->mem, in->win, in->len);
	return ret;
}

static bool same_x87(const struct outcome *a, const struct outcome *b)
{
	for (unsigned int i = 0; i < 8; i++)
		if (memcmp(a->fx.st[i], b->fx.st[i], 10))
			return false;
	return a->fx.fcw == b->fx.fcw && a->fx.fsw == b->fx.fsw && a->fx.ftw == b->fx.ftw;
}

static bool same_outcome(const struct instance *in, const struct outcome *a, const struct outcome *b)
{
	return a->vector == b->vector && a->error == b->error && a->addr == b->addr && !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) &&
	       !((a->rflags ^ b->rflags) & X86_ARITH) && a->fx.mxcsr == b->fx.mxcsr && same_x87(a, b) &&
	       !memcmp(a->fx.xmm, b->fx.xmm, sizeof(a->fx.xmm)) && !memcmp(a->ymmh, b->ymmh, sizeof(a->ymmh)) &&
	       !memcmp(a->mem, b->mem, in->len);
}

static void report_outcome(const struct instance *in, const struct outcome *before, const struct outcome *guest,
			   const struct outcome *host)
{
	if (guest->vector != host->vector || guest->error != host->error || guest->addr != host->addr) {
		report(in, "exception");
		if (failures < 40)
			printf("#   guest %u error %u at %#llx, native %u error %u at %#llx\n", guest->vector,
			       guest->error, (unsigned long long)guest->addr, host->vector, host->error,
			       (unsigned long long)host->addr);
		return;
	}
	if (memcmp(guest->gpr, host->gpr, sizeof(guest->gpr))) {
		report(in, "general register");
		report_bytes("gpr", guest->gpr, host->gpr, sizeof(guest->gpr));
	}
	if ((guest->rflags ^ host->rflags) & X86_ARITH)
		report(in, "flags");
	if (guest->fx.mxcsr != host->fx.mxcsr) {
		report(in, "MXCSR");
		report_bytes("mxcsr", &guest->fx.mxcsr, &host->fx.mxcsr, 4);
	}
	if (memcmp(guest->fx.xmm, host->fx.xmm, sizeof(guest->fx.xmm)) ||
	    memcmp(guest->ymmh, host->ymmh, sizeof(guest->ymmh))) {
		report(in, "vector register");
		report_bytes("xmm", guest->fx.xmm, host->fx.xmm, 256);
		report_bytes("ymmh", guest->ymmh, host->ymmh, 256);
	}
	if (!same_x87(guest, host)) {
		report(in, "x87 state");
		if (failures < 40)
			printf("#   before %04x %04x %02x guest %04x %04x %02x native %04x %04x %02x\n",
			       before->fx.fcw, before->fx.fsw, before->fx.ftw, guest->fx.fcw, guest->fx.fsw,
			       guest->fx.ftw, host->fx.fcw, host->fx.fsw, host->fx.ftw);
		for (unsigned int i = 0; i < 8; i++)
			report_bytes("st", guest->fx.st[i], host->fx.st[i], 10);
	}
	if (memcmp(guest->mem, host->mem, in->len)) {
		report(in, "memory");
		report_bytes("mem", guest->mem, host->mem, in->len);
		if (failures < 40)
			printf("#   operand at byte %d, ax %d\n", (int)(in->target - (u64)in->win),
			       (int)before->gpr[0]);
	}
}

/* --- what processors may do otherwise --- */

#define XSAVE_BV	512	/* in an image: XSTATE_BV, XCOMP_BV, the YMM registers' upper halves */
#define XSAVE_COMP	520
#define XSAVE_YMMH	576

static bool stores(const struct instance *in)
{
	const struct x86_row *row = &x86_rows[in->insn.row];

	return (in->insn.flags & X86_IF_MEM) && (row->opnd[0].access & X86_WR);
}

/* As guest_outcome(), with no page missing. */
static void guest_whole(struct x86_cpu *cpu, const struct instance *in, const struct uop *u,
			const struct outcome *from, struct outcome *to)
{
	u8 *last = arena + ARENA_SIZE;

	mprotect(last, 4096, PROT_READ | PROT_WRITE);
	guest_memory(arena, ARENA_SIZE + 4096);
	guest_outcome(cpu, in, u, from, to);
	guest_memory(arena, ARENA_SIZE);
	mprotect(last, 4096, PROT_NONE);
}

/*
 * XSAVE and XSAVEC: a component in its initial state may count as in use, SDM vol. 1 "Processor Tracking of
 * XSAVE-Managed State". It does for the upper halves of YMM registers where XRSTOR has loaded zeros: then XSTATE_BV
 * says so, and XSAVEC stores the zeros.
 */
static bool may_count_ymmh(const struct instance *in, const struct outcome *from, struct outcome *o)
{
	u8 *image = o->mem + (in->target - (u64)in->win);
	static const u8 zero[256];

	if ((in->insn.op != X86_OP_XSAVE && in->insn.op != X86_OP_XSAVEC) || o->vector ||
	    !(from->gpr[X86_RAX] & 4) || memcmp(from->ymmh, zero, sizeof(zero)))
		return false;
	image[XSAVE_BV] |= 4;
	memset(image + XSAVE_YMMH, 0, sizeof(zero));
	return true;
}

/*
 * XRSTOR from a compacted image with a reserved bit of MXCSR: #GP, SDM vol. 2 "XRSTOR". No manual says if before or
 * after the rest has been loaded; it is after for those that find MXCSR last. What goes on to be loaded from behind the
 * header is untouched.
 */
static bool may_load_first(struct x86_cpu *cpu, const struct instance *in, const struct uop *u,
			   const struct outcome *from, struct outcome *o)
{
	unsigned int at = in->target - (u64)in->win;
	static struct outcome good, loaded;

	if (in->insn.op != X86_OP_XRSTOR || o->vector != X86_EXC_GP || in->target & 63 ||
	    !(from->mem[at + XSAVE_COMP + 7] & 0x80))
		return false;
	good = *from;
	memset(good.mem + at + offsetof(struct x86_fxsave, mxcsr) + 2, 0, 2);
	guest_outcome(cpu, in, u, &good, &loaded);
	if (loaded.vector)
		return false;
	o->fx = loaded.fx;
	o->fx.mxcsr = from->fx.mxcsr;
	if (!(from->mem[at + XSAVE_BV] & from->gpr[X86_RAX] & 4))
		memcpy(o->ymmh, loaded.ymmh, sizeof(o->ymmh));
	return true;
}

/*
 * An MMX store that faults has set TOP to 0, as it does when it succeeds (SDM vol. 3 "Effect of MMX Instructions on x87
 * FPU State"), the physical registers and the tags being what they were. Nothing in the manuals permits it, but it does
 * no harm: the instruction will be executed again and do just that.
 */
static bool may_reset_top(const struct instance *in, const struct outcome *from, struct outcome *o)
{
	unsigned int top = from->fx.fsw >> 11 & 7;

	if (!stores(in) || !has_kind(&x86_rows[in->insn.row], X86_OK_P) || o->vector != X86_EXC_PF)
		return false;
	o->fx.fsw &= ~(7 << 11);
	for (unsigned int i = 0; i < 8; i++)
		memcpy(o->fx.st[i], from->fx.st[(i - top) & 7], 16);
	return true;
}

/*
 * A page fault and an exception of the computation whose result is to be stored: SDM vol. 3 "Prioritization of
 * Concurrent Events" puts them in one class, within which priorities "are implementation-dependent and may vary from
 * processor to processor". Here the page fault comes first. Where it comes second
 * - an x87 store with an unmasked exception stores nothing, hence can't fault;
 * - VCVTPS2PH raises #XM, or #PF having set flags in MXCSR if they are masked.
 *
 * An x87 store of 10 bytes "may be implemented using multiple memory accesses", some of which "may complete" though
 * another faults: SDM vol. 3 "Guaranteed Atomic Operations". There are two: a quadword's, and that of the word behind it.
 */
static bool may_compute_first(struct x86_cpu *cpu, const struct instance *in, const struct uop *u,
			      const struct outcome *from, struct outcome *o)
{
	static struct outcome whole;
	bool x87 = in->insn.map == X86_MAP_1 && x86_op_class[in->insn.op] == X86_CLASS_FPU &&
		   !(from->fx.fsw & 0x80);	/* nothing pending */
	unsigned int at = in->target - (u64)in->win;

	if (!stores(in) || o->vector != X86_EXC_PF || !(x87 || in->insn.op == X86_OP_VCVTPS2PH))
		return false;
	guest_whole(cpu, in, u, from, &whole);
	if (!x87 && !whole.vector)
		o->fx.mxcsr = whole.fx.mxcsr;
	else if (!x87 || whole.fx.fsw & ~whole.fx.fcw & 0x1f)
		*o = whole;
	else if (x86_rows[in->insn.row].opnd[0].size == 10 && at + 8 <= in->len)
		memcpy(o->mem + at, whole.mem + at, 8);
	return true;
}

/* VMASKMOV and VPMASKMOV that store: which of the elements that have no page is met first is the processor's affair. */
static bool may_store_later(const struct instance *in, const struct outcome *host, struct outcome *o)
{
	switch (in->insn.op) {
	case X86_OP_VMASKMOVPS: case X86_OP_VMASKMOVPD: case X86_OP_VPMASKMOVD: case X86_OP_VPMASKMOVQ:
		break;
	default:
		return false;
	}
	if (!stores(in) || o->vector != X86_EXC_PF || host->addr < o->addr || host->addr >= in->target + 32)
		return false;
	o->addr = host->addr;
	return true;
}

/* The other known outcome than @guest, if there is one, in @other. */
static bool differs_by_host(struct x86_cpu *cpu, const struct instance *in, const struct uop *u,
			    const struct outcome *from, const struct outcome *host, const struct outcome *guest,
			    struct outcome *other)
{
	*other = *guest;
	return may_store_later(in, host, other) || may_count_ymmh(in, from, other) || may_load_first(cpu, in, u, from, other) ||
	       may_reset_top(in, from, other) || may_compute_first(cpu, in, u, from, other);
}

static bool run_instance(struct x86_cpu *cpu, struct instance *in)
{
	static struct outcome from, host, guest, other;
	const struct x86_insn *insn = &in->insn;
	struct uop u = { 0 };

	in->win = (u8 *)(in->target & ~63ULL) - WINDOW_BEFORE;
	in->len = min((unsigned long)WINDOW, (unsigned long)(arena + ARENA_SIZE - in->win));
	if (below(4) == 0 || in->s_image) {
		rnd_vec(in->win, in->len & ~7U);
		if (below(3) == 0 && !in->s_image)
			rnd_f80((u8 *)min(in->target, (u64)arena + ARENA_SIZE - 10));
	}
	if (in->s_image)
		make_image(in, (u8 *)in->target);
	nat_fault = 0;
	host_outcome(in, &from);

	native_run(in->native, insn->len);
	host_outcome(in, &host);

	guest_mode(cpu, in->mode);
	guest_tlb(cpu, below(2));
	u.insn = *insn;
	u.ea_mask = in->mode == X86_MODE_64 ? ~0ULL : 0xffffffff;
	if (guest_outcome(cpu, in, &u, &from, &guest) != X86_FAULT && below(2) &&
	    x86_op_class[insn->op] != X86_CLASS_XST)
		/* once more from the same state: now the uop knows its entry */
		guest_outcome(cpu, in, &u, &from, &guest);

	if (x86_rows[insn->row].feat == X86_FEAT_SHA && guest.vector == X86_EXC_GP)
		return true;	/* AMD's don't insist on alignment, SDM vol. 2 does */
	if (loads_mxcsr(insn->op) && guest.vector == X86_EXC_GP && !host.vector && (host.fx.mxcsr & 0x20000))
		return true;	/* AMD's misaligned mode, not offered to the guest */
	if (guest.vector && guest.vector == host.vector &&
	    (has_kind(&x86_rows[insn->row], X86_OK_VM) || insn->op == X86_OP_MASKMOV))
		return true;	/* how much had been done is the processor's affair */
	if (in->s_image && !host.vector) {
		forget_pointers(in, guest.mem + (in->target - (u64)in->win));
		forget_pointers(in, host.mem + (in->target - (u64)in->win));
	}
	if (same_outcome(in, &guest, &host) ||
	    (differs_by_host(cpu, in, &u, &from, &host, &guest, &other) && same_outcome(in, &other, &host)))
		return true;
	report_outcome(in, &from, &guest, &host);
	return false;
}

/* --- all rows --- */

static bool wanted(const struct x86_row *row)
{
	switch (x86_op_class[row->op]) {
	case X86_CLASS_FPU:
	case X86_CLASS_VEC:
		return true;
	case X86_CLASS_XST:		/* XSAVES and XRSTORS can't run in user space */
		return !(row->flags & X86_RF_PRIV) && row->op != X86_OP_XSAVEOPT;
	default:
		return false;
	}
}

enum { X87, MMX, SSE, AVX, STATE, CLASSES };
static struct {
	const char *name;
	unsigned int rows;
	unsigned long instances;
} classes[CLASSES] = {
	[X87] = { .name = "x87" }, [MMX] = { .name = "MMX" }, [SSE] = { .name = "SSE" },
	[AVX] = { .name = "AVX, FMA, F16C" }, [STATE] = { .name = "images of state" },
};

static unsigned int class_of(unsigned int row)
{
	const struct x86_row *r = &x86_rows[row];

	if (x86_op_class[r->op] == X86_CLASS_XST)
		return STATE;
	if (r->flags & X86_RF_VEX)
		return AVX;
	if (templates[row].t[0].map == X86_MAP_1)
		return X87;
	return x86_op_class[r->op] == X86_CLASS_FPU || has_kind(r, X86_OK_P) || has_kind(r, X86_OK_Q) ||
	       has_kind(r, X86_OK_N) ? MMX : SSE;
}

static unsigned long instances, faults;

/* @count instances of a row. */
static bool test_row(struct x86_cpu *cpu, unsigned int row, unsigned int count)
{
	const struct x86_row *r = &x86_rows[row];
	bool avx2 = x86_host_features() & BIT_ULL(X86_FEAT_AVX2), pass = true;

	struct instance in;

	for (unsigned int i = 0; i < count && pass; i++) {
		/* an encoding serves four states */
		if (i % 4 == 0 && !make_insn(&in, row)) {
			diag("row %u %s: no instance found", row, x86_op_name(r->op));
			return false;
		}
		if ((r->flags & X86_RF_L1_AVX2) && (in.insn.flags & X86_IF_L) && !avx2)
			continue;
		make_state(&in);
		pass &= run_instance(cpu, &in);
		instances++;
		classes[class_of(row)].instances++;
		faults += nat_fault != 0;
	}
	return pass;
}

/*
 * The first instances of every row fit in the emulator's table of instructions, the others find it full and
 * are compiled for one use: both ways are tested.
 */
static void test_rows(struct x86_cpu *cpu, unsigned int count)
{
	unsigned int rows = 0, unreachable = 0, missing = 0, first = min(count, 40U);
	unsigned int only = getenv("TEST_ROW") ? atoi(getenv("TEST_ROW")) : 0;
	unsigned long each = getenv("TEST_CLASS") ? strtoul(getenv("TEST_CLASS"), NULL, 0) : 0;

	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int row = 1; row < x86_row_count; row++) {
			const struct x86_row *r = &x86_rows[row];
			unsigned int n;

			if (!wanted(r) || (only && row != only))
				continue;
			if (!(x86_host_features() & BIT_ULL(r->feat))) {
				missing += !pass;
				continue;
			}
			if (!templates[row].n) {
				diag("row %u %s: no encoding found", row, x86_op_name(r->op));
				unreachable++;
				continue;
			}
			rows += !pass;
			classes[class_of(row)].rows += !pass;
			n = max((unsigned long)count, each / classes[class_of(row)].rows + 1);
			if (!test_row(cpu, row, pass ? n - first : first))
				ok(false, "row %u, %s%s", row, r->flags & X86_RF_VEX ? "vex " : "",
				   x86_op_name(r->op));
		}
	}
	ok(unreachable == 0, "every row has an encoding");
	ok(failures == 0 && rows, "%u rows, %lu instances (%lu faulting) agree with the processor", rows,
	   instances, faults);
	for (unsigned int i = 0; i < CLASSES; i++)
		if (classes[i].rows)
			ok(classes[i].instances >= each, "class %s: %u rows, %lu instances", classes[i].name, classes[i].rows,
			   classes[i].instances);
	if (missing)
		diag("%u rows not offered by this host", missing);
}

/* --- when the table is full --- */

static void test_full(struct x86_cpu *cpu)
{
	unsigned long wrong = 0, n = 0;

	guest_mode(cpu, X86_MODE_64);
	x86_fpu_changed(cpu);
	rnd_vec(cpu->s.fpu.fx.xmm, sizeof(cpu->s.fpu.fx.xmm));
	for (unsigned int op = 0; op < 2; op++) {	/* PSHUFD, PSHUFHW: over 65,536 together */
		for (unsigned int regs = 0; regs < 256; regs++) {
			for (unsigned int imm = 0; imm < 256; imm++, n++) {
				u8 rex = 0x40 | (regs >> 7 << 2) | (regs >> 3 & 1);
				u8 b[] = { op ? 0xf3 : 0x66, rex, 0x0f, 0x70,
					   0xc0 | (regs >> 4 & 7) << 3 | (regs & 7), imm };
				unsigned int d = regs >> 4, s = regs & 15;
				struct uop u = { 0 };
				u32 src[4], want[4], got[4];
				u16 *w = (u16 *)want;

				x86_decode(&u.insn, b, sizeof(b), X86_MODE_64);
				memcpy(src, cpu->s.fpu.fx.xmm[s], 16);
				memcpy(want, src, 16);
				for (unsigned int i = 0; i < 4; i++) {
					if (op)
						w[4 + i] = ((u16 *)src)[4 + (imm >> (2 * i) & 3)];
					else
						want[i] = src[imm >> (2 * i) & 3];
				}
				if (guest_run(cpu, &u) != X86_NEXT)
					wrong++;
				memcpy(got, cpu->s.fpu.fx.xmm[d], 16);
				wrong += memcmp(got, want, 16) != 0;
				if ((imm & 63) == 0)
					rnd_vec(cpu->s.fpu.fx.xmm[d], 16);
			}
		}
	}
	ok(!wrong, "%lu distinct instructions: right beyond the table's end too", n);
}

/* --- time --- */

static void bench(struct x86_cpu *cpu)
{
	static const struct {
		const char *name;
		u8 b[8];
	} insns[] = {
		{ "movaps xmm1, xmm2", { 0x0f, 0x28, 0xca } },
		{ "movups xmm1, [rbx]", { 0x0f, 0x10, 0x0b } },
		{ "movups [rbx], xmm1", { 0x0f, 0x11, 0x0b } },
		{ "pxor xmm1, xmm1", { 0x66, 0x0f, 0xef, 0xc9 } },
		{ "addsd xmm1, xmm2", { 0xf2, 0x0f, 0x58, 0xca } },
		{ "ucomisd xmm1, xmm2", { 0x66, 0x0f, 0x2e, 0xca } },
		{ "cvttsd2si eax, xmm2", { 0xf2, 0x0f, 0x2c, 0xc2 } },
		{ "vaddpd ymm1, ymm2, ymm3", { 0xc5, 0xed, 0x58, 0xcb } },
		{ "vmovdqu ymm1, [rbx]", { 0xc5, 0xfe, 0x6f, 0x0b } },
		{ "fadd qword [rbx]", { 0xdc, 0x03 } },
		{ "fadd st0, st1", { 0xd8, 0xc1 } },
		{ "fxch st1", { 0xd9, 0xc9 } },
		{ "paddb mm1, mm2", { 0x0f, 0xfc, 0xca } },
	};

	guest_mode(cpu, X86_MODE_64);
	guest_tlb(cpu, true);
	for (unsigned int k = 0; k < ARRAY_SIZE(insns); k++) {
		struct uop u = { .ea_mask = ~0ULL, .fn = interp_vec };
		struct timespec a, b;
		unsigned int n = 10000000;

		x86_fpu_changed(cpu);
		memset(&cpu->s.fpu, 0, sizeof(cpu->s.fpu));
		cpu->s.fpu.fx.fcw = 0x37f;
		cpu->s.fpu.fx.mxcsr = 0x1f80;
		cpu->s.gpr[X86_RBX] = (u64)arena;
		x86_decode(&u.insn, insns[k].b, 8, X86_MODE_64);
		clock_gettime(CLOCK_MONOTONIC, &a);
		for (unsigned int i = 0; i < n; i++) {
			uop_fn volatile fn = u.fn;

			if (fn(cpu, &u) == X86_FAULT)
				exit(1);
		}
		clock_gettime(CLOCK_MONOTONIC, &b);
		printf("# %-26s %5.1f ns\n", insns[k].name,
		       ((b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec)) / n);
	}
	x86_fpu_sync(cpu);
}

int main(int argc, char **argv)
{
	unsigned int count = getenv("TEST_COUNT") ? atoi(getenv("TEST_COUNT")) : 2000;
	struct x86_cpu *cpu;

	rng = tap_seed(20240607);
	diag("TEST_SEED=%llu", (unsigned long long)rng);
	if (!__builtin_cpu_supports("avx") || !__builtin_cpu_supports("xsavec")) {
		skip("vector instructions", "the oracle needs a host with AVX and XSAVEC");
		return tap_done();
	}
	native_setup();		/* first: the emulator chains to the handlers it finds */
	cpu = guest_new();
	if (argc > 1 && !strcmp(argv[1], "bench")) {
		bench(cpu);
		return 0;
	}
	find_templates();
	test_rows(cpu, count);
	test_full(cpu);
	guest_free(cpu);
	return tap_done();
}
