// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-net.c - virtio network card
 *
 * Virtual I/O Device (VIRTIO) Version 1.2, "Network Device". A card has one thread, which moves frames both
 * ways, runs the back end (see net.h) and answers the control queue:
 *
 *	wait		for the guest's notifications (poller) and the back end's file descriptors
 *	control, send	chain by chain: copied out and given back with dev->lock held, then handed to the back
 *			end without it, since the back end may answer on the spot
 *	receive		the back end calls net_receive(), which takes dev->lock and copies into the guest's
 *			buffers; if they do not suffice it keeps the frame, and is called again when there
 *			are more
 *
 * Queues are touched with dev->lock held and never across an unlock, so that a reset has nothing to wait for.
 *
 * On a tap interface the kernel may do the work of send and receive (vhost-net.h), from the driver's start to a reset. The
 * thread has the control queue then, and passes on interrupts that the kernel can't send.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "../msg.h"
#include "../net/net.h"
#include "thread.h"
#include "vhost-net.h"
#include "virtio.h"

#define QUEUE_RX	0
#define QUEUE_TX	1
#define QUEUE_CTRL	2
#define NET_BATCH	64u		/* chains of a queue before others get their turn */
#define MAC_TABLE	64u		/* addresses of the receive filter; more: no filter */
#define BIT(n)		(1ull << (n))

_Static_assert(sizeof(struct virtio_net_hdr_v1) == 12, "frame header");
_Static_assert(offsetof(struct virtio_net_config, mtu) == 10, "configuration layout");

/* Of the rest of struct virtio_net_config nothing is offered. */
#define CONFIG_SIZE	(offsetof(struct virtio_net_config, mtu) + 2)

struct vnet {
	struct virtio_dev vdev;
	struct net net;
	struct vhost_net vhost;
	bool has_vhost;

	/* owned by vdev.lock: the receive filter */
	uint8_t mac[ETH_ALEN];
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool multi_overflow, uni_overflow;
	unsigned int nr_multi, nr_uni;
	uint8_t multi[MAC_TABLE][ETH_ALEN], uni[MAC_TABLE][ETH_ALEN];

	/* the thread's own */
	struct net_poll poll;
	struct vq_elem elem, first;
	struct vq_used used[VQ_MAX_SIZE];	/* the chains of a frame on its way to the guest */
	uint8_t frame[NET_FRAME_MAX];	/* on its way to the back end */
	uint8_t csum_frame[NET_FRAME_MAX];

	struct virtio_poller poller;
};

struct vnet_set {
	unsigned int nr;
	struct vnet *card[VM_MAX_NETS];
};

/* Without version 1, it ends before num_buffers, unless buffers are merged. */
static uint32_t hdr_size(const struct virtio_dev *dev)
{
	return virtio_has(dev, VIRTIO_F_VERSION_1) || virtio_has(dev, VIRTIO_NET_F_MRG_RXBUF) ?
	       sizeof(struct virtio_net_hdr_v1) : sizeof(struct virtio_net_hdr);
}

/* Is the queue there to be worked on, and by the card's thread? With dev->lock held. */
static bool queue_live(struct vnet *card, unsigned int queue)
{
	return virtio_queue_live(&card->vdev, queue) && (queue >= VHOST_NET_QUEUES || !atomic_load(&card->vhost.running));
}

/* Receive */

static bool in_table(uint8_t table[][ETH_ALEN], unsigned int nr, const uint8_t *mac)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!memcmp(table[i], mac, ETH_ALEN))
			return true;
	return false;
}

static bool wanted(struct vnet *card, const uint8_t *frame)
{
	static const uint8_t broadcast[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (card->promisc)
		return true;
	if (!memcmp(frame, broadcast, ETH_ALEN))
		return !card->nobcast;
	if (frame[0] & 1)
		return !card->nomulti && (card->allmulti || card->multi_overflow ||
					  in_table(card->multi, card->nr_multi, frame));
	return !card->nouni && (card->alluni || card->uni_overflow || !memcmp(frame, card->mac, ETH_ALEN) ||
				in_table(card->uni, card->nr_uni, frame));
}

/* What the driver has not agreed to take is done here, or the frame is lost. */
static bool adapt(struct vnet *card, struct virtio_net_hdr_v1 *hdr, const uint8_t **frame, size_t len)
{
	struct virtio_dev *dev = &card->vdev;

	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		break;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		if (!virtio_has(dev, VIRTIO_NET_F_GUEST_TSO4))
			return false;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		if (!virtio_has(dev, VIRTIO_NET_F_GUEST_TSO6))
			return false;
		break;
	default:
		return false;
	}
	if ((hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN) && !virtio_has(dev, VIRTIO_NET_F_GUEST_ECN))
		return false;
	if (virtio_has(dev, VIRTIO_NET_F_GUEST_CSUM))
		return true;
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		memcpy(card->csum_frame, *frame, len);
		if (!net_checksum(hdr, card->csum_frame, len))
			return false;
		*frame = card->csum_frame;
	}
	hdr->flags = 0;
	hdr->csum_start = 0;
	hdr->csum_offset = 0;
	return true;
}

