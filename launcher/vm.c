// SPDX-License-Identifier: GPL-2.0-only
/*
 * vm.c - the life of a machine: memory, back end, devices, vCPU threads, resets, and down again in reverse
 *
 * The main thread is the only one that starts and stops vCPU threads. Everybody else leaves a wish behind
 * (vm_end(), vm_reset_request()) and wakes the loop. A vCPU thread goes through the phases
 *
 *	START	its back end sets it up; it counts itself ready and waits for the others
 *	RUN	guest code, until vm->quit
 *	LEAVE	its back end's state is read for the statistics, then taken down
 *
 * A guest reset ends all vCPU threads, resets the devices, sets the back end up afresh (with it the interrupt
 * controllers) and loads the boot images again.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ctl.h"
#include "machine/machine.h"
#include "machine/pci.h"
#include "msg.h"
#include "sandbox.h"
#include "ui/term.h"
#include "vm.h"

#define RAM_HIGH_BASE	(1ull << 32)
#define LARGE_PAGE	(2u << 20)		/* of the host */

#define STOP_POLL_NS	(2 * 1000000ull)	/* kick again: a kick may come just before the vCPU runs */
#define STOP_WARN_NS	(5 * 1000000000ull)
#define SIGNAL_PATIENCE_MS	1000		/* for console output after SIGTERM and the like */

/* What others wish */

void vm_end(struct vm *vm, int how, const char *msg, ...)
{
	va_list ap;

	pthread_mutex_lock(&vm->run_lock);
	if (atomic_load(&vm->end) == VM_RUNNING) {
		if (msg) {
			va_start(ap, msg);
			vsnprintf(vm->end_msg, sizeof(vm->end_msg), msg, ap);
			va_end(ap);
		}
		atomic_store(&vm->end, how);
	}
	pthread_mutex_unlock(&vm->run_lock);
	atomic_store(&vm->stop, 0);
	loop_wake(&vm->loop);
}

void vm_reset_request(struct vm *vm)
{
	if (vm->config.no_reboot) {
		vm_end(vm, VM_END_RESET, "the guest reset itself; --no-reboot makes that the end");
		return;
	}
	atomic_store(&vm->stop, 0);
	loop_wake(&vm->loop);
}

void vm_powerdown(struct vm *vm)
{
	machine_power_button(vm);
}

/* Pausing */

static void pause_timer(void *opaque)
{
	struct vm *vm = opaque;
	bool all;

	pthread_mutex_lock(&vm->run_lock);
	all = vm->nr_paused == vm->config.cpus;
	pthread_mutex_unlock(&vm->run_lock);
	if (all) {
		guest_clock_stop(&vm->loop);
		if (vm->config.accel->clock)
			vm->config.accel->clock(vm, false);
		ctl_event(vm, "STOP", NULL);
		return;
	}
	for (unsigned int i = 0; i < vm->config.cpus; i++)
		vm->config.accel->kick(&vm->vcpu[i]);
	timer_set(&vm->loop, &vm->pause_timer, clock_ns() + STOP_POLL_NS);
}

void vm_pause(struct vm *vm)
{
	if (!atomic_exchange(&vm->paused, true))
		pause_timer(vm);
}

void vm_resume(struct vm *vm)
{
	if (!atomic_load(&vm->paused))
		return;
	timer_set(&vm->loop, &vm->pause_timer, TIMER_OFF);
	if (vm->config.accel->clock)
		vm->config.accel->clock(vm, true);
	guest_clock_start(&vm->loop);
	pthread_mutex_lock(&vm->run_lock);
	atomic_store(&vm->paused, false);
	pthread_cond_broadcast(&vm->run_cond);
	pthread_mutex_unlock(&vm->run_lock);
	ctl_event(vm, "RESUME", NULL);
}

bool vm_paused(const struct vm *vm)
{
	return atomic_load(&vm->paused);
}

