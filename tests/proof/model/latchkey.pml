/* SPDX-License-Identifier: MIT
 *
 * Ticket, lease and replay, as small as will still prove them. README.md says what is left out and why that is sound;
 * run.sh runs it.
 *
 *   revoke_elsewhere -----> redis --subscription--> link -------> L1, lease
 *                           ^   ^ ^                   |            ^    ^
 *                           |   | +-commands, replies-+            |    |
 *                           |   +---- miss: ticket, HGET, put -----+    |
 *   revoke_here ------------+--------------- purge ----------------+  validate
 *
 * One session, A, is revoked, among revocations of others. Every process may stand still between any two of its steps
 * for any time: that is how delay is modelled, of a reply, of a message, of a thread, of the whole process.
 *
 * Time has no end. It is kept as ages, in ticks. No age is of interest beyond S, where it stops to grow. A tick may come
 * at any time, and never has to.
 *
 * Chosen by -D:
 *   REVOKED_HERE          A is revoked on this handle (B, D); else elsewhere (C, D)
 *   RESTART               Redis is restarted once, and may have forgotten what it did last
 *   REPLACED              its data set is replaced once by an older one, in place: the same incarnation, all connections stay
 *   CONNECTED             the link never connects anew
 *   DEAF                  the subscription may become half open: nothing comes through it until the link connects anew
 *   RELIABLE              no message is lost, but with its connection
 *   S, OTHERS, LOG        staleness_ms in ticks; revocations of others; how many the log keeps
 *   ONLY_C, ONLY_LOOK, ONLY_B, ONLY_D, ONLY_HEARS   asserts that property alone
 *   COUNT                 counts how often the places that must be reached were reached
 *   the mutants           each must break the property that run.sh names for it */

#ifndef S
#define S 2
#endif
#ifndef OTHERS
#define OTHERS 1
#endif
#ifndef LOG
#define LOG 1
#endif

#define NEVER 255 /* an age: it has not happened */

/* ------------------------------------------------------------------------------------------- properties -- */

#if !defined(ONLY_C) && !defined(ONLY_LOOK) && !defined(ONLY_B) && !defined(ONLY_D) && !defined(ONLY_HEARS) && !defined(ONLY_TOLD)
#define ONLY_C
#define ONLY_LOOK
#define ONLY_B
#define ONLY_D
#define ONLY_HEARS
#define ONLY_TOLD
#endif

bool C_broken, LOOK_broken, B_broken, D_broken, HEARS_broken, TOLD_broken; /* named, so that what pan says names the property */

/* C: no validate that started S or more after a revoke elsewhere returned OK admits. */
#ifdef ONLY_C
#define C_HOLDS(ok) C_broken = !(ok); assert(!C_broken)
#else
#define C_HOLDS(ok) skip
#endif
/* Nor one that started before and was paused, if it looked at the slot that late. */
#ifdef ONLY_LOOK
#define LOOK_HOLDS(ok) LOOK_broken = !(ok); assert(!LOOK_broken)
#else
#define LOOK_HOLDS(ok) skip
#endif
/* B: no validate that started after a revoke on this handle returned OK or PENDING admits. */
#ifdef ONLY_B
#define B_HOLDS(ok) B_broken = !(ok); assert(!B_broken)
#else
#define B_HOLDS(ok) skip
#endif
/* D: nothing fills A into L1 after L1 was purged of it. */
#ifdef ONLY_D
#define D_HOLDS(ok) D_broken = !(ok); assert(!D_broken)
#else
#define D_HOLDS(ok) skip
#endif

/* HEARS: a subscription that is deaf keeps no lease: none is confirmed by a beat that was sent while nothing came through. */
/* TOLD: a server whose data set was replaced gets no lease before it was told of what is remembered. */
#ifdef ONLY_TOLD
#define TOLD_HOLDS(ok) TOLD_broken = !(ok); assert(!TOLD_broken)
#else
#define TOLD_HOLDS(ok) skip
#endif
#ifdef ONLY_HEARS
#define HEARS_HOLDS(ok) HEARS_broken = !(ok); assert(!HEARS_broken)
#else
#define HEARS_HOLDS(ok) skip
#endif

