/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sys-common.h - a small x86 machine for tests of the system instructions: memory, descriptor tables, one
 * vCPU
 *
 * Layout of the 16 MiB of RAM, all addresses physical and, with paging, linear as well:
 *   0x1000 page tables (2 MiB pages, user, identity; the 2 MiB at HOLE are not present)
 *   0x6000 GDT, 0x7000 LDT, 0x8000 IDT, 0x9000 TSS, 0xa000 second TSS, 0x10000 code under test
 *   0x20000 + 16 * vector: handlers, each a HLT
 *   0x30000, 0x40000, 0x50000 stacks (grow down) of CPL 3, of CPL 0 in the TSS, of IST1
 */
#ifndef TENON_SYS_COMMON_H
#define TENON_SYS_COMMON_H

#include <string.h>
#include <sys/mman.h>

#include "../../../emul/guest/x86/cpuid.h"
#include "../../../emul/guest/x86/flags.h"
#include "../../../emul/include/tenon/emul-x86.h"
#include "tap.h"

#define RAM_SIZE	(16u << 20)
#define HOLE		0x800000u
#define GDT		0x6000u
#define LDT		0x7000u
#define IDT		0x8000u
#define TSS		0x9000u
#define TSS2		0xa000u
#define CODE		0x10000u
#define DATA		0x18000u
#define HANDLERS	0x20000u
#define STACK		0x30000u	/* in use */
#define STACK0		0x40000u	/* ESP0, RSP0 */
#define STACK_IST	0x50000u

enum {
	SEL_CODE32 = 0x08,
	SEL_DATA = 0x10,
	SEL_CODE32_3 = 0x18,
	SEL_DATA_3 = 0x20,
	SEL_CODE64_3 = 0x28,
	SEL_CODE64 = 0x30,
	SEL_CONF = 0x38,
	SEL_ABSENT = 0x40,
	SEL_RODATA = 0x48,
	SEL_XONLY = 0x50,
	SEL_GATE = 0x58,
	SEL_TSS = 0x68,
	SEL_LDT = 0x78,
	SEL_TSS2 = 0x88,
	SEL_TASKGATE = 0x98,
	SEL_CODE16 = 0xa0,
	SEL_SS16 = 0xa8,
	SEL_SMALL = 0xb0,
	SEL_GATE16 = 0xb8,
	SEL_END = 0xc8,
};

static u8 *ram;
static struct emul_vm *vm;
static struct emul_vcpu *vcpu;
static struct x86_cpu *cpu;
static struct x86_state *s;
static u8 tpr;
static u64 apic_base = 0xfee00900, tsc_now = 1000, tsc_deadline, deadline_writes;

static void op_access(void *o, struct emul_vcpu *v, enum emul_space space, u64 addr, void *data,
		      unsigned int len, bool write)
{
	(void)o; (void)v; (void)space; (void)addr;
	if (!write)
		memset(data, 0xff, len);
}
static int op_ack(void *o, struct emul_vcpu *v) { (void)o; (void)v; return -1; }
static bool op_pending(void *o, struct emul_vcpu *v) { (void)o; (void)v; return false; }
static u8 op_tpr(void *o, struct emul_vcpu *v) { (void)o; (void)v; return tpr; }
static void op_set_tpr(void *o, struct emul_vcpu *v, u8 t) { (void)o; (void)v; tpr = t;
}

static bool op_rdmsr(void *o, struct emul_vcpu *v, u32 m, u64 *x)
{
	(void)o;
	(void)v;
	*x = m == 0x6e0 ? tsc_deadline : apic_base;
	return m == 0x1b || m == 0x6e0;
}

static bool op_wrmsr(void *o, struct emul_vcpu *v, u32 m, u64 x)
{
	(void)o;
	(void)v;
	if (m == 0x6e0) {
		tsc_deadline = x;
		deadline_writes++;
		return true;
	}
	apic_base = x;
	return m == 0x1b;
}
static u64 op_tsc(void *o, struct emul_vcpu *v) { (void)o; (void)v; return tsc_now; }

static const struct emul_ops sys_ops = {
	.access = op_access,
	.intr_ack = op_ack,
	.intr_pending = op_pending,
	.tpr_get = op_tpr,
	.tpr_set = op_set_tpr,
	.msr_read = op_rdmsr,
	.msr_write = op_wrmsr,
	.tsc = op_tsc,
};

static inline void machine_init(const char *model, unsigned int vcpus)
{
	struct emul_config cfg = { .max_vcpus = vcpus, .tsc_hz = 2500000000, .cpu = model };
	char err[200];

	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	vm = emul_vm_create(&cfg, &sys_ops, NULL, err, sizeof(err));
	if (ram == MAP_FAILED || !vm || emul_mem_add(vm, 0, RAM_SIZE, ram, 0)) {
		fprintf(stderr, "cannot create the VM: %s\n", vm ? "memory" : err);
		exit(1);
	}
	vcpu = emul_vcpu_create(vm, 0, NULL);
	if (!vcpu)
		exit(1);
	cpu = x86_cpu(vcpu);
	s = emul_x86_state(vcpu);
	emul_vcpu_reset(vcpu, false);
}

