/* SPDX-License-Identifier: GPL-2.0-only */
/* guest-cases-list.S - the cases of guest-cases.S */

	.macro	SETFREE lo, hi, sel=FREE
	movl	$(\lo), T + \sel
	movl	$(\hi), T + \sel + 4
	.endm
/* --- segments: every type of descriptor in every register --- */

	.irp	t, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	.if	\t < 8 || \t & 2
	CASE	P32, "30=00000000", "Code- and Data-Segment Types: MOV to DS, type \t"
	.else
	CASE	P32, "0d:00c8", "Code- and Data-Segment Types: MOV to DS, type \t"
	.endif
	SETFREE	0x0000ffff, 0x00cf9000 + (\t << 8)
	mov	$FREE, %bx
	mov	%bx, %ds
	OK
	.if	\t == 2 || \t == 3 || \t == 6 || \t == 7
	CASE	P32, "30=00000000", "Stack Segment: MOV to SS, type \t"
	.else
	CASE	P32, "0d:00c8", "Stack Segment: MOV to SS, type \t"
	.endif
	.if	\t & 4
	SETFREE	0x00000000, 0x00409000 + (\t << 8)
	.else
	SETFREE	0x0000ffff, 0x00cf9000 + (\t << 8)
	.endif
	mov	$FREE, %bx
	mov	%bx, %ss
	OK
	.if	\t >= 8
	CASE	P32, "30=00000000", "Far JMP to type \t"
	.else
	CASE	P32, "0d:00c8", "Far JMP to type \t"
	.endif
	SETFREE	0x0000ffff, 0x00cf9000 + (\t << 8)
	.byte	0xea
	.long	1f - F
	.word	FREE
1:	OK
	.if	\t < 8 || \t & 2
	CASE	P32, "30=00000001", "VERR, type \t"
	.else
	CASE	P32, "30=00000000", "VERR, type \t"
	.endif
	SETFREE	0x0000ffff, 0x00cf9000 + (\t << 8)
	mov	$FREE, %bx
	verr	%bx
	setz	%al
	OK
	.if	\t < 8 && \t & 2
	CASE	P32, "30=00000001", "VERW, type \t"
	.else
	CASE	P32, "30=00000000", "VERW, type \t"
	.endif
	SETFREE	0x0000ffff, 0x00cf9000 + (\t << 8)
	mov	$FREE, %bx
	verw	%bx
	setz	%al
	OK
	.endr

/* --- system descriptors, vol. 3 "System Descriptor Types"; LAR and LSL by vol. 2, the tables of types --- */

	.irp	t, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	.if	\t == 2
	CASE	P32, "30=00000000", "LLDT, type \t"
	.else
	CASE	P32, "0d:00c8", "LLDT, type \t"
	.endif
	SETFREE	0x0000ffff, 0x00008000 + (\t << 8)
	mov	$FREE, %bx
	lldt	%bx
	OK
	.if	\t == 1 || \t == 9
	CASE	P32, "30=00000000", "LTR, type \t"
	.else
	CASE	P32, "0d:00c8", "LTR, type \t"
	.endif
	SETFREE	0x0000ffff, 0x00008000 + (\t << 8)
	mov	$FREE, %bx
	ltr	%bx
	OK
	.if	\t == 1 || \t == 2 || \t == 3 || \t == 4 || \t == 5 || \t == 9 || \t == 11 || \t == 12
	CASE	P32, "30=00000001", "LAR, system type \t"
	.else
	CASE	P32, "30=00000000", "LAR, system type \t"
	.endif
	SETFREE	0x0000ffff, 0x00008000 + (\t << 8)
	mov	$FREE, %ebx
	lar	%ebx, %ecx
	setz	%al
	OK
	.if	\t == 1 || \t == 2 || \t == 3 || \t == 9 || \t == 11
	CASE	P32, "30=00000001", "LSL, system type \t"
	.else
	CASE	P32, "30=00000000", "LSL, system type \t"
	.endif
	SETFREE	0x0000ffff, 0x00008000 + (\t << 8)
	mov	$FREE, %ebx
	lsl	%ebx, %ecx
	setz	%al
	OK
	.if	\t == 2 || \t == 9 || \t == 11 || \t == 12
	CASE	L64, "30=00000001", "LAR, system type \t"
	.else
	CASE	L64, "30=00000000", "LAR, system type \t", Q	/* QEMU has the 16-bit types as well */
	.endif
	SETFREE	0x0000ffff, 0x00008000 + (\t << 8)
	mov	$FREE, %ebx
	lar	%ebx, %ecx
	setz	%al
	OK
	.if	\t == 2 || \t == 9 || \t == 11
	CASE	L64, "30=00000001", "LSL, system type \t"
	.else
	CASE	L64, "30=00000000", "LSL, system type \t", Q	/* the same */
	.endif
	SETFREE	0x0000ffff, 0x00008000 + (\t << 8)
	mov	$FREE, %ebx
	lsl	%ebx, %ecx
	setz	%al
	OK
	.if	\t == 0 || \t == 2 || \t == 3 || \t == 6 || \t == 7 || \t == 8 || \t == 10 || \t == 11 || \t >= 13
	CASE	P32, "0d:00c8", "Far JMP to system type \t"
	SETFREE	0x0000ffff, 0x0000e000 + (\t << 8)
	ljmp	$FREE, $0
	.endif
	.if	\t != 12
	CASE	L64, "0d:00c8", "Far JMP to system type \t"
	SETFREE	0x0000ffff, 0x0000e000 + (\t << 8)
	rex.w	ljmp *1f(%rip)
1:	.quad	0
	.word	FREE
	.endif
	.endr

