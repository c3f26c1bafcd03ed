/*
 * policy.c
 *		Pure judgements beside the saga: how long to wait, what an exit means.
 */
#include "postgres.h"

#include "saga/saga.h"

double
osa_retry_delay(double delay, double max, int n, double random)
{
	double		base = delay;

	while (n-- > 0 && base < max)
		base *= 2;
	if (base > max)
		base = max;
	return base * (1.0 - 0.25 * random);
}

ExitVerdict
osa_judge_exit(const ExitFacts *facts, FailureKind *failure)
{
	bool		killed = facts->exit_code == 137;
	double		ran;

	*failure = FAILURE_NONE;
	if (facts->started_at == 0 || facts->finished_at == 0)
	{
		*failure = FAILURE_RUNTIME;
		return EXIT_UNTRUSTED;
	}
	if (facts->exit_code == 0)
		return EXIT_WELL;

	/* engines report the end up to some ms before the start: clamp */
	ran = Max(0.0, (double) (facts->finished_at - facts->started_at) / USECS_PER_SEC);
	if (killed && (facts->killed_by_us || ran >= facts->timeout))
	{
		*failure = FAILURE_TIMEOUT;
		return EXIT_KILLED;
	}
	/* 255: what Docker says of one whose end it did not see */
	if ((killed || facts->exit_code == 143 || facts->exit_code == 255) &&
		facts->engine_restarted && !facts->oom_killed)
		return EXIT_LOST;
	if (killed || facts->oom_killed)
	{
		*failure = FAILURE_OOM;
		return EXIT_KILLED;
	}
	*failure = FAILURE_HOOK_EXIT;
	return EXIT_FAILED;
}
