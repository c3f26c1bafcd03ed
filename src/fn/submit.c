/*
 * submit.c
 *		What applications call to deposit and to start: attach a file, submit a
 *		deposition, start a validation.
 *
 * Runs in backends, in the caller's transaction: its COMMIT decides, and wakes
 * the worker.  Everything is checked before anything is written.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "contract/paths.h"
#include "errors.h"
#include "fn/args.h"
#include "fn/records.h"
#include "guc.h"
#include "store/catalog.h"
#include "store/deposition.h"
#include "store/spi.h"
#include "store/submit.h"

#define DEFAULT_PIPELINE	"default"

typedef struct StartRequest
{
	NewRun		run;
	Jsonb	   *records;		/* NULL: those submitted */
} StartRequest;

static char *read_pipeline(FunctionCallInfo fcinfo, int n);
static void check_path(const char *path);
static void check_size(int64 bytes, const char *what);
static void read_request(FunctionCallInfo fcinfo, StartRequest *request);
static void read_expiry(FunctionCallInfo fcinfo, int n, NewRun *run);
static char *hash_request(const StartRequest *request);
static int64 find_same(const StartRequest *request);

PG_FUNCTION_INFO_V1(osa_attach_file);
PG_FUNCTION_INFO_V1(osa_submit_deposition);
PG_FUNCTION_INFO_V1(osa_start_validation);

static char *
read_pipeline(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return DEFAULT_PIPELINE;
	return osa_arg_name(fcinfo, n, "pipeline", "pipeline");
}

/* ---- files ---- */

/* osa_attach_file(deposition, record, path, content) */
Datum
osa_attach_file(PG_FUNCTION_ARGS)
{
	char	   *deposition = osa_arg_plain(fcinfo, 0, "deposition", OSA_DEPOSITION_ID_MAX);
	char	   *record;
	char	   *path;
	bytea	   *content;
	OsaCall		call;

	osa_arg_required(fcinfo, 1, "record");
	record = text_to_cstring(PG_GETARG_TEXT_PP(1));
	osa_check_record_id(record);
	osa_arg_required(fcinfo, 2, "path");
	path = text_to_cstring(PG_GETARG_TEXT_PP(2));
	check_path(path);
	osa_arg_required(fcinfo, 3, "content");
	check_size((int64) toast_raw_datum_size(PG_GETARG_DATUM(3)) - VARHDRSZ, "file");
	content = PG_GETARG_BYTEA_PP(3);
	osa_require_writable("osa_attach_file()");

	osa_call_begin(&call);
	osa_store_lock_deposition(deposition, GetUserNameFromId(call.caller, false), true);
	osa_store_require_no_run(deposition);
	osa_store_attach_file(deposition, record, path, content);
	osa_call_end(&call);
	PG_RETURN_VOID();
}

static void
check_path(const char *path)
{
	const char *utf8 = pg_server_to_any(path, strlen(path), PG_UTF8);
	const char *problem = osa_file_path_problem(utf8, strlen(utf8));

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_PATH),
				 errmsg("invalid file path"),
				 errdetail_internal("%s", problem),
				 errhint("Give a relative path such as reads.fastq or images/a.png.")));
}

static void
check_size(int64 bytes, const char *what)
{
	int64		max = (int64) osa_guc_max_input_bytes * 1024;

	if (bytes > max)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_TOO_LARGE),
				 errmsg("%s is too large", what),
				 errdetail("It has " INT64_FORMAT " bytes; a run's input can have " INT64_FORMAT ".", bytes, max),
				 errhint("Give large files by \"files_from\", or raise osa_validation.max_input_bytes.")));
}

/* ---- submitting ---- */

/* osa_submit_deposition(deposition, records, pipeline, metadata) → bigint */
Datum
osa_submit_deposition(PG_FUNCTION_ARGS)
{
	char	   *deposition = osa_arg_plain(fcinfo, 0, "deposition", OSA_DEPOSITION_ID_MAX);
	Jsonb	   *records = osa_arg_jsonb(fcinfo, 1, "records");
	char	   *pipeline = read_pipeline(fcinfo, 2);
	Jsonb	   *metadata = osa_arg_object(fcinfo, 3, "metadata", ERRCODE_OSA_INVALID_RECORDS);
	const char *owner;
	int64		event_id;
	OsaCall		call;

	osa_check_records(records);
	osa_require_writable("osa_submit_deposition()");

	osa_call_begin(&call);
	owner = GetUserNameFromId(call.caller, false);
	(void) osa_store_load_pipeline(pipeline);
	osa_store_lock_deposition(deposition, owner, true);
	osa_store_set_metadata(deposition, metadata);
	osa_store_replace_records(deposition, records);
	osa_store_check_records(deposition);
	event_id = osa_store_submit(deposition, pipeline, owner);
	osa_call_end(&call);
	PG_RETURN_INT64(event_id);
}

/* ---- starting ---- */

/*
 * osa_start_validation(deposition, records, pipeline, config, priority,
 * idempotency_key, expires_in, traceparent) → bigint
 *
 * A key is looked up before anything is written, and again once the
 * deposition's lock is held, since two requests with one key may come at once;
 * the run's unique key is the last word.
 */
