/*
 * records.h
 *		The records document of a submission.  Raises for whatever is wrong
 *		with it; writes nothing.
 */
#ifndef OSA_RECORDS_H
#define OSA_RECORDS_H

#include "postgres.h"

#include "utils/jsonb.h"

/*
 * An array of {"id", "metadata"?, "size_hint_mb"?, "files_from"?}: not empty,
 * ids plain path components and unique, folders there and beneath files_root.
 */
extern void osa_check_records(Jsonb *records);

/* A record's id given alone. */
extern void osa_check_record_id(const char *id);

#endif							/* OSA_RECORDS_H */
