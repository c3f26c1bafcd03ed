/*
 * shmem.c
 *		Shared memory: its layout and set-up, the pools that the views of this
 *		moment read, the worker's counters.  Runs in every process of a server
 *		that preloads the library.  The life of slots is in slot.c.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "guc.h"
#include "slot.h"

#define TRANCHE "osa_validation"

OsaShared  *osa_shared = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(MAXALIGN(sizeof(OsaShared)));
	RequestAddinShmemSpace(MAXALIGN(mul_size(osa_guc_max_databases, sizeof(OsaSlot))));
	RequestAddinShmemSpace(MAXALIGN(sizeof(OsaFlightShown) * OSA_POOL_FLIGHTS));
	RequestAddinShmemSpace(MAXALIGN(sizeof(OsaRunnerShown) * OSA_POOL_RUNNERS));
	RequestNamedLWLockTranche(TRANCHE, 2);
}

static void
init_shared(OsaShared *shared)
{
	LWLockPadded *locks = GetNamedLWLockTranche(TRANCHE);

	shared->lock = &locks[0].lock;
	shared->pool_lock = &locks[1].lock;
	ConditionVariableInit(&shared->left);

	/*
	 * Prepared transactions outlive the server, and we can't know whose they
	 * are: count them until a worker has seen that there are none.
	 */
	pg_atomic_init_u64(&shared->prepared_marks, max_prepared_xacts > 0 ? 1 : 0);
	pg_atomic_init_u64(&shared->prepared_cleared, 0);
	pg_atomic_init_u64(&shared->prepared_marked_at, (uint64) GetCurrentTimestamp());
	pg_atomic_init_u32(&shared->wants_commits, 0);

	shared->n_slots = osa_guc_max_databases;
	for (int i = 0; i < shared->n_slots; i++)
	{
		OsaSlot    *slot = &shared->slots[i];

		memset(slot, 0, sizeof(*slot));
		SpinLockInit(&slot->mutex);
		pg_atomic_init_u32(&slot->blocks, 0);
		pg_atomic_init_u32(&slot->recheck, 0);
		pg_atomic_init_u64(&slot->last_turn_at, 0);
		for (int c = 0; c < N_COUNTERS; c++)
			pg_atomic_init_u64(&slot->counters[c], 0);
	}
}