static void vcpu_wait_paused(struct vm *vm)
{
	pthread_mutex_lock(&vm->run_lock);
	vm->nr_paused++;
	while (atomic_load(&vm->paused) && !atomic_load(&vm->quit))
		pthread_cond_wait(&vm->run_cond, &vm->run_lock);
	vm->nr_paused--;
	pthread_mutex_unlock(&vm->run_lock);
}

/* Guest memory */

static int vm_ram_init(struct vm *vm)
{
	uint64_t low = vm->config.memory < PCI_MMIO_BASE ? vm->config.memory : PCI_MMIO_BASE;
	uint64_t high = vm->config.memory - low;
	char *whole, *host;
	int ret;

	/*
	 * Anonymous memory: for files in memory few hosts have large pages. Those are aligned to their size, so more is
	 * mapped at first.
	 */
	whole = mmap(NULL, vm->config.memory + LARGE_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (whole == MAP_FAILED) {
		ret = -errno;
		msg_error("get %llu MiB of memory for the guest: %s. Give it less (--memory), or raise the limit "
			  "of the process (ulimit -v)", (unsigned long long)(vm->config.memory >> 20), strerror(-ret));
		return ret;
	}
	host = (char *)(((uintptr_t)whole + LARGE_PAGE - 1) & ~(uintptr_t)(LARGE_PAGE - 1));
	if (host > whole)
		munmap(whole, (size_t)(host - whole));
	munmap(host + vm->config.memory, (size_t)(whole + LARGE_PAGE - host));
	/* Both are wishes: nothing depends on them. */
	madvise(host, vm->config.memory, MADV_HUGEPAGE);
	madvise(host, vm->config.memory, MADV_DONTDUMP);

	vm->ram[0] = (struct vm_ram) { .gpa = 0, .size = low, .host = host };
	vm->nr_ram = 1;
	if (high) {
		vm->ram[1] = (struct vm_ram) {
			.gpa = RAM_HIGH_BASE,
			.size = high,
			.host = host + low,
		};
		vm->nr_ram = 2;
	}
	return 0;
}

static void vm_ram_exit(struct vm *vm)
{
	if (!vm->nr_ram)
		return;
	munmap(vm->ram[0].host, vm->config.memory);
	vm->nr_ram = 0;
}

void *vm_ram_ptr(struct vm *vm, uint64_t gpa, uint64_t len)
{
	for (unsigned int i = 0; i < vm->nr_ram; i++) {
		const struct vm_ram *r = &vm->ram[i];

		if (gpa >= r->gpa && gpa - r->gpa <= r->size && len <= r->size - (gpa - r->gpa))
			return (char *)r->host + (gpa - r->gpa);
	}
	return NULL;
}

static bool vm_copy(struct vm *vm, uint64_t gpa, void *buf, size_t len, bool write)
{
	const struct accel_ops *ops = vm->config.accel;
	char *p = buf;

	while (len) {
		uint64_t part = len;
		void *host = ops->dma_map(vm, gpa, &part, write);

		if (!host)
			return false;
		if (write)
			memcpy(host, p, part);
		else
			memcpy(p, host, part);
		ops->dma_unmap(vm, gpa, part, write);
		gpa += part;
		p += part;
		len -= part;
	}
	return true;
}

bool vm_read(struct vm *vm, uint64_t gpa, void *buf, size_t len)
{
	return vm_copy(vm, gpa, buf, len, false);
}

bool vm_write(struct vm *vm, uint64_t gpa, const void *buf, size_t len)
{
	return vm_copy(vm, gpa, (void *)(uintptr_t)buf, len, true);
}

/* Back end and devices */

static int vm_accel_init(struct vm *vm)
{
	const struct accel_ops *ops = vm->config.accel;
	int ret = ops->vm_init(vm);

	if (ret)
		return ret;
	vm->accel_ready = true;
	for (unsigned int i = 0; i < vm->nr_ram; i++) {
		ret = ops->ram_add(vm, vm->ram[i].gpa, vm->ram[i].size, vm->ram[i].host, false);
		if (ret) {
			msg_error("give %llu MiB of memory at 0x%llx to the '%s' CPU: %s",
				  (unsigned long long)(vm->ram[i].size >> 20),
				  (unsigned long long)vm->ram[i].gpa, ops->name, strerror(-ret));
			return ret;
		}
	}
	if (vm->rom.size) {
		ret = ops->ram_add(vm, vm->rom.gpa, vm->rom.size, vm->rom.host, true);
		if (ret)
			msg_error("give the firmware to the '%s' CPU: %s", ops->name, strerror(-ret));
		return ret;
	}
	return 0;
}

static void vm_accel_exit(struct vm *vm)
{
	if (vm->accel_ready)
		vm->config.accel->vm_exit(vm);
	vm->accel_ready = false;
}

static void vm_devices_exit(struct vm *vm)
{
	while (vm->nr_devices) {
		unsigned int i = --vm->nr_devices;

		if (machine_devices[i]->exit)
			machine_devices[i]->exit(vm, vm->device_state[i]);
	}
	free(vm->device_state);
	vm->device_state = NULL;
}

static int vm_devices_init(struct vm *vm)
{
	unsigned int nr = 0;

	while (machine_devices[nr])
		nr++;
	vm->device_state = calloc(nr + 1, sizeof(*vm->device_state));
	if (!vm->device_state) {
		msg_error("set up the devices: out of memory");
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < nr; i++) {
		int ret;

		/* exit() copes with a failed init(), so it is counted first. */
		vm->nr_devices = i + 1;
		ret = machine_devices[i]->init(vm, &vm->device_state[i]);
		if (ret) {
			msg_error("the device '%s' could not be set up: %s", machine_devices[i]->name,
				  strerror(-ret));
			vm_devices_exit(vm);
			return ret;
		}
	}
	return 0;
}

static int vm_load(struct vm *vm)
{
	int ret;

	memset(&vm->boot_regs, 0, sizeof(vm->boot_regs));
	memset(&vm->boot_sregs, 0, sizeof(vm->boot_sregs));
	pthread_mutex_lock(&vm->lock);
	ret = machine_load(vm, &vm->boot_regs, &vm->boot_sregs);
	pthread_mutex_unlock(&vm->lock);
	return ret;
}

/* vCPU threads */

static void vcpu_loop(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	while (!atomic_load(&vm->quit)) {
		if (atomic_load(&vm->paused)) {
			vcpu_wait_paused(vm);
			continue;
		}
		switch (vm->config.accel->run(vcpu)) {
		case VCPU_STOP_KICK:
			continue;
		case VCPU_STOP_SHUTDOWN:
			vm_end(vm, VM_END_TRIPLE_FAULT, "vCPU %u: %s", vcpu->id,
			       vcpu->msg[0] ? vcpu->msg : "triple fault: the guest could not handle an exception");
			return;
		case VCPU_STOP_DEBUG:
			vm_end(vm, VM_END_ERROR, "vCPU %u stopped for a debugger, and there is none",
			       vcpu->id);
			return;
		case VCPU_STOP_ERROR:
			vm_end(vm, VM_END_ERROR, "vCPU %u can't go on: %s", vcpu->id,
			       vcpu->msg[0] ? vcpu->msg : "internal error");
			return;
		}
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	struct vm *vm = vcpu->vm;
	const struct accel_ops *ops = vm->config.accel;
	bool set_up = false;
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	prctl(PR_SET_NAME, name);
	atomic_store(&vcpu->tid, (int)syscall(SYS_gettid));

	vcpu->msg[0] = '\0';
	ret = ops->vcpu_init(vcpu);
	if (!ret) {
		set_up = true;
		if (vcpu->id == 0)
			ret = ops->set_boot_regs(vcpu, &vm->boot_regs, &vm->boot_sregs);
	}

	pthread_mutex_lock(&vm->run_lock);
	vm->nr_ready++;
	if (ret && !vm->start_failed) {
		vm->start_failed = true;
		msg_error("set up vCPU %u: %s%s%s", vcpu->id, strerror(-ret), vcpu->msg[0] ? ": " : "",
			  vcpu->msg);
	}
	pthread_cond_broadcast(&vm->run_cond);
	while (vm->phase == VM_PHASE_START)
		pthread_cond_wait(&vm->run_cond, &vm->run_lock);
	pthread_mutex_unlock(&vm->run_lock);

	if (!ret) {
		sandbox_enter(SANDBOX_VCPU, NULL);
		vcpu_loop(vcpu);
	}

	pthread_mutex_lock(&vm->run_lock);
	vm->nr_stopped++;
	pthread_cond_broadcast(&vm->run_cond);
	while (vm->phase != VM_PHASE_LEAVE)
		pthread_cond_wait(&vm->run_cond, &vm->run_lock);
	pthread_mutex_unlock(&vm->run_lock);

	if (set_up)
		ops->vcpu_exit(vcpu);
	return NULL;
}

/* With run_lock, which it drops while it waits. */
static void vm_wait_ns(struct vm *vm, uint64_t ns)
{
	uint64_t until = clock_ns() + ns;
	struct timespec ts = {
		.tv_sec = (time_t)(until / 1000000000u),
		.tv_nsec = (long)(until % 1000000000u),
	};

	pthread_cond_timedwait(&vm->run_cond, &vm->run_lock, &ts);
}

/* Get all vCPUs out of guest code, and their threads out of existence. */
static void vm_vcpus_stop(struct vm *vm, bool stats)
{
	const struct accel_ops *ops = vm->config.accel;
	uint64_t warn = clock_ns() + STOP_WARN_NS;
	unsigned int nr = 0;

	while (nr < vm->config.cpus && vm->vcpu[nr].started)
		nr++;

	atomic_store(&vm->quit, true);
	pthread_mutex_lock(&vm->run_lock);
	while (vm->nr_ready < nr)
		pthread_cond_wait(&vm->run_cond, &vm->run_lock);
	vm->phase = VM_PHASE_RUN;
	pthread_cond_broadcast(&vm->run_cond);
	while (vm->nr_stopped < nr) {
		pthread_mutex_unlock(&vm->run_lock);
		if (!vm->start_failed) {
			for (unsigned int i = 0; i < nr; i++)
				ops->kick(&vm->vcpu[i]);
		}
		pthread_mutex_lock(&vm->run_lock);
		if (vm->nr_stopped < nr)
			vm_wait_ns(vm, STOP_POLL_NS);
		if (clock_ns() > warn) {
			msg_warn("%u of %u vCPUs don't stop: still waiting (a disk that does not answer?)",
				 nr - vm->nr_stopped, nr);
			warn = UINT64_MAX;
		}
	}
	pthread_mutex_unlock(&vm->run_lock);

	if (stats && ops->stats)
		ops->stats(vm, STDERR_FILENO);

	pthread_mutex_lock(&vm->run_lock);
	vm->phase = VM_PHASE_LEAVE;
	pthread_cond_broadcast(&vm->run_cond);
	pthread_mutex_unlock(&vm->run_lock);
	for (unsigned int i = 0; i < nr; i++) {
		pthread_join(vm->vcpu[i].thread, NULL);
		vm->vcpu[i].started = false;
	}
}

static int vm_vcpus_start(struct vm *vm)
{
	int ret = 0;

	vm->phase = VM_PHASE_START;
	vm->nr_ready = vm->nr_stopped = 0;
	vm->start_failed = false;
	atomic_store(&vm->quit, false);
	for (unsigned int i = 0; i < vm->config.cpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];

		ret = -pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
		if (ret) {
			msg_error("start a thread for vCPU %u: %s. Give the guest fewer (--cpus), or raise "
				  "the limit of processes (ulimit -u)", i, strerror(-ret));
			vm->start_failed = true;
			break;
		}
		vcpu->started = true;
	}

	pthread_mutex_lock(&vm->run_lock);
	while (!ret && vm->nr_ready < vm->config.cpus)
		pthread_cond_wait(&vm->run_cond, &vm->run_lock);
	if (vm->start_failed && !ret)
		ret = -EIO;
	if (!ret) {
		vm->phase = VM_PHASE_RUN;
		pthread_cond_broadcast(&vm->run_cond);
	}
	pthread_mutex_unlock(&vm->run_lock);
	if (ret)
		vm_vcpus_stop(vm, false);
	return ret;
}

/* The whole */

static int vm_reset(struct vm *vm)
{
	int ret;

	pthread_mutex_lock(&vm->lock);
	for (unsigned int i = 0; i < vm->nr_devices; i++) {
		if (machine_devices[i]->reset)
			machine_devices[i]->reset(vm, vm->device_state[i]);
	}
	ctl_event(vm, "RESET", "{\"guest\":true,\"reason\":\"guest-reset\"}");
	pthread_mutex_unlock(&vm->lock);

	vm_accel_exit(vm);
	ret = vm_accel_init(vm);
	if (ret)
		return ret;
	pthread_mutex_lock(&vm->lock);
	if (vm->pci)
		pci_tell_bars(vm->pci);
	pthread_mutex_unlock(&vm->lock);
	return vm_load(vm);
}

static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
}

