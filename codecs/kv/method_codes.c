/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/kv/method_parts.h"
#include "entropy/classes.h"
#include "entropy/histogram.h"
#include "entropy/plan.h"
#include "entropy/symbols.h"
#include "entropy/tables.h"
#include "lib/pool.h"

enum {
    PACKED = 0, CLASSES = 1,    /* the first byte */
    BITS = 12, MOST = 16,       /* precision and number of tables */
    BLOCK = 1 << 18,            /* about so many symbols a block */
    FEW = 4096,                 /* fewer symbols have one table */
    TRAINED = 48,               /* channels that tables are made by */
    WORK = 3 << 20,             /* banks and what trains them */
    ALIGN = 64
};

/* ---- memory ---- */

void *tsri_kv_arena_take(tsri_kv_arena *arena, size_t n)
{
    const size_t left = (size_t)(arena->end - arena->at);
    const size_t skip = -(uintptr_t)arena->at & 63;
    struct tsri_kv_block *block;

    if (left < skip + ALIGN || left - skip - ALIGN < n)
        return NULL;
    block = (struct tsri_kv_block *)(arena->at + skip);
    *block = (struct tsri_kv_block){ arena->top, true };
    arena->top = block;
    arena->at += skip + ALIGN + n;
    return (uint8_t *)block + ALIGN;
}

static void *arena_alloc(void *cookie, size_t size, size_t align)
{
    (void)align;
    return tsri_kv_arena_take(cookie, size);
}

static void arena_free(void *cookie, void *memory)
{
    tsri_kv_arena *arena = cookie;

    ((struct tsri_kv_block *)((uint8_t *)memory - ALIGN))->used = false;
    for (; arena->top && !arena->top->used; arena->top = arena->top->below)
        arena->at = (uint8_t *)arena->top;
}

bool tsri_kv_arena_context(tsri_kv_arena *arena, unsigned cpu, tsr_context *ctx)
{
    *ctx = (tsr_context){ .allocator = { arena, arena_alloc, arena_free },
                          .threads = 1, .cpu = cpu };
    return tsri_pool_open(&ctx->pool, ctx, 1) == TSR_OK;
}

/* ---- both ways ---- */

static int bits_of(int alphabet)
{
    return 32 - __builtin_clz((uint32_t)alphabet - 1);
}

static int block_tokens(int channels)
{
    return tsri_clamp(BLOCK / channels, 64, 4096);
}

static int blocks_of(int tokens, int channels)
{
    return tsri_ceil_div(tokens, block_tokens(channels));
}

static size_t packed_size(size_t n, int alphabet)
{
    return (n * (size_t)bits_of(alphabet) + 7) / 8;
}

size_t tsri_kv_codes_bound(int tokens, int channels, int alphabet)
{
    return 1 + packed_size((size_t)tokens * (size_t)channels, alphabet);
}

/* Histograms and training: 4 KiB a channel; a block's rows, places and words
 * while arrays grow; the coded matrix. */
size_t tsri_kv_codes_scratch(int tokens, int channels)
{
    const size_t c = (size_t)channels;
    const size_t block = c * (size_t)tsri_min(tokens, block_tokens(channels));
    const size_t blocks = (size_t)blocks_of(tokens, channels);

    return WORK + 4096 * c + 16 * block + 2 * c * (size_t)tokens +
           512 * blocks;
}

static tsri_plan_shape shape_of(const tsri_kv_codes *codes, const uint8_t *cls,
                                const uint8_t *offset)
{
    return (tsri_plan_shape){ codes->channels, codes->channels,
                              block_tokens(codes->channels), cls, offset, 0 };
}

static tsri_bytes2d matrix_of(const tsri_kv_codes *codes)
{
    return (tsri_bytes2d){ codes->code, (size_t)codes->tokens,
                           codes->channels, 1 };
}

/* ---- writing ---- */

/* What the classes form is made in. */
typedef struct work {
    tsr_context *ctx;
    tsri_classes *classes;
    uint32_t (*hist)[256], (*some)[256];
    uint8_t *cls, *offset, *out;
    uint32_t *sizes;
    size_t size, room;
} work;

