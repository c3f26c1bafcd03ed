/*
 * tar.h
 *		Writing and reading tar archives in spools, by libarchive.  Its
 *		callbacks never raise; what goes wrong is a value.
 */
#ifndef OSA_TAR_H
#define OSA_TAR_H

#include "spool.h"

/* uid and gid of what a hook may write, and as which it runs */
#define OSA_TAR_HOOK_ID		65534

typedef struct TarWriter TarWriter;

/* utf8_names: some path may have other characters than ASCII.  Both are closed
 * with context too. */
extern TarWriter *osa_tar_write_open(MemoryContext context, Spool *spool, bool utf8_names);
extern bool osa_tar_write_folder(TarWriter *writer, const char *path, int id, int mode);
/* A file of root's, 0444; exactly size bytes must follow. */
extern bool osa_tar_write_file(TarWriter *writer, const char *path, int64 size);
extern bool osa_tar_write_data(TarWriter *writer, const void *data, size_t len);
extern bool osa_tar_write_end(TarWriter *writer);	/* the two zero blocks */
extern const char *osa_tar_write_error(const TarWriter *writer);
extern void osa_tar_write_close(TarWriter *writer);

typedef enum TarKind
{
	TAR_FILE,
	TAR_FOLDER,
	TAR_SYMLINK,
	TAR_HARD_LINK,
	TAR_FIFO,
	TAR_DEVICE
} TarKind;

typedef struct TarEntry
{
	const char *path;			/* as it stands there; "" if unreadable */
	TarKind		kind;
	int64		size;			/* of a TAR_FILE */
} TarEntry;

typedef enum TarState
{
	TAR_ENTRY,
	TAR_DATA,
	TAR_END,					/* of the entry, or of the archive */
	TAR_SPARSE,					/* the entry has a hole here */
	TAR_BROKEN
} TarState;

typedef struct TarReader TarReader;

extern TarReader *osa_tar_read_open(MemoryContext context, Spool *spool);
/* The next entry; the one before must have been read to TAR_END. */
extern TarState osa_tar_read_next(TarReader *reader, TarEntry *entry);
/* The next at most 64 KiB of this entry. */
extern TarState osa_tar_read_data(TarReader *reader, const char **data, size_t *len);
extern const char *osa_tar_read_error(const TarReader *reader);
extern void osa_tar_read_close(TarReader *reader);

#endif							/* OSA_TAR_H */
