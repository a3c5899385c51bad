// SPDX-License-Identifier: GPL-2.0-only
/*
 * fw-cfg.c - what firmware asks the machine: memory map, tables, boot order
 *
 * The interface is that of QEMU's "QEMU Firmware Configuration (fw_cfg) Device", by which SeaBIOS knows its
 * platform: a selector (port 0x510, 16 bits), a data port (0x511) that gives the selected item byte by byte,
 * and a directory of named items. Items are read-only, and there is no DMA interface. The device exists only
 * when firmware boots the machine.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "../devices/devices.h"
#include "../msg.h"
#include "boot.h"
#include "pci-host.h"
#include "table.h"

#define FW_CFG_PORT	0x510u
#define FW_CFG_SIZE	2u

enum {
	KEY_SIGNATURE = 0x00,
	KEY_ID = 0x01,			/* bit 0: this interface, bit 1: DMA */
	KEY_NB_CPUS = 0x05,
	KEY_BOOT_MENU = 0x0e,
	KEY_MAX_CPUS = 0x0f,
	KEY_FILE_DIR = 0x19,
	KEY_FILE_FIRST = 0x20,
};

#define MAX_ITEMS	16u
#define PCI_ID_BLK	0x10421af4u	/* virtio-blk */
#define NAME_MAX_LEN	56u

/* An entry of the directory; numbers are big-endian. */
struct dir_entry {
	uint32_t size;
	uint16_t key, reserved;
	char name[NAME_MAX_LEN];
};
_Static_assert(sizeof(struct dir_entry) == 64, "directory entry");

/* An entry of etc/e820. */
struct e820_entry {
	uint64_t base, size;
	uint32_t type;
} __attribute__((packed));

/* An entry of etc/table-loader: a file is to be put into memory. */
struct loader_entry {
	uint32_t command;
	char file[NAME_MAX_LEN];
	uint32_t align;
	uint8_t zone;
	uint8_t pad[63];
};
_Static_assert(sizeof(struct loader_entry) == 128, "loader entry");
#define LOADER_ALLOCATE	1u
#define LOADER_ZONE_FSEG 2u

struct fw_cfg {
	struct vm *vm;
	struct fw_item {
		uint16_t key;
		char name[NAME_MAX_LEN];	/* empty: by its key alone */
		uint8_t *data;
		size_t len;
	} item[MAX_ITEMS];
	unsigned int nr;
	uint16_t next_key;

	/* as the guest reads */
	const struct fw_item *selected;
	size_t pos;
};

/* Registers */

static uint64_t fw_cfg_read(void *opaque, uint64_t off, unsigned int len)
{
	struct fw_cfg *fw = opaque;

	(void)len;
	if (off != 1 || !fw->selected || fw->pos >= fw->selected->len)
		return 0;
	return fw->selected->data[fw->pos++];
}

static void fw_cfg_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct fw_cfg *fw = opaque;

	if (off || len != 2)
		return;
	fw->pos = 0;
	fw->selected = NULL;
	for (unsigned int i = 0; i < fw->nr; i++)
		if (fw->item[i].key == (val & 0xffff))
			fw->selected = &fw->item[i];
}

static const struct region_ops fw_cfg_ops = { .read = fw_cfg_read, .write = fw_cfg_write };

/* Items */

static int add(struct fw_cfg *fw, uint16_t key, const char *name, const void *data, size_t len)
{
	struct fw_item *item = &fw->item[fw->nr];

	if (fw->nr == MAX_ITEMS)
		return -ENOSPC;
	item->data = malloc(len ? len : 1);
	if (!item->data)
		return -ENOMEM;
	memcpy(item->data, data, len);
	item->len = len;
	item->key = key;
	snprintf(item->name, sizeof(item->name), "%s", name);
	fw->nr++;
	return 0;
}

static int add_file(struct fw_cfg *fw, const char *name, const void *data, size_t len)
{
	return add(fw, fw->next_key++, name, data, len);
}

static int add_directory(struct fw_cfg *fw)
{
	struct {
		uint32_t count;
		struct dir_entry entry[MAX_ITEMS];
	} dir = { 0 };
	unsigned int n = 0;

	for (unsigned int i = 0; i < fw->nr; i++) {
		struct dir_entry *e = &dir.entry[n];

		if (!fw->item[i].name[0])
			continue;
		e->size = htobe32((uint32_t)fw->item[i].len);
		e->key = htobe16(fw->item[i].key);
		memcpy(e->name, fw->item[i].name, sizeof(e->name));
		n++;
	}
	dir.count = htobe32(n);
	return add(fw, KEY_FILE_DIR, "", &dir, sizeof(dir.count) + n * sizeof(dir.entry[0]));
}

/* RAM up to the tables, which are reserved; what is below 1 MiB firmware knows better. */
static int add_memory_map(struct fw_cfg *fw, uint64_t tables)
{
	struct e820_entry map[VM_MAX_RAM + 1];
	unsigned int n = 0;

	for (unsigned int i = 0; i < fw->vm->nr_ram; i++) {
		const struct vm_ram *r = &fw->vm->ram[i];
		uint64_t end = r->gpa + r->size;

		map[n++] = (struct e820_entry){ r->gpa, (end <= 1ull << 32 ? tables : end) - r->gpa, PC_MEM_RAM };
	}
	map[n++] = (struct e820_entry){ tables, PC_ACPI_SIZE, PC_MEM_RESERVED };
	return add_file(fw, "etc/e820", map, n * sizeof(map[0]));
}

