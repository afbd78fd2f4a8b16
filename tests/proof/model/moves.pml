/* SPDX-License-Identifier: MIT
 *
 * A partition that moves from one server of a cluster to another, or is taken over by a replica. README.md says what is left out;
 * run.sh runs it.
 *
 *   server X: A's key, the counter q, the cut-off e ---MIGRATE, a key at a time, in any order---> server Y
 *        \                                                                       /
 *         the link of instance I, to whichever server its map names: subscription, beats ---> lease, L1 ---> validate
 *         instance R: revokes A, at whichever server its map names
 *
 * The slot is stable at X, then MIGRATING there and IMPORTING at Y, and then Y's. A move may be given up before a key has moved.
 * The maps of I and of R may be wrong at any time, in either direction: what must hold does not rest on them. Every process may stand
 * still between any two steps. Time is kept as in latchkey.pml: as ages, in ticks, up to S.
 *
 * What latchkey.pml proves is taken for granted here: a beat that finds a number greater than the one that was applied has the gap
 * replayed before it is confirmed, and validate looks at lease, slot and clock in that order.
 *
 * Chosen by -D:
 *   TAKEN      X is not left by its keys: Y, its replica, is promoted, perhaps without A's revocation. X serves nothing from then on
 *              (that a deposed primary stops is the cluster's own fence; deposed.pml says what there is where nothing stops it)
 *   EVERYONE   R does not revoke A: it ends all sessions, by a cut-off. A's key stays, and who knows the cut-off does not admit A
 *   S          staleness_ms in ticks
 *   COUNT      counts how often the places that must be reached were reached
 *   the mutants  each must break C */

#ifndef S
#define S 1
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
    enum { ADMITTED, ADMITTED_BY_L2, LAPSED, LEASE_OF_X, LEASE_OF_Y, LEASE_IN_A_MOVE, LEASE_AS_COUNTED, LEASE_AFTER, GAP, LOG_TOO_SHORT, HEARD, TRYAGAIN, ASK, MOVED,
           REVOKED_AT_X, REVOKED_AT_Y, GIVEN_UP, LOST, TOLD, PLACES };
    static const char *const place[PLACES] = {"ADMITTED", "ADMITTED_BY_L2", "LAPSED", "LEASE_OF_X", "LEASE_OF_Y", "LEASE_IN_A_MOVE",
        "LEASE_AS_COUNTED", "LEASE_AFTER", "GAP", "LOG_TOO_SHORT", "HEARD", "TRYAGAIN", "ASK", "MOVED", "REVOKED_AT_X", "REVOKED_AT_Y", "GIVEN_UP", "LOST", "TOLD"};
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

mtype = {STABLE, MIGRATING, IMPORTING, NOT_MINE};
mtype slot_at[2];            /* how the slot stands there */
bool a_at[2], q_at[2];       /* where A's key and the counter are; where no revocation was, there is none yet */
bool e_at[2];                /* where the cut-off is: EVERYONE; else there never is one */
bool counted;                /* what the counter says: A's revocation, or nothing yet */
bool second;                 /* Redis would say BUSYKEY: there is another counter at Y */
byte revoked_age = NEVER;    /* since a revoke returned OK */
bool done;                   /* R's script has run whole, somewhere: its revoke may return */

/* Keys that are asked for without ASKING: a slot that is IMPORTING serves none. */
#define SERVES(server) (slot_at[server] == STABLE || slot_at[server] == MIGRATING)

/* --------------------------------------------------------------------------------------------- instance I -- */

bool slot;                     /* L1 holds A */
bool purged;                   /* recent.h, cutoff.h: it is remembered that A was revoked, or the cut-off is known */
bool ticket_void;              /* L1 was purged of A or emptied since the miss took its ticket */
byte at = X;                   /* topology.h: owner; the server that the link is connected to */
byte lease_of = NOBODY;        /* lease.h: incarnation */
byte lease_age = S;
bool fresh = true, emptied, told; /* link.h: met; what is done before the first lease of a server that is met */
bool message;                  /* on its way through the subscription */
bool beat_out, q_answered, answered; /* link.h: beat; what has come: the answer to GET q, and that to GET e, the last */
bool served;                   /* that server itself answered: each with a value or nil, or GET e with ASK, and nothing was counted since e
                                  was known */
