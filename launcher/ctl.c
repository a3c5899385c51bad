// SPDX-License-Identifier: GPL-2.0-only
/*
 * ctl.c - the control socket of a named machine
 *
 * JSON lines with the greeting, the handshake and the command names of QEMU's "QEMU Machine Protocol
 * Specification". Everything runs on the main thread with the device lock held and never waits: a client that does
 * not read its answers is cut off. A connection that asked for the console ("x-console") is raw from then on.
 *
 * The socket lies in a directory that only its user can enter. Whoever holds the lock of NAME.lock owns the name;
 * the kernel gives the lock back when a process dies, so what a crash leaves behind is recognized and replaced.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl.h"
#include "msg.h"
#include "net/net.h"
#include "plug.h"
#include "ui/term.h"
#include "virtio/virtio.h"
#include "vm.h"

#define MAX_CLIENTS	8u
#define LINE_MAX_LEN	65536u
#define OUT_MAX		(1u << 20)
#define JSON_DEPTH	16
#define FDS_MAX		8u		/* of a client, with names and without */
#define ARGS_MAX	8u
#define VCPU_QOM_PATH	"/machine/cpu"

struct client {
	struct ctl *ctl;
	struct watch watch;		/* fd -1: free */
	bool negotiated, console, closing;
	struct json_object *args;	/* of the command at work */
	const char *refusal;		/* by it: why not */
	char *in, *out;
	size_t in_len, out_len;
	unsigned int nr_came;		/* descriptors that have come and wait for their getfd */
	int came[FDS_MAX];
	struct {
		char name[CTL_NAME_MAX + 1];	/* "": free */
		int fd;
	} named[FDS_MAX];
};

struct ctl {
	struct vm *vm;
	char path[CTL_PATH_MAX], lock_path[CTL_PATH_MAX];
	int lock_fd;
	struct watch listen;
	struct client client[MAX_CLIENTS];
};

/* Names and places */

bool ctl_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > CTL_NAME_MAX || !isalnum((unsigned char)*name))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}

int ctl_dir(char dir[CTL_PATH_MAX], bool create)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	struct stat st;
	int n, err;

	if (run && *run == '/')
		n = snprintf(dir, CTL_PATH_MAX, "%s/tenon", run);
	else
		n = snprintf(dir, CTL_PATH_MAX, "/tmp/tenon-%u", (unsigned int)getuid());
	if (n < 0 || (size_t)n + CTL_NAME_MAX + 8 > CTL_PATH_MAX) {
		msg_error("use '%s' for control sockets: the path is too long for a socket. Set XDG_RUNTIME_DIR to a "
			  "shorter one", dir);
		return -ENAMETOOLONG;
	}
	if (create && mkdir(dir, 0700) < 0 && errno != EEXIST) {
		err = -errno;
		msg_error("make the directory '%s' for the control socket: %s. Set XDG_RUNTIME_DIR to a directory of yours",
			  dir, strerror(-err));
		return err;
	}
	if (lstat(dir, &st) < 0)
		return -errno;		/* nothing was ever started: no message */
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
		msg_error("use '%s' for control sockets: others could get at it. It has to be a directory of yours with mode "
			  "0700; remove it, or set XDG_RUNTIME_DIR", dir);
		return -EPERM;
	}
	return 0;
}

int ctl_path(char path[CTL_PATH_MAX], const char *name, const char *suffix, bool create)
{
	int err = ctl_dir(path, create);
	size_t len = strlen(path);

	if (!err)
		snprintf(path + len, CTL_PATH_MAX - len, "/%s%s", name, suffix);
	return err;
}

/* Output */

static void close_came(struct client *c)
{
	while (c->nr_came)
		close(c->came[--c->nr_came]);
}

static void client_close(struct client *c)
{
	if (c->watch.fd < 0)
		return;
	watch_del(&c->ctl->vm->loop, &c->watch);
	close(c->watch.fd);
	close_came(c);
	for (unsigned int i = 0; i < FDS_MAX; i++)
		if (c->named[i].name[0])
			close(c->named[i].fd);
	free(c->in);
	free(c->out);
	*c = (struct client){ .ctl = c->ctl, .watch.fd = -1 };
}

