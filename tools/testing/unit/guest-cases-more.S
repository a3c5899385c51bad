/* SPDX-License-Identifier: GPL-2.0-only */
/* guest-cases-more.S - more cases of guest-cases.S: virtual interrupts, XSAVE, PCIDs, tasks, gates, breakpoints */

/* --- VME and PVI, vol. 3 "Interrupt and Exception Handling in Virtual-8086 Mode", "Protected-Mode Virtual Interrupts" --- */

	/* from P32 to virtual-8086 code that follows, with EFLAGS and CR4 given; SS:SP is 0:C000 */
	.macro	TO_V86 flags, cr4
	mov	$\cr4, %eax
	mov	%eax, %cr4
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0xc000
	pushl	$(0x20002 + (\flags))
	pushl	$(BASE >> 4)
	pushl	$(1f - guest_cases_fw)
	xor	%eax, %eax
	iret
	.code16
1:
	.endm
	.set	VIF, 0x80000
	.set	VIP, 0x100000
	/* ends by INT3, which goes to the monitor whatever the bit map says */
	.macro	VME want, flags, title, not=0
	CASE	P32, "\want", "VME: \title", \not
	TO_V86	\flags, 1
	.endm
	VME	"03=00003202", 0, "STI sets VIF; PUSHF shows it as IF, and IOPL 3", Q	/* QEMU has neither VME nor PVI */
	sti
	pushf
	pop	%ax
	int3
	VME	"03=00003002", VIF, "CLI clears VIF", Q	/* the same */
	cli
	pushf
	pop	%ax
	int3
	VME	"0d:0000", 0, "PUSHFD"
	pushfl
	VME	"0d:0000", 0, "POPFD"
	popfl
	VME	"0d:0000", 0, "IRETD"
	iretl
	VME	"03=00007ed7", 0, "POPF: VIF from IF; the rest but IOPL", Q	/* the same */
	pushw	$0x7ed5
	popf
	pushf
	pop	%ax
	int3
	VME	"0d:0000", 0, "POPF with TF"
	pushw	$0x102
	popf
	int3
	VME	"0d:0000", VIP, "STI with VIP pending"
	sti
	int3
	VME	"0d:0000", VIP, "POPF of IF with VIP pending"
	pushw	$0x202
	popf
	int3
	VME	"03=00003047", VIP, "POPF without IF, VIP pending", Q	/* the same */
	pushw	$0x47
	popf
	pushf
	pop	%ax
	int3
	VME	"03=00003002", VIP, "CLI with VIP pending", Q	/* the same */
	cli
	pushf
	pop	%ax
	int3
	VME	"03=00003202", 0, "IRET: VIF from IF", Q	/* the same */
	pushw	$0x202
	pushw	%cs
	pushw	$(1f - guest_cases_fw)
	iret
1:	pushf
	pop	%ax
	int3
	VME	"0d:0000", VIP, "IRET to IF with VIP pending"
	pushw	$0x202
	pushw	%cs
	pushw	$0
	iret
	VME	"0d:0000", 0, "IRET with TF"
	pushw	$0x102
	pushw	%cs
	pushw	$0
	iret
	.macro	VECTOR60
	movw	$(7f - guest_cases_fw), 0x60 * 4
	movw	%cs, 0x60 * 4 + 2
	.endm
	VME	"03=0000bffa", 0, "INT n, bit clear: the program's handler", Q	/* the same */
	VECTOR60
	int	$0x60
7:	mov	%sp, %ax
	int3
	VME	"03=00003202", VIF, "INT n, bit clear: IF on the stack is VIF", Q	/* the same */
	VECTOR60
	int	$0x60
7:	pop	%ax
	pop	%ax
	pop	%ax
	int3
	VME	"03=00003002", VIF, "INT n, bit clear: VIF is cleared", Q	/* the same */
	VECTOR60
	int	$0x60
7:	pushf
	pop	%ax
	int3
	VME	"0d:0000", 0, "INT n, bit set, IOPL 0"
	mov	$(TSS >> 4), %ax
	mov	%ax, %es
	movb	$1, %es:0x48 + 0x60 / 8
	int	$0x60
	VME	"30=00000077", 0x3000, "INT n, bit set, IOPL 3: through the IDT"
	mov	$(TSS >> 4), %ax
	mov	%ax, %es
	movb	$1, %es:0x48 + 0x30 / 8
	mov	$0x77, %ax
	int	$0x30
	VME	"03=00003202", 0x3200, "INT n, bit clear, IOPL 3: IF itself on the stack", Q	/* the same */
	VECTOR60
	int	$0x60
7:	pop	%ax
	pop	%ax
	pop	%ax
	int3
	VME	"03=00003002", 0x3200, "INT n, bit clear, IOPL 3: IF is cleared", Q	/* the same */
	VECTOR60
	int	$0x60
7:	pushf
	pop	%ax
	int3
	VME	"0d:0000", 0x3000, "HLT"
	hlt
	VME	"04", 0, "INTO goes to the monitor"
	mov	$0x7f, %al
	inc	%al
	into
	VME	"00", 0, "a division error goes to the monitor"
	div	%bl
	VME	"0d:0000", 0x3000, "MOV from DR7"
	mov	%dr7, %eax
	VME	"0d:0000", 0x3000, "INVLPG"
	invlpg	0
	VME	"0d:0000", 0x3000, "WRMSR"
	wrmsr
	VME	"06", 0x3000, "ARPL"
	.byte	0x63, 0xc0
	VME	"06", 0x3000, "STR"
	str	%ax
	VME	"06", 0x3000, "VERW"
	verw	%ax
	VME	"03=00005678", 0x3000, "a segment is 16 times its selector"
	movw	$0x5678, 0x510
	mov	$0x51, %ax
	mov	%ax, %ds
	mov	0, %ax
	int3
	VME	"0d:0000", 0x3000, "a word at FFFFH"
	mov	$0xffff, %bx
	mov	(%bx), %ax
	VME	"0c:0000", 0x3000, "a word on the stack at FFFFH", Q	/* QEMU: #GP */
	mov	$1, %sp
	push	%ax
	VME	"0d:0000", 0x3000, "an address of 32 bits beyond FFFFH"
	mov	$0x10000, %ebx
	addr32 mov (%ebx), %al

	.macro	PVI want, flags, title, not=0
	CASE	P32, "\want", "PVI: \title", \not
	mov	$2, %eax
	mov	%eax, %cr4
	pushl	$UDATA
	pushl	$0xc000
	pushl	$(2 + (\flags))
	pushl	$UCODE32
	pushl	$(1f - F)
	iret
1:
	.endm
	.macro	FLAGS and
	pushfl
	pop	%eax
	and	$\and, %eax
	OK
	.endm
	PVI	"30=00080000", 0, "STI at CPL 3 sets VIF", Q	/* the same */
	sti
	FLAGS	0x80200
	PVI	"30=00000000", VIF, "CLI at CPL 3 clears VIF", Q	/* the same */
	cli
	FLAGS	0x80200
	PVI	"0d:0000", VIP, "STI with VIP pending"
	sti
	PVI	"30=00000000", 0, "POPF at CPL 3 changes neither IF nor VIF"
	pushl	$0x202
	popfl
	FLAGS	0x80200
	PVI	"30=00003200", 0x3000, "STI with IOPL 3: IF itself"
	sti
	FLAGS	0x83200
	PVI	"0d:0000", 0, "HLT at CPL 3"
	hlt

