/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * disasm.h - decoded instructions as text, Intel syntax; user space only
 */
#ifndef TENON_X86_DISASM_H
#define TENON_X86_DISASM_H

#include "decode.h"

#define X86_DISASM_MAX	128	/* a buffer that any instruction fits into */

/**
 * x86_disasm() - write an instruction as text
 * @buf:  text, always terminated, cut off where it does not fit
 * @size: bytes in @buf, at least 1
 * @insn: as x86_decode() filled it in; an invalid one reads "(bad)"
 * @next: address of the instruction that follows: what relative operands count from
 *
 * Return: length of the text, as snprintf().
 */
unsigned int x86_disasm(char *buf, size_t size, const struct x86_insn *insn, u64 next);

#endif /* TENON_X86_DISASM_H */
