// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmio.c - instructions whose memory operand is no memory
 *
 * An instruction is carried out in one piece or not at all: first all reads, then registers and
 * writes. A read that user space has to serve ends the attempt; its value is kept, and the next
 * KVM_RUN starts the instruction again with it at hand. Writes are collected and handed out one by
 * one when the instruction is done.
 *
 * Worked example, "add %eax, (%rbx)" on a device in user space:
 *	attempt 1: read of (%rbx) is unknown: KVM_EXIT_MMIO, read
 *	attempt 2: the read is there; sum and flags are computed, RIP moves on: KVM_EXIT_MMIO, write
 *	the next KVM_RUN enters the guest
 */
#include <linux/kvm.h>
#include <linux/nospec.h>
#include <asm/processor-flags.h>
#include <asm/msr-index.h>

#include "../emul/guest/x86/decode.h"
#include "tenon.h"
#include "trace.h"
#include "vendor.h"

enum emu_result {
	EMU_OK,
	EMU_USER,    /* user space has to serve a read */
	EMU_FAULT,   /* an exception is queued */
	EMU_UNKNOWN, /* not an instruction that is served here */
};

struct emu {
	struct tenon_vcpu *vcpu;
	const struct x86_row *row;
	const struct x86_insn *insn;
	struct tenon_code code;
	bool one_operand; /* in memory: it is where the processor says that the fault was */
};

#define EMU_MAX 32 /* bytes of an operand */

union value {
	u64 q[EMU_MAX / 8];
	u8 b[EMU_MAX];
};

#define FLAGS_ARITH                                                                      \
	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF | \
	 X86_EFLAGS_OF)

/* ---- memory ---- */

static u64 le_value(const void *data, unsigned int len)
{
	u64 value = 0;

	memcpy(&value, data, len);
	return value;
}

static enum emu_result mmio_read(struct tenon_vcpu *vcpu, u64 gpa, void *data, unsigned int len)
{
	struct tenon_mmio_frag *f;

	while (len) {
		const unsigned int part = min(len, 8u);

		if (!tenon_mmio_kernel(vcpu, gpa, part, false, data)) {
			if (vcpu->mmio.cursor >= TENON_MMIO_FRAGS)
				return EMU_UNKNOWN;
			f = &vcpu->mmio.rd[vcpu->mmio.cursor];
			if (vcpu->mmio.cursor >= vcpu->mmio.reads) {
				f->gpa = gpa;
				f->len = part;
				return EMU_USER;
			}
			memcpy(data, f->data, part);
			vcpu->mmio.cursor++;
		}
		if (trace_tenon_mmio_enabled())
			trace_tenon_mmio(vcpu->id, false, gpa, part, le_value(data, part));
		gpa += part;
		data += part;
		len -= part;
	}
	return EMU_OK;
}

static enum emu_result mmio_write(struct tenon_vcpu *vcpu, u64 gpa, const void *data,
				  unsigned int len)
{
	struct tenon_mmio_frag *f;

	while (len) {
		const unsigned int part = min(len, 8u);

		if (trace_tenon_mmio_enabled())
			trace_tenon_mmio(vcpu->id, true, gpa, part, le_value(data, part));
		if (!tenon_mmio_kernel(vcpu, gpa, part, true, (void *)data) &&
		    !tenon_ioeventfd_write(vcpu->vm, false, gpa, part, data) &&
		    !tenon_coalesced_write(vcpu, false, gpa, part, data)) {
			if (vcpu->mmio.writes >= TENON_MMIO_FRAGS)
				return EMU_UNKNOWN;
			f = &vcpu->mmio.wr[vcpu->mmio.writes++];
			f->gpa = gpa;
			f->len = part;
			memcpy(f->data, data, part);
		}
		gpa += part;
		data += part;
		len -= part;
	}
	return EMU_OK;
}

/*
 * Is this access the one that the processor has reported? What it could not write may be read-only memory; what it could
 * not read is none.
 */
static bool knows_gpa(const struct emu *e, u64 linear, unsigned int len, bool write)
{
	const struct tenon_vcpu *vcpu = e->vcpu;
	const unsigned int offset = linear & ~PAGE_MASK;

	return e->one_operand && vcpu->mmio.gpa != TENON_NO_GPA && write == vcpu->mmio.gpa_write &&
	       offset == (vcpu->mmio.gpa & ~PAGE_MASK) && len <= PAGE_SIZE - offset;
}

