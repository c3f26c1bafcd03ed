/*
 * docker_reply.c
 *		An engine's small replies: ids, errors, versions, events, path stats.
 *
 * Runs in the worker.  Pure: no I/O, no transaction, nothing raised.
 */
#include "postgres.h"

#include "common/base64.h"

#include "docker_json.h"
#include "docker_reply.h"

/* Go's os.FileMode: set for everything but regular files */
#define GO_MODE_TYPE	UINT64CONST(0x8f280000)

/* The string under this key of the outermost object. */
static bool
parse_one(const char *json, size_t len, const char *key, char *out, size_t size)
{
	JsonReader	reader;
	bool		found = false;

	out[0] = '\0';
	osa_reply_begin(&reader, json, len);
	if (!osa_reply_enter(&reader, JSON_EVENT_OBJECT))
		return false;
	while (osa_reply_next_key(&reader))
	{
		if (osa_json_equals(&reader, key))
			found = osa_reply_text(&reader, out, size);
		else
			osa_reply_skip(&reader);
	}
	return osa_reply_whole(&reader) && found && out[0] != '\0';
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
	osa_reply_begin(&reader, json, len);
	if (!osa_reply_enter(&reader, JSON_EVENT_OBJECT))
		return false;
	while (osa_reply_next_key(&reader))
	{
		if (!osa_json_equals(&reader, "Actor"))
		{
			osa_reply_skip(&reader);
			continue;
		}
		if (!osa_reply_enter(&reader, JSON_EVENT_OBJECT))
			continue;
		while (osa_reply_next_key(&reader))
		{
			if (!osa_json_equals(&reader, "Attributes"))
			{
				osa_reply_skip(&reader);
				continue;
			}
			if (!osa_reply_enter(&reader, JSON_EVENT_OBJECT))
				continue;
			while (osa_reply_next_key(&reader))
			{
				if (osa_json_equals(&reader, "name"))
					osa_reply_text(&reader, name, size);
				else
					osa_reply_skip(&reader);
			}
		}
	}
	return osa_reply_whole(&reader) && name[0] != '\0';
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
	osa_reply_begin(&reader, json, len);
	if (!osa_reply_enter(&reader, JSON_EVENT_OBJECT))
		return false;
	while (osa_reply_next_key(&reader))
	{
		if (osa_json_equals(&reader, "size"))
			path_stat->size = osa_reply_integer(&reader, 0);
		else if (osa_json_equals(&reader, "mode"))
			mode = osa_reply_integer(&reader, -1);
		else if (osa_json_equals(&reader, "mtime"))
			osa_reply_text(&reader, path_stat->mtime, sizeof(path_stat->mtime));
		else
			osa_reply_skip(&reader);
	}
	path_stat->is_regular = mode >= 0 && ((uint64) mode & GO_MODE_TYPE) == 0;
	return osa_reply_whole(&reader) && mode >= 0;
}
