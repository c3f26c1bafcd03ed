/*
 * step.pml
 *		One run of two hooks, from claim to removal, with everything that may
 *		strike meanwhile.  What stands for which C function, and what is left
 *		out, is in README.md.  check.sh runs it.
 *
 * Every state is in variables, not in places of a program: each process is one
 * loop of guarded steps, so that a crash can forget what a worker knew.
 */

/* How much may happen; check.sh sets others. */
#ifndef CRASHES
#define CRASHES		1			/* of the worker or of the server */
#endif
#ifndef RESTARTS
#define RESTARTS	1			/* of the engine, or of its host */
#endif
#ifndef CANCELS
#define CANCELS		1
#endif
#ifndef RETRIES
#define RETRIES		1			/* osa_retry_validation */
#endif
#ifndef BAD_EXITS
#define BAD_EXITS	1			/* hooks that end otherwise than with 0 */
#endif
#ifndef GIVE_UPS
#define GIVE_UPS	0			/* failures while the container runs on */
#endif
#ifndef FAILED_REMOVALS
#define FAILED_REMOVALS 0
#endif

#define HOOKS		2
#define ROUNDS		2
#define ATTEMPTS	2			/* a step and round */
#define RERUNS		1			/* free ones, a launch */

#ifdef LAUNCH_BY_CLAIM
#define N_ATTEMPTS	(ATTEMPTS + 2)
#else
#define N_ATTEMPTS	ATTEMPTS
#endif

/* A launch_id is as good as (step, round, attempt): all three are its own. */
#define LAUNCHES	(HOOKS * ROUNDS * N_ATTEMPTS)
#define LAUNCH(s, r, a)	(((s) * ROUNDS + (r)) * N_ATTEMPTS + (a))
#define STEP(l)		((l) / (ROUNDS * N_ATTEMPTS))
#define ROUND(l)	(((l) / N_ATTEMPTS) % ROUNDS)
#define ATTEMPT(l)	((l) % N_ATTEMPTS)
#define STEP_ROUND(l) ((l) / N_ATTEMPTS)

/* ---- the database ---- */

/* of the run; NOT_THERE: its submission is not on disk */
#define NOT_THERE	0
#define OPEN		1
#define COMPLETED	2
#define FAILED		3
#define CANCELLED	4

/* of the delivery */
#define GONE		0
#define PENDING		1
#define CLAIMED		2

typedef Db
{
	byte		status;
	byte		step;			/* current_hook_index */
	byte		round;
	byte		attempt;		/* with the others: run_hook.launch_id */
	byte		reruns;
	byte		delivery;
	byte		claims;			/* 2: more than one */
	byte		saved;			/* a bit a step with outcomes */
	byte		ended;			/* a bit a round with a terminal event */
};

Db			db;					/* what a transaction sees */
Db			disk;				/* what a crash leaves */
Db			own;				/* db as of the worker's last commit ... */
bool		own_pending;		/* ... which is not known to be on disk */

inline copy_db(to, from)
{
	to.status = from.status;
	to.step = from.step;
	to.round = from.round;
	to.attempt = from.attempt;
	to.reruns = from.reruns;
	to.delivery = from.delivery;
	to.claims = from.claims;
	to.saved = from.saved;
	to.ended = from.ended
}

/* no two states that differ in what nobody asks for any more */
inline forget_own()
{
	own_pending = false;
	own.status = 0;
	own.step = 0;
	own.round = 0;
	own.attempt = 0;
	own.reruns = 0;
	own.delivery = 0;
	own.claims = 0;
	own.saved = 0;
	own.ended = 0
}

/* The WAL is on disk in order, so all before is there too. */
inline commit_sync()
{
	copy_db(disk, db);
	forget_own()
}

inline commit_async()
{
	copy_db(own, db);
	own_pending = true
}

/* XLogFlush of the worker's own commit: what came after it may stay behind. */
inline flush()
{
	if
	:: own_pending ->
		copy_db(disk, own);
		forget_own()
	:: else
	fi
}

#define IS_CURRENT(d, l) \
	(d.status == OPEN && d.step == STEP(l) && d.round == ROUND(l) && d.attempt == ATTEMPT(l))
/* it was written down once that there would be this launch */
#define IS_KNOWN(d, l) \
	(d.status != NOT_THERE && (d.round > ROUND(l) || (d.round == ROUND(l) && \
	 (d.step > STEP(l) || (d.step == STEP(l) && d.attempt >= ATTEMPT(l))))))
