/*
 * entry.h
 *		One entry of the EMBL or Swiss-Prot flat-file format, as the demo's
 *		records hold it: files/<record>/entry.dat.
 */
#ifndef ENTRY_H
#define ENTRY_H

#include <ctype.h>

#include "osa_hook.h"

typedef struct Entry
{
	const char *id;				/* record id */
	int			is_protein;
	char		crc64[17];		/* as declared, or "" */
	size_t		length;
	char	   *residues;		/* upper case */
} Entry;

/* The record's entry; its lines were checked by the hook flatfile. */
static inline Entry
entry_read(const char *id)
{
	Entry		entry = {.id = id};
	char		name[512];
	char	   *text;
	char	   *line;
	int			in_sequence = 0;

	snprintf(name, sizeof(name), "%s/entry.dat", id);
	text = osa_read_file(OSA_FILES(name));
	if (text == NULL)
		osa_die("record %s has no entry.dat", id);
	entry.residues = osa_alloc(strlen(text) + 1);
	for (line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
	{
		if (strncmp(line, "SQ ", 3) == 0)
		{
			char	   *crc = strstr(line, " CRC64");

			in_sequence = 1;
			entry.is_protein = strstr(line, " AA;") != NULL;
			if (crc != NULL && crc - line > 16)
				memcpy(entry.crc64, crc - 16, 16);
		}
		else if (strncmp(line, "//", 2) == 0)
			in_sequence = 0;
		else if (in_sequence)
		{
			for (; *line != '\0'; line++)
				if (isalpha((unsigned char) *line))
					entry.residues[entry.length++] = (char) toupper((unsigned char) *line);
		}
	}
	entry.residues[entry.length] = '\0';
	free(text);
	return entry;
}

#endif							/* ENTRY_H */
