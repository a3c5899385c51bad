// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-vsock.c - sockets as a driver and programs of the host see them; then a hostile driver
 *
 * The oracles: the VIRTIO specification ("Socket Device"), what the other end gets, and the sanitizers.
 */
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "virtio-drv.h"

#define RX		0
#define TX		1
#define CID		42u
#define HDR		((uint32_t)sizeof(struct virtio_vsock_hdr))
#define RX_DATA(i)	(0x40000u + (i) * 0x1000u)
#define TX_DATA		0x60000u
#define MANY		(1u << 20)	/* credit */

static void *dev;
static char dir[] = "/tmp/tenon-vsock-XXXXXX", path[64];
static uint16_t seen;			/* packets of the device that were looked at */
static struct virtio_vsock_hdr got;
static uint8_t got_data[4096];

static int new_socket(const char *suffix, struct sockaddr_un *addr)
{
	struct timeval patience = { .tv_sec = 2 };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	*addr = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(addr->sun_path, sizeof(addr->sun_path), "%s%s", path, suffix);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static int dial(const char *say)
{
	struct sockaddr_un addr;
	int fd = new_socket("", &addr);

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    send(fd, say, strlen(say), 0) != (ssize_t)strlen(say))
		abort();
	return fd;
}

static int listener(const char *suffix)
{
	struct sockaddr_un addr;
	int fd = new_socket(suffix, &addr);

	unlink(addr.sun_path);
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 16))
		abort();
	return fd;
}

/* Reads that much, or what there is before the end; false: not that. */
static bool reads(int fd, const void *data, size_t len)
{
	char buf[4096] = { 0 };

	return recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len && !memcmp(buf, data, len);
}

static bool at_end(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) == 0;
}

static void give_buffer(void)
{
	unsigned int i = avail_idx[RX] % QSIZE;

	desc(RX, i, RX_DATA(i), 0x1000, VRING_DESC_F_WRITE, 0);
	kick(RX, i);
}

static bool ready(void)
{
	if (!start(0))
		return false;
	seen = 0;
	for (unsigned int i = 0; i < QSIZE; i++)
		give_buffer();
	return true;
}

/* The next packet of the device, into got; its buffer goes back. */
static bool next(void)
{
	uint32_t id;

	if (!wait_for(used_idx(RX) != seen))
		return false;
	id = used_elem(RX, seen).id;
	memcpy(&got, ram(RX_DATA(id)), HDR);
	memcpy(got_data, ram(RX_DATA(id) + HDR), sizeof(got_data) - HDR);
	seen++;
	give_buffer();
	return true;
}

static bool told(uint16_t op, uint32_t host_port, uint32_t guest_port)
{
	return next() && got.op == op && got.src_cid == 2 && got.dst_cid == CID && got.src_port == host_port &&
	       got.dst_port == guest_port;
}

static bool quiet_for_now(void)
{
	for (unsigned int i = 0; i < 50; i++)
		pause_ms();
	return used_idx(RX) == seen;
}

static struct virtio_vsock_hdr packet(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return (struct virtio_vsock_hdr){
		.src_cid = CID, .dst_cid = 2, .src_port = guest_port, .dst_port = host_port,
		.type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .buf_alloc = MANY,
	};
}

static bool put(struct virtio_vsock_hdr hdr, const void *data, uint32_t len)
{
	hdr.len = len;
	memcpy(ram(TX_DATA), &hdr, HDR);
	if (data)
		memcpy(ram(TX_DATA + HDR), data, len);
	desc(TX, 0, TX_DATA, HDR + len, 0, 0);
	kick(TX, 0);
	return completed(TX);
}

static bool tell(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return put(packet(op, guest_port, host_port), NULL, 0);
}

static bool shut(uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	struct virtio_vsock_hdr hdr = packet(VIRTIO_VSOCK_OP_SHUTDOWN, guest_port, host_port);

	hdr.flags = flags;
	return put(hdr, NULL, 0);
}

static bool credit(uint32_t guest_port, uint32_t host_port, uint32_t alloc, uint32_t fwd)
{
	struct virtio_vsock_hdr hdr = packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, guest_port, host_port);

	hdr.buf_alloc = alloc;
	hdr.fwd_cnt = fwd;
	return put(hdr, NULL, 0);
}

/* A connection of the guest's to port 9, where @lfd listens; the host's end. */
static int from_guest(int lfd, uint32_t guest_port)
{
	tell(VIRTIO_VSOCK_OP_REQUEST, guest_port, 9);
	if (!told(VIRTIO_VSOCK_OP_RESPONSE, 9, guest_port))
		return -1;
	return accept(lfd, NULL, NULL);
}