/* --- paging: access rights, vol. 3 "Determination of Access Rights", "Page-Fault Exceptions" --- */

	/* entry of PLAY's first page: P and the bits given; @table 4 or 8 bytes an entry */
	.macro	PTE bits, size=8
	.if	\size == 4
	movl	$(0x50000 + (\bits)), PT32 + 512 * 4
	.else
	movl	$(0x50000 + (\bits)), PT
	.endif
	.endm

	.macro	RIGHT mode, user, size, bits, access, want, title
	CASE	\mode, "\want", "Determination of Access Rights: \title"
	PTE	\bits, \size
	.ifc \access, read
	movb	PLAY, %al
	.endif
	.ifc \access, write
	movb	%al, PLAY
	.endif
	OK
	.endm
	.macro	RIGHTS mode, size
	RIGHT	\mode, 0, \size, 0, read, "0e:0000@00200000", "supervisor reads, not present"
	RIGHT	\mode, 0, \size, 0, write, "0e:0002@00200000", "supervisor writes, not present"
	RIGHT	\mode, 0, \size, 1, read, "30=00000000", "supervisor reads supervisor"
	RIGHT	\mode, 0, \size, 1, write, "0e:0003@00200000", "supervisor writes supervisor, read-only, WP"
	RIGHT	\mode, 0, \size, 3, write, "30=00000000", "supervisor writes supervisor"
	RIGHT	\mode, 0, \size, 5, read, "30=00000000", "supervisor reads user"
	RIGHT	\mode, 0, \size, 5, write, "0e:0003@00200000", "supervisor writes user, read-only, WP"
	RIGHT	\mode, 0, \size, 7, write, "30=00000000", "supervisor writes user"
	.endm
	.macro	RIGHTS_USER mode, size
	RIGHT	\mode, 1, \size, 0, read, "0e:0004@00200000", "user reads, not present"
	RIGHT	\mode, 1, \size, 0, write, "0e:0006@00200000", "user writes, not present"
	RIGHT	\mode, 1, \size, 1, read, "0e:0005@00200000", "user reads supervisor"
	RIGHT	\mode, 1, \size, 3, write, "0e:0007@00200000", "user writes supervisor"
	RIGHT	\mode, 1, \size, 5, read, "30=00000000", "user reads read-only"
	RIGHT	\mode, 1, \size, 5, write, "0e:0007@00200000", "user writes read-only"
	RIGHT	\mode, 1, \size, 7, write, "30=00000000", "user writes"
	.endm
	RIGHTS	G32, 4
	RIGHTS_USER GU32, 4
	RIGHTS	PAE, 8
	RIGHTS_USER PAEU, 8
	RIGHTS	L64, 8
	RIGHTS_USER LU64, 8
	RIGHTS	C32, 8
	RIGHTS_USER CU32, 8

	.macro	NO_WP mode, size
	CASE	\mode, "30=00000000", "Determination of Access Rights: supervisor writes read-only, CR0.WP clear"
	PTE	5, \size
	.ifc \mode, L64
	mov	%cr0, %rcx
	and	$~0x10000, %ecx
	mov	%rcx, %cr0
	.else
	mov	%cr0, %ecx
	and	$~0x10000, %ecx
	mov	%ecx, %cr0
	.endif
	movb	%al, PLAY
	OK
	.endm
	NO_WP	G32, 4
	NO_WP	PAE, 8
	NO_WP	L64, 8

	/* rights are those of all levels together */
	CASE	LU64, "0e:0005@00200000", "Determination of Access Rights: U/S clear in the PDE"
	andl	$~4, PD + 8
	movb	PLAY, %al
	OK
	CASE	LU64, "0e:0007@00200000", "Determination of Access Rights: R/W clear in the PDE"
	andl	$~2, PD + 8
	movb	%al, PLAY
	OK
	CASE	L64, "0e:0000@40000000", "Page-Fault Exceptions: PDPTE not present"
	movb	0x40000000, %al
	OK
	CASE	L64, "0e:0002@00000000", "Page-Fault Exceptions: PML4E not present"
	mov	$1, %eax
	shl	$40, %rax
	movb	%al, (%rax)
	OK

	/* NX, reserved bits, large pages */
	CASE	L64, "0e:0011@00200000", "Page-Fault Exceptions: fetch from a page with XD"
	orl	$0x80000000, PT + 4
	mov	$PLAY, %eax
	jmp	*%rax
	CASE	LU64, "0e:0015@00200000", "Page-Fault Exceptions: user fetch from a page with XD"
	orl	$0x80000000, PT + 4
	mov	$PLAY, %eax
	jmp	*%rax
	CASE	L64, "30=00000000", "Page-Fault Exceptions: read of a page with XD"
	orl	$0x80000000, PT + 4
	movb	PLAY, %al
	OK
	CASE	PAE, "0e:0011@00200000", "Page-Fault Exceptions: fetch from a page with XD"
	orl	$0x80000000, PT + 4
	mov	$PLAY, %eax
	jmp	*%eax
	CASE	L64, "0e:0009@00200000", "Page-Fault Exceptions: physical address beyond MAXPHYADDR", Q	/* QEMU leaves P of the error code clear */
	orl	$0x00080000, PT + 4
	movb	PLAY, %al
	OK
	CASE	L64, "0e:0009@00200000", "Page-Fault Exceptions: XD with EFER.NXE clear", Q	/* the same */
	mov	$0xc0000080, %ecx
	rdmsr
	and	$~0x800, %eax
	wrmsr
	xor	%eax, %eax
	orl	$0x80000000, PT + 4
	movb	PLAY, %al
	OK
	CASE	L64, "0e:000b@00200000", "4-Level Paging: PS in a PML4E is reserved", Q	/* the same */
	orl	$0x80, PML4 + 8
	movl	$(PDPT + 0x87), PML4 + 8
	mov	$1, %eax
	shl	$39, %rax
	add	$PLAY, %rax
	movb	%al, (%rax)
	OK
	CASE	L64, "0e:0009@00200000", "4-Level Paging: bit 13 of a PDE of 2 MiB is reserved", Q	/* the same */
	movl	$0x2087, PD + 8
	movb	PLAY, %al
	OK
	CASE	L64, "30=00000042", "4-Level Paging: a page of 2 MiB"
	movl	$0x87, PD + 8
	movb	$0x42, 0x50000
	movb	PLAY + 0x50000, %al
	OK
	CASE	L64, "30=00000042", "4-Level Paging: a page of 1 GiB"
	movl	$0x87, PDPT + 8
	movb	$0x42, 0x50000
	movb	0x40050000, %al
	OK
	CASE	G32, "30=00000042", "32-Bit Paging: a page of 4 MiB"
	movl	$0x87, PD32 + 4
	movb	$0x42, 0x50000
	movb	0x450000, %al
	OK
	CASE	G32, "0e:0009@00450000", "32-Bit Paging: bit 21 of a PDE of 4 MiB is reserved", Q	/* the same */
	movl	$0x200087, PD32 + 4
	movb	0x450000, %al
	OK
	CASE	G32, "30=00000042", "32-Bit Paging: PS without CR4.PSE is ignored"
	mov	%cr4, %eax
	and	$~0x10, %eax
	mov	%eax, %cr4
	xor	%eax, %eax
	movl	$(PT32 + 0x87), PD32 + 4
	movb	$0x42, 0x60000
	movb	0x460000, %al
	OK
	CASE	PAE, "0d:0000", "PDPTE Registers: reserved bit, MOV to CR3", Q	/* QEMU has no PDPTE registers */
	orl	$2, PDPTE + 8
	movl	$3, PDPTE + 8
	mov	%cr3, %eax
	mov	%eax, %cr3
	OK
	CASE	PAE, "30=00000000", "PDPTE Registers: read at MOV to CR3 alone", Q	/* QEMU reads them at each walk */
	movl	$(PD + 1), PDPTE + 8
	mov	%cr3, %eax
	mov	%eax, %cr3
	movl	$0, PDPTE + 8
	xor	%eax, %eax
	movb	0x40000000 + PLAY, %al
	OK

	/* accessed and dirty */
	.macro	AD mode, size, entry
	CASE	\mode, "30=00000027", "Accessed and Dirty Flags: a read sets A"
	movb	PLAY, %al
	movzbl	\entry, %eax
	OK
	CASE	\mode, "30=00000067", "Accessed and Dirty Flags: a write sets A and D"
	movb	%al, PLAY
	movzbl	\entry, %eax
	OK
	CASE	\mode, "30=00000067", "Accessed and Dirty Flags: a write after a read"
	movb	PLAY, %al
	movb	%al, PLAY
	movzbl	\entry, %eax
	OK
	.endm
	AD	G32, 4, PT32 + 2048
	AD	PAE, 8, PT
	AD	L64, 8, PT

	/* SMEP, SMAP, protection keys */
	.macro	CR4_SET bits
	mov	%cr4, %rax
	or	$\bits, %eax
	mov	%rax, %cr4
	xor	%eax, %eax
	.endm
	CASE	LS64, "0e:0011@00200000", "SMEP: fetch from a user page"
	CR4_SET	0x100000
	mov	$PLAY, %eax
	jmp	*%rax
	CASE	LS64, "30=00000000", "SMEP: read of a user page"
	CR4_SET	0x100000
	movb	PLAY, %al
	OK
	CASE	LS64, "0e:0001@00200000", "SMAP: read of a user page"
	CR4_SET	0x200000
	movb	PLAY, %al
	OK
	CASE	LS64, "0e:0003@00200000", "SMAP: write to a user page"
	CR4_SET	0x200000
	movb	%al, PLAY
	OK
	CASE	LS64, "30=00000000", "SMAP: RFLAGS.AC"
	CR4_SET	0x200000
	stac
	movb	PLAY, %al
	OK
	CASE	LS64, "0e:0001@00200000", "SMAP: after CLAC"
	CR4_SET	0x200000
	stac
	clac
	movb	PLAY, %al
	OK
	CASE	LU64, "06", "STAC at CPL 3"
	stac
	CASE	L64, "0e:0021@00200000", "Protection Keys: access disabled", B	/* its processor has no keys */
	CR4_SET	0x400000
	orl	$0x28000000, PT + 4
	mov	$(1 << 10), %eax
	wrpkru
	movb	PLAY, %al
	OK
	CASE	L64, "0e:0023@00200000", "Protection Keys: write disabled, WP", B
	CR4_SET	0x400000
	orl	$0x28000000, PT + 4
	mov	$(2 << 10), %eax
	wrpkru
	movb	PLAY, %al
	movb	%al, PLAY
	OK
	CASE	LS64, "30=00000000", "Protection Keys: not for supervisor pages", B
	CR4_SET	0x400000
	movl	$0x50003, PT
	orl	$0x28000000, PT + 4
	mov	$(1 << 10), %eax
	wrpkru
	xor	%eax, %eax
	movb	PLAY, %al
	OK
	CASE	L64, "06", "RDPKRU without CR4.PKE"
	rdpkru
	CASE	L64, "0d:0000", "WRPKRU: ECX must be 0"
	CR4_SET	0x400000
	inc	%ecx
	wrpkru

