// SPDX-License-Identifier: GPL-2.0-only
/*
 * interp-int.c - integer instructions of the interpreter against the host's own processor
 *
 * Oracle: the processor that runs the test. Random encodings of every integer operation are executed twice
 * with the same registers, flags and memory: natively, in a page of code with a prologue that loads all
 * registers and an epilogue that stores them, and by the interpreter's handler. Registers, flags, memory, the
 * next instruction and faults must agree. What the manuals leave undefined is masked, by undefined_flags()
 * and result_undefined().
 *
 * Host and guest addresses are the same: the guest's page tables map the scratch pages where the host has
 * them.
 *
 * Usage: interp-int [instances per operation [operation [-u]]]; TEST_SEED=n repeats a run; TEST_CLASS=n makes
 * at least n instances of each class of operations; -u compares undefined flags too.
 */
#include <time.h>

#include "tap.h"

#ifndef __x86_64__

int main(void)
{
	skip("integer instructions against the host", "the host is not x86-64");
	return tap_done();
}

#else

#include "interp-native.h"
#include "interp-vm.h"

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

/* Memory at an offset in the data segment, as much of it as there is. */
static void poke(u64 off, u64 val, unsigned int size)
{
	u64 at = off + data_base - (u64)scratch;

	if (at < SCRATCH_SIZE)
		memcpy(scratch + at, &val, min((u64)size, SCRATCH_SIZE - at));
}
static u64 peek(u64 off, unsigned int size)
{
	u64 at = off + data_base - (u64)scratch, val = 0;

	if (at < SCRATCH_SIZE)
		memcpy(&val, scratch + at, min((u64)size, SCRATCH_SIZE - at));
	return val;
}

/* Values that matter: small ones, ends of ranges, any. */
static u64 rnd_value(void)
{
	static const u8 widths[] = { 7, 8, 15, 16, 31, 32, 63 };

	switch (below(6)) {
	case 0:
		return below(65);
	case 1:
		return (u64)-(s64)below(130);
	case 2:
		return (1ULL << widths[below(sizeof(widths))]) + below(3) - 1;
	case 3:
		return rnd() >> below(64);
	default:
		return rnd();
	}
}

/* --- the interpreter --- */

static struct x86_cpu *cpu;

static void cpu_mode(void)
{
	int i;

	test_segments(cpu, mode);
	if (mode == X86_MODE_16)
		for (i = X86_ES; i <= X86_DS; i++) {
			cpu->s.seg[i].base = i == X86_CS ? code_base : data_base;
			cpu->s.seg[i].limit = (i == X86_CS ? 4096 : SEGMENT_SIZE) - 1;
			cpu->s.seg[i].attr &= ~(X86_ATTR_DB | X86_ATTR_G);
		}
	cpu->s.seg[X86_FS].base = mode == X86_MODE_64 ? fs_base : 0;
	cpu->s.seg[X86_GS].base = mode == X86_MODE_64 ? gs_base : 0;
	emul_x86_changed(&cpu->core);
}

static struct fault interp_fault;

/* The instruction is at @rip. Its registers and flags come from and go to @r. */
static enum outcome run_interp(const struct x86_insn *insn, u64 rip, struct regs *r)
{
	struct uop u = { .insn = *insn, .off = rip & 0xfff };
	unsigned int rounds = 0;
	int next;

	cpu->s.gpr[X86_REG_RIP] = rip & ~0xfffUL;
	if (insn->base == X86_REG_RIP)
		u.insn.disp += u.off + insn->len;
	interp_bind(&u);
	if (!u.fn)
		return STRANGE;
	memcpy(cpu->s.gpr, r->gpr, sizeof(r->gpr));
	x86_set_rflags(&cpu->s, r->flags);
	cpu->u = &u;
	do
		next = u.fn(cpu, &u);
	while (next == X86_AGAIN && ++rounds < 100000);
	if (next == X86_ALONE)
		next = interp_unlocked(&u)(cpu, &u);
	memcpy(r->gpr, cpu->s.gpr, sizeof(r->gpr));
	r->flags = x86_get_rflags(&cpu->s);
	switch (next) {
	case X86_NEXT:
	case X86_LEAVE:
		return FELL_THROUGH;
	case X86_JUMP:
		if (cpu->s.rip == rip + insn->len)
			return FELL_THROUGH;
		return cpu->s.rip == rip + insn->len + TAKEN ? BRANCHED : STRANGE;
	case X86_FAULT:
		interp_fault = (struct fault){ cpu->exc.vector, cpu->exc.error,
					       cpu->exc.vector == X86_EXC_PF ? cpu->s.cr2 : 0 };
		return cpu->exc.vector == X86_EXC_DE ? DIVIDE_ERROR : cpu->exc.vector == X86_EXC_UD ?
		       UNDEFINED :
		       cpu->exc.vector == X86_EXC_GP || cpu->exc.vector == X86_EXC_PF ||
			cpu->exc.vector == X86_EXC_SS ?
		       PROTECTION : STRANGE;
	default:
		return STRANGE;
	}
}

/* --- what the manuals leave undefined --- */