static void test_config(void)
{
	struct stat st;

	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10531af4, "a modern socket device");
	is_u64(mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG), 8), CID, "the guest's CID");
	ok(!lstat(path, &st) && S_ISSOCK(st.st_mode) && !(st.st_mode & 077), "its socket is the user's alone");
}

static void test_from_host(void)
{
	static const char *const nonsense[] = { "CONNECT\n", "connect 5\n", "CONNECT 4294967295\n", "CONNECT 5x\n", "CONNECT -1\n",
						"GET / HTTP/1.1 and what comes with it\n" };
	uint32_t port;
	int fd;

	ok(ready(), "features");
	for (unsigned int i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		fd = dial(nonsense[i]);
		ok(at_end(fd) || errno == ECONNRESET, "a client that says '%.*s' is cut off", (int)strcspn(nonsense[i], "\n"), nonsense[i]);
		close(fd);
	}
	fd = dial("CONN");
	ok(quiet_for_now(), "half a line is waited for");
	send(fd, "ECT 1234\nearly", 14, 0);
	ok(next() && got.op == VIRTIO_VSOCK_OP_REQUEST && got.dst_port == 1234, "a client asks for port 1234 of the guest");
	ok(got.src_cid == 2 && got.dst_cid == CID && got.type == VIRTIO_VSOCK_TYPE_STREAM && got.buf_alloc,
	   "by a packet as it should be");
	port = got.src_port;
	ok(quiet_for_now(), "nothing more before the guest answers");
	tell(VIRTIO_VSOCK_OP_RESPONSE, 1234, port);
	ok(reads(fd, "OK 1", 4), "the client hears that the guest has accepted");
	while (!reads(fd, "\n", 1))
		;
	ok(told(VIRTIO_VSOCK_OP_RW, port, 1234) && got.len == 5 && !memcmp(got_data, "early", 5),
	   "what it has said already is the first data");
	put(packet(VIRTIO_VSOCK_OP_RW, 1234, port), "hello", 5);
	ok(reads(fd, "hello", 5), "the guest's data arrives");
	shutdown(fd, SHUT_WR);
	ok(told(VIRTIO_VSOCK_OP_SHUTDOWN, port, 1234) && got.flags == VIRTIO_VSOCK_SHUTDOWN_SEND,
	   "the client sends no more, and still reads");
	put(packet(VIRTIO_VSOCK_OP_RW, 1234, port), "still", 5);
	ok(reads(fd, "still", 5), "what the guest says");
	close(fd);
	ok(told(VIRTIO_VSOCK_OP_SHUTDOWN, port, 1234) && got.flags == 3, "it goes");
	tell(VIRTIO_VSOCK_OP_RST, 1234, port);
	put(packet(VIRTIO_VSOCK_OP_RW, 1234, port), "late", 4);
	ok(told(VIRTIO_VSOCK_OP_RST, port, 1234), "afterwards there is no such connection");

	fd = dial("CONNECT 7\n");
	next();
	tell(VIRTIO_VSOCK_OP_RST, 7, got.src_port);
	ok(at_end(fd), "a port at which nobody listens: the client is cut off");
	close(fd);
	fd = dial("CONNECT 8\n");
	next();
	port = got.src_port;
	close(fd);
	ok(told(VIRTIO_VSOCK_OP_RST, port, 8), "a client that goes before the answer");
}

