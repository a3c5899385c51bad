// SPDX-License-Identifier: GPL-2.0-only
/*
 * mmio.c - instructions on memory that is no memory
 *
 * The oracle is the processor: each instruction of a table runs once on memory and once on a device, which user space
 * plays by serving the exits from a buffer of the same content. Registers, flags and content have to come out the same;
 * so they have to where the operand lies across a page boundary, or half on memory and half on the device.
 */
#include <cpuid.h>

#include "harness.h"

/* ---- the table ---- */

/* Flags: of the arithmetic flags, those that the instruction defines; and: */
#define ALIGNED		0x10000		/* it wants an aligned operand */
#define AVX		0x20000
#define MOVBE		0x40000
#define ALL		0x8d5		/* OF, SF, ZF, AF, PF, CF */
#define LOGIC		0x8c5		/* AF is undefined */
#define BIT		0x001

/* RBX and RDI are the operand's address, RSI 0x40 further; R8 is memory. RCX is 3. */
INSN(0, "mov %al, (%rbx)");
INSN(0, "mov %ah, (%rbx)");
INSN(0, "mov %ax, (%rbx)");
INSN(0, "mov %r9d, (%rbx)");
INSN(0, "mov %rax, (%rbx)");
INSN(0, "mov %rdx, 5(%rbx, %rcx, 2)");
INSN(0, "movb $0x12, (%rbx)");
INSN(0, "movw $0x1234, (%rbx)");
INSN(0, "movl $0x12345678, (%rbx)");
INSN(0, "movq $-2, (%rbx)");
INSN(0, "mov (%rbx), %ch");
INSN(0, "mov (%rbx), %cx");
INSN(0, "mov (%rbx), %ecx");
INSN(0, "mov (%rbx), %r15");
INSN(0, "movzbl (%rbx), %edx");
INSN(0, "movzbw (%rbx), %dx");
INSN(0, "movzwq (%rbx), %rdx");
INSN(0, "movsbl (%rbx), %edx");
INSN(0, "movsbw 1(%rbx), %dx");
INSN(0, "movswq 2(%rbx), %rdx");
INSN(0, "movslq 4(%rbx), %rdx");
INSN(0, "movnti %eax, (%rbx)");
INSN(0, "movnti %rax, (%rbx)");
INSN(MOVBE, "movbe %eax, (%rbx)");
INSN(MOVBE, "movbe (%rbx), %rdx");
INSN(0, "cmp %ecx, %edx; cmovne (%rbx), %rdx");
INSN(0, "cmp %ecx, %ecx; cmovne (%rbx), %edx");
INSN(0, "cmp %ecx, %edx; setb (%rbx)");
INSN(ALL, "add %al, (%rbx)");
INSN(ALL, "add %ax, (%rbx)");
INSN(ALL, "add %eax, (%rbx)");
INSN(ALL, "add (%rbx), %rax");
INSN(ALL, "lock addq $0x7f, (%rbx)");
INSN(ALL, "stc; adc %rax, (%rbx)");
INSN(ALL, "sub %eax, (%rbx)");
INSN(ALL, "sub (%rbx), %eax");
INSN(ALL, "stc; sbb %rdx, (%rbx)");
INSN(ALL, "cmp %ax, (%rbx)");
INSN(ALL, "cmpb $0x80, (%rbx)");
INSN(ALL, "cmp (%rbx), %rdx");
INSN(LOGIC, "test %eax, (%rbx)");
INSN(LOGIC, "testb $0x80, (%rbx)");
INSN(LOGIC, "and %eax, (%rbx)");
INSN(LOGIC, "lock orl $0x10101010, (%rbx)");
INSN(LOGIC, "or %rax, (%rbx)");
INSN(LOGIC, "xor (%rbx), %ecx");
INSN(LOGIC, "xorb $0xff, (%rbx)");
INSN(ALL, "stc; incb (%rbx)");
INSN(ALL, "lock incq (%rbx)");
INSN(ALL, "decl (%rbx)");
INSN(ALL, "negw (%rbx)");
INSN(ALL, "cmp %ecx, %edx; notl (%rbx)");
INSN(0, "xchg %al, (%rbx)");
INSN(0, "xchg %rdx, (%rbx)");
INSN(ALL, "lock xadd %edx, (%rbx)");
INSN(ALL, "xadd %dl, (%rbx)");
INSN(ALL, "lock cmpxchg %ecx, (%rbx)");
INSN(ALL, "mov (%rbx), %rax; lock cmpxchg %rcx, (%rbx)");
INSN(BIT, "btl $5, (%rbx)");
INSN(BIT, "btsl $31, (%rbx)");
INSN(BIT, "lock btrq $62, (%rbx)");
INSN(BIT, "btcw $1, (%rbx)");
INSN(BIT, "mov $100, %edx; bt %edx, (%rbx)");
INSN(BIT, "mov $100, %edx; bts %rdx, (%rbx)");
INSN(BIT, "mov $-40, %rdx; lock btr %rdx, (%rbx)");
INSN(0, "stosb");
INSN(0, "rep stosl");
INSN(0, "std; rep stosw; cld");
INSN(0, "lodsq");
INSN(0, "lodsb");
INSN(0, "movsb");
INSN(0, "rep movsl");
INSN(0, "rep movsq");
INSN(0, "mov %r8, %rsi; rep movsw");
INSN(0, "mov %r8, %rdi; rep movsb");
INSN(ALL, "repe cmpsb");
INSN(ALL, "mov %r8, %rsi; cmpsl");
INSN(ALL, "mov 2(%rdi), %al; repne scasb");
INSN(0, "movups %xmm1, (%rbx)");
INSN(0, "movups (%rbx), %xmm1");
INSN(0, "movupd %xmm1, (%rbx)");
INSN(0, "movdqu %xmm2, (%rbx)");
INSN(0, "movdqu (%rbx), %xmm9");
INSN(0, "lddqu (%rbx), %xmm3");
INSN(0, "movd %xmm1, (%rbx)");
INSN(0, "movd (%rbx), %xmm1");
INSN(0, "movq %xmm1, (%rbx)");
INSN(0, "movq (%rbx), %xmm1");
INSN(ALIGNED, "movaps %xmm1, (%rbx)");
INSN(ALIGNED, "movaps (%rbx), %xmm1");
INSN(ALIGNED, "movapd (%rbx), %xmm1");
INSN(ALIGNED, "movdqa %xmm1, (%rbx)");
INSN(ALIGNED, "movdqa (%rbx), %xmm1");
INSN(ALIGNED, "movntdq %xmm1, (%rbx)");
INSN(ALIGNED, "movntps %xmm1, (%rbx)");
INSN(ALIGNED, "movntpd %xmm1, (%rbx)");
INSN(ALIGNED, "movntdqa (%rbx), %xmm1");
INSN(AVX, "vmovdqu %ymm1, (%rbx)");
INSN(AVX, "vmovdqu (%rbx), %ymm2");
INSN(AVX, "vmovups %ymm1, (%rbx)");
INSN(AVX, "vmovupd (%rbx), %xmm2");
INSN(AVX + ALIGNED, "vmovaps (%rbx), %ymm4");
INSN(AVX + ALIGNED, "vmovdqa %xmm1, (%rbx)");
INSN(AVX + ALIGNED, "vmovntdq %ymm1, (%rbx)");
INSN(AVX, "vmovd %xmm1, (%rbx)");
INSN(AVX, "vmovq (%rbx), %xmm6");

