/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * guest-cases.S - a firmware that tries some hundreds of things that the manual allows or forbids
 *
 * It copies itself to 10000H, goes to flat protected mode and does one case after the other: tables and control
 * registers are made anew, the mode of the case is entered, its code runs. What ends the case is a vector: an exception,
 * or INT 30H ("OK"). The handler records it, and at the end all records go to COM1, a line each. sys-cases.c runs the
 * image and compares with what stands at the case: the vector, then
 *
 *	:error		if the vector has an error code
 *	=eax		of INT 30H, or wherever the case says it
 *	@cr2		of a page fault
 *	!dr6		of a debug exception: its lower 16 bits
 *	+rip		where, from the case's start, if the case says it
 *
 * CASE mode, want, section of the manual, who does not do that one (Q: QEMU, B: Bochs; why stands behind it)
 *
 * Modes: P32 flat protected mode at CPL 0, U32 at CPL 3, P16 with a 16-bit code segment, V86 (IOPL 0), V863 (IOPL 3),
 * R16 real mode, G32/GU32 with 32-bit paging, PAE/PAEU with PAE paging, L64/LU64 64-bit mode, LS64 with the low 2 MiB
 * supervisor pages, C32/CU32 compatibility mode.
 */

	.set	BASE, 0x10000
	.set	T, 0x30000	/* copy of the tables */
	.set	IDT32, T + 0x800
	.set	IDT64, T + 0x1000
	.set	TSS, T + 0x1800
	.set	TSS2, T + 0x1c00
	.set	TSS16, T + 0x1d00
	.set	LDT, T + 0x1e00
	.set	VARS, 0x38000
	.set	v_case, VARS	/* number of the case */
	.set	v_start, VARS + 4	/* where its code is */
	.set	PML4, 0x40000
	.set	PDPT, 0x41000
	.set	PD, 0x42000
	.set	PT, 0x43000	/* linear 200000H on; 64-bit entries */
	.set	PD32, 0x44000
	.set	PT32, 0x45000
	.set	PDPTE, 0x46000
	.set	PLAY, 0x200000	/* 16 pages, at 50000H on */
	.set	RECORDS, 0x70000

	.set	DATA, 0x08
	.set	CODE32, 0x10
	.set	CODE64, 0x18
	.set	CODE16, 0x20
	.set	DATA16, 0x28
	.set	UCODE32, 0x33
	.set	UDATA, 0x3b
	.set	UCODE64, 0x43
	.set	SEL_TSS, 0x48
	.set	SEL_TSS2, 0x58
	.set	SEL_TSS16, 0x60
	.set	SEL_LDT, 0x68
	.set	SEL_TASKGATE, 0x78
	.set	SEL_GATE, 0x80
	.set	ABSENT, 0x90
	.set	CONFORMING, 0x98
	.set	RDONLY, 0xa0
	.set	XONLY, 0xa8
	.set	DOWN, 0xb0
	.set	SMALL, 0xb8
	.set	DOWN16, 0xc0
	.set	FREE, 0xc8
	.set	ABSENT_CODE, 0xd8
	.set	CODE1, 0xe0
	.set	DATA1, 0xe8

	.set	M_P32, 0
	.set	M_U32, 1
	.set	M_P16, 2
	.set	M_V86, 3
	.set	M_V863, 4
	.set	M_R16, 5
	.set	M_G32, 6
	.set	M_GU32, 7
	.set	M_PAE, 8
	.set	M_PAEU, 9
	.set	M_L64, 10
	.set	M_LU64, 11
	.set	M_LS64, 12
	.set	M_C32, 13
	.set	M_CU32, 14

	.set	Q, 1
	.set	B, 2

	.section .rodata.cases, "a"
	.globl	guest_cases_fw, guest_cases_end, guest_cases, guest_cases_skip
	.balign	16
guest_cases_fw:
	.set	F, guest_cases_fw - BASE	/* label - F: its address in the guest */

	.macro	MODE_CODE mode
	.ifc \mode, P16
	.code16
	.else
	.ifc \mode, V86
	.code16
	.else
	.ifc \mode, V863
	.code16
	.else
	.ifc \mode, R16
	.code16
	.else
	.ifc \mode, L64
	.code64
	.else
	.ifc \mode, LU64
	.code64
	.else
	.ifc \mode, LS64
	.code64
	.else
	.code32
	.endif
	.endif
	.endif
	.endif
	.endif
	.endif
	.endif
	.endm

	/* Names of the cases stay with the host: guest_cases[] of sys-cases.c. */
	.macro	CASE mode, want, title, not=0
	.subsection 1
	.word	7f - guest_cases_fw
	.byte	M_\mode, \not
	.section .rodata.str, "a"
