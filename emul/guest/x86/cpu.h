/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cpu.h - the x86 vCPU and what its engines share: memory access, exceptions, transfers of control
 *
 * The interpreter executes a block of struct uop, each a decoded instruction and its handler:
 *
 *	static int add_rr32(struct x86_cpu *cpu, const struct uop *u)
 *
 * A handler returns one of enum x86_next. It checks everything that can fault before it changes any state, so that a
 * fault leaves the state as it was before the instruction; the loop puts rip where the outcome says.
 */
#ifndef TENON_X86_CPU_H
#define TENON_X86_CPU_H

#include "../../core/core.h"
#include "state.h"

struct x86_cpu;
struct uop;

enum x86_next {
	X86_NEXT,	/* done: go on with the following instruction */
	X86_JUMP,	/* done: the handler set state.rip; go on there, with interrupts etc. looked at first */
	X86_FAULT,	/* an exception is in cpu->exc; state.rip will be this instruction */
	X86_AGAIN,	/* not over (REP with something pending): state.rip will be this instruction */
	X86_ALONE,	/* must be done with the world stopped: the loop does so, with the unlocked handler */
	X86_LEAVE,	/* done: like X86_NEXT, but the loop looks at everything (mode, CR, shadow, halt) before going on */
};

typedef int (*uop_fn)(struct x86_cpu *cpu, const struct uop *u);

/*
 * A decoded instruction in a block. d and s are byte offsets into state.gpr of the register operands (AH..BH are
 * offsets 1 into RAX..RBX); which operand is which depends on the form, see enum uop_form.
 */
struct uop {
	uop_fn fn;
	u64 ea_mask;		/* by address size */
	struct x86_insn insn;	/* disp of RIP-relative operands already counts from the page (see x86_ea()) */
	u8 d, s;
	u16 off;		/* of the instruction in its page */
	u8 form;		/* enum uop_form */
	u8 osz;			/* log2 of insn.opsize */
	u16 idx;		/* in its block */
};
static_assert(sizeof(struct uop) == 64, "one cache line");

/* How operands reach a handler. "d" is the row's first operand, "s" its second. */
enum uop_form {
	FORM_RR,	/* d and s in registers (also: one register, or no operand at all) */
	FORM_RI,	/* d in a register, second operand insn.imm */
	FORM_RM,	/* d in a register, second operand in memory */
	FORM_MR,	/* first operand in memory (also: the only one), s in a register */
	FORM_MI,	/* first operand in memory, second insn.imm */
	FORM_LMR,	/* as MR, with LOCK (XCHG with memory always) */
	FORM_LMI,
	FORM_COUNT
};

/*
 * What the interpreter knows of an operation: a handler by form and log2 of operand size. Operations whose form or
 * size doesn't matter fill all slots with one handler: IOP_ALL(fn). A NULL slot is an encoding that doesn't exist.
 * cc: handlers by condition code, for register and branch forms of SETCC, CMOVCC, JCC (memory forms use fn).
 */
struct interp_op {
	uop_fn fn[FORM_COUNT][4];
	const uop_fn *cc;
};
#define IOP_SIZES(f)	{ f, f, f, f }
#define IOP_ALL(f)	{ .fn = { IOP_SIZES(f), IOP_SIZES(f), IOP_SIZES(f), IOP_SIZES(f), IOP_SIZES(f) } }

struct x86_exc {
	u8 vector;
	bool has_error;
	bool soft;		/* INT n, INT3, INTO: gate DPL is checked, rip is that of the following instruction */
	bool ext;		/* external event: sets EXT in error codes of nested faults */
	u32 error;
};

enum x86_tlb_mode {
	TLB_USER,	/* CPL 3 */
	TLB_KERNEL,	/* supervisor, SMAP in force; also implicit accesses to descriptor tables */
	TLB_KERNEL_AC,	/* supervisor, SMAP off or RFLAGS.AC set */
	TLB_MODES
};

enum x86_access { ACC_READ, ACC_WRITE, ACC_EXEC };