/* ---- one instruction ---- */

#define WINDOW	256		/* bytes of the device, half of them before the operand */
#define SOURCE	0x40000		/* what R8 points to */

struct outcome {
	int exit;
	struct kvm_regs regs;
	struct kvm_xsave xsave;
	uint8_t window[WINDOW], source[64];
	unsigned int exits;
};

/* What the processor does not have of AVX and MOVBE */
static uint64_t lacking(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d))
		return AVX | MOVBE;
	return ((c & bit_AVX) && (c & bit_OSXSAVE) ? 0 : AVX) | (c & bit_MOVBE ? 0 : MOVBE);
}

static void fill(uint8_t *to, size_t len, uint8_t seed)
{
	size_t n;

	for (n = 0; n < len; n++)
		to[n] = seed + n * 37 + (n >> 3) * 11;
}

/* The operand is at @at; from @device on, addresses have no memory. */
static void run_insn(struct vm *vm, const struct insn *insn, uint64_t at, uint64_t device, struct outcome *o)
{
	const uint64_t low = at - WINDOW / 2;
	struct kvm_run *run = vm->run[0];
	uint8_t window[WINDOW];
	unsigned int n;
	struct kvm_regs regs = {
		.rax = 0x8182838485868788, .rbx = at, .rcx = 3, .rdx = 0x0102030495969798, .rsi = at + 0x40, .rdi = at,
		.rsp = STACK_OF(0), .r8 = SOURCE, .r9 = 0x99999999a9a9a9a9, .rip = CODE, .rflags = 2,
	};

	memset(o, 0, sizeof(*o));
	fill(window, WINDOW, 0x35);
	fill(vm->mem + SOURCE, sizeof(o->source), 0xc1);
	for (n = 0; n < WINDOW; n++) {
		if (low + n < device)
			vm->mem[low + n] = window[n];
	}
	memcpy(vm->mem + CODE, insn->code, insn->len + 1);
	vm_set_regs(vm, 0, &regs);
	fill((uint8_t *)&o->xsave + 160, 256, 0x77);
	((uint8_t *)&o->xsave)[24] = 0x80;
	((uint8_t *)&o->xsave)[25] = 0x1f;
	((uint8_t *)&o->xsave)[512] = 3;
	if (insn->flags & AVX) {
		fill((uint8_t *)&o->xsave + 576, 256, 0x13);
		((uint8_t *)&o->xsave)[512] = 7;
	}
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_XSAVE, &o->xsave));
	while ((o->exit = vm_run(vm, 0)) == KVM_EXIT_MMIO) {
		const uint64_t offset = run->mmio.phys_addr - low;

		REQUIRE(run->mmio.phys_addr >= device && offset + run->mmio.len <= WINDOW);
		if (run->mmio.is_write)
			memcpy(window + offset, run->mmio.data, run->mmio.len);
		else
			memcpy(run->mmio.data, window + offset, run->mmio.len);
		o->exits++;
	}
	for (n = 0; n < WINDOW; n++)
		o->window[n] = low + n < device ? vm->mem[low + n] : window[n];
	memcpy(o->source, vm->mem + SOURCE, sizeof(o->source));
	vm_regs(vm, 0, &o->regs);
	o->regs.rflags &= (insn->flags & 0xfff) | 0x400;
	/* As far as they went along it, addresses are told from the operand's. */
	o->regs.rbx -= at;
	if (o->regs.rsi - low < WINDOW)
		o->regs.rsi -= at;
	if (o->regs.rdi - low < WINDOW)
		o->regs.rdi -= at;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_XSAVE, &o->xsave));
}

