// SPDX-License-Identifier: GPL-2.0-only
/*
 * machine-hotplug.c - disks that come and go while the guest runs, as its ACPI code sees them
 *
 * Oracles: the PCI Local Bus Specification (a function without addresses), the ACPI Specification (general purpose
 * events), and the registers that QEMU documents in docs/specs/acpi_pci_hotplug.
 */
#include <errno.h>
#include <linux/pci_regs.h>

#include "launcher/machine/hotplug.h"
#include "launcher/net/net.h"
#include "launcher/plug.h"
#include "launcher/virtio/virtio.h"
#include "machine-fake.h"

#define UP		(PC_HOTPLUG_BASE + 0)
#define DOWN		(PC_HOTPLUG_BASE + 4)
#define EJECT		(PC_HOTPLUG_BASE + 8)
#define REMOVABLE	(PC_HOTPLUG_BASE + 12)
#define SLOT		2
#define DEVFN		(SLOT << 3)

static struct vm *vm;
static void *pci, *pm, *hot, *plug;
static char path[] = "/tmp/tenon-hotplug-XXXXXX";

static int image(int flags)
{
	return open(path, flags | O_CLOEXEC);
}

static const char *add_node(const char *name, int flags, bool readonly)
{
	const struct vm_disk disk = {
		.path = path, .fd = image(flags), .readonly = readonly, .format = block_driver_by_name("raw"),
		.backing = BLOCK_BACKING_NONE, .cache = BLOCK_UNSAFE,
	};

	return plug_add_disk(vm, name, &disk, NULL);
}

static const char *add(const char *id, const char *node)
{
	return plug_add_device(vm, "virtio-blk-pci", id, node, NULL, NULL);
}

static void count(void *opaque, const char *id, const struct vm_disk *disk, const struct vm_net *net)
{
	(void)id;
	(void)disk;
	(void)net;
	++*(unsigned int *)opaque;
}

static unsigned int nr_devices(void)
{
	unsigned int n = 0;

	plug_list(vm, count, &n);
	return n;
}

static void leave_loop(void *opaque)
{
	atomic_store((atomic_int *)opaque, 1);
}

/* Let the main thread do what is to be done. */
static void turn(void)
{
	struct timer t;

	timer_init(&t, leave_loop, &vm->stop);
	atomic_store(&vm->stop, -1);
	timer_set(&vm->loop, &t, clock_ns() + 1000000);
	loop_run(&vm->loop, &vm->stop);
	timer_set(&vm->loop, &t, TIMER_OFF);
}

static void test_nodes(void)
{
	ok(add_node("no name", O_RDWR, false), "a name that is none");
	ok(add_node("rw", O_RDONLY, false), "a file that can't be written as one that is");
	ok(add_node("rw", O_RDWR | O_APPEND, false), "one that can be written at its end only");
	ok(add_node("rw", O_PATH, true), "one that can't be read");
	ok(!add_node("rw", O_RDONLY, true), "a file");
	ok(add_node("rw", O_RDONLY, true), "another of the same name");
	ok(add_node("w", O_RDWR, false), "the same file, to be written, although somebody has it in use");
	ok(add("d", "nothing"), "a device that stands on nothing");
	ok(plug_add_device(vm, "e1000", "d", "rw", NULL, NULL), "a device that there is not");
	ok(plug_add_device(vm, "virtio-net-pci", "d", "rw", NULL, NULL), "a card does not stand on a disk");
	ok(add("bad id", "rw"), "an id that is none");
	ok(plug_del_net(vm, "rw"), "a disk is no network");
	ok(!plug_del_disk(vm, "rw"), "it is taken back");
	ok(plug_del_disk(vm, "rw"), "once");
	for (unsigned int i = 0; i < 2; i++) {
		struct vm_net net = {
			.ops = &net_tap, .ifname = "t", .fd = i ? open("/dev/null", O_RDWR | O_NONBLOCK | O_CLOEXEC) : image(O_RDWR),
		};

		ok(plug_add_net(vm, "t", &net), i ? "nor is a device that is no interface" : "a file is no interface");
	}
}

static void test_add(void)
{
	out(vm, PC_GPE_BASE + 2, 1u << PC_GPE_HOTPLUG, 2);
	ok(!fake.line[PC_SCI_IRQ], "nothing has happened");
	is_u64(cfg_get(vm, DEVFN, 0, 4), 0xffffffff, "the slot is empty");
	is_u64(in(vm, REMOVABLE, 4), 0, "nothing can be removed");
	add_node("a", O_RDWR, false);
	ok(!add("disk", "a"), "a disk is added");
	ok(add("disk", "a") && add("other", "a"), "its id and what it stands on are taken");
	ok(plug_del_disk(vm, "a"), "and in use");
	ok(fake.line[PC_SCI_IRQ], "the guest is interrupted");
	is_u64(in(vm, PC_GPE_BASE, 2), 1u << PC_GPE_HOTPLUG, "by the event");
	out(vm, PC_GPE_BASE, 1u << PC_GPE_HOTPLUG, 2);
	ok(!fake.line[PC_SCI_IRQ], "which it clears");
	is_u64(in(vm, UP, 4), 1u << SLOT, "it asks for news");
	is_u64(in(vm, UP, 4), 0, "which are read once");
	is_u64(in(vm, REMOVABLE, 4), 1u << SLOT, "the device can be removed");
	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10421af4, "there is a disk");
	is_u64(cfg_get(vm, DEVFN, PCI_COMMAND, 2), 0, "that is not enabled");
	is_u64(cfg_get(vm, DEVFN, 0x20, 4), 0xc, "and has no address");
	cfg_set(vm, DEVFN, 0x20, 0xd0000000, 4);
	cfg_set(vm, DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	is_u64(mmio_read(vm, 0xd0002000, 8), 8, "with one, its capacity can be read");
}

