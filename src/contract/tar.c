/*
 * tar.c
 *		Writing and reading tar archives in spools, by libarchive.
 *
 * Runs in the worker.  Nothing here raises once the object is made; nothing
 * is extracted, ever.
 */
#include "postgres.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <time.h>

#include "utils/memutils.h"

#include "tar.h"

#define TAR_BUFFER		(64 * 1024)
/* an archive ends with two blocks of zeros */
#define TAR_END_BYTES	1024

struct TarWriter
{
	MemoryContext context;		/* its own */
	MemoryContextCallback reset;
	struct archive *archive;
	struct archive_entry *entry;
	Spool	   *spool;			/* NULL: write nothing more */
	time_t		now;
	char		error[256];
};

struct TarReader
{
	MemoryContext context;		/* its own */
	MemoryContextCallback reset;
	struct archive *archive;
	Spool	   *spool;
	bool		opened;
	int64		size;			/* of the entry */
	int64		position;		/* in it */
	int64		n_read;			/* from the spool */
	int			spool_errno;
	char		error[256];
	char		buffer[TAR_BUFFER];
};

static void writer_release(void *arg);
static bool write_header(TarWriter *writer, const char *path, int type, int id, int mode, int64 size);
static bool write_failed(TarWriter *writer);
static la_ssize_t write_callback(struct archive *archive, void *arg, const void *data, size_t len);
static void reader_release(void *arg);
static TarState read_end(TarReader *reader);
static TarState read_failed(TarReader *reader);
static TarKind entry_kind(struct archive_entry *entry);
static la_ssize_t read_callback(struct archive *archive, void *arg, const void **data);

TarWriter *
osa_tar_write_open(MemoryContext context, Spool *spool, bool utf8_names)
{
	MemoryContext own = AllocSetContextCreate(context, "osa tar writer", ALLOCSET_SMALL_SIZES);
	TarWriter  *writer = MemoryContextAllocZero(own, sizeof(TarWriter));
	bool		good;

	writer->context = own;
	writer->reset.func = writer_release;
	writer->reset.arg = writer;
	MemoryContextRegisterResetCallback(own, &writer->reset);

	writer->spool = spool;
	writer->now = time(NULL);
	writer->archive = archive_write_new();
	writer->entry = archive_entry_new();
	good = writer->archive != NULL && writer->entry != NULL &&
		archive_write_set_format_pax_restricted(writer->archive) == ARCHIVE_OK &&
	/* no blocking, or it pads the end with zeros that some engine chokes on */
		archive_write_set_bytes_per_block(writer->archive, 0) == ARCHIVE_OK &&
		archive_write_set_bytes_in_last_block(writer->archive, 1) == ARCHIVE_OK;

	/*
	 * Names are bytes to us.  libarchive would take them for text in the
	 * process's locale and convert them; this keeps it from that, but costs a
	 * KiB an entry.
	 */
	if (good && utf8_names)
		good = archive_write_set_options(writer->archive, "hdrcharset=BINARY") == ARCHIVE_OK;
	good = good && archive_write_open(writer->archive, writer, NULL, write_callback, NULL) == ARCHIVE_OK;
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not start writing an archive")));
	return writer;
}

void
osa_tar_write_close(TarWriter *writer)
{
	MemoryContextDelete(writer->context);
}

bool
osa_tar_write_folder(TarWriter *writer, const char *path, int id, int mode)
{
	return write_header(writer, path, AE_IFDIR, id, mode, 0);
}

bool
osa_tar_write_file(TarWriter *writer, const char *path, int64 size)
{
	return write_header(writer, path, AE_IFREG, 0, 0444, size);
}

bool
osa_tar_write_data(TarWriter *writer, const void *data, size_t len)
{
	la_ssize_t	put;

	if (len == 0)
		return true;
	errno = 0;
	put = archive_write_data(writer->archive, data, len);
	if (put == (la_ssize_t) len)
		return true;
	if (put >= 0)
	{
		/* more than the header said: libarchive leaves the rest out */
		snprintf(writer->error, sizeof(writer->error), "too much data for an entry");
		return false;
	}
	return write_failed(writer);
}

bool
osa_tar_write_end(TarWriter *writer)
{
	errno = 0;
	if (archive_write_close(writer->archive) != ARCHIVE_OK)
		return write_failed(writer);
	writer->spool = NULL;
	return true;
}

const char *
osa_tar_write_error(const TarWriter *writer)
{
	return writer->error;
}

/* Reset callback.  Freeing an archive that is not whole would end it first. */
static void
writer_release(void *arg)
{
	TarWriter  *writer = arg;

	writer->spool = NULL;
	archive_entry_free(writer->entry);
	archive_write_free(writer->archive);
}

static bool
write_header(TarWriter *writer, const char *path, int type, int id, int mode, int64 size)
{
	struct archive_entry *entry = writer->entry;

	archive_entry_clear(entry);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, mode);
	archive_entry_set_uid(entry, id);
	archive_entry_set_gid(entry, id);
	archive_entry_set_mtime(entry, writer->now, 0);
	archive_entry_set_size(entry, size);
	errno = 0;
	return archive_write_header(writer->archive, entry) == ARCHIVE_OK || write_failed(writer);
}

