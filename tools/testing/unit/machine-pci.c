// SPDX-License-Identifier: GPL-2.0-only
/*
 * machine-pci.c - PCI configuration, BARs, interrupts; ACPI fixed hardware. The oracles are the PCI Local Bus
 * Specification 3.0 and the ACPI Specification.
 */
#include <errno.h>
#include <linux/pci_regs.h>

#include "machine-fake.h"

#define SLOT		2
#define DEVFN		(SLOT << 3)

static uint64_t reg_read(void *opaque, uint64_t off, unsigned int len)
{
	(void)opaque;
	(void)len;
	return 0x5500 + off;
}

static void reg_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	(void)opaque;
	(void)off;
	(void)val;
	(void)len;
}

static const struct region_ops reg_ops = { .read = reg_read, .write = reg_write };

static void setup(struct pci_dev *dev, const char *name)
{
	memset(dev, 0, sizeof(*dev));
	dev->name = name;
	pci_put32(dev->cfg, 0x10421af4);
	dev->cfg[PCI_INTERRUPT_PIN] = 1;
	dev->bar[0] = (struct pci_bar){ .size = 0x1000, .ops = &reg_ops };
	dev->bar[1] = (struct pci_bar){ .size = 0x40, .io = true, .ops = &reg_ops };
	dev->bar[4] = (struct pci_bar){ .size = 0x4000, .mem64 = true, .prefetch = true, .ops = &reg_ops };
}

static void test_config(struct vm *vm)
{
	is_u64(cfg_get(vm, 0, 0, 4), 0x12378086, "host bridge is an i440FX");
	is_u64(cfg_get(vm, 8, 0, 4), 0x70008086, "ISA bridge is a PIIX3");
	is_u64(cfg_get(vm, 8, PCI_HEADER_TYPE, 1), 0x80, "device 1 has several functions");
	is_u64(cfg_get(vm, 11, 0, 4), 0x71138086, "power management is function 3");
	is_u64(cfg_get(vm, 11, 0x40, 4), PC_PM_BASE | 1, "its base register names the block");
	is_u64(cfg_get(vm, 5 << 3, 0, 4), 0xffffffff, "no device: all ones");
	out(vm, 0xcf8, 0x80010000, 4);
	is_u64(in(vm, 0xcfc, 4), 0xffffffff, "no other bus");
	out(vm, 0xcf8, 0x00000000, 4);
	is_u64(in(vm, 0xcfc, 4), 0xffffffff, "nothing without the enable bit");
	is_u64(cfg_get(vm, 0, 2, 2), 0x1237, "16-bit access");
	is_u64(cfg_get(vm, 0, 1, 1), 0x80, "8-bit access");
	cfg_set(vm, 0, 0, 0, 4);
	is_u64(cfg_get(vm, 0, 0, 4), 0x12378086, "ids can't be written");
	out(vm, 0xcf8, 0x80000800, 4);
	out(vm, 0xcf9, 2, 1);
	is_u64(in(vm, 0xcf8, 4), 0x80000800, "a byte to 0xCF9 leaves 0xCF8 alone");
	is_u64(in(vm, 0xcf9, 1), 2, "and is the reset control register");
}

