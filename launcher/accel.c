// SPDX-License-Identifier: GPL-2.0-only
/*
 * accel.c - the list of back ends
 */
#include <string.h>

#include "accel.h"

const struct accel_ops *const accel_table[] = {
	&accel_module,
	&accel_soft,
	&accel_kvm,
	NULL,
};

const struct accel_ops *accel_by_name(const char *name)
{
	for (unsigned int i = 0; accel_table[i]; i++) {
		if (!strcmp(accel_table[i]->name, name))
			return accel_table[i];
	}
	return NULL;
}
