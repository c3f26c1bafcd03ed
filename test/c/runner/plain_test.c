/*
 * plain_test.c
 *		The pure files of the docker runner: spec, facts, replies, verdicts.
 */
#include "tap.h"

#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "runner/docker_json.h"
#include "runner/docker_reply.h"
#include "runner/docker_spec.h"

static HookLimits limits = {
	.memory = 1 << 30,.tmpfs = 3 << 20,.output = 2 << 20,.cpu = 0.25,.pids = 77
};

static void
make_spec(ContainerSpec *spec)
{
	memset(spec, 0, sizeof(*spec));
	spec->name = "osa-1";
	spec->image_id = "sha256:aa";
	spec->hook_name = "ho\"ok";
	spec->limits = &limits;
	spec->n_labels = 2;
	spec->labels[0].key = "osa.run";
	spec->labels[0].value = "1";
	spec->labels[1].key = "osa.q";
	spec->labels[1].value = "a\\\"b\n";
}

/* The value at a path of a JSON text, as text. */
static char *
json_at(const char *json, const char *path)
{
	Datum		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
	char	   *copy = pstrdup(path);

	for (char *key = strtok(copy, "|"); key != NULL; key = strtok(NULL, "|"))
	{
		char	   *rest;
		long		index = strtol(key, &rest, 10);

		LOCAL_FCINFO(fcinfo, 2);
		InitFunctionCallInfoData(*fcinfo, NULL, 2, DEFAULT_COLLATION_OID, NULL, NULL);
		fcinfo->args[0].value = value;
		fcinfo->args[1].value = *rest == '\0' ? Int32GetDatum((int32) index) : CStringGetTextDatum(key);
		fcinfo->args[0].isnull = fcinfo->args[1].isnull = false;
		value = *rest == '\0' ? jsonb_array_element(fcinfo) : jsonb_object_field(fcinfo);
		if (fcinfo->isnull)
			return "(none)";
	}
	return DatumGetCString(DirectFunctionCall1(jsonb_out, value));
}

void
test_spec(void)
{
	StringInfoData body;
	StringInfoData url;
	ContainerSpec spec;
	DockerLimits wanted;
	static const char *const expected[][2] = {
		{"Image", "\"sha256:aa\""}, {"User", "\"65534:65534\""}, {"WorkingDir", "\"/tmp\""},
		{"Cmd", "(none)"}, {"Volumes", "{\"/osa\": {}}"}, {"Tty", "false"},
		{"Healthcheck", "(none)"}, {"Labels", "{\"osa.q\": \"a\\\\\\\"b\\n\", \"osa.run\": \"1\"}"},
		{"Env", "[\"OSA_IN=/osa/in\", \"OSA_OUT=/osa/out\", \"OSA_FILES=/osa/files\", \"HOME=/tmp\", \"OSA_HOOK_NAME=ho\\\"ok\"]"},
		{"HostConfig|NetworkMode", "\"none\""}, {"HostConfig|ReadonlyRootfs", "true"},
		{"HostConfig|CapDrop", "[\"ALL\"]"}, {"HostConfig|SecurityOpt", "[\"no-new-privileges\"]"},
		{"HostConfig|Init", "true"}, {"HostConfig|Memory", "1073741824"},
		{"HostConfig|MemorySwap", "1073741824"}, {"HostConfig|NanoCpus", "250000000"},
		{"HostConfig|PidsLimit", "77"}, {"HostConfig|Tmpfs|/tmp", "\"rw,noexec,nosuid,nodev,size=3145728\""},
		{"HostConfig|Ulimits|0", "{\"Hard\": 3145728, \"Name\": \"fsize\", \"Soft\": 3145728}"},
		{"HostConfig|RestartPolicy|Name", "\"no\""}, {"HostConfig|LogConfig|Type", "\"json-file\""}
	};

	make_spec(&spec);
	initStringInfo(&body);
	osa_docker_create_body(&body, &spec);
	for (int i = 0; i < (int) lengthof(expected); i++)
		tap_is(json_at(body.data, expected[i][0]), expected[i][1], expected[i][0]);

	spec.memory = INT64CONST(5) << 30;
	osa_docker_limits(&spec, &wanted);
	tap_is_int(wanted.memory, INT64CONST(5) << 30, "memory after a kill takes the limit's place");
	initStringInfo(&url);
	osa_docker_url_encode(&url, "localhost/a b:1@x?&#%\"\xc3\xa9");
	tap_is(url.data, "localhost%2Fa%20b%3A1%40x%3F%26%23%25%22%C3%A9", "nothing leaves its part of a URL");
}

