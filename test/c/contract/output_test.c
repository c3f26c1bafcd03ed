/*
 * output_test.c
 *		The rules of a hook's output, one case a sentence, and bad output.
 */
#include "tap.h"

#include <archive.h>
#include <archive_entry.h>

#include "utils/memutils.h"

#define MAX_BYTES		(1024 * 1024)
#define MAX_LINE		2000

typedef struct OutFile
{
	const char *name;			/* below out/ */
	const char *content;
} OutFile;

typedef struct OutCase
{
	const char *name;
	const char *records;		/* ids with blanks between */
	OutputMode	mode;
	HookCardinality cardinality;
	const char *columns;		/* or NULL */
	OutFile		files[5];
	const char *wanted;			/* or "!" and part of the failure */
} OutCase;

#define ONE		OUTPUT_EXITED, CARDINALITY_ONE
#define MANY	OUTPUT_EXITED, CARDINALITY_MANY
#define NONE	OUTPUT_EXITED, CARDINALITY_NONE
#define KILLED	OUTPUT_KILLED, CARDINALITY_MANY
#define FEATURES	"features.jsonl"
#define REJECTIONS	"rejections.jsonl"
#define ERRORS		"errors.jsonl"
#define PROGRESS	"progress.jsonl"
#define DOCUMENT	"features.json"

