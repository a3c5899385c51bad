// SPDX-License-Identifier: GPL-2.0-only
/*
 * aml.c - a writer of ACPI Machine Language
 */
#include <string.h>

#include "aml.h"

enum {
	OP_ZERO = 0x00, OP_ONE = 0x01, OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b, OP_DWORD = 0x0c,
	OP_STRING = 0x0d, OP_QWORD = 0x0e, OP_SCOPE = 0x10, OP_BUFFER = 0x11, OP_PACKAGE = 0x12,
	OP_METHOD = 0x14, OP_MULTI_NAME = 0x2f, OP_EXT = 0x5b, OP_ROOT = 0x5c, OP_ARG0 = 0x68, OP_ARG1 = 0x69,
	OP_STORE = 0x70, OP_AND = 0x7b, OP_NOTIFY = 0x86, OP_IF = 0xa0, OP_RETURN = 0xa4,
	OP_EXT_REGION = 0x80, OP_EXT_FIELD = 0x81, OP_EXT_DEVICE = 0x82,
	REGION_IO = 1, FIELD_DWORD = 3, FIELD_WRITE_ZEROS = 2 << 5,
};

/* Close a body: its length, which counts itself, goes in front of it. "Package Length Encoding". */
void aml_end(struct table *t, size_t start)
{
	size_t body = t->len - start, len;
	unsigned int extra, i;
	uint8_t *at;

	if (t->full)
		return;
	for (extra = 0; extra < 3; extra++)
		if (body + 1 + extra < (extra ? 1u << (4 + 8 * extra) : 0x40u))
			break;
	if (!table_grow(t, 1 + extra))
		return;
	at = t->data + start;
	memmove(at + 1 + extra, at, body);
	len = body + 1 + extra;
	if (!extra) {
		at[0] = len;
		return;
	}
	at[0] = extra << 6 | (len & 15);
	for (i = 0; i < extra; i++)
		at[1 + i] = len >> (4 + 8 * i);
}

void aml_ref(struct table *t, const char *name)
{
	if (*name == '\\') {
		put8(t, OP_ROOT);
		name++;
	}
	table_put(t, name, 4);
}

/* What has a name and a body: where aml_end() is to put the length of that. */
static size_t begin(struct table *t, uint8_t op, const char *name)
{
	size_t start;

	put8(t, op);
	start = t->len;
	aml_ref(t, name);
	return start;
}

size_t aml_scope(struct table *t, const char *name)
{
	return begin(t, OP_SCOPE, name);
}

size_t aml_device(struct table *t, const char *name)
{
	put8(t, OP_EXT);
	return begin(t, OP_EXT_DEVICE, name);
}

size_t aml_method(struct table *t, const char *name, unsigned int args)
{
	size_t start = begin(t, OP_METHOD, name);

	put8(t, args);
	return start;
}

size_t aml_package(struct table *t, unsigned int elements)
{
	size_t start;

	put8(t, OP_PACKAGE);
	start = t->len;
	put8(t, elements);
	return start;
}

size_t aml_if(struct table *t)
{
	put8(t, OP_IF);
	return t->len;
}

void aml_name(struct table *t, const char *name)
{
	put8(t, OP_NAME);
	aml_ref(t, name);
}

void aml_int(struct table *t, uint64_t val)
{
	if (val <= 1) {
		put8(t, val ? OP_ONE : OP_ZERO);
	} else if (val <= 0xff) {
		put8(t, OP_BYTE);
		put8(t, val);
	} else if (val <= 0xffff) {
		put8(t, OP_WORD);
		put16(t, val);
	} else if (val <= 0xffffffff) {
		put8(t, OP_DWORD);
		put32(t, val);
	} else {
		put8(t, OP_QWORD);
		put64(t, val);
	}
}

void aml_string(struct table *t, const char *s)
{
	put8(t, OP_STRING);
	table_put(t, s, strlen(s) + 1);
}

