// SPDX-License-Identifier: GPL-2.0-only
/*
 * sandbox.c - the confinement of threads: system calls (seccomp), files (Landlock), capabilities, limits
 *
 * A guest that takes over a device's code by what it wrote into its queues runs as a thread of this process. What that
 * thread can then do to the host is what the lists below leave it. Every thread confines itself before it looks at
 * anything of the guest's; files, interfaces and listening sockets have been opened by then.
 *
 * An entry is here because something breaks without it; the comment says what. A call that is not in the list of the
 * thread's role ends the process by SIGSYS, with a message that names it (sandbox_explain()).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/kvm.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <unistd.h>

#include "cmd.h"
#include "msg.h"
#include "sandbox.h"

/* System calls */

struct call {
	bool used;			/* false ends a list */
	int nr;
	int err;			/* not allowed: fails with this error, and nothing else happens */
	unsigned int conditions;	/* 0 or 1 */
	struct scmp_arg_cmp arg;
};

#define CALL(name)		{ .nr = SCMP_SYS(name), .used = true }
/* if (argument @n & @mask) == @value */
#define CALL_IF(name, n, mask, value) \
	{ .nr = SCMP_SYS(name), .used = true, .conditions = 1, \
	  .arg = { .arg = (n), .op = SCMP_CMP_MASKED_EQ, .datum_a = (mask), .datum_b = (value) } }
#define CALL_FAILS(name, error)	{ .nr = SCMP_SYS(name), .used = true, .err = (error) }
#define CALL_FAILS_IF(name, n, value, error) \
	{ .nr = SCMP_SYS(name), .used = true, .err = (error), .conditions = 1, \
	  .arg = { .arg = (n), .op = SCMP_CMP_EQ, .datum_a = (value) } }
#define IOCTL(cmd)		CALL_IF(ioctl, 1, 0xffffffffu, (uint32_t)(cmd))

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER
#endif
#endif

#define SELF			UINT64_MAX	/* as a value: this process's number */

/* Every thread. */
static const struct call common[] = {
	CALL(futex),				/* locks and conditions */
	CALL_IF(mmap, 2, PROT_EXEC, 0),		/* memory, but nothing that can be run; malloc() */
	CALL_IF(mprotect, 2, PROT_EXEC, 0),	/* growing heaps of malloc(); stacks of threads */
	CALL(munmap),
	CALL(mremap),				/* realloc() */
	CALL(madvise),				/* memory given back, the guest's too; the stack of a thread that ends */
	CALL(brk),
	CALL(getrandom),			/* malloc()'s own key; RDRAND and virtio-rng */
	CALL(sched_yield),			/* spinning for another thread; PAUSE */
	CALL(clock_gettime),			/* on hosts whose vDSO has no clock */
	CALL(gettimeofday),
	CALL(clock_nanosleep),			/* MWAIT, rate limit of virtio-rng */
	CALL(nanosleep),
	CALL(restart_syscall),			/* of a wait that SIGSTOP interrupted */
	CALL(write),				/* eventfds of the loop and of cards; messages */
	CALL(writev),				/* last words of malloc() and assert() */
	CALL(epoll_wait),			/* a device's doorbell */
	CALL(epoll_pwait),
	CALL(timerfd_settime),			/* a device's timer, from any thread */
	IOCTL(KVM_IRQ_LINE),			/* an interrupt */
	IOCTL(KVM_SIGNAL_MSI),
	IOCTL(TCGETS),				/* messages: is standard error a terminal? */
	IOCTL(TCSETS),				/* the terminal's mode is put back before a crash */
	CALL(getpid),
	CALL(gettid),
	CALL_IF(tgkill, 0, 0xffffffffu, SELF),	/* kicks of vCPUs; abort(), and raise() in handlers */
	CALL(rt_sigprocmask),
	CALL(rt_sigreturn),
	CALL(exit),				/* the end of the thread */
#ifdef ADDRESS_SANITIZER
	CALL(sigaltstack),			/* its threads, at start and end */
	CALL(sched_getaffinity),
#endif
	{ 0 }
};

