// SPDX-License-Identifier: GPL-2.0-only
/*
 * launcher-vm.c - a machine from start to end, with resets, signals, terminals and everything that can fail
 *
 * The processors are C functions behind a back end of their own, so only the launcher is tested here. Every
 * machine runs in a child process; what it printed and its exit status are compared with the table.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "launcher/devices/devices.h"
#include "launcher/machine/machine.h"
#include "launcher/machine/pc.h"
#include "launcher/vm.h"
#include "tap.h"

#define MIB	(1ull << 20)
#define MAX_VCPUS	64

/* --- guests --- */

static struct fake {
	void (*guest)(struct vcpu *vcpu);
	enum vcpu_stop stop;		/* what the boot vCPU's run() returns when its guest does */
	unsigned int fail_vcpu;		/* vcpu_init() of this one fails; 0: none */
	bool fail_vm_init, fail_ram, fail_load, fail_reload, fail_device;
} fake;

/* In the child: what happened. */
static _Atomic unsigned int vm_inits, vm_exits, vcpu_inits, vcpu_exits, loads, boots, nmis, buttons,
	dev_inits, dev_exits, dev_resets, stats_calls;
static _Atomic bool kicked[MAX_VCPUS];

static uint8_t inb(struct vcpu *vcpu, uint16_t port)
{
	uint8_t val;

	bus_access(vcpu->vm, &vcpu->vm->pio, port, &val, 1, false);
	return val;
}

static void outb(struct vcpu *vcpu, uint16_t port, uint8_t val)
{
	bus_access(vcpu->vm, &vcpu->vm->pio, port, &val, 1, true);
}

static bool wanted(struct vcpu *vcpu)
{
	return !kicked[vcpu->id];
}

static void put(struct vcpu *vcpu, char c)
{
	while (wanted(vcpu) && !(inb(vcpu, 0x3fd) & 0x20))
		usleep(100);
	outb(vcpu, 0x3f8, (uint8_t)c);
}

static void say(struct vcpu *vcpu, const char *s)
{
	while (*s)
		put(vcpu, *s++);
}

static void wait_kick(struct vcpu *vcpu)
{
	while (wanted(vcpu))
		usleep(200);
}

static void guest_off(struct vcpu *vcpu)
{
	say(vcpu, "hello\nno newline");
	vm_end(vcpu->vm, VM_END_POWEROFF, NULL);
}

static void guest_debug_exit(struct vcpu *vcpu)
{
	outb(vcpu, 0xf4, 0x10);
	wait_kick(vcpu);
}

static void guest_panic(struct vcpu *vcpu)
{
	outb(vcpu, 0x505, 1);
	wait_kick(vcpu);
}

static void guest_reset(struct vcpu *vcpu)
{
	char text[] = "boot 0\n";

	text[5] = (char)(text[5] + boots);
	say(vcpu, text);
	if (boots < 5)
		outb(vcpu, 0x64, 0xfe);
	else
		vm_end(vcpu->vm, VM_END_POWEROFF, NULL);
	wait_kick(vcpu);
}

static void guest_return(struct vcpu *vcpu)
{
	say(vcpu, "x");
}

static void guest_idle(struct vcpu *vcpu)
{
	say(vcpu, "ready\n");
	wait_kick(vcpu);
}

/* Echo input, by polling, up to a 'Q'. */
static void guest_echo(struct vcpu *vcpu)
{
	outb(vcpu, 0x3fa, 1);
	say(vcpu, "ready\n");
	while (wanted(vcpu)) {
		if (inb(vcpu, 0x3fd) & 1) {
			uint8_t c = inb(vcpu, 0x3f8);

			if (c == 'Q') {
				vm_end(vcpu->vm, VM_END_POWEROFF, NULL);
				return;
			}
			put(vcpu, (char)c);
		}
	}
}

#define FLOOD	3000000u

static void guest_flood(struct vcpu *vcpu)
{
	for (unsigned int i = 0; i < FLOOD && wanted(vcpu); i++)
		put(vcpu, i % 64 == 63 ? '\n' : (char)('0' + i % 64));
	vm_end(vcpu->vm, VM_END_POWEROFF, NULL);
}

