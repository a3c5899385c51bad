// SPDX-License-Identifier: GPL-2.0-only
/*
 * vec.c - x87, MMX, SSE and AVX instructions: the guest's side of the host seam
 *
 * Each distinct instruction (operation, registers, immediate; not address) has one struct vec_insn in a table
 * that the whole process shares and that only grows. A uop remembers the entry's number in insn.imm2, which
 * no instruction of these classes uses, so that repeated execution looks nothing up: check CR0 and CR4, find
 * the memory operand, call.
 *
 * A memory operand in one RAM page is used in place. Any other (page crossing, device, page with code) goes
 * through the bounce buffer: read before, or written after the instruction has succeeded, having been probed
 * before.
 */
#include <pthread.h>
#include <stdlib.h>

#include "../../host/host.h"
#include "interp.h"

struct vec_insn;
typedef int (*vec_fn)(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi);

/*
 * An instruction ready to run.
 * @run:	how its operands are dealt with
 * @fn:		host code; NULL if @run does without
 * @cr0:	bits of CR0 that must be clear
 * @cr4:	bits of CR4 that must be set
 * @unit:	HOST_*: state that must be with the host
 * @mem:	bytes of the memory operand
 * @align:	@mem - 1 if misalignment is #GP, else 0
 * @kind:	who is asked for permission, and with which exceptions
 * @waits:	a pending x87 exception comes before a fault of the memory operand
 */
struct vec_insn {
	vec_fn run;
	host_fn fn;
	u64 key;
	u32 cr0, cr4;
	u8 unit;
	u8 mem;
	u8 align;
	u8 kind;
	bool waits;
	u32 next;		/* in the hash chain */
};

enum vec_kind { KIND_X87, KIND_FWAIT, KIND_MMX, KIND_SSE, KIND_AVX };

#define VEC_MAX		0x10000		/* uop.insn.imm2 has 16 bits; entry 0 is "none" */
#define VEC_BUCKETS	0x4000

static struct {
	pthread_mutex_t lock;		/* insertion, host_compile() */
	struct vec_insn *insn;
	_Atomic u32 bucket[VEC_BUCKETS];
	u32 used;
} vec = { .lock = PTHREAD_MUTEX_INITIALIZER, .used = 1 };

/* --- what may stop an instruction --- */

/* An instruction's checks failed: with which exception? SDM vol. 2 "Exceptions" of each class. */
static noinline int vec_denied(struct x86_cpu *cpu, const struct vec_insn *vi)
{
	switch (vi->kind) {
	case KIND_X87:
	case KIND_FWAIT:
		return x86_raise(cpu, X86_EXC_NM);
	case KIND_MMX:
	case KIND_SSE:
		if (cpu->s.cr0 & vi->cr0 & X86_CR0_EM)
			return x86_ud(cpu);
		fallthrough;
	default:
		if (vi->cr4 & ~cpu->s.cr4)
			return x86_ud(cpu);
		return x86_raise(cpu, X86_EXC_NM);
	}
}

static bool vec_allowed(const struct x86_cpu *cpu, const struct vec_insn *vi)
{
	return likely(!((cpu->s.cr0 & vi->cr0) | (vi->cr4 & ~cpu->s.cr4)));
}

/*
 * An x87 instruction met a pending unmasked exception. With CR0.NE clear a PC routes it to IRQ 13 through
 * FERR#; that line isn't modelled: the machine behaves like one that holds IGNNE# active, whose x87
 * instructions execute regardless, the exception staying in the status word. SDM vol. 1 "Software Exception
 * Handling".
 */
static noinline int vec_x87_pending(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)
{
	struct x86_fxsave *fx = &cpu->s.fpu.fx;
	u16 pending;
	int ret;

	if (cpu->s.cr0 & X86_CR0_NE)
		return x86_raise(cpu, X86_EXC_MF);
	x86_fpu_sync(cpu);
	pending = fx->fsw & 0x3f;
	fx->fsw &= ~(0x3f | 0x8080);
	ret = vi->run(cpu, u, vi);
	x86_fpu_sync(cpu);
	fx->fsw |= pending;
	if (fx->fsw & ~fx->fcw & 0x3f)
		fx->fsw |= 0x8080;
	return ret;
}

