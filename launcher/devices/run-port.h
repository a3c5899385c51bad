/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run-port.h - what `tenon run --rootfs` and the init program in its guest (launcher/init) say to each other
 */
#ifndef TENON_RUN_PORT_H
#define TENON_RUN_PORT_H

#define RUN_PORT_BASE	0x5f0
#define RUN_PORT_SIZE	8

/* Written, 4 bytes: the command ended with this status; so does the machine. */
#define RUN_PORT_STATUS	0
/* Written, 4 bytes, any value: the serial port is set up, input may come. */
/*
 * Read, 4 bytes: how many bytes of input the serial port has taken (modulo 2^31), and whether these are all
 * there will be. A serial line has no end of file; this makes one.
 */
#define RUN_PORT_INPUT	4
#define RUN_INPUT_END	0x80000000u

/*
 * /config in the initial RAM disk: strings, each with its terminator. KEY=VALUE first, in any order:
 *	tag=, overlay=0|1, cache=	the root file system
 *	tty=0|1, rows=, cols=		is the terminal of the user the command's?
 *	module=	a file under /modules, in the order of loading; with the prefix "?" if it may fail
 *	env=	NAME=VALUE for the command
 *	cwd=	its working directory
 *	arg=	its name, then its arguments
 */

#endif /* TENON_RUN_PORT_H */
