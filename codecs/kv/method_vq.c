/* SPDX-License-Identifier: BSD-2-Clause */
/* Groups of channels by the codebooks of the profile: its tensors
 * vq.{layer}.{plane}, F32 [groups][entries][dims], groups * dims channels, or
 * [stages][groups][entries][dims], where each stage codes what the ones before
 * have left.
 *
 * Source: Zhang et al., "KV Cache is 1 Bit Per Channel: Efficient Large Language
 * Model Inference with Coupled Quantization", NeurIPS 2024; residual stages:
 * Juang and Gray, ICASSP 1982. */
#include <stdio.h>
#include "codecs/kv/method_list.h"
#include "entropy/packing.h"
#include "vq/rows.h"

enum { PLAIN, OPTIONS };
enum { MAX_STAGES = 8, MAX_ENTRIES = 65536, WORK = 8 << 20 };

static const tsri_kv_option options[OPTIONS] = { { "plain", 0, 1, 1, 0, 1 } };

static tsr_error check(const uint8_t params[40], const tsr_kv_shape *shape)
{
    (void)shape;
    return tsri_kv_options_check(options, OPTIONS, params);
}

typedef struct books {
    int stages, groups, entries, dims;
    size_t words;           /* floats of a stage */
    const uint8_t *data;    /* not aligned */
} books;

static bool find_books(const tsri_kv_tile *tile, books *b)
{
    char name[64];

    if (!tile->profile)
        return false;
    snprintf(name, sizeof name, "vq.%d.%d", tile->layer, tile->plane);
    const tsr_tensor *t = tsr_model_tensor(tile->profile, name);
    if (!t || t->dtype != TSR_F32 || t->rank < 3 || t->rank > 4)
        return false;
    const uint64_t *dims = t->dims + t->rank - 3;
    const uint64_t stages = t->rank == 4 ? t->dims[0] : 1;
    if (stages < 1 || stages > MAX_STAGES || dims[1] < 2 ||
        dims[1] > MAX_ENTRIES || dims[0] < 1 || dims[2] < 1 ||
        dims[0] > TSRI_KV_MAX_CHANNELS || dims[2] > TSRI_KV_MAX_CHANNELS ||
        dims[0] * dims[2] != tsri_kv_channels(tile))
        return false;
    *b = (books){ (int)stages, (int)dims[0], (int)dims[1], (int)dims[2],
                  (size_t)(dims[0] * dims[1] * dims[2]), t->data };
    return true;
}

static tsr_error settings(tsr_context *ctx, const tsr_kv_settings *s,
                          uint8_t params[40])
{
    tsri_kv_tile tile = { .profile = s->profile };
    books b;

    for (; tile.layer < s->shape.layers; tile.layer++)
        for (tile.plane = 0; tile.plane < s->shape.planes; tile.plane++) {
            tile.heads = s->shape.heads[tile.plane];
            tile.dim = s->shape.dim[tile.plane];
            if (!find_books(&tile, &b))
                return tsri_fail(ctx, TSR_E_MODEL, "vq needs a profile with "
                                 "codebooks vq.%d.%d for %d channels",
                                 tile.layer, tile.plane,
                                 tile.heads * tile.dim);
        }
    return tsri_kv_options_read(ctx, s, options, OPTIONS, params);
}

static size_t indices_of(const tsri_kv_tile *tile, const books *b)
{
    return (size_t)tile->tokens * (size_t)b->groups;
}

static bool packing_of(const books *b, tsri_packing *packing)
{
    return tsri_packing_radix(packing, (size_t)b->entries) == TSR_OK;
}

/* Small codebooks' indices are codes, others are packed. */
static size_t stage_bound(const tsri_kv_tile *tile, const books *b)
{
    tsri_packing packing;
    size_t size = 0;

    if (b->entries <= 256)
        return tsri_kv_codes_bound(tile->tokens, b->groups, b->entries);
    return packing_of(b, &packing) &&
           tsri_packing_size(&packing, indices_of(tile, b), &size) ? size : 0;
}

static size_t bound(const tsri_kv_tile *tile)
{
    books b;
    return find_books(tile, &b)
               ? (size_t)b.stages * stage_bound(tile, &b) : 0;
}

/* Words, indices, what is left, codes; the searcher's copies of the words. */
static size_t scratch(const tsri_kv_tile *tile)
{
    books b;

    if (!find_books(tile, &b))
        return 0;
    return tsri_kv_arena_room(b.words * sizeof(float)) +
           2 * tsri_kv_arena_room(4 * indices_of(tile, &b)) +
           tsri_kv_arena_room(tsri_kv_values(tile) * sizeof(float)) +
           WORK + 64 * sizeof(float) * (b.words + tsri_kv_channels(tile) *
                                        16) / 4 +
           tsri_kv_codes_scratch(tile->tokens, b.groups);
}

typedef struct parts {
    books b;
    float *words, *left;
    int32_t *index;
    uint8_t *code;
} parts;

static bool take_parts(const tsri_kv_tile *tile, tsri_kv_arena *arena, parts *p)
{
    if (!find_books(tile, &p->b))
        return false;
    p->words = tsri_kv_arena_take(arena, p->b.words * sizeof *p->words);
    p->index = tsri_kv_arena_take(arena, 4 * indices_of(tile, &p->b));
    p->code = tsri_kv_arena_take(arena, indices_of(tile, &p->b));
    p->left = tsri_kv_arena_take(arena, tsri_kv_values(tile) *
                                 sizeof *p->left);
    return true;
}

