// SPDX-License-Identifier: GPL-2.0-only
/*
 * cmd-ctl.c - tenon ls, stop, kill, pause, resume, stats, memory, device, console: what named machines do and shall do
 *
 * Clients of the control socket (ctl.c); what they know of a machine comes through it.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "block/block.h"
#include "cmd.h"
#include "ctl.h"
#include "loop.h"
#include "msg.h"
#include "net/net.h"
#include "virtio/vhost-net.h"

#define ANSWER_MS	5000
#define STOP_SECONDS	60u
#define LINE_LEN	65536u
#define DETACH		0x1d		/* Ctrl-] */

struct conn {
	const char *name;
	int fd;
	size_t len;
	char buf[LINE_LEN];
};

/* 0, -ENOENT if no machine listens there, other -errno; silent. */
static int conn_open(struct conn *c, const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int err;

	c->len = 0;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (!connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	err = -errno;
	close(c->fd);
	return err == -ECONNREFUSED ? -ENOENT : err;
}

/*
 * The next message; the caller's reference. NULL: none until clock_ns() is @until, or (*gone) the machine has ended.
 */
static struct json_object *conn_read(struct conn *c, uint64_t until, bool *gone)
{
	*gone = false;
	for (;;) {
		char *nl = memchr(c->buf, '\n', c->len);
		struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
		uint64_t now = clock_ns();
		ssize_t n;

		if (nl) {
			struct json_object *obj;
			size_t used = (size_t)(nl - c->buf) + 1;

			*nl = '\0';
			obj = json_tokener_parse(c->buf);
			c->len -= used;
			memmove(c->buf, c->buf + used, c->len);
			if (obj)
				return obj;
			continue;
		}
		if (c->len == sizeof(c->buf) || now >= until)
			return NULL;
		if (poll(&pfd, 1, (int)((until - now) / 1000000u) + 1) <= 0)
			continue;
		n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
		if (n <= 0) {
			*gone = true;
			return NULL;
		}
		c->len += (size_t)n;
	}
}

/* A line, with a descriptor unless that is negative. */
static bool conn_send(struct conn *c, const char *line, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (char *)(uintptr_t)line, strlen(line) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *h;

		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	}
	return sendmsg(c->fd, &msg, MSG_NOSIGNAL) == (ssize_t)iov.iov_len;
}

/*
 * Send a command, with a descriptor unless that is negative; what it returned, or NULL with a message printed unless
 * @quiet. Takes the reference of @args, which may be NULL.
 */
static struct json_object *conn_call_with(struct conn *c, const char *command, struct json_object *args, int fd, bool quiet)
{
	uint64_t until = clock_ns() + ANSWER_MS * 1000000ull;
	struct json_object *request = json_object_new_object(), *obj, *val;
	bool gone = false, sent;
	char *line = NULL;

	json_object_object_add(request, "execute", json_object_new_string(command));
	json_object_object_add(request, "arguments", args ? args : json_object_new_object());
	sent = asprintf(&line, "%s\n", json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN)) > 0 &&
	       conn_send(c, line, fd);
	free(line);
	json_object_put(request);
	if (sent) {
		while ((obj = conn_read(c, until, &gone)) != NULL) {
			if (json_object_object_get_ex(obj, "return", &val)) {
				json_object_get(val);
				json_object_put(obj);
				return val;
			}
			if (json_object_object_get_ex(obj, "error", &val)) {
				struct json_object *desc = NULL;

				json_object_object_get_ex(val, "desc", &desc);
				if (!quiet)
					msg_error("machine '%s' refused %s: %s", c->name, command,
						  json_object_get_string(desc));
				json_object_put(obj);
				return NULL;
			}
			json_object_put(obj);
		}
	} else {
		gone = true;
	}
	if (!quiet)
		msg_error(gone ? "ask machine '%s' for %s: it has just ended" :
			  "ask machine '%s' for %s: no answer in 5 seconds. `tenon kill` ends it, or kill its process",
			  c->name, command);
	return NULL;
}

static struct json_object *conn_call(struct conn *c, const char *command, bool quiet)
{
	return conn_call_with(c, command, NULL, -1, quiet);
}

