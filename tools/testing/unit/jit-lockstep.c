// SPDX-License-Identifier: GPL-2.0-only
/*
 * jit-lockstep - the tool that compares translator and interpreter: it finds what it should, and nothing else
 *
 * Oracle: a guest whose result is computed here too, with everything that is not deterministic in it (time-stamp counter,
 * random numbers, device registers, interrupts, DMA), has no difference. A bit of the leader's memory or of a register,
 * turned behind the emulator's back, is a difference of just that place.
 */
#include "core-common.h"

#ifndef __x86_64__

int main(void)
{
	skip("lockstep", "the host is not x86-64");
	return tap_done();
}

#else

#define ROUNDS	300

GUEST(
	/* RBX sums 1 to RSI. Memory in DATA is written all over, f is rewritten in each round. */
	"work:	fninit; xor %ebx, %ebx; mov $1, %ecx; mov $0x200000, %ebp\n"
	"1:	mov %ecx, f+1(%rip); call f; add %rax, %rbx\n"
	"	mov %rbx, (%rbp,%rcx,8); mov %rcx, 0x1ffc(%rbp); lock xadd %rax, 0x3000(%rbp)\n"
	"	rdtsc; mov %eax, 0x4000(%rbp); rdrand %rax; mov %rax, 0x4008(%rbp); in $0x20, %al; mov %al, 0x4010(%rbp)\n"
	"	movups 0x4000(%rbp), %xmm3; paddq %xmm3, %xmm4; movups %xmm4, 0x4020(%rbp); fld1; fstpl 0x4030(%rbp)\n"
	"	shl $5, %edx; pushf; pop 0x4040(%rbp); mov %ecx, %eax; imul %edx; pushf; pop %rdx\n"
	"	lea 0x5000(%rbp), %edi; lea 0x4000(%rbp), %esi; push %rcx; mov $0x800, %ecx; rep movsb; pop %rcx\n"
	"	mov %cl, %al; out %al, $" STR(PORT_SYNC) "; add 0x6000(%rbp), %r8\n"
	"	mov $0, %al; out %al, $" STR(PORT_IPI) "; sti; hlt; cli\n"
	"	inc %ecx; cmp 0x208000, %ecx; jbe 1b; mov %rbx, %rax\n" EXIT
	".balign 64\n"
	"f:	mov $0, %eax; ret\n"
	"ipi:	inc %r9; incq 0x7000(%rbp); iretq\n"
)
extern const u8 work[], ipi[];
asm(".globl work, ipi");

static void (*turn_bit)(void);

static void turn_memory(void)
{
	ram[DATA + 0x3800] ^= 0x10;
}

static void turn_register(void)
{
	emul_x86_state(cpus[0].emul)->gpr[X86_R9] ^= 0x100;	/* no flag: see lockstep.c */
}

static void turn_vector(void)
{
	emul_x86_state(cpus[0].emul)->fpu.ymmh[7][3] ^= 1;
}

/* DMA within the access in each round; once, something goes wrong. */
static void sync_op(unsigned int id, u8 val)
{
	u64 len = 8, *p = emul_dma_map(vm, DATA + 0x6000, &len, true);

	(void)id;
	*p = 3;
	emul_dma_unmap(vm, DATA + 0x6000, 8, true);
	if (val == 200 && turn_bit)
		turn_bit();
}

/* What run_vcpus() would say, kept. */
static bool run(char *why)
{
	bool good;

	machine_reset();
	machine_gate(IPI_VECTOR, AT(ipi));
	poke(0x208000, 4, ROUNDS);
	on_sync = sync_op;
	vcpu_at(0, AT(work), 0);
	vcpus_start(1);
	good = vcpus_join(1);
	snprintf(why, 200, "%s", cpus[0].failed ? cpus[0].failed : "");
	return good;
}

static void test_mode(enum emul_lockstep_mode mode, enum emul_jit jit, const char *name)
{
	static const struct {
		void (*turn)(void);
		const char *says, *name;
	} wrong[] = {
		{ turn_memory, "memory at physical 0x203800", "a byte of memory" },
		{ turn_register, "register 9", "a general register" },
		{ turn_vector, "fpu.ymmh", "a vector register" },
	};
	struct emul_stats st;
	char why[200];

	test_config = (struct emul_config){ .max_vcpus = 1, .tsc_hz = 1000000000, .lockstep = mode, .jit = jit };
	machine_init(1);
	turn_bit = NULL;
	ok(run(why), "%s: no difference", name);
	is_u64(gpr(0, X86_RAX), ROUNDS * (ROUNDS + 1) / 2, "%s: the sum", name);
	is_u64(gpr(0, X86_R9), ROUNDS, "%s: interrupts", name);
	is_u64(gpr(0, X86_R8), ROUNDS * 3, "%s: what a device wrote", name);
	emul_vcpu_stats(cpus[0].emul, &st);
	ok(st.jit_insns * 2 > st.insns, "%s: most of it was translated code", name);
	machine_exit();
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		machine_init(1);
		turn_bit = wrong[i].turn;
		ok(!run(why) && strstr(why, wrong[i].says), "%s: %s is found: %s", name, wrong[i].name, why);
		machine_exit();
	}
}

int main(void)
{
	char err[200] = "";

	/* what a difference prints belongs to no test */
	if (!freopen("/dev/null", "w", stderr))
		return EXIT_FAILURE;
	test_mode(EMUL_LOCKSTEP_BLOCKS, EMUL_JIT_ON, "blocks");
	test_mode(EMUL_LOCKSTEP_BLOCKS, EMUL_JIT_STRESS, "blocks, stress");
	test_mode(EMUL_LOCKSTEP_CHAINS, EMUL_JIT_ON, "chains");
	test_mode(EMUL_LOCKSTEP_CHAINS, EMUL_JIT_STRESS, "chains, stress");
	test_config = (struct emul_config){ .max_vcpus = 2, .tsc_hz = 1000000000, .lockstep = EMUL_LOCKSTEP_BLOCKS };
	ok(!emul_vm_create(&test_config, &test_ops, NULL, err, sizeof(err)) && strstr(err, "one vCPU"),
	   "two vCPUs are refused: %s", err);
	return tap_done();
}

#endif
