/*
 * attempt.c
 *		Flights: their life, the dispatch of their phases, and what all phases
 *		share.  Runs in the worker's loop; no phase waits, each returns when it
 *		has asked something.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "careful.h"

/* Around an engine's restart, ends by a signal are the restart's. */
#define RESTART_MARGIN_MS	15000
/* An engine that answers and fails: how long a step tries. */
#define TROUBLE_MAX_S		3600
#define TROUBLE_WAIT_MAX_S	60
#define LOCK_WAIT_FIRST_S	0.05
#define LOCK_WAIT_MAX_S		1.0
#define CONFLICTS_MAX		20
#define INTERNAL_MAX		5
#define INTERNAL_WAIT_MAX_S	30
#define RESOURCES_WAIT_S	5
#define PARK_S				60

typedef struct Phase
{
	const char *name;			/* as osa_in_flight shows it */
	bool		needs_engine;
	void		(*run) (Flight *f);
} Phase;

static void phase_wait(Flight *f);

static const Phase phases[] = {
	[PHASE_STRIKE] = {"load", false, osa_phase_strike},
	[PHASE_LOAD] = {"load", false, osa_phase_load},
	[PHASE_CLEAR] = {"resolve", true, osa_phase_clear},
	[PHASE_RESOLVE] = {"resolve", true, osa_phase_resolve},
	[PHASE_WHOLE] = {"resolve", true, osa_phase_whole},
	[PHASE_REPLACE] = {"replace", true, osa_phase_replace},
	[PHASE_IMAGE] = {"image", true, osa_phase_image},
	[PHASE_PIN] = {"image", false, osa_phase_pin},
	[PHASE_INPUT] = {"input", false, osa_phase_input},
	[PHASE_CREATE] = {"create", true, osa_phase_create},
	[PHASE_VERIFY] = {"verify", true, osa_phase_verify},
	[PHASE_PUT] = {"put", true, osa_phase_put},
	[PHASE_START] = {"start", true, osa_phase_start},
	[PHASE_RUNNING] = {"running", true, osa_phase_running},
	[PHASE_KILL] = {"kill", true, osa_phase_kill},
	[PHASE_COLLECT] = {"collect", true, osa_phase_collect},
	[PHASE_LOG] = {"log", true, osa_phase_log},
	[PHASE_READ] = {"read", false, osa_phase_read},
	[PHASE_COMMIT] = {"commit", false, osa_phase_commit},
	[PHASE_REMOVE] = {"remove", true, osa_phase_remove},
	[PHASE_VOID] = {"cancel", true, osa_phase_void},
	[PHASE_VOID_INSPECT] = {"cancel", true, osa_phase_void_inspect},
	[PHASE_VOID_LOG] = {"cancel", true, osa_phase_void_log},
	[PHASE_VOID_RECORD] = {"cancel", false, osa_phase_void_record},
	[PHASE_STOP] = {"stop", true, osa_phase_stop},
	[PHASE_UNCLAIM] = {"stop", false, osa_phase_unclaim},
	[PHASE_WAIT] = {"wait", false, phase_wait},
	[PHASE_DOWN] = {"engine down", false, NULL},
	[PHASE_DONE] = {"done", false, NULL}
};

static int	n_aside;			/* flights that wait without a place */

static FlightPhase phase_of(const Flight *f);
static void abort_call(Flight *f);
static void step_aside(Flight *f);
static bool take_place(Flight *f);
static void internal_error(Flight *f, const char *message);
static void park_unit(void *arg);
static double doubling(double first, int n, double max);

