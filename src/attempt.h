/*
 * attempt.h
 *		A flight: one claimed delivery whose hooks run, one after the other,
 *		as long as the claim is kept.  It walks one way through its phases:
 *
 *		LOAD -> (CLEAR) -> (RESOLVE) -> IMAGE -> PIN -> INPUT -> CREATE -> VERIFY -> PUT
 *		-> START -> RUNNING -> COLLECT -> LOG -> READ -> COMMIT
 *		-> (REMOVE) -> next hook, next attempt, or DONE
 *
 *		RESOLVE asks the engine where the container stands and enters the line
 *		there: adoption after a restart and after each reconnect.  Runs in the
 *		worker's loop alone; callbacks only note what came.
 */
#ifndef OSA_ATTEMPT_H
#define OSA_ATTEMPT_H

#include "access/xlogdefs.h"

#include "engines.h"
#include "guard.h"
#include "saga/saga.h"
#include "shmem.h"
#include "store/store.h"

typedef enum FlightPhase
{
	PHASE_STRIKE,				/* after a crash: its turn to be handled carefully */
	PHASE_LOAD,					/* read the step's records */
	PHASE_CLEAR,				/* is the container of an earlier attempt gone? */
	PHASE_RESOLVE,				/* a container may be there: where does it stand? */
	PHASE_WHOLE,				/* created, not started: is its input whole? */
	PHASE_REPLACE,				/* it is not: remove it, create it again */
	PHASE_IMAGE,
	PHASE_PIN,
	PHASE_INPUT,				/* build the archive */
	PHASE_CREATE,
	PHASE_VERIFY,				/* did the engine set what was asked? */
	PHASE_PUT,
	PHASE_START,
	PHASE_RUNNING,
	PHASE_KILL,					/* over its timeout */
	PHASE_COLLECT,
	PHASE_LOG,
	PHASE_READ,					/* judge the outputs */
	PHASE_COMMIT,
	PHASE_REMOVE,				/* before the step's next container */
	PHASE_VOID,					/* its claim is gone: kill */
	PHASE_VOID_INSPECT,
	PHASE_VOID_LOG,
	PHASE_VOID_RECORD,
	PHASE_STOP,					/* osa_pause(stop_running): remove, requeue */
	PHASE_UNCLAIM,
	PHASE_WAIT,					/* until wake_at, then after_wait */
	PHASE_DOWN,					/* until the engine is up again */
	PHASE_DONE
} FlightPhase;

/* Earlier containers of a step that are removed at a time. */
#define OSA_EARLIER_MAX 8

typedef struct Flight
{
	dlist_node	node;
	MemoryContext context;		/* lives as long as the flight */
	MemoryContext attempt_context;	/* emptied between attempts */
	Claim		claim;
	Run		   *run;
	RunStep    *step;
	Engine	   *engine;
	bool		holds_place;	/* counted in engine->in_flight */
	bool		returning;		/* counted in engine->n_returning */
	bool		busy;			/* counted in engine->n_busy */
	bool		wants_place;	/* looked at again when a place was left */
	bool		reading_progress;	/* counted in engine->n_progress */

	FlightPhase phase;
	FlightPhase after_wait;		/* of WAIT and DOWN */
	TimestampTz since;			/* of the claim */
	TimestampTz wake_at;		/* act then, unless something comes; DT_NOEND */
	XLogRecPtr	gate;			/* effects wait until the WAL is flushed so far */

	/* the call under way, and its answer */
	RunnerCall *call;
	bool		reply_ready;
	RunnerVerdict verdict;
	char		message[512];
	ContainerFacts facts;		/* of the last inspect that had any */
	char	   *text;			/* in attempt_context */
	size_t		text_len;

	/* what is known of the container */
	char		container[OSA_CONTAINER_NAME_LEN + 1];
	char		container_id[72];
	char		image_id[80];
	bool		maybe_exists;	/* create was sent, or an earlier worker may have */
	bool		may_have_run;	/* start was sent, or ... */
	bool		name_taken;		/* create said so */
	bool		must_clear;		/* an earlier attempt's container may be there */
	int			n_earlier;		/* of those, as listed */
	char		earlier[OSA_EARLIER_MAX][OSA_CONTAINER_NAME_LEN + 1];
	bool		adopted;
	bool		killed_by_us;
	int			kills;
	TimestampTz restart_from;	/* the engine was away from ... */
	TimestampTz restart_to;		/* ... to, while this one ran; 0: never */
	TimestampTz start_sent_at;
	TimestampTz looked_at;		/* last inspect while it runs */
	TimestampTz progress_at;	/* next read of progress.jsonl */
	int64		progress_bytes;
	int			progress_lines;
	int			progress_told;	/* lines that a worker before had saved */

	/* from outside */
	bool		is_void;		/* its claim is gone */
	bool		stopping;		/* to be removed and requeued */
	bool		careful;		/* to go through STRIKE, one at a time */
	bool		released;		/* its claim was given back by a commit */

	/* failures of the moment */
	TimestampTz first_error_at; /* of 5xx in a row; 0: none */
	FlightPhase troubled_in;	/* the phase that they came in */
	int			n_errors_5xx;
	int			n_locked;
	int			n_conflicts;
	int			n_internal;
	char		internal_error[512];

	/* the step's material */
	int			n_records;
	InputRecord *records;
	StepResult	partial;		/* counts of earlier attempts' outcomes */
	Spool	   *input;
	InputBuilder *builder;
	char	   *chunk;
	Spool	   *output;
	OutputReader *reader;
	OutputMode	output_mode;
	char	   *log_tail;

	/* the verdict */
	bool		judged;
	ExitVerdict exit_verdict;
	FailureKind exit_failure;
	StepResult	result;
	int			n_rows;
	const OutcomeRow *rows;
	Failure		why;			/* message of a failure */
	SagaDecision decision;
	StepCommitted committed;
	bool		commit_held;
	bool		failing_internal;	/* five internal errors: the failure is written */
	bool		look;			/* its container may have ended */
	bool		keep;
	ProgressLine *lines;
	int			n_lines;

	int			shown;			/* entry in shared memory, -1: none */
} Flight;