/* What must be reached, or a model in which nothing can happen would pass as well. */
#ifdef COUNT
c_decl {
    \#include <stdio.h>
    enum { ADMITTED, ADMITTED_BY_L2, LAPSED, LATE, AFTER, REFUSED, DENIED, GAP, REPLAY, LOG_TOO_SHORT, LEASE, LEASE_AFTER,
           ASSERTED, OTHER_SERVER, FOREIGN, DEAFENED, FORGOT, REMEMBERED, PLACES };
    static const char *const place[PLACES] = {"ADMITTED", "ADMITTED_BY_L2", "LAPSED", "LATE", "AFTER", "REFUSED", "DENIED",
        "GAP", "REPLAY", "LOG_TOO_SHORT", "LEASE", "LEASE_AFTER", "ASSERTED", "OTHER_SERVER", "FOREIGN", "DEAFENED", "FORGOT",
        "REMEMBERED"};
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

/* ------------------------------------------------------------------------------------------------ redis -- */

mtype = {REVOCATION, NONCE, NUMBERS, PUBLISH, RANGE, REVOKE};

byte incarnation = 1; /* run_id, as hello.c knows it */
bool present = true;  /* lk:{p}:s:A is there */
byte number;          /* lk:{p}:q */
bool known;           /* link.h: not baseline: `applied` is of the server that we are connected to */
bool replaced;        /* not in src: the data set is an older one */
byte of_a;            /* lk:{p}:r: bit n is set where revocation n is A's. It reaches back to number - LOG + 1 */

/* link.h: conn[LK_LINK_SUBSCRIPTION]; conn[LK_LINK_COMMANDS], there and back */
chan subscription = [OTHERS + 2] of {mtype, byte, bool}; /* what; a revocation's number; is it A's? */
chan commands = [4] of {mtype, byte};
chan replies = [3] of {mtype, byte, byte, bool};
byte link_to = 1; /* link.h: hello[].incarnation, of the server that both go to */

bool deaf; /* half open: the link cannot tell, and nothing comes through the subscription */

#ifdef RELIABLE
#define LOSSES (link_to != incarnation)
#else
#define LOSSES true
#endif

/* PUBLISH, to the link. A message may be lost wherever Redis or the wire feels like it. All are, where the connection is
 * half open or being replaced, or goes to a server that is no more. */
inline publish(what, n, is_a)
{
    if
    :: link_to == incarnation && !deaf && nfull(subscription) -> subscription!what(n, is_a)
    :: LOSSES -> printf("redis: the message is lost\n")
    fi
}

#ifdef DEAF
active proctype wire()
{
end:
    do
    :: atomic { !deaf -> deaf = true; printf("wire: the subscription is deaf\n") }
    od
}
#endif

/* lua/common.lua: announce. Count, log, publish. */
inline announce(is_a)
{
    number++;
    of_a = (is_a -> of_a | (1 << number) : of_a);
    printf("redis: announces revocation %d, of A: %d\n", number, is_a);
    publish(REVOCATION, number, is_a)
}

/* lua/revoke.lua, of A. `held`: it is announced even where there is nothing to delete. */
inline script(held)
{
    if
    :: present || held ->
        present = false;
        announce(true)
    :: else
    fi
}

/* What the link asks, in its order. */
active proctype redis()
{
    byte n;
end:
    do
    :: atomic { link_to == incarnation && nfull(replies) && commands?[NUMBERS(_)] ->
           commands?NUMBERS(_);
           replies!NUMBERS(number, 0, false)
       }
    :: atomic { link_to == incarnation && nfull(replies) && commands?[PUBLISH(_)] ->
           commands?PUBLISH(_);
#ifdef BEAT_OFF_SUBSCRIPTION
           replies!PUBLISH(0, 0, false)
#else
           publish(NONCE, 0, false)
#endif
       }
    :: atomic { link_to == incarnation && nfull(replies) && commands?[RANGE(_)] -> /* XRANGE n + */
           commands?RANGE(n);
           n = (number + 1 > n + LOG -> number + 1 - LOG : n);
           replies!RANGE(n, number, (of_a >> n) != 0); /* the first that is still there; the last; is A's among them? */
           n = 0
       }
    :: atomic { link_to == incarnation && commands?[REVOKE(_)] ->
           commands?REVOKE(_);
           if
           :: present -> REACHED(ASSERTED)
           :: else
           fi;
           script(false)
       }
    od
}

/* ----------------------------------------------------------------------------------- what a handle holds -- */

bool slot;              /* l1.c: A's entry is in L1 */
bool moved[2];          /* l1_table.h: lk_stripe.epoch is another than when this reader took its ticket */
byte lease_age = S;     /* node.h: until_ms, told by when the beat was sent; lapsed at S */
byte lease_incarnation; /* node.h: incarnation; 0: none */
byte leased;            /* validate.c: lead: who had the lease before the question was sent */
bool denied;            /* pending.c: A is in the list */
bool purged;            /* L1 was purged of A: so the link remembers it, to assert it to another incarnation */

inline void_tickets()
{
    moved[0] = true;
    moved[1] = true
}

/* l1.c: lk_l1_purge of A */
inline purge_a()
{
    printf("l1: is purged of A\n");
    purged = true;
    slot = false;
    void_tickets()
}

/* node_side.c: on_emptying, open.c: on_empty, in its order; l1.c: lk_l1_empty */
inline empty_l1()
{
    lease_incarnation = 0;
    atomic {
        printf("link: empties L1\n");
        slot = false;
        void_tickets()
    }
}

#ifdef NO_TICKET
#define TICKET_GOOD(me) true
#else
#define TICKET_GOOD(me) (!moved[me])
#endif
#ifdef NO_INCARNATION
#define OF_THE_LEASE(server) true
#else
#define OF_THE_LEASE(server) (server == lease_incarnation)
#endif

/* validate.c: from_l2, lead, fill; l1.c: lk_l1_put. Leaves in `server` who answered. */
inline from_l2(me, ok, server)
{
    moved[me] = false; /* lk_l1_ticket */
    if
    :: atomic { denied -> REACHED(DENIED); ok = false } /* lk_pending_has */
#if defined(REPLACED) && !defined(REMEMBERED_NOT_DENIED)
    :: atomic { !denied && purged -> REACHED(REMEMBERED); ok = false } /* the same: lk_recent_ended */
#endif
    :: atomic { else -> ok = true };
#if defined(RESTART) || defined(REPLACED)
        if /* lead: before the question; what is asked now is asked after all that this lease says */
        :: me == 1 -> leased = lease_incarnation
        :: else /* to fill, the ticket is enough: prewarm.c does not look */
        fi;
#endif
        d_step { /* read_l2: when Redis executes it; the answer comes any time later */
            ok = present;
            server = incarnation;
            printf("redis: is asked for A by reader %d: %d\n", me, ok)
        };
        if
        :: ok && OF_THE_LEASE(server) ->
            if
            :: atomic { TICKET_GOOD(me) ->
                   printf("fill: the answer of reader %d goes into L1\n", me);
                   slot = true;
                   D_HOLDS(!purged)
               }
            :: atomic { !TICKET_GOOD(me) -> REACHED(REFUSED) }
            fi
        :: else
        fi
    fi
}

/* ------------------------------------------------------------------------------------------------- clock -- */

byte revoked_age = NEVER; /* not in src: since a revoke elsewhere returned OK */
bool revoked_here;         /* not in src: latchkey_revoke returned on this handle */
byte beat_age;            /* link.h: beat.sent_ms */
byte seen_age;            /* validate.c: lease_until, from when it is read until the clock is */
bool beat_out, lease_seen;
bool late, late_look;      /* not in src: validate started, or looked at the slot, S or more after that */

active proctype clock()
{
end:
    do
    :: d_step {
           lease_age = (lease_age < S -> lease_age + 1 : S);
           beat_age = (beat_out && beat_age < S -> beat_age + 1 : beat_age);
           seen_age = (lease_seen && seen_age < S -> seen_age + 1 : seen_age);
           revoked_age = (revoked_age < S -> revoked_age + 1 : revoked_age);
           printf("clock: ticks\n")
       }
    od
}

/* ------------------------------------------------------------------------------------------------- others -- */

/* Other instances. They revoke A and others in any order. */
active proctype revoke_elsewhere()
{
    byte others;
    bool done;
end:
    do
    :: atomic { others < OTHERS -> others++; announce(false) }
#ifndef REVOKED_HERE
    :: atomic { !done -> done = true; printf("elsewhere: revokes A\n"); script(true) }
    :: atomic { done && !present && revoked_age == NEVER -> revoked_age = 0; printf("elsewhere: revoke returns OK\n") }
#ifdef RESTART
    :: atomic { done && incarnation == 2 && present -> printf("elsewhere: asserts A\n"); script(false) }
#endif
#ifdef REPLACED
    :: atomic { done && replaced && present -> printf("elsewhere: asserts A\n"); script(false) }
#endif
#endif
    od
}

#ifdef RESTART
/* Another run_id; of the newest writes none, some or all are forgotten (appendfsync everysec). Where this instance did not
 * hear of A's revocation, C counts from when the one that made it has asserted it again: nobody else can know of it. */
active proctype restart()
{
    atomic {
        incarnation = 2;
        do
        :: number > 0 ->
            present = present || (of_a & (1 << number));
            of_a = of_a & ((1 << number) - 1);
            number--
        :: break
        od;
        if
        :: present && !purged -> revoked_age = NEVER; late = false; late_look = false
        :: else
        fi;
        printf("redis: is another incarnation; A is there: %d\n", present)
    }
}
#endif

#ifdef REPLACED
/* DEBUG RELOAD, a restore: the run id and the replication id stay, and so do the connections. */
active proctype replace()
{
    atomic {
        known && number > 0 -> /* not while it is being met; and at least one is forgotten, else nothing happened */
        replaced = true;
        do
        :: number > 0 ->
            present = present || (of_a & (1 << number));
            of_a = of_a & ((1 << number) - 1);
            number--
        :: true -> break
        od;
        if
        :: present && !purged -> revoked_age = NEVER; late = false; late_look = false
        :: else
        fi;
        printf("redis: its data set is another; A is there: %d\n", present)
    }
}
#endif

/* -------------------------------------------------------------------------------------------------- link -- */

byte applied;         /* link.h */
byte counted;         /* link.h */
bool gap;             /* numbers are missing, and were asked for */
bool answered, heard; /* link.h: beat.answers == 0, beat.heard */
byte received;        /* sequence.h: the number of the last message */
byte at_beat;         /* sequence.h: what was known when the beat was sent */
bool replaced_at_beat; /* not in src: when the beat was sent, the data set had been replaced, and there was something to tell */
bool deaf_at_beat;    /* not in src: the subscription was deaf when the beat was sent */

inline forget_beat()
{
    beat_out = false;
    beat_age = 0;
    deaf_at_beat = false;
    replaced_at_beat = false;
    at_beat = 0;
    answered = false;
    heard = false;
    counted = 0
}

inline ask_for_missing()
{
    gap = true;
    REACHED(GAP);
    printf("link: misses what follows %d, asks for it\n", applied);
    commands!RANGE(applied + 1)
}

/* node_side.c: on_lease, in its order */
inline confirm()
{
    lease_incarnation = link_to;
    atomic {
        HEARS_HOLDS(!deaf_at_beat);
        TOLD_HOLDS(!(replaced_at_beat && present));
#ifdef STAMP_ON_RECEIPT
        lease_age = 0;
#else
        lease_age = beat_age;
#endif
        forget_beat();
        printf("link: confirms the lease as of %d ticks ago\n", lease_age);
        REACHED(LEASE);
        if
        :: revoked_age != NEVER && lease_age < S -> REACHED(LEASE_AFTER)
        :: else
        fi;
        if
        :: incarnation == 2 && lease_age < S -> REACHED(OTHER_SERVER)
        :: else
        fi
    }
}

#ifdef NO_NUMBER
#define BEHIND false
#else
#define BEHIND (known && counted > applied)
#endif
#define BEAT_BACK (beat_out && answered && heard)

/* To another server than before nothing is known, and what is remembered is asserted before any beat. */
inline connect()
{
    atomic {
        true; /* lk_link_lost, for whatever reason; lk_link_connected, send_subscribe, subscribed */
        do
        :: subscription?_, _, _
        :: commands?_, _
        :: replies?_, _, _, _
        :: empty(subscription) && empty(commands) && empty(replies) -> break
        od;
        forget_beat();
        gap = false;
        deaf = false;
#ifdef RECONNECT_EMPTY
        known = false;
#else
        known = known && link_to == incarnation;
#endif
        received = 0;
#ifdef RECONNECT_BLIND
        applied = (known -> number : 0);
#else
        applied = (known -> applied : 0); /* numbers of another server say nothing here */
#endif
        link_to = incarnation;
        printf("link: connects to incarnation %d\n", incarnation);
#ifndef NO_ASSERTION
        if
        :: !known && purged -> commands!REVOKE(0)
        :: else
        fi
#endif
    }
}

/* link_handshake.c: lk_link_forgot. What is under way is of before, and counts for nothing: so it is as a new connection to another
 * server, but that no message is lost. */
inline forgot()
{
    atomic { printf("link: the server forgot\\n"); REACHED(FORGOT); known = false };
    empty_l1();
    connect()
}

#if defined(REPLACED) && !defined(FORGOT_UNNOTICED)
#define WENT_BACK(n, last) (known && (n) <= (last))
#else
#define WENT_BACK(n, last) false
#endif

active proctype link()
{
    byte n, last;
    bool is_a;
end:
idle:
    do
#ifndef CONNECTED
    :: connect()
#endif
    :: atomic { !beat_out -> /* lk_link_tick, send_beat */
           beat_out = true;
           deaf_at_beat = deaf;
#ifdef REPLACED
           replaced_at_beat = replaced && purged;
           at_beat = (received > applied -> received : applied);
#endif
           printf("link: sends a beat\n");
           if
           :: deaf -> REACHED(DEAFENED)
           :: else
           fi;
           commands!NUMBERS(0);
           commands!PUBLISH(0)
       }
#ifdef REPLACED
    :: atomic { replies?[NUMBERS(_, _, _)] -> replies?NUMBERS(counted, _, _); answered = true }; /* take_numbers */
        if
        :: WENT_BACK(counted + 1, at_beat) ->
            forgot();
            goto idle
        :: atomic { !WENT_BACK(counted + 1, at_beat) -> goto back }
        fi
#else
    :: atomic { replies?[NUMBERS(_, _, _)] -> replies?NUMBERS(counted, _, _); answered = true; goto back } /* take_numbers */
#endif
    :: atomic { replies?[PUBLISH(_, _, _)] -> replies?PUBLISH(_, _, _); heard = true; goto back } /* of mutants */
    :: atomic { subscription?[NONCE(_, _)] -> subscription?NONCE(_, _); heard = true; goto back } /* take_message */
    :: atomic { subscription?[REVOCATION(_, _)] -> /* take_revocation */
           subscription?REVOCATION(n, is_a);
           printf("link: hears of revocation %d\n", n);
           if
           :: is_a -> purge_a()
           :: else
           fi;
           if
           :: !known || n == applied + 1 -> applied = n
           :: known && n > applied + 1 && !gap -> ask_for_missing()
           :: else /* replayed already, or behind a gap that is open */
           fi;
           is_a = false;
#ifndef REPLACED
           n = 0
       }
#else
       };
        if
        :: atomic { WENT_BACK(n, received) -> n = 0 };
            forgot()
        :: atomic { !WENT_BACK(n, received) -> received = n; n = 0 }
        fi
#endif
    :: atomic { replies?[RANGE(_, _, _)] -> replies?RANGE(n, last, is_a) }; /* the log answers */
        if
#ifndef LOG_UNCHECKED
        :: n > applied + 1 -> empty_l1(); REACHED(LOG_TOO_SHORT)
        :: n <= applied + 1 ->
#else
        ::
#endif
            atomic {
                printf("link: replays %d to %d\n", n, last);
                if
                :: is_a -> purge_a(); REACHED(REPLAY)
                :: else
                fi
            }
        fi;
        atomic {
            applied = (last > applied -> last : applied);
            gap = false;
            n = 0;
            last = 0;
            is_a = false;
            goto back
        }
    od;

back: /* complete_beat */
    if
    :: atomic { !BEAT_BACK -> goto idle }
#ifdef CONFIRM_BEFORE_REPAIR
    :: BEAT_BACK && known && (gap || BEHIND) ->
        n = counted;
        confirm();
        atomic {
            if
            :: n > applied && !gap -> ask_for_missing()
            :: else
            fi;
            n = 0
        }
#else
    :: atomic { BEAT_BACK && gap -> goto idle } /* the replay will come back here */
    :: atomic { BEAT_BACK && !gap && BEHIND -> ask_for_missing() }
#endif
    :: atomic { BEAT_BACK && !gap && !known -> /* baseline: the numbers are taken as they are, and L1 as nothing */
           applied = (counted > applied -> counted : applied);
           known = true
       };
#ifndef FIRST_BEAT_KEEPS
        empty_l1();
#endif
        confirm()
    :: BEAT_BACK && !gap && known && !BEHIND -> confirm()
    fi;
    goto idle
}

