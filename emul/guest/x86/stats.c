// SPDX-License-Identifier: GPL-2.0-only
/*
 * stats.c - what a vCPU did outside translated code, by name
 */
#include <stdio.h>

#include "../../include/tenon/emul.h"
#include "cpu.h"

/* " NAME 12.345 %", by integers: emul/ has no floating point of its own. */
static void say_share(int fd, const char *name, u64 n, u64 of)
{
	u64 p = n > ~0ULL / 100000 ? n / (of / 100000) : n * 100000 / of;

	dprintf(fd, " %s %llu.%03llu %%", name, (unsigned long long)p / 1000, (unsigned long long)p % 1000);
}

void emul_vcpu_describe(const struct emul_vcpu *vcpu, int fd)
{
	static const char *const why[X86_WHY_COUNT] = {
		[X86_WHY_COLD] = "cold", [X86_WHY_MODE] = "16-bit or 32-bit", [X86_WHY_CROSSING] = "over a page's end",
		[X86_WHY_SINGLE] = "one at a time",
	};
	static const char *const kinds[X86_JIT_EXITS] = { "handler", "link", "far", "jump", "request or stale", "hot" };
	const struct x86_cpu *cpu = container_of(vcpu, const struct x86_cpu, core);
	bool done[X86_OP_COUNT] = { false };
	u64 insns = cpu->core.stats.insns + cpu->jit.insns;

	if (vcpu->vm->cfg.count && insns) {
		dprintf(fd, "vcpu%u:", vcpu->id);
		say_share(fd, "in translated code", cpu->jit.insns - cpu->jit.calls, insns);
		say_share(fd, "in handlers called from there", cpu->jit.calls, insns);
		dprintf(fd, "; interpreted:");
		for (unsigned int i = 0; i < X86_WHY_COUNT; i++)
			say_share(fd, why[i], cpu->interpreted[i], insns);
		dprintf(fd, "\n");
	}
	dprintf(fd, "vcpu%u: exits:", vcpu->id);
	for (unsigned int i = 0; i < X86_JIT_EXITS; i++)
		dprintf(fd, " %s %llu%s", kinds[i], (unsigned long long)cpu->jit_exits[i], i + 1 < X86_JIT_EXITS ? "," : "");
	dprintf(fd, "; cache emptied %u times\nvcpu%u: handlers:", vcpu->vm->arena_epoch, vcpu->id);
	for (unsigned int n = 0; n < 12; n++) {
		unsigned int most = 0;

		for (unsigned int op = 0; op < X86_OP_COUNT; op++)
			if (!done[op] && (done[most] || cpu->jit_calls[op] > cpu->jit_calls[most]))
				most = op;
		if (!cpu->jit_calls[most])
			break;
		done[most] = true;
		dprintf(fd, " %s %llu", x86_op_name((enum x86_op)most), (unsigned long long)cpu->jit_calls[most]);
	}
	dprintf(fd, "\n");
}
