/* SPDX-License-Identifier: GPL-2.0-only */
/* Sends back what COM1 receives; "q" ends by the debug-exit port with status 1. */
#include "multiboot.h"
	mov	$'>', %al
	mov	$0x3f8, %edx
	out	%al, %dx
	mov	$'\n', %al
	out	%al, %dx
1:	mov	$0x3fd, %edx
2:	in	%dx, %al
	test	$1, %al
	jz	2b
	mov	$0x3f8, %edx
	in	%dx, %al
	cmp	$'q', %al
	je	3f
	out	%al, %dx
	jmp	1b
3:	xor	%eax, %eax
	out	%al, $0xf4
4:	hlt
	jmp	4b