static bool open_work(work *w, tsri_kv_arena *arena, const tsri_kv_codes *codes)
{
    const size_t c = (size_t)codes->channels;

    w->room = 2 * c * (size_t)codes->tokens + 4 * c + (1 << 16) +
              512 * (size_t)blocks_of(codes->tokens, codes->channels);
    w->classes = tsri_kv_arena_take(arena, sizeof *w->classes);
    w->hist = tsri_kv_arena_take(arena, c * sizeof *w->hist);
    w->some = tsri_kv_arena_take(arena, (TRAINED + 1) * sizeof *w->some);
    w->cls = tsri_kv_arena_take(arena, c);
    w->offset = tsri_kv_arena_take(arena, c);
    w->sizes = tsri_kv_arena_take(arena, 4 * (size_t)blocks_of(codes->tokens,
                                                      codes->channels));
    w->out = tsri_kv_arena_take(arena, w->room);
    return w->classes && w->hist && w->some && w->cls && w->offset &&
           w->sizes && w->out;
}

static void count(const tsri_kv_codes *codes, uint32_t (*hist)[256])
{
    const uint8_t *code = codes->code;

    memset(hist, 0, (size_t)codes->channels * sizeof *hist);
    for (int t = 0; t < codes->tokens; t++)
        for (int c = 0; c < codes->channels; c++)
            hist[c][*code++]++;
}

/* Tables are made by some of the channels, since that takes long, and by one
 * that has all values of all channels, so that some table takes any. */
static tsr_error train(work *w, int channels, int most)
{
    const int n = tsri_min(channels, TRAINED);
    uint8_t cls[TRAINED + 1], offset[TRAINED + 1];
    uint32_t *all = w->some[n];

    for (int i = 0; i < n; i++)
        memcpy(w->some[i], w->hist[(int64_t)i * channels / n],
               sizeof *w->some);
    memset(all, 0, sizeof *w->some);
    for (int c = 0; c < channels; c++)
        for (int v = 0; v < 256; v++)
            all[v] += w->hist[c][v];
    for (int v = 0; v < 256; v++)
        all[v] = all[v] / (uint32_t)channels + (all[v] > 0);
    return tsri_classes_train(w->ctx, (const uint32_t (*)[256])w->some, n + 1,
                              most, BITS, w->classes, cls, offset);
}

/* A string of bytes by models that learn, its size before it. */
static bool put_bytes(work *w, const uint8_t *bytes, size_t n, uint32_t last)
{
    uint8_t *size = w->out + w->size;
    size_t used;

    if (tsri_symbols_put_range(bytes, n, last, size + 4,
                               w->room - w->size - 4, &used))
        return false;
    tsri_put32(size, (uint32_t)used);
    w->size += 4 + used;
    return true;
}

static bool put_tables(work *w, int channels)
{
    const tsri_classes *k = w->classes;
    size_t used;

    if (tsri_tables_bound(k->sizes, k->tables) > w->room - 1)
        return false;
    *w->out = CLASSES;
    if (tsri_tables_write(k->bits, k->freq, k->sizes, k->tables, w->out + 1,
                          &used))
        return false;
    w->size = 1 + used;
    return put_bytes(w, w->cls, (size_t)channels, MOST - 1) &&
           put_bytes(w, w->offset, (size_t)channels, 255);
}

static bool put_matrix(work *w, const tsri_bank *bank,
                       const tsri_kv_codes *codes)
{
    const tsri_plan_shape shape = shape_of(codes, w->cls, w->offset);
    const tsri_bytes2d matrix = matrix_of(codes);
    const int blocks = blocks_of(codes->tokens, codes->channels);
    const size_t head = w->size + 4 * (size_t)blocks;
    tsri_plan *plan;
    size_t used;

    if (head > w->room || tsri_plan_open(&plan, w->ctx, bank, &shape) ||
        tsri_plan_bound(plan, matrix.tokens) > w->room - head ||
        tsri_plan_encode(plan, w->ctx, &matrix, 0, w->out + head, w->sizes,
                         &used))
        return false;
    for (int i = 0; i < blocks; i++)
        tsri_put32(w->out + w->size + 4 * i, w->sizes[i]);
    w->size = head + used;
    return true;
}

/* False: not to be had in this memory. */
static bool put_classes(work *w, tsri_kv_arena *arena,
                        const tsri_kv_codes *codes)
{
    const size_t n = (size_t)codes->tokens * (size_t)codes->channels;

    tsri_classes *k;
    tsri_bank *bank;
    uint64_t cost;

    if (!open_work(w, arena, codes))
        return false;
    k = w->classes;
    count(codes, w->hist);
    return !train(w, codes->channels, n < FEW ? 1 : MOST) &&
           !tsri_bank_open(&bank, w->ctx, k->bits, k->freq, k->sizes,
                           k->tables) &&
           !tsri_classes_choose(w->ctx, bank, (const uint32_t (*)[256])w->hist,
                                codes->channels, w->cls, w->offset, &cost) &&
           put_tables(w, codes->channels) && put_matrix(w, bank, codes);
}