/*
 * Copy a frame into as many chains as it takes, and show them to the driver at once. 1: done, 0: there are
 * too few, -EPROTO: the driver broke the protocol, -EMSGSIZE: it does not fit.
 */
static int fill_chains(struct vnet *card, struct virtio_net_hdr_v1 *hdr, const uint8_t *frame, size_t len)
{
	struct virtio_dev *dev = &card->vdev;
	struct virtqueue *vq = &dev->vq[QUEUE_RX];
	bool merge = virtio_has(dev, VIRTIO_NET_F_MRG_RXBUF);
	uint16_t mark = vq_mark(vq);
	unsigned int n = 0;
	size_t done = 0;

	do {
		struct vq_elem *elem = n ? &card->elem : &card->first;
		size_t off = n ? 0 : hdr_size(dev), part;
		int got = vq_pop(vq, elem);

		if (got < 0)
			return got;
		if (!got) {
			vq_rewind(vq, mark);
			return 0;
		}
		/* Chains that hold nothing would let a frame take all of the queue. */
		if (elem->in_len <= off) {
			vq->broken = "receive buffer without room for data";
			return -EPROTO;
		}
		part = elem->in_len - off < len - done ? elem->in_len - off : len - done;
		if (!merge && part < len) {
			vq_rewind(vq, mark);
			return -EMSGSIZE;
		}
		if (!vq_copy(dev->vm, elem, true, off, (void *)(frame + done), part)) {
			vq->broken = "receive buffer outside RAM";
			return -EPROTO;
		}
		done += part;
		card->used[n++] = (struct vq_used){ elem->head, elem->descs, (uint32_t)(off + part) };
	} while (done < len && n < vq->size);
	if (done < len) {
		vq_rewind(vq, mark);
		return -EMSGSIZE;
	}
	hdr->num_buffers = htole16(n);
	if (!vq_copy(dev->vm, &card->first, true, 0, hdr, hdr_size(dev))) {
		vq->broken = "receive buffer outside RAM";
		return -EPROTO;
	}
	return vq_push_all(vq, card->used, n) ? -EPROTO : 1;
}

static bool net_receive(void *opaque, const struct virtio_net_hdr_v1 *rx_hdr, const uint8_t *frame,
			size_t len)
{
	struct vnet *card = opaque;
	struct virtio_dev *dev = &card->vdev;
	struct virtqueue *vq = &dev->vq[QUEUE_RX];
	struct virtio_net_hdr_v1 hdr = *rx_hdr;
	bool taken = true;
	int ret;

	if (len < ETH_HLEN || len > NET_FRAME_MAX)
		return true;
	pthread_mutex_lock(&dev->lock);
	if (!queue_live(card, QUEUE_RX) || !wanted(card, frame) || !adapt(card, &hdr, &frame, len))
		goto out;
	do {
		ret = fill_chains(card, &hdr, frame, len);
	} while (!ret && vq_rearm_beyond(vq));
	taken = ret || vq->broken;
	if (vq->broken)
		virtio_needs_reset(dev, vq->broken);
	else if (ret > 0)
		virtio_signal(dev, QUEUE_RX);
out:
	pthread_mutex_unlock(&dev->lock);
	return taken;
}

/* Send */

/*
 * A frame out of the guest, with dev->lock held. Its length, 0: nothing to send, -1: the driver broke the
 * protocol.
 */
