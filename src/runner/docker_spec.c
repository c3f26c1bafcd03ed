/*
 * docker_spec.c
 *		The create document of the Engine API from a hook's limits.
 *
 * Runs in the worker.  Pure: no I/O, no transaction.  Everything a hook is
 * kept from is said here; what an engine did not set of it is found by
 * docker_reply.c after the create.  Only fields that Docker and Podman both
 * take, and understand alike, are used.
 */
#include "postgres.h"

#include <math.h>

#include "docker_spec.h"

/* /dev/shm, /run and /var/tmp: enough for locks and pid files */
#define SHM_BYTES		(1024 * 1024)
#define SMALL_TMPFS		"rw,noexec,nosuid,nodev,size=64k"

static void append_environment(StringInfo out, const ContainerSpec *spec);
static void append_labels(StringInfo out, const ContainerSpec *spec);
static void append_host_config(StringInfo out, const ContainerSpec *spec);

void
osa_docker_limits(const ContainerSpec *spec, DockerLimits *limits)
{
	limits->memory = spec->memory > 0 ? spec->memory : spec->limits->memory;
	limits->nano_cpus = (int64) rint(spec->limits->cpu * 1e9);
	limits->pids = spec->limits->pids;
	/* the limit counts for files in /tmp too */
	limits->file_size = Max(spec->limits->output, spec->limits->tmpfs);
}

void
osa_docker_create_body(StringInfo out, const ContainerSpec *spec)
{
	appendStringInfoString(out, "{\"Image\":");
	osa_docker_json_string(out, spec->image_id);
	appendStringInfoString(out, ",\"User\":\"" DOCKER_USER "\",\"WorkingDir\":\"/tmp\"");
	append_environment(out, spec);
	append_labels(out, spec);

	/*
	 * One volume takes inputs and outputs.  Nothing on health checks: Podman
	 * would make a systemd timer even for "NONE".
	 */
	appendStringInfoString(out, ",\"Volumes\":{\"/osa\":{}},\"NetworkDisabled\":true,\"Tty\":false");
	append_host_config(out, spec);
	appendStringInfoChar(out, '}');
}

static void
append_environment(StringInfo out, const ContainerSpec *spec)
{
	char	   *name = psprintf("OSA_HOOK_NAME=%s", spec->hook_name);

	/* HOME: the only folder but the outputs that the hook may write to */
	appendStringInfoString(out, ",\"Env\":[\"OSA_IN=/osa/in\",\"OSA_OUT=/osa/out\","
						   "\"OSA_FILES=/osa/files\",\"HOME=/tmp\",");
	osa_docker_json_string(out, name);
	appendStringInfoChar(out, ']');
	pfree(name);
}

static void
append_labels(StringInfo out, const ContainerSpec *spec)
{
	appendStringInfoString(out, ",\"Labels\":{");
	for (int i = 0; i < spec->n_labels; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		osa_docker_json_string(out, spec->labels[i].key);
		appendStringInfoChar(out, ':');
		osa_docker_json_string(out, spec->labels[i].value);
	}
	appendStringInfoChar(out, '}');
}

static void
append_host_config(StringInfo out, const ContainerSpec *spec)
{
	DockerLimits limits;

	osa_docker_limits(spec, &limits);
	appendStringInfoString(out, ",\"HostConfig\":{\"NetworkMode\":\"none\",\"ReadonlyRootfs\":true,"
						   "\"CapDrop\":[\"ALL\"],\"SecurityOpt\":[\"no-new-privileges\"],"
						   "\"IpcMode\":\"private\",\"Init\":true,\"OomScoreAdj\":500,"
						   "\"RestartPolicy\":{\"Name\":\"no\"}");
	appendStringInfo(out, ",\"Memory\":" INT64_FORMAT ",\"MemorySwap\":" INT64_FORMAT
					 ",\"NanoCpus\":" INT64_FORMAT ",\"PidsLimit\":" INT64_FORMAT ",\"ShmSize\":%d",
					 limits.memory, limits.memory, limits.nano_cpus, limits.pids, SHM_BYTES);
	/* /run and /var/tmp: Podman would make them without a limit of size */
	appendStringInfo(out, ",\"Tmpfs\":{\"/tmp\":\"rw,noexec,nosuid,nodev,size=" INT64_FORMAT "\","
					 "\"/run\":\"" SMALL_TMPFS "\",\"/var/tmp\":\"" SMALL_TMPFS "\"}",
					 spec->limits->tmpfs);

	/*
	 * nofile and nproc must be said, or Podman asks for more than a service
	 * without CAP_SYS_RESOURCE has.  nproc counts all hooks of the host
	 * together, as they are one user, so the limit is PidsLimit.
	 */
	appendStringInfo(out, ",\"Ulimits\":[{\"Name\":\"fsize\",\"Soft\":" INT64_FORMAT
					 ",\"Hard\":" INT64_FORMAT "},{\"Name\":\"core\",\"Soft\":0,\"Hard\":0},"
					 "{\"Name\":\"nofile\",\"Soft\":1024,\"Hard\":1024},"
					 "{\"Name\":\"nproc\",\"Soft\":16384,\"Hard\":16384}]",
					 limits.file_size, limits.file_size);
	/* two files: right after it began a new one Docker has the old one still */
	appendStringInfoString(out, ",\"LogConfig\":{\"Type\":\"json-file\","
						   "\"Config\":{\"max-size\":\"1m\",\"max-file\":\"2\"}}}");
}

void
osa_docker_json_string(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '"');
	for (const char *p = text; *p != '\0'; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfo(out, "\\%c", *p);
		else if ((unsigned char) *p < 0x20)
			appendStringInfo(out, "\\u%04x", (unsigned char) *p);
		else
			appendStringInfoChar(out, *p);
	}
	appendStringInfoChar(out, '"');
}

void
osa_docker_url_encode(StringInfo out, const char *text)
{
	for (const char *p = text; *p != '\0'; p++)
	{
		unsigned char c = (unsigned char) *p;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			strchr("-._~", c) != NULL)
			appendStringInfoChar(out, c);
		else
			appendStringInfo(out, "%%%02X", c);
	}
}
