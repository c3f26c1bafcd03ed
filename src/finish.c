/*
 * finish.c
 *		The second half of a flight's walk: outputs and log of a container
 *		that has ended, the judgement, the step's one transaction, and what
 *		comes after it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "careful.h"
#include "queue.h"

#define READ_SLICE_MS	10
/* Tries to get one container's outputs: half a minute. */
#define COLLECTS_MAX	5
#define MAX_LINE_BYTES	(16 * 1024 * 1024)

static void judge_exit(Flight *f);
static void judge_outputs(Flight *f);
static void fail_killed(Flight *f);
static void count_rows(Flight *f);
static void decide(Flight *f);
static void commit_unit(void *arg);
static void after_commit(Flight *f);
static void next_attempt(Flight *f);
static void next_hook(Flight *f);
static void requeue(Flight *f);

/* ---- COLLECT, LOG ---- */

void
osa_phase_collect(Flight *f)
{
	int64		limit = f->step->limits.output;

	if (!osa_flight_get_busy(f))
		return;
	if (!osa_flight_reply(f))
	{
		judge_exit(f);
		if (f->exit_verdict == EXIT_UNTRUSTED || f->exit_verdict == EXIT_LOST)
		{
			osa_flight_enter(f, PHASE_LOG);
			return;
		}
		if (f->output != NULL)
			osa_spool_close(f->output);
		f->output = osa_spool_open(f->attempt_context);
		/* an archive is a little larger than what it holds */
		f->call = f->engine->runner->methods->collect(f->engine->runner, f->container, f->output,
													  limit + limit / 8 + 1024 * 1024,
													  osa_flight_on_reply, f);
		return;
	}
	/* an engine that was killed meanwhile may have lost what it holds */
	if (!(f->verdict == RUNNER_ERROR && f->n_errors_5xx >= COLLECTS_MAX) && osa_flight_troubled(f))
		return;
	if (f->verdict != RUNNER_OK)
	{
		osa_spool_close(f->output);
		f->output = NULL;
		if (f->verdict == RUNNER_TOO_LARGE)
			osa_fail(&f->why, FAILURE_HOOK_OUTPUT, "outputs are larger than the limit of %lld bytes",
					 (long long) limit);
		else
			osa_fail(&f->why, FAILURE_RUNTIME, "outputs could not be collected: %s", f->message);
	}
	osa_flight_enter(f, PHASE_LOG);
}

void
osa_phase_log(Flight *f)
{
	if (!osa_flight_fetch_log(f))
		return;
	if (f->verdict == RUNNER_REFUSED && f->exit_verdict == EXIT_FAILED && f->why.kind == FAILURE_NONE)
		osa_fail(&f->why, FAILURE_CONFIG, "%s", f->message);
	osa_flight_leave_busy(f);
	osa_flight_enter(f, PHASE_READ);
}

static void
judge_exit(Flight *f)
{
	ExitFacts	facts = {0};

	facts.exit_code = f->facts.exit_code;
	facts.oom_killed = f->facts.oom_killed;
	facts.started_at = f->facts.started_at;
	facts.finished_at = f->facts.finished_at;
	facts.timeout = f->step->limits.timeout;
	facts.killed_by_us = f->killed_by_us;
	facts.engine_restarted = f->restart_to != 0 &&
		facts.finished_at >= f->restart_from && facts.finished_at <= f->restart_to;
	f->exit_verdict = osa_judge_exit(&facts, &f->exit_failure);
	f->output_mode = f->exit_verdict == EXIT_WELL ? OUTPUT_EXITED :
		f->exit_verdict == EXIT_KILLED ? OUTPUT_KILLED : OUTPUT_FAILED;
}

/* ---- READ: what do the outputs say? ---- */

void
osa_phase_read(Flight *f)
{
	instr_time	start;
	instr_time	elapsed;
	bool		more = true;
	const char *progress;
	size_t		progress_len;

	if (f->exit_verdict == EXIT_UNTRUSTED)
	{
		osa_flight_fail(f, FAILURE_RUNTIME, "container ended with code %d, but its times cannot be trusted",
						f->facts.exit_code);
		return;
	}
	if (f->exit_verdict == EXIT_LOST)
	{
		osa_flight_lost(f, "container was ended by a restart of its engine");
		return;
	}
	if (f->why.kind != FAILURE_NONE)
	{
		osa_flight_fail(f, f->why.kind, "%s", f->why.message);
		return;
	}
	if (f->reader == NULL)
	{
		OutputSpec	spec = {0};

		spec.mode = f->output_mode;
		spec.records = f->records;
		spec.n_records = f->n_records;
		spec.cardinality = f->step->cardinality;
		spec.columns = f->step->columns;
		spec.n_columns = f->step->n_columns;
		spec.max_bytes = f->step->limits.output;
		spec.progress_from = f->progress_bytes;
		spec.max_line_bytes = (int) Min(f->step->limits.output, MAX_LINE_BYTES);
		osa_spool_rewind(f->output);
		f->reader = osa_output_begin(f->attempt_context, &spec, f->output);
	}
	INSTR_TIME_SET_CURRENT(start);
	do
	{
		more = osa_output_step(f->reader);
		INSTR_TIME_SET_CURRENT(elapsed);
		INSTR_TIME_SUBTRACT(elapsed, start);
	} while (more && INSTR_TIME_GET_MILLISEC(elapsed) < READ_SLICE_MS);
	if (more)
		return;
	progress_len = osa_output_progress(f->reader, &progress);
	if (progress_len > 0)
		osa_flight_save_progress(f, progress, progress_len);
	judge_outputs(f);
}