static void guest_crash(struct vcpu *vcpu)
{
	say(vcpu, "ready\n");
	usleep(50000);
	raise(SIGSEGV);
	wait_kick(vcpu);
}

/* Memory: both pieces, their ends, and what is between. */
static void guest_memory(struct vcpu *vcpu)
{
	static const uint64_t at[] = { 0, 0x1234, 0xbffff000, 0x100000000ull, 0x103fffff8ull };
	struct vm *vm = vcpu->vm;
	uint64_t val = 0;
	bool good = true;

	for (unsigned int i = 0; i < 5; i++) {
		uint64_t want = 0x1111111111111111ull * (i + 1);

		good &= vm_write(vm, at[i], &want, 8) && vm_read(vm, at[i], &val, 8) && val == want;
		good &= vm_ram_ptr(vm, at[i], 8) && !memcmp(vm_ram_ptr(vm, at[i], 8), &want, 8);
	}
	good &= !vm_read(vm, 0xc0000000, &val, 1) && !vm_read(vm, 0xbffffff9, &val, 8);
	good &= !vm_write(vm, 0x104000000ull, &val, 1) && !vm_read(vm, UINT64_MAX, &val, 8);
	good &= vm_ram_ptr(vm, 0, 0xc0000000) && !vm_ram_ptr(vm, 0, 0xc0000001);
	good &= !vm_ram_ptr(vm, 0xffffffff, 2) && !vm_ram_ptr(vm, UINT64_MAX, 2) &&
		!vm_ram_ptr(vm, 8, UINT64_MAX);
	vm_end(vm, good ? VM_END_POWEROFF : VM_END_ERROR, NULL);
}

/* --- the back end --- */

static bool fake_probe(char *why, size_t len)
{
	(void)why;
	(void)len;
	return true;
}

static int fake_vm_init(struct vm *vm)
{
	if (fake.fail_vm_init)
		return -ENOMEM;
	vm->accel = &fake;
	vm_inits++;
	return 0;
}

static void fake_vm_exit(struct vm *vm)
{
	vm->accel = NULL;
	vm_exits++;
}

static int fake_ram_add(struct vm *vm, uint64_t gpa, uint64_t size, void *host, bool readonly)
{
	(void)vm;
	(void)size;
	(void)readonly;
	return fake.fail_ram ? -ENOSPC : gpa % 4096 || (uintptr_t)host % 4096 ? -EINVAL : 0;
}

static int fake_vcpu_init(struct vcpu *vcpu)
{
	if (fake.fail_vcpu && vcpu->id == fake.fail_vcpu) {
		snprintf(vcpu->msg, sizeof(vcpu->msg), "as told");
		return -ENOMEM;
	}
	kicked[vcpu->id] = false;
	vcpu_inits++;
	return 0;
}

static void fake_vcpu_exit(struct vcpu *vcpu)
{
	(void)vcpu;
	vcpu_exits++;
}

static int fake_set_boot_regs(struct vcpu *vcpu, const struct kvm_regs *regs, const struct kvm_sregs *sregs)
{
	if (vcpu->id || regs->rip != 0x100000 || sregs->cr3 != 0x1000)
		return -EINVAL;
	boots++;
	return 0;
}

static enum vcpu_stop fake_run(struct vcpu *vcpu)
{
	if (vcpu->id == 0) {
		fake.guest(vcpu);
		if (fake.stop != VCPU_STOP_KICK)
			return fake.stop;
	}
	wait_kick(vcpu);
	kicked[vcpu->id] = false;
	return VCPU_STOP_KICK;
}

static void fake_kick(struct vcpu *vcpu)
{
	kicked[vcpu->id] = true;
}

static void fake_irq_line(struct vm *vm, unsigned int gsi, bool level)
{
	(void)gsi;
	(void)level;
	if (!vm->accel)
		abort();
}

static void fake_nmi(struct vcpu *vcpu)
{
	(void)vcpu;
	nmis++;
}

