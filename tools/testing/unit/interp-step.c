// SPDX-License-Identifier: GPL-2.0-only
/*
 * interp-step.c - integer handlers where the host can't be asked: ports, interruption, atomicity, randomness
 *
 * Oracle: the manuals, by the section named at each test, and the handlers' own contract (cpu.h, interp.h).
 * What the arithmetic comes to is interp-int.c's business.
 */
#include "tap.h"
#include "interp-vm.h"

#define PAGES		4
#define PAGE		4096u
#define CODE		0x400000u	/* no memory there: handlers are called directly */

static struct x86_cpu *cpu;
static u8 *mem;

static struct port_access { u16 port; u32 val; unsigned int len; bool write; u64 rip, rcx; } log_[600];
static unsigned int nr_log, kick_at;

static void log_access(void *opaque, struct emul_vcpu *v, enum emul_space space, uint64_t addr, void *data,
		       unsigned int len,
		       bool write)
{
	struct port_access *a = &log_[nr_log];

	(void)opaque;
	if (space != EMUL_PIO || nr_log >= 600 || len > 4)
		abort();
	*a = (struct port_access){ .port = (u16)addr, .len = len, .write = write, .rip = x86_cpu(v)->s.rip,
				   .rcx = x86_cpu(v)->s.gpr[X86_RCX] };
	if (write)
		memcpy(&a->val, data, len);
	else
		memset(data, 0xa0 + (int)nr_log, len);
	if (++nr_log == kick_at)
		emul_request(v, EMUL_REQ_KICK);
}

/* Decode, bind and call once. */
static struct uop uop;
static void bind(const char *bytes, unsigned int n)
{
	uop = (struct uop){ 0 };
	if (x86_decode(&uop.insn, (const u8 *)bytes, n, cpu->mode) != X86_DECODE_OK)
		abort();
	interp_bind(&uop);
	cpu->s.gpr[X86_REG_RIP] = CODE;
	cpu->s.rip = 0;
	cpu->u = &uop;
}
static int again(void)
{
	return uop.fn(cpu, &uop);
}
#define insn(bytes)	(bind(bytes, sizeof(bytes) - 1), again())

static void set_mode(enum x86_mode m, u64 rflags)
{
	test_segments(cpu, m);
	x86_set_rflags(&cpu->s, rflags);
	emul_x86_changed(&cpu->core);
	atomic_store(&cpu->core.request, 0);
	nr_log = kick_at = 0;
	memset(cpu->s.gpr, 0, sizeof(cpu->s.gpr));
}

/* SDM vol. 2 "IN", "OUT"; vol. 1 "I/O Permission" */
static void test_ports(void)
{
	set_mode(X86_MODE_64, X86_IOPL);
	cpu->s.gpr[X86_RAX] = 0x1122334455667788;
	ok(insn("\xe4\x71") == X86_NEXT && cpu->s.gpr[X86_RAX] == 0x11223344556677a0,
	   "IN AL changes AL alone");
	ok(insn("\x66\xe5\x71") == X86_NEXT && cpu->s.gpr[X86_RAX] == 0x112233445566a1a1,
	   "IN AX changes AX alone");
	ok(insn("\xe5\x71") == X86_NEXT && cpu->s.gpr[X86_RAX] == 0xa2a2a2a2, "IN EAX clears the upper half");
	ok(insn("\x48\xe5\x71") == X86_NEXT && log_[3].len == 4, "IN with REX.W is of 32 bits");
	ok(log_[0].port == 0x71 && log_[0].len == 1 && log_[1].len == 2 && log_[2].len == 4 && !log_[2].write,
	   "port and width of IN");
	ok(log_[0].rip == CODE, "the device sees the instruction's own RIP");
	cpu->s.gpr[X86_RDX] = 0xffff0cf8;
	cpu->s.gpr[X86_RAX] = 0x8000fa04;
	ok(insn("\xef") == X86_NEXT && log_[4].port == 0xcf8 && log_[4].val == 0x8000fa04 && log_[4].write &&
	   log_[4].len == 4, "OUT DX, EAX takes the port of DX");
	ok(insn("\xee") == X86_NEXT && log_[5].val == 0x04 && log_[5].len == 1, "OUT DX, AL");
	kick_at = nr_log + 1;
	ok(insn("\xee") == X86_LEAVE, "a request made by the device is looked at next");

	set_mode(X86_MODE_64, 0);
	cpu->s.tr.attr = 0;
	ok(insn("\xe4\x71") == X86_FAULT && cpu->exc.vector == X86_EXC_GP && nr_log == 0,
	   "no port access at CPL 3 with IOPL 0 and no TSS");
	cpu->s.gpr[X86_RDI] = (u64)mem;
	cpu->s.gpr[X86_RCX] = 3;
	ok(insn("\xf3\x6c") == X86_FAULT && cpu->exc.vector == X86_EXC_GP && nr_log == 0 &&
	   cpu->s.gpr[X86_RCX] == 3,
	   "nor by REP INSB");
}

