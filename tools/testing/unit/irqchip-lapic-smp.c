// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqchip-lapic-smp.c - acceptance from other threads, without a lock
 *
 * Oracle: conservation. lapic_accept() may be called from any thread while the owner acknowledges; every
 * interrupt that was accepted as new is taken exactly once. Where edges are posted, one that was taken while the sender
 * looked is not called new, so more may be taken than were, and never fewer. Meant for -fsanitize=thread as well.
 */
#include <pthread.h>

#include "../../../emul/irqchip/lapic.h"
#include "tap.h"

#define NR_SENDERS	3
#define MESSAGES	200000

static struct lapic apic;
static struct lapic_page page;
static u32 posted[8];
static unsigned int kicked;
static unsigned long accepted[NR_SENDERS];
static unsigned int finished;
static bool posting;

static void kick(void *ctx)
{
	(void)ctx;
	__atomic_store_n(&kicked, 1, __ATOMIC_SEQ_CST);
}

static void send_ipi(void *ctx, const struct irq_msg *msg)
{
	(void)ctx;
	(void)msg;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static void sipi(void *ctx, u8 vector)
{
	(void)ctx;
	(void)vector;
}

static const struct lapic_ops ops = {
	.kick = kick,
	.send = send_ipi,
	.nmi = nothing,
	.init = nothing,
	.sipi = sipi,
	.post = kick,
};

static void *sender(void *arg)
{
	unsigned long *count = arg;
	struct lapic *const apics[] = { &apic };
	u64 state = (u64)(count - accepted) + 1;
	unsigned int n;

	for (n = 0; n < MESSAGES; n++) {
		u64 r = tap_random(&state);
		/* No vector is of both kinds where these wait apart. */
		const struct irq_msg msg = { .vector = 16 + r % 240, .level = (posting ? r % 240 : r >> 32) & 1 };

		if (lapic_deliver(apics, 1, NULL, &msg) == 1)
			++*count;
	}
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void run(void)
{
	const struct lapic_config config = { .bsp = true, .posted = posting ? posted : NULL };
	pthread_t threads[NR_SENDERS];
	unsigned long taken = 0, total = 0, sleeps = 0;
	unsigned int n;

	memset(accepted, 0, sizeof(accepted));
	finished = 0;
	lapic_init(&apic, &page, &config, &ops, NULL);
	lapic_write(&apic, LAPIC_SVR, 4, 0x1ff, 0);
	for (n = 0; n < NR_SENDERS; n++)
		if (pthread_create(&threads[n], NULL, sender, &accepted[n]))
			exit(EXIT_FAILURE);

	/* The vCPU: only a kick makes it look, as if it were asleep. */
	for (;;) {
		bool last = __atomic_load_n(&finished, __ATOMIC_SEQ_CST) == NR_SENDERS;

		if (__atomic_exchange_n(&kicked, 0, __ATOMIC_SEQ_CST)) {
			while (lapic_pending_vector(&apic) >= 0) {
				lapic_ack(&apic);
				lapic_eoi(&apic);
				taken++;
			}
		} else if (last) {
			break;
		} else {
			sleeps++;
		}
	}
	for (n = 0; n < NR_SENDERS; n++) {
		pthread_join(threads[n], NULL);
		total += accepted[n];
	}
	diag("%lu accepted as new, %u sent, looked %lu times in vain", total, NR_SENDERS * MESSAGES, sleeps);
	if (posting)
		ok(taken >= total && taken <= NR_SENDERS * MESSAGES, "posted: every one is taken, and no kick is missing");
	else
		is_u64(taken, total, "every interrupt accepted is taken once, and no kick is missing");
	ok(lapic_pending_vector(&apic) < 0, "none is left");
}

int main(void)
{
	run();
	posting = true;
	run();
	return tap_done();
}
