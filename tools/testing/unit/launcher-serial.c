// SPDX-License-Identifier: GPL-2.0-only
/*
 * launcher-serial.c - the UART against its data sheet, and the steps by which Linux's 8250 driver recognises
 * one
 *
 * The terminal is replaced by buffers.
 */
#include "launcher-common.h"
#include "launcher/ui/term.h"

#define BASE	0x3f8
#define DATA	(BASE + 0)
#define IER	(BASE + 1)
#define IIR	(BASE + 2)
#define FCR	(BASE + 2)
#define LCR	(BASE + 3)
#define MCR	(BASE + 4)
#define LSR	(BASE + 5)
#define MSR	(BASE + 6)
#define SCR	(BASE + 7)
#define IRQ	4

static const struct term_client *client;
static void *client_opaque;
static char out[65536], in[4096];
static size_t out_len, in_len, in_pos;
static bool stalled, any_input;

void term_attach(const struct term_client *c, void *opaque)
{
	client = c;
	client_opaque = opaque;
}

void term_detach(void)
{
	client = NULL;
}

size_t term_read(uint8_t *buf, size_t len)
{
	size_t n = in_len - in_pos < len ? in_len - in_pos : len;

	memcpy(buf, in + in_pos, n);
	in_pos += n;
	return n;
}

void term_unread(const uint8_t *buf, size_t len)
{
	if (any_input)
		return;
	if (in_pos < len || memcmp(in + in_pos - len, buf, len))
		ok(false, "only what was read is given back");
	else
		in_pos -= len;
}

void term_write(uint8_t byte)
{
	if (out_len < sizeof(out))
		out[out_len++] = (char)byte;
}

bool term_writable(void)
{
	return !stalled;
}

bool term_is_raw(void)
{
	return false;
}

bool term_mid_line(void)
{
	return false;
}

void term_new_line(void)
{
}

static void type(const char *s)
{
	in_len = strlen(s);
	in_pos = 0;
	memcpy(in, s, in_len);
	client->input(client_opaque);
}

static void *state;

static void reset(void)
{
	stalled = false;
	in_len = in_pos = out_len = 0;
	serial_device.reset(&vm, state);
}

static void test_probe(void)
{
	uint8_t a, b;

	reset();
	/* Existence: IER keeps its low four bits only. */
	outb(IER, 0);
	a = inb(IER);
	outb(IER, 0x0f);
	b = inb(IER);
	outb(IER, 0xf0);
	ok(a == 0 && b == 0x0f && inb(IER) == 0, "IER has four bits");
	outb(IER, 0);

	/* Loopback test: OUT2 and RTS come back as DCD and CTS. */
	outb(MCR, 0x1a);
	is_u64(inb(MSR) & 0xf0, 0x90, "loopback of the modem lines");
	outb(MCR, 0x15);
	is_u64(inb(MSR) & 0xf0, 0x60, "and of the other two");
	outb(MCR, 0xff);
	is_u64(inb(MCR), 0x1f, "MCR has five bits");
	outb(MCR, 0);

	/* FIFO: IIR says it; EFR (650), EXCR (super I/O), and 64-byte (750) answers must not look like those
	 * chips. */
	outb(FCR, 0);
	is_u64(inb(IIR) >> 6, 0, "FIFO off");
	outb(FCR, 1);
	is_u64(inb(IIR) >> 6, 3, "FIFO on: a 16550A");
	outb(LCR, 0x80);
	ok(inb(IIR) != 0, "no EFR of a 16650");
	outb(LCR, 0);
	outb(FCR, 0x21);
	is_u64(inb(IIR) & 0x20, 0, "no 64-byte FIFO");
	outb(LCR, 0x80);
	outb(FCR, 0x21);
	is_u64(inb(IIR) & 0x20, 0, "not with DLAB either");
	outb(LCR, 0);

	for (unsigned int i = 0; i < 256; i += 51) {
		outb(SCR, (uint8_t)i);
		is_u64(inb(SCR), i, "scratch register");
	}
	outb(LCR, 0x83);
	outb(DATA, 0x34);
	outb(IER, 0x12);
	ok(inb(DATA) == 0x34 && inb(IER) == 0x12, "divisor latch");
	outb(LCR, 0x03);
	ok(inb(IER) == 0 && out_len == 0, "is not IER and THR");
	is_u64(inb(LCR), 0x03, "LCR reads back");
}