#define EMUL_ITLB_SIZE	4096

struct x86_tlb {
	struct emul_tlb_entry e[EMUL_TLB_SIZE];
} __attribute__((aligned(64)));

/*
 * Which TLB entries were filled since the last flush, those of global pages apart, so that a flush costs no
 * more than the fills did. @large: hashed addresses of pages over 4 KiB of which an entry holds a piece.
 */
#define X86_TLB_ENTRIES	(TLB_MODES * EMUL_TLB_SIZE + 2 * EMUL_ITLB_SIZE)
#define X86_LARGE_BITS	4096
struct x86_tlb_log {
	u16 nr;
	u16 entry[X86_TLB_ENTRIES];
	u64 large_shifts;			/* bit n: pages of 2^n bytes */
	u64 large[X86_LARGE_BITS / 64];
};

/* Why every access of this vCPU takes the slow path: x86_cpu.watch */
#define X86_WATCH_DATA	BIT(0)			/* data breakpoints */
#define X86_WATCH_ALIGN	BIT(1)			/* alignment checks */
#define X86_WATCH_IO	BIT(2)			/* I/O breakpoints */

/*
 * What translated code needs of a vCPU beside its state (emul/jit/). The jump cache finds translated code by RIP: an entry
 * holds for as long as the RIP's page is mapped where it was; by TLB mode, as translations are.
 */
#define X86_JUMP_BITS	12			/* doubled slots are kept in 16 bits */
#define X86_JUMP_FILLS	256
#define X86_JUMP_SIZE	(1U << X86_JUMP_BITS)
#define X86_JUMP_PAGES	8192
struct x86_jump_cache {
	u8 mode;				/* low byte of the X86_BLOCK_MODE() of its code: it is flushed when another is wanted */
	struct x86_jump {
		u64 rip;			/* below the base of CS in 16-bit code; or X86_JUMP_EMPTY() */
		const void *code;
	} e[X86_JUMP_SIZE];
	u64 pages[X86_JUMP_PAGES / 64];		/* hashed: pages of which there was ever an entry */
	bool half[2];				/* and in which halves of the address space */
	bool local;				/* there is one of a page that is not global */
	u16 nr_fills;				/* since the last flush; which slots, doubled, as long as there is room */
	u16 fill[X86_JUMP_FILLS + 1];		/* the last is never looked at */
	u32 turn;				/* x86_far.turn of entries that hold */
};
/* Bit 0 is left out: so an index with a scale of 8 finds 16 bytes. */
#define X86_JUMP_SLOT(rip)	((unsigned int)((rip) ^ (rip) >> 12) / 2 % X86_JUMP_SIZE)
static_assert(sizeof(struct x86_jump) == 16, "found by a scale");
/* A RIP of another slot. */
#define X86_JUMP_EMPTY(slot)	(1ULL << 63 | (u64)!(slot) << 1)

/*
 * Behind the jump caches, what they had no room for: one table for all modes. Each flush of a jump cache begins a turn, by
 * a number that no other has had. An entry of an older turn holds, too, if the RIP's page is still mapped where it was, as
 * the instruction TLB says.
 */
#define X86_FAR_SIZE	(1U << 16)
struct x86_far {
	u64 rip;
	const void *code;			/* NULL: empty */
	const struct emul_page *page;		/* that the RIP's page was */
	u32 turn;
	u8 mode;				/* as that of the jump cache; of code that is 16-bit or lies in two pages, none */
};
#define X86_FAR_SLOT(rip)	((unsigned int)((rip) ^ (rip) >> 16) % X86_FAR_SIZE)

#define X86_JIT_NEAR	16
#define X86_JIT_MEMOS	16384
#define X86_JIT_HEAT	8192

/* What a hot access last found in the TLB: guest-virtual addresses [base, base + limit) are at @host. */
struct x86_jit_memo {
	u64 base, limit;
	u8 *host;
	u32 uses, misses;			/* counted while it isn't known whether it is of use */
};

