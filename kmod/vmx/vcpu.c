// SPDX-License-Identifier: GPL-2.0-only
/*
 * vcpu.c - Intel VT-x: the state of one vCPU and the way into the guest
 *
 * Source: Intel SDM vol. 3, "Virtual Machine Control Structures", "VM Entries", "VM Exits".
 */
#include <linux/context_tracking.h>
#include <linux/hw_breakpoint.h>
#include <linux/idr.h>
#include <linux/kvm_host.h>
#include <linux/perf_event.h>
#include <linux/slab.h>
#include <asm/cpu_entry_area.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/irq_vectors.h>
#include <asm/mmu_context.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/perf_event.h>
#include <asm/spec-ctrl.h>
#include <asm/special_insns.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>

#include "../../emul/guest/x86/decode.h"
#include "../tenon.h"
#include "vmx.h"

/* Bits of CR0 that the processor does not have as the guest has them. */
#define CR0_OURS ((u64)(X86_CR0_CD | X86_CR0_NW | X86_CR0_NE))

/* Those of RFLAGS that are defined; the processor enters with no other. */
#define RFLAGS_DEFINED 0x3f7fd5ull

/* Cycles: PAUSEs closer than the one are a loop, which exits after the other. */
#define PLE_GAP_CYCLES	  128
#define PLE_WINDOW_CYCLES 4096

static const u32 switched_msrs[] = {
	[VMX_STAR] = MSR_STAR,
	[VMX_LSTAR] = MSR_LSTAR,
	[VMX_SYSCALL_MASK] = MSR_SYSCALL_MASK,
	[VMX_KERNEL_GS_BASE] = MSR_KERNEL_GS_BASE,
};

/* ---- life ---- */

/* 0 is the host's. Never used again before INVEPT: see vmx_vcpu_load(). */
static DEFINE_IDA(vpids);

static void free_pages_of(struct vmx_vcpu *vmx)
{
	if (vmx->vmcs)
		__free_page(vmx->vmcs);
	if (vmx->msr_bitmap)
		__free_page(vmx->msr_bitmap);
	if (vmx->apic_page)
		__free_page(vmx->apic_page);
	if (vmx->msr_lists)
		__free_page(vmx->msr_lists);
}

/* What a guest does with an MSR without an exit. Intel SDM vol. 3, "MSR-Bitmap Address": reads in the first half. */
void vmx_msr_access(struct vmx_vcpu *vmx, u32 msr, bool read, bool write)
{
	const u32 bit = (msr & 0x1fff) + (msr >= 0xc0000000 ? 0x2000 : 0);
	unsigned long *bitmap = page_address(vmx->msr_bitmap);

	__assign_bit(bit, bitmap, !read);
	__assign_bit(bit + 0x4000, bitmap, !write);
}

int vmx_vcpu_create(struct tenon_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = kzalloc(sizeof(*vmx), GFP_KERNEL_ACCOUNT);
	int vpid;

	if (!vmx)
		return -ENOMEM;
	vmx->vmcs = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	vmx->msr_bitmap = alloc_page(GFP_KERNEL_ACCOUNT);
	vmx->apic_page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	vmx->msr_lists = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!vmx->vmcs || !vmx->msr_bitmap || !vmx->apic_page || !vmx->msr_lists) {
		free_pages_of(vmx);
		kfree(vmx);
		return -ENOMEM;
	}
	memset(page_address(vmx->msr_bitmap), 0xff, PAGE_SIZE);
	vmx_msr_access(vmx, MSR_FS_BASE, true, true);
	vmx_msr_access(vmx, MSR_GS_BASE, true, true);
	vmx_msr_access(vmx, MSR_KERNEL_GS_BASE, true, true);
	vmx_msr_access(vmx, MSR_IA32_SYSENTER_CS, true, true);
	vmx_msr_access(vmx, MSR_IA32_SYSENTER_ESP, true, true);
	vmx_msr_access(vmx, MSR_IA32_SYSENTER_EIP, true, true);
	*(u32 *)page_address(vmx->vmcs) = vmx_features.revision;
	vmx->vcpu = vcpu;
	vmx->cpu = -1;
	vmx->deadline = U64_MAX;
	/* When there is none left, it goes without. */
	vpid = vmx_features.vpid ? ida_alloc_range(&vpids, 1, U16_MAX, GFP_KERNEL_ACCOUNT) : 0;
	vmx->vpid = max(vpid, 0);
	vmx->eptp = virt_to_phys(vcpu->vm->tdp_root) | VMX_EPTP_MT_WB | VMX_EPTP_PWL_4 |
		    (vmx_features.ad ? VMX_EPTP_AD_ENABLE_BIT : 0);
	vcpu->arch = vmx;
	/* Before it is made current for the first time. */
	vmx_clear(vmx);
	return 0;
}

