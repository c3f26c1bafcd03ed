/*
 * queue.c
 *		Deliveries that wait, in the worker's memory; see queue.h.
 */
#include "postgres.h"

#include "lib/pairingheap.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "queue.h"

#define LOOK_FIRST_MS	50
#define LOOK_MAX_MS		1000
/* With fewer than this left, what was left out is scanned for. */
#define SCAN_BELOW		250

/* Ready deliveries of one runner. */
typedef struct Lane
{
	char		name[OSA_NAME_MAX + 1];
	pairingheap *ready;
	struct Lane *next;
} Lane;

typedef enum EntryPlace
{
	PLACE_READY,				/* in its lane's heap */
	PLACE_TIMER,				/* in timers, until due */
	PLACE_LOOK					/* in looks */
} EntryPlace;

typedef struct Entry
{
	int64		delivery_id;	/* hash key */
	int32		priority;
	bool		first;			/* was claimed before: goes first */
	bool		look;			/* look at it when due */
	int			look_ms;
	TimestampTz due;
	Lane	   *lane;			/* NULL while only the id is known */
	EntryPlace	place;
	pairingheap_node node;
} Entry;

static HTAB *entries;
static Lane *lanes;
static pairingheap *timers;
static pairingheap *looks;
static int	n_looks;				/* entries in looks */
static bool left_out;

static int	compare_ready(const pairingheap_node *a, const pairingheap_node *b, void *arg);
static int	compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg);
static Lane *get_lane(const char *runner, bool create);
static Entry *enter(int64 delivery_id);
static void place(Entry *entry);
static void unplace(Entry *entry);

void
osa_queue_open(void)
{
	HASHCTL		ctl = {0};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(Entry);
	ctl.hcxt = AllocSetContextCreate(TopMemoryContext, "osa queue", ALLOCSET_DEFAULT_SIZES);
	entries = hash_create("osa queue", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	timers = pairingheap_allocate(compare_due, NULL);
	looks = pairingheap_allocate(compare_due, NULL);
	MemoryContextSwitchTo(old);
	lanes = NULL;
	n_looks = 0;
	left_out = false;
}

void
osa_queue_add(const QueuedDelivery *delivery)
{
	Entry	   *entry = enter(delivery->delivery_id);

	if (entry == NULL)
		return;
	entry->priority = delivery->priority;
	entry->first = delivery->claimed;
	entry->due = delivery->deliver_after;
	entry->look = false;
	entry->lane = get_lane(delivery->runner, true);
	place(entry);
}

void
osa_queue_look(int64 delivery_id, bool again)
{
	Entry	   *entry = enter(delivery_id);

	if (entry == NULL)
		return;
	entry->look = true;
	entry->due = 0;
	if (again)
	{
		entry->look_ms = entry->look_ms == 0 ? LOOK_FIRST_MS : Min(entry->look_ms * 2, LOOK_MAX_MS);
		entry->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), entry->look_ms);
	}
	place(entry);
}

int
osa_queue_n_looks(void)
{
	return n_looks;
}

int
osa_queue_take_looks(int64 *ids, int max)
{
	int			n = 0;

	while (n < max && !pairingheap_is_empty(looks))
	{
		Entry	   *entry = pairingheap_container(Entry, node, pairingheap_first(looks));

		/* it stays in the hash, to be added or forgotten by the caller */
		ids[n++] = entry->delivery_id;
		unplace(entry);
		entry->due = DT_NOEND;
		place(entry);
	}
	return n;
}

void
osa_queue_forget(int64 delivery_id)
{
	Entry	   *entry = hash_search(entries, &delivery_id, HASH_FIND, NULL);

	if (entry == NULL)
		return;
	unplace(entry);
	hash_search(entries, &delivery_id, HASH_REMOVE, NULL);
}

int
osa_queue_pop(const char *runner, int64 *ids, int max)
{
	Lane	   *lane = get_lane(runner, false);
	int			n = 0;

	if (lane == NULL)
		return 0;
	while (n < max && !pairingheap_is_empty(lane->ready))
	{
		Entry	   *entry = pairingheap_container(Entry, node, pairingheap_first(lane->ready));

		ids[n] = entry->delivery_id;
		unplace(entry);
		hash_search(entries, &ids[n], HASH_REMOVE, NULL);
		n++;
	}
	return n;
}

