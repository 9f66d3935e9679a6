/* SPDX-License-Identifier: BSD-2-Clause */
/* What every test includes: CMocka with the headers it forgets, a context that
 * fails loudly, a random generator with a seed. */
#ifndef TSR_TESTS_CHECK_H
#define TSR_TESTS_CHECK_H
#include "config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <tessera/context.h>

/** xorshift64*: the same numbers on every machine. */
typedef struct check_rng { uint64_t s; } check_rng;

static inline uint32_t check_u32(check_rng *r)
{
    r->s ^= r->s >> 12;
    r->s ^= r->s << 25;
    r->s ^= r->s >> 27;
    return (uint32_t)((r->s * 2685821657736338717ull) >> 32);
}
/** Uniform in 0..n-1. */
static inline uint32_t check_below(check_rng *r, uint32_t n)
{
    return (uint32_t)((uint64_t)check_u32(r) * n >> 32);
}
/** Uniform in [-1, 1). */
static inline float check_float(check_rng *r)
{
    return (float)((int32_t)check_u32(r) >> 8) / (float)(1 << 23);
}

static inline void check_log(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    if (level <= TSR_LOG_WARNING)
        fprintf(stderr, "# %s\n", text);
}

/** A context with `threads` threads on `backend`, messages on stderr. */
static inline tsr_context *check_context(const char *backend, int threads)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.backend = backend;
    s.threads = threads;
    s.logger.log = check_log;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/** The path of a file of the source tree; one buffer, overwritten. */
static inline const char *check_path(const char *name)
{
    static char path[4096];
    const char *root = getenv("TSR_SRCDIR");
    snprintf(path, sizeof path, "%s/%s", root ? root : ".", name);
    return path;
}
#endif
