/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * machine.h - the PC: its list of devices, its memory map, and what is put into memory before the guest runs
 */
#ifndef TENON_MACHINE_H
#define TENON_MACHINE_H

#include "../vm.h"

/* Every device in order of creation; NULL-terminated. exit() goes through it backwards. */
extern const struct device_ops *const machine_devices[];

/**
 * machine_load() - put kernel, initrd, command line and firmware tables into RAM
 * @vm:		its RAM exists and is empty, or holds what a previous run left there
 * @regs:	start state of the boot vCPU
 * @sregs:	likewise
 *
 * Called at start and at every guest reset, with the device lock held or before other threads exist.
 *
 * Return: 0, or -errno with a message printed.
 */
int machine_load(struct vm *vm, struct kvm_regs *regs, struct kvm_sregs *sregs);

/* Where the machine starts by firmware: its image, read-only at the end of the first 4 GiB. 0, or -errno with a message. */
int firmware_map(struct vm *vm);
void firmware_unmap(struct vm *vm);

/* The power button is pressed: an event of ACPI fixed hardware. Device lock held. */
void machine_power_button(struct vm *vm);

#endif /* TENON_MACHINE_H */