void vmx_vcpu_destroy(struct tenon_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	int cpu;

	/* Memory that is used again may not be taken for this one. */
	for_each_possible_cpu(cpu)
		cmpxchg(per_cpu_ptr(&vmx_cpus.last, cpu), vmx, NULL);
	if (vmx->vpid)
		ida_free(&vpids, vmx->vpid);
	free_pages_of(vmx);
	kfree(vmx);
	vcpu->arch = NULL;
}

/* The fields of ES, CS, SS, DS, FS, GS, LDTR and TR follow one another; in kind two apart. */
static unsigned int segment_field(unsigned int seg)
{
	switch (seg) {
	case X86_ES:
		return 0;
	case X86_CS:
		return 2;
	case X86_SS:
		return 4;
	case X86_DS:
		return 6;
	case X86_FS:
		return 8;
	case X86_GS:
		return 10;
	case TENON_SEG_LDT:
		return 12;
	default:
		return 14;
	}
}

static void set_segment(unsigned int seg, u16 selector, u32 rights, u32 limit, u64 base)
{
	const unsigned int n = segment_field(seg);

	vmx_write(GUEST_ES_SELECTOR + n, selector);
	vmx_write(GUEST_ES_AR_BYTES + n, rights);
	vmx_write(GUEST_ES_LIMIT + n, limit);
	vmx_write(GUEST_ES_BASE + n, base);
}

