/*
 * runner.h
 *		The interface to whatever runs hooks.  Every call returns at once and
 *		ends once in its done function with a RunnerReply, called from the
 *		worker's loop (never from inside the call); what the reply points to
 *		lives until done returns.  An aborted call ends silently.
 *
 * Nothing outside runner/ may assume an engine on this host.
 */
#ifndef OSA_RUNNER_H
#define OSA_RUNNER_H

#include "spool.h"
#include "types.h"

#define OSA_MAX_LABELS 10

typedef struct ContainerLabel
{
	const char *key;
	const char *value;
} ContainerLabel;

typedef struct ContainerSpec
{
	const char *name;
	const char *image_id;
	const char *hook_name;		/* OSA_HOOK_NAME */
	const HookLimits *limits;
	int64		memory;			/* instead of limits->memory, after a kill */
	int			n_labels;
	ContainerLabel labels[OSA_MAX_LABELS];
} ContainerSpec;

typedef enum ContainerPhase
{
	CONTAINER_CREATED,			/* never started */
	CONTAINER_RUNNING,
	CONTAINER_EXITED,
	CONTAINER_LOST				/* "created" with a StartedAt, dead, removing, or
								 * left by the boot before:
								 * has run and can't be trusted */
} ContainerPhase;

/* What the engine says of a container. */
typedef struct ContainerFacts
{
	char		name[128];		/* without leading slash */
	char		id[72];
	char		image_id[80];
	ContainerPhase phase;
	TimestampTz created_at;		/* 0: not said */
	TimestampTz started_at;		/* 0: never */
	TimestampTz finished_at;	/* 0: never, or before started_at by more than
								 * 1 s (can't be trusted) */
	int			exit_code;
	bool		oom_killed;
	char		error[256];
	int			n_labels;		/* only labels "osa.*" */
	ContainerLabel labels[OSA_MAX_LABELS];
	/* inspect after create only: what was asked and not set; "" if all set */
	char		unenforced[256];
} ContainerFacts;

typedef enum RunnerVerdict
{
	RUNNER_OK,
	RUNNER_EXISTS,				/* create: that name is taken */
	RUNNER_ABSENT,				/* no such container, image or path */
	RUNNER_REFUSED,				/* will never be accepted as it is (4xx, or by
								 * the engine's words) */
	RUNNER_ERROR,				/* 5xx: the engine answered, but failed */
	RUNNER_REGISTRY,			/* pull: the registry failed, may pass */
	RUNNER_DOWN,				/* no answer in time, or refused connection */
	RUNNER_EXHAUSTED,			/* the engine says disk or pids are exhausted */
	RUNNER_TOO_LARGE			/* more than the cap */
} RunnerVerdict;

typedef struct RunnerReply
{
	RunnerVerdict verdict;
	const char *message;		/* the engine's or our words; "" when OK */
	int			n_facts;		/* inspect: 1; list: any */
	const ContainerFacts *facts;
	const char *text;			/* ensure_image: image id; create: container
								 * id; probe: version line ("podman 4.3.1");
								 * log, progress: the bytes */
	size_t		text_len;
} RunnerReply;

typedef struct Runner Runner;
typedef struct RunnerCall RunnerCall;
typedef void (*RunnerDone) (void *arg, const RunnerReply *reply);

/* Container "name" ended (a hint: inspect it); name NULL: the stream broke. */
typedef void (*RunnerNotice) (void *arg, const char *name);

struct Runner
{
	const struct RunnerMethods *methods;
	char		name[OSA_NAME_MAX + 1];
};

typedef struct RunnerMethods
{
	const char *kind;

	/* endpoint as in osa_runner; memory in the current context */
	Runner	   *(*open) (const char *name, const char *endpoint);
	void		(*close) (Runner *runner);	/* ends every call silently */

	/* Is the engine well?  _ping, then list of ours (limit 1), version. */
	RunnerCall *(*probe) (Runner *runner, RunnerDone done, void *arg);
	/* Every container carrying label key=value, in any state (list; facts
	 * without exit code and times: inspect for these). */
	RunnerCall *(*list) (Runner *runner, const char *key, const char *value,
						 RunnerDone done, void *arg);
	RunnerCall *(*ensure_image) (Runner *runner, const char *image, RunnerDone done, void *arg);
	RunnerCall *(*create) (Runner *runner, const ContainerSpec *spec, RunnerDone done, void *arg);
	/* spec: compare what the engine set with it, or NULL */
	RunnerCall *(*inspect) (Runner *runner, const char *name, const ContainerSpec *spec,
							RunnerDone done, void *arg);
	/* input: a finished tar; must live until done */
	RunnerCall *(*put) (Runner *runner, const char *name, Spool *input, RunnerDone done, void *arg);
	/* OK: the last entry of the input (in/.complete) is there, and nothing was
	 * written to the outputs since; ABSENT: not so */
	RunnerCall *(*input_is_whole) (Runner *runner, const char *name, RunnerDone done, void *arg);
	/* OK also if it is running already */
	RunnerCall *(*start) (Runner *runner, const char *name, RunnerDone done, void *arg);
	/* text: what stands in progress.jsonl from byte offset on, at most
	 * max_bytes; text_len 0: nothing new (also when there is no such file, or
	 * it is no regular file) */
	RunnerCall *(*progress) (Runner *runner, const char *name, int64 offset, int max_bytes,
							 RunnerDone done, void *arg);
	/* the tar of /osa/out into spool, at most max_bytes */
	RunnerCall *(*collect) (Runner *runner, const char *name, Spool *output, int64 max_bytes,
							RunnerDone done, void *arg);
	/* text: last OSA_LOG_TAIL_BYTES of stdout and stderr, raw bytes; REFUSED,
	 * with the text: it says that the image's command could not be executed */
	RunnerCall *(*log) (Runner *runner, const char *name, RunnerDone done, void *arg);
	/* OK also if it does not run any more; ABSENT if it is gone */
	RunnerCall *(*kill) (Runner *runner, const char *name, RunnerDone done, void *arg);
	/* force; with its volumes; OK also if it was gone already */
	RunnerCall *(*remove) (Runner *runner, const char *name, RunnerDone done, void *arg);

	/* Opens the stream of ends of containers carrying label key=value. */
	RunnerCall *(*watch) (Runner *runner, const char *key, const char *value,
						  RunnerNotice notice, void *arg);
	void		(*abort) (RunnerCall *call);
} RunnerMethods;

/* registry.c: NULL if there is no such kind */
extern const RunnerMethods *osa_runner_methods(const char *kind);
extern const RunnerMethods osa_docker_methods;

#endif							/* OSA_RUNNER_H */
