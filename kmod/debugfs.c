// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugfs.c - counters: /sys/kernel/debug/tenon/
 *
 *	total		all VMs since the module was loaded, those that are gone included
 *	PID-N/total	a VM, by the process that made it and a running number
 *	PID-N/vcpuID	one of its vCPUs
 *
 * A vCPU's thread alone counts, without a lock; a reader may see a sum that is a little behind.
 */
#include <linux/debugfs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

#define CREATE_TRACE_POINTS
#include "trace.h"
#include "tenon.h"

static DEFINE_MUTEX(vms_lock);
static LIST_HEAD(vms);
static struct tenon_stats gone;
static struct dentry *root;
static u32 numbers;

#define COUNTER(name) { #name, offsetof(struct tenon_stats, name) }
static const struct {
	const char *name;
	size_t offset;
} counters[] = {
	COUNTER(exits),
	COUNTER(halts),
	COUNTER(interrupts),
	COUNTER(nmis),
	COUNTER(exceptions),
	COUNTER(faults),
	COUNTER(msrs),
	COUNTER(hypercalls),
	COUNTER(io_user),
	COUNTER(mmio_user),
	COUNTER(signals),
	COUNTER(flushes),
	COUNTER(tlb_flushes),
	COUNTER(yields),
};

static_assert(ARRAY_SIZE(counters) * sizeof(u64) == sizeof(struct tenon_stats));

static u64 *counter(struct tenon_stats *s, unsigned int n)
{
	return (void *)s + counters[n].offset;
}

static void show(struct seq_file *m, struct tenon_stats *s)
{
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(counters); n++)
		seq_printf(m, "%s %llu\n", counters[n].name, *counter(s, n));
}

static void add_vcpu(struct tenon_stats *sum, struct tenon_vcpu *vcpu)
{
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(counters); n++)
		*counter(sum, n) += READ_ONCE(*counter(&vcpu->stats, n));
}

static void add_vm(struct tenon_stats *sum, struct tenon_vm *vm)
{
	unsigned int n, count = tenon_nr_vcpus(vm);

	for (n = 0; n < count; n++)
		add_vcpu(sum, vm->vcpu[n]);
}

static int vcpu_show(struct seq_file *m, void *unused)
{
	struct tenon_stats sum = {};

	add_vcpu(&sum, m->private);
	show(m, &sum);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vcpu);

static int vm_show(struct seq_file *m, void *unused)
{
	struct tenon_vm *vm = m->private;
	struct tenon_stats sum = {};

	add_vm(&sum, vm);
	seq_printf(m, "vcpus %u\n", tenon_nr_vcpus(vm));
	show(m, &sum);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(vm);

static int all_show(struct seq_file *m, void *unused)
{
	unsigned int nr_vms = 0, nr_vcpus = 0;
	struct tenon_stats sum;
	struct tenon_vm *vm;

	mutex_lock(&vms_lock);
	sum = gone;
	list_for_each_entry(vm, &vms, list) {
		nr_vms++;
		nr_vcpus += tenon_nr_vcpus(vm);
		add_vm(&sum, vm);
	}
	mutex_unlock(&vms_lock);
	seq_printf(m, "vms %u\nvcpus %u\n", nr_vms, nr_vcpus);
	show(m, &sum);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(all);

/* Without debugfs the calls below do nothing. */
void tenon_debugfs_vcpu(struct tenon_vcpu *vcpu)
{
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	debugfs_create_file(name, 0444, vcpu->vm->debugfs, vcpu, &vcpu_fops);
}

void tenon_debugfs_vm(struct tenon_vm *vm)
{
	char name[32];

	mutex_lock(&vms_lock);
	snprintf(name, sizeof(name), "%d-%u", task_tgid_nr(current), numbers++);
	list_add(&vm->list, &vms);
	mutex_unlock(&vms_lock);
	vm->debugfs = debugfs_create_dir(name, root);
	debugfs_create_file("total", 0444, vm->debugfs, vm, &vm_fops);
}

/* Returns when nobody reads there any more. */
void tenon_debugfs_vm_gone(struct tenon_vm *vm)
{
	debugfs_remove(vm->debugfs);
	mutex_lock(&vms_lock);
	list_del(&vm->list);
	add_vm(&gone, vm);
	mutex_unlock(&vms_lock);
}

void tenon_debugfs_setup(void)
{
	root = debugfs_create_dir("tenon", NULL);
	debugfs_create_file("total", 0444, root, NULL, &all_fops);
}

void tenon_debugfs_teardown(void)
{
	debugfs_remove(root);
}
