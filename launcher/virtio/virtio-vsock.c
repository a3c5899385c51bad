// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-vsock.c - sockets between programs in the guest and programs on the host
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Socket Device"; stream sockets. On the host a connection is one of a Unix
 * socket, so that it takes no privilege and no module:
 *
 *	from the host	a client connects to PATH, says "CONNECT port\n", and reads "OK port\n" when the guest has
 *			accepted; from there on the bytes are the connection's
 *	from the guest	one to port N of the host (CID 2) goes to whoever listens at PATH_N
 *
 * All of it is on one thread. Bytes for the guest stay in the Unix socket until it has room for them, by buffers in the
 * queue and by credit ("Buffer Space Management"). Bytes of the guest that the client does not take wait here, and the
 * guest has no more credit than there is room for them.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>

#include "../msg.h"
#include "../sandbox.h"
#include "../unix-socket.h"
#include "thread.h"
#include "virtio.h"
#include "vsock-out.h"

#define CONNS_MAX	256u
#define BUF_ALLOC	(256u << 10)	/* bytes of one connection that wait for its client */
#define PACKET_MAX	(64u << 10)	/* most data in a packet */
#define BATCH		64u		/* packets of the guest, or of one connection, before others get their turn */
#define RSTS_MAX	64u		/* refusals that wait for room in the queue; more are lost */
#define GREETING_MAX	32u		/* "CONNECT 4294967295\n" and some */
#define ACCEPT_AGAIN_MS	100		/* after a client that there was no descriptor for */
#define FIRST_HOST_PORT	0x40000000u	/* of connections from the host: none that listens */
#define HDR_SIZE	((uint32_t)sizeof(struct virtio_vsock_hdr))
#define SHUT_BOTH	(VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, NR_QUEUES };

_Static_assert(sizeof(struct virtio_vsock_hdr) == 44, "packet header");

struct conn {
	int fd;
	enum conn_state {
		CONN_GREETING,		/* the client is to say where it wants to go */
		CONN_REQUESTED,		/* the guest is to answer */
		CONN_OPEN,
		CONN_ORPHAN,		/* over for the guest; the client has yet to read the rest */
		CONN_DEAD,		/* the thread removes it */
	} state;
	uint32_t guest_port, host_port;

	/* packets that wait for room */
	bool say_request, say_response, say_credit;
	uint8_t say_shutdown, said_shutdown;

	/* to the guest */
	uint32_t guest_alloc, guest_fwd, sent;
	bool hung_up;			/* the client is gone; what it has sent may be there still */
	bool eof;			/* it sends no more, and all has been read */

	/* from the guest: @len bytes of @ring, from @start on, wait for the client */
	uint8_t *ring;
	uint32_t start, len;
	uint32_t fwd, told;		/* bytes that have left, and as the guest knows it */
	bool sink;			/* the client takes no more: they are dropped */
	bool ended;			/* the client has been told that there will be no more */
	uint8_t guest_shut;
};

struct vsock {
	struct virtio_dev vdev;
	struct virtio_poller poller;
	struct vsock_out out;
	int listen_fd;
	const char *path;
	uint64_t cid;

	/* with vdev.lock */
	unsigned int nr, nr_rsts;
	uint32_t next_port;
	struct conn *conn[CONNS_MAX];
	struct virtio_vsock_hdr rst[RSTS_MAX];

	/* the thread's own */
	struct pollfd pfd[2 + CONNS_MAX];
	struct vq_elem elem;
	uint8_t data[PACKET_MAX];
};

/* Next chain of a queue, or false with a notification asked for. */
static bool next_chain(struct vsock *v, unsigned int queue)
{
	struct virtio_dev *dev = &v->vdev;
	struct virtqueue *vq = &dev->vq[queue];
	int got = 0;

	if (!virtio_queue_live(dev, queue))
		return false;
	do {
		got = vq_pop(vq, &v->elem);
	} while (!got && vq_rearm(vq) && !vq->broken);
	if (vq->broken)
		virtio_needs_reset(dev, vq->broken);
	return got > 0;
}