static const OutCase plain_cases[] = {
	/* what each record gets */
	{"a features line passes its record", "a b", MANY, NULL,
		{{FEATURES, "{\"id\":\"b\",\"features\":[{\"x\":1},{\"x\":2}]}\n{\"id\":\"a\",\"features\":[{\"x\":3}]}\n"}},
	"a passed [{\"x\":3}]; b passed [{\"x\":1}, {\"x\":2}]"},
	{"a rejections line rejects its record", "a", MANY, NULL,
		{{REJECTIONS, "{\"id\":\"a\",\"reason\":\"too short\"}\n"}},
	"a rejected reason=too short"},
	{"an errors line errs its record", "a b", MANY, NULL,
		{{ERRORS, "{\"id\":\"a\",\"error\":\"net\",\"retryable\":true}\n{\"id\":\"b\",\"error\":\"bad\",\"retryable\":false}"}},
	"a errored error=net retryable; b errored error=bad"},
	{"retryable is false if absent", "a", MANY, NULL,
		{{ERRORS, "{\"id\":\"a\",\"error\":\"bad\"}\n"}},
	"a errored error=bad"},
	{"no line and cardinality none passes", "a b", NONE, NULL,
		{{REJECTIONS, "{\"id\":\"b\",\"reason\":\"r\"}\n"}},
	"a passed; b rejected reason=r"},
	{"no line and cardinality one is errored", "a", ONE, NULL, {{NULL}}, "a errored error=no outcome"},
	{"no line and cardinality many is errored", "a b", MANY, NULL,
		{{FEATURES, "{\"id\":\"b\",\"features\":[1]}\n"}},
	"a errored error=no outcome; b passed [1]"},
	{"nothing at all written, cardinality none", "a", NONE, NULL, {{NULL}}, "a passed"},
	{"an empty file is no lines", "a", NONE, NULL, {{FEATURES, ""}, {ERRORS, ""}}, "a passed"},
	{"a null is no feature", "a b", MANY, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[null]}\n{\"id\":\"b\",\"features\":[null,2,null,3]}\n"}},
	"a passed; b passed [2, 3]"},
	{"an empty list of features passes without one", "a", ONE, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[]}\n"}}, "a passed"},
	{"[null] passes where cardinality is none", "a", NONE, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[null]}\n"}}, "a passed"},
	{"without columns a feature is any value", "a", MANY, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[\"t\",1.5,true,[1,[2]],{\"k\":{\"l\":null}}]}\n"}},
	"a passed [\"t\", 1.5, true, [1,[2]], {\"k\":{\"l\":null}}]"},
	{"blank lines are skipped", "a", MANY, NULL,
		{{FEATURES, "\n  \n\t\r\n{\"id\":\"a\",\"features\":[1]}\r\n\n"}}, "a passed [1]"},
	{"a last line without newline counts", "a", MANY, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}"}}, "a passed [1]"},
	{"keys that are not ours are left alone", "a", MANY, NULL,
		{{FEATURES, "{\"v\":[{}],\"features\":[1],\"reason\":3,\"id\":\"a\"}\n"}}, "a passed [1]"},
	{"escaped keys and ids are what they say", "a\"b", MANY, NULL,
		{{FEATURES, "{\"\\u0069d\":\"a\\u0022b\",\"features\":[1]}\n"}}, "a\"b passed [1]"},
	{"ids beyond ASCII, raw and escaped", "\xc3\xa9 \xf0\x9f\x90\x8d", MANY, NULL,
		{{FEATURES, "{\"id\":\"\\u00e9\",\"features\":[1]}\n{\"id\":\"\xf0\x9f\x90\x8d\",\"features\":[2]}\n"}},
	"\xc3\xa9 passed [1]; \xf0\x9f\x90\x8d passed [2]"},
	{"a surrogate pair is one character", "\xf0\x9f\x90\x8d", NONE, NULL,
		{{REJECTIONS, "{\"id\":\"\\ud83d\\udc0d\",\"reason\":\"\\ud83d\\udc0d\\t\\/\"}\n"}},
	"\xf0\x9f\x90\x8d rejected reason=\xf0\x9f\x90\x8d\t/"},
	{"other files and folders are ignored", "a", NONE, NULL,
		{{"log.txt", "not json"}, {"sub/features.jsonl", "not json"}, {"out/features.jsonl", "not json"},
			{"features.jsonl.tmp", "not json"}}, "a passed"},

	/* contradictions */
	{"a rejection with features is a rejection", "a", MANY, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n"}, {REJECTIONS, "{\"id\":\"a\",\"reason\":\"r\"}\n"}},
	"a rejected reason=r"},
	{"a rejection with an error is a rejection", "a", MANY, NULL,
		{{REJECTIONS, "{\"id\":\"a\",\"reason\":\"r\"}\n"}, {ERRORS, "{\"id\":\"a\",\"error\":\"e\"}\n"}},
	"a rejected reason=r"},
	{"a rejection with features and an error is a rejection", "a", MANY, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n"}, {REJECTIONS, "{\"id\":\"a\",\"reason\":\"r\"}\n"},
			{ERRORS, "{\"id\":\"a\",\"error\":\"e\"}\n"}},
	"a rejected reason=r"},
	{"an error with features", "b a", MANY, NULL,
		{{FEATURES, "{\"id\":\"b\",\"features\":[2]}\n{\"id\":\"a\",\"features\":[1]}\n"}, {ERRORS, "{\"id\":\"a\",\"error\":\"e\"}\n"}},
	"!hook_output: errors.jsonl line 1 has an error of record \"a\", but features.jsonl line 2 has features of it"},
	{"an error with no feature is an error", "a", MANY, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[null]}\n"}, {ERRORS, "{\"id\":\"a\",\"error\":\"e\"}\n"}},
	"a errored error=e"},
	{"two lines of features", "a b", MANY, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n\n{\"id\":\"a\",\"features\":[2]}\n"}},
	"!hook_output: features.jsonl line 3 is the second one of record \"a\", after line 1"},
	{"two lines of features, both empty", "a", MANY, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[]}\n{\"id\":\"a\",\"features\":[]}\n"}},
	"!hook_output: features.jsonl line 2 is the second"},
	{"of two rejections the last counts", "a", MANY, NULL,
		{{REJECTIONS, "{\"id\":\"a\",\"reason\":\"r\"}\n{\"id\":\"a\",\"reason\":\"s\"}\n"}},
	"a rejected reason=s"},
	{"of two errors the last counts", "a", MANY, NULL,
		{{ERRORS, "{\"id\":\"a\",\"error\":\"r\",\"retryable\":true}\n{\"id\":\"a\",\"error\":\"s\"}\n"}},
	"a errored error=s"},
	{"unknown id in features", "a", MANY, NULL,
		{{FEATURES, "{\"id\":\"z\",\"features\":[]}\n"}},
	"!hook_output: features.jsonl line 1 names record \"z\", which was not given to the hook"},
	{"unknown id in rejections", "a", MANY, NULL,
		{{REJECTIONS, "\n{\"id\":\"z\",\"reason\":\"\"}\n"}}, "!hook_output: rejections.jsonl line 2 names record \"z\""},
	{"unknown id in errors", "a", MANY, NULL,
		{{ERRORS, "{\"id\":\"z\",\"error\":\"\"}\n"}}, "!hook_output: errors.jsonl line 1 names record \"z\""},
	{"a feature where cardinality is none", "a", NONE, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n"}},
	"!hook_output: features.jsonl line 1 has a feature, but the hook declares cardinality \"none\""},
	{"two features where cardinality is one", "a", ONE, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1,null,2]}\n"}},
	"!hook_output: features.jsonl line 1 has 2 features of one record"},
	{"one feature and nulls where cardinality is one", "a", ONE, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[null,1,null]}\n"}}, "a passed [1]"},

	/* progress */
	{"progress rejects the record it names", "a b", NONE, NULL,
		{{PROGRESS, "{\"status\":\"rejected\",\"id\":\"b\",\"message\":\"m\"}\n"}}, "a passed; b rejected reason=m"},
	{"progress rejects the only record", "a", NONE, NULL,
		{{PROGRESS, "{\"status\":\"rejected\",\"message\":\"m\"}\n"}}, "a rejected reason=m"},
	{"progress without an id rejects none of several", "a b", NONE, NULL,
		{{PROGRESS, "{\"status\":\"rejected\",\"message\":\"m\"}\n"}}, "a passed; b passed"},
	{"the last message of progress is the reason", "a", NONE, NULL,
		{{PROGRESS, "{\"status\":\"rejected\",\"message\":\"m\"}\n{\"status\":\"rejected\",\"message\":\"n\"}\n{\"status\":\"ok\",\"message\":\"o\"}\n"}},
	"a rejected reason=n"},
	{"a rejections line's reason goes before progress's", "a", NONE, NULL,
		{{PROGRESS, "{\"status\":\"rejected\",\"message\":\"m\"}\n"}, {REJECTIONS, "{\"id\":\"a\",\"reason\":\"r\"}\n"}},
	"a rejected reason=r"},
	{"progress rejects in spite of features and error", "a", MANY, NULL,
		{{PROGRESS, "{\"status\":\"rejected\"}\n"}, {FEATURES, "{\"id\":\"a\",\"features\":[1]}\n"}, {ERRORS, "{\"id\":\"a\",\"error\":\"e\"}\n"}},
	"a rejected reason=rejected"},
	{"bad lines of progress are skipped", "a", NONE, NULL,
		{{PROGRESS, "nonsense\n{}\n[]\n{\"status\":3}\n\xff\xfe\n{\"status\":\"x\",\"id\":\"unknown\"}\n{\"status\":\"rejected\",\"message\":\"m\"}\n{\"sta"}},
	"a rejected reason=m"},
	{"progress rejects a record that was not given", "a", NONE, NULL,
		{{PROGRESS, "{\"status\":\"rejected\",\"id\":\"z\"}\n"}}, "!hook_output: progress.jsonl line 1 rejects record \"z\""},

	/* features.json */
	{"features.json, one value", "a", ONE, NULL, {{DOCUMENT, "{\"x\": 1}\n"}}, "a passed [{\"x\": 1}]"},
	{"features.json, a list", "a", MANY, NULL, {{DOCUMENT, "[{\"x\": 1},\n null, 2]"}}, "a passed [{\"x\": 1}, 2]"},
	{"features.json, null", "a", MANY, NULL, {{DOCUMENT, "null"}}, "a passed"},
	{"features.json over several lines", "a", MANY, NULL, {{DOCUMENT, "{\n\"x\":\n1}"}}, "a passed [{\n\"x\":\n1}]"},
	{"features.json is not read beside features.jsonl", "a", MANY, NULL,
		{{DOCUMENT, "nonsense"}, {FEATURES, "{\"id\":\"a\",\"features\":[1]}\n"}}, "a passed [1]"},
	{"nor where that is empty", "a", MANY, NULL, {{DOCUMENT, "{}"}, {FEATURES, ""}}, "a errored error=no outcome"},
	{"features.json is not read with several records", "a b", MANY, NULL, {{DOCUMENT, "nonsense"}},
	"a errored error=no outcome; b errored error=no outcome"},
	{"bad features.json", "a", MANY, NULL, {{DOCUMENT, "{\"x\":1,\n \"y\":}\n"}},
	"!hook_output: features.json line 2 is not valid JSON: expected a value"},
	{"empty features.json", "a", MANY, NULL, {{DOCUMENT, ""}}, "!hook_output: features.json line 1 ends too early"},
	{"features.json against cardinality", "a", ONE, NULL, {{DOCUMENT, "[1,2]"}}, "!hook_output: features.json line 1 has 2 features"},
	{"features.json with a rejection", "a", MANY, NULL, {{DOCUMENT, "[1]"}, {REJECTIONS, "{\"id\":\"a\",\"reason\":\"r\"}\n"}},
	"a rejected reason=r"},
	{"features.json with an error", "a", MANY, NULL, {{DOCUMENT, "[1]"}, {ERRORS, "{\"id\":\"a\",\"error\":\"r\"}\n"}},
	"!hook_output: errors.jsonl line 1 has an error of record \"a\", but features.json line 1 has features"},

	/* bad lines */
	{"not JSON", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[1]}\nhello\n"}},
	"!hook_output: features.jsonl line 2 is not valid JSON: invalid token (byte 1)"},
	{"half an object", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[1]\n"}},
	"!hook_output: features.jsonl line 1 ends too early for JSON"},
	{"a missing comma", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\" \"features\":[1]}\n"}},
	"!hook_output: features.jsonl line 1 is not valid JSON: expected a comma"},
	{"a trailing comma", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[1],}\n"}},
	"!hook_output: features.jsonl line 1 is not valid JSON: expected a key"},
	{"two objects in a line", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[1]} {}\n"}},
	"!hook_output: features.jsonl line 1 has text after its JSON value"},
	{"mismatched brackets", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[1}}\n"}},
	"!hook_output: features.jsonl line 1 is not valid JSON"},
	{"not an object", "a", MANY, NULL, {{FEATURES, "[1]\n"}}, "!hook_output: features.jsonl line 1 is not a JSON object"},
	{"a text instead of an object", "a", MANY, NULL, {{ERRORS, "\"a\"\n"}}, "!hook_output: errors.jsonl line 1 is not a JSON object"},
	{"missing id", "a", MANY, NULL, {{FEATURES, "{\"features\":[1]}\n"}}, "!hook_output: features.jsonl line 1 has no \"id\""},
	{"id of a wrong type", "a", MANY, NULL, {{REJECTIONS, "{\"id\":1,\"reason\":\"r\"}\n"}},
	"!hook_output: rejections.jsonl line 1 has \"id\" that is not text"},
	{"id null", "a", MANY, NULL, {{REJECTIONS, "{\"id\":null,\"reason\":\"r\"}\n"}},
	"!hook_output: rejections.jsonl line 1 has \"id\" that is not text"},
	{"id twice", "a b", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"id\":\"b\",\"features\":[1]}\n"}},
	"!hook_output: features.jsonl line 1 has \"id\" twice"},
	{"features missing", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\"}\n"}}, "!hook_output: features.jsonl line 1 has no \"features\""},
	{"features not an array", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":{\"x\":1}}\n"}},
	"!hook_output: features.jsonl line 1 has \"features\" that are not an array"},
	{"features twice", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[],\"features\":[1]}\n"}},
	"!hook_output: features.jsonl line 1 has \"features\" twice"},
	{"reason missing", "a", MANY, NULL, {{REJECTIONS, "{\"id\":\"a\"}\n"}}, "!hook_output: rejections.jsonl line 1 has no \"reason\""},
	{"reason of a wrong type", "a", MANY, NULL, {{REJECTIONS, "{\"id\":\"a\",\"reason\":[]}\n"}},
	"!hook_output: rejections.jsonl line 1 has \"reason\" that is not text"},
	{"error missing", "a", MANY, NULL, {{ERRORS, "{\"id\":\"a\",\"retryable\":true}\n"}}, "!hook_output: errors.jsonl line 1 has no \"error\""},
	{"error of a wrong type", "a", MANY, NULL, {{ERRORS, "{\"id\":\"a\",\"error\":{}}\n"}}, "!hook_output: errors.jsonl line 1 has \"error\" that is not text"},
	{"retryable of a wrong type", "a", MANY, NULL, {{ERRORS, "{\"id\":\"a\",\"error\":\"e\",\"retryable\":\"yes\"}\n"}},
	"!hook_output: errors.jsonl line 1 has a \"retryable\" that is neither"},
	{"NaN", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[NaN]}\n"}}, "!hook_output: features.jsonl line 1 is not valid JSON: invalid token"},
	{"-Infinity", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[-Infinity]}\n"}}, "!hook_output: features.jsonl line 1 is not valid JSON: invalid token"},
	{"invalid UTF-8", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[\"\xc3(\"]}\n"}},
	"!hook_output: features.jsonl line 1 is not valid UTF-8 (byte 24)"},
	{"UTF-8 of half a surrogate pair", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[\"\xed\xa0\x80\"]}\n"}},
	"!hook_output: features.jsonl line 1 is not valid UTF-8"},
	{"\\u0000 in a feature", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[\"x\\u0000\"]}\n"}},
	"!hook_output: features.jsonl line 1 contains \\u0000"},
	{"\\u0000 in a key", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[{\"\\u0000\":1}]}\n"}},
	"!hook_output: features.jsonl line 1 contains \\u0000"},
	{"\\u0000 in a reason", "a", MANY, NULL, {{REJECTIONS, "{\"id\":\"a\",\"reason\":\"\\u0000\"}\n"}},
	"!hook_output: rejections.jsonl line 1 contains \\u0000"},
	{"\\\\u0000 is a backslash and letters", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[\"\\\\u0000\"]}\n"}},
	"a passed [\"\\\\u0000\"]"},
	{"half a surrogate pair, first", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[\"\\ud83d\"]}\n"}},
	"!hook_output: features.jsonl line 1 contains a \\u escape of half"},
	{"half a surrogate pair, second", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[\"\\udc0d\"]}\n"}},
	"!hook_output: features.jsonl line 1 contains a \\u escape of half"},
	{"a number that numeric can't hold", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[1e400000]}\n"}},
	"!hook_output: features.jsonl line 1 contains a number out of range"},
	{"a number too small for numeric", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[1e-17000]}\n"}},
	"!hook_output: features.jsonl line 1 contains a number out of range"},
	{"an exponent of many digits", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[1e99999999999999999999999]}\n"}},
	"!hook_output: features.jsonl line 1 contains a number out of range"},
	{"a bare newline in a string", "a", MANY, NULL, {{FEATURES, "{\"id\":\"a\",\"features\":[\"x\ny\"]}\n"}},
	"!hook_output: features.jsonl line 1 is not valid JSON"},

	/* killed */
	{"killed: the record of the last line is left out", "a b c", KILLED, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n{\"id\":\"b\",\"features\":[2]}\n"}}, "a passed [1]"},
	{"killed: of each file", "a b c d", KILLED, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n{\"id\":\"b\",\"features\":[2]}\n"},
			{REJECTIONS, "{\"id\":\"c\",\"reason\":\"r\"}\n{\"id\":\"d\",\"reason\":\"r\"}\n"},
			{ERRORS, "{\"id\":\"c\",\"error\":\"r\"}\n"}}, "a passed [1]"},
	{"killed: a torn last line is ignored", "a b c", KILLED, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n{\"id\":\"b\",\"features\":[2]}\n{\"id\":\"c\",\"fea"}}, "a passed [1]"},
	{"killed: a whole last line without newline is torn too", "a b c", KILLED, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n{\"id\":\"b\",\"features\":[2]}\n{\"id\":\"c\",\"features\":[3]}"}}, "a passed [1]"},
	{"killed: no outcome is no row", "a b", KILLED, NULL, {{NULL}}, ""},
	{"killed: not even where cardinality is none", "a b", OUTPUT_KILLED, CARDINALITY_NONE, NULL, {{NULL}}, ""},
	{"killed: blank lines are no last line", "a b", KILLED, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n{\"id\":\"b\",\"features\":[2]}\n\n \n"}}, "a passed [1]"},
	{"killed: progress's last record is left out", "a b c", KILLED, NULL,
		{{REJECTIONS, "{\"id\":\"a\",\"reason\":\"r\"}\n{\"id\":\"b\",\"reason\":\"r\"}\n{\"id\":\"c\",\"reason\":\"r\"}\n"},
			{PROGRESS, "{\"id\":\"b\",\"status\":\"begun\"}\n"}}, "a rejected reason=r"},
	{"killed: features.json is not read", "a", KILLED, NULL, {{DOCUMENT, "{\"x\":1}"}}, ""},
	{"killed: a bad whole line is bad", "a", KILLED, NULL, {{FEATURES, "nonsense\n"}}, "!hook_output: features.jsonl line 1"},
	{"killed: error with features", "a b c", KILLED, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n{\"id\":\"b\",\"features\":[2]}\n"},
			{ERRORS, "{\"id\":\"a\",\"error\":\"e\"}\n{\"id\":\"c\",\"error\":\"e\"}\n"}}, "!hook_output: errors.jsonl line 1"},
	{"failed: no outcome counts", "a b", OUTPUT_FAILED, CARDINALITY_NONE, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n"}, {REJECTIONS, "{\"id\":\"b\",\"reason\":\"r\"}\n"}}, ""},
	{"failed: a bad line is not looked at", "a", OUTPUT_FAILED, CARDINALITY_MANY, NULL,
		{{FEATURES, "nonsense\n"}, {DOCUMENT, "nonsense"}}, ""},
	{"killed: but not of a record that is left out", "a b", KILLED, NULL,
		{{FEATURES, "{\"id\":\"a\",\"features\":[1]}\n{\"id\":\"b\",\"features\":[2]}\n"},
			{ERRORS, "{\"id\":\"b\",\"error\":\"e\"}\n"}}, "a passed [1]"}
};

