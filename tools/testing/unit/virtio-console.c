// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-console.c - channels as a driver and a client see them; then a hostile driver
 *
 * The oracles: the VIRTIO specification ("Console Device"), what the other end gets, and the sanitizers.
 */
#include <linux/virtio_console.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define DRV_QUEUES	8		/* four fixed ones, and two for each of two channels */
#include "virtio-drv.h"

#define MULTIPORT	(1ull << VIRTIO_CONSOLE_F_MULTIPORT)
#define DATA		0x40000u
#define CONTROL_RX	2
#define CONTROL_TX	3
#define RX(n)		(4u + 2 * (n))
#define TX(n)		(5u + 2 * (n))

static void *con;
static char dir[] = "/tmp/tenon-channel-XXXXXX", path[2][64];

static int dial(unsigned int n)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval second = { .tv_sec = 2 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path[n]);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	/* Not to wait in a queue that is full. */
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFL, 0);
	return fd;
}

/* The next control message of the device is this one. */
static bool told(uint32_t id, uint16_t event, uint16_t value, const char *name)
{
	static const uint8_t junk[64] = { 0xee };
	struct virtio_console_control *msg = ram(DATA);
	uint16_t at = avail_idx[CONTROL_RX];

	memcpy(ram(DATA), junk, sizeof(junk));
	desc(CONTROL_RX, 0, DATA, 64, VRING_DESC_F_WRITE, 0);
	kick(CONTROL_RX, 0);
	if (!completed(CONTROL_RX))
		return false;
	return msg->id == id && msg->event == event && msg->value == value &&
	       used_elem(CONTROL_RX, at).len == sizeof(*msg) + strlen(name) && !memcmp(msg + 1, name, strlen(name));
}

static bool tell(uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control msg = { id, event, value };

	memcpy(ram(DATA + 0x100), &msg, sizeof(msg));
	desc(CONTROL_TX, 0, DATA + 0x100, sizeof(msg), 0, 0);
	kick(CONTROL_TX, 0);
	return completed(CONTROL_TX);
}

