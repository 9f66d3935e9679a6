/* SPDX-License-Identifier: BSD-2-Clause */
/* Objects on a CUDA device: what the kernels need, brought there and laid out in
 * the caller's scratch memory. */
#include <tessera/kv_cuda.h>
#include <string.h>
#include "codecs/kv/cuda/kv_kernels.h"
#include "codecs/kv/kv_internal.h"
#include "entropy/rows_impl.h"
#include "lib/cuda/device_cuda.h"

enum {
    ALIGN = 256,
    ARRAYS = 12,                /* in device memory, at most */
    POSITIONS = 1 << 20,        /* whose angles the device has */
    SLOTS = 1 << TSRI_ROWS_BITS,
    SEGMENT_HEAD = 1 + 4 * TSRI_ROWS_LANES
};

struct tsr_kv_cuda {
    tsr_kv *kv;
    tsri_cuda *gpu;
    tsri_kv_gpu_job job;        /* of the coder, not of a call */
    void *array[ARRAYS];
    int arrays;
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
    fill_crc(&t->crc);
}

/* ---- open and close ---- */

/* Copies an array to the device; its address there goes to *device. */
static tsr_error put(tsr_kv_cuda *g, const void *from, size_t count, size_t size,
                     void *device)
{
    void **to = &g->array[g->arrays];

    TSR_TRY(tsri_cuda_alloc(g->gpu, to, count, size));
    g->arrays++;
    memcpy(device, to, sizeof *to);
    return tsri_cuda_upload(g->gpu, *to, from, count * size);
}

static tsr_error put_tables(tsr_kv_cuda *g, const tables *t)
{
    const tsri_rows *rows = g->kv->profile->rows;
    tsri_kv_gpu_tables *d = &g->job.tables;
    const size_t n = (size_t)t->n;

    d->tables = t->n;
    TSR_TRY(put(g, t->slot, n, sizeof *t->slot, &d->slot));
    TSR_TRY(put(g, t->entry, n, sizeof *t->entry, &d->entry));
    TSR_TRY(put(g, t->code, n, sizeof *t->code, &d->code));
    TSR_TRY(put(g, t->table, 1, sizeof t->table, &d->table));
    TSR_TRY(put(g, t->border, 1, sizeof t->border, &d->border));
    TSR_TRY(put(g, rows->low, 1, sizeof rows->low, &d->low));
    TSR_TRY(put(g, rows->reach, 1, sizeof rows->reach, &d->reach));
    return put(g, &t->crc, 1, sizeof t->crc, &g->job.crc);
}

static tsr_error put_angles(tsr_kv_cuda *g, const tsri_rope *rope)
{
    const size_t row = (size_t)g->job.pairs * 2;
    size_t blocks;
    const float *high = tsri_rope_high(rope, &blocks);

    g->job.positions = blocks * 256;
    TSR_TRY(put(g, tsri_rope_low(rope), 256 * row, sizeof(float), &g->job.low));
    return put(g, high, blocks * row, sizeof(float), &g->job.high);
}

static void fill_job(tsr_kv_cuda *g)
{
    const tsr_kv *kv = g->kv;
    const tsr_kv_settings *s = &kv->settings;
    tsri_kv_gpu_job *j = &g->job;

    *j = (tsri_kv_gpu_job){
        .layers = s->shape.layers, .planes = s->shape.planes,
        .groups = s->shape.layers * s->shape.planes, .span = kv->span,
        .tile = s->tile, .sms = g->gpu->sms, .layout = kv->rope_what.layout,
        .offset = kv->rope_what.offset, .recent_boost = s->recent_boost,
        .pairs = kv->rope_what.layout ? kv->rope_what.dims / 2 : 0 };
    for (int p = 0; p < s->shape.planes; p++) {
        j->dim[p] = s->shape.dim[p];
        j->heads[p] = s->shape.heads[p];
        j->channels[p] = tsri_kv_channels(&s->shape, p);
        j->segments[p] = tsri_ceil_div(j->channels[p], j->span);
        j->layer_segments += j->segments[p];
        j->layer_channels += j->channels[p];
    }
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
        error = tsri_rope_open(&rope, ctx, &g->kv->rope_what, g->job.dim[0],
                               POSITIONS);
    if (!error)
        error = put_angles(g, rope);
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
    if (kv->method || kv->profiled || kv->settings.levels != 1)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "KV on CUDA: only method rows "
                         "without a profile, of one level");
    g = tsri_calloc(ctx, 1, sizeof *g);
    if (!g)
        return tsri_nomem(ctx);
    g->kv = kv;
    error = tsri_cuda_open(&g->gpu, ctx, device);
    if (!error) {
        fill_job(g);
        error = fill_device(g);
    }
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