static void write_controls(struct vmx_vcpu *vmx)
{
	const struct vmx_controls *c = &vmx_features.controls;
	unsigned int n;

	vmx_write_apic_controls(vmx, false, false);
	if (vmx_features.fetches) {
		vmx_write(POSTED_INTR_NV, POSTED_INTR_VECTOR);
		vmx_write(POSTED_INTR_DESC_ADDR, virt_to_phys(vmx_posted(vmx->vcpu)));
	}
	if (vmx_features.virtual_apic & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY) {
		for (n = 0; n < ARRAY_SIZE(vmx->eoi_exits); n++) {
			vmx_write(EOI_EXIT_BITMAP0 + n * 2, 0);
			vmx->eoi_exits[n] = 0;
		}
	}
	vmx->cpu_controls = c->cpu | (vmx->vcpu->lapic ? 0 : CPU_BASED_CR8_LOAD_EXITING);
	vmx_write(CPU_BASED_VM_EXEC_CONTROL, vmx->cpu_controls);
	vmx_write(VM_EXIT_CONTROLS, c->exit);
	vmx_write(VM_ENTRY_CONTROLS, c->entry);
	vmx_write(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmx_write(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmx_write(CR3_TARGET_COUNT, 0);
	vmx_write(VM_EXIT_MSR_STORE_COUNT, 0);
	vmx_write(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmx_write(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmx_write(VM_ENTRY_MSR_LOAD_ADDR, page_to_phys(vmx->msr_lists));
	vmx_write(VM_EXIT_MSR_LOAD_ADDR, page_to_phys(vmx->msr_lists) + VMX_COUNTERS * sizeof(struct vmx_msr_entry));
	vmx->counters = 0;
	vmx_write(VM_ENTRY_INTR_INFO_FIELD, 0);
	vmx_write(MSR_BITMAP, page_to_phys(vmx->msr_bitmap));
	vmx_write(TPR_THRESHOLD, 0);
	vmx_write(EPT_POINTER, vmx->eptp);
	vmx_write(VMCS_LINK_POINTER, ~0ull);
	vmx_set_tsc_offset(vmx->vcpu);
	if (vmx->vpid)
		vmx_write(VIRTUAL_PROCESSOR_ID, vmx->vpid);
	if (c->cpu2 & SECONDARY_EXEC_PAUSE_LOOP_EXITING) {
		vmx_write(PLE_GAP, PLE_GAP_CYCLES);
		vmx_write(PLE_WINDOW, PLE_WINDOW_CYCLES);
	}
	if (c->cpu2 & SECONDARY_EXEC_ENCLS_EXITING)
		vmx_write(ENCLS_EXITING_BITMAP, ~0ull);
	/* IA32_XSS is 0 for a guest, and what it may set of it nothing. */
	if (c->cpu2 & COMPAT_EXEC_XSAVES)
		vmx_write(XSS_EXIT_BITMAP, 0);
	vmx_write(CR0_GUEST_HOST_MASK, ~(u64)(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET |
					      X86_CR0_WP | X86_CR0_AM | X86_CR0_PG));
}

/* What stays the same for the kernel's life on any CPU. Selectors that are 0 come back by vmx_vcpu_put(). */
static void write_host(void)
{
	u64 pat;

	vmx_write(HOST_CS_SELECTOR, __KERNEL_CS);
	vmx_write(HOST_SS_SELECTOR, __KERNEL_DS);
	vmx_write(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	vmx_write(HOST_DS_SELECTOR, 0);
	vmx_write(HOST_ES_SELECTOR, 0);
	vmx_write(HOST_FS_SELECTOR, 0);
	vmx_write(HOST_GS_SELECTOR, 0);
	vmx_write(HOST_RIP, (unsigned long)tenon_vmx_exit);
	vmx_write(HOST_IA32_EFER, __rdmsr(MSR_EFER));
	pat = __rdmsr(MSR_IA32_CR_PAT);
	vmx_write(HOST_IA32_PAT, pat);
	vmx_write(HOST_IA32_SYSENTER_CS, __KERNEL_CS);
	vmx_write(HOST_IA32_SYSENTER_EIP, __rdmsr(MSR_IA32_SYSENTER_EIP));
}

/* Intel SDM vol. 3, "Processor State After Reset"; INIT keeps the caches, the FPU and most MSRs. */
void vmx_vcpu_reset(struct tenon_vcpu *vcpu, bool init)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct tenon_sys sys = {
		.cr0 = X86_CR0_ET | X86_CR0_CD | X86_CR0_NW,
		.gdt_limit = 0xffff,
		.idt_limit = 0xffff,
		.pat = 0x0007040600070406ull,
	};
	unsigned int seg;

	if (init) {
		struct tenon_sys old;

		vmx_get_sys(vcpu, &old);
		sys.cr0 = X86_CR0_ET | (old.cr0 & (X86_CR0_CD | X86_CR0_NW));
		sys.pat = old.pat;
	}
	write_controls(vmx);
	write_host();
	for (seg = 0; seg < X86_GS + 1; seg++)
		set_segment(seg, 0, 0x93, 0xffff, 0);
	set_segment(X86_CS, 0xf000, 0x9b, 0xffff, 0xffff0000);
	set_segment(TENON_SEG_LDT, 0, 0x82, 0xffff, 0);
	set_segment(TENON_SEG_TR, 0, 0x8b, 0xffff, 0);
	vmx_write(GUEST_IA32_DEBUGCTL, 0);
	vmx_write(GUEST_INTERRUPTIBILITY_INFO, 0);
	vmx_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmx_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	if (!init) {
		vmx_write(GUEST_SYSENTER_CS, 0);
		vmx_write(GUEST_SYSENTER_ESP, 0);
		vmx_write(GUEST_SYSENTER_EIP, 0);
		memset(vmx->msr, 0, sizeof(vmx->msr));
		vmx->cstar = 0;
	}
	vmx_cpuid_changed(vcpu);
	vmx_set_sys(vcpu, &sys);
	vmx->spec_ctrl = 0;
	vmx->dr6 = DR6_RESERVED;
	vmx->guest_dr7 = 0x400;
	memset(vcpu->gpr, 0, sizeof(vcpu->gpr));
	vcpu->gpr[X86_RDX] = 0x600;
	vcpu->rip = 0xfff0;
	vcpu->rflags = 2;
	vmx->flush_vpid = true;
	vmx_debug_changed(vcpu);
}

/* ---- on and off a CPU ---- */

void vmx_vcpu_load(struct tenon_vcpu *vcpu, int cpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct vmx_cpu *c = per_cpu_ptr(&vmx_cpus, cpu);
	struct desc_ptr idt;
	unsigned long flags;

	/* A CPU that ends VMX operation sees either the one or the other. */
	local_irq_save(flags);
	vmx_make_current(vmx);
	c->current_vcpu = vmx;
	local_irq_restore(flags);
	vmx->launched = false;
	if (READ_ONCE(c->last) != vmx) {
		/* Another guest ran here: what it trained may not steer this one. */
		indirect_branch_prediction_barrier();
		WRITE_ONCE(c->last, vmx);
	}
	if (vmx->cpu != cpu) {
		/* Of all that has changed since it was here last, this CPU has not been told. */
		vmx->cpu = cpu;
		vmx->flush_ept = true;
	}
	store_idt(&idt);
	vmx_write(HOST_IDTR_BASE, idt.address);
	vmx_write(HOST_GDTR_BASE, (unsigned long)get_cpu_gdt_ro(cpu));
	vmx_write(HOST_TR_BASE, (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	vmx_write(HOST_GS_BASE, __rdmsr(MSR_GS_BASE));
	vmx_write(HOST_IA32_SYSENTER_ESP, __rdmsr(MSR_IA32_SYSENTER_ESP));
	vmx_write(HOST_CR0, read_cr0());
	vmx->host_cr3 = 0;
	vmx->host_cr4 = 0;
	if (boot_cpu_has(X86_FEATURE_RDTSCP) && c->host_tsc_aux != vcpu->msr_tsc_aux)
		wrmsrl(MSR_TSC_AUX, vcpu->msr_tsc_aux);
}

/* With the first entry: see vmx.h. */
static void vmx_switch_in(struct vmx_vcpu *vmx)
{
	unsigned int n;

	savesegment(fs, vmx->host_fs);
	savesegment(gs, vmx->host_gs);
	savesegment(ds, vmx->host_ds);
	savesegment(es, vmx->host_es);
	store_ldt(vmx->host_ldt);
	vmx->host_fs_base = __rdmsr(MSR_FS_BASE);
	vmx_write(HOST_FS_BASE, vmx->host_fs_base);
	for (n = 0; n < VMX_SWITCHED; n++) {
		vmx->host_msr[n] = __rdmsr(switched_msrs[n]);
		if (vmx->host_msr[n] != vmx->msr[n])
			wrmsrl(switched_msrs[n], vmx->msr[n]);
	}
	vmx->switched = true;
}

static void vmx_switch_out(struct vmx_vcpu *vmx)
{
	unsigned int n;

	vmx->switched = false;
	vmx->msr[VMX_KERNEL_GS_BASE] = __rdmsr(MSR_KERNEL_GS_BASE);
	/* Each of these loads a base with the selector, which then has its own again. */
	if (unlikely(vmx->host_ldt))
		asm volatile("lldt %0" : : "m"(vmx->host_ldt));
	if (unlikely(vmx->host_gs))
		load_gs_index(vmx->host_gs);
	if (unlikely(vmx->host_fs)) {
		loadsegment(fs, vmx->host_fs);
		wrmsrl(MSR_FS_BASE, vmx->host_fs_base);
	}
	if (unlikely(vmx->host_ds || vmx->host_es)) {
		loadsegment(ds, vmx->host_ds);
		loadsegment(es, vmx->host_es);
	}
	for (n = 0; n < VMX_SWITCHED; n++) {
		if (vmx->host_msr[n] != vmx->msr[n] || n == VMX_KERNEL_GS_BASE)
			wrmsrl(switched_msrs[n], vmx->host_msr[n]);
	}
	/* VM exits leave a TSS without its I/O bitmap, and a GDT of 64 KiB. */
	invalidate_tss_limit();
	load_fixmap_gdt(smp_processor_id());
}

void vmx_vcpu_put(struct tenon_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpus);
	unsigned long flags;

	if (vmx->switched)
		vmx_switch_out(vmx);
	if (boot_cpu_has(X86_FEATURE_RDTSCP) && c->host_tsc_aux != vcpu->msr_tsc_aux)
		wrmsrl(MSR_TSC_AUX, c->host_tsc_aux);
	local_irq_save(flags);
	vmx_clear(vmx);
	c->current_vcpu = NULL;
	local_irq_restore(flags);
}

/* ---- registers ---- */

void vmx_get_segment(struct tenon_vcpu *vcpu, unsigned int seg, struct kvm_segment *out)
{
	const unsigned int n = segment_field(seg);
	const u32 rights = vmx_read(GUEST_ES_AR_BYTES + n);

	*out = (struct kvm_segment){
		.base = vmx_read(GUEST_ES_BASE + n),
		.limit = vmx_read(GUEST_ES_LIMIT + n),
		.selector = vmx_read(GUEST_ES_SELECTOR + n),
		.type = rights & 0xf,
		.s = rights >> 4 & 1,
		.dpl = rights >> 5 & 3,
		.present = rights >> 7 & 1,
		.avl = rights >> 12 & 1,
		.l = rights >> 13 & 1,
		.db = rights >> 14 & 1,
		.g = rights >> 15 & 1,
		.unusable = rights >> 16 & 1,
	};
	if (out->unusable)
		out->present = 0;
}

void vmx_set_segment(struct tenon_vcpu *vcpu, unsigned int seg, const struct kvm_segment *in)
{
	const bool usable = (in->present & 1) && !in->unusable;
	u32 type = in->type & 0xf;

	/* What the processor has loaded it has marked: accessed, or busy. */
	if (usable && in->s && seg != TENON_SEG_LDT)
		type |= 1;
	if (seg == TENON_SEG_TR)
		type |= 2;
	set_segment(seg, in->selector,
		    type | (in->s & 1) << 4 | (in->dpl & 3) << 5 | (u32)usable << 7 | (in->avl & 1) << 12 |
			    (in->l & 1) << 13 | (in->db & 1) << 14 | (in->g & 1) << 15 | (u32)!usable << 16,
		    in->limit, in->base);
}

/* Of SS, usable or not. */
u64 vmx_cpl(struct tenon_vcpu *vcpu)
{
	return vmx_read(GUEST_SS_AR_BYTES) >> 5 & 3;
}

static u64 get_cr0(void)
{
	const u64 ours = vmx_read(CR0_GUEST_HOST_MASK);

	return (vmx_read(GUEST_CR0) & ~ours) | (vmx_read(CR0_READ_SHADOW) & ours);
}

static u64 get_cr4(const struct vmx_vcpu *vmx)
{
	return (vmx_read(GUEST_CR4) & vmx->cr4_owned) | (vmx_read(CR4_READ_SHADOW) & ~vmx->cr4_owned);
}

static void set_cr4(struct vmx_vcpu *vmx, u64 cr4)
{
	vmx_write(GUEST_CR4, cr4 | X86_CR4_VMXE);
	vmx_write(CR4_READ_SHADOW, cr4);
	vmx->vcpu->cr4_pke = cr4 & X86_CR4_PKE;
}

void vmx_get_code(struct tenon_vcpu *vcpu, struct tenon_code *code)
{
	const u32 cs = vmx_read(GUEST_CS_AR_BYTES);

	*code = (struct tenon_code){
		.cr0 = get_cr0(),
		.cr3 = vmx_read(GUEST_CR3),
		.cr4 = get_cr4(to_vmx(vcpu)),
		.efer = vmx_read(GUEST_IA32_EFER),
		.cs_base = vmx_read(GUEST_CS_BASE),
		.cpl = vmx_cpl(vcpu),
	};
	code->mode = (code->efer & EFER_LMA) && (cs & BIT(13)) ? X86_MODE_64 :
		     cs & BIT(14) ? X86_MODE_32 : X86_MODE_16;
}

void vmx_get_sys(struct tenon_vcpu *vcpu, struct tenon_sys *sys)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	*sys = (struct tenon_sys){
		.cr0 = get_cr0(),
		.cr2 = vmx->cr2,
		.cr3 = vmx_read(GUEST_CR3),
		.cr4 = get_cr4(vmx),
		.efer = vmx_read(GUEST_IA32_EFER),
		.pat = vmx_read(GUEST_IA32_PAT),
		.gdt_base = vmx_read(GUEST_GDTR_BASE),
		.gdt_limit = vmx_read(GUEST_GDTR_LIMIT),
		.idt_base = vmx_read(GUEST_IDTR_BASE),
		.idt_limit = vmx_read(GUEST_IDTR_LIMIT),
	};
}

/* With EPT, the four entries that PAE paging begins with are registers: MOV to CR3, and what stands for it here, loads them. */
static void load_pdptes(struct tenon_vcpu *vcpu, const struct tenon_sys *sys)
{
	u64 entries[4] = {};
	unsigned int n;

	if (!(sys->cr0 & X86_CR0_PG) || !(sys->cr4 & X86_CR4_PAE) || (sys->efer & EFER_LMA))
		return;
	/* What is not there is not present. */
	if (tenon_read_phys(vcpu->vm, sys->cr3 & 0xffffffe0, entries, sizeof(entries)))
		memset(entries, 0, sizeof(entries));
	for (n = 0; n < 4; n++)
		vmx_write(GUEST_PDPTR0 + n * 2, entries[n]);
}

void vmx_set_sys(struct tenon_vcpu *vcpu, const struct tenon_sys *sys)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	const u32 entry = vmx_features.controls.entry;
	struct tenon_sys old;

	vmx_get_sys(vcpu, &old);
	/* What the TLB holds was built under the old ones. */
	if ((old.cr0 ^ sys->cr0) & (X86_CR0_PG | X86_CR0_WP) || old.cr3 != sys->cr3 || old.cr4 != sys->cr4 ||
	    (old.efer ^ sys->efer) & (EFER_LMA | EFER_NX))
		vmx->flush_vpid = true;
	vmx_write(GUEST_CR0, (sys->cr0 & ~CR0_OURS) | X86_CR0_NE);
	vmx_write(CR0_READ_SHADOW, sys->cr0);
	vmx->cr2 = sys->cr2;
	vmx_write(GUEST_CR3, sys->cr3);
	set_cr4(vmx, sys->cr4);
	vmx_write(GUEST_IA32_EFER, sys->efer);
	vmx_write(VM_ENTRY_CONTROLS, sys->efer & EFER_LMA ? entry | VM_ENTRY_IA32E_MODE : entry);
	vmx_write(GUEST_IA32_PAT, sys->pat);
	vmx_write(GUEST_GDTR_BASE, sys->gdt_base);
	vmx_write(GUEST_GDTR_LIMIT, sys->gdt_limit & 0xffff);
	vmx_write(GUEST_IDTR_BASE, sys->idt_base);
	vmx_write(GUEST_IDTR_LIMIT, sys->idt_limit & 0xffff);
	load_pdptes(vcpu, sys);
}

/*
 * What the guest may do by itself: bits of CR4 that it is told of, barriers, which are no secret. Bits that it is not told
 * of exit, to be refused; PKE exits because fpu.c wants to know.
 */
void vmx_cpuid_changed(struct tenon_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	const u64 cr4 = get_cr4(vmx);

	vmx->cr4_owned = vcpu->cr4_allowed & ~(u64)(X86_CR4_VMXE | X86_CR4_SMXE | X86_CR4_PKE | X86_CR4_LA57);
	vmx_write(CR4_GUEST_HOST_MASK, ~vmx->cr4_owned);
	set_cr4(vmx, cr4);
	vmx_msr_access(vmx, MSR_IA32_PRED_CMD, false, vcpu->pred_cmd_allowed);
	vmx_msr_access(vmx, MSR_IA32_FLUSH_CMD, false, vcpu->flush_cmd_allowed);
}

void vmx_set_tsc_offset(struct tenon_vcpu *vcpu)
{
	vmx_write(TSC_OFFSET, vcpu->tsc_offset);
	/* Of 48 bits of fraction, 16 are 0. */
	if (vmx_features.controls.cpu2 & SECONDARY_EXEC_TSC_SCALING)
		vmx_write(TSC_MULTIPLIER, vcpu->tsc_ratio << 16);
}

bool vmx_set_deadline(struct tenon_vcpu *vcpu, u64 tsc)
{
	to_vmx(vcpu)->deadline = tsc;
	return vmx_features.controls.pin & PIN_BASED_VMX_PREEMPTION_TIMER;
}

/* In the register itself while switched: SWAPGS changes it. */
u64 vmx_kernel_gs_base(struct vmx_vcpu *vmx)
{
	return vmx->switched ? __rdmsr(MSR_KERNEL_GS_BASE) : vmx->msr[VMX_KERNEL_GS_BASE];
}

void vmx_msr_changed(struct vmx_vcpu *vmx, enum vmx_switched n)
{
	preempt_disable();
	if (vmx->switched)
		wrmsrl(switched_msrs[n], vmx->msr[n]);
	preempt_enable();
}

u32 vmx_int_shadow(struct tenon_vcpu *vcpu)
{
	return vmx_read(GUEST_INTERRUPTIBILITY_INFO) & VMX_SHADOW ? 1 : 0;
}

void vmx_set_int_shadow(struct tenon_vcpu *vcpu, u32 shadow)
{
	const u64 state = vmx_read(GUEST_INTERRUPTIBILITY_INFO) & ~(u64)VMX_SHADOW;

	/* That of STI, where interrupts are on, needs no account of exceptions. */
	vmx_write(GUEST_INTERRUPTIBILITY_INFO,
		  !shadow ? state :
		  state | (vcpu->rflags & X86_EFLAGS_IF ? GUEST_INTR_STATE_STI : GUEST_INTR_STATE_MOV_SS));
}

void vmx_end_shadow(struct tenon_vcpu *vcpu)
{
	vmx_set_int_shadow(vcpu, 0);
}

u64 vmx_get_dr67(struct tenon_vcpu *vcpu, unsigned int n)
{
	return n == 6 ? to_vmx(vcpu)->dr6 : to_vmx(vcpu)->guest_dr7;
}

void vmx_set_dr67(struct tenon_vcpu *vcpu, unsigned int n, u64 value)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);

	if (n == 6)
		vmx->dr6 = (value & 0xe00f) | DR6_RESERVED;
	else
		vmx->guest_dr7 = (value & 0xffff2fff) | 0x400;
	vmx_debug_changed(vcpu);
}

/* The debugger's breakpoints, if it set any, take the place of the guest's own. General detect is seen by exits alone. */
void vmx_debug_changed(struct tenon_vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = to_vmx(vcpu);
	u32 exceptions = BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC);

	vmx_write(GUEST_DR7, vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP ? vcpu->guest_debug_dr[7] :
									  vmx->guest_dr7 & ~TENON_DR7_GD);
	if ((vcpu->guest_debug & KVM_GUESTDBG_ENABLE) && (vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP))
		exceptions |= BIT(X86_TRAP_BP);
	vmx_write(EXCEPTION_BITMAP, exceptions);
}

