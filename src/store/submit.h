/*
 * submit.h
 *		Creating runs and ending them from outside: in the caller's
 *		transaction for SQL functions, in the worker's for its handlers.
 *		Callers are inside osa_call_begin/osa_call_end or osa_tx_begin.
 */
#ifndef OSA_SUBMIT_H
#define OSA_SUBMIT_H

#include "types.h"

#include "utils/jsonb.h"

/* What a new run is made of; everything checked already. */
typedef struct NewRun
{
	const char *deposition;
	const char *pipeline;
	const char *owner;			/* role name */
	Jsonb	   *config;			/* object */
	int			priority;
	const char *idempotency_key;	/* or NULL */
	const char *content_hash;	/* or NULL */
	bool		has_expires_at;
	TimestampTz expires_at;
	const char *traceparent;	/* or NULL */
} NewRun;

/*
 * osa_store_create_run snapshots the deposition's records (osa_record), the
 * pipeline and its hooks' live releases (osa_run_hook), and emits
 * RunNextHook(0) with its delivery (moved from submitted_delivery when that is
 * not 0), or ValidationCompleted when there are no hooks.  Arms the wake-up.
 * Raises for an unknown pipeline, a hook without a live release, limits above
 * the runner's ceiling, a deposition without records or with too much input.
 * Returns the run's id; 0: the owner has a run of this idempotency key already
 * (committed by now), nothing was written.
 */
extern int64 osa_store_create_run(const NewRun *run, int64 submitted_delivery);

/*
 * The DepositionSubmitted handler's work when creating the run raised: leaves
 * a failed run with the reason and its terminal event.  Deleting the
 * submission's delivery is the caller's.
 */
extern int64 osa_store_create_failed_run(const NewRun *run, const char *reason);

/*
 * osa_store_end_run ends an open run from outside (cancel, expiry): locks its
 * delivery, then the run; status cancelled, steps and partial outcomes as they
 * must be, terminal event, delivery deleted (so its token is void), wake-up
 * armed.  False: it had ended already, or there is no such run.
 */
extern bool osa_store_end_run(int64 run_id, const char *reason);

/*
 * osa_retry_validation's work; false if the run is not failed or cancelled.
 * Raises for a run that failed before it had hooks, and for limits above the
 * runner's ceiling.
 */
extern bool osa_store_retry_run(int64 run_id, bool use_live);

/* NULL: there is no such run. */
extern char *osa_store_run_owner(int64 run_id);

/* The owner's run of this idempotency key, or 0. */
extern int64 osa_store_find_by_key(const char *owner, const char *key, char **content_hash);

/*
 * The status as committed now, or NULL: no such run.  *ended: and its end is
 * on disk; *own: this transaction wrote it last.
 */
extern char *osa_store_run_status(int64 run_id, bool *ended, bool *own);

/* ---- upkeep; the worker may call these too ---- */

/* Ends open runs of this installation whose expires_at has passed, at most max;
 * leaves those whose delivery is locked.  Returns how many. */
extern int	osa_store_expire_runs(int max);

/* When the next open run of this installation expires; DT_NOEND: none will. */
extern TimestampTz osa_store_next_expiry(void);

/* Makes deliveries that open runs of this installation lack; returns how many. */
extern int	osa_store_requeue_missing(int max);

/* Deletes progress entries older than progress_retention; returns how many. */
extern int64 osa_store_prune_progress(int max_batches);

#endif							/* OSA_SUBMIT_H */
