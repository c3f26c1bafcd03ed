/*
 * json.c
 *		A pull reader of one JSON text, for what outsiders wrote.
 *
 * Runs in the worker and in backends.  Never raises (but for lack of memory)
 * and never recurses.
 */
#include "postgres.h"

#include <math.h>

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "json.h"

/* What may come next. */
enum
{
	EXPECT_VALUE,
	EXPECT_ELEMENT_OR_END,		/* after [ */
	EXPECT_KEY_OR_END,			/* after { */
	EXPECT_KEY,					/* after a comma in an object */
	EXPECT_COMMA_OR_END,		/* after a value in an object or array */
	EXPECT_NOTHING				/* the text is whole */
};

/* numeric's limits: digits before and after the point, written out */
#define NUMBER_MAX_INTEGER_DIGITS	131072
#define NUMBER_MAX_FRACTION_DIGITS	16383

static JsonEvent fail(JsonReader *reader, const char *phrase);
static JsonEvent fail_token(JsonReader *reader, JsonParseErrorType type);
static JsonEvent read_key(JsonReader *reader);
static JsonEvent read_value(JsonReader *reader);
static JsonEvent open_level(JsonReader *reader, JsonEvent event, bool object);
static JsonEvent close_level(JsonReader *reader, JsonEvent event);
static JsonEvent finish_value(JsonReader *reader, JsonEvent event);
static const char *check_string(const char *p, const char *end);
static bool check_number(JsonReader *reader);
static int	hex4(const char *p);

void
osa_json_begin(JsonReader *reader, const char *text, size_t len)
{
	int			valid;

	memset(reader, 0, offsetof(JsonReader, in_object));
	reader->excess = 0;
	reader->error = NULL;
	reader->error_at = 0;
	reader->event = JSON_EVENT_NULL;
	reader->expect = EXPECT_VALUE;

	/* the lexer's lengths are ints, with room for what it adds to them */
	if (len > MaxAllocSize)
	{
		len = 0;
		reader->error = "is too long";
	}
	reader->lex = makeJsonLexContextCstringLen(unconstify(char *, text), (int) len, PG_UTF8, false);
	reader->token = text;
	if (reader->error == NULL)
	{
		valid = pg_encoding_verifymbstr(PG_UTF8, text, (int) len);
		if (valid < (int) len)
		{
			reader->error = text[valid] == '\0' ? "contains a NUL byte" : "is not valid UTF-8";
			reader->error_at = valid + 1;
		}
	}
	if (reader->error != NULL)
		reader->event = JSON_EVENT_ERROR;
}

JsonEvent
osa_json_next(JsonReader *reader)
{
	JsonLexContext *lex = reader->lex;
	JsonParseErrorType type;
	JsonTokenType token;

	if (reader->error != NULL)
		return JSON_EVENT_ERROR;

	type = json_lex(lex);
	if (type == JSON_SUCCESS && reader->expect == EXPECT_COMMA_OR_END &&
		lex->token_type == JSON_TOKEN_COMMA)
	{
		reader->expect = reader->in_object[reader->depth - 1] ? EXPECT_KEY : EXPECT_VALUE;
		type = json_lex(lex);
	}
	/* at the end there is no token */
	reader->token = lex->token_start != NULL ? lex->token_start : lex->input + lex->input_length;
	if (type != JSON_SUCCESS)
		return fail_token(reader, type);
	reader->token_len = lex->token_terminator - lex->token_start;
	token = lex->token_type;

	switch (reader->expect)
	{
		case EXPECT_NOTHING:
			if (token == JSON_TOKEN_END)
				return reader->event = JSON_EVENT_END;
			return fail(reader, "has text after its JSON value");
		case EXPECT_COMMA_OR_END:
			if (token == JSON_TOKEN_OBJECT_END && reader->in_object[reader->depth - 1])
				return close_level(reader, JSON_EVENT_OBJECT_END);
			if (token == JSON_TOKEN_ARRAY_END && !reader->in_object[reader->depth - 1])
				return close_level(reader, JSON_EVENT_ARRAY_END);
			return fail(reader, NULL);
		case EXPECT_KEY_OR_END:
			if (token == JSON_TOKEN_OBJECT_END)
				return close_level(reader, JSON_EVENT_OBJECT_END);
			return read_key(reader);
		case EXPECT_KEY:
			return read_key(reader);
		case EXPECT_ELEMENT_OR_END:
			if (token == JSON_TOKEN_ARRAY_END)
				return close_level(reader, JSON_EVENT_ARRAY_END);
			return read_value(reader);
		default:
			return read_value(reader);
	}
}

bool
osa_json_skip(JsonReader *reader)
{
	int			outside = reader->depth - 1;

	if (reader->event != JSON_EVENT_OBJECT && reader->event != JSON_EVENT_ARRAY)
		return reader->event != JSON_EVENT_ERROR;
	while (reader->depth > outside)
	{
		if (osa_json_next(reader) == JSON_EVENT_ERROR)
			return false;
	}
	return true;
}