/* SDM vol. 2 "INS", "OUTS", "REP" */
static void test_string_ports(void)
{
	unsigned int i;
	bool right = true;

	set_mode(X86_MODE_64, X86_IOPL);
	for (i = 0; i < 8; i++)
		mem[i] = (u8)(i + 1);
	cpu->s.gpr[X86_RSI] = (u64)mem;
	cpu->s.gpr[X86_RCX] = 4;
	cpu->s.gpr[X86_RDX] = 0x1f0;
	ok(insn("\xf3\x66\x6f") == X86_NEXT && nr_log == 4, "REP OUTSW makes one access an element");
	for (i = 0; i < 4; i++)
		right &= log_[i].val == (2 * i + 1) + (2 * i + 2) * 256 && log_[i].rcx == 4 - i &&
			log_[i].len == 2 &&
			 log_[i].rip == CODE && log_[i].port == 0x1f0;
	ok(right, "in order, with RCX as far as the iterations before");
	ok(cpu->s.gpr[X86_RSI] == (u64)mem + 8 && cpu->s.gpr[X86_RCX] == 0, "registers after REP OUTSW");

	nr_log = 0;
	kick_at = 2;
	cpu->s.gpr[X86_RDI] = (u64)mem + 100;
	cpu->s.gpr[X86_RCX] = 5;
	ok(insn("\xf3\x6d") == X86_AGAIN && nr_log == 2 && cpu->s.gpr[X86_RCX] == 3 &&
	   cpu->s.gpr[X86_RDI] == (u64)mem + 108, "REP INSD stops behind the access that made a request");
	atomic_store(&cpu->core.request, 0);
	ok(again() == X86_NEXT && nr_log == 5 && cpu->s.gpr[X86_RCX] == 0 && mem[100] == 0xa0 &&
	   mem[119] == 0xa4,
	   "and goes on from there");

	/* The device is not read for an element that can't be stored. */
	nr_log = kick_at = 0;
	cpu->s.gpr[X86_RDI] = (u64)mem + PAGES * PAGE - 6;
	cpu->s.gpr[X86_RCX] = 5;
	ok(insn("\xf3\x66\x6d") == X86_FAULT && cpu->exc.vector == X86_EXC_PF && nr_log == 3 &&
	   cpu->s.gpr[X86_RCX] == 2 &&
	   cpu->s.gpr[X86_RDI] == (u64)mem + PAGES * PAGE,
		"REP INSW faults before the access, RCX and RDI telling where");
}

