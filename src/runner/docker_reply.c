/*
 * docker_reply.c
 *		Replies of an engine as facts.
 *
 * Runs in the worker.  Pure: no I/O, no transaction, nothing raised.  Docker
 * and Podman answer in the same form with other words; the differences that
 * were met are handled here and in docker_verdict.c.
 */
#include "postgres.h"

#include "common/base64.h"
#include "mb/pg_wchar.h"

#include "contract/json.h"
#include "docker_reply.h"

/* Go's os.FileMode: set for everything but regular files */
#define GO_MODE_TYPE	UINT64CONST(0x8f280000)
/* An end before the start by more than this can't be trusted. */
#define MAX_CLOCK_STEP	USECS_PER_SEC

static void begin(JsonReader *reader, const char *json, size_t len);
static bool enter(JsonReader *reader, JsonEvent kind);
static bool next_key(JsonReader *reader);
static bool next_element(JsonReader *reader);
static void skip_value(JsonReader *reader);
static bool take_text(JsonReader *reader, char *out, size_t size);
static int64 take_integer(JsonReader *reader, int64 otherwise);
static bool take_true(JsonReader *reader);
static TimestampTz take_time(JsonReader *reader);
static void read_state(JsonReader *reader, ContainerFacts *facts);
static void read_config(JsonReader *reader, ContainerFacts *facts, DockerSettings *settings);
static void read_host_config(JsonReader *reader, DockerSettings *settings);
static void read_ulimits(JsonReader *reader, DockerSettings *settings);
static bool read_cap_drop(JsonReader *reader);
static void read_labels(JsonReader *reader, ContainerFacts *facts);
static void read_item(JsonReader *reader, ContainerFacts *facts);
static void read_first_name(JsonReader *reader, ContainerFacts *facts);
static void clean_name(char *name);
static bool whole(JsonReader *reader);

/* --- reading JSON by key --- */

/*
 * begin starts a reader on a copy of the text in which \u0000, that PostgreSQL
 * can't hold but an image's labels may, is another character.
 */
static void
begin(JsonReader *reader, const char *json, size_t len)
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

/* Reads the next value: true inside of it if it is of this kind. */
static bool
enter(JsonReader *reader, JsonEvent kind)
{
	if (osa_json_next(reader) == kind)
		return true;
	osa_json_skip(reader);
	return false;
}

/* Inside an object: is there another key? */
static bool
next_key(JsonReader *reader)
{
	return osa_json_next(reader) == JSON_EVENT_KEY;
}

/* Inside an array: is there another element?  Its first event is read. */
static bool
next_element(JsonReader *reader)
{
	JsonEvent	event = osa_json_next(reader);

	return event != JSON_EVENT_ARRAY_END && event != JSON_EVENT_ERROR;
}

static void
skip_value(JsonReader *reader)
{
	osa_json_next(reader);
	osa_json_skip(reader);
}

/* Reads the next value: true if it is a string, which is copied. */
static bool
take_text(JsonReader *reader, char *out, size_t size)
{
	char	   *text;

	if (!enter(reader, JSON_EVENT_STRING))
		return false;
	text = osa_json_text(reader);
	osa_docker_clean_text(out, size, text, strlen(text));
	pfree(text);
	return true;
}

/* Reads the next value: otherwise if it is no integer. */
static int64
take_integer(JsonReader *reader, int64 otherwise)
{
	int64		value;

	if (!enter(reader, JSON_EVENT_NUMBER) ||
		!osa_json_integer(reader, PG_INT64_MIN, PG_INT64_MAX, &value))
		return otherwise;
	return value;
}

static bool
take_true(JsonReader *reader)
{
	return enter(reader, JSON_EVENT_TRUE);
}

static TimestampTz
take_time(JsonReader *reader)
{
	char		text[64];
	TimestampTz time;

	if (!take_text(reader, text, sizeof(text)) || !osa_docker_parse_time(text, &time))
		return 0;
	return time;
}

/* After the last value: was it all sound JSON? */
static bool
whole(JsonReader *reader)
{
	return reader->event != JSON_EVENT_ERROR && osa_json_next(reader) == JSON_EVENT_END;
}

