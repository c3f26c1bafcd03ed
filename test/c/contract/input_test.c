/*
 * input_test.c
 *		The archive that is put at /osa, read back by libarchive.
 */
#include "tap.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "utils/memutils.h"

#define MAX_BYTES	(4 * 1024 * 1024)

static MemoryContext test_context;
static int	n_steps;
static int64 largest_step;
static void (*between_steps) (int step);

/* Gives attached contents: a file's hash is its content here, or a letter to repeat. */
static void
feed(InputBuilder *builder, int piece)
{
	int64		offset;
	const InputFile *file = osa_input_wants(builder, &offset);
	int64		len = Min(piece, file->size - offset);
	char	   *data = palloc(len);

	if ((int64) strlen(file->hash) == file->size)
		memcpy(data, file->hash + offset, len);
	else
		memset(data, file->hash[0], len);
	osa_input_file_data(builder, data, len);
	pfree(data);
}

/* Builds; returns the spool, or NULL and the failure's text. */
static Spool *
build(const InputRecord *records, int n, const char *config, const char *root, int64 max_bytes, int piece, char **failed)
{
	Spool	   *spool = osa_spool_open(test_context);
	InputBuilder *builder = osa_input_begin(test_context, records, n, config, root, max_bytes, spool);
	InputState	state;
	int64		before = 0;

	n_steps = 0;
	largest_step = 0;
	*failed = NULL;
	while ((state = osa_input_step(builder)) != INPUT_DONE && state != INPUT_FAILED)
	{
		largest_step = Max(largest_step, osa_spool_size(spool) - before);
		if (state == INPUT_NEEDS_FILE)
			feed(builder, piece);
		before = osa_spool_size(spool);
		n_steps++;
		if (between_steps != NULL)
			between_steps(n_steps);
	}
	if (state == INPUT_FAILED)
	{
		const Failure *failure = osa_input_failure(builder);

		*failed = psprintf("!%s: %s", osa_failure_name(failure->kind), failure->message);
		osa_spool_close(spool);
		spool = NULL;
	}
	osa_input_end(builder);
	if (spool != NULL)
		osa_spool_rewind(spool);
	return spool;
}

static char *
spool_bytes(Spool *spool)
{
	int64		size = osa_spool_size(spool);
	char	   *bytes = MemoryContextAllocHuge(CurrentMemoryContext, size + 1);
	int64		at = 0;
	ssize_t		got;

	while ((got = osa_spool_read(spool, bytes + at, size - at)) > 0)
		at += got;
	if (at != size)
		elog(ERROR, "could not read the spool");
	return bytes;
}

/* A line an entry: type, mode, owner, path, content. */
static char *
list_archive(const char *bytes, size_t len)
{
	StringInfo	s = makeStringInfo();
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	int			code;

	archive_read_support_format_tar(a);
	archive_read_open_memory(a, bytes, len);
	while ((code = archive_read_next_header(a, &e)) == ARCHIVE_OK || code == ARCHIVE_WARN)
	{
		int64		size = archive_entry_size(e);

		appendStringInfo(s, "%c%04o %d:%d %s", archive_entry_filetype(e) == AE_IFDIR ? 'd' : '-', (unsigned) archive_entry_perm(e),
						 (int) archive_entry_uid(e), (int) archive_entry_gid(e), archive_entry_pathname(e));
		if (size > 200)
			appendStringInfo(s, " %d bytes", (int) size);
		else if (archive_entry_filetype(e) == AE_IFREG)
		{
			char		content[201];

			if (archive_read_data(a, content, 200) != size)
				elog(ERROR, "could not read an entry");
			content[size] = '\0';
			appendStringInfo(s, " [%s]", content);
		}
		appendStringInfoChar(s, '\n');
	}
	if (code != ARCHIVE_EOF)
		appendStringInfo(s, "!%s", archive_error_string(a));
	archive_read_free(a);
	return s->data;
}

/* Builds and lists, or returns the failure. */
static char *
built(const InputRecord *records, int n, const char *config, const char *root)
{
	char	   *failed;
	Spool	   *spool = build(records, n, config, root, MAX_BYTES, 1000, &failed);
	char	   *bytes;
	char	   *list;
	int64		size;
	bool		end_good;

	if (spool == NULL)
		return failed;
	size = osa_spool_size(spool);
	bytes = spool_bytes(spool);
	list = list_archive(bytes, size);
	/* the header of the last entry, an empty file, then the two zero blocks and nothing more */
	end_good = size % 512 == 0 && strcmp(bytes + size - 1024 - 512, "in/.complete") == 0;
	for (int i = 1; i <= 1024; i++)
		end_good = end_good && bytes[size - i] == '\0';
	tap_ok(end_good, "in/.complete is last and the archive ends in exactly 1024 zero bytes");
	osa_spool_close(spool);
	return list;
}