/* --- the XSAVE feature set, vol. 1 "Operation of XSAVE" and the sections behind it; vol. 2 of each instruction --- */

	/* XCR0 = 7, EAX = 7: all components */
	.macro	XS want, title, not=0
	CASE	L64, "\want", "\title", \not
	CR4_SET	0x40000
	mov	$7, %eax
	xsetbv
	.endm
	XS	"0d:0000", "XSAVE: not aligned to 64 bytes"
	xsave	PLAY + 32
	XS	"0d:0000", "XRSTOR: not aligned to 64 bytes"
	xrstor	PLAY + 32
	XS	"0d:0000", "XSAVEC: not aligned to 64 bytes", Q	/* QEMU has no XSAVEC */
	xsavec	PLAY + 16
	XS	"0d:0000", "XSAVEOPT: not aligned to 64 bytes"
	xsaveopt PLAY + 8
	XS	"0d:0000", "FXSAVE: not aligned to 16 bytes"
	fxsave	PLAY + 8
	XS	"0d:0000", "FXRSTOR: not aligned to 16 bytes"
	fxrstor	PLAY + 4
	XS	"0d:0000", "FXRSTOR: reserved bits of MXCSR", Q	/* QEMU does not check */
	movl	$0x10000, PLAY + 24
	fxrstor	PLAY
	XS	"0d:0000", "XRSTOR: a component that XCR0 lacks"
	movl	$8, PLAY + 512
	xrstor	PLAY
	XS	"0d:0000", "XRSTOR, standard form: bytes 23 to 16 of the header", Q	/* QEMU looks at XSTATE_BV and XCOMP_BV alone */
	movl	$1, PLAY + 512 + 16
	xrstor	PLAY
	XS	"30=00000000", "XRSTOR, standard form: bytes 63 to 24 of the header are not checked"
	movl	$1, PLAY + 512 + 24
	movl	$0x1f80, PLAY + 24
	xrstor	PLAY
	xor	%eax, %eax
	OK
	XS	"0d:0000", "XRSTOR, standard form: XCOMP_BV without bit 63"
	movl	$1, PLAY + 512 + 8
	xrstor	PLAY
	XS	"0d:0000", "XRSTOR, compacted form: bytes 63 to 16 of the header", Q	/* QEMU has no compacted form */
	movl	$0x80000000, PLAY + 512 + 12
	movl	$7, PLAY + 512 + 8
	movl	$1, PLAY + 512 + 24
	xrstor	PLAY
	XS	"0d:0000", "XRSTOR, compacted form: XSTATE_BV has more than XCOMP_BV"
	movl	$0x80000000, PLAY + 512 + 12
	movl	$3, PLAY + 512 + 8
	movl	$4, PLAY + 512
	xrstor	PLAY
	XS	"0d:0000", "XRSTOR, compacted form: XCOMP_BV has what XCR0 lacks"
	movl	$0x80000000, PLAY + 512 + 12
	movl	$15, PLAY + 512 + 8
	xrstor	PLAY
	XS	"30=0000037f", "XRSTOR, compacted form", Q
	movl	$0x80000000, PLAY + 512 + 12
	movl	$7, PLAY + 512 + 8
	movw	$0x27f, PLAY + 64
	fldcw	PLAY + 64
	xrstor	PLAY
	fnstcw	PLAY
	movzwl	PLAY, %eax
	OK
	XS	"0d:0000", "XRSTOR: reserved bits of MXCSR", Q	/* QEMU does not check */
	movl	$2, PLAY + 512
	movl	$0x10000, PLAY + 24
	xrstor	PLAY
	XS	"0d:0000", "XRSTOR, standard form: MXCSR counts though XSTATE_BV lacks SSE", Q
	movl	$0x10000, PLAY + 24
	xrstor	PLAY
	XS	"30=00001f80", "XRSTOR, compacted form: MXCSR is initial where XSTATE_BV lacks SSE", 3	/* Bochs: #GP. The host's own processor does as the manual says */
	movl	$0x80000000, PLAY + 512 + 12
	movl	$7, PLAY + 512 + 8
	movl	$0x10000, PLAY + 24
	movl	$0x3f80, PLAY + 64
	ldmxcsr	PLAY + 64
	xrstor	PLAY
	stmxcsr	PLAY
	mov	PLAY, %eax
	OK
	XS	"30=0000037f", "XRSTOR: what XSTATE_BV lacks becomes initial"
	movl	$0x1f80, PLAY + 24
	movw	$0x27f, PLAY + 64
	fldcw	PLAY + 64
	xrstor	PLAY
	fnstcw	PLAY
	movzwl	PLAY, %eax
	OK
	XS	"30=0000027f", "XRSTOR: what EAX does not ask for stays"
	movl	$0x1f80, PLAY + 24
	movw	$0x27f, PLAY + 64
	fldcw	PLAY + 64
	mov	$6, %eax
	xrstor	PLAY
	fnstcw	PLAY
	movzwl	PLAY, %eax
	OK
	XS	"30=0000027f", "XSAVE: the x87 control word"
	movw	$0x27f, PLAY + 64
	fldcw	PLAY + 64
	xsave	PLAY
	movzwl	PLAY, %eax
	OK
	XS	"30=80000007", "XSAVEC: XCOMP_BV", Q	/* QEMU has no XSAVEC */
	xsavec	PLAY
	mov	PLAY + 512 + 8, %eax
	or	PLAY + 512 + 12, %eax
	OK
	XS	"30=00000240", "CPUID 0DH: size of what XCR0 has"
	mov	$1, %eax
	xor	%edx, %edx
	xsetbv
	mov	$13, %eax
	cpuid
	mov	%ebx, %eax
	OK
	XS	"30=00000340", "CPUID 0DH: size with AVX"
	mov	$13, %eax
	cpuid
	mov	%ebx, %eax
	OK
	XS	"0e:0002@00210000", "XSAVE over the end of what is mapped"
	xsave	PLAY + 0xfd00
	XS	"07", "XSAVE with CR0.TS", Q	/* QEMU: #UD */
	mov	%cr0, %rbx
	or	$8, %ebx
	mov	%rbx, %cr0
	xsave	PLAY
	XS	"07", "XRSTOR with CR0.TS", Q	/* the same */
	mov	%cr0, %rbx
	or	$8, %ebx
	mov	%rbx, %cr0
	xrstor	PLAY
	XS	"06", "LOCK XSAVE"
	.byte	0xf0
	xsave	PLAY
	CASE	L64, "06", "XSAVE without CR4.OSXSAVE"
	xsave	PLAY
	CASE	L64, "06", "XRSTOR without CR4.OSXSAVE"
	xrstor	PLAY
	XS	"0d:0000", "XGETBV of a register that there is not"
	mov	$2, %ecx
	xgetbv
	XS	"0d:0000", "VMOVAPS: not aligned to 32 bytes"
	vmovaps	PLAY + 16, %ymm0
	XS	"30=00000000", "VMOVUPS: not aligned"
	vmovups	PLAY + 17, %ymm0
	xor	%eax, %eax
	OK
	XS	"30=00000000", "VADDPS: an operand in memory need not be aligned"
	vxorps	%ymm0, %ymm0, %ymm0
	vaddps	PLAY + 17, %ymm0, %ymm0
	xor	%eax, %eax
	OK
	XS	"0d:0000", "ADDPS: an operand in memory must be aligned"
	addps	PLAY + 8, %xmm0
	XS	"0e:0000@00210000", "VMOVUPS over the end of what is mapped"
	vmovups	PLAY + 0xfff0, %ymm0
	XS	"0e:0002@00210000", "VMOVUPS to the end of what is mapped"
	vmovups	%ymm0, PLAY + 0xffe1
	XS	"30=00000000", "VMASKMOVPS: what is masked out is not accessed", Q	/* QEMU accesses it */
	vxorps	%ymm0, %ymm0, %ymm0
	vmaskmovps PLAY + 0x10000, %ymm0, %ymm1
	xor	%eax, %eax
	OK
	XS	"06", "a VEX prefix behind 66H"
	.byte	0x66
	vaddps	%ymm0, %ymm0, %ymm0
	XS	"06", "a VEX prefix behind LOCK"
	.byte	0xf0
	vaddps	%ymm0, %ymm0, %ymm0
	XS	"06", "a VEX prefix behind REX"
	.byte	0x40
	vaddps	%ymm0, %ymm0, %ymm0
	XS	"06", "VEX.vvvv not 1111B where there is no such operand"
	.byte	0xc5, 0x70, 0x10, 0xc0		/* VMOVUPS xmm */
	XS	"06", "VSQRTPS with L clear and vvvv used"
	.byte	0xc5, 0x70, 0x51, 0xc0
	.macro	AT_USER_XS want, insn:vararg
	CASE	P32, "\want", "\insn at CPL 3", Q	/* QEMU has no supervisor states */
	mov	$0x40200, %eax
	mov	%eax, %cr4
	TO_USER
	mov	$3, %eax
	\insn
	.endm
	AT_USER_XS "0d:0000", xsaves %ss:0x8000
	AT_USER_XS "0d:0000", xrstors %ss:0x8000
	AT_USER_XS "0d:0000", xsetbv

/* --- PCIDs, vol. 3 "Process-Context Identifiers", vol. 2 "INVPCID", "MOV - Move to/from Control Registers" --- */

	.macro	PCID_ON
	CR4_SET	0x20000
	.endm
	CASE	L64, "0d:0000", "INVPCID: type 4", Q	/* QEMU has no INVPCID */
	mov	$4, %ebx
	invpcid	PLAY, %rbx
	CASE	L64, "0d:0000", "INVPCID: reserved bits of the descriptor", Q	/* the same */
	movl	$0x1000, PLAY
	xor	%ebx, %ebx
	invpcid	PLAY, %rbx
	CASE	L64, "0d:0000", "INVPCID: an address that is not canonical", Q	/* the same */
	movl	$0x8000, PLAY + 12
	xor	%ebx, %ebx
	invpcid	PLAY, %rbx
	CASE	L64, "0d:0000", "INVPCID: a PCID without CR4.PCIDE", Q	/* the same */
	movl	$5, PLAY
	mov	$1, %ebx
	invpcid	PLAY, %rbx
	CASE	L64, "30=00000000", "INVPCID: types 2 and 3 without CR4.PCIDE", Q	/* the same */
	mov	$2, %ebx
	invpcid	PLAY, %rbx
	inc	%ebx
	invpcid	PLAY, %rbx
	OK
	CASE	L64, "30=00000000", "INVPCID: type 1 of a PCID", Q	/* the same */
	PCID_ON
	movl	$5, PLAY
	mov	$1, %ebx
	invpcid	PLAY, %rbx
	OK
	CASE	L64, "0e:0000@00210000", "INVPCID: descriptor not present", Q	/* the same */
	mov	$2, %ebx
	invpcid	PLAY + 0x10000, %rbx
	CASE	L64, "0d:0000", "INVPCID: all bits of the type count", 3	/* the same; Bochs looks at 32 bits */
	mov	$2, %ebx
	bts	$40, %rbx
	invpcid	PLAY, %rbx
	CASE	LU64, "0d:0000", "INVPCID at CPL 3", Q	/* the same */
	mov	$2, %ebx
	invpcid	PLAY, %rbx
	CASE	L64, "06", "INVPCID of a register"
	.byte	0x66, 0x0f, 0x38, 0x82, 0xc3
	CASE	L64, "0d:0000", "MOV to CR3: bit 63 without CR4.PCIDE", Q	/* QEMU does not check */
	mov	%cr3, %rax
	bts	$63, %rax
	mov	%rax, %cr3
	CASE	L64, "30=00000000", "MOV to CR3: bit 63 with CR4.PCIDE, reads 0", Q	/* QEMU keeps it in the address of the table */
	PCID_ON
	mov	%cr3, %rax
	bts	$63, %rax
	mov	%rax, %cr3
	mov	%cr3, %rax
	shr	$32, %rax
	OK
	CASE	L64, "30=00000005", "MOV to CR3: the PCID"
	PCID_ON
	mov	%cr3, %rax
	or	$5, %eax
	mov	%rax, %cr3
	mov	%cr3, %rax
	and	$0xfff, %eax
	OK
	CASE	L64, "0d:0000", "MOV to CR3: beyond MAXPHYADDR", Q	/* QEMU does not check */
	mov	%cr3, %rax
	bts	$60, %rax
	mov	%rax, %cr3
	CASE	L64, "30=00000001", "Process-Context Identifiers: a page's new translation after INVPCID of its address", Q	/* the same */
	PCID_ON
	movb	PLAY, %al
	movb	$1, PLAY + 0x1000
	movl	$0x51007, PT
	movl	$(PLAY), PLAY + 0x2008
	xor	%ebx, %ebx
	invpcid	PLAY + 0x2000, %rbx
	movb	PLAY, %al
	OK

