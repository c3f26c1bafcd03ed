/*
 * progress.h
 *		One line of progress.jsonl.
 */
#ifndef OSA_PROGRESS_H
#define OSA_PROGRESS_H

#include "contract.h"

/* Longest message and longest other text of a progress entry, in bytes. */
#define OSA_PROGRESS_MESSAGE_MAX	1024
#define OSA_PROGRESS_TEXT_MAX		200

/* Parses one line, uncut, into the current context; false: a bad one. */
extern bool osa_progress_line(const char *text, size_t len, ProgressLine *line);

#endif							/* OSA_PROGRESS_H */