/* --- control registers, vol. 3 "Control Registers", vol. 2 "MOV - Move to/from Control Registers" --- */

	.macro	CR0_BAD mode, value, title, not=0
	CASE	\mode, "0d:0000", "MOV to CR0: \title", \not
	mov	$\value, %eax
	mov	%eax, %cr0
	OK
	.endm
	CR0_BAD	P32, 0x80000030, "PG without PE", Q	/* QEMU takes it, and stops */
	CR0_BAD	P32, 0x20000031, "NW without CD", Q	/* QEMU does not check */
	CASE	L64, "0d:0000", "MOV to CR0: upper half", Q	/* QEMU does not check */
	mov	%cr0, %rax
	bts	$32, %rax
	mov	%rax, %cr0
	OK
	CASE	L64, "0d:0000", "MOV to CR0: PG cleared by 64-bit code", Q	/* QEMU does not check */
	mov	%cr0, %rax
	btr	$31, %rax
	mov	%rax, %cr0
	OK
	CASE	L64, "0d:0000", "MOV to CR4: PAE cleared in IA-32e mode", Q	/* QEMU does not check */
	mov	%cr4, %rax
	and	$~0x20, %eax
	mov	%rax, %cr4
	OK
	CASE	L64, "0d:0000", "MOV to CR4: reserved bit", Q	/* QEMU ignores what it does not have */
	mov	%cr4, %rax
	bts	$31, %rax
	mov	%rax, %cr4
	OK
	CASE	L64, "30=00000000", "MOV to CR4: PCIDE with PCID 0"
	CR4_SET	0x20000
	OK
	CASE	P32, "0d:0000", "MOV to CR4: PCIDE outside IA-32e mode", Q	/* QEMU does not check */
	mov	$0x20000, %eax
	mov	%eax, %cr4
	OK
	CASE	L64, "0d:0000", "MOV to CR4: PCIDE with CR3[11:0] not 0", Q	/* QEMU does not check */
	mov	%cr3, %rax
	or	$8, %eax
	mov	%rax, %cr3
	CR4_SET	0x20000
	OK
	CASE	L64, "06", "MOV to CR1"
	.byte	0x0f, 0x22, 0xc8
	OK
	CASE	L64, "06", "MOV from CR5"
	.byte	0x0f, 0x20, 0xe8
	OK
	CASE	L64, "0d:0000", "MOV to CR8: more than 15", Q	/* QEMU takes the lower bits */
	mov	$16, %eax
	mov	%rax, %cr8
	OK
	CASE	U32, "0d:0000", "MOV from CR0 at CPL 3"
	mov	%cr0, %eax
	OK
	CASE	LU64, "0d:0000", "MOV to CR3 at CPL 3"
	mov	%rax, %cr3
	OK
	CASE	P32, "30=00000031", "LMSW can't clear PE"
	lmsw	%ax
	mov	%cr0, %eax
	OK
	CASE	P32, "30=0000003b", "LMSW sets MP and TS, not the rest"
	mov	$0xfffa, %eax
	lmsw	%ax
	mov	%cr0, %eax
	and	$~4, %eax
	OK
	CASE	U32, "0d:0000", "LMSW at CPL 3"
	lmsw	%ax
	CASE	U32, "30=00000031", "SMSW at CPL 3"
	smsw	%eax
	OK
	CASE	LU64, "0d:0000", "CLTS at CPL 3"
	clts

