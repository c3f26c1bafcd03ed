/*
 * slot.c
 *		The life of slots: see slot.h for the states.  Runs in the launcher,
 *		in workers, and in backends at the end of their transactions, where it
 *		must not raise.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/spin.h"

#include "slot.h"

OsaSlot    *osa_my_slot = NULL;

static uint32 my_generation;

static void detach(int code, Datum arg);

/* ---- the lock is held ---- */

OsaSlot *
osa_slot_find(Oid database)
{
	for (int i = 0; i < osa_shared->n_slots; i++)
	{
		if (osa_shared->slots[i].database == database && OidIsValid(database))
			return &osa_shared->slots[i];
	}
	return NULL;
}

OsaSlot *
osa_slot_take(Oid database)
{
	OsaSlot    *slot = osa_slot_find(database);

	for (int i = 0; slot == NULL && i < osa_shared->n_slots; i++)
	{
		if (osa_shared->slots[i].state == SLOT_FREE)
		{
			slot = &osa_shared->slots[i];
			slot->database = database;
			slot->state = SLOT_IDLE;
			for (int c = 0; c < N_COUNTERS; c++)
				pg_atomic_write_u64(&slot->counters[c], 0);
			pg_atomic_write_u64(&slot->last_turn_at, 0);
		}
	}
	return slot;
}

void
osa_slot_free(OsaSlot *slot)
{
	Assert(slot->state == SLOT_IDLE && pg_atomic_read_u32(&slot->blocks) == 0);
	slot->database = InvalidOid;
	slot->state = SLOT_FREE;
	slot->no_free_worker = false;
	SpinLockAcquire(&slot->mutex);
	slot->n_wakes = 0;
	slot->overflow = slot->stirred = false;
	SpinLockRelease(&slot->mutex);
}

static bool
has_process(const OsaSlot *slot)
{
	return slot->state == SLOT_STARTING || slot->state == SLOT_PROBING ||
		slot->state == SLOT_RUNNING;
}

static void
wake_launcher_locked(void)
{
	if (osa_shared->launcher != NULL)
		SetLatch(osa_shared->launcher);
}

/* ---- the worker ---- */

/*
 * osa_slot_attach is called before the worker connects, so that its exit
 * callback runs after the process has left the database for everyone to see:
 * who waits for it to leave can go on at once.
 */
bool
osa_slot_attach(int number, uint32 generation)
{
	OsaSlot    *slot = &osa_shared->slots[number];
	bool		wanted;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	wanted = slot->state == SLOT_STARTING && slot->generation == generation;
	if (wanted && pg_atomic_read_u32(&slot->blocks) > 0)
	{
		slot->state = SLOT_ENDED;
		slot->verdict = VERDICT_AGAIN;
		wake_launcher_locked();
		wanted = false;
	}
	if (wanted)
	{
		slot->state = SLOT_PROBING;
		slot->pid = MyProcPid;
		slot->latch = &MyProc->procLatch;
		slot->started_at = GetCurrentTimestamp();
		slot->verdict = VERDICT_UNKNOWN;
		pg_atomic_write_u32(&slot->recheck, 0);
		SpinLockAcquire(&slot->mutex);
		slot->n_wakes = 0;
		slot->overflow = slot->stirred = false;
		SpinLockRelease(&slot->mutex);
		osa_my_slot = slot;
		my_generation = generation;
	}
	LWLockRelease(osa_shared->lock);

	if (wanted)
	{
		on_shmem_exit(detach, 0);
		osa_pools_forget(slot->database);
	}
	else
		ConditionVariableBroadcast(&osa_shared->left);
	return wanted;
}

static void
detach(int code, Datum arg)
{
	OsaSlot    *slot = osa_my_slot;

	(void) code;
	(void) arg;
	osa_pools_forget(slot->database);
	osa_my_slot = NULL;
	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	if (slot->generation == my_generation && slot->pid == MyProcPid)
	{
		slot->pid = 0;
		slot->latch = NULL;
		slot->state = SLOT_ENDED;
		wake_launcher_locked();
	}
	LWLockRelease(osa_shared->lock);
	ConditionVariableBroadcast(&osa_shared->left);
}

void
osa_slot_running(void)
{
	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	osa_my_slot->state = SLOT_RUNNING;
	wake_launcher_locked();
	LWLockRelease(osa_shared->lock);
}

void
osa_slot_verdict(SlotVerdict verdict, uint64 notes, bool unsure)
{
	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	osa_my_slot->verdict = verdict;
	osa_my_slot->verdict_notes = notes;
	osa_my_slot->verdict_unsure = unsure;
	LWLockRelease(osa_shared->lock);
}

