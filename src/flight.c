/*
 * flight.c
 *		What the worker does each turn: looks around (pauses, runners,
 *		cancelled claims), has deliveries claimed (claims.c), lets flights
 *		advance.  Holds the table of flights; a flight's own walk is in
 *		attempt.c.
 *
 * Bounded work a turn; no transaction is open between units.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "careful.h"
#include "claims.h"
#include "flight.h"
#include "guc.h"
#include "http.h"
#include "leftovers.h"
#include "node.h"
#include "queue.h"
#include "store/submit.h"
#include "submitted.h"

/* Longer turns make others wait: what is left is done in the next one. */
#define TURN_BUDGET_MS	20
#define EXPIRE_BATCH	100
/* Those that wait for an engine to take them don't count, up to here. */
#define ASIDE_MAX		1000
/* After DROP EXTENSION; it says that the worker leaves within a second. */
#define CLEAR_AWAY_MS	700
#define CLEAR_AWAY_STEP_MS 20

static MemoryContext flights_context;
static MemoryContext turn_context;
static dlist_head flights = DLIST_STATIC_INIT(flights);
static int	n_flights;
static Install install;
static char node[OSA_NODE_ID_LEN + 1];
static bool again;				/* something changed: turn once more */
static XLogRecPtr flush_to;		/* before the turn ends */
static bool look_around;
static TimestampTz next_look_at;

static void start_unit(void *arg);
static void look_unit(void *arg);
static void expire_unit(void *arg);
static void check_claims(void);
static void stop_flights(void);
static bool run_is_in_flight(int64 run_id);
static void load_run_unit(void *arg);
static bool advance_flights(TimestampTz now, instr_time start);
static double elapsed_ms(instr_time start);
static void engine_up(Engine *engine);
static void engine_down(Engine *engine);
static void engine_notice(Engine *engine, const char *name);
static bool engine_wanted(Engine *engine);
static bool engine_sort(Engine *engine);

void
osa_flights_open(Oid extension)
{
	EngineHooks hooks = {engine_up, engine_down, engine_notice, engine_sort, engine_wanted};

	flights_context = AllocSetContextCreate(TopMemoryContext, "osa flights", ALLOCSET_DEFAULT_SIZES);
	turn_context = AllocSetContextCreate(TopMemoryContext, "osa turn", ALLOCSET_DEFAULT_SIZES);
	osa_tx_expect(extension);
	osa_node_id(node);
	osa_claims_open(node);
	osa_engines_open(&hooks, node);

	/* one durable transaction with an xid, before the first effect */
	start_unit(NULL);
	look_around = again = true;
	next_look_at = 0;
}

/* Takes the place of the worker before: its claims wait again. */
static void
start_unit(void *arg)
{
	QueuedDelivery *found;
	int			n;

	(void) arg;
	osa_tx_begin("starting");
	osa_store_install(&install);
	osa_check_copy(&install, node);
	n = osa_store_recover(&install.id, &found, turn_context);
	(void) GetCurrentTransactionId();
	osa_tx_commit(OSA_TX_SYNC);
	osa_claims_add(found, n);
	osa_careful_open(n);
	if (n > 0)
		ereport(osa_guc_worker_log_level,
				(errmsg_plural("osa_validation worker goes on with %d step of the worker before",
							   "osa_validation worker goes on with %d steps of the worker before", n, n)));
}

void
osa_flights_look_around(void)
{
	look_around = again = true;
}

void
osa_flights_clear_away(void)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CLEAR_AWAY_MS);
	dlist_iter	iter;

	/* the DROP that was seen is on disk after this */
	StartTransactionCommand();
	(void) GetCurrentTransactionId();
	CommitTransactionCommand();

	dlist_foreach(iter, &flights)
		osa_flight_drop(dlist_container(Flight, node, iter.cur));
	while (osa_disposals_turn(GetCurrentTimestamp()) > 0 && GetCurrentTimestamp() < until)
	{
		(void) WaitLatchOrSocket(MyLatch, WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 osa_http_fd(), CLEAR_AWAY_STEP_MS, PG_WAIT_EXTENSION);
		osa_http_turn();
	}
}

void
osa_flights_close(void)
{
	osa_engines_close();
}

const Install *
osa_flight_install(void)
{
	return &install;
}

const char *
osa_flight_node(void)
{
	return node;
}

void
osa_flights_flush(XLogRecPtr lsn)
{
	flush_to = lsn;
}

int
osa_flights_count(void)
{
	return n_flights - Min(osa_flights_aside(), ASIDE_MAX);
}

void
osa_flights_again(void)
{
	again = true;
}

/* ---- the turn ---- */

