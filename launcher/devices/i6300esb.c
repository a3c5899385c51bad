// SPDX-License-Identifier: GPL-2.0-only
/*
 * i6300esb.c - a watchdog: the machine is reset or ended when its system does not answer for it in time
 *
 * Source: Intel 6300ESB I/O Controller Hub Datasheet, "Watch Dog Timer (WDT)". A PCI function with 16 bytes of
 * registers. The timer counts down twice, from preload value 1 and then 2: after the first the real device interrupts
 * (not wired here), after the second it resets. Registers that matter are written after two bytes that unlock them, one
 * write at a time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "../ctl.h"
#include "../machine/pci.h"
#include "../msg.h"
#include "devices.h"

enum { PRELOAD1 = 0x00, PRELOAD2 = 0x04, INT_STATUS = 0x08, RELOAD = 0x0c, BAR_SIZE = 0x10 };

#define PRELOAD_MASK	0xfffffu
#define UNLOCK1		0x80u		/* to RELOAD, then the other, then what is meant */
#define UNLOCK2		0x86u
#define RELOAD_NOW	0x100u
#define RELOAD_TIMEOUT	0x200u		/* it has expired; write 1 to clear */

/* Configuration space */
#define CONFIG		0x60u
#define CONFIG_FAST	0x04u		/* counts 1 MHz, else 1 kHz (of 33 MHz) */
#define CONFIG_NO_RESET	0x20u		/* its output is not connected */
#define CONFIG_BITS	0x27u
#define LOCK		0x68u
#define LOCK_LOCKED	0x01u		/* nothing but a reset of the machine stops it any more */
#define LOCK_ENABLE	0x02u
#define LOCK_FREE	0x04u		/* a timer that runs on its own: nothing happens when it is through */
#define LOCK_BITS	0x07u

#define PCI_CLOCK	33000000ull
#define NS_PER_SEC	1000000000ull

struct esb {
	struct vm *vm;
	struct pci_dev pci;
	struct timer timer;
	uint32_t preload[2];
	unsigned int stage;		/* 0 or 1: which of them runs */
	unsigned int unlocked;		/* how many of the two bytes have come */
	bool expired;			/* and a reset does not forget it */
	uint8_t lock;			/* LOCK as it last was */
};

static void start_stage(struct esb *esb, unsigned int stage)
{
	unsigned int shift = pci_get16(esb->pci.cfg + CONFIG) & CONFIG_FAST ? 5 : 15;
	/* A count of zero is the shortest one. */
	uint64_t clocks = ((uint64_t)esb->preload[stage] + 1) << shift;

	esb->stage = stage;
	timer_set(&esb->vm->loop, &esb->timer, guest_ns(&esb->vm->loop) + clocks * NS_PER_SEC / PCI_CLOCK);
}

static void act(struct esb *esb)
{
	static const char *const event[] = {
		[VM_WATCHDOG_RESET] = "{\"action\":\"reset\"}",
		[VM_WATCHDOG_POWEROFF] = "{\"action\":\"poweroff\"}",
		[VM_WATCHDOG_NONE] = "{\"action\":\"none\"}",
	};
	struct vm *vm = esb->vm;

	ctl_event(vm, "WATCHDOG", event[vm->config.watchdog]);
	switch (vm->config.watchdog) {
	case VM_WATCHDOG_RESET:
		msg_info("the watchdog has expired: the guest is reset");
		vm_reset_request(vm);
		break;
	case VM_WATCHDOG_POWEROFF:
		vm_end(vm, VM_END_ERROR, "the watchdog has expired: the guest's system did not answer in time");
		break;
	default:
		msg_info("the watchdog has expired");
	}
}

static void expire(void *opaque)
{
	struct esb *esb = opaque;

	if (esb->lock & LOCK_FREE || esb->stage == 0) {
		start_stage(esb, 1 - esb->stage);
		return;
	}
	esb->expired = true;
	if (!(pci_get16(esb->pci.cfg + CONFIG) & CONFIG_NO_RESET))
		act(esb);
}

/* Registers */

