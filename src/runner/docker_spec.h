/*
 * docker_spec.h
 *		The create document of the Engine API from a hook's limits.  Pure.
 */
#ifndef OSA_DOCKER_SPEC_H
#define OSA_DOCKER_SPEC_H

#include "lib/stringinfo.h"

#include "runner.h"

/* What the document asks of the engine, in the engine's units. */
typedef struct DockerLimits
{
	int64		memory;			/* bytes; memory and swap together */
	int64		nano_cpus;
	int64		pids;
	int64		file_size;		/* bytes, of one file */
} DockerLimits;

#define DOCKER_USER "65534:65534"

extern void osa_docker_limits(const ContainerSpec *spec, DockerLimits *limits);

/* Appends the body of POST /containers/create. */
extern void osa_docker_create_body(StringInfo out, const ContainerSpec *spec);

/* Appends text as a JSON string, with its quotes. */
extern void osa_docker_json_string(StringInfo out, const char *text);

/* Appends text encoded for a path component or a query value of a URL. */
extern void osa_docker_url_encode(StringInfo out, const char *text);

#endif							/* OSA_DOCKER_SPEC_H */
