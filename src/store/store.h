/*
 * store.h
 *		The worker's SQL: look at deliveries, claim, load, commit a step,
 *		recover.  Everything here runs between osa_tx_begin and osa_tx_commit,
 *		which the caller brackets, except where it says otherwise.
 */
#ifndef OSA_STORE_H
#define OSA_STORE_H

#include "contract/contract.h"
#include "saga/saga.h"
#include "store/spi.h"
#include "types.h"

/* ---- the installation (install.c) ---- */

typedef struct Install
{
	pg_uuid_t	id;
	Oid			database;		/* that it was created in */
	char		node[40];		/* "": a worker has not run yet */
	char		node_mark[104];
	int			timeline;
	bool		paused;
	bool		stop_running;
	bool		mismatch;		/* a detected copy */
} Install;

extern void osa_store_install(Install *install);
/* Writes where it runs, where that is not known yet. */
extern void osa_store_set_place(const char *node, const char *mark, int timeline);
/* Marks the installation as a copy (fork or succession): paused, with the reason. */
extern void osa_store_mark_copy(const char *reason, const char *mismatch);

typedef struct RunnerRow
{
	char		name[OSA_NAME_MAX + 1];
	char		kind[16];
	char		endpoint[128];	/* "": the setting's */
	int			max_in_flight;	/* 0: default */
	int64		max_memory;		/* 0: default */
	double		max_cpu;		/* 0: default */
	bool		accept_unenforced;
	bool		enabled;
} RunnerRow;

extern int	osa_store_runners(RunnerRow **rows, MemoryContext context);

/* ---- deliveries (claim.c) ---- */

typedef struct QueuedDelivery
{
	int64		delivery_id;
	int32		priority;
	TimestampTz deliver_after;
	bool		claimed;		/* was claimed, by a worker that is gone */
	char		runner[OSA_NAME_MAX + 1];	/* "": needs none */
} QueuedDelivery;

/* Those of ids that wait; the others are gone or claimed. */
extern int	osa_store_look(const int64 *ids, int n, const pg_uuid_t *install,
						   QueuedDelivery **found, MemoryContext context);
/* The first limit ones that are due, by priority; or the next not yet due. */
extern int	osa_store_scan_due(int limit, const pg_uuid_t *install,
							   QueuedDelivery **found, MemoryContext context);
extern int	osa_store_scan_later(int limit, const pg_uuid_t *install,
								 QueuedDelivery **found, MemoryContext context);

typedef struct Claim
{
	int64		delivery_id;
	int64		event_id;
	int64		run_id;			/* 0: none */
	pg_uuid_t	token;
	int32		priority;
	int			claims;			/* this one included */
	EventType	type;
} Claim;

/* Claims those of ids that still wait, at most n; sets runs and steps running. */
extern int	osa_store_claim(const int64 *ids, int n, const pg_uuid_t *install,
							const char *worker, Claim *claims);

/* Adds to the strikes of a step; returns how many it has (0: no such step). */
extern int	osa_store_strike(int64 run_id, int hook_index, int n);

/* At start: claims of workers that are gone become pending; returns them. */
extern int	osa_store_recover(const pg_uuid_t *install, QueuedDelivery **found, MemoryContext context);

/* Takes back claims of this worker that none of the given tokens holds. */
extern int	osa_store_unclaim_unheld(const pg_uuid_t *tokens, int n, const char *worker, int older_than_s);

/* Gives a claim back; no_container: nothing of it is left at the engine. */
extern void osa_store_unclaim(int64 delivery_id, const pg_uuid_t *token, bool no_container);

/* Parks a delivery whose failure could not even be written. */
extern void osa_store_park(int64 delivery_id, const pg_uuid_t *token, const char *error, double delay_s);

/* Which of these claims are void (ended from outside)?  Fills lost[].
 * With any lost, the caller commits durably before it acts on that. */
extern int	osa_store_lost_claims(const int64 *delivery_ids, const pg_uuid_t *tokens, int n, bool *lost);

/* Does an open step of this installation want the container of this launch? */
extern bool osa_store_launch_wanted(int64 run_id, int hook_index, const pg_uuid_t *launch_id);
extern bool osa_store_database_exists(Oid database);

/* ---- a run with what is left of its steps (load.c) ---- */

