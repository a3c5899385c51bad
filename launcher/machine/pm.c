// SPDX-License-Identifier: GPL-2.0-only
/*
 * pm.c - ACPI fixed hardware: power button, soft off, PM timer; and the general purpose events
 *
 * The register block of the PIIX4's power management function (8086:7113), at a fixed base. ACPI mode is
 * always on and there is no SMI, so SCI_EN reads as 1 and the FADT names no SMI command port. See ACPI
 * Specification, "ACPI Hardware Specification", "Fixed Hardware Feature Control Bits".
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "../msg.h"
#include "machine.h"
#include "pc.h"
#include "pci-host.h"

#define PM_DEVFN		(1 << 3 | 3)	/* 00:01.3, as on every PIIX4 */

enum { PM1_STS = 0, PM1_EN = 2, PM1_CNT = 4, PM_TMR = 8 };

#define PM1_TMR			0x0001u		/* timer's most significant bit toggled */
#define PM1_GBL			0x0020u
#define PM1_PWRBTN		0x0100u
#define PM1_SLPBTN		0x0200u
#define PM1_RTC			0x0400u
#define PM1_WAK			0x8000u
#define PM1_STS_BITS		(PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC | PM1_WAK)
#define PM1_EN_BITS		(PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)
#define PM1_CNT_SCI_EN		0x0001u
#define PM1_CNT_SLP_TYP(v)	((v) >> 10 & 7)
#define PM1_CNT_SLP_EN		0x2000u
#define PM1_CNT_BITS		0x1c02u		/* SLP_TYP and BM_RLD are remembered */

#define PM_TIMER_HZ		3579545ull

struct pm {
	struct vm *vm;
	struct pci_dev pci;
	struct timer overflow;
	uint64_t ticks_seen;		/* timer value up to which TMR_STS is right */
	uint16_t sts, en, cnt;
	uint16_t gpe_sts, gpe_en;
	bool sci;
};

static uint64_t timer_ticks(const struct pm *pm)
{
	return (unsigned __int128)guest_ns(&pm->vm->loop) * PM_TIMER_HZ / 1000000000u;
}

/* Set TMR_STS if bit 31 has toggled since the last look. */
static void look_at_timer(struct pm *pm)
{
	uint64_t now = timer_ticks(pm);

	if ((now ^ pm->ticks_seen) >> 31)
		pm->sts |= PM1_TMR;
	pm->ticks_seen = now;
}

static void update_sci(struct pm *pm)
{
	bool level = (pm->sts & pm->en & PM1_EN_BITS) || (pm->gpe_sts & pm->gpe_en);
	uint64_t deadline = TIMER_OFF;

	if (level != pm->sci) {
		pm->sci = level;
		vm_irq(pm->vm, PC_SCI_IRQ, level);
	}
	if ((pm->en & PM1_TMR) && !(pm->sts & PM1_TMR)) {
		uint64_t next = ((pm->ticks_seen >> 31) + 1) << 31;

		deadline = (unsigned __int128)next * 1000000000u / PM_TIMER_HZ + 1;
	}
	timer_set(&pm->vm->loop, &pm->overflow, deadline);
}

static void overflow_fn(void *opaque)
{
	struct pm *pm = opaque;

	look_at_timer(pm);
	update_sci(pm);
}

static void write_cnt(struct pm *pm, uint16_t val)
{
	pm->cnt = val & PM1_CNT_BITS;
	if (!(val & PM1_CNT_SLP_EN))
		return;
	if (PM1_CNT_SLP_TYP(val) == PC_SLP_TYP_S5)
		vm_end(pm->vm, VM_END_POWEROFF, NULL);
	else
		pm->sts |= PM1_WAK; /* a state that \_Sx does not offer: wake up at once rather than hang */
}

static uint16_t pm_read16(struct pm *pm, unsigned int reg)
{
	switch (reg) {
	case PM1_STS:
		look_at_timer(pm);
		return pm->sts;
	case PM1_EN:
		return pm->en;
	case PM1_CNT:
		return pm->cnt | PM1_CNT_SCI_EN;
	default:
		return 0;
	}
}

static uint64_t pm_read(void *opaque, uint64_t off, unsigned int len)
{
	struct pm *pm = opaque;
	uint64_t val = 0;
	unsigned int i;

	if (off >= PM_TMR)
		return off + len <= PM_TMR + 4 ? (timer_ticks(pm) & 0xffffffffu) >> 8 * (off - PM_TMR) : 0;
	for (i = 0; i < len; i++)
		val |= (uint64_t)(pm_read16(pm, (off + i) & ~1u) >> 8 * ((off + i) & 1) & 0xff) << 8 * i;
	return val;
}

static void pm_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct pm *pm = opaque;
	unsigned int i;

	look_at_timer(pm);
	for (i = 0; i < len; i += 2) {
		unsigned int reg = (off + i) & ~1u, shift = 8 * ((off + i) & 1);
		uint16_t mask = len - i > 1 ? 0xffff : 0xff << shift, bits = val >> 8 * i << shift & mask;

		if (reg == PM1_STS)
			pm->sts &= ~(bits & PM1_STS_BITS);
		else if (reg == PM1_EN)
			pm->en = (pm->en & ~mask) | (bits & PM1_EN_BITS);
		else if (reg == PM1_CNT)
			write_cnt(pm, (pm->cnt & ~mask) | bits);
	}
	update_sci(pm);
}

