/* SPDX-License-Identifier: GPL-2.0-only */
/* Head of a test kernel: Multiboot 1 header ("Multiboot Specification", "OS image format"), then 32-bit code. */
	.section .text, "ax"
	.balign	4
	.long	0x1badb002
	.long	0
	.long	-0x1badb002
	.globl	_start
_start:
