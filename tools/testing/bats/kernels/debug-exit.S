/* SPDX-License-Identifier: GPL-2.0-only */
/* Writes 0x10 to the debug-exit port: the launcher ends with status 0x10 << 1 | 1 = 33. */
#include "multiboot.h"
	mov	$0x10, %al
	out	%al, $0xf4
	cli
1:	hlt
	jmp	1b