/* ---- entry ---- */

static noinstr void vmx_world_switch(struct tenon_vcpu *vcpu, struct vmx_vcpu *vmx)
{
	guest_state_enter_irqoff();
	native_write_cr2(vmx->cr2);
	vmx->failed = tenon_vmx_enter(vcpu->gpr, vmx->launched, vmx->spec_ctrl);
	vmx->cr2 = native_read_cr2();
	vmx->exit_reason = vmx_read(VM_EXIT_REASON);
	vmx->exit_intr = vmx_read(VM_EXIT_INTR_INFO);
	/*
	 * The host's own, taken as an exit: the host sees it here, before anything that could be traced or probed. NMIs are held
	 * off until an IRET, and one of any other kind would let in the next while this one waits.
	 */
	if (unlikely(vmx->exit_reason == EXIT_REASON_EXCEPTION_NMI && !vmx->failed)) {
		if ((vmx->exit_intr & INTR_INFO_INTR_TYPE_MASK) == INTR_TYPE_NMI_INTR)
			asm volatile("int $2");
		else if ((vmx->exit_intr & INTR_INFO_VECTOR_MASK) == X86_TRAP_MC)
			asm volatile("int $18");
	}
	guest_state_exit_irqoff();
}

/* The guest's own and the debugger's: what VMLAUNCH and VMRESUME do not load. */
static void vmx_load_dr(const u64 *dr)
{
	/* Until then, none of them may match for the host. */
	set_debugreg(0, 7);
	set_debugreg(dr[0], 0);
	set_debugreg(dr[1], 1);
	set_debugreg(dr[2], 2);
	set_debugreg(dr[3], 3);
}