static noinline int vec_exception(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi,
				  u32 vector)
{
	if (vector == X86_EXC_MF)
		return vec_x87_pending(cpu, u, vi);
	return x86_raise(cpu, cpu->s.cr4 & X86_CR4_OSXMMEXCPT ? X86_EXC_XM : X86_EXC_UD);
}

/* The operand's address faulted: a pending x87 exception is older. Undo what the fault left. */
static noinline int vec_mem_fault(struct x86_cpu *cpu, const struct vec_insn *vi, u64 cr2)
{
	u16 fsw = cpu->fpu_live->live & HOST_X87 ? host_x87_status() : cpu->s.fpu.fx.fsw;

	if (!vi->waits || !(fsw & 0x80) || !(cpu->s.cr0 & X86_CR0_NE))
		return X86_FAULT;
	cpu->s.cr2 = cr2;
	return x86_raise(cpu, X86_EXC_MF);
}

/*
 * An x87 store with an unmasked exception other than precision stores nothing: SDM vol. 1 "Pre-Computation
 * and Post-Computation Exceptions". Only the host knows; the bounce buffer must not be written back then.
 */
static bool x87_stored(void)
{
	return !(host_x87_status() & ~host_x87_control() & 0x1f);
}

/* --- operands --- */

/* Instruction and data pointers. FOP is the opcode's 11 low bits, SDM vol. 1 "Last Instruction Opcode". */
static __always_inline void x87_record(struct x86_cpu *cpu, const struct uop *u, bool mem)
{
	struct x86_fpu *fpu = &cpu->s.fpu;

	fpu->fip = x86_this_rip(cpu, u);
	fpu->fcs = cpu->s.seg[X86_CS].sel;
	fpu->fop = (u->insn.opcode & 7) << 8 | u->insn.modrm;
	if (mem) {
		fpu->fdp = x86_ea(cpu, u);
		fpu->fds = cpu->s.seg[u->insn.seg].sel;
	}
}

enum { MEM_NONE, MEM_READ, MEM_WRITE };
enum { FLAGS_NONE, FLAGS_READ, FLAGS_WRITE };

/* Host address of an operand that lies in one page that the TLB knows. */
static __always_inline void *vec_direct(const struct x86_cpu *cpu, u64 lin, unsigned int size,
					enum x86_access acc)
{
	const struct emul_tlb_entry *e = &cpu->tlb->e[emul_tlb_index(lin)];

	return likely(emul_tlb_match(acc == ACC_WRITE ? e->wtag : e->rtag, lin, size)) ? emul_tlb_host(e, lin) : NULL;
}

/* The body of every run function but the special ones; all parameters past @vi are constants. */
static __always_inline int vec_body(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi,
				    unsigned int mem, unsigned int flags, bool x87, bool record)
{
	struct x86_fpu_live *live = cpu->fpu_live;
	void *p = NULL;
	u64 f = 0, lin = 0;
	u32 vector;

	if (mem != MEM_NONE) {
		enum x86_access acc = mem == MEM_WRITE ? ACC_WRITE : ACC_READ;
		u64 cr2 = cpu->s.cr2;

		if (unlikely(!x86_operand(cpu, u, vi->mem, acc, &lin)))
			return vec_mem_fault(cpu, vi, cr2);
		if (!x87 && unlikely(lin & vi->align)) {
			x86_gp0(cpu);
			return vec_mem_fault(cpu, vi, cr2);
		}
		p = vec_direct(cpu, lin, vi->mem, acc);
		if (unlikely(!p)) {
			/* use what the probe puts into the TLB: an aligned access stays one access */
			if (!x86_probe(cpu, lin, vi->mem, acc))
				return vec_mem_fault(cpu, vi, cr2);
			p = vec_direct(cpu, lin, vi->mem, acc);
		}
		if (unlikely(!p)) {
			p = live->bounce;
			if (mem == MEM_READ && !x86_load_bytes(cpu, lin, p, vi->mem))
				return X86_FAULT;
		}
	}
	if (flags == FLAGS_READ)
		f = (cc_get(&cpu->s) & 0xff) << 8 | cc_of(&cpu->s);
	/* last, for device accesses bring everything home */
	if (unlikely(vi->unit & ~live->live))
		host_fpu_load(live, &cpu->s.fpu, vi->unit);

	vector = vi->fn(p, &cpu->s.fpu, cpu->s.gpr, &f, &u->insn);
	if (unlikely(vector))
		return vec_exception(cpu, u, vi, vector);

	if (flags == FLAGS_WRITE)
		cc_set(&cpu->s, (f >> 8 & (X86_ARITH & 0xff)) | (f & 1 ? X86_OF : 0));
	if (record)
		x87_record(cpu, u, mem != MEM_NONE);
	if (mem == MEM_WRITE && unlikely(p == live->bounce) && (!x87 || x87_stored()))
		return x86_store_bytes(cpu, lin, p, vi->mem) ? X86_NEXT : X86_FAULT;
	return X86_NEXT;
}

