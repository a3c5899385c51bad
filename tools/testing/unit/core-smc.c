// SPDX-License-Identifier: GPL-2.0-only
/*
 * core-smc - code that changes: written by itself, through another mapping, by devices, over page boundaries
 *
 * Oracle: SDM vol. 3 "Self-Modifying Code": a processor sees its own stores to code at the next instruction (a branch
 * in between is advised, but all processors since the P6 do without), whatever the linear address of the store. Each
 * guest computes a sum that only comes out if every version of the code was executed once.
 */
#include "../../../emul/jit/x86-on-x86_64/jit.h"
#include "core-common.h"

#define ROUNDS	500

#define CROSSING(call)												\
	"xor %ebx, %ebx; xor %ecx, %ecx\n"									\
	"	movl $0x0000b848, 0x200ffb; movb $0, 0x200fff\n"						\
	"	movl $0, 0x202000; movb $0, 0x202004; movb $0xc3, 0x202005\n"					\
	"	movl $0, 0x203000; movb $0, 0x203004; movb $0xc3, 0x203005\n"					\
	"	mov $0x202007, %r10d; mov $0x203007, %r11d; mov $0x201000, %r9d; mov $0x200ffb, %r8d\n"	\
	"1:	mov %r10d, 0x4000+0x201*8; invlpg (%r9); " call "; shr $24, %rax; add %rax, %rbx\n"		\
	"	lea 1(%rcx), %edx; mov %edx, 0x203000; " call "; shr $24, %rax; add %rax, %rbx\n"		\
	"	mov %r11d, 0x4000+0x201*8; invlpg (%r9); " call "; shr $24, %rax; add %rax, %rbx\n"		\
	"	mov %edx, (%r9); " call "; shr $24, %rax; add %rax, %rbx\n"					\
	"	mov %edx, 0x202000; inc %ecx; cmp %esi, %ecx; jb 1b\n"						\
	"	mov %rbx, %rax\n"

