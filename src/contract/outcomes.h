/*
 * outcomes.h
 *		What the lines of /osa/out say of each record, and the verdict.
 */
#ifndef OSA_OUTCOMES_H
#define OSA_OUTCOMES_H

#include "contract.h"

typedef enum OutputFile
{
	OUTPUT_FEATURES,
	OUTPUT_REJECTIONS,
	OUTPUT_ERRORS,
	OUTPUT_PROGRESS,
	OUTPUT_DOCUMENT,			/* features.json */
	OUTPUT_OTHER
} OutputFile;

extern const char *osa_output_file_name(OutputFile file);

typedef struct OutcomeTable OutcomeTable;

/* Lives in context; spec must stay. */
extern OutcomeTable *osa_outcomes_begin(MemoryContext context, const OutputSpec *spec);

/*
 * Notes what a line says.  *record is the one it is about, -1 for none.
 * False: *failure has been filled.
 */
extern bool osa_outcomes_line(OutcomeTable *table, OutputFile file, int line_number,
							  const char *text, size_t len, int *record, Failure *failure);

/* Notes features.json, the whole of it, for the only record. */
extern bool osa_outcomes_document(OutcomeTable *table, const char *text, size_t len,
								  Failure *failure);

/* This record's outcome is not to be trusted. */
extern void osa_outcomes_leave_out(OutcomeTable *table, int record);

/* The verdict; false: *failure has been filled. */
extern bool osa_outcomes_judge(OutcomeTable *table, OutcomeRow **rows, int *n_rows,
							   Failure *failure);

#endif							/* OSA_OUTCOMES_H */