static bool equal(const struct insn *insn, const struct outcome *a, const struct outcome *b)
{
	const uint8_t *x = (const void *)&a->xsave, *y = (const void *)&b->xsave;
	const char *what = NULL;

	if (memcmp(&a->regs, &b->regs, sizeof(a->regs)))
		what = "registers or flags";
	else if (memcmp(a->window, b->window, WINDOW))
		what = "what it wrote to";
	else if (memcmp(a->source, b->source, sizeof(a->source)))
		what = "memory";
	else if (memcmp(x + 160, y + 160, 256) || ((insn->flags & AVX) && memcmp(x + 576, y + 576, 256)))
		what = "vector registers";
	if (what)
		printf("#   %s: %s\n", insn->text, what);
	return !what;
}

ASM64(halt, "hlt");
static void check_insns(uint64_t at, uint64_t device, uint64_t without)
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, halt);
	const struct insn *insn;
	struct kvm_xcrs xcrs;
	struct kvm_sregs s;
	static struct outcome a, b;
	unsigned int count = 0, unknown = 0;

	without |= lacking();
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= has_xcrs() ? 0x40600 : 0x600;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	if (has_xcrs()) {
		REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_XCRS, &xcrs));
		xcrs.xcrs[0].value = without & AVX ? 3 : 7;
		REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_XCRS, &xcrs));
	}
	FOR_EACH_INSN(insn) {
		if (insn->flags & without)
			continue;
		run_insn(vm, insn, FREE + (at & 0xfff), -1ull, &a);
		run_insn(vm, insn, at, device, &b);
		if (b.exit == KVM_EXIT_INTERNAL_ERROR && is_kvm()) {
			printf("#   %s: KVM does not\n", insn->text);
			unknown++;
			continue;
		}
		count++;
		/* A byte before the edge is no business of the device's. */
		if (a.exit == KVM_EXIT_HLT && b.exit == KVM_EXIT_HLT && !a.exits && (b.exits || at < device) &&
		    equal(insn, &a, &b))
			continue;
		if (b.exit != KVM_EXIT_HLT || a.exit != KVM_EXIT_HLT)
			printf("#   %s: left with exit %d on memory, %d on the device\n", insn->text, a.exit, b.exit);
		test_fail(__FILE__, __LINE__, insn->text, 0);
	}
	printf("#   %u instructions\n", count);
	CHECK(count > 60);
}