Flight *
osa_flight_begin(MemoryContext parent, const Claim *claim, Run *run,
				 MemoryContext context, Engine *engine, XLogRecPtr gate)
{
	Flight	   *f = MemoryContextAllocZero(context, sizeof(Flight));

	MemoryContextSetParent(context, parent);
	f->context = context;
	f->attempt_context = AllocSetContextCreate(context, "osa attempt", ALLOCSET_DEFAULT_SIZES);
	f->claim = *claim;
	f->run = run;
	f->step = run->steps;
	f->engine = engine;
	f->holds_place = true;
	engine->in_flight++;
	f->since = GetCurrentTimestamp();
	f->gate = gate;
	f->wake_at = 0;
	f->shown = -1;
	osa_flight_new_container(f);
	/* an earlier claim may have come as far as a container */
	f->maybe_exists = f->may_have_run = claim->claims > 1 && !engine->noop;
	f->must_clear = f->step->attempt > 1 && !engine->noop;
	f->careful = f->maybe_exists && osa_careful_wanted();
	f->phase = f->careful ? PHASE_STRIKE : PHASE_LOAD;
	return f;
}

/* Forgets all of the container before: the step's next one, or another step. */
void
osa_flight_new_container(Flight *f)
{
	MemoryContextReset(f->attempt_context);
	f->input = f->output = NULL;
	f->builder = NULL;
	f->reader = NULL;
	f->records = NULL;
	f->lines = NULL;
	f->rows = NULL;
	f->n_records = f->n_rows = f->n_lines = 0;
	f->text = f->chunk = f->log_tail = NULL;
	memset(&f->facts, 0, sizeof(f->facts));
	memset(&f->result, 0, sizeof(f->result));
	memset(&f->partial, 0, sizeof(f->partial));
	f->why.kind = FAILURE_NONE;
	f->why.message[0] = '\0';
	f->container_id[0] = f->image_id[0] = '\0';
	osa_container_name(&f->step->launch_id, f->container);
	f->maybe_exists = f->may_have_run = f->adopted = f->killed_by_us = false;
	f->name_taken = false;
	f->judged = f->look = false;
	f->exit_verdict = EXIT_WELL;
	f->exit_failure = FAILURE_NONE;
	f->kills = f->progress_lines = f->progress_told = 0;
	f->progress_bytes = 0;
	f->restart_from = f->restart_to = f->start_sent_at = 0;
	f->first_error_at = 0;
	f->troubled_in = PHASE_STRIKE;
	f->n_errors_5xx = f->n_locked = f->n_conflicts = f->n_internal = 0;
	f->failing_internal = false;
}

void
osa_flight_free(Flight *f)
{
	abort_call(f);
	osa_flight_leave_busy(f);
	osa_careful_leave(f);
	if (f->builder != NULL)
		osa_input_end(f->builder);
	if (f->reader != NULL)
		osa_output_end(f->reader);
	if (f->holds_place)
		f->engine->in_flight--;
	else
		n_aside--;
	if (f->shown >= 0)
		osa_hide_flight(f->shown);
	MemoryContextDelete(f->context);
	osa_flights_again();
}

bool
osa_flight_due(const Flight *f, TimestampTz now)
{
	if (f->phase == PHASE_DOWN)
		return false;
	return f->reply_ready || f->wake_at <= now ||
		((f->look || f->wants_place) && f->call == NULL);
}

void
osa_flight_advance(Flight *f)
{
	FlightPhase before;

	if (phases[f->phase].run == NULL)
		return;
	do
	{
		before = f->phase;
		if (phases[f->phase].needs_engine && f->engine->state != ENGINE_UP)
		{
			osa_flight_engine_down(f);
			return;
		}
		/* an answer is awaited; only RUNNING has something else to do meanwhile */
		if (f->call != NULL && f->phase != PHASE_RUNNING)
			return;
		phases[f->phase].run(f);
	} while (f->phase != before && f->phase != PHASE_DONE && f->phase != PHASE_WAIT && f->phase != PHASE_DOWN);
}

static void
phase_wait(Flight *f)
{
	if ((f->returning || GetCurrentTimestamp() >= f->wake_at) && take_place(f))
		osa_flight_enter(f, f->after_wait);
}

void
osa_flight_enter(Flight *f, FlightPhase phase)
{
	Assert(f->call == NULL);
	f->phase = phase;
	f->reply_ready = f->wants_place = false;
	if (f->returning)
	{
		f->returning = false;
		f->engine->n_returning--;
	}
	f->wake_at = phase == PHASE_RUNNING ? f->wake_at : 0;
	if (phase == PHASE_DONE || phase == PHASE_RUNNING)
		osa_flight_leave_busy(f);
	if (phase == PHASE_DONE || phase == PHASE_RUNNING || phase == PHASE_DOWN || phase == PHASE_WAIT)
		osa_careful_leave(f);
	osa_flight_show(f);
}

