/*
 * lifecycle.c
 *		A run's life from outside: ending it, retrying it, asking for its
 *		status, and the upkeep of open runs.
 *
 * Runs in backends, and upkeep in the worker too.  Locks are taken in one
 * order, delivery before run; the worker never waits for either, so nobody
 * waits here longer than for a step's short commit.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "errors.h"
#include "guc.h"
#include "store/bind.h"
#include "store/catalog.h"
#include "store/spi.h"
#include "store/submit.h"
#include "wake.h"

/* Rejections listed in the payload of a terminal event, at most. */
#define PAYLOAD_REJECTIONS	"100"
/* Progress entries pruned in one statement. */
#define PRUNE_BATCH			"10000"

typedef struct LockedRun
{
	bool		open;
	bool		retryable;		/* failed or cancelled */
	int			current_hook_index;
	int			hook_count;
	int			priority;
	const char *runner;
} LockedRun;

static bool lock_run(int64 run_id, LockedRun *run);
static void cancel_steps(int64 run_id, const char *reason);
static void emit_cancelled(int64 run_id);
static void reset_steps(int64 run_id, bool use_live);
static void check_steps(int64 run_id, const LockedRun *run);
static void owe_current_hook(int64 run_id, int priority);

char *
osa_store_run_owner(int64 run_id)
{
	static OsaPlan plan = OSA_PLAN("read a run's owner",
		"SELECT owner FROM @osa@.osa_validation_run WHERE id = $1",
		INT8OID);
	Datum		values[1];

	values[0] = Int64GetDatum(run_id);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		return NULL;
	return osa_col_text(0, 1, CurrentMemoryContext);
}

int64
osa_store_find_by_key(const char *owner, const char *key, char **content_hash)
{
	static OsaPlan plan = OSA_PLAN("find a run by its key",
		"SELECT id, content_hash FROM @osa@.osa_validation_run WHERE owner = $1 AND idempotency_key = $2",
		TEXTOID, TEXTOID);
	Datum		values[2];

	values[0] = CStringGetTextDatum(owner);
	values[1] = CStringGetTextDatum(key);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		return 0;
	*content_hash = osa_col_text(0, 2, CurrentMemoryContext);
	return osa_col_int64(0, 1);
}

/*
 * osa_store_run_status sees what is committed now, whatever snapshot the
 * caller's query has.  An end whose commit is not on disk yet (asynchronous
 * commit) is flushed before it is told.
 */
char *
osa_store_run_status(int64 run_id, bool *ended, bool *own)
{
	static OsaPlan plan = OSA_PLAN("read a run's status",
		"SELECT status, finished_at IS NOT NULL, xmin,"
		"       coalesce(finished_at > clock_timestamp() - interval '10 min', false)"
		"  FROM @osa@.osa_validation_run WHERE id = $1",
		INT8OID);
	Datum		values[1];
	TransactionId xmin;
	char	   *status;

	values[0] = Int64GetDatum(run_id);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		return NULL;
	status = osa_col_text(0, 1, CurrentMemoryContext);
	*ended = osa_col_bool(0, 2);
	xmin = DatumGetTransactionId(osa_col_datum(0, 3));
	*own = TransactionIdIsCurrentTransactionId(xmin);

	/* older ones are flushed long since, and their commit log may be gone */
	if (*ended && !*own && osa_col_bool(0, 4) && !RecoveryInProgress())
	{
		XLogRecPtr	lsn = TransactionIdGetCommitLSN(xmin);

		if (!XLogRecPtrIsInvalid(lsn))
			XLogFlush(lsn);
	}
	SPI_freetuptable(SPI_tuptable);
	return status;
}

/* ---- ending ---- */

