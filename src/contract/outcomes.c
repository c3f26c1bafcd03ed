/*
 * outcomes.c
 *		What the lines of /osa/out say of each record, and the verdict.
 *
 * Runs in the worker.  No I/O; never raises, but for lack of memory.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "columns.h"
#include "contract.h"
#include "json.h"
#include "outcomes.h"
#include "progress.h"

typedef struct RecordSlot
{
	int			features_line;	/* 0: none */
	int			rejection_line;
	int			error_line;
	int			n_features;
	char	   *features;		/* array text, or NULL */
	char	   *reason;			/* of rejections.jsonl */
	char	   *progress_reason;	/* of progress.jsonl; not NULL: rejected */
	char	   *error;
	bool		retryable;
	bool		left_out;
} RecordSlot;

typedef struct RecordEntry
{
	const char *id;
	int			record;
	uint32		hash;
	char		status;
} RecordEntry;

#define SH_PREFIX recordhash
#define SH_ELEMENT_TYPE RecordEntry
#define SH_KEY_TYPE const char *
#define SH_KEY id
#define SH_HASH_KEY(tb, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(tb, a, b) (strcmp((a), (b)) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, entry) ((entry)->hash)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct OutcomeTable
{
	MemoryContext context;
	MemoryContext scratch;		/* of one line */
	const OutputSpec *spec;
	RecordSlot *slots;
	recordhash_hash *hash;
	bool		from_document;
};

/* What one line holds; texts in the scratch context. */
typedef struct LineValues
{
	char	   *id;
	char	   *text;			/* reason or error */
	bool		has_features;
	StringInfoData features;
	int			n_features;
	bool		has_retryable;
	bool		retryable;
} LineValues;

/* The line being read, for messages. */
typedef struct LinePlace
{
	OutcomeTable *table;
	OutputFile	file;
	int			number;
	Failure    *failure;
} LinePlace;

static const char *const file_names[] = {
	"features.jsonl", "rejections.jsonl", "errors.jsonl", "progress.jsonl", "features.json"
};

static bool read_line(LinePlace *place, const char *text, size_t len, LineValues *values);
static bool read_field(LinePlace *place, JsonReader *reader, LineValues *values);
static bool read_text(LinePlace *place, JsonReader *reader, const char *key, char **text);
static bool read_features(LinePlace *place, JsonReader *reader, LineValues *values);
static bool read_feature(LinePlace *place, JsonReader *reader, LineValues *values);
static bool check_values(LinePlace *place, const LineValues *values);
static bool check_cardinality(LinePlace *place, int n_features);
static bool note_values(LinePlace *place, const LineValues *values, int record);
static void note_features(OutcomeTable *table, RecordSlot *slot, const LineValues *values);
static void replace_text(OutcomeTable *table, char **kept, const char *text);
static bool progress_line(LinePlace *place, const char *text, size_t len, int *record);
static int	find_record(const OutcomeTable *table, const char *id);
static bool fail_json(LinePlace *place, const JsonReader *reader);
static bool fail_line(LinePlace *place, const char *fmt,...) pg_attribute_printf(2, 3);

const char *
osa_output_file_name(OutputFile file)
{
	return file_names[file];
}

OutcomeTable *
osa_outcomes_begin(MemoryContext context, const OutputSpec *spec)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	OutcomeTable *table = palloc0(sizeof(OutcomeTable));

	table->context = context;
	table->scratch = AllocSetContextCreate(context, "osa output line", ALLOCSET_DEFAULT_SIZES);
	table->spec = spec;
	table->slots = MemoryContextAllocExtended(context, sizeof(RecordSlot) * Max(spec->n_records, 1),
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	table->hash = recordhash_create(context, spec->n_records, NULL);
	for (int i = 0; i < spec->n_records; i++)
	{
		bool		found;
		RecordEntry *entry = recordhash_insert(table->hash, spec->records[i].id, &found);

		if (!found)
			entry->record = i;
	}
	MemoryContextSwitchTo(old);
	return table;
}

void
osa_outcomes_leave_out(OutcomeTable *table, int record)
{
	table->slots[record].left_out = true;
}

