// SPDX-License-Identifier: GPL-2.0-only
/*
 * stub.c - guest vector and x87 instructions as small functions of host code
 *
 * A stub loads the XMM/YMM registers that the instruction names from struct x86_fpu into the same registers
 * of the host, executes the guest's instruction with its memory operand replaced by [rdi] and its general
 * register by rax, and stores back what was written. Worked example, PINSRW xmm9, ecx, 3:
 *
 *	mov	r8, rdx			; state.gpr
 *	mov	r9, rcx			; flags
 *	mov	rax, [r8 + 8]		; guest's rcx
 *	movaps	xmm9, [rsi + 304]	; fx.xmm[9]
 *	pinsrw	xmm9, eax, 3
 *	movaps	[rsi + 304], xmm9
 *	xor	eax, eax
 *	ret
 *
 * rsp is never moved, so that the SIGFPE handler can leave a stub from anywhere by the common exit.
 *
 * The cache is one memfd mapped twice: written through one view, executed through the other, never both.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stub.h"

#define AREA_SIZE	(16UL << 20)
#define SCRATCH_SLOTS	512		/* one a vCPU of the process */
#define STUB_MAX	256		/* longest stub; the longest possible is under 200 bytes */
#define STUB_ALIGN	16
#define SCRATCH_START	STUB_MAX	/* the common exit is in front */
#define STUBS_START	(SCRATCH_START + SCRATCH_SLOTS * STUB_MAX)

#ifndef MFD_EXEC
#define MFD_EXEC	0x10U		/* since Linux 6.3; older kernels reject it and need no flag */
#endif

static struct {
	u8 *rw, *rx;
	size_t used;
	pthread_mutex_t lock;		/* scratch_busy */
	u8 scratch_busy[SCRATCH_SLOTS];
} area = { .lock = PTHREAD_MUTEX_INITIALIZER };

bool stub_contains(u64 rip)
{
	return rip - (u64)area.rx < AREA_SIZE;
}

u64 stub_fault_exit(void)
{
	return (u64)area.rx;
}

