/*
 * records.c
 *		Checks of the records document of a submission.
 *
 * Runs in backends, as the caller.  Opens folders beneath files_root to see
 * that they are there; never reads or writes anything.
 */
#include "postgres.h"

#include <math.h>
#include <unistd.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "contract/paths.h"
#include "errors.h"
#include "fn/args.h"
#include "fn/records.h"
#include "guc.h"

/* More than any file system holds. */
#define SIZE_HINT_MAX_MB	1e12

typedef struct RecordId
{
	const char *id;				/* not zero-terminated */
	int			len;
	int			place;			/* in the array, from 1 */
} RecordId;

static void check_record(JsonbContainer *record, RecordId *id);
static void check_key(const JsonbValue *key, const JsonbValue *value, RecordId *id);
static void check_size_hint(const JsonbValue *value, int place);
static void check_files_from(const JsonbValue *value, int place);
static void check_unique(RecordId *ids, int n);
static int	compare_ids(const void *a, const void *b);
static void bad_record(int place, const char *problem) pg_attribute_noreturn();
static char *text_of(const JsonbValue *value);

void
osa_check_records(Jsonb *records)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	RecordId   *ids;
	int			n;
	int			i = 0;

	if (!JB_ROOT_IS_ARRAY(records) || JB_ROOT_IS_SCALAR(records))
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_RECORDS),
				 errmsg("records must be a JSON array"),
				 errdetail("The document is of type %s.", osa_jsonb_kind(records)),
				 errhint("Give an array such as [{\"id\": \"r1\", \"metadata\": {}}].")));
	n = JB_ROOT_COUNT(records);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_RECORDS),
				 errmsg("records must not be empty"),
				 errhint("Give at least one record, such as [{\"id\": \"r1\", \"metadata\": {}}].")));
	if (n > osa_guc_max_records)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_TOO_LARGE),
				 errmsg("too many records: %d", n),
				 errdetail("A run can have %d.", osa_guc_max_records),
				 errhint("Submit fewer records at once, or raise osa_validation.max_records.")));

	ids = palloc(sizeof(RecordId) * n);
	iterator = JsonbIteratorInit(&records->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		ids[i].place = i + 1;
		ids[i].id = NULL;
		if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			bad_record(i + 1, "It is not an object.");
		check_record(value.val.binary.data, &ids[i]);
		i++;
	}
	check_unique(ids, n);
	pfree(ids);
}

void
osa_check_record_id(const char *id)
{
	const char *utf8 = pg_server_to_any(id, strlen(id), PG_UTF8);
	const char *problem = osa_record_id_problem(utf8, strlen(utf8));

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_RECORDS),
				 errmsg("invalid record id"),
				 errdetail_internal("%s", problem),
				 errhint("A record id becomes a folder's name: 1 to %d bytes, without slashes and control characters.",
						 OSA_RECORD_ID_MAX)));
}

static void
check_record(JsonbContainer *record, RecordId *id)
{
	JsonbIterator *iterator = JsonbIteratorInit(record);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&iterator, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&iterator, &value, true);
		check_key(&key, &value, id);
	}
	if (id->id == NULL)
		bad_record(id->place, "It has no \"id\".");
}

static void
check_key(const JsonbValue *key, const JsonbValue *value, RecordId *id)
{
	char	   *name = text_of(key);

	if (strcmp(name, "id") == 0)
	{
		const char *problem;
		char	   *utf8;

		if (value->type != jbvString)
			bad_record(id->place, "Its \"id\" is not a string.");
		id->id = value->val.string.val;
		id->len = value->val.string.len;
		utf8 = pg_server_to_any(id->id, id->len, PG_UTF8);
		problem = osa_record_id_problem(utf8, utf8 == id->id ? (size_t) id->len : strlen(utf8));
		if (problem != NULL)
			bad_record(id->place, problem);
	}
	else if (strcmp(name, "metadata") == 0)
	{
		if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
			bad_record(id->place, "Its \"metadata\" is not an object.");
	}
	else if (strcmp(name, "size_hint_mb") == 0)
		check_size_hint(value, id->place);
	else if (strcmp(name, "files_from") == 0)
		check_files_from(value, id->place);
	else
		bad_record(id->place, psprintf("It has an unrecognized key \"%s\".",
									   pnstrdup(name, pg_mbcliplen(name, strlen(name), 100))));
	pfree(name);
}

/* JSON null is none, as an application's query may write it. */
static void
check_size_hint(const JsonbValue *value, int place)
{
	double		size;

	if (value->type == jbvNull)
		return;
	if (value->type != jbvNumeric)
		bad_record(place, "Its \"size_hint_mb\" is not a number.");
	size = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(value->val.numeric)));
	if (!(size >= 0 && size <= SIZE_HINT_MAX_MB))
		bad_record(place, "Its \"size_hint_mb\" is negative or too large.");
}

static void
check_files_from(const JsonbValue *value, int place)
{
	const char *problem;
	const char *utf8;
	char	   *path;
	bool		is_folder;
	int			fd;
	Failure		failure;

	if (value->type == jbvNull)
		return;
	if (value->type != jbvString)
		bad_record(place, "Its \"files_from\" is not a string.");
	if (osa_guc_files_root == NULL || *osa_guc_files_root == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OSA_INVALID_PATH),
				 errmsg("record %d: \"files_from\" cannot be used", place),
				 errdetail("No folder of the server may be read: osa_validation.files_root is empty."),
				 errhint("An administrator can set it; files can also be given by osa_attach_file().")));
	path = text_of(value);
	utf8 = pg_server_to_any(path, strlen(path), PG_UTF8);
	problem = osa_file_path_problem(utf8, strlen(utf8));
	if (problem == NULL)
	{
		if (osa_open_beneath(osa_guc_files_root, path, PATH_FOLDER, &fd, &is_folder, &failure))
		{
			close(fd);
			pfree(path);
			return;
		}
		problem = psprintf("It was refused: %s.", failure.message);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OSA_INVALID_PATH),
			 errmsg("invalid \"files_from\" of record %d", place),
			 errdetail_internal("%s", problem),
			 errhint("Name a folder beneath osa_validation.files_root that is reached without symbolic links.")));
}

static void
check_unique(RecordId *ids, int n)
{
	qsort(ids, n, sizeof(RecordId), compare_ids);
	for (int i = 1; i < n; i++)
	{
		if (ids[i].len == ids[i - 1].len && memcmp(ids[i].id, ids[i - 1].id, ids[i].len) == 0)
			bad_record(ids[i].place, psprintf("Record %d has the same id \"%.*s\".",
											  ids[i - 1].place, ids[i].len, ids[i].id));
	}
}

static int
compare_ids(const void *a, const void *b)
{
	const RecordId *x = a;
	const RecordId *y = b;
	int			order = memcmp(x->id, y->id, Min(x->len, y->len));

	if (order != 0)
		return order;
	if (x->len != y->len)
		return x->len - y->len;
	return x->place - y->place;
}

static void
bad_record(int place, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_OSA_INVALID_RECORDS),
			 errmsg("invalid record %d", place),
			 errdetail_internal("%s", problem),
			 errhint("A record is an object with a unique \"id\" that can be a folder's name, and optionally \"metadata\", \"size_hint_mb\" and \"files_from\".")));
}

static char *
text_of(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}