/* What is left to the main thread of files is to remove sockets, at the end. */
static void vm_confine(struct vm *vm)
{
	char *dirs[1 + VM_MAX_CHANNELS + 1 + 1] = { NULL }, ctl[CTL_PATH_MAX];
	unsigned int n = 0;

	if (vm->ctl && !ctl_dir(ctl, false))
		dirs[n++] = strdup(ctl);
	if (vm->ctl) {
		/* For what may be added later. */
		sandbox_prepare(SANDBOX_DISK);
		sandbox_prepare(SANDBOX_NET_TAP);
	}
	for (unsigned int i = 0; i < vm->config.nr_channels; i++)
		dirs[n++] = dir_of(vm->config.channel[i].path);
	if (vm->config.vsock_path)
		dirs[n++] = dir_of(vm->config.vsock_path);
	sandbox_enter(SANDBOX_MAIN, (const char *const *)dirs);
	while (n)
		free(dirs[--n]);
}

/* From the first instruction to the end. */
static void vm_run_guest(struct vm *vm)
{
	if (vm_load(vm)) {
		vm_end(vm, VM_END_ERROR, NULL);
		return;
	}
	/* All is open: from here on there is the guest to be wary of. */
	vm_confine(vm);
	for (;;) {
		if (vm_vcpus_start(vm)) {
			vm_end(vm, VM_END_ERROR, NULL);
			return;
		}
		loop_run(&vm->loop, &vm->stop);
		vm_vcpus_stop(vm, vm->config.stats);
		/* In this order: a vm_end() in between sets stop again. */
		atomic_store(&vm->stop, -1);
		if (atomic_load(&vm->end) != VM_RUNNING)
			return;
		if (vm_reset(vm)) {
			vm_end(vm, VM_END_ERROR, "the guest asked for a reset, and that failed");
			return;
		}
	}
}

