/*
 * output.c
 *		Reads the archive of /osa/out: its five files, line by line.
 *
 * Runs in the worker, a bounded piece a step.  Everything in the archive was
 * written by a hook: it is read with caps, and nothing of it is ever extracted.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "contract.h"
#include "outcomes.h"
#include "tar.h"

#define STEP_BYTES		(2 * 1024 * 1024)
#define STEP_LINES		4096
/* a line file of this many lines is a hook running wild */
#define MAX_LINES		1000000
/* upper bound of any line cap: what jsonb can hold, by a wide margin */
#define MAX_LINE_BYTES	(64 * 1024 * 1024)
/* what an entry costs beside its data, for counting a step's work */
#define ENTRY_BYTES		512

struct OutputReader
{
	MemoryContext context;		/* its own */
	OutputSpec	spec;
	int			max_line;
	TarReader  *tar;
	OutcomeTable *outcomes;
	bool		done;
	Failure		failure;

	bool		first_entry_seen;
	bool		prefixed;		/* names begin with out/ */
	bool		file_seen[OUTPUT_OTHER];
	int64		total;			/* bytes of all files */

	bool		in_entry;
	OutputFile	file;
	const char *block;			/* rest of the tar's last data */
	int64		block_len;
	int			line;			/* number of the last line begun or read */
	int			last_record;	/* of the file's last complete line, or -1 */
	StringInfoData partial;		/* the line so far, or all of features.json */
	StringInfoData document;	/* features.json, for the end */
	bool		document_too_long;

	bool		in_progress;	/* the entry is progress.jsonl */
	int64		progress_at;	/* bytes of it seen */
	StringInfoData progress;	/* its rest, or the end of that */

	OutcomeRow *rows;
	int			n_rows;
};

static int64 next_entry(OutputReader *reader, int64 *lines);
static void enter_file(OutputReader *reader);
static void check_file_size(OutputReader *reader, const TarEntry *entry);
static bool classify_path(OutputReader *reader, const TarEntry *entry, OutputFile *file);
static OutputFile file_of_name(const char *name, size_t len);
static int64 next_data(OutputReader *reader);
static void keep_progress(OutputReader *reader, const char *data, size_t len);
static void end_file(OutputReader *reader);
static void take_lines(OutputReader *reader, int64 *lines);
static bool add_partial(OutputReader *reader, const char *data, int64 len);
static void take_line(OutputReader *reader, const char *text, size_t len);
static void take_document(OutputReader *reader);
static void finish(OutputReader *reader);
static void fail_archive(OutputReader *reader);
static void reset_buffer(StringInfo buffer);

/* spec is copied, but not what it points to; the archive is read from the
 * spool's position on. */
OutputReader *
osa_output_begin(MemoryContext context, const OutputSpec *spec, Spool *tar)
{
	MemoryContext own = AllocSetContextCreate(context, "osa output", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	OutputReader *reader = palloc0(sizeof(OutputReader));

	reader->context = own;
	reader->spec = *spec;
	reader->max_line = Min(spec->max_line_bytes, MAX_LINE_BYTES);
	reader->tar = osa_tar_read_open(own, tar);
	reader->outcomes = osa_outcomes_begin(own, &reader->spec);
	initStringInfo(&reader->progress);
	initStringInfo(&reader->partial);
	initStringInfo(&reader->document);
	MemoryContextSwitchTo(old);
	return reader;
}

/* The rows go with it. */
void
osa_output_end(OutputReader *reader)
{
	MemoryContextDelete(reader->context);
}

const Failure *
osa_output_failure(const OutputReader *reader)
{
	return &reader->failure;
}

int
osa_output_rows(const OutputReader *reader, const OutcomeRow **rows)
{
	*rows = reader->rows;
	return reader->n_rows;
}

bool
osa_output_step(OutputReader *reader)
{
	MemoryContext old = MemoryContextSwitchTo(reader->context);
	int64		bytes = STEP_BYTES;
	int64		lines = STEP_LINES;

	while (!reader->done && bytes > 0 && lines > 0)
	{
		if (reader->block_len > 0)
			take_lines(reader, &lines);
		else if (reader->in_entry)
			bytes -= next_data(reader);
		else
			bytes -= next_entry(reader, &lines);
		if (reader->failure.kind != FAILURE_NONE)
			reader->done = true;
	}
	MemoryContextSwitchTo(old);
	return !reader->done;
}

/* Returns the work's worth in bytes, as next_data does. */
static int64
next_entry(OutputReader *reader, int64 *lines)
{
	TarEntry	entry;
	bool		path_is_plain;

	switch (osa_tar_read_next(reader->tar, &entry))
	{
		case TAR_ENTRY:
			break;
		case TAR_END:
			finish(reader);
			return 0;
		default:
			fail_archive(reader);
			return 0;
	}
	path_is_plain = classify_path(reader, &entry, &reader->file);
	reader->in_progress = entry.kind == TAR_FILE && reader->file == OUTPUT_PROGRESS;
	reader->progress_at = 0;
	/* of a hook that failed only sizes count: they may be why */
	if (reader->spec.mode == OUTPUT_FAILED)
		reader->file = OUTPUT_OTHER;
	else if (!path_is_plain)
		osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT,
				 "output has a file outside of its folder: \"%.300s\"", entry.path);
	if (reader->failure.kind != FAILURE_NONE)
		return 0;
	if (entry.kind == TAR_FILE)
	{
		check_file_size(reader, &entry);
		if (reader->failure.kind == FAILURE_NONE)
			enter_file(reader);
	}
	else if (reader->file != OUTPUT_OTHER)
	{
		static const char *const kinds[] = {
			"", "a folder", "a symbolic link", "a hard link", "a FIFO", "a device"
		};

		osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT, "%s is %s, not a regular file",
				 osa_output_file_name(reader->file), kinds[entry.kind]);
	}
	else
		reader->in_entry = true;	/* to be drained */
	*lines -= 1;
	return ENTRY_BYTES;
}