static void *fake_dma_map(struct vm *vm, uint64_t gpa, uint64_t *len, bool write)
{
	(void)write;
	for (unsigned int i = 0; i < vm->nr_ram; i++) {
		uint64_t off = gpa - vm->ram[i].gpa;

		if (off < vm->ram[i].size) {
			/* At most a page at a time, so that copies have pieces. */
			uint64_t room = 4096 - gpa % 4096;

			*len = *len < room ? *len : room;
			return (char *)vm->ram[i].host + off;
		}
	}
	return NULL;
}

static void fake_dma_unmap(struct vm *vm, uint64_t gpa, uint64_t len, bool write)
{
	(void)vm;
	(void)gpa;
	(void)len;
	(void)write;
}

static void fake_stats(struct vm *vm, int fd)
{
	(void)fd;
	if (vm->accel)
		stats_calls++;
}

static const struct accel_ops fake_ops = {
	.name = "fake",
	.summary = "C functions",
	.probe = fake_probe,
	.vm_init = fake_vm_init,
	.vm_exit = fake_vm_exit,
	.ram_add = fake_ram_add,
	.vcpu_init = fake_vcpu_init,
	.vcpu_exit = fake_vcpu_exit,
	.set_boot_regs = fake_set_boot_regs,
	.run = fake_run,
	.kick = fake_kick,
	.irq_line = fake_irq_line,
	.nmi = fake_nmi,
	.dma_map = fake_dma_map,
	.dma_unmap = fake_dma_unmap,
	.stats = fake_stats,
};

/* --- the machine --- */

static int probe_init(struct vm *vm, void **state)
{
	(void)vm;
	*state = malloc(1);
	dev_inits++;
	return fake.fail_device ? -EIO : 0;
}

static void probe_reset(struct vm *vm, void *state)
{
	(void)vm;
	(void)state;
	dev_resets++;
}

static void probe_exit(struct vm *vm, void *state)
{
	(void)vm;
	free(state);
	dev_exits++;
}

static const struct device_ops probe_device = {
	.name = "probe",
	.init = probe_init,
	.reset = probe_reset,
	.exit = probe_exit,
};

const struct device_ops *const machine_devices[] = {
	&probe_device,	   &rtc_device,	    &i8042_device, &serial_device,
	&debug_exit_device, &pvpanic_device, NULL,
};

int machine_load(struct vm *vm, struct kvm_regs *regs, struct kvm_sregs *sregs)
{
	(void)vm;
	loads++;
	if (fake.fail_load || (fake.fail_reload && loads > 1))
		return -ENOENT;
	regs->rip = 0x100000;
	sregs->cr3 = 0x1000;
	return 0;
}

int firmware_map(struct vm *vm)
{
	(void)vm;
	return 0;
}

void firmware_unmap(struct vm *vm)
{
	(void)vm;
}

void machine_power_button(struct vm *vm)
{
	buttons++;
	vm_end(vm, VM_END_POWEROFF, NULL);
}

void pm_gpe(struct vm *vm, unsigned int n)
{
	(void)vm, (void)n;
}

/* --- running it --- */

static struct vm_config config;

static void defaults(void)
{
	fake = (struct fake) { .guest = guest_off };
	config = (struct vm_config) {
		.accel = &fake_ops,
		.memory = 64 * MIB,
		.cpus = 1,
		.debug_exit_port = 0xf4,
		/* The sanitizers make calls of their own, for which there is no list. */
		.no_sandbox = true,
	};
}

/* In the child. The status tells of a machine that ended well but was not taken down in balance. */
static void child(int in, int out, int err)
{
	int end;

	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	end = vm_run(&config);
	if (vm_inits != vm_exits || vcpu_inits != vcpu_exits || dev_inits != dev_exits ||
	    dev_resets != (loads ? loads - 1 : 0) || (config.stats && !stats_calls))
		exit(99);
	exit(end >= VM_END_DEBUG_EXIT ? end - VM_END_DEBUG_EXIT : end);
}

static char output[FLOOD + 65536];
static size_t output_len;

