/*
 * queue.h
 *		The worker's memory of deliveries that wait: ready ones by runner and
 *		priority, later ones by time.  Fed at commit, by the worker's own
 *		steps and by scans; the table stays the truth, so that forgetting all
 *		of this loses nothing.  No SPI here.
 */
#ifndef OSA_QUEUE_H
#define OSA_QUEUE_H

#include "store/store.h"

/* Beyond this many, deliveries are left to the next scan. */
#define OSA_QUEUE_MAX	20000

extern void osa_queue_open(void);

/* One that was read in the table; an entry of the same id is replaced. */
extern void osa_queue_add(const QueuedDelivery *delivery);

/* One of which only the id is known: it is looked at at once, or again after
 * a while (50 ms, doubling to 1 s) when a claim did not get it. */
extern void osa_queue_look(int64 delivery_id, bool again);

/* Ids to be looked at now; the caller adds those that still wait and forgets
 * the others. */
extern int	osa_queue_n_looks(void);
extern int	osa_queue_take_looks(int64 *ids, int max);
extern void osa_queue_forget(int64 delivery_id);

/* Takes the first ready ones of a runner: by priority, claimed before first. */
extern int	osa_queue_pop(const char *runner, int64 *ids, int max);
/* Priority of the first ready one of a runner; false: none. */
extern bool osa_queue_peek(const char *runner, int32 *priority);

/* Calls fn for each runner that has ready ones. */
extern void osa_queue_runners(void (*fn) (const char *runner));

/* Moves what became due; call it before pop, peek and take_looks. */
extern void osa_queue_turn(TimestampTz now);
extern TimestampTz osa_queue_deadline(void);	/* DT_NOEND: nothing waits for a time */

/* True once after deliveries were left out: scan when there is room. */
extern bool osa_queue_scan_wanted(void);
extern void osa_queue_left_out(void);
extern int	osa_queue_length(void);

#endif							/* OSA_QUEUE_H */