static inline void machine_exit(void)
{
	emul_vm_destroy(vm);
	munmap(ram, RAM_SIZE);
}

static inline u64 peek(u64 addr, unsigned int size)
{
	u64 v = 0;

	memcpy(&v, ram + addr, size);
	return v;
}
static inline void poke(u64 addr, unsigned int size, u64 v)
{
	memcpy(ram + addr, &v, size);
}

/* --- descriptors, from SDM vol. 3 "Segment Descriptors": @flags are bits 52..55, @access bits 40..47 */

static inline u64 descriptor(u32 base, u32 limit, u8 access, u8 flags)
{
	return (u64)(limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 |
	       (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}
static inline u64 gate(u16 sel, u32 off, u8 access, u8 low)
{
	return (off & 0xffff) | (u64)sel << 16 | (u64)low << 32 | (u64)access << 40 | (u64)(off >> 16) << 48;
}
static inline void set_desc(u16 sel, u64 d)
{
	poke(GDT + (sel & ~7u), 8, d);
}
static inline void set_gate32(unsigned int vec, u16 sel, u32 off, u8 access)
{
	poke(IDT + vec * 8, 8, gate(sel, off, access, 0));
}
static inline void set_gate64(unsigned int vec, u16 sel, u64 off, u8 access, u8 ist)
{
	poke(IDT + vec * 16, 8, gate(sel, (u32)off, access, ist));
	poke(IDT + vec * 16 + 8, 8, off >> 32);
}

static inline void tables(bool long_mode)
{
	static const struct { u16 sel; u32 limit; u8 access, flags; } d[] = {
		{ SEL_CODE32, 0xfffff, 0x9a, 0xc }, { SEL_DATA, 0xfffff, 0x92, 0xc },
		{ SEL_CODE32_3, 0xfffff, 0xfa, 0xc }, { SEL_DATA_3, 0xfffff, 0xf2, 0xc },
		{ SEL_CODE64_3, 0xfffff, 0xfa, 0xa }, { SEL_CODE64, 0xfffff, 0x9a, 0xa },
		{ SEL_CONF, 0xfffff, 0x9e, 0xc }, { SEL_ABSENT, 0xfffff, 0x12, 0xc },
		{ SEL_RODATA, 0xfffff, 0x90, 0xc }, { SEL_XONLY, 0xfffff, 0x98, 0xc },
		{ SEL_CODE16, 0xffff, 0x9a, 0 }, { SEL_SS16, 0xffff, 0x92, 0 }, { SEL_SMALL, 0xfff, 0x9a, 4 },
	};

	memset(ram, 0, 0x60000);
	for (unsigned int i = 0; i < 8; i++)
		poke(0x3000 + i * 8, 8, i == HOLE >> 21 ? 0 : (u64)i << 21 | 0x87);
	poke(0x2000, 8, 0x3000 | 7);
	poke(0x1000, 8, 0x2000 | 7);
	for (unsigned int i = 0; i < ARRAY_SIZE(d); i++)
		set_desc(d[i].sel, descriptor(0, d[i].limit, d[i].access, d[i].flags));
	set_desc(SEL_TSS, descriptor(TSS, 0x2067, 0x8b, 0));
	set_desc(SEL_LDT, descriptor(LDT, 0xff, 0x82, 0));
	set_desc(SEL_TSS2, descriptor(TSS2, 0x67, 0x89, 0));
	if (!long_mode)
		set_desc(SEL_TASKGATE, gate(SEL_TSS2, 0, 0x85, 0));
	for (unsigned int v = 0; v < 256; v++) {
		if (long_mode)
			set_gate64(v, SEL_CODE64, HANDLERS + v * 16, 0x8e, 0);
		else
			set_gate32(v, SEL_CODE32, HANDLERS + v * 16, 0x8e);
		ram[HANDLERS + v * 16] = 0xf4;
	}
	if (long_mode) {
		poke(TSS + 4, 8, STACK0);
		poke(TSS + 0x24, 8, STACK_IST);
	} else {
		poke(TSS + 4, 4, STACK0);
		poke(TSS + 8, 4, SEL_DATA);
	}
	poke(TSS + 0x66, 2, 0x68);
}

static inline void seg_set(struct x86_segreg *r, u16 sel, u16 attr)
{
	*r = (struct x86_segreg) { .sel = sel, .attr = attr, .limit = 0xffffffff };
}

static inline void common_state(void)
{
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[X86_RSP] = STACK;
	s->rip = CODE;
	emul_x86_set_rflags(vcpu, X86_FLAG1);
	s->gdtr = (struct x86_dtr) { GDT, SEL_END - 1 };
	s->idtr = (struct x86_dtr) { IDT, 0xfff };
	s->ldtr = (struct x86_segreg) { 0 };
	s->tr = (struct x86_segreg) { .sel = SEL_TSS, .attr = 0x8b, .limit = 0x2067, .base = TSS };
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
	s->cr3 = 0x1000;
	s->intr_shadow = s->halted = s->nmi_masked = 0;
}

/* Flat protected mode of 32 bits without paging, at privilege level @cpl */
static inline void protected32(unsigned int cpl)
{
	tables(false);
	common_state();
	s->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE;
	s->cr4 = s->efer = 0;
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		seg_set(&s->seg[i], (cpl ? SEL_DATA_3 : SEL_DATA) | cpl, 0xc093 | cpl << 5);
	seg_set(&s->seg[X86_CS], (cpl ? SEL_CODE32_3 : SEL_CODE32) | cpl, 0xc09b | cpl << 5);
	emul_x86_changed(vcpu);
}

static inline void long64(unsigned int cpl)
{
	tables(true);
	common_state();
	s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP;
	s->cr4 = X86_CR4_PAE;
	s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE | X86_EFER_NXE;
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		seg_set(&s->seg[i], (cpl ? SEL_DATA_3 : SEL_DATA) | cpl, 0xc093 | cpl << 5);
	seg_set(&s->seg[X86_CS], (cpl ? SEL_CODE64_3 : SEL_CODE64) | cpl, 0xa09b | cpl << 5);
	emul_x86_changed(vcpu);
}

static inline void real_mode(void)
{
	tables(false);
	common_state();
	s->cr0 = X86_CR0_ET;
	s->cr4 = s->efer = 0;
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = (struct x86_segreg) { .attr = 0x93, .limit = 0xffff };
	s->seg[X86_CS] = (struct x86_segreg){ .sel = CODE >> 4, .base = CODE, .attr = 0x93, .limit = 0xffff };
	s->seg[X86_SS] = (struct x86_segreg){ .sel = 0x2000, .base = 0x20000, .attr = 0x93, .limit = 0xffff };
	s->rip = 0;
	s->gpr[X86_RSP] = 0x8000;
	emul_x86_changed(vcpu);
}

static inline void v86_mode(unsigned int iopl)
{
	protected32(0);
	for (unsigned int i = 0; i < X86_SEG_COUNT; i++)
		s->seg[i] = (struct x86_segreg){
			.attr = 0xf3, .limit = 0xffff, .sel = 0x100 + i, .base = (0x100 + i) << 4
		};
	s->seg[X86_CS].sel = CODE >> 4;
	s->seg[X86_CS].base = CODE;
	s->seg[X86_SS].sel = 0x2000;
	s->seg[X86_SS].base = 0x20000;
	s->rip = 0;
	s->gpr[X86_RSP] = 0x8000;
	emul_x86_set_rflags(vcpu, X86_FLAG1 | X86_VM | iopl << 12);
	emul_x86_changed(vcpu);
}

/* Put @n bytes at the instruction pointer and execute one instruction. */
static inline enum emul_exit_reason step_bytes(const u8 *bytes, size_t n)
{
	u64 lin = cpu->code64 ? s->rip : (u32)(s->seg[X86_CS].base + s->rip);
	struct emul_exit exit;
	u64 len = n;
	u8 *p = emul_dma_map(vm, lin, &len, true);

	memcpy(p, bytes, n);
	emul_dma_unmap(vm, lin, n, true);
	emul_step(vcpu, &exit);
	return exit.reason;
}
#define STEP(...) step_bytes((const u8 []){ __VA_ARGS__ }, sizeof((const u8 []){ __VA_ARGS__ }))

/* The vector whose handler the vCPU stands at, or -1. */
static inline int at_handler(void)
{
	if (s->rip < HANDLERS || s->rip >= HANDLERS + 256 * 16 || s->rip % 16)
		return -1;
	return (int)((s->rip - HANDLERS) / 16);
}

/* Item @i of the stack frame at the stack pointer. */
static inline u64 frame(unsigned int i, unsigned int size)
{
	return peek((cpu->code64 ? 0 : s->seg[X86_SS].base) + (s->gpr[X86_RSP] & cpu->stack_mask) + i * size,
		    size);
}

/* One test: the last instruction faulted with @vec and @error, and the frame points at the instruction. */
static inline void faulted(unsigned int size, int vec, u64 error, const char *name, const char *file,
			   int line)
{
	int at = at_handler();
	u64 err = frame(0, size), rip = frame(1, size);

	if (!tap_result(at == vec && err == error && rip == CODE, file, line, "%s", name))
		diag("vector %d, error %#llx, rip %#llx", at, (unsigned long long)err,
		     (unsigned long long)rip);
}
#define faulted32(vec, error, name)	faulted(4, vec, error, name, __FILE__, __LINE__)
#define faulted64(vec, error, name)	faulted(8, vec, error, name, __FILE__, __LINE__)

#endif /* TENON_SYS_COMMON_H */