TEST(insns, "each instruction has the same effect on a device as on memory")
{
	check_insns(HOLE + 0x200, HOLE, 0);
}

TEST(insns_cross, "the same across a page boundary")
{
	check_insns(HOLE + 0xfff, HOLE, ALIGNED);
}

TEST(insns_edge, "the same where memory ends and the device begins")
{
	check_insns(MEM_SIZE - 1, MEM_SIZE, ALIGNED);
}

/* ---- what is not an instruction on memory alone ---- */

ASM64(mmio_exits, "pcmpeqd %xmm3, %xmm3;" SAY(2) "mov $0xc0000000, %rbx; mov $0x11223344, %eax;"
		  "mov %eax, (%rbx); mov 8(%rbx), %rcx; add %eax, 16(%rbx); movdqu %xmm3, 0xff8(%rbx);" SAY(1) "hlt");

static void check_exit(struct vm *vm, uint64_t at, unsigned int len, int write, uint64_t value)
{
	struct kvm_run *run = vm->run[0];
	uint64_t data = 0;

	REQUIRE(vm_run(vm, 0) == KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, at);
	CHECK_EQ(run->mmio.len, len);
	CHECK_EQ(run->mmio.is_write, write);
	if (write) {
		memcpy(&data, run->mmio.data, len);
		CHECK_EQ(data, value);
	} else {
		memcpy(run->mmio.data, &value, sizeof(value));
	}
}

TEST(exits, "KVM_EXIT_MMIO: address, length, data; a read before the write; 16 bytes over a page boundary")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, mmio_exits);
	struct kvm_regs regs;
	struct kvm_fpu fpu;

	REQUIRE(vm_says(vm, 0, 2));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_FPU, &fpu));
	memcpy(fpu.xmm[3], "0123456789abcdef", 16);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_FPU, &fpu));
	check_exit(vm, HOLE, 4, 1, 0x11223344);
	check_exit(vm, HOLE + 8, 8, 0, 0xfeedfacecafebeef);
	check_exit(vm, HOLE + 16, 4, 0, 1);
	check_exit(vm, HOLE + 16, 4, 1, 0x11223345);
	check_exit(vm, HOLE + 0xff8, 8, 1, 0x3736353433323130);
	check_exit(vm, HOLE + 0x1000, 8, 1, 0x6665646362613938);
	CHECK(vm_says(vm, 0, 1));
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rcx, 0xfeedfacecafebeef);
}

/*
 * Linear 4 MiB leads to the device, in every form of paging: through tables at FREE that map the first 4 MiB as they
 * are. The module walks them itself, for KVM_TRANSLATE as well.
 */
#define WINDOW_AT	0x400000
ASM32(window32, "mov 0x400010, %eax; mov %al, 0x400020; hlt");
ASM64(window64, "mov 0x400010, %eax; mov %al, 0x400020; hlt");

