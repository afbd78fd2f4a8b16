/* SPDX-License-Identifier: MIT */
#include "board.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Some seconds' worth each. */
enum { LATELY_ENDED = 200, LATELY_MADE = 150, NEWEST = 6, FIRST = 40 };

board *board_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return NULL;
    void *memory = MAP_FAILED;
    if (ftruncate(fd, sizeof(board)) == 0)
        memory = mmap(NULL, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

int board_add(board *b, const char *token)
{
    unsigned number = atomic_fetch_add(&b->made, 1);
    if (number >= BOARD_SESSIONS) return -1;
    memcpy(b->session[number].token, token, LATCHKEY_TOKEN_SIZE);
    atomic_store_explicit(&b->session[number].there, 1, memory_order_release);
    return (int)number;
}

void board_end(board *b, unsigned number)
{
    unsigned place = atomic_fetch_add(&b->ended, 1);
    if (place < BOARD_SESSIONS) atomic_store(&b->end[place], number + 1);
}

/* One of the last `lately` of `count`; -1: none. */
static int one_of_last(unsigned count, unsigned lately, unsigned random)
{
    if (count > BOARD_SESSIONS) count = BOARD_SESSIONS;
    if (!count) return -1;
    unsigned among = count < lately ? count : lately;
    return (int)(count - 1 - random % among);
}

int board_choose(board *b, unsigned random)
{
    unsigned kind = random % 8, made = atomic_load(&b->made);
    int number = -1;
    random /= 8;
    if (kind < 4) {
        int place = one_of_last(atomic_load(&b->ended), LATELY_ENDED, random);
        if (place >= 0) number = (int)atomic_load(&b->end[place]) - 1;
    }
    if (kind == 4) number = one_of_last(made < FIRST ? made : FIRST, FIRST, random);
    if (kind == 5) number = one_of_last(made, NEWEST, random);
    if (number < 0) number = one_of_last(made, LATELY_MADE, random);
    if (number < 0 || !atomic_load_explicit(&b->session[number].there, memory_order_acquire)) return -1;
    return number;
}
