// SPDX-License-Identifier: GPL-2.0-only
/*
 * machine-boot.c - kernel images: whole ones, broken ones, and random ones
 *
 * The oracles are the boot protocols ("The Linux/x86 Boot Protocol", the PVH boot ABI, the Multiboot
 * Specification) as the images here are built by them; for the broken ones, the sanitizers and an error
 * instead of a start.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <asm/bootparam.h>

#include "machine-fake.h"

#define IMG_MAX	65536u

static char dir[] = "/tmp/tenon-boot-XXXXXX";
static char path[64], initrd[64];
static uint8_t img[IMG_MAX];
static size_t img_len;
static struct kvm_regs regs;
static struct kvm_sregs sregs;

static void write_file(const char *name, const void *data, size_t len)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len)
		abort();
	close(fd);
}

static int load(struct vm *vm)
{
	int err;

	write_file(path, img, img_len);
	memset(&regs, 0xee, sizeof(regs));
	memset(&sregs, 0xee, sizeof(sregs));
	quiet(true);
	err = machine_load(vm, &regs, &sregs);
	quiet(false);
	return err;
}

/* Images */

static struct setup_header *make_bzimage(void)
{
	struct setup_header *hdr = (void *)(img + 0x1f1);
	unsigned int i;

	memset(img, 0, sizeof(img));
	img_len = 5 * 512 + 8192;
	for (i = 5 * 512; i < img_len; i++)
		img[i] = i * 13;
	hdr->setup_sects = 4;
	hdr->syssize = 8192 / 16;
	hdr->boot_flag = 0xaa55;
	hdr->jump = 0x6aeb;
	hdr->header = 0x53726448;
	hdr->version = 0x020f;
	hdr->loadflags = LOADED_HIGH;
	hdr->initrd_addr_max = 0x7fffffff;
	hdr->kernel_alignment = 0x200000;
	hdr->relocatable_kernel = 1;
	hdr->xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
	hdr->cmdline_size = 2047;
	hdr->pref_address = 0x1000000;
	hdr->init_size = 0x400000;
	return hdr;
}

static Elf64_Ehdr *make_elf64(bool pvh)
{
	Elf64_Ehdr *h = (void *)img;
	Elf64_Phdr *p = (void *)(img + 64);
	uint32_t *note = (void *)(img + 0x1000);

	memset(img, 0, sizeof(img));
	img_len = 0x3000;
	memcpy(h->e_ident, ELFMAG, 4);
	h->e_ident[EI_CLASS] = ELFCLASS64;
	h->e_ident[EI_DATA] = ELFDATA2LSB;
	h->e_type = ET_EXEC;
	h->e_machine = EM_X86_64;
	h->e_entry = 0xffffffff81000000;
	h->e_phoff = 64;
	h->e_phentsize = sizeof(*p);
	h->e_phnum = 2;
	p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = 0x2000, .p_paddr = 0x1000000, .p_filesz = 0x1000,
			     .p_memsz = 0x3000 };
	p[1] = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = 0x1000, .p_filesz = 64, .p_memsz = 64, .p_align = 4
	};
	memset(img + 0x2000, 0x5a, 0x1000);
	/* One note of another kind before it. */
	note[0] = 4;
	note[1] = 3;
	note[2] = 1;
	memcpy(note + 3, "GNU", 4);
	if (pvh) {
		note[5] = 4;
		note[6] = 8;
		note[7] = 18;
		memcpy(note + 8, "Xen", 4);
		note[9] = 0x1000100;
	}
	return h;
}

