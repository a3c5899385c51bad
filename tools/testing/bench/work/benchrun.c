// SPDX-License-Identifier: GPL-2.0-only
/*
 * benchrun NAME WORK UNIT COPIES COMMAND... - times a command in the guest
 *
 * Runs COPIES instances of COMMAND at once, times them by CLOCK_MONOTONIC, and prints
 *
 *	BENCH NAME start
 *	BENCH NAME end SECONDS SCORE unit=UNIT work=WORK user=U sys=S rc=RC check=HEX
 *
 * SCORE is units of work a second, all copies together. The command's output goes to a scratch file; "CHECK
 *x" in it is passed on. rc=77 means "cannot run here".
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COPIES 64

static char path[MAX_COPIES][256];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t)
{
	return t.tv_sec + t.tv_usec * 1e-6;
}

static void child(const char *out, char **argv)
{
	int fd = open(out, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	if (fd < 0) {
		perror(out);
		_exit(126);
	}
	dup2(fd, 1);
	dup2(fd, 2);
	close(fd);
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

/* Keep the check value of a copy's output, and its last other line. */
static void collect(const char *out, char check[64], char tail[400])
{
	char line[400];
	FILE *f = fopen(out, "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "CHECK %63s", check) != 1)
			strcpy(tail, line);
	}
	if (f)
		fclose(f);
	unlink(out);
}

int main(int argc, char **argv)
{
	const char *dir = getenv("BENCH_TMP");
	char check[64] = "-", tail[400] = "\n";
	struct rusage u;
	int copies, status, rc = 0;
	double start, took, work;

	if (argc < 6) {
		fprintf(stderr, "usage: benchrun NAME WORK UNIT COPIES COMMAND...\n");
		return 2;
	}
	work = atof(argv[2]);
	copies = atoi(argv[4]);
	if (copies < 1)
		copies = 1;
	if (copies > MAX_COPIES)
		copies = MAX_COPIES;

	printf("BENCH %s start\n", argv[1]);
	fflush(stdout);
	start = now();
	for (int i = 0; i < copies; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/benchrun.%d.%d", dir ? dir : "/tmp", (int)getpid(), i);
		if (fork() == 0)
			child(path[i], argv + 5);
	}
	while (wait(&status) > 0) {
		if (status)
			rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	took = now() - start;
	getrusage(RUSAGE_CHILDREN, &u);

	for (int i = 0; i < copies; i++)
		collect(path[i], check, tail);
	work *= copies;
	if (rc && rc != 77)
		printf("BENCHLOG %s %s", argv[1], tail);
	printf("BENCH %s end %.6f %.6g unit=%s work=%.6g user=%.6f sys=%.6f rc=%d check=%s\n", argv[1], took,
	       work / took, argv[3], work, seconds(u.ru_utime), seconds(u.ru_stime), rc, check);
	fflush(stdout);
	return rc;
}