static void
judge_outputs(Flight *f)
{
	Failure		failure = *osa_output_failure(f->reader);

	if (failure.kind != FAILURE_NONE)
		osa_flight_fail(f, failure.kind, "%s", failure.message);
	else if (f->exit_verdict == EXIT_FAILED)
		osa_flight_fail(f, FAILURE_HOOK_EXIT, "hook exited with code %d%s%s", f->facts.exit_code,
						f->facts.error[0] != '\0' ? ": " : "", f->facts.error);
	else if (f->exit_verdict == EXIT_KILLED)
		fail_killed(f);
	else
	{
		f->n_rows = osa_output_rows(f->reader, &f->rows);
		count_rows(f);
		f->result.kind = RESULT_JUDGED;
		f->judged = true;
		osa_flight_enter(f, PHASE_COMMIT);
	}
}

/* Out of memory or time: what it had written whole is kept. */
static void
fail_killed(Flight *f)
{
	const OutcomeRow *rows;
	int			n_rows = osa_output_rows(f->reader, &rows);

	if (f->exit_failure == FAILURE_TIMEOUT)
		osa_flight_fail(f, FAILURE_TIMEOUT, "hook ran longer than its timeout of %g s and was killed",
						f->step->limits.timeout);
	else
		osa_flight_fail(f, FAILURE_OOM, "hook was killed, probably for using more than its memory of %lld bytes",
						(long long) (f->step->memory > 0 ? f->step->memory : f->step->limits.memory));
	f->rows = rows;
	f->n_rows = n_rows;
}

/* Counts of the step: this attempt's rows and those of attempts before. */
static void
count_rows(Flight *f)
{
	f->result = f->partial;
	for (int i = 0; i < f->n_rows; i++)
	{
		switch (f->rows[i].status)
		{
			case OUTCOME_PASSED:
				f->result.n_passed++;
				break;
			case OUTCOME_REJECTED:
				f->result.n_rejected++;
				break;
			case OUTCOME_ERRORED:
				f->result.n_errored++;
				if (f->rows[i].retryable)
					f->result.n_retryable++;
				break;
		}
	}
}

/* ---- COMMIT ---- */

void
osa_phase_commit(Flight *f)
{
	decide(f);
	if (!osa_flight_guard(f, commit_unit))
		return;
	if (!f->commit_held)
	{
		/* ended from outside: nothing of the step was written */
		osa_flight_void(f);
		return;
	}
	after_commit(f);
}

static void
decide(Flight *f)
{
	SagaStep	step = {0};

	step.hook_index = f->step->hook_index;
	step.hook_count = f->run->hook_count;
	step.reject_run = f->run->reject_run;
	step.drop_errored = f->run->drop_errored;
	step.rejected_before = f->run->rejected_before;
	step.attempt = f->step->attempt;
	step.first_attempt = f->step->first_attempt;
	step.free_reruns = f->step->free_reruns;
	step.memory = f->step->memory > 0 ? f->step->memory : f->step->limits.memory;
	step.max_memory = osa_engine_max_memory(f->engine);
	step.limits = &f->step->limits;
	osa_saga_decide(&step, &f->result, pg_prng_double(&pg_global_prng_state), &f->decision);

	if (f->why.kind == FAILURE_NONE && f->decision.failure == FAILURE_RECORD_ERROR)
		osa_fail(&f->why, FAILURE_RECORD_ERROR, ngettext("%d record could not be judged",
														 "%d records could not be judged",
														 f->result.n_errored), f->result.n_errored);
	else if (f->decision.action == SAGA_END && f->decision.run_status == RUN_REJECTED)
		osa_fail(&f->why, FAILURE_NONE, ngettext("hook \"%s\" rejected %d record",
												 "hook \"%s\" rejected %d records",
												 f->result.n_rejected), f->step->hook, f->result.n_rejected);
	f->keep = osa_flight_may_keep(f) &&
		(f->decision.action == SAGA_ADVANCE || f->decision.action == SAGA_RERUN ||
		 (f->decision.action == SAGA_RETRY && f->decision.delay == 0));
}