void
osa_flights_turn(void)
{
	MemoryContext old = MemoryContextSwitchTo(turn_context);
	TimestampTz now = GetCurrentTimestamp();
	instr_time	start;
	GuardError	error;

	INSTR_TIME_SET_CURRENT(start);
	again = false;
	look_around |= osa_claims_take_wakes();
	if (look_around || now >= next_look_at)
	{
		bool		timer = now >= next_look_at;

		look_around = false;
		if (timer)
			osa_claims_scan();
		next_look_at = TimestampTzPlusMilliseconds(now, osa_guc_poll_interval);
		if (osa_guard(look_unit, NULL, &error) == GUARD_OK)
		{
			if (!install.paused)
				(void) osa_guard(expire_unit, NULL, &error);
			check_claims();
			stop_flights();
		}
		else
			look_around = true;
		if (look_around)
			next_look_at = TimestampTzPlusMilliseconds(now, 1000);
		look_around = false;
	}
	osa_engines_turn(now);
	osa_claims_look(now);
	osa_claims_take();
	if (!advance_flights(now, start))
		again = true;
	/* what advanced may have left places */
	osa_claims_take();
	osa_engines_show();
	if (flush_to != InvalidXLogRecPtr)
		XLogFlush(flush_to);
	flush_to = InvalidXLogRecPtr;
	MemoryContextSwitchTo(old);
	MemoryContextReset(turn_context);
}

TimestampTz
osa_flights_deadline(void)
{
	TimestampTz deadline = next_look_at;
	TimestampTz now;
	dlist_iter	iter;

	if (again)
		return 0;
	now = GetCurrentTimestamp();
	deadline = Min(deadline, osa_engines_deadline());
	deadline = Min(deadline, osa_queue_deadline());
	dlist_foreach(iter, &flights)
	{
		Flight	   *f = dlist_container(Flight, node, iter.cur);

		if (f->phase == PHASE_DOWN)
			continue;
		if (f->reply_ready || (f->phase == PHASE_RUNNING && f->look && f->call == NULL))
			return 0;
		if (f->wake_at < deadline)
			deadline = f->wake_at;
		if (deadline <= now)
			return 0;
	}
	return deadline;
}

/* ---- looking around ---- */

static void
look_unit(void *arg)
{
	RunnerRow  *rows;
	int			n;

	(void) arg;
	osa_tx_begin("looking around");
	osa_store_install(&install);
	/* taken over a moment ago: from now on this is its place */
	if (install.node[0] == '\0')
		osa_check_copy(&install, node);
	n = osa_store_runners(&rows, turn_context);
	osa_tx_commit(OSA_TX_ASYNC);
	osa_engines_configure(rows, n);
}

/* Runs whose time is over; and when the next one's will be. */
static void
expire_unit(void *arg)
{
	int			n;
	TimestampTz next;

	(void) arg;
	osa_tx_begin("ending expired runs");
	n = osa_store_expire_runs(EXPIRE_BATCH);
	next = osa_store_next_expiry();
	osa_tx_commit(n > 0 ? OSA_TX_SYNC : OSA_TX_ASYNC);
	/* one that could not be ended now is tried again in a while */
	next_look_at = Min(next_look_at, Max(next, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 100)));
}

typedef struct ClaimCheck
{
	int			n;
	int64	   *ids;
	pg_uuid_t  *tokens;
	Flight	  **flights;
	bool	   *lost;
} ClaimCheck;

static void
check_unit(void *arg)
{
	ClaimCheck *check = arg;

	osa_tx_begin("checking claims");
	/* a kill must not outrun the disk: this commit comes after what it saw */
	if (osa_store_lost_claims(check->ids, check->tokens, check->n, check->lost) > 0 || install.stop_running)
		(void) GetCurrentTransactionId();
	(void) osa_store_unclaim_unheld(check->tokens, check->n, osa_claims_worker_name(), osa_guc_claim_timeout);
	osa_tx_commit(OSA_TX_SYNC);
}

/* Flights whose run was cancelled or expired are void. */
static void
check_claims(void)
{
	ClaimCheck	check = {0};
	GuardError	error;
	dlist_iter	iter;

	check.ids = palloc(sizeof(int64) * (n_flights + 1));
	check.tokens = palloc(sizeof(pg_uuid_t) * (n_flights + 1));
	check.flights = palloc(sizeof(Flight *) * (n_flights + 1));
	check.lost = palloc0(sizeof(bool) * (n_flights + 1));
	dlist_foreach(iter, &flights)
	{
		Flight	   *f = dlist_container(Flight, node, iter.cur);

		if (f->is_void || f->released || f->phase == PHASE_DONE)
			continue;
		check.ids[check.n] = f->claim.delivery_id;
		check.tokens[check.n] = f->claim.token;
		check.flights[check.n++] = f;
	}
	if (osa_guard(check_unit, &check, &error) != GUARD_OK)
	{
		look_around = true;
		return;
	}
	for (int i = 0; i < check.n; i++)
	{
		if (check.lost[i])
			osa_flight_void(check.flights[i]);
	}
	again |= check.n > 0;
}

static void
stop_flights(void)
{
	dlist_iter	iter;

	if (!install.stop_running)
		return;
	dlist_foreach(iter, &flights)
		osa_flight_stop(dlist_container(Flight, node, iter.cur));
}

