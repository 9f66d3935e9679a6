/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys before rotation by channel, values by token: what is far out by itself,
 * the rest between -1 and 1 by a table of levels, one a layer and plane.  The
 * profile's tensor kvquant.lut.{layer}.{plane}, F32 [2^bits], or without one
 * the levels of Lloyd and Max for the tile.
 *
 * Source: Hooper et al., "KVQuant: Towards 10 Million Context Length LLM
 * Inference with KV Cache Quantization", NeurIPS 2024, and its code. */
#include <stdio.h>
#include "codecs/kv/method_list.h"
#include "vq/scalar.h"

enum { BITS, OUTLIERS, FIRST, PLAIN, OPTIONS };
enum { OWN = 0, OF_PROFILE = 1, SAMPLES = 16384, MAX_LEVELS = 16 };

static const tsri_kv_option options[OPTIONS] = {
    { "bits", 2, 4, 1, 4, 1 },
    { "outliers", 0, 1000, 1, 100, 100 },   /* percent */
    { "first", 0, 64, 1, 4, 1 },            /* tokens as they are */
    { "plain", 0, 1, 1, 0, 1 }
};

static tsr_error settings(tsr_context *ctx, const tsr_kv_settings *s,
                          uint8_t params[40])
{
    return tsri_kv_options_read(ctx, s, options, OPTIONS, params);
}

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    (void)shape;
    return tsri_kv_options_check(options, OPTIONS, params);
}

/* ---- sizes ---- */

static int first_tokens(const tsri_kv_tile *tile)
{
    const uint64_t first = (uint64_t)tsri_kv_option_at(tile->params, FIRST);
    const uint64_t n = first > tile->first ? first - tile->first : 0;

    return n < (uint64_t)tile->tokens ? (int)n : tile->tokens;
}

/* What is quantised: a matrix whose vectors are columns or rows. */
typedef struct layout {
    int raw, tokens, channels, bits;
    size_t values, vectors, length;
    bool keys;
} layout;

static layout layout_of(const tsri_kv_tile *tile, int raw)
{
    layout l = { .raw = raw, .channels = tile->heads * tile->dim,
                 .bits = tsri_kv_option_at(tile->params, BITS),
                 .keys = tile->plane == 0 };

    l.tokens = tile->tokens - l.raw;
    l.values = (size_t)l.tokens * (size_t)l.channels;
    l.vectors = (size_t)(l.keys ? l.channels : l.tokens);
    l.length = (size_t)(l.keys ? l.tokens : l.channels);
    return l;
}

/* Of the matrix of offsets and ranges. */
static size_t half_rows(const layout *l)
{
    return l->keys ? 1 : (size_t)l->tokens;
}
static size_t half_columns(const layout *l)
{
    return 2 * l->vectors / half_rows(l);
}

static size_t bound(const tsri_kv_tile *tile)
{
    const layout l = layout_of(tile, 0);
    const int raw = tsri_kv_option_at(tile->params, FIRST);

    return tsri_kv_raw_bytes(tile, tsri_min(raw, tile->tokens)) +
           tsri_kv_sparse_bound(l.values) + 2 + 4 * MAX_LEVELS +
           tsri_kv_halves_bound(half_rows(&l), half_columns(&l)) +
           tsri_kv_codes_bound(l.tokens, l.channels, 1 << l.bits);
}

static size_t scratch(const tsri_kv_tile *tile)
{
    const layout l = layout_of(tile, 0);
    const size_t vectors = tsri_kv_arena_room(l.vectors * sizeof(float));

    return 2 * tsri_kv_arena_room(l.values) + 4 * vectors +
           tsri_kv_arena_room(l.length * sizeof(float)) +
           tsri_kv_arena_room(SAMPLES * sizeof(float)) +
           tsri_kv_halves_scratch(half_rows(&l), half_columns(&l)) +
           tsri_kv_codes_scratch(l.tokens, l.channels);
}

typedef struct parts {
    layout l;
    uint8_t *code, *mask;
    float *step, *inverse, *offset, *work, *sample;
    uint16_t *half;     /* [vector][offset, range] */
} parts;

static parts take_parts(const tsri_kv_tile *tile, tsri_kv_arena *arena)
{
    parts p = { .l = layout_of(tile, first_tokens(tile)) };
    const size_t vectors = p.l.vectors * sizeof(float);

    p.code = tsri_kv_arena_take(arena, p.l.values);
    p.mask = tsri_kv_arena_take(arena, p.l.values);
    p.step = tsri_kv_arena_take(arena, vectors);
    p.inverse = tsri_kv_arena_take(arena, vectors);
    p.offset = tsri_kv_arena_take(arena, vectors);
    p.half = tsri_kv_arena_take(arena, vectors);
    p.work = tsri_kv_arena_take(arena, p.l.length * sizeof(float));
    p.sample = tsri_kv_arena_take(arena, SAMPLES * sizeof(float));
    return p;
}