static void test_thre(void)
{
	reset();
	is_u64(inb(LSR), 0x60, "the transmitter starts empty");
	is_u64(inb(IIR), 0x01, "no interrupt");
	ok(!line[IRQ], "the line is low");
	/* What Linux checks for its UART_BUG_TXEN and UART_BUG_THRE. */
	outb(IER, 2);
	ok(line[IRQ], "enabling the interrupt raises it");
	is_u64(inb(IIR), 0x02, "IIR says transmitter empty");
	is_u64(inb(IIR), 0x01, "and reading it took that away");
	ok(!line[IRQ], "the line fell");
	outb(IER, 0);
	outb(IER, 2);
	is_u64(inb(IIR), 0x02, "enabling it again raises it again");
	outb(DATA, 'x');
	is_u64(inb(IIR), 0x02, "and so does a byte sent");
	ok(out_len == 1 && out[0] == 'x', "which has arrived");
	outb(IER, 2);
	is_u64(inb(IIR), 0x01, "writing the same IER does not raise it");

	edges[IRQ] = 0;
	outb(DATA, 'y');
	outb(IER, 0);
	ok(!line[IRQ] && edges[IRQ] == 1, "disabling it lowers the line");
}

static void test_rx(void)
{
	char got[64] = "";
	unsigned int n = 0;

	reset();
	type("hello");
	is_u64(inb(LSR) & 1, 0, "input waits while nobody wants it");
	outb(FCR, 0xc7);
	outb(IER, 1);
	ok(line[IRQ], "it comes with the receive interrupt enabled");
	is_u64(inb(IIR), 0xcc, "below the trigger level: time-out");
	while (inb(LSR) & 1 && n < sizeof(got) - 1)
		got[n++] = (char)inb(DATA);
	ok(!strcmp(got, "hello"), "all of it");
	ok(!line[IRQ], "and the line falls");
	is_u64(inb(IIR), 0xc1, "no interrupt");

	type("0123456789abcdefghijklmnopqrstuvwxyz");
	is_u64(inb(IIR), 0xc4, "at the trigger level: data");
	is_u64(in_pos, 16, "no more than the FIFO holds is taken");
	n = 0;
	memset(got, 0, sizeof(got));
	while (inb(LSR) & 1 && n < sizeof(got) - 1)
		got[n++] = (char)inb(DATA);
	ok(!strcmp(got, "0123456789abcdefghijklmnopqrstuvwxyz"), "nothing lost, nothing doubled");

	reset();
	outb(IER, 1);
	type("ab");
	is_u64(in_pos, 1, "one byte without FIFO");
	is_u64(inb(IIR), 0x04, "which is at the trigger level");
	ok(inb(DATA) == 'a' && inb(DATA) == 'b' && inb(DATA) == 0, "the next follows when it is read");

	/* A guest without interrupts, as boot loaders are. */
	reset();
	outb(FCR, 1);
	type("polled");
	n = 0;
	memset(got, 0, sizeof(got));
	for (unsigned int i = 0; i < 1000 && n < 6; i++) {
		if (inb(LSR) & 1)
			got[n++] = (char)inb(DATA);
	}
	ok(!strcmp(got, "polled"), "polling of LSR gets input");

	/* A kernel that writes, polls LSR for it, and then starts its driver. */
	reset();
	type("kept");
	for (unsigned int i = 0; i < 100; i++) {
		while (!(inb(LSR) & 0x20))
			;
		outb(DATA, '.');
	}
	outb(FCR, 0x07);
	inb(DATA);
	outb(IER, 5);
	n = 0;
	memset(got, 0, sizeof(got));
	while (inb(LSR) & 1 && n < sizeof(got) - 1)
		got[n++] = (char)inb(DATA);
	ok(!strcmp(got, "kept"), "a driver that starts up loses nothing");

	/* A driver that only looks what chip this is. */
	reset();
	type("kept again");
	outb(IER, 0x0f);
	is_u64(in_pos, 1, "an enabled interrupt takes a byte");
	outb(IER, 0);
	is_u64(in_pos, 0, "which goes back when it is disabled");
	is_u64(inb(LSR) & 1, 0, "and is no longer there");
	outb(FCR, 1);
	outb(IER, 1);
	is_u64(inb(DATA), 'k', "it comes again");
	outb(FCR, 0x03);
	outb(FCR, 0x00);
	n = 0;
	memset(got, 0, sizeof(got));
	while (inb(LSR) & 1 && n < sizeof(got) - 1)
		got[n++] = (char)inb(DATA);
	ok(!strcmp(got, "ept again"), "clearing and disabling the FIFO lose nothing");
}