static struct vm *vm_create(const struct vm_config *config)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	pthread_condattr_t attr;

	if (!vm)
		return NULL;
	vm->vcpu = calloc(config->cpus, sizeof(*vm->vcpu));
	if (!vm->vcpu) {
		free(vm);
		return NULL;
	}
	for (unsigned int i = 0; i < config->cpus; i++) {
		vm->vcpu[i].vm = vm;
		vm->vcpu[i].id = i;
	}
	vm->config = *config;
	if (getrandom(vm->generation, sizeof(vm->generation), 0) != sizeof(vm->generation)) {
		free(vm->vcpu);
		free(vm);
		return NULL;
	}
	atomic_init(&vm->end, VM_RUNNING);
	atomic_init(&vm->stop, -1);
	atomic_init(&vm->quit, false);
	atomic_init(&vm->paused, false);
	timer_init(&vm->pause_timer, pause_timer, vm);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->run_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->run_cond, &attr);
	pthread_condattr_destroy(&attr);
	bus_init(&vm->pio, true);
	bus_init(&vm->mmio, false);
	return vm;
}

static void vm_destroy(struct vm *vm)
{
	if (vm->accel_fd)
		close(vm->accel_fd);
	for (unsigned int i = 0; i < VM_NR_IMAGES; i++)
		if (vm->image_fd[i])
			close(vm->image_fd[i]);
	bus_exit(&vm->mmio);
	bus_exit(&vm->pio);
	pthread_cond_destroy(&vm->run_cond);
	pthread_mutex_destroy(&vm->run_lock);
	pthread_mutex_destroy(&vm->lock);
	free(vm->vcpu);
	free(vm);
}

