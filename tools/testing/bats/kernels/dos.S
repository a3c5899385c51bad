/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dos.S - 16-bit code as people ran it: a boot sector, a kernel with an INT 21H, and a program that uses segments,
 * far calls, strings, decimal arithmetic, timer ticks and exceptions
 *
 * With -DV86 the program, the kernel and the BIOS run in virtual-8086 mode, with paging, under a monitor that does for
 * them what IOPL 0 keeps from them; with -DV86=2 the processor does most of that (CR4.VME). What they print is the same.
 * A run ends by the debug-exit port with 10H.
 */
	.set	PROGRAM, 0x2000		/* segments: the program's, */
	.set	FAR, 0x3000		/* of what it calls, */
	.set	SIEVE, 0x4000		/* and of 64 KiB */
	.set	IDT, 0x60000
	.set	TSS, 0x61000		/* with the bitmaps of interrupts and ports */
	.set	PAGES, 0x64000
	.set	STACK0, 0x66000
	.set	SECTORS, (image_end - _start - 1) / 512

	.code16
	.globl	_start
_start:	ljmp	$0, $1f
1:	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7c00, %sp
	mov	%dl, drive
	/* the rest of the image, behind this sector as on the disk */
	mov	$0x0200 + SECTORS, %ax
	mov	$0x7e00, %bx
	mov	$0x0002, %cx
	xor	%dh, %dh
	int	$0x13
	jnc	kernel
	mov	$0x33, %al
	/* the run ends with AL */
end:	mov	$0xf4, %dx
	out	%al, %dx
	hlt
	jmp	end
drive:	.byte	0
	.org	510
	.word	0xaa55

/* --- the kernel, in segment 0 --- */

kernel:	movw	$int21, 0x21 * 4
	mov	%cs, 0x21 * 4 + 2
	/* A sector written has to be there afterwards: for who looks at the disk. */
	mov	$0x0301, %ax
	mov	$note, %bx
	mov	$0x0033, %cx
	mov	drive, %dl
	xor	%dh, %dh
	int	$0x13
	mov	$0x34, %al
	jc	end
#ifdef V86
	jmp	monitor
v86:
#endif
	mov	$program, %si
	mov	$PROGRAM, %ax
	mov	%ax, %es
	mov	$0x100, %di
	mov	$program_end - program, %cx
	cld
	rep movsb
	mov	%ax, %ds
	mov	%ax, %ss
	mov	$0xfffe, %sp
	sti
	ljmp	$PROGRAM, $0x100

/* AH = 2: character DL; 9: string DS:DX, which ends with '$'; 0AH: a line into DS:DX; 25H: vector AL is DS:DX; 4CH: end */
int21:	cmp	$0x02, %ah
	je	putc
	cmp	$0x09, %ah
	je	puts
	cmp	$0x0a, %ah
	je	gets
	cmp	$0x25, %ah
	je	vector
	cmp	$0x4c, %ah
	jne	2f
	mov	%al, %cs:code
	cmp	$7, %al
	mov	$0x10, %al
	je	end
	mov	$0x35, %al
	jmp	end
2:	mov	$0x36, %al
	jmp	end
code:	.byte	0

putc:	pusha
	mov	%dl, %al
	mov	$0x0e, %ah
	mov	$7, %bx
	int	$0x10
	popa
	iret
puts:	pusha
	mov	%dx, %si
1:	lodsb
	cmp	$'$', %al
	je	2f
	mov	$0x0e, %ah
	mov	$7, %bx
	int	$0x10
	jmp	1b
2:	popa
	iret
gets:	pusha
	push	%es
	push	%ds
	pop	%es
	mov	%dx, %di
	mov	(%di), %ch
	xor	%cl, %cl
	inc	%di
	inc	%di
1:	mov	$0, %ah
	int	$0x16
	cmp	$13, %al
	je	2f
	cmp	%ch, %cl
	jae	1b
	stosb
	inc	%cl
	jmp	1b
2:	mov	%dx, %di
	mov	%cl, 1(%di)
	pop	%es
	popa
	iret