static void client_flush(struct client *c)
{
	if (c->closing || c->watch.fd < 0)
		return;
	while (c->out_len) {
		ssize_t n = send(c->watch.fd, c->out, c->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			c->closing = true;
			return;
		}
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
	watch_mod(&c->ctl->vm->loop, &c->watch, EPOLLIN | (c->out_len ? EPOLLOUT : 0));
}

static void client_queue(struct client *c, const char *data, size_t len)
{
	char *out;

	if (c->closing || c->watch.fd < 0)
		return;
	out = len <= OUT_MAX - c->out_len ? realloc(c->out, c->out_len + len) : NULL;
	if (!out) {
		c->closing = true;	/* it does not read */
		return;
	}
	memcpy(out + c->out_len, data, len);
	c->out = out;
	c->out_len += len;
}

static void client_send(struct client *c, const char *data, size_t len)
{
	client_queue(c, data, len);
	client_flush(c);
}

/* Takes the reference. A line goes out whole: a client may read it by one call. */
static void client_json(struct client *c, struct json_object *obj)
{
	const char *s = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	client_queue(c, s, strlen(s));
	client_send(c, "\r\n", 2);
	json_object_put(obj);
}

static struct json_object *version_info(void)
{
	/* The version of the protocol that is spoken, which clients go by; the package is what speaks it. */
	return json_tokener_parse("{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":0},\"package\":\"tenon " TENON_VERSION "\"}");
}

void ctl_event(struct vm *vm, const char *name, const char *data)
{
	struct timeval now;

	if (!vm->ctl)
		return;
	gettimeofday(&now, NULL);
	for (unsigned int i = 0; i < MAX_CLIENTS; i++) {
		struct client *c = &vm->ctl->client[i];
		struct json_object *event, *stamp;

		if (c->watch.fd < 0 || !c->negotiated || c->console)
			continue;
		event = json_object_new_object();
		stamp = json_object_new_object();
		json_object_object_add(stamp, "seconds", json_object_new_int64(now.tv_sec));
		json_object_object_add(stamp, "microseconds", json_object_new_int64(now.tv_usec));
		json_object_object_add(event, "timestamp", stamp);
		json_object_object_add(event, "event", json_object_new_string(name));
		if (data)
			json_object_object_add(event, "data", json_tokener_parse(data));
		client_json(c, event);
	}
}

void ctl_event_number(struct vm *vm, const char *name, const char *key, uint64_t val)
{
	char data[64];

	snprintf(data, sizeof(data), "{\"%s\":%llu}", key, (unsigned long long)val);
	ctl_event(vm, name, data);
}

void ctl_console(struct vm *vm, uint8_t byte)
{
	if (!vm->ctl)
		return;
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		if (vm->ctl->client[i].watch.fd >= 0 && vm->ctl->client[i].console)
			client_send(&vm->ctl->client[i], (const char *)&byte, 1);
}

/* Arguments of the command at work, which have the type that commands[] says */

static const char *arg_str(const struct client *c, const char *name)
{
	struct json_object *val;

	return json_object_object_get_ex(c->args, name, &val) ? json_object_get_string(val) : NULL;
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
	return version_info();
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

/* The descriptor that the argument @arg names: the caller's from now on. -1: there is none, which has been said. */
static int take_fd(struct client *c, const char *arg)
{
	const char *name = arg_str(c, arg);

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
	int fd = take_fd(c, "fdname");

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
	disk.fd = take_fd(c, "x-fd");
	if (disk.fd >= 0)
		c->refusal = plug_add_disk(c->ctl->vm, arg_str(c, "node-name"), &disk, arg_str(c, "backing"));
	return NULL;
}

static struct json_object *do_blockdev_del(struct client *c)
{
	c->refusal = plug_del_disk(c->ctl->vm, arg_str(c, "node-name"));
	return NULL;
}

static struct json_object *do_netdev_add(struct client *c)
{
	struct vm_net net = { .ops = &net_tap, .ifname = arg_str(c, "ifname") };
	int64_t mtu = arg_int(c, "x-mtu", 1500);

	net.mtu = (unsigned int)mtu;
	if (strcmp(arg_str(c, "type"), "tap"))
		c->refusal = "The type is tap";
	else if (mtu < NET_MTU_MIN || mtu > NET_MTU_MAX)
		c->refusal = "x-mtu is out of range";
	else if (!net_parse_mac(arg_str(c, "x-mac"), net.mac))
		c->refusal = "x-mac is no address of a card";
	if (c->refusal)
		return NULL;
	net.fd = take_fd(c, "fd");
	if (net.fd >= 0)
		c->refusal = plug_add_net(c->ctl->vm, arg_str(c, "id"), &net);
	return NULL;
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
		{ "type", STR, false }, { "id", STR, false }, { "fd", STR, false }, { "ifname", STR, false },
		{ "x-mac", STR, false }, { "x-mtu", INT, true } } },
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
	client_json(c, obj);
}