static uint32_t *make_multiboot(bool elf, bool addrs)
{
	uint32_t *mb = (void *)(img + 0x800);

	memset(img, 0, sizeof(img));
	img_len = 0x3000;
	if (elf) {
		Elf32_Ehdr *h = (void *)img;
		Elf32_Phdr *p = (void *)(img + 52);

		memcpy(h->e_ident, ELFMAG, 4);
		h->e_ident[EI_CLASS] = ELFCLASS32;
		h->e_ident[EI_DATA] = ELFDATA2LSB;
		h->e_type = ET_EXEC;
		h->e_machine = EM_386;
		h->e_entry = 0x10000c;
		h->e_phoff = 52;
		h->e_phentsize = sizeof(*p);
		h->e_phnum = 1;
		*p = (Elf32_Phdr){ .p_type = PT_LOAD,
				   .p_offset = 0x1000,
				   .p_paddr = 0x100000,
				   .p_filesz = 0x2000,
				   .p_memsz = 0x4000 };
	}
	mb[0] = 0x1badb002;
	mb[1] = addrs ? 0x10003 : 3;
	mb[2] = -(mb[0] + mb[1]);
	if (addrs) {
		mb[3] = 0x200800;	/* header */
		mb[4] = 0x200000;	/* load */
		mb[5] = 0x202000;	/* end of load */
		mb[6] = 0x205000;	/* end of bss */
		mb[7] = 0x200040;	/* entry */
	}
	return mb;
}

/* What a good image leads to */

static void test_linux(struct vm *vm)
{
	struct setup_header *hdr = make_bzimage();
	const struct boot_params *bp = vm_ram_ptr(vm, PC_ZERO_PAGE, 4096);
	const uint64_t *pml4 = vm_ram_ptr(vm, PC_PAGE_TABLES, 4096);
	char *ram = vm->ram[0].host;
	char long_line[3000];

	vm->config.append = "console=ttyS0 test";
	vm->config.initrd = initrd;
	is_u64(load(vm), 0, "a bzImage");
	is_u64(regs.rip, 0x1000200, "64-bit entry");
	is_u64(regs.rsi, PC_ZERO_PAGE, "RSI points to boot_params");
	ok(!memcmp(ram + 0x1000000, img + 5 * 512, 8192), "the protected-mode part is at its preferred "
							  "address");
	ok(sregs.cs.selector == 0x10 && sregs.ds.selector == 0x18 && sregs.cs.l && !sregs.cs.db, "segments");
	ok((sregs.cr0 & 0x80000001) == 0x80000001 && sregs.efer == 0x500 && (sregs.cr4 & 0x20), "long mode "
												"is on");
	is_u64(sregs.cr3, PC_PAGE_TABLES, "page tables");
	is_u64(pml4[0] & ~0xfffull, PC_PAGE_TABLES + 4096, "PML4 entry");
	is_u64(pml4[1024 + 3 * 512 + 511], 0xffe00083, "the last 2 MiB below 4 GiB are mapped");
	is_u64(bp->hdr.type_of_loader, 0xff, "type of loader");
	is_u64(bp->acpi_rsdp_addr, PC_ACPI, "address of the RSDP");
	ok(!strcmp(ram + bp->hdr.cmd_line_ptr, "console=ttyS0 test"), "command line");
	is_u64(bp->hdr.ramdisk_size, 5000, "size of the initrd");
	ok(bp->hdr.ramdisk_image >= 0x1400000 && !(bp->hdr.ramdisk_image & 0xfff) &&
	   bp->hdr.ramdisk_image + 5000 <= vm->ram[0].size, "placed behind the kernel, in RAM, on a page");
	is_u64((uint8_t)ram[bp->hdr.ramdisk_image + 4999], 0x77, "and loaded");
	ok(bp->e820_entries >= 4 && !bp->e820_table[0].addr && bp->e820_table[0].size == PC_EBDA,
	   "memory map");

	hdr->xloadflags = 0;
	is_u64(load(vm), 0, "one without a 64-bit entry");
	ok(regs.rip == 0x1000000 && !(sregs.cr0 & 0x80000000) && sregs.cs.db && !sregs.efer, "32-bit entry");
	hdr = make_bzimage();
	hdr->initrd_addr_max = 0x14fffff;
	is_u64(load(vm), 0, "a limit for the initrd");
	ok(bp->hdr.ramdisk_image + 5000ull <= 0x1500000, "is kept");
	hdr->initrd_addr_max = 0x10fffff;
	hdr->xloadflags &= ~XLF_CAN_BE_LOADED_ABOVE_4G;
	is_u64(load(vm), (uint64_t)-ENOMEM, "or is an error");
	vm->config.initrd = NULL;

	make_bzimage();
	memset(long_line, 'x', sizeof(long_line) - 1);
	long_line[sizeof(long_line) - 1] = 0;
	vm->config.append = long_line;
	is_u64(load(vm), (uint64_t)-E2BIG, "a command line that is too long");
	vm->config.append = NULL;
	make_bzimage()->init_size = 256 << 20;
	is_u64(load(vm), (uint64_t)-ENOMEM, "too little memory");
	make_bzimage()->version = 0x0203;
	is_u64(load(vm), (uint64_t)-EINVAL, "an old protocol");
	make_bzimage()->loadflags = 0;
	is_u64(load(vm), (uint64_t)-EINVAL, "a zImage");
	make_bzimage()->pref_address = 0xfee00000;
	is_u64(load(vm), (uint64_t)-EINVAL, "an address where no RAM can be");
	make_bzimage();
	img_len -= 100;
	is_u64(load(vm), (uint64_t)-EINVAL, "a truncated bzImage");
	img_len = 0x210;
	is_u64(load(vm), (uint64_t)-EINVAL, "truncated within the header");
}