#define START	"d0755 0:0 in/\n"
#define END		"d0700 65534:65534 out/\n-0444 0:0 in/.complete []\n"

static void
test_plain(void)
{
	InputRecord none = {0};
	InputRecord one = {.id = "r1", .metadata = "{\"a\": 1}"};
	InputFile	files[] = {{"b/c/d.txt", "deep", 4}, {"b/a.txt", "hello", 5}, {"empty", "", 0}, {"b.txt", "x", 1}};
	InputRecord with_files = {.id = "r \"1\"\\", .metadata = "{\"a\":\n\"b\\n\"}", .size_hint_mb = "1.5", .n_files = 4, .files = files};
	InputRecord many[] = {
		{.id = "big", .metadata = "{}", .size_hint_mb = "100"}, {.id = "unknown", .metadata = NULL},
		{.id = "small", .metadata = "{}", .size_hint_mb = "2.5"}, {.id = "small2", .metadata = "{}", .size_hint_mb = "2.5"}
	};
	InputRecord unhinted[] = {{.id = "z", .metadata = "{}"}, {.id = "a", .metadata = "{}"}};

	tap_is(built(&none, 0, NULL, NULL), START "-0444 0:0 in/records.jsonl []\n-0444 0:0 in/config.json [{}]\nd0755 0:0 files/\n" END, "no records");
	tap_is(built(&one, 1, "{\"c\": 2}", NULL), START "-0444 0:0 in/records.jsonl [{\"id\":\"r1\",\"metadata\":{\"a\": 1}}\n]\n"
		   "-0444 0:0 in/config.json [{\"c\": 2}]\nd0755 0:0 files/\nd0755 0:0 files/r1/\n" END, "one record");
	tap_is(built(&with_files, 1, "{}", NULL), START "-0444 0:0 in/records.jsonl [{\"id\":\"r \\\"1\\\"\\\\\",\"metadata\":{\"a\": \"b\\n\"},\"size_hint_mb\":1.5}\n]\n"
		   "-0444 0:0 in/config.json [{}]\nd0755 0:0 files/\nd0755 0:0 files/r \"1\"\\/\n"
		   "-0444 0:0 files/r \"1\"\\/b.txt [x]\nd0755 0:0 files/r \"1\"\\/b/\n-0444 0:0 files/r \"1\"\\/b/a.txt [hello]\n"
		   "d0755 0:0 files/r \"1\"\\/b/c/\n-0444 0:0 files/r \"1\"\\/b/c/d.txt [deep]\n-0444 0:0 files/r \"1\"\\/empty []\n" END,
		   "a record with files; newlines in metadata don't end the line");
	tap_is(built(many, 4, "{}", NULL), START "-0444 0:0 in/records.jsonl [{\"id\":\"small\",\"metadata\":{},\"size_hint_mb\":2.5}\n"
		   "{\"id\":\"small2\",\"metadata\":{},\"size_hint_mb\":2.5}\n{\"id\":\"big\",\"metadata\":{},\"size_hint_mb\":100}\n{\"id\":\"unknown\",\"metadata\":{}}\n]\n"
		   "-0444 0:0 in/config.json [{}]\nd0755 0:0 files/\nd0755 0:0 files/big/\nd0755 0:0 files/unknown/\nd0755 0:0 files/small/\nd0755 0:0 files/small2/\n" END,
		   "records in ascending size, those without last");
	tap_is(built(unhinted, 2, "{}", NULL), START "-0444 0:0 in/records.jsonl [{\"id\":\"z\",\"metadata\":{}}\n{\"id\":\"a\",\"metadata\":{}}\n]\n"
		   "-0444 0:0 in/config.json [{}]\nd0755 0:0 files/\nd0755 0:0 files/z/\nd0755 0:0 files/a/\n" END, "in the given order without sizes");
}

