// SPDX-License-Identifier: GPL-2.0-only
/*
 * acpi.c - the ACPI tables: what the machine is, said to operating systems that ask
 *
 * ACPI Specification 6.3. Fixed hardware is the block of pm.c; there is no embedded controller and no SMI. Everything lies in PC_ACPI_SIZE bytes, the RSDP first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../devices/devices.h"
#include "../msg.h"
#include "aml.h"
#include "hotplug.h"
#include "pc.h"
#include "pci-host.h"

#define FADT_LEN		276u
#define MAX_TABLES		8u

/* FADT, "IA-PC Boot Architecture Flags" */
#define ARCH_LEGACY_DEVICES	(1u << 0)
#define ARCH_8042		(1u << 1)
#define ARCH_NO_VGA		(1u << 2)

/*
 * FADT, "Fixed ACPI Description Table Fixed Feature Flags". Power button and RTC wake: 0 is fixed hardware.
 */
#define FADT_WBINVD		(1u << 0)
#define FADT_PROC_C1		(1u << 2)
#define FADT_NO_SLEEP_BUTTON	(1u << 5)
#define FADT_RTC_NOT_FIXED	(1u << 6)
#define FADT_TMR_32BIT		(1u << 8)
#define FADT_RESET_REG		(1u << 10)

/* MADT interrupt flags */
#define MADT_LEVEL_HIGH		0x000du

struct acpi {
	struct vm *vm;
	uint64_t base;			/* where the tables will be */
	struct table t;
	uint32_t tables[MAX_TABLES];	/* what XSDT and RSDT list */
	unsigned int nr;
};

static uint32_t here(const struct acpi *acpi)
{
	return (uint32_t)(acpi->base + acpi->t.len);
}

/* System description tables begin with the same header; returns the offset. */
static size_t begin(struct acpi *acpi, const char *signature, uint8_t revision)
{
	struct table *t = &acpi->t;
	size_t start;

	table_align(t, 64);
	start = t->len;
	table_put(t, signature, 4);
	put32(t, 0);			/* length */
	put8(t, revision);
	put8(t, 0);			/* checksum */
	table_put(t, "TENON ", 6);
	table_put(t, "TENONPC ", 8);
	put32(t, 1);
	table_put(t, "TNON", 4);
	put32(t, 1);
	return start;
}

static uint32_t end(struct acpi *acpi, size_t start)
{
	struct table *t = &acpi->t;

	if (t->full)
		return 0;
	table_set(t, start + 4, t->len - start, 4);
	pc_checksum(t->data + start, t->len - start, 9);
	return (uint32_t)(acpi->base + start);
}

static void end_and_list(struct acpi *acpi, size_t start)
{
	uint32_t at = end(acpi, start);

	if (acpi->nr < MAX_TABLES)
		acpi->tables[acpi->nr++] = at;
	else
		acpi->t.full = true;
}

/* Generic address of a register in I/O space. */
static void set_gas(struct acpi *acpi, size_t at, uint32_t port, unsigned int bytes)
{
	table_set(&acpi->t, at, 1, 1);
	table_set(&acpi->t, at + 1, bytes * 8, 1);
	table_set(&acpi->t, at + 3, bytes == 4 ? 3 : bytes, 1);
	table_set(&acpi->t, at + 4, port, 8);
}

/* The namespace */

static void isa_device(struct table *t, const char *name, const char *hid, uint16_t port, uint8_t len,
		       uint16_t port2, int irq)
{
	size_t dev = aml_device(t, name);
	struct aml_res res;

	aml_name(t, "_HID");
	if (strlen(hid) == 7)
		aml_eisaid(t, hid);
	else
		aml_string(t, hid);
	aml_name(t, "_CRS");
	aml_resources(&res);
	if (len)
		aml_res_io(&res, port, len);
	if (port2)
		aml_res_io(&res, port2, len);
	if (irq >= 0)
		aml_res_irq(&res, irq);
	aml_resources_end(t, &res);
	aml_end(t, dev);
}

