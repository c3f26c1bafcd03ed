/*
 * claims.h
 *		Which deliveries wait and which are claimed now; used by flight.c
 *		within its turn, in the turn's memory context.
 */
#ifndef OSA_CLAIMS_H
#define OSA_CLAIMS_H

#include "store/store.h"

extern void osa_claims_open(const char *node);
/* Who claims: node, process id and start. */
extern const char *osa_claims_worker_name(void);

/* Deliveries read in the tables, to be remembered. */
extern void osa_claims_add(const QueuedDelivery *found, int n);
/* Scan the table in this turn or the next one. */
extern void osa_claims_scan(void);

/* Takes what backends left; true: something else may have changed too. */
extern bool osa_claims_take_wakes(void);
/* Looks at what is new, and scans if that is wanted. */
extern void osa_claims_look(TimestampTz now);
/* Claims what there is room for. */
extern void osa_claims_take(void);

#endif							/* OSA_CLAIMS_H */