vector:	push	%es
	push	%bx
	xor	%bx, %bx
	mov	%bx, %es
	mov	%al, %bl
	shl	$2, %bx
	mov	%dx, %es:(%bx)
	mov	%ds, %es:2(%bx)
	pop	%bx
	pop	%es
	iret

	.balign 512
note:	.ascii	"written by INT 13H"
	.balign 512

/* --- the program, at PROGRAM:100 --- */

	.set	P, program - 0x100
	.macro	SAY s
	mov	$9f - P, %dx
	mov	$9, %ah
	int	$0x21
	jmp	8f
9:	.ascii	"\s\()$"
8:
	.endm

program: push	%cs
	pop	%ds
	push	%cs
	pop	%es
	SAY	"Type a line:\r\n"
	mov	$line - P, %dx
	mov	$0x0a, %ah
	int	$0x21

	/* backwards, in capitals */
	SAY	"backwards="
	mov	line + 1 - P, %cl
	xor	%ch, %ch
	push	%cx
	mov	$line + 1 - P, %si
	add	%cx, %si
	mov	$other - P, %di
	jcxz	2f
1:	std
	lodsb
	cmp	$'a', %al
	jb	3f
	cmp	$'z', %al
	ja	3f
	sub	$'a' - 'A', %al
3:	cld
	stosb
	loop	1b
2:	movb	$'$', (%di)
	mov	$other - P, %dx
	mov	$9, %ah
	int	$0x21
	call	newline

	/* the checksum of sum -r */
	SAY	"sum="
	pop	%cx
	mov	$line + 2 - P, %si
	xor	%bx, %bx
	xor	%ax, %ax
	jcxz	2f
1:	lodsb
	ror	$1, %bx
	add	%ax, %bx
	loop	1b
2:	mov	%bx, %ax
	call	decimal

	/* primes below 65536, in a segment of that size */
	SAY	"primes="
	mov	$SIEVE, %ax
	mov	%ax, %es
	xor	%di, %di
	xor	%ax, %ax
	mov	$0x8000, %cx
	rep stosw
	movw	$0x0101, %es:0
	mov	$2, %si
1:	cmpb	$0, %es:(%si)
	jne	3f
	mov	%si, %ax
	mul	%ax
	test	%dx, %dx
	jnz	4f
	mov	%ax, %di
2:	movb	$1, %es:(%di)
	add	%si, %di
	jnc	2b
3:	inc	%si
	jmp	1b
4:	push	%ds
	push	%es
	pop	%ds
	xor	%si, %si
	xor	%cx, %cx
	xor	%bx, %bx
1:	lodsb
	sub	$1, %al
	adc	$0, %bx
	loop	1b
	pop	%ds
	mov	%bx, %ax
	call	decimal

	/* 2 to the power of 100, by decimal additions */
	SAY	"power="
	push	%ds
	pop	%es
	mov	$bcd - P, %di
	xor	%ax, %ax
	mov	$8, %cx
	rep stosw
	movb	$1, bcd - P
	mov	$100, %bx
1:	mov	$bcd - P, %si
	mov	$16, %cx
	clc
2:	mov	(%si), %al
	adc	%al, %al
	daa
	mov	%al, (%si)
	inc	%si
	loop	2b
	dec	%bx
	jnz	1b
	mov	$16, %cx
	mov	$digits - P, %bx
