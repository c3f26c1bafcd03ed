/*
 * launcher_start.c
 *		The launcher's starts of workers: which databases are due, what happens
 *		when there is no slot of ours or no worker process of the server's.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"

#include "guc.h"
#include "launcher.h"
#include "slot.h"

/* Workers that have been started and have not found the extension yet. */
#define MAX_PROBES			4

/* Nobody tells when a worker slot of the server's becomes free. */
#define NO_FREE_MAX_MS		8000

static TimestampTz no_free_until = 0;
static int	no_free_delay_ms = 0;

static void start_due(TimestampTz now);
static int	count_probes(void);
static void complain_of_slots(int n_probes);
static bool start_worker(Database *database, TimestampTz now);
static bool register_worker(Database *database, int number, uint32 generation);
static void no_free_worker(Database *database, OsaSlot *slot, TimestampTz now);
static bool wants_worker(const Database *database);

void
osa_workers_start_due(TimestampTz now)
{
	start_due(now);
	complain_of_slots(count_probes());
}

/* Those known not to have had the extension come last. */
static void
start_due(TimestampTz now)
{
	int			n_probes = count_probes();

	for (int absent = 0; absent <= 1; absent++)
	{
		HASH_SEQ_STATUS seq;
		Database   *database;

		hash_seq_init(&seq, osa_databases);
		while ((database = hash_seq_search(&seq)) != NULL)
		{
			if (database->absent != (absent == 1) || database->due_at > now ||
				!wants_worker(database))
				continue;
			if (n_probes >= MAX_PROBES || (now < no_free_until && !database->absent) ||
				!start_worker(database, now))
			{
				hash_seq_term(&seq);
				return;
			}
			n_probes = count_probes();
		}
	}

	if (no_free_delay_ms != 0 && now >= no_free_until)
	{
		ereport(LOG, (errmsg("every osa_validation worker has a worker process again")));
		no_free_delay_ms = 0;
	}
}

/* Something of ours ended: what it leaves may be what others wait for. */
void
osa_workers_try_again(TimestampTz now)
{
	no_free_until = now;
}

long
osa_workers_time_to_sleep(void)
{
	HASH_SEQ_STATUS seq;
	Database   *database;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz wake_at = TimestampTzPlusMilliseconds(now, ABSENT_RECHECK_MS);
	bool		full;
	int			n_probes = count_probes();

	/* an end tells us; the clock is for one that never attached */
	if (n_probes > 0)
		wake_at = TimestampTzPlusMilliseconds(now, ATTACH_TIMEOUT_MS);
	full = n_probes >= MAX_PROBES;

	hash_seq_init(&seq, osa_databases);
	while ((database = hash_seq_search(&seq)) != NULL)
	{
		if (!full && wants_worker(database))
			wake_at = Min(wake_at, Max(database->due_at, no_free_until));
	}
	return Max(TimestampDifferenceMilliseconds(now, wake_at), 0);
}

/* Is a start of a worker there wanted, now or later? */
static bool
wants_worker(const Database *database)
{
	OsaSlot    *slot;
	bool		result;

	if (!database->seen || !database->allowed)
		return false;
	LWLockAcquire(osa_shared->lock, LW_SHARED);
	slot = osa_slot_find(database->oid);
	result = slot == NULL ||
		(slot->state == SLOT_IDLE && pg_atomic_read_u32(&slot->blocks) == 0);
	LWLockRelease(osa_shared->lock);
	return result;
}

static int
count_probes(void)
{
	int			n = 0;

	LWLockAcquire(osa_shared->lock, LW_SHARED);
	for (int i = 0; i < osa_shared->n_slots; i++)
	{
		SlotState	state = osa_shared->slots[i].state;

		n += state == SLOT_STARTING || state == SLOT_PROBING;
	}
	LWLockRelease(osa_shared->lock);
	return n;
}