/* Has the guest a buffer for a packet? */
static bool has_room(struct vsock *v)
{
	struct virtqueue *vq = &v->vdev.vq[QUEUE_RX];

	return virtio_queue_live(&v->vdev, QUEUE_RX) && (vq_pending(vq) || vq_rearm(vq));
}

/* Connections */

static struct conn *find(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	for (unsigned int i = 0; i < v->nr; i++) {
		struct conn *c = v->conn[i];

		if ((c->state == CONN_REQUESTED || c->state == CONN_OPEN) && c->guest_port == guest_port &&
		    c->host_port == host_port)
			return c;
	}
	return NULL;
}

/* Takes the descriptor in any case. */
static struct conn *add_conn(struct vsock *v, int fd, enum conn_state state)
{
	struct conn *c = v->nr < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		close(fd);
		return NULL;
	}
	c->fd = fd;
	c->state = state;
	v->conn[v->nr++] = c;
	return c;
}

static void free_conn(struct conn *c)
{
	close(c->fd);
	free(c->ring);
	free(c);
}

static void remove_dead(struct vsock *v)
{
	for (unsigned int i = 0; i < v->nr;) {
		if (v->conn[i]->state != CONN_DEAD) {
			i++;
			continue;
		}
		free_conn(v->conn[i]);
		v->conn[i] = v->conn[--v->nr];
	}
}

/* Packets to the guest */

/* @type as it came, in the guest's byte order. */
static void say_rst(struct vsock *v, uint32_t guest_port, uint32_t host_port, uint16_t type)
{
	if (v->nr_rsts == RSTS_MAX)
		return;
	v->rst[v->nr_rsts++] = (struct virtio_vsock_hdr){
		.src_cid = htole64(VMADDR_CID_HOST),
		.dst_cid = htole64(v->cid),
		.src_port = htole32(host_port),
		.dst_port = htole32(guest_port),
		.type = type,
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};
}

/* An end without ceremony. */
static void reset_conn(struct vsock *v, struct conn *c)
{
	if (c->state == CONN_REQUESTED || c->state == CONN_OPEN)
		say_rst(v, c->guest_port, c->host_port, htole16(VIRTIO_VSOCK_TYPE_STREAM));
	c->state = CONN_DEAD;
}

/* Into the chain that was taken. */
static bool put_packet(struct vsock *v, const struct virtio_vsock_hdr *hdr, uint32_t len)
{
	struct virtio_dev *dev = &v->vdev;

	if (v->elem.in_len < HDR_SIZE + len) {
		virtio_needs_reset(dev, "no room to receive into");
		return false;
	}
	if (!vq_copy(dev->vm, &v->elem, true, 0, (void *)(uintptr_t)hdr, HDR_SIZE) ||
	    !vq_copy(dev->vm, &v->elem, true, HDR_SIZE, v->data, len)) {
		virtio_needs_reset(dev, "packet outside RAM");
		return false;
	}
	virtio_push(dev, QUEUE_RX, &v->elem, HDR_SIZE + len);
	return true;
}

static bool put_conn(struct vsock *v, struct conn *c, uint16_t op, uint32_t flags, uint32_t len)
{
	const struct virtio_vsock_hdr hdr = {
		.src_cid = htole64(VMADDR_CID_HOST),
		.dst_cid = htole64(v->cid),
		.src_port = htole32(c->host_port),
		.dst_port = htole32(c->guest_port),
		.len = htole32(len),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op),
		.flags = htole32(flags),
		.buf_alloc = htole32(BUF_ALLOC),
		.fwd_cnt = htole32(c->fwd),
	};

	c->told = c->fwd;
	c->say_credit = false;
	return put_packet(v, &hdr, len);
}

/* A packet without data; false: later. */
static bool say(struct vsock *v, struct conn *c, uint16_t op, uint32_t flags)
{
	return next_chain(v, QUEUE_RX) && put_conn(v, c, op, flags, 0);
}

