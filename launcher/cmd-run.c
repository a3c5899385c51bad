// SPDX-License-Identifier: GPL-2.0-only
/*
 * cmd-run.c - tenon run: read and judge the options, then run the machine
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "../emul/include/tenon/emul.h"
#include "cmd.h"
#include "ctl.h"
#include "msg.h"
#include "net/net.h"
#include "rootfs.h"
#include "seed.h"

#define MIB		(1ull << 20)
#define MEMORY_DEFAULT	(512 * MIB)
#define MEMORY_MIN	(32 * MIB)
#define MEMORY_UNIT	4096u
#define MEMORY_MAX	(1ull << 40)	/* 40 physical address bits: what every guest CPU has */
#define CPUS_MAX	255u		/* APIC ids 0 to 254; 255 is the broadcast */

enum {
	OPT_CPU = 256,
	OPT_FIRMWARE,
	OPT_CLOUD_INIT,
	OPT_DISK,
	OPT_NET,
	OPT_SHARE,
	OPT_ROOTFS,
	OPT_MODULES,
	OPT_ACCEL,
	OPT_IRQCHIP,
	OPT_JIT,
	OPT_DEBUG_EXIT,
	OPT_NAME,
	OPT_SANDBOX,
	OPT_CHANNEL,
	OPT_VSOCK,
	OPT_WATCHDOG,
	OPT_BALLOON,
	OPT_NO_REBOOT,
	OPT_STATS,
	OPT_LOCKSTEP,
	OPT_TRACE,
	OPT_PERF_MAP,
};

static const struct option options[] = {
	{ "kernel", required_argument, NULL, 'k' },
	{ "initrd", required_argument, NULL, 'i' },
	{ "append", required_argument, NULL, 'a' },
	{ "firmware", required_argument, NULL, OPT_FIRMWARE },
	{ "cloud-init", required_argument, NULL, OPT_CLOUD_INIT },
	{ "memory", required_argument, NULL, 'm' },
	{ "cpus", required_argument, NULL, 'c' },
	{ "cpu", required_argument, NULL, OPT_CPU },
	{ "disk", required_argument, NULL, OPT_DISK },
	{ "net", required_argument, NULL, OPT_NET },
	{ "share", required_argument, NULL, OPT_SHARE },
	{ "rootfs", required_argument, NULL, OPT_ROOTFS },
	{ "modules", required_argument, NULL, OPT_MODULES },
	{ "accel", required_argument, NULL, OPT_ACCEL },
	{ "irqchip", required_argument, NULL, OPT_IRQCHIP },
	{ "jit", required_argument, NULL, OPT_JIT },
	{ "debug-exit", required_argument, NULL, OPT_DEBUG_EXIT },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "balloon", no_argument, NULL, OPT_BALLOON },
	{ "watchdog", required_argument, NULL, OPT_WATCHDOG },
	{ "channel", required_argument, NULL, OPT_CHANNEL },
	{ "vsock", required_argument, NULL, OPT_VSOCK },
	{ "sandbox", required_argument, NULL, OPT_SANDBOX },
	{ "no-reboot", no_argument, NULL, OPT_NO_REBOOT },
	{ "stats", no_argument, NULL, OPT_STATS },
	{ "lockstep", optional_argument, NULL, OPT_LOCKSTEP },
	{ "trace", required_argument, NULL, OPT_TRACE },
	{ "perf-map", no_argument, NULL, OPT_PERF_MAP },
	{ "help", no_argument, NULL, 'h' },
	{ 0 }
};

