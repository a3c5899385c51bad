// SPDX-License-Identifier: GPL-2.0-only
/*
 * pio.c - port I/O: to a chip in the kernel, to an eventfd, or to user space

 */
#include <linux/kvm.h>
#include <asm/processor-flags.h>
#include <asm/msr-index.h>

#include "../emul/guest/x86/decode.h"
#include "tenon.h"
#include "trace.h"
#include "vendor.h"

static bool pio_served(struct tenon_vcpu *vcpu, u16 port, unsigned int size, bool in, void *data)
{
	struct tenon_vm *vm = vcpu->vm;

	if (vm->chips && tenon_pio_kernel(vm, port, size, in, data))
		return true;
	if (in)
		return false;
	return tenon_ioeventfd_write(vm, true, port, size, data) ||
	       tenon_coalesced_write(vcpu, true, port, size, data);
}

static void pio_exit(struct tenon_vcpu *vcpu, u16 port, unsigned int size, bool in, u32 count)
{
	struct kvm_run *run = vcpu->run;

	vcpu->stats.io_user++;
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = count;
	run->io.data_offset = TENON_PIO_PAGE * PAGE_SIZE;
}

static void pio_to_rax(struct tenon_vcpu *vcpu, unsigned int size, const void *data)
{
	u32 value = 0;

	memcpy(&value, data, size);
	if (size == 4)
		vcpu->gpr[X86_RAX] = value;
	else if (size == 2)
		vcpu->gpr[X86_RAX] = (vcpu->gpr[X86_RAX] & ~0xffffull) | value;
	else
		vcpu->gpr[X86_RAX] = (vcpu->gpr[X86_RAX] & ~0xffull) | value;
}

static int pio_in_done(struct tenon_vcpu *vcpu)
{
	u32 data = 0;

	memcpy(&data, vcpu->pio_data, vcpu->pio.size);
	trace_tenon_pio(vcpu->id, true, vcpu->pio.port, vcpu->pio.size, 1, data);
	pio_to_rax(vcpu, vcpu->pio.size, &data);
	return 1;
}

int tenon_pio(struct tenon_vcpu *vcpu, u16 port, unsigned int size, bool in, u64 next_rip)
{
	u32 data = vcpu->gpr[X86_RAX];

	tenon_advance(vcpu, next_rip);
	if (!in)
		trace_tenon_pio(vcpu->id, false, port, size, 1, data & GENMASK(size * 8 - 1, 0));
	if (pio_served(vcpu, port, size, in, &data)) {
		if (in) {
			trace_tenon_pio(vcpu->id, true, port, size, 1, data & GENMASK(size * 8 - 1, 0));
			pio_to_rax(vcpu, size, &data);
		}
		return 1;
	}
	pio_exit(vcpu, port, size, in, 1);
	if (in) {
		vcpu->pio.port = port;
		vcpu->pio.size = size;
		vcpu->complete = pio_in_done;
	} else {
		memcpy(vcpu->pio_data, &data, size);
	}
	return 0;
}

/* ---- INS and OUTS ---- */

static u64 addr_mask(unsigned int addrsize)
{
	return addrsize == 8 ? ~0ull : addrsize == 4 ? 0xffffffffull : 0xffffull;
}

static void add_reg(struct tenon_vcpu *vcpu, unsigned int reg, u64 delta, unsigned int addrsize)
{
	const u64 mask = addr_mask(addrsize), old = vcpu->gpr[reg];
	const u64 value = (old + delta) & mask;

	/* A 32-bit register's high half is cleared, a 16-bit one's is kept. */
	vcpu->gpr[reg] = addrsize == 2 ? (old & ~mask) | value : value;
}

/* Guest memory by linear address, in one page. */
static int string_copy(struct tenon_vcpu *vcpu, const struct tenon_code *code, u64 linear, void *data,
		       unsigned int len, bool write)
{
	const u32 access = (write ? TENON_ACCESS_WRITE : 0) | (code->cpl == 3 ? TENON_ACCESS_USER : 0);
	unsigned int done = 0;
	u64 gpa;
	u32 error;

	while (done < len) {
		const u64 at = linear + done;
		const unsigned int part =
			min_t(unsigned int, len - done, PAGE_SIZE - (at & ~PAGE_MASK));
		int ret;

		if (tenon_gva_to_gpa(vcpu, code, at, access, &gpa, &error)) {
			tenon_queue_exception(vcpu, 14, true, error, at);
			return -EFAULT;
		}
		ret = write ? tenon_write_phys(vcpu->vm, gpa, data + done, part) :
			      tenon_read_phys(vcpu->vm, gpa, data + done, part);
		/* String I/O to and from MMIO: reads as ones, writes go nowhere. */
		if (ret && !write)
			memset(data + done, 0xff, part);
		done += part;
	}
	return 0;
}

