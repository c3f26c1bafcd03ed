/*
 * plain_test.c
 *		JSON reader, names and paths, limits, columns, progress lines.
 */
#include "tap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contract/columns.h"
#include "contract/json.h"
#include "contract/limits.h"
#include "contract/paths.h"
#include "utils/memutils.h"

/* The events of a text in letters, or "!" and the error. */
static char *
events(const char *text, size_t len)
{
	static const char letters[] = "!.{}[]ksn+-0";
	StringInfoData s;
	JsonReader	reader;
	JsonEvent	event;

	initStringInfo(&s);
	osa_json_begin(&reader, text, len);
	do
	{
		event = osa_json_next(&reader);
		appendStringInfoChar(&s, letters[event]);
	} while (event != JSON_EVENT_ERROR && event != JSON_EVENT_END);
	if (event != JSON_EVENT_ERROR)
		return s.data;
	tap_ok(osa_json_next(&reader) == JSON_EVENT_ERROR && !osa_json_skip(&reader), "an error stays one");
	return psprintf("!%s (byte %d)", reader.error, reader.error_at);
}

static char *
nested(int depth)
{
	char	   *text = palloc(2 * depth + 1);

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	text[2 * depth] = '\0';
	return text;
}

void
test_json(void)
{
	static const struct
	{
		const char *text;
		const char *wanted;
	}			cases[] =
	{
		{"{}", "{}."}, {" [ ] ", "[]."}, {"1", "n."}, {"\"x\"", "s."}, {"null", "0."}, {"true", "+."}, {"false", "-."},
		{"{\"a\":1,\"b\":[true,{\"c\":\"d\"}],\"e\":{}}", "{knk[+{ks}]k{}}."},
		{"", "!ends too early for JSON (byte 1)"}, {" \n", "!ends too early for JSON (byte 3)"},
		{"{\"a\"}", "!is not valid JSON: expected a colon after a key (byte 5)"},
		{"{\"a\":}", "!is not valid JSON: expected a value (byte 6)"},
		{"{1:2}", "!is not valid JSON: expected a key in double quotes (byte 2)"},
		{"[1,]", "!is not valid JSON: expected a value (byte 4)"}, {"[,1]", "!is not valid JSON: expected a value (byte 2)"},
		{"[1 2]", "!is not valid JSON: expected a comma or a closing bracket (byte 4)"},
		{"[1}", "!is not valid JSON: expected a comma or a closing bracket (byte 3)"},
		{"{\"a\":1]", "!is not valid JSON: expected a comma or a closing bracket (byte 7)"},
		{"]", "!is not valid JSON: expected a value (byte 1)"}, {"[", "!ends too early for JSON (byte 2)"},
		{"1 2", "!has text after its JSON value (byte 3)"}, {"01", "!is not valid JSON: invalid token (byte 1)"},
		{"'a'", "!is not valid JSON: invalid token (byte 1)"}, {"nan", "!is not valid JSON: invalid token (byte 1)"},
		{"\"a", "!is not valid JSON: invalid token (byte 1)"}, {"\"\\x\"", "!is not valid JSON: invalid escape in a string (byte 3)"},
		{"\"\\u12\"", "!is not valid JSON: \\u needs four hexadecimal digits (byte 1)"},
		{"\"a\tb\"", "!is not valid JSON: unescaped control character in a string (byte 1)"},
		{"\"\\ud800\\ud800\"", "!contains a \\u escape of half a surrogate pair (byte 1)"},
		{"\"\\ud800x\"", "!contains a \\u escape of half a surrogate pair (byte 1)"},
		{"\"\\ud800\\n\"", "!contains a \\u escape of half a surrogate pair (byte 1)"},
		{"\"\\\\ud800\"", "s."}, {"\"\xc0\x80\"", "!is not valid UTF-8 (byte 2)"}, {"\"\xf4\x90\x80\x80\"", "!is not valid UTF-8 (byte 2)"},
		{"1e131071", "n."}, {"1e131072", "!contains a number out of range (byte 1)"},
		{"-0.1e-16382", "n."}, {"1e-16384", "!contains a number out of range (byte 1)"}
	};
	JsonReader	reader;
	int64		integer;
	StringInfo	numbers = makeStringInfo();

	for (size_t i = 0; i < lengthof(cases); i++)
		tap_is(events(cases[i].text, strlen(cases[i].text)), cases[i].wanted, psprintf("JSON %s", cases[i].text));
	tap_is(events("[1]x", 3), "[n].", "the text ends where its length says");
	tap_is(events("[\0]", 3), "!contains a NUL byte (byte 2)", "a NUL byte");
	tap_ok(strchr(events(nested(OSA_JSON_MAX_DEPTH), OSA_JSON_MAX_DEPTH * 2), '!') == NULL, "deepest nesting");
	tap_is(events(nested(OSA_JSON_MAX_DEPTH + 1), OSA_JSON_MAX_DEPTH * 2 + 2), "!is nested too deeply (byte 65)", "nested too deeply");
	tap_like(events(nested(5000000), 10000000), "!is nested too deeply", "ten million brackets");

	appendStringInfoChar(numbers, '[');
	for (int i = 0; i < 200; i++)
		appendStringInfoString(numbers, "1e131000,");
	appendStringInfoString(numbers, "1]");
	tap_like(events(numbers->data, numbers->len), "!contains a number out of range", "numbers too long when written out");

	osa_json_begin(&reader, "[\"\\u00e9\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\udc0d\xc3\xa9\", 12, {\"a\":[1,2]}, 3]", 60);
	osa_json_next(&reader);
	osa_json_next(&reader);
	tap_is(osa_json_text(&reader), "\xc3\xa9\"\\/\b\f\n\r\t\xf0\x9f\x90\x8d\xc3\xa9", "unescaping");
	tap_ok(!osa_json_equals(&reader, "x"), "comparing");
	tap_ok(osa_json_next(&reader) == JSON_EVENT_NUMBER && osa_json_integer(&reader, 12, 12, &integer) && integer == 12, "an integer");
	tap_ok(!osa_json_integer(&reader, 13, 20, &integer) && !osa_json_integer(&reader, 0, 11, &integer), "out of its range");
	tap_ok(osa_json_next(&reader) == JSON_EVENT_OBJECT && osa_json_skip(&reader) && osa_json_next(&reader) == JSON_EVENT_NUMBER, "skipping");
}

