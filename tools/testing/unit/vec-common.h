/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vec-common.h - a vCPU without the rest of the emulator, for the tests of floating point and vectors
 *
 * Linear addresses are host addresses within one range; anything outside is #PF. Include once a program.
 */
#ifndef TENON_VEC_COMMON_H
#define TENON_VEC_COMMON_H

#include <stdlib.h>

#include "../../../emul/guest/x86/interp.h"

static u64 guest_base, guest_size;

static inline void guest_memory(void *base, u64 size)
{
	guest_base = (u64)base;
	guest_size = size;
}

static inline bool guest_page_fault(struct x86_cpu *cpu, u64 lin, bool write)
{
	cpu->s.cr2 = lin;
	x86_raise_err(cpu, X86_EXC_PF, write ? X86_PF_W : 0);
	return false;
}

static inline bool guest_in_range(struct x86_cpu *cpu, u64 lin, unsigned int len, bool write)
{
	u64 end = guest_base + guest_size;

	if (lin >= guest_base && lin + len <= end)
		return true;
	/* the first byte that is not there */
	return guest_page_fault(cpu, lin >= guest_base && lin < end ? end : lin, write);
}

/* --- what exception.c, mmu.c, cpuid.c do in the emulator --- */

int x86_raise(struct x86_cpu *cpu, enum x86_vector vec)
{
	cpu->exc = (struct x86_exc){ .vector = vec };
	return X86_FAULT;
}

int x86_raise_err(struct x86_cpu *cpu, enum x86_vector vec, u32 error)
{
	cpu->exc = (struct x86_exc){ .vector = vec, .has_error = true, .error = error };
	return X86_FAULT;
}

bool x86_seg_check(struct x86_cpu *cpu, enum x86_seg seg, u64 ea, unsigned int size, enum x86_access acc,
		   u64 *lin)
{
	(void)size;
	(void)acc;
	*lin = ea + cpu->s.seg[seg].base;
	return true;
}

bool x86_load_bytes(struct x86_cpu *cpu, u64 lin, void *buf, unsigned int len)
{
	if (!guest_in_range(cpu, lin, len, false))
		return false;
	x86_fpu_sync(cpu);	/* as the way to a device does */
	memcpy(buf, (void *)lin, len);
	return true;
}

bool x86_store_bytes(struct x86_cpu *cpu, u64 lin, const void *buf, unsigned int len)
{
	if (!guest_in_range(cpu, lin, len, true))
		return false;
	x86_fpu_sync(cpu);
	memcpy((void *)lin, buf, len);
	return true;
}

bool x86_probe(struct x86_cpu *cpu, u64 lin, unsigned int len, enum x86_access acc)
{
	return guest_in_range(cpu, lin, len, acc == ACC_WRITE);
}

#define GUEST_SLOW(bits)										\
bool x86_load_slow##bits(struct x86_cpu *cpu, u64 lin, u##bits *val, bool rmw)				\
{													\
	(void)rmw;											\
	return x86_load_bytes(cpu, lin, val, (bits) / 8);						\
}													\
bool x86_store_slow##bits(struct x86_cpu *cpu, u64 lin, u##bits val)					\
{													\
	return x86_store_bytes(cpu, lin, &val, (bits) / 8);						\
}
GUEST_SLOW(8)
GUEST_SLOW(16)
GUEST_SLOW(32)
GUEST_SLOW(64)

bool x86_has(const struct x86_cpu *cpu, enum x86_feat feat)
{
	(void)cpu;
	(void)feat;
	return true;
}

void x86_tlb_flush(struct x86_cpu *cpu, bool global)
{
	(void)cpu;
	(void)global;
}
void x86_set_pkru(struct x86_cpu *c, u32 val)
{
	c->s.pkru = val;
	x86_tlb_flush(c, true);
}

/* --- the vCPU --- */

/* With every permission given. */
static inline struct x86_cpu *guest_new(void)
{
	struct x86_cpu *cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~63UL);

	if (!cpu)
		exit(1);
	memset(cpu, 0, sizeof(*cpu));
	cpu->tlb = &cpu->tlbs[TLB_KERNEL];
	cpu->long_mode = true;
	cpu->s.cr0 = X86_CR0_PE | X86_CR0_NE | X86_CR0_MP;
	cpu->s.cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	cpu->s.xcr0 = 7;
	if (!x86_fpu_init(cpu)) {
		fprintf(stderr, "no executable memory\n");
		exit(1);
	}
	x86_fpu_reset(cpu, false);
	return cpu;
}

static inline void guest_free(struct x86_cpu *cpu)
{
	x86_fpu_sync(cpu);
	x86_fpu_free(cpu);
	free(cpu);
}

static inline void guest_mode(struct x86_cpu *cpu, enum x86_mode mode)
{
	cpu->mode = mode;
	cpu->code64 = mode == X86_MODE_64;
	cpu->rip_mask = cpu->code64 ? ~0ULL : 0xffffffff;
}

/* Does the TLB know the memory? */
static inline void guest_tlb(struct x86_cpu *cpu, bool known)
{
	for (unsigned int i = 0; i < EMUL_TLB_SIZE; i++)
		cpu->tlb->e[i].rtag = cpu->tlb->e[i].wtag = emul_tlb_empty(&cpu->tlb->e[i]);
	for (u64 lin = guest_base; known && lin < guest_base + guest_size; lin += EMUL_PAGE_SIZE) {
		struct emul_tlb_entry *e = &cpu->tlb->e[emul_tlb_index(lin)];

		e->rtag = e->wtag = lin;
		e->host = (u8 *)lin;
	}
}

static inline int guest_run(struct x86_cpu *cpu, const struct uop *u)
{
#define RUN(name) case X86_OP_##name: return interp_##name.fn[FORM_MR][0](cpu, u)
	switch (u->insn.op) {
	RUN(FXSAVE); RUN(FXRSTOR); RUN(XSAVE); RUN(XRSTOR); RUN(XSAVEOPT); RUN(XSAVEC); RUN(XSAVES);
	RUN(XRSTORS); RUN(FNSTENV); RUN(FNSAVE); RUN(FLDENV); RUN(FRSTOR); RUN(LDMXCSR); RUN(STMXCSR);
	RUN(MASKMOV);
	default:
		return interp_vec(cpu, u);
	}
#undef RUN
}

#endif /* TENON_VEC_COMMON_H */
