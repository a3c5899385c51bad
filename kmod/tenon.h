/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tenon.h - the objects of the module: VMs, vCPUs, memory slots
 *
 * Locks are named where they stand; their order is in Documentation/locking.rst.

 */
#ifndef TENON_KMOD_H
#define TENON_KMOD_H

#include <linux/hrtimer.h>
#include <linux/kvm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/types.h>
#include <linux/rcuwait.h>
#include <linux/wait.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>

#include "../emul/guest/x86/decode.h"
#include "../emul/irqchip/ioapic.h"
#include "../emul/irqchip/lapic.h"
#include "../emul/irqchip/pic.h"
#include "../emul/irqchip/pit.h"

#define TENON_TSC_UNSCALED   (1ull << 32)
#define TENON_TSC_RATIO_MAX  ((1ull << 40) - 1) /* 8 bits of integer part */
#define TENON_MAX_VCPUS	     256
#define TENON_MAX_VCPU_ID    4096
#define TENON_MAX_SLOTS	     509
#define TENON_MAX_CPUID	     256
#define TENON_MAX_ROUTES     4096
#define TENON_MAX_IRQFDS     4096 /* as many as there are GSIs; an EOI looks at all of them */
#define TENON_MAX_IOEVENTFDS 1000
#define TENON_PIO_PAGE	     1 /* kvm_run, then the data of port I/O, then the coalesced MMIO ring */
#define TENON_COALESCED_PAGE 2
#define TENON_RUN_PAGES	     3

struct tenon_vm;
struct tenon_vcpu;

/* ---- memory: memslot.c, tdp.c ---- */

/**
 * struct tenon_slot - guest-physical memory and the user memory behind it
 * @gfn: first frame
 * @npages: frames
 * @hva: user address of the first byte
 * @flags: KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY
 * @id: the caller's number
 * @dirty: a bit a page since the last KVM_GET_DIRTY_LOG, or NULL; outlives copies of the slot

 */
struct tenon_slot {
	u64 gfn;
	u64 npages;
	unsigned long hva;
	u32 flags;
	u32 id;
	unsigned long *dirty;
};

/* All slots of a VM, sorted by gfn. Never changed once published: readers hold vm->srcu. */
struct tenon_slots {
	unsigned int n;
	struct tenon_slot slot[];
};

/* ---- events of a vCPU ---- */

enum tenon_req {
	TENON_REQ_KICK, /* look at everything again */
	TENON_REQ_TLB_FLUSH,
	TENON_REQ_CLOCK, /* the paravirtual clock wants an update */
	TENON_REQ_TIMER, /* the local APIC's timer has expired */
	TENON_REQ_LINT0, /* the PIC's output has changed */
	TENON_REQ_NMI,
	TENON_REQ_INIT,
	TENON_REQ_SIPI,
	TENON_REQ_TRIPLE_FAULT,
	TENON_REQ_STEAL,
};

enum tenon_mode {
	TENON_OUTSIDE,
	TENON_IN_GUEST,
	TENON_EXITING,
};

/* One access of an emulated instruction that user space serves. */
struct tenon_mmio_frag {
	u64 gpa;
	u32 len;
	u8 data[8];
};

#define TENON_MMIO_FRAGS 8
#define TENON_NO_GPA	 (~0ull)

/* Instructions that have been decoded: tenon_decode() */
#define TENON_DECODED 16

struct tenon_decoded {
	u8 bytes[X86_INSN_MAX];
	u8 mode;
	struct x86_insn insn; /* len 0: none */
};

/* Counters of a vCPU: debugfs.c */
struct tenon_stats {
	u64 exits;
	u64 halts;
	u64 interrupts;
	u64 nmis;
	u64 exceptions;
	u64 faults;	/* nested page faults */
	u64 msrs;
	u64 hypercalls;
	u64 io_user;	/* port I/O served by user space */
	u64 mmio_user;
	u64 signals;	/* KVM_RUN ended by one */
	u64 flushes;	/* of the TLB, asked for by the host */
	u64 tlb_flushes; /* of what the TLB has of this vCPU, before an entry, whoever has asked */
	u64 yields;	/* of a spinning vCPU to another */
};

enum tenon_event_type {
	TENON_EXCEPTION,
	TENON_NMI,
	TENON_INTERRUPT,
};

/* An exception, interrupt or NMI on its way into the guest. */
struct tenon_event {
	bool pending;
	bool has_error;
	u8 vector;
	u32 error;
	u64 payload; /* CR2 of a page fault */
};