static void
enter_file(OutputReader *reader)
{
	OutputFile	file = reader->file;

	reader->in_entry = true;
	if (file == OUTPUT_OTHER)
		return;
	if (reader->file_seen[file])
	{
		osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT, "%s is there twice", osa_output_file_name(file));
		return;
	}
	reader->file_seen[file] = true;
	reader->line = 1;
	reader->last_record = -1;
	resetStringInfo(&reader->partial);
	/* of a killed hook features.json may be half of it */
	if (file == OUTPUT_DOCUMENT &&
		(reader->spec.n_records != 1 || reader->spec.mode == OUTPUT_KILLED))
		reader->file = OUTPUT_OTHER;
}

/* Whatever the file is called. */
static void
check_file_size(OutputReader *reader, const TarEntry *entry)
{
	if (entry->size > reader->spec.max_bytes)
		osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT,
				 "output file \"%.300s\" is larger than " INT64_FORMAT " bytes, the limit of all output",
				 entry->path, reader->spec.max_bytes);
	else if (entry->size == reader->spec.max_bytes)
		osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT,
				 "output file \"%.300s\" stopped at the limit of " INT64_FORMAT " bytes",
				 entry->path, reader->spec.max_bytes);
	else if (entry->size > reader->spec.max_bytes - reader->total)
		osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT,
				 "output is larger than " INT64_FORMAT " bytes in all", reader->spec.max_bytes);
	else
		reader->total += entry->size;
}

/*
 * Which of our files is it?  False if the name is absolute or climbs.  Engines
 * write names as out/…; should one leave that out, the first name tells.
 */
static bool
classify_path(OutputReader *reader, const TarEntry *entry, OutputFile *file)
{
	const char *name = NULL;
	size_t		name_len = 0;
	int			depth = 0;
	bool		below_out = false;

	*file = OUTPUT_OTHER;
	if (entry->path[0] == '/')
		return false;
	for (const char *p = entry->path; *p != '\0';)
	{
		size_t		len = strcspn(p, "/");

		if (len == 2 && p[0] == '.' && p[1] == '.')
			return false;
		if (len > 0 && !(len == 1 && p[0] == '.'))
		{
			if (depth++ == 0)
				below_out = len == 3 && strncmp(p, "out", 3) == 0;
			name = p;
			name_len = len;
		}
		p += len;
		if (*p == '/')
			p++;
	}
	if (!reader->first_entry_seen && depth > 0)
	{
		reader->first_entry_seen = true;
		reader->prefixed = below_out && (depth > 1 || entry->kind == TAR_FOLDER);
	}
	if (depth == (reader->prefixed ? 2 : 1) && (below_out || !reader->prefixed))
		*file = file_of_name(name, name_len);
	return true;
}

static OutputFile
file_of_name(const char *name, size_t len)
{
	int			file = 0;

	while (file < OUTPUT_OTHER &&
		   (strlen(osa_output_file_name(file)) != len ||
			memcmp(osa_output_file_name(file), name, len) != 0))
		file++;
	return file;
}

static int64
next_data(OutputReader *reader)
{
	const char *data;
	size_t		len;

	switch (osa_tar_read_data(reader->tar, &data, &len))
	{
		case TAR_DATA:
			if (reader->in_progress)
				keep_progress(reader, data, len);
			if (reader->file == OUTPUT_DOCUMENT)
				reader->document_too_long = reader->document_too_long ||
					!add_partial(reader, data, len);
			else if (reader->file != OUTPUT_OTHER)
			{
				reader->block = data;
				reader->block_len = len;
			}
			return len;
		case TAR_END:
			end_file(reader);
			return ENTRY_BYTES;
		case TAR_SPARSE:
			if (reader->file == OUTPUT_OTHER)
				reader->in_entry = false;	/* the next header skips the rest */
			else
				osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT, "%s line %d is in a hole of a sparse file",
						 osa_output_file_name(reader->file), reader->line);
			return ENTRY_BYTES;
		default:
			fail_archive(reader);
			return 0;
	}
}