/* Inspects a document made of a state and a host configuration. */
static bool
inspect(const char *state, const char *host_config, ContainerFacts *facts, DockerSettings *settings)
{
	char	   *json = psprintf("{\"Id\":\"%064d\",\"Name\":\"/osa-1\",\"Image\":\"sha256:aa\","
								"\"Created\":\"2024-02-29T23:59:59.123456789Z\",\"State\":%s,"
								"\"Config\":{\"User\":\"65534:65534\",\"Labels\":{\"osa.run\":\"1\",\"x\":\"y\"}},"
								"\"HostConfig\":%s}", 7, state, host_config);

	return osa_docker_parse_inspect(json, strlen(json), facts, settings);
}

static void
is_phase(const char *state, ContainerPhase phase, const char *name)
{
	ContainerFacts facts;
	DockerSettings settings;

	tap_ok(inspect(state, "{}", &facts, &settings) && facts.phase == phase, "%s", name);
}

static const char docker_host[] =
"{\"Memory\":1073741824,\"MemorySwap\":1073741824,\"NanoCpus\":250000000,\"PidsLimit\":77,"
"\"ReadonlyRootfs\":true,\"NetworkMode\":\"none\",\"CapDrop\":[\"ALL\"],\"SecurityOpt\":[\"no-new-privileges\"],"
"\"Ulimits\":[{\"Name\":\"core\",\"Hard\":0,\"Soft\":0},{\"Name\":\"fsize\",\"Hard\":3145728,\"Soft\":3145728}]}";
static const char podman_host[] =
"{\"Memory\":1073741824,\"MemorySwap\":1073741824,\"NanoCpus\":250000000,\"PidsLimit\":77,"
"\"ReadonlyRootfs\":true,\"NetworkMode\":\"none\",\"CapDrop\":[\"AUDIT_WRITE\",\"CAP_CHOWN\",\"DAC_OVERRIDE\","
"\"FOWNER\",\"FSETID\",\"KILL\",\"NET_BIND_SERVICE\",\"SETFCAP\",\"SETGID\",\"SETPCAP\",\"SETUID\",\"SYS_CHROOT\"],"
"\"SecurityOpt\":[\"no-new-privileges\"],\"Ulimits\":[{\"Name\":\"RLIMIT_FSIZE\",\"Hard\":3145728,\"Soft\":3145728}]}";

static void
test_compare(void)
{
	ContainerFacts facts;
	DockerSettings settings;
	ContainerSpec spec;
	DockerLimits wanted;

	make_spec(&spec);
	osa_docker_limits(&spec, &wanted);
	inspect("{\"Status\":\"created\"}", docker_host, &facts, &settings);
	osa_docker_compare(&facts, &settings, &wanted, "sha256:aa");
	tap_is(facts.unenforced, "", "Docker set it all");
	inspect("{\"Status\":\"created\"}", podman_host, &facts, &settings);
	osa_docker_compare(&facts, &settings, &wanted, "aa");
	tap_is(facts.unenforced, "", "Podman set it all, in its words");
	inspect("{\"Status\":\"created\"}", "{\"ReadonlyRootfs\":false,\"CapDrop\":[\"CHOWN\"],\"Ulimits\":[]}",
			&facts, &settings);
	settings.user[0] = '\0';
	osa_docker_compare(&facts, &settings, &wanted, "sha256:bb");
	tap_is(facts.unenforced, "memory, swap, cpu, pids, file size, read-only root, no network, "
		   "no capabilities, no new privileges, user, image", "whatever was dropped is named");
}

