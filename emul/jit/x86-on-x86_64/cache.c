// SPDX-License-Identifier: GPL-2.0-only
/*
 * cache.c - the code cache and the code that all translations share: entering, leaving, calling a handler
 *
 * The same memory is mapped twice, once to write, once to execute. A translation is never freed by itself; when the cache is
 * full, everything goes, with the world stopped.
 *
 * While translated code runs, RSP is the address of the vCPU's struct x86_cpu, R13 is the guest's RSP, R14 and R15 are
 * scratch, and the twelve others are the guest's registers of the same names. The guest's R13 to R15 are in memory.
 */
#include <cpuid.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../host/host.h"
#include "emit.h"
#include "jit.h"

#define CACHE_SIZE	(46UL << 20)
#define DATA_SIZE	(16UL << 20)
#define CACHE_STRESS	(256UL << 10)
#define LARGE		(2UL << 20)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25		/* Linux 6.1 */
#endif

static void put_guest(struct emit *e, bool store)
{
	for (unsigned int g = X86_RAX; g <= X86_R15; g++) {
		if (host_reg(g) == H_NONE)
			continue;
		if (store)
			put_store(e, host_reg(g), RM_GPR(g));
		else
			put_load(e, host_reg(g), RM_GPR(g));
	}
}

static const u8 saved[] = { H_RBX, H_RBP, H_R12, H_GUEST_RSP, H_T0, H_T1 };

static void put_push(struct emit *e, unsigned int reg)
{
	if (reg >= 8)
		put8(e, 0x41);
	put8(e, 0x50 | (reg & 7));
}
static void put_pop(struct emit *e, unsigned int reg)
{
	if (reg >= 8)
		put8(e, 0x41);
	put8(e, 0x58 | (reg & 7));
}

#define XMM(n)	RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, s.fpu.fx.xmm) + 16 * (n)))
#define YMMH(n)	RM_MEM(H_CPU, (s32)(offsetof(struct x86_cpu, s.fpu.ymmh) + 16 * (n)))

static void put_vectors(struct emit *e, bool store, bool avx)
{
	for (unsigned int n = 0; n < 16; n++) {
		const struct enc low = { .vex = avx, .map = X86_MAP_0F, .op = store ? 0x29 : 0x28 };	/* movaps */
		const struct enc high = {	/* vextractf128, vinsertf128 */
			.vex = true, .l = true, .pp = 1, .map = X86_MAP_0F3A, .op = store ? 0x19 : 0x18,
			.vvvv = store ? 0 : (u8)n,
		};

		put_insn(e, &low, n, XMM(n));
		if (!avx)
			continue;
		put_insn(e, &high, n, YMMH(n));
		put8(e, 1);
	}
}

/*
 * All vector registers from memory. With something in the upper halves of the host's, each SSE instruction would wait for
 * what its destination held before, to keep that half. So if the guest has nothing there, the host gets nothing either, in
 * the way by which the processor knows it.
 */
static void put_vec_load(struct emit *e, bool avx)
{
	const struct enc load = { .vex = true, .map = X86_MAP_0F, .op = 0x28 }, or = { .vex = true, .map = X86_MAP_0F, .op = 0x56 };
	const struct enc ptest = { .vex = true, .map = X86_MAP_0F38, .pp = 1, .op = 0x17 };
	u8 *dirty, *done;

	if (!avx) {
		put_vectors(e, false, false);
		return;
	}
	put_insn(e, &(struct enc){ .vex = true, .map = X86_MAP_0F, .op = 0x10 }, 0, YMMH(0));	/* vmovups */
	for (unsigned int n = 1; n < 16; n++)
		put_insn(e, &or, 0, YMMH(n));			/* vorps xmm0, xmm0, [...] */
	put_insn(e, &ptest, 0, RM_REG(0));
	dirty = put_jcc(e, CC_NE);
	PUT(e, "\xc5\xf8\x77");				/* vzeroupper */
	for (unsigned int n = 0; n < 16; n++)
		put_insn(e, &load, n, XMM(n));
	done = put_jmp(e);
	put_target(dirty, e->p);
	put_vectors(e, false, true);
	put_target(done, e->p);
}

