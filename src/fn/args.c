/*
 * args.c
 *		Arguments of SQL-callable functions: reading them, and shared checks.
 *
 * Runs in backends, as the caller, before anything is written.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "fn/args.h"
#include "types.h"

static bool is_name(const char *text);
static bool is_hex(const char *text, int len);
static bool all_zero(const char *text, int len);

void
osa_arg_required(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errhint("Give a value, or leave the argument out where it has a default.")));
}

int64
osa_arg_int64(FunctionCallInfo fcinfo, int n, const char *name)
{
	osa_arg_required(fcinfo, n, name);
	return PG_GETARG_INT64(n);
}

int32
osa_arg_int32(FunctionCallInfo fcinfo, int n, const char *name)
{
	osa_arg_required(fcinfo, n, name);
	return PG_GETARG_INT32(n);
}

bool
osa_arg_bool(FunctionCallInfo fcinfo, int n, const char *name)
{
	osa_arg_required(fcinfo, n, name);
	return PG_GETARG_BOOL(n);
}

char *
osa_arg_text(FunctionCallInfo fcinfo, int n, const char *name, int max)
{
	char	   *value;

	osa_arg_required(fcinfo, n, name);
	value = osa_arg_text_opt(fcinfo, n, name, max);
	if (*value == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be empty", name),
				 errhint("Give 1 to %d bytes of text.", max)));
	return value;
}

char *
osa_arg_text_opt(FunctionCallInfo fcinfo, int n, const char *name, int max)
{
	char	   *value;

	if (PG_ARGISNULL(n))
		return NULL;
	value = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (strlen(value) > (size_t) max)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg("argument \"%s\" is too long", name),
				 errdetail("It has %zu bytes.", strlen(value)),
				 errhint("Give at most %d bytes.", max)));
	return value;
}

char *
osa_arg_plain(FunctionCallInfo fcinfo, int n, const char *name, int max)
{
	char	   *value = osa_arg_text(fcinfo, n, name, max);

	for (const char *p = value; *p != '\0'; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"%s\" must not contain control characters", name),
					 errdetail("Byte %d is 0x%02x.", (int) (p - value) + 1, (unsigned char) *p),
					 errhint("Give printable text.")));
	}
	return value;
}

char *
osa_arg_name(FunctionCallInfo fcinfo, int n, const char *name, const char *what)
{
	char	   *value;

	osa_arg_required(fcinfo, n, name);
	value = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (!is_name(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a %s: \"%s\"", what,
						pnstrdup(value, pg_mbcliplen(value, strlen(value), 100))),
				 errhint("A name starts with a lower-case letter and has at most %d lower-case letters, digits and underscores.",
						 OSA_NAME_MAX)));
	return value;
}

static bool
is_name(const char *value)
{
	size_t		len = strlen(value);

	return len >= 1 && len <= OSA_NAME_MAX && value[0] >= 'a' && value[0] <= 'z' &&
		strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

char *
osa_arg_word(FunctionCallInfo fcinfo, int n, const char *name, const char *const *words)
{
	StringInfoData list;
	char	   *value;

	osa_arg_required(fcinfo, n, name);
	value = text_to_cstring(PG_GETARG_TEXT_PP(n));
	initStringInfo(&list);
	for (int i = 0; words[i] != NULL; i++)
	{
		if (strcmp(value, words[i]) == 0)
			return value;
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", words[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized value of argument \"%s\": \"%s\"", name,
					pnstrdup(value, pg_mbcliplen(value, strlen(value), 100))),
			 errhint("Give one of %s.", list.data)));
}

Jsonb *
osa_arg_jsonb(FunctionCallInfo fcinfo, int n, const char *name)
{
	osa_arg_required(fcinfo, n, name);
	return PG_GETARG_JSONB_P(n);
}

Jsonb *
osa_arg_object(FunctionCallInfo fcinfo, int n, const char *name, int sqlstate)
{
	Jsonb	   *document = osa_arg_jsonb(fcinfo, n, name);

	if (!JB_ROOT_IS_OBJECT(document))
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg("argument \"%s\" must be a JSON object", name),
				 errdetail("It is of type %s.", osa_jsonb_kind(document)),
				 errhint("Give an object, such as {} or {\"key\": \"value\"}.")));
	return document;
}

char *
osa_jsonb_utf8(Jsonb *document)
{
	char	   *text = JsonbToCString(NULL, &document->root, VARSIZE(document));

	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

const char *
osa_jsonb_kind(Jsonb *document)
{
	JsonbValue	scalar;

	if (JB_ROOT_IS_OBJECT(document))
		return "object";
	if (!JB_ROOT_IS_SCALAR(document))
		return "array";
	(void) JsonbExtractScalar(&document->root, &scalar);
	return JsonbTypeName(&scalar);
}

/*
 * osa_check_traceparent: version-traceid-parentid-flags in lower-case hex;
 * version ff and ids of zeros alone are invalid.  What later versions may add
 * behind is not taken.
 */
void
osa_check_traceparent(const char *traceparent)
{
	const char *t = traceparent;

	if (strlen(t) == 55 && t[2] == '-' && t[35] == '-' && t[52] == '-' &&
		is_hex(t, 2) && is_hex(t + 3, 32) && is_hex(t + 36, 16) && is_hex(t + 53, 2) &&
		strncmp(t, "ff", 2) != 0 && !all_zero(t + 3, 32) && !all_zero(t + 36, 16))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid traceparent"),
			 errhint("Give a W3C trace context, such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.")));
}

static bool
is_hex(const char *text, int len)
{
	return (int) strspn(text, "0123456789abcdef") >= len;
}

static bool
all_zero(const char *text, int len)
{
	return (int) strspn(text, "0") >= len;
}
