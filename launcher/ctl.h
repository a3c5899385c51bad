/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ctl.h - the control socket of a named machine
 */
#ifndef TENON_CTL_H
#define TENON_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_NAME_MAX	40u
#define CTL_PATH_MAX	108u		/* sun_path */

struct vm;
struct ctl;

/* Letters, digits, '.', '_' and '-', the first one a letter or digit. */
bool ctl_name_ok(const char *name);
/* The directory of sockets: private to the user, made if @create. 0, or -errno with a message printed. */
int ctl_dir(char dir[CTL_PATH_MAX], bool create);
/* The file in it: NAME and @suffix. */
int ctl_path(char path[CTL_PATH_MAX], const char *name, const char *suffix, bool create);

/* Listen, if the machine has a name. Main thread. 0, or -errno with a message printed. */
int ctl_init(struct vm *vm);
void ctl_exit(struct vm *vm);
/* Tell all clients. @data: the event's data in JSON, or NULL. With the device lock held. */
void ctl_event(struct vm *vm, const char *name, const char *data);
/* The same with a single number. */
void ctl_event_number(struct vm *vm, const char *name, const char *key, uint64_t val);
/* The guest wrote to its console. With the device lock held. */
void ctl_console(struct vm *vm, uint8_t byte);

#endif /* TENON_CTL_H */