void
osa_flight_wait(Flight *f, double seconds, FlightPhase then)
{
	osa_flight_leave_busy(f);
	f->after_wait = then;
	osa_flight_enter(f, PHASE_WAIT);
	f->wake_at = GetCurrentTimestamp() + (TimestampTz) (seconds * USECS_PER_SEC);
}

/* ---- answers ---- */

/* A RunnerDone: notes the answer; the next turn acts on it. */
void
osa_flight_on_reply(void *arg, const RunnerReply *reply)
{
	Flight	   *f = arg;

	f->call = NULL;
	f->reply_ready = true;
	f->verdict = reply->verdict;
	strlcpy(f->message, reply->message ? reply->message : "", sizeof(f->message));
	if (reply->verdict == RUNNER_OK && reply->n_facts == 1)
	{
		f->facts = reply->facts[0];
		f->facts.n_labels = 0;	/* they point into the reply */
	}
	f->text = NULL;
	f->text_len = 0;
	if ((reply->verdict == RUNNER_OK || reply->verdict == RUNNER_REFUSED) && reply->text_len > 0)
	{
		f->text = MemoryContextAlloc(f->attempt_context, reply->text_len + 1);
		memcpy(f->text, reply->text, reply->text_len);
		f->text[reply->text_len] = '\0';
		f->text_len = reply->text_len;
	}
}

bool
osa_flight_reply(Flight *f)
{
	if (!f->reply_ready)
	{
		/* until it comes */
		f->wake_at = DT_NOEND;
		return false;
	}
	f->reply_ready = false;
	/* that a look before it went well says nothing of what failed */
	if (f->verdict != RUNNER_ERROR && f->verdict != RUNNER_REGISTRY && f->phase >= f->troubled_in)
	{
		f->first_error_at = 0;
		f->n_errors_5xx = 0;
	}
	return true;
}

bool
osa_flight_troubled(Flight *f)
{
	TimestampTz now = GetCurrentTimestamp();

	switch (f->verdict)
	{
		case RUNNER_DOWN:
		case RUNNER_EXHAUSTED:
			/* this takes every flight of the engine to DOWN, this one too */
			osa_engine_failed(f->engine, f->message, f->verdict == RUNNER_EXHAUSTED);
			if (f->phase != PHASE_DOWN)
				osa_flight_engine_down(f);
			return true;
		case RUNNER_ERROR:
			osa_engine_suspect(f->engine);
			break;
		case RUNNER_REGISTRY:
			break;
		default:
			return false;
	}

	if (f->first_error_at == 0)
		f->first_error_at = now;
	f->troubled_in = f->phase;
	if (now - f->first_error_at > TROUBLE_MAX_S * USECS_PER_SEC)
	{
		osa_flight_fail(f, f->verdict == RUNNER_REGISTRY ? FAILURE_IMAGE_PULL : FAILURE_RUNTIME,
						"the engine refused for an hour: %s", f->message);
		f->result.final = true;
		return true;
	}
	/* nothing runs yet: others may */
	if (f->phase >= PHASE_IMAGE && f->phase <= PHASE_START)
		step_aside(f);
	osa_flight_wait(f, doubling(1, f->n_errors_5xx++, TROUBLE_WAIT_MAX_S),
					f->maybe_exists && f->phase >= PHASE_CREATE && f->phase <= PHASE_LOG ?
					PHASE_RESOLVE : f->phase);
	return true;
}

void
osa_flight_fail(Flight *f, FailureKind kind, const char *fmt,...)
{
	char		message[1024];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	osa_fail(&f->why, kind, "%s", message);
	f->result.kind = RESULT_FAILED;
	f->result.failure = kind;
	f->n_rows = 0;
	f->judged = true;
	osa_flight_enter(f, PHASE_COMMIT);
}

