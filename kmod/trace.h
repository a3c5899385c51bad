/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * trace.h - tracepoints: what passes between a guest and the module
 *
 * perf record -e 'tenon:*', or /sys/kernel/tracing/events/tenon. An exit's reason is the vendor's number.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM tenon

#if !defined(TENON_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define TENON_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(tenon_entry,
	TP_PROTO(u32 vcpu, u64 rip),
	TP_ARGS(vcpu, rip),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->rip = rip;
	),
	TP_printk("vcpu %u rip %#llx", __entry->vcpu, __entry->rip)
);

TRACE_EVENT(tenon_exit,
	TP_PROTO(u32 vcpu, u64 rip, u64 reason, u64 info1, u64 info2),
	TP_ARGS(vcpu, rip, reason, info1, info2),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u64, rip)
		__field(u64, reason)
		__field(u64, info1)
		__field(u64, info2)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->rip = rip;
		__entry->reason = reason;
		__entry->info1 = info1;
		__entry->info2 = info2;
	),
	TP_printk("vcpu %u rip %#llx reason %#llx info %#llx %#llx", __entry->vcpu, __entry->rip,
		  __entry->reason, __entry->info1, __entry->info2)
);

TRACE_EVENT(tenon_inject,
	TP_PROTO(u32 vcpu, const char *what, u8 vector, bool has_error, u32 error),
	TP_ARGS(vcpu, what, vector, has_error, error),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(const char *, what)
		__field(u8, vector)
		__field(bool, has_error)
		__field(u32, error)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->what = what;
		__entry->vector = vector;
		__entry->has_error = has_error;
		__entry->error = error;
	),
	TP_printk("vcpu %u %s vector %u error %#x%s", __entry->vcpu, __entry->what, __entry->vector,
		  __entry->error, __entry->has_error ? "" : " (none)")
);

TRACE_EVENT(tenon_page_fault,
	TP_PROTO(u32 vcpu, u64 rip, u64 gpa, u64 error),
	TP_ARGS(vcpu, rip, gpa, error),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(u64, rip)
		__field(u64, gpa)
		__field(u64, error)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->rip = rip;
		__entry->gpa = gpa;
		__entry->error = error;
	),
	TP_printk("vcpu %u rip %#llx gpa %#llx error %#llx", __entry->vcpu, __entry->rip, __entry->gpa,
		  __entry->error)
);

TRACE_EVENT(tenon_msr,
	TP_PROTO(u32 vcpu, bool write, u32 msr, u64 value, bool refused),
	TP_ARGS(vcpu, write, msr, value, refused),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(bool, write)
		__field(u32, msr)
		__field(u64, value)
		__field(bool, refused)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->write = write;
		__entry->msr = msr;
		__entry->value = value;
		__entry->refused = refused;
	),
	TP_printk("vcpu %u %s %#x value %#llx%s", __entry->vcpu, __entry->write ? "wrmsr" : "rdmsr",
		  __entry->msr, __entry->value, __entry->refused ? " #GP" : "")
);

TRACE_EVENT(tenon_pio,
	TP_PROTO(u32 vcpu, bool in, u16 port, unsigned int size, u32 count, u32 value),
	TP_ARGS(vcpu, in, port, size, count, value),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(bool, in)
		__field(u16, port)
		__field(u8, size)
		__field(u32, count)
		__field(u32, value)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->in = in;
		__entry->port = port;
		__entry->size = size;
		__entry->count = count;
		__entry->value = value;
	),
	TP_printk("vcpu %u %s port %#x size %u count %u value %#x", __entry->vcpu,
		  __entry->in ? "in" : "out", __entry->port, __entry->size, __entry->count, __entry->value)
);

TRACE_EVENT(tenon_mmio,
	TP_PROTO(u32 vcpu, bool write, u64 gpa, unsigned int len, u64 value),
	TP_ARGS(vcpu, write, gpa, len, value),
	TP_STRUCT__entry(
		__field(u32, vcpu)
		__field(bool, write)
		__field(u64, gpa)
		__field(u8, len)
		__field(u64, value)
	),
	TP_fast_assign(
		__entry->vcpu = vcpu;
		__entry->write = write;
		__entry->gpa = gpa;
		__entry->len = len;
		__entry->value = value;
	),
	TP_printk("vcpu %u %s gpa %#llx len %u value %#llx", __entry->vcpu,
		  __entry->write ? "write" : "read", __entry->gpa, __entry->len, __entry->value)
);

#endif /* TENON_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
