/*
 * columns.c
 *		A hook's declared feature columns, and checking features against them.
 *
 * Runs in backends (declaring) and in the worker.  Never raises: dates and
 * times are checked here, since the types' input functions raise.
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/memutils.h"

#include "columns.h"

const char *const osa_column_types[] = {
	"bool", "int4", "int8", "float8", "numeric", "text", "date", "timestamptz", "jsonb", NULL
};

static bool parse_column(JsonReader *reader, FeatureColumn *column, Failure *failure, int number);
static bool parse_column_key(JsonReader *reader, FeatureColumn *column, Failure *failure, int number);
static const char *find_type(const char *name);
static bool name_valid(const char *name);
static int	find_column(const JsonReader *reader, const FeatureColumn *columns, int n_columns, int guess);
static bool value_fits(const JsonReader *reader, const char *type);
static bool text_is_date(const char *text, int len);
static bool text_is_timestamptz(const char *text, int len);
static int	digits(const char *p, int n, int max);

/* osa_columns_parse reads a columns document; its text is UTF-8. */
bool
osa_columns_parse(const char *json, MemoryContext context,
				  FeatureColumn **columns, int *n_columns, Failure *failure)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	JsonReader	reader;
	FeatureColumn *list = palloc(sizeof(FeatureColumn) * OSA_MAX_COLUMNS);
	int			n = 0;
	bool		valid = true;

	osa_json_begin(&reader, json, strlen(json));
	if (osa_json_next(&reader) != JSON_EVENT_ARRAY)
	{
		osa_fail(failure, FAILURE_CONFIG, "columns must be a JSON array");
		valid = false;
	}
	while (valid && osa_json_next(&reader) != JSON_EVENT_ARRAY_END)
	{
		if (reader.event == JSON_EVENT_ERROR)
		{
			osa_fail(failure, FAILURE_CONFIG, "columns document %s", reader.error);
			valid = false;
		}
		else if (n == OSA_MAX_COLUMNS)
		{
			osa_fail(failure, FAILURE_CONFIG, "a hook must not have more than %d columns", OSA_MAX_COLUMNS);
			valid = false;
		}
		else
			valid = parse_column(&reader, &list[n], failure, n + 1);
		for (int i = 0; valid && i < n; i++)
		{
			if (strcmp(list[i].name, list[n].name) == 0)
			{
				osa_fail(failure, FAILURE_CONFIG, "column \"%s\" is declared twice", list[i].name);
				valid = false;
			}
		}
		n++;
	}
	if (valid && osa_json_next(&reader) != JSON_EVENT_END)
	{
		osa_fail(failure, FAILURE_CONFIG, "columns document %s", reader.error);
		valid = false;
	}
	MemoryContextSwitchTo(old);
	*columns = list;
	*n_columns = n;
	return valid;
}

/* One column; its object's first event was just returned. */
static bool
parse_column(JsonReader *reader, FeatureColumn *column, Failure *failure, int number)
{
	memset(column, 0, sizeof(*column));
	if (reader->event != JSON_EVENT_OBJECT)
	{
		osa_fail(failure, FAILURE_CONFIG, "column %d must be a JSON object", number);
		return false;
	}
	while (osa_json_next(reader) == JSON_EVENT_KEY)
	{
		if (!parse_column_key(reader, column, failure, number))
			return false;
	}
	if (reader->event == JSON_EVENT_ERROR)
	{
		osa_fail(failure, FAILURE_CONFIG, "columns document %s", reader->error);
		return false;
	}
	if (column->name == NULL || column->type == NULL)
	{
		osa_fail(failure, FAILURE_CONFIG, "column %d has no \"%s\"", number,
				 column->name == NULL ? "name" : "type");
		return false;
	}
	return true;
}