/* --- XCR0, vol. 1 "Enabling the XSAVE Feature Set" --- */

	CASE	L64, "06", "XGETBV without CR4.OSXSAVE"
	xgetbv
	CASE	L64, "30=00000001", "XGETBV after reset"
	CR4_SET	0x40000
	xgetbv
	OK
	.macro	XCR0 want, value, title, not=0
	CASE	L64, "\want", "XSETBV: \title", \not
	CR4_SET	0x40000
	mov	$\value, %eax
	xsetbv
	xor	%eax, %eax
	OK
	.endm
	XCR0	"0d:0000", 0, "x87 can't be off"
	XCR0	"0d:0000", 5, "AVX without SSE"
	XCR0	"30=00000000", 7, "x87, SSE, AVX"
	XCR0	"0d:0000", 0x80000007, "a component that there is not"
	CASE	L64, "0d:0000", "XSETBV: XCR1"
	CR4_SET	0x40000
	inc	%ecx
	inc	%eax
	xsetbv
	CASE	L64, "06", "VADDPS without XCR0[2]"
	CR4_SET	0x40000
	vaddps	%ymm0, %ymm0, %ymm0
	CASE	L64, "30=00000000", "VADDPS with XCR0[2]"
	CR4_SET	0x40000
	mov	$7, %eax
	xsetbv
	vxorps	%ymm0, %ymm0, %ymm0
	vaddps	%ymm0, %ymm0, %ymm0
	xor	%eax, %eax
	OK
	CASE	LU64, "06", "VADDPS without CR4.OSXSAVE"
	vaddps	%ymm0, %ymm0, %ymm0
	CASE	P32, "06", "ADDPS without CR4.OSFXSR"
	addps	%xmm0, %xmm0
	CASE	L64, "07", "ADDPS with CR0.TS"
	mov	%cr0, %rax
	or	$8, %eax
	mov	%rax, %cr0
	addps	%xmm0, %xmm0
	CASE	L64, "06", "ADDPS with CR0.EM"
	mov	%cr0, %rax
	or	$4, %eax
	mov	%rax, %cr0
	addps	%xmm0, %xmm0
	CASE	L64, "07", "FNOP with CR0.EM"
	mov	%cr0, %rax
	or	$4, %eax
	mov	%rax, %cr0
	fnop
	CASE	L64, "30=00000000", "FWAIT with CR0.TS, MP clear"
	mov	%cr0, %rax
	or	$8, %eax
	mov	%rax, %cr0
	fwait
	xor	%eax, %eax
	OK
	CASE	L64, "07", "FWAIT with CR0.TS and MP"
	mov	%cr0, %rax
	or	$10, %eax
	mov	%rax, %cr0
	fwait
	CASE	L64, "10", "FLDZ after an unmasked exception: x87 #MF"
	fninit
	movw	$0x37b, PLAY	/* ZM clear */
	fldcw	PLAY
	fld1
	fldz
	fdivrp	%st, %st(1)
	fnop
	OK
	CASE	L64, "13", "DIVPS by 0, unmasked: #XM", Q	/* QEMU raises no SIMD exceptions */
	movl	$0x1d80, PLAY
	ldmxcsr	PLAY
	mov	$0x3f800000, %eax
	movd	%eax, %xmm0
	xorps	%xmm1, %xmm1
	divss	%xmm1, %xmm0
	OK
	CASE	L64, "06", "DIVPS by 0, unmasked, CR4.OSXMMEXCPT clear: #UD", Q	/* the same */
	mov	%cr4, %rax
	and	$~0x400, %eax
	mov	%rax, %cr4
	movl	$0x1d80, PLAY
	ldmxcsr	PLAY
	mov	$0x3f800000, %eax
	movd	%eax, %xmm0
	xorps	%xmm1, %xmm1
	divss	%xmm1, %xmm0
	OK
	CASE	L64, "0d:0000", "LDMXCSR: reserved bit", Q	/* QEMU does not check */
	movl	$0x11f80, PLAY
	ldmxcsr	PLAY
	OK
	CASE	L64, "0d:0000", "MOVAPS: not aligned"
	movaps	PLAY + 8, %xmm0
	OK
	CASE	L64, "06", "EVEX without AVX-512"
	.byte	0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0
	OK

/* --- debug, vol. 3 "Debug Exceptions" --- */

	CASE	P32, "01!4ff0+0000000d", "Single-Step Exception: after the instruction behind POPF"
	pushfl
	orl	$0x100, (%esp)
	.byte	0x66, 0x90
	.byte	0x90
	popfl
	nop
	OK
	.macro	DR n, value:vararg
	mov	$(\value), %eax
	mov	%eax, %dr\n
	.endm
	CASE	P32, "01!0ff1+00000010", "Instruction-Breakpoint Exception: a fault, before the instruction"
	DR	0, 1f - F
	DR	7, 0x402
1:	nop
	OK
	CASE	P32, "01!0ff1", "Data-Breakpoint: write of one byte in four watched"
	DR	0, PLAY - 0x1a0000
	DR	7, 0xd0402
	movb	%al, PLAY - 0x1a0000 + 3
	nop
	OK
	CASE	P32, "30=00000000", "Data-Breakpoint: a read does not meet a write breakpoint"
	DR	0, PLAY - 0x1a0000
	DR	7, 0xd0402
	movb	PLAY - 0x1a0000, %al
	xor	%eax, %eax
	OK
	CASE	P32, "01!0ff2", "Data-Breakpoint: read or write"
	DR	1, PLAY - 0x1a0000
	DR	7, 0xf00408
	movb	PLAY - 0x1a0000, %al
	nop
	OK
	CASE	P32, "01!2ff0", "General-Detect Exception", Q	/* QEMU has no GD */
	DR	7, 0x2400
	mov	%dr0, %eax
	OK
	CASE	P32, "06", "MOV from DR4 with CR4.DE"
	mov	$8, %eax
	mov	%eax, %cr4
	.byte	0x0f, 0x21, 0xe0
	OK
	CASE	P32, "30=ffff0ff0", "MOV from DR4 without CR4.DE is DR6"
	.byte	0x0f, 0x21, 0xe0
	OK
	CASE	L64, "0d:0000", "MOV to DR7: upper half", Q	/* QEMU does not check */
	bts	$32, %rax
	mov	%rax, %dr7
	OK
	CASE	U32, "0d:0000", "MOV to DR0 at CPL 3"
	mov	%eax, %dr0
	CASE	P32, "01!0ff1", "I/O Breakpoint with CR4.DE"
	mov	$8, %eax
	mov	%eax, %cr4
	DR	0, 0x80
	DR	7, 0x20402
	out	%al, $0x80
	nop
	OK
	CASE	P32, "01!0ff0", "INT1", Q	/* QEMU: #UD */
	.byte	0xf1
	CASE	U32, "01!0ff0", "INT1 at CPL 3 does not ask the gate's DPL", Q	/* the same */
	.byte	0xf1
	CASE	U32, "0d:000a", "INT 1 at CPL 3 does"
	int	$1
	CASE	U32, "03", "INT3 through a gate of DPL 3"
	int3
	CASE	U32, "04", "INTO with OF"
	mov	$0x7f, %al
	inc	%al
	into
	CASE	U32, "30=00000000", "INTO without OF"
	xor	%eax, %eax
	into
	OK
	CASE	LU64, "06", "INTO in 64-bit mode"
	.byte	0xce
	CASE	P32, "30=00000000", "MOV SS: single step waits for one instruction more"
	pushfl
	mov	%ss, %ebx
	mov	%ebx, %ss
	popfl
	xor	%eax, %eax
	OK

/* --- privilege: what CPL 3 may not do, vol. 3 "Privileged Instructions" --- */

	.macro	PRIV insn:vararg
	CASE	U32, "0d:0000", "Privileged Instructions: \insn"
	\insn
	OK
	.endm
	.macro	PRIV64 insn:vararg
	CASE	LU64, "0d:0000", "Privileged Instructions: \insn"
	\insn
	OK
	.endm
	PRIV	hlt
	PRIV	invd
	PRIV	wbinvd
	PRIV	invlpg (%eax)
	PRIV	rdmsr
	PRIV	wrmsr
	PRIV	lgdt 0x30000
	PRIV	lidt 0x30000
	PRIV	lldt %ax
	PRIV	ltr %ax
	PRIV	cli
	PRIV	sti
	PRIV64	hlt
	PRIV64	wbinvd
	PRIV64	invlpg (%rax)
	PRIV64	rdmsr
	PRIV64	swapgs
	PRIV64	sysretq
	PRIV64	mov %rax, %cr8
	CASE	U32, "30=00000000", "I/O Permission Bit Map: bit clear"
	xor	%eax, %eax
	out	%al, $0x80
	OK
	CASE	U32, "0d:0000", "I/O Permission Bit Map: bit set"
	mov	$0x300, %edx
	out	%al, %dx
	OK
	CASE	U32, "0d:0000", "I/O Permission Bit Map: the second of two ports"
	mov	$0x2ff, %edx
	out	%ax, %dx
	OK
	CASE	U32, "0d:0000", "I/O Permission Bit Map: beyond the TSS's limit"
	mov	$0xfff, %edx
	out	%al, %dx
	OK
	/* what needs a control register first: to CPL 3 by a return */
	.macro	TO_USER
	pushl	$UDATA
	pushl	$0xc000
	pushl	$UCODE32
	pushl	$(1f - F)
	lret
