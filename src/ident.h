/*
 * ident.h
 *		Identity of a container: its name and labels, from the launch id that
 *		was committed before it was created, and back.  Pure.
 */
#ifndef OSA_IDENT_H
#define OSA_IDENT_H

#include "runner/runner.h"
#include "types.h"

#define OSA_LABEL_INSTALL	"osa.install"
#define OSA_LABEL_NODE		"osa.node"
#define OSA_LABEL_DATABASE	"osa.database"
#define OSA_LABEL_RUN		"osa.run"
#define OSA_LABEL_HOOK		"osa.hook_index"
#define OSA_LABEL_ATTEMPT	"osa.attempt"
#define OSA_LABEL_LAUNCH	"osa.launch"
#define OSA_N_LABELS		7

#define OSA_UUID_LEN		36

typedef struct Identity
{
	pg_uuid_t	install;
	char		node[40];
	Oid			database;
	int64		run_id;
	int			hook_index;
	int			attempt;
	pg_uuid_t	launch;
} Identity;

/* Text of the labels of one container; the spec's labels point into it. */
typedef struct IdentityText
{
	char		values[OSA_N_LABELS][48];
} IdentityText;

extern void osa_uuid_text(const pg_uuid_t *uuid, char *text);	/* OSA_UUID_LEN + 1 bytes */
extern void osa_container_name(const pg_uuid_t *launch, char *name);	/* OSA_CONTAINER_NAME_LEN + 1 */
extern void osa_identity_labels(const Identity *identity, IdentityText *text, ContainerSpec *spec);

/* False: labels are not whole, so it is none of ours. */
extern bool osa_identity_parse(const ContainerFacts *facts, Identity *identity);

#endif							/* OSA_IDENT_H */
