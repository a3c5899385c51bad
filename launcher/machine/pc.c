// SPDX-License-Identifier: GPL-2.0-only
/*
 * pc.c - the PC as a list: what devices it has, what is where in memory
 */
#include "../devices/devices.h"
#include "../plug.h"
#include "../virtio/virtio.h"
#include "machine.h"
#include "pc.h"
#include "pci.h"

/*
 * PIC, PIT, IOAPIC and local APICs belong to the back end. The PCI host comes before everything that hangs on
 * it; disks, and what is added later, are last, so that they are quiet first when the machine is torn down.
 */
const struct device_ops *const machine_devices[] = {
	&pci_host_device,
	&pm_device,
	&hotplug_device,
	&rtc_device,
	&hpet_device,
	&i8042_device,
	&fw_cfg_device,
	&serial_device,
	&debug_exit_device,
	&run_port_device,
	&pvpanic_device,
	&i6300esb_device,
	&virtio_net_device,
	&virtio_rng_device,
	&virtio_balloon_device,
	&virtio_console_device,
	&virtio_vsock_device,
	&virtio_9p_device,
	&virtio_blk_device,
	&plug_device,
	NULL,
};

/*
 * The physical address space. RAM grows from 0 to the PCI window and goes on at 4 GiB; what the table does
 * not list is a hole, or belongs to PCI.
 */
static const struct {
	uint64_t base, end;
	uint32_t type;			/* RAM here means: as far as there is any */
} areas[] = {
	{ 0x00000000,	PC_EBDA,	PC_MEM_RAM },		/* base memory */
	{ PC_EBDA,	0x000a0000,	PC_MEM_RESERVED },	/* EBDA */
								/* 0xa0000: VGA window, option ROMs */
	{ PC_ACPI,	PC_HIGH,	PC_MEM_RESERVED },	/* ACPI, SMBIOS and MP tables */
	{ PC_HIGH,	PCI_MMIO_BASE,	PC_MEM_RAM },		/* extended memory */
								/* 0xc0000000: memory of PCI devices */
	{ PC_IOAPIC_ADDR, PC_IOAPIC_ADDR + 0x1000, PC_MEM_RESERVED },
	{ PC_HPET_ADDR, PC_HPET_ADDR + 0x1000, PC_MEM_RESERVED },
	{ PC_LAPIC_ADDR, PC_LAPIC_ADDR + 0x1000, PC_MEM_RESERVED },
	{ 1ull << 32,	UINT64_MAX,	PC_MEM_RAM },		/* the rest of the memory */
};

_Static_assert(sizeof(areas) / sizeof(areas[0]) + 1 <= PC_MEM_MAX, "RAM comes in two pieces at most");

unsigned int pc_memory_map(const struct vm *vm, struct pc_mem map[PC_MEM_MAX])
{
	unsigned int i, r, n = 0;

	for (i = 0; i < sizeof(areas) / sizeof(areas[0]); i++) {
		if (areas[i].type != PC_MEM_RAM) {
			map[n].base = areas[i].base;
			map[n].size = areas[i].end - areas[i].base;
			map[n++].type = areas[i].type;
			continue;
		}
		for (r = 0; r < vm->nr_ram; r++) {
			uint64_t base = vm->ram[r].gpa, end = base + vm->ram[r].size;

			if (base < areas[i].base)
				base = areas[i].base;
			if (end > areas[i].end)
				end = areas[i].end;
			if (base < end && n < PC_MEM_MAX)
				map[n++] = (struct pc_mem){ base, end - base, PC_MEM_RAM };
		}
	}
	return n;
}

uint64_t pc_low_ram_end(const struct vm *vm)
{
	uint64_t end = 0;
	unsigned int r;

	for (r = 0; r < vm->nr_ram; r++)
		if (vm->ram[r].gpa < 1ull << 32)
			end = vm->ram[r].gpa + vm->ram[r].size;
	return end < PCI_MMIO_BASE ? end : PCI_MMIO_BASE;
}
