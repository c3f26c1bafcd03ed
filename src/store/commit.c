/*
 * commit.c
 *		Writes what an attempt leaves: one transaction a step.
 *
 * The delivery is the fence: it is touched before the run, with the token and
 * the event that were claimed in the WHERE.  No row there: the run was ended
 * from outside, and the caller rolls everything back.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "store/store.h"

/* Rejections listed in the payload of a terminal event, at most. */
#define PAYLOAD_REJECTIONS "100"

/* $1 run, $2 step, and an array for each column of the rows. */
#define INSERT_ROWS(table) \
	"INSERT INTO @osa@." table " (run_id, hook_index, record_id, status, features, reason, error, retryable)" \
	" SELECT $1, $2, u.id, u.status, u.features::pg_catalog.jsonb, u.reason, u.error, u.retryable" \
	"   FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5)," \
	"                   pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8))" \
	"     AS u (id, status, features, reason, error, retryable)"
#define INSERT_ROWS_TYPES \
	INT8OID, INT4OID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLARRAYOID

static bool advance(const StepCommit *c, StepCommitted *done);
static bool end_run(const StepCommit *c);
static bool retry(const StepCommit *c, StepCommitted *done);
static int save_outcomes(const StepCommit *c);
static void save_partial(const StepCommit *c);
static void insert_rows(OsaPlan *plan, const StepCommit *c);
static void pass_step(const StepCommit *c, int n_passed_all);
static void close_step(const StepCommit *c, int n_passed_all);
static void update_records(const StepCommit *c);
static Datum text_or_null(const char *text, char *null);

bool
osa_store_commit_step(const StepCommit *commit, StepCommitted *committed)
{
	bool		held = false;

	memset(committed, 0, sizeof(*committed));
	switch (commit->decision->action)
	{
		case SAGA_ADVANCE:
			held = advance(commit, committed);
			break;
		case SAGA_END:
			held = end_run(commit);
			break;
		case SAGA_RETRY:
		case SAGA_RERUN:
			held = retry(commit, committed);
			break;
	}
	if (held)
		osa_store_attempt(commit->run, commit->step, commit->attempt);
	return held;
}

/* The hook passed: the next one is due. */
static bool
advance(const StepCommit *c, StepCommitted *done)
{
	static OsaPlan event_plan = OSA_PLAN("emit the next event",
		"INSERT INTO @osa@.osa_event (install_id, type, run_id, round, deposition, payload, traceparent)"
		" VALUES ($1, $2, $3, $4, $5,"
		"         pg_catalog.jsonb_build_object('hook_index', $6::pg_catalog.int4, 'hook', $7::pg_catalog.text), $8)"
		" RETURNING id",
		UUIDOID, TEXTOID, INT8OID, INT4OID, TEXTOID, INT4OID, TEXTOID, TEXTOID);
	static OsaPlan move_plan = OSA_PLAN("move a delivery on",
		"UPDATE @osa@.osa_delivery"
		"   SET event_id = $4, status = CASE WHEN $5 THEN 'claimed' ELSE 'pending' END, claims = CASE WHEN $5 THEN 1 ELSE 0 END,"
		"       token = CASE WHEN $5 THEN pg_catalog.gen_random_uuid() END,"
		"       claimed_by = CASE WHEN $5 THEN claimed_by END,"
		"       claimed_at = CASE WHEN $5 THEN pg_catalog.clock_timestamp() END,"
		"       deliver_after = pg_catalog.now(), last_error = NULL"
		" WHERE delivery_id = $1 AND token = $2 AND event_id = $3 RETURNING token",
		INT8OID, UUIDOID, INT8OID, INT8OID, BOOLOID);
	static OsaPlan run_plan = OSA_PLAN("advance a run",
		"UPDATE @osa@.osa_validation_run SET current_hook_index = $3"
		" WHERE id = $1 AND current_hook_index = $2 AND status = 'running'",
		INT8OID, INT4OID, INT4OID);
	Datum		values[8];
	char		nulls[8] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
	int			next = c->decision->next_index;
	const RunStep *next_step = c->step + 1;

	values[0] = UUIDPGetDatum(&c->run->install);
	values[1] = CStringGetTextDatum(osa_event_type_name(c->decision->event));
	values[2] = Int64GetDatum(c->run->id);
	values[3] = Int32GetDatum(c->run->round);
	values[4] = CStringGetTextDatum(c->run->deposition);
	values[5] = Int32GetDatum(next);
	values[6] = CStringGetTextDatum(next_step->hook);
	values[7] = text_or_null(c->run->traceparent, &nulls[7]);
	osa_plan_run(&event_plan, values, nulls, false, 0);
	done->event_id = osa_col_int64(0, 1);

	values[0] = Int64GetDatum(c->delivery_id);
	values[1] = UUIDPGetDatum(&c->token);
	values[2] = Int64GetDatum(c->event_id);
	values[3] = Int64GetDatum(done->event_id);
	values[4] = BoolGetDatum(c->keep);
	if (osa_plan_run(&move_plan, values, NULL, false, 0) != 1)
		return false;
	if (c->keep)
		done->token = osa_col_uuid(0, 1);

	values[0] = Int64GetDatum(c->run->id);
	values[1] = Int32GetDatum(c->step->hook_index);
	values[2] = Int32GetDatum(next);
	if (osa_plan_run(&run_plan, values, NULL, false, 0) != 1)
		return false;

	pass_step(c, save_outcomes(c));
	return true;
}

