/* SPDX-License-Identifier: GPL-2.0-only */
/* An exception with no IDT: triple fault. */
#include "multiboot.h"
	lidt	empty
	ud2
	.balign	4
empty:	.word	0
	.long	0