static const struct call vcpu[] = {
	CALL_IF(ioctl, 1, 0xff00u, KVMIO << 8),	/* KVM_RUN and what belongs to the vCPU */
	CALL(rt_sigaction),			/* the software CPU passes on a SIGFPE that is none of the guest's */
	CALL(epoll_ctl),			/* the guest's UART wants input again */
	CALL(sendto),				/* a byte of the console to who watches it; events */
	IOCTL(TUNSETOFFLOAD),			/* the driver of a card on a tap interface starts */
	IOCTL(VHOST_SET_FEATURES),		/* and the kernel is to serve it: virtio/vhost-net.c */
	IOCTL(VHOST_SET_MEM_TABLE),
	IOCTL(VHOST_SET_VRING_NUM),
	IOCTL(VHOST_SET_VRING_BASE),
	IOCTL(VHOST_GET_VRING_BASE),
	IOCTL(VHOST_SET_VRING_ADDR),
	IOCTL(VHOST_SET_VRING_KICK),
	IOCTL(VHOST_SET_VRING_CALL),
	IOCTL(VHOST_SET_VRING_ERR),
	IOCTL(VHOST_NET_SET_BACKEND),		/* or no longer to */
	CALL(close),				/* a reset of the 9p device */
	CALL(io_uring_enter),			/* a request that the guest waits for: virtio/pool.c */
	{ 0 }
};

static const struct call console[] = {
	CALL(poll),				/* standard output that someone else made non-blocking */
	CALL(epoll_ctl),			/* there is room again: the guest's UART goes on */
	CALL(sendto),
	{ 0 }
};

static const struct call channel[] = {
	CALL(poll),
	CALL(read),				/* its eventfd */
	CALL(accept4),				/* a client */
	CALL(recvfrom),
	CALL(sendto),
	CALL(close),
	{ 0 }
};

static const struct call vsock[] = {
	CALL(recvmsg),				/* a connection of the guest's; beside what a channel does */
	CALL(shutdown),
	{ 0 }
};

static const struct call connects[] = {
	CALL_IF(socket, 0, 0xffffffffu, AF_UNIX),
	CALL(connect),
	CALL(recvfrom),				/* what port */
	CALL(sendmsg),
	CALL(close),
	CALL(exit_group),
	{ 0 }
};

static const struct call disk[] = {
	CALL(preadv),
	CALL(pread64),
	CALL(pwritev),
	CALL(pwrite64),
	CALL(io_uring_enter),			/* a ring that can do no more than the four above: block/ring.c */
	CALL(fdatasync),
	CALL(fsync),
	CALL(fallocate),			/* discard, zeroes, preallocation of qcow2 */
	CALL(ftruncate),			/* a qcow2 file grows */
	CALL(lseek),				/* holes; the size of a block device */
	CALL(fstat),
	CALL(newfstatat),			/* fstat() of some C libraries */
	IOCTL(BLKGETSIZE64),
	IOCTL(BLKSSZGET),			/* O_DIRECT, on a disk that is added */
	IOCTL(BLKDISCARD),
	IOCTL(BLKZEROOUT),
	{ 0 }
};

static const struct call nbd[] = {
	CALL(poll),				/* the server's answer */
	CALL(sendto),
	CALL(sendmsg),
	CALL(recvfrom),
	CALL(shutdown),				/* a connection that has broken; those of libslirp, at the end */
	CALL(close),
	{ 0 }
};

