/*
 * claims.c
 *		From wake-ups and scans to claims: which deliveries wait, and which of
 *		them this worker takes now.  Runs in the worker's turn; the memory of
 *		what waits is queue.c's, the SQL store/claim.c's.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "claims.h"
#include "guc.h"
#include "queue.h"
#include "submitted.h"

#define CLAIM_BATCH		16
#define CLAIM_SINGLY_MS	1000
#define WAKES_BATCH		256
#define LOOKS_BATCH		256
#define SCAN_LIMIT		1000
/* Deliveries for later are few, and remembered: looked for now and then. */
#define SCAN_LATER_MS	60000

/* Of each event's type: who handles its delivery.  Returns at once. */
typedef void (*EventHandler) (const Claim *claim, XLogRecPtr gate);

typedef struct ClaimBatch
{
	int64		ids[CLAIM_BATCH];
	int			n;
	Claim		claims[CLAIM_BATCH];
	int			n_claims;
	XLogRecPtr	gate;			/* effects wait for this to be on disk */
} ClaimBatch;

static char worker_name[128];
static MemoryContext turn_context;
static bool scan;
static TimestampTz claim_singly_until;
static TimestampTz next_scan_later_at;

static void look_at_deliveries(void);
static void look_unit(void *arg);
static void scan_unit(void *arg);
static bool claim_unseen(void);
static void claim_lane(const char *runner);
static void claim_batch(ClaimBatch *batch);
static void claim_unit(void *arg);

static const EventHandler handlers[] = {
	[EVENT_DEPOSITION_SUBMITTED] = osa_handle_submitted,
	[EVENT_RUN_NEXT_HOOK] = osa_handle_run_next_hook,
	/* nobody in the saga waits for the end */
	[EVENT_VALIDATION_COMPLETED] = NULL,
	[EVENT_VALIDATION_FAILED] = NULL
};

void
osa_claims_open(const char *node)
{
	snprintf(worker_name, sizeof(worker_name), "%s/%d/%lld", node, MyProcPid,
			 (long long) GetCurrentTimestamp());
	osa_queue_open();
	scan = true;
	next_scan_later_at = claim_singly_until = 0;
}

const char *
osa_claims_worker_name(void)
{
	return worker_name;
}

void
osa_claims_add(const QueuedDelivery *found, int n)
{
	for (int i = 0; i < n; i++)
		osa_queue_add(&found[i]);
}

void
osa_claims_scan(void)
{
	scan = true;
}

/* Returns true if something else than deliveries may have changed. */
bool
osa_claims_take_wakes(void)
{
	OsaWake    *wakes = palloc(sizeof(OsaWake) * WAKES_BATCH);
	bool		overflow = false;
	bool		prepared = false;
	bool		look_around = false;
	int			n;

	do
	{
		n = osa_slot_take_wakes(wakes, WAKES_BATCH, &overflow, &prepared);
		for (int i = 0; i < n; i++)
		{
			if (wakes[i].delivery_id != 0)
				osa_queue_look(wakes[i].delivery_id, false);
			else
				look_around = scan = true;
		}
		if (overflow || prepared)
			look_around = scan = true;
	} while (n == WAKES_BATCH);
	return look_around;
}

void
osa_claims_look(TimestampTz now)
{
	GuardError	error;

	turn_context = CurrentMemoryContext;
	osa_queue_turn(now);
	if (!claim_unseen())
		look_at_deliveries();
	if (scan || osa_queue_scan_wanted())
	{
		scan = false;
		(void) osa_guard(scan_unit, NULL, &error);
	}
}

void
osa_claims_take(void)
{
	turn_context = CurrentMemoryContext;
	if (osa_guc_enabled && !osa_flight_install()->paused)
		osa_queue_runners(claim_lane);
}

/* ---- looking ---- */

typedef struct Look
{
	int64		ids[LOOKS_BATCH];
	int			n;
	QueuedDelivery *found;
	int			n_found;
} Look;

static void
look_at_deliveries(void)
{
	Look	   *look = palloc(sizeof(Look));
	GuardError	error;

	for (;;)
	{
		look->n = osa_queue_take_looks(look->ids, LOOKS_BATCH);
		if (look->n == 0)
			break;
		if (osa_guard(look_unit, look, &error) != GUARD_OK)
		{
			for (int i = 0; i < look->n; i++)
				osa_queue_look(look->ids[i], true);
			break;
		}
		for (int i = 0; i < look->n; i++)
			osa_queue_forget(look->ids[i]);
		osa_claims_add(look->found, look->n_found);
	}
}