void
osa_flight_lost(Flight *f, const char *message)
{
	osa_fail(&f->why, FAILURE_RUNTIME, "%s", message);
	f->result.kind = RESULT_LOST;
	f->n_rows = 0;
	f->judged = true;
	osa_flight_enter(f, PHASE_COMMIT);
}

/* Nobody's fault when it was found so, or the engine was away meanwhile. */
void
osa_flight_gone(Flight *f, const char *message)
{
	bool		found_so = f->start_sent_at == 0 && !f->adopted;

	if (f->restart_from != 0 || found_so)
		osa_flight_lost(f, message);
	else
		osa_flight_fail(f, FAILURE_RUNTIME, "container vanished while it was running");
}

/* ---- the database ---- */

bool
osa_flight_guard(Flight *f, void (*fn) (void *arg))
{
	GuardError	error;

	switch (osa_guard(fn, f, &error))
	{
		case GUARD_OK:
			f->n_locked = f->n_conflicts = 0;
			return true;
		case GUARD_LOCKED:
			osa_flight_wait(f, doubling(LOCK_WAIT_FIRST_S, f->n_locked++, LOCK_WAIT_MAX_S), f->phase);
			break;
		case GUARD_CONFLICT:
			if (f->n_conflicts++ < CONFLICTS_MAX)
				osa_flight_wait(f, LOCK_WAIT_FIRST_S, f->phase);
			else
				internal_error(f, error.message);
			break;
		case GUARD_RESOURCES:
			osa_flight_wait(f, RESOURCES_WAIT_S, f->phase);
			break;
		case GUARD_ERROR:
			internal_error(f, error.message);
			break;
	}
	return false;
}

/* An ERROR of our own: tried again, then the step's failure, then parked. */
static void
internal_error(Flight *f, const char *message)
{
	GuardError	error;

	strlcpy(f->internal_error, message, sizeof(f->internal_error));
	if (++f->n_internal < INTERNAL_MAX)
		osa_flight_wait(f, doubling(1, f->n_internal - 1, INTERNAL_WAIT_MAX_S), f->phase);
	else if (f->is_void || f->stopping)
		osa_flight_enter(f, PHASE_DONE);
	else if (!f->failing_internal)
	{
		f->failing_internal = true;
		f->n_internal = 0;
		osa_flight_fail(f, FAILURE_INTERNAL, "internal error, %d times: %s", INTERNAL_MAX, message);
	}
	else
	{
		(void) osa_guard(park_unit, f, &error);
		osa_flight_enter(f, PHASE_DONE);
	}
}

static void
park_unit(void *arg)
{
	Flight	   *f = arg;

	osa_tx_begin("parking a delivery");
	osa_store_park(f->claim.delivery_id, &f->claim.token, f->internal_error, PARK_S);
	osa_tx_commit(OSA_TX_SYNC);
}

void
osa_flight_flush(Flight *f)
{
	if (f->gate != InvalidXLogRecPtr)
		XLogFlush(f->gate);
	f->gate = InvalidXLogRecPtr;
}

/* ---- places at the engine ---- */

int
osa_flights_aside(void)
{
	return n_aside;
}

static void
step_aside(Flight *f)
{
	if (!f->holds_place)
		return;
	f->holds_place = false;
	f->engine->in_flight--;
	n_aside++;
	osa_flights_again();
}

/* False: there is none; it comes before new claims. */
static bool
take_place(Flight *f)
{
	if (f->holds_place)
		return true;
	if (f->engine->in_flight < osa_engine_max_in_flight(f->engine))
	{
		f->holds_place = true;
		f->engine->in_flight++;
		n_aside--;
		return true;
	}
	if (!f->returning)
	{
		f->returning = f->wants_place = true;
		f->engine->n_returning++;
		f->wake_at = DT_NOEND;
	}
	return false;
}

bool
osa_flight_get_busy(Flight *f)
{
	if (f->busy)
		return true;
	if (f->engine->n_busy >= osa_engine_max_busy())
	{
		f->wake_at = DT_NOEND;
		f->wants_place = true;
		return false;
	}
	f->wants_place = false;
	f->busy = true;
	f->engine->n_busy++;
	return true;
}