static const char help[] =
	"Usage: tenon run [OPTIONS] DISK\n"
	"       tenon run --kernel FILE [OPTIONS]\n"
	"       tenon run --rootfs DIR [OPTIONS] -- COMMAND [ARGUMENTS]\n"
	"\n"
	"Runs a virtual machine. Its first serial port (ttyS0) is this terminal.\n"
	"\n"
	"Boot:\n"
	"  DISK                   disk image to start from, as a PC does; takes the options of --disk\n"
	"  -k, --kernel FILE      Linux kernel (bzImage or vmlinux) or other image to start\n"
	"  -i, --initrd FILE      initial RAM disk for the kernel\n"
	"  -a, --append STRING    kernel command line; console=ttyS0 shows the kernel's messages here\n"
	"      --firmware FILE    firmware to start from the disk with, in place of the package seabios'\n"
	"      --cloud-init user=NAME,ssh-key=FILE[,host=NAME]\n"
	"                         a second disk tells cloud-init in the guest who may log in, by which public key\n"
	"      --rootfs DIR[,ro]  boot with a directory of the host as root file system, run COMMAND in it\n"
	"                         and end with its exit status; with ,ro, and always with /, what the guest\n"
	"                         changes stays in its memory. Default kernel: the newest in /boot\n"
	"      --modules DIR      the kernel's modules for that, if not in DIR/lib/modules or /lib/modules\n"
	"\n"
	"Machine:\n"
	"  -m, --memory SIZE      memory, as in 512M or 2G (default: 512M)\n"
	"  -c, --cpus N           number of processors, 1 to 255 (default: 1)\n"
	"      --cpu MODEL        processor model and feature changes, as in max or x86-64-v2,-avx\n"
	"      --balloon          a device by which the host gets memory back: what the guest has free, by itself; and\n"
	"                         more of it by tenon memory NAME SIZE\n"
	"      --channel name=NAME,path=SOCKET\n"
	"                         a byte stream: /dev/virtio-ports/NAME in the guest, a Unix socket on the host\n"
	"      --vsock [cid=CID,]path=SOCKET\n"
	"                         sockets of AF_VSOCK in the guest (its CID: 3): a client of SOCKET says CONNECT PORT to\n"
	"                         reach the guest's PORT; the guest reaches at port N of the host what listens at SOCKET_N\n"
	"      --watchdog ACTION  a watchdog (i6300esb); reset, poweroff or none: what happens when the guest starts it and\n"
	"                         then leaves it alone\n"
	"      --disk FILE[,OPT]  disk image or block device: /dev/vda; up to 8 times, for vdb, vdc... *.qcow2 is\n"
	"                         qcow2, all else raw; or what a server exports, as nbd://HOST/NAME or\n"
	"                         nbd+unix:///NAME?socket=PATH; OPT: format=raw|qcow2, ro, snapshot (drop what is written),\n"
	"                         cache=writeback|writethrough|none|unsafe, discard=on|off, backing=inside|any|none,\n"
	"                         aio=threads|io_uring, serial=TEXT, transitional (for systems whose virtio is older than\n"
	"                         1.0, as Linux before 4.0)\n"
	"      --net user[,...]   a network card; the guest connects as this user's programs do (default).\n"
	"                         hostfwd=tcp::2222-:22 lets the host's port 2222 lead to the guest's 22,\n"
	"                         host-loopback lets the guest reach the host's 127.0.0.1, as 10.0.2.2\n"
	"      --net tap[,...]    a network card on an interface of the host: ifname=NAME,bridge=NAME,\n"
	"                         vhost=on|off: the host's kernel moves the frames (with --accel module or kvm)\n"
	"                         Both kinds: mac=MAC, mtu=N, transitional as for disks\n"
	"      --net none         no network card\n"
	"      --share DIR[,tag=NAME][,ro]\n"
	"                         a directory of the host for the guest to use (default tags: share0, share1...):\n"
	"                         mount -t 9p -o trans=virtio,version=9p2000.L share0 /mnt\n"
	"\n"
	"Running:\n"
	"      --accel NAME       how guest code is run: auto (default) or a name that `tenon info` lists\n"
	"      --irqchip WHERE    interrupt controllers and timers with --accel module or kvm: kernel (default: all of them\n"
	"                         in the kernel) or split (local APICs there, the others in this process)\n"
	"      --jit MODE         the software CPU's translator: on (default), off; for tests, eager (all code at\n"
	"                         once, in a tiny cache) or stress (and instruction by instruction, with flushes at\n"
	"                         random)\n"
	"      --name NAME        lets tenon ls, stop, console and others find the machine, by a socket\n"
	"      --sandbox on|off   give up, before the guest runs, what no part of the machine needs of the host: system\n"
	"                         calls, files, capabilities (default: on)\n"
	"      --no-reboot        a reset by the guest ends the run\n"
	"      --debug-exit PORT  I/O port by which the guest ends the run with a status of its own\n"
	"      --stats            print counters at the end\n"
	"      --lockstep[=HOW]   for tests: run the interpreter beside the translator on a copy of the machine, and stop\n"
	"                         where they differ. HOW is blocks (default) or chains (linked blocks, 10,000 comparisons\n"
	"                         a second)\n"
	"      --trace FILE       write all code that is translated to FILE, and what it is translated to\n"
	"      --perf-map         tell perf about translated code, so that perf top and perf report name it\n"
	"  -h, --help             this text\n"
	"\n"
	"On a terminal, keys go to the guest. Ctrl-A x ends the machine, Ctrl-A h lists the other keys.\n"
	"\n"
	"Exit status:\n"
	"  0       the guest powered off\n"
	"  1       the machine could not be started, or failed\n"
	"  2       wrong options\n"
	"  3       the guest reset itself, with --no-reboot\n"
	"  4       the guest reported a panic (pvpanic)\n"
	"  5       triple fault\n"
	"  128+N   ended by signal N; 130 also by Ctrl-A x\n"
	"  other   with --debug-exit: the value V that the guest wrote gives (V * 2 + 1) modulo 256;\n"
	"          with --rootfs: the command's own, 128+N if signal N ended it, 125 if the guest could not\n"
	"          get as far as running it, 126 if it is no program, 127 if it was not found\n"
	"\n"
	"Examples:\n"
	"  tenon run -m 1G debian.qcow2\n"
	"  tenon run --net user,hostfwd=tcp::2222-:22 --cloud-init user=me,ssh-key=me.pub cloud.qcow2\n"
	"  tenon run -k /boot/vmlinuz -i /boot/initrd.img -a console=ttyS0\n"
	"  tenon run -k vmlinuz -m 2G -c 2 --disk root.img -a \"console=ttyS0 root=/dev/vda1\"\n"
	"  tenon run -k vmlinuz -i test.cpio -a \"console=ttyS0 panic=-1\" --no-reboot </dev/null >log\n"
	"  tenon run --rootfs / -- /bin/sh -c 'uname -a; exit 7'\n";