/* --- tasks, vol. 3 "Task Switching", "Task Management" --- */

	.macro	TASK want, title, not=0
	CASE	P32, "\want", "Task Switching: \title", \not
	movl	$(7f - F), TSS2 + 0x20
	.endm
	/*
	 * An exception that the new task's segments cause belongs to it, and needs a task of its own, vol. 3 "Invalid TSS
	 * Exception": here the old one, where the error code becomes EAX.
	 */
	.macro	TASK_BAD vector, want, title, not=0
	CASE	P32, "30=\want", "Task Switching: \title", \not
	movl	$(SEL_TSS << 16), IDT32 + \vector * 8
	movl	$0x8500, IDT32 + \vector * 8 + 4
	.endm
	.macro	TASK_TRY
	ljmp	$SEL_TSS2, $0
	pop	%eax
	OK
	.endm
	TASK	"30=00000089", "IRET from a nested task: its TSS is available"
	lcall	$SEL_TSS2, $0
	movzbl	T + SEL_TSS2 + 5, %eax
	OK
7:	iret
	TASK	"30=00000048", "IRET from a nested task: TR"
	lcall	$SEL_TSS2, $0
	str	%eax
	OK
7:	iret
	TASK	"30=00000000", "IRET from a nested task: NT is cleared"
	lcall	$SEL_TSS2, $0
	FLAGS	0x4000
7:	iret
	TASK	"30=00004000", "CALL sets NT in the new task"
	lcall	$SEL_TSS2, $0
7:	FLAGS	0x4000
	TASK	"30=00000000", "JMP does not set NT"
	ljmp	$SEL_TSS2, $0
7:	FLAGS	0x4000
	TASK	"30=00000048", "CALL leaves the link"
	lcall	$SEL_TSS2, $0
7:	movzwl	TSS2, %eax
	OK
	TASK	"30=00000008", "CR0.TS is set"
	ljmp	$SEL_TSS2, $0
7:	mov	%cr0, %eax
	and	$8, %eax
	OK
	TASK	"30=00008b89", "JMP: the old TSS is available, the new one busy"
	ljmp	$SEL_TSS2, $0
7:	mov	T + SEL_TSS + 5, %al
	mov	T + SEL_TSS2 + 5, %ah
	movzwl	%ax, %eax
	OK
	TASK	"30=00008b8b", "CALL: both are busy"
	lcall	$SEL_TSS2, $0
7:	mov	T + SEL_TSS + 5, %al
	mov	T + SEL_TSS2 + 5, %ah
	movzwl	%ax, %eax
	OK
	TASK	"30=00000012", "the old task's EBX is kept"
	mov	$0x12, %ebx
	ljmp	$SEL_TSS2, $0
7:	mov	TSS + 0x34, %eax
	OK
	TASK	"30=00000034", "the new task's EBX"
	movl	$0x34, TSS2 + 0x34
	ljmp	$SEL_TSS2, $0
7:	mov	%ebx, %eax
	OK
	TASK_BAD 10, 00000008, "CS is data: #TS"
	movw	$DATA, TSS2 + 0x4c
	TASK_TRY
	TASK_BAD 10, 00000000, "CS is null: #TS"
	movw	$0, TSS2 + 0x4c
	TASK_TRY
	TASK_BAD 10, 00000010, "CS: RPL 3, DPL 0: #TS", B	/* Bochs looks at SS first */
	movw	$CODE32 + 3, TSS2 + 0x4c
	TASK_TRY
	TASK_BAD 11, 000000d8, "CS not present: #NP"
	movw	$ABSENT_CODE, TSS2 + 0x4c
	TASK_TRY
	TASK	"30=00000098", "CS is conforming"
	movw	$CONFORMING, TSS2 + 0x4c
	ljmp	$SEL_TSS2, $0
7:	mov	%cs, %eax
	OK
	TASK_BAD 10, 00000000, "SS is null: #TS"
	movw	$0, TSS2 + 0x50
	TASK_TRY
	TASK_BAD 10, 000000a0, "SS is read-only: #TS"
	movw	$RDONLY, TSS2 + 0x50
	TASK_TRY
	TASK_BAD 10, 00000038, "SS: DPL 3: #TS"
	movw	$UDATA & ~3, TSS2 + 0x50
	TASK_TRY
	TASK_BAD 12, 00000090, "SS not present: #SS", Q	/* QEMU: #NP */
	movw	$ABSENT, TSS2 + 0x50
	TASK_TRY
	TASK_BAD 10, 000000a8, "DS is execute-only: #TS"
	movw	$XONLY, TSS2 + 0x54
	TASK_TRY
	TASK_BAD 11, 00000090, "FS not present: #NP"
	movw	$ABSENT, TSS2 + 0x58
	TASK_TRY
	TASK_BAD 10, 00000ff8, "GS beyond the GDT: #TS"
	movw	$0xff8, TSS2 + 0x5c
	TASK_TRY
	TASK	"30=00000000", "ES is null"
	movw	$0, TSS2 + 0x48
	ljmp	$SEL_TSS2, $0
7:	mov	%es, %eax
	OK
	TASK_BAD 10, 00000008, "LDT is data: #TS"
	movw	$DATA, TSS2 + 0x60
	TASK_TRY
	TASK_BAD 10, 00000068, "LDT not present: #TS"
	movb	$2, T + SEL_LDT + 5
	movw	$SEL_LDT, TSS2 + 0x60
	TASK_TRY
	TASK_BAD 10, 00000004, "LDT in an LDT: #TS"
	movw	$4, TSS2 + 0x60
	TASK_TRY
	TASK	"30=0000000c", "the new task's LDT, and CS from it"
	movw	$SEL_LDT, TSS2 + 0x60
	movw	$0xc, TSS2 + 0x4c
	ljmp	$SEL_TSS2, $0
7:	mov	%cs, %eax
	OK
	TASK_BAD 13, 00000000, "EIP beyond the limit: #GP"
	movw	$CODE16, TSS2 + 0x4c
	TASK_TRY
	TASK	"01!8ff0", "the T flag", Q	/* QEMU has no T flag */
	movb	$1, TSS2 + 0x64
	ljmp	$SEL_TSS2, $0
7:	OK
	TASK	"30=00001234", "to virtual-8086 mode"
	movl	$(7f - guest_cases_fw), TSS2 + 0x20
	movl	$0x23002, TSS2 + 0x24
	movw	$(BASE >> 4), TSS2 + 0x4c
	movw	$0, TSS2 + 0x50
	ljmp	$SEL_TSS2, $0
	.code16
7:	mov	$0x1234, %ax
	OK
	.code32
	TASK	"30=00000ff8", "an exception by a task gate: its error code is on the new stack"
	movl	$(SEL_TSS2 << 16), IDT32 + 13 * 8
	movl	$0x8500, IDT32 + 13 * 8 + 4
	mov	$0xff8, %eax
	mov	%ax, %ds
7:	pop	%eax
	OK
	TASK	"30=0000affc", "an exception by a task gate: 4 bytes of error code"
	movl	$(SEL_TSS2 << 16), IDT32 + 13 * 8
	movl	$0x8500, IDT32 + 13 * 8 + 4
	mov	$0xff8, %eax
	mov	%ax, %ds
7:	mov	%esp, %eax
	OK
	TASK	"30=0000b000", "INT n by a task gate: no error code"
	movl	$(SEL_TSS2 << 16), IDT32 + 0x20 * 8
	movl	$0x8500, IDT32 + 0x20 * 8 + 4
	int	$0x20
7:	mov	%esp, %eax
	OK
	TASK	"30=00000011", "INT n by a task gate, and IRET"
	movl	$(SEL_TSS2 << 16), IDT32 + 0x20 * 8
	movl	$0x8500, IDT32 + 0x20 * 8 + 4
	mov	$0x10, %eax
	int	$0x20
	inc	%eax
	OK