/* Before C code runs: the vector registers go to memory, if they are not there. */
static void put_unload(struct emit *e, bool avx)
{
	const struct enc test = { .op = 0xf6 }, or = { .op = 0x80 };
	u8 *skip;

	put_insn(e, &test, 0, RM_CPU(jit.missing));
	put8(e, JIT_UNLOADED);
	skip = put_jcc(e, CC_NE);
	put_vectors(e, true, avx);
	if (avx)
		PUT(e, "\xc5\xf8\x77");			/* vzeroupper: C code is SSE code */
	put_insn(e, &or, 1, RM_CPU(jit.missing));
	put8(e, JIT_UNLOADED);
	put_target(skip, e->p);
}

static void put_leave(struct emit *e, bool avx)
{
	put_guest(e, true);
	put_unload(e, avx);
	put_move(e, H_RAX, H_T0);
	put_load(e, H_CPU, RM_CPU(jit.host_rsp));
	for (unsigned int i = ARRAY_SIZE(saved); i-- > 0; )
		put_pop(e, saved[i]);
	put8(e, 0xc3);
}

static void put_leave_site(struct emit *e, const struct jit_cache *c, enum jit_exit_kind kind, bool avx)
{
	put_op(e, OP_MOV_MR, false, H_T0, RM_CPU(jit.site));
	put_const(e, H_T0, (u64)&c->exit[kind]);
	put_leave(e, avx);
}

/* The stack of C code is aligned: six registers and the return address were pushed. */
static void put_c_call(struct emit *e, const struct jit_cache *c, u64 fn, bool avx)
{
	u8 *out;

	put_store(e, H_T1, RM_CPU(jit.ret));
	put_guest(e, true);
	put_unload(e, avx);
	put_move(e, H_RDI, H_CPU);
	put_move(e, H_RSI, H_T0);
	put_move(e, H_RBP, H_CPU);
	put_load(e, H_CPU, RM_CPU(jit.host_rsp));
	put_imm(e, 5, true, RM_REG(H_CPU), 8);
	put_const(e, H_RAX, fn);
	PUT(e, "\xff\xd0");				/* call rax */
	put_move(e, H_CPU, H_RBP);
	PUT(e, "\x48\x85\xc0");			/* test rax, rax */
	out = put_jcc(e, CC_E);
	put_move(e, H_T0, H_RAX);
	put_load(e, H_T1, RM_CPU(s.rip));		/* for a far entry */
	put_guest(e, false);
	put_jmp_rm(e, RM_REG(H_T0));
	put_target(out, e->p);
	/* registers are stored already */
	put_const(e, H_RAX, (u64)&c->exit[JIT_EXIT_UOP]);
	put_load(e, H_CPU, RM_CPU(jit.host_rsp));
	for (unsigned int i = ARRAY_SIZE(saved); i-- > 0; )
		put_pop(e, saved[i]);
	put8(e, 0xc3);
}

#define JUMP(m, field)	((s32)(offsetof(struct x86_cpu, jit.jump) + (m) * sizeof(struct x86_jump_cache) + \
			 offsetof(struct x86_jump_cache, field)))
#define FAR(field)	RM_SIB(H_CPU, H_RAX, 0, (s32)(offsetof(struct x86_cpu, jit.far) + offsetof(struct x86_far, field)))

/*
 * Look for the RIP in H_T1 in jit.far: the jump cache gets it, and RAX is its code; destroys H_T0. Branches that it is not
 * there. As far_find() of run.c.
 */