/* SDM vol. 2 "REP": pending interrupts and faults are taken between iterations */
static void test_interruption(void)
{
	unsigned int rounds, i;
	int next;

	set_mode(X86_MODE_64, 0);
	for (i = 0; i < PAGES * PAGE; i++)
		mem[i] = (u8)(i * 7 + i / 256);
	cpu->s.gpr[X86_RSI] = (u64)mem;
	cpu->s.gpr[X86_RDI] = (u64)mem + 2 * PAGE + 5;
	cpu->s.gpr[X86_RCX] = 2 * PAGE;
	ok(insn("\xf3\xa4") == X86_FAULT && cpu->exc.vector == X86_EXC_PF && cpu->s.gpr[X86_RCX] == 5 &&
	   cpu->s.gpr[X86_RSI] == (u64)mem + 2 * PAGE - 5 && !memcmp(mem, mem + 2 * PAGE + 5, 2 * PAGE - 5),
	   "REP MOVSB up to the page that is not there");
	ok(cpu->s.cr2 == (u64)mem + PAGES * PAGE, "and CR2 is its address");

	cpu->s.gpr[X86_RDI] = (u64)mem + 10;
	cpu->s.gpr[X86_RCX] = 3 * PAGE;
	cpu->s.gpr[X86_RAX] = 0x55;
	atomic_store(&cpu->core.request, EMUL_REQ_INTR);
	bind("\xf3\xaa", 2);
	for (rounds = 1; (next = again()) == X86_AGAIN && rounds < 100; rounds++)
		if (cpu->s.gpr[X86_RDI] + cpu->s.gpr[X86_RCX] != (u64)mem + 10 + 3 * PAGE)
			break;
	ok(next == X86_NEXT && rounds > 2 && rounds < 10 && mem[9] != 0x55 && mem[10] == 0x55 &&
	   mem[10 + 3 * PAGE - 1] == 0x55,
		"with a request pending REP STOSB goes on page by page, registers right in between");

	set_mode(X86_MODE_64, X86_TF);
	cpu->s.gpr[X86_RDI] = (u64)mem;
	cpu->s.gpr[X86_RCX] = 3;
	bind("\xf3\xab", 2);
	ok(again() == X86_AGAIN && cpu->s.gpr[X86_RCX] == 2 && again() == X86_AGAIN && again() == X86_NEXT &&
	   cpu->s.gpr[X86_RCX] == 0, "single-stepped, one iteration at a time");

	/*
	 * SCAS ends a repetition at a match, with the count that is left and the flags of the last
	 * comparison.
	 */
	set_mode(X86_MODE_64, 0);
	memset(mem, 1, 3 * PAGE);
	mem[PAGE + 77] = 0;
	cpu->s.gpr[X86_RDI] = (u64)mem;
	cpu->s.gpr[X86_RCX] = ~0ULL;
	ok(insn("\xf2\xae") == X86_NEXT && cpu->s.gpr[X86_RDI] == (u64)mem + PAGE + 78 && cc_zf(&cpu->s) &&
	   ~cpu->s.gpr[X86_RCX] == PAGE + 78, "REPNE SCASB as strlen()");
	cpu->s.gpr[X86_RCX] = 0;
	x86_set_rflags(&cpu->s, X86_CF | X86_PF);
	ok(insn("\xf3\xa6") == X86_NEXT && x86_get_rflags(&cpu->s) == (X86_CF | X86_PF | X86_FLAG1),
	   "a count of 0 changes no flag");

	/* a fault leaves the registers of the last comparison, but the flags from before the first */
	cpu->s.gpr[X86_RDI] = (u64)mem + PAGES * PAGE - 3;
	cpu->s.gpr[X86_RCX] = 9;
	mem[PAGES * PAGE - 3] = mem[PAGES * PAGE - 2] = mem[PAGES * PAGE - 1] = cpu->s.gpr[X86_RAX] = 1;
	ok(insn("\xf3\xae") == X86_FAULT && cpu->s.gpr[X86_RDI] == (u64)mem + PAGES * PAGE &&
	   cpu->s.gpr[X86_RCX] == 6 && x86_get_rflags(&cpu->s) == (X86_CF | X86_PF | X86_FLAG1),
	   "REPE SCASB into a page that is not there");
}