/* What main has by itself; it starts vCPU threads, and closes disks and networks. */
static const struct call loop[] = {
	CALL_IF(clone, 0, CLONE_VM | CLONE_THREAD, CLONE_VM | CLONE_THREAD),	/* vCPU threads; no processes */
	CALL_FAILS(clone3, ENOSYS),		/* its flags are out of a filter's sight: the C library takes clone() */
	CALL(set_robust_list),			/* a new thread */
	CALL(rseq),
	CALL_IF(prctl, 0, 0xffffffffu, PR_SET_NAME),
	CALL_IF(prctl, 0, 0xffffffffu, PR_SET_SECCOMP),	/* a new thread confines itself further */
	CALL(read),				/* signals, keys */
	CALL(accept4),				/* the control socket */
	CALL(recvmsg),				/* and files that come by it */
	CALL_IF(fcntl, 1, 0xffffffffu, F_GETFL),	/* how were they opened? */
	CALL_IF(fcntl, 1, 0xffffffffu, F_OFD_SETLK),	/* and locked, if they are images */
	CALL_IF(getsockopt, 1, 0xffffffffu, SOL_SOCKET),	/* and of what type, if they are sockets */
	IOCTL(TUNGETIFF),			/* and set up, if they are interfaces */
	IOCTL(TUNGETVNETHDRSZ),
	IOCTL(VHOST_GET_FEATURES),		/* and vhost-net, for an interface */
	IOCTL(VHOST_SET_OWNER),
	IOCTL(VHOST_RESET_OWNER),		/* which the next card may have */
	CALL_IF(fcntl, 1, 0xffffffffu, F_DUPFD_CLOEXEC),	/* for a device that is added */
	CALL(eventfd2),				/* for it, too */
	CALL(epoll_create1),
	CALL(memfd_create),			/* the stubs' cache, at a reset; counters as text */
	CALL(mmap),				/* the translator's cache, at a reset: code */
	CALL_IF(kill, 0, 0xffffffffu, SELF),	/* Ctrl-Z: SIGSTOP */
	CALL(getpgrp),				/* in the foreground? */
	CALL(getpgid),
	IOCTL(TIOCGPGRP),
	CALL(wait4),				/* the process that connects for --vsock, at the end */
	CALL(unlink),				/* the control socket and those of channels, at the end */
	CALL(unlinkat),
	CALL(exit_group),
	{ 0 }
};

static const struct call net_user[] = {
	CALL(poll),
	CALL(read),
	CALL_IF(socket, 0, 0xffffffffu, AF_INET),
	CALL_IF(socket, 0, 0xffffffffu, AF_INET6),
	CALL_FAILS_IF(socket, 0, AF_UNIX, EAFNOSUPPORT),	/* if_nametoindex(), for a resolver fe80::...%eth0 */
	CALL(bind),
	CALL(connect),
	CALL(listen),				/* a connection of hostfwd= */
	CALL(accept),
	CALL(accept4),
	CALL(sendto),
	CALL(sendmsg),
	CALL(recvfrom),
	CALL(recvmsg),
	CALL(getsockopt),
	CALL(setsockopt),
	CALL(getsockname),
	CALL(getpeername),
	CALL(shutdown),
	CALL(close),
	CALL_IF(fcntl, 1, 0xffffffffu, F_GETFL),	/* sockets that don't block */
	CALL_IF(fcntl, 1, 0xffffffffu, F_SETFL),
	CALL_IF(fcntl, 1, 0xffffffffu, F_SETFD),
	IOCTL(FIONREAD),
	IOCTL(FIONBIO),
	CALL_IF(openat, 2, O_ACCMODE, O_RDONLY),	/* /etc/resolv.conf, which changes as the host moves */
	CALL(stat),				/* has it? */
	CALL(newfstatat),
	CALL(fstat),
	{ 0 }
};

static const struct call net_tap[] = {
	CALL(poll),
	CALL(read),
	IOCTL(TUNSETOFFLOAD),
	IOCTL(VHOST_NET_SET_BACKEND),		/* a guest has broken a ring: no more of it */
	{ 0 }
};

static const struct call net_dgram[] = {
	CALL(poll),
	CALL(read),				/* its eventfd */
	CALL(recvfrom),
	CALL(sendmsg),
	{ 0 }
};

/* Reading and walking; which files is Landlock's business, and openat2()'s (fs/tree.h). */
static const struct call share_ro[] = {
	CALL(openat2),
	CALL(openat),				/* a node that is opened, through /proc/self/fd */
	CALL(close),
	CALL_IF(fcntl, 1, 0xffffffffu, F_DUPFD_CLOEXEC),
	CALL(fstat),
	CALL(newfstatat),
	CALL(fstatfs),
	CALL(readlinkat),
	CALL(getdents64),
	CALL(lseek),
	CALL(pread64),
	CALL(preadv2),
	CALL(fsync),				/* allowed on what is open for reading */
	CALL(fdatasync),
	{ 0 }
};

