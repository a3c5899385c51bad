// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-console.c - channels: byte streams between a program in the guest and one on the host
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Console Device", with VIRTIO_CONSOLE_F_MULTIPORT. Each channel is a port with
 * a name, and on the host a Unix socket that one client at a time connects to. Port 0, which the specification means for a
 * console, is left out: the machine's console is its serial port.
 *
 * Bytes wait for whoever is slow: a client that does not read fills the guest's queue, a guest that does not read fills
 * the client's socket. What the guest writes while no client is there is dropped, as by a cable that nobody holds.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_console.h>

#include "../ctl.h"
#include "../msg.h"
#include "../sandbox.h"
#include "../unix-socket.h"
#include "thread.h"
#include "virtio.h"

#define CONFIG_SIZE	8u		/* cols, rows, max_nr_ports */
#define CHUNK		4096u
#define BATCH		64u		/* chunks of one port before the others get their turn */

enum { CONTROL_RX = 2, CONTROL_TX = 3, NR_FIXED_QUEUES = 4 };

_Static_assert(offsetof(struct virtio_console_config, max_nr_ports) + 4 == CONFIG_SIZE, "configuration layout");
_Static_assert(sizeof(struct virtio_console_control) == 8, "control message");

struct port {
	const struct vm_channel *config;
	int listen_fd, client_fd;	/* client_fd -1: nobody is there */
	bool hung_up;			/* it went while the guest could not take its last bytes */

	/* with vdev.lock */
	bool guest_open;		/* a program in the guest has it open */
	bool say_add, say_name, say_open;	/* control messages that wait for room */
	bool sending;			/* elem is a chain of the guest's, sent up to off */
	struct vq_elem elem;
	uint32_t off;
};

struct vconsole {
	struct virtio_dev vdev;
	struct virtio_poller poller;
	unsigned int nr;
	struct port port[VM_MAX_CHANNELS];	/* number 1 and up to the guest */
};

static unsigned int rx_queue(unsigned int i)
{
	return NR_FIXED_QUEUES + 2 * i;
}

static unsigned int tx_queue(unsigned int i)
{
	return NR_FIXED_QUEUES + 2 * i + 1;
}

/* Next chain of a queue: 1, or 0 with a notification asked for. */
static bool next_chain(struct virtio_dev *dev, unsigned int queue, struct vq_elem *elem)
{
	struct virtqueue *vq = &dev->vq[queue];
	int got = 0;

	if (!virtio_queue_live(dev, queue))
		return false;
	do {
		got = vq_pop(vq, elem);
	} while (!got && vq_rearm(vq) && !vq->broken);
	if (vq->broken)
		virtio_needs_reset(dev, vq->broken);
	return got > 0;
}

/* Control messages */

/* False: no room now. */
static bool say(struct vconsole *con, unsigned int i, uint16_t event, uint16_t value, const char *name)
{
	struct {
		struct virtio_console_control head;
		char name[CTL_NAME_MAX];
	} msg = {
		.head = { .id = htole32(i + 1), .event = htole16(event), .value = htole16(value) },
	};
	uint32_t len = sizeof(msg.head) + (uint32_t)strlen(name);
	struct virtio_dev *dev = &con->vdev;
	struct vq_elem elem;

	if (!next_chain(dev, CONTROL_RX, &elem))
		return false;
	memcpy(msg.name, name, strlen(name));
	if (elem.in_len < len || !vq_copy(dev->vm, &elem, true, 0, &msg, len)) {
		virtio_needs_reset(dev, "control message without room, or outside RAM");
		return false;
	}
	virtio_push(dev, CONTROL_RX, &elem, len);
	return true;
}

static void say_what_waits(struct vconsole *con)
{
	for (unsigned int i = 0; i < con->nr; i++) {
		struct port *p = &con->port[i];

		if (p->say_add && say(con, i, VIRTIO_CONSOLE_PORT_ADD, 0, ""))
			p->say_add = false;
		if (p->say_name && !p->say_add && say(con, i, VIRTIO_CONSOLE_PORT_NAME, 1, p->config->name))
			p->say_name = false;
		if (p->say_open && !p->say_add && !p->say_name &&
		    say(con, i, VIRTIO_CONSOLE_PORT_OPEN, p->client_fd >= 0, ""))
			p->say_open = false;
	}
}

static void hear(struct vconsole *con, const struct virtio_console_control *msg)
{
	unsigned int i = le32toh(msg->id) - 1, event = le16toh(msg->event);
	bool value = le16toh(msg->value);

	if (event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (i = 0; i < con->nr && value; i++)
			con->port[i].say_add = true;
		return;
	}
	if (i >= con->nr)
		return;
	switch (event) {
	case VIRTIO_CONSOLE_PORT_READY:
		con->port[i].say_name = con->port[i].say_open = value;
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		con->port[i].guest_open = value;
		break;
	}
}

