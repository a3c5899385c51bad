/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vm.h - a running machine: what was asked for, its memory, its buses, its threads
 *
 * Locks: vm->lock (the device lock) is held in every device callback: register access from a vCPU, timer,
 * file descriptor. A back end's irq_line() and msi() take the back end's own lock inside it, never the other
 * way round. vCPU threads run guest code without it.
 */
#ifndef TENON_VM_H
#define TENON_VM_H

#include <pthread.h>
#include <stdatomic.h>

#include "accel.h"
#include "block/block.h"
#include "bus.h"
#include "loop.h"

#define VM_MAX_RAM	2
#define VM_MAX_DISKS	8
#define VM_MAX_NETS	4
#define VM_MAX_HOSTFWD	16

#define VM_MAX_SHARES	8
#define VM_MAX_CHANNELS	8
#define VM_SHARE_TAG_MAX 31

/* A directory of the host that the guest can mount. */
struct vm_share {
	const char *path, *tag;
	bool readonly;
};

/* A byte stream between the guest and whoever connects to a socket. */
struct vm_channel {
	const char *name, *path;
};

struct vm_disk {
	const char *path;
	int fd;				/* open and locked already; 0: not */
	bool readonly, snapshot, no_discard, transitional;
	const char *serial;		/* NULL: made from its number */
	const struct block_driver *format;	/* NULL: by the name */
	enum block_cache cache;
	enum block_backing backing;
	const struct block_given *given;	/* its backing files, for as long as it is opened */
	unsigned int nr_given;
	enum block_aio aio;
};

struct net_ops;

/* A port of the host whose connections go to the guest. Addresses in network order, ports in the host's. */
struct vm_hostfwd {
	bool udp;
	uint32_t host_addr, guest_addr;	/* guest_addr 0: the one that DHCP gives out */
	uint16_t host_port, guest_port;
};

struct vm_net {
	const struct net_ops *ops;
	uint8_t mac[6];			/* all 0: choose one */
	unsigned int mtu;		/* 0: the back end's own */
	bool transitional;

	/* user */
	bool host_loopback;		/* the guest may connect to the host's 127.0.0.1 */
	struct vm_hostfwd fwd[VM_MAX_HOSTFWD];
	unsigned int nr_fwd;

	/* tap */
	const char *ifname, *bridge;	/* or NULL */
	int fd;				/* set up already, with mac and mtu; 0: not. Also of dgram */
	int vhost_fd;			/* with fd: of /dev/vhost-net, or 0 */
	enum vm_vhost { VM_VHOST_AUTO, VM_VHOST_ON, VM_VHOST_OFF } vhost;

	/* dgram */
	unsigned int index;		/* no other card of the machine has it */
};

/* Whether and how the software CPU translates, as enum emul_jit. */
enum vm_jit { VM_JIT_ON, VM_JIT_OFF, VM_JIT_EAGER, VM_JIT_STRESS };
/* Whether the interpreter runs beside it, to be compared. */
enum vm_lockstep { VM_LOCKSTEP_OFF, VM_LOCKSTEP_BLOCKS, VM_LOCKSTEP_CHAINS };

/* What a watchdog does that the guest has let expire. */
enum vm_watchdog { VM_WATCHDOG_ABSENT, VM_WATCHDOG_RESET, VM_WATCHDOG_POWEROFF, VM_WATCHDOG_NONE };

/* What the user asked for; filled by cmd-run.c, constant afterwards. */
struct vm_config {
	const struct accel_ops *accel;
	const char *cpu;		/* model string or NULL */
	uint64_t memory;		/* bytes */
	unsigned int cpus;
	const char *kernel, *initrd, *append;
	const char *firmware;		/* starts the machine if there is no kernel */
	struct vm_disk disk[VM_MAX_DISKS];
	unsigned int nr_disks;
	struct vm_net net[VM_MAX_NETS];
	unsigned int nr_nets;
	struct vm_share share[VM_MAX_SHARES];
	unsigned int nr_shares;
	struct vm_channel channel[VM_MAX_CHANNELS];
	unsigned int nr_channels;
	const char *vsock_path;		/* NULL: none */
	uint32_t vsock_cid;
	bool balloon;			/* memory can be taken from the guest, and free memory comes back by itself */
	enum vm_watchdog watchdog;
	bool run_port;			/* the guest is there to run a command: devices/run-port.c */
	int debug_exit_port;		/* -1: none */
	enum vm_jit jit;		/* software CPU only, as the following */
	enum vm_lockstep lockstep;
	const char *trace;		/* file for listings of what is translated */
	bool perf_map;			/* tell perf what is translated */
	bool split_irqchip;		/* module and kvm only: no more than the local APICs in the kernel */
	const char *name;		/* of the control socket; NULL: none */
	bool no_reboot;			/* a guest reset ends the run */
	bool no_sandbox;		/* threads keep all the user's rights */
	bool stats;
};

