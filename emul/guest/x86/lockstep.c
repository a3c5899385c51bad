// SPDX-License-Identifier: GPL-2.0-only
/*
 * lockstep.c - the interpreter follows translated code; registers, flags, vector state and memory are compared
 *
 * Two kinds of difference are the architecture's freedom, or the translator's (translator.rst), and no error:
 *  - The accessed bit of a table entry: how long a TLB remembers a translation is its own affair.
 *  - Arithmetic flags that are undefined, and dead ones over a fault. So flags are not compared by themselves: a flag that
 *    matters shows in what is computed of it. Where an image of RFLAGS in a register or in memory differs in such flags
 *    only, the twin takes the leader's.
 */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "../../include/tenon/emul-x86.h"
#include "block.h"
#include "disasm.h"
#include "flags.h"
#include "lockstep.h"

/* All memory is compared every so many turns: a store that only the leader did is in no list. */
#define FULL_EVERY	(1U << 21)

static struct x86_cpu *leader_cpu(const struct emul_lockstep *ls)
{
	return x86_cpu(ls->leader->vcpu[0]);
}
static struct x86_cpu *twin_cpu(const struct emul_lockstep *ls)
{
	return x86_cpu(ls->twin->vcpu[0]);
}

static u64 insns(const struct x86_cpu *cpu)
{
	return cpu->core.stats.insns + cpu->jit.insns;
}

/* --- the twin --- */

static bool twin_turn(struct emul_lockstep *ls, struct x86_cpu *cpu)
{
	const struct lockstep_record *r = lockstep_peek(ls);

	cpu->intr_waiting = false;
	if (ls->why[0])
		return false;
	if (r && (r->kind == EMUL_INPUT_INTR || r->kind == EMUL_INPUT_NMI || r->kind == EMUL_INPUT_SMI) &&
	    r->insns == insns(cpu) && r->exceptions == cpu->core.stats.exceptions) {
		if (ls->offered == ls->next + 1) {
			lockstep_differ(ls, "the interpreter can't take the interrupt that translated code took");
			return false;
		}
		ls->offered = ls->next + 1;
		if (r->kind == EMUL_INPUT_INTR)
			cpu->intr_waiting = true;
		else
			emul_request(&cpu->core, r->kind == EMUL_INPUT_NMI ? EMUL_REQ_NMI : X86_REQ_SMI);
		return true;
	}
	return insns(cpu) < ls->goal_insns || cpu->core.stats.exceptions < ls->goal_exceptions;
}

u64 x86_lockstep_budget(const struct x86_cpu *cpu)
{
	u64 goal = cpu->core.vm->lockstep->goal_insns, n = insns(cpu);

	return goal > n ? goal - n : 1;
}

static void follow(struct emul_lockstep *ls)
{
	struct x86_cpu *l = leader_cpu(ls), *t = twin_cpu(ls);
	const struct lockstep_record *r;
	struct emul_exit exit;

	ls->goal_insns = insns(l);
	ls->goal_exceptions = l->core.stats.exceptions;
	ls->offered = 0;
	emul_run(&t->core, &exit);
	if (exit.reason == EMUL_EXIT_HALT)
		lockstep_differ(ls, "the interpreter halts");
	else if (exit.reason != EMUL_EXIT_KICK)
		lockstep_differ(ls, "the interpreter ends with: %s", exit.msg ? exit.msg : "an error");
	r = lockstep_peek(ls);
	if (r)
		lockstep_differ(ls, "translated code came to %s, the interpreter did not", lockstep_kind(r->kind));
	if (insns(t) != ls->goal_insns || t->core.stats.exceptions != ls->goal_exceptions)
		lockstep_differ(ls, "the interpreter executed %+lld instructions and met %+lld exceptions against translated code",
				(long long)(insns(t) - ls->goal_insns),
				(long long)(t->core.stats.exceptions - ls->goal_exceptions));
}

/* --- comparing --- */

