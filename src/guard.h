/*
 * guard.h
 *		The one PG_TRY of the worker's loop: a unit of work with its own
 *		transaction that may raise without ending the worker.
 */
#ifndef OSA_GUARD_H
#define OSA_GUARD_H

#include "postgres.h"

typedef enum GuardVerdict
{
	GUARD_OK,
	GUARD_LOCKED,				/* somebody holds a lock, or cancelled us: soon again */
	GUARD_CONFLICT,				/* serialisation and the like */
	GUARD_RESOURCES,			/* disk or memory: wait, counts as nobody's fault */
	GUARD_ERROR
} GuardVerdict;

typedef struct GuardError
{
	char		message[512];
} GuardError;

/* fn does osa_tx_begin and osa_tx_commit itself.  After an error the
 * transaction is aborted and the caller's memory context is current again. */
extern GuardVerdict osa_guard(void (*fn) (void *arg), void *arg, GuardError *error);

#endif							/* OSA_GUARD_H */
