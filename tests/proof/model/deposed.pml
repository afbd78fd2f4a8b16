/* SPDX-License-Identifier: MIT
 *
 * Two primaries at once: whose lease counts? And what does a promoted replica lack? README.md says what is left out; run.sh runs it.
 *
 *   sentinels: view[i]: X, later Y ---asked with each beat---> the link of instance I ---> lease, L1 ---> validate
 *        \---asked with each beat---> instance R: revokes A, at X or at Y
 *
 * X is the primary. Y, a replica of it, is promoted at some time, and X goes on: it answers reads, takes writes, and answers a beat.
 * Each sentinel learns of that at a time of its own, and never goes back. Every process may stand still between any two steps. Time is
 * kept as in latchkey.pml: as ages, in ticks, up to S.
 *
 * What latchkey.pml proves is taken for granted here: a lease that is confirmed by a beat says that what its server knew when the beat
 * was sent was applied to L1.
 *
 * Chosen by -D:
 *   DURABLE=k, OTHERS=n   no sentinel is asked. k replicas must hold what is written, in a beat as in a revoke; besides X and Y there
 *                         are n more, which follow X, later Y
 *   TOLD                  R revokes A at X, and Y lacks it: Y is promoted without. R asks the sentinels again within a tick
 *   S                     staleness_ms in ticks
 *   COUNT                 counts how often the places that must be reached were reached
 *   the mutants           each must break C */

#ifndef S
#define S 2
#endif
#ifndef OTHERS
#define OTHERS 1
#endif
#define NEVER 255
#define X 0
#define Y 1
#define NOBODY 2

bool C_broken;
#define C_HOLDS(ok) C_broken = !(ok); assert(!C_broken)

#ifdef COUNT
c_decl {
    \#include <stdio.h>
    enum { LAPSED, EMPTY, LEASE_OF_X, LEASE_OF_Y, TWO_PRIMARIES, LEASE_AFTER, REVOKED_AT_Y, MOVED, ASSERTED,
           PLACES };
    static const char *const place[PLACES] = {"LAPSED", "EMPTY", "LEASE_OF_X", "LEASE_OF_Y", "TWO_PRIMARIES", "LEASE_AFTER",
        "REVOKED_AT_Y", "MOVED", "ASSERTED"};
    static unsigned long times_reached[PLACES];
    __attribute__((destructor)) static void say_reached(void)
    {
        for (int i = 0; i < PLACES; i++) printf("reached %s %lu\n", place[i], times_reached[i]);
    }
};
#define REACHED(place) c_code { times_reached[place]++; }
#else
#define REACHED(place) skip
#endif

/* --------------------------------------------------------------------------------------------- the servers -- */

bool present[2] = {true, true}; /* A's key is there */
bool promoted;                  /* Y is a primary; X is one, too */
byte revoked_age = NEVER;       /* since a revoke returned OK */

/* What is revoked at X reaches Y, or not: then Y is promoted without it. */
active proctype replication()
{
end:
    do
#ifndef TOLD
    :: atomic { !promoted && !present[X] && present[Y] -> present[Y] = false; printf("replication: Y has it\n") }
    :: atomic { !promoted && present[X] == present[Y] -> promoted = true; printf("Y is promoted\n") }
#else
    :: atomic { !promoted -> promoted = true; printf("Y is promoted\n") }
#endif
    od
}

#ifdef DURABLE
byte follows[OTHERS]; /* X, later Y */
byte holders;

active proctype others()
{
end:
    do
    :: atomic { promoted && follows[0] == X -> follows[0] = Y; printf("other 0 follows Y\n") }
#if OTHERS > 1
    :: atomic { promoted && follows[1] == X -> follows[1] = Y; printf("other 1 follows Y\n") }
#endif
    od
}

#if OTHERS > 1
#define FOLLOWING(server) ((follows[0] == server -> 1 : 0) + (follows[1] == server -> 1 : 0))
#else
#define FOLLOWING(server) (follows[0] == server -> 1 : 0)
#endif
inline count_holders(server) /* WAIT: Y was a replica of X */
{
    holders = (server == X && !promoted -> 1 : 0) + FOLLOWING(server)
}
#else
byte view[3]; /* whom a sentinel names */

