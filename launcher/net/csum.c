// SPDX-License-Identifier: GPL-2.0-only
/*
 * csum.c - Internet checksums (RFC 1071) of frames that the guest left unfinished
 */
#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <string.h>
#include <linux/if_ether.h>

#include "net.h"

/* The sum of 16-bit words in the order of memory, not folded to the end. */
static uint64_t sum_words(const uint8_t *p, size_t len, uint64_t sum)
{
	uint32_t word[4];
	uint8_t last[2] = { 0 };
	uint16_t half;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(word, p, sizeof(word));
		sum += (uint64_t)word[0] + word[1] + word[2] + word[3];
	}
	for (; len >= sizeof(half); p += sizeof(half), len -= sizeof(half)) {
		memcpy(&half, p, sizeof(half));
		sum += half;
	}
	if (len) {
		last[0] = *p;
		memcpy(&half, last, sizeof(half));
		sum += half;
	}
	return sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Of a plain IP packet: the pseudo header's sum, and where its payload ends. False: something else. */
static bool pseudo_header(const uint8_t *frame, size_t len, size_t start, uint64_t *sum, size_t *end,
			  uint8_t *proto)
{
	const uint8_t *ip = frame + ETH_HLEN;
	uint16_t type, total, tail[2];
	size_t header;

	if (len < ETH_HLEN + 20)
		return false;
	type = frame[12] << 8 | frame[13];
	if (type == ETH_P_IP) {
		header = (ip[0] & 15) * 4u;
		total = ip[2] << 8 | ip[3];
		if (ip[0] >> 4 != 4 || header < 20 || total < header || start != ETH_HLEN + header)
			return false;
		*proto = ip[9];
		*sum = sum_words(ip + 12, 8, 0);
	} else if (type == ETH_P_IPV6 && len >= ETH_HLEN + 40) {
		header = 40;
		if (ip[0] >> 4 != 6 || start != ETH_HLEN + header || 40u + (ip[4] << 8 | ip[5]) > 65535u)
			return false;
		total = 40u + (ip[4] << 8 | ip[5]);
		*proto = ip[6];
		*sum = sum_words(ip + 8, 32, 0);
	} else {
		return false;
	}
	*end = ETH_HLEN + total;
	tail[0] = htons(*proto);
	tail[1] = htons(total - header);
	*sum = sum_words((uint8_t *)tail, sizeof(tail), *sum);
	return *end <= len;
}

bool net_checksum(const struct virtio_net_hdr_v1 *hdr, uint8_t *frame, size_t len)
{
	size_t start = le16toh(hdr->csum_start), at = start + le16toh(hdr->csum_offset), end;
	uint64_t sum;
	uint16_t csum, zero = 0;
	uint8_t proto;

	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	if (at + sizeof(csum) > len)
		return false;
	/*
	 * The field holds the pseudo header's sum. For segments to be cut, drivers disagree about the
	 * length in it, so it is computed anew where that is possible.
	 */
	if (pseudo_header(frame, len, start, &sum, &end, &proto) && at + sizeof(csum) <= end &&
	    ((proto == IPPROTO_TCP && at - start == 16) || (proto == IPPROTO_UDP && at - start == 6)))
		memcpy(frame + at, &zero, sizeof(zero));
	else
		sum = 0, end = len;
	csum = ~fold(sum_words(frame + start, end - start, sum));
	if (!csum && at - start == 6)
		csum = 0xffff;		/* UDP: 0 would mean that there is none */
	memcpy(frame + at, &csum, sizeof(csum));
	return true;
}
