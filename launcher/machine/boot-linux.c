// SPDX-License-Identifier: GPL-2.0-only
/*
 * boot-linux.c - bzImage by the Linux/x86 boot protocol
 *
 * The kernel's documentation, "The Linux/x86 Boot Protocol". The setup code (16-bit) is skipped: what it
 * would find out is written into boot_params, and the kernel is entered at its 64-bit entry point or, if it
 * has none, at the 32-bit one.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <asm/bootparam.h>

#include "../msg.h"
#include "boot.h"
#include "pci.h"

_Static_assert(sizeof(struct boot_params) == 4096, "zero page");
_Static_assert(offsetof(struct boot_params, hdr) == 0x1f1, "setup header");
_Static_assert(offsetof(struct boot_params, e820_table) == 0x2d0, "memory map");
_Static_assert(PC_MEM_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "memory map fits");

#define HDR_OFFSET	0x1f1u
#define HDR_MAGIC	0x53726448u	/* "HdrS" */
#define HDR_END(len)	(0x202u + (len))
#define ENTRY_64	0x200u

/* The oldest that says how long the command line may be; 2.6.22, of 2007. */
#define VERSION_MIN	0x0206

static int read_header(const struct image *img, struct setup_header *hdr)
{
	uint32_t end;

	memset(hdr, 0, sizeof(*hdr));
	if (img->head_len < HDR_END(0) + 6)
		return -ENOEXEC;
	memcpy(hdr, img->head + HDR_OFFSET, HDR_END(0) + 6 - HDR_OFFSET);
	if (hdr->header != HDR_MAGIC || hdr->boot_flag != 0xaa55)
		return -ENOEXEC;
	if (hdr->version < VERSION_MIN) {
		msg_error("load kernel '%s': it speaks version %u.%02u of the boot protocol, and at least "
			  "2.06 is needed (Linux 2.6.22). Use a newer kernel",
			  img->path, hdr->version >> 8, hdr->version & 0xff);
		return -EINVAL;
	}
	/* The jump over the header tells its length: what a later version adds is not there. */
	end = HDR_END(img->head[0x201]);
	if (end > HDR_OFFSET + sizeof(*hdr))
		end = HDR_OFFSET + sizeof(*hdr);
	if (end > img->head_len) {
		msg_error("load kernel '%s': it ends within its header. It is truncated: copy or build it "
			  "again",
			  img->path);
		return -EINVAL;
	}
	memset(hdr, 0, sizeof(*hdr));
	memcpy(hdr, img->head + HDR_OFFSET, end - HDR_OFFSET);
	if (!(hdr->loadflags & LOADED_HIGH)) {
		msg_error("load kernel '%s': it is a zImage, which belongs below 1 MiB. Build a bzImage",
			  img->path);
		return -EINVAL;
	}
	return 0;
}

static void fill_memory_map(struct vm *vm, struct boot_params *bp)
{
	struct pc_mem map[PC_MEM_MAX];
	unsigned int i, n = pc_memory_map(vm, map);

	for (i = 0; i < n; i++)
		bp->e820_table[i] = (struct boot_e820_entry){ map[i].base, map[i].size, map[i].type };
	bp->e820_entries = n;
	bp->alt_mem_k = (pc_low_ram_end(vm) - PC_HIGH) >> 10;
}

/*
 * Below the kernel's limit if it fits there, else wherever a kernel that reads 64-bit addresses can take it.
 */
