// SPDX-License-Identifier: GPL-2.0-only
/*
 * mptable.c - the MP configuration table, for systems without ACPI (or with acpi=off)
 *
 * Intel MultiProcessor Specification 1.4, "MP Configuration Table". It tells what the MADT and _PRT tell.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../msg.h"
#include "pc.h"
#include "pci.h"
#include "table.h"

#define FLOATING_LEN	16u
#define HEADER_LEN	44u
#define MAX_CPUS	254u		/* 8-bit APIC ids; the IOAPIC has one of its own */

enum { BUS_PCI = 0, BUS_ISA = 1 };
enum { INT_VECTORED = 0, INT_NMI = 1, INT_EXTINT = 3 };
enum { CONFORMS = 0, LEVEL_HIGH = 0x0d, LEVEL_LOW = 0x0f };

struct mp {
	struct table t;
	unsigned int entries;
};

static void bus(struct mp *mp, uint8_t id, const char *name)
{
	put8(&mp->t, 1);
	put8(&mp->t, id);
	table_put(&mp->t, name, 6);
	mp->entries++;
}

/* To a pin of the IOAPIC (@type 3) or of the local APICs (@type 4). */
static void interrupt(struct mp *mp, uint8_t type, uint8_t kind, uint16_t flags, uint8_t bus, uint8_t source,
		      uint8_t dest, uint8_t pin)
{
	put8(&mp->t, type);
	put8(&mp->t, kind);
	put16(&mp->t, flags);
	put8(&mp->t, bus);
	put8(&mp->t, source);
	put8(&mp->t, dest);
	put8(&mp->t, pin);
	mp->entries++;
}

static void fill(struct mp *mp, unsigned int cpus, uint8_t ioapic)
{
	struct table *t = &mp->t;
	unsigned int i, slot, pin;

	for (i = 0; i < cpus; i++) {
		put8(t, 0);
		put8(t, i);
		put8(t, 0x14);			/* integrated APIC version */
		put8(t, i ? 1 : 3);		/* enabled; the boot processor */
		put32(t, 0x0600);		/* family 6 */
		put32(t, 0x0201);		/* APIC and FPU on chip */
		put64(t, 0);
		mp->entries++;
	}
	bus(mp, BUS_PCI, "PCI   ");
	bus(mp, BUS_ISA, "ISA   ");
	put8(t, 2);
	put8(t, ioapic);
	put8(t, 0x20);
	put8(t, 1);
	put32(t, PC_IOAPIC_ADDR);
	mp->entries++;

	for (i = 0; i < 16; i++) {
		if (i == 2)
			continue;		/* the cascade; its pin has the PIT */
		interrupt(mp, 3, INT_VECTORED, i == PC_SCI_IRQ ? LEVEL_HIGH : CONFORMS, BUS_ISA, i, ioapic,
			  i ? i : 2);
	}
	for (slot = 2; slot < 32; slot++)
		for (pin = 0; pin < 4; pin++)
			interrupt(mp, 3, INT_VECTORED, LEVEL_LOW, BUS_PCI, slot << 2 | pin, ioapic,
				  pci_gsi(slot, pin));
	interrupt(mp, 4, INT_EXTINT, CONFORMS, BUS_ISA, 0, 0xff, 0);
	interrupt(mp, 4, INT_NMI, CONFORMS, BUS_ISA, 0, 0xff, 1);
}

int mptable_build(struct vm *vm)
{
	unsigned int cpus = vm->config.cpus < MAX_CPUS ? vm->config.cpus : MAX_CPUS;
	struct mp mp = { .t = { .cap = PC_MPTABLE_SIZE } };
	struct table *t = &mp.t;
	int err = 0;

	t->data = calloc(1, PC_MPTABLE_SIZE);
	if (!t->data)
		return -ENOMEM;
	table_put(t, "_MP_", 4);
	put32(t, PC_MPTABLE + FLOATING_LEN);
	put8(t, 1);			/* 16 bytes */
	put8(t, 4);			/* 1.4 */
	table_zero(t, 6);		/* checksum; no default configuration; no IMCR */
	pc_checksum(t->data, FLOATING_LEN, 10);

	table_put(t, "PCMP", 4);
	table_zero(t, 2);		/* length */
	put8(t, 4);
	put8(t, 0);
	table_put(t, "TENON   ", 8);
	table_put(t, "PC          ", 12);
	table_zero(t, 6);		/* no OEM table */
	put16(t, 0);			/* entries */
	put32(t, PC_LAPIC_ADDR);
	table_zero(t, 4);
	fill(&mp, cpus, cpus);
	if (t->full || t->len - FLOATING_LEN > 0xffff) {
		msg_error("build the MP table: it does not fit into %u bytes", PC_MPTABLE_SIZE);
		err = -E2BIG;
	} else {
		table_set(t, FLOATING_LEN + 4, t->len - FLOATING_LEN, 2);
		table_set(t, FLOATING_LEN + 34, mp.entries, 2);
		pc_checksum(t->data + FLOATING_LEN, t->len - FLOATING_LEN, 7);
		if (!vm_write(vm, PC_MPTABLE, t->data, PC_MPTABLE_SIZE))
			err = -EFAULT;
	}
	free(t->data);
	return err;
}
