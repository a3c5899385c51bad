// SPDX-License-Identifier: GPL-2.0-only
/*
 * lockstep.c - a VM's twin, and what the leader meets given to it
 *
 * Everything that is not deterministic comes in by emul_ops.input, by device access or by DMA. The leader's ops record,
 * the twin's replay. Devices run once, for the leader: what they write goes to a copy and reaches both memories between
 * two turns, or, if the leader's own access caused it, within that access. Requests to the leader are held back until
 * the next turn, so nothing comes in the middle of a block.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lockstep.h"

void lockstep_differ(struct emul_lockstep *ls, const char *fmt, ...)
{
	va_list ap;

	if (ls->why[0])
		return;
	va_start(ap, fmt);
	vsnprintf(ls->why, sizeof(ls->why), fmt, ap);
	va_end(ap);
}

/* --- the leader's side --- */

static struct lockstep_record *record(struct emul_lockstep *ls, enum emul_input kind)
{
	struct emul_stats st;
	struct lockstep_record *r;

	if (ls->nr == ls->room) {
		unsigned int room = ls->room ? 2 * ls->room : 256;
		void *p = realloc(ls->rec, room * sizeof(*ls->rec));

		if (!p) {
			lockstep_differ(ls, "no memory for what devices do between two comparisons");
			return &ls->no_room;
		}
		ls->rec = p;
		ls->room = room;
	}
	r = &ls->rec[ls->nr++];
	emul_vcpu_stats(ls->leader->vcpu[0], &st);
	*r = (struct lockstep_record){ .kind = kind, .insns = st.insns, .exceptions = st.exceptions };
	return r;
}

static u64 leader_input(void *opaque, struct emul_vcpu *vcpu, enum emul_input kind, u64 val)
{
	struct emul_lockstep *ls = vcpu->vm->lockstep;

	if (ls->ops->input)
		val = ls->ops->input(opaque, vcpu, kind, val);
	/* The interrupt may be about what a device has just written: both see it before the handler runs. */
	if (kind == EMUL_INPUT_INTR)
		lockstep_apply_dma(ls);
	record(ls, kind)->val = val;
	return val;
}

static u64 access_word(enum emul_space space, unsigned int len, bool write)
{
	return (u64)space | (u64)len << 8 | (u64)write << 16;
}

static void leader_access(void *opaque, struct emul_vcpu *vcpu, enum emul_space space, u64 addr, void *data,
			  unsigned int len, bool write)
{
	struct emul_lockstep *ls = vcpu->vm->lockstep;
	struct lockstep_record *r = record(ls, LOCKSTEP_ACCESS);

	r->val = access_word(space, len, write);
	r->extra = addr;
	ls->ops->access(opaque, vcpu, space, addr, data, len, write);
}

/* --- the twin's side --- */

static void write_memory(struct emul_vm *vm, u64 gpa, const u8 *was, const u8 *now, u64 len)
{
	const struct emul_slot *s = emul_slot_find(vm, gpa);

	/* Only what the device has changed: beside it, the guest may have written meanwhile. */
	for (u64 i = 0; i < len; i++) {
		u64 from = i;

		while (i < len && was[i] != now[i])
			i++;
		if (i > from) {
			memcpy(s->host + (gpa + from - s->gpa), now + from, i - from);
			emul_mark_dirty(s, gpa + from, i - from);
			emul_code_invalidate(vm, s, gpa + from, i - from);
		}
	}
}

struct lockstep_record *lockstep_peek(struct emul_lockstep *ls)
{
	while (ls->next < ls->nr) {
		struct lockstep_record *r = &ls->rec[ls->next];

		if (r->kind != EMUL_INPUT_DMA)
			return r;
		write_memory(ls->twin, r->val, r->data, r->data + r->extra, r->extra);
		free(r->data);
		ls->next++;
	}
	return NULL;
}

const char *lockstep_kind(enum emul_input kind)
{
	switch (kind) {
	case EMUL_INPUT_TSC: return "the time-stamp counter";
	case EMUL_INPUT_RANDOM: return "a random number";
	case EMUL_INPUT_IO: return "a device's value";
	case EMUL_INPUT_INTR: return "an interrupt";
	case EMUL_INPUT_NMI: return "an NMI";
	case EMUL_INPUT_SMI: return "an SMI";
	case EMUL_INPUT_MSR: return "a register of the interrupt controller";
	case EMUL_INPUT_OUTPUT: return "a value for a device";
	default: return kind == LOCKSTEP_ACCESS ? "a device access" : "something else";
	}
}

static const struct lockstep_record *take(struct emul_lockstep *ls, enum emul_input kind)
{
	struct lockstep_record *r = lockstep_peek(ls);

	if (!r || r->kind != kind) {
		lockstep_differ(ls, "the interpreter comes to %s, translated code to %s", lockstep_kind(kind),
				r ? lockstep_kind(r->kind) : "nothing of the kind");
		return NULL;
	}
	ls->next++;
	return r;
}

