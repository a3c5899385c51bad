// SPDX-License-Identifier: GPL-2.0-only
/*
 * msg.c - what the user is told
 *
 * A message is put together first and written by one call, so that threads don't mix theirs.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "msg.h"
#include "ui/term.h"

#define MSG_MAX		2048

static void msg_out(const char *prefix, const char *fmt, va_list ap)
{
	char text[MSG_MAX], line[MSG_MAX + MSG_MAX / 8];
	bool raw = term_is_raw();
	size_t n = 0;
	int off, saved = errno;

	off = snprintf(text, sizeof(text), "%s", prefix);
	vsnprintf(text + off, sizeof(text) - (size_t)off, fmt, ap);

	if (term_mid_line() && isatty(STDERR_FILENO))
		n = (size_t)snprintf(line, sizeof(line), raw ? "\r\n" : "\n");
	for (const char *p = text; *p && n < sizeof(line) - 3; p++) {
		if (*p == '\n' && raw)
			line[n++] = '\r';
		line[n++] = *p;
	}
	if (raw)
		line[n++] = '\r';
	line[n++] = '\n';
	for (size_t done = 0; done < n; ) {
		ssize_t ret = write(STDERR_FILENO, line + done, n - done);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			break;		/* nobody left to tell */
		done += (size_t)ret;
	}
	term_new_line();
	errno = saved;
}

void msg_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	msg_out("tenon: ", fmt, ap);
	va_end(ap);
}

void msg_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	msg_out("tenon: warning: ", fmt, ap);
	va_end(ap);
}

void msg_info(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	msg_out("tenon: ", fmt, ap);
	va_end(ap);
}