static uint64_t esb_read(void *opaque, uint64_t off, unsigned int len)
{
	const struct esb *esb = opaque;
	uint32_t reg = 0;

	(void)len;
	if ((off & ~3ull) == RELOAD)
		reg = esb->expired ? RELOAD_TIMEOUT : 0;
	return reg >> 8 * (off & 3);
}

static void esb_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct esb *esb = opaque;
	bool open = esb->unlocked == 2;

	(void)len;
	if (off == RELOAD && !open && val == UNLOCK1) {
		esb->unlocked = 1;
		return;
	}
	if (off == RELOAD && esb->unlocked == 1 && val == UNLOCK2) {
		esb->unlocked = 2;
		return;
	}
	esb->unlocked = 0;
	if (!open)
		return;
	switch (off) {
	case PRELOAD1:
	case PRELOAD2:
		esb->preload[off / 4] = (uint32_t)val & PRELOAD_MASK;
		break;
	case RELOAD:
		if (val & RELOAD_TIMEOUT)
			esb->expired = false;
		if (val & RELOAD_NOW && esb->lock & LOCK_ENABLE)
			start_stage(esb, 0);
		break;
	}
}

static const struct region_ops esb_ops = { .read = esb_read, .write = esb_write };

static void esb_cfg_written(struct pci_dev *pci, unsigned int off, unsigned int len)
{
	struct esb *esb = (struct esb *)((char *)pci - offsetof(struct esb, pci));
	uint8_t now;

	if (off > LOCK || off + len <= LOCK)
		return;
	/* Locked, it stays as it is. */
	if (esb->lock & LOCK_LOCKED)
		pci->cfg[LOCK] = esb->lock;
	now = pci->cfg[LOCK];
	if (now & ~esb->lock & LOCK_ENABLE)
		start_stage(esb, 0);
	else if (!(now & LOCK_ENABLE))
		timer_set(&esb->vm->loop, &esb->timer, TIMER_OFF);
	esb->lock = now;
}

static void esb_reset(struct vm *vm, void *state)
{
	struct esb *esb = state;

	if (!esb)
		return;
	timer_set(&vm->loop, &esb->timer, TIMER_OFF);
	esb->preload[0] = esb->preload[1] = PRELOAD_MASK;
	esb->stage = esb->unlocked = 0;
	esb->lock = 0;
}

static int esb_init(struct vm *vm, void **state)
{
	struct esb *esb;
	int err;

	if (vm->config.watchdog == VM_WATCHDOG_ABSENT)
		return 0;
	esb = calloc(1, sizeof(*esb));
	if (!esb)
		return -ENOMEM;
	esb->vm = vm;
	timer_init_guest(&esb->timer, expire, esb);
	esb_reset(vm, esb);
	esb->pci.name = "i6300esb";
	pci_put16(esb->pci.cfg + PCI_VENDOR_ID, 0x8086);
	pci_put16(esb->pci.cfg + PCI_DEVICE_ID, 0x25ab);
	pci_put16(esb->pci.cfg + PCI_CLASS_DEVICE, 0x0880);	/* another system peripheral */
	esb->pci.wmask[CONFIG] = CONFIG_BITS;
	esb->pci.wmask[LOCK] = LOCK_BITS;
	esb->pci.bar[0] = (struct pci_bar){ .size = BAR_SIZE, .ops = &esb_ops, .opaque = esb };
	esb->pci.cfg_written = esb_cfg_written;
	err = pci_add(vm->pci, &esb->pci, -1);
	if (err) {
		msg_error("create the watchdog: %s", strerror(-err));
		free(esb);
		return err;
	}
	*state = esb;
	return 0;
}

static void esb_exit(struct vm *vm, void *state)
{
	struct esb *esb = state;

	if (!esb)
		return;
	timer_set(&vm->loop, &esb->timer, TIMER_OFF);
	pci_dev_exit(&esb->pci);
	free(esb);
}

const struct device_ops i6300esb_device = {
	.name = "i6300esb",
	.init = esb_init,
	.reset = esb_reset,
	.exit = esb_exit,
};
