// SPDX-License-Identifier: GPL-2.0-only
/*
 * term.c - the terminal (or file, or pipe) on standard input and output as the guest's console; signals
 *
 * On a terminal, input is raw: every key goes to the guest, Ctrl-C included, and Ctrl-A is the way out.
 * Whatever happens, the terminal gets its old mode back: at exit, at fatal signals, while stopped.
 *
 * Standard input and output are never made non-blocking: that mode would be shared with every process that
 * has the same terminal open. So output has a thread that may block, and input is read only when poll says
 * so.
 *
 * Locks: the device lock guards input; out.lock guards the queue of output and is innermost.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../ctl.h"
#include "../msg.h"
#include "../sandbox.h"
#include "../vm.h"
#include "term.h"

#define IN_SIZE		4096u
#define OUT_SIZE	(1u << 20)	/* beyond that, bytes of a guest that ignores flow control are lost */
#define OUT_HIGH	(64u << 10)	/* from here on the guest is told to wait */
#define OUT_LOW		(32u << 10)
#define OUT_BATCH	512u		/* that many are worth a system call at once */
#define OUT_DELAY_NS	1000000u	/* or a newline, or this long */

#define ESCAPE		0x01		/* Ctrl-A */

/* The modes needed by signal handlers are kept apart, constant once tty_known is set. */
static struct termios mode_saved, mode_raw;
static atomic_bool tty_known;		/* stdin and stdout are a terminal, mode_saved is valid */
static atomic_bool tty_raw;
static atomic_bool mid_line;

static struct {
	struct vm *vm;
	bool ready;

	/* signals */
	struct watch sig;
	sigset_t sigmask_before;

	/* input */
	struct watch in;
	struct timer in_timer;		/* for what epoll refuses: regular files */
	bool in_pollable, in_eof;
	bool in_held;			/* the guest is not ready for it */
	uint32_t in_taken;		/* bytes that the client has taken, modulo 2^32 */
	bool escape;			/* the last key was the escape */
	uint8_t in_buf[IN_SIZE];
	unsigned int in_head, in_len;
	const struct term_client *client;
	void *client_opaque;

	/* output */
	struct {
		pthread_t thread;
		bool started;
		pthread_mutex_t lock;
		pthread_cond_t cond;	/* to the thread: more, or closing */
		pthread_cond_t done;	/* from the thread: finished */
		uint8_t *buf;
		unsigned int head, len;
		bool urgent, full, closing, finished, failed;
	} out;
} term = {
	.sig.fd = -1,
	.in.fd = -1,
};

/* Terminal mode. The first three are called from signal handlers too. */

static bool tty_foreground(void)
{
	return tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static void tty_restore(void)
{
	if (atomic_load(&tty_known) && atomic_exchange(&tty_raw, false))
		tcsetattr(STDIN_FILENO, TCSANOW, &mode_saved);
}

static void tty_enter(void)
{
	/* A background process has no business with the mode; SIGCONT comes when that changes. */
	if (atomic_load(&tty_known) && tty_foreground() && !tcsetattr(STDIN_FILENO, TCSANOW, &mode_raw))
		atomic_store(&tty_raw, true);
}

static void tty_init(void)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &mode_saved) < 0)
		return;
	mode_raw = mode_saved;
	cfmakeraw(&mode_raw);
	mode_raw.c_cc[VMIN] = 1;
	mode_raw.c_cc[VTIME] = 0;
	if (!atomic_exchange(&tty_known, true))
		atexit(tty_restore);
	tty_enter();
}

bool term_is_raw(void)
{
	return atomic_load(&tty_raw);
}

bool term_mid_line(void)
{
	return atomic_load(&mid_line);
}

void term_new_line(void)
{
	atomic_store(&mid_line, false);
}

/* Signals */

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS };
static const int served_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT };

#define ARRAY_LEN(a)	(sizeof(a) / sizeof((a)[0]))

