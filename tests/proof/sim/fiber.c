/* SPDX-License-Identifier: MIT
 *
 * See fiber.h. A switch saves no signal mask, so it makes no system call (_setjmp, _longjmp after a first swapcontext);
 * except under a sanitizer, which wants to be told of every switch and knows swapcontext best.
 *
 * Each fiber has thread-local variables of its own, as the thread has that it stands for: a switch exchanges those of the
 * program. (Libraries that it loads keep theirs. ThreadSanitizer has variables of its own among the program's, so under it
 * nothing is exchanged.)
 */
#include "fiber.h"

#include <link.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

enum { STACK = 256 * 1024, GUARD = 64 * 1024 }; /* below a stack, nothing may be touched */

struct fiber_context {
    ucontext_t inside, outside;
    jmp_buf jump_inside, jump_outside;
    bool begun;
    void (*body)(void *);
    void *argument;
    char *stack;
    char *own, *outer; /* thread-local variables: the fiber's, and those outside of it */
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

static void switch_in(fiber_context *c)
{
    beginning = c;
    c->tsan_outside = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(c->tsan_inside, 0);
    swapcontext(&c->outside, &c->inside);
}

static void switch_out(fiber_context *c)
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

static void switch_in(fiber_context *c)
{
    beginning = c;
    __sanitizer_start_switch_fiber(&c->kept_outside, c->stack, STACK);
    swapcontext(&c->outside, &c->inside);
    __sanitizer_finish_switch_fiber(c->kept_outside, NULL, NULL);
}

static void switch_out(fiber_context *c)
{
    __sanitizer_start_switch_fiber(&c->kept_inside, c->outer_stack, c->outer_size);
    swapcontext(&c->inside, &c->outside);
    entered(c);
}

#else

static void opened(fiber_context *c) { (void)c; }
static void closed(fiber_context *c) { (void)c; }
static void entered(fiber_context *c) { (void)c; }

static void switch_in(fiber_context *c)
{
    if (_setjmp(c->jump_outside)) return;
    if (c->begun) _longjmp(c->jump_inside, 1);
    c->begun = true;
    beginning = c;
    swapcontext(&c->outside, &c->inside);
}

static void switch_out(fiber_context *c)
{
    if (!_setjmp(c->jump_inside)) _longjmp(c->jump_outside, 1);
}
#endif

/* The program's thread-local variables: where they are in this thread, how many bytes, and what they begin with. */
static struct {
    char *at;
    const char *first;
    size_t size, first_size;
} variables;

#if !defined(__SANITIZE_THREAD__)
static int find_variables(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_TLS) continue;
        variables.at = info->dlpi_tls_data;
        variables.size = part->p_memsz;
        variables.first = (const char *)(info->dlpi_addr + part->p_vaddr);
        variables.first_size = part->p_filesz;
    }
    return 1; /* the program is the first that is listed */
}
#endif

static void exchange(char *leaves, const char *comes)
{
    memcpy(leaves, variables.at, variables.size);
    memcpy(variables.at, comes, variables.size);
}

void fiber_enter(fiber_context *c)
{
    if (variables.at) exchange(c->outer, c->own);
    switch_in(c);
}

void fiber_leave(fiber_context *c)
{
    if (variables.at) exchange(c->own, c->outer);
    switch_out(c);
}

void fiber_renew(fiber_context *c, const void *kept, size_t size)
{
    if (!variables.at) return;
    size_t at = kept ? (size_t)((const char *)kept - variables.at) : 0;
    char before[64];
    memcpy(before, c->own + at, size);
    memset(c->own, 0, variables.size);
    memcpy(c->own, variables.first, variables.first_size);
    memcpy(c->own + at, before, size);
}

fiber_context *fiber_context_open(void (*body)(void *), void *argument)
{
#if !defined(__SANITIZE_THREAD__)
    if (!variables.at) dl_iterate_phdr(find_variables, NULL);
#endif
    fiber_context *c = calloc(1, sizeof *c + 2 * variables.size);
    char *stack = c ? mmap(NULL, GUARD + STACK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
    if (stack != MAP_FAILED) stack += GUARD;
    if (stack == MAP_FAILED || mprotect(stack, STACK, PROT_READ | PROT_WRITE) || getcontext(&c->inside)) {
        fputs("sim: no memory for a fiber\n", stderr);
        exit(2);
    }
    c->body = body;
    c->argument = argument;
    c->stack = stack;
    c->own = (char *)(c + 1);
    c->outer = c->own + variables.size;
    fiber_renew(c, NULL, 0);
    c->inside.uc_stack.ss_sp = stack;
    c->inside.uc_stack.ss_size = STACK;
    makecontext(&c->inside, begin, 0);
    opened(c);
    return c;
}

void fiber_context_close(fiber_context *c)
{
    closed(c);
    munmap(c->stack - GUARD, GUARD + STACK);
    free(c);
}
