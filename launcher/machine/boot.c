// SPDX-License-Identifier: GPL-2.0-only
/*
 * boot.c - from an empty memory to the first instruction: which loader an image is for, and what all loaders
 * need
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../msg.h"
#include "boot.h"
#include "machine.h"

/* Files */

/* @fd: -1 if it is to be opened. */
static int open_at(struct image *img, int fd, const char *path, const char *what)
{
	struct stat st;
	int err = 0;

	*img = (struct image){ .path = path, .fd = fd };
	if (fd < 0)
		img->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (img->fd < 0 || fstat(img->fd, &st)) {
		err = -errno;
		msg_error("open %s '%s': %s. Check the path and its permissions", what, path, strerror(-err));
	} else if (!S_ISREG(st.st_mode)) {
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
		msg_error("open %s '%s': it is %s. Give the path of a file", what, path,
			  S_ISDIR(st.st_mode) ? "a directory" : "not a regular file");
	} else if (!st.st_size) {
		err = -EINVAL;
		msg_error("open %s '%s': the file is empty. Was it copied or built completely?", what, path);
	}
	if (!err) {
		img->size = st.st_size;
		img->head_len = img->size < BOOT_HEAD ? img->size : BOOT_HEAD;
		err = image_read(img, 0, img->head, img->head_len);
	}
	if (err)
		image_close(img);
	return err;
}

int image_open(struct image *img, const char *path, const char *what)
{
	return open_at(img, -1, path, what);
}

int image_open_kept(struct image *img, struct vm *vm, enum vm_image which)
{
	const char *path = which == VM_IMAGE_KERNEL ? vm->config.kernel : vm->config.initrd;
	int *kept = &vm->image_fd[which];
	int err = open_at(img, *kept ? *kept : -1, path, which == VM_IMAGE_KERNEL ? "kernel" : "initrd");

	*kept = err ? 0 : img->fd;
	return err;
}

void image_close(struct image *img)
{
	if (img->fd >= 0)
		close(img->fd);
	img->fd = -1;
}

int image_read(const struct image *img, uint64_t off, void *buf, uint64_t len)
{
	if (off > img->size || len > img->size - off) {
		msg_error("read '%s': it should have %llu bytes at offset %llu, but ends at %llu. It is "
			  "truncated or damaged: copy or build it again",
			  img->path, (unsigned long long)len, (unsigned long long)off,
			  (unsigned long long)img->size);
		return -EINVAL;
	}
	while (len) {
		ssize_t done = pread(img->fd, buf, len, off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0) {
			msg_error("read '%s' at offset %llu: %s", img->path, (unsigned long long)off,
				  done ? strerror(errno) : "the file has become shorter");
			return -EIO;
		}
		buf = (char *)buf + done;
		off += done;
		len -= done;
	}
	return 0;
}

int image_load(struct boot *boot, const struct image *img, uint64_t off, uint64_t gpa, uint64_t len)
{
	void *host = vm_ram_ptr(boot->vm, gpa, len);

	if (!host) {
		msg_error("load '%s': it wants %llu bytes at 0x%llx, where this machine of %llu MiB has no "
			  "memory. Give it more with --memory",
			  img->path, (unsigned long long)len, (unsigned long long)gpa,
			  (unsigned long long)(boot->vm->config.memory >> 20));
		return -ENOMEM;
	}
	return image_read(img, off, host, len);
}

int boot_load_initrd(struct boot *boot, uint64_t floor, uint64_t limit, bool low, uint64_t *addr,
		     uint64_t *size)
{
	struct image img;
	int err;

	*addr = 0;
	*size = 0;
	if (!boot->vm->config.initrd)
		return 0;
	err = image_open_kept(&img, boot->vm, VM_IMAGE_INITRD);
	if (err)
		return err;
	floor = (floor + 4095) & ~4095ull;
	if (limit < floor || img.size > limit - floor || ((limit - img.size) & ~4095ull) < floor) {
		err = -ENOSPC;
	} else {
		*addr = low ? floor : (limit - img.size) & ~4095ull;
		*size = img.size;
		err = image_load(boot, &img, 0, *addr, *size);
	}
	return err;
}