int
osa_slot_take_wakes(OsaWake *wakes, int max, bool *overflow, bool *prepared)
{
	OsaSlot    *slot = osa_my_slot;
	int			n;

	SpinLockAcquire(&slot->mutex);
	n = Min(max, slot->n_wakes);
	for (int i = 0; i < n; i++)
		wakes[i] = slot->wakes[(slot->first + i) % OSA_FEED_SIZE];
	slot->first = (slot->first + n) % OSA_FEED_SIZE;
	slot->n_wakes -= n;
	*overflow = slot->overflow;
	*prepared = slot->stirred;
	slot->overflow = slot->stirred = false;
	SpinLockRelease(&slot->mutex);
	return n;
}

/* ---- backends ---- */

/* The worker of this backend's database, the lock taken; NULL: none, not taken. */
static OsaSlot *
lock_running_slot(void)
{
	OsaSlot    *slot;

	LWLockAcquire(osa_shared->lock, LW_SHARED);
	slot = osa_slot_find(MyDatabaseId);
	if (slot != NULL && (slot->state == SLOT_RUNNING || slot->state == SLOT_PROBING))
		return slot;
	LWLockRelease(osa_shared->lock);
	return NULL;
}

/* Without a worker nothing is lost: each one begins with a scan. */
void
osa_slot_feed(const OsaWake *wakes, int n, bool overflow)
{
	OsaSlot    *slot = lock_running_slot();

	if (slot == NULL)
		return;
	SpinLockAcquire(&slot->mutex);
	for (int i = 0; i < n; i++)
	{
		if (slot->n_wakes == OSA_FEED_SIZE)
		{
			overflow = true;
			break;
		}
		slot->wakes[(slot->first + slot->n_wakes++) % OSA_FEED_SIZE] = wakes[i];
	}
	slot->overflow |= overflow;
	SpinLockRelease(&slot->mutex);
	SetLatch(slot->latch);
	LWLockRelease(osa_shared->lock);
}

void
osa_slot_stir(void)
{
	OsaSlot    *slot = lock_running_slot();

	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		slot->stirred = true;
		SpinLockRelease(&slot->mutex);
		SetLatch(slot->latch);
		LWLockRelease(osa_shared->lock);
	}
	else if (pg_atomic_read_u32(&osa_shared->wants_commits) != 0)
		osa_note(MyDatabaseId, NOTE_COMMIT);
}

/* ---- notes for the launcher ---- */

uint64
osa_notes_written(void)
{
	uint64		written;

	LWLockAcquire(osa_shared->lock, LW_SHARED);
	written = osa_shared->notes_written;
	LWLockRelease(osa_shared->lock);
	return written;
}

/*
 * osa_note leaves a note for the launcher; the ring may run over, which the
 * launcher sees by the numbers.  A worker of that database looks again too.
 */
void
osa_note(Oid database, NoteKind kind)
{
	OsaSlot    *slot;
	bool		pending = false;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	if (kind == NOTE_COMMIT && osa_shared->notes_written > osa_shared->notes_read)
	{
		/* these come in floods: one is enough */
		OsaNote    *last = &osa_shared->notes[(osa_shared->notes_written - 1) % OSA_NOTES];

		pending = last->database == database;
	}
	if (!pending)
	{
		OsaNote    *note = &osa_shared->notes[osa_shared->notes_written++ % OSA_NOTES];

		note->database = database;
		note->kind = kind;
	}
	slot = osa_slot_find(database);
	if (kind == NOTE_EXTENSION && slot != NULL)
	{
		pg_atomic_write_u32(&slot->recheck, 1);
		if (slot->latch != NULL)
			SetLatch(slot->latch);
	}
	wake_launcher_locked();
	LWLockRelease(osa_shared->lock);
}

void
osa_launcher_wake(void)
{
	LWLockAcquire(osa_shared->lock, LW_SHARED);
	wake_launcher_locked();
	LWLockRelease(osa_shared->lock);
}

/* ---- commands that need a database for themselves ---- */

bool
osa_slot_block(Oid database)
{
	OsaSlot    *slot;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	slot = osa_slot_take(database);
	if (slot != NULL)
	{
		pg_atomic_fetch_add_u32(&slot->blocks, 1);
		if (slot->latch != NULL)
			SetLatch(slot->latch);
	}
	LWLockRelease(osa_shared->lock);
	return slot != NULL;
}

void
osa_slot_unblock(Oid database)
{
	OsaSlot    *slot;

	LWLockAcquire(osa_shared->lock, LW_EXCLUSIVE);
	slot = osa_slot_find(database);
	if (slot != NULL && pg_atomic_read_u32(&slot->blocks) > 0)
		pg_atomic_fetch_sub_u32(&slot->blocks, 1);
	wake_launcher_locked();
	LWLockRelease(osa_shared->lock);
}

bool
osa_slot_has_process(Oid database)
{
	OsaSlot    *slot;
	bool		result;

	LWLockAcquire(osa_shared->lock, LW_SHARED);
	slot = osa_slot_find(database);
	result = slot != NULL && has_process(slot);
	LWLockRelease(osa_shared->lock);
	return result;
}