static unsigned int shift_count(const struct x86_insn *i, const struct regs *in)
{
	/* D0..D3: by 1 or CL; C0, C1 and the double shifts' A4, AC: by immediate */
	u64 n = i->map == X86_MAP_1 && (i->opcode & 0xfe) == 0xd0 ? 1 :
		i->immsize ? i->imm : in->gpr[X86_RCX];

	return n & (i->opsize == 8 ? 63 : 31);
}

/* Flags not compared: each with what the section "Flags Affected" of the instruction in SDM vol. 2 says of it. */
static u64 undefined_flags(const struct x86_insn *i, const struct regs *in)
{
	unsigned int n, bits = i->opsize * 8;

	switch (i->op) {
	case X86_OP_AND: case X86_OP_OR: case X86_OP_XOR: case X86_OP_TEST:
		return X86_AF;			/* "AF is undefined"; OF and CF are cleared */
	case X86_OP_SHL: case X86_OP_SHR: case X86_OP_SAR:
		n = shift_count(i, in);
		/*
		 * "If the count is 0, the flags are not affected"; "for a non-zero count, the AF flag is undefined"; OF "is
		 * affected only for 1-bit shifts"; CF "is undefined for SHL and SHR" with a count of the size or more
		 */
		return !n ? 0 : X86_AF | (n > 1 ? X86_OF : 0) |
		       (n >= bits && i->op != X86_OP_SAR ? X86_CF : 0);
	case X86_OP_ROL: case X86_OP_ROR: case X86_OP_RCL: case X86_OP_RCR:
		/* OF "is defined only for the 1-bit rotates" */
		return shift_count(i, in) > 1 ? X86_OF : 0;
	case X86_OP_SHLD: case X86_OP_SHRD:
		n = shift_count(i, in);
		/* as for SHL; "if the count is greater than the operand size, the flags are undefined" */
		return !n ? 0 : n > bits ? X86_ARITH : X86_AF | (n > 1 ? X86_OF : 0);
	case X86_OP_BT: case X86_OP_BTS: case X86_OP_BTR: case X86_OP_BTC:
		/* "OF, SF, AF, and PF are undefined", ZF is unaffected */
		return X86_OF | X86_SF | X86_AF | X86_PF;
	case X86_OP_BSF: case X86_OP_BSR:	/* all but ZF "are undefined" */
		return X86_CF | X86_OF | X86_SF | X86_AF | X86_PF;
	case X86_OP_TZCNT: case X86_OP_LZCNT:	/* all but ZF and CF "are undefined" */
		return X86_OF | X86_SF | X86_AF | X86_PF;
	case X86_OP_MUL: case X86_OP_IMUL1: case X86_OP_IMUL2: case X86_OP_IMUL3:
		return X86_SF | X86_ZF | X86_AF | X86_PF;	/* all but OF and CF "are undefined" */
	case X86_OP_DIV: case X86_OP_IDIV:	/* "CF, OF, SF, ZF, AF, and PF are undefined" */
		return X86_ARITH;
	case X86_OP_ANDN: case X86_OP_BLSI: case X86_OP_BLSMSK: case X86_OP_BLSR: case X86_OP_BZHI:
		return X86_AF | X86_PF;		/* "AF and PF flags are undefined" */
	case X86_OP_BEXTR:
		return X86_AF | X86_SF | X86_PF;	/* "AF, SF, and PF are undefined" */
	case X86_OP_AAA: case X86_OP_AAS:	/* "OF, SF, ZF, and PF are undefined" */
		return X86_OF | X86_SF | X86_ZF | X86_PF;
	case X86_OP_AAM: case X86_OP_AAD:	/* "OF, AF, and CF are undefined" */
		return X86_OF | X86_AF | X86_CF;
	case X86_OP_DAA: case X86_OP_DAS:
		return X86_OF;			/* "OF is undefined" */
	default:
		return 0;
	}
}

/* Is the result itself undefined, or does it depend on the maker? Such instances are left out. */
static bool result_undefined(const struct x86_insn *i, const struct regs *in)
{
	switch (i->op) {
	case X86_OP_SHLD: case X86_OP_SHRD:	/* a count beyond the operand size */
		return shift_count(i, in) > i->opsize * 8u;
	case X86_OP_BSWAP:
		return i->opsize == 2;
	case X86_OP_MOVSXD:			/* of 16 bits: AMD reads 32 bits, Intel 16 */
		return i->opsize == 2;
	case X86_OP_NOP:			/* 0F 0D with a register: #UD for AMD, NOP for Intel */
		return i->map == X86_MAP_0F && i->opcode == 0x0d;
	default:
		return false;
	}
}

/* --- making instances --- */

/* Encodings that decode to an operation, the parts that may vary freely left out. */
struct skeleton {
	u16 op;
	u8 vex;			/* 0, 2 (0F38) or 3 (0F3A) */
	u8 map;			/* enum x86_map */
	u8 pfx;			/* mandatory prefix or 0; VEX.pp */
	u8 w;
	u8 opcode, modrm;
};
static struct skeleton *skeletons;
static unsigned int nr_skeletons;

static const u8 pfx_byte[4] = { 0, 0x66, 0xf3, 0xf2 };