/* The step passed and the next one is running: one statement for both rows. */
static void
pass_step(const StepCommit *c, int n_passed_all)
{
	static OsaPlan plan = OSA_PLAN("pass a step",
		"UPDATE @osa@.osa_run_hook"
		"   SET status = CASE hook_index WHEN $2 THEN 'passed' ELSE 'running' END,"
		"       started_at = CASE hook_index WHEN $2 THEN started_at ELSE pg_catalog.clock_timestamp() END,"
		"       finished_at = CASE hook_index WHEN $2 THEN pg_catalog.clock_timestamp() END,"
		"       failure_kind = NULL, message = NULL,"
		"       records_in = CASE hook_index WHEN $2 THEN $3 END,"
		"       records_passed = CASE hook_index WHEN $2 THEN $4 END,"
		"       records_rejected = CASE hook_index WHEN $2 THEN $5 END,"
		"       records_errored = CASE hook_index WHEN $2 THEN $6 END"
		" WHERE run_id = $1 AND hook_index IN ($2, $2 + 1)",
		INT8OID, INT4OID, INT4OID, INT4OID, INT4OID, INT4OID);
	Datum		values[6];

	values[0] = Int64GetDatum(c->run->id);
	values[1] = Int32GetDatum(c->step->hook_index);
	values[2] = Int32GetDatum(c->pass_all ? n_passed_all : c->n_records_in);
	values[3] = Int32GetDatum(c->pass_all ? n_passed_all : c->result->n_passed);
	values[4] = Int32GetDatum(c->result->n_rejected);
	values[5] = Int32GetDatum(c->result->n_errored);
	osa_plan_run(&plan, values, NULL, false, 0);
}

