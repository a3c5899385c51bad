// SPDX-License-Identifier: GPL-2.0-only
/*
 * pci-msix.c - MSI-X: vector table, pending bits, masking
 *
 * PCI Local Bus Specification 3.0, "MSI-X Capability and Table Structures". All state is owned by
 * host->irq_lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <linux/pci_regs.h>

#include "pci-host.h"

#define MSIX_MAX	2048u
#define MSI_ADDR_PREFIX 0xfeeu /* bits 31:20 of an interrupt message's address; bits above are clear */

_Static_assert(sizeof(struct pci_msix_entry) == 16, "the table is read and written as the guest sees it");
_Static_assert(offsetof(struct pci_msix_entry, ctrl) == 12, "vector control is the last word");

struct pci_msix_source {
	int fd;
	bool on;			/* the back end has it, for this message */
	unsigned int vector;
	uint64_t addr;
	uint32_t data;
};

static uint32_t pba_offset(const struct pci_dev *dev)
{
	return (dev->msix_nr * 16 + 2047) & ~2047u;
}

static uint16_t msix_ctrl(const struct pci_dev *dev)
{
	return pci_get16(dev->cfg + dev->msix_cap + PCI_MSIX_FLAGS);
}

static bool deliverable(const struct pci_dev *dev, unsigned int n)
{
	return (msix_ctrl(dev) & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)) == PCI_MSIX_FLAGS_ENABLE &&
	       !(dev->msix[n].ctrl & PCI_MSIX_ENTRY_CTRL_MASKBIT) &&
	       (pci_get16(dev->cfg + PCI_COMMAND) & PCI_COMMAND_MASTER);
}

static void send(struct pci_dev *dev, unsigned int n)
{
	const struct pci_msix_entry *entry = &dev->msix[n];
	struct vm *vm = dev->host->vm;

	/*
	 * A message to anywhere else would be a write to memory; nothing but a confused guest asks for one.
	 */
	if (entry->addr >> 20 == MSI_ADDR_PREFIX)
		vm->config.accel->msi(vm, entry->addr, entry->data);
}

static void send_pending(struct pci_dev *dev, unsigned int n)
{
	uint64_t bit = 1ull << (n & 63);

	if (!(dev->msix_pending[n / 64] & bit) || !deliverable(dev, n))
		return;
	dev->msix_pending[n / 64] &= ~bit;
	send(dev, n);
}

void pci_msix_notify(struct pci_dev *dev, unsigned int n)
{
	if (n >= dev->msix_nr)
		return;
	pthread_mutex_lock(&dev->host->irq_lock);
	if (deliverable(dev, n))
		send(dev, n);
	else if (msix_ctrl(dev) & PCI_MSIX_FLAGS_ENABLE)
		dev->msix_pending[n / 64] |= 1ull << (n & 63);
	pthread_mutex_unlock(&dev->host->irq_lock);
}

bool pci_msix_enabled(const struct pci_dev *dev)
{
	bool on;

	if (!dev->msix_cap)
		return false;
	pthread_mutex_lock(&dev->host->irq_lock);
	on = msix_ctrl(dev) & PCI_MSIX_FLAGS_ENABLE;
	pthread_mutex_unlock(&dev->host->irq_lock);
	return on;
}

/* Connect a source with its message, or with nothing while that can't be delivered. */
static void connect(struct pci_dev *dev, struct pci_msix_source *s)
{
	struct vm *vm = dev->host->vm;
	const struct pci_msix_entry *entry = s->vector < dev->msix_nr ? &dev->msix[s->vector] : NULL;
	const bool on = entry && deliverable(dev, s->vector) && entry->addr >> 20 == MSI_ADDR_PREFIX;

	if (s->on && (!on || s->addr != entry->addr || s->data != entry->data))
		s->on = vm->config.accel->irqfd(vm, s->fd, s->addr, s->data, false);
	if (!on || s->on)
		return;
	s->addr = entry->addr;
	s->data = entry->data;
	s->on = vm->config.accel->irqfd(vm, s->fd, s->addr, s->data, true);
}

void pci_msix_connect(struct pci_dev *dev)
{
	for (unsigned int i = 0; i < dev->msix_sources; i++)
		connect(dev, &dev->msix_source[i]);
}

void pci_msix_set_source(struct pci_dev *dev, unsigned int source, unsigned int vector)
{
	if (source >= dev->msix_sources)
		return;
	pthread_mutex_lock(&dev->host->irq_lock);
	dev->msix_source[source].vector = vector;
	connect(dev, &dev->msix_source[source]);
	pthread_mutex_unlock(&dev->host->irq_lock);
}