static void isa_devices(struct table *t)
{
	size_t isa = aml_device(t, "ISA_");

	aml_name(t, "_ADR");
	aml_int(t, 0x00010000);
	isa_device(t, "PIC_", "PNP0000", 0x20, 2, 0xa0, 2);
	isa_device(t, "TIMR", "PNP0100", 0x40, 4, 0, 0);
	isa_device(t, "SPKR", "PNP0800", 0x61, 1, 0, -1);
	isa_device(t, "RTC_", "PNP0B00", RTC_BASE, 2, 0, RTC_IRQ);
	isa_device(t, "KBD_", "PNP0303", 0x60, 1, 0x64, 1);
	isa_device(t, "MOU_", "PNP0F13", 0, 0, 0, 12);
	isa_device(t, "COM1", "PNP0501", SERIAL_COM1_BASE, 8, 0, SERIAL_COM1_IRQ);
	isa_device(t, "PEVT", "QEMU0001", PC_PVPANIC_PORT, 1, 0, -1);
	/*
	 * Level control of the PIC belongs to no driver. The power management block is a resource of the PCI
	 * function.
	 */
	isa_device(t, "ELCR", "PNP0C02", 0x4d0, 2, 0, -1);
	isa_device(t, "GPE0", "PNP0C02", PC_GPE_BASE, PC_GPE_SIZE, 0, -1);
	isa_device(t, "PHPR", "PNP0C02", PC_HOTPLUG_BASE, PC_HOTPLUG_SIZE, 0, -1);
	aml_end(t, isa);
}

/*
 * Routing of interrupt pins for slots 2 to 31 (0 and 1 have none): to the IOAPIC, or to the PIC as PIRQs are
 * set.
 */
static void routing(struct vm *vm, struct table *t, const char *name, bool apic)
{
	const uint8_t *pirq = vm->pci->fn[1 << 3].initial + 0x60;
	unsigned int slot, pin;
	size_t all, one;

	aml_name(t, name);
	all = aml_package(t, 30 * 4);
	for (slot = 2; slot < 32; slot++) {
		for (pin = 0; pin < 4; pin++) {
			one = aml_package(t, 4);
			aml_int(t, slot << 16 | 0xffff);
			aml_int(t, pin);
			aml_int(t, 0);
			aml_int(t, apic ? pci_gsi(slot, pin) : pirq[pci_pirq(slot, pin)] & 15u);
			aml_end(t, one);
		}
	}
	aml_end(t, all);
}

static void field32(struct table *t, const char *region, uint16_t port, unsigned int count, const char *const *names)
{
	size_t start;

	aml_op_region_io(t, region, port, 4 * count);
	start = aml_field32(t, region);
	while (count--)
		aml_field_unit(t, *names++, 32);
	aml_end(t, start);
}

/*
 * Slots in which functions come and go: hotplug.c has the registers. The event's method asks for news and passes it on
 * to the slots: 1, look what is there; 3, let go of it.
 */
static void hotplug_slots(struct vm *vm, struct table *t)
{
	static const char *const news[] = { "PCIU", "PCID" }, *const eject[] = { "B0EJ" };
	size_t method, dev, cond;
	unsigned int slot;

	field32(t, "PCST", PC_HOTPLUG_BASE, 2, news);
	field32(t, "SEJ_", PC_HOTPLUG_BASE + 8, 1, eject);
	for (slot = 2; slot < 32; slot++) {
		char name[5] = { 'S', '0' + (char)(slot / 10), '0' + (char)(slot % 10), '_', 0 };

		if (!hotplug_possible(vm, slot))
			continue;
		dev = aml_device(t, name);
		aml_name(t, "_ADR");
		aml_int(t, slot << 16);
		aml_name(t, "_SUN");
		aml_int(t, slot);
		method = aml_method(t, "_EJ0", 1);
		aml_store_int(t, 1u << slot, "B0EJ");
		aml_end(t, method);
		aml_end(t, dev);
	}
	method = aml_method(t, "TELL", 2);
	for (slot = 2; slot < 32; slot++) {
		char name[5] = { 'S', '0' + (char)(slot / 10), '0' + (char)(slot % 10), '_', 0 };

		if (!hotplug_possible(vm, slot))
			continue;
		cond = aml_if(t);
		aml_and_arg0(t, 1u << slot);
		aml_notify_arg1(t, name);
		aml_end(t, cond);
	}
	aml_end(t, method);
	method = aml_method(t, "NEWS", 0);
	aml_ref(t, "TELL");
	aml_ref(t, "PCIU");
	aml_int(t, 1);
	aml_ref(t, "TELL");
	aml_ref(t, "PCID");
	aml_int(t, 3);
	aml_end(t, method);
}