bool
osa_json_equals(const JsonReader *reader, const char *text)
{
	int			len = reader->token_len - 2;
	char	   *unescaped;
	bool		equal;

	if (memchr(reader->token + 1, '\\', len) == NULL)
		return len == (int) strlen(text) && memcmp(reader->token + 1, text, len) == 0;
	unescaped = osa_json_text(reader);
	equal = strcmp(unescaped, text) == 0;
	pfree(unescaped);
	return equal;
}

char *
osa_json_text(const JsonReader *reader)
{
	const char *p = reader->token + 1;
	const char *end = reader->token + reader->token_len - 1;
	char	   *text = palloc(end - p + 1);
	char	   *q = text;

	while (p < end)
	{
		pg_wchar	code;

		if (*p != '\\')
		{
			*q++ = *p++;
			continue;
		}
		p++;
		switch (*p++)
		{
			case 'b':
				*q++ = '\b';
				break;
			case 'f':
				*q++ = '\f';
				break;
			case 'n':
				*q++ = '\n';
				break;
			case 'r':
				*q++ = '\r';
				break;
			case 't':
				*q++ = '\t';
				break;
			case 'u':
				code = hex4(p);
				p += 4;
				if (is_utf16_surrogate_first(code))
				{
					code = surrogate_pair_to_codepoint(code, hex4(p + 2));
					p += 6;
				}
				unicode_to_utf8(code, (unsigned char *) q);
				q += pg_utf_mblen((unsigned char *) q);
				break;
			default:
				*q++ = p[-1];	/* quote, slash, backslash */
				break;
		}
	}
	*q = '\0';
	return text;
}

bool
osa_json_integer(const JsonReader *reader, int64 min, int64 max, int64 *value)
{
	char		digits[24];
	int			len = reader->token_len;
	long long	number;

	if (len >= (int) sizeof(digits))
		return false;
	memcpy(digits, reader->token, len);
	digits[len] = '\0';
	if (strspn(digits, "-0123456789") != (size_t) len)
		return false;
	errno = 0;
	number = strtoll(digits, NULL, 10);
	if (errno != 0 || number < min || number > max)
		return false;
	*value = number;
	return true;
}

bool
osa_json_double(const JsonReader *reader, double *value)
{
	char		buffer[64];
	char	   *digits = buffer;
	int			len = reader->token_len;
	bool		in_range;

	if (len >= (int) sizeof(buffer))
		digits = palloc(len + 1);
	memcpy(digits, reader->token, len);
	digits[len] = '\0';
	errno = 0;
	*value = strtod(digits, NULL);
	/* as float8's input function: a denormal is in range, 1e-400 is not */
	in_range = !isinf(*value) && !(errno == ERANGE && *value == 0);
	if (digits != buffer)
		pfree(digits);
	return in_range;
}

int
osa_json_line(const JsonReader *reader)
{
	return reader->lex->line_number;
}

/* Notes an error at the last token; a NULL phrase says what was expected. */
static JsonEvent
fail(JsonReader *reader, const char *phrase)
{
	if (phrase == NULL && reader->lex->token_type == JSON_TOKEN_END)
		phrase = "ends too early for JSON";
	if (phrase == NULL)
	{
		switch (reader->expect)
		{
			case EXPECT_KEY:
			case EXPECT_KEY_OR_END:
				phrase = "is not valid JSON: expected a key in double quotes";
				break;
			case EXPECT_COMMA_OR_END:
				phrase = "is not valid JSON: expected a comma or a closing bracket";
				break;
			default:
				phrase = "is not valid JSON: expected a value";
				break;
		}
	}
	reader->error = phrase;
	reader->error_at = reader->token - reader->lex->input + 1;
	return reader->event = JSON_EVENT_ERROR;
}

static JsonEvent
fail_token(JsonReader *reader, JsonParseErrorType type)
{
	switch (type)
	{
		case JSON_ESCAPING_INVALID:
			return fail(reader, "is not valid JSON: invalid escape in a string");
		case JSON_ESCAPING_REQUIRED:
			return fail(reader, "is not valid JSON: unescaped control character in a string");
		case JSON_UNICODE_ESCAPE_FORMAT:
			return fail(reader, "is not valid JSON: \\u needs four hexadecimal digits");
		default:
			return fail(reader, "is not valid JSON: invalid token");
	}
}