void
test_facts(void)
{
	ContainerFacts facts;
	DockerSettings settings;
	ContainerFacts *list;
	int			n;
	StringInfoData many;
	const char *json;

	is_phase("{\"Status\":\"created\",\"StartedAt\":\"0001-01-01T00:00:00Z\"}", CONTAINER_CREATED, "created");
	is_phase("{\"Status\":\"created\",\"StartedAt\":\"2024-01-01T00:00:00Z\"}", CONTAINER_LOST, "created with a start is lost");
	is_phase("{\"Status\":\"running\",\"Running\":true}", CONTAINER_RUNNING, "running");
	is_phase("{\"Status\":\"paused\",\"Running\":true}", CONTAINER_RUNNING, "paused runs");
	is_phase("{\"Status\":\"stopping\",\"Running\":false}", CONTAINER_RUNNING, "stopping runs still");
	is_phase("{\"Status\":\"stopped\",\"Running\":false}", CONTAINER_EXITED, "stopped has exited");
	is_phase("{\"Status\":\"exited\",\"Running\":false}", CONTAINER_EXITED, "exited");
	is_phase("{\"Status\":\"dead\",\"Running\":false}", CONTAINER_LOST, "dead is lost");
	is_phase("{\"Status\":\"removing\",\"Running\":false}", CONTAINER_LOST, "removing is lost");
	is_phase("{}", CONTAINER_LOST, "no state at all is lost");
	is_phase("[[]]", CONTAINER_LOST, "a state of another type is lost");

	inspect("{\"Status\":\"exited\",\"ExitCode\":7,\"OOMKilled\":true,\"Error\":\"a\\u0000\\nb\","
			"\"StartedAt\":\"2024-01-01T00:00:00.5Z\",\"FinishedAt\":\"2024-01-01T00:00:00.498Z\"}",
			"{}", &facts, &settings);
	tap_is_int(facts.exit_code, 7, "exit code");
	tap_ok(facts.oom_killed, "out of memory");
	tap_is(facts.error, "a\xef\xbf\xbd b", "an error's text is clean");
	tap_ok(facts.started_at != 0 && facts.finished_at == facts.started_at, "an end just before the start is the start");
	tap_is(facts.name, "osa-1", "no slash before the name");
	tap_ok(facts.n_labels == 1 && strcmp(facts.labels[0].key, "osa.run") == 0, "only labels of ours");
	tap_is(timestamptz_to_str(facts.created_at),
		   timestamptz_to_str(DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
																	  CStringGetDatum("2024-02-29 23:59:59.123456+00"),
																	  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)))),
		   "creation time");
	inspect("{\"Status\":\"exited\",\"ExitCode\":0,\"StartedAt\":\"2024-01-01T00:00:02Z\","
			"\"FinishedAt\":\"2024-01-01T00:00:00Z\"}", "{}", &facts, &settings);
	tap_ok(facts.finished_at == 0, "an end long before the start is none");
	inspect("{\"Status\":\"exited\",\"ExitCode\":99999999999999999999}", "{}", &facts, &settings);
	tap_is_int(facts.exit_code, -1, "an exit code that is no integer is not 0");
	inspect("{\"Status\":\"exited\"}", "{}", &facts, &settings);
	tap_is_int(facts.exit_code, -1, "nor is one that is missing");
	test_compare();

	json = "[{\"Id\":\"a\",\"Names\":[\"/n1\",\"/x/n1\"],\"ImageID\":\"sha256:i\",\"State\":\"stopped\",\"Created\":1704067200,"
		"\"Labels\":{\"osa.run\":\"5\"}},{\"Id\":\"b\",\"Names\":null,\"State\":\"strange\",\"Labels\":null}]";
	tap_ok(osa_docker_parse_list(json, strlen(json), &list, &n) && n == 2, "list");
	tap_ok(strcmp(list[0].name, "n1") == 0 && list[0].phase == CONTAINER_EXITED && list[0].n_labels == 1, "first of the list");
	tap_ok(list[1].name[0] == '\0' && list[1].phase == CONTAINER_LOST, "second of the list");
	tap_ok(osa_docker_parse_list("[]", 2, &list, &n) && n == 0, "empty list");
	tap_ok(!osa_docker_parse_list("{}", 2, &list, &n), "no list");
	tap_ok(!osa_docker_parse_list("[{\"Id\":\"a\"}", 11, &list, &n), "torn list");
	tap_ok(!osa_docker_parse_list("[{}]", 4, &list, &n), "list without ids");
	tap_ok(!osa_docker_parse_list("null", 4, &list, &n), "null is no list");
	initStringInfo(&many);
	appendStringInfoString(&many, "{\"Id\":\"a\",\"Config\":{\"Labels\":{");
	for (int i = 0; i < 30; i++)
		appendStringInfo(&many, "%s\"osa.%d\":\"v\"", i ? "," : "", i);
	appendStringInfoString(&many, "}}}");
	tap_ok(osa_docker_parse_inspect(many.data, many.len, &facts, &settings) && facts.n_labels == OSA_MAX_LABELS,
		   "more labels than there is room for");
	tap_ok(!osa_docker_parse_inspect("{\"Id\":\"a\"", 9, &facts, &settings), "torn document");
	tap_ok(!osa_docker_parse_inspect("{\"Id\":\"a\"} x", 12, &facts, &settings), "text after the document");
	tap_ok(!osa_docker_parse_inspect("{\"Id\":\"\xff\"}", 10, &facts, &settings), "invalid UTF-8");
	resetStringInfo(&many);
	appendStringInfoString(&many, "{\"Id\":\"a\",\"State\":");
	for (int i = 0; i < 200000; i++)
		appendStringInfoChar(&many, '[');
	tap_ok(!osa_docker_parse_inspect(many.data, many.len, &facts, &settings), "nested without end");
}

