/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.h - macros of the ways into the guest, for the assembler
 */
#ifndef TENON_ENTER_H
#define TENON_ENTER_H

#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>
#include <asm/unwind_hints.h>

#ifndef RSB_CLEAR_LOOPS
#define RSB_CLEAR_LOOPS 32
#endif

#ifndef UNTRAIN_RET_VM
#define UNTRAIN_RET_VM UNTRAIN_RET
#endif

#define GPR(n)	((n) * 8)

/*
 * SPEC_CTRL, for as long as the guest runs, is the host's and the guest's together, as a processor with V_SPEC_CTRL has it.
 * Interrupts are off, so that x86_spec_ctrl_current stands still. Takes the guest's in %rdx; AX, CX and DX go.
 */
.macro SPEC_CTRL_DIFFERS same:req
	mov	PER_CPU_VAR(x86_spec_ctrl_current), %rax
	or	%rax, %rdx
	cmp	%rax, %rdx
	je	\same
	mov	$MSR_IA32_SPEC_CTRL, %ecx
.endm

/* For the guest, whose own is in %rdx; and the host's again. On to @back, in any case. */
.macro GUEST_SPEC_CTRL back:req
	SPEC_CTRL_DIFFERS \back
	mov	%edx, %eax
	shr	$32, %rdx
	wrmsr
	jmp	\back
.endm

.macro HOST_SPEC_CTRL back:req
	SPEC_CTRL_DIFFERS \back
	mov	%rax, %rdx
	shr	$32, %rdx
	wrmsr
	jmp	\back
.endm

/* What C code wants back, in a frame. */
.macro PUSH_HOST_GPRS
	push	%rbp
	mov	%rsp, %rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
.endm

.macro POP_HOST_GPRS_AND_RET
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET
.endm

/* The guest's registers but RAX and RSP, from %rdi. Flags stay. */
.macro LOAD_GUEST_GPRS
	mov	GPR(1)(%rdi), %rcx
	mov	GPR(2)(%rdi), %rdx
	mov	GPR(3)(%rdi), %rbx
	mov	GPR(5)(%rdi), %rbp
	mov	GPR(6)(%rdi), %rsi
	mov	GPR(8)(%rdi), %r8
	mov	GPR(9)(%rdi), %r9
	mov	GPR(10)(%rdi), %r10
	mov	GPR(11)(%rdi), %r11
	mov	GPR(12)(%rdi), %r12
	mov	GPR(13)(%rdi), %r13
	mov	GPR(14)(%rdi), %r14
	mov	GPR(15)(%rdi), %r15
	mov	GPR(7)(%rdi), %rdi
.endm

/* The same, to %rax. */
.macro SAVE_GUEST_GPRS
	mov	%rcx, GPR(1)(%rax)
	mov	%rdx, GPR(2)(%rax)
	mov	%rbx, GPR(3)(%rax)
	mov	%rbp, GPR(5)(%rax)
	mov	%rsi, GPR(6)(%rax)
	mov	%rdi, GPR(7)(%rax)
	mov	%r8, GPR(8)(%rax)
	mov	%r9, GPR(9)(%rax)
	mov	%r10, GPR(10)(%rax)
	mov	%r11, GPR(11)(%rax)
	mov	%r12, GPR(12)(%rax)
	mov	%r13, GPR(13)(%rax)
	mov	%r14, GPR(14)(%rax)
	mov	%r15, GPR(15)(%rax)
.endm

/* Nothing of the guest's stays in a register for the host to speculate with; RAX is the host's already. */
.macro CLEAR_GUEST_GPRS
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebx, %ebx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	xor	%r12d, %r12d
	xor	%r13d, %r13d
	xor	%r14d, %r14d
	xor	%r15d, %r15d
.endm

/* What the guest has taught the branch predictors does not reach the host's RETs and branches: AX, CX and DX go. */
.macro FORGET_GUEST_BRANCHES
	/* Return thunks and SRSO, or IBPB. */
	UNTRAIN_RET_VM

#if defined(X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT) || defined(X86_FEATURE_CLEAR_BHB_VMEXIT)
	CLEAR_BRANCH_HISTORY_VMEXIT
#endif
.endm

#endif /* TENON_ENTER_H */