/* Connect by name and shake hands. */
static int conn_machine(struct conn *c, const char *name)
{
	char path[CTL_PATH_MAX];
	struct json_object *ret;
	int err;

	c->name = name;
	if (!ctl_name_ok(name)) {
		msg_error("'%s' is no name of a machine: letters, digits, '.', '_' and '-' make one, %u at most", name,
			  CTL_NAME_MAX);
		return -EINVAL;
	}
	err = ctl_path(path, name, ".sock", false);
	if (!err)
		err = conn_open(c, path);
	if (err == -ENOENT)
		msg_error("there is no machine '%s'. `tenon ls` lists those that run; a name is given with tenon run --name",
			  name);
	else if (err && err != -EPERM)
		msg_error("connect to machine '%s' at '%s': %s", name, path, strerror(-err));
	if (err)
		return err;
	ret = conn_call(c, "qmp_capabilities", false);
	if (!ret) {
		close(c->fd);
		return -EIO;
	}
	json_object_put(ret);
	return 0;
}

/* Options: --help, and --timeout for those that have it. -1: go on with *name; otherwise the exit status. */
static int read_args(int argc, char **argv, const char *usage, const char **name, uint64_t *timeout)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "timeout", required_argument, NULL, 't' },
		{ 0 }
	};
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":ht:", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage, stdout);
			return EXIT_OK;
		}
		if (opt == 't' && timeout) {
			if (!parse_uint(optarg, 0, 86400, timeout))
				continue;
			msg_error("--timeout: '%s' is no number of seconds from 0 to 86400", optarg);
			return EXIT_USAGE;
		}
		msg_error("tenon %s: '%s' is not possible here. See tenon %s --help", argv[0], argv[optind - 1], argv[0]);
		return EXIT_USAGE;
	}
	if (!name) {
		if (optind == argc)
			return -1;
		msg_error("tenon %s takes no arguments, and was given '%s'", argv[0], argv[optind]);
		return EXIT_USAGE;
	}
	if (optind + 1 != argc) {
		msg_error("tenon %s: give the name of one machine; tenon ls lists them", argv[0]);
		return EXIT_USAGE;
	}
	*name = argv[optind];
	return -1;
}

/* A command that is a single call. */
static int simple(int argc, char **argv, const char *usage, const char *call)
{
	struct json_object *ret;
	const char *name;
	struct conn c;
	int status = read_args(argc, argv, usage, &name, NULL);

	if (status >= 0)
		return status;
	if (conn_machine(&c, name))
		return EXIT_FAILED;
	ret = conn_call(&c, call, false);
	close(c.fd);
	if (!ret)
		return EXIT_FAILED;
	json_object_put(ret);
	return EXIT_OK;
}

int cmd_pause(int argc, char **argv)
{
	return simple(argc, argv, "Usage: tenon pause NAME\n\nStops the processors of a machine; `tenon resume` lets them go on.\n"
		      "Its clocks stand meanwhile, but for that of the date.\n", "stop");
}

int cmd_resume(int argc, char **argv)
{
	return simple(argc, argv, "Usage: tenon resume NAME\n\nLets a machine that `tenon pause` stopped go on.\n", "cont");
}

/* Wait until the connection ends. */
static bool wait_gone(struct conn *c, uint64_t until)
{
	struct json_object *obj;
	bool gone;

	while ((obj = conn_read(c, until, &gone)) != NULL)
		json_object_put(obj);
	return gone;
}

static int end_machine(int argc, char **argv, const char *usage, const char *call, uint64_t seconds, bool option)
{
	struct json_object *ret;
	const char *name;
	struct conn c;
	bool gone;
	int status = read_args(argc, argv, usage, &name, option ? &seconds : NULL);

	if (status >= 0)
		return status;
	if (conn_machine(&c, name))
		return EXIT_FAILED;
	ret = conn_call(&c, call, false);
	if (!ret) {
		close(c.fd);
		return EXIT_FAILED;
	}
	json_object_put(ret);
	gone = wait_gone(&c, clock_ns() + seconds * 1000000000ull);
	close(c.fd);
	if (gone)
		return EXIT_OK;
	msg_error("%s machine '%s': it still runs after %llu seconds. %s", argv[0], name, (unsigned long long)seconds,
		  option ? "Its system may not listen to the power button; tenon kill ends it at once" :
			   "Kill its process");
	return EXIT_FAILED;
}

