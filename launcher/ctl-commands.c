// SPDX-License-Identifier: GPL-2.0-only
/*
 * ctl-commands.c - the commands of the control socket, in the table commands[]
 *
 * Names and arguments are those of QEMU's "QEMU Machine Protocol Reference Manual"; what it does not have begins with x-.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl-client.h"
#include "net/net.h"
#include "plug.h"
#include "virtio/virtio.h"
#include "vm.h"

#define ARGS_MAX	10u
#define VCPU_QOM_PATH	"/machine/cpu"

/* Arguments of the command at work, which have the type that commands[] says */

static const char *arg_str(const struct client *c, const char *name)
{
	struct json_object *val;

	return json_object_object_get_ex(c->args, name, &val) ? json_object_get_string(val) : NULL;
}

static bool arg_has(const struct client *c, const char *name)
{
	return json_object_object_get_ex(c->args, name, NULL);
}

static int64_t arg_int(const struct client *c, const char *name, int64_t otherwise)
{
	struct json_object *val;

	return json_object_object_get_ex(c->args, name, &val) ? json_object_get_int64(val) : otherwise;
}

static bool arg_bool(const struct client *c, const char *name)
{
	struct json_object *val;

	return json_object_object_get_ex(c->args, name, &val) && json_object_get_boolean(val);
}

/* Commands: each gives what is to be returned, NULL for an empty object, or says why not in c->refusal. */

static struct json_object *do_capabilities(struct client *c)
{
	c->negotiated = true;
	return NULL;
}

static struct json_object *do_version(struct client *c)
{
	(void)c;
	return ctl_version();
}

static struct json_object *do_status(struct client *c)
{
	struct json_object *obj = json_object_new_object();
	bool paused = vm_paused(c->ctl->vm);

	json_object_object_add(obj, "status", json_object_new_string(paused ? "paused" : "running"));
	json_object_object_add(obj, "singlestep", json_object_new_boolean(false));
	json_object_object_add(obj, "running", json_object_new_boolean(!paused));
	return obj;
}

static struct json_object *do_name(struct client *c)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "name", json_object_new_string(c->ctl->vm->config.name));
	return obj;
}

static struct json_object *do_cpus(struct client *c)
{
	struct json_object *list = json_object_new_array();
	const struct vm *vm = c->ctl->vm;

	for (unsigned int i = 0; i < vm->config.cpus; i++) {
		struct json_object *cpu = json_object_new_object();
		char path[32];

		snprintf(path, sizeof(path), VCPU_QOM_PATH "[%u]", i);
		json_object_object_add(cpu, "cpu-index", json_object_new_int64(i));
		json_object_object_add(cpu, "qom-path", json_object_new_string(path));
		json_object_object_add(cpu, "thread-id", json_object_new_int64(atomic_load(&vm->vcpu[i].tid)));
		json_object_object_add(cpu, "target", json_object_new_string("x86_64"));
		json_object_array_add(list, cpu);
	}
	return list;
}

static void list_disk(void *opaque, const char *id, const struct vm_disk *disk, const struct vm_net *net)
{
	struct json_object *dev, *in;

	(void)net;
	if (!disk)
		return;
	dev = json_object_new_object();
	in = json_object_new_object();
	json_object_object_add(dev, "device", json_object_new_string(id));
	json_object_object_add(dev, "type", json_object_new_string("unknown"));
	json_object_object_add(dev, "removable", json_object_new_boolean(false));
	json_object_object_add(dev, "locked", json_object_new_boolean(false));
	json_object_object_add(in, "file", json_object_new_string(disk->path));
	json_object_object_add(in, "ro", json_object_new_boolean(disk->readonly));
	json_object_object_add(dev, "inserted", in);
	json_object_array_add(opaque, dev);
}

static struct json_object *do_block(struct client *c)
{
	struct json_object *list = json_object_new_array();
	const struct vm_config *config = &c->ctl->vm->config;

	for (unsigned int i = 0; i < config->nr_disks; i++) {
		char name[16];

		snprintf(name, sizeof(name), "disk%u", i);
		list_disk(list, name, &config->disk[i], NULL);
	}
	if (c->ctl->vm->plug)
		plug_list(c->ctl->vm, list_disk, list);
	return list;
}

/* Descriptors, and devices made of them */

static struct json_object *do_getfd(struct client *c)
{
	const char *name = arg_str(c, "fdname");
	const int fd = c->nr_came ? c->came[0] : -1;
	unsigned int free_at = FDS_MAX;