static void say_what_waits(struct vsock *v, struct conn *c)
{
	if (c->state != CONN_REQUESTED && c->state != CONN_OPEN)
		return;
	if (c->say_request && say(v, c, VIRTIO_VSOCK_OP_REQUEST, 0))
		c->say_request = false;
	if (c->say_response && say(v, c, VIRTIO_VSOCK_OP_RESPONSE, 0))
		c->say_response = false;
	if (c->state != CONN_OPEN || c->say_response)
		return;
	if (c->say_credit)
		say(v, c, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	if ((c->say_shutdown & ~c->said_shutdown) && say(v, c, VIRTIO_VSOCK_OP_SHUTDOWN, c->say_shutdown))
		c->said_shutdown = c->say_shutdown;
}

static void say_rsts(struct vsock *v)
{
	unsigned int n = 0;

	while (n < v->nr_rsts && next_chain(v, QUEUE_RX) && put_packet(v, &v->rst[n], 0))
		n++;
	v->nr_rsts -= n;
	memmove(v->rst, v->rst + n, v->nr_rsts * sizeof(v->rst[0]));
}

static uint32_t credit(const struct conn *c)
{
	uint32_t in_flight = c->sent - c->guest_fwd;

	return in_flight < c->guest_alloc ? c->guest_alloc - in_flight : 0;
}

/* May bytes of the client's be read for the guest? */
static bool wants_rx(const struct conn *c)
{
	return c->state == CONN_OPEN && !c->say_response && !c->eof && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) &&
	       credit(c);
}

/* From the client to the guest; true if there may be more for now. */
static bool run_rx(struct vsock *v, struct conn *c)
{
	for (unsigned int n = 0; n < BATCH; n++) {
		uint16_t mark = vq_mark(&v->vdev.vq[QUEUE_RX]);
		uint32_t room = credit(c);
		ssize_t got;

		if (!wants_rx(c) || !next_chain(v, QUEUE_RX))
			return false;
		if (v->elem.in_len <= HDR_SIZE) {
			virtio_needs_reset(&v->vdev, "no room to receive into");
			return false;
		}
		if (room > v->elem.in_len - HDR_SIZE)
			room = v->elem.in_len - HDR_SIZE;
		got = recv(c->fd, v->data, room < PACKET_MAX ? room : PACKET_MAX, MSG_DONTWAIT);
		if (got <= 0) {
			vq_rewind(&v->vdev.vq[QUEUE_RX], mark);
			if (got == 0)
				c->eof = true;
			else if (errno != EAGAIN && errno != EINTR)
				reset_conn(v, c);
			return false;
		}
		if (!put_conn(v, c, VIRTIO_VSOCK_OP_RW, 0, (uint32_t)got))
			return false;
		c->sent += (uint32_t)got;
	}
	return true;
}

/* Bytes from the guest */

static void consumed(struct conn *c, uint32_t n)
{
	c->fwd += n;
	if (c->fwd - c->told >= BUF_ALLOC / 4)
		c->say_credit = true;
}

/* How much of it the client takes now. */
static uint32_t send_some(struct conn *c, const uint8_t *data, uint32_t len)
{
	ssize_t n = c->sink ? (ssize_t)len : send(c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0) {
		c->sink = true;
		return len;
	}
	return (uint32_t)n;
}

static void flush(struct conn *c)
{
	while (c->len) {
		uint32_t piece = BUF_ALLOC - c->start < c->len ? BUF_ALLOC - c->start : c->len;
		uint32_t n = send_some(c, c->ring + c->start, piece);

		consumed(c, n);
		c->start = (c->start + n) % BUF_ALLOC;
		c->len -= n;
		if (n < piece)
			return;
	}
}

static void deliver(struct vsock *v, struct conn *c, uint32_t len)
{
	uint32_t n, at, piece;

	if (len > BUF_ALLOC - c->len || (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)) {
		reset_conn(v, c);	/* more than it has credit for, or after its end */
		return;
	}
	n = c->len ? 0 : send_some(c, v->data, len);
	consumed(c, n);
	if (n == len)
		return;
	if (!c->ring)
		c->ring = malloc(BUF_ALLOC);
	if (!c->ring) {
		reset_conn(v, c);
		return;
	}
	at = (c->start + c->len) % BUF_ALLOC;
	len -= n;
	piece = BUF_ALLOC - at < len ? BUF_ALLOC - at : len;
	memcpy(c->ring + at, v->data + n, piece);
	memcpy(c->ring, v->data + n + piece, len - piece);
	c->len += len;
}

