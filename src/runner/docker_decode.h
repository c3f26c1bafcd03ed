/*
 * docker_decode.h
 *		Decoders of an engine's streams, fed piece by piece.  Pure, and called
 *		inside libcurl: fixed memory, given by the caller; never raise.
 */
#ifndef OSA_DOCKER_DECODE_H
#define OSA_DOCKER_DECODE_H

#include "postgres.h"

/* The last bytes of a log that comes in frames {stream, 0, 0, 0, length}. */
typedef struct LogTail
{
	char	   *ring;			/* ring_size bytes */
	size_t		ring_size;
	uint64		total;			/* bytes of log seen */
	unsigned char header[8];
	int			header_len;
	uint32		frame_left;
	bool		is_raw;			/* the stream has no frames */
} LogTail;

extern void osa_log_tail_push(LogTail *tail, const char *data, size_t len);
/* Copies the tail to out, ring_size bytes at least; returns its length. */
extern size_t osa_log_tail_copy(const LogTail *tail, char *out);

/* A piece of the first entry of a tar, if that is a regular file. */
typedef struct TarPiece
{
	int64		offset;			/* first byte wanted */
	char	   *data;			/* max_len bytes */
	int			max_len;
	int			len;			/* bytes there */
	bool		done;			/* nothing more is wanted */
	char		block[512];
	int			block_len;
	bool		in_file;
	int64		skip;			/* of an extension's entry */
	int64		position;		/* in the file */
	int64		size;			/* of the file */
} TarPiece;

/* False once nothing more is wanted. */
extern bool osa_tar_piece_push(TarPiece *piece, const char *data, size_t len);

/* Lines of a stream; a line that is too long is left out whole. */
typedef struct LineBuffer
{
	char	   *data;			/* malloc'ed by push */
	size_t		allocated;
	size_t		len;
	size_t		start;			/* of the next line */
	size_t		max;			/* bytes held at most */
	bool		skipping;		/* until the next newline */
} LineBuffer;

/* False if out of memory. */
extern bool osa_lines_push(LineBuffer *lines, const char *data, size_t len);
/* The next whole line, zero-terminated, until the next push; or NULL. */
extern char *osa_lines_next(LineBuffer *lines, size_t *len);
extern void osa_lines_free(LineBuffer *lines);

#endif							/* OSA_DOCKER_DECODE_H */
