/*
 * guard.c
 *		Runs a unit of the worker's work and turns an ERROR into a value.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/errcodes.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "guard.h"
#include "shmem.h"
#include "store/spi.h"
#include "types.h"

static GuardVerdict classify(int sqlerrcode, bool timed_out);

GuardVerdict
osa_guard(void (*fn) (void *arg), void *arg, GuardError *error)
{
	MemoryContext context = CurrentMemoryContext;
	TimestampTz started_at = GetCurrentTimestamp();
	volatile GuardVerdict verdict = GUARD_OK;

	PG_TRY();
	{
		fn(arg);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		HOLD_INTERRUPTS();
		edata = CopyErrorData();
		verdict = classify(edata->sqlerrcode,
						   TimestampDifferenceExceeds(started_at, GetCurrentTimestamp(), OSA_TX_TIMEOUT_MS));
		strlcpy(error->message, edata->message ? edata->message : "", sizeof(error->message));
		osa_clean_text(error->message, strlen(error->message), false);
		/* a lock that somebody holds is no news */
		if (verdict != GUARD_LOCKED)
			EmitErrorReport();
		osa_tx_abort();
		FlushErrorState();
		FreeErrorData(edata);
		MemoryContextSwitchTo(context);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	if (verdict == GUARD_ERROR)
		osa_count(COUNTER_ERRORS, 1);
	return verdict;
}

/* timed_out: the unit took as long as our own statement timeout. */
static GuardVerdict
classify(int sqlerrcode, bool timed_out)
{
	if (sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		(sqlerrcode == ERRCODE_QUERY_CANCELED && !timed_out))
		return GUARD_LOCKED;
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
			return GUARD_CONFLICT;
		case ERRCODE_INSUFFICIENT_RESOURCES:
			return GUARD_RESOURCES;
		default:
			return GUARD_ERROR;
	}
}