static void test_elf(struct vm *vm)
{
	const struct {
		uint32_t magic, version, flags, nr;
		uint64_t mods, cmdline, rsdp, map;
		uint32_t n, r;
	} * si;
	const uint32_t *mb;
	const uint64_t *mod;
	char *ram = vm->ram[0].host;
	uint32_t *hdr;

	vm->config.append = "pvh test";
	vm->config.initrd = initrd;
	make_elf64(true);
	memset(ram + 0x1000000, 0xcc, 0x4000);
	is_u64(load(vm), 0, "an ELF file with a PVH note");
	ok(regs.rip == 0x1000100 && regs.rbx == PC_START_INFO, "entry and start info");
	ok(sregs.cr0 == 0x11 && sregs.cs.db && sregs.cs.limit == 0xffffffff && sregs.tr.type == 11,
	   "flat 32-bit mode");
	ok((uint8_t)ram[0x1000fff] == 0x5a && !ram[0x1001000] && !ram[0x1002fff] &&
		   (uint8_t)ram[0x1003000] == 0xcc,
	   "segment loaded, its rest zeroed, no more");
	si = (void *)(ram + PC_START_INFO);
	ok(si->magic == 0x336ec578 && si->version == 1 && si->rsdp == PC_ACPI, "start info");
	ok(!strcmp(ram + si->cmdline, "pvh test"), "command line");
	ok(si->n >= 4 && ((uint64_t *)(ram + si->map))[1] == PC_EBDA, "memory map");
	mod = (void *)(ram + si->mods);
	ok(si->nr == 1 && mod[1] == 5000 && (uint8_t)ram[mod[0] + 4999] == 0x77, "module");

	make_elf64(false);
	is_u64(load(vm), (uint64_t)-EINVAL, "no note, no multiboot header");
	make_elf64(true)->e_machine = EM_AARCH64;
	is_u64(load(vm), (uint64_t)-EINVAL, "another architecture");
	make_elf64(true)->e_type = ET_REL;
	is_u64(load(vm), (uint64_t)-EINVAL, "an object file");
	make_elf64(true);
	img_len = 0x2800;
	is_u64(load(vm), (uint64_t)-EINVAL, "a truncated ELF file");
	make_elf64(true);
	((Elf64_Phdr *)(img + 64))->p_paddr = 0x1000;
	is_u64(load(vm), (uint64_t)-EINVAL, "a segment over the machine's tables");
	make_elf64(true);
	((Elf64_Phdr *)(img + 64))->p_paddr = 0xfffffffffffff000;
	is_u64(load(vm), (uint64_t)-ENOMEM, "a segment that wraps");

	make_multiboot(true, false);
	vm->config.append = "mb test";
	is_u64(load(vm), 0, "a multiboot ELF file");
	ok(regs.rip == 0x10000c && regs.rax == 0x2badb002 && regs.rbx == PC_START_INFO, "entry and magic");
	mb = (void *)(ram + PC_START_INFO);
	ok((mb[0] & 0x4d) == 0x4d && mb[1] == 639 && mb[2] == 63 << 10, "information: memory");
	ok(!strcmp(ram + mb[4], "mb test"), "command line");
	ok(mb[5] == 1 && ((uint32_t *)(ram + mb[6]))[0] == 0x104000, "module right behind the kernel");
	is_u64(*(uint32_t *)(ram + mb[12]), 20, "memory map entries tell their size");
	make_multiboot(false, true);
	is_u64(load(vm), 0, "a multiboot image with addresses in its header");
	ok(regs.rip == 0x200040 && *(uint32_t *)(ram + 0x200800) == 0x1badb002, "loaded where it says");
	hdr = make_multiboot(false, true);
	hdr[4] = 0x200c00;
	is_u64(load(vm), (uint64_t)-EINVAL, "load address behind the header");
	hdr = make_multiboot(false, true);
	hdr[5] = 0x300000;
	is_u64(load(vm), (uint64_t)-EINVAL, "more to load than there is");
	hdr = make_multiboot(true, false);
	hdr[1] |= 8;
	hdr[2] = -(hdr[0] + hdr[1]);
	is_u64(load(vm), (uint64_t)-EINVAL, "a feature that is not served");
	vm->config.initrd = NULL;
}