static unsigned int encode_skeleton(const struct skeleton *k, u8 *p, u8 rex, u8 vvvv)
{
	unsigned int n = 0;

	if (k->vex) {
		p[n++] = 0xc4;
		p[n++] = (u8)((~rex & 7) << 5 | k->vex);
		p[n++] = (u8)(k->w << 7 | (~vvvv & 15) << 3 | k->pfx);
		p[n++] = k->opcode;
		return n;
	}
	if (k->pfx)
		p[n++] = pfx_byte[k->pfx];
	if (rex)
		p[n++] = rex;
	if (k->map != X86_MAP_1)
		p[n++] = 0x0f;
	if (k->map == X86_MAP_0F38)
		p[n++] = 0x38;
	p[n++] = k->opcode;
	return n;
}

static bool is_prefix(u8 opcode)
{
	switch (opcode) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67:
	case 0xf0: case 0xf2: case 0xf3:
		return true;
	default:
		return mode == X86_MODE_64 && (opcode & 0xf0) == 0x40;
	}
}

static void try_skeleton(const struct skeleton *k)
{
	u8 bytes[16] = { 0 };
	unsigned int n = encode_skeleton(k, bytes, 0, 0);
	struct x86_insn insn;

	bytes[n] = k->modrm;
	if (k->map == X86_MAP_1 && !k->vex && is_prefix(k->opcode))
		return;
	if (x86_decode(&insn, bytes, 15, mode) != X86_DECODE_OK || x86_op_class[insn.op] != X86_CLASS_INT)
		return;
	if (!(nr_skeletons & (nr_skeletons - 1)))
		skeletons = realloc(skeletons, (nr_skeletons ? nr_skeletons * 2 : 1) * sizeof(*skeletons));
	skeletons[nr_skeletons] = *k;
	skeletons[nr_skeletons++].op = insn.op;
}

static void skeletons_init(void)
{
	struct skeleton k = { 0 };
	unsigned int i, opcode, map, pfx, w;

	for (opcode = 0; opcode < 256; opcode++)
		for (pfx = 0; pfx < 4; pfx++)
			for (i = 0; i < 16; i++) {
				k = (struct skeleton){ .pfx = (u8)pfx, .opcode = (u8)opcode,
						       .modrm = (u8)((i & 7) << 3 | (i & 8 ? 0xc0 : 0)) };
				for (map = X86_MAP_1; map <= X86_MAP_0F38; map++) {
					k.map = (u8)map;
					try_skeleton(&k);
				}
				for (w = 0; w < 2; w++) {
					k.w = (u8)w;
					for (k.vex = 2; k.vex <= 3; k.vex++)
						try_skeleton(&k);
				}
			}
}

struct instance {
	u8 bytes[24];		/* of which 15 count */
	struct x86_insn insn;
	struct regs in;
	u64 target;		/* address of the memory operand */
	unsigned int len;
};

static bool reaches_memory(const struct x86_insn *i)
{
	return i->flags & X86_IF_MEM && i->op != X86_OP_LEA && i->op != X86_OP_NOP &&
	       i->op != X86_OP_PREFETCH;
}
/* BT and its kin with the bit offset in a register */
static bool bit_string(const struct x86_insn *i)
{
	return i->flags & X86_IF_MEM && i->op >= X86_OP_BT && i->op <= X86_OP_BTC && i->opcode != 0xba;
}

/*
 * Offset in the data segment: anywhere in the scratch pages, page boundaries preferred, mostly with room on
 * both sides, sometimes at the very ends, beyond which accesses fault.
 */
static u64 rnd_place(void)
{
	u64 end = mode == X86_MODE_16 ? SEGMENT_SIZE : SCRATCH_SIZE;
	u64 off = chance(3) ? (chance(50) ? below(20) : end - below(20)) : chance(20) ?
		(1 + below(SCRATCH_PAGES - 1)) * 4096 - below(20) : 1400 + below(SCRATCH_SIZE - 2800);

	return (u64)scratch - data_base + (chance(50) ? off : off & ~15UL);
}

static u8 rnd_segment(void)
{
	static const u8 seg[] = { 0x26, 0x36, 0x3e, 0x2e, 0x64, 0x65 };

	/* FS and GS are null outside 64-bit mode, and CS of 16-bit code is elsewhere */
	return seg[below(mode == X86_MODE_64 ? 6 : 3)];
}

/*
 * Legacy prefixes in any order, sometimes more often than needed; a REX prefix that is not the last is none.
 * @must: that of the skeleton, or 0
 */
static unsigned int make_prefixes(u8 *p, u8 must, bool vex)
{
	unsigned int n = 0, i;

	if (must)
		p[n++] = must;
	if (!vex && chance(25))
		p[n++] = 0x66;
	if (!vex && chance(20))
		p[n++] = 0xf0;
	if (chance(15))
		p[n++] = 0x67;
	if (chance(15))
		p[n++] = rnd_segment();
	if (chance(15)) {
		for (i = (unsigned int)below(3); n && i > 0; i--, n++)
			p[n] = p[below(n)];
		p[n++] = rnd_segment();
		if (mode == X86_MODE_64 && !vex && chance(50))
			p[n++] = (u8)(0x40 | below(16));
	}
	for (i = n; i > 1; i--) {
		unsigned int k = (unsigned int)below(i);
		u8 b = p[k];

		p[k] = p[i - 1];
		p[i - 1] = b;
	}
	return n;
}