#define HAS_ENDED(d) (d.status > OPEN)

/* ---- the engine ---- */

/* a container, by its launch */
#define NONE		0
#define EMPTY		1			/* created, its input not whole */
#define WHOLE		2
#define RUNNING		3
#define WELL		4			/* ended with 0 */
#define BADLY		5
#define LOST		6			/* a restart of the host left this */

byte		container[LAUNCHES];
byte		n_containers;
/* of a step and round: a run of its hook goes on or ended well, and nothing took it */
bool		good[HOOKS * ROUNDS];

/* A property; check.sh tells its name when it is violated. */
#define HOLDS(name, condition) assert(condition)

#define IS_PRECIOUS(l) (container[l] >= RUNNING && container[l] <= BADLY)

/* what is asked of it: one call of the flight, and one that nobody waits for */
#define NO_CALL		0
#define INSPECT		1
#define CREATE		2
#define PUT			3
#define START		4
#define KILL		5
#define REMOVE		6
#define LIST		7

#define NO_REPLY	255			/* else: how the container stood before */

byte		call;
byte		reply = NO_REPLY;
byte		late_call;			/* CREATE or START */
byte		late_launch;

byte		bad_exits = BAD_EXITS;

/* ---- the worker ---- */

#define ENGINE_DOWN	0
#define ENGINE_LISTING 1
#define ENGINE_UP	2

bool		worker;				/* it runs */
byte		engine;				/* as it knows it */
bool		disposed[LAUNCHES];	/* to be removed */
bool		leftover[LAUNCHES];	/* ... and not tried yet: attempts wait */
byte		n_disposals;
byte		n_leftovers;
byte		give_ups = GIVE_UPS;
byte		failed_removals = FAILED_REMOVALS;

/* its flight */
#define P_NONE		0
#define P_RESOLVE	1
#define P_REPLACE	2
#define P_CREATE	3
#define P_PUT		4
#define P_START		5
#define P_RUNNING	6
#define P_COLLECT	7
#define P_COMMIT	8
#define P_REMOVE	9
#define P_VOID		10
#define P_VOID_INSPECT 11
#define P_VOID_RECORD 12
#define P_LOAD		13
#define P_CLEAR		14

#define R_WELL		0
#define R_FINAL		1			/* hook_exit, config: no other attempt */
#define R_FAILED	2			/* oom, timeout, runtime */
#define R_LOST		3

byte		phase;
byte		launch;
byte		reruns;				/* as it was read */
bool		holds;				/* its token is the delivery's */
bool		is_void;
bool		maybe_exists;
bool		may_have_run;
byte		result;
bool		keep;
bool		rerun;				/* REMOVE goes on with the same launch */

#define NEEDS_ENGINE (phase != P_NONE && phase != P_LOAD && phase != P_COMMIT && phase != P_VOID_RECORD)
#define MAY_ASK		(worker && engine == ENGINE_UP && call == NO_CALL && reply == NO_REPLY)
#define HAS_REPLY	(worker && reply != NO_REPLY)

/* ---- effects outside, and what must be true when they come ---- */

byte		i;					/* for loops within one step */

inline effect_create(l)
{
	HOLDS("nothing is done before what it relies on is on disk", IS_KNOWN(disk, l));
	i = 0;
	do
	:: i < l ->
		HOLDS("an attempt begins when the container before is gone", STEP(i) != STEP(l) || !IS_PRECIOUS(i));
		i++
	:: else -> break
	od;
	i = 0;
	if
	:: container[l] == NONE ->
		printf("engine: container %d created\n", l);
		container[l] = EMPTY;
		n_containers++
	:: else
	fi
}

inline effect_start(l)
{
	if
	:: container[l] == WHOLE ->
		printf("engine: container %d started\n", l);
		HOLDS("no hook runs again while its container survives", !good[STEP_ROUND(l)]);
		good[STEP_ROUND(l)] = true;
		HOLDS("no hook runs again after its commit", !(db.saved & (1 << STEP(l))) || db.round != ROUND(l));
		container[l] = RUNNING
#ifdef START_RESTARTS
	:: container[l] == WELL ->
		printf("engine: container %d started once more\n", l);
		HOLDS("no hook runs again while its container survives", !good[STEP_ROUND(l)])
#endif
	:: else
	fi
}