/* ---- scratch ---- */

typedef struct room {
    size_t at;
    bool fits;
} room;

/* Offset of an array. */
static size_t take(room *r, size_t count, size_t size)
{
    const size_t at = r->at;
    size_t bytes;

    r->fits = r->fits && tsri_mul(count, size, &bytes) &&
        tsri_add(bytes, ALIGN - 1, &bytes) &&
        tsri_add(at, bytes / ALIGN * ALIGN, &r->at);
    return at;
}

static size_t slot_bytes(const tsri_kv_gpu_job *j)
{
    const size_t rows = (size_t)tsri_min(j->tile, j->tokens);
    const size_t bytes = tsri_rows_bound((int)rows, j->span);
    return (bytes + 15) / 16 * 16;
}

/* Lays the call out in scratch; a NULL scratch only counts.  Returns the bytes,
 * 0 where they are too many. */
static size_t lay_out(tsri_kv_gpu_job *j, uint8_t *scratch, bool encoding)
{
    const size_t n = (size_t)j->objects, tokens = (size_t)j->tokens;
    const size_t tiles = (size_t)j->tiles, groups = (size_t)j->groups;
    const size_t segments = n * (size_t)(j->layers * j->layer_segments);
    const size_t channels = n * (size_t)(j->layers * j->layer_channels);
    room r = { 0, true };
    size_t all;

    if (!tsri_mul(segments, tiles, &all) || !tsri_mul(channels, tokens, &all))
        return 0;
    j->header = scratch + take(&r, 1, TSRI_KV_GPU_HEADER +
                               groups * sizeof *j->base + n * sizeof *j->items);
    j->base = (void *)(j->header + TSRI_KV_GPU_HEADER);
    j->items = (void *)(j->base + groups);
    j->object = (void *)(scratch + take(&r, n, sizeof *j->object));
    j->angles = (void *)(scratch + take(&r, n * tokens, (size_t)j->pairs *
                                        sizeof *j->angles));
    j->unit_at = (void *)(scratch + take(&r, n * (groups * tiles + 1),
                                         sizeof *j->unit_at));
    if (!encoding) {
        if (!j->strips)
            j->values = (void *)(scratch + take(&r, all, sizeof *j->values));
        return r.fits ? r.at : 0;
    }
    j->slot = slot_bytes(j);
    j->centre = (void *)(scratch + take(&r, channels, sizeof *j->centre));
    j->cls = scratch + take(&r, channels, 1);
    j->sum = (void *)(scratch + take(&r, channels, sizeof *j->sum));
    j->packed = (void *)(scratch + take(&r, segments * tiles * (size_t)j->span,
                                        2 * (size_t)tsri_min(j->tile, j->tokens)));
    j->wide = scratch + take(&r, segments * tiles, 1);
    j->segment_size = (void *)(scratch + take(&r, segments * tiles,
                                              sizeof *j->segment_size));
    j->slots = scratch + take(&r, segments * tiles + 1, j->slot);
    return r.fits ? r.at : 0;
}

static void set_tokens(tsri_kv_gpu_job *j, size_t tokens, size_t items)
{
    j->objects = (int)items;
    j->tokens = (int)tokens;
    j->tiles = tsri_ceil_div(j->tokens, j->tile);
}

static bool counts_fit(size_t tokens, size_t items)
{
    return tokens <= TSRI_KV_MAX_TOKENS && items <= 1 << 20;
}

tsr_error tsr_kv_cuda_scratch_size(const tsr_kv_cuda *g, size_t tokens,
                                   size_t items, size_t *bytes)
{
    tsri_kv_gpu_job j = g->job;
    size_t encoding = 0, decoding = 0;

    *bytes = 0;
    if (counts_fit(tokens, items)) {
        set_tokens(&j, tokens, items);
        encoding = lay_out(&j, NULL, true);
        decoding = lay_out(&j, NULL, false);
    }
    if (!encoding || !decoding)
        return tsri_fail(g->kv->ctx, TSR_E_LIMIT, "KV on CUDA: %zu objects of "
                         "%zu tokens are too many", items, tokens);
    *bytes = encoding > decoding ? encoding : decoding;
    return TSR_OK;
}

/* ---- calls ---- */

