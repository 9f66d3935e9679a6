/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "tools/ffmpeg/pool.h"

enum { HEAD = 64, LARGE = -1 };

/* Lies HEAD bytes in front of a block. */
typedef struct head {
    void *base;             /* what the C library gave */
    struct head *next;      /* that is kept, too */
    int size_class;         /* LARGE: not kept */
} head;

static head *head_of(void *memory)
{
    return (head *)((char *)memory - HEAD);
}

static int class_of(size_t size, size_t align)
{
    if (align > HEAD)
        return LARGE;
    for (int c = 0; c < POOL_CLASSES; c++)
        if (size <= (size_t)HEAD << c)
            return c;
    return LARGE;
}

static void *take(void *cookie, size_t size, size_t align)
{
    pool *p = cookie;
    const int size_class = class_of(size, align);
    const size_t before = align > HEAD ? align : HEAD;
    head *h;

    if (size_class != LARGE && p->kept[size_class]) {
        h = p->kept[size_class];
        p->kept[size_class] = h->next;
        return (char *)h + HEAD;
    }
    if (size_class != LARGE)
        size = (size_t)HEAD << size_class;
    if (size > SIZE_MAX - 2 * before)
        return NULL;
    char *base = aligned_alloc(before, before +
                               (size + before - 1) / before * before);
    if (!base)
        return NULL;
    h = head_of(base + before);
    *h = (head){ base, NULL, size_class };
    return base + before;
}

static void give_back(void *cookie, void *memory)
{
    pool *p = cookie;
    head *h;

    if (!memory)
        return;
    h = head_of(memory);
    if (h->size_class == LARGE) {
        free(h->base);
        return;
    }
    h->next = p->kept[h->size_class];
    p->kept[h->size_class] = h;
}

tsr_allocator pool_allocator(pool *p)
{
    return (tsr_allocator){ p, take, give_back };
}

void pool_empty(pool *p)
{
    for (int c = 0; c < POOL_CLASSES; c++)
        for (head *h = p->kept[c], *next; h; h = next) {
            next = h->next;
            free(h->base);
        }
    *p = (pool){ { NULL } };
}
