/*
 * paths.h
 *		What may become a path or an image name, and opening files beneath a
 *		folder.  Texts are UTF-8, whatever the database's encoding.
 */
#ifndef OSA_PATHS_H
#define OSA_PATHS_H

#include "types.h"

/* Longest path of a record's file, and of one component of it, in bytes. */
#define OSA_FILE_PATH_MAX		1024
#define OSA_PATH_COMPONENT_MAX	255
#define OSA_IMAGE_NAME_MAX		512

/*
 * Each returns NULL if it is fine, else a static full sentence for errdetail.
 * A record id is one plain path component; a file path is relative and climbs
 * nowhere; an image name is an OCI reference or sha256:<64 hex digits>.
 */
extern const char *osa_record_id_problem(const char *id, size_t len);
extern const char *osa_file_path_problem(const char *path, size_t len);
extern const char *osa_image_name_problem(const char *image);

typedef enum PathKind
{
	PATH_FILE,					/* a regular file */
	PATH_FOLDER,
	PATH_EITHER
} PathKind;

/*
 * Opens root/rel for reading, following no symbolic link in rel and never
 * leaving root; rel "" is root itself.  Anything but a regular file or a folder
 * is refused without being opened.  On success *fd is the caller's to close (it
 * has to account for it by ReserveExternalFD), and *is_folder tells what it is.
 * Else *failure: FAILURE_CONFIG naming rel, or FAILURE_RUNTIME where it might
 * work later.  Never raises.
 */
extern bool osa_open_beneath(const char *root, const char *rel, PathKind kind,
							 int *fd, bool *is_folder, Failure *failure);

#endif							/* OSA_PATHS_H */