7:	iret
	TASK	"0a:0060", "limit of a 16-bit TSS too small"
	movb	$0x2a, T + SEL_TSS16
	ljmp	$SEL_TSS16, $0
7:	OK
	TASK	"0a:0058", "IRET with NT, link to a TSS that is not busy"
	movw	$SEL_TSS2, TSS
	pushfl
	orl	$0x4000, (%esp)
	popfl
	iret
7:	OK
	TASK	"0a:0014", "IRET with NT, link to an LDT"
	movw	$0x14, TSS
	pushfl
	orl	$0x4000, (%esp)
	popfl
	iret
7:	OK
	TASK	"0b:0078", "task gate not present"
	movb	$5, T + SEL_TASKGATE + 5
	ljmp	$SEL_TASKGATE, $0
7:	OK
	TASK	"0d:0014", "task gate with a selector of the LDT", Q	/* QEMU: #TS */
	movw	$0x14, T + SEL_TASKGATE + 2
	ljmp	$SEL_TASKGATE, $0
7:	OK
	TASK	"0d:0008", "task gate to data"
	movw	$DATA, T + SEL_TASKGATE + 2
	ljmp	$SEL_TASKGATE, $0
7:	OK
	CASE	U32, "0d:0058", "Task Switching: CALL of a TSS of DPL 0 at CPL 3"
	lcall	$SEL_TSS2, $0
	CASE	U32, "0d:0078", "Task Switching: task gate of DPL 0 at CPL 3"
	lcall	$SEL_TASKGATE, $0
	CASE	U32, "30=00000058", "Task Switching: task gate of DPL 3 at CPL 3, TSS of DPL 0"
	movb	$0xe5, T + SEL_TASKGATE + 5
	lcall	$SEL_TASKGATE, $0
	CASE	G32, "30=00000058", "Task Switching: CR3 of the new task"
	movl	$PD32, TSS2 + 0x1c
	ljmp	$SEL_TSS2, $0
	CASE	P32, "0d:0048", "LTR of a busy TSS"
	mov	$SEL_TSS, %eax
	ltr	%ax
	CASE	P32, "0b:0058", "LTR: not present"
	movb	$9, T + SEL_TSS2 + 5
	mov	$SEL_TSS2, %eax
	ltr	%ax
	CASE	P32, "0d:0000", "LTR: null", Q	/* QEMU takes it */
	ltr	%ax
	CASE	P32, "0b:0068", "LLDT: not present"
	movb	$2, T + SEL_LDT + 5
	mov	$SEL_LDT, %eax
	lldt	%ax

/* --- call gates, vol. 3 "Accessing a Code Segment Through a Call Gate", "Stack Switching", "IA-32e Mode Call Gates" --- */

	/* the gate of SEL_GATE leads to 7f */
	.macro	GATE mode, want, title, not=0
	CASE	\mode, "\want", "Call Gates: \title", \not
	movl	$(((7f - F) & 0xffff) + (CODE32 << 16)), T + SEL_GATE
	movw	$((7f - F) >> 16), T + SEL_GATE + 6
	.endm
	GATE	U32, "30=00002222", "parameters are copied"
	movb	$2, T + SEL_GATE + 4
	pushl	$0x1111
	pushl	$0x2222
	lcall	$(SEL_GATE + 3), $0
7:	mov	8(%esp), %eax
	OK
	GATE	U32, "30=0000bff8", "the old stack pointer behind the parameters"
	movb	$2, T + SEL_GATE + 4
	pushl	$0x1111
	pushl	$0x2222
	lcall	$(SEL_GATE + 3), $0
7:	mov	16(%esp), %eax
	OK
	GATE	U32, "30=0000cfe8", "the new stack"
	movb	$2, T + SEL_GATE + 4
	pushl	$0x1111
	pushl	$0x2222
	lcall	$(SEL_GATE + 3), $0
7:	mov	%esp, %eax
	OK
	GATE	U32, "30=0000c000", "RETF frees the parameters on both stacks"
	movb	$2, T + SEL_GATE + 4
	pushl	$0x1111
	pushl	$0x2222
	lcall	$(SEL_GATE + 3), $0
	mov	%esp, %eax
	OK
7:	lret	$8
	GATE	U32, "30=0000cff8", "a 16-bit gate pushes words"
	movl	$(((7f - guest_cases_fw) & 0xffff) + (CODE16 << 16)), T + SEL_GATE
	movw	$0, T + SEL_GATE + 6
	movb	$0xe4, T + SEL_GATE + 5
	lcall	$(SEL_GATE + 3), $0
	.code16
7:	mov	%esp, %eax
	OK
	.code32
	GATE	U32, "30=0000009b", "to conforming code: the CPL stays", Q	/* QEMU leaves RPL 0 in CS */
	movw	$CONFORMING, T + SEL_GATE + 2
	lcall	$(SEL_GATE + 3), $0
7:	mov	%cs, %eax
	OK
	GATE	U32, "30=0000009b", "JMP to conforming code"
	movw	$CONFORMING, T + SEL_GATE + 2
	.byte	0xea
	.long	0
	.word	SEL_GATE + 3
7:	mov	%cs, %eax
	OK
	/* SS0 is for exceptions, too: the one that is to come has a task of its own, and its error code is EAX */
	.macro	GATE_TS want, vector, ss, esp, title, not=0
	CASE	U32, "\want", "Call Gates: \title", \not
	movl	$(SEL_TSS2 << 16), IDT32 + \vector * 8
	movl	$0x8500, IDT32 + \vector * 8 + 4
	movl	$(7f - F), TSS2 + 0x20
	movw	$\ss, TSS + 8
	movl	$\esp, TSS + 4
	lcall	$(SEL_GATE + 3), $0
7:	pop	%eax
	OK
	.endm
	GATE_TS	"30=00000000", 10, 0, 0xd000, "SS0 null: #TS(0)"
	GATE_TS	"30=00000038", 10, UDATA & ~3, 0xd000, "SS0 of DPL 3: #TS"
	GATE_TS	"30=00000008", 10, DATA + 1, 0xd000, "SS0 of RPL 1: #TS"
	GATE_TS	"30=000000a0", 10, RDONLY, 0xd000, "SS0 read-only: #TS"
	GATE_TS	"30=00000010", 10, CODE32, 0xd000, "SS0 is code: #TS"
	GATE_TS	"30=00000ff8", 10, 0xff8, 0xd000, "SS0 beyond the GDT: #TS"
	GATE_TS	"30=00000090", 12, ABSENT, 0xd000, "SS0 not present: #SS", Q	/* QEMU: #TS */
	GATE_TS	"30=000000b8", 12, SMALL, 0x2000, "ESP0 beyond SS0: #SS(SS0)", Q	/* QEMU checks no limits */
	CASE	U32, "0d:0000", "Call Gates: offset beyond the limit", Q	/* QEMU checks no limits */
	movl	$(CODE16 << 16), T + SEL_GATE
	movw	$2, T + SEL_GATE + 6
	lcall	$(SEL_GATE + 3), $0
	CASE	P32, "0d:0080", "Call Gates: RPL above the gate's DPL"
	movb	$0xac, T + SEL_GATE + 5
	lcall	$(SEL_GATE + 3), $0

	/* in IA-32e mode the gate has 16 bytes, SEL_GATE's and those behind; CALL by memory */
	.macro	GATE64 mode, want, title, not=0
	CASE	\mode, "\want", "IA-32e Mode Call Gates: \title", \not
	movl	$(((7f - F) & 0xffff) + (CODE64 << 16)), T + SEL_GATE
	movw	$((7f - F) >> 16), T + SEL_GATE + 6
	movl	$0, PLAY
	movw	$(SEL_GATE + 3), PLAY + 4
	.endm
	GATE64	LU64, "30=0000cfe0", "the stack of TSS.RSP0, 32 bytes on it"
	lcall	*PLAY
7:	mov	%esp, %eax
	OK
	GATE64	LU64, "30=00000000", "SS is null"
	lcall	*PLAY
7:	mov	%ss, %eax
	OK
	GATE64	LU64, "30=0000003b", "the old SS on the stack"
	lcall	*PLAY
7:	mov	24(%rsp), %eax
	OK
	GATE64	LU64, "30=00000043", "RETF goes back"
	lcall	*PLAY
	mov	%cs, %eax
	OK
7:	rex.w lret
	GATE64	L64, "30=0000dff0", "CPL 0 to CPL 0: 16 bytes"
	movw	$SEL_GATE, PLAY + 4
	lcall	*PLAY
7:	mov	%esp, %eax
	OK
	GATE64	LU64, "0d:0080", "the type of the upper half is not 0"
	movl	$0x100, T + SEL_GATE + 12
	lcall	*PLAY
7:	OK
	GATE64	LU64, "0d:0010", "to code that is not 64-bit"
	movw	$CODE32, T + SEL_GATE + 2
	lcall	*PLAY
7:	OK
	GATE64	LU64, "0d:0000", "offset not canonical", Q	/* QEMU faults at the target */
	movl	$0x8000, T + SEL_GATE + 8
	lcall	*PLAY
7:	OK
	GATE64	LU64, "0d:0080", "a 16-bit gate"
	movb	$0xe4, T + SEL_GATE + 5
	lcall	*PLAY
7:	OK
	GATE64	LU64, "0b:0080", "not present"
	movb	$0x6c, T + SEL_GATE + 5
	lcall	*PLAY
