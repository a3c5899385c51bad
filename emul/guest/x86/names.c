// SPDX-License-Identifier: GPL-2.0-only
/*
 * names.c - what the manuals call the operations
 */
#include "decode.h"

/* ops.def has upper case; lower case is made of it by the compiler, letter by letter. */
#define NAME_MAX_LEN	19
#define LOWER(c)	((c) >= 'A' && (c) <= 'Z' ? (c) + 'a' - 'A' : (c))
#define AT(s, i)	(sizeof(s) > (i) ? LOWER(s[sizeof(s) > (i) ? (i) : 0]) : 0)
#define LETTERS(s) \
	{ AT(s, 0), AT(s, 1), AT(s, 2), AT(s, 3), AT(s, 4), AT(s, 5), AT(s, 6), AT(s, 7), AT(s, 8), \
	  AT(s, 9), AT(s, 10), AT(s, 11), AT(s, 12), AT(s, 13), AT(s, 14), AT(s, 15), AT(s, 16), AT(s, 17), AT(s, 18) }

static const char lower[X86_OP_COUNT][NAME_MAX_LEN + 1] = {
#define X86_OP(name, class) [X86_OP_##name] = LETTERS(#name),
#include "ops.def"
#undef X86_OP
};

#define X86_OP(name, class) static_assert(sizeof(#name) <= NAME_MAX_LEN + 1, "NAME_MAX_LEN is too small");
#include "ops.def"
#undef X86_OP

/* Operations that share a mnemonic with another one. */
static const char *const shared[X86_OP_COUNT] = {
	[X86_OP_INVALID] = "(bad)",
	[X86_OP_IMUL1] = "imul", [X86_OP_IMUL2] = "imul", [X86_OP_IMUL3] = "imul",
	[X86_OP_MOVZXB] = "movzx", [X86_OP_MOVZXW] = "movzx",
	[X86_OP_MOVSXB] = "movsx", [X86_OP_MOVSXW] = "movsx",
	[X86_OP_JMPI] = "jmp", [X86_OP_JMPF] = "jmp far",
	[X86_OP_CALLI] = "call", [X86_OP_CALLF] = "call far",
	[X86_OP_MOV_FROM_SEG] = "mov", [X86_OP_MOV_TO_SEG] = "mov",
	[X86_OP_PUSH_SEG] = "push", [X86_OP_POP_SEG] = "pop",
	[X86_OP_MOV_FROM_CR] = "mov", [X86_OP_MOV_TO_CR] = "mov",
	[X86_OP_MOV_FROM_DR] = "mov", [X86_OP_MOV_TO_DR] = "mov",
};

const char *x86_op_name(enum x86_op op)
{
	if ((unsigned int)op >= X86_OP_COUNT)
		op = X86_OP_INVALID;
	return shared[op] ? shared[op] : lower[op];
}
