// SPDX-License-Identifier: GPL-2.0-only
/*
 * core-step - emul_step(), emul_kick() and recording
 *
 * Oracle: a program of instructions of every kind executed one by one must come by the addresses listed and end as it
 * does when it runs freely; a run must end in the same state when its inputs are played back.
 */
#include "core-common.h"

GUEST(
	/* One label an instruction; "steps" lists them. */
	"prog:	mov $0x200000, %edi\n"
	"p1:	mov $100, %ecx\n"
	"p2:	rep stosb\n"
	"p3:	lock incl 0x200ffe\n"			/* X86_ALONE */
	"p4:	incl p5+1(%rip)\n"			/* overwrites its own block */
	"p5:	mov $1, %eax\n"
	"p6:	mov %ss, %edx\n"
	"p7:	mov %edx, %ss\n"			/* shadow */
	"p8:	push %rax\n"
	"p9:	ud2\n"
	"p10:	jmp p12\n"
	"p11:	nop\n"
	"p12:	jz p12\n"
	"p13:	call p15\n"
	"p14:	nop\n"
	"p15:	cpuid\n"
	"p16:	sti\n"
	"p17:	jmp p18\n"
	".balign 4096\n"
	".fill 4091, 1, 0x90\n"
	"p18:	movabs $0x1122334455667788, %rbx\n"	/* over two pages */
	"p19:	lock xaddq %rbx, 0x200ffd\n"
	"p20:	cli\n"
	"p21:	hlt\n"
	"handler: addq $2, (%rsp)\n"
	"h1:	iretq\n"

	"loop:	inc %rax; jmp loop\n"

	/* Inputs of every kind until RSI rounds are done; R12 is a hash of all that was seen. */
	"inputs: sti; xor %r12d, %r12d; mov %esi, %ebp\n"
	"1:	rdtsc; add %rax, %r12; rol $7, %r12; in $0x20, %eax; xor %rax, %r12; rol $3, %r12\n"
	"	mov 0x10000000, %rax; add %rax, %r12\n"
	"	.rept 20; imul $0x10dcd, %r12, %r12; inc %r12; .endr\n"
	"	mov %r12, 0x200000; lock addq $3, 0x200ffe; dec %ebp; jnz 1b\n"
	"	cli\n" EXIT
	"input_irq: xor %rsp, %r12; rol $11, %r12; incl 0x201800; iretq\n"
)
extern const u8 prog[], p1[], p2[], p3[], p4[], p5[], p6[], p7[], p8[], p9[], p10[], p12[], p13[], p15[], p16[], p17[], p18[],
	p19[], p20[], p21[], handler[], h1[], loop[], inputs[], input_irq[];
asm(".globl prog, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p12, p13, p15, p16, p17, p18, p19, p20, p21, handler, h1, loop, "
    "inputs, input_irq");

/* --- one instruction at a time --- */

static void test_step(void)
{
	const u8 *const steps[] = { prog, p1, p2, p3, p4, p5, p6, p7, p8, p9, handler, h1, p10, p12, p13, p15, p16, p17, p18,
				    p19, p20, p21 };
	struct x86_state *s = emul_x86_state(cpus[0].emul);
	struct x86_state stepped;
	u64 rflags;
	struct emul_stats before, after;
	struct emul_exit exit;
	unsigned int wrong = 0;
	u8 *data;

	machine_reset();
	machine_gate(X86_EXC_UD, AT(handler));
	vcpu_at(0, AT(prog), 0);
	emul_vcpu_stats(cpus[0].emul, &before);
	for (unsigned int i = 0; i < ARRAY_SIZE(steps); i++) {
		if (s->rip != AT(steps[i])) {
			diag("step %u: at %#llx, not %#llx", i, (unsigned long long)s->rip,
			     (unsigned long long)AT(steps[i]));
			wrong++;
		}
		emul_step(cpus[0].emul, &exit);
		wrong += exit.reason != EMUL_EXIT_DEBUG;
	}
	emul_vcpu_stats(cpus[0].emul, &after);
	is_u64(wrong, 0, "each step is one instruction");
	ok(s->halted, "the last one was HLT");
	/* UD2 is a step that retires nothing. */
	is_u64(after.insns - before.insns, ARRAY_SIZE(steps) - 1, "and counted as one");
	emul_step(cpus[0].emul, &exit);
	is_u64(exit.reason, EMUL_EXIT_HALT, "a halted vCPU does not step");

	stepped = *s;
	rflags = emul_x86_rflags(cpus[0].emul);
	data = malloc(0x2000);
	memcpy(data, ram + DATA, 0x2000);
	machine_reset();
	machine_gate(X86_EXC_UD, AT(handler));
	vcpu_at(0, AT(prog), 0);
	emul_run(cpus[0].emul, &exit);
	is_u64(exit.reason, EMUL_EXIT_HALT, "the same program runs to its HLT");
	ok(!memcmp(s->gpr, stepped.gpr, X86_REG_RIP * sizeof(u64)) && s->rip == stepped.rip &&
	   emul_x86_rflags(cpus[0].emul) == rflags, "with the same registers at the end");
	ok(!memcmp(ram + DATA, data, 0x2000), "and the same memory");
	free(data);
}