static int place_initrd(struct boot *boot, struct boot_params *bp, uint64_t floor)
{
	const struct vm *vm = boot->vm;
	uint64_t low_end = pc_low_ram_end(vm), limit = bp->hdr.initrd_addr_max + 1ull, addr, size;
	int err;

	err = boot_load_initrd(boot, floor, limit < low_end ? limit : low_end, false, &addr, &size);
	if (err == -ENOSPC && (bp->hdr.xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G)) {
		err = boot_load_initrd(boot, floor, low_end, false, &addr, &size);
		if (err == -ENOSPC && vm->nr_ram > 1)
			err = boot_load_initrd(boot, vm->ram[1].gpa, vm->ram[1].gpa + vm->ram[1].size, false,
					       &addr, &size);
	}
	if (err == -ENOSPC) {
		msg_error("load initrd '%s': there is no room for it beside the kernel in the %llu MiB of "
			  "memory. Give the machine more with --memory",
			  vm->config.initrd, (unsigned long long)(vm->config.memory >> 20));
		return -ENOMEM;
	}
	bp->hdr.ramdisk_image = addr;
	bp->hdr.ramdisk_size = size;
	bp->ext_ramdisk_image = addr >> 32;
	bp->ext_ramdisk_size = size >> 32;
	return err;
}

int boot_linux(struct boot *boot)
{
	const struct image *img = boot->kernel;
	uint64_t setup, payload, load, needed, low_end = pc_low_ram_end(boot->vm);
	struct boot_params bp;
	int err;

	memset(&bp, 0, sizeof(bp));
	err = read_header(img, &bp.hdr);
	if (err)
		return err;

	setup = ((bp.hdr.setup_sects ? bp.hdr.setup_sects : 4) + 1) * 512u;
	payload = bp.hdr.syssize * 16ull;
	if (setup >= img->size || payload > img->size - setup + 15) {
		msg_error("load kernel '%s': its header speaks of %llu bytes, and the file has %llu. It is "
			  "truncated: copy or build it again",
			  img->path, (unsigned long long)(setup + payload), (unsigned long long)img->size);
		return -EINVAL;
	}
	/* The size is in units of 16 bytes; signatures may follow. */
	if (!payload || payload > img->size - setup)
		payload = img->size - setup;

	load = bp.hdr.version >= 0x020a && bp.hdr.pref_address ? bp.hdr.pref_address : PC_HIGH;
	needed = bp.hdr.version >= 0x020a ? bp.hdr.init_size : 0;
	if (needed < payload)
		needed = payload;
	if (load < PC_HIGH || load >= PCI_MMIO_BASE) {
		msg_error("load kernel '%s': it wants to be at 0x%llx, where no kernel can be. It is "
			  "damaged: copy or build it again",
			  img->path, (unsigned long long)load);
		return -EINVAL;
	}
	if (load > low_end || needed > low_end - load) {
		msg_error("load kernel '%s': it needs the memory from %llu MiB to %llu MiB to unpack itself, "
			  "and the machine has %llu MiB. Give it more with --memory",
			  img->path, (unsigned long long)(load >> 20),
			  (unsigned long long)((load + needed + 0xfffff) >> 20),
			  (unsigned long long)(boot->vm->config.memory >> 20));
		return -ENOMEM;
	}
	err = image_load(boot, img, setup, load, payload);
	if (!err)
		err = boot_load_cmdline(boot, bp.hdr.cmdline_size ? bp.hdr.cmdline_size : 255);
	if (!err)
		err = place_initrd(boot, &bp, load + needed);
	if (err)
		return err;

	bp.hdr.type_of_loader = 0xff;
	bp.hdr.cmd_line_ptr = PC_CMDLINE;
	bp.hdr.code32_start = load;
	bp.hdr.vid_mode = 0xffff;
	bp.hdr.setup_data = 0;
	bp.acpi_rsdp_addr = boot->rsdp;
	fill_memory_map(boot->vm, &bp);
	if (!vm_write(boot->vm, PC_ZERO_PAGE, &bp, sizeof(bp)))
		return -EFAULT;

	if (bp.hdr.version >= 0x020c && (bp.hdr.xloadflags & XLF_KERNEL_64))
		boot_state_64(boot, load + ENTRY_64);
	else
		boot_state_32(boot, load);
	boot->regs->rsi = PC_ZERO_PAGE;
	return 0;
}