#define COLUMNS	"[{\"name\":\"i\",\"type\":\"int4\",\"nullable\":true},{\"name\":\"b\",\"type\":\"int8\",\"nullable\":true}," \
	"{\"name\":\"f\",\"type\":\"float8\",\"nullable\":true},{\"name\":\"n\",\"type\":\"numeric\",\"nullable\":true}," \
	"{\"name\":\"t\",\"type\":\"text\",\"nullable\":true},{\"name\":\"o\",\"type\":\"bool\",\"nullable\":true}," \
	"{\"name\":\"d\",\"type\":\"date\",\"nullable\":true},{\"name\":\"z\",\"type\":\"timestamptz\",\"nullable\":true}," \
	"{\"name\":\"j\",\"type\":\"jsonb\",\"nullable\":true}]"

/* a feature and the problem it has, or NULL */
static const struct
{
	const char *feature;
	const char *problem;
}			feature_cases[] =
{
	{"{}", NULL},
	{"{\"i\":null,\"t\":null}", NULL},
	{"{\"i\":2147483647}", NULL}, {"{\"i\":-2147483648}", NULL},
	{"{\"i\":2147483648}", "column \"i\" is not of type int4"},
	{"{\"i\":1.0}", "column \"i\" is not of type int4"},
	{"{\"i\":1e2}", "column \"i\" is not of type int4"},
	{"{\"i\":\"1\"}", "column \"i\" is not of type int4"},
	{"{\"i\":true}", "column \"i\" is not of type int4"},
	{"{\"b\":9223372036854775807}", NULL},
	{"{\"b\":9223372036854775808}", "column \"b\" is not of type int8"},
	{"{\"b\":-9223372036854775809}", "column \"b\" is not of type int8"},
	{"{\"b\":100000000000000000000000000000000000000}", "column \"b\" is not of type int8"},
	{"{\"f\":1}", NULL}, {"{\"f\":-1.5e300}", NULL}, {"{\"f\":5e-324}", NULL},
	{"{\"f\":1e309}", "column \"f\" is not of type float8"},
	{"{\"f\":1e-400}", "column \"f\" is not of type float8"},
	{"{\"f\":\"NaN\"}", "column \"f\" is not of type float8"},
	{"{\"n\":123456789012345678901234567890.5}", NULL}, {"{\"n\":1e1000}", NULL},
	{"{\"n\":\"1\"}", "column \"n\" is not of type numeric"},
	{"{\"t\":\"\"}", NULL}, {"{\"t\":1}", "column \"t\" is not of type text"},
	{"{\"t\":[\"x\"]}", "column \"t\" is not of type text"},
	{"{\"o\":false}", NULL}, {"{\"o\":0}", "column \"o\" is not of type bool"},
	{"{\"o\":\"true\"}", "column \"o\" is not of type bool"},
	{"{\"d\":\"2024-02-29\"}", NULL},
	{"{\"d\":\"2023-02-29\"}", "column \"d\" is not of type date"},
	{"{\"d\":\"1900-02-29\"}", "column \"d\" is not of type date"},
	{"{\"d\":\"0000-01-01\"}", "column \"d\" is not of type date"},
	{"{\"d\":\"2024-13-01\"}", "column \"d\" is not of type date"},
	{"{\"d\":\"2024-1-1\"}", "column \"d\" is not of type date"},
	{"{\"d\":\"01/02/2024\"}", "column \"d\" is not of type date"},
	{"{\"d\":\"today\"}", "column \"d\" is not of type date"},
	{"{\"d\":\"2024-01-01T00:00:00Z\"}", "column \"d\" is not of type date"},
	{"{\"d\":20240101}", "column \"d\" is not of type date"},
	{"{\"z\":\"2024-01-01T12:30:00Z\"}", NULL}, {"{\"z\":\"2024-01-01 12:30:00.123456+02:00\"}", NULL},
	{"{\"z\":\"2024-01-01T12:30+0530\"}", NULL}, {"{\"z\":\"2024-01-01T12:30:59-08\"}", NULL},
	{"{\"z\":\"2024-01-01T12:30:00\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"2024-01-01\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"2024-01-01T24:00:00Z\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"2024-01-01T12:60:00Z\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"2024-01-01T12:30:00.Z\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"2024-01-01T12:30:00+16:00\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"2024-01-01T12:30:00+1:00\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"2024-01-01T12:30:00Zx\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"now\"}", "column \"z\" is not of type timestamptz"},
	{"{\"z\":\"\"}", "column \"z\" is not of type timestamptz"},
	{"{\"j\":{\"a\":[1,{\"b\":null}]}}", NULL}, {"{\"j\":\"x\"}", NULL}, {"{\"j\":[]}", NULL},
	{"{\"x\":1}", "has \"x\", which is not a declared column"},
	{"{\"I\":1}", "has \"I\", which is not a declared column"},
	{"{\"i\":1,\"i\":2}", "has column \"i\" twice"},
	{"{\"\\u0069\":1}", NULL},
	{"[1]", "must be an object"}, {"3", "must be an object"}, {"\"i\"", "must be an object"},
	{"{\"j\":1,\"o\":true,\"d\":\"2024-01-01\",\"i\":3}", NULL}
};