1:
	.endm
	.macro	AT_USER cr4, want, insn:vararg
	CASE	P32, "\want", "\insn at CPL 3, CR4 \cr4"
	mov	$\cr4, %eax
	mov	%eax, %cr4
	TO_USER
	xor	%eax, %eax
	\insn
	xor	%eax, %eax
	OK
	.endm
	AT_USER	4, "0d:0000", rdtsc
	AT_USER	0, "30=00000000", rdtsc
	AT_USER	0x800, "0d:0000", sldt %eax
	AT_USER	0x800, "0d:0000", str %eax
	AT_USER	0x800, "0d:0000", smsw %eax
	AT_USER	0x800, "0d:0000", sgdt %ss:0x8000
	AT_USER	0x800, "0d:0000", sidt %ss:0x8000
	AT_USER	0, "30=00000000", str %eax
	AT_USER	0, "30=00000000", sgdt %ss:0x8000
	AT_USER	0, "0d:0000", rdpmc
	CASE	LU64, "30=00000000", "SLDT at CPL 3 without CR4.UMIP"
	sldt	%eax
	OK

/* --- gates, far transfers, tasks --- */

	CASE	P32, "30=00000010", "Call Gates: CPL 0 to code of CPL 0"
	lcall	$SEL_GATE, $0
	CASE	U32, "30=00000010", "Call Gates: CPL 3 to CPL 0"
	lcall	$(SEL_GATE + 3), $0
	CASE	U32, "0d:0010", "Call Gates: JMP may not raise the privilege"
	.byte	0xea
	.long	0
	.word	SEL_GATE + 3
	CASE	U32, "0d:0080", "Call Gates: DPL below CPL"
	movb	$0x8c, T + SEL_GATE + 5
	lcall	$(SEL_GATE + 3), $0
	CASE	U32, "0b:0080", "Call Gates: not present"
	movb	$0x6c, T + SEL_GATE + 5
	lcall	$(SEL_GATE + 3), $0
	CASE	U32, "0d:0000", "Call Gates: null code selector"
	movw	$0, T + SEL_GATE + 2
	lcall	$(SEL_GATE + 3), $0
	CASE	U32, "0d:0008", "Call Gates: code selector of a data segment"
	movw	$DATA, T + SEL_GATE + 2
	lcall	$(SEL_GATE + 3), $0
	CASE	U32, "0b:00d8", "Call Gates: code segment not present"
	movw	$ABSENT_CODE, T + SEL_GATE + 2
	lcall	$(SEL_GATE + 3), $0
	CASE	U32, "0d:0010", "Far JMP to nonconforming code of CPL 0"
	ljmp	$CODE32, $0
	CASE	U32, "30=0000009b", "Far JMP to conforming code keeps the CPL"
	.byte	0xea
	.long	1f - F
	.word	CONFORMING
1:	mov	%cs, %eax
	OK
	CASE	P32, "0b:00d8", "Far JMP to a segment that is not present"
	ljmp	$ABSENT_CODE, $0
	CASE	P32, "0d:0000", "Far JMP to a null selector"
	ljmp	$0, $0
	CASE	P32, "0d:0ff8", "Far JMP beyond the GDT"
	ljmp	$0xff8, $0
	CASE	P32, "0d:000c", "Far JMP by an LDT that there is not"
	ljmp	$0xc, $0
	CASE	P32, "30=0000000c", "Far JMP by the LDT"
	mov	$SEL_LDT, %eax
	lldt	%ax
	.byte	0xea
	.long	1f - F
	.word	0xc
1:	mov	%cs, %eax
	OK
	CASE	P32, "30=00000058", "Task Switching: JMP to a TSS"
	ljmp	$SEL_TSS2, $0
	CASE	P32, "30=00000058", "Task Switching: CALL of a TSS"
	lcall	$SEL_TSS2, $0
	CASE	P32, "30=00000058", "Task Switching: by a task gate"
	ljmp	$SEL_TASKGATE, $0
	CASE	P32, "30=00000060", "Task Switching: to a 16-bit TSS"
	ljmp	$SEL_TSS16, $0
	CASE	P32, "0d:0058", "Task Switching: TSS busy"
	movb	$0x8b, T + SEL_TSS2 + 5
	ljmp	$SEL_TSS2, $0
	CASE	P32, "0a:0058", "Task Switching: limit too small"
	movb	$0x66, T + SEL_TSS2
	ljmp	$SEL_TSS2, $0
	CASE	P32, "0b:0058", "Task Switching: TSS not present"
	movb	$0x09, T + SEL_TSS2 + 5
	ljmp	$SEL_TSS2, $0
	CASE	L64, "0d:0058", "Task Switching: none in IA-32e mode"
	rex.w	ljmp *1f(%rip)
1:	.quad	0
	.word	SEL_TSS2
	CASE	P32, "0a:0008", "Task Switching: IRET with NT, link to no TSS"
	movw	$DATA, TSS
	pushfl
	orl	$0x4000, (%esp)
	popfl
	iret
	CASE	L64, "0d:0000", "IRET with NT in IA-32e mode"
	pushfq
	orl	$0x4000, (%rsp)
	popfq
	iretq
	CASE	U32, "0d:0010", "RETF to more privilege"
	pushl	$CODE32
	pushl	$0
	lret
	CASE	P32, "0d:0008", "IRET to CPL 3 with SS of DPL 0"
	pushl	$DATA
	pushl	$0xc000
	pushl	$2
	pushl	$UCODE32
	pushl	$(1f - F)
	iret
1:	OK
	CASE	P32, "30=00000033", "RETF to CPL 3"
	pushl	$UDATA
	pushl	$0xc000
	pushl	$UCODE32
	pushl	$(1f - F)
	lret
1:	mov	%cs, %eax
	OK
	CASE	P32, "30=00000000", "RETF to CPL 3: DS of DPL 0 becomes null"
	pushl	$UDATA
	pushl	$0xc000
	pushl	$UCODE32
	pushl	$(1f - F)
	lret
1:	mov	%ds, %eax
	OK