int boot_load_cmdline(struct boot *boot, uint64_t max)
{
	const char *cmdline = boot->vm->config.append ? boot->vm->config.append : "";
	size_t len = strlen(cmdline);

	if (max > PC_CMDLINE_MAX - 1)
		max = PC_CMDLINE_MAX - 1;
	if (len > max) {
		msg_error("pass the command line to kernel '%s': it has %zu characters, and the kernel takes "
			  "%llu at most. Shorten --append",
			  boot->kernel->path, len, (unsigned long long)max);
		return -E2BIG;
	}
	return vm_write(boot->vm, PC_CMDLINE, cmdline, len + 1) ? 0 : -EFAULT;
}

/* Start states */

enum { SEL_CODE = 0x10, SEL_DATA = 0x18, SEL_TSS = 0x20 };	/* the first two as Linux wants them */

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool is_long)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = !is_long,
		.l = is_long,
	};
}

static void state_common(struct boot *boot, uint64_t entry, bool is_long)
{
	const uint64_t gdt[] = {
		0, 0,
		is_long ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
		0x00cf93000000ffff,
		0x00008b0000000067, 0,
	};
	struct kvm_sregs *sregs = boot->sregs;

	vm_write(boot->vm, PC_GDT, gdt, sizeof(gdt));
	*boot->regs = (struct kvm_regs){ .rip = entry, .rflags = 2 };
	*sregs = (struct kvm_sregs){
		.cs = segment(SEL_CODE, 11, is_long),
		.tr = { .limit = 0x67, .selector = SEL_TSS, .type = 11, .present = 1 },
		.ldt = { .type = 2, .unusable = 1 },
		.gdt = { .base = PC_GDT, .limit = sizeof(gdt) - 1 },
		.cr0 = 0x11,			/* PE, ET */
		.apic_base = PC_LAPIC_ADDR | 0x900,	/* enabled, boot processor */
	};
	sregs->ds = segment(SEL_DATA, 3, false);
	sregs->es = sregs->fs = sregs->gs = sregs->ss = sregs->ds;
}

void boot_state_32(struct boot *boot, uint64_t entry)
{
	state_common(boot, entry, false);
}

void boot_state_64(struct boot *boot, uint64_t entry)
{
	enum { PRESENT = 1, WRITE = 2, LARGE = 0x80 };
	const uint64_t pdpt = PC_PAGE_TABLES + 4096, pd = PC_PAGE_TABLES + 2 * 4096;
	uint64_t table[512];
	unsigned int i, n;

	state_common(boot, entry, true);
	memset(table, 0, sizeof(table));
	table[0] = pdpt | PRESENT | WRITE;
	vm_write(boot->vm, PC_PAGE_TABLES, table, sizeof(table));
	for (i = 0; i < 4; i++)
		table[i] = (pd + 4096 * i) | PRESENT | WRITE;
	vm_write(boot->vm, pdpt, table, sizeof(table));
	for (n = 0; n < 4; n++) {
		for (i = 0; i < 512; i++)
			table[i] = ((uint64_t)n << 30 | (uint64_t)i << 21) | PRESENT | WRITE | LARGE;
		vm_write(boot->vm, pd + 4096 * n, table, sizeof(table));
	}
	boot->sregs->cr0 |= 0x80000000;		/* PG */
	boot->sregs->cr3 = PC_PAGE_TABLES;
	boot->sregs->cr4 = 0x20;		/* PAE */
	boot->sregs->efer = 0x500;		/* LME, LMA */
}

/* What a BIOS leaves in low memory and guests look at. */
static void write_bda(struct vm *vm)
{
	static const uint8_t zero[1024];
	const uint16_t com1 = 0x3f8, ebda = PC_EBDA >> 4, base_kib = PC_EBDA >> 10;
	const uint8_t ebda_kib = 1;

	vm_write(vm, 0, zero, sizeof(zero));
	vm_write(vm, PC_BDA, zero, 256);
	vm_write(vm, PC_BDA, &com1, 2);
	vm_write(vm, PC_BDA + 0x0e, &ebda, 2);
	vm_write(vm, PC_BDA + 0x13, &base_kib, 2);
	vm_write(vm, PC_EBDA, zero, sizeof(zero));
	vm_write(vm, PC_EBDA, &ebda_kib, 1);
}