/* --- containers --- */

bool
osa_docker_parse_inspect(const char *json, size_t len, ContainerFacts *facts,
						 DockerSettings *settings)
{
	JsonReader	reader;

	memset(facts, 0, sizeof(*facts));
	memset(settings, 0, sizeof(*settings));
	facts->phase = CONTAINER_LOST;
	begin(&reader, json, len);
	if (!enter(&reader, JSON_EVENT_OBJECT))
		return false;
	while (next_key(&reader))
	{
		if (osa_json_equals(&reader, "Id"))
			take_text(&reader, facts->id, sizeof(facts->id));
		else if (osa_json_equals(&reader, "Name"))
			take_text(&reader, facts->name, sizeof(facts->name));
		else if (osa_json_equals(&reader, "Image"))
			take_text(&reader, facts->image_id, sizeof(facts->image_id));
		else if (osa_json_equals(&reader, "Created"))
			facts->created_at = take_time(&reader);
		else if (osa_json_equals(&reader, "State"))
			read_state(&reader, facts);
		else if (osa_json_equals(&reader, "Config"))
			read_config(&reader, facts, settings);
		else if (osa_json_equals(&reader, "HostConfig"))
			read_host_config(&reader, settings);
		else
			skip_value(&reader);
	}
	clean_name(facts->name);
	return whole(&reader) && facts->id[0] != '\0';
}

/*
 * read_state takes the times, the exit code and the phase.  "created" with a
 * start is what Podman says of a container that was lost with the host.
 */
static void
read_state(JsonReader *reader, ContainerFacts *facts)
{
	char		status[32] = "";
	bool		running = false;
	int64		exit_code = -1; /* never 0 by mistake */

	if (!enter(reader, JSON_EVENT_OBJECT))
		return;
	while (next_key(reader))
	{
		if (osa_json_equals(reader, "Status"))
			take_text(reader, status, sizeof(status));
		else if (osa_json_equals(reader, "Running"))
			running = take_true(reader);
		else if (osa_json_equals(reader, "OOMKilled"))
			facts->oom_killed = take_true(reader);
		else if (osa_json_equals(reader, "ExitCode"))
			exit_code = take_integer(reader, -1);
		else if (osa_json_equals(reader, "Error"))
			take_text(reader, facts->error, sizeof(facts->error));
		else if (osa_json_equals(reader, "StartedAt"))
			facts->started_at = take_time(reader);
		else if (osa_json_equals(reader, "FinishedAt"))
			facts->finished_at = take_time(reader);
		else
			skip_value(reader);
	}

	facts->exit_code = exit_code == (int) exit_code ? (int) exit_code : -1;
	if (facts->finished_at != 0 && facts->finished_at < facts->started_at)
		facts->finished_at = facts->started_at - facts->finished_at <= MAX_CLOCK_STEP ?
			facts->started_at : 0;
	if (status[0] == '\0' || strcmp(status, "dead") == 0 || strcmp(status, "removing") == 0)
		facts->phase = CONTAINER_LOST;
	else if (running || strcmp(status, "stopping") == 0 || strcmp(status, "restarting") == 0)
		facts->phase = CONTAINER_RUNNING;
	else if (strcmp(status, "created") == 0 || strcmp(status, "configured") == 0 ||
			 strcmp(status, "initialized") == 0)
		facts->phase = facts->started_at == 0 ? CONTAINER_CREATED : CONTAINER_LOST;
	else
		facts->phase = CONTAINER_EXITED;
}

static void
read_config(JsonReader *reader, ContainerFacts *facts, DockerSettings *settings)
{
	if (!enter(reader, JSON_EVENT_OBJECT))
		return;
	while (next_key(reader))
	{
		if (osa_json_equals(reader, "User"))
			take_text(reader, settings->user, sizeof(settings->user));
		else if (osa_json_equals(reader, "Labels"))
			read_labels(reader, facts);
		else
			skip_value(reader);
	}
}