static void test_remove(void)
{
	ok(plug_del_device(vm, "none"), "a device that there is not");
	ok(!plug_del_device(vm, "disk"), "the disk is wanted back");
	ok(fake.line[PC_SCI_IRQ], "the guest is interrupted");
	is_u64(in(vm, DOWN, 4), 1u << SLOT, "and told which slot");
	turn();
	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10421af4, "nothing happens before it lets go");
	out(vm, EJECT, 1u << 5 | 1u << 31, 4);
	out(vm, EJECT, 1u << SLOT, 2);
	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10421af4, "other slots, and half a register, are nothing");
	out(vm, EJECT, 1u << SLOT, 4);
	is_u64(cfg_get(vm, DEVFN, 0, 4), 0xffffffff, "then it is off the bus");
	is_u64(mmio_read(vm, 0xd0002000, 8), ~0ull, "and out of memory");
	is_u64(nr_devices(), 1, "it is taken down on the main thread");
	turn();
	is_u64(nr_devices(), 0, "a moment later");
	ok(!add("again", "a"), "what it stood on makes another one");
	out(vm, EJECT, 1u << SLOT, 4);
	turn();
	ok(nr_devices() == 0 && !plug_del_disk(vm, "a"), "a guest may let go of it unasked");
}

static void test_reset(void)
{
	add_node("a", O_RDONLY, true);
	add_node("b", O_RDONLY, true);
	add("stays", "a");
	add("goes", "b");
	plug_del_device(vm, "goes");
	pthread_mutex_lock(&vm->lock);
	pci_host_device.reset(vm, pci);
	pm_device.reset(vm, pm);
	hotplug_device.reset(vm, hot);
	pthread_mutex_unlock(&vm->lock);
	is_u64(nr_devices(), 1, "a reset lets go of what somebody wanted back, at once");
	turn();
	is_u64(in(vm, UP, 4) | in(vm, DOWN, 4), 0, "there is no news");
	ok(cfg_get(vm, DEVFN, 0x20, 4) >= PCI_MMIO_BASE && cfg_get(vm, DEVFN, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY,
	   "what stays is there as firmware would have set it up");
	ok(hotplug_possible(vm, SLOT) && hotplug_possible(vm, 31) && !hotplug_possible(vm, 1),
	   "slots of the board are not for others");
	plug_del_disk(vm, "b");
}

static void test_full(void)
{
	char id[8];
	unsigned int n, i, bars = 0;

	for (n = 0; n < 40; n++) {
		snprintf(id, sizeof(id), "n%u", n);
		if (add_node(id, O_RDONLY, true) || add(id, id))
			break;
	}
	ok(n == 29 && nr_devices() == 30, "thirty devices at most");
	/* Places that a reset gives: none overlap. */
	pthread_mutex_lock(&vm->lock);
	pci_host_device.reset(vm, pci);
	pthread_mutex_unlock(&vm->lock);
	for (n = 2; n < 32; n++)
		for (i = 2; i < 32; i++)
			bars += n != i && (cfg_get(vm, n << 3, 0x20, 4) & ~0x3fffu) == (cfg_get(vm, i << 3, 0x20, 4) & ~0x3fffu);
	is_u64(bars, 0, "each has its own place");
	for (n = 0; n < 1000; n++) {
		out(vm, EJECT, 1u << 9, 4);
		turn();
		if (add("more", "n6"))
			break;
	}
	is_u64(n, 1000, "a thousand in the same slot");
}

static bool sync_fails;

int fdatasync(int fd)
{
	(void)fd;
	errno = EIO;
	return sync_fails ? -1 : 0;
}

static void test_lost(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		const struct vm_disk disk = {
			.path = path, .fd = image(O_RDWR), .format = block_driver_by_name("raw"), .backing = BLOCK_BACKING_NONE,
		};
		struct slot slot = { 0 };
		struct virtio_dev *dev = NULL;

		ok(!vblk_plug(vm, &disk, &slot, &dev), "a disk with a cache");
		sync_fails = i;
		is_u64(vblk_unplug(dev) != 0, i, i ? "its file does not take what is left" : "whose file takes all");
	}
}

int main(void)
{
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, 4096))
		return 1;
	close(fd);
	vm = fake_vm(4 << 20);
	if (pci_host_device.init(vm, &pci) || pm_device.init(vm, &pm) || hotplug_device.init(vm, &hot) ||
	    plug_device.init(vm, &plug))
		return 1;
	quiet(true);
	test_nodes();
	test_add();
	test_remove();
	test_reset();
	test_lost();
	test_full();
	quiet(false);
	plug_device.exit(vm, plug);
	hotplug_device.exit(vm, hot);
	pm_device.exit(vm, pm);
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	unlink(path);
	return tap_done();
}