static noinline enum emu_result mem_access_walk(struct emu *e, u64 linear, void *data, unsigned int len, bool write)
{
	const u32 access = (write ? TENON_ACCESS_WRITE : 0) | (e->code.cpl == 3 ? TENON_ACCESS_USER : 0);
	struct tenon_vcpu *vcpu = e->vcpu;
	u64 gpa[2];
	unsigned int part[2], n, pages;
	u32 error;

	part[0] = min_t(unsigned int, len, PAGE_SIZE - (linear & ~PAGE_MASK));
	part[1] = len - part[0];
	pages = part[1] ? 2 : 1;
	/* Both pages are looked up before either is touched. */
	for (n = 0; n < pages; n++) {
		u64 at = linear + (n ? part[0] : 0);

		if (e->code.mode != X86_MODE_64)
			at = (u32)at;
		if (tenon_gva_to_gpa(vcpu, &e->code, at, access, &gpa[n], &error)) {
			tenon_queue_exception(vcpu, 14, true, error, at);
			return EMU_FAULT;
		}
	}
	for (n = 0; n < pages; n++) {
		enum emu_result r = EMU_OK;

		if (write) {
			if (tenon_write_phys(vcpu->vm, gpa[n], data, part[n]))
				r = mmio_write(vcpu, gpa[n], data, part[n]);
		} else if (tenon_read_phys(vcpu->vm, gpa[n], data, part[n])) {
			r = mmio_read(vcpu, gpa[n], data, part[n]);
		}
		if (r != EMU_OK)
			return r;
		data += part[n];
	}
	return EMU_OK;
}

/*
 * Not again by hand what the processor has looked up, and found the guest allowed to do, before it met with a hole in the
 * memory behind.
 */
static enum emu_result mem_access(struct emu *e, u64 linear, void *data, unsigned int len, bool write)
{
	struct tenon_vcpu *vcpu = e->vcpu;

	if (!knows_gpa(e, linear, len, write))
		return mem_access_walk(e, linear, data, len, write);
	return write ? mmio_write(vcpu, vcpu->mmio.gpa, data, len) : mmio_read(vcpu, vcpu->mmio.gpa, data, len);
}

static u64 reg_of(struct emu *e, unsigned int reg)
{
	return reg < 16 ? e->vcpu->gpr[array_index_nospec(reg, 16)] : 0;
}

static u64 addr_mask(struct emu *e)
{
	return e->insn->addrsize == 8 ? ~0ull : e->insn->addrsize == 4 ? 0xffffffffull : 0xffffull;
}

static enum emu_result mem_operand(struct emu *e, unsigned int len, bool write, u64 *linear)
{
	const struct x86_insn *insn = e->insn;
	u64 ea = insn->disp;

	if (insn->base == X86_REG_RIP)
		ea += e->vcpu->rip + insn->len;
	else
		ea += reg_of(e, insn->base);
	ea += reg_of(e, insn->index) << insn->scale;
	return tenon_linear(e->vcpu, &e->code, insn->seg, ea & addr_mask(e), len, write, linear) ? EMU_FAULT : EMU_OK;
}

/* ---- operands ---- */

static u64 gpr_read(struct emu *e, unsigned int reg, unsigned int size)
{
	if (size == 1 && !(e->insn->flags & X86_IF_REX) && reg >= 4 && reg < 8)
		return e->vcpu->gpr[reg - 4] >> 8 & 0xff;
	return reg_of(e, reg) & (size == 8 ? ~0ull : (1ull << size * 8) - 1);
}

static void gpr_write(struct emu *e, unsigned int reg, unsigned int size, u64 value)
{
	u64 *r = &e->vcpu->gpr[array_index_nospec(reg & 15, 16)];

	if (size == 1 && !(e->insn->flags & X86_IF_REX) && reg >= 4 && reg < 8) {
		r = &e->vcpu->gpr[reg - 4];
		*r = (*r & ~0xff00ull) | (value & 0xff) << 8;
		return;
	}
	switch (size) {
	case 1:
		*r = (*r & ~0xffull) | (value & 0xff);
		break;
	case 2:
		*r = (*r & ~0xffffull) | (value & 0xffff);
		break;
	case 4:
		*r = (u32)value;
		break;
	default:
		*r = value;
		break;
	}
}

static bool opnd_is_memory(const struct emu *e, const struct x86_opnd *o)
{
	if (!(e->insn->flags & X86_IF_MEM))
		return false;
	switch (o->kind) {
	case X86_OK_E:
	case X86_OK_M:
	case X86_OK_O:
	case X86_OK_W:
	case X86_OK_Q:
		return true;
	default:
		return false;
	}
}