static const struct field {
	const char *name;
	unsigned short at, size;
} fields[] = {
#define FIELD(f) { #f, offsetof(struct x86_state, f), sizeof(((struct x86_state *)0)->f) }
	FIELD(rip), FIELD(rflags),
	FIELD(seg[0]), FIELD(seg[1]), FIELD(seg[2]), FIELD(seg[3]), FIELD(seg[4]), FIELD(seg[5]), FIELD(ldtr), FIELD(tr),
	FIELD(gdtr.base), FIELD(gdtr.limit), FIELD(idtr.base), FIELD(idtr.limit), FIELD(cr0), FIELD(cr2), FIELD(cr3),
	FIELD(cr4), FIELD(efer), FIELD(pdpte), FIELD(dr), FIELD(xcr0), FIELD(xss), FIELD(pkru), FIELD(star), FIELD(lstar),
	FIELD(cstar), FIELD(sfmask), FIELD(kernel_gs_base), FIELD(sysenter_cs), FIELD(sysenter_esp), FIELD(sysenter_eip),
	FIELD(pat), FIELD(tsc_aux), FIELD(tsc_offset), FIELD(tsc_adjust), FIELD(misc_enable), FIELD(smbase), FIELD(spec_ctrl),
	FIELD(mtrr_def_type), FIELD(mtrr_fixed), FIELD(mtrr_base), FIELD(mtrr_mask), FIELD(mcg_status), FIELD(mcg_ctl),
	FIELD(intr_shadow), FIELD(nmi_masked), FIELD(smm), FIELD(halted),
	FIELD(fpu.fx.fcw), FIELD(fpu.fx.fsw), FIELD(fpu.fx.ftw), FIELD(fpu.fx.mxcsr), FIELD(fpu.fx.st), FIELD(fpu.fx.xmm),
	FIELD(fpu.ymmh), FIELD(fpu.fip), FIELD(fpu.fdp), FIELD(fpu.fcs), FIELD(fpu.fds), FIELD(fpu.fop),
#undef FIELD
};

/* Flags that the manuals leave undefined, SDM vol. 1 "EFLAGS Cross-Reference". */
static u64 undefined_flags(const struct x86_insn *insn)
{
	switch (insn->op) {
	case X86_OP_AND: case X86_OP_OR: case X86_OP_XOR: case X86_OP_TEST:
		return X86_AF;
	case X86_OP_SHL: case X86_OP_SHR: case X86_OP_SAR: case X86_OP_SHLD: case X86_OP_SHRD:
		return X86_AF | X86_OF | X86_CF;
	case X86_OP_ROL: case X86_OP_ROR: case X86_OP_RCL: case X86_OP_RCR: case X86_OP_DAA: case X86_OP_DAS:
		return X86_OF;
	case X86_OP_MUL: case X86_OP_IMUL1: case X86_OP_IMUL2: case X86_OP_IMUL3:
		return X86_SF | X86_ZF | X86_AF | X86_PF;
	case X86_OP_DIV: case X86_OP_IDIV: case X86_OP_AAA: case X86_OP_AAS: case X86_OP_AAD: case X86_OP_AAM:
		return X86_ARITH;
	case X86_OP_BSF: case X86_OP_BSR: case X86_OP_BT: case X86_OP_BTS: case X86_OP_BTR: case X86_OP_BTC:
	case X86_OP_TZCNT: case X86_OP_LZCNT:
		return X86_ARITH & ~X86_ZF;
	case X86_OP_ANDN: case X86_OP_BLSI: case X86_OP_BLSMSK: case X86_OP_BLSR: case X86_OP_BZHI: case X86_OP_BEXTR:
		return X86_AF | X86_PF | X86_SF;
	default:
		return 0;
	}
}

