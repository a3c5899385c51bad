/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pci-host.h - inside of the PCI host bridge, for pci.c, pci-msix.c and the machine's own functions
 */
#ifndef TENON_PCI_HOST_H
#define TENON_PCI_HOST_H

#include <pthread.h>

#include "pci.h"

struct pci_host {
	struct vm *vm;

	/* Owned by the device lock */
	uint32_t addr;			/* 0xCF8 */
	uint8_t reset_ctl;		/* 0xCF9 */
	struct {
		struct pci_dev *dev;
		uint8_t initial[PCI_CFG_SIZE];	/* what a reset brings back; BARs do not overlap in these */
	} fn[256];

	/* Owned by irq_lock, which also covers changes of any cfg, every msix and msix_pending */
	pthread_mutex_t irq_lock;
	uint8_t used[256];		/* devfn of functions present */
	unsigned int nr_used;
	uint32_t lines;			/* levels of GSI 0 to 31 as driven from here */
	uint32_t shared;		/* what other devices want of them */

	struct pci_dev bridge, isa;
};

/* Which of PIRQA..D (0..3) a pin (0..3) of a slot is wired to. */
unsigned int pci_pirq(unsigned int slot, unsigned int pin);
struct pci_dev *pci_find(struct pci_host *host, uint8_t devfn);

/* With irq_lock: what sources are connected with follows what was changed. */
void pci_msix_connect(struct pci_dev *dev);
/* After a write to configuration space, irq_lock held: vectors that are no longer masked. */
void pci_msix_written(struct pci_dev *dev, unsigned int off, unsigned int len);
void pci_msix_exit(struct pci_dev *dev);

#endif /* TENON_PCI_HOST_H */
