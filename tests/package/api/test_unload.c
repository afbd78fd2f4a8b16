/* SPDX-License-Identifier: MIT
 *
 * A plugin is unloaded (dlclose) while the library still looks up a host, in a thread that nobody can wait for: the code must
 * stay. The name server is this program's: the library calls its getaddrinfo.
 *   api_unload liblatchkey.so
 */
#include "latchkey.h"

#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

static sem_t asked, answer;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    (void)host, (void)service, (void)list;
    if (hints->ai_flags & AI_NUMERICHOST) return EAI_NONAME;
    sem_post(&asked);
    sem_wait(&answer);
    return EAI_AGAIN;
}

static unsigned threads(void)
{
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *e; tasks && (e = readdir(tasks));) count += e->d_name[0] != '.';
    if (tasks) closedir(tasks);
    return count;
}

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) return (void)fprintf(stderr, "%s\n", argc > 1 ? dlerror() : "which library?"), 2;
    int (*open_handle)(const char *, latchkey **, char *, size_t);
    void (*close_handle)(latchkey *);
    *(void **)&open_handle = dlsym(library, "latchkey_open");
    *(void **)&close_handle = dlsym(library, "latchkey_close");
    latchkey *lk;
    char error[256] = "";
    sem_init(&asked, 0, 0);
    sem_init(&answer, 0, 0);
    unsigned before = threads();
    if (open_handle("redis://silent.example?lazy=1", &lk, error, sizeof error)) return (void)puts(error), 2;
    sem_wait(&asked);
    close_handle(lk);
    dlclose(library);
    sem_post(&answer);
    while (threads() > before) usleep(1000); /* the thread ends, or the program crashes */
    puts("it has ended");
    return 0;
}