static void refuse(struct client *c, struct json_object *id, const char *class, const char *desc)
{
	struct json_object *obj = json_object_new_object(), *err = json_object_new_object();

	json_object_object_add(err, "class", json_object_new_string(class));
	json_object_object_add(err, "desc", json_object_new_string(desc));
	json_object_object_add(obj, "error", err);
	if (id)
		json_object_object_add(obj, "id", json_object_get(id));
	client_json(c, obj);
}

/* Was it to take a descriptor? Those that came go, or the next request would take the wrong one. */
static void not_understood(struct client *c, struct json_object *id, const char *class, const char *desc)
{
	close_came(c);
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
		/* A string with a NUL in it would be another one here. */
		if (!json_object_is_type(val, cmd->args[i].type) ||
		    (cmd->args[i].type == STR && strlen(json_object_get_string(val)) != (size_t)json_object_get_string_len(val)))
			return false;
		seen++;
	}
	return json_object_object_length(args) == seen;
}

/* "The command takes value (integer)" */
static void refuse_args(struct client *c, struct json_object *id, const struct command *cmd)
{
	char text[256] = "The command takes no arguments";
	size_t n = 0;

	for (unsigned int i = 0; i < ARGS_MAX && cmd->args[i].name && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s (%s%s)", i ? ", " : "The command takes ", cmd->args[i].name,
				      json_type_to_name(cmd->args[i].type), cmd->args[i].optional ? ", may be left out" : "");
	not_understood(c, id, "GenericError", text);
}