static void
look_unit(void *arg)
{
	Look	   *look = arg;

	osa_tx_begin("looking at deliveries");
	look->n_found = osa_store_look(look->ids, look->n, &osa_flight_install()->id, &look->found, turn_context);
	osa_tx_commit(OSA_TX_ASYNC);
}

static void
scan_unit(void *arg)
{
	TimestampTz now = GetCurrentTimestamp();
	QueuedDelivery *found;
	QueuedDelivery *later = NULL;
	int			n;
	int			n_later = 0;

	(void) arg;
	osa_tx_begin("scanning deliveries");
	n = osa_store_scan_due(SCAN_LIMIT, &osa_flight_install()->id, &found, turn_context);
	if (now >= next_scan_later_at)
	{
		n_later = osa_store_scan_later(SCAN_LIMIT, &osa_flight_install()->id, &later, turn_context);
		next_scan_later_at = TimestampTzPlusMilliseconds(now, SCAN_LATER_MS);
	}
	osa_tx_commit(OSA_TX_ASYNC);
	osa_claims_add(found, n);
	osa_claims_add(later, n_later);
	/* a full batch may not be all */
	if (n == SCAN_LIMIT)
		osa_queue_left_out();
}

/* ---- claiming ---- */

/*
 * A few deliveries of which only the ids are known, on a worker that has room
 * whatever their runner is: claimed without a look before.  False: look.
 */
static bool
claim_unseen(void)
{
	ClaimBatch *batch;
	int			n = osa_queue_n_looks();

	if (n == 0 || n > CLAIM_BATCH || !osa_guc_enabled || osa_flight_install()->paused ||
		GetCurrentTimestamp() < claim_singly_until ||
		n > osa_guc_max_in_flight - osa_flights_count() || !osa_engines_have_room(n))
		return false;
	batch = palloc(sizeof(ClaimBatch));
	batch->n = osa_queue_take_looks(batch->ids, CLAIM_BATCH);
	claim_batch(batch);
	return true;
}

/* The first deliveries that wait for a runner, if it has room. */
static void
claim_lane(const char *runner)
{
	Engine	   *engine = osa_engine_get(runner);
	ClaimBatch *batch = palloc(sizeof(ClaimBatch));
	int			room = Min(osa_engine_room(engine), osa_guc_max_in_flight - osa_flights_count());

	/* a run without a runner of that name waits, and osa_status says so */
	if (room <= 0)
		return;
	batch->n = osa_queue_pop(runner, batch->ids,
							 GetCurrentTimestamp() < claim_singly_until ? 1 : Min(room, CLAIM_BATCH));
	if (batch->n > 0)
		claim_batch(batch);
}

static void
claim_batch(ClaimBatch *batch)
{
	GuardError	error;
	GuardVerdict verdict;

	batch->n_claims = 0;
	verdict = osa_guard(claim_unit, batch, &error);
	/* somebody holds one of them: for a while the others don't share its fate */
	if (verdict == GUARD_LOCKED)
		claim_singly_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CLAIM_SINGLY_MS);
	if (verdict != GUARD_OK)
		batch->n_claims = 0;
	for (int i = 0; i < batch->n; i++)
	{
		bool		got = false;

		for (int k = 0; k < batch->n_claims && !got; k++)
			got = batch->claims[k].delivery_id == batch->ids[i];
		if (got)
			osa_queue_forget(batch->ids[i]);
		else
			osa_queue_look(batch->ids[i], true);
	}
	for (int i = 0; i < batch->n_claims; i++)
	{
		EventHandler handler = handlers[batch->claims[i].type];

		if (handler != NULL)
			handler(&batch->claims[i], batch->gate);
		else
			osa_give_back(&batch->claims[i], "no handler for this type of event");
	}
	if (batch->n_claims > 0)
		osa_flights_again();
	osa_count(COUNTER_CLAIMS, batch->n_claims);
}

static void
claim_unit(void *arg)
{
	ClaimBatch *batch = arg;

	osa_tx_begin("claiming");
	batch->n_claims = osa_store_claim(batch->ids, batch->n, &osa_flight_install()->id, worker_name,
									  batch->claims);
	batch->gate = osa_tx_commit(OSA_TX_ASYNC);
}