/* What follows from the ends that have been seen, once nothing waits any more. */
static void settle(struct vsock *v, struct conn *c)
{
	if (c->state == CONN_REQUESTED && c->hung_up)
		reset_conn(v, c);
	if (c->state == CONN_ORPHAN && !c->len)
		c->state = CONN_DEAD;
	if (c->state != CONN_OPEN)
		return;
	if (c->eof)
		c->say_shutdown |= c->hung_up ? SHUT_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND;
	if (c->hung_up && (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)) {
		reset_conn(v, c);	/* neither can hear the other any more */
		return;
	}
	if (c->len || !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND))
		return;
	if (c->guest_shut == SHUT_BOTH)
		reset_conn(v, c);	/* "Device Operation: Stream Sockets": how an orderly end is confirmed */
	else if (!c->ended)
		c->ended = !shutdown(c->fd, SHUT_WR);
}

/* Packets from the guest */

static void connect_out(struct vsock *v, uint32_t guest_port, uint32_t host_port, const struct virtio_vsock_hdr *hdr)
{
	int fd = vsock_out_connect(&v->out, host_port);
	struct conn *c = NULL;

	if (fd >= 0)
		c = add_conn(v, fd, CONN_OPEN);
	if (!c) {
		say_rst(v, guest_port, host_port, hdr->type);
		return;
	}
	c->guest_port = guest_port;
	c->host_port = host_port;
	c->guest_alloc = le32toh(hdr->buf_alloc);
	c->guest_fwd = le32toh(hdr->fwd_cnt);
	c->say_response = true;
}

/* The guest has accepted: the client may talk. */
static void accepted(struct vsock *v, struct conn *c)
{
	char line[GREETING_MAX];
	int len = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	if (c->state != CONN_REQUESTED || send_some(c, (uint8_t *)line, (uint32_t)len) != (uint32_t)len) {
		reset_conn(v, c);
		return;
	}
	c->state = CONN_OPEN;
}

static void handle(struct vsock *v, const struct virtio_vsock_hdr *hdr, uint32_t len)
{
	const uint32_t guest_port = le32toh(hdr->src_port), host_port = le32toh(hdr->dst_port);
	const uint16_t op = le16toh(hdr->op);
	struct conn *c;

	if (le64toh(hdr->src_cid) != v->cid || le64toh(hdr->dst_cid) != VMADDR_CID_HOST)
		return;
	c = le16toh(hdr->type) == VIRTIO_VSOCK_TYPE_STREAM ? find(v, guest_port, host_port) : NULL;
	if (!c) {
		if (op == VIRTIO_VSOCK_OP_REQUEST && le16toh(hdr->type) == VIRTIO_VSOCK_TYPE_STREAM)
			connect_out(v, guest_port, host_port, hdr);
		else if (op != VIRTIO_VSOCK_OP_RST)
			say_rst(v, guest_port, host_port, hdr->type);
		return;
	}
	c->guest_alloc = le32toh(hdr->buf_alloc);
	c->guest_fwd = le32toh(hdr->fwd_cnt);
	switch (op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		accepted(v, c);
		break;
	case VIRTIO_VSOCK_OP_RST:
		c->state = c->state == CONN_OPEN && c->len && (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) ? CONN_ORPHAN :
													    CONN_DEAD;
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		c->guest_shut |= le32toh(hdr->flags) & SHUT_BOTH;
		if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
			shutdown(c->fd, SHUT_RD);
		break;
	case VIRTIO_VSOCK_OP_RW:
		if (c->state == CONN_OPEN)
			deliver(v, c, len);
		else
			reset_conn(v, c);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->say_credit = true;
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	default:
		reset_conn(v, c);
	}
}