bool beat_counted, beat_nil;   /* what GET q answered */
bool as_counted;               /* the second is so */
mtype = {UNKNOWN, BEFORE, AFTER};
mtype e_known = UNKNOWN;       /* link_state.h: cutoff_below: the number as of which the cut-off is known: that of before, or the counted one */
byte beat_age;
bool applied;                  /* the number that was applied */

/* The script of revoke, at that server: all of it in one step. `refused`: nothing was done there. */
inline announce(server)
{
    counted = true;
    if
    :: at == server -> message = true
    :: true /* it is not subscribed there, or it is lost */
    fi
}

inline delete_whole(server)
{
    if
#ifdef EVERYONE
    :: !e_at[server] -> e_at[server] = true; q_at[server] = true; announce(server)
#else
    :: a_at[server] -> a_at[server] = false; q_at[server] = true; announce(server)
#endif
    :: else /* it has ended already */
    fi;
    done = true
}

inline script(server)
{
    if
    :: slot_at[server] == STABLE -> delete_whole(server)
#ifdef NO_PROBE
    :: slot_at[server] == MIGRATING ->
        if
        :: a_at[server] && q_at[server] -> delete_whole(server)
        :: a_at[server] && !q_at[server] -> a_at[server] = false; printf("A is deleted, and INCR q fails\n")
        :: else /* it reads what is not there: an error */
        fi
#else
    :: slot_at[server] == MIGRATING -> REACHED(TRYAGAIN)
#endif
#ifdef ASK_FOLLOWED
    :: slot_at[server] == IMPORTING && !a_at[X] -> second = !q_at[Y]; a_at[Y] = false; done = true; printf("done at Y, as X asked\n")
    :: slot_at[server] == IMPORTING && a_at[X] -> REACHED(MOVED) /* nobody asks there: X has it */
#else
    :: slot_at[server] == IMPORTING -> REACHED(MOVED)
#endif
    :: slot_at[server] == NOT_MINE -> REACHED(MOVED)
    fi
}

inline void_ticket() { ticket_void = true }
inline purge_a() { slot = false; purged = true; void_ticket() }
inline empty_l1() { slot = false; void_ticket() }

inline forget_beat()
{
    beat_out = false;
    q_answered = false;
    answered = false;
    served = false;
    as_counted = false;
    beat_counted = false;
    beat_nil = false;
    beat_age = 0
}

/* It is read behind the number. If there is no number, what is known now is not told by one. */
inline read_e()
{
    if
    :: beat_counted -> e_known = AFTER
    :: served && !beat_counted && !beat_nil && e_known == UNKNOWN -> e_known = BEFORE
    :: else
    fi
}

inline confirm() /* link_beat.c, node_side.c */
{
    if
    :: !fresh && beat_counted && !applied -> /* the log goes on, or does not reach back that far */
        REACHED(GAP);
        if
        :: purge_a(); e_known = (e_known == BEFORE -> AFTER : e_known)
        :: empty_l1(); REACHED(LOG_TOO_SHORT)
        fi
    :: else
    fi;
#ifndef WITHOUT_EMPTY
    if
    :: fresh -> empty_l1()
    :: else
    fi;
#endif
    applied = beat_counted;
    fresh = false;
    lease_of = at;
    lease_age = beat_age;
    printf("I: confirms the lease of server %d as of %d ticks ago\n", at, beat_age);
    if
    :: slot_at[at] == MIGRATING && as_counted -> REACHED(LEASE_AS_COUNTED)
    :: slot_at[at] == MIGRATING && !as_counted -> REACHED(LEASE_IN_A_MOVE)
    :: slot_at[at] == STABLE && at == X -> REACHED(LEASE_OF_X)
    :: slot_at[at] == STABLE && at == Y -> REACHED(LEASE_OF_Y)
    :: else
    fi;
    if
    :: revoked_age != NEVER && lease_age < S -> REACHED(LEASE_AFTER)
    :: else
    fi;
    forget_beat()
}

