/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * compat.h - the one place that knows that kernels differ
 *
 * What differs is found by looking for it in the headers that the module is built against
 * (kmod/compat/probe), never by a version: distributions backport.
 */
#ifndef TENON_COMPAT_H
#define TENON_COMPAT_H

#include <linux/eventfd.h>
#include <linux/kvm.h>
/* smp_send_reschedule() is a macro round a tracepoint in newer kernels. */
#include <trace/events/ipi.h>

/*
 * Signal an eventfd.
 *	old: __u64 eventfd_signal(struct eventfd_ctx *ctx, __u64 n)
 *	new: void eventfd_signal(struct eventfd_ctx *ctx)
 */
static inline void compat_eventfd_signal(struct eventfd_ctx *ctx)
{
#ifdef TENON_HAVE_EVENTFD_SIGNAL_COUNT
	eventfd_signal(ctx, 1);
#else
	eventfd_signal(ctx);
#endif
}

/*
 * kvm_run.immediate_exit, which user space writes at any time: newer headers give it another name
 * inside the kernel.
 */
static inline u8 compat_immediate_exit(const struct kvm_run *run)
{
#ifdef TENON_HAVE_IMMEDIATE_EXIT_UNSAFE
	return READ_ONCE(run->immediate_exit__unsafe);
#else
	return READ_ONCE(run->immediate_exit);
#endif
}

#endif /* TENON_COMPAT_H */
