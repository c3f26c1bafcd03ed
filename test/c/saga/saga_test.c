/*
 * saga_test.c
 *		The saga's decisions, one by one, and random sagas to their end.
 */
#include "postgres.h"

/* the plain one: nothing of the server is linked */
#undef printf

#include "saga/saga.h"

static int	n_tests;
static int	n_failed;
static HookLimits limits = {.retries = 2, .retry_delay = 60, .retry_delay_max = 300, .timeout = 10};

static void
check(bool good, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++n_tests, name);
	if (!good)
		n_failed++;
}

static SagaDecision
decide(const SagaStep *step, StepResult result)
{
	SagaDecision decision;

	osa_saga_decide(step, &result, 0.0, &decision);
	return decision;
}

static SagaStep
a_step(void)
{
	SagaStep	step = {
		.hook_index = 1, .hook_count = 3, .attempt = 1, .first_attempt = 1,
		.memory = 100, .max_memory = 350, .limits = &limits
	};

	return step;
}

#define JUDGED(...) ((StepResult) {.kind = RESULT_JUDGED, __VA_ARGS__})
#define FAILED(kind_) ((StepResult) {.kind = RESULT_FAILED, .failure = (kind_)})
#define LOST ((StepResult) {.kind = RESULT_LOST})

static void
test_judged(void)
{
	SagaStep	step = a_step();
	SagaDecision d = decide(&step, JUDGED(.n_passed = 2));

	check(d.action == SAGA_ADVANCE && d.next_index == 2 && d.event == EVENT_RUN_NEXT_HOOK &&
		  d.step_status == STEP_PASSED && d.save_outcomes, "all passed: the next hook");
	d = decide(&step, JUDGED(.n_passed = 1, .n_rejected = 1));
	check(d.action == SAGA_ADVANCE, "drop: the others go on");
	d = decide(&step, JUDGED(.n_rejected = 2));
	check(d.action == SAGA_END && d.run_status == RUN_REJECTED && d.next_index == 2 &&
		  d.event == EVENT_VALIDATION_FAILED && d.step_status == STEP_REJECTED, "none left: rejected, index i + 1");
	step.reject_run = true;
	d = decide(&step, JUDGED(.n_passed = 1, .n_rejected = 1));
	check(d.action == SAGA_END && d.run_status == RUN_REJECTED, "reject_run: one is enough");

	step = a_step();
	d = decide(&step, JUDGED(.n_passed = 1, .n_errored = 1));
	check(d.action == SAGA_END && d.run_status == RUN_FAILED && d.next_index == 1 && d.save_outcomes &&
		  d.failure == FAILURE_RECORD_ERROR, "fail_run: failed, index i, outcomes stay");
	step.drop_errored = true;
	d = decide(&step, JUDGED(.n_passed = 1, .n_errored = 1));
	check(d.action == SAGA_ADVANCE, "drop: the others go on");
	d = decide(&step, JUDGED(.n_errored = 1));
	check(d.action == SAGA_END && d.run_status == RUN_FAILED, "none left and none rejected: failed");
	step.rejected_before = true;
	d = decide(&step, JUDGED(.n_errored = 1));
	check(d.action == SAGA_END && d.run_status == RUN_REJECTED, "none left and one rejected before: rejected");

	step = a_step();
	step.hook_index = 2;
	d = decide(&step, JUDGED(.n_passed = 1));
	check(d.action == SAGA_END && d.run_status == RUN_COMPLETED && d.next_index == 3 &&
		  d.event == EVENT_VALIDATION_COMPLETED, "the last hook completes the run");

	step = a_step();
	d = decide(&step, JUDGED(.n_passed = 1, .n_errored = 1, .n_retryable = 1));
	check(d.action == SAGA_RETRY && d.save_partial && !d.save_outcomes && d.delay == 60,
		  "retryable: again, what is judged is kept");
	step.attempt = 3;
	d = decide(&step, JUDGED(.n_passed = 1, .n_errored = 1, .n_retryable = 1));
	check(d.action == SAGA_END && d.run_status == RUN_FAILED, "until the budget is spent");
	step.first_attempt = 2;
	d = decide(&step, JUDGED(.n_errored = 1, .n_retryable = 1));
	check(d.action == SAGA_RETRY, "which is a round's own");
}