static bool make_bytes(struct instance *t, const struct skeleton *k)
{
	unsigned int n, m, i;
	u8 modrm = k->modrm, rex = mode == X86_MODE_64 && chance(60) ? (u8)(0x40 | below(16)) : 0;
	struct skeleton rest = *k;

	if (!k->vex)
		rest.pfx = 0;
	n = make_prefixes(t->bytes, k->vex ? 0 : pfx_byte[k->pfx], k->vex);
	n += encode_skeleton(&rest, t->bytes + n, rex, (u8)below(mode == X86_MODE_64 ? 16 : 8));
	/* Keep mod's being 3 or not; reg may be an extension of the opcode, which the caller finds out. */
	if (modrm >= 0xc0)
		modrm = (u8)(0xc0 | (modrm & 0x38) | below(8));
	else
		modrm = (u8)(below(3) << 6 | (modrm & 0x38) | below(8));
	if (chance(90))
		modrm = (u8)((modrm & 0xc7) | below(8) << 3);
	m = n;
	t->bytes[n++] = modrm;
	for (i = n; i < sizeof(t->bytes); i++)
		t->bytes[i] = chance(30) ? (u8)below(4) : (u8)rnd();
	if (x86_decode(&t->insn, t->bytes, 15, mode) != X86_DECODE_OK || t->insn.op != k->op) {
		t->bytes[m] = (u8)((t->bytes[m] & 0xc7) | (k->modrm & 0x38));
		if (x86_decode(&t->insn, t->bytes, 15, mode) != X86_DECODE_OK || t->insn.op != k->op)
			return false;
	}
	t->len = t->insn.len;
	return true;
}

static u64 seg_base(const struct x86_insn *i)
{
	return mode != X86_MODE_64 ? 0 : i->seg == X86_FS ? fs_base : i->seg == X86_GS ? gs_base : 0;
}

/* Choose registers so that the memory operand is at t->target. False: this encoding can't be made to. */
static bool aim(struct instance *t)
{
	const struct x86_insn *i = &t->insn;
	u64 mask = i->addrsize == 8 ? ~0ULL : (1ULL << i->addrsize * 8) - 1, ea = t->target - seg_base(i), at;
	unsigned int width = i->addrsize == 2 ? 2 : 4;
	u64 *r = t->in.gpr, disp;

	if (ea & ~mask)
		return false;
	if (i->index != X86_REG_ZERO && chance(80))
		r[i->index] = below(3) ? below(300) : -below(300);
	at = i->index == X86_REG_ZERO ? 0 : r[i->index] << i->scale;
	if (i->base < 16 && i->base != i->index) {
		r[i->base] = ((ea - at - (u64)i->disp) & mask) | (rnd() & ~mask);
		if (mode == X86_MODE_64 && i->addrsize == 8 && chance(1))
			r[i->base] ^= 1ULL << 55;	/* not canonical */
		return true;
	}
	/* No base to choose: the displacement has to do it, if it is wide enough. */
	if (!i->disp_off || i->disp_off + width + i->immsize != i->len)
		return false;
	if (i->base < 16)
		at += r[i->base];
	if (i->base == X86_REG_RIP)
		at += insn_rip + i->len;
	disp = ea - at;
	if (i->addrsize == 8 && (u64)(s64)(s32)disp != disp)
		return false;
	memcpy(t->bytes + i->disp_off, &disp, width);
	return x86_decode(&t->insn, t->bytes, 15, mode) == X86_DECODE_OK;
}

/* moffs: the address itself is in the instruction. */
static bool aim_moffs(struct instance *t)
{
	const struct x86_insn *i = &t->insn;
	u64 ea = t->target - seg_base(i);

	if (i->addrsize < 8 && ea >> i->addrsize * 8)
		return false;
	memcpy(t->bytes + i->len - i->addrsize, &ea, i->addrsize);
	return x86_decode(&t->insn, t->bytes, 15, mode) == X86_DECODE_OK;
}


/*
 * Near branches cut to 16 bits can't stay in a flat segment; 66 in 64-bit mode is for Intel and AMD to
 * disagree on.
 */
static bool odd_branch(const struct x86_insn *i)
{
	return mode == X86_MODE_16 ? false : i->flags & X86_IF_OPSZ;
}
static unsigned int branch_size(const struct x86_insn *i)
{
	return mode == X86_MODE_64 ? 8 : i->opsize;
}
static u64 stack_at(const u64 *r)
{
	return mode == X86_MODE_16 ? r[X86_RSP] & 0xffff : r[X86_RSP];
}