static void test_bars(struct vm *vm)
{
	struct pci_dev dev, other;
	uint32_t bar0;

	setup(&dev, "test");
	setup(&other, "other");
	is_u64(pci_add(vm->pci, &dev, -1), 0, "a function is added");
	is_u64(dev.devfn, DEVFN, "at the first free device number");
	is_u64(pci_add(vm->pci, &other, -1), 0, "and another");
	is_u64(pci_add_devfn(vm->pci, &other, DEVFN), (uint64_t)-EBUSY, "but not at a taken place");

	bar0 = cfg_get(vm, DEVFN, 0x10, 4);
	ok(bar0 >= PCI_MMIO_BASE && bar0 < PCI_MMIO_END, "firmware has placed BAR 0 (0x%x)", bar0);
	is_u64(mmio_read(vm, bar0 + 8, 4), 0x5508, "and it answers there");
	is_u64(cfg_get(vm, DEVFN, 0x14, 4) & 3, 1, "BAR 1 is I/O");
	is_u64(in(vm, (cfg_get(vm, DEVFN, 0x14, 4) & ~3u) + 4, 2), 0x5504, "and answers");

	cfg_set(vm, DEVFN, 0x10, 0xffffffff, 4);
	is_u64(cfg_get(vm, DEVFN, 0x10, 4), 0xfffff000, "size of a 4 KiB BAR");
	is_u64(mmio_read(vm, bar0 + 8, 4), 0xffffffff, "not mapped while it is sized");
	cfg_set(vm, DEVFN, 0x14, 0xffffffff, 4);
	is_u64(cfg_get(vm, DEVFN, 0x14, 4), 0xffc1, "size of an I/O BAR of 64 ports");
	cfg_set(vm, DEVFN, 0x20, 0xffffffff, 4);
	cfg_set(vm, DEVFN, 0x24, 0xffffffff, 4);
	is_u64(cfg_get(vm, DEVFN, 0x20, 4), 0xffffc00c, "size of a 64-bit BAR, low half");
	is_u64(cfg_get(vm, DEVFN, 0x24, 4), 0xffffffff, "high half");
	is_u64(cfg_get(vm, DEVFN, 0x18, 4), 0, "an absent BAR reads as 0");

	cfg_set(vm, DEVFN, 0x20, 0, 4);
	cfg_set(vm, DEVFN, 0x24, 0x10, 4);
	is_u64(mmio_read(vm, 0x1000000010ull, 4), 0x5510, "a 64-bit BAR above 4 GiB answers");

	/* What must not work */
	cfg_set(vm, DEVFN, 0x10, 0x00100000, 4);
	is_u64(dev.bar[0].mapped, UINT64_MAX, "BAR over RAM: not mapped");
	cfg_set(vm, DEVFN, 0x10, 0xfee00000, 4);
	is_u64(dev.bar[0].mapped, UINT64_MAX, "BAR over the local APIC: not mapped");
	cfg_set(vm, DEVFN, 0x10, 0xfec00000, 4);
	is_u64(dev.bar[0].mapped, UINT64_MAX, "BAR over the IOAPIC: not mapped");
	cfg_set(vm, DEVFN, 0x14, 0x40, 4);
	is_u64(dev.bar[1].mapped, UINT64_MAX, "I/O BAR over the PIT: not mapped");
	cfg_set(vm, DEVFN, 0x10, other.bar[0].mapped, 4);
	is_u64(dev.bar[0].mapped, UINT64_MAX, "BAR over another BAR: not mapped");
	cfg_set(vm, other.devfn, PCI_COMMAND, 0, 2);
	ok(dev.bar[0].mapped != UINT64_MAX && other.bar[0].mapped == UINT64_MAX, "mapped once the other one "
										 "is off");
	cfg_set(vm, DEVFN, PCI_COMMAND, 0, 2);
	is_u64(dev.bar[0].mapped, UINT64_MAX, "off by the command register");

	pthread_mutex_lock(&vm->lock);
	pci_host_device.reset(vm, vm->pci);
	pthread_mutex_unlock(&vm->lock);
	is_u64(cfg_get(vm, DEVFN, 0x10, 4), bar0, "a reset restores BARs");
	is_u64(mmio_read(vm, bar0 + 8, 4), 0x5508, "which answer again");
	pci_dev_exit(&dev);
	is_u64(mmio_read(vm, bar0 + 8, 4), 0xffffffff, "gone after removal");
	pci_dev_exit(&other);
	is_u64(vm->pci->nr_used, 3, "the machine's own functions remain");
}