	/* It came for this name: what is refused is not the next one's. */
	if (fd >= 0)
		memmove(c->came, c->came + 1, --c->nr_came * sizeof(c->came[0]));
	for (unsigned int i = 0; i < FDS_MAX; i++) {
		if (!c->named[i].name[0])
			free_at = i;
		else if (!strcmp(c->named[i].name, name))
			c->refusal = "There is a descriptor of that name";
	}
	if (!ctl_name_ok(name))
		c->refusal = "A name has letters, digits, '.', '_' and '-', 40 at most";
	else if (fd < 0)
		c->refusal = "No file descriptor supplied via SCM_RIGHTS";
	else if (free_at == FDS_MAX)
		c->refusal = "There are too many descriptors";
	if (c->refusal) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	snprintf(c->named[free_at].name, sizeof(c->named[0].name), "%s", name);
	c->named[free_at].fd = fd;
	return NULL;
}

/* The descriptor of that name: the caller's from now on. -1: there is none, which has been said. */
static int take_fd(struct client *c, const char *name)
{
	for (unsigned int i = 0; i < FDS_MAX; i++) {
		if (!c->named[i].name[0] || strcmp(c->named[i].name, name))
			continue;
		c->named[i].name[0] = '\0';
		return c->named[i].fd;
	}
	c->refusal = "There is no descriptor of that name; getfd gives it one";
	return -1;
}

static struct json_object *do_closefd(struct client *c)
{
	int fd = take_fd(c, arg_str(c, "fdname"));

	if (fd >= 0)
		close(fd);
	return NULL;
}

static struct json_object *do_blockdev_add(struct client *c)
{
	const char *cache = arg_str(c, "x-cache"), *discard = arg_str(c, "discard");
	struct vm_disk disk = {
		.path = arg_str(c, "filename"),
		.readonly = arg_bool(c, "read-only"),
		.format = block_driver_by_name(arg_str(c, "driver")),
		.backing = BLOCK_BACKING_NONE,
		.no_discard = discard && !strcmp(discard, "ignore"),
	};

	if (!disk.format)
		c->refusal = "The driver is raw or qcow2";
	else if (cache && !block_cache_by_name(cache, &disk.cache))
		c->refusal = "x-cache is writeback, writethrough, none or unsafe";
	else if (discard && !disk.no_discard && strcmp(discard, "unmap"))
		c->refusal = "discard is unmap or ignore";
	if (c->refusal)
		return NULL;
	disk.fd = take_fd(c, arg_str(c, "x-fd"));
	if (disk.fd >= 0)
		c->refusal = plug_add_disk(c->ctl->vm, arg_str(c, "node-name"), &disk, arg_str(c, "backing"));
	return NULL;
}

static struct json_object *do_blockdev_del(struct client *c)
{
	c->refusal = plug_del_disk(c->ctl->vm, arg_str(c, "node-name"));
	return NULL;
}

/* One with a NUL in it would be another one here. */
static bool is_string(struct json_object *val)
{
	return json_object_is_type(val, json_type_string) &&
	       strlen(json_object_get_string(val)) == (size_t)json_object_get_string_len(val);
}

/* The name of the descriptor in a SocketAddress of type fd, or NULL. */
static const char *address_fd(const struct client *c, const char *arg)
{
	struct json_object *addr, *type, *str;

	if (!json_object_object_get_ex(c->args, arg, &addr) || json_object_object_length(addr) != 2 ||
	    !json_object_object_get_ex(addr, "type", &type) || !json_object_object_get_ex(addr, "str", &str) ||
	    !is_string(type) || !is_string(str) || strcmp(json_object_get_string(type), "fd"))
		return NULL;
	return json_object_get_string(str);
}

static const char *check_tap(const struct client *c)
{
	if (!arg_str(c, "fd") || !arg_str(c, "ifname") || !arg_str(c, "x-mac") || arg_has(c, "local") || arg_has(c, "x-vnet-hdr"))
		return "A tap takes fd, ifname and x-mac";
	return NULL;
}

static const char *check_dgram(const struct client *c)
{
	if (!address_fd(c, "local") || arg_has(c, "fd") || arg_has(c, "vhostfd") || arg_has(c, "vhost"))
		return "A dgram takes local, of type fd";
	return arg_bool(c, "x-vnet-hdr") ? NULL : "Frames of a dgram stand behind a header here; x-vnet-hdr says that they do";
}

