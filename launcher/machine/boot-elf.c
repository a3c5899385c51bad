// SPDX-License-Identifier: GPL-2.0-only
/*
 * boot-elf.c - ELF kernels by PVH, and multiboot images
 *
 * PVH: Xen's "x86/HVM direct boot ABI": the note XEN_ELFNOTE_PHYS32_ENTRY names a 32-bit entry point, EBX
 * points to a start info structure. Multiboot: "The Multiboot Specification", version 0.6.96. An ELF file
 * with both is started by PVH, which also hands over the ACPI tables.
 */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "../msg.h"
#include "boot.h"
#include "pci.h"

#define ELF_MAX_PHDRS		128u
#define ELF_MAX_NOTES		65536u
#define XEN_ELFNOTE_PHYS32_ENTRY 18u

struct elf {
	bool is_64;
	unsigned int nr;
	uint64_t entry, end;		/* end of what is loaded */
	Elf64_Phdr phdr[ELF_MAX_PHDRS];	/* 32-bit ones are widened */
};

/* PVH structures */

#define PVH_MAGIC		0x336ec578u

struct pvh_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};
_Static_assert(sizeof(struct pvh_start_info) == 56, "hvm_start_info version 1");

struct pvh_module {
	uint64_t addr, size, cmdline, reserved;
};

struct pvh_mem {
	uint64_t addr, size;
	uint32_t type, reserved;
};
_Static_assert(sizeof(struct pvh_mem) == 24, "hvm_memmap_table_entry");

struct pvh_area {
	struct pvh_start_info info;
	struct pvh_module module;
	struct pvh_mem mem[PC_MEM_MAX];
};

/* Multiboot structures */

#define MB_HEADER_MAGIC		0x1badb002u
#define MB_LOADER_MAGIC		0x2badb002u
#define MB_HEADER_ADDRS		(1u << 16)	/* addresses in the header instead of ELF */
#define MB_HEADER_UNKNOWN	0x0000fff8u	/* must be understood, and are not */

enum { MB_MEMORY = 1 << 0, MB_CMDLINE = 1 << 2, MB_MODS = 1 << 3, MB_MMAP = 1 << 6, MB_LOADER_NAME = 1 << 9 };

struct mb_header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct mb_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name, apm_table;
};
_Static_assert(offsetof(struct mb_info, mmap_length) == 44, "multiboot information");
_Static_assert(offsetof(struct mb_info, loader_name) == 64, "multiboot information");

struct mb_mem {
	uint32_t size;			/* of what follows */
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));
_Static_assert(sizeof(struct mb_mem) == 24, "multiboot memory map entry");

struct mb_module {
	uint32_t start, end, cmdline, reserved;
};

struct mb_area {
	struct mb_info info;
	struct mb_module module;
	struct mb_mem mem[PC_MEM_MAX];
	char name[8];
};

_Static_assert(sizeof(struct pvh_area) <= PC_ZERO_PAGE - PC_START_INFO, "room below the zero page");
_Static_assert(sizeof(struct mb_area) <= PC_ZERO_PAGE - PC_START_INFO, "room below the zero page");

/* ELF */

static const char *machine_name(unsigned int machine)
{
	switch (machine) {
	case EM_AARCH64:
		return "64-bit ARM";
	case EM_ARM:
		return "ARM";
	case EM_PPC:
	case EM_PPC64:
		return "PowerPC";
	case EM_RISCV:
		return "RISC-V";
	case EM_S390:
		return "s390";
	case EM_MIPS:
		return "MIPS";
	case EM_SPARC:
	case EM_SPARCV9:
		return "SPARC";
	default:
		return "another architecture";
	}
}

static void widen(Elf64_Phdr *out, const Elf32_Phdr *in)
{
	*out = (Elf64_Phdr){
		.p_type = in->p_type,
		.p_offset = in->p_offset,
		.p_paddr = in->p_paddr,
		.p_filesz = in->p_filesz,
		.p_memsz = in->p_memsz,
		.p_align = in->p_align,
	};
}

static int bad_elf(const struct image *img, const char *why)
{
	msg_error("load kernel '%s': %s. Give an ELF kernel for x86, or a bzImage", img->path, why);
	return -EINVAL;
}