static void test_bars_random(struct vm *vm)
{
	uint64_t seed = tap_seed(0x1234), i, bad = 0;
	struct pci_dev dev[3];
	unsigned int n;

	diag("seed %#llx", (unsigned long long)seed);
	for (n = 0; n < 3; n++) {
		setup(&dev[n], "random");
		pci_add(vm->pci, &dev[n], -1);
	}
	for (i = 0; i < 20000; i++) {
		uint64_t r = tap_random(&seed);
		static const uint8_t regs[] = { 0x04, 0x10, 0x14, 0x20, 0x24, 0x04, 0x05, 0x12 };
		uint8_t reg = r & 0x100 ? regs[r & 7] : r >> 16;
		unsigned int len = reg & 1 ? 1 : reg & 2 ? 2 : 1 << (r >> 9 & 1) * 2, b;
		uint32_t val = tap_random(&seed);

		if (r & 0x2000)
			val = (val & 0x3f) << 12 | 0xc0000000;
		cfg_set(vm, dev[r >> 40 & 1].devfn, reg, val, len);
		for (n = 0; n < 3; n++) {
			for (b = 0; b < PCI_NUM_BARS; b++) {
				uint64_t at = dev[n].bar[b].mapped, end = at + dev[n].bar[b].size - 1;

				if (!dev[n].bar[b].size || at == UINT64_MAX)
					continue;
				if (dev[n].bar[b].io ? at < 0x1000 || end > 0xffff :
				    at < PCI_MMIO_BASE || (at < 1ull << 32 && end > PCI_MMIO_END))
					bad++;
			}
		}
	}
	is_u64(bad, 0, "random configuration writes map BARs only into the windows");
	for (n = 0; n < 3; n++)
		pci_dev_exit(&dev[n]);
	is_u64(vm->mmio.nr, 0, "no region is left behind");
}

static void test_intx(struct vm *vm)
{
	unsigned int gsi = pci_gsi(SLOT, 0), irq;
	struct pci_dev dev, other;

	setup(&dev, "test");
	setup(&other, "other");
	pci_add(vm->pci, &dev, SLOT);
	pci_add(vm->pci, &other, SLOT + 8);	/* shares its lines */
	irq = cfg_get(vm, DEVFN, PCI_INTERRUPT_LINE, 1);
	ok(irq == 10 || irq == 11, "the line register names PIC interrupt %u", irq);
	is_u64(gsi, pci_gsi(SLOT + 8, 0), "two devices share GSI %u", gsi);

	pci_set_intx(&dev, true);
	ok(fake.line[gsi] && fake.line[irq], "the pin drives the IOAPIC and the PIC");
	ok(cfg_get(vm, DEVFN, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, "the status register tells");
	pci_set_intx(&other, true);
	pci_set_intx(&dev, false);
	ok(fake.line[gsi] && fake.line[irq], "a shared line stays up for the other one");
	pci_set_intx(&other, false);
	ok(!fake.line[gsi] && !fake.line[irq], "and falls with the last");
	pci_set_intx(&dev, true);
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE, 2);
	ok(!fake.line[gsi], "disabled by the command register");
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	ok(fake.line[gsi], "and enabled again");
	cfg_set(vm, 8, 0x60 + pci_pirq(SLOT, 0), 5, 1);
	ok(!fake.line[irq] && fake.line[5] && fake.line[gsi], "a PIRQ register moves the PIC's line only");
	cfg_set(vm, 8, 0x60 + pci_pirq(SLOT, 0), 0x80, 1);
	ok(!fake.line[5] && fake.line[gsi], "or switches it off");
	cfg_set(vm, 8, 0x60 + pci_pirq(SLOT, 0), 0, 1);
	ok(!fake.line[0], "a PIRQ never reaches the timer's interrupt");
	pci_dev_exit(&dev);
	pci_dev_exit(&other);
	ok(!fake.line[gsi], "removal lowers the line");
}

/* What a back end with irqfd has been told. */
static struct {
	int fd;			/* -1: none */
	uint64_t addr;
	uint32_t data;
	unsigned int changes;
} connected;

static bool record_irqfd(struct vm *vm, int fd, uint64_t addr, uint32_t data, bool on)
{
	(void)vm;
	connected.fd = on ? fd : -1;
	connected.addr = addr;
	connected.data = data;
	connected.changes++;
	return on;
}

static bool signalled(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count);
}