struct x86_jit {
	u64 host_rsp;				/* of C code, while translated code runs */
	const void *ret;			/* where a slow path goes on */
	u64 tmp[3];
	u8 missing;				/* what floating-point and vector instructions lack to run as they are: JIT_* */
	u64 flags;				/* arithmetic flags between instructions: as LAHF has them in 8..15, OF in 0 */
	u64 insns;				/* guest instructions retired in translated code */
	u64 calls;				/* of these by the interpreter's handlers */
	u32 site;				/* why translated code was left: this instruction (jit_site())... */
	int next;				/* ...had this outcome, enum x86_next */
	bool flushed;				/* TLB entries were dropped: host addresses at hand may be old */
	u32 chain;				/* instructions that jit_chain() shall execute */
	u8 *near[X86_JIT_NEAR];			/* host addresses that a block's accesses share, see group.c */
	struct x86_jit_memo memo[X86_JIT_MEMOS];
	u32 memo_used[X86_JIT_MEMOS / 32];	/* which were filled; and which of these words are not 0 */
	u32 memo_words[X86_JIT_MEMOS / 32 / 32];
	u16 heat[X86_JIT_HEAT];			/* how often translations were entered, modulo 2^16; hashed */
	struct x86_jump_cache jump[TLB_MODES];
	u32 turns;
	struct x86_far far[X86_FAR_SIZE];
};

/* Why an instruction was interpreted, though there is a translator. */
enum x86_why { X86_WHY_COLD, X86_WHY_MODE, X86_WHY_CROSSING, X86_WHY_SINGLE, X86_WHY_COUNT };
#define X86_JIT_EXITS	6			/* enum jit_exit_kind */

struct x86_cpu {
	struct emul_vcpu core;			/* first: struct emul_vcpu * and struct x86_cpu * convert */
	struct x86_state s;

	/* derived from the state by x86_mode_changed() */
	enum x86_mode mode;			/* of the code segment */
	u8 cpl;
	bool long_mode;				/* EFER.LMA */
	bool code64;				/* mode == X86_MODE_64 */
	u64 rip_mask;				/* 16, 32 or 64 bits */
	u64 stack_mask;				/* of SS: 16, 32 or 64 bits */
	u64 lin_base[X86_SEG_COUNT];		/* 64-bit mode: 0 but for FS and GS */
	u64 bound[X86_SEG_COUNT][2];		/* of 16-bit code: offsets below can be read, written; others perhaps */
	u8 flat;				/* not in 64-bit mode, bit n: segment n needs no check */
	bool code16;				/* 16-bit code and stack; IP wraps at 64 KiB, which is where the segment ends */
	bool flat32;				/* 32-bit protected mode; CS, SS, DS and ES are all of 4 GiB, from address 0 */
	bool slow;				/* one instruction at a time: TF, code breakpoints, embedder's stepping */

	/* the instruction being executed */
	const struct uop *u;
	struct emul_block *block;
	struct x86_exc exc;
	bool shutdown;				/* RSM from a bad state: core.msg says what */
	bool intr_waiting;			/* the interrupt controller may have something, once IF allows it */

	/* memory */
	struct x86_tlb *tlb;			/* for explicit accesses now: &tlbs[tlb_mode], or &tlb_none */
	enum x86_tlb_mode tlb_mode;		/* rights of explicit accesses now */
	u8 watch;				/* X86_WATCH_* */
	u8 watch_hits;				/* B0..B3 of DR6: breakpoints met and not yet reported */
	bool debug_shadow;			/* SS was just loaded: they wait for one more instruction */
	u16 pkeys;				/* protection keys of the pages in the TLB */
	struct x86_tlb tlbs[TLB_MODES];
	struct x86_tlb tlb_none;		/* always empty: in use while each access must be looked at */
	struct emul_itlb_entry itlb[2][EMUL_ITLB_SIZE];	/* by supervisor, user */
	struct x86_tlb_log log[2];		/* by not global, global */