static enum emu_result opnd_read(struct emu *e, const struct x86_opnd *o, union value *v)
{
	const struct x86_insn *insn = e->insn;
	const unsigned int size = x86_opnd_size(insn, o);
	u64 linear;
	enum emu_result r;

	memset(v, 0, sizeof(*v));
	if (!size || size > EMU_MAX)
		return EMU_UNKNOWN;
	if (opnd_is_memory(e, o)) {
		r = mem_operand(e, size, false, &linear);
		return r == EMU_OK ? mem_access(e, linear, v, size, false) : r;
	}
	switch (o->kind) {
	case X86_OK_E:
	case X86_OK_R:
	case X86_OK_Z:
		v->q[0] = gpr_read(e, insn->rm, size);
		return EMU_OK;
	case X86_OK_G:
		v->q[0] = gpr_read(e, insn->reg, size);
		return EMU_OK;
	case X86_OK_B:
		v->q[0] = gpr_read(e, insn->vvvv, size);
		return EMU_OK;
	case X86_OK_ACC:
		v->q[0] = gpr_read(e, X86_RAX, size);
		return EMU_OK;
	case X86_OK_I:
		v->q[0] = insn->imm;
		return EMU_OK;
	case X86_OK_CL:
		v->q[0] = gpr_read(e, X86_RCX, 1);
		return EMU_OK;
	case X86_OK_ONE:
		v->q[0] = 1;
		return EMU_OK;
	case X86_OK_V:
		return tenon_vec_read(e->vcpu, insn->reg, v, insn->flags & X86_IF_VEX) ?
			       EMU_UNKNOWN :
			       EMU_OK;
	default:
		return EMU_UNKNOWN;
	}
}

static enum emu_result opnd_write(struct emu *e, const struct x86_opnd *o, const union value *v)
{
	const struct x86_insn *insn = e->insn;
	const unsigned int size = x86_opnd_size(insn, o);
	u64 linear;
	enum emu_result r;

	if (!size || size > EMU_MAX)
		return EMU_UNKNOWN;
	if (opnd_is_memory(e, o)) {
		r = mem_operand(e, size, true, &linear);
		return r == EMU_OK ? mem_access(e, linear, (void *)v, size, true) : r;
	}
	switch (o->kind) {
	case X86_OK_E:
	case X86_OK_R:
	case X86_OK_Z:
		gpr_write(e, insn->rm, size, v->q[0]);
		return EMU_OK;
	case X86_OK_G:
		gpr_write(e, insn->reg, size, v->q[0]);
		return EMU_OK;
	case X86_OK_ACC:
		gpr_write(e, X86_RAX, size, v->q[0]);
		return EMU_OK;
	case X86_OK_V:
		return tenon_vec_write(e->vcpu, insn->reg, v, size, insn->flags & X86_IF_VEX) ?
			       EMU_UNKNOWN :
			       EMU_OK;
	default:
		return EMU_UNKNOWN;
	}
}

/* ---- arithmetic ---- */

static u64 mask_of(unsigned int size)
{
	return size == 8 ? ~0ull : (1ull << size * 8) - 1;
}

static void set_flags(struct emu *e, u64 mask, u64 flags)
{
	e->vcpu->rflags = (e->vcpu->rflags & ~mask) | (flags & mask);
}

static u64 flags_of(u64 result, unsigned int size)
{
	u64 flags = 0;

	result &= mask_of(size);
	if (!result)
		flags |= X86_EFLAGS_ZF;
	if (result >> (size * 8 - 1) & 1)
		flags |= X86_EFLAGS_SF;
	if (!(__builtin_popcount(result & 0xff) & 1))
		flags |= X86_EFLAGS_PF;
	return flags;
}

/* a + b + carry, with all flags. */
static u64 do_add(struct emu *e, u64 a, u64 b, bool carry, unsigned int size, u64 mask)
{
	const u64 r = (a + b + carry) & mask_of(size), sign = 1ull << (size * 8 - 1);
	u64 flags = flags_of(r, size);

	if (((a & b) | ((a | b) & ~r)) & sign)
		flags |= X86_EFLAGS_CF;
	if ((a ^ r) & (b ^ r) & sign)
		flags |= X86_EFLAGS_OF;
	if ((a ^ b ^ r) & 0x10)
		flags |= X86_EFLAGS_AF;
	set_flags(e, mask, flags);
	return r;
}