/* True: there may be more. */
static bool run_tx(struct vsock *v)
{
	struct virtio_dev *dev = &v->vdev;
	struct virtio_vsock_hdr hdr;

	for (unsigned int n = 0; n < BATCH; n++) {
		uint32_t len;

		if (!next_chain(v, QUEUE_TX))
			return false;
		if (v->elem.out_len < HDR_SIZE || !vq_copy(dev->vm, &v->elem, false, 0, &hdr, HDR_SIZE)) {
			virtio_needs_reset(dev, "packet that is none");
			return false;
		}
		len = le32toh(hdr.len);
		if (len > PACKET_MAX || len > v->elem.out_len - HDR_SIZE ||
		    !vq_copy(dev->vm, &v->elem, false, HDR_SIZE, v->data, len)) {
			virtio_needs_reset(dev, "packet without its data");
			return false;
		}
		virtio_push(dev, QUEUE_TX, &v->elem, 0);
		handle(v, &hdr, len);
	}
	return true;
}

/* Clients */

/* "CONNECT port\n"; not a byte more is read, since what follows is the guest's. */
static void greet(struct vsock *v, struct conn *c)
{
	char line[GREETING_MAX + 1], *end;
	ssize_t n = recv(c->fd, line, GREETING_MAX, MSG_PEEK | MSG_DONTWAIT);
	unsigned long long port;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	if (!end && n > 0 && n < (ssize_t)GREETING_MAX && !c->hung_up)
		return;
	c->state = CONN_DEAD;
	if (!end || recv(c->fd, line, (size_t)(end + 1 - line), MSG_DONTWAIT) != end + 1 - line)
		return;
	*end = '\0';
	if (strncmp(line, "CONNECT ", 8) || line[8] < '0' || line[8] > '9')
		return;
	port = strtoull(line + 8, &end, 10);
	if (*end || port >= VMADDR_PORT_ANY || !virtio_queue_live(&v->vdev, QUEUE_RX))
		return;
	c->guest_port = (uint32_t)port;
	do {
		c->host_port = FIRST_HOST_PORT | v->next_port++;
		v->next_port &= FIRST_HOST_PORT - 1;
	} while (find(v, c->guest_port, c->host_port));
	c->state = CONN_REQUESTED;
	c->say_request = true;
}

/* poll() has two entries for the poller and listen_fd, and one for each connection. */
static unsigned int prepare(struct vsock *v, bool full)
{
	bool room = has_room(v);

	remove_dead(v);
	v->pfd[0] = (struct pollfd){ .fd = v->poller.wake_fd, .events = POLLIN };
	v->pfd[1] = (struct pollfd){ .fd = v->nr < CONNS_MAX && !full ? v->listen_fd : -1, .events = POLLIN };
	for (unsigned int i = 0; i < v->nr; i++) {
		const struct conn *c = v->conn[i];
		bool in = c->state == CONN_GREETING || (room && wants_rx(c));

		v->pfd[2 + i] = (struct pollfd){
			.fd = c->hung_up && !in && !c->len ? -1 : c->fd,
			.events = (short)((in ? POLLIN : 0) | (c->len ? POLLOUT : 0)),
		};
	}
	return v->nr;
}

static void *vsock_thread(void *opaque)
{
	struct vsock *v = opaque;
	struct virtio_dev *dev = &v->vdev;
	bool more = false, full = false;

	sandbox_enter(SANDBOX_VSOCK, NULL);
	pthread_mutex_lock(&dev->lock);
	while (!virtio_poller_stopped(&v->poller)) {
		unsigned int nr = prepare(v, full);

		pthread_mutex_unlock(&dev->lock);
		if (poll(v->pfd, 2 + nr, more ? 0 : full ? ACCEPT_AGAIN_MS : -1) < 0)
			memset(v->pfd, 0, sizeof(v->pfd));
		if (v->pfd[0].revents)
			eventfd_take(v->poller.wake_fd);
		pthread_mutex_lock(&dev->lock);
		for (unsigned int i = 0; i < nr; i++) {
			struct conn *c = v->conn[i];

			if (v->pfd[2 + i].revents & (POLLHUP | POLLERR))
				c->hung_up = true;
			if (v->pfd[2 + i].revents && c->state == CONN_GREETING)
				greet(v, c);
			if (v->pfd[2 + i].revents && c->state != CONN_DEAD)
				flush(c);
		}
		full = false;
		if (v->pfd[1].revents) {
			int fd = accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

			full = fd < 0;
			if (!full)
				add_conn(v, fd, CONN_GREETING);
		}
		more = run_tx(v);
		for (unsigned int i = 0; i < v->nr; i++) {
			more |= run_rx(v, v->conn[i]);
			settle(v, v->conn[i]);
			say_what_waits(v, v->conn[i]);
		}
		say_rsts(v);
	}
	pthread_mutex_unlock(&dev->lock);
	return NULL;
}