/* The run ends with this step. */
static bool
end_run(const StepCommit *c)
{
	static OsaPlan delete_plan = OSA_PLAN("delete a delivery",
		"DELETE FROM @osa@.osa_delivery WHERE delivery_id = $1 AND token = $2 AND event_id = $3",
		INT8OID, UUIDOID, INT8OID);
	static OsaPlan run_plan = OSA_PLAN("end a run",
		"UPDATE @osa@.osa_validation_run"
		"   SET status = $4, current_hook_index = $3, finished_at = pg_catalog.clock_timestamp(), reason = $5"
		" WHERE id = $1 AND current_hook_index = $2 AND finished_at IS NULL",
		INT8OID, INT4OID, INT4OID, TEXTOID, TEXTOID);
	static OsaPlan skip_plan = OSA_PLAN("skip later steps",
		"UPDATE @osa@.osa_run_hook SET status = 'skipped' WHERE run_id = $1 AND hook_index > $2",
		INT8OID, INT4OID);
	static OsaPlan event_plan = OSA_PLAN("emit the terminal event",
		"INSERT INTO @osa@.osa_event (install_id, type, run_id, round, deposition, payload, traceparent)"
		" SELECT r.install_id, $2, r.id, r.round, r.deposition,"
		"        pg_catalog.jsonb_build_object('status', r.status, 'reason', r.reason, 'rejections',"
		"          coalesce((SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object("
		"                     'record', x.record_id, 'hook', x.hook, 'reason', x.reason))"
		"                      FROM (SELECT o.record_id, h.hook, o.reason FROM @osa@.osa_outcome o"
		"                              JOIN @osa@.osa_run_hook h ON h.run_id = o.run_id AND h.hook_index = o.hook_index"
		"                             WHERE o.run_id = $1 AND o.status = 'rejected'"
		"                             ORDER BY o.hook_index, o.record_id LIMIT " PAYLOAD_REJECTIONS ") x),"
		"                   '[]'::pg_catalog.jsonb)),"
		"        r.traceparent"
		"   FROM @osa@.osa_validation_run r WHERE r.id = $1",
		INT8OID, TEXTOID);
	static OsaPlan partial_plan = OSA_PLAN("delete partial outcomes",
		"DELETE FROM @osa@.osa_partial_outcome WHERE run_id = $1",
		INT8OID);
	Datum		values[5];
	char		nulls[5] = {' ', ' ', ' ', ' ', ' '};
	int			n_saved = 0;

	values[0] = Int64GetDatum(c->delivery_id);
	values[1] = UUIDPGetDatum(&c->token);
	values[2] = Int64GetDatum(c->event_id);
	if (osa_plan_run(&delete_plan, values, NULL, false, 0) != 1)
		return false;

	values[0] = Int64GetDatum(c->run->id);
	values[1] = Int32GetDatum(c->step->hook_index);
	values[2] = Int32GetDatum(c->decision->next_index);
	values[3] = CStringGetTextDatum(osa_run_status_name(c->decision->run_status));
	values[4] = text_or_null(c->decision->run_status == RUN_COMPLETED ? NULL : c->message, &nulls[4]);
	if (osa_plan_run(&run_plan, values, nulls, false, 0) != 1)
		return false;

	if (c->decision->save_outcomes)
		n_saved = save_outcomes(c);
	else if (c->has_partial)
		osa_plan_run(&partial_plan, values, NULL, false, 0);
	close_step(c, n_saved);
	if (c->step->hook_index + 1 < c->run->hook_count)
		osa_plan_run(&skip_plan, values, NULL, false, 0);
	values[1] = CStringGetTextDatum(osa_event_type_name(c->decision->event));
	osa_plan_run(&event_plan, values, NULL, false, 0);
	return true;
}

/* The step is tried again: with a new launch, or the same one (rerun). */
static bool
retry(const StepCommit *c, StepCommitted *done)
{
	static OsaPlan move_plan = OSA_PLAN("put a delivery off",
		"UPDATE @osa@.osa_delivery"
		"   SET status = CASE WHEN $4 THEN 'claimed' ELSE 'pending' END, claims = CASE WHEN $4 THEN 1 ELSE 0 END,"
		"       token = CASE WHEN $4 THEN pg_catalog.gen_random_uuid() END,"
		"       claimed_by = CASE WHEN $4 THEN claimed_by END,"
		"       claimed_at = CASE WHEN $4 THEN pg_catalog.clock_timestamp() END,"
		"       deliver_after = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $5)"
		" WHERE delivery_id = $1 AND token = $2 AND event_id = $3 RETURNING token, deliver_after",
		INT8OID, UUIDOID, INT8OID, BOOLOID, FLOAT8OID);
	static OsaPlan step_plan = OSA_PLAN("try a step again",
		"UPDATE @osa@.osa_run_hook"
		"   SET attempt = attempt + CASE WHEN $3 THEN 1 ELSE 0 END,"
		"       launch_id = CASE WHEN $3 THEN pg_catalog.gen_random_uuid() ELSE launch_id END,"
		"       free_reruns = free_reruns + CASE WHEN $3 THEN 0 ELSE 1 END,"
		"       memory = $4, failure_kind = $5, message = $6"
		" WHERE run_id = $1 AND hook_index = $2 RETURNING launch_id",
		INT8OID, INT4OID, BOOLOID, INT8OID, TEXTOID, TEXTOID);
	Datum		values[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};
	bool		new_attempt = c->decision->action == SAGA_RETRY;

	values[0] = Int64GetDatum(c->delivery_id);
	values[1] = UUIDPGetDatum(&c->token);
	values[2] = Int64GetDatum(c->event_id);
	values[3] = BoolGetDatum(c->keep);
	values[4] = Float8GetDatum(c->decision->delay);
	if (osa_plan_run(&move_plan, values, NULL, false, 0) != 1)
		return false;
	if (c->keep)
		done->token = osa_col_uuid(0, 1);
	done->deliver_after = osa_col_timestamptz(0, 2);
	done->event_id = c->event_id;

	values[0] = Int64GetDatum(c->run->id);
	values[1] = Int32GetDatum(c->step->hook_index);
	values[2] = BoolGetDatum(new_attempt);
	values[3] = Int64GetDatum(c->decision->next_memory);
	values[4] = text_or_null(osa_failure_name(c->decision->failure), &nulls[4]);
	values[5] = text_or_null(c->message, &nulls[5]);
	if (osa_plan_run(&step_plan, values, nulls, false, 0) != 1)
		return false;
	done->launch_id = osa_col_uuid(0, 1);

	if (c->decision->save_partial)
		save_partial(c);
	return true;
}

