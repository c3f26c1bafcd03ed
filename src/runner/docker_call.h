/*
 * docker_call.h
 *		What the files of the docker runner share: a verb under way.
 *
 * A verb is one or several requests.  Each request names the function that
 * gets its reply, which sends the next one or finishes the verb.  Everything
 * a call owns is in its context, whose reset aborts the request under way.
 */
#ifndef OSA_DOCKER_CALL_H
#define OSA_DOCKER_CALL_H

#include "docker_spec.h"
#include "http.h"
#include "runner.h"

#define DOCKER_API "/v1.41"

/* Deadlines, in milliseconds. */
#define DOCKER_QUICK_MS		(10 * 1000)
#define DOCKER_SLOW_MS		(60 * 1000)
#define DOCKER_MS_PER_MIB	1000

/* What replies may hold, in bytes. */
#define DOCKER_MAX_INSPECT	(8 * 1024 * 1024)
#define DOCKER_MAX_LIST		(64 * 1024 * 1024)

typedef struct DockerRunner
{
	Runner		base;
	MemoryContext context;
	char	   *socket_path;
	TimestampTz boot_at;		/* of this host, the engine's: sockets are
								 * local; 0: unknown */
} DockerRunner;

/* Gets a reply, in the call's context. */
typedef void (*DockerStep) (RunnerCall *call, const HttpReply *http);

struct RunnerCall
{
	MemoryContext context;
	MemoryContext outer;		/* the loop's, for done */
	MemoryContextCallback reset;
	DockerRunner *runner;
	HttpCall   *http;			/* the request or timer under way, or NULL */
	DockerStep	step;
	RunnerDone	done;
	RunnerNotice notice;		/* watch */
	void	   *arg;
	char	   *name;			/* of the container or image */
	void	   *state;			/* the verb's own */
	void		(*release) (RunnerCall *call);	/* frees what is malloc'ed */
	int			tries;
	RunnerReply reply;			/* filled for osa_docker_finish */
};

/* Starts a verb; size: bytes of its state, zeroed. */
extern RunnerCall *osa_docker_begin(Runner *runner, const char *name, RunnerDone done, void *arg,
									size_t size);

/* Starts a request: path is formed as by printf, behind the API's prefix. */
extern void osa_docker_request(HttpRequest *request, const char *method, int timeout_ms,
							   const char *path,...) pg_attribute_printf(4, 5);
extern char *osa_docker_encode(const char *text);
extern void osa_docker_send(RunnerCall *call, HttpRequest *request, DockerStep step);
extern void osa_docker_wait(RunnerCall *call, int ms, DockerStep step);

/* Ends a verb; the call is gone. */
extern void osa_docker_finish(RunnerCall *call, RunnerVerdict verdict, const char *message);
extern void osa_docker_succeed(RunnerCall *call);
/* Ends it by what a reply that is no success means. */
extern void osa_docker_fail(RunnerCall *call, const HttpReply *http);

/* Verdict and words of a reply that is no success. */
extern RunnerVerdict osa_docker_judge(const HttpReply *http, char *message, size_t size);

extern bool osa_docker_ok(const HttpReply *http);

/* docker_image.c */
extern RunnerCall *osa_docker_ensure_image(Runner *runner, const char *image, RunnerDone done,
										   void *arg);

/* docker_stream.c */
extern RunnerCall *osa_docker_progress(Runner *runner, const char *name, int64 offset,
									   int max_bytes, RunnerDone done, void *arg);
extern RunnerCall *osa_docker_collect(Runner *runner, const char *name, Spool *output,
									  int64 max_bytes, RunnerDone done, void *arg);
extern RunnerCall *osa_docker_log(Runner *runner, const char *name, RunnerDone done, void *arg);
extern RunnerCall *osa_docker_put(Runner *runner, const char *name, Spool *input, RunnerDone done,
								  void *arg);
extern RunnerCall *osa_docker_watch(Runner *runner, const char *key, const char *value,
									RunnerNotice notice, void *arg);

#endif							/* OSA_DOCKER_CALL_H */