static void
test_names(void)
{
	static char long_id[201];
	static char long_path[1000];
	InputFile	file = {long_path, "x", 1};
	InputFile	other = {"d\xc3\xa9j\xc3\xa0/\xe2\x98\x83.txt", "y", 1};
	InputRecord records[] = {
		{.id = long_id, .metadata = "{}", .n_files = 1, .files = &file},
		{.id = "\xc3\xa9\xf0\x9f\x90\x8d", .metadata = "{\"\xc3\xa9\":1}", .n_files = 1, .files = &other}
	};
	char	   *list;

	memset(long_id, 'i', 200);
	memset(long_path, 'p', 999);
	for (int i = 200; i < 999; i += 200)
		long_path[i] = '/';
	list = built(records, 1, "{}", NULL);
	tap_ok(strstr(list, psprintf("-0444 0:0 files/%s/%s [x]\n", long_id, long_path)) != NULL, "a long name");
	list = built(records, 2, "{}", NULL);
	tap_ok(strstr(list, psprintf("-0444 0:0 files/%s/%s [x]\n", long_id, long_path)) != NULL, "a long name beside others");
	tap_ok(strstr(list, "-0444 0:0 files/\xc3\xa9\xf0\x9f\x90\x8d/d\xc3\xa9j\xc3\xa0/\xe2\x98\x83.txt [y]\n") != NULL, "names beyond ASCII, whatever the locale");
	tap_ok(strstr(list, "{\"id\":\"\xc3\xa9\xf0\x9f\x90\x8d\",\"metadata\":{\"\xc3\xa9\":1}}") == NULL, "(long listing is not shown)");
}

static void
test_refusals(void)
{
	InputFile	same[] = {{"a", "x", 1}, {"b", "y", 1}, {"a", "z", 1}};
	InputFile	below[] = {{"a/b", "x", 1}, {"a-", "w", 1}, {"a", "y", 1}};
	InputFile	climbing = {"../x", "x", 1};
	InputFile	large = {"x", "x", MAX_BYTES};
	InputRecord record = {.id = "r", .metadata = "{}", .n_files = 3, .files = same};
	InputRecord bad_id = {.id = "..", .metadata = "{}"};
	char	   *failed;

	tap_like(built(&record, 1, "{}", NULL), "!config: two files of a record are both at \"a\"", "two files at one path");
	record.files = below;
	tap_like(built(&record, 1, "{}", NULL), "!config: two files of a record are both at \"a/b\"", "a file where another needs a folder");
	record.files = &climbing;
	record.n_files = 1;
	tap_like(built(&record, 1, "{}", NULL), "!config: invalid file path \"../x\"", "a path that climbs");
	tap_like(built(&bad_id, 1, "{}", NULL), "!config: invalid record id \"..\"", "an id that climbs");
	record.files = &large;
	tap_like(built(&record, 1, "{}", NULL), "!config: input is larger than 4194304 bytes", "too large an input");
	record.n_files = 0;
	tap_ok(build(&record, 1, "{}", NULL, 27, 1, &failed) != NULL, "input of just max_bytes");
	tap_ok(build(&record, 1, "{}", NULL, 26, 1, &failed) == NULL, "input of a byte more");
	record.files_from = "x";
	tap_like(built(&record, 1, "{}", NULL), "!config: record \"r\" takes files from \"x\", but no folder of the server may be read", "no files_root");
	tap_like(built(&record, 1, "{}", ""), "!config: record \"r\" takes files from", "an empty files_root");
	record.files_from = "../x";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: invalid folder \"../x\"", "files_from that climbs");
	record.files_from = "/etc";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: invalid folder \"/etc\"", "files_from that is absolute");
}

static void
test_steps(void)
{
	InputFile	file = {"large", "L", 3 * 1024 * 1024};
	char	   *metadata = palloc(1024 * 1024);
	InputRecord record = {.id = "r", .n_files = 1, .files = &file};
	InputRecord *many = palloc0(sizeof(InputRecord) * 20000);
	char	   *failed;
	Spool	   *spool;
	char	   *bytes;

	memset(metadata, ' ', 1024 * 1024);
	memcpy(metadata, "{}", 2);
	metadata[1024 * 1024 - 1] = '\0';
	record.metadata = metadata;
	spool = build(&record, 1, "{}", NULL, 5 * 1024 * 1024, 64 * 1024, &failed);
	bytes = spool_bytes(spool);
	tap_ok(strstr(list_archive(bytes, osa_spool_size(spool)), "files/r/large 3145728 bytes") != NULL, "a large file in pieces");
	tap_ok(n_steps >= 48 + 4 && largest_step <= 300 * 1024, "a step writes at most about 256 KiB (%d)", (int) largest_step);
	osa_spool_close(spool);

	for (int i = 0; i < 20000; i++)
	{
		many[i].id = psprintf("record-%05d", i);
		many[i].metadata = "{}";
		many[i].size_hint_mb = psprintf("%d", 20000 - i);
	}
	spool = build(many, 20000, "{}", NULL, 5 * 1024 * 1024, 64 * 1024, &failed);
	tap_ok(spool != NULL && largest_step <= 300 * 1024 && n_steps > 20, "20,000 records in %d steps", n_steps);
	osa_spool_close(spool);
}