/*
 * The step's outcomes become final; so does what earlier attempts left.
 * Returns how many records a pass_all passed.
 */
static int
save_outcomes(const StepCommit *c)
{
	static OsaPlan all_plan = OSA_PLAN("pass every record",
		"INSERT INTO @osa@.osa_outcome (run_id, hook_index, record_id, status)"
		" SELECT $1, $2, record_id, 'passed' FROM @osa@.osa_record WHERE run_id = $1 AND status = 'pending'",
		INT8OID, INT4OID);
	static OsaPlan partial_plan = OSA_PLAN("make partial outcomes final",
		"WITH p AS (DELETE FROM @osa@.osa_partial_outcome WHERE run_id = $1 AND hook_index = $2 RETURNING *)"
		" INSERT INTO @osa@.osa_outcome (run_id, hook_index, record_id, status, features, reason, error, retryable)"
		" SELECT run_id, hook_index, record_id, status, features, reason, error, retryable FROM p",
		INT8OID, INT4OID);
	static OsaPlan rows_plan = OSA_PLAN("save outcomes",
		INSERT_ROWS("osa_outcome"),
		INSERT_ROWS_TYPES);
	Datum		values[2];
	int			n_passed_all = 0;

	values[0] = Int64GetDatum(c->run->id);
	values[1] = Int32GetDatum(c->step->hook_index);
	if (c->has_partial)
		osa_plan_run(&partial_plan, values, NULL, false, 0);
	if (c->pass_all)
		n_passed_all = (int) osa_plan_run(&all_plan, values, NULL, false, 0);
	else if (c->n_rows > 0)
		insert_rows(&rows_plan, c);
	if (c->result->n_rejected > 0 || c->result->n_errored > 0 || c->decision->run_status == RUN_COMPLETED)
		update_records(c);
	return n_passed_all;
}

/* What a killed attempt, or one with retryable records, leaves for the next. */
static void
save_partial(const StepCommit *c)
{
	static OsaPlan rows_plan = OSA_PLAN("save partial outcomes",
		INSERT_ROWS("osa_partial_outcome")
		"  WHERE NOT (u.status = 'errored' AND u.retryable)",
		INSERT_ROWS_TYPES);

	if (c->n_rows > 0)
		insert_rows(&rows_plan, c);
}