3:	dec	%si
	mov	(%si), %al
	aam	$16
	push	%ax
	mov	%ah, %al
	xlat
	call	char
	pop	%ax
	xlat
	call	char
	loop	3b
	call	newline

	/* far calls: a factorial that calls itself, and frees its argument */
	SAY	"factorial="
	mov	$FAR, %ax
	mov	%ax, %es
	xor	%di, %di
	mov	$factorial - P, %si
	mov	$factorial_end - factorial, %cx
	rep movsb
	mov	%sp, save - P
	push	$7
	lcall	*where - P
	cmp	%sp, save - P
	jne	lost
	call	decimal
	/* pointers: LDS, LES, and a comparison */
	push	%ds
	les	where - P, %di
	mov	$factorial - P, %si
	mov	$factorial_end - factorial, %cx
	repe cmpsb
	pop	%ds
	jne	lost
	SAY	"equal\r\n"

	/* exceptions through the vectors */
	mov	$divide - P, %dx
	mov	$0x2500, %ax
	int	$0x21
	mov	$1234, %ax
	xor	%bl, %bl
	div	%bl			/* the handler goes on behind it */
	call	decimal
	mov	$range - P, %dx
	mov	$0x2505, %ax
	int	$0x21
	mov	$11, %ax
	bound	%ax, bounds - P
	mov	$overflow - P, %dx
	mov	$0x2504, %ax
	int	$0x21
	mov	$0x7fff, %ax
	inc	%ax
	into
	mov	$breakpoint - P, %dx
	mov	$0x2503, %ax
	int	$0x21
	int3
	mov	$step - P, %dx
	mov	$0x2501, %ax
	int	$0x21
	pushf
	pop	%ax
	or	$0x100, %ax
	push	%ax
	popf
	xor	%ax, %ax
	mov	$3, %cx
1:	inc	%ax			/* the eighth step is the third LOOP */
	loop	1b
	nop
	SAY	"stepped="
	mov	seen - P, %ax
	call	decimal

	/* interrupts: three ticks, one awaited after the other */
	mov	$tick - P, %dx
	mov	$0x251c, %ax
	int	$0x21
1:	hlt
	cmpb	$3, ticks - P
	jb	1b
	cli
	pushf
	sti
	pushf
	pop	%ax
	pop	%bx
	and	$0x200, %ax
	and	$0x200, %bx
	shl	$1, %bx
	or	%bx, %ax
	push	%ax
	SAY	"interrupt flag="
	pop	%ax
	call	decimal
	SAY	"end\r\n"
	mov	$0x4c07, %ax
	int	$0x21
lost:	mov	$0x4c01, %ax
	int	$0x21

char:	pusha
	mov	%al, %dl
	mov	$2, %ah
	int	$0x21
	popa
	ret
newline: mov	$13, %al
	call	char
	mov	$10, %al
	jmp	char
decimal: mov	$10, %bx			/* AX, and a new line */
	xor	%cx, %cx
1:	xor	%dx, %dx
	div	%bx
	push	%dx
	inc	%cx
	test	%ax, %ax
	jnz	1b
2:	pop	%ax
	add	$'0', %al
	call	char
	loop	2b
	jmp	newline

	/* of the word on the stack, into AX */
factorial: enter $2, $0
	mov	6(%bp), %ax
	mov	%ax, -2(%bp)
	cmp	$1, %ax
	jbe	1f
	dec	%ax
	push	%ax
	push	%cs
	call	factorial
	mulw	-2(%bp)
1:	leave
	lret	$2
factorial_end:
where:	.word	0, FAR

divide:	push	%bp
	mov	%sp, %bp
	addw	$2, 2(%bp)
	pop	%bp
	mov	$2828, %ax
	iret
range:	push	%bp
	mov	%sp, %bp
	addw	$4, 2(%bp)
	pop	%bp
	SAY	"bound\r\n"
	iret
overflow: SAY	"overflow\r\n"
	iret
breakpoint: SAY	"breakpoint\r\n"
	iret
step:	push	%bp
	mov	%sp, %bp
	incw	%cs:steps - P
	cmpw	$8, %cs:steps - P
	jb	1f
	mov	%ax, %cs:seen - P
	andw	$~0x100, 6(%bp)
1:	pop	%bp
	iret
tick:	incb	%cs:ticks - P
	iret

steps:	.word	0
seen:	.word	0
ticks:	.byte	0
save:	.word	0
bounds:	.word	1, 10
digits:	.ascii	"0123456789abcdef"
bcd:	.fill	16
line:	.byte	80, 0
	.fill	80
other:	.fill	81
program_end:

/* --- the monitor --- */

#ifdef V86
	.set	VM, 1 << 17
	.set	VIF, 1 << 19
	.set	VIP, 1 << 20
	.set	IF, 1 << 9
	.set	TF, 1 << 8
	/* of an exception's frame behind PUSHA */
	.set	f_vec, 32
	.set	f_err, 36
	.set	f_ip, 40
	.set	f_cs, 44
	.set	f_flags, 48
	.set	f_sp, 52
	.set	f_ss, 56