#define VEC_RUN(name, mem, flags, x87, record)								\
static int name(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)			\
{													\
	return vec_body(cpu, u, vi, mem, flags, x87, record);						\
}

VEC_RUN(run_reg, MEM_NONE, FLAGS_NONE, false, false)
VEC_RUN(run_load, MEM_READ, FLAGS_NONE, false, false)
VEC_RUN(run_store, MEM_WRITE, FLAGS_NONE, false, false)
VEC_RUN(run_reg_flags, MEM_NONE, FLAGS_WRITE, false, false)
VEC_RUN(run_load_flags, MEM_READ, FLAGS_WRITE, false, false)
VEC_RUN(run_x87_reg, MEM_NONE, FLAGS_NONE, true, true)
VEC_RUN(run_x87_load, MEM_READ, FLAGS_NONE, true, true)
VEC_RUN(run_x87_store, MEM_WRITE, FLAGS_NONE, true, true)
VEC_RUN(run_x87_fcomi, MEM_NONE, FLAGS_WRITE, true, true)
VEC_RUN(run_x87_fcmov, MEM_NONE, FLAGS_READ, true, true)
VEC_RUN(run_x87_control, MEM_NONE, FLAGS_NONE, true, false)
VEC_RUN(run_x87_control_load, MEM_READ, FLAGS_NONE, true, false)

/* FNSTCW and FNSTSW store whatever is pending. */
static int run_x87_control_store(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)
{
	return vec_body(cpu, u, vi, MEM_WRITE, FLAGS_NONE, false, false);
}

/* FNINIT clears the pointers as well. */
static int run_fninit(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)
{
	struct x86_fpu *fpu = &cpu->s.fpu;

	fpu->fip = fpu->fdp = 0;
	fpu->fcs = fpu->fds = fpu->fop = 0;
	return run_x87_control(cpu, u, vi);
}

/* FWAIT obeys MP and TS together, SDM vol. 3 "CR0.MP". */
static int run_fwait(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)
{
	if ((~cpu->s.cr0 & (X86_CR0_MP | X86_CR0_TS)) == 0)
		return x86_raise(cpu, X86_EXC_NM);
	return run_x87_control(cpu, u, vi);
}

/* --- AVX: one more check --- */

static bool avx_enabled(const struct x86_cpu *cpu)
{
	return (cpu->s.xcr0 & 6) == 6 && x86_protected(cpu);
}

#define VEC_RUN_AVX(name, mem, flags)									\
static int name(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)			\
{													\
	if (unlikely(!avx_enabled(cpu)))								\
		return x86_ud(cpu);									\
	return vec_body(cpu, u, vi, mem, flags, false, false);						\
}

VEC_RUN_AVX(run_avx_reg, MEM_NONE, FLAGS_NONE)
VEC_RUN_AVX(run_avx_load, MEM_READ, FLAGS_NONE)
VEC_RUN_AVX(run_avx_store, MEM_WRITE, FLAGS_NONE)
VEC_RUN_AVX(run_avx_reg_flags, MEM_NONE, FLAGS_WRITE)
VEC_RUN_AVX(run_avx_load_flags, MEM_READ, FLAGS_WRITE)

/* VZEROUPPER, VZEROALL: of the registers that the mode has. */
static int run_vzero(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)
{
	unsigned int n = cpu->code64 ? 16 : 8;

	(void)vi;
	if (!avx_enabled(cpu))
		return x86_ud(cpu);
	memset(cpu->s.fpu.ymmh, 0, n * sizeof(cpu->s.fpu.ymmh[0]));
	if (u->insn.flags & X86_IF_L)
		memset(cpu->s.fpu.fx.xmm, 0, n * sizeof(cpu->s.fpu.fx.xmm[0]));
	return X86_NEXT;
}