static void
insert_rows(OsaPlan *plan, const StepCommit *c)
{
	Datum		values[8];
	Datum	   *cells[6];
	bool	   *isnull[6];
	int			dims[1];
	int			lbs[1] = {1};

	for (int k = 0; k < 6; k++)
	{
		cells[k] = palloc0(sizeof(Datum) * c->n_rows);
		isnull[k] = palloc0(sizeof(bool) * c->n_rows);
	}
	for (int i = 0; i < c->n_rows; i++)
	{
		const OutcomeRow *row = c->rows + i;
		const char *texts[5];

		texts[0] = c->records[row->record].id;
		texts[1] = osa_outcome_status_name(row->status);
		texts[2] = row->features;
		texts[3] = row->reason;
		texts[4] = row->error;
		for (int k = 0; k < 5; k++)
		{
			if (texts[k] == NULL)
				isnull[k][i] = true;
			else
				cells[k][i] = CStringGetTextDatum(texts[k]);
		}
		cells[5][i] = BoolGetDatum(row->retryable);
		isnull[5][i] = row->status != OUTCOME_ERRORED;
	}

	dims[0] = c->n_rows;
	values[0] = Int64GetDatum(c->run->id);
	values[1] = Int32GetDatum(c->step->hook_index);
	for (int k = 0; k < 5; k++)
		values[2 + k] = PointerGetDatum(construct_md_array(cells[k], isnull[k], 1, dims, lbs,
														   TEXTOID, -1, false, TYPALIGN_INT));
	values[7] = PointerGetDatum(construct_md_array(cells[5], isnull[5], 1, dims, lbs,
												   BOOLOID, 1, true, TYPALIGN_CHAR));
	osa_plan_run(plan, values, NULL, false, 0);
}

/*
 * The row of the step that ends the run.  n_passed_all: how many records a pass_all passed.
 */
static void
close_step(const StepCommit *c, int n_passed_all)
{
	static OsaPlan plan = OSA_PLAN("close a step",
		"UPDATE @osa@.osa_run_hook"
		"   SET status = $3, finished_at = pg_catalog.clock_timestamp(), failure_kind = $4, message = $5,"
		"       records_in = $6, records_passed = $7, records_rejected = $8, records_errored = $9"
		" WHERE run_id = $1 AND hook_index = $2",
		INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID, INT4OID, INT4OID);
	Datum		values[9];
	char		nulls[9] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};

	values[0] = Int64GetDatum(c->run->id);
	values[1] = Int32GetDatum(c->step->hook_index);
	values[2] = CStringGetTextDatum(osa_step_status_name(c->decision->step_status));
	values[3] = text_or_null(osa_failure_name(c->decision->failure), &nulls[3]);
	values[4] = text_or_null(c->message, &nulls[4]);
	values[5] = Int32GetDatum(c->pass_all ? n_passed_all : c->n_records_in);
	if (c->decision->save_outcomes)
	{
		values[6] = Int32GetDatum(c->pass_all ? n_passed_all : c->result->n_passed);
		values[7] = Int32GetDatum(c->result->n_rejected);
		values[8] = Int32GetDatum(c->result->n_errored);
	}
	else
		nulls[6] = nulls[7] = nulls[8] = 'n';
	osa_plan_run(&plan, values, nulls, false, 0);
}

/* Records that leave the run here. */
static void
update_records(const StepCommit *c)
{
	static OsaPlan left_plan = OSA_PLAN("mark records that left",
		"UPDATE @osa@.osa_record r SET status = o.status, hook_index = $2"
		"  FROM @osa@.osa_outcome o"
		" WHERE o.run_id = $1 AND o.hook_index = $2 AND o.status <> 'passed'"
		"   AND r.run_id = $1 AND r.record_id = o.record_id",
		INT8OID, INT4OID);
	static OsaPlan passed_plan = OSA_PLAN("mark records that passed",
		"UPDATE @osa@.osa_record SET status = 'passed', hook_index = $2 WHERE run_id = $1 AND status = 'pending'",
		INT8OID, INT4OID);
	Datum		values[2];

	values[0] = Int64GetDatum(c->run->id);
	values[1] = Int32GetDatum(c->step->hook_index);
	if (c->result->n_rejected > 0 || c->result->n_errored > 0)
		osa_plan_run(&left_plan, values, NULL, false, 0);
	if (c->decision->run_status == RUN_COMPLETED)
		osa_plan_run(&passed_plan, values, NULL, false, 0);
}