static struct json_object *do_netdev_add(struct client *c)
{
	const char *type = arg_str(c, "type"), *mac = arg_str(c, "x-mac"), *ifname = arg_str(c, "ifname");
	const bool is_dgram = !strcmp(type, net_dgram.name);
	struct vm_net net = { .ops = is_dgram ? &net_dgram : &net_tap, .ifname = ifname ? ifname : type };
	int64_t mtu = arg_int(c, "x-mtu", 1500);
	struct json_object *obj;

	net.mtu = (unsigned int)mtu;
	if (!is_dgram && strcmp(type, net_tap.name))
		c->refusal = "The type is tap or dgram";
	else
		c->refusal = is_dgram ? check_dgram(c) : check_tap(c);
	if (!c->refusal && (mtu < NET_MTU_MIN || mtu > NET_MTU_MAX))
		c->refusal = "x-mtu is out of range";
	if (!c->refusal && mac && !net_parse_mac(mac, net.mac))
		c->refusal = "x-mac is no address of a card";
	if (c->refusal)
		return NULL;
	net.vhost = arg_bool(c, "vhost") ? VM_VHOST_ON : VM_VHOST_AUTO;
	net.fd = take_fd(c, is_dgram ? address_fd(c, "local") : arg_str(c, "fd"));
	if (net.fd < 0)
		return NULL;
	net.vhost_fd = arg_has(c, "vhostfd") ? take_fd(c, arg_str(c, "vhostfd")) : 0;
	if (net.vhost_fd >= 0)
		c->refusal = plug_add_net(c->ctl->vm, arg_str(c, "id"), &net);
	else
		close(net.fd);
	if (c->refusal || !is_dgram)
		return NULL;
	obj = json_object_new_object();
	json_object_object_add(obj, "x-index", json_object_new_int((int)net.index));
	return obj;
}

static struct json_object *do_netdev_del(struct client *c)
{
	c->refusal = plug_del_net(c->ctl->vm, arg_str(c, "id"));
	return NULL;
}

static struct json_object *do_device_add(struct client *c)
{
	const char *on = arg_str(c, arg_str(c, "netdev") ? "netdev" : "drive"), *serial = arg_str(c, "serial");
	const char *text = arg_str(c, "mac");
	uint8_t mac[6];

	if (!on)
		c->refusal = "A device stands on a drive or a netdev";
	else if (serial && strlen(serial) > 20)
		c->refusal = "A serial number has 20 characters at most";
	else if (text && !net_parse_mac(text, mac))
		c->refusal = "mac is no address of a card";
	else
		c->refusal = plug_add_device(c->ctl->vm, arg_str(c, "driver"), arg_str(c, "id"), on, serial, text ? mac : NULL);
	return NULL;
}

static struct json_object *do_device_del(struct client *c)
{
	c->refusal = plug_del_device(c->ctl->vm, arg_str(c, "id"));
	return NULL;
}

static void list_device(void *opaque, const char *id, const struct vm_disk *disk, const struct vm_net *net)
{
	struct json_object *dev = json_object_new_object();

	json_object_object_add(dev, "id", json_object_new_string(id));
	json_object_object_add(dev, "driver", json_object_new_string(disk ? "virtio-blk-pci" : "virtio-net-pci"));
	json_object_object_add(dev, "on", json_object_new_string(disk ? disk->path : net->ifname));
	if (net && net->ops == &net_dgram)
		json_object_object_add(dev, "x-index", json_object_new_int((int)net->index));
	json_object_array_add(opaque, dev);
}

static struct json_object *do_devices(struct client *c)
{
	struct json_object *list = json_object_new_array();

	plug_list(c->ctl->vm, list_device, list);
	return list;
}

static const char no_balloon[] = "The machine has no balloon; start it with --balloon";

static struct json_object *do_balloon(struct client *c)
{
	int64_t size = arg_int(c, "value", 0);

	if (size <= 0)
		c->refusal = "'value' is a size in bytes";
	else if (!balloon_set(c->ctl->vm, (uint64_t)size))
		c->refusal = no_balloon;
	return NULL;
}

static struct json_object *do_query_balloon(struct client *c)
{
	struct json_object *obj;
	uint64_t bytes;

	if (!balloon_get(c->ctl->vm, &bytes)) {
		c->refusal = no_balloon;
		return NULL;
	}
	obj = json_object_new_object();
	json_object_object_add(obj, "actual", json_object_new_int64((int64_t)bytes));
	return obj;
}

