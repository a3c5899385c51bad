// SPDX-License-Identifier: GPL-2.0-only
/*
 * core-smp - four vCPUs on four threads: atomics, interrupts between processors, TLB shootdown, changing code, a block
 * arena that is always full
 *
 * Oracle: the guests are deterministic where the architecture is: locked sums come out exact, a mutex excludes, an
 * interrupt sent is taken once, and after the protocols of SDM vol. 3 "Handling Self- and Cross-Modifying Code" and
 * "Propagation of Paging-Structure Changes to Multiple Processors" nobody sees the old code or the old page. By the
 * interpreter and by the translator in all its modes.
 */
#include <time.h>

#include "core-common.h"

#define NR	MAX_VCPUS

/* Each vCPU: RDI its number, RSI the argument. */
GUEST(
	/* Locked additions at RSI; 10 to a round, RAX rounds are left in 0x208000. */
	"sums:	mov 0x208000, %ecx\n"
	"1:	lock incl (%rsi); lock addl $2, (%rsi); mov $3, %eax; lock xadd %eax, (%rsi)\n"
	"	lock subl $-4, (%rsi); dec %ecx; jnz 1b\n" EXIT
	"sums64: mov 0x208000, %ecx\n"
	"1:	lock incq (%rsi); mov $2, %eax; lock xadd %rax, (%rsi); mov (%rsi), %rax\n"
	"2:	lea 7(%rax), %rdx; lock cmpxchg %rdx, (%rsi); jne 2b; dec %ecx; jnz 1b\n" EXIT
	"sums16: mov 0x208000, %ecx\n"
	"1:	lock incw (%rsi); lock addw $9, (%rsi); dec %ecx; jnz 1b\n" EXIT
	/* CMPXCHG8B and CMPXCHG16B: both halves count. */
	"sums8b: mov 0x208000, %ebp\n"
	"1:	mov (%rsi), %eax; mov 4(%rsi), %edx\n"
	"2:	lea 10(%rax), %ebx; lea 1(%rdx), %ecx; lock cmpxchg8b (%rsi); jne 2b; dec %ebp; jnz 1b\n" EXIT
	"sums16b: mov 0x208000, %ebp\n"
	"1:	mov (%rsi), %rax; mov 8(%rsi), %rdx\n"
	"2:	lea 10(%rax), %rbx; lea 1(%rdx), %rcx; lock cmpxchg16b (%rsi); jne 2b; dec %ebp; jnz 1b\n" EXIT
	/* A lock taken with XCHG at RSI round additions that are not locked, at RSI + 64 */
	"spin:	mov 0x208000, %ecx\n"
	"1:	mov $1, %eax; xchg %eax, (%rsi); test %eax, %eax; jz 3f\n"
	"2:	pause; cmpl $0, (%rsi); jne 2b; jmp 1b\n"
	"3:	addl $10, 64(%rsi); movl $0, (%rsi); dec %ecx; jnz 1b\n" EXIT
	"bts:	mov 0x208000, %ecx\n"
	"1:	lock btsl $5, (%rsi); jnc 3f\n"
	"2:	pause; testb $0x20, (%rsi); jne 2b; jmp 1b\n"
	"3:	addl $10, 64(%rsi); lock btrl $5, (%rsi); dec %ecx; jnz 1b\n" EXIT

	/*
	 * Cross-modifying code: vCPU 0 writes version n of f, then n to 0x208000, and waits until the others have
	 * counted 0x208040 up. They wait for n, serialize with CPUID, and call.
	 */
	".balign 64\n"
	"f:	mov $0, %eax; ret\n"
	".balign 64\n"
	"cross:	xor %r8d, %r8d; xor %r9d, %r9d; test %edi, %edi; jnz 2f\n"
	"1:	inc %r8d; mov %r8d, f+1(%rip); mov %r8d, 0x208000; lea (%r8,%r8,2), %ecx\n"
	"3:	pause; cmp %ecx, 0x208040; jne 3b; cmp %esi, %r8d; jb 1b\n"
	"	xor %eax, %eax\n" EXIT
	"2:	inc %r8d\n"
	"3:	pause; cmp %r8d, 0x208000; jne 3b\n"
	"	xor %eax, %eax; cpuid; call f; cmp %r8d, %eax; je 4f; inc %r9d\n"
	"4:	lock incl 0x208040; cmp %esi, %r8d; jb 2b\n"
	"	mov %r9d, %eax\n" EXIT
	/* Without a protocol, but with one aligned store: any version will do, in order, and none that never was. */
	"racing: xor %r8d, %r8d; xor %r9d, %r9d; xor %r10d, %r10d; test %edi, %edi; jnz 2f\n"
	"1:	inc %r8d; mov %r8, %rax; shl $8, %rax; mov $0xc300000000b8, %rcx\n"
	"	or %rcx, %rax; mov %rax, f(%rip); cmp %esi, %r8d; jb 1b\n"
	"	movl $1, 0x208000; xor %eax, %eax\n" EXIT
	"2:	call f; cmp %r10d, %eax; jae 3f; inc %r9d\n"
	"3:	cmp %esi, %eax; jbe 4f; inc %r9d\n"
	"4:	mov %eax, %r10d; cmpl $0, 0x208000; je 2b\n"
	"	mov %r9d, %eax\n" EXIT

	/* Every vCPU sends RSI IPIs to its neighbour and sleeps until it has had as many itself. */
	"ipi_ring: shl $7, %rdi; add $0x208000, %rdi; mov %rdi, %r15; xor %r8d, %r8d\n"
	"	mov %rdi, %rbx; sub $0x208000, %rbx; shr $7, %rbx; inc %ebx; and $3, %ebx\n"
	"1:	mov %ebx, %eax; out %al, $" STR(PORT_IPI) "; inc %r8d\n"
	"2:	cli; cmp %r8d, (%r15); jae 3f; sti; hlt; jmp 2b\n"
	"3:	sti; cmp %esi, %r8d; jb 1b\n"
	"	mov (%r15), %eax\n" EXIT
	"ipi_count: incl (%r15); iretq\n"
	/* All send to all without waiting: each must take 3 * RSI. */
	"ipi_storm: shl $7, %rdi; add $0x208000, %rdi; mov %rdi, %r15; mov %esi, %r8d; sti\n"
	"1:	xor %ebx, %ebx\n"
	"2:	mov %rbx, %rax; shl $7, %rax; add $0x208000, %rax; cmp %rax, %r15; je 3f\n"
	"	mov %ebx, %eax; out %al, $" STR(PORT_IPI) "\n"
	"3:	inc %ebx; cmp $4, %ebx; jb 2b; dec %r8d; jnz 1b\n"
	"	lea (%rsi,%rsi,2), %ecx\n"
	"4:	cli; cmp %ecx, (%r15); jae 5f; sti; hlt; jmp 4b\n"
	"5:	mov (%r15), %eax\n" EXIT

	/*
	 * VA 0x300000 is page A or B (0x210000, 0x220000), in turn. Version n is written to the one that is not mapped,
	 * mapped, and the others told; when all have acknowledged at 0x208040, n goes to 0x208000: from then on no
	 * reader may find less, neither as data nor by calling it.
	 */
	"shoot:	xor %r8d, %r8d; xor %r9d, %r9d; mov $0x300000, %r14d; test %edi, %edi; jnz 2f\n"
	"	mov $0x210000, %r10d; mov $0x220000, %r11d\n"
	"1:	inc %r8d; movb $0xb8, (%r10); mov %r8d, 1(%r10); movb $0xc3, 5(%r10)\n"
	"	lea 7(%r10), %ecx; mov %ecx, 0x4000+0x300*8; invlpg (%r14)\n"
	"	movl $0, 0x208040\n"
	"	mov $1, %al; out %al, $" STR(PORT_IPI) "; mov $2, %al; out %al, $" STR(PORT_IPI) "\n"
	"	mov $3, %al; out %al, $" STR(PORT_IPI) "\n"
	"3:	pause; cmpl $3, 0x208040; jne 3b\n"
	"	mov %r8d, 0x208000; xchg %r10, %r11; cmp %esi, %r8d; jb 1b\n"
	"	movl $1, 0x208080; xor %eax, %eax\n" EXIT
	"2:	sti\n"
	"4:	mov 0x208000, %ecx; mov 1(%r14), %eax; cmp %ecx, %eax; jae 5f; inc %r9d\n"
	"5:	mov 0x208000, %ecx; call *%r14; cmp %ecx, %eax; jae 6f; inc %r9d\n"
	"6:	cmpl $0, 0x208080; je 4b; cli; mov %r9d, %eax\n" EXIT
	"shoot_ipi: invlpg (%r14); lock incl 0x208040; iretq\n"

	/* 4096 functions of 64 bytes at 0x400000, called in a different order by each vCPU, with split locks in between. */
	"many:	xor %eax, %eax; lea 1(,%rdi,2), %r9d; mov $0, %r8d\n"
	"1:	mov %r8d, %ecx; and $4095, %ecx; shl $6, %ecx; add $0x400000, %ecx; call *%rcx\n"
	"	add %r9d, %r8d; test $255, %r8d; jne 2f; lock incl 0x208ffe\n"
	"2:	dec %esi; jnz 1b\n" EXIT

	/* Pages whose addresses differ in a carry out of the low TLB index bits, one after the other. */
	"carry: mov $0xffffe000, %r8d; mov (%r8), %eax; mov -4(%r8), %rax; mov %rax, %rbx\n"
	"	mov $0x1122334455667788, %rax; mov %rax, (%r8); mov %rax, -4(%r8); addq $1, -4(%r8)\n"
	"	mov %rbx, %rax\n" EXIT
)
extern const u8 sums[], sums64[], sums16[], sums8b[], sums16b[], spin[], bts[], f[], cross[], racing[], ipi_ring[],
	ipi_count[], ipi_storm[], shoot[], shoot_ipi[], many[], carry[];