/* What a step on disk still needs is neither killed nor removed. */
inline effect_kill(l)
{
	if
	:: container[l] == RUNNING ->
		printf("engine: container %d killed\n", l);
		HOLDS("nothing is done before what it relies on is on disk", !IS_CURRENT(disk, l));
		container[l] = BADLY
	:: else
	fi
}

inline effect_remove(l)
{
	if
	:: container[l] != NONE ->
		printf("engine: container %d removed\n", l);
		HOLDS("nothing is done before what it relies on is on disk", !IS_PRECIOUS(l) || !IS_CURRENT(disk, l));
		container[l] = NONE;
		n_containers--
	:: else
	fi
}

inline perform(c, l)
{
	if
	:: c == CREATE -> effect_create(l)
	:: c == START -> effect_start(l)
	:: c == KILL -> effect_kill(l)
	:: c == REMOVE -> effect_remove(l)
	:: c == PUT && container[l] == EMPTY -> container[l] = WHOLE
	:: else
	fi
}

/* ---- flights ---- */

inline end_flight()
{
	phase = P_NONE;
	launch = 0;
	reruns = 0;
	holds = false;
	is_void = false;
	maybe_exists = false;
	may_have_run = false;
	result = 0;
	keep = false;
	rerun = false
}

/* The engine may still be at it: a create or a start comes late or never. */
inline abort_call()
{
	if
	:: call == CREATE || call == START ->
		if
		:: late_call = call; late_launch = launch
		:: true
		fi
	:: call == KILL || call == REMOVE || call == PUT ->
		if
		:: perform(call, launch)
		:: true
		fi
	:: else
	fi;
	call = NO_CALL;
	reply = NO_REPLY
}

inline enter(p)
{
	phase = p;
	call = NO_CALL;
	reply = NO_REPLY
}

inline judge(r)
{
	result = r;
	enter(P_COMMIT)
}

inline void_flight()
{
	if
	:: is_void || (holds == false && keep == false && phase == P_REMOVE)
	:: else ->
		printf("worker: flight of container %d is void\n", launch);
		is_void = true;
		if
		:: phase == P_REMOVE
		:: phase != P_REMOVE ->
			abort_call();
			if
			:: maybe_exists -> enter(P_VOID)
			:: else -> end_flight()
			fi
		fi
	fi
}

inline dispose(l, is_leftover)
{
	if
	:: !disposed[l] ->
		disposed[l] = true;
		n_disposals++;
		if
		:: is_leftover -> leftover[l] = true; n_leftovers++
		:: else
		fi
	:: else
	fi
}

inline new_container(l)
{
	launch = l;
	maybe_exists = false;
	may_have_run = false;
	result = 0;
	keep = false;
	rerun = false
}

inline next_attempt()
{
	if
	:: is_void || !keep -> end_flight(); enter(P_NONE)
	:: else ->
#ifdef TOKEN_AFTER_REMOVAL
		holds = db.delivery == CLAIMED;
#endif
		if
		:: rerun -> reruns++; new_container(launch)
		:: else -> reruns = 0; new_container(launch + 1)
		fi;
		enter(P_CREATE)
	fi
}

inline emit_terminal()
{
	HOLDS("one terminal event a round", !(db.ended & (1 << db.round)));
	db.ended = db.ended | (1 << db.round)
}

inline save_outcomes()
{
	HOLDS("one commit a step", !(db.saved & (1 << db.step)));
	db.saved = db.saved | (1 << db.step)
}

/* The delivery moves on: kept under a new token, or to be claimed again. */
inline move_on()
{
	if
	:: keep = true; printf("flight: keeps the claim\n"); db.delivery = CLAIMED; db.claims = 1
	:: keep = false; db.delivery = PENDING; db.claims = 0; holds = false
	fi
}

inline end_run(s)
{
	printf("flight: ends the run, status %d\n", s);
	db.status = s;
	db.delivery = GONE;
	db.claims = 0;
	emit_terminal();
	commit_async();
	if
	:: maybe_exists -> dispose(launch, false)
	:: else
	fi;
	end_flight()
}