static struct json_object *do_stop(struct client *c)
{
	vm_pause(c->ctl->vm);
	return NULL;
}

static struct json_object *do_cont(struct client *c)
{
	vm_resume(c->ctl->vm);
	return NULL;
}

static struct json_object *do_powerdown(struct client *c)
{
	vm_powerdown(c->ctl->vm);
	ctl_event(c->ctl->vm, "POWERDOWN", NULL);
	return NULL;
}

static struct json_object *do_reset(struct client *c)
{
	vm_reset_request(c->ctl->vm);
	return NULL;
}

static struct json_object *do_quit(struct client *c)
{
	vm_end(c->ctl->vm, VM_END_SIGNAL + SIGTERM, "ended by its control socket");
	return NULL;
}

static struct json_object *do_nmi(struct client *c)
{
	struct vm *vm = c->ctl->vm;

	for (unsigned int i = 0; i < vm->config.cpus; i++)
		vm->config.accel->nmi(&vm->vcpu[i]);
	return NULL;
}

/* The back end's counters as text. */
static struct json_object *do_stats(struct client *c)
{
	struct vm *vm = c->ctl->vm;
	struct json_object *obj = json_object_new_object();
	char text[16384];
	ssize_t n = 0;
	int fd = memfd_create("stats", MFD_CLOEXEC);

	if (fd >= 0 && vm->config.accel->stats) {
		vm->config.accel->stats(vm, fd);
		n = pread(fd, text, sizeof(text), 0);
	}
	if (fd >= 0)
		close(fd);
	json_object_object_add(obj, "text", json_object_new_string_len(text, n > 0 ? (int)n : 0));
	return obj;
}

static struct json_object *do_console(struct client *c)
{
	(void)c;			/* takes effect behind the answer */
	return NULL;
}

static struct json_object *do_commands(struct client *c);

#define STR	json_type_string
#define INT	json_type_int
#define BOOL	json_type_boolean
#define OBJ	json_type_object

static const struct command {
	const char *name;
	struct json_object *(*fn)(struct client *c);
	struct arg {
		const char *name;
		enum json_type type;
		bool optional;
	} args[ARGS_MAX];
} commands[] = {
	{ "qmp_capabilities", do_capabilities, { { 0 } } },
	{ "query-version", do_version, { { 0 } } },
	{ "query-commands", do_commands, { { 0 } } },
	{ "query-status", do_status, { { 0 } } },
	{ "query-name", do_name, { { 0 } } },
	{ "query-cpus-fast", do_cpus, { { 0 } } },
	{ "query-block", do_block, { { 0 } } },
	{ "balloon", do_balloon, { { "value", INT, false } } },
	{ "query-balloon", do_query_balloon, { { 0 } } },
	{ "stop", do_stop, { { 0 } } },
	{ "cont", do_cont, { { 0 } } },
	{ "system_powerdown", do_powerdown, { { 0 } } },
	{ "system_reset", do_reset, { { 0 } } },
	{ "inject-nmi", do_nmi, { { 0 } } },
	{ "quit", do_quit, { { 0 } } },
	{ "getfd", do_getfd, { { "fdname", STR, false } } },
	{ "closefd", do_closefd, { { "fdname", STR, false } } },
	{ "blockdev-add", do_blockdev_add, {
		{ "node-name", STR, false }, { "driver", STR, false }, { "x-fd", STR, false }, { "filename", STR, false },
		{ "read-only", BOOL, true }, { "discard", STR, true }, { "x-cache", STR, true },
		{ "backing", STR, true } } },
	{ "blockdev-del", do_blockdev_del, { { "node-name", STR, false } } },
	{ "netdev_add", do_netdev_add, {
		{ "type", STR, false }, { "id", STR, false }, { "fd", STR, true }, { "local", OBJ, true },
		{ "ifname", STR, true }, { "x-mac", STR, true }, { "x-mtu", INT, true }, { "x-vnet-hdr", BOOL, true },
		{ "vhostfd", STR, true }, { "vhost", BOOL, true } } },
	{ "netdev_del", do_netdev_del, { { "id", STR, false } } },
	{ "device_add", do_device_add, {
		{ "driver", STR, false }, { "id", STR, false }, { "drive", STR, true }, { "netdev", STR, true },
		{ "serial", STR, true }, { "mac", STR, true } } },
	{ "device_del", do_device_del, { { "id", STR, false } } },
	{ "x-query-devices", do_devices, { { 0 } } },
	{ "x-stats", do_stats, { { 0 } } },
	{ "x-console", do_console, { { 0 } } },
};
#define NR_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

