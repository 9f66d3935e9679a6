/* SPDX-License-Identifier: BSD-2-Clause */
/* A context whose memory runs out: for tests that fail every allocation. */
#ifndef TSR_TESTS_POOR_H
#define TSR_TESTS_POOR_H
#include "tests/check.h"
#include <stdatomic.h>

enum { POOR_MANY = 1 << 20 };
/** Allocations that still succeed; those that live; the largest asked for. */
static atomic_int poor_left, poor_held;
static atomic_size_t poor_largest;

static void *poor_alloc(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    if (size > poor_largest)
        poor_largest = size;
    if (atomic_fetch_sub(&poor_left, 1) < 1)
        return NULL;
    atomic_fetch_add(&poor_held, 1);
    /* Nothing may depend on what fresh memory holds. */
    void *memory = aligned_alloc(align, (size + align - 1) / align * align);
    return memory ? memset(memory, 0xa5, size) : NULL;
}

static void poor_free(void *cookie, void *memory)
{
    (void)cookie;
    atomic_fetch_sub(&poor_held, 1);
    free(memory);
}

/** To be closed; logs nothing. */
static inline tsr_context *poor_context(const char *backend, int threads)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.allocator = (tsr_allocator){ NULL, poor_alloc, poor_free };
    s.backend = backend;
    s.threads = threads;
    poor_left = POOR_MANY;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}
#endif