/* --- limits, vol. 3 "Limit Checking" --- */

	.macro	LIMIT want, sel, size, off, title, acc=read
	CASE	P32, "\want", "Limit Checking: \title", Q	/* QEMU checks no limits */
	mov	$\sel, %ecx
	mov	%cx, %es
	.ifc \acc, read
	.ifc \size, 1
	movb	%es:\off, %bl
	.endif
	.ifc \size, 4
	movl	%es:\off, %ebx
	.endif
	.ifc \size, 8
	movq	%es:\off, %mm0
	.endif
	.else
	movb	%bl, %es:\off
	.endif
	OK
	.endm
	LIMIT	"30=00000000", SMALL, 1, 0xfff, "last byte"
	LIMIT	"0d:0000", SMALL, 1, 0x1000, "behind the last byte"
	LIMIT	"30=00000000", SMALL, 4, 0xffc, "last doubleword"
	LIMIT	"0d:0000", SMALL, 4, 0xffd, "doubleword over the limit"
	LIMIT	"0d:0000", SMALL, 8, 0xff9, "quadword over the limit"
	LIMIT	"0d:0000", SMALL, 4, 0xfffffffe, "doubleword that wraps round"
	LIMIT	"0d:0000", DOWN, 1, 0xfff, "expand-down: at the limit"
	LIMIT	"30=00000000", DOWN, 1, 0x1000, "expand-down: above the limit"
	LIMIT	"0d:0000", DOWN16, 1, 0x10000, "expand-down, B clear: above FFFFH"
	LIMIT	"30=00000000", DOWN16, 1, 0xffff, "expand-down, B clear: FFFFH"
	LIMIT	"0d:0000", RDONLY, 1, 0, "write to read-only data", write
	CASE	P32, "0d:0000", "Null Segment Selector Checking", Q	/* QEMU does not check */
	movb	%fs:0, %al
	OK
	CASE	U32, "0c:0000", "Stack Fault: PUSH below the limit", Q	/* QEMU checks no limits */
	SETFREE	0x00000fff, 0x0040f700
	mov	$(FREE + 3), %eax
	mov	%ax, %ss
	mov	$0x1002, %esp
	push	%eax
	CASE	U32, "0c:0000", "Stack Fault: load by EBP beyond the limit", Q	/* QEMU checks no limits */
	SETFREE	0x00000fff, 0x0040f300
	mov	$(FREE + 3), %eax
	mov	%ax, %ss
	mov	$0xffd, %ebp
	mov	(%ebp), %eax
	OK
	CASE	P32, "0d:0000", "Type Checking: write through CS", Q	/* QEMU does not check */
	movb	%al, %cs:PLAY - 0x1a0000
	OK
	CASE	P16, "0d:0000", "Limit Checking: word at FFFFH", Q	/* QEMU checks no limits */
	mov	$DATA16, %bx
	mov	%bx, %ds
	mov	$0xffff, %bx
	mov	(%bx), %ax
	OK
	CASE	R16, "0d", "Limit Checking: word at FFFFH in real mode", Q	/* QEMU checks no limits */
	mov	$0xffff, %bx
	mov	(%bx), %ax
	OK

/* --- virtual-8086 mode --- */

	CASE	V86, "0d:0000", "Virtual-8086: CLI, IOPL 0"
	cli
	CASE	V863, "0d:017a", "Virtual-8086: INT n with IOPL 3 asks the gate's DPL"
	sti
	int	$0x2f
	OK
	CASE	V86, "0d:0000", "Virtual-8086: PUSHF, IOPL 0"
	pushf
	CASE	V86, "0d:0000", "Virtual-8086: POPF, IOPL 0"
	popf
	CASE	V86, "0d:0000", "Virtual-8086: IRET, IOPL 0"
	iret
	CASE	V86, "0d:0000", "Virtual-8086: INT n, IOPL 0"
	OK
	CASE	V863, "30=00000002", "Virtual-8086: CLI, STI, PUSHF with IOPL 3"
	sti
	pushf
	pop	%ax
	cli
	and	$2, %ax
	OK
	CASE	V863, "06", "Virtual-8086: LLDT"
	lldt	%ax
	CASE	V863, "06", "Virtual-8086: LAR"
	lar	%ax, %ax
	CASE	V863, "0d:0000", "Virtual-8086: HLT"
	hlt
	CASE	V863, "0d:0000", "Virtual-8086: MOV to CR0"
	mov	%eax, %cr0
	CASE	V863, "0d:0000", "Virtual-8086: OUT asks the bit map whatever the IOPL"
	mov	$0x300, %dx
	out	%al, %dx
	CASE	V863, "03", "Virtual-8086: INT3 goes to the monitor"
	int3
	CASE	V863, "06", "Virtual-8086: VEX-coded instructions"
	.byte	0xc4, 0xe2, 0x70, 0xf2, 0xc0

/* --- real mode --- */

	CASE	R16, "06", "Real mode: LLDT"
	lldt	%ax
	CASE	R16, "06", "Real mode: VERR"
	verr	%ax
	CASE	R16, "06", "Real mode: ARPL"
	.byte	0x63, 0xc0
	CASE	R16, "06", "Real mode: VEX-coded instructions", B	/* Bochs executes ANDN */
	.byte	0xc4, 0xe2, 0x70, 0xf2, 0xc0
	CASE	R16, "00", "Real mode: division error"
	div	%bx
	CASE	R16, "05", "Real mode: BOUND"
	movw	$1, 0x500
	movw	$2, 0x502
	bound	%ax, 0x500
	CASE	R16, "06", "Real mode: LOCK without memory"
	.byte	0xf0, 0x01, 0xc0
	CASE	R16, "30=00000010", "Real mode: PUSHF has IOPL and NT as POPF set them"
	pushw	$0x7002
	popf
	pushf
	pop	%ax
	shr	$12, %ax
	xor	$0x17, %al
	OK

/* --- LOCK, vol. 3 "LOCK - Assert LOCK# Signal Prefix" --- */

	.macro	LOCKED want, title, not, bytes:vararg
	CASE	L64, "\want", "LOCK: \title", \not
	mov	$PLAY, %eax
	.byte	0xf0, \bytes
	xor	%eax, %eax
	OK
	.endm
	/* Q: QEMU ignores LOCK there */
	LOCKED	"30=00000000", "ADD mem, reg", 0, 0x01, 0x08
	LOCKED	"06", "ADD reg, mem", 0, 0x03, 0x08
	LOCKED	"06", "ADD reg, reg", 0, 0x01, 0xc8
	LOCKED	"06", "CMP mem, reg", 0, 0x39, 0x08
	LOCKED	"06", "TEST mem, reg", Q, 0x85, 0x08
	LOCKED	"06", "MOV mem, reg", Q, 0x89, 0x08
	LOCKED	"30=00000000", "XCHG mem, reg", 0, 0x87, 0x08
	LOCKED	"30=00000000", "NOT mem", 0, 0xf7, 0x10
	LOCKED	"30=00000000", "NEG mem", 0, 0xf7, 0x18
	LOCKED	"06", "MUL mem", Q, 0xf7, 0x20
	LOCKED	"30=00000000", "INC mem", 0, 0xff, 0x00
	LOCKED	"06", "CALL mem", Q, 0xff, 0x10
	LOCKED	"06", "PUSH mem", Q, 0xff, 0x30
	LOCKED	"06", "BT mem, imm", Q, 0x0f, 0xba, 0x20, 1
	LOCKED	"30=00000000", "BTS mem, imm", 0, 0x0f, 0xba, 0x28, 1
	LOCKED	"30=00000000", "CMPXCHG mem, reg", 0, 0x0f, 0xb1, 0x08
	LOCKED	"30=00000000", "XADD mem, reg", 0, 0x0f, 0xc1, 0x08
	LOCKED	"30=00000000", "CMPXCHG8B", 0, 0x0f, 0xc7, 0x08
	LOCKED	"06", "NOP", 0, 0x90
	LOCKED	"06", "SHL mem", Q, 0xd1, 0x20
	LOCKED	"06", "MOVS", Q, 0xa4