static long take_frame(struct vnet *card, struct virtio_net_hdr_v1 *hdr)
{
	struct virtio_dev *dev = &card->vdev;
	struct vq_elem *elem = &card->elem;
	const uint32_t head = hdr_size(dev);
	size_t len = elem->out_len - head;

	if (elem->out_len < head) {
		virtio_needs_reset(dev, "frame without header");
		return -1;
	}
	if (len < ETH_HLEN || len > NET_FRAME_MAX)
		return 0;
	if (!vq_copy(dev->vm, elem, false, 0, hdr, head) || !vq_copy(dev->vm, elem, false, head, card->frame, len)) {
		virtio_needs_reset(dev, "frame outside RAM");
		return -1;
	}
	hdr->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr->num_buffers = 0;
	if (hdr->flags && !virtio_has(dev, VIRTIO_NET_F_CSUM))
		return 0;
	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		if (hdr->gso_type)
			return 0;
		hdr->gso_size = 0;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		if (!virtio_has(dev, VIRTIO_NET_F_HOST_TSO4) || !hdr->gso_size)
			return 0;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		if (!virtio_has(dev, VIRTIO_NET_F_HOST_TSO6) || !hdr->gso_size)
			return 0;
		break;
	default:
		return 0;
	}
	if ((hdr->gso_type & VIRTIO_NET_HDR_GSO_ECN) && !virtio_has(dev, VIRTIO_NET_F_HOST_ECN))
		return 0;
	return (long)len;
}

/* Next chain of a queue, with dev->lock held. */
static bool next_chain(struct vnet *card, unsigned int queue)
{
	struct virtio_dev *dev = &card->vdev;
	struct virtqueue *vq = &dev->vq[queue];
	int got;

	do {
		if (!queue_live(card, queue))
			return false;
		got = vq_pop(vq, &card->elem);
	} while (!got && vq_rearm(vq));
	if (vq->broken)
		virtio_needs_reset(dev, vq->broken);
	return got > 0;
}

/* True: there may be more. What the back end can't take stays in the ring. */
static bool run_send(struct vnet *card)
{
	struct virtio_dev *dev = &card->vdev;
	const struct net_ops *ops = card->net.ops;
	struct virtio_net_hdr_v1 hdr;
	unsigned int n;
	long len;

	for (n = 0; n < NET_BATCH; n++) {
		if (ops->can_send && !ops->can_send(&card->net))
			return false;
		pthread_mutex_lock(&dev->lock);
		if (!next_chain(card, QUEUE_TX)) {
			pthread_mutex_unlock(&dev->lock);
			return false;
		}
		len = take_frame(card, &hdr);
		if (len >= 0)
			virtio_push(dev, QUEUE_TX, &card->elem, 0);
		pthread_mutex_unlock(&dev->lock);
		if (len > 0)
			ops->send(&card->net, &hdr, card->frame, (size_t)len);
	}
	return true;
}

/* Control */

static bool ctrl_rx(struct vnet *card, uint8_t cmd)
{
	bool *const mode[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &card->promisc,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &card->allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &card->alluni,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &card->nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &card->nouni,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &card->nobcast,
	};
	uint8_t on;

	if (cmd >= sizeof(mode) / sizeof(mode[0]) ||
	    (cmd >= VIRTIO_NET_CTRL_RX_ALLUNI && !virtio_has(&card->vdev, VIRTIO_NET_F_CTRL_RX_EXTRA)) ||
	    card->elem.out_len != sizeof(struct virtio_net_ctrl_hdr) + 1 ||
	    !vq_copy(card->vdev.vm, &card->elem, false, sizeof(struct virtio_net_ctrl_hdr), &on, 1))
		return false;
	*mode[cmd] = on;
	return true;
}

/* One of the two tables of a MAC_TABLE_SET; *off moves behind it. */
static bool ctrl_table(struct vnet *card, uint64_t *off, uint8_t table[][ETH_ALEN], unsigned int *nr,
		       bool *overflow)
{
	struct vm *vm = card->vdev.vm;
	uint32_t entries;
	uint64_t end;

	if (*off + sizeof(entries) > card->elem.out_len ||
	    !vq_copy(vm, &card->elem, false, *off, &entries, sizeof(entries)))
		return false;
	entries = le32toh(entries);
	*off += sizeof(entries);
	end = *off + (uint64_t)entries * ETH_ALEN;
	if (end > card->elem.out_len)
		return false;
	*overflow = entries > MAC_TABLE;
	*nr = *overflow ? 0 : entries;
	if (!vq_copy(vm, &card->elem, false, *off, table, *nr * ETH_ALEN))
		return false;
	*off = end;
	return true;
}

