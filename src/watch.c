/*
 * watch.c
 *		A running container: its end is noticed by the engine's events, by
 *		looking at it soon after its start, and by lists; its progress is read
 *		on the way; its timeout ends it.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "guc.h"

/* A young container is looked at often: many hooks are over at once. */
#define LOOK_FIRST_MS		20
#define LOOK_YOUNG_MS		4000
#define KILLS_MAX			5
#define KILL_PAUSE_S		1.0
#define PROGRESS_READ_BYTES	(64 * 1024)
/* Of one attempt: beyond this its progress is not read any more. */
#define PROGRESS_MAX_BYTES	(16 * 1024 * 1024)
#define PROGRESS_MAX_LINES	1000
#define PROGRESS_LINES_ONCE	100
#define PROGRESS_READS_AT_ONCE 4
#define PROGRESS_FULL_RATE	16	/* hooks that are read each interval */

static void inspected(Flight *f);
static void read_progress(Flight *f);
static void take_progress(Flight *f);
static void progress_unit(void *arg);
static TimestampTz timeout_at(const Flight *f);
static TimestampTz progress_due(const Flight *f);
static TimestampTz look_due(const Flight *f, TimestampTz now);
static TimestampTz started_at(const Flight *f);

void
osa_phase_running(Flight *f)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due;

	if (f->reply_ready)
	{
		bool		was_progress = f->reading_progress;

		(void) osa_flight_reply(f);
		osa_flight_leave_busy(f);
		if (was_progress && f->verdict != RUNNER_DOWN)
			take_progress(f);
		else if (osa_flight_troubled(f))
			return;
		else if (!was_progress)
			inspected(f);
		if (f->phase != PHASE_RUNNING)
			return;
	}

	if (now >= timeout_at(f))
	{
		if (f->call != NULL)
			f->engine->runner->methods->abort(f->call);
		f->call = NULL;
		osa_flight_leave_busy(f);
		osa_flight_enter(f, PHASE_KILL);
		return;
	}
	if (f->call == NULL)
	{
		if (f->look || now >= look_due(f, now))
		{
			f->look = false;
			f->looked_at = now;
			f->call = f->engine->runner->methods->inspect(f->engine->runner, f->container, NULL,
														  osa_flight_on_reply, f);
		}
		else if (now >= progress_due(f))
		{
			f->wants_place = f->engine->n_progress >= PROGRESS_READS_AT_ONCE;
			if (!f->wants_place)
				read_progress(f);
		}
	}

	due = timeout_at(f);
	if (f->call == NULL)
		due = Min(due, look_due(f, now));
	if (f->call == NULL && !f->wants_place)
		due = Min(due, progress_due(f));
	f->wake_at = due;
}

static void
inspected(Flight *f)
{
	if (f->verdict == RUNNER_ABSENT)
	{
		f->maybe_exists = false;
		osa_flight_gone(f, "container is gone after a restart of the engine");
		return;
	}
	if (f->verdict != RUNNER_OK)
		return;
	if (f->container_id[0] == '\0')
		strlcpy(f->container_id, f->facts.id, sizeof(f->container_id));
	switch (f->facts.phase)
	{
		case CONTAINER_RUNNING:
			osa_flight_show(f);
			break;
		case CONTAINER_EXITED:
			osa_flight_enter(f, PHASE_COLLECT);
			break;
		case CONTAINER_CREATED:
			/* the engine forgot the start */
			osa_flight_enter(f, PHASE_START);
			break;
		case CONTAINER_LOST:
			osa_flight_gone(f, "container was lost in a restart of its host or engine");
			break;
	}
}

static TimestampTz
started_at(const Flight *f)
{
	return f->facts.started_at != 0 ? f->facts.started_at :
		f->start_sent_at != 0 ? f->start_sent_at : f->since;
}

static TimestampTz
timeout_at(const Flight *f)
{
	return started_at(f) + (TimestampTz) (f->step->limits.timeout * USECS_PER_SEC);
}