static bool fetch(struct emul_lockstep *ls, u64 rip, enum x86_mode mode, u64 base, u8 *bytes, struct x86_insn *insn)
{
	struct x86_cpu *l = leader_cpu(ls);
	u64 lin = mode == X86_MODE_64 ? rip : (u32)(base + rip), gpa;
	unsigned int n = 0;

	while (n < X86_INSN_MAX && x86_translate(l, lin + n, &gpa) && emul_ram(ls->leader, gpa))
		bytes[n] = *emul_ram(ls->leader, gpa), n++;
	return x86_decode(insn, bytes, n, mode) == X86_DECODE_OK;
}

/*
 * Flags that may differ in an image of RFLAGS: those that did before or do now, and those that instructions of this turn
 * leave undefined. Where a turn is more than a block, that is taken to be any.
 */
static u64 free_flags(struct emul_lockstep *ls)
{
	u64 flags = ls->flags_differ, rip = ls->from_rip;

	if (!ls->blocks)
		return X86_ARITH;
	for (unsigned int i = 0; i < X86_BLOCK_MAX; i++) {
		u8 bytes[X86_INSN_MAX];
		struct x86_insn insn;

		if (!fetch(ls, rip, ls->from_mode, ls->from_base, bytes, &insn))
			break;
		flags |= undefined_flags(&insn);
		rip += insn.len;
		if (x86_rows[insn.row].flags & X86_RF_BRANCH && insn.op != X86_OP_JCC)
			break;
	}
	return flags;
}

/* Two words that hold the same RFLAGS but for flags that are free to differ. */
static bool flags_image(struct emul_lockstep *ls, u64 a, u64 b)
{
	return !((a ^ b) & ~X86_ARITH) && a & X86_FLAG1 && !(a >> 22) && !((a ^ b) & ~free_flags(ls));
}

static u64 first_word(const u8 *p, unsigned int size)
{
	u64 v = 0;

	memcpy(&v, p, min(size, 8u));
	return v;
}

static void compare_registers(struct emul_lockstep *ls)
{
	const struct x86_state *s = &leader_cpu(ls)->s;
	struct x86_state *t = &twin_cpu(ls)->s;
	const size_t tail = offsetof(struct x86_state, rflags);

	for (unsigned int i = 0; i < 16; i++) {
		if (s->gpr[i] == t->gpr[i])
			continue;
		if (flags_image(ls, s->gpr[i], t->gpr[i])) {
			t->gpr[i] = s->gpr[i];
			ls->tolerated++;
		} else {
			lockstep_differ(ls, "register %u: %#llx by translated code, %#llx by the interpreter", i,
					(unsigned long long)s->gpr[i], (unsigned long long)t->gpr[i]);
		}
	}
	if (s->rip == t->rip && !memcmp((const u8 *)s + tail, (const u8 *)t + tail, sizeof(*s) - tail))
		return;
	/* Beside padding, and what FXSAVE leaves where no register is, there is this: */
	for (unsigned int i = 0; i < ARRAY_SIZE(fields); i++) {
		const u8 *a = (const u8 *)s + fields[i].at, *b = (const u8 *)t + fields[i].at;
		unsigned int k = 0;

		while (k < fields[i].size && a[k] == b[k])
			k++;
		if (k < fields[i].size)
			lockstep_differ(ls, "%s, byte %u: %#llx by translated code, %#llx by the interpreter", fields[i].name,
					k & ~7U, (unsigned long long)first_word(a + (k & ~7U), fields[i].size - (k & ~7U)),
					(unsigned long long)first_word(b + (k & ~7U), fields[i].size - (k & ~7U)));
	}
}

