// SPDX-License-Identifier: GPL-2.0-only
/*
 * serial.c - 16550A UART as COM1, with the terminal at its other end
 *
 * Source: National Semiconductor "PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs".
 *
 * The line is as fast as the other end takes bytes: a byte written is gone at once, unless the terminal is
 * stalled, which shows as a transmitter that stays full. Three deliberate differences from the data sheet:
 *  - the character timeout is immediate, as nothing is gained by waiting for more;
 *  - OUT2 does not gate the interrupt, since software written for emulators leaves it clear;
 *  - input comes only when the guest shows an interest in it, by enabling the receive interrupt or by polling
 *    LSR, and what it has not read goes back when it loses that interest or clears the FIFO. A driver that
 *    probes for the chip and resets it does then not swallow the start of a script piped to the console.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../msg.h"
#include "../ui/term.h"
#include "devices.h"

#define FIFO_SIZE	16u
#define POLLED_READS	16u	/* of LSR in a row, with nothing else in between: somebody waits for input */

enum {
	REG_DATA = 0,		/* RBR, THR; DLAB: divisor low */
	REG_IER = 1,		/* DLAB: divisor high */
	REG_IIR = 2,		/* written: FCR */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
	NR_REGS = 8,
};

#define IER_RX		0x01
#define IER_THRE	0x02
#define IER_LINE	0x04
#define IER_MODEM	0x08
#define IER_ALL		0x0f

#define IIR_NONE	0x01
#define IIR_MODEM	0x00
#define IIR_THRE	0x02
#define IIR_RX		0x04
#define IIR_LINE	0x06
#define IIR_TIMEOUT	0x0c
#define IIR_FIFO	0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_CLEAR_TX	0x04
#define FCR_TRIGGER	6	/* shift */

#define LCR_DLAB	0x80

#define MCR_LOOP	0x10
#define MCR_ALL		0x1f

#define LSR_DR		0x01
#define LSR_OE		0x02
#define LSR_BI		0x10
#define LSR_THRE	0x20
#define LSR_TEMT	0x40
#define LSR_FIFO_ERROR	0x80

#define MSR_LINES	0xb0	/* CTS, DSR, DCD: somebody is there */

struct serial {
	struct vm *vm;
	uint8_t ier, fcr, lcr, mcr, scr;
	uint8_t lsr_errors;	/* OE, until LSR is read */
	uint8_t msr_lines, msr_delta;
	uint8_t dll, dlm;
	bool thre_intr;		/* transmitter empty, not yet seen in IIR */
	bool tx_stalled;	/* a byte is on its way and the terminal takes no more */
	bool irq;
	unsigned int polled;	/* LSR reads in a row */

	uint8_t rx[FIFO_SIZE];
	uint16_t rx_break;	/* which of them are a break, by index */
	uint16_t rx_typed;	/* which of them come from the terminal */
	unsigned int rx_head, rx_len;
};

