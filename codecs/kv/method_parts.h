/* SPDX-License-Identifier: BSD-2-Clause */
/* What the published methods are put together from: options, memory out of the
 * caller's scratch, matrices of codes, groups with a scale and a minimum.
 * docs/kv-format.md section 6 is the format. */
#ifndef TSR_CODECS_KV_METHOD_PARTS_H
#define TSR_CODECS_KV_METHOD_PARTS_H
#include <math.h>
#include <string.h>
#include "codecs/kv/method.h"
#include "codecs/kv/move.h"
#include "lib/bytes.h"
#include "lib/weights.h"

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

/** A matrix of 16-bit floats [row][column] as they are stored in uint16_t, the
 *  same way. */
size_t tsri_kv_halves_bound(size_t rows, size_t columns);
size_t tsri_kv_halves_scratch(size_t rows, size_t columns);
size_t tsri_kv_halves_put(const uint16_t *half, size_t rows, size_t columns,
                          bool plain, unsigned cpu, tsri_kv_arena arena,
                          uint8_t *out);
/** TSR_E_CORRUPT also for infinities and NaN. */
tsr_error tsri_kv_halves_get(uint16_t *half, size_t rows, size_t columns,
                             unsigned cpu, tsri_kv_arena arena,
                             tsri_kv_reader *in);

/* ---- groups with a scale and a minimum ---- */

/**
 * A matrix cut into rectangles of token_group x channel_group values (those at
 * the ends are smaller; none reaches into another `segment` of channels), each
 * quantised to 2^bits levels between its least and its largest value:
 *
 *     scale = half((most - least) / (2^bits - 1)), base = half(least)
 *     code = nearest even of (x - base) / scale;  x = code * scale + base
 *
 * code [token][channel], half [row of groups][group][scale, base].
 */
typedef struct tsri_kv_grid {
    int tokens, channels, segment, token_group, channel_group, bits;
    uint8_t *code;
    uint16_t *half;
} tsri_kv_grid;

/** Most bytes in a unit; of arena for coding; sets code and half to memory of
 *  the arena, tsri_kv_grid_room() bytes of it.  All 0 for no tokens. */
size_t tsri_kv_grid_bound(const tsri_kv_grid *grid);
size_t tsri_kv_grid_scratch(const tsri_kv_grid *grid);
size_t tsri_kv_grid_room(const tsri_kv_grid *grid);
void tsri_kv_grid_take(tsri_kv_grid *grid, tsri_kv_arena *arena);

/** False: a number is too large for 16 bits. */
bool tsri_kv_grid_quantise(const tsri_kv_grid *grid, const float *x);
void tsri_kv_grid_restore(const tsri_kv_grid *grid, float *x);

size_t tsri_kv_grid_put(const tsri_kv_grid *grid, bool plain, unsigned cpu,
                        tsri_kv_arena arena, uint8_t *out);
tsr_error tsri_kv_grid_get(const tsri_kv_grid *grid, unsigned cpu,
                           tsri_kv_arena arena, tsri_kv_reader *in);

/* ---- few values by themselves ---- */

/** Sets mask[i] of the `few` largest and `few` smallest of n values `step`
 *  apart, 2 * few <= n; work: n floats. */
void tsri_kv_sparse_mark(const float *x, size_t n, size_t step, size_t few,
                         uint8_t *mask, float *work);

/** The mask (0 or 1 each) and the 16-bit floats of those of x[n] that it has;
 *  0: one is too large.  Most bytes; the reverse writes these into x, and the
 *  mask, to be called before what follows. */
size_t tsri_kv_sparse_bound(size_t n);
size_t tsri_kv_sparse_put(const float *x, const uint8_t *mask, size_t n,
                          uint8_t *out);
tsr_error tsri_kv_sparse_get(tsri_kv_reader *in, uint8_t *mask, size_t n,
                             const uint8_t **values);
void tsri_kv_sparse_set(const uint8_t *values, const uint8_t *mask, size_t n,
                        float *x);

/* ---- tokens as they are ---- */

static inline size_t tsri_kv_raw_bytes(const tsri_kv_tile *tile, int tokens)
{
    return (size_t)tokens * tsri_kv_channels(tile) *
           tsri_kv_dtype_bytes(tile->dtype);
}
/** TSR_E_CORRUPT when they are cut or not finite. */
tsr_error tsri_kv_raw_get(const tsri_kv_tile *tile, int tokens, unsigned cpu,
                          tsri_kv_reader *in, float *x);

/* ---- small numbers ---- */

/** x rounded to a 16-bit float, to nearest even. */
uint16_t tsri_kv_half(float x);

static inline bool tsri_kv_half_finite(uint16_t half)
{
    return (half & 0x7c00) != 0x7c00;
}

/** Are n of them, as a unit has them? */
bool tsri_kv_halves_finite(const uint8_t *halves, size_t n);
#endif