/*
 * Counters of the host alone stand still for a guest: they could write records to memory, by addresses of the host's that
 * mean another thing there. Entry and exit switch them, since an NMI would turn on again what was turned off before.
 */
static void vmx_switch_counters(struct vmx_vcpu *vmx)
{
	struct vmx_msr_entry *in = page_address(vmx->msr_lists), *out = in + VMX_COUNTERS;
	unsigned int used = 0;
	int n, count = 0;
	const struct perf_guest_switch_msr *msrs = perf_guest_get_msrs(&count, NULL);

	for (n = 0; msrs && n < count && used < VMX_COUNTERS; n++) {
		if (msrs[n].host == msrs[n].guest)
			continue;
		/* A record that is on its way gets some time to be written. */
		if (msrs[n].msr == MSR_IA32_PEBS_ENABLE)
			wrmsrl(MSR_IA32_PEBS_ENABLE, 0);
		in[used] = (struct vmx_msr_entry){ .index = msrs[n].msr, .value = msrs[n].guest };
		out[used] = (struct vmx_msr_entry){ .index = msrs[n].msr, .value = msrs[n].host };
		used++;
	}
	if (unlikely(used != vmx->counters)) {
		vmx_write(VM_ENTRY_MSR_LOAD_COUNT, used);
		vmx_write(VM_EXIT_MSR_LOAD_COUNT, used);
		vmx->counters = used;
	}
}

