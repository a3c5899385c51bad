// SPDX-License-Identifier: GPL-2.0-only
/*
 * accel-soft.c - the software CPU as a back end
 *
 * emul/ computes; this file gives it threads to run on, time, and a way to devices. What /dev/tenon does inside
 * KVM_RUN (halting, start-up of other vCPUs, interrupt delivery) happens in soft_run().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msg.h"
#include "soft-irq.h"

static bool soft_probe(char *why, size_t len)
{
	(void)why;
	(void)len;
	return true;
}

/* --- what emul/ asks for --- */

static void soft_access(void *opaque, struct emul_vcpu *ev, enum emul_space space, u64 addr, void *data, unsigned int len,
			bool write)
{
	struct soft_vcpu *v = emul_vcpu_opaque(ev);
	struct soft_vm *s = opaque;

	if (!soft_irq_access(s, v, space, addr, data, len, write))
		bus_access(s->vm, space == EMUL_PIO ? &s->vm->pio : &s->vm->mmio, addr, data, len, write);
}

static u64 soft_tsc_op(void *opaque, struct emul_vcpu *ev)
{
	(void)ev;
	return soft_tsc(opaque);
}

static const struct emul_ops soft_emul_ops = {
	.access		= soft_access,
	.intr_ack	= soft_intr_ack,
	.intr_pending	= soft_intr_pending,
	.tpr_get	= soft_tpr_get,
	.tpr_set	= soft_tpr_set,
	.msr_read	= soft_msr_read,
	.msr_write	= soft_msr_write,
	.tsc		= soft_tsc_op,
};

/* --- the VM --- */

static void soft_vm_exit(struct vm *vm)
{
	struct soft_vm *s = vm->accel;

	if (!s)
		return;
	if (s->lapics)
		soft_irq_exit(s);
	if (s->emul)
		emul_vm_destroy(s->emul);
	if (s->perf_map)
		close(s->perf_map);
	if (s->trace)
		close(s->trace);
	free(s->vcpu);
	free(s);
	vm->accel = NULL;
}

/* A file to write to, or 0 with a message. */
static int create(const char *path, const char *option, char *err, size_t errlen)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd > 0)
		return fd;
	snprintf(err, errlen, "%s: create '%s': %s", option, path, strerror(errno));
	return 0;
}

static int soft_vm_init(struct vm *vm)
{
	static const enum emul_jit jit[] = {
		[VM_JIT_ON] = EMUL_JIT_ON, [VM_JIT_OFF] = EMUL_JIT_OFF, [VM_JIT_STRESS] = EMUL_JIT_STRESS, [VM_JIT_EAGER] = EMUL_JIT_EAGER,
	};
	static const enum emul_lockstep_mode lockstep[] = {
		[VM_LOCKSTEP_OFF] = EMUL_LOCKSTEP_OFF, [VM_LOCKSTEP_BLOCKS] = EMUL_LOCKSTEP_BLOCKS,
		[VM_LOCKSTEP_CHAINS] = EMUL_LOCKSTEP_CHAINS,
	};
	struct emul_config config = {
		.max_vcpus = vm->config.cpus,
		.tsc_hz = SOFT_TSC_HZ,
		.cpu = vm->config.cpu,
		.jit = jit[vm->config.jit],
		.count = vm->config.stats,
		.lockstep = lockstep[vm->config.lockstep],
	};
	struct soft_vm *s = calloc(1, sizeof(*s));
	char err[200] = "out of memory";

	vm->accel = s;
	if (!s)
		goto fail;
	if (vm->config.perf_map) {
		char name[32];

		/* where perf looks */
		snprintf(name, sizeof(name), "/tmp/perf-%ld.map", (long)getpid());
		s->perf_map = config.perf_map = create(name, "--perf-map", err, sizeof(err));
		if (!s->perf_map)
			goto fail;
	}
	if (vm->config.trace) {
		s->trace = config.trace = create(vm->config.trace, "--trace", err, sizeof(err));
		if (!s->trace)
			goto fail;
	}
	s->vm = vm;
	s->start = guest_ns(&vm->loop);
	s->nr_vcpus = vm->config.cpus;
	s->vcpu = calloc(s->nr_vcpus, sizeof(*s->vcpu));
	if (!s->vcpu)
		goto fail;
	for (unsigned int i = 0; i < s->nr_vcpus; i++)
		s->vcpu[i].vcpu = &vm->vcpu[i];
	s->emul = emul_vm_create(&config, &soft_emul_ops, s, err, sizeof(err));
	if (!s->emul || soft_irq_init(s))
		goto fail;
	return 0;
fail:
	msg_error("set up the software CPU: %s", err);
	soft_vm_exit(vm);
	return -ENOMEM;
}

