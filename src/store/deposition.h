/*
 * deposition.h
 *		Depositions, their records and attached files, as submitted.  Callers
 *		are inside osa_call_begin/osa_call_end; everything raises.
 */
#ifndef OSA_DEPOSITION_H
#define OSA_DEPOSITION_H

#include "types.h"

#include "utils/jsonb.h"

/* Most files attached to one record. */
#define OSA_ATTACHED_FILES_MAX	1000

/*
 * Locks the deposition's row to the end of the transaction, so that those who
 * change one deposition take turns; makes it if it is new and create is true.
 * Raises if it is another owner's, or missing.
 */
extern void osa_store_lock_deposition(const char *id, const char *owner, bool create);
extern void osa_store_set_metadata(const char *id, Jsonb *metadata);

/*
 * Replaces the records by those of a checked document; files attached before
 * stay where the record's id does.
 */
extern void osa_store_replace_records(const char *deposition, Jsonb *records);

/* Raises if there are none, or more than max_records and max_input_bytes let. */
extern void osa_store_check_records(const char *deposition);

/* Raises if a run of it is under way, or about to be. */
extern void osa_store_require_no_run(const char *deposition);

extern void osa_store_attach_file(const char *deposition, const char *record,
								  const char *path, bytea *content);

/* DepositionSubmitted with its delivery; arms the wake-up; the event's id. */
extern int64 osa_store_submit(const char *deposition, const char *pipeline, const char *owner);

#endif							/* OSA_DEPOSITION_H */