static void pci_root(struct vm *vm, struct table *t)
{
	size_t dev = aml_device(t, "PCI0"), method, cond;
	struct aml_res res;

	aml_name(t, "_HID");
	aml_eisaid(t, "PNP0A03");
	aml_name(t, "_UID");
	aml_int(t, 0);
	aml_name(t, "_BBN");
	aml_int(t, 0);
	aml_name(t, "_CRS");
	aml_resources(&res);
	aml_res_bus(&res, 0, 0xff);
	aml_res_io(&res, 0xcf8, 8);
	aml_res_io_window(&res, 0, 0xcf7);
	aml_res_io_window(&res, 0xd00, 0xffff);
	aml_res_mem_window(&res, PCI_MMIO_BASE, PCI_MMIO_END);
	aml_resources_end(t, &res);

	routing(vm, t, "APRT", true);
	routing(vm, t, "PPRT", false);
	method = aml_method(t, "_PRT", 0);
	cond = aml_if(t);
	aml_ref(t, "PICF");
	aml_return(t);
	aml_ref(t, "APRT");
	aml_end(t, cond);
	aml_return(t);
	aml_ref(t, "PPRT");
	aml_end(t, method);

	isa_devices(t);
	if (vm->hotplug)
		hotplug_slots(vm, t);
	aml_end(t, dev);
}

static void hpet_node(struct table *t)
{
	size_t dev = aml_device(t, "HPET");
	struct aml_res res;

	aml_name(t, "_HID");
	aml_eisaid(t, "PNP0103");
	aml_name(t, "_UID");
	aml_int(t, 0);
	aml_name(t, "_CRS");
	aml_resources(&res);
	aml_res_mem(&res, PC_HPET_ADDR, PC_HPET_SIZE);
	aml_resources_end(t, &res);
	aml_end(t, dev);
}

static void processors(struct vm *vm, struct table *t)
{
	static const char digit[] = "0123456789ABCDEF";
	unsigned int i;

	for (i = 0; i < vm->config.cpus; i++) {
		char name[5] = { 'C', digit[i >> 8 & 15], digit[i >> 4 & 15], digit[i & 15], 0 };
		size_t dev = aml_device(t, name);

		aml_name(t, "_HID");
		aml_string(t, "ACPI0007");
		aml_name(t, "_UID");
		aml_int(t, i);
		aml_end(t, dev);
	}
}

/*
 * "Virtual Machine Generation ID" (Microsoft): a number that is another one in every run, also of a copy of this
 * machine. Who has it in mind knows to seed anew. It does not change while the guest runs: nothing is notified.
 */
static void generation_device(struct table *t, uint32_t at)
{
	size_t dev = aml_device(t, "VGEN"), package;

	aml_name(t, "_HID");
	aml_string(t, "TNON0001");
	aml_name(t, "_CID");
	aml_string(t, "VM_Gen_Counter");
	aml_name(t, "_DDN");
	aml_string(t, "VM_Gen_Counter");
	aml_name(t, "ADDR");
	package = aml_package(t, 2);
	aml_int(t, at);
	aml_int(t, 0);
	aml_end(t, package);
	aml_end(t, dev);
}

static uint32_t put_generation(struct acpi *acpi)
{
	uint32_t at;

	table_align(&acpi->t, 64);
	at = here(acpi);
	table_put(&acpi->t, acpi->vm->generation, sizeof(acpi->vm->generation));
	return at;
}

