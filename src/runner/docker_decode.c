/*
 * docker_decode.c
 *		Decoders of an engine's streams, fed piece by piece.
 *
 * Runs in the worker, inside libcurl's callbacks: nothing here may raise or
 * palloc, and no length that the stream says is trusted.
 */
#include "postgres.h"

#include "docker_decode.h"

/* What is read of a tar before its first file at most, in extensions. */
#define MAX_EXTENSION	(1024 * 1024)

static void ring_put(LogTail *tail, const char *data, size_t len);
static int64 tar_number(const char *field, int len);
static bool tar_header(TarPiece *piece);

void
osa_log_tail_push(LogTail *tail, const char *data, size_t len)
{
	while (len > 0)
	{
		size_t		n;

		if (tail->is_raw)
		{
			ring_put(tail, data, len);
			return;
		}
		if (tail->frame_left > 0)
		{
			n = Min(len, tail->frame_left);
			ring_put(tail, data, n);
			tail->frame_left -= n;
			data += n;
			len -= n;
			continue;
		}
		tail->header[tail->header_len++] = *data++;
		len--;
		if (tail->header_len < 8)
			continue;
		tail->header_len = 0;
		if (tail->header[0] > 2 || tail->header[1] != 0 || tail->header[2] != 0 ||
			tail->header[3] != 0)
		{
			tail->is_raw = true;
			ring_put(tail, (const char *) tail->header, 8);
			continue;
		}
		tail->frame_left = ((uint32) tail->header[4] << 24) | ((uint32) tail->header[5] << 16) |
			((uint32) tail->header[6] << 8) | tail->header[7];
	}
}

size_t
osa_log_tail_copy(const LogTail *tail, char *out)
{
	size_t		at = tail->total % tail->ring_size;

	if (tail->total <= tail->ring_size)
	{
		memcpy(out, tail->ring, tail->total);
		return tail->total;
	}
	memcpy(out, tail->ring + at, tail->ring_size - at);
	memcpy(out + tail->ring_size - at, tail->ring, at);
	return tail->ring_size;
}

static void
ring_put(LogTail *tail, const char *data, size_t len)
{
	if (len > tail->ring_size)
	{
		tail->total += len - tail->ring_size;
		data += len - tail->ring_size;
		len = tail->ring_size;
	}
	while (len > 0)
	{
		size_t		at = tail->total % tail->ring_size;
		size_t		n = Min(len, tail->ring_size - at);

		memcpy(tail->ring + at, data, n);
		tail->total += n;
		data += n;
		len -= n;
	}
}

bool
osa_tar_piece_push(TarPiece *piece, const char *data, size_t len)
{
	while (len > 0 && !piece->done)
	{
		int64		n;

		if (piece->in_file)
		{
			int64		from = Max(piece->position, piece->offset);

			n = Min((int64) len, piece->size - piece->position);
			if (from < piece->position + n)
			{
				int64		wanted = Min(piece->position + n - from, piece->max_len - piece->len);

				memcpy(piece->data + piece->len, data + (from - piece->position), wanted);
				piece->len += wanted;
			}
			piece->position += n;
			piece->done = piece->len == piece->max_len || piece->position == piece->size;
		}
		else if (piece->skip > 0)
		{
			n = Min((int64) len, piece->skip);
			piece->skip -= n;
		}
		else
		{
			n = Min((int64) len, 512 - piece->block_len);
			memcpy(piece->block + piece->block_len, data, n);
			piece->block_len += n;
			if (piece->block_len == 512)
			{
				piece->block_len = 0;
				piece->done = !tar_header(piece);
			}
		}
		data += n;
		len -= n;
	}
	return !piece->done;
}

/* A number of a tar's header; -1 if it is none. */
static int64
tar_number(const char *field, int len)
{
	int64		value = 0;

	/* base 256, for what octal digits can't hold: more than we want */
	if ((unsigned char) field[0] & 0x80)
		return -1;
	while (len > 0 && *field == ' ')
	{
		field++;
		len--;
	}
	for (; len > 0 && *field >= '0' && *field <= '7'; field++, len--)
		value = value * 8 + (*field - '0');
	return len > 0 && *field != '\0' && *field != ' ' ? -1 : value;
}

/* Judges a header block; false: no such file here. */
static bool
tar_header(TarPiece *piece)
{
	int64		size = tar_number(piece->block + 124, 12);

	if (memcmp(piece->block + 257, "ustar", 5) != 0 || size < 0)
		return false;
	switch (piece->block[156])
	{
		case 'x':				/* of the next entry: a long name, times */
		case 'g':
		case 'L':
		case 'K':
			piece->skip = (size + 511) / 512 * 512;
			return size <= MAX_EXTENSION;
		case '0':
		case '\0':
			piece->in_file = true;
			piece->size = size;
			return size > piece->offset && piece->max_len > 0;
		default:
			return false;
	}
}

bool
osa_lines_push(LineBuffer *lines, const char *data, size_t len)
{
	if (lines->start > 0)
	{
		memmove(lines->data, lines->data + lines->start, lines->len - lines->start);
		lines->len -= lines->start;
		lines->start = 0;
	}
	if (lines->skipping)
	{
		const char *newline = memchr(data, '\n', len);

		if (newline == NULL)
			return true;
		lines->skipping = false;
		len -= newline + 1 - data;
		data = newline + 1;
	}
	if (lines->len + len > lines->max)
	{
		/* keep whole lines, and wait for the end of the torn one */
		while (lines->len > 0 && lines->data[lines->len - 1] != '\n')
			lines->len--;
		lines->skipping = memchr(data, '\n', len) == NULL || data[len - 1] != '\n';
		return true;
	}
	if (lines->len + len > lines->allocated)
	{
		size_t		allocated = Max(lines->allocated, 4096);
		char	   *grown;

		while (allocated < lines->len + len)
			allocated *= 2;
		grown = realloc(lines->data, allocated);
		if (grown == NULL)
			return false;
		lines->data = grown;
		lines->allocated = allocated;
	}
	memcpy(lines->data + lines->len, data, len);
	lines->len += len;
	return true;
}

char *
osa_lines_next(LineBuffer *lines, size_t *len)
{
	char	   *line = lines->data + lines->start;
	char	   *newline;

	if (lines->start == lines->len)
		return NULL;
	newline = memchr(line, '\n', lines->len - lines->start);
	if (newline == NULL)
		return NULL;
	*newline = '\0';
	*len = newline - line;
	lines->start += *len + 1;
	return line;
}

void
osa_lines_free(LineBuffer *lines)
{
	free(lines->data);
	memset(lines, 0, sizeof(*lines));
}
