/*
 * contract.h
 *		The hook contract: what stands in /osa/in, what may stand in /osa/out.
 *		Errors of an outsider are a Failure, never raised.  No SPI, no I/O
 *		but spools and, for files_from, files beneath files_root.
 */
#ifndef OSA_CONTRACT_H
#define OSA_CONTRACT_H

#include "spool.h"
#include "types.h"

typedef struct InputFile
{
	const char *path;			/* relative, checked at submission */
	const char *hash;			/* content in osa_file */
	int64		size;
} InputFile;

typedef struct InputRecord
{
	const char *id;
	const char *metadata;		/* JSON text */
	const char *size_hint_mb;	/* number as text, or NULL */
	const char *files_from;		/* folder under files_root, or NULL */
	int			n_files;
	InputFile  *files;
} InputRecord;

/*
 * Builds the input archive in steps of bounded work: in/, in/records.jsonl,
 * in/config.json, files/, files/<record>/<path>…, out/, and last in/.complete.
 * in/ and files/ 0:0 0755 and 0444, out/ 65534:65534 0700.  Ends with exactly
 * two zero blocks (an engine fails on more).
 *
 *   b = osa_input_begin(…);
 *   while ((state = osa_input_step(b)) != INPUT_DONE && state != INPUT_FAILED)
 *       if (state == INPUT_NEEDS_FILE)
 *           give osa_input_file_data(b, bytes, len) the next bytes of
 *           osa_input_wants(b, &offset) (an InputFile), len ≥ 1
 *
 * One step does at most about 256 KiB of work.
 */
typedef struct InputBuilder InputBuilder;

typedef enum InputState
{
	INPUT_MORE,					/* call step again */
	INPUT_NEEDS_FILE,			/* call osa_input_file_data, then step again */
	INPUT_DONE,					/* the spool is whole */
	INPUT_FAILED				/* osa_input_failure tells */
} InputState;

extern InputBuilder *osa_input_begin(MemoryContext context, const InputRecord *records,
									 int n_records, const char *config_json,
									 const char *files_root, int64 max_bytes, Spool *spool);
extern InputState osa_input_step(InputBuilder *builder);
extern const InputFile *osa_input_wants(const InputBuilder *builder, int64 *offset);
extern void osa_input_file_data(InputBuilder *builder, const char *data, size_t len);
extern const Failure *osa_input_failure(const InputBuilder *builder);
extern void osa_input_end(InputBuilder *builder);	/* closes what is open */

typedef struct FeatureColumn
{
	const char *name;
	const char *type;			/* one of osa_column_types[] */
	bool		nullable;
} FeatureColumn;

/* Parses a hook's columns document; false and *failure if it is invalid.
 * Names ^[a-z_][a-z0-9_]{0,62}$, unique, at most 200; unknown keys refused. */
extern bool osa_columns_parse(const char *json, MemoryContext context,
							  FeatureColumn **columns, int *n_columns, Failure *failure);
extern const char *const osa_column_types[];	/* NULL-terminated: bool int4 int8
												 * float8 numeric text date
												 * timestamptz jsonb */

typedef struct OutcomeRow
{
	int			record;			/* index into records */
	OutcomeStatus status;
	const char *features;		/* JSON array text, or NULL */
	const char *reason;
	const char *error;
	bool		retryable;
} OutcomeRow;

typedef enum OutputMode
{
	OUTPUT_EXITED,				/* exit 0: every record gets an outcome */
	OUTPUT_KILLED,				/* OOM or timeout: torn last lines and the
								 * record of each file's last complete line
								 * are left out */
	OUTPUT_FAILED				/* any other exit: no outcome counts, and only
								 * caps are judged (files, sizes) */
} OutputMode;

typedef struct OutputSpec
{
	OutputMode	mode;
	const InputRecord *records; /* those given to this attempt */
	int			n_records;
	HookCardinality cardinality;
	const FeatureColumn *columns;
	int			n_columns;
	int64		max_bytes;		/* of all files together, and of one file */
	int			max_line_bytes;
	int64		progress_from;	/* so much of progress.jsonl was read already */
} OutputSpec;

/* What is kept of the rest of progress.jsonl: its end. */
#define OSA_PROGRESS_REST_BYTES (64 * 1024)

/*
 * Reads the tar of /osa/out in steps of bounded work (about 2 MiB or a few
 * thousand lines each).  Result in context: on success one row for each record
 * that has an outcome, in records' order; else failure.kind FAILURE_HOOK_OUTPUT
 * with file, line and reason in the message.
 */
typedef struct OutputReader OutputReader;

extern OutputReader *osa_output_begin(MemoryContext context, const OutputSpec *spec, Spool *tar);
extern bool osa_output_step(OutputReader *reader);	/* false: done */
extern const Failure *osa_output_failure(const OutputReader *reader);
extern int	osa_output_rows(const OutputReader *reader, const OutcomeRow **rows);
/* The rest of progress.jsonl from progress_from on, or the end of that, for
 * osa_progress_parse; in any mode.  Returns its length. */
extern size_t osa_output_progress(const OutputReader *reader, const char **data);
extern void osa_output_end(OutputReader *reader);

/* Does a file in this tar stop exactly at its size cap?  (any exit code) is
 * judged by osa_output_step itself: FAILURE_HOOK_OUTPUT. */

/* One line of progress.jsonl, read while the hook runs. */
typedef struct ProgressLine
{
	const char *record_id;		/* or NULL */
	const char *step;			/* or NULL */
	const char *status;
	const char *message;		/* or NULL; cut at 1 KiB */
} ProgressLine;

/*
 * Parses the complete lines of data; bad ones are skipped.  At most max lines
 * are returned (the last ones).  *consumed: bytes up to and with the last
 * newline.  Results in the current memory context.
 */
extern int	osa_progress_parse(const char *data, size_t len, int max,
							   ProgressLine **lines, size_t *consumed);

#endif							/* OSA_CONTRACT_H */