/* --- instructions with many memory operands --- */

union vec_reg {
	u32 d[8];
	u64 q[4];
	u8 b[2][16];
};

static void reg_get(const struct x86_cpu *cpu, unsigned int n, union vec_reg *r)
{
	memcpy(r->b[0], cpu->s.fpu.fx.xmm[n], 16);
	memcpy(r->b[1], cpu->s.fpu.ymmh[n], 16);
}

static void reg_set(struct x86_cpu *cpu, unsigned int n, const union vec_reg *r)
{
	memcpy(cpu->s.fpu.fx.xmm[n], r->b[0], 16);
	memcpy(cpu->s.fpu.ymmh[n], r->b[1], 16);
}

/* Elements, in the register's own byte order: little-endian, as memory. */
static u64 elem_get(const union vec_reg *r, unsigned int i, bool wide)
{
	return wide ? emul_read64(&r->q[i]) : emul_read32(&r->d[i]);
}

static void elem_set(union vec_reg *r, unsigned int i, bool wide, u64 v)
{
	if (wide)
		emul_write64(&r->q[i], v);
	else
		emul_write32(&r->d[i], v);
}

static bool elem_selected(const union vec_reg *mask, unsigned int i, bool wide)
{
	return elem_get(mask, i, wide) >> (wide ? 63 : 31);
}

static bool elem_load(struct x86_cpu *cpu, const struct uop *u, u64 ea, bool wide, u64 *val)
{
	u64 lin;
	u32 v;

	if (!x86_linear(cpu, u->insn.seg, ea & u->ea_mask, wide ? 8 : 4, ACC_READ, &lin))
		return false;
	if (wide)
		return x86_load64(cpu, lin, val);
	if (!x86_load32(cpu, lin, &v))
		return false;
	*val = v;
	return true;
}

/*
 * VGATHERxxx, VPGATHERxx: opcodes 90..93, odd ones with 64-bit indices, data by W. Each element that arrives
 * is recorded in the destination and its mask bit dropped, so that a fault in the middle loses nothing.
 */
static int gather(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)
{
	const struct x86_insn *insn = &u->insn;
	bool wide = insn->flags & X86_IF_W, wide_index = insn->opcode & 1;
	unsigned int n = (insn->flags & X86_IF_L ? 32 : 16) / (wide || wide_index ? 8 : 4);
	u64 base = cpu->s.gpr[insn->base] + (u64)insn->disp;
	union vec_reg dst, mask, index;
	int ret = X86_NEXT;

	(void)vi;
	if (!avx_enabled(cpu))
		return x86_ud(cpu);
	reg_get(cpu, insn->reg, &dst);
	reg_get(cpu, insn->vvvv, &mask);
	reg_get(cpu, insn->index, &index);
	/* The mask becomes all ones or zeros an element before anything can fault. */
	for (unsigned int i = 0; i < (wide ? 4 : 8); i++)
		elem_set(&mask, i, wide, i < n && elem_selected(&mask, i, wide) ? ~0ULL : 0);

	for (unsigned int i = 0; i < n; i++) {
		u64 off, val;

		if (!elem_selected(&mask, i, wide))
			continue;
		off = wide_index ? index.q[i] : (u64)(s32)index.d[i];
		if (!elem_load(cpu, u, base + (off << insn->scale), wide, &val)) {
			ret = X86_FAULT;
			break;
		}
		elem_set(&dst, i, wide, val);
		elem_set(&mask, i, wide, 0);
	}
	if (ret == X86_NEXT) {
		for (unsigned int i = n; i < (wide ? 4 : 8); i++)
			elem_set(&dst, i, wide, 0);
	}
	reg_set(cpu, insn->reg, &dst);
	reg_set(cpu, insn->vvvv, &mask);
	return ret;
}

