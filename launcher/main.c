// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - tenon SUBCOMMAND
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "msg.h"

static const struct cmd commands[] = {
	{ "run", "run a virtual machine", cmd_run },
	{ "ls", "list the machines that have a name", cmd_ls },
	{ "console", "connect to the console of one", cmd_console },
	{ "stop", "press its power button and wait for its end", cmd_stop },
	{ "kill", "end it at once", cmd_kill },
	{ "pause", "stop its processors", cmd_pause },
	{ "resume", "let them go on", cmd_resume },
	{ "stats", "print its counters", cmd_stats },
	{ "memory", "tell or change how much memory it has", cmd_memory },
	{ "device", "add disks and network cards to it, and remove them", cmd_device },
	{ "img", "create, examine, check and convert disk images", cmd_img },
	{ "info", "tell what this host can run guests with", cmd_info },
	{ "version", "print the version", cmd_version },
};

#define NR_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *f)
{
	fprintf(f, "Usage: tenon COMMAND [OPTIONS]\n\n"
		   "Runs x86 virtual machines, also on hosts whose processor offers no virtualization.\n\n"
		   "Commands:\n");
	for (unsigned int i = 0; i < NR_COMMANDS; i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(f, "\n`tenon COMMAND --help` lists the options of one.\n\n"
		   "Examples:\n"
		   "  tenon info\n"
		   "  tenon run --kernel /boot/vmlinuz --initrd initrd.img --append console=ttyS0\n"
		   "  tenon run -k vmlinuz -m 2G -c 2 --disk root.img -a \"console=ttyS0 root=/dev/vda\"\n");
}

int cmd_version(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "--help") && strcmp(argv[1], "-h")) {
		msg_error("'tenon version' takes no arguments, and was given '%s'", argv[1]);
		return EXIT_USAGE;
	}
	printf("tenon %s\n", TENON_VERSION);
	return EXIT_OK;
}

/*
 * A closed standard descriptor would be handed out again by the next open(), and guest memory or a disk image
 * be taken for the terminal. The stand-ins answer as closed ones would: reads end, writes fail.
 */
static void open_std_fds(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) != fd)
			_exit(EXIT_FAILED);
	}
}

/* What was printed must have arrived: a full disk is a failure. */
static int finish(int status)
{
	if ((fflush(stdout) || ferror(stdout)) && status == EXIT_OK) {
		msg_error("write to standard output: the output is incomplete");
		return EXIT_FAILED;
	}
	return status;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;

	open_std_fds();
	if (!name) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		usage(stdout);
		return finish(EXIT_OK);
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		name = "version";
	for (unsigned int i = 0; i < NR_COMMANDS; i++) {
		if (!strcmp(name, commands[i].name))
			return finish(commands[i].fn(argc - 1, argv + 1));
	}
	msg_error("there is no command '%s'. tenon --help lists the commands", name);
	return EXIT_USAGE;
}