/* False: there is no use in trying further databases now. */
static bool
start_worker(Database *database, TimestampTz now)
{
	OsaSlot    *slot;
	bool		startable = false;
	uint32		generation = 0;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	slot = osa_slot_take(database->oid);
	if (slot != NULL && slot->state == SLOT_IDLE && pg_atomic_read_u32(&slot->blocks) == 0)
	{
		startable = true;
		generation = ++slot->generation;
		slot->state = SLOT_STARTING;
		slot->verdict = VERDICT_UNKNOWN;
		slot->verdict_notes = 0;
		slot->started_at = now;
	}
	LWLockRelease(osa_shared->lock);

	if (slot == NULL)
	{
		/* its turn comes when one becomes free */
		database->waits_for_slot = true;
		database->due_at = TimestampTzPlusMilliseconds(now, DELAY_MAX_MS);
	}
	if (!startable)
		return true;

	if (!register_worker(database, slot - osa_shared->slots, generation))
	{
		no_free_worker(database, slot, now);
		return false;
	}
	database->started_at = now;
	database->waits_for_slot = false;
	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	slot->no_free_worker = false;
	LWLockRelease(osa_shared->lock);
	return true;
}

/*
 * Hands the registration to the postmaster.  False: no worker slot is free.
 */
static bool
register_worker(Database *database, int number, uint32 generation)
{
	BackgroundWorker worker;
	WorkerStart start;
	MemoryContext context;
	bool		done;

	StaticAssertStmt(sizeof(WorkerStart) <= BGW_EXTRALEN, "WorkerStart must fit bgw_extra");

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "osa_validation", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "osa_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "osa_validation worker for database %u", database->oid);
	strlcpy(worker.bgw_type, "osa_validation worker", BGW_MAXLEN);
	memset(&start, 0, sizeof(start));
	start.slot = number;
	start.generation = generation;
	start.database = database->oid;
	memcpy(worker.bgw_extra, &start, sizeof(start));

	if (database->handle != NULL)
	{
		pfree(database->handle);
		database->handle = NULL;
	}
	context = MemoryContextSwitchTo(TopMemoryContext);
	done = RegisterDynamicBackgroundWorker(&worker, &database->handle);
	MemoryContextSwitchTo(context);
	return done;
}

/*
 * max_worker_processes is exhausted: logged when it begins, shown by osa_status
 * of every database that waits, tried again with back-off.
 */
static void
no_free_worker(Database *database, OsaSlot *slot, TimestampTz now)
{
	HASH_SEQ_STATUS seq;
	Database   *other;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	slot->state = SLOT_IDLE;
	hash_seq_init(&seq, osa_databases);
	while ((other = hash_seq_search(&seq)) != NULL)
	{
		if (!other->seen || !other->allowed || other->absent || other->due_at > now)
			continue;
		slot = osa_slot_take(other->oid);
		if (slot != NULL && slot->state == SLOT_IDLE)
			slot->no_free_worker = true;
	}
	LWLockRelease(osa_shared->lock);
	ConditionVariableBroadcast(&osa_shared->left);

	/* another look where there was nothing can wait */
	if (database->absent)
	{
		database->due_at = TimestampTzPlusMilliseconds(now, database->unsure ?
													   UNSURE_RECHECK_MS : ABSENT_RECHECK_MS);
		return;
	}
	if (no_free_delay_ms == 0)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no osa_validation worker for database \"%s\": all worker processes are in use, trying again",
						NameStr(database->name)),
				 errhint("Raise max_worker_processes (%d) and restart the server.",
						 max_worker_processes)));
	no_free_delay_ms = no_free_delay_ms == 0 ? DELAY_MIN_MS :
		Min(no_free_delay_ms * 2, NO_FREE_MAX_MS);
	no_free_until = TimestampTzPlusMilliseconds(now, no_free_delay_ms);
}

/*
 * Says once that slots are missing: not while databases without the extension
 * are being looked into, which give theirs back.
 */
static void
complain_of_slots(int n_probes)
{
	static bool complained = false;
	HASH_SEQ_STATUS seq;
	Database   *database;
	int			n_waiting = 0;

	hash_seq_init(&seq, osa_databases);
	while ((database = hash_seq_search(&seq)) != NULL)
		n_waiting += database->waits_for_slot && !database->absent;
	if (n_waiting == 0)
		complained = false;
	if (n_waiting == 0 || n_probes > 0 || complained)
		return;
	complained = true;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg_plural("osa_validation workers run in %d database, no further one is looked into",
						   "osa_validation workers run in %d databases, no further one is looked into",
						   osa_guc_max_databases, osa_guc_max_databases),
			 errdetail_plural("%d more database may need one.", "%d more databases may need one.",
							  n_waiting, n_waiting),
			 errhint("Raise osa_validation.max_databases and restart the server.")));
}