static int soft_ram_add(struct vm *vm, uint64_t gpa, uint64_t size, void *host, bool readonly)
{
	struct soft_vm *s = vm->accel;

	return emul_mem_add(s->emul, gpa, size, host, readonly ? EMUL_MEM_READONLY : 0);
}

static void soft_pit_irq(struct vm *vm, bool on)
{
	struct soft_vm *s = vm->accel;

	chips_pit_irq(&s->chips, on);
}

static void soft_irq_line_op(struct vm *vm, unsigned int gsi, bool level)
{
	soft_irq_line(vm->accel, gsi, level);
}

static void soft_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
	soft_irq_msi(vm->accel, addr, data);
}

static void *soft_dma_map(struct vm *vm, uint64_t gpa, uint64_t *len, bool write)
{
	struct soft_vm *s = vm->accel;

	return emul_dma_map(s->emul, gpa, len, write);
}

static void soft_dma_unmap(struct vm *vm, uint64_t gpa, uint64_t len, bool write)
{
	struct soft_vm *s = vm->accel;

	emul_dma_unmap(s->emul, gpa, len, write);
}

static void soft_stats(struct vm *vm, int fd)
{
	struct soft_vm *s = vm->accel;

	for (unsigned int i = 0; i < s->nr_vcpus; i++) {
		struct emul_stats st = { 0 };

		if (!s->vcpu[i].emul)
			continue;
		emul_vcpu_stats(s->vcpu[i].emul, &st);
		dprintf(fd, "vcpu%u: insns ", i);
		if (vm->config.stats)
			dprintf(fd, "%llu (%llu translated, %llu of them by a handler)", (unsigned long long)st.insns,
				(unsigned long long)st.jit_insns, (unsigned long long)st.jit_calls);
		else
			dprintf(fd, "are counted with --stats only,");
		dprintf(fd, " blocks %llu (%llu translated) tlb-fills %llu io %llu exceptions %llu interrupts %llu\n",
			(unsigned long long)st.blocks, (unsigned long long)st.jit_blocks, (unsigned long long)st.tlb_fills,
			(unsigned long long)st.io, (unsigned long long)st.exceptions, (unsigned long long)st.interrupts);
		emul_vcpu_describe(s->vcpu[i].emul, fd);
	}
}

/* --- vCPUs --- */

static struct soft_vcpu *soft_vcpu(const struct vcpu *vcpu)
{
	struct soft_vm *s = vcpu->vm->accel;

	return &s->vcpu[vcpu->id];
}