/*
 * Guest registers by their number in an encoding, X86_RAX and so on; RSP, RIP and RFLAGS beside
 * them.
 */
#define TENON_NR_GPRS 16

struct tenon_vcpu {
	/* what every entry touches first */
	u64 gpr[TENON_NR_GPRS];
	u64 rip;
	u64 rflags;
	int mode;		/* enum tenon_mode; other CPUs read it */
	unsigned long requests; /* BIT(enum tenon_req) */
	int cpu;		/* loaded there, or -1 */
	struct tenon_vm *vm;
	struct kvm_run *run; /* shared with the caller: read each field once */
	u8 *pio_data;
	void *arch; /* the vendor's own */

	/* identity */
	u32 id;
	unsigned int index;
	struct mutex mutex; /* one ioctl at a time; the owner of everything below */
	struct preempt_notifier preempt;
	bool in_preempt_notifier;
	struct page *run_page[TENON_RUN_PAGES];
	struct pid __rcu *pid; /* of the thread that ran it last */
	bool preempted;	       /* off its CPU, and not by its own will */

	/* sleeping */
	struct rcuwait wait; /* one sleeper; woken by a hard timer as well */
	struct hrtimer timer;
	bool timer_armed;
	bool timer_stale; /* the deadline may have moved */
	bool timer_exits; /* the processor ends the guest at the deadline */
	bool pending_eoi; /* user space has an IOAPIC to tell */
	bool windows; /* tenon_vendor->windows() was asked for one */

	/* registers that the vendor's state does not hold */
	u64 cr8;
	u64 xcr0;
	u64 dr[4];
	u64 msr_misc_enable;
	u64 msr_tsc_aux;
	u64 msr_tsc_adjust;
	u64 msr_mcg_cap;
	u64 msr_mcg_status;
	u64 msr_mcg_ctl;
	u64 *mce_banks;
	u64 mtrr_def_type;
	u64 mtrr_fixed[11];
	u64 mtrr_var[16];
	u64 msr_poll_control;
	u64 msr_virt_spec_ctrl;
	u64 tsc_offset;
	u64 tsc_ratio; /* guest ticks a host tick, in units of 2^-32 */
	struct fpu_guest fpu;
	bool fpu_loaded;
	bool cr4_pke;
	u32 pkru; /* not the kernel's to switch with the rest of the FPU state */
	sigset_t sigset;
	bool sigset_active;
	u32 guest_debug;
	bool step_due; /* an instruction carried out here is to be followed by a trap */
	u64 guest_debug_dr[8];

	/* CPUID as the caller set it */
	unsigned int ncpuid;
	struct kvm_cpuid_entry2 *cpuid;
	bool has_run;
	u32 pv_features;
	bool pv_leaf;
	u8 phys_bits;
	u64 cr4_allowed;
	u64 efer_allowed;
	u64 xcr0_allowed;
	u64 spec_ctrl_allowed; /* bits that may be set, of each */
	u64 pred_cmd_allowed;
	u64 flush_cmd_allowed;
	u64 virt_spec_ctrl_allowed;

	/* events */
	struct tenon_event exception;
	struct tenon_event
		injected; /* taken up by the processor's last delivery, to be delivered again */
	bool injected_is_irq;
	bool injected_is_nmi;
	atomic_t nmi_queued;
	unsigned int nmi_pending;
	bool nmi_masked;
	bool nmi_shadow_iret;
	int user_irq; /* KVM_INTERRUPT, or -1 */
	u32 mp_state;
	u8 sipi_vector;
	bool sipi_taken;
	bool halted_wakeup;

	/* local APIC: owned by the thread that holds the mutex, but for lapic_accept() */
	struct lapic *lapic;
	struct lapic_page *lapic_page;
	bool lint0_level;
	DECLARE_BITMAP(ioapic_vectors, 256); /* split: EOIs that user space waits for */
	bool vectors_stale;
	u64 vapic_addr;	    /* KVM_SET_VAPIC_ADDR, or 0 */
	bool vapic_shown;   /* the memory there is up to date */
	bool tpr_reporting; /* accesses of the TPR end KVM_RUN */
	bool tpr_accessed;

	/* port and memory-mapped I/O in flight */
	int (*complete)(struct tenon_vcpu *vcpu);

