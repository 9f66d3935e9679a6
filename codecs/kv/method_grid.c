/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/kv/method_parts.h"

uint16_t tsri_kv_half(float x)
{
    uint16_t half;

    tsri_kv_to_dtype(TSR_KV_F16, 0, &x, 1, &half);
    return half;
}

/* ---- 16-bit floats ---- */

static tsri_kv_tile matrix(size_t rows, size_t columns)
{
    return (tsri_kv_tile){ .heads = 1, .dim = (int)columns,
                           .tokens = (int)rows };
}

size_t tsri_kv_halves_bound(size_t rows, size_t columns)
{
    const tsri_kv_tile tile = matrix(rows, columns);
    return tsri_kv_floats_bound(&tile, TSR_KV_F16);
}

size_t tsri_kv_halves_scratch(size_t rows, size_t columns)
{
    const tsri_kv_tile tile = matrix(rows, columns);
    return tsri_kv_floats_scratch(&tile);
}

size_t tsri_kv_halves_put(const uint16_t *half, size_t rows, size_t columns,
                          bool plain, unsigned cpu, tsri_kv_arena arena,
                          uint8_t *out)
{
    const tsri_kv_tile tile = matrix(rows, columns);
    return tsri_kv_floats_put(&tile, TSR_KV_F16, plain, cpu, half, arena, out);
}

tsr_error tsri_kv_halves_get(uint16_t *half, size_t rows, size_t columns,
                             unsigned cpu, tsri_kv_arena arena,
                             tsri_kv_reader *in)
{
    const tsri_kv_tile tile = matrix(rows, columns);
    bool finite = true;

    TSR_TRY(tsri_kv_floats_get(&tile, TSR_KV_F16, cpu, arena, in, half));
    for (size_t i = 0; i < rows * columns; i++)
        finite &= tsri_kv_half_finite(half[i]);
    return finite ? TSR_OK : TSR_E_CORRUPT;
}

tsr_error tsri_kv_raw_get(const tsri_kv_tile *tile, int tokens, unsigned cpu,
                          tsri_kv_reader *in, float *x)
{
    const uint8_t *data = tsri_kv_take(in, tsri_kv_raw_bytes(tile, tokens));

    return data && tsri_kv_from_dtype(tile->dtype, cpu, data,
                                      (size_t)tokens * tsri_kv_channels(tile),
                                      x) ? TSR_OK : TSR_E_CORRUPT;
}

/* ---- groups ---- */

static int groups_of_segment(const tsri_kv_grid *g)
{
    return tsri_ceil_div(g->segment, g->channel_group);
}

static size_t rows_of(const tsri_kv_grid *g)
{
    return (size_t)tsri_ceil_div(g->tokens, g->token_group);
}

static size_t groups_of_row(const tsri_kv_grid *g)
{
    return (size_t)(g->channels / g->segment) * (size_t)groups_of_segment(g);
}

static size_t values_of(const tsri_kv_grid *g)
{
    return (size_t)g->tokens * (size_t)g->channels;
}

size_t tsri_kv_grid_bound(const tsri_kv_grid *g)
{
    return g->tokens ? tsri_kv_halves_bound(rows_of(g), 2 * groups_of_row(g)) +
                           tsri_kv_codes_bound(g->tokens, g->channels,
                                               1 << g->bits)
                     : 0;
}

size_t tsri_kv_grid_scratch(const tsri_kv_grid *g)
{
    return g->tokens ? tsri_kv_halves_scratch(rows_of(g), 2 * groups_of_row(g))
                           + tsri_kv_codes_scratch(g->tokens, g->channels)
                     : 0;
}

size_t tsri_kv_grid_room(const tsri_kv_grid *g)
{
    return tsri_kv_arena_room(values_of(g)) +
           tsri_kv_arena_room(4 * rows_of(g) * groups_of_row(g));
}

void tsri_kv_grid_take(tsri_kv_grid *g, tsri_kv_arena *arena)
{
    g->code = tsri_kv_arena_take(arena, values_of(g));
    g->half = tsri_kv_arena_take(arena, 4 * rows_of(g) * groups_of_row(g));
}

/* A group: its first value, its tokens and channels. */
typedef struct group {
    size_t at;
    int tokens, channels;
} group;