static tsri_scalar_block block_of(const parts *p)
{
    const size_t channels = (size_t)p->l.channels;

    return (tsri_scalar_block){ (size_t)p->l.tokens, channels, channels,
                                channels, !p->l.keys, p->step, p->inverse,
                                p->offset };
}

static tsri_kv_codes codes_of(const parts *p)
{
    return (tsri_kv_codes){ p->code, p->l.tokens, p->l.channels,
                            1 << p->l.bits };
}

/* ---- both ways ---- */

/* Steps and offsets from the 16-bit numbers. */
static void read_halves(const parts *p)
{
    for (size_t i = 0; i < p->l.vectors; i++) {
        const float range = tsri_half_to_float(p->half[2 * i + 1]);
        p->offset[i] = tsri_half_to_float(p->half[2 * i]);
        p->step[i] = range > 0 ? range : TSRI_SCALAR_MIN_STEP;
    }
    tsri_scalar_invert(p->step, p->offset, p->l.vectors, p->inverse);
}

static bool profile_levels(const tsri_kv_tile *tile, int bits,
                           tsri_levels *levels)
{
    float level[MAX_LEVELS];
    char name[64];

    if (!tile->profile)
        return false;
    snprintf(name, sizeof name, "kvquant.lut.%d.%d", tile->layer, tile->plane);
    const tsr_tensor *t = tsr_model_tensor(tile->profile, name);
    if (!t || t->dtype != TSR_F32 || t->rank != 1 ||
        t->dims[0] != (uint64_t)1 << bits)
        return false;
    for (int i = 0; i < 1 << bits; i++)
        level[i] = tsri_getf32((const uint8_t *)t->data + 4 * i);
    return tsri_levels_set(levels, level, 1 << bits);
}

/* ---- encoder ---- */

/* The middle and half the width of what is left of a vector; what is out is put
 * in the middle. */
static bool normalise(const parts *p, size_t i, float *x)
{
    const size_t n = p->l.length, step = p->l.keys ? p->l.vectors : 1;
    const uint8_t *mask = p->mask + (p->l.keys ? i : i * n);
    float least = 0, most = 0;
    bool any = false;

    x += mask - p->mask;
    for (size_t k = 0; k < n; k++)
        if (!mask[k * step]) {
            least = any && least < x[k * step] ? least : x[k * step];
            most = any && most > x[k * step] ? most : x[k * step];
            any = true;
        }
    const float middle = least / 2 + most / 2;
    p->half[2 * i] = tsri_kv_half(middle);
    p->half[2 * i + 1] = tsri_kv_half(most / 2 - least / 2);
    for (size_t k = 0; k < n; k++)
        if (mask[k * step])
            x[k * step] = middle;
    return tsri_kv_half_finite(p->half[2 * i]) &&
           tsri_kv_half_finite(p->half[2 * i + 1]);
}

static void mark_outliers(const parts *p, const float *x, int per_10000)
{
    const size_t n = p->l.length;
    size_t few = (n * (size_t)per_10000 + 10000) / 20000;

    few = few > (n - 1) / 2 ? (n - 1) / 2 : few;
    memset(p->mask, 0, p->l.values);
    for (size_t i = 0; i < p->l.vectors; i++) {
        const size_t at = p->l.keys ? i : i * n;
        tsri_kv_sparse_mark(x + at, n, p->l.keys ? p->l.vectors : 1, few,
                            p->mask + at, p->work);
    }
}

/* Levels for some of the values that are not out. */
static bool train(const parts *p, const float *x, unsigned cpu,
                  tsri_kv_arena arena, tsri_levels *levels)
{
    const size_t channels = (size_t)p->l.channels;
    const size_t every = (p->l.values + SAMPLES - 1) / SAMPLES;
    size_t n = 0;
    tsr_context ctx;

    p->sample[0] = 0;
    for (size_t i = 0; i < p->l.values; i += every) {
        const size_t v = p->l.keys ? i % channels : i / channels;
        const float y = (x[i] - p->offset[v]) * p->inverse[v];
        if (!p->mask[i])
            p->sample[n++] = y < -1 ? -1 : y > 1 ? 1 : y;
    }
    return tsri_kv_arena_context(&arena, cpu, &ctx) &&
           !tsri_levels_train(levels, &ctx, p->sample, NULL, n ? n : 1,
                              1 << p->l.bits);
}

