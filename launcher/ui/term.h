/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * term.h - the terminal (or file, or pipe) on standard input and output as the guest's console
 *
 * Output is queued and written by a thread of its own: a reader that stalls holds up the console, not the
 * machine. Input is pulled by the device behind it, at the guest's pace.
 */
#ifndef TENON_TERM_H
#define TENON_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

/* The device at the guest's end; its functions are called with the device lock held. */
struct term_client {
	void (*input)(void *opaque);		/* term_read() has something (more) */
	void (*writable)(void *opaque);		/* term_writable() is true again */
	void (*send_break)(void *opaque);
};

/* Signals, terminal mode, threads. Main thread, before any device; 0 or -errno with a message printed. */
int term_init(struct vm *vm);
/* Write what is queued, at most @patience_ms long (-1: as long as it takes), and give the terminal back. */
void term_exit(int patience_ms);

void term_attach(const struct term_client *client, void *opaque);
void term_detach(void);

/* The client's calls, with the device lock held. */
size_t term_read(uint8_t *buf, size_t len);
void term_unread(const uint8_t *buf, size_t len);
void term_write(uint8_t byte);
/* Keys that came another way than from standard input. With the device lock held. */
void term_type(const uint8_t *keys, size_t len);
/* Keep input back until the guest is ready for it. */
void term_hold(bool hold);
/* How many bytes term_read() has given so far (modulo 2^32), and was that all there will be? */
uint32_t term_taken(bool *end);
bool term_writable(void);

/* For messages: is the terminal in raw mode; did the guest's last byte leave the cursor inside a line? */
bool term_is_raw(void);
bool term_mid_line(void);
void term_new_line(void);

#endif /* TENON_TERM_H */