static const char *
repeated(char c, int n)
{
	char	   *text = palloc(n + 1);

	memset(text, c, n);
	text[n] = '\0';
	return text;
}

static bool stepwise;

/* Opens a path beneath the test's folder and says how that went. */
static char *
open_it(const char *rel, PathKind kind)
{
	int			fd;
	bool		is_folder;
	Failure		failure;

	if (!(stepwise ? stepwise_open_beneath : osa_open_beneath) (tap_folder, rel, kind, &fd, &is_folder, &failure))
		return psprintf("!%s: %s", osa_failure_name(failure.kind), failure.message);
	close(fd);
	return is_folder ? "folder" : "file";
}

static void
make_files_to_open(void)
{
	char	   *f = psprintf("%s/open", tap_folder);
	int			fd;

	mkdir(f, 0700);
	mkdir(psprintf("%s/sub", f), 0700);
	fd = open(psprintf("%s/sub/file", f), O_CREAT | O_WRONLY, 0600);
	close(fd);
	(void) mkfifo(psprintf("%s/fifo", f), 0600);
	(void) symlink("sub/file", psprintf("%s/link", f));
	(void) symlink("sub", psprintf("%s/linked", f));
	(void) symlink("/etc", psprintf("%s/outside", f));
}

static void
test_open(void)
{
	tap_is(open_it("open/sub/file", PATH_FILE), "file", "opening a file");
	tap_is(open_it("open/sub", PATH_FOLDER), "folder", "opening a folder");
	tap_is(open_it("open/sub", PATH_EITHER), "folder", "opening either");
	tap_is(open_it("", PATH_FOLDER), "folder", "opening the root");
	tap_like(open_it("open/sub", PATH_FILE), "!config: \"open/sub\" is a folder, not a file", "a folder for a file");
	tap_like(open_it("open/sub/file", PATH_FOLDER), "!config: \"open/sub/file\" is not a folder", "a file for a folder");
	tap_like(open_it("open/sub/file/x", PATH_FILE), "!config: \"open/sub/file/x\" is not a folder", "a file amid a path");
	tap_like(open_it("open/none", PATH_FILE), "!config: could not open \"open/none\": No such file", "a missing file");
	tap_like(open_it("open/link", PATH_FILE), "!config: file \"open/link\" is a symbolic link", "a link");
	tap_like(open_it("open/linked/file", PATH_FILE), "!config: file \"open/linked/file\" is a symbolic link or behind one", "behind a link");
	tap_like(open_it("open/outside/passwd", PATH_FILE), "!config: file \"open/outside/passwd\" is a symbolic link", "a link to the outside");
	tap_like(open_it("open/fifo", PATH_FILE), "!config: file \"open/fifo\" is neither", "a FIFO is not opened");
	tap_like(open_it("open/../../x", PATH_FILE), "!config: ", "a climbing path");
	tap_like(open_it("/etc/passwd", PATH_FILE), "!config: ", "an absolute path");
}

