/*
 * docker_reply.h
 *		Replies of an engine as facts.  Pure: no I/O, no transaction, nothing
 *		is raised; results are in the current memory context.
 *
 * An engine's words are an outsider's: texts come out as valid UTF-8 without
 * control characters, cut to their buffer.
 */
#ifndef OSA_DOCKER_REPLY_H
#define OSA_DOCKER_REPLY_H

#include "docker_spec.h"
#include "runner.h"

/* What GET /containers/NAME/json says was set, beside ContainerFacts. */
typedef struct DockerSettings
{
	DockerLimits limits;
	int64		memory_swap;
	bool		read_only;
	bool		no_new_privileges;
	bool		no_capabilities;
	char		network[32];
	char		user[32];
} DockerSettings;

/* What HEAD …/archive says in X-Docker-Container-Path-Stat. */
typedef struct DockerPathStat
{
	int64		size;
	bool		is_regular;
	char		mtime[40];		/* as the engine says it; "": not said */
} DockerPathStat;

/* Each returns false if the text is not what it should be. */
extern bool osa_docker_parse_inspect(const char *json, size_t len, ContainerFacts *facts,
									 DockerSettings *settings);
extern bool osa_docker_parse_list(const char *json, size_t len, ContainerFacts **facts,
								  int *n_facts);
extern bool osa_docker_parse_id(const char *json, size_t len, char *id, size_t size);
extern bool osa_docker_parse_event(const char *json, size_t len, char *name, size_t size);
extern bool osa_docker_parse_path_stat(const char *base64, DockerPathStat *path_stat);

/* The message of an error's body, or of a line of a pull: false if it has none. */
extern bool osa_docker_parse_error(const char *json, size_t len, char *message, size_t size);

/* "podman 4.3.1" from the header Server, which may be NULL. */
extern void osa_docker_version(const char *server, bool is_podman, char *version, size_t size);

/* facts->unenforced: what of spec is not in settings. */
extern void osa_docker_compare(ContainerFacts *facts, const DockerSettings *settings,
							   const DockerLimits *wanted, const char *image_id);

/* What an answer that is no success means, whatever was asked. */
extern RunnerVerdict osa_docker_verdict(int status, const char *message);
/* The same for a pull of repository that failed. */
extern RunnerVerdict osa_docker_pull_verdict(int status, const char *words,
											 const char *repository);
/* "does not run" in answer to a kill */
extern bool osa_docker_says_not_running(const char *message);

#endif							/* OSA_DOCKER_REPLY_H */
