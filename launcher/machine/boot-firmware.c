// SPDX-License-Identifier: GPL-2.0-only
/*
 * boot-firmware.c - firmware boots the machine, as on a PC: SeaBIOS, from its own image
 *
 * SDM vol. 3 "First Instruction Executed": the processor starts 16 bytes below 4 GiB, where the image ends. Its
 * last 128 KiB also appear below 1 MiB. A real chip set shows the ROM there until firmware has copied it to the
 * RAM beneath (the i440FX's PAM registers); here that RAM holds the copy from the start, and stays writable.
 * The PAM registers keep what is written, so the copying that firmware does changes nothing.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "../msg.h"
#include "boot.h"
#include "machine.h"
#include "pci.h"

#define ROM_UNIT	0x10000u
#define ROM_MAX		(16u << 20)	/* what lies above the local APICs */
#define SHADOW_MAX	0x20000u

int firmware_map(struct vm *vm)
{
	struct image img;
	uint64_t size;
	void *host;
	int err;

	if (!vm->config.firmware)
		return 0;
	err = image_open(&img, vm->config.firmware, "firmware");
	if (err)
		return err;
	size = img.size;
	if (size % ROM_UNIT || size > ROM_MAX) {
		msg_error("load firmware '%s': it has %llu bytes, and an image for a PC is a multiple of 64 KiB, 16 MiB "
			  "at most. Give a file such as bios-256k.bin of the package seabios", vm->config.firmware,
			  (unsigned long long)size);
		image_close(&img);
		return -EINVAL;
	}
	host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (host == MAP_FAILED) {
		err = -errno;
		msg_error("get memory for the firmware: %s", strerror(-err));
	} else {
		err = image_read(&img, 0, host, size);
		vm->rom = (struct vm_ram){ .gpa = (1ull << 32) - size, .size = size, .host = host };
		mprotect(host, size, PROT_READ);
	}
	image_close(&img);
	return err;
}

void firmware_unmap(struct vm *vm)
{
	if (vm->rom.size)
		munmap(vm->rom.host, vm->rom.size);
	vm->rom.size = 0;
}

/* SDM vol. 3 "Processor State After Reset" */
static void reset_state(struct boot *boot)
{
	const struct kvm_segment data = { .limit = 0xffff, .type = 3, .present = 1, .s = 1 };

	*boot->regs = (struct kvm_regs){ .rip = 0xfff0, .rflags = 2, .rdx = 0x600 };
	*boot->sregs = (struct kvm_sregs){
		.cs = { .base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .type = 11, .present = 1, .s = 1 },
		.ds = data, .es = data, .fs = data, .gs = data, .ss = data,
		.tr = { .limit = 0xffff, .type = 11, .present = 1 },
		.ldt = { .limit = 0xffff, .type = 2, .present = 1 },
		.gdt = { .limit = 0xffff },
		.idt = { .limit = 0xffff },
		.cr0 = 0x60000010,
		.apic_base = PC_LAPIC_ADDR | 0x900,
	};
}

int boot_firmware(struct boot *boot)
{
	struct vm *vm = boot->vm;
	uint64_t shadow = vm->rom.size < SHADOW_MAX ? vm->rom.size : SHADOW_MAX;
	uint64_t tables = (pc_low_ram_end(vm) - PC_ACPI_SIZE) & ~4095ull;
	int err = acpi_build(vm, tables, &boot->rsdp);

	if (!err)
		err = fw_cfg_fill(vm, tables);
	if (err)
		return err;
	if (!vm_write(vm, PC_HIGH - shadow, (char *)vm->rom.host + vm->rom.size - shadow, shadow))
		return -EFAULT;
	reset_state(boot);
	return 0;
}