static int open_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* Run a machine with @in as its input (closed here); collect its output. Returns the wait status. */
static int run(int in, const char *feed, int sig, unsigned int slow_us)
{
	int out[2], feeder[2] = { -1, -1 }, err = open_null(), status;
	bool signalled = false;
	pid_t pid;

	if (in < 0 && pipe2(feeder, O_CLOEXEC))
		abort();
	if (pipe2(out, O_CLOEXEC))
		abort();
	pid = fork();
	if (!pid)
		child(in < 0 ? feeder[0] : in, out[1], err);
	close(out[1]);
	close(err);
	if (in >= 0)
		close(in);
	else
		close(feeder[0]);
	output_len = 0;
	for (;;) {
		size_t want = slow_us ? 8192 : 65536;
		ssize_t n;

		if (want > sizeof(output) - 1 - output_len)
			want = sizeof(output) - 1 - output_len;
		n = read(out[0], output + output_len, want);
		if (n <= 0)
			break;
		output_len += (size_t)n;
		output[output_len] = '\0';
		if (slow_us)
			usleep(slow_us);
		if (!signalled && strstr(output, "ready\n")) {
			signalled = true;
			if (sig)
				kill(pid, sig);
			if (feed) {
				if (write(feeder[1], feed, strlen(feed)) < 0)
					diag("the machine takes no input");
				close(feeder[1]);
				feeder[1] = -1;
			}
		}
	}
	output[output_len] = '\0';
	close(out[0]);
	if (feeder[1] >= 0)
		close(feeder[1]);
	waitpid(pid, &status, 0);
	return status;
}

static bool exited(int status, int code)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == code)
		return true;
	diag("status %#x", status);
	return false;
}

static void test_ends(void)
{
	defaults();
	ok(exited(run(open_null(), NULL, 0, 0), 0), "power-off");
	ok(!strcmp(output, "hello\nno newline"), "all output has arrived");
	config.stats = true;
	ok(exited(run(open_null(), NULL, 0, 0), 0), "with statistics");

	defaults();
	fake.guest = guest_debug_exit;
	ok(exited(run(open_null(), NULL, 0, 0), 0x21), "debug exit");

	defaults();
	fake.guest = guest_panic;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_PANIC), "panic");

	defaults();
	fake.guest = guest_return;
	fake.stop = VCPU_STOP_SHUTDOWN;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_TRIPLE_FAULT), "triple fault");
	fake.stop = VCPU_STOP_ERROR;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "error of the back end");
	fake.stop = VCPU_STOP_DEBUG;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "stop for a debugger");

	defaults();
	config.cpus = MAX_VCPUS;
	ok(exited(run(open_null(), NULL, 0, 0), 0), "%u processors", MAX_VCPUS);

	defaults();
	config.memory = 3072 * MIB + 64 * MIB;
	fake.guest = guest_memory;
	ok(exited(run(open_null(), NULL, 0, 0), 0), "memory in two pieces");
}

static void test_reset(void)
{
	defaults();
	fake.guest = guest_reset;
	ok(exited(run(open_null(), NULL, 0, 0), 0), "resets");
	ok(!strcmp(output, "boot 1\nboot 2\nboot 3\nboot 4\nboot 5\n"), "boot anew");
	config.cpus = 8;
	ok(exited(run(open_null(), NULL, 0, 0), 0), "with 8 processors");
	config.no_reboot = true;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_RESET), "--no-reboot");
	ok(!strcmp(output, "boot 1\n"), "boots once");
	config.no_reboot = false;
	fake.fail_reload = true;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "a reset that fails");
}

static void test_failures(void)
{
	defaults();
	fake.fail_vm_init = true;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "the back end fails");
	defaults();
	fake.fail_ram = true;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "its memory fails");
	defaults();
	fake.fail_load = true;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "the boot images fail");
	defaults();
	fake.fail_device = true;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "a device fails");
	defaults();
	config.cpus = 4;
	fake.fail_vcpu = 2;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "a vCPU fails");
	defaults();
	config.memory = 1ull << 62;
	ok(exited(run(open_null(), NULL, 0, 0), VM_END_ERROR), "memory fails");
}

