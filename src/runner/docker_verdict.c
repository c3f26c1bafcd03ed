/*
 * docker_verdict.c
 *		What an engine's refusals mean, by status and, where Podman says 500
 *		to everything, by its words.
 *
 * Runs in the worker.  Pure.
 */
#include "postgres.h"

#include "docker_reply.h"

/* The engine, or its host, has no more of something. */
static const char *const exhausted_words[] = {
	"no space left on device", "disk quota exceeded", "resource temporarily unavailable",
	"too many open files", NULL
};

/* What was asked will be refused again. */
static const char *const refused_words[] = {
	"command that was not found", "no command or entrypoint", "executable file not found",
	"oci permission denied", "exec format error", "argument list too long", "is a directory",
	"invalid argument", "invalid reference format", "unknown capability", "names must match",
	"invalid ulimit", "unknown option", "minimum memory", "memory limit too low",
	"unable to set memory limit", "oom-killed", "cannot be less than", "must be", "not a valid",
	"unmarshal", NULL
};

/* A registry that knows the image not, or doesn't give it. */
static const char *const pull_refused_words[] = {
	"manifest unknown", "name unknown", "not found", "does not exist", "denied", "unauthorized",
	"authentication required", "forbidden", "invalid reference format", "no matching manifest",
	"no image found in manifest list", "repository name", "invalid", "unsupported", NULL
};

/* A registry that doesn't answer, whatever else is said. */
static const char *const pull_passing_words[] = {
	"connection refused", "timeout", "timed out", "no such host", "connection reset", "tls:",
	"tls handshake", "x509", "server misbehaving", "network is unreachable", "no route to host",
	"temporary failure", "toomanyrequests", "too many requests", "unexpected eof", "500 internal",
	"502 bad", "503 service", "504 gateway", "http 500", "http 502", "http 503", "http 504",
	"status code from registry 5", NULL
};

static bool
says(const char *message, const char *const *words)
{
	char		lower[1024];
	int			len = 0;

	for (; message[len] != '\0' && len < (int) sizeof(lower) - 1; len++)
		lower[len] = pg_ascii_tolower((unsigned char) message[len]);
	lower[len] = '\0';
	for (; *words != NULL; words++)
	{
		if (strstr(lower, *words) != NULL)
			return true;
	}
	return false;
}

RunnerVerdict
osa_docker_verdict(int status, const char *message)
{
	static const char *const taken_words[] = {"name is already in use", "already in use by", NULL};

	if (status == 404)
		return RUNNER_ABSENT;
	if (says(message, exhausted_words))
		return RUNNER_EXHAUSTED;
	if (status == 409 || (status == 500 && says(message, taken_words)))
		return RUNNER_EXISTS;
	if (status >= 400 && status < 500)
		return RUNNER_REFUSED;
	return says(message, refused_words) ? RUNNER_REFUSED : RUNNER_ERROR;
}

/* Blanks a name: it could hold any of the words that are looked for. */
static void
blank(char *message, const char *name)
{
	char	   *found = message;
	size_t		len = strlen(name);

	while (len > 0 && (found = strstr(found, name)) != NULL)
	{
		memset(found, '_', len);
		found += len;
	}
}

/* Status 200: the error stood in the stream. */
RunnerVerdict
osa_docker_pull_verdict(int status, const char *words, const char *repository)
{
	char	   *message = pstrdup(words);
	char	   *host = pstrdup(repository);
	char	   *path;

	host[strcspn(host, "@")] = '\0';
	blank(message, host);
	path = strchr(host, '/');
	if (path != NULL)
	{
		*path++ = '\0';
		blank(message, host);
		blank(message, path);
	}

	if (says(message, exhausted_words))
		return RUNNER_EXHAUSTED;
	if (says(message, pull_passing_words))
		return RUNNER_REGISTRY;
	if (says(message, pull_refused_words) || (status >= 400 && status < 500))
		return RUNNER_REFUSED;
	return RUNNER_REGISTRY;
}

bool
osa_docker_says_not_running(const char *message)
{
	static const char *const words[] = {
		"is not running", "container state improper", "can only kill running", NULL
	};

	return says(message, words);
}
