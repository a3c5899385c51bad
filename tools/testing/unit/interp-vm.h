/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * interp-vm.h - a vCPU for tests that execute single instructions
 */
#ifndef TENON_TEST_INTERP_VM_H
#define TENON_TEST_INTERP_VM_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "emul/guest/x86/interp.h"
#include "emul/include/tenon/emul-x86.h"

#define GUEST_RAM	(1UL << 20)	/* page tables */
#define SCRATCH_GPA	(16UL << 20)

static void no_access(void *opaque, struct emul_vcpu *v, enum emul_space space, uint64_t addr, void *data,
		      unsigned int len,
		      bool write)
{
	(void)opaque, (void)v, (void)space, (void)addr, (void)write;
	memset(data, 0xff, len);
}
static int no_ack(void *opaque, struct emul_vcpu *v)
{
	(void)opaque, (void)v;
	return -1;
}
static bool no_intr(void *opaque, struct emul_vcpu *v)
{
	(void)opaque, (void)v;
	return false;
}
static uint8_t no_tpr(void *opaque, struct emul_vcpu *v)
{
	(void)opaque, (void)v;
	return 0;
}
static void no_set_tpr(void *opaque, struct emul_vcpu *v, uint8_t tpr)
{
	(void)opaque, (void)v, (void)tpr;
}
static bool no_rdmsr(void *opaque, struct emul_vcpu *v, uint32_t msr, uint64_t *val)
{
	(void)opaque, (void)v, (void)msr, (void)val;
	return false;
}
static bool no_wrmsr(void *opaque, struct emul_vcpu *v, uint32_t msr, uint64_t val)
{
	(void)opaque, (void)v, (void)msr, (void)val;
	return false;
}
static uint64_t no_tsc(void *opaque, struct emul_vcpu *v)
{
	(void)opaque, (void)v;
	return 0;
}

/* Not const: tests put in what they watch. */
static struct emul_ops ops = {
	.access = no_access, .intr_ack = no_ack, .intr_pending = no_intr, .tpr_get = no_tpr,
		.tpr_set = no_set_tpr,
	.msr_read = no_rdmsr, .msr_write = no_wrmsr, .tsc = no_tsc,
};

/* Page tables at the start of @guest_ram that map @pages pages at @at to SCRATCH_GPA, for programs. */
static void map_pages(u8 *guest_ram, const u8 *at, unsigned int pages)
{
	u64 *table = (u64 *)guest_ram, va = (u64)at;
	unsigned int next = 1, i;
	int shift;

	for (i = 0; i < pages; i++, va += 4096) {
		u64 *t = table;

		for (shift = 39; shift > 12; shift -= 9) {
			u64 *e = &t[va >> shift & 511];

			if (!*e)
				*e = (u64)next++ * 4096 | 7;
			t = (u64 *)(guest_ram + (*e & ~0xfffUL));
		}
		t[va >> 12 & 511] = (SCRATCH_GPA + (u64)i * 4096) | 0x67;
	}
}

/* A vCPU whose guest memory is @pages pages at @at, found at the same addresses there as here. */
static struct x86_cpu *test_cpu(u8 *at, unsigned int pages)
{
	static const struct emul_config cfg = { .max_vcpus = 1, .tsc_hz = 1000000000 };
	struct emul_vm *vm;
	struct x86_cpu *cpu;
	u8 *guest_ram;
	char err[200] = "";

	vm = emul_vm_create(&cfg, &ops, NULL, err, sizeof(err));
	guest_ram = mmap(NULL, GUEST_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!vm || guest_ram == MAP_FAILED || emul_mem_add(vm, 0, GUEST_RAM, guest_ram, 0) ||
	    emul_mem_add(vm, SCRATCH_GPA, pages * 4096, at, 0)) {
		printf("Bail out! no VM: %s\n", err);
		exit(EXIT_FAILURE);
	}
	cpu = x86_cpu(emul_vcpu_create(vm, 0, NULL));
	map_pages(guest_ram, at, pages);
	cpu->s.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP;
	cpu->s.cr4 = X86_CR4_PAE;
	cpu->s.cr3 = 0;
	cpu->s.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	return cpu;
}

/* Flat segments of CPL 3 for code of @m. */
static void test_segments(struct x86_cpu *cpu, enum x86_mode m)
{
	int i;

	for (i = 0; i < X86_SEG_COUNT; i++)
		cpu->s.seg[i] = (struct x86_segreg){
			.sel = 0x2b, .limit = 0xffffffff,
			.attr = X86_ATTR_P | X86_ATTR_S | X86_ATTR_W | X86_ATTR_A | X86_ATTR_DB | X86_ATTR_G |
				3 << X86_ATTR_DPL_SHIFT,
		};
	cpu->s.seg[X86_CS].sel = 0x33;
	cpu->s.seg[X86_CS].attr |= X86_ATTR_CODE;
	if (m == X86_MODE_64)
		cpu->s.seg[X86_CS].attr = (cpu->s.seg[X86_CS].attr & ~X86_ATTR_DB) | X86_ATTR_L;
}

#endif /* TENON_TEST_INTERP_VM_H */
