/*
 * saga.c
 *		What follows from the result of a step.  Pure; see saga.h.
 */
#include "postgres.h"

#include "saga/saga.h"

static void decide_judged(const SagaStep *step, const StepResult *result,
						  double random, SagaDecision *decision);
static void decide_failed(const SagaStep *step, FailureKind failure,
						  double random, SagaDecision *decision);
static void end_run(SagaDecision *decision, RunStatus run_status, StepStatus step_status, int index);
static void fail_run(const SagaStep *step, FailureKind failure, SagaDecision *decision);
static bool attempts_left(const SagaStep *step);
static void retry(const SagaStep *step, FailureKind failure, double random, SagaDecision *decision);

void
osa_saga_decide(const SagaStep *step, const StepResult *result,
				double random, SagaDecision *decision)
{
	memset(decision, 0, sizeof(*decision));
	decision->next_index = step->hook_index;
	decision->next_memory = step->memory;

	switch (result->kind)
	{
		case RESULT_JUDGED:
			decide_judged(step, result, random, decision);
			break;
		case RESULT_FAILED:
			if (result->final)
				fail_run(step, result->failure, decision);
			else
				decide_failed(step, result->failure, random, decision);
			break;
		case RESULT_LOST:
			if (step->free_reruns < OSA_FREE_RERUNS)
			{
				decision->action = SAGA_RERUN;
				decision->failure = FAILURE_RUNTIME;
			}
			else
				decide_failed(step, FAILURE_RUNTIME, random, decision);
			break;
	}
}

/* The hook ended well and every record it was given has an outcome. */
static void
decide_judged(const SagaStep *step, const StepResult *result,
			  double random, SagaDecision *decision)
{
	if (result->n_retryable > 0 && attempts_left(step))
	{
		retry(step, FAILURE_RECORD_ERROR, random, decision);
		decision->save_partial = true;
		return;
	}

	decision->save_outcomes = true;
	if (result->n_errored > 0 && !step->drop_errored)
		fail_run(step, FAILURE_RECORD_ERROR, decision);
	else if ((result->n_rejected > 0 && step->reject_run) ||
			 (result->n_passed == 0 && (result->n_rejected > 0 || step->rejected_before)))
		end_run(decision, RUN_REJECTED, STEP_REJECTED, step->hook_index + 1);
	else if (result->n_passed == 0)
		fail_run(step, FAILURE_RECORD_ERROR, decision);
	else if (step->hook_index + 1 == step->hook_count)
		end_run(decision, RUN_COMPLETED, STEP_PASSED, step->hook_count);
	else
	{
		decision->action = SAGA_ADVANCE;
		decision->step_status = STEP_PASSED;
		decision->event = EVENT_RUN_NEXT_HOOK;
		decision->next_index = step->hook_index + 1;
	}
}

/* The attempt failed as a whole. */
static void
decide_failed(const SagaStep *step, FailureKind failure, double random, SagaDecision *decision)
{
	switch (failure)
	{
		case FAILURE_OOM:
			decision->save_partial = true;
			if (attempts_left(step) && step->memory < step->max_memory)
			{
				retry(step, failure, random, decision);
				decision->delay = 0;
				decision->next_memory = step->memory > step->max_memory / 2 ?
					step->max_memory : step->memory * 2;
				return;
			}
			break;
		case FAILURE_TIMEOUT:
			decision->save_partial = true;
			/* FALLTHROUGH */
		case FAILURE_RUNTIME:
			if (attempts_left(step))
			{
				retry(step, failure, random, decision);
				return;
			}
			break;
		default:
			break;
	}
	decision->save_partial = false;
	fail_run(step, failure, decision);
}

static void
end_run(SagaDecision *decision, RunStatus run_status, StepStatus step_status, int index)
{
	decision->action = SAGA_END;
	decision->run_status = run_status;
	decision->step_status = step_status;
	decision->event = run_status == RUN_COMPLETED ?
		EVENT_VALIDATION_COMPLETED : EVENT_VALIDATION_FAILED;
	decision->next_index = index;
}

static void
fail_run(const SagaStep *step, FailureKind failure, SagaDecision *decision)
{
	end_run(decision, RUN_FAILED, STEP_FAILED, step->hook_index);
	decision->failure = failure;
}

static bool
attempts_left(const SagaStep *step)
{
	return step->attempt - step->first_attempt < step->limits->retries;
}

static void
retry(const SagaStep *step, FailureKind failure, double random, SagaDecision *decision)
{
	decision->action = SAGA_RETRY;
	decision->failure = failure;
	decision->delay = osa_retry_delay(step->limits->retry_delay,
									  step->limits->retry_delay_max,
									  step->attempt - step->first_attempt, random);
}