monitor: cli
	/* PICs: as they are, but at vectors 50H to 5FH, where they meet no exception */
	mov	$0x11, %al
	out	%al, $0x20
	out	%al, $0xa0
	mov	$0x50, %al
	out	%al, $0x21
	mov	$0x58, %al
	out	%al, $0xa1
	mov	$4, %al
	out	%al, $0x21
	mov	$2, %al
	out	%al, $0xa1
	mov	$1, %al
	out	%al, $0x21
	out	%al, $0xa1
	mov	$0xfe, %al		/* the timer alone */
	out	%al, $0x21
	mov	$0xff, %al
	out	%al, $0xa1
	lgdtl	gdtr
	lidtl	idtr
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$0x08, $1f
	.code32
1:	mov	$0x10, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$STACK0, %esp
	/* gates: interrupt gates of DPL 0; INT3 and INTO, whose DPL counts, of DPL 3 */
	mov	$stubs, %eax
	mov	$IDT, %edi
	xor	%ecx, %ecx
2:	mov	%eax, %edx
	movw	%dx, (%edi)
	movw	$0x08, 2(%edi)
	movw	$0x8e00, 4(%edi)
	movw	$0, 6(%edi)
	add	$16, %eax
	add	$8, %edi
	inc	%ecx
	cmp	$0x60, %ecx
	jb	2b
	movb	$0xee, IDT + 3 * 8 + 5
	movb	$0xee, IDT + 4 * 8 + 5
	/* TSS: no interrupt and no port is kept from the program */
	mov	$TSS, %edi
	xor	%eax, %eax
	mov	$(104 + 32 + 8192) / 4, %ecx
	rep stosl
	movb	$0xff, (%edi)
	movl	$STACK0, TSS + 4
	movl	$0x10, TSS + 8
	movw	$104 + 32, TSS + 102
	mov	$0x18, %ax
	ltr	%ax
	/* one page of 4 MiB */
	movl	$0x87, PAGES
	mov	$PAGES, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$0x10 + V86 - 1, %eax	/* PSE, VME */
	mov	%eax, %cr4
	mov	%cr0, %eax
	or	$0x80010000, %eax
	mov	%eax, %cr0
	xor	%eax, %eax
	push	%eax
	push	%eax
	push	%eax
	push	%eax
	push	%eax
	push	$0x7c00
	push	$VM | IF | 2
	push	%eax
	push	$v86
	iretl

	.balign 16
stubs:	.set	v, 0
	.rept	0x60
	.balign 16
	.if	v != 8 && (v < 10 || v > 14) && v != 17
	push	$0
	.endif
	push	$v
	jmp	trap
	.set	v, v + 1
	.endr

trap:	pushal
	cld
	mov	$0x10, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	f_vec(%esp), %ecx
	sub	$0x50, %ecx
	jb	exception
	bts	%ecx, pending
	testl	$VM, f_flags(%esp)
	jnz	back
	popal				/* in the monitor's own HLT */
	add	$8, %esp
	iretl

exception: testl $VM, f_flags(%esp)
	jz	dead
	mov	f_vec(%esp), %eax
	cmp	$13, %eax
	je	protection
	cmp	$6, %eax
	ja	dead
	call	reflect
	/* Back to the program; first an interrupt that it can be given. */
back:	mov	pending, %ecx
	test	%ecx, %ecx
	jz	2f
	orl	$VIP, f_flags(%esp)
	testl	$VIF, f_flags(%esp)
	jz	2f
	bsf	%ecx, %eax
	btr	%eax, pending
	add	$8, %eax		/* 8 to 15, 70H to 77H */
	cmp	$16, %eax
	jb	1f
	add	$0x60, %eax
1:	call	reflect
	jmp	back
2:	cmpl	$0, pending
	jne	3f
	andl	$~VIP, f_flags(%esp)
3:	popal
	add	$8, %esp
	iretl