bool pci_msix_signal(struct pci_dev *dev, unsigned int source)
{
	const uint64_t one = 1;
	bool on;

	if (source >= dev->msix_sources)
		return false;
	pthread_mutex_lock(&dev->host->irq_lock);
	on = dev->msix_source[source].on;
	if (on)
		(void)!write(dev->msix_source[source].fd, &one, sizeof(one));
	pthread_mutex_unlock(&dev->host->irq_lock);
	return on;
}

int pci_msix_source_fd(const struct pci_dev *dev, unsigned int source)
{
	return source < dev->msix_sources ? dev->msix_source[source].fd : -1;
}

void pci_msix_written(struct pci_dev *dev, unsigned int off, unsigned int len)
{
	unsigned int i;

	if (!dev->msix_cap ||
	    ((off + len <= dev->msix_cap || off >= dev->msix_cap + 4u) && off != PCI_COMMAND))
		return;
	pci_msix_connect(dev);
	for (i = 0; i < dev->msix_nr; i++)
		send_pending(dev, i);
}

static uint64_t msix_read(void *opaque, uint64_t off, unsigned int len)
{
	struct pci_dev *dev = opaque;
	uint32_t pba = pba_offset(dev);
	uint64_t val = 0;

	pthread_mutex_lock(&dev->host->irq_lock);
	if (off + len <= dev->msix_nr * 16ull)
		memcpy(&val, (const char *)dev->msix + off, len);
	else if (off >= pba && off - pba + len <= (dev->msix_nr + 63) / 64 * 8)
		memcpy(&val, (const char *)dev->msix_pending + (off - pba), len);
	pthread_mutex_unlock(&dev->host->irq_lock);
	return val;
}

static void msix_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct pci_dev *dev = opaque;

	if (off + len > dev->msix_nr * 16ull)
		return;			/* pending bits are read-only */
	pthread_mutex_lock(&dev->host->irq_lock);
	memcpy((char *)dev->msix + off, &val, len);
	dev->msix[off / 16].ctrl &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
	pci_msix_connect(dev);
	send_pending(dev, off / 16);
	pthread_mutex_unlock(&dev->host->irq_lock);
}

static const struct region_ops msix_ops = { .read = msix_read, .write = msix_write };

int pci_msix_init(struct pci_dev *dev, unsigned int nr, unsigned int bar)
{
	uint64_t size = 4096;
	uint8_t body[10];
	unsigned int i;
	int cap;

	if (!nr || nr > MSIX_MAX || bar >= PCI_NUM_BARS || dev->bar[bar].size)
		return -EINVAL;
	dev->msix = calloc(nr, sizeof(*dev->msix));
	dev->msix_pending = calloc((nr + 63) / 64, sizeof(*dev->msix_pending));
	if (!dev->msix || !dev->msix_pending) {
		pci_msix_exit(dev);
		return -ENOMEM;
	}
	dev->msix_nr = nr;
	for (i = 0; i < nr; i++)
		dev->msix[i].ctrl = PCI_MSIX_ENTRY_CTRL_MASKBIT;

	pci_put16(body, nr - 1);
	pci_put32(body + 2, bar);
	pci_put32(body + 6, pba_offset(dev) | bar);
	cap = pci_add_cap(dev, PCI_CAP_ID_MSIX, body, sizeof(body));
	if (cap < 0) {
		pci_msix_exit(dev);
		return cap;
	}
	dev->msix_cap = cap;
	dev->wmask[cap + PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;

	while (size < pba_offset(dev) + (nr + 63) / 64 * 8)
		size *= 2;
	dev->bar[bar] = (struct pci_bar){ .size = size, .ops = &msix_ops, .opaque = dev };
	return 0;
}

int pci_msix_add_sources(struct pci_dev *dev, const struct vm *vm, unsigned int nr)
{
	if (!vm->config.accel->irqfd)
		return 0;
	dev->msix_source = calloc(nr, sizeof(*dev->msix_source));
	if (!dev->msix_source)
		return -ENOMEM;
	while (dev->msix_sources < nr) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0)
			return -errno;
		dev->msix_source[dev->msix_sources++] = (struct pci_msix_source){ .fd = fd, .vector = UINT32_MAX };
	}
	return 0;
}

void pci_msix_exit(struct pci_dev *dev)
{
	while (dev->msix_sources)
		close(dev->msix_source[--dev->msix_sources].fd);
	free(dev->msix_source);
	dev->msix_source = NULL;
	free(dev->msix);
	free(dev->msix_pending);
	dev->msix = NULL;
	dev->msix_pending = NULL;
	dev->msix_nr = 0;
	dev->msix_cap = 0;
}
