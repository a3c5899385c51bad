// SPDX-License-Identifier: GPL-2.0-only
/*
 * init.c - the first program in the guest of `tenon run --rootfs`
 *
 * It runs from the initial RAM disk that the launcher makes (launcher/rootfs.c), without a C library: loads
 * the kernel modules it was given, mounts the shared directory as root file system, runs the command, passes
 * input on to it, and reports its exit status through the run port. What it is told is in /config; see
 * launcher/devices/run-port.h.
 *
 * Statuses of its own are those of env(1) and the like: 125 if there was no way to run the command, 126 if it
 * is no program, 127 if it was not found.
 */
#include <stddef.h>
#include <stdint.h>
#include <asm/termbits.h>
#include <asm/unistd.h>
#include <asm/ioctls.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/poll.h>
#include <linux/reboot.h>
#include <linux/wait.h>

#include "../devices/run-port.h"

#define TTY		"/dev/ttyS0"
#define STATUS_FAILED	125
#define STATUS_NOEXEC	126
#define STATUS_NOTFOUND	127
#define CONFIG_MAX	(256 * 1024)
#define MAX_STRINGS	4096
#define PATH_MAX	4096
#define SIGKILL		9
#define SIGPIPE		13
#define SIGCONT		18
#define SIGTTOU		22
#define SIG_BLOCK	0
#define SIG_SETMASK	2
#define DEFAULT_PATH	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct winsize {
	unsigned short rows, cols, x, y;
};

struct timespec64 {
	long sec, nsec;
};

/* The kernel's entry */

static long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define sys(nr, a, b, c, d, e) sys6(__NR_##nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

static void outl(uint32_t val, uint16_t port)
{
	__asm__ volatile("outl %0, %1" : : "a"(val), "Nd"(port));
}

static uint32_t inl(uint16_t port)
{
	uint32_t val;

	__asm__ volatile("inl %1, %0" : "=a"(val) : "Nd"(port));
	return val;
}

/* What a C library would have; the compiler calls the first two. */

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
	void *ret = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return ret;
}

void *memset(void *to, int c, size_t n)
{
	void *ret = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
	return ret;
}

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

/* The value, if @s is KEY=VALUE. */
static char *value(char *s, const char *key)
{
	while (*key && *s == *key)
		s++, key++;
	return *key || *s != '=' ? NULL : s + 1;
}

static unsigned int number(const char *s)
{
	unsigned int n = 0;

	while (*s >= '0' && *s <= '9')
		n = n * 10 + (unsigned int)(*s++ - '0');
	return n;
}

/* Append to a string of room @size; false if it does not fit. */
static int append(char *buf, size_t size, const char *s)
{
	size_t at = length(buf), n = length(s);

	if (n >= size - at)
		return 0;
	memcpy(buf + at, s, n + 1);
	return 1;
}

