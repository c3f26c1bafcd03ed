/*
 * docker_json.h
 *		Reading an engine's JSON by key, and its texts and times.  Pure.
 *
 *   osa_reply_begin(&reader, json, len);
 *   if (osa_reply_enter(&reader, JSON_EVENT_OBJECT))
 *       while (osa_reply_next_key(&reader))
 *           if (osa_json_equals(&reader, "Id"))
 *               osa_reply_text(&reader, id, sizeof(id));
 *           else
 *               osa_reply_skip(&reader);
 *   sound = osa_reply_whole(&reader);
 */
#ifndef OSA_DOCKER_JSON_H
#define OSA_DOCKER_JSON_H

#include "contract/json.h"
#include "datatype/timestamp.h"

extern void osa_reply_begin(JsonReader *reader, const char *json, size_t len);

/* Reads the next value: true inside of it if it is of this kind. */
extern bool osa_reply_enter(JsonReader *reader, JsonEvent kind);
/* Inside an object: is there another key? */
extern bool osa_reply_next_key(JsonReader *reader);
/* Inside an array: is there another element?  Its first event is read. */
extern bool osa_reply_next_element(JsonReader *reader);
/* After the last value: was it all sound JSON? */
extern bool osa_reply_whole(JsonReader *reader);

/* Each reads the next value, whatever it is. */
extern void osa_reply_skip(JsonReader *reader);
/* true if it is a string, which is copied clean, and cut to size */
extern bool osa_reply_text(JsonReader *reader, char *out, size_t size);
extern int64 osa_reply_integer(JsonReader *reader, int64 otherwise);
extern bool osa_reply_true(JsonReader *reader);
extern TimestampTz osa_reply_time(JsonReader *reader);	/* 0: none */

/* RFC 3339; 0 for the engine's "never" too.  False if it is no time. */
extern bool osa_docker_parse_time(const char *text, TimestampTz *time);

/* Copies text as valid UTF-8 without control characters, cut to size. */
extern void osa_docker_clean_text(char *out, size_t size, const char *text, size_t len);

#endif							/* OSA_DOCKER_JSON_H */