	struct {
		u64 next_rip;
		u64 linear;
		u32 count;
		u16 port;
		u8 size;
		bool in;
		bool string;
	} pio;

	struct {
		unsigned int reads;
		unsigned int cursor;
		unsigned int writes;
		unsigned int written;
		u64 gpa; /* of the operand, by the processor, or TENON_NO_GPA */
		bool gpa_write; /* the guest's paging lets it be written, too */
		const struct x86_insn *insn; /* that at rip, while user space serves its read, or NULL */
		u64 rip;
		struct tenon_mmio_frag rd[TENON_MMIO_FRAGS];
		struct tenon_mmio_frag wr[TENON_MMIO_FRAGS];
	} mmio;

	struct tenon_decoded decoded[TENON_DECODED];

	/* paravirtual clock */
	u64 pv_system_time; /* MSR */
	bool pv_stopped; /* KVM_KVMCLOCK_CTRL: the next update says so */
	u64 pv_steal_time;
	u64 pv_eoi;
	u64 steal_last;
	bool pv_eoi_pending;
	u32 pv_version;
	u32 tsc_khz;

	/* tables for the next fault: filled outside of mmu_lock */
	u64 *tdp_spare[6];

	struct tenon_stats stats;
};

/* ---- interrupt controllers: irqchip.c, route.c, eventfd.c ---- */

enum tenon_irqchip_mode {
	TENON_IRQCHIP_NONE,
	TENON_IRQCHIP_KERNEL,
	TENON_IRQCHIP_SPLIT,
};

/* PIC, IOAPIC and PIT of a VM. */
struct tenon_chips {
	raw_spinlock_t lock; /* over all three; taken with interrupts off, by a hard timer as well */
	struct pic pic;
	struct ioapic ioapic;
	/* wired OR: a source a bit, per GSI */
	unsigned long sources[IOAPIC_NR_PINS];
	unsigned long pic_sources[PIC_NR_IRQS];
	u32 eoi_pins; /* acknowledged under the lock, resampled after it */
	bool has_pit;
	bool pit_stale;
	u32 pit_flags;
	struct pit pit;
	struct hrtimer pit_timer;
	/* ticks that get lost while the guest does not look: kept, and sent one after the other */
	bool pit_reinject;
	bool pit_ended;	 /* the guest has ended the last one that was sent */
	bool pit_eoi;	 /* seen under the lock, acted upon before it is dropped */
	u32 pit_pending; /* not ended yet, the one that was sent included */
	int pit_vector;	 /* by which the local APICs get it from the IOAPIC's edge, or -1 */
};

#define TENON_SOURCE_USER     0
#define TENON_SOURCE_IRQFD    1
#define TENON_SOURCE_RESAMPLE 2
#define TENON_SOURCE_PIT      3

struct tenon_route {
	u32 gsi;
	u32 type; /* KVM_IRQ_ROUTING_* */

	union {
		struct {
			u32 chip;
			u32 pin;
		};

		struct {
			u64 addr;
			u32 data;
		};
	};
};

struct tenon_routes {
	struct rcu_head rcu;
	unsigned int n;
	struct tenon_route route[];
};

struct tenon_vm {
	/* life */
	refcount_t refs;
	struct mm_struct *mm;
	struct mutex lock; /* vCPUs, irqchip, configuration */
	struct list_head list;
	struct dentry *debugfs;
	u32 max_vcpu_id; /* KVM_CAP_MAX_VCPU_ID, or 0 */

	/* vCPUs: entries go from NULL to a pointer, in order, and stay until the end */
	unsigned int nr_vcpus;
	struct tenon_vcpu *vcpu[TENON_MAX_VCPUS];
	unsigned int nr_lapics;
	struct lapic *lapics[TENON_MAX_VCPUS];
	u32 bsp_id;
	unsigned int spin_last; /* the vCPU favoured by one that spins */

	/* memory */
	struct mutex slots_lock;
	struct srcu_struct srcu;
	struct tenon_slots __rcu *slots;
	spinlock_t mmu_lock; /* nested page tables and the three below */
	u64 *tdp_root;
	unsigned long mmu_seq;
	int mmu_invalidating;	 /* invalidations under way; together they lie in the range */
	unsigned long mmu_start;
	unsigned long mmu_end;
	struct mmu_notifier notifier;
	bool notifier_registered;
	bool manual_dirty; /* KVM_GET_DIRTY_LOG only reads: KVM_CLEAR_DIRTY_LOG clears */
	u64 identity_map_addr;
	u64 tss_addr;

