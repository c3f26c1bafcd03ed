/*
 * load.c
 *		Reads a run, its steps, a step's records and the bytes of attached
 *		files into memory.  Everything lands in the context that is given.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "contract/limits.h"
#include "store/store.h"

static void load_steps(Run *run, MemoryContext context);
static void load_files(int64 run_id, int hook_index, InputRecord *records, int n_records, MemoryContext context);

/* Records of the run that a step has still to give an outcome. */
#define STEP_RECORDS \
	"@osa@.osa_record r WHERE r.run_id = $1 AND r.status = 'pending'" \
	"   AND NOT EXISTS (SELECT FROM @osa@.osa_partial_outcome p" \
	"                    WHERE p.run_id = $1 AND p.hook_index = $2 AND p.record_id = r.record_id)"

Run *
osa_store_load_run(const Claim *claim, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("load a run",
		"SELECT round, current_hook_index, hook_count, on_rejection = 'reject_run', on_record_error = 'drop',"
		"       priority, runner,"
		"       current_hook_index > 0 AND EXISTS (SELECT FROM @osa@.osa_record c"
		"                                           WHERE c.run_id = $1 AND c.status = 'rejected'),"
		"       install_id, deposition, traceparent"
		"  FROM @osa@.osa_validation_run WHERE id = $1 AND finished_at IS NULL"
		"   AND EXISTS (SELECT FROM @osa@.osa_delivery d WHERE d.delivery_id = $2 AND d.token = $3)",
		INT8OID, INT8OID, UUIDOID);
	Datum		values[3];
	Run		   *run;

	/* read-only: one snapshot for the claim, the run and its steps */
	values[0] = Int64GetDatum(claim->run_id);
	values[1] = Int64GetDatum(claim->delivery_id);
	values[2] = UUIDPGetDatum(&claim->token);
	if (osa_plan_run(&plan, values, NULL, true, 0) == 0)
		return NULL;
	run = MemoryContextAllocZero(context, sizeof(Run));
	run->id = claim->run_id;
	run->round = osa_col_int32(0, 1);
	run->current_hook_index = osa_col_int32(0, 2);
	run->hook_count = osa_col_int32(0, 3);
	run->reject_run = osa_col_bool(0, 4);
	run->drop_errored = osa_col_bool(0, 5);
	run->priority = osa_col_int32(0, 6);
	strlcpy(run->runner, TextDatumGetCString(osa_col_datum(0, 7)), sizeof(run->runner));
	run->rejected_before = osa_col_bool(0, 8);
	run->install = osa_col_uuid(0, 9);
	run->deposition = osa_col_text(0, 10, context);
	run->traceparent = osa_col_text(0, 11, context);
	load_steps(run, context);
	return run;
}

static void
load_steps(Run *run, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("load the steps of a run",
		"SELECT h.hook_index, h.hook, h.release_id, l.image, l.image_id, (l.config || r.config)::pg_catalog.text,"
		"       l.limits::pg_catalog.text, h.cardinality, h.columns::pg_catalog.text,"
		"       h.attempt, h.first_attempt, h.free_reruns, h.strikes, coalesce(h.memory, 0), h.launch_id"
		"  FROM @osa@.osa_validation_run r"
		"  JOIN @osa@.osa_run_hook h ON h.run_id = r.id AND h.hook_index >= r.current_hook_index"
		"  JOIN @osa@.osa_hook_release l ON l.id = h.release_id"
		" WHERE r.id = $1 ORDER BY h.hook_index",
		INT8OID);
	Datum		values[1];

	values[0] = Int64GetDatum(run->id);
	run->n_steps = (int) osa_plan_run(&plan, values, NULL, true, 0);
	if (run->n_steps != run->hook_count - run->current_hook_index)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("validation run %lld does not have the steps it should have", (long long) run->id)));
	run->steps = MemoryContextAllocZero(context, sizeof(RunStep) * (run->n_steps + 1));
	for (int i = 0; i < run->n_steps; i++)
	{
		RunStep    *s = run->steps + i;
		Failure		failure = {0};
		char	   *normalised;
		MemoryContext old;

		s->hook_index = osa_col_int32(i, 1);
		s->hook = osa_col_text(i, 2, context);
		s->release_id = osa_col_int64(i, 3);
		s->image = osa_col_text(i, 4, context);
		s->image_id = osa_col_text(i, 5, context);
		s->config = osa_col_text(i, 6, context);
		s->attempt = osa_col_int32(i, 10);
		s->first_attempt = osa_col_int32(i, 11);
		s->free_reruns = osa_col_int32(i, 12);
		s->strikes = osa_col_int32(i, 13);
		s->memory = osa_col_int64(i, 14);
		s->launch_id = osa_col_uuid(i, 15);
		old = MemoryContextSwitchTo(context);
		if (!osa_limits_parse(osa_col_text(i, 7, context), &s->limits, &normalised, &failure) ||
			!osa_columns_parse(osa_col_text(i, 9, context), context, &s->columns, &s->n_columns, &failure))
			osa_fail(&s->broken, FAILURE_CONFIG, "release cannot be used: %s", failure.message);
		MemoryContextSwitchTo(old);
		if (!osa_cardinality_parse(osa_col_text(i, 8, context), &s->cardinality))
			osa_fail(&s->broken, FAILURE_CONFIG, "cardinality of the hook is not recognized");
	}
}