static void
make_file(const char *path, const char *content)
{
	int			fd = open(psprintf("%s/%s", tap_folder, path), O_CREAT | O_TRUNC | O_WRONLY, 0600);

	if (fd < 0 || write(fd, content, strlen(content)) != (ssize_t) strlen(content))
		elog(ERROR, "could not write \"%s\": %m", path);
	close(fd);
}

static void
make_folder(const char *path)
{
	if (mkdir(psprintf("%s/%s", tap_folder, path), 0700) != 0 && errno != EEXIST)
		elog(ERROR, "could not make \"%s\": %m", path);
}

static void
shrink(int step)
{
	if (step == 6 && truncate(psprintf("%s/tree/large/data", tap_folder), 1000) != 0)
		elog(ERROR, "could not truncate: %m");
}

static void
grow(int step)
{
	if (step == 6 && truncate(psprintf("%s/tree/large/data", tap_folder), 3000000) != 0)
		elog(ERROR, "could not extend: %m");
}

static void
test_tree(void)
{
	InputFile	attached[] = {{"z/extra", "more", 4}};
	InputFile	clashing = {"sub/b", "x", 1};
	InputFile	below = {"a/x", "x", 1};
	InputFile	as_file = {"sub", "x", 1};
	InputRecord record = {.id = "r", .metadata = "{}", .files_from = "tree/good", .n_files = 1, .files = attached};
	const char *head = START "-0444 0:0 in/records.jsonl [{\"id\":\"r\",\"metadata\":{}}\n]\n-0444 0:0 in/config.json [{}]\nd0755 0:0 files/\nd0755 0:0 files/r/\n";
	char	   *large = palloc(2000001);

	make_folder("tree");
	make_folder("tree/good");
	make_folder("tree/good/sub");
	make_folder("tree/good/sub/deep");
	make_folder("tree/good/empty");
	make_file("tree/good/a", "A");
	make_file("tree/good/sub/b", "B");
	make_file("tree/good/sub/deep/c", "");
	tap_is(built(&record, 1, "{}", tap_folder),
		   psprintf("%sd0755 0:0 files/r/z/\n-0444 0:0 files/r/z/extra [more]\n-0444 0:0 files/r/a [A]\nd0755 0:0 files/r/empty/\nd0755 0:0 files/r/sub/\n"
					"-0444 0:0 files/r/sub/b [B]\nd0755 0:0 files/r/sub/deep/\n-0444 0:0 files/r/sub/deep/c []\n" END, head),
		   "a tree beside an attached file");
	record.files = &clashing;
	tap_like(built(&record, 1, "{}", tap_folder), "!config: two files of a record are both at \"sub/b\"", "a file of both");
	record.files = &below;
	tap_like(built(&record, 1, "{}", tap_folder), "!config: two files of a record are both at \"a\"", "a file where an attached one needs a folder");
	record.files = &as_file;
	tap_like(built(&record, 1, "{}", tap_folder), "!config: two files of a record are both at \"sub\"", "a folder where an attached file is");
	record.n_files = 0;

	make_folder("tree/link");
	(void) symlink("/etc/passwd", psprintf("%s/tree/link/p", tap_folder));
	record.files_from = "tree/link";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: file \"tree/link/p\" is a symbolic link", "a link in a tree");
	make_folder("tree/fifo");
	(void) mkfifo(psprintf("%s/tree/fifo/f", tap_folder), 0600);
	record.files_from = "tree/fifo";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: file \"tree/fifo/f\" is neither a regular file nor a folder", "a FIFO in a tree");
	(void) symlink("good", psprintf("%s/tree/alias", tap_folder));
	record.files_from = "tree/alias";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: file \"tree/alias\" is a symbolic link", "files_from is a link");
	record.files_from = "tree/alias/sub";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: file \"tree/alias/sub\" is a symbolic link or behind one", "files_from behind a link");
	record.files_from = "tree/none";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: could not open \"tree/none\"", "files_from is missing");
	record.files_from = "tree/good/a";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: \"tree/good/a\" is not a folder", "files_from is a file");
	make_folder("tree/name");
	make_file("tree/name/bad\n", "");
	record.files_from = "tree/name";
	tap_like(built(&record, 1, "{}", tap_folder), "!config: file \"tree/name/bad?\" cannot be given to a hook", "a control character in a name");

	make_folder("tree/large");
	memset(large, 'x', 2000000);
	large[2000000] = '\0';
	make_file("tree/large/data", large);
	record.files_from = "tree/large";
	tap_ok(strstr(built(&record, 1, "{}", tap_folder), "files/r/data 2000000 bytes") != NULL, "a large file in a tree");
	tap_ok(n_steps >= 6 && largest_step <= 300 * 1024, "in bounded steps");
	between_steps = shrink;
	tap_like(built(&record, 1, "{}", tap_folder), "!config: file \"tree/large/data\" changed while it was read", "a file that shrinks");
	between_steps = NULL;
	make_file("tree/large/data", large);
	between_steps = grow;
	tap_like(built(&record, 1, "{}", tap_folder), "!config: file \"tree/large/data\" changed while it was read", "a file that grows");
	between_steps = NULL;
	if (truncate(psprintf("%s/tree/large/data", tap_folder), MAX_BYTES + 1) != 0)
		elog(ERROR, "could not extend: %m");
	tap_like(built(&record, 1, "{}", tap_folder), "!config: input is larger than 4194304 bytes", "a tree over max_bytes");

	make_folder("tree/many");
	for (int i = 0; i < 5000; i++)
		make_file(psprintf("tree/many/%05d", i), "");
	record.files_from = "tree/many";
	{
		char	   *failed;
		Spool	   *spool = build(&record, 1, "{}", tap_folder, MAX_BYTES, 1, &failed);

		tap_ok(spool != NULL && n_steps > 50, "5,000 files in %d steps", n_steps);
		osa_spool_close(spool);
	}
}