/* Operations that read particular registers or memory: make them meet something that makes sense. */
static bool furnish(struct instance *t)
{
	const struct x86_insn *i = &t->insn;
	u64 *r = t->in.gpr, taken = insn_rip + i->len + TAKEN, size = i->opsize, mask, high;
	bool mem = i->flags & X86_IF_MEM;

	mask = size == 8 ? ~0ULL : (1ULL << size * 8) - 1;
	switch (i->op) {
	case X86_OP_CMPXCHG:
		if (chance(50))
			return true;
		if (mem && i->base != X86_RAX && i->index != X86_RAX)
			r[X86_RAX] = (r[X86_RAX] & ~mask) | peek(t->target, (unsigned int)size);
		else if (!mem)
			r[X86_RAX] = r[i->rm];
		return true;
	case X86_OP_CMPXCHG8B: case X86_OP_CMPXCHG16B:
		size = i->op == X86_OP_CMPXCHG8B ? 4 : 8;
		if (chance(50) || i->base == X86_RAX || i->base == X86_RDX || i->index == X86_RAX ||
		    i->index == X86_RDX)
			return true;
		r[X86_RAX] = peek(t->target, (unsigned int)size);
		r[X86_RDX] = peek(t->target + size, (unsigned int)size);
		return true;
	case X86_OP_DIV: case X86_OP_IDIV:
		if (chance(50) && (!mem || (i->base != X86_RDX && i->index != X86_RDX)))
			r[X86_RDX] = chance(50) ? 0 : (u64)((s64)r[X86_RAX] >> 63);
		return true;
	case X86_OP_XLAT:
		r[X86_RBX] = t->target - (u8)r[X86_RAX] - seg_base(i);
		return i->addrsize == 8 || (r[X86_RBX] + (u8)r[X86_RAX]) >> i->addrsize * 8 == 0;
	case X86_OP_MOVS: case X86_OP_CMPS: case X86_OP_STOS: case X86_OP_LODS: case X86_OP_SCAS:
		if (seg_base(i) || (t->target >> 16 && i->addrsize == 2))
			return false;
		r[X86_RSI] = rnd_place();
		/* distances small enough to overlap matter most */
		r[X86_RDI] = chance(50) ? r[X86_RSI] + below(80) - 40 : rnd_place();
		r[X86_RCX] = below(chance(50) ? 20 : 120);
		if (i->addrsize < 8) {
			high = rnd() << i->addrsize * 8;
			r[X86_RSI] |= high;
			r[X86_RDI] |= high;
			if (i->flags & (X86_IF_REP | X86_IF_REPNE))
				r[X86_RCX] = (r[X86_RCX] + 1) | high;
		}
		if (chance(30))		/* long runs of equal elements */
			memset(scratch + 1000, (int)below(2), SCRATCH_SIZE - 2000);
		if (chance(20))
			r[X86_RAX] = 0;
		t->in.flags |= chance(40) ? X86_DF : 0;
		return true;
	case X86_OP_LEAVE:
		r[X86_RBP] = rnd_place();
		return true;
	case X86_OP_ENTER:
		/* 16-bit ENTER cuts rBP to 16 bits before it follows it: no memory there */
		if (i->imm > 900 || (i->imm2 & 31) > 16)
			return false;
		r[X86_RBP] = rnd_place();
		return true;
	case X86_OP_POPF:
		/* what would make the host trap later is not asked for */
		poke(stack_at(r), (rnd() & (X86_ARITH | X86_DF | X86_ID | X86_IF | X86_IOPL)) | X86_FLAG1, 8);
		return true;
	case X86_OP_JMP: case X86_OP_CALL: case X86_OP_JCC:
	case X86_OP_LOOP: case X86_OP_LOOPE: case X86_OP_LOOPNE: case X86_OP_JCXZ:
		/*
		 * AMD and Intel differ on 66 in 64-bit mode; F2 and F3 are reserved, and AMD lets them invert
		 * LOOPcc
		 */
		if (i->flags & (X86_IF_F2 | X86_IF_F3) || odd_branch(i))
			return false;
		memset(t->bytes + i->len - i->immsize, 0, i->immsize);
		t->bytes[i->len - i->immsize] = TAKEN;
		if (chance(40))
			r[X86_RCX] = below(2) | (i->addrsize < 8 ? rnd() << i->addrsize * 8 : 0);
		return x86_decode(&t->insn, t->bytes, 15, mode) == X86_DECODE_OK;
	case X86_OP_JMPI: case X86_OP_CALLI:
		if (odd_branch(i))
			return false;
		if (mem)
			poke(t->target, taken, branch_size(i));
		else if (i->rm == X86_RSP)
			return false;
		else
			r[i->rm] = taken;
		return true;
	case X86_OP_RET:
		if (odd_branch(i))
			return false;
		poke(stack_at(r), taken, branch_size(i));
		return true;
	default:
		return true;
	}
}

/* Does the instruction use the stack, with its pointer where make_instance() puts it? */
static bool uses_stack(u16 op)
{
	switch (op) {
	case X86_OP_PUSH: case X86_OP_POP: case X86_OP_PUSHF: case X86_OP_POPF:
	case X86_OP_ENTER: case X86_OP_LEAVE:
	case X86_OP_CALL: case X86_OP_CALLI: case X86_OP_RET: case X86_OP_PUSHA: case X86_OP_POPA:
		return true;
	default:
		return false;
	}
}

static bool touches_memory(const struct x86_insn *i)
{
	return i->flags & X86_IF_MEM || uses_stack(i->op) || (i->op >= X86_OP_MOVS && i->op <= X86_OP_SCAS);
}

