// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-string.c - string instructions
 *
 * One iteration is a step: it checks, moves, and only then updates the registers. A repeated instruction runs
 * in rounds that end with precise registers, so a fault or a request finds the state between two iterations:
 * a round does what two pages hold directly in host memory if it can, else a few steps one by one (device
 * memory, elements that cross pages, pages with decoded code, segment limits near).
 *
 * Worked example: REP MOVSB with RCX = 100, RSI = 0x1ff0, RDI = 0x5000. The first round may take 16 bytes
 * (the rest of the source's page), the second 84. Had the page at 0x2000 been missing, the second round would
 * have found no host memory, its first step would have faulted, and the fault would have shown RCX = 84, RSI
 * = 0x2000, RDI = 0x5010.
 */
#include "int-common.h"
#include "system.h"

#define ROUND_STEPS	128	/* steps a round that goes one by one */

enum str_op { STR_MOVS, STR_CMPS, STR_STOS, STR_LODS, STR_SCAS, STR_INS, STR_OUTS };

/* --- elements of any size --- */

static __always_inline bool load_elem(struct x86_cpu *cpu, u64 lin, unsigned int size, u64 *val)
{
	u8 v8;
	u16 v16;
	u32 v32;
	bool done;

	switch (size) {
	case 1:
		done = x86_load8(cpu, lin, &v8);
		*val = done ? v8 : 0;
		return done;
	case 2:
		done = x86_load16(cpu, lin, &v16);
		*val = done ? v16 : 0;
		return done;
	case 4:
		done = x86_load32(cpu, lin, &v32);
		*val = done ? v32 : 0;
		return done;
	default:
		return x86_load64(cpu, lin, val);
	}
}
static __always_inline bool store_elem(struct x86_cpu *cpu, u64 lin, unsigned int size, u64 val)
{
	switch (size) {
	case 1:
		return x86_store8(cpu, lin, (u8)val);
	case 2:
		return x86_store16(cpu, lin, (u16)val);
	case 4:
		return x86_store32(cpu, lin, (u32)val);
	default:
		return x86_store64(cpu, lin, val);
	}
}
static __always_inline u64 host_get(const u8 *p, unsigned int size)
{
	switch (size) {
	case 1:
		return emul_read8(p);
	case 2:
		return emul_read16(p);
	case 4:
		return emul_read32(p);
	default:
		return emul_read64(p);
	}
}
static __always_inline void host_put(u8 *p, unsigned int size, u64 val)
{
	switch (size) {
	case 1:
		emul_write8(p, (u8)val);
		break;
	case 2:
		emul_write16(p, (u16)val);
		break;
	case 4:
		emul_write32(p, (u32)val);
		break;
	default:
		emul_write64(p, val);
	}
}

static __always_inline void cc_compare(struct x86_state *s, u64 a, u64 b, unsigned int size)
{
	cc_sub(s, a, b, a - b, size * 8);
}

/* --- one step --- */

static __always_inline bool compares(enum str_op op)
{
	return op == STR_CMPS || op == STR_SCAS;
}
static __always_inline s64 str_delta(const struct x86_cpu *cpu, unsigned int size)
{
	return cpu->s.rflags & X86_DF ? -(s64)size : (s64)size;
}
static __always_inline void str_advance(struct x86_cpu *cpu, const struct uop *u, unsigned int reg, s64 by)
{
	gpr_set(cpu, reg, u->insn.addrsize, cpu->s.gpr[reg] + (u64)by);
}
static __always_inline bool src_linear(struct x86_cpu *cpu, const struct uop *u, unsigned int size, u64 *lin)
{
	return x86_linear(cpu, u->insn.seg, cpu->s.gpr[X86_RSI] & addr_mask(u), size, ACC_READ, lin);
}
static __always_inline bool dst_linear(struct x86_cpu *cpu, const struct uop *u, unsigned int size,
				       enum x86_access acc,
				       u64 *lin)
{
	return x86_linear(cpu, X86_ES, cpu->s.gpr[X86_RDI] & addr_mask(u), size, acc, lin);
}

/* I/O breakpoints, SDM vol. 3 "Data Breakpoint Exception Condition": a trap after the instruction or iteration */
static void port_watched(struct x86_cpu *cpu, u16 port, unsigned int size)
{
	if (unlikely(cpu->watch & X86_WATCH_IO))
		cpu->watch_hits |= (u8)x86_data_breakpoints(cpu, port, size, false, true);
}

/* The device may look at the state: it is precise. */
static void port_read(struct x86_cpu *cpu, const struct uop *u, u16 port, unsigned int size, u64 *val)
{
	u8 buf[8] = { 0 };

	cpu->s.rip = x86_this_rip(cpu, u);
	emul_io(&cpu->core, EMUL_PIO, port, buf, size, false);
	*val = host_get(buf, size);
	port_watched(cpu, port, size);
}
static void port_write(struct x86_cpu *cpu, const struct uop *u, u16 port, unsigned int size, u64 val)
{
	u8 buf[8];

	host_put(buf, size, val);
	cpu->s.rip = x86_this_rip(cpu, u);
	emul_io(&cpu->core, EMUL_PIO, port, buf, size, true);
	port_watched(cpu, port, size);
}

/* False: exception raised, nothing changed. */
static __always_inline bool str_step(struct x86_cpu *cpu, const struct uop *u, enum str_op op,
				     unsigned int size)
{
	s64 delta = str_delta(cpu, size);
	u64 src, dst, val, other;
	u16 port = (u16)cpu->s.gpr[X86_RDX];

	switch (op) {
	case STR_MOVS:
		if (!src_linear(cpu, u, size, &src) || !load_elem(cpu, src, size, &val) ||
		    !dst_linear(cpu, u, size, ACC_WRITE, &dst) || !store_elem(cpu, dst, size, val))
			return false;
		break;
	case STR_CMPS:
		/* which one comes first shows if both fault, and the manual does not say: as on the host's processor */
		if (!dst_linear(cpu, u, size, ACC_READ, &dst) || !load_elem(cpu, dst, size, &other) ||
		    !src_linear(cpu, u, size, &src) || !load_elem(cpu, src, size, &val))
			return false;
		cc_compare(&cpu->s, val, other, size);
		break;
	case STR_STOS:
		if (!dst_linear(cpu, u, size, ACC_WRITE, &dst) ||
		    !store_elem(cpu, dst, size, cpu->s.gpr[X86_RAX]))
			return false;
		break;
	case STR_LODS:
		if (!src_linear(cpu, u, size, &src) || !load_elem(cpu, src, size, &val))
			return false;
		gpr_set(cpu, X86_RAX, size, val);
		break;
	case STR_SCAS:
		if (!dst_linear(cpu, u, size, ACC_READ, &dst) || !load_elem(cpu, dst, size, &other))
			return false;
		cc_compare(&cpu->s, gpr_get(cpu, X86_RAX, size), other, size);
		break;
	case STR_INS:
		/* The device is read once only: make sure that what it says can be stored. */
		if (!x86_io_allowed(cpu, port, size) || !dst_linear(cpu, u, size, ACC_WRITE, &dst) ||
		    !x86_probe(cpu, dst, size, ACC_WRITE))
			return false;
		port_read(cpu, u, port, size, &val);
		if (!store_elem(cpu, dst, size, val))
			return false;
		break;
	case STR_OUTS:
		if (!x86_io_allowed(cpu, port, size) || !src_linear(cpu, u, size, &src) ||
		    !load_elem(cpu, src, size, &val))
			return false;
		port_write(cpu, u, port, size, val);
		break;
	}
	if (op == STR_MOVS || op == STR_CMPS || op == STR_LODS || op == STR_OUTS)
		str_advance(cpu, u, X86_RSI, delta);
	if (op != STR_LODS && op != STR_OUTS)
		str_advance(cpu, u, X86_RDI, delta);
	return true;
}

/* --- many steps in host memory --- */

/*
 * Where the next elements at @reg are in host memory: the address of the one to start with, and *n cut to how
 * many of them lie in its page, in its segment, and do not wrap round the address size. NULL: none.
 */
static u8 *str_span(struct x86_cpu *cpu, const struct uop *u, enum x86_seg seg, unsigned int reg,
		    unsigned int size,
		    enum x86_access acc, u64 *n)
{
	u64 mask = addr_mask(u), ea = cpu->s.gpr[reg] & mask, lin, room, first;
	bool down = cpu->s.rflags & X86_DF;
	u8 *p;

	if (mask - ea < size - 1 || !x86_linear(cpu, seg, ea, size, acc, &lin) ||
	    (lin & ~EMUL_PAGE_MASK) + size > EMUL_PAGE_SIZE)
		return NULL;
	if (down) {
		room = min((lin & ~EMUL_PAGE_MASK) / size + 1, ea / size + 1);
	} else {
		room = (EMUL_PAGE_SIZE - (lin & ~EMUL_PAGE_MASK)) / size;
		if (mask - ea < EMUL_PAGE_SIZE)
			room = min(room, (mask - ea + 1) / size);
	}
	*n = min(*n, room);
	first = down ? ea - (*n - 1) * size : ea;
	if (!cpu->code64 && !x86_linear(cpu, seg, first, (unsigned int)(*n * size), acc, &lin))
		return NULL;
	if (cpu->code64 && down)
		lin -= (*n - 1) * size;
	p = x86_host_ptr(cpu, lin, (unsigned int)(*n * size), acc);
	return p && down ? p + (*n - 1) * size : p;
}

/*
 * Copy @n elements as so many single moves would: where the destination overlaps the source in the direction
 * of travel, elements just written are read again.
 */
static __always_inline void move_elems(u8 *dst, const u8 *src, u64 n, unsigned int size, bool down)
{
	u64 len = n * size, ahead = down ? (u64)(src - dst) : (u64)(dst - src);

	if (likely(ahead - 1 >= len - 1)) {
		u64 back = down ? len - size : 0;

		memmove(dst - back, src - back, len);
		return;
	}
	for (; n; n--) {
		host_put(dst, size, host_get(src, size));
		dst += down ? -(s64)size : (s64)size;
		src += down ? -(s64)size : (s64)size;
	}
}

static __always_inline void fill_elems(u8 *dst, u64 val, u64 n, unsigned int size, bool down)
{
	u64 i;

	if (down)
		dst -= (n - 1) * size;
	if (val == (u8)val * (bits_mask(8 * size) / 0xff)) {
		memset(dst, (u8)val, n * size);
		return;
	}
	for (i = 0; i < n; i++)
		host_put(dst + i * size, size, val);
}

/*
 * A round in host memory, of up to *n iterations; *n becomes how many there were. *stop is set when a
 * comparison ends the repetition. False: not possible, nothing was done.
 */
static __always_inline bool str_round(struct x86_cpu *cpu, const struct uop *u, enum str_op op,
				      unsigned int size, u64 *n,
				      bool *stop)
{
	bool down = cpu->s.rflags & X86_DF, until = u->insn.flags & X86_IF_REPNE;
	s64 delta = str_delta(cpu, size);
	const u8 *src = NULL;
	u8 *dst = NULL;
	u64 a, b, i;

	if (op == STR_INS || op == STR_OUTS)
		return false;
	if (op == STR_MOVS || op == STR_CMPS || op == STR_LODS) {
		src = str_span(cpu, u, u->insn.seg, X86_RSI, size, ACC_READ, n);
		if (!src)
			return false;
	}
	if (op != STR_LODS) {
		dst = str_span(cpu, u, X86_ES, X86_RDI, size, compares(op) ? ACC_READ : ACC_WRITE, n);
		if (!dst)
			return false;
	}
	switch (op) {
	case STR_MOVS:
		move_elems(dst, src, *n, size, down);
		break;
	case STR_STOS:
		fill_elems(dst, gpr_get(cpu, X86_RAX, size), *n, size, down);
		break;
	case STR_LODS:
		gpr_set(cpu, X86_RAX, size, host_get(src + (s64)(*n - 1) * delta, size));
		break;
	default:
		a = gpr_get(cpu, X86_RAX, size);
		for (i = 0; ; src = op == STR_CMPS ? src + delta : src, dst += delta) {
			if (op == STR_CMPS)
				a = host_get(src, size);
			b = host_get(dst, size);
			if (++i == *n || (a == b) == until)
				break;
		}
		*n = i;
		*stop = (a == b) == until;
		cc_compare(&cpu->s, a, b, size);
	}
	if (src)
		str_advance(cpu, u, X86_RSI, (s64)*n * delta);
	if (dst)
		str_advance(cpu, u, X86_RDI, (s64)*n * delta);
	return true;
}

/* --- the whole instruction --- */

static __always_inline bool str_stops(const struct x86_cpu *cpu, const struct uop *u, enum str_op op)
{
	return compares(op) && cc_zf(&cpu->s) == !!(u->insn.flags & X86_IF_REPNE);
}
static __always_inline bool str_pending(const struct x86_cpu *cpu)
{
	return unlikely(atomic_load_explicit(&cpu->core.request, memory_order_relaxed) & ~EMUL_REQ_POKE);
}
static __always_inline int str_done(const struct x86_cpu *cpu, enum str_op op)
{
	return (op == STR_INS || op == STR_OUTS) && str_pending(cpu) ? X86_LEAVE : X86_NEXT;
}

static __always_inline int str_repeat(struct x86_cpu *cpu, const struct uop *u, enum str_op op,
				      unsigned int size)
{
	u64 count = cpu->s.gpr[X86_RCX] & addr_mask(u), n, i;
	const u64 cc_res = cpu->s.cc_res, cc_aux = cpu->s.cc_aux;
	bool stop = false;

	/* The right to the port is asked for even if there is nothing to do: so do processors, if not the manual. */
	if ((op == STR_INS || op == STR_OUTS) && !count &&
	    !x86_io_allowed(cpu, (u16)cpu->s.gpr[X86_RDX], size))
		return X86_FAULT;
	while (count && !stop) {
		n = min(count, (u64)EMUL_PAGE_SIZE);
		if (likely(!cpu->slow) && str_round(cpu, u, op, size, &n, &stop)) {
			count -= n;
			gpr_set(cpu, X86_RCX, u->insn.addrsize, count);
		} else {
			n = min(count, (u64)(cpu->slow || op == STR_INS || op == STR_OUTS ? 1 : ROUND_STEPS));
			for (i = 0; i < n && !stop; i++) {
				if (!str_step(cpu, u, op, size)) {
					/* SDM vol. 2 "REP": a fault finds the flags from before the instruction */
					cpu->s.cc_res = cc_res;
					cpu->s.cc_aux = cc_aux;
					return X86_FAULT;
				}
				gpr_set(cpu, X86_RCX, u->insn.addrsize, --count);
				stop = str_stops(cpu, u, op);
			}
		}
		if (count && !stop && (str_pending(cpu) || unlikely(cpu->slow)))
			return X86_AGAIN;
	}
	return str_done(cpu, op);
}

#define DEF_STR(name, op, size, bits)								\
HANDLER(name##bits)										\
{												\
	if (u->insn.flags & (X86_IF_REP | X86_IF_REPNE))					\
		return str_repeat(cpu, u, op, size);						\
	return str_step(cpu, u, op, size) ? str_done(cpu, op) : X86_FAULT;			\
}
#define STRING(NAME, name)									\
DEF_STR(name, STR_##NAME, 1, 8)									\
DEF_STR(name, STR_##NAME, 2, 16)								\
DEF_STR(name, STR_##NAME, 4, 32)								\
DEF_STR(name, STR_##NAME, 8, 64)								\
const struct interp_op interp_##NAME = { .fn = {						\
	BY_SIZE(name), BY_SIZE(name), BY_SIZE(name), BY_SIZE(name), BY_SIZE(name),		\
} };
/* There is no 64-bit port access: REX.W is ignored. */
#define STRING_IO(NAME, name)									\
DEF_STR(name, STR_##NAME, 1, 8)									\
DEF_STR(name, STR_##NAME, 2, 16)								\
DEF_STR(name, STR_##NAME, 4, 32)								\
const struct interp_op interp_##NAME = { .fn = {						\
	{ name##8, name##16, name##32, name##32 }, { name##8, name##16, name##32, name##32 },	\
	{ name##8, name##16, name##32, name##32 }, { name##8, name##16, name##32, name##32 },	\
	{ name##8, name##16, name##32, name##32 },						\
} };

STRING(MOVS, movs)
STRING(CMPS, cmps)
STRING(STOS, stos)
STRING(LODS, lods)
STRING(SCAS, scas)
STRING_IO(INS, ins)
STRING_IO(OUTS, outs)

/* --- IN, OUT: the port in the opcode (E4..E7) or in DX (EC..EF) --- */

static __always_inline u16 io_port(const struct x86_cpu *cpu, const struct uop *u)
{
	return u->insn.opcode & 8 ? (u16)cpu->s.gpr[X86_RDX] : (u8)u->insn.imm;
}
static __always_inline unsigned int io_size(const struct uop *u)
{
	return u->insn.opsize == 8 ? 4 : u->insn.opsize;
}
HANDLER(in)
{
	unsigned int size = io_size(u);
	u16 port = io_port(cpu, u);
	u64 val;

	if (!x86_io_allowed(cpu, port, size))
		return X86_FAULT;
	port_read(cpu, u, port, size, &val);
	gpr_set(cpu, X86_RAX, size, val);
	return str_pending(cpu) ? X86_LEAVE : X86_NEXT;
}
HANDLER(out)
{
	unsigned int size = io_size(u);
	u16 port = io_port(cpu, u);

	if (!x86_io_allowed(cpu, port, size))
		return X86_FAULT;
	port_write(cpu, u, port, size, cpu->s.gpr[X86_RAX]);
	return str_pending(cpu) ? X86_LEAVE : X86_NEXT;
}
const struct interp_op interp_IN = IOP_ALL(in);
const struct interp_op interp_OUT = IOP_ALL(out);