	struct x86_jit jit;
	struct x86_crossing *crossing;		/* blocks of instructions that cross pages (block.c) */
	struct x86_fpu_live *fpu_live;		/* the host's view of the FPU state (host/) */
	const struct x86_cpuid_table *cpuid;
	u64 interpreted[X86_WHY_COUNT], jit_exits[X86_JIT_EXITS];	/* counters, see stats.c */
	u64 jit_calls[X86_OP_COUNT];
	u64 stress_lin, stress_random;		/* EMUL_JIT_STRESS: what the TLB holds */
	const u8 *monitored;			/* MONITOR: the line in host memory, NULL: none, */
	u8 monitor_was[64];			/* and what was there */
};

static inline struct x86_cpu *x86_cpu(struct emul_vcpu *v)
{
	return container_of(v, struct x86_cpu, core);
}

/* An interrupt is to be looked for, now or after the shadow of STI or MOV SS. */
static inline bool x86_interruptible(const struct x86_cpu *cpu)
{
	return cpu->intr_waiting && cpu->s.rflags & X86_IF;
}

/* --- exceptions (exception.c) --- */

int x86_raise(struct x86_cpu *cpu, enum x86_vector vec);		/* all return X86_FAULT */
int x86_raise_err(struct x86_cpu *cpu, enum x86_vector vec, u32 error);
static inline int x86_gp0(struct x86_cpu *cpu)
{
	return x86_raise_err(cpu, X86_EXC_GP, 0);
}
static inline int x86_ud(struct x86_cpu *cpu)
{
	return x86_raise(cpu, X86_EXC_UD);
}

/*
 * Deliver cpu->exc or an interrupt through the IDT (or the IVT), with state.rip the address to be pushed. A fault on
 * the way becomes a double fault by the rules of SDM vol. 3 "Interrupt 8", then a triple fault: false, shutdown.
 */
bool x86_deliver_exception(struct x86_cpu *cpu);
bool x86_deliver_interrupt(struct x86_cpu *cpu, u8 vector, bool nmi);

/* TF was set before an instruction that is done: #DB with DR6.BS. False: triple fault. */
bool x86_single_step(struct x86_cpu *cpu);
/* With cpu->slow, after an instruction: #DB for single step (@step: TF was set) and breakpoints met. */
bool x86_debug_trap(struct x86_cpu *cpu, bool step);
/* With cpu->slow, before an instruction: #DB if a breakpoint matches rip and RF does not forbid it. False: triple fault. */
bool x86_code_breakpoint(struct x86_cpu *cpu);
/* What went wrong, for the user, after a triple fault; in core.msg. */
const char *x86_shutdown_message(struct x86_cpu *cpu);

/* --- control flow --- */

/* Address of the instruction being executed and of the one after it. */
static inline u64 x86_this_rip(const struct x86_cpu *cpu, const struct uop *u)
{
	return (cpu->s.gpr[X86_REG_RIP] + u->off) & cpu->rip_mask;
}
static inline u64 x86_next_rip(const struct x86_cpu *cpu, const struct uop *u)
{
	return (cpu->s.gpr[X86_REG_RIP] + u->off + u->insn.len) & cpu->rip_mask;
}
static inline bool x86_canonical(u64 va)
{
	return (u64)((s64)(va << 16) >> 16) == va;
}
/* Near transfer to @rip (already cut to the operand size): #GP(0) unless canonical or within the limit of CS. */
static inline int x86_jump(struct x86_cpu *cpu, u64 rip)
{
	if (cpu->code64 ? unlikely(!x86_canonical(rip)) : unlikely(rip > cpu->s.seg[X86_CS].limit))
		return x86_gp0(cpu);
	cpu->s.rip = rip;
	return X86_JUMP;
}

/* Recompute everything derived from the state (mode, CPL, masks, TLB in use): after any change of CS, SS, FS, GS base, CR0,
 * CR4, EFER, RFLAGS.AC/VM/TF, DR7. CPL is SS.DPL, 0 in real mode, 3 in virtual-8086 mode. */
