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

/*
 * When several units in a row meet a lock, a whole table may be locked: then
 * none tries for a while, so that the loop does not spend its turns waiting.
 */
#define LOCKED_IN_ROW		3
#define PAUSE_FIRST_MS		100
#define PAUSE_MAX_MS		1000

static int	n_locked_in_row;
static const void *last_locked; /* the same unit again tells nothing new */
static int	pause_ms;
static TimestampTz pause_until;

static GuardVerdict classify(int sqlerrcode, bool timed_out);
static void note_verdict(GuardVerdict verdict, const void *unit);

GuardVerdict
osa_guard(void (*fn) (void *arg), void *arg, GuardError *error)
{
	MemoryContext context = CurrentMemoryContext;
	TimestampTz started_at = GetCurrentTimestamp();
	volatile GuardVerdict verdict = GUARD_OK;

	if (started_at < pause_until)
	{
		strcpy(error->message, "tables are locked");
		return GUARD_LOCKED;
	}
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
	note_verdict(verdict, arg != NULL ? arg : (const void *) fn);
	return verdict;
}

static void
note_verdict(GuardVerdict verdict, const void *unit)
{
	if (verdict == GUARD_ERROR)
		osa_count(COUNTER_ERRORS, 1);
	if (verdict != GUARD_LOCKED)
	{
		n_locked_in_row = pause_ms = 0;
		last_locked = NULL;
		return;
	}
	if (unit == last_locked)
		return;
	last_locked = unit;
	if (++n_locked_in_row < LOCKED_IN_ROW)
		return;
	pause_ms = Min(Max(pause_ms * 2, PAUSE_FIRST_MS), PAUSE_MAX_MS);
	pause_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
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