8:	.asciz	"\want"
9:	.asciz	"\mode: \title"
	.section .data.rel.ro.cases, "aw"
	.quad	8b, 9b, \not
	.section .rodata.cases, "a"
	.subsection 0
7:
	MODE_CODE \mode
	.endm
	.macro	OK
	int	$0x30
	.endm

	/* --- start: real mode, from the reset vector --- */

	.code16
start:	cli
	cld
	mov	$0xf000, %ax
	mov	%ax, %ds
	mov	$0x1000, %ax
	mov	%ax, %es
	xor	%si, %si
	xor	%di, %di
	mov	$0x4000, %cx
	rep movsl
	ljmp	$0x1000, $(1f - guest_cases_fw)
1:	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	gdtr - guest_cases_fw
	mov	$0x31, %eax
	mov	%eax, %cr0
	ljmpl	$CODE32, $(2f - F)
	.code32
2:	mov	$DATA, %eax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	movl	$0, v_case

	/* --- the next case: everything as it is at the start of each --- */

next:	mov	$DATA, %eax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0xf000, %esp
	mov	$0x31, %eax
	mov	%eax, %cr0
	mov	v_case, %ebp
	cmp	$((cases_end - cases) / 4), %ebp
	je	report
	mov	cases - F + 3(, %ebp, 4), %al
	test	%al, guest_cases_skip - F
	jz	1f
	incl	v_case
	jmp	next
1:
	cld
	mov	$(tables - F), %esi
	mov	$T, %edi
	mov	$((tables_end - tables) / 4), %ecx
	rep movsl
	call	make_idt
	mov	$PML4, %edi
	xor	%eax, %eax
	mov	$0x1c00, %ecx
	rep stosl
	movl	$(PDPT + 7), PML4
	movl	$(PD + 7), PDPT
	movl	$0x87, PD
	movl	$(PT + 7), PD + 8
	movl	$0x87, PD32
	movl	$(PT32 + 7), PD32
	movl	$(PD + 1), PDPTE
	mov	$PT32, %edi	/* 32-bit paging has one table for the low 4 MiB */
	mov	$7, %eax
1:	mov	%eax, (%edi)
	add	$4, %edi
	add	$0x1000, %eax
	cmp	$0x200007, %eax
	jb	1b
	mov	$0x50007, %eax
	mov	$PT, %esi
2:	mov	%eax, (%edi)
	mov	%eax, (%esi)
	add	$4, %edi
	add	$8, %esi
	add	$0x1000, %eax
	cmp	$0x60007, %eax
	jb	2b
	mov	$0x50000, %edi
	xor	%eax, %eax
	mov	$0x4000, %ecx
	rep stosl
	mov	$0x40200, %eax
	mov	%eax, %cr4
	xor	%ecx, %ecx
	xor	%edx, %edx
	mov	$1, %eax
	xsetbv
	fninit
	movl	$0x1f80, VARS + 8
	ldmxcsr	VARS + 8
	xor	%eax, %eax
	mov	%eax, %cr4
	mov	%eax, %cr3
	mov	%eax, %cr2
	mov	%eax, %dr0
	mov	%eax, %dr1
	mov	$0x400, %eax
	mov	%eax, %dr7
	mov	$0xffff0ff0, %eax
	mov	%eax, %dr6
	mov	$0xc0000080, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	lgdt	gdtr_t - F
	lidt	idtr32 - F
	ljmp	$CODE32, $(1f - F)
1:	xor	%eax, %eax
	lldt	%ax
	mov	%ax, %fs
	mov	%ax, %gs
	mov	$SEL_TSS, %eax
	ltr	%ax
	pushl	$2
	popfl
	movzwl	cases - F(, %ebp, 4), %ebx
	add	$BASE, %ebx
	mov	%ebx, v_start
	movzbl	cases - F + 2(, %ebp, 4), %eax
	mov	enter - F(, %eax, 4), %eax
	jmp	*%eax
	.balign	4
