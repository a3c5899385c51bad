// SPDX-License-Identifier: GPL-2.0-only
/*
 * pci.c - PCI host bridge: configuration mechanism 1, BARs, INTx lines
 *
 * Identified as the i440FX (8086:1237) with the ISA bridge of the PIIX3 (8086:7000), whose PIRQ registers say
 * which interrupt of the PIC a pin drives. Every pin drives two lines at once: an input of the IOAPIC above
 * 15, and the routed one of the PIC. A guest listens to one of them and masks the other.
 *
 * Configuration space belongs to the device lock, BARs too. Interrupt state (pin levels, MSI-X tables) has a
 * lock of its own, host->irq_lock, taken inside the device lock or without it: workers complete requests and
 * raise interrupts while a vCPU that holds the device lock waits for them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "../msg.h"
#include "pc.h"
#include "pci-host.h"

#define PIRQ_ROUTE_A		0x60
#define PIRQ_DISABLED		0x80
/* ISA interrupts that the PIIX3 lets a PIRQ have: not 0, 1, 2, 8 and 13. */
#define PIRQ_ALLOWED		0xdef8u

#define BAR_UNMAPPED		UINT64_MAX
#define IO_BAR_MIN		0x1000u		/* fixed ISA decoders live below */
#define MEM_BAR_MAX		(1ull << 46)

/* State */

static unsigned int dev_slot(const struct pci_dev *dev)
{
	return dev->devfn >> 3;
}

unsigned int pci_gsi(unsigned int slot, unsigned int pin)
{
	return 16 + ((slot + pin) & 7);
}

unsigned int pci_pirq(unsigned int slot, unsigned int pin)
{
	return (slot + pin - 1) & 3;
}

struct pci_dev *pci_find(struct pci_host *host, uint8_t devfn)
{
	return host->fn[devfn].dev;
}

static uint16_t cfg_command(const struct pci_dev *dev)
{
	return pci_get16(dev->cfg + PCI_COMMAND);
}

bool pci_bus_master(const struct pci_dev *dev)
{
	bool on;

	pthread_mutex_lock(&dev->host->irq_lock);
	on = cfg_command(dev) & PCI_COMMAND_MASTER;
	pthread_mutex_unlock(&dev->host->irq_lock);
	return on;
}

/* INTx. irq_lock held. */

static void update_lines(struct pci_host *host)
{
	uint32_t gsis = host->shared, isa = 0, changed;
	unsigned int i;

	for (i = 0; i < host->nr_used; i++) {
		const struct pci_dev *dev = host->fn[host->used[i]].dev;
		unsigned int pin = dev->cfg[PCI_INTERRUPT_PIN];
		uint8_t route;

		if (!dev->intx || pin < 1 || pin > 4 || (cfg_command(dev) & PCI_COMMAND_INTX_DISABLE))
			continue;
		gsis |= 1u << pci_gsi(dev_slot(dev), pin - 1);
		route = host->isa.cfg[PIRQ_ROUTE_A + pci_pirq(dev_slot(dev), pin - 1)];
		if (!(route & PIRQ_DISABLED) && (PIRQ_ALLOWED & (1u << (route & 15))))
			isa |= 1u << (route & 15);
	}
	gsis |= isa;
	changed = gsis ^ host->lines;
	host->lines = gsis;
	for (i = 0; changed; i++, changed >>= 1)
		if (changed & 1)
			vm_irq(host->vm, i, gsis >> i & 1);
}

void pci_set_intx(struct pci_dev *dev, bool level)
{
	struct pci_host *host = dev->host;

	pthread_mutex_lock(&host->irq_lock);
	if (dev->intx != level) {
		dev->intx = level;
		update_lines(host);
	}
	pthread_mutex_unlock(&host->irq_lock);
}

void pci_share_line(struct pci_host *host, unsigned int gsi, bool level)
{
	pthread_mutex_lock(&host->irq_lock);
	if (level)
		host->shared |= 1u << gsi;
	else
		host->shared &= ~(1u << gsi);
	update_lines(host);
	pthread_mutex_unlock(&host->irq_lock);
}