bool stub_init(bool avx)
{
	static const u8 plain[] = { 0xc3 };			/* ret */
	static const u8 upper[] = { 0xc5, 0xf8, 0x77, 0xc3 };	/* vzeroupper; ret */
	int fd = memfd_create("tenon-stubs", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0)
		fd = memfd_create("tenon-stubs", MFD_CLOEXEC);
	if (fd < 0)
		return false;
	if (ftruncate(fd, AREA_SIZE) < 0)
		goto err_close;
	area.rw = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (area.rw == MAP_FAILED)
		goto err_close;
	area.rx = mmap(NULL, AREA_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (area.rx == MAP_FAILED)
		goto err_unmap;
	close(fd);
	memcpy(area.rw, avx ? upper : plain, avx ? sizeof(upper) : sizeof(plain));
	area.used = STUBS_START;
	return true;

err_unmap:
	munmap(area.rw, AREA_SIZE);
err_close:
	area.rw = area.rx = NULL;
	close(fd);
	return false;
}

void *stub_scratch_new(void)
{
	void *slot = NULL;

	pthread_mutex_lock(&area.lock);
	for (unsigned int i = 0; i < SCRATCH_SLOTS; i++) {
		if (!area.scratch_busy[i]) {
			area.scratch_busy[i] = 1;
			slot = area.rx + SCRATCH_START + i * STUB_MAX;
			break;
		}
	}
	pthread_mutex_unlock(&area.lock);
	return slot;
}

void stub_scratch_free(void *slot)
{
	size_t i = ((u8 *)slot - area.rx - SCRATCH_START) / STUB_MAX;

	pthread_mutex_lock(&area.lock);
	area.scratch_busy[i] = 0;
	pthread_mutex_unlock(&area.lock);
}

/* --- emission --- */

struct emit {
	u8 *p;
};

static void put(struct emit *e, u8 b)
{
	*e->p++ = b;
}

static void put_bytes(struct emit *e, const char *s, unsigned int n)
{
	memcpy(e->p, s, n);
	e->p += n;
}
#define PUT(e, s)	put_bytes(e, s, sizeof(s) - 1)

static void put32(struct emit *e, u32 v)
{
	memcpy(e->p, &v, 4);
	e->p += 4;
}

/* ModRM for register @reg and [rsi + disp32]. */
static void put_rsi(struct emit *e, unsigned int reg, u32 disp)
{
	put(e, 0x86 | (reg & 7) << 3);
	put32(e, disp);
}

static u32 xmm_off(unsigned int n)
{
	return offsetof(struct x86_fpu, fx.xmm) + 16 * n;
}

static u32 ymmh_off(unsigned int n)
{
	return offsetof(struct x86_fpu, ymmh) + 16 * n;
}

/* MOVAPS or VMOVAPS xmm, [rsi + disp32], or the other way */
static void put_movaps(struct emit *e, unsigned int reg, bool store, bool vex)
{
	if (vex) {
		put(e, 0xc5);
		put(e, reg >= 8 ? 0x78 : 0xf8);
	} else {
		if (reg >= 8)
			put(e, 0x44);
		put(e, 0x0f);
	}
	put(e, store ? 0x29 : 0x28);
	put_rsi(e, reg, xmm_off(reg));
}

static void put_load(struct emit *e, unsigned int reg, const struct x86_insn *insn)
{
	put_movaps(e, reg, false, insn->flags & X86_IF_VEX);
	if (!(insn->flags & X86_IF_L))
		return;
	/* VINSERTF128 ymm, ymm, [rsi + disp32], 1 */
	put(e, 0xc4);
	put(e, reg >= 8 ? 0x63 : 0xe3);
	put(e, 0x05 | (~reg & 15) << 3);
	put(e, 0x18);
	put_rsi(e, reg, ymmh_off(reg));
	put(e, 1);
}

static void put_store(struct emit *e, unsigned int reg, const struct x86_insn *insn)
{
	put_movaps(e, reg, true, insn->flags & X86_IF_VEX);
	if (insn->flags & X86_IF_L) {
		/* VEXTRACTF128 [rsi + disp32], ymm, 1 */
		put(e, 0xc4);
		put(e, reg >= 8 ? 0x63 : 0xe3);
		put(e, 0x7d);
		put(e, 0x19);
		put_rsi(e, reg, ymmh_off(reg));
		put(e, 1);
	} else if (insn->flags & X86_IF_VEX) {
		/* MOV QWORD [rsi + disp32], 0: VEX.128 clears the upper half of the destination */
		PUT(e, "\x48\xc7");
		put_rsi(e, 0, ymmh_off(reg));
		put32(e, 0);
		PUT(e, "\x48\xc7");
		put_rsi(e, 0, ymmh_off(reg) + 8);
		put32(e, 0);
	}
}

/* MOV host register 0..3, state.gpr[guest] or the other way */
static void put_gpr(struct emit *e, unsigned int host, unsigned int guest, bool store)
{
	put(e, 0x49);
	put(e, store ? 0x89 : 0x8b);
	put(e, 0x40 | host << 3);
	put(e, guest * 8);
}

/*
 * Non-temporal stores become plain ones: they would pass later stores, and the guest's SFENCE, which puts
 * them in order again, is not executed on the host.
 */
static void plain_store(const struct x86_insn *insn, u8 *opcode)
{
	if (insn->map != X86_MAP_0F)
		return;
	if (insn->opcode == 0x2b && insn->pfx <= X86_PFX_66)	/* MOVNTPS, MOVNTPD: MOVAPS, MOVAPD */
		*opcode = 0x29;
	else if (insn->opcode == 0xe7)				/* MOVNTDQ, MOVNTQ: MOVDQA, MOVQ */
		*opcode = 0x7f;
}

static bool is_gpr(unsigned int kind)
{
	return kind == X86_OK_E || kind == X86_OK_G || kind == X86_OK_R;
}

/* The guest's instruction, operands replaced. */
static bool put_insn(struct emit *e, const struct x86_insn *insn, bool code64)
{
	static const u8 pfx_byte[] = { 0, 0x66, 0xf3, 0xf2 };
	const struct x86_row *row = &x86_rows[insn->row];
	bool mem = insn->flags & X86_IF_MEM, w = insn->flags & X86_IF_W;
	u8 opcode = insn->opcode, modrm = insn->modrm;
	/* opcode extensions and MMX registers have no fourth bit */
	u8 reg = modrm >> 3 & 7, rm = modrm & 7;
	bool gpr = row->flags & X86_RF_IMP_LEN, has_imm = insn->immsize == 1;

	if (insn->map == X86_MAP_1) {
		put(e, opcode);
		if (row->flags & X86_RF_MODRM)
			put(e, mem ? (modrm & 0x38) | 7 : modrm);
		return opcode == 0x9b || (opcode & 0xf8) == 0xd8;
	}

	for (unsigned int i = 0; i < ARRAY_SIZE(row->opnd); i++) {
		switch (row->opnd[i].kind) {
		case X86_OK_E:
		case X86_OK_R:
			rm = X86_RAX;
			break;
		case X86_OK_G:
			reg = X86_RAX;
			break;
		case X86_OK_V:
			reg = insn->reg;
			break;
		case X86_OK_W:
		case X86_OK_U:
			rm = insn->rm;
			break;
		case X86_OK_NONE: case X86_OK_M: case X86_OK_I: case X86_OK_P: case X86_OK_Q: case X86_OK_N:
		case X86_OK_H: case X86_OK_L: case X86_OK_XMM0:
			break;
		default:
			return false;
		}
		gpr |= is_gpr(row->opnd[i].kind);
	}
	if (gpr && !code64)
		w = false;
	if (mem) {
		rm = 0;
		plain_store(insn, &opcode);
	}
	modrm = (mem ? 0x07 : 0xc0 | (rm & 7)) | (reg & 7) << 3;

	if (insn->flags & X86_IF_VEX) {
		put(e, 0xc4);
		put(e, (reg < 8) << 7 | 0x40 | (rm < 8) << 5 | insn->map);
		put(e, w << 7 | (~insn->vvvv & 15) << 3 | !!(insn->flags & X86_IF_L) << 2 | insn->pfx);
	} else {
		u8 rex = w << 3 | (reg >= 8) << 2 | (rm >= 8);

		if (insn->pfx)
			put(e, pfx_byte[insn->pfx]);
		if (rex)
			put(e, 0x40 | rex);
		put(e, 0x0f);
		if (insn->map == X86_MAP_0F38)
			put(e, 0x38);
		else if (insn->map == X86_MAP_0F3A)
			put(e, 0x3a);
	}
	put(e, opcode);
	if (row->flags & X86_RF_MODRM)
		put(e, modrm);
	if (has_imm)
		put(e, insn->imm);
	return true;
}
static_assert(X86_MAP_0F == 1 && X86_MAP_0F38 == 2 && X86_MAP_0F3A == 3 && X86_PFX_F2 == 3, "VEX fields");

/* Vector registers of the instruction: those to load and those to store, one bit each. */
static void vector_registers(const struct x86_insn *insn, bool code64, u32 *load, u32 *store)
{
	const struct x86_row *row = &x86_rows[insn->row];

	*load = *store = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(row->opnd); i++) {
		const struct x86_opnd *o = &row->opnd[i];
		unsigned int n;

		switch (o->kind) {
		case X86_OK_V:
			n = insn->reg;
			break;
		case X86_OK_W:
			if (insn->flags & X86_IF_MEM)
				continue;
			fallthrough;
		case X86_OK_U:
			n = insn->rm;
			break;
		case X86_OK_H:
			n = insn->vvvv;
			break;
		case X86_OK_L:
			n = insn->imm >> 4 & 15;
			break;
		case X86_OK_XMM0:
			n = 0;
			break;
		default:
			continue;
		}
		n &= code64 ? 15 : 7;
		/* a destination may be written in part only: it is loaded as well */
		*load |= BIT(n);
		if (o->access & X86_WR)
			*store |= BIT(n);
	}
	if (row->flags & X86_RF_IMP_XMM0) {
		*load |= BIT(0);
		*store |= BIT(0);
	}
}