static u64 do_sub(struct emu *e, u64 a, u64 b, bool borrow, unsigned int size, u64 mask)
{
	const u64 r = (a - b - borrow) & mask_of(size), sign = 1ull << (size * 8 - 1);
	u64 flags = flags_of(r, size);

	if (((~a & b) | ((~a | b) & r)) & sign)
		flags |= X86_EFLAGS_CF;
	if ((a ^ b) & (a ^ r) & sign)
		flags |= X86_EFLAGS_OF;
	if ((a ^ b ^ r) & 0x10)
		flags |= X86_EFLAGS_AF;
	set_flags(e, mask, flags);
	return r;
}

static u64 do_alu(struct emu *e, unsigned int op, u64 a, u64 b, unsigned int size)
{
	const bool carry = e->vcpu->rflags & X86_EFLAGS_CF;
	u64 r;

	a &= mask_of(size);
	b &= mask_of(size);
	switch (op) {
	case X86_OP_ADD:
		return do_add(e, a, b, false, size, FLAGS_ARITH);
	case X86_OP_ADC:
		return do_add(e, a, b, carry, size, FLAGS_ARITH);
	case X86_OP_SUB:
	case X86_OP_CMP:
		return do_sub(e, a, b, false, size, FLAGS_ARITH);
	case X86_OP_SBB:
		return do_sub(e, a, b, carry, size, FLAGS_ARITH);
	case X86_OP_AND:
	case X86_OP_TEST:
		r = a & b;
		break;
	case X86_OP_OR:
		r = a | b;
		break;
	default:
		r = a ^ b;
		break;
	}
	set_flags(e, FLAGS_ARITH, flags_of(r, size));
	return r;
}

static bool condition(u64 flags, unsigned int cc)
{
	const bool cf = flags & X86_EFLAGS_CF, zf = flags & X86_EFLAGS_ZF,
		   sf = flags & X86_EFLAGS_SF;
	const bool of = flags & X86_EFLAGS_OF, pf = flags & X86_EFLAGS_PF;
	bool r;

	switch (cc >> 1 & 7) {
	case 0:
		r = of;
		break;
	case 1:
		r = cf;
		break;
	case 2:
		r = zf;
		break;
	case 3:
		r = cf || zf;
		break;
	case 4:
		r = sf;
		break;
	case 5:
		r = pf;
		break;
	case 6:
		r = sf != of;
		break;
	default:
		r = zf || sf != of;
		break;
	}
	return r != (cc & 1);
}

/* Sign-extend a value of @size bytes. */
static u64 sign(u64 value, unsigned int size)
{
	const unsigned int shift = 64 - size * 8;

	return (u64)((s64)(value << shift) >> shift);
}

/* ---- strings ---- */

static void string_add(struct emu *e, unsigned int reg, s64 delta)
{
	const u64 mask = addr_mask(e), old = e->vcpu->gpr[reg];

	e->vcpu->gpr[reg] = e->insn->addrsize == 2 ? (old & ~mask) | ((old + delta) & mask) :
						    (old + delta) & mask;
}

/* One element an attempt: with a repeat prefix, RIP stays until the count is through. */
static enum emu_result emu_string(struct emu *e, bool *again)
{
	const struct x86_insn *insn = e->insn;
	struct tenon_vcpu *vcpu = e->vcpu;
	const unsigned int size = insn->opsize;
	const bool rep = insn->flags & (X86_IF_REP | X86_IF_REPNE);
	const s64 step = vcpu->rflags & X86_EFLAGS_DF ? -(s64)size : size;
	u64 from, to, a = 0, b = 0;
	bool si = false, di = false;
	enum emu_result r = EMU_OK;

