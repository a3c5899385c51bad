// SPDX-License-Identifier: GPL-2.0-only
/*
 * launcher-sandbox.c - what each role may do works, what it may not kills or fails, and the message names the call
 *
 * Every case is a child process that enters a role and tries one thing. Oracles: seccomp(2), landlock(7),
 * capabilities(7), and the tables of Documentation/sandbox.rst.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "launcher/sandbox.h"
#include "tap.h"

#define WORKED		0		/* otherwise errno of what was tried */
#define DIED		1000		/* by SIGSYS */

static char dir[] = "/tmp/tenon-sandbox-XXXXXX";	/* with a file and, beside it, another directory */
static char below[64], file[64], outside[64];
static unsigned int landlock;
static pid_t parent;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	sandbox_explain(info);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* The result of @try in @role, and what was said on standard error. */
static int in_role(enum sandbox_role role, const char *where, int (*try)(void), char *said, size_t len)
{
	int fd[2], status;
	ssize_t n, got = 0;
	pid_t pid;

	if (pipe(fd))
		abort();
	pid = fork();
	if (!pid) {
		struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
		int ret;

		dup2(fd[1], 2);
		sigaction(SIGSYS, &sa, NULL);
		/* A vCPU thread has this from main. */
		if (sandbox_init() || (role == SANDBOX_VCPU && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
			_exit(200);
		sandbox_enter(role, (const char *[]){ where, NULL });
		errno = 0;
		ret = try();
		/* As a thread ends: exit_group() is not everybody's. This is the only one. */
		syscall(SYS_exit, ret ? errno ? errno : 201 : 0);
	}
	close(fd[1]);
	while ((n = read(fd[0], said + got, len - 1 - (size_t)got)) > 0)
		got += n;
	said[got] = '\0';
	close(fd[0]);
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? DIED : WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What is tried: 0, or anything else with errno set */

static int try_exec(void)
{
	return execl("/bin/true", "true", (char *)NULL);
}

static int try_fork(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0;
}

static int try_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0) < 0;
}

static void *nothing(void *arg)
{
	return arg;
}

static int try_thread(void)
{
	pthread_t t;

	errno = pthread_create(&t, NULL, nothing, NULL);
	return errno || pthread_join(t, NULL);
}

/* A vCPU thread as main starts it: it gives up more, and then can't accept connections. */
static void *as_vcpu(void *arg)
{
	sandbox_enter(SANDBOX_VCPU, NULL);
	syscall(SYS_accept4, -1, NULL, NULL, 0);
	return arg;
}

static int try_vcpu_thread(void)
{
	pthread_t t;

	errno = pthread_create(&t, NULL, as_vcpu, NULL);
	return errno || pthread_join(t, NULL);
}

static int try_ptrace(void)
{
	return syscall(SYS_ptrace, 0, 0, 0, 0) < 0;
}

static int try_signal_other(void)
{
	return syscall(SYS_tgkill, parent, parent, 0) < 0;
}

static int try_signal_self(void)
{
	return syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0) < 0;
}

static int try_kill_other(void)
{
	return kill(parent, 0);
}

static int try_open(void)
{
	return (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY) < 0;
}

static int try_open_outside(void)
{
	return (int)syscall(SYS_openat, AT_FDCWD, outside, O_RDONLY) < 0;
}

static int try_open_write(void)
{
	return (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY) < 0;
}

static int try_mkdir(void)
{
	return mkdirat(AT_FDCWD, below, 0700);
}

static int try_mkdir_outside(void)
{
	char name[80];

	snprintf(name, sizeof(name), "%s-made", outside);
	return mkdirat(AT_FDCWD, name, 0700);
}

static int try_unlink(void)
{
	return unlink(file);
}

static int try_unlink_outside(void)
{
	return unlink(outside);
}

static int try_exec_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static int try_memory(void)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED || (*p = 1, munmap(p, 4096));
}

static int try_make_exec(void)
{
	return mprotect(&dir, 1, PROT_READ | PROT_EXEC);
}

static int try_inet(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0) < 0;
}

static int try_unix(void)
{
	return socket(AF_UNIX, SOCK_DGRAM, 0) < 0;
}

static int try_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) < 0;
}

