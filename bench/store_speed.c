/* SPDX-License-Identifier: BSD-2-Clause */
/* How fast objects go into a store and come back: store_speed URL MIB COUNT.
 * Prints one line: MiB, then of put, get of whole objects, and get of 64 KiB
 * anywhere: GB/s (the best of 12 passes) and our CPU seconds per GB. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <tessera/store.h>

enum { PASSES = 12, SMALL = 64 << 10 };

static double wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
        1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void say(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie, (void)level;
    fprintf(stderr, "%s\n", text);
}

typedef struct place { unsigned char *data; size_t size, used; } place;

static tsr_error take(void *cookie, const void *data, size_t size)
{
    place *p = cookie;
    if (p->used + size > p->size)
        return TSR_E_LIMIT;
    memcpy(p->data + p->used, data, size);
    p->used += size;
    return TSR_OK;
}

typedef struct job {
    tsr_store *store;
    unsigned char *data;
    place place;
    size_t size;
    int count;
} job;

static void key_of(char key[16], int i)
{
    snprintf(key, 16, "k%06d", i);
}

static tsr_error put(job *j, int i)
{
    char key[16];
    key_of(key, i);
    return tsr_store_put(j->store, key, j->data, j->size);
}

static tsr_error get(job *j, int i)
{
    const tsr_sink sink = { &j->place, take };
    char key[16];
    key_of(key, i);
    j->place.used = 0;
    return tsr_store_get(j->store, key, 0, 0, &sink, NULL);
}

static tsr_error get_small(job *j, int i)
{
    const tsr_sink sink = { &j->place, take };
    char key[16];
    key_of(key, i);
    j->place.used = 0;
    return tsr_store_get(j->store, key, (uint64_t)i * 7919 % (j->size - SMALL),
                         SMALL, &sink, NULL);
}

static void measure(job *j, tsr_error (*one)(job *j, int i), size_t size)
{
    const double gb = 1e-9 * (double)size * j->count;
    double best = 1e9, used = 1e9;
    for (int pass = 0; pass < PASSES; pass++) {
        const double w = wall(), c = cpu();
        for (int i = 0; i < j->count; i++)
            if (one(j, i))
                exit(1);
        best = wall() - w < best ? wall() - w : best;
        used = cpu() - c < used ? cpu() - c : used;
    }
    printf(" | %.2f | %.2f", gb / best, used / gb);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    tsr_store_settings s;
    job j = { .count = argc == 4 ? atoi(argv[3]) : 0 };
    j.size = argc == 4 ? (size_t)atoi(argv[2]) << 20 : 0;
    if (!j.size || j.count < 1) {
        fprintf(stderr, "store_speed URL MIB COUNT\n");
        return 2;
    }
    tsr_store_settings_init(&s);
    s.logger.log = say;
    if (tsr_store_open(&j.store, argv[1], &s))
        return 1;
    j.data = malloc(j.size);
    j.place = (place){ malloc(j.size), j.size, 0 };
    if (!j.data || !j.place.data)
        return 1;
    for (size_t i = 0; i < j.size; i++)
        j.data[i] = (unsigned char)(i * 2654435761u >> 13);
    memset(j.place.data, 1, j.size);
    printf("%s", argv[2]);
    measure(&j, put, j.size);
    measure(&j, get, j.size);
    measure(&j, get_small, SMALL);
    printf("\n");
    tsr_store_close(&j.store);
    free(j.data);
    free(j.place.data);
    return 0;
}
