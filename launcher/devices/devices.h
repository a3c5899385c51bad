/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * devices.h - the devices of a PC that sit at fixed ports
 */
#ifndef TENON_DEVICES_H
#define TENON_DEVICES_H

#include "../vm.h"

extern const struct device_ops serial_device;		/* 16550A at 0x3f8, IRQ 4, on stdin and stdout */
extern const struct device_ops rtc_device;		/* MC146818 and CMOS at 0x70, IRQ 8 */
extern const struct device_ops hpet_device;		/* emul/irqchip/hpet.h at 0xfed00000 */
extern const struct device_ops i8042_device;		/* keyboard controller at 0x60/0x64, port 0x92 */
extern const struct device_ops debug_exit_device;	/* config.debug_exit_port; nothing if that is -1 */
extern const struct device_ops run_port_device;		/* 0x5f0; nothing unless config.run_port */
extern const struct device_ops i6300esb_device;		/* a PCI function; nothing without config.watchdog */
extern const struct device_ops pvpanic_device;		/* 0x505 */

/* The clock's interrupt reaches IRQ 8 (the state after a reset), or somebody else drives that. Device lock held. */
void rtc_connect_irq(struct vm *vm, bool on);

#define SERIAL_COM1_BASE	0x3f8
#define SERIAL_COM1_IRQ		4
#define RTC_BASE		0x70
#define RTC_IRQ			8
#define PVPANIC_BASE		0x505

#endif /* TENON_DEVICES_H */