	/* interrupts */
	enum tenon_irqchip_mode irqchip;
	unsigned int split_pins;
	struct tenon_chips *chips;
	struct tenon_routes __rcu *routes;
	struct srcu_struct irq_srcu;
	bool x2apic_32bit;
	bool x2apic_no_broadcast_quirk;
	struct mutex irqfd_mutex; /* an irqfd comes or goes */
	spinlock_t irqfd_lock;	  /* the list, from a wake-up as well */
	struct list_head irqfds;
	unsigned int nr_irqfds;
	struct list_head ioeventfds; /* slots_lock to change, srcu to read */
	unsigned int nr_ioeventfds;
	struct list_head coalesced;
	spinlock_t ring_lock;

	/* clock */
	raw_spinlock_t clock_lock;
	u64 clock_base_ns;
	u64 clock_base_tsc; /* host TSC at clock_base_ns */
	u64 wall_clock_msr;
	u64 tsc_offset_last;
	u64 tsc_ratio_last;
	u64 tsc_write_last;
	u64 tsc_write_ns;
	bool tsc_set; /* by user space, to other than 0 */
	u32 tsc_khz;

	/* memory that user space named but that is only accepted */
	u64 disabled_quirks;
};

/* ---- main.c ---- */
extern const struct tenon_vendor *tenon_vendor;
int tenon_virt_get(void);
void tenon_virt_put(void);
int tenon_check_extension(struct tenon_vm *vm, unsigned long cap);
extern unsigned int tenon_halt_poll_ns;
extern unsigned int tenon_max_vcpus;
extern unsigned long tenon_max_memory; /* MiB */

/* ---- vm.c ---- */
int tenon_vm_create(unsigned long type);
void tenon_vm_get(struct tenon_vm *vm);
void tenon_vm_put(struct tenon_vm *vm);

/* ---- vcpu.c ---- */
int tenon_vcpu_create(struct tenon_vm *vm, u32 id);
void tenon_vcpu_destroy(struct tenon_vcpu *vcpu);
void tenon_vcpu_load(struct tenon_vcpu *vcpu);
void tenon_vcpu_put(struct tenon_vcpu *vcpu);
void tenon_vcpu_reset(struct tenon_vcpu *vcpu, bool init);

/* ---- state.c: ioctls that read and write registers ---- */
#define TENON_GUESTDBG (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_SW_BP | \
			KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP | \
			KVM_GUESTDBG_BLOCKIRQ)
long tenon_state_ioctl(struct tenon_vcpu *vcpu, unsigned int cmd, void __user *arg);

/* ---- debugfs.c ---- */
void tenon_debugfs_setup(void);
void tenon_debugfs_teardown(void);
void tenon_debugfs_vm(struct tenon_vm *vm);
void tenon_debugfs_vm_gone(struct tenon_vm *vm);
void tenon_debugfs_vcpu(struct tenon_vcpu *vcpu);

/* ---- run.c ---- */
int tenon_vcpu_run(struct tenon_vcpu *vcpu);
void tenon_kick(struct tenon_vcpu *vcpu);
void tenon_notify(struct tenon_vcpu *vcpu);
void tenon_make_request(struct tenon_vcpu *vcpu, enum tenon_req req);
void tenon_request_all(struct tenon_vm *vm, enum tenon_req req);
void tenon_flush_all(struct tenon_vm *vm);
bool tenon_vcpu_runnable(struct tenon_vcpu *vcpu);
void tenon_queue_exception(struct tenon_vcpu *vcpu, u8 vector, bool has_error, u32 error,
			   u64 payload);

static inline void tenon_inject_gp(struct tenon_vcpu *vcpu)
{
	tenon_queue_exception(vcpu, 13, true, 0, 0);
}

static inline void tenon_inject_ud(struct tenon_vcpu *vcpu)
{
	tenon_queue_exception(vcpu, 6, false, 0, 0);
}

void tenon_spin(struct tenon_vcpu *vcpu);
int tenon_emulate_halt(struct tenon_vcpu *vcpu);
int tenon_hypercall(struct tenon_vcpu *vcpu);

/* ---- event.c ---- */
void tenon_events(struct tenon_vcpu *vcpu);
void tenon_requeue(struct tenon_vcpu *vcpu, enum tenon_event_type type, const struct tenon_event *event);
int tenon_class_held(const struct lapic *apic, u64 tpr);