static void test_signals(void)
{
	/* what runs in a shell's background, or under nohup, may have been told to ignore them */
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	defaults();
	fake.guest = guest_idle;
	ok(exited(run(-1, NULL, SIGTERM, 0), 128 + SIGTERM), "SIGTERM");
	ok(exited(run(-1, NULL, SIGINT, 0), 128 + SIGINT), "SIGINT");
	ok(exited(run(-1, NULL, SIGHUP, 0), 128 + SIGHUP), "SIGHUP");

	/* nohup: what the parent ignores stays ignored. */
	signal(SIGHUP, SIG_IGN);
	fake.guest = guest_echo;
	ok(exited(run(-1, "still here Q", SIGHUP, 0), 0), "SIGHUP that is ignored");
	ok(strstr(output, "still here "), "and the machine goes on");
	signal(SIGHUP, SIG_DFL);
}

static void test_input(void)
{
	static char text[20001], file[] = "/tmp/launcher-vm-XXXXXX";
	int fd;

	for (unsigned int i = 0; i < 20000; i++)
		text[i] = (char)('a' + i * 7 % 26);
	text[19999] = 'Q';
	defaults();
	fake.guest = guest_echo;
	ok(exited(run(-1, text, 0, 0), 0), "input from a pipe");
	ok(output_len == 6 + 19999 && !memcmp(output + 6, text, 19999), "arrives completely");

	fd = mkstemp(file);
	unlink(file);
	ok(write(fd, text, 20000) == 20000 && lseek(fd, 0, SEEK_SET) == 0, "a file");
	ok(exited(run(fd, NULL, 0, 0), 0), "input from a file");
	ok(output_len == 6 + 19999 && !memcmp(output + 6, text, 19999), "arrives completely");

	defaults();
	fake.guest = guest_idle;
	ok(exited(run(-1, "x", SIGTERM, 0), 128 + SIGTERM), "the end of input ends nothing");
	ok(exited(run(open_null(), NULL, SIGTERM, 0), 128 + SIGTERM), "nor does no input at all");
}

static void test_output(void)
{
	bool same = true;
	int out[2], status, err = open_null(), in;
	pid_t pid;

	defaults();
	fake.guest = guest_flood;
	ok(exited(run(open_null(), NULL, 0, 500), 0), "more output than any buffer holds, read slowly");
	for (unsigned int i = 0; i < FLOOD && i < output_len; i++)
		same &= output[i] == (i % 64 == 63 ? '\n' : (char)('0' + i % 64));
	ok(same && output_len == FLOOD, "arrives completely");

	if (pipe2(out, O_CLOEXEC))
		abort();
	in = open_null();
	pid = fork();
	if (!pid) {
		close(out[0]);
		child(in, out[1], err);
	}
	close(out[0]);
	close(out[1]);
	waitpid(pid, &status, 0);
	ok(exited(status, VM_END_ERROR), "output that nobody can read is an error");

	/* A reader that has stopped reading must not keep SIGTERM from ending the machine. */
	if (pipe2(out, O_CLOEXEC))
		abort();
	pid = fork();
	if (!pid)
		child(in, out[1], err);
	close(out[1]);
	usleep(500000);
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	ok(exited(status, 128 + SIGTERM), "SIGTERM ends a machine whose output is stuck");
	close(out[0]);
	close(err);
	close(in);
}

/* --- terminals --- */

static int pty_master, pty_slave;
static struct termios before;
static pid_t pty_pid;

static void pty_start(void)
{
	int slave, err = open_null();

	if (openpty(&pty_master, &slave, NULL, NULL, NULL))
		abort();
	tcgetattr(slave, &before);
	pty_pid = fork();
	if (!pty_pid) {
		close(pty_master);
		login_tty(slave);
		child(0, 1, err);
	}
	/* The slave stays open here, or its mode would be lost with the last of its users. */
	close(err);
	output_len = 0;
	output[0] = '\0';
	fcntl(pty_master, F_SETFD, FD_CLOEXEC);
	pty_slave = slave;
}