static void put_far_find(struct emit *e, unsigned int m, u8 *miss[4])
{
	const struct enc movzx16 = { .map = X86_MAP_0F, .op = 0xb7 }, inc16 = { .opsz = 0x66, .op = 0xff };
	const struct enc mov16 = { .opsz = 0x66, .op = OP_MOV_MR }, movzx8 = { .map = X86_MAP_0F, .op = 0xb6 };
	const struct enc cmp8 = { .op = 0x3a }, cmp8i = { .op = 0x80 }, mov8i = { .op = 0xc6 };
	const s32 itlb = jit_itlb(m);
	u8 *good, *global, *full;

	put_hash(e, H_RAX, 16, X86_FAR_SIZE - 1);
	put_op(e, 0xc1, false, 4, RM_REG(H_RAX));		/* shl */
	put8(e, 5);
	static_assert(sizeof(struct x86_far) == 32, "by a shift");
	put_op(e, OP_CMP_RM, true, H_T1, FAR(rip));
	miss[0] = put_jcc(e, CC_NE);
	put_op(e, OP_MOV_RM, false, H_T0, RM_MEM(H_CPU, JUMP(m, turn)));
	put_op(e, OP_CMP_RM, false, H_T0, FAR(turn));
	good = put_jcc(e, CC_E);

	/* of another turn: is the page still where it was? */
	put_insn(e, &movzx8, H_T0, RM_MEM(H_CPU, JUMP(m, mode)));
	put_insn(e, &cmp8, H_T0, FAR(mode));
	miss[1] = put_jcc(e, CC_NE);
	put_page_slot(e, EMUL_ITLB_SIZE);
	put_op(e, OP_XOR_RM, true, H_T1, RM_SIB(H_CPU, H_T0, 0, itlb + (s32)offsetof(struct emul_itlb_entry, tag)));
	put_imm(e, 7, true, RM_REG(H_T1), EMUL_PAGE_SIZE - 1);
	put_load(e, H_T1, FAR(rip));
	miss[2] = put_jcc(e, CC_A);
	put_insn(e, &cmp8i, 7, RM_SIB(H_CPU, H_T0, 0, itlb + (s32)offsetof(struct emul_itlb_entry, global)));
	put8(e, 0);
	global = put_jcc(e, CC_NE);
	put_insn(e, &mov8i, 0, RM_MEM(H_CPU, JUMP(m, local)));
	put8(e, 1);
	put_target(global, e->p);
	put_load(e, H_T0, RM_SIB(H_CPU, H_T0, 0, itlb + (s32)offsetof(struct emul_itlb_entry, page)));
	put_op(e, OP_CMP_RM, true, H_T0, FAR(page));
	miss[3] = put_jcc(e, CC_NE);
	put_op(e, OP_MOV_RM, false, H_T0, RM_MEM(H_CPU, JUMP(m, turn)));
	put_op(e, OP_MOV_MR, false, H_T0, FAR(turn));

	put_target(good, e->p);
	put_load(e, H_RAX, FAR(code));
	put_jump_hash(e);
	put_store(e, H_T1, RM_SIB(H_CPU, H_T0, 3, JUMP(m, e[0].rip)));
	put_store(e, H_RAX, RM_SIB(H_CPU, H_T0, 3, JUMP(m, e[0].code)));
	put_insn(e, &movzx16, H_T1, RM_MEM(H_CPU, JUMP(m, nr_fills)));
	put_imm(e, 7, false, RM_REG(H_T1), X86_JUMP_FILLS);
	full = put_jcc(e, CC_A);
	put_insn(e, &mov16, H_T0, RM_SIB(H_CPU, H_T1, 1, JUMP(m, fill)));
	put_insn(e, &inc16, 0, RM_MEM(H_CPU, JUMP(m, nr_fills)));
	put_target(full, e->p);
	put_load(e, H_T1, RM_SIB(H_CPU, H_T0, 3, JUMP(m, e[0].rip)));
}