active proctype sentinels()
{
end:
    do
    :: atomic { promoted && view[0] == X -> view[0] = Y; printf("sentinel 0 names Y\n") }
    :: atomic { promoted && view[1] == X -> view[1] = Y; printf("sentinel 1 names Y\n") }
    :: atomic { promoted && view[2] == X -> view[2] = Y; printf("sentinel 2 names Y\n") }
#ifdef GOES_BACK
    :: atomic { view[2] == Y -> view[2] = X; printf("sentinel 2 names X again\n") }
#endif
    od
}
#define NAMED(said, server) ((said[0] == server -> 1 : 0) + (said[1] == server -> 1 : 0) + (said[2] == server -> 1 : 0))
#ifdef MINORITY
#define ENOUGH 1
#else
#define ENOUGH 2
#endif
#endif

/* ------------------------------------------------------------------------------------------------ instance I -- */

bool slot = true;            /* L1 holds A, which was read at X */
byte lease_age = S, lease_of = X; /* node.h: lease; NOBODY: L1 was emptied */
byte at = X;                 /* the server that the link is connected to */
bool beat_out, answered, gone; /* link.h: beat; what it read: is A gone there? */
byte beat_age;
byte said[3] = NOBODY;       /* naming.h: whom each has named, asked since the beat was sent */
byte met_age = NEVER;        /* link.h: serve_ms: since another server was met */
bool asserted;               /* R has told Y */
byte waited;                 /* ticks in which R could have, and has not */

#ifdef NO_WAIT
#define MAY_SERVE true
#else
#define MAY_SERVE (met_age >= 2) /* also where none was met: NEVER */
#endif

inline forget_beat()
{
    beat_out = false;
    answered = false;
    gone = false;
    beat_age = 0;
#if !defined(DURABLE) && !defined(ASKED_BEFORE)
    said[0] = NOBODY;
    said[1] = NOBODY;
    said[2] = NOBODY
#endif
}

inline confirm() /* node_side.c: on_lease; what is gone was applied before */
{
    slot = slot && !gone;
    lease_age = beat_age;
    lease_of = at;
    printf("I: confirms a lease of server %d as of %d ticks ago\n", at, beat_age);
    if
    :: at == X && promoted -> REACHED(TWO_PRIMARIES)
    :: at == X && !promoted -> REACHED(LEASE_OF_X)
    :: else -> REACHED(LEASE_OF_Y)
    fi;
    if
    :: at == X && promoted && revoked_age != NEVER && lease_age < S && slot -> REACHED(LEASE_AFTER) /* L1 goes on with A, for a while */
    :: else
    fi;
    forget_beat()
}

active proctype link()
{
end:
    do
    :: atomic { !beat_out -> forget_beat(); beat_out = true; printf("I: sends a beat to server %d\n", at) }
    :: atomic { beat_out && !answered -> answered = true; gone = !present[at]; printf("I: the beat came back\n") }
#ifdef DURABLE
    :: atomic { beat_out && answered -> count_holders(at);
           if
           :: holders >= DURABLE && MAY_SERVE -> confirm()
           :: else -> forget_beat() /* too few */
           fi;
           holders = 0
       }
    :: atomic { at == X && promoted -> at = Y; REACHED(MOVED); slot = false; lease_of = NOBODY; forget_beat() }
#else
    :: atomic { beat_out && said[0] == NOBODY -> said[0] = view[0] }
    :: atomic { beat_out && said[1] == NOBODY -> said[1] = view[1] }
    :: atomic { beat_out && said[2] == NOBODY -> said[2] = view[2] }
#ifdef NO_SENTINEL
    :: atomic { beat_out && answered && MAY_SERVE -> confirm() }
#else
    :: atomic { beat_out && answered && NAMED(said, at) >= ENOUGH && MAY_SERVE -> confirm() }
#endif
    :: atomic { beat_out -> forget_beat() } /* it was too late, or too early */
    :: atomic { at == X && NAMED(said, Y) >= 2 -> /* node_thread.c: move_to; link_handshake.c: meet */
           printf("I: moves to Y\n");
           at = Y;
           REACHED(MOVED);
           slot = false;
           lease_of = NOBODY;
           met_age = 0;
           forget_beat()
       }
#endif
    od
}