int cmd_stop(int argc, char **argv)
{
	return end_machine(argc, argv, "Usage: tenon stop [--timeout SECONDS] NAME\n\n"
			   "Presses the power button of a machine and waits until it has ended, 60 seconds at most.\n",
			   "system_powerdown", STOP_SECONDS, true);
}

int cmd_kill(int argc, char **argv)
{
	return end_machine(argc, argv, "Usage: tenon kill NAME\n\nEnds a machine at once, as pulling the plug would.\n", "quit",
			   STOP_SECONDS, false);
}

int cmd_stats(int argc, char **argv)
{
	struct json_object *ret, *text = NULL;
	const char *name;
	struct conn c;
	int status = read_args(argc, argv, "Usage: tenon stats NAME\n\nPrints the counters of a machine, as tenon run --stats "
			       "does at its end.\n", &name, NULL);

	if (status >= 0)
		return status;
	if (conn_machine(&c, name))
		return EXIT_FAILED;
	ret = conn_call(&c, "x-stats", false);
	close(c.fd);
	if (!ret)
		return EXIT_FAILED;
	json_object_object_get_ex(ret, "text", &text);
	fputs(json_object_get_string(text), stdout);
	json_object_put(ret);
	return EXIT_OK;
}

int cmd_memory(int argc, char **argv)
{
	static const char usage[] =
		"Usage: tenon memory NAME [SIZE]\n\n"
		"Tells how much memory a machine has, or lets it have SIZE of what it was started with, as in 512M: its system\n"
		"gives up the rest as it can. The machine needs tenon run --balloon.\n";
	struct json_object *ret, *actual = NULL, *args = NULL;
	uint64_t size = 0;
	const char *name;
	struct conn c;
	int status;

	if (argc == 3 && argv[1][0] != '-') {
		if (parse_size(argv[2], &size) || !size || size > INT64_MAX) {
			msg_error("tenon memory: '%s' is not a size. Give a number and a unit, as in 512M or 2G", argv[2]);
			return EXIT_USAGE;
		}
		argc--;
	}
	status = read_args(argc, argv, usage, &name, NULL);
	if (status >= 0)
		return status;
	if (conn_machine(&c, name))
		return EXIT_FAILED;
	if (size) {
		args = json_object_new_object();
		json_object_object_add(args, "value", json_object_new_int64((int64_t)size));
	}
	ret = conn_call_with(&c, size ? "balloon" : "query-balloon", args, -1, false);
	close(c.fd);
	if (!ret)
		return EXIT_FAILED;
	if (json_object_object_get_ex(ret, "actual", &actual))
		printf("%llu MiB\n", (unsigned long long)json_object_get_int64(actual) >> 20);
	json_object_put(ret);
	return EXIT_OK;
}

/* tenon device */

static const char device_usage[] =
	"Usage: tenon device add NAME ID --disk FILE[,OPT]\n"
	"       tenon device add NAME ID --net user[,hostfwd=...][,mtu=N][,mac=MAC]\n"
	"       tenon device add NAME ID --net tap[,ifname=IF][,bridge=BR][,mac=MAC]\n"
	"       tenon device remove [--timeout SECONDS] NAME ID\n"
	"       tenon device ls NAME\n\n"
	"Adds a disk or a network card to a machine that runs, takes it away again, or lists what was added. ID is a name of\n"
	"your choice; a disk has it as serial number, too. Options are those of tenon run, but for snapshot and\n"
	"transitional. A card on the user network has a network of its own, 10.0.6.0/24 for the first one, and a process of\n"
	"its own on the host, until it is removed or the machine ends. The guest's system has to let go of a device (PCI\n"
	"hot-plug by ACPI), for which remove waits, 60 seconds at most.\n";

#define NODE_NAME_MAX	(CTL_NAME_MAX + 16)
#define USER_NET	"user"		/* what a card on a user network is on */

static struct json_object *pair(struct json_object *obj, const char *key, const char *val)
{
	json_object_object_add(obj, key, json_object_new_string(val));
	return obj;
}

/* A call of which only the success matters. Takes the reference of @args. */
static bool call_ok(struct conn *c, const char *command, struct json_object *args, int fd)
{
	struct json_object *ret = conn_call_with(c, command, args, fd, false);

	json_object_put(ret);
	return ret;
}

/* Hand a descriptor over, under the name of the device to be. */
static bool give_fd(struct conn *c, const char *id, int fd)
{
	return call_ok(c, "getfd", pair(json_object_new_object(), "fdname", id), fd);
}

