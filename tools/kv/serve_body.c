/* SPDX-License-Identifier: BSD-2-Clause */
/* Straight from the kernel and back to it: blocks of some megabytes would stay
 * with malloc's arenas, one for every few threads. */
#define _DEFAULT_SOURCE         /* MAP_ANONYMOUS */
#include <string.h>
#include <sys/mman.h>
#include "tools/kv/serve.h"

static int book(body_budget *g, size_t bytes)
{
    unsigned long long used = atomic_load(&g->used);
    do
        if (bytes > g->most || used > g->most - bytes)
            return BODY_BUSY;
    while (!atomic_compare_exchange_weak(&g->used, &used, used + bytes));
    return BODY_OK;
}

static void release(body_budget *g, void *data, size_t room)
{
    if (data)
        munmap(data, room);
    atomic_fetch_sub(&g->used, room);
}

int body_reserve(body *b, size_t room)
{
    if (room <= b->room)
        return BODY_OK;
    const int busy = book(b->budget, room);
    if (busy)
        return busy;
    uint8_t *data = mmap(NULL, room, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        release(b->budget, NULL, room);
        return BODY_NOMEM;
    }
    if (b->size)
        memcpy(data, b->data, b->size);
    release(b->budget, b->data, b->room);
    b->data = data;
    b->room = room;
    return BODY_OK;
}

void body_add(body *b, const void *data, size_t size)
{
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

void body_free(body *b)
{
    if (b->data)
        release(b->budget, b->data, b->room);
    b->data = NULL;
    b->size = b->room = 0;
}