/* An eventfd is connected with its vector's message, as long as that could be sent and no longer. */
static void test_msix_sources(struct vm *vm)
{
	const struct accel_ops *before = vm->config.accel;
	struct accel_ops accel = *before;
	struct pci_dev dev;
	uint64_t table;
	unsigned int changes;
	int fd;

	setup(&dev, "sources");
	dev.bar[0].size = 0;
	pci_msix_init(&dev, 3, 0);
	is_u64(pci_msix_add_sources(&dev, vm, 2), 0, "a back end without irqfd");
	is_u64(pci_msix_source_fd(&dev, 0), -1, "has no sources");
	accel.irqfd = record_irqfd;
	vm->config.accel = &accel;
	connected.fd = -1;
	is_u64(pci_msix_add_sources(&dev, vm, 2), 0, "one with it has");
	fd = pci_msix_source_fd(&dev, 1);
	ok(fd >= 0 && pci_msix_source_fd(&dev, 2) == -1, "as many as were asked for");
	pci_add(vm->pci, &dev, SLOT);
	table = dev.bar[0].mapped;
	mmio_write(vm, table + 32, 0xfee01000, 4);
	mmio_write(vm, table + 36, 0, 4);
	mmio_write(vm, table + 40, 0x4042, 4);
	pci_msix_set_source(&dev, 1, 2);
	pci_msix_set_source(&dev, 7, 2);
	cfg_set(vm, DEVFN, dev.msix_cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	ok(connected.fd == -1 && !pci_msix_signal(&dev, 1) && !signalled(fd), "masked, it is connected with nothing");
	mmio_write(vm, table + 44, 0, 4);
	ok(connected.fd == fd && connected.addr == 0xfee01000 && connected.data == 0x4042, "unmasked, with the message");
	ok(pci_msix_signal(&dev, 1) && signalled(fd), "and it is signalled");
	ok(!pci_msix_signal(&dev, 0) && !pci_msix_signal(&dev, 7), "others are not");
	changes = connected.changes;
	mmio_write(vm, table + 44, 0, 4);
	mmio_write(vm, table + 12, 0, 4);
	is_u64(connected.changes, changes, "what changes nothing is not told");
	mmio_write(vm, table + 40, 0x4043, 4);
	ok(connected.fd == fd && connected.data == 0x4043, "another message");
	mmio_write(vm, table + 32, 0x1000, 4);
	ok(connected.fd == -1 && !pci_msix_signal(&dev, 1), "a message to memory is none");
	mmio_write(vm, table + 32, 0xfee00000, 4);
	ok(connected.fd == fd && connected.addr == 0xfee00000, "until it is one again");
	cfg_set(vm, DEVFN, dev.msix_cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	is_u64(connected.fd, -1, "the function mask disconnects");
	cfg_set(vm, DEVFN, dev.msix_cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	is_u64(connected.fd, (uint64_t)fd, "and connects");
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	is_u64(connected.fd, -1, "so does bus mastering");
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	pci_msix_set_source(&dev, 1, 0xffff);
	is_u64(connected.fd, -1, "no vector, no connection");
	pci_msix_set_source(&dev, 1, 2);
	pci_host_device.reset(vm, vm->pci);
	is_u64(connected.fd, -1, "a reset disconnects");
	mmio_write(vm, table + 44, 0, 4);
	is_u64(connected.fd, -1, "for good");
	mmio_write(vm, table + 32, 0xfee00000, 4);
	cfg_set(vm, DEVFN, dev.msix_cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	is_u64(connected.fd, (uint64_t)fd, "until the guest sets it up again");
	pci_unplug(&dev);
	is_u64(connected.fd, -1, "and so does leaving the bus");
	pci_dev_exit(&dev);
	vm->config.accel = before;
}

static void test_msix(struct vm *vm)
{
	struct pci_dev dev;
	uint64_t table;
	unsigned int count;

	setup(&dev, "msix");
	dev.bar[0].size = 0;
	is_u64(pci_msix_init(&dev, 3, 0), 0, "MSI-X with 3 vectors");
	pci_add(vm->pci, &dev, SLOT);
	is_u64(cfg_get(vm, DEVFN, dev.msix_cap + PCI_MSIX_FLAGS, 2), 2, "table size");
	table = dev.bar[0].mapped;
	is_u64(mmio_read(vm, table + 12, 4), 1, "vectors start masked");
	mmio_write(vm, table + 16, 0xfee00000, 4);
	mmio_write(vm, table + 20, 0, 4);
	mmio_write(vm, table + 24, 0x4041, 4);
	count = fake.msi_count;
	pci_msix_notify(&dev, 1);
	is_u64(fake.msi_count, count, "nothing before it is enabled");
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	cfg_set(vm, DEVFN, dev.msix_cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	pci_msix_notify(&dev, 1);
	is_u64(fake.msi_count, count, "nothing while the vector is masked");
	is_u64(mmio_read(vm, table + 2048, 8), 2, "but it is pending");
	mmio_write(vm, table + 28, 0, 4);
	is_u64(fake.msi_count, count + 1, "unmasking sends it");
	is_u64(fake.msi_data, 0x4041, "with its data");
	is_u64(mmio_read(vm, table + 2048, 8), 0, "no longer pending");
	cfg_set(vm, DEVFN, dev.msix_cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	pci_msix_notify(&dev, 1);
	is_u64(fake.msi_count, count + 1, "the function mask holds all");
	cfg_set(vm, DEVFN, dev.msix_cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	is_u64(fake.msi_count, count + 2, "until it is cleared");
	pci_msix_notify(&dev, 3);
	pci_msix_notify(&dev, 0xffff);
	is_u64(fake.msi_count, count + 2, "vectors out of range are ignored");
	mmio_write(vm, table + 16, 0x1000, 4);
	pci_msix_notify(&dev, 1);
	is_u64(fake.msi_count, count + 2, "a message to memory is not sent");
	mmio_write(vm, table + 2048, ~0ull, 8);
	mmio_write(vm, table + 4088, ~0ull, 8);
	is_u64(mmio_read(vm, table + 2048, 8), 0, "pending bits are read-only");
	pci_dev_exit(&dev);
}

static void test_pm(struct vm *vm)
{
	uint32_t a, b;

	ok(in(vm, PC_PM_BASE + 4, 2) & 1, "ACPI mode is on");
	a = in(vm, PC_PM_BASE + 8, 4);
	usleep(20000);
	b = in(vm, PC_PM_BASE + 8, 4) - a;
	ok(b > 3579545 / 50 * 9 / 10 && b < 3579545 * 2, "the PM timer counts (%u in 20 ms)", b);
	out(vm, PC_PM_BASE, 0xffff, 2);
	machine_power_button(vm);
	is_u64(in(vm, PC_PM_BASE, 2) & 0x100, 0x100, "power button: status");
	ok(!fake.line[PC_SCI_IRQ], "no SCI while it is not enabled");
	out(vm, PC_PM_BASE + 2, 0x100, 2);
	ok(fake.line[PC_SCI_IRQ], "SCI once it is");
	out(vm, PC_PM_BASE + 1, 0x01, 1);
	ok(!fake.line[PC_SCI_IRQ], "a byte write of 1 clears the status");
	out(vm, PC_PM_BASE, 0x120 << 16, 4);
	is_u64(in(vm, PC_PM_BASE + 2, 2), 0x120, "32-bit writes reach both registers");
	out(vm, PC_PM_BASE + 4, 0x2000 | 5 << 10, 2);
	is_u64(vm->end, (uint64_t)VM_RUNNING, "a sleep type that is not offered is ignored");
	ok(in(vm, PC_PM_BASE, 2) & 0x8000, "or rather wakes up at once");
	out(vm, PC_PM_BASE + 4, 0x2000 | PC_SLP_TYP_S5 << 10, 2);
	is_u64(vm->end, VM_END_POWEROFF, "S5 powers off");
	vm->config.no_reboot = true;
	atomic_store(&vm->end, VM_RUNNING);
	out(vm, 0xcf9, 6, 1);
	is_u64(vm->end, VM_END_RESET, "6 to 0xCF9 resets");
}

int main(void)
{
	struct vm *vm = fake_vm(64 << 20);
	void *pci = NULL, *pm = NULL;

	ok(!pci_host_device.init(vm, &pci) && !pm_device.init(vm, &pm), "host bridge and power management "
									"are created");
	test_config(vm);
	test_bars(vm);
	test_bars_random(vm);
	test_intx(vm);
	test_msix(vm);
	test_msix_sources(vm);
	test_pm(vm);
	pm_device.exit(vm, pm);
	pci_host_device.exit(vm, pci);
	is_u64(vm->pio.nr, 0, "everything is gone at the end");
	fake_vm_exit(vm);
	return tap_done();
}
