/*
 * osa_hook.h
 *		What a hook written in C needs: its records, its configuration, and
 *		valid JSON strings in its answers.  Header only, C library only.
 *
 *		Who runs it: a hook, inside its container.  It trusts its inputs (the
 *		worker wrote them) and ends the process when one is missing: an exit
 *		code other than 0 fails the step, with what stands on stderr.
 */
#ifndef OSA_HOOK_H
#define OSA_HOOK_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 1, 2), noreturn))
static inline void
osa_die(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static inline void *
osa_alloc(size_t size)
{
	void	   *p = malloc(size > 0 ? size : 1);

	if (p == NULL)
		osa_die("out of memory");
	return p;
}

/* Folder named by an environment variable of the contract, and a path in it. */
static inline char *
osa_path(const char *variable, const char *fallback, const char *name)
{
	const char *folder = getenv(variable);
	char	   *path;

	if (folder == NULL)
		folder = fallback;
	path = osa_alloc(strlen(folder) + strlen(name) + 2);
	sprintf(path, "%s/%s", folder, name);
	return path;
}

#define OSA_IN(name)	osa_path("OSA_IN", "/osa/in", name)
#define OSA_OUT(name)	osa_path("OSA_OUT", "/osa/out", name)
#define OSA_FILES(name) osa_path("OSA_FILES", "/osa/files", name)

/* Whole file as a string, or NULL if it can't be opened. */
static inline char *
osa_read_file(const char *path)
{
	FILE	   *file = fopen(path, "r");
	size_t		size = 1 << 16;
	size_t		used = 0;
	size_t		n;
	char	   *text;

	if (file == NULL)
		return NULL;
	text = osa_alloc(size);
	while ((n = fread(text + used, 1, size - used - 1, file)) > 0)
	{
		used += n;
		if (used + 1 == size)
		{
			size *= 2;
			text = realloc(text, size);
			if (text == NULL)
				osa_die("out of memory");
		}
	}
	fclose(file);
	text[used] = '\0';
	return text;
}

static inline FILE *
osa_append(const char *name)
{
	char	   *path = OSA_OUT(name);
	FILE	   *file = fopen(path, "a");

	if (file == NULL)
		osa_die("could not open %s", path);
	free(path);
	return file;
}

static inline const char *
osa_json_space(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

/* Past the value that starts at p. */
static inline const char *
osa_json_skip(const char *p)
{
	int			depth = 0;

	do
	{
		if (*p == '"')
		{
			for (p++; *p != '"' && *p != '\0'; p++)
				if (*p == '\\' && p[1] != '\0')
					p++;
		}
		else if (*p == '{' || *p == '[')
			depth++;
		else if (*p == '}' || *p == ']')
			depth--;
		if (*p != '\0')
			p++;
	} while (*p != '\0' && (depth > 0 || strchr(",:}] \t\r\n", *p) == NULL));
	return p;
}

/* The value of a top-level key of an object, or NULL.  Keys with escapes are
 * not found. */
static inline const char *
osa_json_get(const char *object, const char *key)
{
	const char *p = osa_json_space(object);
	size_t		len = strlen(key);

	if (*p++ != '{')
		return NULL;
	for (;;)
	{
		const char *name = osa_json_space(p);

		if (*name != '"')
			return NULL;
		p = osa_json_space(osa_json_skip(name));
		if (*p++ != ':')
			return NULL;
		p = osa_json_space(p);
		if (strncmp(name + 1, key, len) == 0 && name[len + 1] == '"')
			return p;
		p = osa_json_space(osa_json_skip(p));
		if (*p++ != ',')
			return NULL;
	}
}

/* A JSON string, unescaped; \u only below 0x80, where control characters and
 * quotes need it. */
static inline char *
osa_json_string(const char *value)
{
	char	   *text = osa_alloc(strlen(value) + 1);
	char	   *to = text;
	const char *from = value;

	if (*from++ != '"')
		osa_die("not a JSON string: %.40s", value);
	for (; *from != '"' && *from != '\0'; from++)
	{
		if (*from != '\\')
			*to++ = *from;
		else if (*++from == 'u')
		{
			unsigned int code;

			if (sscanf(from + 1, "%4x", &code) != 1 || code >= 0x80)
				osa_die("escape in a JSON string not understood: %.40s", value);
			*to++ = (char) code;
			from += 4;
		}
		else
			*to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from == 'r' ? '\r'
				: *from == 'b' ? '\b' : *from == 'f' ? '\f' : *from;
	}
	*to = '\0';
	return text;
}

/* Ids of the records in records.jsonl; returns their number. */
static inline size_t
osa_record_ids(char ***ids)
{
	char	   *text = osa_read_file(OSA_IN("records.jsonl"));
	size_t		n = 0;
	size_t		room = 16;
	char	   *line;

	if (text == NULL)
		osa_die("no records.jsonl");
	*ids = osa_alloc(room * sizeof(char *));
	for (line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
	{
		const char *id = osa_json_get(line, "id");

		if (id == NULL)
			osa_die("record without id: %.40s", line);
		if (n == room)
		{
			room *= 2;
			*ids = realloc(*ids, room * sizeof(char *));
			if (*ids == NULL)
				osa_die("out of memory");
		}
		(*ids)[n++] = osa_json_string(id);
	}
	free(text);
	return n;
}

/* A number of config.json, or the default. */
static inline double
osa_config_number(const char *key, double otherwise)
{
	char	   *text = osa_read_file(OSA_IN("config.json"));
	const char *value = text != NULL ? osa_json_get(text, key) : NULL;
	double		number = value != NULL ? strtod(value, NULL) : otherwise;

	free(text);
	return number;
}

/* Writes a JSON string with its quotes. */
static inline void
osa_put_string(FILE *file, const char *text)
{
	fputc('"', file);
	for (; *text != '\0'; text++)
	{
		if (*text == '"' || *text == '\\')
			fprintf(file, "\\%c", *text);
		else if ((unsigned char) *text < 0x20)
			fprintf(file, "\\u%04x", (unsigned char) *text);
		else
			fputc(*text, file);
	}
	fputc('"', file);
}

/* Appends {"id":…,"reason":…} to rejections.jsonl. */
__attribute__((format(printf, 2, 3)))
static inline void
osa_reject(const char *id, const char *fmt,...)
{
	FILE	   *file = osa_append("rejections.jsonl");
	char		reason[512];
	va_list		args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	fputs("{\"id\":", file);
	osa_put_string(file, id);
	fputs(",\"reason\":", file);
	osa_put_string(file, reason);
	fputs("}\n", file);
	fclose(file);
}

#endif							/* OSA_HOOK_H */