7:	OK
	CASE	L64, "0d:00f8", "IA-32e Mode Call Gates: the upper half beyond the GDT", Q	/* QEMU reads it anyway */
	movl	$((7f - F) & 0xffff) + (CODE64 << 16), T + 0xf8
	movl	$0xec00 + ((7f - F) & 0xffff0000), T + 0xfc
	movw	$0xf8, PLAY + 4
	lcall	*PLAY
7:	OK

/* --- returns --- */

	CASE	L64, "0d:0000", "IRET to an address that is not canonical", Q	/* QEMU faults at the target */
	bts	$47, %rbx
	push	$0
	push	$0xc000
	push	$2
	push	$CODE64
	push	%rbx
	iretq
	CASE	L64, "0d:0000", "IRET: null CS"
	push	$0
	push	$0xc000
	push	$2
	push	$0
	push	$0
	iretq
	CASE	L64, "0d:0000", "IRET to CPL 3: null SS"
	push	$0
	push	$0xc000
	push	$2
	push	$UCODE64
	push	$(1f - F)
	iretq
1:	OK
	CASE	L64, "0d:0008", "IRET to CPL 3: SS of DPL 0"
	push	$DATA
	push	$0xc000
	push	$2
	push	$UCODE64
	push	$(1f - F)
	iretq
1:	OK
	CASE	L64, "0c:0090", "IRET: SS not present", 3	/* both: #NP. The host's own processor does as the manual says */
	push	$ABSENT
	push	$0xc000
	push	$2
	push	$CODE64
	push	$(1f - F)
	iretq
1:	OK
	CASE	L64, "0b:00d8", "RETF: CS not present"
	push	$ABSENT_CODE
	push	$0
	rex.w lret
	CASE	L64, "30=00000002", "IRET at CPL 0 leaves VM clear"
	push	$DATA
	push	$0xe000
	push	$0x20002
	push	$CODE64
	push	$(1f - F)
	iretq
1:	pushfq
	pop	%rax
	OK
	CASE	U32, "30=00000002", "POPF at CPL 3: neither IF nor IOPL"
	pushl	$0x3202
	popfl
	FLAGS	0x3202
	CASE	U32, "30=00000002", "IRET at CPL 3: neither IF nor IOPL"
	pushl	$0x3202
	pushl	%cs
	pushl	$(1f - F)
	iret
1:	FLAGS	0x3202
	CASE	P32, "30=00003202", "POPF at CPL 0"
	pushl	$0x3202
	popfl
	FLAGS	0x3202
	CASE	U32, "0d:0020", "RETF to another segment of more privilege"
	pushl	$CODE16
	pushl	$0
	lret
	CASE	P32, "0d:00a8", "RETF to CPL 1: a code segment of DPL 0"
	pushl	$DATA1 + 1
	pushl	$0xc000
	pushl	$XONLY + 1
	pushl	$0
	lret
	CASE	P32, "30=000000e1", "RETF to CPL 1"
	pushl	$DATA1 + 1
	pushl	$0xc000
	pushl	$CODE1 + 1
	pushl	$(1f - F)
	lret
1:	mov	%cs, %eax
	OK

/* --- the I/O permission bit map, vol. 1 "I/O Permission Bit Map" --- */

	CASE	U32, "30=00000000", "I/O Permission Bit Map: the last word allowed"
	mov	$0x2fe, %edx
	xor	%eax, %eax
	out	%ax, %dx
	OK
	CASE	U32, "0d:0000", "I/O Permission Bit Map: the last of four ports"
	mov	$0x2fd, %edx
	out	%eax, %dx
	CASE	U32, "0d:0000", "I/O Permission Bit Map: INS"
	mov	$0x300, %edx
	insb
	CASE	U32, "0d:0000", "I/O Permission Bit Map: REP OUTS asks though its count is 0"	/* as the host's own processor does */
	mov	$0x300, %edx
	rep outsb
	OK
	CASE	U32, "0d:0000", "I/O Permission Bit Map: its base beyond the TSS's limit"
	movw	$0x201, TSS + 0x66
	out	%al, $0x80
	CASE	U32, "0d:0000", "I/O Permission Bit Map: the second byte is needed, and beyond the limit"
	movw	$0x1f0, TSS + 0x66	/* ports 80H to 87H are the last byte, 200H */
	out	%al, $0x80
	CASE	P32, "30=00000000", "IOPL 3 needs no bit map"
	pushl	$UDATA
	pushl	$0xc000
	pushl	$0x3002
	pushl	$UCODE32
	pushl	$(1f - F)
	iret
1:	mov	$0x300, %edx
	xor	%eax, %eax
	out	%al, %dx
	OK
	CASE	P32, "0d:0000", "A 16-bit TSS has no bit map"
	mov	$SEL_TSS16, %eax
	ltr	%ax
	TO_USER
	out	%al, $0x80

/* --- breakpoints and single step, vol. 3 "Debug Registers", "Debug Exceptions" --- */

	.macro	DR64 n, value:vararg
	mov	$(\value), %eax
	mov	%rax, %dr\n
	.endm
	CASE	L64, "01!0ff1", "Data-Breakpoint: the last of eight bytes"
	DR64	0, PLAY
	DR64	7, 0x90402
	movb	%al, PLAY + 7
	nop
	OK
	CASE	L64, "30=00000000", "Data-Breakpoint: behind eight bytes"
	DR64	0, PLAY
	DR64	7, 0x90402
	movb	%al, PLAY + 8
	xor	%eax, %eax
	OK
	CASE	L64, "01!0ff1", "Data-Breakpoint: an access that reaches into it"
	DR64	0, PLAY + 0x10
	DR64	7, 0x10402
	movl	%eax, PLAY + 0xd
	nop
	OK
	CASE	L64, "01!0ff1", "Data-Breakpoint: an access over the end of a page"
	DR64	0, PLAY + 0x1000
	DR64	7, 0x10402
	movl	%eax, PLAY + 0xffe
	nop
	OK
	CASE	L64, "01!0ff3", "Data-Breakpoint: two at once", Q	/* QEMU shows one */
	DR64	0, PLAY
	DR64	1, PLAY + 1
	DR64	7, 0x11040a
	movw	%ax, PLAY
	nop
	OK
	CASE	L64, "01!0ff1+00000017", "Data-Breakpoint: a trap, behind the instruction"
	DR64	0, PLAY
	DR64	7, 0x10402
1:	movb	%al, PLAY
	nop
	OK
	CASE	L64, "01!0ff1", "Data-Breakpoint: PUSH"
	DR64	0, PLAY + 0x7f8
	DR64	7, 0x10402
	mov	$(PLAY + 0x800), %esp
	push	%rax
	nop
	OK
	CASE	L64, "01!0ff1=00000003", "Data-Breakpoint: REP STOS stops behind the iteration"
	DR64	0, PLAY + 2
	DR64	7, 0x10402
	mov	$PLAY, %edi
	mov	$8, %ecx
	xor	%eax, %eax
	movw	$0xffff, PLAY + 0x100
	mov	$3, %eax
	rep stosb
	OK
	CASE	L64, "30=00000000", "Data-Breakpoint: not for instruction fetches"
	DR64	0, 1f - F
	DR64	7, 0x30402
1:	xor	%eax, %eax
	OK
	CASE	P32, "30=00000000", "Instruction-Breakpoint: RF suppresses it"
	DR	0, 1f - F
	DR	7, 0x402
	pushl	$0x10002
	pushl	$CODE32
	pushl	$(1f - F)
	xor	%eax, %eax
	iret
1:	nop
	OK
	CASE	P32, "01!0ff1", "Instruction-Breakpoint: RF is for one instruction"
	DR	0, 2f - F
	DR	7, 0x402
	pushl	$0x10002
	pushl	$CODE32
	pushl	$(1f - F)
	xor	%eax, %eax
	iret
1:	nop
2:	nop
	OK
	CASE	P32, "01!4ff0", "Single-Step: REP MOVS stops behind the first iteration"
	mov	$PLAY - 0x1a0000, %esi
	mov	$PLAY - 0x19f000, %edi
	mov	$4, %ecx
	pushfl
	orl	$0x100, (%esp)
	popfl
	rep movsb
	OK
	CASE	P32, "30=00000000", "Single-Step: INT n clears TF"
	pushfl
	orl	$0x100, (%esp)
	popfl
	OK
	CASE	P32, "01!4ff1", "Single-Step and a data breakpoint at once"
	DR	0, PLAY - 0x1a0000
	DR	7, 0x10402
	pushfl
	orl	$0x100, (%esp)
	popfl
	movb	%al, PLAY - 0x1a0000
	OK
	/* vol. 3 "Masking Exceptions and Interrupts When Switching Stacks": one instruction later */
	.macro	SS_WATCHED want, title, not=0
	CASE	P32, "\want", "Data-Breakpoint: \title", \not
	mov	%ss, PLAY - 0x1a0000
	DR	0, PLAY - 0x1a0000
	DR	7, 0x70402
	mov	PLAY - 0x1a0000, %ss
	.endm
	SS_WATCHED "01!0ff1+0000001d", "MOV SS from what is watched: behind the next instruction", Q	/* QEMU does not wait */
	nop
	nop
	OK
	SS_WATCHED "01!0ff1", "MOV SS from what is watched, and INT3: in its handler", B	/* Bochs forgets it */
	int3
	CASE	L64, "0d:0000", "MOV to DR6: upper half", Q	/* QEMU does not check */
	bts	$32, %rax
	mov	%rax, %dr6
	CASE	L64, "30=ffff0ff0", "MOV to DR6: bits that are fixed"
	xor	%eax, %eax
	mov	%rax, %dr6
	mov	%dr6, %rax
	OK
	CASE	L64, "30=00000400", "MOV to DR7: bit 10 is 1, bits 12, 14, 15 are 0", Q	/* QEMU keeps what was written */
	mov	$0xd000, %eax
	mov	%rax, %dr7
	mov	%dr7, %rax
	OK
	CASE	L64, "30=00000001", "MOV to DR0: any address"
	bts	$47, %rbx
	mov	%rbx, %dr0
	mov	%dr0, %rax
	cmp	%rbx, %rax
	setz	%al
	movzbl	%al, %eax
	OK

