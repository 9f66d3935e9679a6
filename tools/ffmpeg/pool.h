/* SPDX-License-Identifier: BSD-2-Clause */
/* Heap memory that is kept: what has been freed serves the next request of its
 * size, so that what takes and gives back the same blocks again and again does
 * not call the system.  One thread at a time. */
#ifndef TOOLS_FFMPEG_POOL_H
#define TOOLS_FFMPEG_POOL_H
#include <tessera/context.h>

enum { POOL_CLASSES = 13 };     /* 64 bytes to 256 KiB, in powers of two */

/** All 0 at first. */
typedef struct pool {
    void *kept[POOL_CLASSES];
} pool;

/** For a context of one thread.  The pool must live longer. */
tsr_allocator pool_allocator(pool *p);

/** Gives back what is kept. */
void pool_empty(pool *p);
#endif