static void
commit_unit(void *arg)
{
	Flight	   *f = arg;
	StepCommit	commit = {0};
	AttemptRow	attempt;

	osa_flight_attempt_row(f, &attempt);
	commit.delivery_id = f->claim.delivery_id;
	commit.event_id = f->claim.event_id;
	commit.token = f->claim.token;
	commit.run = f->run;
	commit.step = f->step;
	commit.decision = &f->decision;
	commit.result = &f->result;
	commit.pass_all = f->engine->noop && f->result.kind == RESULT_JUDGED;
	commit.n_records_in = f->n_records + f->partial.n_passed + f->partial.n_rejected + f->partial.n_errored;
	commit.has_partial = commit.n_records_in > f->n_records;
	commit.n_rows = f->n_rows;
	commit.rows = f->rows;
	commit.records = f->records;
	commit.message = f->why.message[0] != '\0' ? f->why.message : NULL;
	commit.attempt = &attempt;
	commit.keep = f->keep;

	osa_tx_begin("committing a step");
	f->commit_held = osa_store_commit_step(&commit, &f->committed);
	if (f->commit_held)
	{
		/* one flush at the end of the turn serves all steps committed in it */
		f->gate = osa_tx_commit(OSA_TX_ASYNC);
		osa_flights_flush(f->gate);
	}
	else
	{
		osa_tx_abort();
		/* a kill must not outrun the disk: this comes after what was seen */
		osa_tx_begin("seeing a claim gone");
		(void) GetCurrentTransactionId();
		osa_tx_commit(OSA_TX_SYNC);
	}
}

static void
after_commit(Flight *f)
{
	f->released = !f->keep;
	/* at once: a look at the claims must not find the old one gone */
	if (f->keep)
		f->claim.token = f->committed.token;
	osa_careful_leave(f);
	switch (f->decision.action)
	{
		case SAGA_END:
			osa_count(COUNTER_STEPS, 1);
			if (f->maybe_exists)
				osa_engine_dispose(f->engine, f->container, false);
			osa_flight_enter(f, PHASE_DONE);
			break;
		case SAGA_ADVANCE:
			osa_count(COUNTER_STEPS, 1);
			if (f->maybe_exists)
				osa_engine_dispose(f->engine, f->container, false);
			if (f->keep)
				next_hook(f);
			else
			{
				requeue(f);
				osa_flight_enter(f, PHASE_DONE);
			}
			break;
		case SAGA_RETRY:
		case SAGA_RERUN:
			/* the next container is created once this one is gone */
			if (f->maybe_exists)
				osa_flight_enter(f, PHASE_REMOVE);
			else
				next_attempt(f);
			break;
	}
}

void
osa_phase_remove(Flight *f)
{
	if (!osa_flight_reply(f))
	{
		osa_flight_flush(f);
		f->call = f->engine->runner->methods->remove(f->engine->runner, f->container,
													 osa_flight_on_reply, f);
		return;
	}
	if (osa_flight_troubled(f))
		return;
	if (f->is_void)
		osa_flight_enter(f, PHASE_DONE);
	else
		next_attempt(f);
}

/* The step goes on: here at once, or when its delivery is due. */
static void
next_attempt(Flight *f)
{
	if (!f->keep)
	{
		requeue(f);
		osa_flight_enter(f, PHASE_DONE);
		return;
	}
	if (f->decision.action == SAGA_RETRY)
	{
		f->step->attempt++;
		f->step->launch_id = f->committed.launch_id;
	}
	else
		f->step->free_reruns++;
	f->step->memory = f->decision.next_memory;
	osa_flight_new_container(f);
	osa_flight_enter(f, PHASE_LOAD);
}

static void
next_hook(Flight *f)
{
	f->claim.event_id = f->committed.event_id;
	f->run->rejected_before |= f->result.n_rejected > 0;
	f->run->current_hook_index = f->decision.next_index;
	f->step++;
	osa_flight_new_container(f);
	osa_flight_enter(f, PHASE_LOAD);
}

/* The delivery waits in the table again: remember it. */
static void
requeue(Flight *f)
{
	QueuedDelivery queued = {0};

	queued.delivery_id = f->claim.delivery_id;
	queued.priority = f->claim.priority;
	queued.deliver_after = f->committed.deliver_after;
	strlcpy(queued.runner, f->run->runner, sizeof(queued.runner));
	osa_queue_add(&queued);
}