static bool make_instance(struct instance *t, const struct skeleton *k)
{
	const struct x86_insn *i = &t->insn;
	bool moffs;
	u64 sp;
	int r;

	if (!make_bytes(t, k))
		return false;
	moffs = i->map == X86_MAP_1 && i->opcode >= 0xa0 && i->opcode <= 0xa3 && !(i->flags & X86_IF_VEX);
	for (r = 0; r < 16; r++)
		t->in.gpr[r] = mode == X86_MODE_64 ? rnd_value() : (u32)rnd_value();
	if (!native_rsp(t->in.gpr[X86_RSP]))
		t->in.gpr[X86_RSP] >>= 17;
	t->in.flags = (rnd() & X86_ARITH) | X86_IF | X86_FLAG1;
	t->target = rnd_place();
	if (uses_stack(i->op))
		t->in.gpr[X86_RSP] = rnd_place() | (mode == X86_MODE_16 ? rnd() << 16 : 0);
	if (bit_string(i)) {
		if (i->reg == i->base || i->reg == i->index)
			return false;
		t->in.gpr[i->reg] = (rnd() & ~0xffffULL) | (below(16000) - 8000);
		if (i->opsize != 2)
			t->in.gpr[i->reg] = (s64)(below(16000) - 8000);
	}
	if (reaches_memory(i)) {
		poke(t->target, rnd_value(), 8);
		if (!(moffs ? aim_moffs(t) : aim(t)))
			return false;
		/* aiming must not have moved the stack away */
		sp = stack_at(t->in.gpr) + data_base - (u64)scratch;
		if (uses_stack(i->op) && i->base == X86_RSP && sp > SCRATCH_SIZE)
			return false;
		if (bit_string(i) && i->opsize != 2)
			t->in.gpr[i->reg] = (u64)(s64)(below(16000) - 8000);
	}
	if (!furnish(t) || result_undefined(&t->insn, &t->in))
		return false;
	/* upper halves are for 64-bit mode */
	for (r = 0; r < 16 && mode != X86_MODE_64; r++)
		t->in.gpr[r] = (u32)t->in.gpr[r];
	return native_rsp(t->in.gpr[X86_RSP]);
}

/* --- comparing --- */

static u8 before[SCRATCH_SIZE], after[SCRATCH_SIZE];

static void show(const struct instance *t, const struct regs *got, enum outcome want_out,
		 enum outcome got_out)
{
	static const char *const outcomes[] = { "falls through", "branches", "#DE", "#GP/#PF", "#UD",
		"strange" };
	const struct regs *want = &native->out;
	unsigned int i;

	printf("# %s:", x86_op_name(t->insn.op));
	for (i = 0; i < t->insn.len; i++)
		printf(" %02x", t->bytes[i]);
	printf("  flags in %#llx  host %s, interpreter %s\n", (unsigned long long)t->in.flags,
	       outcomes[want_out], outcomes[got_out]);
	for (i = 0; i < 16; i++)
		if (want->gpr[i] != got->gpr[i])
			printf("#   r%-2u in %#018llx host %#018llx interpreter %#018llx\n", i,
			       (unsigned long long)t->in.gpr[i], (unsigned long long)want->gpr[i],
			       (unsigned long long)got->gpr[i]);
	printf("#   rax in %#llx rcx in %#llx rdx in %#llx rsi in %#llx rdi in %#llx\n",
	       (unsigned long long)t->in.gpr[0], (unsigned long long)t->in.gpr[1],
	       (unsigned long long)t->in.gpr[2], (unsigned long long)t->in.gpr[6],
	       (unsigned long long)t->in.gpr[7]);
	if (want_out == PROTECTION && got_out == PROTECTION)
		printf("#   host vector %u error %#x address %#llx interpreter %u %#x %#llx\n", native_fault.vector,
		       native_fault.error, (unsigned long long)native_fault.addr, interp_fault.vector, interp_fault.error,
		       (unsigned long long)interp_fault.addr);
	printf("#   flags host %#llx interpreter %#llx\n", (unsigned long long)want->flags,
	       (unsigned long long)got->flags);
	for (i = 0; i < SCRATCH_SIZE && touches_memory(&t->insn); i++)
		if (scratch[i] != after[i]) {
			printf("#   memory at %#llx (operand %#llx): host %02x interpreter %02x\n",
			       (unsigned long long)(uintptr_t)(scratch + i), (unsigned long long)t->target,
			       after[i], scratch[i]);
			break;
		}
}

static bool repeats(const struct x86_insn *i)
{
	return i->op >= X86_OP_MOVS && i->op <= X86_OP_SCAS && i->flags & (X86_IF_REP | X86_IF_REPNE);
}
static bool compares(const struct x86_insn *i)
{
	return i->op == X86_OP_CMPS || i->op == X86_OP_SCAS;
}

/*
 * A repeated string instruction has faulted. Where processors differ, @r, what the interpreter made of it, becomes what
 * the host did, if that is the other thing that processors do:
 *
 * The flags after a comparison that is not the first: SDM vol. 2 "REP" has them restored, AMD's manuals say nothing,
 * and its processors leave those of the last comparison: the same as of a repetition that ends there.
 *
 * The upper halves of 64-bit registers that the instruction uses as 32-bit ones, when the very first iteration faults:
 * nothing has been written to them, but some processors have cleared them by then. No manual speaks of it.
 */