static bool pty_expect(const char *text)
{
	struct pollfd pfd = { .fd = pty_master, .events = POLLIN };

	while (!strstr(output, text)) {
		ssize_t n;

		if (poll(&pfd, 1, 5000) <= 0)
			return false;
		n = read(pty_master, output + output_len, sizeof(output) - 1 - output_len);
		if (n <= 0)
			return false;
		output_len += (size_t)n;
		output[output_len] = '\0';
	}
	return true;
}

static bool pty_type(const char *keys)
{
	return write(pty_master, keys, strlen(keys)) == (ssize_t)strlen(keys);
}

static bool pty_is(bool raw)
{
	struct termios now;

	tcgetattr(pty_slave, &now);
	if (raw)
		return !(now.c_lflag & (ICANON | ECHO | ISIG)) && !(now.c_oflag & OPOST);
	return now.c_lflag == before.c_lflag && now.c_iflag == before.c_iflag &&
	       now.c_oflag == before.c_oflag;
}

static int pty_end(void)
{
	int status;

	waitpid(pty_pid, &status, 0);
	return status;
}

static void pty_close(void)
{
	close(pty_slave);
	close(pty_master);
}

static void test_terminal(void)
{
	int status;

	defaults();
	fake.guest = guest_echo;
	pty_start();
	ok(pty_expect("ready\n") && pty_is(true), "the terminal is raw while the guest runs");
	ok(pty_type("a\003b\032\001\001c") && pty_expect("a\003b\032\001c"),
	   "keys go to the guest, Ctrl-C too");
	ok(pty_type("\001h") && pty_expect("Ctrl-A x"), "Ctrl-A h helps");
	kill(pty_pid, SIGTSTP);
	ok(waitpid(pty_pid, &status, WUNTRACED) == pty_pid && WIFSTOPPED(status) && pty_is(false),
	   "a stopped machine gives the terminal back");
	kill(pty_pid, SIGCONT);
	for (unsigned int i = 0; i < 500 && !pty_is(true); i++)
		usleep(10000);
	ok(pty_is(true) && pty_type("%") && pty_expect("%"), "and takes it again");
	ok(pty_type("\001x") && exited(pty_end(), 130), "Ctrl-A x");
	ok(pty_is(false), "the terminal is as before");
	pty_close();

	pty_start();
	ok(pty_expect("ready\n") && pty_type("\001p") && exited(pty_end(), 0), "Ctrl-A p");
	ok(pty_is(false), "the terminal is as before");
	pty_close();

	config.no_reboot = true;
	pty_start();
	ok(pty_expect("ready\n") && pty_type("\001r") && exited(pty_end(), VM_END_RESET), "Ctrl-A r");
	ok(pty_is(false), "the terminal is as before");
	pty_close();

	/* A guest that hangs, and a full buffer of keys: the escape must still be seen. */
	defaults();
	fake.guest = guest_idle;
	pty_start();
	pty_expect("ready\n");
	for (unsigned int i = 0; i < 100; i++) {
		pty_type("0123456789012345678901234567890123456789012345678901234567890123456789");
		usleep(1000);
	}
	ok(pty_type("\001n\001x") && exited(pty_end(), 130), "Ctrl-A x with a guest that does not read");
	pty_close();

	pty_start();
	ok(pty_expect("ready\n") && !kill(pty_pid, SIGTERM) && exited(pty_end(), 128 + SIGTERM), "SIGTERM");
	ok(pty_is(false), "the terminal is as before");
	pty_close();

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	/* Sanitizers have handlers of their own. */
	defaults();
	fake.guest = guest_crash;
	pty_start();
	ok(pty_expect("ready\n") && WTERMSIG(pty_end()) == SIGSEGV, "a crash of the launcher itself");
	ok(pty_is(false), "the terminal is as before");
	pty_close();
#else
	(void)guest_crash;
#endif
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	test_ends();
	test_reset();
	test_failures();
	test_signals();
	test_input();
	test_output();
	test_terminal();
	return tap_done();
}
