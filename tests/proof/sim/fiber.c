/* SPDX-License-Identifier: MIT
 *
 * See fiber.h. A switch saves no signal mask, so it makes no system call (_setjmp, _longjmp after a first swapcontext);
 * except under a sanitizer, which wants to be told of every switch and knows swapcontext best.
 */
#include "fiber.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

enum { STACK = 256 * 1024 };

struct fiber_context {
    ucontext_t inside, outside;
    jmp_buf jump_inside, jump_outside;
    bool begun;
    void (*body)(void *);
    void *argument;
    char *stack;
    /* the sanitizers' notes */
    void *kept_inside, *kept_outside;
    const void *outer_stack;
    size_t outer_size;
    void *tsan_inside, *tsan_outside;
};

static fiber_context *beginning;
static void entered(fiber_context *c);

static void begin(void)
{
    fiber_context *c = beginning;
    entered(c);
    c->body(c->argument);
    abort(); /* a body gives way for good instead of returning */
}

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>

static void opened(fiber_context *c) { c->tsan_inside = __tsan_create_fiber(0); }
static void closed(fiber_context *c) { __tsan_destroy_fiber(c->tsan_inside); }
static void entered(fiber_context *c) { (void)c; }

void fiber_enter(fiber_context *c)
{
    beginning = c;
    c->tsan_outside = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(c->tsan_inside, 0);
    swapcontext(&c->outside, &c->inside);
}

void fiber_leave(fiber_context *c)
{
    __tsan_switch_to_fiber(c->tsan_outside, 0);
    swapcontext(&c->inside, &c->outside);
}

#elif defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>

static void opened(fiber_context *c) { (void)c; }
static void closed(fiber_context *c) { (void)c; }
static void entered(fiber_context *c)
{
    __sanitizer_finish_switch_fiber(c->kept_inside, &c->outer_stack, &c->outer_size);
}

void fiber_enter(fiber_context *c)
{
    beginning = c;
    __sanitizer_start_switch_fiber(&c->kept_outside, c->stack, STACK);
    swapcontext(&c->outside, &c->inside);
    __sanitizer_finish_switch_fiber(c->kept_outside, NULL, NULL);
}

void fiber_leave(fiber_context *c)
{
    __sanitizer_start_switch_fiber(&c->kept_inside, c->outer_stack, c->outer_size);
    swapcontext(&c->inside, &c->outside);
    entered(c);
}

#else

static void opened(fiber_context *c) { (void)c; }
static void closed(fiber_context *c) { (void)c; }
static void entered(fiber_context *c) { (void)c; }

void fiber_enter(fiber_context *c)
{
    if (_setjmp(c->jump_outside)) return;
    if (c->begun) _longjmp(c->jump_inside, 1);
    c->begun = true;
    beginning = c;
    swapcontext(&c->outside, &c->inside);
}

void fiber_leave(fiber_context *c)
{
    if (!_setjmp(c->jump_inside)) _longjmp(c->jump_outside, 1);
}
#endif

fiber_context *fiber_context_open(void (*body)(void *), void *argument)
{
    fiber_context *c = calloc(1, sizeof *c);
    char *stack = c ? mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (stack == MAP_FAILED || getcontext(&c->inside)) {
        fputs("sim: no memory for a fiber\n", stderr);
        exit(2);
    }
    c->body = body;
    c->argument = argument;
    c->stack = stack;
    c->inside.uc_stack.ss_sp = stack;
    c->inside.uc_stack.ss_size = STACK;
    makecontext(&c->inside, begin, 0);
    opened(c);
    return c;
}

void fiber_context_close(fiber_context *c)
{
    closed(c);
    munmap(c->stack, STACK);
    free(c);
}