/* ---- flight.c ---- */

/* The handler of RunNextHook: begins a flight. */
extern void osa_handle_run_next_hook(const Claim *claim, XLogRecPtr gate);
extern int	osa_flights_count(void);
/* Something changed that other flights or the queue wait for. */
extern void osa_flights_again(void);
/* Have the WAL flushed up to here before the turn ends. */
extern void osa_flights_flush(XLogRecPtr lsn);
/* May this flight keep its claim for its next hook? */
extern bool osa_flight_may_keep(const Flight *f);
extern const Install *osa_flight_install(void);
extern const char *osa_flight_node(void);

/* ---- attempt.c: the walk ---- */

extern Flight *osa_flight_begin(MemoryContext parent, const Claim *claim, Run *run,
								MemoryContext context, Engine *engine, XLogRecPtr gate);
extern void osa_flight_advance(Flight *f);
extern void osa_flight_free(Flight *f);
/* Is there something to do without waiting for an answer? */
extern bool osa_flight_due(const Flight *f, TimestampTz now);

/* No row needs its container any more: have it removed. */
extern void osa_flight_drop(Flight *f);
extern void osa_flight_void(Flight *f);
extern void osa_flight_stop(Flight *f);
extern void osa_flight_engine_down(Flight *f);
extern void osa_flight_engine_up(Flight *f);
/* Its container may have ended or vanished: look. */
extern void osa_flight_look(Flight *f);

/* ---- shared by attempt.c, launch.c, watch.c, finish.c ---- */

extern void osa_flight_enter(Flight *f, FlightPhase phase);
extern void osa_flight_wait(Flight *f, double seconds, FlightPhase then);
/* True: the answer of this phase's call is there (and taken). */
extern bool osa_flight_reply(Flight *f);
/* Handles DOWN, EXHAUSTED and 5xx; true: the phase must return. */
extern bool osa_flight_troubled(Flight *f);
/* The step fails, or its attempt does; goes to COMMIT. */
extern void osa_flight_fail(Flight *f, FailureKind kind, const char *fmt,...) pg_attribute_printf(3, 4);
extern void osa_flight_lost(Flight *f, const char *message);
/* Its container is not there any more, or not to be trusted. */
extern void osa_flight_gone(Flight *f, const char *message);
/* Runs a unit with SPI; false: it raised, and the flight's phase was set. */
extern bool osa_flight_guard(Flight *f, void (*fn) (void *arg));
/* A place among those that the engine serves at once; false: later. */
extern bool osa_flight_get_busy(Flight *f);
extern void osa_flight_leave_busy(Flight *f);
/* How many wait without a place. */
extern int	osa_flights_aside(void);
extern void osa_flight_flush(Flight *f);
extern void osa_flight_show(Flight *f);
extern void osa_flight_new_container(Flight *f);
extern void osa_flight_on_reply(void *arg, const RunnerReply *reply);

/* launch.c */
extern void osa_phase_strike(Flight *f);
extern void osa_phase_load(Flight *f);
extern void osa_phase_clear(Flight *f);
extern void osa_phase_resolve(Flight *f);
extern void osa_phase_whole(Flight *f);
extern void osa_phase_replace(Flight *f);
extern void osa_phase_image(Flight *f);
extern void osa_phase_pin(Flight *f);
extern void osa_phase_input(Flight *f);
extern void osa_phase_create(Flight *f);
extern void osa_phase_verify(Flight *f);
extern void osa_phase_put(Flight *f);
extern void osa_phase_start(Flight *f);

/* watch.c */
extern void osa_phase_running(Flight *f);
extern void osa_phase_kill(Flight *f);
extern void osa_flight_save_progress(Flight *f, const char *text, size_t len);

/* finish.c */
extern void osa_phase_collect(Flight *f);
extern void osa_phase_log(Flight *f);
extern void osa_phase_read(Flight *f);
extern void osa_phase_commit(Flight *f);
extern void osa_phase_remove(Flight *f);

/* unwind.c */
extern void osa_phase_void(Flight *f);
extern void osa_phase_void_inspect(Flight *f);
extern void osa_phase_void_log(Flight *f);
extern void osa_phase_void_record(Flight *f);
extern void osa_phase_stop(Flight *f);
extern void osa_phase_unclaim(Flight *f);
extern bool osa_flight_fetch_log(Flight *f);
extern void osa_flight_attempt_row(Flight *f, AttemptRow *row);

#endif							/* OSA_ATTEMPT_H */
