/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pc.h - what the files of machine/ share: the memory map and the firmware's tables
 */
#ifndef TENON_PC_H
#define TENON_PC_H

#include "../vm.h"

/* Fixed hardware, as the ACPI tables, the MP table and the PIIX4 function tell it. */
#define PC_PM_BASE		0x600u		/* PM1a event, PM1a control, PM timer */
#define PC_PM_SIZE		0x0cu
#define PC_SCI_IRQ		9u
#define PC_GPE_BASE		0xafe0u		/* general purpose events: status and enable, 16 bits each */
#define PC_GPE_SIZE		4u
#define PC_GPE_HOTPLUG		1u
#define PC_HOTPLUG_BASE		0xae00u
#define PC_HOTPLUG_SIZE		0x14u
#define PC_IOAPIC_ADDR		0xfec00000u
#define PC_HPET_ADDR		0xfed00000u
#define PC_HPET_SIZE		0x400u
#define PC_HPET_ID		0x8086a201u	/* lower half of its capabilities */
#define PC_HPET_MIN_TICKS	2000u		/* of a periodic timer, so that none is lost */
#define PC_LAPIC_ADDR		0xfee00000u
#define PC_IOAPIC_PINS		24u
#define PC_PVPANIC_PORT		0x505u
#define PC_RESET_PORT		0xcf9u
#define PC_RESET_VALUE		0x06u
#define PC_SLP_TYP_S5		0u		/* as the PIIX4 has it: 0 is soft off */

/* Where the loader puts things below 1 MiB. All of it is free for the guest once it has read it. */
#define PC_BDA			0x400u		/* BIOS data area: EBDA segment, size of base memory */
#define PC_GDT			0x500u
#define PC_START_INFO		0x6000u		/* PVH start info or multiboot information */
#define PC_ZERO_PAGE		0x7000u		/* Linux boot_params */
#define PC_PAGE_TABLES		0x9000u		/* identity map of 4 GiB: PML4, PDPT, four PDs */
#define PC_CMDLINE		0x20000u
#define PC_CMDLINE_MAX		0x10000u
#define PC_EBDA			0x9fc00u	/* end of base memory */
/* Reserved for firmware; stays as it is while the guest runs. */
#define PC_ACPI			0xe0000u
#define PC_ACPI_SIZE		0x10000u
#define PC_SMBIOS		0xf0000u
#define PC_SMBIOS_SIZE		0x1000u
#define PC_MPTABLE		0xf1000u
#define PC_MPTABLE_SIZE		0xe000u
/* Images may begin here: linkers put the ELF headers of a kernel at 1 MiB on the page below it. */
#define PC_LOAD_MIN		(PC_MPTABLE + PC_MPTABLE_SIZE)
#define PC_HIGH			0x100000u	/* extended memory: kernels go here */

/* Memory types by the numbers of ACPI "System Address Map Interfaces". */
enum { PC_MEM_RAM = 1, PC_MEM_RESERVED = 2 };

struct pc_mem {
	uint64_t base, size;
	uint32_t type;
};
#define PC_MEM_MAX	16

/* Fill @map; returns the number of entries, sorted by base. */
unsigned int pc_memory_map(const struct vm *vm, struct pc_mem map[PC_MEM_MAX]);
/* End of RAM below 4 GiB. */
uint64_t pc_low_ram_end(const struct vm *vm);

/* Builders of tables. They write guest memory and return 0, or -errno with a message printed. */
/* ACPI tables at @base, below 4 GiB. */
#define ACPI_RSDP_LEN		36u
int acpi_build(struct vm *vm, uint64_t base, uint64_t *rsdp);
int smbios_build(struct vm *vm);
/* The same into @data: the entry point of version 2 first, the tables from SMBIOS_TABLES to *@len. */
#define SMBIOS_ANCHOR_LEN	31u
#define SMBIOS_TABLES		64u
int smbios_fill(struct vm *vm, uint8_t data[PC_SMBIOS_SIZE], size_t *len);
int mptable_build(struct vm *vm);

/* Sum of bytes modulo 256 made zero by the byte at @at. */
static inline void pc_checksum(uint8_t *table, size_t len, size_t at)
{
	uint8_t sum = 0;
	size_t i;

	table[at] = 0;
	for (i = 0; i < len; i++)
		sum += table[i];
	table[at] = -sum;
}

/* What firmware asks of fw-cfg; @tables: the ACPI tables. */
int fw_cfg_fill(struct vm *vm, uint64_t tables);

/* Raise general purpose event @n. Device lock held. */
void pm_gpe(struct vm *vm, unsigned int n);

extern const struct device_ops pm_device, fw_cfg_device, hotplug_device;

#endif /* TENON_PC_H */
