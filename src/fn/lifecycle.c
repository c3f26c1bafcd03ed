/*
 * lifecycle.c
 *		What applications call of a run that exists: cancel, retry, wait; and
 *		its upkeep.
 *
 * Runs in backends.  osa_wait_validation looks again and again, since a
 * backend that waits must hold nothing that the worker needs.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "errors.h"
#include "fn/args.h"
#include "shmem.h"
#include "store/spi.h"
#include "store/submit.h"
#include "wake.h"

#define WAIT_FIRST_MS	50
#define WAIT_LONGEST_MS	200

/* Work of one osa_maintain(): the rest is the next call's. */
#define MAINTAIN_RUNS		1000
#define MAINTAIN_BATCHES	20

static void require_own_run(int64 run_id, const OsaCall *call);
static void no_such_run(int64 run_id) pg_attribute_noreturn();
static char *wait_for_end(int64 run_id, TimestampTz deadline);

PG_FUNCTION_INFO_V1(osa_cancel_validation);
PG_FUNCTION_INFO_V1(osa_retry_validation);
PG_FUNCTION_INFO_V1(osa_wait_validation);
PG_FUNCTION_INFO_V1(osa_maintain);

/* osa_cancel_validation(run, reason) → boolean */
Datum
osa_cancel_validation(PG_FUNCTION_ARGS)
{
	int64		run_id = osa_arg_int64(fcinfo, 0, "run");
	char	   *reason = osa_arg_text_opt(fcinfo, 1, "reason", OSA_REASON_MAX);
	bool		ended;
	OsaCall		call;

	osa_require_writable("osa_cancel_validation()");
	osa_call_begin(&call);
	require_own_run(run_id, &call);
	ended = osa_store_end_run(run_id, reason != NULL && *reason != '\0' ? reason : "cancelled");
	osa_call_end(&call);
	PG_RETURN_BOOL(ended);
}

/* osa_retry_validation(run, use_live) → boolean */
Datum
osa_retry_validation(PG_FUNCTION_ARGS)
{
	int64		run_id = osa_arg_int64(fcinfo, 0, "run");
	bool		use_live = osa_arg_bool(fcinfo, 1, "use_live");
	bool		retried;
	OsaCall		call;

	osa_require_writable("osa_retry_validation()");
	osa_call_begin(&call);
	require_own_run(run_id, &call);
	retried = osa_store_retry_run(run_id, use_live);
	osa_call_end(&call);
	PG_RETURN_BOOL(retried);
}

/* The run's owner, or who has the rights of the extension's. */
static void
require_own_run(int64 run_id, const OsaCall *call)
{
	char	   *owner = osa_store_run_owner(run_id);

	if (owner == NULL)
		no_such_run(run_id);
	if (strcmp(owner, GetUserNameFromId(call->caller, false)) != 0 &&
		!has_privs_of_role(call->caller, call->extension.owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for validation run " INT64_FORMAT, run_id),
				 errdetail("It was started by another role."),
				 errhint("Act as the role that started it, or as a member of the extension's owner.")));
}

static void
no_such_run(int64 run_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("validation run " INT64_FORMAT " does not exist", run_id),
			 errhint("View osa_progress lists the runs there are.")));
}

/* osa_wait_validation(run, timeout) → text */
Datum
osa_wait_validation(PG_FUNCTION_ARGS)
{
	int64		run_id = osa_arg_int64(fcinfo, 0, "run");
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline;
	text	   *result;
	char	   *status;
	OsaCall		call;

	osa_arg_required(fcinfo, 1, "timeout");
	deadline = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													   TimestampTzGetDatum(now),
													   PG_GETARG_DATUM(1)));
	if (deadline < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errhint("Give an interval such as '5 min', or '0' for a look.")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cannot wait in a REPEATABLE READ or SERIALIZABLE transaction"),
				 errdetail("Its snapshot would never show the end of the run."),
				 errhint("Wait in a READ COMMITTED transaction.")));

	osa_call_begin(&call);
	status = wait_for_end(run_id, deadline);
	/* the result must outlive SPI's memory */
	result = SPI_palloc(strlen(status) + VARHDRSZ);
	SET_VARSIZE(result, strlen(status) + VARHDRSZ);
	memcpy(VARDATA(result), status, strlen(status));
	osa_call_end(&call);
	PG_RETURN_TEXT_P(result);
}

/* Returns the status at the end, or as it is at the deadline. */
static char *
wait_for_end(int64 run_id, TimestampTz deadline)
{
	long		delay_ms = WAIT_FIRST_MS;

	for (;;)
	{
		bool		ended;
		bool		own;
		char	   *status = osa_store_run_status(run_id, &ended, &own);
		TimestampTz now = GetCurrentTimestamp();
		long		left_ms;

		if (status == NULL)
			no_such_run(run_id);
		if (!ended && own)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot wait for validation run " INT64_FORMAT " in the transaction that started it",
							run_id),
					 errdetail("It begins when this transaction commits."),
					 errhint("Commit first, then wait.")));
		if (ended || now >= deadline)
			return status;
		pfree(status);

		left_ms = TimestampDifferenceMilliseconds(now, deadline);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(delay_ms, Max(left_ms, 1)), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		delay_ms = Min(delay_ms * 2, WAIT_LONGEST_MS);
	}
}

/* osa_maintain() → jsonb */
Datum
osa_maintain(PG_FUNCTION_ARGS)
{
	int			n_expired;
	int			n_requeued;
	int64		n_pruned;
	OsaCall		call;

	(void) fcinfo;
	osa_require_writable("osa_maintain()");
	osa_call_begin(&call);
	n_requeued = osa_store_requeue_missing(MAINTAIN_RUNS);
	n_expired = osa_store_expire_runs(MAINTAIN_RUNS);
	n_pruned = osa_store_prune_progress(MAINTAIN_BATCHES);
	osa_wake_at_commit(0, 0);
	osa_call_end(&call);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(
														 psprintf("{\"expired\": %d, \"requeued\": %d, \"progress_pruned\": " INT64_FORMAT ", \"woken\": %s}",
																  n_expired, n_requeued, n_pruned,
																  osa_shmem_available() ? "true" : "false")));
}