static const OutCase column_cases[] = {
	{"a missing column that is not nullable", "a", MANY, "[{\"name\":\"x\",\"type\":\"int4\"},{\"name\":\"y\",\"type\":\"int4\"}]",
		{{FEATURES, "{\"id\":\"a\",\"features\":[{\"x\":1,\"y\":2},{\"x\":1}]}\n"}},
	"!hook_output: features.jsonl line 1 has a feature that does not fit: feature 2 has no value for column \"y\""},
	{"a null in a column that is not nullable", "a", MANY, "[{\"name\":\"x\",\"type\":\"jsonb\",\"nullable\":false}]",
		{{FEATURES, "{\"id\":\"a\",\"features\":[{\"x\":null}]}\n"}},
	"!hook_output: features.jsonl line 1 has a feature that does not fit: feature 1 has no value for column \"x\""},
	{"a null in a nullable column", "a", MANY, "[{\"name\":\"x\",\"type\":\"int4\",\"nullable\":true}]",
		{{FEATURES, "{\"id\":\"a\",\"features\":[{\"x\":null}]}\n"}}, "a passed [{\"x\":null}]"},
	{"[null] with columns", "a", ONE, "[{\"name\":\"x\",\"type\":\"int4\"}]",
		{{FEATURES, "{\"id\":\"a\",\"features\":[null]}\n"}}, "a passed"},
	{"features.json against columns", "a", ONE, "[{\"name\":\"x\",\"type\":\"int4\"}]",
		{{DOCUMENT, "{\n\"x\":\"y\"}"}}, "!hook_output: features.json line 2 has a feature that does not fit: feature 1 column \"x\" is not of type int4"},
	{"broken JSON within a column", "a", ONE, "[{\"name\":\"x\",\"type\":\"jsonb\"}]",
		{{FEATURES, "{\"id\":\"a\",\"features\":[{\"x\":[1}]}\n"}}, "!hook_output: features.jsonl line 1 is not valid JSON"}
};

