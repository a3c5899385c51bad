/* SPDX-License-Identifier: GPL-2.0-only */
/* Resets the machine by the keyboard controller's output port. */
#include "multiboot.h"
	mov	$0xfe, %al
	out	%al, $0x64
	cli
1:	hlt
	jmp	1b