static bool ctrl_mac(struct vnet *card, uint8_t cmd)
{
	uint64_t off = sizeof(struct virtio_net_ctrl_hdr);
	uint8_t mac[ETH_ALEN];

	switch (cmd) {
	case VIRTIO_NET_CTRL_MAC_TABLE_SET:
		if (ctrl_table(card, &off, card->uni, &card->nr_uni, &card->uni_overflow) &&
		    ctrl_table(card, &off, card->multi, &card->nr_multi, &card->multi_overflow))
			return true;
		/* Half a table filters what the driver may want. */
		card->uni_overflow = card->multi_overflow = true;
		return false;
	case VIRTIO_NET_CTRL_MAC_ADDR_SET:
		if (!virtio_has(&card->vdev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
		    card->elem.out_len != off + sizeof(mac) ||
		    !vq_copy(card->vdev.vm, &card->elem, false, off, mac, sizeof(mac)))
			return false;
		memcpy(card->mac, mac, sizeof(mac));
		return true;
	}
	return false;
}

static bool control(struct vnet *card)
{
	struct virtio_net_ctrl_hdr hdr;

	if (card->elem.out_len < sizeof(hdr) ||
	    !vq_copy(card->vdev.vm, &card->elem, false, 0, &hdr, sizeof(hdr)))
		return false;
	switch (hdr.class) {
	case VIRTIO_NET_CTRL_RX:
		return virtio_has(&card->vdev, VIRTIO_NET_F_CTRL_RX) && ctrl_rx(card, hdr.cmd);
	case VIRTIO_NET_CTRL_MAC:
		return ctrl_mac(card, hdr.cmd);
	}
	return false;
}

/* True: there may be more. */
static bool run_control(struct vnet *card)
{
	struct virtio_dev *dev = &card->vdev;
	unsigned int n;
	bool more = true;

	pthread_mutex_lock(&dev->lock);
	for (n = 0; n < NET_BATCH && more; n++) {
		virtio_net_ctrl_ack ack;

		more = next_chain(card, QUEUE_CTRL);
		if (!more)
			break;
		ack = control(card) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
		if (card->elem.in_len < sizeof(ack))
			virtio_needs_reset(dev, "command without room for its status");
		else if (!vq_copy(dev->vm, &card->elem, true, card->elem.in_len - sizeof(ack), &ack,
				  sizeof(ack)))
			virtio_needs_reset(dev, "status outside RAM");
		else
			virtio_push(dev, QUEUE_CTRL, &card->elem, sizeof(ack));
	}
	pthread_mutex_unlock(&dev->lock);
	return more;
}

/* The thread */

/* The kernel has the queues: the interrupts that it can't send, and an end that a broken ring puts to its work. */
static void vhost_poll(struct vnet *card)
{
	struct virtio_dev *dev = &card->vdev;

	pthread_mutex_lock(&dev->lock);
	for (unsigned int n = 0; n < VHOST_NET_QUEUES; n++)
		if (eventfd_take(virtio_interrupt_fd(dev, n)) && virtio_queue_live(dev, n))
			virtio_interrupt(dev, n);
	if (eventfd_take(card->vhost.err_fd) && atomic_load(&card->vhost.running)) {
		vhost_net_stop(&card->vhost);
		virtio_needs_reset(dev, "a ring that the kernel's vhost-net can't read");
	}
	pthread_mutex_unlock(&dev->lock);
}

/* Wait for the guest, and for the back end unless the kernel serves that. True: the latter. */
static bool wait_for_work(struct vnet *card, int timeout)
{
	const bool vhost = card->has_vhost && atomic_load(&card->vhost.running);

	card->poll.nr = 0;
	net_poll_add(&card->poll, card->poller.wake_fd, POLLIN);
	for (unsigned int n = 0; card->has_vhost && n < VHOST_NET_QUEUES; n++)
		net_poll_add(&card->poll, vhost ? virtio_interrupt_fd(&card->vdev, n) : card->vhost.kick_fd[n], POLLIN);
	if (vhost)
		net_poll_add(&card->poll, card->vhost.err_fd, POLLIN);
	else
		card->net.ops->poll_prepare(&card->net, &card->poll, &timeout);
	if (poll(card->poll.fd, card->poll.nr, timeout) < 0)
		for (unsigned int i = 0; i < card->poll.nr; i++)
			card->poll.fd[i].revents = 0;
	if (card->poll.fd[0].revents)
		eventfd_take(card->poller.wake_fd);
	for (unsigned int n = 0; card->has_vhost && !vhost && n < VHOST_NET_QUEUES; n++)
		if (card->poll.fd[1 + n].revents)
			eventfd_take(card->vhost.kick_fd[n]);
	return vhost;
}

static void *net_thread(void *opaque)
{
	struct vnet *card = opaque;
	bool more = false;

	card->net.ops->enter();
	while (!virtio_poller_stopped(&card->poller)) {
		if (wait_for_work(card, more ? 0 : -1))
			vhost_poll(card);
		else
			card->net.ops->poll_done(&card->net, &card->poll);
		more = run_control(card);
		more |= run_send(card);
	}
	return NULL;
}

/* Device ops */

static void net_config_read(struct virtio_dev *dev, void *config)
{
	struct vnet *card = (struct vnet *)dev;
	struct virtio_net_config cfg = {
		.status = htole16(VIRTIO_NET_S_LINK_UP),
		.max_virtqueue_pairs = htole16(1),
		.mtu = htole16(card->net.mtu),
	};

	memcpy(cfg.mac, card->mac, sizeof(cfg.mac));
	memcpy(config, &cfg, CONFIG_SIZE);
}

/* Where the kernel can't, the thread does it. */
static void start_vhost(struct vnet *card)
{
	const char *ifname;

	(void)vhost_net_start(&card->vhost, &card->vdev, tap_fd(&card->net, &ifname));
}

static void net_start(struct virtio_dev *dev)
{
	struct vnet *card = (struct vnet *)dev;

	if (card->net.ops->set_offload)
		card->net.ops->set_offload(&card->net, dev->features);
	if (card->has_vhost)
		start_vhost(card);
	virtio_poller_wake(&card->poller);
}

/* Of a card that is no master of the bus the kernel has to leave the rings alone, as everybody. */
static void net_mastering(struct virtio_dev *dev)
{
	struct vnet *card = (struct vnet *)dev;

	if (!card->has_vhost)
		return;
	if (!pci_bus_master(&dev->pci))
		vhost_net_suspend(&card->vhost, dev);
	else if (!atomic_load(&card->vhost.running))
		start_vhost(card);
	virtio_poller_wake(&card->poller);
}

static void net_notify(struct virtio_dev *dev, unsigned int queue)
{
	struct vnet *card = (struct vnet *)dev;

	if (queue < VHOST_NET_QUEUES && atomic_load(&card->vhost.running))
		vhost_net_kick(&card->vhost, queue);
	else
		virtio_poller_wake(&card->poller);
}

/* Called on every reset: a card that no driver has set up passes everything. */
static void net_quiesce(struct virtio_dev *dev)
{
	struct vnet *card = (struct vnet *)dev;

	if (card->has_vhost)
		vhost_net_stop(&card->vhost);
	memcpy(card->mac, card->net.mac, sizeof(card->mac));
	card->promisc = true;
	card->allmulti = card->alluni = false;
	card->nomulti = card->nouni = card->nobcast = false;
	card->multi_overflow = card->uni_overflow = false;
	card->nr_multi = card->nr_uni = 0;
}

static const struct virtio_ops net_ops = {
	.name = "virtio-net",
	.id = 1,
	.class = { 0x00, 0x00, 0x02 },	/* Ethernet controller */
	.nr_queues = 3,
	.config_size = CONFIG_SIZE,
	.config_read = net_config_read,
	.start = net_start,
	.mastering = net_mastering,
	.notify = net_notify,
	.quiesce = net_quiesce,
};

_Static_assert(offsetof(struct vnet, vdev) == 0, "the casts above");

/* Creation */

static void card_exit(struct vnet *card)
{
	virtio_poller_stop(&card->poller);
	virtio_exit(&card->vdev);
	if (card->has_vhost)
		vhost_net_close(&card->vhost);
	card->net.ops->close(&card->net);
	virtio_poller_exit(&card->poller);
	free(card->poll.fd);
	free(card);
}

/* 0, also without it, or -errno with a message printed. */
static int open_vhost(struct vm *vm, struct vnet *card, const struct vm_net *config)
{
	const struct accel_ops *accel = vm->config.accel;
	int err = -ENOTSUP;

	/* A confined process opens nothing: a card that is added while the guest runs has what it was given. */
	if (config->ops != &net_tap || config->vhost == VM_VHOST_OFF || (config->fd && !config->vhost_fd))
		return 0;
	if (accel->irqfd && accel->doorbell)
		err = vhost_net_open(&card->vhost, config->vhost_fd);
	else if (config->vhost_fd)
		close(config->vhost_fd);
	if (!err) {
		card->has_vhost = true;
		card->vdev.split_only = true;
		card->vdev.queue_fd = card->vhost.kick_fd;
		card->vdev.nr_queue_fds = VHOST_NET_QUEUES;
		return 0;
	}
	if (config->vhost == VM_VHOST_ON) {
		msg_error("--net tap,vhost=on: %s: %s. %s", VHOST_NET_PATH, strerror(-err),
			  err == -ENOTSUP ? "It takes a guest that runs in the kernel (--accel module or kvm)" :
			  err == -ENOENT || err == -ENODEV ? "Load the driver: modprobe vhost_net" :
			  "Without vhost=on, frames go through this process");
		return err;
	}
	if (err != -ENOTSUP && err != -ENOENT && err != -ENODEV)
		msg_warn("--net tap: %s: %s. Frames go through this process, which takes more of the processor; vhost=off "
			 "says that they are to", VHOST_NET_PATH, strerror(-err));
	return 0;
}

static int card_init(struct vm *vm, const struct vm_net *config, unsigned int index, struct slot *slot, struct vnet **out)
{
	struct vnet *card = calloc(1, sizeof(*card));
	int err = -ENOMEM, fd = config->fd, vhost_fd = config->vhost_fd;	/* ours until the back end has them */

	if (!card)
		goto err_free;
	card->net.ops = config->ops;
	card->net.receive = net_receive;
	card->net.opaque = card;
	err = virtio_poller_init(&card->poller, "a network card");
	if (err)
		goto err_free;
	/* The thread relies on room for its own entries, which come first. */
	err = -ENOMEM;
	if (net_poll_add(&card->poll, card->poller.wake_fd, POLLIN) < 0)
		goto err_wake;
	fd = 0;
	err = config->ops->open(&card->net, config, index);
	if (err)
		goto err_wake;
	if (memcmp(config->mac, "\0\0\0\0\0", sizeof(config->mac)))
		memcpy(card->net.mac, config->mac, sizeof(card->net.mac));
	card->vdev.ops = &net_ops;
	card->vdev.slot = slot;
	card->vdev.transitional = config->transitional;
	card->vdev.notify_fd = card->poller.wake_fd;
	card->vdev.offered = config->ops->offload | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_MAC) |
			     BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS) |
			     BIT(VIRTIO_NET_F_CTRL_VQ) |
			     BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
			     BIT(VIRTIO_NET_F_CTRL_MAC_ADDR);
	vhost_fd = 0;
	err = open_vhost(vm, card, config);
	if (err)
		goto err_close;
	err = virtio_init(&card->vdev, vm);
	if (err)
		goto err_vhost;
	err = virtio_poller_start(&card->poller, "net", net_thread, card, "a network card");
	if (err)
		goto err_virtio;
	*out = card;
	return 0;