	*again = false;
	if (rep && !(vcpu->gpr[X86_RCX] & addr_mask(e)))
		return EMU_OK;
	switch (insn->op) {
	case X86_OP_MOVS:
	case X86_OP_CMPS:
		si = true;
		di = true;
		break;
	case X86_OP_LODS:
		si = true;
		break;
	default:
		di = true;
		break;
	}
	if (si &&
	    tenon_linear(vcpu, &e->code, insn->seg, vcpu->gpr[X86_RSI] & addr_mask(e), size, false, &from))
		return EMU_FAULT;
	if (di && tenon_linear(vcpu, &e->code, X86_ES, vcpu->gpr[X86_RDI] & addr_mask(e), size,
			       insn->op == X86_OP_MOVS || insn->op == X86_OP_STOS, &to))
		return EMU_FAULT;
	if (si)
		r = mem_access(e, from, &a, size, false);
	if (r != EMU_OK)
		return r;
	switch (insn->op) {
	case X86_OP_MOVS:
		r = mem_access(e, to, &a, size, true);
		break;
	case X86_OP_STOS:
		a = vcpu->gpr[X86_RAX];
		r = mem_access(e, to, &a, size, true);
		break;
	case X86_OP_LODS:
		gpr_write(e, X86_RAX, size, a);
		break;
	case X86_OP_SCAS:
		a = vcpu->gpr[X86_RAX];
		fallthrough;
	default:
		r = mem_access(e, to, &b, size, false);
		if (r == EMU_OK)
			do_alu(e, X86_OP_CMP, a, b, size);
		break;
	}
	if (r != EMU_OK)
		return r;
	if (si)
		string_add(e, X86_RSI, step);
	if (di)
		string_add(e, X86_RDI, step);
	if (rep) {
		string_add(e, X86_RCX, -1);
		*again = vcpu->gpr[X86_RCX] & addr_mask(e);
		if (insn->op == X86_OP_CMPS || insn->op == X86_OP_SCAS) {
			const bool zf = vcpu->rflags & X86_EFLAGS_ZF;

			if (zf != !(insn->flags & X86_IF_REPNE))
				*again = false;
		}
	}
	return EMU_OK;
}

/* ---- instructions ---- */

static enum emu_result emu_bit(struct emu *e)
{
	const struct x86_opnd *s = &e->row->opnd[1];
	const unsigned int size = e->insn->opsize, bits = size * 8;
	union value v, index;
	u64 linear, bit;
	enum emu_result r;

	r = opnd_read(e, s, &index);
	if (r == EMU_OK)
		r = mem_operand(e, size, e->insn->op != X86_OP_BT, &linear);
	if (r != EMU_OK)
		return r;
	/* A bit number in a register reaches beyond the operand, either way. */
	if (s->kind != X86_OK_I) {
		s64 n = sign(index.q[0], size);

		linear += (n >> __builtin_ctz(bits)) * (s64)size;
		if (e->code.mode != X86_MODE_64)
			linear = (u32)linear;
	}
	memset(&v, 0, sizeof(v));
	r = mem_access(e, linear, &v, size, false);
	if (r != EMU_OK)
		return r;
	bit = 1ull << (index.q[0] & (bits - 1));
	index.q[0] = v.q[0] & bit;
	switch (e->insn->op) {
	case X86_OP_BTS:
		v.q[0] |= bit;
		break;
	case X86_OP_BTR:
		v.q[0] &= ~bit;
		break;
	case X86_OP_BTC:
		v.q[0] ^= bit;
		break;
	}
	if (e->insn->op != X86_OP_BT)
		r = mem_access(e, linear, &v, size, true);
	if (r == EMU_OK)
		set_flags(e, X86_EFLAGS_CF, index.q[0] ? X86_EFLAGS_CF : 0);
	return r;
}

static enum emu_result emu_one(struct emu *e, bool *again)
{
	const struct x86_insn *insn = e->insn;
	const struct x86_opnd *o = e->row->opnd;
	union value a, b;
	unsigned int size;
	enum emu_result r;
	u64 old;

	switch (insn->op) {
	case X86_OP_MOVS:
	case X86_OP_STOS:
	case X86_OP_LODS:
	case X86_OP_CMPS:
	case X86_OP_SCAS:
		return emu_string(e, again);
	case X86_OP_BT:
	case X86_OP_BTS:
	case X86_OP_BTR:
	case X86_OP_BTC:
		return insn->flags & X86_IF_MEM ? emu_bit(e) : EMU_UNKNOWN;
	}
	if (!(insn->flags & X86_IF_MEM))
		return EMU_UNKNOWN;
	if (likely(insn->op == X86_OP_MOV)) {
		r = opnd_read(e, &o[1], &a);
		return r == EMU_OK ? opnd_write(e, &o[0], &a) : r;
	}