static void append_number(char *buf, size_t size, long n)
{
	char text[24];
	unsigned int i = sizeof(text) - 1;

	text[i] = '\0';
	do {
		text[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n && i);
	append(buf, size, text + i);
}

/* What is in /config */

static char config[CONFIG_MAX];
static char *args[MAX_STRINGS + 1], *env[MAX_STRINGS + 1], *modules[MAX_STRINGS];
static unsigned int nr_args, nr_env, nr_modules, rows, cols;
static const char *tag = "", *cache = "none", *cwd = "/";
static int overlay, tty;
static int console = -1;

/* The end */

/* Also from the background: SIGTTOU is for those who would rather be stopped. */
static void set_foreground(long group)
{
	const uint64_t ttou = 1ull << (SIGTTOU - 1);
	int pgrp = (int)group;
	uint64_t old = 0;

	sys(rt_sigprocmask, SIG_BLOCK, &ttou, &old, 8, 0);
	sys(ioctl, console, TIOCSPGRP, &pgrp, 0, 0);
	sys(rt_sigprocmask, SIG_SETMASK, &old, NULL, 8, 0);
}

static void report(int status)
{
	sys(sync, 0, 0, 0, 0, 0);
	/* Everything that was printed is out before the machine ends: tcdrain(), for the foreground only. */
	if (console >= 0) {
		if (tty)
			set_foreground(sys(getpgid, 0, 0, 0, 0, 0));
		sys(ioctl, console, TCSBRK, 1, 0, 0);
	}
	outl((uint32_t)status, RUN_PORT_BASE + RUN_PORT_STATUS);
	sys(reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0, 0);
	for (;;)
		sys(pause, 0, 0, 0, 0, 0);
}

static void complain(const char *what, const char *on, long err)
{
	static const struct {
		int err;
		const char *text;
	} known[] = {
		{ ENOENT, "not found" }, { EACCES, "permission denied" }, { EPERM, "not permitted" },
		{ ENOEXEC, "not a program for this machine" }, { ENODEV, "the kernel has no support for it" },
		{ EINVAL, "invalid argument" }, { ENOMEM, "out of memory" }, { ENOTDIR, "not a directory" },
		{ EISDIR, "is a directory" }, { ELOOP, "too many symbolic links" },
		{ ENOSYS, "not implemented" },
	};
	char text[1024] = "tenon: in the guest: ";

	append(text, sizeof(text), what);
	append(text, sizeof(text), " '");
	append(text, sizeof(text), on);
	append(text, sizeof(text), "'");
	if (err) {
		const char *why = NULL;

		append(text, sizeof(text), ": ");
		for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (known[i].err == -err)
				why = known[i].text;
		if (why) {
			append(text, sizeof(text), why);
		} else {
			append(text, sizeof(text), "error ");
			append_number(text, sizeof(text), -err);
		}
	}
	append(text, sizeof(text), "\r\n");
	sys(write, console < 0 ? 2 : console, text, length(text), 0, 0);
}

static void fail(const char *what, const char *on, long err)
{
	complain(what, on, err);
	report(STATUS_FAILED);
}

static void parse_config(void)
{
	long fd = sys(open, "/config", O_RDONLY, 0, 0, 0), n;
	size_t len = 0;
	char *s, *v;

	if (fd < 0)
		fail("open", "/config", fd);
	while (len < sizeof(config) - 1 &&
	       (n = sys(read, fd, config + len, sizeof(config) - 1 - len, 0, 0)) > 0)
		len += (size_t)n;
	sys(close, fd, 0, 0, 0, 0);
	for (s = config; s < config + len; s += length(s) + 1) {
		if ((v = value(s, "tag")))
			tag = v;
		else if ((v = value(s, "overlay")))
			overlay = *v == '1';
		else if ((v = value(s, "cache")))
			cache = v;
		else if ((v = value(s, "tty")))
			tty = *v == '1';
		else if ((v = value(s, "rows")))
			rows = number(v);
		else if ((v = value(s, "cols")))
			cols = number(v);
		else if ((v = value(s, "cwd")))
			cwd = v;
		else if ((v = value(s, "module")) && nr_modules < MAX_STRINGS)
			modules[nr_modules++] = v;
		else if ((v = value(s, "env")) && nr_env < MAX_STRINGS)
			env[nr_env++] = v;
		else if ((v = value(s, "arg")) && nr_args < MAX_STRINGS)
			args[nr_args++] = v;
	}
}

/* The console */

static void setup_tty(void)
{
	struct winsize ws = { .rows = (unsigned short)rows, .cols = (unsigned short)cols };
	struct termios t;
	long fd = sys(open, TTY, O_RDWR | O_NOCTTY | O_CLOEXEC, 0, 0, 0);

	if (fd < 0)
		return;
	console = (int)fd;
	if (sys(ioctl, fd, TCGETS, &t, 0, 0))
		return;
	t.c_cflag = B115200 | CS8 | CREAD | CLOCAL | HUPCL;
	if (tty) {
		t.c_iflag = ICRNL | IXON | IUTF8;
		t.c_oflag = OPOST | ONLCR;
		t.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
	} else {
		/* Bytes are bytes: the user's own terminal, or no terminal, is at the other end. */
		t.c_iflag = 0;
		t.c_oflag = 0;
		t.c_lflag = 0;
		t.c_cc[VMIN] = 1;
		t.c_cc[VTIME] = 0;
	}
	sys(ioctl, fd, TCSETS, &t, 0, 0);
	if (rows && cols)
		sys(ioctl, fd, TIOCSWINSZ, &ws, 0, 0);
}

/* Modules */

static void load_modules(void)
{
	for (unsigned int i = 0; i < nr_modules; i++) {
		char path[PATH_MAX] = "/modules/";
		const char *name = modules[i];
		int may_fail = *name == '?';
		size_t n;
		long fd, err;

		name += may_fail;
		append(path, sizeof(path), name);
		n = length(name);
		fd = sys(open, path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
		/* A file that is no plain .ko is for the kernel to decompress. */
		err = fd < 0 ? fd : sys(finit_module, fd, "", n > 3 && name[n - 1] == 'o' ? 0 :
					MODULE_INIT_COMPRESSED_FILE, 0, 0);
		if (fd >= 0)
			sys(close, fd, 0, 0, 0, 0);
		if (err && err != -EEXIST && !may_fail)
			fail("load the kernel module", name, err);
	}
}

/* File systems */

static long mount(const char *what, const char *where, const char *type, unsigned long flags,
		  const char *data)
{
	return sys(mount, what, where, type, flags, data);
}

static void mount_root(void)
{
	const char *where = overlay ? "/lower" : "/root";
	char opts[256] = "trans=virtio,version=9p2000.L,msize=262144,access=any,cache=";
	long err = 0;

	append(opts, sizeof(opts), cache);
	sys(mkdir, "/root", 0755, 0, 0, 0);
	sys(mkdir, "/lower", 0755, 0, 0, 0);
	/* The device may still be on its way. */
	for (unsigned int i = 0; i < 100; i++) {
		struct timespec64 ts = { 0, 20000000 };

		err = mount(tag, where, "9p", overlay ? MS_RDONLY : 0, opts);
		if (err != -ENOENT)
			break;
		sys(nanosleep, &ts, NULL, 0, 0, 0);
	}
	if (err)
		fail("mount the shared directory", tag, err);
	if (!overlay)
		return;
	sys(mkdir, "/rw", 0755, 0, 0, 0);
	err = mount("tmpfs", "/rw", "tmpfs", 0, "mode=755");
	if (err)
		fail("mount", "tmpfs", err);
	sys(mkdir, "/rw/upper", 0755, 0, 0, 0);
	sys(mkdir, "/rw/work", 0755, 0, 0, 0);
	err = mount("overlay", "/root", "overlay", 0, "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work");
	if (err)
		fail("mount", "overlay", err);
}

/* A root file system may lack any of these directories; what needs them will say so. */
static void mount_rest(void)
{
	mount("proc", "/root/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("sysfs", "/root/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount("tmpfs", "/root/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	sys(mkdir, "/root/run/lock", 01777, 0, 0, 0);
	mount("tmpfs", "/root/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	if (mount("devtmpfs", "/root/dev", "devtmpfs", MS_NOSUID, "mode=755"))
		return;
	sys(mkdir, "/root/dev/pts", 0755, 0, 0, 0);
	sys(mkdir, "/root/dev/shm", 01777, 0, 0, 0);
	mount("devpts", "/root/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
	mount("tmpfs", "/root/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	sys(symlink, "/proc/self/fd", "/root/dev/fd", 0, 0, 0);
	sys(symlink, "/proc/self/fd/0", "/root/dev/stdin", 0, 0, 0);
	sys(symlink, "/proc/self/fd/1", "/root/dev/stdout", 0, 0, 0);
	sys(symlink, "/proc/self/fd/2", "/root/dev/stderr", 0, 0, 0);
}

static void switch_root(void)
{
	long err = sys(chdir, "/root", 0, 0, 0, 0);

	if (!err)
		err = mount(".", "/", NULL, MS_MOVE, NULL);
	if (!err)
		err = sys(chroot, ".", 0, 0, 0, 0);
	if (!err)
		err = sys(chdir, "/", 0, 0, 0, 0);
	if (err)
		fail("change to", "the new root", err);
}

/* The command */

/* As execvp(), with the PATH that the command gets. */
static long run(void)
{
	const char *path = DEFAULT_PATH, *end;
	long err = -ENOENT, ret;

	for (unsigned int i = 0; i < nr_env; i++)
		if (value(env[i], "PATH"))
			path = value(env[i], "PATH");
	for (const char *s = args[0]; *s; s++)
		if (*s == '/')
			return sys(execve, args[0], args, env, 0, 0);
	for (; *path; path = *end ? end + 1 : end) {
		char file[PATH_MAX] = "";

		for (end = path; *end && *end != ':'; end++)
			;
		if (end == path || (size_t)(end - path) >= sizeof(file) - 2)
			continue;
		memcpy(file, path, (size_t)(end - path));
		file[end - path] = '\0';
		if (!append(file, sizeof(file), "/") || !append(file, sizeof(file), args[0]))
			continue;
		ret = sys(execve, file, args, env, 0, 0);
		if (ret != -ENOENT && ret != -ENOTDIR)
			err = ret;
	}
	return err;
}

static void child(int in)
{
	long err;

	sys(setpgid, 0, 0, 0, 0, 0);
	if (tty)
		set_foreground(sys(getpid, 0, 0, 0, 0, 0));
	sys(dup2, in, 0, 0, 0, 0);
	sys(dup2, console, 1, 0, 0, 0);
	sys(dup2, console, 2, 0, 0, 0);
	err = sys(chdir, cwd, 0, 0, 0, 0);
	if (err) {
		complain("change to the directory", cwd, err);
		sys(exit_group, STATUS_FAILED, 0, 0, 0, 0);
	}
	err = run();
	complain("run", args[0], err);
	sys(exit_group, err == -ENOENT ? STATUS_NOTFOUND : STATUS_NOEXEC, 0, 0, 0, 0);
}

/*
 * Pass the serial port's input on to a pipe, and close that at its end: when the launcher says that there
 * will be no more, and as much has come as it has sent.
 */
static void pump(int to)
{
	struct pollfd pfd = { .fd = console, .events = POLLIN };
	static char buf[4096];
	uint32_t seen = 0;

	for (;;) {
		uint32_t sent = inl(RUN_PORT_BASE + RUN_PORT_INPUT);
		long n, done;

		if ((sent & RUN_INPUT_END) && ((sent ^ seen) & ~RUN_INPUT_END) == 0)
			break;
		n = sys(poll, &pfd, 1, 50, 0, 0);
		if (n <= 0)
			continue;
		n = sys(read, console, buf, sizeof(buf), 0, 0);
		if (n <= 0)
			continue;
		seen += (uint32_t)n;
		for (done = 0; done < n; ) {
			long ret = sys(write, to, buf + done, n - done, 0, 0);

			if (ret <= 0)
				break;	/* nobody reads: take the rest off the line all the same */
			done += ret;
		}
	}
	sys(exit_group, 0, 0, 0, 0, 0);
}

static long spawn_pump(int *in)
{
	int fds[2];
	long pid = sys(pipe2, fds, O_CLOEXEC, 0, 0, 0);

	if (pid)
		return pid;
	*in = fds[0];
	pid = sys(fork, 0, 0, 0, 0, 0);
	if (!pid) {
		sys(close, fds[0], 0, 0, 0, 0);
		/* A command that has closed its input is no reason to die. */
		sys(rt_sigprocmask, SIG_BLOCK, &(uint64_t){ 1ull << (SIGPIPE - 1) }, NULL, 8, 0);
		pump(fds[1]);
	}
	sys(close, fds[1], 0, 0, 0, 0);
	return pid < 0 ? pid : 0;
}

static int wait_for(long pid)
{
	int status = 0;

	/* Orphans end here too. */
	for (;;) {
		long got = sys(wait4, -1, &status, WUNTRACED, NULL, 0);

		if (got == pid && (status & 0xff) != 0x7f)
			break;
		/* Stopped by Ctrl-Z: there is no shell that it could go back to. */
		if (got == pid && tty) {
			set_foreground(pid);
			sys(kill, -pid, SIGCONT, 0, 0, 0);
		}
		if (got < 0 && got != -EINTR)
			return STATUS_FAILED;
	}
	return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

static void init_main(void)
{
	long pid, err;
	int in, status;

	sys(mkdir, "/dev", 0755, 0, 0, 0);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	err = sys(ioperm, RUN_PORT_BASE, RUN_PORT_SIZE, 1, 0, 0);
	if (err) {
		complain("get access to", "I/O ports", err);
		sys(reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_RESTART, 0, 0);
	}
	parse_config();
	setup_tty();
	if (console < 0)
		fail("open", TTY, -ENOENT);
	outl(1, RUN_PORT_BASE + RUN_PORT_INPUT);
	load_modules();
	mount_root();
	mount_rest();
	switch_root();
	sys(sethostname, "tenon", 5, 0, 0, 0);

	/*
	 * The session is this program's. When the leader of a session ends, its terminal is hung up, and what is on
	 * its way out is lost: that is not to be the command.
	 */
	sys(setsid, 0, 0, 0, 0, 0);
	if (tty)
		sys(ioctl, console, TIOCSCTTY, 0, 0, 0);
	in = console;
	err = tty ? 0 : spawn_pump(&in);
	if (err)
		fail("start", "the input", err);
	pid = sys(fork, 0, 0, 0, 0, 0);
	if (!pid)
		child(in);
	if (pid < 0)
		fail("start", args[0], pid);
	if (in != console)
		sys(close, in, 0, 0, 0, 0);
	status = wait_for(pid);
	/* What it has left behind goes with it, and what that has written is kept. */
	sys(kill, -1, SIGKILL, 0, 0, 0);
	while (sys(wait4, -1, NULL, 0, NULL, 0) > 0)
		;
	report(status);
}

void start(void);

__attribute__((force_align_arg_pointer, noreturn)) void start(void)
{
	init_main();
	for (;;)
		sys(pause, 0, 0, 0, 0, 0);
}
