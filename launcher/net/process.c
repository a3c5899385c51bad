// SPDX-License-Identifier: GPL-2.0-only
/*
 * process.c - a user network in a process of its own, for a card that is added while the guest runs
 *
 * It is started by the command that adds the card, and outlives that; its command line stays that of the command. It is
 * confined as the thread of a machine's user network is, and ends when nobody has the card's end of the socket any more:
 * when the card is removed, and with the machine, however that ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cmd.h"
#include "../msg.h"
#include "../sandbox.h"
#include "net.h"

#define SOCKET		3		/* in the process */

static void serve(const struct vm_net *config, unsigned int index)
{
	static struct net net = { .ops = &net_user };
	static struct net_relay relay;

	if (sandbox_init() || net.ops->open(&net, config, index))
		_exit(EXIT_FAILED);
	net_relay_init(&relay, &net, SOCKET);
	net.ops->enter();
	/* From here on nobody listens. */
	if (write(STDERR_FILENO, "", 1) == 1)
		while (net_relay_turn(&relay, -1))
			;
	/* The only thread; exit_group() is not in the list of a network. */
	syscall(SYS_exit, EXIT_OK);
}

/* Pass on what the process says until it serves: 0, or -ECHILD if it has ended instead. */
static int hear(int fd)
{
	char text[512];
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		const bool serves = n > 0 && !text[n - 1];

		if (n > serves && write(STDERR_FILENO, text, (size_t)n - serves) < 0)
			break;
		if (serves)
			return 0;
	}
	return -ECHILD;
}

int net_process(const struct vm_net *config, unsigned int index, int fd)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int said[2] = { -1, -1 }, err = 0;
	pid_t pid = -1;

	if (null >= 0 && !pipe2(said, O_CLOEXEC))
		pid = fork();
	if (pid < 0) {
		err = -errno;
		msg_error("start a process for the user network: %s. Raise the limits of processes and open files (ulimit -u, -n)",
			  strerror(-err));
	}
	if (!pid) {
		/* Whoever waits for the end of the command's output, or of its session, does not wait for this. */
		if (setsid() < 0 || chdir("/") || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
		    dup2(said[1], STDERR_FILENO) < 0 || dup2(fd, SOCKET) < 0)
			_exit(EXIT_FAILED);
		syscall(SYS_close_range, SOCKET + 1u, ~0u, 0u);
		signal(SIGPIPE, SIG_IGN);
		prctl(PR_SET_NAME, "net-user");
		serve(config, index);
	}
	if (null >= 0)
		close(null);
	if (said[1] >= 0)
		close(said[1]);
	if (!err)
		err = hear(said[0]);
	if (err == -ECHILD)
		waitpid(pid, NULL, 0);
	if (said[0] >= 0)
		close(said[0]);
	return err;
}