static void fatal_signal(int sig, siginfo_t *info, void *context)
{
	static const char bus[] =
		"tenon: bus error: the host has no memory left for the guest. Give it less (--memory)\n";

	(void)context;
	tty_restore();
	if (sig == SIGSYS)
		sandbox_explain(info);
	if (sig == SIGBUS && write(STDERR_FILENO, bus, sizeof(bus) - 1) < 0) { }
	/* SA_RESETHAND has put the default action back: die of the same signal. */
	raise(sig);
}

static void term_signal(void *opaque, uint32_t events)
{
	struct vm *vm = opaque;
	struct signalfd_siginfo si;

	(void)events;
	if (read(term.sig.fd, &si, sizeof(si)) != sizeof(si))
		return;
	switch (si.ssi_signo) {
	case SIGTSTP:
		tty_restore();
		kill(getpid(), SIGSTOP);
		/* All threads stop here; SIGCONT is pending when they go on. */
		break;
	case SIGCONT:
		tty_enter();
		if (term.in.fd >= 0 && !term.in_eof && term.in_pollable)
			watch_mod(&vm->loop, &term.in, EPOLLIN | EPOLLONESHOT);
		break;
	default:
		vm_end(vm, VM_END_SIGNAL + (int)si.ssi_signo, "ended by signal %u (%s)", si.ssi_signo,
		       strsignal((int)si.ssi_signo));
	}
}

static int signals_init(struct vm *vm)
{
	struct sigaction sa = { .sa_sigaction = fatal_signal, .sa_flags = (int)SA_RESETHAND | SA_NODEFER | SA_SIGINFO }, old;
	sigset_t served, blocked;
	int ret;

	for (unsigned int i = 0; i < ARRAY_LEN(fatal_signals); i++) {
		/* Sanitizers, for one, have better handlers. */
		if (!sigaction(fatal_signals[i], NULL, &old) && old.sa_handler == SIG_DFL)
			sigaction(fatal_signals[i], &sa, NULL);
	}
	sa = (struct sigaction) { .sa_handler = SIG_IGN };
	sigaction(SIGPIPE, &sa, NULL);

	/*
	 * Blocked here, before any other thread exists, and so in all of them. SIGTTIN and SIGTTOU become
	 * errors of the calls that would raise them. What the parent has ignored (nohup) stays ignored.
	 */
	sigemptyset(&served);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTTIN);
	sigaddset(&blocked, SIGTTOU);
	for (unsigned int i = 0; i < ARRAY_LEN(served_signals); i++) {
		if (!sigaction(served_signals[i], NULL, &old) && old.sa_handler == SIG_IGN)
			continue;
		sigaddset(&served, served_signals[i]);
		sigaddset(&blocked, served_signals[i]);
	}
	pthread_sigmask(SIG_BLOCK, &blocked, &term.sigmask_before);
	term.sig = (struct watch) { .fn = term_signal, .opaque = vm };
	term.sig.fd = signalfd(-1, &served, SFD_NONBLOCK | SFD_CLOEXEC);
	ret = term.sig.fd < 0 ? -errno : watch_add(&vm->loop, &term.sig, EPOLLIN);
	if (ret)
		msg_error("set up the handling of signals: %s", strerror(-ret));
	return ret;
}

static void signals_exit(void)
{
	struct signalfd_siginfo si;

	if (term.sig.fd >= 0) {
		/* timeout(1) signals the process and then its group: the second one asks for what is being done. */
		while (read(term.sig.fd, &si, sizeof(si)) == sizeof(si))
			;
		watch_del(&term.vm->loop, &term.sig);
		close(term.sig.fd);
		term.sig.fd = -1;
	}
	/* From here on a signal ends the process in the ordinary way, should output block for good. */
	pthread_sigmask(SIG_SETMASK, &term.sigmask_before, NULL);
}

/* Output */