static int read_elf(const struct image *img, struct elf *elf)
{
	const Elf64_Ehdr *h64 = (const void *)img->head;
	const Elf32_Ehdr *h32 = (const void *)img->head;
	unsigned int machine, type, i, size;
	uint64_t phoff;
	char why[96];
	int err;

	if (img->head_len < EI_NIDENT || memcmp(img->head, ELFMAG, SELFMAG))
		return -ENOEXEC;
	elf->is_64 = img->head[EI_CLASS] == ELFCLASS64;
	if (img->head_len < (elf->is_64 ? sizeof(*h64) : sizeof(*h32)))
		return bad_elf(img, "the ELF file ends within its header");
	machine = h64->e_machine;
	if (img->head[EI_DATA] != ELFDATA2LSB)
		machine = EM_NONE;
	if (machine != EM_386 && machine != EM_X86_64) {
		snprintf(why, sizeof(why), "it is an ELF file for %s, and this machine is an x86 PC",
			 machine_name(machine));
		return bad_elf(img, why);
	}
	type = h64->e_type;
	if (type != ET_EXEC && type != ET_DYN)
		return bad_elf(img, "it is an ELF object, module or core file, not a linked kernel");

	elf->entry = elf->is_64 ? h64->e_entry : h32->e_entry;
	elf->nr = elf->is_64 ? h64->e_phnum : h32->e_phnum;
	phoff = elf->is_64 ? h64->e_phoff : h32->e_phoff;
	size = elf->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if ((elf->is_64 ? h64->e_phentsize : h32->e_phentsize) != size || !elf->nr || elf->nr > ELF_MAX_PHDRS)
		return bad_elf(img, "the ELF file has no program headers of the usual kind");
	if (phoff > img->size)
		return bad_elf(img, "the ELF file ends before its program headers");
	for (i = 0; i < elf->nr; i++) {
		Elf32_Phdr narrow;

		if (elf->is_64) {
			err = image_read(img, phoff + (uint64_t)i * size, &elf->phdr[i], size);
		} else {
			err = image_read(img, phoff + (uint64_t)i * size, &narrow, size);
			if (!err)
				widen(&elf->phdr[i], &narrow);
		}
		if (err)
			return err;
	}
	return 0;
}

static int load_elf(struct boot *boot, struct elf *elf)
{
	unsigned int i;
	int err;

	elf->end = 0;
	for (i = 0; i < elf->nr; i++) {
		const Elf64_Phdr *p = &elf->phdr[i];
		char *host;

		if (p->p_type != PT_LOAD || !p->p_memsz)
			continue;
		if (p->p_filesz > p->p_memsz)
			return bad_elf(boot->kernel, "an ELF segment is longer in the file than in memory");
		if (p->p_paddr < PC_LOAD_MIN)
			return bad_elf(boot->kernel, "an ELF segment is linked to a physical address below 1 "
						     "MiB, where the machine's own tables are");
		host = vm_ram_ptr(boot->vm, p->p_paddr, p->p_memsz);
		if (!host) {
			msg_error("load kernel '%s': it wants %llu KiB at 0x%llx, where this machine of %llu "
				  "MiB has no memory. Give it more with --memory",
				  boot->kernel->path, (unsigned long long)(p->p_memsz >> 10),
				  (unsigned long long)p->p_paddr,
				  (unsigned long long)(boot->vm->config.memory >> 20));
			return -ENOMEM;
		}
		err = image_read(boot->kernel, p->p_offset, host, p->p_filesz);
		if (err)
			return err;
		memset(host + p->p_filesz, 0, p->p_memsz - p->p_filesz);
		if (p->p_paddr + p->p_memsz > elf->end)
			elf->end = p->p_paddr + p->p_memsz;
	}
	return elf->end ? 0 : bad_elf(boot->kernel, "the ELF file has nothing to load");
}

/* Look for the PVH entry in one note segment. */
static bool find_pvh(const uint8_t *notes, uint64_t len, uint64_t align, uint32_t *entry)
{
	uint64_t at = 0;

	align = align == 8 ? 8 : 4;
	while (len - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr nhdr;
		uint64_t name, desc;

		memcpy(&nhdr, notes + at, sizeof(nhdr));
		name = at + sizeof(nhdr);
		desc = (name + nhdr.n_namesz + align - 1) & ~(align - 1);
		if (desc > len || nhdr.n_descsz > len - desc)
			return false;
		if (nhdr.n_type == XEN_ELFNOTE_PHYS32_ENTRY && nhdr.n_namesz == 4 &&
		    !memcmp(notes + name, "Xen", 4) && nhdr.n_descsz >= 4) {
			memcpy(entry, notes + desc, 4);
			return true;
		}
		at = (desc + nhdr.n_descsz + align - 1) & ~(align - 1);
		if (at > len)
			return false;
	}
	return false;
}