bool
osa_outcomes_line(OutcomeTable *table, OutputFile file, int line_number,
				  const char *text, size_t len, int *record, Failure *failure)
{
	MemoryContext old = MemoryContextSwitchTo(table->scratch);
	LinePlace	place = {table, file, line_number, failure};
	LineValues	values;
	bool		good;

	*record = -1;
	if (file == OUTPUT_PROGRESS)
		good = progress_line(&place, text, len, record);
	else
	{
		good = read_line(&place, text, len, &values) && check_values(&place, &values);
		if (good)
		{
			*record = find_record(table, values.id);
			if (*record < 0)
				good = fail_line(&place, "names record \"%.200s\", which was not given to the hook",
								 values.id);
		}
		good = good && note_values(&place, &values, *record);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(table->scratch);
	return good;
}

bool
osa_outcomes_document(OutcomeTable *table, const char *text, size_t len, Failure *failure)
{
	MemoryContext old = MemoryContextSwitchTo(table->scratch);
	LinePlace	place = {table, OUTPUT_DOCUMENT, 1, failure};
	LineValues	values;
	JsonReader	reader;
	bool		good;

	memset(&values, 0, sizeof(values));
	initStringInfo(&values.features);
	osa_json_begin(&reader, text, len);
	osa_json_next(&reader);
	if (reader.event == JSON_EVENT_ERROR)
		good = fail_json(&place, &reader);
	else if (reader.event == JSON_EVENT_ARRAY)
		good = read_features(&place, &reader, &values);
	else
		good = read_feature(&place, &reader, &values);
	place.number = osa_json_line(&reader);
	if (good && osa_json_next(&reader) != JSON_EVENT_END)
		good = fail_json(&place, &reader);
	good = good && check_cardinality(&place, values.n_features);
	if (good)
	{
		table->from_document = true;
		table->slots[0].features_line = 1;
		note_features(table, &table->slots[0], &values);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(table->scratch);
	return good;
}

/*
 * A rejection wins over everything; an error with features contradicts itself.
 * Of a hook that was killed only what it had said counts.
 */
bool
osa_outcomes_judge(OutcomeTable *table, OutcomeRow **rows, int *n_rows, Failure *failure)
{
	const OutputSpec *spec = table->spec;
	OutcomeRow *row;

	*rows = MemoryContextAllocExtended(table->context, sizeof(OutcomeRow) * Max(spec->n_records, 1),
									   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	row = *rows;
	for (int i = 0; i < spec->n_records; i++)
	{
		const RecordSlot *slot = &table->slots[i];

		if (slot->left_out)
			continue;
		row->record = i;
		if (slot->rejection_line > 0 || slot->progress_reason != NULL)
		{
			row->status = OUTCOME_REJECTED;
			row->reason = slot->rejection_line > 0 ? slot->reason : slot->progress_reason;
		}
		else if (slot->error_line > 0 && slot->n_features > 0)
		{
			osa_fail(failure, FAILURE_HOOK_OUTPUT,
					 "errors.jsonl line %d has an error of record \"%s\", but %s line %d has features of it",
					 slot->error_line, spec->records[i].id,
					 file_names[table->from_document ? OUTPUT_DOCUMENT : OUTPUT_FEATURES],
					 slot->features_line);
			return false;
		}
		else if (slot->error_line > 0)
		{
			row->status = OUTCOME_ERRORED;
			row->error = slot->error;
			row->retryable = slot->retryable;
		}
		else if (slot->features_line > 0)
		{
			row->status = OUTCOME_PASSED;
			row->features = slot->features;
		}
		else if (spec->mode == OUTPUT_KILLED)
			continue;
		else if (spec->cardinality == CARDINALITY_NONE)
			row->status = OUTCOME_PASSED;
		else
		{
			row->status = OUTCOME_ERRORED;
			row->error = "no outcome";
		}
		row++;
	}
	*n_rows = row - *rows;
	return true;
}

/* Reads a line's object; keys that are not ours are left alone. */
static bool
read_line(LinePlace *place, const char *text, size_t len, LineValues *values)
{
	JsonReader	reader;

	memset(values, 0, sizeof(*values));
	initStringInfo(&values->features);
	osa_json_begin(&reader, text, len);
	osa_json_next(&reader);
	if (reader.event == JSON_EVENT_ERROR)
		return fail_json(place, &reader);
	if (reader.event != JSON_EVENT_OBJECT)
		return fail_line(place, "is not a JSON object");
	while (osa_json_next(&reader) == JSON_EVENT_KEY)
	{
		if (!read_field(place, &reader, values))
			return false;
	}
	if (reader.event == JSON_EVENT_ERROR || osa_json_next(&reader) != JSON_EVENT_END)
		return fail_json(place, &reader);
	return true;
}

static bool
read_field(LinePlace *place, JsonReader *reader, LineValues *values)
{
	if (osa_json_equals(reader, "id"))
		return read_text(place, reader, "id", &values->id);
	if (place->file == OUTPUT_REJECTIONS && osa_json_equals(reader, "reason"))
		return read_text(place, reader, "reason", &values->text);
	if (place->file == OUTPUT_ERRORS && osa_json_equals(reader, "error"))
		return read_text(place, reader, "error", &values->text);
	if (place->file == OUTPUT_ERRORS && osa_json_equals(reader, "retryable"))
	{
		if (values->has_retryable)
			return fail_line(place, "has \"retryable\" twice");
		values->has_retryable = true;
		osa_json_next(reader);
		values->retryable = reader->event == JSON_EVENT_TRUE;
		if (reader->event != JSON_EVENT_TRUE && reader->event != JSON_EVENT_FALSE &&
			reader->event != JSON_EVENT_ERROR)
			return fail_line(place, "has a \"retryable\" that is neither true nor false");
		return reader->event != JSON_EVENT_ERROR || fail_json(place, reader);
	}
	if (place->file == OUTPUT_FEATURES && osa_json_equals(reader, "features"))
	{
		if (values->has_features)
			return fail_line(place, "has \"features\" twice");
		values->has_features = true;
		osa_json_next(reader);
		if (reader->event == JSON_EVENT_ERROR)
			return fail_json(place, reader);
		if (reader->event != JSON_EVENT_ARRAY)
			return fail_line(place, "has \"features\" that are not an array");
		return read_features(place, reader, values);
	}
	osa_json_next(reader);
	return osa_json_skip(reader) || fail_json(place, reader);
}

static bool
read_text(LinePlace *place, JsonReader *reader, const char *key, char **text)
{
	if (*text != NULL)
		return fail_line(place, "has \"%s\" twice", key);
	osa_json_next(reader);
	if (reader->event == JSON_EVENT_ERROR)
		return fail_json(place, reader);
	if (reader->event != JSON_EVENT_STRING)
		return fail_line(place, "has \"%s\" that is not text", key);
	*text = osa_json_text(reader);
	return true;
}

/* The elements of an array; its first event was just returned. */
static bool
read_features(LinePlace *place, JsonReader *reader, LineValues *values)
{
	while (osa_json_next(reader) != JSON_EVENT_ARRAY_END)
	{
		if (reader->event == JSON_EVENT_ERROR)
			return fail_json(place, reader);
		if (!read_feature(place, reader, values))
			return false;
	}
	return true;
}

/* One feature; a null counts as none. */
static bool
read_feature(LinePlace *place, JsonReader *reader, LineValues *values)
{
	const OutputSpec *spec = place->table->spec;
	const char *start = reader->token;
	char		problem[256];

	if (reader->event == JSON_EVENT_NULL)
		return true;
	values->n_features++;
	if (!osa_columns_check(reader, spec->columns, spec->n_columns, problem, sizeof(problem)))
	{
		if (reader->event == JSON_EVENT_ERROR)
			return fail_json(place, reader);
		if (place->file == OUTPUT_DOCUMENT)
			place->number = osa_json_line(reader);
		return fail_line(place, "has a feature that does not fit: feature %d %s",
						 values->n_features, problem);
	}
	appendStringInfoString(&values->features, values->n_features == 1 ? "[" : ", ");
	appendBinaryStringInfo(&values->features, start, reader->token + reader->token_len - start);
	return true;
}

static bool
check_values(LinePlace *place, const LineValues *values)
{
	if (values->id == NULL)
		return fail_line(place, "has no \"id\"");
	if (place->file == OUTPUT_REJECTIONS && values->text == NULL)
		return fail_line(place, "has no \"reason\"");
	if (place->file == OUTPUT_ERRORS && values->text == NULL)
		return fail_line(place, "has no \"error\"");
	if (place->file != OUTPUT_FEATURES)
		return true;
	if (!values->has_features)
		return fail_line(place, "has no \"features\"");
	return check_cardinality(place, values->n_features);
}

static bool
check_cardinality(LinePlace *place, int n_features)
{
	HookCardinality cardinality = place->table->spec->cardinality;

	if (cardinality == CARDINALITY_NONE && n_features > 0)
		return fail_line(place, "has a feature, but the hook declares cardinality \"none\"");
	if (cardinality == CARDINALITY_ONE && n_features > 1)
		return fail_line(place, "has %d features of one record, but the hook declares cardinality \"one\"",
						 n_features);
	return true;
}

/* Two lines of features contradict each other; else the last line counts. */
static bool
note_values(LinePlace *place, const LineValues *values, int record)
{
	OutcomeTable *table = place->table;
	RecordSlot *slot = &table->slots[record];

	switch (place->file)
	{
		case OUTPUT_FEATURES:
			if (slot->features_line > 0)
				return fail_line(place, "is the second one of record \"%.200s\", after line %d",
								 values->id, slot->features_line);
			slot->features_line = place->number;
			note_features(table, slot, values);
			break;
		case OUTPUT_REJECTIONS:
			slot->rejection_line = place->number;
			replace_text(table, &slot->reason, values->text);
			break;
		default:
			slot->error_line = place->number;
			slot->retryable = values->retryable;
			replace_text(table, &slot->error, values->text);
			break;
	}
	return true;
}

static void
note_features(OutcomeTable *table, RecordSlot *slot, const LineValues *values)
{
	slot->n_features = values->n_features;
	if (values->n_features == 0)
		return;
	slot->features = MemoryContextAlloc(table->context, values->features.len + 2);
	memcpy(slot->features, values->features.data, values->features.len);
	strcpy(slot->features + values->features.len, "]");
}

static void
replace_text(OutcomeTable *table, char **kept, const char *text)
{
	if (*kept != NULL)
		pfree(*kept);
	*kept = MemoryContextStrdup(table->context, text);
}

/*
 * Progress is advice, and a bad line skipped, but for one thing: the status
 * "rejected" is an outcome of the record it names, or of the only one.
 */
static bool
progress_line(LinePlace *place, const char *text, size_t len, int *record)
{
	OutcomeTable *table = place->table;
	ProgressLine line;

	if (!osa_progress_line(text, len, &line))
		return true;
	if (line.record_id != NULL)
		*record = find_record(table, line.record_id);
	else if (table->spec->n_records == 1)
		*record = 0;
	if (strcmp(line.status, "rejected") != 0)
		return true;
	if (*record >= 0)
		replace_text(table, &table->slots[*record].progress_reason,
					 line.message != NULL ? line.message : "rejected");
	else if (line.record_id != NULL)
		return fail_line(place, "rejects record \"%.200s\", which was not given to the hook",
						 line.record_id);
	return true;
}

static int
find_record(const OutcomeTable *table, const char *id)
{
	const RecordEntry *entry = recordhash_lookup(table->hash, id);

	return entry != NULL ? entry->record : -1;
}

static bool
fail_json(LinePlace *place, const JsonReader *reader)
{
	if (place->file == OUTPUT_DOCUMENT)
		place->number = osa_json_line(reader);
	return fail_line(place, "%s (byte %d)", reader->error, reader->error_at);
}

/* Fills the failure with place and reason; returns false. */
static bool
fail_line(LinePlace *place, const char *fmt,...)
{
	char		reason[512];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	osa_fail(place->failure, FAILURE_HOOK_OUTPUT, "%s line %d %s", file_names[place->file],
			 place->number, reason);
	return false;
}