/* Documentation/invalidation.rst has what needs which. */
static void vmx_invalidate(struct tenon_vcpu *vcpu, struct vmx_vcpu *vmx)
{
	if (unlikely(tenon_take_request(vcpu, TENON_REQ_TLB_FLUSH))) {
		vcpu->stats.flushes++;
		vmx->flush_ept = true;
	}
	if (likely(!vmx->flush_ept && !vmx->flush_vpid))
		return;
	vcpu->stats.tlb_flushes++;
	if (vmx->flush_ept)
		vmx_invept(vmx->eptp);
	else if (vmx->vpid)
		vmx_invvpid(vmx->vpid);
	vmx->flush_ept = false;
	vmx->flush_vpid = false;
}

static void vmx_write_host_state(struct vmx_vcpu *vmx)
{
	const u64 cr3 = __read_cr3(), cr4 = cr4_read_shadow();

	if (unlikely(cr3 != vmx->host_cr3)) {
		vmx_write(HOST_CR3, cr3);
		vmx->host_cr3 = cr3;
	}
	if (unlikely(cr4 != vmx->host_cr4)) {
		vmx_write(HOST_CR4, cr4);
		vmx->host_cr4 = cr4;
	}
}

void vmx_enter(struct tenon_vcpu *vcpu)
{
	struct vmx_vcpu *vmx = to_vmx(vcpu);
	bool breakpoints, step;
	u64 debugctl;

	if (unlikely(!this_cpu_read(vmx_cpus.enabled))) {
		/* The emergency path has been here. */
		vmx->failed = false;
		vmx->exit_reason = EXIT_REASON_EXTERNAL_INTERRUPT;
		vmx->exit_intr = 0;
		return;
	}
	if (unlikely(!vmx->switched))
		vmx_switch_in(vmx);
	vmx_write_host_state(vmx);
	vmx_invalidate(vcpu, vmx);
	vmx_write(GUEST_RIP, vcpu->rip);
	vmx_write(GUEST_RSP, vcpu->gpr[X86_RSP]);
	/* A trap that the guest has asked for itself is the guest's. */
	step = (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP) && !(vcpu->rflags & X86_EFLAGS_TF) && !vmx_steps_by_mtf(vcpu);
	vmx_write(GUEST_RFLAGS, (vcpu->rflags & RFLAGS_DEFINED) | X86_EFLAGS_FIXED | (step ? X86_EFLAGS_TF : 0));
	breakpoints = vmx_read(GUEST_DR7) & 0xff;
	if (unlikely(breakpoints))
		vmx_load_dr(vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP ? vcpu->guest_debug_dr : vcpu->dr);
	vmx_switch_counters(vmx);
	debugctl = get_debugctlmsr();
	/* L1TF: whatever else of the host's is there now, the guest reaches none of it. */
	if (vmx_features.flush_l1d)
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);

	vmx_world_switch(vcpu, vmx);

	/* Every exit leaves 0. */
	if (unlikely(debugctl))
		update_debugctlmsr(debugctl);
	if (unlikely(breakpoints) || unlikely(hw_breakpoint_active()))
		hw_breakpoint_restore();
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	/* VMSCAPE: user space does not run on what the guest trained. */
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
	if (unlikely(vmx->failed))
		return;
	vmx->launched = true;
	/* An entry that failed by the guest's state has changed nothing, and delivered nothing. */
	if (unlikely(vmx->exit_reason & VMX_EXIT_REASONS_FAILED_VMENTRY))
		return;
	vcpu->rip = vmx_read(GUEST_RIP);
	vcpu->gpr[X86_RSP] = vmx_read(GUEST_RSP);
	vcpu->rflags = vmx_read(GUEST_RFLAGS);
	if (unlikely(step))
		vcpu->rflags &= ~(u64)X86_EFLAGS_TF;
	vmx_write(VM_ENTRY_INTR_INFO_FIELD, 0);
	vcpu->nmi_masked = vmx_read(GUEST_INTERRUPTIBILITY_INFO) & GUEST_INTR_STATE_NMI;
	if (!vmx->delivers)
		tenon_tpr_out(vcpu, *((u8 *)page_address(vmx->apic_page) + LAPIC_TPR) >> 4);
	vmx_requeue(vcpu);
}

void vmx_serve(struct tenon_vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = to_vmx(vcpu);
	struct desc_ptr idt;

	if (vmx->failed || vmx->exit_reason != EXIT_REASON_EXTERNAL_INTERRUPT || !(vmx->exit_intr & INTR_INFO_VALID_MASK))
		return;
	store_idt(&idt);
	tenon_vmx_interrupt(gate_offset((gate_desc *)idt.address + (vmx->exit_intr & INTR_INFO_VECTOR_MASK)));
}
