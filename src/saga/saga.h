/*
 * saga.h
 *		The saga as a pure state machine: (run, step, result) -> decision.
 *		No I/O, no SPI, no clock, no allocation, nothing that raises: it fills
 *		the caller's struct, so that it can be tested and fuzzed alone.
 *
 * A step's result is a small summary.  Its rows go past the saga, straight
 * from the contract to the store.
 */
#ifndef OSA_SAGA_H
#define OSA_SAGA_H

#include "types.h"

/* Free re-runs (host or engine restarts) before one spends an attempt. */
#define OSA_FREE_RERUNS	3

/* Where a run stands when a result of its current step arrives. */
typedef struct SagaStep
{
	int			hook_index;
	int			hook_count;
	bool		reject_run;		/* on_rejection = reject_run */
	bool		drop_errored;	/* on_record_error = drop */
	bool		rejected_before;	/* an earlier hook rejected a record */
	int			attempt;		/* of the step, from 1, over all rounds */
	int			first_attempt;	/* of this round */
	int			free_reruns;
	int64		memory;			/* given to this attempt, bytes */
	int64		max_memory;		/* the runner's ceiling, bytes */
	const HookLimits *limits;
} SagaStep;

typedef enum ResultKind
{
	RESULT_JUDGED,				/* the hook ended well: counts say how */
	RESULT_FAILED,				/* failure says why */
	RESULT_LOST					/* host or engine restarted, or the container
								 * vanished over one: nobody's fault */
} ResultKind;

/* Counts are of all records of the step, earlier partial outcomes included. */
typedef struct StepResult
{
	ResultKind	kind;
	FailureKind failure;		/* RESULT_FAILED */
	bool		final;			/* RESULT_FAILED: another attempt can't help */
	int			n_passed;
	int			n_rejected;
	int			n_errored;		/* retryable ones included */
	int			n_retryable;
} StepResult;

typedef enum SagaAction
{
	SAGA_ADVANCE,				/* next hook */
	SAGA_END,					/* terminal event */
	SAGA_RETRY,					/* another attempt, not before delay */
	SAGA_RERUN					/* the same attempt again, nothing spent */
} SagaAction;

typedef struct SagaDecision
{
	SagaAction	action;
	StepStatus	step_status;	/* this step, for ADVANCE and END */
	RunStatus	run_status;		/* for END */
	EventType	event;			/* for ADVANCE and END */
	int			next_index;		/* current_hook_index from now on */
	FailureKind failure;		/* why END failed or what is RETRYed */
	bool		save_outcomes;	/* the step's outcomes become final */
	bool		save_partial;	/* outcomes so far are kept for the next attempt */
	double		delay;			/* seconds, for RETRY; 0: at once */
	int64		next_memory;	/* of the next attempt */
} SagaDecision;

/* random: uniform in [0, 1), the caller's, for jitter. */
extern void osa_saga_decide(const SagaStep *step, const StepResult *result,
							double random, SagaDecision *decision);

/* ---- policy.c ---- */

/* Delay before the n-th retry (from 0): min(max, delay * 2^n), jittered by up
 * to a quarter downwards. */
extern double osa_retry_delay(double delay, double max, int n, double random);

typedef enum ExitVerdict
{
	EXIT_WELL,					/* read the outputs */
	EXIT_KILLED,				/* out of memory or timeout: read what is whole */
	EXIT_FAILED,				/* its own exit code */
	EXIT_UNTRUSTED,				/* times missing or impossible */
	EXIT_LOST					/* ended by a restart of its engine or host */
} ExitVerdict;

typedef struct ExitFacts
{
	int			exit_code;
	bool		oom_killed;
	TimestampTz started_at;		/* 0: unknown */
	TimestampTz finished_at;	/* 0: unknown or impossible */
	double		timeout;		/* seconds */
	bool		killed_by_us;	/* we killed it for its timeout */
	bool		engine_restarted;	/* while it ran */
} ExitFacts;

/* *failure: oom, timeout, hook_exit, runtime or none. */
extern ExitVerdict osa_judge_exit(const ExitFacts *facts, FailureKind *failure);

#endif							/* OSA_SAGA_H */
