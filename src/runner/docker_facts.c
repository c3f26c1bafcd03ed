/*
 * docker_facts.c
 *		What an engine says of containers, and what of a hook's limits it
 *		did not set.
 *
 * Runs in the worker.  Pure: no I/O, no transaction, nothing raised.
 */
#include "postgres.h"

#include "docker_json.h"
#include "docker_reply.h"

/* An end before the start by more than this can't be trusted. */
#define MAX_CLOCK_STEP	USECS_PER_SEC

static void read_state(JsonReader *reader, ContainerFacts *facts);
static void read_config(JsonReader *reader, ContainerFacts *facts, DockerSettings *settings);
static void read_host_config(JsonReader *reader, DockerSettings *settings);
static void read_ulimits(JsonReader *reader, DockerSettings *settings);
static bool read_cap_drop(JsonReader *reader);
static void read_labels(JsonReader *reader, ContainerFacts *facts);
static void read_item(JsonReader *reader, ContainerFacts *facts);
static void read_first_name(JsonReader *reader, ContainerFacts *facts);
static void clean_name(char *name);

bool
osa_docker_parse_inspect(const char *json, size_t len, ContainerFacts *facts,
						 DockerSettings *settings)
{
	JsonReader	reader;

	memset(facts, 0, sizeof(*facts));
	memset(settings, 0, sizeof(*settings));
	facts->phase = CONTAINER_LOST;
	osa_reply_begin(&reader, json, len);
	if (!osa_reply_enter(&reader, JSON_EVENT_OBJECT))
		return false;
	while (osa_reply_next_key(&reader))
	{
		if (osa_json_equals(&reader, "Id"))
			osa_reply_text(&reader, facts->id, sizeof(facts->id));
		else if (osa_json_equals(&reader, "Name"))
			osa_reply_text(&reader, facts->name, sizeof(facts->name));
		else if (osa_json_equals(&reader, "Image"))
			osa_reply_text(&reader, facts->image_id, sizeof(facts->image_id));
		else if (osa_json_equals(&reader, "Created"))
			facts->created_at = osa_reply_time(&reader);
		else if (osa_json_equals(&reader, "State"))
			read_state(&reader, facts);
		else if (osa_json_equals(&reader, "Config"))
			read_config(&reader, facts, settings);
		else if (osa_json_equals(&reader, "HostConfig"))
			read_host_config(&reader, settings);
		else
			osa_reply_skip(&reader);
	}
	clean_name(facts->name);
	return osa_reply_whole(&reader) && facts->id[0] != '\0';
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

	if (!osa_reply_enter(reader, JSON_EVENT_OBJECT))
		return;
	while (osa_reply_next_key(reader))
	{
		if (osa_json_equals(reader, "Status"))
			osa_reply_text(reader, status, sizeof(status));
		else if (osa_json_equals(reader, "Running"))
			running = osa_reply_true(reader);
		else if (osa_json_equals(reader, "OOMKilled"))
			facts->oom_killed = osa_reply_true(reader);
		else if (osa_json_equals(reader, "ExitCode"))
			exit_code = osa_reply_integer(reader, -1);
		else if (osa_json_equals(reader, "Error"))
			osa_reply_text(reader, facts->error, sizeof(facts->error));
		else if (osa_json_equals(reader, "StartedAt"))
			facts->started_at = osa_reply_time(reader);
		else if (osa_json_equals(reader, "FinishedAt"))
			facts->finished_at = osa_reply_time(reader);
		else
			osa_reply_skip(reader);
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
	if (!osa_reply_enter(reader, JSON_EVENT_OBJECT))
		return;
	while (osa_reply_next_key(reader))
	{
		if (osa_json_equals(reader, "User"))
			osa_reply_text(reader, settings->user, sizeof(settings->user));
		else if (osa_json_equals(reader, "Labels"))
			read_labels(reader, facts);
		else
			osa_reply_skip(reader);
	}
}

static void
read_host_config(JsonReader *reader, DockerSettings *settings)
{
	if (!osa_reply_enter(reader, JSON_EVENT_OBJECT))
		return;
	while (osa_reply_next_key(reader))
	{
		if (osa_json_equals(reader, "Memory"))
			settings->limits.memory = osa_reply_integer(reader, 0);
		else if (osa_json_equals(reader, "MemorySwap"))
			settings->memory_swap = osa_reply_integer(reader, 0);
		else if (osa_json_equals(reader, "NanoCpus"))
			settings->limits.nano_cpus = osa_reply_integer(reader, 0);
		else if (osa_json_equals(reader, "PidsLimit"))
			settings->limits.pids = osa_reply_integer(reader, 0);
		else if (osa_json_equals(reader, "ReadonlyRootfs"))
			settings->read_only = osa_reply_true(reader);
		else if (osa_json_equals(reader, "NetworkMode"))
			osa_reply_text(reader, settings->network, sizeof(settings->network));
		else if (osa_json_equals(reader, "Ulimits"))
			read_ulimits(reader, settings);
		else if (osa_json_equals(reader, "CapDrop"))
			settings->no_capabilities = read_cap_drop(reader);
		else if (osa_json_equals(reader, "SecurityOpt"))
		{
			if (!osa_reply_enter(reader, JSON_EVENT_ARRAY))
				continue;
			while (osa_reply_next_element(reader))
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
			osa_reply_skip(reader);
	}
}

static void
read_ulimits(JsonReader *reader, DockerSettings *settings)
{
	if (!osa_reply_enter(reader, JSON_EVENT_ARRAY))
		return;
	while (osa_reply_next_element(reader))
	{
		char		name[32] = "";
		int64		hard = 0;

		if (reader->event != JSON_EVENT_OBJECT)
		{
			osa_json_skip(reader);
			continue;
		}
		while (osa_reply_next_key(reader))
		{
			if (osa_json_equals(reader, "Name"))
				osa_reply_text(reader, name, sizeof(name));
			else if (osa_json_equals(reader, "Hard"))
				hard = osa_reply_integer(reader, 0);
			else
				osa_reply_skip(reader);
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

	if (!osa_reply_enter(reader, JSON_EVENT_ARRAY))
		return false;
	while (osa_reply_next_element(reader))
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
	if (!osa_reply_enter(reader, JSON_EVENT_OBJECT))
		return;
	while (osa_reply_next_key(reader))
	{
		char	   *key = osa_json_text(reader);

		if (strncmp(key, "osa.", 4) != 0 || facts->n_labels == OSA_MAX_LABELS ||
			!osa_reply_enter(reader, JSON_EVENT_STRING))
		{
			if (reader->event == JSON_EVENT_KEY)
				osa_reply_skip(reader);
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
	osa_reply_begin(&reader, json, len);
	if (!osa_reply_enter(&reader, JSON_EVENT_ARRAY))
		return false;
	while (osa_reply_next_element(&reader))
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
	return osa_reply_whole(&reader);
}

static void
read_item(JsonReader *reader, ContainerFacts *facts)
{
	char		state[32] = "";
	int64		created = 0;

	while (osa_reply_next_key(reader))
	{
		if (osa_json_equals(reader, "Id"))
			osa_reply_text(reader, facts->id, sizeof(facts->id));
		else if (osa_json_equals(reader, "Names"))
			read_first_name(reader, facts);
		else if (osa_json_equals(reader, "ImageID"))
			osa_reply_text(reader, facts->image_id, sizeof(facts->image_id));
		else if (osa_json_equals(reader, "Created"))
			created = osa_reply_integer(reader, 0);
		else if (osa_json_equals(reader, "State"))
			osa_reply_text(reader, state, sizeof(state));
		else if (osa_json_equals(reader, "Labels"))
			read_labels(reader, facts);
		else
			osa_reply_skip(reader);
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
	if (!osa_reply_enter(reader, JSON_EVENT_ARRAY))
		return;
	while (osa_reply_next_element(reader))
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
