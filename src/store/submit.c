/*
 * submit.c
 *		Creating runs: the snapshot of a deposition's records, of a pipeline
 *		and of its hooks' live releases, and the first event.
 *
 * Runs in backends, in the caller's transaction, and in the worker, for a
 * submitted deposition.  Everything a run needs later is written here, so that
 * no later change of the catalog or of the deposition reaches it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "errors.h"
#include "store/bind.h"
#include "store/catalog.h"
#include "store/deposition.h"
#include "store/spi.h"
#include "store/submit.h"
#include "wake.h"

static int64 insert_run(const NewRun *run, const Pipeline *pipeline);
static void snapshot_records(int64 run_id, const char *deposition, bool passed);
static void snapshot_hooks(int64 run_id, const Pipeline *pipeline);
static void emit_terminal(int64 run_id, EventType type);
static void start_first_hook(int64 run_id, const char *hook, int priority, int64 submitted_delivery);
static void delete_delivery(int64 delivery_id);

int64
osa_store_create_run(const NewRun *run, int64 submitted_delivery)
{
	Pipeline   *pipeline = osa_store_load_pipeline(run->pipeline);
	bool		completed = pipeline->n_hooks == 0;
	int64		run_id;

	osa_store_check_records(run->deposition);
	run_id = insert_run(run, pipeline);
	if (run_id == 0)
		return 0;
	snapshot_records(run_id, run->deposition, completed);
	if (completed)
	{
		emit_terminal(run_id, EVENT_VALIDATION_COMPLETED);
		if (submitted_delivery != 0)
			delete_delivery(submitted_delivery);
	}
	else
	{
		snapshot_hooks(run_id, pipeline);
		start_first_hook(run_id, pipeline->hooks[0].name, run->priority, submitted_delivery);
		/* the worker must know when its time is over */
		if (run->has_expires_at)
			osa_wake_at_commit(0, 0);
	}
	return run_id;
}

int64
osa_store_create_failed_run(const NewRun *run, const char *reason)
{
	static OsaPlan plan = OSA_PLAN("insert a failed run",
		"INSERT INTO @osa@.osa_validation_run (install_id, deposition, pipeline, status, hook_count,"
		"   priority, config, owner, finished_at, reason, traceparent)"
		" SELECT install_id, $1, $2, 'failed', 0, $3, $4, $5, clock_timestamp(), $6, $7"
		"   FROM @osa@.osa_install RETURNING id",
		TEXTOID, TEXTOID, INT4OID, JSONBOID, TEXTOID, TEXTOID, TEXTOID);
	Datum		values[7];
	char		nulls[] = OSA_NO_NULLS;
	int64		run_id;

	values[0] = CStringGetTextDatum(run->deposition);
	values[1] = CStringGetTextDatum(run->pipeline);
	values[2] = Int32GetDatum(run->priority);
	values[3] = JsonbPGetDatum(run->config);
	values[4] = CStringGetTextDatum(run->owner);
	values[5] = CStringGetTextDatum(reason);
	osa_bind_text(values, nulls, 6, run->traceparent);
	if (osa_plan_run(&plan, values, nulls, false, 0) != 1)
		elog(ERROR, "could not insert a run");
	run_id = osa_col_int64(0, 1);
	emit_terminal(run_id, EVENT_VALIDATION_FAILED);
	return run_id;
}

/* Returns 0 if the owner has a run of this idempotency key already. */
static int64
insert_run(const NewRun *run, const Pipeline *pipeline)
{
	/* of two at once the second waits here for the first's commit */
	static OsaPlan plan = OSA_PLAN("insert a run",
		"INSERT INTO @osa@.osa_validation_run (install_id, deposition, pipeline, on_rejection,"
		"   on_record_error, runner, hook_count, priority, config, idempotency_key, content_hash, owner,"
		"   expires_at, traceparent, status, started_at, finished_at)"
		" SELECT install_id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,"
		"        CASE WHEN $6 = 0 THEN 'completed' ELSE 'pending' END,"
		"        CASE WHEN $6 = 0 THEN clock_timestamp() END, CASE WHEN $6 = 0 THEN clock_timestamp() END"
		"   FROM @osa@.osa_install"
		" ON CONFLICT (owner, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING id",
		TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID, JSONBOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID);
	Datum		values[13];
	char		nulls[] = OSA_NO_NULLS;

	values[0] = CStringGetTextDatum(run->deposition);
	values[1] = CStringGetTextDatum(run->pipeline);
	values[2] = CStringGetTextDatum(pipeline->on_rejection);
	values[3] = CStringGetTextDatum(pipeline->on_record_error);
	values[4] = CStringGetTextDatum(pipeline->runner);
	values[5] = Int32GetDatum(pipeline->n_hooks);
	values[6] = Int32GetDatum(run->priority);
	values[7] = JsonbPGetDatum(run->config);
	osa_bind_text(values, nulls, 8, run->idempotency_key);
	osa_bind_text(values, nulls, 9, run->content_hash);
	values[10] = CStringGetTextDatum(run->owner);
	values[11] = TimestampTzGetDatum(run->expires_at);
	nulls[11] = run->has_expires_at ? ' ' : 'n';
	osa_bind_text(values, nulls, 12, run->traceparent);
	return osa_plan_run(&plan, values, nulls, false, 0) == 1 ? osa_col_int64(0, 1) : 0;
}

