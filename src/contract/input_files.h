/*
 * input_files.h
 *		Pieces of the input archive: a record's line, its attached files.
 */
#ifndef OSA_INPUT_FILES_H
#define OSA_INPUT_FILES_H

#include "lib/stringinfo.h"

#include "contract.h"

/* A record's line in records.jsonl, with its newline. */
extern int64 osa_record_line_size(const InputRecord *record);
extern void osa_record_line(const InputRecord *record, StringInfo line);

extern bool osa_is_ascii(const char *text);

/* A record's attached files, sorted by path. */
typedef struct FileList
{
	int			n_files;
	const InputFile *files[FLEXIBLE_ARRAY_MEMBER];
} FileList;

/* In the current context; NULL and *failure if two paths exclude each other. */
extern FileList *osa_file_list(const InputRecord *record, Failure *failure);

/* May a folder or file of this path stand beside the attached ones? */
extern bool osa_file_list_allows(const FileList *list, const char *path, bool folder,
								 Failure *failure);

#endif							/* OSA_INPUT_FILES_H */
