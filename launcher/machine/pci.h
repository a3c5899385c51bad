/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pci.h - the PCI host bridge (i440FX ids, configuration by 0xCF8/0xCFC) and what a PCI function needs
 */
#ifndef TENON_PCI_H
#define TENON_PCI_H

#include "../vm.h"

#define PCI_NUM_BARS	6
#define PCI_CFG_SIZE	256

struct pci_dev;

struct pci_bar {
	uint64_t size;			/* power of two, 0: not present */
	bool io, mem64, prefetch;
	const struct region_ops *ops;
	void *opaque;
	/* optional: it has been put on the bus at @addr (@on), or is about to be taken off */
	void (*moved)(void *opaque, uint64_t addr, bool on);
	uint64_t mapped;		/* address at which it is on the bus now; UINT64_MAX: not */
};

/* A PCI function. Fill in before pci_add(). */
struct pci_dev {
	const char *name;
	uint8_t cfg[PCI_CFG_SIZE];	/* little-endian configuration space as the guest reads it */
	uint8_t wmask[PCI_CFG_SIZE];	/* bits the guest may write */
	struct pci_bar bar[PCI_NUM_BARS];
	/* optional: after a write to configuration space that changed [off, off + len) */
	void (*cfg_written)(struct pci_dev *dev, unsigned int off, unsigned int len);
	/* optional: before a read of [off, off + len); may change cfg */
	void (*cfg_read)(struct pci_dev *dev, unsigned int off, unsigned int len);
	void (*reset)(struct pci_dev *dev);

	struct pci_host *host;
	uint8_t devfn;
	bool intx;			/* level of its interrupt pin */
	unsigned int cap_end;		/* next capability goes here, 0: none yet */

	/* MSI-X, set up by pci_msix_init() */
	uint8_t msix_cap;		/* offset of the capability, 0: none */
	unsigned int msix_nr;
	struct pci_msix_entry {
		uint64_t addr;
		uint32_t data, ctrl;
	} *msix;
	uint64_t *msix_pending;
	unsigned int msix_sources;
	struct pci_msix_source *msix_source;
};

/*
 * Put a function at device number @slot (-1: first free from 1 on), function 0. BARs get addresses as firmware would
 * assign them; INTA# gets a line (GSI 16..23 by slot with the IOAPIC; PIC IRQ 10 or 11 in the line register).
 */
int pci_add(struct pci_host *host, struct pci_dev *dev, int slot);
void pci_set_intx(struct pci_dev *dev, bool level);
/* Another device's level on one of the lines that PCI drives, GSI 16 to 23. */
void pci_share_line(struct pci_host *host, unsigned int gsi, bool level);
/* The same for one function of a device; -EBUSY if it is taken. */
int pci_add_devfn(struct pci_host *host, struct pci_dev *dev, uint8_t devfn);
/* May it write memory and send interrupts now? Any thread. */
bool pci_bus_master(const struct pci_dev *dev);
/* Append a capability: id, link and @len bytes of @body. Returns its offset, or -ENOSPC. Before pci_add(). */
int pci_add_cap(struct pci_dev *dev, uint8_t id, const void *body, unsigned int len);
/* MSI-X with @nr vectors, table and PBA in BAR @bar (which this call defines). Before pci_add(). */
int pci_msix_init(struct pci_dev *dev, unsigned int nr, unsigned int bar);
bool pci_msix_enabled(const struct pci_dev *dev);
/* Send vector @n, or make it pending while masked. Any thread. */
void pci_msix_notify(struct pci_dev *dev, unsigned int n);
/*
 * Where the back end can (accel_ops.irqfd), @nr eventfds whose signal is a vector, without any thread's doing. Before
 * pci_add(), after pci_msix_init(). 0, or -errno.
 */
int pci_msix_add_sources(struct pci_dev *dev, const struct vm *vm, unsigned int nr);
/* From now on it is this vector, or none. */
void pci_msix_set_source(struct pci_dev *dev, unsigned int source, unsigned int vector);
/* Signal it. False: it is connected with nothing now, since it is masked for one. */
bool pci_msix_signal(struct pci_dev *dev, unsigned int source);
/* The eventfd, or -1. While it is connected with nothing, it keeps its signals: whoever reads them passes them on. */
int pci_msix_source_fd(const struct pci_dev *dev, unsigned int source);
void pci_dev_exit(struct pci_dev *dev);
/*
 * While the guest runs, with the device lock held: a function appears in @slot as hardware does that no firmware has
 * set up, without addresses; it disappears from the bus, and sends nothing any more, while its device exists still.
 */
int pci_plug(struct pci_host *host, struct pci_dev *dev, unsigned int slot);
void pci_unplug(struct pci_dev *dev);
/* What is there, or NULL. */
struct pci_dev *pci_in_slot(struct pci_host *host, unsigned int slot);

/* The back end is a new one: tell it of the BARs that are on the bus (pci_bar.moved). */
void pci_tell_bars(struct pci_host *host);

extern const struct device_ops pci_host_device;

/* For the ACPI tables: _PRT as (device << 16 | 0xffff, pin, GSI), the windows of memory below 4 GiB. */
#define PCI_MMIO_BASE	0xc0000000u
#define PCI_MMIO_END	0xfebfffffu
#define PCI_IO_FIRST	0xc000u
unsigned int pci_gsi(unsigned int slot, unsigned int pin);	/* pin 0 is INTA# */

static inline uint16_t pci_get16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static inline uint32_t pci_get32(const uint8_t *p)
{
	return pci_get16(p) | (uint32_t)pci_get16(p + 2) << 16;
}

static inline void pci_put16(uint8_t *p, uint16_t v)
{
	p[0] = v;
	p[1] = v >> 8;
}

static inline void pci_put32(uint8_t *p, uint32_t v)
{
	pci_put16(p, v);
	pci_put16(p + 2, v >> 16);
}

#endif /* TENON_PCI_H */