static MemoryContext test_context;

static OutputSpec
make_spec(const char *records, OutputMode mode, HookCardinality cardinality, const char *columns)
{
	OutputSpec	spec = {0};
	InputRecord *list = palloc0(sizeof(InputRecord) * 10);
	char	   *ids = pstrdup(records);
	Failure		failure;

	for (char *id = strtok(ids, " "); id != NULL; id = strtok(NULL, " "))
		list[spec.n_records++].id = id;
	spec.records = list;
	spec.mode = mode;
	spec.cardinality = cardinality;
	spec.max_bytes = MAX_BYTES;
	spec.max_line_bytes = MAX_LINE;
	if (columns != NULL)
	{
		FeatureColumn *parsed;

		if (!osa_columns_parse(columns, CurrentMemoryContext, &parsed, &spec.n_columns, &failure))
			elog(ERROR, "columns of a test: %s", failure.message);
		spec.columns = parsed;
	}
	return spec;
}

/* Runs over a finished archive and compares. */
static void
check_tar(const char *name, const OutputSpec *spec, StringInfo tar, const char *wanted)
{
	int			n_steps;

	tap_like(run_output(test_context, spec, tar->data, tar->len, &n_steps), wanted, name);
}

static void
run_cases(const OutCase *cases, int n)
{
	for (int i = 0; i < n; i++)
	{
		const OutCase *c = &cases[i];
		StringInfo	tar = makeStringInfo();
		OutputSpec	spec = make_spec(c->records, c->mode, c->cardinality, c->columns);

		tar_add(tar, "out/", '5', NULL, NULL, 0);
		for (int f = 0; f < 5 && c->files[f].name != NULL; f++)
			tar_add(tar, psprintf("out/%s", c->files[f].name), '0', NULL, c->files[f].content, strlen(c->files[f].content));
		tar_end(tar);
		check_tar(c->name, &spec, tar, c->wanted);
	}
}

