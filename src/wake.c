/*
 * wake.c
 *		Collects a transaction's wake-ups and hands them to the worker of this
 *		database when it commits.  Runs in any backend; what runs after the
 *		commit must not raise.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "slot.h"
#include "wake.h"

/* This transaction's; the array lives in TopTransactionContext. */
static OsaWake *pending = NULL;
static int	n_pending = 0;
static int	n_allocated = 0;
static bool armed = false;
static bool overflow = false;

/*
 * osa_wake_at_commit remembers a delivery.  A rollback to a savepoint does not
 * take it back: the worker finds nothing to claim then.
 */
void
osa_wake_at_commit(int64 delivery_id, int32 priority)
{
	if (osa_shared == NULL)
		return;
	armed = true;
	if (delivery_id == 0 && n_pending > 0 && pending[n_pending - 1].delivery_id == 0)
		return;
	if (n_pending >= OSA_FEED_SIZE)
	{
		overflow = true;
		return;
	}
	if (n_pending == n_allocated)
	{
		int			n = n_allocated == 0 ? 8 : n_allocated * 2;

		if (pending == NULL)
			pending = MemoryContextAlloc(TopTransactionContext, n * sizeof(OsaWake));
		else
			pending = repalloc(pending, n * sizeof(OsaWake));
		n_allocated = n;
	}
	pending[n_pending].delivery_id = delivery_id;
	pending[n_pending].priority = priority;
	n_pending++;
}

static void
forget(void)
{
	pending = NULL;
	n_pending = n_allocated = 0;
	armed = overflow = false;
}

static void
wake_xact_callback(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			if (armed)
				osa_prepared_mark();
			break;
		case XACT_EVENT_PREPARE:
			if (armed)
				osa_prepared_mark();
			forget();
			break;
		case XACT_EVENT_COMMIT:
			if (armed)
				osa_slot_feed(pending, n_pending, overflow);

			/*
			 * COMMIT PREPARED has no callback of its own, but its command's
			 * transaction commits afterwards.  The worker's own commits are
			 * none, and would keep it busy.
			 */
			if (osa_prepared_counted() && OidIsValid(MyDatabaseId) && osa_my_slot == NULL)
				osa_slot_stir();
			forget();
			break;
		case XACT_EVENT_ABORT:
			forget();
			break;
		default:
			break;
	}
}

void
osa_wake_init(void)
{
	RegisterXactCallback(wake_xact_callback, NULL);
}
