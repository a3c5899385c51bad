/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 9p.h - server of the protocol 9P2000.L: messages in, messages out
 *
 * The transport hands in one message at a time, from as many threads as it likes; a handler may block on the
 * host's file system. Tflush is the transport's, which alone knows what is under way.
 */
#ifndef TENON_9P_H
#define TENON_9P_H

#include <stdbool.h>
#include <stdint.h>

#define P9_MSIZE_MAX	(512u * 1024)	/* longest message; what a client asks for may be less */
#define P9_HEADER	7u		/* size[4] type[1] tag[2] */
#define P9_TFLUSH	108u
#define P9_NOTAG	0xffffu

struct p9_server;

/* Share @path. 0, or -errno with a message printed. */
int p9_open(struct p9_server **out, const char *path, bool readonly);
void p9_close(struct p9_server *srv);
/* End the session: all files that the guest has open are closed. No message is being handled. */
void p9_reset(struct p9_server *srv);

/*
 * Answer the message @req of @len bytes, of which the message itself may be less. @max is the room for the
 * reply. Returns its length, or 0 if what came is no message at all or the room does not even hold an error.
 */
uint32_t p9_handle(struct p9_server *srv, const void *req, uint32_t len, void *reply, uint32_t max);
/* The reply to a Tflush, likewise. */
uint32_t p9_flushed(uint16_t tag, void *reply, uint32_t max);

static inline uint8_t p9_type(const uint8_t *msg)
{
	return msg[4];
}

static inline uint16_t p9_tag(const uint8_t *msg)
{
	return msg[5] | msg[6] << 8;
}

#endif /* TENON_9P_H */
