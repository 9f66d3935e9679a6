/* SPDX-License-Identifier: BSD-2-Clause */
/* Straight from the kernel and back to it: blocks of some megabytes would stay
 * with malloc's arenas, one for every few threads. */
#define _DEFAULT_SOURCE         /* MAP_ANONYMOUS */
#include <string.h>
#include <sys/mman.h>
#include "tools/kv/serve.h"

enum { STEP = 1 << 20 };

static int book(body_budget *g, size_t bytes)
{
    unsigned long long used = atomic_load(&g->used);
    do
        if (bytes > g->most || used > g->most - bytes)
            return 0;
    while (!atomic_compare_exchange_weak(&g->used, &used, used + bytes));
    return 1;
}

int body_fits(const body_budget *g, size_t bytes)
{
    const unsigned long long used = atomic_load(&g->used);
    return bytes <= g->most && used <= g->most - bytes;
}

int body_reserve(body *b, size_t room)
{
    if (room <= b->room)
        return 1;
    uint8_t *data = mmap(NULL, room, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return 0;
    if (b->size)
        memcpy(data, b->data, b->size);
    if (b->data)
        munmap(b->data, b->room);
    b->data = data;
    b->room = room;
    return 1;
}

int body_add(body *b, const void *data, size_t size)
{
    const size_t needed = b->size + size;
    if (needed > b->booked) {
        size_t step = needed - b->booked;
        const size_t left = b->room - b->booked;
        step = step < STEP ? STEP : step;
        step = step < left ? step : left;
        if (!book(b->budget, step))
            return 0;
        b->booked += step;
    }
    memcpy(b->data + b->size, data, size);
    b->size = needed;
    return 1;
}

void body_free(body *b)
{
    if (b->data)
        munmap(b->data, b->room);
    if (b->booked)
        atomic_fetch_sub(&b->budget->used, b->booked);
    b->data = NULL;
    b->size = b->room = b->booked = 0;
}
