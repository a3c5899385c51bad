/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lockstep.h - two engines on two copies of one machine (Documentation/lockstep.rst)
 *
 * The *leader* is the VM that the embedder made; the *twin* is a VM beside it with memory of its own, run by the
 * interpreter on the leader's thread. What is not deterministic happens to the leader, is recorded, and is given to the
 * twin at the same place. Between two turns both stand before the same instruction.
 */
#ifndef TENON_EMUL_LOCKSTEP_H
#define TENON_EMUL_LOCKSTEP_H

#include "core.h"

/* Beside enum emul_input: what is recorded in order to compare it. */
#define LOCKSTEP_ACCESS	((enum emul_input)0x100)	/* an access to a device begins: val, extra */

struct lockstep_record {
	enum emul_input kind;
	u64 val;
	u64 extra;		/* LOCKSTEP_ACCESS: address; DMA: length */
	u8 *data;		/* DMA */
	u64 insns, exceptions;	/* of the leader, when it was recorded */
};

/* A device's writing, from emul_dma_map() on: guest memory as it was, and as the device leaves it. */
struct lockstep_dma {
	struct lockstep_dma *next;
	u64 gpa, len;
	u8 *now, was[];
};

#define LOCKSTEP_PAGES	64

struct emul_lockstep {
	struct emul_vm *leader, *twin;
	struct emul_ops leader_ops, twin_ops;
	const struct emul_ops *ops;	/* the embedder's */
	bool blocks;			/* a turn after each block; else whenever the leader comes out of translated code */

	pthread_t thread;		/* of the vCPU, once it has run */
	bool started;
	bool copy;			/* the embedder has changed the leader: the twin becomes equal to it */

	/* what the leader met since the last turn */
	struct lockstep_record *rec;
	unsigned int nr, room, next;
	struct lockstep_record no_room;	/* written instead when there is no memory */

	/* pages that the twin wrote since the last turn */
	u64 wrote[LOCKSTEP_PAGES];
	unsigned int nr_wrote;
	bool wrote_more;

	_Atomic u32 later;		/* requests to the leader, held until the next turn */
	pthread_mutex_t lock;		/* of the lists below; nothing is taken inside */
	struct lockstep_dma *maps;	/* under way */
	struct lockstep_dma *done, **done_end;	/* to be applied between two turns */

	pthread_t poker;		/* see emul_poke_start() */
	char why[400];			/* the first difference; empty: none */

	u64 turns, tolerated;		/* counters */
	u64 next_full;			/* turn of the next comparison of all memory */
	u64 flags_differ;		/* arithmetic flags that differed after the last turn */

	/* the turn under way */
	u64 goal_insns, goal_exceptions;	/* where the leader is */
	unsigned int offered;		/* the record whose interrupt the twin was offered, plus one */
	/* where it began, for the report */
	u64 from_rip, from_base, from_insns, from_flags, from_gpr[16];
	unsigned int from_mode;
};

/* The record that comes next, after what devices wrote before it was applied. NULL: there is none. */
struct lockstep_record *lockstep_peek(struct emul_lockstep *ls);
/* The first difference found is kept. */
void lockstep_differ(struct emul_lockstep *ls, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *lockstep_kind(enum emul_input kind);
/* The turn is over: drop the records. */
void lockstep_forget(struct emul_lockstep *ls);
/* Apply what devices have written to both; between two turns. */
void lockstep_apply_dma(struct emul_lockstep *ls);
static inline bool lockstep_is_twin(const struct emul_vm *vm)
{
	return vm->lockstep && vm->lockstep->twin == vm;
}

#endif /* TENON_EMUL_LOCKSTEP_H */