/* One file of this content; wanted as in OutCase. */
static void
check_file(const char *name, const char *file, const char *content, size_t len,
		   const OutputSpec *spec, const char *wanted)
{
	StringInfo	tar = makeStringInfo();

	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, psprintf("out/%s", file), '0', NULL, content, len);
	tar_end(tar);
	check_tar(name, spec, tar, wanted);
	pfree(tar->data);
}

static void
test_features(void)
{
	for (size_t i = 0; i < lengthof(feature_cases); i++)
	{
		OutputSpec	spec = make_spec("a", OUTPUT_EXITED, CARDINALITY_ONE, COLUMNS);
		char	   *line = psprintf("{\"id\":\"a\",\"features\":[%s]}\n", feature_cases[i].feature);
		char	   *wanted = feature_cases[i].problem != NULL ?
			psprintf("!hook_output: features.jsonl line 1 has a feature that does not fit: feature 1 %s", feature_cases[i].problem) :
			psprintf("a passed [%s]", feature_cases[i].feature);

		check_file(psprintf("feature %s", feature_cases[i].feature), FEATURES, line, strlen(line), &spec, wanted);
	}
}

/* What stands at one of the five names but is no regular file. */
static void
test_kinds(void)
{
	static const char *const names[] = {FEATURES, REJECTIONS, ERRORS, PROGRESS, DOCUMENT};
	static const struct
	{
		char		type;
		const char *link;
		const char *words;
	}			kinds[] =
	{
		{'5', NULL, "is a folder, not"}, {'2', "/etc/passwd", "is a symbolic link, not"},
		{'1', "out/other", "is a hard link, not"}, {'6', NULL, "is a FIFO, not"},
		{'3', NULL, "is a device, not"}, {'4', NULL, "is a device, not"}
	};

	for (size_t n = 0; n < lengthof(names); n++)
	{
		for (size_t k = 0; k < lengthof(kinds); k++)
		{
			StringInfo	tar = makeStringInfo();
			OutputSpec	spec = make_spec("a", OUTPUT_EXITED, CARDINALITY_NONE, NULL);

			tar_add(tar, "out/", '5', NULL, NULL, 0);
			tar_add(tar, "out/other", '0', NULL, "x", 1);
			tar_add(tar, psprintf("out/%s", names[n]), kinds[k].type, kinds[k].link, NULL, 0);
			tar_end(tar);
			check_tar(psprintf("%s %s", names[n], kinds[k].words), &spec, tar,
					  psprintf("!hook_output: %s %s", names[n], kinds[k].words));
		}
	}
	{
		StringInfo	tar = makeStringInfo();
		OutputSpec	spec = make_spec("a", OUTPUT_EXITED, CARDINALITY_NONE, NULL);

		tar_add(tar, "out/", '5', NULL, NULL, 0);
		for (size_t k = 0; k < lengthof(kinds); k++)
			tar_add(tar, psprintf("out/other%zu", k), kinds[k].type, kinds[k].link, NULL, 0);
		tar_end(tar);
		check_tar("elsewhere they are ignored", &spec, tar, "a passed");
	}
}

static void
test_names(void)
{
	static const char *const climbing[] = {
		"out/../features.jsonl", "../features.jsonl", "/out/features.jsonl", "out/..", "..", "/", "out/sub/../../../x"
	};
	static const char *const same[] = {
		"out/features.jsonl", "./out/features.jsonl", "out/./features.jsonl", "out//features.jsonl"
	};
	const char *line = "{\"id\":\"a\",\"features\":[1]}\n";
	OutputSpec	spec = make_spec("a", OUTPUT_EXITED, CARDINALITY_MANY, NULL);
	StringInfo	tar;

	for (size_t i = 0; i < lengthof(climbing); i++)
	{
		tar = makeStringInfo();
		tar_add(tar, "out/", '5', NULL, NULL, 0);
		tar_add(tar, climbing[i], '0', NULL, line, strlen(line));
		tar_end(tar);
		check_tar(psprintf("name %s", climbing[i]), &spec, tar, "!hook_output: output has a file outside of its folder");
	}
	for (size_t i = 0; i < lengthof(same); i++)
	{
		tar = makeStringInfo();
		tar_add(tar, "out/", '5', NULL, NULL, 0);
		tar_add(tar, same[i], '0', NULL, line, strlen(line));
		tar_end(tar);
		check_tar(psprintf("name %s", same[i]), &spec, tar, "a passed [1]");
	}
	tar = makeStringInfo();
	tar_add(tar, "./", '5', NULL, NULL, 0);
	tar_add(tar, "./features.jsonl", '0', NULL, line, strlen(line));
	tar_add(tar, "./out/features.jsonl", '0', NULL, "x", 1);
	tar_end(tar);
	check_tar("names without the folder", &spec, tar, "a passed [1]");

	tar = makeStringInfo();
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "features.jsonl", '0', NULL, "x", 1);
	tar_end(tar);
	check_tar("names beside the folder are ignored", &spec, tar, "a errored error=no outcome");

	tar = makeStringInfo();
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/features.jsonl", '0', NULL, line, strlen(line));
	tar_add(tar, "out/features.jsonl", '0', NULL, line, strlen(line));
	tar_end(tar);
	check_tar("one file twice", &spec, tar, "!hook_output: features.jsonl is there twice");

	tar = makeStringInfo();
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/caf\xc3\xa9\xff", '0', NULL, line, strlen(line));
	tar_add(tar, "out/features.jsonl", '0', NULL, line, strlen(line));
	tar_end(tar);
	check_tar("a name of any bytes", &spec, tar, "a passed [1]");
}