/* How a run ended; the exit status of `tenon run`. */
enum vm_end {
	VM_RUNNING = -1,
	VM_END_POWEROFF = 0,
	VM_END_ERROR = 1,		/* could not start, or internal error */
	VM_END_USAGE = 2,
	VM_END_RESET = 3,		/* reset requested with --no-reboot */
	VM_END_PANIC = 4,		/* the guest reported a panic */
	VM_END_TRIPLE_FAULT = 5,
	VM_END_SIGNAL = 128,		/* + signal number */
	VM_END_DEBUG_EXIT = 1000,	/* + (value << 1 | 1), as the isa-debug-exit convention has it */
};

struct vcpu {
	struct vm *vm;
	unsigned int id;
	pthread_t thread;
	bool started;
	atomic_int tid;			/* of the thread, for the control socket */
	void *accel;			/* back end's own */
	char msg[256];			/* VCPU_STOP_ERROR, VCPU_STOP_SHUTDOWN: why */
};

struct vm_ram {
	uint64_t gpa, size;
	void *host;
};

/* What a reset puts into memory again. */
enum vm_image { VM_IMAGE_KERNEL, VM_IMAGE_INITRD, VM_NR_IMAGES };

struct vm {
	struct vm_config config;

	pthread_mutex_t lock;		/* the device lock */
	struct loop loop;		/* timers and file descriptors, on the main thread */
	struct bus pio, mmio;

	struct vm_ram ram[VM_MAX_RAM];	/* below and above 4 GiB */
	unsigned int nr_ram;
	struct vm_ram rom;		/* firmware; size 0: none */
	int image_fd[VM_NR_IMAGES];	/* for later resets, which can't open files any more; 0: not opened yet */

	void *accel;			/* back end's own */
	bool accel_ready;		/* accel->vm_init() succeeded */
	int accel_fd;			/* the node it opened, kept for later resets as images are; 0: none */
	struct vcpu *vcpu;		/* config.cpus of them */
	atomic_uint halted;		/* vCPUs that wait for an interrupt, where the back end knows */

	struct ctl *ctl;		/* NULL without a name */
	struct pci_host *pci;
	struct rtc *rtc;
	struct hotplug *hotplug;
	struct plug *plug;		/* what was added while the guest runs: plug.h */
	struct vballoon *balloon;	/* or NULL */
	uint8_t generation[16];		/* VM generation ID: of this run, whatever image it runs on */
	struct fw_cfg *fw_cfg;		/* NULL without firmware */
	void **device_state;		/* of machine_devices[], by index */
	unsigned int nr_devices;

	/* vCPU threads; see vm.c */
	pthread_mutex_t run_lock;	/* phase and the counts, end_msg; innermost */
	pthread_cond_t run_cond;
	enum vm_phase { VM_PHASE_START, VM_PHASE_RUN, VM_PHASE_LEAVE } phase;
	unsigned int nr_ready, nr_stopped;
	bool start_failed;
	atomic_bool paused;		/* vCPU threads stay out of guest code until that changes */
	unsigned int nr_paused;
	struct timer pause_timer;	/* on the main thread, until all of them have noticed */
	atomic_bool quit;		/* vCPU threads leave guest code for good */
	struct kvm_regs boot_regs;
	struct kvm_sregs boot_sregs;

	/* why the main loop stops */
	atomic_int stop;		/* 0: look at end (VM_RUNNING then means a reset); -1: run on */
	atomic_int end;			/* enum vm_end; first one wins */
	char end_msg[256];
};

/* Build the machine, run it to its end, take it down; returns enum vm_end. Messages have been printed. */
int vm_run(const struct vm_config *config);

/* End the run (any thread): the main loop stops the vCPUs and returns. msg (printf-like) may be NULL. */
void vm_end(struct vm *vm, int how, const char *msg, ...) __attribute__((format(printf, 3, 4)));
/* Ask the guest to power off (ACPI power button). With the device lock held. */
void vm_powerdown(struct vm *vm);
/*
 * Keep all vCPUs out of guest code, or let them go on. Takes effect soon; the event STOP says when, and
 * from then on the guest's clock stands (loop.h). Main thread, with the device lock held.
 */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
bool vm_paused(const struct vm *vm);
/* Guest-initiated reset (0xCF9, i8042, FADT reset register). Any thread; takes effect soon, not at once. */
void vm_reset_request(struct vm *vm);

/* Copy to and from guest RAM by physical address; false if any byte is not RAM. */
bool vm_read(struct vm *vm, uint64_t gpa, void *buf, size_t len);
bool vm_write(struct vm *vm, uint64_t gpa, const void *buf, size_t len);
/* Host address of [gpa, gpa + len) for the loader, before the guest runs; NULL if it is not all RAM. */
void *vm_ram_ptr(struct vm *vm, uint64_t gpa, uint64_t len);

static inline void vm_irq(struct vm *vm, unsigned int gsi, bool level)
{
	vm->config.accel->irq_line(vm, gsi, level);
}

/*
 * A device of the machine, in one explicit ordered table (machine/pc.c). init() creates it and registers its
 * regions; exit() undoes it and must cope with a failed init(). state is the device's own, kept by the
 * table's owner.
 */
struct device_ops {
	const char *name;
	int (*init)(struct vm *vm, void **state);	/* 0, or -errno with a message printed */
	void (*reset)(struct vm *vm, void *state);	/* optional; vCPUs are stopped, device lock held */
	void (*exit)(struct vm *vm, void *state);	/* optional */
};

#endif /* TENON_VM_H */
