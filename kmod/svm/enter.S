/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.S - into the guest and back
 *
 * VMRUN switches what the save area of the VMCB and the host save area hold; VMLOAD and VMSAVE switch FS, GS, TR, LDTR
 * and the MSRs of SYSCALL and SYSENTER (AMD APM vol. 2, "VMRUN and VMSAVE/VMLOAD"); the rest of the general registers
 * is moved here. RAX, RSP and RIP travel in the VMCB.
 *
 * Called with the global interrupt flag clear: between VMEXIT and the second VMLOAD the GS base is the guest's, and an
 * NMI would run on it. RFLAGS.IF is set for the guest, so that a host interrupt ends it (INTR intercept).
 */
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

.section .noinstr.text, "ax"

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

/* void tenon_svm_enter(u64 *gpr, u64 vmcb_pa, u64 host_pa, u64 spec_ctrl) */
SYM_FUNC_START(tenon_svm_enter)
	push	%rbp
	mov	%rsp, %rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rdi

	ALTERNATIVE_2 "", "jmp 20f", X86_FEATURE_MSR_SPEC_CTRL, "", X86_FEATURE_V_SPEC_CTRL
21:
	mov	%rsi, %rax
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

	/* MDS, TSA, RFDS: nothing of the host's stays in the buffers. After this, no memory that holds secrets. */
#ifdef VM_CLEAR_CPU_BUFFERS
	VM_CLEAR_CPU_BUFFERS
#else
	CLEAR_CPU_BUFFERS
#endif

	sti
1:	vmload	%rax
2:	vmrun	%rax
3:	vmsave	%rax
	cli

	/* The host's half: GS first of all. */
	mov	8(%rsp), %rax
4:	vmload	%rax
	pop	%rax
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

	/* Returns that the guest has trained may not be predicted here: before any RET. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT

	/* The host's SPEC_CTRL is in force before any RET, too. */
	ALTERNATIVE_2 "", "jmp 22f", X86_FEATURE_MSR_SPEC_CTRL, "", X86_FEATURE_V_SPEC_CTRL
23:
	/* Nothing of the guest's stays in a register for the host to speculate with. */
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

	/* Return thunks and SRSO, or IBPB: AX, CX and DX go. */
	UNTRAIN_RET_VM

#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	CLEAR_BRANCH_HISTORY_VMEXIT
#elif defined(X86_FEATURE_CLEAR_BHB_VMEXIT)
	CLEAR_BRANCH_HISTORY_VMEXIT
#endif

	add	$16, %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

20:	mov	%rcx, %rdx
	SPEC_CTRL_DIFFERS 21b
	mov	%edx, %eax
	shr	$32, %rdx
	wrmsr
	jmp	21b

22:	mov	8(%rsp), %rdx
	SPEC_CTRL_DIFFERS 23b
	mov	%rax, %rdx
	shr	$32, %rdx
	wrmsr
	jmp	23b

	/*
	 * These instructions fault only when virtualization was turned off under a running guest: at reboot. Carry on as
	 * if the guest had left.
	 */
11:	cli
	jmp	12f
12:	add	$24, %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

	_ASM_EXTABLE(1b, 11b)
	_ASM_EXTABLE(2b, 11b)
	_ASM_EXTABLE(3b, 11b)
	_ASM_EXTABLE(4b, 12b)
SYM_FUNC_END(tenon_svm_enter)
