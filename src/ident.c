/*
 * ident.c
 *		Container names and labels.  Pure; see ident.h.
 */
#include "postgres.h"

#include "ident.h"

static const char *const label_keys[OSA_N_LABELS] = {
	OSA_LABEL_INSTALL, OSA_LABEL_NODE, OSA_LABEL_DATABASE, OSA_LABEL_RUN,
	OSA_LABEL_HOOK, OSA_LABEL_ATTEMPT, OSA_LABEL_LAUNCH
};

static bool parse_uuid(const char *text, pg_uuid_t *uuid);
static bool parse_number(const char *text, int64 max, int64 *value);

void
osa_uuid_text(const pg_uuid_t *uuid, char *text)
{
	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*text++ = '-';
		snprintf(text, 3, "%02x", uuid->data[i]);
		text += 2;
	}
}

void
osa_container_name(const pg_uuid_t *launch, char *name)
{
	strcpy(name, "osa-");
	for (int i = 0; i < UUID_LEN; i++)
		snprintf(name + 4 + 2 * i, 3, "%02x", launch->data[i]);
}

void
osa_identity_labels(const Identity *identity, IdentityText *text, ContainerSpec *spec)
{
	osa_uuid_text(&identity->install, text->values[0]);
	strlcpy(text->values[1], identity->node, sizeof(text->values[1]));
	snprintf(text->values[2], sizeof(text->values[2]), "%u", identity->database);
	snprintf(text->values[3], sizeof(text->values[3]), "%lld", (long long) identity->run_id);
	snprintf(text->values[4], sizeof(text->values[4]), "%d", identity->hook_index);
	snprintf(text->values[5], sizeof(text->values[5]), "%d", identity->attempt);
	osa_uuid_text(&identity->launch, text->values[6]);

	spec->n_labels = OSA_N_LABELS;
	for (int i = 0; i < OSA_N_LABELS; i++)
	{
		spec->labels[i].key = label_keys[i];
		spec->labels[i].value = text->values[i];
	}
}

bool
osa_identity_parse(const ContainerFacts *facts, Identity *identity)
{
	const char *values[OSA_N_LABELS] = {0};
	int64		number;

	for (int i = 0; i < facts->n_labels; i++)
	{
		for (int k = 0; k < OSA_N_LABELS; k++)
		{
			if (strcmp(facts->labels[i].key, label_keys[k]) == 0)
				values[k] = facts->labels[i].value;
		}
	}
	for (int k = 0; k < OSA_N_LABELS; k++)
	{
		if (values[k] == NULL)
			return false;
	}

	if (!parse_uuid(values[0], &identity->install) ||
		strlcpy(identity->node, values[1], sizeof(identity->node)) >= sizeof(identity->node) ||
		!parse_number(values[2], PG_UINT32_MAX, &number))
		return false;
	identity->database = (Oid) number;
	if (!parse_number(values[3], PG_INT64_MAX, &identity->run_id) ||
		!parse_number(values[4], PG_INT32_MAX, &number))
		return false;
	identity->hook_index = (int) number;
	if (!parse_number(values[5], PG_INT32_MAX, &number))
		return false;
	identity->attempt = (int) number;
	return parse_uuid(values[6], &identity->launch);
}

static bool
parse_uuid(const char *text, pg_uuid_t *uuid)
{
	char		again[OSA_UUID_LEN + 1];
	int			n = 0;

	if (strlen(text) != OSA_UUID_LEN)
		return false;
	for (const char *p = text; *p != '\0' && n < UUID_LEN; p++)
	{
		unsigned int byte;

		if (*p == '-')
			continue;
		if (sscanf(p, "%2x", &byte) != 1)
			return false;
		uuid->data[n++] = (unsigned char) byte;
		p++;
	}
	if (n != UUID_LEN)
		return false;
	osa_uuid_text(uuid, again);
	return strcmp(text, again) == 0;
}

static bool
parse_number(const char *text, int64 max, int64 *value)
{
	char	   *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno == 0 && *end == '\0' && *value <= max;
}