/* Locks the run's delivery, then the run; false: there is no such run. */
static bool
lock_run(int64 run_id, LockedRun *run)
{
	static OsaPlan delivery_plan = OSA_PLAN("lock a run's delivery",
		"SELECT 1 FROM @osa@.osa_delivery WHERE run_id = $1 FOR UPDATE",
		INT8OID);
	static OsaPlan run_plan = OSA_PLAN("lock a run",
		"SELECT finished_at IS NULL, status IN ('failed', 'cancelled'), current_hook_index, hook_count,"
		"       priority, runner FROM @osa@.osa_validation_run WHERE id = $1 FOR NO KEY UPDATE",
		INT8OID);
	Datum		values[1];

	values[0] = Int64GetDatum(run_id);
	osa_plan_run(&delivery_plan, values, NULL, false, 0);
	if (osa_plan_run(&run_plan, values, NULL, false, 0) == 0)
		return false;
	run->open = osa_col_bool(0, 1);
	run->retryable = osa_col_bool(0, 2);
	run->current_hook_index = osa_col_int32(0, 3);
	run->hook_count = osa_col_int32(0, 4);
	run->priority = osa_col_int32(0, 5);
	run->runner = osa_col_text(0, 6, CurrentMemoryContext);
	return true;
}

bool
osa_store_end_run(int64 run_id, const char *reason)
{
	static OsaPlan delivery_plan = OSA_PLAN("delete an ended run's delivery",
		"DELETE FROM @osa@.osa_delivery WHERE run_id = $1",
		INT8OID);
	static OsaPlan run_plan = OSA_PLAN("cancel a run",
		"UPDATE @osa@.osa_validation_run SET status = 'cancelled', finished_at = clock_timestamp(), reason = $2"
		" WHERE id = $1",
		INT8OID, TEXTOID);
	LockedRun	run;
	Datum		values[2];
	char		nulls[] = OSA_NO_NULLS;

	if (!lock_run(run_id, &run) || !run.open)
		return false;
	values[0] = Int64GetDatum(run_id);
	osa_bind_text(values, nulls, 1, reason);
	osa_plan_run(&delivery_plan, values, NULL, false, 0);
	osa_plan_run(&run_plan, values, nulls, false, 0);
	cancel_steps(run_id, reason);
	emit_cancelled(run_id);
	osa_wake_at_commit(0, 0);
	return true;
}

static void
cancel_steps(int64 run_id, const char *reason)
{
	static OsaPlan steps_plan = OSA_PLAN("cancel a run's steps",
		"UPDATE @osa@.osa_run_hook h SET"
		"   status = CASE WHEN h.hook_index = r.current_hook_index THEN 'cancelled' ELSE 'skipped' END,"
		"   finished_at = CASE WHEN h.hook_index = r.current_hook_index THEN r.finished_at END,"
		"   failure_kind = CASE WHEN h.hook_index = r.current_hook_index THEN 'cancelled' END,"
		"   message = CASE WHEN h.hook_index = r.current_hook_index THEN $2 END"
		"  FROM @osa@.osa_validation_run r"
		" WHERE r.id = $1 AND h.run_id = r.id AND h.hook_index >= r.current_hook_index",
		INT8OID, TEXTOID);
	static OsaPlan partial_plan = OSA_PLAN("delete a cancelled run's partial outcomes",
		"DELETE FROM @osa@.osa_partial_outcome WHERE run_id = $1",
		INT8OID);
	Datum		values[2];
	char		nulls[] = OSA_NO_NULLS;

	values[0] = Int64GetDatum(run_id);
	osa_bind_text(values, nulls, 1, reason);
	osa_plan_run(&steps_plan, values, nulls, false, 0);
	osa_plan_run(&partial_plan, values, NULL, false, 0);
}

