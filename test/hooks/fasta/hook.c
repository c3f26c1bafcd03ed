/*
 * fasta: for each record, the GC content of every FASTA file among its files.
 * One feature a file: {"file", "length", "gc"}.  A record without any FASTA
 * file is rejected; one whose sequences hold no A, C, G or T gets gc null.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *features;
static FILE *rejections;

static void *
check(void *pointer, const char *what)
{
	if (pointer == NULL)
	{
		perror(what);
		exit(1);
	}
	return pointer;
}

static const char *
skip_string(const char *at)
{
	for (at++; *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at + 1;
}

/* The raw string under the key "id" of an object of one line, without quotes. */
static char *
find_id(const char *line)
{
	int			depth = 0;

	for (const char *at = line; *at;)
	{
		const char *start = at;

		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		if (*at != '"')
		{
			at++;
			continue;
		}
		at = skip_string(at);
		if (depth == 1 && strncmp(start, "\"id\"", 4) == 0 && at == start + 4)
		{
			at += strspn(at, " :");
			return strndup(at + 1, skip_string(at) - at - 2);
		}
	}
	return NULL;
}

/* Decodes JSON's escapes; ids hold no control characters, so \u does not occur
 * below 0x20, and the worker writes all else as UTF-8. */
static char *
unescape(const char *raw)
{
	char	   *plain = check(strdup(raw), "memory");
	char	   *out = plain;

	for (; *raw; raw++)
	{
		if (*raw == '\\')
			raw++;
		*out++ = *raw;
	}
	*out = '\0';
	return plain;
}

static void
write_quoted(FILE *file, const char *text)
{
	fputc('"', file);
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			fputc('\\', file);
		fputc(*text, file);
	}
	fputc('"', file);
}

/* Counts a FASTA file; false if it is none. */
static bool
count(const char *path, long *length, long *acgt, long *gc)
{
	FILE	   *file = fopen(path, "r");
	char	   *line = NULL;
	size_t		size = 0;
	bool		is_fasta = false;

	*length = *acgt = *gc = 0;
	if (file == NULL)
		return false;
	while (getline(&line, &size, file) > 0)
	{
		if (line[0] == '>')
			is_fasta = true;
		else if (!is_fasta)
			break;
		else
		{
			for (char *at = line; *at > ' '; at++)
			{
				(*length)++;
				*acgt += strchr("ACGTacgt", *at) != NULL;
				*gc += strchr("GCgc", *at) != NULL;
			}
		}
	}
	free(line);
	fclose(file);
	return is_fasta;
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
handle(const char *id)
{
	char	   *name = unescape(id);
	char		folder[1024];
	char		path[2048];
	struct dirent **entries;
	int			n_entries;
	int			n_files = 0;

	snprintf(folder, sizeof(folder), "%s/%s", getenv("OSA_FILES"), name);
	n_entries = scandir(folder, &entries, NULL, by_name);
	for (int i = 0; i < n_entries; i++)
	{
		long		length;
		long		acgt;
		long		gc;

		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (!count(path, &length, &acgt, &gc))
			continue;
		if (n_files++ == 0)
			fprintf(features, "{\"id\":\"%s\",\"features\":[", id);
		else
			fputc(',', features);
		fprintf(features, "{\"file\":");
		write_quoted(features, entries[i]->d_name);
		fprintf(features, ",\"length\":%ld,\"gc\":", length);
		if (acgt > 0)
			fprintf(features, "%.6f}", (double) gc / acgt);
		else
			fprintf(features, "null}");
	}
	if (n_files > 0)
		fprintf(features, "]}\n");
	else
		fprintf(rejections, "{\"id\":\"%s\",\"reason\":\"no FASTA file\"}\n", id);
	free(name);
}

int
main(void)
{
	char		path[1024];
	char	   *line = NULL;
	size_t		size = 0;
	FILE	   *records;

	snprintf(path, sizeof(path), "%s/records.jsonl", getenv("OSA_IN"));
	records = check(fopen(path, "r"), path);
	snprintf(path, sizeof(path), "%s/features.jsonl", getenv("OSA_OUT"));
	features = check(fopen(path, "w"), path);
	snprintf(path, sizeof(path), "%s/rejections.jsonl", getenv("OSA_OUT"));
	rejections = check(fopen(path, "w"), path);

	while (getline(&line, &size, records) > 0)
		handle(check(find_id(line), "a record without id"));
	return fclose(features) || fclose(rejections);
}
