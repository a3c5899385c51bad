// SPDX-License-Identifier: GPL-2.0-only
/*
 * plug.c - see plug.h
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "msg.h"
#include "net/net.h"
#include "plug.h"
#include "virtio/vhost-net.h"

#define NODES_MAX	32u
#define DEVICES_MAX	30u	/* slots of the bus */

/* What a device stands on. */
struct node {
	char name[CTL_NAME_MAX + 1];	/* "": free */
	bool is_net;
	unsigned int users;		/* a device, or those whose backing file it is */
	struct node *backing;
	struct vm_disk disk;
	struct vm_net net;
};

struct device {
	struct slot slot;
	struct vm *vm;
	char id[CTL_NAME_MAX + 1];	/* "": free */
	char serial[CTL_NAME_MAX + 1];
	struct node *node;
	struct vm_disk disk;
	struct vm_net net;
	struct virtio_dev *dev;
};

struct plug {
	struct node node[NODES_MAX];
	struct device device[DEVICES_MAX];
};

/* Nodes */

static struct node *find_node(struct vm *vm, const char *name, bool is_net)
{
	for (unsigned int i = 0; i < NODES_MAX; i++) {
		struct node *n = &vm->plug->node[i];

		if (n->name[0] && !strcmp(n->name, name) && n->is_net == is_net)
			return n;
	}
	return NULL;
}

static void free_node(struct node *n)
{
	close(n->is_net ? n->net.fd : n->disk.fd);
	if (n->net.vhost_fd)
		close(n->net.vhost_fd);
	if (n->backing)
		n->backing->users--;
	free((char *)n->disk.path);
	free((char *)n->net.ifname);
	*n = (struct node){ 0 };
}

static const char *add_node(struct vm *vm, const char *name, const struct node *what)
{
	struct node *n = NULL;

	if (!ctl_name_ok(name))
		return "A name has letters, digits, '.', '_' and '-', 40 at most";
	if (find_node(vm, name, what->is_net))
		return "There is one of that name";
	for (unsigned int i = 0; i < NODES_MAX && !n; i++)
		if (!vm->plug->node[i].name[0])
			n = &vm->plug->node[i];
	if (!n)
		return "There are too many";
	*n = *what;
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->disk.path = what->is_net ? NULL : strdup(what->disk.path);
	n->net.ifname = what->is_net ? strdup(what->net.ifname) : NULL;
	if (n->disk.path || n->net.ifname) {
		if (n->backing)
			n->backing->users++;
		return NULL;
	}
	*n = (struct node){ 0 };
	return "Out of memory";
}

/* How many files are below one. */
static unsigned int depth_of(const struct node *n)
{
	unsigned int depth = 0;

	while ((n = n->backing))
		depth++;
	return depth;
}

const char *plug_add_disk(struct vm *vm, const char *name, const struct vm_disk *disk, const char *backing)
{
	struct node node = { .disk = *disk, .backing = backing ? find_node(vm, backing, false) : NULL };
	const int mode = fcntl(disk->fd, F_GETFL);
	const char *why = NULL;

	if (mode < 0 || (mode & O_ACCMODE) != (disk->readonly ? O_RDONLY : O_RDWR))
		why = "The file is not opened as read-only says";
	else if (mode & (O_APPEND | O_PATH))
		why = "The file is opened with O_APPEND or O_PATH: a disk is read and written anywhere";
	else if (file_lock(disk->fd, disk->path, disk->readonly))
		why = "Another process has the file in use";
	else if (backing && (!node.backing || !node.backing->disk.readonly))
		why = "There is nothing of that name, added as read-only, for a backing file";
	else if (node.backing && (disk->format != &block_qcow2 || depth_of(&node) >= BLOCK_CHAIN_MAX))
		why = "Only a qcow2 image has a backing file, and a chain of them has an end";
	if (!why)
		why = add_node(vm, name, &node);
	if (why)
		close(disk->fd);
	return why;
}

static bool has_index(struct vm *vm, unsigned int index)
{
	for (unsigned int i = 0; i < NODES_MAX; i++)
		if (vm->plug->node[i].name[0] && vm->plug->node[i].net.index == index)
			return true;
	return false;
}

const char *plug_add_net(struct vm *vm, const char *name, struct vm_net *net)
{
	const bool is_tap = net->ops == &net_tap;
	struct node node = { .is_net = true };
	const char *why = is_tap ? tap_check(net->fd) : dgram_check(net->fd);

	if (!is_tap) {
		/* The cards that the machine was started with have those up to this. */
		net->index = VM_MAX_NETS;
		while (has_index(vm, net->index))
			net->index++;
		if (!memcmp(net->mac, "\0\0\0\0\0", sizeof(net->mac)))
			user_mac(net->index, net->mac);
	}
	node.net = *net;
	if (!why && net->vhost_fd)
		why = vhost_net_check(net->vhost_fd);
	if (!why && net->vhost == VM_VHOST_ON && (!net->vhost_fd || !vm->config.accel->irqfd || !vm->config.accel->doorbell))
		why = "vhost takes a vhostfd, and a guest that runs in the kernel";
	if (!why)
		why = add_node(vm, name, &node);
	if (why) {
		close(net->fd);
		if (net->vhost_fd)
			close(net->vhost_fd);
	}
	return why;
}

static const char *del_node(struct vm *vm, const char *name, bool is_net)
{
	struct node *n = find_node(vm, name, is_net);

	if (!n)
		return "There is none of that name";
	if (n->users)
		return "A device has it in use, or an image whose backing file it is";
	free_node(n);
	return NULL;
}