static void execute(struct client *c, struct json_object *request)
{
	struct json_object *id = NULL, *exec = NULL, *args = NULL, *result;
	const char *name;

	if (!json_object_is_type(request, json_type_object)) {
		not_understood(c, NULL, "GenericError", "A request is a JSON object");
		return;
	}
	json_object_object_get_ex(request, "id", &id);
	if (!json_object_object_get_ex(request, "execute", &exec) || !json_object_is_type(exec, json_type_string)) {
		not_understood(c, id, "GenericError", "A request has a member 'execute', a string");
		return;
	}
	json_object_object_get_ex(request, "arguments", &args);
	name = json_object_get_string(exec);
	for (unsigned int i = 0; i < NR_COMMANDS; i++) {
		if (strcmp(commands[i].name, name))
			continue;
		if (c->negotiated == (commands[i].fn == do_capabilities)) {
			not_understood(c, id, "CommandNotFound", c->negotiated ?
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
	not_understood(c, id, "CommandNotFound", "There is no such command here; query-commands lists them");
}

/* Input */

static void client_line(struct client *c, const char *line, size_t len)
{
	struct json_tokener *tok = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *request;

	if (!tok) {
		c->closing = true;
		return;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	request = json_tokener_parse_ex(tok, line, (int)len);
	if (!request || json_tokener_get_error(tok) != json_tokener_success)
		not_understood(c, NULL, "GenericError", "JSON parse error: a request is one object a line");
	else
		execute(c, request);
	json_object_put(request);
	json_tokener_free(tok);
}

static void client_lines(struct client *c)
{
	char *nl;

	while (!c->closing && !c->console && (nl = memchr(c->in, '\n', c->in_len)) != NULL) {
		size_t len = (size_t)(nl - c->in), skip = len + 1;

		if (len && c->in[len - 1] == '\r')
			len--;
		if (len)
			client_line(c, c->in, len);
		c->in_len -= skip;
		memmove(c->in, c->in + skip, c->in_len);
	}
	if (c->console && c->in_len) {
		term_type((const uint8_t *)c->in, c->in_len);
		c->in_len = 0;
	}
	/* The message has been read whole: no getfd of it wanted these. */
	if (!c->in_len)
		close_came(c);
	if (c->in_len == LINE_MAX_LEN)
		c->closing = true;
}

/* Bytes, and descriptors that come with them. */
static ssize_t client_recv(struct client *c)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { c->in + c->in_len, LINE_MAX_LEN - c->in_len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(c->watch.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	for (struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&msg); h; h = CMSG_NXTHDR(&msg, h)) {
		unsigned int nr = h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS ?
				  (unsigned int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;

		for (unsigned int i = 0; i < nr; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
			if (c->nr_came < FDS_MAX)
				c->came[c->nr_came++] = fd;
			else
				close(fd);
		}
	}
	return n;
}

static void client_event(void *opaque, uint32_t events)
{
	struct client *c = opaque;

	if (events & EPOLLOUT)
		client_flush(c);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = client_recv(c);

		if (n > 0) {
			c->in_len += (size_t)n;
			client_lines(c);
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			c->closing = true;
		}
	}
	if (c->closing)
		client_close(c);
}

static void accept_client(void *opaque, uint32_t events)
{
	struct ctl *ctl = opaque;
	struct json_object *greeting, *qmp;
	struct client *c = NULL;
	int fd = accept4(ctl->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	for (unsigned int i = 0; i < MAX_CLIENTS && !c; i++) {
		/* One that was cut off while something was sent to it. */
		if (ctl->client[i].closing)
			client_close(&ctl->client[i]);
		if (ctl->client[i].watch.fd < 0)
			c = &ctl->client[i];
	}
	if (!c) {
		close(fd);
		return;
	}
	c->watch = (struct watch){ .fd = fd, .fn = client_event, .opaque = c };
	c->in = malloc(LINE_MAX_LEN);
	if (!c->in || watch_add(&ctl->vm->loop, &c->watch, EPOLLIN)) {
		client_close(c);
		return;
	}
	greeting = json_object_new_object();
	qmp = json_object_new_object();
	json_object_object_add(qmp, "version", version_info());
	json_object_object_add(qmp, "capabilities", json_object_new_array());
	json_object_object_add(greeting, "QMP", qmp);
	client_json(c, greeting);
}

/* Life */

/* The lock of the name; what another process unlinked meanwhile is no lock. */
static int take_name(struct ctl *ctl, const char *name)
{
	struct stat a, b;

	for (unsigned int tries = 0; tries < 16; tries++) {
		ctl->lock_fd = open(ctl->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (ctl->lock_fd < 0) {
			msg_error("--name %s: open '%s': %s", name, ctl->lock_path, strerror(errno));
			return -EIO;
		}
		if (flock(ctl->lock_fd, LOCK_EX | LOCK_NB) < 0) {
			close(ctl->lock_fd);
			ctl->lock_fd = -1;
			msg_error("--name %s: a machine of that name runs already. `tenon ls` lists them; choose another name, or "
				  "end it: tenon stop %s", name, name);
			return -EEXIST;
		}
		if (!fstat(ctl->lock_fd, &a) && !stat(ctl->lock_path, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
			return 0;
		close(ctl->lock_fd);
	}
	ctl->lock_fd = -1;
	return -EAGAIN;
}

static int listen_at(struct ctl *ctl)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", ctl->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(ctl->path);
	ctl->listen = (struct watch){ .fd = fd, .fn = accept_client, .opaque = ctl };
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(ctl->path, 0600) < 0 || listen(fd, (int)(2 * MAX_CLIENTS)) < 0)
		return -errno;
	return watch_add(&ctl->vm->loop, &ctl->listen, EPOLLIN);
}

int ctl_init(struct vm *vm)
{
	const char *name = vm->config.name;
	struct ctl *ctl;
	int err;

	if (!name)
		return 0;
	ctl = calloc(1, sizeof(*ctl));
	if (!ctl)
		return -ENOMEM;
	ctl->vm = vm;
	ctl->lock_fd = ctl->listen.fd = -1;
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		ctl->client[i] = (struct client){ .ctl = ctl, .watch.fd = -1 };
	vm->ctl = ctl;
	err = ctl_path(ctl->path, name, ".sock", true);
	if (!err)
		err = ctl_path(ctl->lock_path, name, ".lock", true);
	if (!err)
		err = take_name(ctl, name);
	if (!err) {
		err = listen_at(ctl);
		if (err)
			msg_error("--name %s: listen at '%s': %s", name, ctl->path, strerror(-err));
	}
	if (err)
		ctl_exit(vm);
	else
		json_object_put(version_info());	/* json-c makes its keys of hash tables at the first object */
	return err;
}

void ctl_exit(struct vm *vm)
{
	struct ctl *ctl = vm->ctl;

	if (!ctl)
		return;
	vm->ctl = NULL;
	for (unsigned int i = 0; i < MAX_CLIENTS; i++)
		client_close(&ctl->client[i]);
	if (ctl->listen.fd >= 0) {
		watch_del(&vm->loop, &ctl->listen);
		close(ctl->listen.fd);
	}
	if (ctl->lock_fd >= 0) {
		unlink(ctl->path);
		unlink(ctl->lock_path);
		close(ctl->lock_fd);
	}
	free(ctl);
}
