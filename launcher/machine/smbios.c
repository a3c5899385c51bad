// SPDX-License-Identifier: GPL-2.0-only
/*
 * smbios.c - SMBIOS tables: an inventory for dmidecode, and what drivers match quirks on
 *
 * System Management BIOS Reference Specification 3.0. Both entry points are there: the 32-bit one that old
 * systems look for in 0xF0000 to 0xFFFFF, and the 64-bit one.
 */
#include <errno.h>
#include <string.h>

#include "../msg.h"
#include "pc.h"
#include "table.h"

#define SM3_LEN		24u

#define KIB_UNKNOWN	0xffffffffu
#define SIZE_EXTENDED	0x7fffu

struct smbios {
	struct table t;
	size_t start;			/* of the structure being written */
	unsigned int nr, largest;
};

static void begin(struct smbios *sm, uint8_t type, uint16_t handle)
{
	sm->start = sm->t.len;
	put8(&sm->t, type);
	put8(&sm->t, 0);
	put16(&sm->t, handle);
}

/* Strings follow the formatted part, numbered from 1; @strings ends in NULL. */
static void end(struct smbios *sm, const char *const *strings)
{
	table_set(&sm->t, sm->start + 1, sm->t.len - sm->start, 1);
	if (!strings || !*strings)
		put8(&sm->t, 0);
	for (; strings && *strings; strings++)
		table_put(&sm->t, *strings, strlen(*strings) + 1);
	put8(&sm->t, 0);
	sm->nr++;
	if (sm->t.len - sm->start > sm->largest)
		sm->largest = sm->t.len - sm->start;
}

static void bios(struct smbios *sm)
{
	static const char *const strings[] = { "Tenon", "1.0", "01/01/2025", NULL };

	begin(sm, 0, 0x0000);
	put8(&sm->t, 1);		/* vendor */
	put8(&sm->t, 2);		/* version */
	put16(&sm->t, 0xe000);		/* segment */
	put8(&sm->t, 3);		/* date */
	put8(&sm->t, 1);		/* 128 KiB */
	put64(&sm->t, 1u << 3);		/* characteristics are not supported */
	put8(&sm->t, 1);		/* ACPI */
	put8(&sm->t, 0x14);		/* a virtual machine; targeted content distribution; no UEFI */
	put8(&sm->t, 1);		/* release */
	put8(&sm->t, 0);
	put8(&sm->t, 0xff);		/* no embedded controller */
	put8(&sm->t, 0xff);
	end(sm, strings);
}

static void system_info(struct smbios *sm)
{
	static const char *const strings[] = { "Tenon", "Tenon virtual machine", "1.0", NULL };

	begin(sm, 1, 0x0100);
	put8(&sm->t, 1);		/* manufacturer */
	put8(&sm->t, 2);		/* product */
	put8(&sm->t, 3);		/* version */
	put8(&sm->t, 0);		/* serial number */
	table_zero(&sm->t, 16);		/* UUID: not present */
	put8(&sm->t, 6);		/* woken by the power switch */
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	end(sm, strings);
}

static void chassis(struct smbios *sm)
{
	static const char *const strings[] = { "Tenon", NULL };

	begin(sm, 3, 0x0300);
	put8(&sm->t, 1);
	put8(&sm->t, 1);		/* other */
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put8(&sm->t, 3);		/* boot state, power supply, thermal state: safe */
	put8(&sm->t, 3);
	put8(&sm->t, 3);
	put8(&sm->t, 2);		/* security: unknown */
	put32(&sm->t, 0);
	put8(&sm->t, 0);		/* height, power cords, contained elements */
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put8(&sm->t, 0);		/* SKU */
	end(sm, strings);
}

/* One socket with all processors as its cores. */
static void processor(struct smbios *sm, unsigned int cpus)
{
	static const char *const strings[] = { "CPU 0", "Tenon", NULL };
	uint8_t cores = cpus > 255 ? 255 : cpus;

	begin(sm, 4, 0x0400);
	put8(&sm->t, 1);		/* socket */
	put8(&sm->t, 3);		/* central processor */
	put8(&sm->t, 1);		/* family: other */
	put8(&sm->t, 2);		/* manufacturer */
	put64(&sm->t, 0);		/* id */
	put8(&sm->t, 0);		/* version */
	put8(&sm->t, 0);		/* voltage */
	put16(&sm->t, 0);		/* clocks: unknown */
	put16(&sm->t, 0);
	put16(&sm->t, 0);
	put8(&sm->t, 0x41);		/* populated, enabled */
	put8(&sm->t, 1);		/* upgrade: other */
	put16(&sm->t, 0xffff);		/* caches: not said */
	put16(&sm->t, 0xffff);
	put16(&sm->t, 0xffff);
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put8(&sm->t, cores);
	put8(&sm->t, cores);
	put8(&sm->t, cores);
	put16(&sm->t, 1u << 2 | (cpus > 1 ? 1u << 3 : 0));	/* 64 bits, several cores */
	put16(&sm->t, 1);		/* family 2 */
	put16(&sm->t, cpus);
	put16(&sm->t, cpus);
	put16(&sm->t, cpus);
	end(sm, strings);
}

