/*
 * input_files.c
 *		Pieces of the input archive: a record's line, its attached files.
 *
 * Runs in the worker; pure.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "input_files.h"

static int64 escaped_size(const char *text);
static int	compare_files(const void *a, const void *b);
static int	lower_bound(const FileList *list, const char *path, size_t len);
static bool is_attached(const FileList *list, const char *path, size_t len);
static bool clash(const char *path, Failure *failure);

/*
 * A record id has no control characters, so that quotes and backslashes are
 * all there is to escape.
 */
int64
osa_record_line_size(const InputRecord *record)
{
	int64		size = strlen("{\"id\":\"\",\"metadata\":}\n");

	size += escaped_size(record->id);
	size += strlen(record->metadata != NULL ? record->metadata : "{}");
	if (record->size_hint_mb != NULL)
		size += strlen(",\"size_hint_mb\":") + strlen(record->size_hint_mb);
	return size;
}

void
osa_record_line(const InputRecord *record, StringInfo line)
{
	int			start;

	appendStringInfoString(line, "{\"id\":\"");
	for (const char *p = record->id; *p != '\0'; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfoChar(line, '\\');
		appendStringInfoChar(line, *p);
	}
	appendStringInfoString(line, "\",\"metadata\":");
	start = line->len;
	appendStringInfoString(line, record->metadata != NULL ? record->metadata : "{}");
	/* newlines are blanks to JSON, but the end of a line to its reader */
	for (char *p = line->data + start; *p != '\0'; p++)
	{
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	}
	if (record->size_hint_mb != NULL)
		appendStringInfo(line, ",\"size_hint_mb\":%s", record->size_hint_mb);
	appendStringInfoString(line, "}\n");
}

bool
osa_is_ascii(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (IS_HIGHBIT_SET(*text))
			return false;
	}
	return true;
}

static int64
escaped_size(const char *text)
{
	int64		size = 0;

	for (; *text != '\0'; text++)
		size += *text == '"' || *text == '\\' ? 2 : 1;
	return size;
}

FileList *
osa_file_list(const InputRecord *record, Failure *failure)
{
	FileList   *list = palloc(offsetof(FileList, files) + sizeof(InputFile *) * record->n_files);

	list->n_files = record->n_files;
	for (int i = 0; i < record->n_files; i++)
		list->files[i] = &record->files[i];
	if (list->n_files > 1)
		qsort(list->files, list->n_files, sizeof(InputFile *), compare_files);
	for (int i = 0; i < list->n_files; i++)
	{
		const char *path = list->files[i]->path;
		bool		clashes = i > 0 && strcmp(path, list->files[i - 1]->path) == 0;

		for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
			clashes = clashes || is_attached(list, path, slash - path);
		if (clashes)
		{
			clash(path, failure);
			pfree(list);
			return NULL;
		}
	}
	return list;
}

bool
osa_file_list_allows(const FileList *list, const char *path, bool folder, Failure *failure)
{
	size_t		len = strlen(path);

	if (list->n_files == 0)
		return true;
	if (is_attached(list, path, len))
		return clash(path, failure);
	if (!folder)
	{
		/* an attached file may need this path as a folder */
		char	   *prefix = palloc(len + 2);
		int			at;

		memcpy(prefix, path, len);
		prefix[len] = '/';
		prefix[len + 1] = '\0';
		at = lower_bound(list, prefix, len + 1);
		folder = at == list->n_files || strncmp(list->files[at]->path, prefix, len + 1) != 0;
		pfree(prefix);
		if (!folder)
			return clash(path, failure);
	}
	return true;
}

static int
compare_files(const void *a, const void *b)
{
	const InputFile *left = *(const InputFile *const *) a;
	const InputFile *right = *(const InputFile *const *) b;

	return strcmp(left->path, right->path);
}

/* The first file whose path is not less than this one. */
static int
lower_bound(const FileList *list, const char *path, size_t len)
{
	int			low = 0;
	int			high = list->n_files;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (strncmp(list->files[middle]->path, path, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The path is the first len bytes. */
static bool
is_attached(const FileList *list, const char *path, size_t len)
{
	int			at = lower_bound(list, path, len);

	/* the shortest of those that begin so is the first */
	return at < list->n_files && strncmp(list->files[at]->path, path, len) == 0 &&
		list->files[at]->path[len] == '\0';
}

static bool
clash(const char *path, Failure *failure)
{
	osa_fail(failure, FAILURE_CONFIG, "two files of a record are both at \"%s\"", path);
	return false;
}
