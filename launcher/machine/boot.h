/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * boot.h - what the loaders of kernel images share
 */
#ifndef TENON_BOOT_H
#define TENON_BOOT_H

#include "../vm.h"
#include "pc.h"

#define BOOT_HEAD	8192u	/* the multiboot header is within this */

/* An open file and its beginning. */
struct image {
	const char *path;
	int fd;
	uint64_t size;
	uint32_t head_len;
	_Alignas(16) uint8_t head[BOOT_HEAD];
};

/* What a loader is to start: in, then out. */
struct boot {
	struct vm *vm;
	const struct image *kernel;
	uint64_t rsdp;
	struct kvm_regs *regs;
	struct kvm_sregs *sregs;
};

/*
 * A loader looks at the head: -ENOEXEC if the image is none of its own (nothing printed), else 0 or -errno.
 */
int boot_linux(struct boot *boot);
int boot_elf(struct boot *boot);
int boot_multiboot(struct boot *boot);		/* images that are not ELF */
/* No kernel: the firmware of the machine finds something to boot. */
int boot_firmware(struct boot *boot);

/* @what names the file in messages. */
int image_open(struct image *img, const char *path, const char *what);
void image_close(struct image *img);
/* The same of a file that is loaded at every reset. It stays open, and is that of the first time: no image_close(). */
int image_open_kept(struct image *img, struct vm *vm, enum vm_image which);
/* Read part of the file; -EINVAL with a message (truncated) or -EIO. */
int image_read(const struct image *img, uint64_t off, void *buf, uint64_t len);
/* The same into RAM at @gpa; -ENOMEM with a message if that is not all RAM. */
int image_load(struct boot *boot, const struct image *img, uint64_t off, uint64_t gpa, uint64_t len);

/*
 * Put the initrd, if there is one, page-aligned below @limit and not below @floor: as high as that allows, or
 * as low if @low. -ENOSPC if there is no room (nothing printed), other errors with a message.
 */
int boot_load_initrd(struct boot *boot, uint64_t floor, uint64_t limit, bool low, uint64_t *addr,
		     uint64_t *size);
/* The command line goes to PC_CMDLINE; @max is the longest that the kernel takes. */
int boot_load_cmdline(struct boot *boot, uint64_t max);

void boot_state_32(struct boot *boot, uint64_t entry);		/* flat 32-bit protected mode */
void boot_state_64(struct boot *boot, uint64_t entry);		/* long mode, first 4 GiB mapped 1:1 */

#endif /* TENON_BOOT_H */