void
test_paths(void)
{
	static const struct
	{
		const char *text;
		bool		id;
		bool		path;
	}			cases[] =
	{
		{"a", true, true}, {"r 1.fasta", true, true}, {"\xc3\xa9\xe2\x98\x83", true, true}, {"...", true, true}, {".a", true, true},
		{"a\\b", true, true}, {"-rf", true, true}, {"", false, false}, {".", false, false}, {"..", false, false},
		{"a/b", false, true}, {"a/b/c.txt", false, true}, {"/a", false, false}, {"a/", false, false}, {"a//b", false, false},
		{"a/../b", false, false}, {"../a", false, false}, {"a/..", false, false}, {"a/./b", false, false}, {"./a", false, false},
		{"a\nb", false, false}, {"a\tb", false, false}, {"\x01", false, false}, {"a\x7f", false, false},
		{"a\xc2\x85", false, false}, {"a\xc2\x9f", false, false}, {"a\xc2\xa0", true, true},
		{"\xff", false, false}, {"a\xc3", false, false}, {"\xed\xa0\x80", false, false}
	};
	static const struct
	{
		const char *image;
		bool		good;
	}			images[] =
	{
		{"busybox", true}, {"busybox:1.36", true}, {"library/busybox:latest", true}, {"localhost/osa/gc:1", true},
		{"registry.example.org:5000/team/a.b_c__d-e--f:V1.2-x_y", true}, {"[::1]:5000/x", true}, {"REG.example/x", true},
		{"x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true},
		{"x:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true},
		{"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", true},
		{"sha256:0123", false}, {"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", false},
		{"x@sha256:01", false}, {"x@md5:0123456789abcdef", false}, {"", false}, {"busy box", false}, {"busybox ", false}, {"x;rm", false},
		{"$(id)", false}, {"`id`", false}, {"a&b", false}, {"a|b", false}, {"x\n", false}, {"Busybox", false}, {"a/Busybox", false}, {"x:", false},
		{":x", false}, {"/x", false}, {"x/", false}, {"a//b", false}, {"-x", false}, {"x-", false}, {"x:.1", false}, {"x.", false},
		{"x___y", false}, {"..", false}, {"../x", false}, {"a.b:port/x", false}, {"x@", false}, {"x\xc3\xa9", false}, {"-a.b/x", false}
	};

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		size_t		len = strlen(cases[i].text);

		tap_ok((osa_record_id_problem(cases[i].text, len) == NULL) == cases[i].id, "record id %s", cases[i].text);
		tap_ok((osa_file_path_problem(cases[i].text, len) == NULL) == cases[i].path, "file path %s", cases[i].text);
	}
	tap_ok(osa_record_id_problem("a\0b", 3) != NULL && osa_file_path_problem("a\0b", 3) != NULL, "NUL in a name");
	tap_ok(osa_record_id_problem(repeated('x', 200), 200) == NULL, "record id of 200 bytes");
	tap_ok(osa_record_id_problem(repeated('x', 201), 201) != NULL, "record id of 201 bytes");
	tap_ok(osa_file_path_problem(repeated('x', 255), 255) == NULL, "component of 255 bytes");
	tap_ok(osa_file_path_problem(repeated('x', 256), 256) != NULL, "component of 256 bytes");
	tap_ok(osa_file_path_problem(psprintf("%s/%s/%s/%s/x", repeated('x', 255), repeated('x', 255), repeated('x', 255), repeated('x', 254)), 1024) == NULL,
		   "path of 1024 bytes");
	tap_ok(osa_file_path_problem(psprintf("%s/%s/%s/%s/xx", repeated('x', 255), repeated('x', 255), repeated('x', 255), repeated('x', 254)), 1025) != NULL,
		   "path of 1025 bytes");
	for (size_t i = 0; i < lengthof(images); i++)
		tap_ok((osa_image_name_problem(images[i].image) == NULL) == images[i].good, "image name %s", images[i].image);
	tap_ok(osa_image_name_problem(repeated('x', 512)) == NULL, "image name of 512 bytes");
	tap_ok(osa_image_name_problem(repeated('x', 513)) != NULL, "image name of 513 bytes");
	make_files_to_open();
	for (int i = 0; i < 2; i++)
	{
		stepwise = i == 1;
		test_open();
	}
}

static char *
limits_text(const HookLimits *l)
{
	return psprintf("%g " INT64_FORMAT " %g %d " INT64_FORMAT " " INT64_FORMAT " %d %g %g", l->timeout, l->memory, l->cpu, l->pids,
					l->tmpfs, l->output, l->retries, l->retry_delay, l->retry_delay_max);
}

void
test_limits(void)
{
	static const struct
	{
		const char *json;
		const char *wanted;
	}			cases[] =
	{
		{"{}", "{}"},
		{"{\"timeout\":\"5 min\",\"memory\":\"1GiB\",\"cpu\":0.5,\"pids\":128,\"tmpfs\":\"100MiB\",\"output\":\"64MiB\",\"retries\":2,\"retry_delay\":\"90 s\",\"retry_delay_max\":\"300 s\"}",
		"{\"timeout\": 300, \"memory\": 1073741824, \"cpu\": 0.5, \"pids\": 128, \"tmpfs\": 104857600, \"output\": 67108864, \"retries\": 2, \"retry_delay\": 90, \"retry_delay_max\": 300}"},
		{"{\"memory\":6291456}", "{\"memory\": 6291456}"}, {"{\"memory\":\"6291456\"}", "{\"memory\": 6291456}"},
		{"{\"memory\":\"6291456b\"}", "{\"memory\": 6291456}"}, {"{\"memory\":\"10240k\"}", "{\"memory\": 10485760}"},
		{"{\"memory\":\"10240kB\"}", "{\"memory\": 10485760}"}, {"{\"memory\":\"10240KiB\"}", "{\"memory\": 10485760}"},
		{"{\"memory\":\"10240Ki\"}", "{\"memory\": 10485760}"}, {"{\"memory\":\"10m\"}", "{\"memory\": 10485760}"},
		{"{\"memory\":\"10MB\"}", "{\"memory\": 10485760}"}, {"{\"memory\":\" 10 MiB\"}", "{\"memory\": 10485760}"},
		{"{\"memory\":\"10Mi\"}", "{\"memory\": 10485760}"}, {"{\"memory\":\"1g\"}", "{\"memory\": 1073741824}"},
		{"{\"memory\":\"1GB\"}", "{\"memory\": 1073741824}"}, {"{\"memory\":\"1Gi\"}", "{\"memory\": 1073741824}"},
		{"{\"memory\":\"1.5GiB\"}", "{\"memory\": 1610612736}"}, {"{\"tmpfs\":0.6}", "{\"tmpfs\": 1}"},
		{"{\"timeout\":300}", "{\"timeout\": 300}"}, {"{\"timeout\":0.25}", "{\"timeout\": 0.25}"},
		{"{\"timeout\":\"1 hour 30 min\"}", "{\"timeout\": 5400}"}, {"{\"timeout\":\"90 s\"}", "{\"timeout\": 90}"},
		{"{\"timeout\":\"00:05:00\"}", "{\"timeout\": 300}"}, {"{\"timeout\":\"PT5M\"}", "{\"timeout\": 300}"},
		{"{\"timeout\":\"P1DT1S\"}", "{\"timeout\": 86401}"}, {"{\"timeout\":\"2 days\"}", "{\"timeout\": 172800}"},
		{"{\"timeout\":\"250 ms\"}", "{\"timeout\": 0.25}"}, {"{\"timeout\":\"300\"}", "{\"timeout\": 300}"},
		{"{\"timeout\":\"30 days\"}", "{\"timeout\": 2592000}"}, {"{\"retries\":0}", "{\"retries\": 0}"}, {"{\"cpu\":1.1}", "{\"cpu\": 1.1}"},
		{"{\"pids\":1}", "{\"pids\": 1}"}, {"{\"pids\":32768}", "{\"pids\": 32768}"}, {"{\"retries\":100}", "{\"retries\": 100}"},
		{"{\"cpu\":1024}", "{\"cpu\": 1024}"},

		{"[]", "!limits must be a JSON object"}, {"3", "!limits must be a JSON object"}, {"", "!limits must be a JSON object"},
		{"{\"memory\":\"1GiB\"", "!limits document ends too early"}, {"{\"memory\":}", "!limits document is not valid JSON"},
		{"{} x", "!limits document"},
		{"{\"mem\":1}", "!unrecognized limit \"mem\""}, {"{\"Timeout\":1}", "!unrecognized limit \"Timeout\""},
		{"{\"pids\":1,\"pids\":2}", "!limit \"pids\" is given twice"},
		{"{\"memory\":\"1 parsec\"}", "!limit \"memory\" must be a size such as \"512MiB\" or a number of bytes, not \"1 parsec\""},
		{"{\"memory\":\"1TB\"}", "!limit \"memory\" must be a size"}, {"{\"memory\":\"1mb\"}", "!limit \"memory\" must be a size"},
		{"{\"memory\":\"\"}", "!limit \"memory\" must be a size"}, {"{\"memory\":\"MiB\"}", "!limit \"memory\" must be a size"},
		{"{\"memory\":\"1.2.3MiB\"}", "!limit \"memory\" must be a size"}, {"{\"memory\":\"-1MiB\"}", "!limit \"memory\" must be a size"},
		{"{\"memory\":\"0x10MiB\"}", "!limit \"memory\" must be a size"}, {"{\"memory\":\"1e9\"}", "!limit \"memory\" must be a size"},
		{"{\"memory\":null}", "!limit \"memory\" must be a size"}, {"{\"memory\":[1]}", "!limit \"memory\" must be a size"},
		{"{\"memory\":true}", "!limit \"memory\" must be a size"}, {"{\"memory\":\"5 min\"}", "!limit \"memory\" must be a size"},
		{"{\"memory\":0}", "!limit \"memory\" must be between 6 MiB and 1 PiB, not 0"}, {"{\"memory\":\"5MiB\"}", "!limit \"memory\" must be between 6 MiB"},
		{"{\"memory\":-1}", "!limit \"memory\" must be between"}, {"{\"memory\":1e30}", "!limit \"memory\" must be between"},
		{"{\"memory\":1e999}", "!limit \"memory\" must be"}, {"{\"memory\":\"99999999999999GiB\"}", "!limit \"memory\" must be between"},
		{"{\"tmpfs\":0}", "!limit \"tmpfs\" must be more than zero"}, {"{\"output\":\"0b\"}", "!limit \"output\" must be more than zero"},
		{"{\"timeout\":0}", "!limit \"timeout\" must be more than zero and at most 30 days"}, {"{\"timeout\":-5}", "!limit \"timeout\" must be more than zero"},
		{"{\"timeout\":\"0 s\"}", "!limit \"timeout\" must be more than zero"}, {"{\"timeout\":\"-5 min\"}", "!limit \"timeout\" must be more than zero"},
		{"{\"timeout\":\"5 min ago\"}", "!limit \"timeout\" must be more than zero"}, {"{\"timeout\":\"31 days\"}", "!limit \"timeout\" must be more than zero and at most 30 days"},
		{"{\"timeout\":\"1 month\"}", "!limit \"timeout\" must be a time"}, {"{\"timeout\":\"1 year\"}", "!limit \"timeout\" must be a time"},
		{"{\"timeout\":\"soon\"}", "!limit \"timeout\" must be a time such as \"5 min\""}, {"{\"timeout\":\"\"}", "!limit \"timeout\" must be a time"},
		{"{\"timeout\":\"5 MiB\"}", "!limit \"timeout\" must be a time"}, {"{\"timeout\":\"today\"}", "!limit \"timeout\" must be a time"},
		{"{\"timeout\":\"99999999999999999999 s\"}", "!limit \"timeout\" must be"}, {"{\"timeout\":\"PT\"}", "!limit \"timeout\" must be"},
		{"{\"cpu\":0}", "!limit \"cpu\" must be between"}, {"{\"cpu\":-1}", "!limit \"cpu\" must be between"}, {"{\"cpu\":1025}", "!limit \"cpu\" must be between"},
		{"{\"cpu\":\"500m\"}", "!limit \"cpu\" must be a number of cores, not \"500m\""},
		{"{\"pids\":0}", "!limit \"pids\" must be between 1 and 32768"}, {"{\"pids\":32769}", "!limit \"pids\" must be between"},
		{"{\"pids\":1.5}", "!limit \"pids\" must be a whole number"}, {"{\"pids\":\"5\"}", "!limit \"pids\" must be a whole number"},
		{"{\"retries\":-1}", "!limit \"retries\" must be between 0 and 100"}, {"{\"retries\":101}", "!limit \"retries\" must be between"},
		{"{\"retry_delay\":0}", "!limit \"retry_delay\" must be more than zero"},
		{"{\"retry_delay\":\"10 min\"}", "!limit \"retry_delay\" (600 s) must not be longer than \"retry_delay_max\" (300 s)"},
		{"{\"retry_delay_max\":\"10 s\"}", "!limit \"retry_delay\" (60 s) must not be longer"}
	};

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		HookLimits	limits;
		HookLimits	again;
		char	   *normalised = NULL;
		char	   *twice = NULL;
		Failure		failure;

		if (!osa_limits_parse(cases[i].json, &limits, &normalised, &failure))
		{
			tap_like(psprintf("!%s", failure.message), cases[i].wanted, psprintf("limits %s", cases[i].json));
			tap_ok(failure.kind == FAILURE_CONFIG, "kind config");
			continue;
		}
		tap_like(normalised, cases[i].wanted, psprintf("limits %s", cases[i].json));
		tap_ok(osa_limits_parse(normalised, &again, &twice, &failure) && strcmp(normalised, twice) == 0 &&
			   strcmp(limits_text(&limits), limits_text(&again)) == 0, "normalised form says the same");
		if (strcmp(cases[i].json, "{}") == 0)
			tap_is(limits_text(&limits), "300 536870912 1 256 67108864 67108864 3 60 300", "defaults");
		if (i == 1)
			tap_is(limits_text(&limits), "300 1073741824 0.5 128 104857600 67108864 2 90 300", "all given");
	}
}