static unsigned int rx_depth(const struct serial *s)
{
	return s->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static bool rx_head_break(const struct serial *s)
{
	return s->rx_len && (s->rx_break & (1u << s->rx_head));
}

static uint8_t serial_iir(const struct serial *s)
{
	static const uint8_t trigger[] = { 1, 4, 8, 14 };
	unsigned int level = s->fcr & FCR_ENABLE ? trigger[s->fcr >> FCR_TRIGGER] : 1;

	if ((s->ier & IER_LINE) && (s->lsr_errors || rx_head_break(s)))
		return IIR_LINE;
	if ((s->ier & IER_RX) && s->rx_len)
		return s->rx_len >= level ? IIR_RX : IIR_TIMEOUT;
	if ((s->ier & IER_THRE) && s->thre_intr)
		return IIR_THRE;
	if ((s->ier & IER_MODEM) && s->msr_delta)
		return IIR_MODEM;
	return IIR_NONE;
}

static void serial_update(struct serial *s)
{
	bool irq = serial_iir(s) != IIR_NONE;

	if (irq != s->irq) {
		s->irq = irq;
		vm_irq(s->vm, SERIAL_COM1_IRQ, irq);
	}
}

enum rx_kind { RX_LOOPED, RX_TYPED, RX_BREAK };

static void rx_put(struct serial *s, uint8_t byte, enum rx_kind kind)
{
	unsigned int i;

	if (s->rx_len >= rx_depth(s)) {
		s->lsr_errors |= LSR_OE;
		if (s->fcr & FCR_ENABLE)
			return;		/* the FIFO keeps what it has, the single register does not */
		s->rx_len = 0;
	}
	i = (s->rx_head + s->rx_len++) % FIFO_SIZE;
	s->rx[i] = byte;
	s->rx_break = (uint16_t)((s->rx_break & ~(1u << i)) | (unsigned int)(kind == RX_BREAK) << i);
	s->rx_typed = (uint16_t)((s->rx_typed & ~(1u << i)) | (unsigned int)(kind == RX_TYPED) << i);
}

/* Empty the receiver; input that nobody has read goes back to where it came from. */
static void rx_clear(struct serial *s)
{
	uint8_t back[FIFO_SIZE];
	size_t n = 0;

	for (unsigned int i = 0; i < s->rx_len; i++) {
		unsigned int at = (s->rx_head + i) % FIFO_SIZE;

		if (s->rx_typed & (1u << at))
			back[n++] = s->rx[at];
	}
	if (n)
		term_unread(back, n);
	s->rx_head = s->rx_len = 0;
	s->rx_break = s->rx_typed = 0;
}

/* Take from the terminal what fits, if the guest wants it. */
static void rx_fill(struct serial *s)
{
	uint8_t buf[FIFO_SIZE];
	size_t n;

	if ((s->mcr & MCR_LOOP) || s->rx_len >= rx_depth(s) ||
	    (!(s->ier & IER_RX) && s->polled < POLLED_READS))
		return;
	n = term_read(buf, rx_depth(s) - s->rx_len);
	for (size_t i = 0; i < n; i++)
		rx_put(s, buf[i], RX_TYPED);
}

static void tx_put(struct serial *s, uint8_t byte)
{
	s->thre_intr = false;
	if (s->mcr & MCR_LOOP) {
		rx_put(s, byte, RX_LOOPED);
	} else {
		term_write(byte);
		s->tx_stalled = !term_writable();
	}
	if (!s->tx_stalled)
		s->thre_intr = true;
}

static uint8_t serial_lsr(struct serial *s)
{
	uint8_t lsr = s->lsr_errors;

	if (s->rx_len)
		lsr |= LSR_DR;
	if (rx_head_break(s)) {
		lsr |= LSR_BI;
		if (s->fcr & FCR_ENABLE)
			lsr |= LSR_FIFO_ERROR;
		s->rx_break = (uint16_t)(s->rx_break & ~(1u << s->rx_head));
	}
	if (!s->tx_stalled)
		lsr |= LSR_THRE | LSR_TEMT;
	s->lsr_errors = 0;
	return lsr;
}

/* DTR, RTS, OUT1 and OUT2 come back as DSR, CTS, RI and DCD. */
static uint8_t loop_lines(uint8_t mcr)
{
	return (uint8_t)((mcr & 0x01) << 5 | (mcr & 0x02) << 3 | (mcr & 0x04) << 4 | (mcr & 0x08) << 4);
}

static void serial_set_mcr(struct serial *s, uint8_t mcr)
{
	uint8_t lines, changed;

	s->mcr = mcr & MCR_ALL;
	lines = s->mcr & MCR_LOOP ? loop_lines(s->mcr) : MSR_LINES;
	changed = lines ^ s->msr_lines;
	/* The delta bit of RI means its trailing edge. */
	s->msr_delta |= (changed >> 4) & 0x0b;
	if ((changed & 0x40) && !(lines & 0x40))
		s->msr_delta |= 0x04;
	s->msr_lines = lines;
}

static uint8_t serial_read_reg(struct serial *s, unsigned int reg)
{
	uint8_t val = 0xff;

	s->polled = reg == REG_LSR ? s->polled + (s->polled < POLLED_READS) : s->polled;
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			return s->dll;
		val = 0;
		if (s->rx_len) {
			val = s->rx[s->rx_head];
			s->rx_break = (uint16_t)(s->rx_break & ~(1u << s->rx_head));
			s->rx_head = (s->rx_head + 1) % FIFO_SIZE;
			s->rx_len--;
		}
		if (!s->rx_len)
			rx_fill(s);
		break;
	case REG_IER:
		return s->lcr & LCR_DLAB ? s->dlm : s->ier;
	case REG_IIR:
		val = serial_iir(s);
		if (val == IIR_THRE)
			s->thre_intr = false;
		if (s->fcr & FCR_ENABLE)
			val |= IIR_FIFO;
		break;
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		if (!s->rx_len)
			rx_fill(s);
		val = serial_lsr(s);
		break;
	case REG_MSR:
		val = s->msr_lines | s->msr_delta;
		s->msr_delta = 0;
		break;
	case REG_SCR:
		return s->scr;
	}
	serial_update(s);
	return val;
}