Datum
osa_start_validation(PG_FUNCTION_ARGS)
{
	StartRequest request = {0};
	NewRun	   *run = &request.run;
	int64		run_id;
	OsaCall		call;

	read_request(fcinfo, &request);
	osa_require_writable("osa_start_validation()");

	osa_call_begin(&call);
	run->owner = GetUserNameFromId(call.caller, false);
	run_id = find_same(&request);
	if (run_id == 0)
	{
		osa_store_lock_deposition(run->deposition, run->owner, request.records != NULL);
		run_id = find_same(&request);
	}
	if (run_id == 0)
	{
		if (request.records != NULL)
			osa_store_replace_records(run->deposition, request.records);
		run_id = osa_store_create_run(run, 0);
		if (run_id == 0)
			run_id = find_same(&request);
		if (run_id == 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not start a validation: a run with the same idempotency key has just gone"),
					 errhint("Try again.")));
	}
	osa_call_end(&call);
	PG_RETURN_INT64(run_id);
}

static void
read_request(FunctionCallInfo fcinfo, StartRequest *request)
{
	NewRun	   *run = &request->run;

	run->deposition = osa_arg_plain(fcinfo, 0, "deposition", OSA_DEPOSITION_ID_MAX);
	if (!PG_ARGISNULL(1))
	{
		request->records = PG_GETARG_JSONB_P(1);
		osa_check_records(request->records);
	}
	run->pipeline = read_pipeline(fcinfo, 2);
	run->config = osa_arg_object(fcinfo, 3, "config", ERRCODE_OSA_INVALID_DEFINITION);
	check_size(VARSIZE(run->config), "config");
	run->priority = osa_arg_int32(fcinfo, 4, "priority");
	if (!PG_ARGISNULL(5))
		run->idempotency_key = osa_arg_plain(fcinfo, 5, "idempotency_key", OSA_KEY_MAX);
	read_expiry(fcinfo, 6, run);
	if (!PG_ARGISNULL(7))
	{
		run->traceparent = text_to_cstring(PG_GETARG_TEXT_PP(7));
		osa_check_traceparent(run->traceparent);
	}
	run->content_hash = hash_request(request);
}

static void
read_expiry(FunctionCallInfo fcinfo, int n, NewRun *run)
{
	TimestampTz now = GetCurrentTimestamp();

	if (PG_ARGISNULL(n))
		return;
	run->has_expires_at = true;
	run->expires_at = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
															  TimestampTzGetDatum(now),
															  PG_GETARG_DATUM(n)));
	if (run->expires_at <= now || TIMESTAMP_NOT_FINITE(run->expires_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expires_in must be positive"),
				 errhint("Give an interval such as '2 hours', or null for none.")));
}

/*
 * What the request asks for: the same under the same key is a repetition.  When
 * it expires and how it is traced don't count.
 */
static char *
hash_request(const StartRequest *request)
{
	const NewRun *run = &request->run;
	const char *parts[5];
	pg_cryptohash_ctx *context;
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc(2 * sizeof(digest) + 1);

	if (run->idempotency_key == NULL)
		return NULL;
	parts[0] = run->deposition;
	parts[1] = request->records == NULL ? "null" :
		JsonbToCString(NULL, &request->records->root, VARSIZE(request->records));
	parts[2] = run->pipeline;
	parts[3] = JsonbToCString(NULL, &run->config->root, VARSIZE(run->config));
	parts[4] = psprintf("%d", run->priority);

	context = pg_cryptohash_create(PG_SHA256);
	if (pg_cryptohash_init(context) < 0)
		elog(ERROR, "could not hash: %s", pg_cryptohash_error(context));
	for (int i = 0; i < (int) lengthof(parts); i++)
	{
		/* with the terminating zero, so that the parts can't be shifted */
		if (pg_cryptohash_update(context, (const uint8 *) parts[i], strlen(parts[i]) + 1) < 0)
			elog(ERROR, "could not hash: %s", pg_cryptohash_error(context));
	}
	if (pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not hash: %s", pg_cryptohash_error(context));
	pg_cryptohash_free(context);
	hex_encode((const char *) digest, sizeof(digest), hex);
	hex[2 * sizeof(digest)] = '\0';
	return hex;
}

/* The run of the request's key, or 0; raises if that asked for something else. */
static int64
find_same(const StartRequest *request)
{
	const NewRun *run = &request->run;
	char	   *content_hash = NULL;
	int64		run_id;

	if (run->idempotency_key == NULL)
		return 0;
	run_id = osa_store_find_by_key(run->owner, run->idempotency_key, &content_hash);
	if (run_id != 0 && (content_hash == NULL || strcmp(content_hash, run->content_hash) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_OSA_KEY_REUSED),
				 errmsg("idempotency key \"%s\" was used for another request", run->idempotency_key),
				 errdetail("Validation run " INT64_FORMAT " was started with it, with other content.", run_id),
				 errhint("Use a new key for a new request.")));
	return run_id;
}