static bool
write_failed(TarWriter *writer)
{
	const char *error = archive_error_string(writer->archive);

	if (writer->error[0] == '\0')
		strlcpy(writer->error, error != NULL ? error : "unexpected end", sizeof(writer->error));
	return false;
}

/* Called by libarchive: must not raise. */
static la_ssize_t
write_callback(struct archive *archive, void *arg, const void *data, size_t len)
{
	TarWriter  *writer = arg;

	if (writer->spool == NULL)
		return len;
	if (osa_spool_write(writer->spool, data, len))
		return len;
	snprintf(writer->error, sizeof(writer->error), "%s", strerror(errno));
	archive_set_error(archive, errno, "%s", writer->error);
	writer->spool = NULL;
	return -1;
}

TarReader *
osa_tar_read_open(MemoryContext context, Spool *spool)
{
	MemoryContext own = AllocSetContextCreate(context, "osa tar reader", ALLOCSET_SMALL_SIZES);
	TarReader  *reader = MemoryContextAllocZero(own, sizeof(TarReader));

	reader->context = own;
	reader->reset.func = reader_release;
	reader->reset.arg = reader;
	MemoryContextRegisterResetCallback(own, &reader->reset);

	reader->spool = spool;
	reader->archive = archive_read_new();
	if (reader->archive == NULL || archive_read_support_format_tar(reader->archive) != ARCHIVE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not start reading an archive")));
	return reader;
}

void
osa_tar_read_close(TarReader *reader)
{
	MemoryContextDelete(reader->context);
}

TarState
osa_tar_read_next(TarReader *reader, TarEntry *entry)
{
	struct archive_entry *found;
	const char *path;
	int			code;

	if (!reader->opened)
	{
		/* it reads the first block: whatever is wrong with that shows here */
		reader->opened = true;
		if (archive_read_open(reader->archive, reader, NULL, read_callback, NULL) != ARCHIVE_OK)
			return read_failed(reader);
	}
	code = archive_read_next_header(reader->archive, &found);
	if (code == ARCHIVE_EOF)
		return read_end(reader);
	/* a warning is about a name that the locale can't express: let it be */
	if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
		return read_failed(reader);

	reader->position = 0;
	path = archive_entry_pathname(found);
	entry->path = path != NULL ? path : "";
	entry->kind = entry_kind(found);
	entry->size = entry->kind == TAR_FILE ? archive_entry_size(found) : 0;
	reader->size = entry->size;
	if (entry->kind == TAR_FILE && (!archive_entry_size_is_set(found) || entry->size < 0))
		return read_failed(reader);
	return TAR_ENTRY;
}

TarState
osa_tar_read_data(TarReader *reader, const char **data, size_t *len)
{
	const void *block;
	la_int64_t	offset;
	int			code;

	code = archive_read_data_block(reader->archive, &block, len, &offset);
	if (code == ARCHIVE_EOF)
		return reader->position < reader->size ? TAR_SPARSE : TAR_END;
	if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
		return read_failed(reader);
	if (offset != reader->position)
		return TAR_SPARSE;
	reader->position += *len;
	*data = block;
	return TAR_DATA;
}

const char *
osa_tar_read_error(const TarReader *reader)
{
	return reader->error;
}

/* Reset callback. */
static void
reader_release(void *arg)
{
	TarReader  *reader = arg;

	archive_read_free(reader->archive);
}

/*
 * Was it really the end?  libarchive takes a missing end for one, but an
 * archive that breaks off between two entries has lost the rest of them.  The
 * header that was looked for last must have been two blocks of zeros.
 */
static TarState
read_end(TarReader *reader)
{
	ssize_t		got;
	const void *data;

	do
		got = read_callback(reader->archive, reader, &data);
	while (got > 0);
	if (got == 0 &&
		reader->n_read - archive_read_header_position(reader->archive) >= TAR_END_BYTES)
		return TAR_END;
	if (got == 0)
		strlcpy(reader->error, "archive breaks off", sizeof(reader->error));
	return read_failed(reader);
}

static TarState
read_failed(TarReader *reader)
{
	const char *error = archive_error_string(reader->archive);

	if (reader->spool_errno != 0)
		strlcpy(reader->error, strerror(reader->spool_errno), sizeof(reader->error));
	else if (reader->error[0] == '\0')
		strlcpy(reader->error, error != NULL ? error : "unexpected header", sizeof(reader->error));
	return TAR_BROKEN;
}

static TarKind
entry_kind(struct archive_entry *entry)
{
	if (archive_entry_hardlink(entry) != NULL)
		return TAR_HARD_LINK;
	switch (archive_entry_filetype(entry))
	{
		case AE_IFREG:
			return TAR_FILE;
		case AE_IFDIR:
			return TAR_FOLDER;
		case AE_IFLNK:
			return TAR_SYMLINK;
		case AE_IFIFO:
			return TAR_FIFO;
		default:
			return TAR_DEVICE;
	}
}

/* Called by libarchive: must not raise. */
static la_ssize_t
read_callback(struct archive *archive, void *arg, const void **data)
{
	TarReader  *reader = arg;
	ssize_t		got = osa_spool_read(reader->spool, reader->buffer, sizeof(reader->buffer));

	if (got < 0)
	{
		reader->spool_errno = errno;
		archive_set_error(archive, errno, "could not read");
		return -1;
	}
	reader->n_read += got;
	*data = reader->buffer;
	return got;
}
