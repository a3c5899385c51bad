/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * msg.h - what the user is told
 *
 * An error says what was tried, on what, why it failed and what to do:
 *	die("open disk image '%s': %s. Check the path, or create it: truncate -s 1G %s", ...)
 * All go to stderr with "tenon: " before them; in raw terminal mode newlines become CR LF.
 */
#ifndef TENON_MSG_H
#define TENON_MSG_H

void msg_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void msg_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void msg_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* TENON_MSG_H */