static uint32_t build_dsdt(struct acpi *acpi)
{
	struct table *t = &acpi->t;
	const uint32_t generation = put_generation(acpi);
	size_t start = begin(acpi, "DSDT", 2), scope, method, package;
	unsigned int i;

	aml_name(t, "_S5_");
	package = aml_package(t, 4);
	for (i = 0; i < 4; i++)
		aml_int(t, i < 2 ? PC_SLP_TYP_S5 : 0);
	aml_end(t, package);

	/* The system says which interrupt controllers it uses: 0 for the PIC. */
	aml_name(t, "PICF");
	aml_int(t, 0);
	method = aml_method(t, "_PIC", 1);
	aml_store_arg0(t, "PICF");
	aml_end(t, method);

	scope = aml_scope(t, "\\_SB_");
	pci_root(acpi->vm, t);
	hpet_node(t);
	processors(acpi->vm, t);
	generation_device(t, generation);
	aml_end(t, scope);

	if (acpi->vm->hotplug) {
		scope = aml_scope(t, "\\_GPE");
		method = aml_method(t, "_E01", 0);
		aml_path3(t, "\\_SB_", "PCI0", "NEWS");
		aml_end(t, method);
		aml_end(t, scope);
	}
	return end(acpi, start);
}

_Static_assert(PC_GPE_HOTPLUG == 1, "_E01");

/* The other tables */

static uint32_t build_facs(struct acpi *acpi)
{
	struct table *t = &acpi->t;
	uint32_t at;

	table_align(t, 64);
	at = here(acpi);
	table_put(t, "FACS", 4);
	put32(t, 64);
	table_zero(t, 24);
	put8(t, 2);			/* version */
	table_zero(t, 31);
	return at;
}

static void build_fadt(struct acpi *acpi, uint32_t facs, uint32_t dsdt)
{
	struct table *t = &acpi->t;
	size_t f = begin(acpi, "FACP", 6);

	table_zero(t, FADT_LEN - 36);
	table_set(t, f + 36, facs, 4);
	table_set(t, f + 40, dsdt, 4);
	table_set(t, f + 46, PC_SCI_IRQ, 2);
	table_set(t, f + 56, PC_PM_BASE, 4);		/* PM1a event block */
	table_set(t, f + 64, PC_PM_BASE + 4, 4);	/* PM1a control block */
	table_set(t, f + 76, PC_PM_BASE + 8, 4);	/* PM timer */
	table_set(t, f + 80, PC_GPE_BASE, 4);
	table_set(t, f + 88, 4, 1);
	table_set(t, f + 89, 2, 1);
	table_set(t, f + 91, 4, 1);
	table_set(t, f + 92, PC_GPE_SIZE, 1);
	table_set(t, f + 96, 0x0fff, 2);		/* C2 and C3: none */
	table_set(t, f + 98, 0x0fff, 2);
	table_set(t, f + 108, 0x32, 1);			/* century in CMOS */
	table_set(t, f + 109, ARCH_LEGACY_DEVICES | ARCH_8042 | ARCH_NO_VGA, 2);
	table_set(t, f + 112,
		  FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_RTC_NOT_FIXED | FADT_TMR_32BIT |
			  FADT_RESET_REG,
		  4);
	set_gas(acpi, f + 116, PC_RESET_PORT, 1);
	table_set(t, f + 128, PC_RESET_VALUE, 1);
	table_set(t, f + 140, dsdt, 8);
	set_gas(acpi, f + 148, PC_PM_BASE, 4);
	set_gas(acpi, f + 172, PC_PM_BASE + 4, 2);
	set_gas(acpi, f + 208, PC_PM_BASE + 8, 4);
	set_gas(acpi, f + 220, PC_GPE_BASE, 4);
	/* The event block is a pair of 16-bit registers, and is accessed so. */
	table_set(t, f + 148 + 3, 2, 1);
	table_set(t, f + 220 + 3, 1, 1);
	end_and_list(acpi, f);
}