static int soft_vcpu_init(struct vcpu *vcpu)
{
	struct soft_vm *s = vcpu->vm->accel;
	struct soft_vcpu *v = soft_vcpu(vcpu);
	struct emul_vcpu *ev = emul_vcpu_create(s->emul, vcpu->id, v);

	if (!ev) {
		msg_error("create vCPU %u of the software CPU: no memory, or this process may not have executable memory "
			  "(a seccomp or SELinux execmem policy): allow it, or raise the limits (ulimit -v)", vcpu->id);
		return -ENOMEM;
	}
	pthread_mutex_lock(&s->lock);
	v->emul = ev;
	emul_intr(ev);		/* nobody could tell it of an interrupt that came before */
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static void soft_vcpu_exit(struct vcpu *vcpu)
{
	(void)vcpu;	/* belongs to the VM: others may still name it as the target of an interrupt */
}

static struct x86_segreg seg_from_kvm(const struct kvm_segment *k)
{
	return (struct x86_segreg){
		.sel = k->selector, .base = k->base, .limit = k->limit,
		.attr = (u16)(k->type | k->s << 4 | k->dpl << 5 | (k->present && !k->unusable) << 7 | k->avl << 12 |
			      k->l << 13 | k->db << 14 | k->g << 15),
	};
}

static struct kvm_segment seg_to_kvm(const struct x86_segreg *r)
{
	return (struct kvm_segment){
		.selector = r->sel, .base = r->base, .limit = r->limit, .type = r->attr & 15, .s = r->attr >> 4 & 1,
		.dpl = r->attr >> 5 & 3, .present = r->attr >> 7 & 1, .unusable = !(r->attr >> 7 & 1),
		.avl = r->attr >> 12 & 1, .l = r->attr >> 13 & 1, .db = r->attr >> 14 & 1, .g = r->attr >> 15 & 1,
	};
}

static int soft_set_boot_regs(struct vcpu *vcpu, const struct kvm_regs *r, const struct kvm_sregs *sr)
{
	struct emul_vcpu *ev = soft_vcpu(vcpu)->emul;
	struct x86_state *x = emul_x86_state(ev);
	const u64 gpr[16] = { r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
			      r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

	memcpy(x->gpr, gpr, sizeof(gpr));
	x->rip = r->rip;
	emul_x86_set_rflags(ev, r->rflags);
	x->seg[X86_CS] = seg_from_kvm(&sr->cs);
	x->seg[X86_DS] = seg_from_kvm(&sr->ds);
	x->seg[X86_ES] = seg_from_kvm(&sr->es);
	x->seg[X86_FS] = seg_from_kvm(&sr->fs);
	x->seg[X86_GS] = seg_from_kvm(&sr->gs);
	x->seg[X86_SS] = seg_from_kvm(&sr->ss);
	x->tr = seg_from_kvm(&sr->tr);
	x->ldtr = seg_from_kvm(&sr->ldt);
	x->gdtr = (struct x86_dtr){ .base = sr->gdt.base, .limit = sr->gdt.limit };
	x->idtr = (struct x86_dtr){ .base = sr->idt.base, .limit = sr->idt.limit };
	x->cr0 = sr->cr0;
	x->cr2 = sr->cr2;
	x->cr3 = sr->cr3;
	x->cr4 = sr->cr4;
	x->efer = sr->efer;
	emul_x86_changed(ev);
	return 0;
}

static int soft_get_regs(struct vcpu *vcpu, struct kvm_regs *r, struct kvm_sregs *sr)
{
	struct emul_vcpu *ev = soft_vcpu(vcpu)->emul;
	const struct x86_state *x = emul_x86_state(ev);

	*r = (struct kvm_regs){
		.rax = x->gpr[0], .rcx = x->gpr[1], .rdx = x->gpr[2], .rbx = x->gpr[3],
		.rsp = x->gpr[4], .rbp = x->gpr[5], .rsi = x->gpr[6], .rdi = x->gpr[7],
		.r8 = x->gpr[8], .r9 = x->gpr[9], .r10 = x->gpr[10], .r11 = x->gpr[11],
		.r12 = x->gpr[12], .r13 = x->gpr[13], .r14 = x->gpr[14], .r15 = x->gpr[15],
		.rip = x->rip, .rflags = emul_x86_rflags(ev),
	};
	*sr = (struct kvm_sregs){
		.cs = seg_to_kvm(&x->seg[X86_CS]), .ds = seg_to_kvm(&x->seg[X86_DS]), .es = seg_to_kvm(&x->seg[X86_ES]),
		.fs = seg_to_kvm(&x->seg[X86_FS]), .gs = seg_to_kvm(&x->seg[X86_GS]), .ss = seg_to_kvm(&x->seg[X86_SS]),
		.tr = seg_to_kvm(&x->tr), .ldt = seg_to_kvm(&x->ldtr),
		.gdt = { .base = x->gdtr.base, .limit = x->gdtr.limit },
		.idt = { .base = x->idtr.base, .limit = x->idtr.limit },
		.cr0 = x->cr0, .cr2 = x->cr2, .cr3 = x->cr3, .cr4 = x->cr4, .efer = x->efer,
	};
	return 0;
}

/*
 * INIT, start-up IPI and kicks, before the vCPU runs on. With the lock held; false: leave soft_run().
 */
static bool soft_events(struct soft_vm *s, struct soft_vcpu *v)
{
	for (;;) {
		if (v->kicked) {
			v->kicked = false;
			return false;
		}
		if (v->init) {
			/* SDM vol. 3 "MP Initialization Protocol": INIT makes an application processor wait for SIPI. */
			v->init = false;
			emul_vcpu_reset(v->emul, true);
			lapic_reset(&v->lapic, LAPIC_RESET_INIT);
			emul_intr(v->emul);	/* the PIC's output may still be up */
			v->wait_sipi = v->vcpu->id != 0;
		}
		if (v->sipi) {
			v->sipi = false;
			if (v->wait_sipi)
				emul_x86_sipi(v->emul, v->sipi_vector);
			v->wait_sipi = false;
		}
		if (!v->wait_sipi)
			return true;
		event_wait(&v->event, &s->lock);
	}
}

/*
 * Halted with interrupts off, a vCPU waits for an NMI, INIT or SMI: only another vCPU can send one. When all wait like
 * that, the guest has stopped for good (Linux without ACPI ends a power-off this way). With the lock held.
 */
static bool soft_halted_for_good(const struct soft_vm *s)
{
	for (unsigned int i = 0; i < s->nr_vcpus; i++)
		if (!s->vcpu[i].dead && !s->vcpu[i].wait_sipi)
			return false;
	return true;
}

static void soft_halt(struct soft_vm *s, struct soft_vcpu *v)
{
	bool over;

	pthread_mutex_lock(&s->lock);
	v->dead = !v->wake && !(emul_x86_rflags(v->emul) & X86_IF);
	over = v->dead && soft_halted_for_good(s);
	pthread_mutex_unlock(&s->lock);
	if (over)
		vm_end(s->vm, VM_END_POWEROFF, "the guest halted for good: every CPU waits with interrupts off");

	atomic_fetch_add(&s->vm->halted, 1);
	pthread_mutex_lock(&s->lock);
	while (!v->wake)
		event_wait(&v->event, &s->lock);
	atomic_fetch_sub(&s->vm->halted, 1);
	v->dead = false;
	pthread_mutex_unlock(&s->lock);
}

static enum vcpu_stop soft_run(struct vcpu *vcpu)
{
	struct soft_vm *s = vcpu->vm->accel;
	struct soft_vcpu *v = soft_vcpu(vcpu);
	struct emul_exit exit;

	for (;;) {
		bool go;

		pthread_mutex_lock(&s->lock);
		go = soft_events(s, v);
		v->wake = false;
		pthread_mutex_unlock(&s->lock);
		if (!go)
			return VCPU_STOP_KICK;

		emul_run(v->emul, &exit);
		switch (exit.reason) {
		case EMUL_EXIT_HALT:
			soft_halt(s, v);
			break;
		case EMUL_EXIT_KICK:
			break;
		case EMUL_EXIT_DEBUG:
			return VCPU_STOP_DEBUG;
		case EMUL_EXIT_SHUTDOWN:
			snprintf(vcpu->msg, sizeof(vcpu->msg), "%s", exit.msg ? exit.msg : "triple fault");
			return VCPU_STOP_SHUTDOWN;
		case EMUL_EXIT_ERROR:
			snprintf(vcpu->msg, sizeof(vcpu->msg), "%s", exit.msg ? exit.msg : "internal error");
			return VCPU_STOP_ERROR;
		}
	}
}

static void soft_kick(struct vcpu *vcpu)
{
	struct soft_vm *s = vcpu->vm->accel;
	struct soft_vcpu *v = soft_vcpu(vcpu);

	pthread_mutex_lock(&s->lock);
	v->kicked = true;
	if (v->emul)
		emul_kick(v->emul);
	soft_wake(v);
	pthread_mutex_unlock(&s->lock);
}

static void soft_nmi(struct vcpu *vcpu)
{
	struct soft_vm *s = vcpu->vm->accel;
	struct soft_vcpu *v = soft_vcpu(vcpu);

	pthread_mutex_lock(&s->lock);
	if (v->emul)
		emul_nmi(v->emul);
	soft_wake(v);
	pthread_mutex_unlock(&s->lock);
}

const struct accel_ops accel_soft = {
	.name		= "soft",
	.summary	= "software CPU: runs anywhere, without privileges",
	.probe		= soft_probe,
	.vm_init	= soft_vm_init,
	.vm_exit	= soft_vm_exit,
	.ram_add	= soft_ram_add,
	.vcpu_init	= soft_vcpu_init,
	.vcpu_exit	= soft_vcpu_exit,
	.set_boot_regs	= soft_set_boot_regs,
	.get_regs	= soft_get_regs,
	.run		= soft_run,
	.kick		= soft_kick,
	.irq_line	= soft_irq_line_op,
	.pit_irq	= soft_pit_irq,
	.msi		= soft_msi,
	.nmi		= soft_nmi,
	.dma_map	= soft_dma_map,
	.dma_unmap	= soft_dma_unmap,
	.stats		= soft_stats,
};