int
osa_store_load_records(int64 run_id, int hook_index, InputRecord **records,
					   StepResult *partial, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("load a step's records",
		"SELECT r.record_id, r.metadata::pg_catalog.text, r.size_hint_mb::pg_catalog.text, r.files_from,"
		"       (SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_object_keys(r.files))::pg_catalog.int4"
		"  FROM " STEP_RECORDS " ORDER BY r.ordinal",
		INT8OID, INT4OID);
	static OsaPlan partial_plan = OSA_PLAN("count partial outcomes",
		"SELECT pg_catalog.count(*) FILTER (WHERE status = 'passed'),"
		"       pg_catalog.count(*) FILTER (WHERE status = 'rejected'),"
		"       pg_catalog.count(*) FILTER (WHERE status = 'errored')"
		"  FROM @osa@.osa_partial_outcome WHERE run_id = $1 AND hook_index = $2",
		INT8OID, INT4OID);
	Datum		values[2];
	int			n;
	bool		any_files = false;

	values[0] = Int64GetDatum(run_id);
	values[1] = Int32GetDatum(hook_index);
	n = (int) osa_plan_run(&plan, values, NULL, false, 0);
	*records = MemoryContextAllocZero(context, sizeof(InputRecord) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		InputRecord *r = *records + i;

		r->id = osa_col_text(i, 1, context);
		r->metadata = osa_col_text(i, 2, context);
		r->size_hint_mb = osa_col_text(i, 3, context);
		r->files_from = osa_col_text(i, 4, context);
		r->n_files = osa_col_int32(i, 5);
		if (r->n_files > 0)
		{
			r->files = MemoryContextAllocZero(context, sizeof(InputFile) * r->n_files);
			any_files = true;
		}
	}
	if (any_files)
		load_files(run_id, hook_index, *records, n, context);

	osa_plan_run(&partial_plan, values, NULL, false, 0);
	partial->n_passed = (int) osa_col_int64(0, 1);
	partial->n_rejected = (int) osa_col_int64(0, 2);
	partial->n_errored = (int) osa_col_int64(0, 3);
	return n;
}

/* Fills in the files of records, which come in the same order. */
static void
load_files(int64 run_id, int hook_index, InputRecord *records, int n_records, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("load a step's files",
		"SELECT r.record_id, f.key, f.value, coalesce(c.size_bytes, -1)"
		"  FROM (SELECT r.* FROM " STEP_RECORDS ") r"
		" CROSS JOIN LATERAL pg_catalog.jsonb_each_text(r.files) f"
		"  LEFT JOIN @osa@.osa_file c ON c.hash = f.value"
		" ORDER BY r.ordinal, f.key COLLATE \"C\"",
		INT8OID, INT4OID);
	Datum		values[2];
	int			n;
	int			record = 0;
	int			file = 0;

	values[0] = Int64GetDatum(run_id);
	values[1] = Int32GetDatum(hook_index);
	n = (int) osa_plan_run(&plan, values, NULL, false, 0);
	for (int i = 0; i < n; i++)
	{
		char	   *id = TextDatumGetCString(osa_col_datum(i, 1));
		InputFile  *f;

		while (record < n_records && strcmp(records[record].id, id) != 0)
		{
			record++;
			file = 0;
		}
		if (record == n_records || file == records[record].n_files)
			elog(ERROR, "files of run %lld are out of order", (long long) run_id);
		f = records[record].files + file++;
		f->path = osa_col_text(i, 2, context);
		f->hash = osa_col_text(i, 3, context);
		f->size = osa_col_int64(i, 4);
	}
}

char *
osa_store_file_chunk(const char *hash, int64 offset, int len, int *got, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("read a file",
		"SELECT pg_catalog.substr(content, $2, $3) FROM @osa@.osa_file WHERE hash = $1",
		TEXTOID, INT4OID, INT4OID);
	Datum		values[3];
	bytea	   *bytes;
	char	   *copy;

	values[0] = CStringGetTextDatum(hash);
	values[1] = Int32GetDatum((int32) offset + 1);
	values[2] = Int32GetDatum(len);
	if (osa_plan_run(&plan, values, NULL, true, 0) == 0)
		return NULL;
	bytes = DatumGetByteaPP(osa_col_datum(0, 1));
	*got = VARSIZE_ANY_EXHDR(bytes);
	copy = MemoryContextAlloc(context, Max(*got, 1));
	memcpy(copy, VARDATA_ANY(bytes), *got);
	return copy;
}

char *
osa_store_pin_image(int64 release_id, const char *image_id, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("pin an image",
		"UPDATE @osa@.osa_hook_release SET image_id = $2 WHERE id = $1 AND image_id IS NULL",
		INT8OID, TEXTOID);
	static OsaPlan read_plan = OSA_PLAN("read a pinned image",
		"SELECT image_id FROM @osa@.osa_hook_release WHERE id = $1",
		INT8OID);
	Datum		values[2];

	values[0] = Int64GetDatum(release_id);
	values[1] = CStringGetTextDatum(image_id);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 1)
		return MemoryContextStrdup(context, image_id);
	if (osa_plan_run(&read_plan, values, NULL, false, 0) != 1)
		return NULL;
	return osa_col_text(0, 1, context);
}
