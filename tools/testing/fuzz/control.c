// SPDX-License-Identifier: GPL-2.0-only
/*
 * control.c - the control socket: clients that send what the input says, in pieces, with descriptors, and hang up at any
 * time
 *
 * The oracles, beside the sanitizers: every answer is a line of JSON, and a machine that was not told to end still
 * answers a new client after all that.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <stdlib.h>
#include <unistd.h>

#include "launcher/ctl.h"
#include "launcher/machine/pc.h"
#include "launcher/machine/pci.h"
#include "launcher/plug.h"
#include "launcher/vm.h"
#include "fuzz.h"

#define CLIENTS	3
#define STEPS	32

static char dir[] = "/tmp/tenon-fuzz-ctl-XXXXXX";
static bool is_paused;

static struct vm vm;

/* In place of vm.c: what the socket can ask of a machine. */
void vm_end(struct vm *v, int how, const char *msg, ...)
{
	(void)v;
	(void)how;
	(void)msg;
}

void vm_reset_request(struct vm *v)
{
	(void)v;
}

void vm_powerdown(struct vm *v)
{
	(void)v;
}

void vm_pause(struct vm *v)
{
	is_paused = true;
	ctl_event(v, "STOP", NULL);
}

void vm_resume(struct vm *v)
{
	is_paused = false;
	ctl_event(v, "RESUME", NULL);
}

bool vm_paused(const struct vm *v)
{
	(void)v;
	return is_paused;
}

static void fake_nmi(struct vcpu *vcpu)
{
	(void)vcpu;
}

static void fake_stats(struct vm *v, int fd)
{
	(void)v;
	dprintf(fd, "vcpu0: \"0\"\n");
}

static const struct accel_ops accel = { .name = "fake", .nmi = fake_nmi, .stats = fake_stats };

static void *pci, *hotplug, *plug;
static char image[80];

static struct vcpu one_vcpu = { .vm = &vm };

static void leave(void)
{
	char path[64];

	ctl_exit(&vm);
	plug_device.exit(&vm, plug);
	loop_exit(&vm.loop);
	unlink(image);
	snprintf(path, sizeof(path), "%s/tenon", dir);
	rmdir(path);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!mkdtemp(dir) || setenv("XDG_RUNTIME_DIR", dir, 1))
		abort();
	pthread_mutex_init(&vm.lock, NULL);
	vm.config.accel = &accel;
	vm.config.cpus = 1;
	vm.config.name = "fuzz";
	vm.config.nr_disks = 1;
	vm.config.disk[0].path = "a \"disk\"\\\n";
	vm.vcpu = &one_vcpu;
	bus_init(&vm.pio, true);
	bus_init(&vm.mmio, false);
	snprintf(image, sizeof(image), "%s/image", dir);
	close(open(image, O_CREAT | O_RDWR, 0600));
	if (truncate(image, 1 << 20) || loop_init(&vm.loop, &vm.lock) || pci_host_device.init(&vm, &pci) ||
	    hotplug_device.init(&vm, &hotplug) || plug_device.init(&vm, &plug) || ctl_init(&vm))
		abort();
	atexit(leave);
	return 0;
}

/* What the loop would do: all that is ready. */
static void serve(void)
{
	struct epoll_event ev[16];
	int n;

	while ((n = epoll_wait(vm.loop.epoll_fd, ev, 16, 0)) > 0) {
		bool any = false;

		for (int i = 0; i < n; i++) {
			struct watch *w = ev[i].data.u64 < vm.loop.nr_fd ? vm.loop.by_fd[ev[i].data.u64] : NULL;

			if (!w)
				continue;
			any = true;
			w->fn(w->opaque, ev[i].events);
		}
		if (!any)
			return;
	}
}

struct peer {
	int fd;
	char line[1 << 20];
	size_t len;
};

static int dial(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/tenon/fuzz.sock", dir);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		abort();
	serve();
	return fd;
}

/* Read what there is; every whole line has to be JSON. */
static void listen_to(struct peer *p)
{
	char *nl;
	ssize_t n;

	while ((n = recv(p->fd, p->line + p->len, sizeof(p->line) - p->len, 0)) > 0) {
		p->len += (size_t)n;
		while ((nl = memchr(p->line, '\n', p->len)) != NULL) {
			struct json_object *obj;

			*nl = '\0';
			/* An empty one is what a client that asked for the console sees of it. */
			obj = *p->line ? json_tokener_parse(p->line) : json_object_new_object();
			if (!json_object_is_type(obj, json_type_object))
				abort();
			json_object_put(obj);
			p->len -= (size_t)(nl + 1 - p->line);
			memmove(p->line, nl + 1, p->len);
		}
		if (p->len == sizeof(p->line))
			p->len = 0;
		serve();
	}
}

static void say(struct peer *p, const void *text, size_t len)
{
	(void)!send(p->fd, text, len, MSG_NOSIGNAL);
	serve();
}