/* BARs */

static bool bar_is_second_half(const struct pci_dev *dev, unsigned int i)
{
	return i && dev->bar[i - 1].size && dev->bar[i - 1].mem64;
}

static bool mem_range_ok(const struct vm *vm, uint64_t addr, uint64_t size)
{
	unsigned int i;

	if (addr < 1ull << 32)
		return addr >= PCI_MMIO_BASE && addr + size - 1 <= PCI_MMIO_END;
	if (addr >= MEM_BAR_MAX || size > MEM_BAR_MAX - addr)
		return false;
	for (i = 0; i < vm->nr_ram; i++)
		if (addr < vm->ram[i].gpa + vm->ram[i].size && vm->ram[i].gpa < addr + size)
			return false;
	return true;
}

/* Where the guest wants BAR @i now, or BAR_UNMAPPED if nowhere that a BAR may be. */
static uint64_t bar_wanted(const struct pci_dev *dev, unsigned int i)
{
	const struct pci_bar *bar = &dev->bar[i];
	const uint8_t *reg = dev->cfg + PCI_BASE_ADDRESS_0 + 4 * i;
	uint64_t addr = pci_get32(reg);

	if (!bar->size || bar_is_second_half(dev, i))
		return BAR_UNMAPPED;
	if (bar->io) {
		addr &= ~3ull;
		if (!(cfg_command(dev) & PCI_COMMAND_IO) || addr < IO_BAR_MIN || addr + bar->size > 0x10000)
			return BAR_UNMAPPED;
		return addr;
	}
	addr &= ~15ull;
	if (bar->mem64)
		addr |= (uint64_t)pci_get32(reg + 4) << 32;
	if (!(cfg_command(dev) & PCI_COMMAND_MEMORY) || !mem_range_ok(dev->host->vm, addr, bar->size))
		return BAR_UNMAPPED;
	return addr;
}

static struct bus *bar_bus(struct pci_dev *dev, const struct pci_bar *bar)
{
	return bar->io ? &dev->host->vm->pio : &dev->host->vm->mmio;
}

static void unmap_bar(struct pci_dev *dev, struct pci_bar *bar)
{
	if (bar->mapped == BAR_UNMAPPED)
		return;
	if (bar->moved)
		bar->moved(bar->opaque, bar->mapped, false);
	bus_remove(bar_bus(dev, bar), bar->mapped, bar->size);
	bar->mapped = BAR_UNMAPPED;
}

/*
 * Bring the buses in line with the registers of all functions. What overlaps another device is left out, and
 * gets in when the other one moves away.
 */
static void update_bars(struct pci_host *host)
{
	unsigned int n, i;

	for (n = 0; n < host->nr_used; n++) {
		struct pci_dev *dev = host->fn[host->used[n]].dev;

		for (i = 0; i < PCI_NUM_BARS; i++)
			if (dev->bar[i].size && dev->bar[i].mapped != bar_wanted(dev, i))
				unmap_bar(dev, &dev->bar[i]);
	}
	for (n = 0; n < host->nr_used; n++) {
		struct pci_dev *dev = host->fn[host->used[n]].dev;

		for (i = 0; i < PCI_NUM_BARS; i++) {
			struct pci_bar *bar = &dev->bar[i];
			uint64_t addr = bar_wanted(dev, i);

			if (addr == BAR_UNMAPPED || bar->mapped != BAR_UNMAPPED)
				continue;
			if (bus_add(bar_bus(dev, bar), addr, bar->size, bar->ops, bar->opaque, dev->name))
				continue;
			bar->mapped = addr;
			if (bar->moved)
				bar->moved(bar->opaque, addr, true);
		}
	}
}

void pci_tell_bars(struct pci_host *host)
{
	for (unsigned int n = 0; n < host->nr_used; n++) {
		struct pci_dev *dev = host->fn[host->used[n]].dev;

		for (unsigned int i = 0; i < PCI_NUM_BARS; i++)
			if (dev->bar[i].moved && dev->bar[i].mapped != BAR_UNMAPPED)
				dev->bar[i].moved(dev->bar[i].opaque, dev->bar[i].mapped, true);
	}
}

