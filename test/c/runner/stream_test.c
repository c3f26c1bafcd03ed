/*
 * stream_test.c
 *		The decoders of streams, in pieces of every size, and spools.
 */
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "utils/memutils.h"

#include "runner/docker_decode.h"
#include "spool.h"

/* The tail of a log of n bytes that comes in frames and in pieces. */
static bool
tail_is_right(int n, int frame, int piece, int ring)
{
	StringInfoData stream;
	LogTail		tail = {0};
	char	   *out = palloc(ring);
	char	   *log = palloc(n + 1);
	size_t		len;
	size_t		wanted = Min(n, ring);
	bool		right;

	initStringInfo(&stream);
	for (int i = 0; i < n; i++)
		log[i] = 'a' + i % 23;
	for (int i = 0; i < n; i += frame)
	{
		int			l = Min(frame, n - i);
		char		header[8] = {i % 2 + 1, 0, 0, 0, l >> 24, l >> 16, l >> 8, l};

		appendBinaryStringInfo(&stream, header, 8);
		appendBinaryStringInfo(&stream, log + i, l);
	}
	tail.ring = palloc(ring);
	tail.ring_size = ring;
	for (int i = 0; i < stream.len; i += piece)
		osa_log_tail_push(&tail, stream.data + i, Min(piece, stream.len - i));
	len = osa_log_tail_copy(&tail, out);
	right = len == wanted && memcmp(out, log + n - wanted, wanted) == 0;
	pfree(out);
	pfree(log);
	pfree(stream.data);
	return right;
}

static void
test_tail(void)
{
	static const int sizes[] = {0, 1, 7, 63, 64, 65, 128, 1000};
	bool		right = true;
	LogTail		tail = {.ring = palloc(64),.ring_size = 64};
	char		out[64];

	for (int n = 0; n < (int) lengthof(sizes); n++)
		for (int frame = 1; frame < 200; frame += 13)
			for (int piece = 1; piece < 300; piece += 31)
				right &= tail_is_right(sizes[n], frame, piece, 64);
	tap_ok(right, "the last bytes of a log, in frames and pieces of any size");
	osa_log_tail_push(&tail, "hello, no frames", 16);
	tap_ok(osa_log_tail_copy(&tail, out) == 16 && memcmp(out, "hello, no frames", 16) == 0, "a log without frames");
	memset(&tail.total, 0, sizeof(LogTail) - offsetof(LogTail, total));
	osa_log_tail_push(&tail, "\1\0\0\0\xff\xff\xff\xff" "abc", 11);
	tap_ok(osa_log_tail_copy(&tail, out) == 3, "a frame longer than what comes");
}

static void
tar_entry(StringInfo tar, char type, const char *data, int len)
{
	char		block[512] = {0};

	strcpy(block, "progress.jsonl");
	snprintf(block + 124, 12, "%011o", len);
	block[156] = type;
	memcpy(block + 257, "ustar", 6);
	appendBinaryStringInfo(tar, block, 512);
	appendBinaryStringInfo(tar, data, len);
	while (tar->len % 512 != 0)
		appendStringInfoChar(tar, '\0');
}

static char *
piece_of(const char *tar, int len, int64 offset, int max, int step)
{
	TarPiece	piece = {.offset = offset,.max_len = max,.data = palloc(max + 1)};

	for (int i = 0; i < len; i += step)
	{
		if (!osa_tar_piece_push(&piece, tar + i, Min(step, len - i)))
			break;
	}
	piece.data[piece.len] = '\0';
	return piece.data;
}

static void
test_tar_piece(void)
{
	StringInfoData tar;
	StringInfoData link;
	bool		right = true;
	char		text[1501];

	for (int i = 0; i < 1500; i++)
		text[i] = 'a' + i % 26;
	text[1500] = '\0';
	initStringInfo(&tar);
	tar_entry(&tar, 'x', "30 path=some very long name\n", 28);
	tar_entry(&tar, '0', text, 1500);
	tar_entry(&tar, '0', "second", 6);
	for (int step = 1; step < 3000; step += 97)
	{
		right &= strcmp(piece_of(tar.data, tar.len, 0, 5000, step), text) == 0;
		right &= strcmp(piece_of(tar.data, tar.len, 700, 5000, step), text + 700) == 0;
		right &= strncmp(piece_of(tar.data, tar.len, 511, 3, step), text + 511, 3) == 0;
		right &= piece_of(tar.data, tar.len, 1500, 10, step)[0] == '\0';
		right &= piece_of(tar.data, tar.len, PG_INT64_MAX, 10, step)[0] == '\0';
		right &= strcmp(piece_of(tar.data, 1024 + 512 + 100, 0, 5000, step), pnstrdup(text, 100)) == 0;
	}
	tap_ok(right, "a piece of the first file of a tar, in steps of any size");
	initStringInfo(&link);
	tar_entry(&link, '2', "", 0);
	tar_entry(&link, '0', text, 1500);
	tap_is(piece_of(link.data, link.len, 0, 100, 512), "", "a link is not followed, and what comes after it not taken");
	tap_is(piece_of(text, 1500, 0, 100, 512), "", "no tar");
	tar.data[124] = '\x80';
	tap_is(piece_of(tar.data, tar.len, 0, 100, 512), "", "an extension without end");
}