void
osa_flight_leave_busy(Flight *f)
{
	if (f->reading_progress)
	{
		f->reading_progress = false;
		f->engine->n_progress--;
		osa_flights_again();
	}
	if (!f->busy)
		return;
	f->busy = false;
	f->engine->n_busy--;
	osa_flights_again();
}

/* ---- from outside ---- */

void
osa_flight_drop(Flight *f)
{
	abort_call(f);
	if (f->maybe_exists)
		osa_engine_dispose(f->engine, f->container, false);
}

void
osa_flight_void(Flight *f)
{
	if (f->is_void || f->released || f->phase == PHASE_DONE)
		return;
	f->is_void = true;
	/* its attempt is recorded already, and its container on its way out */
	if (phase_of(f) == PHASE_REMOVE)
		return;
	abort_call(f);
	if (!f->maybe_exists)
		osa_flight_enter(f, PHASE_DONE);
	else
		osa_flight_enter(f, PHASE_VOID);
}

void
osa_flight_stop(Flight *f)
{
	FlightPhase phase = phase_of(f);

	if (f->is_void || f->stopping || f->released || phase == PHASE_DONE)
		return;
	/* one whose hook has ended is not stopped any more */
	if (phase >= PHASE_COLLECT && phase <= PHASE_REMOVE)
		return;
	f->stopping = true;
	abort_call(f);
	osa_flight_enter(f, f->maybe_exists ? PHASE_STOP : PHASE_UNCLAIM);
}

void
osa_flight_engine_down(Flight *f)
{
	FlightPhase phase = f->phase;

	if (!phases[phase].needs_engine)
		return;
	abort_call(f);
	osa_flight_leave_busy(f);
	/* how long it answers and fails is counted anew */
	f->first_error_at = 0;
	f->n_errors_5xx = 0;
	if (f->may_have_run && f->restart_from == 0)
		f->restart_from = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -RESTART_MARGIN_MS);
	if (phase >= PHASE_CREATE && phase <= PHASE_LOG)
		phase = f->maybe_exists ? PHASE_RESOLVE : PHASE_CREATE;
	f->after_wait = phase;
	osa_flight_enter(f, PHASE_DOWN);
	f->wake_at = DT_NOEND;
}

void
osa_flight_engine_up(Flight *f)
{
	if (f->restart_from != 0)
		f->restart_to = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RESTART_MARGIN_MS);
	if (f->phase == PHASE_DOWN)
		osa_flight_enter(f, f->after_wait);
}

void
osa_flight_look(Flight *f)
{
	if (f->phase == PHASE_RUNNING)
		f->look = true;
}

/* Where it is, or where it goes on when it has waited. */
static FlightPhase
phase_of(const Flight *f)
{
	return f->phase == PHASE_WAIT || f->phase == PHASE_DOWN ? f->after_wait : f->phase;
}

static void
abort_call(Flight *f)
{
	if (f->call != NULL)
		f->engine->runner->methods->abort(f->call);
	f->call = NULL;
	f->reply_ready = false;
}

static double
doubling(double first, int n, double max)
{
	return n >= 16 ? max : Min(max, first * (1 << n));
}

void
osa_flight_show(Flight *f)
{
	OsaFlightShown shown = {0};

	if (f->engine->noop)
		return;
	shown.used = true;
	shown.database = MyDatabaseId;
	shown.run_id = f->run->id;
	shown.hook_index = f->step->hook_index;
	shown.attempt = f->step->attempt;
	strlcpy(shown.hook, f->step->hook, sizeof(shown.hook));
	strlcpy(shown.runner, f->engine->row.name, sizeof(shown.runner));
	strlcpy(shown.phase, phases[f->phase].name, sizeof(shown.phase));
	if (f->maybe_exists)
		strlcpy(shown.container, f->container, sizeof(shown.container));
	shown.adopted = f->adopted;
	shown.since = f->since;
	shown.started_at = f->facts.started_at;
	shown.progress_bytes = f->progress_bytes;
	f->shown = osa_show_flight(f->shown, &shown);
}