/* The other tables have their place already; firmware lays the pointer to them where systems look for it. */
static int add_acpi(struct fw_cfg *fw, uint64_t rsdp)
{
	struct loader_entry loader = { .command = LOADER_ALLOCATE, .align = 16, .zone = LOADER_ZONE_FSEG };
	uint8_t copy[ACPI_RSDP_LEN];
	int err;

	snprintf(loader.file, sizeof(loader.file), "etc/acpi/rsdp");
	if (!vm_read(fw->vm, rsdp, copy, sizeof(copy)))
		return -EFAULT;
	err = add_file(fw, "etc/acpi/rsdp", copy, sizeof(copy));
	return err ? err : add_file(fw, "etc/table-loader", &loader, sizeof(loader));
}

static int add_smbios(struct fw_cfg *fw)
{
	uint8_t data[PC_SMBIOS_SIZE] = { 0 };
	size_t len = 0;
	int err = smbios_fill(fw->vm, data, &len);

	if (!err)
		err = add_file(fw, "etc/smbios/smbios-anchor", data, SMBIOS_ANCHOR_LEN);
	if (!err)
		err = add_file(fw, "etc/smbios/smbios-tables", data + SMBIOS_TABLES, len - SMBIOS_TABLES);
	return err;
}

/* Disks in the order of the command line, by Open Firmware paths. */
static int add_boot_order(struct fw_cfg *fw)
{
	char order[VM_MAX_DISKS * 40] = "";
	size_t len = 0;

	for (unsigned int slot = 0; slot < 32; slot++) {
		const struct pci_dev *dev = pci_find(fw->vm->pci, slot << 3);

		if (dev && pci_get32(dev->cfg + PCI_VENDOR_ID) == PCI_ID_BLK && len < sizeof(order))
			len += (size_t)snprintf(order + len, sizeof(order) - len,
						"%s/pci@i0cf8/scsi@%x/disk@0,0", len ? "\n" : "", slot);
	}
	return add_file(fw, "bootorder", order, strnlen(order, sizeof(order) - 1) + 1);
}

static void drop_items(struct fw_cfg *fw)
{
	while (fw->nr)
		free(fw->item[--fw->nr].data);
	fw->selected = NULL;
	fw->next_key = KEY_FILE_FIRST;
}

int fw_cfg_fill(struct vm *vm, uint64_t tables)
{
	struct fw_cfg *fw = vm->fw_cfg;
	const uint16_t cpus = htole16((uint16_t)vm->config.cpus), no_menu = 0;
	const uint16_t console = htole16(SERIAL_COM1_BASE);
	const uint32_t id = htole32(1);
	int err;

	drop_items(fw);
	err = add(fw, KEY_SIGNATURE, "", "QEMU", 4);
	if (!err)
		err = add(fw, KEY_ID, "", &id, sizeof(id));
	if (!err)
		err = add(fw, KEY_NB_CPUS, "", &cpus, sizeof(cpus));
	if (!err)
		err = add(fw, KEY_MAX_CPUS, "", &cpus, sizeof(cpus));
	if (!err)
		err = add(fw, KEY_BOOT_MENU, "", &no_menu, sizeof(no_menu));
	if (!err)
		err = add_memory_map(fw, tables);
	if (!err)
		err = add_acpi(fw, tables);
	if (!err)
		err = add_smbios(fw);
	if (!err)
		err = add_boot_order(fw);
	/* Text output goes to, and keys come from, the serial port: there is no display. */
	if (!err)
		err = add_file(fw, "etc/sercon-port", &console, sizeof(console));
	if (!err)
		err = add_directory(fw);
	if (err)
		msg_error("tell the firmware about the machine: %s", strerror(-err));
	return err;
}

/* Device */

static int fw_cfg_init(struct vm *vm, void **state)
{
	struct fw_cfg *fw;
	int err;

	if (!vm->config.firmware)
		return 0;
	fw = calloc(1, sizeof(*fw));
	if (!fw)
		return -ENOMEM;
	fw->vm = vm;
	err = bus_add(&vm->pio, FW_CFG_PORT, FW_CFG_SIZE, &fw_cfg_ops, fw, "fw-cfg");
	if (err) {
		free(fw);
		return err;
	}
	vm->fw_cfg = fw;
	*state = fw;
	return 0;
}

static void fw_cfg_exit(struct vm *vm, void *state)
{
	struct fw_cfg *fw = state;

	if (!fw)
		return;
	vm->fw_cfg = NULL;
	bus_remove(&vm->pio, FW_CFG_PORT, FW_CFG_SIZE);
	drop_items(fw);
	free(fw);
}

/* The items are made anew when a reset loads the firmware again. */
const struct device_ops fw_cfg_device = {
	.name = "fw-cfg",
	.init = fw_cfg_init,
	.exit = fw_cfg_exit,
};