asm(".globl sums, sums64, sums16, sums8b, sums16b, spin, bts, f, cross, racing, ipi_ring, ipi_count, ipi_storm, shoot, "
    "shoot_ipi, many, carry");

static unsigned int less = 1;	/* so much less of everything */

/* ThreadSanitizer and the like make everything much slower: TEST_DIV divides the rounds. */
static unsigned int rounds(unsigned int n)
{
	const char *env = getenv("TEST_DIV");
	unsigned int div = env ? (unsigned int)atoi(env) : 1;

	return max(n / max(div * less, 1u), 1u);
}

static void test_sums(void)
{
	static const struct {
		const u8 *at;
		unsigned int size;
		u64 each;
		const char *name;
	} t[] = {
		{ sums, 4, 10, "32 bits" }, { sums64, 8, 10, "64 bits" }, { sums16, 2, 10, "16 bits" },
		{ sums8b, 8, 10 + (1ULL << 32), "CMPXCHG8B" },
	};
	static const struct {
		u64 at;
		bool code;
		unsigned int rounds;
		const char *name;
	} where[] = {
		{ DATA, false, 20000, "aligned" }, { DATA + 62, false, 500, "over two lines" },
		{ DATA + 0xfff, false, 500, "over two pages" }, { DATA + 61, false, 500, "over two lines, odd" },
		{ CODE + 0xf00, true, 500, "in a page with code" }, { CODE + 0xffd, true, 500, "over two pages, one with code" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++)
		for (unsigned int k = 0; k < ARRAY_SIZE(where); k++) {
			unsigned int n = rounds(where[k].rounds);
			u64 want = NR * n * t[i].each, got;

			machine_reset();
			memset(ram + CODE + 0xf00, 0, 0x200);
			poke(0x208000, 4, n);
			if (!ok(run_vcpus(NR, AT(t[i].at), where[k].at), "LOCK, %s, %s: end", t[i].name, where[k].name))
				continue;
			got = peek(where[k].at, t[i].size);
			if (t[i].size < 8)
				want &= BIT_ULL(t[i].size * 8) - 1;
			is_u64(got, want, "LOCK, %s, %s: sum", t[i].name, where[k].name);
		}

	for (unsigned int k = 0; k < 2; k++) {
		unsigned int n = rounds(k ? 500 : 20000);
		u64 at = k ? CODE + 0xf00 : DATA;

		machine_reset();
		memset(ram + CODE + 0xf00, 0, 0x100);
		poke(0x208000, 4, n);
		run_vcpus(NR, AT(sums16b), at);
		ok(peek(at, 8) == NR * n * 10 && peek(at + 8, 8) == NR * n, "LOCK CMPXCHG16B, %s",
		   k ? "in a page with code" : "in a data page");
	}
}

static void test_mutex(void)
{
	static const struct { const u8 *code; u64 at; const char *name; } t[] = {
		{ spin, DATA, "XCHG" }, { spin, DATA + 62, "XCHG over two lines" }, { bts, DATA, "LOCK BTS and BTR" },
		{ bts, DATA + 0xffe, "LOCK BTS and BTR over two pages" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		unsigned int n = rounds(t[i].at == DATA ? 5000 : 200);

		machine_reset();
		poke(0x208000, 4, n);
		run_vcpus(NR, AT(t[i].code), t[i].at);
		is_u64(peek(t[i].at + 64, 4), NR * n * 10, "mutex by %s", t[i].name);
	}
}

static u64 all_rax(void)
{
	u64 sum = 0;

	for (unsigned int i = 0; i < NR; i++)
		sum += gpr(i, X86_RAX);
	return sum;
}

static void test_cross_modifying(void)
{
	machine_reset();
	ok(run_vcpus(NR, AT(cross), rounds(300)), "cross-modifying code: end");
	is_u64(all_rax(), 0, "cross-modifying code: nobody executed an old version");
	machine_reset();
	poke(AT(f), 8, 0xc300000000b8);
	ok(run_vcpus(NR, AT(racing), rounds(20000)), "racing stores to code: end");
	is_u64(all_rax(), 0, "racing stores to code: no torn version, none older than one seen before");
}

static void test_ipis(void)
{
	unsigned int n = rounds(1000);
	bool good = true;

	machine_reset();
	machine_gate(IPI_VECTOR, AT(ipi_count));
	ok(run_vcpus(NR, AT(ipi_ring), n), "IPIs in a ring, sleeping in between: end");
	for (unsigned int i = 0; i < NR; i++)
		good = good && gpr(i, X86_RAX) >= n;
	ok(good, "IPIs in a ring: each has had its share");

	machine_reset();
	machine_gate(IPI_VECTOR, AT(ipi_count));
	ok(run_vcpus(NR, AT(ipi_storm), n), "IPIs from all to all: end");
	is_u64(all_rax(), NR * (NR - 1) * n, "IPIs from all to all: each taken once");
}

static void test_shootdown(void)
{
	machine_reset();
	poke(0x210000, 8, 0xc300000000b8);
	poke(PT + 0x300 * 8, 8, 0x210007);
	machine_gate(IPI_VECTOR, AT(shoot_ipi));
	ok(run_vcpus(NR, AT(shoot), rounds(300)), "TLB shootdown: end");
	is_u64(all_rax(), 0, "TLB shootdown: nobody saw the old page after it, as data or as code");
}

static void test_arena(void)
{
	unsigned int n = rounds(40000);
	unsigned int epoch = vm->arena_epoch;
	bool good = true;

	machine_reset();
	for (unsigned int i = 0; i < 4096; i++) {
		poke(0x400000 + i * 64, 2, 0x0548);	/* add $i, %rax */
		poke(0x400000 + i * 64 + 2, 4, i);
		poke(0x400000 + i * 64 + 6, 1, 0xc3);
	}
	ok(run_vcpus(NR, AT(many), n), "a full arena: end");
	for (unsigned int id = 0; id < NR; id++) {
		u64 want = 0;

		for (unsigned int i = 0; i < n; i++)
			want += i * (id * 2 + 1) & 4095;
		good = good && gpr(id, X86_RAX) == want;
	}
	ok(good, "a full arena: every function did what it should");
	ok(n < 20000 || vm->arena_epoch - epoch > 4, "a full arena: it was emptied %u times", vm->arena_epoch - epoch);
}

static void test_carry(void)
{
	machine_reset();
	poke(0x2000 + 3 * 8, 8, 0x8007);
	poke(0x8000 + 511 * 8, 8, 0x9007);
	poke(0x9000 + 0x1fd * 8, 8, 0x210007);
	poke(0x9000 + 0x1fe * 8, 8, 0x230007);
	poke(0x210ffc, 4, 0x11111111);
	poke(0x230000, 4, 0x22222222);
	poke(0x22fffc, 4, 0x33333333);
	is_u64(run1(AT(carry), 0), 0x2222222211111111, "a load over the end of a page below 4 GiB");
	is_u64(peek(0x210ffc, 4), 0x55667789, "a store there: first half");
	is_u64(peek(0x230000, 8), 0x1122334411223344, "a store there: second half");
	is_u64(peek(0x22fffc, 4), 0x33333333, "what lies below the second page in physical memory is untouched");
}

static void test_all(enum emul_jit jit)
{
	static const char *const names[] = {
		[EMUL_JIT_ON] = "translator", [EMUL_JIT_OFF] = "interpreter", [EMUL_JIT_EAGER] = "translator, eager",
		[EMUL_JIT_STRESS] = "translator, stress",
	};
	size_t size;

	diag("%s", names[jit]);
	test_config.jit = jit;
	machine_init(NR);
	test_carry();
	test_sums();
	test_mutex();
	test_cross_modifying();
	test_ipis();
	test_shootdown();
	machine_exit();

	/* The same with room for few blocks, so that it is emptied all the time. */
	machine_init(NR);
	size = vm->arena_size;
	vm->arena_size = 64 << 10;
	test_arena();
	test_cross_modifying();
	test_shootdown();
	vm->arena_size = size;
	machine_exit();
}

/* Usage: core-smp [SECONDS]: all modes once, and again until the time is over. */
int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 0);

	do {
		less = 1;
		test_all(EMUL_JIT_ON);
		less = argc > 1 ? 1 : 8;
		test_all(EMUL_JIT_OFF);
		test_all(EMUL_JIT_EAGER);
		test_all(EMUL_JIT_STRESS);
	} while (time(NULL) < end);
	return tap_done();
}