static void
test_failed(void)
{
	static const FailureKind at_once[] = {
		FAILURE_IMAGE_PULL, FAILURE_CONFIG, FAILURE_HOOK_EXIT, FAILURE_HOOK_OUTPUT, FAILURE_INTERNAL
	};
	SagaStep	step = a_step();
	SagaDecision d;
	StepResult	final = FAILED(FAILURE_RUNTIME);
	bool		all = true;

	for (int i = 0; i < (int) lengthof(at_once); i++)
	{
		d = decide(&step, FAILED(at_once[i]));
		all = all && d.action == SAGA_END && d.run_status == RUN_FAILED && d.failure == at_once[i] &&
			d.next_index == 1 && !d.save_outcomes && !d.save_partial;
	}
	check(all, "image_pull, config, hook_exit, hook_output, internal fail at once");

	d = decide(&step, FAILED(FAILURE_OOM));
	check(d.action == SAGA_RETRY && d.delay == 0 && d.next_memory == 200 && d.save_partial, "oom: at once with twice the memory");
	step.memory = 200;
	d = decide(&step, FAILED(FAILURE_OOM));
	check(d.next_memory == 350, "up to the ceiling");
	step.memory = 350;
	d = decide(&step, FAILED(FAILURE_OOM));
	check(d.action == SAGA_END && d.failure == FAILURE_OOM, "at the ceiling: failed");

	step = a_step();
	d = decide(&step, FAILED(FAILURE_TIMEOUT));
	check(d.action == SAGA_RETRY && d.save_partial && d.delay == 60 && d.next_memory == 100, "timeout: again, later");
	step.attempt = 2;
	d = decide(&step, FAILED(FAILURE_RUNTIME));
	check(d.action == SAGA_RETRY && !d.save_partial && d.delay == 120, "runtime: again, twice as late");
	step.attempt = 3;
	d = decide(&step, FAILED(FAILURE_RUNTIME));
	check(d.action == SAGA_END && d.run_status == RUN_FAILED, "until the budget is spent");
	step = a_step();
	final.final = true;
	d = decide(&step, final);
	check(d.action == SAGA_END, "or another attempt can't help");

	d = decide(&step, LOST);
	check(d.action == SAGA_RERUN && d.next_index == 1, "lost: the same attempt again");
	step.free_reruns = 3;
	d = decide(&step, LOST);
	check(d.action == SAGA_RETRY && d.failure == FAILURE_RUNTIME, "the fourth time it spends one");
}

static void
test_policy(void)
{
	ExitFacts	facts = {.started_at = USECS_PER_SEC, .finished_at = 3 * USECS_PER_SEC, .timeout = 10};
	FailureKind failure;

	check(osa_retry_delay(60, 300, 0, 0) == 60 && osa_retry_delay(60, 300, 2, 0) == 240 &&
		  osa_retry_delay(60, 300, 3, 0) == 300 && osa_retry_delay(60, 300, 1000, 0) == 300, "the delay doubles up to its maximum");
	check(osa_retry_delay(60, 300, 0, 0.999) >= 45 && osa_retry_delay(0, 300, 5, 0.5) == 0, "with jitter");

	check(osa_judge_exit(&facts, &failure) == EXIT_WELL && failure == FAILURE_NONE, "exit 0");
	facts.exit_code = 3;
	check(osa_judge_exit(&facts, &failure) == EXIT_FAILED && failure == FAILURE_HOOK_EXIT, "exit 3");
	facts.exit_code = 137;
	check(osa_judge_exit(&facts, &failure) == EXIT_KILLED && failure == FAILURE_OOM, "137 that is not ours: out of memory");
	facts.killed_by_us = true;
	check(osa_judge_exit(&facts, &failure) == EXIT_KILLED && failure == FAILURE_TIMEOUT, "137 that is ours: timeout");
	facts.killed_by_us = false;
	facts.finished_at = 12 * USECS_PER_SEC;
	check(osa_judge_exit(&facts, &failure) == EXIT_KILLED && failure == FAILURE_TIMEOUT, "137 after the timeout, whoever killed");
	facts.finished_at = 3 * USECS_PER_SEC;
	facts.engine_restarted = true;
	check(osa_judge_exit(&facts, &failure) == EXIT_LOST, "137 around a restart: lost");
	facts.exit_code = 143;
	check(osa_judge_exit(&facts, &failure) == EXIT_LOST, "143 too");
	facts.exit_code = 1;
	facts.oom_killed = true;
	check(osa_judge_exit(&facts, &failure) == EXIT_KILLED && failure == FAILURE_OOM, "out of memory with another code");
	facts.exit_code = 0;
	check(osa_judge_exit(&facts, &failure) == EXIT_WELL, "but not with exit 0");
	facts.finished_at = 0;
	check(osa_judge_exit(&facts, &failure) == EXIT_UNTRUSTED && failure == FAILURE_RUNTIME, "no end: not to be trusted");
}