static void put_entry(struct vm *vm, unsigned int table, unsigned int n, unsigned int size, uint64_t entry)
{
	memcpy(vm->mem + FREE + table * 0x1000 + n * size, &entry, size);
}

static void check_window(const char *what, struct vm *vm, uint64_t cr4)
{
	struct kvm_translation t = { .linear_address = WINDOW_AT + 0x1234 };
	struct kvm_regs regs;
	struct kvm_sregs s;

	printf("#   %s\n", what);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cr0 |= 0x80000000;
	s.cr3 = FREE;
	s.cr4 |= cr4;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	check_exit(vm, HOLE + 0x10, 4, 0, 0x12345678);
	check_exit(vm, HOLE + 0x20, 1, 1, 0x78);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rax, 0x12345678);
	REQUIRE(!ioctl(vm->vcpu[0], KVM_TRANSLATE, &t));
	CHECK_EQ(t.valid, 1);
	CHECK_EQ(t.physical_address, HOLE + 0x1234);
	vm_free(vm);
}

TEST(paging, "MMIO through the guest's page tables: two levels, PAE, four levels, by pages of each size")
{
	unsigned int big;
	struct vm *vm;

	for (big = 0; big < 2; big++) {
		vm = GUEST(CHIPS_NONE, MODE_32, window32);
		put_entry(vm, 0, 0, 4, 0x83);
		put_entry(vm, 0, 1, 4, big ? HOLE | 0x83 : (FREE + 0x1000) | 3);
		put_entry(vm, 1, 0, 4, HOLE | 3);
		put_entry(vm, 1, 1, 4, (HOLE + 0x1000) | 3);
		check_window(big ? "two levels, 4 MiB" : "two levels, 4 KiB", vm, 0x10);

		vm = GUEST(CHIPS_NONE, MODE_32, window32);
		put_entry(vm, 0, 0, 8, (FREE + 0x1000) | 1);
		put_entry(vm, 1, 0, 8, 0x83);
		put_entry(vm, 1, 2, 8, big ? HOLE | 0x83 : (FREE + 0x2000) | 3);
		put_entry(vm, 2, 0, 8, HOLE | 3);
		put_entry(vm, 2, 1, 8, (HOLE + 0x1000) | 3);
		check_window(big ? "PAE, 2 MiB" : "PAE, 4 KiB", vm, 0x20);

		vm = GUEST(CHIPS_NONE, MODE_64, window64);
		put_entry(vm, 0, 0, 8, (FREE + 0x1000) | 3);
		put_entry(vm, 1, 0, 8, (FREE + 0x2000) | 3);
		put_entry(vm, 2, 0, 8, 0x83);
		put_entry(vm, 2, 2, 8, big ? HOLE | 0x83 : (FREE + 0x3000) | 3);
		put_entry(vm, 3, 0, 8, HOLE | 3);
		put_entry(vm, 3, 1, 8, (HOLE + 0x1000) | 3);
		check_window(big ? "four levels, 2 MiB" : "four levels, 4 KiB", vm, 0);
	}
}

ASM16(segments, "mov %ax, 0x10; mov $0x20, %bx; mov $0x30, %si; mov 4(%bx, %si), %cl; es movb $7, (%si); hlt");
TEST(segments, "MMIO with 16-bit addresses, through segments whose bases are the device's")
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_REAL, segments);
	struct kvm_regs regs;
	struct kvm_sregs s;

	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.ds.base = HOLE;
	s.es.base = HOLE + 0x10000;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	vm_regs(vm, 0, &regs);
	regs.rax = 0xabcd;
	vm_set_regs(vm, 0, &regs);
	check_exit(vm, HOLE + 0x10, 2, 1, 0xabcd);
	check_exit(vm, HOLE + 0x54, 1, 0, 0x99);
	check_exit(vm, HOLE + 0x10030, 1, 1, 7);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rcx & 0xff, 0x99);
}