/* How many descriptors does this process have? */
static int
count_fds(void)
{
	int			n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
test_ends(void)
{
	InputFile	file = {"f", "abc", 3};
	InputRecord record = {.id = "r", .metadata = "{}", .n_files = 1, .files = &file};
	Spool	   *spool = osa_spool_open(test_context);
	InputBuilder *builder = osa_input_begin(test_context, &record, 1, "{}", NULL, MAX_BYTES, spool);
	int64		size;
	int64		offset = -1;
	int			fds;

	while (osa_input_step(builder) != INPUT_NEEDS_FILE)
		;
	tap_ok(osa_input_wants(builder, &offset) == &file && offset == 0, "wants the file from its start");
	osa_input_file_data(builder, "ab", 2);
	tap_ok(osa_input_step(builder) == INPUT_NEEDS_FILE && osa_input_wants(builder, &offset) == &file && offset == 2, "then from where it is");
	size = osa_spool_size(spool);
	osa_input_end(builder);
	tap_ok(osa_spool_size(spool) == size, "a builder that is given up writes nothing more");
	osa_spool_close(spool);

	spool = osa_spool_open(test_context);
	builder = osa_input_begin(test_context, &record, 1, "{}", NULL, MAX_BYTES, spool);
	while (osa_input_step(builder) != INPUT_NEEDS_FILE)
		;
	osa_input_file_data(builder, "abcd", 4);
	tap_ok(osa_input_step(builder) == INPUT_FAILED && osa_input_failure(builder)->kind == FAILURE_INTERNAL, "more data than the file has");
	tap_ok(osa_input_step(builder) == INPUT_FAILED, "and stays failed");
	osa_input_end(builder);
	osa_spool_close(spool);

	fds = count_fds();
	record.n_files = 0;
	record.files_from = "tree/good";
	for (int stop = 1; stop < 12; stop++)
	{
		MemoryContext context = AllocSetContextCreate(test_context, "given up", ALLOCSET_SMALL_SIZES);

		spool = osa_spool_open(context);
		builder = osa_input_begin(context, &record, 1, "{}", tap_folder, MAX_BYTES, spool);
		for (int i = 0; i < stop; i++)
			(void) osa_input_step(builder);
		MemoryContextDelete(context);
	}
	tap_ok(count_fds() == fds, "deleting the context closes everything");
}

void
test_input(void)
{
	test_context = AllocSetContextCreate(CurrentMemoryContext, "input test", ALLOCSET_DEFAULT_SIZES);
	between_steps = NULL;
	test_plain();
	test_names();
	test_refusals();
	test_steps();
	test_tree();
	test_ends();
}