inline commit_step()
{
	printf("flight: commits result %d of container %d\n", result, launch);
#ifndef NO_FENCE
	HOLDS("a result is committed for its own launch", IS_CURRENT(db, launch));
#endif
	if
	:: result == R_FAILED || result == R_FINAL -> good[STEP_ROUND(launch)] = false
	:: else
	fi;
	if
	:: result == R_WELL && db.step + 1 < HOOKS ->
		save_outcomes();
		db.step++;
		db.attempt = 0;
		db.reruns = 0;
		move_on();
		commit_async();
		if
		:: maybe_exists -> dispose(launch, false)
		:: else
		fi;
		if
		:: keep -> reruns = 0; new_container(LAUNCH(db.step, db.round, 0)); enter(P_CREATE)
		:: else -> end_flight()
		fi
	:: result == R_WELL && db.step + 1 == HOOKS ->
		save_outcomes();
		db.step++;
		end_run(COMPLETED)
	:: result == R_LOST && reruns < RERUNS ->
		db.reruns++;
		rerun = true;
		move_on();
		commit_async();
		after_retry()
	:: result == R_FINAL || (result != R_WELL && !(result == R_LOST && reruns < RERUNS) && db.attempt + 1 >= ATTEMPTS) ->
		end_run(FAILED)
	:: else ->
		db.attempt++;
		db.reruns = 0;
		move_on();
		commit_async();
		after_retry()
	fi
}

inline after_retry()
{
#ifdef TOKEN_AFTER_REMOVAL
	holds = false;
#endif
#ifdef NO_WAIT_FOR_REMOVAL
	if
	:: maybe_exists -> dispose(launch, false)
	:: else
	fi;
	next_attempt()
#else
	if
	:: maybe_exists -> enter(P_REMOVE)
	:: else -> next_attempt()
	fi
#endif
}

#define IS_RUNNING(l) (container[l] == RUNNING)
#define ANY_4(is, l) (is(l) || is((l) + 1) || is((l) + 2) || is((l) + 3))
#ifdef LAUNCH_BY_CLAIM
#define ANY(is)		(ANY_4(is, 0) || ANY_4(is, 4) || ANY_4(is, 8) || ANY_4(is, 12))
#else
#define ANY(is)		(ANY_4(is, 0) || ANY_4(is, 4))
#endif
#define IS_EARLIER(l) (container[l] != NONE && STEP(l) == STEP(launch) && (l) != launch)
#define IS_EARLIER_ON_ITS_WAY(l) (IS_EARLIER(l) && disposed[l])

inline load()
{
	launch = LAUNCH(db.step, db.round, db.attempt);
	printf("worker: begins a flight for container %d\n", launch);
	reruns = db.reruns;
	maybe_exists = db.claims > 1;
	may_have_run = db.claims > 1;
	if
#ifndef NO_CLEARING
	:: ROUND(launch) > 0 || ATTEMPT(launch) > 0 -> enter(P_CLEAR)
	:: else ->
#else
	:: true ->
#endif
		if
		:: maybe_exists -> enter(P_RESOLVE)
		:: else -> enter(P_CREATE)
		fi
	fi
}