static int read_jit(const char *arg, struct vm_config *config)
{
	static const char *const modes[] = {
		[VM_JIT_ON] = "on", [VM_JIT_OFF] = "off", [VM_JIT_EAGER] = "eager", [VM_JIT_STRESS] = "stress",
	};

	for (unsigned int i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(arg, modes[i])) {
			config->jit = (enum vm_jit)i;
			return 0;
		}
	msg_error("--jit: '%s' is no mode. Give on, off, eager or stress", arg);
	return -EINVAL;
}

static int read_watchdog(const char *arg, struct vm_config *config)
{
	static const char *const actions[] = {
		[VM_WATCHDOG_RESET] = "reset", [VM_WATCHDOG_POWEROFF] = "poweroff", [VM_WATCHDOG_NONE] = "none",
	};

	for (unsigned int i = VM_WATCHDOG_RESET; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (!strcmp(arg, actions[i])) {
			config->watchdog = (enum vm_watchdog)i;
			return 0;
		}
	msg_error("--watchdog: '%s' is nothing that a watchdog does. Give reset, poweroff or none", arg);
	return -EINVAL;
}

static int read_lockstep(const char *arg, struct vm_config *config)
{
	if (!arg || !strcmp(arg, "blocks")) {
		config->lockstep = VM_LOCKSTEP_BLOCKS;
	} else if (!strcmp(arg, "chains")) {
		config->lockstep = VM_LOCKSTEP_CHAINS;
	} else {
		msg_error("--lockstep: '%s' is no way to compare. Give blocks or chains, or nothing, as in --lockstep", arg);
		return -EINVAL;
	}
	return 0;
}

static int read_irqchip(const char *arg, struct vm_config *config)
{
	config->split_irqchip = !strcmp(arg, "split");
	if (config->split_irqchip || !strcmp(arg, "kernel"))
		return 0;
	msg_error("--irqchip: '%s' is no place for interrupt controllers. Give kernel or split", arg);
	return -EINVAL;
}

static int read_memory(const char *arg, uint64_t *memory)
{
	int ret = parse_size(arg, memory);

	if (ret == -EINVAL) {
		msg_error("--memory: '%s' is not a size. Give a number and a unit, as in 512M or 2G", arg);
		return ret;
	}
	if (ret || *memory > MEMORY_MAX) {
		msg_error("--memory: '%s' is more than a guest can have. Give %lluG at most", arg,
			  MEMORY_MAX >> 30);
		return -ERANGE;
	}
	if (*memory < MEMORY_MIN) {
		msg_error("--memory: %llu bytes ('%s') are too little for a system. Give at least %lluM%s",
			  (unsigned long long)*memory, arg, MEMORY_MIN / MIB,
			  arg[strspn(arg, "0123456789")] ? "" : "; a number without a unit counts bytes");
		return -ERANGE;
	}
	if (*memory % MEMORY_UNIT) {
		msg_error("--memory: '%s' is not a multiple of the page size. Give a multiple of 4K", arg);
		return -EINVAL;
	}
	return 0;
}

static int read_accel(const char *arg, const struct accel_ops **accel)
{
	char names[256] = "auto", why[512] = "";
	size_t n;

	if (!strcmp(arg, "auto")) {
		for (unsigned int i = 0; accel_table[i]; i++) {
			if (accel_table[i]->probe(why, sizeof(why))) {
				*accel = accel_table[i];
				return 0;
			}
		}
		msg_error("no way of running guest code is usable here. `tenon info` says why: %s", why);
		return -ENODEV;
	}
	*accel = accel_by_name(arg);
	if (!*accel) {
		for (unsigned int i = 0; accel_table[i]; i++) {
			n = strlen(names);
			snprintf(names + n, sizeof(names) - n, ", %s", accel_table[i]->name);
		}
		msg_error("--accel: there is no '%s' in this version. Choose from %s; see tenon info", arg,
			  names);
		return -EINVAL;
	}
	if (!(*accel)->probe(why, sizeof(why))) {
		msg_error("--accel %s is not usable on this host: %s", arg, why);
		return -ENODEV;
	}
	return 0;
}

static int read_disk(char *arg, struct vm_config *config)
{
	const char *bad;

	if (config->nr_disks == VM_MAX_DISKS) {
		msg_error("--disk: '%s' is one too many. Give %u at most", arg, VM_MAX_DISKS);
		return -EINVAL;
	}
	if (!parse_disk(arg, &config->disk[config->nr_disks], &bad)) {
		config->nr_disks++;
		return 0;
	}
	if (bad)
		msg_error("--disk: '%s' is not possible. Options are ro or snapshot, format=raw|qcow2, "
			  "discard=on|off, backing=inside|any|none, cache=writeback|writethrough|none|unsafe, "
			  "aio=threads|io_uring, serial= (up to 20 characters)", bad);
	else
		msg_error("--disk: no file name. Give --disk FILE or --disk FILE,ro");
	return -EINVAL;
}

/* The disk to start from comes first, whatever other disks there are. */
static int read_boot_disk(char *arg, struct vm_config *config)
{
	struct vm_disk disk;
	unsigned char head[0x206] = { 0 };
	unsigned int last = config->nr_disks;
	FILE *f;
	size_t n;

	if (read_disk(arg, config))
		return -EINVAL;
	disk = config->disk[last];
	memmove(config->disk + 1, config->disk, last * sizeof(disk));
	config->disk[0] = disk;

	f = fopen(disk.path, "re");
	n = f ? fread(head, 1, sizeof(head), f) : 0;
	if (f)
		fclose(f);
	if (!config->kernel && ((n == sizeof(head) && !memcmp(head + 0x202, "HdrS", 4)) || !memcmp(head, "\177ELF", 4))) {
		msg_error("start from the disk '%s': it is a kernel. Then: --kernel %s", disk.path, disk.path);
		return -EINVAL;
	}
	return 0;
}

static int read_net(char *arg, struct vm_config *config, bool *none)
{
	if (!strcmp(arg, "none")) {
		*none = true;
	} else if (config->nr_nets == VM_MAX_NETS) {
		msg_error("--net: '%s' is one too many. Give %u at most", arg, VM_MAX_NETS);
		return -EINVAL;
	} else if (net_parse(arg, &config->net[config->nr_nets++])) {
		return -EINVAL;
	}
	if (*none && config->nr_nets) {
		msg_error("--net: a network card and 'none' contradict each other. Leave one of them out");
		return -EINVAL;
	}
	return 0;
}

static int read_share(char *arg, struct vm_config *config)
{
	static char tag[VM_MAX_SHARES][8];
	unsigned int nr = config->nr_shares;
	struct vm_share *share = &config->share[nr];

	if (nr == VM_MAX_SHARES) {
		msg_error("--share: '%s' is one too many. Give %u at most", arg, VM_MAX_SHARES);
		return -EINVAL;
	}
	switch (parse_share(arg, share)) {
	case 0:
		break;
	case -ENAMETOOLONG:
		msg_error("--share: the tag of '%s' has to have 1 to %u characters", share->path,
			  VM_SHARE_TAG_MAX);
		return -EINVAL;
	default:
		msg_error("--share: no directory. Give --share DIR, with ,tag=NAME or ,ro behind it if you like");
		return -EINVAL;
	}
	if (!share->tag) {
		snprintf(tag[nr], sizeof(tag[nr]), "share%u", nr);
		share->tag = tag[nr];
	}
	for (unsigned int i = 0; i < nr; i++) {
		if (strcmp(config->share[i].tag, share->tag))
			continue;
		msg_error("--share: '%s' and '%s' have the same tag, '%s'. Give one of them another with "
			  ",tag=NAME", config->share[i].path, share->path, share->tag);
		return -EINVAL;
	}
	config->nr_shares++;
	return 0;
}

static int read_channel(char *arg, struct vm_config *config)
{
	struct vm_channel *ch = &config->channel[config->nr_channels];
	char *path = strstr(arg, ",path=");

	if (config->nr_channels == VM_MAX_CHANNELS) {
		msg_error("--channel: '%s' is one too many. Give %u at most", arg, VM_MAX_CHANNELS);
		return -EINVAL;
	}
	if (strncmp(arg, "name=", 5) || !path || !path[6]) {
		msg_error("--channel: '%s' is not understood. Give a name and the path of a socket, as in "
			  "name=org.example.agent,path=/run/user/1000/agent.sock", arg);
		return -EINVAL;
	}
	*path = '\0';
	*ch = (struct vm_channel){ .name = arg + 5, .path = path + 6 };
	if (!ctl_name_ok(ch->name)) {
		msg_error("--channel: '%s' is no name. Letters, digits, '.', '_' and '-' make one, %u at most", ch->name,
			  CTL_NAME_MAX);
		return -EINVAL;
	}
	if (strlen(ch->path) >= CTL_PATH_MAX) {
		msg_error("--channel: the path '%s' is too long for a socket. Give %u characters at most", ch->path,
			  CTL_PATH_MAX - 1);
		return -EINVAL;
	}
	for (unsigned int i = 0; i < config->nr_channels; i++) {
		if (strcmp(config->channel[i].name, ch->name) && strcmp(config->channel[i].path, ch->path))
			continue;
		msg_error("--channel: '%s' has the name or the path of another. Give it its own", ch->name);
		return -EINVAL;
	}
	config->nr_channels++;
	return 0;
}

static int read_vsock(char *arg, struct vm_config *config)
{
	/* Room for _4294967295 behind it. */
	const size_t max = CTL_PATH_MAX - 12;
	uint64_t cid = VMADDR_CID_HOST + 1;
	char *path = arg;

	if (!strncmp(arg, "cid=", 4)) {
		path = strchr(arg, ',');
		if (path)
			*path++ = '\0';
		if (parse_uint(arg + 4, VMADDR_CID_HOST + 1, VMADDR_CID_ANY - 1, &cid)) {
			msg_error("--vsock: '%s' is no CID of a guest. Give a number from %u to %u", arg + 4, VMADDR_CID_HOST + 1,
				  VMADDR_CID_ANY - 1);
			return -EINVAL;
		}
	}
	if (!path || strncmp(path, "path=", 5) || !path[5] || strlen(path + 5) > max) {
		msg_error("--vsock: '%s' is not understood. Give the path of a socket, %zu characters at most, as in "
			  "path=/run/user/1000/guest.vsock or cid=3,path=/run/user/1000/guest.vsock", path ? path : arg, max);
		return -EINVAL;
	}
	if (config->vsock_path) {
		msg_error("--vsock: a machine has one. Give it once");
		return -EINVAL;
	}
	config->vsock_path = path + 5;
	config->vsock_cid = (uint32_t)cid;
	return 0;
}

static int read_rootfs(char *arg, struct rootfs *rootfs)
{
	size_t len = strlen(arg);

	if (rootfs->dir) {
		msg_error("--rootfs: '%s' and '%s': there is one root file system only", rootfs->dir, arg);
		return -EINVAL;
	}
	if (len > 3 && !strcmp(arg + len - 3, ",ro")) {
		arg[len - 3] = '\0';
		rootfs->readonly = true;
	}
	if (!*arg) {
		msg_error("--rootfs: no directory. Give --rootfs DIR or --rootfs DIR,ro");
		return -EINVAL;
	}
	rootfs->dir = arg;
	return 0;
}

/* A file that will be read later; seen now, so that the message names the option. */
static int check_file(const char *option, const char *path)
{
	struct stat st;
	int fd, ret = 0;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		ret = -errno;
		msg_error("%s: open '%s': %s. %s", option, path, strerror(-ret),
			  ret == -EACCES ? "Make it readable, or run tenon as a user who may read it"
					 : "Check the path");
	} else if (S_ISDIR(st.st_mode)) {
		msg_error("%s: '%s' is a directory. Name the file in it", option, path);
		ret = -EISDIR;
	} else if (!S_ISREG(st.st_mode)) {
		msg_error("%s: '%s' is not a regular file. Copy its contents to one first", option, path);
		ret = -EINVAL;
	} else if (!st.st_size) {
		msg_error("%s: '%s' is empty. Was its download or build interrupted?", option, path);
		ret = -EINVAL;
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

/* What is possible in principle, but not on this host. */
static int check_host(const struct vm_config *config)
{
	unsigned int cpus = host_cpus();
	uint64_t ram = 0, total = host_memory(&ram);

	if (total && config->memory > total) {
		msg_error("--memory: the guest was to have %llu MiB, and this host has %llu MiB with its "
			  "swap. Give it less, as in --memory %lluM",
			  (unsigned long long)(config->memory / MIB),
			  (unsigned long long)(total / MIB), (unsigned long long)(total / MIB / 2));
		return -ENOMEM;
	}
	if (ram && config->memory > ram - ram / 8)
		msg_warn("the guest may use %llu of the host's %llu MiB of memory: expect swapping",
			 (unsigned long long)(config->memory / MIB), (unsigned long long)(ram / MIB));
	if (config->cpus > cpus)
		msg_warn("the guest has %u processors on %u of the host: it gets slower, not faster, by that",
			 config->cpus, cpus);
	return 0;
}

/* Without a kernel, firmware starts what is on the first disk. */
static int choose_firmware(struct vm_config *config, const struct rootfs *rootfs)
{
	static const char *const known[] = { "/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-256k.bin" };
	bool kernel = config->kernel || rootfs->dir;

	if (kernel && config->firmware) {
		msg_error("--firmware and a kernel contradict each other: a kernel is started without firmware. Leave one "
			  "of them out");
		return -EINVAL;
	}
	if (kernel)
		return 0;
	if (config->initrd || config->append) {
		msg_error("%s: there is no kernel to give it to. Name one, as in --kernel /boot/vmlinuz",
			  config->initrd ? "--initrd" : "--append");
		return -EINVAL;
	}
	if (!config->nr_disks && !config->firmware) {
		msg_error("nothing to run: no disk and no kernel was given. Name one, as in tenon run disk.qcow2 or "
			  "--kernel /boot/vmlinuz");
		return -EINVAL;
	}
	for (unsigned int i = 0; !config->firmware && i < sizeof(known) / sizeof(known[0]); i++)
		if (!access(known[i], R_OK))
			config->firmware = known[i];
	if (!config->firmware) {
		msg_error("start from the disk '%s': the firmware for that is not installed (%s). Install the package "
			  "seabios, or name an image with --firmware", config->disk[0].path, known[0]);
		return -ENOENT;
	}
	return 0;
}

/* -1: go on; otherwise the exit status. */
static int read_options(int argc, char **argv, struct vm_config *config, struct rootfs *rootfs, struct seed *seed)
{
	const char *accel = "auto";
	bool no_net = false;
	char why[200];
	uint64_t val;
	int opt, ret;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":k:i:a:m:c:h", options, NULL)) != -1) {
		switch (opt) {
		case 'k':
			config->kernel = optarg;
			break;
		case 'i':
			config->initrd = optarg;
			break;
		case 'a':
			config->append = optarg;
			break;
		case OPT_FIRMWARE:
			config->firmware = optarg;
			break;
		case OPT_CLOUD_INIT:
			if (seed_parse(optarg, seed))
				return VM_END_USAGE;
			break;
		case 'm':
			if (read_memory(optarg, &config->memory))
				return VM_END_USAGE;
			break;
		case 'c':
			if (parse_uint(optarg, 1, CPUS_MAX, &val)) {
				msg_error("--cpus: '%s' is no number of processors. Give 1 to %u", optarg,
					  CPUS_MAX);
				return VM_END_USAGE;
			}
			config->cpus = (unsigned int)val;
			break;
		case OPT_CPU:
			if (!emul_cpu_valid(optarg, why, sizeof(why))) {
				msg_error("--cpu: %s", why);
				return VM_END_USAGE;
			}
			config->cpu = optarg;
			break;
		case OPT_DISK:
			if (read_disk(optarg, config))
				return VM_END_USAGE;
			break;
		case OPT_NET:
			if (read_net(optarg, config, &no_net))
				return VM_END_USAGE;
			break;
		case OPT_SHARE:
			if (read_share(optarg, config))
				return VM_END_USAGE;
			break;
		case OPT_ROOTFS:
			if (read_rootfs(optarg, rootfs))
				return VM_END_USAGE;
			break;
		case OPT_MODULES:
			rootfs->modules = optarg;
			break;
		case OPT_ACCEL:
			accel = optarg;
			break;
		case OPT_IRQCHIP:
			if (read_irqchip(optarg, config))
				return VM_END_USAGE;
			break;
		case OPT_JIT:
			if (read_jit(optarg, config))
				return VM_END_USAGE;
			break;
		case OPT_DEBUG_EXIT:
			/* The port is four bytes wide. */
			if (parse_uint(optarg, 0, 0xfffc, &val)) {
				msg_error("--debug-exit: '%s' is no I/O port. Give 0 to 0xfffc, as in 0xf4",
					  optarg);
				return VM_END_USAGE;
			}
			config->debug_exit_port = (int)val;
			break;
		case OPT_NAME:
			if (!ctl_name_ok(optarg)) {
				msg_error("--name: '%s' is no name. Letters, digits, '.', '_' and '-' make one, %u at most",
					  optarg, CTL_NAME_MAX);
				return VM_END_USAGE;
			}
			config->name = optarg;
			break;
		case OPT_BALLOON:
			config->balloon = true;
			break;
		case OPT_WATCHDOG:
			if (read_watchdog(optarg, config))
				return VM_END_USAGE;
			break;
		case OPT_CHANNEL:
			if (read_channel(optarg, config))
				return VM_END_USAGE;
			break;
		case OPT_VSOCK:
			if (read_vsock(optarg, config))
				return VM_END_USAGE;
			break;
		case OPT_SANDBOX:
			config->no_sandbox = !strcmp(optarg, "off");
			if (!config->no_sandbox && strcmp(optarg, "on")) {
				msg_error("--sandbox: '%s' is neither on nor off", optarg);
				return VM_END_USAGE;
			}
			break;
		case OPT_NO_REBOOT:
			config->no_reboot = true;
			break;
		case OPT_LOCKSTEP:
			if (read_lockstep(optarg, config))
				return VM_END_USAGE;
			break;
		case OPT_TRACE:
			config->trace = optarg;
			break;
		case OPT_PERF_MAP:
			config->perf_map = true;
			break;
		case OPT_STATS:
			config->stats = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_OK;
		case ':':
			msg_error("the option '%s' needs a value. See tenon run --help", argv[optind - 1]);
			return VM_END_USAGE;
		default:
			if (optopt && optopt < 256)
				msg_error("there is no option '-%c'. See tenon run --help", optopt);
			else if (optopt)
				msg_error("the option '%s' takes no value. See tenon run --help",
					  argv[optind - 1]);
			else
				msg_error("there is no option '%s', or it is short for several. See tenon "
					  "run --help", argv[optind - 1]);
			return VM_END_USAGE;
		}
	}
	if (rootfs->dir) {
		rootfs->command = argv + optind;
		if (optind < argc && strcmp(argv[optind - 1], "--")) {
			msg_error("--rootfs: the command comes behind '--', so that its options are its own: tenon "
				  "run --rootfs '%s' -- %s", rootfs->dir, argv[optind]);
			return VM_END_USAGE;
		}
		if (config->initrd) {
			msg_error("--rootfs and --initrd contradict each other: the initial RAM disk is what mounts "
				  "the directory. Leave out --initrd");
			return VM_END_USAGE;
		}
	} else if (rootfs->modules) {
		msg_error("--modules: modules are loaded for --rootfs only. Leave it out, or give --rootfs");
		return VM_END_USAGE;
	} else if (optind < argc && read_boot_disk(argv[optind], config)) {
		return VM_END_USAGE;
	} else if (optind + 1 < argc) {
		msg_error("'%s' belongs to no option: '%s' is the disk already. Further disks are given with --disk; if "
			  "it is part of the kernel's command line, put all of that in quotes", argv[optind + 1],
			  argv[optind]);
		return VM_END_USAGE;
	}
	/* the twin's thread starts when the guest already runs */
	config->no_sandbox |= config->lockstep != VM_LOCKSTEP_OFF;
	if (config->lockstep && config->cpus > 1) {
		msg_error("--lockstep: not with %u processors: what they do to one another's memory cannot be repeated. Give "
			  "--cpus 1", config->cpus);
		return VM_END_USAGE;
	}
	ret = choose_firmware(config, rootfs);
	if (ret)
		return ret == -EINVAL ? VM_END_USAGE : VM_END_ERROR;
	/* As with a real PC, there is a network unless it is unplugged; this one needs no privileges. */
	if (!config->nr_nets && !no_net)
		config->net[config->nr_nets++].ops = &net_user;
	ret = read_accel(accel, &config->accel);
	if (ret)
		return ret == -EINVAL ? VM_END_USAGE : VM_END_ERROR;
	if (config->split_irqchip && config->accel == &accel_soft) {
		msg_error("--irqchip split: the software CPU has no part in the kernel. Leave it out, or give --accel "
			  "module or --accel kvm");
		return VM_END_USAGE;
	}
	return -1;
}

