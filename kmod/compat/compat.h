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
#include <linux/syscore_ops.h>
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

/*
 * What is called with one CPU left and interrupts off, on the way into and out of suspend.
 *	old: register_syscore_ops(struct syscore_ops *), callbacks without an argument
 *	new: register_syscore(struct syscore *), callbacks with one
 */
#ifdef TENON_HAVE_REGISTER_SYSCORE
#define COMPAT_SYSCORE(name, do_suspend, do_resume)						\
	static int name##_suspend(void *data) { return do_suspend(); }				\
	static void name##_resume(void *data) { do_resume(); }					\
	static const struct syscore_ops name##_ops = {						\
		.suspend = name##_suspend, .resume = name##_resume,			\
	};											\
	static struct syscore name = { .ops = &name##_ops }
#define compat_register_syscore(s)	register_syscore(s)
#define compat_unregister_syscore(s)	unregister_syscore(s)
#else
#define COMPAT_SYSCORE(name, do_suspend, do_resume)						\
	static struct syscore_ops name = {							\
		.suspend = do_suspend, .resume = do_resume,					\
	}
#define compat_register_syscore(s)	register_syscore_ops(s)
#define compat_unregister_syscore(s)	unregister_syscore_ops(s)
#endif

/* Intel's secondary control of XSAVES: newer kernels give it another name. */
#ifdef TENON_HAVE_EXEC_ENABLE_XSAVES
#define COMPAT_EXEC_XSAVES SECONDARY_EXEC_ENABLE_XSAVES
#else
#define COMPAT_EXEC_XSAVES SECONDARY_EXEC_XSAVES
#endif

#endif /* TENON_COMPAT_H */