/* Whole heads of 64 or 128 dims of 2 bytes, that lanes can have in registers. */
static bool is_fast(const tsr_kv_cuda *g, tsr_kv_dtype dtype)
{
    const tsri_kv_gpu_job *j = &g->job;
    const tsr_kv_rope *rope = &g->kv->rope_what;
    const int dim = j->dim[0];
    bool fast = tsri_kv_dtype_bytes(dtype) == 2 && (dim == 64 || dim == 128) &&
        (j->span == 128 || j->span == 256) &&
        (!rope->layout || (rope->layout == 1 && rope->dims == dim));

    for (int p = 0; p < j->planes; p++)
        fast = fast && j->dim[p] == dim && j->channels[p] % j->span == 0;
    return fast;
}

static bool is_multiple(ptrdiff_t v, size_t of)
{
    return v % (ptrdiff_t)of == 0;
}

static bool view_fits(const tsr_kv_cuda *g, const tsr_kv_view *v, bool writing)
{
    const size_t size = tsri_kv_dtype_bytes(v->dtype);
    bool good = size && v->base && is_multiple(v->token_stride, size) &&
        is_multiple(v->head_stride, size) &&
        (!v->blocks || (v->block_tokens > 0 && is_multiple(v->block_stride, size)));

    for (int i = 0; good && i < g->job.groups; i++)
        good = (v->base[i] || writing) && (uintptr_t)v->base[i] % size == 0;
    return good;
}

static bool same_view(const tsr_kv_view *a, const tsr_kv_view *b)
{
    return a->dtype == b->dtype && a->base == b->base &&
        a->token_stride == b->token_stride && a->head_stride == b->head_stride &&
        !a->blocks == !b->blocks &&
        (!a->blocks || (a->block_tokens == b->block_tokens &&
                        a->block_stride == b->block_stride));
}

static tsr_error check(const tsr_kv_cuda *g, const tsr_kv_cuda_item *items,
                       size_t n, size_t tokens, bool writing)
{
    bool good = counts_fit(tokens, n) && view_fits(g, &items->view, writing);

    for (size_t i = 0; good && i < n; i++) {
        const tsr_kv_cuda_item *item = &items[i];
        good = same_view(&item->view, &items->view) &&
            item->view.tokens >= tokens &&
            item->first_token <= item->view.tokens - tokens &&
            item->pos0 <= (uint64_t)1 << 31 && (uintptr_t)item->data % 16 == 0 &&
            item->status && (writing || item->bytes);
    }
    return good ? TSR_OK : tsri_fail(g->kv->ctx, TSR_E_ARG, "KV on CUDA: views "
                                     "that do not fit, or not each other");
}

/* The header that all objects of the call have. */
static void write_header(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                         uint8_t header[TSRI_KV_HEADER])
{
    const tsr_kv *kv = g->kv;
    const tsri_kv_head head = {
        .flags = j->sections ? TSRI_KV_BOOSTS : 0, .dtype = (uint8_t)j->dtype,
        .levels = 1, .shape = kv->settings.shape, .rope = kv->rope_what,
        .tokens = (uint32_t)j->tokens, .groups = (uint32_t)j->groups,
        .tile = j->tile, .span = j->span, .section_bytes = j->sections,
        .step = { kv->step[0], kv->step[1] } };

    tsri_kv_head_write(&head, header);
}

static void fill_call(const tsr_kv_cuda *g, tsri_kv_gpu_job *j,
                      const tsr_kv_cuda_item *items)
{
    const tsr_kv_settings *s = &g->kv->settings;
    const tsr_kv_view *v = &items->view;
    const bool fast = is_fast(g, v->dtype);

    j->strips = fast ? j->span / TSRI_ROWS_LANES : 0;
    j->head_strips = fast ? j->dim[0] / TSRI_ROWS_LANES : 0;
    j->dtype = (int)v->dtype;
    j->block_tokens = v->block_tokens;
    j->token_stride = v->token_stride;
    j->head_stride = v->head_stride;
    j->block_stride = v->block_stride;
    j->recent = tsri_min(s->recent, j->tokens);
    if (!j->recent || !j->recent_boost)
        j->recent = j->recent_boost = 0;
    j->sections = j->recent ? ((uint32_t)j->tokens + 1) / 2 : 0;
    for (int p = 0; p < 2; p++) {
        j->step[p] = g->kv->step[p];
        j->inverse[p] = 1 / j->step[p];
        j->quarter[p] = 4 / j->step[p];
    }
}