static void test_others(struct vm *vm)
{
	static const char *const heads[] = { "\x1f\x8b\x08", "\xfd" "7zXZ", "070701", "MZ", "hello" };
	unsigned int i;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		memset(img, 0, 4096);
		strcpy((char *)img, heads[i]);
		img_len = 4096;
		is_u64(load(vm), (uint64_t)-ENOEXEC, "not a kernel: %u", i);
	}
	img_len = 0;
	is_u64(load(vm), (uint64_t)-EINVAL, "an empty file");
	quiet(true);
	vm->config.kernel = dir;
	is_u64(machine_load(vm, &regs, &sregs), (uint64_t)-EISDIR, "a directory");
	vm->config.kernel = "/nonexistent";
	is_u64(machine_load(vm, &regs, &sregs), (uint64_t)-ENOENT, "nothing there");
	vm->config.kernel = path;
	quiet(false);
}

static void test_random(struct vm *vm)
{
	uint64_t seed = tap_seed(0xf00d), i, good = 0, outside = 0;

	diag("seed %#llx", (unsigned long long)seed);
	vm->config.append = "x";
	vm->config.initrd = initrd;
	for (i = 0; i < 3000; i++) {
		unsigned int kind = tap_random(&seed) % 4, n = 1 + tap_random(&seed) % 6, at, span;

		if (kind == 0)
			make_bzimage();
		else if (kind == 1)
			make_elf64(true);
		else
			make_multiboot(kind == 2, kind == 3);
		/* Most of the damage goes where the headers are. */
		span = kind == 0 ? 0x270 : kind == 1 ? 0x1040 : 0x820;
		while (n--) {
			uint64_t r = tap_random(&seed);

			at = r & 7 ? (kind == 0 ? 0x1f1 + (r >> 8) % 0x7f :
						  (r >> 8) % (kind == 1 ? 64 + 112 : 0x60)) :
				     (r >> 8) % span;
			if (kind >= 2 && (r & 0x80))
				at = 0x800 + (r >> 8) % 32;
			if (r & 0x8000000000000000)
				img[at] = r >> 40;
			else
				memset(img + at, r & 0x4000000000000000 ? 0xff : 0, 1 + (r >> 50) % 8);
		}
		if (tap_random(&seed) % 8 == 0)
			img_len = tap_random(&seed) % img_len;
		if (load(vm))
			continue;
		good++;
		if (regs.rip < PC_HIGH || regs.rip >= vm->ram[0].size)
			outside++;
	}
	is_u64(outside, 0, "random images: what is started starts in RAM");
	ok(good > 100 && good < 3000, "%llu of 3000 were taken", (unsigned long long)good);
	vm->config.initrd = NULL;
}

int main(void)
{
	struct vm *vm = fake_vm(64 << 20);
	uint8_t data[5000];
	void *pci = NULL;

	if (!mkdtemp(dir) || pci_host_device.init(vm, &pci))
		return 1;
	snprintf(path, sizeof(path), "%s/kernel", dir);
	snprintf(initrd, sizeof(initrd), "%s/initrd", dir);
	memset(data, 0x77, sizeof(data));
	write_file(initrd, data, sizeof(data));
	vm->config.kernel = path;
	test_linux(vm);
	test_elf(vm);
	test_others(vm);
	test_random(vm);
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	unlink(initrd);
	unlink(path);
	rmdir(dir);
	return tap_done();
}