static struct json_object *do_commands(struct client *c)
{
	struct json_object *list = json_object_new_array();

	(void)c;
	for (unsigned int i = 0; i < NR_COMMANDS; i++) {
		struct json_object *obj = json_object_new_object();

		json_object_object_add(obj, "name", json_object_new_string(commands[i].name));
		json_object_array_add(list, obj);
	}
	return list;
}

static void answer(struct client *c, struct json_object *id, struct json_object *result)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "return", result ? result : json_object_new_object());
	if (id)
		json_object_object_add(obj, "id", json_object_get(id));
	ctl_send(c, obj);
}

static void refuse(struct client *c, struct json_object *id, const char *class, const char *desc)
{
	struct json_object *obj = json_object_new_object(), *err = json_object_new_object();

	json_object_object_add(err, "class", json_object_new_string(class));
	json_object_object_add(err, "desc", json_object_new_string(desc));
	json_object_object_add(obj, "error", err);
	if (id)
		json_object_object_add(obj, "id", json_object_get(id));
	ctl_send(c, obj);
}

void ctl_not_understood(struct client *c, struct json_object *id, const char *class, const char *desc)
{
	ctl_close_came(c);
	refuse(c, id, class, desc);
}

/* Exactly what the command takes: silently dropping an argument would be a lie. */
static bool read_args(const struct command *cmd, struct json_object *args)
{
	int seen = 0;

	/* Capabilities that a client asks for were not offered. */
	if (cmd->fn == do_capabilities || !args)
		return args ? json_object_is_type(args, json_type_object) : !cmd->args[0].name || cmd->args[0].optional;
	if (!json_object_is_type(args, json_type_object))
		return false;
	for (unsigned int i = 0; i < ARGS_MAX && cmd->args[i].name; i++) {
		struct json_object *val;

		if (!json_object_object_get_ex(args, cmd->args[i].name, &val)) {
			if (!cmd->args[i].optional)
				return false;
			continue;
		}
		if (!json_object_is_type(val, cmd->args[i].type) || (cmd->args[i].type == STR && !is_string(val)))
			return false;
		seen++;
	}
	return json_object_object_length(args) == seen;
}

/* "The command takes value (integer)" */
static void refuse_args(struct client *c, struct json_object *id, const struct command *cmd)
{
	char text[512] = "The command takes no arguments";
	size_t n = 0;

	for (unsigned int i = 0; i < ARGS_MAX && cmd->args[i].name && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s (%s%s)", i ? ", " : "The command takes ", cmd->args[i].name,
				      json_type_to_name(cmd->args[i].type), cmd->args[i].optional ? ", may be left out" : "");
	ctl_not_understood(c, id, "GenericError", text);
}

void ctl_execute(struct client *c, struct json_object *request)
{
	struct json_object *id = NULL, *exec = NULL, *args = NULL, *result;
	const char *name;

	if (!json_object_is_type(request, json_type_object)) {
		ctl_not_understood(c, NULL, "GenericError", "A request is a JSON object");
		return;
	}
	json_object_object_get_ex(request, "id", &id);
	if (!json_object_object_get_ex(request, "execute", &exec) || !json_object_is_type(exec, json_type_string)) {
		ctl_not_understood(c, id, "GenericError", "A request has a member 'execute', a string");
		return;
	}
	json_object_object_get_ex(request, "arguments", &args);
	name = json_object_get_string(exec);
	for (unsigned int i = 0; i < NR_COMMANDS; i++) {
		if (strcmp(commands[i].name, name))
			continue;
		if (c->negotiated == (commands[i].fn == do_capabilities)) {
			ctl_not_understood(c, id, "CommandNotFound", c->negotiated ?
				       "Capabilities negotiation is already complete, command ignored" :
				       "Expecting capabilities negotiation with 'qmp_capabilities'");
			return;
		}
		if (!read_args(&commands[i], args)) {
			refuse_args(c, id, &commands[i]);
			return;
		}
		c->refusal = NULL;
		c->args = args;
		result = commands[i].fn(c);
		c->args = NULL;
		if (c->refusal) {
			refuse(c, id, "GenericError", c->refusal);
			return;
		}
		answer(c, id, result);
		c->console = commands[i].fn == do_console;
		return;
	}
	ctl_not_understood(c, id, "CommandNotFound", "There is no such command here; query-commands lists them");
}
