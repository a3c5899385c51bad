/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * aml.h - a writer of ACPI Machine Language
 *
 * ACPI Specification, "ACPI Machine Language (AML) Specification". What has a body is opened and closed:
 *
 *	size_t dev = aml_device(t, "COM1");
 *	aml_name(t, "_HID"), aml_eisaid(t, "PNP0501");
 *	aml_end(t, dev);
 */
#ifndef TENON_AML_H
#define TENON_AML_H

#include "table.h"

/* Objects with a body; aml_end() with their result fills in the length. */
size_t aml_scope(struct table *t, const char *name);
size_t aml_device(struct table *t, const char *name);
size_t aml_method(struct table *t, const char *name, unsigned int args);
size_t aml_package(struct table *t, unsigned int elements);
size_t aml_if(struct table *t);			/* the predicate follows */
void aml_end(struct table *t, size_t start);

void aml_name(struct table *t, const char *name);	/* Name(): the value follows */
void aml_ref(struct table *t, const char *name);	/* a name as a term: "\\_SB_" or four letters */
void aml_int(struct table *t, uint64_t val);
void aml_string(struct table *t, const char *s);
void aml_eisaid(struct table *t, const char *id);
void aml_return(struct table *t);			/* the value follows */
void aml_store_arg0(struct table *t, const char *name);
void aml_store_int(struct table *t, uint64_t val, const char *name);
void aml_and_arg0(struct table *t, uint64_t val);		/* And(Arg0, val), as a value */
void aml_notify_arg1(struct table *t, const char *name);	/* Notify(name, Arg1) */
void aml_path3(struct table *t, const char *root, const char *second, const char *third);	/* \A.B.C */

/* Registers: a range of I/O ports, then aml_field32() ... aml_field_unit() ... aml_end(). */
void aml_op_region_io(struct table *t, const char *name, uint16_t port, uint8_t len);
size_t aml_field32(struct table *t, const char *region);	/* accessed by 32 bits */
void aml_field_unit(struct table *t, const char *name, unsigned int bits);

/* Resource templates: aml_resources() ... aml_resources_end(). */
struct aml_res {
	uint8_t buf[256];
	struct table t;
};
void aml_resources(struct aml_res *res);
void aml_res_io(struct aml_res *res, uint16_t port, uint8_t len);
void aml_res_irq(struct aml_res *res, unsigned int irq);
void aml_res_mem(struct aml_res *res, uint32_t addr, uint32_t len);
void aml_res_bus(struct aml_res *res, uint16_t first, uint16_t last);
void aml_res_io_window(struct aml_res *res, uint16_t first, uint16_t last);
void aml_res_mem_window(struct aml_res *res, uint32_t first, uint32_t last);
void aml_resources_end(struct table *t, struct aml_res *res);	/* Buffer() of it */

#endif /* TENON_AML_H */