/* The names of an image and of the files below it: ID, ID.1, ID.2... */
static void node_name(char name[NODE_NAME_MAX], const char *id, unsigned int below)
{
	snprintf(name, NODE_NAME_MAX, below ? "%s.%u" : "%s", id, below);
}

/* Give the machine one file of a chain, of which it has those below already. */
static bool add_node(struct conn *c, const char *id, unsigned int below, const struct block *blk, const struct vm_disk *disk)
{
	struct json_object *node = json_object_new_object();
	char name[NODE_NAME_MAX], backing[NODE_NAME_MAX];
	char *path = realpath(blk->path, NULL);

	node_name(name, id, below);
	node_name(backing, id, below + 1);
	pair(node, "node-name", name);
	pair(node, "driver", blk->drv->name);
	pair(node, "x-fd", name);
	pair(node, "filename", path ? path : blk->path);
	pair(node, "discard", disk->no_discard ? "ignore" : "unmap");
	pair(node, "x-cache", block_cache_names[disk->cache]);
	json_object_object_add(node, "read-only", json_object_new_boolean(below || disk->readonly));
	if (blk->backing)
		pair(node, "backing", backing);
	free(path);
	if (give_fd(c, name, file_fd(blk->file)))
		return call_ok(c, "blockdev-add", node, -1);
	json_object_put(node);
	return false;
}

static bool delete_node(struct conn *c, const char *name, bool is_net, bool quiet)
{
	struct json_object *ret = conn_call_with(c, is_net ? "netdev_del" : "blockdev-del",
						 pair(json_object_new_object(), is_net ? "id" : "node-name", name), -1, quiet);

	json_object_put(ret);
	return ret;
}

/* What a device stood on. */
static bool delete_nodes(struct conn *c, const char *id, bool is_net, bool quiet)
{
	char name[NODE_NAME_MAX];
	bool ok = delete_node(c, id, is_net, quiet);

	/* Those below, as far as there are any: each once the one above it is gone. */
	for (unsigned int i = 1; !is_net && i < BLOCK_CHAIN_MAX; i++) {
		node_name(name, id, i);
		if (!delete_node(c, name, false, true))
			break;
	}
	return ok;
}

static int add_disk(struct conn *c, const char *id, const struct vm_disk *disk)
{
	const struct block_options opts = {
		.format = disk->format, .readonly = disk->readonly, .discard = !disk->no_discard, .cache = disk->cache,
		.backing = disk->backing,
	};
	const struct block *chain[BLOCK_CHAIN_MAX];
	unsigned int nr = 0;
	struct json_object *dev;
	struct block blk;
	bool ok = true;

	/* A file is locked for as long as anybody has its descriptor. */
	if (block_open(&blk, disk->path, &opts))
		return EXIT_FAILED;
	for (const struct block *b = &blk; b && nr < BLOCK_CHAIN_MAX; b = b->backing)
		chain[nr++] = b;
	while (ok && nr--)
		ok = add_node(c, id, nr, chain[nr], disk);
	if (block_close(&blk))
		ok = false;
	dev = pair(pair(pair(json_object_new_object(), "driver", "virtio-blk-pci"), "id", id), "drive", id);
	if (disk->serial)
		pair(dev, "serial", disk->serial);
	if (!ok)
		json_object_put(dev);
	if (ok && call_ok(c, "device_add", dev, -1))
		return EXIT_OK;
	delete_nodes(c, id, false, true);
	return EXIT_FAILED;
}

/* The device on a netdev that the machine has; without it, that goes, too. */
static int plug_net(struct conn *c, const char *id)
{
	if (call_ok(c, "device_add", pair(pair(pair(json_object_new_object(), "driver", "virtio-net-pci"), "id", id), "netdev", id),
		    -1))
		return EXIT_OK;
	call_ok(c, "netdev_del", pair(json_object_new_object(), "id", id), -1);
	return EXIT_FAILED;
}

/* What netdev_add is to be told of any card. */
static struct json_object *netdev(const char *type, const char *id, unsigned int mtu, const uint8_t mac[6])
{
	struct json_object *node = pair(pair(json_object_new_object(), "type", type), "id", id);
	char text[18];

	json_object_object_add(node, "x-mtu", json_object_new_int((int)mtu));
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	if (memcmp(mac, "\0\0\0\0\0", 6))
		pair(node, "x-mac", text);
	return node;
}