static void greet(void)
{
	start(MULTIPORT);
	tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	told(1, VIRTIO_CONSOLE_PORT_ADD, 0, "");
	told(2, VIRTIO_CONSOLE_PORT_ADD, 0, "");
	tell(1, VIRTIO_CONSOLE_PORT_READY, 1);
	told(1, VIRTIO_CONSOLE_PORT_NAME, 1, "one");
	told(1, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
	tell(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void test_control(void)
{
	struct stat st;
	int fd, other;

	is_u64(cfg_get(vm, DEVFN, 0, 4), 0x10431af4, "a modern virtio console");
	is_u64(mmio_read(vm, cap_addr(VIRTIO_PCI_CAP_DEVICE_CFG) + 4, 4), 3, "with room for three ports");
	ok(!lstat(path[0], &st) && S_ISSOCK(st.st_mode) && !(st.st_mode & 077), "its socket is the user's alone");
	ok(start(MULTIPORT), "features");
	ok(tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1), "the driver is ready");
	ok(told(1, VIRTIO_CONSOLE_PORT_ADD, 0, ""), "it hears of port 1");
	ok(told(2, VIRTIO_CONSOLE_PORT_ADD, 0, ""), "and of port 2");
	ok(tell(2, VIRTIO_CONSOLE_PORT_READY, 1), "which is ready");
	ok(told(2, VIRTIO_CONSOLE_PORT_NAME, 1, "two.b"), "of its name");
	ok(told(2, VIRTIO_CONSOLE_PORT_OPEN, 0, ""), "and that nobody is there");
	fd = dial(1);
	ok(fd >= 0 && told(2, VIRTIO_CONSOLE_PORT_OPEN, 1, ""), "that somebody has come");
	close(fd);
	ok(told(2, VIRTIO_CONSOLE_PORT_OPEN, 0, ""), "and gone");
	fd = dial(1);
	other = dial(1);
	ok(told(2, VIRTIO_CONSOLE_PORT_OPEN, 1, ""), "of two, one is there");
	close(fd);
	ok(told(2, VIRTIO_CONSOLE_PORT_OPEN, 1, "") || told(2, VIRTIO_CONSOLE_PORT_OPEN, 1, ""), "and then the other");
	close(other);
	told(2, VIRTIO_CONSOLE_PORT_OPEN, 0, "");
}

static void test_data(void)
{
	char buf[16384];
	unsigned int i;
	ssize_t n;
	int fd;

	greet();
	fd = dial(0);
	ok(told(1, VIRTIO_CONSOLE_PORT_OPEN, 1, ""), "a client");
	memcpy(ram(DATA + 0x1000), "hello", 5);
	memcpy(ram(DATA + 0x1100), " world", 6);
	desc(TX(0), 0, DATA + 0x1000, 5, VRING_DESC_F_NEXT, 1);
	desc(TX(0), 1, DATA + 0x1100, 6, 0, 0);
	kick(TX(0), 0);
	ok(completed(TX(0)), "the guest sends two pieces");
	n = recv(fd, buf, 11, MSG_WAITALL);
	ok(n == 11 && !memcmp(buf, "hello world", 11), "the client gets them");

	ok(send(fd, "0123456789", 10, 0) == 10, "the client sends");
	desc(RX(0), 0, DATA + 0x2000, 4, VRING_DESC_F_WRITE, 0);
	kick(RX(0), 0);
	ok(completed(RX(0)), "a small buffer");
	ok(used_elem(RX(0), 0).len == 4 && !memcmp(ram(DATA + 0x2000), "0123", 4), "gets what it holds");
	desc(RX(0), 0, DATA + 0x2000, 64, VRING_DESC_F_WRITE, 0);
	kick(RX(0), 0);
	ok(completed(RX(0)) && used_elem(RX(0), 1).len == 6 && !memcmp(ram(DATA + 0x2000), "456789", 6),
	   "the next one the rest");

	/* half a MiB at once: more than the socket holds */
	for (i = 0; i < 4; i++)
		desc(TX(0), i, DATA + 0x3000, 0x20000, i < 3 ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	memset(ram(DATA + 0x3000), 0x77, 0x20000);
	kick(TX(0), 0);
	for (i = 0; i < 50; i++)
		pause_ms();
	ok(used_idx(TX(0)) != avail_idx[TX(0)], "a client that does not read keeps the guest waiting");
	for (i = 0; i < 4 * 0x20000; i += (unsigned int)n) {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0 || buf[0] != 0x77)
			break;
	}
	is_u64(i, 4 * 0x20000, "and gets all of it once it reads");
	ok(completed(TX(0)), "and the guest goes on");

	send(fd, "last", 4, 0);
	close(fd);
	desc(RX(0), 0, DATA + 0x2000, 64, VRING_DESC_F_WRITE, 0);
	kick(RX(0), 0);
	ok(completed(RX(0)) && !memcmp(ram(DATA + 0x2000), "last", 4), "what a client sent before it went arrives");
	ok(told(1, VIRTIO_CONSOLE_PORT_OPEN, 0, ""), "and that it went");
	desc(TX(0), 0, DATA, 64, 0, 0);
	kick(TX(0), 0);
	ok(completed(TX(0)), "with nobody there, what the guest sends is dropped");

	tell(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	fd = dial(0);
	send(fd, "early", 5, 0);
	desc(RX(0), 0, DATA + 0x2000, 64, VRING_DESC_F_WRITE, 0);
	kick(RX(0), 0);
	for (i = 0; i < 50; i++)
		pause_ms();
	ok(used_idx(RX(0)) != avail_idx[RX(0)], "a guest that has the port closed gets nothing");
	tell(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ok(completed(RX(0)) && !memcmp(ram(DATA + 0x2000), "early", 5), "until it opens it");
	close(fd);
}

static void test_random(void)
{
	uint64_t seed = tap_seed(0xc4a11);
	int fd[2] = { dial(0), dial(1) };
	char buf[4096];

	diag("seed %#llx", (unsigned long long)seed);
	quiet(true);
	for (unsigned int i = 0; i < 10000; i++) {
		uint64_t r = tap_random(&seed);
		unsigned int q = r % DRV_QUEUES;

		if (!(r >> 59)) {
			start(MULTIPORT);
			tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
		} else if (r >> 60 < 3) {
			random_access(r, tap_random(&seed));
		} else if (r >> 60 == 3) {
			(void)!send(fd[r & 1], buf, r >> 8 & 0xfff, MSG_DONTWAIT | MSG_NOSIGNAL);
			(void)!recv(fd[r & 1], buf, sizeof(buf), MSG_DONTWAIT);
			if (!(r >> 20 & 15)) {
				close(fd[r & 1]);
				fd[r & 1] = dial(r & 1);
			}
		} else {
			for (unsigned int n = 0; n < 4; n++) {
				uint64_t s = tap_random(&seed);

				desc(q, n, s >> 60 ? DATA + (s & 0xffff) : s, s >> 40 & 0xfff, s >> 32 & 3, s >> 47 & 3);
			}
			kick(q, r >> 20 & 3);
		}
	}
	close(fd[0]);
	close(fd[1]);
	machine_reset();
	quiet(false);
	drv_init(DRV_QUEUES);
	start(MULTIPORT);
	ok(tell(0, VIRTIO_CONSOLE_DEVICE_READY, 1) && told(1, VIRTIO_CONSOLE_PORT_ADD, 0, ""),
	   "10000 hostile accesses, a reset, and it works");
}

int main(void)
{
	struct stat st;
	void *second;

	if (!mkdtemp(dir))
		return 1;
	vm = fake_vm(4 << 20);
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%u", dir, i);
		vm->config.channel[i] = (struct vm_channel){ i ? "two.b" : "one", path[i] };
	}
	vm->config.nr_channels = 2;
	if (pci_host_device.init(vm, &pci) || virtio_console_device.init(vm, &con))
		return 1;
	drv_init(DRV_QUEUES);
	test_control();
	test_data();
	test_random();
	quiet(true);
	ok(virtio_console_device.init(vm, &second), "a path at which somebody listens is refused");
	quiet(false);
	virtio_console_device.exit(vm, con);
	ok(lstat(path[0], &st) && lstat(path[1], &st), "at the end its sockets are gone");
	pci_host_device.exit(vm, pci);
	fake_vm_exit(vm);
	rmdir(dir);
	return tap_done();
}