	size = x86_opnd_size(insn, &o[0]);
	switch (insn->op) {
	case X86_OP_MOVNTI:
	case X86_OP_MOVZXB:
	case X86_OP_MOVZXW:
	case X86_OP_MOVUPS:
	case X86_OP_MOVUPD:
	case X86_OP_MOVAPS:
	case X86_OP_MOVAPD:
	case X86_OP_MOVDQA:
	case X86_OP_MOVDQU:
	case X86_OP_LDDQU:
	case X86_OP_MOVD:
	case X86_OP_MOVQ:
	case X86_OP_MOVNTPS:
	case X86_OP_MOVNTPD:
	case X86_OP_MOVNTDQ:
	case X86_OP_MOVNTDQA:
		r = opnd_read(e, &o[1], &a);
		return r == EMU_OK ? opnd_write(e, &o[0], &a) : r;
	case X86_OP_MOVSXB:
	case X86_OP_MOVSXW:
	case X86_OP_MOVSXD:
		r = opnd_read(e, &o[1], &a);
		if (r != EMU_OK)
			return r;
		a.q[0] = sign(a.q[0], x86_opnd_size(insn, &o[1]));
		return opnd_write(e, &o[0], &a);
	case X86_OP_MOVBE:
		r = opnd_read(e, &o[1], &a);
		if (r != EMU_OK)
			return r;
		a.q[0] = __builtin_bswap64(a.q[0]) >> (64 - size * 8);
		return opnd_write(e, &o[0], &a);
	case X86_OP_CMOVCC:
		r = opnd_read(e, &o[1], &a);
		if (r != EMU_OK)
			return r;
		if (!condition(e->vcpu->rflags, insn->opcode))
			a.q[0] = gpr_read(e, insn->reg, size);
		return opnd_write(e, &o[0], &a);
	case X86_OP_SETCC:
		memset(&a, 0, sizeof(a));
		a.q[0] = condition(e->vcpu->rflags, insn->opcode);
		return opnd_write(e, &o[0], &a);
	case X86_OP_ADD:
	case X86_OP_OR:
	case X86_OP_ADC:
	case X86_OP_SBB:
	case X86_OP_AND:
	case X86_OP_SUB:
	case X86_OP_XOR:
	case X86_OP_CMP:
	case X86_OP_TEST:
		r = opnd_read(e, &o[0], &a);
		if (r == EMU_OK)
			r = opnd_read(e, &o[1], &b);
		if (r != EMU_OK)
			return r;
		old = e->vcpu->rflags;
		a.q[0] = do_alu(e, insn->op, a.q[0], b.q[0], size);
		if (insn->op == X86_OP_CMP || insn->op == X86_OP_TEST)
			return EMU_OK;
		r = opnd_write(e, &o[0], &a);
		if (r != EMU_OK)
			e->vcpu->rflags = old;
		return r;
	case X86_OP_INC:
	case X86_OP_DEC:
	case X86_OP_NEG:
	case X86_OP_NOT:
		r = opnd_read(e, &o[0], &a);
		if (r != EMU_OK)
			return r;
		old = e->vcpu->rflags;
		if (insn->op == X86_OP_INC)
			a.q[0] = do_add(e, a.q[0], 1, false, size, FLAGS_ARITH & ~X86_EFLAGS_CF);
		else if (insn->op == X86_OP_DEC)
			a.q[0] = do_sub(e, a.q[0], 1, false, size, FLAGS_ARITH & ~X86_EFLAGS_CF);
		else if (insn->op == X86_OP_NEG)
			a.q[0] = do_sub(e, 0, a.q[0], false, size, FLAGS_ARITH);
		else
			a.q[0] = ~a.q[0];
		r = opnd_write(e, &o[0], &a);
		if (r != EMU_OK)
			e->vcpu->rflags = old;
		return r;
	case X86_OP_XCHG:
		r = opnd_read(e, &o[0], &a);
		if (r == EMU_OK)
			r = opnd_read(e, &o[1], &b);
		if (r == EMU_OK)
			r = opnd_write(e, &o[opnd_is_memory(e, &o[0]) ? 0 : 1],
				       opnd_is_memory(e, &o[0]) ? &b : &a);
		if (r == EMU_OK)
			r = opnd_write(e, &o[opnd_is_memory(e, &o[0]) ? 1 : 0],
				       opnd_is_memory(e, &o[0]) ? &a : &b);
		return r;
	case X86_OP_XADD:
		r = opnd_read(e, &o[0], &a);
		if (r == EMU_OK)
			r = opnd_read(e, &o[1], &b);
		if (r != EMU_OK)
			return r;
		old = e->vcpu->rflags;
		b.q[0] = do_alu(e, X86_OP_ADD, a.q[0], b.q[0], size);
		r = opnd_write(e, &o[0], &b);
		if (r != EMU_OK) {
			e->vcpu->rflags = old;
			return r;
		}
		return opnd_write(e, &o[1], &a);
	case X86_OP_CMPXCHG:
		r = opnd_read(e, &o[0], &a);
		if (r == EMU_OK)
			r = opnd_read(e, &o[1], &b);
		if (r != EMU_OK)
			return r;
		old = e->vcpu->rflags;
		do_alu(e, X86_OP_CMP, gpr_read(e, X86_RAX, size), a.q[0], size);
		if (e->vcpu->rflags & X86_EFLAGS_ZF) {
			r = opnd_write(e, &o[0], &b);
		} else {
			r = opnd_write(e, &o[0], &a);
			if (r == EMU_OK)
				gpr_write(e, X86_RAX, size, a.q[0]);
		}
		if (r != EMU_OK)
			e->vcpu->rflags = old;
		return r;
	default:
		return EMU_UNKNOWN;
	}
}