static void
shmem_startup(void)
{
	bool		found;
	bool		ignored;
	OsaSlot    *slots;
	OsaFlightShown *flights;
	OsaRunnerShown *runners;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	osa_shared = ShmemInitStruct("osa_validation", sizeof(OsaShared), &found);
	slots = ShmemInitStruct("osa_validation slots",
							mul_size(osa_guc_max_databases, sizeof(OsaSlot)), &ignored);
	flights = ShmemInitStruct("osa_validation flights",
							  sizeof(OsaFlightShown) * OSA_POOL_FLIGHTS, &ignored);
	runners = ShmemInitStruct("osa_validation runners",
							  sizeof(OsaRunnerShown) * OSA_POOL_RUNNERS, &ignored);
	if (!found)
	{
		memset(osa_shared, 0, sizeof(OsaShared));
		osa_shared->slots = slots;
		osa_shared->flights = flights;
		osa_shared->runners = runners;
		init_shared(osa_shared);
		memset(flights, 0, sizeof(OsaFlightShown) * OSA_POOL_FLIGHTS);
		memset(runners, 0, sizeof(OsaRunnerShown) * OSA_POOL_RUNNERS);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
osa_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
osa_shmem_available(void)
{
	return osa_shared != NULL;
}

/* ---- prepared transactions ---- */

bool
osa_prepared_counted(void)
{
	return osa_shared != NULL &&
		pg_atomic_read_u64(&osa_shared->prepared_marks) !=
		pg_atomic_read_u64(&osa_shared->prepared_cleared);
}

/*
 * Called before and after a marked transaction becomes prepared: the first
 * call counts it before anybody can commit it, the second one after anybody
 * who looks could have missed it.
 */
void
osa_prepared_mark(void)
{
	pg_atomic_write_u64(&osa_shared->prepared_marked_at, (uint64) GetCurrentTimestamp());
	pg_atomic_fetch_add_u64(&osa_shared->prepared_marks, 1);
}

void
osa_prepared_clear(uint64 marks)
{
	pg_atomic_write_u64(&osa_shared->prepared_cleared, marks);

	/* One may have been committed while it still counted, unnoticed. */
	LWLockAcquire(osa_shared->lock, LW_SHARED);
	for (int i = 0; i < osa_shared->n_slots; i++)
	{
		OsaSlot    *slot = &osa_shared->slots[i];

		if (slot->state != SLOT_RUNNING)
			continue;
		SpinLockAcquire(&slot->mutex);
		slot->stirred = true;
		SpinLockRelease(&slot->mutex);
		SetLatch(slot->latch);
	}
	LWLockRelease(osa_shared->lock);
}

/* ---- counters ---- */

void
osa_count(OsaCounter counter, uint64 n)
{
	if (osa_my_slot != NULL)
		pg_atomic_fetch_add_u64(&osa_my_slot->counters[counter], n);
}

void
osa_count_max(OsaCounter counter, uint64 value)
{
	if (osa_my_slot != NULL &&
		value > pg_atomic_read_u64(&osa_my_slot->counters[counter]))
		pg_atomic_write_u64(&osa_my_slot->counters[counter], value);
}

void
osa_worker_shown(OsaWorkerShown *shown)
{
	OsaSlot    *slot;

	memset(shown, 0, sizeof(*shown));
	if (osa_shared == NULL)
		return;
	LWLockAcquire(osa_shared->lock, LW_SHARED);
	slot = osa_slot_find(MyDatabaseId);
	if (slot != NULL)
	{
		shown->known = true;
		if (slot->state == SLOT_RUNNING)
		{
			shown->pid = slot->pid;
			shown->started_at = slot->started_at;
		}
		shown->last_turn_at = (TimestampTz) pg_atomic_read_u64(&slot->last_turn_at);
		shown->no_free_worker = slot->no_free_worker;
		for (int c = 0; c < N_COUNTERS; c++)
			shown->counters[c] = pg_atomic_read_u64(&slot->counters[c]);
	}
	LWLockRelease(osa_shared->lock);
}

/* ---- pools ---- */

int
osa_show_flight(int entry, const OsaFlightShown *shown)
{
	static int	hint = 0;

	if (osa_my_slot == NULL)
		return -1;
	LWLockAcquire(osa_shared->pool_lock, LW_EXCLUSIVE);
	for (int i = 0; entry < 0 && i < OSA_POOL_FLIGHTS; i++)
	{
		int			candidate = (hint + i) % OSA_POOL_FLIGHTS;

		if (!osa_shared->flights[candidate].used)
			entry = hint = candidate;
	}
	if (entry >= 0)
	{
		osa_shared->flights[entry] = *shown;
		osa_shared->flights[entry].used = true;
		osa_shared->flights[entry].database = osa_my_slot->database;
	}
	LWLockRelease(osa_shared->pool_lock);
	return entry;
}

void
osa_hide_flight(int entry)
{
	if (osa_my_slot == NULL || entry < 0)
		return;
	LWLockAcquire(osa_shared->pool_lock, LW_EXCLUSIVE);
	osa_shared->flights[entry].used = false;
	LWLockRelease(osa_shared->pool_lock);
}

int
osa_show_runner(int entry, const OsaRunnerShown *shown)
{
	if (osa_my_slot == NULL)
		return -1;
	LWLockAcquire(osa_shared->pool_lock, LW_EXCLUSIVE);
	for (int i = 0; entry < 0 && i < OSA_POOL_RUNNERS; i++)
	{
		if (!osa_shared->runners[i].used)
			entry = i;
	}
	if (entry >= 0)
	{
		osa_shared->runners[entry] = *shown;
		osa_shared->runners[entry].used = true;
		osa_shared->runners[entry].database = osa_my_slot->database;
	}
	LWLockRelease(osa_shared->pool_lock);
	return entry;
}

void
osa_hide_runner(int entry)
{
	if (osa_my_slot == NULL || entry < 0)
		return;
	LWLockAcquire(osa_shared->pool_lock, LW_EXCLUSIVE);
	osa_shared->runners[entry].used = false;
	LWLockRelease(osa_shared->pool_lock);
}

/* A worker starts or has ended: nothing of its database is in flight. */
void
osa_pools_forget(Oid database)
{
	LWLockAcquire(osa_shared->pool_lock, LW_EXCLUSIVE);
	for (int i = 0; i < OSA_POOL_FLIGHTS; i++)
	{
		if (osa_shared->flights[i].database == database)
			osa_shared->flights[i].used = false;
	}
	for (int i = 0; i < OSA_POOL_RUNNERS; i++)
	{
		if (osa_shared->runners[i].database == database)
			osa_shared->runners[i].used = false;
	}
	LWLockRelease(osa_shared->pool_lock);
}

int
osa_shown_flights(OsaFlightShown **flights)
{
	int			n = 0;

	*flights = NULL;
	if (osa_shared == NULL)
		return 0;
	*flights = palloc(sizeof(OsaFlightShown) * OSA_POOL_FLIGHTS);
	LWLockAcquire(osa_shared->pool_lock, LW_SHARED);
	for (int i = 0; i < OSA_POOL_FLIGHTS; i++)
	{
		if (osa_shared->flights[i].used && osa_shared->flights[i].database == MyDatabaseId)
			(*flights)[n++] = osa_shared->flights[i];
	}
	LWLockRelease(osa_shared->pool_lock);
	return n;
}

int
osa_shown_runners(OsaRunnerShown **runners)
{
	int			n = 0;

	*runners = NULL;
	if (osa_shared == NULL)
		return 0;
	*runners = palloc(sizeof(OsaRunnerShown) * OSA_POOL_RUNNERS);
	LWLockAcquire(osa_shared->pool_lock, LW_SHARED);
	for (int i = 0; i < OSA_POOL_RUNNERS; i++)
	{
		if (osa_shared->runners[i].used && osa_shared->runners[i].database == MyDatabaseId)
			(*runners)[n++] = osa_shared->runners[i];
	}
	LWLockRelease(osa_shared->pool_lock);
	return n;
}