/*
 * The class of the interrupt that the TPR, in bits 0 to 3 of @tpr, holds back, or -1: a lower TPR lets it in. For a vCPU
 * with a local APIC here.
 */
static inline int tenon_tpr_holds(const struct tenon_vcpu *vcpu, u64 *tpr)
{
	*tpr = lapic_get_tpr(vcpu->lapic) >> 4;
	return unlikely(*tpr) ? tenon_class_held(vcpu->lapic, *tpr) : -1;
}

/* What the guest has left in CR8. */
static inline void tenon_tpr_out(struct tenon_vcpu *vcpu, u64 tpr)
{
	if (vcpu->lapic && unlikely(lapic_get_tpr(vcpu->lapic) >> 4 != tpr))
		lapic_set_tpr(vcpu->lapic, tpr << 4);
	vcpu->cr8 = tpr;
}

/* ---- memslot.c ---- */
int tenon_slots_init(struct tenon_vm *vm);
void tenon_slots_destroy(struct tenon_vm *vm);
int tenon_set_memory(struct tenon_vm *vm, const struct kvm_userspace_memory_region *mem);
int tenon_get_dirty_log(struct tenon_vm *vm, const struct kvm_dirty_log *log);
int tenon_clear_dirty_log(struct tenon_vm *vm, const struct kvm_clear_dirty_log *log);
const struct tenon_slot *tenon_slot_find(struct tenon_vm *vm, u64 gfn);
void tenon_mark_dirty(const struct tenon_slot *slot, u64 gfn);
int tenon_access_atomic(struct tenon_vm *vm, u64 gpa, void *data, unsigned int len, bool write);
int tenon_read_phys(struct tenon_vm *vm, u64 gpa, void *data, unsigned int len);
int tenon_write_phys(struct tenon_vm *vm, u64 gpa, const void *data, unsigned int len);

/* ---- tdp.c ---- */
enum tenon_fault {
	TENON_FAULT_DONE,
	TENON_FAULT_MMIO,
	TENON_FAULT_RETRY,
};

int tenon_tdp_init(struct tenon_vm *vm);
int tenon_tdp_notifier(struct tenon_vm *vm);
void tenon_tdp_destroy(struct tenon_vm *vm);
void tenon_tdp_vcpu_free(struct tenon_vcpu *vcpu);
int tenon_tdp_fault(struct tenon_vcpu *vcpu, u64 gpa, bool write, bool exec);
void tenon_tdp_zap(struct tenon_vm *vm, u64 gfn, u64 npages);
void tenon_tdp_write_protect(struct tenon_vm *vm, u64 gfn, unsigned long mask);

/* ---- gva.c: the guest's own paging ---- */
#define TENON_ACCESS_WRITE BIT(1) /* the bits of a page fault's error code */
#define TENON_ACCESS_USER  BIT(2)
#define TENON_ACCESS_FETCH BIT(4)
#define TENON_FETCH_MAX	   16 /* room for the 15 bytes of the longest instruction */

/**
 * struct tenon_code - how the instruction at RIP reaches memory: read once for each that is looked at here
 * @cr0, @cr3, @cr4, @efer: its paging
 * @cs_base: added to RIP outside of 64-bit mode
 * @mode: enum x86_mode
 * @cpl: privilege level
 */
struct tenon_code {
	u64 cr0;
	u64 cr3;
	u64 cr4;
	u64 efer;
	u64 cs_base;
	u8 mode;
	u8 cpl;
};

int tenon_gva_to_gpa(struct tenon_vcpu *vcpu, const struct tenon_code *code, u64 gva, u32 access, u64 *gpa,
		     u32 *error);
int tenon_fetch(struct tenon_vcpu *vcpu, const struct tenon_code *code, u8 bytes[TENON_FETCH_MAX], unsigned int *got);
int tenon_linear(struct tenon_vcpu *vcpu, const struct tenon_code *code, unsigned int seg, u64 offset,
		 unsigned int len, bool write, u64 *linear);

/* ---- mmio.c, mmio-vec.c, pio.c ---- */
int tenon_mmio_fault(struct tenon_vcpu *vcpu, u64 gpa, u32 access, const u8 *bytes, unsigned int nbytes);
int tenon_skip_insn(struct tenon_vcpu *vcpu);
const struct x86_insn *tenon_decode(struct tenon_vcpu *vcpu, const struct tenon_code *code, const u8 *bytes,
				    unsigned int n);
