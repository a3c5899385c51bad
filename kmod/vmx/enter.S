/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * enter.S - into the guest and back
 *
 * VM entry and VM exit switch what the VMCS holds; the general registers but RSP are moved here (Intel SDM vol. 3,
 * "Loading Guest State", "Loading Host State"). A VM exit goes on at tenon_vmx_exit with the stack as it was at VMLAUNCH or
 * VMRESUME and all flags clear; so does an entry that failed, with CF or ZF set. Interrupts are off throughout.
 */
#include <asm/segment.h>

#include "../enter.h"

#define HOST_RSP 0x6c14

.section .noinstr.text, "ax"

/* bool tenon_vmx_enter(u64 *gpr, bool launched, u64 spec_ctrl): whether the entry failed */
SYM_FUNC_START(tenon_vmx_enter)
	PUSH_HOST_GPRS
	push	%rdx
	push	$0
	push	%rdi

	mov	$HOST_RSP, %eax
1:	vmwrite	%rsp, %rax
2:
	ALTERNATIVE "", "jmp 20f", X86_FEATURE_MSR_SPEC_CTRL
21:
	/* In CF, which nothing up to the entry changes. */
	bt	$0, %esi
	mov	GPR(0)(%rdi), %rax
	LOAD_GUEST_GPRS

	/* MDS, TAA, RFDS: nothing of the host's stays in the buffers. After this, no memory that holds secrets. */
	CLEAR_CPU_BUFFERS

	jnc	4f
3:	vmresume
	jmp	tenon_vmx_exit
4:	vmlaunch

SYM_INNER_LABEL(tenon_vmx_exit, SYM_L_GLOBAL)
	ENDBR
	push	%rax
	setbe	16(%rsp)
	mov	8(%rsp), %rax
	SAVE_GUEST_GPRS
	pop	GPR(0)(%rax)

	/* Returns that the guest has trained may not be predicted here: before any RET. */
#ifdef X86_FEATURE_RSB_VMEXIT_LITE
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, X86_FEATURE_RSB_VMEXIT_LITE
#else
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT
#endif

	/* The host's SPEC_CTRL is in force before any RET, too. */
	ALTERNATIVE "", "jmp 22f", X86_FEATURE_MSR_SPEC_CTRL
23:
	CLEAR_GUEST_GPRS
	FORGET_GUEST_BRANCHES

	pop	%rdi
	pop	%rax
	pop	%rdx
	xor	%edx, %edx
	xor	%edi, %edi
	POP_HOST_GPRS_AND_RET

20:	GUEST_SPEC_CTRL 21b

	/* With IBRS of the older kind the write is a barrier, and done even if the value is the same. */
22:	mov	16(%rsp), %rdx
	ALTERNATIVE "", "or $-1, %rdx", X86_FEATURE_KERNEL_IBRS
	HOST_SPEC_CTRL 23b

	/* VMX operation was ended under a running guest: at reboot. Carry on as if the entry had failed. */
11:	stc
	jmp	tenon_vmx_exit

	_ASM_EXTABLE(1b, 2b)
	_ASM_EXTABLE(3b, 11b)
	_ASM_EXTABLE(4b, 11b)
SYM_FUNC_END(tenon_vmx_enter)

/*
 * void tenon_vmx_interrupt(unsigned long handler): calls an interrupt's handler with what the processor would have pushed
 * (Intel SDM vol. 3, "64-Bit Mode Stack Frame"). Its IRET comes back here, with interrupts still off.
 */
.text
SYM_FUNC_START(tenon_vmx_interrupt)
	push	%rbp
	mov	%rsp, %rbp
	and	$-16, %rsp
	push	$__KERNEL_DS
	push	%rbp
	pushf
	push	$__KERNEL_CS
	CALL_NOSPEC _ASM_ARG1
	mov	%rbp, %rsp
	pop	%rbp
	RET
SYM_FUNC_END(tenon_vmx_interrupt)
