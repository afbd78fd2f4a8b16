/* SPDX-License-Identifier: MIT
 *
 * Threads that start together, and children that run tests/system/peer.c.
 */
#ifndef LATCHKEY_TESTS_THREADS_H
#define LATCHKEY_TESTS_THREADS_H

#include <stdatomic.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct crew crew;

typedef struct crew_member {
    crew *crew;
    size_t index;
    void *shared;
} crew_member;

/* Starts `count` threads, lets go of them all at one barrier, and returns; crew_join waits for their end. */
crew *crew_start(size_t count, void (*work)(crew_member *), void *shared);
void crew_join(crew *crew);
/* Both in one. */
void crew_run(size_t count, void (*work)(crew_member *), void *shared);

/* For a test's end: a test that failed has left its threads running, on handles that will be closed. -1: some do not end. */
int crew_end_all(void);

/* Do all of them sleep in the kernel, as they do when they wait for a lock or for a socket? */
int crew_asleep(const crew *crew);

/* True from crew_stop on: for workers that go round until told to stop. */
int crew_stopped(const crew_member *member);
void crew_stop(crew *crew);

/* A second process with a handle of its own (tests/system/peer.c), spoken to in lines over pipes. It dies with this
 * one, and is ended at exit. */
typedef struct peer peer;
peer *peer_start(const char *config); /* and waits until its handle is open; fails the test otherwise */
void peer_end(peer *p);
pid_t peer_pid(const peer *p);

/* Sends one line and returns the line that it answers with, valid until the next call. No answer fails the test. */
const char *peer_ask(peer *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same where the answer is a number. */
long long peer_number(peer *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