/* Where firmware put BAR @i of a function. */
static uint64_t bar_placed(const uint8_t *cfg, const struct pci_bar *bar, unsigned int i)
{
	uint32_t val = pci_get32(cfg + PCI_BASE_ADDRESS_0 + 4 * i);

	return val & (bar->io ? ~3u : ~15u);
}

/* The lowest free address for BAR @i of @dev, whose earlier ones have theirs; 0: there is none. */
static uint64_t place_bar(struct pci_host *host, const struct pci_dev *dev, unsigned int i)
{
	const struct pci_bar *bar = &dev->bar[i];
	/* A page of memory at least: what the guest maps of one function shows nothing of another. */
	const uint64_t grain = bar->io ? 4 : 4096, size = bar->size < grain ? grain : bar->size;
	const uint64_t end = bar->io ? 0x10000 : PCI_MMIO_END + 1ull;
	uint64_t addr = bar->io ? PCI_IO_FIRST : PCI_MMIO_BASE;
	unsigned int n, k;

again:
	addr = (addr + size - 1) & ~(size - 1);
	if (addr + size > end)
		return 0;
	for (n = 0; n <= host->nr_used; n++) {
		const struct pci_dev *other = n < host->nr_used ? host->fn[host->used[n]].dev : dev;
		const uint8_t *cfg = n < host->nr_used ? host->fn[host->used[n]].initial : dev->cfg;

		for (k = 0; k < (other == dev ? i : PCI_NUM_BARS); k++) {
			const struct pci_bar *b = &other->bar[k];
			uint64_t at = bar_placed(cfg, b, k), len = b->size < grain ? grain : b->size;

			if (b->size && b->io == bar->io && at < addr + size && addr < at + len) {
				addr = at + len;
				goto again;
			}
		}
	}
	return addr;
}