static void
read_host_config(JsonReader *reader, DockerSettings *settings)
{
	if (!enter(reader, JSON_EVENT_OBJECT))
		return;
	while (next_key(reader))
	{
		if (osa_json_equals(reader, "Memory"))
			settings->limits.memory = take_integer(reader, 0);
		else if (osa_json_equals(reader, "MemorySwap"))
			settings->memory_swap = take_integer(reader, 0);
		else if (osa_json_equals(reader, "NanoCpus"))
			settings->limits.nano_cpus = take_integer(reader, 0);
		else if (osa_json_equals(reader, "PidsLimit"))
			settings->limits.pids = take_integer(reader, 0);
		else if (osa_json_equals(reader, "ReadonlyRootfs"))
			settings->read_only = take_true(reader);
		else if (osa_json_equals(reader, "NetworkMode"))
			take_text(reader, settings->network, sizeof(settings->network));
		else if (osa_json_equals(reader, "Ulimits"))
			read_ulimits(reader, settings);
		else if (osa_json_equals(reader, "CapDrop"))
			settings->no_capabilities = read_cap_drop(reader);
		else if (osa_json_equals(reader, "SecurityOpt"))
		{
			if (!enter(reader, JSON_EVENT_ARRAY))
				continue;
			while (next_element(reader))
			{
				if (reader->event == JSON_EVENT_STRING &&
					(osa_json_equals(reader, "no-new-privileges") ||
					 osa_json_equals(reader, "no-new-privileges:true") ||
					 osa_json_equals(reader, "no-new-privileges=true")))
					settings->no_new_privileges = true;
				osa_json_skip(reader);
			}
		}
		else
			skip_value(reader);
	}
}

static void
read_ulimits(JsonReader *reader, DockerSettings *settings)
{
	if (!enter(reader, JSON_EVENT_ARRAY))
		return;
	while (next_element(reader))
	{
		char		name[32] = "";
		int64		hard = 0;

		if (reader->event != JSON_EVENT_OBJECT)
		{
			osa_json_skip(reader);
			continue;
		}
		while (next_key(reader))
		{
			if (osa_json_equals(reader, "Name"))
				take_text(reader, name, sizeof(name));
			else if (osa_json_equals(reader, "Hard"))
				hard = take_integer(reader, 0);
			else
				skip_value(reader);
		}
		if (strcmp(name, "fsize") == 0 || strcmp(name, "RLIMIT_FSIZE") == 0)
			settings->limits.file_size = hard;
	}
}

/*
 * read_cap_drop tells whether every capability was dropped: Docker says "ALL",
 * Podman names those that a container has by default.
 */
static bool
read_cap_drop(JsonReader *reader)
{
	static const char *const defaults[] = {
		"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE",
		"SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"
	};
	int			dropped = 0;

	if (!enter(reader, JSON_EVENT_ARRAY))
		return false;
	while (next_element(reader))
	{
		char	   *name;
		const char *plain;

		if (reader->event != JSON_EVENT_STRING)
		{
			osa_json_skip(reader);
			continue;
		}
		name = osa_json_text(reader);
		plain = pg_strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name;
		if (pg_strcasecmp(plain, "ALL") == 0)
			dropped = (1 << lengthof(defaults)) - 1;
		for (int i = 0; i < (int) lengthof(defaults); i++)
		{
			if (pg_strcasecmp(plain, defaults[i]) == 0)
				dropped |= 1 << i;
		}
		pfree(name);
	}
	return dropped == (1 << lengthof(defaults)) - 1;
}

/*
 * read_labels keeps ours.  An image's own labels are among them and may begin
 * with osa. too; of more than there is room for, the ones lost are those that
 * come last.
 */
static void
read_labels(JsonReader *reader, ContainerFacts *facts)
{
	if (!enter(reader, JSON_EVENT_OBJECT))
		return;
	while (next_key(reader))
	{
		char	   *key = osa_json_text(reader);

		if (strncmp(key, "osa.", 4) != 0 || facts->n_labels == OSA_MAX_LABELS ||
			!enter(reader, JSON_EVENT_STRING))
		{
			if (reader->event == JSON_EVENT_KEY)
				skip_value(reader);
			pfree(key);
			continue;
		}
		facts->labels[facts->n_labels].key = key;
		facts->labels[facts->n_labels].value = osa_json_text(reader);
		facts->n_labels++;
	}
}