static void compare_page(struct emul_lockstep *ls, u64 gpa)
{
	u64 *a = (u64 *)emul_ram(ls->leader, gpa), *b = (u64 *)emul_ram(ls->twin, gpa);

	if (!a || !b || !memcmp(a, b, EMUL_PAGE_SIZE))
		return;
	for (unsigned int i = 0; i < EMUL_PAGE_SIZE / 8; i++) {
		u64 v = a[i], w = b[i], x = v ^ w;

		if (!x)
			continue;
		/* an entry of a paging structure, of 8 bytes or of 4 */
		if ((x == 0x20 && v & 1) || (x == 0x20ULL << 32 && v >> 32 & 1) ||
		    (x == 0x2000000020 && v & 1 && v >> 32 & 1) || flags_image(ls, v, w)) {
			b[i] = v;
			ls->tolerated++;
			continue;
		}
		lockstep_differ(ls, "memory at physical %#llx: %#llx by translated code, %#llx by the interpreter",
				(unsigned long long)gpa + i * 8, (unsigned long long)v, (unsigned long long)w);
		return;
	}
}

static void compare_all(struct emul_lockstep *ls)
{
	for (unsigned int i = 0; i < ls->leader->nr_slots; i++) {
		const struct emul_slot *s = &ls->leader->slot[i], *t = &ls->twin->slot[i];

		for (u64 n = 0; n < s->size >> EMUL_PAGE_SHIFT; n++)
			if ((s->dirty[n / 64] | t->dirty[n / 64]) >> (n % 64) & 1)
				compare_page(ls, s->gpa + (n << EMUL_PAGE_SHIFT));
	}
}

static void compare(struct emul_lockstep *ls)
{
	u64 was = ls->flags_differ;

	ls->flags_differ = cc_get(&leader_cpu(ls)->s) ^ cc_get(&twin_cpu(ls)->s);
	if (unlikely(ls->why[0]))
		return;
	/* what was pushed in between had either's */
	ls->flags_differ |= was;
	compare_registers(ls);
	for (unsigned int i = 0; i < ls->nr_wrote; i++)
		compare_page(ls, ls->wrote[i]);
	if (ls->wrote_more || ls->turns >= ls->next_full) {
		compare_all(ls);
		ls->next_full = ls->turns + FULL_EVERY;
	}
	ls->nr_wrote = 0;
	ls->wrote_more = false;
	ls->flags_differ = cc_get(&leader_cpu(ls)->s) ^ cc_get(&twin_cpu(ls)->s);
}

/* The twin becomes what the leader is. */
static void copy(struct emul_lockstep *ls)
{
	struct x86_cpu *l = leader_cpu(ls), *t = twin_cpu(ls);

	for (unsigned int i = 0; i < ls->leader->nr_slots; i++) {
		const struct emul_slot *s = &ls->leader->slot[i], *to = &ls->twin->slot[i];

		/* page by page: what is empty in both takes no memory */
		for (u64 at = 0; at < s->size; at += EMUL_PAGE_SIZE) {
			if (!memcmp(s->host + at, to->host + at, EMUL_PAGE_SIZE))
				continue;
			memcpy(to->host + at, s->host + at, EMUL_PAGE_SIZE);
			emul_code_invalidate(ls->twin, to, to->gpa + at, EMUL_PAGE_SIZE);
		}
	}
	memcpy(&t->s, &l->s, sizeof(t->s));
	t->core.stats = l->core.stats;
	t->core.stats.insns = insns(l);
	atomic_store(&t->core.request, 0);
	emul_x86_changed(&t->core);
	ls->flags_differ = 0;
	ls->copy = false;
}

/* --- the report --- */

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vdprintf(STDERR_FILENO, fmt, ap);
	va_end(ap);
}

/* The instructions from @rip on, as they are in the leader's memory now. */
static void disassemble(struct emul_lockstep *ls, u64 rip, enum x86_mode mode, u64 base, unsigned int nr)
{
	while (nr--) {
		struct x86_insn insn;
		char text[X86_DISASM_MAX];
		u8 bytes[X86_INSN_MAX];

		if (!fetch(ls, rip, mode, base, bytes, &insn)) {
			say("  %16llx  (not mapped, or no instruction)\n", (unsigned long long)rip);
			return;
		}
		x86_disasm(text, sizeof(text), &insn, rip + insn.len);
		say("  %16llx  ", (unsigned long long)rip);
		for (unsigned int i = 0; i < 11; i++)
			say(i < insn.len ? "%02x " : "   ", i < insn.len ? bytes[i] : 0);
		say(" %s\n", text);
		rip += insn.len;
		if (x86_rows[insn.row].flags & X86_RF_BRANCH && insn.op != X86_OP_JCC)
			return;
	}
}