/* VMASKMOVPx, VPMASKMOVx: elements whose mask bit is clear are not accessed and can't fault. */
static int vmaskmov(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)
{
	const struct x86_insn *insn = &u->insn;
	bool fp = insn->opcode < 0x80;
	bool wide = fp ? insn->opcode & 1 : insn->flags & X86_IF_W;
	bool store = fp ? insn->opcode >= 0x2e : insn->opcode == 0x8e;
	unsigned int size = wide ? 8 : 4, n = vi->mem / size;
	union vec_reg reg, mask, out = { 0 };
	u64 ea = x86_ea(cpu, u), lin[8], val;

	if (!avx_enabled(cpu))
		return x86_ud(cpu);
	reg_get(cpu, insn->reg, &reg);
	reg_get(cpu, insn->vvvv, &mask);
	for (unsigned int i = 0; i < n; i++) {
		if (!elem_selected(&mask, i, wide))
			continue;
		if (!store) {
			if (!elem_load(cpu, u, ea + i * size, wide, &val))
				return X86_FAULT;
			elem_set(&out, i, wide, val);
		} else if (!x86_linear(cpu, insn->seg, (ea + i * size) & u->ea_mask, size, ACC_WRITE,
				       &lin[i]) ||
			   !x86_probe(cpu, lin[i], size, ACC_WRITE)) {
			return X86_FAULT;
		}
	}
	if (!store) {
		reg_set(cpu, insn->reg, &out);
		return X86_NEXT;
	}
	for (unsigned int i = 0; i < n; i++) {
		if (!elem_selected(&mask, i, wide))
			continue;
		val = elem_get(&reg, i, wide);
		if (wide ? !x86_store64(cpu, lin[i], val) : !x86_store32(cpu, lin[i], val))
			return X86_FAULT;
	}
	return X86_NEXT;
}

/* Neither checks alignment: SDM vol. 2 "VMASKMOV". All accesses are slow ones, which ask cpu->watch. */
#define VEC_UNALIGNED(name)										\
static int run_##name(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)		\
{													\
	u8 align = cpu->watch & X86_WATCH_ALIGN;							\
	int ret;											\
													\
	cpu->watch ^= align;										\
	ret = name(cpu, u, vi);										\
	cpu->watch |= align;										\
	return ret;											\
}
VEC_UNALIGNED(gather)
VEC_UNALIGNED(vmaskmov)

/* --- making the table's entries --- */

static unsigned int operand_bytes(const struct x86_insn *insn, unsigned int size)
{
	bool l = insn->flags & X86_IF_L;

	switch (size) {
	case X86_SZ_X:
		return l ? 32 : 16;
	case X86_SZ_H:
		return l ? 16 : 8;
	case X86_SZ_Q:
		return l ? 8 : 4;
	case X86_SZ_O:
		return l ? 4 : 2;
	case X86_SZ_Y:
		return insn->opsize == 8 ? 8 : 4;
	case X86_SZ_V:
		return insn->opsize;
	default:
		return size;
	}
}

/* Some leave the pointers alone: SDM vol. 1 "x87 FPU Instruction and Data (Operand) Pointers". */
static vec_fn x87_run(const struct x86_insn *insn, bool mem, bool write, u32 flags)
{
	unsigned int reg = insn->modrm >> 3 & 7;

	if (insn->opcode == 0x9b)
		return run_fwait;
	if (mem) {
		if (insn->opcode == 0xd9 && reg == 5)		/* FLDCW */
			return run_x87_control_load;
		if ((insn->opcode == 0xd9 || insn->opcode == 0xdd) && reg == 7)	/* FNSTCW, FNSTSW */
			return run_x87_control_store;
		return write ? run_x87_store : run_x87_load;
	}
	if (insn->opcode == 0xdb && insn->modrm == 0xe3)	/* FNINIT */
		return run_fninit;
	if (insn->opcode == 0xdb && reg == 4)			/* FNCLEX, FNENI, FNDISI, FNSETPM */
		return run_x87_control;
	if (insn->opcode == 0xdf && insn->modrm == 0xe0)	/* FNSTSW AX */
		return run_x87_control;
	if (flags & X86_RF_FLAGS_R)
		return run_x87_fcmov;
	return flags & X86_RF_FLAGS_W ? run_x87_fcomi : run_x87_reg;
}

