/*
 * engines.h
 *		The runners of this database as the worker sees them now: configured,
 *		up or down, and what they are asked beside the attempts' own calls:
 *		probe, stream of ends, list, removal of what nobody needs.
 *
 * No SPI here: what needs the tables is asked of flight.c (EngineHooks).
 */
#ifndef OSA_ENGINES_H
#define OSA_ENGINES_H

#include "ident.h"
#include "lib/ilist.h"
#include "runner/runner.h"
#include "store/store.h"

typedef enum EngineState
{
	ENGINE_DOWN,				/* not reached yet, or not any more */
	ENGINE_PROBING,
	ENGINE_LISTING,				/* answers; what is ours there is being sorted */
	ENGINE_UP
} EngineState;

typedef struct ListedContainer
{
	char		name[OSA_CONTAINER_NAME_LEN + 1];
	Identity	identity;
	ContainerPhase phase;
} ListedContainer;

/* Images seen at an engine lately. */
#define OSA_IMAGES_SEEN	16

typedef struct ImageSeen
{
	char		id[80];
	TimestampTz at;
} ImageSeen;

typedef struct Engine
{
	dlist_node	node;
	RunnerRow	row;			/* as configured; name is the key */
	bool		configured;		/* false: no such runner (any more) */
	bool		noop;
	EngineState state;
	Runner	   *runner;			/* NULL while its kind needs none */
	char		endpoint[128];	/* that runner was opened with */
	RunnerCall *call;			/* probe or list under way */
	RunnerCall *watch;
	bool		watch_broke;
	bool		suspect;		/* probe it though it is up */
	bool		sorting;		/* the list is there and not sorted yet */
	bool		reply_ready;
	RunnerVerdict verdict;
	MemoryContext list_context;
	int			n_listed;
	ListedContainer *listed;	/* of the last list, ours alone */
	TimestampTz next_at;		/* next probe or list; DT_NOEND: none */
	int			failures;		/* in a row */
	bool		ever_up;
	bool		warned;
	bool		exhausted;		/* until a container was started again */
	TimestampTz since;			/* of up or down */
	TimestampTz down_since;		/* of the last time it was down */
	char		version[64];
	char		last_error[256];
	char		unenforced[256];
	ImageSeen	images[OSA_IMAGES_SEEN];
	int			in_flight;		/* attempts that hold a place */
	int			n_returning;	/* attempts that gave their place up and want one */
	int			n_busy;			/* attempts between create and start, or collecting */
	int			n_progress;		/* progress reads under way */
	int			n_removals;		/* of leftovers, under way */
	int			shown;			/* entry in shared memory, -1: none */
	int			in_flight_shown;	/* what stands there */
	bool		show_again;		/* something else is not as it stands there */
} Engine;

/* What the engines need of the flights. */
typedef struct EngineHooks
{
	/* the engine is up again: flights on it look where they stand */
	void		(*up) (Engine *engine);
	/* it went down: flights on it stop calling */
	void		(*down) (Engine *engine);
	/* a container may have ended */
	void		(*notice) (Engine *engine, const char *name);
	/* a list came: disposes of what no step needs; false: try later */
	bool		(*sort) (Engine *engine);
	/* does anything in flight or waiting need it? */
	bool		(*wanted) (Engine *engine);
} EngineHooks;

extern void osa_engines_open(const EngineHooks *hooks, const char *node);
extern void osa_engines_close(void);

/* Takes over the configuration; "local" and "" exist without a row. */
extern void osa_engines_configure(const RunnerRow *rows, int n);
/* Never NULL: an unknown name is an engine that is not configured. */
extern Engine *osa_engine_get(const char *name);
extern int	osa_engine_max_in_flight(const Engine *engine);
extern int64 osa_engine_max_memory(const Engine *engine);
extern int	osa_engine_max_busy(void);
/* Have all that are in use n places? */
extern bool osa_engines_have_room(int n);
/* Has it a place for one more attempt? */
extern int	osa_engine_room(const Engine *engine);

/* A call of an attempt found it unreachable, or out of disk or pids. */
extern void osa_engine_failed(Engine *engine, const char *message, bool exhausted);
/* A call got a 5xx: is the engine well?  Probed soon. */
extern void osa_engine_suspect(Engine *engine);
/* A container was started: the engine is well. */
extern void osa_engine_started(Engine *engine);

/* An image that was there a moment ago need not be asked for: should it be
 * gone, create says so (osa_engine_forget_images, and ask). */
extern bool osa_engine_saw_image(const Engine *engine, const char *id);
extern void osa_engine_note_image(Engine *engine, const char *id);
extern void osa_engine_forget_images(Engine *engine);

/* Removes a container that nothing needs any more, retrying; whoever calls has
 * seen to the gate (durable first). */
extern void osa_engine_dispose(Engine *engine, const char *container, bool leftover);

/* What of a container's limits it does not enforce, as it says; "": all is. */
extern void osa_engine_enforces(Engine *engine, const char *unenforced);

extern void osa_engines_turn(TimestampTz now);
/* The disposals' part of that; returns how many are still to be done. */
extern int	osa_disposals_turn(TimestampTz now);
/* Brings what others see of the engines up to date; at the end of a turn. */
extern void osa_engines_show(void);
extern TimestampTz osa_engines_deadline(void);

#endif							/* OSA_ENGINES_H */