/* General register that rax stands for; -1: none. */
static int rax_register(const struct x86_insn *insn, u8 *access)
{
	const struct x86_row *row = &x86_rows[insn->row];

	for (unsigned int i = 0; i < ARRAY_SIZE(row->opnd); i++) {
		const struct x86_opnd *o = &row->opnd[i];

		*access = o->access;
		switch (o->kind) {
		case X86_OK_E:
			if (insn->flags & X86_IF_MEM)
				break;
			fallthrough;
		case X86_OK_R:
			return insn->rm;
		case X86_OK_G:
			return insn->reg;
		case X86_OK_ACC:
			return X86_RAX;
		}
	}
	*access = 0;
	return -1;
}

/* The whole stub; its length, 0 if the instruction is none that this host executes. */
static unsigned int put_stub(u8 *buf, const struct x86_insn *insn, bool code64)
{
	const struct x86_row *row = &x86_rows[insn->row];
	struct emit e = { buf };
	u32 load, store;
	u8 access;
	int gpr = rax_register(insn, &access);

	vector_registers(insn, code64, &load, &store);
	if (gpr >= 0 || (row->flags & (X86_RF_FLAGS_R | X86_RF_FLAGS_W | X86_RF_IMP_LEN | X86_RF_IMP_ECX)))
		PUT(&e, "\x49\x89\xd0\x49\x89\xc9");			/* mov r8, rdx; mov r9, rcx */
	if (gpr >= 0)
		put_gpr(&e, X86_RAX, gpr, false);
	if (row->flags & X86_RF_IMP_LEN) {
		put_gpr(&e, X86_RAX, X86_RAX, false);
		put_gpr(&e, X86_RDX, X86_RDX, false);
	}
	for (unsigned int i = 0; i < 16; i++)
		if (load & BIT(i))
			put_load(&e, i, insn);
	if (row->flags & X86_RF_FLAGS_R)
		PUT(&e, "\x41\x8b\x01\x9e");				/* mov eax, [r9]; sahf */

	if (!put_insn(&e, insn, code64))
		return 0;

	/* moves only: flags are still the instruction's */
	if (gpr >= 0 && (access & X86_WR))
		put_gpr(&e, X86_RAX, gpr, true);
	if (row->flags & X86_RF_IMP_ECX)
		put_gpr(&e, X86_RCX, X86_RCX, true);
	for (unsigned int i = 0; i < 16; i++)
		if (store & BIT(i))
			put_store(&e, i, insn);
	if (insn->flags & X86_IF_L)
		PUT(&e, "\xc5\xf8\x77");				/* vzeroupper */
	if (row->flags & X86_RF_FLAGS_W)
		PUT(&e, "\x9f\x0f\x90\xc0\x41\x89\x01");		/* lahf; seto al; mov [r9], eax */
	PUT(&e, "\x31\xc0\xc3");					/* xor eax, eax; ret */
	return e.p - buf;
}