static const struct call share_rw[] = {
	CALL(pwrite64),
	CALL(pwritev2),
	CALL(ftruncate),
	CALL(fchmod),
	CALL(fchmodat),
	CALL(fchownat),
	CALL(utimensat),
	CALL(mkdirat),
	CALL(mknodat),
	CALL(symlinkat),
	CALL(linkat),
	CALL(renameat),
	CALL(unlinkat),
	{ 0 }
};

/* Files: rights of Landlock that headers may not have yet */

#define FS_ABI_1	((1ull << 13) - 1)	/* Linux 5.13: all up to MAKE_SYM */
#define FS_REFER	(1ull << 13)		/* 5.19 */
#define FS_TRUNCATE	(1ull << 14)		/* 6.2 */
#define FS_IOCTL_DEV	(1ull << 15)		/* 6.10 */

#define FS_READ		(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE	(FS_ABI_1 & ~(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_BLOCK))

#define CAP(name)	(1ull << CAP_##name)
/* What makes a root of the guest the owner of a tree that the host's root has shared. */
#define CAP_FILES	(CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FOWNER) | CAP(FSETID))

static const struct role {
	const char *name;		/* of its threads, in messages */
	const struct call *calls[6];
	uint64_t files;			/* rights of Landlock below the role's directory */
	uint64_t caps;			/* capabilities it keeps if it has them */
	bool inherits;			/* its threads come from a confined one */
	bool cross;			/* moves files between directories: needs Landlock to know of that */
} roles[SANDBOX_NR_ROLES] = {
	[SANDBOX_MAIN] = { .name = "main", .calls = { common, vcpu, disk, nbd, loop }, .files = LANDLOCK_ACCESS_FS_REMOVE_FILE },
	[SANDBOX_VCPU] = { .name = "vcpu", .calls = { common, vcpu }, .inherits = true },
	[SANDBOX_CONSOLE] = { .name = "console", .calls = { common, console } },
	[SANDBOX_RNG] = { .name = "rng", .calls = { common } },
	[SANDBOX_BALLOON] = { .name = "balloon", .calls = { common } },
	[SANDBOX_CHANNEL] = { .name = "channel", .calls = { common, channel } },
	[SANDBOX_CONNECT] = { .name = "vsock-connect", .calls = { common, connects } },
	[SANDBOX_VSOCK] = { .name = "vsock", .calls = { common, channel, vsock } },
	[SANDBOX_DISK] = { .name = "blk", .calls = { common, disk } },
	[SANDBOX_NBD] = { .name = "blk", .calls = { common, disk, nbd } },
	[SANDBOX_NET_USER] = { .name = "net", .calls = { common, net_user }, .files = LANDLOCK_ACCESS_FS_READ_FILE },
	[SANDBOX_NET_TAP] = { .name = "net", .calls = { common, net_tap } },
	[SANDBOX_NET_DGRAM] = { .name = "net", .calls = { common, net_dgram } },
	[SANDBOX_SHARE] = {
		.name = "9p", .calls = { common, share_ro, share_rw }, .caps = CAP_FILES, .cross = true,
		.files = FS_READ | FS_WRITE | FS_REFER | FS_TRUNCATE,
	},
	[SANDBOX_SHARE_RO] = {
		.name = "9p", .calls = { common, share_ro }, .caps = CAP(DAC_READ_SEARCH), .files = FS_READ,
	},
};

static struct {
	bool on;
	int landlock;			/* version of its ABI, 0: none */
	pthread_mutex_t lock;		/* the filters, each made when it is first wanted */
	struct sock_fprog filter[SANDBOX_NR_ROLES];
	char call_name[512][28];
} sandbox = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local const char *my_role = "(not confined)";
static _Thread_local bool entered, inherited;

/* Building a filter */