/* ---------------------------------------------------------------------------------------------- callers -- */

/* Fills L1 time and again: every other validate that misses. */
active proctype miss()
{
    bool ok;
    byte server;
end:
    do
    :: from_l2(0, ok, server);
        d_step { ok = false; server = 0 }
    od
}

inline read_lease()
{
    d_step { seen_age = lease_age; lease_seen = true; printf("validate: reads the lease: %d ticks old\n", seen_age) }
}

inline read_slot()
{
    d_step { held = slot; late_look = held && revoked_age == S; printf("validate: reads the slot: %d\n", held) }
}

inline read_clock()
{
    live = seen_age < S;
    printf("validate: reads the clock\n");
    lease_seen = false;
    seen_age = 0
}

inline answer_from_l1()
{
    if
    :: held && live ->
        ok = true;
        printf("validate: L1 admits\n");
        REACHED(ADMITTED);
        C_HOLDS(!late);
        LOOK_HOLDS(!late_look);
        B_HOLDS(!after)
    :: held && !live -> REACHED(LAPSED)
    :: !held && live && late -> REACHED(LATE)
    :: else
    fi;
    held = false;
    late_look = false;
    live = false
}

#if defined(ANSWERS_OF_ANY_SERVER) || !(defined(RESTART) || defined(REPLACED))
#define ANSWERED_BY_THE_LEASED true
#else
#define ANSWERED_BY_THE_LEASED (server == leased)
#endif