bool
osa_queue_peek(const char *runner, int32 *priority)
{
	Lane	   *lane = get_lane(runner, false);

	if (lane == NULL || pairingheap_is_empty(lane->ready))
		return false;
	*priority = pairingheap_container(Entry, node, pairingheap_first(lane->ready))->priority;
	return true;
}

void
osa_queue_runners(void (*fn) (const char *runner))
{
	for (Lane *lane = lanes; lane != NULL; lane = lane->next)
	{
		if (!pairingheap_is_empty(lane->ready))
			fn(lane->name);
	}
}

void
osa_queue_turn(TimestampTz now)
{
	while (!pairingheap_is_empty(timers))
	{
		Entry	   *entry = pairingheap_container(Entry, node, pairingheap_first(timers));

		if (entry->due > now)
			break;
		unplace(entry);
		entry->due = 0;
		place(entry);
	}
}

TimestampTz
osa_queue_deadline(void)
{
	if (!pairingheap_is_empty(looks))
		return 0;
	if (pairingheap_is_empty(timers))
		return DT_NOEND;
	return pairingheap_container(Entry, node, pairingheap_first(timers))->due;
}

bool
osa_queue_scan_wanted(void)
{
	if (!left_out || hash_get_num_entries(entries) > SCAN_BELOW)
		return false;
	left_out = false;
	return true;
}

/* A scan was cut short: there is more in the table. */
void
osa_queue_left_out(void)
{
	left_out = true;
}

int
osa_queue_length(void)
{
	return (int) hash_get_num_entries(entries);
}

/* Finds or makes an entry, out of every heap; NULL: there is no room. */
static Entry *
enter(int64 delivery_id)
{
	bool		found;
	Entry	   *entry = hash_search(entries, &delivery_id, HASH_FIND, &found);

	if (found)
	{
		unplace(entry);
		return entry;
	}
	if (hash_get_num_entries(entries) >= OSA_QUEUE_MAX)
	{
		left_out = true;
		return NULL;
	}
	entry = hash_search(entries, &delivery_id, HASH_ENTER, NULL);
	entry->priority = 0;
	entry->first = false;
	entry->look_ms = 0;
	entry->lane = NULL;
	return entry;
}

static void
place(Entry *entry)
{
	if (entry->due > GetCurrentTimestamp())
	{
		entry->place = PLACE_TIMER;
		pairingheap_add(timers, &entry->node);
	}
	else if (entry->look || entry->lane == NULL)
	{
		entry->place = PLACE_LOOK;
		pairingheap_add(looks, &entry->node);
		n_looks++;
	}
	else
	{
		entry->place = PLACE_READY;
		pairingheap_add(entry->lane->ready, &entry->node);
	}
}

static void
unplace(Entry *entry)
{
	switch (entry->place)
	{
		case PLACE_READY:
			pairingheap_remove(entry->lane->ready, &entry->node);
			break;
		case PLACE_TIMER:
			pairingheap_remove(timers, &entry->node);
			break;
		case PLACE_LOOK:
			pairingheap_remove(looks, &entry->node);
			n_looks--;
			break;
	}
}

static Lane *
get_lane(const char *runner, bool create)
{
	Lane	   *lane;
	MemoryContext old;

	for (lane = lanes; lane != NULL; lane = lane->next)
	{
		if (strcmp(lane->name, runner) == 0)
			return lane;
	}
	if (!create)
		return NULL;
	old = MemoryContextSwitchTo(TopMemoryContext);
	lane = palloc0(sizeof(Lane));
	strlcpy(lane->name, runner, sizeof(lane->name));
	lane->ready = pairingheap_allocate(compare_ready, NULL);
	MemoryContextSwitchTo(old);
	lane->next = lanes;
	lanes = lane;
	return lane;
}

/* A pairing heap's first element is its largest. */
static int
compare_ready(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const Entry *x = pairingheap_const_container(Entry, node, a);
	const Entry *y = pairingheap_const_container(Entry, node, b);

	(void) arg;
	if (x->first != y->first)
		return x->first ? 1 : -1;
	if (x->priority != y->priority)
		return x->priority > y->priority ? 1 : -1;
	if (x->delivery_id != y->delivery_id)
		return x->delivery_id < y->delivery_id ? 1 : -1;
	return 0;
}

static int
compare_due(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	const Entry *x = pairingheap_const_container(Entry, node, a);
	const Entry *y = pairingheap_const_container(Entry, node, b);

	(void) arg;
	if (x->due != y->due)
		return x->due < y->due ? 1 : -1;
	return 0;
}