static int add_call(scmp_filter_ctx ctx, const struct call *c)
{
	struct scmp_arg_cmp arg = c->arg;

	if (arg.datum_b == SELF)
		arg.datum_b = (uint64_t)getpid();
	return seccomp_rule_add_array(ctx, c->err ? SCMP_ACT_ERRNO(c->err) : SCMP_ACT_ALLOW, c->nr, c->conditions, &arg);
}

/* The program as libseccomp writes it out, by way of a file in memory. */
static int export(scmp_filter_ctx ctx, struct sock_fprog *prog)
{
	int fd = memfd_create("filter", MFD_CLOEXEC), err = 0;
	struct stat st = { 0 };

	if (fd < 0)
		return -errno;
	err = seccomp_export_bpf(ctx, fd);
	if (!err && fstat(fd, &st))
		err = -errno;
	if (!err) {
		prog->len = (unsigned short)((size_t)st.st_size / sizeof(*prog->filter));
		prog->filter = malloc((size_t)st.st_size);
		if (!prog->filter)
			err = -ENOMEM;
		else if (pread(fd, prog->filter, (size_t)st.st_size, 0) != st.st_size)
			err = -EIO;
	}
	close(fd);
	return err;
}

static int build(const struct role *role, struct sock_fprog *prog)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	int err = ctx ? 0 : -ENOMEM;

	/* Calls of another architecture, by int 0x80 for one, say nothing: no program of ours makes any. */
	if (!err)
		err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* A tree instead of a list; older libraries have only that. */
	if (!err)
		seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (unsigned int i = 0; !err && role->calls[i]; i++)
		for (const struct call *c = role->calls[i]; !err && c->used; c++)
			err = add_call(ctx, c);
	if (!err)
		err = export(ctx, prog);
	seccomp_release(ctx);
	return err;
}

static int get_filter(enum sandbox_role role, struct sock_fprog *prog)
{
	int err = 0;

	pthread_mutex_lock(&sandbox.lock);
	if (!sandbox.filter[role].filter)
		err = build(&roles[role], &sandbox.filter[role]);
	*prog = sandbox.filter[role];
	pthread_mutex_unlock(&sandbox.lock);
	return err;
}

/* Confining */

static int allow_below(int ruleset, uint64_t rights, const char *dir)
{
	struct landlock_path_beneath_attr beneath = { .allowed_access = rights };
	int err = 0;

	beneath.parent_fd = open(dir, O_PATH | O_CLOEXEC);
	if (beneath.parent_fd < 0)
		return -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0))
		err = -errno;
	close(beneath.parent_fd);
	return err;
}

/* A thread without any right to files but @role's to those below @dirs. */
static int restrict_files(const struct role *role, const char *const *dirs)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = FS_ABI_1 };
	uint64_t rights;
	int fd, err = 0;

	if (!sandbox.landlock || (role->cross && sandbox.landlock < 2))
		return 0;
	if (sandbox.landlock >= 2)
		attr.handled_access_fs |= FS_REFER;
	if (sandbox.landlock >= 3)
		attr.handled_access_fs |= FS_TRUNCATE;
	if (sandbox.landlock >= 5)
		attr.handled_access_fs |= FS_IOCTL_DEV;
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	if (fd < 0)
		return -errno;
	rights = role->files & attr.handled_access_fs;
	while (!err && rights && dirs && *dirs)
		err = allow_below(fd, rights, *dirs++);
	if (!err && syscall(SYS_landlock_restrict_self, fd, 0))
		err = -errno;
	close(fd);
	return err;
}

static int drop_caps(uint64_t keep)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &head, data))
		return -errno;
	for (unsigned int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(keep >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) ? -errno : 0;
}

/* Of the whole process: a limit that a user can raise is none. */
static int fix_limits(void)
{
	for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
		struct rlimit lim;

		if (getrlimit(i, &lim))
			return -errno;
		lim.rlim_max = lim.rlim_cur;
		if (setrlimit(i, &lim))
			return -errno;
	}
	return 0;
}

bool sandbox_entered(void)
{
	return entered;
}

void sandbox_inherited(void)
{
	inherited = true;
}

