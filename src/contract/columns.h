/*
 * columns.h
 *		Checking a feature against its hook's declared columns.
 */
#ifndef OSA_COLUMNS_H
#define OSA_COLUMNS_H

#include "contract.h"
#include "json.h"

#define OSA_MAX_COLUMNS		200

/*
 * The reader has just returned the first event of a feature; goes on to its
 * last.  Without columns any value will do.  Returns false if the JSON is
 * broken (reader->error tells) or the feature does not fit: then it is
 * described in problem.
 */
extern bool osa_columns_check(JsonReader *reader, const FeatureColumn *columns, int n_columns,
							  char *problem, size_t problem_size);

#endif							/* OSA_COLUMNS_H */
