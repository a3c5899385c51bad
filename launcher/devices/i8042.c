// SPDX-License-Identifier: GPL-2.0-only
/*
 * i8042.c - keyboard controller with nothing plugged in, port 0x92, and the two ways of reset that they offer
 *
 * Sources: IBM "PS/2 Hardware Interface Technical Reference: Keyboard and Auxiliary Device Controller"; Intel
 * "82371AB PCI-TO-ISA/IDE Xcelerator (PIIX4)" for port 92h.
 *
 * A byte sent to an absent device is answered at once by what the controller puts in place of an answer that
 * does not come: 0xfe with the time-out bit. Probing drivers give up on that without waiting. The A20 gate
 * can be read back and has no other effect: A20 is always enabled.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices.h"

#define I8042_DATA	0x60
#define I8042_STATUS	0x64
#define PORT92		0x92

#define I8042_KBD_IRQ	1
#define I8042_AUX_IRQ	12

#define STATUS_OBF	0x01
#define STATUS_SYSTEM	0x04
#define STATUS_COMMAND	0x08	/* the last write went to the command port */
#define STATUS_UNLOCKED	0x10
#define STATUS_AUX	0x20
#define STATUS_TIMEOUT	0x40

#define CTR_KBD_INT	0x01
#define CTR_AUX_INT	0x02
#define CTR_SYSTEM	0x04
#define CTR_KBD_OFF	0x10
#define CTR_AUX_OFF	0x20
#define CTR_XLATE	0x40

#define OUT_RESET	0x01	/* active low */
#define OUT_A20		0x02
#define OUT_KBD_CLOCK	0xc0

#define NO_ANSWER	0xfe
#define RAM_SIZE	32

struct i8042 {
	struct vm *vm;
	uint8_t ram[RAM_SIZE];	/* [0] is the command byte */
	uint8_t out;		/* output port */
	uint8_t command;	/* that waits for its data byte; 0: none */
	bool last_command;

	/* output buffer */
	bool full;
	uint8_t data, source;	/* source: STATUS_AUX, STATUS_TIMEOUT */

	bool irq_kbd, irq_aux;
};

static void i8042_update(struct i8042 *k)
{
	bool aux = k->full && (k->source & STATUS_AUX) && (k->ram[0] & CTR_AUX_INT);
	bool kbd = k->full && !(k->source & STATUS_AUX) && (k->ram[0] & CTR_KBD_INT);

	if (kbd != k->irq_kbd) {
		k->irq_kbd = kbd;
		vm_irq(k->vm, I8042_KBD_IRQ, kbd);
	}
	if (aux != k->irq_aux) {
		k->irq_aux = aux;
		vm_irq(k->vm, I8042_AUX_IRQ, aux);
	}
}

static void i8042_answer(struct i8042 *k, uint8_t data, uint8_t source)
{
	k->data = data;
	k->source = source;
	k->full = true;
}

static void i8042_set_out(struct i8042 *k, uint8_t val)
{
	k->out = val;
	if (!(val & OUT_RESET))
		vm_reset_request(k->vm);
}

static uint8_t i8042_status(const struct i8042 *k)
{
	uint8_t status = STATUS_UNLOCKED | (k->ram[0] & CTR_SYSTEM ? STATUS_SYSTEM : 0);

	if (k->full)
		status |= STATUS_OBF | k->source;
	if (k->last_command)
		status |= STATUS_COMMAND;
	return status;
}

static void i8042_command(struct i8042 *k, uint8_t cmd)
{
	k->command = 0;
	switch (cmd) {
	case 0x20 ... 0x3f:		/* read RAM */
		i8042_answer(k, k->ram[cmd & (RAM_SIZE - 1)], 0);
		break;
	case 0x60 ... 0x7f:		/* write RAM */
	case 0xd1 ... 0xd4:		/* output port, buffers, auxiliary device */
		k->command = cmd;
		break;
	case 0xa7:
		k->ram[0] |= CTR_AUX_OFF;
		break;
	case 0xa8:
		k->ram[0] &= (uint8_t)~CTR_AUX_OFF;
		break;
	case 0xa9:			/* auxiliary interface test: clock line stuck low, no port there */
		i8042_answer(k, 0x01, 0);
		break;
	case 0xaa:			/* self-test */
		k->ram[0] |= CTR_SYSTEM;
		i8042_answer(k, 0x55, 0);
		break;
	case 0xab:			/* keyboard interface test: good */
		i8042_answer(k, 0x00, 0);
		break;
	case 0xad:
		k->ram[0] |= CTR_KBD_OFF;
		break;
	case 0xae:
		k->ram[0] &= (uint8_t)~CTR_KBD_OFF;
		break;
	case 0xc0:			/* input port: keyboard not locked */
		i8042_answer(k, 0x80, 0);
		break;
	case 0xd0:
		i8042_answer(k, k->out, 0);
		break;
	case 0xdd:			/* A20 off, on */
	case 0xdf:
		i8042_set_out(k, (uint8_t)(cmd == 0xdf ? k->out | OUT_A20 : k->out & ~OUT_A20));
		break;
	case 0xe0:			/* test inputs: both clocks high */
		i8042_answer(k, 0x03, 0);
		break;
	case 0xf0 ... 0xff:		/* pulse output port bits low; bit 0 is the processor's reset */
		if (!(cmd & OUT_RESET))
			vm_reset_request(k->vm);
		break;
	}
}

