/*
 * deposition.c
 *		Depositions, their records and attached files, as submitted.
 *
 * Runs in backends, in the caller's transaction.  A run has its own snapshot
 * of all this, so nothing here changes a run that has started.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "errors.h"
#include "guc.h"
#include "store/bind.h"
#include "store/deposition.h"
#include "store/spi.h"
#include "wake.h"

static void require_room_for_file(const char *deposition, const char *record, const char *path);

void
osa_store_lock_deposition(const char *id, const char *owner, bool create)
{
	static OsaPlan lock_plan = OSA_PLAN("lock a deposition",
		"SELECT owner = $2 FROM @osa@.osa_deposition WHERE id = $1 FOR NO KEY UPDATE",
		TEXTOID, TEXTOID);
	static OsaPlan insert_plan = OSA_PLAN("make a deposition",
		"INSERT INTO @osa@.osa_deposition (id, owner) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
		TEXTOID, TEXTOID);
	Datum		values[2];

	values[0] = CStringGetTextDatum(id);
	values[1] = CStringGetTextDatum(owner);
	while (osa_plan_run(&lock_plan, values, NULL, false, 0) == 0)
	{
		if (!create)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("deposition \"%s\" does not exist", id),
					 errhint("Submit it first, or give its records.")));
		if (osa_plan_run(&insert_plan, values, NULL, false, 0) == 1)
			return;
		/* somebody else has just made it */
		CHECK_FOR_INTERRUPTS();
	}
	if (!osa_col_bool(0, 1))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for deposition \"%s\"", id),
				 errdetail("It belongs to another role."),
				 errhint("Deposition ids are the database's: choose another one, or act as its owner.")));
}

void
osa_store_set_metadata(const char *id, Jsonb *metadata)
{
	static OsaPlan plan = OSA_PLAN("set a deposition's metadata",
		"UPDATE @osa@.osa_deposition SET metadata = $2 WHERE id = $1 AND metadata <> $2",
		TEXTOID, JSONBOID);
	Datum		values[2];

	values[0] = CStringGetTextDatum(id);
	values[1] = JsonbPGetDatum(metadata);
	osa_plan_run(&plan, values, NULL, false, 0);
}

void
osa_store_replace_records(const char *deposition, Jsonb *records)
{
	static OsaPlan delete_plan = OSA_PLAN("delete records that are not submitted again",
		"DELETE FROM @osa@.osa_deposition_record r WHERE r.deposition = $1"
		"   AND NOT EXISTS (SELECT FROM jsonb_array_elements($2) AS e WHERE e ->> 'id' = r.record_id)",
		TEXTOID, JSONBOID);
	static OsaPlan put_plan = OSA_PLAN("put records",
		"INSERT INTO @osa@.osa_deposition_record"
		" (deposition, record_id, ordinal, metadata, size_hint_mb, files_from)"
		" SELECT $1, e.value ->> 'id', (e.ordinality - 1)::int4, coalesce(e.value -> 'metadata', '{}'),"
		"        (e.value ->> 'size_hint_mb')::numeric, e.value ->> 'files_from'"
		"   FROM jsonb_array_elements($2) WITH ORDINALITY AS e"
		" ON CONFLICT (deposition, record_id) DO UPDATE SET ordinal = excluded.ordinal,"
		"   metadata = excluded.metadata, size_hint_mb = excluded.size_hint_mb, files_from = excluded.files_from",
		TEXTOID, JSONBOID);
	Datum		values[2];

	values[0] = CStringGetTextDatum(deposition);
	values[1] = JsonbPGetDatum(records);
	osa_plan_run(&delete_plan, values, NULL, false, 0);
	osa_plan_run(&put_plan, values, NULL, false, 0);
}

void
osa_store_check_records(const char *deposition)
{
	static OsaPlan plan = OSA_PLAN("measure records",
		"SELECT count(*), (coalesce(sum(octet_length(r.metadata::text)), 0)"
		"   + (SELECT coalesce(sum(f.size_bytes), 0)"
		"        FROM @osa@.osa_deposition_record a, jsonb_each_text(a.files) AS k"
		"        JOIN @osa@.osa_file f ON f.hash = k.value"
		"       WHERE a.deposition = $1 AND a.metadata IS NOT NULL))::int8"
		"  FROM @osa@.osa_deposition_record r WHERE r.deposition = $1 AND r.metadata IS NOT NULL",
		TEXTOID);
	int64		max_bytes = (int64) osa_guc_max_input_bytes * 1024;
	Datum		values[1];

	values[0] = CStringGetTextDatum(deposition);
	osa_plan_run(&plan, values, NULL, false, 0);
	if (osa_col_int64(0, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_RECORDS),
				 errmsg("deposition \"%s\" has no records", deposition),
				 errhint("Give its records, or submit them first with osa_submit_deposition().")));
	if (osa_col_int64(0, 1) > osa_guc_max_records)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_TOO_LARGE),
				 errmsg("too many records: " INT64_FORMAT, osa_col_int64(0, 1)),
				 errdetail("A run can have %d.", osa_guc_max_records),
				 errhint("Submit fewer records at once, or raise osa_validation.max_records.")));
	if (osa_col_int64(0, 2) > max_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_TOO_LARGE),
				 errmsg("input of deposition \"%s\" is too large", deposition),
				 errdetail("Metadata and attached files have " INT64_FORMAT " bytes; a run can have " INT64_FORMAT ".",
						   osa_col_int64(0, 2), max_bytes),
				 errhint("Submit less at once, give large files by \"files_from\", or raise osa_validation.max_input_bytes.")));
}