/* ---- the way to user space and back ---- */

static int emulate(struct tenon_vcpu *vcpu, const u8 *bytes, unsigned int nbytes);
static int carry_out(struct emu *e);

static void mmio_exit(struct tenon_vcpu *vcpu, const struct tenon_mmio_frag *f, bool write)
{
	struct kvm_run *run = vcpu->run;

	vcpu->stats.mmio_user++;
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = f->gpa;
	run->mmio.len = f->len;
	run->mmio.is_write = write;
	if (write)
		memcpy(run->mmio.data, f->data, sizeof(run->mmio.data));
}

static int mmio_read_done(struct tenon_vcpu *vcpu)
{
	struct tenon_mmio_frag *f = &vcpu->mmio.rd[vcpu->mmio.reads];

	memcpy(f->data, vcpu->run->mmio.data, sizeof(f->data));
	vcpu->mmio.reads++;
	/* The same instruction, unless the caller has moved RIP. */
	if (likely(vcpu->mmio.insn && vcpu->mmio.rip == vcpu->rip)) {
		struct emu e = { .vcpu = vcpu, .insn = vcpu->mmio.insn };

		tenon_vendor->get_code(vcpu, &e.code);
		return carry_out(&e);
	}
	vcpu->mmio.gpa = TENON_NO_GPA;
	return emulate(vcpu, NULL, 0);
}

static int mmio_write_next(struct tenon_vcpu *vcpu)
{
	if (vcpu->mmio.written >= vcpu->mmio.writes) {
		vcpu->mmio.writes = 0;
		vcpu->mmio.written = 0;
		return 1;
	}
	mmio_exit(vcpu, &vcpu->mmio.wr[vcpu->mmio.written++], true);
	/* The last one leaves nothing to come back for. */
	vcpu->complete = mmio_write_next;
	return 0;
}

/* What is not served here goes to user space, with the bytes. */
static int emulation_failure(struct tenon_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u8 bytes[TENON_FETCH_MAX];
	struct tenon_code code;
	unsigned int n = 0;

	tenon_vendor->get_code(vcpu, &code);
	if (tenon_fetch(vcpu, &code, bytes, &n) == -EFAULT)
		return 1;
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.ndata = 3;
	run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	n = min_t(unsigned int, n, sizeof(run->emulation_failure.insn_bytes));
	run->emulation_failure.insn_size = n;
	memset(run->emulation_failure.insn_bytes, 0x90, sizeof(run->emulation_failure.insn_bytes));
	memcpy(run->emulation_failure.insn_bytes, bytes, n);
	vcpu->mmio.reads = 0;
	return 0;
}

/* Of a decoded instruction, all or nothing. */
static int carry_out(struct emu *e)
{
	struct tenon_vcpu *vcpu = e->vcpu;
	bool again = false;
	u64 next;

	e->row = &x86_rows[array_index_nospec(e->insn->row, x86_row_count)];
	switch (e->insn->op) {
	case X86_OP_MOVS:
	case X86_OP_CMPS:
	case X86_OP_BT:
	case X86_OP_BTS:
	case X86_OP_BTR:
	case X86_OP_BTC:
		/* Two of them, or one whose address depends on more than the encoding shows. */
		break;
	default:
		e->one_operand = true;
	}
	vcpu->mmio.cursor = 0;
	vcpu->mmio.writes = 0;
	vcpu->mmio.written = 0;
	vcpu->mmio.insn = NULL;

	switch (emu_one(e, &again)) {
	case EMU_USER:
		vcpu->mmio.insn = e->insn;
		vcpu->mmio.rip = vcpu->rip;
		mmio_exit(vcpu, &vcpu->mmio.rd[vcpu->mmio.reads], false);
		vcpu->complete = mmio_read_done;
		return 0;
	case EMU_FAULT:
		vcpu->mmio.reads = 0;
		return 1;
	case EMU_UNKNOWN:
		return emulation_failure(vcpu);
	case EMU_OK:
		break;
	}
	vcpu->mmio.reads = 0;
	next = vcpu->rip + (again ? 0 : e->insn->len);
	tenon_advance(vcpu, e->code.mode == X86_MODE_64 ? next : (u32)next);
	return mmio_write_next(vcpu);
}