/* To the RIP in H_T1 if jit.far knows it; otherwise to @leave, with H_T0 as jit.site has it. */
static void put_far_jump(struct emit *e, unsigned int m, const u8 *leave)
{
	u8 *miss[4];

	put_store(e, H_RAX, RM_CPU(jit.tmp[2]));
	put_far_find(e, m, miss);
	put_move(e, H_T0, H_RAX);
	put_load(e, H_RAX, RM_CPU(jit.tmp[2]));
	put_jmp_rm(e, RM_REG(H_T0));
	for (unsigned int i = 0; i < ARRAY_SIZE(miss); i++)
		put_target(miss[i], e->p);
	put_load(e, H_RAX, RM_CPU(jit.tmp[2]));
	put_op(e, OP_MOV_RM, false, H_T0, RM_CPU(jit.site));
	put_jmp_to(e, leave);
}

static void put_far(struct emit *e, struct jit_cache *c, unsigned int m)
{
	u8 *miss[4], *far;

	c->far_find[m] = c->rx + (e->p - c->rw);
	put_store(e, H_RAX, RM_CPU(jit.ret));
	put_far_find(e, m, miss);
	put_op(e, OP_XOR_RM, false, H_RAX, RM_REG(H_RAX));	/* ZF */
	for (unsigned int i = 0; i < ARRAY_SIZE(miss); i++)
		put_target(miss[i], e->p);
	put_load(e, H_RAX, RM_CPU(jit.tmp[2]));
	put_jmp_rm(e, RM_CPU(jit.ret));

	c->far_jump[m] = c->rx + (e->p - c->rw);
	put_op(e, OP_MOV_MR, false, H_T0, RM_CPU(jit.site));
	put_far_jump(e, m, c->rw + (c->leave_jump - c->rx));

	c->far_exit[m] = c->rx + (e->p - c->rw);
	put_op(e, OP_MOV_MR, false, H_T0, RM_CPU(jit.site));
	put_jump_hash(e);
	put_op(e, OP_CMP_RM, true, H_T1, RM_SIB(H_CPU, H_T0, 3, JUMP(m, e[0].rip)));
	far = put_jcc(e, CC_NE);
	put_jmp_rm(e, RM_SIB(H_CPU, H_T0, 3, JUMP(m, e[0].code)));
	put_target(far, e->p);
	put_far_jump(e, m, c->rw + (c->leave_far - c->rx));
}

static void common_code(struct jit_cache *c)
{
	const struct enc and = { .op = 0x80 };
	bool avx = c->host_features & BIT_ULL(X86_FEAT_AVX);
	struct emit e = { .p = c->rw, .bmi2 = c->host_features & BIT_ULL(X86_FEAT_BMI2) };

#define HERE	((void *)(c->rx + (e.p - c->rw)))
	c->enter = HERE;
	for (unsigned int i = 0; i < ARRAY_SIZE(saved); i++)
		put_push(&e, saved[i]);
	put_store(&e, H_CPU, RM_MEM(H_RDI, offsetof(struct x86_cpu, jit.host_rsp)));
	put_move(&e, H_CPU, H_RDI);
	put_move(&e, H_T0, H_RSI);
	put_move(&e, H_T1, H_RDX);
	put_guest(&e, false);
	put_jmp_rm(&e, RM_REG(H_T0));

	c->leave_far = HERE;
	put_store(&e, H_T1, RM_CPU(s.rip));
	c->leave = HERE;
	put_const(&e, H_T1, (u64)c->data);
	put_op(&e, OP_ADD_RM, true, H_T0, RM_REG(H_T1));
	put_leave(&e, avx);

	c->leave_jump = HERE;
	put_store(&e, H_T1, RM_CPU(s.rip));
	put_leave_site(&e, c, JIT_EXIT_JUMP, avx);
	c->leave_head = HERE;
	put_leave_site(&e, c, JIT_EXIT_HEAD, avx);
	c->leave_hot = HERE;
	put_leave_site(&e, c, JIT_EXIT_HOT, avx);

	for (unsigned int m = 0; m < TLB_MODES; m++)
		put_far(&e, c, m);

	c->call = HERE;
	put_c_call(&e, c, (u64)jit_call, avx);
	c->chain = HERE;
	put_c_call(&e, c, (u64)jit_chain, avx);

	c->vec_load = HERE;
	put_vec_load(&e, avx);
	put_insn(&e, &and, 4, RM_CPU(jit.missing));
	put8(&e, (u8)~JIT_UNLOADED);
	put_jmp_rm(&e, RM_REG(H_T1));
#undef HERE
	jit_cache_use(c, e.p);
	c->start = c->used;
}