/* @count elements are through: move the registers on. */
static void string_step(struct tenon_vcpu *vcpu, unsigned int reg, u32 count, unsigned int size,
			unsigned int addrsize, bool rep, u64 next_rip)
{
	const u64 bytes = (u64)count * size;

	add_reg(vcpu, reg, vcpu->rflags & X86_EFLAGS_DF ? -bytes : bytes, addrsize);
	if (rep)
		add_reg(vcpu, X86_RCX, -(u64)count, addrsize);
	tenon_advance(vcpu, rep && (vcpu->gpr[X86_RCX] & addr_mask(addrsize)) ? vcpu->rip : next_rip);
}

/* pio.count also holds the address size and whether it repeats, in its high half. */
#define STRING_REP	   BIT(31)
#define STRING_ADDRSIZE(x) ((x) >> 24 & 0xf)

static int string_in_done(struct tenon_vcpu *vcpu)
{
	const unsigned int addrsize = STRING_ADDRSIZE(vcpu->pio.count);
	u32 count = vcpu->pio.count & 0xffff;
	struct tenon_code code;

	/* The caller may have set RCX meanwhile: the guest's memory takes no more than that. */
	if (vcpu->pio.count & STRING_REP)
		count = min_t(u64, count, vcpu->gpr[X86_RCX] & addr_mask(addrsize));

	tenon_vendor->get_code(vcpu, &code);
	if (string_copy(vcpu, &code, vcpu->pio.linear, vcpu->pio_data, count * vcpu->pio.size, true))
		return 1;
	string_step(vcpu, X86_RDI, count, vcpu->pio.size, addrsize, vcpu->pio.count & STRING_REP,
		    vcpu->pio.next_rip);
	return 1;
}

int tenon_pio_string(struct tenon_vcpu *vcpu, u16 port, unsigned int size, bool in, bool rep,
		     u64 next_rip)
{
	const unsigned int reg = in ? X86_RDI : X86_RSI;
	unsigned int seg = X86_ES, addrsize, n;
	const struct x86_insn *insn;
	struct tenon_code code;
	u8 bytes[TENON_FETCH_MAX], data[4] = {};
	u64 count = 1, linear, room;
	u32 i;

	/* The instruction tells segment and address size; not every processor does. */
	tenon_vendor->get_code(vcpu, &code);
	if (tenon_fetch(vcpu, &code, bytes, &n))
		return 1;
	insn = tenon_decode(vcpu, &code, bytes, n);
	if (!insn)
		return 1;
	addrsize = insn->addrsize;
	if (!in)
		seg = insn->seg;
	if (rep) {
		count = vcpu->gpr[X86_RCX] & addr_mask(addrsize);
		if (!count) {
			tenon_advance(vcpu, next_rip);
			return 1;
		}
	}
	if (tenon_linear(vcpu, &code, seg, vcpu->gpr[reg] & addr_mask(addrsize), size, in, &linear))
		return 1;

	/* As much as lies in one page; downwards, and across its edge, one by one. */
	room = (PAGE_SIZE - (linear & ~PAGE_MASK)) / size;
	if (vcpu->rflags & X86_EFLAGS_DF || !room)
		room = 1;
	count = min_t(u64, count, room);
	trace_tenon_pio(vcpu->id, in, port, size, count, 0);

	if (!in) {
		if (string_copy(vcpu, &code, linear, vcpu->pio_data, count * size, false))
			return 1;
		/* The page is user space's as well: a chip gets a copy. */
		memcpy(data, vcpu->pio_data, size);
		if (pio_served(vcpu, port, size, false, data)) {
			for (i = 1; i < count; i++) {
				memcpy(data, vcpu->pio_data + i * size, size);
				pio_served(vcpu, port, size, false, data);
			}
			string_step(vcpu, reg, count, size, addrsize, rep, next_rip);
			return 1;
		}
		string_step(vcpu, reg, count, size, addrsize, rep, next_rip);
		pio_exit(vcpu, port, size, false, count);
		return 0;
	}

	if (pio_served(vcpu, port, size, true, data)) {
		if (string_copy(vcpu, &code, linear, data, size, true))
			return 1;
		string_step(vcpu, reg, 1, size, addrsize, rep, next_rip);
		return 1;
	}
	vcpu->pio.size = size;
	vcpu->pio.linear = linear;
	vcpu->pio.next_rip = next_rip;
	vcpu->pio.count = count | addrsize << 24 | (rep ? STRING_REP : 0);
	vcpu->complete = string_in_done;
	pio_exit(vcpu, port, size, true, count);
	return 0;
}
