/*
 * types.h
 *		Ids, enums and their text names, and plain structs that several parts
 *		share.  No behaviour beyond naming.
 */
#ifndef OSA_TYPES_H
#define OSA_TYPES_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* Longest record id, in bytes: it becomes a path component. */
#define OSA_RECORD_ID_MAX	200
/* Longest name of a hook, pipeline or runner, without the terminating zero. */
#define OSA_NAME_MAX		40
/* Container name: "osa-" and 32 hex digits. */
#define OSA_CONTAINER_NAME_LEN	36
/* The tail of an attempt's log that is kept, in bytes. */
#define OSA_LOG_TAIL_BYTES	(64 * 1024)

typedef enum RunStatus
{
	RUN_PENDING,				/* no hook claimed yet */
	RUN_RUNNING,
	RUN_COMPLETED,
	RUN_REJECTED,
	RUN_FAILED,
	RUN_CANCELLED
} RunStatus;

typedef enum StepStatus
{
	STEP_PENDING,
	STEP_RUNNING,				/* current, claimed at least once */
	STEP_PASSED,
	STEP_REJECTED,				/* ended the run by rejections */
	STEP_FAILED,
	STEP_SKIPPED,				/* the run ended before it */
	STEP_CANCELLED
} StepStatus;

typedef enum OutcomeStatus
{
	OUTCOME_PASSED,
	OUTCOME_REJECTED,
	OUTCOME_ERRORED
} OutcomeStatus;

typedef enum EventType
{
	EVENT_DEPOSITION_SUBMITTED,
	EVENT_RUN_NEXT_HOOK,
	EVENT_VALIDATION_COMPLETED,
	EVENT_VALIDATION_FAILED
} EventType;

typedef enum FailureKind
{
	FAILURE_NONE,
	FAILURE_IMAGE_PULL,
	FAILURE_CONFIG,
	FAILURE_OOM,
	FAILURE_TIMEOUT,
	FAILURE_RUNTIME,
	FAILURE_HOOK_EXIT,
	FAILURE_HOOK_OUTPUT,
	FAILURE_RECORD_ERROR,		/* an errored record under on_record_error =
								 * fail_run */
	FAILURE_INTERNAL,
	FAILURE_CANCELLED
} FailureKind;

/* A failure as a value: what an outsider did wrong, carried to the saga. */
typedef struct Failure
{
	FailureKind kind;			/* FAILURE_NONE: no failure */
	char		message[1024];	/* one line, for people; valid UTF-8 */
} Failure;

typedef enum HookCardinality
{
	CARDINALITY_NONE,
	CARDINALITY_ONE,			/* 0 or 1 feature a record */
	CARDINALITY_MANY
} HookCardinality;

/* A hook's limits, in bytes, cores and seconds. */
typedef struct HookLimits
{
	int64		memory;			/* memory and memory+swap */
	int64		tmpfs;			/* size of /tmp */
	int64		output;			/* all of /osa/out, and one file's size */
	double		cpu;			/* cores */
	int			pids;
	int			retries;		/* attempts = retries + 1 */
	double		timeout;		/* seconds */
	double		retry_delay;	/* seconds */
	double		retry_delay_max;	/* seconds */
} HookLimits;

extern const char *osa_run_status_name(RunStatus status);
extern const char *osa_step_status_name(StepStatus status);
extern const char *osa_outcome_status_name(OutcomeStatus status);
extern const char *osa_event_type_name(EventType type);
extern const char *osa_failure_name(FailureKind kind);	/* NULL for NONE */

/* Each returns false if the name is none of the enum's. */
extern bool osa_event_type_parse(const char *name, EventType *type);
extern bool osa_cardinality_parse(const char *name, HookCardinality *cardinality);

/* Makes text valid UTF-8 without control characters, in place: what is not
 * becomes '?'; newlines and tabs stay if keep_lines. */
extern void osa_clean_text(char *text, int len, bool keep_lines);
extern void osa_fail(Failure *failure, FailureKind kind, const char *fmt,...) pg_attribute_printf(3, 4);

#endif							/* OSA_TYPES_H */