static void i8042_data(struct i8042 *k, uint8_t val)
{
	uint8_t cmd = k->command;

	k->command = 0;
	switch (cmd) {
	case 0:
		i8042_answer(k, NO_ANSWER, STATUS_TIMEOUT);
		break;
	case 0x60 ... 0x7f:
		k->ram[cmd & (RAM_SIZE - 1)] = val;
		break;
	case 0xd1:
		i8042_set_out(k, val);
		break;
	case 0xd2:
	case 0xd3:			/* no auxiliary port: what is looped back comes as the keyboard's */
		i8042_answer(k, val, 0);
		break;
	case 0xd4:
		i8042_answer(k, NO_ANSWER, STATUS_TIMEOUT);
		break;
	}
}

static uint64_t i8042_read(void *opaque, uint64_t off, unsigned int len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	k->full = false;
	i8042_update(k);
	return k->data;
}

static void i8042_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	k->last_command = false;
	i8042_data(k, (uint8_t)val);
	i8042_update(k);
}

static uint64_t i8042_status_read(void *opaque, uint64_t off, unsigned int len)
{
	(void)off;
	(void)len;
	return i8042_status(opaque);
}

static void i8042_command_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	k->last_command = true;
	i8042_command(k, (uint8_t)val);
	i8042_update(k);
}

static uint64_t port92_read(void *opaque, uint64_t off, unsigned int len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	return k->out & OUT_A20;
}

static void port92_write(void *opaque, uint64_t off, uint64_t val, unsigned int len)
{
	struct i8042 *k = opaque;

	(void)off;
	(void)len;
	k->out = (uint8_t)((k->out & ~OUT_A20) | (val & OUT_A20));
	if (val & 1)
		vm_reset_request(k->vm);
}

static const struct {
	uint16_t port;
	struct region_ops ops;
} i8042_ports[] = {
	{ I8042_DATA, { .read = i8042_read, .write = i8042_write } },
	{ I8042_STATUS, { .read = i8042_status_read, .write = i8042_command_write } },
	{ PORT92, { .read = port92_read, .write = port92_write } },
};

#define NR_PORTS	(sizeof(i8042_ports) / sizeof(i8042_ports[0]))

static void i8042_reset(struct vm *vm, void *state)
{
	struct i8042 *k = state;

	(void)vm;
	for (unsigned int i = 0; i < RAM_SIZE; i++)
		k->ram[i] = 0;
	/* As firmware leaves it: self-test passed, keyboard interrupt and translation on. */
	k->ram[0] = CTR_SYSTEM | CTR_KBD_INT | CTR_XLATE | CTR_AUX_OFF;
	k->out = OUT_RESET | OUT_A20 | OUT_KBD_CLOCK;
	k->command = 0;
	k->last_command = false;
	k->full = false;
	k->data = k->source = 0;
	i8042_update(k);
}

static int i8042_init(struct vm *vm, void **state)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	k->vm = vm;
	*state = k;
	i8042_reset(vm, k);
	for (unsigned int i = 0; i < NR_PORTS; i++) {
		ret = bus_add(&vm->pio, i8042_ports[i].port, 1, &i8042_ports[i].ops, k, "i8042");
		if (ret)
			return ret;
	}
	return 0;
}

static void i8042_exit(struct vm *vm, void *state)
{
	if (!state)
		return;
	for (unsigned int i = 0; i < NR_PORTS; i++)
		bus_remove(&vm->pio, i8042_ports[i].port, 1);
	free(state);
}

const struct device_ops i8042_device = {
	.name = "i8042",
	.init = i8042_init,
	.reset = i8042_reset,
	.exit = i8042_exit,
};