/* The same with descriptors: of an image, and of a socket that nobody has the other end of. */
static void hand_over(struct peer *p, const char *text, unsigned int nr)
{
	union {
		char buf[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (char *)(uintptr_t)text, strlen(text) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(nr * sizeof(int)),
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	int fd[16], pair[2];

	for (unsigned int i = 0; i < nr; i++) {
		if ((nr & 4) && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
			fd[i] = pair[0];
			close(pair[1]);
		} else {
			fd[i] = open(image, O_RDWR | O_CLOEXEC);
		}
	}
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(h), fd, nr * sizeof(int));
	(void)!sendmsg(p->fd, &msg, MSG_NOSIGNAL);
	for (unsigned int i = 0; i < nr; i++)
		close(fd[i]);
	serve();
}

/* Words that inputs are made of as well as of bytes, or few would get past the parser. */
static const char *const words[] = {
	"{\"execute\":\"qmp_capabilities\"}\n", "{\"execute\":\"query-block\",\"id\":", "{\"execute\":\"query-cpus-fast\"}\r\n",
	"{\"execute\":\"stop\"}\n", "{\"execute\":\"cont\"}\n", "{\"execute\":\"x-stats\",\"arguments\":{}}\n",
	"{\"execute\":\"x-console\"}\n", "{\"execute\":\"query-commands\"}\n", "{\"execute\":\"inject-nmi\",\"arguments\":{\"a\":1}}\n",
	"{\"execute\":\"query-status\"", "{\"arguments\":", "[[[[[[[[[[[[[[[[[[[[", "}", "\n", "\"\\u0000\"", "1e999",
	"{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"f\"}}\n",
	"{\"execute\":\"closefd\",\"arguments\":{\"fdname\":\"f\"}}\n",
	"{\"execute\":\"blockdev-add\",\"arguments\":{\"node-name\":\"n\",\"driver\":\"raw\",\"x-fd\":\"f\",\"filename\":\"i\"}}\n",
	"{\"execute\":\"blockdev-del\",\"arguments\":{\"node-name\":\"n\"}}\n",
	"{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"virtio-blk-pci\",\"id\":\"d\",\"drive\":\"n\"}}\n",
	"{\"execute\":\"device_del\",\"arguments\":{\"id\":\"d\"}}\n",
	"{\"execute\":\"x-query-devices\"}\n",
	"{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"tap\",\"id\":\"n\",\"fd\":\"f\",\"ifname\":\"t\",\"x-mac\":\"",
	"{\"execute\":\"quit\"}\n", "{\"execute\":\"query-name\",\"id\":[]}\n", "{\"execute\":null}\n", "-",
	"{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"dgram\",\"id\":\"n\",\"x-vnet-hdr\":true,\"local\":{\"type\":\"fd\",\"str\":\"f\"}}}\n",
	"{\"execute\":\"netdev_del\",\"arguments\":{\"id\":\"n\"}}\n",
	"{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"virtio-net-pci\",\"id\":\"d\",\"netdev\":\"n\"}}\n",
};

static void check_alive(void)
{
	static const char ask[] = "{\"execute\":\"qmp_capabilities\"}\n";
	static struct peer p;
	char answer[4096];
	ssize_t n;

	p = (struct peer){ .fd = dial() };
	say(&p, ask, sizeof(ask) - 1);
	n = recv(p.fd, answer, sizeof(answer) - 1, 0);
	answer[n > 0 ? n : 0] = '\0';
	if (!strstr(answer, "\"QMP\"") || !strstr(answer, "\"return\""))
		abort();
	close(p.fd);
	serve();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct peer peer[CLIENTS];
	struct input in = { data, size };

	is_paused = false;
	for (unsigned int i = 0; i < CLIENTS; i++) {
		peer[i].fd = dial();
		peer[i].len = 0;
		listen_to(&peer[i]);
	}
	for (unsigned int i = 0; i < STEPS && in.left; i++) {
		uint8_t what = (uint8_t)take_uint(&in, 1), text[256];
		struct peer *p = &peer[(what >> 4) % CLIENTS];
		size_t len;

		switch (what & 7) {
		case 0:
		case 1:
			len = (size_t)take_uint(&in, 1);
			take(&in, text, len);
			say(p, text, len);
			break;
		case 2:
			close(p->fd);
			serve();
			p->fd = dial();
			p->len = 0;
			break;
		case 3:
			ctl_event(&vm, "RESET", "{\"guest\":true}");
			ctl_console(&vm, '\n');
			break;
		case 4:
			if (what & 8)
				hand_over(p, words[take_uint(&in, 1) % (sizeof(words) / sizeof(words[0]))], 1 + what % 12);
			else
				listen_to(p);
			break;
		case 5:
			/* much, by one that may not be reading */
			for (unsigned int n = 0; n < 64; n++)
				say(p, words[7], strlen(words[7]));
			break;
		default:
			len = (size_t)take_uint(&in, 1) % (sizeof(words) / sizeof(words[0]));
			say(p, words[len], strlen(words[len]));
		}
	}
	for (unsigned int i = 0; i < CLIENTS; i++) {
		listen_to(&peer[i]);
		close(peer[i].fd);
	}
	serve();
	/* What was plugged in goes, and its threads come back. */
	pthread_mutex_lock(&vm.lock);
	plug_device.exit(&vm, plug);
	if (plug_device.init(&vm, &plug))
		abort();
	pthread_mutex_unlock(&vm.lock);
	check_alive();
	return 0;
}