typedef struct RunLoad
{
	const Claim *claim;
	MemoryContext context;
	Run		   *run;
} RunLoad;

/* RunNextHook: a flight that runs the run's current hook, and those after it. */
void
osa_handle_run_next_hook(const Claim *claim, XLogRecPtr gate)
{
	RunLoad		load = {claim, NULL, NULL};
	GuardError	error;
	Flight	   *f;

	strcpy(error.message, "run is not open");
	/* the attempt before may still be waiting for its container's end */
	if (run_is_in_flight(claim->run_id))
	{
		osa_give_back(claim, NULL);
		return;
	}
	load.context = AllocSetContextCreate(turn_context, "osa flight", ALLOCSET_SMALL_SIZES);
	if (osa_guard(load_run_unit, &load, &error) != GUARD_OK || load.run == NULL)
	{
		osa_give_back(claim, error.message);
		return;
	}
	f = osa_flight_begin(flights_context, claim, load.run, load.context,
						 osa_engine_get(load.run->runner), gate);
	dlist_push_tail(&flights, &f->node);
	n_flights++;
}

static bool
run_is_in_flight(int64 run_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &flights)
	{
		if (dlist_container(Flight, node, iter.cur)->run->id == run_id)
			return true;
	}
	return false;
}

static void
load_run_unit(void *arg)
{
	RunLoad    *load = arg;

	osa_tx_begin("loading a run");
	load->run = osa_store_load_run(load->claim, load->context);
	osa_tx_commit(OSA_TX_ASYNC);
}

bool
osa_flight_may_keep(const Flight *f)
{
	int32		waiting;

	if (!osa_guc_enabled || install.paused || !f->engine->configured || !f->engine->row.enabled)
		return false;
	/* something of higher priority waits for a place */
	return !(osa_queue_peek(f->run->runner, &waiting) && waiting > f->claim.priority &&
			 (osa_engine_room(f->engine) == 0 || osa_flights_count() >= osa_guc_max_in_flight));
}

/* ---- flights ---- */

/* False: the turn's time was over before all had their chance. */
static bool
advance_flights(TimestampTz now, instr_time start)
{
	int			n = n_flights;

	while (n-- > 0)
	{
		dlist_node *node_ptr = dlist_pop_head_node(&flights);
		Flight	   *f = dlist_container(Flight, node, node_ptr);

		/* to the end, so that a cut turn goes on where it stopped */
		dlist_push_tail(&flights, node_ptr);
		if (osa_flight_due(f, now))
			osa_flight_advance(f);
		if (f->phase == PHASE_DONE)
		{
			dlist_delete(&f->node);
			n_flights--;
			osa_flight_free(f);
		}
		if (n > 0 && elapsed_ms(start) > TURN_BUDGET_MS)
			return false;
	}
	return true;
}

static double
elapsed_ms(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* ---- what engines tell ---- */

static void
engine_up(Engine *engine)
{
	dlist_iter	iter;

	dlist_foreach(iter, &flights)
	{
		Flight	   *f = dlist_container(Flight, node, iter.cur);

		if (f->engine == engine)
			osa_flight_engine_up(f);
	}
	again = true;
}

static void
engine_down(Engine *engine)
{
	dlist_iter	iter;

	dlist_foreach(iter, &flights)
	{
		Flight	   *f = dlist_container(Flight, node, iter.cur);

		if (f->engine == engine)
			osa_flight_engine_down(f);
	}
}

static void
engine_notice(Engine *engine, const char *name)
{
	dlist_iter	iter;

	dlist_foreach(iter, &flights)
	{
		Flight	   *f = dlist_container(Flight, node, iter.cur);

		if (f->engine == engine && strcmp(f->container, name) == 0)
			osa_flight_look(f);
	}
}

static bool
engine_wanted(Engine *engine)
{
	int32		priority;
	dlist_iter	iter;

	dlist_foreach(iter, &flights)
	{
		if (dlist_container(Flight, node, iter.cur)->engine == engine)
			return true;
	}
	return osa_queue_peek(engine->row.name, &priority);
}

/*
 * A list of what is on an engine: flights whose container has ended or is
 * gone look at it; containers that no step needs are removed.
 */
static bool
engine_sort(Engine *engine)
{
	dlist_iter	iter;
	bool	   *ours = palloc0(sizeof(bool) * Max(1, engine->n_listed));

	dlist_foreach(iter, &flights)
	{
		Flight	   *f = dlist_container(Flight, node, iter.cur);
		bool		running = false;

		if (f->engine != engine)
			continue;
		for (int i = 0; i < engine->n_listed; i++)
		{
			if (strcmp(engine->listed[i].name, f->container) != 0)
				continue;
			ours[i] = true;
			running = engine->listed[i].phase == CONTAINER_RUNNING;
		}
		if (!running)
			osa_flight_look(f);
	}
	again = true;
	return install.paused || osa_remove_leftovers(engine, ours, &install, node);
}