static int add_tap(struct conn *c, const char *id, const struct vm_net *config)
{
	struct json_object *node;
	struct net net = { .ops = config->ops };
	const char *ifname;
	int fd, vhost_fd = -1;

	if (config->ops->open(&net, config, 0))
		return EXIT_FAILED;
	if (memcmp(config->mac, "\0\0\0\0\0", 6))
		memcpy(net.mac, config->mac, 6);
	fd = tap_fd(&net, &ifname);
	/* The machine has given up the right to open it. Whether it is of use there, it knows. */
	if (config->vhost != VM_VHOST_OFF)
		vhost_fd = open(VHOST_NET_PATH, O_RDWR | O_CLOEXEC);
	if (vhost_fd < 0 && config->vhost == VM_VHOST_ON) {
		msg_error("tenon device add --net tap,vhost=on: %s: %s", VHOST_NET_PATH, strerror(errno));
		config->ops->close(&net);
		return EXIT_FAILED;
	}
	node = pair(pair(netdev("tap", id, net.mtu, net.mac), "fd", "tap"), "ifname", ifname);
	if (config->vhost == VM_VHOST_ON)
		json_object_object_add(node, "vhost", json_object_new_boolean(true));
	if (vhost_fd >= 0)
		pair(node, "vhostfd", "vhost");
	if (!give_fd(c, "tap", fd) || (vhost_fd >= 0 && !give_fd(c, "vhost", vhost_fd))) {
		json_object_put(node);
		node = NULL;
	}
	config->ops->close(&net);
	if (vhost_fd >= 0)
		close(vhost_fd);
	return node && call_ok(c, "netdev_add", node, -1) ? plug_net(c, id) : EXIT_FAILED;
}

/* A machine that runs has given up the right to connect to other hosts: another process does, which outlives this one. */
static int add_user_net(struct conn *c, const char *id, const struct vm_net *config)
{
	/* More than the system allows is cut. */
	const int room = 1 << 20;
	struct json_object *node = netdev("dgram", id, config->mtu ? config->mtu : NET_MTU_MAX, config->mac), *ret, *index = NULL;
	int sock[2], err;

	json_object_object_add(node, "local", pair(pair(json_object_new_object(), "type", "fd"), "str", "net"));
	json_object_object_add(node, "x-vnet-hdr", json_object_new_boolean(true));
	pair(node, "ifname", USER_NET);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock)) {
		msg_error("tenon device add --net user: create sockets: %s", strerror(errno));
		json_object_put(node);
		return EXIT_FAILED;
	}
	for (unsigned int i = 0; i < 2; i++)
		setsockopt(sock[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	if (!give_fd(c, "net", sock[0])) {
		json_object_put(node);
		node = NULL;
	}
	close(sock[0]);
	ret = node ? conn_call_with(c, "netdev_add", node, -1, false) : NULL;
	if (!ret) {
		close(sock[1]);
		return EXIT_FAILED;
	}
	json_object_object_get_ex(ret, "x-index", &index);
	err = net_process(config, (unsigned int)json_object_get_int(index), sock[1]);
	json_object_put(ret);
	close(sock[1]);
	if (!err)
		return plug_net(c, id);
	call_ok(c, "netdev_del", pair(json_object_new_object(), "id", id), -1);
	return EXIT_FAILED;
}

static int device_add(int argc, char **argv)
{
	struct vm_disk disk = { 0 };
	struct vm_net net = { 0 };
	const char *bad = NULL;
	struct conn c;
	bool is_disk;
	int status;

	is_disk = argc == 5 && !strcmp(argv[3], "--disk");
	if (argc != 5 || (!is_disk && strcmp(argv[3], "--net"))) {
		fputs(device_usage, stderr);
		return EXIT_USAGE;
	}
	if (is_disk && (parse_disk(argv[4], &disk, &bad) || disk.snapshot || disk.transitional || nbd_uri(disk.path))) {
		msg_error("--disk: '%s' is not possible here. See tenon device --help", bad ? bad : disk.snapshot ? "snapshot" :
			  disk.transitional ? "transitional" : argv[4]);
		return EXIT_USAGE;
	}
	if (!is_disk && (net_parse(argv[4], &net) || !net.ops))
		return EXIT_USAGE;
	if (net.transitional) {
		msg_error("--net: 'transitional' is not possible here. See tenon device --help");
		return EXIT_USAGE;
	}
	if (conn_machine(&c, argv[1]))
		return EXIT_FAILED;
	if (is_disk)
		status = add_disk(&c, argv[2], &disk);
	else
		status = net.ops == &net_user ? add_user_net(&c, argv[2], &net) : add_tap(&c, argv[2], &net);
	close(c.fd);
	return status;
}

/* Its event, or false if it does not come. *@lost: not all that was written to the disk is in its file. */
static bool wait_deleted(struct conn *c, const char *id, uint64_t until, bool *lost)
{
	struct json_object *obj, *data, *dev;
	bool gone, found = false;

	while (!found && (obj = conn_read(c, until, &gone)) != NULL) {
		found = json_object_object_get_ex(obj, "data", &data) && json_object_object_get_ex(data, "device", &dev) &&
			!strcmp(json_object_get_string(dev), id);
		*lost = found && json_object_object_get_ex(data, "x-lost", NULL);
		json_object_put(obj);
	}
	return found;
}

/* The driver of a device that was added, in @driver; false: there is none. */
static bool device_driver(struct conn *c, const char *id, char driver[32])
{
	struct json_object *list = conn_call(c, "x-query-devices", false), *val;

	driver[0] = '\0';
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *dev = json_object_array_get_idx(list, i);

		if (!json_object_object_get_ex(dev, "id", &val) || strcmp(json_object_get_string(val), id))
			continue;
		if (json_object_object_get_ex(dev, "driver", &val))
			snprintf(driver, 32, "%s", json_object_get_string(val));
	}
	json_object_put(list);
	return driver[0];
}