static int try_tiocsti(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static int try_poll(void)
{
	struct pollfd p = { .fd = -1 };

	return poll(&p, 1, 0);
}

static int try_pread(void)
{
	char c;

	return pread(-1, &c, 1, 0) < 0 && errno == EBADF ? 0 : 1;
}

static int try_unshare(void)
{
	return unshare(CLONE_NEWUSER);
}

static int try_i386(void)
{
	long ret;

	/* getpid() in the numbers of the 32-bit ABI */
	__asm__ volatile("int $0x80" : "=a"(ret) : "0"(20L) : "memory");
	return ret < 0;
}

static const struct test {
	enum sandbox_role role;
	int (*try)(void);
	int want;
	const char *call;		/* in the message of one that dies */
	const char *name;
	unsigned int landlock;		/* the version that it takes */
} tests[] = {
	{ SANDBOX_MAIN, try_exec, DIED, "execve", "main runs no program", 0 },
	{ SANDBOX_MAIN, try_fork, DIED, "clone", "main starts no process", 0 },
	{ SANDBOX_MAIN, try_clone3, ENOSYS, NULL, "clone3() is not there, so that the C library takes clone()", 0 },
	{ SANDBOX_MAIN, try_thread, WORKED, NULL, "main starts threads", 0 },
	{ SANDBOX_MAIN, try_vcpu_thread, DIED, "accept4", "a thread of main's confines itself further", 0 },
	{ SANDBOX_MAIN, try_ptrace, DIED, "ptrace", "main traces nobody", 0 },
	{ SANDBOX_MAIN, try_open, DIED, "openat", "main opens nothing", 0 },
	{ SANDBOX_MAIN, try_inet, DIED, "socket", "main makes no socket", 0 },
	{ SANDBOX_MAIN, try_kill_other, DIED, "kill", "main signals no other process", 0 },
	{ SANDBOX_MAIN, try_signal_self, WORKED, NULL, "main signals its own threads", 0 },
	{ SANDBOX_MAIN, try_unlink_outside, EACCES, NULL, "main removes no file outside its directory", 1 },
	{ SANDBOX_MAIN, try_exec_memory, WORKED, NULL, "main makes executable memory, for the translator", 0 },
	{ SANDBOX_MAIN, try_tiocsti, DIED, "ioctl", "main types nothing into its terminal", 0 },
	{ SANDBOX_MAIN, try_i386, DIED, NULL, "the calls of the 32-bit ABI kill", 0 },
	{ SANDBOX_VCPU, try_open, DIED, "openat", "a vCPU opens nothing", 0 },
	{ SANDBOX_VCPU, try_fork, DIED, "clone", "a vCPU starts nothing", 0 },
	{ SANDBOX_VCPU, try_exec_memory, DIED, "mmap", "a vCPU makes no executable memory", 0 },
	{ SANDBOX_VCPU, try_make_exec, DIED, "mprotect", "a vCPU makes no memory executable", 0 },
	{ SANDBOX_VCPU, try_memory, WORKED, NULL, "a vCPU gets memory", 0 },
	{ SANDBOX_VCPU, try_signal_other, DIED, "tgkill", "a vCPU signals no other process", 0 },
	{ SANDBOX_CONSOLE, try_poll, WORKED, NULL, "the console waits for its output", 0 },
	{ SANDBOX_CONSOLE, try_pread, DIED, "pread64", "the console reads nothing", 0 },
	{ SANDBOX_RNG, try_memory, WORKED, NULL, "the entropy device gets memory", 0 },
	{ SANDBOX_RNG, try_poll, DIED, "poll", "the entropy device waits for nothing", 0 },
	{ SANDBOX_BALLOON, try_poll, DIED, "poll", "the balloon waits for nothing", 0 },
	{ SANDBOX_CHANNEL, try_poll, WORKED, NULL, "a channel waits", 0 },
	{ SANDBOX_CHANNEL, try_inet, DIED, "socket", "a channel makes no socket", 0 },
	{ SANDBOX_VSOCK, try_poll, WORKED, NULL, "vsock waits", 0 },
	{ SANDBOX_VSOCK, try_unix, DIED, "socket", "vsock makes no socket", 0 },
	{ SANDBOX_CONNECT, try_unix, WORKED, NULL, "the process that connects for it does", 0 },
	{ SANDBOX_CONNECT, try_inet, DIED, "socket", "of no other kind", 0 },
	{ SANDBOX_CONNECT, try_open, DIED, "openat", "and opens nothing", 0 },
	{ SANDBOX_DISK, try_pread, WORKED, NULL, "a disk reads", 0 },
	{ SANDBOX_NBD, try_poll, WORKED, NULL, "a disk of a server waits for it", 0 },
	{ SANDBOX_NBD, try_inet, DIED, "socket", "a disk of a server makes no other connection", 0 },
	{ SANDBOX_DISK, try_open, DIED, "openat", "a disk opens nothing", 0 },
	{ SANDBOX_DISK, try_inet, DIED, "socket", "a disk makes no socket", 0 },
	{ SANDBOX_DISK, try_exec, DIED, "execve", "a disk runs no program", 0 },
	{ SANDBOX_NET_USER, try_inet, WORKED, NULL, "the user network makes IP sockets", 0 },
	{ SANDBOX_NET_USER, try_unix, EAFNOSUPPORT, NULL, "the user network has no Unix sockets", 0 },
	{ SANDBOX_NET_USER, try_packet, DIED, "socket", "the user network has no packet sockets", 0 },
	{ SANDBOX_NET_USER, try_open, WORKED, NULL, "the user network reads in its directory", 0 },
	{ SANDBOX_NET_USER, try_open_outside, EACCES, NULL, "the user network reads nowhere else", 1 },
	{ SANDBOX_NET_USER, try_open_write, DIED, "openat", "the user network opens nothing for writing", 0 },
	{ SANDBOX_NET_USER, try_exec, DIED, "execve", "the user network runs no program", 0 },
	{ SANDBOX_NET_TAP, try_poll, WORKED, NULL, "a tap interface is waited for", 0 },
	{ SANDBOX_NET_TAP, try_inet, DIED, "socket", "a tap interface makes no socket", 0 },
	{ SANDBOX_NET_DGRAM, try_poll, WORKED, NULL, "a socket to a network is waited for", 0 },
	{ SANDBOX_NET_DGRAM, try_inet, DIED, "socket", "a card on it makes none", 0 },
	{ SANDBOX_NET_DGRAM, try_open, DIED, "openat", "and opens nothing", 0 },
	{ SANDBOX_SHARE, try_open, WORKED, NULL, "a share opens its files", 0 },
	{ SANDBOX_SHARE, try_open_write, WORKED, NULL, "a share opens them for writing", 0 },
	{ SANDBOX_SHARE, try_open_outside, EACCES, NULL, "a share opens no other files", 2 },
	{ SANDBOX_SHARE, try_mkdir_outside, EACCES, NULL, "a share makes no other directories", 2 },
	{ SANDBOX_SHARE, try_inet, DIED, "socket", "a share makes no socket", 0 },
	{ SANDBOX_SHARE, try_exec, DIED, "execve", "a share runs no program", 0 },
	{ SANDBOX_SHARE, try_mkdir, WORKED, NULL, "a share makes directories", 0 },
	{ SANDBOX_SHARE_RO, try_open, WORKED, NULL, "a share that is only read opens its files", 0 },
	{ SANDBOX_SHARE_RO, try_open_write, EACCES, NULL, "a share that is only read opens none for writing", 1 },
	{ SANDBOX_SHARE_RO, try_mkdir, DIED, "mkdirat", "a share that is only read makes no directory", 0 },
	{ SANDBOX_SHARE_RO, try_unshare, DIED, "unshare", "a share leaves no namespace", 0 },
	/* last: it takes the file away */
	{ SANDBOX_MAIN, try_unlink, WORKED, NULL, "main removes a file in its directory", 0 },
};

static void run_table(void)
{
	char said[512], want[64];

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		const struct test *t = &tests[i];
		int got;

		if (t->landlock > landlock) {
			tap_result(true, __FILE__, __LINE__, "%s # SKIP this kernel's Landlock has version %u", t->name, landlock);
			continue;
		}
		got = in_role(t->role, dir, t->try, said, sizeof(said));
		if (!ok(got == t->want, "%s", t->name))
			diag("got %d, want %d (%d: died); it said: %s", got, t->want, DIED, said);
		if (!t->call)
			continue;
		snprintf(want, sizeof(want), " %s (", t->call);
		if (!ok(strstr(said, want), "... and the message names %s", t->call))
			diag("it said: %s", said);
	}
}