static void
test_lines(void)
{
	LineBuffer	lines = {.max = 20};
	char	   *line;
	size_t		len;

	osa_lines_push(&lines, "a\nbb", 4);
	line = osa_lines_next(&lines, &len);
	tap_ok(line != NULL && strcmp(line, "a") == 0 && len == 1, "a line");
	tap_ok(osa_lines_next(&lines, &len) == NULL, "a torn line waits");
	osa_lines_push(&lines, "b\n\n", 3);
	line = osa_lines_next(&lines, &len);
	tap_ok(line != NULL && strcmp(line, "bbb") == 0, "for its end");
	line = osa_lines_next(&lines, &len);
	tap_ok(line != NULL && len == 0, "an empty line");
	osa_lines_push(&lines, "0123456789", 10);
	osa_lines_push(&lines, "0123456789x", 11);
	osa_lines_push(&lines, "01234567890123456789012345", 26);
	tap_ok(osa_lines_next(&lines, &len) == NULL && lines.len == 0, "a line that is too long is dropped");
	osa_lines_push(&lines, "tail\nnext\n", 10);
	line = osa_lines_next(&lines, &len);
	tap_ok(line != NULL && strcmp(line, "next") == 0, "whole, and the next one taken");
	osa_lines_push(&lines, "x\ny", 3);
	osa_lines_push(&lines, "012345678901234567890", 21);
	osa_lines_push(&lines, "\nz\n", 3);
	line = osa_lines_next(&lines, &len);
	tap_ok(line != NULL && strcmp(line, "x") == 0, "lines before a long one stay");
	line = osa_lines_next(&lines, &len);
	tap_ok(line != NULL && strcmp(line, "z") == 0, "and those after it");
	osa_lines_free(&lines);
}

void
test_decoders(void)
{
	test_tail();
	test_tar_piece();
	test_lines();
}

/* Descriptors of this process, and how many are of deleted temporary files. */
static int
open_files(void)
{
	DIR		   *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int			n = 0;

	while ((entry = readdir(dir)) != NULL)
	{
		char		target[1024];
		ssize_t		len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (len < 0)
			continue;
		target[len] = '\0';
		if (strstr(target, "pgsql_tmp") != NULL && strstr(target, "(deleted)") != NULL)
			n++;
	}
	closedir(dir);
	return n;
}

void
test_spool(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "test", ALLOCSET_DEFAULT_SIZES);
	static const int64 sizes[] = {0, 1, 8192, 1024 * 1024, 1024 * 1024 + 1, 5000000};
	char		block[7001];
	char		back[9001];

	for (int i = 0; i < (int) sizeof(block); i++)
		block[i] = (char) (i * 7);
	for (int i = 0; i < (int) lengthof(sizes); i++)
	{
		Spool	   *spool = osa_spool_open(context);
		bool		good = true;

		for (int64 at = 0; at < sizes[i];)
		{
			int64		n = Min((int64) sizeof(block), sizes[i] - at);

			good &= osa_spool_write(spool, block, n);
			at += n;
		}
		good &= osa_spool_size(spool) == sizes[i];
		for (int round = 0; round < 2; round++)
		{
			int64		at = 0;
			ssize_t		n;

			osa_spool_rewind(spool);
			while ((n = osa_spool_read(spool, back, sizeof(back))) > 0)
			{
				for (ssize_t k = 0; k < n; k++)
					good &= back[k] == block[(at + k) % sizeof(block)];
				at += n;
			}
			good &= n == 0 && at == sizes[i];
		}
		tap_ok(good, "a spool of " INT64_FORMAT " bytes gives them back twice", sizes[i]);
		tap_is_int(open_files(), sizes[i] > 1024 * 1024 ? 1 : 0, "in memory, then in a file without a name");
		if (i % 2 == 0)
			osa_spool_close(spool);
		else
			MemoryContextReset(context);
		tap_is_int(open_files(), 0, "which ends with it");
	}
	{
		Spool	   *spool = osa_spool_open(context);
		int			limit = 0;
		int			n_open = 0;

		/* as many as the server gives, then errors and no more */
		osa_spool_close(spool);
		while (n_open < 5000)
		{
			spool = osa_spool_open(context);
			osa_spool_write(spool, block, sizeof(block));
			memset(back, 0, sizeof(back));
			for (limit = 0; limit < 160 && osa_spool_write(spool, block, sizeof(block)); limit++)
				;
			if (limit < 160)
				break;
			n_open++;
		}
		tap_ok(limit < 160 && errno == EMFILE && n_open > 5, "beyond the server's descriptors a write says so (%d)", n_open);
		MemoryContextDelete(context);
		tap_is_int(open_files(), 0, "and all are given back");
	}
}
