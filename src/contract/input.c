/*
 * input.c
 *		Builds the archive that is put at /osa: in/, files/, out/.
 *
 * Runs in the worker, a bounded piece a step.  Waits for nothing, runs no SQL:
 * attached contents are handed in by the caller.  Every text is UTF-8.
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "contract.h"
#include "input_files.h"
#include "paths.h"
#include "tar.h"
#include "tree.h"

#define STEP_BYTES		(256 * 1024)
/* what an entry costs beside its data, for counting a step's work */
#define ENTRY_BYTES		1024
/* records looked at a step where nothing is written */
#define STEP_RECORDS	4096

typedef enum InputPhase
{
	PHASE_CHECK,				/* sizes and names, before anything is written */
	PHASE_START,				/* in/ and the header of records.jsonl */
	PHASE_RECORDS,				/* its lines */
	PHASE_CONFIG,				/* config.json, files/ */
	PHASE_FOLDER,				/* files/<record>/ */
	PHASE_FILES,				/* a record's attached files */
	PHASE_TREE,					/* a record's files_from */
	PHASE_END,					/* out/, in/.complete, the end */
	PHASE_DONE,
	PHASE_FAILED
} InputPhase;

struct InputBuilder
{
	MemoryContext context;		/* its own */
	const InputRecord *records;
	int			n_records;
	int		   *order;			/* of records.jsonl */
	const char *config;
	const char *files_root;
	int64		max_bytes;
	Spool	   *spool;
	TarWriter  *tar;

	InputPhase	phase;
	int			record;			/* index into order, where the phase has one */
	int64		lines_size;		/* of records.jsonl */
	int64		total;			/* bytes of all files so far */
	bool		utf8_names;
	StringInfoData text;		/* what is being written, from text_at on */
	int64		text_at;
	StringInfoData path;

	FileList   *files;			/* of the record, sorted */
	int			file;			/* index into files */
	bool		file_open;		/* its header is written */
	int64		file_at;
	TreeWalk   *tree;
	bool		tree_file_open;
	Failure		failure;
};

static void sort_records(InputBuilder *builder);
static int	compare_hints(const void *a, const void *b, void *arg);
static int64 do_phase(InputBuilder *builder);
static int64 check_records(InputBuilder *builder);
static bool check_record(InputBuilder *builder, const InputRecord *record);
static int64 start_archive(InputBuilder *builder);
static int64 write_records(InputBuilder *builder);
static int64 write_config(InputBuilder *builder);
static int64 begin_record_files(InputBuilder *builder);
static int64 write_files(InputBuilder *builder);
static int64 begin_file(InputBuilder *builder);
static int64 write_tree(InputBuilder *builder);
static int64 begin_tree_entry(InputBuilder *builder);
static int64 end_archive(InputBuilder *builder);
static bool count_bytes(InputBuilder *builder, int64 size);
static void next_record(InputBuilder *builder);
static const char *entry_path(InputBuilder *builder, const char *path);
static int64 fail_writing(InputBuilder *builder);
static int64 fail(InputBuilder *builder);

