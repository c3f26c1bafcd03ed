/*
 * unwind.c
 *		Flights that end from outside: their claim is gone (cancelled, expired),
 *		or osa_pause(stop_running => true) wants their containers stopped.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "attempt.h"
#include "queue.h"

static void record_unit(void *arg);
static void unclaim_unit(void *arg);

/* ---- VOID: kill, keep what is to be known of it, remove ---- */

void
osa_phase_void(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		f->call = f->engine->runner->methods->kill(f->engine->runner, f->container,
												   osa_flight_on_reply, f);
		return;
	}
	if (f->verdict == RUNNER_DOWN && osa_flight_troubled(f))
		return;
	osa_flight_enter(f, PHASE_VOID_INSPECT);
}

void
osa_phase_void_inspect(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		f->call = f->engine->runner->methods->inspect(f->engine->runner, f->container, NULL,
													  osa_flight_on_reply, f);
		return;
	}
	if (f->verdict == RUNNER_DOWN && osa_flight_troubled(f))
		return;
	if (f->verdict == RUNNER_ABSENT)
		osa_flight_enter(f, PHASE_DONE);
	else
		osa_flight_enter(f, f->verdict == RUNNER_OK ? PHASE_VOID_LOG : PHASE_VOID_RECORD);
}

void
osa_phase_void_log(Flight *f)
{
	if (osa_flight_fetch_log(f))
		osa_flight_enter(f, PHASE_VOID_RECORD);
}

/*
 * osa_flight_fetch_log keeps the end of the container's log; without it a
 * result is still a result.  False: the answer is not there yet.
 */
bool
osa_flight_fetch_log(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		f->call = f->engine->runner->methods->log(f->engine->runner, f->container,
												  osa_flight_on_reply, f);
		return false;
	}
	if (f->verdict == RUNNER_DOWN && osa_flight_troubled(f))
		return false;
	if (f->text != NULL)
	{
		osa_clean_text(f->text, f->text_len, true);
		f->log_tail = f->text;
	}
	return true;
}

void
osa_phase_void_record(Flight *f)
{
	if (f->why.kind == FAILURE_NONE)
		osa_fail(&f->why, FAILURE_CANCELLED, "run was ended while the hook was under way");
	if (osa_flight_guard(f, record_unit))
		osa_flight_enter(f, PHASE_REMOVE);
}

static void
record_unit(void *arg)
{
	Flight	   *f = arg;
	AttemptRow	row;

	osa_flight_attempt_row(f, &row);
	osa_tx_begin("recording a cancelled attempt");
	osa_store_attempt(f->run, f->step, &row);
	osa_tx_commit(OSA_TX_SYNC);
}

/* What is known of the attempt, for its row. */
void
osa_flight_attempt_row(Flight *f, AttemptRow *row)
{
	memset(row, 0, sizeof(*row));
	row->launch_id = f->step->launch_id;
	row->runner = f->run->runner;
	row->container_name = f->container_id[0] != '\0' ? f->container : NULL;
	row->container_id = f->container_id[0] != '\0' ? f->container_id : NULL;
	row->image_id = f->image_id[0] != '\0' ? f->image_id : NULL;
	row->started_at = f->facts.started_at;
	row->finished_at = f->facts.finished_at;
	if (row->finished_at != 0 && row->finished_at < row->started_at)
		row->finished_at = row->started_at;
	row->has_exit_code = f->facts.phase == CONTAINER_EXITED;
	row->exit_code = f->facts.exit_code;
	row->oom = f->facts.oom_killed || f->exit_failure == FAILURE_OOM;
	row->memory = f->engine->noop ? 0 : f->step->memory > 0 ? f->step->memory : f->step->limits.memory;
	row->failure = f->result.kind == RESULT_LOST ? FAILURE_RUNTIME :
		f->result.kind == RESULT_FAILED ? f->result.failure :
		f->is_void ? FAILURE_CANCELLED : FAILURE_NONE;
	row->message = f->why.message[0] != '\0' ? f->why.message : NULL;
	row->log_tail = f->log_tail;
	row->adopted = f->adopted;
	row->config = f->step->config;
}

/* ---- STOP: the container goes, the step waits ---- */

void
osa_phase_stop(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		osa_flight_flush(f);
		f->call = f->engine->runner->methods->remove(f->engine->runner, f->container,
													 osa_flight_on_reply, f);
		return;
	}
	if (f->verdict != RUNNER_OK && osa_flight_troubled(f))
		return;
	osa_flight_enter(f, PHASE_UNCLAIM);
}

void
osa_phase_unclaim(Flight *f)
{
	if (!osa_flight_guard(f, unclaim_unit))
		return;
	osa_queue_look(f->claim.delivery_id, false);
	osa_flight_enter(f, PHASE_DONE);
}

static void
unclaim_unit(void *arg)
{
	Flight	   *f = arg;

	osa_tx_begin("giving a claim back");
	osa_store_unclaim(f->claim.delivery_id, &f->claim.token, true);
	osa_tx_commit(OSA_TX_SYNC);
}
