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
#include "../enter.h"

.section .noinstr.text, "ax"

/* void tenon_svm_enter(u64 *gpr, u64 vmcb_pa, u64 host_pa, u64 spec_ctrl) */
SYM_FUNC_START(tenon_svm_enter)
	PUSH_HOST_GPRS
	push	%rcx
	push	%rdx
	push	%rdi

	ALTERNATIVE_2 "", "jmp 20f", X86_FEATURE_MSR_SPEC_CTRL, "", X86_FEATURE_V_SPEC_CTRL
21:
	mov	%rsi, %rax
	LOAD_GUEST_GPRS

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
	SAVE_GUEST_GPRS

	/* Returns that the guest has trained may not be predicted here: before any RET. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT

	/* The host's SPEC_CTRL is in force before any RET, too. */
	ALTERNATIVE_2 "", "jmp 22f", X86_FEATURE_MSR_SPEC_CTRL, "", X86_FEATURE_V_SPEC_CTRL
23:
	CLEAR_GUEST_GPRS
	FORGET_GUEST_BRANCHES

	add	$16, %rsp
	POP_HOST_GPRS_AND_RET

20:	mov	%rcx, %rdx
	GUEST_SPEC_CTRL 21b

22:	mov	8(%rsp), %rdx
	HOST_SPEC_CTRL 23b

	/*
	 * These instructions fault only when virtualization was turned off under a running guest: at reboot. Carry on as
	 * if the guest had left.
	 */
11:	cli
	jmp	12f
12:	add	$24, %rsp
	POP_HOST_GPRS_AND_RET

	_ASM_EXTABLE(1b, 11b)
	_ASM_EXTABLE(2b, 11b)
	_ASM_EXTABLE(3b, 11b)
	_ASM_EXTABLE(4b, 12b)
SYM_FUNC_END(tenon_svm_enter)