/* Nobody wants it: say what it looks like. */
static int refuse(const struct image *img)
{
	static const struct {
		uint32_t at, len;
		const char *magic, *what;
	} known[] = {
		{ 0, 2, "\x1f\x8b", "a gzip file. Unpack it: zcat FILE >vmlinux" },
		{ 0, 6, "\xfd" "7zXZ\0", "an xz file. Unpack it: xz -dc FILE >vmlinux" },
		{ 0, 4, "\x28\xb5\x2f\xfd", "a zstd file. Unpack it: zstd -dc FILE >vmlinux" },
		{ 0, 3, "BZh", "a bzip2 file. Unpack it: bzip2 -dc FILE >vmlinux" },
		{ 0, 4, "\x04\x22\x4d\x18", "an lz4 file. Unpack it: lz4 -dc FILE >vmlinux" },
		{ 0, 6, "070701", "a cpio archive: an initrd, for --initrd. Give a kernel with --kernel" },
		{ 56, 4, "ARM\x64", "a kernel for 64-bit ARM. This machine is an x86 PC" },
		{ 48, 5, "RISCV", "a kernel for RISC-V. This machine is an x86 PC" },
		{ 0, 4, "\x27\x05\x19\x56", "a U-Boot image. Take the bzImage that it was made from" },
		{ 0, 4, "QFI\xfb", "a qcow2 disk image. Convert it (qemu-img convert -O raw) for --disk" },
		{ 0, 2, "MZ", "an EFI or DOS program, no Linux bzImage. Give a bzImage or an ELF kernel" },
		{ 510, 2, "\x55\xaa", "a boot sector or disk image, for --disk. Give a kernel with --kernel" },
	};
	const char *what = "no kernel of a kind that is known. Give a bzImage (/boot/vmlinuz-* of an x86 "
			   "distribution), an ELF kernel with a PVH note (vmlinux with CONFIG_PVH=y), or a "
			   "multiboot image";
	unsigned int i;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].at + known[i].len > img->head_len ||
		    memcmp(img->head + known[i].at, known[i].magic, known[i].len))
			continue;
		what = known[i].what;
		break;
	}
	msg_error("load kernel '%s': it is %s", img->path, what);
	return -ENOEXEC;
}

int machine_load(struct vm *vm, struct kvm_regs *regs, struct kvm_sregs *sregs)
{
	static int (*const loader[])(struct boot *boot) = { boot_linux, boot_elf, boot_multiboot };
	struct boot boot = { .vm = vm, .regs = regs, .sregs = sregs };
	struct image kernel;
	unsigned int i;
	int err;

	if (!vm->config.kernel && !vm->config.firmware) {
		msg_error("start the machine: nothing to start. Give a disk, or a kernel with --kernel");
		return -EINVAL;
	}
	if (pc_low_ram_end(vm) <= PC_HIGH) {
		msg_error("start the machine: %llu KiB of memory are too little for a PC. Give it more with "
			  "--memory",
			  (unsigned long long)(vm->config.memory >> 10));
		return -ENOMEM;
	}
	if (vm->config.firmware)
		return boot_firmware(&boot);
	write_bda(vm);
	err = acpi_build(vm, PC_ACPI, &boot.rsdp);
	if (!err)
		err = smbios_build(vm);
	if (!err)
		err = mptable_build(vm);
	if (!err)
		err = image_open_kept(&kernel, vm, VM_IMAGE_KERNEL);
	if (err)
		return err;

	boot.kernel = &kernel;
	err = -ENOEXEC;
	for (i = 0; i < sizeof(loader) / sizeof(loader[0]) && err == -ENOEXEC; i++)
		err = loader[i](&boot);
	if (err == -ENOEXEC)
		err = refuse(&kernel);
	return err;
}