/* --- kicks --- */

static void *run_once(void *arg)
{
	struct emul_exit *exit = arg;

	emul_run(cpus[0].emul, exit);
	return NULL;
}

static void test_kick(void)
{
	struct x86_state *s = emul_x86_state(cpus[0].emul);
	struct emul_exit exit;
	unsigned int good = 0;
	pthread_t t;

	machine_reset();
	vcpu_at(0, AT(loop), 0);
	emul_kick(cpus[0].emul);
	emul_run(cpus[0].emul, &exit);
	ok(exit.reason == EMUL_EXIT_KICK && s->gpr[X86_RAX] == 0, "a kick before the run: nothing is executed");
	emul_kick(cpus[0].emul);
	emul_step(cpus[0].emul, &exit);
	ok(exit.reason == EMUL_EXIT_KICK && s->gpr[X86_RAX] == 0, "a kick before a step: nothing is executed");
	for (unsigned int i = 0; i < 200; i++) {
		u64 was = s->gpr[X86_RAX];

		if (pthread_create(&t, NULL, run_once, &exit))
			break;
		if (i & 1)
			usleep(200);
		emul_kick(cpus[0].emul);
		pthread_join(t, NULL);
		good += exit.reason == EMUL_EXIT_KICK && s->gpr[X86_RAX] >= was &&
			(s->rip == AT(loop) || s->rip == AT(loop) + 3);
	}
	is_u64(good, 200, "kicks from another thread end a run, between instructions");
	s->halted = 1;
	emul_kick(cpus[0].emul);
	emul_run(cpus[0].emul, &exit);
	is_u64(exit.reason, EMUL_EXIT_KICK, "a kick comes before a halt");
	emul_run(cpus[0].emul, &exit);
	is_u64(exit.reason, EMUL_EXIT_HALT, "and is gone afterwards");
	s->halted = 0;
	emul_step(cpus[0].emul, &exit);
	is_u64(exit.reason, EMUL_EXIT_DEBUG, "a step goes on");
}

/* --- record and play back --- */

#define MAX_INPUTS	200000
#define FRAME_FLAGS	(STACKS + 0x4000 - 24)	/* RFLAGS as an interrupt pushed them */

static struct input {
	u8 kind;
	u64 val, insns;
} *tape;
static unsigned int tape_len, tape_at, tape_bad;
static bool playing;
static u64 device_seed;

static u64 input_op(void *o, struct emul_vcpu *v, enum emul_input kind, u64 val)
{
	struct emul_stats st;

	(void)o;
	/* What the test itself puts into memory, of no vCPU. */
	if (kind == EMUL_INPUT_DMA)
		return val;
	emul_vcpu_stats(v, &st);
	/* That no interrupt is there (any more) is no event. */
	if (kind == EMUL_INPUT_INTR && (s64)val < 0 && !playing)
		return val;
	if (!playing) {
		if (tape_len < MAX_INPUTS)
			tape[tape_len++] = (struct input){ (u8)kind, val, st.insns };
		return val;
	}
	if (kind == EMUL_INPUT_INTR &&
	    (tape_at == tape_len || tape[tape_at].kind != kind || tape[tape_at].insns != st.insns))
		return ~0ULL;
	if (tape_at == tape_len || tape[tape_at].kind != kind) {
		tape_bad++;
		return 0;
	}
	return tape[tape_at++].val;
}

/* Devices that never say the same. */
static void input_access(void *o, struct emul_vcpu *v, enum emul_space space, u64 addr, void *data, unsigned int len,
			 bool write)
{
	u64 val = tap_random(&device_seed);

	if (write)
		op_access(o, v, space, addr, data, len, write);
	else
		memcpy(data, &val, min(len, 8u));
	if (!playing && val % 64 == 0)
		test_ipi(0);
}

