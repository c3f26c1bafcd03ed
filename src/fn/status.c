/*
 * status.c
 *		SQL-callable functions over shared memory, beneath the views of this
 *		moment: osa_in_flight, osa_worker, osa_status, osa_queue.
 *
 * Run in any backend, also without preload and on a standby.  They read
 * shared memory and the catalogs only: no SPI, no writes, no waiting.
 *
 * PostgreSQL checks EXECUTE on a view's functions against whoever reads the
 * view, so PUBLIC has it on these, and each asks for SELECT on one of the
 * views that it stands beneath.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "guc.h"
#include "shmem.h"

PG_FUNCTION_INFO_V1(osa_worker_now);
PG_FUNCTION_INFO_V1(osa_flights_now);
PG_FUNCTION_INFO_V1(osa_runners_now);

static const char *const worker_views[] = {"osa_worker", "osa_status", "osa_queue", NULL};
static const char *const flights_views[] = {"osa_in_flight", NULL};
static const char *const runners_views[] = {"osa_status", "osa_queue", NULL};

static void require_select(FunctionCallInfo fcinfo, const char *const *views);
static Datum text_value(const char *shown, bool *isnull);
static Datum time_value(TimestampTz shown, bool *isnull);

/*
 * osa_worker_now returns the state of this database's worker, one row.
 */
Datum
osa_worker_now(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	OsaWorkerShown shown;
	Datum		values[7 + N_COUNTERS];
	bool		nulls[7 + N_COUNTERS];
	int			n = 0;

	require_select(fcinfo, worker_views);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		elog(ERROR, "osa_worker_now has another result type than its library");

	memset(&shown, 0, sizeof(shown));
	if (osa_shmem_available())
		osa_worker_shown(&shown);

	memset(nulls, 0, sizeof(nulls));
	values[n++] = BoolGetDatum(osa_shmem_available());
	values[n++] = BoolGetDatum(osa_guc_enabled);
	values[n++] = BoolGetDatum(shown.known);
	nulls[n] = (shown.pid == 0);
	values[n++] = Int32GetDatum(shown.pid);
	values[n] = time_value(shown.started_at, &nulls[n]);
	n++;
	values[n] = time_value(shown.last_turn_at, &nulls[n]);
	n++;
	values[n++] = BoolGetDatum(shown.no_free_worker);
	/* the result's columns stand in the order of OsaCounter */
	for (int i = 0; i < N_COUNTERS; i++)
		values[n++] = Int64GetDatum((int64) shown.counters[i]);
	Assert(n == lengthof(values));

	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * osa_flights_now returns a row an attempt that this database's worker has in
 * flight.
 */
Datum
osa_flights_now(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	OsaFlightShown *flights = NULL;
	int			n_flights = 0;

	require_select(fcinfo, flights_views);
	InitMaterializedSRF(fcinfo, 0);
	if (osa_shmem_available())
		n_flights = osa_shown_flights(&flights);

	for (int i = 0; i < n_flights; i++)
	{
		const OsaFlightShown *shown = &flights[i];
		Datum		values[11];
		bool		nulls[11] = {false};

		values[0] = Int64GetDatum(shown->run_id);
		values[1] = Int32GetDatum(shown->hook_index);
		values[2] = Int32GetDatum(shown->attempt);
		values[3] = text_value(shown->hook, &nulls[3]);
		values[4] = text_value(shown->runner, &nulls[4]);
		values[5] = text_value(shown->phase, &nulls[5]);
		values[6] = text_value(shown->container, &nulls[6]);
		values[7] = BoolGetDatum(shown->adopted);
		values[8] = time_value(shown->since, &nulls[8]);
		values[9] = time_value(shown->started_at, &nulls[9]);
		values[10] = Int64GetDatum(shown->progress_bytes);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * osa_runners_now returns a row a runner that this database's worker has met.
 */
Datum
osa_runners_now(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	OsaRunnerShown *runners = NULL;
	int			n_runners = 0;

	require_select(fcinfo, runners_views);
	InitMaterializedSRF(fcinfo, 0);
	if (osa_shmem_available())
		n_runners = osa_shown_runners(&runners);

	for (int i = 0; i < n_runners; i++)
	{
		const OsaRunnerShown *shown = &runners[i];
		Datum		values[9];
		bool		nulls[9] = {false};

		values[0] = text_value(shown->name, &nulls[0]);
		values[1] = text_value(shown->kind, &nulls[1]);
		values[2] = text_value(shown->endpoint, &nulls[2]);
		values[3] = text_value(shown->state, &nulls[3]);
		values[4] = text_value(shown->version, &nulls[4]);
		values[5] = text_value(shown->last_error, &nulls[5]);
		values[6] = text_value(shown->unenforced, &nulls[6]);
		values[7] = time_value(shown->since, &nulls[7]);
		values[8] = Int32GetDatum(shown->in_flight);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * require_select raises unless the current user may read one of the views, all
 * of which are in the function's own schema.
 */
static void
require_select(FunctionCallInfo fcinfo, const char *const *views)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	Oid			schema = get_func_namespace(function);

	for (int i = 0; views[i] != NULL; i++)
	{
		Oid			view = get_relname_relid(views[i], schema);

		if (OidIsValid(view) &&
			pg_class_aclcheck(view, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for function %s", get_func_name(function)),
			 errhint("It is for roles with SELECT on view %s.", views[0])));
}

/*
 * text_value turns an outsider's words, cut somewhere by their place in shared
 * memory, into valid text; empty is NULL.
 */
static Datum
text_value(const char *shown, bool *isnull)
{
	int			len = strlen(shown);
	char	   *clean;

	*isnull = (len == 0);
	if (*isnull)
		return (Datum) 0;
	/* half a character at the end, then bytes that are none */
	clean = pnstrdup(shown, pg_mbcliplen(shown, len, len));
	if (!pg_verifymbstr(clean, strlen(clean), true))
	{
		for (char *c = clean; *c; c++)
		{
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
		}
	}
	return CStringGetTextDatum(clean);
}

static Datum
time_value(TimestampTz shown, bool *isnull)
{
	*isnull = (shown == 0);
	return TimestampTzGetDatum(shown);
}
