// SPDX-License-Identifier: GPL-2.0-only
/*
 * vsock.c - in a guest: vsock echo PORT	gives one connection back what it says, to its end
 *		       vsock send PORT MIB	sends the host numbers, and reads them again
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static uint32_t buf[16384], expected;

static int echo(int fd)
{
	ssize_t n, done, part;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (done = 0; done < n; done += part) {
			part = write(fd, (char *)buf + done, n - done);
			if (part <= 0)
				return 1;
		}
	return n < 0;
}

static int writer(int fd, size_t bytes)
{
	uint32_t next = 0;

	for (size_t done = 0; done < bytes; done += sizeof(buf)) {
		for (size_t i = 0; i < sizeof(buf) / 4; i++)
			buf[i] = next++;
		for (size_t off = 0; off < sizeof(buf);) {
			ssize_t n = write(fd, (char *)buf + off, sizeof(buf) - off);

			if (n <= 0)
				return 1;
			off += n;
		}
	}
	return shutdown(fd, SHUT_WR);
}

static size_t reader(int fd)
{
	size_t total = 0, have = 0;
	ssize_t n;

	while ((n = read(fd, (char *)buf + have, sizeof(buf) - have)) > 0) {
		size_t i;

		total += n;
		have += n;
		for (i = 0; i < have / 4; i++)
			if (buf[i] != expected++)
				return 0;
		memmove(buf, buf + i, have % 4);
		have %= 4;
	}
	return n ? 0 : total;
}

int main(int argc, char **argv)
{
	struct sockaddr_vm addr = { .svm_family = AF_VSOCK };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	size_t bytes;

	if (argc < 3 || fd < 0)
		return 2;
	addr.svm_port = atoi(argv[2]);
	if (!strcmp(argv[1], "echo")) {
		addr.svm_cid = VMADDR_CID_ANY;
		if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 1))
			return 2;
		printf("T>listening=%s\n", argv[2]);
		fflush(stdout);
		fd = accept(fd, NULL, NULL);
		return fd < 0 ? 2 : echo(fd);
	}
	addr.svm_cid = VMADDR_CID_HOST;
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		perror("T>connect");
		return 3;
	}
	bytes = (size_t)atoi(argv[3]) << 20;
	if (!fork())
		_exit(writer(fd, bytes));
	return reader(fd) != bytes;
}