/* A result at random, out of everything that can happen to a step. */
static StepResult
random_result(int n_records)
{
	StepResult	result = {0};
	int			left = n_records;

	result.kind = (ResultKind) (random() % 3);
	if (random() % 2 == 0)
		result.kind = RESULT_JUDGED;
	result.failure = (FailureKind) (1 + random() % FAILURE_INTERNAL);
	if (result.kind != RESULT_JUDGED)
		return result;
	result.n_rejected = random() % (left + 1) * (random() % 3 == 0);
	left -= result.n_rejected;
	result.n_errored = random() % (left + 1) * (random() % 3 == 0);
	result.n_passed = left - result.n_errored;
	result.n_retryable = result.n_errored > 0 ? random() % (result.n_errored + 1) : 0;
	return result;
}

/* One saga to its end; false if it broke a rule. */
static bool
random_saga(void)
{
	SagaStep	step = a_step();
	int			n_records = 1 + random() % 5;
	int			first_memory = 100;

	step.hook_index = 0;
	step.hook_count = 1 + random() % 5;
	step.reject_run = random() % 2;
	step.drop_errored = random() % 2;
	for (int n = 0; n < 1000; n++)
	{
		StepResult	result = random_result(n_records);
		SagaDecision d;

		osa_saga_decide(&step, &result, (random() % 1000) / 1000.0, &d);
		switch (d.action)
		{
			case SAGA_END:
				return d.event == (d.run_status == RUN_COMPLETED ? EVENT_VALIDATION_COMPLETED : EVENT_VALIDATION_FAILED) &&
					(d.run_status == RUN_COMPLETED ? d.next_index == step.hook_count :
					 d.run_status == RUN_REJECTED ? d.next_index == step.hook_index + 1 :
					 d.run_status == RUN_FAILED && d.next_index == step.hook_index && d.failure != FAILURE_NONE);
			case SAGA_ADVANCE:
				if (result.kind != RESULT_JUDGED || result.n_passed == 0 || !d.save_outcomes ||
					d.next_index != step.hook_index + 1 || d.next_index >= step.hook_count)
					return false;
				step.hook_index++;
				step.rejected_before |= result.n_rejected > 0;
				n_records = result.n_passed;
				step.attempt = step.first_attempt = 1;
				step.free_reruns = 0;
				step.memory = first_memory;
				break;
			case SAGA_RETRY:
				if (d.delay < 0 || d.delay > limits.retry_delay_max || d.next_memory > step.max_memory ||
					d.next_memory < step.memory || d.next_index != step.hook_index || d.save_outcomes ||
					++step.attempt - step.first_attempt > limits.retries)
					return false;
				step.memory = d.next_memory;
				break;
			case SAGA_RERUN:
				if (result.kind != RESULT_LOST || ++step.free_reruns > OSA_FREE_RERUNS)
					return false;
				break;
		}
	}
	return false;				/* it must have ended by now */
}

int
main(int argc, char **argv)
{
	bool		good = true;

	srandom(argc > 1 ? atoi(argv[1]) : 1);
	test_judged();
	test_failed();
	test_policy();
	for (int i = 0; i < 1000000 && good; i++)
		good = random_saga();
	check(good, "a million random sagas end once, by the rules");
	printf("1..%d\n", n_tests);
	return n_failed > 0;
}