static JsonEvent
read_key(JsonReader *reader)
{
	JsonLexContext *lex = reader->lex;
	const char *phrase;

	if (lex->token_type != JSON_TOKEN_STRING)
		return fail(reader, NULL);
	phrase = check_string(reader->token + 1, reader->token + reader->token_len - 1);
	if (phrase != NULL)
		return fail(reader, phrase);
	if (json_lex(lex) != JSON_SUCCESS || lex->token_type != JSON_TOKEN_COLON)
	{
		reader->token = lex->token_start != NULL ? lex->token_start : lex->input + lex->input_length;
		return fail(reader, "is not valid JSON: expected a colon after a key");
	}
	reader->expect = EXPECT_VALUE;
	return reader->event = JSON_EVENT_KEY;
}

static JsonEvent
read_value(JsonReader *reader)
{
	const char *phrase;

	switch (reader->lex->token_type)
	{
		case JSON_TOKEN_OBJECT_START:
			return open_level(reader, JSON_EVENT_OBJECT, true);
		case JSON_TOKEN_ARRAY_START:
			return open_level(reader, JSON_EVENT_ARRAY, false);
		case JSON_TOKEN_STRING:
			phrase = check_string(reader->token + 1, reader->token + reader->token_len - 1);
			if (phrase != NULL)
				return fail(reader, phrase);
			return finish_value(reader, JSON_EVENT_STRING);
		case JSON_TOKEN_NUMBER:
			if (!check_number(reader))
				return fail(reader, "contains a number out of range");
			return finish_value(reader, JSON_EVENT_NUMBER);
		case JSON_TOKEN_TRUE:
			return finish_value(reader, JSON_EVENT_TRUE);
		case JSON_TOKEN_FALSE:
			return finish_value(reader, JSON_EVENT_FALSE);
		case JSON_TOKEN_NULL:
			return finish_value(reader, JSON_EVENT_NULL);
		default:
			return fail(reader, NULL);
	}
}

static JsonEvent
open_level(JsonReader *reader, JsonEvent event, bool object)
{
	if (reader->depth == OSA_JSON_MAX_DEPTH)
		return fail(reader, "is nested too deeply");
	reader->in_object[reader->depth++] = object;
	reader->expect = object ? EXPECT_KEY_OR_END : EXPECT_ELEMENT_OR_END;
	return reader->event = event;
}

static JsonEvent
close_level(JsonReader *reader, JsonEvent event)
{
	reader->depth--;
	return finish_value(reader, event);
}

static JsonEvent
finish_value(JsonReader *reader, JsonEvent event)
{
	reader->expect = reader->depth > 0 ? EXPECT_COMMA_OR_END : EXPECT_NOTHING;
	return reader->event = event;
}

/*
 * Checks the \u escapes of a string, as the lexer does where it unescapes:
 * it can't do that here, since it would convert to the database's encoding
 * and raise.
 */
static const char *
check_string(const char *p, const char *end)
{
	while ((p = memchr(p, '\\', end - p)) != NULL)
	{
		int			code;

		if (p[1] != 'u')
		{
			p += 2;
			continue;
		}
		code = hex4(p + 2);
		p += 6;
		if (code == 0)
			return "contains \\u0000";
		if (is_utf16_surrogate_second(code))
			return "contains a \\u escape of half a surrogate pair";
		if (is_utf16_surrogate_first(code))
		{
			if (end - p < 6 || p[0] != '\\' || p[1] != 'u' ||
				!is_utf16_surrogate_second(hex4(p + 2)))
				return "contains a \\u escape of half a surrogate pair";
			p += 6;
		}
	}
	return NULL;
}

/*
 * Can numeric hold it, and is it short enough when written out?  The lexer has
 * checked its form.
 */
static bool
check_number(JsonReader *reader)
{
	const char *p = reader->token;
	const char *end = p + reader->token_len;
	int64		integer = 0;
	int64		fraction = 0;
	int64		exponent = 0;
	bool		negative = false;

	if (*p == '-')
		p++;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		integer++;
	if (p < end && *p == '.')
	{
		for (p++; p < end && *p >= '0' && *p <= '9'; p++)
			fraction++;
	}
	if (p < end)
	{
		p++;					/* e or E */
		negative = *p == '-';
		if (*p == '-' || *p == '+')
			p++;
		for (; p < end; p++)
		{
			exponent = exponent * 10 + (*p - '0');
			if (exponent > NUMBER_MAX_INTEGER_DIGITS * 2)
				return false;
		}
		if (negative)
			exponent = -exponent;
	}
	integer += exponent;
	fraction -= exponent;
	if (integer > NUMBER_MAX_INTEGER_DIGITS || fraction > NUMBER_MAX_FRACTION_DIGITS)
		return false;
	reader->excess += Max(Max(integer, 1) + Max(fraction, 0) - reader->token_len, 0);
	return reader->excess <= OSA_JSON_MAX_EXCESS;
}

/* Four hexadecimal digits, which the lexer has checked. */
static int
hex4(const char *p)
{
	int			value = 0;

	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];

		value = value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}
