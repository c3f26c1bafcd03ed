/*
 * registry.c
 *		Kinds of runners.  A new one is one entry here.
 *
 * Runs in the worker.  The kind "noop" is no entry: it runs nothing, so the
 * flights pass its records by themselves.
 */
#include "postgres.h"

#include "runner.h"

static const RunnerMethods *const kinds[] = {
	&osa_docker_methods
};

const RunnerMethods *
osa_runner_methods(const char *kind)
{
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		if (strcmp(kinds[i]->kind, kind) == 0)
			return kinds[i];
	}
	return NULL;
}