enter:	.long	e_p32 - F, e_u32 - F, e_p16 - F, e_v86 - F, e_v863 - F, e_r16 - F, e_g32 - F, e_gu32 - F
	.long	e_pae - F, e_paeu - F, e_l64 - F, e_lu64 - F, e_ls64 - F, e_c32 - F, e_cu32 - F

	/* general registers but RSP are 0 when a case starts */
	.macro	ZERO
	xor	%eax, %eax
	xor	%ebx, %ebx
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%ebp, %ebp
	.endm

e_p32:	mov	$0xe000, %esp
	push	%ebx
	ZERO
	ret
user32:	mov	$UDATA, %eax
	mov	%ax, %ds
	mov	%ax, %es
	pushl	$UDATA
	pushl	$0xc000
	pushl	$2
	pushl	$UCODE32
	push	%ebx
	ZERO
	iret
e_u32 = user32
e_p16:	mov	$DATA16, %eax
	mov	%ax, %ss
	mov	$0xe000, %esp
	pushl	$CODE16
	sub	$BASE, %ebx
	push	%ebx
	ZERO
	lret
e_v863:	mov	$0x23002, %edx
	jmp	1f
e_v86:	mov	$0x20002, %edx
1:	pushl	$0	/* GS, FS, DS, ES */
	pushl	$0
	pushl	$0
	pushl	$0
	pushl	$0	/* SS, ESP */
	pushl	$0xc000
	push	%edx
	pushl	$(BASE >> 4)
	sub	$BASE, %ebx
	push	%ebx
	ZERO
	iret
e_r16:	sub	$BASE, %ebx
	mov	$DATA16, %eax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %fs
	mov	%ax, %gs
	mov	%ax, %ss
	ljmp	$CODE16, $(1f - guest_cases_fw)
	.code16
1:	mov	$0x30, %eax
	mov	%eax, %cr0
	ljmp	$(BASE >> 4), $(1f - guest_cases_fw)
1:	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %fs
	mov	%ax, %gs
	mov	%ax, %ss
	mov	$0xc000, %esp
	lidtl	%cs:idtr16 - guest_cases_fw
	pushw	%bx
	xor	%eax, %eax
	mov	%eax, %ebx
	mov	%eax, %ecx
	mov	%eax, %edx
	mov	%eax, %esi
	mov	%eax, %edi
	mov	%eax, %ebp
	ret
	.code32

	.macro	PAGING cr3, cr4
	mov	$\cr4, %eax
	mov	%eax, %cr4
	mov	$\cr3, %eax
	mov	%eax, %cr3
	.endm
	.macro	PAGING_ON
	mov	$0x80010031, %eax	/* with WP */
	mov	%eax, %cr0
	.endm
	.macro	LONG_ON
	movl	$0, TSS + 8	/* upper half of RSP0 */
	PAGING	PML4, 0x620	/* PAE, OSFXSR, OSXMMEXCPT */
	mov	$0xc0000080, %ecx
	mov	$0x901, %eax	/* NXE, LME, SCE */
	xor	%edx, %edx
	wrmsr
	PAGING_ON
	.endm
e_g32:	PAGING	PD32, 0x10
	PAGING_ON
	jmp	e_p32
e_gu32:	PAGING	PD32, 0x10
	PAGING_ON
	jmp	user32
	.macro	PAE_ON
	PAGING	PDPTE, 0x20
	mov	$0xc0000080, %ecx
	mov	$0x800, %eax
	xor	%edx, %edx
	wrmsr
	PAGING_ON
	.endm
e_pae:	PAE_ON
	jmp	e_p32
e_paeu:	PAE_ON
	jmp	user32
e_ls64:	andl	$~4, PD	/* supervisor */
e_l64:	LONG_ON
	lidt	idtr64 - F
	ljmp	$CODE64, $(1f - F)
	.code64
1:	mov	$0xe000, %esp
	push	%rbx
	call	zero64
	ret
zero64:	ZERO
	xor	%r8d, %r8d
	ret
	.code32
e_lu64:	LONG_ON
	lidt	idtr64 - F
	ljmp	$CODE64, $(1f - F)
	.code64