host_fn host_compile(const struct x86_insn *insn, bool code64)
{
	u8 *rx = area.rx + area.used;
	unsigned int len;

	if (AREA_SIZE - area.used < STUB_MAX)
		return NULL;
	len = put_stub(area.rw + area.used, insn, code64);
	if (!len)
		return NULL;
	area.used += (len + STUB_ALIGN - 1) & ~(STUB_ALIGN - 1UL);
	return (host_fn)rx;
}

/*
 * Code modified through another linear address needs a serialising instruction before it is executed, SDM
 * vol. 3 "Self-Modifying Code". IRET to the next instruction is the one that no hypervisor intercepts.
 */
static void serialize(void)
{
	u64 sp, tmp;

	asm volatile("mov	%%rsp, %0\n\t"
		     "sub	$128, %%rsp\n\t"	/* the red zone is in use */
		     "mov	%%ss, %1\n\t"
		     "push	%1\n\t"
		     "push	%0\n\t"
		     "pushfq\n\t"
		     "mov	%%cs, %1\n\t"
		     "push	%1\n\t"
		     "lea	1f(%%rip), %1\n\t"
		     "push	%1\n\t"
		     "iretq\n"
		     "1:" : "=&r"(sp), "=&r"(tmp) : : "memory", "cc");
}

host_fn host_compile_once(struct x86_fpu_live *live, const struct x86_insn *insn, bool code64)
{
	u8 *rx = live->scratch;

	if (!put_stub(area.rw + (rx - area.rx), insn, code64))
		return NULL;
	serialize();
	return (host_fn)rx;
}