static void test_from_guest(void)
{
	int lfd = listener("_9"), fd;
	struct virtio_vsock_hdr hdr;

	ready();
	tell(VIRTIO_VSOCK_OP_REQUEST, 100, 10);
	ok(told(VIRTIO_VSOCK_OP_RST, 10, 100), "a port of the host where nobody listens");
	fd = from_guest(lfd, 100);
	ok(fd >= 0, "one where somebody does");
	put(packet(VIRTIO_VSOCK_OP_RW, 100, 9), "question", 8);
	ok(reads(fd, "question", 8), "data from the guest");
	send(fd, "answer", 6, 0);
	ok(told(VIRTIO_VSOCK_OP_RW, 9, 100) && got.len == 6 && !memcmp(got_data, "answer", 6), "and to it");
	is_u64(got.fwd_cnt, 8, "with how much has left for the client");
	tell(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 100, 9);
	ok(told(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 9, 100) && got.fwd_cnt == 8, "it is told when it asks");
	shut(100, 9, VIRTIO_VSOCK_SHUTDOWN_SEND);
	ok(at_end(fd), "the guest sends no more");
	send(fd, "rest", 4, 0);
	ok(told(VIRTIO_VSOCK_OP_RW, 9, 100) && got.len == 4, "and still reads");
	shut(100, 9, VIRTIO_VSOCK_SHUTDOWN_RCV);
	ok(told(VIRTIO_VSOCK_OP_RST, 9, 100), "an orderly end is confirmed");
	close(fd);

	hdr = packet(VIRTIO_VSOCK_OP_REQUEST, 101, 9);
	hdr.type = 2;
	put(hdr, NULL, 0);
	ok(told(VIRTIO_VSOCK_OP_RST, 9, 101) && got.type == 2, "sockets of another type are refused as such");
	hdr = packet(VIRTIO_VSOCK_OP_REQUEST, 102, 9);
	hdr.src_cid = CID + 1;
	put(hdr, NULL, 0);
	hdr = packet(VIRTIO_VSOCK_OP_REQUEST, 102, 9);
	hdr.dst_cid = 1;
	put(hdr, NULL, 0);
	ok(quiet_for_now(), "packets from or for somebody else are dropped");
	fd = from_guest(lfd, 103);
	tell(VIRTIO_VSOCK_OP_REQUEST, 103, 9);
	ok(told(VIRTIO_VSOCK_OP_RST, 9, 103) && at_end(fd), "a second request ends a connection");
	close(fd);
	fd = from_guest(lfd, 105);
	shut(105, 9, VIRTIO_VSOCK_SHUTDOWN_RCV);
	close(fd);
	ok(told(VIRTIO_VSOCK_OP_RST, 9, 105), "as does a client that is gone from a guest that reads no more");
	fd = from_guest(lfd, 104);
	start(0);
	ok(at_end(fd), "as does a driver that starts anew");
	close(fd);
	close(lfd);
}

/* The guest sends more than the client reads; then the other way round. */
static void test_credit(void)
{
	static uint8_t chunk[0x8000];
	uint32_t alloc, sent = 0, total = 0;
	int lfd, fd;
	ssize_t n;

	lfd = listener("_9");
	ready();
	fd = from_guest(lfd, 200);
	alloc = got.buf_alloc;
	memset(chunk, 0x55, sizeof(chunk));
	/* Whatever the socket takes at once gives credit again. */
	while (sent - got.fwd_cnt + sizeof(chunk) <= alloc) {
		put(packet(VIRTIO_VSOCK_OP_RW, 200, 9), chunk, sizeof(chunk));
		sent += sizeof(chunk);
		tell(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 200, 9);
		if (!told(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 9, 200))
			break;
	}
	ok(sent > alloc && sent - got.fwd_cnt <= alloc, "a client that does not read uses the credit up");
	while (total < sent && (n = recv(fd, chunk, sizeof(chunk), 0)) > 0 && chunk[0] == 0x55)
		total += (uint32_t)n;
	is_u64(total, sent, "and gets all of it once it reads");
	while (got.fwd_cnt != sent && told(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 9, 200))
		;
	ok(sent - got.fwd_cnt < alloc / 2, "the guest is told of it without asking");

	credit(200, 9, 1000, 0);
	send(fd, chunk, 1500, 0);
	ok(told(VIRTIO_VSOCK_OP_RW, 9, 200) && got.len == 1000, "the guest gets as much as it has room for");
	ok(quiet_for_now(), "and no more");
	credit(200, 9, 1000, 400);
	ok(told(VIRTIO_VSOCK_OP_RW, 9, 200) && got.len == 400, "until it has more");
	credit(200, 9, 10, 0);
	ok(quiet_for_now(), "less room than is in use is none");
	credit(200, 9, MANY, 1400);
	ok(told(VIRTIO_VSOCK_OP_RW, 9, 200) && got.len == 100, "the rest");

	/* more than it may */
	for (sent = 0; sent < 64; sent++)
		put(packet(VIRTIO_VSOCK_OP_RW, 200, 9), chunk, sizeof(chunk));
	while (next() && got.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE)
		;
	ok(got.op == VIRTIO_VSOCK_OP_RST, "a guest that sends without credit loses the connection");
	close(fd);
	while (!quiet_for_now())
		next();

	fd = from_guest(lfd, 201);
	for (sent = 0; sent < 8; sent++)
		put(packet(VIRTIO_VSOCK_OP_RW, 201, 9), chunk, sizeof(chunk));
	shut(201, 9, 3);
	tell(VIRTIO_VSOCK_OP_RST, 201, 9);
	for (total = 0; (n = recv(fd, chunk, sizeof(chunk), 0)) > 0; total += (uint32_t)n)
		;
	is_u64(total, 8 * sizeof(chunk), "what the guest sent before it ended arrives, however late");
	close(fd);
	close(lfd);
}