1:	mov	$UDATA, %eax
	mov	%ax, %ds
	mov	%ax, %es
	push	$UDATA
	push	$0xc000
	push	$2
	push	$UCODE64
	push	%rbx
	call	zero64
	iretq
	.code32
e_c32:	LONG_ON
	lidt	idtr64 - F
	jmp	e_p32
e_cu32:	LONG_ON
	lidt	idtr64 - F
	jmp	user32

	/* --- handlers --- */

	/* Gates to the stubs, 16 bytes of code a vector; in real mode 8 */
make_idt:
	mov	$IDT32, %edi
	mov	$IDT64, %esi
	mov	$(stubs32 - F), %eax
	mov	$(stubs64 - F), %edx
	mov	$0x31, %ecx
1:	mov	%ax, (%edi)
	movw	$CODE32, 2(%edi)
	movw	$0x8e00, 4(%edi)
	movw	$(BASE >> 16), 6(%edi)
	mov	%dx, (%esi)
	movw	$CODE64, 2(%esi)
	movw	$0x8e00, 4(%esi)
	movw	$(BASE >> 16), 6(%esi)
	movl	$0, 8(%esi)
	movl	$0, 12(%esi)
	add	$8, %edi
	add	$16, %esi
	add	$16, %eax
	add	$16, %edx
	loop	1b
	movb	$0xee, IDT32 + 0x30 * 8 + 5	/* INT3, INTO, INT 30H from everywhere */
	movb	$0xee, IDT64 + 0x30 * 16 + 5
	movb	$0xee, IDT32 + 3 * 8 + 5
	movb	$0xee, IDT64 + 3 * 16 + 5
	movb	$0xee, IDT32 + 4 * 8 + 5
	movb	$0xee, IDT64 + 4 * 16 + 5
	mov	$(stubs16 - guest_cases_fw), %eax
	xor	%edi, %edi
	mov	$0x31, %ecx
2:	mov	%ax, (%edi)
	movw	$(BASE >> 4), 2(%edi)
	add	$4, %edi
	add	$8, %eax
	loop	2b
	ret

	.macro	STUBS name, common
	.balign	16
\name:
	.set	i, 0
	.rept	0x31
	.balign	16
	.if	i != 8 && (i < 10 || i > 14) && i != 17
	push	$0
	.endif
	push	$i
	jmp	\common
	.set	i, i + 1
	.endr
	.endm
	STUBS	stubs32, common32
	.code64
	STUBS	stubs64, common64
	.code16
	.balign	8
stubs16:
	.set	i, 0
	.rept	0x31
	.balign	8
	push	$i
	jmp	common16
	.set	i, i + 1
	.endr

	/* record: vector, error code, RIP from the start, CS, flags, EAX, CR2, DR6 */
	.code32
common32:
	push	%eax
	mov	$DATA, %eax
	mov	%ax, %ds
	mov	%ax, %es
	mov	v_case, %edi
	shl	$5, %edi
	add	$RECORDS, %edi
	mov	%esp, %esi
	mov	4(%esi), %eax
	mov	%eax, (%edi)
	mov	8(%esi), %eax
	mov	%eax, 4(%edi)
	mov	12(%esi), %eax
	mov	%eax, 8(%edi)
	mov	16(%esi), %eax
	mov	%eax, 12(%edi)
	mov	20(%esi), %eax
	mov	%eax, 16(%edi)
	mov	(%esi), %eax
	mov	%eax, 20(%edi)
	mov	%cr2, %eax
	mov	%eax, 24(%edi)
	mov	%dr6, %eax
	mov	%eax, 28(%edi)
	incl	v_case
	jmp	next

	.code64
common64:
	push	%rax
	mov	v_case, %edi
	shl	$5, %edi
	add	$RECORDS, %edi
	mov	%rsp, %rsi
	mov	8(%rsi), %eax
	mov	%eax, (%rdi)
	mov	16(%rsi), %eax
	mov	%eax, 4(%rdi)
	mov	24(%rsi), %eax
	mov	%eax, 8(%rdi)
	mov	32(%rsi), %eax
	mov	%eax, 12(%rdi)
	mov	40(%rsi), %eax
	mov	%eax, 16(%rdi)
	mov	(%rsi), %eax
	mov	%eax, 20(%rdi)
	mov	%cr2, %rax
	mov	%eax, 24(%rdi)
	mov	%dr6, %rax
	mov	%eax, 28(%rdi)
	incl	v_case
	mov	$0xf000, %esp
	mov	%cr4, %rax	/* PCIDE forbids to leave */
	and	$~0x20000, %eax
	mov	%rax, %cr4
	push	$CODE32
	push	$(1f - F)
	lretq
	.code32