static group group_of(const tsri_kv_grid *g, size_t row, size_t i)
{
    const int each = groups_of_segment(g);
    const int first = (int)row * g->token_group;
    const int in = (int)(i % (size_t)each) * g->channel_group;
    const int segment = (int)(i / (size_t)each) * g->segment;

    return (group){
        (size_t)first * (size_t)g->channels + (size_t)(segment + in),
        tsri_min(g->token_group, g->tokens - first),
        tsri_min(g->channel_group, g->segment - in)
    };
}

static void limits(const tsri_kv_grid *g, const group *of, const float *x,
                   float *least, float *most)
{
    *least = *most = x[of->at];
    x += of->at;
    for (int t = 0; t < of->tokens; t++, x += g->channels)
        for (int c = 0; c < of->channels; c++) {
            *least = x[c] < *least ? x[c] : *least;
            *most = x[c] > *most ? x[c] : *most;
        }
}

static bool quantise(const tsri_kv_grid *g, const group *of, const float *x,
                     uint16_t *half)
{
    const int last = (1 << g->bits) - 1;
    uint8_t *code = g->code + of->at;
    float least, most;

    limits(g, of, x, &least, &most);
    half[0] = tsri_kv_half((most - least) / (float)last);
    half[1] = tsri_kv_half(least);
    if (!tsri_kv_half_finite(half[0]) || !tsri_kv_half_finite(half[1]))
        return false;
    const float scale = tsri_half_to_float(half[0]);
    const float base = tsri_half_to_float(half[1]);
    x += of->at;
    for (int t = 0; t < of->tokens; t++, x += g->channels, code += g->channels)
        for (int c = 0; c < of->channels; c++) {
            const float v = scale > 0 ? (x[c] - base) / scale : 0;
            code[c] = (uint8_t)lrintf(v < 0 ? 0 : v > (float)last ? (float)last
                                                                  : v);
        }
    return true;
}

bool tsri_kv_grid_quantise(const tsri_kv_grid *g, const float *x)
{
    uint16_t *half = g->half;

    for (size_t row = 0; row < rows_of(g); row++)
        for (size_t i = 0; i < groups_of_row(g); i++, half += 2) {
            const group of = group_of(g, row, i);
            if (!quantise(g, &of, x, half))
                return false;
        }
    return true;
}

static void restore(const tsri_kv_grid *g, const group *of,
                    const uint16_t *half, float *x)
{
    const float scale = tsri_half_to_float(half[0]);
    const float base = tsri_half_to_float(half[1]);
    const uint8_t *code = g->code + of->at;

    x += of->at;
    for (int t = 0; t < of->tokens; t++, x += g->channels, code += g->channels)
        for (int c = 0; c < of->channels; c++)
            x[c] = (float)code[c] * scale + base;
}

void tsri_kv_grid_restore(const tsri_kv_grid *g, float *x)
{
    const uint16_t *half = g->half;

    for (size_t row = 0; row < rows_of(g); row++)
        for (size_t i = 0; i < groups_of_row(g); i++, half += 2) {
            const group of = group_of(g, row, i);
            restore(g, &of, half, x);
        }
}

static tsri_kv_codes codes_of(const tsri_kv_grid *g)
{
    return (tsri_kv_codes){ g->code, g->tokens, g->channels, 1 << g->bits };
}

size_t tsri_kv_grid_put(const tsri_kv_grid *g, bool plain, unsigned cpu,
                        tsri_kv_arena arena, uint8_t *out)
{
    const tsri_kv_codes codes = codes_of(g);

    if (!g->tokens)
        return 0;
    const size_t size = tsri_kv_halves_put(g->half, rows_of(g),
                                           2 * groups_of_row(g), plain, cpu,
                                           arena, out);
    return size + tsri_kv_codes_put(&codes, plain, cpu, arena, out + size);
}

tsr_error tsri_kv_grid_get(const tsri_kv_grid *g, unsigned cpu,
                           tsri_kv_arena arena, tsri_kv_reader *in)
{
    const tsri_kv_codes codes = codes_of(g);

    if (!g->tokens)
        return TSR_OK;
    TSR_TRY(tsri_kv_halves_get(g->half, rows_of(g), 2 * groups_of_row(g), cpu,
                               arena, in));
    return tsri_kv_codes_get(&codes, cpu, arena, in);
}
