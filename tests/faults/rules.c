/* SPDX-License-Identifier: MIT */
#include "rules.h"
#include "message.h"

#include <stdio.h>
#include <string.h>

static const char *const action_names[ACTIONS] = {"pass", "hold", "delay", "drip", "drop", "twice", "cut", "freeze"};

static bool one_of(const char *word, const char *first, const char *second, const char *both, bool *is_first,
                   bool *is_second)
{
    *is_first = strcmp(word, first) == 0 || strcmp(word, both) == 0;
    *is_second = strcmp(word, second) == 0 || strcmp(word, both) == 0;
    return *is_first || *is_second;
}

bool rules_add(rules *all, const char *line)
{
    char connections[16], direction[16], kind[16], text[64], what[16];
    rule new = {.argument = 0};
    if (all->size == sizeof all->rule / sizeof *all->rule) return false;
    int words = sscanf(line, "%15s %15s %15s %63s %15s %ld %ld %ld", connections, direction, kind, text, what,
                       &new.argument, &new.skip, &new.count);
    if (words < 5 || !one_of(connections, "commands", "subscription", "all", &new.commands, &new.subscriptions) ||
        !one_of(direction, "up", "down", "both", &new.direction[UP], &new.direction[DOWN]) ||
        !one_of(kind, "message", "other", "any", &new.messages, &new.others))
        return false;
    while (new.action < ACTIONS && strcmp(what, action_names[new.action])) new.action++;
    if (new.action == ACTIONS) return false;
    if (strcmp(text, "-")) snprintf(new.text, sizeof new.text, "%s", text);
    if (!new.count) new.count = -1;
    all->rule[all->size++] = new;
    return true;
}

void rules_clear(rules *all) { all->size = 0; }

static bool concerns(const rule *one, bool subscription, enum direction direction)
{
    return (subscription ? one->subscriptions : one->commands) && one->direction[direction];
}

static bool matches(const rule *one, const char *bytes, size_t size)
{
    if (!(message_is_push(bytes, size) ? one->messages : one->others)) return false;
    return !one->text[0] || message_contains(bytes, size, one->text);
}

action rules_decide(rules *all, bool subscription, enum direction direction, const char *bytes, size_t size,
                    long *argument)
{
    for (size_t i = 0; i < all->size; i++) {
        rule *one = &all->rule[i];
        if (!one->count || !concerns(one, subscription, direction) || !matches(one, bytes, size)) continue;
        if (one->skip) {
            one->skip--;
            continue;
        }
        if (one->count > 0) one->count--;
        *argument = one->argument;
        all->treated[one->action]++;
        return one->action;
    }
    all->treated[PASS]++;
    return PASS;
}

static bool standing(const rules *all, bool subscription, enum direction direction, action what)
{
    for (size_t i = 0; i < all->size; i++) {
        const rule *one = &all->rule[i];
        if (one->action == what && one->messages && one->others && !one->text[0] && one->count < 0 &&
            concerns(one, subscription, direction))
            return true;
    }
    return false;
}

bool rules_freeze(const rules *all, bool subscription, enum direction direction)
{
    return standing(all, subscription, direction, FREEZE);
}

bool rules_swallow(const rules *all, bool subscription, enum direction direction)
{
    return standing(all, subscription, direction, DROP);
}