bool
osa_docker_parse_list(const char *json, size_t len, ContainerFacts **facts, int *n_facts)
{
	JsonReader	reader;
	int			allocated = 16;

	*n_facts = 0;
	*facts = palloc(allocated * sizeof(ContainerFacts));
	begin(&reader, json, len);
	if (!enter(&reader, JSON_EVENT_ARRAY))
		return false;
	while (next_element(&reader))
	{
		ContainerFacts *item;

		if (reader.event != JSON_EVENT_OBJECT)
			return false;
		if (*n_facts == allocated)
		{
			allocated *= 2;
			*facts = repalloc_huge(*facts, allocated * sizeof(ContainerFacts));
		}
		item = &(*facts)[(*n_facts)++];
		memset(item, 0, sizeof(*item));
		read_item(&reader, item);
		if (item->id[0] == '\0')
			return false;
	}
	return whole(&reader);
}

static void
read_item(JsonReader *reader, ContainerFacts *facts)
{
	char		state[32] = "";
	int64		created = 0;

	while (next_key(reader))
	{
		if (osa_json_equals(reader, "Id"))
			take_text(reader, facts->id, sizeof(facts->id));
		else if (osa_json_equals(reader, "Names"))
			read_first_name(reader, facts);
		else if (osa_json_equals(reader, "ImageID"))
			take_text(reader, facts->image_id, sizeof(facts->image_id));
		else if (osa_json_equals(reader, "Created"))
			created = take_integer(reader, 0);
		else if (osa_json_equals(reader, "State"))
			take_text(reader, state, sizeof(state));
		else if (osa_json_equals(reader, "Labels"))
			read_labels(reader, facts);
		else
			skip_value(reader);
	}
	if (created > 0 && created < PG_INT64_MAX / USECS_PER_SEC / 2)
		facts->created_at = (created - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
							 (int64) SECS_PER_DAY) * USECS_PER_SEC;
	if (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0 ||
		strcmp(state, "restarting") == 0 || strcmp(state, "stopping") == 0)
		facts->phase = CONTAINER_RUNNING;
	else if (strcmp(state, "created") == 0 || strcmp(state, "configured") == 0 ||
			 strcmp(state, "initialized") == 0)
		facts->phase = CONTAINER_CREATED;
	else if (strcmp(state, "exited") == 0 || strcmp(state, "stopped") == 0)
		facts->phase = CONTAINER_EXITED;
	else
		facts->phase = CONTAINER_LOST;
}

static void
read_first_name(JsonReader *reader, ContainerFacts *facts)
{
	if (!enter(reader, JSON_EVENT_ARRAY))
		return;
	while (next_element(reader))
	{
		if (facts->name[0] == '\0' && reader->event == JSON_EVENT_STRING)
		{
			char	   *text = osa_json_text(reader);

			osa_docker_clean_text(facts->name, sizeof(facts->name), text, strlen(text));
			pfree(text);
		}
		osa_json_skip(reader);
	}
	clean_name(facts->name);
}

static void
clean_name(char *name)
{
	if (name[0] == '/')
		memmove(name, name + 1, strlen(name));
}

/* --- what was asked and not set --- */

static void
note(ContainerFacts *facts, const char *what)
{
	if (facts->unenforced[0] != '\0')
		strlcat(facts->unenforced, ", ", sizeof(facts->unenforced));
	strlcat(facts->unenforced, what, sizeof(facts->unenforced));
}

/* Image ids come with and without their algorithm. */
static const char *
plain_id(const char *id)
{
	return strncmp(id, "sha256:", 7) == 0 ? id + 7 : id;
}