static int device_remove(struct conn *c, const char *id, uint64_t seconds)
{
	char driver[32];
	bool is_net, lost = false;

	/* One that left when nobody waited any more has left that behind. An unknown one is the machine's to refuse. */
	if (!device_driver(c, id, driver) && (delete_nodes(c, id, false, true) || delete_nodes(c, id, true, true)))
		return EXIT_OK;
	is_net = !strcmp(driver, "virtio-net-pci");
	if (!call_ok(c, "device_del", pair(json_object_new_object(), "id", id), -1))
		return EXIT_FAILED;
	if (!wait_deleted(c, id, clock_ns() + seconds * 1000000000ull, &lost)) {
		msg_error("remove '%s' from machine '%s': its system has not let go of it in %llu seconds. It may still do so, or at "
			  "the next reset", id, c->name, (unsigned long long)seconds);
		return EXIT_FAILED;
	}
	if (lost)
		msg_error("remove '%s' from machine '%s': some of what its system wrote to it may be lost. Check the storage and the "
			  "file system in the image", id, c->name);
	return delete_nodes(c, id, is_net, false) && !lost ? EXIT_OK : EXIT_FAILED;
}

static int device_ls(struct conn *c)
{
	struct json_object *list = conn_call(c, "x-query-devices", false), *val = NULL, *index;

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *dev = json_object_array_get_idx(list, i);
		static const char *const keys[] = { "id", "driver", "on" };

		for (unsigned int k = 0; k < 3; k++)
			if (json_object_object_get_ex(dev, keys[k], &val))
				printf(k == 2 ? "%s" : "%-15s ", json_object_get_string(val));
		if (json_object_object_get_ex(dev, "x-index", &index) && !strcmp(json_object_get_string(val), USER_NET)) {
			const struct in_addr addr = { htonl(user_network((unsigned int)json_object_get_int(index))) };

			printf(" %s/24", inet_ntoa(addr));
		}
		putchar('\n');
	}
	json_object_put(list);
	return list ? EXIT_OK : EXIT_FAILED;
}