/* Next look: after 3/10 of its age, as long as it is young. */
static TimestampTz
look_due(const Flight *f, TimestampTz now)
{
	TimestampTz start = f->start_sent_at != 0 ? f->start_sent_at : f->since;
	int64		age_ms = (now - start) / 1000;

	/* adopted, or never inspected: at once */
	if (f->facts.phase != CONTAINER_RUNNING)
		return f->start_sent_at == 0 ? 0 : TimestampTzPlusMilliseconds(start, LOOK_FIRST_MS);
	if (age_ms > LOOK_YOUNG_MS)
		return DT_NOEND;
	return TimestampTzPlusMilliseconds(f->looked_at, Max(LOOK_FIRST_MS, age_ms * 3 / 10));
}

/* ---- progress ---- */

static TimestampTz
progress_due(const Flight *f)
{
	if (f->progress_lines >= PROGRESS_MAX_LINES - 1 || f->progress_bytes >= PROGRESS_MAX_BYTES)
		return DT_NOEND;
	return f->progress_at;
}

static void
read_progress(Flight *f)
{
	int			crowd = Max(1, f->engine->in_flight / PROGRESS_FULL_RATE);

	f->progress_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 (int64) osa_guc_progress_interval * crowd);
	f->reading_progress = true;
	f->engine->n_progress++;
	f->call = f->engine->runner->methods->progress(f->engine->runner, f->container, f->progress_bytes,
												   PROGRESS_READ_BYTES, osa_flight_on_reply, f);
}

static void
take_progress(Flight *f)
{
	if (f->verdict != RUNNER_OK || f->text_len == 0)
		return;
	osa_flight_save_progress(f, f->text, f->text_len);
	/* more is there: go on reading at once */
	if (f->text_len >= PROGRESS_READ_BYTES)
		f->progress_at = 0;
	pfree(f->text);
	f->text = NULL;
}

/*
 * osa_flight_save_progress saves the lines of what was read of progress.jsonl.
 * Progress is advice: whatever goes wrong here is no failure of the hook.
 */
void
osa_flight_save_progress(Flight *f, const char *text, size_t len)
{
	size_t		consumed = 0;
	int			told;
	GuardError	error;
	MemoryContext old = MemoryContextSwitchTo(f->attempt_context);

	/* of a hook that says too much the last word is kept all the same */
	f->n_lines = osa_progress_parse(text, len,
									Min(PROGRESS_LINES_ONCE, Max(PROGRESS_MAX_LINES - 1 - f->progress_lines, 1)),
									&f->lines, &consumed);
	MemoryContextSwitchTo(old);
	/* a line that does not fit into one read is skipped */
	if (consumed == 0 && len >= PROGRESS_READ_BYTES)
		consumed = len;
	f->progress_bytes += consumed;
	f->progress_lines += f->n_lines;
	told = Min(f->progress_told, f->n_lines);
	f->progress_told -= told;
	f->lines += told;
	f->n_lines -= told;
	if (f->n_lines > 0)
		(void) osa_guard(progress_unit, f, &error);
}

static void
progress_unit(void *arg)
{
	Flight	   *f = arg;

	osa_tx_begin("saving progress");
	osa_store_progress(f->run->id, f->step->hook_index, f->lines, f->n_lines);
	osa_tx_commit(OSA_TX_ASYNC);
}

/* ---- KILL: over its timeout ---- */

void
osa_phase_kill(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		f->killed_by_us = true;
		f->call = f->engine->runner->methods->kill(f->engine->runner, f->container,
												   osa_flight_on_reply, f);
		return;
	}
	if (f->verdict == RUNNER_DOWN && osa_flight_troubled(f))
		return;
	if (++f->kills >= KILLS_MAX)
		osa_flight_fail(f, FAILURE_TIMEOUT, "hook ran longer than its timeout of %g s and could not be killed",
						f->step->limits.timeout);
	else
		osa_flight_wait(f, f->verdict == RUNNER_OK ? 0.02 * f->kills : KILL_PAUSE_S, PHASE_RESOLVE);
}
