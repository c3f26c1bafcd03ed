/*
 * catalog.h
 *		What administrators define: hooks, releases, pipelines, runners, and
 *		whether this installation is paused.  Callers are inside
 *		osa_call_begin/osa_call_end or osa_tx_begin; everything raises.
 */
#ifndef OSA_CATALOG_H
#define OSA_CATALOG_H

#include "types.h"

#include "utils/jsonb.h"

/* Registers a hook, or changes it for runs that start later. */
extern void osa_store_put_hook(const char *name, Jsonb *columns, const char *cardinality,
							   const char *title);

typedef struct NewRelease
{
	const char *hook;
	const char *image;
	const char *version;		/* NULL: the next number */
	Jsonb	   *config;
	const char *limits;			/* normalised document */
	const char *source_ref;		/* or NULL */
	const char *built_by;		/* or NULL */
} NewRelease;

/* Raises if no runner's ceiling allows these limits. */
extern void osa_store_check_any_ceiling(const HookLimits *limits);
extern int64 osa_store_add_release(const NewRelease *release);

extern void osa_store_set_live(const char *hook, int64 release_id, const char *set_by);
extern int64 osa_store_find_release(const char *hook, const char *version);
extern void osa_store_rollback_live(const char *hook, const char *set_by);

typedef struct PipelineHook
{
	const char *name;
	int64		release_id;		/* the live one; 0: none */
	const char *limits;			/* its document; NULL: none */
} PipelineHook;

typedef struct Pipeline
{
	const char *name;
	const char *on_rejection;
	const char *on_record_error;
	const char *runner;
	int			n_hooks;
	PipelineHook *hooks;
} Pipeline;

/* Raises for an unknown hook or runner, and for limits above its ceiling. */
extern void osa_store_put_pipeline(Pipeline *pipeline);

/*
 * A pipeline that a run can start with: raises for an unknown pipeline or
 * runner, a hook without a live release, limits above the runner's ceiling.
 */
extern Pipeline *osa_store_load_pipeline(const char *name);

/* Raises if limits of these hooks are above the runner's ceiling. */
extern void osa_store_check_ceilings(const char *runner, const PipelineHook *hooks, int n_hooks);

typedef struct NewRunner
{
	const char *name;
	const char *kind;
	const char *endpoint;		/* NULL: the setting's */
	int			max_in_flight;	/* 0: default */
	int64		max_memory;		/* 0: default */
	Datum		max_cpu;		/* numeric; 0: default */
	bool		accept_unenforced;
	bool		enabled;
} NewRunner;

extern void osa_store_put_runner(const NewRunner *runner);

extern void osa_store_pause(const char *reason, bool stop_running);
extern void osa_store_resume(bool take_over);

#endif							/* OSA_CATALOG_H */