int cmd_device(int argc, char **argv)
{
	uint64_t seconds = STOP_SECONDS;
	struct conn c;
	int status;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(device_usage, stdout);
		return EXIT_OK;
	}
	if (argc > 1 && !strcmp(argv[1], "add"))
		return device_add(argc - 1, argv + 1);
	if (argc > 4 && !strcmp(argv[1], "remove") && !strcmp(argv[2], "--timeout")) {
		if (parse_uint(argv[3], 0, 86400, &seconds)) {
			msg_error("--timeout: '%s' is no number of seconds from 0 to 86400", argv[3]);
			return EXIT_USAGE;
		}
		argv[3] = argv[1];
		argc -= 2;
		argv += 2;
	}
	if (!(argc == 4 && !strcmp(argv[1], "remove")) && !(argc == 3 && !strcmp(argv[1], "ls"))) {
		fputs(device_usage, stderr);
		return EXIT_USAGE;
	}
	if (conn_machine(&c, argv[2]))
		return EXIT_FAILED;
	status = argc == 4 ? device_remove(&c, argv[3], seconds) : device_ls(&c);
	close(c.fd);
	return status;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_socket(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return len > 5 && !strcmp(d->d_name + len - 5, ".sock");
}

int cmd_ls(int argc, char **argv)
{
	char dir[CTL_PATH_MAX], path[CTL_PATH_MAX];
	struct dirent **entry;
	int n, err, status = read_args(argc, argv, "Usage: tenon ls\n\nLists the machines of this user that were started with "
				       "tenon run --name: name and state.\n", NULL, NULL);

	if (status >= 0)
		return status;
	err = ctl_dir(dir, false);
	if (err == -ENOENT)
		return EXIT_OK;		/* no machine was ever named */
	if (err)
		return EXIT_FAILED;
	n = scandir(dir, &entry, is_socket, by_name);
	for (int i = 0; i < n; i++) {
		struct json_object *ret, *state = NULL;
		struct conn c = { .name = entry[i]->d_name };

		entry[i]->d_name[strlen(entry[i]->d_name) - 5] = '\0';
		/* What a crash left behind is not listed, nor what no machine is called. */
		if (ctl_name_ok(c.name) && !ctl_path(path, c.name, ".sock", false) && !conn_open(&c, path)) {
			ret = conn_call(&c, "qmp_capabilities", true);
			json_object_put(ret);
			ret = ret ? conn_call(&c, "query-status", true) : NULL;
			if (ret)
				json_object_object_get_ex(ret, "status", &state);
			printf("%-24s %s\n", c.name, state ? json_object_get_string(state) : "no answer");
			json_object_put(ret);
			close(c.fd);
		}
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	return EXIT_OK;
}

/* Both ways until an end: 0 the machine's, or Ctrl-] typed, or the end of standard input that is no terminal. */
static int console_run(struct conn *c, bool tty)
{
	struct pollfd pfd[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = c->fd, .events = POLLIN } };
	char buf[4096];
	ssize_t n;

	/* What came behind the answer. */
	if (c->len && write(STDOUT_FILENO, c->buf, c->len) < 0)
		return EXIT_FAILED;
	for (;;) {
		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			return EXIT_FAILED;
		if (pfd[1].revents) {
			n = recv(c->fd, buf, sizeof(buf), 0);
			if (n <= 0)
				return EXIT_OK;
			if (write(STDOUT_FILENO, buf, (size_t)n) != n)
				return EXIT_FAILED;
		}
		if (pfd[0].revents) {
			char *end;

			n = read(STDIN_FILENO, buf, sizeof(buf));
			if (n <= 0) {
				if (tty)
					return EXIT_OK;
				pfd[0].fd = -1;		/* nothing more to type; go on listening */
				continue;
			}
			end = tty ? memchr(buf, DETACH, (size_t)n) : NULL;
			if (end)
				n = end - buf;
			if (send(c->fd, buf, (size_t)n, MSG_NOSIGNAL) != n || end)
				return EXIT_OK;
		}
	}
}

int cmd_console(int argc, char **argv)
{
	struct termios saved, raw;
	struct json_object *ret;
	const char *name;
	struct conn c;
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !tcgetattr(STDIN_FILENO, &saved);
	int status = read_args(argc, argv, "Usage: tenon console NAME\n\nConnects this terminal to the first serial port of a "
			       "machine, beside the one that it was\nstarted on. Ctrl-] leaves; the machine runs on.\n", &name, NULL);

	if (status >= 0)
		return status;
	if (conn_machine(&c, name))
		return EXIT_FAILED;
	ret = conn_call(&c, "x-console", false);
	if (!ret) {
		close(c.fd);
		return EXIT_FAILED;
	}
	json_object_put(ret);
	if (tty) {
		msg_info("the console of '%s' follows; Ctrl-] leaves it", name);
		raw = saved;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	status = console_run(&c, tty);
	if (tty)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	close(c.fd);
	return status;
}