static void
is_time(const char *text, const char *wanted)
{
	TimestampTz time;

	if (!osa_docker_parse_time(text, &time))
		tap_is("invalid", wanted, text);
	else if (time == 0)
		tap_is("never", wanted, text);
	else
		tap_is(psprintf(INT64_FORMAT, time), wanted[0] == 'n' || wanted[0] == 'i' ? wanted :
			   psprintf(INT64_FORMAT, DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(wanted),
																			ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)))), text);
}

void
test_replies(void)
{
	char		out[200];
	DockerPathStat path_stat;

	is_time("0001-01-01T00:00:00Z", "never");
	is_time("2026-11-24T23:32:15Z", "2026-11-24 23:32:15+00");
	is_time("2000-02-29T12:00:00.1Z", "2000-02-29 12:00:00.1+00");
	is_time("2100-03-01T00:00:00.999999999Z", "2100-03-01 00:00:00.999999+00");
	is_time("1999-12-31T23:59:59.25+02:30", "1999-12-31 21:29:59.25+00");
	is_time("2024-01-01T00:00:00-11:00", "2024-01-01 11:00:00+00");
	is_time("2024-13-01T00:00:00Z", "invalid");
	is_time("2024-01-01T00:00:00", "invalid");
	is_time("2024-01-01T00:00:00Zx", "invalid");
	is_time("2024-01-01", "invalid");
	is_time("", "invalid");

	tap_ok(osa_docker_parse_id("{\"Id\":\"x\"}", 10, out, sizeof(out)) && strcmp(out, "x") == 0, "id");
	tap_ok(!osa_docker_parse_id("{\"Id\":3}", 8, out, sizeof(out)), "id of another type");
	tap_ok(!osa_docker_parse_id("OK", 2, out, sizeof(out)), "no JSON");
#define ERROR_OF(s) osa_docker_parse_error(s, strlen(s), out, sizeof(out))
	tap_ok(ERROR_OF("{\"cause\":\"c\",\"message\":\"m \\u0007\\\"n\\\"\"}") && strcmp(out, "m  \"n\"") == 0,
		   "an error's message");
	tap_ok(ERROR_OF("{\"errorDetail\":{\"message\":\"d\"},\"error\":\"e\"}") && strcmp(out, "e") == 0,
		   "a pull's error");
	tap_ok(!ERROR_OF("{\"status\":\"Downloading \\\"error\\\"\"}"), "a pull's progress is none");

#define EVENT(s) osa_docker_parse_event(s, strlen(s), out, sizeof(out))
	tap_ok(EVENT("{\"status\":\"die\",\"Actor\":{\"ID\":\"1\",\"Attributes\":{\"exitCode\":\"7\",\"name\":\"w1\",\"a\":{\"name\":\"w2\"}}},\"name\":\"w3\"}") &&
		   strcmp(out, "w1") == 0, "an event's container");
	tap_ok(!EVENT("{\"Actor\":[{\"Attributes\":{\"name\":\"w1\"}}]}"), "an actor of another type");
	tap_ok(!EVENT("{\"Actor\":{\"Attributes\":{\"name\":\"w1\"}}"), "a torn event");
	tap_ok(!EVENT(""), "no event");

	/* {"name":"p","size":42,"mode":420} and a symbolic link's */
	tap_ok(osa_docker_parse_path_stat("eyJuYW1lIjoicCIsInNpemUiOjQyLCJtb2RlIjo0MjB9", &path_stat) &&
		   path_stat.is_regular && path_stat.size == 42, "stat of a file");
	tap_ok(osa_docker_parse_path_stat("eyJzaXplIjo0MiwibW9kZSI6MTM0MjE4MjM5fQ==", &path_stat) && !path_stat.is_regular, "stat of a link");
	tap_ok(!osa_docker_parse_path_stat("!!", &path_stat), "no base64");
	tap_ok(!osa_docker_parse_path_stat("", &path_stat), "no stat");

	osa_docker_version("Libpod/4.3.1 (linux)", true, out, sizeof(out));
	tap_is(out, "podman 4.3.1", "Podman's version");
	osa_docker_version("Docker/20.10.24+dfsg1 (linux)", false, out, sizeof(out));
	tap_is(out, "docker 20.10.24", "Docker's version");
	osa_docker_version(NULL, false, out, sizeof(out));
	tap_is(out, "docker", "a version that is not said");

	osa_docker_clean_text(out, 6, "ab\xc3\xa9\xc3\xa9", 6);
	tap_is(out, "ab\xc3\xa9", "a text is cut between characters");
	osa_docker_clean_text(out, sizeof(out), "a\xff\t\xe2\x82 \n", 7);
	tap_is(out, "a? ??", "and is valid whatever came");
	osa_docker_clean_text(out, 1, "abc", 3);
	tap_is(out, "", "a buffer for nothing");
}