/* Device ops */

static void vsock_config_read(struct virtio_dev *dev, void *config)
{
	const struct virtio_vsock_config cfg = { .guest_cid = htole64(((struct vsock *)dev)->cid) };

	memcpy(config, &cfg, sizeof(cfg));
}

static void vsock_notify(struct virtio_dev *dev, unsigned int queue)
{
	(void)queue;
	virtio_poller_wake(&((struct vsock *)dev)->poller);
}

/* The thread holds the lock while it works on a queue. A driver that starts anew knows of no connection. */
static void vsock_quiesce(struct virtio_dev *dev)
{
	struct vsock *v = (struct vsock *)dev;

	for (unsigned int i = 0; i < v->nr; i++)
		if (v->conn[i]->state != CONN_GREETING && v->conn[i]->state != CONN_ORPHAN)
			v->conn[i]->state = CONN_DEAD;
	v->nr_rsts = 0;
	virtio_poller_wake(&v->poller);
}

static const struct virtio_ops vsock_ops = {
	.name = "virtio-vsock",
	.id = 19,
	.class = { 0x00, 0x80, 0x07 },	/* another communication controller */
	.nr_queues = NR_QUEUES,
	.config_size = sizeof(struct virtio_vsock_config),
	.config_read = vsock_config_read,
	.notify = vsock_notify,
	.quiesce = vsock_quiesce,
};

_Static_assert(offsetof(struct vsock, vdev) == 0, "the casts above");

/* Creation */

static void vsock_free(struct vsock *v)
{
	while (v->nr)
		free_conn(v->conn[--v->nr]);
	if (v->listen_fd >= 0) {
		close(v->listen_fd);
		unlink(v->path);
	}
	vsock_out_stop(&v->out);
	virtio_poller_exit(&v->poller);
	free(v);
}

static void vsock_exit(struct vm *vm, void *state)
{
	struct vsock *v = state;

	(void)vm;
	if (!v)
		return;
	virtio_poller_stop(&v->poller);
	virtio_exit(&v->vdev);
	vsock_free(v);
}

static int vsock_init(struct vm *vm, void **state)
{
	struct vsock *v;
	int err;

	if (!vm->config.vsock_path)
		return 0;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->path = vm->config.vsock_path;
	v->cid = vm->config.vsock_cid;
	v->listen_fd = v->out.fd = -1;
	err = virtio_poller_init(&v->poller, "--vsock");
	if (err)
		goto err_free;
	v->listen_fd = unix_listen("--vsock", v->path, 16);
	if (v->listen_fd < 0) {
		err = v->listen_fd;
		goto err_free;
	}
	err = vsock_out_start(&v->out, v->path);
	if (err)
		goto err_free;
	v->vdev.ops = &vsock_ops;
	v->vdev.notify_fd = v->poller.wake_fd;
	err = virtio_init(&v->vdev, vm);
	if (err)
		goto err_free;
	err = virtio_poller_start(&v->poller, "vsock", vsock_thread, v, "--vsock");
	if (err)
		goto err_virtio;
	*state = v;
	return 0;

err_virtio:
	virtio_exit(&v->vdev);
err_free:
	vsock_free(v);
	return err;
}

/* Resets come through the PCI host. */
const struct device_ops virtio_vsock_device = {
	.name = "virtio-vsock",
	.init = vsock_init,
	.exit = vsock_exit,
};