static uint32_t sinks_of(const tsr_kv_cuda *g, uint64_t pos0, size_t tokens)
{
    const uint64_t sinks = (uint64_t)g->kv->settings.sinks;
    const uint64_t here = pos0 < sinks ? sinks - pos0 : 0;
    return (uint32_t)(here < tokens ? here : tokens);
}

/* What of the call the host has goes to the beginning of scratch: header, planes,
 * items. */
enum { PART = TSRI_KV_GPU_ARGUMENTS / 64 * 64 };

typedef struct parcel {
    _Alignas(16) uint8_t part[PART];
    size_t used;
    uint8_t *to;
    cudaStream_t stream;
    cudaError_t error;
} parcel;

static void send(parcel *p)
{
    if (!p->error && p->used)
        p->error = tsri_kv_gpu_carry(p->to, p->part, p->used, p->stream);
    p->to += p->used;
    p->used = 0;
}

static void pack(parcel *p, const void *from, size_t size)
{
    for (size_t done = 0; done < size; ) {
        const size_t rest = sizeof p->part - p->used;
        const size_t n = size - done < rest ? size - done : rest;
        memcpy(p->part + p->used, (const uint8_t *)from + done, n);
        p->used += n;
        done += n;
        if (p->used == sizeof p->part)
            send(p);
    }
}

static tsr_error carry(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                       const tsr_kv_cuda_item *items, cudaStream_t stream)
{
    parcel p = { .to = (uint8_t *)j->header, .stream = stream };
    uint8_t header[TSRI_KV_HEADER];

    write_header(g, j, header);
    pack(&p, header, sizeof header);
    pack(&p, items->view.base, (size_t)j->groups * sizeof *j->base);
    for (int i = 0; i < j->objects; i++) {
        const tsri_kv_gpu_item item = {
            items[i].view.blocks, items[i].first_token, items[i].data,
            items[i].size, items[i].bytes, items[i].status,
            (uint32_t)items[i].pos0,
            sinks_of(g, items[i].pos0, (size_t)j->tokens) };
        pack(&p, &item, sizeof item);
    }
    send(&p);
    return tsri_cuda_check(g->gpu, p.error, "arguments");
}

static tsr_error start(tsr_kv_cuda *g, tsri_kv_gpu_job *j,
                       const tsr_kv_cuda_item *items, size_t n, size_t tokens,
                       void *scratch, size_t scratch_size, bool encoding,
                       cudaStream_t stream)
{
    size_t need;

    *j = g->job;
    TSR_TRY(check(g, items, n, tokens, !encoding));
    set_tokens(j, tokens, n);
    fill_call(g, j, items);
    need = lay_out(j, scratch, encoding);
    if (!need || need > scratch_size || (uintptr_t)scratch % ALIGN)
        return tsri_fail(g->kv->ctx, TSR_E_ARG, "KV on CUDA: %zu bytes of "
                         "scratch, %zu are needed", scratch_size, need);
    TSR_TRY(tsri_cuda_use(g->gpu));
    return carry(g, j, items, stream);
}

tsr_error tsr_kv_cuda_encode(tsr_kv_cuda *g, const tsr_kv_cuda_item *items,
                             size_t n, size_t tokens, void *scratch,
                             size_t scratch_size, void *stream)
{
    tsri_kv_gpu_job j;

    if (!n)
        return TSR_OK;
    if (g->kv->step[0] == 0 || g->kv->step[1] == 0)
        return tsri_fail(g->kv->ctx, TSR_E_ARG, "KV on CUDA: no step is set");
    TSR_TRY(start(g, &j, items, n, tokens, scratch, scratch_size, true, stream));
    TSR_TRY(tsri_cuda_check(g->gpu, tsri_kv_gpu_begin(&j, stream), "begin"));
    TSR_TRY(tsri_cuda_check(g->gpu, tsri_kv_gpu_encode(&j, stream), "encode"));
    return tsri_cuda_check(g->gpu, tsri_kv_gpu_write(&j, stream), "write");
}

tsr_error tsr_kv_cuda_decode(tsr_kv_cuda *g, const tsr_kv_cuda_item *items,
                             size_t n, size_t tokens, void *scratch,
                             size_t scratch_size, void *stream)
{
    tsri_kv_gpu_job j;

    if (!n)
        return TSR_OK;
    TSR_TRY(start(g, &j, items, n, tokens, scratch, scratch_size, false, stream));
    TSR_TRY(tsri_cuda_check(g->gpu, tsri_kv_gpu_read(&j, stream), "read"));
    return tsri_cuda_check(g->gpu, tsri_kv_gpu_decode(&j, stream), "decode");
}