void
osa_docker_compare(ContainerFacts *facts, const DockerSettings *settings,
				   const DockerLimits *wanted, const char *image_id)
{
	facts->unenforced[0] = '\0';
	if (settings->limits.memory != wanted->memory)
		note(facts, "memory");
	if (settings->memory_swap != wanted->memory)
		note(facts, "swap");
	if (settings->limits.nano_cpus != wanted->nano_cpus)
		note(facts, "cpu");
	if (settings->limits.pids != wanted->pids)
		note(facts, "pids");
	if (settings->limits.file_size != wanted->file_size)
		note(facts, "file size");
	if (!settings->read_only)
		note(facts, "read-only root");
	if (strcmp(settings->network, "none") != 0)
		note(facts, "no network");
	if (!settings->no_capabilities)
		note(facts, "no capabilities");
	if (!settings->no_new_privileges)
		note(facts, "no new privileges");
	if (strcmp(settings->user, DOCKER_USER) != 0)
		note(facts, "user");
	if (strcmp(plain_id(facts->image_id), plain_id(image_id)) != 0)
		note(facts, "image");
}

/* --- small replies --- */

/* The string under this key of the outermost object. */
static bool
parse_one(const char *json, size_t len, const char *key, char *out, size_t size)
{
	JsonReader	reader;
	bool		found = false;

	out[0] = '\0';
	begin(&reader, json, len);
	if (!enter(&reader, JSON_EVENT_OBJECT))
		return false;
	while (next_key(&reader))
	{
		if (osa_json_equals(&reader, key))
			found = take_text(&reader, out, size);
		else
			skip_value(&reader);
	}
	return whole(&reader) && found && out[0] != '\0';
}

bool
osa_docker_parse_id(const char *json, size_t len, char *id, size_t size)
{
	return parse_one(json, len, "Id", id, size);
}

/* "Libpod/4.3.1 (linux)", "Docker/20.10.24+dfsg1 (linux)" */
void
osa_docker_version(const char *server, bool is_podman, char *version, size_t size)
{
	const char *slash = server ? strchr(server, '/') : NULL;
	char		number[32] = "";

	/* without what a distribution adds */
	if (slash != NULL)
		osa_docker_clean_text(number, sizeof(number), slash + 1, strcspn(slash + 1, "+ "));
	snprintf(version, size, "%s%s%s", is_podman ? "podman" : "docker", number[0] ? " " : "", number);
}

bool
osa_docker_parse_error(const char *json, size_t len, char *message, size_t size)
{
	return parse_one(json, len, "message", message, size) ||
		parse_one(json, len, "error", message, size);
}

bool
osa_docker_parse_event(const char *json, size_t len, char *name, size_t size)
{
	JsonReader	reader;

	name[0] = '\0';
	begin(&reader, json, len);
	if (!enter(&reader, JSON_EVENT_OBJECT))
		return false;
	while (next_key(&reader))
	{
		if (!osa_json_equals(&reader, "Actor"))
		{
			skip_value(&reader);
			continue;
		}
		if (!enter(&reader, JSON_EVENT_OBJECT))
			continue;
		while (next_key(&reader))
		{
			if (!osa_json_equals(&reader, "Attributes"))
			{
				skip_value(&reader);
				continue;
			}
			if (!enter(&reader, JSON_EVENT_OBJECT))
				continue;
			while (next_key(&reader))
			{
				if (osa_json_equals(&reader, "name"))
					take_text(&reader, name, size);
				else
					skip_value(&reader);
			}
		}
	}
	return whole(&reader) && name[0] != '\0';
}

bool
osa_docker_parse_path_stat(const char *base64, DockerPathStat *path_stat)
{
	int			len = strlen(base64);
	char	   *json = palloc(pg_b64_dec_len(len) + 1);
	int64		mode = -1;
	JsonReader	reader;

	memset(path_stat, 0, sizeof(*path_stat));
	len = pg_b64_decode(base64, len, json, pg_b64_dec_len(len));
	if (len < 0)
		return false;
	begin(&reader, json, len);
	if (!enter(&reader, JSON_EVENT_OBJECT))
		return false;
	while (next_key(&reader))
	{
		if (osa_json_equals(&reader, "size"))
			path_stat->size = take_integer(&reader, 0);
		else if (osa_json_equals(&reader, "mode"))
			mode = take_integer(&reader, -1);
		else
			skip_value(&reader);
	}
	path_stat->is_regular = mode >= 0 && ((uint64) mode & GO_MODE_TYPE) == 0;
	return whole(&reader) && mode >= 0;
}

/* --- texts --- */

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