/* --- canonical addresses, vol. 1 "Canonical Addressing" --- */

	.macro	NONCANON want, title, insn:vararg
	CASE	L64, "\want", "Canonical Addressing: \title"
	bts	$47, %rbx
	\insn
	OK
	.endm
	NONCANON "0d:0000", "load", mov (%rbx), %al
	NONCANON "0d:0000", "store", mov %al, (%rbx)
	NONCANON "0d:0000", "JMP", jmp *%rbx
	NONCANON "0d:0000", "LGDT", lgdt (%rbx)
	CASE	L64, "0c:0000", "Canonical Addressing: by RBP", Q	/* QEMU raises #GP */
	bts	$47, %rbp
	mov	(%rbp), %al
	OK
	CASE	L64, "30=00000000", "INVLPG of an address that is not canonical"
	bts	$47, %rbx
	invlpg	(%rbx)
	OK
	CASE	L64, "0d:0000", "RET to an address that is not canonical", Q	/* QEMU faults at the target */
	bts	$47, %rbx
	push	%rbx
	ret
	/*
	 * The last page of the lower half, with code. #GP's handler, on a stack of its own, looks at what is
	 * below the stack pointer of the instruction that faulted: EAX is 1 if that is as it was, and so is RSP.
	 */
	.macro	LAST_PAGE
	movl	$(PDPT + 7), PML4 + 255 * 8
	movl	$(PD + 7), PDPT + 511 * 8
	movl	$(PT + 7), PD + 511 * 8
	movl	$0x50007, PT + 511 * 8
	movl	$0xb000, TSS + 0x24
	movb	$1, IDT64 + 13 * 16 + 4
	movw	$((8f - F) & 0xffff), IDT64 + 13 * 16
	movw	$((8f - F) >> 16), IDT64 + 13 * 16 + 6
	mov	$(PLAY + 0x2800), %esp
	movl	$0x11223344, -8(%rsp)
	mov	$0x7ffffffff, %rbx
	shl	$12, %rbx
	jmp	9f
8:	xor	%eax, %eax
	cmpl	$0x11223344, PLAY + 0x27f8
	setz	%al
	cmpq	$(PLAY + 0x2800), 32(%rsp)
	setz	%ah
	and	%ah, %al
	mov	$0, %ah
	OK
9:
	.endm
	CASE	L64, "30=00000001", "Canonical Addressing: CALL from the last page, nothing is pushed", 3	/* both push; QEMU faults at the target */
	LAST_PAGE
	movl	$0x001000e8, PLAY + 0x7f0	/* call .+1005H; jmp *%rdx */
	movl	$0x00e2ff00, PLAY + 0x7f4
	movb	$0xc3, PLAY + 0x17f5
	mov	$4, %ecx		/* the same bytes where the target is canonical, first */
	mov	$(1f - F), %edx
	mov	$(PLAY + 0x7f0), %eax
1:	dec	%ecx
	js	2f
	jmp	*%rax
2:	movl	$0x11223344, -8(%rsp)
	lea	0x7f0(%rbx), %rax
	jmp	*%rax
	CASE	L64, "30=00000001", "Canonical Addressing: indirect CALL, nothing is pushed", 3	/* the same */
	LAST_PAGE
	add	$0x1000, %rbx
	call	*%rbx
	CASE	L64, "30=00000001", "Canonical Addressing: far CALL, nothing is pushed", 3	/* the same */
	LAST_PAGE
	add	$0x1000, %rbx
	mov	%rbx, PLAY
	movw	$CODE64, PLAY + 8
	rex.w lcall *PLAY
	CASE	L64, "30=00000001", "Canonical Addressing: Jcc from the last page", Q	/* QEMU faults at the target */
	LAST_PAGE
	movl	$0x1000840f, PLAY + 0x7f0	/* jz, ZF set by XOR */
	movw	$0, PLAY + 0x7f4
	lea	0x7f0(%rbx), %rcx
	xor	%eax, %eax
	jmp	*%rcx
	CASE	L64, "30=00000001", "Canonical Addressing: CALL within the last page"
	LAST_PAGE
	movl	$0x000002e8, PLAY + 0x7f0	/* call .+7; .. */
	movl	$0x9090ff00, PLAY + 0x7f4
	movl	$0x0001b890, PLAY + 0x7f7	/* nop; mov $1, %eax */
	movl	$0x30cd0000, PLAY + 0x7fb	/* int $0x30 */
	lea	0x7f0(%rbx), %rax
	jmp	*%rax
	.macro	MSR want, msr, hi, lo, title, not=0
	CASE	L64, "\want", "WRMSR: \title", \not
	mov	$\msr, %ecx
	mov	$\hi, %edx
	mov	$\lo, %eax
	wrmsr
	xor	%eax, %eax
	OK
	.endm
	MSR	"0d:0000", 0xc0000082, 0x8000, 0, "LSTAR not canonical", Q	/* QEMU checks none of these */
	MSR	"0d:0000", 0xc0000083, 0x8000, 0, "CSTAR not canonical", Q
	MSR	"0d:0000", 0xc0000100, 0x8000, 0, "FS_BASE not canonical", Q
	MSR	"0d:0000", 0xc0000101, 0x8000, 0, "GS_BASE not canonical", Q
	MSR	"0d:0000", 0xc0000102, 0x8000, 0, "KERNEL_GS_BASE not canonical", Q
	MSR	"0d:0000", 0x175, 0x8000, 0, "SYSENTER_ESP not canonical", Q
	MSR	"0d:0000", 0x176, 0x8000, 0, "SYSENTER_EIP not canonical", Q
	MSR	"0d:0000", 0xc0000080, 0x80000000, 0x500, "EFER: reserved bit", Q
	MSR	"0d:0000", 0xc0000080, 0, 0, "EFER: LME with paging on", Q
	MSR	"0d:0000", 0x277, 0, 2, "PAT: reserved type", Q
	MSR	"30=00000000", 0xc0000082, 0xffff8000, 0, "LSTAR canonical"
	MSR	"0d:0000", 0xc0000084, 1, 0, "SFMASK: upper half", 3	/* neither checks; vol. 4 has it reserved */

/* --- system calls --- */

	/* SYSCALL, SYSRET, SYSENTER, SYSEXIT: where they go and with which selectors */
	.macro	SETMSR msr, hi, lo:vararg
	mov	$\msr, %ecx
	mov	$\hi, %edx
	mov	$(\lo), %eax
	wrmsr
	.endm
	.macro	STAR
	SETMSR	0xc0000081, 0x00300018, 0
	SETMSR	0xc0000082, 0, 2f - F
	SETMSR	0xc0000084, 0, 0x45
	.endm
	CASE	L64, "30=00200018", "SYSCALL: CS and SS from STAR"
	STAR
	syscall
2:	mov	%ss, %eax
	shl	$16, %eax
	mov	%cs, %ax
	OK
	CASE	L64, "30=00000000", "SYSCALL: RCX is the next RIP"
	STAR
	syscall
1:	ud2
2:	lea	(%rcx), %eax
	sub	$(1b - F), %eax
	OK
	CASE	L64, "30=00000002", "SYSCALL: flags of SFMASK are cleared", Q	/* QEMU clears all arithmetic flags */
	STAR
	push	$0x8c7
	popfq
	syscall
2:	pushfq
	pop	%rax
	and	$0xc7, %eax
	xor	$0x80, %eax
	OK
	CASE	L64, "30=000008c7", "SYSCALL: R11 has the flags as they were"
	STAR
	push	$0x8c7
	popfq
	syscall