static void like_host_at_fault(const struct instance *t, struct regs *r)
{
	static const u8 used[] = { X86_RCX, X86_RSI, X86_RDI };
	u64 mask = t->insn.addrsize == 8 ? ~0ULL : (1ULL << t->insn.addrsize * 8) - 1;
	u64 done = (t->in.gpr[X86_RCX] - r->gpr[X86_RCX]) & mask;
	struct regs last = t->in;

	if (done && compares(&t->insn)) {
		last.gpr[X86_RCX] = (last.gpr[X86_RCX] & ~mask) | done;
		if (run_interp(&t->insn, insn_rip, &last) == FELL_THROUGH &&
		    !((last.flags ^ native->out.flags) & X86_ARITH))
			r->flags = last.flags;
	}
	if (!done && mode == X86_MODE_64 && t->insn.addrsize == 4)
		for (unsigned int i = 0; i < sizeof(used); i++)
			if (native->out.gpr[used[i]] == (u32)r->gpr[used[i]])
				r->gpr[used[i]] = (u32)r->gpr[used[i]];
}

/*
 * Vector, error code and address are the host's. Which operand of CMPS is read first the manual leaves open: here that of
 * rDI, and a host may begin with the other.
 */
static bool same_fault(const struct instance *t, const struct regs *r)
{
	const struct fault *h = &native_fault, *i = &interp_fault;
	u64 mask = t->insn.addrsize == 8 ? ~0ULL : (1ULL << t->insn.addrsize * 8) - 1;

	if (t->insn.op == X86_OP_CMPS && (h->vector == X86_EXC_PF ? h->addr - ((r->gpr[X86_RSI] & mask) + data_base) < 8 :
					  h->vector == X86_EXC_SS && i->vector == X86_EXC_GP))
		return true;
	return h->vector == i->vector && h->error == i->error && h->addr == i->addr;
}

static bool compare(const struct instance *t, bool strict)
{
	struct regs r = t->in;
	enum outcome want, got;
	u64 flags = X86_ARITH | X86_DF | X86_ID;
	bool memory = touches_memory(&t->insn);
	int i;

	if (memory)
		memcpy(before, scratch, SCRATCH_SIZE);
	native->in = t->in;
	want = native_run(t->bytes, t->insn.len);
	if (memory) {
		memcpy(after, scratch, SCRATCH_SIZE);
		memcpy(scratch, before, SCRATCH_SIZE);
	}
	got = run_interp(&t->insn, insn_rip, &r);
	for (i = 0; i < 16 && mode != X86_MODE_64; i++) {
		native->out.gpr[i] = (u32)native->out.gpr[i];
		r.gpr[i] = (u32)r.gpr[i];
	}
	if (!strict && want < DIVIDE_ERROR)
		flags &= ~undefined_flags(&t->insn, &t->in);
	/* a processor may have changed flags before a divide error, which is a fault: not so the registers */
	if (want == DIVIDE_ERROR)
		flags = 0;
	/* AMD's POPA loads registers until one faults; the interpreter loads all or none */
	if (want == PROTECTION && t->insn.op == X86_OP_POPA)
		return want == got;
	if (want == PROTECTION && want == got && repeats(&t->insn))
		like_host_at_fault(t, &r);
	if (want == got && !memcmp(native->out.gpr, r.gpr, sizeof(r.gpr)) && (want != PROTECTION || same_fault(t, &r)) &&
	    !((native->out.flags ^ r.flags) & flags) &&
	    !(memory && memcmp(scratch, after, SCRATCH_SIZE)))
		return true;
	show(t, &r, want, got);
	return false;
}

/*
 * Not to be compared: what the host may not do for the test, what has no determined result, what exists
 * elsewhere.
 */
static bool left_out(u16 op)
{
	switch (op) {
	case X86_OP_IN: case X86_OP_OUT: case X86_OP_INS: case X86_OP_OUTS:
	case X86_OP_RDRAND: case X86_OP_RDSEED:
		return true;
	default:
		return false;
	}
}

/*
 * Newer instructions than x86-64's first ones. On a processor without them TZCNT and LZCNT are BSF and BSR.
 */
static bool host_lacks(u16 op)
{
	switch (op) {
	case X86_OP_TZCNT: case X86_OP_ANDN: case X86_OP_BEXTR: case X86_OP_BLSI:
	case X86_OP_BLSMSK: case X86_OP_BLSR:
		return !__builtin_cpu_supports("bmi");
	case X86_OP_BZHI: case X86_OP_PDEP: case X86_OP_PEXT: case X86_OP_MULX:
	case X86_OP_RORX: case X86_OP_SARX: case X86_OP_SHLX: case X86_OP_SHRX:
		return !__builtin_cpu_supports("bmi2");
	case X86_OP_LZCNT:
		return !__builtin_cpu_supports("lzcnt");
	case X86_OP_POPCNT:
		return !__builtin_cpu_supports("popcnt");
	case X86_OP_CRC32:
		return !__builtin_cpu_supports("sse4.2");
	case X86_OP_ADCX: case X86_OP_ADOX:
		return !__builtin_cpu_supports("adx");
	case X86_OP_MOVBE:
		return !__builtin_cpu_supports("movbe");
	case X86_OP_CMPXCHG16B:
		return !__builtin_cpu_supports("cmpxchg16b");
	case X86_OP_CLFLUSHOPT:
		return !__builtin_cpu_supports("clflushopt");
	case X86_OP_CLWB:
		return !__builtin_cpu_supports("clwb");
	default:
		return false;
	}
}

/* --- all operations --- */