void sandbox_prepare(enum sandbox_role role)
{
	struct sock_fprog prog;

	/* A failure shows when it is entered. */
	if (sandbox.on)
		(void)get_filter(role, &prog);
}

pid_t sandbox_fork(enum sandbox_role role)
{
	pid_t pid;

	sandbox_prepare(role);
	/* Another thread's lock would never be free in the child. */
	pthread_mutex_lock(&sandbox.lock);
	pid = fork();
	pthread_mutex_unlock(&sandbox.lock);
	return pid;
}

void sandbox_enter(enum sandbox_role nr, const char *const *dirs)
{
	const struct role *role = &roles[nr];
	const bool first = !role->inherits && !inherited;
	const char *what = "make the system call filter";
	struct sock_fprog prog;
	sigset_t set;
	int err;

	if (!sandbox.on)
		return;
	my_role = role->name;
	/* Blocked, it would kill without a word. */
	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	err = get_filter(nr, &prog);
	if (!err && nr == SANDBOX_MAIN) {
		what = "fix the resource limits";
		err = fix_limits();
	}
	if (!err && first) {
		what = "give up new privileges";
		err = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
	}
	if (!err && first) {
		what = "confine files (Landlock)";
		err = restrict_files(role, dirs);
	}
	if (!err && first) {
		what = "drop capabilities";
		err = drop_caps(role->caps);
	}
	if (!err) {
		what = "filter system calls (seccomp)";
		err = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) ? -errno : 0;
	}
	entered = true;
	if (!err)
		return;
	/* Nothing of the guest's has been touched, and unconfined it is not to be. */
	msg_error("confine the thread '%s' (--sandbox on): %s: %s. --sandbox off runs without", role->name, what,
		  strerror(-err));
	exit(EXIT_FAILED);
}

bool sandbox_probe(unsigned int *landlock_abi)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	*landlock_abi = abi > 0 ? (unsigned int)abi : 0;
	/* A filter that can't be read: the kernel gets as far as that only if it knows filters. */
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) < 0 && errno == EFAULT;
}

/*
 * What glibc would read from files of /sys and /proc, and in the middle of the run: how many arenas are sensible, once
 * threads stand in each other's way, and whether a heap may shrink, once that is worth while. None does: larger
 * pieces, which are mapped one by one, go back to the system by themselves.
 */
static void settle_malloc(void)
{
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 8 * (int)host_cpus());
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

int sandbox_init(void)
{
	unsigned int abi;

	if (!sandbox_probe(&abi)) {
		msg_error("confine the machine (--sandbox on): this kernel filters no system calls (seccomp). Build it with "
			  "CONFIG_SECCOMP_FILTER=y, or run without: --sandbox off");
		return -ENOSYS;
	}
	sandbox.landlock = (int)abi;
	settle_malloc();
	/* A handler can't ask the library. */
	for (int i = 0; i < (int)(sizeof(sandbox.call_name) / sizeof(sandbox.call_name[0])); i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);

		snprintf(sandbox.call_name[i], sizeof(sandbox.call_name[i]), "%s", name ? name : "unknown");
		free(name);
	}
	sandbox.on = true;
	return 0;
}

void sandbox_explain(const siginfo_t *info)
{
	const unsigned int nr = (unsigned int)info->si_syscall;
	char text[256], digits[12];
	const char *parts[] = {
		"tenon: sandbox: the thread '", my_role, "' made the system call ", NULL, " (", NULL,
		"), which it has no use for: a guest may have broken into it, or the list in Documentation/sandbox.rst is "
		"too short here\n",
	};
	size_t n = 0;
	char *d = digits + sizeof(digits) - 1;
	unsigned int v = nr;

	/* snprintf() may not be called here. */
	*d = '\0';
	do {
		*--d = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	parts[3] = nr < sizeof(sandbox.call_name) / sizeof(sandbox.call_name[0]) ? sandbox.call_name[nr] : "unknown";
	parts[5] = d;
	for (unsigned int i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		for (const char *p = parts[i]; *p && n < sizeof(text); p++)
			text[n++] = *p;
	if (write(STDERR_FILENO, text, n) < 0) { }
}
