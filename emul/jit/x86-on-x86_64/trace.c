// SPDX-License-Identifier: GPL-2.0-only
/*
 * trace.c - what was translated, for people: a map by which perf names guest code, and listings
 */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "../../guest/x86/disasm.h"
#include "translate.h"

/* One write(2) and nothing else, which is all that a vCPU's thread may do to a file. */
static __attribute__((format(printf, 2, 3))) void say(int fd, const char *format, ...)
{
	char text[X86_DISASM_MAX + 128];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	n = write(fd, text, (size_t)min(n, (int)sizeof(text) - 1)) < 0;
	(void)n;		/* a full disk is no reason to stop the guest */
}

/* perf's own format for code that no file holds: start, size, name (tools/perf/Documentation/jit-interface.txt) */
static void map(const struct tr *t, const struct jit_code *code, const u8 *end, u64 rip)
{
	say(t->cpu->core.vm->cfg.perf_map, "%llx %llx guest_%llx_%s\n", (unsigned long long)(uintptr_t)code->far,
		(unsigned long long)(end - code->far), (unsigned long long)rip, t->cpu->cpl == 3 ? "user" : "kernel");
}

static void list(int fd, const u8 *from, const u8 *to, u64 addr)
{
	while (from < to) {
		unsigned int left = (unsigned int)min((size_t)(to - from), (size_t)X86_INSN_MAX);
		struct x86_insn i = { 0 };
		char text[X86_DISASM_MAX];

		/* what it does not know, EVEX, is not emitted */
		if (x86_decode(&i, from, left, X86_MODE_64) != X86_DECODE_OK)
			i.len = 1;
		x86_disasm(text, sizeof(text), &i, addr + i.len);
		say(fd, "\t%12llx  %s\n", (unsigned long long)addr, text);
		from += i.len;
		addr += i.len;
	}
}

void tr_trace(const struct tr *t, const struct jit_code *code)
{
	const struct emul_config *cfg = &t->cpu->core.vm->cfg;
	const u8 *end = t->c->rx + (t->e.p - t->c->rw);
	u64 page = t->cpu->s.gpr[X86_REG_RIP];
	int fd = cfg->trace;

	if (cfg->perf_map)
		map(t, code, end, page + t->b->b.off);
	if (!fd)
		return;
	say(fd, "%llx: %u instructions of physical page %llx, %u bits, %s%s%s\n", (unsigned long long)page + t->b->b.off,
		t->nr, (unsigned long long)t->page->gpa, t->w ? 64 : t->code16 ? 16 : 32, t->cpu->cpl == 3 ? "user" : "kernel",
		t->measure ? ", warm" : t->memos ? ", hot" : "", code->live ? ", reads flags" : "");
	for (unsigned int n = 0; n < t->nr; n++) {
		const struct uop *u = &t->uop[n];
		struct x86_insn i = u->insn;
		char text[X86_DISASM_MAX];

		if (i.flags & X86_IF_MEM && i.base == X86_REG_RIP)
			i.disp -= u->off + i.len;	/* block.c made it count from the page's start */
		x86_disasm(text, sizeof(text), &i, page + u->off + i.len);
		say(fd, "%llx  %s\n", (unsigned long long)page + u->off, text);
	}
	list(fd, t->c->rw + (code->far - t->c->rx), t->e.p, (u64)(uintptr_t)code->far);
	say(fd, "\n");
}