void x86_mode_changed(struct x86_cpu *cpu);
static inline bool x86_protected(const struct x86_cpu *cpu)	/* protected and not virtual-8086 */
{
	return (cpu->s.cr0 & X86_CR0_PE) && !(cpu->s.rflags & X86_VM);
}
static inline unsigned int x86_iopl(const struct x86_cpu *cpu)
{
	return (cpu->s.rflags & X86_IOPL) >> X86_IOPL_SHIFT;
}

/* --- memory (mmu.c) --- */

/*
 * Linear address of @size bytes at offset @ea of segment @seg, checked as the segment demands (limit, type, present,
 * canonical is left to the access itself). False: exception raised.
 */
bool x86_seg_check(struct x86_cpu *cpu, enum x86_seg seg, u64 ea, unsigned int size, enum x86_access acc, u64 *lin);
static __always_inline bool x86_linear(struct x86_cpu *cpu, enum x86_seg seg, u64 ea, unsigned int size,
				       enum x86_access acc, u64 *lin)
{
	if (likely(cpu->code64)) {
		*lin = ea + cpu->lin_base[seg];
		return true;
	}
	if (likely(cpu->flat >> seg & 1)) {
		*lin = (u32)(ea + cpu->lin_base[seg]);
		return true;
	}
	return x86_seg_check(cpu, seg, ea, size, acc, lin);
}

/* Effective address of the memory operand (offset in its segment). */
static __always_inline u64 x86_ea(const struct x86_cpu *cpu, const struct uop *u)
{
	return (cpu->s.gpr[u->insn.base] + (cpu->s.gpr[u->insn.index] << u->insn.scale) + (u64)u->insn.disp) & u->ea_mask;
}
/* Linear address of the memory operand, @size bytes of it being accessed. */
static __always_inline bool x86_operand(struct x86_cpu *cpu, const struct uop *u, unsigned int size, enum x86_access acc,
					u64 *lin)
{
	return x86_linear(cpu, u->insn.seg, x86_ea(cpu, u), size, acc, lin);
}

/*
 * Guest memory is read and written through these: little-endian, one access of the stated size, not torn when
 * aligned, in program order (on an x86 host that is what a plain move does; others add barriers here).
 */