/* @bytes: the instruction as the processor has read it, if it says so. */
static int emulate(struct tenon_vcpu *vcpu, const u8 *bytes, unsigned int nbytes)
{
	u8 fetched[TENON_FETCH_MAX];
	struct emu e = { .vcpu = vcpu };
	int ret;

	tenon_vendor->get_code(vcpu, &e.code);
	if (nbytes)
		e.insn = tenon_decode(vcpu, &e.code, bytes, nbytes);
	/* The processor gives no more bytes than there are in one page. */
	if (!e.insn) {
		ret = tenon_fetch(vcpu, &e.code, fetched, &nbytes);
		if (ret == -EFAULT)
			return 1;
		if (!ret)
			e.insn = tenon_decode(vcpu, &e.code, fetched, nbytes);
	}
	return e.insn ? carry_out(&e) : emulation_failure(vcpu);
}

/*
 * An access that met with no memory. @gpa: where, if it was that of an operand; @access: TENON_ACCESS_WRITE, or 0.
 */
int tenon_mmio_fault(struct tenon_vcpu *vcpu, u64 gpa, u32 access, const u8 *bytes, unsigned int nbytes)
{
	vcpu->mmio.reads = 0;
	vcpu->mmio.gpa = gpa;
	vcpu->mmio.gpa_write = access & TENON_ACCESS_WRITE;
	return emulate(vcpu, bytes, nbytes);
}

/*
 * The instruction that these bytes are, or NULL; valid until the next call. What a driver does to its device, it does
 * again and again: the last few are kept, by their bytes, which alone decide what they mean in a mode.
 */
const struct x86_insn *tenon_decode(struct tenon_vcpu *vcpu, const struct tenon_code *code, const u8 *bytes,
				    unsigned int n)
{
	/* Prefix, opcode and operands are in the first three, whatever their order. */
	const unsigned int at = n < 3 ? 0 : (bytes[0] ^ bytes[1] ^ bytes[2] ^ bytes[2] >> 4) % TENON_DECODED;
	struct tenon_decoded *d = &vcpu->decoded[array_index_nospec(at, TENON_DECODED)];

	if (d->insn.len && d->insn.len <= n && d->mode == code->mode && !memcmp(d->bytes, bytes, d->insn.len))
		return &d->insn;
	d->mode = code->mode;
	if (x86_decode(&d->insn, bytes, n, code->mode) != X86_DECODE_OK) {
		d->insn.len = 0;
		return NULL;
	}
	memcpy(d->bytes, bytes, d->insn.len);
	return &d->insn;
}

/*
 * Length of an instruction that exits, where its bytes alone tell: no prefixes, no operand in memory. 0 where they do
 * not.
 */
static unsigned int plain_length(const u8 *bytes)
{
	if (bytes[0] == 0xf4)
		return 1; /* HLT */
	if (bytes[0] != 0x0f)
		return 0;
	switch (bytes[1]) {
	case 0x01: /* VMMCALL, XSETBV and their like */
		return bytes[2] >= 0xc0 ? 3 : 0;
	case 0x08: /* INVD */
	case 0x09: /* WBINVD */
	case 0x30: /* WRMSR */
	case 0x32: /* RDMSR */
	case 0xa2: /* CPUID */
		return 2;
	default:
		return 0;
	}
}

/* Step over the instruction that has just been carried out. */
int tenon_skip_insn(struct tenon_vcpu *vcpu)
{
	u64 next = tenon_vendor->next_rip(vcpu);
	const struct x86_insn *insn;
	struct tenon_code code;
	u8 bytes[TENON_FETCH_MAX];
	unsigned int n, len;
	int ret;

	if (!next) {
		tenon_vendor->get_code(vcpu, &code);
		ret = tenon_fetch(vcpu, &code, bytes, &n);
		if (ret == -EFAULT)
			return 1;
		if (ret)
			return emulation_failure(vcpu);
		len = n >= 3 ? plain_length(bytes) : 0;
		if (!len) {
			insn = tenon_decode(vcpu, &code, bytes, n);
			if (!insn)
				return emulation_failure(vcpu);
			len = insn->len;
		}
		next = vcpu->rip + len;
		if (code.mode != X86_MODE_64)
			next = (u32)next;
	}
	tenon_advance(vcpu, next);
	return 1;
}
