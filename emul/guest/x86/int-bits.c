// SPDX-License-Identifier: GPL-2.0-only
/*
 * int-bits.c - single bits, bit scans and counts, BMI, ADX, CRC32
 */
#include "int-common.h"

/* --- BT, BTS, BTR, BTC: CF is the bit, the other flags stay --- */

#define BIT_OP(name, expr)									\
static __always_inline u64 name##_calc(u64 a, u64 m __maybe_unused)				\
{												\
	return expr;										\
}
BIT_OP(bt, a)
BIT_OP(bts, a | m)
BIT_OP(btr, a & ~m)
BIT_OP(btc, a ^ m)

/*
 * Address of the operand-sized word that holds the bit: a register offset is signed and reaches beyond the
 * operand, SDM vol. 1 "Bit(BitBase, BitOffset)".
 */
#define BIT_ADDR(bits)										\
static __always_inline bool bit_addr##bits(struct x86_cpu *cpu, const struct uop *u, enum x86_access acc, \
					   u64 *lin)						\
{												\
	s64 word = (s##bits)get##bits(cpu, u->s) >> ((bits) == 64 ? 6 : (bits) == 32 ? 5 : 4);	\
												\
	return x86_linear(cpu, u->insn.seg, (x86_ea(cpu, u) + (u64)word * ((bits) / 8)) & u->ea_mask, \
			  (bits) / 8,								\
			  acc, lin);								\
}
BIT_ADDR(16)
BIT_ADDR(32)
BIT_ADDR(64)

#define BT_REG(name, form, write, rhs, bits)							\
HANDLER(name##_##form##bits)									\
{												\
	unsigned int n = (rhs) & ((bits) - 1);							\
	u##bits a = get##bits(cpu, u->d);							\
												\
	if (write)										\
		put##bits(cpu, u->d, name##_calc(a, 1ULL << n));				\
	cc_put_cf(&cpu->s, a >> n & 1);								\
	return X86_NEXT;									\
}
#define BT_RMW(name, form, addr, rhs, bits)							\
HANDLER(name##_##form##bits)									\
{												\
	unsigned int n = (rhs) & ((bits) - 1);							\
	u##bits a, r;										\
	u64 lin;										\
												\
	if (!addr)										\
		return X86_FAULT;								\
	RMW(bits, lin, a, r, name##_calc(a, 1ULL << n));					\
	(void)r;										\
	cc_put_cf(&cpu->s, a >> n & 1);								\
	return X86_NEXT;									\
}
#define BT_RD(name, form, addr, rhs, bits)							\
HANDLER(name##_##form##bits)									\
{												\
	unsigned int n = (rhs) & ((bits) - 1);							\
	u##bits a;										\
	u64 lin;										\
												\
	if (!addr || !x86_load##bits(cpu, lin, &a))						\
		return X86_FAULT;								\
	cc_put_cf(&cpu->s, a >> n & 1);								\
	return X86_NEXT;									\
}
#define BT_LOCK(name, form, addr, rhs, bits)							\
HANDLER(name##_##form##bits)									\
{												\
	unsigned int n = (rhs) & ((bits) - 1);							\
	u##bits a, *p;										\
	int outcome;										\
	u64 lin;										\
												\
	if (!addr)										\
		return X86_FAULT;								\
	p = lock_ptr(cpu, lin, (bits) / 8, &outcome);						\
	if (!p)											\
		return outcome;									\
	a = __atomic_load_n(p, __ATOMIC_RELAXED);						\
	while (!LOCK_CAS(p, a, name##_calc(a, 1ULL << n)))					\
		;										\
	cc_put_cf(&cpu->s, a >> n & 1);								\
	return X86_NEXT;									\
}
#define ADDR_STR(bits, acc)	bit_addr##bits(cpu, u, acc, &lin)
#define ADDR_IMM(bits, acc)	x86_operand(cpu, u, (bits) / 8, acc, &lin)

#define DEF_BT(name, bits)									\
	BT_REG(name, rr, false, get##bits(cpu, u->s), bits)					\
	BT_REG(name, ri, false, u->insn.imm, bits)						\
	BT_RD(name, mr, ADDR_STR(bits, ACC_READ), get##bits(cpu, u->s), bits)			\
	BT_RD(name, mi, ADDR_IMM(bits, ACC_READ), u->insn.imm, bits)
#define DEF_BTX(name, bits)									\
	BT_REG(name, rr, true, get##bits(cpu, u->s), bits)					\
	BT_REG(name, ri, true, u->insn.imm, bits)						\
	BT_RMW(name, mr, ADDR_STR(bits, ACC_WRITE), get##bits(cpu, u->s), bits)			\
	BT_RMW(name, mi, ADDR_IMM(bits, ACC_WRITE), u->insn.imm, bits)				\
	BT_LOCK(name, lmr, ADDR_STR(bits, ACC_WRITE), get##bits(cpu, u->s), bits)		\
	BT_LOCK(name, lmi, ADDR_IMM(bits, ACC_WRITE), u->insn.imm, bits)
#define BTX(NAME, name)										\
V_SIZES(DEF_BTX, name)										\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE_V(name##_rr), [FORM_RI] = BY_SIZE_V(name##_ri),			\
	[FORM_MR] = BY_SIZE_V(name##_mr), [FORM_MI] = BY_SIZE_V(name##_mi),			\
	[FORM_LMR] = BY_SIZE_V(name##_lmr), [FORM_LMI] = BY_SIZE_V(name##_lmi),			\
} };

V_SIZES(DEF_BT, bt)
const struct interp_op interp_BT = { .fn = {
	[FORM_RR] = BY_SIZE_V(bt_rr), [FORM_RI] = BY_SIZE_V(bt_ri),
	[FORM_MR] = BY_SIZE_V(bt_mr), [FORM_MI] = BY_SIZE_V(bt_mi),
} };
BTX(BTS, bts)
BTX(BTR, btr)
BTX(BTC, btc)

/* --- scans and counts: register from register or memory --- */

#define SCAN_RR(name, bits)									\
HANDLER(name##_rr##bits)									\
{												\
	name##_do##bits(cpu, u, get##bits(cpu, u->s));						\
	return X86_NEXT;									\
}
#define SCAN_RM(name, bits)									\
HANDLER(name##_rm##bits)									\
{												\
	u##bits a;										\
	u64 lin;										\
												\
	if (!x86_operand(cpu, u, (bits) / 8, ACC_READ, &lin) || !x86_load##bits(cpu, lin, &a))	\
		return X86_FAULT;								\
	name##_do##bits(cpu, u, a);								\
	return X86_NEXT;									\
}
#define DEF_SCAN(name, expr, zero_writes, flags, w)						\
static __always_inline void name##_do##w(struct x86_cpu *cpu, const struct uop *u, u##w a)	\
{												\
	const unsigned int bits = w;								\
	u##w r = a ? (u##w)(expr) : bits;							\
												\
	if (a || zero_writes)									\
		put##w(cpu, u->d, r);								\
	flags;											\
}												\
SCAN_RR(name, w)										\
SCAN_RM(name, w)
#define SCAN(NAME, name, ...)									\
V_SIZES(DEF_SCAN, name, __VA_ARGS__)								\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = BY_SIZE_V(name##_rr), [FORM_RM] = BY_SIZE_V(name##_rm),			\
} };

/*
 * Of a zero source BSF and BSR leave the destination alone: AMD APM vol. 3 says so, and Intel's processors do
 * it.
 */
SCAN(BSF, bsf, __builtin_ctzll(a), false, cc_result(&cpu->s, a, false, false, bits))
SCAN(BSR, bsr, 63 - __builtin_clzll(a), false, cc_result(&cpu->s, a, false, false, bits))
SCAN(TZCNT, tzcnt, __builtin_ctzll(a), true, cc_result(&cpu->s, r, !a, false, bits))
SCAN(LZCNT, lzcnt, __builtin_clzll(a) - (64 - bits), true, cc_result(&cpu->s, r, !a, false, bits))

static __always_inline unsigned int popcount(u64 v)
{
	v -= v >> 1 & 0x5555555555555555ULL;
	v = (v & 0x3333333333333333ULL) + (v >> 2 & 0x3333333333333333ULL);
	v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return v * 0x0101010101010101ULL >> 56;
}
#define DEF_POPCNT(name, bits)									\
static __always_inline void name##_do##bits(struct x86_cpu *cpu, const struct uop *u, u##bits a) \
{												\
	put##bits(cpu, u->d, popcount(a));							\
	cc_set(&cpu->s, a ? 0 : X86_ZF);							\
}												\
SCAN_RR(name, bits)										\
SCAN_RM(name, bits)
V_SIZES(DEF_POPCNT, popcnt)
const struct interp_op interp_POPCNT = { .fn = {
	[FORM_RR] = BY_SIZE_V(popcnt_rr), [FORM_RM] = BY_SIZE_V(popcnt_rm),
} };

/* The result for 16 bits is undefined; processors clear the register's low half. */
HANDLER(bswap16)
{
	put16(cpu, u->d, 0);
	return X86_NEXT;
}
HANDLER(bswap32)
{
	put32(cpu, u->d, __builtin_bswap32(get32(cpu, u->d)));
	return X86_NEXT;
}
HANDLER(bswap64)
{
	put64(cpu, u->d, __builtin_bswap64(get64(cpu, u->d)));
	return X86_NEXT;
}
const struct interp_op interp_BSWAP = { .fn = { [FORM_RR] = { NULL, bswap16, bswap32, bswap64 } } };

/* --- BMI: VEX-encoded, of 32 bits, or 64 with W in 64-bit mode (elsewhere W is ignored) --- */

static __always_inline unsigned int vex_bits(const struct x86_cpu *cpu, const struct uop *u)
{
	return (u->insn.flags & X86_IF_W) && cpu->code64 ? 64 : 32;
}
/* The r/m operand, zero-extended. */
static __always_inline bool vex_rm(struct x86_cpu *cpu, const struct uop *u, unsigned int bits, u64 *val)
{
	u64 lin;
	u32 v32;

	if (!(u->insn.flags & X86_IF_MEM)) {
		*val = gpr_get(cpu, u->insn.rm, bits / 8);
		return true;
	}
	if (!x86_operand(cpu, u, bits / 8, ACC_READ, &lin))
		return false;
	if (bits == 64)
		return x86_load64(cpu, lin, val);
	if (!x86_load32(cpu, lin, &v32))
		return false;
	*val = v32;
	return true;
}

/* @stmt computes r from e (r/m) and v (vvvv) and notes the flags in s; the result goes to register @dest. */
#define BMI(NAME, dest, stmt)									\
static __always_inline int do_##NAME(struct x86_cpu *cpu, const struct uop *u, unsigned int bits) \
{												\
	struct x86_state *s __maybe_unused = &cpu->s;						\
	u64 e, r, v __maybe_unused = gpr_get(cpu, u->insn.vvvv, bits / 8);			\
												\
	if (!vex_rm(cpu, u, bits, &e))								\
		return X86_FAULT;								\
	stmt;											\
	gpr_set(cpu, dest, bits / 8, r);							\
	return X86_NEXT;									\
}												\
HANDLER(bmi_##NAME)										\
{												\
	return vex_bits(cpu, u) == 64 ? do_##NAME(cpu, u, 64) : do_##NAME(cpu, u, 32);		\
}												\
const struct interp_op interp_##NAME = IOP_ALL(bmi_##NAME);

static __always_inline u64 low_bits(u64 v, unsigned int n)
{
	return n >= 64 ? v : v & (BIT_ULL(n) - 1);
}

static u64 deposit(u64 src, u64 mask)
{
	u64 r = 0;

	for (; mask; mask &= mask - 1, src >>= 1)
		if (src & 1)
			r |= mask & -mask;
	return r;
}
static u64 extract(u64 src, u64 mask)
{
	u64 r = 0;
	unsigned int n = 0;

	for (; mask; mask &= mask - 1, n++)
		if (src & mask & -mask)
			r |= BIT_ULL(n);
	return r;
}

BMI(ANDN, u->insn.reg, r = ~v & e; cc_logic(s, r, bits))
BMI(BEXTR, u->insn.reg,
    r = (v & 0xff) < bits ? low_bits(e >> (v & 0x3f), v >> 8 & 0xff) : 0;
    cc_logic(s, r, bits))
BMI(BLSI, u->insn.vvvv, r = e & -e; cc_result(s, r, e != 0, false, bits))
BMI(BLSMSK, u->insn.vvvv, r = e ^ (e - 1); cc_result(s, r, e == 0, false, bits))
BMI(BLSR, u->insn.vvvv, r = e & (e - 1); cc_result(s, r, e == 0, false, bits))
BMI(BZHI, u->insn.reg, r = low_bits(e, v & 0xff); cc_result(s, r, (v & 0xff) >= bits, false, bits))
BMI(PDEP, u->insn.reg, r = deposit(v, e))
BMI(PEXT, u->insn.reg, r = extract(v, e))
BMI(RORX, u->insn.reg,
    unsigned int n = u->insn.imm & (bits - 1);
    r = n ? e >> n | e << (bits - n) : e)
BMI(SARX, u->insn.reg, r = (u64)((s64)cc_sext(e, bits) >> (v & (bits - 1))))
BMI(SHLX, u->insn.reg, r = e << (v & (bits - 1)))
BMI(SHRX, u->insn.reg, r = e >> (v & (bits - 1)))

/* The high half goes to ModRM.reg and is written last: it wins if both destinations are one register. */
BMI(MULX, u->insn.reg,
    unsigned __int128 p = (unsigned __int128)e * gpr_get(cpu, X86_RDX, bits / 8);
    gpr_set(cpu, u->insn.vvvv, bits / 8, (u64)p);
    r = (u64)(p >> bits))

/* --- ADX: additions that carry through CF alone or OF alone --- */

#define DEF_ADX(NAME, name, bits)								\
static __always_inline void name##_do##bits(struct x86_cpu *cpu, const struct uop *u, u##bits b) \
{												\
	u##bits a = get##bits(cpu, u->d), t = a + b, r = t + (u##bits)cc_##name(&cpu->s);	\
												\
	cc_put_##name(&cpu->s, t < a || r < t);							\
	put##bits(cpu, u->d, r);								\
}												\
SCAN_RR(name, bits)										\
SCAN_RM(name, bits)
#define ADX(NAME, name)										\
DEF_ADX(NAME, name, 32)										\
DEF_ADX(NAME, name, 64)										\
const struct interp_op interp_##NAME = { .fn = {						\
	[FORM_RR] = { NULL, name##_rr32, name##_rr32, name##_rr64 },				\
	[FORM_RM] = { NULL, name##_rm32, name##_rm32, name##_rm64 },				\
} };
ADX(ADCX, cf)
ADX(ADOX, of)

/* --- CRC32: polynomial 11EDC6F41h, bits reflected, SDM vol. 2 "CRC32" --- */

static const u32 crc32c_nibble[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static u32 crc32c(u32 crc, u64 val, unsigned int bytes)
{
	while (bytes--) {
		crc ^= (u8)val;
		crc = crc >> 4 ^ crc32c_nibble[crc & 15];
		crc = crc >> 4 ^ crc32c_nibble[crc & 15];
		val >>= 8;
	}
	return crc;
}

/* The source is a byte by opcode F0; the destination is of 32 bits, and always zero-extended. */
HANDLER(crc32)
{
	const struct x86_insn *i = &u->insn;
	unsigned int size = i->opcode == 0xf0 ? 1 : i->opsize;
	u64 val = 0, lin;

	if (!(i->flags & X86_IF_MEM))
		val = size == 1 ? get8(cpu, reg8_off(i, i->rm)) : gpr_get(cpu, i->rm, size);
	else if (!x86_operand(cpu, u, size, ACC_READ, &lin) || !x86_load_bytes(cpu, lin, &val, size))
		return X86_FAULT;
	cpu->s.gpr[i->reg] = crc32c((u32)cpu->s.gpr[i->reg], val, size);
	return X86_NEXT;
}
const struct interp_op interp_CRC32 = IOP_ALL(crc32);