/* Where one property alone is asked for, one that starts earlier cannot break it. */
#if defined(ONLY_LOOK) || (defined(ONLY_B) && defined(ONLY_C))
#define STARTS true
#elif defined(ONLY_C)
#define STARTS (revoked_age == S)
#elif defined(ONLY_B)
#define STARTS (revoked_here)
#else
#define STARTS false
#endif

/* validate.c: latchkey_validate, once. A validate that is answered by L1 changes nothing, and one that is not fills as
 * `miss` does: so if any of many can admit what it must not, this one can. */
active proctype validate()
{
    bool after, held, live, ok;
    byte server;
end:
    d_step { STARTS -> late = revoked_age == S; after = revoked_here; printf("validate: starts\n") };
#if defined(LEASE_AFTER_SLOT)
    read_slot();
    read_lease();
    atomic { read_clock(); answer_from_l1() };
#elif defined(CLOCK_BEFORE_SLOT)
    read_lease();
    atomic { read_clock() };
    atomic { read_slot(); answer_from_l1() };
#else
    read_lease();
    read_slot();
    atomic { read_clock(); answer_from_l1() };
#endif
#if defined(REVOKED_HERE) || defined(RESTART) || defined(REPLACED) /* else: what Redis says is plainly good enough, and `miss` fills */
    if
    :: ok
    :: else ->
        from_l2(1, ok, server);
#ifdef ANSWER_CHECKED_AFTER
        leased = lease_incarnation;
#endif
#if defined(REPLACED) && !defined(REMEMBERED_NOT_DENIED) && !defined(LOOKED_ONCE)
        atomic { ok = ok && !purged }; /* vouched_read.c: what was remembered meanwhile counts, too */
#endif
        atomic {
            if
            :: ok && ANSWERED_BY_THE_LEASED ->
                printf("validate: Redis' answer admits\n");
                REACHED(ADMITTED_BY_L2);
                C_HOLDS(!late);
                B_HOLDS(!after)
            :: ok && !ANSWERED_BY_THE_LEASED -> REACHED(FOREIGN)
            :: !ok && after -> REACHED(AFTER)
            :: else
            fi
        }
    fi;
#endif
    d_step { late = false; after = false; ok = false; server = 0; leased = 0 }
}

#ifdef REVOKED_HERE
/* revoke.c: latchkey_revoke of A on this handle. */
active proctype revoke_here()
{
    bool held;
    held = slot; /* lk_l1_holds */
#if defined(NO_DENIAL)
    atomic { purge_a() };
#elif defined(DENIED_AFTER_PURGE)
    atomic { purge_a() };
    denied = true;
#elif defined(DENIED_TOO_SHORT)
    denied = true;
    atomic { purge_a() };
    denied = false;
#else
    denied = true;
    atomic { purge_a() };
#endif
    if
    :: atomic { true; script(held) }; /* run_script: OK */
        denied = false; /* lk_pending_remove */
        atomic { revoked_here = true; printf("revoke: returns OK\n") }
    :: atomic { revoked_here = true; printf("revoke: returns PENDING, Redis was not reached\n") };
        atomic { script(held) }; /* link.c: start_jobs, LK_JOB_REVOKE; node_side.c: on_job_done */
        denied = false
    :: atomic { true; script(held) };
        atomic { revoked_here = true; printf("revoke: returns PENDING, the reply was lost\n") };
        atomic { script(held) };
        denied = false
    fi
}
#endif