static u64 twin_input(void *opaque, struct emul_vcpu *vcpu, enum emul_input kind, u64 val)
{
	struct emul_lockstep *ls = vcpu->vm->lockstep;
	const struct lockstep_record *r = take(ls, kind);

	(void)opaque;
	if (!r)
		return kind == EMUL_INPUT_INTR ? ~0ULL : val;
	if (kind == EMUL_INPUT_OUTPUT && r->val != val)
		lockstep_differ(ls, "the interpreter writes %#llx to a device, translated code %#llx",
				(unsigned long long)val, (unsigned long long)r->val);
	return r->val;
}

static void twin_access(void *opaque, struct emul_vcpu *vcpu, enum emul_space space, u64 addr, void *data,
			unsigned int len, bool write)
{
	struct emul_lockstep *ls = vcpu->vm->lockstep;
	const struct lockstep_record *r = take(ls, LOCKSTEP_ACCESS);

	(void)opaque;
	if (!write)
		memset(data, 0, len);
	if (r && (r->extra != addr || r->val != access_word(space, len, write)))
		lockstep_differ(ls, "device access to %#llx (%u bytes) by the interpreter, to %#llx (%u bytes) by translated "
				"code, or one reads and the other writes", (unsigned long long)addr, len,
				(unsigned long long)r->extra, (unsigned int)(r->val >> 8 & 0xff));
	lockstep_peek(ls);	/* what the device has written during the access */
}

static int twin_ack(void *opaque, struct emul_vcpu *vcpu)
{
	(void)opaque, (void)vcpu;
	return -1;
}
static bool twin_pending(void *opaque, struct emul_vcpu *vcpu)
{
	(void)opaque, (void)vcpu;
	return false;
}
static u8 twin_tpr(void *opaque, struct emul_vcpu *vcpu)
{
	(void)opaque, (void)vcpu;
	return 0;
}
static void twin_set_tpr(void *opaque, struct emul_vcpu *vcpu, u8 tpr)
{
	(void)opaque, (void)vcpu, (void)tpr;
}
static bool twin_rdmsr(void *opaque, struct emul_vcpu *vcpu, u32 msr, u64 *val)
{
	(void)opaque, (void)vcpu, (void)msr;
	*val = 0;
	return false;
}
static bool twin_wrmsr(void *opaque, struct emul_vcpu *vcpu, u32 msr, u64 val)
{
	(void)opaque, (void)vcpu, (void)msr, (void)val;
	return false;
}
static u64 twin_tsc(void *opaque, struct emul_vcpu *vcpu)
{
	(void)opaque, (void)vcpu;
	return 0;
}

static const struct emul_ops twin_ops = {
	.access = twin_access, .intr_ack = twin_ack, .intr_pending = twin_pending, .tpr_get = twin_tpr,
	.tpr_set = twin_set_tpr, .msr_read = twin_rdmsr, .msr_write = twin_wrmsr, .tsc = twin_tsc, .input = twin_input,
};

/* --- devices --- */

void *emul_lockstep_dma_map(struct emul_vm *vm, u64 gpa, u64 len, const u8 *host)
{
	struct emul_lockstep *ls = vm->lockstep;
	struct lockstep_dma *d = malloc(sizeof(*d) + 2 * len);

	if (!d)
		return NULL;
	d->gpa = gpa;
	d->len = len;
	d->now = d->was + len;
	memcpy(d->was, host, len);
	memcpy(d->now, d->was, len);
	pthread_mutex_lock(&ls->lock);
	d->next = ls->maps;
	ls->maps = d;
	pthread_mutex_unlock(&ls->lock);
	return d->now;
}

void emul_lockstep_dma_unmap(struct emul_vm *vm, u64 gpa, u64 len)
{
	struct emul_lockstep *ls = vm->lockstep;
	struct lockstep_dma *d, **at;
	bool here = !ls->started || pthread_equal(ls->thread, pthread_self());

	if (ls->ops->input)
		ls->ops->input(vm->opaque, NULL, EMUL_INPUT_DMA, gpa);
	pthread_mutex_lock(&ls->lock);
	for (at = &ls->maps; (d = *at); at = &d->next)
		if (d->gpa == gpa && d->len >= len)
			break;
	if (d) {
		*at = d->next;
		d->next = NULL;
		if (!here) {
			*ls->done_end = d;
			ls->done_end = &d->next;
		}
	}
	pthread_mutex_unlock(&ls->lock);
	if (!d || !here)
		return;
	/* Within the leader's own access: others' come before it, then this one, at the same place for the twin. */
	write_memory(vm, gpa, d->was, d->now, d->len);
	if (ls->started) {
		struct lockstep_record *r = record(ls, EMUL_INPUT_DMA);

		r->val = gpa;
		r->extra = d->len;
		r->data = malloc(2 * d->len);
		if (r->data)
			memcpy(r->data, d->was, 2 * d->len);
		else
			r->extra = 0;
	}
	free(d);
}