err_virtio:
	virtio_exit(&card->vdev);
err_vhost:
	if (card->has_vhost)
		vhost_net_close(&card->vhost);
err_close:
	config->ops->close(&card->net);
err_wake:
	virtio_poller_exit(&card->poller);
	free(card->poll.fd);
err_free:
	free(card);
	if (fd)
		close(fd);
	if (vhost_fd)
		close(vhost_fd);
	return err;
}

int vnet_plug(struct vm *vm, const struct vm_net *config, struct slot *slot, struct virtio_dev **dev)
{
	struct vnet *card;
	int err = card_init(vm, config, 0, slot, &card);

	if (!err)
		*dev = &card->vdev;
	return err;
}

void vnet_unplug(struct virtio_dev *dev)
{
	card_exit((struct vnet *)dev);
}

static void vnet_exit(struct vm *vm, void *state)
{
	struct vnet_set *set = state;

	(void)vm;
	if (!set)
		return;
	while (set->nr)
		card_exit(set->card[--set->nr]);
	free(set);
}

static int vnet_init(struct vm *vm, void **state)
{
	struct vnet_set *set = calloc(1, sizeof(*set));
	int err = set ? 0 : -ENOMEM;

	while (!err && set->nr < vm->config.nr_nets && set->nr < VM_MAX_NETS) {
		err = card_init(vm, &vm->config.net[set->nr], set->nr, NULL, &set->card[set->nr]);
		if (!err)
			set->nr++;
	}
	if (err) {
		vnet_exit(vm, set);
		return err;
	}
	*state = set;
	return 0;
}

/* Resets come through the PCI host. */
const struct device_ops virtio_net_device = {
	.name = "virtio-net",
	.init = vnet_init,
	.exit = vnet_exit,
};
