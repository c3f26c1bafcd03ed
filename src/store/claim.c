/*
 * claim.c
 *		Deliveries: looking at them, claiming them, giving claims back.
 *
 * A delivery is claimed by its id, which the worker keeps in memory; scans are
 * for start-up and safety.  Nothing here waits for a lock longer than the
 * worker's lock timeout.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "store/store.h"

#define QUEUED_COLUMNS \
	"d.delivery_id, d.priority, d.deliver_after, d.status = 'claimed', coalesce(r.runner, '')"

static int	read_queued(QueuedDelivery **found, MemoryContext context);
static Datum int8_array(const int64 *ids, int n);
static Datum uuid_array(const pg_uuid_t *ids, int n);

int
osa_store_look(const int64 *ids, int n, const pg_uuid_t *install,
			   QueuedDelivery **found, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("look at deliveries",
		"SELECT " QUEUED_COLUMNS
		" FROM @osa@.osa_delivery d LEFT JOIN @osa@.osa_validation_run r ON r.id = d.run_id"
		" WHERE d.delivery_id = ANY ($1) AND d.install_id = $2 AND d.status <> 'claimed'",
		INT8ARRAYOID, UUIDOID);
	Datum		values[2];

	values[0] = int8_array(ids, n);
	values[1] = UUIDPGetDatum(install);
	osa_plan_run(&plan, values, NULL, false, 0);
	return read_queued(found, context);
}

int
osa_store_scan_due(int limit, const pg_uuid_t *install,
				   QueuedDelivery **found, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("scan due deliveries",
		"SELECT " QUEUED_COLUMNS
		" FROM @osa@.osa_delivery d LEFT JOIN @osa@.osa_validation_run r ON r.id = d.run_id"
		" WHERE d.install_id = $1 AND d.status <> 'claimed'"
		"   AND d.deliver_after <= pg_catalog.clock_timestamp()"
		" ORDER BY d.priority DESC, d.delivery_id",
		UUIDOID);
	Datum		values[1];

	values[0] = UUIDPGetDatum(install);
	osa_plan_run(&plan, values, NULL, true, limit);
	return read_queued(found, context);
}

int
osa_store_scan_later(int limit, const pg_uuid_t *install,
					 QueuedDelivery **found, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("scan later deliveries",
		"SELECT " QUEUED_COLUMNS
		" FROM @osa@.osa_delivery d LEFT JOIN @osa@.osa_validation_run r ON r.id = d.run_id"
		" WHERE d.install_id = $1 AND d.status <> 'claimed'"
		"   AND d.deliver_after > pg_catalog.clock_timestamp()"
		" ORDER BY d.deliver_after",
		UUIDOID);
	Datum		values[1];

	values[0] = UUIDPGetDatum(install);
	osa_plan_run(&plan, values, NULL, true, limit);
	return read_queued(found, context);
}

static int
read_queued(QueuedDelivery **found, MemoryContext context)
{
	int			n = (int) SPI_processed;

	*found = NULL;
	if (n == 0)
		return 0;
	*found = MemoryContextAllocZero(context, sizeof(QueuedDelivery) * n);
	for (int i = 0; i < n; i++)
	{
		QueuedDelivery *q = *found + i;

		q->delivery_id = osa_col_int64(i, 1);
		q->priority = osa_col_int32(i, 2);
		q->deliver_after = osa_col_timestamptz(i, 3);
		q->claimed = osa_col_bool(i, 4);
		strlcpy(q->runner, TextDatumGetCString(osa_col_datum(i, 5)), sizeof(q->runner));
	}
	return n;
}

int
osa_store_claim(const int64 *ids, int n, const pg_uuid_t *install,
				const char *worker, Claim *claims)
{
	static OsaPlan claim_plan = OSA_PLAN("claim deliveries",
		"UPDATE @osa@.osa_delivery d"
		"   SET status = 'claimed', token = pg_catalog.gen_random_uuid(), claims = d.claims + 1,"
		"       claimed_by = $3, claimed_at = pg_catalog.clock_timestamp()"
		"  FROM (SELECT delivery_id, event_id FROM @osa@.osa_delivery"
		"         WHERE delivery_id = ANY ($1) AND install_id = $2 AND status <> 'claimed'"
		"           AND deliver_after <= pg_catalog.clock_timestamp()"
		"         ORDER BY priority DESC, delivery_id"
		"           FOR NO KEY UPDATE SKIP LOCKED) s"
		"  JOIN @osa@.osa_event e ON e.id = s.event_id"
		" WHERE d.delivery_id = s.delivery_id"
		" RETURNING d.delivery_id, d.event_id, coalesce(d.run_id, 0), d.token, d.priority, d.claims, e.type",
		INT8ARRAYOID, UUIDOID, TEXTOID);
	static OsaPlan run_plan = OSA_PLAN("set runs running",
		"UPDATE @osa@.osa_validation_run"
		"   SET status = 'running', started_at = coalesce(started_at, pg_catalog.clock_timestamp())"
		" WHERE id = ANY ($1) AND status = 'pending'",
		INT8ARRAYOID);
	static OsaPlan step_plan = OSA_PLAN("set steps running",
		"UPDATE @osa@.osa_run_hook h"
		"   SET status = 'running', started_at = coalesce(h.started_at, pg_catalog.clock_timestamp())"
		"  FROM @osa@.osa_validation_run r"
		" WHERE r.id = ANY ($1) AND h.run_id = r.id AND h.hook_index = r.current_hook_index"
		"   AND h.status = 'pending'",
		INT8ARRAYOID);
	Datum		values[3];
	int			n_claimed;
	int			n_runs = 0;
	int64	   *run_ids = palloc(sizeof(int64) * n);

	values[0] = int8_array(ids, n);
	values[1] = UUIDPGetDatum(install);
	values[2] = CStringGetTextDatum(worker);
	n_claimed = (int) osa_plan_run(&claim_plan, values, NULL, false, 0);
	for (int i = 0; i < n_claimed; i++)
	{
		Claim	   *c = claims + i;
		char	   *type = TextDatumGetCString(osa_col_datum(i, 7));

		c->delivery_id = osa_col_int64(i, 1);
		c->event_id = osa_col_int64(i, 2);
		c->run_id = osa_col_int64(i, 3);
		c->token = osa_col_uuid(i, 4);
		c->priority = osa_col_int32(i, 5);
		c->claims = osa_col_int32(i, 6);
		if (!osa_event_type_parse(type, &c->type))
			elog(ERROR, "unrecognized event type \"%s\"", type);
		if (c->run_id != 0)
			run_ids[n_runs++] = c->run_id;
	}

	if (n_runs > 0)
	{
		values[0] = int8_array(run_ids, n_runs);
		osa_plan_run(&run_plan, values, NULL, false, 0);
		osa_plan_run(&step_plan, values, NULL, false, 0);
	}
	return n_claimed;
}

int
osa_store_recover(const pg_uuid_t *install, QueuedDelivery **found, MemoryContext context)
{
	static OsaPlan plan = OSA_PLAN("recover claims",
		"WITH d AS (UPDATE @osa@.osa_delivery SET status = 'pending', token = NULL, claimed_by = NULL, claimed_at = NULL"
		" WHERE install_id = $1 AND status = 'claimed'"
		" RETURNING delivery_id, priority, deliver_after, run_id)"
		" SELECT d.delivery_id, d.priority, d.deliver_after, true, coalesce(r.runner, '')"
		"   FROM d LEFT JOIN @osa@.osa_validation_run r ON r.id = d.run_id",
		UUIDOID);
	Datum		values[1];

	values[0] = UUIDPGetDatum(install);
	osa_plan_run(&plan, values, NULL, false, 0);
	return read_queued(found, context);
}

int
osa_store_strike(int64 run_id, int hook_index, int n)
{
	static OsaPlan plan = OSA_PLAN("strike a step",
		"UPDATE @osa@.osa_run_hook SET strikes = greatest(strikes + $3, 0)"
		" WHERE run_id = $1 AND hook_index = $2 RETURNING strikes",
		INT8OID, INT4OID, INT4OID);
	Datum		values[3];

	values[0] = Int64GetDatum(run_id);
	values[1] = Int32GetDatum(hook_index);
	values[2] = Int32GetDatum(n);
	if (osa_plan_run(&plan, values, NULL, false, 0) == 0)
		return 0;
	return osa_col_int32(0, 1);
}

int
osa_store_unclaim_unheld(const pg_uuid_t *tokens, int n, const char *worker, int older_than_s)
{
	static OsaPlan plan = OSA_PLAN("take back unheld claims",
		"UPDATE @osa@.osa_delivery SET status = 'pending', token = NULL, claimed_by = NULL, claimed_at = NULL"
		" WHERE status = 'claimed' AND claimed_by = $2 AND token <> ALL ($1)"
		"   AND claimed_at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $3)",
		UUIDARRAYOID, TEXTOID, INT4OID);
	Datum		values[3];

	values[0] = uuid_array(tokens, n);
	values[1] = CStringGetTextDatum(worker);
	values[2] = Int32GetDatum(older_than_s);
	return (int) osa_plan_run(&plan, values, NULL, false, 0);
}

void
osa_store_unclaim(int64 delivery_id, const pg_uuid_t *token, bool no_container)
{
	static OsaPlan plan = OSA_PLAN("give a claim back",
		"UPDATE @osa@.osa_delivery SET status = 'pending', token = NULL, claimed_by = NULL, claimed_at = NULL,"
		"       claims = CASE WHEN $3 THEN 0 ELSE claims END, deliver_after = pg_catalog.clock_timestamp()"
		" WHERE delivery_id = $1 AND token = $2",
		INT8OID, UUIDOID, BOOLOID);
	Datum		values[3];

	values[0] = Int64GetDatum(delivery_id);
	values[1] = UUIDPGetDatum(token);
	values[2] = BoolGetDatum(no_container);
	osa_plan_run(&plan, values, NULL, false, 0);
}

void
osa_store_park(int64 delivery_id, const pg_uuid_t *token, const char *error, double delay_s)
{
	static OsaPlan plan = OSA_PLAN("park a delivery",
		"UPDATE @osa@.osa_delivery SET status = 'failed', token = NULL, claimed_by = NULL, claimed_at = NULL,"
		"       last_error = $3,"
		"       deliver_after = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $4)"
		" WHERE delivery_id = $1 AND token = $2",
		INT8OID, UUIDOID, TEXTOID, FLOAT8OID);
	Datum		values[4];

	values[0] = Int64GetDatum(delivery_id);
	values[1] = UUIDPGetDatum(token);
	values[2] = CStringGetTextDatum(error);
	values[3] = Float8GetDatum(delay_s);
	osa_plan_run(&plan, values, NULL, false, 0);
}

int
osa_store_lost_claims(const int64 *delivery_ids, const pg_uuid_t *tokens, int n, bool *lost)
{
	static OsaPlan plan = OSA_PLAN("check claims",
		"SELECT c.ord FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) WITH ORDINALITY AS c(delivery_id, token, ord)"
		" WHERE NOT EXISTS (SELECT FROM @osa@.osa_delivery d"
		"                    WHERE d.delivery_id = c.delivery_id AND d.token = c.token)",
		INT8ARRAYOID, UUIDARRAYOID);
	Datum		values[2];
	int			n_lost;

	memset(lost, 0, sizeof(bool) * n);
	values[0] = int8_array(delivery_ids, n);
	values[1] = uuid_array(tokens, n);
	n_lost = (int) osa_plan_run(&plan, values, NULL, false, 0);
	for (int i = 0; i < n_lost; i++)
		lost[osa_col_int64(i, 1) - 1] = true;
	return n_lost;
}

bool
osa_store_launch_wanted(int64 run_id, int hook_index, const pg_uuid_t *launch_id)
{
	static OsaPlan plan = OSA_PLAN("look for a launch",
		"SELECT 1 FROM @osa@.osa_run_hook h JOIN @osa@.osa_validation_run r ON r.id = h.run_id"
		" WHERE h.run_id = $1 AND h.hook_index = $2 AND h.launch_id = $3"
		"   AND r.finished_at IS NULL AND h.hook_index = r.current_hook_index",
		INT8OID, INT4OID, UUIDOID);
	Datum		values[3];

	values[0] = Int64GetDatum(run_id);
	values[1] = Int32GetDatum(hook_index);
	values[2] = UUIDPGetDatum(launch_id);
	return osa_plan_run(&plan, values, NULL, false, 0) > 0;
}

bool
osa_store_database_exists(Oid database)
{
	static OsaPlan plan = OSA_PLAN("look for a database",
		"SELECT 1 FROM pg_catalog.pg_database WHERE oid = $1",
		OIDOID);
	Datum		values[1];

	values[0] = ObjectIdGetDatum(database);
	return osa_plan_run(&plan, values, NULL, false, 0) > 0;
}

static Datum
int8_array(const int64 *ids, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(ids[i]);
	return PointerGetDatum(construct_array(elements, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static Datum
uuid_array(const pg_uuid_t *ids, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	return PointerGetDatum(construct_array(elements, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}