static void *interrupter(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&cpus[0].done, __ATOMIC_RELAXED)) {
		test_ipi(0);
		usleep(20);
	}
	return NULL;
}

/* As far as the next interrupt by single steps, which says when it is there. */
static void play(void)
{
	struct emul_exit exit;
	struct emul_stats st;

	while (!cpus[0].done && !tape_bad) {
		emul_vcpu_stats(cpus[0].emul, &st);
		if (tape_at < tape_len && tape[tape_at].kind == EMUL_INPUT_INTR && tape[tape_at].insns == st.insns)
			emul_intr(cpus[0].emul);
		emul_step(cpus[0].emul, &exit);
		if (exit.reason != EMUL_EXIT_DEBUG && exit.reason != EMUL_EXIT_KICK)
			break;
	}
}

static void test_record(void)
{
	struct x86_state *s = emul_x86_state(cpus[0].emul);
	struct emul_stats st0, st1;
	struct x86_state was;
	u8 *memory = malloc(RAM_SIZE);
	unsigned int interrupts;
	pthread_t t;

	tape = calloc(MAX_INPUTS, sizeof(*tape));
	test_ops.access = input_access;
	test_ops.input = input_op;
	device_seed = tap_seed(0x5eed);

	machine_reset();
	poke(0x3000 + 128 * 8, 8, 0x10000087);	/* device memory */
	machine_gate(IPI_VECTOR, AT(input_irq));
	vcpu_at(0, AT(inputs), 4000);
	emul_vcpu_stats(cpus[0].emul, &st0);
	if (pthread_create(&t, NULL, interrupter, NULL))
		exit(EXIT_FAILURE);
	vcpus_start(1);
	ok(vcpus_join(1), "a run is recorded");
	pthread_join(t, NULL);
	emul_vcpu_stats(cpus[0].emul, &st1);
	interrupts = (unsigned int)peek(0x201800, 4);
	ok(interrupts > 10 && tape_len < MAX_INPUTS, "%u inputs, %u interrupts among them", tape_len, interrupts);
	was = *s;
	memcpy(memory, ram, RAM_SIZE);
	for (unsigned int i = 0; i < tape_len; i++)
		tape[i].insns -= st0.insns;

	/* The same VM again: the counters go on from where they are. */
	playing = true;
	machine_reset();
	poke(0x3000 + 128 * 8, 8, 0x10000087);
	machine_gate(IPI_VECTOR, AT(input_irq));
	vcpu_at(0, AT(inputs), 4000);
	emul_vcpu_stats(cpus[0].emul, &st1);
	for (unsigned int i = 0; i < tape_len; i++)
		tape[i].insns += st1.insns;
	play();
	ok(cpus[0].done && !tape_bad && tape_at == tape_len, "it is played back to its end: %u of %u inputs, %u unexpected",
	   tape_at, tape_len, tape_bad);
	is_u64(s->gpr[X86_R12], was.gpr[X86_R12], "the hash of all inputs is the same");
	ok(!memcmp(s->gpr, was.gpr, X86_REG_RIP * sizeof(u64)) && s->rip == was.rip && s->cc_res == was.cc_res &&
	   s->cc_aux == was.cc_aux && s->rflags == was.rflags, "and so are the registers");
	/*
	 * Arithmetic flags that nobody would read are all that may differ in the frame of the last interrupt: translated
	 * code does not compute them, single steps do.
	 */
	if ((peek(FRAME_FLAGS, 8) ^ *(u64 *)(memory + FRAME_FLAGS)) & X86_ARITH)
		diag("dead flags in an interrupt's frame: %#llx, recorded %#llx",
		     (unsigned long long)peek(FRAME_FLAGS, 8), *(unsigned long long *)(memory + FRAME_FLAGS));
	poke(FRAME_FLAGS, 8, peek(FRAME_FLAGS, 8) & ~X86_ARITH);
	*(u64 *)(memory + FRAME_FLAGS) &= ~X86_ARITH;
	if (!ok(!memcmp(ram, memory, RAM_SIZE), "and all of memory"))
		for (unsigned int i = 0, n = 0; i < RAM_SIZE && n < 8; i++)
			if (ram[i] != memory[i]) {
				diag("%#x: %#x, recorded %#x", i, ram[i], memory[i]);
				n++;
			}
	test_ops.input = NULL;
	test_ops.access = op_access;
	free(memory);
	free(tape);
}

int main(void)
{
	test_config.count = true;
	machine_init(1);
	test_step();
	test_kick();
	test_record();
	machine_exit();
	return tap_done();
}