GUEST(
	/* The immediate of the next instruction in the same block. */
	"next_insn: xor %ebx, %ebx; xor %ecx, %ecx\n"
	"1:	mov %ecx, 2f+1(%rip)\n"
	"2:	mov $0x7fffffff, %eax\n"
	"	add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT

	/* f is a block that has run before; the way of storing is @esi. */
	".balign 64\n"
	"f:	mov $0, %eax; ret\n"
	".balign 64\n"
	"g:	mov $3, %eax; ret\n"
	".balign 64\n"
	"by_mov: xor %ebx, %ebx; xor %ecx, %ecx\n"
	"1:	mov %ecx, f+1(%rip); call f; add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT
	"by_byte: xor %ebx, %ebx; xor %ecx, %ecx\n"
	"1:	mov %cl, f+1(%rip); mov %ch, f+2(%rip); call f; add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT
	"by_lock: xor %ebx, %ebx; xor %ecx, %ecx; movl $0, f+1(%rip)\n"
	"1:	call f; add %rax, %rbx; lock incl f+1(%rip); inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT
	"by_cmpxchg: xor %ebx, %ebx; xor %ecx, %ecx; movl $0, f+1(%rip)\n"
	"1:	call f; add %rax, %rbx; lea 1(%rcx), %edx; mov %ecx, %eax; lock cmpxchg %edx, f+1(%rip)\n"
	"	inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT
	"by_xchg: xor %ebx, %ebx; xor %ecx, %ecx\n"
	"1:	mov %ecx, %edx; xchg %edx, f+1(%rip); call f; add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT
	"by_sse: xor %ebx, %ebx; xor %ecx, %ecx; lea f(%rip), %r8\n"
	"1:	movups f(%rip), %xmm0; movups %xmm0, buf(%rip); mov %ecx, buf+1(%rip)\n"
	"	movups buf(%rip), %xmm0; movups %xmm0, (%r8); call f; add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT
	"by_push: xor %ebx, %ebx; xor %ecx, %ecx; mov %rsp, %rbp\n"
	"1:	mov f(%rip), %rdx; mov $0xffffffff000000ff, %rax; and %rax, %rdx; mov %rcx, %rax; shl $8, %rax\n"
	"	or %rax, %rdx; lea f+8(%rip), %rsp; push %rdx; mov %rbp, %rsp\n"
	"	call f; add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT
	/* REP MOVSB copies g over f and back from buf. */
	"by_rep: xor %ebx, %ebx; mov %esi, %edx; movl $1, f+1(%rip)\n"
	"	mov f(%rip), %rax; mov %rax, buf(%rip)\n"
	"1:	lea g(%rip), %rsi; lea f(%rip), %rdi; mov $6, %ecx; rep movsb; call f; add %rax, %rbx\n"
	"	lea buf(%rip), %rsi; lea f(%rip), %rdi; mov $6, %ecx; rep movsb; call f; add %rax, %rbx\n"
	"	dec %edx; jnz 1b\n"
	"	mov %rbx, %rax\n" EXIT
	/* REP STOSB over the instructions behind itself: NOPs for INC RBX. */
	"rep_next: xor %ebx, %ebx; lea 2f(%rip), %rdi; mov $64, %ecx; mov $0x90, %al\n"
	"	jmp 1f\n"
	".balign 64\n"
	"1:	rep stosb\n"
	"2:	.rept 32; inc %ebx; .endr; .rept 64; nop; .endr\n"
	"	mov %rbx, %rax\n" EXIT
	".balign 16\n"
	"buf:	.quad 0, 0\n"

	/* Physical page DATA is code at its own address, and written through ALIAS, 0x300000. */
	"alias: xor %ebx, %ebx; xor %ecx, %ecx\n"
	"	mov $0x200000, %r8d; mov $0x300000, %r9d\n"
	"	movl $0x200007, 0x4000+0x300*8; invlpg (%r9)\n"
	"	movb $0xb8, (%r8); movb $0xc3, 5(%r8)\n"
	"1:	mov %ecx, 1(%r9); call *%r8; add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT
	/* The same page executed through both mappings and written through both. */
	"alias2: xor %ebx, %ebx; xor %ecx, %ecx\n"
	"	mov $0x200000, %r8d; mov $0x300000, %r9d\n"
	"	movl $0x200007, 0x4000+0x300*8; invlpg (%r9)\n"
	"	movb $0xb8, (%r8); movb $0xc3, 5(%r8)\n"
	"1:	mov %ecx, 1(%r9); call *%r8; add %rax, %rbx; call *%r9; add %rax, %rbx\n"
	"	mov %ecx, 1(%r8); call *%r9; add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT

	/*
	 * Code whose page is mapped elsewhere in each round, by INVLPG or MOV CR3. What is called in between (an XOR and a RET
	 * at 0x301001) has the same slot of the jump cache. RBX counts what was executed at the wrong place.
	 */
	"moves:	xor %ebx, %ebx; xor %ecx, %ecx; mov $0x300000, %r14d; mov $0x301001, %r13d; mov %cr3, %r12\n"
	"	mov $0x210000, %r10d; mov $0x220000, %r11d; movl $0xc3c031, (%r13)\n"
	"	movb $0xb8, (%r10); movb $0xb8, (%r11); mov %r10d, 1(%r10); mov %r11d, 1(%r11); movb $0xc3, 5(%r10); movb $0xc3, 5(%r11)\n"
	"1:	lea 7(%r10), %eax; mov %eax, 0x4000+0x300*8; test $1, %cl; jnz 2f; mov %r12, %cr3; jmp 3f\n"
	"2:	invlpg (%r14)\n"
	"3:	mov $3, %ebp\n"
	"4:	call *%r14; cmp %r10d, %eax; setne %al; movzbl %al, %eax; add %eax, %ebx; call *%r13; add %eax, %ebx\n"
	"	dec %ebp; jnz 4b; test $2, %cl; jnz 5f; xchg %r10, %r11\n"
	"5:	inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT

	/*
	 * A page that is mapped twice, of nothing but a jump to the page behind it, which is another one for either mapping, and
	 * in every other round another one than before. RBX counts what was executed at the wrong place.
	 */
	"neighbours: xor %ebx, %ebx; xor %ecx, %ecx; mov $0x210000, %r10d; mov $0x220000, %r11d; mov $0x230000, %r8d\n"
	"	movb $0xb8, (%r10); movb $0xb8, (%r11); mov %r10d, 1(%r10); mov %r11d, 1(%r11); movb $0xc3, 5(%r10); movb $0xc3, 5(%r11)\n"
	"	movb $0xe9, (%r8); movl $0xffb, 1(%r8); mov $0x300000, %r12d; mov $0x310000, %r13d\n"
	"	movl $0x230007, 0x4000+0x300*8; movl $0x230007, 0x4000+0x310*8; invlpg (%r12); invlpg (%r13)\n"
	"1:	lea 7(%r10), %eax; mov %eax, 0x4000+0x301*8; lea 7(%r11), %eax; mov %eax, 0x4000+0x311*8\n"
	"	invlpg 0x1000(%r12); invlpg 0x1000(%r13); mov $4, %ebp\n"
	"2:	call *%r12; cmp %r10d, %eax; setne %al; movzbl %al, %eax; add %eax, %ebx\n"
	"	call *%r13; cmp %r11d, %eax; setne %al; movzbl %al, %eax; add %eax, %ebx\n"
	"	dec %ebp; jnz 2b; test $1, %cl; jz 3f; xchg %r10, %r11\n"
	"3:	inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT

	/* MOV AL, imm8 ends a page, MOV AH, imm8 begins the next: one store changes both. */
	"two_pages: xor %ebx, %ebx; xor %ecx, %ecx; mov $0x200ffc, %r8d; movw $0xc031, (%r8); movb $0xc3, 6(%r8)\n"
	"1:	movzbl %ch, %eax; shl $24, %eax; movzbl %cl, %edx; shl $8, %edx; lea 0xb400b0(%rax, %rdx), %eax\n"
	"	mov %eax, 2(%r8); call *%r8; add %rax, %rbx; inc %ecx; cmp %esi, %ecx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT

	/* MOV RAX, imm64 lies at 0x200ffb; its immediate's tail is in a page that is remapped. */
	"crossing: " CROSSING("call *%r8") EXIT
	/* The same with so many calls in between that it is translated. */
	"crossing_hot: " CROSSING("mov $40, %ebp; 2: call *%r8; dec %ebp; jnz 2b") EXIT

	/* A page with code becomes stack and data, then code again. */
	"recycle: xor %ebx, %ebx; xor %edx, %edx; mov $0x200000, %r8d; mov %rsp, %rbp\n"
	"1:	movb $0xb8, (%r8); mov %edx, 1(%r8); movb $0xc3, 5(%r8); call *%r8; add %rax, %rbx\n"
	"	mov %r8, %rdi; mov $512, %ecx; mov $0x0101010101010101, %rax; rep stosq\n"
	"	lea 0x1000(%r8), %rsp; mov $500, %ecx\n"
	"2:	push %rcx; dec %ecx; jnz 2b\n"
	"	mov $500, %ecx\n"
	"3:	pop %rax; dec %ecx; jnz 3b\n"
	"	mov %rbp, %rsp; inc %edx; cmp %esi, %edx; jb 1b\n"
	"	mov %rbx, %rax\n" EXIT

	/*
	 * A function so hot that its accesses have memos, to a page that is mapped elsewhere in each round, and is data,
	 * then code, then data. RBX counts what is not where it should be.
	 */
	"memos:	xor %ebx, %ebx; xor %ecx, %ecx; mov $0x300000, %r14d; mov $0x210000, %r10d; mov $0x220000, %r11d\n"
	"	movl $0xb8, (%r10); movl $0xb8, (%r11); movw $0xc300, 4(%r10); movw $0xc300, 4(%r11)\n"
	"	movl $0x210007, 0x4000+0x300*8; invlpg (%r14); mov $140000, %ebp\n"
	"1:	call 5f; dec %ebp; jnz 1b\n"
	/* as data */
	"2:	lea 7(%r10), %eax; mov %eax, 0x4000+0x300*8; invlpg (%r14); mov %ecx, %edx\n"
	"	call 5f; call 5f; cmp %ecx, %eax; setne %al; movzbl %al, %eax; add %eax, %ebx\n"
	"	cmp %ecx, 1(%r10); setne %al; movzbl %al, %eax; add %eax, %ebx\n"
	"	xchg %r10, %r11; inc %ecx; cmp %esi, %ecx; jb 2b\n"
	/* the first store makes code data, which the others find in the TLB; then it is code again */
	"3:	lea 7(%r10), %eax; mov %eax, 0x4000+0x300*8; invlpg (%r14); mov %ecx, %edx\n"
	"	call 5f; call 5f; call 5f; call *%r10; cmp %ecx, %eax; setne %al; movzbl %al, %eax; add %eax, %ebx\n"
	"	lea 7(%rcx), %edx; call 5f; call *%r10; cmp %edx, %eax; setne %al; movzbl %al, %eax; add %eax, %ebx\n"
	"	xchg %r10, %r11; dec %ecx; jnz 3b\n"
	"	mov %rbx, %rax\n" EXIT
	".balign 64\n"
	"5:	mov %edx, 1(%r14); mov 1(%r14), %eax; ret\n"

	/* @rsi is an undefined instruction; its handler puts a defined one in its place and returns to it. */
	"invalid: mov %rsi, target(%rip); xor %eax, %eax; call target\n" EXIT
	"undefined: mov $0xc300000007b8, %rax; mov %rax, target(%rip); iretq\n"
	".balign 64\n"
	"target: .fill 32, 1, 0x90\n"
	"	ret\n"

	/* Wait until a device has written version @ecx of f, execute it, say what it was. */
	"dma:	xor %ecx, %ecx\n"
	"1:	inc %ecx\n"
	"2:	pause; cmp %ecx, 0x208000; jne 2b\n"
	"	call f; mov %eax, 0x208040; mov %ecx, 0x208080; cmp %esi, %ecx; jb 1b\n"
	EXIT
)