void
test_verdicts(void)
{
	static const struct
	{
		int			status;
		const char *message;
		RunnerVerdict verdict;
	}			cases[] = {
		{409, "Conflict. The container name \"/ok1\" is already in use by container \"3\".", RUNNER_EXISTS},
		{500, "container create: creating container storage: the container name \"ok1\" is already in use by 1b. "
		"You have to remove that container to be able to reuse that name: that name is already in use", RUNNER_EXISTS},
		{404, "No such container: x", RUNNER_ABSENT},
		{404, "no space left on device", RUNNER_ABSENT},
		{400, "Minimum memory limit allowed is 6MB", RUNNER_REFUSED},
		{500, "container create: running container create option: names must match [a-zA-Z0-9]: invalid argument", RUNNER_REFUSED},
		{500, "runc: runc create failed: unable to set memory limit to 1000 (current usage: 2486272): OCI runtime error", RUNNER_REFUSED},
		{500, "exec: \"nope\": executable file not found in $PATH: OCI runtime attempted to invoke a command that was not found", RUNNER_REFUSED},
		{500, "write /x: No Space Left on device", RUNNER_EXHAUSTED},
		{500, "fork/exec /usr/bin/conmon: resource temporarily unavailable", RUNNER_EXHAUSTED},
		{500, "something else went wrong", RUNNER_ERROR},
		{503, "", RUNNER_ERROR},
		{302, "", RUNNER_ERROR}
	};
	static const struct
	{
		int			status;
		const char *words;
		RunnerVerdict verdict;
	}			pulls[] = {
		{200, "pinging container registry 127.0.0.1:5000: invalid status code from registry 500 (Internal Server Error)",
		RUNNER_REGISTRY},
		{200, "initializing source docker://wiki/ocr:x: reading manifest x in wiki/ocr: manifest unknown", RUNNER_REFUSED},
		{404, "pull access denied for wiki/ocr, repository does not exist or may require 'docker login'", RUNNER_REFUSED},
		{500, "Get \"http://r/v2/\": dial tcp 127.0.0.1:5056: connect: connection refused", RUNNER_REGISTRY},
		{200, "lookup registry.invalid on 10.0.0.1:53: no such host", RUNNER_REGISTRY},
		{500, "net/http: TLS handshake timeout", RUNNER_REGISTRY},
		{500, "write /x: no space left on device", RUNNER_EXHAUSTED},
		{429, "toomanyrequests: You have reached your pull rate limit", RUNNER_REGISTRY},
		{500, "what is this", RUNNER_REGISTRY}
	};

	for (int i = 0; i < (int) lengthof(cases); i++)
		tap_ok(osa_docker_verdict(cases[i].status, cases[i].message) == cases[i].verdict, "%d %.60s",
			   cases[i].status, cases[i].message);
	for (int i = 0; i < (int) lengthof(pulls); i++)
		tap_ok(osa_docker_pull_verdict(pulls[i].status, pulls[i].words, "wiki/ocr") == pulls[i].verdict,
			   "pull: %d %.60s", pulls[i].status, pulls[i].words);
	tap_ok(osa_docker_pull_verdict(200, "reading x in r.io/timeout/denied: manifest unknown", "r.io/timeout/denied") == RUNNER_REFUSED,
		   "an image's name is no verdict");
	tap_ok(osa_docker_pull_verdict(200, "Get https://r.io/timeout/denied/x: EOF", "r.io/timeout/denied") == RUNNER_REGISTRY,
		   "neither way");
	tap_ok(osa_docker_says_not_running("Cannot kill container: x: Container 1 is not running"), "Docker's not running");
	tap_ok(osa_docker_says_not_running("can only kill running containers. 1 is in state created: container state improper"),
		   "Podman's not running");
	tap_ok(!osa_docker_says_not_running("could not kill"), "could not kill");
}
