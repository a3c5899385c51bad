/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A boot sector: asks the BIOS to print a line and to read the next sector, prints what is there, and ends the run
 * by the debug-exit port: with 0x10 if DL says that it was started from the first disk.
 */
	.code16
	.globl _start
_start:	ljmp	$0, $1f
1:	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7c00, %sp
	mov	%dl, drive
	mov	$hello, %si
	call	print
	mov	$packet, %si
	mov	$0x42, %ah		/* extended read */
	mov	drive, %dl
	int	$0x13
	jc	2f
	mov	$0x7e00, %si
	call	print
2:	mov	$0xf4, %dx
	mov	drive, %al
	sub	$0x70, %al
	out	%al, %dx
3:	hlt
	jmp	3b

print:	lodsb
	test	%al, %al
	jz	4f
	mov	$0x0e, %ah		/* teletype output */
	mov	$7, %bx
	int	$0x10
	jmp	print
4:	ret

hello:	.asciz	"Hello from the boot sector\r\n"
drive:	.byte	0
	.balign	4
packet:	.byte	16, 0
	.word	1, 0x7e00, 0
	.quad	1
	.org	510
	.word	0xaa55
	.asciz	"and from the disk behind it\r\n"
	.org	1024