static size_t put_levels(const tsri_levels *levels, bool own, uint8_t *out)
{
    size_t size = 1;

    out[0] = own ? OWN : OF_PROFILE;
    if (!own)
        return size;
    out[size++] = (uint8_t)levels->count;
    for (int i = 0; i < levels->count; i++, size += 4) {
        uint32_t bits;
        memcpy(&bits, &levels->level[i], sizeof bits);
        tsri_put32(out + size, bits);
    }
    return size;
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, void *data,
                     uint8_t *out, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    const bool plain = tsri_kv_option_at(tile->params, PLAIN);
    const layout l = layout_of(tile, first_tokens(tile));
    const size_t first = (size_t)l.raw * (size_t)l.channels;
    float *x = (float *)data + first;
    size_t size = tsri_kv_raw_bytes(tile, l.raw);
    tsri_levels levels;

    tsri_kv_to_dtype(tile->dtype, cpu, data, first, out);
    if (!l.tokens)
        return size;
    const parts p = take_parts(tile, &arena);
    mark_outliers(&p, x, tsri_kv_option_at(tile->params, OUTLIERS));
    const size_t sparse = tsri_kv_sparse_put(x, p.mask, l.values, out + size);
    bool good = sparse > 0;
    for (size_t i = 0; good && i < l.vectors; i++)
        good = normalise(&p, i, x);
    if (!good)
        return 0;
    size += sparse;
    read_halves(&p);
    const bool own = !profile_levels(tile, l.bits, &levels);
    if (own && !train(&p, x, cpu, arena, &levels))
        return 0;
    size += put_levels(&levels, own, out + size);
    size += tsri_kv_halves_put(p.half, half_rows(&l), half_columns(&l), plain,
                               cpu, arena, out + size);
    const tsri_scalar_block block = block_of(&p);
    const tsri_kv_codes codes = codes_of(&p);
    tsri_levels_encode(&levels, &block, cpu, x, p.code);
    return size + tsri_kv_codes_put(&codes, plain, cpu, arena, out + size);
}

/* ---- decoder ---- */

static tsr_error get_levels(const tsri_kv_tile *tile, int bits,
                            tsri_kv_reader *in, tsri_levels *levels)
{
    const uint8_t *whose = tsri_kv_take(in, 1), *count, *data;
    float level[MAX_LEVELS];

    if (!whose || *whose > OF_PROFILE)
        return TSR_E_CORRUPT;
    if (*whose == OF_PROFILE)
        return profile_levels(tile, bits, levels) ? TSR_OK : TSR_E_CORRUPT;
    count = tsri_kv_take(in, 1);
    if (!count || *count > 1 << bits)
        return TSR_E_CORRUPT;
    data = tsri_kv_take(in, 4 * (size_t)*count);
    if (!data)
        return TSR_E_CORRUPT;
    for (int i = 0; i < *count; i++)
        level[i] = tsri_getf32(data + 4 * i);
    return tsri_levels_set(levels, level, *count) ? TSR_OK : TSR_E_CORRUPT;
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *to, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    tsri_kv_reader in = { data, data + size };
    const layout l = layout_of(tile, first_tokens(tile));
    float *x = (float *)to + (size_t)l.raw * (size_t)l.channels;
    const uint8_t *values;
    tsri_levels levels;

    TSR_TRY(tsri_kv_raw_get(tile, l.raw, cpu, &in, to));
    if (!l.tokens)
        return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
    const parts p = take_parts(tile, &arena);
    const tsri_kv_codes codes = codes_of(&p);
    TSR_TRY(tsri_kv_sparse_get(&in, p.mask, l.values, &values));
    TSR_TRY(get_levels(tile, l.bits, &in, &levels));
    TSR_TRY(tsri_kv_halves_get(p.half, half_rows(&l), half_columns(&l), cpu,
                               arena, &in));
    TSR_TRY(tsri_kv_codes_get(&codes, cpu, arena, &in));
    read_halves(&p);
    const tsri_scalar_block block = block_of(&p);
    tsri_levels_decode(&levels, &block, cpu, p.code, x);
    tsri_kv_sparse_set(values, p.mask, l.values, x);
    return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

const tsri_kv_method tsri_kv_kvquant = {
    "kvquant", 3, true, false, 4096, settings, check, bound, scratch, encode,
    decode
};