static void
keep_progress(OutputReader *reader, const char *data, size_t len)
{
	int64		skip = Max(reader->spec.progress_from - reader->progress_at, 0);
	StringInfo	kept = &reader->progress;

	reader->progress_at += len;
	if (skip >= (int64) len)
		return;
	data += skip;
	len -= skip;
	if (len > OSA_PROGRESS_REST_BYTES)
	{
		data += len - OSA_PROGRESS_REST_BYTES;
		len = OSA_PROGRESS_REST_BYTES;
	}
	if (kept->len + len > OSA_PROGRESS_REST_BYTES)
	{
		int			drop = kept->len + len - OSA_PROGRESS_REST_BYTES;

		memmove(kept->data, kept->data + drop, kept->len - drop);
		kept->len -= drop;
	}
	appendBinaryStringInfo(kept, data, len);
}

size_t
osa_output_progress(const OutputReader *reader, const char **data)
{
	*data = reader->progress.data;
	return reader->progress.len;
}

/* A last line without a newline is whole, unless the hook was killed. */
static void
end_file(OutputReader *reader)
{
	reader->in_entry = false;
	if (reader->file == OUTPUT_OTHER)
		return;
	if (reader->file == OUTPUT_DOCUMENT)
	{
		reader->document = reader->partial;
		initStringInfo(&reader->partial);
		return;
	}
	if (reader->partial.len > 0 && reader->spec.mode == OUTPUT_EXITED)
		take_line(reader, reader->partial.data, reader->partial.len);
	reset_buffer(&reader->partial);

	/* it may have been about to get another line */
	if (reader->spec.mode == OUTPUT_KILLED && reader->last_record >= 0)
		osa_outcomes_leave_out(reader->outcomes, reader->last_record);
}

/* Reads lines of the block until it or the budget is used up. */
static void
take_lines(OutputReader *reader, int64 *lines)
{
	while (reader->block_len > 0 && *lines > 0 && reader->failure.kind == FAILURE_NONE)
	{
		const char *text = reader->block;
		const char *newline = memchr(text, '\n', reader->block_len);
		int64		len = newline != NULL ? newline - text : reader->block_len;
		int64		used = newline != NULL ? len + 1 : len;
		bool		whole = newline != NULL && reader->partial.len == 0 && len <= reader->max_line;

		reader->block += used;
		reader->block_len -= used;
		if (!whole && !add_partial(reader, text, len))
		{
			osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT, "%s line %d is longer than %d bytes",
					 osa_output_file_name(reader->file), reader->line, reader->max_line);
			return;
		}
		if (newline == NULL)
			return;
		if (whole)
			take_line(reader, text, len);
		else
		{
			take_line(reader, reader->partial.data, reader->partial.len);
			reset_buffer(&reader->partial);
		}
		*lines -= 1;
		if (++reader->line > MAX_LINES && reader->failure.kind == FAILURE_NONE)
			osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT, "%s line %d is one too many",
					 osa_output_file_name(reader->file), reader->line - 1);
	}
}

static bool
add_partial(OutputReader *reader, const char *data, int64 len)
{
	if (len > reader->max_line - reader->partial.len)
		return false;
	appendBinaryStringInfo(&reader->partial, data, len);
	return true;
}

static void
take_line(OutputReader *reader, const char *text, size_t len)
{
	int			record;
	size_t		blank = 0;

	while (blank < len && (text[blank] == ' ' || text[blank] == '\t' || text[blank] == '\r'))
		blank++;
	if (blank == len)
		return;
	if (osa_outcomes_line(reader->outcomes, reader->file, reader->line, text, len, &record,
						  &reader->failure))
		reader->last_record = record;
}

/* features.json counts only where there is no features.jsonl. */
static void
take_document(OutputReader *reader)
{
	if (!reader->file_seen[OUTPUT_DOCUMENT] || reader->file_seen[OUTPUT_FEATURES] ||
		reader->spec.n_records != 1 || reader->spec.mode == OUTPUT_KILLED)
		return;
	if (reader->document_too_long)
		osa_fail(&reader->failure, FAILURE_HOOK_OUTPUT, "features.json is longer than %d bytes",
				 reader->max_line);
	else
		osa_outcomes_document(reader->outcomes, reader->document.data, reader->document.len,
							  &reader->failure);
}

static void
finish(OutputReader *reader)
{
	reader->done = true;
	if (reader->spec.mode == OUTPUT_FAILED)
		return;					/* no outcome counts */
	take_document(reader);
	if (reader->failure.kind == FAILURE_NONE &&
		!osa_outcomes_judge(reader->outcomes, &reader->rows, &reader->n_rows, &reader->failure))
		reader->n_rows = 0;
}

/* That is no hook's doing: the engine writes the archive, the server keeps it. */
static void
fail_archive(OutputReader *reader)
{
	osa_fail(&reader->failure, FAILURE_RUNTIME, "could not read the output archive: %s",
			 osa_tar_read_error(reader->tar));
}

/* Empties a buffer without keeping the room of one giant line. */
static void
reset_buffer(StringInfo buffer)
{
	if (buffer->maxlen > 1024 * 1024)
	{
		pfree(buffer->data);
		initStringInfo(buffer);
	}
	resetStringInfo(buffer);
}