static void
emit_cancelled(int64 run_id)
{
	static OsaPlan plan = OSA_PLAN("emit a cancelled run's terminal event",
		"INSERT INTO @osa@.osa_event (install_id, type, run_id, round, deposition, payload, traceparent)"
		" SELECT r.install_id, 'ValidationFailed', r.id, r.round, r.deposition,"
		"        jsonb_build_object('status', r.status, 'reason', r.reason, 'rejections', coalesce("
		"          (SELECT jsonb_agg(jsonb_build_object('record', x.record_id, 'hook', x.hook, 'reason', x.reason)"
		"                            ORDER BY x.hook_index, x.record_id)"
		"             FROM (SELECT o.record_id, h.hook, o.hook_index, o.reason FROM @osa@.osa_outcome o"
		"                     JOIN @osa@.osa_run_hook h ON h.run_id = o.run_id AND h.hook_index = o.hook_index"
		"                    WHERE o.run_id = $1 AND o.status = 'rejected'"
		"                    ORDER BY o.hook_index, o.record_id LIMIT " PAYLOAD_REJECTIONS ") AS x),"
		"          '[]')), r.traceparent"
		"   FROM @osa@.osa_validation_run r WHERE r.id = $1",
		INT8OID);
	Datum		values[1];

	values[0] = Int64GetDatum(run_id);
	osa_plan_run(&plan, values, NULL, false, 0);
}

/* ---- retrying ---- */

bool
osa_store_retry_run(int64 run_id, bool use_live)
{
	static OsaPlan run_plan = OSA_PLAN("retry a run",
		"UPDATE @osa@.osa_validation_run r SET status = 'pending', round = r.round + 1, reason = NULL,"
		"   finished_at = NULL, expires_at = NULL, install_id = i.install_id"
		"  FROM @osa@.osa_install i WHERE r.id = $1",
		INT8OID);
	LockedRun	run;
	Datum		values[1];

	if (!lock_run(run_id, &run) || !run.retryable)
		return false;
	if (run.current_hook_index >= run.hook_count)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("validation run " INT64_FORMAT " has no hook to retry", run_id),
				 errdetail("It failed before its hooks were chosen."),
				 errhint("Start a new one with osa_start_validation().")));
	reset_steps(run_id, use_live);
	check_steps(run_id, &run);
	values[0] = Int64GetDatum(run_id);
	osa_plan_run(&run_plan, values, NULL, false, 0);
	owe_current_hook(run_id, run.priority);
	return true;
}

/*
 * The current step and the later ones start anew; what they said of records is
 * deleted.  A step that may have been launched gets a new attempt number, since
 * its last attempt's provenance may still be written.
 */
static void
reset_steps(int64 run_id, bool use_live)
{
	static OsaPlan outcome_plan = OSA_PLAN("delete outcomes before a retry",
		"DELETE FROM @osa@.osa_outcome o USING @osa@.osa_validation_run r"
		" WHERE r.id = $1 AND o.run_id = r.id AND o.hook_index >= r.current_hook_index",
		INT8OID);
	static OsaPlan partial_plan = OSA_PLAN("delete partial outcomes before a retry",
		"DELETE FROM @osa@.osa_partial_outcome WHERE run_id = $1",
		INT8OID);
	static OsaPlan record_plan = OSA_PLAN("reset records before a retry",
		"UPDATE @osa@.osa_record c SET status = 'pending', hook_index = NULL FROM @osa@.osa_validation_run r"
		" WHERE r.id = $1 AND c.run_id = r.id AND c.hook_index >= r.current_hook_index",
		INT8OID);
	static OsaPlan step_plan = OSA_PLAN("reset steps before a retry",
		"UPDATE @osa@.osa_run_hook h SET status = 'pending', launch_id = gen_random_uuid(),"
		"   attempt = h.attempt + CASE WHEN h.started_at IS NULL THEN 0 ELSE 1 END,"
		"   first_attempt = h.attempt + CASE WHEN h.started_at IS NULL THEN 0 ELSE 1 END,"
		"   memory = NULL, free_reruns = 0, strikes = 0, records_in = NULL, records_passed = NULL,"
		"   records_rejected = NULL, records_errored = NULL, started_at = NULL, finished_at = NULL,"
		"   failure_kind = NULL, message = NULL"
		"  FROM @osa@.osa_validation_run r"
		" WHERE r.id = $1 AND h.run_id = r.id AND h.hook_index >= r.current_hook_index",
		INT8OID);
	static OsaPlan live_plan = OSA_PLAN("take the live releases for a retry",
		"UPDATE @osa@.osa_run_hook h"
		"   SET release_id = l.release_id, columns = k.columns, cardinality = k.cardinality"
		"  FROM @osa@.osa_validation_run r, @osa@.osa_hook k, @osa@.osa_hook_live l"
		" WHERE r.id = $1 AND h.run_id = r.id AND h.hook_index >= r.current_hook_index"
		"   AND k.name = h.hook AND l.hook = h.hook AND l.is_current",
		INT8OID);
	Datum		values[1];

	values[0] = Int64GetDatum(run_id);
	osa_plan_run(&outcome_plan, values, NULL, false, 0);
	osa_plan_run(&partial_plan, values, NULL, false, 0);
	osa_plan_run(&record_plan, values, NULL, false, 0);
	osa_plan_run(&step_plan, values, NULL, false, 0);
	if (use_live)
		osa_plan_run(&live_plan, values, NULL, false, 0);
}