static void test_limits(void)
{
	int fd[256];
	struct virtio_vsock_hdr hdr;
	unsigned int n;

	ready();
	for (n = 0; n < 256; n++)
		fd[n] = dial("");
	for (n = 0; n < 20; n++)
		pause_ms();
	put(packet(VIRTIO_VSOCK_OP_REQUEST, 1, 9), NULL, 0);
	ok(told(VIRTIO_VSOCK_OP_RST, 9, 1), "when there are too many connections, one more is refused");
	for (n = 0; n < 256; n++)
		close(fd[n]);
	fd[0] = dial("CONNECT 5\n");
	ok(next() && got.op == VIRTIO_VSOCK_OP_REQUEST && got.dst_port == 5, "they go, and there is room");
	close(fd[0]);

	quiet(true);
	ready();
	hdr = packet(VIRTIO_VSOCK_OP_RW, 1, 9);
	hdr.len = 1 << 20;
	memcpy(ram(TX_DATA), &hdr, HDR);
	desc(TX, 0, TX_DATA, HDR + 100, 0, 0);
	kick(TX, 0);
	ok(needs_reset(), "a packet that says it has more than there is");
	ready();
	desc(TX, 0, TX_DATA, HDR - 1, 0, 0);
	kick(TX, 0);
	ok(needs_reset(), "half a header");
	start(0);
	desc(RX, 0, RX_DATA(0), HDR - 1, VRING_DESC_F_WRITE, 0);
	kick(RX, 0);
	tell(VIRTIO_VSOCK_OP_RW, 1, 9);
	ok(needs_reset(), "a buffer in which no packet has room");
	quiet(false);
}

static void test_random(void)
{
	uint64_t seed = tap_seed(0x50c4e7);
	int fd[4] = { -1, -1, -1, -1 }, lfd;
	char buf[8192] = { 0 };

	lfd = listener("_9");
	fcntl(lfd, F_SETFL, O_NONBLOCK);
	diag("seed %#llx", (unsigned long long)seed);
	quiet(true);
	ready();
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t r = tap_random(&seed);
		int *f = &fd[r >> 40 & 3];

		if (!(r >> 58)) {
			ready();
		} else if (r >> 60 == 1) {
			random_access(r, tap_random(&seed));
		} else if (r >> 60 < 5) {
			if (*f < 0)
				*f = r >> 42 & 1 ? dial("CONNECT 3\n") : accept(lfd, NULL, NULL);
			else if (r & 7)
				(void)!send(*f, buf, r & 0x1fff, MSG_DONTWAIT | MSG_NOSIGNAL),
				(void)!recv(*f, buf, sizeof(buf), MSG_DONTWAIT);
			else
				close(*f), *f = -1;
		} else if (r >> 60 < 8) {
			give_buffer();
		} else {
			struct virtio_vsock_hdr hdr = packet(r & 7, 1 + (r >> 3 & 3), 9);
			uint32_t len = r >> 10 & 0x3fff;

			if (r >> 8 & 1)
				hdr.dst_port = 0x40000000 + (r >> 24 & 15), hdr.src_port = 3;
			hdr.flags = r >> 30 & 3;
			hdr.len = r >> 32 & 15 ? len : (uint32_t)tap_random(&seed);
			hdr.fwd_cnt = r >> 36 & 3 ? 0 : (uint32_t)tap_random(&seed);
			memcpy(ram(TX_DATA), &hdr, HDR);
			desc(TX, r >> 48 & 3, TX_DATA, HDR + len, 0, 0);
			kick(TX, r >> 48 & 3);
		}
	}
	for (unsigned int i = 0; i < 4; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	while ((fd[0] = accept(lfd, NULL, NULL)) >= 0)
		close(fd[0]);
	machine_reset();
	quiet(false);
	drv_init(3);
	ready();
	/* Clients that were waiting still. */
	while (!quiet_for_now())
		next();
	fcntl(lfd, F_SETFL, 0);
	fd[0] = from_guest(lfd, 5);
	ok(fd[0] >= 0, "20000 hostile steps, a reset, and it works");
	close(fd[0]);
	close(lfd);
	snprintf(buf, sizeof(buf), "%s_9", path);
	unlink(buf);
}

int main(void)
{
	struct stat st;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/v", dir);
	vm = fake_vm(4 << 20);
	vm->config.vsock_path = path;
	vm->config.vsock_cid = CID;
	if (pci_host_device.init(vm, &pci) || virtio_vsock_device.init(vm, &dev))
		return 1;
	drv_init(3);
	test_config();
	test_from_host();
	test_from_guest();
	test_credit();
	test_limits();
	test_random();
	virtio_vsock_device.exit(vm, dev);
	ok(lstat(path, &st), "at the end its socket is gone");
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	ok(!rmdir(dir), "and nothing else is there");
	return tap_done();
}