void
test_columns(void)
{
	static const struct
	{
		const char *json;
		const char *wanted;
	}			cases[] =
	{
		{"[]", ""}, {"[{\"name\":\"gc\",\"type\":\"float8\",\"unit\":\"fraction\",\"nullable\":true},{\"type\":\"text\",\"name\":\"_x9\",\"unit\":null}]", "gc float8 null, _x9 text"},
		{"[{\"name\":\"a\",\"type\":\"bool\"},{\"name\":\"b\",\"type\":\"int4\"},{\"name\":\"c\",\"type\":\"int8\"},{\"name\":\"d\",\"type\":\"numeric\"},{\"name\":\"e\",\"type\":\"date\"},{\"name\":\"f\",\"type\":\"timestamptz\"},{\"name\":\"g\",\"type\":\"jsonb\"}]",
		"a bool, b int4, c int8, d numeric, e date, f timestamptz, g jsonb"},
		{"{}", "!columns must be a JSON array"}, {"x", "!columns must be a JSON array"}, {"[1]", "!column 1 must be a JSON object"}, {"[{}]", "!column 1 has no \"name\""},
		{"[{\"name\":\"a\"}]", "!column 1 has no \"type\""}, {"[{\"name\":\"a\",\"type\":\"text\"},{\"name\":\"a\",\"type\":\"text\"}]", "!column \"a\" is declared twice"},
		{"[{\"name\":\"A\",\"type\":\"text\"}]", "!column 1 must have a name"}, {"[{\"name\":\"1a\",\"type\":\"text\"}]", "!column 1 must have a name"},
		{"[{\"name\":\"\",\"type\":\"text\"}]", "!column 1 must have a name"}, {"[{\"name\":\"a-b\",\"type\":\"text\"}]", "!column 1 must have a name"}, {"[{\"name\":5,\"type\":\"text\"}]", "!column 1 must have a name"},
		{"[{\"name\":\"a\",\"type\":\"int\"}]", "!column 1 must have one of the types"}, {"[{\"name\":\"a\",\"type\":4}]", "!column 1 must have one of the types"},
		{"[{\"name\":\"a\",\"type\":\"text\",\"unit\":4}]", "!the unit of column 1 must be text"}, {"[{\"name\":\"a\",\"type\":\"text\",\"unit\":{\"a\":1}}]", "!the unit of column 1 must be text"},
		{"[{\"name\":\"a\",\"type\":\"text\",\"nullable\":\"no\"}]", "!\"nullable\" of column 1 must be true or false"},
		{"[{\"name\":\"a\",\"type\":\"text\",\"size\":4}]", "!unrecognized key \"size\" in column 1"},
		{"[{\"name\":\"a\",\"type\":\"text\"}", "!columns document ends too early"}, {"[{\"name\":\"a\",\"type\":\"text\"}] 1", "!columns document has text after"},
		{"[{\"name\":\"a\",\"type\":}]", "!columns document is not valid JSON"}
	};
	FeatureColumn *columns;
	int			n;
	Failure		failure;
	StringInfo	many = makeStringInfo();

	for (size_t i = 0; i < lengthof(cases); i++)
	{
		StringInfo	s = makeStringInfo();

		if (!osa_columns_parse(cases[i].json, CurrentMemoryContext, &columns, &n, &failure))
		{
			tap_like(psprintf("!%s", failure.message), cases[i].wanted, psprintf("columns %s", cases[i].json));
			tap_ok(failure.kind == FAILURE_CONFIG, "kind config");
			continue;
		}
		for (int c = 0; c < n; c++)
			appendStringInfo(s, "%s%s %s%s", c > 0 ? ", " : "", columns[c].name, columns[c].type, columns[c].nullable ? " null" : "");
		tap_like(s->data, cases[i].wanted, psprintf("columns %s", cases[i].json));
	}
	for (int i = 0; i < OSA_MAX_COLUMNS; i++)
		appendStringInfo(many, "%c{\"name\":\"c%d\",\"type\":\"text\"}", i == 0 ? '[' : ',', i);
	tap_ok(osa_columns_parse(psprintf("%s]", many->data), CurrentMemoryContext, &columns, &n, &failure) && n == 200, "200 columns");
	tap_ok(!osa_columns_parse(psprintf("%s,{\"name\":\"x\",\"type\":\"text\"}]", many->data), CurrentMemoryContext, &columns, &n, &failure), "201 columns");
	tap_ok(osa_columns_parse(psprintf("[{\"name\":\"%s\",\"type\":\"text\"}]", repeated('x', 63)), CurrentMemoryContext, &columns, &n, &failure), "name of 63");
	tap_ok(!osa_columns_parse(psprintf("[{\"name\":\"%s\",\"type\":\"text\"}]", repeated('x', 64)), CurrentMemoryContext, &columns, &n, &failure), "name of 64");
}