static void read_words(const parts *p, int stage)
{
    const uint8_t *from = p->b.data + (size_t)stage * p->b.words * 4;

    for (size_t i = 0; i < p->b.words; i++)
        p->words[i] = tsri_getf32(from + 4 * i);
}

/* x += sign * the words of the indices; false: no such word. */
static bool add_words(const tsri_kv_tile *tile, const parts *p, float sign,
                      float *x)
{
    const int32_t *index = p->index;
    const int dims = p->b.dims;

    for (int t = 0; t < tile->tokens; t++)
        for (int g = 0; g < p->b.groups; g++, x += dims) {
            const int32_t i = *index++;
            if (i < 0 || i >= p->b.entries)
                return false;
            const float *word = p->words + ((size_t)g * (size_t)p->b.entries +
                                            (size_t)i) * (size_t)dims;
            for (int d = 0; d < dims; d++)
                x[d] += sign * word[d];
        }
    return true;
}

/* ---- encoder ---- */

static bool search(const tsri_kv_tile *tile, const parts *p, unsigned cpu,
                   tsri_kv_arena arena)
{
    const size_t tokens = (size_t)tile->tokens;
    const tsri_fmap map = tsri_rows_map(p->left, tokens,
                                        tile->heads * tile->dim);
    const tsri_codes codes = tsri_rows_codes(p->index, tokens, p->b.groups, 1);
    tsri_codebook *book;
    tsr_context ctx;

    return tsri_kv_arena_context(&arena, cpu, &ctx) &&
           !tsri_codebook_new(&book, &ctx, p->b.groups, p->b.entries,
                              p->b.dims, p->words) &&
           !tsri_codebook_encode(book, &ctx, &map, &codes);
}

static size_t put_indices(const tsri_kv_tile *tile, const parts *p,
                          unsigned cpu, tsri_kv_arena arena, uint8_t *out)
{
    const size_t n = indices_of(tile, &p->b);
    const tsr_context ctx = { .cpu = cpu };
    tsri_packing packing;

    if (p->b.entries <= 256) {
        const tsri_kv_codes codes = { p->code, tile->tokens, p->b.groups,
                                      p->b.entries };
        for (size_t i = 0; i < n; i++)
            p->code[i] = (uint8_t)p->index[i];
        return tsri_kv_codes_put(&codes, tsri_kv_option_at(tile->params, PLAIN), cpu,
                                 arena, out);
    }
    return packing_of(&p->b, &packing) &&
           !tsri_pack32(&packing, &ctx, (const uint32_t *)p->index, n, out)
               ? stage_bound(tile, &p->b) : 0;
}

static size_t encode(const tsri_kv_tile *tile, unsigned cpu, void *x,
                     uint8_t *out, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    size_t size = 0;
    parts p;

    if (!take_parts(tile, &arena, &p))
        return 0;
    memcpy(p.left, x, tsri_kv_values(tile) * sizeof *p.left);
    for (int stage = 0; stage < p.b.stages; stage++) {
        read_words(&p, stage);
        if (!search(tile, &p, cpu, arena))
            return 0;
        const size_t n = put_indices(tile, &p, cpu, arena, out + size);
        if (!n || !add_words(tile, &p, -1, p.left))
            return 0;
        size += n;
    }
    return size;
}

/* ---- decoder ---- */

static tsr_error get_indices(const tsri_kv_tile *tile, const parts *p,
                             unsigned cpu, tsri_kv_arena arena,
                             tsri_kv_reader *in)
{
    const size_t n = indices_of(tile, &p->b);
    const tsr_context ctx = { .cpu = cpu };
    tsri_packing packing;

    if (p->b.entries <= 256) {
        const tsri_kv_codes codes = { p->code, tile->tokens, p->b.groups,
                                      p->b.entries };
        TSR_TRY(tsri_kv_codes_get(&codes, cpu, arena, in));
        for (size_t i = 0; i < n; i++)
            p->index[i] = p->code[i];
        return TSR_OK;
    }
    const size_t size = stage_bound(tile, &p->b);
    const uint8_t *data = tsri_kv_take(in, size);
    return data && packing_of(&p->b, &packing)
               ? tsri_unpack32(&packing, &ctx, data, size,
                               (uint32_t *)p->index, n) : TSR_E_CORRUPT;
}

static tsr_error decode(const tsri_kv_tile *tile, unsigned cpu,
                        const uint8_t *data, size_t size, void *x, void *memory)
{
    tsri_kv_arena arena = tsri_kv_arena_of(memory, scratch(tile));
    tsri_kv_reader in = { data, data + size };
    parts p;

    if (!take_parts(tile, &arena, &p))
        return TSR_E_CORRUPT;
    memset(x, 0, tsri_kv_values(tile) * sizeof(float));
    for (int stage = 0; stage < p.b.stages; stage++) {
        read_words(&p, stage);
        TSR_TRY(get_indices(tile, &p, cpu, arena, &in));
        if (!add_words(tile, &p, 1, x))
            return TSR_E_CORRUPT;
    }
    return in.at == in.end ? TSR_OK : TSR_E_CORRUPT;
}

const tsri_kv_method tsri_kv_vq = {
    "vq", 10, true, false, 1024, settings, check, bound, scratch, encode, decode
};