static char *
repeat(const char *text, int times)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < times; i++)
		appendStringInfoString(&s, text);
	return s.data;
}

static void
test_sizes(void)
{
	OutputSpec	spec = make_spec("a", OUTPUT_EXITED, CARDINALITY_MANY, NULL);
	OutputSpec	killed = make_spec("a", OUTPUT_KILLED, CARDINALITY_MANY, NULL);
	OutputSpec	failed = make_spec("a", OUTPUT_FAILED, CARDINALITY_MANY, NULL);
	const char *head = "{\"id\":\"a\",\"features\":[\"";
	int			fixed = strlen(head) + strlen("\"]}");
	char	   *filler = repeat("x", MAX_LINE + 1);
	char	   *line;
	StringInfo	tar;

	line = psprintf("%s%.*s\"]}", head, MAX_LINE - fixed, filler);
	check_file("a line of the cap", FEATURES, psprintf("%s\n", line), MAX_LINE + 1, &spec,
			   psprintf("a passed [\"%.*s\"]", MAX_LINE - fixed, filler));
	line = psprintf("%s%.*s\"]}", head, MAX_LINE - fixed + 1, filler);
	check_file("a line over the cap", FEATURES, psprintf("\n%s\n", line), MAX_LINE + 3, &spec,
			   "!hook_output: features.jsonl line 2 is longer than 2000 bytes");
	check_file("a line over the cap, without a newline", FEATURES, line, MAX_LINE + 1, &spec,
			   "!hook_output: features.jsonl line 1 is longer than 2000 bytes");
	check_file("a torn line over the cap of a killed hook", FEATURES, line, MAX_LINE + 1, &killed,
			   "!hook_output: features.jsonl line 1 is longer than 2000 bytes");
	check_file("a line of blanks over the cap", ERRORS, repeat(" ", MAX_LINE + 1), MAX_LINE + 1, &spec,
			   "!hook_output: errors.jsonl line 1 is longer than 2000 bytes");
	check_file("a progress line over the cap", PROGRESS, line, MAX_LINE + 1, &spec,
			   "!hook_output: progress.jsonl line 1 is longer than 2000 bytes");
	check_file("features.json over the cap", DOCUMENT, repeat(" ", MAX_LINE + 1), MAX_LINE + 1, &spec,
			   "!hook_output: features.json is longer than 2000 bytes");

	filler = repeat("\n", MAX_BYTES + 1);
	check_file("a file one byte below the cap", FEATURES, filler, MAX_BYTES - 1, &spec, "!hook_output: features.jsonl line 1000000 is one too many");
	check_file("a file at its cap", FEATURES, filler, MAX_BYTES, &spec,
			   "!hook_output: output file \"out/features.jsonl\" stopped at the limit of 1048576 bytes");
	check_file("a file over its cap", FEATURES, filler, MAX_BYTES + 1, &spec,
			   "!hook_output: output file \"out/features.jsonl\" is larger than 1048576 bytes");
	check_file("a file at its cap of a killed hook", FEATURES, filler, MAX_BYTES, &killed,
			   "!hook_output: output file \"out/features.jsonl\" stopped");
	check_file("a file at its cap of a failed hook", FEATURES, filler, MAX_BYTES, &failed,
			   "!hook_output: output file \"out/features.jsonl\" stopped");
	check_file("any file at its cap", "core", filler, MAX_BYTES, &spec, "!hook_output: output file \"out/core\" stopped");
	check_file("999,999 lines", FEATURES, filler, 999999, &spec, "a errored error=no outcome");

	tar = makeStringInfo();
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/one", '0', NULL, filler, MAX_BYTES / 2);
	tar_add(tar, "out/two", '0', NULL, filler, MAX_BYTES / 2);
	tar_end(tar);
	check_tar("files of just the limit together", &spec, tar, "a errored error=no outcome");
	tar = makeStringInfo();
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/one", '0', NULL, filler, MAX_BYTES / 2);
	tar_add(tar, "out/two", '0', NULL, filler, MAX_BYTES / 2 + 1);
	tar_end(tar);
	check_tar("files over the limit together", &spec, tar, "!hook_output: output is larger than 1048576 bytes in all");

	tar = makeStringInfo();
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/features.jsonl", '0', NULL, NULL, (size_t) 7 << 30);
	check_tar("a giant is refused by its header", &spec, tar, "!hook_output: output file \"out/features.jsonl\" is larger");
}