dead:	mov	f_vec(%esp), %al
	or	$0x40, %al
	mov	$0xf4, %dx
	out	%al, %dx
	hlt
	jmp	dead

/* Below a function's return address: EDX is the program's SP, EDI the base of its SS. */
	.macro	STACK
	movzwl	4 + f_ss(%esp), %edi
	shl	$4, %edi
	movzwl	4 + f_sp(%esp), %edx
	.endm
	.macro	PUSH16
	STACK
	sub	$2, %dx
	mov	%ax, (%edi, %edx)
	mov	%dx, 4 + f_sp(%esp)
	.endm
push16:	PUSH16
	ret
pop16:	STACK
	movzwl	(%edi, %edx), %eax
	add	$2, %dx
	mov	%dx, 4 + f_sp(%esp)
	ret
	/* EAX: the flags as the program sees them */
	.macro	FLAGS
	mov	4 + f_flags(%esp), %eax
	and	$~IF, %eax
	testl	$VIF, 4 + f_flags(%esp)
	jz	7f
	or	$IF, %eax
7:
	.endm
flags:	FLAGS
	ret

/* Interrupt EAX through the program's vectors. */
reflect: mov	%eax, %ebx
	FLAGS
	PUSH16
	mov	4 + f_cs(%esp), %eax
	PUSH16
	mov	4 + f_ip(%esp), %eax
	PUSH16
	movzwl	(, %ebx, 4), %eax
	mov	%eax, 4 + f_ip(%esp)
	movzwl	2(, %ebx, 4), %eax
	mov	%eax, 4 + f_cs(%esp)
	andl	$~(VIF | TF), 4 + f_flags(%esp)
	ret

/* What IOPL 0 forbids the program is done for it. BL: 66H was there. */
protection:
	movzwl	f_cs(%esp), %esi
	shl	$4, %esi
	movzwl	f_ip(%esp), %ecx
	add	%ecx, %esi
	xor	%ebx, %ebx
1:	lodsb
	incw	f_ip(%esp)
	cmp	$0x66, %al
	jne	2f
	inc	%ebx
	jmp	1b
2:	cmp	$0xfa, %al
	je	do_cli
	cmp	$0xfb, %al
	je	do_sti
	cmp	$0x9c, %al
	je	do_pushf
	cmp	$0x9d, %al
	je	do_popf
	cmp	$0xcf, %al
	je	do_iret
	cmp	$0xcd, %al
	je	do_int
	cmp	$0xf4, %al
	jne	dead
	/* HLT: an interrupt that came is the program's */
3:	cmpl	$0, pending
	jne	back
	sti
	hlt
	cli
	jmp	3b
do_cli:	andl	$~VIF, f_flags(%esp)
	jmp	back
do_sti:	orl	$VIF, f_flags(%esp)
	jmp	back
do_int:	movzbl	(%esi), %eax
	incw	f_ip(%esp)
	call	reflect
	jmp	back
do_pushf:
	test	%ebx, %ebx
	jz	1f
	mov	f_flags + 2(%esp), %eax	/* neither VM nor RF, nor the virtual ones */
	and	$0x24, %eax
	call	push16
1:	call	flags
	call	push16
	jmp	back
do_iret: test	%ebx, %ebx
	jnz	dead
	call	pop16
	mov	%eax, f_ip(%esp)
	call	pop16
	mov	%eax, f_cs(%esp)
do_popf: call	pop16
	mov	f_flags(%esp), %ecx
	and	$~(VIF | 0x4dd5), %ecx
	mov	%eax, %edx
	and	$0x4dd5, %edx
	or	%edx, %ecx
	test	$IF, %eax
	jz	1f
	or	$VIF, %ecx
1:	mov	%ecx, f_flags(%esp)
	test	%ebx, %ebx
	jz	back
	call	pop16
	jmp	back

pending: .long	0
	.balign	8
gdt:	.quad	0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x0000890000000000 + (TSS & 0xffff) * 0x10000 + (TSS >> 16 << 32) + 104 + 32 + 8192
gdtr:	.word	0x1f
	.long	gdt
idtr:	.word	0x60 * 8 - 1
	.long	IDT
#endif
image_end:
