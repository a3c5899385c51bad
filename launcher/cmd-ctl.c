// SPDX-License-Identifier: GPL-2.0-only
/*
 * cmd-ctl.c - tenon ls, stop, kill, pause, resume, stats, memory, console: what named machines do and shall do
 *
 * Clients of the control socket (ctl.c); what they know of a machine comes through it.
 */
#include <dirent.h>
#include <errno.h>
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

#include "cmd.h"
#include "ctl.h"
#include "loop.h"
#include "msg.h"

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

/* Send a command; what it returned, or NULL with a message printed unless @quiet. @args: in JSON. */
static struct json_object *conn_call_with(struct conn *c, const char *command, const char *args, bool quiet)
{
	uint64_t until = clock_ns() + ANSWER_MS * 1000000ull;
	struct json_object *obj, *val;
	char line[256];
	bool gone = false;
	int len = snprintf(line, sizeof(line), "{\"execute\":\"%s\",\"arguments\":%s}\n", command, args);

	if (send(c->fd, line, (size_t)len, MSG_NOSIGNAL) == len) {
		while ((obj = conn_read(c, until, &gone)) != NULL) {
			if (json_object_object_get_ex(obj, "return", &val)) {
				json_object_get(val);
				json_object_put(obj);
				return val;
			}
			if (json_object_object_get_ex(obj, "error", &val)) {
				struct json_object *desc = NULL;

				json_object_object_get_ex(val, "desc", &desc);
				msg_error("machine '%s' refused %s: %s", c->name, command, json_object_get_string(desc));
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
	return conn_call_with(c, command, "{}", quiet);
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
		      "The machine's clocks run on.\n", "stop");
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
	struct json_object *ret, *actual = NULL;
	uint64_t size = 0;
	char args[64] = "{}";
	const char *name;
	struct conn c;
	int status;

	if (argc == 3 && argv[1][0] != '-') {
		if (parse_size(argv[2], &size) || !size || size > INT64_MAX) {
			msg_error("tenon memory: '%s' is not a size. Give a number and a unit, as in 512M or 2G", argv[2]);
			return EXIT_USAGE;
		}
		snprintf(args, sizeof(args), "{\"value\":%llu}", (unsigned long long)size);
		argc--;
	}
	status = read_args(argc, argv, usage, &name, NULL);
	if (status >= 0)
		return status;
	if (conn_machine(&c, name))
		return EXIT_FAILED;
	ret = conn_call_with(&c, size ? "balloon" : "query-balloon", args, false);
	close(c.fd);
	if (!ret)
		return EXIT_FAILED;
	if (json_object_object_get_ex(ret, "actual", &actual))
		printf("%llu MiB\n", (unsigned long long)json_object_get_int64(actual) >> 20);
	json_object_put(ret);
	return EXIT_OK;
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