static void run_control(struct vconsole *con)
{
	struct virtio_dev *dev = &con->vdev;
	struct virtio_console_control msg;
	struct vq_elem elem;

	for (unsigned int n = 0; n < BATCH && next_chain(dev, CONTROL_TX, &elem); n++) {
		if (elem.out_len < sizeof(msg) || !vq_copy(dev->vm, &elem, false, 0, &msg, sizeof(msg))) {
			virtio_needs_reset(dev, "control message that is none");
			return;
		}
		hear(con, &msg);
		virtio_push(dev, CONTROL_TX, &elem, 0);
	}
	say_what_waits(con);
}

/* Data */

static void hang_up(struct port *p)
{
	close(p->client_fd);
	p->client_fd = -1;
	p->hung_up = false;
	p->say_open = true;
}

/* The client has hung up. What it has left behind is the guest's to read. */
static void gone(struct port *p)
{
	char c;

	p->hung_up = recv(p->client_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
	if (!p->hung_up)
		hang_up(p);
}

/* From the guest; true if there may be more for now. */
static bool run_tx(struct vconsole *con, unsigned int i)
{
	struct virtio_dev *dev = &con->vdev;
	struct port *p = &con->port[i];
	char buf[CHUNK];

	for (unsigned int n = 0; n < BATCH; n++) {
		uint32_t len;
		ssize_t sent;

		if (!p->sending) {
			if (!next_chain(dev, tx_queue(i), &p->elem))
				return false;
			p->sending = true;
			p->off = 0;
		}
		len = p->elem.out_len - p->off < CHUNK ? p->elem.out_len - p->off : CHUNK;
		if (len && !vq_copy(dev->vm, &p->elem, false, p->off, buf, len)) {
			virtio_needs_reset(dev, "data outside RAM");
			return false;
		}
		sent = len && p->client_fd >= 0 ? send(p->client_fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) : (ssize_t)len;
		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (sent < 0) {
			hang_up(p);
			continue;
		}
		p->off += (uint32_t)sent;
		if (p->off < p->elem.out_len)
			continue;
		p->sending = false;
		virtio_push(dev, tx_queue(i), &p->elem, 0);
	}
	return true;
}

/* May bytes of the client's be read? */
static bool wants_rx(struct vconsole *con, unsigned int i)
{
	struct virtio_dev *dev = &con->vdev;

	return con->port[i].guest_open && virtio_queue_live(dev, rx_queue(i)) &&
	       (vq_pending(&dev->vq[rx_queue(i)]) || vq_rearm(&dev->vq[rx_queue(i)]));
}

/* To the guest, as much as it has room for and there is. */
static void run_rx(struct vconsole *con, unsigned int i)
{
	struct virtio_dev *dev = &con->vdev;
	struct port *p = &con->port[i];
	char buf[CHUNK];

	for (unsigned int n = 0; n < BATCH && p->client_fd >= 0 && wants_rx(con, i); n++) {
		uint16_t mark = vq_mark(&dev->vq[rx_queue(i)]);
		struct vq_elem elem;
		ssize_t got;

		if (!next_chain(dev, rx_queue(i), &elem))
			return;
		if (!elem.in_len) {
			virtio_needs_reset(dev, "no room to receive into");
			return;
		}
		got = recv(p->client_fd, buf, elem.in_len < CHUNK ? elem.in_len : CHUNK, MSG_DONTWAIT);
		if (got <= 0) {
			vq_rewind(&dev->vq[rx_queue(i)], mark);
			if (!got || (errno != EAGAIN && errno != EINTR))
				hang_up(p);
			return;
		}
		if (!vq_copy(dev->vm, &elem, true, 0, buf, (uint64_t)got)) {
			virtio_needs_reset(dev, "data outside RAM");
			return;
		}
		virtio_push(dev, rx_queue(i), &elem, (uint32_t)got);
	}
}

static void pick_up(struct port *p)
{
	int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	p->client_fd = fd;
	p->hung_up = false;
	p->say_open = true;
}

/* The thread. poll() has an entry for the poller and one for each port: its client, or who is to become it. */

static void prepare(struct vconsole *con, struct pollfd *pfd)
{
	pfd[0] = (struct pollfd){ .fd = con->poller.wake_fd, .events = POLLIN };
	for (unsigned int i = 0; i < con->nr; i++) {
		struct port *p = &con->port[i];
		bool rx = wants_rx(con, i);

		pfd[1 + i] = (struct pollfd){ .fd = p->listen_fd, .events = POLLIN };
		if (p->client_fd < 0)
			continue;
		pfd[1 + i].fd = p->hung_up && !rx ? -1 : p->client_fd;
		pfd[1 + i].events = (short)((rx ? POLLIN : 0) | (p->sending ? POLLOUT : 0));
	}
}

static void *console_thread(void *opaque)
{
	struct vconsole *con = opaque;
	struct virtio_dev *dev = &con->vdev;
	struct pollfd pfd[1 + VM_MAX_CHANNELS];
	bool more = false;

	sandbox_enter(SANDBOX_CHANNEL, NULL);
	pthread_mutex_lock(&dev->lock);
	while (!virtio_poller_stopped(&con->poller)) {
		prepare(con, pfd);
		pthread_mutex_unlock(&dev->lock);
		if (poll(pfd, 1 + con->nr, more ? 0 : -1) < 0)
			memset(pfd, 0, sizeof(pfd));
		if (pfd[0].revents)
			eventfd_take(con->poller.wake_fd);
		pthread_mutex_lock(&dev->lock);
		more = false;
		for (unsigned int i = 0; i < con->nr; i++) {
			struct port *p = &con->port[i];

			if (pfd[1 + i].revents && p->client_fd < 0)
				pick_up(p);
			else if (pfd[1 + i].revents & (POLLHUP | POLLERR))
				p->hung_up = true;
			more |= run_tx(con, i);
			run_rx(con, i);
			if (p->hung_up)
				gone(p);
		}
		run_control(con);
	}
	pthread_mutex_unlock(&dev->lock);
	return NULL;
}

/* Device ops */

static void console_config_read(struct virtio_dev *dev, void *config)
{
	const struct virtio_console_config cfg = {
		.max_nr_ports = htole32(1 + ((struct vconsole *)dev)->nr),
	};

	memcpy(config, &cfg, CONFIG_SIZE);
}

static void console_notify(struct virtio_dev *dev, unsigned int queue)
{
	(void)queue;
	virtio_poller_wake(&((struct vconsole *)dev)->poller);
}

/* The thread holds the lock while it works on a queue. What a driver had opened is closed. */
static void console_quiesce(struct virtio_dev *dev)
{
	struct vconsole *con = (struct vconsole *)dev;

	for (unsigned int i = 0; i < con->nr; i++) {
		struct port *p = &con->port[i];

		p->guest_open = p->sending = false;
		p->say_add = p->say_name = p->say_open = false;
	}
}

static const struct virtio_ops console_ops = {
	.name = "virtio-console",
	.id = 3,
	.class = { 0x00, 0x80, 0x07 },	/* another communication controller */
	.nr_queues = NR_FIXED_QUEUES,
	.config_size = CONFIG_SIZE,
	.config_read = console_config_read,
	.notify = console_notify,
	.quiesce = console_quiesce,
};

_Static_assert(offsetof(struct vconsole, vdev) == 0, "the casts above");

/* Creation */

static int listen_at(struct port *p)
{
	char what[sizeof("--channel ") + CTL_NAME_MAX];

	snprintf(what, sizeof(what), "--channel %s", p->config->name);
	p->listen_fd = unix_listen(what, p->config->path, 1);
	return p->listen_fd < 0 ? p->listen_fd : 0;
}

static void close_ports(struct vconsole *con)
{
	while (con->nr) {
		struct port *p = &con->port[--con->nr];

		if (p->client_fd >= 0)
			close(p->client_fd);
		close(p->listen_fd);
		unlink(p->config->path);
	}
	virtio_poller_exit(&con->poller);
}

static void vconsole_exit(struct vm *vm, void *state)
{
	struct vconsole *con = state;

	(void)vm;
	if (!con)
		return;
	virtio_poller_stop(&con->poller);
	virtio_exit(&con->vdev);
	close_ports(con);
	free(con);
}

static int vconsole_init(struct vm *vm, void **state)
{
	struct vconsole *con;
	int err;

	if (!vm->config.nr_channels)
		return 0;
	con = calloc(1, sizeof(*con));
	if (!con)
		return -ENOMEM;
	err = virtio_poller_init(&con->poller, "channels");
	if (err) {
		free(con);
		return err;
	}
	while (!err && con->nr < vm->config.nr_channels) {
		con->port[con->nr] = (struct port){ .config = &vm->config.channel[con->nr], .client_fd = -1 };
		err = listen_at(&con->port[con->nr]);
		if (!err)
			con->nr++;
	}
	if (err)
		goto err_ports;
	con->vdev.ops = &console_ops;
	con->vdev.notify_fd = con->poller.wake_fd;
	con->vdev.nr_queues = NR_FIXED_QUEUES + 2 * con->nr;
	con->vdev.offered = 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
	err = virtio_init(&con->vdev, vm);
	if (err)
		goto err_ports;
	err = virtio_poller_start(&con->poller, "channel", console_thread, con, "channels");
	if (err)
		goto err_virtio;
	*state = con;
	return 0;

err_virtio:
	virtio_exit(&con->vdev);
err_ports:
	close_ports(con);
	free(con);
	return err;
}

/* Resets come through the PCI host. */
const struct device_ops virtio_console_device = {
	.name = "virtio-console",
	.init = vconsole_init,
	.exit = vconsole_exit,
};