/* --- one fault behind another, vol. 3 table "Conditions for Generating a Double Fault" --- */

	.macro	STACK0_ABSENT vector
	movl	$0x3ff000, TSS + 4
	movl	$0xb000, TSS + 0x24
	movb	$1, IDT64 + \vector * 16 + 4
	.endm
	.macro	AFTER want, vector, title, insn:vararg
	CASE	LU64, "\want", "Double Fault: \title"
	STACK0_ABSENT \vector
	\insn
	.endm
	AFTER	"08:0000", 8, "#PF behind #PF", movb PLAY + 0x10000, %al
	AFTER	"08:0000", 8, "#GP behind #PF", movw $DATA, IDT64 + 14 * 16 + 2; movb PLAY + 0x10000, %al
	CASE	LU64, "0d:0009", "No Double Fault: #GP behind #UD", Q	/* QEMU sets no EXT for exceptions */
	movw	$DATA, IDT64 + 6 * 16 + 2
	STACK0_ABSENT 13
	movl	$0xd000, TSS + 4
	ud2
	CASE	G32, "08:0000", "Double Fault: #GP behind #PF"
	movw	$DATA, IDT32 + 14 * 8 + 2
	movb	0x3ff000, %al
	CASE	U32, "30=00000000", "Double Fault: #NP behind #TS, by a task gate"
	movb	$0x0e, IDT32 + 10 * 8 + 5
	movl	$(SEL_TSS2 << 16), IDT32 + 8 * 8
	movl	$0x8500, IDT32 + 8 * 8 + 4
	movl	$(7f - F), TSS2 + 0x20
	movw	$0, TSS + 8
	lcall	$(SEL_GATE + 3), $0
7:	pop	%eax
	OK
	CASE	P32, "08:0000", "Double Fault: #NP behind #SS"
	movb	$0x0e, IDT32 + 12 * 8 + 5
	mov	$ABSENT, %eax
	mov	%ax, %ss
	CASE	P32, "0b:0182", "No Double Fault: #NP of an interrupt's gate"
	movb	$0x0e, IDT32 + 0x30 * 8 + 5
	int	$0x30
	CASE	P32, "0d:0192", "An interrupt beyond the IDT"
	int	$0x32
	CASE	P32, "0d:0102", "INT n: a gate of no type"
	movb	$0x80, IDT32 + 0x20 * 8 + 5
	int	$0x20
	CASE	P32, "0d:0008", "INT n: the gate's selector is data"
	movw	$DATA, IDT32 + 0x20 * 8 + 2
	int	$0x20
	CASE	P32, "0d:0000", "INT n: the gate's selector is null"
	movw	$0, IDT32 + 0x20 * 8 + 2
	int	$0x20
	CASE	P32, "0b:00d8", "INT n: the code segment is not present"
	movw	$ABSENT_CODE, IDT32 + 0x20 * 8 + 2
	int	$0x20
	CASE	L64, "0d:0010", "INT n in IA-32e mode: code that is not 64-bit"
	movw	$CODE32, IDT64 + 0x20 * 16 + 2
	int	$0x20
	CASE	L64, "0d:0000", "INT n in IA-32e mode: offset not canonical", Q	/* QEMU faults at the target */
	movl	$0x8000, IDT64 + 0x20 * 16 + 8
	int	$0x20
	CASE	L64, "0d:0102", "INT n in IA-32e mode: a 16-bit gate", Q	/* QEMU: 16 times the vector in the error code */
	movb	$0x86, IDT64 + 0x20 * 16 + 5
	int	$0x20
	CASE	L64, "0d:0102", "INT n in IA-32e mode: a task gate", Q	/* the same */
	movb	$0x85, IDT64 + 0x20 * 16 + 5
	int	$0x20