static void serial_write_reg(struct serial *s, unsigned int reg, uint8_t val)
{
	s->polled = 0;
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->dll = val;
		else
			tx_put(s, val);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB) {
			s->dlm = val;
			break;
		}
		/* Enabling the interrupt with the transmitter empty raises it anew: drivers test for that. */
		if ((val & ~s->ier & IER_THRE) && !s->tx_stalled)
			s->thre_intr = true;
		if ((s->ier & ~val & IER_RX) && !(s->mcr & MCR_LOOP))
			rx_clear(s);
		s->ier = val & IER_ALL;
		rx_fill(s);
		break;
	case REG_IIR:
		/* A change of the FIFO enable clears both FIFOs; other bits count only while it is set. */
		if ((val ^ s->fcr) & FCR_ENABLE)
			rx_clear(s);
		if (!(val & FCR_ENABLE))
			val = 0;
		if (val & FCR_CLEAR_RX)
			rx_clear(s);
		s->fcr = val & (FCR_ENABLE | 0xc0);
		rx_fill(s);
		break;
	case REG_LCR:
		s->lcr = val;
		break;
	case REG_MCR:
		serial_set_mcr(s, val);
		break;
	case REG_SCR:
		s->scr = val;
		break;
	}
	serial_update(s);
}

/* The UART is an 8-bit device: wider accesses become several, as on the ISA bus. */
static uint64_t serial_read(void *opaque, uint64_t off, unsigned int len)
{
	uint64_t val = 0;

	for (unsigned int i = 0; i < len; i++)
		val |= (uint64_t)serial_read_reg(opaque, (unsigned int)off + i) << (8 * i);
	return val;
}

static void serial_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		serial_write_reg(opaque, (unsigned int)off + i, (uint8_t)(val >> (8 * i)));
}

static const struct region_ops serial_region = {
	.read = serial_read,
	.write = serial_write,
};

static void serial_input(void *opaque)
{
	struct serial *s = opaque;

	rx_fill(s);
	serial_update(s);
}

static void serial_writable(void *opaque)
{
	struct serial *s = opaque;

	if (s->tx_stalled) {
		s->tx_stalled = false;
		s->thre_intr = true;
		serial_update(s);
	}
}

static void serial_break(void *opaque)
{
	struct serial *s = opaque;

	rx_put(s, 0, RX_BREAK);
	serial_update(s);
}

static const struct term_client serial_client = {
	.input = serial_input,
	.writable = serial_writable,
	.send_break = serial_break,
};

static void serial_reset(struct vm *vm, void *state)
{
	struct serial *s = state;

	(void)vm;
	s->ier = s->fcr = s->lcr = s->mcr = s->scr = 0;
	s->lsr_errors = s->msr_delta = 0;
	s->msr_lines = MSR_LINES;
	s->dll = 12;		/* 9600 baud */
	s->dlm = 0;
	s->polled = 0;
	s->thre_intr = false;
	s->tx_stalled = !term_writable();
	rx_clear(s);
	serial_update(s);
}

static int serial_init(struct vm *vm, void **state)
{
	struct serial *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	s->vm = vm;
	*state = s;
	serial_reset(vm, s);
	ret = bus_add(&vm->pio, SERIAL_COM1_BASE, NR_REGS, &serial_region, s, "serial");
	if (ret)
		return ret;
	term_attach(&serial_client, s);
	return 0;
}

static void serial_exit(struct vm *vm, void *state)
{
	if (!state)
		return;
	term_detach();
	bus_remove(&vm->pio, SERIAL_COM1_BASE, NR_REGS);
	free(state);
}

const struct device_ops serial_device = {
	.name = "serial",
	.init = serial_init,
	.reset = serial_reset,
	.exit = serial_exit,
};