int tenon_vec_read(struct tenon_vcpu *vcpu, unsigned int reg, void *data, bool ymm);
int tenon_vec_write(struct tenon_vcpu *vcpu, unsigned int reg, const void *data, unsigned int len,
		    bool vex);
int tenon_pio(struct tenon_vcpu *vcpu, u16 port, unsigned int size, bool in, u64 next_rip);
int tenon_pio_string(struct tenon_vcpu *vcpu, u16 port, unsigned int size, bool in, bool rep,
		     u64 next_rip);
bool tenon_pio_kernel(struct tenon_vm *vm, u16 port, unsigned int size, bool in, void *data);
bool tenon_mmio_kernel(struct tenon_vcpu *vcpu, u64 gpa, unsigned int len, bool write, void *data);

/* ---- irqchip.c ---- */
int tenon_irqchip_create(struct tenon_vm *vm);
unsigned long tenon_chips_lock(struct tenon_chips *chips) __acquires(&chips->lock);
void tenon_chips_unlock(struct tenon_vm *vm, unsigned long flags) __releases(&vm->chips->lock);
int tenon_irqchip_split(struct tenon_vm *vm, unsigned int pins);
void tenon_irqchip_destroy(struct tenon_vm *vm);
int tenon_pit_create(struct tenon_vm *vm, u32 flags);
void tenon_pit_reinject(struct tenon_vm *vm, bool on);
int tenon_irqchip_get(struct tenon_vm *vm, struct kvm_irqchip *chip);
int tenon_irqchip_set(struct tenon_vm *vm, const struct kvm_irqchip *chip);
int tenon_pit_get(struct tenon_vm *vm, struct kvm_pit_state2 *state);
int tenon_pit_set(struct tenon_vm *vm, const struct kvm_pit_state2 *state);
int tenon_chips_line(struct tenon_vm *vm, u32 chip, u32 pin, unsigned int source, bool level);
void tenon_ioapic_pin_msgs(struct tenon_vm *vm, struct irq_msg *msg, u32 *mask);

/* ---- lapic.c ---- */
#define TENON_IRQ_PIC 256 /* of tenon_irq_pending() */
int tenon_lapic_create(struct tenon_vcpu *vcpu);
void tenon_lapic_destroy(struct tenon_vcpu *vcpu);
void tenon_lapic_cpuid(struct tenon_vcpu *vcpu);
void tenon_lapic_process(struct tenon_vcpu *vcpu);
void tenon_lapic_rearm(struct tenon_vcpu *vcpu);
void tenon_lapic_sleeps(struct tenon_vcpu *vcpu);
bool tenon_irqs_delivered(struct tenon_vcpu *vcpu);
bool tenon_user_pic(const struct tenon_vcpu *vcpu);
void tenon_pv_eoi_offer(struct tenon_vcpu *vcpu);
void tenon_pv_eoi_take(struct tenon_vcpu *vcpu);
void tenon_vapic_in(struct tenon_vcpu *vcpu);
void tenon_vapic_out(struct tenon_vcpu *vcpu);
int tenon_irq_pending(struct tenon_vcpu *vcpu);
int tenon_irq_ack(struct tenon_vcpu *vcpu);
u64 tenon_now(void);

/* ---- route.c ---- */
int tenon_routes_default(struct tenon_vm *vm);
int tenon_routes_set(struct tenon_vm *vm, const struct kvm_irq_routing *head,
		     const struct kvm_irq_routing_entry *entries);
int tenon_set_gsi(struct tenon_vm *vm, u32 gsi, unsigned int source, bool level);
u32 tenon_gsi_pins(struct tenon_vm *vm, u32 gsi);
bool tenon_msi_valid(const struct tenon_vm *vm, u32 addr_high);
int tenon_msi(struct tenon_vm *vm, u64 addr, u32 data);
void tenon_routes_ioapic_vectors(struct tenon_vcpu *vcpu);

/* ---- eventfd.c ---- */
int tenon_irqfd(struct tenon_vm *vm, const struct kvm_irqfd *args);
int tenon_ioeventfd(struct tenon_vm *vm, const struct kvm_ioeventfd *args);
bool tenon_ioeventfd_write(struct tenon_vm *vm, bool pio, u64 addr, unsigned int len,
			   const void *data);