inline dispose_earlier()
{
	i = 0;
	do
	:: i < LAUNCHES ->
		if
		:: IS_EARLIER(i) -> dispose(i, false)
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

#ifdef NO_FENCE
#define HELD true
#elif defined(NO_TOKEN)
#define HELD (db.status == OPEN && db.step == STEP(launch) && db.delivery != GONE)
#else
#define HELD (holds)
#endif

proctype Flight()
{
end:
	do
	/* its claim may be gone already; of what it reads then, nothing is on disk for sure */
	:: atomic { worker && phase == P_LOAD ->
		if
#ifdef LOAD_WITHOUT_TOKEN
		:: db.status == OPEN -> load()
#else
		:: holds -> load()
#endif
		:: else -> end_flight()
		fi }

	/* ask */
	:: atomic { MAY_ASK && phase == P_CLEAR && !ANY(IS_EARLIER_ON_ITS_WAY) -> call = LIST }
	:: atomic { MAY_ASK && phase == P_RESOLVE -> call = INSPECT }
	:: atomic { MAY_ASK && phase == P_REPLACE -> flush(); call = REMOVE }
	:: atomic { MAY_ASK && phase == P_CREATE ->
#ifndef CREATE_BEFORE_FLUSH
		flush();
#endif
		maybe_exists = true; call = CREATE }
	:: atomic { MAY_ASK && phase == P_PUT -> call = PUT }
	:: atomic { MAY_ASK && phase == P_START ->
#ifndef CREATE_BEFORE_FLUSH
		flush();
#endif
		may_have_run = true; call = START }
	/* looks when the engine tells of an end, or a list shows it */
	:: atomic { MAY_ASK && phase == P_RUNNING && container[launch] != RUNNING -> call = INSPECT }
	:: atomic { MAY_ASK && phase == P_REMOVE ->
#ifndef REMOVAL_BEFORE_FLUSH
		flush();
#endif
		call = REMOVE }
	:: atomic { MAY_ASK && phase == P_VOID -> call = KILL }
	:: atomic { MAY_ASK && phase == P_VOID_INSPECT -> call = INSPECT }

	/* act on the answer */
	:: atomic { HAS_REPLY && phase == P_CLEAR ->
		if
		:: reply == NONE && maybe_exists -> enter(P_RESOLVE)
		:: reply == NONE && !maybe_exists -> enter(P_CREATE)
		:: else ->
			flush();
			dispose_earlier();
			enter(P_CLEAR)
		fi }
	:: atomic { HAS_REPLY && (phase == P_RESOLVE || phase == P_RUNNING) ->
		if
		:: reply == NONE ->
			maybe_exists = false;
			if
			:: may_have_run -> judge(R_LOST)
			:: else -> enter(P_CREATE)
			fi
		:: reply == EMPTY -> maybe_exists = true; enter(P_REPLACE)
		:: reply == WHOLE -> maybe_exists = true; enter(P_START)
		:: reply == RUNNING -> maybe_exists = true; may_have_run = true; enter(P_RUNNING)
		:: reply == WELL || reply == BADLY -> maybe_exists = true; may_have_run = true; enter(P_COLLECT)
		:: reply == LOST -> maybe_exists = true; judge(R_LOST)
		fi }
	:: atomic { HAS_REPLY && phase == P_REPLACE ->
		maybe_exists = false; may_have_run = false; enter(P_CREATE) }
	:: atomic { HAS_REPLY && phase == P_CREATE ->
		if
		:: reply == NONE -> enter(P_PUT)
		:: else -> enter(P_RESOLVE)
		fi }
	:: atomic { HAS_REPLY && phase == P_PUT ->
		if
		:: reply == NONE -> enter(P_RESOLVE)
		:: else -> enter(P_START)
		fi }
	:: atomic { HAS_REPLY && phase == P_START ->
		if
		:: reply == NONE -> judge(R_FAILED)
		:: reply == LOST || reply == EMPTY -> judge(R_FINAL)
		:: else -> enter(P_RUNNING)
		fi }
	/* five strikes, one that can't be killed or inspected, an internal error */
	:: atomic { MAY_ASK && phase == P_RUNNING && container[launch] == RUNNING && give_ups > 0 ->
		give_ups--;
		printf("flight: fails, container %d runs on\n", launch);
		if
		:: judge(R_FAILED)
		:: judge(R_FINAL)
		fi }
	:: atomic { MAY_ASK && phase == P_COLLECT ->
		if
		:: container[launch] == WELL -> judge(R_WELL)
		:: container[launch] == BADLY -> judge(R_FINAL)
		:: container[launch] == BADLY -> judge(R_FAILED)
		:: else -> judge(R_FAILED)
		fi }

	/* the step's one transaction */
	:: atomic { worker && phase == P_COMMIT ->
		if
		:: HELD -> commit_step()
		:: else ->
#ifndef REFUSED_BY_READING
			commit_sync();
#endif
			void_flight()
		fi }

	:: atomic { HAS_REPLY && phase == P_REMOVE -> next_attempt() }
	:: atomic { HAS_REPLY && phase == P_VOID -> enter(P_VOID_INSPECT) }
	:: atomic { HAS_REPLY && phase == P_VOID_INSPECT ->
		if
		:: reply == NONE -> end_flight(); enter(P_NONE)
		:: else -> enter(P_VOID_RECORD)
		fi }
	:: atomic { worker && phase == P_VOID_RECORD -> commit_sync(); enter(P_REMOVE) }
	od
}

/* Not of a flight, of no step: nobody's any more. */
#define IS_OURS(l)	(phase != P_NONE && phase != P_LOAD && launch == (l))
#define IS_LEFT(l)	(container[l] != NONE && !IS_OURS(l) && !IS_CURRENT(db, l) && !disposed[l])

inline sort_containers()
{
	i = 0;
	do
	:: i < LAUNCHES ->
		if
#ifndef NO_LEFTOVERS
		:: IS_LEFT(i) -> printf("worker: container %d is left over\n", i); dispose(i, true)
#endif
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0;
#ifndef LEFTOVERS_BY_READING
	if
	:: n_leftovers > 0 -> commit_sync()
	:: else
	fi
#endif
}

inline pick_disposal(l)
{
	l = 0;
	do
	:: disposed[l] -> break
	:: !disposed[l] && l + 1 < LAUNCHES -> l++
	od
}

proctype Worker()
{
	byte		l;

end:
	do
	/* the claims of the worker before wait again; durable before any effect */
	:: atomic { !worker ->
		printf("worker: starts\n");
		worker = true;
		engine = ENGINE_DOWN;
#ifndef NO_RECOVERY
		if
		:: db.delivery == CLAIMED -> db.delivery = PENDING
		:: else
		fi;
#endif
		commit_sync() }

	:: atomic { worker && engine == ENGINE_DOWN ->
		sort_containers();
		engine = ENGINE_LISTING }
	:: atomic { worker && engine == ENGINE_LISTING && n_leftovers == 0 -> engine = ENGINE_UP }
	/* now and then, what runs is listed */
	:: atomic { worker && engine == ENGINE_UP && n_containers > 0 && ANY(IS_LEFT) -> sort_containers() }

	/* what a turn committed is flushed at its end, so before this */
	:: atomic { worker && engine >= ENGINE_LISTING && n_disposals > 0 ->
		pick_disposal(l);
#ifndef REMOVAL_BEFORE_FLUSH
		flush();
#endif
		if
		:: effect_remove(l);
			disposed[l] = false;
			n_disposals--
		:: failed_removals > 0 -> failed_removals--; printf("engine: refuses to remove container %d\n", l)
		fi;
		if
		:: leftover[l] -> leftover[l] = false; n_leftovers--
		:: else
		fi;
		l = 0 }

	:: atomic { worker && engine == ENGINE_UP && db.delivery == PENDING && phase == P_NONE ->
		db.delivery = CLAIMED;
#ifdef LAUNCH_BY_CLAIM
		if
		:: db.claims > 0 && db.attempt + 1 < N_ATTEMPTS -> db.attempt++
		:: else
		fi;
#endif
		db.claims = (db.claims < 2 -> db.claims + 1 : 2);
		commit_async();
		holds = true;
		phase = P_LOAD }
	/* the run's flight before has not ended: given back */
	:: atomic { worker && engine == ENGINE_UP && db.delivery == PENDING && phase != P_NONE && db.claims < 2 ->
		printf("worker: gives a claim back, the run is in flight\n");
		db.claims++;
		commit_sync() }

	/* a flight whose token is gone: its run was ended from outside */
	:: atomic { worker && phase != P_NONE && phase != P_LOAD && !holds && !is_void && (phase != P_REMOVE || keep) ->
		HOLDS("only what was ended from outside is given up", db.round != ROUND(launch) || HAS_ENDED(db));
#ifndef VOID_BY_READING
		commit_sync();
#endif
		void_flight() }
#ifndef NO_RECOVERY
	/* a claim that nobody holds, after claim_timeout */
	:: atomic { worker && db.delivery == CLAIMED && !holds ->
		printf("worker: takes back a claim that nobody holds\n");
		db.delivery = PENDING;
		commit_sync() }
#endif
	od
}

/* ---- the engine's part ---- */

proctype Engine()
{
end:
	do
	:: atomic { call != NO_CALL && reply == NO_REPLY ->
		if
		:: call == LIST -> reply = ANY(IS_EARLIER)
		:: else -> reply = container[launch]
		fi;
		perform(call, launch);
		call = NO_CALL }
	:: atomic { late_call != NO_CALL ->
		if
		:: perform(late_call, late_launch)
		:: true
		fi;
		late_call = NO_CALL;
		late_launch = 0 }
	od
}

/* A container's process ends by itself. */
proctype Hook()
{
	byte		l;

end:
	do
	:: atomic { n_containers > 0 && ANY(IS_RUNNING) ->
		l = 0;
		do
		:: container[l] == RUNNING -> break
		:: container[l] != RUNNING && l + 1 < LAUNCHES -> l++
		od;
		if
		:: container[l] = WELL; printf("hook: container %d ends with 0\n", l)
		:: bad_exits > 0 -> bad_exits--; container[l] = BADLY; good[STEP_ROUND(l)] = false; printf("hook: container %d ends badly\n", l)
		fi;
		l = 0 }
	od
}

/* The WAL writer, and whoever else flushes. */
proctype Wal()
{
end:
	do
	:: atomic { own_pending || db.status != disk.status || db.step != disk.step || db.round != disk.round ||
		db.attempt != disk.attempt || db.reruns != disk.reruns || db.delivery != disk.delivery ||
		db.claims != disk.claims || db.saved != disk.saved || db.ended != disk.ended ->
		commit_sync() }
	od
}

/* ---- what strikes ---- */

inline lose_worker()
{
	abort_call();
	end_flight();
	worker = false;
	engine = ENGINE_DOWN;
	i = 0;
	do
	:: i < LAUNCHES -> disposed[i] = false; leftover[i] = false; i++
	:: else -> break
	od;
	i = 0;
	n_disposals = 0;
	n_leftovers = 0
}

inline lose_containers(to)
{
	i = 0;
	do
	:: i < LAUNCHES ->
		if
		:: IS_PRECIOUS(i) && to == LOST -> container[i] = LOST; good[STEP_ROUND(i)] = false
		:: container[i] != NONE && to == NONE -> container[i] = NONE; n_containers--; good[STEP_ROUND(i)] = false
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

/* flights look where their containers stand once it is up again */
inline restart_engine()
{
	if
	:: NEEDS_ENGINE ->
		abort_call();
		if
		:: phase >= P_CREATE && phase <= P_COLLECT ->
			phase = (maybe_exists -> P_RESOLVE : P_CREATE)
		:: else
		fi
	:: else
	fi;
	late_call = NO_CALL;
	late_launch = 0;
	if
	:: printf("fault: the engine restarts, containers live on\n")
	:: printf("fault: the engine's host restarts\n"); lose_containers(LOST)
	:: printf("fault: an empty engine takes the place of the engine\n"); lose_containers(NONE)
	fi;
	engine = ENGINE_DOWN
}

proctype Faults()
{
	byte		crashes = CRASHES;
	byte		restarts = RESTARTS;

end:
	do
	/* an end of the worker alone; a kill -9 is the next one */
	:: atomic { crashes > 0 && worker -> crashes--; printf("fault: the worker ends\n"); lose_worker() }
	:: atomic { crashes > 0 && worker ->
		crashes--;
		printf("fault: the server crashes\n");
		lose_worker();
		copy_db(db, disk);
		forget_own() }
	:: atomic { restarts > 0 -> restarts--; restart_engine() }
	:: break
	od
}

proctype People()
{
	byte		cancels = CANCELS;
	byte		retries = RETRIES;

end:
	do
	:: atomic { cancels > 0 && db.status == OPEN ->
		cancels--;
		printf("user: cancels\n");
		db.status = CANCELLED;
		db.delivery = GONE;
		db.claims = 0;
		holds = false;
		emit_terminal() }
	:: atomic { retries > 0 && (db.status == FAILED || db.status == CANCELLED) && db.round + 1 < ROUNDS ->
		retries--;
		printf("user: retries\n");
		db.status = OPEN;
		db.round++;
		db.attempt = 0;
		db.reruns = 0;
		db.saved = db.saved & ((1 << db.step) - 1);
		db.delivery = PENDING;
		db.claims = 0 }
	:: break
	od
}

/* Every run ends once faults stop, and leaves nothing on the engine. */
#define ALL_DONE (db.status != OPEN && disk.status != OPEN && n_containers == 0 && phase == P_NONE)

/* nothing moves any more */
proctype Rest()
{
end:
	atomic { timeout -> HOLDS("every run ends", ALL_DONE) }
}

#ifdef LIVENESS
ltl ends { <>[] ALL_DONE }
#endif

init
{
	atomic {
		/* submitted by a transaction that need not be on disk yet */
		db.status = OPEN;
		db.delivery = PENDING;
		run Flight();
		run Worker();
		run Engine();
		run Hook();
		run Wal();
		run Faults();
		run People();
		run Rest()
	}
}