static int pvh_entry(const struct image *img, const struct elf *elf, uint32_t *entry)
{
	static uint8_t notes[ELF_MAX_NOTES];	/* loading is done by one thread */
	unsigned int i;
	int err;

	for (i = 0; i < elf->nr; i++) {
		const Elf64_Phdr *p = &elf->phdr[i];

		if (p->p_type != PT_NOTE || p->p_filesz > sizeof(notes))
			continue;
		err = image_read(img, p->p_offset, notes, p->p_filesz);
		if (err)
			return err;
		if (find_pvh(notes, p->p_filesz, p->p_align, entry))
			return 0;
	}
	return -ENOENT;
}

/* Starting */

static bool in_low_ram(const struct boot *boot, uint64_t entry)
{
	return entry >= PC_HIGH && entry < pc_low_ram_end(boot->vm);
}

static int place_initrd(struct boot *boot, uint64_t floor, bool low, uint64_t *addr, uint64_t *size)
{
	uint64_t limit = pc_low_ram_end(boot->vm);
	int err;

	/* Below 2 GiB: kernels take that for granted. */
	err = boot_load_initrd(boot, floor, limit < 1ull << 31 ? limit : 1ull << 31, low, addr, size);
	if (err != -ENOSPC)
		return err;
	msg_error("load initrd '%s': there is no room for it beside the kernel in the %llu MiB of memory. "
		  "Give the machine more with --memory",
		  boot->vm->config.initrd, (unsigned long long)(boot->vm->config.memory >> 20));
	return -ENOMEM;
}

static int start_pvh(struct boot *boot, const struct elf *elf, uint32_t entry)
{
	struct pc_mem map[PC_MEM_MAX];
	unsigned int i, n = pc_memory_map(boot->vm, map);
	struct pvh_area area = {
		.info = {
			.magic = PVH_MAGIC,
			.version = 1,
			.cmdline = PC_CMDLINE,
			.rsdp = boot->rsdp,
			.memmap = PC_START_INFO + offsetof(struct pvh_area, mem),
			.memmap_entries = n,
		},
	};
	int err;

	if (!in_low_ram(boot, entry))
		return bad_elf(boot->kernel, "its PVH entry point is not in memory");
	err = boot_load_cmdline(boot, PC_CMDLINE_MAX - 1);
	if (!err)
		err = place_initrd(boot, elf->end, false, &area.module.addr, &area.module.size);
	if (err)
		return err;
	if (area.module.size) {
		area.info.nr_modules = 1;
		area.info.modlist = PC_START_INFO + offsetof(struct pvh_area, module);
	}
	for (i = 0; i < n; i++)
		area.mem[i] = (struct pvh_mem){
			.addr = map[i].base,
			.size = map[i].size,
			.type = map[i].type,
		};
	if (!vm_write(boot->vm, PC_START_INFO, &area, sizeof(area)))
		return -EFAULT;
	boot_state_32(boot, entry);
	boot->regs->rbx = PC_START_INFO;
	return 0;
}

static int start_multiboot(struct boot *boot, uint64_t end, uint64_t entry)
{
	struct pc_mem map[PC_MEM_MAX];
	unsigned int i, n = pc_memory_map(boot->vm, map);
	struct mb_area area = {
		.info = {
			.flags = MB_MEMORY | MB_CMDLINE | MB_MODS | MB_MMAP | MB_LOADER_NAME,
			.mem_lower = PC_EBDA >> 10,
			.mem_upper = (pc_low_ram_end(boot->vm) - PC_HIGH) >> 10,
			.cmdline = PC_CMDLINE,
			.mmap_length = n * sizeof(struct mb_mem),
			.mmap_addr = PC_START_INFO + offsetof(struct mb_area, mem),
			.loader_name = PC_START_INFO + offsetof(struct mb_area, name),
		},
		.name = "tenon",
	};
	uint64_t addr, size;
	int err;

	if (!in_low_ram(boot, entry))
		return bad_elf(boot->kernel, "its entry point is not in memory");
	err = boot_load_cmdline(boot, PC_CMDLINE_MAX - 1);
	/* Right behind the kernel: simple kernels map little more than themselves. */
	if (!err)
		err = place_initrd(boot, end, true, &addr, &size);
	if (err)
		return err;
	if (size) {
		area.module.start = addr;
		area.module.end = addr + size;
		area.info.mods_count = 1;
		area.info.mods_addr = PC_START_INFO + offsetof(struct mb_area, module);
	}
	for (i = 0; i < n; i++)
		area.mem[i] = (struct mb_mem){
			.size = sizeof(struct mb_mem) - 4,
			.addr = map[i].base,
			.len = map[i].size,
			.type = map[i].type,
		};
	if (!vm_write(boot->vm, PC_START_INFO, &area, sizeof(area)))
		return -EFAULT;
	boot_state_32(boot, entry);
	boot->regs->rax = MB_LOADER_MAGIC;
	boot->regs->rbx = PC_START_INFO;
	return 0;
}