/* SDM vol. 1 "RDRAND": CF set and all other flags clear when there is a number */
static u64 fixed_input(void *opaque, struct emul_vcpu *v, enum emul_input kind, u64 val)
{
	(void)opaque, (void)v, (void)val;
	return kind == EMUL_INPUT_RANDOM ? 0x1234567890abcdef : val;
}
static void test_random(void)
{
	u64 seen[64];
	unsigned int i, j, same = 0;

	set_mode(X86_MODE_64, X86_ARITH);
	for (i = 0; i < 64; i++) {
		insn("\x48\x0f\xc7\xf0");
		seen[i] = cpu->s.gpr[X86_RAX];
		for (j = 0; j < i; j++)
			same += seen[i] == seen[j];
	}
	ok(!same && cc_get(&cpu->s) == X86_CF, "RDRAND gives a new number each time, and says so in CF");
	ops.input = fixed_input;
	ok(insn("\x48\x0f\xc7\xf8") == X86_NEXT && cpu->s.gpr[X86_RAX] == 0x1234567890abcdef,
	   "RDSEED can be replayed");
	cpu->s.gpr[X86_RCX] = ~0ULL;
	ok(insn("\x66\x0f\xc7\xf1") == X86_NEXT && cpu->s.gpr[X86_RCX] == 0xffffffffffffcdef,
	   "16-bit RDRAND");
	ok(insn("\x0f\xc7\xf1") == X86_NEXT && cpu->s.gpr[X86_RCX] == 0x90abcdef,
	   "32-bit RDRAND clears the upper half");
	ops.input = NULL;
}

/* cpu.h: what can't be done atomically where it is asks for the world to be stopped */
static void test_alone(void)
{
	set_mode(X86_MODE_64, 0);
	memset(mem, 0xff, 2 * PAGE);
	cpu->s.gpr[X86_RBX] = (u64)mem + PAGE - 3;
	ok(insn("\xf0\xff\x03") == X86_ALONE && mem[PAGE - 3] == 0xff,
	   "LOCK INC across pages asks to be alone");
	ok(interp_unlocked(&uop)(cpu, &uop) == X86_NEXT && mem[PAGE - 3] == 0 && mem[PAGE] == 0 &&
	   mem[PAGE + 1] == 0xff,
	   "and is done by the plain handler");
	cpu->s.gpr[X86_RBX] = (u64)mem + 62;
	ok(insn("\x87\x03") == X86_ALONE && insn("\x86\x03") == X86_NEXT,
	   "XCHG locks of itself: across cache lines alone");
	cpu->s.gpr[X86_RBX] = (u64)mem + PAGES * PAGE - 2;
	ok(insn("\xf0\xff\x03") == X86_FAULT && cpu->exc.vector == X86_EXC_PF, "a fault comes first");
	cpu->s.gpr[X86_RBX] = (u64)mem + 8;
	ok(insn("\xf0\x48\x0f\xc7\x0b") == X86_FAULT && cpu->exc.vector == X86_EXC_GP,
	   "misaligned CMPXCHG16B is #GP");
}