/* What host_features() does not count: integer instructions that the interpreter computes in C. */
static u64 integer_features(void)
{
	unsigned int a, b, c, d;
	u64 f = 0;

	__cpuid(1, a, b, c, d);
	f |= c & BIT(22) ? BIT_ULL(X86_FEAT_MOVBE) : 0;
	f |= c & BIT(23) ? BIT_ULL(X86_FEAT_POPCNT) : 0;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		f |= b & BIT(3) ? BIT_ULL(X86_FEAT_BMI1) : 0;
		f |= b & BIT(8) ? BIT_ULL(X86_FEAT_BMI2) : 0;
		f |= b & BIT(19) ? BIT_ULL(X86_FEAT_ADX) : 0;
	}
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		f |= c & BIT(5) ? BIT_ULL(X86_FEAT_LZCNT) : 0;
	return f;
}

/* Address space, aligned to a large page. */
static u8 *reserve(size_t size)
{
	u8 *p = mmap(NULL, size + LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t off;

	if (p == MAP_FAILED)
		return NULL;
	off = -(uintptr_t)p & (LARGE - 1);
	if (off)
		munmap(p, off);
	munmap(p + off + size, LARGE - off);
	return p + off;
}

/*
 * What a guest executes is scattered over the cache, more than the host's TLBs hold in pages of 4 KiB. Shared memory has
 * large pages only on request; without them (before Linux 6.1, or without free memory in one piece) code is slower, no more.
 */
void jit_cache_use(struct jit_cache *c, const u8 *end)
{
	c->used = ((size_t)(end - c->rw) + 15) & ~(size_t)15;
	for (; c->large < c->used && c->size - c->large >= LARGE; c->large += LARGE)
		madvise(c->rx + c->large, LARGE, MADV_COLLAPSE);
}

struct jit_cache *jit_cache_new(const struct emul_config *cfg)
{
	bool stress = cfg->jit >= EMUL_JIT_EAGER;
	struct jit_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->stress = stress;
	c->count = cfg->count;
	c->size = stress ? CACHE_STRESS : CACHE_SIZE;
	c->data_size = DATA_SIZE;
	for (unsigned int kind = 0; kind < JIT_EXITS; kind++)
		c->exit[kind].kind = (u8)kind;
	c->host_features = host_features() | integer_features();
	c->rx = reserve(c->size);
	if (!c->rx)
		goto free_cache;
	c->rw = reserve(c->size);
	if (!c->rw)
		goto unmap_rx;
	/* Two views of the same memory, as perf can name code in it: it knows nothing of code in a memfd. */
	if (mmap(c->rx, c->size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mremap(c->rx, 0, c->size, MREMAP_MAYMOVE | MREMAP_FIXED, c->rw) == MAP_FAILED)
		goto unmap_rw;
	if (mprotect(c->rw, c->size, PROT_READ | PROT_WRITE) < 0)
		goto unmap_rw;
	c->data = mmap(NULL, c->data_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->data == MAP_FAILED)
		goto unmap_rw;
	common_code(c);
	return c;

unmap_rw:
	munmap(c->rw, c->size);
unmap_rx:
	munmap(c->rx, c->size);
free_cache:
	free(c);
	return NULL;
}

void jit_cache_free(struct jit_cache *c)
{
	munmap(c->data, c->data_size);
	munmap(c->rx, c->size);
	munmap(c->rw, c->size);
	free(c);
}
