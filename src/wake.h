/*
 * wake.h
 *		"Wake the worker of this database when this transaction commits."
 *		Runs in any backend.  Costs nothing in transactions that don't ask.
 */
#ifndef OSA_WAKE_H
#define OSA_WAKE_H

#include "postgres.h"

/*
 * Asks for a wake-up at COMMIT (none at ROLLBACK).  delivery_id: a delivery
 * that became ready, 0 for "look around" (cancel, resume, settings, ...).
 * A transaction of the worker itself may call it too.
 */
extern void osa_wake_at_commit(int64 delivery_id, int32 priority);

extern void osa_wake_init(void);	/* in _PG_init while preloading */

#endif							/* OSA_WAKE_H */