static char *
progress_text(const char *data, size_t len, int max, size_t *consumed)
{
	StringInfo	s = makeStringInfo();
	ProgressLine *lines;
	int			n = osa_progress_parse(data, len, max, &lines, consumed);

	for (int i = 0; i < n; i++)
		appendStringInfo(s, "%s%s|%s|%s|%s", i > 0 ? "; " : "", lines[i].record_id ? lines[i].record_id : "", lines[i].step ? lines[i].step : "",
						 lines[i].status, lines[i].message ? lines[i].message : "");
	pfree(lines);
	return s->data;
}

void
test_progress(void)
{
	size_t		consumed;
	const char *data = "{\"status\":\"a\"}\n{\"step\":\"s\",\"status\":\"b\",\"message\":\"m\",\"id\":\"r\"}\nbad\n{\"status\":\"c\",\"id\":null}\n{\"sta";
	StringInfo	s = makeStringInfo();

	tap_is(progress_text(data, strlen(data), 10, &consumed), "||a|; r|s|b|m; ||c|", "progress lines");
	tap_ok(consumed == strlen(data) - 5, "up to the last newline");
	tap_is(progress_text(data, strlen(data), 2, &consumed), "r|s|b|m; ||c|", "the last ones");
	tap_is(progress_text(data, strlen(data), 0, &consumed), "", "none");
	tap_ok(consumed == strlen(data) - 5, "but consumed");
	tap_is(progress_text("{\"status\"", 9, 5, &consumed), "", "no whole line");
	tap_ok(consumed == 0, "nothing consumed");
	tap_is(progress_text("", 0, 5, &consumed), "", "no bytes");
	tap_is(progress_text("\n\n \n", 4, 5, &consumed), "", "blank lines");
	data = "{}\n[]\n{\"status\":1}\n{\"status\":\"x\",\"message\":{}}\n{\"status\":null}\n{\"status\":\"x\"\n\xff\n{\"status\":\"\\u0000\"}\n{\"status\":\"ok\",\"more\":[{}]}\n";
	tap_is(progress_text(data, strlen(data), 20, &consumed), "||ok|", "bad ones are skipped");

	appendStringInfo(s, "{\"status\":\"x\",\"message\":\"%s\xc3\xa9\"}\n", repeated('m', 1023));
	tap_is(progress_text(s->data, s->len, 5, &consumed), psprintf("||x|%s", repeated('m', 1023)), "a message is cut between characters");
	resetStringInfo(s);
	appendStringInfo(s, "{\"status\":\"x\",\"message\":\"%s\"}\n", repeated('m', 100 * 1024));
	tap_is(progress_text(s->data, s->len, 5, &consumed), "", "a giant line is skipped");
	tap_ok(consumed == (size_t) s->len, "and consumed");
	resetStringInfo(s);
	appendStringInfo(s, "{\"status\":\"x\",\"id\":\"%s\"}\n", repeated('m', 201));
	tap_is(progress_text(s->data, s->len, 5, &consumed), "", "an id that can be none");
}