/* What a role's thread has left, seen from one that is not filtered: a child's first thread looks at the second. */
static struct {
	enum sandbox_role role;
	pthread_barrier_t entered, seen;
	pid_t tid;
} other;

static void *confined(void *arg)
{
	other.tid = (pid_t)syscall(SYS_gettid);
	sandbox_enter(other.role, (const char *[]){ dir, NULL });
	pthread_barrier_wait(&other.entered);
	pthread_barrier_wait(&other.seen);
	return arg;
}

static uint64_t field(const char *name)
{
	char line[256], path[64];
	uint64_t val = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", other.tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			val = strtoull(line + strlen(name) + 1, NULL, 16);
	if (f)
		fclose(f);
	return val;
}

static void test_credentials(enum sandbox_role role, const char *name, uint64_t keep)
{
	pthread_t t;
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int bad = sandbox_init() ? 1 : 0;

		other.role = role;
		pthread_barrier_init(&other.entered, NULL, 2);
		pthread_barrier_init(&other.seen, NULL, 2);
		if (pthread_create(&t, NULL, confined, NULL))
			_exit(1);
		pthread_barrier_wait(&other.entered);
		bad |= (field("CapEff") & ~keep) ? 2 : 0;
		bad |= (field("CapPrm") & ~keep) ? 2 : 0;
		bad |= geteuid() == 0 && keep && !(field("CapEff") & keep) ? 4 : 0;
		bad |= field("NoNewPrivs") != 1 ? 8 : 0;
		bad |= field("Seccomp") != 2 ? 16 : 0;
		_exit(bad);
	}
	waitpid(pid, &status, 0);
	is_u64(WIFEXITED(status) ? (uint64_t)WEXITSTATUS(status) : 99, 0,
	       "%s: the right capabilities are left, none can be gained, and there is a filter", name);
}