void tenon_resample(struct tenon_vm *vm, u32 pins);
void tenon_eventfds_destroy(struct tenon_vm *vm);
int tenon_eventfd_setup(void);
void tenon_eventfd_teardown(void);
int tenon_coalesced(struct tenon_vm *vm, const struct kvm_coalesced_mmio_zone *zone, bool add);
bool tenon_coalesced_write(struct tenon_vcpu *vcpu, bool pio, u64 addr, unsigned int len,
			   const void *data);

/* ---- cpuid.c ---- */
int tenon_supported_cpuid(struct kvm_cpuid2 __user *arg);
int tenon_cpuid_set(struct tenon_vcpu *vcpu, struct kvm_cpuid2 __user *arg);
int tenon_cpuid_get(struct tenon_vcpu *vcpu, struct kvm_cpuid2 __user *arg);
void tenon_cpuid(struct tenon_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);
const struct kvm_cpuid_entry2 *tenon_cpuid_find(struct tenon_vcpu *vcpu, u32 function, u32 index);
extern u64 tenon_host_xcr0;
extern u64 tenon_host_xss;
bool tenon_offers_virt_ssbd(void);
u64 tenon_spec_ctrl_bits(void);
unsigned int tenon_xsave_size(void);
void tenon_cpuid_default(struct tenon_vcpu *vcpu);
void tenon_cpuid_setup(void);

/* ---- msr.c ---- */
int tenon_msr_list(struct kvm_msr_list __user *arg, bool features);
int tenon_msrs_system_get(struct kvm_msrs __user *arg);
int tenon_msrs_io(struct tenon_vcpu *vcpu, struct kvm_msrs __user *arg, bool write);
int tenon_rdmsr(struct tenon_vcpu *vcpu, u32 msr, u64 *value, bool host);
int tenon_wrmsr(struct tenon_vcpu *vcpu, u32 msr, u64 value, bool host);

/* ---- clock.c ---- */
u64 tenon_mul_div(u64 a, u32 mul, u32 div);
void tenon_clock_init(struct tenon_vm *vm);
void tenon_clock_get(struct tenon_vm *vm, struct kvm_clock_data *data);
void tenon_clock_set(struct tenon_vm *vm, u64 ns);
void tenon_clock_update(struct tenon_vcpu *vcpu);
void tenon_clock_wall(struct tenon_vm *vm, u64 gpa);
void tenon_steal_update(struct tenon_vcpu *vcpu);
void tenon_steal_preempted(struct tenon_vcpu *vcpu);
u64 tenon_guest_tsc(struct tenon_vcpu *vcpu);
int tenon_set_tsc_khz(struct tenon_vcpu *vcpu, u32 khz);
void tenon_write_tsc(struct tenon_vcpu *vcpu, u64 value, bool host);

/* ---- fpu.c ---- */
void tenon_fpu_setup(void);
int tenon_fpu_create(struct tenon_vcpu *vcpu);
void tenon_fpu_destroy(struct tenon_vcpu *vcpu);
void tenon_fpu_reset(struct tenon_vcpu *vcpu);
void tenon_fpu_enter(struct tenon_vcpu *vcpu);
void tenon_fpu_leave(struct tenon_vcpu *vcpu);
long tenon_fpu_ioctl(struct tenon_vcpu *vcpu, unsigned int cmd, void __user *arg);
int tenon_xsetbv(struct tenon_vcpu *vcpu, u32 index, u64 value);

/* How many there are: those below are complete. Pairs with tenon_vcpu_create(). */
static inline unsigned int tenon_nr_vcpus(const struct tenon_vm *vm)
{
	return smp_load_acquire(&vm->nr_vcpus); /* see above */
}

static inline unsigned int tenon_nr_lapics(const struct tenon_vm *vm)
{
	return smp_load_acquire(&vm->nr_lapics); /* see above */
}

/* How a VM reads the address of an MSI: IRQ_MSI_*. */
static inline unsigned int tenon_msi_flags(const struct tenon_vm *vm)
{
	return (vm->x2apic_32bit ? IRQ_MSI_X2APIC : 0) | (vm->x2apic_no_broadcast_quirk ? IRQ_MSI_WIDE : 0);
}

static inline bool tenon_take_request(struct tenon_vcpu *vcpu, enum tenon_req req)
{
	return test_bit(req, &vcpu->requests) && test_and_clear_bit(req, &vcpu->requests);
}

static inline bool tenon_has_lapic(const struct tenon_vcpu *vcpu)
{
	return vcpu->lapic;
}

#endif /* TENON_KMOD_H */