1:	mov	$0x31, %eax
	mov	%eax, %cr0
	mov	$0xc0000080, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	jmp	next

	.code16
common16:
	mov	%esp, %esi
	movzx	%si, %esi
	push	%eax
	xor	%ax, %ax
	mov	%ax, %ss
	mov	%ax, %ds
	addr32 movzwl (%esi), %ebp
	addr32 movzwl 2(%esi), %ebx
	addr32 movzwl 4(%esi), %ecx
	addr32 movzwl 6(%esi), %edx
	pop	%eax
	mov	%eax, %esi
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	gdtr_t - guest_cases_fw
	mov	$0x31, %eax
	mov	%eax, %cr0
	ljmpl	$CODE32, $(1f - F)
	.code32
1:	mov	$DATA, %eax
	mov	%ax, %ds
	mov	v_case, %edi
	shl	$5, %edi
	add	$RECORDS, %edi
	mov	%ebp, (%edi)
	movl	$0, 4(%edi)
	add	$BASE, %ebx
	mov	%ebx, 8(%edi)
	mov	%ecx, 12(%edi)
	mov	%edx, 16(%edi)
	mov	%esi, 20(%edi)
	mov	%cr2, %eax
	mov	%eax, 24(%edi)
	mov	%dr6, %eax
	mov	%eax, 28(%edi)
	incl	v_case
	jmp	next

	/* --- the end: 8 hexadecimal numbers a case, to COM1, then off --- */

report:	mov	$0x3fb, %edx	/* 8 data bits */
	mov	$3, %al
	out	%al, %dx
	xor	%ebp, %ebp
1:	mov	%ebp, %esi
	shl	$5, %esi
	add	$RECORDS, %esi
	movzwl	cases - F(, %ebp, 4), %eax
	add	$BASE, %eax
	sub	%eax, 8(%esi)
	mov	$8, %edi
2:	lodsl
	mov	%eax, %ebx
	mov	$8, %ecx
3:	rol	$4, %ebx
	mov	%ebx, %eax
	and	$15, %al
	add	$'0', %al
	cmp	$'9', %al
	jbe	4f
	add	$('a' - '0' - 10), %al
4:	call	g_putc
	loop	3b
	mov	$' ', %al
	call	g_putc
	dec	%edi
	jnz	2b
	mov	$'\n', %al
	call	g_putc
	inc	%ebp
	cmp	v_case, %ebp
	jb	1b
	mov	$0x3fd, %edx	/* all sent? */
1:	in	%dx, %al
	test	$0x40, %al
	jz	1b
	mov	$0x8900, %edx	/* Bochs: off */
	mov	$(off_s - F), %esi
	mov	$8, %ecx
	rep outsb
	mov	$0xf4, %edx	/* QEMU, and the test's own machine */
	out	%al, %dx
	hlt
g_putc:	push	%eax
	mov	$0x3fd, %edx
1:	in	%dx, %al
	test	$0x20, %al
	jz	1b
	pop	%eax
	mov	$0x3f8, %edx
	out	%al, %dx
	ret
off_s:	.ascii	"Shutdown"
guest_cases_skip: .byte 0			/* Q or B: not what is marked so */

	/* --- tables --- */

	.macro	DESC base, limit, access, flags
	.word	(\limit) & 0xffff
	.word	(\base) & 0xffff
	.byte	(\base) >> 16 & 0xff
	.byte	\access
	.byte	(\flags) << 4 | ((\limit) >> 16 & 15)
	.byte	(\base) >> 24 & 0xff
	.endm
	.balign	16