active proctype link()
{
end:
    do
    /* topology.c: another owner, rightly or not. Hits go on; nothing is filled. */
    :: atomic { true ->
           at = 1 - at;
           lease_of = NOBODY;
           fresh = true;
           e_known = UNKNOWN;
           emptied = false;
           told = false;
           message = false;
           forget_beat();
           printf("I: its map names server %d\n", at)
       }
    :: atomic { fresh && !emptied ->
           emptied = true;
#ifndef WITHOUT_EMPTY
           empty_l1()
#endif
       }
    :: atomic { fresh && emptied && !told && (!purged || SERVES(at)) -> /* recents are told, or asked again */
           if
#ifndef WITHOUT_RECENTS
           :: purged && slot_at[at] == STABLE ->
               REACHED(TOLD);
               printf("I: tells server %d of A\n", at);
               script(at);
               told = true
           :: purged && slot_at[at] != STABLE /* TRYAGAIN */
           :: !purged -> told = true
#else
           :: told = true
#endif
           fi
       }
    :: atomic { !beat_out && (told || !fresh) -> forget_beat(); beat_out = true; printf("I: sends a beat to server %d\n", at) }
    :: atomic { beat_out && !q_answered ->
           q_answered = true;
           served = slot_at[at] == STABLE || (slot_at[at] == MIGRATING && q_at[at]);
           beat_counted = served && counted;
           beat_nil = served && !q_at[at];
           printf("I: GET q came back: %d\n", served);
           if
           :: slot_at[at] == MIGRATING && !q_at[at] -> REACHED(ASK)
           :: else
           fi
       }
    :: atomic { beat_out && q_answered && !answered ->
           answered = true;
           if
           :: SERVES(at) && e_at[at] -> read_e(); if :: !purged -> purge_a() :: else fi
           :: slot_at[at] == STABLE && !e_at[at] -> read_e()
           :: slot_at[at] == MIGRATING && !e_at[at] -> /* ASK */
               as_counted = served;
#ifndef THOUGH_COUNTED
               served = served && (e_known == AFTER || (e_known == BEFORE && !beat_counted))
#endif
           :: !SERVES(at) -> served = false
           fi;
           printf("I: GET e came back: %d\n", served)
       }
#ifdef LEASE_OF_ANOTHER
    :: atomic { beat_out && answered -> confirm() }
#else
    :: atomic { beat_out && answered && served -> confirm() }
#endif
    :: atomic { beat_out -> forget_beat() }
    :: atomic { message -> message = false; purge_a(); applied = true; e_known = (e_known == BEFORE -> AFTER : e_known); REACHED(HEARD); printf("I: hears of A\n") }
    :: atomic { message -> message = false } /* lost, on a connection that lives */
    od
}

/* A cut-off is looked at before L1 is filled, and last (cutoff.h). Else the key itself has gone. */
#ifdef EVERYONE
#define A_MAY_BE_GOOD !purged
#else
#define A_MAY_BE_GOOD true
#endif

/* A miss: it is admitted, and fills, under the lease of the server that answers. */
bool late; /* it began S or more after a revoke returned OK */

active proctype miss()
{
    byte asked;
    bool ok;
end:
    do
    :: d_step { lease_of == at -> asked = at; ticket_void = false; late = revoked_age == S };
        atomic { ok = SERVES(asked) && a_at[asked]; printf("I: reads A at server %d: %d\n", asked, ok) };
        atomic {
            ok = ok && A_MAY_BE_GOOD;
            if
            :: ok && lease_of == asked && lease_age < S ->
                REACHED(ADMITTED_BY_L2);
                printf("I: Redis' answer admits\n");
                C_HOLDS(!late)
            :: else
            fi;
            slot = slot || (ok && lease_of == asked && !ticket_void);
            ok = false;
            asked = 0;
            late = false
        }
    od
}