#define EMUL_HOST_ACCESSORS(bits)									\
struct emul_mem##bits { u##bits v; } __attribute__((packed, may_alias));				\
static __always_inline u##bits emul_read##bits(const void *p)						\
{													\
	return ((const volatile struct emul_mem##bits *)p)->v;						\
}													\
static __always_inline void emul_write##bits(void *p, u##bits v)					\
{													\
	((volatile struct emul_mem##bits *)p)->v = v;							\
}
EMUL_HOST_ACCESSORS(8)
EMUL_HOST_ACCESSORS(16)
EMUL_HOST_ACCESSORS(32)
EMUL_HOST_ACCESSORS(64)

/*
 * Access guest memory at a linear address with the rights of the current CPL. False: exception raised, nothing
 * written. Naturally aligned accesses are atomic, all are ordered as the guest architecture demands.
 * x86_load8..64, x86_store8..64; the _rmw loads check that the location is writable as well (so a store to it that
 * follows can't fault).
 */
#define X86_ACCESSORS(bits)										\
bool x86_load_slow##bits(struct x86_cpu *cpu, u64 lin, u##bits *val, bool rmw);			\
bool x86_store_slow##bits(struct x86_cpu *cpu, u64 lin, u##bits val);					\
static __always_inline bool x86_load##bits(struct x86_cpu *cpu, u64 lin, u##bits *val)			\
{													\
	const struct emul_tlb_entry *e = &cpu->tlb->e[emul_tlb_index(lin)];	\
													\
	if (unlikely(!emul_tlb_match(e->rtag, lin, (bits) / 8)))						\
		return x86_load_slow##bits(cpu, lin, val, false);					\
	*val = emul_read##bits(emul_tlb_host(e, lin));						\
	return true;											\
}													\
static __always_inline bool x86_load_rmw##bits(struct x86_cpu *cpu, u64 lin, u##bits *val)		\
{													\
	const struct emul_tlb_entry *e = &cpu->tlb->e[emul_tlb_index(lin)];	\
													\
	if (unlikely(!emul_tlb_match(e->wtag, lin, (bits) / 8)))						\
		return x86_load_slow##bits(cpu, lin, val, true);					\
	*val = emul_read##bits(emul_tlb_host(e, lin));						\
	return true;											\
}													\
static __always_inline bool x86_store##bits(struct x86_cpu *cpu, u64 lin, u##bits val)			\
{													\
	const struct emul_tlb_entry *e = &cpu->tlb->e[emul_tlb_index(lin)];	\
													\
	if (unlikely(!emul_tlb_match(e->wtag, lin, (bits) / 8)))						\
		return x86_store_slow##bits(cpu, lin, val);						\
	emul_write##bits(emul_tlb_host(e, lin), val);						\
	return true;											\
}

X86_ACCESSORS(8)
X86_ACCESSORS(16)
X86_ACCESSORS(32)
X86_ACCESSORS(64)

/* Any number of bytes, page crossing and device memory included. A store checks all pages before it writes any. */
bool x86_load_bytes(struct x86_cpu *cpu, u64 lin, void *buf, unsigned int len);
bool x86_store_bytes(struct x86_cpu *cpu, u64 lin, const void *buf, unsigned int len);
/* Would an access of @len bytes fault? Raises the exception if so. */
bool x86_probe(struct x86_cpu *cpu, u64 lin, unsigned int len, enum x86_access acc);

/* As supervisor, whatever the CPL, SMAP in force: descriptor tables, TSS, IDT (implicit accesses). @size 1, 2, 4, 8. */
bool x86_sys_load(struct x86_cpu *cpu, u64 lin, unsigned int size, u64 *val);
bool x86_sys_store(struct x86_cpu *cpu, u64 lin, unsigned int size, u64 val);
bool x86_sys_probe(struct x86_cpu *cpu, u64 lin, unsigned int len, enum x86_access acc);
/* As above with the rights of @cpl: stack frames of a privilege level that is about to be entered. */
bool x86_cpl_load(struct x86_cpu *cpu, unsigned int cpl, u64 lin, unsigned int size, u64 *val);
bool x86_cpl_store(struct x86_cpu *cpu, unsigned int cpl, u64 lin, unsigned int size, u64 val);
bool x86_cpl_probe(struct x86_cpu *cpu, unsigned int cpl, u64 lin, unsigned int len, enum x86_access acc);

/*
 * Host address for direct access to @len bytes (within one page, RAM, rights checked). NULL: use the other ways (device
 * memory, page crossing, page with code); no exception is raised by this. For bulk moves, atomics, vector operands.
 */
void *x86_host_ptr(struct x86_cpu *cpu, u64 lin, unsigned int len, enum x86_access acc);

/* The page that code at @lin is fetched from, for the current CPL; NULL: exception raised. */
const struct emul_itlb_entry *x86_fetch_page(struct x86_cpu *cpu, u64 lin);

/* TLB maintenance (tlb.c): on this vCPU's own thread. */
void x86_tlb_init(struct x86_cpu *cpu);
void x86_tlb_flush(struct x86_cpu *cpu, bool global);
void x86_tlb_flush_page(struct x86_cpu *cpu, u64 lin);
/* An entry for @lin was filled: remember it for the flushes. */
void x86_tlb_filled(struct x86_cpu *cpu, struct emul_tlb_entry *e);
void x86_itlb_filled(struct x86_cpu *cpu, struct emul_itlb_entry *e);
/* Drop what is cached for the 4 KiB at @lin itself. */
void x86_tlb_drop(struct x86_cpu *cpu, u64 lin);
void x86_set_pkru(struct x86_cpu *cpu, u32 val);
/* Walk for @lin without side effects on A/D or exceptions: debugger, tests. */
bool x86_translate(struct x86_cpu *cpu, u64 lin, u64 *gpa);
/* MOV to CR3 with PAE paging loads the PDPTEs; false: #GP(0) raised (reserved bits). */
bool x86_load_pdptes(struct x86_cpu *cpu, u64 cr3);

/* --- segments (segment.c) --- */
int x86_load_seg(struct x86_cpu *cpu, enum x86_seg seg, u16 sel);	/* MOV/POP/LxS: X86_NEXT or X86_FAULT */

/* --- system registers: all checks, all effects; X86_NEXT, X86_LEAVE or X86_FAULT (control.c, msr.c, cpuid.c) --- */
int x86_set_cr0(struct x86_cpu *cpu, u64 val);
int x86_set_cr3(struct x86_cpu *cpu, u64 val);
int x86_set_cr4(struct x86_cpu *cpu, u64 val);
bool x86_msr_read(struct x86_cpu *cpu, u32 msr, u64 *val);	/* false: #GP */
bool x86_msr_write(struct x86_cpu *cpu, u32 msr, u64 val);
u64 x86_tsc(struct x86_cpu *cpu);
bool x86_io_allowed(struct x86_cpu *cpu, u16 port, unsigned int len);	/* IOPL and I/O bitmap; false: exception raised */

struct x86_cpuid_leaf { u32 eax, ebx, ecx, edx; };
/* CPUID tables of a model string (emul_config.cpu). NULL with a message in err. */
const struct x86_cpuid_table *x86_cpuid_new(const char *model, u64 tsc_hz, char *err, size_t errlen);
void x86_cpuid_free(const struct x86_cpuid_table *t);
void x86_cpuid(struct x86_cpu *cpu, u32 leaf, u32 subleaf, struct x86_cpuid_leaf *out);	/* with APIC id, OSXSAVE etc. live */
bool x86_has(const struct x86_cpu *cpu, enum x86_feat feat);
/* Reserved bits as the CPUID tables imply them. */
u64 x86_cr4_reserved(const struct x86_cpu *cpu);
u64 x86_efer_reserved(const struct x86_cpu *cpu);
u64 x86_xcr0_supported(const struct x86_cpu *cpu);
unsigned int x86_maxphyaddr(const struct x86_cpu *cpu);

/* --- x87, MMX, SSE, AVX: the seam behind which the host computes (host/) --- */

/*
 * The guest's x87 state and MXCSR may live in the host's registers while a vCPU runs. fpu_sync() brings them home to
 * state.fpu (before anything reads it, and before C code that may use floating point: devices); fpu_changed() says
 * that state.fpu was written and the host's copy is void.
 */
void x86_fpu_sync(struct x86_cpu *cpu);
void x86_fpu_changed(struct x86_cpu *cpu);
bool x86_fpu_init(struct x86_cpu *cpu);		/* at creation: allocates fpu_live; false: no memory */
void x86_fpu_free(struct x86_cpu *cpu);
void x86_fpu_reset(struct x86_cpu *cpu, bool init);
u64 x86_xstate_in_use(struct x86_cpu *cpu);	/* XINUSE, as XGETBV with ECX = 1 shows it */
int interp_vec(struct x86_cpu *cpu, const struct uop *u);	/* every FPU and VEC class instruction */
u64 x86_host_features(void);			/* BIT_ULL(enum x86_feat): what the host lets the seam compute */

/* --- system management mode (smm.c) --- */

#define X86_REQ_SMI	EMUL_REQ_ARCH	/* in core.request: an SMI is pending */
void x86_enter_smm(struct x86_cpu *cpu);

/* --- interpreter (interp.c, block.c) --- */

/* Choose the handler and fill form, d, s, ea_mask of a uop whose insn is decoded. */
void interp_bind(struct uop *u);
/* The handler of the same instruction without LOCK, for X86_ALONE. */
uop_fn interp_unlocked(const struct uop *u);

#endif /* TENON_X86_CPU_H */