static void build_madt(struct acpi *acpi)
{
	struct table *t = &acpi->t;
	size_t start = begin(acpi, "APIC", 4);
	unsigned int i;

	put32(t, PC_LAPIC_ADDR);
	put32(t, 1);			/* a pair of PICs as well */
	for (i = 0; i < acpi->vm->config.cpus; i++) {
		if (i < 255) {
			put8(t, 0);	/* local APIC */
			put8(t, 8);
			put8(t, i);
			put8(t, i);
			put32(t, 1);
		} else {
			put8(t, 9);	/* local x2APIC */
			put8(t, 16);
			put16(t, 0);
			put32(t, i);
			put32(t, 1);
			put32(t, i);
		}
	}
	put8(t, 1);			/* IOAPIC */
	put8(t, 12);
	put8(t, 0);
	put8(t, 0);
	put32(t, PC_IOAPIC_ADDR);
	put32(t, 0);

	put8(t, 2);			/* the PIT is on pin 2 */
	put8(t, 10);
	put8(t, 0);
	put8(t, 0);
	put32(t, 2);
	put16(t, 0);

	put8(t, 2);			/* the SCI is level-triggered, active high */
	put8(t, 10);
	put8(t, 0);
	put8(t, PC_SCI_IRQ);
	put32(t, PC_SCI_IRQ);
	put16(t, MADT_LEVEL_HIGH);

	put8(t, 4);			/* NMI on LINT1 of all processors */
	put8(t, 6);
	put8(t, 0xff);
	put16(t, 0);
	put8(t, 1);
	if (acpi->vm->config.cpus > 255) {
		put8(t, 10);
		put8(t, 12);
		put16(t, 0);
		put32(t, 0xffffffff);
		put8(t, 1);
		put8(t, 0);
		put16(t, 0);
	}
	end_and_list(acpi, start);
}

/* IA-PC HPET Specification, "The ACPI 2.0 HPET Description Table (HPET)" */
static void build_hpet(struct acpi *acpi)
{
	struct table *t = &acpi->t;
	size_t start = begin(acpi, "HPET", 1);

	put32(t, PC_HPET_ID);
	put8(t, 0);			/* in memory */
	put8(t, 64);
	put8(t, 0);
	put8(t, 0);
	put64(t, PC_HPET_ADDR);
	put8(t, 0);			/* number of this one */
	put16(t, PC_HPET_MIN_TICKS);
	put8(t, 1);			/* nothing else is in its 4 KiB */
	end_and_list(acpi, start);
}

/* "Windows ACPI Emulated devices Table": clock and PM timer need no workarounds. */
static void build_waet(struct acpi *acpi)
{
	size_t start = begin(acpi, "WAET", 1);

	put32(&acpi->t, 3);
	end_and_list(acpi, start);
}

static uint32_t build_directory(struct acpi *acpi, const char *signature, unsigned int width)
{
	size_t start = begin(acpi, signature, 1);
	unsigned int i;

	for (i = 0; i < acpi->nr; i++)
		table_int(&acpi->t, acpi->tables[i], width);
	return end(acpi, start);
}

static void fill_rsdp(struct acpi *acpi, uint32_t rsdt, uint32_t xsdt)
{
	struct table *t = &acpi->t;

	memcpy(t->data, "RSD PTR ", 8);
	memcpy(t->data + 9, "TENON ", 6);
	table_set(t, 15, 2, 1);
	table_set(t, 16, rsdt, 4);
	table_set(t, 20, ACPI_RSDP_LEN, 4);
	table_set(t, 24, xsdt, 8);
	pc_checksum(t->data, 20, 8);
	pc_checksum(t->data, ACPI_RSDP_LEN, 32);
}

int acpi_build(struct vm *vm, uint64_t base, uint64_t *rsdp)
{
	struct acpi acpi = { .vm = vm, .base = base, .t = { .cap = PC_ACPI_SIZE } };
	uint32_t facs, dsdt, rsdt, xsdt;
	int err = 0;

	acpi.t.data = calloc(1, PC_ACPI_SIZE);
	if (!acpi.t.data)
		return -ENOMEM;
	table_zero(&acpi.t, ACPI_RSDP_LEN);
	facs = build_facs(&acpi);
	dsdt = build_dsdt(&acpi);
	build_fadt(&acpi, facs, dsdt);
	build_madt(&acpi);
	build_hpet(&acpi);
	build_waet(&acpi);
	rsdt = build_directory(&acpi, "RSDT", 4);
	xsdt = build_directory(&acpi, "XSDT", 8);
	fill_rsdp(&acpi, rsdt, xsdt);
	if (acpi.t.full) {
		msg_error("build the ACPI tables: %u processors need more room than the %u KiB that there "
			  "are. Give the machine fewer",
			  vm->config.cpus, PC_ACPI_SIZE >> 10);
		err = -E2BIG;
	} else if (!vm_write(vm, base, acpi.t.data, PC_ACPI_SIZE)) {
		err = -EFAULT;
	}
	free(acpi.t.data);
	*rsdp = base;
	return err;
}