/* passed: no hook will judge them. */
static void
snapshot_records(int64 run_id, const char *deposition, bool passed)
{
	static OsaPlan plan = OSA_PLAN("snapshot records",
		"INSERT INTO @osa@.osa_record"
		" (run_id, record_id, ordinal, metadata, size_hint_mb, files_from, files, status, content_hash)"
		" SELECT $1, record_id, ordinal, metadata, size_hint_mb, files_from, files,"
		"        CASE WHEN $3 THEN 'passed' ELSE 'pending' END,"
		"        encode(sha256(convert_to(metadata::text || chr(10) || files::text, 'UTF8')), 'hex')"
		"   FROM @osa@.osa_deposition_record WHERE deposition = $2 AND metadata IS NOT NULL",
		INT8OID, TEXTOID, BOOLOID);
	Datum		values[3];

	values[0] = Int64GetDatum(run_id);
	values[1] = CStringGetTextDatum(deposition);
	values[2] = BoolGetDatum(passed);
	osa_plan_run(&plan, values, NULL, false, 0);
}

static void
snapshot_hooks(int64 run_id, const Pipeline *pipeline)
{
	static OsaPlan plan = OSA_PLAN("snapshot hooks",
		"INSERT INTO @osa@.osa_run_hook (run_id, hook_index, hook, release_id, columns, cardinality)"
		" SELECT $1, (o.place - 1)::int4, h.name, o.release_id, h.columns, h.cardinality"
		"   FROM unnest($2, $3) WITH ORDINALITY AS o(hook, release_id, place)"
		"   JOIN @osa@.osa_hook h ON h.name = o.hook",
		INT8OID, TEXTARRAYOID, INT8ARRAYOID);
	Datum	   *names = palloc(sizeof(Datum) * pipeline->n_hooks);
	Datum	   *releases = palloc(sizeof(Datum) * pipeline->n_hooks);
	Datum		values[3];

	for (int i = 0; i < pipeline->n_hooks; i++)
	{
		names[i] = CStringGetTextDatum(pipeline->hooks[i].name);
		releases[i] = Int64GetDatum(pipeline->hooks[i].release_id);
	}
	values[0] = Int64GetDatum(run_id);
	values[1] = PointerGetDatum(construct_array(names, pipeline->n_hooks, TEXTOID,
												-1, false, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(releases, pipeline->n_hooks, INT8OID,
												8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	if (osa_plan_run(&plan, values, NULL, false, 0) != (uint64) pipeline->n_hooks)
		elog(ERROR, "a hook of pipeline \"%s\" is missing", pipeline->name);
}

/* Of a run that ended without any hook. */
static void
emit_terminal(int64 run_id, EventType type)
{
	static OsaPlan plan = OSA_PLAN("emit the terminal event of a run without hooks",
		"INSERT INTO @osa@.osa_event (install_id, type, run_id, round, deposition, payload, traceparent)"
		" SELECT install_id, $2, id, round, deposition,"
		"        jsonb_build_object('status', status, 'reason', reason, 'rejections', jsonb_build_array()), traceparent"
		"   FROM @osa@.osa_validation_run WHERE id = $1",
		INT8OID, TEXTOID);
	Datum		values[2];

	values[0] = Int64GetDatum(run_id);
	values[1] = CStringGetTextDatum(osa_event_type_name(type));
	osa_plan_run(&plan, values, NULL, false, 0);
}

/* RunNextHook(0), in a delivery of its own or in the submission's. */
static void
start_first_hook(int64 run_id, const char *hook, int priority, int64 submitted_delivery)
{
	static OsaPlan new_plan = OSA_PLAN("start a run",
		"WITH e AS (INSERT INTO @osa@.osa_event (install_id, type, run_id, round, deposition, payload, traceparent)"
		"   SELECT install_id, 'RunNextHook', id, round, deposition,"
		"          jsonb_build_object('hook_index', 0, 'hook', $2), traceparent"
		"     FROM @osa@.osa_validation_run WHERE id = $1 RETURNING id, install_id, run_id)"
		" INSERT INTO @osa@.osa_delivery (install_id, event_id, run_id, priority)"
		" SELECT install_id, id, run_id, $3 FROM e RETURNING delivery_id",
		INT8OID, TEXTOID, INT4OID);
	static OsaPlan move_plan = OSA_PLAN("start a submitted run",
		"WITH e AS (INSERT INTO @osa@.osa_event (install_id, type, run_id, round, deposition, payload, traceparent)"
		"   SELECT install_id, 'RunNextHook', id, round, deposition,"
		"          jsonb_build_object('hook_index', 0, 'hook', $2), traceparent"
		"     FROM @osa@.osa_validation_run WHERE id = $1 RETURNING id, run_id)"
		" UPDATE @osa@.osa_delivery d SET event_id = e.id, run_id = e.run_id, priority = $3, status = 'pending',"
		"   claims = 0, token = NULL, claimed_by = NULL, claimed_at = NULL, deliver_after = now(), last_error = NULL"
		"   FROM e WHERE d.delivery_id = $4 RETURNING d.delivery_id",
		INT8OID, TEXTOID, INT4OID, INT8OID);
	Datum		values[4];

	values[0] = Int64GetDatum(run_id);
	values[1] = CStringGetTextDatum(hook);
	values[2] = Int32GetDatum(priority);
	values[3] = Int64GetDatum(submitted_delivery);
	if (osa_plan_run(submitted_delivery != 0 ? &move_plan : &new_plan, values, NULL, false, 0) != 1)
		elog(ERROR, "could not start a run");
	osa_wake_at_commit(osa_col_int64(0, 1), priority);
}

static void
delete_delivery(int64 delivery_id)
{
	static OsaPlan plan = OSA_PLAN("delete a submission's delivery",
		"DELETE FROM @osa@.osa_delivery WHERE delivery_id = $1",
		INT8OID);
	Datum		values[1];

	values[0] = Int64GetDatum(delivery_id);
	if (osa_plan_run(&plan, values, NULL, false, 0) != 1)
		elog(ERROR, "a submission's delivery is gone");
}