/* The event by which clients learn how it ended. */
static void say_shutdown(struct vm *vm, int end)
{
	static const struct {
		int end;
		const char *data;
	} reasons[] = {
		{ VM_END_POWEROFF, "{\"guest\":true,\"reason\":\"guest-shutdown\"}" },
		{ VM_END_RESET, "{\"guest\":true,\"reason\":\"guest-reset\"}" },
		{ VM_END_TRIPLE_FAULT, "{\"guest\":true,\"reason\":\"guest-reset\"}" },
		{ VM_END_PANIC, "{\"guest\":true,\"reason\":\"guest-panic\"}" },
		{ VM_END_ERROR, "{\"guest\":false,\"reason\":\"host-error\"}" },
	};
	const char *data = end >= VM_END_DEBUG_EXIT ? reasons[0].data : "{\"guest\":false,\"reason\":\"host-signal\"}";

	for (unsigned int i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].end == end)
			data = reasons[i].data;
	pthread_mutex_lock(&vm->lock);
	ctl_event(vm, "SHUTDOWN", data);
	pthread_mutex_unlock(&vm->lock);
}

int vm_run(const struct vm_config *config)
{
	struct vm *vm = vm_create(config);
	int end = VM_END_ERROR;

	if (!vm) {
		msg_error("set up the machine: out of memory");
		return end;
	}
	if (!config->no_sandbox && sandbox_init())
		goto out_vm;
	if (loop_init(&vm->loop, &vm->lock))
		goto out_vm;
	if (vm_ram_init(vm))
		goto out_loop;
	if (firmware_map(vm))
		goto out_ram;
	if (term_init(vm))
		goto out_ram;
	if (vm_accel_init(vm) || vm_devices_init(vm))
		goto out_accel;

	/* Last: from here on others can find it. */
	if (ctl_init(vm))
		goto out_devices;

	vm_run_guest(vm);
	end = atomic_load(&vm->end);
	say_shutdown(vm, end);

	ctl_exit(vm);
	timer_set(&vm->loop, &vm->pause_timer, TIMER_OFF);
out_devices:
	vm_devices_exit(vm);
out_accel:
	vm_accel_exit(vm);
	term_exit(end > VM_END_SIGNAL && end < VM_END_DEBUG_EXIT ? SIGNAL_PATIENCE_MS : -1);
	if (vm->end_msg[0])
		msg_error("%s", vm->end_msg);
out_ram:
	firmware_unmap(vm);
	vm_ram_exit(vm);
out_loop:
	loop_exit(&vm->loop);
out_vm:
	vm_destroy(vm);
	return end;
}
