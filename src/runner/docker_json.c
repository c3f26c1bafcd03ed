/*
 * docker_json.c
 *		Reading an engine's JSON by key, and its texts and times.
 *
 * Runs in the worker.  Pure: no I/O, no transaction, nothing raised.  Values of
 * another type than expected count as missing.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "docker_json.h"

/*
 * osa_reply_begin starts a reader on a copy of the text in which \u0000, that
 * PostgreSQL can't hold but an image's labels may, is another character.
 */
void
osa_reply_begin(JsonReader *reader, const char *json, size_t len)
{
	char	   *copy = palloc(len + 1);
	char	   *p = copy;

	memcpy(copy, json, len);
	copy[len] = '\0';
	while ((p = memchr(p, '\\', copy + len - p)) != NULL)
	{
		if (copy + len - p >= 6 && memcmp(p, "\\u0000", 6) == 0)
			memcpy(p, "\\ufffd", 6);
		p += Min(2, copy + len - p);
	}
	osa_json_begin(reader, copy, len);
}

bool
osa_reply_enter(JsonReader *reader, JsonEvent kind)
{
	if (osa_json_next(reader) == kind)
		return true;
	osa_json_skip(reader);
	return false;
}

bool
osa_reply_next_key(JsonReader *reader)
{
	return osa_json_next(reader) == JSON_EVENT_KEY;
}

bool
osa_reply_next_element(JsonReader *reader)
{
	JsonEvent	event = osa_json_next(reader);

	return event != JSON_EVENT_ARRAY_END && event != JSON_EVENT_ERROR;
}

void
osa_reply_skip(JsonReader *reader)
{
	osa_json_next(reader);
	osa_json_skip(reader);
}

bool
osa_reply_text(JsonReader *reader, char *out, size_t size)
{
	char	   *text;

	if (!osa_reply_enter(reader, JSON_EVENT_STRING))
		return false;
	text = osa_json_text(reader);
	osa_docker_clean_text(out, size, text, strlen(text));
	pfree(text);
	return true;
}

int64
osa_reply_integer(JsonReader *reader, int64 otherwise)
{
	int64		value;

	if (!osa_reply_enter(reader, JSON_EVENT_NUMBER) ||
		!osa_json_integer(reader, PG_INT64_MIN, PG_INT64_MAX, &value))
		return otherwise;
	return value;
}

bool
osa_reply_true(JsonReader *reader)
{
	return osa_reply_enter(reader, JSON_EVENT_TRUE);
}

TimestampTz
osa_reply_time(JsonReader *reader)
{
	char		text[64];
	TimestampTz time;

	if (!osa_reply_text(reader, text, sizeof(text)) || !osa_docker_parse_time(text, &time))
		return 0;
	return time;
}

bool
osa_reply_whole(JsonReader *reader)
{
	return reader->event != JSON_EVENT_ERROR && osa_json_next(reader) == JSON_EVENT_END;
}

/* Days since 2000-01-01 of a date of the Gregorian calendar. */
static int64
days_of(int year, int month, int day)
{
	/* years begin in March, so that the leap day is the last one */
	int64		y = month > 2 ? year : year - 1;
	int64		m = month > 2 ? month - 3 : month + 9;

	return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 730425;
}

/*
 * osa_docker_parse_time takes RFC 3339 with 0 to 9 digits of a fraction.  Year
 * 1 is how an engine says "never".
 */
bool
osa_docker_parse_time(const char *text, TimestampTz *time)
{
	int			year;
	int			month;
	int			day;
	int			hour;
	int			minute;
	int			second;
	int			used = 0;
	int			zone_hour = 0;
	int			zone_minute = 0;
	int64		micros = 0;
	char		sign;
	const char *p;

	*time = 0;
	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second,
			   &used) != 6 ||
		year < 1 || month < 1 || month > 12 || day < 1 || day > 31 ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
		return false;
	p = text + used;
	if (*p == '.')
	{
		int			digits = 0;

		for (p++; *p >= '0' && *p <= '9'; p++)
		{
			if (digits++ < 6)
				micros = micros * 10 + (*p - '0');
		}
		for (; digits < 6; digits++)
			micros *= 10;
	}
	if (strcmp(p, "Z") != 0 && strcmp(p, "z") != 0)
	{
		used = 0;
		if (sscanf(p, "%c%2d:%2d%n", &sign, &zone_hour, &zone_minute, &used) != 3 ||
			p[used] != '\0' || (sign != '+' && sign != '-'))
			return false;
		if (sign == '-')
		{
			zone_hour = -zone_hour;
			zone_minute = -zone_minute;
		}
	}
	if (year == 1)
		return true;
	*time = ((((days_of(year, month, day) * 24 + hour - zone_hour) * 60) + minute - zone_minute) *
			 60 + second) * USECS_PER_SEC + micros;
	return true;
}

void
osa_docker_clean_text(char *out, size_t size, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *) text;
	const unsigned char *end = p + len;
	char	   *to = out;

	while (p < end)
	{
		int			l = pg_utf_mblen(p);

		if (l > end - p || !pg_utf8_islegal(p, l))
		{
			l = 1;
			if (to + 1 >= out + size)
				break;
			*to++ = '?';
		}
		else if (to + l >= out + size)
			break;
		else if (*p < 0x20 || *p == 0x7f)
			*to++ = ' ';
		else
		{
			memcpy(to, p, l);
			to += l;
		}
		p += l;
	}
	while (to > out && to[-1] == ' ')
		to--;
	*to = '\0';
}
