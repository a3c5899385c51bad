/* SPDX-License-Identifier: GPL-2.0-only */
/* Prints a line on COM1, then spins. What ends it is the test's affair. */
#include "multiboot.h"
	mov	$text, %esi
	mov	$0x3f8, %dx
1:	lodsb
	test	%al, %al
	jz	2f
	out	%al, %dx
	jmp	1b
2:	pause
	jmp	2b
text:	.asciz	"hello, serial port\r\n"