static bool
parse_column_key(JsonReader *reader, FeatureColumn *column, Failure *failure, int number)
{
	char	   *key = osa_json_text(reader);
	JsonEvent	event = osa_json_next(reader);
	char	   *text = event == JSON_EVENT_STRING ? osa_json_text(reader) : NULL;

	if (event == JSON_EVENT_ERROR)
	{
		osa_fail(failure, FAILURE_CONFIG, "columns document %s", reader->error);
		return false;
	}
	if (strcmp(key, "name") == 0)
	{
		if (text == NULL || !name_valid(text))
		{
			osa_fail(failure, FAILURE_CONFIG,
					 "column %d must have a name of a-z, 0-9 and _, at most 63, not starting with a digit",
					 number);
			return false;
		}
		column->name = text;
	}
	else if (strcmp(key, "type") == 0)
	{
		column->type = text != NULL ? find_type(text) : NULL;
		if (column->type == NULL)
		{
			osa_fail(failure, FAILURE_CONFIG,
					 "column %d must have one of the types bool, int4, int8, float8, numeric, text, date, timestamptz and jsonb",
					 number);
			return false;
		}
	}
	else if (strcmp(key, "unit") == 0)
	{
		if (text == NULL && event != JSON_EVENT_NULL)
		{
			osa_fail(failure, FAILURE_CONFIG, "the unit of column %d must be text", number);
			return false;
		}
	}
	else if (strcmp(key, "nullable") == 0)
	{
		if (event != JSON_EVENT_TRUE && event != JSON_EVENT_FALSE)
		{
			osa_fail(failure, FAILURE_CONFIG, "\"nullable\" of column %d must be true or false", number);
			return false;
		}
		column->nullable = event == JSON_EVENT_TRUE;
	}
	else
	{
		osa_fail(failure, FAILURE_CONFIG, "unrecognized key \"%.100s\" in column %d", key, number);
		return false;
	}
	return true;
}

static const char *
find_type(const char *name)
{
	for (int i = 0; osa_column_types[i] != NULL; i++)
	{
		if (strcmp(osa_column_types[i], name) == 0)
			return osa_column_types[i];
	}
	return NULL;
}

static bool
name_valid(const char *name)
{
	size_t		len = strlen(name);

	return len >= 1 && len <= 63 && !(name[0] >= '0' && name[0] <= '9') &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789") == len;
}

bool
osa_columns_check(JsonReader *reader, const FeatureColumn *columns, int n_columns,
				  char *problem, size_t problem_size)
{
	bool		seen[OSA_MAX_COLUMNS] = {false};
	int			column = -1;

	*problem = '\0';
	if (n_columns == 0)
		return osa_json_skip(reader);
	if (reader->event != JSON_EVENT_OBJECT)
	{
		snprintf(problem, problem_size, "must be an object");
		return false;
	}
	while (osa_json_next(reader) == JSON_EVENT_KEY)
	{
		column = find_column(reader, columns, n_columns, column + 1);
		if (column < 0)
		{
			snprintf(problem, problem_size, "has %.*s, which is not a declared column",
					 Min(reader->token_len, 100), reader->token);
			return false;
		}
		if (seen[column])
		{
			snprintf(problem, problem_size, "has column \"%s\" twice", columns[column].name);
			return false;
		}
		if (osa_json_next(reader) == JSON_EVENT_ERROR)
			return false;
		/* a null is as good as absent */
		seen[column] = reader->event != JSON_EVENT_NULL || columns[column].nullable;
		if (reader->event != JSON_EVENT_NULL && !value_fits(reader, columns[column].type))
		{
			snprintf(problem, problem_size, "column \"%s\" is not of type %s",
					 columns[column].name, columns[column].type);
			return false;
		}
		if (!osa_json_skip(reader))
			return false;
	}
	if (reader->event == JSON_EVENT_ERROR)
		return false;
	for (int i = 0; i < n_columns; i++)
	{
		if (!seen[i] && !columns[i].nullable)
		{
			snprintf(problem, problem_size, "has no value for column \"%s\"", columns[i].name);
			return false;
		}
	}
	return true;
}