static int add_seed(const struct seed *seed, struct vm_config *config)
{
	static char path[32];
	int fd;

	if (config->nr_disks == VM_MAX_DISKS) {
		msg_error("--cloud-init: its disk is one too many. Give %u at most", VM_MAX_DISKS - 1);
		return -EINVAL;
	}
	fd = seed_create(seed);
	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config->disk[config->nr_disks++] = (struct vm_disk){ .path = path, .readonly = true, .serial = "cloud-init" };
	return 0;
}

int cmd_run(int argc, char **argv)
{
	struct vm_config config = {
		.memory = MEMORY_DEFAULT,
		.cpus = 1,
		.debug_exit_port = -1,
	};
	struct rootfs rootfs = { 0 };
	struct seed seed = { 0 };
	int end = read_options(argc, argv, &config, &rootfs, &seed);

	if (end >= 0)
		return end;
	if ((config.kernel && check_file("--kernel", config.kernel)) ||
	    (rootfs.dir && rootfs_prepare(&rootfs, &config)) ||
	    (config.firmware && check_file("--firmware", config.firmware)) ||
	    (config.initrd && check_file("--initrd", config.initrd)) || check_host(&config) ||
	    (seed.user && add_seed(&seed, &config)))
		return VM_END_ERROR;
	end = vm_run(&config);
	return end >= VM_END_DEBUG_EXIT ? (end - VM_END_DEBUG_EXIT) & 0xff : end;
}