2:	mov	%r11d, %eax
	OK
	CASE	L64, "30=003b0043", "SYSRET to 64-bit mode: selectors of RPL 3"
	STAR
	mov	$(2f - F), %ecx
	mov	$2, %r11d
	sysretq
2:	mov	%ss, %eax
	shl	$16, %eax
	mov	%cs, %ax
	OK
	CASE	L64, "30=003b0033", "SYSRET to compatibility mode"
	STAR
	mov	$(2f - F), %ecx
	mov	$2, %r11d
	sysretl
	.code32
2:	mov	%ss, %eax
	shl	$16, %eax
	mov	%cs, %ax
	OK
	CASE	L64, "0d:0000", "SYSRET to an address that is not canonical, Intel", Q	/* QEMU faults at the target */
	STAR
	bts	$47, %rcx
	sysretq
	CASE	P32, "30=00180010", "SYSENTER: CS and SS from SYSENTER_CS"
	SETMSR	0x174, 0, 0x10
	SETMSR	0x175, 0, 0xa000
	SETMSR	0x176, 0, 2f - F
	sysenter
2:	mov	%ss, %eax
	shl	$16, %eax
	mov	%cs, %ax
	OK
	CASE	P32, "30=0000a000", "SYSENTER: ESP"
	SETMSR	0x174, 0, 0x10
	SETMSR	0x175, 0, 0xa000
	SETMSR	0x176, 0, 2f - F
	sysenter
2:	mov	%esp, %eax
	OK
	CASE	P32, "30=002b0023", "SYSEXIT"
	SETMSR	0x174, 0, 0x10
	mov	$(2f - F), %edx
	mov	$0xc000, %ecx
	sysexit
2:	mov	%ss, %eax
	shl	$16, %eax
	mov	%cs, %ax
	OK
	CASE	L64, "0d:0000", "SYSEXIT to an address that is not canonical", Q	/* QEMU faults at the target */
	SETMSR	0x174, 0, 0x10
	bts	$47, %rdx
	rex.w sysexit
	CASE	U32, "0d:0000", "SYSEXIT at CPL 3"
	sysexit
	CASE	L64, "06", "SYSCALL with EFER.SCE clear"
	mov	$0xc0000080, %ecx
	rdmsr
	and	$~1, %eax
	wrmsr
	syscall
	CASE	L64, "0d:0000", "SYSENTER with a null SYSENTER_CS"
	mov	$0x174, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	wrmsr
	sysenter
	CASE	R16, "0d", "SYSENTER in real mode"
	sysenter
	CASE	CU32, "06", "SYSCALL in compatibility mode, Intel", Q	/* QEMU's "max" is AMD's */
	syscall

/* --- 64-bit mode: what is no instruction any more, vol. 2 "Instructions Not Supported in 64-Bit Mode" --- */

	.macro	GONE title, bytes:vararg
	CASE	L64, "06", "64-bit mode: \title"
	.byte	\bytes
	OK
	.endm
	GONE	"PUSH ES", 0x06
	GONE	"POP DS", 0x1f
	GONE	"DAA", 0x27
	GONE	"DAS", 0x2f
	GONE	"AAA", 0x37
	GONE	"AAS", 0x3f
	GONE	"PUSHA", 0x60
	GONE	"POPA", 0x61
	GONE	"alias 82", 0x82, 0xc0, 0
	GONE	"CALL far", 0x9a, 0, 0, 0, 0, 0, 0
	GONE	"JMP far", 0xea, 0, 0, 0, 0, 0, 0
	GONE	"AAM", 0xd4, 10
	GONE	"AAD", 0xd5, 10
	GONE	"SALC", 0xd6
	GONE	"MOV to CS", 0x8e, 0xc8
	GONE	"MOV to segment register 6", 0x8e, 0xf0
	GONE	"LEA with a register", 0x8d, 0xc0
	GONE	"UD0", 0x0f, 0xff, 0xc0
	GONE	"UD1", 0x0f, 0xb9, 0xc0
	GONE	"VMCALL outside VMX operation", 0x0f, 0x01, 0xc1
	CASE	L64, "0d:0000", "Instructions of more than 15 bytes"
	.fill	15, 1, 0x66
	nop
	OK
	CASE	L64, "30=00000000", "An instruction of 15 bytes"
	.fill	14, 1, 0x66
	nop
	OK

/* --- MOV SS of 64-bit mode, null selectors, IRET --- */

	CASE	L64, "30=00000000", "Null SS at CPL 0 in 64-bit mode"
	xor	%eax, %eax
	mov	%ax, %ss
	OK
	CASE	LU64, "0d:0000", "Null SS at CPL 3 in 64-bit mode"
	xor	%eax, %eax
	mov	%ax, %ss
	OK
	CASE	C32, "0d:0000", "Null SS in compatibility mode"
	xor	%eax, %eax
	mov	%ax, %ss
	OK
	CASE	L64, "0d:00c8", "Far JMP to a code segment with L and D", Q	/* QEMU does not check */
	SETFREE	0x0000ffff, 0x00ef9b00
	rex.w	ljmp *1f(%rip)
1:	.quad	0
	.word	FREE
	CASE	C32, "30=00000018", "Far JMP from compatibility to 64-bit mode"
	.byte	0xea
	.long	1f - F
	.word	CODE64
	.code64
1:	mov	%cs, %eax
	OK

/* --- contributory faults, vol. 3 "Interrupt 8 - Double Fault Exception" --- */

	CASE	P32, "08:0000", "Double Fault: #GP whose gate is not present"
	movb	$0x0e, IDT32 + 13 * 8 + 5
	mov	$0xff8, %eax
	mov	%ax, %ds
	CASE	P32, "08:0000", "Double Fault: #DE whose code segment is data"
	movw	$DATA, IDT32 + 2
	div	%ebx
	CASE	P32, "0b:0033", "No Double Fault: #UD whose gate is not present", Q	/* QEMU sets no EXT for exceptions */
	movb	$0x0e, IDT32 + 6 * 8 + 5
	ud2
	CASE	G32, "08:0000", "Double Fault: #PF whose gate is not present"
	movb	$0x0e, IDT32 + 14 * 8 + 5
	movb	0x3ff000, %al
	CASE	L64, "08:0000", "Double Fault: #NP, then #GP"
	movb	$0, IDT64 + 11 * 16 + 5
	mov	$ABSENT, %eax
	mov	%ax, %ds
	CASE	LU64, "08:0000", "Double Fault: #PF on the stack of #GP's handler, by IST"
	movl	$0x3ff000, TSS + 4
	movl	$0xb000, TSS + 0x24
	movb	$1, IDT64 + 8 * 16 + 4
	hlt
	CASE	LU64, "30=0000afd8", "Interrupt Stack Table"
	movl	$0xb000, TSS + 0x24
	movb	$1, IDT64 + 0x30 * 16 + 4
	xor	%eax, %eax
	movl	$0x90909090, PLAY
	movl	$(1f - F), IDT64 + 0x2f * 16
	movw	$((1f - F) & 0xffff), IDT64 + 0x2f * 16
	movw	$CODE64, IDT64 + 0x2f * 16 + 2
	movl	$(((1f - F) & 0xffff0000) + 0xee01), IDT64 + 0x2f * 16 + 4
	int	$0x2f
1:	mov	%esp, %eax
	OK

	.code32