static bool out_write(const uint8_t *p, size_t len)
{
	struct pollfd pfd = { .fd = STDOUT_FILENO, .events = POLLOUT };

	while (len) {
		ssize_t n = write(STDOUT_FILENO, p, len);

		if (n >= 0) {
			p += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			poll(&pfd, 1, -1);	/* non-blocking by someone else's wish */
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

static void out_deadline(struct timespec *ts, uint64_t ns)
{
	ns += clock_ns();
	ts->tv_sec = (time_t)(ns / 1000000000u);
	ts->tv_nsec = (long)(ns % 1000000000u);
}

static void out_tell_writable(void)
{
	pthread_mutex_lock(&term.vm->lock);
	if (term.client)
		term.client->writable(term.client_opaque);
	pthread_mutex_unlock(&term.vm->lock);
}

static void *out_thread(void *arg)
{
	uint8_t chunk[4096];

	(void)arg;
	pthread_setname_np(pthread_self(), "console");
	sandbox_enter(SANDBOX_CONSOLE, NULL);
	pthread_mutex_lock(&term.out.lock);
	for (;;) {
		struct timespec until;
		unsigned int n;
		bool relieved, ok;

		while (!term.out.len && !term.out.closing)
			pthread_cond_wait(&term.out.cond, &term.out.lock);
		if (!term.out.len)
			break;
		out_deadline(&until, OUT_DELAY_NS);
		while (!term.out.urgent && !term.out.closing) {
			if (pthread_cond_timedwait(&term.out.cond, &term.out.lock, &until))
				break;
		}
		n = term.out.len < sizeof(chunk) ? term.out.len : sizeof(chunk);
		if (n > OUT_SIZE - term.out.head)
			n = OUT_SIZE - term.out.head;
		memcpy(chunk, term.out.buf + term.out.head, n);
		pthread_mutex_unlock(&term.out.lock);

		ok = term.out.failed || out_write(chunk, n);
		if (!ok) {
			/* Go on taking output, so that nobody waits for it. */
			term.out.failed = true;
			vm_end(term.vm, VM_END_ERROR, "write the guest's console to standard output: %s. The "
			       "machine was ended because nothing it says can be seen", strerror(errno));
		}

		pthread_mutex_lock(&term.out.lock);
		term.out.head = (term.out.head + n) % OUT_SIZE;
		term.out.len -= n;
		if (!term.out.len)
			term.out.urgent = false;
		relieved = term.out.full && term.out.len <= OUT_LOW;
		if (relieved) {
			term.out.full = false;
			pthread_mutex_unlock(&term.out.lock);
			out_tell_writable();
			pthread_mutex_lock(&term.out.lock);
		}
	}
	term.out.finished = true;
	pthread_cond_signal(&term.out.done);
	pthread_mutex_unlock(&term.out.lock);
	return NULL;
}

static void out_put(const uint8_t *p, size_t len)
{
	bool wake = false;

	pthread_mutex_lock(&term.out.lock);
	for (; len && term.out.len < OUT_SIZE; p++, len--) {
		term.out.buf[(term.out.head + term.out.len) % OUT_SIZE] = *p;
		wake |= !term.out.len++;
		if ((*p == '\n' || term.out.len >= OUT_BATCH) && !term.out.urgent)
			wake = term.out.urgent = true;
	}
	if (term.out.len >= OUT_HIGH)
		term.out.full = true;
	if (wake)
		pthread_cond_signal(&term.out.cond);
	pthread_mutex_unlock(&term.out.lock);
}

void term_write(uint8_t byte)
{
	/* With its last word (an exit status, say) the guest is at its end, though its processors take a while to stop. */
	if (atomic_load(&term.vm->end) != VM_RUNNING)
		return;
	/* Control characters don't matter: the cursor's column does. */
	atomic_store_explicit(&mid_line, byte != '\n' && byte != '\r', memory_order_relaxed);
	out_put(&byte, 1);
	ctl_console(term.vm, byte);
}

bool term_writable(void)
{
	bool ok;

	pthread_mutex_lock(&term.out.lock);
	ok = !term.out.full;
	pthread_mutex_unlock(&term.out.lock);
	return ok;
}

static int out_init(void)
{
	pthread_condattr_t attr;
	int ret;

	term.out.buf = malloc(OUT_SIZE);
	if (!term.out.buf)
		return -ENOMEM;
	pthread_mutex_init(&term.out.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&term.out.cond, &attr);
	pthread_cond_init(&term.out.done, &attr);
	pthread_condattr_destroy(&attr);
	ret = -pthread_create(&term.out.thread, NULL, out_thread, NULL);
	term.out.started = !ret;
	return ret;
}

static void out_exit(int patience_ms)
{
	struct timespec until;
	unsigned int left;

	if (!term.out.started) {
		free(term.out.buf);
		term.out.buf = NULL;
		return;
	}
	if (patience_ms >= 0)
		out_deadline(&until, (uint64_t)patience_ms * 1000000u);
	pthread_mutex_lock(&term.out.lock);
	term.out.closing = true;
	pthread_cond_signal(&term.out.cond);
	while (!term.out.finished) {
		if (patience_ms < 0)
			pthread_cond_wait(&term.out.done, &term.out.lock);
		else if (pthread_cond_timedwait(&term.out.done, &term.out.lock, &until))
			break;
	}
	left = term.out.finished ? 0 : term.out.len;
	pthread_mutex_unlock(&term.out.lock);
	if (left) {
		/* The thread is stuck in write() and keeps its buffer; the process is about to end. */
		msg_warn("%u bytes of the guest's console are lost: nobody reads standard output", left);
		return;
	}
	pthread_join(term.out.thread, NULL);
	free(term.out.buf);
	term.out.buf = NULL;
}

/* Input */

static void term_help(void)
{
	static const char text[] =
		"\r\n"
		"Ctrl-A h   this help\r\n"
		"Ctrl-A x   end the machine at once\r\n"
		"Ctrl-A p   press the power button: the guest shuts down if it listens\r\n"
		"Ctrl-A r   reset the machine\r\n"
		"Ctrl-A b   send a break (Linux: SysRq, with the next key)\r\n"
		"Ctrl-A n   send an NMI to the first processor\r\n"
		"Ctrl-A Ctrl-A   send Ctrl-A to the guest\r\n";

	out_put((const uint8_t *)text, sizeof(text) - 1);
	term_new_line();
}

/* The key after Ctrl-A; true if the guest gets it. */
static bool term_command(struct vm *vm, uint8_t key)
{
	switch (key) {
	case ESCAPE:
		return true;
	case 'x':
	case 'X':
		vm_end(vm, VM_END_SIGNAL + SIGINT, "ended by Ctrl-A x");
		break;
	case 'p':
	case 'P':
		vm_powerdown(vm);
		break;
	case 'r':
	case 'R':
		vm_reset_request(vm);
		break;
	case 'n':
	case 'N':
		vm->config.accel->nmi(&vm->vcpu[0]);
		break;
	case 'b':
	case 'B':
		if (term.client)
			term.client->send_break(term.client_opaque);
		break;
	default:
		term_help();
	}
	return false;
}

/* Only keys typed at a guest that does not listen can find it full: they are dropped. */
static void in_key(uint8_t key)
{
	if (term.in_len < IN_SIZE) {
		term.in_buf[(term.in_head + term.in_len) % IN_SIZE] = key;
		term.in_len++;
	}
}

static void in_put(struct vm *vm, const uint8_t *p, size_t n)
{
	bool keys = term_is_raw();

	for (; n; p++, n--) {
		if (keys && term.escape) {
			term.escape = false;
			if (!term_command(vm, *p))
				continue;
		} else if (keys && *p == ESCAPE) {
			term.escape = true;
			continue;
		}
		in_key(*p);
	}
}

static void in_close(struct vm *vm)
{
	term.in_eof = true;
	if (term.in_pollable)
		watch_del(&vm->loop, &term.in);
}

/* Wait for (more) input. Keys are taken at all times, for Ctrl-A; everything else when the guest wants it. */
static void in_arm(struct vm *vm)
{
	if (!term.ready || term.in_eof || (term.in_len && !term_is_raw()))
		return;
	if (term.in_pollable)
		watch_mod(&vm->loop, &term.in, EPOLLIN | EPOLLONESHOT);
	else
		timer_set(&vm->loop, &term.in_timer, clock_ns());
}

static void in_ready(void *opaque, uint32_t events)
{
	struct vm *vm = opaque;
	uint8_t buf[256];
	ssize_t n;

	(void)events;
	if (atomic_load(&tty_known) && !tty_foreground())
		return;			/* armed again by SIGCONT */
	n = read(STDIN_FILENO, buf, sizeof(buf));
	if (n > 0) {
		in_put(vm, buf, (size_t)n);
		if (term.in_len && term.client)
			term.client->input(term.client_opaque);
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
		in_close(vm);
		return;
	}
	in_arm(vm);
}

static void in_timer(void *opaque)
{
	in_ready(opaque, EPOLLIN);
}

size_t term_read(uint8_t *buf, size_t len)
{
	size_t n = 0;

	if (term.in_held)
		return 0;
	while (n < len && term.in_len) {
		buf[n++] = term.in_buf[term.in_head];
		term.in_head = (term.in_head + 1) % IN_SIZE;
		term.in_len--;
	}
	term.in_taken += (uint32_t)n;
	if (n && !term.in_len)
		in_arm(term.vm);
	return n;
}

void term_type(const uint8_t *keys, size_t len)
{
	while (len--)
		in_key(*keys++);
	if (term.in_len && term.client)
		term.client->input(term.client_opaque);
}

/* Give back what term_read() gave last. */
void term_unread(const uint8_t *buf, size_t len)
{
	term.in_taken -= (uint32_t)len;
	while (len--) {
		term.in_head = (term.in_head + IN_SIZE - 1) % IN_SIZE;
		term.in_buf[term.in_head] = buf[len];
		/* Full: the latest key makes room for the oldest. */
		if (term.in_len < IN_SIZE)
			term.in_len++;
	}
}

void term_hold(bool hold)
{
	term.in_held = hold;
	if (!hold && term.in_len && term.client)
		term.client->input(term.client_opaque);
}

uint32_t term_taken(bool *end)
{
	*end = term.in_eof && !term.in_len;
	return term.in_taken;
}

static int in_init(struct vm *vm)
{
	int ret;

	timer_init(&term.in_timer, in_timer, vm);
	term.in = (struct watch) { .fd = STDIN_FILENO, .fn = in_ready, .opaque = vm };
	ret = watch_add(&vm->loop, &term.in, EPOLLIN | EPOLLONESHOT);
	term.in_pollable = !ret;
	if (ret && ret != -EPERM) {
		msg_error("watch standard input: %s. Redirect it (</dev/null) if it is not needed",
			  strerror(-ret));
		return ret;
	}
	term.ready = true;
	if (ret)
		in_arm(vm);
	return 0;
}

/* The whole */

void term_attach(const struct term_client *client, void *opaque)
{
	term.client = client;
	term.client_opaque = opaque;
}

void term_detach(void)
{
	pthread_mutex_lock(&term.vm->lock);
	term.client = NULL;
	pthread_mutex_unlock(&term.vm->lock);
}

int term_init(struct vm *vm)
{
	int ret;

	term.vm = vm;
	ret = signals_init(vm);
	if (ret)
		goto fail;
	ret = out_init();
	if (ret) {
		msg_error("set up the console: %s", strerror(-ret));
		goto fail;
	}
	tty_init();
	ret = in_init(vm);
	if (ret)
		goto fail;
	if (isatty(STDERR_FILENO) && term_is_raw())
		msg_info("the guest's console follows; Ctrl-A x ends the machine, Ctrl-A h lists other keys");
	return 0;

fail:
	term_exit(-1);
	return ret;
}

void term_exit(int patience_ms)
{
	if (term.ready) {
		timer_set(&term.vm->loop, &term.in_timer, TIMER_OFF);
		if (!term.in_eof && term.in_pollable)
			watch_del(&term.vm->loop, &term.in);
		term.ready = false;
	}
	/* Before the wait for output: the keyboard must be able to interrupt that. */
	tty_restore();
	signals_exit();
	out_exit(patience_ms);
}