size_t tsri_kv_codes_put(const tsri_kv_codes *codes, bool plain, unsigned cpu,
                         tsri_kv_arena arena, uint8_t *out)
{
    const size_t n = (size_t)codes->tokens * (size_t)codes->channels;
    const size_t packed = 1 + packed_size(n, codes->alphabet);
    tsr_context ctx;
    work w = { .ctx = &ctx };

    if (!plain && tsri_kv_arena_context(&arena, cpu, &ctx) &&
        put_classes(&w, &arena, codes) && w.size < packed) {
        memcpy(out, w.out, w.size);
        return w.size;
    }
    *out = PACKED;
    tsri_ints_pack(codes->code, 1, 0, n, 0, bits_of(codes->alphabet), out + 1);
    return packed;
}

/* ---- reading ---- */

static tsr_error get_bytes(tsri_kv_reader *in, size_t n, uint32_t last,
                           uint8_t *bytes)
{
    const uint8_t *size = tsri_kv_take(in, 4), *data;

    if (!size)
        return TSR_E_CORRUPT;
    data = tsri_kv_take(in, tsri_get32(size));
    return data ? tsri_symbols_get_range(data, tsri_get32(size), n, last, bytes)
                : TSR_E_CORRUPT;
}

static tsr_error get_matrix(const tsri_kv_codes *codes, const tsri_plan *plan,
                            tsr_context *ctx, tsri_kv_reader *in)
{
    const tsri_bytes2d matrix = matrix_of(codes);
    const size_t blocks = tsri_plan_blocks(plan, matrix.tokens);
    const uint8_t *size = tsri_kv_take(in, 4 * blocks), *data;
    uint32_t *sizes = tsri_alloc(ctx, blocks, sizeof *sizes);
    uint64_t sum = 0;

    if (!size || !sizes)
        return TSR_E_CORRUPT;
    for (size_t i = 0; i < blocks; i++)
        sum += sizes[i] = tsri_get32(size + 4 * i);
    data = sum <= SIZE_MAX ? tsri_kv_take(in, (size_t)sum) : NULL;
    return data ? tsri_plan_decode(plan, ctx, data, (size_t)sum, sizes, 0,
                                   &matrix) : TSR_E_CORRUPT;
}

static tsr_error get_classes(const tsri_kv_codes *codes, tsr_context *ctx,
                             tsri_kv_reader *in)
{
    const size_t c = (size_t)codes->channels;
    uint8_t *cls = tsri_alloc(ctx, c, 1), *offset = tsri_alloc(ctx, c, 1);
    const tsri_plan_shape shape = shape_of(codes, cls, offset);
    tsri_bank *bank;
    tsri_plan *plan;
    size_t used;

    if (!cls || !offset)
        return TSR_E_CORRUPT;
    TSR_TRY(tsri_tables_read(&bank, ctx, in->at, (size_t)(in->end - in->at),
                             &used));
    in->at += used;
    TSR_TRY(get_bytes(in, c, MOST - 1, cls));
    TSR_TRY(get_bytes(in, c, 255, offset));
    TSR_TRY(tsri_plan_open(&plan, ctx, bank, &shape));
    return get_matrix(codes, plan, ctx, in);
}

static tsr_error get_packed(const tsri_kv_codes *codes, tsri_kv_reader *in)
{
    const size_t n = (size_t)codes->tokens * (size_t)codes->channels;
    const uint8_t *data = tsri_kv_take(in, packed_size(n, codes->alphabet));

    return data && tsri_ints_unpack(data, n, 0, (uint32_t)codes->alphabet - 1,
                                    codes->code, 1, 0)
               ? TSR_OK : TSR_E_CORRUPT;
}

tsr_error tsri_kv_codes_get(const tsri_kv_codes *codes, unsigned cpu,
                            tsri_kv_arena arena, tsri_kv_reader *in)
{
    const size_t n = (size_t)codes->tokens * (size_t)codes->channels;
    const uint8_t *form = tsri_kv_take(in, 1);
    uint8_t least, most;
    tsr_context ctx;

    if (!form || *form > CLASSES)
        return TSR_E_CORRUPT;
    if (*form == PACKED)
        return get_packed(codes, in);
    if (!tsri_kv_arena_context(&arena, cpu, &ctx) ||
        get_classes(codes, &ctx, in))
        return TSR_E_CORRUPT;
    tsri_rans_limits8(codes->code, n, &least, &most);
    return most < codes->alphabet ? TSR_OK : TSR_E_CORRUPT;
}