static void report(struct emul_lockstep *ls)
{
	const struct x86_cpu *l = leader_cpu(ls), *t = twin_cpu(ls);

	say("lockstep: turn %llu, after %llu instructions: %s\n", (unsigned long long)ls->turns,
	    (unsigned long long)ls->goal_insns, ls->why);
	say("Both came from RIP %#llx (%u bits) with equal state and executed %llu instructions there:\n",
	    (unsigned long long)ls->from_rip, 16U << ls->from_mode, (unsigned long long)(insns(l) - ls->from_insns));
	disassemble(ls, ls->from_rip, ls->from_mode, ls->from_base, (unsigned int)min(insns(l) - ls->from_insns + 1, (u64)X86_BLOCK_MAX));
	say("%16s  %16s  %16s  %16s\n", "", "before", "translated", "interpreted");
	for (unsigned int i = 0; i < 16; i++)
		say("%-16s  %16llx  %16llx  %16llx%s\n", (const char *const[]){ "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" }[i], (unsigned long long)ls->from_gpr[i],
		    (unsigned long long)l->s.gpr[i], (unsigned long long)t->s.gpr[i], l->s.gpr[i] != t->s.gpr[i] ? "  <" : "");
	say("%-16s  %16llx  %16llx  %16llx%s\n", "rip", (unsigned long long)ls->from_rip, (unsigned long long)l->s.rip,
	    (unsigned long long)t->s.rip, l->s.rip != t->s.rip ? "  <" : "");
	say("%-16s  %16llx  %16llx  %16llx\n", "rflags", (unsigned long long)ls->from_flags,
	    (unsigned long long)x86_get_rflags(&l->s), (unsigned long long)x86_get_rflags(&t->s));
}

/* --- the leader --- */

static void from_here(struct emul_lockstep *ls)
{
	const struct x86_cpu *l = leader_cpu(ls);

	ls->from_rip = l->s.rip;
	ls->from_base = l->s.seg[X86_CS].base;
	ls->from_mode = l->mode;
	ls->from_insns = insns(l);
	ls->from_flags = x86_get_rflags(&l->s);
	memcpy(ls->from_gpr, l->s.gpr, sizeof(ls->from_gpr));
}

static bool leader_turn(struct emul_lockstep *ls, struct x86_cpu *cpu)
{
	u32 later;

	if (ls->why[0])
		return false;
	x86_fpu_sync(cpu);	/* one thread, one set of registers */
	if (!ls->started) {
		ls->thread = pthread_self();
		ls->started = true;
		if (!ls->blocks && !ls->leader->poke)
			emul_poke_start(ls->leader, 10000);
	}
	ls->turns++;
	if (ls->copy) {
		lockstep_forget(ls);
		lockstep_apply_dma(ls);
		copy(ls);
	} else {
		follow(ls);
		compare(ls);
		if (unlikely(ls->why[0])) {
			report(ls);
			snprintf(cpu->core.msg, sizeof(cpu->core.msg), "lockstep: %.180s", ls->why);
			return false;
		}
		lockstep_forget(ls);
		lockstep_apply_dma(ls);
	}
	from_here(ls);
	later = atomic_exchange(&ls->later, 0);
	if (later)
		atomic_fetch_or(&cpu->core.request, later);
	return true;
}

bool x86_lockstep_turn(struct x86_cpu *cpu)
{
	struct emul_lockstep *ls = cpu->core.vm->lockstep;

	return cpu->core.vm == ls->twin ? twin_turn(ls, cpu) : leader_turn(ls, cpu);
}