/* Give BARs addresses and write masks, the way firmware and hardware would. */
static int place_bars(struct pci_host *host, struct pci_dev *dev)
{
	unsigned int i;

	for (i = 0; i < PCI_NUM_BARS; i++) {
		struct pci_bar *bar = &dev->bar[i];
		uint8_t *reg = dev->cfg + PCI_BASE_ADDRESS_0 + 4 * i;
		uint8_t *mask = dev->wmask + PCI_BASE_ADDRESS_0 + 4 * i;
		uint64_t addr, flags = PCI_BASE_ADDRESS_SPACE_IO;

		bar->mapped = BAR_UNMAPPED;
		if (!bar->size)
			continue;
		if (bar->size & (bar->size - 1) || bar_is_second_half(dev, i) ||
		    (bar->mem64 && i == PCI_NUM_BARS - 1) || bar->size < 16)
			return -EINVAL;
		addr = place_bar(host, dev, i);
		if (!addr)
			return -ENOSPC;
		if (!bar->io)
			flags = (bar->mem64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
				(bar->prefetch ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
		pci_put32(reg, addr | flags);
		pci_put32(mask, ~(bar->size - 1) & (bar->io ? 0xfffcu : 0xfffffff0u));
		if (bar->mem64) {
			pci_put32(reg + 4, addr >> 32);
			pci_put32(mask + 4, ~(bar->size - 1) >> 32);
		}
	}
	return 0;
}

/* Configuration space */

static uint32_t cfg_read(struct pci_dev *dev, unsigned int off, unsigned int len)
{
	uint32_t val = 0;
	unsigned int i;

	if (dev->cfg_read)
		dev->cfg_read(dev, off, len);
	for (i = 0; i < len; i++) {
		uint8_t byte = dev->cfg[off + i];

		if (off + i == PCI_STATUS && dev->cfg[PCI_INTERRUPT_PIN]) {
			pthread_mutex_lock(&dev->host->irq_lock);
			byte |= dev->intx ? PCI_STATUS_INTERRUPT : 0;
			pthread_mutex_unlock(&dev->host->irq_lock);
		}
		val |= (uint32_t)byte << 8 * i;
	}
	return val;
}

static bool touches(unsigned int off, unsigned int len, unsigned int start, unsigned int size)
{
	return off < start + size && start < off + len;
}

static void cfg_write(struct pci_dev *dev, unsigned int off, uint32_t val, unsigned int len)
{
	struct pci_host *host = dev->host;
	unsigned int i;

	pthread_mutex_lock(&host->irq_lock);
	for (i = 0; i < len; i++) {
		uint8_t mask = dev->wmask[off + i];

		dev->cfg[off + i] = (dev->cfg[off + i] & ~mask) | (val >> 8 * i & mask);
	}
	if (touches(off, len, PCI_COMMAND, 2) || (dev == &host->isa && touches(off, len, PIRQ_ROUTE_A, 4)))
		update_lines(host);
	pci_msix_written(dev, off, len);
	pthread_mutex_unlock(&host->irq_lock);

	if (touches(off, len, PCI_COMMAND, 2) || touches(off, len, PCI_BASE_ADDRESS_0, 4 * PCI_NUM_BARS))
		update_bars(host);
	if (dev->cfg_written)
		dev->cfg_written(dev, off, len);
}

/* The function that 0xCF8 points at; NULL if there is none. */
static struct pci_dev *cfg_target(struct pci_host *host)
{
	if (!(host->addr & 0x80000000u) || (host->addr & 0x00ff0000u))
		return NULL;
	return host->fn[host->addr >> 8 & 0xff].dev;
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned int len)
{
	struct pci_host *host = opaque;
	struct pci_dev *dev = cfg_target(host);

	if (!dev || off + len > 4)
		return ~0ull;
	return cfg_read(dev, (host->addr & 0xfc) + off, len);
}

static void data_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct pci_host *host = opaque;
	struct pci_dev *dev = cfg_target(host);

	if (dev && off + len <= 4)
		cfg_write(dev, (host->addr & 0xfc) + off, val, len);
}

/*
 * 0xCF8 is the address register for accesses of 32 bits only; the byte 0xCF9 is the reset control register of
 * the PIIX3: bit 2 resets, whether hard (bit 1) or only the processor, which firmware makes a full reset of
 * anyway.
 */
static uint64_t addr_read(void *opaque, uint64_t off, unsigned int len)
{
	struct pci_host *host = opaque;

	if (!off && len == 4)
		return host->addr;
	if (off == 1 && len == 1)
		return host->reset_ctl;
	return ~0ull;
}

static void addr_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct pci_host *host = opaque;

	if (!off && len == 4) {
		host->addr = val & 0x80fffffcu;
	} else if (off == 1 && len == 1) {
		host->reset_ctl = val & 2;
		if (val & 4)
			vm_reset_request(host->vm);
	}
}

static const struct region_ops addr_ops = { .read = addr_read, .write = addr_write };
static const struct region_ops data_ops = { .read = data_read, .write = data_write };

/* Functions */