static void
test_large(void)
{
	OutputSpec	spec = make_spec("a b", OUTPUT_EXITED, CARDINALITY_MANY, NULL);
	StringInfo	text = makeStringInfo();
	StringInfo	tar = makeStringInfo();
	Spool	   *spool;
	OutputReader *reader;
	int			n_steps = 1;
	char	   *got;
	Size		before;

	spec.max_bytes = 512 * 1024 * 1024;
	spec.max_line_bytes = 1024 * 1024;
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/features.jsonl", '0', NULL, repeat("x", 100 * 1024 * 1024), 100 * 1024 * 1024);
	tar_end(tar);
	spool = osa_spool_open(test_context);
	osa_spool_write(spool, tar->data, tar->len);
	reader = osa_output_begin(test_context, &spec, spool);
	before = MemoryContextMemAllocated(test_context, true);
	while (osa_output_step(reader))
		n_steps++;
	tap_is(osa_output_failure(reader)->message, "features.jsonl line 1 is longer than 1048576 bytes", "a line of 100 MB");
	tap_ok(MemoryContextMemAllocated(test_context, true) - before < 4 * 1024 * 1024, "costs no more memory than the cap");
	osa_output_end(reader);
	osa_spool_close(spool);
	pfree(tar->data);

	for (int i = 0; i < 1000000; i++)
		appendStringInfo(text, "{\"status\":\"s\",\"message\":\"%d\"}\n", i);
	tar = makeStringInfo();
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/progress.jsonl", '0', NULL, text->data, text->len);
	tar_end(tar);
	got = run_output(test_context, &spec, tar->data, tar->len, &n_steps);
	tap_like(got, "!hook_output: progress.jsonl line 1000000 is one too many", "a million lines");
	tap_ok(n_steps > 1000000 / 5000, "are read in many steps");
	pfree(tar->data);

	/* many records, each with a line: the normal large case */
	resetStringInfo(text);
	{
		InputRecord *records = palloc0(sizeof(InputRecord) * 50000);

		for (int i = 0; i < 50000; i++)
		{
			records[i].id = psprintf("record-%d", i);
			appendStringInfo(text, "{\"id\":\"record-%d\",\"features\":[{\"x\":%d}]}\n", 49999 - i, 49999 - i);
		}
		spec.records = records;
		spec.n_records = 50000;
	}
	tar = makeStringInfo();
	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/features.jsonl", '0', NULL, text->data, text->len);
	tar_end(tar);
	got = run_output(test_context, &spec, tar->data, tar->len, &n_steps);
	tap_ok(strncmp(got, "record-0 passed [{\"x\":0}]; record-1 passed [{\"x\":1}]; ", 53) == 0, "50,000 records in their order");
	tap_ok(n_steps >= 50000 / 4096 && n_steps <= 50000 / 4096 + 40, "in steps of some thousand lines (%d)", n_steps);
	pfree(tar->data);

	/* a line in every way across the tar reader's buffers */
	resetStringInfo(text);
	spec = make_spec("a b", OUTPUT_EXITED, CARDINALITY_MANY, NULL);
	for (int i = 0; i < 70000; i += 7)
		appendStringInfoString(text, "     \n\n");
	appendStringInfoString(text, "{\"id\":\"a\",\"features\":[1]}\n");
	appendStringInfoSpaces(text, 1900);
	appendStringInfoString(text, "{\"id\":\"b\",\"features\":[2]}");
	check_file("lines across buffers", FEATURES, text->data, text->len, &spec, "a passed [1]; b passed [2]");
}

static la_ssize_t
append_tar(struct archive *archive pg_attribute_unused(), void *arg, const void *data, size_t len)
{
	appendBinaryStringInfo(arg, data, len);
	return len;
}

/* An archive with a sparse entry, which no engine writes of itself. */
static void
test_sparse(const char *name, const char *wanted)
{
	OutputSpec	spec = make_spec("a", OUTPUT_EXITED, CARDINALITY_NONE, NULL);
	StringInfo	tar = makeStringInfo();
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();

	archive_write_set_format_pax(a);
	archive_write_set_bytes_per_block(a, 0);
	archive_write_open(a, tar, NULL, append_tar, NULL);
	archive_entry_set_pathname(e, "out/");
	archive_entry_set_filetype(e, AE_IFDIR);
	archive_write_header(a, e);
	archive_entry_clear(e);
	archive_entry_set_pathname(e, name);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_size(e, 500000);
	archive_entry_sparse_add_entry(e, 400000, 100);
	archive_write_header(a, e);
	{
		char	   *zeros = palloc0(500000);

		archive_write_data(a, zeros, 500000);
	}
	archive_write_close(a);
	archive_write_free(a);
	archive_entry_free(e);
	check_tar(psprintf("sparse %s", name), &spec, tar, wanted);
}

/* Archives that are no good: the engine's or the disk's doing. */
static void
test_broken(void)
{
	OutputSpec	spec = make_spec("a", OUTPUT_EXITED, CARDINALITY_NONE, NULL);
	StringInfo	tar = makeStringInfo();
	StringInfo	part = makeStringInfo();
	bool		all_caught = true;
	int			n_steps;

	tar_add(tar, "out/", '5', NULL, NULL, 0);
	tar_add(tar, "out/log", '0', NULL, "hello", 5);
	tar_add(tar, "out/rejections.jsonl", '0', NULL, "{\"id\":\"a\",\"reason\":\"r\"}\n", 24);
	tar_end(tar);
	check_tar("whole archive", &spec, tar, "a rejected reason=r");
	for (int len = 0; len < tar->len; len += 64)
	{
		char	   *got = run_output(test_context, &spec, tar->data, len, &n_steps);

		if (strncmp(got, "!runtime: could not read the output archive: ", 40) != 0)
		{
			all_caught = false;
			tap_like(got, "!runtime: could not read the output archive", psprintf("cut at %d", len));
		}
	}
	tap_ok(all_caught, "an archive cut anywhere is not taken for a whole one");

	appendBinaryStringInfo(part, tar->data, tar->len);
	part->data[600] ^= 1;
	check_tar("a header whose sum is wrong", &spec, part, "!runtime: could not read the output archive");
	resetStringInfo(part);
	appendStringInfoString(part, "garbage, not an archive, and long enough to be sure of it");
	check_tar("garbage", &spec, part, "!runtime: could not read the output archive");
	resetStringInfo(part);
	tar_end(part);
	check_tar("an archive of nothing", &spec, part, "a passed");
	for (int i = 0; i < 9; i++)
		tar_end(tar);
	check_tar("padding at the end", &spec, tar, "a rejected reason=r");
}

void
test_output(void)
{
	test_context = AllocSetContextCreate(CurrentMemoryContext, "output test", ALLOCSET_DEFAULT_SIZES);
	run_cases(plain_cases, lengthof(plain_cases));
	run_cases(column_cases, lengthof(column_cases));
	test_features();
	test_kinds();
	test_names();
	test_sizes();
	test_large();
	test_sparse("out/features.jsonl", "!hook_output: features.jsonl line 1 is in a hole of a sparse file");
	test_sparse("out/other", "a passed");
	test_broken();
	tap_ok(MemoryContextMemAllocated(test_context, true) < 100 * 1024, "readers leave no memory behind");
}