static int limits_hard(void)
{
	struct rlimit lim, more;

	/* After the filter: prlimit() is in no list. */
	if (getrlimit(RLIMIT_NOFILE, &lim))
		return 1;
	more = lim;
	more.rlim_max++;
	return setrlimit(RLIMIT_NOFILE, &more);
}

static int try_nothing(void)
{
	return 0;
}

int main(void)
{
	char said[512];
	int fd;

	if (!sandbox_probe(&landlock)) {
		skip("the sandbox", "this kernel has no seccomp filters");
		return tap_done();
	}
	parent = getpid();
	if (!mkdtemp(dir))
		return 1;
	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(below, sizeof(below), "%s/made", dir);
	snprintf(outside, sizeof(outside), "%s-outside", dir);
	for (unsigned int i = 0; i < 2; i++) {
		fd = open(i ? outside : file, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
		if (fd < 0)
			return 1;
		close(fd);
	}

	for (int role = 0; role < SANDBOX_NR_ROLES; role++)
		is_u64((uint64_t)in_role((enum sandbox_role)role, dir, try_nothing, said, sizeof(said)), WORKED,
		       "role %d: entered, and the thread ends", role);
	is_u64((uint64_t)in_role(SANDBOX_MAIN, dir, limits_hard, said, sizeof(said)), DIED, "limits are not to be changed");
	run_table();
	test_credentials(SANDBOX_MAIN, "main", 0);
	test_credentials(SANDBOX_DISK, "disk", 0);
	test_credentials(SANDBOX_NET_USER, "net", 0);
	test_credentials(SANDBOX_SHARE, "share",
			 1 << CAP_CHOWN | 1 << CAP_DAC_OVERRIDE | 1 << CAP_FOWNER | 1 << CAP_FSETID);
	test_credentials(SANDBOX_SHARE_RO, "share that is only read", 1 << CAP_DAC_READ_SEARCH);

	unlink(file);
	unlink(outside);
	rmdir(below);
	rmdir(dir);
	return tap_done();
}