enum { INTEGER, BMI, STRING, STACK, FLOW, CLASSES };
static struct {
	const char *name;
	unsigned int ops;	/* in 64-bit mode */
	unsigned long instances;
} classes[CLASSES] = {
	[INTEGER] = { .name = "integer" }, [BMI] = { .name = "BMI" }, [STRING] = { .name = "string" },
	[STACK] = { .name = "stack" }, [FLOW] = { .name = "control flow" },
};

static unsigned int class_of(u16 op)
{
	switch (op) {
	case X86_OP_TZCNT: case X86_OP_LZCNT: case X86_OP_ANDN: case X86_OP_BEXTR: case X86_OP_BLSI:
	case X86_OP_BLSMSK: case X86_OP_BLSR: case X86_OP_BZHI: case X86_OP_PDEP: case X86_OP_PEXT:
	case X86_OP_MULX: case X86_OP_RORX: case X86_OP_SARX: case X86_OP_SHLX: case X86_OP_SHRX:
		return BMI;
	case X86_OP_MOVS: case X86_OP_CMPS: case X86_OP_STOS: case X86_OP_LODS: case X86_OP_SCAS:
		return STRING;
	case X86_OP_JMP: case X86_OP_CALL: case X86_OP_JCC: case X86_OP_JMPI: case X86_OP_CALLI: case X86_OP_RET:
	case X86_OP_LOOP: case X86_OP_LOOPE: case X86_OP_LOOPNE: case X86_OP_JCXZ:
		return FLOW;
	default:
		return uses_stack(op) ? STACK : INTEGER;
	}
}

static void test_op(u16 op, unsigned int count, bool strict)
{
	static const char *const modes[] = { "16-bit", "32-bit", "64-bit" };
	unsigned int *mine = malloc(nr_skeletons * sizeof(*mine)), n = 0, i, done = 0, failed = 0, tries = 0;
	struct instance t;

	for (i = 0; i < nr_skeletons; i++)
		if (skeletons[i].op == op)
			mine[n++] = i;
	while (n && done < count && tries++ < 100 * count && failed < (strict ? 30 : 3)) {
		memset(&t, 0, sizeof(t));
		if (!(tries & 63))
			for (i = 0; i < SCRATCH_SIZE; i += 8)
				poke((u64)scratch - data_base + i, rnd_value(), 8);
		if (!make_instance(&t, &skeletons[mine[below(n)]]))
			continue;
		done++;
		failed += !compare(&t, strict);
	}
	free(mine);
	classes[class_of(op)].instances += done;
	if (n)
		ok(!failed && done == count, "%s %s: %u instances as the host does them", modes[mode],
		   x86_op_name(op), done);
}

static bool wanted(u16 op, const char *only)
{
	return x86_op_class[op] == X86_CLASS_INT && !left_out(op) && !host_lacks(op) &&
	       (!only || !strcmp(only, x86_op_name(op)));
}

/* How many operations has each class? To be called when skeletons are those of 64-bit mode. */
static void count_classes(const char *only)
{
	bool seen[X86_OP_COUNT] = { 0 };

	for (unsigned int i = 0; i < nr_skeletons; i++) {
		u16 op = skeletons[i].op;

		classes[class_of(op)].ops += !seen[op] && wanted(op, only);
		seen[op] = true;
	}
}

/* 64-bit mode gets @count instances of an operation, or as many as make @each of its class; the others get a part. */
static void test_mode(enum x86_mode m, unsigned int count, unsigned long each, const char *only, bool strict)
{
	unsigned int part = m == X86_MODE_64 || only ? 1 : 4, n;
	u16 op;

	if (!native_mode(m)) {
		skip(m == X86_MODE_16 ? "16-bit code" : "32-bit code", "the host gives programs no such segments");
		return;
	}
	cpu_mode();
	nr_skeletons = 0;
	skeletons_init();
	if (m == X86_MODE_64)
		count_classes(only);
	for (op = 1; op < X86_OP_COUNT; op++) {
		if (!wanted(op, only))
			continue;
		n = classes[class_of(op)].ops;
		n = n ? max((unsigned long)count, (each + n - 1) / n) : count;
		test_op(op, (n + part - 1) / part, strict);
	}
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 0) : 20000;
	const char *only = argc > 2 && strcmp(argv[2], "all") ? argv[2] : NULL;
	unsigned long each = getenv("TEST_CLASS") ? strtoul(getenv("TEST_CLASS"), NULL, 0) : 0;
	bool strict = argc > 3;

	seed = tap_seed((u64)time(NULL) * 0x9e3779b97f4a7c15ull);
	diag("TEST_SEED=%#llx", (unsigned long long)seed);
	native_init();
	cpu = test_cpu(scratch, SCRATCH_PAGES);
	native_signals();	/* last: a vCPU may install handlers of its own */
	test_mode(X86_MODE_64, count, each, only, strict);
	test_mode(X86_MODE_32, count, each, only, strict);
	test_mode(X86_MODE_16, count, each, only, strict);
	for (unsigned int i = 0; i < CLASSES; i++)
		if (classes[i].ops)
			ok(classes[i].instances >= each, "class %s: %u operations, %lu instances", classes[i].name,
			   classes[i].ops, classes[i].instances);
	emul_vm_destroy(cpu->core.vm);
	return tap_done();
}

#endif /* __x86_64__ */