static const struct region_ops pm_ops = { .read = pm_read, .write = pm_write };

/* General purpose events: a byte can be accessed by itself, as in all register blocks of ACPI. */

static uint64_t gpe_read(void *opaque, uint64_t off, unsigned int len)
{
	const struct pm *pm = opaque;
	uint32_t all = pm->gpe_sts | (uint32_t)pm->gpe_en << 16;

	(void)len;
	return all >> 8 * off;
}

static void gpe_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct pm *pm = opaque;
	uint32_t mask = (len < 4 ? (1u << 8 * len) - 1 : ~0u) << 8 * off, bits = (uint32_t)val << 8 * off & mask;

	pm->gpe_sts &= ~bits;
	pm->gpe_en = (pm->gpe_en & ~(mask >> 16)) | (bits >> 16 & 1u << PC_GPE_HOTPLUG);
	update_sci(pm);
}

static const struct region_ops gpe_ops = { .read = gpe_read, .write = gpe_write };

static struct pm *pm_of(struct vm *vm)
{
	struct pci_dev *dev = vm->pci ? pci_find(vm->pci, PM_DEVFN) : NULL;

	return dev ? (struct pm *)((char *)dev - offsetof(struct pm, pci)) : NULL;
}

void pm_gpe(struct vm *vm, unsigned int n)
{
	struct pm *pm = pm_of(vm);

	if (!pm)
		return;
	pm->gpe_sts |= 1u << n;
	update_sci(pm);
}

void machine_power_button(struct vm *vm)
{
	struct pm *pm = pm_of(vm);

	if (!pm)
		return;
	look_at_timer(pm);
	pm->sts |= PM1_PWRBTN;
	update_sci(pm);
}

static int pm_init(struct vm *vm, void **state)
{
	struct pm *pm = calloc(1, sizeof(*pm));
	int err;

	if (!pm)
		return -ENOMEM;
	pm->vm = vm;
	pm->ticks_seen = timer_ticks(pm);
	timer_init_guest(&pm->overflow, overflow_fn, pm);

	pm->pci.name = "piix4-pm";
	pci_put16(pm->pci.cfg + PCI_VENDOR_ID, 0x8086);
	pci_put16(pm->pci.cfg + PCI_DEVICE_ID, 0x7113);
	pci_put16(pm->pci.cfg + PCI_CLASS_DEVICE, 0x0680);
	pm->pci.cfg[PCI_REVISION_ID] = 3;
	pm->pci.cfg[PCI_INTERRUPT_LINE] = PC_SCI_IRQ;	/* the SCI, not a pin of PCI */
	pci_put32(pm->pci.cfg + 0x40, PC_PM_BASE | 1);	/* PMBA */
	pm->pci.cfg[0x5b] = 2;				/* DEVACTB: APMC_EN, so that firmware sets up no SMM */
	pm->pci.cfg[0x80] = 1;				/* PMREGMISC: the block is decoded */
	pci_put32(pm->pci.cfg + 0x90, 1);		/* SMBBA: no SMBus host */

	err = bus_add(&vm->pio, PC_PM_BASE, PC_PM_SIZE, &pm_ops, pm, "acpi-pm");
	if (err)
		goto err_free;
	err = bus_add(&vm->pio, PC_GPE_BASE, PC_GPE_SIZE, &gpe_ops, pm, "acpi-gpe");
	if (err)
		goto err_pm;
	err = pci_add_devfn(vm->pci, &pm->pci, PM_DEVFN);
	if (err)
		goto err_gpe;
	*state = pm;
	return 0;

err_gpe:
	bus_remove(&vm->pio, PC_GPE_BASE, PC_GPE_SIZE);
err_pm:
	bus_remove(&vm->pio, PC_PM_BASE, PC_PM_SIZE);
err_free:
	msg_error("create the ACPI power management function: %s", strerror(-err));
	free(pm);
	return err;
}

static void pm_reset(struct vm *vm, void *state)
{
	struct pm *pm = state;

	(void)vm;
	pm->ticks_seen = timer_ticks(pm);
	pm->sts = 0;
	pm->en = 0;
	pm->cnt = 0;
	pm->gpe_sts = 0;
	pm->gpe_en = 0;
	update_sci(pm);
}

static void pm_exit(struct vm *vm, void *state)
{
	struct pm *pm = state;

	if (!pm)
		return;
	timer_set(&vm->loop, &pm->overflow, TIMER_OFF);
	pci_dev_exit(&pm->pci);
	bus_remove(&vm->pio, PC_GPE_BASE, PC_GPE_SIZE);
	bus_remove(&vm->pio, PC_PM_BASE, PC_PM_SIZE);
	free(pm);
}

const struct device_ops pm_device = {
	.name = "acpi-pm",
	.init = pm_init,
	.reset = pm_reset,
	.exit = pm_exit,
};
