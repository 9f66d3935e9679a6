/* SPDX-License-Identifier: BSD-2-Clause */
/* A device's coder opened: what the kernels need of tables and angles, brought
 * there. */
#include <math.h>
#include <string.h>
#include "codecs/kv/cuda/kv_device.h"
#include "entropy/rows_impl.h"
#include "lib/bytes.h"

enum {
    POSITIONS = 1 << 20,        /* whose angles the device has */
    SLOTS = 1 << TSRI_ROWS_BITS
};

/* ---- constants of CRC-32C ---- */

static uint32_t times_x(uint32_t v, int n)
{
    while (n--)
        v = v >> 1 ^ (v & 1 ? 0x82F63B78 : 0);
    return v;
}

static void fill_crc(tsri_kv_gpu_crc *crc)
{
    uint32_t power = (uint32_t)1 << 31;     /* x^0 */

    for (int k = 0; k < 4; k++)
        for (uint32_t byte = 0; byte < 256; byte++)
            crc->step[k][byte] = times_x(byte << 8 * k, 32 * TSRI_KV_GPU_CRC);
    for (int i = TSRI_KV_GPU_CRC; i-- > 0;)
        crc->thread[i] = power = times_x(power, 32);
}

/* ---- tables of rows ---- */

/* The tables as the device has them, before they are brought there. */
typedef struct tables {
    uint8_t table[TSRI_ROWS_CLASSES];
    uint32_t border[TSRI_ROWS_CLASSES];
    uint8_t slot[TSRI_ROWS_CLASSES][SLOTS];
    uint32_t entry[TSRI_ROWS_CLASSES][TSRI_KV_GPU_STRIDE];
    tsri_kv_gpu_code code[TSRI_ROWS_CLASSES][TSRI_KV_GPU_STRIDE];
    tsri_kv_gpu_code refine_code[TSRI_KV_GPU_REFINES][TSRI_ROWS_REFINED][3];
    uint32_t refine_bound[TSRI_KV_GPU_REFINES][TSRI_ROWS_REFINED];
    tsri_kv_gpu_crc crc;
    int n;
} tables;

static tsri_kv_gpu_code unfold(uint64_t brief)
{
    const uint32_t high = (uint32_t)(brief >> 32), cmpl = high >> 20;
    const uint32_t shift = high >> TSRI_BRIEF_SHIFT & 15;
    const uint32_t inc = high >> TSRI_BRIEF_INC & 1;

    return (tsri_kv_gpu_code){
        .mul = (uint32_t)brief,
        .rest = (SLOTS - cmpl) << 20 | (high & 0x1fff) << 6 | inc << 5 | shift };
}

static void fill_table(tables *t, const tsri_rows *rows, int c)
{
    const int n = t->n++;

    for (int s = 0; s < TSRI_ROWS_SYMBOLS; s++) {
        const uint32_t f = rows->freq[c][s], start = rows->start[c][s];
        if (!f)
            continue;
        t->entry[n][s] = (f - SLOTS) << 16 | start;
        t->code[n][s] = unfold(rows->brief[c][s]);
        memset(t->slot[n] + start, s, f);
    }
}

