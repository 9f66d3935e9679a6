/* SPDX-License-Identifier: BSD-2-Clause */
/* What the published methods are put together from: options, memory out of the
 * caller's scratch, matrices of codes, groups with a scale and a minimum.
 * docs/kv-format.md section 6 is the format. */
#ifndef TSR_CODECS_KV_METHOD_PARTS_H
#define TSR_CODECS_KV_METHOD_PARTS_H
#include <string.h>
#include "codecs/kv/method.h"
#include "codecs/kv/move.h"
#include "lib/bytes.h"

/* ---- options: "name:key=value,key=value" ---- */

enum { TSRI_KV_OPTIONS = 20 };

/** A whole number, two bytes of the header's params at twice its place in the
 *  method's list. */
typedef struct tsri_kv_option {
    const char *key;
    int least, most, step, standard;    /* 0..65535; step counts from least */
    int scale;                          /* units of a written 1 */
} tsri_kv_option;

/** Fills params from settings->method; TSR_E_ARG, logged. */
tsr_error tsri_kv_options_read(tsr_context *ctx, const tsr_kv_settings *settings,
                               const tsri_kv_option *list, int n,
                               uint8_t params[40]);

/** Are they what tsri_kv_options_read() can write?  TSR_OK; TSR_E_CORRUPT. */
tsr_error tsri_kv_options_check(const tsri_kv_option *list, int n,
                                const uint8_t params[40]);

static inline int tsri_kv_option_at(const uint8_t *params, int i)
{
    return tsri_get16(params + 2 * i);
}

/* ---- sizes of a tile ---- */

static inline size_t tsri_kv_channels(const tsri_kv_tile *tile)
{
    return (size_t)tile->heads * (size_t)tile->dim;
}
/** At most 2^26. */
static inline size_t tsri_kv_values(const tsri_kv_tile *tile)
{
    return (size_t)tile->tokens * tsri_kv_channels(tile);
}

/* ---- memory out of scratch ---- */

/** A stack of blocks.  What is given back may be had again when all above it
 *  was given back too.  A copy of an arena is a mark to go back to. */
typedef struct tsri_kv_arena {
    uint8_t *at, *end;
    struct tsri_kv_block { struct tsri_kv_block *below; bool used; } *top;
} tsri_kv_arena;

static inline tsri_kv_arena tsri_kv_arena_of(void *memory, size_t size)
{
    return (tsri_kv_arena){ memory, (uint8_t *)memory + size, NULL };
}

/** n bytes, 64-byte aligned; NULL when there are not so many left. */
void *tsri_kv_arena_take(tsri_kv_arena *arena, size_t n);

/** What tsri_kv_arena_take() of n takes at most. */
static inline size_t tsri_kv_arena_room(size_t n)
{
    return n + 128;
}

/** A context of one thread whose memory is the arena, silent, for the parts of
 *  the library that need one.  Nothing has to be closed. */
bool tsri_kv_arena_context(tsri_kv_arena *arena, unsigned cpu, tsr_context *ctx);

/* ---- reading ---- */

typedef struct tsri_kv_reader {
    const uint8_t *at, *end;
} tsri_kv_reader;

/** The next n bytes, or NULL. */
static inline const uint8_t *tsri_kv_take(tsri_kv_reader *r, size_t n)
{
    if (n > (size_t)(r->end - r->at))
        return NULL;
    r->at += n;
    return r->at - n;
}

/* ---- matrices of codes ---- */

/** Codes [token][channel], each below `alphabet`, 2..256. */
typedef struct tsri_kv_codes {
    uint8_t *code;
    int tokens, channels, alphabet;     /* tokens and channels 1.. */
} tsri_kv_codes;

/** Most bytes in a unit; bytes of arena. */
size_t tsri_kv_codes_bound(int tokens, int channels, int alphabet);
size_t tsri_kv_codes_scratch(int tokens, int channels);

/** Writes them the shorter way, `plain`: packed.  Returns the bytes. */
size_t tsri_kv_codes_put(const tsri_kv_codes *codes, bool plain, unsigned cpu,
                         tsri_kv_arena arena, uint8_t *out);

/** TSR_OK; TSR_E_CORRUPT, also when the arena is too small for what it says it
 *  needs, which no writer's is. */
tsr_error tsri_kv_codes_get(const tsri_kv_codes *codes, unsigned cpu,
                            tsri_kv_arena arena, tsri_kv_reader *in);

/* ---- elements, all bits of them ---- */

/** x: tokens x channels of dtype, aligned; method_lossless.c. */
size_t tsri_kv_floats_bound(const tsri_kv_tile *tile, tsr_kv_dtype dtype);
size_t tsri_kv_floats_scratch(const tsri_kv_tile *tile);
size_t tsri_kv_floats_put(const tsri_kv_tile *tile, tsr_kv_dtype dtype,
                          bool plain, unsigned cpu, const void *x,
                          tsri_kv_arena arena, uint8_t *out);
tsr_error tsri_kv_floats_get(const tsri_kv_tile *tile, tsr_kv_dtype dtype,
                             unsigned cpu, tsri_kv_arena arena,
                             tsri_kv_reader *in, void *x);

/* ---- small numbers ---- */

/** Writes x as a 16-bit float, rounded to nearest even, and returns what was
 *  written; and reads one. */
float tsri_kv_half(float x, uint8_t to[2]);
float tsri_kv_half_at(const uint8_t from[2]);
#endif