static void memory(struct smbios *sm, const struct vm *vm)
{
	static const char *const strings[] = { "DIMM 0", "Tenon", NULL };
	uint64_t kib = vm->config.memory >> 10, mib = vm->config.memory >> 20;
	unsigned int i;

	begin(sm, 16, 0x1000);		/* the array */
	put8(&sm->t, 3);		/* on the system board */
	put8(&sm->t, 3);		/* system memory */
	put8(&sm->t, 6);		/* error correction: multi-bit */
	put32(&sm->t, kib < 0x80000000u ? kib : 0x80000000u);
	put16(&sm->t, 0xfffe);		/* no error information */
	put16(&sm->t, 1);		/* devices */
	put64(&sm->t, kib < 0x80000000u ? 0 : vm->config.memory);
	end(sm, NULL);

	begin(sm, 17, 0x1100);		/* the one device in it */
	put16(&sm->t, 0x1000);
	put16(&sm->t, 0xfffe);
	put16(&sm->t, 0xffff);		/* widths: unknown */
	put16(&sm->t, 0xffff);
	put16(&sm->t, mib < SIZE_EXTENDED ? mib : SIZE_EXTENDED);
	put8(&sm->t, 9);		/* DIMM */
	put8(&sm->t, 0);
	put8(&sm->t, 1);
	put8(&sm->t, 0);
	put8(&sm->t, 7);		/* RAM */
	put16(&sm->t, 1u << 1);		/* other */
	put16(&sm->t, 0);		/* speed */
	put8(&sm->t, 2);
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put8(&sm->t, 0);
	put32(&sm->t, mib < SIZE_EXTENDED ? 0 : mib);
	put16(&sm->t, 0);
	put16(&sm->t, 0);
	put16(&sm->t, 0);
	put16(&sm->t, 0);
	end(sm, strings);

	for (i = 0; i < vm->nr_ram; i++) {
		uint64_t first = vm->ram[i].gpa, last = first + vm->ram[i].size - 1;
		bool small = last >> 10 < KIB_UNKNOWN;

		begin(sm, 19, 0x1300 + i);	/* where it appears */
		put32(&sm->t, small ? first >> 10 : KIB_UNKNOWN);
		put32(&sm->t, small ? last >> 10 : KIB_UNKNOWN);
		put16(&sm->t, 0x1000);
		put8(&sm->t, 1);
		put64(&sm->t, small ? 0 : first);
		put64(&sm->t, small ? 0 : last);
		end(sm, NULL);
	}
}

static void entry_points(struct smbios *sm)
{
	uint8_t *sm2 = sm->t.data, *sm3 = sm->t.data + 32;
	struct table t2 = { .data = sm2, .cap = SMBIOS_ANCHOR_LEN }, t3 = { .data = sm3, .cap = SM3_LEN };
	size_t len = sm->t.len - SMBIOS_TABLES;

	table_put(&t2, "_SM_", 4);
	put8(&t2, 0);
	put8(&t2, SMBIOS_ANCHOR_LEN);
	put8(&t2, 3);			/* version of the specification */
	put8(&t2, 0);
	put16(&t2, sm->largest);
	put8(&t2, 0);
	table_zero(&t2, 5);
	table_put(&t2, "_DMI_", 5);
	put8(&t2, 0);
	put16(&t2, len);
	put32(&t2, PC_SMBIOS + SMBIOS_TABLES);
	put16(&t2, sm->nr);
	put8(&t2, 0x30);
	pc_checksum(sm2 + 16, 15, 5);
	pc_checksum(sm2, SMBIOS_ANCHOR_LEN, 4);

	table_put(&t3, "_SM3_", 5);
	put8(&t3, 0);
	put8(&t3, SM3_LEN);
	put8(&t3, 3);
	put8(&t3, 0);
	put8(&t3, 0);
	put8(&t3, 1);
	put8(&t3, 0);
	put32(&t3, len);
	put64(&t3, PC_SMBIOS + SMBIOS_TABLES);
	pc_checksum(sm3, SM3_LEN, 5);
}

int smbios_fill(struct vm *vm, uint8_t data[PC_SMBIOS_SIZE], size_t *len)
{
	struct smbios sm = { .t = { .data = data, .cap = PC_SMBIOS_SIZE } };

	table_zero(&sm.t, SMBIOS_TABLES);
	bios(&sm);
	system_info(&sm);
	chassis(&sm);
	processor(&sm, vm->config.cpus);
	memory(&sm, vm);
	begin(&sm, 32, 0x2000);		/* boot: no errors */
	table_zero(&sm.t, 7);
	end(&sm, NULL);
	begin(&sm, 127, 0x7f00);	/* the end */
	end(&sm, NULL);
	if (sm.t.full) {
		msg_error("build the SMBIOS tables: they do not fit into %u bytes", PC_SMBIOS_SIZE);
		return -E2BIG;
	}
	entry_points(&sm);
	*len = sm.t.len;
	return 0;
}

int smbios_build(struct vm *vm)
{
	uint8_t data[PC_SMBIOS_SIZE] = { 0 };
	size_t len;
	int err = smbios_fill(vm, data, &len);

	if (err)
		return err;
	return vm_write(vm, PC_SMBIOS, data, sizeof(data)) ? 0 : -EFAULT;
}