/* The least sum over 2^16 values that has class c. */
static uint32_t find_border(int c)
{
    uint32_t low = 0, high = (uint32_t)1 << 31;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (tsri_rows_class(middle, 1 << 16) >= c)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Classes from the last on have the same tables. */
static void fill_refinements(tables *t, const tsri_rows *rows)
{
    for (int c = 0; c < TSRI_KV_GPU_REFINES; c++)
        for (int kind = 0; kind < TSRI_ROWS_REFINED; kind++) {
            const uint16_t *bound = rows->refine_bound[c][kind];
            for (int s = 0; s < 3; s++)
                t->refine_code[c][kind][s] =
                    unfold(rows->refine_brief[c][kind][s]);
            t->refine_bound[c][kind] = bound[0] | (uint32_t)bound[1] << 16;
        }
}

static void fill_tables(tables *t, const tsri_rows *rows)
{
    for (int c = 0; c < TSRI_ROWS_CLASSES; c++) {
        int same = 0;
        while (memcmp(rows->freq[same], rows->freq[c], sizeof rows->freq[c]))
            same++;
        t->table[c] = same < c ? t->table[same] : (uint8_t)t->n;
        t->border[c] = find_border(c);
        if (same == c)
            fill_table(t, rows, c);
    }
    fill_refinements(t, rows);
    fill_crc(&t->crc);
}

/* ---- open and close ---- */

tsr_error tsri_kv_gpu_room(tsr_kv_cuda *g, size_t count, size_t size, void *device)
{
    void **to = &g->array[g->arrays];

    TSR_TRY(tsri_cuda_alloc(g->gpu, to, count, size));
    g->arrays++;
    memcpy(device, to, sizeof *to);
    return TSR_OK;
}

tsr_error tsri_kv_gpu_put(tsr_kv_cuda *g, const void *from, size_t count,
                          size_t size, void *device)
{
    TSR_TRY(tsri_kv_gpu_room(g, count, size, device));
    return tsri_cuda_upload(g->gpu, g->array[g->arrays - 1], from, count * size);
}

static tsr_error put_tables(tsr_kv_cuda *g, const tables *t)
{
    const tsri_rows *rows = g->kv->profile->rows;
    tsri_kv_gpu_tables *d = &g->encoder.tables;
    const size_t n = (size_t)t->n;

    d->tables = t->n;
    TSR_TRY(tsri_kv_gpu_put(g, t->slot, n, sizeof *t->slot, &d->slot));
    TSR_TRY(tsri_kv_gpu_put(g, t->entry, n, sizeof *t->entry, &d->entry));
    TSR_TRY(tsri_kv_gpu_put(g, t->code, n, sizeof *t->code, &d->code));
    TSR_TRY(tsri_kv_gpu_put(g, t->table, 1, sizeof t->table, &d->table));
    TSR_TRY(tsri_kv_gpu_put(g, t->border, 1, sizeof t->border, &d->border));
    TSR_TRY(tsri_kv_gpu_put(g, rows->low, 1, sizeof rows->low, &d->low));
    TSR_TRY(tsri_kv_gpu_put(g, rows->reach, 1, sizeof rows->reach, &d->reach));
    TSR_TRY(tsri_kv_gpu_put(g, t->refine_code, 1, sizeof t->refine_code,
                            &d->refine_code));
    TSR_TRY(tsri_kv_gpu_put(g, t->refine_bound, 1, sizeof t->refine_bound,
                            &d->refine_bound));
    return tsri_kv_gpu_put(g, &t->crc, 1, sizeof t->crc, &g->encoder.crc);
}

static tsr_error put_angles(tsr_kv_cuda *g, const tsri_rope *rope)
{
    const size_t row = (size_t)g->encoder.pairs * 2;
    size_t blocks;
    const float *high = tsri_rope_high(rope, &blocks);

    g->encoder.positions = blocks * 256;
    TSR_TRY(tsri_kv_gpu_put(g, tsri_rope_low(rope), 256 * row, sizeof(float),
                            &g->encoder.low));
    return tsri_kv_gpu_put(g, high, blocks * row, sizeof(float),
                           &g->encoder.high);
}

static void fill_job(tsr_kv_cuda *g)
{
    const tsr_kv *kv = g->kv;
    const tsr_kv_settings *s = &kv->settings;
    const tsri_kv_profile *profile = kv->profile;
    tsri_kv_gpu_job *j = &g->encoder;

    *j = (tsri_kv_gpu_job){
        .layers = s->shape.layers, .planes = s->shape.planes,
        .groups = profile->groups, .levels = s->levels,
        .profiled = kv->profiled, .reference = (int)profile->reference,
        .anchor = profile->anchor, .class_rows = profile->matches,
        .predictors = profile->predictors, .vocabulary = profile->vocabulary,
        .hidden = profile->hidden, .store_ids = s->store_tokens,
        .refers = profile->reference != TSRI_KV_REF_NONE,
        .predicts = profile->predictors > 0,
        .hadamard = profile->hadamard, .dead = profile->dead,
        .profile_step = profile->step, .span = kv->span,
        .tile = s->tile, .sms = g->gpu->sms, .layout = kv->rope_what.layout,
        .offset = kv->rope_what.offset, .recent_boost = s->recent_boost,
        .pairs = kv->rope_what.layout ? kv->rope_what.dims / 2 : 0 };
    if (kv->method) {
        j->method = kv->method->number;
        if (!kv->method->pre_rope)      /* values are turned as they are stored */
            j->layout = j->pairs = 0;
        for (int i = 0; i < 4; i++)
            j->param[i] = tsri_get16(kv->params + 2 * i);
    }
    for (int p = 0; p < s->shape.planes; p++) {
        j->dim[p] = s->shape.dim[p];
        j->heads[p] = s->shape.heads[p];
        j->channels[p] = tsri_kv_channels(&s->shape, p);
        j->segments[p] = tsri_ceil_div(j->channels[p], j->span);
        j->turn[p] = (float)(1 / sqrt((double)j->dim[p]));
        j->layer_segments += j->segments[p];
        j->layer_channels += j->channels[p];
    }
}

/* The embeddings of a profile that predicts from token ids. */
static tsr_error put_embedding(tsr_kv_cuda *g)
{
    const tsri_kv_profile *profile = g->kv->profile;
    const size_t n = (size_t)profile->vocabulary * (size_t)profile->hidden;

    if (!profile->predictors)
        return TSR_OK;
    return tsri_kv_gpu_put(g, profile->embedding, n, sizeof(uint16_t),
                           &g->encoder.embedding);
}

static tsr_error fill_device(tsr_kv_cuda *g)
{
    tsr_context *ctx = g->kv->ctx;
    tables *t = tsri_calloc(ctx, 1, sizeof *t);
    tsri_rope *rope = NULL;
    tsr_error error = t ? TSR_OK : tsri_nomem(ctx);

    if (!error) {
        fill_tables(t, g->kv->profile->rows);
        error = put_tables(g, t);
    }
    if (!error)
        error = tsri_rope_open(&rope, ctx, &g->kv->rope_what, g->encoder.dim[0],
                               POSITIONS);
    if (!error)
        error = put_angles(g, rope);
    if (!error)
        error = put_embedding(g);
    if (!error)
        error = tsri_cuda_check(g->gpu, cudaDeviceGetAttribute(
            &g->encoder.shared, cudaDevAttrMaxSharedMemoryPerBlockOptin,
            g->gpu->index), "shared memory");
    const tsr_error waited = tsri_cuda_sync(g->gpu);    /* t and rope go */
    tsri_rope_close(&rope, ctx);
    tsri_free(ctx, t);
    return error ? error : waited;
}

tsr_error tsr_kv_cuda_open(tsr_kv_cuda **out, tsr_kv *kv, int device)
{
    tsr_context *ctx = kv->ctx;
    tsr_kv_cuda *g;
    tsr_error error;

    *out = NULL;
    g = tsri_calloc(ctx, 1, sizeof *g);
    if (!g)
        return tsri_nomem(ctx);
    g->kv = kv;
    error = tsri_cuda_open(&g->gpu, ctx, device);
    if (!error) {
        fill_job(g);
        error = fill_device(g);
    }
    if (!error)
        error = tsri_kv_gpu_put_method(g);
    if (!error)
        error = tsri_kv_gpu_put_groups(g);
    if (error)
        tsr_kv_cuda_close(&g);
    *out = g;
    return error;
}

void tsr_kv_cuda_close(tsr_kv_cuda **out)
{
    tsr_kv_cuda *g = out ? *out : NULL;

    if (!g)
        return;
    for (int i = 0; i < g->arrays; i++)
        tsri_cuda_free(g->gpu, g->array[i]);
    tsri_cuda_close(&g->gpu);
    tsri_free(g->kv->ctx, g);
    *out = NULL;
}