static vec_fn avx_run(const struct x86_insn *insn, bool mem, bool write, bool flags)
{
	if (insn->map == X86_MAP_0F && insn->opcode == 0x77)
		return run_vzero;
	if (insn->map == X86_MAP_0F38 && insn->opcode >= 0x90 && insn->opcode <= 0x93)
		return run_gather;
	if (insn->map == X86_MAP_0F38 && mem && ((insn->opcode >= 0x2c && insn->opcode <= 0x2f) ||
						 insn->opcode == 0x8c || insn->opcode == 0x8e))
		return run_vmaskmov;
	if (flags)
		return mem ? run_avx_load_flags : run_avx_reg_flags;
	return !mem ? run_avx_reg : write ? run_avx_store : run_avx_load;
}

/* Everything but the host's code. */
static void vec_describe(struct vec_insn *vi, const struct x86_insn *insn)
{
	const struct x86_row *row = &x86_rows[insn->row];
	bool mem = insn->flags & X86_IF_MEM, write = false, mmx = false, xmm = false;
	bool flags = row->flags & X86_RF_FLAGS_W;

	*vi = (struct vec_insn){ 0 };
	for (unsigned int i = 0; i < ARRAY_SIZE(row->opnd); i++) {
		const struct x86_opnd *o = &row->opnd[i];

		switch (o->kind) {
		case X86_OK_P:
		case X86_OK_N:
			mmx = true;
			continue;
		case X86_OK_V:
		case X86_OK_U:
		case X86_OK_H:
		case X86_OK_XMM0:
			xmm = true;
			continue;
		case X86_OK_Q:
			/* the unit turns to MMX operation for memory too, but here: SDM vol. 2 "CVTPI2PD" */
			mmx |= !mem || row->op != X86_OP_CVTPI2PD;
			break;
		case X86_OK_W:
			xmm = true;
			break;
		case X86_OK_E:
		case X86_OK_M:
			break;
		default:
			continue;
		}
		if (mem) {
			vi->mem = operand_bytes(insn, o->size);
			write = o->access & X86_WR;
		}
	}
	if (mem && (row->flags & X86_RF_ALIGN))
		vi->align = vi->mem - 1;

	vi->cr0 = X86_CR0_EM | X86_CR0_TS;
	if (insn->map == X86_MAP_1) {
		vi->kind = insn->opcode == 0x9b ? KIND_FWAIT : KIND_X87;
		vi->unit = HOST_X87;
		if (vi->kind == KIND_FWAIT)
			vi->cr0 = 0;
		vi->waits = row->flags & X86_RF_X87_WAIT;
		vi->run = x87_run(insn, mem, write, row->flags);
		return;
	}
	vi->unit = HOST_MXCSR;
	if (insn->flags & X86_IF_VEX) {
		vi->kind = KIND_AVX;
		vi->cr0 = X86_CR0_TS;
		vi->cr4 = X86_CR4_OSXSAVE;
		vi->run = avx_run(insn, mem, write, flags);
		return;
	}
	if (xmm) {
		vi->kind = KIND_SSE;
		vi->cr4 = X86_CR4_OSFXSR;
	} else {
		vi->kind = KIND_MMX;
	}
	if (mmx || !xmm)	/* EMMS has no operand at all */
		vi->unit |= HOST_X87;
	vi->waits = (vi->unit & HOST_X87) && row->op != X86_OP_CVTPI2PS;
	if (flags)
		vi->run = mem ? run_load_flags : run_reg_flags;
	else
		vi->run = !mem ? run_reg : write ? run_store : run_load;
}

static bool vec_needs_code(const struct vec_insn *vi)
{
	return vi->run != run_gather && vi->run != run_vmaskmov && vi->run != run_vzero;
}

/* All that tells two instructions apart behind the seam. */
static u64 vec_key(const struct x86_insn *insn, bool code64)
{
	u8 modrm = insn->flags & X86_IF_MEM ? insn->modrm & 0x38 : insn->modrm;

	return (u64)insn->row << 48 | (u64)insn->opcode << 40 | (u64)modrm << 32 | (u64)(u8)insn->imm << 24 |
	       (u32)(insn->reg & 15) << 20 | (insn->rm & 15) << 16 | (insn->vvvv & 15) << 12 |
	       !!(insn->flags & X86_IF_MEM) << 7 | !!(insn->flags & X86_IF_W) << 6 |
	       !!(insn->flags & X86_IF_L) << 5 | (insn->opsize & 15) << 1 | code64;
}

static u32 vec_find(u64 key, u32 bucket)
{
	u32 id = atomic_load_explicit(&vec.bucket[bucket], memory_order_acquire);

	while (id && vec.insn[id].key != key)
		id = vec.insn[id].next;
	return id;
}