static unsigned int hex(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* "ASL EISAID Macro": three letters of five bits, four hexadecimal digits, most significant first. */
void aml_eisaid(struct table *t, const char *id)
{
	uint32_t val = (uint32_t)(id[0] & 31) << 26 | (id[1] & 31) << 21 | (id[2] & 31) << 16 |
		       hex(id[3]) << 12 | hex(id[4]) << 8 | hex(id[5]) << 4 | hex(id[6]);

	put8(t, OP_DWORD);
	put32(t, __builtin_bswap32(val));
}

void aml_return(struct table *t)
{
	put8(t, OP_RETURN);
}

void aml_store_arg0(struct table *t, const char *name)
{
	put8(t, OP_STORE);
	put8(t, OP_ARG0);
	aml_ref(t, name);
}

void aml_store_int(struct table *t, uint64_t val, const char *name)
{
	put8(t, OP_STORE);
	aml_int(t, val);
	aml_ref(t, name);
}

void aml_and_arg0(struct table *t, uint64_t val)
{
	put8(t, OP_AND);
	put8(t, OP_ARG0);
	aml_int(t, val);
	put8(t, OP_ZERO);		/* and nowhere else */
}

void aml_notify_arg1(struct table *t, const char *name)
{
	put8(t, OP_NOTIFY);
	aml_ref(t, name);
	put8(t, OP_ARG1);
}

void aml_path3(struct table *t, const char *root, const char *second, const char *third)
{
	put8(t, OP_ROOT);
	put8(t, OP_MULTI_NAME);
	put8(t, 3);
	aml_ref(t, root + 1);
	aml_ref(t, second);
	aml_ref(t, third);
}

void aml_op_region_io(struct table *t, const char *name, uint16_t port, uint8_t len)
{
	put8(t, OP_EXT);
	put8(t, OP_EXT_REGION);
	aml_ref(t, name);
	put8(t, REGION_IO);
	aml_int(t, port);
	aml_int(t, len);
}

size_t aml_field32(struct table *t, const char *region)
{
	size_t start;

	put8(t, OP_EXT);
	put8(t, OP_EXT_FIELD);
	start = t->len;
	aml_ref(t, region);
	put8(t, FIELD_DWORD | FIELD_WRITE_ZEROS);
	return start;
}

/* "Package Length Encoding" of its size in bits: less than 64 take a byte. */
void aml_field_unit(struct table *t, const char *name, unsigned int bits)
{
	table_put(t, name, 4);
	put8(t, bits & 63);
}

/* Resources: "Resource Data Types for ACPI" */

void aml_resources(struct aml_res *res)
{
	res->t = (struct table){ .data = res->buf, .cap = sizeof(res->buf) };
}

void aml_res_io(struct aml_res *res, uint16_t port, uint8_t len)
{
	put8(&res->t, 0x47);
	put8(&res->t, 1);		/* decodes 16 bits */
	put16(&res->t, port);
	put16(&res->t, port);
	put8(&res->t, 1);
	put8(&res->t, len);
}

void aml_res_irq(struct aml_res *res, unsigned int irq)
{
	put8(&res->t, 0x22);
	put16(&res->t, 1u << irq);
}

void aml_res_mem(struct aml_res *res, uint32_t addr, uint32_t len)
{
	put8(&res->t, 0x86);		/* "32-Bit Fixed Memory Range Descriptor" */
	put16(&res->t, 9);
	put8(&res->t, 1);		/* read and write */
	put32(&res->t, addr);
	put32(&res->t, len);
}

enum { WINDOW_MEM = 0, WINDOW_IO = 1, WINDOW_BUS = 2, WINDOW_FIXED = 0x0c };

static void window(struct aml_res *res, unsigned int width, uint8_t type, uint8_t flags, uint32_t first,
		   uint32_t last)
{
	put8(&res->t, width == 2 ? 0x88 : 0x87);
	put16(&res->t, 3 + 5 * width);
	put8(&res->t, type);
	put8(&res->t, WINDOW_FIXED);
	put8(&res->t, flags);
	table_int(&res->t, 0, width);
	table_int(&res->t, first, width);
	table_int(&res->t, last, width);
	table_int(&res->t, 0, width);
	table_int(&res->t, last - first + 1, width);
}

void aml_res_bus(struct aml_res *res, uint16_t first, uint16_t last)
{
	window(res, 2, WINDOW_BUS, 0, first, last);
}

void aml_res_io_window(struct aml_res *res, uint16_t first, uint16_t last)
{
	window(res, 2, WINDOW_IO, 3, first, last);	/* all of ISA's and other addresses */
}

void aml_res_mem_window(struct aml_res *res, uint32_t first, uint32_t last)
{
	window(res, 4, WINDOW_MEM, 1, first, last);	/* read and write, not cached */
}

void aml_resources_end(struct table *t, struct aml_res *res)
{
	size_t start;

	put8(&res->t, 0x79);
	put8(&res->t, 0);		/* no checksum */
	t->full |= res->t.full;
	put8(t, OP_BUFFER);
	start = t->len;
	aml_int(t, res->t.len);
	table_put(t, res->t.data, res->t.len);
	aml_end(t, start);
}