/* The steps to come must fit their runner as it is now. */
static void
check_steps(int64 run_id, const LockedRun *run)
{
	static OsaPlan plan = OSA_PLAN("read limits before a retry",
		"SELECT h.hook, r.limits::text FROM @osa@.osa_run_hook h"
		"  JOIN @osa@.osa_hook_release r ON r.id = h.release_id"
		" WHERE h.run_id = $1 AND h.hook_index >= $2 ORDER BY h.hook_index",
		INT8OID, INT4OID);
	Datum		values[2];
	PipelineHook *hooks;
	int			n;

	values[0] = Int64GetDatum(run_id);
	values[1] = Int32GetDatum(run->current_hook_index);
	n = (int) osa_plan_run(&plan, values, NULL, false, 0);
	hooks = palloc0(sizeof(PipelineHook) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		hooks[i].name = osa_col_text(i, 1, CurrentMemoryContext);
		hooks[i].limits = osa_col_text(i, 2, CurrentMemoryContext);
	}
	osa_store_check_ceilings(run->runner, hooks, n);
}

/* Emits the current hook's event of this round, with a delivery. */
static void
owe_current_hook(int64 run_id, int priority)
{
	static OsaPlan plan = OSA_PLAN("emit a retry",
		"WITH e AS (INSERT INTO @osa@.osa_event (install_id, type, run_id, round, deposition, payload, traceparent)"
		"   SELECT r.install_id, 'RunNextHook', r.id, r.round, r.deposition,"
		"          jsonb_build_object('hook_index', h.hook_index, 'hook', h.hook), r.traceparent"
		"     FROM @osa@.osa_validation_run r"
		"     JOIN @osa@.osa_run_hook h ON h.run_id = r.id AND h.hook_index = r.current_hook_index"
		"    WHERE r.id = $1 RETURNING id, install_id, run_id)"
		" INSERT INTO @osa@.osa_delivery (install_id, event_id, run_id, priority)"
		" SELECT install_id, id, run_id, $2 FROM e RETURNING delivery_id",
		INT8OID, INT4OID);
	Datum		values[2];

	values[0] = Int64GetDatum(run_id);
	values[1] = Int32GetDatum(priority);
	if (osa_plan_run(&plan, values, NULL, false, 0) != 1)
		elog(ERROR, "could not retry a run");
	osa_wake_at_commit(osa_col_int64(0, 1), priority);
}

/* ---- upkeep ---- */

int
osa_store_expire_runs(int max)
{
	/* those whose delivery is being moved on right now are for the next time */
	static OsaPlan plan = OSA_PLAN("find expired runs",
		"SELECT r.id FROM @osa@.osa_validation_run r JOIN @osa@.osa_delivery d ON d.run_id = r.id"
		" WHERE r.expires_at <= clock_timestamp() AND r.finished_at IS NULL"
		"   AND r.install_id = (SELECT install_id FROM @osa@.osa_install)"
		" ORDER BY r.expires_at, r.id FOR UPDATE OF d SKIP LOCKED");
	int			n = (int) osa_plan_run(&plan, NULL, NULL, false, max);
	int64	   *ids = palloc(sizeof(int64) * Max(n, 1));
	int			n_ended = 0;

	for (int i = 0; i < n; i++)
		ids[i] = osa_col_int64(i, 1);
	for (int i = 0; i < n; i++)
	{
		if (osa_store_end_run(ids[i], "expired: it had not ended by its expires_at"))
			n_ended++;
	}
	pfree(ids);
	return n_ended;
}