typedef struct RunStep
{
	int			hook_index;
	const char *hook;
	int64		release_id;
	const char *image;
	const char *image_id;		/* or NULL: not pinned yet */
	const char *config;			/* JSON text of config.json: release's overlaid by the run's */
	HookLimits	limits;
	HookCardinality cardinality;
	int			n_columns;
	FeatureColumn *columns;
	int			attempt;
	int			first_attempt;
	int			free_reruns;
	int			strikes;
	int64		memory;			/* 0: the release's */
	pg_uuid_t	launch_id;
	Failure		broken;			/* limits or columns could not be read */
} RunStep;

typedef struct Run
{
	int64		id;
	pg_uuid_t	install;
	const char *deposition;
	const char *traceparent;	/* or NULL */
	int			round;
	int			current_hook_index;
	int			hook_count;
	bool		reject_run;
	bool		drop_errored;
	bool		rejected_before;
	int32		priority;
	char		runner[OSA_NAME_MAX + 1];
	int			n_steps;		/* from current_hook_index on */
	RunStep    *steps;
} Run;

/* NULL: the claim is void, so that what would be read is another round's. */
extern Run *osa_store_load_run(const Claim *claim, MemoryContext context);

/* Records of the step that have no partial outcome yet, and how the partial
 * ones are counted in *partial. */
extern int	osa_store_load_records(int64 run_id, int hook_index, InputRecord **records,
								   StepResult *partial, MemoryContext context);

/* Up to len bytes of a file from offset on, palloc'ed in context; NULL: gone. */
extern char *osa_store_file_chunk(const char *hash, int64 offset, int len, int *got, MemoryContext context);

/* Pins image_id unless one is pinned; returns the pinned one (NULL: no such release). */
extern char *osa_store_pin_image(int64 release_id, const char *image_id, MemoryContext context);

/* ---- a claimed DepositionSubmitted (submission.c) ---- */

struct NewRun;

/* Fills run, in the current context; false: the claim is void. */
extern bool osa_store_submission(const Claim *claim, struct NewRun *run);
extern void osa_store_end_submission(const Claim *claim);

/* ---- what an attempt leaves (commit.c) ---- */

typedef struct AttemptRow
{
	pg_uuid_t	launch_id;
	const char *runner;
	const char *container_name; /* NULL: there was none */
	const char *container_id;
	const char *image_id;
	TimestampTz started_at;		/* 0: unknown */
	TimestampTz finished_at;
	bool		has_exit_code;
	int			exit_code;
	bool		oom;
	int64		memory;
	FailureKind failure;
	const char *message;
	const char *log_tail;		/* valid text or NULL */
	bool		adopted;
	const char *config;			/* JSON text or NULL */
} AttemptRow;

typedef struct StepCommit
{
	int64		delivery_id;
	int64		event_id;
	pg_uuid_t	token;
	const Run  *run;
	const RunStep *step;
	const SagaDecision *decision;
	const StepResult *result;
	bool		pass_all;		/* noop: every record passes, rows is unused */
	int			n_records_in;	/* of the step, earlier attempts' included */
	bool		has_partial;	/* there are partial outcomes from before */
	int			n_rows;
	const OutcomeRow *rows;
	const InputRecord *records; /* rows' indexes point here */
	const char *message;		/* why, for people; NULL: none */
	const AttemptRow *attempt;
	bool		keep;			/* keep the claim for what comes next */
} StepCommit;

typedef struct StepCommitted
{
	int64		event_id;		/* of the next delivery (unchanged on retry) */
	pg_uuid_t	token;			/* the new one, with keep */
	pg_uuid_t	launch_id;		/* of the next attempt, on retry */
	TimestampTz deliver_after;	/* on retry with a delay */
} StepCommitted;

/*
 * Writes one step: outcomes, step, attempt, run, next event and the moved (or
 * deleted) delivery.  False: the claim was void; the caller aborts the
 * transaction, nothing may stay of it.
 */
extern bool osa_store_commit_step(const StepCommit *commit, StepCommitted *committed);

/* The provenance of an attempt alone, for a flight whose claim is void. */
extern void osa_store_attempt(const Run *run, const RunStep *step, const AttemptRow *attempt);

/* How many progress entries of a step there are since then. */
extern int	osa_store_count_progress(int64 run_id, int hook_index, TimestampTz since);
extern void osa_store_progress(int64 run_id, int hook_index, const ProgressLine *lines, int n);

#endif							/* OSA_STORE_H */
