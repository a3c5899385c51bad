/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * tenon.h - what /dev/tenon has beside the KVM ABI
 *
 * The node speaks the ioctls, structs and errno values of <linux/kvm.h>; a client of KVM runs on it by opening this
 * path instead of /dev/kvm. Here stands only what is Tenon's own.
 */
#ifndef _UAPI_LINUX_TENON_H
#define _UAPI_LINUX_TENON_H

/* The device node. */
#define TENON_DEV_PATH	"/dev/tenon"

#endif /* _UAPI_LINUX_TENON_H */