TimestampTz
osa_store_next_expiry(void)
{
	static OsaPlan plan = OSA_PLAN("find the next expiry",
		"SELECT min(expires_at) FROM @osa@.osa_validation_run"
		" WHERE expires_at IS NOT NULL AND finished_at IS NULL"
		"   AND install_id = (SELECT install_id FROM @osa@.osa_install)");

	osa_plan_run(&plan, NULL, NULL, true, 0);
	return osa_col_isnull(0, 1) ? DT_NOEND : osa_col_timestamptz(0, 1);
}

int
osa_store_requeue_missing(int max)
{
	static OsaPlan plan = OSA_PLAN("make missing deliveries",
		"WITH missing AS MATERIALIZED ("
		"   SELECT r.id, r.install_id, r.round, r.deposition, r.priority, r.traceparent, h.hook_index, h.hook,"
		"          (SELECT max(e.id) FROM @osa@.osa_event e WHERE e.run_id = r.id AND e.round = r.round"
		"              AND e.type = 'RunNextHook' AND e.payload -> 'hook_index' = to_jsonb(h.hook_index)) AS event_id"
		"     FROM @osa@.osa_validation_run r"
		"     JOIN @osa@.osa_run_hook h ON h.run_id = r.id AND h.hook_index = r.current_hook_index"
		"    WHERE r.finished_at IS NULL AND r.install_id = (SELECT install_id FROM @osa@.osa_install)"
		"      AND NOT EXISTS (SELECT FROM @osa@.osa_delivery d WHERE d.run_id = r.id)"
		"    ORDER BY r.id LIMIT $1 FOR NO KEY UPDATE OF r SKIP LOCKED),"
		" made AS (INSERT INTO @osa@.osa_event (install_id, type, run_id, round, deposition, payload, traceparent)"
		"   SELECT install_id, 'RunNextHook', id, round, deposition,"
		"          jsonb_build_object('hook_index', hook_index, 'hook', hook), traceparent"
		"     FROM missing WHERE event_id IS NULL RETURNING id, run_id)"
		" INSERT INTO @osa@.osa_delivery (install_id, event_id, run_id, priority)"
		" SELECT m.install_id, coalesce(m.event_id, made.id), m.id, m.priority"
		"   FROM missing m LEFT JOIN made ON made.run_id = m.id"
		" ON CONFLICT (run_id) DO NOTHING RETURNING delivery_id, priority",
		INT4OID);
	Datum		values[1];
	int			n;

	values[0] = Int32GetDatum(max);
	n = (int) osa_plan_run(&plan, values, NULL, false, 0);
	for (int i = 0; i < n; i++)
		osa_wake_at_commit(osa_col_int64(i, 1), osa_col_int32(i, 2));
	return n;
}

int64
osa_store_prune_progress(int max_batches)
{
	/* ids rise with time, so old entries are the lowest ids: no index scan
	 * beyond the batch, whatever is behind it */
	static OsaPlan plan = OSA_PLAN("prune progress entries",
		"WITH old AS (SELECT id FROM (SELECT id, created_at FROM @osa@.osa_progress_entry"
		"                                   ORDER BY id LIMIT " PRUNE_BATCH ") AS first"
		"             WHERE created_at < clock_timestamp() - make_interval(secs => $1))"
		" DELETE FROM @osa@.osa_progress_entry p USING old WHERE p.id = old.id",
		FLOAT8OID);
	int64		n_pruned = 0;
	Datum		values[1];

	values[0] = Float8GetDatum((double) osa_guc_progress_retention);
	for (int i = 0; i < max_batches; i++)
	{
		uint64		n = osa_plan_run(&plan, values, NULL, false, 0);

		n_pruned += n;
		if (n == 0)
			break;
	}
	return n_pruned;
}
