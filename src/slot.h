/*
 * slot.h
 *		The life of a database's slot in shared memory: who starts its worker,
 *		who asks it to leave, what it said when it ended.  Private to the
 *		launcher, the worker, the utility hook and wake.c; others see shmem.h.
 *
 *	  FREE ── take ──> IDLE ── launcher registers ──> STARTING
 *	   ^                ^                                │ worker attaches
 *	   │ launcher:      │ launcher has read the end      v
 *	   │ no extension   └──────── ENDED <── exits ── PROBING ──> RUNNING
 *	   └── or database                        ^      (extension      │
 *	       gone                               │       found)         │
 *	                                          └──────────────────────┘
 */
#ifndef OSA_SLOT_H
#define OSA_SLOT_H

#include "shmem.h"

#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/s_lock.h"
#include "utils/timestamp.h"

#define OSA_NOTES			256

typedef enum SlotState
{
	SLOT_FREE,					/* no database */
	SLOT_IDLE,					/* a database, no worker */
	SLOT_STARTING,				/* registered with the postmaster */
	SLOT_PROBING,				/* attached, has not seen the extension yet */
	SLOT_RUNNING,
	SLOT_ENDED					/* the launcher has not read the end yet */
} SlotState;

/* What a worker said of its end. */
typedef enum SlotVerdict
{
	VERDICT_UNKNOWN,			/* nothing: probe again, with back-off */
	VERDICT_ABSENT,				/* the database does not have the extension */
	VERDICT_AGAIN				/* left because it was asked to, or because the
								 * extension is gone or another one: probe
								 * again at once */
} SlotVerdict;

typedef struct OsaSlot
{
	/* guarded by OsaShared->lock */
	Oid			database;
	SlotState	state;
	uint32		generation;		/* rises with each start: a late worker of an
								 * earlier one finds out and leaves */
	int			pid;			/* while attached, else 0 */
	Latch	   *latch;			/* of pid */
	TimestampTz started_at;		/* registered, then attached */
	bool		no_free_worker;
	SlotVerdict verdict;
	uint64		verdict_notes;	/* notes written when it began to look */
	bool		verdict_unsure; /* it saw prepared transactions of its database */

	pg_atomic_uint32 blocks;	/* commands that need the database for
								 * themselves; changed under the lock */
	pg_atomic_uint32 recheck;	/* extensions changed: look whether ours is
								 * still there */
	pg_atomic_uint64 last_turn_at;
	pg_atomic_uint64 counters[N_COUNTERS];

	/* guarded by the spinlock */
	slock_t		mutex;
	bool		overflow;		/* wakes got lost: scan */
	bool		stirred;		/* a commit while prepared ones are counted */
	int			first;
	int			n_wakes;
	OsaWake		wakes[OSA_FEED_SIZE];
} OsaSlot;

typedef enum NoteKind
{
	NOTE_EXTENSION,				/* extensions of that database changed */
	NOTE_COMMIT					/* a commit there while prepared transactions
								 * are counted */
} NoteKind;

typedef struct OsaNote
{
	Oid			database;
	NoteKind	kind;
} OsaNote;

typedef struct OsaShared
{
	LWLock	   *lock;			/* slots' lives, launcher, notes */
	LWLock	   *pool_lock;
	ConditionVariable left;		/* a worker has left its database */
	Latch	   *launcher;		/* NULL: none runs */

	/* For the launcher: a ring of what happened where. */
	uint64		notes_written;
	uint64		notes_read;
	OsaNote		notes[OSA_NOTES];

	/*
	 * Prepared transactions are counted while marks != cleared.  marked_at: no
	 * counted one was prepared after this.
	 */
	pg_atomic_uint64 prepared_marks;
	pg_atomic_uint64 prepared_cleared;
	pg_atomic_uint64 prepared_marked_at;

	pg_atomic_uint32 wants_commits; /* the launcher wants NOTE_COMMITs */

	int			n_slots;
	OsaSlot    *slots;
	OsaFlightShown *flights;
	OsaRunnerShown *runners;
} OsaShared;

extern OsaShared *osa_shared;	/* NULL: not preloaded */

/* ---- shmem.c ---- */

extern void osa_shmem_init(void);	/* in _PG_init while preloading */
extern void osa_pools_forget(Oid database);
extern bool osa_prepared_counted(void);
extern void osa_prepared_mark(void);

/* Clears the count as of marks and wakes every worker for a last look. */
extern void osa_prepared_clear(uint64 marks);

/* ---- slots; the lock must be held, exclusively to take one ---- */

extern OsaSlot *osa_slot_find(Oid database);
extern OsaSlot *osa_slot_take(Oid database);	/* finds or makes one; NULL: all
												 * are in use */
extern void osa_slot_free(OsaSlot *slot);

/* ---- the worker's own; the lock is taken inside ---- */

extern OsaSlot *osa_my_slot;	/* NULL: this process is no worker */

/* False: the launcher does not want this process (any more). */
extern bool osa_slot_attach(int number, uint32 generation);
extern void osa_slot_running(void);
extern void osa_slot_verdict(SlotVerdict verdict, uint64 notes, bool unsure);

/* ---- backends; the lock is taken inside; nothing here can raise ---- */

/* For this backend's database. */
extern void osa_slot_feed(const OsaWake *wakes, int n, bool overflow);
extern void osa_slot_stir(void);

extern uint64 osa_notes_written(void);
extern void osa_note(Oid database, NoteKind kind);	/* and wakes the launcher */
extern void osa_launcher_wake(void);

/* Asks the database's worker to leave, and lets none start. */
extern bool osa_slot_block(Oid database);	/* false: no slot was left */
extern void osa_slot_unblock(Oid database);
extern bool osa_slot_has_process(Oid database);

#endif							/* OSA_SLOT_H */