/* Number of the instruction's entry. 0: table or code space is full, or it is none of the host's. */
static u32 vec_lookup(const struct x86_insn *insn, bool code64)
{
	u64 key = vec_key(insn, code64);
	u32 bucket = key * 0x9e3779b97f4a7c15ULL >> 40 & (VEC_BUCKETS - 1);
	struct vec_insn *vi;
	u32 id = vec_find(key, bucket);

	if (id)
		return id;
	pthread_mutex_lock(&vec.lock);
	id = vec_find(key, bucket);
	if (!id && vec.used < VEC_MAX) {
		vi = &vec.insn[vec.used];
		vec_describe(vi, insn);
		vi->key = key;
		if (vec_needs_code(vi))
			vi->fn = host_compile(insn, code64);
		if (vi->fn || !vec_needs_code(vi)) {
			id = vec.used++;
			vi->next = atomic_load_explicit(&vec.bucket[bucket], memory_order_relaxed);
			atomic_store_explicit(&vec.bucket[bucket], id, memory_order_release);
		}
	}
	pthread_mutex_unlock(&vec.lock);
	return id;
}

static __always_inline int vec_run(struct x86_cpu *cpu, const struct uop *u, const struct vec_insn *vi)
{
	if (unlikely(!vec_allowed(cpu, vi)))
		return vec_denied(cpu, vi);
	return vi->run(cpu, u, vi);
}

/* The first time of a uop; and every time once the table is full. */
static noinline int vec_first(struct x86_cpu *cpu, const struct uop *u)
{
	u32 id = vec_lookup(&u->insn, cpu->code64);
	struct vec_insn vi;

	if (likely(id)) {
		/* uops are shared: whoever sees the number sees the entry */
		__atomic_store_n((u16 *)&u->insn.imm2, id, __ATOMIC_RELEASE);
		return vec_run(cpu, u, &vec.insn[id]);
	}
	vec_describe(&vi, &u->insn);
	if (vec_needs_code(&vi)) {
		vi.fn = host_compile_once(cpu->fpu_live, &u->insn, cpu->code64);
		if (!vi.fn)
			return x86_ud(cpu);
	}
	return vec_run(cpu, u, &vi);
}

int interp_vec(struct x86_cpu *cpu, const struct uop *u)
{
	u32 id = __atomic_load_n(&u->insn.imm2, __ATOMIC_ACQUIRE);

	if (unlikely(!id))
		return vec_first(cpu, u);
	return vec_run(cpu, u, &vec.insn[id]);
}

/* --- life of the state --- */

void x86_fpu_sync(struct x86_cpu *cpu)
{
	if (cpu->fpu_live->live)
		host_fpu_save(cpu->fpu_live, &cpu->s.fpu);
}

void x86_fpu_changed(struct x86_cpu *cpu)
{
	host_fpu_drop(cpu->fpu_live);
}

bool x86_fpu_init(struct x86_cpu *cpu)
{
	bool ok = true;

	pthread_mutex_lock(&vec.lock);
	if (!vec.insn) {
		vec.insn = calloc(VEC_MAX, sizeof(*vec.insn));
		ok = vec.insn;
	}
	pthread_mutex_unlock(&vec.lock);
	cpu->fpu_live = ok ? host_live_new() : NULL;
	return cpu->fpu_live;
}

void x86_fpu_free(struct x86_cpu *cpu)
{
	host_live_free(cpu->fpu_live);
	cpu->fpu_live = NULL;
}

/* INIT leaves all of it alone: SDM vol. 3 "Processor States Following Power-up, Reset, or INIT". */
void x86_fpu_reset(struct x86_cpu *cpu, bool init)
{
	struct x86_fpu *fpu = &cpu->s.fpu;

	if (init)
		return;
	host_fpu_drop(cpu->fpu_live);
	memset(fpu, 0, sizeof(*fpu));
	fpu->fx.fcw = 0x0040;
	fpu->fx.ftw = 0xff;	/* eight zeros, 5555H in full */
	fpu->fx.mxcsr = 0x1f80;
	fpu->fx.mxcsr_mask = host_mxcsr_mask();
}

u64 x86_host_features(void)
{
	return host_features();
}