/* --- operands of every size at the end of a segment, vol. 3 "Limit Checking": SMALL ends at FFFH, DOWN begins at 1000H --- */

	/* Q: QEMU checks no limits; 3: Bochs looks at a part of it */
	.macro	AT_LIMIT want, sel, not, title, insn:vararg
	CASE	P32, "\want", "Limit Checking: \title", \not
	mov	$0x40600, %eax
	mov	%eax, %cr4
	mov	$7, %eax
	xsetbv
	vxorps	%ymm0, %ymm0, %ymm0
	mov	$\sel, %ecx
	mov	%cx, %es
	mov	$0x1000, %ebx
	mov	%ebx, %edi
	mov	$0x8000, %esi
	xor	%ecx, %ecx
	\insn
	xor	%eax, %eax
	OK
	.endm
	AT_LIMIT "30=00000000", SMALL, Q, "the last 32 bytes, load", vmovups %es:-32(%ebx), %ymm0
	AT_LIMIT "0d:0000", SMALL, Q, "32 bytes over the end, load", vmovups %es:-31(%ebx), %ymm0
	AT_LIMIT "30=00000000", SMALL, Q, "the last 32 bytes, store", vmovups %ymm0, %es:-32(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "32 bytes over the end, store", vmovups %ymm0, %es:-1(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "32 bytes that wrap round", vmovups %es:-0x1010(%ebx), %ymm0
	AT_LIMIT "0d:0000", DOWN, Q, "32 bytes into an expand-down segment", vmovups %es:-1(%ebx), %ymm0
	AT_LIMIT "30=00000000", DOWN, Q, "the first 32 bytes of an expand-down segment", vmovups %es:(%ebx), %ymm0
	AT_LIMIT "0d:0000", DOWN16, Q, "32 bytes over FFFFH of an expand-down segment", vmovups %es:0xefe1(%ebx), %ymm0
	AT_LIMIT "30=00000000", DOWN16, Q, "32 bytes to FFFFH of an expand-down segment", vmovups %es:0xefe0(%ebx), %ymm0
	AT_LIMIT "30=00000000", SMALL, Q, "the last 16 bytes", movups %es:-16(%ebx), %xmm0
	AT_LIMIT "0d:0000", SMALL, Q, "16 bytes over the end", movups %es:-15(%ebx), %xmm0
	AT_LIMIT "0d:0000", SMALL, Q, "16 bytes over the end, of an operand", pshufd $0, %es:(%ebx), %xmm0
	AT_LIMIT "30=00000000", SMALL, Q, "the last 10 bytes", fldt %es:-10(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "10 bytes over the end", fldt %es:-9(%ebx)
	AT_LIMIT "30=00000000", SMALL, Q, "the last 8 bytes", fldl %es:-8(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "8 bytes over the end", fldl %es:-7(%ebx)
	AT_LIMIT "30=00000000", SMALL, Q, "the last 28 bytes, FNSTENV", fnstenv %es:-28(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "28 bytes over the end, FNSTENV", fnstenv %es:-27(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "108 bytes over the end, FNSAVE", fnsave %es:-107(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "108 bytes over the end, FRSTOR", frstor %es:-107(%ebx)
	AT_LIMIT "30=00000000", SMALL, Q, "the last 512 bytes, FXSAVE", fxsave %es:-512(%ebx)
	AT_LIMIT "0d:0000", SMALL, 3, "512 bytes over the end, FXSAVE", fxsave %es:-496(%ebx)
	AT_LIMIT "0d:0000", SMALL, 3, "832 bytes over the end, XSAVE", xsave %es:-768(%ebx)
	AT_LIMIT "30=00000000", SMALL, Q, "the last 8 bytes, CMPXCHG8B", cmpxchg8b %es:-8(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "8 bytes over the end, CMPXCHG8B", cmpxchg8b %es:-4(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "a far pointer over the end", les %es:-5(%ebx), %esi
	AT_LIMIT "0d:0000", SMALL, Q, "a table register over the end", sgdt %es:-5(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "bounds over the end", bound %ecx, %es:-7(%ebx)
	AT_LIMIT "0d:0000", SMALL, Q, "a bit beyond the end", bt %esi, %es:(%ecx)
	AT_LIMIT "30=00000000", SMALL, Q, "the last doubleword with a bit", bt %esi, %es:-4(%ecx)
	AT_LIMIT "0d:0000", SMALL, Q, "STOS behind the end", stosb
	AT_LIMIT "0d:0000", SMALL, Q, "SCAS behind the end", scasl
	AT_LIMIT "30=00000000", SMALL, Q, "VMASKMOVPS of nothing behind the end", vmaskmovps %es:(%ebx), %ymm0, %ymm1
	AT_LIMIT "0d:0000", SMALL, Q, "XLAT behind the end", es xlat

/* --- fetches, vol. 3 "Page-Fault Exceptions"; the end of what is mapped is PLAY + 10000H --- */

	CASE	G32, "0e:0000@00210000", "Page-Fault: an instruction over the end, without NX"
	movw	$0x01b8, PLAY + 0xfffe
	mov	$(PLAY + 0xfffe), %eax
	jmp	*%eax
	CASE	L64, "0e:0010@00210000", "Page-Fault: an instruction over the end, with NX"
	movw	$0x01b8, PLAY + 0xfffe
	mov	$(PLAY + 0xfffe), %eax
	jmp	*%rax
	CASE	L64, "0e:0010@00210000", "Page-Fault: prefixes up to the end"
	movl	$0x66666666, PLAY + 0xfffc
	mov	$(PLAY + 0xfffc), %eax
	jmp	*%rax
	CASE	L64, "06", "Page-Fault: an undefined instruction at the end is #UD"
	movw	$0x0b0f, PLAY + 0xfffe
	mov	$(PLAY + 0xfffe), %eax
	jmp	*%rax
	CASE	L64, "0d:0000", "a privileged instruction at the end is #GP at CPL 3"
	movb	$0xf4, PLAY + 0xffff
	push	$UDATA
	push	$0xc000
	push	$2
	push	$UCODE64
	push	$(PLAY + 0xffff)
	iretq
	CASE	L64, "0d:0000", "Instructions of more than 15 bytes over the end: the rest is not fetched", 3	/* they fetch first */
	movl	$0x66666666, %eax
	mov	%eax, PLAY + 0xfff1
	mov	%eax, PLAY + 0xfff5
	mov	%eax, PLAY + 0xfff9
	mov	%eax, PLAY + 0xfffc
	mov	$(PLAY + 0xfff1), %eax
	jmp	*%rax
	CASE	L64, "0e:0000@00210000", "CLFLUSH reads", Q	/* QEMU does nothing */
	clflush	PLAY + 0x10000
	CASE	L64, "30=00000000", "PREFETCH never faults"
	bts	$47, %rbx
	prefetcht0 (%rbx)
	prefetchw PLAY + 0x10000
	OK
	CASE	L64, "30=00000000", "NOP does not access its operand"
	bts	$47, %rbx
	nopl	(%rbx)
	OK
	CASE	L64, "0d:0000", "CMPXCHG16B: not aligned"
	cmpxchg16b PLAY + 8
	CASE	L64, "0e:0003@00200000", "CMPXCHG that does not store needs the right to", Q	/* QEMU stores only if equal */
	movl	$0x50005, PT
	mov	$1, %eax
	cmpxchg	%bl, PLAY
	CASE	L64, "0e:0002@00210000", "PUSH of memory to a page that is not present"
	mov	$(PLAY + 0x10008), %esp
	movl	$0xb000, TSS + 0x24
	movb	$1, IDT64 + 14 * 16 + 4
	push	PLAY
	CASE	L64, "0e:0002@00210000", "REP MOVS stops at the page that is not present"
	mov	$PLAY, %esi
	mov	$(PLAY + 0xfffc), %edi
	mov	$16, %ecx
	rep movsb
	CASE	L64, "0e:0002@00210000", "A store over the end leaves the first page alone"
	movl	%eax, PLAY + 0xfffe

/* --- LOCK: the rest of what it is for, and what it is not --- */

	.irp	op, 0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30
	LOCKED	"30=00000000", "opcode \op, mem, reg", 0, \op, 0x08
	LOCKED	"06", "opcode \op, reg, reg", 0, \op, 0xc8
	.endr
	LOCKED	"30=00000000", "DEC mem", 0, 0xff, 0x08
	LOCKED	"06", "DEC reg", 0, 0xff, 0xc8
	LOCKED	"06", "NOT reg", 0, 0xf7, 0xd0
	LOCKED	"06", "XCHG reg, reg", Q, 0x87, 0xc8
	LOCKED	"06", "XADD reg, reg", Q, 0x0f, 0xc1, 0xc8
	LOCKED	"06", "CMPXCHG reg, reg", 0, 0x0f, 0xb1, 0xc8
	LOCKED	"30=00000000", "BTC mem, reg", 0, 0x0f, 0xbb, 0x08
	LOCKED	"30=00000000", "BTR mem, reg", 0, 0x0f, 0xb3, 0x08
	LOCKED	"06", "BTS reg, reg", Q, 0x0f, 0xab, 0xc8	/* QEMU aborts: "tcg fatal error" */
	LOCKED	"30=00000000", "CMPXCHG16B", 0, 0x48, 0x0f, 0xc7, 0x08
	LOCKED	"06", "LEA", Q, 0x8d, 0x08
	LOCKED	"06", "IMUL reg, mem", Q, 0x0f, 0xaf, 0x08
	LOCKED	"06", "FLD mem", Q, 0xd9, 0x00
	LOCKED	"06", "MOVAPS mem", Q, 0x0f, 0x29, 0x00
	LOCKED	"06", "ADD AL, imm", Q, 0x04, 0x01
	LOCKED	"06", "INT n", Q, 0xcd, 0x30
	LOCKED	"06", "JMP", Q, 0xeb, 0x00
	LOCKED	"06", "CPUID", Q, 0x0f, 0xa2
	LOCKED	"06", "RDTSC", Q, 0x0f, 0x31

/* --- MSRs --- */

	MSR	"0d:0000", 0xc0000103, 1, 0, "TSC_AUX: upper half", 3	/* neither checks */
	MSR	"0d:0000", 0xda0, 0, 1, "XSS: x87 is no supervisor state", 3	/* neither has XSS */
	MSR	"0d:0000", 0x12345678, 0, 0, "one that there is not", 3	/* the same */
	MSR	"30=00000000", 0xc0000081, 0xffffffff, -1, "STAR: anything"
	MSR	"30=00000000", 0xc0000100, 0xffff8000, 0, "FS_BASE canonical"
	MSR	"0d:0000", 0x2ff, 0, 0x1000, "MTRR_DEF_TYPE: reserved bits", Q
	MSR	"0d:0000", 0x2ff, 0, 2, "MTRR_DEF_TYPE: reserved type", Q
	CASE	L64, "0d:0000", "RDMSR: one that there is not", 3	/* both read something */
	mov	$0x12345678, %ecx
	rdmsr
	CASE	L64, "30=00000500", "WRMSR: EFER.LMA is not written"
	mov	$0xc0000080, %ecx
	mov	$0x100, %eax
	xor	%edx, %edx
	wrmsr
	rdmsr
	and	$0x500, %eax
	OK
	CASE	L64, "30=00000001", "SWAPGS"
	mov	$0xc0000102, %ecx
	mov	$0x12345678, %eax
	wrmsr
	swapgs
	mov	$0xc0000101, %ecx
	rdmsr
	cmp	$0x12345678, %eax
	setz	%al
	movzbl	%al, %eax
	OK

/* --- the end of a code segment, vol. 3 "Limit Checking" --- */

	/* on in a code segment whose limit is the last byte before @end, by a far return */
	.macro	CODE_TO end
	movl	$((\end - F - 1) & 0xffff), T + FREE
	movl	$(0x00409b00 + ((\end - F - 1) & 0xf0000)), T + FREE + 4
	pushl	$FREE
	pushl	$(6f - F)
	lret
6:
	.endm
	CASE	P32, "0d:0000+00000020", "Limit Checking: the instruction behind the end of the code", Q	/* QEMU checks no limits */
	CODE_TO	1f
	nop
1:	nop
	OK
	CASE	P32, "0d:0000+00000020", "Limit Checking: an instruction over the end of the code", Q
	CODE_TO	1f
	nop
	.byte	0xb8, 0
1:	.byte	0, 0, 0
	OK
	CASE	P32, "0d:0000+0000001f", "Limit Checking: JMP beyond the end of the code", Q
	CODE_TO	1f
	jmp	1f
1:	OK
	CASE	P32, "0d:0000=00000005", "Limit Checking: LOOP beyond the end leaves ECX", Q
	mov	$5, %ecx
	mov	$5, %eax
	CODE_TO	1f
	loop	1f
1:	OK
	CASE	P32, "0d:0000", "Limit Checking: RET beyond the end of the code", Q
	CODE_TO	1f
	pushl	$0x80000
	ret
1:	OK
	CASE	P32, "0d:0000", "Limit Checking: CALL beyond the end of the code", Q
	CODE_TO	1f
	call	1f
1:	OK
	CASE	P32, "0d:0000", "Limit Checking: far JMP to an offset beyond the limit"
	movl	$0x00000fff, T + FREE
	movl	$0x00409b00, T + FREE + 4
	ljmp	$FREE, $0x1000

/* --- stacks: how wide SP is, and where it ends; vol. 3 "Stack Segments", vol. 2 "PUSH", "POP", "ENTER" --- */

	.macro	STACK16 want, title, not=0
	CASE	P16, "\want", "Stack: \title", \not
	mov	$DATA16, %ax
	mov	%ax, %ds
	.endm
	STACK16	"30=0000fffe", "a 16-bit SP wraps round"
	mov	$0, %esp
	push	%ax
	movzwl	%sp, %eax
	mov	$0xe000, %esp
	OK
	STACK16	"30=00050000", "a 16-bit SP leaves the upper half of ESP alone"
	mov	$0x50002, %esp
	push	%ax
	mov	%esp, %eax
	mov	$0xe000, %esp
	OK
	STACK16	"30=0000e000", "PUSH SP pushes what it was"
	mov	$0xe000, %esp
	push	%sp
	pop	%ax
	movzwl	%ax, %eax
	OK
	STACK16	"30=00001234", "POP SP takes what was there"
	mov	$0xe000, %esp
	pushw	$0x1234
	pop	%sp
	mov	%esp, %eax
	mov	$0xe000, %esp
	OK
	STACK16	"30=0000dffe", "ENTER: the new frame pointer"
	mov	$0xe000, %esp
	enter	$16, $0
	mov	%ebp, %eax
	OK
	STACK16	"30=0000dfea", "ENTER at level 2: SP below the display"
	mov	$0xe000, %esp
	mov	$0xd000, %ebp
	enter	$16, $2
	movzwl	%sp, %eax
	OK
	CASE	L64, "30=0000e008", "Stack: POP of memory by RSP: the address counts from behind"
	movq	$7, 8(%rsp)
	movq	$9, (%rsp)
	mov	%rsp, %rbx
	pop	(%rsp)
	cmpq	$9, 8(%rbx)
	jne	1f
	mov	%esp, %eax
1:	OK
	CASE	P32, "30=00000001", "Stack: PUSHA pushes ESP as it was"
	mov	%esp, %ebx
	pusha
	cmp	%ebx, 12(%esp)
	mov	$0, %eax
	setz	%al
	OK
	CASE	P32, "30=0000aaaa", "Stack: a 16-bit RET cuts EIP", Q	/* QEMU reads more than 16 bits of what is on the stack */
	mov	$0xaaaa, %eax
	movl	$0x00000fff + ((BASE & 0xffff) << 16), T + FREE
	movl	$0x004f9b00 + (BASE >> 16), T + FREE + 4
	pushl	$FREE
	pushl	$(1f - guest_cases_fw)
	lret
1:	pushw	$0x7fff
	pushw	$(2f - guest_cases_fw)
	data16 ret
2:	OK

/* --- what CPL 3 may ask of descriptors, vol. 2 "VERR/VERW", "LAR", "LSL", "ARPL" --- */

	.macro	ASK want, insn, sel, title
	CASE	U32, "30=\want", "\title"
	mov	$\sel, %ebx
	\insn	%bx
	setz	%al
	OK
	.endm
	ASK	00000000, verr, DATA, "VERR of DPL 0 at CPL 3"
	ASK	00000001, verr, UDATA, "VERR of DPL 3 at CPL 3"
	ASK	00000001, verr, CONFORMING, "VERR of conforming code at CPL 3"
	ASK	00000000, verr, XONLY, "VERR of execute-only code"
	ASK	00000001, verw, UDATA, "VERW of DPL 3 at CPL 3"
	ASK	00000000, verw, UCODE32, "VERW of code"
	ASK	00000000, verr, 0, "VERR of a null selector"
	ASK	00000000, verr, 0xff8, "VERR beyond the GDT"
	CASE	P32, "30=ffffffff", "LSL: in bytes, whatever the granularity"
	mov	$DATA, %ebx
	lsl	%ebx, %eax
	OK
	CASE	P32, "30=00000fff", "LSL of a limit in bytes"
	mov	$SMALL, %ebx
	lsl	%ebx, %eax
	OK
	CASE	P32, "30=00c09300", "LAR: access rights in place"
	mov	$DATA, %ebx
	lar	%ebx, %eax
	and	$0xfff0ffff, %eax	/* undefined */
	OK
	CASE	P32, "30=00000001", "LAR of a segment that is not present"
	mov	$ABSENT, %ebx
	lar	%ebx, %ecx
	setz	%al
	OK

/* --- the accessed bit of descriptors, vol. 3 "Code- and Data-Segment Descriptor Types" --- */

	CASE	P32, "30=00000093", "Accessed: MOV to DS sets it"
	SETFREE	0x0000ffff, 0x00cf9200
	mov	$FREE, %ebx
	mov	%bx, %ds
	mov	$DATA, %ebx
	mov	%bx, %ds
	movzbl	T + FREE + 5, %eax
	OK
	CASE	P32, "30=0000009b", "Accessed: far JMP sets it", Q	/* QEMU does not */
	SETFREE	0x0000ffff, 0x00cf9a00
	.byte	0xea
	.long	1f - F
	.word	FREE
1:	movzbl	T + FREE + 5, %eax
	OK
	CASE	P32, "30=00000092", "Accessed: VERW does not"
	SETFREE	0x0000ffff, 0x00cf9200
	mov	$FREE, %ebx
	verw	%bx
	movzbl	T + FREE + 5, %eax
	OK
	CASE	P32, "30=0000008b", "LTR makes the TSS busy"
	mov	$SEL_TSS2, %ebx
	ltr	%bx
	movzbl	T + SEL_TSS2 + 5, %eax
	OK
	CASE	G32, "0e:0003@000300cd", "Accessed: the table's page is read-only, WP", Q	/* QEMU writes a doubleword */
	SETFREE	0x0000ffff, 0x00cf9200
	movl	$0x30005, PT32 + 0x30 * 4
	mov	%cr3, %ebx
	mov	%ebx, %cr3
	mov	$FREE, %ebx
	mov	%bx, %ds
	OK
	CASE	G32, "30=00000000", "Accessed: nothing is written if it is set"
	SETFREE	0x0000ffff, 0x00cf9300
	movl	$0x30005, PT32 + 0x30 * 4
	mov	%cr3, %ebx
	mov	%ebx, %cr3
	mov	$FREE, %ebx
	mov	%bx, %ds
	mov	$DATA, %ebx
	mov	%bx, %ds
	movl	$0x30007, PT32 + 0x30 * 4
	mov	%cr3, %ebx
	mov	%ebx, %cr3
	OK

/* --- paging structures, vol. 3 "Accessed and Dirty Flags" --- */

	CASE	L64, "30=00000027", "Accessed and Dirty Flags: a write sets A, not D, above the page"
	movb	%al, PLAY
	movzbl	PD + 8, %eax
	OK
	CASE	L64, "30=00000067", "Accessed and Dirty Flags: CMPXCHG8B that does not match writes"
	cmpl	$0, PLAY
	incl	PLAY
	andl	$~0x40, PT
	invlpg	PLAY
	cmpxchg8b PLAY
	movzbl	PT, %eax
	OK
	CASE	L64, "30=00000007", "Accessed and Dirty Flags: a fault sets nothing in the page's entry"
	movl	$0x50003, PT
	movb	$0, PLAY + 0x1000
	movl	$0x50007, PT
	movzbl	PT, %eax
	OK
	CASE	L64, "0e:0009@40000000", "4-Level Paging: bit 13 of a PDPTE of 1 GiB is reserved", Q	/* QEMU leaves P of the error code clear */
	movl	$0x2087, PDPT + 8
	movb	0x40000000, %al

/* --- arithmetic that faults; registers of a processor --- */

	CASE	P32, "00", "AAM by 0"
	.byte	0xd4, 0
	CASE	P32, "00", "DIV: the quotient does not fit"
	mov	$1, %edx
	mov	$1, %ebx
	div	%ebx
	CASE	P32, "00", "IDIV: the quotient does not fit"
	mov	$0x80000000, %eax
	cltd
	mov	$-1, %ebx
	idiv	%ebx
	CASE	P32, "05", "BOUND: below"
	movl	$5, PLAY - 0x1a0000
	movl	$9, PLAY - 0x1a0000 + 4
	mov	$4, %eax
	bound	%eax, PLAY - 0x1a0000
	CASE	P32, "30=00000009", "BOUND: the upper bound is within"
	movl	$5, PLAY - 0x1a0000
	movl	$9, PLAY - 0x1a0000 + 4
	mov	$9, %eax
	bound	%eax, PLAY - 0x1a0000
	OK
	CASE	L64, "30=00001234", "RDPID reads TSC_AUX", 3	/* neither has RDPID */
	SETMSR	0xc0000103, 0, 0x1234
	.byte	0xf3, 0x0f, 0xc7, 0xf8
	OK
	CASE	L64, "30=00001234", "RDTSCP reads TSC_AUX"
	SETMSR	0xc0000103, 0, 0x1234
	rdtscp
	mov	%ecx, %eax
	OK
	CASE	L64, "06", "RDFSBASE without CR4.FSGSBASE"
	rdfsbase %rax
	CASE	L64, "0d:0000", "WRFSBASE: not canonical", Q	/* QEMU does not check */
	CR4_SET	0x10000
	bts	$47, %rbx
	wrfsbase %rbx
	CASE	L64, "30=00000078", "WRGSBASE, and an access by GS"
	CR4_SET	0x10000
	movb	$0x78, PLAY + 4
	mov	$PLAY, %ebx
	wrgsbase %rbx
	movzbl	%gs:4, %eax
	OK
	CASE	C32, "06", "RDFSBASE in compatibility mode"
	mov	%cr4, %eax
	or	$0x10000, %eax
	mov	%eax, %cr4
	.byte	0xf3, 0x0f, 0xae, 0xc0
	CASE	P32, "0d:0000", "UMIP: SIDT in virtual-8086 mode"
	TO_V86	0x3000, 0x800
	sidt	0x500
	CASE	P32, "30=00000000", "SIDT in virtual-8086 mode without UMIP"
	TO_V86	0x3000, 0
	sidt	0x500
	OK
	CASE	P32, "30=00000002", "SYSENTER clears IF and VM"
	SETMSR	0x174, 0, 0x10
	SETMSR	0x175, 0, 0xa000
	SETMSR	0x176, 0, 2f - F
	sti
	sysenter
2:	FLAGS	0x20202 | 2