static void test_loop(void)
{
	bool same = true;

	reset();
	outb(FCR, 1);
	outb(MCR, 0x10);
	for (unsigned int i = 0; i < 16; i++)
		outb(DATA, (uint8_t)(i * 3));
	is_u64(inb(LSR), 0x61, "loopback fills the FIFO");
	outb(DATA, 0xff);
	is_u64(inb(LSR), 0x63, "and overruns it");
	is_u64(inb(LSR), 0x61, "which is said once");
	for (unsigned int i = 0; i < 16; i++)
		same &= inb(DATA) == i * 3;
	ok(same && !(inb(LSR) & 1), "the bytes come back, without the one too many");
	is_u64(out_len, 0, "and nothing leaves");
	outb(FCR, 0);
	outb(DATA, 1);
	outb(DATA, 2);
	is_u64(inb(LSR), 0x63, "without FIFO the second byte overruns");
	is_u64(inb(DATA), 2, "the first");
	outb(MCR, 0);
}

static void test_line(void)
{
	reset();
	outb(FCR, 1);
	outb(IER, 0x04);
	client->send_break(client_opaque);
	ok(line[IRQ], "a break interrupts");
	is_u64(inb(IIR), 0xc6, "as line status");
	is_u64(inb(LSR), 0xf1, "LSR says break, with its byte");
	is_u64(inb(LSR), 0x61, "once");
	is_u64(inb(DATA), 0, "the byte is zero");
	ok(!line[IRQ], "the line falls");

	inb(MSR);
	outb(IER, 0x08);
	outb(MCR, 0x10);
	is_u64(inb(IIR), 0xc0, "modem lines that change interrupt");
	is_u64(inb(MSR), 0x0b, "CTS, DSR and DCD fell");
	is_u64(inb(IIR), 0xc1, "reading MSR ends that");
	outb(MCR, 0x14);
	is_u64(inb(MSR), 0x40, "a rising RI is no event");
	outb(MCR, 0x10);
	is_u64(inb(MSR), 0x04, "its trailing edge is");
	outb(MCR, 0);

	/* Priorities: line status, receive, transmit, modem. */
	reset();
	inb(MSR);
	outb(FCR, 1);
	outb(IER, 0x0f);
	outb(MCR, 0x10);
	outb(DATA, 'x');
	client->send_break(client_opaque);
	inb(DATA);
	is_u64(inb(IIR) & 0x0f, 0x06, "line status first");
	inb(LSR);
	is_u64(inb(IIR) & 0x0f, 0x04, "then received data");
	inb(DATA);
	is_u64(inb(IIR) & 0x0f, 0x02, "then the transmitter");
	is_u64(inb(IIR) & 0x0f, 0x00, "then the modem lines");
	inb(MSR);
	is_u64(inb(IIR) & 0x0f, 0x01, "then nothing");
}

static void test_stall(void)
{
	reset();
	outb(IER, 2);
	inb(IIR);
	stalled = true;
	outb(DATA, 'a');
	is_u64(inb(LSR) & 0x60, 0, "a stalled terminal shows as a full transmitter");
	is_u64(inb(IIR), 0x01, "without interrupt");
	outb(DATA, 'b');
	is_u64(out_len, 2, "a guest that does not care loses nothing");
	stalled = false;
	client->writable(client_opaque);
	ok(line[IRQ] && inb(IIR) == 0x02 && (inb(LSR) & 0x60) == 0x60,
	   "when it takes more, the guest hears of it");
}

static void test_wide(void)
{
	reset();
	pio_out(DATA, 0x0341, 2);
	ok(out_len == 1 && out[0] == 'A' && inb(IER) == 3, "a 16-bit write is two of 8");
	is_u64(pio_in(LCR, 1), 0, "LCR");
	is_u64(pio_in(MCR, 4) >> 8 & 0xff, 0x60, "a 32-bit read is four of 8");

	/* Nothing a guest does may fall over. */
	uint64_t seed = tap_seed(99);

	any_input = true;	/* type() forgets what it typed before */

	for (unsigned int i = 0; i < 200000; i++) {
		uint64_t r = tap_random(&seed);
		uint16_t port = (uint16_t)(BASE + (r & 7));
		unsigned int len = 1u << (r >> 3 & 3) > 4 ? 1 : 1u << (r >> 3 & 3);

		if (out_len > 60000)
			out_len = 0;
		stalled = !(r >> 8 & 0xff);
		if (!(r >> 16 & 0xff))
			type("random");
		if (!(r >> 24 & 0xfff))
			client->send_break(client_opaque);
		if (r & 32)
			pio_out(port, (uint32_t)(r >> 32), len);
		else
			pio_in(port, len);
	}
	ok(true, "200000 random accesses");
}

int main(void)
{
	fake_vm_init(64 << 20);
	is_u64((uint64_t)serial_device.init(&vm, &state), 0, "set up");
	test_probe();
	test_thre();
	test_rx();
	test_loop();
	test_line();
	test_stall();
	test_wide();
	serial_device.exit(&vm, state);
	ok(!client && inb(LSR) == 0xff, "taken down");
	fake_vm_exit();
	return tap_done();
}