/* Hooks write their columns in one order: the guess is mostly right. */
static int
find_column(const JsonReader *reader, const FeatureColumn *columns, int n_columns, int guess)
{
	for (int i = 0; i < n_columns; i++)
	{
		int			at = (guess + i) % n_columns;

		if (osa_json_equals(reader, columns[at].name))
			return at;
	}
	return -1;
}

/* Does the value just begun fit?  Types are those of osa_column_types. */
static bool
value_fits(const JsonReader *reader, const char *type)
{
	JsonEvent	event = reader->event;
	int64		integer;
	double		number;
	char	   *text;
	bool		fits;

	if (strcmp(type, "jsonb") == 0)
		return true;
	if (strcmp(type, "text") == 0)
		return event == JSON_EVENT_STRING;
	if (strcmp(type, "bool") == 0)
		return event == JSON_EVENT_TRUE || event == JSON_EVENT_FALSE;
	if (strcmp(type, "int4") == 0)
		return event == JSON_EVENT_NUMBER && osa_json_integer(reader, PG_INT32_MIN, PG_INT32_MAX, &integer);
	if (strcmp(type, "int8") == 0)
		return event == JSON_EVENT_NUMBER && osa_json_integer(reader, PG_INT64_MIN, PG_INT64_MAX, &integer);
	if (strcmp(type, "float8") == 0)
		return event == JSON_EVENT_NUMBER && osa_json_double(reader, &number);
	if (strcmp(type, "numeric") == 0)
		return event == JSON_EVENT_NUMBER;	/* its range is the reader's */

	if (event != JSON_EVENT_STRING || reader->token_len > 200)
		return false;
	text = osa_json_text(reader);
	if (strcmp(type, "date") == 0)
		fits = text_is_date(text, strlen(text));
	else
		fits = text_is_timestamptz(text, strlen(text));
	pfree(text);
	return fits;
}

/* YYYY-MM-DD, a day that exists. */
static bool
text_is_date(const char *text, int len)
{
	int			year;
	int			month;
	int			day;

	if (len != 10 || text[4] != '-' || text[7] != '-')
		return false;
	year = digits(text, 4, 9999);
	month = digits(text + 5, 2, 12);
	day = digits(text + 8, 2, 31);
	return year >= 1 && month >= 1 && day >= 1 && day <= day_tab[isleap(year)][month - 1];
}

/*
 * YYYY-MM-DD, T or a blank, HH:MM[:SS[.fraction]], Z or +HH[[:]MM].  The zone
 * is required: without it the meaning would depend on a setting of the server.
 */
static bool
text_is_timestamptz(const char *text, int len)
{
	const char *p = text + 16;
	const char *end = text + len;

	if (len < 17 || !text_is_date(text, 10) || (text[10] != 'T' && text[10] != ' ') ||
		digits(text + 11, 2, 23) < 0 || text[13] != ':' || digits(text + 14, 2, 59) < 0)
		return false;
	if (*p == ':')
	{
		if (end - p < 3 || digits(p + 1, 2, 59) < 0)
			return false;
		p += 3;
		if (*p == '.')
		{
			size_t		fraction = strspn(++p, "0123456789");

			if (fraction < 1 || fraction > 9)
				return false;
			p += fraction;
		}
	}
	if (*p == 'Z')
		return end - p == 1;
	if (*p != '+' && *p != '-')
		return false;
	p++;
	if (end - p < 2 || digits(p, 2, 15) < 0)
		return false;
	p += 2;
	if (*p == ':')
		p++;
	else if (p == end)
		return true;
	return end - p == 2 && digits(p, 2, 59) >= 0;
}

/* n digits as a number of at most max, or -1. */
static int
digits(const char *p, int n, int max)
{
	int			value = 0;

	for (int i = 0; i < n; i++)
	{
		if (p[i] < '0' || p[i] > '9')
			return -1;
		value = value * 10 + (p[i] - '0');
	}
	return value <= max ? value : -1;
}