/* Returns the header's offset, or -ENOEXEC. */
static int find_multiboot(const struct image *img, struct mb_header *hdr)
{
	uint32_t at;

	for (at = 0; at + 12 <= img->head_len; at += 4) {
		memset(hdr, 0, sizeof(*hdr));
		memcpy(hdr, img->head + at, 12);
		if (hdr->magic != MB_HEADER_MAGIC || hdr->magic + hdr->flags + hdr->checksum)
			continue;
		if (hdr->flags & MB_HEADER_ADDRS) {
			if (img->head_len - at < sizeof(*hdr))
				return -ENOEXEC;
			memcpy(hdr, img->head + at, sizeof(*hdr));
		}
		return at;
	}
	return -ENOEXEC;
}

static int check_multiboot(const struct image *img, const struct mb_header *hdr)
{
	if (!(hdr->flags & MB_HEADER_UNKNOWN))
		return 0;
	msg_error("load kernel '%s': its multiboot header asks for a feature that is not served (flags "
		  "0x%x). Use a kernel without it",
		  img->path, hdr->flags);
	return -EINVAL;
}

int boot_elf(struct boot *boot)
{
	const struct image *img = boot->kernel;
	struct mb_header mb;
	uint32_t entry;
	struct elf elf;
	int err;

	err = read_elf(img, &elf);
	if (err)
		return err;
	err = pvh_entry(img, &elf, &entry);
	if (!err) {
		err = load_elf(boot, &elf);
		return err ? err : start_pvh(boot, &elf, entry);
	}
	if (err != -ENOENT)
		return err;
	if (find_multiboot(img, &mb) < 0)
		return bad_elf(img, "the ELF file has neither a PVH entry note (Linux: CONFIG_PVH=y; the "
				    "bzImage needs none) nor a multiboot header");
	if (mb.flags & MB_HEADER_ADDRS)
		return boot_multiboot(boot);
	err = check_multiboot(img, &mb);
	if (!err)
		err = load_elf(boot, &elf);
	if (err)
		return err;
	return start_multiboot(boot, elf.end, elf.entry);
}

int boot_multiboot(struct boot *boot)
{
	const struct image *img = boot->kernel;
	uint64_t off, load_len, mem_len;
	struct mb_header mb;
	int at, err;
	char *host;

	at = find_multiboot(img, &mb);
	if (at < 0)
		return -ENOEXEC;
	err = check_multiboot(img, &mb);
	if (err)
		return err;
	if (!(mb.flags & MB_HEADER_ADDRS))
		return bad_elf(img, "its multiboot header has no load addresses, and it is not ELF");
	if (mb.load_addr < PC_HIGH || mb.header_addr < mb.load_addr ||
	    mb.header_addr - mb.load_addr > (uint32_t)at)
		return bad_elf(img, "the load addresses in its multiboot header make no sense");
	off = at - (mb.header_addr - mb.load_addr);
	load_len = img->size - off;
	if (mb.load_end_addr) {
		if (mb.load_end_addr < mb.load_addr)
			return bad_elf(img, "the load addresses in its multiboot header make no sense");
		load_len = mb.load_end_addr - mb.load_addr;
	}
	mem_len = load_len;
	if (mb.bss_end_addr > mb.load_addr && mb.bss_end_addr - mb.load_addr > mem_len)
		mem_len = mb.bss_end_addr - mb.load_addr;
	host = vm_ram_ptr(boot->vm, mb.load_addr, mem_len);
	if (!host) {
		msg_error("load kernel '%s': it wants %llu KiB at 0x%x, where this machine of %llu MiB has "
			  "no memory. Give it more with --memory",
			  img->path, (unsigned long long)(mem_len >> 10), mb.load_addr,
			  (unsigned long long)(boot->vm->config.memory >> 20));
		return -ENOMEM;
	}
	err = image_read(img, off, host, load_len);
	if (err)
		return err;
	memset(host + load_len, 0, mem_len - load_len);
	return start_multiboot(boot, mb.load_addr + mem_len, mb.entry_addr);
}