/* SDM vol. 3 "Locked Atomic Operations": four instructions, two processors, no increment lost */
#define TURNS	50000
static void *increment(void *arg)
{
	struct x86_cpu *c = arg;
	static const u8 code[4][6] = {
		{ 0xf0, 0x48, 0xff, 0x03 },			/* lock inc qword [rbx] */
		{ 0xf0, 0x48, 0x0f, 0xc1, 0x4b, 0x08 },		/* lock xadd [rbx + 8], rcx */
		{ 0xf0, 0x48, 0x0f, 0xb1, 0x53, 0x10 },		/* lock cmpxchg [rbx + 16], rdx */
		{ 0xf0, 0x48, 0x83, 0x53, 0x18, 0x01 },		/* lock adc qword [rbx + 24], 1 */
	};
	struct uop u[4] = { 0 };
	unsigned int i, n;

	for (i = 0; i < 4; i++) {
		if (x86_decode(&u[i].insn, code[i], sizeof(code[i]), X86_MODE_64) != X86_DECODE_OK)
			abort();
		interp_bind(&u[i]);
	}
	c->s.gpr[X86_RBX] = (u64)mem;
	for (n = 0; n < TURNS; n++) {
		u[0].fn(c, &u[0]);
		c->s.gpr[X86_RCX] = 1;
		u[1].fn(c, &u[1]);
		do {
			c->s.gpr[X86_RDX] = c->s.gpr[X86_RAX] + 1;
			u[2].fn(c, &u[2]);
		} while (!cc_zf(&c->s));
		cc_set(&c->s, X86_CF);
		u[3].fn(c, &u[3]);
	}
	return NULL;
}
static void test_atomic(void)
{
	struct x86_cpu *other;
	pthread_t thread;
	u64 sums[4];

	set_mode(X86_MODE_64, 0);
	memset(mem, 0, PAGE);
	/* A second processor with the same registers and page tables, as far as this needs one. */
	other = aligned_alloc(64, (sizeof(*other) + 63) & ~63UL);
	memcpy((void *)other, cpu, sizeof(*other));
	other->tlb = &other->tlbs[cpu->tlb - cpu->tlbs];
	if (pthread_create(&thread, NULL, increment, other))
		abort();
	increment(cpu);
	pthread_join(thread, NULL);
	memcpy(sums, mem, sizeof(sums));
	is_u64(sums[0], 2 * TURNS, "LOCK INC");
	is_u64(sums[1], 2 * TURNS, "LOCK XADD");
	is_u64(sums[2], 2 * TURNS, "LOCK CMPXCHG");
	is_u64(sums[3], 4 * TURNS, "LOCK ADC");
	free(other);
}

/* interp.h: NULL is an encoding that doesn't exist. Every integer encoding that decodes has its handlers. */
static void test_bound(void)
{
	static const u8 prefixes[][3] = {
		{ 0 }, { 0x66 }, { 0xf0 }, { 0x66, 0xf0 }, { 0x48 }, { 0xf0, 0x48 }, { 0xf3 }, { 0xf2 },
			{ 0x66, 0xf2 },
	};
	unsigned int m, p, map, opcode, modrm, n, missing = 0, seen = 0;
	u8 bytes[16];

	for (m = 0; m < X86_MODE_COUNT; m++)
		for (p = 0; p < ARRAY_SIZE(prefixes); p++)
			for (map = 0; map < 3; map++)
				for (opcode = 0; opcode < 256; opcode++)
					for (modrm = 0; modrm < 256; modrm++) {
						struct uop u = { 0 };

						memset(bytes, 1, sizeof(bytes));
						for (n = 0; prefixes[p][n]; n++)
							bytes[n] = prefixes[p][n];
						if (map)
							bytes[n++] = 0x0f;
						if (map == 2)
							bytes[n++] = 0x38;
						bytes[n++] = (u8)opcode;
						bytes[n] = (u8)modrm;
						if (x86_decode(&u.insn, bytes, 15, m) != X86_DECODE_OK ||
						    x86_op_class[u.insn.op] != X86_CLASS_INT)
							continue;
						seen++;
						interp_bind(&u);
						if (u.fn && interp_unlocked(&u))
							continue;
						if (!missing++)
							diag("no handler: %s, mode %u, opcode %02x, form %u",
							     x86_op_name(u.insn.op), m, opcode, u.form);
					}
	ok(!missing && seen > 100000, "%u encodings of integer operations all have a handler", seen);
}

int main(void)
{
	u8 *area = mmap(NULL, (PAGES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		abort();
	mem = area;
	ops.access = log_access;
	cpu = test_cpu(mem, PAGES);
	test_ports();
	test_string_ports();
	test_interruption();
	test_random();
	test_alone();
	test_atomic();
	test_bound();
	emul_vm_destroy(cpu->core.vm);
	return tap_done();
}