int pci_add_cap(struct pci_dev *dev, uint8_t id, const void *body, unsigned int len)
{
	unsigned int at = dev->cap_end ? dev->cap_end : 0x40, prev = PCI_CAPABILITY_LIST;

	if (at + 2 + len > PCI_CFG_SIZE)
		return -ENOSPC;
	while (dev->cfg[prev])
		prev = dev->cfg[prev] + 1;
	dev->cfg[prev] = at;
	dev->cfg[at] = id;
	dev->cfg[at + 1] = 0;
	memcpy(dev->cfg + at + 2, body, len);
	dev->cfg[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	dev->cap_end = (at + 2 + len + 3) & ~3u;
	return at;
}

/* As hardware comes: what firmware would have set up is not. */
static void forget_placement(struct pci_dev *dev)
{
	unsigned int i;

	pci_put16(dev->cfg + PCI_COMMAND, cfg_command(dev) & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	for (i = 0; i < PCI_NUM_BARS; i++) {
		uint8_t *reg = dev->cfg + PCI_BASE_ADDRESS_0 + 4 * i;

		if (dev->bar[i].size)
			pci_put32(reg, pci_get32(reg) & (dev->bar[i].io ? 3u : 15u));
	}
}

static int add_devfn(struct pci_host *host, struct pci_dev *dev, uint8_t devfn, bool plug)
{
	unsigned int pin = dev->cfg[PCI_INTERRUPT_PIN];
	int err;

	if (host->fn[devfn].dev)
		return -EBUSY;
	dev->host = host;
	dev->devfn = devfn;
	dev->intx = false;
	err = place_bars(host, dev);
	if (err)
		return err;

	pci_put16(dev->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
		  (pin ? PCI_COMMAND_INTX_DISABLE : 0));
	dev->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
	dev->wmask[PCI_LATENCY_TIMER] = 0xff;
	pci_put16(dev->cfg + PCI_COMMAND, cfg_command(dev) | PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	if (pin) {
		dev->wmask[PCI_INTERRUPT_LINE] = 0xff;
		dev->cfg[PCI_INTERRUPT_LINE] = host->isa.cfg[PIRQ_ROUTE_A + pci_pirq(devfn >> 3, pin - 1)];
	}
	memcpy(host->fn[devfn].initial, dev->cfg, PCI_CFG_SIZE);
	if (plug)
		forget_placement(dev);

	pthread_mutex_lock(&host->irq_lock);
	host->fn[devfn].dev = dev;
	host->used[host->nr_used++] = devfn;
	pthread_mutex_unlock(&host->irq_lock);
	update_bars(host);
	return 0;
}

int pci_add_devfn(struct pci_host *host, struct pci_dev *dev, uint8_t devfn)
{
	return add_devfn(host, dev, devfn, false);
}

int pci_plug(struct pci_host *host, struct pci_dev *dev, unsigned int slot)
{
	return add_devfn(host, dev, (uint8_t)(slot << 3), true);
}

struct pci_dev *pci_in_slot(struct pci_host *host, unsigned int slot)
{
	return slot < 32 ? host->fn[slot << 3].dev : NULL;
}

int pci_add(struct pci_host *host, struct pci_dev *dev, int slot)
{
	if (slot < 0)
		for (slot = 1; slot < 32 && host->fn[slot << 3].dev; slot++)
			;
	if (slot > 31) {
		msg_error("add PCI device '%s': all 31 slots of the bus are taken. Give the machine fewer "
			  "devices",
			  dev->name);
		return -ENOSPC;
	}
	return pci_add_devfn(host, dev, slot << 3);
}

void pci_unplug(struct pci_dev *dev)
{
	struct pci_host *host = dev->host;
	unsigned int i;

	if (!host || host->fn[dev->devfn].dev != dev)
		return;
	for (i = 0; i < PCI_NUM_BARS; i++)
		if (dev->bar[i].size)
			unmap_bar(dev, &dev->bar[i]);
	pthread_mutex_lock(&host->irq_lock);
	for (i = 0; i < host->nr_used && host->used[i] != dev->devfn; i++)
		;
	host->nr_used--;
	memmove(host->used + i, host->used + i + 1, host->nr_used - i);
	host->fn[dev->devfn].dev = NULL;
	/* No master of the bus any more. */
	pci_put16(dev->cfg + PCI_COMMAND, 0);
	pci_msix_connect(dev);
	update_lines(host);
	pthread_mutex_unlock(&host->irq_lock);
}

void pci_dev_exit(struct pci_dev *dev)
{
	pci_unplug(dev);
	dev->host = NULL;
	pci_msix_exit(dev);
}

/* The host bridge itself */

static void bridge_setup(struct pci_dev *dev, const char *name, uint16_t device, uint16_t class,
			 uint8_t revision)
{
	dev->name = name;
	pci_put16(dev->cfg + PCI_VENDOR_ID, 0x8086);
	pci_put16(dev->cfg + PCI_DEVICE_ID, device);
	pci_put16(dev->cfg + PCI_CLASS_DEVICE, class);
	dev->cfg[PCI_REVISION_ID] = revision;
	pci_put16(dev->cfg + PCI_COMMAND, PCI_COMMAND_MASTER);
}

static int pci_host_init(struct vm *vm, void **state)
{
	static const uint8_t pirq[4] = { 10, 10, 11, 11 };
	struct pci_host *host = calloc(1, sizeof(*host));
	int err;

	if (!host)
		return -ENOMEM;
	host->vm = vm;
	pthread_mutex_init(&host->irq_lock, NULL);

	bridge_setup(&host->bridge, "i440fx", 0x1237, 0x0600, 2);
	/* By these firmware knows that there is a fw-cfg device. */
	if (vm->config.firmware) {
		pci_put16(host->bridge.cfg + PCI_SUBSYSTEM_VENDOR_ID, 0x1af4);
		pci_put16(host->bridge.cfg + PCI_SUBSYSTEM_ID, 0x1100);
	}
	memset(host->bridge.wmask + 0x59, 0xff, 7);	/* PAM: firmware shadowing, kept but without effect */
	bridge_setup(&host->isa, "piix3-isa", 0x7000, 0x0601, 0);
	host->isa.cfg[PCI_HEADER_TYPE] = 0x80;		/* power management is its function 3 */
	memcpy(host->isa.cfg + PIRQ_ROUTE_A, pirq, sizeof(pirq));
	memset(host->isa.wmask + PIRQ_ROUTE_A, PIRQ_DISABLED | 0x0f, sizeof(pirq));

	err = pci_add(host, &host->bridge, 0);
	if (!err)
		err = pci_add(host, &host->isa, 1);
	if (err)
		goto err_free;
	err = bus_add(&vm->pio, 0xcf8, 4, &addr_ops, host, "pci-address");
	if (err)
		goto err_free;
	err = bus_add(&vm->pio, 0xcfc, 4, &data_ops, host, "pci-data");
	if (err)
		goto err_addr;
	vm->pci = host;
	*state = host;
	return 0;

err_addr:
	bus_remove(&vm->pio, 0xcf8, 4);
err_free:
	msg_error("create the PCI host bridge: %s", strerror(-err));
	pthread_mutex_destroy(&host->irq_lock);
	free(host);
	return err;
}

static void pci_host_reset(struct vm *vm, void *state)
{
	struct pci_host *host = state;
	unsigned int n, i;

	(void)vm;
	host->addr = 0;
	host->reset_ctl = 0;
	/* Devices first, while their registers are as the guest left them: they stop what they are doing. */
	for (n = 0; n < host->nr_used; n++) {
		struct pci_dev *dev = host->fn[host->used[n]].dev;

		if (dev->reset)
			dev->reset(dev);
	}
	pthread_mutex_lock(&host->irq_lock);
	for (n = 0; n < host->nr_used; n++) {
		struct pci_dev *dev = host->fn[host->used[n]].dev;

		memcpy(dev->cfg, host->fn[host->used[n]].initial, PCI_CFG_SIZE);
		dev->intx = false;
		for (i = 0; i < dev->msix_nr; i++)
			dev->msix[i] = (struct pci_msix_entry){ .ctrl = PCI_MSIX_ENTRY_CTRL_MASKBIT };
		for (i = 0; i < (dev->msix_nr + 63) / 64; i++)
			dev->msix_pending[i] = 0;
		pci_msix_connect(dev);
	}
	update_lines(host);
	pthread_mutex_unlock(&host->irq_lock);
	update_bars(host);
}

static void pci_host_exit(struct vm *vm, void *state)
{
	struct pci_host *host = state;

	if (!host)
		return;
	bus_remove(&vm->pio, 0xcfc, 4);
	bus_remove(&vm->pio, 0xcf8, 4);
	pci_dev_exit(&host->isa);
	pci_dev_exit(&host->bridge);
	pthread_mutex_destroy(&host->irq_lock);
	vm->pci = NULL;
	free(host);
}

const struct device_ops pci_host_device = {
	.name = "pci",
	.init = pci_host_init,
	.reset = pci_host_reset,
	.exit = pci_host_exit,
};