void lockstep_apply_dma(struct emul_lockstep *ls)
{
	struct lockstep_dma *d;

	pthread_mutex_lock(&ls->lock);
	d = ls->done;
	ls->done = NULL;
	ls->done_end = &ls->done;
	pthread_mutex_unlock(&ls->lock);
	while (d) {
		struct lockstep_dma *next = d->next;

		write_memory(ls->leader, d->gpa, d->was, d->now, d->len);
		write_memory(ls->twin, d->gpa, d->was, d->now, d->len);
		free(d);
		d = next;
	}
}

bool emul_lockstep_wrote(struct emul_vm *vm, u64 gpa)
{
	struct emul_lockstep *ls = vm->lockstep;

	if (vm != ls->twin)
		return false;
	gpa &= EMUL_PAGE_MASK;
	for (unsigned int i = ls->nr_wrote; i-- > 0; )
		if (ls->wrote[i] == gpa)
			return true;
	if (ls->nr_wrote < LOCKSTEP_PAGES)
		ls->wrote[ls->nr_wrote++] = gpa;
	else
		ls->wrote_more = true;
	return true;
}

void lockstep_forget(struct emul_lockstep *ls)
{
	while (ls->next < ls->nr)
		free(ls->rec[ls->next++].data);
	ls->nr = ls->next = 0;
}

bool emul_lockstep_later(struct emul_vm *vm, u32 what)
{
	struct emul_lockstep *ls = vm->lockstep;

	if (vm != ls->leader || what & (EMUL_REQ_STALE | EMUL_REQ_POKE))
		return false;
	atomic_fetch_or(&ls->later, what);
	if (!ls->blocks && vm->nr_vcpus)	/* come to the next turn */
		atomic_fetch_or(&vm->vcpu[0]->request, EMUL_REQ_POKE);
	return true;
}

/* --- making and unmaking --- */

bool emul_lockstep_init(struct emul_vm *vm, char *err, size_t errlen)
{
	struct emul_lockstep *ls = calloc(1, sizeof(*ls));
	struct emul_config cfg = vm->cfg;

	if (vm->cfg.max_vcpus != 1) {
		snprintf(err, errlen, "lockstep is for one vCPU: what several do to one another's memory cannot be replayed");
		free(ls);
		return false;
	}
	if (!ls) {
		snprintf(err, errlen, "software CPU: out of memory");
		return false;
	}
	cfg.lockstep = EMUL_LOCKSTEP_OFF;
	cfg.jit = EMUL_JIT_OFF;
	ls->leader = vm;
	ls->blocks = vm->cfg.lockstep == EMUL_LOCKSTEP_BLOCKS;
	ls->ops = vm->ops;
	ls->leader_ops = *vm->ops;
	ls->leader_ops.input = leader_input;
	ls->leader_ops.access = leader_access;
	ls->twin_ops = twin_ops;
	ls->done_end = &ls->done;
	ls->copy = true;
	pthread_mutex_init(&ls->lock, NULL);
	ls->twin = emul_vm_create(&cfg, &ls->twin_ops, NULL, err, errlen);
	if (!ls->twin) {
		free(ls);
		return false;
	}
	ls->twin->lockstep = ls;
	vm->lockstep = ls;
	vm->ops = &ls->leader_ops;
	return true;
}

bool emul_lockstep_vcpu(struct emul_vm *vm, unsigned int id)
{
	struct emul_lockstep *ls = vm->lockstep;

	return vm == ls->twin || emul_vcpu_create(ls->twin, id, NULL);
}

int emul_lockstep_mem(struct emul_vm *vm, u64 gpa, u64 size, unsigned int flags)
{
	void *p;
	int ret;

	if (vm == vm->lockstep->twin)
		return 0;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	ret = emul_mem_add(vm->lockstep->twin, gpa, size, p, flags);
	if (ret)
		munmap(p, size);
	return ret;
}

static void free_list(struct lockstep_dma *d)
{
	while (d) {
		struct lockstep_dma *next = d->next;

		free(d);
		d = next;
	}
}

void emul_lockstep_exit(struct emul_vm *vm)
{
	struct emul_lockstep *ls = vm->lockstep;

	for (unsigned int i = 0; i < ls->twin->nr_slots; i++)
		munmap(ls->twin->slot[i].host, ls->twin->slot[i].size);
	ls->twin->lockstep = NULL;
	emul_vm_destroy(ls->twin);
	lockstep_forget(ls);
	free_list(ls->maps);
	free_list(ls->done);
	free(ls->rec);
	free(ls);
	vm->lockstep = NULL;
}