void
osa_store_require_no_run(const char *deposition)
{
	static OsaPlan plan = OSA_PLAN("look for a run under way",
		"SELECT (SELECT min(id) FROM @osa@.osa_validation_run WHERE deposition = $1 AND finished_at IS NULL)"
		" UNION ALL SELECT NULL FROM @osa@.osa_delivery d JOIN @osa@.osa_event e ON e.id = d.event_id"
		"            WHERE d.run_id IS NULL AND e.deposition = $1",
		TEXTOID);
	Datum		values[1];
	uint64		n;

	values[0] = CStringGetTextDatum(deposition);
	n = osa_plan_run(&plan, values, NULL, false, 0);
	if (!osa_col_isnull(0, 1) || n > 1)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_RUN_UNDER_WAY),
				 errmsg("deposition \"%s\" has a run under way", deposition),
				 errhint("Wait for it to end with osa_wait_validation(), or cancel it with osa_cancel_validation().")));
}

/* A file can't take the place of a folder, nor the other way round. */
static void
require_room_for_file(const char *deposition, const char *record, const char *path)
{
	static OsaPlan plan = OSA_PLAN("compare a path with the files there are",
		"SELECT count(*) FILTER (WHERE k <> $3),"
		"       min(k) FILTER (WHERE starts_with(k, $3 || '/') OR starts_with($3, k || '/'))"
		"  FROM @osa@.osa_deposition_record r, jsonb_object_keys(r.files) AS k"
		" WHERE r.deposition = $1 AND r.record_id = $2",
		TEXTOID, TEXTOID, TEXTOID);
	Datum		values[3];

	values[0] = CStringGetTextDatum(deposition);
	values[1] = CStringGetTextDatum(record);
	values[2] = CStringGetTextDatum(path);
	osa_plan_run(&plan, values, NULL, false, 0);
	if (osa_col_int64(0, 1) >= OSA_ATTACHED_FILES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_TOO_LARGE),
				 errmsg("record \"%s\" has too many files", record),
				 errdetail("A record can have %d attached files.", OSA_ATTACHED_FILES_MAX),
				 errhint("Give large numbers of files by \"files_from\".")));
	if (!osa_col_isnull(0, 2))
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_PATH),
				 errmsg("file path \"%s\" does not fit with an attached file", path),
				 errdetail("File \"%s\" is attached already, and one of the two would be a folder.",
						   osa_col_text(0, 2, CurrentMemoryContext)),
				 errhint("Choose another path.")));
}

void
osa_store_attach_file(const char *deposition, const char *record, const char *path, bytea *content)
{
	static OsaPlan file_plan = OSA_PLAN("keep a file",
		"INSERT INTO @osa@.osa_file (hash, size_bytes, content)"
		" VALUES (encode(sha256($1), 'hex'), length($1), $1) ON CONFLICT (hash) DO NOTHING",
		BYTEAOID);
	static OsaPlan record_plan = OSA_PLAN("attach a file",
		"INSERT INTO @osa@.osa_deposition_record AS r (deposition, record_id, files)"
		" VALUES ($1, $2, jsonb_build_object($3, encode(sha256($4), 'hex')))"
		" ON CONFLICT (deposition, record_id) DO UPDATE SET files = r.files || excluded.files",
		TEXTOID, TEXTOID, TEXTOID, BYTEAOID);
	Datum		values[4];

	require_room_for_file(deposition, record, path);
	values[0] = PointerGetDatum(content);
	osa_plan_run(&file_plan, values, NULL, false, 0);
	values[0] = CStringGetTextDatum(deposition);
	values[1] = CStringGetTextDatum(record);
	values[2] = CStringGetTextDatum(path);
	values[3] = PointerGetDatum(content);
	osa_plan_run(&record_plan, values, NULL, false, 0);
}

int64
osa_store_submit(const char *deposition, const char *pipeline, const char *owner)
{
	static OsaPlan plan = OSA_PLAN("submit a deposition",
		"WITH e AS (INSERT INTO @osa@.osa_event (install_id, type, deposition, payload)"
		"   SELECT install_id, 'DepositionSubmitted', $1, jsonb_build_object('pipeline', $2, 'owner', $3)"
		"     FROM @osa@.osa_install RETURNING id, install_id)"
		" INSERT INTO @osa@.osa_delivery (install_id, event_id) SELECT install_id, id FROM e"
		" RETURNING delivery_id, event_id",
		TEXTOID, TEXTOID, TEXTOID);
	Datum		values[3];

	values[0] = CStringGetTextDatum(deposition);
	values[1] = CStringGetTextDatum(pipeline);
	values[2] = CStringGetTextDatum(owner);
	if (osa_plan_run(&plan, values, NULL, false, 0) != 1)
		elog(ERROR, "could not emit an event");
	osa_wake_at_commit(osa_col_int64(0, 1), 0);
	return osa_col_int64(0, 2);
}