const char *plug_del_disk(struct vm *vm, const char *name)
{
	return del_node(vm, name, false);
}

const char *plug_del_net(struct vm *vm, const char *name)
{
	return del_node(vm, name, true);
}

/* Devices */

static struct device *find_device(struct vm *vm, const char *id)
{
	for (unsigned int i = 0; i < DEVICES_MAX; i++)
		if (vm->plug->device[i].id[0] && !strcmp(vm->plug->device[i].id, id))
			return &vm->plug->device[i];
	return NULL;
}

/* 0, or -errno if the disk's file has not got all of what was written. */
static int take_down(struct device *d)
{
	int err = 0;

	if (d->node->is_net)
		vnet_unplug(d->dev);
	else
		err = vblk_unplug(d->dev);
	d->node->users--;
	*d = (struct device){ 0 };
	return err;
}

static void gone(struct slot *slot)
{
	struct device *d = (struct device *)((char *)slot - offsetof(struct device, slot));
	struct vm *vm = d->vm;
	char id[CTL_NAME_MAX + 1], data[192];
	int err;

	memcpy(id, d->id, sizeof(id));
	err = take_down(d);
	snprintf(data, sizeof(data), "{\"device\":\"%s\",\"path\":\"/machine/peripheral/%s\"%s}", id, id,
		 err ? ",\"x-lost\":true" : "");
	ctl_event(vm, "DEVICE_DELETED", data);
}

/* On a descriptor of its own: what it stands on can make another one later. */
static int plug_in(struct device *d)
{
	struct block_given given[BLOCK_CHAIN_MAX];
	const struct node *n = d->node;
	int err, fd = fcntl(n->is_net ? n->net.fd : n->disk.fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return -errno;
	if (n->is_net) {
		d->net.fd = fd;
		d->net.vhost_fd = n->net.vhost_fd ? fcntl(n->net.vhost_fd, F_DUPFD_CLOEXEC, 3) : 0;
		if (d->net.vhost_fd < 0) {
			close(fd);
			return -errno;
		}
		return vnet_plug(d->vm, &d->net, &d->slot, &d->dev);
	}
	d->disk.fd = fd;
	d->disk.given = given;
	while ((n = n->backing) && d->disk.nr_given < BLOCK_CHAIN_MAX)
		given[d->disk.nr_given++] = (struct block_given){ n->disk.fd, n->disk.path, n->disk.format };
	err = vblk_plug(d->vm, &d->disk, &d->slot, &d->dev);
	d->disk.given = NULL;
	return err;
}

const char *plug_add_device(struct vm *vm, const char *driver, const char *id, const char *name, const char *serial,
			    const uint8_t *mac)
{
	const bool is_net = !strcmp(driver, "virtio-net-pci");
	struct device *d = NULL;
	struct node *n;

	if (!is_net && strcmp(driver, "virtio-blk-pci"))
		return "The driver is virtio-blk-pci or virtio-net-pci";
	if (!ctl_name_ok(id))
		return "An id has letters, digits, '.', '_' and '-', 40 at most";
	if (find_device(vm, id))
		return "There is a device of that id";
	n = find_node(vm, name, is_net);
	if (!n || n->users)
		return n ? "Another device, or image, stands on that" : "There is nothing of that name to stand on";
	for (unsigned int i = 0; i < DEVICES_MAX && !d; i++)
		if (!vm->plug->device[i].id[0])
			d = &vm->plug->device[i];
	if (!d)
		return "There are too many devices";
	*d = (struct device){ .vm = vm, .node = n, .disk = n->disk, .net = n->net, .slot.gone = gone };
	snprintf(d->id, sizeof(d->id), "%s", id);
	/* What a disk is known by in the guest, unless it is told otherwise. */
	snprintf(d->serial, sizeof(d->serial), "%s", serial ? serial : id);
	d->disk.serial = d->serial;
	if (mac)
		memcpy(d->net.mac, mac, sizeof(d->net.mac));
	if (plug_in(d)) {
		*d = (struct device){ 0 };
		return "It could not be set up; the machine's standard error says why";
	}
	n->users = 1;
	return NULL;
}

const char *plug_del_device(struct vm *vm, const char *id)
{
	struct device *d = find_device(vm, id);

	if (!d)
		return "There is no device of that id that was added to the machine while it ran";
	hotplug_ask(vm, &d->slot);
	return NULL;
}

void plug_list(struct vm *vm, void (*fn)(void *opaque, const char *id, const struct vm_disk *disk, const struct vm_net *net),
	       void *opaque)
{
	for (unsigned int i = 0; i < DEVICES_MAX; i++) {
		const struct device *d = &vm->plug->device[i];

		if (d->id[0])
			fn(opaque, d->id, d->node->is_net ? NULL : &d->disk, d->node->is_net ? &d->net : NULL);
	}
}

static int plug_init(struct vm *vm, void **state)
{
	*state = vm->plug = calloc(1, sizeof(*vm->plug));
	return vm->plug ? 0 : -ENOMEM;
}

static void plug_exit(struct vm *vm, void *state)
{
	struct plug *p = state;

	if (!p)
		return;
	for (unsigned int i = 0; i < DEVICES_MAX; i++)
		if (p->device[i].id[0])
			take_down(&p->device[i]);
	for (unsigned int i = 0; i < NODES_MAX; i++)
		if (p->node[i].name[0])
			free_node(&p->node[i]);
	vm->plug = NULL;
	free(p);
}

/* Resets come through the PCI host. */
const struct device_ops plug_device = {
	.name = "plug",
	.init = plug_init,
	.exit = plug_exit,
};