extern const u8 next_insn[], f[], by_mov[], by_byte[], by_lock[], by_cmpxchg[], by_xchg[], by_sse[], by_push[], by_rep[],
	rep_next[], alias[], alias2[], moves[], neighbours[], two_pages[], crossing[], crossing_hot[], recycle[], memos[],
	invalid[], undefined[], dma[];
asm(".globl next_insn, f, by_mov, by_byte, by_lock, by_cmpxchg, by_xchg, by_sse, by_push, by_rep, rep_next, alias, alias2, moves, "
    "neighbours, two_pages, crossing, crossing_hot, recycle, memos, invalid, undefined, dma");

static bool is_code(u64 gpa)
{
	const struct emul_page *p = emul_page_find(emul_slot_find(vm, gpa), gpa);

	return p && atomic_load(&p->active);
}

static void test_stores(void)
{
	static const struct {
		const u8 *at;
		const char *name;
	} t[] = {
		{ next_insn, "the next instruction of the same block" }, { by_mov, "another block, by MOV" },
		{ by_byte, "by two bytes" }, { by_lock, "by LOCK INC" }, { by_cmpxchg, "by LOCK CMPXCHG" },
		{ by_xchg, "by XCHG" }, { by_sse, "by MOVUPS" }, { by_push, "by PUSH" },
		{ alias, "through another mapping" }, { two_pages, "by a store over two pages with code" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		machine_reset();
		is_u64(run1(AT(t[i].at), ROUNDS), (u64)ROUNDS * (ROUNDS - 1) / 2, "%s", t[i].name);
	}
	machine_reset();
	is_u64(run1(AT(by_rep), ROUNDS), ROUNDS * 4, "by REP MOVSB");
	machine_reset();
	is_u64(run1(AT(rep_next), 0), 0, "REP STOSB over what follows it");
	machine_reset();
	is_u64(run1(AT(alias2), ROUNDS), (u64)3 * ROUNDS * (ROUNDS - 1) / 2, "executed and written through two mappings");
	machine_reset();
	is_u64(run1(AT(moves), ROUNDS), 0, "executed where it is mapped, after INVLPG and MOV CR3");
	machine_reset();
	is_u64(run1(AT(neighbours), ROUNDS), 0, "a jump to the next page goes to what is mapped there");
}

static void test_crossing(void)
{
	/*
	 * In round n (from 0) page 0x202000 holds n, 0x203000 first n, then n + 1. Calls see n, n (a store to the page
	 * that is not mapped), n + 1, n + 1.
	 */
	u64 interpreted;
	const u64 sum = (u64)2 * ROUNDS * (ROUNDS - 1) / 2 + (u64)2 * ROUNDS * (ROUNDS + 1) / 2;

	machine_reset();
	is_u64(run1(AT(crossing), ROUNDS), sum, "an instruction over two pages, the second remapped and written");
	machine_reset();
	interpreted = x86_cpu(cpus[0].emul)->interpreted[X86_WHY_CROSSING];
	is_u64(run1(AT(crossing_hot), ROUNDS), sum, "the same, executed often");
	interpreted = x86_cpu(cpus[0].emul)->interpreted[X86_WHY_CROSSING] - interpreted;
	ok(interpreted < (u64)ROUNDS * 4 * 40 * 3 / 4, "and translated in between (%llu times interpreted)", (unsigned long long)interpreted);
}

static void test_recycle(void)
{
	machine_reset();
	is_u64(run1(AT(recycle), ROUNDS), (u64)ROUNDS * (ROUNDS - 1) / 2, "code, data, stack and code again");
	ok(!is_code(DATA), "a page whose code is all overwritten is a data page");
	run1(AT(by_mov), 2);
	ok(is_code(CODE), "a page that was executed is one with code");
}

static void test_memos(void)
{
	const u64 *hot = &x86_cpu(cpus[0].emul)->jit_exits[JIT_EXIT_HOT], before = *hot;

	machine_reset();
	is_u64(run1(AT(memos), ROUNDS), 0, "hot accesses follow their page through INVLPG, as data and as code");
	ok(*hot > before, "%llu blocks were hot", (unsigned long long)(*hot - before));
}

static void test_invalid(void)
{
	static const struct {
		u64 bytes;
		const char *name;
	} t[] = {
		{ 0x0b0f, "UD2" }, { 0x06, "PUSH ES" }, { 0xffff, "FF /7" }, { 0xff0f, "UD0" }, { 0xc8f0, "LOCK ENTER" },
		{ 0xc0fef0, "LOCK INC AL" }, { 0x04c5c4, "VEX" }, { 0xffffffffffe2c4, "VEX map 2" }, { 0x3e0f, "0F 3E" },
		{ 0x6262626262626262, "EVEX" },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		machine_reset();
		machine_gate(X86_EXC_UD, AT(undefined));
		is_u64(run1(AT(invalid), t[i].bytes), 7, "%s, then something valid in its place", t[i].name);
	}
}

static void dma_write(u64 gpa, u32 val)
{
	u64 len = sizeof(val);
	void *p = emul_dma_map(vm, gpa, &len, true);

	memcpy(p, &val, sizeof(val));
	emul_dma_unmap(vm, gpa, sizeof(val), true);
}

static u32 guest_word(u64 gpa)
{
	return __atomic_load_n((u32 *)(ram + gpa), __ATOMIC_ACQUIRE);
}

static void test_dma(void)
{
	const unsigned int rounds = 2000;
	unsigned int wrong = 0;

	machine_reset();
	vcpu_at(0, AT(dma), rounds);
	vcpus_start(1);
	for (unsigned int i = 1; i <= rounds; i++) {
		dma_write(AT(f) + 1, i * 3);
		dma_write(0x208000, i);
		while (guest_word(0x208080) != i)
			sched_yield();
		wrong += guest_word(0x208040) != i * 3;
	}
	ok(vcpus_join(1), "the guest that waits for a device comes to its end");
	is_u64(wrong, 0, "code written by a device %u times is executed as written", rounds);
}

int main(void)
{
	machine_init(1);
	test_stores();
	test_crossing();
	test_recycle();
	test_memos();
	test_invalid();
	test_dma();
	machine_exit();
	return tap_done();
}