void
osa_store_attempt(const Run *run, const RunStep *step, const AttemptRow *attempt)
{
	static OsaPlan plan = OSA_PLAN("record an attempt",
		"INSERT INTO @osa@.osa_hook_attempt (run_id, hook_index, round, attempt, launch_id, runner,"
		"       container_name, container_id, image_id, started_at, finished_at, exit_code, oom, memory,"
		"       failure_kind, message, log_tail, adopted, config)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19::pg_catalog.jsonb)",
		INT8OID, INT4OID, INT4OID, INT4OID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, BOOLOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, TEXTOID);
	Datum		values[19];
	char		nulls[19];

	memset(nulls, ' ', sizeof(nulls));
	values[0] = Int64GetDatum(run->id);
	values[1] = Int32GetDatum(step->hook_index);
	values[2] = Int32GetDatum(run->round);
	values[3] = Int32GetDatum(step->attempt);
	values[4] = UUIDPGetDatum(&attempt->launch_id);
	values[5] = CStringGetTextDatum(attempt->runner);
	values[6] = text_or_null(attempt->container_name, &nulls[6]);
	values[7] = text_or_null(attempt->container_id, &nulls[7]);
	values[8] = text_or_null(attempt->image_id, &nulls[8]);
	values[9] = TimestampTzGetDatum(attempt->started_at);
	nulls[9] = attempt->started_at == 0 ? 'n' : ' ';
	values[10] = TimestampTzGetDatum(attempt->finished_at);
	nulls[10] = attempt->finished_at == 0 ? 'n' : ' ';
	values[11] = Int32GetDatum(attempt->exit_code);
	nulls[11] = attempt->has_exit_code ? ' ' : 'n';
	values[12] = BoolGetDatum(attempt->oom);
	nulls[12] = attempt->has_exit_code ? ' ' : 'n';
	values[13] = Int64GetDatum(attempt->memory);
	nulls[13] = attempt->memory > 0 ? ' ' : 'n';
	values[14] = text_or_null(osa_failure_name(attempt->failure), &nulls[14]);
	values[15] = text_or_null(attempt->message, &nulls[15]);
	values[16] = text_or_null(attempt->log_tail, &nulls[16]);
	values[17] = BoolGetDatum(attempt->adopted);
	values[18] = text_or_null(attempt->config, &nulls[18]);
	osa_plan_run(&plan, values, nulls, false, 0);
}

int
osa_store_count_progress(int64 run_id, int hook_index, TimestampTz since)
{
	static OsaPlan plan = OSA_PLAN("count progress",
		"SELECT pg_catalog.count(*) FROM @osa@.osa_progress_entry"
		" WHERE run_id = $1 AND hook_index = $2 AND created_at >= $3",
		INT8OID, INT4OID, TIMESTAMPTZOID);
	Datum		values[3];

	values[0] = Int64GetDatum(run_id);
	values[1] = Int32GetDatum(hook_index);
	values[2] = TimestampTzGetDatum(since);
	osa_plan_run(&plan, values, NULL, true, 0);
	return (int) osa_col_int64(0, 1);
}

void
osa_store_progress(int64 run_id, int hook_index, const ProgressLine *lines, int n)
{
	static OsaPlan plan = OSA_PLAN("save progress",
		"INSERT INTO @osa@.osa_progress_entry (run_id, hook_index, record_id, step, status, message)"
		" VALUES ($1, $2, $3, $4, $5, $6)",
		INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID);

	for (int i = 0; i < n; i++)
	{
		Datum		values[6];
		char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};

		values[0] = Int64GetDatum(run_id);
		values[1] = Int32GetDatum(hook_index);
		values[2] = text_or_null(lines[i].record_id, &nulls[2]);
		values[3] = text_or_null(lines[i].step, &nulls[3]);
		values[4] = CStringGetTextDatum(lines[i].status);
		values[5] = text_or_null(lines[i].message, &nulls[5]);
		osa_plan_run(&plan, values, nulls, false, 0);
	}
}

static Datum
text_or_null(const char *text, char *null)
{
	if (text == NULL)
	{
		*null = 'n';
		return (Datum) 0;
	}
	return CStringGetTextDatum(text);
}