/* latchkey.pml looks at the order of lease, slot and clock. One that starts late and looks later sees no more than this. */
active proctype validate()
{
end:
    do
    :: atomic { slot && lease_age < S -> REACHED(ADMITTED); C_HOLDS(revoked_age != S) }
    :: atomic { slot && lease_age == S && revoked_age == S -> REACHED(LAPSED) }
    od
}

/* ----------------------------------------------------------------------------------------------- instance R -- */

byte r_at = X;

active proctype revoke()
{
end:
    do
    :: atomic { r_at == X -> r_at = Y } /* whatever its map says */
    :: atomic { r_at == Y -> r_at = X }
    :: atomic { !done -> printf("R: revokes at server %d\n", r_at); script(r_at) }
    :: atomic { done && revoked_age == NEVER ->
           revoked_age = 0;
           printf("R: OK\n");
           if
           :: slot_at[Y] == STABLE -> REACHED(REVOKED_AT_Y)
           :: else -> REACHED(REVOKED_AT_X)
           fi
       }
    od
}

/* ------------------------------------------------------------------------------------------------- the move -- */

inline promised_again() /* nobody that lives knows of it but R, which tells the new owner */
{
    done = false;
    revoked_age = NEVER;
    late = false
}

active proctype mover()
{
end:
    do
#ifdef TAKEN
    :: atomic { slot_at[X] == STABLE ->
           slot_at[X] = NOT_MINE;
           slot_at[Y] = STABLE;
           a_at[Y] = a_at[X];
           a_at[X] = false;
           q_at[X] = false;
           q_at[Y] = true;
           e_at[Y] = e_at[X];
           e_at[X] = false;
           printf("Y is promoted\n");
           if
           :: counted -> /* it lacks the newest */
               REACHED(LOST);
               a_at[Y] = true;
               e_at[Y] = false;
               counted = false;
               if
               :: !purged -> promised_again()
               :: else
               fi
           :: true
           fi
       }
#else
    :: atomic { slot_at[X] == STABLE && slot_at[Y] == NOT_MINE -> slot_at[Y] = IMPORTING }
    :: atomic { slot_at[X] == STABLE && slot_at[Y] == IMPORTING -> slot_at[X] = MIGRATING; printf("the slot is moved\n") }
    :: atomic { slot_at[X] == MIGRATING && a_at[X] -> a_at[X] = false; a_at[Y] = true; printf("A's key is moved\n") }
    :: atomic { slot_at[X] == MIGRATING && q_at[X] && !second -> q_at[X] = false; q_at[Y] = true; printf("the counter is moved\n") }
    :: atomic { slot_at[X] == MIGRATING && e_at[X] -> e_at[X] = false; e_at[Y] = true; printf("the cut-off is moved\n") }
    /* Given up before anything was moved: into a slot that is MIGRATING Redis lets no key come back. */
    :: atomic { slot_at[X] == MIGRATING && slot_at[Y] == IMPORTING && !a_at[Y] && !q_at[Y] && !e_at[Y] ->
           slot_at[X] = STABLE;
           REACHED(GIVEN_UP)
       }
    :: atomic { slot_at[X] == MIGRATING && slot_at[Y] == IMPORTING && !a_at[X] && !q_at[X] && !e_at[X] ->
           slot_at[Y] = STABLE; /* first it; the source learns of that later */
           printf("the slot is Y's\n")
       }
    :: atomic { slot_at[X] == MIGRATING && slot_at[Y] == STABLE -> slot_at[X] = NOT_MINE }
#endif
    od
}

/* ----------------------------------------------------------------------------------------------------- clock -- */

active proctype clock()
{
end:
    do
    :: d_step {
           lease_age = (lease_age < S -> lease_age + 1 : S);
           beat_age = (beat_out && beat_age < S -> beat_age + 1 : beat_age);
           revoked_age = (revoked_age < S -> revoked_age + 1 : revoked_age);
           printf("clock: ticks\n")
       }
    od
}

init {
    atomic {
        slot_at[X] = STABLE;
        slot_at[Y] = NOT_MINE;
        a_at[X] = true;
        if
        :: q_at[X] = true
        :: q_at[X] = false
        fi
    }
}
