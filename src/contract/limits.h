/*
 * limits.h
 *		The limits document of a release.
 */
#ifndef OSA_LIMITS_H
#define OSA_LIMITS_H

#include "types.h"

/*
 * Parses a limits document (UTF-8): {"memory":"1GiB","timeout":"5 min",…};
 * what is not given gets its default.  On success *normalised, in the current
 * memory context, has the given keys alone, in bytes, seconds and cores, and
 * parses to the same limits.  Else *failure: FAILURE_CONFIG, saying which key
 * and why.  Ceilings of a runner are not checked here.  Never raises.
 */
extern bool osa_limits_parse(const char *json, HookLimits *limits, char **normalised,
							 Failure *failure);

#endif							/* OSA_LIMITS_H */
