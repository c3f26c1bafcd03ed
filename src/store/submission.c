/*
 * submission.c
 *		A claimed DepositionSubmitted, as the worker's handler reads it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "store/store.h"
#include "store/submit.h"

bool
osa_store_submission(const Claim *claim, NewRun *run)
{
	static OsaPlan plan = OSA_PLAN("read a submission",
		"SELECT e.deposition, coalesce(e.payload ->> 'pipeline', 'default'), e.payload ->> 'owner',"
		"       e.traceparent, '{}'::pg_catalog.jsonb"
		"  FROM @osa@.osa_delivery d JOIN @osa@.osa_event e ON e.id = d.event_id"
		" WHERE d.delivery_id = $1 AND d.token = $2 FOR NO KEY UPDATE OF d",
		INT8OID, UUIDOID);
	Datum		values[2];

	values[0] = Int64GetDatum(claim->delivery_id);
	values[1] = UUIDPGetDatum(&claim->token);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		return false;
	memset(run, 0, sizeof(*run));
	run->deposition = osa_col_text(0, 1, CurrentMemoryContext);
	run->pipeline = osa_col_text(0, 2, CurrentMemoryContext);
	run->owner = osa_col_text(0, 3, CurrentMemoryContext);
	run->traceparent = osa_col_text(0, 4, CurrentMemoryContext);
	run->config = DatumGetJsonbPCopy(osa_col_datum(0, 5));
	run->priority = claim->priority;
	if (run->owner == NULL)
		elog(ERROR, "event %lld has no owner", (long long) claim->event_id);
	return true;
}

void
osa_store_end_submission(const Claim *claim)
{
	static OsaPlan plan = OSA_PLAN("end a submission",
		"DELETE FROM @osa@.osa_delivery WHERE delivery_id = $1 AND token = $2",
		INT8OID, UUIDOID);
	Datum		values[2];

	values[0] = Int64GetDatum(claim->delivery_id);
	values[1] = UUIDPGetDatum(&claim->token);
	osa_plan_run(&plan, values, NULL, false, 0);
}
