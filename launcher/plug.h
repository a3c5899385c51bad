/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * plug.h - disks and network cards that are added to a machine while its guest runs, and taken away again
 *
 * A machine that runs can't open files any more: what a device stands on (an image, an interface) comes as a descriptor
 * by the control socket, opened by its client, and is known by a name from then on. A device is made of it, and known by
 * an id. Functions return NULL, or in a sentence why not. Main thread, with the device lock held.
 */
#ifndef TENON_PLUG_H
#define TENON_PLUG_H

#include "vm.h"

/*
 * Takes the descriptor in any case; copies the strings that @disk and @net have. @backing: the name of what the disk's
 * backing file was added as, or NULL if it has none.
 */
const char *plug_add_disk(struct vm *vm, const char *name, const struct vm_disk *disk, const char *backing);
/* Gives one that is no tap interface its index, and an address if it has none. */
const char *plug_add_net(struct vm *vm, const char *name, struct vm_net *net);
const char *plug_del_disk(struct vm *vm, const char *name);
const char *plug_del_net(struct vm *vm, const char *name);

/* @serial and @mac may be NULL. */
const char *plug_add_device(struct vm *vm, const char *driver, const char *id, const char *name, const char *serial,
			    const uint8_t *mac);
/* The guest is asked; the event DEVICE_DELETED says that it is gone. */
const char *plug_del_device(struct vm *vm, const char *id);

/* Call @fn for each device. */
void plug_list(struct vm *vm, void (*fn)(void *opaque, const char *id, const struct vm_disk *disk, const struct vm_net *net),
	       void *opaque);

extern const struct device_ops plug_device;

#endif /* TENON_PLUG_H */