/* A miss: it fills under the lease of the server that answers. */
active proctype miss()
{
end:
    do
    :: atomic { !slot && lease_of == at && present[at] -> slot = true; printf("I: reads A at server %d\n", at) }
    od
}

/* Once, late: S or more after a revoke returned OK. latchkey.pml looks at the order of lease, slot and clock. */
active proctype validate()
{
    bool late;
end:
    d_step { revoked_age == S -> late = true };
    atomic {
        if
        :: slot && lease_age < S && lease_of != NOBODY -> C_HOLDS(!late)
        :: slot && lease_age == S -> REACHED(LAPSED)
        :: else -> REACHED(EMPTY)
        fi
    }
}

/* ------------------------------------------------------------------------------------------------ instance R -- */

byte r_at = X;
byte r_said[3] = NOBODY;

#ifdef DURABLE
active proctype revoke()
{
end:
    do
    :: atomic { promoted && r_at == X -> r_at = Y } /* by whatever way */
    :: atomic { present[r_at] -> present[r_at] = false; printf("R: revokes at server %d\n", r_at) }
    :: atomic { !present[r_at] && revoked_age == NEVER && (r_at == Y || !promoted) -> /* WAIT behind it */
           count_holders(r_at);
           if
           :: holders >= DURABLE -> revoked_age = 0; present[Y] = false; printf("R: OK\n");
               if
               :: r_at == Y -> REACHED(REVOKED_AT_Y)
               :: else
               fi
           :: else
           fi;
           holders = 0
       }
    od
}
#else
active proctype revoke()
{
end:
    do
    :: atomic { r_said[0] == NOBODY -> r_said[0] = view[0] }
    :: atomic { r_said[1] == NOBODY -> r_said[1] = view[1] }
    :: atomic { r_said[2] == NOBODY -> r_said[2] = view[2] }
    :: atomic { r_at == X -> r_said[0] = NOBODY; r_said[1] = NOBODY; r_said[2] = NOBODY } /* it asks again and again */
    :: atomic { r_at == X && NAMED(r_said, Y) >= ENOUGH ->
           r_at = Y;
           printf("R: moves to Y\n");
           if
           :: !present[X] && present[Y] -> present[Y] = false; asserted = true; REACHED(ASSERTED) /* link_handshake.c: REASSERTING */
           :: else
           fi
       }
#ifdef TOLD
    :: atomic { r_at == X && present[X] && !promoted ->
           present[X] = false;
           revoked_age = 0;
           printf("R: revokes at X: OK\n")
       }
#else
    :: atomic { r_at == Y && present[Y] -> present[Y] = false; revoked_age = 0; REACHED(REVOKED_AT_Y); printf("R: revokes at Y: OK\n") }
    :: atomic { r_at == X && !promoted && present[X] -> present[X] = false; printf("R: revokes at X\n") }
    :: atomic { r_at == X && !present[X] && !present[Y] && revoked_age == NEVER -> revoked_age = 0; printf("R: OK\n") }
#endif
    od
}
#endif

/* ----------------------------------------------------------------------------------------------------- clock -- */

#ifdef TOLD
/* R is alive: once more than half name Y, it has met Y before two ticks have passed. */
#define R_IS_LATE (NAMED(view, Y) >= 2 && r_at == X && waited == 1)
#else
#define R_IS_LATE false
#endif

active proctype clock()
{
end:
    do
    :: d_step { !R_IS_LATE ->
           lease_age = (lease_age < S -> lease_age + 1 : S);
           beat_age = (beat_out && beat_age < S -> beat_age + 1 : beat_age);
           revoked_age = (revoked_age < S -> revoked_age + 1 : revoked_age);
           met_age = (met_age < 2 -> met_age + 1 : met_age);
#ifdef TOLD
           waited = (NAMED(view, Y) >= 2 && r_at == X -> waited + 1 : 0);
#endif
           printf("clock: ticks\n")
       }
    od
}