tables:	.quad	0
	DESC	0, 0xfffff, 0x93, 12	/* 08 DATA */
	DESC	0, 0xfffff, 0x9b, 12	/* 10 CODE32 */
	DESC	0, 0xfffff, 0x9b, 10	/* 18 CODE64 */
	DESC	BASE, 0xffff, 0x9b, 0	/* 20 CODE16 */
	DESC	0, 0xffff, 0x93, 0	/* 28 DATA16 */
	DESC	0, 0xfffff, 0xfb, 12	/* 30 UCODE32 */
	DESC	0, 0xfffff, 0xf3, 12	/* 38 UDATA */
	DESC	0, 0xfffff, 0xfb, 10	/* 40 UCODE64 */
	DESC	TSS, 0x200, 0x89, 0	/* 48 TSS; base 63..32 follows */
	.quad	0
	DESC	TSS2, 0x67, 0x89, 0	/* 58 */
	DESC	TSS16, 0x2b, 0x81, 0	/* 60 */
	DESC	LDT, 0x1f, 0x82, 0	/* 68 */
	.quad	0
	.word	0, SEL_TSS2, 0x8500, 0	/* 78 SEL_TASKGATE */
	.word	gated - guest_cases_fw, CODE32, 0xec00, BASE >> 16	/* 80 SEL_GATE */
	.quad	0
	DESC	0, 0xfffff, 0x13, 12	/* 90 ABSENT */
	DESC	0, 0xfffff, 0x9e, 12	/* 98 CONFORMING */
	DESC	0, 0xfffff, 0x91, 12	/* a0 RDONLY */
	DESC	0, 0xfffff, 0x99, 12	/* a8 XONLY */
	DESC	0, 0xfff, 0x97, 4	/* b0 DOWN */
	DESC	0, 0xfff, 0x93, 4	/* b8 SMALL */
	DESC	0, 0xfff, 0x97, 0	/* c0 DOWN16 */
	.quad	0, 0	/* c8 FREE */
	DESC	0, 0xfffff, 0x1b, 12	/* d8 ABSENT_CODE */
	DESC	0, 0xfffff, 0xbb, 12	/* e0 CODE1 */
	DESC	0, 0xfffff, 0xb3, 12	/* e8 DATA1 */
	.org	tables + 0x1800
	.long	0, 0xd000, DATA	/* TSS: ESP0, and RSP0 after the same 4 bytes */
	.fill	22, 4, 0
	.word	0, 0x68
	.fill	0x18, 4, 0	/* ports 0 to 2FFH are allowed */
	.fill	0x38, 4, -1
	.org	tables + 0x1c00
	.long	0, 0xa800, DATA, 0, 0, 0, 0, 0	/* TSS2 */
	.long	task2 - F, 2
	.long	0, 0, 0, 0, 0xb000, 0, 0, 0
	.long	DATA, CODE32, DATA, DATA, DATA, DATA, 0
	.word	0, 0x68
	.org	tables + 0x1d00
	.word	0, 0xa800, DATA, 0, 0, 0, 0	/* TSS16 */
	.word	task16 - guest_cases_fw, 2
	.word	0, 0, 0, 0, 0xb000, 0, 0, 0
	.word	DATA, CODE16, DATA, DATA, 0
	.org	tables + 0x1e00
	DESC	0, 0xfffff, 0x93, 12	/* LDT: 04 data, 0c code */
	DESC	0, 0xfffff, 0x9b, 12
	.quad	0, 0
tables_end:
gdtr:	.word	0xff
	.long	tables - F
gdtr_t:	.word	0xff
	.long	T
idtr32:	.word	0x31 * 8 - 1
	.long	IDT32
idtr64:	.word	0x31 * 16 - 1
	.long	IDT64, 0
idtr16:	.word	0x3ff
	.long	0

	/* Where gates and tasks lead: each ends its case. */
	.code32
gated:	mov	%cs, %eax
	OK
task2:	str	%ax
	OK
	iret
	.code16
task16:	mov	$0xb000, %esp	/* its upper half is undefined after a 16-bit TSS */
	xor	%eax, %eax
	str	%ax
	OK

	.subsection 1
cases:
	.section .data.rel.ro.cases, "aw"
	.balign	8
guest_cases:
	.section .rodata.cases, "a"
	.subsection 0

#include "guest-cases-list.S"
#include "guest-cases-more.S"

	.subsection 1
cases_end:
	.section .data.rel.ro.cases, "aw"
	.quad	0, 0, 0
	.section .rodata.cases, "a"
	.subsection 2
guest_cases_end:
	.previous
	.code64
	.text

	.section .note.GNU-stack, "", @progbits