ASM64(unknown, "mov $0xc0000000, %rbx; fadds 4(%rbx); hlt");
ASM64(jump_away, "mov $0xc0000000, %rbx; jmp *%rbx");
TEST(unknown, "an instruction that is not served is KVM_EXIT_INTERNAL_ERROR, with its bytes; so is code on a device",
     KVM_CAP_INTERNAL_ERROR_DATA)
{
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, unknown);
	struct kvm_run *run = vm->run[0];
	struct kvm_regs regs;

	REQUIRE(vm_run(vm, 0) == KVM_EXIT_INTERNAL_ERROR);
	CHECK_EQ(run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
	CHECK(run->emulation_failure.ndata >= 3);
	CHECK(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
	CHECK(run->emulation_failure.insn_size >= 3);
	CHECK(!memcmp(run->emulation_failure.insn_bytes, "\xd8\x43\x04", 3));
	/* It has not been carried out, and RIP is where it was. */
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rip, CODE + (unknown_end - unknown) - 4);

	vm = GUEST(CHIPS_NONE, MODE_64, jump_away);
	CHECK_EQ(vm_run(vm, 0), KVM_EXIT_INTERNAL_ERROR);
}

/* ---- coalesced ---- */

#define RING_MAX ((0x1000 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

ASM64(coalesce, "mov $0xc0000000, %rbx; mov $1000, %ecx; 1: movl %ecx, 8(%rbx); loop 1b; movb $1, 0x20(%rbx);"
		"mov $0x71, %al; out %al, $0x70; out %al, $0x72; hlt");
TEST(coalesced, "coalesced MMIO and PIO: writes go to the ring until it is full; other addresses exit",
     KVM_CAP_COALESCED_MMIO, KVM_CAP_COALESCED_PIO)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = HOLE, .size = 0x20 };
	struct kvm_coalesced_mmio_zone pio = { .addr = 0x70, .size = 1, .pio = 1 };
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, coalesce);
	struct kvm_coalesced_mmio_ring *ring;
	struct kvm_run *run = vm->run[0];
	unsigned int n = 0, full = 0;
	int page = has_cap(KVM_CAP_COALESCED_MMIO), r;

	REQUIRE(page > 0 && has_cap(KVM_CAP_COALESCED_PIO) == 1);
	ring = (void *)((uint8_t *)run + page * 0x1000);
	REQUIRE(!ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone));
	REQUIRE(!ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &pio));
	while ((r = vm_run(vm, 0)) == KVM_EXIT_MMIO && run->mmio.phys_addr == HOLE + 8) {
		/* Full: this one comes after all that is in the ring. */
		full++;
		while (ring->first != ring->last) {
			CHECK_EQ(ring->coalesced_mmio[ring->first].phys_addr, HOLE + 8);
			CHECK_EQ(ring->coalesced_mmio[ring->first].len, 4);
			CHECK_EQ(*(uint32_t *)ring->coalesced_mmio[ring->first].data, 1000 - n);
			ring->first = (ring->first + 1) % RING_MAX;
			n++;
		}
		CHECK_EQ(*(uint32_t *)run->mmio.data, 1000 - n);
		n++;
	}
	CHECK(full >= 3);
	CHECK_EQ(r, KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, HOLE + 0x20);
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_IO);
	CHECK_EQ(run->io.port, 0x72);
	n = (ring->last + RING_MAX - 1) % RING_MAX;
	CHECK_EQ(ring->coalesced_mmio[n].phys_addr, 0x70);
	CHECK_EQ(ring->coalesced_mmio[n].pio, 1);
	CHECK_EQ(ring->coalesced_mmio[n].data[0], 0x71);

	REQUIRE(!ioctl(vm->fd, KVM_UNREGISTER_COALESCED_MMIO, &zone));
	REQUIRE(!ioctl(vm->fd, KVM_UNREGISTER_COALESCED_MMIO, &pio));
	VM_CODE(vm, 0, MODE_64, coalesce);
	REQUIRE(vm_run(vm, 0) == KVM_EXIT_MMIO);
	CHECK_EQ(run->mmio.phys_addr, HOLE + 8);
	zone.pio = 2;
	CHECK_ERR(ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone), EINVAL);
}