/* The arguments must stay as they are until the end. */
InputBuilder *
osa_input_begin(MemoryContext context, const InputRecord *records, int n_records,
				const char *config_json, const char *files_root, int64 max_bytes, Spool *spool)
{
	MemoryContext own = AllocSetContextCreate(context, "osa input", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	InputBuilder *builder = palloc0(sizeof(InputBuilder));

	builder->context = own;
	builder->records = records;
	builder->n_records = n_records;
	builder->config = config_json != NULL ? config_json : "{}";
	builder->files_root = files_root;
	builder->max_bytes = max_bytes;
	builder->spool = spool;
	initStringInfo(&builder->text);
	initStringInfo(&builder->path);
	sort_records(builder);
	MemoryContextSwitchTo(old);
	return builder;
}

/* Closes what is open; the spool is the caller's. */
void
osa_input_end(InputBuilder *builder)
{
	MemoryContextDelete(builder->context);
}

const Failure *
osa_input_failure(const InputBuilder *builder)
{
	return &builder->failure;
}

InputState
osa_input_step(InputBuilder *builder)
{
	MemoryContext old = MemoryContextSwitchTo(builder->context);
	int64		work = 0;

	while (work < STEP_BYTES && builder->phase < PHASE_DONE && osa_input_wants(builder, NULL) == NULL)
		work += do_phase(builder);
	MemoryContextSwitchTo(old);

	if (builder->phase == PHASE_FAILED)
		return INPUT_FAILED;
	if (builder->phase == PHASE_DONE)
		return INPUT_DONE;
	return osa_input_wants(builder, NULL) != NULL ? INPUT_NEEDS_FILE : INPUT_MORE;
}

/* The attached file whose bytes are wanted next, or NULL. */
const InputFile *
osa_input_wants(const InputBuilder *builder, int64 *offset)
{
	if (builder->phase != PHASE_FILES || !builder->file_open)
		return NULL;
	if (offset != NULL)
		*offset = builder->file_at;
	return builder->files->files[builder->file];
}

void
osa_input_file_data(InputBuilder *builder, const char *data, size_t len)
{
	const InputFile *file = osa_input_wants(builder, NULL);

	Assert(file != NULL);
	if (file == NULL)
		return;
	if (len == 0 || (int64) len > file->size - builder->file_at)
	{
		osa_fail(&builder->failure, FAILURE_INTERNAL,
				 "content of file \"%s\" is not as long as it was", file->path);
		fail(builder);
		return;
	}
	if (!osa_tar_write_data(builder->tar, data, len))
	{
		fail_writing(builder);
		return;
	}
	builder->file_at += len;
	if (builder->file_at == file->size)
	{
		builder->file_open = false;
		builder->file++;
	}
}

/*
 * Records go in ascending size when any has one, so that an out-of-memory kill
 * costs the least; those that don't say are last.  Else in the given order.
 */
static void
sort_records(InputBuilder *builder)
{
	bool		hinted = false;

	builder->order = palloc(sizeof(int) * Max(builder->n_records, 1));
	for (int i = 0; i < builder->n_records; i++)
	{
		builder->order[i] = i;
		hinted = hinted || builder->records[i].size_hint_mb != NULL;
	}
	if (hinted)
		qsort_arg(builder->order, builder->n_records, sizeof(int), compare_hints,
				  unconstify(InputRecord *, builder->records));
}

static int
compare_hints(const void *a, const void *b, void *arg)
{
	const InputRecord *records = arg;
	int			left = *(const int *) a;
	int			right = *(const int *) b;
	const char *left_hint = records[left].size_hint_mb;
	const char *right_hint = records[right].size_hint_mb;
	double		left_size = left_hint != NULL ? strtod(left_hint, NULL) : INFINITY;
	double		right_size = right_hint != NULL ? strtod(right_hint, NULL) : INFINITY;

	if (left_size != right_size)
		return left_size < right_size ? -1 : 1;
	return left < right ? -1 : 1;
}

/* One piece of work; returns about how many bytes it was worth. */
static int64
do_phase(InputBuilder *builder)
{
	switch (builder->phase)
	{
		case PHASE_CHECK:
			return check_records(builder);
		case PHASE_START:
			return start_archive(builder);
		case PHASE_RECORDS:
			return write_records(builder);
		case PHASE_CONFIG:
			return write_config(builder);
		case PHASE_FOLDER:
			return begin_record_files(builder);
		case PHASE_FILES:
			return write_files(builder);
		case PHASE_TREE:
			return write_tree(builder);
		case PHASE_END:
			return end_archive(builder);
		default:
			return STEP_BYTES;
	}
}

/* Sizes of the lines, as the archive's header needs them before the data. */
static int64
check_records(InputBuilder *builder)
{
	int			last = Min(builder->record + STEP_RECORDS, builder->n_records);

	for (; builder->record < last; builder->record++)
	{
		if (!check_record(builder, &builder->records[builder->record]))
			return fail(builder);
	}
	if (builder->record < builder->n_records)
		return STEP_BYTES;
	builder->record = 0;
	builder->phase = PHASE_START;
	if (!count_bytes(builder, strlen(builder->config)))
		return fail(builder);
	return ENTRY_BYTES;
}

static bool
check_record(InputBuilder *builder, const InputRecord *record)
{
	const char *problem = osa_record_id_problem(record->id, strlen(record->id));
	int64		size;

	if (problem != NULL)
	{
		osa_fail(&builder->failure, FAILURE_CONFIG, "invalid record id \"%s\"", record->id);
		return false;
	}
	size = osa_record_line_size(record);
	builder->lines_size += size;
	builder->utf8_names = builder->utf8_names || record->files_from != NULL ||
		!osa_is_ascii(record->id);
	for (int i = 0; i < record->n_files; i++)
	{
		const char *path = record->files[i].path;

		if (osa_file_path_problem(path, strlen(path)) != NULL)
		{
			osa_fail(&builder->failure, FAILURE_CONFIG, "invalid file path \"%s\"", path);
			return false;
		}
		builder->utf8_names = builder->utf8_names || !osa_is_ascii(path);
		if (!count_bytes(builder, record->files[i].size))
			return false;
	}
	return count_bytes(builder, size);
}

static int64
start_archive(InputBuilder *builder)
{
	builder->tar = osa_tar_write_open(builder->context, builder->spool, builder->utf8_names);
	if (!osa_tar_write_folder(builder->tar, "in/", 0, 0755) ||
		!osa_tar_write_file(builder->tar, "in/records.jsonl", builder->lines_size))
		return fail_writing(builder);
	builder->phase = PHASE_RECORDS;
	return 2 * ENTRY_BYTES;
}

/* Lines of records.jsonl, a long one in pieces. */
static int64
write_records(InputBuilder *builder)
{
	StringInfo	text = &builder->text;
	int64		piece;

	if (builder->text_at == text->len)
	{
		if (builder->record == builder->n_records)
		{
			builder->record = 0;
			builder->phase = PHASE_CONFIG;
			builder->text_at = 0;
			return 0;
		}
		builder->text_at = 0;
		resetStringInfo(text);
		osa_record_line(&builder->records[builder->order[builder->record++]], text);
	}
	piece = Min(text->len - builder->text_at, STEP_BYTES);
	if (!osa_tar_write_data(builder->tar, text->data + builder->text_at, piece))
		return fail_writing(builder);
	builder->text_at += piece;
	/* don't keep the room of one giant line */
	if (builder->text_at == text->len && text->maxlen > 4 * STEP_BYTES)
	{
		pfree(text->data);
		initStringInfo(text);
		builder->text_at = 0;
	}
	return piece;
}

static int64
write_config(InputBuilder *builder)
{
	int64		size = strlen(builder->config);
	int64		piece;

	if (builder->text_at == 0 &&
		!osa_tar_write_file(builder->tar, "in/config.json", size))
		return fail_writing(builder);
	piece = Min(size - builder->text_at, STEP_BYTES);
	if (!osa_tar_write_data(builder->tar, builder->config + builder->text_at, piece))
		return fail_writing(builder);
	builder->text_at += piece;
	if (builder->text_at == size)
	{
		if (!osa_tar_write_folder(builder->tar, "files/", 0, 0755))
			return fail_writing(builder);
		builder->phase = builder->n_records > 0 ? PHASE_FOLDER : PHASE_END;
	}
	return piece + ENTRY_BYTES;
}

static int64
begin_record_files(InputBuilder *builder)
{
	const InputRecord *record = &builder->records[builder->record];

	if (!osa_tar_write_folder(builder->tar, entry_path(builder, ""), 0, 0755))
		return fail_writing(builder);
	builder->files = osa_file_list(record, &builder->failure);
	if (builder->files == NULL)
		return fail(builder);
	builder->file = 0;
	builder->phase = PHASE_FILES;
	return ENTRY_BYTES;
}

/* Headers of attached files; their data comes by osa_input_file_data. */
static int64
write_files(InputBuilder *builder)
{
	const InputRecord *record = &builder->records[builder->record];

	if (builder->file < builder->files->n_files)
		return begin_file(builder);
	if (record->files_from == NULL)
	{
		next_record(builder);
		return 0;
	}
	if (builder->files_root == NULL || *builder->files_root == '\0')
	{
		osa_fail(&builder->failure, FAILURE_CONFIG,
				 "record \"%s\" takes files from \"%s\", but no folder of the server may be read",
				 record->id, record->files_from);
		return fail(builder);
	}
	if (osa_file_path_problem(record->files_from, strlen(record->files_from)) != NULL)
	{
		osa_fail(&builder->failure, FAILURE_CONFIG, "invalid folder \"%s\"", record->files_from);
		return fail(builder);
	}
	builder->tree = osa_tree_begin(builder->context, builder->files_root, record->files_from,
								   &builder->failure);
	builder->tree_file_open = false;
	builder->phase = PHASE_TREE;
	return ENTRY_BYTES;
}

/* Folders that lead to the file and differ from the last one's, then its header. */
static int64
begin_file(InputBuilder *builder)
{
	const InputFile *file = builder->files->files[builder->file];
	const char *before = builder->file > 0 ? builder->files->files[builder->file - 1]->path : "";
	int64		work = ENTRY_BYTES;

	for (const char *slash = strchr(file->path, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
	{
		int			len = slash - file->path + 1;
		char	   *folder;

		if (strncmp(before, file->path, len) == 0)
			continue;
		folder = pnstrdup(file->path, len);
		if (!osa_tar_write_folder(builder->tar, entry_path(builder, folder), 0, 0755))
			return fail_writing(builder);
		pfree(folder);
		work += ENTRY_BYTES;
	}
	if (!osa_tar_write_file(builder->tar, entry_path(builder, file->path), file->size))
		return fail_writing(builder);
	builder->file_at = 0;
	builder->file_open = file->size > 0;
	if (file->size == 0)
		builder->file++;
	return work;
}

/* Entries and data of a record's files_from. */
static int64
write_tree(InputBuilder *builder)
{
	char		data[32 * 1024];
	ssize_t		got;

	if (!builder->tree_file_open)
		return begin_tree_entry(builder);
	got = osa_tree_read(builder->tree, data, sizeof(data));
	if (got < 0)
		return fail(builder);
	if (got == 0)
		builder->tree_file_open = false;
	else if (!osa_tar_write_data(builder->tar, data, got))
		return fail_writing(builder);
	return got;
}

static int64
begin_tree_entry(InputBuilder *builder)
{
	const char *path;
	int64		size;

	switch (osa_tree_next(builder->tree, &path, &size))
	{
		case TREE_MORE:
			return STEP_BYTES / 4;
		case TREE_END:
			osa_tree_end(builder->tree);
			builder->tree = NULL;
			next_record(builder);
			return 0;
		case TREE_FAILED:
			return fail(builder);
		case TREE_FOLDER:
			if (!osa_file_list_allows(builder->files, path, true, &builder->failure))
				return fail(builder);
			entry_path(builder, path);
			appendStringInfoChar(&builder->path, '/');
			if (!osa_tar_write_folder(builder->tar, builder->path.data, 0, 0755))
				return fail_writing(builder);
			return 4 * ENTRY_BYTES;
		case TREE_FILE:
			if (!osa_file_list_allows(builder->files, path, false, &builder->failure))
				return fail(builder);
			if (!count_bytes(builder, size))
			{
				osa_fail(&builder->failure, FAILURE_CONFIG,
						 "input is larger than " INT64_FORMAT " bytes with file \"%s/%s\"",
						 builder->max_bytes, builder->records[builder->record].files_from, path);
				return fail(builder);
			}
			if (!osa_tar_write_file(builder->tar, entry_path(builder, path), size))
				return fail_writing(builder);
			builder->tree_file_open = true;
			return 4 * ENTRY_BYTES;
	}
	return 0;					/* keep compiler quiet */
}

static int64
end_archive(InputBuilder *builder)
{
	if (!osa_tar_write_folder(builder->tar, "out/", OSA_TAR_HOOK_ID, 0700) ||
		!osa_tar_write_file(builder->tar, "in/.complete", 0) ||
		!osa_tar_write_end(builder->tar))
		return fail_writing(builder);
	builder->phase = PHASE_DONE;
	return ENTRY_BYTES;
}

static bool
count_bytes(InputBuilder *builder, int64 size)
{
	if (size < 0 || size > builder->max_bytes - builder->total)
	{
		osa_fail(&builder->failure, FAILURE_CONFIG,
				 "input is larger than " INT64_FORMAT " bytes", builder->max_bytes);
		return false;
	}
	builder->total += size;
	return true;
}

static void
next_record(InputBuilder *builder)
{
	pfree(builder->files);
	builder->files = NULL;
	builder->record++;
	builder->phase = builder->record < builder->n_records ? PHASE_FOLDER : PHASE_END;
}

/* files/<record>/<path>, valid until the next call. */
static const char *
entry_path(InputBuilder *builder, const char *path)
{
	resetStringInfo(&builder->path);
	appendStringInfo(&builder->path, "files/%s/%s", builder->records[builder->record].id, path);
	return builder->path.data;
}

static int64
fail_writing(InputBuilder *builder)
{
	osa_fail(&builder->failure, FAILURE_RUNTIME, "could not write the input archive: %s",
			 osa_tar_write_error(builder->tar));
	return fail(builder);
}

/* failure is filled; what is open is closed with the context. */
static int64
fail(InputBuilder *builder)
{
	Assert(builder->failure.kind != FAILURE_NONE);
	builder->phase = PHASE_FAILED;
	return STEP_BYTES;
}
