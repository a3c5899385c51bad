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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl-client.h"
#include "ctl.h"
#include "msg.h"
#include "ui/term.h"
#include "vm.h"

#define LINE_MAX_LEN	65536u
#define OUT_MAX		(1u << 20)
#define JSON_DEPTH	16

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

void ctl_close_came(struct client *c)
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
	ctl_close_came(c);
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

/* A line goes out whole: a client may read it by one call. */
void ctl_send(struct client *c, struct json_object *obj)
{
	const char *s = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	client_queue(c, s, strlen(s));
	client_send(c, "\r\n", 2);
	json_object_put(obj);
}

struct json_object *ctl_version(void)
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
		ctl_send(c, event);
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
		ctl_not_understood(c, NULL, "GenericError", "JSON parse error: a request is one object a line");
	else
		ctl_execute(c, request);
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
		ctl_close_came(c);
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
	json_object_object_add(qmp, "version", ctl_version());
	json_object_object_add(qmp, "capabilities", json_object_new_array());
	json_object_object_add(greeting, "QMP", qmp);
	ctl_send(c, greeting);
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
		json_object_put(ctl_version());	/* json-c makes its keys of hash tables at the first object */
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
